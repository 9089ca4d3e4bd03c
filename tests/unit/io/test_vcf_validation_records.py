"""Rules for VCF records and calls, each broken once; the truth is the specification's text."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.io.vcf_reserved import FieldSpec
from genomix.io.vcf_rules_record import info_pattern, trimmed
from genomix.io.vcf_rules_samples import Plan
from genomix.io.vcf_validation import ValidationReport, validate_stream
from genomix.io.vcf_values import expected_count, type_problem

META = [
    '##INFO=<ID=N1,Number=1,Type=Integer,Description="x">',
    '##INFO=<ID=NR,Number=R,Type=Float,Description="x">',
    '##INFO=<ID=S,Number=.,Type=String,Description="x">',
    '##INFO=<ID=C,Number=1,Type=Character,Description="x">',
    '##INFO=<ID=FL,Number=0,Type=Flag,Description="x">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">',
    '##FORMAT=<ID=AD,Number=R,Type=Integer,Description="x">',
    '##FORMAT=<ID=X,Number=1,Type=Float,Description="x">',
    '##FORMAT=<ID=T,Number=1,Type=String,Description="x">',
    '##FILTER=<ID=q10,Description="x">',
    "##contig=<ID=1,length=249250621>",
    "##contig=<ID=2,length=243199373>",
]
RECORD = ["1", "100", "rs1", "A", "C", "50", "PASS", "N1=1", "GT:AD", "0/1:3,4", "1|1:."]


def validated(*records: list[str], version: str = "4.3", end: str = "\n") -> ValidationReport:
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tana\tben"
    lines = [f"##fileformat=VCFv{version}", *META, columns, *("\t".join(r) for r in records), ""]
    return validate_stream(io.BytesIO(end.join(lines).encode()), "x.vcf")


def changed(**changes: str) -> list[str]:
    names = ["CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "s1", "s2"]
    return [changes.get(name, value) for name, value in zip(names, RECORD, strict=True)]


def rules(report: ValidationReport, severity: str = "error") -> set[str]:
    return {f.rule for f in report.findings if f.severity == severity}


def test_a_right_record_breaks_nothing() -> None:
    report = validated(RECORD)
    assert report.counts == {}
    assert report.is_valid
    assert report.facts["records"] == 1
    assert report.facts["build"] == "GRCh37"


GOOD = [
    {"POS": "0"}, {"POS": "249250622"}, {"ID": "a;b"}, {"ID": "."}, {"REF": "acgtn"}, {"ALT": "*"}, {"ALT": "C,*"},
    {"ALT": "<DEL>"}, {"ALT": "<A:B!>"}, {"ALT": "A[2:321682["}, {"ALT": "]<ctg>:7]A"}, {"ALT": ".A"}, {"ALT": "A."},
    {"FORMAT": "GT:AD", "ALT": "C,G", "s1": "1/2:1,2,3"}, {"QUAL": "1e-3"}, {"QUAL": "Inf"}, {"QUAL": "."},
    {"FILTER": "."}, {"FILTER": "q10"}, {"INFO": "."}, {"INFO": "N1=.;FL"}, {"INFO": "NR=1,2e5"},
    {"INFO": "S=a,b"}, {"INFO": "C=%3A"},
    {"INFO": "UNKNOWN=x,y"}, {"INFO": "1000G"}, {"INFO": "S=a b"}, {"FORMAT": "AD", "s1": "1,2", "s2": "."},
    {"FORMAT": "GT", "s1": "0", "s2": "0/1/1"}, {"FORMAT": "GT", "s1": ".", "s2": "./."}, {"s1": "0/1"},
    {"FORMAT": "GT:AD", "s1": "./.:.,."},
    {"FORMAT": "GT:GL", "s1": "0:1,2", "s2": "0/0:1,2,3"},
    {"FORMAT": "GT:X", "s1": "0|1:-1e-5"},
    {"FORMAT": "GT:X", "s1": "0|1:nan", "s2": "0|1:+1"}, {"FORMAT": "GT:T", "s1": "0|1:a b", "s2": "0|1:a;b"},
]  # fmt: skip


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_what_is_allowed_is_no_error(changes: dict[str, str]) -> None:
    assert rules(validated(changed(**({"FORMAT": "GT", "s1": "0", "s2": "0"} | changes)))) == set()


BAD = [
    ({"CHROM": "<1"}, "chrom"), ({"CHROM": "a,b"}, "chrom"), ({"CHROM": "*1"}, "chrom"), ({"CHROM": "a b"}, "chrom"),
    ({"POS": "x"}, "pos"), ({"POS": "-1"}, "pos"), ({"POS": "."}, "pos"), ({"POS": "1.0"}, "pos"),
    ({"POS": "249250623"}, "pos"), ({"ID": "a b"}, "id"), ({"ID": "a;"}, "id"), ({"ID": "a;a"}, "id"),
    ({"REF": "."}, "ref"), ({"REF": "R"}, "ref"), ({"REF": "A,C"}, "ref"), ({"REF": "<DEL>"}, "ref"),
    ({"ALT": "R"}, "alt"), ({"ALT": "C,"}, "alt"), ({"ALT": "C,."}, "alt"), ({"ALT": "<A B>"}, "alt"),
    ({"ALT": "<DEL"}, "alt"), ({"ALT": "[1:3["}, "alt"), ({"ALT": "A[1:x["}, "alt"), ({"ALT": "A[1:3]"}, "alt"),
    ({"ALT": "A"}, "alt-ref"), ({"ALT": "a"}, "alt-ref"), ({"ALT": "C,c"}, "alt-ref"), ({"QUAL": "-1"}, "qual"),
    ({"QUAL": "high"}, "qual"), ({"QUAL": ""}, "columns"), ({"FILTER": "0"}, "filter"), ({"FILTER": "a;a"}, "filter"),
    ({"FILTER": "a;"}, "filter"), ({"FILTER": "a b"}, "filter"), ({"FILTER": "q10;."}, "filter"),
    ({"INFO": "N1=1;N1=1"}, "info-duplicate"), ({"INFO": "N1=1;"}, "info"), ({"INFO": "=1"}, "info"),
    ({"INFO": "1X=1"}, "info-key"), ({"INFO": "A B=1"}, "info-key"), ({"INFO": "N1="}, "info"),
    ({"INFO": "S=a=b"}, "info"), ({"INFO": "S=a,,b"}, "info"), ({"INFO": "N1=1,2"}, "info-number"),
    ({"INFO": "NR=1"}, "info-number"), ({"INFO": "AC=1,2"}, "info-number"), ({"INFO": "N1=1.5"}, "info-type"),
    ({"INFO": "N1=2147483648"}, "info-type"), ({"INFO": "N1=-2147483641"}, "info-type"), ({"INFO": "N1"}, "info-type"),
    ({"INFO": "NR=1,x"}, "info-type"), ({"INFO": "C=ab"}, "info-type"), ({"INFO": "AF=-0.1"}, "info-type"),
    ({"INFO": "CIGAR=3Q"}, "info-type"), ({"INFO": "FL=yes"}, "info-flag"), ({"FORMAT": "AD:GT"}, "format-gt"),
    ({"FORMAT": "GT:"}, "format"), ({"FORMAT": "GT:a-b"}, "format"), ({"FORMAT": "GT:AD:AD"}, "format-duplicate"),
    ({"s1": "0/2:1,2"}, "gt-range"), ({"s1": "0/10:1,2"}, "gt-range"), ({"s1": "0//1"}, "gt"), ({"s1": "/1"}, "gt"),
    ({"s1": "a/b"}, "gt"), ({"s1": ":1,2"}, "gt"), ({"s1": ""}, "gt"), ({"s1": "0/1:1,2:3"}, "call-fields"),
    ({"s1": "0/1:"}, "call-empty"), ({"s1": "0/1:1,"}, "call-empty"), ({"s1": "0/1:1"}, "call-number"),
    ({"s1": "0/1:1,x"}, "call-type"), ({"FORMAT": "GT:PL", "s1": "0:1,2,3"}, "call-number"),
    ({"FORMAT": "PL", "s1": "1,2", "s2": "."}, "call-number"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "rule"), BAD, ids=str)
def test_what_is_forbidden_is_an_error_with_its_line(changes: dict[str, str], rule: str) -> None:
    report = validated(RECORD, changed(**({"POS": "200"} | changes)))
    assert rule in rules(report)
    assert next(f for f in report.findings if f.rule == rule).line == len(META) + 4
    assert not report.is_valid


def test_a_call_s_finding_names_field_and_sample() -> None:
    finding = next(f for f in validated(changed(s2="1/7:1,2")).findings if f.rule == "gt-range")
    assert finding.field == "FORMAT/GT"
    assert finding.sample is not None
    assert (finding.sample.ordinal, finding.sample.value) == (2, "ben")
    assert "ben" not in finding.render("x.vcf")
    assert "sample no. 2" in finding.render("x.vcf")


WARNED = [
    ({"REF": "a"}, "lower-case"), ({"ALT": "<ODD>"}, "alt-undeclared"), ({"FILTER": "new"}, "filter-undeclared"),
    ({"INFO": "NEW=1"}, "info-undeclared"), ({"FORMAT": "GT:ZZ"}, "format-undeclared"),
    ({"INFO": "FL=1"}, "info-flag-value"), ({"INFO": "END=50"}, "end"), ({"CHROM": "9"}, "chrom-undeclared"),
    ({"ALT": "<DEL>", "INFO": "END=300;SVLEN=-5"}, "svlen"),
    ({"FILTER": "q10;PASS"}, "filter-pass"), ({"INFO": 'S="a,b"'}, "info-quoted"), ({"ALT": "."}, "gt-no-alt"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "rule"), WARNED, ids=str)
def test_what_is_risky_is_a_warning(changes: dict[str, str], rule: str) -> None:
    report = validated(changed(**({"s1": "0/1", "s2": "0/0"} | changes)))
    assert rule in rules(report, "warning")
    assert report.is_valid


def test_versions_4_1_and_4_2_know_alphanumeric_format_keys_and_no_white_space_in_info() -> None:
    assert rules(validated(changed(FORMAT="GT:MIN_DP"))) == set()
    assert rules(validated(changed(FORMAT="GT:MIN_DP"), version="4.2")) == {"format"}
    assert rules(validated(changed(INFO="S=a b"), version="4.2")) == {"info"}


def test_version_4_5_has_lists_of_no_local_alleles_and_4_4_a_leading_separator() -> None:
    assert "call-empty" in rules(validated(changed(s1="0/1:"), version="4.4"))
    assert rules(validated(changed(s1="0/1:"), version="4.5")) == set()
    assert rules(validated(changed(s1="/0/1:3,4"), version="4.4")) == set()


def test_order_of_records() -> None:
    at = [changed(CHROM=c, POS=p) for c, p in [("1", "5"), ("1", "4"), ("2", "9"), ("1", "10"), ("1", "10")]]
    at[4][4] = "G"
    report = validated(*at)
    assert {r: n for r, n in report.counts.items() if r != "lower-case"} == {
        "pos-order": 1, "chrom-order": 1, "pos-repeated": 1,
    }  # fmt: skip
    assert report.facts["sorted"] is False
    assert report.facts["contigs"] == 2


def test_the_same_variant_is_found_behind_shared_bases() -> None:
    first = changed(POS="123", REF="TAT", ALT="TGT,T", s1="0", s2="0")
    assert "duplicate" in rules(validated(first, changed(POS="124", REF="a", ALT="g", s1="0", s2="0")))
    assert "duplicate" in rules(validated(first, changed(POS="123", REF="TAT", ALT="T", s1="0", s2="0")))
    assert rules(validated(first, changed(POS="124", REF="A", ALT="C", s1="0", s2="0"))) == set()
    assert rules(validated(first, changed(CHROM="2", POS="124", REF="A", ALT="G", s1="0", s2="0"))) == set()


def test_undeclared_things_are_named_once_and_findings_are_capped_but_counted() -> None:
    many = [changed(POS=str(i), INFO="NEW=1", QUAL="-1") for i in range(100, 140)]
    report = validated(*many)
    assert report.counts == {"qual": 40, "info-undeclared": 1}
    assert len(report.findings) == 6
    assert report.n_errors == 40
    assert report.n_warnings == 1


def test_rows_that_are_no_records() -> None:
    report = validated(RECORD, RECORD[:-1], ["##late=x"], [" ".join(RECORD)], changed(POS="101"))
    assert report.counts == {"columns": 3}
    assert report.facts["records"] == 2


# a small grammar of calls, right and wrong: what passes at once must pass the exact check, and nothing may differ
ATOMS = st.sampled_from(["nan", "10", "1.5", "-2", "ab", "1234567890", "99999999999", *"0123./|,:-+e5x"])
CALLS = st.lists(ATOMS, min_size=1, max_size=9).map(lambda parts: "".join(parts).encode())
FIELDS = [
    (b"GT", FieldSpec("1", "String")), (b"AD", FieldSpec("R", "Integer")), (b"PL", FieldSpec("G", "Integer")),
    (b"X", FieldSpec("1", "Float")), (b"S", FieldSpec(".", "String")), (b"K", FieldSpec("2", "Character")),
    (b"E", FieldSpec("A", "Float")), (b"CNL", FieldSpec("G", "Float")), (b"Z", FieldSpec(None, None)),
]  # fmt: skip


@given(
    calls=st.lists(CALLS | st.sampled_from([b"0/1", b"0|1", b"./.", b"0", b"."]), min_size=1, max_size=4),
    chosen=st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4, unique_by=lambda f: f[0]),
    n_alts=st.integers(0, 11),
    version=st.integers(1, 5),
)
@settings(max_examples=600, deadline=None)
def test_what_passes_at_once_passes_the_exact_check(
    calls: list[bytes], chosen: list[tuple[bytes, FieldSpec]], n_alts: int, version: int
) -> None:
    chosen.sort(key=lambda f: f[0] != b"GT")
    plan = Plan([k for k, _ in chosen], [s for _, s in chosen], n_alts, len(calls), version)
    if plan.passes(b"\t".join(calls)):
        assert [list(plan.problems(call)) for call in calls] == [[] for _ in calls]


def test_common_calls_pass_at_once() -> None:
    """The quick way is worth its name only where it takes what files hold."""
    keys = [b"GT", b"AD", b"DP", b"GQ", b"PL"]
    one = FieldSpec("1", "Integer")
    specs = [FieldSpec("1", "String"), FieldSpec("R", "Integer"), one, one, FieldSpec("G", "Integer")]
    calls = [b"0/1:3,4:7:99:10,0,20", b"./.", b"1|1:0,9:9:.:1,2,3", b"0/0:.:.:3:."]
    assert Plan(keys, specs, 1, 4, 3).passes(b"\t".join(calls))
    assert Plan([b"GT"], [FieldSpec("1", "String")], 2, 3, 3).passes(b"0/1\t.|2\t./.")


@given(value=st.lists(ATOMS, min_size=1, max_size=6).map(lambda p: "".join(p).encode()), version=st.integers(1, 5))
@settings(max_examples=400, deadline=None)
def test_info_values_that_pass_at_once_pass_the_exact_check(value: bytes, version: int) -> None:
    for number, kind, n_alts in (("1", "Integer", 1), ("A", "Float", 2), ("R", "Integer", 1), (".", "Character", 3)):
        pattern = info_pattern(b"X", FieldSpec(number, kind), n_alts)
        if pattern is not None and pattern.fullmatch(value):
            values = value.split(b",")
            assert expected_count(number, n_alts, None) in (None, len(values))
            assert all(type_problem(kind, one, version) is None for one in values)


@given(st.text("ACGT", min_size=1, max_size=6), st.text("ACGT", min_size=1, max_size=6), st.integers(1, 99))
def test_trimming_keeps_the_haplotype(ref: str, alt: str, position: int) -> None:
    at, short_ref, short_alt = trimmed(position, ref.encode(), alt.encode())
    before, after = ref[: at - position], ref[at - position + len(short_ref) :]
    assert before + short_ref.decode() + after == ref
    assert before + short_alt.decode() + after == alt


@pytest.mark.parametrize(("number", "alts", "ploidy", "wanted"), [("G", 2, 2, 6), ("G", 2, 3, 10), ("R", 0, 2, 1)])
def test_numbers_of_values(number: str, alts: int, ploidy: int, wanted: int) -> None:
    brute = math.comb(alts + ploidy, ploidy) if number == "G" else alts + 1
    assert expected_count(number, alts, ploidy) == wanted == brute
