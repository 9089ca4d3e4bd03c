"""Exact Hardy-Weinberg mid-p: against enumeration, and the vector against the scalar."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from genomix.variants.hwe import hwe_exact_mid_p, hwe_exact_mid_p_many


def enumerated(n_het: int, n_a: int, n_b: int) -> float:
    """Exact rational arithmetic over all genotype tables with the same allele counts (Wigginton 2005, equation 1)."""
    n, copies = n_het + n_a + n_b, 2 * n_a + n_het

    def probability(het: int) -> Fraction:
        a = (copies - het) // 2
        ways = math.factorial(n) // (math.factorial(a) * math.factorial(het) * math.factorial(n - a - het))
        return Fraction(ways * 2**het, math.comb(2 * n, copies))

    table = {het: probability(het) for het in range(copies % 2, min(copies, 2 * n - copies) + 1, 2)}
    assert sum(table.values()) == 1
    seen = table[n_het]
    return float(sum(p for p in table.values() if p < seen) + sum(p for p in table.values() if p == seen) / 2)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 16])
def test_every_table_of_a_size(n: int) -> None:
    tables = [(h, a, n - h - a) for h in range(n + 1) for a in range(n - h + 1)]
    truth = [enumerated(*t) for t in tables]
    np.testing.assert_allclose([hwe_exact_mid_p(*t) for t in tables], truth, rtol=1e-12)
    np.testing.assert_allclose(hwe_exact_mid_p_many(*np.array(tables).T), truth, rtol=1e-12)


def test_large_tables_and_tiny_p() -> None:
    tables = np.array([(300, 20, 80), (0, 30, 3000), (2000, 600, 602), (1000, 0, 0), (1, 0, 5000), (0, 0, 0)])
    scalar = [hwe_exact_mid_p(*map(int, t)) for t in tables]
    np.testing.assert_allclose(hwe_exact_mid_p_many(*tables.T), scalar, rtol=1e-9)
    assert scalar[3] < 1e-290


def test_order_of_homozygotes_does_not_matter_and_empty_is_empty() -> None:
    assert hwe_exact_mid_p(5, 2, 9) == pytest.approx(hwe_exact_mid_p(5, 9, 2), rel=1e-15)
    assert hwe_exact_mid_p_many([], [], []).shape == (0,)
