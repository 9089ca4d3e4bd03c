"""Compiled forms of :mod:`genomix.io.packing`, byte for byte the same."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def pack_two_bits(codes: Any, out: Any) -> None:
    """Pack int8 codes (a multiple of four) into uint8 ``out``."""
    for i in range(len(out)):
        k = 4 * i
        out[i] = (codes[k] & 3) | ((codes[k + 1] & 3) << 2) | ((codes[k + 2] & 3) << 4) | ((codes[k + 3] & 3) << 6)


@njit(cache=True, nogil=True)
def pack_four_bits(codes: Any, out: Any) -> None:
    """Pack int8 codes (a multiple of two) into uint8 ``out``."""
    for i in range(len(out)):
        out[i] = (codes[2 * i] & 15) | ((codes[2 * i + 1] & 15) << 4)


@njit(cache=True, nogil=True)
def unpack(packed: Any, table: Any, out: Any) -> None:
    """Write the codes of each byte, ``table`` (256,) with all codes of a byte in one word, into words ``out``."""
    for i in range(len(packed)):
        out[i] = table[packed[i]]


@njit(cache=True, nogil=True)
def expand(codes: Any, table: Any, out: Any) -> None:
    """Write the two alleles of each code, ``table`` int64 (256,) of int32 pairs, into int64 ``out``."""
    for i in range(len(codes)):
        out[i] = table[codes[i] & 255]


@njit(cache=True, nogil=True)
def kinds_of_rows(codes: Any, out: Any) -> None:
    """Write for each row of int8 codes: 1 where some code is an unphased heterozygote, plus 2 where one is phased."""
    for i in range(codes.shape[0]):
        row = codes[i]
        unphased, phased = False, False
        for j in range(len(row)):
            unphased |= row[j] == 1
            phased |= row[j] >= 3
        out[i] = unphased + 2 * phased


@njit(cache=True, nogil=True)
def count_equal(codes: Any, value: int) -> int:
    """Return how many codes are ``value``."""
    total = 0
    for i in range(codes.shape[0]):
        n = 0
        row = codes[i]
        for j in range(len(row)):
            n += row[j] == value
        total += n
    return total
