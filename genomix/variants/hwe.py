"""Exact test of Hardy-Weinberg proportions, with mid-p.

Wigginton, Cutler and Abecasis 2005 (doi:10.1086/429864) for the distribution of heterozygotes given the allele count;
Graffelman and Moreno 2013 (doi:10.1515/sagmb-2012-0039) for the mid-p value: half the probability of what was
observed, plus that of everything less likely. A small value says that genotypes do not pair at random; it does not say
why (genotyping error, population structure and selection look alike).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_TIE = 1e-7
"""Probabilities this close, relatively, count as equal: they differ by rounding only."""

_CELLS = 1 << 21

FloatArray = npt.NDArray[np.float64]


def hwe_exact_mid_p(n_het: int, n_hom_a: int, n_hom_b: int) -> float:
    """Return the mid-p value of one variant from its three genotype counts.

    Without a minor allele only one table is possible, and half its probability is 0.5 (PLINK 2 agrees).

    Three of each homozygote and no heterozygote: of 924 equally likely pairings 20 look so, and none is less likely.

    >>> abs(hwe_exact_mid_p(0, 3, 3) - 0.5 * 20 / 924) < 1e-15
    True
    """
    n = n_het + n_hom_a + n_hom_b
    rare = 2 * min(n_hom_a, n_hom_b) + n_het
    if rare == 0:
        return 0.5
    middle = rare * (2 * n - rare) // (2 * n)
    middle += (middle ^ rare) & 1
    weight = {middle: 1.0}
    for het in range(middle, 1, -2):  # equation 2 of Wigginton et al., towards fewer heterozygotes
        hom_rare, hom_common = (rare - het) // 2, n - het - (rare - het) // 2
        weight[het - 2] = weight[het] * het * (het - 1) / (4 * (hom_rare + 1) * (hom_common + 1))
    for het in range(middle, rare - 1, 2):
        hom_rare, hom_common = (rare - het) // 2, n - het - (rare - het) // 2
        weight[het + 2] = weight[het] * 4 * hom_rare * hom_common / ((het + 2) * (het + 1))
    seen = weight[n_het]
    less = math.fsum(w for w in weight.values() if w < seen * (1 - _TIE))
    ties = math.fsum(w for w in weight.values() if abs(w - seen) <= seen * _TIE)
    return (less + 0.5 * ties) / math.fsum(weight.values())


def hwe_exact_mid_p_many(n_het: Any, n_hom_a: Any, n_hom_b: Any) -> FloatArray:
    """Return mid-p values, float64 (n_variants,), of arrays of genotype counts; 0.5 without a minor allele."""
    het, one, other = (np.asarray(a, dtype=np.int64) for a in (n_het, n_hom_a, n_hom_b))
    counts, inverse = np.unique(np.column_stack([het, np.minimum(one, other), np.maximum(one, other)]), axis=0,
                                return_inverse=True)  # fmt: skip
    found = np.full(len(counts), 0.5)
    n = int(counts.sum(axis=1).max(initial=0))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 2 * n + 2)))])
    rare = 2 * counts[:, 1] + counts[:, 0]
    by_size = np.argsort(rare, kind="stable")
    start = int(np.searchsorted(rare[by_size], 1))
    while start < len(by_size):
        step = max(1, _CELLS // max(1, int(rare[by_size[-1]]) // 2 + 1))
        at = by_size[start : start + step]
        found[at] = _mid_p_rows(counts[at], rare[at], log_factorial)
        start += step
    return np.asarray(found[inverse.reshape(-1)])


def _mid_p_rows(counts: npt.NDArray[np.int64], rare: npt.NDArray[np.int64], log_factorial: FloatArray) -> FloatArray:
    """One row per variant, one column per possible number of heterozygotes (those of the allele count's parity)."""
    n = counts.sum(axis=1)
    het = (rare % 2)[:, None] + 2 * np.arange(int(rare.max()) // 2 + 1)
    possible = het <= rare[:, None]
    hom_rare = np.where(possible, (rare[:, None] - het) // 2, 0)
    shown = np.where(possible, het, 0)
    hom_common = np.where(possible, n[:, None] - shown - hom_rare, 0)
    log_p = shown * math.log(2.0) - log_factorial[shown] - log_factorial[hom_rare] - log_factorial[hom_common]
    log_p = np.where(possible, log_p, -np.inf)
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    seen = p[np.arange(len(p)), (counts[:, 0] - rare % 2) // 2][:, None]
    less = np.where(p < seen * (1 - _TIE), p, 0.0).sum(axis=1)
    ties = np.where(np.abs(p - seen) <= seen * _TIE, p, 0.0).sum(axis=1)
    return np.asarray((less + 0.5 * ties) / p.sum(axis=1))
