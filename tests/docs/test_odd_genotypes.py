"""Each row of docs/reference/odd-genotypes.md, done: the case's name in the page is its name here."""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from genomix.errors import GenomixError
from genomix.io.convert import ConversionReport, convert_genotypes
from genomix.io.load_options import LoadOptions
from genomix.io.load_steps import LOST_DOSAGES
from genomix.io.plink import GenotypeStore, open_store

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "odd-genotypes.md"
META = (
    '##fileformat=VCFv4.3\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    '##FORMAT=<ID=DS,Number=A,Type=Float,Description="d">\n##FORMAT=<ID=GP,Number=G,Type=Float,Description="p">\n'
)
CONTIGS = "##contig=<ID=chr1,length=248956422>\n##contig=<ID=chrX,length=156040895>\n"


@dataclass
class Case:
    """Records (spaces for tabs), and what must come of them: copies by (position, ALT), counts, or a refusal."""

    records: str
    copies: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    options: LoadOptions = field(default_factory=LoadOptions)
    left_out: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    refusal: str | None = None
    samples: str = "a b"
    contigs: str = CONTIGS
    change: Callable[[bytes], bytes] = bytes
    suffix: str = ".vcf"
    check: Callable[[GenotypeStore, ConversionReport], bool] = lambda _s, _r: True


def half(policy: str) -> LoadOptions:
    return LoadOptions(half_call=policy)  # type: ignore[arg-type]


def dosages(store: GenotypeStore) -> list[list[float]]:
    return [[round(float(value), 3) for value in row] for row in store.read_dosages()]


HALF = "chr1 1 . A G . . . GT ./1 0/."
X = "chrX 5000000 . A G . . . GT 1 0"
ONE = "chr1 1 . A G . . . GT 1 0/1"
PLAIN = "chr1 1 . A G . . . GT 0/1 1/1"

MANY_ALTS = ",".join("A" + "".join(tail) for tail in list(itertools.product("ACGT", repeat=4))[:255])
MANY = f"{PLAIN}\nchr1 7 . A {MANY_ALTS} . . . GT 0/255 254/3"

