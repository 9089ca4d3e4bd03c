"""Measures of predicted survival under right censoring, for many sets of row weights at once.

``time`` is (rows,) ≥ 0 in any unit, ``event`` (rows,) 1 where the event was seen at ``time`` and 0 where follow-up
ended there. ``weights`` is float64 (resamples, rows) as in :mod:`genomix.models.metrics`: one row of ones gives the
point estimate. Of equal times, events come before censoring. A measure is NaN where it has no value: nothing to
compare, or a time that follow-up does not reach.

Weights for censoring (IPCW) are 1/G(t-) for an event at t and 1/G(h) for a row still followed at h, where G is the
Kaplan-Meier curve of being uncensored, of the same rows and weights unless another is given. G(t-) and not G(t):
censoring at t itself would have left the event seen. Censoring is taken as independent of the columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from genomix.errors import FormatError, LabelError
from genomix.models.metrics import IntArray, auroc, pick, plan_ranks
from genomix.models.model import Float64Array


class Curves(NamedTuple):
    """Step functions, constant from each of ``times`` (steps,) on: ``values`` (resamples, steps), ``start`` before.

    ``last`` (resamples,): the last time that anybody was followed to; a curve that may still move has no value after.
    """

    times: Float64Array
    values: Float64Array
    start: float
    last: Float64Array

    def at(self, t: Float64Array, *, before: bool = False) -> Float64Array:
        """Return the values at ``t`` (points,), or just before them: (resamples, points)."""
        t = np.asarray(t, dtype=np.float64)
        column = np.searchsorted(self.times, t, side="left" if before else "right")
        held = np.hstack([np.full((self.values.shape[0], 1), self.start), self.values])[:, column]
        # A survival curve that reached 0 stays there; any other curve is unknown after the last follow-up.
        known = (t[None, :] <= self.last[:, None]) | ((held == 0.0) & (self.start == 1.0))
        return np.where(known, held, np.nan)


class Counts(NamedTuple):
    """Weighted counts at each of ``times``: (resamples, steps); ``at_risk`` holds everybody with time ≥ that time."""

    times: Float64Array
    at_risk: Float64Array
    events: Float64Array
    censored: Float64Array
    last: Float64Array


def check_outcome(time: Float64Array, event: Float64Array, what: str) -> tuple[Float64Array, Float64Array]:
    """Return ``time`` and ``event`` as float64, or say what is wrong with them.

    Raises
    ------
    FormatError: shapes that do not fit. LabelError: no rows, a time that is missing, infinite or negative, an event
        that is neither 0 nor 1.
    """
    time, event = np.ascontiguousarray(time, dtype=np.float64), np.ascontiguousarray(event, dtype=np.float64)
    if time.ndim != 1 or time.shape != event.shape:
        raise FormatError(f"{what}: time {time.shape} and event {event.shape} do not fit together")
    if not time.size:
        raise LabelError(f"{what}: no rows")
    if not np.isfinite(time).all() or (time < 0).any():
        raise LabelError(
            f"{what}: a time is missing, infinite or negative in {int((~(time >= 0) | np.isinf(time)).sum()):,} rows",
            hint="time is counted from the start of follow-up",
        )
    if not np.isin(event, (0.0, 1.0)).all():
        raise LabelError(f"{what}: an event is 0 (censored) or 1 (seen) in every row")
    return time, event


def counts(time: Float64Array, event: Float64Array, weights: Float64Array) -> Counts:
    """Return who is at risk, has the event and is censored at each time."""
    order = np.argsort(time, kind="stable")
    times, first = np.unique(time[order], return_index=True)
    w = pick(weights, order)
    left = np.add.reduceat(w, first, axis=1)
    events = np.add.reduceat(w * event[order], first, axis=1)
    at_risk = np.cumsum(left[:, ::-1], axis=1)[:, ::-1]
    reached = np.where(left > 0, times, -np.inf).max(axis=1)
    return Counts(times, at_risk, events, np.maximum(left - events, 0.0), reached)


def _product(times: Float64Array, leaving: Float64Array, at_risk: Float64Array, last: Float64Array) -> Curves:
    share = leaving / np.where(at_risk > 0, at_risk, 1.0)
    return Curves(times, np.asarray(np.cumprod(1 - share, axis=1), dtype=np.float64), 1.0, last)


def kaplan_meier(time: Float64Array, event: Float64Array, weights: Float64Array) -> Curves:
    """Return the survival curve (doi:10.1080/01621459.1958.10501452)."""
    c = counts(time, event, weights)
    return _product(c.times, c.events, c.at_risk, c.last)


def censoring_curve(time: Float64Array, event: Float64Array, weights: Float64Array) -> Curves:
    """Return G, the Kaplan-Meier curve of being uncensored; events of the same time have left the risk set before."""
    c = counts(time, event, weights)
    # Nobody stays at risk of being censored where all left had the event; rounding must not make it a sliver.
    at_risk = np.where(c.censored > 0, c.at_risk - c.events, 0.0)
    return _product(c.times, c.censored, at_risk, c.last)


def kaplan_meier_interval(
    time: Float64Array, event: Float64Array, t: Float64Array, *, level: float = 0.95
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return survival at ``t`` (points,) and its interval's ends, by Greenwood's variance on the log(-log) scale.

    The interval stays within 0 to 1 (doi:10.1002/9781118032985, section 1.4); it is NaN where survival is 0 or 1.
    """
    from scipy.stats import norm

    c = counts(time, event, np.ones((1, time.size)))
    survival = _product(c.times, c.events, c.at_risk, c.last).at(t)[0]
    left = c.at_risk - c.events
    terms = np.where(left > 0, c.events / np.where(left > 0, c.at_risk * left, 1.0), 0.0)
    variance = Curves(c.times, np.cumsum(terms, axis=1), 0.0, c.last).at(t)[0]
    inside = (survival > 0) & (survival < 1)
    log_survival = np.log(np.where(inside, survival, 0.5))
    half = norm.ppf(0.5 + level / 2) * np.sqrt(variance) / np.abs(log_survival)
    low, high = np.exp(log_survival * np.exp(half)), np.exp(log_survival * np.exp(-half))
    return survival, np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def nelson_aalen(time: Float64Array, event: Float64Array, weights: Float64Array) -> Curves:
    """Return the cumulative hazard (doi:10.1214/aos/1176344247)."""
    c = counts(time, event, weights)
    return Curves(c.times, np.cumsum(c.events / np.where(c.at_risk > 0, c.at_risk, 1.0), axis=1), 0.0, c.last)


