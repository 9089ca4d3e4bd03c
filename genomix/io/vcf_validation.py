"""Validation of VCF 4.1 to 4.5 text against the specification (https://samtools.github.io/hts-specs/).

The rules stand in :mod:`genomix.io.vcf_findings`; the text is read once, line by line, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from genomix.errors import FormatError, GenomixError
from genomix.io.vcf_findings import Finding, FindingLog
from genomix.io.vcf_lines import LineStream, open_input
from genomix.io.vcf_meta import HeaderRules, VcfMeta
from genomix.io.vcf_rules_record import RecordRules
from genomix.io.vcf_rules_samples import SampleRules

Progress = Callable[[float, int], None]

_REPORT_EVERY = 4096
_HOPELESS_LINES = 100


@dataclass
class ValidationReport:
    """What was found in one input.

    Parameters
    ----------
    name: the input, as it stands in messages.
    facts: counts and properties: version, records, samples, contigs and so on.
    findings: the first findings of each rule, in the order of the file.
    counts: rule to number of findings, kept or not, most frequent first.
    n_errors, n_warnings: all findings by severity.
    failure: why reading ended early (a cut or damaged input), or None.
    """

    name: str
    facts: dict[str, object] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    n_errors: int = 0
    n_warnings: int = 0
    failure: GenomixError | None = None

    @property
    def is_valid(self) -> bool:
        """Whether the input was read to its end and no rule of severity error was broken."""
        return self.failure is None and self.n_errors == 0


def validate_vcf(path: Path, *, max_findings: int = 5, progress: Progress | None = None) -> ValidationReport:
    """Check a VCF file (plain, gzip, BGZF, bzip2), or standard input for ``-``, against the specification.

    Parameters
    ----------
    max_findings: how many findings of each rule the report keeps; all are counted.
    progress: called with the share of the input read (0 to 1) and the number of records.

    Raises
    ------
    InputNotFoundError: when the file cannot be read.
    """
    name = "standard input" if str(path) == "-" else str(path)
    size = 0 if str(path) == "-" else path.stat().st_size if path.is_file() else 0
    stream = open_input(path)
    try:
        return validate_stream(stream, name, max_findings=max_findings, progress=progress, size=size)
    finally:
        if str(path) != "-":
            stream.close()


def validate_stream(
    stream: BinaryIO, name: str, *, max_findings: int = 5, progress: Progress | None = None, size: int = 0
) -> ValidationReport:
    """Check VCF text from an open binary stream; ``size`` (bytes, 0 when unknown) serves the progress only."""
    log = FindingLog(max_findings)
    lines = LineStream(stream, name, log)
    state = _Validation(lines, log, progress, size)
    report = ValidationReport(name)
    try:
        state.run()
    except FormatError as error:
        report.failure = error
    report.facts = state.facts()
    report.findings = sorted(log.findings, key=lambda f: f.line)
    report.counts = dict(sorted(log.counts.items(), key=lambda item: (-item[1], item[0])))
    report.n_errors, report.n_warnings = log.total("error"), log.total("warning")
    return report


class _Validation:
    """One pass over the lines."""

    def __init__(self, lines: LineStream, log: FindingLog, progress: Progress | None, size: int) -> None:
        self._lines, self._log, self._progress, self._size = lines, log, progress, size
        self._meta: VcfMeta | None = None
        self._records: RecordRules | None = None
        self.n_records = 0

    def run(self) -> None:
        """Read everything."""
        lines = iter(self._lines)
        meta = self._header(lines)
        if meta is None:
            return
        self._meta = meta
        self._body(lines, meta)

    def _header(self, lines: Iterator[tuple[int, bytes]]) -> VcfMeta | None:
        rules = HeaderRules(self._log)
        odd = number = 0
        for number, raw in lines:
            line = raw.decode("utf-8", errors="replace")
            if not rules.has_begun:
                rules.first_line(line)
                self._lines.version = rules.meta.version
                if not line.startswith("#"):
                    return None
            elif line.startswith("#CHROM") or (line.startswith("#") and not line.startswith("##")):
                rules.columns(number, line)
                return rules.meta
            else:
                rules.line(number, line)
                odd += not line.startswith("##")
                if odd >= _HOPELESS_LINES:
                    break
        if number == 0:
            self._log.add("fileformat", 0, "", "there is no text at all")
        self._log.add("header-line", number, "", "there is no line of column names (#CHROM ...)")
        return None

    def _body(self, lines: Iterator[tuple[int, bytes]], meta: VcfMeta) -> None:
        records, samples = RecordRules(meta, self._log), SampleRules(meta, self._log)
        self._records = records
        n_samples = len(meta.samples)
        tabs = 8 + n_samples if n_samples else 7
        n = 0
        for number, line in lines:
            if line.count(b"\t") != tabs:
                self._shape(number, line, tabs)
                continue
            columns = line.split(b"\t", 9)
            if b"" in columns[: 8 + bool(n_samples)]:
                empty = columns.index(b"")
                self._log.add("columns", number, "", f"column {empty + 1} is empty: a missing value is written .")
                continue
            n += 1
            n_alts = records.check(number, columns)
            if n_samples:
                samples.check(number, columns[8], columns[9], n_alts)
            if n % _REPORT_EVERY == 0:
                self.n_records = n
                self._report()
        self.n_records = n

    def _shape(self, number: int, line: bytes, tabs: int) -> None:
        if line.startswith(b"#"):
            self._log.add("columns", number, "", "a header line among the records")
            return
        spaces = " (it holds spaces)" if b"\t" not in line and b" " in line else ""
        found = line.count(b"\t") + 1
        self._log.add("columns", number, "", f"{found} columns, the header has {tabs + 1}{spaces}")

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._lines.bytes_in / self._size if self._size else 0.0, self.n_records)

    def facts(self) -> dict[str, object]:
        """Return counts and properties of what was read."""
        facts: dict[str, object] = {"format": "VCF", "compression": self._lines.compression}
        facts["text_bytes"] = self._lines.bytes_out
        if self._meta is not None:
            facts |= {
                "version": f"4.{self._meta.version}",
                "samples": len(self._meta.samples),
                "contigs_declared": len(self._meta.contigs),
                "build": self._meta.build or "unknown",
            }
        if self._records is not None:
            facts |= {
                "records": self.n_records,
                "multi_allelic": self._records.multi_allelic,
                "repeated_positions": self._records.repeated_positions,
                "sorted": self._records.unsorted == 0,
                "contigs": self._records.n_contigs,
            }
        return facts
