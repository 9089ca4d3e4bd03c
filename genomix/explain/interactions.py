"""Shapley interaction values of chosen rows: how much of each contribution two columns make together.

For trees XGBoost's exact ``pred_interactions`` (doi:10.1038/s42256-019-0138-9, after doi:10.1007/s001820050125): the
matrix of a row is symmetric, half of a pair's effect stands on either side of the diagonal, the diagonal holds main
effects, and a column's line adds up to its contribution, which is checked. A linear model has main effects only.

The cost of one row is twice that of its contributions times the number of columns. Columns that no tree uses have
neither, so they are left out of the computation, which changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, IntegrityError
from genomix.explain.tree_shap import TOLERANCE, check_additivity
from genomix.features.matrix import FeatureBlock
from genomix.models.boosted import FittedBoosted, import_xgboost
from genomix.models.model import Fitted, Float32Array
from genomix.schemas.explain import INTERACTIONS
from genomix.schemas.features import COLUMNS

MOST_COLUMNS = 400
"""Columns that the trees use; more are refused, because the cost grows with their number times that of a row."""
MOST_VALUES = 100_000_000
"""Values of the matrices of all rows together (400 MB)."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interactions:
    """Interaction values of some rows.

    Parameters
    ----------
    values: float32 (rows, used columns, used columns), margin scale.
    base_value: base + sum of a row's matrix = its margin.
    columns: COLUMNS of the columns that the model uses, in the order of the values; all others have none.
    row: (rows,) row of the data.
    """

    values: Float32Array
    base_value: float
    columns: pl.DataFrame
    row: IntArray


def explain_interactions(fitted: Fitted, block: FeatureBlock, rows: IntArray) -> Interactions:
    """Return the exact interaction values of ``rows`` of ``block``.

    Raises
    ------
    ConfigError: too many columns or rows. IntegrityError: a column's line does not add up to its contribution.
    """
    X = np.ascontiguousarray(block.values[rows])
    found = fitted.contributions(X)
    margin = fitted.margin(X)
    check_additivity(found.values, found.base_value, margin)
    if isinstance(fitted, FittedBoosted):
        used = used_columns(fitted)
        _refuse_too_many(used.size, len(rows))
        values = _of_trees(fitted, X, used)
    else:
        used = np.flatnonzero((found.values != 0).any(axis=0))
        _refuse_too_many(used.size, len(rows))
        values = np.zeros((len(rows), used.size, used.size), dtype=np.float32)
        values[:, np.arange(used.size), np.arange(used.size)] = found.values[:, used]
    check_interactions(values, found.values[:, used])
    unused = np.setdiff1d(np.arange(X.shape[1]), used)
    if np.abs(found.values[:, unused]).max(initial=0.0) > 0:
        raise IntegrityError("a column that no tree uses has a contribution")
    columns = COLUMNS.validate(block.columns[used])
    return Interactions(values, found.base_value, columns, np.asarray(rows, dtype=np.int64))


def check_interactions(values: Float32Array, contributions: Float32Array) -> float:
    """Return the largest gap between lines of the matrices and contributions, or between the two halves of a pair.

    As a share of the row's largest contribution (at least 1); an IntegrityError over 1e-4.
    """
    if not values.size:
        return 0.0
    exact = values.astype(np.float64)
    scale = np.maximum(1.0, np.abs(contributions).max(axis=1, initial=0.0))
    sums = np.abs(exact.sum(axis=2) - contributions).max(axis=1) / scale
    halves = np.abs(exact - exact.transpose(0, 2, 1)).max(axis=(1, 2)) / scale
    gap = float(np.maximum(sums, halves).max())
    if not gap <= TOLERANCE:
        raise IntegrityError(f"interaction values miss the contributions by {gap:.2g} of their scale")
    return gap


