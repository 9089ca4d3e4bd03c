"""Incidence of one event beside others: measures against loops, and curves from which no small count can be read."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomix.models import incidence as inc
from genomix.models import survival_metrics as sm
from genomix.models.competing import aalen_johansen


def drawn(n: int, seed: int, *, other: float = 0.4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return time, cause and a risk that follows the hazard of cause 1."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=n)
    own = draw.exponential(1 / np.exp(x))
    second = draw.exponential(1 / other, n) if other else np.full(n, np.inf)
    lost = draw.uniform(0.1, 2.5, n)
    time = np.minimum(np.minimum(own, second), lost)
    cause = np.where(time == lost, 0.0, np.where(time == own, 1.0, 2.0))
    return time, cause, 1 / (1 + np.exp(-x))


ONE = np.ones((1, 200))


def censoring_before(time: np.ndarray, cause: np.ndarray, t: float, *, include: bool = False) -> float:
    """Return G just before ``t`` (at it, with ``include``) as a product over times of censoring; all times differ."""
    product = 1.0
    for at in np.sort(time[cause == 0]):
        if at < t or (include and at == t):
            product *= 1 - 1 / (time >= at).sum()
    return product


def test_auroc_is_a_sum_over_pairs() -> None:
    time, cause, risk = drawn(200, 1)
    horizon = 0.7
    known = []
    for t, k, r in zip(time, cause, risk, strict=True):
        if t <= horizon and k > 0:
            known.append((k == 1, r, 1 / censoring_before(time, cause, t)))
        elif t > horizon:
            known.append((False, r, 1 / censoring_before(time, cause, horizon, include=True)))
    top = bottom = 0.0
    for case, r, w in known:
        for other, q, v in known:
            if case and not other:
                top += w * v * ((r > q) + 0.5 * (r == q))
                bottom += w * v
    found = inc.incidence_auroc(time, cause, risk, ONE, horizon=horizon)[0]
    assert found == pytest.approx(top / bottom, abs=1e-12)
    assert found > 0.6


def test_concordance_keeps_who_had_another_event_as_never_having_this_one() -> None:
    time, cause, risk = drawn(200, 2)
    in_order = pairs = 0.0
    for i in np.flatnonzero(cause == 1):
        for j in range(200):
            if i != j and (time[j] > time[i] or cause[j] == 2):
                pairs += 1
                in_order += (risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j])
    plan = sm.plan_pairs(*inc.never_had(time, cause), risk)
    assert sm.harrell_c(plan, ONE)[0] == pytest.approx(in_order / pairs, abs=1e-12)


def test_without_other_events_the_measures_are_those_of_survival() -> None:
    time, cause, risk = drawn(200, 3, other=0)
    horizons = np.array([0.5, 1.0])
    both = np.column_stack([risk * 0.5, risk])
    found = {
        n: m(ONE)[0] for n, _, m in inc.incidence_measures(time, cause, risk, both, horizons, np.array([0.3, 0.5]))
    }
    assert found["auroc_at_1"] == pytest.approx(sm.dynamic_auroc(time, cause, risk, ONE, horizon=1.0)[0])
    assert found["brier_at_1"] == pytest.approx(sm.brier(time, cause, 1 - risk, ONE, horizon=1.0)[0])
    whole = sm.integrated_brier(time, cause, 1 - both, ONE, horizons=horizons)[0]
    assert found["integrated_brier"] == pytest.approx(whole)
    assert found["expected_observed_at_1"] == pytest.approx(
        sm.expected_observed(time, cause, risk, ONE, horizon=1.0)[0]
    )
    assert "uno_c" in found


def test_one_minus_kaplan_meier_overstates_the_incidence() -> None:
    time, cause, _ = drawn(2000, 4, other=1.5)
    at = np.array([1.0])
    true = inc.observed_incidence(time, cause, at)[0]
    alone = sm.event_share(time, (cause == 1).astype(float), np.ones((1, 2000)), horizon=1.0)[0]
    assert alone > true + 0.1
    assert true == aalen_johansen(time, cause, np.ones((1, 2000)))[0].at(at)[0, 0]


def test_follow_up_counts_and_reverse_kaplan_meier() -> None:
    found = inc.follow_up(np.array([1.0, 2, 3, 4]), np.array([1.0, 0, 2, 0]), competing=True)
    # censoring at 2 of three at risk leaves 2/3; at 4 of one at risk leaves 0
    assert found == (4, 1, 1, 2, 4.0)
    assert inc.follow_up(np.array([1.0, 2]), np.array([1.0, 1]), competing=False) == (2, 2, None, 0, None)


@pytest.mark.parametrize(("n", "seed"), [(80, 5), (150, 6), (400, 7), (2000, 8)])
def test_no_step_of_a_group_s_curve_stands_for_a_small_count(n: int, seed: int) -> None:
    time, cause, risk = drawn(n, seed)
    frame = inc.risk_group_curves(time, cause, risk, until=1.2)
    n_groups = frame["group"].n_unique()
    cuts = np.unique(np.quantile(risk, np.arange(1, n_groups) / n_groups))
    code = np.searchsorted(cuts, risk, side="left")
    for group in frame["group"].unique().to_list():
        part = frame.filter(pl.col("group") == group).sort("time")
        t, k = time[code == group], cause[code == group]
        ends = part["time"].to_list()
        for a, b, left in zip(ends, ends[1:], part["n_at_risk"].to_list()[1:], strict=False):
            between = (t > a) & (t <= b)
            for count in ((between & (k == 1)).sum(), (between & (k != 1)).sum(), left):
                assert count == 0 or count >= 11
            assert left == (t > b).sum()
    if n == 2000:
        assert frame.filter(pl.col("time") == 1.2).height == n_groups


def test_calibration_groups_hold_no_small_count_and_agree_with_a_true_risk() -> None:
    time, cause, risk = drawn(3000, 9, other=0)
    # the hazard is exp(x), x the log-odds of the risk
    true = 1 - np.exp(-risk / (1 - risk) * 0.5)
    frame = inc.incidence_calibration({"boosted": true[:, None]}, time, cause, horizons=np.array([0.5]))
    assert frame.height == 10
    assert frame["n_rows"].sum() == 3000
    covered = ((frame["low"] <= frame["expected"]) & (frame["expected"] <= frame["high"])).sum()
    assert covered >= 7
    few = inc.incidence_calibration({"boosted": true[:90, None]}, time[:90], cause[:90], horizons=np.array([0.5]))
    assert not few.height
