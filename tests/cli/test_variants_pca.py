"""``genomix variants pca``: fitted on some, projected onto all, with a model that can be used again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.plink import open_store
from genomix.variants.pca import fit_pca, project
from genomix_cli.app import main
from tests.genotype_store import store_of
from tests.unit.variants.test_pca import structured

PLAIN = ["-k", "2", "--no-prune", "--maf", "0", "--call-rate", "0"]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    calls = structured(300, 60, seed=1, missing=0.01)
    calls[:, 59] = calls[:, 58]
    return store_of(tmp_path, calls).prefix


def components(path: Path) -> np.ndarray:
    return pl.read_parquet(path).select("^pc_.*$").to_numpy()


def test_fitted_on_a_list_and_projected_onto_all(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "fit.txt").write_text("".join(f"s{i}\n" for i in range(40)))
    arguments = [*PLAIN, "--fit-samples", str(tmp_path / "fit.txt")]
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), *arguments, "-q"]) == 0
    calls = open_store(cohort).read_calls()
    expected = project(fit_pca(calls[:, :40], n_components=2), calls)
    np.testing.assert_allclose(components(tmp_path / "o.components.parquet"), expected, atol=1e-4)
    frame = pl.read_parquet(tmp_path / "o.components.parquet")
    assert frame["fitted"].to_list() == [True] * 40 + [False] * 20
    values = pl.read_csv(tmp_path / "o.eigenvalues.tsv", separator="\t")
    np.testing.assert_allclose(values["eigenvalue"], fit_pca(calls[:, :40], n_components=2).eigenvalues, rtol=1e-5)


def test_by_default_a_duplicate_teaches_nothing_twice(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), *PLAIN, "--json", "--fit-kinship", "0.3"]) == 0
    )
    counts = json.loads(capsys.readouterr().out)
    assert (counts["samples"], counts["samples_fitted"]) == (60, 59)
    frame = pl.read_parquet(tmp_path / "o.components.parquet")
    assert sorted(frame["fitted"][58:].to_list()) == [False, True]
    found = components(tmp_path / "o.components.parquet")
    np.testing.assert_allclose(found[58], found[59], rtol=1e-5)


def test_a_saved_model_projects_another_fileset(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), *PLAIN, "-q"]) == 0
    model = str(tmp_path / "o.model.parquet")
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "again"), "--model", model, "--tsv"]) == 0
    again = pl.read_csv(tmp_path / "again.components.tsv", separator="\t", null_values="NA")
    np.testing.assert_allclose(
        again.select("^pc_.*$").to_numpy(), components(tmp_path / "o.components.parquet"), atol=1e-5
    )
    assert not again["fitted"].any()
    assert again["is_outlier"].null_count() == 60
    assert not (tmp_path / "again.model.parquet").exists()
    assert "matched: 300" in capsys.readouterr().err
    (tmp_path / "few").mkdir()
    few = store_of(tmp_path / "few", open_store(cohort).read_calls()[:100]).prefix
    assert main(["variants", "pca", str(few), "-o", str(tmp_path / "few_o"), "--model", model]) == 6
    assert (
        main(["variants", "pca", str(few), "-o", str(tmp_path / "few_o"), "--model", model, "--min-overlap", "0"]) == 0
    )


def test_randomised_agrees_and_repeats(cohort: Path, tmp_path: Path) -> None:
    for name, method in (("e", "exact"), ("r", "randomised"), ("s", "randomised")):
        arguments = [*PLAIN, "--method", method, "--seed", "7", "-q"]
        assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / name), *arguments]) == 0
    np.testing.assert_allclose(
        components(tmp_path / "r.components.parquet"), components(tmp_path / "e.components.parquet"), atol=0.02
    )
    assert (tmp_path / "r.components.parquet").read_bytes() == (tmp_path / "s.components.parquet").read_bytes()


def test_pruning_and_thresholds_leave_fewer_variants(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = []
    for arguments in (
        ["--no-prune", "--maf", "0", "--call-rate", "0"],
        ["--no-prune", "--maf", "0.3"],
        ["--prune-r2", "0.05"],
    ):
        assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), "-k", "2", "--json", *arguments]) == 0
        used.append(json.loads(capsys.readouterr().out)["variants_used"])
    assert used[0] == 300 > used[1]
    assert used[2] < 300


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-k", "0"], 2),
        (["-k", "60", *PLAIN[2:]], 8),
        (["--method", "guess"], 2),
        (["--model", "absent.parquet"], 3),
        (["--ancestry-column", "nowhere"], 8),
    ],
)
def test_wrong_arguments(cohort: Path, tmp_path: Path, arguments: list[str], code: int) -> None:
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), *arguments]) == code
    assert not list(tmp_path.glob("o.*"))
