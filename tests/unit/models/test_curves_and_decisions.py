"""Curves and thresholds: the right points, and none from which a person can be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.models.calibration import calibration_curve, scatter_cells
from genomix.models.curves import merge_small_steps, precision_recall_curve, roc_curve, units_by_step
from genomix.models.decision import decision_curve, default_thresholds, threshold_table
from genomix.models.evaluate import Rows, rows_by_model


def rows_of(n: int = 600, seed: int = 0, folds: int = 1, kin: int = 2) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(x - 1)))).astype(float)
    frame = pl.DataFrame(
        {
            "row": np.arange(n), "fold": np.arange(n) % folds, "model": ["boosted"] * n, "label": y,
            "prediction": 1 / (1 + np.exp(-(1.3 * x - 1))), "kin_group": np.arange(n) // kin,
        }
    )  # fmt: skip
    return rows_by_model(frame)["boosted"]


@pytest.mark.parametrize("seed", range(8))
def test_every_step_has_enough_units_and_ties_stay_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, units = rng.integers(0, 30, 200) / 7, rng.integers(0, 60, 200)
    step = merge_small_steps(values, units, least=11)
    assert units_by_step(step, units).min() >= 11
    assert [np.unique(units[step == s]).size for s in range(step.max() + 1)] == units_by_step(step, units).tolist()
    assert step.max() >= 3
    for value in np.unique(values):
        assert np.unique(step[values == value]).size == 1
    assert (np.diff(step[np.argsort(values, kind="stable")]) >= 0).all()


def test_too_few_units_are_one_step() -> None:
    assert merge_small_steps(np.arange(5.0), np.arange(5), least=11).tolist() == [0] * 5


def test_roc_points_are_shares_at_or_above_a_score() -> None:
    rows = rows_of()
    curve = roc_curve(rows, target="t", model="boosted")
    x, y = curve["x"].to_numpy(), curve["y"].to_numpy()
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert curve["n"].min() >= 11
    possible = {
        (float(((rows.p >= t) & (rows.y == 0)).sum()), float(((rows.p >= t) & (rows.y == 1)).sum())) for t in rows.p
    }
    n0, n1 = (rows.y == 0).sum(), (rows.y == 1).sum()
    for a, b in zip(x[1:], y[1:], strict=True):
        assert (round(a * n0), round(b * n1)) in possible
    assert curve.height <= 101


def test_area_under_the_thinned_curve_is_near_the_auroc() -> None:
    from sklearn.metrics import roc_auc_score

    rows = rows_of(3000, kin=1)
    curve = roc_curve(rows, target="t", model="boosted")
    assert np.trapezoid(curve["y"], curve["x"]) == pytest.approx(roc_auc_score(rows.y, rows.p), abs=0.003)


def test_roc_of_several_folds_does_not_mix_scales() -> None:
    rows = rows_of(2000, folds=4, kin=1)
    shifted = replace(rows, p=rows.p / (1 + rows.fold))
    areas = [np.trapezoid(c["y"], c["x"]) for c in (roc_curve(r, target="t", model="m") for r in (rows, shifted))]
    assert areas[0] == pytest.approx(areas[1], abs=1e-12)


def test_precision_and_recall_are_counted() -> None:
    rows = rows_of()
    curve = precision_recall_curve(rows, target="t", model="boosted")
    for recall, precision in zip(curve["x"].to_list(), curve["y"].to_list(), strict=True):
        events = round(recall * rows.n_events)
        flagged = events / precision
        t = np.sort(rows.p)[::-1][round(flagged) - 1]
        assert (rows.y[rows.p >= t] == 1).sum() == events
    assert curve["n"].min() >= 11
    assert curve["y"][-1] == pytest.approx(rows.y.mean())


def test_calibration_bins_are_means_of_tenths_with_bands_around_them() -> None:
    rows = rows_of(1000, kin=1)
    curve = calibration_curve(rows, target="t", model="boosted", objective="binary", seed=1, n_resamples=200)
    bins = curve.filter(pl.col("curve") == "calibration")
    parts = np.array_split(np.argsort(rows.p), 10)
    assert bins["x"].to_list() == pytest.approx([rows.p[part].mean() for part in parts])
    assert bins["y"].to_list() == pytest.approx([rows.y[part].mean() for part in parts])
    assert bins["n"].to_list() == [100] * 10
    # A bin's band is near the binomial one: 1.96 standard errors either way.
    for part, low, high in zip(parts, bins["low"], bins["high"], strict=True):
        share = rows.y[part].mean()
        assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(share * (1 - share) / 100), rel=0.25, abs=0.02)
    smooth = curve.filter(pl.col("curve") == "calibration_smooth")
    assert (smooth["x"][0], smooth["x"][-1]) == pytest.approx((bins["x"][0], bins["x"][-1]))
    assert ((smooth["low"] <= smooth["y"]) & (smooth["y"] <= smooth["high"])).all()


def test_calibration_of_few_people_is_one_bin_and_no_curve() -> None:
    curve = calibration_curve(rows_of(20, kin=1), target="t", model="m", objective="binary", seed=1, n_resamples=20)
    assert curve["curve"].to_list() == ["calibration"]
    assert curve["n"].to_list() == [20]


def test_predictions_that_separate_the_outcome_have_one_bin_and_no_smooth_curve() -> None:
    """Bins by risk would say who has the outcome; together they say how many."""
    rows = rows_of(1000, kin=1)
    perfect = replace(rows, p=np.where(rows.y == 1, 0.9, 0.1) + np.linspace(-0.05, 0.05, 1000))
    curve = calibration_curve(perfect, target="t", model="m", objective="binary", seed=1, n_resamples=20)
    assert curve["curve"].to_list() == ["calibration"]
    assert curve["y"][0] == pytest.approx(rows.y.mean())


@pytest.mark.parametrize("seed", range(3))
def test_no_point_of_a_curve_lets_a_small_count_be_worked_out(seed: int) -> None:
    """Counts of events and of non-events at a step, up to it and beyond it are 0 or at least 11."""
    rng = np.random.default_rng(seed)
    rows = rows_of(900, kin=1)
    rows = replace(rows, p=np.round(rng.random(900), 3), y=(rng.random(900) < 0.1).astype(np.float64))
    events, others = int(rows.y.sum()), int((1 - rows.y).sum())
    roc = roc_curve(rows, target="t", model="m")
    true_positive = np.round(roc["y"].to_numpy() * events).astype(int)
    false_positive = np.round(roc["x"].to_numpy() * others).astype(int)
    for counts, total in ((true_positive, events), (false_positive, others)):
        for count in (*counts, *(total - counts), *np.diff(counts)):
            assert count == 0 or count >= 11
    bins = calibration_curve(rows, target="t", model="m", objective="binary", seed=1, n_resamples=20)
    bins = bins.filter(pl.col("curve") == "calibration")
    with_outcome = np.round(bins["y"].to_numpy() * bins["n"].to_numpy()).astype(int)
    assert min(with_outcome.min(), (bins["n"].to_numpy() - with_outcome).min()) >= 11
    assert bins["n"].sum() == 900


def test_a_curve_of_two_steps_is_not_drawn() -> None:
    rows = rows_of(900, kin=1)
    rows = replace(rows, y=(np.arange(900) % 36 == 0).astype(np.float64))
    assert roc_curve(rows, target="t", model="m").height == 0


def test_a_quantity_has_bins_and_cells_but_no_smooth_probability() -> None:
    rows = rows_of(1000, kin=1)
    quantity = replace(rows, y=10 * rows.p + np.random.default_rng(0).normal(size=1000), p=9 * rows.p)
    curve = calibration_curve(quantity, target="t", model="m", objective="regression", seed=1, n_resamples=20)
    assert set(curve["curve"]) == {"calibration"}
    cells = scatter_cells(quantity, target="t", model="m", n_cells=5)
    assert cells["n"].min() >= 11
    assert cells["n"].sum() <= 1000
    assert np.corrcoef(cells["x"], cells["y"])[0, 1] > 0.8


def test_a_threshold_counts_what_it_says() -> None:
    rows = rows_of(kin=1)
    table = threshold_table(rows, [0.4, 0.2], target="t", model="boosted", seed=1, n_resamples=100)
    assert table["threshold"].to_list() == [0.2, 0.4]
    for row in table.iter_rows(named=True):
        t, n = row["threshold"], rows.y.size
        flagged = rows.p >= t
        tp, fp = int((flagged & (rows.y == 1)).sum()), int((flagged & (rows.y == 0)).sum())
        assert row["n_flagged"] == tp + fp
        assert row["sensitivity"] == pytest.approx(tp / rows.n_events)
        assert row["specificity"] == pytest.approx(1 - fp / (n - rows.n_events))
        assert row["ppv"] == pytest.approx(tp / (tp + fp))
        assert row["npv"] == pytest.approx(((~flagged) & (rows.y == 0)).sum() / (~flagged).sum())
        assert row["net_benefit"] == pytest.approx(tp / n - fp / n * t / (1 - t))
        prevalence = rows.y.mean()
        assert row["net_benefit_treat_all"] == pytest.approx(prevalence - (1 - prevalence) * t / (1 - t))
        assert row["ppv_low"] < row["ppv"] < row["ppv_high"]
        assert row["net_benefit_low"] < row["net_benefit"] < row["net_benefit_high"]


def test_net_benefit_of_a_worked_example() -> None:
    """100 people, 20 events; a test at 10 % flags 16 of the events and 24 others: 0.16 - 0.24/9."""
    y = np.array([1.0] * 20 + [0.0] * 80)
    p = np.array([0.9] * 16 + [0.01] * 4 + [0.5] * 24 + [0.02] * 56)
    rows = Rows(row=np.arange(100), fold=np.zeros(100, dtype=np.int64), y=y, p=p, code=np.arange(100),
                weight=np.ones(100), reference=None, n_drawn=100, person=np.arange(100))  # fmt: skip
    table = threshold_table(rows, [0.1], target="t", model="m", seed=0, n_resamples=10)
    assert table["net_benefit"][0] == pytest.approx(0.16 - 0.24 / 9)
    assert table["net_benefit_treat_all"][0] == pytest.approx(0.2 - 0.8 / 9)


def test_small_cells_are_held_back_on_either_side() -> None:
    rows = rows_of(200, kin=1)
    order = np.sort(rows.p)
    few_above, few_below, none_above = float(order[-5]), float(order[5]), 0.9999
    table = threshold_table(rows, [few_above, few_below, none_above], target="t", model="m", seed=0, n_resamples=20)
    assert table.filter(pl.col("threshold") == few_above)["sensitivity"][0] is None
    assert table.filter(pl.col("threshold") == few_below)["net_benefit"][0] is None
    nobody = table.filter(pl.col("threshold") == none_above).row(0, named=True)
    assert (nobody["n_flagged"], nobody["sensitivity"], nobody["ppv"], nobody["net_benefit"]) == (0, 0.0, None, 0.0)
    curve = decision_curve(table, rows)
    assert set(curve["model"]) == {"m", "treat_all"}
    assert curve.filter(pl.col("model") == "m")["x"].to_list() == [none_above]


def test_thresholds_lie_inside_the_unit_interval() -> None:
    for prevalence in (0.001, 0.1, 0.5, 0.9):
        found = default_thresholds(prevalence)
        assert found == sorted(set(found))
        assert 0 < found[0] < found[-1] < 1
    with pytest.raises(ConfigError, match="between 0 and 1"):
        threshold_table(rows_of(100), [1.0], target="t", model="m", seed=0)