def interaction_table(found: Interactions) -> pl.DataFrame:
    """Return INTERACTIONS: main effects and pairs (both halves together) that are not 0, the largest first in a row."""
    n, p = found.values.shape[:2]
    one, other = np.triu_indices(p)
    doubled = np.where(one == other, 1.0, 2.0)
    names = found.columns["name"].to_numpy()
    frames = [INTERACTIONS.empty()]
    for i in range(n):
        both = (found.values[i] + found.values[i].T).astype(np.float64)[one, other] / 2 * doubled
        here = np.flatnonzero(both)
        order = here[np.argsort(-np.abs(both[here]), kind="stable")]
        frames.append(
            pl.DataFrame(
                {
                    "row": np.full(order.size, found.row[i], dtype=np.int64),
                    "feature": pl.Series(names[one[order]], dtype=pl.String),
                    "other": pl.Series(names[other[order]], dtype=pl.String),
                    "shap": both[order],
                    "base_value": np.full(order.size, float(found.base_value)),
                }
            )
        )
    return INTERACTIONS.validate(pl.concat(frames))


def model_json(fitted: FittedBoosted) -> dict[str, Any]:
    """Return XGBoost's own JSON of the trees; its numbers read back to the same float32."""
    found: dict[str, Any] = json.loads(bytes(fitted.booster.save_raw("json")))
    return found


def used_columns(fitted: FittedBoosted) -> IntArray:
    """Return the numbers of the columns that some tree splits on, ascending."""
    used: set[int] = set()
    for tree in model_json(fitted)["learner"]["gradient_booster"]["model"]["trees"]:
        splits = zip(tree["split_indices"], tree["left_children"], strict=True)
        used |= {j for j, left in splits if left >= 0}
    return np.array(sorted(used), dtype=np.int64)


def _of_trees(fitted: FittedBoosted, X: Float32Array, used: IntArray) -> Float32Array:
    """Run the same trees over the used columns alone."""
    if not used.size or not X.shape[0]:
        return np.zeros((X.shape[0], used.size, used.size), dtype=np.float32)
    xgboost = import_xgboost()
    model = model_json(fitted)
    place = {int(j): i for i, j in enumerate(used)}
    model["learner"]["learner_model_param"]["num_feature"] = str(used.size)
    model["learner"]["feature_names"], model["learner"]["feature_types"] = [], []
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        leaf = [left < 0 for left in tree["left_children"]]
        tree["split_indices"] = [0 if end else place[j] for j, end in zip(tree["split_indices"], leaf, strict=True)]
        tree["tree_param"]["num_feature"] = str(used.size)
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(model).encode()))
    data = xgboost.DMatrix(np.ascontiguousarray(X[:, used]), nthread=1)
    raw = np.asarray(booster.predict(data, pred_interactions=True), dtype=np.float32)
    return np.ascontiguousarray(raw[:, : used.size, : used.size])


def _refuse_too_many(n_columns: int, n_rows: int) -> None:
    if n_columns > MOST_COLUMNS:
        raise ConfigError(
            f"interactions of {n_columns:,} columns that the model uses are too many (at most {MOST_COLUMNS})",
            hint="a model of fewer columns: --exclude, --roll-up or --min-subjects when features are made",
        )
    if n_rows * n_columns * n_columns > MOST_VALUES:
        raise ConfigError(
            f"interactions of {n_rows:,} rows and {n_columns:,} columns are too many values at once",
            hint=f"at most {MOST_VALUES // max(n_columns * n_columns, 1):,} rows",
        )


def strongest_pairs(found: Interactions, most: int = 20) -> pl.DataFrame:
    """Return the pairs of columns with the largest mean |interaction| over the rows: feature, other, mean_abs_shap."""
    table = interaction_table(found).filter(pl.col("feature") != pl.col("other"))
    n = max(found.row.size, 1)
    return (
        table.group_by("feature", "other").agg((pl.col("shap").abs().sum() / n).alias("mean_abs_shap"))
        .sort("mean_abs_shap", "feature", "other", descending=[True, False, False]).head(most)
    )  # fmt: skip
