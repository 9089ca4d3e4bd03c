"""Principal components of genotypes, fitted on some samples and projected onto any.

Standardisation as in Patterson, Price and Reich 2006 (doi:10.1371/journal.pgen.0020190): (g - 2p) / sqrt(2p(1 - p))
with the fitting samples' ALT frequency p; a missing call counts as the mean. Components mirror ancestry, batch and
kinship alike; few or linked variants give components of those variants rather than of people.

A projected sample lies nearer to the origin than a fitting sample of the same ancestry (shrinkage): a little for strong
components of thousands of people, down to a tenth for weak components of two hundred. So neither distances nor
regressions may mix scores of fitted and projected people. :mod:`genomix.variants.pca_shrinkage` says how large it is
and corrects it; nothing here does.

Calls are read block by block, so that memory holds one block and, for the exact method, one matrix of samples by
samples. The block size is fixed by the number of samples: no choice changes a bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from genomix.errors import ConfigError
from genomix.io.plink import GenotypeStore
from genomix.variants.genotype_counts import CallArray, FloatArray, IntArray, WordBlock, call_blocks, sample_numbers
from genomix.variants.kinship import Progress, to_numpy
from genomix.variants.ld import ld_prune
from genomix.variants.pca_shrinkage import Bulk
from genomix.variants.threads import one_blas_thread

__all__ = [
    "EXACT_LIMIT", "PcaModel", "Projected", "allele_frequencies", "fit_pca", "fit_pca_of_store", "ld_prune", "project",
    "project_store", "project_store_with_norms", "standardise",
]  # fmt: skip

CallSource = Callable[[], Iterable[tuple[slice, CallArray]]]
"""Yields, each time it is called, the same calls in the same blocks: a part of the variants, int8 (n, n_samples)."""

EXACT_LIMIT = 5000
"""With at most this many samples the decomposition is exact, beyond it randomised."""

_OVERSAMPLING = 16
_POWER_ITERATIONS = 10
_BLOCK_CELLS, _LARGEST_BLOCK, _SMALLEST_BLOCK = 1 << 23, 2048, 64
_DENSE_LIMIT = 1000
_SINGLE_TOLERANCE = 1e-9
"""Of Lanczos where products in single precision are off by more."""


@dataclass(frozen=True)
class PcaModel:
    """What was fitted; ``to_dict`` and ``from_dict`` carry it as JSON-able lists.

    Parameters
    ----------
    frequencies: float64 (n_variants,) ALT frequency among the fitting samples.
    loadings: float64 (n_variants, n_components); a standardised genotype times the loadings is the sample's scores,
        which have mean 0 and standard deviation 1 over the fitting samples.
    eigenvalues: float64 (n_components,) of the genetic relationship matrix, largest first.
    n_samples: number of fitting samples.
    bulk: of the eigenvalues of the Gram matrix beside the components'; None by the randomised method and after
        :meth:`from_dict`.
    """

    frequencies: FloatArray
    loadings: FloatArray
    eigenvalues: FloatArray
    n_samples: int
    bulk: Bulk | None = None

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.loadings.shape[1])

    @property
    def gram_values(self) -> FloatArray:
        """Eigenvalues of the Gram matrix of standardised genotypes, samples by samples."""
        return np.asarray(self.eigenvalues * int(((self.frequencies > 0) & (self.frequencies < 1)).sum()))

    def first(self, n: int) -> PcaModel:
        """Return the model of the first ``n`` components."""
        further = self.gram_values[n:]
        bulk = self.bulk
        if bulk is not None:
            bulk = Bulk(bulk.total + float(further.sum()), bulk.squares + float((further**2).sum()))
        return replace(self, loadings=self.loadings[:, :n], eigenvalues=self.eigenvalues[:n], bulk=bulk)

    @property
    def scales(self) -> FloatArray:
        """sqrt(2p(1 - p)) of each variant."""
        return np.asarray(np.sqrt(2 * self.frequencies * (1 - self.frequencies)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {
            "frequencies": self.frequencies.tolist(),
            "loadings": self.loadings.tolist(),
            "eigenvalues": self.eigenvalues.tolist(),
            "n_samples": self.n_samples,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PcaModel:
        """Return the model that :meth:`to_dict` described."""
        return cls(
            np.asarray(values["frequencies"], dtype=np.float64),
            np.asarray(values["loadings"], dtype=np.float64),
            np.asarray(values["eigenvalues"], dtype=np.float64),
            int(values["n_samples"]),
        )


class Projected(NamedTuple):
    """Scores, float64 (n_samples, n_components), and the sum of squares of each one's standardised calls."""

    scores: FloatArray
    norms: FloatArray


