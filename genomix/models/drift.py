"""How new data differ from those that a model was trained on: shares by bin, missing values, predictions.

The population stability index (Siddiqi 2006, ISBN 978-0-471-75451-0; its sampling behaviour: Yurdakul and Naranjo 2020,
doi:10.21314/JRMV.2020.227) is sum over bins of (new - old) ln(new / old). The customary bounds, 0.1 and 0.25, are rules
of thumb: without any shift it is about chi-square of bins - 1 degrees of freedom times 1/n_old + 1/n_new, whose 99.9 %
point is told beside it. A shift says that people differ, not that the model fails; and a model may fail without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from genomix.models.model import Float32Array, Float64Array
from genomix.privacy import SMALL_CELL
from genomix.schemas.results import DRIFT

N_BINS = 10
BOUNDS = (0.1, 0.25)
PREDICTION = "prediction"
"""Name of the row that compares predictions; the others have the columns' names."""

_LEAST = 1e-4
"""A bin without anyone counts as this share, so that the index stays finite."""


def reference_bins(values: Float32Array, names: Sequence[str], predicted: Float64Array | None = None) -> dict[str, Any]:
    """Return what a bundle keeps of its training rows: counts in quantile bins, and of missing values, by column.

    Edges are quantiles of rows, and each bin holds at least 11 of them (fewer bins where that is not so). Where 1 to 10
    rows are missing, only the known ones are counted; where 1 to 10 are known, nothing is kept.

    Parameters
    ----------
    values: float32 (rows, columns) of training rows, NaN where missing. predicted: of rows that were held out, since a
        model is too sure of those that it learned from.
    """
    columns = {name: _binned(values[:, j].astype(np.float64)) for j, name in enumerate(names)}
    if predicted is not None:
        columns[PREDICTION] = _binned(predicted)
    return {"columns": columns}


def _binned(values: Float64Array) -> dict[str, Any]:
    present = np.sort(values[~np.isnan(values)])
    n_missing = int(values.size - present.size)
    if 0 < present.size < SMALL_CELL:
        return {"edges": [], "counts": None, "missing": None, "rows": int(values.size)}
    levels = np.unique(present)
    places = np.ceil(np.arange(1, N_BINS) / N_BINS * present.size).astype(np.int64)
    ends = levels[1:] if levels.size <= N_BINS else present[np.minimum(places, present.size - 1)]
    edges: list[float] = []
    below = 0
    for edge in ends.tolist():
        at = int(np.searchsorted(present, edge, side="left"))
        if at - below >= SMALL_CELL and present.size - at >= SMALL_CELL:
            edges.append(float(edge))
            below = at
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1).tolist()
    if 0 < n_missing < SMALL_CELL:
        return {"edges": edges, "counts": counts, "missing": None, "rows": int(present.size)}
    return {"edges": edges, "counts": counts, "missing": n_missing, "rows": int(values.size)}


class Counter:
    """Counts new rows, some at a time, in the bins that a bundle keeps."""

    def __init__(self, reference: Mapping[str, Any]) -> None:
        self._reference = reference
        self._counts = {n: np.zeros(len(c["edges"]) + 1, dtype=np.int64) for n, c in reference["columns"].items()}
        self._missing = dict.fromkeys(reference["columns"], 0)
        self.n_rows = 0

    def add(self, values: Float32Array, names: Sequence[str], predicted: Float64Array) -> None:
        """Count rows: float32 (rows, columns) with the columns' names, and their predictions."""
        self.n_rows += len(predicted)
        given = {name: values[:, j].astype(np.float64) for j, name in enumerate(names)} | {PREDICTION: predicted}
        for name, kept in self._reference["columns"].items():
            if name not in given:
                self._missing[name] += len(predicted)
                continue
            present = given[name][~np.isnan(given[name])]
            place = np.searchsorted(kept["edges"], present, side="right")
            self._counts[name] += np.bincount(place, minlength=len(kept["edges"]) + 1)
            self._missing[name] += len(predicted) - len(present)

    def table(self) -> pl.DataFrame:
        """Return DRIFT, the largest shift first; columns of which too few rows are known have no figures."""
        rows = [self._row(name, kept, int(kept["rows"])) for name, kept in self._reference["columns"].items()]
        frame = DRIFT.validate(pl.DataFrame(rows, schema={c.name: c.dtype for c in DRIFT.columns}, orient="row"))
        first = pl.col("column") != PREDICTION
        return frame.sort(first, "psi", "column", descending=[False, True, False], nulls_last=True)

    def _row(self, name: str, kept: Mapping[str, Any], n_old: int) -> dict[str, Any]:
        n_new, missing = int(self._counts[name].sum()), self._missing[name]
        before = None if kept["missing"] is None or not n_old else kept["missing"] / n_old
        now = None if not self.n_rows or 0 < missing < SMALL_CELL else missing / self.n_rows
        row = {"column": name, "psi": None, "psi_by_chance": None, "missing_before": before, "missing_now": now}
        n_known = 0 if kept["counts"] is None else sum(kept["counts"])
        if not n_known or n_new < SMALL_CELL:
            return {**row, "shift": "not known"}
        index = stability_index(np.asarray(kept["counts"]) / n_known, self._counts[name] / n_new)
        chance = _by_chance(len(kept["counts"]), n_known, n_new)
        return {**row, "psi": index, "psi_by_chance": chance, "shift": _word(index, chance)}


def stability_index(old: Float64Array, new: Float64Array) -> float:
    """Return the population stability index of two sets of shares that each sum to 1, (bins,).

    >>> round(stability_index(np.array([0.5, 0.5]), np.array([0.8, 0.2])), 4)
    0.4159
    """
    a, b = np.maximum(old, _LEAST), np.maximum(new, _LEAST)
    return float(((b - a) * np.log(b / a)).sum())


def _by_chance(n_bins: int, n_old: int, n_new: int) -> float:
    """Return what 99.9 % of samples without any shift stay below."""
    from scipy.stats import chi2

    return float(chi2.ppf(0.999, n_bins - 1)) * (1 / n_old + 1 / n_new) if n_bins > 1 else 0.0


def _word(index: float, chance: float) -> str:
    low, high = BOUNDS
    if index <= max(low, chance):
        return "none to speak of"
    return "some" if index <= high else "large"
