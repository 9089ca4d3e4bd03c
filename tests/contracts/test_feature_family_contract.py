"""Every registered feature family keeps the contract, and each check catches a family that breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.registry import members
from genomix.schemas.features import COLUMNS
from tests.contracts.family_world import World, make_world
from tests.contracts.feature_family import (
    CHECKS,
    check_columns_are_told,
    check_compute_is_row_local,
    check_ignores_the_future,
    check_learned_travels_as_json,
    check_learns_from_its_rows_only,
    check_one_row_per_index_row,
    check_refuses_what_it_cannot_use,
    check_repeats_itself,
    check_says_whether_it_learns,
)
from tests.contracts.registered import by_file

FAMILIES = members("genomix.features.families", "FAMILY")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_keeps_the_contract(name: str, check: Any, world: World) -> None:
    check(FAMILIES[name], world.options(name), world)


def test_a_family_is_named_as_its_file() -> None:
    assert {file: member.name for file, member in by_file("genomix.features.families", "FAMILY").items()} == {
        name: name for name in FAMILIES
    }


class Potassium:
    """A sound family: how many potassium records were known, and their mean, missing ones filled as learned."""

    name = "potassium"
    rung = "records"
    learns = True
    needs = frozenset({"records"})
    told = (("potassium_count", "how many"), ("potassium_mean", "how much"))

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        if options:
            raise ConfigError(f"{self.name} has no option {min(options)!r}")
        assert inputs.events is not None
        pairs = inputs.index.select("row", "subject_id", "prediction_time").join(
            inputs.events.filter(pl.col("code") == "LAB//potassium"), on="subject_id"
        )
        known = pairs.filter(self.is_known()).sort("row", "time", "numeric_value")
        sums = known.group_by("row", maintain_order=True).agg(
            pl.len().cast(pl.Float32).alias("n"), (pl.col("numeric_value") * 10).round().cast(pl.Int64).sum()
        )
        joined = inputs.index.select("row").join(sums, on="row", how="left", maintain_order="left")
        mean = (pl.col("numeric_value") / 10 / pl.col("n")).cast(pl.Float32).fill_null(float("nan"))
        values = joined.select(pl.col("n").fill_null(0), mean.alias("mean")).to_numpy().astype(np.float32)
        return FeatureBlock(values, self.columns())

    def is_known(self) -> pl.Expr:
        return (pl.col("time") <= pl.col("prediction_time")) & (pl.col("available_time") <= pl.col("prediction_time"))

    def columns(self) -> pl.DataFrame:
        rows = [(n, self.name, self.rung, n, "records", None, None, None, None, s, None) for n, s in self.told]
        return pl.DataFrame(rows, schema={c.name: c.dtype for c in COLUMNS.columns}, orient="row")

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        return {"mean": float(np.nanmean(block.values[rows, 1].astype(np.float64)))}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        values = block.values.copy()
        values[np.isnan(values[:, 1]), 1] = learned["mean"]
        return FeatureBlock(values, block.columns)


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_family_passes(check: Any, world: World) -> None:
    check(Potassium(), {}, world)


class _PeeksByTime(Potassium):
    def is_known(self) -> pl.Expr:
        return pl.col("available_time") <= pl.col("prediction_time") + pl.duration(days=1)


class _PeeksByAvailability(Potassium):
    def is_known(self) -> pl.Expr:
        return pl.col("time") <= pl.col("prediction_time")


class _LearnsFromEveryone(Potassium):
    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        return super().fit(block, inputs, options, np.arange(inputs.n_rows))


class _LearnsFromEveryonesRecords(Potassium):
    """Asks the training rows only, but counts people in all records."""

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        assert inputs.events is not None
        return {**super().fit(block, inputs, options, rows), "codes": inputs.events["code"].n_unique()}


class _DropsARow(Potassium):
    """An inner join: people without potassium have no row."""

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        block = super().compute(inputs, options)
        return FeatureBlock(block.values[block.values[:, 0] > 0], block.columns)


class _SortsRows(Potassium):
    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        block = super().compute(inputs, options)
        return FeatureBlock(block.values[np.argsort(inputs.index["subject_id"].to_numpy())], block.columns)


class _ComparesRows(Potassium):
    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        block = super().compute(inputs, options)
        values = block.values.copy()
        values[:, 0] -= values[:, 0].mean()
        return FeatureBlock(values, block.columns)


class _StandardisesOnApply(Potassium):
    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        found = super().apply(block, inputs, options, learned)
        return FeatureBlock(found.values - found.values.mean(axis=0), found.columns)


class _LearnsAnArray(Potassium):
    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        return {"mean": np.nanmean(block.values[rows, 1])}


class _LearnsByNumber(Potassium):
    """Keys that are numbers become text in JSON."""

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        return {1: super().fit(block, inputs, options, rows)["mean"]}  # type: ignore[dict-item]  # the mistake

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Any) -> FeatureBlock:
        return super().apply(block, inputs, options, {"mean": learned.get(1, 0.0)})


class _ReadsTheFirstRecord(Potassium):
    """Depends on which record the source has first."""

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        block = super().compute(inputs, options)
        assert inputs.events is not None
        values = block.values.copy()
        values[values[:, 0] > 0, 1] += np.float32(inputs.events["subject_id"][0])
        return FeatureBlock(values, block.columns)


class _WritesIntoTheBlock(Potassium):
    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        block.values[np.isnan(block.values)] = learned["mean"]
        return FeatureBlock(block.values, block.columns)


class _TakesAnyOption(Potassium):
    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        return super().compute(inputs, {})


class _Silent(Potassium):
    told = (("potassium_count", " "), ("potassium_mean", "how much"))


class _TwoOfOneName(Potassium):
    told = (("potassium", "how many"), ("potassium", "how much"))


class _DeniesLearning(Potassium):
    learns = False


class _LearnsNothing(Potassium):
    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        return {"mean": 4.0}


class _NeedsTheUnknown(Potassium):
    needs = frozenset({"records", "weather"})


BROKEN = (
    (check_ignores_the_future, _PeeksByTime, "later records deleted change values"),
    (check_ignores_the_future, _PeeksByAvailability, "later records deleted change values"),
    (check_learns_from_its_rows_only, _LearnsFromEveryone, "other people's data change what is learned"),
    (check_learns_from_its_rows_only, _LearnsFromEveryonesRecords, "other people's data change what is learned"),
    (check_one_row_per_index_row, _DropsARow, r"compute gives \(\d+, 2\) values, not \(38, 2\)"),
    (check_one_row_per_index_row, _SortsRows, "another order of the index gives other values"),
    (check_compute_is_row_local, _ComparesRows, "values of a row change when other rows are taken away"),
    (check_compute_is_row_local, _StandardisesOnApply, "apply gives a row other values"),
    (check_learned_travels_as_json, _LearnsAnArray, "what was learned is not JSON"),
    (check_learned_travels_as_json, _LearnsByNumber, "gives other values after it was written and read"),
    (check_repeats_itself, _ReadsTheFirstRecord, "compute does not repeat itself"),
    (check_repeats_itself, _WritesIntoTheBlock, "repeat itself|was changed"),
    (check_refuses_what_it_cannot_use, _TakesAnyOption, "an unknown option was accepted"),
    (check_refuses_what_it_cannot_use, _NeedsTheUnknown, "needs .*weather"),
    (check_columns_are_told, _Silent, "has no sentence"),
    (check_columns_are_told, _TwoOfOneName, "rows are not unique by name"),
    (check_says_whether_it_learns, _DeniesLearning, "says that it does not learn"),
    (check_says_whether_it_learns, _LearnsNothing, "training people teach nothing"),
)


@pytest.mark.parametrize(("check", "family", "message"), BROKEN)
def test_each_check_catches_a_broken_family(check: Any, family: Any, message: str, world: World) -> None:
    with pytest.raises(AssertionError, match=message):
        check(family(), {}, world)
