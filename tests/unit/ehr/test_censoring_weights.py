"""Censoring weights: a table worked by hand, the published formula, and that they remove the bias they are for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.ehr.censoring_weights import censoring_curve, ipcw
from genomix.errors import ConfigError, LabelError
from genomix.schemas.people import LABELS

Row = tuple[str, float]
STATUS = {
    "event": ("observed", 1.0),
    "free": ("observed", 0.0),
    "lost": ("censored", None),
    "rival": ("competing", 0.0),
}


def labels(rows: Sequence[Row]) -> pl.DataFrame:
    """Return labels from (event | free | lost | rival, days)."""
    return pl.DataFrame(
        [(i, datetime(2020, 1, 1), STATUS[k][1], STATUS[k][0], float(t), 1.0) for i, (k, t) in enumerate(rows)],
        schema={c.name: c.dtype for c in LABELS.columns}, orient="row",
    )  # fmt: skip


def weigh(rows: Sequence[Row], horizon: float) -> pl.DataFrame:
    return ipcw(labels(rows), horizon, np.arange(len(rows)))


def test_by_hand() -> None:
    # Censorings on days 2 and 5. Day 2: at risk are those later, and the one who leaves, but not the one whose event is
    # on day 2: 7 people, G = 6/7. Day 5: 4 at risk, G = 6/7 x 3/4 = 9/14.
    rows = [("event", 1), ("event", 2), ("lost", 2), ("event", 4), ("rival", 4), ("lost", 5), ("event", 8), ("free", 9),
            ("free", 9)]  # fmt: skip
    found = weigh(rows, 9)
    assert found["weight"].to_list() == pytest.approx([1, 1, 0, 7 / 6, 7 / 6, 0, 14 / 9, 14 / 9, 14 / 9])
    assert found["value"].to_list() == [1, 1, None, 1, 0, None, 1, 0, 0]
    assert found["weight"].sum() == pytest.approx(9)
    # At day 6 the event of day 8 has not happened, and the records are cut there.
    found = weigh(rows, 6)
    assert found["weight"].to_list() == pytest.approx([1, 1, 0, 7 / 6, 7 / 6, 0, 14 / 9, 14 / 9, 14 / 9])
    assert found["value"].to_list() == [1, 1, None, 1, 0, None, 0, 0, 0]
    assert found["time_days"].to_list() == [1, 2, 2, 4, 4, 5, 6, 6, 6]
    assert found["status"].to_list()[6:] == ["observed"] * 3
    # Censored at the very horizon: known there.
    found = weigh(rows, 5)
    assert found["weight"].to_list() == pytest.approx([1, 1, 0, *[7 / 6] * 6])
    assert found["value"].to_list() == [1, 1, None, 1, 0, 0, 0, 0, 0]
    LABELS.validate(found)


def test_what_happens_after_the_horizon_is_cut_off() -> None:
    found = weigh([("rival", 8), ("event", 8), ("lost", 8), ("event", 3)], 5)
    assert found["status"].to_list() == ["observed"] * 4
    assert found["value"].to_list() == [0, 0, 0, 1]
    assert found["weight"].to_list() == [1, 1, 1, 1]


def test_is_fitted_on_the_named_rows_only() -> None:
    rows = [("lost", 2), ("event", 3), ("free", 9), ("lost", 1), ("lost", 1), ("event", 4)]
    found = ipcw(labels(rows), 5, np.array([0, 1, 2]))
    assert found["weight"].to_list() == pytest.approx([0, 3 / 2, 3 / 2, 0, 0, 3 / 2])
    others = [*rows[:3], ("event", 1), ("lost", 4), ("lost", 4)]
    assert ipcw(labels(others), 5, np.array([0, 1, 2]))["weight"][:3].to_list() == pytest.approx([0, 3 / 2, 3 / 2])


def test_strata_and_weights_that_are_there() -> None:
    rows = [("lost", 2), ("event", 3), ("free", 9), ("event", 3), ("free", 9)]
    table = labels(rows).with_columns(site=pl.Series(["a", "a", "a", None, None]))
    found = ipcw(table, 5, np.arange(5), strata="site")
    assert found["weight"].to_list() == pytest.approx([0, 3 / 2, 3 / 2, 1, 1])
    assert found.columns == table.columns
    # A row of weight 2 is two rows.
    doubled = ipcw(labels(rows).with_columns(weight=pl.Series([1.0, 2, 1, 1, 1])), 5, np.arange(5))["weight"]
    assert doubled.to_list() == pytest.approx([0, 2 * 6 / 5, 6 / 5, 6 / 5, 6 / 5])
    twice = ipcw(labels(rows), 5, np.array([0, 1, 1, 2, 3, 4]))["weight"]
    assert twice.to_list() == pytest.approx([0, 6 / 5, 6 / 5, 6 / 5, 6 / 5])


def test_refusals() -> None:
    with pytest.raises(LabelError, match="1 rows have no outcome and end before 30 days"):
        weigh([("free", 12), ("event", 3)], 30)
    with pytest.raises(LabelError, match="followed for 4 days at most"):
        ipcw(labels([("lost", 4), ("event", 3), ("free", 9)]), 5, np.array([0, 1]))
    table = labels([("free", 9), ("free", 9)]).with_columns(site=pl.Series(["a", "b"]))
    with pytest.raises(LabelError, match="stratum 'b'"):
        ipcw(table, 5, np.array([0]), strata="site")
    with pytest.raises(LabelError, match="0 or 1"):
        ipcw(labels([("free", 9)]).with_columns(value=pl.lit(2.5)), 5, np.array([0]))
    with pytest.raises(LabelError, match="no time_days"):
        ipcw(labels([("free", 9)]).with_columns(time_days=pl.lit(None, pl.Float64)), 5, np.array([0]))
    for horizon in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="horizon"):
            weigh([("free", 9)], horizon)
    with pytest.raises(ConfigError, match="'site'"):
        ipcw(labels([("free", 9)]), 5, np.array([0]), strata="site")


def test_equals_the_formula_of_graf_without_censorings_at_the_horizon() -> None:
    """Cases I(T <= t, event) / G(T-) and controls I(T > t) / G(t), as in scikit-survival's brier_score."""
    rng = np.random.default_rng(3)
    time, event = rng.exponential(10, 400).round(3), rng.random(400) < 0.6
    rows: list[Row] = [("event" if e else "lost", float(t)) for t, e in zip(time, event, strict=True)]
    horizon = 7.0005

    def probability(t: float, *, at: bool) -> float:
        steps = np.unique(time[~event & ((time <= t) if at else (time < t))])
        out = 1.0
        for u in steps:
            out *= 1 - (~event & (time == u)).sum() / ((time > u).sum() + (~event & (time == u)).sum())
        return out

    expected = [
        1 / probability(t, at=False) if e and t <= horizon else 1 / probability(horizon, at=True) if t > horizon else 0
        for t, e in zip(time, event, strict=True)
    ]
    np.testing.assert_allclose(weigh(rows, horizon)["weight"].to_numpy(), expected, rtol=1e-12)


