"""The METRICS table: against resampled rows taken one by one, and what it says when nothing can be said."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomix.errors import FormatError
from genomix.models.bootstrap import unit_draws
from genomix.models.evaluate import evaluate_predictions
from genomix.models.metrics import BINARY_METRICS, REGRESSION_METRICS
from genomix.schemas.features import PREDICTIONS
from genomix.schemas.results import METRICS


def simulated(n: int = 300, seed: int = 0, folds: int = 1, models: tuple[str, ...] = ("boosted",)) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(x - 0.6)))).astype(float)
    group = rng.integers(0, n // 2, n) * 3
    return pl.concat(
        pl.DataFrame(
            {
                "row": np.arange(n), "fold": np.arange(n) % folds, "model": [model] * n, "label": y,
                "prediction": 1 / (1 + np.exp(-(x * (1.2 - 0.3 * k) - 0.4))), "kin_group": group,
            }
        )
        for k, model in enumerate(models)
    )  # fmt: skip


def one(table: pl.DataFrame, metric: str, group: str = "all", model: str = "boosted") -> dict:
    return table.filter((pl.col("metric") == metric) & (pl.col("group") == group) & (pl.col("model") == model)).row(
        0, named=True
    )


def brute_force(frame: pl.DataFrame, measure, n_resamples: int, seed: int) -> tuple[float, float]:
    """Copy each drawn unit's rows as often as it was drawn, and apply scikit-learn's measure to the copies."""
    labels = np.unique(frame["kin_group"].to_numpy())
    members = [np.flatnonzero(frame["kin_group"].to_numpy() == g) for g in labels]
    y, p = frame["label"].to_numpy(), frame["prediction"].to_numpy()
    values = []
    for drawn in np.concatenate(list(unit_draws(labels.size, n_resamples, seed))):
        rows = np.concatenate([np.tile(m, int(k)) for m, k in zip(members, drawn, strict=True)]).astype(int)
        values.append(measure(y[rows], p[rows]))
    return tuple(np.quantile(values, (0.025, 0.975)))


def test_estimates_and_intervals_equal_a_loop_over_copied_rows() -> None:
    from sklearn import metrics as peer

    frame = simulated()
    found = evaluate_predictions(frame, target="t", objective="binary", seed=5, n_resamples=120)
    y, p = frame["label"].to_numpy(), frame["prediction"].to_numpy()

    def slope(y: np.ndarray, p: np.ndarray) -> float:
        from sklearn.linear_model import LogisticRegression

        x = np.log(p / (1 - p))[:, None]
        return float(LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y).coef_[0, 0])

    measures = {
        "auroc": peer.roc_auc_score, "auprc": peer.average_precision_score, "brier": peer.brier_score_loss,
        "log_loss": peer.log_loss, "expected_observed": lambda y, p: p.sum() / y.sum(), "calibration_slope": slope,
        "brier_skill": peer.r2_score,
    }  # fmt: skip
    for name, measure in measures.items():
        row = one(found, name)
        tolerance = 1e-5 if name == "calibration_slope" else 1e-10
        assert row["estimate"] == pytest.approx(measure(y, p), abs=tolerance), name
        assert (row["low"], row["high"]) == pytest.approx(brute_force(frame, measure, 120, 5), abs=tolerance), name
        assert (row["n_rows"], row["n_events"]) == (300, int(y.sum()))
        assert row["n_units"] == frame["kin_group"].n_unique()


def test_measures_of_a_quantity_equal_a_loop_over_copied_rows() -> None:
    from sklearn import metrics as peer

    rng = np.random.default_rng(1)
    frame = simulated(200).with_columns(label=pl.col("prediction") * 10 + pl.Series(rng.normal(size=200)),
                                        prediction=pl.col("prediction") * 8)  # fmt: skip
    found = evaluate_predictions(frame, target="t", objective="regression", seed=5, n_resamples=100)
    measures = {"r2": peer.r2_score, "rmse": peer.root_mean_squared_error, "mae": peer.mean_absolute_error,
                "pearson_r": lambda y, p: np.corrcoef(y, p)[0, 1]}  # fmt: skip
    assert sorted(found["metric"].to_list()) == sorted(REGRESSION_METRICS) == sorted(measures)
    for name, measure in measures.items():
        row = one(found, name)
        assert row["estimate"] == pytest.approx(measure(frame["label"].to_numpy(), frame["prediction"].to_numpy()))
        assert (row["low"], row["high"]) == pytest.approx(brute_force(frame, measure, 100, 5), abs=1e-9), name
        assert row["n_events"] is None


def test_a_subgroup_is_the_evaluation_of_its_rows() -> None:
    frame = simulated()
    sex = ["female" if i % 3 else None if i % 2 else "male" for i in range(300)]
    found = evaluate_predictions(frame, target="t", objective="binary", seed=5, n_resamples=50, subgroups={"sex": sex})
    for label in ("female", "male"):
        part = frame.filter(pl.Series([s == label for s in sex]))
        alone = evaluate_predictions(part, target="t", objective="binary", seed=5, n_resamples=50)
        for name in ("auroc", "brier", "calibration_slope"):
            row = one(found, name, f"sex={label}")
            assert row["estimate"] == pytest.approx(one(alone, name)["estimate"])
            assert row["n_rows"] == part.height
    assert set(found["group"].unique()) == {"all", "sex=female", "sex=male"}


@pytest.mark.parametrize(
    ("rows", "events", "note"),
    [
        (10, 5, "not estimable: fewer than 11 people"),
        (30, 0, "not estimable: no events"),
        (30, 10, "not estimable: fewer than 11 events"),
        (30, 20, "not estimable: fewer than 11 non-events"),
        (30, 30, "not estimable: no non-events"),
        (30, 11, ""),
    ],
)
def test_a_subgroup_that_is_too_small_says_so(rows: int, events: int, note: str) -> None:
    n = 200
    labels = np.array([1.0] * events + [0.0] * (rows - events) + [float(i % 2) for i in range(n - rows)])
    frame = simulated(n).with_columns(label=pl.Series(labels), kin_group=pl.col("row"))
    band = ["young"] * rows + ["old"] * (n - rows)
    found = evaluate_predictions(frame, target="t", objective="binary", seed=0, n_resamples=40, subgroups={"age": band})
    small = found.filter(pl.col("group") == "age=young")
    assert small.height == len(BINARY_METRICS) - 1
    row = one(found, "auroc", "age=young")
    assert row["note"] == note
    assert (row["estimate"] is None) == bool(note)
    assert (row["low"] is None) == bool(note)
    assert row["n_rows"] == rows


def test_few_people_with_many_rows_are_few() -> None:
    frame = simulated(200).with_columns(kin_group=pl.col("row") % 10)
    people = np.arange(200) % 10
    found = evaluate_predictions(frame, target="t", objective="binary", seed=0, n_resamples=10, people=people)
    assert set(found["note"]) == {"not estimable: fewer than 11 people"}


def test_few_groups_of_relatives_have_no_interval() -> None:
    frame = simulated(200).with_columns(kin_group=pl.col("row") % 4)
    found = evaluate_predictions(frame, target="t", objective="binary", seed=0, n_resamples=10)
    assert set(found["note"]) == {"not estimable: fewer than 5 groups of relatives"}


def test_the_prevalence_stands_beside_the_models() -> None:
    frame = simulated(folds=3)
    means = {0: 0.3, 1: 0.35, 2: 0.4}
    found = evaluate_predictions(frame, target="t", objective="binary", seed=0, n_resamples=40, training_mean=means)
    y, q = frame["label"].to_numpy(), np.array([means[f] for f in frame["fold"].to_list()])
    assert one(found, "auroc", model="prevalence")["estimate"] == 0.5
    assert one(found, "brier", model="prevalence")["estimate"] == pytest.approx(((y - q) ** 2).mean())
    assert one(found, "brier_skill", model="prevalence")["estimate"] == pytest.approx(0)
    own = one(found, "brier")["estimate"]
    assert one(found, "brier_skill")["estimate"] == pytest.approx(1 - own / ((y - q) ** 2).mean())


def test_predictions_that_never_vary_have_measures_but_no_slope() -> None:
    frame = simulated().with_columns(prediction=pl.lit(0.4))
    found = evaluate_predictions(frame, target="t", objective="binary", seed=0, n_resamples=20)
    assert one(found, "calibration_slope")["estimate"] is None
    assert one(found, "calibration_slope")["note"].startswith("not estimable")
    assert one(found, "auroc")["estimate"] == 0.5


def test_row_weights_count_as_copies() -> None:
    frame = simulated(100).with_columns(kin_group=pl.col("row"))
    weights = np.where(np.arange(100) < 50, 2.0, 1.0)
    found = evaluate_predictions(frame, target="t", objective="binary", seed=0, n_resamples=5, weights=weights)
    copies = pl.concat([frame, frame.head(50).with_columns(pl.col("row") + 1000)])
    plain = evaluate_predictions(copies, target="t", objective="binary", seed=0, n_resamples=5)
    for name in BINARY_METRICS:
        assert one(found, name)["estimate"] == pytest.approx(one(plain, name)["estimate"], abs=1e-6), name


def test_order_of_lines_and_of_models_does_not_matter_to_the_last_bit() -> None:
    frame = simulated(folds=2, models=("boosted", "linear"))
    kinds = {"sex": ["a", "b"] * 150}
    ask = {"target": "t", "objective": "binary", "seed": 3, "n_resamples": 30, "subgroups": kinds}
    first = evaluate_predictions(frame, **ask)
    second = evaluate_predictions(frame.sample(fraction=1.0, shuffle=True, seed=1), **ask)
    assert first.equals(second)
    # One model's figures do not change because another is evaluated beside it.
    alone = evaluate_predictions(frame.filter(pl.col("model") == "linear"), **ask)
    assert alone.equals(first.filter(pl.col("model") == "linear"))


def test_labels_that_do_not_reach_the_rows_are_refused() -> None:
    with pytest.raises(FormatError, match="'sex' has 10 labels"):
        evaluate_predictions(simulated(), target="t", objective="binary", seed=0, subgroups={"sex": ["a"] * 10})


def test_no_predictions_give_an_empty_table() -> None:
    found = evaluate_predictions(PREDICTIONS.empty(), target="t", objective="binary", seed=0)
    assert found.equals(METRICS.empty())
