"""Cox regression against its formula as a plain loop, R's published coefficients, glmnet's, and scikit-survival."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError, LabelError
from genomix.models import cox

FOLDER = "scikit-survival/tests/data"


def drawn(n: int, columns: int, seed: int, *, tied: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, columns))
    death, lost = rng.exponential(5 * np.exp(-X[:, 0] + 0.5 * X[:, 1])), rng.exponential(8, size=n)
    time = np.minimum(death, lost)
    return X, np.ceil(time) if tied else time, (death <= lost).astype(float)


def likelihood_loop(time: np.ndarray, event: np.ndarray, eta: np.ndarray) -> float:
    """Efron's log partial likelihood as it is written."""
    total = 0.0
    for t in sorted(set(time[event == 1])):
        dead = [i for i in range(time.size) if time[i] == t and event[i] == 1]
        risk = sum(math.exp(eta[i]) for i in range(time.size) if time[i] >= t)
        own = sum(math.exp(eta[i]) for i in dead)
        total += sum(eta[i] for i in dead)
        total -= sum(math.log(risk - k / len(dead) * own) for k in range(len(dead)))
    return total


@pytest.mark.parametrize("tied", [False, True])
def test_the_partial_likelihood_and_its_derivatives(tied: bool) -> None:
    Z, time, event = drawn(60, 3, 1, tied=tied)
    beta = np.array([0.7, -0.4, 0.2])
    ties = cox.sort_ties(time, event)
    here = cox.partial_likelihood(ties, Z @ beta)
    assert here.value == pytest.approx(likelihood_loop(time, event, Z @ beta), abs=1e-10)
    step, eye = 1e-5, np.eye(3)
    slope = [(likelihood_loop(time, event, Z @ (beta + step * e)) - likelihood_loop(time, event, Z @ (beta - step * e)))
             / (2 * step) for e in eye]  # fmt: skip
    assert Z[ties.order].T @ here.score == pytest.approx(slope, abs=1e-6)

    def score(eta: np.ndarray) -> np.ndarray:
        return cox.partial_likelihood(ties, eta).score

    second = [-(Z[ties.order].T @ (score(Z @ (beta + step * e)) - score(Z @ (beta - step * e)))) / (2 * step)
              for e in eye]  # fmt: skip
    assert cox._curvature(Z[ties.order], ties, here) == pytest.approx(np.array(second), abs=1e-5)
    rows = np.eye(60)[ties.order]
    own = [-(score(Z @ beta + step * rows[k]) - score(Z @ beta - step * rows[k]))[k] / (2 * step) for k in range(60)]
    assert cox._row_curvature(ties, here) == pytest.approx(own, abs=1e-6)


def test_large_margins_neither_overflow_nor_move_the_likelihood() -> None:
    Z, time, event = drawn(50, 2, 2, tied=True)
    ties = cox.sort_ties(time, event)
    plain, far = cox.partial_likelihood(ties, Z[:, 0]), cox.partial_likelihood(ties, Z[:, 0] + 2000)
    assert far.value == pytest.approx(plain.value, abs=1e-8)
    assert np.isfinite(cox.partial_likelihood(ties, Z[:, 0] * 900).score).all()


def test_breslow_is_a_sum_over_events() -> None:
    Z, time, event = drawn(80, 2, 3, tied=True)
    margin = Z @ np.array([0.8, -0.2])
    base = cox.breslow(time, event, margin)
    horizons = np.array([0.0, 1.0, 2.5, 6.0])
    for k, h in enumerate(horizons):
        hazard = sum(1 / np.exp(margin[time >= time[i]]).sum() for i in range(80) if event[i] == 1 and time[i] <= h)
        assert base.at(horizons)[k] == pytest.approx(hazard, rel=1e-12)
        assert base.survival(margin, horizons)[:, k] == pytest.approx(np.exp(-hazard * np.exp(margin)), rel=1e-12)
    for outside in (-1.0, time.max() + 1, np.nan, np.inf):
        with pytest.raises(ConfigError, match="follow-up"):
            base.at(np.array([1.0, outside]))


@pytest.mark.real_data
def test_coefficients_of_the_recidivism_study_equal_r(real_data: Path) -> None:
    """R's coxph with Efron's ties, as Fox and Weisberg print them (Rossi et al. 1980)."""
    data = pl.read_csv(real_data / FOLDER / "rossi.csv")
    names = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]
    Z = data.select(names).to_numpy().astype(float)
    beta = next(cox.fit_path(Z, data["week"].to_numpy() * 1.0, data["arrest"].to_numpy() * 1.0, l1_share=0.5,
                             penalties=[0.0]))  # fmt: skip
    assert beta == pytest.approx([-0.37942, -0.05744, 0.31390, -0.14980, -0.43370, -0.08487, 0.09150], abs=6e-6)


