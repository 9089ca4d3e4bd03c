"""Compiled loops of :mod:`genomix.variants.score_kernels`; importing this costs about half a CPU second."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_TILE = 512


@njit(cache=True, nogil=True)
def _add_one(out: Any, x: Any, weight: float, coding: int, fill: float, lost: Any, alleles: int) -> None:
    for s in range(x.shape[0]):
        copies = np.float64(x[s])
        if np.isnan(copies):
            value = fill
            lost[s] += alleles
        elif copies < 0.0:
            value = 0.0
        elif coding == 1:
            value = min(copies, 1.0)
        elif coding == 2:
            value = max(copies - 1.0, 0.0)
        elif coding == 3:
            value = 1.0
        else:
            value = copies
        out[s] += weight * value


@njit(cache=True, nogil=True)
def _add_filled(out: Any, x: Any, weight: float, fill: float, lost: Any, alleles: int) -> None:
    """Additive, without absent alleles: no branch, so that it vectorises."""
    for s in range(x.shape[0]):
        known = x[s] == x[s]
        out[s] += weight * (np.float64(x[s]) if known else fill)
        lost[s] += 0 if known else alleles


@njit(cache=True, nogil=True)
def _add_whole(out: Any, x: Any, weight: float) -> None:
    for s in range(x.shape[0]):
        out[s] += weight * np.float64(x[s])


@njit(cache=True, nogil=True)
def _add_four(out: Any, a: Any, b: Any, c: Any, d: Any, wa: float, wb: float, wc: float, wd: float) -> None:
    """Four weights in their order, one rounding each: fewer passes over the totals."""
    for s in range(out.shape[0]):
        total = out[s]
        total += wa * np.float64(a[s])
        total += wb * np.float64(b[s])
        total += wc * np.float64(c[s])
        total += wd * np.float64(d[s])
        out[s] = total


@njit(cache=True, nogil=True)
def add_terms(
    copies: Any, row: Any, score: Any, weight: Any, coding: Any, fill: Any, alleles: Any, gaps: Any,
    totals: Any, missing: Any, first: int, last: int,
) -> None:  # fmt: skip
    """See ``score_kernels.add_terms_plainly``; samples ``first`` to ``last``, tile by tile."""
    n_terms = row.shape[0]
    plain = np.empty(n_terms, dtype=np.bool_)
    for t in range(n_terms):
        plain[t] = coding[t] == 0 and gaps[row[t]] == 0
    for start in range(first, last, _TILE):
        end = min(start + _TILE, last)
        t = 0
        while t < n_terms:
            k = score[t]
            out = totals[k, start:end]
            together = t + 3 < n_terms and score[t + 3] == k
            if together and plain[t] and plain[t + 1] and plain[t + 2] and plain[t + 3]:
                _add_four(
                    out, copies[row[t], start:end], copies[row[t + 1], start:end], copies[row[t + 2], start:end],
                    copies[row[t + 3], start:end], weight[t], weight[t + 1], weight[t + 2], weight[t + 3],
                )  # fmt: skip
                t += 4
                continue
            x = copies[row[t], start:end]
            if plain[t]:
                _add_whole(out, x, weight[t])
            elif coding[t] == 0 and gaps[row[t]] == 1:
                _add_filled(out, x, weight[t], fill[t], missing[k, start:end], alleles[t])
            else:
                _add_one(out, x, weight[t], coding[t], fill[t], missing[k, start:end], alleles[t])
            t += 1


@njit(cache=True, nogil=True)
def count_rows(copies: Any) -> Any:
    """See ``score_kernels.count_rows_plainly``: dosages in units of 2^-14 are whole numbers."""
    n_rows, n = copies.shape
    total = np.empty(n_rows, dtype=np.float64)
    called = np.empty(n_rows, dtype=np.int64)
    for r in range(n_rows):
        x = copies[r]
        units = np.int64(0)
        known = np.int64(0)
        for s in range(n):
            value = x[s]
            present = value == value
            units += np.int32(value * np.float32(16384.0)) if present else np.int32(0)
            known += present
        total[r] = units / 16384.0
        called[r] = known
    return total, called
