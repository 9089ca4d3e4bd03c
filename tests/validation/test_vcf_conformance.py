"""The conformance corpora of hts-specs and EBI: what must fail is refused, what must pass passes.

The names below say where we depart from a corpus, and the sentence of the specification that makes us; nothing in the
validator knows a file's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from genomix.io.vcf_validation import ValidationReport, validate_vcf

pytestmark = pytest.mark.real_data

HTS, EBI = "vcf-conformance-hts-specs/vcf", "vcf-conformance-ebi"

ACCEPTED = {
    # A colon in CHROM. VCF 4.3, 1.4.7: contig names "match the following regular expression:
    # [0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*";
    # 4.1 and 4.2, 1.4.1: "no whitespace permitted" and nothing else. GRCh38's HLA contigs have colons and asterisks.
    f"{HTS}/4.1/failed/failed_body_chrom_001.vcf",
    f"{HTS}/4.2/failed/failed_body_chrom_001.vcf",
    f"{HTS}/4.3/failed/failed_body_chrom_001.vcf",
    # An asterisk that is not the first character of a contig name: the same pattern.
    f"{HTS}/4.3/failed/failed_body_chrom_004.vcf",
    f"{HTS}/4.3/failed/failed_meta_contig_003.vcf",
    f"{EBI}/v4.3/failed/failed_body_chrom_003.vcf",
    f"{EBI}/v4.3/failed/failed_meta_contig_003.vcf",
    # Neither genotypes nor frequencies: what the European Variation Archive asks of submissions; VCF 4.3, 1.6.2: "There
    # are no required keys", 1.6.1: reserved INFO keys are "albeit optional".
    f"{EBI}/v4.3/evidence/failed/failed_no_genotypes_or_frequencies.vcf",
}

REFUSED = {
    # Position 300 after 400, and no line separator at the end. 1.6.1: "Positions are sorted numerically, in increasing
    # order"; 1.6: "The last data line must end with a line separator."
    f"{HTS}/4.5/passed/zero_length_LAA.vcf",
    # ##AnalysisTitleBrackets=<"...">. 1.4: an unstructured value "must not start with a '<' character".
    f"{EBI}/v4.3/passed/complexfile_passed_000.vcf",
    # The FORMAT key G%3AS. 1.6.2: keys match "^[A-Za-z_][0-9A-Za-z_.]*$".
    f"{EBI}/v4.3/passed/passed_body_format.vcf",
    # Two ##contig lines with ID=1. 1.4: "All structured lines require an ID which must be unique within their type".
    f"{EBI}/v4.3/passed/passed_meta_contig.vcf",
}


def files(data: Path, *folders: str) -> Iterator[tuple[str, ValidationReport]]:
    for corpus in (HTS, EBI):
        for path in sorted((data / corpus).rglob("*")):
            if path.is_file() and path.parent.name in folders:
                yield str(path.relative_to(data)), validate_vcf(path)


def test_files_that_must_fail_are_refused(real_data: Path) -> None:
    found = list(files(real_data, "failed", "non_readable"))
    assert len(found) == 1213
    accepted = {name for name, report in found if report.is_valid}
    assert accepted <= ACCEPTED, sorted(accepted - ACCEPTED)


def test_files_that_must_pass_have_no_errors(real_data: Path) -> None:
    found = list(files(real_data, "passed"))
    assert len(found) == 158
    refused = {name: report.findings for name, report in found if not report.is_valid}
    assert set(refused) <= REFUSED, {name: refused[name] for name in sorted(set(refused) - REFUSED)}


# The files state their defect in a line of their own, and the rule that catches them has to be about that defect.
CAUSES: dict[str, str | set[str]] = {
    "ALT has a non-valid base": "alt",
    "Breakend without bases at either side": "alt",
    "contig ID contains a comma": {"chrom", "meta-structured"},
    "non-contiguous chromosome 1": "chrom-order",
    "non-sorted vcf": "pos-order",
    "duplicated variant due to different context": "duplicate",
    "duplicated variant due to multiallelic": "duplicate",
    "triplicated variant": "duplicate",
    "FILTER contains reserved value 0": "filter",
    "FORMAT first field is not GT": "format-gt",
    "FORMAT contains duplicate fields": "format-duplicate",
    "FORMAT predefined tag GT has missing alleles": "gt",
    "ID contains duplicate values in a single line": "id",
    "INFO AC is a negative number": "info-type",
    "INFO integer overflow": "info-type",
    "INFO contains duplicate keys": "info-duplicate",
    "INFO DB value is not a flag": "info-flag",
    "QUAL is a negative number": "qual",
    "REF has a non-valid base": "ref",
    "Sample allele is out of range": "gt-range",
    "Sample contains more fields than the FORMAT column": "call-fields",
    "Sample names are not unique": "header-samples",
    "no newline at end of file": "last-newline",
    "Description contains non-escaped quotes": "meta-structured",
    "The ALT prefix is none of the supported ones (INS, DEL, etc)": "meta-alt",
    "INFO AF Number is not A": "meta-reserved",
    "FORMAT GQ Type is not Integer": "meta-reserved",
}


def test_a_file_is_refused_for_its_own_defect(real_data: Path) -> None:
    met: set[str] = set()
    for name, report in files(real_data, "failed"):
        if not name.endswith(".vcf"):
            continue
        lines = (real_data / name).read_bytes().splitlines()
        cause = next((line for line in lines if line.startswith(b"##CauseOfFailure=")), b"").decode()
        expected = CAUSES.get(cause.partition("=")[2])
        if expected is not None:
            wanted = {expected} if isinstance(expected, str) else expected
            assert wanted & set(report.counts), (name, cause, report.counts)
            met.add(cause.partition("=")[2])
    assert met == set(CAUSES)
