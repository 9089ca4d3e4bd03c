"""Tabix (.tbi) and CSI (.csi) indexes: which stretches of a BGZF text file may hold a region's records.

Layouts: https://samtools.github.io/hts-specs/tabix.pdf and CSIv1.pdf.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.io.bgzf import inflated_chunks
from genomix.io.bgzf_blocks import block_groups, inflate_group
from genomix.io.contigs import normalise_contig
from genomix.io.regions import Regions

Chunk = tuple[int, int]
"""First and last virtual offset: (place of a block << 16) + place in its text."""


class VariantIndex(NamedTuple):
    """For each contig, as the file names it, the chunks of each bin."""

    min_shift: int
    depth: int
    bins: Mapping[str, Mapping[int, list[Chunk]]]


def find_index(path: Path) -> Path | None:
    """Return the index beside a file, or None."""
    places = (path.with_name(path.name + suffix) for suffix in (".tbi", ".csi"))
    return next((p for p in places if p.is_file()), None)


def read_index(path: Path) -> VariantIndex:
    """Read a .tbi or .csi file of a text file.

    Raises
    ------
    FormatError: when it is cut, or no index of a text file.
    """
    data = b"".join(inflated_chunks(path))
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError) as error:
        raise FormatError(
            f"{path.name} is no index of a text file", where=str(path), hint="index the file again (tabix -p vcf)"
        ) from error


def _parse(data: bytes) -> VariantIndex:
    is_tabix = data[:4] == b"TBI\x01"
    if is_tabix:
        (n_contigs,) = struct.unpack_from("<i", data, 4)
        aux, min_shift, depth, at = data[8:36], 14, 5, 36
        at = 36 + struct.unpack_from("<i", aux, 24)[0]
        names = data[36:at]
    else:
        magic, min_shift, depth, n_aux = struct.unpack_from("<4siii", data, 0)
        if magic != b"CSI\x01" or n_aux < 28:
            raise ValueError("neither magic, or no names")
        names = data[16 + 28 : 16 + n_aux]
        (n_contigs,) = struct.unpack_from("<i", data, 16 + n_aux)
        at = 20 + n_aux
    contigs = [n.decode() for n in names.split(b"\0")[:n_contigs]]
    bins: dict[str, dict[int, list[Chunk]]] = {}
    last = ((1 << 3 * (depth + 1)) - 1) // 7  # the bin after the last one holds counts
    for contig in contigs:
        found: dict[int, list[Chunk]] = {}
        (n_bins,) = struct.unpack_from("<i", data, at)
        at += 4
        for _ in range(n_bins):
            number, n_chunks = struct.unpack_from("<Ii" if is_tabix else "<I8xi", data, at)
            at += 8 if is_tabix else 16
            chunks = struct.unpack_from(f"<{2 * n_chunks}Q", data, at)
            at += 16 * n_chunks
            if number < last:
                found[number] = list(zip(chunks[::2], chunks[1::2], strict=True))
        if is_tabix:
            at += 4 + 8 * struct.unpack_from("<i", data, at)[0]
        bins[contig] = found
    return VariantIndex(min_shift, depth, bins)


def chunks_of(index: VariantIndex, regions: Regions) -> list[Chunk]:
    """Return stretches that hold all records overlapping the regions, in file order and without overlap."""
    found: list[Chunk] = []
    by_name: dict[str, list[str]] = {}
    for contig in index.bins:
        by_name.setdefault(normalise_contig(contig), []).append(contig)
    for (name,), intervals in regions.intervals.group_by("contig", maintain_order=True):
        for contig in by_name.get(str(name), []):
            bins = index.bins[contig]
            numbers = np.fromiter(bins, dtype=np.int64, count=len(bins))
            for number in numbers[_overlap(numbers, intervals, index.min_shift, index.depth)].tolist():
                found += bins[number]
    merged: list[Chunk] = []
    for begin, stop in sorted(found):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((begin, stop))
    return merged


def _overlap(
    numbers: npt.NDArray[np.int64], intervals: pl.DataFrame, min_shift: int, depth: int
) -> npt.NDArray[np.bool_]:
    """Say which bins overlap any interval (CSI specification, reg2bins).

    A level's bins lie one after the other, each 2^shift long, and the intervals are sorted and apart: at a level, a bin
    can only overlap the last interval that begins at or before it.
    """
    longest = 1 << (min_shift + 3 * depth)
    starts = intervals["start"].to_numpy()
    lasts = np.minimum(intervals["end"].to_numpy(), longest) - 1
    inside = np.zeros(len(numbers), dtype=np.bool_)
    shift, offset = min_shift + 3 * depth, 0
    for level in range(depth + 1):
        rows = np.flatnonzero((numbers >= offset) & (numbers < offset + (1 << 3 * level)))
        bins = numbers[rows] - offset
        at = np.searchsorted(starts >> shift, bins, side="right") - 1
        inside[rows] = (at >= 0) & (lasts[np.maximum(at, 0)] >> shift >= bins)
        offset += 1 << 3 * level
        shift -= 3
    return inside


def text_of_chunks(path: Path, chunks: list[Chunk]) -> Iterator[bytes]:
    """Yield the text of the chunks.

    Raises
    ------
    TruncatedInputError: when the file ends before a chunk does.
    """
    for begin, stop in chunks:
        first, last = begin >> 16, stop >> 16
        place = first
        until = last if stop & 0xFFFF else last - 1
        for group in block_groups(path, 1 << 20, start=first, stop=until, read_so_far=lambda _: None):
            text = np.empty(group.n_text, dtype=np.uint8)
            inflate_group(group, text, 0, path)
            at = 0
            for _, size, n in group.bounds:
                skipped = begin & 0xFFFF if place == first else 0
                kept = stop & 0xFFFF if place == last else n
                yield text[at + skipped : at + kept].tobytes()
                place, at = place + size, at + n
