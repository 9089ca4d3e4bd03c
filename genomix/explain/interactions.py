"""Exact Shapley interaction values of boosted trees, for chosen rows (doi:10.1038/s42256-019-0138-9).

A column's contribution to a row is what it does alone plus half of what it does with each other column; pairs are given
once, with both halves. They say how the model combined two columns, not that one changes the effect of the other in
people.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError, IntegrityError
from genomix.explain.tree_shap import TOLERANCE, check_additivity
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.models.boosted import FittedBoosted, import_xgboost
from genomix.models.model import Fitted, Float32Array
from genomix.schemas.features import INTERACTIONS

MOST_VALUES = 200_000_000
"""Rows times columns squared (800 MB as float32); more is refused."""


def interaction_matrices(fitted: Fitted, X: Float32Array) -> tuple[Float32Array, float]:
    """Return float32 (rows, columns, columns), symmetric, main effects on the diagonal; and the base value.

    Every row of a matrix sums to the column's contribution, and the whole plus the base value to the margin; both are
    checked.

    Raises
    ------
    ConfigError: the model is not boosted trees, or there are too many rows and columns.
    IntegrityError: the values do not add up.
    """
    if not isinstance(fitted, FittedBoosted):
        raise ConfigError(f"model {fitted.model!r} is a sum over columns: it has no interactions")
    n, p = X.shape
    if n * (p + 1) ** 2 > MOST_VALUES:
        raise ConfigError(
            f"{n:,} rows of {p:,} columns have {n * p * p:,} pairs, too many to hold",
            hint=f"at most {max(1, MOST_VALUES // (p + 1) ** 2):,} rows",
        )
    data = import_xgboost().DMatrix(X, nthread=1)
    raw = np.asarray(fitted.booster.predict(data, pred_interactions=True), dtype=np.float32).reshape(n, p + 1, p + 1)
    values, base = np.ascontiguousarray(raw[:, :p, :p]), float(raw[0, p, p]) if n else 0.0
    found = fitted.contributions(X)
    sums = values.astype(np.float64).sum(axis=2)
    scale = np.maximum(1.0, np.abs(found.values).max(axis=1, initial=0.0))[:, None]
    gap = float((np.abs(sums - found.values) / scale).max(initial=0.0))
    if not gap <= TOLERANCE:
        raise IntegrityError(f"interactions miss the contributions by {gap:.2g} of their scale")
    check_additivity(sums.astype(np.float32), base, fitted.margin(X))
    return values, base


def interactions(fitted: Fitted, block: FeatureBlock, rows: RowArray) -> pl.DataFrame:
    """Return INTERACTIONS of chosen rows: pairs that are not 0 and main effects, the largest of a row first.

    Parameters
    ----------
    block: the columns that the model saw, in its order. rows: 0-based rows of ``block``.

    Raises
    ------
    ConfigError, IntegrityError: see :func:`interaction_matrices`.
    """
    values, _ = interaction_matrices(fitted, np.ascontiguousarray(block.values[rows]))
    first, second = np.triu_indices(values.shape[1])
    weight = np.where(first == second, 1.0, 2.0).astype(np.float32)
    flat = values[:, first, second] * weight
    at, pair = np.nonzero(flat)
    names = np.array(block.columns["name"].to_list(), dtype=object)
    frame: Any = pl.DataFrame(
        {
            "row": rows[at], "feature": names[first[pair]].tolist(), "other": names[second[pair]].tolist(),
            "interaction": flat[at, pair],
        },
        schema={c.name: c.dtype for c in INTERACTIONS.columns},
    )  # fmt: skip
    size = pl.col("interaction").abs()
    return INTERACTIONS.validate(frame.sort("row", size, "feature", "other", descending=[False, True, False, False]))
