"""``genomix variants validate``: what goes where, exit codes, and no identifier outside a terminal."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genomix_cli.app import main

COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tana\tben\n"
HEAD = "##fileformat=VCFv4.3\n##contig=<ID=1,length=249250621>\n"
HEAD += '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n' + COLUMNS
GOOD = HEAD + "1\t5\t.\tA\tC\t.\tPASS\t.\tGT\t0/1\t./.\n"
RISKY = HEAD + "1\t5\t.\tA\tC\t.\tlow\t.\tGT\t0/1\t./.\n"
BAD = HEAD + "".join(f"1\t{i}\t.\tA\tC\t.\tPASS\t.\tGT\t0/1\t0/2\n" for i in range(5, 12))


def written(folder: Path, text: str, name: str = "x.vcf") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["variants", "validate", *arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, written(tmp_path, GOOD))
    assert code == 0
    assert "records: 1" in out
    assert "build: GRCh37" in out
    assert err == "0 errors, 0 warnings\n"
    assert run(capsys, written(tmp_path, GOOD), "--strict", "--quiet")[::2] == (0, "")


def test_errors_end_with_exit_code_4_and_are_capped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, BAD)
    code, out, err = run(capsys, path, "--max-findings", "2")
    assert code == 4
    assert out.count("error (gt-range)") == 2
    assert f"[{path}:5, FORMAT/GT]" in out
    assert "         7 error   gt-range" in out
    assert "error: 7 errors by 1 rule, 0 warnings" in err


def test_people_are_told_by_ordinal_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, BAD)
    for arguments in ([path], [path, "--json"]):
        _, out, err = run(capsys, *arguments)
        assert "sample no. 2" in out
        assert "ben" not in out + err
    assert "sample ben" in run(capsys, path, "--show-identifiers")[1]


def test_warnings_matter_under_strict_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, RISKY)
    code, out, _ = run(capsys, path)
    assert code == 0
    assert "warning (filter-undeclared)" in out
    code, _, err = run(capsys, path, "--strict")
    assert code == 15
    assert "1 warning by 1 rule under --strict" in err


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, written(tmp_path, BAD), "--json")
    found = json.loads(out)
    assert code == 4
    assert found["valid"] is False
    assert (found["errors"], found["warnings"], found["counts"]) == (7, 0, {"gt-range": 7})
    assert {k: found["findings"][0][k] for k in ("rule", "severity", "line", "field", "sample")} == {
        "rule": "gt-range", "severity": "error", "line": 5, "field": "FORMAT/GT", "sample": 2,
    }  # fmt: skip
    assert found["facts"]["records"] == 7


def test_a_cut_file_ends_with_exit_code_5_after_its_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.vcf.gz"
    path.write_bytes(gzip.compress(BAD.encode())[:-6])
    code, out, err = run(capsys, str(path))
    assert code == 5
    assert "error (gt-range)" in out
    assert "not read to its end" in err


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(BAD.encode()))))
    code, out, _ = run(capsys, "-")
    assert code == 4
    assert "[standard input:5, FORMAT/GT]" in out


def test_inputs_that_are_not_there_or_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, str(tmp_path / "none.vcf"))[0] == 3
    assert run(capsys, str(tmp_path / "none"))[0] == 3
    assert run(capsys, written(tmp_path, "x", "notes.txt"))[0] == 4
    assert run(capsys, written(tmp_path, "not a VCF", "odd.vcf"))[0] == 4
    assert run(capsys)[0] == 2
    assert run(capsys, written(tmp_path, GOOD), "--max-findings", "-1")[0] == 2


def test_vcf_text_is_known_by_its_first_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, written(tmp_path, GOOD, "calls.txt"))[0] == 0


@pytest.mark.external_tool
def test_other_formats_are_read_in_full_and_counted(
    tmp_path: Path, plink2: str, capsys: pytest.CaptureFixture[str]
) -> None:
    vcf = HEAD + (
        "1\t5\t.\tA\tC\t.\tPASS\t.\tGT\t0/1\t./.\n1\t5\t.\tA\tG\t.\tPASS\t.\tGT\t0/0\t1/1\n"
        "1\t9\t.\tC\tA\t.\tPASS\t.\tGT\t./.\t./.\n"
    )
    source = written(tmp_path, vcf)
    for flag in ("--make-bed", "--make-pgen"):
        prefix = tmp_path / flag.strip("-")
        command = [plink2, "--vcf", source, flag, "--out", str(prefix)]
        subprocess.run(command, check=True, capture_output=True)
        code, out, _ = run(capsys, str(prefix), "--json")
        facts = json.loads(out)["facts"]
        assert code == 0
        assert (facts["records"], facts["samples"], facts["missing_calls"]) == (3, 2, 3)
        assert (facts["repeated_positions"], facts["sorted"], facts["contigs"]) == (1, True, 1)
        assert run(capsys, str(prefix), "--strict")[0] == 15


@pytest.mark.external_tool
def test_bcf_is_read_in_full_and_a_cut_one_is_found(
    tmp_path: Path, bcftools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.bcf"
    subprocess.run([bcftools, "view", "-Ob", "-o", str(path), written(tmp_path, GOOD)], check=True, capture_output=True)
    code, out, _ = run(capsys, str(path), "--json")
    assert code == 0
    assert json.loads(out)["facts"]["records"] == 1
    path.write_bytes(path.read_bytes()[:-40])
    assert run(capsys, str(path))[0] == 5


@pytest.mark.real_data
def test_a_bgen_whose_sample_file_lies_elsewhere(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "x.bgen"
    shutil.copy(real_data / "saige-extdata/input/genotype_100markers.bgen", source)
    code, _, err = run(capsys, str(source))
    assert code == 3
    assert "name its .sample file" in err
    names = tmp_path / "names.sample"
    names.write_text("ID_1 ID_2 missing\n0 0 0\n" + "".join(f"s{i} s{i} 0\n" for i in range(10_000)))
    code, out, _ = run(capsys, str(source), "--sample-file", str(names))
    assert code == 0
    assert "samples: 10,000" in out
    assert run(capsys, written(tmp_path, GOOD), "--sample-file", str(names))[0] == 8
