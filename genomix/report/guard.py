"""What must be withheld although it is no small count itself, because a small one follows from it.

Tests solve the report's printed totals as integer equations; each function here closes a way by which they succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from genomix.privacy import SMALL_CELL, is_small, shown_from
from genomix.report.findings import hides_small_cell
from genomix.report.inputs import ReportInputs
from genomix.report.select import Counts, counts, is_binary

FEW_OUTCOMES = f"not estimable: fewer than {SMALL_CELL} with, or without, the outcome"
LEAST_LEFT = 3
"""Values that a small cell keeps for an attacker."""

_ESTIMATES = ("estimate", "low", "high")
_DELTAS = ("delta", "delta_low", "delta_high", "control_delta", "control_low", "control_high")


def without_estimates_of_few(inputs: ReportInputs) -> ReportInputs:
    """Return the inputs without any estimate of a group that has 1 to 10 people with, or without, the outcome.

    An estimate needs ten events: beside a count that is shown as ``<11`` it would say that there are exactly ten.
    """
    if not is_binary(inputs) or not inputs.metrics.height:
        return inputs
    events, others = pl.col("n_events"), pl.col("n_rows") - pl.col("n_events")
    few = ((events > 0) & (events < shown_from())) | ((others > 0) & (others < shown_from()))
    few = few.fill_null(False)
    groups = inputs.metrics.filter(few).select("target", "group").unique()
    metrics = inputs.metrics.with_columns(
        *(pl.when(few).then(None).otherwise(pl.col(c)).alias(c) for c in _ESTIMATES),
        pl.when(few).then(pl.lit(FEW_OUTCOMES)).otherwise(pl.col("note")).alias("note"),
    )
    keys = pl.struct("target", "group").is_in(groups.select(pl.struct("target", "group")).to_series().implode())
    ladder = inputs.ladder
    if groups.height and ladder.height:
        ladder = ladder.with_columns(
            *(pl.when(keys).then(None).otherwise(pl.col(c)).alias(c) for c in (*_ESTIMATES, *_DELTAS)),
            pl.when(keys).then(pl.lit(FEW_OUTCOMES)).otherwise(pl.col("note")).alias("note"),
        )
    return replace(inputs, metrics=metrics, ladder=ladder)


class Place(NamedTuple):
    """One place on the way from flagging nobody to flagging everyone; ``small``: least and most true alarms by rule."""

    flagged: int
    low: int
    high: int
    row: int | None  # of a threshold whose cells are hidden


def thresholds_that_hide_flagged(inputs: ReportInputs, model: str, target: str) -> set[float]:
    """Return the thresholds at which even the number of people flagged would give a small cell away.

    True and false alarms only grow from one threshold to the next lower one, and between the points of the ROC and the
    precision-recall curve, all of which are known. Bounds of a chain of differences are exact: a threshold is hidden
    until every small cell of the others keeps at least :data:`LEAST_LEFT` values.
    """
    held = counts(inputs, target)
    rows = inputs.thresholds.filter((pl.col("model") == model) & (pl.col("target") == target)).to_dicts()
    concealed = [r for r in rows if r["n_flagged"] and hides_small_cell(r, held)]
    if held.rows is None or held.events is None:
        return {r["threshold"] for r in concealed}
    open_rows = [r for r in rows if not hides_small_cell(r, held)]
    known = [
        *((true_alarms(r), r["n_flagged"] - true_alarms(r)) for r in open_rows), *_curve_points(inputs, model, held),
    ]  # fmt: skip
    fixed = [Place(tp + fp, tp, tp, None) for tp, fp in known] + [Place(0, 0, 0, None)]
    fixed.append(Place(held.rows, held.events, held.events, None))
    hidden: set[float] = {r["threshold"] for r in concealed if r["ppv"] is None}
    while True:
        shown = [r for r in concealed if r["threshold"] not in hidden]
        left = _values_left(fixed, shown, held)
        narrow = {r["threshold"]: n for r, n in zip(shown, left, strict=True) if n < LEAST_LEFT}
        if not narrow:
            return hidden
        hidden.add(min(narrow, key=lambda t: (narrow[t], t)))


def true_alarms(row: Mapping[str, Any]) -> int:
    """Return how many of the people flagged have the outcome."""
    return round(float(row["ppv"] or 0.0) * int(row["n_flagged"]))


def _curve_points(inputs: ReportInputs, model: str, held: Counts) -> list[tuple[int, int]]:
    """Return true and false alarms at the curves' points; with several folds the ROC curve pools other scales."""
    events, rows = held.events or 0, held.rows or 0
    part = inputs.curves.filter(pl.col("model") == model)
    found = []
    if len(inputs.split.get("folds") or []) <= 1:
        for x, y in part.filter(pl.col("curve") == "roc").select("x", "y").iter_rows():
            found.append((round(y * events), round(x * (rows - events))))
    for x, y in part.filter(pl.col("curve") == "precision_recall").select("x", "y").iter_rows():
        found.append((round(x * events), round(x * events * (1 / y - 1)) if y else 0))
    return found


def _values_left(fixed: Sequence[Place], shown: Sequence[Mapping[str, Any]], held: Counts) -> list[int]:
    """Return, for each threshold, how many values its narrowest small cell keeps."""
    places = list(fixed)
    for i, row in enumerate(shown):
        places.append(Place(row["n_flagged"], *_by_rule(row, held), i))
    places.sort(key=lambda p: (p.flagged, p.row is not None))
    low, high = [p.low for p in places], [p.high for p in places]
    for i in range(1, len(places)):
        step = places[i].flagged - places[i - 1].flagged
        low[i], high[i] = max(low[i], low[i - 1]), min(high[i], high[i - 1] + step)
    for i in range(len(places) - 2, -1, -1):
        step = places[i + 1].flagged - places[i].flagged
        low[i], high[i] = max(low[i], low[i + 1] - step), min(high[i], high[i + 1])
    left = [0] * len(shown)
    for place, least, most in zip(places, low, high, strict=True):
        if place.row is not None:
            left[place.row] = most - least + 1
    return left


def _by_rule(row: Mapping[str, Any], held: Counts) -> tuple[int, int]:
    """Return the least and the most true alarms for one who knows which of the four cells are small."""
    n, events, flagged = held.rows or 0, held.events or 0, row["n_flagged"]
    true = true_alarms(row)
    low, high = max(0, flagged - (n - events)), min(flagged, events)
    if is_small(true):
        low, high = max(low, 1), min(high, SMALL_CELL - 1)
    if is_small(flagged - true):
        low, high = max(low, flagged - SMALL_CELL + 1), min(high, flagged - 1)
    if is_small(events - true):
        low, high = max(low, events - SMALL_CELL + 1), min(high, events - 1)
    rest = n - flagged - events  # people neither flagged nor ill are rest + true alarms
    if is_small(rest + true):
        low, high = max(low, 1 - rest), min(high, SMALL_CELL - 1 - rest)
    return low, high