class PairPlan(NamedTuple):
    """What the concordances need, sorted once: see :func:`genomix.models.kernels.concordance.ordered_pairs`."""

    row: IntArray
    asks: np.ndarray
    rank: IntArray


def plan_pairs(time: Float64Array, event: Float64Array, score: Float64Array) -> PairPlan:
    """Sort rows once for :func:`harrell_c` and :func:`uno_c`; a higher ``score`` (rows,) means an earlier event."""
    rows = np.arange(time.size)
    had, not_had = rows[event == 1], rows[event == 0]
    row = np.concatenate([not_had, had, had])
    turn = np.repeat([0, 1, 2], [not_had.size, had.size, had.size])  # censored go in, events ask, events go in
    order = np.lexsort((turn, -time[row]))
    return PairPlan(row[order], turn[order] == 1, np.unique(score, return_inverse=True)[1].reshape(-1))


def _concordance(plan: PairPlan, early: Float64Array, late: Float64Array) -> Float64Array:
    from genomix.models.kernels.concordance import ordered_pairs

    in_order, pairs = ordered_pairs(
        plan.row, plan.asks, plan.rank, np.ascontiguousarray(early.T), np.ascontiguousarray(late.T)
    )
    return np.where(pairs > 0, in_order / np.where(pairs > 0, pairs, 1.0), np.nan)


def harrell_c(plan: PairPlan, weights: Float64Array) -> Float64Array:
    """Return the share of comparable pairs in order, (resamples,); tied scores count half.

    Harrell 1982, doi:10.1001/jama.1982.03320430047030.

    A pair is comparable when the one with the earlier time had the event; of equal times, when one had the event and
    the other was censored. It depends on how long people were followed; :func:`uno_c` does not.
    """
    return _concordance(plan, weights, weights)


def uno_c(plan: PairPlan, time: Float64Array, weights: Float64Array, *, tau: float, censoring: Curves) -> Float64Array:
    """Return the concordance over events before ``tau``, each pair weighed by 1/G(t-)² (doi:10.1002/sim.4154).

    NaN for a resample in which ``censoring`` has no value at an event before ``tau``.
    """
    events = np.unique(plan.row[plan.asks])
    used = events[time[events] < tau]
    g = censoring.at(time[used], before=True)
    g = np.broadcast_to(g, (weights.shape[0], used.size))
    early = np.zeros_like(weights)
    w = pick(weights, used)
    with np.errstate(divide="ignore", invalid="ignore"):
        early[:, used] = np.where(w > 0, w / g**2, 0.0)
    unknown = ~np.isfinite(early).all(axis=1)
    early[unknown] = 0.0
    return np.where(unknown, np.nan, _concordance(plan, early, weights))


class _AtHorizon(NamedTuple):
    """Rows whose state at the horizon is known, (rows,) bool, and weights times IPCW (resamples, rows), else 0."""

    case: np.ndarray
    control: np.ndarray
    weights: Float64Array


