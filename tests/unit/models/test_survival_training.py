"""Measuring predicted survival of held-out people: which figures stand, which do not and why, and their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.models import survival_metrics as sm
from genomix.models.given_table import find_roles
from genomix.models.survival_training import (
    REFERENCE,
    calibration_table,
    check_horizons,
    default_horizons,
    evaluate_survival,
    survival_matrix,
)


def measured(n: int = 400, *, people: np.ndarray | None = None, **changed: Any) -> tuple[pl.DataFrame, dict[str, Any]]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=n)
    death, lost = rng.exponential(10 * np.exp(-x)), rng.uniform(2, 30, size=n)
    time, event = np.minimum(death, lost), (death <= lost).astype(float)
    horizons = np.array([3.0, 8.0])
    given: dict[str, Any] = {
        "time": time, "event": event, "margin": x, "survival": np.exp(-np.exp(x)[:, None] * horizons / 10),
        "horizons": horizons, "reference": np.array([0.7, 0.45]),
    } | changed  # fmt: skip
    units = np.arange(n) if people is None else people
    frame = evaluate_survival(
        {"model": (given["margin"], given["survival"])}, given["time"], given["event"], target="death",
        horizons=given["horizons"], reference=given["reference"], units=units, people=units, seed=1, n_resamples=200,
    )  # fmt: skip
    return frame, given


def value(frame: pl.DataFrame, metric: str, model: str = "model") -> dict[str, Any]:
    return frame.row(by_predicate=(pl.col("model") == model) & (pl.col("metric") == metric), named=True)


def test_the_figures_are_the_measures_and_intervals_hold_them() -> None:
    frame, given = measured()
    time, event, one = given["time"], given["event"], np.ones((1, 400))
    survival = given["survival"]
    g = sm.censoring_curve(time, event, one)
    plan = sm.plan_pairs(time, event, given["margin"])
    flat = sm.brier(time, event, np.full(400, 0.45), one, horizon=8.0)[0]
    own = sm.brier(time, event, survival[:, 1], one, horizon=8.0)[0]
    expected = {
        "harrell_c": sm.harrell_c(plan, one)[0],
        "uno_c": sm.uno_c(plan, time, one, tau=8.0, censoring=g)[0],
        "auroc_at_3": sm.dynamic_auroc(time, event, given["margin"], one, horizon=3.0)[0],
        "brier_at_8": own,
        "brier_skill_at_8": 1 - own / flat,
        "expected_observed_at_3": sm.expected_observed(time, event, 1 - survival[:, 0], one, horizon=3.0)[0],
        "integrated_brier": sm.integrated_brier(time, event, survival, one, horizons=given["horizons"])[0],
    }
    for metric, number in expected.items():
        row = value(frame, metric)
        assert row["estimate"] == pytest.approx(number, abs=1e-12), metric
        assert row["low"] < row["estimate"] < row["high"]
        assert row["note"] == ""
    assert value(frame, "brier_at_8", REFERENCE)["estimate"] == pytest.approx(flat)
    assert "harrell_c" not in frame.filter(pl.col("model") == REFERENCE)["metric"].to_list()


def test_people_with_several_rows_widen_the_interval() -> None:
    """Four copies of each of 100 people are no 400 people."""
    frame, given = measured(100)
    copied = {k: np.repeat(given[k], 4, axis=0) for k in ("time", "event", "margin", "survival")}
    apart, together = measured(400, **copied)[0], measured(400, people=np.repeat(np.arange(100), 4), **copied)[0]
    wide, narrow = (value(f, "brier_at_3")["high"] - value(f, "brier_at_3")["low"] for f in (together, apart))
    assert wide == pytest.approx(2 * narrow, rel=0.3)
    first = value(frame, "brier_at_3")
    assert wide == pytest.approx(first["high"] - first["low"], rel=1e-9)


def test_figures_that_a_few_people_would_carry_are_withheld() -> None:
    _, given = measured()
    few = np.where(np.cumsum(given["event"]) <= 9, given["event"], 0.0)
    frame, _ = measured(event=few)
    assert frame["estimate"].null_count() == frame.height
    assert set(frame["note"]) == {"not estimable: fewer than 11 events"}
    far, _ = measured(horizons=np.array([0.02, 29.9]))
    assert value(far, "auroc_at_0.02")["note"] == "not estimable: fewer than 11 events by then"
    assert "followed beyond" in value(far, "brier_at_29.9")["note"]
    assert "followed beyond" in value(far, "integrated_brier")["note"]
    assert value(far, "harrell_c")["estimate"] > 0.5
    one_family, _ = measured(people=np.zeros(400, dtype=np.int64))
    assert one_family["estimate"].null_count() == one_family.height


def test_horizons() -> None:
    time, event = np.arange(1.0, 102), np.arange(101) % 2 * 1.0
    assert default_horizons(time, event).tolist() == [26, 51, 76]
    assert check_horizons([80, 20, 20], time).tolist() == [20, 80]
    for outside in (0.0, -1.0, 101.0, float("nan")):
        with pytest.raises(ConfigError, match="follow-up"):
            check_horizons([50, outside], time)


def test_groups_of_similar_predictions() -> None:
    _, given = measured()
    time, event, survival = given["time"], given["event"], given["survival"]
    table = calibration_table({"model": survival}, time, event, horizons=given["horizons"])
    assert table.height == 16
    risk = 1 - survival[:, 1]
    for row in table.filter(pl.col("horizon") == 8.0).iter_rows(named=True):
        here = (risk >= np.sort(risk)[50 * row["group"]]) & (risk <= np.sort(risk)[50 * row["group"] + 49])
        assert row["n_rows"] == here.sum() == 50
        assert row["expected"] == pytest.approx(risk[here].mean())
        km = sm.kaplan_meier(time[here], event[here], np.ones((1, 50))).at(np.array([8.0]))[0, 0]
        assert row["observed"] == pytest.approx(1 - km)
        assert row["low"] < row["observed"] < row["high"]
    far = calibration_table({"model": survival}, time, event, horizons=np.array([3.0, 1000.0]))
    assert far.filter(pl.col("horizon") == 1000)["observed"].null_count() > 0
    assert calibration_table({"m": survival[:99]}, time[:99], event[:99], horizons=given["horizons"]).is_empty()


def test_a_table_keeps_each_rows_own_time(tmp_path: Path) -> None:
    """Rows without an event are left out, and the others' times stay with their columns."""
    rng = np.random.default_rng(5)
    days = rng.permutation(300) + 1
    died = np.where(rng.random(300) < 0.2, None, rng.integers(0, 2, 300).astype(str))
    split = rng.choice(["train", "tuning", "held_out"], 300)
    table = pl.DataFrame({"age": days * 0.5, "days": days, "died": died.astype(object).tolist(), "part": split})
    table.write_csv(tmp_path / "t.csv")
    roles = find_roles(tmp_path / "t.csv", "died", objective="binary", exclude=["days", "part"])
    for given in (table["part"], None):
        matrix, time = survival_matrix(
            tmp_path / "t.csv", roles, time_column="days", split=given, held_out=0.3, tuning=0.2, seed=1
        )
        block = matrix.for_fold(0)
        assert time.size == matrix.n_rows == table["died"].is_not_null().sum() < 300
        ages = block.values[:, [n.endswith("age") for n in block.columns["name"]].index(True)]
        assert ages == pytest.approx(time / 2)
        assert matrix.labels.tolist() == [float(d) for d in table["died"].drop_nulls()]
    assert len(survival_matrix(tmp_path / "t.csv", roles, time_column="days", split=table["part"], held_out=0.3,
                               tuning=0.2, seed=1)[0].rows(0, "held_out")) == (
        table.filter(pl.col("died").is_not_null() & (pl.col("part") == "held_out")).height)  # fmt: skip
