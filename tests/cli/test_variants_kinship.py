"""``genomix variants kinship``: pairs, groups, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from genomix.schemas.genotypes import KINSHIP_NAMED, RELATIVES
from genomix.variants.kinship import king_robust
from genomix_cli.app import main
from tests.genotype_store import random_calls, store_of


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    calls = random_calls(300, 12, seed=1, missing=0.02)
    calls[:, 7] = calls[:, 2]
    calls[:280, 9] = calls[:280, 2]
    return store_of(tmp_path, calls).prefix


def test_pairs_and_groups(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genomix.io.plink import open_store

    out, groups = tmp_path / "k.parquet", tmp_path / "g.tsv"
    assert main(["variants", "kinship", str(cohort), "-o", str(out), "--groups", str(groups), "--json"]) == 0
    found = KINSHIP_NAMED.validate(pl.read_parquet(out))
    expected = king_robust(open_store(cohort).read_calls(), minimum=0.0442)
    columns = ["sample_a", "sample_b", "kinship"]
    assert found.select(columns).sort(columns[:2]).equals(expected)
    assert found.row(0)[:2] == ("s2", "s7")
    assert found["kinship"].is_sorted(descending=True)
    table = pl.read_csv(groups, separator="\t")
    assert table.columns == RELATIVES.names
    assert table.filter(pl.col("group_size") > 1)["sample_id"].to_list() == ["s2", "s7", "s9"]
    assert table["unrelated"].sum() == 10
    told = capsys.readouterr()
    counts = json.loads(told.out)
    assert "warning: 300 variants are too few to tell relatives" in told.err
    assert (counts["samples"], counts["groups"], counts["largest_group"], counts["unrelated"]) == (12, 10, 3, 10)


def test_pairs_without_a_kinship_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copies of a sample without a heterozygous call are in no list: nobody may take that for unrelated."""
    calls = random_calls(600, 12, seed=1)
    calls[:, 7] = 2 * (calls[:, 7] > 0)
    calls[:, 2] = calls[:, 7]
    store = store_of(tmp_path, calls).prefix
    out = tmp_path / "k.parquet"
    assert main(["variants", "kinship", str(store), "-o", str(out), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["pairs_without_kinship"] == 21
    assert "warning: 21 pairs have no kinship" in told.err
    assert "s7" not in pl.read_parquet(out)["sample_id_a"].to_list()
    assert main(["variants", "qc", str(store), "-o", str(tmp_path / "q"), "--duplicates", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["pairs_without_kinship"] == 21
    assert "warning: 21 pairs have no kinship" in told.err
    assert main(["variants", "pca", str(store), "-o", str(tmp_path / "p.tsv"), "--components", "2"]) == 0
    assert "warning: 21 pairs have no kinship" in capsys.readouterr().err


def test_a_default_unrelated_set_from_few_variants_is_said(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "p.tsv"), "--components", "2"]) == 0
    assert "variants are too few to tell relatives (500 or more do): name the samples" in capsys.readouterr().err


def test_only_listed_samples_and_variants(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keep.txt").write_text("s2\ns7\ns11\n")
    names = [f"1:{10 * (i + 1)}:A:G" for i in range(100)]
    (tmp_path / "extract.txt").write_text("\n".join(names) + "\n")
    arguments = [
        "--keep",
        str(tmp_path / "keep.txt"),
        "--extract",
        str(tmp_path / "extract.txt"),
        "--min-kinship",
        "-1",
    ]
    assert main(["variants", "kinship", str(cohort), "-o", str(tmp_path / "k.tsv"), *arguments]) == 0
    assert "variants: 100" in capsys.readouterr().err
    assert pl.read_csv(tmp_path / "k.tsv", separator="\t").height <= 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-o", "k.xlsx"], 8),
        ([], 2),
        (["-o", "k.tsv", "--groups", "g.tsv", "--group-kinship", "0.01"], 8),
        (["-o", "k.tsv", "--extract", "absent.txt"], 3),
        (["-o", "k.tsv", "--device", "abacus"], 2),
    ],
)
def test_wrong_arguments(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["variants", "kinship", str(cohort), *arguments]) == code
    assert not list(tmp_path.glob("[kg].*"))


def test_no_variant_left(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("rs1\n")
    arguments = ["-o", str(tmp_path / "k.tsv"), "--extract", str(tmp_path / "none.txt")]
    assert main(["variants", "kinship", str(cohort), *arguments]) == 6
