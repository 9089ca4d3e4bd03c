"""The ladder: what each step of columns adds on the same people, as paired differences with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.models.bootstrap import Statistic, bootstrap, once
from genomix.models.evaluate import (
    MIN_EVENTS,
    Labels,
    Rows,
    label_of_row,
    rows_by_model,
    statistic_of,
    summarise,
    why_not,
)
from genomix.models.metrics import IntArray, pick
from genomix.models.model import Float64Array, Objective
from genomix.privacy import SMALL_CELL
from genomix.schemas.features import RUNGS
from genomix.schemas.results import LADDER

NET_BENEFIT = "net_benefit"
LADDER_METRICS: Mapping[str, tuple[str, str]] = {"binary": ("auroc", "log_loss"), "regression": ("r2", "rmse")}


def ladder(
    predictions: pl.DataFrame, *, target: str, objective: Objective, n_features: Mapping[str, int], seed: int,
    ancestry: Labels | None = None, notes: Mapping[str, str] | None = None, weights: Float64Array | None = None,
    training_mean: Mapping[int, float] | None = None, n_resamples: int = 2000, people: IntArray | None = None,
    small_cell: int = SMALL_CELL, min_events: int = MIN_EVENTS, threshold: float | None = None,
    controls: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return LADDER: each rung's value and its paired difference to the rung before, overall and by ancestry.

    Both rungs of a difference see the same draws of units. A difference whose interval covers 0 does not show that the
    step adds nothing, and a score evaluated where its weights were learned shows nothing: the note says so.

    Parameters
    ----------
    predictions: PREDICTIONS whose ``model`` is a rung name; every rung has the same rows and folds.
    n_features: rung to the number of columns that its model saw.
    ancestry: label (or None) per row of the index.
    notes: rung to a note, e.g. the discovery cohorts of its scores.
    training_mean: fold to the mean label of its training part, the reference of R².
    people: person of each row of the index; None when no person has two rows.
    threshold: where net benefit is measured (yes/no outcomes).
    controls: PREDICTIONS of each rung after the first, trained and applied with its own columns shuffled between rows:
        what more columns without information change (their difference to the rung before is the control).

    Raises
    ------
    ConfigError: an unknown rung, or rungs that differ in rows, folds or labels.
    """
    by_rung = rows_by_model(predictions, weights=weights, training_mean=training_mean, people=people)
    rungs = _checked_rungs(by_rung)
    shuffled = _controls(by_rung, rungs, controls, weights=weights, training_mean=training_mean, people=people)
    metrics: tuple[str, ...] = LADDER_METRICS[objective]
    if objective == "binary" and threshold is not None:
        metrics = (*metrics, NET_BENEFIT)
    records: list[dict[str, object]] = []
    for group, chosen in _groups(by_rung[rungs[0]], ancestry):
        parts = [by_rung[rung].take(chosen) for rung in rungs]
        reason = why_not(parts[0], objective, small_cell=small_cell, min_events=min_events)
        beside = [None if rows is None else rows.take(chosen) for rows in shuffled]
        values = None if reason else _values([*parts, *(b for b in beside if b)], metrics, n_resamples, seed, threshold)
        places = np.cumsum([b is not None for b in beside]) + len(parts) - 1
        few = [_few_flagged(part, threshold, small_cell) for part in parts]
        for step, rung in enumerate(rungs):
            note = reason or (notes or {}).get(rung, "")
            head = {"target": target, "group": group, "step": step, "rung": rung, "n_features": n_features[rung]}
            control = int(places[step]) if beside[step] is not None else None
            for i, metric in enumerate(metrics):
                hidden = metric == NET_BENEFIT and (few[step] or (step > 0 and few[step - 1]))
                figures = _figures(None if hidden else values, step, i, control)
                records.append({**head, **figures, "metric": metric, "note": (note or few[step]) if hidden else note})
    return LADDER.validate(pl.DataFrame(records, schema={c.name: c.dtype for c in LADDER.columns}))


