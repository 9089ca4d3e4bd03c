"""Many small weighted logistic regressions at once: recalibration and smooth calibration curves under the bootstrap."""

from __future__ import annotations

import numpy as np

from genomix.models.model import Float64Array

_STEPS = 15
_LARGEST_STEP = 3.0
_TOLERANCE = 1e-5
"""A step this small leaves an error of about its square: Newton's method converges quadratically."""
_RIDGE = 1e-10


def logit(probability: Float64Array) -> Float64Array:
    """Return log-odds; probabilities of 0 and 1 count as 1e-12 from the end.

    >>> logit(np.array([0.5])).tolist()
    [0.0]
    """
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p))


def weighted_logistic(
    design: Float64Array, y: Float64Array, weights: Float64Array, *, offset: Float64Array | None = None,
    start: Float64Array | None = None,
) -> Float64Array:  # fmt: skip
    """Return the maximum-likelihood coefficients under each row of weights, by Newton's method.

    Parameters
    ----------
    design: float64 (rows, k), few columns, the intercept among them where one is wanted.
    y: (rows,) 0/1.
    weights: (resamples, rows), not negative.
    offset: (rows,) added to the linear predictor with coefficient 1.
    start: (k,) coefficients to start from, e.g. those of the whole sample.

    Returns
    -------
    float64 (resamples, k); NaN where a resample has one class only or the fit did not settle (separation).
    """
    n, k = design.shape
    # Orthonormal columns: the cubic terms of a spline are nearly collinear, and Newton's steps lose digits there.
    basis, triangle = np.linalg.qr(design)
    basis *= np.sqrt(n)
    triangle /= np.sqrt(n)
    theta = np.tile(np.zeros(k) if start is None else triangle @ start, (weights.shape[0], 1))
    pairs = np.einsum("ij,ik->ijk", basis, basis).reshape(n, k * k)
    live = (weights @ y > 0) & (weights @ (1 - y) > 0)
    theta[~live] = np.nan
    pending = np.flatnonzero(live)
    for _ in range(_STEPS):
        if not pending.size:
            break
        # Every resample is pending at first: a copy of all weights is avoided.
        w = weights if pending.size == weights.shape[0] else weights[pending]
        step = _newton_step(basis, pairs, y, w, theta[pending], offset)
        size = np.abs(step).max(axis=1)
        theta[pending] += step * np.minimum(1.0, _LARGEST_STEP / np.maximum(size, _LARGEST_STEP))[:, None]
        pending = pending[size > _TOLERANCE]
    theta[pending] = np.nan
    return np.asarray(np.linalg.solve(triangle, theta.T).T)


def _newton_step(
    basis: Float64Array, pairs: Float64Array, y: Float64Array, w: Float64Array, theta: Float64Array,
    offset: Float64Array | None,
) -> Float64Array:  # fmt: skip
    k = basis.shape[1]
    mean = theta @ basis.T
    if offset is not None:
        mean += offset
    _sigmoid_in_place(mean)
    residual = y - mean
    residual *= w
    gradient = residual @ basis
    np.subtract(1.0, mean, out=residual)
    mean *= residual
    mean *= w
    hessian = (mean @ pairs).reshape(-1, k, k)
    hessian[:, np.arange(k), np.arange(k)] += _RIDGE * y.size
    return np.asarray(np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0])


def _sigmoid_in_place(x: Float64Array) -> None:
    """Replace x by 1 / (1 + exp(-x)); the arrays are large, so no temporary is made."""
    np.negative(x, out=x)
    with np.errstate(over="ignore"):
        np.exp(x, out=x)
    x += 1.0
    np.reciprocal(x, out=x)
