"""BGEN 1.2 and 1.3 (layout 2; https://www.chg.ox.ac.uk/~gav/bgen_format/spec/latest.html), read record by record.

The probabilities are decoded here and not by a library: from their integers, dosages come out as plink2 rounds them,
and every cut and every record that contradicts itself is found.

A BGEN does not say which allele is REF. UK Biobank and plink2's ``ref-first`` put it first, which is the default here;
``OpenOptions.bgen_ref`` says otherwise. A record whose dosages are all whole numbers has hard calls, phased where every
probability of a phased record is 0 or 1; any other biallelic record has ALT dosages, from which hard calls are derived
when they are written (none further than 0.1 from a whole number; plink2's default). Dosages of multi-allelic records
cannot be written to a .pgen: such calls follow the same threshold and are counted in :attr:`BgenSource.notes`.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from deflate import DeflateError, zlib_decompress

from genomix.errors import FormatError, Identifier, InputNotFoundError, TruncatedInputError
from genomix.io.bgen_probabilities import Decoded, decode
from genomix.io.bgzf import require_file
from genomix.io.contigs import normalise_contig
from genomix.io.genotype_format import (
    MISSING,
    RECORDS_SCHEMA,
    GenotypeBlock,
    OpenOptions,
    SourceHeader,
    beside,
    check_sample_ids,
    default_block_size,
    fileset_prefix,
)
from genomix.io.oxford_sample import read_sample
from genomix.io.regions import Regions

_MAGICS = (b"bgen", b"\0\0\0\0")
_PLAIN, _ZLIB, _ZSTD = 0, 1, 2
_LAYOUT = 2
_MOST_ALLELES = 4096
_BUFFER = 1 << 15
_MOST_DEFLATED = 1032
"""Bytes that one byte of deflate can stand for, at most."""


class _Head(NamedTuple):
    """A BGEN's header: where records start, how many there are, samples, compression, identifiers inside."""

    first_record: int
    n_records: int
    n_samples: int
    compression: int
    ids: list[str] | None


class _Record(NamedTuple):
    """One record's fixed columns (alleles as stored) and its probability block as stored."""

    number: int
    contig: str
    position: int
    variant_id: str
    alleles: list[str]
    size: int
    data: bytes


class BgenSource:
    """An opened BGEN file; see :class:`~genomix.io.genotype_format.GenotypeSource`.

    Attributes
    ----------
    notes: counts, complete after :meth:`blocks`: multi-allelic calls taken from uncertain probabilities or set missing.
    """

    def __init__(self, path: Path, options: OpenOptions | None = None) -> None:
        self._options = options or OpenOptions()
        self._path = path
        self._shown = str(path)
        require_file(path)
        self._size = path.stat().st_size
        with _buffered(path) as stream:
            self._head = _Reader(stream, self._size, self._shown).head()
        self.header = SourceHeader(
            _samples(path, self._head, self._options.sample_file),
            may_have_dosages=True,
            policies={"ref": f"REF is the {self._options.bgen_ref} allele of each BGEN record"},
        )
        self._ref_last = self._options.bgen_ref == "last"
        self._done = self._head.first_record
        self.notes: Counter[str] = Counter()
        self.contigs_passed_over: set[str] = set()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self._head.n_samples

    @property
    def n_records(self) -> int:
        """Number of records."""
        return self._head.n_records

    def share_read(self) -> float:
        """Return the share of bytes that were read."""
        return self._done / max(self._size, 1)

    def blocks(self) -> Iterator[GenotypeBlock]:
        """Yield the records with their calls or dosages, in one pass over the file."""
        size = self._options.block_size or default_block_size(self.n_samples)
        with (
            _buffered(self._path) as stream,
            ThreadPoolExecutor(max(1, self._options.threads)) as pool,
        ):
            reader = _Reader(stream, self._size, self._shown)
            wanted = reader.records(self._head, self._options.regions, self.contigs_passed_over)
            for records in _batches(wanted, size):
                decode_all = pool.map if self._options.threads > 1 else map
                decoded = list(decode_all(self._decode, records))
                self._done = reader.position
                yield self._block(records, decoded)
            self._done = reader.position

    def _decode(self, record: _Record) -> Decoded:
        where = _where(self._shown, record.number, record.variant_id)
        data = _inflate(record, self._head.compression, where)
        return decode(
            data,
            self.n_samples,
            len(record.alleles),
            ref_last=self._ref_last,
            dosages=self._options.dosage_field != "GT",
            where=where,
        )

    def _block(self, records: list[_Record], decoded: list[Decoded]) -> GenotypeBlock:
        m = self.n_samples
        compact = [d.compact for d in decoded if d.compact is not None]
        general = [d for d in decoded if d.compact is None]
        alleles = np.full((len(general), m, 2), MISSING, dtype=np.int16)
        phased = np.zeros((len(general), m), dtype=np.bool_)
        dosages = None
        if any(d.dosages is not None for d in general):
            dosages = np.full((len(general), m), np.nan, dtype=np.float32)
        for i, found in enumerate(general):
            if found.alleles is not None:
                alleles[i] = found.alleles
                phased[i] = found.phased
            if dosages is not None and found.dosages is not None:
                dosages[i] = found.dosages
            self._note(found)
        return GenotypeBlock(
            np.array([r.number for r in records], dtype=np.int64),
            _records_frame(records, self._ref_last),
            np.array([d.compact is not None for d in decoded], dtype=np.bool_),
            np.stack(compact) if compact else np.empty((0, m), dtype=np.int8),
            alleles,
            phased,
            np.zeros(len(general), dtype=np.bool_),
            dosages,
        )

    def _note(self, found: Decoded) -> None:
        if found.derived:
            self.notes["multi-allelic calls derived from probabilities"] += found.derived
        if found.uncertain:
            self.notes["multi-allelic calls too uncertain, set missing"] += found.uncertain

    def __enter__(self) -> BgenSource:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _buffered(path: Path) -> io.BufferedReader:
    """A small buffer: all of it is looked at before each record."""
    return io.BufferedReader(io.FileIO(path), _BUFFER)


