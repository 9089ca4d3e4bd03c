"""Whether a genotype is a copy of the covariates: correlations and variance inflation factors of all predictors.

The variance inflation factor of predictor j is the j-th diagonal element of the inverse correlation matrix (Belsley,
Kuh and Welsch 1980, doi:10.1002/0471725153). With the covariates' inverse A, the correlations r of genotype and
covariates and s = 1 - r'Ar, it is 1 / s for the genotype and A_jj + (Ar)_j^2 / s for a covariate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Collinear(NamedTuple):
    """bool (m,): a correlation, or a variance inflation factor, beyond its limit."""

    correlation: BoolArray
    vif: BoolArray


def vif_reference(predictors: FloatArray) -> tuple[float, FloatArray]:
    """Return the largest absolute correlation of two columns (n, q), and each column's variance inflation factor."""
    correlations = np.atleast_2d(np.corrcoef(predictors, rowvar=False))
    largest = np.abs(correlations - np.eye(len(correlations))).max()
    return float(largest), np.diag(np.linalg.inv(correlations))


def collinear(
    on_covariates: FloatArray, count: FloatArray, squares: FloatArray, between: FloatArray, n: int,
    *, max_vif: float, max_correlation: float,
) -> Collinear:  # fmt: skip
    """Check each genotype of a tile beside the covariates, everybody called.

    Parameters
    ----------
    on_covariates: float64 (m, q) products of genotypes with the covariates, which are centred with sum of squares n.
    count, squares: sums of each genotype and of its square. between: float64 (q, q) products of the covariates.
    """
    m, q = on_covariates.shape
    if q == 0:
        return Collinear(np.zeros(m, dtype=np.bool_), np.zeros(m, dtype=np.bool_))
    inverse = np.linalg.inv(between / n)
    own = np.diag(inverse)
    with np.errstate(all="ignore"):
        r = on_covariates / np.sqrt(n * (squares - count**2 / n))[:, None]
        solved = r @ inverse
        s = 1 - np.einsum("ij,ij->i", r, solved)
        vif = np.maximum(1 / s, ((own + solved**2 / s[:, None]) / _allowance(own, max_vif)).max(axis=1))
        bad = ~(vif <= max_vif) | ~(s > 0)
        return Collinear(np.abs(r).max(axis=1) > max_correlation, bad)


def collinear_incomplete(
    on_covariates: FloatArray, count: FloatArray, squares: FloatArray, between: FloatArray, gone: FloatArray, n: int,
    *, max_vif: float, max_correlation: float,
) -> Collinear:  # fmt: skip
    """The same among those with a call: their covariances are the sums of all less those of the others.

    ``gone`` float64 (m, q + 1, q + 1): products of intercept and covariates summed over people without a call.
    """
    m, q = on_covariates.shape
    if q == 0:
        return Collinear(np.zeros(m, dtype=np.bool_), np.zeros(m, dtype=np.bool_))
    own = np.diag(np.linalg.inv(between / n))
    left = n - gone[:, 0, 0]
    sums = np.concatenate([-gone[:, 0, 1:], count[:, None]], axis=1)
    moments = np.empty((m, q + 1, q + 1))
    moments[:, :q, :q] = between - gone[:, 1:, 1:]
    moments[:, :q, q] = moments[:, q, :q] = on_covariates
    moments[:, q, q] = squares
    with np.errstate(all="ignore"):
        moments -= sums[:, :, None] * sums[:, None, :] / left[:, None, None]
        scale = 1 / np.sqrt(np.einsum("ijj->ij", moments))
        correlations = moments * scale[:, :, None] * scale[:, None, :]
    sound = np.isfinite(correlations).all(axis=(1, 2))
    correlations[~sound] = np.eye(q + 1)
    off = np.abs(correlations)
    off[:, np.arange(q + 1), np.arange(q + 1)] = 0.0
    bad_correlation = (off[:, q].max(axis=1) > max_correlation) | (
        (off.max(axis=(1, 2)) > max_correlation) & (_largest(between / n) <= max_correlation)
    )
    sound &= np.linalg.det(correlations) > 1e-14
    correlations[~sound] = np.eye(q + 1)
    vif = np.einsum("ijj->ij", np.linalg.inv(correlations))
    vif[:, :q] /= _allowance(own, max_vif)
    return Collinear(bad_correlation, ~sound | (vif.max(axis=1) > max_vif))


def _largest(correlations: FloatArray) -> float:
    return float(np.abs(correlations - np.diag(np.diag(correlations))).max(initial=0.0))


def _allowance(own: FloatArray, max_vif: float) -> FloatArray:
    """Covariates that inflate each other beyond the limit without any genotype are the user's choice, not a finding."""
    return np.maximum(1.0, own * 1.001 / max_vif)