@pytest.mark.real_data
def test_coefficients_of_the_elastic_net_equal_glmnet(real_data: Path) -> None:
    """Glmnet's path: 100 penalties down to 1e-4 of the largest, L1 share 0.5, columns as they are; 51 of them stand.

    Glmnet stops early by default (its coefficients are off by up to 0.001), so ours must also be the better minimum,
    and equal scikit-survival's where that runs on to the end.
    """
    data = pl.read_csv(real_data / FOLDER / "cox-example.csv")
    Z = data.select(f"X{k}" for k in range(1, 31)).to_numpy()
    time, event = data["time"].to_numpy(), data["status"].to_numpy() * 1.0
    with (real_data / FOLDER / "cox-example-coef-1.csv").open() as lines:
        expected = np.array(list(csv.reader(lines))[1:], dtype=np.float64)
    assert expected.shape == (30, 51)
    penalties = cox.largest_useful_penalty(Z, time, event, 0.5) * np.geomspace(1, 1e-4, 100)[:51]
    assert penalties[0] == pytest.approx(0.468899812444165, rel=1e-12)
    found = np.column_stack(list(cox.fit_path(Z, time, event, l1_share=0.5, penalties=list(penalties))))
    assert np.abs(found - expected).max() < 1.1e-3
    ties = cox.sort_ties(time, event)
    for k, penalty in enumerate(penalties):
        ours, theirs = (
            -cox.partial_likelihood(ties, Z @ b).value / 1000 + penalty * (0.25 * b @ b + 0.5 * np.abs(b).sum())
            for b in (found[:, k], expected[:, k])
        )
        assert ours <= theirs + 1e-12
    linear_model = pytest.importorskip("sksurv.linear_model")
    y = np.array(list(zip(event == 1, time, strict=True)), dtype=[("e", bool), ("t", float)])
    net = linear_model.CoxnetSurvivalAnalysis(l1_ratio=0.5, alphas=penalties, tol=1e-12, max_iter=10**6).fit(Z, y)
    assert np.abs(found - net.coef_).max() < 1e-5


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("tied", [False, True])
def test_a_penalised_minimum_meets_its_condition(share: float, tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative of the likelihood balances the penalty, by all second derivatives and by the rows' own alike."""
    Z, time, event = drawn(120, 12, 4, tied=tied)
    ties = cox.sort_ties(time, event)
    found = []
    for most in (1000, 0):
        monkeypatch.setattr(cox, "_MOST_FULL_COLUMNS", most)
        (beta,) = cox.fit_path(Z, time, event, l1_share=share, penalties=[0.05])
        slope = Z[ties.order].T @ cox.partial_likelihood(ties, Z @ beta).score / 120 - 0.05 * (1 - share) * beta
        assert slope[beta != 0] == pytest.approx(0.05 * share * np.sign(beta[beta != 0]), abs=1e-5)
        assert (np.abs(slope[beta == 0]) <= 0.05 * share + 1e-5).all()
        found.append(beta)
    assert (found[0] != 0).sum() < 12 or share < 0.3
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_unpenalised_coefficients_equal_scikit_survival() -> None:
    linear_model = pytest.importorskip("sksurv.linear_model")
    Z, time, event = drawn(200, 5, 5, tied=True)
    y = np.array(list(zip(event == 1, time, strict=True)), dtype=[("e", bool), ("t", float)])
    peer = linear_model.CoxPHSurvivalAnalysis(ties="efron", tol=1e-12, n_iter=200).fit(Z, y)
    fitted = cox.fit_cox(cox.SurvivalPart(Z.astype(np.float32), time, event), options={"penalty": 0})
    spread = fitted.preprocessing.scale
    assert fitted.slopes / spread == pytest.approx(peer.coef_, abs=1e-6)
    # scikit-survival's baseline hazard is Breslow's, at columns of 0.
    ours = cox.breslow(time, event, Z @ peer.coef_)
    assert ours.hazard == pytest.approx(peer.cum_baseline_hazard_(ours.times), rel=1e-9)
    horizons = np.array([1.0, 3.0, 5.0])
    theirs = np.array([f(horizons) for f in peer.predict_survival_function(Z)])
    assert fitted.survival(Z.astype(np.float32), horizons) == pytest.approx(theirs, abs=1e-6)


def test_separation_is_told_and_a_penalty_mends_it() -> None:
    time, event = np.arange(1.0, 21), np.ones(20)
    Z = -time[:, None] / 5
    with pytest.raises(LabelError, match="no maximum"):
        next(cox.fit_path(Z, time, event, l1_share=0.5, penalties=[0.0]))
    assert np.isfinite(next(cox.fit_path(Z, time, event, l1_share=0.0, penalties=[0.1]))).all()


def test_the_tuning_part_chooses_and_a_saved_model_is_the_same() -> None:
    X, time, event = drawn(400, 20, 6, tied=True)
    X[::7, 3] = np.nan
    part = cox.SurvivalPart(X.astype(np.float32), time, event)
    train, tuning = (cox.SurvivalPart(*(a[rows] for a in part)) for rows in (slice(0, 250), slice(250, 400)))
    fitted = cox.fit_cox(train, tuning=tuning)
    ties = cox.sort_ties(tuning.time, tuning.event)
    for factor in (0.2, 5.0):
        other = cox.fit_cox(train, options={"penalty": fitted.facts["penalty"] * factor})
        assert (
            cox.partial_likelihood(ties, other.margin(tuning.X)).value
            < cox.partial_likelihood(ties, fitted.margin(tuning.X)).value
        )
    again = cox.cox_from_files(fitted.to_files())
    horizons = np.array([1.0, 4.0])
    assert (again.survival(tuning.X, horizons) == fitted.survival(tuning.X, horizons)).all()
    assert again.to_files() == fitted.to_files()
    shap = fitted.contributions(tuning.X)
    assert shap.values.sum(axis=1) + shap.base_value == pytest.approx(fitted.margin(tuning.X), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"penalty": -1}, "penalty"), ({"l1_share": 2.0, "penalty": 1}, "l1_share"), ({"x": 1}, "no option"),
     ({}, "tuning")],
)  # fmt: skip
def test_impossible_options_are_refused(options: dict[str, float], says: str) -> None:
    X, time, event = drawn(30, 2, 7, tied=False)
    with pytest.raises(ConfigError, match=says):
        cox.fit_cox(cox.SurvivalPart(X.astype(np.float32), time, event), options=options)


def test_too_few_events_are_refused() -> None:
    X, time, _ = drawn(30, 2, 7, tied=False)
    with pytest.raises(LabelError, match="events"):
        cox.fit_cox(cox.SurvivalPart(X.astype(np.float32), time, np.eye(30)[0]), options={"penalty": 0})
