"""KING-robust kinship of all pairs of samples (Manichaikul et al. 2010, doi:10.1093/bioinformatics/btq559).

Between two samples i and j, with dosages g in {0, 1, 2}, over the variants called in both (equation 11, rearranged)::

    kinship = 1/2 - sum((g_i - g_j)^2) / (4 * min(n_het_i, n_het_j))

About 0.5 duplicates, 0.25 first degree, 0.125 second, 0.0625 third; the usual cuts lie between them (``DEGREES``). With
few variants the estimate is noisy: a pair above a cut is not thereby proved to be related.

The matrix products are written to the Python array API: NumPy on the CPU, CuPy on a GPU. All counts within a block are
small integers, exact in float32, and blocks add up in float64, so that the result does not depend on threads or tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.plink import GenotypeStore
from genomix.schemas.genotypes import KINSHIP, KINSHIP_NAMED
from genomix.variants.genotype_counts import HUMAN_AUTOSOMES, autosomal_biallelic, call_blocks

DEGREES: dict[str, float] = {"duplicate": 0.354, "first": 0.177, "second": 0.0884, "third": 0.0442}
"""Kinship above which a pair counts as that degree or closer (Manichaikul 2010, table 1)."""

MINIMUM = DEGREES["third"]

_MANY_PAIRS = 250_000
"""From so many pairs of samples on, comparing bits wins back the loading of its compiler."""

_BITS_TILE, _PRODUCTS_TILE = 4096, 2048

_BLOCK_CALLS = 1 << 25

CallBlocks = Callable[[npt.NDArray[np.int64]], Iterator[npt.NDArray[np.int8]]]
"""Given sample numbers, yields int8 (n_variants, n_samples) blocks over the same variants in the same order."""

Progress = Callable[[float, int], None]
"""Called after each block with the share that is done, from 0 to 1, and how many things were done so far."""


class _Tile(NamedTuple):
    """A tile of samples, float32 (n_samples, n_variants): dosage minus one (0 where missing), called, heterozygous."""

    centred: Any
    called: Any
    het: Any
    complete: bool


class PairCounts:
    """Counts the pairs of samples that have no kinship: one of the two has no heterozygous call where both are called.

    Such a pair is in no list of pairs, and may be related all the same.
    """

    def __init__(self) -> None:
        self.undefined = 0


class _Compared:
    """Tells how many pairs of samples are compared; half of the variants of two pairs count as one pair."""

    def __init__(self, n_samples: int, n_variants: int, progress: Progress | None, counted: PairCounts) -> None:
        self._n_pairs, self._n_variants, self._progress = n_samples * (n_samples - 1) // 2, n_variants, progress
        self._done = 0
        self.counted = counted

    def add(self, n_pairs: int, n_variants: int) -> None:
        """Count a block of variants of some pairs."""
        self._done += n_pairs * n_variants
        if self._progress is not None and n_pairs:
            self._progress(self._done / (self._n_pairs * self._n_variants), self._done // self._n_variants)


def king_robust_pair(calls_i: npt.NDArray[np.int8], calls_j: npt.NDArray[np.int8]) -> float:
    """Return the kinship of one pair from int8 (n_variants,) calls; NaN when either has no heterozygous call.

    >>> import numpy as np
    >>> king_robust_pair(np.array([1, 1, 0, 2], dtype=np.int8), np.array([1, 1, 0, 2], dtype=np.int8))
    0.5
    """
    both = (calls_i >= 0) & (calls_j >= 0)
    i, j = calls_i[both].astype(np.int64), calls_j[both].astype(np.int64)
    n_het = min(int((i == 1).sum()), int((j == 1).sum()))
    return 0.5 - float(((i - j) ** 2).sum()) / (4 * n_het) if n_het else float("nan")


def kinship_pairs(
    store: GenotypeStore,
    *,
    variants: Any = None,
    samples: Any = None,
    minimum: float = MINIMUM,
    xp: Any = np,
    tile: int | None = None,
    autosomes: int = HUMAN_AUTOSOMES,
    progress: Progress | None = None,
    counted: PairCounts | None = None,
) -> pl.DataFrame:
    """Return the pairs with a kinship of at least ``minimum`` (schema KINSHIP), numbered as in the store.

    Parameters
    ----------
    variants: rows of the store's variants to use; None for all autosomal records with one ALT. Pruning for linkage is
        not needed (KING advises against it).
    samples: 0-based samples; None for all.
    xp: the array module, e.g. ``device.xp``.
    tile: samples per tile; memory grows with its square. None for 4,096 on the CPU and 2,048 elsewhere.
    autosomes: number of autosomes of the species.
    progress: called with (share, pairs).
    counted: where to add the number of pairs without a kinship.
    """
    rows = (
        np.flatnonzero(autosomal_biallelic(store, autosomes=autosomes))
        if variants is None
        else np.asarray(variants, dtype=np.int64)
    )
    chosen = np.arange(store.n_samples) if samples is None else np.asarray(samples, dtype=np.int64)

    def blocks(part: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int8]]:
        for _, calls in call_blocks(store, rows, chosen[part], block_size=max(64, _BLOCK_CALLS // max(len(part), 1))):
            yield calls

    compared = _Compared(len(chosen), len(rows), progress, counted if counted is not None else PairCounts())
    frame = _pairs(blocks, len(chosen), minimum, xp, tile, compared)
    first, second = chosen[frame["sample_a"].to_numpy()], chosen[frame["sample_b"].to_numpy()]
    return _pair_frame(np.minimum(first, second), np.maximum(first, second), frame["kinship"].to_numpy())


def degree_words(kinship: pl.Expr) -> pl.Expr:
    """Return each pair's degree in words: duplicate, first, second, third, or ``unrelated`` below 0.0442.

    >>> pl.DataFrame({"k": [0.49, 0.25, 0.05]}).select(degree_words(pl.col("k"))).to_series().to_list()
    ['duplicate', 'first', 'third']
    """
    words = pl.lit("unrelated")
    for name, cut in sorted(DEGREES.items(), key=lambda item: item[1]):
        words = pl.when(kinship > cut).then(pl.lit(name)).otherwise(words)
    return words.alias("degree")


def named_pairs(pairs: pl.DataFrame, sample_ids: pl.Series) -> pl.DataFrame:
    """Return pairs with both samples' identifiers and the degree in words (schema KINSHIP_NAMED), closest first."""
    ids = sample_ids.to_frame("id").with_row_index("number").with_columns(pl.col("number").cast(pl.Int64))
    named = (
        pairs.join(ids.rename({"id": "sample_id_a"}), left_on="sample_a", right_on="number")
        .join(ids.rename({"id": "sample_id_b"}), left_on="sample_b", right_on="number")
        .with_columns(degree_words(pl.col("kinship")))
        .sort(["kinship", "sample_a", "sample_b"], descending=[True, False, False])
    )
    return KINSHIP_NAMED.validate(named.select(KINSHIP_NAMED.names))