def _batches(records: Iterator[_Record], size: int) -> Iterator[list[_Record]]:
    batch: list[_Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _records_frame(records: list[_Record], ref_last: bool) -> pl.DataFrame:
    ordered = [[r.alleles[-1], *r.alleles[:-1]] if ref_last else r.alleles for r in records]
    columns = {
        "contig": [r.contig for r in records],
        "position": [r.position for r in records],
        "variant_id": [r.variant_id for r in records],
        "ref": [a[0] for a in ordered],
        "alt": [",".join(a[1:]) or "." for a in ordered],
        "quality": ["."] * len(records),
        "filter": ["PASS"] * len(records),
        "info": ["."] * len(records),
    }
    return pl.DataFrame(columns, schema=RECORDS_SCHEMA)


def _where(shown: str, number: int, name: str) -> str:
    return f"{shown}, record {number + 1}" + (f" ({name})" if name not in ("", ".") else "")


def _inflate(record: _Record, compression: int, where: str) -> bytes:
    """Return the block's bytes, exactly as many as the record states."""
    if compression == _PLAIN:
        return record.data
    try:
        data = _inflated_zlib(record) if compression == _ZLIB else _inflated_zstd(record)
    except (DeflateError, OSError, ValueError) as error:
        raise FormatError(f"the genotypes cannot be decompressed: {error}", where=where) from error
    if len(data) != record.size:
        raise FormatError(f"the genotypes are {len(data)} bytes; the record states {record.size}", where=where)
    return data


def _inflated_zlib(record: _Record) -> bytes:
    """The stated size is believed only as far as deflate can compress, so that no lie can fill the memory."""
    if record.size > _MOST_DEFLATED * (len(record.data) + 1):
        raise ValueError(f"{len(record.data)} bytes cannot hold the {record.size} that are stated")
    data: bytes = bytes(zlib_decompress(record.data, record.size))
    return data


def _inflated_zstd(record: _Record) -> bytes:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(record.data), "zstd") as stream:
        data: bytes = stream.read(record.size + 1)
    return data


