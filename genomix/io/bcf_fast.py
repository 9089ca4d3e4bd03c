"""BCF read record by record without htslib where a record is of the common kind, and by htslib elsewhere.

Layout: VCF specification, section 6 (https://samtools.github.io/hts-specs/VCFv4.3.pdf). A common record has GT as its
first field, two alleles of one byte each for every sample. All other records are put into a small BCF file, with the
header as it was, for the reference reader.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, TruncatedInputError
from genomix.io.bcf_columns import QUALITY_MISSING, PlainColumns, plain_columns
from genomix.io.bgzf import check_eof_block, inflated_chunks, sniff_compression
from genomix.io.bgzf_blocks import block_groups, inflate_group
from genomix.io.genotype_format import (
    COMPACT_MISSING,
    HAPLOID,
    HET_PHASED,
    HET_PHASED_REVERSED,
    RECORDS_SCHEMA,
    GenotypeBlock,
    OpenOptions,
    default_block_size,
)
from genomix.io.vcf_calls import (
    CANNOT_PARSE,
    CORRECT_IT,
    Calls,
    calls_of_htslib,
    normalised,
    open_htslib,
    several_alts_placed,
)
from genomix.io.vcf_text import ALL_INFO, LineError
from genomix.provenance import scratch_errors

_RECORD = struct.Struct("<IIiiifHHI")
_SIZES = struct.Struct("<II")
_VECTOR_END, _MISSING_BYTE, _GENERAL = 0x81, 0x80, 127
_ENTRY = re.compile(r"^##(FILTER|INFO|FORMAT|contig)=<(?:.*?[<,])?ID=([^,>]+)")
_IDX = re.compile(r",IDX=(\d+)>?\s*$")
_TYPED = {1: "b", 2: "h", 3: "i"}


@dataclass
class _Header:
    raw: bytes
    strings: dict[int, str] = field(default_factory=lambda: {0: "PASS"})
    contigs: dict[int, str] = field(default_factory=dict)
    info: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        known = {"PASS"}
        for line in self.raw[9:].rstrip(b"\0").decode("utf-8", errors="replace").split("\n"):
            found = _ENTRY.match(line)
            if found is None:
                continue
            kind, name = found.groups()
            table = self.contigs if kind == "contig" else self.strings
            if kind == "INFO":
                self.info.add(name)
            index = _IDX.search(line)
            if index:
                table[int(index[1])] = name
            elif kind == "contig" or name not in known:
                table[len(table)] = name
            known.add(name)


def can_read(path: Path, options: OpenOptions) -> bool:
    """Say whether no wanted INFO key, dosage or region asks for htslib."""
    if options.regions is not None or options.dosage_field not in ("auto", "GT") or options.info_keys == ALL_INFO:
        return False
    header, _ = _read_header(_stream(path, lenient=True, read_so_far=lambda _: None), path)
    return not header.info & set(options.info_keys)


def bcf_fast_blocks(
    path: Path, shown: str, options: OpenOptions, n_samples: int, folder: Path, read_so_far: Callable[[int], None]
) -> Iterator[GenotypeBlock]:
    """Yield the records of a BCF file with their calls, in one pass."""
    size = options.block_size or default_block_size(n_samples)
    if sniff_compression(path) == "bgzf" and not options.allow_missing_end:
        check_eof_block(path)
    chunks = _stream(path, lenient=options.allow_missing_end, read_so_far=read_so_far)
    header, rest = _read_header(chunks, path)
    block = _Block(header, size, n_samples, folder, options)
    done = 0
    try:
        for record in _records(rest, chunks, shown):
            block.add(record)
            if block.n == size:
                yield block.finish(done)
                done += size
                block = _Block(header, size, n_samples, folder, options)
        if block.n:
            yield block.finish(done)
    except LineError as error:
        where = f"{shown} record {done + error.line + 1}"
        raise FormatError(error.what, where=where, hint=error.hint, identifiers=error.identifiers) from error


def _stream(path: Path, *, lenient: bool, read_so_far: Callable[[int], None]) -> Iterator[bytes]:
    if sniff_compression(path) != "bgzf":
        yield from inflated_chunks(path, allow_missing_end=lenient, read_so_far=read_so_far)
        return
    for group in block_groups(path, 1 << 20, read_so_far=read_so_far):
        text = np.empty(group.n_text, dtype=np.uint8)
        inflate_group(group, text, 0, path)
        yield text.tobytes()


def _read_header(chunks: Iterator[bytes], path: Path) -> tuple[_Header, bytes]:
    held = b""
    for chunk in chunks:
        held += chunk
        if len(held) >= 9 and len(held) >= (end := 9 + int.from_bytes(held[5:9], "little")):
            return _Header(held[:end]), held[end:]
    raise FormatError("the BCF header is cut", where=str(path))


def _records(held: bytes, chunks: Iterator[bytes], shown: str) -> Iterator[bytes]:
    at = n = 0
    while True:
        while len(held) - at >= 8:
            shared, individual = _SIZES.unpack_from(held, at)
            end = at + 8 + shared + individual
            if end > len(held):
                break
            yield held[at:end]
            at, n = end, n + 1
        more = next(chunks, None)
        if more is None:
            if at < len(held):
                raise TruncatedInputError(
                    "the file ends inside a record: it was cut",
                    where=f"{shown} record {n + 1}",
                    hint="copy or download it again and compare checksums",
                )
            return
        held, at = held[at:] + more, 0


class _Block:
    """Records gathered until they make a block."""

    def __init__(self, header: _Header, size: int, n_samples: int, folder: Path, options: OpenOptions) -> None:
        self._header, self._folder, self._options = header, folder, options
        self._n_samples = n_samples
        self._records: list[bytes] = []
        self._handed: dict[int, bytes] = {}
        self._gt_start = b""
        for index, name in header.strings.items():
            if name == "GT":
                key = b"\x11" + bytes([index]) if index < 128 else b"\x12" + struct.pack("<H", index)
                self._gt_start = key + b"\x21"
        self.add = self._records.append

    @property
    def n(self) -> int:
        """Number of records."""
        return len(self._records)

    def finish(self, start: int) -> GenotypeBlock:
        """Return the block.

        Raises
        ------
        LineError: when a record is damaged.
        """
        n = self.n
        columns = plain_columns(self._records, self._gt_start, self._n_samples)
        words, n_alts = columns.calls, columns.n_alts
        odd = np.flatnonzero(~columns.is_plain)
        rows = [self._fixed(i, n_alts) for i in odd.tolist()]
        six_bits = ((words | (words >> 5)) & 0x3F).astype(np.uint8)  # the lowest three of either allele
        codes = np.frombuffer(six_bits.tobytes().translate(_codes()), dtype=np.int8).reshape(words.shape)
        is_compact = (codes.max(axis=1, initial=0) < _GENERAL) & (n_alts <= 1)
        is_compact &= np.bitwise_or.reduce(words, axis=1) & 0xF8F8 == 0
        self._handed = {i: self._records[i] for i in np.flatnonzero(~columns.has_plain_calls).tolist()}
        is_compact[list(self._handed)] = False
        calls = self._general(np.flatnonzero(~is_compact), words, n_alts)
        frame = self._frame(columns, odd, rows)
        compact = codes if is_compact.all() else codes[is_compact]
        return GenotypeBlock(np.arange(start, start + n), frame, is_compact, compact, *calls)

    def _frame(self, columns: PlainColumns, odd: npt.NDArray[np.int64], rows: list[tuple[Any, ...]]) -> pl.DataFrame:
        plain = np.flatnonzero(columns.is_plain)
        contigs, filters = self._header.contigs, self._header.strings
        try:
            frame = columns.frame(contigs, filters)
        except (KeyError, UnicodeDecodeError):  # in which record, the slower way says
            return pl.DataFrame(
                [self._fixed(i, columns.n_alts) for i in range(self.n)], schema=RECORDS_SCHEMA, orient="row"
            )
        if not rows:
            return frame
        both = pl.concat([frame, pl.DataFrame(rows, schema=RECORDS_SCHEMA, orient="row")])
        return both[np.argsort(np.concatenate([plain, odd]), kind="stable")]

    def _fixed(self, number: int, n_alts: npt.NDArray[np.int64]) -> tuple[Any, ...]:
        """Read the fixed columns of one record, and note its number of ALTs."""
        record, header = self._records[number], self._header
        try:
            n_shared, _, contig, position, _, quality, _, n_alleles, counts = _RECORD.unpack_from(record)
            name, at = _text(record, 32)
            alleles = []
            for _ in range(n_alleles):
                allele, at = _text(record, at)
                alleles.append(allele)
            filters, at = _integers(record, at)
            passed = ";".join([header.strings[i] for i in filters]) or "."
            chrom = header.contigs[contig]
        except (IndexError, KeyError, UnicodeDecodeError, struct.error) as error:
            raise LineError(number, CANNOT_PARSE, hint=CORRECT_IT) from error
        if at > n_shared + 8 or not alleles or counts & 0xFFFFFF != self._n_samples:
            raise LineError(number, CANNOT_PARSE, hint=CORRECT_IT)
        n_alts[number] = n_alleles - 1
        qual = "." if record[20:24] == QUALITY_MISSING else f"{quality:g}"
        return chrom, position + 1, name or ".", alleles[0], ",".join(alleles[1:]) or ".", qual, passed, "."

    def _general(self, rows: npt.NDArray[np.int64], words: Any, n_alts: Any) -> Calls:
        a, b = (words[rows] & 0xFF).astype(np.int16), (words[rows] >> 8).astype(np.int16)
        raw = np.empty((*a.shape, 3), dtype=np.int16)
        raw[..., 0], raw[..., 1] = (a >> 1) - 1, np.where(b == _VECTOR_END, HAPLOID, (b >> 1) - 1)
        raw[..., 2] = b & 1
        odd = ((a == _MISSING_BYTE) | (a == _VECTOR_END) | (b == _MISSING_BYTE)).any(axis=1)
        odd |= (raw[..., :2].max(axis=(1, 2), initial=0) > n_alts[rows]) & (n_alts[rows] > 0)
        odd |= np.array([i in self._handed for i in rows.tolist()], dtype=np.bool_)
        alleles, phased = normalised(raw)
        without, dosages = np.zeros(len(rows), dtype=np.bool_), None
        alt_dosages, lost = None, None
        if odd.any():
            found = self._by_htslib(rows[odd], words, n_alts)
            alleles[odd], phased[odd], without[odd] = found.alleles, found.phased, found.without_calls
            if found.dosages is not None:
                dosages = np.full(phased.shape, np.nan, dtype=np.float32)
                dosages[odd] = found.dosages
            alt_dosages, lost = several_alts_placed(found, np.flatnonzero(odd), len(rows))
        return Calls(alleles, phased, without, dosages, alt_dosages, lost)

    def _by_htslib(self, rows: npt.NDArray[np.int64], words: Any, n_alts: Any) -> Calls:
        with (
            scratch_errors(self._folder),
            tempfile.NamedTemporaryFile(suffix=".bcf", dir=self._folder, delete=False) as stream,
        ):
            stream.write(self._header.raw)
            stream.writelines(
                self._handed[i] if i in self._handed else self._rebuilt(i, words, n_alts) for i in rows.tolist()
            )
        path = Path(stream.name)
        try:
            reader = open_htslib(path)
            return calls_of_htslib(reader, rows.tolist(), self._n_samples, self._options)
        finally:
            path.unlink()

    def _rebuilt(self, row: int, words: Any, n_alts: Any) -> bytes:
        """Return a record of GT alone with the same calls and number of alleles."""
        n_alleles = int(n_alts[row]) + 1
        shared = struct.pack("<iiifHHI", 0, 0, 1, 0.0, 0, n_alleles, 1 << 24 | self._n_samples)
        shared += b"\x07" + b"\x17N" * n_alleles + b"\x00"
        calls: bytes = self._gt_start + words[row].tobytes()
        return struct.pack("<II", len(shared), len(calls)) + shared + calls


def _text(record: bytes, at: int) -> tuple[str, int]:
    kind = record[at]
    n = kind >> 4
    at += 1
    if n == 15:
        (n,), at = _integers(record, at)
    elif not kind & 15:
        return "", at
    return record[at : at + n].decode(), at + n


def _integers(record: bytes, at: int) -> tuple[tuple[int, ...], int]:
    kind = record[at]
    n = kind >> 4
    at += 1
    if n == 15:
        (n,), at = _integers(record, at)
    if not n or not kind & 15:
        return (), at
    if kind & 15 == 1:
        return tuple(record[at : at + n]), at + n
    code = f"<{n}{_TYPED[kind & 15]}"
    return struct.unpack_from(code, record, at), at + struct.calcsize(code)


@cache
def _codes() -> bytes:
    """Compact code of a pair of encoded alleles, (allele + 1) << 1 | phased, three bits each, the second one higher."""
    codes = np.full(256, _GENERAL, dtype=np.int8)
    for first in range(6):
        for second in range(6):
            a, b = (first >> 1) - 1, (second >> 1) - 1
            if a < 0 and b < 0:
                codes[first | second << 3] = COMPACT_MISSING
            elif a >= 0 and b >= 0:
                is_phased = second & 1 and a != b
                codes[first | second << 3] = (HET_PHASED_REVERSED if a else HET_PHASED) if is_phased else a + b
    return codes.tobytes()
