"""Steps of curves that no single person can be read from, and the ROC and precision-recall curves made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from genomix.models.evaluate import Rows
from genomix.models.metrics import IntArray
from genomix.models.model import Float64Array
from genomix.privacy import SMALL_CELL
from genomix.schemas.results import CURVES

_MOST_STEPS = 100

FEWEST_STEPS = 3
"""A curve of fewer steps would be drawn as a line that it is not."""


def merge_small_steps(
    values: Float64Array, units: IntArray, *, least: int, classes: Float64Array | None = None, least_each: int = 0
) -> IntArray:
    """Return the step of each row, 0 for the smallest values: equal values share one, and each holds ``least`` units.

    The last step takes in what would be left over. With fewer than ``least`` units in all there is one step. With
    ``classes`` (0 or 1 per row) a step also holds ``least_each`` units of either class, so that no count of events
    or of non-events at a step, or below it, is a small one.

    >>> merge_small_steps(np.array([1., 2., 2., 3., 4.]), np.array([0, 1, 2, 3, 4]), least=2).tolist()
    [0, 0, 0, 1, 1]
    """
    order = np.argsort(values, kind="stable")
    step = np.zeros(values.size, dtype=np.int64)
    current, last_start = 0, 0
    seen: list[set[int]] = [set(), set()]
    side = np.zeros(values.size, dtype=np.int64) if classes is None else (classes == 1).astype(np.int64)

    def enough() -> bool:
        each = classes is None or min(len(seen[0]), len(seen[1])) >= least_each
        return each and len(seen[0] | seen[1]) >= least

    for place, row in enumerate(order.tolist()):
        new_value = place > 0 and values[row] != values[order[place - 1]]
        if new_value and enough():
            current, seen, last_start = current + 1, [set(), set()], place
        seen[int(side[row])].add(int(units[row]))
        step[row] = current
    if current and not enough():
        step[order[last_start:]] = current - 1
    return step


def units_by_step(step: IntArray, units: IntArray) -> IntArray:
    """Return the number of different units in each step."""
    pairs = np.unique(np.column_stack([step, units]), axis=0)
    return np.bincount(pairs[:, 0]).astype(np.int64)


def curves_frame(target: str, model: str, curve: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Return CURVES rows of one curve; ``columns`` holds x, y, n and, where there is a band, low and high."""
    n_points = len(columns["x"])
    missing = [None] * n_points
    frame = pl.DataFrame(
        {
            "target": [target] * n_points, "model": [model] * n_points, "curve": [curve] * n_points,
            "x": columns["x"], "y": columns["y"], "low": columns.get("low", missing),
            "high": columns.get("high", missing), "n": columns["n"],
        }
    )  # fmt: skip
    cast = frame.cast({c.name: c.dtype for c in CURVES.columns}).with_columns(pl.col(pl.Float64).fill_nan(None))
    return CURVES.validate(cast)


def roc_curve(rows: Rows, *, target: str, model: str, small_cell: int = SMALL_CELL) -> pl.DataFrame:
    """Return the ROC curve as CURVES: x is 1 - specificity, y sensitivity, from (0, 0) to (1, 1).

    Each step covers at least ``small_cell`` people with and as many without the event; there is no curve of fewer than
    three steps. With several folds a prediction is replaced by its place among the
    non-events of its fold, because scales differ between folds; the area then weighs folds by events.
    """
    score = _place_among_non_events(rows) if np.unique(rows.fold).size > 1 else rows.p
    events, non_events, n = _cumulated_steps(score, rows, small_cell)
    if n.size < FEWEST_STEPS:
        return CURVES.empty()
    x = np.concatenate([[0.0], non_events / non_events[-1]])
    y = np.concatenate([[0.0], events / events[-1]])
    return curves_frame(target, model, "roc", {"x": x, "y": y, "n": np.concatenate([n[:1], n])})


def precision_recall_curve(rows: Rows, *, target: str, model: str, small_cell: int = SMALL_CELL) -> pl.DataFrame:
    """Return the precision-recall curve as CURVES: x is recall, y precision; steps as in :func:`roc_curve`.

    Predictions of all folds are pooled as probabilities.
    """
    events, non_events, n = _cumulated_steps(rows.p, rows, small_cell)
    if n.size < FEWEST_STEPS:
        return CURVES.empty()
    return curves_frame(
        target, model, "precision_recall", {"x": events / events[-1], "y": events / (events + non_events), "n": n}
    )


def _cumulated_steps(score: Float64Array, rows: Rows, small_cell: int) -> tuple[Float64Array, Float64Array, IntArray]:
    """Return weighted events and non-events at or above each step, highest first, and the units of each step."""
    least = max(small_cell, -(-rows.n_people // _MOST_STEPS))
    step = merge_small_steps(-score, rows.person, least=least, classes=rows.y, least_each=small_cell)
    events = np.cumsum(np.bincount(step, weights=rows.weight * rows.y), dtype=np.float64)
    non_events = np.cumsum(np.bincount(step, weights=rows.weight * (1 - rows.y)), dtype=np.float64)
    return events, non_events, units_by_step(step, rows.person)


def _place_among_non_events(rows: Rows) -> Float64Array:
    """Return the share of the fold's non-events below each prediction, ties counting half."""
    place = np.zeros(rows.p.size)
    for fold in np.unique(rows.fold):
        here = np.flatnonzero(rows.fold == fold)
        others = np.sort(rows.p[here][rows.y[here] == 0])
        lower = np.searchsorted(others, rows.p[here], side="left")
        place[here] = (lower + np.searchsorted(others, rows.p[here], side="right")) / (2 * max(others.size, 1))
    return place
