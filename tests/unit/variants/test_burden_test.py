"""Gene-based burden test against one regression per gene, written out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from genomix.errors import ConfigError, LabelError
from genomix.variants.burden_test import Prepared, prepare, scan_burdens


class Gene(NamedTuple):
    """What the tests need of a burden set."""

    gene: str
    mask: str
    rows: np.ndarray


def genes(n: int) -> list[Gene]:
    return [Gene(f"G{i}", "m", np.arange(i + 1)) for i in range(n)]


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    burden = rng.binomial(1, np.linspace(0.02, 0.4, 9), (300, 9)).astype(np.float32)
    covariates = rng.normal(size=(300, 2)) * [1.0, 500.0] + [0, 40]
    liability = 0.8 * burden[:, 5] - 0.7 * burden[:, 8] + covariates @ [0.3, 0.001]
    return burden, covariates, liability + rng.normal(size=300)


def test_linear_equals_least_squares(world: Any) -> None:
    from scipy.stats import t as student

    burden, covariates, y = world
    found = scan_burdens(burden, genes(9), prepare(y, covariates))
    for i, row in enumerate(found.iter_rows(named=True)):
        design = np.column_stack([np.ones(300), covariates, burden[:, i]])
        beta, rss, _, _ = np.linalg.lstsq(design, y, rcond=None)
        se = np.sqrt(np.linalg.inv(design.T @ design)[-1, -1] * rss[0] / (300 - 4))
        assert row["beta"] == pytest.approx(beta[-1], rel=1e-8)
        assert row["se"] == pytest.approx(se, rel=1e-8)
        assert row["p"] == pytest.approx(2 * student.sf(abs(beta[-1] / se), 296), rel=1e-7)
        assert (row["test"], row["n_variants"], row["carriers"]) == ("linear", i + 1, int(burden[:, i].sum()))


def log_likelihood(y: np.ndarray, design: np.ndarray, beta: np.ndarray) -> float:
    eta = design @ beta
    return float((y * eta - np.logaddexp(0, eta)).sum())


def newton(
    y: np.ndarray, design: np.ndarray, *, penalty: bool, fixed: int | None = None
) -> tuple[np.ndarray, float, float]:
    """Coefficients, the last one's standard error, and the (penalised) log-likelihood; ``fixed`` is held at 0."""
    free = np.array([j for j in range(design.shape[1]) if j != fixed])
    beta = np.zeros(design.shape[1])
    for _ in range(3000):
        p = 1 / (1 + np.exp(-design @ beta))
        w = p * (1 - p)
        information = design.T @ (design * w[:, None])
        hat = w * np.einsum("ij,jk,ik->i", design, np.linalg.inv(information), design) if penalty else 0.0
        step = np.linalg.solve(information[np.ix_(free, free)], (design.T @ (y - p + hat * (0.5 - p)))[free])
        beta[free] += step * min(1.0, 0.5 / np.abs(step).max())
        if np.abs(step).max() < 1e-12:
            break
    extra = 0.5 * float(np.linalg.slogdet(information)[1]) if penalty else 0.0
    return beta, float(np.sqrt(np.linalg.inv(information)[-1, -1])), log_likelihood(y, design, beta) + extra


def test_logistic_equals_newton_and_separation_falls_back_to_firth(world: Any) -> None:
    from scipy.stats import chi2, norm

    burden, covariates, y = world
    cases = (y > np.median(y)).astype(float)
    burden = burden.copy()
    burden[:, 0] = 0
    burden[np.flatnonzero(cases)[:4], 0] = 1
    found = scan_burdens(burden, genes(9), prepare(cases + 1, covariates))
    assert found["test"].to_list() == ["firth"] + ["logistic"] * 8
    scaled = (covariates - covariates.mean(axis=0)) / covariates.std(axis=0)
    for i, row in enumerate(found.iter_rows(named=True)):
        design = np.column_stack([np.ones(300), scaled, burden[:, i]])
        beta, se, value = newton(cases, design, penalty=i == 0)
        assert row["beta"] == pytest.approx(beta[-1], rel=1e-5)
        assert row["se"] == pytest.approx(se, rel=1e-5)
        if i == 0:
            ratio = 2 * (value - newton(cases, design, penalty=True, fixed=3)[2])
            assert row["statistic"] == pytest.approx(ratio, rel=1e-5)
            assert row["p"] == pytest.approx(chi2.sf(ratio, 1), rel=1e-4)
        else:
            assert row["p"] == pytest.approx(2 * norm.sf(abs(beta[-1] / se)), rel=1e-4)


