"""Penalised linear and logistic regression along a path of penalties, the same bytes for any thread count.

Minimised (glmnet's convention, doi:10.18637/jss.v033.i01), with weights ``w`` that sum to one and ``a`` the L1 share::

    sum_i w_i loss_i(b0 + x_i'b)  +  penalty * ( (1 - a)/2 |b|_2^2 + a |b|_1 )

where loss is half the squared error or the log loss. The intercept is not penalised. Ridge (a = 0) is solved by
Newton's method; with a > 0 each Newton step is an elastic net, solved by scikit-learn's coordinate descent.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from genomix.models.model import Float64Array, Objective, sigmoid

_MAX_NEWTON_STEPS = 50
_MAX_SWEEPS = 5000
_TOLERANCE = 1e-9
_LEAST_CURVATURE = 1e-6
_MANY_ROWS = 20_000  # from here on the descent runs over products of columns, made once a step, and not over rows


class Coefficients(NamedTuple):
    """Intercept and one coefficient per column of the design."""

    intercept: float
    slopes: Float64Array


def fit_path(
    Z: Float64Array, y: Float64Array, weights: Float64Array | None, *, objective: Objective, l1_share: float,
    penalties: Sequence[float],
) -> Iterator[Coefficients]:  # fmt: skip
    """Yield the coefficients for each penalty, in the order given (largest first warms the later ones).

    Parameters
    ----------
    Z: design, float64 (rows, columns), standardised, without missing values or an intercept column.
    y: (rows,) 0/1 or a quantity.
    weights: (rows,) positive, or None for equal weights.
    l1_share: 0 is ridge, 1 is the lasso.
    penalties: positive numbers.
    """
    w = np.full(y.size, 1.0 / y.size) if weights is None else weights / weights.sum()
    start = _null_model(y, w, Z.shape[1], objective)
    for penalty in penalties:
        start = _newton(Z, y, w, objective, start, penalty * (1 - l1_share), penalty * l1_share)
        yield start


def largest_useful_penalty(Z: Float64Array, y: Float64Array, weights: Float64Array | None, l1_share: float) -> float:
    """Return the penalty from which on no slope is left; an L1 share under 0.01, which leaves all, counts as 0.01."""
    w = np.full(y.size, 1.0 / y.size) if weights is None else weights / weights.sum()
    gradient = np.abs(Z.T @ (w * (y - w @ y)))
    return float(gradient.max(initial=0.0)) / max(l1_share, 0.01) or 1.0


def objective_value(
    Z: Float64Array,
    y: Float64Array,
    w: Float64Array,
    found: Coefficients,
    *,
    objective: Objective,
    l2: float,
    l1: float,
) -> float:
    """Return the minimised function; ``w`` sums to one."""
    eta = found.intercept + Z @ found.slopes
    loss = np.logaddexp(0.0, eta) - y * eta if objective == "binary" else 0.5 * (y - eta) ** 2
    slopes = found.slopes
    return float(w @ loss + 0.5 * l2 * slopes @ slopes + l1 * np.abs(slopes).sum())


def _null_model(y: Float64Array, w: Float64Array, columns: int, objective: Objective) -> Coefficients:
    mean = float(w @ y)
    return Coefficients(float(np.log(mean / (1 - mean))) if objective == "binary" else mean, np.zeros(columns))


def _newton(
    Z: Float64Array, y: Float64Array, w: Float64Array, objective: Objective, start: Coefficients, l2: float, l1: float
) -> Coefficients:
    """Minimise from ``start``; every step is halved until the function does not rise."""
    found = start
    value = objective_value(Z, y, w, found, objective=objective, l2=l2, l1=l1)
    for _ in range(_MAX_NEWTON_STEPS):
        target = _quadratic_minimum(Z, y, w, objective, found, l2, l1)
        share = 1.0
        while True:
            trial = Coefficients(
                found.intercept + share * (target.intercept - found.intercept),
                found.slopes + share * (target.slopes - found.slopes),
            )
            trial_value = objective_value(Z, y, w, trial, objective=objective, l2=l2, l1=l1)
            if trial_value <= value or share < 1e-4:
                break
            share /= 2
        if trial_value >= value - 1e-12 * (1.0 + abs(value)):
            return trial if trial_value <= value else found
        found, value = trial, trial_value
    return found


def _quadratic_minimum(
    Z: Float64Array, y: Float64Array, w: Float64Array, objective: Objective, at: Coefficients, l2: float, l1: float
) -> Coefficients:
    """Minimise the second-order expansion at ``at`` plus the penalty."""
    eta = at.intercept + Z @ at.slopes
    mean = sigmoid(eta) if objective == "binary" else eta
    curvature = w * np.maximum(mean * (1 - mean), _LEAST_CURVATURE) if objective == "binary" else w
    total = float(curvature.sum())
    working = eta + w * (y - mean) / curvature
    centre = curvature @ Z / total
    middle = float(curvature @ working) / total
    root = np.sqrt(curvature)
    design, response = (Z - centre) * root[:, None], (working - middle) * root
    if not Z.shape[1]:
        slopes = at.slopes
    elif l1 == 0.0:
        slopes = ridge(design, response, l2)
    else:
        slopes = elastic_net(design, response, at.slopes, l2, l1)
    return Coefficients(middle - float(centre @ slopes), np.asarray(slopes, dtype=np.float64))


def ridge(design: Float64Array, response: Float64Array, l2: float) -> Float64Array:
    """Minimise |r - Xb|^2/2 + l2 |b|^2/2 in the smaller of the two spaces, columns or rows."""
    rows, columns = design.shape
    if columns <= rows:
        gram = design.T @ design
        gram[np.diag_indices_from(gram)] += l2
        return np.asarray(np.linalg.solve(gram, design.T @ response))
    kernel = design @ design.T
    kernel[np.diag_indices_from(kernel)] += l2
    return np.asarray(design.T @ np.linalg.solve(kernel, response))


def elastic_net(
    design: Float64Array, response: Float64Array, start: Float64Array, l2: float, l1: float
) -> Float64Array:
    """Minimise |r - Xb|^2/2 + l2 |b|^2/2 + l1 |b|_1 by scikit-learn's coordinate descent, from ``start``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import ElasticNet

    # scikit-learn divides the squares by twice the rows, so both penalties are divided by the rows.
    rows = design.shape[0]
    # The cyclic descent draws nothing, but without a seed scikit-learn advances NumPy's shared generator.
    net = ElasticNet(
        alpha=(l1 + l2) / rows, l1_ratio=l1 / (l1 + l2), fit_intercept=False, warm_start=True, tol=_TOLERANCE,
        max_iter=_MAX_SWEEPS, random_state=0, precompute=rows >= _MANY_ROWS and design.shape[1] < rows // 10,
    )  # fmt: skip
    net.coef_ = start.copy()
    with warnings.catch_warnings():
        # the outer loop halves its step until the function falls, so a step that is a little off does no harm
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(np.asfortranarray(design), response)
    return np.asarray(net.coef_, dtype=np.float64)
