"""Principal components of genotypes, fitted on some samples and projected onto any.

Standardisation as in Patterson, Price and Reich 2006 (doi:10.1371/journal.pgen.0020190): (g - 2p) / sqrt(2p(1 - p))
with the fitting samples' ALT frequency p; a missing call counts as the mean. Components mirror ancestry, batch and
kinship alike; few or linked variants give components of those variants rather than of people. A projected sample lies a
little nearer to the origin than a fitting sample would (shrinkage); nothing is corrected for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError
from genomix.variants.threads import one_blas_thread

FloatArray = npt.NDArray[np.float64]
CallArray = npt.NDArray[np.int8]

EXACT_LIMIT = 5000
"""With at most this many samples or variants the decomposition is exact, beyond it randomised."""

_OVERSAMPLING = 16
_POWER_ITERATIONS = 10
_BLOCK = 2048


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
    """

    frequencies: FloatArray
    loadings: FloatArray
    eigenvalues: FloatArray
    n_samples: int

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.loadings.shape[1])

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


def allele_frequencies(calls: CallArray) -> FloatArray:
    """Return the ALT frequency of each variant, float64 (n_variants,); NaN without a call."""
    called = (calls >= 0).sum(axis=1)
    copies = np.where(calls >= 0, calls, 0).sum(axis=1, dtype=np.int64)
    return np.where(called > 0, copies / np.maximum(2 * called, 1), np.nan)


def standardise(calls: CallArray, frequencies: FloatArray) -> FloatArray:
    """Return (g - 2p) / sqrt(2p(1 - p)), float64 (n_variants, n_samples); 0 where missing or without variance."""
    p = frequencies[:, None]
    scale = np.sqrt(2 * p * (1 - p))
    usable = np.nan_to_num(scale) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (calls - 2 * p) / scale
    return np.where((calls >= 0) & usable, z, 0.0)


def fit_pca(calls: CallArray, *, n_components: int = 10, seed: int = 0, exact_limit: int = EXACT_LIMIT) -> PcaModel:
    """Fit principal components on all given samples.

    Parameters
    ----------
    calls: int8 (n_variants, n_samples), ``-9`` missing: autosomal, one ALT each, thinned for linkage.
    n_components: from 1 to the smaller of the samples less one and the varying variants.
    seed: of the randomised method, which only serves more than ``exact_limit`` samples and variants
        (Halko, Martinsson and Tropp 2011, doi:10.1137/090771806).

    Raises
    ------
    ConfigError: for more components than samples and variants carry.
    """
    frequencies = allele_frequencies(calls)
    varying = int(((frequencies > 0) & (frequencies < 1)).sum())
    most = min(calls.shape[1] - 1, varying)
    if not 1 <= n_components <= most:
        raise ConfigError(
            f"{n_components} components of {calls.shape[1]} samples and {varying} varying variants cannot be fitted",
            hint=f"at most {max(most, 0)}",
        )
    with one_blas_thread():
        known = np.nan_to_num(frequencies)
        exact = min(calls.shape) <= exact_limit
        axes, values = _exact(calls, known, n_components) if exact else _randomised(calls, known, n_components, seed)
    axes *= np.sign((axes**3).sum(axis=0))
    spread = np.sqrt(values / calls.shape[1])
    return PcaModel(known, axes / spread, values / varying, calls.shape[1])


def _exact(calls: CallArray, frequencies: FloatArray, n_components: int) -> tuple[FloatArray, FloatArray]:
    """Leading left singular vectors of the standardised calls and squared singular values, by the smaller Gram."""
    from scipy.linalg import eigh

    by_variant = calls.shape[0] <= calls.shape[1]
    n = min(calls.shape)
    gram = np.zeros((n, n))
    if by_variant:
        for start in range(0, calls.shape[1], _BLOCK):
            z = standardise(calls[:, start : start + _BLOCK], frequencies)
            gram += z @ z.T
    else:
        for start in range(0, calls.shape[0], _BLOCK):
            z = standardise(calls[start : start + _BLOCK], frequencies[start : start + _BLOCK])
            gram += z.T @ z
    values, vectors = eigh(gram, subset_by_index=(n - n_components, n - 1))
    values, vectors = np.ascontiguousarray(values[::-1]), np.ascontiguousarray(vectors[:, ::-1])
    return (vectors, values) if by_variant else (_times(calls, frequencies, vectors / np.sqrt(values)), values)


