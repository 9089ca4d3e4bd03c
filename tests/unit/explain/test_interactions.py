"""Interaction values against their definition: every subset of columns, trees walked, with missing values."""

from __future__ import annotations

import json
from itertools import combinations
from math import factorial

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, IntegrityError
from genomix.explain import interactions
from genomix.explain.interactions import (
    check_interactions,
    explain_interactions,
    interaction_table,
    strongest_pairs,
    used_columns,
)
from genomix.features.matrix import FeatureBlock
from genomix.models.boosted import FittedBoosted
from genomix.models.model import Part, model_named
from tests.unit.explain.test_tree_shap_exact import dictionary, expectation, shapley


def worlds(p: int = 5, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, p)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    margin = 2 * np.nan_to_num(X[:, 0]) * np.nan_to_num(X[:, 1]) + np.isnan(X[:, 2]) + 0.5 * np.nan_to_num(X[:, 3])
    return X, (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)


def fit(X: np.ndarray, y: np.ndarray, **options: float) -> FittedBoosted:
    chosen = {"rounds": 10, "max_depth": 3, "eta": 0.3, "min_child_weight": 1.0, **options}
    return model_named("boosted").fit(Part(X, y), tuning=None, objective="binary", seed=0, device=CPU, options=chosen)


def by_definition(trees: list[dict], x: np.ndarray) -> np.ndarray:
    """Shapley interaction index (Fujimoto 2006), split over both halves; main effects are what is left."""
    p = x.size
    value = {
        frozenset(s): sum(expectation(t, x, frozenset(s)) for t in trees)
        for size in range(p + 1)
        for s in combinations(range(p), size)
    }
    found = np.zeros((p, p))
    for i, j in combinations(range(p), 2):
        for s in (s for s in value if i not in s and j not in s):
            weight = factorial(len(s)) * factorial(p - len(s) - 2) / (2 * factorial(p - 1))
            found[i, j] += weight * (value[s | {i, j}] - value[s | {i}] - value[s | {j}] + value[s])
        found[j, i] = found[i, j]
    return found + np.diag(np.array(shapley(trees, x)) - found.sum(axis=1))


def test_interactions_equal_the_definition_and_lines_add_up() -> None:
    X, y = worlds()
    fitted = fit(X, y)
    assert used_columns(fitted).tolist() == [0, 1, 2, 3, 4]
    trees = [json.loads(t) for t in fitted.booster.get_dump(with_stats=True, dump_format="json")]
    found = explain_interactions(fitted, FeatureBlock(X, dictionary(list("abcde"))), np.arange(8))
    for row in range(8):
        assert found.values[row] == pytest.approx(by_definition(trees, X[row]), abs=2e-5)
    table = interaction_table(found)
    sums = table.group_by("row", maintain_order=True).agg(pl.col("shap").sum() + pl.col("base_value").first())
    assert sums["shap"].to_list() == pytest.approx(fitted.margin(X[:8]).tolist(), abs=1e-5)
    mean = 2 * np.abs(found.values).mean(axis=0)
    one, other = max(combinations(range(5), 2), key=lambda pair: float(mean[pair]))
    assert strongest_pairs(found).row(0)[:2] == ("abcde"[one], "abcde"[other])
    assert strongest_pairs(found)["mean_abs_shap"][0] == pytest.approx(mean[one, other], rel=1e-6)


def test_columns_that_no_tree_uses_are_left_out_and_change_nothing() -> None:
    import xgboost

    X, y = worlds(40, 400)
    fitted = fit(X, y, rounds=4)
    used = used_columns(fitted)
    assert 2 < used.size < 30
    found = explain_interactions(fitted, FeatureBlock(X, dictionary([f"c{i}" for i in range(40)])), np.array([7, 3]))
    whole = fitted.booster.predict(xgboost.DMatrix(X[[7, 3]]), pred_interactions=True)[:, :40, :40]
    assert np.array_equal(found.values, whole[:, used][:, :, used])
    rest = np.setdiff1d(np.arange(40), used)
    assert not whole[:, rest].any()
    assert found.columns["name"].to_list() == [f"c{i}" for i in used]
    assert found.row.tolist() == [7, 3]


def test_a_linear_model_has_main_effects_only() -> None:
    X, y = worlds()
    fitted = model_named("linear").fit(Part(X, y), tuning=Part(X, y), objective="binary", seed=0, device=CPU)
    found = explain_interactions(fitted, FeatureBlock(X, dictionary(list("abcde"))), np.arange(4))
    assert interaction_table(found).filter(pl.col("feature") != pl.col("other")).height == 0
    margin = found.values.sum(axis=(1, 2)) + found.base_value
    assert margin == pytest.approx(fitted.margin(X[:4]), abs=1e-5)


def test_too_many_columns_or_rows_are_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = worlds()
    fitted, block = fit(X, y), FeatureBlock(X, dictionary(list("abcde")))
    monkeypatch.setattr(interactions, "MOST_COLUMNS", 4)
    with pytest.raises(ConfigError, match="5 columns that the model uses are too many"):
        explain_interactions(fitted, block, np.arange(2))
    monkeypatch.setattr(interactions, "MOST_COLUMNS", 5)
    monkeypatch.setattr(interactions, "MOST_VALUES", 60)
    with pytest.raises(ConfigError, match="at most 2 rows"):
        explain_interactions(fitted, block, np.arange(3))
    assert explain_interactions(fitted, block, np.arange(2)).values.shape == (2, 5, 5)
    assert explain_interactions(fitted, block, np.arange(0)).values.shape == (0, 5, 5)


def test_matrices_that_do_not_add_up_are_refused() -> None:
    values = np.array([[[0.5, 0.1], [0.1, 0.2]]], dtype=np.float32)
    assert check_interactions(values, np.array([[0.6, 0.3]], dtype=np.float32)) < 1e-6
    with pytest.raises(IntegrityError, match="miss the contributions"):
        check_interactions(values, np.array([[0.6, 0.31]], dtype=np.float32))
    lopsided = np.array([[[0.5, 0.2], [0.0, 0.3]]], dtype=np.float32)
    with pytest.raises(IntegrityError, match="miss the contributions"):
        check_interactions(lopsided, np.array([[0.7, 0.3]], dtype=np.float32))