def king_robust(
    calls: npt.NDArray[np.int8], *, minimum: float = MINIMUM, xp: Any = np, tile: int | None = None
) -> pl.DataFrame:
    """Return the pairs with a kinship of at least ``minimum`` from int8 (n_variants, n_samples) calls in memory."""

    def blocks(part: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int8]]:
        yield calls[:, part]

    return pairs_from_blocks(blocks, calls.shape[1], minimum=minimum, xp=xp, tile=tile)


def king_robust_matrix(calls: npt.NDArray[np.int8], *, xp: Any = np) -> npt.NDArray[np.float64]:
    """Return the whole kinship matrix, float64 (n_samples, n_samples), 0.5 on the diagonal; for a few thousand samples.

    NaN where a pair shares no variant at which both could be compared.
    """
    tile = _indicators(calls, xp)
    kinship = to_numpy(_kinship(*_products(tile, tile, xp), xp))
    np.fill_diagonal(kinship, 0.5)
    return kinship


def pairs_from_blocks(
    blocks: CallBlocks, n_samples: int, *, minimum: float, xp: Any = np, tile: int | None = None
) -> pl.DataFrame:
    """Return the pairs with a kinship of at least ``minimum``, tile by tile (schema KINSHIP)."""
    return _pairs(blocks, n_samples, minimum, xp, tile, _Compared(n_samples, 1, None, PairCounts()))


def _pairs(
    blocks: CallBlocks, n_samples: int, minimum: float, xp: Any, tile: int | None, compared: _Compared
) -> pl.DataFrame:
    """Do what :func:`pairs_from_blocks` does, and count."""
    by_bits = xp is np and n_samples**2 >= _MANY_PAIRS
    size = tile if tile is not None else _BITS_TILE if by_bits else _PRODUCTS_TILE
    tiles = [np.arange(start, min(start + size, n_samples)) for start in range(0, n_samples, size)]
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]] = []
    for a, left in enumerate(tiles):
        for right in tiles[a:]:
            if by_bits:
                i, j, values = _pairs_by_bits(blocks, left, right, minimum, compared)
            else:
                kinship = _tile_kinship(blocks, left, right, xp, compared)
                i, j = (to_numpy(v) for v in xp.nonzero(kinship >= minimum))
                upper = left[i] < right[j]
                i, j = i[upper], j[upper]
                values = to_numpy(kinship)[i, j]
                nothing = to_numpy(xp.isnan(kinship))
                compared.counted.undefined += int((np.triu(nothing, 1) if left is right else nothing).sum())
            found.append((left[i], right[j], values))
    first, second, whole = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else ([], [], [])
    return _pair_frame(np.asarray(first), np.asarray(second), np.asarray(whole))


def _pair_frame(first: Any, second: Any, kinship: Any) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "sample_a": np.asarray(first, dtype=np.int64),
            "sample_b": np.asarray(second, dtype=np.int64),
            "kinship": np.asarray(kinship, dtype=np.float64),
        }
    )
    return KINSHIP.validate(frame.sort("sample_a", "sample_b"))