def test_firth_rules(world: Any) -> None:
    burden, covariates, y = world
    cases = (y > 1).astype(float)
    burden = burden.copy()
    burden[:, 0] = 0
    burden[np.flatnonzero(cases)[:3], 0] = 1
    never = scan_burdens(burden, genes(9), prepare(cases, covariates), firth="never")
    assert never.row(0, named=True)["reason"] == "no estimate: the fit did not converge"
    assert never.row(0, named=True)["p"] is None
    always = scan_burdens(burden, genes(9), prepare(cases, covariates), firth="always")
    assert set(always["test"]) == {"firth"}
    assert always["p"].null_count() == 0
    assert np.abs(always["beta"][8]) < np.abs(never["beta"][8]), "the penalty shrinks"


def test_covariates_that_separate_leave_firth(world: Any) -> None:
    burden, covariates, y = world
    cases = (y > 1).astype(float)
    marked = np.column_stack([covariates, cases * (np.arange(300) % 3 == 0)])
    with pytest.raises(LabelError, match="separate cases from controls"):
        scan_burdens(burden, genes(9), prepare(cases, marked), firth="never")
    found = scan_burdens(burden, genes(9), prepare(cases, marked))
    assert set(found["test"]) == {"firth"}
    scaled = (marked - marked.mean(axis=0)) / marked.std(axis=0)
    for i, row in enumerate(found.iter_rows(named=True)):
        beta, se, _ = newton(cases, np.column_stack([np.ones(300), scaled, burden[:, i]]), penalty=True)
        assert row["beta"] == pytest.approx(beta[-1], rel=1e-5)
        assert row["se"] == pytest.approx(se, rel=1e-5)


def test_missing_people_leave_and_an_offset_counts(world: Any) -> None:
    burden, covariates, y = world
    gaps, offset = y.copy(), np.linspace(-1, 1, 300)
    gaps[:20] = np.nan
    holes = covariates.copy()
    holes[20:30, 1] = np.nan
    found = scan_burdens(burden, genes(9), prepare(gaps, holes, offset=offset))
    wanted = scan_burdens(burden[30:], genes(9), prepare((y - offset)[30:], covariates[30:]))
    assert found["n_samples"].to_list() == [270] * 9
    assert found.drop("carriers").equals(wanted.drop("carriers"))
    assert not found["beta"].equals(scan_burdens(burden, genes(9), prepare(gaps, holes))["beta"])


def test_a_constant_burden_has_a_reason(world: Any) -> None:
    burden, covariates, y = world
    burden = burden.copy()
    burden[:, 2] = 1
    for phenotype in (y, (y > 0).astype(float)):
        row = scan_burdens(burden, genes(9), prepare(phenotype, covariates)).row(2, named=True)
        assert row["reason"] == "the burden is the same for everyone"
        assert row["p"] is row["beta"] is row["se"] is row["statistic"] is None


def test_no_genes_no_tests(world: Any) -> None:
    _, covariates, y = world
    assert scan_burdens(np.empty((300, 0)), [], prepare(y, covariates)).height == 0


def test_the_model_follows_the_phenotype() -> None:
    y = np.array([0.0, 1, 0, 1, 1, 0, 0, 1])
    assert prepare(y).model == prepare(y + 1).model == "logistic"
    assert prepare(y + 1).phenotype.tolist() == y.tolist()
    assert prepare(y + 2).model == prepare(y, model="linear").model == "linear"


@pytest.mark.parametrize(
    ("phenotype", "covariates", "model", "error", "message"),
    [
        ([1.0, 2, 3, 4, 5, 6], None, "logistic", LabelError, "needs cases and controls"),
        ([1.0, 1, 1, 1, 1, 1], None, "auto", LabelError, "the same phenotype"),
        ([1.0, np.nan, np.nan, np.nan, 2, np.nan], None, "auto", LabelError, "too few"),
        ([1.0, 2, 3, 4, 5, 6], [[1, 2], [2, 4], [3, 6], [4, 8], [5, 10], [6, 12]], "auto", ConfigError, "combinations"),
        ([1.0, 2, 3, 4, 5, 6], [[1], [1], [1], [1], [1], [1]], "auto", ConfigError, "the same for everyone"),
        ([1.0, 2, 3, 4, 5, 6], None, "probit", ConfigError, "unknown"),
    ],
)
def test_impossible_tests(phenotype: Any, covariates: Any, model: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        prepare(np.array(phenotype), None if covariates is None else np.array(covariates, dtype=float), model=model)
    prepared: Prepared = prepare(np.arange(6.0))
    with pytest.raises(ConfigError, match="firth"):
        scan_burdens(np.eye(6), genes(6), prepared, firth="sometimes")  # type: ignore[arg-type]  # the mistake
