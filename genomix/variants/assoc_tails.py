"""Two-sided p values with their far tails: -log10(P) stays exact where P itself is smaller than any float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_LN10 = 2.302585092994045684
_SMALLEST = 1e-280
_SERIES_END = 1e-17


class TailP(NamedTuple):
    """P (0 where it underflows) and -log10(P), float64, NaN where the statistic is."""

    p: FloatArray
    minus_log10_p: FloatArray


def t_two_sided(t: Any, df: Any) -> TailP:
    """Return the two-sided p value of Student's t.

    P is the regularised incomplete beta function I_x(df/2, 1/2) at x = df / (df + t^2); where it underflows, its
    logarithm is summed from the hypergeometric series (DLMF 8.17.8).

    >>> float(t_two_sided(1.0, 1).p).__round__(12)  # Cauchy: 1 - 2 atan(1) / pi
    0.5
    """
    from scipy.special import betainc, betaln

    squares, half_df = np.broadcast_arrays(np.asarray(t, dtype=np.float64) ** 2, np.asarray(df, dtype=np.float64) / 2)
    with np.errstate(all="ignore"):
        x = 2 * half_df / (2 * half_df + squares)
        p = np.asarray(betainc(half_df, 0.5, x))
        logs = np.asarray(-np.log10(p))
    far = np.isfinite(squares) & (p < _SMALLEST)
    if far.any():
        a, x_far = half_df[far], x[far]
        front = a * np.log(x_far) + 0.5 * np.log1p(-x_far) - np.log(a) - betaln(a, 0.5)
        logs[far] = -(front + np.log(_series(a, x_far))) / _LN10
    return TailP(p, logs + 0.0)


def _series(a: FloatArray, x: FloatArray) -> FloatArray:
    """2F1(a + 1/2, 1; a + 1; x): terms fall at least as fast as powers of x."""
    total, term, k = np.ones_like(x), np.ones_like(x), 0
    while bool((term > _SERIES_END * total).any()) and k < 1_000_000:
        term = term * x * (a + 0.5 + k) / (a + 1 + k)
        total = total + term
        k += 1
    return total


def z_two_sided(z: Any) -> TailP:
    """Return the two-sided p value of a standard normal; of a chi-square with one degree of freedom, by its root.

    >>> round(float(z_two_sided(40.0).minus_log10_p), 3)
    349.136
    """
    from scipy.special import log_ndtr

    log_p = np.log(2.0) + np.asarray(log_ndtr(-np.abs(np.asarray(z, dtype=np.float64))))
    log_p = np.minimum(log_p, 0.0)
    return TailP(np.exp(log_p), -log_p / _LN10 + 0.0)


def chi_square_of(minus_log10_p: Any) -> FloatArray:
    """Return the chi-square (one degree of freedom) whose upper tail is 10 ** -minus_log10_p.

    Used for the inflation factor, so that t, z and likelihood-ratio tests are compared on one scale.
    """
    from scipy.special import ndtri_exp

    log_half = -np.asarray(minus_log10_p, dtype=np.float64) * _LN10 - np.log(2.0)
    return np.asarray(ndtri_exp(log_half) ** 2)


CHI_SQUARE_MEDIAN = 0.45493642311957283


def inflation_factor(minus_log10_p: Any) -> float:
    """Return lambda GC: the median chi-square over the one expected without association; NaN without a test.

    Devlin and Roeder 1999 (doi:10.1111/j.0006-341x.1999.00997.x). Above 1 it may tell of structure, kinship or
    polygenicity alike; few or linked variants make it uncertain.

    >>> round(inflation_factor([0.3010299956639812]), 6)
    1.0
    """
    values = np.asarray(minus_log10_p, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(np.median(chi_square_of(values)) / CHI_SQUARE_MEDIAN) if len(values) else float("nan")
