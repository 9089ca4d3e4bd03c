"""Small-cell suppression and redaction, used by every report and log.

>>> suppress_count(7)
'<11'
>>> suppress_count(11), suppress_count(0)
('11', '0')
"""

from __future__ import annotations

import hashlib

SMALL_CELL = 11
"""Counts of people from 1 to ``SMALL_CELL - 1`` are not shown (CMS cell-size policy)."""

TOP_CODED_AGE_YEARS = 90
"""Ages from here on are shown as ``90+`` (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C))."""


def is_small(count: int, threshold: int = SMALL_CELL) -> bool:
    """Say whether a count of people is too small to show (zero may be shown)."""
    return 0 < count < threshold


def suppress_count(count: int, threshold: int = SMALL_CELL) -> str:
    """Return the count as text, or ``<threshold`` when it is small."""
    return f"<{threshold}" if is_small(count, threshold) else str(count)


def top_code_age(age_years: float) -> float:
    """Return the age in years, at most ``TOP_CODED_AGE_YEARS``."""
    return min(age_years, float(TOP_CODED_AGE_YEARS))


def pseudonym(identifier: str, salt: str) -> str:
    """Return a short, salted, one-way stand-in for an identifier (stable under the same salt)."""
    return hashlib.blake2b(f"{salt}\0{identifier}".encode(), digest_size=6).hexdigest()
