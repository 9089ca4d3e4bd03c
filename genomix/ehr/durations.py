"""Durations as people write them: ``24h``, ``30 days``, ``1d 12h``; in whole microseconds."""

from __future__ import annotations

import re

MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_DAY = 86_400 * MICROSECONDS_PER_SECOND

_SECONDS = {
    "w": 7 * 86_400, "wk": 7 * 86_400, "wks": 7 * 86_400, "week": 7 * 86_400, "weeks": 7 * 86_400,
    "d": 86_400, "day": 86_400, "days": 86_400,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
}  # fmt: skip
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*,?")
_CLOCK = re.compile(r"\s*(\d+):([0-5]\d):([0-5]\d)\s*$")


def parse_duration(text: str) -> int:
    """Return a duration in microseconds.

    Months and years are refused: their length varies. Write 365 days.

    Raises
    ------
    ValueError: when the text is not a duration.

    >>> parse_duration("24h") == parse_duration("1 day") == 86_400_000_000
    True
    >>> parse_duration("1 day, 14:20:16")
    138016000000
    """
    rest, total, found = text, 0.0, False
    while match := _PART.match(rest):
        unit = match.group(2).lower()
        if unit not in _SECONDS:
            break
        total += float(match.group(1)) * _SECONDS[unit]
        rest, found = rest[match.end() :], True
    if clock := _CLOCK.match(rest):
        hours, minutes, seconds = (int(part) for part in clock.groups())
        total, rest, found = total + 3600 * hours + 60 * minutes + seconds, "", True
    if rest.strip() or not found:
        raise ValueError(f"{text!r} is not a duration; write for example 24h, 30 days, 1d 12h")
    return round(total * MICROSECONDS_PER_SECOND)
