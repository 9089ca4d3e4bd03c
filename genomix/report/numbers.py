"""Numbers as a reader wants them: digits to the uncertainty, thin-space thousands, percentages with denominators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from genomix.privacy import SMALL_CELL, is_small, suppress_count, suppress_counts, suppress_share
from genomix.report.blocks import Cell

THIN = "\u202f"
"""Narrow no-break space: groups thousands and never breaks a line."""
MINUS = "\u2212"
NOT_ESTIMABLE = "not estimable"
NOT_STATED = "not stated"


def count(n: int) -> str:
    """Return a whole number with its thousands grouped.

    >>> count(12345).replace(THIN, "_")
    '12_345'
    """
    return f"{n:,}".replace(",", THIN).replace("-", MINUS)


def people(n: int | None) -> str:
    """Return a count of people, small ones as ``<11``."""
    if n is None:
        return NOT_STATED
    return suppress_count(n) if is_small(n) else count(n)


def group_thousands(text: str) -> str:
    """Return a text that :func:`suppress_counts` made with its thousands grouped."""
    return count(int(text)) if text.isdigit() else text


def partition(counts: Sequence[int | None], total: int | None) -> list[str]:
    """Return the groups of a known total as text; people in none of the groups are one more cell, which is not shown.

    >>> partition([600, 7, 300], 907)
    ['600', '<11', 'withheld']
    """
    rest = (total or 0) - sum(c or 0 for c in counts)
    shown = suppress_counts([*counts, rest] if rest > 0 else list(counts))
    return [group_thousands(text) for text in shown[: len(counts)]]


def brief(value: float) -> str:
    """Return a value as it was given, to four significant digits.

    >>> brief(52.0), brief(7.4), brief(-0.25)
    ('52', '7.4', '−0.25')
    """
    text = count(int(value)) if value == int(value) else f"{value:.4g}"
    return text.replace("-", MINUS)


def people_cell(n: int | None) -> Cell:
    """Return a table cell with a count of people, small ones as ``<11`` and without a number behind it."""
    return Cell(people(n), float(n) if n is not None and not is_small(n) else None)


def decimal(value: float, decimals: int, *, signed: bool = False) -> str:
    """Return a number with fixed decimals, a true minus sign and grouped thousands.

    >>> decimal(-0.0123, 3), decimal(0.5, 1, signed=True)
    ('−0.012', '+0.5')
    """
    text = f"{abs(value):,.{decimals}f}".replace(",", THIN)
    negative = value < 0 and float(f"{abs(value):.{decimals}f}") > 0
    return (MINUS if negative else "+" if signed else "") + text


def decimals_for(low: float, high: float) -> int:
    """Return how many decimals show two significant digits of an interval's half width (0 to 5)."""
    half = abs(high - low) / 2
    if not math.isfinite(half) or half == 0:
        return 3
    return min(5, max(0, 1 - math.floor(math.log10(half))))


def plain(value: float | None, *, digits: int = 3, unit: str = "") -> str:
    """Return a number without an interval to ``digits`` significant digits.

    >>> plain(0.012345), plain(1234.5).replace(THIN, "_"), plain(None)
    ('0.0123', '1_234', 'not estimable')
    """
    if not finite(value):
        return NOT_ESTIMABLE
    if value == 0:
        return "0" + unit
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return decimal(value, min(decimals, 6)) + unit


def finite(value: float | None) -> TypeGuard[float]:
    """Say whether there is a number at all."""
    return value is not None and math.isfinite(value)


class Estimate(NamedTuple):
    """A point estimate with its 95 % interval; any of them None when not estimable."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def known(self) -> bool:
        """Whether there is a point estimate."""
        return finite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends are there."""
        return finite(self.low) and finite(self.high)

    @property
    def decimals(self) -> int:
        """Decimals that the uncertainty deserves."""
        return decimals_for(self.low, self.high) if finite(self.low) and finite(self.high) else 3

    def number(self, *, signed: bool = False) -> str:
        """Return the point estimate alone."""
        return decimal(self.value, self.decimals, signed=signed) if finite(self.value) else NOT_ESTIMABLE

    def interval(self, *, signed: bool = False) -> str:
        """Return the interval alone, e.g. ``0.71–0.77``; with ``to`` where a minus sign would meet the dash."""
        if not finite(self.low) or not finite(self.high):
            return "interval not estimable"
        low, high = (decimal(v, self.decimals, signed=signed) for v in (self.low, self.high))
        return f"{low} to {high}" if signed or self.low < 0 or self.high < 0 else f"{low}–{high}"

    def text(self, *, signed: bool = False) -> str:
        """Return estimate and interval, e.g. ``0.742 (0.711–0.773)``."""
        if not self.known:
            return NOT_ESTIMABLE
        return f"{self.number(signed=signed)} ({self.interval(signed=signed)})"

    def cell(self, *, signed: bool = False) -> Cell:
        """Return a table cell; its number has the digits that are shown."""
        return Cell(self.text(signed=signed), round(self.value, self.decimals) if finite(self.value) else None)

    def excludes(self, value: float) -> bool:
        """Say whether the whole interval lies on one side of ``value``."""
        return finite(self.low) and finite(self.high) and (self.low > value or self.high < value)