def _times(calls: CallArray, frequencies: FloatArray, right: FloatArray) -> FloatArray:
    """The standardised calls times ``right``, block by block."""
    return np.concatenate(
        [
            standardise(calls[start : start + _BLOCK], frequencies[start : start + _BLOCK]) @ right
            for start in range(0, calls.shape[0], _BLOCK)
        ]
    )


def _transposed_times(calls: CallArray, frequencies: FloatArray, right: FloatArray) -> FloatArray:
    """The transposed standardised calls times ``right``, block by block."""
    out = np.zeros((calls.shape[1], right.shape[1]))
    for start in range(0, calls.shape[0], _BLOCK):
        part = slice(start, start + _BLOCK)
        out += standardise(calls[part], frequencies[part]).T @ right[part]
    return out


def _randomised(
    calls: CallArray, frequencies: FloatArray, n_components: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Halko et al. 2011, algorithms 4.4 and 5.1: power iterations with re-orthogonalisation, then a small exact one."""
    size = min(n_components + _OVERSAMPLING, *calls.shape)
    start = np.random.default_rng(seed).standard_normal((calls.shape[1], size))
    basis, _ = np.linalg.qr(_times(calls, frequencies, start))
    for _ in range(_POWER_ITERATIONS):
        back, _ = np.linalg.qr(_transposed_times(calls, frequencies, basis))
        basis, _ = np.linalg.qr(_times(calls, frequencies, back))
    left, singular, _ = np.linalg.svd(_transposed_times(calls, frequencies, basis).T, full_matrices=False)
    return np.ascontiguousarray((basis @ left)[:, :n_components]), np.asarray(singular[:n_components] ** 2)


def project(model: PcaModel, calls: CallArray) -> FloatArray:
    """Return component scores, float64 (n_samples, n_components), of any samples' calls at the model's variants."""
    with one_blas_thread():
        return _transposed_times(calls, model.frequencies, model.loadings)


def ld_prune(
    calls: CallArray, contigs: pl.Series, positions: Any, *, r2: float = 0.2, window_bp: int = 500_000
) -> npt.NDArray[np.bool_]:
    """Return which variants to keep, bool (n_variants,), so that no two kept ones within the window exceed ``r2``.

    Variants are visited in file order and kept unless the squared correlation of their calls (missing as the mean) with
    one already kept, at most ``window_bp`` before on the same contig, exceeds ``r2``. Variants without variance are
    dropped. Positions must ascend within a contig, and each contig be in one piece.

    >>> import numpy as np, polars as pl
    >>> calls = np.array([[0, 1, 2, 1], [0, 1, 2, 1], [2, 0, 0, 1]], dtype=np.int8)
    >>> ld_prune(calls, pl.Series(["1", "1", "2"]), [10, 20, 20]).tolist()
    [True, False, True]
    """
    place = np.asarray(positions, dtype=np.int64)
    _, contig = np.unique(contigs.to_numpy().astype(str), return_inverse=True)
    kept = np.zeros(calls.shape[0], dtype=np.bool_)
    window: list[int] = []
    held = np.empty((64, calls.shape[1]))
    for i in range(calls.shape[0]):
        z = _unit(calls[i])
        if z is None:
            continue
        gone = 0
        while gone < len(window) and (contig[window[gone]] != contig[i] or place[i] - place[window[gone]] > window_bp):
            gone += 1
        if gone:
            held[: len(window) - gone] = held[gone : len(window)].copy()
            window = window[gone:]
        if window and float(np.max(np.einsum("ij,j->i", held[: len(window)], z) ** 2)) > r2:
            continue
        if len(window) == len(held):
            held = np.vstack([held, np.empty_like(held)])
        held[len(window)] = z
        window.append(i)
        kept[i] = True
    return kept


def _unit(calls: CallArray) -> FloatArray | None:
    """Centred calls of length one, 0 where missing; None without variance."""
    present = calls >= 0
    if not present.any():
        return None
    centred = np.where(present, calls - calls[present].mean(), 0.0)
    length = float(np.sqrt((centred**2).sum()))
    return centred / length if length > 0 else None