def allele_frequencies(calls: CallArray) -> FloatArray:
    """Return the ALT frequency of each variant, float64 (n_variants,); NaN without a call."""
    het, hom_alt, missing = WordBlock.of(calls).counts()
    called = calls.shape[1] - missing
    return np.where(called > 0, (het + 2 * hom_alt) / np.maximum(2 * called, 1), np.nan)


def standardise(calls: CallArray, frequencies: FloatArray) -> FloatArray:
    """Return (g - 2p) / sqrt(2p(1 - p)), float64 (n_variants, n_samples); 0 where missing or without variance."""
    p = frequencies[:, None]
    scale = np.sqrt(2 * p * (1 - p))
    usable = np.nan_to_num(scale) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (calls - 2 * p) / scale
    return np.where((calls >= 0) & usable, z, 0.0)


def fit_pca(
    calls: CallArray, *, n_components: int = 10, seed: int = 0, exact_limit: int = EXACT_LIMIT, xp: Any = np
) -> PcaModel:
    """Fit principal components on all given samples, in double precision.

    Parameters
    ----------
    calls: int8 (n_variants, n_samples), ``-9`` missing: autosomal, one ALT each, thinned for linkage.
    n_components: from 1 to the smaller of the samples less one and the varying variants.
    seed: of the randomised method, which only serves more than ``exact_limit`` samples
        (Halko, Martinsson and Tropp 2011, doi:10.1137/090771806).
    xp: the array module of the matrix products, e.g. ``device.xp``.

    Raises
    ------
    ConfigError: for more components than samples and variants carry.
    """
    return _fit(_in_memory(calls), calls.shape, n_components, seed, exact_limit, xp, np.dtype(np.float64))


def fit_pca_of_store(
    store: GenotypeStore,
    *,
    variants: Any = None,
    samples: Any = None,
    n_components: int = 10,
    seed: int = 0,
    exact_limit: int = EXACT_LIMIT,
    xp: Any = np,
    progress: Progress | None = None,
) -> PcaModel:
    """Fit principal components on chosen samples of a store, as :func:`fit_pca`, without holding their calls.

    Products of standardised calls are taken in single precision block by block and added up in double: eigenvalues
    agree with double precision to about six digits.

    Parameters
    ----------
    variants: rows of the store's variants (autosomal, one ALT each, thinned for linkage); None for all.
    samples: 0-based samples to fit on (unrelated ones); None for all.
    progress: called with (share, variants); each variant counts as often as it is read.
    """
    rows = np.arange(store.n_variants) if variants is None else np.asarray(variants, dtype=np.int64)
    source, n_samples = _stored(store, rows, samples)
    shape = (len(rows), n_samples)
    return _fit(source, shape, n_components, seed, exact_limit, xp, np.dtype(np.float32), progress)


def project(model: PcaModel, calls: CallArray) -> FloatArray:
    """Return component scores, float64 (n_samples, n_components), of any samples' calls at the model's variants."""
    return _project(model, _in_memory(calls), calls.shape[1], np, np.dtype(np.float64)).scores


def project_store(
    model: PcaModel,
    store: GenotypeStore,
    *,
    variants: Any = None,
    samples: Any = None,
    xp: Any = np,
    progress: Progress | None = None,
) -> FloatArray:
    """Return component scores, float64 (n_samples, n_components), of samples of a store.

    Parameters
    ----------
    variants: the store's row of each of the model's variants; a variant that it lacks (-1) counts as the mean.
    samples: 0-based samples; None for all.
    progress: called with (share, variants).
    """
    return _project_store(model, store, variants, samples, xp, progress, with_norms=False).scores


