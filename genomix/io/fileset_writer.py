"""Finished records and calls into .pgen, .pvar and .psam, in canonical order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.call_policies import compacted
from genomix.io.genotype_format import beside, default_block_size
from genomix.io.pgen_writer import PgenBlockWriter
from genomix.io.plink import open_pgen_records, read_pgen_block
from genomix.io.plink_tables import write_psam, write_pvar
from genomix.io.pvar_body import PvarBody
from genomix.io.spool import FinishedBlock, Spool
from genomix.provenance import atomic_path


class FinishedRecords(NamedTuple):
    """The calls and the records of everything that is to be written, in the order in which it came."""

    calls: Spool
    body: PvarBody


class WrittenFileset(NamedTuple):
    """What writing found out: whether records had to be sorted, and counts of records worth knowing of."""

    was_sorted: bool
    notes: dict[str, int]


def write_fileset(
    prefix: Path, finished: FinishedRecords, samples: pl.DataFrame, *, build: str, meta: tuple[str, ...],
    ref_known: bool,
) -> WrittenFileset:  # fmt: skip
    """Write ``prefix``.psam, .pvar and .pgen; all three are complete before the first takes its final name.

    Parameters
    ----------
    samples: as :func:`~genomix.io.plink_tables.write_psam` takes them.
    build, meta: for the head of the .pvar; ref_known: False marks every REF as provisional.
    """
    spool, body = finished
    order = body.order()
    records = None if order is None else body.frame()
    with ExitStack() as stack:
        pgen, pvar, psam = (stack.enter_context(atomic_path(beside(prefix, s))) for s in (".pgen", ".pvar", ".psam"))
        try:
            write_psam(psam, samples)
            shape = _Shape(samples.height, spool.max_alleles, ref_known, spool)
            counts = spool.allele_counts()
            if order is None or records is None:
                body.write(pvar, build=build, meta=meta)
                _write_pgen(pgen, shape, len(counts), spool.blocks())
            else:
                write_pvar(pvar, records[order], build=build, meta=meta)
                _write_sorted(pgen, shape, counts, records, order)
        finally:
            pgen.with_name(pgen.name + ".tmp").unlink(missing_ok=True)
    return WrittenFileset(order is not None, body.notes(records))


@dataclass(frozen=True)
class _Shape:
    """What a .pgen's writer must know beforehand."""

    n_samples: int
    max_alleles: int
    ref_known: bool
    spool: Spool


def _write_pgen(path: Path, shape: _Shape, n_records: int, blocks: Iterator[FinishedBlock]) -> None:
    writer = PgenBlockWriter(
        path, n_samples=shape.n_samples, n_records=n_records, max_alleles=shape.max_alleles,
        ref_known=shape.ref_known, phased=shape.spool.any_phased, dosages=shape.spool.any_dosages,
    )  # fmt: skip
    try:
        for block in blocks:
            writer.append(block)
        writer.close()
    except BaseException:
        writer.abandon()
        raise


def _write_sorted(
    path: Path, shape: _Shape, counts: npt.NDArray[np.int64], records: pl.DataFrame, order: npt.NDArray[np.int64]
) -> None:
    """Write in source order beside the target, then once more in canonical order."""
    unsorted = path.with_name(path.name + ".unsorted")
    try:
        _write_pgen(unsorted, shape, len(counts), shape.spool.blocks())
        _write_pgen(path, shape, len(counts), _reordered(unsorted, shape.n_samples, counts, records, order))
    finally:
        for leftover in (unsorted, unsorted.with_name(unsorted.name + ".tmp")):
            leftover.unlink(missing_ok=True)


def _reordered(
    path: Path, n_samples: int, counts: npt.NDArray[np.int64], records: pl.DataFrame, order: npt.NDArray[np.int64]
) -> Iterator[FinishedBlock]:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uintp)
    pgen = open_pgen_records(path, n_samples, offsets)
    size = default_block_size(n_samples)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield compacted(read_pgen_block(pgen, part, records[part]))
    pgen.reader.close()
