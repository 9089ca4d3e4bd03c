"""Association of every variant with phenotypes: linear, logistic and Firth regression, block by block.

The tested allele A1 is ALT, one ALT of a record at a time (PLINK 2 puts all ALTs of a record into one model). A person
without a call leaves that variant's regression only. A small p value says that genotype and phenotype go together in
these people; structure and kinship that the covariates or an offset do not carry make it small too.

Results do not depend on block size or threads: arithmetic runs over tiles of a fixed number of variants, each with one
BLAS thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.io.loco import Offsets
from genomix.io.pgen_header import records_with_dosages
from genomix.io.phenotypes import PhenotypeTable
from genomix.io.plink import GenotypeStore
from genomix.schemas.association import ASSOCIATION
from genomix.variants.assoc_block import AssociationOptions, Block, scan_block
from genomix.variants.assoc_design import Group, People, Place, build_groups, eligible, gather_people, place_of
from genomix.variants.assoc_summary import summarise
from genomix.variants.qc import store_ploidy_classes

IntArray = npt.NDArray[np.int64]
Progress = Callable[[float, int], None]

TILE_CELLS = 1 << 19
MAX_TILE = 256
BLOCK_CELLS = 1 << 23
"""Genotypes read at once (64 MiB as float64 at most, per thread)."""


class AssociationResult(NamedTuple):
    """``table``: schema ASSOCIATION, variants in the store's order, then phenotypes. ``summary``: counts by reason."""

    table: pl.DataFrame
    summary: dict[str, Any]


class _Segment(NamedTuple):
    """Consecutive variants that the same groups of people are tested for."""

    rows: IntArray
    place: Place
    contig: str


def associate(
    store: GenotypeStore,
    phenotypes: PhenotypeTable,
    *,
    covariates: pl.DataFrame | None = None,
    offsets: Offsets | None = None,
    options: AssociationOptions | None = None,
    variants: Any = None,
    samples: Any = None,
    threads: int = 1,
    block_size: int | None = None,
    progress: Progress | None = None,
) -> AssociationResult:
    """Test variants for association; see :class:`AssociationOptions`.

    Parameters
    ----------
    phenotypes: names, values and kinds. covariates: sample_id and columns, numbers or text. offsets: for the store's
        samples. variants: rows of the store's variants; None for all. samples: 0-based samples; None for all.
    threads: blocks computed at once. block_size: variants read at once. progress: called with (share, variants).

    Raises
    ------
    LabelError: when a phenotype cannot be tested. ConfigError: for dependent covariates or a model that does not fit.
    """
    people = people_of(store, phenotypes, covariates=covariates, offsets=offsets, samples=samples)
    frames = list(
        iterate_associations(
            store, people, options=options, variants=variants, threads=threads, block_size=block_size, progress=progress
        )
    )
    table = ASSOCIATION.validate(pl.concat(frames, rechunk=True) if frames else ASSOCIATION.empty())
    return AssociationResult(table, summarise(people, table))


def people_of(
    store: GenotypeStore,
    phenotypes: PhenotypeTable,
    *,
    covariates: pl.DataFrame | None = None,
    offsets: Offsets | None = None,
    samples: Any = None,
) -> People:
    """Bring phenotypes, covariates and sex into the order of the store's samples.

    Raises
    ------
    LabelError: when no sample of the genotypes has a phenotype.
    """
    chosen = np.ones(store.n_samples, dtype=np.bool_)
    if samples is not None:
        chosen[:] = False
        chosen[np.asarray(samples, dtype=np.int64)] = True
    if offsets is not None and list(offsets.sample_ids) != store.samples["sample_id"].to_list():
        raise ConfigError("the offsets were read for other samples than the genotypes have")
    people = gather_people(
        store.samples["sample_id"].to_list(), store.samples["sex"].to_numpy(), phenotypes, covariates, offsets, chosen
    )
    if not (np.isfinite(people.phenotypes).any(axis=1) & chosen).any():
        raise LabelError(
            "no sample of the genotypes has a phenotype", hint="check that the phenotype table's IIDs are those of IN"
        )
    return people


