"""``genomix variants pca``: fitted on some, projected onto all, with a model that can be used again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.io.plink import open_store
from genomix.schemas.genotypes import COMPONENT_SCORES, EIGENVALUES
from genomix.variants.pca import fit_pca, project
from genomix_cli.app import main
from tests.genotype_store import store_of
from tests.pipes import piped
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


def test_projected_people_are_judged_only_when_corrected(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fit.txt").write_text("".join(f"s{i}\n" for i in range(40)))
    arguments = ["variants", "pca", str(cohort), *PLAIN, "--fit-samples", str(tmp_path / "fit.txt")]
    assert main([*arguments, "-o", str(tmp_path / "o")]) == 0
    plain = pl.read_parquet(tmp_path / "o.components.parquet")
    assert plain["is_outlier"].is_null().to_list() == [False] * 40 + [True] * 20
    assert plain["distance"].null_count() == 0
    printed = capsys.readouterr().err
    assert "20 projected samples lie nearer to the origin" in printed
    values = EIGENVALUES.validate(pl.read_csv(tmp_path / "o.eigenvalues.tsv", separator="\t", null_values="NA"))
    found = plain.filter(~pl.col("fitted")).select(pl.col("^pc_.*$").std()).row(0)
    np.testing.assert_allclose(values["projected_sd"], found)
    assert "SD of projected scores, found (fitted: 1): " + " ".join(f"{v:.2f}" for v in found) in printed
    assert values["expected_sd"].is_between(0.1, 1).all()
    assert main([*arguments, "-o", str(tmp_path / "c"), "--correct-shrinkage", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["not_judged"] == 0
    np.testing.assert_allclose(told["projected_sd"], found)
    mended = pl.read_parquet(tmp_path / "c.components.parquet")
    assert mended["is_outlier"].null_count() == 0
    np.testing.assert_allclose(components(tmp_path / "c.components.parquet")[:40], plain[:40, 4:], atol=1e-4)
    spread = mended[40:].select(pl.col("^pc_.*$").std()).to_numpy()[0]
    assert (np.abs(spread - 1) < np.abs(np.array(found) - 1)).all()


def test_a_table_in_tsv_has_the_same_columns(cohort: Path, tmp_path: Path) -> None:
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), *PLAIN, "-q"]) == 0
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "t.tsv"), *PLAIN, "-q"]) == 0
    table = pl.read_parquet(tmp_path / "o.components.parquet")
    assert COMPONENT_SCORES.validate(table).columns[-2:] == ["pc_1", "pc_2"]
    text = pl.read_csv(tmp_path / "t.components.tsv", separator="\t", null_values="NA", schema=table.schema)
    assert text.equals(table)
    assert (tmp_path / "t.model.parquet").exists()


def test_lists_that_name_nobody_to_fit(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = {
        "fit": range(20), "rest": range(20, 60), "two": range(2), "none": range(100, 103),
        "some": [*range(30), *range(70, 80)],
    }  # fmt: skip
    for name, numbers in lists.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"s{i}\n" for i in numbers))

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), *PLAIN, *arguments])
        return code, capsys.readouterr().err

    fit, rest, two, none, some = (str(tmp_path / f"{name}.txt") for name in lists)
    code, said = run("--fit-samples", fit, "--keep", rest)
    assert code == 6
    assert "none of the 20 samples that --fit-samples names is kept" in said
    assert fit in said
    assert rest in said
    code, said = run("--fit-samples", two)
    assert code == 8
    assert "2 components cannot be fitted on 2 samples" in said
    assert "at least 3 samples" in said
    for option in ("--keep", "--fit-samples"):
        code, said = run(option, none)
        assert code == 6
        assert f"none of the 3 samples that {option} names" in said
        assert none in said
        assert str(cohort) in said
    assert not list(tmp_path.glob("o.*"))
    code, said = run("--fit-samples", some)
    assert code == 0
    assert said.count("warning") == 1
    assert "10 of 40 listed samples are not in the genotypes (--fit-samples some.txt)" in said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-k", "0"], 2),
        (["--maf", "nan"], 2),
        (["--outlier-p", "nan"], 2),
        (["--prune-kb", "99999999"], 2),
        (["--seed", "-1"], 2),
        (["--model", "m.parquet", "--correct-shrinkage"], 8),
        (["-k", "60", *PLAIN[2:]], 8),
        (["--method", "guess"], 2),
        (["--model", "absent.parquet"], 3),
        (["--ancestry-column", "nowhere"], 8),
    ],
)
def test_wrong_arguments(cohort: Path, tmp_path: Path, arguments: list[str], code: int) -> None:
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), *arguments]) == code
    assert not list(tmp_path.glob("o.*"))


@pytest.mark.parametrize("place", ["/proc/x", "{folder}/file/x", "/proc/self/fd/none/x"])
def test_nothing_is_computed_for_a_place_that_takes_no_file(
    cohort: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    prefix = place.format(folder=tmp_path)
    for command in ("qc", "kinship", "ld-prune", "pca"):
        out = f"{prefix}.tsv" if command == "kinship" else prefix
        assert main(["variants", command, str(cohort), "-o", out]) == 9
        printed = capsys.readouterr().err
        assert "cannot write" in printed
        assert "samples, " not in printed


def test_outputs_that_are_devices_or_folders(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "k.tsv").symlink_to("/dev/full")
    assert main(["variants", "kinship", str(cohort), "-o", str(tmp_path / "k.tsv")]) == 9
    (tmp_path / "p.prune.out").mkdir()
    assert main(["variants", "ld-prune", str(cohort), "-o", str(tmp_path / "p")]) == 9
    assert not (tmp_path / "p.prune.in").exists()


def test_no_output_replaces_an_input_or_another_output(cohort: Path, tmp_path: Path) -> None:
    same = tmp_path / "k.tsv"
    assert main(["variants", "kinship", str(cohort), "-o", str(same), "--groups", str(tmp_path / "." / "k.tsv")]) == 8
    assert not same.exists()
    listed = tmp_path / "p.prune.in"
    listed.write_text("1:10:A:G\n1:20:A:G\n")
    assert main(["variants", "ld-prune", str(cohort), "-o", str(tmp_path / "p"), "--extract", str(listed)]) == 8
    assert listed.read_text() == "1:10:A:G\n1:20:A:G\n"
    info = tmp_path / "q.thresholds.tsv"
    info.write_text("sample_id\tsex\ns1\t1\n")
    assert main(["variants", "qc", str(cohort), "-o", str(tmp_path / "q"), "--sample-info", str(info)]) == 8
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), *PLAIN, "-q"]) == 0
    model = tmp_path / "o.components.parquet"
    (tmp_path / "o.model.parquet").rename(model)
    assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), "--model", str(model)]) == 8


@pytest.mark.parametrize(
    ("command", "arguments", "steps"),
    [
        ("kinship", [], ["comparing"]),
        ("ld-prune", ["--window", "10"], ["pruning"]),
        ("pca", ["-k", "2", "--prune-kb", "1"], ["comparing", "pruning", "fitting", "projecting"]),
    ],
)
def test_long_steps_tell_how_far_they_are_unless_quiet(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, arguments: list[str], steps: list[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("genomix_cli.progress._QUIET_SECONDS", 0.0)
    monkeypatch.setattr("genomix_cli.progress._Lines.every", 0.0)
    for name in ("kinship._BLOCK_CALLS", "pca._LARGEST_BLOCK"):
        monkeypatch.setattr(f"genomix.variants.{name}", 64)
    written = []
    for folder, more in (("loud", []), ("quiet", ["-q"])):
        (tmp_path / folder).mkdir()
        out = tmp_path / folder / ("o.tsv" if command == "kinship" else "o")
        assert main(["variants", command, str(cohort), "-o", str(out), *arguments, *more]) == 0
        written.append({p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()})
        said = capsys.readouterr().err
        for step in steps:
            shares = [int(share) for share in re.findall(rf"^{step}: (\d+) %, .*/s, .* left$", said, re.MULTILINE)]
            assert shares == sorted(shares)
            assert (len(shares) > 1 and shares[-1] == 100) if folder == "loud" else not shares
    assert said == ""
    assert written[0] == written[1]


def test_nothing_that_varies_is_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cohort = str(store_of(tmp_path, np.zeros((50, 20), dtype=np.int8)).prefix)
    for options in ([], ["--maf", "0"], ["--maf", "0", "--no-prune"]):
        assert main(["variants", "pca", cohort, "-o", str(tmp_path / "o"), "-k", "2", *options]) == 8
        said = capsys.readouterr().err
        assert "none of 50 autosomal variants with one ALT varies among the 20 samples" in said
        assert "other genotypes, or other samples to fit on" in said
    with pytest.raises(ConfigError, match="none of 5 variants varies among the 20 samples"):
        fit_pca(np.zeros((5, 20), dtype=np.int8), n_components=2)
    rare = np.zeros((50, 20), dtype=np.int8)
    rare[:, 0] = 1
    cohort = str(store_of(tmp_path, rare).prefix)
    assert main(["variants", "pca", cohort, "-o", str(tmp_path / "o"), "-k", "2", "--maf", "0.3"]) == 8
    assert (
        "none of the 50 variants that vary among the 20 samples to fit on passes --maf 0.3" in capsys.readouterr().err
    )


def test_lists_that_can_be_read_once_only(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted, ids = "".join(f"s{i}\n" for i in range(30)), open_store(cohort).variants["variant_id"].to_list()
    with piped(fitted.encode()) as fit, piped("\n".join(ids).encode()) as extract:
        wanted = ["-o", str(tmp_path / "o"), *PLAIN, "--fit-samples", str(fit), "--extract", str(extract)]
        assert main(["variants", "pca", str(cohort), *wanted]) == 0, capsys.readouterr().err
    assert pl.read_parquet(tmp_path / "o.components.parquet")["fitted"].sum() == 30
    for option in ("--keep", "--extract"):
        assert main(["variants", "pca", str(cohort), "-o", str(tmp_path / "o"), option, str(tmp_path)]) == 3
        assert "Is a directory" in capsys.readouterr().err