def project_store_with_norms(
    model: PcaModel,
    store: GenotypeStore,
    *,
    variants: Any = None,
    samples: Any = None,
    xp: Any = np,
    progress: Progress | None = None,
) -> Projected:
    """Do what :func:`project_store` does, and also return what correcting the scores needs."""
    return _project_store(model, store, variants, samples, xp, progress, with_norms=True)


def _project_store(
    model: PcaModel,
    store: GenotypeStore,
    variants: Any,
    samples: Any,
    xp: Any,
    progress: Progress | None,
    *,
    with_norms: bool,
) -> Projected:
    rows = np.arange(store.n_variants) if variants is None else np.asarray(variants, dtype=np.int64)
    known = np.flatnonzero(rows >= 0)
    part = replace(model, frequencies=model.frequencies[known], loadings=model.loadings[known])
    source, n_samples = _stored(store, rows[known], samples)
    watched = _watched(source, len(known), [1], progress)
    return _project(part, watched, n_samples, xp, np.dtype(np.float32), with_norms=with_norms)


def _in_memory(calls: CallArray) -> CallSource:
    size = _block_size(calls.shape[1])

    def blocks() -> Iterator[tuple[slice, CallArray]]:
        for start in range(0, calls.shape[0], size):
            part = slice(start, min(start + size, calls.shape[0]))
            yield part, calls[part]

    return blocks


def _stored(store: GenotypeStore, rows: IntArray, samples: Any) -> tuple[CallSource, int]:
    chosen = sample_numbers(store, samples)
    return lambda: call_blocks(store, rows, chosen, block_size=_block_size(len(chosen))), len(chosen)


_COST_OF_PRODUCTS = 10
"""About how often longer a pass of matrix products takes than one that counts alleles; for progress only."""


def _watched(source: CallSource, n_variants: int, costs: Sequence[int], progress: Progress | None) -> CallSource:
    """Return a source that tells, block by block, how much of its passes is done; ``costs``: of a variant, per pass."""
    if progress is None:
        return source
    passes = iter(enumerate(costs))

    def blocks() -> Iterator[tuple[slice, CallArray]]:
        number, cost = next(passes)
        before = sum(costs[:number]) * n_variants
        for part, calls in source():
            yield part, calls
            progress((before + cost * part.stop) / (sum(costs) * n_variants), number * n_variants + part.stop)

    return blocks


