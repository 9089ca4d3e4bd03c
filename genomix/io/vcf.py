"""VCF text and BCF, plain, gzip or BGZF, from a file or from standard input.

Two readers: the reference reader leaves all calls to htslib (cyvcf2), the fast one reads VCF text by compiled kernels
and hands what they do not know to the first. They agree on every record, and ``auto`` takes the fast one for files
whose size repays the half second that loading it costs.

Memory does not grow with the file: at most ``threads + 2`` pieces of 16 MiB of text (or of the longest line) with their
calls, at most nine bytes of arrays for a byte of text, so at most 150 MiB a piece; BCF holds one block.

A compressed file that was cut is always found. Plain text that was cut inside a line is found by its columns; text that
was cut at a line's end, or inside its last call, looks like a whole file and cannot be found out.

With an index (.tbi, .csi) beside the file only the blocks that may hold the chosen regions are read: a BGZF file's end
is looked at and the blocks that are read must be whole, the others are not inspected.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from genomix.errors import FormatError
from genomix.io.bcf_fast import bcf_fast_blocks, can_read
from genomix.io.bcf_records import bcf_blocks, bcf_fixed_columns
from genomix.io.bgzf import check_eof_block, require_file, sniff_compression, unwrap
from genomix.io.genotype_format import RECORDS_SCHEMA, GenotypeBlock, OpenOptions, SourceHeader
from genomix.io.vcf_blocks import regrouped
from genomix.io.vcf_fast import ParsedPiece, PieceReader
from genomix.io.vcf_index import chunks_of, find_index, read_index, text_of_chunks
from genomix.io.vcf_phase_marks import FIRST_VERSION
from genomix.io.vcf_pieces import chunk_fills, file_fills, map_pieces
from genomix.io.vcf_text import EMPTY_LINE, REMOVE_IT, LineError, is_bcf, read_header
from genomix.provenance import scratch_errors

FAST_FROM_COMPRESSED, FAST_FROM_PLAIN = 4 << 20, 16 << 20
"""Sizes in bytes from which ``auto`` takes the fast reader."""


class VcfSource:
    """An opened VCF or BCF file; see :class:`~genomix.io.genotype_format.GenotypeSource`.

    ``n_handed`` counts the records whose calls htslib read, as far as blocks were taken.
    """

    def __init__(self, path: Path, options: OpenOptions | None = None) -> None:
        self._options = options or OpenOptions()
        if str(path) != "-":
            require_file(path)
        self._folder = tempfile.TemporaryDirectory(prefix="genomix-")
        self._shown = "standard input" if str(path) == "-" else str(path)
        try:
            self._open(path)
        except BaseException:
            self._folder.cleanup()
            raise

    def _open(self, path: Path) -> None:
        folder = Path(self._folder.name)
        lenient = self._options.allow_missing_end
        if str(path) == "-":
            path = folder / "standard_input"
            with scratch_errors(folder), path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        self._path = unwrap(path, folder)
        self._size = max(self._path.stat().st_size, 1)
        self._is_bcf = is_bcf(self._path, allow_missing_end=lenient)
        text = read_header(self._path, allow_missing_end=lenient)
        self._n_header_lines = text.n_lines
        self._leading_marks = text.version >= FIRST_VERSION
        samples = pl.DataFrame({"sample_id": text.samples, "sex": [0] * len(text.samples)}).cast({"sex": pl.Int8})
        has_dosages = bool({"DS", "GP"} & text.formats)
        self.header = SourceHeader(samples, text.contigs, may_have_dosages=has_dosages, meta=text.meta)
        if self._options.regions is not None:
            self._options = replace(self._options, regions=self._options.regions.resolved(text.contigs))
        self._index = find_index(self._path) if self._options.regions is not None else None
        self._n_read = 0
        self.n_handed = 0
        self.notes: Counter[str] = Counter()
        self.contigs_passed_over: set[str] = set()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.header.samples.height

    @property
    def n_records(self) -> int | None:
        """None: a VCF does not say how many records it holds."""
        return None

    @property
    def is_fast(self) -> bool:
        """Whether the kernels read this file."""
        if self._options.reader == "auto":
            plain = sniff_compression(self._path) == "none"
            return not self._is_bcf and self._size >= (FAST_FROM_PLAIN if plain else FAST_FROM_COMPRESSED)
        return self._options.reader == "fast" and not self._is_bcf and sys.byteorder == "little"

    def share_read(self) -> float:
        """Return how much of the file has been read, from 0 to 1."""
        return min(self._n_read / self._size, 1.0)

    def records(self) -> pl.DataFrame:
        """Return the fixed columns of every record; calls are not looked at, but completeness is checked."""
        if self._is_bcf:
            return bcf_fixed_columns(self._path, self._shown, self._options)
        frames = [b.records for b in self._text_blocks(with_calls=False)]
        return pl.concat([pl.DataFrame(schema=RECORDS_SCHEMA), *frames])

    def blocks(self) -> Iterator[GenotypeBlock]:
        """Yield the records with their calls in one pass.

        Raises
        ------
        TruncatedInputError: when a compressed file is cut.
        FormatError: with file and line (BCF: record number) for what cannot be read.
        """
        found = self._bcf_blocks() if self._is_bcf else self._text_blocks(with_calls=True)
        size = self._options.block_size
        yield from found if size is None else regrouped(found, size)

    def _bcf_blocks(self) -> Iterator[GenotypeBlock]:
        shown, options = self._shown, self._options
        if options.reader != "reference" and can_read(self._path, options):
            folder = Path(self._folder.name)
            return bcf_fast_blocks(self._path, shown, options, self.n_samples, folder, self._note_place)
        return bcf_blocks(self._path, shown, options, self.n_samples, self._note_place)

    def _note_place(self, place: int) -> None:
        self._n_read = place

    def _text_blocks(self, *, with_calls: bool) -> Iterator[GenotypeBlock]:
        """Parse piece after piece, and number lines and records."""
        record, line, empty = 0, 0 if self._index else self._n_header_lines, None
        pieces = self._parsed(with_calls)
        while True:
            try:
                piece = next(pieces)
            except StopIteration:
                return
            except LineError as error:
                if empty is not None:
                    raise self._error(LineError(empty - line, EMPTY_LINE, hint=REMOVE_IT), line) from error
                raise self._error(error, line) from error
            block = piece.block
            if block.n_records:
                if empty is not None:
                    raise self._error(LineError(empty - line, EMPTY_LINE, hint=REMOVE_IT), line)
                self.n_handed += piece.n_handed
                yield replace(block, numbers=block.numbers + record)
            if piece.empty_line is not None and empty is None:
                empty = line + piece.empty_line
            record, line = record + block.n_records, line + piece.n_lines

    def _parsed(self, with_calls: bool) -> Iterator[ParsedPiece]:
        options = self._options
        reader = PieceReader(
            self.n_samples, options.dosage_field, options.info_keys, Path(self._folder.name), with_calls,
            split_dosages=options.split_dosages, leading_marks=self._leading_marks,
        )  # fmt: skip
        parse = reader.reference
        if self.is_fast:
            reader.load()
            parse = reader.fast
        if self._index is not None and options.regions is not None:
            if not options.allow_missing_end:
                check_eof_block(self._path)
            index = read_index(self._index)
            self.contigs_passed_over.update(index.bins)
            chunks = chunks_of(index, options.regions)
            fills, skipped = chunk_fills(text_of_chunks(self._path, chunks)), 0
        else:
            lenient = options.allow_missing_end
            fills = file_fills(self._path, allow_missing_end=lenient, read_so_far=self._note_place)
            skipped = self._n_header_lines
        return map_pieces(fills, skipped, parse, threads=options.threads)

    def _error(self, error: LineError, first_line: int) -> FormatError:
        number = first_line + error.line + 1
        where = f"{self._shown} record {number} of the regions" if self._index else f"{self._shown}:{number}"
        return FormatError(error.what, where=where, hint=error.hint, identifiers=error.identifiers)

    def __enter__(self) -> VcfSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


class VcfFormat:
    """VCF 4.x text and BCF 2."""

    name = "vcf"
    suffixes = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf", ".bcf.gz")
    fileset: str | None = None

    def open(self, path: Path, options: OpenOptions | None = None) -> VcfSource:
        """Open a VCF or BCF file; ``-`` is standard input, which is copied to a temporary file first."""
        return VcfSource(path, options)


FORMAT = VcfFormat()