ROWS = st.lists(st.tuples(st.sampled_from(["event", "lost", "rival"]), st.integers(0, 6)), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(ROWS, st.integers(1, 6), st.integers(0, 3))
def test_equals_a_loop_in_fractions(drawn: list[tuple[str, int]], horizon: int, free: int) -> None:
    rows = [*drawn, *[("free", 7)] * (free + 1)]

    def before(t: int) -> Fraction:
        out = Fraction(1)
        for u in range(t):
            leave = sum(k == "lost" and d == u for k, d in rows)
            risk = leave + sum(d > u for _, d in rows)
            if leave:
                out *= 1 - Fraction(leave, risk)
        return out

    expected: list[float] = []
    values: list[float | None] = []
    for kind, day in rows:
        if kind == "lost" and day < horizon:
            expected.append(0.0)
            values.append(None)
        else:
            expected.append(float(1 / before(min(day, horizon))))
            values.append(float(kind == "event" and day <= horizon))
    found = weigh([(k, float(d)) for k, d in rows], horizon)
    assert found["weight"].to_list() == pytest.approx(expected, rel=1e-9)
    assert found["value"].to_list() == values
    # Everyone is stood for: the weights add up to the rows.
    assert sum(expected) == pytest.approx(len(rows), rel=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=15))
def test_the_curve_falls_from_one_to_at_least_zero(drawn: list[tuple[int, bool]]) -> None:
    time, censored = np.array([t for t, _ in drawn]), np.array([c for _, c in drawn])
    curve = censoring_curve(time, censored)
    assert (np.diff(np.concatenate([[1.0], curve.after])) <= 0).all()
    assert (curve.after >= 0).all()
    assert curve.before(np.array([0])).tolist() == [1.0]


def test_the_weighted_proportion_is_unbiased_where_the_naive_one_is_not() -> None:
    rng = np.random.default_rng(1)
    horizon, risk = 10.0, 1 - np.exp(-10 / 20)
    weighted, naive = [], []
    for _ in range(200):
        event, gone = rng.exponential(20, 400), rng.exponential(12, 400)
        first = np.minimum(event, gone)
        rows: list[Row] = [("event" if f == e else "lost", float(f)) for f, e in zip(first, event, strict=True)]
        found = weigh(rows, horizon).filter(pl.col("weight") > 0)
        weighted.append(float(np.average(found["value"].to_numpy(), weights=found["weight"].to_numpy())))
        naive.append(float(found["value"].to_numpy().mean()))
    error = float(np.std(weighted) / np.sqrt(len(weighted)))
    assert abs(np.mean(weighted) - risk) < 4 * error
    assert abs(np.mean(naive) - risk) > 20 * error


def test_strata_remove_the_bias_of_censoring_that_depends_on_them() -> None:
    rng = np.random.default_rng(9)
    horizon, n = 10.0, 400
    pooled: list[float] = []
    inside: list[float] = []
    for _ in range(100):
        sick = rng.random(n) < 0.5
        event = rng.exponential(np.where(sick, 8, 60))
        gone = rng.exponential(np.where(sick, 8, 100))
        rows: list[Row] = [("event" if e <= g else "lost", float(min(e, g))) for e, g in zip(event, gone, strict=True)]
        table = labels(rows).with_columns(sick=pl.Series(sick))
        for out, strata in ((pooled, None), (inside, "sick")):
            found = ipcw(table if strata else labels(rows), horizon, np.arange(n), strata=strata)
            found = found.filter(pl.col("weight") > 0)
            out.append(float(np.average(found["value"].to_numpy(), weights=found["weight"].to_numpy())))
    risk = 1 - 0.5 * np.exp(-10 / 8) - 0.5 * np.exp(-10 / 60)
    error = float(np.std(inside) / np.sqrt(len(inside)))
    assert abs(np.mean(inside) - risk) < 4 * error
    assert abs(np.mean(pooled) - risk) > 10 * error
