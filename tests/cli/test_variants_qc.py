"""``genomix variants qc``: tables, thresholds as options, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.schemas.genotypes import QC_THRESHOLDS, SAMPLE_QC, VARIANT_QC
from genomix.variants.qc import sample_qc, variant_qc
from genomix_cli.app import main
from tests.genotype_store import random_calls, store_of

TYPES = {c.name: c.dtype for c in QC_THRESHOLDS.columns}


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    calls = random_calls(60, 40, seed=1, missing=0.0)
    calls[0, :10] = -9
    calls[1] = 0
    calls[2] = 1
    calls[:, 39] = calls[:, 38]
    return store_of(tmp_path, calls).prefix


def test_tables_hold_what_the_library_says(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    assert main(["variants", "qc", str(cohort), "-o", str(out)]) == 0
    from genomix.io.plink import open_store

    store = open_store(cohort)
    variants = pl.read_parquet(tmp_path / "o.variants.parquet")
    assert VARIANT_QC.validate(variants).equals(variant_qc(store))
    passed = np.flatnonzero(variants["keep"].to_numpy())
    samples = pl.read_parquet(tmp_path / "o.samples.parquet")
    assert SAMPLE_QC.validate(samples).equals(sample_qc(store, variants=passed))
    removed = pl.read_csv(tmp_path / "o.thresholds.tsv", separator="\t")
    assert removed.filter(pl.col("unit") == "variants")["removed"].to_list() == [1, 1, 1]
    printed = capsys.readouterr()
    assert "variants\tcall_rate 0.95\t60 in\t1 removed\t59 left" in printed.out
    assert "kept 57 of 60 variants" in printed.err


def test_options_are_thresholds(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--call-rate",
        "0",
        "--maf",
        "0",
        "--hwe",
        "0",
        "--het-sd",
        "0",
        "--sample-call-rate",
        "0",
        "--json",
        "-q",
    ]
    assert main(["variants", "qc", str(cohort), "-o", str(tmp_path / "o"), *arguments, "--no-check-sex"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["variants_kept"], found["samples_kept"]) == (59, 40)  # a monomorphic variant passes no --maf
    assert {row["threshold"] for row in found["thresholds"]} == {"call_rate", "maf", "hwe_p"}


def test_duplicates_and_kept_samples(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = tmp_path / "keep.txt"
    listed.write_text("#IID\n" + "".join(f"s{i}\n" for i in range(20, 40)) + "stranger\n")
    arguments = ["--duplicates", "--keep", str(listed), "--het-sd", "0"]
    assert main(["variants", "qc", str(cohort), "-o", str(tmp_path / "o"), *arguments]) == 0
    samples = pl.read_parquet(tmp_path / "o.samples.parquet")
    assert samples["sample_id"].to_list() == [f"s{i}" for i in range(20, 40)]
    assert samples.filter(~pl.col("keep")).select("sample_id", "duplicate_of", "reason").rows() == [
        ("s39", "s38", "duplicate")
    ]
    assert "1 of 21 listed samples are not in the genotypes" in capsys.readouterr().err


def test_labels_come_from_the_sample_table(cohort: Path, tmp_path: Path) -> None:
    info = tmp_path / "people.tsv"
    info.write_text("sample_id\tsex\tgroup\n" + "".join(f"s{i}\t{i % 2 + 1}\t{'ab'[i // 25]}\n" for i in range(40)))
    arguments = ["--sample-info", str(info), "--ancestry-column", "group", "--no-check-sex"]
    assert main(["variants", "qc", str(cohort), "-o", str(tmp_path / "o"), *arguments, "-q"]) == 0
    assert set(pl.read_parquet(tmp_path / "o.samples.parquet")["sex"]) == {1, 2}
    found = pl.read_parquet(tmp_path / "o.variants.parquet")
    assert found["n_called"].max() == 40


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--maf", "0.7"], 2),
        (["--hwe", "nan"], 2),
        (["--het-sd", "inf"], 2),
        (["--check-sex-male-min-f", "2"], 2),
        (["--check-sex-male-min-f", "0.1"], 8),
        (["--nonsense"], 2),
        (["--ancestry-column", "nowhere"], 8),
        (["--keep", "absent.txt"], 3),
        (["--autosomes", "96"], 2),
    ],
)
def test_wrong_arguments(cohort: Path, tmp_path: Path, arguments: list[str], code: int) -> None:
    assert main(["variants", "qc", str(cohort), "-o", str(tmp_path / "o"), *arguments]) == code
    assert not list(tmp_path.glob("o.*"))


def test_absent_genotypes(tmp_path: Path) -> None:
    assert main(["variants", "qc", str(tmp_path / "nothing"), "-o", str(tmp_path / "o")]) == 3


@pytest.mark.parametrize("n_x", [0, 60, 130])
def test_the_sex_check_says_when_it_decides_nothing(
    tmp_path: Path, n_x: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Males are s0 to s9 by their one X; s8 and s9 are recorded as females, s19 as a male."""
    rng = np.random.default_rng(3)
    autosomal = random_calls(150, 20, seed=2, missing=0.0)
    on_x = rng.binomial(2, 0.4, (n_x, 20)).astype(np.int8)
    on_x[:, :10] = 2 * rng.binomial(1, 0.4, (n_x, 10))
    variants = [("1", 10 * (i + 1), "A", "G") for i in range(150)]
    variants += [("X", 5_000_000 + i, "A", "G") for i in range(n_x)]
    sex = [1] * 8 + [2] * 11 + [1]
    prefix = store_of(tmp_path, np.vstack([autosomal, on_x]), variants=variants, sex=sex).prefix
    arguments = ["variants", "qc", str(prefix), "-o", str(tmp_path / "o"), "--het-sd", "0", "--maf", "0", "--hwe", "0"]
    arguments += ["--call-rate", "0", "--check-sex-female-max-f", "0.4", "--check-sex-male-min-f", "0.8"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    table = QC_THRESHOLDS.validate(
        pl.read_csv(tmp_path / "o.thresholds.tsv", separator="\t", null_values="NA", schema=TYPES)
    )
    row = table.row(by_predicate=pl.col("threshold") == "sex_mismatch", named=True)
    assert table.filter(pl.col("threshold") != "sex_mismatch")["note"].null_count() == table.height - 1
    if n_x == 130:
        assert (row["removed"], row["note"]) == (3, None)
        assert "decided nothing" not in printed.err + printed.out
        return
    words = f"decided nothing: {n_x} X variants, at least 100 are needed"
    words += "; X F contradicts the recorded sex of 3 of 20 samples" if n_x else ""
    assert (row["removed"], row["note"]) == (0, words)
    assert f"the sex check {words}" in printed.err
    assert words in printed.out
    assert main([*arguments, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["sex_contradicting_x"] == (3 if n_x else 0)


def test_lists_of_nobody(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nobody.txt").write_text("stranger\n")
    for command in ("qc", "kinship", "ld-prune"):
        out = tmp_path / ("k.tsv" if command == "kinship" else "o")
        arguments = ["variants", command, str(cohort), "-o", str(out), "--keep", str(tmp_path / "nobody.txt")]
        assert main(arguments) == 6
        printed = capsys.readouterr().err
        assert "nobody.txt" in printed
        assert str(cohort) in printed
