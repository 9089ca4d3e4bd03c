"""The smallest change that a model responds to, against every value of a fine grid."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError
from genomix.explain import response
from genomix.explain.response import (
    Modifiable,
    candidates,
    in_words,
    modifiable_columns,
    responses,
    thresholds_of,
    training_ranges,
)
from genomix.features.matrix import FeatureBlock
from genomix.models.boosted import FittedBoosted
from genomix.models.model import Part, model_named
from tests.unit.explain.test_tree_shap_exact import dictionary

NAMES = ["table:a", "table:b", "table:c", "table:d"]


@pytest.fixture(scope="module")
def world() -> tuple[FittedBoosted, FeatureBlock]:
    rng = np.random.default_rng(3)
    X = rng.integers(0, 40, size=(600, 4)).astype(np.float32) / 4
    X[rng.random(X.shape) < 0.1] = np.nan
    margin = 0.5 * np.nan_to_num(X[:, 0], nan=5) + 0.5 * np.nan_to_num(X[:, 1], nan=5) - 5 + np.isnan(X[:, 2])
    y = (rng.random(600) < 1 / (1 + np.exp(-margin))).astype(float)
    fitted = model_named("boosted").fit(
        Part(X, y),
        tuning=None,
        objective="binary",
        seed=0,
        device=CPU,
        options={"rounds": 25, "max_depth": 3, "eta": 0.3},
    )
    return fitted, FeatureBlock(X, dictionary(NAMES))


def nearest_on_a_grid(
    fitted: FittedBoosted, x: np.ndarray, changed: list[tuple[int, float, float]], under: float, step: float
) -> float | None:
    """Try every value of a grid in each column, and return the smallest change that reaches the threshold."""
    grids = np.meshgrid(*(np.arange(low, high + step / 2, step) for _, low, high in changed), indexing="ij")
    trial = np.tile(x, (grids[0].size, 1))
    change = np.zeros(grids[0].size)
    for (j, low, high), grid in zip(changed, grids, strict=True):
        trial[:, j] = grid.reshape(-1)
        change += np.abs(grid.reshape(-1) - x[j]) / (high - low)
    good = fitted.predict(trial) < under
    return float(change[good].min()) if good.any() else None


def test_one_column_is_exact(world) -> None:
    fitted, block = world
    a = Modifiable("table:a", 1.0, 8.0)
    rows = np.arange(80)
    for under in (0.35, 0.5):
        found = responses(fitted, block, rows, [a], under)
        assert found["row"].to_list() == rows.tolist()
        n_reached = 0
        for line in found.iter_rows(named=True):
            x = block.values[line["row"]]
            assert line["prediction"] == pytest.approx(float(fitted.predict(x[None])[0]))
            if line["prediction"] < under:
                assert "as it is" in line["note"]
                continue
            grid = None if np.isnan(x[0]) else nearest_on_a_grid(fitted, x, [(0, 1.0, 8.0)], under, 0.005)
            if grid is None:
                assert line["feature"] is None
                assert ("without a value, so not tried: table:a" in line["note"]) == bool(np.isnan(x[0]))
                continue
            n_reached += 1
            assert line["change"] <= grid + 1e-6
            assert line["change"] >= grid - 0.005 / 7 - 1e-6  # nothing nearer than one step of the grid
            assert 1.0 <= line["changed_to"] <= 8.0
            then = x.copy()
            then[0] = line["changed_to"]
            assert float(fitted.predict(then[None])[0]) == line["prediction_then"] < under
        assert n_reached > 10


def test_pairs_where_no_single_column_does(world) -> None:
    fitted, block = world
    changed = [Modifiable("table:a", 2.0, 7.0), Modifiable("table:b", 2.0, 7.0)]
    found = responses(fitted, block, np.arange(150), changed, 0.2)
    pairs = found.filter(pl.col("feature").is_not_null() & (pl.col("feature").len().over("row") == 2))
    assert pairs["row"].n_unique() > 5
    for row in pairs["row"].unique().to_list()[:12]:
        x = block.values[row]
        for j in (0, 1):
            assert nearest_on_a_grid(fitted, x, [(j, 2.0, 7.0)], 0.2, 0.01) is None
        grid = nearest_on_a_grid(fitted, x, [(0, 2.0, 7.0), (1, 2.0, 7.0)], 0.2, 0.05)
        mine = pairs.filter(pl.col("row") == row)["change"][0]
        assert grid is not None
        assert grid - 2 * 0.05 / 5 - 1e-6 <= mine <= grid + 1e-6


def test_candidates_are_the_nearest_values_of_the_gaps() -> None:
    edges = np.array([1.0, 2.0, 4.0], dtype=np.float32)
    below = float(np.nextafter(np.float32(2), np.float32(-1)))
    assert candidates(3.0, edges, 0.0, 10.0).tolist() == [float(np.nextafter(np.float32(1), np.float32(0))), below, 4.0]
    assert candidates(3.0, edges, 1.5, 3.5).tolist() == [below]
    assert candidates(12.0, edges, 0.0, 3.0).tolist()[-1] == 3.0  # outside its range: it may come in
    assert candidates(3.0, np.zeros(0, np.float32), 0.0, 10.0).size == 0
    assert candidates(4.0, edges, 0.0, 10.0).tolist()[-1] == float(np.nextafter(np.float32(4), np.float32(0)))
    # 0.1 is no float32: the bound may not be passed by rounding.
    assert float(candidates(-1.0, np.array([0.0], np.float32), 0.1, 1.0)[0]) >= 0.1


def test_words_say_below_a_threshold_and_that_it_is_the_model(world) -> None:
    fitted, block = world
    found = responses(fitted, block, np.arange(80), [Modifiable("table:a", 0.0, 9.0)], 0.5)
    lines = in_words(found, block.columns, fitted)
    assert len(lines) == 80
    told = next(line for line in lines if "below" in line)
    row = int(told.split()[1].rstrip(":"))
    edge = float(told.split("below ")[1].split()[0])
    assert np.float32(edge) in thresholds_of(fitted)[0]
    assert found.filter(pl.col("row") == row)["changed_to"][0] < edge
    assert "not a cause, and no advice" in response.WORDS


def test_ranges_and_what_is_refused(world, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, block = world
    ranges = training_ranges(block, np.arange(500))
    a = block.values[:500, 0]
    assert ranges["table:a"] == pytest.approx(tuple(np.nanpercentile(a.astype(float), [5, 95])))
    assert training_ranges(block, np.arange(15)) == {}
    assert modifiable_columns(["a", "table:b=1:2"], block.columns, ranges)[1] == Modifiable("table:b", 1, 2)
    columns = block.columns.with_columns(
        pl.Series("family", ["table", "table_categories", "demographics", "table"])
    )  # fmt: skip
    for asked, words in (
        (["z"], "no column 'z'"), (["a=1"], "gives no bounds"), (["a=2:1"], "not below the upper"),
        (["a=nan:1"], "not below"), (["table:b"], "a category"), (["table:c"], "not modifiable"), ([], "1 to 6"),
        (["a", "table:a"], "1 to 6"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            modifiable_columns(asked, columns, ranges)
    with pytest.raises(ConfigError, match="no training range"):
        modifiable_columns(["a"], columns, {})
    with pytest.raises(ConfigError, match="no probability"):
        responses(fitted, block, np.arange(1), [Modifiable("table:a", 0, 1)], 1.5)
    X, y = np.nan_to_num(block.values), (np.arange(600) % 2).astype(float)
    linear = model_named("linear").fit(Part(X, y), tuning=Part(X, y), objective="binary", seed=0, device=CPU)
    with pytest.raises(ConfigError, match="has no trees"):
        responses(linear, block, np.arange(1), [Modifiable("table:a", 0, 1)], 0.5)
    monkeypatch.setattr(response, "MOST_PAIRS", 3)
    changed = [Modifiable("table:a", 0.0, 9.0), Modifiable("table:b", 0.0, 9.0)]
    with pytest.raises(ConfigError, match="values to try"):
        responses(fitted, block, np.arange(300), changed, 0.01)
