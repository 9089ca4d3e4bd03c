"""The ladder: paired differences, the same rows on every rung, and silence where groups are small."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.models.bootstrap import unit_draws
from genomix.models.ladder import ladder


def simulated(objective: str = "binary", n: int = 240, folds: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, n))
    margin = 0.8 * a + b - 0.5
    y = (
        (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)
        if objective == "binary"
        else margin + rng.normal(size=n)
    )
    guesses = {"demographics": 0.6 * a - 0.4, "records": 0.7 * a - 0.4, "score": 0.8 * a + 0.9 * b - 0.5}
    return pl.concat(
        pl.DataFrame(
            {
                "row": np.arange(n), "fold": np.arange(n) % folds, "model": [rung] * n, "label": y,
                "prediction": 1 / (1 + np.exp(-g)) if objective == "binary" else g, "kin_group": np.arange(n) // 2,
            }
        )
        for rung, g in guesses.items()
    )  # fmt: skip


N_FEATURES = {"demographics": 2, "records": 40, "score": 41}


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_differences_equal_a_loop_over_copied_rows_under_the_same_draws(objective: str) -> None:
    from sklearn import metrics as peer

    frame = simulated(objective, folds=1)
    found = ladder(frame, target="t", objective=objective, n_features=N_FEATURES, seed=9, n_resamples=80)
    names = {"binary": {"auroc": peer.roc_auc_score, "log_loss": peer.log_loss},
             "regression": {"r2": peer.r2_score, "rmse": peer.root_mean_squared_error}}[objective]  # fmt: skip
    by_rung = {r: frame.filter(pl.col("model") == r) for r in ("demographics", "records", "score")}
    y = by_rung["score"]["label"].to_numpy()
    assert found["rung"].unique(maintain_order=True).to_list() == list(by_rung)
    for name, measure in names.items():
        rows = found.filter(pl.col("metric") == name).to_dicts()
        assert rows[0]["delta"] is None
        for step, (before, after) in enumerate([("demographics", "records"), ("records", "score")], start=1):
            p, q = by_rung[before]["prediction"].to_numpy(), by_rung[after]["prediction"].to_numpy()
            assert rows[step]["estimate"] == pytest.approx(measure(y, q))
            assert rows[step]["delta"] == pytest.approx(measure(y, q) - measure(y, p))
            values = []
            for drawn in np.concatenate(list(unit_draws(120, 80, seed=9))):
                copies = np.repeat(np.arange(240), np.repeat(drawn.astype(int), 2))
                values.append(measure(y[copies], q[copies]) - measure(y[copies], p[copies]))
            interval = np.quantile(values, (0.025, 0.975))
            assert (rows[step]["delta_low"], rows[step]["delta_high"]) == pytest.approx(interval, abs=1e-9)


def test_a_rung_that_changes_nothing_adds_exactly_nothing() -> None:
    frame = simulated().filter(pl.col("model") == "demographics")
    frame = pl.concat([frame, frame.with_columns(model=pl.lit("ancestry"))])
    found = ladder(frame, target="t", objective="binary", n_features={"demographics": 2, "ancestry": 12}, seed=1,
                   n_resamples=30)  # fmt: skip
    row = found.filter((pl.col("rung") == "ancestry") & (pl.col("metric") == "auroc")).row(0, named=True)
    assert (row["delta"], row["delta_low"], row["delta_high"]) == (0, 0, 0)
    assert row["low"] < row["estimate"] < row["high"]


def test_ancestry_groups_and_notes() -> None:
    n = 240
    labels = ["AFR"] * 100 + ["EAS"] * 8 + [None] * 20 + ["EUR"] * (n - 128)
    found = ladder(
        simulated(), target="t", objective="binary", n_features=N_FEATURES, seed=1, n_resamples=30, ancestry=labels,
        notes={"score": "discovery cohorts: unknown"},
    )  # fmt: skip
    assert found["group"].unique(maintain_order=True).to_list() == [
        "all",
        "ancestry=AFR",
        "ancestry=EAS",
        "ancestry=EUR",
    ]
    small = found.filter(pl.col("group") == "ancestry=EAS")
    assert small["estimate"].null_count() == small.height == 6
    assert set(small["note"]) == {"not estimable: fewer than 11 people"}
    assert set(found.filter((pl.col("group") == "all") & (pl.col("rung") == "score"))["note"]) == {
        "discovery cohorts: unknown"
    }
    alone = ladder(simulated().filter(pl.col("row") < 100), target="t", objective="binary", n_features=N_FEATURES,
                   seed=1, n_resamples=30)  # fmt: skip
    part = found.filter(pl.col("group") == "ancestry=AFR")
    assert part["delta"].to_list()[2:] == pytest.approx(alone["delta"].to_list()[2:])


def test_rungs_must_share_rows_and_labels() -> None:
    frame = simulated()
    ask = {"target": "t", "objective": "binary", "n_features": N_FEATURES, "seed": 1, "n_resamples": 5}
    with pytest.raises(ConfigError, match="'records' and 'score' were not predicted on the same rows"):
        ladder(frame.filter((pl.col("model") != "score") | (pl.col("row") > 0)), **ask)
    with pytest.raises(ConfigError, match="'demographics' and 'records'"):
        ladder(frame.with_columns(label=pl.when(pl.col("model") == "demographics").then(1 - pl.col("label"))
                                  .otherwise(pl.col("label"))), **ask)  # fmt: skip
    with pytest.raises(ConfigError, match="unknown rung 'boosted'"):
        ladder(frame.with_columns(model=pl.lit("boosted")).unique(["row"]), **ask)


def test_order_of_lines_does_not_matter() -> None:
    ask = {"target": "t", "objective": "binary", "n_features": N_FEATURES, "seed": 1, "n_resamples": 20}
    shuffled = simulated().sample(fraction=1.0, shuffle=True, seed=2)
    assert ladder(simulated(), **ask).equals(ladder(shuffled, **ask))


def test_net_benefit_and_the_control_equal_a_loop_under_the_same_draws() -> None:
    frame = simulated(folds=1)
    rng = np.random.default_rng(4)
    controls = frame.filter(pl.col("model") != "demographics").with_columns(
        prediction=pl.Series(np.clip(rng.normal(0.4, 0.2, 480), 0.01, 0.99))
    )
    ask = {"target": "t", "objective": "binary", "n_features": N_FEATURES, "seed": 9, "n_resamples": 60}
    found = ladder(frame, **ask, threshold=0.3, controls=controls)
    y = frame.filter(pl.col("model") == "score")["label"].to_numpy()

    def benefit(p: np.ndarray, rows: np.ndarray) -> float:
        flagged = p[rows] >= 0.3
        right, wrong = (flagged & (y[rows] == 1)).sum(), (flagged & (y[rows] == 0)).sum()
        return float(right / len(rows) - wrong / len(rows) * 0.3 / 0.7)

    def of(source: pl.DataFrame, rung: str) -> np.ndarray:
        return source.filter(pl.col("model") == rung)["prediction"].to_numpy()

    everyone = np.arange(240)
    rows = found.filter(pl.col("metric") == "net_benefit").sort("step").to_dicts()
    assert [r["control_delta"] is None for r in rows] == [True, False, False]
    for step, (before, after) in enumerate([("demographics", "records"), ("records", "score")], start=1):
        p, q, c = of(frame, before), of(frame, after), of(controls, after)
        assert rows[step]["estimate"] == pytest.approx(benefit(q, everyone))
        assert rows[step]["delta"] == pytest.approx(benefit(q, everyone) - benefit(p, everyone))
        assert rows[step]["control_delta"] == pytest.approx(benefit(c, everyone) - benefit(p, everyone))
        values = []
        for drawn in np.concatenate(list(unit_draws(120, 60, seed=9))):
            copies = np.repeat(everyone, np.repeat(drawn.astype(int), 2))
            values.append(benefit(c, copies) - benefit(p, copies))
        interval = np.quantile(values, (0.025, 0.975))
        assert (rows[step]["control_low"], rows[step]["control_high"]) == pytest.approx(tuple(interval))
    others = found.filter(pl.col("metric") != "net_benefit").drop("control_delta", "control_low", "control_high")
    assert others.equals(ladder(frame, **ask).drop("control_delta", "control_low", "control_high"))


def test_net_benefit_of_a_few_flagged_people_is_not_told() -> None:
    found = ladder(
        simulated(), target="t", objective="binary", n_features=N_FEATURES, seed=1, n_resamples=50, threshold=0.97
    )
    rows = found.filter((pl.col("metric") == "net_benefit") & (pl.col("group") == "all"))
    assert rows["estimate"].null_count() == 3
    assert set(rows["note"]) == {"fewer than 11 people on one side of the threshold"}


def test_a_control_of_other_rows_is_refused() -> None:
    frame = simulated()
    controls = frame.filter((pl.col("model") == "score") & (pl.col("row") > 3))
    with pytest.raises(ConfigError, match="the control of rung 'score' was not predicted on the rung's rows"):
        ladder(frame, target="t", objective="binary", n_features=N_FEATURES, seed=1, n_resamples=50, controls=controls)
