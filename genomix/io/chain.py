"""UCSC chain files: which part of one genome build corresponds to which of another.

Format: https://genome.ucsc.edu/goldenPath/help/chain.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.io.bgzf import text_lines
from genomix.io.contigs import UNKNOWN_BUILD, detect_build, normalise_contig, resolve_build

_CONTIG_SHIFT = 40
"""A place on any contig is one number: contig number times 2^40 plus position."""

_Ints = npt.NDArray[np.int64]


class Blocks(NamedTuple):
    """Stretches without a gap, sorted, no two sharing a base; a base under several chains is in none of them.

    ``start``, ``end``: keys (see :meth:`Chain.keys`) in the source. ``target``: number of the target contig.
    ``target_start``: where the first base goes (0-based, forward strand); further bases follow to the right, or to
    the left where ``reverse``.
    """

    start: _Ints
    end: _Ints
    target: _Ints
    target_start: _Ints
    reverse: npt.NDArray[np.bool_]


class Spans(NamedTuple):
    """Sorted stretches of the source, as keys."""

    start: _Ints
    end: _Ints

    def hold(self, keys: _Ints) -> npt.NDArray[np.bool_]:
        """Say which keys lie in one of them."""
        at = np.searchsorted(self.start, keys, side="right") - 1
        return (at >= 0) & (keys < np.append(self.end, 0)[at])

    def touch(self, starts: _Ints, ends: _Ints) -> npt.NDArray[np.bool_]:
        """Say which stretches (end exclusive) share a base with one of them."""
        at = np.searchsorted(self.end, starts, side="right")
        return (at < len(self.end)) & (np.append(self.start, np.iinfo(np.int64).max)[at] < ends)


@dataclass(frozen=True)
class Chain:
    """A chain file; contigs are known by their normalised names.

    Parameters
    ----------
    source_sizes, target_sizes: contig to its length in bp, in order of appearance.
    blocks: where each base goes. covered: what lies between the ends of some chain. shared: what lies under several.
    """

    source_sizes: dict[str, int]
    target_sizes: dict[str, int]
    blocks: Blocks
    covered: Spans
    shared: Spans

    @property
    def source_build(self) -> str | None:
        """The build that the chain file lifts from, by its contig lengths."""
        return detect_build(dict(self.source_sizes))

    @property
    def target_build(self) -> str | None:
        """The build that the chain file lifts to, by its contig lengths."""
        return detect_build(dict(self.target_sizes))

    def contig_numbers(self, names: pl.Series) -> _Ints:
        """Return each normalised name's number among the source contigs, -1 where the file has none of that name."""
        numbers = {name: i for i, name in enumerate(self.source_sizes)}
        unique = names.unique(maintain_order=True).to_list()
        found = [numbers.get(n, -1) for n in unique]
        return names.replace_strict(unique, found, return_dtype=pl.Int64).to_numpy().astype(np.int64)

    def keys(self, numbers: _Ints, positions: _Ints) -> _Ints:
        """Return places as sortable keys."""
        return (numbers << _CONTIG_SHIFT) + positions

    def check_build(self, build: str, *, where: str) -> None:
        """Raise a :class:`FormatError` when the chain file lifts from another build than ``build``."""
        asked, found = resolve_build(build), self.source_build
        if asked != UNKNOWN_BUILD and found is not None and asked != found:
            raise FormatError(
                f"the genotypes are in {asked}, but the chain file lifts from {found}",
                where=where,
                hint="a chain file from the genotypes' build, or another --build",
            )


def read_chain(path: Path) -> Chain:
    """Read a chain file, plain or compressed.

    Raises
    ------
    FormatError: with the line, for a malformed header or block, or a chain whose blocks do not reach its stated end.
    """
    table = _Table(str(path))
    for number, line in enumerate(text_lines(path), start=1):
        if line.startswith(b"chain"):
            table.open(line.split(), number)
        elif line.strip() and not line.startswith(b"#"):
            table.add(line, number)
    table.close()
    if not table.blocks:
        raise FormatError(f"{path.name} holds no chain", where=str(path))
    return table.finished()


