"""``genomix variants convert`` as its user meets it: files, counts, streams, exit codes."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import OutputError
from genomix.io.convert import convert_genotypes
from genomix.io.plink import open_store
from genomix_cli.app import main
from tests.pipes import piped

HEADER = """##fileformat=VCFv4.3
##contig=<ID=chr1,length=248956422>
##contig=<ID=chr2,length=242193529>
##INFO=<ID=R2,Number=1,Type=Float,Description="quality">
##INFO=<ID=AF,Number=A,Type=Float,Description="frequency">
##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tf1_a\tf2_b\tf3_c
"""
RECORDS = [
    "chr1\t100\trs1\tA\tG\t30\tPASS\tR2=0.9;AF=0.2\tGT\t0/0\t0/1\t1/1",
    "chr1\t200\trs2\tC\tT,G\t.\tq10\tR2=0.3;AF=0.1,0.2\tGT\t0/1\t1/2\t./2",
    "chr2\t300\trs3\tG\tGA\t.\t.\t.\tGT\t0|1\t1|0\t.",
    "chr2\t400\trs4\tG\t<DEL>\t.\tPASS\t.\tGT\t0/1\t0/0\t0/0",
]


@pytest.fixture
def vcf(tmp_path: Path) -> Path:
    path = tmp_path / "in.vcf"
    path.write_text(HEADER + "\n".join(RECORDS) + "\n")
    return path


def calls(prefix: Path) -> dict[tuple[str, int, str], list[int]]:
    store = open_store(prefix)
    keys = store.variants.select("contig", "position", "alt").iter_rows()
    return dict(zip(keys, store.read_calls().tolist(), strict=True))  # type: ignore[arg-type]


def test_counts_go_to_stderr_and_beside_the_fileset(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "out" / "x")]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "records left out: symbolic ALT only: 1" in err
    assert "build GRCh38 (file)" in err
    report = json.loads((tmp_path / "out" / "x.conversion.json").read_text())
    assert report["n_records_read"] == 4
    assert report["n_records_written"] + sum(report["records_left_out"].values()) == 4
    assert sum(report["calls"].values()) == 3 * report["n_records_written"]
    assert calls(tmp_path / "out" / "x") == {
        ("1", 100, "G"): [0, 1, 2],
        ("1", 200, "T"): [1, 1, -9],
        ("1", 200, "G"): [0, 1, -9],
        ("2", 300, "GA"): [1, 1, -9],
    }
    store = open_store(tmp_path / "out" / "x")
    assert store.annotations.rows() == [
        (30.0, "PASS", "R2=0.9"), (None, "q10", "R2=0.3"), (None, "q10", "R2=0.3"), (None, ".", ".")
    ]  # fmt: skip
    meta = [line for line in (tmp_path / "out" / "x.pvar").read_text().splitlines() if line.startswith("##INFO")]
    assert meta == ['##INFO=<ID=R2,Number=1,Type=Float,Description="quality">']
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["x.conversion.json", "x.pgen", "x.psam", "x.pvar"]


def test_selection(vcf: Path, tmp_path: Path) -> None:
    arguments = ["--region", "1:150-250,chr2", "--samples", "f3_c,f1_a", "--keep-filter", "PASS,q10", "--info", "none"]
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), *arguments, "--quiet"]) == 0
    assert calls(tmp_path / "x") == {("1", 200, "T"): [-9, 1], ("1", 200, "G"): [-9, 0], ("2", 300, "GA"): [-9, 1]}
    report = json.loads((tmp_path / "x.conversion.json").read_text())
    assert report["records_left_out"] == {"outside the regions": 1, "symbolic ALT only": 1}
    assert (report["n_samples_read"], report["n_samples"]) == (3, 2)
    assert open_store(tmp_path / "x").samples["sample_id"].to_list() == ["f3_c", "f1_a"]


def test_splitting_and_half_calls(vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--multi-allelic",
        "split",
        "--half-call",
        "reference",
        "--id-delimiter",
        "_",
        "--json",
        "--info",
        "R2,AF",
    ]
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["n_records_added"] == 1
    assert report["n_records_read"] + 1 == report["n_records_written"] + sum(report["records_left_out"].values())
    found = calls(tmp_path / "x")
    assert found["1", 200, "T"] == [1, 1, 0]
    assert found["1", 200, "G"] == [0, 1, 1]
    store = open_store(tmp_path / "x")
    assert store.variants["record"].to_list() == [0, 1, 2, 3]
    assert store.annotations["info"].to_list() == ["R2=0.9;AF=0.2", "R2=0.3;AF=0.1", "R2=0.3;AF=0.2", "."]
    assert store.samples.select("FID", "sample_id").rows() == [("f1", "a"), ("f2", "b"), ("f3", "c")]


def test_dropping_several_alts(vcf: Path, tmp_path: Path) -> None:
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "--multi-allelic", "drop", "-q"]) == 0
    report = json.loads((tmp_path / "x.conversion.json").read_text())
    assert report["records_left_out"] == {"several ALTs": 1, "symbolic ALT only": 1}


def test_standard_input(vcf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Standard:
        buffer = io.BytesIO(vcf.read_bytes())

    monkeypatch.setattr(sys, "stdin", Standard())
    assert main(["variants", "convert", "-", "-o", str(tmp_path / "x"), "-q"]) == 0
    assert len(calls(tmp_path / "x")) == 4


def test_reference_check_counts_and_refuses(vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fasta = tmp_path / "ref.fa"
    bases = ["A"] * 500
    bases[199] = "C"
    two = ["A"] * 500
    two[299] = "T"  # rs3 says G
    two[399] = "G"
    fasta.write_text(f">1\n{''.join(bases)}\n>2\n{''.join(two)}\n")
    plain = vcf.read_text().replace(",length=248956422", "").replace(",length=242193529", "")
    more = [f"chr1\t{300 + i}\t.\tA\tG\t.\tPASS\t.\tGT\t0/0\t0/1\t1/1" for i in range(20)]
    vcf.write_text(plain + "\n".join(more) + "\n")
    out = tmp_path / "x"
    assert main(["variants", "convert", str(vcf), "-o", str(out), "--fasta", str(fasta)]) == 4
    error = capsys.readouterr().err
    assert "REF of 1 of 24 records is not what ref.fa has" in error
    assert "record 3" in error
    assert not list(tmp_path.glob("x.*"))
    arguments = ["--fasta", str(fasta), "--ref-mismatch", "drop", "-q"]
    assert main(["variants", "convert", str(vcf), "-o", str(out), *arguments]) == 0
    rejected = pl.read_csv(tmp_path / "x.rejected.tsv", separator="\t")
    assert rejected.select("variant_id", "reason").rows() == [("rs3", "REF is not what the FASTA has")]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--region", "chr1:20-10"], 8, "10"),
        (["--samples", "nobody"], 6, "not in the genotypes"),
        (["--keep-filter", "other"], 4, "no record is left to write: 4 FILTER is not one to keep"),
        (["--samples", ""], 8, "no sample is asked for"),
        (["--bgen-ref", "last"], 8, "--bgen-ref is for BGEN files, this is vcf"),
        (["--sample-file", "x.sample"], 8, "--sample-file is for BGEN files"),
        (["--ref-mismatch", "drop"], 8, "--fasta"),
        (["--id-delimiter", ""], 8, "delimiter of identifiers is empty"),
        (["--half-call", "error"], 4, "half-call"),
        (["--build", "hg19"], 4, "GRCh38"),
        (["--build", "hg17"], 8, "unknown genome build"),
        (["--chain", "none.chain"], 3, "none.chain"),
        (["--target-build", "GRCh37"], 8, "chain"),
        (["--fasta", "none.fa"], 3, "none.fa"),
        (["--double-id", "--id-delimiter", "_"], 8, "at once"),
        (["--strict"], 15, "left out"),
        (["--multi-allelic", "some"], 2, "some"),
    ],
)
def test_wrong_arguments(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), *arguments]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("C\tT,G", "C\tT,", "ALT has an empty allele"),
        ("C\tT,G", "C\t,G", "ALT has an empty allele"),
        ("C\tT,G", "C\tT,.", "ALT has an empty allele"),
        ("C\tT,G", "C\tT H,G", "ALT has an empty allele, or holds white space"),
        ("rs2", "r s", "ID is empty or holds white space"),
        ("\t.\tq10", "\tabc\tq10", "QUAL is not a number"),
    ],
)
@pytest.mark.parametrize("reader", ["fast", "reference"])
def test_columns_that_a_fileset_cannot_hold(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str, reader: str
) -> None:
    vcf.write_text(vcf.read_text().replace(old, new, 1))
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "--reader", reader]) == 4
    error = capsys.readouterr().err
    assert message in error
    assert "record 2" in error


def test_info_of_a_fileset_is_chosen_too(vcf: Path, tmp_path: Path) -> None:
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "--info", "all", "-q"]) == 0
    assert main(["variants", "convert", str(tmp_path / "x"), "-o", str(tmp_path / "y"), "--info", "AF", "-q"]) == 0
    assert open_store(tmp_path / "y").annotations["info"].to_list() == ["AF=0.2", "AF=0.1,0.2", "AF=0.1,0.2", "."]
    arguments = ["--info", "all", "--multi-allelic", "split", "-q"]
    assert main(["variants", "convert", str(tmp_path / "x"), "-o", str(tmp_path / "z"), *arguments]) == 0
    assert open_store(tmp_path / "z").annotations["info"].to_list()[1:3] == ["R2=0.3;AF=0.1", "R2=0.3;AF=0.2"]
    assert main(["variants", "convert", str(tmp_path / "x"), "-o", str(tmp_path / "w"), "--info", "none", "-q"]) == 0
    assert "INFO" not in (tmp_path / "w.pvar").read_text()


def test_any_of_a_records_filters_keeps_it(vcf: Path, tmp_path: Path) -> None:
    vcf.write_text(vcf.read_text().replace("\tq10\t", "\tq10;s50\t"))
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "--keep-filter", "s50", "-q"]) == 0
    assert {key[1] for key in calls(tmp_path / "x")} == {200}


def test_a_pvar_that_lost_a_line_is_refused(vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "-q"]) == 0
    lines = (tmp_path / "x.pvar").read_text().splitlines()
    (tmp_path / "x.pvar").write_text("\n".join(lines[:-1]) + "\n")
    assert main(["variants", "convert", str(tmp_path / "x"), "-o", str(tmp_path / "y")]) == 4
    assert "x.pgen holds 3 records, its .pvar 2" in capsys.readouterr().err


def test_missing_input_and_output_under_a_file(vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["variants", "convert", str(tmp_path / "no.vcf"), "-o", str(tmp_path / "x")]) == 3
    assert main(["variants", "convert", str(vcf), "-o", str(vcf / "x")]) == 9
    assert "cannot write" in capsys.readouterr().err


def test_nothing_that_is_read_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = "##fileformat=VCFv4.2\n##contig=<ID=1,length=248956422>\n"
    head += '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    head += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
    vcf = tmp_path / "a.vcf"
    vcf.write_text(head + "1\t5\tx\tA\tG\t.\t.\t.\tGT\t0/1\t0/0\n")
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "d"), "-q"]) == 0
    (tmp_path / "link.pgen").symlink_to(vcf)
    (tmp_path / "si.psam").write_text("#IID\tSEX\na\t1\nb\t2\nother\t1\n")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for source, out, more in (
        ("d", "d", ["--samples", "a"]), ("d.pgen", "d", []), ("d", "sub/../d", []), ("a.vcf", "link", []),
        ("a.vcf", "si", ["--sample-info", str(tmp_path / "si.psam")]),
    ):  # fmt: skip
        (tmp_path / "sub").mkdir(exist_ok=True)
        command = ["variants", "convert", str(tmp_path / source), "-o", str(tmp_path / out), *more]
        assert main(command) == 8, out
        assert "is a file that this run reads" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_nothing_left_is_said_before_anything_of_the_fasta(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vcf.write_text(vcf.read_text().replace(",length=248956422", "").replace(",length=242193529", ""))
    (tmp_path / "ref.fa").write_text(f">1\n{'A' * 500}\n>2\n{'A' * 500}\n")
    arguments = ["-o", str(tmp_path / "x"), "--fasta", str(tmp_path / "ref.fa")]
    assert main(["variants", "convert", str(vcf), *arguments, "-r", "7"]) == 4
    error = capsys.readouterr().err
    assert "no record lies in the regions asked for; the input has no contig 7" in error
    assert "ref.fa" not in error
    (tmp_path / "ref.fa").write_text(f">7\n{'A' * 500}\n")
    assert main(["variants", "convert", str(vcf), *arguments]) == 4
    assert "no record lies on a contig of ref.fa" in capsys.readouterr().err


def indexed(vcf: Path, bcftools: str) -> Path:
    """The same records as BGZF with an index beside it."""
    packed = vcf.with_name("packed.vcf.gz")
    subprocess.run([bcftools, "view", "-Oz", "-o", packed, vcf], check=True)
    subprocess.run([bcftools, "index", "-t", packed], check=True)
    return packed


@pytest.mark.parametrize("with_index", [False, True])
def test_regions_give_the_same_answers_with_and_without_an_index(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bcftools: str, with_index: bool
) -> None:
    source, out = str(indexed(vcf, bcftools) if with_index else vcf), str(tmp_path / "x")
    for region, lacking in (("chr1:5000-6000", ""), ("chr9", "; the input has no contig 9")):
        assert main(["variants", "convert", source, "-o", out, "-r", region]) == 4
        assert f"no record lies in the regions asked for{lacking} [" in capsys.readouterr().err
    assert main(["variants", "convert", source, "-o", out, "-r", "chr1", "--strict", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["variants", "convert", source, "-o", out, "-r", "chr1,chr9:5,GL1", "-q"]) == 0
    assert "warning: neither the header nor a record of the input has these contigs of the regions: 9, GL1" in (
        capsys.readouterr().err
    )
    assert json.loads((tmp_path / "x.conversion.json").read_text())["absent_contigs"] == ["9", "GL1"]
    assert main(["variants", "convert", source, "-o", out, "-r", "chr1,chr9:5", "--strict", "-q"]) == 15
    assert "contigs that the input lacks, under --strict: 9" in capsys.readouterr().err
    (tmp_path / "r.bed").write_text("1\t0\t150\n8\t0\t5\n")
    assert main(["variants", "convert", source, "-o", out, "-R", str(tmp_path / "r.bed"), "-q"]) == 0
    assert "regions: 8" in capsys.readouterr().err


def test_strict_counts_losses_and_not_what_was_asked_for(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "--strict", "-q"]
    assert main([*command, "-r", "chr1", "--keep-filter", "PASS", "--samples", "f1_a"]) == 0
    assert main([*command, "-r", "chr1", "--multi-allelic", "drop"]) == 0
    assert main([*command, "-r", "chr2"]) == 15
    assert "1 records were left out under --strict: 1 symbolic ALT only" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1:abc", "1:-5", "1:5-abc"])
@pytest.mark.parametrize("declared", [True, False])
def test_a_region_that_is_none_shows_the_forms(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, declared: bool
) -> None:
    if not declared:  # the contigs are then those of the records
        vcf.write_text("".join(x for x in vcf.read_text().splitlines(keepends=True) if not x.startswith("##contig")))
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "-r", text]) == 8
    error = capsys.readouterr().err
    assert f"'{text}' is neither a region nor a contig of the input" in error
    assert "CONTIG, CONTIG:POS, CONTIG:FROM-TO or CONTIG:FROM-" in error
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("ending", ["vcf", "vcf.gz", "bcf"])
def test_contigs_with_colons_in_their_names(vcf: Path, tmp_path: Path, bcftools: str, ending: str) -> None:
    names = ("HLA-A*01:01:01:01", "HLA-A*01:03", "HLA-A*01:01:01:02N")
    lines = "".join(f"##contig=<ID={n}>\n" for n in names)
    text = vcf.read_text().replace("##INFO=<ID=R2", lines + "##INFO=<ID=R2", 1).replace("q10", "PASS")
    vcf.write_text(text + "".join(f"{n}\t50\t.\tA\tG\t.\tPASS\t.\tGT\t0/0\t0/1\t1/1\n" for n in names))
    source = tmp_path / f"y.{ending}"
    kind = {"vcf": "-Ov", "vcf.gz": "-Oz", "bcf": "-Ob"}[ending]
    subprocess.run([bcftools, "view", kind, "-o", source, vcf], check=True)
    if ending != "vcf":
        subprocess.run([bcftools, "index", source], check=True)
    out = tmp_path / "x"
    for name in names:
        for region in (name, f"{name}:40-60", f"{name}:50"):
            assert main(["variants", "convert", str(source), "-o", str(out), "-q", "--strict", "-r", region]) == 0
            assert list(calls(out)) == [(name, 50, "G")]


def test_a_text_that_is_a_contig_and_a_region_is_refused(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vcf.write_text(vcf.read_text().replace("##INFO=<ID=R2", "##contig=<ID=chr1:5>\n##INFO=<ID=R2", 1))
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "-r", "chr1:5"]) == 8
    assert "'chr1:5' is a contig of the input, and also a region of its contig chr1" in capsys.readouterr().err


def test_a_sample_named_0_is_told_why(vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vcf.write_text(vcf.read_text().replace("\tf2_b\t", "\t0\t"))
    assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x")]) == 4
    assert "a sample is named 0, which PLINK filesets read as no identifier (sample no. 2)" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_folder_that_takes_no_files_is_told(vcf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["variants", "convert", str(vcf), "-o", "/proc/x"]) == 9
    assert "cannot write x.pgen: its folder takes no files" in capsys.readouterr().err
    with pytest.raises(OutputError, match="its folder takes no files"):
        convert_genotypes(vcf, Path("/proc/x"))


def test_lists_that_can_be_read_once_only(vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with piped(b"f3_c\nf1_a\n") as names, piped(b"1\t150\t250\n") as regions:
        wanted = ["-o", str(tmp_path / "x"), "--samples-file", str(names), "-R", str(regions), "-q"]
        assert main(["variants", "convert", str(vcf), *wanted]) == 0, capsys.readouterr().err
    assert calls(tmp_path / "x") == {("1", 200, "T"): [-9, 1], ("1", 200, "G"): [-9, 0]}
    with piped(vcf.read_bytes()) as source:
        assert main(["variants", "convert", str(source), "-o", str(tmp_path / "x")]) == 4
    assert "a VCF or BCF on standard input, named -" in capsys.readouterr().err
    with piped(b">1\nA\n") as fasta:
        assert main(["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "--fasta", str(fasta)]) == 3
    assert "is a pipe or a device, and is read more than once or not from its start" in capsys.readouterr().err


@pytest.fixture
def with_dosages(tmp_path: Path) -> Path:
    """Records of several ALTs with GT and DS, with DS alone, and with DS alone outside chr1; one with one ALT."""
    records = [
        "chr1\t100\trs1\tA\tG,T\t.\tPASS\t.\tGT:DS\t0/1:0.9,0\t1/2:1,0.6\t./.:.",
        "chr1\t200\trs2\tA\tG,T\t.\tPASS\t.\tDS\t0.9,0\t1,0.6\t.",
        "chr1\t300\trs3\tA\tG\t.\tPASS\t.\tGT:DS\t0/1:0.9\t1/1:1.5\t0/0:.",
        "chr2\t100\trs4\tA\tG,T\t.\tPASS\t.\tDS\t0.9,0\t1,0.6\t.",
    ]
    path = tmp_path / "d.vcf"
    declared = '##FORMAT=<ID=DS,Number=A,Type=Float,Description="DS">\n#CHROM'
    path.write_text(HEADER.replace("#CHROM", declared) + "\n".join(records) + "\n")
    return path


@pytest.mark.parametrize("reader", ["fast", "reference"])
def test_dosages_of_several_alts_that_are_not_kept_are_counted_and_told(
    with_dosages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], reader: str
) -> None:
    command = ["variants", "convert", str(with_dosages), "-o", str(tmp_path / "x"), "--dosage", "DS", "--region", "1"]
    command += ["--reader", reader]
    assert main(command) == 0
    err = capsys.readouterr().err
    assert "warning: DS or GP of 2 record(s) with several ALTs could not be kept" in err
    assert "--multi-allelic split" in err
    report = json.loads((tmp_path / "x.conversion.json").read_text())
    notes = {k: v for k, v in report["records_noted"].items() if "DS or GP" in k}
    assert notes == {
        "several ALTs: DS or GP not kept, hard calls of GT are": 1,
        "several ALTs without GT: DS or GP not kept, calls missing": 1,
    }
    assert all(f"records noted: {note}: 1" in err for note in notes)
    assert calls(tmp_path / "x")["1", 100, "T"] == [0, 1, -9]
    assert calls(tmp_path / "x")["1", 200, "T"] == [-9, -9, -9]
    assert main([*command, "--strict"]) != 0
    capsys.readouterr()
    for more in (["--multi-allelic", "split"], ["--multi-allelic", "drop"], ["--dosage", "GT"]):
        assert main([*command, *more]) == 0
        assert "DS or GP" not in capsys.readouterr().err


@pytest.mark.parametrize("reader", ["fast", "reference"])
def test_splitting_keeps_the_dosages_of_each_alt(with_dosages: Path, tmp_path: Path, reader: str) -> None:
    command = ["variants", "convert", str(with_dosages), "-o", str(tmp_path / "x"), "--multi-allelic", "split", "-q"]
    assert main([*command, "--dosage", "DS", "--samples", "f2_b,f1_a", "--reader", reader, "--strict"]) == 0
    store = open_store(tmp_path / "x")
    found = np.round(store.read_dosages().astype(float), 2).tolist()
    assert found == [[1, 0.9], [0.6, 0], [1, 0.9], [0.6, 0], [1.5, 0.9], [1, 0.9], [0.6, 0]]


@pytest.mark.parametrize("reader", ["fast", "reference"])
def test_more_alts_than_a_pgen_holds_are_refused(
    vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], reader: str
) -> None:
    alts = ",".join("C" + "".join(tail) for tail in list(itertools.product("ACGT", repeat=5))[:300])
    vcf.write_text(vcf.read_text().replace("T,G", alts))
    command = ["variants", "convert", str(vcf), "-o", str(tmp_path / "x"), "--reader", reader]
    assert main(command) == 4
    error = capsys.readouterr().err
    assert "a record has 300 ALTs, a .pgen holds at most 254" in error
    assert "record 2 (1:200)" in error
    assert not list(tmp_path.glob("x.*"))
    assert main([*command, "--multi-allelic", "split"]) == 0
    assert open_store(tmp_path / "x").n_variants == 302
    assert main([*command, "--multi-allelic", "drop"]) == 0
    assert open_store(tmp_path / "x").n_variants == 2
