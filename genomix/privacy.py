"""Small-cell suppression and redaction, used by every report and log.

>>> suppress_count(7)
'<11'
>>> suppress_count(11), suppress_count(0)
('11', '0')
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

SMALL_CELL = 11
"""Counts of people from 1 to ``SMALL_CELL - 1`` are not shown (CMS cell-size policy)."""

TOP_CODED_AGE_YEARS = 90
"""Ages from here on are shown as ``90+`` (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C))."""


_shown_from: ContextVar[int] = ContextVar("shown_from", default=SMALL_CELL)


def shown_from() -> int:
    """Return the smallest count of people that may be shown: ``SMALL_CELL``, but for a study's own team."""
    return _shown_from.get()


@contextmanager
def internal_view() -> Iterator[None]:
    """Show every count while the block runs: for a study's own team, whose pages say so.

    >>> with internal_view():
    ...     suppress_count(7)
    '7'
    >>> suppress_count(7)
    '<11'
    """
    token = _shown_from.set(1)
    try:
        yield
    finally:
        _shown_from.reset(token)


def is_small(count: int, threshold: int | None = None) -> bool:
    """Say whether a count of people is too small to show (zero may be shown); default: :func:`shown_from`."""
    return 0 < count < (shown_from() if threshold is None else threshold)


def suppress_count(count: int, threshold: int | None = None) -> str:
    """Return the count as text, or ``<threshold`` when it is small."""
    threshold = shown_from() if threshold is None else threshold
    return f"<{threshold}" if is_small(count, threshold) else str(count)


def top_code_age(age_years: float) -> float:
    """Return the age in years, at most ``TOP_CODED_AGE_YEARS``."""
    return min(age_years, float(TOP_CODED_AGE_YEARS))


def pseudonym(identifier: str, salt: str) -> str:
    """Return a short, salted, one-way stand-in for an identifier (stable under the same salt)."""
    return hashlib.blake2b(f"{salt}\0{identifier}".encode(), digest_size=6).hexdigest()


WITHHELD = "withheld"
"""Shown for a count that is not small itself but would give away one that is, by subtraction from a total."""


def suppress_counts(counts: Sequence[int | None], threshold: int | None = None) -> list[str]:
    """Return the cells of one partition of a known total as text, so that no small cell follows by subtraction.

    Cells from 1 to ``threshold - 1`` become ``<threshold``; further cells, the smallest first, are withheld until
    nobody who knows the total, the rules and the other cells can narrow a small cell to fewer than three values. When
    even withholding all of them does not reach that, none of them says that it is the small one.

    Parameters
    ----------
    counts: (cells,) people per cell, >= 0; None is shown as ``not stated`` and takes no part.

    >>> suppress_counts([500, 7, 320, 40])
    ['500', '<11', '320', 'withheld']
    >>> suppress_counts([500, 320])
    ['500', '320']
    """
    threshold = shown_from() if threshold is None else threshold
    shown = ["not stated" if c is None else suppress_count(c, threshold) for c in counts]
    hidden = {i for i, c in enumerate(counts) if c is not None and is_small(c, threshold)}
    rest = sorted((c, i) for i, c in enumerate(counts) if c is not None and c >= threshold)
    while hidden and not _is_ambiguous(counts, hidden, threshold):
        if not rest:
            return [WITHHELD if i in hidden else text for i, text in enumerate(shown)]
        _, i = rest.pop(0)
        hidden.add(i)
        shown[i] = WITHHELD
    return shown


def _is_ambiguous(counts: Sequence[int | None], hidden: set[int], threshold: int) -> bool:
    """Say whether every small cell could take at least three values, given the sum of the hidden cells."""
    cells = [c for i, c in enumerate(counts) if i in hidden and c is not None]
    total, small = sum(cells), sum(c < threshold for c in cells)
    large = len(cells) - small
    others_least = (small - 1) + large * threshold
    others_most = (small - 1) * (threshold - 1) if not large else total
    least = max(1, total - others_most)
    most = min(threshold - 1, total - others_least)
    return most - least >= 2


def suppress_share(count: int, total: int, threshold: int | None = None) -> tuple[float | None, float | None]:
    """Return a share as ``(share, None)``, or ``(None, bound)`` where it would give away a small count.

    The first member is the exact share where both ``count`` and ``total - count`` may be shown. Otherwise it is None
    and the second member is the bound: positive ``b`` reads "below b", negative ``-b`` reads "above b".

    >>> suppress_share(50, 200)
    (0.25, None)
    >>> suppress_share(4, 200)
    (None, 0.055)
    >>> suppress_share(196, 200)
    (None, -0.945)
    """
    threshold = shown_from() if threshold is None else threshold
    if total <= 0:
        return None, None
    if is_small(count, threshold):
        return None, min(1.0, threshold / total)
    if is_small(total - count, threshold):
        return None, -max(0.0, (total - threshold) / total)
    return count / total, None