def percent(share: float | None, *, decimals: int | None = None) -> str:
    """Return a share as a percentage: one decimal below 10 % and above 90 %, none between.

    >>> [text.replace(THIN, " ") for text in (percent(0.234), percent(0.056), percent(None))]
    ['23 %', '5.6 %', 'not estimable']
    """
    if not finite(share):
        return NOT_ESTIMABLE
    if decimals is None:
        decimals = 0 if 0.0995 <= share <= 0.905 or share in (0.0, 1.0) else 1
    return decimal(100 * share, decimals) + THIN + "%"


def percent_interval(low: float | None, high: float | None) -> str:
    """Return an interval of shares in per cent, e.g. ``18–28 %``."""
    if not finite(low) or not finite(high):
        return "interval not estimable"
    decimals = 1 if high - low < 0.02 else 0
    return f"{decimal(100 * low, decimals)}–{decimal(100 * high, decimals)}{THIN}%"


def share_of(numerator: int | None, denominator: int | None) -> str:
    """Return a percentage with its denominator; a bound where the share would give away a small count.

    >>> [text.replace(THIN, " ") for text in (share_of(50, 200), share_of(4, 200))]
    ['25 % (50 of 200)', 'below 5.5 % (<11 of 200)']
    """
    if numerator is None or denominator is None or denominator <= 0:
        return NOT_ESTIMABLE
    if is_small(denominator):
        return f"withheld (of {people(denominator)})"
    share, bound = suppress_share(numerator, denominator)
    if bound is None:
        return f"{percent(share)} ({count(numerator)} of {count(denominator)})"
    if bound > 0:
        return f"below {percent(bound)} (<{SMALL_CELL} of {count(denominator)})"
    return f"above {percent(-bound)} (all but <{SMALL_CELL} of {count(denominator)})"


def safe_share(share: float | None, denominator: int | None) -> str:
    """Return an estimated share of ``denominator`` people as a percentage, or a bound that hides a small count."""
    if not finite(share):
        return NOT_ESTIMABLE
    if denominator is None or denominator <= 0:
        return percent(share)
    _, bound = suppress_share(round(share * denominator), denominator)
    if bound is None:
        return percent(share)
    return f"below {percent(bound)}" if bound > 0 else f"above {percent(-bound)}"


def shows_share(share: float | None, denominator: int | None) -> bool:
    """Say whether a share of ``denominator`` people may be shown exactly."""
    if not finite(share) or denominator is None or denominator <= 0 or is_small(denominator):
        return False
    return suppress_share(round(share * denominator), denominator)[1] is None


def days(value: float) -> str:
    """Return a span of days, with years in brackets from two years on.

    >>> [text.replace(THIN, " ") for text in (days(30), days(1), days(1095))]
    ['30 days', '1 day', '1 095 days (3.0 years)']
    """
    number = plain(value, digits=6) if value != int(value) else count(int(value))
    text = f"{number} {'day' if value == 1 else 'days'}"
    years = value / 365.25
    return f"{text} ({plain(years, digits=2)} years)" if years >= 1.95 else text


def not_estimable(note: str) -> str:
    """Return ``not estimable`` with its reason, said once.

    >>> not_estimable("not estimable: no events"), not_estimable("too few"), not_estimable("")
    ('not estimable: no events', 'not estimable: too few', 'not estimable')
    """
    if not note:
        return NOT_ESTIMABLE
    return note if note.startswith(NOT_ESTIMABLE) else f"{NOT_ESTIMABLE}: {note}"
