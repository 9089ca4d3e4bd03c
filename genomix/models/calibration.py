"""Calibration curves: what was predicted against what was observed, binned and smooth, with bands."""

from __future__ import annotations

import numpy as np
import polars as pl

from genomix.models.bootstrap import Statistic, bootstrap, once, percentile_interval
from genomix.models.curves import curves_frame, merge_small_steps, units_by_step
from genomix.models.evaluate import Rows
from genomix.models.logistic import logit
from genomix.models.metrics import pick, smooth_calibration, varies
from genomix.models.model import Float64Array, Objective
from genomix.privacy import SMALL_CELL

N_BINS = 10
_GRID_POINTS = 41


def calibration_curve(
    rows: Rows, *, target: str, model: str, objective: Objective, seed: int, n_resamples: int = 2000,
    small_cell: int = SMALL_CELL,
) -> pl.DataFrame:  # fmt: skip
    """Return CURVES named ``calibration`` (tenths of the predictions) and, if binary, ``calibration_smooth``.

    x is the predicted and y the observed mean; bands are 95 % percentile intervals over units, pointwise. A bin holds
    at least ``small_cell`` people, of a binary outcome as many with and as many without it. The smooth curve runs
    between the means of the outer bins only, so that it shows no single extreme person; there is none where the
    predictions separate the outcome perfectly.
    """
    least = max(small_cell, -(-rows.n_people // N_BINS))
    classes = rows.y if objective == "binary" else None
    step = merge_small_steps(rows.p, rows.person, least=least, classes=classes, least_each=small_cell)
    by_bin = _by_bin(rows, step)
    statistics: list[Statistic] = [by_bin]
    x = np.bincount(step, weights=rows.weight * rows.p) / np.bincount(step, weights=rows.weight)
    grid = np.linspace(x[0], x[-1], _GRID_POINTS)
    smooth = objective == "binary" and varies(logit(rows.p)) and 0 < rows.n_events < rows.y.size and x.size > 1
    if smooth:
        statistics.append(lambda drawn: smooth_calibration(rows.y, rows.p, _spread(rows, drawn), at=grid))
    drawn = bootstrap(statistics, n_units=rows.n_drawn, n_rows=rows.y.size, n_resamples=n_resamples, seed=seed)
    n = units_by_step(step, rows.person)
    frames = [curves_frame(target, model, "calibration", {"x": x, **_band(by_bin, drawn[0], rows.n_drawn), "n": n})]
    if smooth:
        columns: dict[str, object] = {
            "x": grid,
            **_band(statistics[1], drawn[1], rows.n_drawn),
            "n": [rows.n_people] * grid.size,
        }
        # Predictions that separate the outcome leave the regression without a solution; the bins say it then.
        if np.isfinite(np.asarray(columns["y"], dtype=np.float64)).all():
            frames.append(curves_frame(target, model, "calibration_smooth", columns))
    return pl.concat(frames)


def scatter_cells(
    rows: Rows, *, target: str, model: str, n_cells: int = 12, small_cell: int = SMALL_CELL
) -> pl.DataFrame:
    """Return CURVES named ``scatter``: means of predicted (x) and observed (y) in cells of a grid, for a quantity.

    The grid has ``n_cells`` quantile bins each way; a cell with fewer than ``small_cell`` people is left out.
    """
    across, up = (_quantile_bin(v, n_cells) for v in (rows.p, rows.y))
    step = np.unique(across * n_cells + up, return_inverse=True)[1].reshape(-1)
    n = units_by_step(step, rows.person)
    size = np.bincount(step)
    x, y = (np.bincount(step, weights=v) / size for v in (rows.p, rows.y))
    kept = n >= small_cell
    return curves_frame(target, model, "scatter", {"x": x[kept], "y": y[kept], "n": n[kept]})


def _quantile_bin(values: Float64Array, n_bins: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    edges = np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _spread(rows: Rows, drawn: Float64Array) -> Float64Array:
    return pick(drawn, rows.code) * rows.weight


def _by_bin(rows: Rows, step: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Statistic:
    """Return the observed mean of each bin as a function of draws; bins stay where they are."""
    inside = np.zeros((rows.y.size, int(step.max()) + 1))
    inside[np.arange(rows.y.size), step] = 1.0
    observed = inside * rows.y[:, None]

    def statistic(drawn: Float64Array) -> Float64Array:
        weights = _spread(rows, drawn)
        total = weights @ inside
        return np.where(total > 0, (weights @ observed) / np.where(total > 0, total, 1.0), np.nan)

    return statistic


def _band(statistic: Statistic, drawn: Float64Array, n_units: int) -> dict[str, object]:
    intervals = [percentile_interval(drawn[:, j]) for j in range(drawn.shape[1])]
    return {"y": once(statistic, n_units), "low": [i.low for i in intervals], "high": [i.high for i in intervals]}