def _block_size(n_samples: int) -> int:
    return min(max(_BLOCK_CELLS // max(n_samples, 1), _SMALLEST_BLOCK), _LARGEST_BLOCK)


class _Standardiser:
    """Turns blocks of calls into standardised ones: float (n, n_samples) of one precision, 0 where missing."""

    def __init__(self, frequencies: FloatArray, dtype: np.dtype[Any], xp: Any) -> None:
        scale = np.sqrt(2 * frequencies * (1 - frequencies))
        usable = scale > 0
        self.inverse = np.where(usable, 1 / np.where(usable, scale, 1.0), 0.0).astype(dtype)
        self.mean = (2 * frequencies).astype(dtype)
        self.dtype, self.xp = dtype, xp

    def __call__(self, part: slice, calls: CallArray) -> Any:
        z = calls.astype(self.dtype)
        z -= self.mean[part, None]
        z *= self.inverse[part, None]
        z[WordBlock.of(calls).missing_cells()] = 0
        return self.xp.asarray(z)


def _fit(
    source: CallSource, shape: tuple[int, ...], n_components: int, seed: int, exact_limit: int, xp: Any,
    dtype: np.dtype[Any], progress: Progress | None = None,
) -> PcaModel:  # fmt: skip
    products = 1 if shape[1] <= exact_limit else _POWER_ITERATIONS + 1
    source = _watched(source, shape[0], [1, *([_COST_OF_PRODUCTS] * products), 2], progress)
    frequencies = np.concatenate([np.empty(0), *(allele_frequencies(calls) for _, calls in source())])
    varying = int(((frequencies > 0) & (frequencies < 1)).sum())
    most = min(shape[1] - 1, varying)
    if not varying:
        raise ConfigError(
            f"none of {shape[0]:,} variants varies among the {shape[1]:,} samples that components are fitted on",
            hint="more variants, or other samples to fit on",
        )
    if not 1 <= n_components <= most:
        raise ConfigError(
            f"{n_components} components of {shape[1]} samples and {varying} varying variants cannot be fitted",
            hint=f"at most {max(most, 0)}",
        )
    with one_blas_thread():
        known = np.nan_to_num(frequencies)
        standardised = _Standardiser(known, dtype, xp)
        bulk = None
        if shape[1] <= exact_limit:
            gram = np.zeros((shape[1], shape[1]))
            for part, calls in source():
                z = standardised(part, calls)
                gram += to_numpy(xp.matmul(z.T, z))
            values, vectors = _leading(gram, n_components, 0 if dtype == np.float64 else _SINGLE_TOLERANCE)
            rest = float(np.trace(gram)) - float(values.sum()), float(np.vdot(gram, gram)) - float((values**2).sum())
            bulk = Bulk(*(max(r, 0.0) for r in rest))
        else:
            values, vectors = _randomised(source, standardised, shape, n_components, seed)
        axes = np.empty((shape[0], n_components))
        right = xp.asarray((vectors / np.sqrt(values)).astype(dtype))
        for part, calls in source():
            axes[part] = to_numpy(xp.matmul(standardised(part, calls), right))
    axes *= np.sign((axes**3).sum(axis=0))
    spread = np.sqrt(values / shape[1])
    return PcaModel(known, axes / spread, values / varying, shape[1], bulk)


def _leading(gram: FloatArray, n: int, tolerance: float) -> tuple[FloatArray, FloatArray]:
    """Largest eigenvalues, descending, and their vectors; by Lanczos from a fixed start if large."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    size = len(gram)
    if size <= _DENSE_LIMIT or 3 * n >= size:
        values, vectors = eigh(gram, subset_by_index=(size - n, size - 1))
    else:
        start = np.random.default_rng(0).standard_normal(size)
        values, vectors = eigsh(gram, k=n, v0=start, ncv=min(size, max(4 * n, 40)), which="LA", tol=tolerance)
    order = np.argsort(-values, kind="stable")
    return values[order], np.ascontiguousarray(vectors[:, order])


def _randomised(
    source: CallSource, standardised: _Standardiser, shape: tuple[int, ...], n_components: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Halko et al. 2011, algorithm 4.4, on the samples' Gram matrix without forming it; then a small exact one."""
    size = min(n_components + _OVERSAMPLING, *shape)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((shape[1], size)))
    for _ in range(_POWER_ITERATIONS):
        basis, _ = np.linalg.qr(_gram_times(source, standardised, basis))
    image = _gram_times(source, standardised, basis)
    small = basis.T @ image
    values, turn = np.linalg.eigh((small + small.T) / 2)
    leading = np.argsort(-values, kind="stable")[:n_components]
    return values[leading], np.ascontiguousarray(basis @ turn[:, leading])


def _gram_times(source: CallSource, standardised: _Standardiser, basis: FloatArray) -> FloatArray:
    """The Gram matrix of the samples times ``basis``, in one pass."""
    xp = standardised.xp
    right = xp.asarray(basis.astype(standardised.dtype))
    out = np.zeros(basis.shape)
    for part, calls in source():
        z = standardised(part, calls)
        out += to_numpy(xp.matmul(z.T, xp.matmul(z, right)))
    return out


def _project(
    model: PcaModel, source: CallSource, n_samples: int, xp: Any, dtype: np.dtype[Any], *, with_norms: bool = False
) -> Projected:
    out, norms = np.zeros((n_samples, model.n_components)), np.zeros(n_samples)
    with one_blas_thread():
        standardised = _Standardiser(model.frequencies, dtype, xp)
        loadings = model.loadings.astype(dtype)
        for part, calls in source():
            z = standardised(part, calls)
            out += to_numpy(xp.matmul(z.T, xp.asarray(loadings[part])))
            if with_norms:
                norms += to_numpy(xp.sum(z * z, axis=0))
    return Projected(out, norms)
