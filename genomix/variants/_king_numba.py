"""Numba kernel of KING-robust: pairs compared 64 variants at a time; imported where the work is large enough.

The reference is the matrix products of :mod:`genomix.variants.kinship`; both count the same integers.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
from numba.extending import intrinsic

Words = npt.NDArray[np.uint64]

_TILE = 32


def _count_bits(_context: Any, _word: Any) -> Any:
    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return nb.types.uint64(nb.types.uint64), generate


_popcount: Any = intrinsic(_count_bits)


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]  # numba is untyped
def pack(calls: npt.NDArray[np.int8], out: Words) -> None:
    """Fill ``out``, uint64 (3, n_samples, n_words), zeros: bits of heterozygous, REF and ALT homozygous calls.

    ``calls`` is int8 (n_variants, n_samples) and read row by row; variant v is bit v % 64 of word v // 64.
    """
    n_variants, n_samples = calls.shape
    words = np.empty((3, n_samples), dtype=np.uint64)
    for first in range(0, n_variants, 64):
        words[:] = 0
        for v in range(first, min(first + 64, n_variants)):
            shift = np.uint64(v - first)
            for s in range(n_samples):
                call = calls[v, s]
                words[0, s] |= np.uint64(call == 1) << shift
                words[1, s] |= np.uint64(call == 0) << shift
                words[2, s] |= np.uint64(call == 2) << shift
        out[:, :, first // 64] = words


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]  # numba is untyped
def add_counts(left: Words, right: Words, n_variants: int, same: bool, out: npt.NDArray[np.int32]) -> None:
    """Add a block's counts to ``out``, int32 (3, n_left, n_right).

    ``out`` holds the sum of squared differences, and the heterozygous calls of the left and of the right sample, where
    both are called. ``left`` and ``right`` are what :func:`pack` made of ``n_variants`` variants.
    With ``same`` only pairs above the diagonal are counted.
    """
    n_words = left.shape[2]
    het_left, called_left = _row_counts(left)
    het_right, called_right = _row_counts(right)
    for begin in range(0, right.shape[1], _TILE):
        end = min(begin + _TILE, right.shape[1])
        for i in range(left.shape[1]):
            for j in range(max(begin, i + 1) if same else begin, end):
                both = apart = het_i = het_j = np.uint64(0)
                if called_left[i] == n_variants and called_right[j] == n_variants:
                    for w in range(n_words):
                        ref_i, alt_i, ref_j, alt_j = left[1, i, w], left[2, i, w], right[1, j, w], right[2, j, w]
                        both += _popcount(left[0, i, w] & right[0, j, w])
                        apart += _popcount((ref_i & alt_j) | (alt_i & ref_j))
                    het_i, het_j = het_left[i], het_right[j]
                else:
                    for w in range(n_words):
                        a, b = left[0, i, w], right[0, j, w]
                        ref_i, alt_i, ref_j, alt_j = left[1, i, w], left[2, i, w], right[1, j, w], right[2, j, w]
                        both += _popcount(a & b)
                        apart += _popcount((ref_i & alt_j) | (alt_i & ref_j))
                        het_i += _popcount(a & (b | ref_j | alt_j))
                        het_j += _popcount(b & (a | ref_i | alt_i))
                out[0, i, j] += np.int32(het_i + het_j - 2 * both + 4 * apart)
                out[1, i, j] += np.int32(het_i)
                out[2, i, j] += np.int32(het_j)


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]  # numba is untyped
def _row_counts(planes: Words) -> tuple[Words, Words]:
    """Return heterozygous and called variants of each sample."""
    het = np.zeros(planes.shape[1], dtype=np.uint64)
    called = np.zeros(planes.shape[1], dtype=np.uint64)
    for i in range(planes.shape[1]):
        for w in range(planes.shape[2]):
            het[i] += _popcount(planes[0, i, w])
            called[i] += _popcount(planes[0, i, w] | planes[1, i, w] | planes[2, i, w])
    return het, called


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]  # numba is untyped
def kinship_from(
    counts: npt.NDArray[np.int32], same: bool, minimum: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64], int]:
    """Return places and kinship of the pairs of at least ``minimum`` (with ``same``: above the diagonal).

    And how many pairs have none, since one of the two has no heterozygous call where both are called.
    """
    n_found, n_undefined = 0, 0
    for fill in range(2):
        if fill == 0:
            first, second, kinship = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
        else:
            first, second, kinship = np.empty(n_found, np.int64), np.empty(n_found, np.int64), np.empty(n_found)
        n_found = 0
        for i in range(counts.shape[1]):
            for j in range(i + 1 if same else 0, counts.shape[2]):
                fewer = min(counts[1, i, j], counts[2, i, j])
                if fewer > 0:
                    value = 0.5 - np.float64(counts[0, i, j]) / (4.0 * np.float64(fewer))
                    if value >= minimum:
                        if fill == 1:
                            first[n_found], second[n_found], kinship[n_found] = i, j, value
                        n_found += 1
                elif fill == 0:
                    n_undefined += 1
    return first, second, kinship, n_undefined
