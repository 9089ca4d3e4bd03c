"""What a validator of VCF files may find: the rules, single findings, and the log that counts and keeps them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

from genomix.errors import FormatError, Identifier

Severity = Literal["error", "warning"]


class Rule(NamedTuple):
    """A rule: error where the specification forbids something, warning where it is legal but risky."""

    severity: Severity
    section: str
    what: str
    hint: str


def _error(section: str, what: str, hint: str) -> Rule:
    return Rule("error", section, what, hint)


def _warning(section: str, what: str, hint: str) -> Rule:
    return Rule("warning", section, what, hint)


RULES: dict[str, Rule] = {
    "fileformat": _error("1.4.1", "the first line is ##fileformat=VCFv4.x", "write ##fileformat=VCFv4.3"),
    "version": _warning("1.4.1", "the version is one of 4.1 to 4.5", "the nearest version's rules were applied"),
    "encoding": _error("1.2", "the text is UTF-8 without a byte order mark", "convert it with iconv"),
    "control-character": _error("1.2", "no control characters", "remove them (tr -d)"),
    "not-ascii": _warning("1.2", "characters outside ASCII, which VCF 4.1 and 4.2 do not mention", "declare VCFv4.3"),
    "line-end": _warning("1", "one kind of line end; CRLF is first stated by VCF 4.3", "dos2unix"),
    "last-newline": _error("1.6", "the last line ends with a line separator", "add it, if the file is not cut"),
    "blank-line": _error("1", "no empty lines", "remove it"),
    "blank-end": _warning("1", "empty lines after the last record", "remove them"),
    "meta-syntax": _error("1.4", "a line of the header is ##key=value, neither of them empty", "mend or drop the line"),
    "meta-structured": _error(
        "1.4", "a structured line is ##key=<key=value,...>", "check quotes, commas and the closing >"
    ),
    "meta-structured-other": _warning("1.4", "an unspecified line that starts with < is well-formed", "mend the line"),
    "meta-id": _error("1.4", "a structured line has an ID", "add ID=... as its first field"),
    "meta-id-characters": _error("1.4", "an ID holds allowed characters only", "rename it"),
    "meta-duplicate": _error("1.4", "IDs are unique within their type (4.3 on)", "drop one of the lines"),
    "meta-duplicate-old": _warning("1.4", "IDs are unique within their type (4.1, 4.2)", "drop one of the lines"),
    "meta-fields": _error("1.4.2-1.4.8", "the required fields stand first, in their order", "see the line's format"),
    "meta-description": _warning("1.4.3, 1.4.5", "FILTER and ALT lines have a Description (4.4 on)", "add it"),
    "meta-number": _error("1.4.2", "Number is an integer, A, R (4.2 on), G or . (more in 4.4, 4.5)", "mend Number"),
    "meta-type": _error("1.4.2", "Type is Integer, Float, Flag (INFO only), Character or String", "mend Type"),
    "meta-quotes": _error("1.4.2", "Description, Source and Version are quoted", 'write Description="..."'),
    "meta-optional-quotes": _warning("1.4", "values of optional fields are quoted", "quote the value"),
    "meta-flag-number": _warning("1.4.2", "a Flag has Number=0", "write Number=0"),
    "meta-reserved": _error("1.6.1, 1.6.2", "a reserved key has its Number and Type", "use another key, or its own"),
    "meta-reserved-sv": _warning("3, 4", "a reserved key for structural variants has its Number and Type", "see there"),
    "meta-alt": _error("1.4.5", "a type with subtypes is DEL, INS, DUP, INV, CNV or BND first", "rename it"),
    "meta-url": _error("1.4.6", "a URL has a scheme and a host", "mend the URL"),
    "meta-url-missing": _warning("1.4.6", "##assembly and ##pedigreeDB hold a URL", "write a URL"),
    "meta-contig": _error("1.4.7", "a contig's length is a number", "mend it"),
    "meta-md5": _warning("1.4.7", "a contig's md5 is 32 hexadecimal digits", "mend it"),
    "meta-sample": _error("1.4.8", "SAMPLE and META lines have their fields", "see the specification's examples"),
    "meta-pedigree": _error("1.4.9", "values of PEDIGREE lines are identifiers", "mend the value"),
    "contigs": _warning("1.4.7", "contigs are declared with their lengths", "bcftools reheader --fai"),
    "build": _warning("1.4.7", "contig lengths tell the genome build", "declare it where it is asked for"),
    "header-line": _error("1.5", "the header line holds the eight fixed columns, then FORMAT and samples", "mend it"),
    "header-samples": _error("1.5", "sample names are neither empty nor repeated", "bcftools reheader --samples"),
    "header-sample-space": _warning("1.5", "sample names hold no white space", "bcftools reheader --samples"),
    "columns": _error("1.6", "every record has as many columns as the header, between single tabs", "check tabs"),
    "chrom": _error("1.6.1", "CHROM is a contig name or <ID>", "rename the contig"),
    "chrom-undeclared": _warning("1.4.7", "CHROM is declared where contigs are", "bcftools reheader --fai"),
    "chrom-order": _error("1.6.1", "a contig's records form one block", "bcftools sort"),
    "pos": _error("1.6.1", "POS is a number from 0 to the contig's length + 1", "check the position and the build"),
    "pos-order": _error("1.6.1", "positions do not decrease within a contig", "bcftools sort"),
    "pos-repeated": _warning(
        "1.6.1", "several records at one position", "bcftools norm -m +any, if they belong together"
    ),
    "id": _error("1.6.1", "ID is a list of distinct identifiers, or .", "mend it or write ."),
    "ref": _error("1.6.1", "REF is made of A, C, G, T, N", "bcftools norm --check-ref"),
    "alt": _error("1.6.1", "an ALT is bases, *, <ID>, a breakend, or . alone", "mend it or write ."),
    "alt-ref": _error("1.6.1", "an ALT is not REF, and stands once", "bcftools norm"),
    "alt-undeclared": _warning("1.4.5", "a symbolic ALT is declared", "add an ##ALT line"),
    "lower-case": _warning("1.6.1", "bases are upper case", "bcftools norm"),
    "duplicate": _error("1.6.1", "no variant stands twice, shared bases set aside", "bcftools norm --rm-dup exact"),
    "qual": _error("1.6.1", "QUAL is a number that is not negative, or .", "write . where it is unknown"),
    "filter": _error("1.6.1", "FILTER is PASS, . or a list of distinct codes, never 0", "mend it or write ."),
    "filter-pass": _warning("1.6.1", "PASS stands alone in FILTER", "write PASS, or the codes that failed"),
    "filter-undeclared": _warning("1.4.3", "FILTER codes are declared", "add ##FILTER lines"),
    "info": _error("1.6.1", "INFO is key[=value];... or .", "mend it or write ."),
    "info-key": _error("1.6.1", "INFO keys match [A-Za-z_][0-9A-Za-z_.]*, and 1000G", "rename the key"),
    "info-duplicate": _error("1.6.1", "no INFO key stands twice in a record", "drop one of them"),
    "info-undeclared": _warning("1.6.1", "INFO keys are declared", "add ##INFO lines"),
    "info-number": _error(
        "1.4.2", "an INFO key has the Number of values that its line states", "mend the value or line"
    ),
    "info-type": _error("1.4.2", "INFO values have the Type that their line states", "mend the value or line"),
    "info-flag": _error("1.4.2", "a Flag has no value", "write the key alone"),
    "info-flag-value": _warning(
        "1.4.2", "a Flag is written KEY, not KEY=1 or KEY=0", "write the key alone, or drop it"
    ),
    "info-quoted": _warning("1.6.1", "values are not quoted", "use percent encoding for , ; and ="),
    "end": _warning("1.6.1", "END is not before POS, nor beyond the contig", "recompute END"),
    "svlen": _warning("3", "SVLEN fits END", "recompute SVLEN or END"),
    "format": _error("1.6.2", "FORMAT is a list of keys (4.1, 4.2: alphanumeric)", "VCFv4.3 allows _ and . in keys"),
    "format-gt": _error("1.6.2", "GT is the first key where it is present", "reorder the keys"),
    "format-duplicate": _error("1.6.2", "no FORMAT key stands twice", "drop one of them"),
    "format-undeclared": _warning("1.6.2", "FORMAT keys are declared", "add ##FORMAT lines"),
    "gt": _error("1.6.2", "GT is allele numbers or . between / or |", "write ./. for a missing call"),
    "gt-range": _error("1.6.2", "GT's allele numbers exist in ALT", "check ALT and GT"),
    "gt-no-alt": _warning("1.6.2", "GT names no ALT where ALT is .", "restore ALT"),
    "call-fields": _error("1.6.2", "a call has at most FORMAT's fields", "check FORMAT and the call"),
    "call-empty": _error("1", "no field of a call is empty", "write . for a missing value"),
    "call-number": _error(
        "1.4.4", "a call's field has the Number of values that its line states", "mend it or the line"
    ),
    "call-type": _error("1.4.4", "a call's values have the Type that their line states", "mend them or the line"),
    "sv-type": _error("1.4.5 (4.4 on)", "a symbolic ALT with subtypes is DEL, INS, DUP, INV or CNV first", "rename it"),
    "sv-length": _error("3 (4.4 on)", "symbolic structural variants have SVLEN, one alike beside CN", "add SVLEN"),
    "sv-claim": _error("3 (4.4 on)", "SVCLAIM is D, J or DJ as its ALT allows; DEL and DUP have it", "add SVCLAIM"),
    "sv-number": _error("3 (4.4 on)", "lists have as many values as ALT or RN asks for", "complete the list"),
    "sv-interval": _error("3 (4.4 on)", "confidence intervals hold 0", "order the bounds"),
    "sv-repeat": _error("3 (4.4 on)", "tandem repeats have RUS or RUL, and values that fit", "complete the values"),
    "sv-format": _error("4 (4.4 on)", "FORMAT/CICN stands beside CN", "add CN"),
    "phase-set": _error("1.6.2 (4.4 on)", "PSL is . for unphased alleles, PSO and PSQ where PSL is", "write ."),
    "records-order": _warning(
        "-", "binary filesets: records are sorted, each contig in one block", "plink2 --sort-vars"
    ),
    "ref-unknown": _warning("-", "PLINK: which allele is REF is known", "plink2 --ref-from-fa"),
}
"""Rules by name; sections are those of VCF 4.3 (``-``: not a rule of the VCF specification)."""


@dataclass(frozen=True)
class Finding:
    """One place where a rule is broken.

    Parameters
    ----------
    rule: a key of :data:`RULES`.
    line: 1-based line of the uncompressed text, 0 for the file as a whole.
    field: column or key, e.g. ``INFO/AC``.
    what: what was found.
    sample: the sample it concerns, if any.
    """

    rule: str
    line: int
    field: str
    what: str
    sample: Identifier | None = None

    @property
    def severity(self) -> Severity:
        """Error or warning."""
        return RULES[self.rule].severity

    def render(self, name: str, *, show_identifiers: bool = False) -> str:
        """Return one line: severity, what, whose, file and line, what to try."""
        place = f"{name}:{self.line}" if self.line else name
        if self.field:
            place += f", {self.field}"
        identifiers = (self.sample,) if self.sample is not None else ()
        error = FormatError(self.what, where=place, hint=RULES[self.rule].hint, identifiers=identifiers)
        return f"{self.severity} ({self.rule}): {error.render(show_identifiers=show_identifiers)}"


class FindingLog:
    """Counts findings by rule and keeps the first few of each.

    Parameters
    ----------
    max_findings: how many of each rule are kept; all are counted.
    """

    def __init__(self, max_findings: int = 5) -> None:
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self._max = max_findings

    def add(
        self, rule: str, line: int, field: str, what: str, sample: Identifier | None = None, *, times: int = 1
    ) -> None:
        """Count a finding, and keep it if few of its rule were kept before."""
        if self.counts[rule] < self._max:
            self.findings.append(Finding(rule, line, field, what, sample))
        self.counts[rule] += times

    def total(self, severity: Severity) -> int:
        """Return how many findings of a severity there were, kept or not."""
        return sum(n for rule, n in self.counts.items() if RULES[rule].severity == severity)


def shown(value: bytes | str) -> str:
    """Return a value for a message: quoted, decoded, and cut when long."""
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
    return repr(text if len(text) <= 60 else text[:57] + "...")