class _Reader:
    """Reads a BGEN's bytes and knows where they end."""

    def __init__(self, stream: io.BufferedReader, size: int, shown: str) -> None:
        self._stream = stream
        self._size = size
        self._shown = shown
        self.position = 0

    def take(self, n: int, what: str) -> bytes:
        """Return the next ``n`` bytes; too few is a :class:`TruncatedInputError`."""
        if self.position + n > self._size:
            raise TruncatedInputError(
                f"the file ends at byte {self._size}, inside {what}, which needs {self.position + n - self._size} more",
                where=self._shown,
                hint="copy or download the file again",
            )
        data = self._stream.read(n)
        self.position += n
        return data

    def number(self, n: int, what: str) -> int:
        """Return a little-endian unsigned integer of ``n`` bytes."""
        return int.from_bytes(self.take(n, what), "little")

    def text(self, n: int, what: str) -> str:
        """Return a string that an ``n``-byte length precedes."""
        return self.take(self.number(n, what), what).decode("utf-8", errors="replace")

    def skip(self, n: int, what: str) -> None:
        """Move on by ``n`` bytes, which must be there."""
        if self.position + n > self._size:
            self.take(n, what)
        self._stream.seek(n, io.SEEK_CUR)
        self.position += n

    def head(self) -> _Head:
        """Read the header and the sample identifiers."""
        offset, length, n_records, n_samples = (self.number(4, "the header") for _ in range(4))
        if self.take(4, "the header") not in _MAGICS:
            raise FormatError("the file does not start as a BGEN", where=self._shown)
        if length < 20 or length > offset:
            raise FormatError(f"the header states a length of {length} and an offset of {offset}", where=self._shown)
        self.skip(length - 20, "the header")
        flags = self.number(4, "the header")
        compression, layout = flags & 3, (flags >> 2) & 15
        if layout != _LAYOUT:
            raise FormatError(
                f"this is BGEN layout {layout}; only layout 2 (BGEN 1.2 and 1.3) is read",
                where=self._shown,
                hint="rewrite it: plink2 --bgen FILE ref-first --export bgen-1.3",
            )
        if compression not in (_PLAIN, _ZLIB, _ZSTD):
            raise FormatError(f"compression {compression} is not known", where=self._shown)
        ids = self._identifiers(n_samples) if flags >> 31 else None
        if self.position > offset + 4:
            raise FormatError("the sample identifiers run into the records", where=self._shown)
        self.skip(offset + 4 - self.position, "the header")
        return _Head(offset + 4, n_records, n_samples, compression, ids)

    def _identifiers(self, n_samples: int) -> list[str]:
        self.number(4, "the sample identifiers")
        count = self.number(4, "the sample identifiers")
        if count != n_samples:
            raise FormatError(
                f"the file holds {count} sample identifiers and states {n_samples} samples", where=self._shown
            )
        return [self.text(2, "the sample identifiers") for _ in range(count)]

    def records(self, head: _Head, regions: Regions | None, passed_over: set[str]) -> Iterator[_Record]:
        """Yield the records; those outside the regions are passed over, and their contigs noted."""
        self.skip(head.first_record, "the header")
        for number in range(head.n_records):
            what = f"record {number + 1} of {head.n_records}"
            record = self._record(number, what, head.compression)
            length = record.size - (4 if head.compression != _PLAIN and record.size >= 4 else 0)
            if regions is not None and not _overlaps(record, regions):
                self.skip(record.size, what)
                passed_over.add(record.contig)
                continue
            size = self.number(4, what) if head.compression != _PLAIN else record.size
            yield record._replace(size=size, data=self.take(length, what))
        if self.position != self._size:
            raise FormatError(
                f"{self._size - self.position} bytes follow the last of {head.n_records} records", where=self._shown
            )

    def _record(self, number: int, what: str, compression: int) -> _Record:
        """Read the fixed columns; ``size`` is the number of bytes that follow."""
        record = self._parsed(number, what)
        where = _where(self._shown, number, record.variant_id)
        _check_texts(record, where)
        if compression != _PLAIN and record.size < 4:
            raise FormatError("the record's genotypes have no size", where=where)
        return record

    def _parsed(self, number: int, what: str) -> _Record:
        """Parse from what is buffered; near the buffer's end, piece by piece."""
        start = self.position
        ahead = _Ahead(self._stream.peek(1))
        try:
            record = _fixed_columns(number, ahead, self._shown)
        except (IndexError, struct.error):
            return _fixed_columns(number, _Pieces(self, what), self._shown)
        self._stream.read(ahead.at)
        self.position = start + ahead.at
        return record


