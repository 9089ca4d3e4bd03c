"""Two-sided p values with their far tails: -log10(P) stays exact where P itself is smaller than any float64."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_LN10 = 2.302585092994045684
_HALF_LN_PI = 0.57236494292470008707
_TINY = 1e-300
_LARGEST_SHORT = 290.0
_LAST = 2.3e-16


class TailP(NamedTuple):
    """P (0 where it underflows) and -log10(P), float64, NaN where the statistic is."""

    p: FloatArray
    minus_log10_p: FloatArray


def t_two_sided(t: Any, df: Any) -> TailP:
    """Return the two-sided p value of Student's t: 12 digits up to 10,000 degrees of freedom, 8 at 10 million.

    P is the regularised incomplete beta function I_x(df/2, 1/2) at x = df / (df + t^2), by its continued fraction
    (DLMF 8.17.22) in logarithms, so that the far tail stays exact; near t = 0 by 1 - I_{1-x}(1/2, df/2).

    >>> float(t_two_sided(1.0, 1).p).__round__(12)  # Cauchy: 1 - 2 atan(1) / pi
    0.5
    """
    squares, all_df = np.broadcast_arrays(np.asarray(t, dtype=np.float64) ** 2, np.asarray(df, dtype=np.float64))
    logs = np.full(squares.shape, np.nan)
    known = np.isfinite(squares) & (all_df > 0)
    logs[known] = _log_p(squares[known], all_df[known])
    logs[np.isposinf(squares) & (all_df > 0)] = -np.inf
    return TailP(np.exp(logs), -logs / _LN10 + 0.0)


def _log_p(squares: FloatArray, df: FloatArray) -> FloatArray:
    a = df / 2
    log_x = -np.log1p(squares / df)
    rest = squares / (df + squares)
    with np.errstate(divide="ignore"):
        front = a * log_x + 0.5 * np.log(rest) - _log_beta_half(a)
    upper = np.exp(log_x) < (a + 1) / (a + 2.5)
    out = np.zeros_like(a)
    out[upper] = front[upper] + np.log(_fraction(a[upper], np.full(int(upper.sum()), 0.5), np.exp(log_x[upper])))
    out[upper] -= np.log(a[upper])
    near = ~upper
    lower = np.exp(front[near]) * _fraction(np.full(int(near.sum()), 0.5), a[near], rest[near]) / 0.5
    out[near] = np.log1p(-lower)
    return np.minimum(out, 0.0)


def _log_beta_half(a: FloatArray) -> FloatArray:
    """log B(a, 1/2); from a = 20 on by the series of log(Gamma(a + 1/2) / Gamma(a)), which loses no digits."""
    values, place = np.unique(a, return_inverse=True)
    found = np.empty_like(values)
    for at, one in enumerate(values.tolist()):
        if one < 20:
            ratio = math.lgamma(one + 0.5) - math.lgamma(one)
        else:
            v = 1 / one
            series = v * (-1 / 8 + v**2 * (1 / 192 + v**2 * (-1 / 640 + v**2 * (17 / 14336 - v**2 * 31 / 18432))))
            ratio = 0.5 * math.log(one) + series
        found[at] = _HALF_LN_PI - ratio
    return found[place]


def _fraction(a: FloatArray, b: FloatArray, x: FloatArray) -> FloatArray:
    """The continued fraction of I_x(a, b) by Lentz's method; an element stops for itself, whatever its neighbours."""
    out = np.ones_like(x)
    active = np.arange(len(x))
    c = np.ones_like(x)
    d = 1 / _away(1 - (a + b) * x / (a + 1))
    value, step = d.copy(), 0
    while active.size and step < 100_000:
        step += 1
        for even in (True, False):
            if even:
                term = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
            else:
                term = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            change = c * d
            value = value * change
        left = np.abs(change - 1) > _LAST
        if not left.all():
            out[active[~left]] = value[~left]
            active = active[left]
            a, b, x, c, d, value = (part[left] for part in (a, b, x, c, d, value))
    out[active] = value
    return out


def _away(values: FloatArray) -> FloatArray:
    return np.where(np.abs(values) < _TINY, _TINY, values)


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
    if not len(values):
        return float("nan")
    # Chi-square grows with -log10(P): the middle ones of the one are those of the other.
    low, high = (len(values) - 1) // 2, len(values) // 2
    middle = np.partition(values, (low, high))[[low, high]]
    return sum(_one_chi_square(float(value)) for value in middle) / 2 / CHI_SQUARE_MEDIAN


def _one_chi_square(minus_log10_p: float) -> float:
    """One chi-square without a compiled library, but where 10 ** -minus_log10_p is too small for it."""
    if minus_log10_p > _LARGEST_SHORT:
        return float(chi_square_of(minus_log10_p))
    return NormalDist().inv_cdf(0.5 * 10.0**-minus_log10_p) ** 2
