"""Blocks of an exact number of records, cut from blocks of any size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.alt_dosages import joined_dosages
from genomix.io.genotype_format import GenotypeBlock


def regrouped(blocks: Iterator[GenotypeBlock], size: int) -> Iterator[GenotypeBlock]:
    """Yield the same records, ``size`` to a block (fewer in the last)."""
    held: list[GenotypeBlock] = []
    n = 0
    for block in blocks:
        held.append(block)
        n += block.n_records
        if n < size:
            continue
        whole = joined(held)
        done = n - n % size
        for start in range(0, done, size):
            yield _rows(whole, start, start + size)
        held = [_rows(whole, done, n)] if n > done else []
        n -= done
    if held:
        yield joined(held)


def joined(blocks: list[GenotypeBlock]) -> GenotypeBlock:
    """Return consecutive blocks as one."""
    if len(blocks) == 1:
        return blocks[0]
    dosages = None
    if any(b.dosages is not None for b in blocks):
        dosages = np.concatenate([b.dosages if b.dosages is not None else _nothing(b) for b in blocks])
    return GenotypeBlock(
        np.concatenate([b.numbers for b in blocks]),
        pl.concat([b.records for b in blocks]),
        np.concatenate([b.is_compact for b in blocks]),
        np.concatenate([b.compact for b in blocks]),
        np.concatenate([b.alleles for b in blocks]),
        np.concatenate([b.phased for b in blocks]),
        np.concatenate([b.without_calls for b in blocks]),
        dosages,
        joined_dosages([b.alt_dosages for b in blocks], [len(b.phased) for b in blocks]),
        _joined_lost(blocks),
    )


def _joined_lost(blocks: list[GenotypeBlock]) -> npt.NDArray[np.bool_] | None:
    if all(b.lost_dosages is None for b in blocks):
        return None
    none = [np.zeros(len(b.phased), dtype=np.bool_) if b.lost_dosages is None else b.lost_dosages for b in blocks]
    return np.concatenate(none)


def _nothing(block: GenotypeBlock) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.full((block.phased.shape[0], block.phased.shape[1]), np.nan, dtype=np.float32)


def _rows(block: GenotypeBlock, start: int, stop: int) -> GenotypeBlock:
    n_before, n_until = int(block.is_compact[:start].sum()), int(block.is_compact[:stop].sum())
    general = slice(start - n_before, stop - n_until)
    alt_dosages = block.alt_dosages
    if alt_dosages is not None:
        kept = np.zeros(len(block.phased), dtype=np.bool_)
        kept[general] = True
        alt_dosages = alt_dosages.select(kept)
    return GenotypeBlock(
        block.numbers[start:stop],
        block.records[start:stop],
        block.is_compact[start:stop],
        block.compact[n_before:n_until],
        block.alleles[general],
        block.phased[general],
        block.without_calls[general],
        None if block.dosages is None else block.dosages[general],
        alt_dosages,
        None if block.lost_dosages is None else block.lost_dosages[general],
    )
