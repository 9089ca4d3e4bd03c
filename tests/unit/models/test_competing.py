"""Competing events against plain loops, closed forms, published figures and scikit-survival."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, LabelError
from genomix.models import competing as c
from genomix.models.cox import Baseline, SurvivalPart
from genomix.models.survival_metrics import kaplan_meier


def drawn(n: int, seed: int, *, tied: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two exponential causes of rates exp(x0) / 10 and exp(-x0 + x1) / 20, and censoring."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    clocks = np.column_stack([
        rng.exponential(20, size=n), rng.exponential(10 * np.exp(-X[:, 0])),
        rng.exponential(20 * np.exp(X[:, 0] - X[:, 1])),
    ])  # fmt: skip
    time, cause = clocks.min(axis=1), clocks.argmin(axis=1).astype(float)
    return X, np.ceil(time) if tied else time, cause


def incidence_loop(time: np.ndarray, cause: np.ndarray, w: np.ndarray, of: int, t: float) -> float:
    found, alive = 0.0, 1.0
    for u in sorted(set(time)):
        if u > t:
            break
        at_risk = sum(w[i] for i in range(time.size) if time[i] >= u)
        if at_risk == 0:
            break
        own = sum(w[i] for i in range(time.size) if time[i] == u and cause[i] == of)
        every = sum(w[i] for i in range(time.size) if time[i] == u and cause[i] > 0)
        found += alive * own / at_risk
        alive *= 1 - every / at_risk
    return found


def test_aalen_johansen_is_a_sum_over_times_and_adds_up() -> None:
    _, time, cause = drawn(120, 1, tied=True)
    W = np.random.default_rng(2).integers(0, 3, (3, 120)).astype(float)
    points = np.array([0.0, 1.0, 3.0, 6.5])
    found = c.aalen_johansen(time, cause, W)
    for b, w in enumerate(W):
        for k in (1, 2):
            assert found[k - 1].at(points)[b] == pytest.approx(
                [incidence_loop(time, cause, w, k, t) for t in points], abs=1e-12
            )
    every = kaplan_meier(time, (cause > 0).astype(float), W).at(points)
    assert found[0].at(points) + found[1].at(points) == pytest.approx(1 - every, abs=1e-12)


def test_incidence_stays_where_nobody_is_left_and_is_unknown_beyond_the_censored() -> None:
    time, one = np.array([1.0, 2, 3]), np.ones((1, 3))
    assert c.aalen_johansen(time, np.array([1.0, 2, 1]), one)[0].at(np.array([9.0]))[0, 0] == pytest.approx(2 / 3)
    assert np.isnan(c.aalen_johansen(time, np.array([1.0, 2, 0]), one)[0].at(np.array([9.0]))[0, 0])


@pytest.mark.real_data
def test_incidence_and_interval_equal_the_stated_ones(real_data: Path) -> None:
    """Chronic GVHD, relapse and death of 100 people (Pintilie 2006); scikit-survival's expected figures."""
    lines = (real_data / "scikit-survival/sksurv/datasets/data/cgvhd.arff").read_text().split("@DATA\n")[1].split()
    cells = [line.split(",") for line in lines]
    time = np.array([min(float(x[5]), float(x[6]), float(x[8])) for x in cells])
    # Columns: time and indicator of GVHD (8, 12), of relapse (6, 10); status at the end (9). What came first counts.
    gvhd = np.array([x[12] == "1" and float(x[8]) == t for x, t in zip(cells, time, strict=True)])
    relapse = np.array([x[10] == "1" and float(x[6]) == t for x, t in zip(cells, time, strict=True)])
    cause = np.where(gvhd, 1.0, np.where(relapse, 2.0, np.array([3.0 if x[9] == "1" else 0.0 for x in cells])))
    expected = np.load(real_data / "scikit-survival/tests/data/cgvhd_delta.npy")
    for of in (1, 2, 3):
        rows = expected[expected[:, 0] == of]
        incidence, low, high = c.incidence_interval(time, cause, of, rows[:, 1])
        assert incidence == pytest.approx(rows[:, 2], abs=1e-7)
        known = np.isfinite(rows[:, 3])
        assert low[known] == pytest.approx(rows[known, 3], abs=1e-6)
        assert high[known] == pytest.approx(rows[known, 4], abs=1e-6)


def test_incidence_equals_scikit_survival() -> None:
    nonparametric = pytest.importorskip("sksurv.nonparametric")
    _, time, cause = drawn(200, 3, tied=True)
    t, expected = nonparametric.cumulative_incidence_competing_risks(cause.astype(int), time)
    found = c.aalen_johansen(time, cause, np.ones((1, 200)))
    for k in (1, 2):
        assert found[k - 1].at(t)[0] == pytest.approx(expected[k], abs=1e-12)


