"""SKAT and SKAT-O: tails against published numbers, SciPy and simulation; statistics against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from genomix.variants.burden_test import prepare
from genomix.variants.skat import (
    RHOS,
    SkatScore,
    eigenvalues,
    fit_skat_null,
    score_variants,
    skat_o_p,
    skat_p,
    sum_of_chi_squares_quantile,
    sum_of_chi_squares_tail,
)


@pytest.mark.parametrize(
    ("weights", "x", "p"),
    [
        ([0.6, 0.3, 0.1], 0.1, 0.9458),
        ([0.6, 0.3, 0.1], 0.7, 0.5064),
        ([0.6, 0.3, 0.1], 2.0, 0.1240),
        ([0.6, 0.6, 0.3, 0.3, 0.1, 0.1], 0.2, 0.9936),
        ([0.6, 0.6, 0.3, 0.3, 0.1, 0.1], 2.0, 0.3998),
        ([0.6, 0.6, 0.3, 0.3, 0.1, 0.1], 6.0, 0.0161),
    ],
)
def test_tails_of_imhof_1961(weights: list[float], x: float, p: float) -> None:
    """Table 1 of Imhof 1961 (doi:10.2307/2332763), rows Q1 and Q2."""
    assert sum_of_chi_squares_tail(x, np.array(weights)) == pytest.approx(p, abs=6e-5)


@pytest.mark.parametrize("df", [1, 2, 3, 17, 150])
def test_equal_weights_are_a_chi_square(df: int) -> None:
    from scipy.stats import chi2

    for x in (0.05 * df, 0.9 * df, 1.1 * df, 3 * df, 10 * df + 100, 30 * df + 600):
        wanted = float(chi2.sf(x, df))
        assert sum_of_chi_squares_tail(2.5 * x, np.full(df, 2.5)) == pytest.approx(wanted, rel=1e-8)


def test_unequal_weights_against_the_closed_form() -> None:
    """Pairs of equal weights are exponential variables: their sum's tail is a sum of exponentials."""
    rates = np.array([3.0, 1.0, 0.2])
    weights = np.repeat(rates, 2)
    for x in (0.01, 1.0, 8.0, 40.0, 300.0):
        tail = sum(
            np.exp(-x / (2 * a)) * np.prod([a / (a - b) for b in rates if b != a]) for a in rates.tolist()
        )  # fmt: skip
        assert sum_of_chi_squares_tail(x, weights) == pytest.approx(float(tail), rel=1e-7)


def test_quantile_undoes_the_tail() -> None:
    weights = np.array([2.0, 0.7, 0.05])
    for p in (0.999, 0.4, 1e-3, 1e-12):
        assert sum_of_chi_squares_tail(sum_of_chi_squares_quantile(p, weights), weights) == pytest.approx(p, rel=1e-6)
    assert sum_of_chi_squares_quantile(1.0, weights) == 0.0
    assert np.isnan(sum_of_chi_squares_tail(1.0, np.empty(0)))
    assert sum_of_chi_squares_tail(0.0, weights) == 1.0


def draw(seed: int, n: int = 200, m: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    genotypes = rng.binomial(2, rng.uniform(0.02, 0.2, (m, 1)), (m, n)).astype(float)
    covariates = rng.normal(size=(n, 2))
    return genotypes, covariates, covariates @ [0.5, -0.2] + rng.normal(size=n), rng.uniform(0.5, 3, m)


def test_statistic_and_covariance_by_definition() -> None:
    genotypes, covariates, y, weights = draw(1)
    design = np.column_stack([np.ones(200), covariates])
    gw = genotypes.T * weights
    projection = np.eye(200) - design @ np.linalg.inv(design.T @ design) @ design.T
    residual = projection @ y
    variance = residual @ residual / (200 - 3)
    found = score_variants(fit_skat_null(prepare(y, covariates)), genotypes, weights)
    np.testing.assert_allclose(found.score, gw.T @ residual / np.sqrt(variance), rtol=1e-9)
    np.testing.assert_allclose(found.covariance, gw.T @ projection @ gw, rtol=1e-9, atol=1e-9)
    q, p = skat_p(found)
    assert q == pytest.approx(float(((gw.T @ residual) ** 2).sum() / variance))
    rng = np.random.default_rng(2)
    drawn = (rng.normal(size=(400_000, 6)) ** 2) @ np.linalg.eigvalsh(gw.T @ projection @ gw)
    assert p == pytest.approx(float((drawn > q).mean()), abs=0.004)


def test_logistic_null_by_definition() -> None:
    genotypes, covariates, y, weights = draw(3)
    cases = (y > 0.4).astype(float)
    design = np.column_stack([np.ones(200), covariates])
    beta = np.zeros(3)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        beta += np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]), design.T @ (cases - p))
    v = np.diag(p * (1 - p))
    whole = v - v @ design @ np.linalg.inv(design.T @ v @ design) @ design.T @ v
    gw = genotypes.T * weights
    found = score_variants(fit_skat_null(prepare(cases, covariates)), genotypes, weights)
    np.testing.assert_allclose(found.score, gw.T @ (cases - p), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.covariance, gw.T @ whole @ gw, rtol=1e-6, atol=1e-8)


def test_skat_o_against_simulation_of_its_definition() -> None:
    """Under the null scores are normal with the covariance A: draw them, take the smallest p, count."""
    genotypes, covariates, y, weights = draw(7, m=4)
    found = score_variants(fit_skat_null(prepare(y, covariates)), genotypes, weights)
    smallest, p = skat_o_p(found)
    rng = np.random.default_rng(4)
    scores = rng.multivariate_normal(np.zeros(4), found.covariance, 60_000)
    skat, burden = (scores**2).sum(axis=1), scores.sum(axis=1) ** 2
    extreme = np.zeros(len(scores), dtype=bool)
    for rho in RHOS:
        mixed = (1 - rho) * np.eye(4) + rho
        root = np.linalg.cholesky(mixed + 1e-12 * np.eye(4))
        limit = sum_of_chi_squares_quantile(smallest, eigenvalues(root.T @ found.covariance @ root))
        extreme |= (1 - rho) * skat + rho * burden >= limit
    assert p == pytest.approx(float(extreme.mean()), abs=0.02)
    assert smallest <= p <= min(1.0, smallest * len(RHOS))


def test_one_direction_favours_the_burden_end_and_opposite_signs_the_other() -> None:
    covariance = np.eye(10) + 0.05
    together = SkatScore(np.full(10, 1.4), covariance)
    against = SkatScore(np.tile([2.0, -2.0], 5), covariance)
    assert skat_o_p(together)[1] < skat_p(together)[1] / 3
    assert skat_o_p(against)[1] == pytest.approx(skat_p(against)[1], rel=2)
    assert skat_p(against)[1] < 1e-3


def test_one_variant_makes_all_tests_one() -> None:
    from scipy.stats import chi2

    found = SkatScore(np.array([5.0]), np.array([[4.0]]))
    wanted = float(chi2.sf(25 / 4, 1))
    assert skat_p(found)[1] == pytest.approx(wanted)
    assert skat_o_p(found)[1] == pytest.approx(wanted)


def test_nothing_varies() -> None:
    found = SkatScore(np.zeros(0), np.zeros((0, 0)))
    assert np.isnan(skat_p(found)[1])
    assert np.isnan(skat_o_p(found)[1])
