"""Firth's penalised logistic regression: finite estimates where cases and controls separate, less bias elsewhere.

Firth 1993 (doi:10.1093/biomet/80.1.27) maximises log L + 1/2 log det I; Heinze and Schemper 2002 (doi:10.1002/sim.1047)
give the score: sum of (y - p + h (1/2 - p)) x with h the diagonal of the hat matrix, h = w x' I^-1 x. Covariates are
penalised too, as in PLINK 2 (regenie's approximate test penalises the genotype alone, with the covariates' effects held
at their null estimates). The Wald statistic takes its standard error from I at the estimate; the likelihood ratio
compares with the fit whose genotype effect is 0 under the same penalty.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from genomix.variants.assoc_logistic import (
    BoolArray,
    Evaluation,
    FloatArray,
    IntArray,
    LogisticNull,
    Tile,
    evaluate,
    information_of,
    inverse_last,
    score_of,
    solve_rows,
)

MAX_ITERATIONS = 200
TOLERANCE = 1e-8
MAX_STEP = 5.0
"""Largest change of a coefficient in one step (logistf's)."""

_HALVINGS = 12


class FirthFit(NamedTuple):
    """float64 (m,) beta, se, penalised log-likelihood; whether each variant converged."""

    beta: FloatArray
    se: FloatArray
    log_likelihood: FloatArray
    converged: BoolArray


def firth_reference(
    cases: FloatArray, design: FloatArray, genotype: FloatArray, offset: FloatArray | None = None
) -> tuple[float, float, float]:
    """Return beta, se and penalised log-likelihood of one genotype, as the papers write it; NaN genotypes leave.

    Steps are cut to 0.4: whole ones swing around the estimate for ever where one person has a hat value near 1.
    """
    known = np.isfinite(genotype)
    x = np.column_stack([design[known], genotype[known]])
    y, shift = cases[known], np.zeros(int(known.sum())) if offset is None else offset[known]
    beta = np.zeros(x.shape[1])
    for _ in range(2000):
        p = 1 / (1 + np.exp(-(x @ beta + shift)))
        w = p * (1 - p)
        inverse = np.linalg.inv(x.T @ (x * w[:, None]))
        h = w * np.einsum("ij,jk,ik->i", x, inverse, x)
        step = inverse @ (x.T @ (y - p + h * (0.5 - p)))
        beta = beta + step * min(0.4, 1.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-12:
            break
    loglik = float((y * np.log(p) + (1 - y) * np.log1p(-p)).sum())
    return float(beta[-1]), float(np.sqrt(inverse[-1, -1])), loglik - 0.5 * float(np.linalg.slogdet(inverse)[1])


def scan_firth(null: LogisticNull, tile: Tile, *, without_genotype: bool = False) -> FirthFit:
    """Fit every variant of a tile.

    Parameters
    ----------
    without_genotype: hold the genotype's effect at 0, for the likelihood ratio.
    """
    m, k = len(tile.genotypes), null.design.shape[1]
    free = k if without_genotype else k + 1
    pairs = null.pairs
    state = _Steps(m, k)
    state.beta[:, :k] = null.coefficients
    if not free:
        found = evaluate(null, pairs, tile, state.beta)
        value = found.log_likelihood + _penalised(null, pairs, tile, found)[1]
        return FirthFit(state.beta[:, k], np.full(m, np.nan), value, np.isfinite(value))
    se, converged = np.full(m, np.nan), np.zeros(m, dtype=np.bool_)
    active, current = np.arange(m), tile
    for _ in range(MAX_ITERATIONS):
        if not active.size:
            break
        found = evaluate(null, pairs, current, state.beta[active])
        score, penalty, sound, curvature = _penalised(null, pairs, current, found)
        worse = state.halve_where_worse(active, found.log_likelihood + penalty, sound)
        step, solvable = solve_rows(curvature[:, :free, :free], score[:, :free])
        sound &= solvable | worse
        moving = ~worse & sound
        state.advance(active[moving], found.log_likelihood[moving] + penalty[moving], step[moving])
        done = moving & (np.abs(step).max(axis=1) < TOLERANCE)
        converged[active[done]] = True
        se[active[done]] = np.sqrt(inverse_last(found.information[done]))
        left = np.flatnonzero(sound & ~done)
        if len(left) < len(active):
            active, current = active[left], current.rows(left)
    nothing = ~converged
    state.beta[nothing], state.value[nothing] = np.nan, np.nan
    return FirthFit(state.beta[:, k].copy(), se, state.value, converged)


def approximate_firth_null(null: LogisticNull) -> LogisticNull:
    """Return a null without covariates, whose offset is what Firth's regression on the covariates alone predicts.

    regenie's approximate test (Mbatchou et al. 2021, doi:10.1038/s41588-021-00870-7): only the residual genotype's
    effect is left to estimate, and only its own information penalises.
    """
    x, beta = null.design, null.coefficients
    for _ in range(500):
        p = 1 / (1 + np.exp(-(x @ beta + null.offset)))
        w = p * (1 - p)
        inverse = np.linalg.inv(x.T @ (x * w[:, None]))
        h = w * np.einsum("ij,jk,ik->i", x, inverse, x)
        step = inverse @ (x.T @ (null.cases - p + h * (0.5 - p)))
        beta = beta + np.clip(step, -1, 1)
        if float(np.abs(step).max()) < TOLERANCE:
            break
    return LogisticNull(null.cases, np.empty((len(x), 0)), null.offset + x @ beta, np.empty(0))


class _Steps:
    """Coefficients of every variant, the last step, and how good they were before it."""

    def __init__(self, m: int, k: int) -> None:
        self.beta = np.zeros((m, k + 1))
        self.step = np.zeros((m, k + 1))
        self.value = np.full(m, -np.inf)
        self.halved = np.zeros(m, dtype=np.int64)

    def halve_where_worse(self, rows: IntArray, value: FloatArray, sound: BoolArray) -> BoolArray:
        """Take back half of a step that lowered the penalised likelihood; say where."""
        before = self.value[rows]
        limit = before - 1e-9 * (1 + np.abs(np.where(np.isfinite(before), before, 0.0)))
        worse = np.isfinite(before) & (~sound | ~(value >= limit)) & (self.halved[rows] < _HALVINGS)
        at = rows[worse]
        self.step[at] /= 2
        self.beta[at] -= self.step[at]
        self.halved[at] += 1
        return np.asarray(worse, dtype=np.bool_)

    def advance(self, rows: IntArray, value: FloatArray, step: FloatArray) -> None:
        """Take a step of at most MAX_STEP per coefficient."""
        self.value[rows] = value
        self.step[rows, : step.shape[1]] = np.clip(step, -MAX_STEP, MAX_STEP)
        self.beta[rows] += self.step[rows]
        self.halved[rows] = 0


def _penalised(
    null: LogisticNull, pairs: FloatArray, tile: Tile, found: Evaluation
) -> tuple[FloatArray, FloatArray, BoolArray, FloatArray]:
    """Return the modified score (m, k + 1), half the log-determinant (m,), where it is sound, and the steps' curvature.

    The score is that of data with each person once as seen and h/2 times either way; their information has weights
    w (1 + h), with which steps converge where I alone overshoots (a single carrier has h near 1).
    """
    k = null.design.shape[1]
    sign, logdet = np.linalg.slogdet(found.information)
    sound = (sign > 0) & np.isfinite(logdet)
    safe = np.where(sound[:, None, None], found.information, np.eye(k + 1))
    inverse = np.linalg.inv(safe)
    first, second = np.triu_indices(k)
    doubled = np.where(first == second, 1.0, 2.0)
    h = (inverse[:, first, second] * doubled) @ pairs.T
    h += 2 * (inverse[:, :k, k] @ null.design.T) * tile.genotypes
    h += inverse[:, k, k, None] * tile.genotypes**2
    h *= found.weights
    half_minus_p = 0.5 - (null.cases - found.residuals)
    if tile.called is not None:
        half_minus_p *= tile.called
    score = score_of(null, tile.genotypes, found.residuals + h * half_minus_p)
    return score, 0.5 * logdet, sound, information_of(null, pairs, tile.genotypes, found.weights * (1 + h))
