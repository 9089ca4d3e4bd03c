"""Exact Shapley values of fitted models on held-out rows, checked for additivity, as matrices and as a long table.

Boosted trees: path-dependent TreeSHAP (doi:10.1038/s42256-019-0138-9), computed by XGBoost in float32. Linear models:
the closed form. Both are on the margin scale (log-odds for a binary outcome). A Shapley value says how the *model* used
a column for a row; it is no statement about causes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import IntegrityError
from genomix.features.matrix import FeatureBlock
from genomix.models.model import Fitted, Float32Array, Float64Array
from genomix.schemas.features import ATTRIBUTIONS, COLUMNS

TOLERANCE = 1e-4
"""Largest difference between the sum of contributions and the margin, as a share of the largest margin (at least 1)."""


@dataclass(frozen=True)
class Explained:
    """Contributions of every column for the explained rows of one fold.

    Parameters
    ----------
    values: contributions, float32 (rows, columns), margin scale.
    base_value: the model's expected margin; base + sum of a row's values = its margin.
    features: the columns' values, float32 (rows, columns), NaN where missing.
    columns: COLUMNS, in the order of the values.
    row: (rows,) row of the index; fold: the model's fold.
    """

    values: Float32Array
    base_value: float
    features: Float32Array
    columns: pl.DataFrame
    row: npt.NDArray[np.int64]
    fold: int


def explain_rows(fitted: Fitted, block: FeatureBlock, rows: npt.NDArray[np.int64], *, fold: int = 0) -> Explained:
    """Return the exact contributions of every column for ``rows`` of ``block``.

    Parameters
    ----------
    block: the columns that the model saw, in its order (all rows of the index).
    rows: 0-based rows to explain, e.g. the fold's held-out ones.

    Raises
    ------
    IntegrityError: contributions do not add up to the margin.
    """
    X = np.ascontiguousarray(block.values[rows])
    found = fitted.contributions(X)
    check_additivity(found.values, found.base_value, fitted.margin(X))
    return Explained(found.values, found.base_value, X, COLUMNS.validate(block.columns), rows.astype(np.int64), fold)


def check_additivity(values: Float32Array, base_value: float, margin: Float64Array) -> float:
    """Return the largest relative gap between base + sum of values and the margin; an IntegrityError over 1e-4.

    Additivity alone does not show that the split among columns is right; the tests compare that with its definition.
    """
    if not margin.size:
        return 0.0
    total = values.astype(np.float64).sum(axis=1) + base_value
    scale = np.maximum(1.0, np.maximum(np.abs(margin), np.abs(values).max(axis=1, initial=0.0)))
    gap = float((np.abs(total - margin) / scale).max())
    if not gap <= TOLERANCE:
        raise IntegrityError(f"contributions miss the model's margin by {gap:.2g} of its scale")
    return gap


def attributions(explained: Explained, *, all_values: bool = True) -> pl.DataFrame:
    """Return ATTRIBUTIONS: one line per row and column, rows in their order, columns in the model's order.

    Parameters
    ----------
    all_values: False leaves out contributions of 0, without making their lines: for models of very many columns.
    """
    n, p = explained.values.shape
    at: npt.NDArray[Any]
    column: npt.NDArray[Any]
    if all_values:
        at, column = np.repeat(np.arange(n), p), np.tile(np.arange(p, dtype=np.uint32), n)
        value, shap = explained.features.reshape(-1), explained.values.reshape(-1)
    else:
        at, column = np.nonzero(explained.values)
        value, shap = explained.features[at, column], explained.values[at, column]
    frame = pl.DataFrame(
        {
            "row": explained.row[at],
            "fold": np.full(at.size, explained.fold, dtype=np.int64),
            "feature": explained.columns["name"].gather(column),
            "value": pl.Series("value", value, dtype=pl.Float32).fill_nan(None),
            "shap": pl.Series(shap, dtype=pl.Float32),
            "base_value": pl.Series(np.full(at.size, explained.base_value, dtype=np.float32)),
        }
    )
    return ATTRIBUTIONS.validate(frame)
