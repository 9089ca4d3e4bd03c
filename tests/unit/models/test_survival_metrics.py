"""Every measure of predicted survival against its formula as a plain loop, and against scikit-survival."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from genomix.errors import FormatError, LabelError
from genomix.models import survival_metrics as s

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(params=["continuous", "tied"])
def data(request: Any) -> Data:
    """Times, events, scores and weights; tied: whole months, scores of one digit, weights that are counts with 0."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=150)
    death, lost = rng.exponential(10 * np.exp(-x)), rng.exponential(14, size=150)
    time, event = np.minimum(death, lost), (death <= lost).astype(float)
    score = x + rng.normal(size=150) * 0.5
    if request.param == "continuous":
        return time, event, score, rng.random((3, 150)) + 0.1
    return np.ceil(time / 2), event, np.round(score, 1), rng.integers(0, 3, (3, 150)).astype(float)


def survival_loop(time: np.ndarray, event: np.ndarray, w: np.ndarray, t: float, *, before: bool = False) -> float:
    found = 1.0
    for u in sorted(set(time[event == 1])):
        if u < t or (u == t and not before):
            at_risk = sum(w[i] for i in range(time.size) if time[i] >= u)
            deaths = sum(w[i] for i in range(time.size) if time[i] == u and event[i] == 1)
            found *= 1 - deaths / at_risk if at_risk > 0 else 1.0
    return found


def uncensored_loop(time: np.ndarray, event: np.ndarray, w: np.ndarray, t: float, *, before: bool = False) -> float:
    found = 1.0
    for u in sorted(set(time[event == 0])):
        if u < t or (u == t and not before):
            at_risk = sum(w[i] for i in range(time.size) if time[i] > u or (time[i] == u and event[i] == 0))
            lost = sum(w[i] for i in range(time.size) if time[i] == u and event[i] == 0)
            found *= 1 - lost / at_risk if at_risk > 0 else 1.0
    return found


def concordance_loop(time: np.ndarray, event: np.ndarray, score: np.ndarray, w: np.ndarray, early: np.ndarray) -> float:
    in_order = pairs = 0.0
    for i in range(time.size):
        for j in range(time.size):
            first = time[i] < time[j] or (time[i] == time[j] and event[j] == 0)
            if i == j or event[i] == 0 or not first:
                continue
            pairs += early[i] * w[j]
            in_order += early[i] * w[j] * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    return in_order / pairs


def test_kaplan_meier_and_g_are_products_over_times(data: Data) -> None:
    time, event, _, W = data
    points = np.array([0.0, 1.0, 2.5, 4.0, 7.0, time[event == 1][3], time[event == 0][3]])
    for before in (False, True):
        km = s.kaplan_meier(time, event, W).at(points, before=before)
        g = s.censoring_curve(time, event, W).at(points, before=before)
        for b, w in enumerate(W):
            assert km[b] == pytest.approx([survival_loop(time, event, w, t, before=before) for t in points], abs=1e-12)
            assert g[b] == pytest.approx([uncensored_loop(time, event, w, t, before=before) for t in points], abs=1e-12)


def test_curves_have_no_value_after_the_last_follow_up() -> None:
    time, event = np.array([1.0, 2, 3]), np.array([1.0, 1, 0])
    km = s.kaplan_meier(time, event, np.ones((1, 3)))
    assert km.at(np.array([2.9, 3.0]))[0] == pytest.approx([1 / 3, 1 / 3])
    assert np.isnan(km.at(np.array([3.1]))[0, 0])
    ended = s.kaplan_meier(time, np.ones(3), np.ones((1, 3)))
    assert ended.at(np.array([9.0]))[0, 0] == 0.0
    assert np.isnan(s.nelson_aalen(time, np.ones(3), np.ones((1, 3))).at(np.array([9.0]))[0, 0])


def test_nelson_aalen_is_a_sum_over_times(data: Data) -> None:
    time, event, _, W = data
    for b, w in enumerate(W):
        for t in (1.0, 3.0, 6.0):
            total = 0.0
            for u in sorted(set(time[event == 1])):
                at_risk = w[time >= u].sum()
                total += w[(time == u) & (event == 1)].sum() / at_risk if u <= t and at_risk else 0.0
            assert s.nelson_aalen(time, event, W).at(np.array([t]))[b, 0] == pytest.approx(total, abs=1e-12)


def test_greenwood_by_hand() -> None:
    # Freireich 1963, 6-mercaptopurine: survival at 10 weeks is 0.7529 with standard error 0.0963 in every textbook.
    time = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35.0])
    event = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0.0])
    survival, low, high = s.kaplan_meier_interval(time, event, np.array([10.0, 5.0]))
    assert survival == pytest.approx([0.75294, 1.0], abs=1e-5)
    kept = 18 / 21 * 16 / 17 * 14 / 15
    share = math.sqrt(3 / (21 * 18) + 1 / (17 * 16) + 1 / (15 * 14))
    assert kept * share == pytest.approx(0.0963, abs=5e-5)
    half = 1.959963985 * share / -math.log(kept)
    assert low[0] == pytest.approx(kept ** math.exp(half), abs=1e-9)
    assert high[0] == pytest.approx(kept ** math.exp(-half), abs=1e-9)
    assert np.isnan([low[1], high[1]]).all()


