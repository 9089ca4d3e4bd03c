"""Predicted incidence of one event, where others may end the wait: measures, calibration, and curves of risk groups.

``cause`` is (rows,) 0 for censored, 1 for the event that is predicted and 2 for any other that ended the wait. Without
a 2 every figure here is the one of :mod:`genomix.models.survival_metrics`, which tests hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from genomix.models import survival_metrics as sm
from genomix.models.competing import (
    aalen_johansen,
    incidence_brier,
    incidence_expected_observed,
    incidence_interval,
    known_by,
)
from genomix.models.metrics import IntArray, auroc, plan_ranks
from genomix.models.model import Float64Array
from genomix.models.survival_training import Measure, measured
from genomix.privacy import SMALL_CELL
from genomix.schemas.results import SURVIVAL_CALIBRATION, SURVIVAL_GROUPS

REFERENCE = "prevalence"
"""The model that predicts the training rows' incidence for everybody."""
FEWEST_PER_GROUP = 50
_GRID = 60


def incidence_auroc(
    time: Float64Array, cause: Float64Array, risk: Float64Array, weights: Float64Array, *, horizon: float
) -> Float64Array:
    """Return the AUROC (resamples,) of who had the event by ``horizon`` against everybody else whose state is known.

    Who had another event by then is without the event (doi:10.1002/sim.5958, definition B). Rows weigh 1/G(t-) where an
    event was seen at t by the horizon, 1/G(horizon) where they are followed beyond it.
    """
    w, used = known_by(time, cause, weights, horizon)
    rows = np.flatnonzero(used)
    unknown = ~np.isfinite(w[:, rows]).all(axis=1)
    case = (time <= horizon) & (cause == 1)
    found = auroc(
        plan_ranks(case[rows].astype(np.float64), risk[rows]), np.where(np.isfinite(w[:, rows]), w[:, rows], 0.0)
    )
    return np.where(unknown, np.nan, found)


