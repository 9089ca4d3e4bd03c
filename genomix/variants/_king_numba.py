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
def add_counts(left: Words, right: Words, same: bool, out: npt.NDArray[np.int32]) -> None:
    """Add a block's counts to ``out``, int32 (3, n_left, n_right).

    ``out`` holds the sum of squared differences, and the heterozygous calls of the left and of the right sample, where
    both are called. ``left`` and ``right`` are uint64 (3, n_samples, n_words): bits of heterozygous, REF homozygous and
    ALT homozygous calls.
    With ``same`` only pairs above the diagonal are counted.
    """
    n_words = left.shape[2]
    for begin in range(0, right.shape[1], _TILE):
        end = min(begin + _TILE, right.shape[1])
        for i in range(left.shape[1]):
            for j in range(max(begin, i + 1) if same else begin, end):
                both = apart = het_i = het_j = np.uint64(0)
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
