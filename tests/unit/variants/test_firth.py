"""Firth's regression against closed forms, direct maximisation and the plain reference."""

from __future__ import annotations

import numpy as np
import pytest

from genomix.errors import LabelError
from genomix.variants.assoc_logistic import (
    LogisticNull,
    Tile,
    fit_logistic_null,
    logistic_reference,
    scan_logistic,
    scan_score,
    separated,
)
from genomix.variants.firth import approximate_firth_null, firth_reference, scan_firth


def table_of(a: int, b: int, c: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Cases: a carriers, b others; controls: c carriers, d others."""
    cases = np.repeat([1.0, 1.0, 0.0, 0.0], [a, b, c, d])
    return cases, np.repeat([1.0, 0.0, 1.0, 0.0], [a, b, c, d])


@pytest.mark.parametrize("cells", [(5, 10, 3, 20), (0, 12, 4, 30), (1, 9, 0, 40), (6, 0, 0, 7), (0, 5, 1, 5)])
def test_a_two_by_two_table_has_half_a_person_added_to_each_cell(cells: tuple[int, int, int, int]) -> None:
    """In the saturated model the penalty is Jeffreys' prior: log odds ratio of the cells plus 1/2 (Firth 1993)."""
    cases, carrier = table_of(*cells)
    a, b, c, d = (x + 0.5 for x in cells)
    null = fit_logistic_null(cases, np.ones((len(cases), 1)))
    found = scan_firth(null, Tile(carrier[None], None))
    assert found.converged[0]
    assert found.beta[0] == pytest.approx(np.log(a * d / (b * c)), rel=1e-6, abs=1e-7)


def case_set(seed: int, n: int = 90, m: int = 12) -> tuple[LogisticNull, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), rng.normal(size=n), rng.integers(0, 2, n)])
    genotypes = rng.binomial(2, np.linspace(0.005, 0.5, m)[:, None], (m, n)).astype(float)
    genotypes[:, 0] = 1
    eta = -1 + 0.7 * design[:, 1] + 0.9 * genotypes[-1]
    cases = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)
    missing = rng.random((m, n)) < 0.05
    missing[:, 0] = False
    return fit_logistic_null(cases, design, rng.normal(0, 0.3, n)), genotypes, missing


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_batches_equal_the_reference(seed: int) -> None:
    null, genotypes, missing = case_set(seed)
    tile = Tile(np.where(missing, 0, genotypes), 1.0 - missing)
    firth, plain = scan_firth(null, tile), scan_logistic(null, tile)
    assert firth.converged.all()
    for i in range(len(genotypes)):
        g = np.where(missing[i], np.nan, genotypes[i])
        beta, se, loglik = firth_reference(null.cases, null.design, g, null.offset)
        assert firth.beta[i] == pytest.approx(beta, rel=1e-6, abs=1e-7)
        assert firth.se[i] == pytest.approx(se, rel=1e-6)
        assert firth.log_likelihood[i] == pytest.approx(loglik, rel=1e-9)
        if plain.converged[i]:
            expected = logistic_reference(null.cases, null.design, g, null.offset)
            assert plain.beta[i] == pytest.approx(expected[0], rel=1e-7, abs=1e-9)
            assert plain.se[i] == pytest.approx(expected[1], rel=1e-7)