def never_had(time: Float64Array, cause: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return time and event for the concordance: who had another event will not have this one, and stays to the end.

    Wolbers 2009, doi:10.1097/EDE.0b013e3181a39056.
    """
    other = cause == 2
    return np.where(other, time.max() + 1.0, time), (cause == 1).astype(np.float64)


def incidence_measures(
    time: Float64Array, cause: Float64Array, margin: Float64Array | None, risk: Float64Array, horizons: Float64Array,
    reference: Float64Array,
) -> list[Measure]:  # fmt: skip
    """Return the measures of ``risk`` (rows, points) by each horizon, and of ``margin``; None leaves ranking out.

    Without competing events ``uno_c`` is among them.
    """
    found: list[Measure] = []
    last = float(horizons[-1])
    if margin is not None:
        plan = sm.plan_pairs(*never_had(time, cause), margin)
        found.append(("harrell_c", None, lambda w: sm.harrell_c(plan, w)))
        if not (cause == 2).any():
            event = (cause == 1).astype(np.float64)
            found.append(("uno_c", last, lambda w: sm.uno_c(
                plan, time, w, tau=last, censoring=sm.censoring_curve(time, event, w))))  # fmt: skip
    for k, horizon in enumerate(float(h) for h in horizons):
        found += _at(time, cause, risk[:, k], horizon, float(reference[k]), ranked=margin is not None)
    if horizons.size > 1:
        found.append(("integrated_brier", last, lambda w: _integrated(time, cause, risk, w, horizons)))
    return found


def _integrated(
    time: Float64Array, cause: Float64Array, risk: Float64Array, w: Float64Array, horizons: Float64Array
) -> Float64Array:
    scores = [incidence_brier(time, cause, risk[:, k], w, of=1, horizon=float(h)) for k, h in enumerate(horizons)]
    return np.asarray(np.trapezoid(np.column_stack(scores), horizons, axis=1) / (horizons[-1] - horizons[0]))


def _at(
    time: Float64Array, cause: Float64Array, risk: Float64Array, horizon: float, reference: float, *, ranked: bool
) -> list[Measure]:
    def brier(w: Float64Array) -> Float64Array:
        return incidence_brier(time, cause, risk, w, of=1, horizon=horizon)

    def skill(w: Float64Array) -> Float64Array:
        base = incidence_brier(time, cause, np.full(time.size, reference), w, of=1, horizon=horizon)
        return np.where(base > 0, 1 - brier(w) / np.where(base > 0, base, 1.0), np.nan)

    def ratio(w: Float64Array) -> Float64Array:
        return incidence_expected_observed(time, cause, risk, w, of=1, horizon=horizon)

    name = f"at_{horizon:g}"
    ranks: list[Measure] = [
        (f"auroc_{name}", horizon, lambda w: incidence_auroc(time, cause, risk, w, horizon=horizon))
    ]
    skills: list[Measure] = [(f"brier_skill_{name}", horizon, skill)]
    rest: list[Measure] = [(f"brier_{name}", horizon, brier), (f"expected_observed_{name}", horizon, ratio)]
    return [*(ranks if ranked else []), *rest, *(skills if ranked else [])]


def evaluate_incidence(
    predicted: Mapping[str, tuple[Float64Array, Float64Array]], time: Float64Array, cause: Float64Array, *,
    target: str, horizons: Float64Array, reference: Float64Array, units: IntArray, people: IntArray, seed: int,
    n_resamples: int = 2000,
) -> pl.DataFrame:  # fmt: skip
    """Return METRICS of each model, as :func:`genomix.models.survival_training.evaluate_survival` does.

    Parameters
    ----------
    predicted: model → margin of the event's own hazard (rows,) and incidence (rows, points). reference: (points,)
        incidence without a model; it is measured as the model ``prevalence``.
    """
    event = (cause == 1).astype(np.float64)
    cells = {n: incidence_measures(time, cause, m, r, horizons, reference) for n, (m, r) in predicted.items()}
    flat = np.tile(reference, (time.size, 1))
    cells[REFERENCE] = incidence_measures(time, cause, None, flat, horizons, reference)
    return measured(cells, time, event, target=target, units=units, people=people, seed=seed, n_resamples=n_resamples)


def incidence_calibration(
    predicted: Mapping[str, Float64Array], time: Float64Array, cause: Float64Array, *, horizons: Float64Array,
    most_groups: int = 10,
) -> pl.DataFrame:  # fmt: skip
    """Return SURVIVAL_CALIBRATION: predicted incidence (rows, points) and Aalen-Johansen's, in groups of like risk.

    Groups hold about 50 rows or more; without 100 rows there are none. Neighbours are joined until the event by the
    horizon, and being without it, are both no small cell of the group.
    """
    n_groups = min(most_groups, time.size // FEWEST_PER_GROUP)
    records = []
    for model, risk in predicted.items():
        for k, horizon in enumerate(horizons.tolist()) if n_groups > 1 else ():
            groups = _merged(time, cause, risk[:, k], horizon, n_groups)
            for number, rows in enumerate(groups if len(groups) > 1 else []):
                seen, low, high = incidence_interval(time[rows], cause[rows], 1, np.array([horizon]))
                records.append(
                    {"model": model, "horizon": horizon, "group": number, "n_rows": int(rows.size),
                     "expected": float(risk[rows, k].mean()), "observed": float(seen[0]), "low": float(low[0]),
                     "high": float(high[0])}
                )  # fmt: skip
    frame = pl.DataFrame(records, schema={c.name: c.dtype for c in SURVIVAL_CALIBRATION.columns})
    return SURVIVAL_CALIBRATION.validate(frame.with_columns(pl.selectors.float().fill_nan(None)))


def _merged(
    time: Float64Array, cause: Float64Array, risk: Float64Array, horizon: float, n_groups: int
) -> list[IntArray]:
    """Return the rows of each group, from the lowest risk on, joined until no group holds a small cell."""
    cuts = np.unique(np.quantile(risk, np.arange(1, n_groups) / n_groups))
    code = np.searchsorted(cuts, risk, side="left")
    had, beyond = (time <= horizon) & (cause == 1), time > horizon

    def enough(rows: IntArray) -> bool:
        return int(had[rows].sum()) >= SMALL_CELL and int(beyond[rows].sum()) >= SMALL_CELL

    groups: list[IntArray] = []
    pending = np.empty(0, dtype=np.int64)
    for number in np.unique(code):
        pending = np.concatenate([pending, np.flatnonzero(code == number)])
        if enough(pending):
            groups.append(pending)
            pending = np.empty(0, dtype=np.int64)
    if pending.size and groups:
        groups[-1] = np.concatenate([groups[-1], pending])
    return groups


class FollowUp(NamedTuple):
    """Rows, their events, and the median follow-up by the reverse Kaplan-Meier estimator; None where not reached.

    ``competing`` is None where the study knows no competing event.
    """

    rows: int
    events: int
    competing: int | None
    censored: int
    median: float | None


def follow_up(time: Float64Array, cause: Float64Array, *, competing: bool) -> FollowUp:
    """Return what happened to the rows; an event, of either kind, ends the wait to be censored.

    Reverse Kaplan-Meier: Schemper and Smith 1996, doi:10.1016/0197-2456(96)00075-X.
    """
    curve = sm.censoring_curve(time, (cause > 0).astype(np.float64), np.ones((1, time.size)))
    below = np.flatnonzero(curve.values[0] <= 0.5)
    median = float(curve.times[below[0]]) if below.size else None
    n = [int((cause == k).sum()) for k in (0, 1, 2)]
    return FollowUp(int(time.size), n[1], n[2] if competing else None, n[0], median)


def risk_group_curves(
    time: Float64Array, cause: Float64Array, risk: Float64Array, *, until: float, small_cell: int = SMALL_CELL
) -> pl.DataFrame:
    """Return SURVIVAL_GROUPS: the observed incidence in thirds of ``risk`` (rows,), halves where events are few.

    From a step of a curve, its size and the number at risk, one can count the events behind it. So the curve is given
    only at points of an even grid between which the events, and the rows that left otherwise, are 0 or at least
    ``small_cell``, and beyond which as many are left. A group without any such point has its start alone.
    """
    n_groups = 3 if (cause == 1).sum() >= 6 * small_cell else 2
    cuts = np.unique(np.quantile(risk, np.arange(1, n_groups) / n_groups))
    code = np.searchsorted(cuts, risk, side="left")
    records = []
    for number in np.unique(code):
        rows = np.flatnonzero(code == number)
        if rows.size < small_cell:
            continue
        points = _safe_points(time[rows], cause[rows], until, small_cell)
        seen, low, high = incidence_interval(time[rows], cause[rows], 1, points) if points.size else (points,) * 3
        at_risk = [int((time[rows] > t).sum()) for t in points]
        records.append(_point(number, 0.0, 0.0, None, None, rows.size))
        records += [
            _point(number, *values) for values in zip(points, seen, low, high, at_risk, strict=True)
        ]  # fmt: skip
    frame = pl.DataFrame(records, schema={c.name: c.dtype for c in SURVIVAL_GROUPS.columns}, orient="row")
    return SURVIVAL_GROUPS.validate(frame.with_columns(pl.selectors.float().fill_nan(None)))


def _point(
    group: int, time: float, incidence: float, low: float | None, high: float | None, n: int
) -> dict[str, object]:
    return {"group": int(group), "time": float(time), "incidence": float(incidence), "low": low, "high": high,
            "n_at_risk": int(n)}  # fmt: skip


def _safe_points(time: Float64Array, cause: Float64Array, until: float, small_cell: int) -> Float64Array:
    """Return the times of the grid at which a group's curve may be read (see :func:`risk_group_curves`)."""
    kept: list[tuple[float, int, int]] = [(0.0, 0, 0)]
    for t in (until * np.arange(1, _GRID + 1) / _GRID).tolist():
        gone = time <= t
        events = int((gone & (cause == 1)).sum())
        others = int(gone.sum()) - events
        if t == until:  # the end is worth more than the points before it
            while len(kept) > 1 and not _safe(kept[-1], events, others, time.size, small_cell):
                kept.pop()
        if _safe(kept[-1], events, others, time.size, small_cell):
            kept.append((t, events, others))
    return np.array([point[0] for point in kept[1:]])


def _safe(before: tuple[float, int, int], events: int, others: int, n: int, small_cell: int) -> bool:
    return not any(0 < x < small_cell for x in (events - before[1], others - before[2], n - events - others))


def observed_incidence(time: Float64Array, cause: Float64Array, horizons: Float64Array) -> Float64Array:
    """Return Aalen-Johansen's incidence of the event at ``horizons`` (points,); 0 where nobody had it."""
    if not (cause == 1).any():
        return np.zeros(horizons.size)
    return np.asarray(aalen_johansen(time, cause, np.ones((1, time.size)))[0].at(horizons)[0])
