"""Rules of VCF 4.4 and 4.5 for structural variants; the truth is section 3 of the specification."""

from __future__ import annotations

import io

import pytest

from genomix.io.vcf_rules_sv import allele_phases
from genomix.io.vcf_validation import validate_stream

HEAD = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\n"
SV = {"sv-type", "sv-length", "sv-claim", "sv-number", "sv-interval", "sv-repeat", "sv-format", "phase-set"}


def rules(alt: str, info: str, keys: str = "GT", call: str = "0/0", version: str = "4.4") -> set[str]:
    text = f"##fileformat=VCFv{version}\n{HEAD}1\t100\t.\tA\t{alt}\t.\t.\t{info}\t{keys}\t{call}\n"
    report = validate_stream(io.BytesIO(text.encode()), "x.vcf")
    return {f.rule for f in report.findings if f.severity == "error"}


GOOD = [
    ("<DEL>", "SVLEN=5;SVCLAIM=D", "GT", "0/0"),
    ("<DEL>", "END=105;SVCLAIM=D", "GT", "0/0"),
    ("<DEL>,T,<DUP>", "SVLEN=5,.,9;SVCLAIM=DJ,.,J", "GT", "0/0"),
    ("<DEL>,<DUP>", "SVLEN=5,5;SVCLAIM=D,D", "GT:CN", "0/0:1.5"),
    ("<INV>", "SVLEN=5", "GT", "0/0"),
    ("<INS:ME>", "SVLEN=5;SVCLAIM=J", "GT", "0/0"),
    ("<CNV:TR>", "SVLEN=30;RN=3;RUS=CAG,TG,CAGG;RUL=3,2,4;RUC=10,7,3;RB=30,14,12", "GT", "0/0"),
    ("<CNV:TR>,<CNV:TR>", "SVLEN=30,30;RUS=CAG,CAG;RB=90,15;CIRB=-1,1,.,3", "GT", "0/0"),
    ("<*>", "END=120", "GT", "0/0"),
    ("A[1:200[", "SVCLAIM=J", "GT", "0/0"),
    ("T", "CIPOS=-5,5", "GT", "0/0"),
    ("T", ".", "GT:PSL:PSO", "/0|1:.,b:.,1"),
    ("T", ".", "GT:PSL", "0|1:a,b"),
]


@pytest.mark.parametrize(("alt", "info", "keys", "call"), GOOD)
def test_what_the_specification_shows_is_no_error(alt: str, info: str, keys: str, call: str) -> None:
    assert rules(alt, info, keys, call) == set()


BAD = [
    ("<DAL:TRE>", "SVLEN=5", "GT", "0/0", "sv-type"),
    ("<DEL>", "SVCLAIM=D", "GT", "0/0", "sv-length"),
    ("<DEL>,<DUP>", "SVLEN=5,6;SVCLAIM=D,D", "GT:CN", "0/0:1.5", "sv-length"),
    ("<DEL>", "SVLEN=5", "GT", "0/0", "sv-claim"),
    ("<DUP>", "SVLEN=5;SVCLAIM=JD", "GT", "0/0", "sv-claim"),
    ("<CNV>", "SVLEN=5;SVCLAIM=J", "GT", "0/0", "sv-claim"),
    ("<INV>", "SVLEN=5;SVCLAIM=D", "GT", "0/0", "sv-claim"),
    ("A[1:200[", "SVCLAIM=D", "GT", "0/0", "sv-claim"),
    ("T", "CIPOS=-5", "GT", "0/0", "sv-number"),
    ("T,G", "MEINFO=a,1,2,+", "GT", "0/0", "sv-number"),
    ("T", "CIPOS=1,5", "GT", "0/0", "sv-interval"),
    ("<CNV:TR>", "SVLEN=5;RN=2;RUS=CA", "GT", "0/0", "sv-number"),
    ("<CNV:TR>", "SVLEN=5;RUS=CA;RB=10;CIRB=-1", "GT", "0/0", "sv-number"),
    ("<CNV:TR>", "SVLEN=5", "GT", "0/0", "sv-repeat"),
    ("<CNV:TR>", "SVLEN=5;RUS=CA;RUL=3", "GT", "0/0", "sv-repeat"),
    ("<CNV:TR>", "SVLEN=5;RUS=CA;CIRB=-1,1", "GT", "0/0", "sv-repeat"),
    ("<CNV:TR>", "SVLEN=5;RUS=CA;RUC=2.5;RUB=2,2", "GT", "0/0", "sv-repeat"),
    ("T", ".", "GT:CICN", "0/0:-1,1", "sv-format"),
    ("T", ".", "GT:PSL", "0/1:a,.", "phase-set"),
    ("T", ".", "GT:PSL:PSQ", "0|1:a,.:3,4", "phase-set"),
    ("T", ".", "GT:PSL", "0|1:a", "call-number"),
]


@pytest.mark.parametrize(("alt", "info", "keys", "call", "rule"), BAD)
def test_what_it_forbids_is_an_error(alt: str, info: str, keys: str, call: str, rule: str) -> None:
    assert rule in rules(alt, info, keys, call)


def test_earlier_versions_do_not_know_these_rules() -> None:
    for alt, info, keys, call, _ in BAD:
        assert not rules(alt, info, keys, call, version="4.3") & SV


@pytest.mark.parametrize(
    ("genotype", "phases"),
    [(b"0|1", [True, True]), (b"0/1", [False, False]), (b"0/0|1", [False, False, True]), (b"|0/1", [True, False]),
     (b"0", [True]), (b"/0", [False])],
)  # fmt: skip
def test_phases_of_alleles(genotype: bytes, phases: list[bool]) -> None:
    assert allele_phases(genotype) == phases
