"""What explaining costs beside XGBoost's bare contributions: ``python benchmarks/explain.py [--rows N ...]``.

Both sides explain the same rows by the same trees in one process, in turn; the cheapest of the repeats counts. Our side
adds the check of additivity, the sums of groups, the long table and its Parquet file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.device import CPU
from genomix.explain.groups import GroupTotals, group_labels, grouped
from genomix.explain.interactions import explain_interactions, used_columns
from genomix.explain.tree_shap import attributions, explain_rows
from genomix.features.matrix import FeatureBlock
from genomix.models.boosted import import_xgboost
from genomix.models.model import Part, model_named
from genomix.schemas.features import COLUMNS


def main() -> None:
    """Print one line per side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--columns", type=int, default=300)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    fitted, block = world(given.rows, given.columns, given.trees, given.depth)
    xgboost = import_xgboost()
    with tempfile.TemporaryDirectory() as scratch:

        def bare() -> Any:
            return fitted.booster.predict(xgboost.DMatrix(block.values, nthread=1), pred_contribs=True)

        def ours() -> None:
            explained(fitted, block, Path(scratch) / "a.parquet")

        costs = in_turn({"bare pred_contribs": bare, "genomix explain": ours}, given.repeats)
    print(f"{given.rows:,} rows, {given.columns} columns, {given.trees} trees of depth {given.depth}")
    for name, (cpu, wall) in costs.items():
        print(f"{name}\t{cpu:.2f} CPU s\t{wall:.2f} s")
    (bare_cpu, bare_wall), (cpu, wall) = costs.values()
    print(f"overhead\t{cpu / bare_cpu - 1:+.1%} CPU\t{wall / bare_wall - 1:+.1%} time")
    pairs(xgboost)


def world(n: int, p: int, trees: int, depth: int) -> tuple[Any, FeatureBlock]:
    """Draw rows with missing values and grow trees on them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)).astype(np.float32)
    margin = X[:, :20] @ rng.normal(size=20) / 4 + X[:, 0] * X[:, 1]
    X[rng.random(X.shape) < 0.1] = np.nan
    y = (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)
    fitted = model_named("boosted").fit(
        Part(X, y), tuning=None, objective="binary", seed=0, device=CPU, threads=2,
        options={"rounds": trees, "max_depth": depth},
    )  # fmt: skip
    filled = {"rung": "records", "source": "records", "sentence": "what it is"}
    data = {c.name: [filled.get(c.name)] * p for c in COLUMNS.columns}
    data |= {"name": [f"c{i}" for i in range(p)], "group": [f"g{i // 5}" for i in range(p)], "family": ["x"] * p}
    return fitted, FeatureBlock(X, pl.DataFrame(data, schema={c.name: c.dtype for c in COLUMNS.columns}))


def explained(fitted: Any, block: FeatureBlock, path: Path) -> None:
    """Do what ``genomix model explain --group-by group`` does after the rows are read."""
    found = explain_rows(fitted, block, np.arange(len(block.values)))
    totals = GroupTotals("group")
    totals.add(grouped(found, group_labels(found.columns, "group")))
    totals.table()
    attributions(found, all_values=False).write_parquet(path, compression="zstd")


def in_turn(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, float]]:
    """Run every side in turn and return the cheapest CPU and elapsed seconds of each."""
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            cpu, begun = time.process_time(), time.monotonic()
            run()
            costs[name].append((time.process_time() - cpu, time.monotonic() - begun))
    return {name: min(c) for name, c in costs.items()}


def pairs(xgboost: Any) -> None:
    """Interactions of two rows of a wide model of which the trees use a part, against XGBoost over all columns."""
    fitted, block = world(1500, 600, 60, 3)
    rows = np.arange(2)

    def whole() -> Any:
        return fitted.booster.predict(xgboost.DMatrix(block.values[rows]), pred_interactions=True)

    def ours() -> Any:
        return explain_interactions(fitted, block, rows)

    costs = in_turn({"bare pred_interactions": whole, "genomix interactions": ours}, 2)
    print(f"2 rows, 600 columns of which trees use {used_columns(fitted).size}")
    for name, (cpu, wall) in costs.items():
        print(f"{name}\t{cpu:.2f} CPU s\t{wall:.2f} s")


if __name__ == "__main__":
    main()
