"""Logistic regression of a case-control phenotype on one genotype at a time, many genotypes at once.

Newton-Raphson (iteratively reweighted least squares; McCullagh and Nelder 1989, doi:10.1007/978-1-4899-3242-6): with
probabilities p, weights w = p(1 - p), design x and information I = sum w x x', a step is I^-1 sum (y - p) x. All
variants of a tile take their steps together; one that has converged leaves. Where genotypes separate cases from
controls no finite estimate exists (Albert and Anderson 1984, doi:10.1093/biomet/71.1.1): see
:mod:`genomix.variants.firth`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import LabelError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MAX_ITERATIONS = 25
TOLERANCE = 1e-8
"""Largest change of a coefficient (of standardised covariates) at which an estimate counts as found."""


class LogisticFit(NamedTuple):
    """float64 (m,) beta and se of the genotype, and whether the variant converged; NaN where it did not."""

    beta: FloatArray
    se: FloatArray
    converged: BoolArray


@dataclass(frozen=True)
class LogisticNull:
    """One case-control phenotype, its covariates and the fit without a genotype.

    ``cases`` float64 (n,) of 0 and 1; ``design`` float64 (n, k), intercept first; ``offset`` float64 (n,);
    ``coefficients`` float64 (k,), the start of every variant's fit: zeros where the covariates separate cases from
    controls and no finite estimate exists (``converged`` is False), which leaves Firth's regression only.
    """

    cases: FloatArray
    design: FloatArray
    offset: FloatArray
    coefficients: FloatArray
    converged: bool = True

    @property
    def pairs(self) -> FloatArray:
        """Products of two covariates, float64 (n, k(k + 1)/2)."""
        first, second = np.triu_indices(self.design.shape[1])
        return self.design[:, first] * self.design[:, second]


class ScoreFit(NamedTuple):
    """float64 (m,) beta = score / information, se = 1 / root of the information; and what the test came from.

    ``residual`` float64 (m, n): genotypes less what the covariates explain of them under the null's weights.
    """

    beta: FloatArray
    se: FloatArray
    residual: FloatArray


class Tile(NamedTuple):
    """Genotypes float64 (m, n), 0 where missing, and called float64 (m, n) of 0 and 1, or None when all are."""

    genotypes: FloatArray
    called: FloatArray | None

    def rows(self, chosen: IntArray) -> Tile:
        """Return some of the variants."""
        return Tile(self.genotypes[chosen], None if self.called is None else self.called[chosen])


class Evaluation(NamedTuple):
    """At some coefficients: residuals y - p and weights (m, n), 0 where missing; information (m, k + 1, k + 1)."""

    residuals: FloatArray
    weights: FloatArray
    information: FloatArray
    log_likelihood: FloatArray


def fit_logistic_null(
    cases: FloatArray, design: FloatArray, offset: FloatArray | None = None, *, for_firth: bool = False
) -> LogisticNull:
    """Fit the covariates alone.

    Parameters
    ----------
    for_firth: return a null that has not converged, from which Firth's regression starts, where no estimate is finite.

    Raises
    ------
    LabelError: when covariates separate cases from controls and it is not ``for_firth``.
    """
    shift = np.zeros(len(cases)) if offset is None else offset
    beta = np.zeros(design.shape[1])
    for _ in range(100):
        p = expit(shift + design @ beta)
        step = _solve_safely((design.T * (p * (1 - p))) @ design, design.T @ (cases - p))
        beta = beta + np.clip(step, -5, 5)
        if not np.isfinite(beta).all() or np.abs(beta).max() > 100:
            break
        if np.abs(step).max() < TOLERANCE:
            return LogisticNull(cases, design, shift, beta)
    if for_firth:
        return LogisticNull(cases, design, shift, np.zeros(design.shape[1]), converged=False)
    raise LabelError(
        "logistic regression on the covariates alone does not converge: they separate cases from controls",
        hint="fewer covariates, more cases, or Firth's regression of every variant",
    )


def _solve_safely(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    try:
        return np.asarray(np.linalg.solve(matrix, vector), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.full(len(vector), np.nan)


def logistic_reference(
    cases: FloatArray, design: FloatArray, genotype: FloatArray, offset: FloatArray | None = None
) -> tuple[float, float]:
    """Return beta and se of one genotype by plain Newton steps; NaN genotypes leave the regression."""
    known = np.isfinite(genotype)
    x = np.column_stack([design[known], genotype[known]])
    y, shift = cases[known], np.zeros(int(known.sum())) if offset is None else offset[known]
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ beta + shift)))
        information = x.T @ (x * (p * (1 - p))[:, None])
        beta = beta + np.linalg.solve(information, x.T @ (y - p))
    return float(beta[-1]), float(np.sqrt(np.linalg.inv(information)[-1, -1]))


def expit(eta: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-eta)) without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(eta, -700, 700)))


def evaluate(null: LogisticNull, pairs: FloatArray, tile: Tile, beta: FloatArray) -> Evaluation:
    """Return residuals, weights, information and log-likelihood at coefficients float64 (m, k + 1), genotype last."""
    genotypes, called = tile
    k = null.design.shape[1]
    eta = beta[:, :k] @ null.design.T
    eta += beta[:, k:] * genotypes
    eta += null.offset
    p = expit(eta)
    weights = p * (1 - p)
    residuals = null.cases - p
    # log p of what was seen is -log(1 + exp(-eta)) for a case and -log(1 + exp(eta)) for a control
    signed = np.where(null.cases > 0, eta, -eta)
    loglik = np.minimum(signed, 0.0) - np.log1p(np.exp(-np.abs(signed)))
    if called is not None:
        weights *= called
        residuals *= called
        loglik *= called
    information = information_of(null, pairs, genotypes, weights)
    return Evaluation(residuals, weights, information, loglik.sum(axis=1))


def information_of(null: LogisticNull, pairs: FloatArray, genotypes: FloatArray, weights: FloatArray) -> FloatArray:
    """Return sum of weight times x x', float64 (m, k + 1, k + 1), genotype last."""
    k = null.design.shape[1]
    information = np.empty((len(genotypes), k + 1, k + 1))
    first, second = np.triu_indices(k)
    information[:, first, second] = information[:, second, first] = weights @ pairs
    weighted = weights * genotypes
    information[:, :k, k] = information[:, k, :k] = weighted @ null.design
    information[:, k, k] = np.einsum("ij,ij->i", weighted, genotypes)
    return information


