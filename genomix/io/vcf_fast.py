"""VCF text by compiled kernels, equal to the reference reader record for record.

The kernels read what is plainly well-formed. Lines whose calls they do not know go to htslib, one by one; a piece with
anything odd in its columns goes there whole. So every error is the reference reader's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.genotype_format import MISSING, RECORDS_SCHEMA, DosageField, GenotypeBlock
from genomix.io.record_lines import FILTER, INFO, QUAL, RecordLines
from genomix.io.vcf_calls import Calls, calls_of_text, several_alts_placed
from genomix.io.vcf_pieces import Piece
from genomix.io.vcf_text import ALL_INFO, LineError, TextRecord, read_lines

_FIRST = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&+./:;?@^_|~-"


@dataclass(frozen=True)
class ParsedPiece:
    """What a piece of text holds.

    Parameters
    ----------
    block: its records, numbered from 0.
    n_lines: its lines; empty_line: number of an empty line after all records, or None.
    n_handed: records whose calls htslib read.
    """

    block: GenotypeBlock
    n_lines: int
    empty_line: int | None
    n_handed: int


@dataclass
class PieceReader:
    """Parses pieces, by kernels or by the reference reader; may be called from several threads.

    Parameters
    ----------
    folder: where temporary files may lie.
    with_calls: False reads fixed columns only.
    split_dosages: see :class:`~genomix.io.genotype_format.OpenOptions`.
    leading_marks: whether a call may start with a phasing mark, as the file's version says.
    """

    n_samples: int
    dosage_field: DosageField
    info_keys: tuple[str, ...]
    folder: Path
    with_calls: bool = True
    split_dosages: bool = False
    leading_marks: bool = False
    _kernels: Any = field(default=None, repr=False)
    _record_kernels: Any = field(default=None, repr=False)

    def load(self) -> None:
        """Load the kernels, before threads do."""
        from genomix.io.kernels import record_kernels, vcf_kernels

        self._kernels, self._record_kernels = vcf_kernels, record_kernels
        self._allowed = np.zeros(256, dtype=np.uint8)
        self._allowed[list(_FIRST)] = 2
        self._allowed[[ord("*"), ord("=")]] = 1
        self._is_base = np.zeros(256, dtype=np.uint8)
        self._is_base[list(b"ACGTN")] = 1
        keys = [k.encode() for k in self.info_keys]
        self._keys = np.frombuffer(b"".join(keys) or b"\0", dtype=np.uint8)
        self._key_ends = np.cumsum([len(k) for k in keys]).astype(np.int64)
        self._wanted = int.from_bytes(self.dosage_field.encode(), "big") if self.dosage_field in ("DS", "GP") else 0

    def reference(self, piece: Piece) -> ParsedPiece:
        """Parse a piece by Python and htslib."""
        records, n_lines, empty = self._read(piece.text())
        frame = pl.DataFrame([r.fixed for r in records], schema=RECORDS_SCHEMA, orient="row")
        n = len(records)
        calls = self._calls(records, range(n)) if self.with_calls else _no_calls(n)
        none = np.zeros(n, dtype=np.bool_)
        compact = np.empty((0, calls.phased.shape[1]), dtype=np.int8)
        block = GenotypeBlock(np.arange(n, dtype=np.int64), frame, none, compact, *calls)
        return ParsedPiece(block, n_lines, empty, n)

    def _read(self, text: bytes) -> tuple[list[TextRecord], int, int | None]:
        """Read whole lines by Python."""
        return read_lines(
            text, self.n_samples, dosage_field=self.dosage_field, split_dosages=self.split_dosages,
            info_keys=self.info_keys,
        )  # fmt: skip

    def _calls(self, records: Sequence[TextRecord], numbers: Sequence[int]) -> Calls:
        """Return the calls of records as htslib reads them."""
        return calls_of_text(records, numbers, self.n_samples, self.folder, leading_marks=self.leading_marks)

    def fast(self, piece: Piece) -> ParsedPiece:
        """Parse a piece by the kernels; :meth:`reference` parses what they do not know."""
        try:
            return self._fast(piece) or self.reference(piece)
        except LineError:
            return self.reference(piece)  # the first error of the piece, by the reference reader's order

    def _fast(self, piece: Piece) -> ParsedPiece | None:
        k = self._kernels
        room = (piece.end - piece.start) // (self.n_samples + 9) + 1
        fields = np.empty((room, k.N_FIELDS), dtype=np.int32)
        positions, n_alts = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int16)
        n_keys, status = np.empty(room, dtype=np.int16), np.empty(room, dtype=np.uint8)
        compact = np.empty((room if self.with_calls else 1, self.n_samples), dtype=np.int8)
        n, n_compact, not_ascii = k.read_lines(
            piece.buffer, piece.start, piece.end, self.n_samples, self._wanted, self._allowed,
            fields, positions, n_alts, n_keys, status, compact, self.with_calls,
        )  # fmt: skip
        if n < 0:
            return None
        fields, status = fields[:n], status[:n]
        found = self._lines(piece.buffer, fields, positions[:n], n_alts[:n], not_ascii)
        if found is None:
            return None
        numbers = np.arange(n, dtype=np.int64)
        if not self.with_calls:
            empty = np.empty((0, 0), dtype=np.int8)
            return ParsedPiece(
                GenotypeBlock(numbers, found, np.zeros(n, dtype=np.bool_), empty, *_no_calls(n)), n, None, 0
            )
        calls, n_handed = self._general(piece, fields, n_alts, n_keys, status, n - n_compact)
        block = GenotypeBlock(numbers, found, status == k.COMPACT, compact[:n_compact], *calls)
        return ParsedPiece(block, n, None, n_handed)

    def _general(
        self, piece: Piece, fields: Any, n_alts: Any, n_keys: Any, status: npt.NDArray[np.uint8], n: int
    ) -> tuple[Calls, int]:
        """Return the calls of the lines that are not compact, and the number of those that htslib read."""
        k = self._kernels
        alleles = np.empty((n, self.n_samples, 2), dtype=np.int16)
        phased = np.empty((n, self.n_samples), dtype=np.bool_)
        without = np.zeros(n, dtype=np.bool_)
        n_handed = 0
        if n:
            n_handed = k.general_calls(
                piece.buffer, fields, n_alts, n_keys, status, self.leading_marks, alleles, phased
            )  # fmt: skip
        if not n_handed:
            return Calls(alleles, phased, without, None), 0
        lines = np.flatnonzero(status == k.HANDED)
        text = b"".join(piece.buffer[f[0] : f[10]].tobytes() + b"\n" for f in fields[lines])
        records, _, _ = self._read(text)
        calls = self._calls(records, lines.tolist())
        rows = np.cumsum(status != k.COMPACT)[lines] - 1
        alleles[rows], phased[rows], without[rows] = calls.alleles, calls.phased, calls.without_calls
        dosages = None
        if calls.dosages is not None:
            dosages = np.full((n, self.n_samples), np.nan, dtype=np.float32)
            dosages[rows] = calls.dosages
        return Calls(alleles, phased, without, dosages, *several_alts_placed(calls, rows, n)), n_handed

    def _lines(
        self, buffer: npt.NDArray[np.uint8], fields: Any, positions: npt.NDArray[np.int64], n_alts: Any, not_ascii: bool
    ) -> RecordLines | None:
        """Return the fixed columns, or None when they are not UTF-8."""
        n = len(fields)
        if not_ascii and not all(_is_utf8(buffer[f[0] : f[8]]) for f in fields):
            return None
        k = self._record_kernels
        text = np.empty(int((fields[:, 8] - fields[:, 2]).sum()) + 2 * n, dtype=np.uint8)
        ends, starts = np.empty((n, k.N_KEPT), dtype=np.int32), np.empty(n, dtype=np.int64)
        bits, n_filtered, n_runs = k.copy_columns(
            buffer, fields, self._keys, self._key_ends, self.info_keys == ALL_INFO, self._is_base, text, ends, starts
        )
        starts = starts[:n_runs].copy()
        contigs = tuple(buffer[f[0] : f[1] - 1].tobytes().decode() for f in fields[starts])
        length = int(ends[-1, -1]) + 1 if n else 0
        return RecordLines(
            text[:length], ends, positions.copy(), n_alts.copy(), starts, contigs, bits & (QUAL | FILTER | INFO),
            n_filtered, not bits & k.NOT_PLAIN,
        )  # fmt: skip


def _is_utf8(text: npt.NDArray[np.uint8]) -> bool:
    try:
        text.tobytes().decode()
    except UnicodeDecodeError:
        return False
    return True


def _no_calls(n: int) -> Calls:
    return Calls(
        np.full((n, 0, 2), MISSING, dtype=np.int16),
        np.zeros((n, 0), dtype=np.bool_),
        np.zeros(n, dtype=np.bool_),
        None,
    )
