"""From predictions to the METRICS table: every measure with its interval, overall and by subgroup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.models.bootstrap import Statistic, bootstrap, number_units, once, percentile_interval
from genomix.models.metrics import (
    BINARY_METRICS,
    REGRESSION_METRICS,
    IntArray,
    auroc,
    average_precision,
    calibration_intercept,
    calibration_slope,
    integrated_calibration_index,
    log_losses,
    pearson_r,
    pick,
    plan_ranks,
    r_squared,
    varies,
)
from genomix.models.model import Float64Array, Objective
from genomix.privacy import SMALL_CELL, suppress_counts
from genomix.schemas.features import PREDICTIONS
from genomix.schemas.results import METRICS

MIN_EVENTS = SMALL_CELL
"""With fewer events or non-events no measure is given; a smaller bound would tell how many a hidden count is."""
_USABLE_SHARE = 0.5
_OVERALL_ONLY = ("ici",)

Labels = Sequence[str | None] | npt.NDArray[np.object_] | pl.Series


FEWEST_UNITS = 5
"""Fewer resampled units than this say nothing about an interval."""


@dataclass(frozen=True)
class Rows:
    """Held-out rows of one model, or of one subgroup: all arrays are (rows,).

    ``code`` is the unit of each row among the ``n_drawn`` units that are resampled, ``weight`` the row's own weight,
    ``reference`` the prediction without the model (None when it is not known). ``person`` numbers people: small cells
    are judged by people, intervals by units.
    """

    row: IntArray
    fold: IntArray
    y: Float64Array
    p: Float64Array
    code: IntArray
    weight: Float64Array
    reference: Float64Array | None
    n_drawn: int
    person: IntArray

    def take(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows for which ``chosen`` is True."""
        return Rows(
            row=self.row[chosen], fold=self.fold[chosen], y=self.y[chosen], p=self.p[chosen], code=self.code[chosen],
            weight=self.weight[chosen], reference=None if self.reference is None else self.reference[chosen],
            n_drawn=self.n_drawn, person=self.person[chosen],
        )  # fmt: skip

    @property
    def n_units(self) -> int:
        """Number of units that have a row here."""
        return int(np.unique(self.code).size)

    @property
    def n_people(self) -> int:
        """Number of people who have a row here."""
        return int(np.unique(self.person).size)

    @property
    def n_events(self) -> int:
        """Number of rows with label 1."""
        return int((self.y == 1).sum())


def rows_by_model(
    predictions: pl.DataFrame, *, weights: Float64Array | None = None, training_mean: Mapping[int, float] | None = None,
    people: IntArray | None = None,
) -> dict[str, Rows]:  # fmt: skip
    """Return each model's predictions as arrays sorted by fold and row, by model name.

    Units are numbered over all of ``predictions``, so that all models share their draws.

    Parameters
    ----------
    predictions: PREDICTIONS; may hold several models.
    weights: weight per row of the index, or None for equal ones.
    training_mean: fold to the mean label of its training part.
    people: person of each row of the index; None when no person has two rows.
    """
    frame = PREDICTIONS.validate(predictions).sort("model", "fold", "row")
    units = number_units(frame["kin_group"].to_numpy())
    row, fold = frame["row"].to_numpy(), frame["fold"].to_numpy()
    weight = np.ones(frame.height) if weights is None else np.asarray(weights, dtype=np.float64)[row]
    reference = None
    if training_mean is not None:
        reference = np.array([training_mean[f] for f in fold.tolist()], dtype=np.float64)
    everything = Rows(
        row=row, fold=fold, y=frame["label"].to_numpy(), p=frame["prediction"].to_numpy(), code=units.code,
        weight=weight, reference=reference, n_drawn=units.n_units, person=row if people is None else people[row],
    )  # fmt: skip
    model = frame["model"].to_numpy()
    return {name: everything.take(model == name) for name in sorted(set(model.tolist()))}


def statistic_of(rows: Rows, metrics: Sequence[str]) -> Statistic:
    """Return the function from draws of units to the values of ``metrics``, in their order."""
    spread = _spread(rows)
    parts: list[Callable[[Float64Array], Float64Array]] = [_measure(name, rows) for name in metrics]

    def statistic(drawn: Float64Array) -> Float64Array:
        weights = spread(drawn)
        return np.column_stack([part(weights) for part in parts])

    return statistic


