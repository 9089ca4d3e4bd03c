"""Ordinary least squares of phenotypes on one genotype at a time, with covariates projected out once.

By the theorem of Frisch, Waugh and Lovell (doi:10.2307/1907330, doi:10.1080/01621459.1963.10480682) the coefficient of
genotype g beside intercept and covariates X is that of the residual phenotype on the residual genotype. With an
orthonormal basis Q of X, r = y - Q Q'y, u = g'r and v = g'g - |Q'g|^2::

    beta = u / v        rss = r'r - u^2 / v        se^2 = rss / (n - k - 1) / v        t = beta / se

A person without a call leaves that variant's regression only. Then Q is no longer orthonormal among the others, but
Q_S'Q_S = I - Q_M'Q_M, r_S'r_S = r'r - r_M'r_M and Q_S'r_S = -Q_M'r_M, so that a small system per variant is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_SAFE = 0.05
_SINGULAR = 1e-10
_DENSE = 0.08
"""Share of missing calls above which one dense product is faster than summing them one by one."""


class LinearFit(NamedTuple):
    """float64 (n_phenotypes, n_variants) beta, se; degrees of freedom float64 (n_variants,)."""

    beta: FloatArray
    se: FloatArray
    df: FloatArray


@dataclass(frozen=True)
class LinearNull:
    """Phenotypes of one set of people, and what the covariates leave of them.

    ``basis`` float64 (n, k): orthonormal columns that span intercept and covariates. ``residuals`` float64 (n, p).
    """

    basis: FloatArray
    residuals: FloatArray

    @property
    def columns(self) -> FloatArray:
        """Everything that a tile is multiplied with, once: ones, basis, residuals, float64 (n, 1 + k + p)."""
        return np.concatenate([np.ones((len(self.basis), 1)), self.basis, self.residuals], axis=1)

    @property
    def sums(self) -> FloatArray:
        """Residual sums of squares, float64 (p,)."""
        return np.asarray(np.einsum("ij,ij->j", self.residuals, self.residuals))


def fit_linear_null(phenotypes: FloatArray, design: FloatArray) -> LinearNull:
    """Project a full-rank design (n, k), intercept included, out of phenotypes (n, p)."""
    basis, _ = np.linalg.qr(design)
    residuals = phenotypes - basis @ (basis.T @ phenotypes)
    residuals -= basis @ (basis.T @ residuals)  # once more: the first pass leaves a rounding error of the mean's size
    return LinearNull(np.ascontiguousarray(basis), np.ascontiguousarray(residuals))


def linear_reference(phenotype: FloatArray, design: FloatArray, genotype: FloatArray) -> tuple[float, float, int]:
    """Return beta, se and degrees of freedom of one regression by least squares; NaN genotypes leave it."""
    known = np.isfinite(genotype)
    x = np.column_stack([design[known], genotype[known]])
    y = phenotype[known]
    solution, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
    df = len(y) - x.shape[1]
    if rank < x.shape[1] or df <= 0:
        return float("nan"), float("nan"), df
    residual = y - x @ solution
    covariance = np.linalg.inv(x.T @ x) * float(residual @ residual) / df
    return float(solution[-1]), float(np.sqrt(covariance[-1, -1])), df


class TileMoments(NamedTuple):
    """Sums over people for each genotype of a tile, missing ones as 0.

    ``copies`` and ``squares`` float64 (m,); ``on_basis`` (m, k) and ``on_residuals`` (m, p): products with the null's.
    """

    copies: FloatArray
    squares: FloatArray
    on_basis: FloatArray
    on_residuals: FloatArray


def tile_moments(genotypes: FloatArray, columns: FloatArray, k: int) -> TileMoments:
    """Multiply a tile, float64 (m, n), by :attr:`LinearNull.columns`: one pass over the genotypes."""
    products = genotypes @ columns
    squares = np.einsum("ij,ij->i", genotypes, genotypes)
    return TileMoments(products[:, 0], squares, products[:, 1 : 1 + k], products[:, 1 + k :])


def missing_sums(missing: BoolArray, table: FloatArray) -> FloatArray:
    """Return, per genotype, the sum of the table's rows (n, c) over people without a call, float64 (m, c)."""
    if missing.mean() > _DENSE:
        return missing.astype(np.float64) @ table
    flat = np.flatnonzero(missing)
    rows, people = np.divmod(flat, missing.shape[1])
    out = np.zeros((len(missing), table.shape[1]))
    present, starts = np.unique(rows, return_index=True)
    if len(present):
        out[present] = np.add.reduceat(table[people], starts, axis=0)
    return out


class MissingSums(NamedTuple):
    """What people without a call contribute.

    float64 (m, k, k) basis by basis, (m, k, p) basis by residuals, (m, p) residuals squared, (m,) how many.
    """

    gram: FloatArray
    crosses: FloatArray
    squared: FloatArray
    n_people: FloatArray