class _Ahead:
    """Bytes that are at hand."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, n: int) -> bytes:
        """Return the next bytes; :class:`IndexError` where there are too few."""
        end = self.at + n
        if end > len(self.data):
            raise IndexError
        found = self.data[self.at : end]
        self.at = end
        return found


class _Pieces:
    """Bytes that are read one piece after the other."""

    def __init__(self, reader: _Reader, what: str) -> None:
        self._reader = reader
        self._what = what

    def take(self, n: int) -> bytes:
        """Return the next bytes; too few is a :class:`TruncatedInputError`."""
        return self._reader.take(n, self._what)


def _fixed_columns(number: int, source: _Ahead | _Pieces, shown: str) -> _Record:
    take = source.take
    name, rsid, contig = (take(int.from_bytes(take(2), "little")).decode("utf-8", "replace") for _ in range(3))
    position, n_alleles = struct.unpack("<IH", take(6))
    variant_id = rsid if rsid not in ("", ".") else (name or ".")
    if not 1 <= n_alleles <= _MOST_ALLELES:
        raise FormatError(f"{n_alleles} alleles cannot be read", where=_where(shown, number, variant_id))
    alleles = [take(int.from_bytes(take(4), "little")).decode("utf-8", "replace") for _ in range(n_alleles)]
    return _Record(number, contig, position, variant_id, alleles, int.from_bytes(take(4), "little"), b"")


def _check_texts(record: _Record, where: str) -> None:
    """Refuse what a tab-separated table cannot hold, before it splits a line."""
    words = "".join((record.contig, *record.alleles))
    every = words + record.variant_id
    if record.contig and all(record.alleles) and every.isprintable() and " " not in every and "," not in words:
        return
    for what, value in (("contig", record.contig), *(("allele", a) for a in record.alleles)):
        if not value or not value.isprintable() or " " in value or "," in value:
            raise FormatError(f"the record's {what} is empty, or holds white space or a comma", where=where)
    raise FormatError("the record's identifier holds white space", where=where)


def _overlaps(record: _Record, regions: Regions) -> bool:
    """Say whether the record's first allele, or any longer one, may touch a region; the caller selects exactly."""
    contig = normalise_contig(record.contig)
    longest = max(len(a) for a in record.alleles)
    return any(
        start < record.position - 1 + longest and record.position - 1 < end
        for name, start, end in regions.intervals.iter_rows()
        if name == contig
    )


def _samples(path: Path, head: _Head, given: Path | None) -> pl.DataFrame:
    """The samples of a .sample file (given, or beside the BGEN), else the identifiers inside the BGEN."""
    if head.ids is not None:
        check_sample_ids(head.ids, where=str(path))
    found = beside(fileset_prefix(path, (".bgen",)), ".sample")
    chosen = given or (found if found.is_file() else None)
    if chosen is None:
        if head.ids is None:
            raise InputNotFoundError(
                f"{path.name} holds no sample identifiers, and there is no {found.name} beside it",
                where=str(found),
                hint="name its .sample file",
            )
        return pl.DataFrame({"sample_id": head.ids}).with_columns(pl.lit(0, dtype=pl.Int8).alias("sex"))
    table = read_sample(chosen)
    if table.height != head.n_samples:
        raise FormatError(
            f"{chosen.name} has {table.height} samples, {path.name} has {head.n_samples}",
            where=str(chosen),
            hint="check that both belong together",
        )
    if given is None and head.ids is not None:
        _check_same(table["sample_id"].to_list(), table, head.ids, chosen, path)
    return table


def _check_same(ids: list[str], table: pl.DataFrame, inside: list[str], sample: Path, path: Path) -> None:
    """A .sample that only lies beside must name the samples that the BGEN names (or its FID_IID)."""
    families = table["FID"].to_list() if "FID" in table.columns else ["0"] * len(ids)
    for ordinal, (own, family, other) in enumerate(zip(ids, families, inside, strict=True), start=1):
        if other not in (own, f"{family}_{own}"):
            raise FormatError(
                f"{sample.name} and {path.name} name sample {ordinal} differently",
                where=str(sample),
                hint="name the .sample file if it is the right one, else move it away",
                identifiers=(Identifier("sample", own, ordinal), Identifier("sample", other, ordinal)),
            )


class BgenFormat:
    """BGEN 1.2 and 1.3, with identifiers inside or a .sample beside."""

    name = "bgen"
    suffixes = (".bgen",)
    fileset: str | None = None

    def open(self, path: Path, options: OpenOptions | None = None) -> BgenSource:
        """Open a .bgen."""
        return BgenSource(path, options)


FORMAT = BgenFormat()