def test_the_penalised_likelihood_is_at_its_maximum() -> None:
    """Truth by a general optimiser, free and with the genotype's effect held at 0."""
    from scipy.optimize import minimize

    null, genotypes, _ = case_set(4)
    tile = Tile(genotypes[3:5], None)
    free, held = scan_firth(null, tile), scan_firth(null, tile, without_genotype=True)
    for i in range(2):
        x = np.column_stack([null.design, tile.genotypes[i]])

        def negative(beta: np.ndarray, x: np.ndarray = x) -> float:
            eta = x @ beta + null.offset
            w = 1 / (1 + np.exp(-eta)) / (1 + np.exp(eta))
            loglik = (null.cases * eta - np.logaddexp(0, eta)).sum()
            return float(-loglik - 0.5 * np.linalg.slogdet(x.T @ (x * w[:, None]))[1])

        best = minimize(negative, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
        assert free.log_likelihood[i] == pytest.approx(-best.fun, abs=1e-7)
        assert free.beta[i] == pytest.approx(best.x[-1], abs=1e-4)
        without = minimize(lambda b: negative(np.append(b, 0.0)), np.zeros(3), method="BFGS", options={"gtol": 1e-8})
        assert held.log_likelihood[i] == pytest.approx(-without.fun, abs=1e-7)
        assert held.beta[i] == 0.0


def test_separation_stops_logistic_regression_and_not_firth() -> None:
    cases, carrier = table_of(0, 15, 6, 25)
    null = fit_logistic_null(cases, np.ones((len(cases), 1)))
    tile = Tile(np.vstack([carrier, 1 - carrier]), None)
    assert separated(cases, tile).all()
    assert not scan_logistic(null, tile).converged.any()
    found = scan_firth(null, tile)
    assert found.converged.all()
    assert found.beta[0] == pytest.approx(-found.beta[1], rel=1e-6)


def test_quasi_separation_within_a_covariate_is_found_by_not_converging() -> None:
    """Carriers are cases and controls overall, but in one stratum only; no single genotype range tells."""
    rng = np.random.default_rng(6)
    stratum = np.repeat([0.0, 1.0], 40)
    g = np.concatenate([np.zeros(40), rng.integers(0, 2, 40)]).astype(float)
    cases = np.concatenate([rng.integers(0, 2, 40), g[40:]]).astype(float)
    g[:3], cases[:3] = 0, [0, 1, 0]
    design = np.column_stack([np.ones(80), stratum])
    null = fit_logistic_null(cases, design)
    tile = Tile(g[None], None)
    assert not scan_logistic(null, tile).converged[0]
    beta, se, _ = firth_reference(cases, design, g)
    found = scan_firth(null, tile)
    assert found.beta[0] == pytest.approx(beta, rel=1e-6)
    assert found.se[0] == pytest.approx(se, rel=1e-6)


def test_covariates_that_separate_are_an_error() -> None:
    x = np.linspace(-1, 1, 30)
    with pytest.raises(LabelError, match="separate cases from controls"):
        fit_logistic_null((x > 0).astype(float), np.column_stack([np.ones(30), x]))


def test_firth_fits_where_covariates_separate() -> None:
    """As PLINK 2 does: no model without the genotype is needed."""
    rng = np.random.default_rng(3)
    for quasi in (False, True):
        cases = (np.arange(60) % 2).astype(float)
        covariate = cases.copy() if not quasi else ((np.arange(60) % 6) == 1).astype(float)
        design = np.column_stack([np.ones(60), (covariate - covariate.mean()) / covariate.std()])
        null = fit_logistic_null(cases, design, for_firth=True)
        assert not null.converged
        g = rng.binomial(2, 0.3, (20, 60)).astype(float)
        called = (rng.random((20, 60)) > 0.05).astype(float)
        tile = Tile(g * called, called)
        assert not scan_logistic(null, tile).converged.any()
        found = scan_firth(null, tile)
        assert found.converged.all()
        for i in range(20):
            beta, se, value = firth_reference(cases, design, np.where(called[i] > 0, g[i], np.nan))
            assert found.beta[i] == pytest.approx(beta, rel=1e-5, abs=1e-7)
            assert found.se[i] == pytest.approx(se, rel=1e-5)
            assert found.log_likelihood[i] == pytest.approx(value, rel=1e-7)


def test_a_single_carrier_converges_with_any_phenotype() -> None:
    for status in (0.0, 1.0):
        cases = np.array([status] + [1.0] * 20 + [0.0] * 300)
        g = np.zeros(321)
        g[0] = 2.0
        null = fit_logistic_null(cases, np.ones((321, 1)))
        found = scan_firth(null, Tile(g[None], None))
        assert found.converged[0]
        a, b, c, d = status + 0.5, 20.5, 1.5 - status, 300.5
        assert found.beta[0] == pytest.approx(np.log(a * d / (b * c)) / 2, rel=1e-6)  # a carrier has two copies


def test_score_statistics_are_those_of_the_likelihood_at_the_null() -> None:
    """Score and information by numerical differentiation of the profile log-likelihood in the genotype's effect."""
    null, genotypes, _ = case_set(7)
    shift = null.design @ null.coefficients + null.offset

    def loglik(beta: float, g: np.ndarray) -> float:
        eta = shift + beta * g
        return float((null.cases * eta - np.logaddexp(0, eta)).sum())

    found = scan_score(null, Tile(genotypes, None))
    for i, residual in enumerate(found.residual):
        step = 1e-4
        up, middle, down = (loglik(b, residual) for b in (step, 0.0, -step))
        score, information = (up - down) / (2 * step), (2 * middle - up - down) / step**2
        assert found.beta[i] == pytest.approx(score / information, rel=1e-4, abs=1e-6)
        assert found.se[i] == pytest.approx(information**-0.5, rel=1e-4)


def test_approximate_firth_estimates_one_effect_only() -> None:
    """With covariates held, the maximum of log L + 1/2 log(sum w g^2) over one number, found on a grid."""
    null, genotypes, _ = case_set(8)
    held = approximate_firth_null(null)
    residual = scan_score(null, Tile(genotypes[2:5], None)).residual
    found = scan_firth(held, Tile(residual, None))
    assert found.converged.all()
    for i, g in enumerate(residual):
        grid = found.beta[i] + np.linspace(-0.5, 0.5, 2001)
        eta = held.offset + grid[:, None] * g
        w = 1 / (1 + np.exp(-eta)) / (1 + np.exp(eta))
        value = (null.cases * eta - np.logaddexp(0, eta)).sum(axis=1) + 0.5 * np.log((w * g**2).sum(axis=1))
        assert grid[value.argmax()] == pytest.approx(found.beta[i], abs=6e-4)
        assert value.max() == pytest.approx(found.log_likelihood[i], abs=1e-6)
