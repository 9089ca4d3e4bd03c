"""Weighted pairs in order of time and score, counted with a Fenwick tree over the ranks of the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_kernel: Any = njit(cache=True, nogil=True)


@_kernel  # type: ignore[untyped-decorator, unused-ignore]  # numba is untyped
def ordered_pairs(
    row: np.ndarray, asks: np.ndarray, rank: np.ndarray, early: np.ndarray, late: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of pairs in order (ties of the score count half) and of all pairs, each (resamples,).

    Parameters
    ----------
    row, asks: int64, bool (steps,): at each step a row is compared with the rows put in so far, or put in.
    rank: int64 (rows,): 0-based rank of the score, tied rows alike.
    early, late: float64 (rows, resamples): weight of a row as the one with the event, and as the one that outlives it.
    """
    size, width = 1, late.shape[1]
    while size <= rank.max() + 1:
        size *= 2
    tree = np.zeros((size, width))
    same = np.zeros((rank.max() + 1, width))
    total, below = np.zeros(width), np.zeros(width)
    in_order, pairs = np.zeros(width), np.zeros(width)
    for step in range(row.size):
        i = row[step]
        r = rank[i]
        if asks[step]:
            below[:] = 0.0
            node = r
            while node > 0:
                for b in range(width):
                    below[b] += tree[node, b]
                node -= node & -node
            for b in range(width):
                in_order[b] += early[i, b] * (below[b] + 0.5 * same[r, b])
                pairs[b] += early[i, b] * total[b]
        else:
            node = r + 1
            while node < size:
                for b in range(width):
                    tree[node, b] += late[i, b]
                node += node & -node
            for b in range(width):
                same[r, b] += late[i, b]
                total[b] += late[i, b]
    return in_order, pairs
