"""Train models of a time to an event on one split of a table, measure them on held-out people, and score new rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from genomix.device import Device
from genomix.errors import ConfigError, LabelError
from genomix.features.matrix import FeatureBlock, FeatureMatrix
from genomix.io.tables import numbers_of, read_table, read_text_columns
from genomix.models import survival_metrics as sm
from genomix.models.bootstrap import bootstrap, number_units, once
from genomix.models.cox import FittedCox, SurvivalPart, fit_cox
from genomix.models.evaluate import FEWEST_UNITS, MIN_EVENTS, summarise
from genomix.models.given_matrix import table_matrix
from genomix.models.given_table import TableRoles, read_rows
from genomix.models.metrics import IntArray, pick
from genomix.models.model import Float64Array
from genomix.models.survival import FittedBoostedSurvival, fit_boosted_survival
from genomix.privacy import SMALL_CELL
from genomix.schemas.results import METRICS

if TYPE_CHECKING:
    from genomix.models.bundle import Bundle

FittedSurvival = FittedCox | FittedBoostedSurvival
SURVIVAL_MODELS = ("boosted_cox", "boosted_aft", "cox")
REFERENCE = "kaplan_meier"
"""The model that predicts the training rows' Kaplan-Meier curve for everybody."""


_MOST_GROUPS, _ROWS_PER_GROUP = 10, 50
_CALIBRATION: Mapping[str, Any] = {
    "model": pl.String, "horizon": pl.Float64, "group": pl.Int64, "n_rows": pl.Int64, "expected": pl.Float64,
    "observed": pl.Float64, "low": pl.Float64, "high": pl.Float64,
}  # fmt: skip


class TrainedSurvival(NamedTuple):
    """Fitted models by name, the horizons, the training rows' survival at them; of the held-out rows METRICS, and what
    :func:`calibration_table` returns.
    """

    fitted: Mapping[str, FittedSurvival]
    horizons: Float64Array
    training_survival: Float64Array
    metrics: pl.DataFrame
    calibration: pl.DataFrame


def survival_matrix(
    path: Path, roles: TableRoles, *, time_column: str, split: pl.Series | None, held_out: float, tuning: float,
    seed: int,
) -> tuple[FeatureMatrix, Float64Array]:  # fmt: skip
    """Return a table's rows with a known event as a matrix, and the time of each; events are spread evenly over parts.

    ``roles``: of the event, a yes/no target; the time must be no feature.

    Raises
    ------
    LabelError: a row with an event and no time, or a negative time.
    """
    rows, _ = read_rows(path, roles, labelled=True)
    known = rows["label"].is_not_null().to_numpy()
    time = times_of(path, time_column, roles.missing)[known]
    event = rows["label"].to_numpy()[known]
    checked, _ = sm.check_outcome(time, event, f"column {time_column!r}")
    matrix = table_matrix(path, roles, split=split, held_out=held_out, tuning=tuning, seed=seed)
    return matrix, checked