CASES: dict[str, Case] = {
    "half-call": Case(HALF, {(1, "G"): [-9, -9]}, calls={"half-calls set missing": 2}),
    "half-call, `reference`": Case(HALF, {(1, "G"): [1, 0]}, half("reference")),
    "half-call, `error`": Case(HALF, options=half("error"), refusal="half-call.*record 1"),
    "haploid on X outside the PARs, Y, MT": Case(X, {(5000000, "G"): [2, 0]}, calls={"haploid calls doubled": 2}),
    "haploid elsewhere": Case(ONE, {(1, "G"): [-9, 1]}, calls={"haploid calls set missing": 1}),
    "haploid elsewhere, `double`": Case(ONE, {(1, "G"): [2, 1]}, LoadOptions(haploid="double")),
    "male heterozygous on X": Case(
        "chrX 5000000 . A G . . . GT 0/1 0/1", {(5000000, "G"): [1, 1]}, LoadOptions(sex={"a": 1, "b": 2}),
        check=lambda _s, r: r.calls_noted == {"heterozygous calls of males on X outside the PARs": 1},
    ),
    "three or more alleles in a call": Case(
        "chr1 1 . A G . . . GT 0/0/0/1 0/1", {(1, "G"): [-9, 1]}, calls={"calls over ploidy 2 set missing": 1}
    ),
    "`*` as the only ALT": Case(f"chr1 9 . A * . . . GT 0/1 0/0\n{PLAIN}", {(1, "G"): [1, 2]},
                                left_out={"spanning deletion only": 1}),
    "`*` beside another ALT": Case("chr1 1 . AT A,* . . . GT 0/2 1/2", {(1, "A"): [0, 1]},
                                   noted={"with a spanning deletion among the ALTs": 1}),
    "symbolic ALT only": Case(f"chr1 9 . N <DEL> . . . GT 0/1 0/0\n{PLAIN}", {(1, "G"): [1, 2]},
                              left_out={"symbolic ALT only": 1}),
    "symbolic beside a sequence": Case("chr1 1 . A G,<DEL> . . . GT 0/2 1/2", {(1, "G"): [0, 1]},
                                       noted={"with a symbolic ALT beside a sequence": 1}),
    "no ALT": Case(f"chr1 9 . A . . . . GT 0/0 0/0\n{PLAIN}", {(1, "G"): [1, 2]}, left_out={"no ALT": 1}),
    "DS without GT": Case(
        "chr1 1 . A G . . . DS 0.1 0.5", {(1, "G"): [0, -9]}, calls={"dosages kept, hard calls derived": 2},
        check=lambda s, _r: abs(float(s.read_dosages()[0, 1]) - 0.5) < 1e-4,
    ),
    "GP only": Case("chr1 1 . A G . . . GP 0,1,0 0,0,1", {(1, "G"): [-9, -9]},
                    calls={"missing in a record without GT": 2}),
    "GP only, `--dosage GP`": Case("chr1 1 . A G . . . GP 0,1,0 0,0,1", {(1, "G"): [1, 2]},
                                   LoadOptions(dosage_field="GP")),
    "GT and DS": Case("chr1 1 . A G . . . GT:DS 0/1:0.9 1/1:1.8", {(1, "G"): [1, 2]},
                      check=lambda s, _r: s.read_dosages()[0].tolist() == [1.0, 2.0]),
    "GT and DS, `--dosage DS`": Case("chr1 1 . A G . . . GT:DS 0/1:0.9 1/1:1.8", {(1, "G"): [1, -9]},
                                     LoadOptions(dosage_field="DS"),
                                     check=lambda s, _r: abs(float(s.read_dosages()[0, 1]) - 1.8) < 1e-4),
    "DS of several ALTs without GT": Case("chr1 1 . A G,T . . . DS 0.1,0.2 1,0",
                                          {(1, "G"): [-9, -9], (1, "T"): [-9, -9]},
                                          calls={"missing in a record without GT": 2}, noted={LOST_DOSAGES[1]: 1}),
    "DS of several ALTs without GT, `--multi-allelic split`": Case(
        "chr1 1 . A G,T . . . DS 0.1,0.25 1,0", {(1, "G"): [0, 1], (1, "T"): [-9, 0]},
        LoadOptions(multi_allelic="split"), calls={"dosages kept, hard calls derived": 4},
        check=lambda s, _r: dosages(s) == [[0.1, 1], [0.25, 0]],
    ),
    "GT and DS of several ALTs, `--dosage DS`": Case(
        "chr1 1 . A G,T . . . GT:DS 0/1:0.9,0.1 1/2:1,0.7", {(1, "G"): [1, 1], (1, "T"): [0, 1]},
        LoadOptions(dosage_field="DS"), calls={"diploid calls kept": 2}, noted={LOST_DOSAGES[0]: 1},
        check=lambda _s, r: "DS or GP of 1 record(s)" in r.warnings[0] and "--multi-allelic split" in r.warnings[0],
    ),
    "GT and DS of several ALTs, `--dosage DS --multi-allelic split`": Case(
        "chr1 1 . A G,T . . . GT:DS 0/1:0.9,0.1 1/2:1,0.7", {(1, "G"): [1, 1], (1, "T"): [0, -9]},
        LoadOptions(dosage_field="DS", multi_allelic="split"), calls={"dosages kept, hard calls derived": 4},
        check=lambda s, r: dosages(s) == [[0.9, 1], [0.1, 0.7]] and not r.warnings,
    ),
    "GP of several ALTs, `--dosage GP`": Case(
        "chr1 1 . A G,T . . . GP 0,1,0,0,0,0 0,0,0,0,0,1", {(1, "G"): [-9, -9], (1, "T"): [-9, -9]},
        LoadOptions(dosage_field="GP"), calls={"missing in a record without GT": 2}, noted={LOST_DOSAGES[1]: 1},
    ),
    "GP of several ALTs, `--dosage GP --multi-allelic split`": Case(
        "chr1 1 . A G,T . . . GP 0.1,0.2,0.1,0.3,0.2,0.1 0,0,0,0,1,0", {(1, "G"): [-9, 1], (1, "T"): [-9, 1]},
        LoadOptions(dosage_field="GP", multi_allelic="split"), calls={"dosages kept, hard calls derived": 4},
        check=lambda s, _r: dosages(s) == [[0.6, 1], [0.7, 1]],
    ),
    "another number of DS than ALTs, `--multi-allelic split`": Case(
        "chr1 1 . A G,T . . . GT:DS 0/1:0.9 1/2:1", {(1, "G"): [1, 1], (1, "T"): [0, 1]},
        LoadOptions(dosage_field="DS", multi_allelic="split"), noted={LOST_DOSAGES[0]: 1},
        check=lambda _s, r: "one value for each ALT" in r.warnings[0],
    ),
    "neither GT nor DS": Case("chr1 1 . A G . . . DP 3 4", {(1, "G"): [-9, -9]},
                              calls={"missing in a record without GT": 2}),
    "eleven ALTs": Case(
        "chr1 1 . A C,G,T,AA,AC,AG,AT,ATT,ATTT,ATTTT,ATTTTT . . . GT 0/11 10/11",
        check=lambda s, _r: s.n_variants == 11 and s.read_calls([10]).tolist() == [[1, 1]],
    ),
    "more than 254 ALTs": Case(MANY, refusal=r"255 ALTs.*at most 254.*record 2 \(1:7\).*--multi-allelic split"),
    "more than 254 ALTs, `--multi-allelic split`": Case(
        MANY, options=LoadOptions(multi_allelic="split"),
        check=lambda s, _r: s.n_variants == 256 and s.read_calls([255, 254, 3]).tolist() == [[1, 0], [0, 1], [0, 1]],
    ),
    "same position twice": Case("chr1 1 . A G . . . GT 0/1 0/0\nchr1 1 . A T . . . GT 0/0 0/1",
                                {(1, "G"): [1, 0], (1, "T"): [0, 1]}),
    "same position and alleles twice": Case(
        "chr1 1 . A G . . . GT 0/1 0/0\nchr1 1 . A G . . . GT 0/0 0/1",
        check=lambda s, _r: s.n_variants == 2, noted={"same position and alleles as another": 2},
    ),
    "duplicate sample identifiers": Case(PLAIN, samples="a a", refusal="same identifier"),
    "white space in a sample identifier": Case(PLAIN, samples="a b_c", change=lambda t: t.replace(b"b_c", b"b c"),
                                               refusal="white space"),
    "empty sample identifier": Case(PLAIN, samples="a X", change=lambda t: t.replace(b"\tX\n", b"\t\n"),
                                    refusal="empty identifier"),
    "no samples": Case("chr1 1 . A G . . .", samples="", change=lambda t: t.replace(b"\tFORMAT", b""),
                       refusal="no samples"),
    "unsorted records": Case("chrX 1 . A G . . . GT 0/1 0/0\nchr1 9 . A G . . . GT 0/0 0/1\n"
                             "chr1 2 . A G . . . GT 1/1 0/0",
                             check=lambda s, r: r.sorted and s.variants["position"].to_list() == [2, 9, 1]),
    "no contig lines": Case(PLAIN, {(1, "G"): [1, 2]}, contigs="", check=lambda _s, r: r.build == "unknown"),
    "lower-case bases": Case("chr1 1 . a g . . . GT 0/1 1/1", {(1, "G"): [1, 2]}),
    "`chr1` and `1`": Case(PLAIN, check=lambda s, _r: s.variants["contig"].to_list() == ["1"]),
    "trailing fields left out": Case("chr1 1 . A G . . . GT:DP:GQ 0/1 1/1:3", {(1, "G"): [1, 2]}),
    "a call that names no allele of its record": Case("chr1 1 . A G . . . GT 0/1 0/2", refusal=r"names an allele.*:8"),
    "too few or too many columns": Case("chr1 1 . A G . . . GT 0/1", refusal=r"10 columns, the header 11.*:8"),
    "position that is no number": Case("chr1 x . A G . . . GT 0/1 0/1", refusal=r"not a number.*:8"),
    "empty line between records": Case(f"{PLAIN}\n\n{PLAIN}", refusal=r"empty line.*:9"),
    "CRLF line ends": Case(PLAIN, {(1, "G"): [1, 2]}, change=lambda t: t.replace(b"\n", b"\r\n")),
    "plain gzip": Case(PLAIN, {(1, "G"): [1, 2]}, change=gzip.compress, suffix=".vcf.gz"),
    "compressed file that was cut": Case(PLAIN, change=lambda t: gzip.compress(t)[:-9], suffix=".vcf.gz",
                                         refusal="was cut"),
    "plain text cut inside a line": Case(PLAIN, change=lambda t: t[:-6], refusal="10 columns"),
    "build that contradicts the contig lengths": Case(PLAIN, options=LoadOptions(build="GRCh37"),
                                                      refusal="GRCh37.*GRCh38"),
    "position beyond its contig": Case("chr1 248956423 . A G . . . GT 0/1 0/1", refusal="beyond its end in GRCh38"),
    "phasing mark before the first allele": Case(
        "chr1 1 . A G . . . GT:DP |0|1:3 |1|0:4\nchr1 2 . A G . . . GT /0/1 |1|1\nchr1 3 . A G . . . GT /1|0 |1/0\n"
        "chrX 5000000 . A G . . . GT /1 |0",
        {(1, "G"): [1, 1], (2, "G"): [1, 2], (3, "G"): [1, 1], (5000000, "G"): [2, 0]},
        change=lambda t: t.replace(b"VCFv4.3", b"VCFv4.5", 1), calls={"haploid calls doubled": 2},
    ),
    "phasing mark before the first allele, VCF 4.3 and older": Case(
        "chr1 1 . A G . . . GT 0|1 |0|1", refusal=r"phasing mark.*from version 4.4 on.*sample no. 2.*:8"
    ),
    "phased calls": Case("chr1 1 . A G . . . GT 0|1 1|0", {(1, "G"): [1, 1]}),
}  # fmt: skip


