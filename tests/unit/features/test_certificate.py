"""The leakage certificate is fed with planted leaks and must find each; on a clean matrix it must pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.features import certificate, certificate_checks
from genomix.features.assemble import assemble
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.matrix import FeatureBlock, FeatureMatrix, RowArray
from genomix.schemas.events import EVENTS
from genomix.schemas.features import COLUMNS

N = 60
T0 = datetime(2020, 6, 15, 12)


def column(
    name: str, *, family: str, source: str = "records", lag: float | None = 1.0, code: str | None = None
) -> list[Any]:
    return [name, family, "records", name, source, "full", "last", None, code, name, lag]


def block(values: np.ndarray, columns: list[list[Any]]) -> FeatureBlock:
    frame = pl.DataFrame(columns, schema={c.name: c.dtype for c in COLUMNS.columns}, orient="row")
    return FeatureBlock(values.astype(np.float32), frame)


class LastLab:
    """The last lab: honest, or (``peek``) blind to the prediction time."""

    name, rung, learns, needs = "labs", "records", False, frozenset({"records"})

    def __init__(self, peek: bool = False) -> None:
        self.peek = peek

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        assert inputs.events is not None
        known = pl.lit(True) if self.peek else pl.col("available_time") <= pl.col("prediction_time")
        last = (
            inputs.index.join(inputs.events, on="subject_id").filter(known).sort("time")
            .group_by("row", maintain_order=True).agg(pl.col("numeric_value").last())
        )  # fmt: skip
        values = inputs.index.join(last, on="row", how="left", maintain_order="left")["numeric_value"].to_numpy()
        return block(values.reshape(-1, 1), [column("last lab", family=self.name, code="LAB//x")])

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        return {}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        return block


class Centred(LastLab):
    """The last lab minus its mean over training rows, or (``everyone``) over all rows."""

    name, learns = "centred", True

    def __init__(self, everyone: bool = False) -> None:
        super().__init__()
        self.everyone = everyone

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        chosen = np.arange(inputs.n_rows) if self.everyone else rows
        return {"mean": float(np.nanmean(block.values[chosen].astype(np.float64)))}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        return FeatureBlock(block.values - np.float32(learned["mean"]), block.columns)


@pytest.fixture
def inputs() -> FeatureInputs:
    rng = np.random.default_rng(5)
    index = pl.DataFrame(
        {
            "row": np.arange(N),
            "subject_id": np.arange(N) + 100,
            "prediction_time": pl.Series([T0] * N, dtype=pl.Datetime("us")),
        }
    )
    rows = []
    for subject in range(100, 100 + N):
        for day in (1, 9, 20):
            stamp = datetime(2020, 6, day, 9)
            rows.append([subject, stamp, "LAB//x", float(rng.normal()), None, "mg/dL", "second", stamp])
    events = pl.DataFrame(rows, schema={c.name: c.dtype for c in EVENTS.columns}, orient="row")
    return FeatureInputs(index=index, device=CPU, events=events)


def folded(inputs: FeatureInputs) -> pl.DataFrame:
    rng = np.random.default_rng(6)
    roles = ["train"] * 30 + ["tuning"] * 10 + ["held_out"] * 20
    return inputs.index.with_columns(
        label=pl.Series(rng.integers(0, 2, N).astype(np.float64)), weight=pl.lit(1.0),
        kin_group=pl.Series(np.arange(N)), fold_0=pl.Series(roles),
    )  # fmt: skip


def build(
    inputs: FeatureInputs, family: Any, index: pl.DataFrame | None = None
) -> tuple[FeatureMatrix, dict[str, Any]]:
    families = {family.name: family}
    return assemble(families, {}, inputs, folded(inputs) if index is None else index), families


def test_a_clean_matrix_passes(inputs: FeatureInputs) -> None:
    matrix, families = build(inputs, LastLab())
    frame = certificate.certify(matrix, families, {}, inputs, binary=True, kinship=None, kinship_threshold=0.177)
    status = dict(frame.select("check", "status").iter_rows())
    assert "failed" not in status.values()
    assert status["availability"] == status["later_events"] == status["subjects_disjoint"] == "passed"
    assert status["stamps_at_source"] == status["kin_disjoint"] == "not provable"


def test_planted_future_lab_is_found_by_recomputation_even_when_its_lag_lies(inputs: FeatureInputs) -> None:
    matrix, families = build(inputs, LastLab(peek=True))
    assert certificate_checks.availability(matrix).status == "passed", (
        "the planted family hides the leak from this check"
    )
    found = certificate.later_events_change_nothing(matrix, families, {}, inputs)
    assert found.status == "failed"
    assert "last lab" in found.found


def test_planted_negative_lag_is_found(inputs: FeatureInputs) -> None:
    matrix, _ = build(inputs, LastLab())
    late = matrix.block.columns.with_columns(pl.lit(-0.5).alias("smallest_lag_days"))
    leaky = replace(matrix, block=FeatureBlock(matrix.block.values, late))
    assert certificate_checks.availability(leaky).status == "failed"


def test_planted_date_only_record_that_counts_from_midnight_is_found(inputs: FeatureInputs) -> None:
    assert inputs.events is not None
    day = pl.col("time").dt.truncate("1d")
    honest = inputs.events.with_columns(
        time=day, time_precision=pl.lit("day"), available_time=day + pl.duration(days=1) - pl.duration(microseconds=1)
    )
    assert certificate_checks.date_only_records(honest).status == "passed"
    early = honest.with_columns(available_time=pl.col("time"))
    found = certificate_checks.date_only_records(early)
    assert found.status == "failed"
    assert f"{early.height} of {early.height}" in found.found


def test_planted_subject_on_both_sides_is_found(inputs: FeatureInputs) -> None:
    index = folded(inputs)
    twice = index.with_columns(subject_id=pl.when(pl.col("row") == N - 1).then(100).otherwise(pl.col("subject_id")))
    matrix, _ = build(inputs, LastLab(), twice)
    found = certificate_checks.subjects_disjoint(matrix)
    assert found.status == "failed"
    assert found.found.startswith("1 people")


def test_planted_fit_on_everyone_is_found_though_it_claims_training_rows(inputs: FeatureInputs) -> None:
    honest, families = build(inputs, Centred())
    assert certificate.learned_from_training(honest, families, {}, inputs).status == "passed"
    leaky, _ = build(inputs, Centred(everyone=True))
    found = certificate.learned_from_training(leaky, families, {}, inputs)
    assert found.status == "failed"
    assert "learned something else" in found.found


def test_planted_fit_that_admits_other_rows_is_found(inputs: FeatureInputs) -> None:
    matrix, families = build(inputs, Centred())
    fold = replace(matrix.folds[0], learned_from={"centred": np.arange(N)})
    found = certificate.learned_from_training(replace(matrix, folds=(fold,)), families, {}, inputs)
    assert found.status == "failed"
    assert "read other rows" in found.found


def test_imputer_that_is_not_what_training_rows_give_is_failed(inputs: FeatureInputs) -> None:
    matrix, _ = build(inputs, LastLab())
    assert certificate_checks.imputed_from_training(matrix, {0: True}).status == "passed"
    assert certificate_checks.imputed_from_training(matrix, {0: False}).status == "failed"
    assert certificate_checks.imputed_from_training(matrix, None).status == "not applicable"


@pytest.mark.parametrize("how", ["value", "reversed", "missing"])
def test_planted_column_that_encodes_the_outcome_is_found(inputs: FeatureInputs, how: str) -> None:
    matrix, _ = build(inputs, LastLab())
    planted = matrix.labels.copy()
    if how == "reversed":
        planted = 1 - planted
    if how == "missing":
        planted = np.where(planted == 1, np.nan, np.random.default_rng(0).normal(size=N))
    leaky = replace(matrix, block=FeatureBlock(planted.reshape(-1, 1).astype(np.float32), matrix.block.columns))
    assert certificate_checks.columns_that_encode(matrix, binary=True).status == "passed"
    found = certificate_checks.columns_that_encode(leaky, binary=True)
    assert found.status == "failed"
    assert "last lab" in found.found


def test_a_column_of_a_few_people_is_not_accused(inputs: FeatureInputs) -> None:
    """Nine events separate by chance; a column on most people does not."""
    labels = np.zeros(200)
    labels[:9] = 1
    values = np.column_stack([labels + 0.5, np.where(np.arange(200) < 12, labels, np.nan)]).astype(np.float32)
    assert certificate_checks.column_strength(values[:, :1], labels, binary=True).tolist() == [0.0]
    assert certificate_checks.column_strength(values[:, 1:], labels, binary=True).tolist() == [0.0]


def test_relatives_across_the_split_fail_against_the_promise_and_are_stated_without_one(inputs: FeatureInputs) -> None:
    matrix, _ = build(inputs, LastLab())
    pairs = pl.DataFrame({"sample_a": [0, 0], "sample_b": [1, 59], "kinship": [0.25, 0.24]})
    found = certificate_checks.kin_disjoint(matrix, np.arange(N), pairs, 0.177)
    assert found.status == "failed"
    assert "0.2400" in found.found
    assert certificate_checks.kin_disjoint(matrix, np.arange(N), pairs, None).status == "not provable"
    assert certificate_checks.kin_disjoint(matrix, np.arange(N), pairs.head(1), 0.177).status == "passed"


def test_score_trained_on_the_study_is_failed_and_unknown_is_not_provable() -> None:
    assert certificate_checks.score_discovery({"s": "overlaps"}).status == "failed"
    assert certificate_checks.score_discovery({"s": "unknown"}).status == "not provable"
    assert certificate_checks.score_discovery({"s": "none"}).status == "passed"


def test_feature_of_an_outcome_code_is_named(inputs: FeatureInputs) -> None:
    matrix, _ = build(inputs, LastLab())
    found = certificate_checks.outcome_code_as_feature(matrix, ("^LAB//x$",))
    assert found.status == "not provable"
    assert "last lab" in found.found
    assert certificate_checks.outcome_code_as_feature(matrix, ("^DX//",)).status == "passed"


def test_outcome_code_is_found_behind_a_code_that_was_rolled_up(inputs: FeatureInputs) -> None:
    matrix, _ = build(inputs, LastLab())
    rolled = matrix.block.columns.with_columns(pl.lit("LAB").alias("code"))
    shallow = replace(matrix, block=FeatureBlock(matrix.block.values, rolled))
    pattern = ("^LAB//x$",)
    assert certificate_checks.outcome_code_as_feature(shallow, pattern, inputs.events, None).status == "passed"
    assert certificate_checks.outcome_code_as_feature(shallow, pattern, inputs.events, 1).status == "not provable"


def test_strength_of_a_column_equals_counting_pairs() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 5, 40).astype(np.float32), rng.integers(0, 2, 40).astype(np.float64)
    wins = [(a > b) + 0.5 * (a == b) for a in x[y == 1] for b in x[y == 0]]
    auroc = float(np.mean(wins))
    assert certificate_checks.column_strength(x.reshape(-1, 1), y, binary=True)[0] == pytest.approx(
        max(auroc, 1 - auroc)
    )


def test_prediction_times_that_were_chosen_by_the_outcome_are_found() -> None:
    rng = np.random.default_rng(3)
    label = (np.arange(80) % 2).astype(np.float64)
    start = np.datetime64("2015-01-01", "us")
    hours = rng.integers(0, 24 * 300, (80, 6)) * np.timedelta64(1, "h")
    events = pl.DataFrame(
        {"subject_id": np.repeat(np.arange(80), 6), "time": (start + hours).ravel(), "code": "LAB//x"}
    ).with_columns(
        pl.col("time").cast(pl.Datetime("us")), pl.lit("second").alias("time_precision"),
        pl.lit(1.0, dtype=pl.Float32).alias("numeric_value"),
        *(pl.lit(None, dtype=pl.String).alias(c) for c in ("text_value", "unit")),
    )  # fmt: skip
    events = EVENTS.validate(events.with_columns(pl.col("time").alias("available_time")).select(EVENTS.names))
    latest = events.group_by("subject_id").agg(pl.col("time").max()).sort("subject_id")["time"]
    far = pl.Series(rng.integers(1, 100, 80)).cast(pl.Int64)
    alike = latest + pl.select(pl.duration(days=far)).to_series()
    at_event = pl.select(pl.when(pl.Series(label == 1)).then(latest).otherwise(alike)).to_series()
    for times, status in ((alike, "passed"), (at_event, "failed")):
        index = pl.DataFrame({"row": np.arange(80), "subject_id": np.arange(80), "prediction_time": times})
        whole = FeatureMatrix(index.with_columns(pl.Series("label", label)), block(np.zeros((80, 0)), []), ())
        found = certificate_checks.same_window(whole, FeatureInputs(index, CPU, events=events), binary=True)
        assert found.status == status, found
        assert "time since the last record: median " in found.found
    none = certificate_checks.same_window(whole, FeatureInputs(index, CPU, events=None), binary=True)
    assert none.status == "not applicable"


@pytest.mark.parametrize(
    ("in_gap", "status", "words"),
    [
        (None, "not applicable", "from the prediction on"), (0, "passed", "None of 60 rows"),
        (3, "not provable", "Fewer than 10 of 60 rows"), (12, "not provable", "12 of 60 rows"),
    ],
)  # fmt: skip
def test_outcomes_in_the_gap_are_listed(inputs: FeatureInputs, in_gap: int | None, status: str, words: str) -> None:
    index = inputs.index.with_columns(pl.lit(0.0).alias("label"))
    found = certificate_checks.outcome_in_gap(FeatureMatrix(index, block(np.zeros((N, 0)), []), ()), in_gap)
    assert found.status == status
    assert words in found.found
