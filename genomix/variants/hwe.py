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

_NEGLIGIBLE = 1e-18
"""A tail whose next term is this small against what was seen adds nothing: terms fall at least geometrically there."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


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
    """Return mid-p values, float64 (n_variants,), of arrays of genotype counts; 0.5 without a minor allele.

    Equal tables are worked out once, and all of them together: the recurrence of :func:`hwe_exact_mid_p` takes one step
    of every table at a time, and a table leaves when what is left of its tail cannot change the result.
    """
    het, one, other = (np.asarray(a, dtype=np.int64) for a in (n_het, n_hom_a, n_hom_b))
    counts, inverse = _distinct(het, np.minimum(one, other), np.maximum(one, other))
    found = np.full(len(counts[0]), 0.5)
    rare = 2 * counts[1] + counts[0]
    at = np.flatnonzero(rare > 0)
    if len(at):
        found[at] = _mid_p(counts[0][at], rare[at], (counts[0] + counts[1] + counts[2])[at])
    return np.asarray(found[inverse])


def _distinct(het: IntArray, fewer: IntArray, more: IntArray) -> tuple[tuple[IntArray, IntArray, IntArray], IntArray]:
    """Return the distinct tables, and for each given table which of them it is."""
    order = np.lexsort((more, fewer, het))
    columns = [c[order] for c in (het, fewer, more)]
    new = np.ones(len(order), dtype=np.bool_)
    if len(order):
        new[1:] = (columns[0][1:] != columns[0][:-1]) | (columns[1][1:] != columns[1][:-1])
        new[1:] |= columns[2][1:] != columns[2][:-1]
    inverse = np.empty(len(order), dtype=np.int64)
    inverse[order] = np.cumsum(new) - 1
    return (columns[0][new], columns[1][new], columns[2][new]), inverse


def _mid_p(het: IntArray, rare: IntArray, n: IntArray) -> FloatArray:
    """Mid-p values of tables with a minor allele: walk from the most likely number of heterozygotes both ways."""
    middle = rare * (2 * n - rare) // (2 * n)
    middle += (middle ^ rare) & 1
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, int(n.max()) + 1)))])

    def log_weight(h: IntArray) -> FloatArray:
        hom = (rare - h) // 2
        return np.asarray(
            h * math.log(2.0) - log_factorial[h] - log_factorial[hom] - log_factorial[n - h - hom], dtype=np.float64
        )

    seen = np.exp(log_weight(het) - log_weight(middle))
    sums = np.zeros((3, len(het)))
    _add(sums, np.arange(len(het)), np.ones(len(het)), seen)
    for upwards in (False, True):
        _walk(sums, middle, rare, n, seen, upwards=upwards)
    total, less, ties = sums
    return np.asarray((less + 0.5 * ties) / total)


def _add(sums: FloatArray, at: IntArray, weight: FloatArray, seen: FloatArray) -> None:
    """Add a weight of each table to its total, and to what is less likely than, or as likely as, what was seen."""
    sums[0, at] += weight
    sums[1, at] += np.where(weight < seen * (1 - _TIE), weight, 0.0)
    sums[2, at] += np.where(np.abs(weight - seen) <= seen * _TIE, weight, 0.0)


def _walk(sums: FloatArray, middle: IntArray, rare: IntArray, n: IntArray, seen: FloatArray, *, upwards: bool) -> None:
    """Add the weights on one side of the middle (equation 2 of Wigginton et al.)."""
    at = np.arange(len(middle))
    h = middle.astype(np.float64)
    hom_rare, hom_common = (rare - h) / 2, n - h - (rare - h) / 2
    weight, least = np.ones(len(h)), seen * _NEGLIGIBLE
    near = seen
    while True:
        if upwards:
            weight = weight * (4 * hom_rare * hom_common / ((h + 2) * (h + 1)))
        else:
            weight = weight * (h * (h - 1) / (4 * (hom_rare + 1) * (hom_common + 1)))
        going = weight > least
        if not going.all():
            at, h, hom_rare, hom_common = at[going], h[going], hom_rare[going], hom_common[going]
            weight, least, near = weight[going], least[going], near[going]
        if not len(at):
            return
        step = 1.0 if upwards else -1.0
        h, hom_rare, hom_common = h + 2 * step, hom_rare - step, hom_common - step
        _add(sums, at, weight, near)