def write(case: Case, folder: Path) -> Path:
    columns = "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT " + case.samples
    lines = [columns.rstrip(), *case.records.split("\n")]
    text = META + case.contigs + "\n".join("\t".join(line.split(" ")) for line in lines) + "\n"
    path = folder / f"odd{case.suffix}"
    path.write_bytes(case.change(text.encode()))
    return path


@pytest.mark.parametrize("reader", ["reference", "fast"])
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, reader: str, tmp_path: Path) -> None:
    case = CASES[name]
    from dataclasses import replace

    options = replace(case.options, reader=reader)
    source = write(case, tmp_path)
    if case.refusal is not None:
        with pytest.raises(GenomixError, match=case.refusal):
            convert_genotypes(source, tmp_path / "o", options)
        assert not list(tmp_path.glob("o.*"))
        return
    report = convert_genotypes(source, tmp_path / "o", options)
    store = open_store(tmp_path / "o")
    assert report.records_left_out == case.left_out
    n_out = report.n_records_written + sum(report.records_left_out.values())
    assert report.n_records_read + report.n_records_added == n_out
    assert sum(report.calls.values()) == report.n_records_written * report.n_samples
    for outcome, count in case.calls.items():
        assert report.calls[outcome] == count
    for note, count in case.noted.items():
        assert report.records_noted[note] == count
    found = dict(zip(store.variants.select("position", "alt").iter_rows(), store.read_calls().tolist(), strict=True))
    if case.copies:
        assert found == case.copies
    assert case.check(store, report)


@pytest.mark.parametrize("reader", ["reference", "fast"])
def test_254_alts_are_kept_whole(reader: str, tmp_path: Path) -> None:
    alts = MANY_ALTS.rsplit(",", 1)[0]
    source = write(Case(f"chr1 7 . A {alts} . . . GT 0/254 253/3"), tmp_path)
    convert_genotypes(source, tmp_path / "o", LoadOptions(reader=reader))  # type: ignore[arg-type]
    store = open_store(tmp_path / "o")
    assert store.n_variants == 254
    assert store.read_calls([253, 252, 2]).tolist() == [[1, 0], [0, 1], [0, 1]]


def test_the_page_has_these_cases_and_no_others() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|", PAGE.read_text(), re.MULTILINE)
    assert [r for r in rows if r != "case" and not r.startswith("---")] == list(CASES)
