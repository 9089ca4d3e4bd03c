"""VCF and BCF through htslib (cyvcf2), plain, gzip or BGZF.

Calls come from ``genotype.array()``: ``gt_types`` turns ``0/.`` into homozygous reference and is undefined for calls
that are not diploid. A record without GT is read from DS where it has one ALT and a DS, and is missing otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, Identifier, InputNotFoundError
from genomix.io.bgzf import inflated_chunks, unwrap
from genomix.io.genotype_format import (
    HAPLOID,
    MISSING,
    RECORDS_SCHEMA,
    GenotypeBlock,
    SourceHeader,
    default_block_size,
)
from genomix.io.vcf_text import is_bcf, read_header, scan_records

_SILENT = 0


class VcfSource:
    """An opened VCF or BCF file; see :class:`~genomix.io.genotype_format.GenotypeSource`."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
        self._folder = tempfile.TemporaryDirectory(prefix="genomix-")
        self._shown = str(path)
        self._path = unwrap(path, Path(self._folder.name))
        self._is_bcf = is_bcf(self._path)
        text = read_header(self._path)
        self._first_line = text.n_lines + 1
        samples = pl.DataFrame({"sample_id": text.samples, "sex": [0] * len(text.samples)}).cast({"sex": pl.Int8})
        self.header = SourceHeader(samples, text.contigs, may_have_dosages="DS" in text.formats)
        self._contigs = text.contigs
        self._records: pl.DataFrame | None = None

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.header.samples.height

    def records(self) -> pl.DataFrame:
        """Return the fixed columns of every record; the whole file is read and its completeness checked."""
        if self._records is None:
            self._records = self._bcf_records() if self._is_bcf else scan_records(self._path)
        return self._records

    def blocks(self, block_size: int | None = None) -> Iterator[GenotypeBlock]:
        """Yield calls, ``block_size`` records at a time."""
        size = block_size or default_block_size(self.n_samples)
        n_records = self.records().height
        held: list[Any] = []
        done = 0
        for record in self._variants():
            held.append(_call_of(record, self.n_samples, self._where(done + len(held))))
            if len(held) == size:
                yield _stack(done, held)
                done, held = done + len(held), []
        if held:
            yield _stack(done, held)
            done += len(held)
        if done != n_records:
            raise FormatError(f"htslib read {done} of {n_records} records", where=self._shown)

    def _variants(self) -> Iterator[Any]:
        """Yield htslib's records; of text no more than were scanned, since htslib reads past an empty last line."""
        reader = self._reader()
        last = None if self._is_bcf else self.records().height
        n_read = 0
        try:
            while n_read != last:
                try:
                    record = next(reader)
                except StopIteration:
                    return
                except Exception as error:  # cyvcf2 raises bare Exception
                    raise FormatError(
                        "the record cannot be parsed",
                        where=self._where(n_read),
                        hint="correct it there, or leave it out",
                    ) from error
                n_read += 1
                yield record
        finally:
            reader.close()

    def _reader(self) -> Any:
        import cyvcf2

        getattr(cyvcf2.cyvcf2, "set_htslib_log_level", lambda _: None)(_SILENT)  # what it would print, we raise
        try:
            reader = cyvcf2.VCF(str(self._path))
        except Exception as error:  # cyvcf2 raises bare Exception
            raise FormatError("htslib cannot read the header", where=self._shown) from error
        if not self._is_bcf:
            self._declare_contigs(reader)
        return reader

    def _declare_contigs(self, reader: Any) -> None:
        """Declare contigs that the header leaves out, which spares htslib a look-up per record."""
        for name in self.records()["contig"].unique(maintain_order=True).to_list():
            if name not in self._contigs:
                with suppress(Exception):  # an odd name; htslib declares it itself when it meets it
                    reader.add_to_header(f"##contig=<ID={name}>")

    def _bcf_records(self) -> pl.DataFrame:
        for _ in inflated_chunks(self._path):
            pass
        rows = [
            (v.CHROM, v.POS, v.ID or ".", v.REF, ",".join(v.ALT) or ".", v.FILTER or "PASS") for v in self._variants()
        ]
        return pl.DataFrame(rows, schema=RECORDS_SCHEMA, orient="row")

    def _where(self, record: int) -> str:
        """Name a record by its line in text files and by its number in BCF."""
        return f"{self._shown} record {record + 1}" if self._is_bcf else f"{self._shown}:{self._first_line + record}"

    def __enter__(self) -> VcfSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _call_of(record: Any, n_samples: int, where: str) -> tuple[Any, Any, int, bool, Any]:
    """One record's alleles, phase, calls over ploidy 2, absence of GT, and dosages."""
    fields = record.FORMAT
    if "GT" not in fields:
        dosages = _dosages_of(record) if "DS" in fields and len(record.ALT) == 1 else None
        missing = np.full((n_samples, 2), MISSING, dtype=np.int16)
        return missing, np.zeros(n_samples, dtype=np.bool_), 0, True, dosages
    calls = record.genotype.array().astype(np.int16, copy=False)
    if record.ALT and int(calls[:, :-1].max(initial=MISSING)) > len(record.ALT):
        sample = int(np.flatnonzero((calls[:, :-1] > len(record.ALT)).any(axis=1))[0])
        raise FormatError(
            f"a call names an allele that the record does not have (it has {len(record.ALT)} ALT)",
            where=where,
            identifiers=(Identifier("sample", f"in column {sample + 10}", sample + 1),),
        )
    alleles, over = _first_two(calls[:, :-1])
    return alleles, calls[:, -1] == 1, over, False, None


def _first_two(calls: npt.NDArray[np.int16]) -> tuple[npt.NDArray[np.int16], int]:
    """Bring any ploidy to two columns; calls with more alleles become missing and are counted."""
    if calls.shape[1] == 1:
        return np.column_stack([calls[:, 0], np.full(len(calls), HAPLOID, dtype=np.int16)]), 0
    alleles = calls[:, :2].copy()
    over = (calls[:, 2:] != HAPLOID).any(axis=1)
    alleles[over] = MISSING
    return alleles, int(over.sum())


def _dosages_of(record: Any) -> npt.NDArray[np.float32]:
    values = np.asarray(record.format("DS"), dtype=np.float32)[:, 0]
    return np.where((values >= 0) & (values <= 2), values, np.nan).astype(np.float32)


def _stack(start: int, held: list[tuple[Any, Any, int, bool, Any]]) -> GenotypeBlock:
    alleles, phased, over, without, dosages = zip(*held, strict=True)
    some = next((d for d in dosages if d is not None), None)
    stacked = None
    if some is not None:
        nothing = np.full(len(some), np.nan, dtype=np.float32)
        stacked = np.stack([nothing if d is None else d for d in dosages])
    return GenotypeBlock(
        start,
        np.stack(alleles),
        np.stack(phased),
        np.asarray(over, dtype=np.int64),
        np.asarray(without, dtype=np.bool_),
        stacked,
    )


class VcfFormat:
    """VCF 4.x text and BCF 2."""

    name = "vcf"
    suffixes = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf", ".bcf.gz")

    def open(self, path: Path, options: Mapping[str, Any] | None = None) -> VcfSource:
        """Open a VCF or BCF file; there are no options."""
        return VcfSource(path)


FORMAT = VcfFormat()
