"""Reference sequence from a FASTA file, plain or BGZF, by position and without reading the whole.

Nothing is shared through a file position: the file is mapped into memory and only read, so one :class:`Fasta` may be
used by many threads, and by processes that are forked or that receive it pickled.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.io.bgzf import inflated_chunks, open_binary, require_file, sniff_compression
from genomix.io.bgzf_random import BgzfBytes
from genomix.io.contigs import normalise_contig
from genomix.io.fasta_index import read_fai, scan_fasta, write_fai

MATCH, MISMATCH, UNKNOWN = 1, 0, -1
"""Values of :meth:`Fasta.ref_matches`."""

_Ints = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]

_UPPER = np.arange(256, dtype=np.uint8)
_UPPER[ord("a") : ord("z") + 1] -= 32

_N_BIT = 16
_CODE_BITS = {
    "A": 1, "C": 2, "G": 4, "T": 8, "U": 8, "R": 5, "Y": 10, "S": 6, "W": 9, "K": 12, "M": 3, "B": 14, "D": 13,
    "H": 11, "V": 7,
}  # fmt: skip
_FASTA_BITS = np.full(256, _N_BIT, dtype=np.uint8)
_REF_BITS = np.zeros(256, dtype=np.uint8)
for _base, _bits in _CODE_BITS.items():
    _FASTA_BITS[[ord(_base), ord(_base.lower())]] = _bits | (0 if _base in "ACGT" else _N_BIT)
for _base in "ACGTN":
    _REF_BITS[[ord(_base), ord(_base.lower())]] = _CODE_BITS.get(_base, _N_BIT)


class _ByteSource(Protocol):
    """The uncompressed bytes of a file, by offset."""

    size: int

    def take(self, offsets: _Ints) -> _Bytes:
        """Return the bytes at ``offsets``."""
        ...

    def read(self, start: int, end: int) -> _Bytes:
        """Return the bytes from ``start`` to before ``end``."""
        ...


class PlainBytes:
    """An uncompressed file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with open_binary(path) as stream:
            self.size = stream.seek(0, 2)
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None
        self._data = np.empty(0, dtype=np.uint8) if mapped is None else np.frombuffer(mapped, dtype=np.uint8)

    def take(self, offsets: _Ints) -> _Bytes:
        """Return the bytes at ``offsets``."""
        return self._data[offsets]

    def read(self, start: int, end: int) -> _Bytes:
        """Return the bytes from ``start`` to before ``end``."""
        return self._data[start:end]