def _n_pairs(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> int:
    return len(left) * (len(left) - 1) // 2 if left is right else len(left) * len(right)


def _tile_kinship(
    blocks: CallBlocks,
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    xp: Any,
    compared: _Compared,
) -> Any:
    """Kinship of every sample of ``left`` with every one of ``right``, summed over variant blocks.

    Of a tile with itself only what lies above the diagonal need be there.
    """
    others: Iterator[npt.NDArray[np.int8] | None] = repeat(None) if left is right else blocks(right)
    totals: tuple[Any, Any, Any] | None = None
    for left_calls, right_calls in zip(blocks(left), others, strict=False):
        one = _indicators(left_calls, xp)
        other = one if right_calls is None else _indicators(right_calls, xp)
        part = _products(one, other, xp)
        totals = part if totals is None else (totals[0] + part[0], totals[1] + part[1], totals[2] + part[2])
        compared.add(_n_pairs(left, right), len(left_calls))
    if totals is None:
        return xp.full((len(left), len(right)), float("nan"))
    return _kinship(*totals, xp)


def _pairs_by_bits(
    blocks: CallBlocks,
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    minimum: float,
    compared: _Compared,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pairs of a tile as places in ``left`` and ``right``; of a tile with itself those above the diagonal."""
    from genomix.variants import _king_numba as kernel

    same = left is right
    others: Iterator[npt.NDArray[np.int8] | None] = repeat(None) if same else blocks(right)
    totals = np.zeros((3, len(left), len(right)), dtype=np.int32)
    for left_calls, right_calls in zip(blocks(left), others, strict=False):
        one = bit_planes(left_calls)
        other = one if right_calls is None else bit_planes(right_calls)
        kernel.add_counts(one, other, len(left_calls), same, totals)
        compared.add(_n_pairs(left, right), len(left_calls))
    first, second, kinship, undefined = kernel.kinship_from(totals, same, minimum)
    compared.counted.undefined += int(undefined)
    return np.asarray(first), np.asarray(second), np.asarray(kinship)


def bit_planes(calls: npt.NDArray[np.int8]) -> npt.NDArray[np.uint64]:
    """Return heterozygous, REF homozygous and ALT homozygous calls as bits, uint64 (3, n_samples, n_words)."""
    from genomix.variants import _king_numba as kernel

    planes = np.zeros((3, calls.shape[1], -(-calls.shape[0] // 64)), dtype=np.uint64)
    kernel.pack(np.ascontiguousarray(calls), planes)
    return planes


def _indicators(calls: npt.NDArray[np.int8], xp: Any) -> _Tile:
    by_sample = np.ascontiguousarray(calls.T)
    called = by_sample >= 0
    centred = np.where(called, by_sample - 1, 0).astype(np.float32)
    het = (by_sample == 1).astype(np.float32)
    return _Tile(xp.asarray(centred), xp.asarray(called.astype(np.float32)), xp.asarray(het), bool(called.all()))


def _products(one: _Tile, other: _Tile, xp: Any) -> tuple[Any, Any, Any]:
    """Per pair: sum of squared differences, and each one's heterozygous calls, where both are called.

    Without missing calls the latter are row sums, and one matrix product is left of the three or five.
    """

    def exact(counts: Any) -> Any:
        return xp.astype(counts, xp.float64)

    cross = xp.matmul(one.centred, other.centred.T)
    if one.complete and other.complete:
        hom_one = xp.sum(one.centred**2, axis=1)[:, None]
        hom_other = xp.sum(other.centred**2, axis=1)[None, :]
        het_one, het_other = xp.sum(one.het, axis=1)[:, None], xp.sum(other.het, axis=1)[None, :]
        return exact(hom_one + hom_other - 2 * cross), exact(het_one), exact(het_other)
    hom_one = xp.matmul(one.centred**2, other.called.T)
    het_one = xp.matmul(one.het, other.called.T)
    if one is other:
        return exact(hom_one + hom_one.T - 2 * cross), exact(het_one), exact(het_one.T)
    hom_other = xp.matmul(one.called, (other.centred**2).T)
    return exact(hom_one + hom_other - 2 * cross), exact(het_one), exact(xp.matmul(one.called, other.het.T))


def _kinship(squares: Any, het_one: Any, het_other: Any, xp: Any) -> Any:
    """Equation 11 from float64 counts; NaN where the smaller number of heterozygotes is zero."""
    fewer = xp.minimum(het_one, het_other)
    safe = xp.where(fewer > 0, fewer, xp.ones_like(fewer))
    nothing = xp.asarray(float("nan"), dtype=xp.float64)
    return xp.where(fewer > 0, 0.5 - squares / (4 * safe), nothing)


def to_numpy(array: Any) -> npt.NDArray[Any]:
    """Bring an array of any module to NumPy (CuPy has ``get``; the others speak DLPack)."""
    if isinstance(array, np.ndarray):
        return array
    return np.asarray(array.get()) if hasattr(array, "get") else np.from_dlpack(array)