def test_harrell_c_counts_pairs(data: Data) -> None:
    time, event, score, W = data
    found = s.harrell_c(s.plan_pairs(time, event, score), W)
    assert found == pytest.approx([concordance_loop(time, event, score, w, w) for w in W], abs=1e-12)


def test_uno_c_weighs_pairs_by_the_square_of_g(data: Data) -> None:
    time, event, score, W = data
    tau = 6.0
    found = s.uno_c(s.plan_pairs(time, event, score), time, W, tau=tau, censoring=s.censoring_curve(time, event, W))
    for b, w in enumerate(W):
        early = np.zeros(time.size)
        for i in np.flatnonzero((event == 1) & (time < tau) & (w > 0)):
            early[i] = w[i] / uncensored_loop(time, event, w, time[i], before=True) ** 2
        assert found[b] == pytest.approx(concordance_loop(time, event, score, w, early), abs=1e-12)


def test_auroc_and_brier_at_a_horizon(data: Data) -> None:
    time, event, score, W = data
    h = 4.0
    survival = np.exp(-0.4 * np.exp(score))
    auc = s.dynamic_auroc(time, event, score, W, horizon=h)
    score_of = s.brier(time, event, survival, W, horizon=h)
    for b, w in enumerate(W):
        cases = [i for i in range(time.size) if time[i] <= h and event[i] == 1 and w[i] > 0]
        controls = [j for j in range(time.size) if time[j] > h and w[j] > 0]
        g = {i: uncensored_loop(time, event, w, time[i], before=True) for i in cases}
        pairs = [(w[i] * w[j] / g[i], score[i], score[j]) for i in cases for j in controls]
        order = sum(q * (1.0 if a > c else 0.5 if a == c else 0.0) for q, a, c in pairs)
        assert auc[b] == pytest.approx(order / sum(q for q, _, _ in pairs), abs=1e-12)
        error = sum(w[i] / g[i] * survival[i] ** 2 for i in cases)
        error += sum(w[j] / uncensored_loop(time, event, w, h) * (1 - survival[j]) ** 2 for j in controls)
        assert score_of[b] == pytest.approx(error / w.sum(), abs=1e-12)


def test_without_censoring_the_brier_score_is_a_mean_square_and_the_auroc_is_the_ordinary_one() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    time, p, one = rng.exponential(size=300), rng.random(300), np.ones((1, 300))
    died = time <= 0.7
    assert s.brier(time, np.ones(300), p, one, horizon=0.7)[0] == pytest.approx((((1 - died) - p) ** 2).mean())
    assert s.dynamic_auroc(time, np.ones(300), p, one, horizon=0.7)[0] == pytest.approx(roc_auc_score(died, p))


def test_weights_that_count_rows_equal_rows_that_repeat(data: Data) -> None:
    """What the bootstrap relies on: a row drawn twice is two rows."""
    time, event, score, _ = data
    w = np.random.default_rng(3).integers(0, 3, time.size)
    again = np.repeat(np.arange(time.size), w)
    W, one = w[None, :].astype(float), np.ones((1, again.size))
    t, e, x = time[again], event[again], score[again]
    assert s.harrell_c(s.plan_pairs(time, event, score), W) == pytest.approx(s.harrell_c(s.plan_pairs(t, e, x), one))
    survival = np.exp(-np.exp(score))
    h = np.array([2.0, 3.0, 5.0])
    whole = s.integrated_brier(time, event, survival[:, None] ** h, W, horizons=h)
    assert whole == pytest.approx(s.integrated_brier(t, e, survival[again][:, None] ** h, one, horizons=h))
    first = s.expected_observed(time, event, 1 - survival, W, horizon=3.0)
    assert first == pytest.approx(s.expected_observed(t, e, 1 - survival[again], one, horizon=3.0))


def test_calibration_recovers_a_known_distortion() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=60_000)
    death, lost = rng.exponential(np.exp(-x)), rng.exponential(2.0, size=x.size)
    time, event = np.minimum(death, lost), (death <= lost).astype(float)
    risk, one = 1 - np.exp(-0.5 * np.exp(x)), np.ones((1, x.size))
    assert s.expected_observed(time, event, risk, one, horizon=0.5)[0] == pytest.approx(1, abs=0.01)
    assert s.expected_observed(time, event, risk / 2, one, horizon=0.5)[0] == pytest.approx(0.5, abs=0.01)
    groups = s.calibration_groups(time, event, risk, horizon=0.5)
    assert [g.n_rows for g in groups] == [6000] * 10
    assert all(abs(g.expected - g.observed) < 0.025 for g in groups)
    assert sum(g.low <= g.expected <= g.high for g in groups) >= 8