def _checked_rungs(by_rung: Mapping[str, Rows]) -> list[str]:
    unknown = [name for name in by_rung if name not in RUNGS]
    if unknown or not by_rung:
        raise ConfigError(f"unknown rung {unknown[0]!r}" if unknown else "no rungs", hint="one of: " + ", ".join(RUNGS))
    rungs = [rung for rung in RUNGS if rung in by_rung]
    for first, second in pairwise(rungs):
        a, b = by_rung[first], by_rung[second]
        if not all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("row", "fold", "y", "code")):
            raise ConfigError(f"rungs {first!r} and {second!r} were not predicted on the same rows, folds and labels")
    return rungs


def _groups(rows: Rows, ancestry: Labels | None) -> list[tuple[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    found = [("all", np.ones(rows.row.size, dtype=np.bool_))]
    if ancestry is None:
        return found
    labels = label_of_row(rows, ancestry, "ancestry").tolist()
    for label in sorted({x for x in labels if x is not None}):
        found.append((f"ancestry={label}", np.array([x == label for x in labels])))
    return found


def _controls(
    by_rung: Mapping[str, Rows], rungs: list[str], controls: pl.DataFrame | None, **settings: Any
) -> list[Rows | None]:
    """Return the shuffled rows of each rung, None where it has none."""
    if controls is None or not controls.height:
        return [None] * len(rungs)
    found = rows_by_model(controls, **settings)
    for rung, rows in found.items():
        if rung not in by_rung or not all(
            np.array_equal(getattr(rows, k), getattr(by_rung[rung], k)) for k in ("row", "fold", "y", "code")
        ):
            raise ConfigError(f"the control of rung {rung!r} was not predicted on the rung's rows, folds and labels")
    return [found.get(rung) for rung in rungs]


def _few_flagged(rows: Rows, threshold: float | None, small_cell: int) -> str:
    """Say why net benefit is not shown: with few people on one side, it tells how many of them have the outcome."""
    if threshold is None:
        return ""
    flagged = rows.p >= threshold
    sides = [int(np.unique(rows.person[side]).size) for side in (flagged, ~flagged)]
    return f"fewer than {small_cell} people on one side of the threshold" if min(sides) < small_cell else ""


def _statistic(rows: Rows, metrics: tuple[str, ...], threshold: float | None) -> Statistic:
    """Return the measures as a function of draws; net benefit (Vickers and Elkin 2006) is the last where asked for."""
    if NET_BENEFIT not in metrics or threshold is None:
        return statistic_of(rows, metrics)
    others = statistic_of(rows, metrics[:-1])
    flagged = rows.p >= threshold
    gain = np.where(flagged, rows.y - (1 - rows.y) * threshold / (1 - threshold), 0.0)

    def statistic(drawn: Float64Array) -> Float64Array:
        weights = pick(drawn, rows.code) * rows.weight
        return np.column_stack([others(drawn), weights @ gain / weights.sum(axis=1)])

    return statistic


def _values(
    parts: list[Rows], metrics: tuple[str, ...], n_resamples: int, seed: int, threshold: float | None
) -> list[tuple[Float64Array, Float64Array]]:
    """Return, per rung, the point values (metrics,) and the resamples (resamples, metrics) under the same draws."""
    statistics = [_statistic(part, metrics, threshold) for part in parts]
    n_units = parts[0].n_drawn
    drawn = bootstrap(statistics, n_units=n_units, n_rows=parts[0].y.size, n_resamples=n_resamples, seed=seed)
    return [(once(s, n_units), d) for s, d in zip(statistics, drawn, strict=True)]


def _figures(
    values: list[tuple[Float64Array, Float64Array]] | None, step: int, metric: int, control: int | None
) -> dict[str, float | None]:
    own = delta = shuffled = summarise(None, None)
    if values is not None:
        point, drawn = values[step][0][metric], values[step][1][:, metric]
        own = summarise(float(point), drawn)
        if step:
            before, drawn_before = values[step - 1][0][metric], values[step - 1][1][:, metric]
            delta = summarise(float(point - before), drawn - drawn_before)
            if control is not None:
                beside, drawn_beside = values[control][0][metric], values[control][1][:, metric]
                shuffled = summarise(float(beside - before), drawn_beside - drawn_before)
    return {
        "estimate": own.estimate, "low": own.low, "high": own.high,
        "delta": delta.estimate, "delta_low": delta.low, "delta_high": delta.high,
        "control_delta": shuffled.estimate, "control_low": shuffled.low, "control_high": shuffled.high,
    }  # fmt: skip
