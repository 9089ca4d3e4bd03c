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