def sum_missing(null: LinearNull, missing: BoolArray) -> MissingSums:
    """Sum products of basis and residuals over the people without a call."""
    n, k = null.basis.shape
    p = null.residuals.shape[1]
    first, second = np.triu_indices(k)
    crosses = (null.basis[:, :, None] * null.residuals[:, None, :]).reshape(n, k * p)
    table = np.concatenate(
        [null.basis[:, first] * null.basis[:, second], crosses, null.residuals**2, np.ones((n, 1))], axis=1
    )
    sums = missing_sums(missing, table)
    gram = np.empty((len(missing), k, k))
    gram[:, first, second] = gram[:, second, first] = sums[:, : len(first)]
    end = len(first) + k * p
    return MissingSums(gram, sums[:, len(first) : end].reshape(len(missing), k, p), sums[:, end:-1], sums[:, -1])


def scan_linear(
    null: LinearNull,
    genotypes: FloatArray,
    missing: BoolArray | None,
    moments: TileMoments | None = None,
    gone: MissingSums | None = None,
) -> LinearFit:
    """Regress every phenotype on every genotype of a tile.

    Parameters
    ----------
    genotypes: float64 (m, n), 0 where missing. missing: bool (m, n), or None when all are called.
    moments, gone: those of the tile, where they are known already.
    """
    n, k = null.basis.shape
    moments = moments or tile_moments(genotypes, null.columns, k)
    squares, on_basis, on_residuals = moments.squares, moments.on_basis, moments.on_residuals
    v = squares - np.einsum("ij,ij->i", on_basis, on_basis)
    rss = np.broadcast_to(null.sums, on_residuals.shape)
    df = np.full(len(genotypes), float(n - k - 1))
    u = on_residuals
    if missing is not None:
        sums = gone or sum_missing(null, missing)
        rows = np.flatnonzero(sums.n_people > 0)
        u, v, rss, df = u.copy(), v.copy(), rss.copy(), df.copy()
        some = TileMoments(*(part[rows] for part in (moments.copies, squares, on_basis, u)))
        lost = MissingSums(*(part[rows] for part in sums))
        u[rows], v[rows], rss[rows], df[rows] = _incomplete(null, genotypes, missing, rows, some, lost)
    with np.errstate(all="ignore"):
        v = np.where(v > _SINGULAR * np.maximum(squares, 1e-300), v, np.nan)
        beta = u / v[:, None]
        left = rss - beta * u
        se = np.sqrt(left / np.where(df > 0, df, np.nan)[:, None] / v[:, None])
    return LinearFit(np.ascontiguousarray(beta.T), np.ascontiguousarray(se.T), df)


def _incomplete(
    null: LinearNull, genotypes: FloatArray, missing: BoolArray, rows: IntArray, moments: TileMoments,
    gone: MissingSums,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:  # fmt: skip
    """What is left of u, v, rss and df at the rows where some people have no call."""
    n, k = null.basis.shape
    on_basis = moments.on_basis
    gram = np.eye(k) - gone.gram
    basis_residual = -gone.crosses
    rss = null.sums - gone.squared
    df = n - gone.n_people - k - 1
    right = np.concatenate([on_basis[:, :, None], basis_residual], axis=2)
    u, v = moments.on_residuals.copy(), moments.squares.copy()
    weak = 1 - np.sqrt(np.einsum("vij,vij->v", gone.gram, gone.gram)) < _SAFE  # a bound of the smallest eigenvalue
    good = np.flatnonzero(~weak)
    if good.size:
        solved = np.linalg.solve(gram[good], right[good])
        u[good] -= np.einsum("vk,vkp->vp", on_basis[good], solved[:, :, 1:])
        v[good] -= np.einsum("vk,vk->v", on_basis[good], solved[:, :, 0])
        rss[good] -= np.einsum("vkp,vkp->vp", basis_residual[good], solved[:, :, 1:])
    for at in np.flatnonzero(weak).tolist():
        u[at], v[at], rss[at] = _from_scratch(null, genotypes[rows[at]], ~missing[rows[at]])
    return u, v, rss, df


def _from_scratch(null: LinearNull, genotype: FloatArray, kept: BoolArray) -> tuple[FloatArray, float, FloatArray]:
    """Project anew among those with a call: the covariates nearly lose rank there, so subtraction would be inexact."""
    nothing = np.full(null.residuals.shape[1], np.nan)
    if int(kept.sum()) <= null.basis.shape[1]:
        return nothing, float("nan"), nothing
    left, values, _ = np.linalg.svd(null.basis[kept], full_matrices=False)
    if values[-1] < 1e-7:
        return nothing, float("nan"), nothing
    residuals = null.residuals[kept] - left @ (left.T @ null.residuals[kept])
    g = genotype[kept] - left @ (left.T @ genotype[kept])
    return g @ residuals, float(g @ g), np.einsum("ij,ij->j", residuals, residuals)
