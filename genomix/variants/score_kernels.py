"""The inner loops of scoring: a NumPy form, and the same compiled for many genotypes.

Every sample's sum is built up weight after weight in their order, so that its bits depend neither on the block size nor
on threads, nor on which other samples are scored. Products and sums are rounded one by one (no fused multiply-add).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.schemas.scores import ADDITIVE, DOMINANT, RECESSIVE

FloatArray = npt.NDArray[np.float64]
DosageArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

CONSTANT = "constant"
CODINGS = (ADDITIVE, DOMINANT, RECESSIVE, CONSTANT)
"""What a weight multiplies: copies, copies up to one, copies beyond one, or one where the genotype is known."""

ABSENT = np.float32(-1)
"""Copies of an allele that the sample cannot carry (Y in women): nothing is added and nothing counted."""

COMPILED_FROM = 100_000_000
"""Weights times samples from which compiling (or loading what was compiled) pays."""


class Terms(NamedTuple):
    """Terms of one block, those of one score together and in order; all arrays (n_terms,).

    ``row`` of the block's copies, ``score``, ``weight``, ``coding`` (index in CODINGS), ``fill`` (coded copies that a
    missing genotype counts as) and ``alleles`` (that a known genotype counts in the denominator).
    """

    row: IntArray
    score: IntArray
    weight: FloatArray
    coding: IntArray
    fill: FloatArray
    alleles: IntArray

    def taken(self, at: IntArray) -> Terms:
        """Return some terms, in the given order."""
        return Terms(
            self.row[at], self.score[at], self.weight[at], self.coding[at], self.fill[at], self.alleles[at]
        )  # fmt: skip


def coded(copies: FloatArray, coding: int) -> FloatArray:
    """Return what a weight multiplies, for copies in [0, 2]; NaN stays NaN."""
    if CODINGS[coding] == DOMINANT:
        return np.minimum(copies, 1.0)
    if CODINGS[coding] == RECESSIVE:
        return np.maximum(copies - 1.0, 0.0)
    return np.where(np.isnan(copies), copies, 1.0) if CODINGS[coding] == CONSTANT else copies


def add_terms_plainly(
    copies: DosageArray, terms: Terms, gaps: npt.NDArray[np.int8], totals: FloatArray, missing: IntArray
) -> None:
    """Add each term to its score's totals (n_scores, n_samples), and the alleles of missing genotypes to ``missing``.

    Parameters
    ----------
    copies: float32 (n_rows, n_samples), NaN missing, ABSENT where there can be none.
    gaps: int8 (n_rows,): 0 for rows that are whole, 1 with missing genotypes, 2 with absent ones too.
    """
    for row, score, weight, coding, fill, alleles in zip(*(a.tolist() for a in terms), strict=True):
        known = copies[row].astype(np.float64)
        absent = np.flatnonzero(known < 0) if gaps[row] > 1 else None
        value = coded(known, coding)
        if gaps[row]:
            lacking = np.flatnonzero(np.isnan(copies[row]))
            value[lacking] = fill
            missing[score, lacking] += alleles
        if absent is not None:
            value[absent] = 0.0
        totals[score] += weight * value


def add_terms(
    copies: DosageArray,
    terms: Terms,
    gaps: npt.NDArray[np.int8],
    totals: FloatArray,
    missing: IntArray,
    *,
    threads: int = 1,
) -> None:
    """Do what :func:`add_terms_plainly` does, compiled, each thread on samples of its own."""
    kernel = _kernels().add
    n = copies.shape[1]
    cuts = [min(n, i * -(-n // threads)) for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        jobs = [
            pool.submit(kernel, copies, *terms, gaps, totals, missing, first, last) for first, last in pairwise(cuts)
        ]
        for job in jobs:
            job.result()


class RowCounts(NamedTuple):
    """Sum of the known copies and number of known genotypes, float64 and int64 (n_rows,)."""

    copies: FloatArray
    called: IntArray


def count_rows_plainly(copies: DosageArray) -> RowCounts:
    """Return each row's known copies: dosages are multiples of 2^-14, so that any order gives the same sum."""
    known = ~np.isnan(copies)
    return RowCounts(np.where(known, copies, 0).sum(axis=1, dtype=np.float64), known.sum(axis=1, dtype=np.int64))


def count_rows(copies: DosageArray) -> RowCounts:
    """Do what :func:`count_rows_plainly` does, compiled."""
    result: tuple[FloatArray, IntArray] = _kernels().count(copies)
    return RowCounts(*result)


class _Kernels(NamedTuple):
    add: Callable[..., None]
    count: Callable[..., Any]


@lru_cache(maxsize=1)
def _kernels() -> _Kernels:
    from genomix.variants import _score_numba

    return _Kernels(_score_numba.add_terms, _score_numba.count_rows)
