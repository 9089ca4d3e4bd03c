"""Where each contig's lines lie in a FASTA file: samtools' ``.fai`` index, read, written and made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import FormatError
from genomix.io.bgzf import text_lines
from genomix.provenance import atomic_path

_Ints = npt.NDArray[np.int64]
_SCAN_BYTES = 1 << 23
_NEWLINE, _RETURN, _HEADER = 10, 13, ord(">")


class FastaIndex(NamedTuple):
    """One entry per contig, in file order.

    ``lengths``: bases. ``offsets``: place of the first base in the uncompressed file. ``line_bases``, ``line_widths``:
    bases and bytes per line.
    """

    names: tuple[str, ...]
    lengths: _Ints
    offsets: _Ints
    line_bases: _Ints
    line_widths: _Ints

    def file_offsets(self, numbers: _Ints, positions: _Ints) -> _Ints:
        """Return where 0-based positions of contigs (by number) lie in the uncompressed file."""
        lines, within = np.divmod(positions, np.maximum(self.line_bases[numbers], 1))
        return np.asarray(self.offsets[numbers] + lines * self.line_widths[numbers] + within, dtype=np.int64)

    def fits(self, size: int, take: Callable[[_Ints], npt.NDArray[np.uint8]]) -> bool:
        """Say whether a file of ``size`` bytes has a header before, and an end of line after, each contig's bases."""
        numbers = np.arange(len(self.names))
        ends = self.offsets + (self.lengths > 0)
        ends += self.file_offsets(numbers, np.maximum(self.lengths - 1, 0)) - self.offsets
        after = ends + (self.line_widths - self.line_bases) * (self.lengths > 0)
        if len(numbers) == 0 or int(ends[-1]) > size or int(after[-1]) < size or (np.diff(self.offsets) <= 0).any():
            return False
        heads = np.concatenate([[0], after[:-1]])
        wanted = [b">" + name.encode() for name in self.names]
        widths = np.array([len(w) for w in wanted])
        first = np.cumsum(widths) - widths
        flat = np.repeat(heads - first, widths) + np.arange(widths.sum())
        if take(flat).tobytes() != b"".join(wanted):
            return False
        white = np.isin(take(np.concatenate([heads + widths, self.offsets - 1])), np.frombuffer(b" \t\r\n", np.uint8))
        line_ends = take(ends[(ends < size) & (self.lengths > 0)])
        before = take((ends - 1)[self.lengths > 0])
        return bool(white.all() and np.isin(line_ends, (_NEWLINE, _RETURN)).all() and (before > 32).all())


def read_fai(path: Path) -> FastaIndex:
    """Read a ``.fai`` file.

    Raises
    ------
    FormatError: with the line that does not hold a name and four numbers.
    """
    names: list[str] = []
    rows: list[list[int]] = []
    for number, line in enumerate(text_lines(path), start=1):
        fields = line.decode(errors="replace").split("\t")
        if len(fields) != 5 or not all(f.isascii() and f.isdigit() for f in fields[1:]):
            raise FormatError(
                "a line of a FASTA index has a name and four numbers",
                where=f"{path}:{number}",
                hint=f"remove {path.name}, or make it again with samtools faidx",
            )
        names.append(fields[0])
        rows.append([int(f) for f in fields[1:]])
    return _index(names, rows, str(path))


def write_fai(path: Path, index: FastaIndex) -> None:
    """Write a ``.fai`` file, atomically."""
    columns = (index.lengths, index.offsets, index.line_bases, index.line_widths)
    rows = zip(index.names, *(c.tolist() for c in columns), strict=True)
    with atomic_path(path) as temporary:
        temporary.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))