def _spread(rows: Rows) -> Callable[[Float64Array], Float64Array]:
    plain = bool((rows.weight == 1.0).all())
    return lambda drawn: pick(drawn, rows.code) if plain else pick(drawn, rows.code) * rows.weight


def _measure(name: str, rows: Rows) -> Callable[[Float64Array], Float64Array]:
    """Return a measure as a function of row weights (resamples, rows)."""
    y, p = rows.y, rows.p
    if name in ("auroc", "auprc"):
        plan = plan_ranks(y, p, rows.fold)
        rank_measure = auroc if name == "auroc" else average_precision
        return lambda w: rank_measure(plan, w)
    if name in ("brier", "rmse"):
        return lambda w: _mean((y - p) ** 2, w) if name == "brier" else np.sqrt(_mean((y - p) ** 2, w))
    if name in ("log_loss", "mae"):
        losses = log_losses(y, p) if name == "log_loss" else np.abs(y - p)
        return lambda w: _mean(losses, w)
    if name == "expected_observed":
        return lambda w: _quotient(w @ p, w @ y)
    if name in ("r2", "brier_skill"):
        # The scaled Brier score is the same ratio: squared error against that of the prevalence.
        return lambda w: r_squared(y, p, w, rows.reference)
    if name == "pearson_r":
        return lambda w: pearson_r(y, p, w, rows.fold)
    calibration = {
        "calibration_slope": calibration_slope,
        "calibration_intercept": calibration_intercept,
        "ici": integrated_calibration_index,
    }[name]
    return lambda w: calibration(y, p, w)


def _mean(losses: Float64Array, weights: Float64Array) -> Float64Array:
    return _quotient(weights @ losses, weights.sum(axis=1))


def _quotient(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), np.nan)


def why_not(rows: Rows, objective: Objective, *, small_cell: int, min_events: int) -> str:
    """Return why nothing can be estimated from these rows, or an empty string."""
    if rows.n_people < small_cell:
        return f"not estimable: fewer than {small_cell} people"
    if rows.n_units < FEWEST_UNITS:
        return f"not estimable: fewer than {FEWEST_UNITS} groups of relatives"
    if objective == "regression":
        return "" if varies(rows.y) else "not estimable: the outcome does not vary"
    for count, what in ((rows.n_events, "events"), (rows.y.size - rows.n_events, "non-events")):
        if count == 0:
            return f"not estimable: no {what}"
        if count < min_events:
            return f"not estimable: fewer than {min_events} {what}"
    return ""


