"""Codes and what they mean: rolling codes up, choosing them by pattern, and saying them in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from genomix.errors import ConfigError


def roll_up(codes: pl.Series, depth: int | None) -> pl.Series:
    """Return each code's first ``depth`` parts (parts are joined by ``//``); None keeps codes whole.

    >>> roll_up(pl.Series(["LAB//50912//mg/dL", "MEDS_BIRTH"]), 2).to_list()
    ['LAB//50912', 'MEDS_BIRTH']
    """
    if depth is None:
        return codes
    if depth < 1:
        raise ConfigError(f"code_depth is {depth}", hint="a whole number from 1")
    names = ["//".join(code.split("//")[:depth]) for code in codes.to_list()]
    return pl.Series(codes.name, names, dtype=pl.String)


def choose(codes: pl.Series, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> pl.Series:
    """Return the codes that match a pattern of ``include`` (all, when there is none) and none of ``exclude``."""
    kept = pl.Series([not include] * len(codes), dtype=pl.Boolean)
    for pattern in include:
        kept |= _matches(codes, pattern)
    for pattern in exclude:
        kept &= ~_matches(codes, pattern)
    return codes.filter(kept)


def _matches(codes: pl.Series, pattern: str) -> pl.Series:
    try:
        return codes.str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        raise ConfigError(f"pattern {pattern!r} cannot be read", hint="Rust's regex syntax") from error


def in_words(code: str, descriptions: Mapping[str, str]) -> str:
    """Return a code's description, or the code with its parts set apart.

    >>> in_words("LAB//creatinine", {}), in_words("LAB//50912", {"LAB//50912": "creatinine"})
    ('LAB creatinine', 'creatinine')
    """
    return descriptions.get(code) or " ".join(part for part in code.split("//") if part)


def window_in_words(window: str) -> str:
    """Return a look-back window as a clinician would say it.

    >>> window_in_words("30d"), window_in_words("1d"), window_in_words("full")
    ('in the 30 days before prediction', 'in the day before prediction', 'ever before prediction')
    >>> window_in_words("since:HOSPITAL_ADMISSION")
    'since the last HOSPITAL_ADMISSION before prediction'
    """
    from genomix.ehr.windows import SINCE, window_length

    if window.startswith(SINCE):
        return f"since the last {in_words(window.removeprefix(SINCE), {})} before prediction"
    length = window_length(window)
    if length is None:
        return "ever before prediction"
    for size, word in ((86_400_000_000, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second")):
        if length % size == 0:
            n = length // size
            return f"in the {word} before prediction" if n == 1 else f"in the {n} {word}s before prediction"
    return f"in the {length / 1_000_000:g} seconds before prediction"
