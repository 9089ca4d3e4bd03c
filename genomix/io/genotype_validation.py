"""Validation of any genotype input: VCF text against the specification, other formats by reading all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.bgzf import inflated_chunks
from genomix.io.contigs import check_positions, detect_build, normalise_contigs, resolve_build
from genomix.io.genotype_format import (
    COMPACT_MISSING,
    MISSING,
    GenotypeBlock,
    GenotypeSource,
    OpenOptions,
    SourceHeader,
    find_format,
    open_genotypes,
)
from genomix.io.vcf_findings import FindingLog
from genomix.io.vcf_validation import Progress, ValidationReport, validate_vcf

_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".vcf.bz2")
_BCF_MAGIC = b"BCF"


def validate_genotypes(
    path: Path,
    *,
    max_findings: int = 5,
    threads: int = 1,
    sample_file: Path | None = None,
    progress: Progress | None = None,
) -> ValidationReport:
    """Validate VCF text (also from standard input, ``-``), BCF, BGEN, PLINK 1 or PLINK 2.

    Parameters
    ----------
    path: a file, or a fileset's prefix.
    max_findings: how many findings of each rule the report keeps; all are counted.
    sample_file: the .sample of a BGEN. threads: threads that may read the formats other than VCF text.
    progress: called with the share of the input read (0 to 1) and the number of records.

    Raises
    ------
    InputNotFoundError: when the input cannot be read. ConfigError: a sample_file for another format than BGEN.
    """
    kind = "VCF" if _is_vcf_text(path) else find_format(path).name
    if sample_file is not None and kind != "bgen":
        raise ConfigError(f"--sample-file is for BGEN files, this is {kind}", hint="leave out --sample-file")
    if kind == "VCF":
        return validate_vcf(path, max_findings=max_findings, progress=progress)
    log = FindingLog(max_findings)
    report = ValidationReport(str(path), {"format": kind})
    try:
        with open_genotypes(path, OpenOptions(threads=threads, sample_file=sample_file)) as source:
            report.facts |= _read(source, log, progress)
    except FormatError as error:
        report.failure = error
    report.findings = sorted(log.findings, key=lambda f: f.line)
    report.counts = dict(sorted(log.counts.items(), key=lambda item: (-item[1], item[0])))
    report.n_errors, report.n_warnings = log.total("error"), log.total("warning")
    return report


def _is_vcf_text(path: Path) -> bool:
    """VCF by its name or by its first line; a damaged file with a name of VCF is VCF."""
    if str(path) == "-":
        return True
    if not path.is_file():
        return path.name.endswith(_VCF_SUFFIXES)
    try:
        head = next(iter(inflated_chunks(path)), b"")
    except FormatError:
        head = b""
    if head.startswith(_BCF_MAGIC):
        return False
    return head.startswith((b"##fileformat=VCF", b"\xef\xbb\xbf##fileformat=VCF")) or path.name.endswith(_VCF_SUFFIXES)


class _Tally:
    """Counts over the blocks of one source."""

    def __init__(self) -> None:
        self.records = self.multi_allelic = self.repeated = self.unsorted = self.without_calls = 0
        self.missing = self.half = 0
        self.past: set[str] = set()
        self.last: tuple[str, int] | None = None

    def add(self, block: GenotypeBlock) -> None:
        """Count one block."""
        self.records += block.n_records
        self.multi_allelic += int(block.records["alt"].str.contains(",", literal=True).sum())
        self.without_calls += int(block.without_calls.sum())
        called = block.alleles[~block.without_calls]
        first, second = called[..., 0] == MISSING, called[..., 1] == MISSING
        self.missing += int((block.compact == COMPACT_MISSING).sum())
        self.missing += int((first & (called[..., 1] < 0)).sum())
        self.half += int(((first != second) & ~(first & (called[..., 1] < 0))).sum())
        self._places(block.records)

    def _places(self, records: pl.DataFrame) -> None:
        if records.is_empty():
            return
        run = records["contig"].rle_id().to_numpy()
        contigs, positions = records["contig"], records["position"].to_numpy()
        same = run[1:] == run[:-1]
        self.repeated += int((same & (positions[1:] == positions[:-1])).sum())
        self.unsorted += int((same & (positions[1:] < positions[:-1])).sum())
        starts = np.flatnonzero(np.concatenate([[True], ~same]))
        for i, start in enumerate(starts.tolist()):
            name, position = contigs[start], int(positions[start])
            if i == 0 and self.last is not None and self.last[0] == name:
                self.repeated += position == self.last[1]
                self.unsorted += position < self.last[1]
            else:
                self.unsorted += name in self.past
            self.past.add(name)
        self.last = (contigs[-1], int(positions[-1]))


def _read(source: GenotypeSource, log: FindingLog, progress: Progress | None) -> dict[str, object]:
    """Read every record, and return counts."""
    tally = _Tally()
    build = _build(source.header, log)
    for block in source.blocks():
        tally.add(block)
        places = block.records.select(normalise_contigs(block.records["contig"]), "position")
        try:
            check_positions(places, build)
        except FormatError as error:
            log.add("pos", 0, "POS", error.what)
        if progress is not None:
            progress(source.share_read(), tally.records)
    if tally.unsorted:
        what = f"{tally.unsorted} record(s) stand before their predecessor, or reopen a contig"
        log.add("records-order", 0, "", what, times=tally.unsorted)
    if tally.repeated:
        what = f"{tally.repeated} further record(s) at a position"
        log.add("pos-repeated", 0, "POS", what, times=tally.repeated)
    if not source.header.ref_known:
        log.add("ref-unknown", 0, "REF", "the fileset does not say which allele is REF")
    return {
        "samples": source.n_samples,
        "records": tally.records,
        "multi_allelic": tally.multi_allelic,
        "missing_calls": tally.missing,
        "half_calls": tally.half,
        "records_without_calls": tally.without_calls,
        "repeated_positions": tally.repeated,
        "sorted": tally.unsorted == 0,
        "contigs": len(tally.past),
        "build": build,
    }


def _build(header: SourceHeader, log: FindingLog) -> str:
    declared = resolve_build(header.build) if header.build else None
    try:
        found = declared or detect_build(header.contigs)
    except FormatError as error:
        log.add("build", 0, "", error.what)
        return "unknown"
    if found is None:
        log.add("build", 0, "", "nothing tells the genome build")
    return found or "unknown"