def evaluate_predictions(
    predictions: pl.DataFrame, *, target: str, objective: Objective, seed: int,
    subgroups: Mapping[str, Labels] | None = None, weights: Float64Array | None = None,
    training_mean: Mapping[int, float] | None = None, metrics: Sequence[str] | None = None, n_resamples: int = 2000,
    people: IntArray | None = None, small_cell: int = SMALL_CELL, min_events: int = MIN_EVENTS,
) -> pl.DataFrame:  # fmt: skip
    """Return METRICS: each model's measures with 95 % percentile intervals, overall and within subgroups.

    Units (kin groups) are resampled; all models and subgroups see the same draws. With several folds see
    :mod:`genomix.models.metrics` for what is computed within folds. An interval says how far the figure would move with
    other people of the same kind; it does not cover other training data, and overlapping intervals of two models are
    no test of their difference (see :mod:`genomix.models.ladder`).

    Parameters
    ----------
    predictions: PREDICTIONS; may hold several models.
    subgroups: variable to labels, one label (or None) per row of the **index**, e.g. ``{"sex": [...]}``.
    weights: weight per row of the index, or None for equal ones.
    training_mean: fold to the mean label of its training part; adds the model ``prevalence``, which predicts it, and
        is the reference of R².
    people: person of each row of the index; None when no person has two rows.
    metrics: names to compute; all of the objective by default (``ici`` overall only).

    Raises
    ------
    FormatError: a subgroup's labels do not reach the largest row.
    """
    names = tuple(metrics or (BINARY_METRICS if objective == "binary" else REGRESSION_METRICS))
    models = rows_by_model(predictions, weights=weights, training_mean=training_mean, people=people)
    if training_mean is not None and models:
        models["prevalence"] = _without_model(next(iter(models.values())))
    cells = [
        _Cell(model, group, part, names if group == "all" else tuple(n for n in names if n not in _OVERALL_ONLY))
        for model, rows in models.items()
        for group, part in _split(rows, {} if model == "prevalence" else subgroups or {})
    ]
    notes = [why_not(c.rows, objective, small_cell=small_cell, min_events=min_events) for c in cells]
    live = [c for c, note in zip(cells, notes, strict=True) if not note]
    statistics = [statistic_of(c.rows, c.metrics) for c in live]
    n_units = live[0].rows.n_drawn if live else 0
    drawn = bootstrap(
        statistics, n_units=n_units, n_rows=max((c.rows.y.size for c in live), default=1),
        n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    values = {id(c): (once(s, n_units), d) for c, s, d in zip(live, statistics, drawn, strict=True)}
    records = [
        _record(target, c, name, position, note, values.get(id(c)), objective)
        for c, note in zip(cells, notes, strict=True)
        for position, name in enumerate(c.metrics)
    ]
    return METRICS.validate(pl.DataFrame(records, schema={c.name: c.dtype for c in METRICS.columns}))


@dataclass(frozen=True)
class _Cell:
    model: str
    group: str
    rows: Rows
    metrics: tuple[str, ...]


def _without_model(rows: Rows) -> Rows:
    assert rows.reference is not None
    return replace(rows, p=rows.reference)


def _split(rows: Rows, subgroups: Mapping[str, Labels]) -> list[tuple[str, Rows]]:
    """Return ('all', rows), then each subgroup as ('variable=label', its rows); rows without a label are in none."""
    found = [("all", rows)]
    for variable in sorted(subgroups):
        of_row = label_of_row(rows, subgroups[variable], variable)
        for label in sorted({x for x in of_row.tolist() if x is not None}):
            found.append((f"{variable}={label}", rows.take(np.array([x == label for x in of_row.tolist()]))))
    return found


def label_of_row(rows: Rows, labels: Labels, variable: str) -> npt.NDArray[np.object_]:
    """Return the label of each of ``rows`` from labels per row of the index."""
    all_labels = np.array(list(labels), dtype=object)
    if rows.row.size and int(rows.row.max()) >= all_labels.size:
        raise FormatError(f"subgroup {variable!r} has {all_labels.size} labels, the rows reach {int(rows.row.max())}")
    return np.asarray(all_labels[rows.row], dtype=object)


def _record(
    target: str, cell: _Cell, metric: str, position: int, note: str,
    values: tuple[Float64Array, Float64Array] | None, objective: Objective,
) -> dict[str, object]:  # fmt: skip
    figures = summarise(
        None if values is None else values[0][position], None if values is None else values[1][:, position]
    )
    return {
        "target": target, "model": cell.model, "metric": metric, "group": cell.group,
        "estimate": figures.estimate, "low": figures.low, "high": figures.high,
        "n_rows": cell.rows.y.size, "n_units": cell.rows.n_units,
        "n_events": cell.rows.n_events if objective == "binary" else None, "note": note or figures.note,
    }  # fmt: skip


def shown_metrics(metrics: pl.DataFrame) -> list[dict[str, Any]]:
    """Return METRICS as they leave a command: ``n_events`` is text where it would give a small count away.

    >>> row = {"n_rows": 200, "n_events": 7}
    >>> shown_metrics(pl.DataFrame([row, row | {"n_events": 90}, row | {"n_events": 195}]))
    [{'n_rows': 200, 'n_events': '<11'}, {'n_rows': 200, 'n_events': 90}, {'n_rows': 200, 'n_events': 'withheld'}]
    """
    rows = metrics.to_dicts()
    for row in rows:
        if row["n_events"] is not None:
            text = suppress_counts([row["n_events"], row["n_rows"] - row["n_events"]])[0]
            row["n_events"] = row["n_events"] if text == str(row["n_events"]) else text
    return rows


@dataclass(frozen=True)
class Summary:
    """Estimate and interval, null where there is none, and why."""

    estimate: float | None
    low: float | None
    high: float | None
    note: str


def summarise(estimate: float | None, resamples: Float64Array | None) -> Summary:
    """Return the estimate with its percentile interval; an interval needs half of the resamples to have a value."""
    if estimate is None or resamples is None:
        return Summary(None, None, None, "")
    if not np.isfinite(estimate):
        return Summary(None, None, None, "not estimable: nothing varies, or the fit did not settle")
    interval = percentile_interval(resamples)
    if interval.usable_share < _USABLE_SHARE:
        return Summary(float(estimate), None, None, "no interval: most resamples have no value")
    note = "" if interval.usable_share > 0.99 else f"interval from {interval.usable_share:.0%} of the resamples"
    return Summary(float(estimate), interval.low, interval.high, note)
