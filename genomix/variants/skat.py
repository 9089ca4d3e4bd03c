"""SKAT and SKAT-O: do the variants of a gene explain variance of the phenotype, whatever the sign of their effects?

SKAT (Wu et al. 2011, doi:10.1016/j.ajhg.2011.05.029): with the null model's residuals r, genotypes G and weights W,
Q = |W G' r|^2, distributed under the null as a sum of chi-squares with the eigenvalues of W G' P G W. SKAT-O (Lee, Wu
and Lin 2012, doi:10.1093/biostatistics/kxs014): the smallest p over mixtures (1 - rho) Q_SKAT + rho Q_burden, corrected
for having been chosen.

Tail probabilities of the sum of chi-squares come from the inversion integral of its characteristic function (Imhof
1961, doi:10.2307/2332763; Davies 1980, doi:10.2307/2346911), taken along a parabola through the saddle point (Rice
1980, doi:10.1137/0901032), where the integrand neither oscillates nor cancels: far tails keep their relative precision.

Cases and controls use the asymptotic null without a small-sample correction; with few cases or few carriers the p value
is approximate. Relatives are not accounted for. Hard calls are used, with the copies that people carry
(:mod:`genomix.variants.burden_copies`). A missing call counts as the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.plink import GenotypeStore
from genomix.schemas.burden import BURDEN_TESTS
from genomix.variants.threads import one_blas_thread

FloatArray = npt.NDArray[np.float64]

RHOS = (0.0, 0.01, 0.04, 0.09, 0.16, 0.25, 0.5, 1.0)
"""Shares of the burden statistic that SKAT-O tries (those of the SKAT package's "optimal.adj")."""

_NODES = 81
_Z_NODES = 48
_NEGLIGIBLE = 1e-12


class SkatNull(NamedTuple):
    """Residuals (n,), weights of the information (n,), basis (n, k) of sqrt(weights) times the design.

    ``scale`` is the residual variance of a linear model, 1 of a logistic one.
    """

    residuals: FloatArray
    information: FloatArray
    basis: FloatArray
    scale: float


class SkatScore(NamedTuple):
    """Weighted scores S (m,) and their covariance A (m, m) under the null, both divided by the residual variance."""

    score: FloatArray
    covariance: FloatArray


def fit_skat_null(prepared: Any) -> SkatNull:
    """Fit the covariates alone to a :class:`~genomix.variants.burden_test.Prepared`."""
    from genomix.variants.assoc_linear import fit_linear_null
    from genomix.variants.assoc_logistic import expit, fit_logistic_null

    if prepared.model == "linear":
        null = fit_linear_null((prepared.phenotype - prepared.offset)[:, None], prepared.design)
        residuals = null.residuals[:, 0]
        n, k = prepared.design.shape
        variance = float(residuals @ residuals) / (n - k)
        return SkatNull(residuals, np.ones(n), null.basis, variance)
    fitted = fit_logistic_null(prepared.phenotype, prepared.design, prepared.offset)
    p = expit(prepared.offset + prepared.design @ fitted.coefficients)
    information = p * (1 - p)
    basis, _ = np.linalg.qr(prepared.design * np.sqrt(information)[:, None])
    return SkatNull(prepared.phenotype - p, information, basis, 1.0)


def score_variants(null: SkatNull, genotypes: FloatArray, weights: FloatArray) -> SkatScore:
    """Return weighted scores and covariance of genotypes float64 (m, n) without missing values."""
    weighted = genotypes * weights[:, None]
    score = weighted @ null.residuals / math.sqrt(null.scale)
    rooted = weighted * np.sqrt(null.information)
    on_basis = rooted @ null.basis
    covariance = rooted @ rooted.T - on_basis @ on_basis.T
    return SkatScore(score, (covariance + covariance.T) / 2)


def skat_p(found: SkatScore) -> tuple[float, float]:
    """Return Q and SKAT's p value; NaN where no variant varies."""
    q = float(found.score @ found.score)
    return q, sum_of_chi_squares_tail(q, eigenvalues(found.covariance))


def skat_o_p(found: SkatScore, rhos: Sequence[float] = RHOS) -> tuple[float, float]:
    """Return the smallest p over the mixtures and SKAT-O's p value; NaN where no variant varies."""
    a, m = found.covariance, len(found.score)
    total = float(a.sum())
    if not np.trace(a) > 0:
        return math.nan, math.nan
    q_skat, q_burden = float(found.score @ found.score), float(found.score.sum()) ** 2
    spectra = [eigenvalues(_mixed(a, rho)) for rho in rhos]
    p = [
        sum_of_chi_squares_tail((1 - rho) * q_skat + rho * q_burden, values)
        for rho, values in zip(rhos, spectra, strict=True)
    ]
    smallest = min(p)
    if m == 1 or not total > _NEGLIGIBLE * float(np.trace(a)):
        return smallest, p[0]
    corrected = _chosen_minimum(smallest, a, total, spectra, rhos)
    return smallest, min(corrected, smallest * len(rhos), 1.0)


def _mixed(a: FloatArray, rho: float) -> FloatArray:
    """R^(1/2) A R^(1/2) with R = (1 - rho) I + rho 11'; its root is c I + d 11'."""
    m = len(a)
    c = math.sqrt(1 - rho)
    d = (math.sqrt(1 - rho + m * rho) - c) / m
    row = a.sum(axis=0)
    return np.asarray(c * c * a + c * d * (row[:, None] + row[None, :]) + d * d * float(row.sum()))


def _chosen_minimum(
    smallest: float, a: FloatArray, total: float, spectra: Sequence[FloatArray], rhos: Sequence[float]
) -> float:
    """Probability that the smallest p is this small: Lee et al. 2012, equation 4 and its appendix."""
    row = a.sum(axis=0)
    shared = np.outer(row, row) / total
    rest = a - shared
    values = eigenvalues(rest)
    spread = 2 * float((values**2).sum())
    remain = 4 * float((shared * rest).sum())
    mean = float(values.sum())
    shrink = math.sqrt(spread / (spread + max(remain, 0.0))) if spread > 0 else 1.0
    limits = np.array([sum_of_chi_squares_quantile(smallest, s) for s in spectra])
    share = np.asarray(rhos)
    tau = share * total + (1 - share) * float(row @ row) / total
    end = float(np.sqrt((limits / tau).min()))
    nodes, weights = np.polynomial.legendre.leggauss(_Z_NODES)
    z = (nodes + 1) * end / 2
    inside = share < 1
    free = (limits[inside, None] - tau[inside, None] * z[None, :] ** 2) / (1 - share[inside, None])
    left = (free.min(axis=0) - mean) * shrink + mean
    tail = np.array([sum_of_chi_squares_tail(x, values) if x > 0 else 1.0 for x in left.tolist()])
    density = 2 / math.sqrt(2 * math.pi) * np.exp(-(z**2) / 2)
    return float((weights * end / 2 * density * tail).sum()) + math.erfc(end / math.sqrt(2))


def eigenvalues(matrix: FloatArray) -> FloatArray:
    """Return the eigenvalues that are above rounding, largest first."""
    found = np.linalg.eigvalsh(matrix)[::-1]
    return np.asarray(found[found > _NEGLIGIBLE * max(float(found[0]), 0.0)] if len(found) else found)


def sum_of_chi_squares_tail(q: float, values: FloatArray) -> float:
    """Return P(sum of values x chi-square(1) > q) for positive values; NaN without values.

    >>> round(sum_of_chi_squares_tail(2.0, np.array([0.6, 0.3, 0.1])), 4)  # Imhof 1961, table 1
    0.124
    """
    if not len(values) or not math.isfinite(q):
        return math.nan
    if q <= 0:
        return 1.0
    scale = float(values.max())
    weights, times = np.unique(values / scale, return_counts=True)
    x = q / scale
    if x < float(weights @ times):
        return min(max(1.0 - _inversion(weights, times, x, lower=True), 0.0), 1.0)
    return min(max(_inversion(weights, times, x, lower=False), 0.0), 1.0)


def _inversion(weights: FloatArray, times: npt.NDArray[np.int64], x: float, *, lower: bool) -> float:
    """The inversion integral of the lower tail (left of the pole at 0) or the upper one (right of it)."""
    place = _saddle(weights, times, x, lower=lower)
    pole = 1 - 2 * weights * place
    second = 2 * float(((weights / pole) ** 2) @ times) + 1 / place**2
    third = 8 * float(((weights / pole) ** 3) @ times) - 2 / place**3
    width = 1 / math.sqrt(second)
    bend = max(third / (6 * second), 0.1 / width)
    # t = width sinh(u): dense near the saddle, far out where the integrand dies slowly
    reach = math.asinh(math.sqrt(60 / (bend * x)) / width + 12)
    u = np.linspace(0.0, reach, _NODES)
    t = width * np.sinh(u)
    s = (place + 1j * t + bend * t**2).astype(np.complex128)
    slope = (1j + 2 * bend * t) * width * np.cosh(u)
    top = _exponent(weights, times, x, np.array([place + 0j]), lower)[0].real
    terms = np.exp(_exponent(weights, times, x, s, lower) - top) * slope
    terms[0] /= 2  # below the real axis lies the mirror image
    return float(terms.sum().imag * (u[1] - u[0]) / math.pi * math.exp(top))


def _exponent(
    weights: FloatArray, times: npt.NDArray[np.int64], x: float, s: npt.NDArray[np.complex128], lower: bool
) -> npt.NDArray[np.complex128]:
    """K(s) - s x - log(s), or log(-s) for the lower tail; K is the cumulant generating function."""
    logs = np.log(1 - 2 * weights[:, None] * s[None, :])
    return np.asarray(-0.5 * (times @ logs) - s * x - np.log(-s if lower else s))


def _saddle(weights: FloatArray, times: npt.NDArray[np.int64], x: float, *, lower: bool) -> float:
    """The one zero of K'(s) - x - 1/s below 0, or between 0 and 1/2 (the largest weight is 1), by bisection."""
    low, high = (-(float(times.sum()) + 2) / x, 0.0) if lower else (0.0, 0.5)
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        slope = float((weights / (1 - 2 * weights * middle)) @ times) - x - 1 / middle
        low, high = (middle, high) if slope < 0 else (low, middle)
    return low if low != 0 else high


def sum_of_chi_squares_quantile(p: float, values: FloatArray) -> float:
    """Return q with P(sum of values x chi-square(1) > q) = p, for 0 < p <= 1."""
    from scipy.optimize import brentq

    if p >= 1:
        return 0.0
    goal = math.log(max(p, 1e-300))

    def off(q: float) -> float:
        tail = sum_of_chi_squares_tail(q, values)
        return (math.log(tail) if tail > 0 else -745.0) - goal

    mean, spread = float(values.sum()), math.sqrt(2 * float((values**2).sum()))
    low, high = 0.0, mean + spread
    while off(high) > 0:
        low, high = high, 2 * high + spread
    return float(brentq(off, low, high, xtol=1e-9 * high, rtol=1e-9))


def scan_skat(
    store: GenotypeStore, sets: Sequence[Any], prepared: Any, *, samples: Any = None, own_weights: bool = False
) -> pl.DataFrame:
    """Return SKAT and SKAT-O of each set (BURDEN_TESTS, two rows per set).

    Parameters
    ----------
    sets: :class:`~genomix.variants.burden.BurdenSet`. own_weights: take their weights, whatever they are; without, the
        weights are SKAT's own, Beta(MAF; 1, 25).
    prepared: see :func:`genomix.variants.burden_test.prepare`, its rows counted within ``samples``.
    """
    from genomix.variants.burden_copies import PeopleCopies, VariantCopies, copies_of
    from genomix.variants.burden_weights import beta_weights

    everyone = np.arange(store.n_samples) if samples is None else np.asarray(samples, dtype=np.int64)
    people = everyone[prepared.rows]
    carried, sexes = VariantCopies.of(store), PeopleCopies.of(store, people)
    rows: list[tuple[Any, ...]] = []
    with one_blas_thread():
        null = fit_skat_null(prepared)
        for one in sets:
            weights = one.weights if own_weights else beta_weights(one.frequencies)
            here = carried.taken(one.rows)
            copies = _complete(
                *copies_of(store.read_calls(one.rows, people), one.flipped, here, sexes),
                here.on_y[:, None] & ~sexes.male,
            )
            found = score_variants(null, copies, weights)
            found = _varying(found)
            told = (one.gene, one.mask, len(people), len(one.rows), int((copies > 0).any(axis=0).sum()))
            for test, (statistic, p) in (("skat", skat_p(found)), ("skat-o", skat_o_p(found))):
                known = math.isfinite(p)
                reason = "" if known else "the burden is the same for everyone"
                numbers = (statistic, p) if known else (None, None)
                rows.append((*told, test, None, None, *numbers, reason))
    schema = {c.name: c.dtype for c in BURDEN_TESTS.columns}
    return BURDEN_TESTS.validate(pl.DataFrame(rows, schema=schema, orient="row"))


def _complete(copies: npt.NDArray[np.int8], called: npt.NDArray[np.bool_], apart: npt.NDArray[np.bool_]) -> FloatArray:
    """Copies with missing calls as the mean of the called ones; people ``apart`` (women on Y) are not averaged."""
    found = copies.astype(np.float64)
    mean = found.sum(axis=1) / np.maximum((called & ~apart).sum(axis=1), 1)
    return np.where(called, found, mean[:, None])


def _varying(found: SkatScore) -> SkatScore:
    """The variants whose genotypes vary beyond what covariates explain."""
    diagonal = np.diag(found.covariance)
    kept = diagonal > 1e-10 * max(float(diagonal.max(initial=0.0)), 1e-300)
    return SkatScore(found.score[kept], found.covariance[np.ix_(kept, kept)])