class _Table:
    """The chains as far as they have been read."""

    def __init__(self, where: str) -> None:
        self.sources: dict[str, int] = {}
        self.targets: dict[str, int] = {}
        self.hulls: list[tuple[int, int]] = []
        self.blocks: list[tuple[int, int, int, int, int]] = []
        self._where = where
        self._open_line: int | None = None
        self._last = True
        self._key = self._target = self._size = 0
        self._sign = 1
        self._source = self._other = 0
        self._ends = (0, 0)

    def open(self, fields: list[bytes], number: int) -> None:
        """Begin a chain: its score, name, size, strand, start and end in source and in target, and its number."""
        self.close()
        where = f"{self._where}:{number}"
        numbers = [fields[i] for i in (3, 5, 6, 8, 10, 11)] if len(fields) in (12, 13) else []
        if not numbers or not all(f.isdigit() for f in numbers) or fields[4] != b"+" or fields[9] not in (b"+", b"-"):
            raise FormatError("a chain header has 12 or 13 fields, and its source is on the + strand", where=where)
        size, start, end, target_size, target_start, target_end = (int(f) for f in numbers)
        if not (start < end <= size and target_start < target_end <= target_size):
            raise FormatError("a chain lies beyond the end of its contig", where=where)
        source = self._contig(self.sources, fields[2], size, where)
        self._target = self._contig(self.targets, fields[7], target_size, where)
        self._key = source << _CONTIG_SHIFT
        self._size, self._sign = target_size, 1 if fields[9] == b"+" else -1
        self._source, self._other, self._ends = start, target_start, (end, target_end)
        self.hulls.append((self._key + start, self._key + end))
        self._open_line, self._last = number, False

    def add(self, line: bytes, number: int) -> None:
        """Add a block: its size, and the gaps in source and target that follow it (none after the last)."""
        fields = line.split()
        where = f"{self._where}:{number}"
        if self._last or len(fields) not in (1, 3) or not all(f.isdigit() for f in fields):
            raise FormatError("not a line of a chain: a size, or a size and two gaps", where=where)
        size = int(fields[0])
        place = self._other if self._sign > 0 else self._size - 1 - self._other
        start = self._key + self._source
        if size:
            self.blocks.append((start, start + size, self._target, place, self._sign))
        self._source += size
        self._other += size
        if len(fields) == 1:
            self._last = True
            self.close()
            return
        self._source += int(fields[1])
        self._other += int(fields[2])

    def close(self) -> None:
        """End the open chain, whose blocks must end where its header says."""
        if self._open_line is not None and (not self._last or (self._source, self._other) != self._ends):
            raise FormatError(
                "the blocks of a chain do not end where its header says",
                where=f"{self._where}:{self._open_line}",
                hint="the file was cut or changed: download it again",
            )
        self._open_line, self._last = None, True

    def finished(self) -> Chain:
        """Return the chains as sorted tables."""
        rows = np.array(self.blocks, dtype=np.int64)
        starts, ends, owners, depths = _segments(rows[:, 0], rows[:, 1])
        one = depths == 1
        start, block = starts[one], rows[owners[one]]
        sign = block[:, 4]
        blocks = Blocks(start, ends[one], block[:, 2], block[:, 3] + sign * (start - block[:, 0]), sign < 0)
        hulls = np.array(self.hulls, dtype=np.int64)
        return Chain(
            self.sources,
            self.targets,
            blocks,
            _union(*_segments(hulls[:, 0], hulls[:, 1])[:2]),
            _union(starts[depths > 1], ends[depths > 1]),
        )

    @staticmethod
    def _contig(sizes: dict[str, int], raw: bytes, size: int, where: str) -> int:
        name = normalise_contig(raw.decode(errors="replace"))
        if sizes.setdefault(name, size) != size:
            raise FormatError(f"contig {name} has two lengths: {sizes[name]} and {size}", where=where)
        return list(sizes).index(name)


def _segments(starts: _Ints, ends: _Ints) -> tuple[_Ints, _Ints, _Ints, _Ints]:
    """Cut intervals at every end of any of them: start, end, row of the owner, number of owners; in order.

    The row means something only where there is one owner.
    """
    rows = np.arange(len(starts))
    places = np.concatenate([starts, ends])
    order = np.argsort(places, kind="stable")
    depth = np.cumsum(np.concatenate([np.ones_like(rows), -np.ones_like(rows)])[order])
    owner = np.cumsum(np.concatenate([rows, -rows])[order])
    at = places[order]
    real = np.append(at[1:] > at[:-1], False) & (depth > 0)
    return at[real], np.append(at[1:], 0)[real], owner[real], depth[real]


def _union(starts: _Ints, ends: _Ints) -> Spans:
    """Join segments that touch."""
    if not len(starts):
        return Spans(starts, ends)
    fresh = np.append(True, starts[1:] > ends[:-1])
    return Spans(starts[fresh], ends[np.append(np.flatnonzero(fresh)[1:] - 1, len(ends) - 1)])
