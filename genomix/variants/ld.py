"""Thinning for linkage disequilibrium: which variants to keep so that no two near ones correlate.

:func:`prune_pairwise` is PLINK's ``--indep-pairwise`` (Purcell et al. 2007, doi:10.1086/519795; Chang et al. 2015,
doi:10.1186/s13742-015-0047-8) in the same order of comparisons, so that the lists agree variant by variant.
:func:`ld_prune` is the plainer rule that the feature families use inside training folds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.plink import GenotypeStore
from genomix.variants.genotype_counts import CallArray, FloatArray, IntArray, WordBlock, call_blocks, sample_numbers
from genomix.variants.kinship import Progress, to_numpy
from genomix.variants.threads import one_blas_thread

_SLACK = 2.0**-44
"""PLINK's tolerance (its ``kSmallEpsilon``) where r² or frequencies are equal but for rounding."""

_SMALLEST_BLOCK, _LARGEST_BLOCK = 64, 512

_EXACT_IN_FLOAT32 = 1 << 24


def prune_pairwise(
    store: GenotypeStore,
    *,
    variants: Any = None,
    samples: Any = None,
    r2: float = 0.2,
    window_bp: int | None = 500_000,
    window_variants: int | None = None,
    step: int = 1,
    xp: Any = np,
    progress: Progress | None = None,
) -> npt.NDArray[np.bool_]:
    """Return which variants to keep, bool (n_variants,), by PLINK's pairwise rule.

    A window slides over each contig. Inside it, pairs are compared in file order until none of the remaining exceeds
    ``r2``; of a pair that does, the variant with the smaller minor allele frequency goes, of equals the later one. The
    squared correlation is that of hard calls called in both. Variants without variance go.

    Parameters
    ----------
    variants: rows of the store's variants (autosomal, one ALT each, positions ascending within a contig); None for all.
    samples: 0-based samples that count; None for all.
    r2: largest squared correlation of two kept variants in one window, in (0, 1].
    window_bp: width of the window in bp; or ``window_variants``: in variants, those that went included.
    step: by how many variants a window of ``window_variants`` moves on; a window in bp moves by one.
    xp: the array module, e.g. ``device.xp``.
    progress: called with (share, variants).

    Raises
    ------
    ConfigError: for both or no window, or a step with a window in bp.
    FormatError: for positions that do not ascend within a contig, or a contig in several pieces.
    """
    if (window_bp is None) == (window_variants is None):
        raise ConfigError("a window is in bp or in variants", hint="give one of the two")
    if window_bp is not None and step != 1:
        raise ConfigError("a window in bp moves on by one variant", hint="leave out the step")
    if not 0 < r2 <= 1 or step < 1 or (window_variants is not None and window_variants < 2):
        raise ConfigError("r² lies in (0, 1], a step is at least 1, a window holds at least 2 variants")
    rows = np.arange(store.n_variants) if variants is None else np.asarray(variants, dtype=np.int64)
    chosen = sample_numbers(store, samples)
    kept = np.zeros(len(rows), dtype=np.bool_)

    def reached(start: int, n_variants: int) -> None:
        if progress is not None:
            progress((start + n_variants) / len(rows), start + n_variants)

    with one_blas_thread():  # products this small only wait for each other on several
        for start, end in _contigs(store, rows):
            place = store.variants["position"].to_numpy()[rows[start:end]]
            windows = _windows(place, window_bp, window_variants, step)
            kept[start:end] = _prune_contig(store, rows[start:end], chosen, windows, r2, xp, partial(reached, start))
    return kept


def _contigs(store: GenotypeStore, rows: IntArray) -> list[tuple[int, int]]:
    """Return where each contig starts and ends among ``rows``."""
    if not len(rows):
        return []
    contigs = store.variants["contig"][rows].to_numpy().astype(str)
    place = store.variants["position"].to_numpy()[rows]
    starts = np.flatnonzero(np.concatenate([[True], contigs[1:] != contigs[:-1]]))
    descends = (np.diff(place) < 0) & (contigs[1:] == contigs[:-1])
    if len(np.unique(contigs[starts])) < len(starts) or descends.any():
        raise FormatError(
            "variants are not sorted by position within one piece per contig", where=str(store.prefix),
            hint="sort the genotypes first: genomix variants convert",
        )  # fmt: skip
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True))


def _windows(place: IntArray, window_bp: int | None, window_variants: int | None, step: int) -> list[tuple[int, int]]:
    """Return the windows (start, end exclusive) of one contig, those that hold a new pair."""
    n = len(place)
    if window_bp is not None:
        ends = np.searchsorted(place, place + window_bp, side="right").tolist()
        found = []
        reached = 0
        for start, end in enumerate(ends):
            if end > reached:
                found.append((start, end))
                reached = end
        return found
    assert window_variants is not None
    starts = range(0, max(n - window_variants, 0) + step, step)
    return [(start, min(start + window_variants, n)) for start in starts if start < n]


