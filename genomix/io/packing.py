"""Compact genotype codes in two bits each, or in four where some heterozygote is phased.

Written as whole-array operations on wider words. Where numba is loaded already (the fast reader loads it), compiled
kernels do the same several times faster; numba is not loaded for their sake.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from genomix.io.genotype_format import COMPACT_MISSING, HET_PHASED, HET_PHASED_REVERSED

CodeArray = npt.NDArray[np.int8]

_TWO_BIT_MISSING = 0b11
_FOUR_BIT_MISSING = 0b0111
_MISSING_BYTE = COMPACT_MISSING & 0xFF
assert _MISSING_BYTE & _TWO_BIT_MISSING == _TWO_BIT_MISSING
assert _MISSING_BYTE & 0x0F == _FOUR_BIT_MISSING


def _kernels() -> Any:
    """The compiled kernels, or None while numba is not loaded."""
    if "numba" not in sys.modules:
        return None
    from genomix.io.kernels import packing_kernels

    return packing_kernels


@cache
def _word_of_byte(per_byte: int) -> npt.NDArray[Any]:
    """The codes that each byte holds, side by side in one word, (256,)."""
    everything = np.arange(256, dtype=np.uint8)
    codes = _unpack_words(everything, 256 * per_byte, phased=per_byte == 2)
    return codes.view(np.uint16 if per_byte == 2 else np.uint32)


@cache
def _pair_of_code() -> npt.NDArray[np.int64]:
    """Both alleles of each code, as one int64 of two int32, by the code's byte."""
    codes = np.arange(256, dtype=np.uint8).view(np.int8)
    return _alleles_by_comparison(np.where(np.isin(codes, (0, 1, 2, 3, 4)), codes, COMPACT_MISSING)).view(np.int64)[
        :, 0
    ]


def pack_codes(codes: CodeArray, *, phased: bool) -> npt.NDArray[np.uint8]:
    """Return codes of any shape in 2 bits each (0, 1, 2, missing), or with ``phased`` in 4 bits each.

    >>> import numpy as np
    >>> codes = np.array([0, 1, 2, -9, 1], dtype=np.int8)
    >>> unpack_codes(pack_codes(codes, phased=False), 5, phased=False).tolist()
    [0, 1, 2, -9, 1]
    """
    per_byte = 2 if phased else 4
    flat = codes.reshape(-1)
    if spare := -len(flat) % per_byte:
        flat = np.concatenate([flat, np.zeros(spare, dtype=np.int8)])
    kernels = _kernels()
    if kernels is not None:
        packed = np.empty(len(flat) // per_byte, dtype=np.uint8)
        (kernels.pack_four_bits if phased else kernels.pack_two_bits)(flat, packed)
        return packed
    if phased:
        pairs = np.ascontiguousarray(flat).view(np.uint16) & np.uint16(0x0F0F)
        return (pairs | (pairs >> np.uint16(4))).astype(np.uint8)
    fours = np.ascontiguousarray(flat).view(np.uint32) & np.uint32(0x03030303)
    fours |= fours >> np.uint32(6)
    fours |= fours >> np.uint32(12)
    return fours.astype(np.uint8)


def unpack_codes(packed: npt.NDArray[np.uint8], n: int, *, phased: bool) -> CodeArray:
    """Return the first ``n`` codes that :func:`pack_codes` packed, int8 (n,)."""
    kernels = _kernels()
    if kernels is not None:
        table = _word_of_byte(2 if phased else 4)
        words = np.empty(len(packed), dtype=table.dtype)
        kernels.unpack(packed, table, words)
        return words.view(np.int8)[:n]
    return _unpack_words(packed, n, phased=phased)


def _unpack_words(packed: npt.NDArray[np.uint8], n: int, *, phased: bool) -> CodeArray:
    if phased:
        pairs = packed.astype(np.uint16)
        codes = ((pairs | (pairs << np.uint16(4))) & np.uint16(0x0F0F)).view(np.uint8)[:n]
    else:
        fours = packed.astype(np.uint32)
        fours |= fours << np.uint32(12)
        fours |= fours << np.uint32(6)
        codes = (fours & np.uint32(0x03030303)).view(np.uint8)[:n]
    missing = _FOUR_BIT_MISSING if phased else _TWO_BIT_MISSING
    codes ^= (codes == missing).view(np.uint8) * np.uint8(missing ^ _MISSING_BYTE)
    restored: CodeArray = codes.view(np.int8)
    return restored


def alleles_of_codes(codes: CodeArray) -> npt.NDArray[np.int32]:
    """Return both alleles of each code, int32 (..., 2), missing as ``COMPACT_MISSING`` twice."""
    kernels = _kernels()
    if kernels is not None:
        pairs = np.empty(codes.size, dtype=np.int64)
        kernels.expand(codes.reshape(-1), _pair_of_code(), pairs)
        return pairs.view(np.int32).reshape(*codes.shape, 2)
    return _alleles_by_comparison(codes)


def _alleles_by_comparison(codes: CodeArray) -> npt.NDArray[np.int32]:
    out = np.empty((*codes.shape, 2), dtype=np.int32)
    out[..., 0] = (codes == 2) | (codes == HET_PHASED_REVERSED)
    out[..., 1] = (codes >= 1) & (codes != HET_PHASED_REVERSED)
    missing = codes == COMPACT_MISSING
    if missing.any():
        out[missing] = COMPACT_MISSING
    return out


def codes_of_alleles(alleles: npt.NDArray[np.int16], phased: npt.NDArray[np.bool_]) -> CodeArray:
    """Return the codes of diploid calls with alleles 0 and 1; both alleles are negative where a call is missing."""
    codes = (alleles[..., 0] + alleles[..., 1]).astype(np.int8)  # a sum over so short an axis takes ten times longer
    codes[alleles[..., 0] < 0] = COMPACT_MISSING
    het = phased & (codes == 1)
    codes[het] = np.where(alleles[..., 0][het] == 0, HET_PHASED, HET_PHASED_REVERSED)
    return codes


UNPHASED_HET, PHASED_HET = 1, 2


def heterozygotes_of_rows(codes: CodeArray) -> npt.NDArray[np.uint8]:
    """Return for each row whether it holds unphased heterozygotes (``UNPHASED_HET``) and phased ones (``PHASED_HET``).

    >>> heterozygotes_of_rows(np.array([[0, 2, -9], [1, 0, 0], [1, 3, 4], [4, 2, 0]], dtype=np.int8)).tolist()
    [0, 1, 3, 2]
    """
    kernels = _kernels()
    if kernels is not None:
        found = np.empty(len(codes), dtype=np.uint8)
        kernels.kinds_of_rows(codes, found)
        return found
    phased = codes.max(axis=1, initial=0) >= HET_PHASED
    unphased = (codes == 1).any(axis=1)
    kinds: npt.NDArray[np.uint8] = (UNPHASED_HET * unphased + PHASED_HET * phased).astype(np.uint8)
    return kinds


def count_missing(codes: CodeArray) -> int:
    """Return how many codes are missing, of int8 (n, n_samples)."""
    kernels = _kernels()
    if kernels is not None:
        return int(kernels.count_equal(codes, COMPACT_MISSING))
    return int(np.count_nonzero(codes == COMPACT_MISSING))
