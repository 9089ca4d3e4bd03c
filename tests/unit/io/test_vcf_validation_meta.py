"""Rules for a VCF header, each broken once; the truth is the specification's text."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from genomix.io.vcf_findings import RULES
from genomix.io.vcf_meta import is_url, parse_structured
from genomix.io.vcf_validation import ValidationReport, validate_stream

COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


def validated(*lines: str, version: str = "4.3", columns: str = COLUMNS) -> ValidationReport:
    text = "\n".join([f"##fileformat=VCFv{version}", *lines, columns, ""])
    return validate_stream(io.BytesIO(text.encode()), "x.vcf")


def errors(report: ValidationReport) -> list[str]:
    return [f.rule for f in report.findings if f.severity == "error"]


GOOD = [
    "##source=anything at all, even <this>",
    '##INFO=<ID=AF,Number=A,Type=Float,Description="x, with = and , and \\"quotes\\" and \\\\">',
    '##INFO=<ID=a.b_1,Number=.,Type=String,Description="x",Source="s",Version="1">',
    '##INFO=<ID=1000G,Number=0,Type=Flag,Description="x">',
    '##FORMAT=<ID=AD,Number=R,Type=Integer,Description="x">',
    '##FILTER=<ID=q10,Description="x">',
    '##ALT=<ID=DEL:ME:ALU,Description="x">',
    '##ALT=<ID=R,Description="IUPAC code R = A/G">',
    "##contig=<ID=HLA-A*01:01:01:01,length=3503>",
    '##contig=<ID=20,length=62435964,md5=f126cdf8a6e0c7f379d618ff66beb2da,species="Homo sapiens">',
    "##META=<ID=Tissue,Type=String,Number=.,Values=[Blood, Breast, ?]>",
    "##PEDIGREE=<ID=ChildID,Father=FatherID,Mother=MotherID>",
    "##assembly=ftp://user@host:8080/path",
    '##GATKCommandLine=<ID=Haplotype,CommandLine="a --b c=d, e">',
]


@pytest.mark.parametrize("line", GOOD)
def test_a_right_line_is_no_error(line: str) -> None:
    assert errors(validated(line)) == []


BAD = [
    ("##source=", "meta-syntax"),
    ("##no key", "meta-syntax"),
    ("#source=x", "header-line"),
    ("source=x", "meta-syntax"),
    ('##INFO=<ID=X,Number=1,Type=Float,Description="x"', "meta-structured"),
    ('##INFO=<ID=X,Number=1,Type=Float,Description="x" y>', "meta-structured"),
    ('##INFO=<ID=X,Number=1,Type=Float,Description="x,>', "meta-structured"),
    ('##INFO=<ID=X,,Number=1,Type=Float,Description="x">', "meta-structured"),
    ('##INFO=<ID=X,Number=1,Number=1,Type=Float,Description="x">', "meta-structured"),
    ('##INFO=<ID=X,Number=1,Type=Float,Description="a "b" c">', "meta-structured"),
    ('##INFO=<Number=1,Type=Float,Description="x">', "meta-id"),
    ('##INFO=<ID=1X,Number=1,Type=Float,Description="x">', "meta-id-characters"),
    ('##INFO=<ID=X,Type=Float,Number=1,Description="x">', "meta-fields"),
    ("##INFO=<ID=X,Number=1,Type=Float>", "meta-fields"),
    ('##INFO=<ID=X,Number=-1,Type=Float,Description="x">', "meta-number"),
    ('##INFO=<ID=X,Number=N,Type=Float,Description="x">', "meta-number"),
    ('##INFO=<ID=X,Number=1,Type=float,Description="x">', "meta-type"),
    ('##FORMAT=<ID=X,Number=0,Type=Flag,Description="x">', "meta-type"),
    ("##INFO=<ID=X,Number=1,Type=Float,Description=x>", "meta-quotes"),
    ('##INFO=<ID=AC,Number=1,Type=Integer,Description="x">', "meta-reserved"),
    ('##FORMAT=<ID=GT,Number=1,Type=Integer,Description="x">', "meta-reserved"),
    ('##FILTER=<ID=0,Description="x">', "meta-id-characters"),
    ('##FILTER=<ID=a;b,Description="x">', "meta-id-characters"),
    ('##ALT=<ID=XYZ:A,Description="x">', "meta-alt"),
    ('##ALT=<ID=DEL,Number=Q,Description="x">', "meta-number"),
    ("##contig=<length=10>", "meta-id"),
    ("##contig=<ID=a{b>", "meta-id-characters"),
    ("##contig=<ID=1,length=ten>", "meta-contig"),
    ("##pedigreeDB=<>", "meta-url"),
    ("##assembly=http://8080:80/x", "meta-url"),
    ("##META=<ID=A,Number=.,Type=String,Values=x>", "meta-sample"),
    ("##SAMPLE=<Assay=Exome>", "meta-id"),
    ("##PEDIGREE=<ID=a,Father=b c>", "meta-pedigree"),
    ("##Mine=<x>", "meta-structured"),
    ("##Mine=<Name=x>", "meta-id"),
    ("##fileformat=VCFv4.3", "fileformat"),
]


@pytest.mark.parametrize(("line", "rule"), BAD)
def test_a_wrong_line_breaks_its_rule(line: str, rule: str) -> None:
    report = validated(line)
    assert rule in errors(report)
    assert next(f for f in report.findings if f.rule == rule).line == 2


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [
        ('##INFO=<ID=X,Number=R,Type=Float,Description="x">', "4.1", "4.2"),
        ("##SAMPLE=<ID=s,Assay=Exome>", "4.2", "4.3"),
        ('##INFO=<ID=X,Type=Float,Number=1,Description="x">', "4.3", "4.4"),
        ('##FORMAT=<ID=X,Number=P,Type=Float,Description="x">', "4.3", "4.4"),
        ('##FORMAT=<ID=X,Number=LG,Type=Float,Description="x">', "4.4", "4.5"),
    ],
)
def test_what_a_later_version_allows(line: str, old: str, new: str) -> None:
    assert errors(validated(line, version=old))
    assert errors(validated(line, version=new)) == []


def test_what_a_later_version_forbids() -> None:
    line = "##contig=<ID=1,length=5>"
    old, new = validated(line, line, version="4.2"), validated(line, line)
    assert errors(old) == []
    assert "meta-duplicate-old" in old.counts
    assert errors(new) == ["meta-duplicate"]


@pytest.mark.parametrize("first", ["", "##fileformat=VCFv3.3", "##fileformat=vcfv4.2", "##fileformat=VCFv4.2 ", "x"])
def test_the_first_line_states_the_version(first: str) -> None:
    report = validate_stream(io.BytesIO(f"{first}\n{COLUMNS}\n".encode()), "x.vcf")
    assert "fileformat" in errors(report)


def test_versions_that_are_not_known_get_a_warning() -> None:
    assert "version" in validated(version="4.0").counts
    assert "version" in validated(version="4.9").counts
    assert "version" not in validated(version="4.5").counts


@pytest.mark.parametrize(
    "columns",
    [COLUMNS.replace("\t", " "), COLUMNS + "\t", COLUMNS + "\tFORMAT", COLUMNS.replace("ALT", "alt"), COLUMNS + "\ts1"],
)
def test_the_line_of_column_names(columns: str) -> None:
    assert "header-line" in errors(validated(columns=columns))


def test_sample_names_are_told_by_their_ordinal_only() -> None:
    report = validated(columns=COLUMNS + "\tFORMAT\tana\tben\tana\t")
    found = [f for f in report.findings if f.rule == "header-samples"]
    assert [f.sample.ordinal for f in found if f.sample] == [3, 4]
    assert "ana" not in found[0].render("x.vcf")
    assert "sample ana" in found[0].render("x.vcf", show_identifiers=True)


def test_a_missing_header_ends_the_run() -> None:
    report = validate_stream(io.BytesIO(b"##fileformat=VCFv4.3\n" + b"1\t2\t.\tA\tC\t.\t.\t.\n" * 500), "x.vcf")
    assert set(errors(report)) == {"meta-syntax", "header-line"}
    assert report.counts["meta-syntax"] == 100


@pytest.mark.parametrize(
    "text", ["http://a.b/c", "ftp://1.2.3.4:80/x", "https://[::1]/x", "s3://bucket/key", "file:///x"]
)
def test_urls(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize("text", ["x", "http:/a", "http://", "ftp://80:80/x", "http://a b/c", "://x"])
def test_not_urls(text: str) -> None:
    assert not is_url(text)


def test_fields_keep_their_order_and_their_commas() -> None:
    pairs, problem = parse_structured('<ID=x,Values=[a, b],Description="c,d">')
    assert problem is None
    assert list(pairs.items()) == [("ID", "x"), ("Values", "[a, b]"), ("Description", '"c,d"')]


def test_the_reference_page_lists_every_rule() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/vcf-validation.md").read_text()
    for name, rule in RULES.items():
        assert f"| `{name}` | {rule.what.replace('|', '&#124;')} | {rule.severity} | {rule.section} |" in page, name