def tested_samples(people: People) -> IntArray:
    """Return who is tested for any phenotype on diploid contigs, ascending."""
    known = np.isfinite(people.phenotypes).any(axis=1)
    return np.flatnonzero(eligible(people, "diploid") & known).astype(np.int64)


def iterate_associations(
    store: GenotypeStore,
    people: People,
    *,
    options: AssociationOptions | None = None,
    variants: Any = None,
    threads: int = 1,
    block_size: int | None = None,
    progress: Progress | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield results (schema ASSOCIATION) block by block, in the order of ``variants``; memory holds a few blocks."""
    from threadpoolctl import threadpool_limits

    chosen = options or AssociationOptions()
    rows = np.arange(store.n_variants) if variants is None else np.asarray(variants, dtype=np.int64)
    dosages = records_with_dosages(store.prefix.with_name(store.prefix.name + ".pgen"), store.n_records)
    n_used = max(1, int(people.chosen.sum()))
    tile = max(1, min(MAX_TILE, TILE_CELLS // n_used))
    size = block_size or max(tile, BLOCK_CELLS // n_used)
    size = (size + tile - 1) // tile * tile
    done = 0

    def work(block: Block) -> pl.DataFrame:
        return scan_block(store, people, chosen, block, dosages, tile)

    with threadpool_limits(limits=1, user_api="blas"):
        for frame in _in_order(work, _blocks(store, people, chosen, rows, size), threads):
            done += frame.height // len(people.names)
            if progress is not None:
                progress(done / len(rows), done)
            yield frame


def _in_order(work: Callable[[Block], pl.DataFrame], blocks: Iterator[Block], threads: int) -> Iterator[pl.DataFrame]:
    """Run blocks on some threads, at most two each in flight; yield in their order."""
    if threads <= 1:
        yield from map(work, blocks)
        return
    waiting: list[Future[pl.DataFrame]] = []
    with ThreadPoolExecutor(threads) as pool:
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) >= 2 * threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _blocks(
    store: GenotypeStore, people: People, options: AssociationOptions, rows: IntArray, size: int
) -> Iterator[Block]:
    """Cut the variants into blocks, each with its groups of people; groups are built once per kind of contig."""
    built: dict[tuple[Place, str], list[Group]] = {}
    for segment in _segments(store, rows, by_contig=people.offsets is not None):
        key = (segment.place, segment.contig)
        if key not in built:
            built = {k: v for k, v in built.items() if not people.offsets} | {key: _groups(people, options, segment)}
        for start in range(0, len(segment.rows), size):
            yield Block(segment.rows[start : start + size], segment.place, built[key])


def _groups(people: People, options: AssociationOptions, segment: _Segment) -> list[Group]:
    """Where the few people of X, Y or MT cannot be tested, the autosomes still can."""
    try:
        return build_groups(
            people, segment.place, segment.contig, options.model, sex_on_x=options.sex_on_x,
            max_vif=options.max_vif, max_correlation=options.max_correlation, firth=options.fits_separated,
        )  # fmt: skip
    except LabelError:
        if segment.place == "diploid":
            raise
        return []


def _segments(store: GenotypeStore, rows: IntArray, *, by_contig: bool) -> Iterator[_Segment]:
    if not len(rows):
        return
    classes = store_ploidy_classes(store)[rows]
    places = [place_of(int(c)) for c in range(int(classes.max()) + 1)]
    contigs = store.variants["contig"][rows]
    changes = classes[1:] != classes[:-1]
    codes = np.array([("diploid", "X", "Y", "MT").index(p) for p in places])[classes]
    changes = codes[1:] != codes[:-1]
    if by_contig:
        changes = changes | (contigs[1:] != contigs[:-1]).to_numpy()
    cuts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(rows)]
    for start, end in pairwise(cuts):
        yield _Segment(rows[start:end], places[int(classes[start])], contigs[start] if by_contig else "")
