"""Points for a beeswarm from which no person can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.explain.importance import importance
from genomix.explain.tree_shap import Explained
from genomix.models.curves import merge_small_steps
from genomix.models.model import Float64Array
from genomix.privacy import SMALL_CELL
from genomix.schemas.features import ATTRIBUTIONS

IntArray = npt.NDArray[np.int64]


class _Points(NamedTuple):
    """One column over the rows of all folds that have it; all arrays are (rows,)."""

    row: IntArray
    fold: IntArray
    unit: IntArray
    value: Float64Array
    shap: Float64Array
    base_value: Float64Array


def beeswarm(
    explained: Sequence[Explained], *, seed: int, n_features: int = 15, n_rows: int = 400,
    units: IntArray | None = None, small_cell: int = SMALL_CELL,
) -> pl.DataFrame:  # fmt: skip
    """Return ATTRIBUTIONS of the most important columns with ``percentile``, the rank of the value in [0, 1].

    What single points would give away is taken out. Ranks, and with them the value, are means over steps of at least
    ``small_cell`` units; the outermost contributions are shared by as many. A column is left out when fewer units have
    a value, or a value other than the commonest. ``row`` is a number within the column in order of the contribution,
    and ``fold`` and ``base_value`` are those of no model (-1, 0), so that points of one person cannot be joined.

    Parameters
    ----------
    n_features: columns to keep; the most important column of each group, groups by importance.
    n_rows: at most so many rows are drawn, the same ones for all columns.
    units: (rows of the index,) person or kin group of each row; every row its own by default.
    """
    rows = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(e.row for e in explained)]))
    drawn = np.sort(np.random.default_rng(seed).permutation(rows)[:n_rows])
    frames: list[pl.DataFrame] = []
    for name in _best_column_of_each_group(explained):
        points = _points(explained, name, units)
        if len(frames) < n_features and _may_be_shown(points, small_cell):
            frames.append(_shown(name, points, drawn, small_cell))
    empty = ATTRIBUTIONS.empty().with_columns(percentile=pl.lit(None, pl.Float64))
    return pl.concat([empty, *frames])


def _best_column_of_each_group(explained: Sequence[Explained]) -> list[str]:
    table = importance(explained, target="")
    group_of: dict[str, str] = {}
    for part in explained:
        group_of.update(zip(part.columns["name"].to_list(), part.columns["group"].to_list(), strict=True))
    best: dict[str, str] = {}
    for name in table.filter(pl.col("level") == "feature")["name"].to_list():
        best.setdefault(group_of[name], name)
    return [best[group] for group in table.filter(pl.col("level") == "group")["name"].to_list()]


def _points(explained: Sequence[Explained], name: str, units: IntArray | None) -> _Points:
    parts = []
    for part in explained:
        names = part.columns["name"].to_list()
        if name in names:
            j, n = names.index(name), part.row.size
            unit = part.row if units is None else units[part.row]
            parts.append((
                part.row, np.full(n, part.fold), unit, part.features[:, j].astype(np.float64),
                part.values[:, j].astype(np.float64), np.full(n, part.base_value),
            ))  # fmt: skip
    return _Points(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _may_be_shown(points: _Points, small_cell: int) -> bool:
    present = np.isfinite(points.value)
    if np.unique(points.unit[present]).size < small_cell:
        return False
    values, counts = np.unique(points.value[present], return_counts=True)
    others = present & (points.value != values[counts.argmax()])
    # A column without missing or other values is shown (it is flat); a few carriers are not.
    rare = np.unique(points.unit[others]).size
    absent = np.unique(points.unit[~present]).size
    return not (0 < rare < small_cell) and not (0 < absent < small_cell and rare == 0)


def _shown(name: str, points: _Points, drawn: IntArray, small_cell: int) -> pl.DataFrame:
    percentile, value = _shared_rank(points, small_cell)
    shap = _held_in(points.shap, points.unit, small_cell)
    here = np.flatnonzero(np.isin(points.row, drawn))
    here = here[np.lexsort((np.nan_to_num(percentile[here], nan=-1.0), shap[here]))]
    n = here.size
    return pl.DataFrame(
        {
            "row": np.arange(n, dtype=np.int64),
            "fold": np.full(n, -1, dtype=np.int64),
            "feature": [name] * n,
            "value": pl.Series(value[here].astype(np.float32)).fill_nan(None),
            "shap": pl.Series(shap[here].astype(np.float32)),
            "base_value": pl.Series(np.zeros(n, dtype=np.float32)),
            "percentile": pl.Series(percentile[here]).fill_nan(None),
        }
    )


def _shared_rank(points: _Points, small_cell: int) -> tuple[Float64Array, Float64Array]:
    """Return the mid-rank in [0, 1] and the mean value of each row's step; NaN where the value is missing."""
    present = np.flatnonzero(np.isfinite(points.value))
    step = merge_small_steps(points.value[present], points.unit[present], least=small_cell)
    size = np.bincount(step)
    middle = (np.cumsum(size) - size / 2) / present.size
    mean = np.bincount(step, weights=points.value[present]) / size
    percentile, value = np.full((2, points.value.size), np.nan)
    percentile[present], value[present] = middle[step], mean[step]
    return percentile, value


def _held_in(shap: Float64Array, units: IntArray, small_cell: int) -> Float64Array:
    """Return contributions whose outermost steps are drawn in to the step's inner end, so that no one stands alone."""
    step = merge_small_steps(shap, units, least=small_cell)
    low, high = shap[step == 0].max(), shap[step == step.max()].min()
    return np.clip(shap, low, high) if low <= high else np.full(shap.size, float(np.median(shap)))