def test_predicted_incidence_of_two_steps_by_hand() -> None:
    first, second = (
        Baseline(np.array([1.0, 2]), np.array([0.1, 0.3]), 5.0),
        Baseline(np.array([2.0]), np.array([0.4]), 5),
    )
    found = c.incidence_from_hazards([first, second], np.log([[1.0, 2.0]]), np.array([0.5, 1.0, 2.5]))[0]
    one = 1 - np.exp(-0.1)
    two = np.exp(-0.1) * (1 - np.exp(-1.0))
    assert found[0] == pytest.approx([0, one, one + two * 0.2], abs=1e-12)
    assert found[1] == pytest.approx([0, 0, two * 0.8], abs=1e-12)
    huge = c.incidence_from_hazards([first, second], np.array([[5000.0, 1.0]]), np.array([2.5]))
    assert huge[0, :, 0] == pytest.approx([1, 0], abs=1e-12)


@pytest.mark.parametrize(("model", "most"), [("cox", 0.02), ("boosted_cox", 0.12)])
def test_predicted_incidence_is_the_closed_form(model: Literal["cox", "boosted_cox"], most: float) -> None:
    X, time, cause = drawn(6000, 4)
    part, held = SurvivalPart(X[:4000], time[:4000], cause[:4000]), SurvivalPart(X[4000:], time[4000:], cause[4000:])
    options = {"n_penalties": 12} if model == "cox" else {"max_rounds": 100, "eta": 0.1}
    fitted = c.fit_competing(part, tuning=held, model=model, seed=1, device=CPU, options=options)
    new = drawn(2000, 5)[0]
    horizons = np.array([2.0, 6.0])
    found = fitted.cumulative_incidence(new, horizons)
    rate = np.column_stack([np.exp(new[:, 0]) / 10, np.exp(-new[:, 0] + new[:, 1]) / 20])
    total = rate.sum(axis=1)
    true = (rate / total[:, None])[:, :, None] * (1 - np.exp(-total[:, None] * horizons))[:, None, :]
    assert np.abs(found - true).mean() < most / 3
    assert np.quantile(np.abs(found - true), 0.95) < most
    assert (np.abs((found - true).mean(axis=0)) < 0.02).all()
    again = c.competing_from_files(fitted.to_files())
    assert (again.cumulative_incidence(new, horizons) == found).all()


def test_measures_of_incidence() -> None:
    _, time, cause = drawn(150, 6, tied=True)
    W = np.random.default_rng(7).integers(0, 3, (2, 150)).astype(float)
    p, h = np.random.default_rng(8).random(150), 4.0
    brier = c.incidence_brier(time, cause, p, W, of=2, horizon=h)
    ratio = c.incidence_expected_observed(time, cause, p, W, of=2, horizon=h)
    for b, w in enumerate(W):
        error = 0.0
        for i in range(150):
            t = time[i]
            if w[i] == 0 or (t <= h and cause[i] == 0):
                continue
            g = 1.0
            for u in sorted(set(time[cause == 0])):
                if u < t and u <= h:
                    at_risk = w[(time > u) | ((time == u) & (cause == 0))].sum()
                    g *= 1 - w[(time == u) & (cause == 0)].sum() / at_risk
            error += w[i] / g * (p[i] - (1.0 if t <= h and cause[i] == 2 else 0.0)) ** 2
        assert brier[b] == pytest.approx(error / w.sum(), abs=1e-12)
        assert ratio[b] == pytest.approx((w @ p / w.sum()) / incidence_loop(time, cause, w, 2, h), abs=1e-12)


def test_what_cannot_be_fitted_is_refused() -> None:
    X, time, cause = drawn(60, 9)
    part = SurvivalPart(X, time, cause)
    for bad in (np.where(cause == 1, 3.0, cause), cause * 0, cause + 0.5, np.where(cause == 1, np.nan, cause)):
        with pytest.raises(LabelError, match="cause"):
            c.fit_competing(part._replace(event=bad), tuning=None, model="cox", seed=1, device=CPU)
    few = np.where(cause == 2, 0.0, cause)
    few[0] = 2.0
    with pytest.raises(LabelError, match=r"cause 2: .*events"):
        c.fit_competing(
            part._replace(event=few), tuning=None, model="cox", seed=1, device=CPU, options={"penalty": 0.1}
        )
    with pytest.raises(ConfigError, match="unknown model"):
        c.fit_competing(part, tuning=None, model="aft", seed=1, device=CPU)  # type: ignore[arg-type]
    fitted = c.fit_competing(part, tuning=None, model="cox", seed=1, device=CPU, options={"penalty": 0.1})
    with pytest.raises(ConfigError, match="follow-up"):
        fitted.cumulative_incidence(X, np.array([1e5]))
