"""Importance by its definition, and a beeswarm that gives nobody away."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomix.explain.beeswarm import beeswarm
from genomix.explain.importance import importance
from genomix.explain.tree_shap import Explained
from genomix.schemas.features import ATTRIBUTIONS, COLUMNS


def explained(values: np.ndarray, features: np.ndarray, names: list[str], groups: list[str], families: list[str],
              row: np.ndarray, fold: int = 0) -> Explained:  # fmt: skip
    filled = {"rung": "records", "source": "table", "sentence": "what it is"}
    data = {c.name: [filled.get(c.name)] * len(names) for c in COLUMNS.columns}
    data |= {"name": names, "group": groups, "family": families}
    columns = pl.DataFrame(data, schema={c.name: c.dtype for c in COLUMNS.columns})
    return Explained(values.astype(np.float32), -1.0, features.astype(np.float32), columns, row, fold)


def value_of(table: pl.DataFrame, level: str, name: str) -> float:
    return table.filter((pl.col("level") == level) & (pl.col("name") == name))["mean_abs_shap"].item()


def test_contributions_are_summed_within_a_group_before_the_absolute_value() -> None:
    values = np.array([[1.0, -1.0, 0.5], [2.0, 1.0, -0.5]])
    part = explained(values, values, ["a", "b", "c"], ["g", "g", "h"], ["f", "f", "f"], np.arange(2))
    table = importance([part], target="t")
    assert [value_of(table, "feature", n) for n in "abc"] == [1.5, 1.0, 0.5]
    assert [value_of(table, "group", n) for n in "gh"] == [1.5, 0.5]
    assert value_of(table, "family", "f") == 1.5  # (|0.5| + |2.5|) / 2
    assert table.filter(pl.col("level") == "feature")["name"].to_list() == ["a", "b", "c"]
    assert set(table["n_rows"]) == {2}


def test_a_column_that_one_fold_lacks_counts_nothing_there() -> None:
    one = explained(np.array([[2.0, 1.0]]), np.ones((1, 2)), ["a", "b"], ["a", "b"], ["f", "f"], np.array([0]))
    two = explained(np.array([[4.0]]), np.ones((1, 1)), ["b"], ["b"], ["f"], np.array([1]), fold=1)
    table = importance([one, two], target="t")
    assert value_of(table, "feature", "a") == 1.0
    assert value_of(table, "feature", "b") == 2.5
    assert value_of(table, "family", "f") == 3.5


def test_nothing_explained_is_an_empty_table() -> None:
    assert importance([], target="t").height == 0
    assert beeswarm([], seed=0).height == 0


@pytest.fixture
def swarm_input() -> list[Explained]:
    """Columns: continuous, its sibling, 6 carriers, 8 values, half missing, one extreme."""
    rng = np.random.default_rng(0)
    n = 300
    features = rng.normal(size=(n, 6))
    features[:, 2] = 0
    features[:6, 2] = 1
    features[8:, 3] = np.nan
    features[rng.random(n) < 0.5, 4] = np.nan
    features[17, 5] = 1e6
    values = np.nan_to_num(features) * np.array([2.0, 0.1, 9.0, 9.0, 1.0, 0.0]) + 0.001 * rng.normal(size=(n, 6))
    values[17, 5] = 40.0
    names = ["common", "sibling", "rare", "absent", "half", "extreme"]
    groups = ["g", "g", "r", "a", "h", "x"]
    order = rng.permutation(n)
    return [
        explained(values[part], features[part], names, groups, ["f"] * 6, order[part], fold)
        for fold, part in enumerate((np.arange(160), np.arange(160, n)))
    ]


def test_few_carriers_and_few_values_are_left_out_and_a_group_is_shown_once(swarm_input) -> None:
    table = beeswarm(swarm_input, seed=1)
    assert table["feature"].unique(maintain_order=True).to_list() == ["common", "half", "extreme"]
    assert beeswarm(swarm_input, seed=1, n_features=1)["feature"].unique().to_list() == ["common"]


def test_every_shown_rank_value_and_outermost_contribution_is_shared(swarm_input) -> None:
    table = ATTRIBUTIONS.validate(beeswarm(swarm_input, seed=1, n_rows=300).drop("percentile"))
    for name in table["feature"].unique().to_list():
        part = table.filter(pl.col("feature") == name)
        assert part.height == 300
        shared = part.drop_nulls("value").group_by("value").len()["len"]
        assert shared.min() >= 11
        assert part.filter(pl.col("shap") == part["shap"].max()).height >= 11
        assert part.filter(pl.col("shap") == part["shap"].min()).height >= 11
    assert table["shap"].max() < 10
    assert table["value"].max() < 1e6


def test_people_are_units_not_rows(swarm_input) -> None:
    """With ten people behind 300 rows nothing can be shown."""
    assert beeswarm(swarm_input, seed=1, units=np.arange(300) % 10).height == 0


def test_points_of_one_person_cannot_be_joined_and_models_not_told_apart(swarm_input) -> None:
    table = beeswarm(swarm_input, seed=1, n_rows=50)
    for name in table["feature"].unique().to_list():
        part = table.filter(pl.col("feature") == name)
        assert part["row"].to_list() == list(range(50))
        assert part["shap"].is_sorted()
    assert set(table["fold"]) == {-1}
    assert set(table["base_value"]) == {0.0}


def test_ranks_follow_values_and_missing_ones_have_none(swarm_input) -> None:
    table = beeswarm(swarm_input, seed=1, n_rows=300)
    common = table.filter(pl.col("feature") == "common")
    assert common["percentile"].is_between(0, 1).all()
    # Contribution is twice the value, so both are in the same order up to the steps' width.
    assert np.corrcoef(common["percentile"], np.arange(300))[0, 1] > 0.99
    half = table.filter(pl.col("feature") == "half")
    missing = sum(int(np.isnan(e.features[:, 4]).sum()) for e in swarm_input)
    assert half["percentile"].null_count() == half["value"].null_count() == missing


def test_the_seed_chooses_the_rows_and_the_order_of_folds_does_not(swarm_input) -> None:
    first = beeswarm(swarm_input, seed=1, n_rows=40)
    assert first.equals(beeswarm(swarm_input[::-1], seed=1, n_rows=40))
    assert not first.equals(beeswarm(swarm_input, seed=2, n_rows=40))
