"""Measures of discrimination, calibration and error, for many sets of row weights at once.

``weights`` is float64 (resamples, rows) everywhere: one row of ones gives the point estimate, one row per bootstrap
resample gives its distribution. A measure is NaN where it has no value (one class only, nothing varies).

Predictions of several folds come from several models, whose scales differ a little; pooling them biases rank measures,
downwards where a fold's model predicts its training prevalence (doi:10.1145/1882471.1882479). So AUROC compares pairs
of the same fold only (pairs weigh equally), average precision takes each event's precision within its fold, and
Pearson's r correlates deviations from the fold's means. Measures of absolute error and calibration are pooled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.models.logistic import logit, weighted_logistic
from genomix.models.model import Float64Array

IntArray = npt.NDArray[np.int64]

BINARY_METRICS = (
    "auroc", "auprc", "brier", "brier_skill", "log_loss", "calibration_slope", "calibration_intercept",
    "expected_observed", "ici",
)  # fmt: skip
REGRESSION_METRICS = ("r2", "rmse", "mae", "pearson_r")

_KNOT_SHARES = {3: (0.1, 0.5, 0.9), 5: (0.05, 0.275, 0.5, 0.725, 0.95)}
_EVENTS_FOR_FIVE_KNOTS = 100


class RankPlan(NamedTuple):
    """What rank measures need, sorted once: rows are sorted by fold, then by prediction.

    ``below`` and ``up_to`` count, for each event, the sorted non-events before its fold's end that are smaller, and
    smaller or tied; ``same_from`` is the first event tied with it. The others are the folds' borders.
    """

    events: IntArray
    non_events: IntArray
    below: IntArray
    up_to: IntArray
    same_from: IntArray
    event_fold: IntArray
    event_borders: IntArray
    non_event_borders: IntArray


def plan_ranks(y: Float64Array, p: Float64Array, fold: IntArray | None = None) -> RankPlan:
    """Sort rows once for :func:`auroc` and :func:`average_precision`.

    Parameters
    ----------
    y: (rows,) 0/1.
    p: (rows,) predictions; only their order within a fold matters.
    fold: (rows,) fold of each row, or None for one fold.
    """
    folds = np.zeros(y.size, dtype=np.int64) if fold is None else np.unique(fold, return_inverse=True)[1].reshape(-1)
    # Equal numbers stand for equal (fold, prediction), so one search finds the place among the non-events.
    rank = np.unique(np.column_stack([folds, p]), axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(rank, kind="stable")
    events, non_events = order[y[order] == 1], order[y[order] == 0]
    borders = np.arange(int(folds.max(initial=0)) + 2)
    return RankPlan(
        events, non_events,
        np.searchsorted(rank[non_events], rank[events], side="left"),
        np.searchsorted(rank[non_events], rank[events], side="right"),
        np.searchsorted(rank[events], rank[events], side="left"),
        folds[events],
        np.searchsorted(folds[events], borders),
        np.searchsorted(folds[non_events], borders),
    )  # fmt: skip


def auroc(plan: RankPlan, weights: Float64Array) -> Float64Array:
    """Return the share of (event, non-event) pairs of one fold that are in order; ties count half.

    This is the weighted Mann-Whitney statistic (doi:10.1148/radiology.143.1.7063747).
    """
    w_event, below = pick(weights, plan.events), _cumulated(pick(weights, plan.non_events))
    ahead = pick(below, plan.below)
    if not np.array_equal(plan.below, plan.up_to):
        ahead = (ahead + pick(below, plan.up_to)) / 2
    events = np.diff(_cumulated(w_event)[:, plan.event_borders], axis=1)
    at_border = below[:, plan.non_event_borders]
    pairs = (events * np.diff(at_border, axis=1)).sum(axis=1)
    in_order = (w_event * ahead).sum(axis=1) - (events * at_border[:, :-1]).sum(axis=1)
    return _ratio(in_order, pairs)


def average_precision(plan: RankPlan, weights: Float64Array) -> Float64Array:
    """Return the mean, over events, of the precision at the event's own prediction, within its fold.

    Without folds this is scikit-learn's ``average_precision_score``; it is not an interpolated area.
    """
    w_event = pick(weights, plan.events)
    events, below = _cumulated(w_event), _cumulated(pick(weights, plan.non_events))
    end = plan.event_fold + 1
    true_positive = pick(events, plan.event_borders[end]) - pick(events, plan.same_from)
    false_positive = pick(below, plan.non_event_borders[end]) - pick(below, plan.below)
    precision = _ratio(true_positive, true_positive + false_positive)
    has_both = (below[:, -1] > 0) & (events[:, -1] > 0)
    total = np.where(w_event > 0, w_event * precision, 0.0).sum(axis=1)
    return np.where(has_both, _ratio(total, events[:, -1]), np.nan)


def log_losses(y: Float64Array, p: Float64Array) -> Float64Array:
    """Return each row's negative log-likelihood, in nats; certain predictions count as double precision's nearest."""
    tiny = np.finfo(np.float64).eps
    q = np.clip(p, tiny, 1 - tiny)
    return np.asarray(-(y * np.log(q) + (1 - y) * np.log1p(-q)))


def calibration_slope(y: Float64Array, p: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the slope of the outcome's log-odds on the predicted log-odds (Cox 1958; doi:10.1186/s12916-019-1466-7).

    1 is ideal; below 1 the predictions are too extreme.
    """
    x = logit(p)
    if not varies(x):
        return np.full(weights.shape[0], np.nan)
    design = np.column_stack([np.ones_like(x), x])
    start = weighted_logistic(design, y, np.ones((1, y.size)))[0]
    return weighted_logistic(design, y, weights, start=start if np.isfinite(start).all() else None)[:, 1]


