"""Interactions against their definition by coalitions, on small trees with missing values."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError
from genomix.explain.interactions import interaction_matrices, interactions
from genomix.models.model import Part, model_named
from tests.contracts.model import block_of
from tests.unit.explain.test_tree_shap_exact import expectation


@pytest.fixture(scope="module")
def fitted() -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(500, 4)).astype(np.float32)
    X[rng.random(X.shape) < 0.15] = np.nan
    y = (np.nan_to_num(X[:, 0]) * np.nan_to_num(X[:, 1]) + np.nan_to_num(X[:, 2]) > 0.2).astype(float)
    options = {"rounds": 6, "max_depth": 3}
    model = model_named("boosted").fit(Part(X, y), tuning=None, objective="binary", seed=1, device=CPU, options=options)
    return model, X[:12]


def test_pairs_equal_the_definition(fitted: tuple[Any, np.ndarray]) -> None:
    """Fujimoto et al. 2006 (doi:10.1016/j.geb.2005.03.002), with TreeSHAP's conditional expectation as the game."""
    model, X = fitted
    found, _ = interaction_matrices(model, X)
    p = X.shape[1]
    trees = [json.loads(t) for t in model.booster.get_dump(dump_format="json", with_stats=True)]
    for row in range(4):
        value = {
            s: sum(expectation(t, X[row], frozenset(s)) for t in trees)
            for k in range(p + 1)
            for s in itertools.combinations(range(p), k)
        }
        for i, j in itertools.combinations(range(p), 2):
            total = 0.0
            others = [k for k in range(p) if k not in (i, j)]
            for size in range(len(others) + 1):
                for s in itertools.combinations(others, size):
                    weight = math.factorial(size) * math.factorial(p - size - 2) / (2 * math.factorial(p - 1))
                    with_i, with_j = (tuple(sorted((*s, k))) for k in (i, j))
                    both = tuple(sorted((*s, i, j)))
                    total += weight * (value[both] - value[with_i] - value[with_j] + value[s])
            assert found[row, i, j] == pytest.approx(total, abs=1e-5)
            assert found[row, j, i] == pytest.approx(found[row, i, j], abs=1e-6)


def test_rows_sum_to_contributions_and_the_table_holds_each_pair_once(fitted: tuple[Any, np.ndarray]) -> None:
    model, X = fitted
    found, base = interaction_matrices(model, X)
    contributions = model.contributions(X)
    np.testing.assert_allclose(found.sum(axis=2), contributions.values, atol=1e-5)
    table = interactions(model, block_of(X), np.array([3, 7]))
    assert set(table["row"]) == {3, 7}
    for row in (3, 7):
        part = table.filter(row=row)
        assert part["interaction"].sum() + base == pytest.approx(model.margin(X)[row], abs=1e-5)
        assert part["interaction"].abs().is_sorted(descending=True)
        assert part.select("feature", "other").is_unique().all()


def test_what_has_no_interactions_or_too_many_is_refused(fitted: tuple[Any, np.ndarray]) -> None:
    model, X = fitted
    linear = model_named("linear").fit(
        Part(np.nan_to_num(X), (np.arange(12) % 2).astype(float)), tuning=None, objective="binary", seed=1, device=CPU,
        options={"penalty": 0.1},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="a sum over columns"):
        interaction_matrices(linear, X)
    with pytest.raises(ConfigError, match="too many to hold"):
        interaction_matrices(model, np.zeros((10, 5000), dtype=np.float32))