class _Contig:
    """The state of one contig's pruning.

    ``gone`` and ``major`` (major allele frequency) are per variant, ``later`` lists for a variant the later ones
    that it correlates with, and ``waiting`` for a window the variants that have such a pair new in it.
    """

    def __init__(self, n: int, windows: list[tuple[int, int]]) -> None:
        self.gone = np.zeros(n, dtype=np.bool_)
        self.major = np.zeros(n)
        self.later: dict[int, list[int]] = {}
        self.waiting: dict[int, set[int]] = {}
        self.windows = windows
        self.starts = np.array([w[0] for w in windows], dtype=np.int64)
        self.ends = np.array([w[1] for w in windows], dtype=np.int64)
        self.following = 0

    def link(self, first: IntArray, second: IntArray) -> None:
        """Note correlated pairs, ordered by their second variant, that some window holds."""
        window = np.searchsorted(self.ends, second, side="right")
        inside = window < len(self.windows)
        inside[inside] = self.starts[window[inside]] <= first[inside]
        for a, b, w in zip(first[inside].tolist(), second[inside].tolist(), window[inside].tolist(), strict=True):
            self.later.setdefault(a, []).append(b)
            self.waiting.setdefault(w, set()).add(a)

    def run_windows(self, stop: int) -> int:
        """Run every window that ends by ``stop``; return where the next one starts."""
        while self.following < len(self.windows) and self.windows[self.following][1] <= stop:
            self._run(sorted(self.waiting.pop(self.following, ())), self.windows[self.following][1])
            self.following += 1
        return self.windows[self.following][0] if self.following < len(self.windows) else len(self.gone)

    def _run(self, waiting: list[int], end: int) -> None:
        """Compare pairs in PLINK's order until nothing more goes.

        In each sweep every variant is compared with those after it up to its first correlated one, and one of the two
        goes; it continues behind that one in the next sweep. Pairs that do not correlate change nothing.
        """
        while waiting:
            waiting = [first for first in waiting if not self.gone[first] and self._one_goes(first, end)]

    def _one_goes(self, first: int, end: int) -> bool:
        later = self.later[first]
        while later and later[0] < end:
            second = later.pop(0)
            if not self.gone[second]:
                self.gone[first if self.major[first] > self.major[second] * (1 + _SLACK) else second] = True
                return True
        return False


def _prune_contig(
    store: GenotypeStore,
    rows: IntArray,
    samples: IntArray,
    windows: list[tuple[int, int]],
    r2: float,
    xp: Any,
    reached: Callable[[int], None],
) -> npt.NDArray[np.bool_]:
    """Read the contig in blocks, keep the calls of what may still meet a later variant, and run each window in time."""
    state = _Contig(len(rows), windows)
    held = np.empty((0, len(samples)), dtype=np.int8)
    numbers = np.empty(0, dtype=np.int64)
    before = 0
    for part, calls in call_blocks(store, rows, samples, block_size=_block_size(windows)):
        new = np.arange(part.start, part.stop)
        state.major[new], flat = _major_frequency(calls)
        state.gone[new[flat]] = True
        stays = ~state.gone[numbers] & (numbers >= before)
        held = np.concatenate([held[stays], calls[~flat]])
        numbers = np.concatenate([numbers[stays], new[~flat]])
        first_new = int(stays.sum())
        second, first = np.nonzero(_exceeds(held, first_new, r2, xp).T)
        earlier = first < second + first_new
        state.link(numbers[first[earlier]], numbers[second[earlier] + first_new])
        before = state.run_windows(part.stop)
        reached(part.stop)
    return ~state.gone


def _block_size(windows: list[tuple[int, int]]) -> int:
    """Variants per block: about a window's, since pairs within a block that no window holds are worked out in vain."""
    typical = int(np.median([end - start for start, end in windows])) if windows else 0
    return min(max(typical, _SMALLEST_BLOCK), _LARGEST_BLOCK)


def _major_frequency(calls: CallArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return each variant's major allele frequency, and which have no variance."""
    het, hom_alt, missing = WordBlock.of(calls).counts()
    n_called = calls.shape[1] - missing
    copies = het + 2 * hom_alt
    frequency = copies / np.maximum(2 * n_called, 1)
    return np.maximum(frequency, 1 - frequency), np.asarray(n_called * (het + 4 * hom_alt) == copies**2)


def _exceeds(calls: CallArray, first_new: int, r2: float, xp: Any) -> npt.NDArray[np.bool_]:
    """Return bool (n_held, n_new): whether the squared correlation of a held and a new variant exceeds ``r2``.

    Sums of small integers are exact, so the result depends on nothing but the calls.
    """
    kind = xp.float32 if calls.shape[1] < _EXACT_IN_FLOAT32 else xp.float64
    present = calls >= 0
    centred = xp.astype(xp.asarray(np.where(present, calls - 1, 0).astype(np.int8)), kind)
    called = xp.astype(xp.asarray(present.astype(np.int8)), kind)
    one, other = (slice(None), slice(first_new, None))

    def products(a: Any, b: Any) -> Any:
        return xp.astype(xp.matmul(a[one, :], b[other, :].T), xp.float64)

    cross = products(centred, centred)
    squares = centred * centred
    if present.all():
        n = float(calls.shape[1])
        sums = xp.astype(xp.sum(centred, axis=1), xp.float64)[:, None]
        ones = xp.astype(xp.sum(squares, axis=1), xp.float64)[:, None]
        sum_one, sum_other, square_one, square_other = sums, sums[other, :].T, ones, ones[other, :].T
    else:
        n = products(called, called)
        sum_one, sum_other = products(centred, called), products(called, centred)
        square_one, square_other = products(squares, called), products(called, squares)
    covariance = n * cross - sum_one * sum_other
    variances = (n * square_one - sum_one**2) * (n * square_other - sum_other**2)
    return np.asarray(to_numpy(covariance**2 > r2 * (1 + _SLACK) * variances), dtype=np.bool_)


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