def calibration_intercept(y: Float64Array, p: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the intercept when the slope is held at 1: calibration in the large, in log-odds; 0 is ideal."""
    design = np.ones((y.size, 1))
    start = weighted_logistic(design, y, np.ones((1, y.size)), offset=logit(p))[0]
    start_or_none = start if np.isfinite(start).all() else None
    return weighted_logistic(design, y, weights, offset=logit(p), start=start_or_none)[:, 0]


def smooth_calibration(
    y: Float64Array, p: Float64Array, weights: Float64Array, *, at: Float64Array | None = None
) -> Float64Array:
    """Return the outcome's probability given the prediction: logistic regression on a natural cubic spline.

    The spline is of the predicted log-odds, with 5 knots at fixed quantiles of the predictions (3 when events or
    non-events are fewer than 100; a straight line when the quantiles coincide), as in doi:10.1002/sim.8281.

    Parameters
    ----------
    at: (points,) predictions at which the curve is wanted; the rows' own by default.

    Returns
    -------
    float64 (resamples, points), NaN for a resample whose fit did not settle.
    """
    fewest = min(float((y == 1).sum()), float((y == 0).sum()))
    knots = spline_knots(logit(p), 5 if fewest >= _EVENTS_FOR_FIVE_KNOTS else 3)
    design = natural_spline(logit(p), knots)
    start = weighted_logistic(design, y, np.ones((1, y.size)))[0]
    beta = weighted_logistic(design, y, weights, start=start if np.isfinite(start).all() else None)
    points = design if at is None else natural_spline(logit(at), knots)
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-(beta @ points.T))))


def spline_knots(x: Float64Array, count: int) -> Float64Array:
    """Return knots at Harrell's quantiles (doi:10.1007/978-3-319-19425-7, table 2.3); empty when two would coincide."""
    knots = np.quantile(x, _KNOT_SHARES[count])
    return knots if (np.diff(knots) > 1e-6 * max(1.0, float(np.ptp(x)))).all() else np.empty(0)


def natural_spline(x: Float64Array, knots: Float64Array) -> Float64Array:
    """Return intercept, x and the restricted cubic terms of x, (points, max(2, knots)); linear beyond the end knots."""
    columns = [np.ones_like(x), x]
    if knots.size:
        last, before = knots[-1], knots[-2]
        width = last - knots[0]

        def cube(t: float) -> Float64Array:
            return np.asarray(np.maximum((x - t) / width, 0.0) ** 3)

        for t in knots[:-2]:
            part = cube(t) - cube(before) * (last - t) / (last - before) + cube(last) * (before - t) / (last - before)
            columns.append(part)
    return np.column_stack(columns)


def integrated_calibration_index(y: Float64Array, p: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the mean absolute distance between predictions and the smooth curve (doi:10.1002/sim.8281); 0 is ideal."""
    if not varies(logit(p)):
        return np.full(weights.shape[0], np.nan)
    distance = np.abs(smooth_calibration(y, p, weights) - p)
    return _ratio((weights * distance).sum(axis=1), weights.sum(axis=1))


def pearson_r(y: Float64Array, p: Float64Array, weights: Float64Array, fold: IntArray | None = None) -> Float64Array:
    """Return Pearson's correlation of deviations from the fold's means."""
    folds = np.zeros(y.size, dtype=np.int64) if fold is None else fold
    yy, pp, yp = (np.zeros(weights.shape[0]) for _ in range(3))
    for number in np.unique(folds):
        rows = np.flatnonzero(folds == number)
        w = weights[:, rows]
        # Centred first, so that the difference of squares loses no digits.
        a, b = y[rows] - y[rows].mean(), p[rows] - p[rows].mean()
        total = w.sum(axis=1)
        mean_a, mean_b = _ratio(w @ a, total), _ratio(w @ b, total)
        yy += np.nan_to_num(w @ (a * a) - total * mean_a**2)
        pp += np.nan_to_num(w @ (b * b) - total * mean_b**2)
        yp += np.nan_to_num(w @ (a * b) - total * mean_a * mean_b)
    floor = 1e-12 * max(1.0, float(np.abs(p).max(initial=0.0))) ** 2
    return np.where((yy > 0) & (pp > floor), _ratio(yp, np.sqrt(np.maximum(yy * pp, 0.0))), np.nan)


def r_squared(
    y: Float64Array, p: Float64Array, weights: Float64Array, reference: Float64Array | None = None
) -> Float64Array:
    """Return 1 - squared error / squared error of the reference; below 0 the reference is the better prediction.

    ``reference`` (rows,) is what one would predict without the model (each fold's training mean); without it the
    weighted mean of the rows themselves, as scikit-learn does.
    """
    error = weights @ (y - p) ** 2
    if reference is not None:
        return 1.0 - _ratio(error, weights @ (y - reference) ** 2)
    a = y - y.mean()
    total = weights.sum(axis=1)
    return 1.0 - _ratio(error, weights @ (a * a) - total * _ratio(weights @ a, total) ** 2)


def varies(x: Float64Array) -> bool:
    """Say whether predictions differ by more than rounding."""
    return bool(x.size and np.ptp(x) > 1e-9 * max(1.0, float(np.abs(x).max())))


def pick(values: Float64Array, columns: IntArray) -> Float64Array:
    """Return ``values[:, columns]``; several times faster, because bounds are not checked one by one."""
    return np.take(values, columns, axis=1, mode="clip")


def _cumulated(weights: Float64Array) -> Float64Array:
    """Return cumulative sums along the rows with a leading zero."""
    out = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=out[:, 1:])
    return out


def _ratio(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    """Divide; NaN where the denominator is not positive."""
    safe = np.where(denominator > 0, denominator, 1.0)
    return np.where(denominator > 0, numerator / safe, np.nan)