class Fasta:
    """An indexed FASTA file.

    A ``.fai`` beside the file is read and checked against it; without one the file is scanned. Contigs are found by
    their name as written, else by the name that they normalise to (``chr1`` = ``1``).

    Parameters
    ----------
    path: plain or BGZF-compressed FASTA.
    save_index: write the ``.fai`` beside the file when there is none.

    Raises
    ------
    FormatError: for lines of differing length, names that repeat, plain gzip, or an index of another file.
    TruncatedInputError: for a BGZF file that was cut.
    """

    def __init__(self, path: Path, *, save_index: bool = False) -> None:
        require_file(path)
        compression = sniff_compression(path)
        if compression == "gzip":
            raise FormatError(
                f"{path.name} is compressed with gzip, which cannot be read by position",
                where=str(path),
                hint="decompress it, or compress it with bgzip",
            )
        self.path = path
        self._source: _ByteSource = BgzfBytes(path) if compression == "bgzf" else PlainBytes(path)
        fai = path.with_name(path.name + ".fai")
        if fai.is_file():
            self._index = read_fai(fai)
            self._check_index(fai)
        else:
            self._index = scan_fasta(inflated_chunks(path), where=str(path))
            if save_index:
                write_fai(fai, self._index)
        self.contigs: dict[str, int] = dict(zip(self._index.names, self._index.lengths.tolist(), strict=True))
        self._numbers = _numbers_by_name(self._index.names)

    def __reduce__(self) -> tuple[type[Fasta], tuple[Path]]:
        return Fasta, (self.path,)

    def find(self, contig: str) -> str | None:
        """Return a contig's name as the file writes it, or None where it has no such contig."""
        number = self._number(contig)
        return None if number < 0 else self._index.names[number]

    def fetch(self, contig: str, start: int, end: int) -> bytes:
        """Return upper-cased bases from ``start`` (0-based) to before ``end``.

        Raises
        ------
        FormatError: for a contig that is not there, or a place beyond its ends.
        """
        number = self._number(contig)
        if number < 0:
            some = ", ".join(self._index.names[:5])
            raise FormatError(f"there is no contig {contig} in {self.path.name}", hint=f"it has: {some} ...")
        length = int(self._index.lengths[number])
        if not 0 <= start <= end <= length:
            raise FormatError(
                f"{contig}:{start + 1}-{end} lies beyond the ends of that contig in {self.path.name} ({length} bp)"
            )
        if start == end:
            return b""
        first, last = self._index.file_offsets(np.array([number, number]), np.array([start, end - 1])).tolist()
        raw = self._source.read(first, last + 1)
        kept: _Bytes = _UPPER[raw[(raw != 10) & (raw != 13)]]
        return kept.tobytes()

    def contig_numbers(self, names: pl.Series) -> _Ints:
        """Return each name's place among the file's contigs, -1 where it has no such contig."""
        unique = names.unique(maintain_order=True).to_list()
        numbers = [self._number(n) for n in unique]
        return names.replace_strict(unique, numbers, return_dtype=pl.Int64).to_numpy().astype(np.int64)

    def lengths_of(self, numbers: _Ints) -> _Ints:
        """Return the lengths of contigs by number, 0 for number -1."""
        return np.append(self._index.lengths, 0)[numbers]

    def bases(self, numbers: _Ints, positions: _Ints) -> _Bytes:
        """Return the bases as written at 0-based positions of contigs by number; all must exist."""
        return self._source.take(self._index.file_offsets(numbers, positions))

    def ref_matches(self, records: pl.DataFrame) -> npt.NDArray[np.int8]:
        """Say for each record whether its REF is what the file has there, int8 (n_records,).

        Case does not matter. An N in the file matches N only; another ambiguity code matches N, as for ``bcftools
        norm -c``, and each base that it stands for, since VCF wants one of them written (bcftools reads the code as
        N and refuses a base there). An ambiguity code in the REF matches nothing.

        Parameters
        ----------
        records: contig, position (1-based), ref.

        Returns
        -------
        1 match, 0 mismatch, -1 where the contig is not in the file or the REF reaches beyond its ends.
        """
        numbers = self.contig_numbers(records["contig"])
        starts = records["position"].to_numpy().astype(np.int64) - 1
        sizes = records["ref"].str.len_bytes().to_numpy().astype(np.int64)
        known = (numbers >= 0) & (starts >= 0) & (starts + sizes <= self.lengths_of(numbers)) & (sizes > 0)
        result = np.full(records.height, UNKNOWN, dtype=np.int8)
        if not known.any():
            return result
        text = np.frombuffer("".join(records["ref"].filter(pl.Series(known)).to_list()).encode(), dtype=np.uint8)
        sizes = sizes[known]
        first = np.cumsum(sizes) - sizes
        place = np.repeat(starts[known] - first, sizes) + np.arange(len(text))
        found = self.bases(np.repeat(numbers[known], sizes), place)
        agree = (_FASTA_BITS[found] & _REF_BITS[text]) != 0
        result[known] = np.logical_and.reduceat(agree, first)
        return result

    def _number(self, contig: str) -> int:
        return self._numbers.get(contig, self._numbers.get("=" + normalise_contig(contig), -1))

    def _check_index(self, fai: Path) -> None:
        """Compare where the index says that contigs begin and end with what lies there."""
        index = self._index
        try:
            fits = index.fits(self._source.size, self._source.take)
        except IndexError:
            fits = False
        if not fits:
            raise FormatError(
                f"{self.path.name} is not the file that {fai.name} describes: one of them was cut or changed",
                where=str(self.path),
                hint=f"compare the FASTA's checksum with its source, then remove {fai.name}",
            )


def upper_bases(raw: _Bytes) -> _Bytes:
    """Return upper-cased bases with every code that is not A, C, G or T as N."""
    upper = _UPPER[raw]
    return np.where(_REF_BITS[upper] != 0, upper, np.uint8(ord("N")))


def _numbers_by_name(names: Sequence[str]) -> dict[str, int]:
    """Map names as written to their number, and ``=`` + normalised name where only one contig normalises to it."""
    numbers: dict[str, int] = {}
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        key = "=" + normalise_contig(name)
        seen[key] = -1 if key in seen else number
        numbers[name] = number
    return seen | numbers