def scan_fasta(chunks: Iterable[bytes], *, where: str) -> FastaIndex:
    """Return the index of the FASTA text in ``chunks``.

    Raises
    ------
    FormatError: for bases before the first header, lines of differing length within a contig, or a repeated name.
    """
    scan = _Scan(where)
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= _SCAN_BYTES and b"\n" in chunk:
            text = b"".join(held)
            cut = text.rfind(b"\n") + 1
            scan.add(text[:cut])
            held, size = [text[cut:]], len(text) - cut
    rest = b"".join(held)
    if rest:
        scan.add(rest if rest.endswith(b"\n") else rest + b"\n")
    return _index(scan.names, scan.rows, where)


class _Scan:
    """The index as far as the text has been seen."""

    def __init__(self, where: str) -> None:
        self.names: list[str] = []
        self.rows: list[list[int]] = []  # length, offset, line bases, line width
        self._where = where
        self._line = 0
        self._offset = 0
        self._ended = False

    def add(self, text: bytes) -> None:
        """Take whole lines."""
        data = np.frombuffer(text, dtype=np.uint8)
        ends = np.flatnonzero(data == _NEWLINE)
        starts = np.concatenate([[0], ends[:-1] + 1])
        widths = ends - starts + 1
        bases = widths - 1 - ((widths > 1) & (data[np.maximum(ends - 1, 0)] == _RETURN))
        heads = np.flatnonzero(data[starts] == _HEADER)
        self._lines(bases[: heads[0]] if len(heads) else bases, widths, 0)
        for head, stop in zip(heads.tolist(), [*heads.tolist(), len(ends)][1:], strict=True):
            self._open(text[starts[head] + 1 : ends[head]], self._offset + int(ends[head]) + 1, self._line + head + 1)
            self._lines(bases[head + 1 : stop], widths[head + 1 : stop], head + 1)
        self._line += len(ends)
        self._offset += len(text)

    def _open(self, header: bytes, offset: int, line: int) -> None:
        words = header.split(None, 1)
        if not words or header[:1].isspace():
            raise FormatError("a FASTA header without a name", where=f"{self._where}:{line}")
        self.names.append(words[0].decode(errors="replace"))
        self.rows.append([0, offset, 0, 0])
        self._ended = False

    def _lines(self, bases: _Ints, widths: _Ints, first: int) -> None:
        """Add lines of bases to the open contig: all of one length but the last."""
        if not bases.any():
            self._ended = self._ended or len(bases) > 0
            return
        if not self.rows:
            line = self._line + first + int(np.argmax(bases > 0)) + 1
            raise FormatError("bases before the first header: this is no FASTA file", where=f"{self._where}:{line}")
        row = self.rows[-1]
        if row[2] == 0 and not self._ended:
            row[2], row[3] = int(bases[0]), int(widths[0])
        full = (bases == row[2]) & (widths[: len(bases)] == row[3])
        short = int(np.argmin(full)) if not full.all() else len(bases)
        stop = 0 if self._ended else min(short + 1, len(bases))
        if bases[stop:].any() or (stop > short and bases[short] > row[2]):
            wrong = short if stop > short and bases[short] > row[2] else stop + int(np.argmax(bases[stop:] > 0))
            raise FormatError(
                f"the lines of contig {self.names[-1]} differ in length, so that it cannot be read by position",
                where=f"{self._where}:{self._line + first + wrong + 1}",
                hint="write it with one line length (seqkit seq -w 60, samtools faidx of all contigs)",
            )
        row[0] += int(bases.sum())
        self._ended = short < len(bases)


def _index(names: list[str], rows: list[list[int]], where: str) -> FastaIndex:
    if not names:
        raise FormatError("there is no sequence", where=where)
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise FormatError(f"two sequences are named {min(twice)}", where=where)
    lengths, offsets, bases, widths = np.array(rows, dtype=np.int64).T.copy()
    if ((lengths > 0) & ((bases <= 0) | (widths <= bases))).any():
        raise FormatError("a contig's lines have no bases or no end", where=where)
    return FastaIndex(tuple(names), lengths, offsets, bases, widths)
