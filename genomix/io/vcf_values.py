"""Types and numbers of INFO and FORMAT values: patterns that accept the common spellings at once, and exact checks.

A pattern accepts nothing that the exact check refuses; what a pattern does not know goes to the exact check.
"""

from __future__ import annotations

import re
from math import comb

_INTEGER = re.compile(rb"[-+]?[0-9]+")
_FLOAT = re.compile(rb"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")
_FLOAT_OLD = re.compile(rb"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(rb"[-+]?(?:inf|infinity|nan)", re.IGNORECASE)
_CIGAR = re.compile(rb"(?:[0-9]+[MIDNSHP=X])+")
_PERCENT = re.compile(rb"%[0-9A-F]{2}")
_INTEGER_MAX = 2**31 - 1
_INTEGER_MIN = -(2**31)
_BCF_RESERVED = 8

QUICK = {
    "Integer": rb"-?[0-9]{1,9}+",
    "Float": rb"-?[0-9]++(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+",
    "Character": rb"[0-9A-Za-z]",
}
"""Patterns of single values by Type: the common spellings only."""


def type_problem(kind: str | None, value: bytes, version: int) -> str | None:
    """Return what is wrong with one value of a Type, or None; ``.`` is missing and fits every Type."""
    if value == b"." or kind is None:
        return None
    if kind == "Integer":
        return _integer_problem(value, version)
    if kind == "Float":
        pattern = _FLOAT_OLD if version < 3 else _FLOAT
        return None if pattern.fullmatch(value) or _NOT_FINITE.fullmatch(value) else "is not a Float"
    if kind == "Character":
        single = len(value.decode("utf-8", errors="replace")) == 1 or _PERCENT.fullmatch(value)
        return None if single else "is not a Character"
    return None


def _integer_problem(value: bytes, version: int) -> str | None:
    if not _INTEGER.fullmatch(value):
        return "is not an Integer"
    if len(value) < 10:
        return None
    number = int(value[:20])
    lowest = _INTEGER_MIN + (_BCF_RESERVED if version >= 3 else 0)
    return None if lowest <= number <= _INTEGER_MAX and len(value) < 20 else "does not fit 32 bits (see section 1.3)"


def is_cigar(value: bytes) -> bool:
    """Say whether a value is a CIGAR string, or missing."""
    return value == b"." or _CIGAR.fullmatch(value) is not None


def is_negative(value: bytes) -> bool:
    """Say whether a number is below zero (minus zero and NaN are not)."""
    try:
        return float(value) < 0
    except ValueError:
        return False


def genotype_count(n_alleles: int, ploidy: int) -> int:
    """Return how many genotypes there are.

    >>> genotype_count(2, 2), genotype_count(3, 3)
    (3, 10)
    """
    return comb(n_alleles + ploidy - 1, ploidy)


def expected_count(number: str | None, n_alts: int, ploidy: int | None) -> int | None:
    """Return how many values a Number asks for, or None where it leaves that open.

    >>> expected_count("R", 2, None), expected_count("G", 1, 2), expected_count(".", 1, 2)
    (3, 3, None)
    """
    if number is None or number == ".":
        return None
    if number.isdigit():
        return int(number)
    if number == "A":
        return n_alts
    if number == "R":
        return n_alts + 1
    if number == "P":
        return ploidy
    if number == "G" and ploidy is not None:
        return genotype_count(n_alts + 1, ploidy)
    return None