def times_of(path: Path, column: str, missing: Sequence[str]) -> Float64Array:
    """Return a table's column of times, NaN where empty."""
    numbers = numbers_of(read_text_columns(path, [column], missing=missing)[column], path)
    return np.asarray(numbers.cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def default_horizons(time: Float64Array, event: Float64Array) -> Float64Array:
    """Return the quartiles of the times of events, to two digits."""
    quartiles = np.quantile(time[event == 1], (0.25, 0.5, 0.75))
    return np.unique([float(f"{q:.2g}") for q in quartiles])


def check_horizons(horizons: Sequence[float], time: Float64Array) -> Float64Array:
    """Return horizons in order, or a ConfigError for one outside the follow-up of the training rows."""
    found = np.unique(np.asarray(horizons, dtype=np.float64))
    last = float(time.max())
    outside = found[~((found > 0) & (found < last))]
    if outside.size:
        raise ConfigError(
            f"horizon {outside[0]:g} lies outside the follow-up of the training rows, 0 to {last:g}",
            hint="--horizon in the unit of the time column",
        )
    return found


def train_survival(
    matrix: FeatureMatrix, time: Float64Array, *, target: str, horizons: Sequence[float], seed: int, device: Device,
    threads: int = 1, n_resamples: int = 2000,
) -> TrainedSurvival:  # fmt: skip
    """Fit all models on fold 0's training rows; tuning rows stop or penalise; held-out rows are read once.

    Parameters
    ----------
    matrix: its labels are events, 0 or 1. time: (rows,). horizons: none for quartiles of the training events' times.

    Raises
    ------
    LabelError: a part without rows, or with fewer than two events. ConfigError: a horizon outside the follow-up.
    """
    block = matrix.for_fold(0)
    parts = {}
    for role in ("train", "tuning", "held_out"):
        rows = matrix.rows(0, role)
        if not len(rows):
            raise LabelError(f"the {role.replace('_', ' ')} part has no rows")
        parts[role] = SurvivalPart(block.values[rows], time[rows], matrix.labels[rows])
    train, tuning, held = parts["train"], parts["tuning"], parts["held_out"]
    if train.event.sum() < 2:
        raise LabelError("the training part has fewer than 2 events")
    at = check_horizons(horizons, train.time) if len(horizons) else default_horizons(train.time, train.event)
    fitted: dict[str, FittedSurvival] = {
        "boosted_cox": fit_boosted_survival(
            train, tuning=tuning, kind="cox", seed=seed, device=device, threads=threads
        ),
        "boosted_aft": fit_boosted_survival(
            train, tuning=tuning, kind="aft", seed=seed, device=device, threads=threads
        ),
        "cox": fit_cox(train, tuning=tuning),
    }
    curve = sm.kaplan_meier(train.time, train.event, np.ones((1, train.time.size)))
    reference = curve.at(at)[0]
    rows = matrix.rows(0, "held_out")
    predicted = {name: (model.margin(held.X), model.survival(held.X, at)) for name, model in fitted.items()}
    metrics = evaluate_survival(
        predicted, held.time, held.event, target=target, horizons=at, reference=reference,
        units=matrix.kin_groups[rows], people=matrix.index["subject_id"].to_numpy()[rows], seed=seed,
        n_resamples=n_resamples,
    )  # fmt: skip
    groups = calibration_table({name: s for name, (_, s) in predicted.items()}, held.time, held.event, horizons=at)
    return TrainedSurvival(fitted, at, reference, metrics, groups)


def calibration_table(
    survival: Mapping[str, Float64Array], time: Float64Array, event: Float64Array, *, horizons: Float64Array
) -> pl.DataFrame:
    """Return predicted against observed risk in groups of similar predictions, about 50 rows or more a group.

    Columns: model, horizon, group (from the lowest risk on), n_rows, expected (mean predicted risk), observed (1 -
    Kaplan-Meier; null where the group is not followed that far), low, high (its 95 % interval, rows as independent).
    ``survival``: model → (rows, points). Without 100 rows there are no groups.
    """
    n_groups = min(_MOST_GROUPS, time.size // _ROWS_PER_GROUP)
    records = []
    for name, predicted in survival.items():
        for k, horizon in enumerate(float(h) for h in horizons) if n_groups > 1 else ():
            groups = sm.calibration_groups(time, event, 1 - predicted[:, k], horizon=horizon, n_groups=n_groups)
            records += [
                {"model": name, "horizon": horizon, "group": number, **group._asdict()}
                for number, group in enumerate(groups) if group.n_rows >= SMALL_CELL
            ]  # fmt: skip
    return pl.DataFrame(records, schema=_CALIBRATION).with_columns(pl.selectors.float().fill_nan(None))


Measure = tuple[str, float | None, Callable[[Float64Array], Float64Array]]


def evaluate_survival(
    predicted: Mapping[str, tuple[Float64Array, Float64Array]], time: Float64Array, event: Float64Array, *,
    target: str, horizons: Float64Array, reference: Float64Array, units: IntArray, people: IntArray, seed: int,
    n_resamples: int = 2000,
) -> pl.DataFrame:  # fmt: skip
    """Return METRICS of each model with 95 % percentile intervals that resample units; all models see the same draws.

    Measures: ``harrell_c``; ``uno_c`` up to the last horizon; at each horizon H ``auroc_at_H``, ``brier_at_H``,
    ``brier_skill_at_H`` (against ``reference``) and ``expected_observed_at_H``; ``integrated_brier`` over them.

    Parameters
    ----------
    predicted: model → margin (rows,) and survival (rows, points). reference: (points,) survival without the model; it
        is measured as the model ``kaplan_meier``.
    """
    time, event = sm.check_outcome(time, event, "held-out part")
    cells = {name: _measures(time, event, *both, horizons, reference) for name, both in predicted.items()}
    flat = np.tile(reference, (time.size, 1))
    cells[REFERENCE] = [m for m in _measures(time, event, np.zeros(time.size), flat, horizons, reference)
                        if m[0].startswith(("brier_at", "integrated", "expected"))]  # fmt: skip
    return measured(cells, time, event, target=target, units=units, people=people, seed=seed, n_resamples=n_resamples)


def measured(
    cells: Mapping[str, Sequence[Measure]], time: Float64Array, event: Float64Array, *, target: str, units: IntArray,
    people: IntArray, seed: int, n_resamples: int,
) -> pl.DataFrame:  # fmt: skip
    """Return METRICS of each model's measures with 95 % percentile intervals that resample units, the same for all.

    ``event`` (rows,) is 1 where the event that is predicted was seen; a measure that a small cell of events, or of rows
    followed beyond its horizon, would carry is not given.
    """
    numbered = number_units(units)
    note = _why_not(event, people, numbered.n_units)
    live = [] if note else list(cells)

    def statistic(name: str) -> Callable[[Float64Array], Float64Array]:
        return lambda drawn: np.column_stack([m(pick(drawn, numbered.code)) for _, _, m in cells[name]])

    statistics = [statistic(name) for name in live]
    drawn = bootstrap(
        statistics, n_units=numbered.n_units, n_rows=time.size, n_resamples=n_resamples, seed=seed
    ) if live else []  # fmt: skip
    values = {n: (once(s, numbered.n_units), d) for n, s, d in zip(live, statistics, drawn, strict=True)}
    records = []
    for name, measures in cells.items():
        for k, (metric, horizon, _) in enumerate(measures):
            why = note or _why_not_by(time, event, horizon)
            pair = None if why else (float(values[name][0][k]), values[name][1][:, k])
            figures = summarise(*(pair or (None, None)))
            records.append(
                {"target": target, "model": name, "metric": metric, "group": "all", "estimate": figures.estimate,
                 "low": figures.low, "high": figures.high, "n_rows": time.size, "n_units": numbered.n_units,
                 "n_events": int(event.sum()), "note": why or figures.note}
            )  # fmt: skip
    return METRICS.validate(pl.DataFrame(records, schema={c.name: c.dtype for c in METRICS.columns}))


def _why_not(event: Float64Array, people: IntArray, n_units: int) -> str:
    if np.unique(people).size < SMALL_CELL:
        return f"not estimable: fewer than {SMALL_CELL} people"
    if n_units < FEWEST_UNITS:
        return f"not estimable: fewer than {FEWEST_UNITS} groups of relatives"
    return "" if event.sum() >= MIN_EVENTS else f"not estimable: fewer than {MIN_EVENTS} events"


def _why_not_by(time: Float64Array, event: Float64Array, horizon: float | None) -> str:
    if horizon is None:
        return ""
    if event[time <= horizon].sum() < MIN_EVENTS:
        return f"not estimable: fewer than {MIN_EVENTS} events by then"
    beyond = (time > horizon).sum()
    return "" if beyond >= MIN_EVENTS else f"not estimable: fewer than {MIN_EVENTS} rows are followed beyond it"


def _measures(
    time: Float64Array, event: Float64Array, margin: Float64Array, survival: Float64Array, horizons: Float64Array,
    reference: Float64Array,
) -> list[Measure]:  # fmt: skip
    plan = sm.plan_pairs(time, event, margin)
    last = float(horizons[-1])

    def uno(w: Float64Array) -> Float64Array:
        return sm.uno_c(plan, time, w, tau=last, censoring=sm.censoring_curve(time, event, w))

    found: list[Measure] = [("harrell_c", None, lambda w: sm.harrell_c(plan, w)), ("uno_c", last, uno)]
    for k, horizon in enumerate(float(h) for h in horizons):
        found += _at_horizon(time, event, survival[:, k], horizon, float(reference[k]))
    if horizons.size > 1:
        found.append(("integrated_brier", last,
                      lambda w: sm.integrated_brier(time, event, survival, w, horizons=horizons)))  # fmt: skip
    return found


def _at_horizon(
    time: Float64Array, event: Float64Array, survival: Float64Array, horizon: float, reference: float
) -> list[Measure]:
    without = np.full(time.size, reference)

    def brier(w: Float64Array) -> Float64Array:
        return sm.brier(time, event, survival, w, horizon=horizon)

    def skill(w: Float64Array) -> Float64Array:
        base = sm.brier(time, event, without, w, horizon=horizon)
        return np.where(base > 0, 1 - brier(w) / np.where(base > 0, base, 1.0), np.nan)

    name = f"at_{horizon:g}"
    return [
        (f"auroc_{name}", horizon, lambda w: sm.dynamic_auroc(time, event, 1 - survival, w, horizon=horizon)),
        (f"brier_{name}", horizon, brier),
        (f"brier_skill_{name}", horizon, skill),
        (f"expected_observed_{name}", horizon,
         lambda w: sm.expected_observed(time, event, 1 - survival, w, horizon=horizon)),
    ]  # fmt: skip


def with_times(rows: pl.DataFrame, path: Path, about: Mapping[str, Any], *, needed: bool) -> pl.DataFrame:
    """Return a table's ``rows`` with ``time``, NaN where the table has none; ``needed``: its absence is an error."""
    column = str(about["time_column"])
    if not needed and column not in read_table(path, as_text=True).columns:
        return rows.with_columns(pl.lit(float("nan")).alias("time"))
    return rows.with_columns(pl.Series("time", times_of(path, column, about["missing"])))


def survival_columns(bundle: Bundle, block: FeatureBlock) -> list[pl.Series]:
    """Return ``survival_at_H`` of the rows of ``block`` at each of the bundle's horizons."""
    horizons = np.asarray(bundle.manifest["about"]["horizons"], dtype=np.float64)
    model: Any = bundle.fitted
    survival = model.survival(bundle.matrix(block), horizons)
    return [pl.Series(f"survival_at_{h:g}", survival[:, k]) for k, h in enumerate(horizons)]


def measure_survival(bundle: Bundle, rows: pl.DataFrame, *, seed: int, n_resamples: int = 2000) -> pl.DataFrame:
    """Return METRICS of scored rows with a label (the event) and a ``time``; intervals resample people.

    Raises
    ------
    ConfigError: no row has a label. LabelError: a row with a label has no time.
    """
    known = rows.filter(pl.col("label").is_not_null())
    if not known.height:
        raise ConfigError("no row has a label, so nothing can be measured")
    about = bundle.manifest["about"]
    horizons = np.asarray(about["horizons"], dtype=np.float64)
    people = known["subject"].rank("dense").cast(pl.Int64).to_numpy() - 1
    survival = known.select(f"survival_at_{h:g}" for h in horizons).to_numpy()
    return evaluate_survival(
        {bundle.fitted.model: (known["prediction"].to_numpy(), survival)},
        known["time"].to_numpy(), known["label"].to_numpy(), target=about["target"], horizons=horizons,
        reference=np.asarray(about["training_survival"]), units=people, people=people, seed=seed,
        n_resamples=n_resamples,
    )  # fmt: skip