def _at_horizon(
    time: Float64Array, event: Float64Array, weights: Float64Array, horizon: float, censoring: Curves
) -> _AtHorizon:
    case, control = (time <= horizon) & (event == 1), time > horizon
    g = np.ones_like(weights)
    g[:, case] = censoring.at(time[case], before=True)
    g[:, control] = censoring.at(np.array([horizon]))
    known = (case | control) & (weights > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _AtHorizon(case, control, np.where(known, weights / np.where(g > 0, g, np.nan), 0.0))


def dynamic_auroc(
    time: Float64Array, event: Float64Array, score: Float64Array, weights: Float64Array, *, horizon: float,
    censoring: Curves | None = None,
) -> Float64Array:  # fmt: skip
    """Return the cumulative/dynamic AUROC (resamples,): who had the event by ``horizon`` against who was beyond it.

    Cases weigh 1/G(t-); controls weigh alike (doi:10.1198/016214507000000149, doi:10.1111/j.0006-341X.2005.030814.x).
    """
    g = censoring_curve(time, event, weights) if censoring is None else censoring
    known = _at_horizon(time, event, weights, horizon, g)
    rows = np.flatnonzero(known.case | known.control)
    w = known.weights[:, rows]
    unknown = ~np.isfinite(w).all(axis=1)
    found = auroc(plan_ranks(known.case[rows].astype(np.float64), score[rows]), np.where(np.isfinite(w), w, 0.0))
    return np.where(unknown, np.nan, found)


def brier(
    time: Float64Array, event: Float64Array, survival: Float64Array, weights: Float64Array, *, horizon: float,
    censoring: Curves | None = None,
) -> Float64Array:  # fmt: skip
    """Return the IPCW Brier score (resamples,) of ``survival`` (rows,) at ``horizon``.

    doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5; 0 is ideal. NaN where nobody is
    followed beyond the horizon.
    """
    g = censoring_curve(time, event, weights) if censoring is None else censoring
    known = _at_horizon(time, event, weights, horizon, g)
    error = (known.weights * (survival - known.control) ** 2).sum(axis=1)
    followed = (weights * known.control).sum(axis=1) > 0
    return np.where(followed, error / weights.sum(axis=1), np.nan)


def integrated_brier(
    time: Float64Array, event: Float64Array, survival: Float64Array, weights: Float64Array, *, horizons: Float64Array,
    censoring: Curves | None = None,
) -> Float64Array:  # fmt: skip
    """Return the Brier score averaged over ``horizons`` (points,) by the trapezoidal rule; ``survival`` (rows, points).

    Raises
    ------
    FormatError: fewer than two horizons, or horizons that do not increase.
    """
    if horizons.size < 2 or (np.diff(horizons) <= 0).any():
        raise FormatError("an integrated Brier score needs two or more increasing horizons")
    g = censoring_curve(time, event, weights) if censoring is None else censoring
    scores = np.column_stack(
        [brier(time, event, survival[:, k], weights, horizon=float(h), censoring=g) for k, h in enumerate(horizons)]
    )
    return np.asarray(np.trapezoid(scores, horizons, axis=1) / (horizons[-1] - horizons[0]))


def event_share(time: Float64Array, event: Float64Array, weights: Float64Array, *, horizon: float) -> Float64Array:
    """Return 1 - Kaplan-Meier at ``horizon``, (resamples,); NaN where nobody is followed that far."""
    return 1 - kaplan_meier(time, event, weights).at(np.array([horizon]))[:, 0]


def expected_observed(
    time: Float64Array, event: Float64Array, risk: Float64Array, weights: Float64Array, *, horizon: float
) -> Float64Array:
    """Return the mean predicted ``risk`` (rows,) by ``horizon`` over 1 - Kaplan-Meier, (resamples,); 1 is ideal.

    NaN where nobody had the event or nobody is followed that far.
    """
    observed = event_share(time, event, weights, horizon=horizon)
    expected = weights @ risk / weights.sum(axis=1)
    return np.where(observed > 0, expected / np.where(observed > 0, observed, 1.0), np.nan)


class CalibrationGroup(NamedTuple):
    """One group of similar predictions: rows, mean predicted risk, and 1 - Kaplan-Meier with its interval."""

    n_rows: int
    expected: float
    observed: float
    low: float
    high: float


def calibration_groups(
    time: Float64Array, event: Float64Array, risk: Float64Array, *, horizon: float, n_groups: int = 10
) -> list[CalibrationGroup]:
    """Return predicted and observed risk by ``horizon`` in groups of equal size by ``risk`` (rows,).

    Equal predictions stay together, so there may be fewer groups.
    """
    cuts = np.unique(np.quantile(risk, np.arange(1, n_groups) / n_groups))
    group = np.searchsorted(cuts, risk, side="left")
    found = []
    for number in np.unique(group):
        here = group == number
        survival, low, high = kaplan_meier_interval(time[here], event[here], np.array([horizon]))
        found.append(
            CalibrationGroup(int(here.sum()), float(risk[here].mean()), float(1 - survival[0]), float(1 - high[0]),
                             float(1 - low[0]))
        )  # fmt: skip
    return found
