"""Shapley values against their definition: every subset of columns, trees walked one by one, with missing values."""

from __future__ import annotations

import json
from itertools import combinations
from math import factorial, log

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import IntegrityError
from genomix.explain.tree_shap import attributions, check_additivity, explain_rows
from genomix.features.matrix import FeatureBlock
from genomix.models.model import Part, model_named
from genomix.schemas.features import ATTRIBUTIONS, COLUMNS


def dictionary(names: list[str], groups: list[str] | None = None, families: list[str] | None = None) -> pl.DataFrame:
    filled = {"family": "table", "rung": "records", "source": "table", "sentence": "what it is"}
    data = {c.name: [filled.get(c.name)] * len(names) for c in COLUMNS.columns} | {"name": names}
    data |= {"group": groups or names} | ({"family": families} if families else {})
    return pl.DataFrame(data, schema={c.name: c.dtype for c in COLUMNS.columns})


def expectation(node: dict, x: np.ndarray, known: frozenset[int]) -> float:
    """Path-dependent conditional expectation: an unknown column follows both branches, weighted by cover."""
    if "leaf" in node:
        return float(node["leaf"])
    by_id = {child["nodeid"]: child for child in node["children"]}
    j = int(node["split"].removeprefix("f"))
    if j in known:
        if np.isnan(x[j]):
            return expectation(by_id[node["missing"]], x, known)
        side = "yes" if np.float32(x[j]) < np.float32(node["split_condition"]) else "no"
        return expectation(by_id[node[side]], x, known)
    return sum(c["cover"] * expectation(c, x, known) for c in by_id.values()) / sum(c["cover"] for c in by_id.values())


def shapley(trees: list[dict], x: np.ndarray) -> list[float]:
    p = x.size
    value = {
        frozenset(s): sum(expectation(t, x, frozenset(s)) for t in trees)
        for size in range(p + 1)
        for s in combinations(range(p), size)
    }
    return [
        sum(
            factorial(len(s)) * factorial(p - len(s) - 1) / factorial(p) * (value[s | {j}] - value[s])
            for s in value
            if j not in s
        )
        for j in range(p)
    ]


@pytest.fixture(scope="module")
def small() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)).astype(np.float32)
    X[:, 4] = np.round(X[:, 4])
    X[rng.random(X.shape) < 0.2] = np.nan
    margin = np.nan_to_num(X[:, 0]) * np.nan_to_num(X[:, 1]) + np.isnan(X[:, 2]) + 0.5 * np.nan_to_num(X[:, 4])
    return X, (rng.random(300) < 1 / (1 + np.exp(-margin))).astype(float)


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_tree_shap_equals_the_definition(small, objective: str) -> None:
    X, y = small
    labels = y if objective == "binary" else y * 3 + np.nan_to_num(X[:, 0])
    fitted = model_named("boosted").fit(
        Part(X, labels), tuning=None, objective=objective, seed=0, device=CPU,
        options={"rounds": 12, "max_depth": 4, "eta": 0.3, "min_child_weight": 1.0},
    )  # fmt: skip
    trees = [json.loads(t) for t in fitted.booster.get_dump(with_stats=True, dump_format="json")]
    found = explain_rows(fitted, FeatureBlock(X, dictionary(list("abcde"))), np.arange(12))
    for row in range(12):
        assert found.values[row] == pytest.approx(shapley(trees, X[row]), abs=2e-5)
    start = log(labels.mean() / (1 - labels.mean())) if objective == "binary" else labels.mean()
    expected = start + sum(expectation(t, X[0], frozenset()) for t in trees)
    assert found.base_value == pytest.approx(expected, abs=1e-5)


def test_the_approximation_would_be_caught_though_it_adds_up(small) -> None:
    """Saabas values sum to the margin too: what the comparison above would miss if it checked only the sum."""
    X, y = small
    fitted = model_named("boosted").fit(
        Part(X, y), tuning=None, objective="binary", seed=0, device=CPU,
        options={"rounds": 12, "max_depth": 4, "eta": 0.3, "min_child_weight": 1.0},
    )  # fmt: skip
    from xgboost import DMatrix

    rough = fitted.booster.predict(DMatrix(X), pred_contribs=True, approx_contribs=True)
    exact = fitted.contributions(X)
    assert check_additivity(rough[:, :5], float(rough[0, 5]), fitted.margin(X)) < 1e-5
    assert np.abs(rough[:, :5] - exact.values).max() > 0.02


@pytest.mark.parametrize("name", ["boosted", "linear"])
def test_long_table(small, name: str) -> None:
    X, y = small
    fitted = model_named(name).fit(Part(X, y), tuning=Part(X, y), objective="binary", seed=0, device=CPU)
    rows = np.array([7, 3, 200])
    found = explain_rows(fitted, FeatureBlock(X, dictionary(list("abcde"))), rows, fold=2)
    table = ATTRIBUTIONS.validate(attributions(found))
    assert table.height == 15
    assert attributions(found, all_values=False).equals(table.filter(pl.col("shap") != 0))
    assert table["row"].to_list() == [7] * 5 + [3] * 5 + [200] * 5
    assert table["feature"].to_list() == list("abcde") * 3
    assert table["fold"].unique().to_list() == [2]
    assert table["value"].to_list() == [None if np.isnan(v) else float(v) for v in X[rows].reshape(-1)]
    sums = table.group_by("row", maintain_order=True).agg(pl.col("shap").sum() + pl.col("base_value").first())
    assert sums["shap"].to_list() == pytest.approx(fitted.margin(X[rows]).tolist(), abs=1e-5)


def test_no_rows_are_no_attributions(small) -> None:
    X, y = small
    for name in ("boosted", "linear"):
        fitted = model_named(name).fit(Part(X, y), tuning=Part(X, y), objective="binary", seed=0, device=CPU)
        found = explain_rows(fitted, FeatureBlock(X, dictionary(list("abcde"))), np.arange(0))
        assert attributions(found).equals(ATTRIBUTIONS.empty())
        assert found.base_value == explain_rows(fitted, FeatureBlock(X, found.columns), np.arange(3)).base_value
        assert fitted.predict(X[:0]).shape == (0,)


@pytest.mark.parametrize("error", [1e-3, float("nan")])
def test_contributions_that_do_not_add_up_are_refused(error: float) -> None:
    values = np.array([[0.5, -0.25], [1.0, 0.0]], dtype=np.float32)
    margin = values.sum(axis=1).astype(float) + 0.1
    assert check_additivity(values, 0.1, margin) < 1e-6
    margin[1] += error
    with pytest.raises(IntegrityError, match="miss the model's margin"):
        check_additivity(values, 0.1, margin)