def score_of(null: LogisticNull, genotypes: FloatArray, residuals: FloatArray) -> FloatArray:
    """Return sum of residual times design, float64 (m, k + 1)."""
    return np.concatenate(
        [residuals @ null.design, np.einsum("ij,ij->i", residuals, genotypes)[:, None]], axis=1
    )  # fmt: skip


def solve_rows(matrices: FloatArray, vectors: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Solve one small system per variant; False and zeros where it is singular."""
    diagonal = np.einsum("ijj->ij", matrices)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = matrices * scale[:, :, None] * scale[:, None, :]
    sound = (diagonal > 0).all(axis=1) & np.isfinite(scaled).all(axis=(1, 2)) & np.isfinite(vectors).all(axis=1)
    scaled[~sound] = np.eye(matrices.shape[1])
    sound &= np.linalg.eigvalsh(scaled)[:, 0] > 1e-12
    scaled[~sound] = np.eye(matrices.shape[1])
    out = np.linalg.solve(scaled, np.where(sound[:, None], vectors * scale, 0.0)[:, :, None])[:, :, 0] * scale
    return out, sound


def inverse_last(matrices: FloatArray) -> FloatArray:
    """Return the last diagonal element of each inverse."""
    unit = np.zeros(matrices.shape[:2])
    unit[:, -1] = 1.0
    solved, sound = solve_rows(matrices, unit)
    return np.where(sound, solved[:, -1], np.nan)


def separated(cases: FloatArray, tile: Tile) -> BoolArray:
    """Say where no genotype of one group exceeds any of the other: the estimate is infinite, with any covariates."""
    low = np.where(tile.called > 0, tile.genotypes, np.inf) if tile.called is not None else tile.genotypes
    high = np.where(tile.called > 0, tile.genotypes, -np.inf) if tile.called is not None else tile.genotypes
    case = cases > 0
    return np.asarray(
        (high[:, case].max(axis=1, initial=-np.inf) <= low[:, ~case].min(axis=1, initial=np.inf))
        | (high[:, ~case].max(axis=1, initial=-np.inf) <= low[:, case].min(axis=1, initial=np.inf))
    )


def scan_score(null: LogisticNull, tile: Tile) -> ScoreFit:
    """Return Rao's score test of every variant of a tile, at the null's coefficients.

    Rao 1948 (doi:10.1017/S0305004100023987); z = beta / se. A missing genotype counts as the mean of the called ones
    (regenie's rule), since the null model is that of all people.
    """
    genotypes = tile.genotypes
    if tile.called is not None:
        mean = genotypes.sum(axis=1) / tile.called.sum(axis=1)
        genotypes = genotypes + (1 - tile.called) * mean[:, None]
    p = expit(null.design @ null.coefficients + null.offset)
    root = np.sqrt(p * (1 - p))
    basis, _ = np.linalg.qr(null.design * root[:, None])
    weighted = genotypes * root
    weighted -= (weighted @ basis) @ basis.T
    information = np.einsum("ij,ij->i", weighted, weighted)
    with np.errstate(all="ignore"):
        beta = (weighted @ ((null.cases - p) / root)) / information
        return ScoreFit(beta, 1 / np.sqrt(information), weighted / root)


def scan_logistic(null: LogisticNull, tile: Tile) -> LogisticFit:
    """Fit every variant of a tile; one that does not converge within 25 steps is not ``converged``.

    None does where the null has no estimate: a genotype more leaves the covariates' separation as it is.
    """
    m, k = len(tile.genotypes), null.design.shape[1]
    pairs = null.pairs
    beta = np.concatenate([np.broadcast_to(null.coefficients, (m, k)), np.zeros((m, 1))], axis=1)
    out, se, converged = np.full(m, np.nan), np.full(m, np.nan), np.zeros(m, dtype=np.bool_)
    active = np.flatnonzero(~separated(null.cases, tile) & null.converged)
    current = tile.rows(active)
    for _ in range(MAX_ITERATIONS):
        if not active.size:
            break
        found = evaluate(null, pairs, current, beta[active])
        step, sound = solve_rows(found.information, score_of(null, current.genotypes, found.residuals))
        beta[active] += np.clip(step, -5.0, 5.0)
        done = sound & (np.abs(step).max(axis=1) < TOLERANCE)
        rows = active[done]
        converged[rows] = True
        out[rows], se[rows] = beta[rows, k], np.sqrt(inverse_last(found.information[done]))
        left = np.flatnonzero(sound & ~done)
        if len(left) < len(active):
            active, current = active[left], current.rows(left)
    return LogisticFit(out, se, converged)
