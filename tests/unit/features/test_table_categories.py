"""Levels of a table's text columns come from training rows alone; what is pooled, unseen or missing has its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, FormatError
from genomix.features.certificate import learned_from_training
from genomix.features.families.table_categories import FAMILY
from genomix.features.family import FeatureInputs, Options
from genomix.features.matrix import FeatureBlock, FeatureMatrix, FoldFeatures, RowArray, empty_block

SITES = ["a", "a", "b", "b", "c", None, "d", "a", None]
"""Of nine rows of nine people; the first six are training rows."""
TRAIN = np.arange(6)


def inputs_of(values: list[str | None], subjects: list[int] | None = None, name: str = "site") -> FeatureInputs:
    n = len(values)
    people = subjects if subjects is not None else list(range(1, n + 1))
    index = pl.DataFrame(
        {
            "row": range(n),
            "subject_id": people,
            "prediction_time": pl.Series([None] * n, dtype=pl.Datetime("us")),
            "kin_group": people,
            "source_row": range(n),
        }
    )
    table = pl.DataFrame({"source_row": range(n), "subject_id": people, name: values})
    return FeatureInputs(index, CPU, table=table)


def made(inputs: FeatureInputs, options: Options, rows: RowArray = TRAIN) -> tuple[dict[str, list[float]], Any]:
    block = FAMILY.compute(inputs, options)
    learned = FAMILY.fit(block, inputs, options, rows)
    found = FAMILY.apply(block, inputs, options, learned)
    names = [n.removeprefix("table_categories:") for n in found.columns["name"].to_list()]
    return {n: found.values[:, i].tolist() for i, n in enumerate(names)}, learned


def test_levels_are_those_of_training_rows_and_an_unseen_one_is_other() -> None:
    columns, learned = made(inputs_of(SITES), {"min_subjects": 2})
    assert learned == {"site": {"levels": ["a", "b"], "other": True, "missing": True}}
    assert columns == {
        "site=a": [1, 1, 0, 0, 0, 0, 0, 1, 0],
        "site=b": [0, 0, 1, 1, 0, 0, 0, 0, 0],
        "site other": [0, 0, 0, 0, 1, 0, 1, 0, 0],  # c is too rare, d was never seen
        "site missing": [0, 0, 0, 0, 0, 1, 0, 0, 1],
    }


def test_a_level_counts_people_and_not_rows() -> None:
    columns, _ = made(inputs_of(SITES, [1, 1, 2, 3, 4, 5, 6, 7, 8]), {"min_subjects": 2})
    assert "site=a" not in columns, "two rows of one person are one person"
    assert columns["site other"][:3] == [1, 1, 0]


def test_without_anything_pooled_or_missing_in_training_no_column_says_so() -> None:
    columns, learned = made(inputs_of(["a", "b", "a", "b", "c", None]), {"min_subjects": 1}, np.arange(4))
    assert learned == {"site": {"levels": ["a", "b"], "other": False, "missing": False}}
    assert columns["site=a"][:5] == [*columns["site=a"][:4], 0.0], "an unseen level is none of those known"
    assert all(np.isnan(c[5]) for c in columns.values()), "a missing value stays missing"


def test_a_column_whose_training_rows_are_alike_makes_no_feature() -> None:
    columns, learned = made(inputs_of(["a", "a", "a", "b"]), {"min_subjects": 1}, np.arange(3))
    assert columns == {}
    assert learned == {"site": {"levels": ["a"], "other": False, "missing": False}}


def test_a_prefix_makes_levels_and_names_are_what_is_said() -> None:
    inputs = inputs_of(["250.83", "250.1", "428", "428"], name="diag_1")
    choice = {"column": "diag_1", "prefix": 3, "names": {"250": "diabetes"}}
    options = {"columns": [choice], "min_subjects": 2, "sentences": {}}
    columns, _ = made(inputs, options, np.arange(4))
    assert columns == {"diag_1=250": [1, 1, 0, 0], "diag_1=428": [0, 0, 1, 1]}
    block = FAMILY.compute(inputs, options)
    told = FAMILY.apply(block, inputs, options, FAMILY.fit(block, inputs, options, np.arange(4))).columns
    assert told["sentence"].to_list() == ["diag 1: diabetes", "diag 1: 428"]
    assert set(told["group"]) == {"diag 1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": [{"column": "place"}]}, "no text column 'place'"),
        ({"columns": [{"column": "site", "depth": 2}]}, "no key 'depth'"),
        ({"columns": [{"column": "site"}, {"column": "site"}]}, "both called 'site'"),
        ({"least": 3}, "no option 'least'"),
    ],
)
def test_wrong_options_are_named(options: Options, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FAMILY.compute(inputs_of(SITES), options)


def test_two_table_rows_for_one_row_are_refused() -> None:
    inputs = inputs_of(SITES)
    assert inputs.table is not None
    twice = FeatureInputs(inputs.index, CPU, table=pl.concat([inputs.table, inputs.table.head(1)]))
    with pytest.raises(FormatError, match="two rows"):
        made(twice, {})


class _Everyone:
    """The family, but it learns its levels from every row."""

    name, rung, learns, needs = FAMILY.name, FAMILY.rung, True, FAMILY.needs

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        return FAMILY.compute(inputs, options)

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Any:
        return FAMILY.fit(block, inputs, options, np.arange(inputs.n_rows))

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Any) -> FeatureBlock:
        return FAMILY.apply(block, inputs, options, learned)


@pytest.mark.parametrize(("family", "status"), [(FAMILY, "passed"), (_Everyone(), "failed")])
def test_the_certificate_finds_levels_learned_from_everyone(family: Any, status: str) -> None:
    values: list[str | None] = [*"aabbccaabb", *"aabbccddaa"]
    inputs, rows, options = inputs_of(values), np.arange(10), {"min_subjects": 2}
    block = family.compute(inputs, options)
    learned = family.fit(block, inputs, options, rows)
    roles = pl.Series("fold_0", ["train"] * 10 + ["held_out"] * 10)
    index = inputs.index.with_columns(roles, pl.lit(0.0).alias("label"), pl.lit(1.0).alias("weight"))
    fold = FoldFeatures(family.apply(block, inputs, options, learned), {family.name: learned}, {family.name: rows})
    matrix = FeatureMatrix(index, empty_block(20), (fold,))
    assert learned_from_training(matrix, {family.name: family}, {family.name: options}, inputs).status == status