def test_measures_without_a_value_are_nan() -> None:
    time, event, one = np.array([1.0, 2, 3, 4]), np.array([1.0, 0, 1, 0]), np.ones((1, 4))
    p = np.array([0.1, 0.5, 0.6, 0.9])
    assert np.isnan(s.brier(time, event, p, one, horizon=4.0)[0])
    assert np.isnan(s.dynamic_auroc(time, event, p, one, horizon=0.5)[0])
    assert np.isnan(s.expected_observed(time, event, p, one, horizon=5.0)[0])
    assert np.isnan(s.harrell_c(s.plan_pairs(time, np.zeros(4), p), one)[0])
    short = s.censoring_curve(time[:2], event[:2], np.ones((1, 2)))
    plan = s.plan_pairs(time, event, p)
    assert np.isnan(s.uno_c(plan, time, one, tau=9.0, censoring=short)[0])
    assert np.isfinite(s.uno_c(plan, time, one, tau=2.0, censoring=short)[0])


@pytest.mark.parametrize(
    ("time", "event", "error"),
    [([1.0, -1], [0.0, 1], LabelError), ([1.0, np.nan], [0.0, 1], LabelError), ([1.0, 2], [0.0, 2], LabelError),
     ([], [], LabelError), ([1.0], [0.0, 1], FormatError)],
)  # fmt: skip
def test_a_bad_outcome_is_refused(time: list[float], event: list[float], error: type[Exception]) -> None:
    with pytest.raises(error, match="training part"):
        s.check_outcome(np.array(time), np.array(event), "training part")


def test_measures_equal_scikit_survival() -> None:
    """No time has events and censored people both: there scikit-survival takes G(t), not G(t-)."""
    peer = pytest.importorskip("sksurv.metrics")
    nonparametric = pytest.importorskip("sksurv.nonparametric")
    rng = np.random.default_rng(11)
    n = 400
    x = rng.normal(size=n)
    death, lost = rng.exponential(10 * np.exp(-x)), rng.exponential(14, size=n)
    event = death <= lost
    time = np.where(event, np.ceil(death), np.ceil(lost) + 0.5) * 1.0  # ties among events and among censored
    score = np.round(x + rng.normal(size=n), 1)
    y = np.array(list(zip(event, time, strict=True)), dtype=[("event", bool), ("time", float)])
    e, one = event.astype(float), np.ones((1, n))
    train, test = np.arange(n) < 250, np.arange(n) >= 250
    test &= time < time[train].max()
    g = s.censoring_curve(time[train], e[train], np.ones((1, 250)))
    held = np.ones((1, int(test.sum())))
    plan = s.plan_pairs(time[test], e[test], score[test])
    assert s.harrell_c(plan, held)[0] == pytest.approx(
        peer.concordance_index_censored(event[test], time[test], score[test])[0], abs=1e-12
    )
    uno = s.uno_c(plan, time[test], held, tau=8.25, censoring=g)[0]
    assert uno == pytest.approx(peer.concordance_index_ipcw(y[train], y[test], score[test], tau=8.25)[0], abs=1e-12)
    h = np.array([2.25, 5.25, 8.25])
    auc, _ = peer.cumulative_dynamic_auc(y[train], y[test], score[test], h)
    survival = np.exp(-0.1 * np.exp(score))[:, None] ** h
    _, briers = peer.brier_score(y[train], y[test], survival[test], h)
    for k, horizon in enumerate(h):
        args: dict[str, Any] = {"horizon": float(horizon), "censoring": g}
        assert s.dynamic_auroc(time[test], e[test], score[test], held, **args)[0] == pytest.approx(auc[k], abs=1e-12)
        found = s.brier(time[test], e[test], survival[test, k], held, **args)[0]
        assert found == pytest.approx(briers[k], abs=1e-12)
    whole = s.integrated_brier(time[test], e[test], survival[test], held, horizons=h, censoring=g)[0]
    assert whole == pytest.approx(peer.integrated_brier_score(y[train], y[test], survival[test], h), abs=1e-12)
    t, km, interval = nonparametric.kaplan_meier_estimator(event, time, conf_type="log-log")
    ours, low, high = s.kaplan_meier_interval(time, e, t)
    inside = (km > 0) & (km < 1)
    assert ours == pytest.approx(km, abs=1e-12)
    assert low[inside] == pytest.approx(interval[0][inside], abs=1e-9)
    assert high[inside] == pytest.approx(interval[1][inside], abs=1e-9)
    t, hazard = nonparametric.nelson_aalen_estimator(event, time)
    assert s.nelson_aalen(time, e, one).at(t)[0] == pytest.approx(hazard, abs=1e-12)
