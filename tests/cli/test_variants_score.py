"""``genomix variants score`` on a small fileset: results, files beside it, refusals and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.schemas.scores import SAMPLE_SCORES, SCORE_FACTS, SCORE_MATCHES, SCORE_METADATA, SCORE_VERDICTS
from genomix.variants.pca import project_store
from genomix_cli.app import main
from tests.genotype_store import random_calls, store_of
from tests.pipes import piped

N_VARIANTS, N_SAMPLES = 60, 80
VARIANTS = [("1" if i < 40 else "2", 1000 * (i + 1), "A", "G") for i in range(N_VARIANTS)]


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    return random_calls(N_VARIANTS, N_SAMPLES, seed=21, missing=0.05)


@pytest.fixture(scope="module")
def cohort(calls: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("cohort"), calls, variants=VARIANTS).prefix


def weight(i: int) -> float:
    return 0.1 * (i % 7) - 0.25


def scoring_file(folder: Path, name: str = "PGS1", *, n: int = 40, extra: str = "", build: str = "GRCh38") -> Path:
    rows = [f"{c}\t{p}\tG\tA\t{weight(i)!r}" for i, (c, p, _, _) in enumerate(VARIANTS[:n])]
    path = folder / f"{name}.txt"
    head = (
        f"#pgs_id={name}\n#genome_build={build}\nchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n"
    )
    path.write_text(head + "\n".join(rows) + "\n" + extra)
    return path


def mean_imputed(calls: np.ndarray, teachers: np.ndarray | None = None) -> np.ndarray:
    filled = calls.astype(float)
    for row, known in zip(filled, calls, strict=True):
        seen = known if teachers is None else known[teachers]
        row[known < 0] = seen[seen >= 0].mean()
    return filled


def test_scores_match_report_and_metadata(cohort: Path, calls: np.ndarray, tmp_path: Path, capsys) -> None:
    file = scoring_file(tmp_path, extra="9\t5\tA\tC\t0.5\n")
    out = tmp_path / "scores.parquet"
    command = ["variants", "score", str(cohort), "--score-file", str(file), "-o", str(out)]
    assert main([*command, "--discovery-cohorts", "none", "--details", str(tmp_path / "d.tsv")]) == 0
    table = pl.read_parquet(out)
    assert table["sample_id"].to_list() == [f"s{i}" for i in range(N_SAMPLES)]
    expected = np.array([weight(i) for i in range(40)]) @ mean_imputed(calls)[:40]
    np.testing.assert_allclose(table["PGS1_sum"], expected, atol=1e-12)
    np.testing.assert_allclose(table["PGS1_average"], expected / 80, atol=1e-12)
    assert table["PGS1_DENOM"].unique().to_list() == [80]
    assert table["PGS1_ALLELE_CT"].to_list() == (2 * (calls[:40] >= 0).sum(axis=0)).tolist()
    matches = pl.read_parquet(tmp_path / "scores.matches.parquet")
    assert dict(matches.filter(pl.col("n_weights") > 0).select("status", "n_weights").iter_rows()) == {
        "matched": 40, "missing": 1,
    }  # fmt: skip
    facts = json.loads((tmp_path / "scores.json").read_text())
    assert facts["scores"][0]["discovery_cohorts"] == "none"
    assert facts["scores"][0]["build"] == "GRCh38"
    details = pl.read_csv(tmp_path / "d.tsv", separator="\t", null_values="NA")
    assert details["status"].to_list() == ["matched"] * 40 + ["missing"]
    assert details["line"].to_list() == list(range(4, 45))
    said = capsys.readouterr()
    assert said.out == ""
    assert "97.6% of 41 variants used" in said.err
    assert "missing: 1" in said.err


def test_the_same_bytes_for_any_number_of_threads(cohort: Path, tmp_path: Path) -> None:
    file = scoring_file(tmp_path)
    outputs = []
    for threads in ("1", "2"):
        out = tmp_path / f"t{threads}.tsv"
        assert (
            main(["variants", "score", str(cohort), "-s", str(file), "-o", str(out), "--threads", threads, "-q"]) == 0
        )
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1]


def test_z_scores_are_fitted_on_the_named_samples(cohort: Path, calls: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(N_SAMPLES, 5))
    names = [f"s{i}" for i in range(N_SAMPLES)]
    components = {f"PC{k + 1}": x[:, k] for k in range(5)}
    pl.DataFrame({"IID": names, **components}).write_csv(tmp_path / "pcs.tsv", separator="\t")
    teachers = np.arange(0, N_SAMPLES, 2)
    (tmp_path / "fit.txt").write_text("\n".join(names[i] for i in teachers) + "\n")
    file = scoring_file(tmp_path)
    command = ["variants", "score", str(cohort), "-s", str(file), "--fit-samples", str(tmp_path / "fit.txt"), "-q"]
    given = ["--pcs", str(tmp_path / "pcs.tsv"), "--n-pcs", "2"]
    assert main([*command, *given, "-o", str(tmp_path / "z.parquet")]) == 0
    table = pl.read_parquet(tmp_path / "z.parquet")
    total = np.array([weight(i) for i in range(40)]) @ mean_imputed(calls, teachers)[:40]
    np.testing.assert_allclose(table["PGS1_sum"], total, atol=1e-12)
    design = np.column_stack([np.ones(N_SAMPLES), x[:, :2]])
    residual = total - design @ np.linalg.lstsq(design[teachers], total[teachers], rcond=None)[0]
    np.testing.assert_allclose(table["PGS1_z_mean"], residual / residual[teachers].std(), atol=1e-9)
    assert table["PGS1_z_mean_variance"].null_count() == 0
    reference = table.select("sample_id", "PGS1_sum")[teachers.tolist()]
    reference.write_parquet(tmp_path / "reference.parquet")
    others = ["--reference-scores", str(tmp_path / "reference.parquet"), "--adjust", "mean"]
    assert main([*command, *given, *others, "-o", str(tmp_path / "r.parquet")]) == 0
    again = pl.read_parquet(tmp_path / "r.parquet")
    assert "PGS1_z_mean_variance" not in again.columns
    assert main([*command, "--compute-pcs", "2", "-o", str(tmp_path / "c.parquet")]) == 0
    facts = json.loads((tmp_path / "c.json").read_text())
    assert facts["ancestry"].endswith("fitted on 40 fit samples")
    assert facts["scores"][0]["adjustment"]["n_fitted"] == 40


def test_several_scores_kept_samples_and_standard_output(cohort: Path, tmp_path: Path, capsys) -> None:
    files = [scoring_file(tmp_path, "PGS1"), scoring_file(tmp_path, "PGS2", n=20)]
    (tmp_path / "keep.txt").write_text("s5\ns2\n")
    command = ["variants", "score", str(cohort), "-s", str(files[0]), "-s", str(files[1])]
    assert main([*command, "--keep", str(tmp_path / "keep.txt"), "--missing", "none", "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t") == ["sample_id"] + [
        f"{name}_{part}" for name in ("PGS1", "PGS2") for part in ("sum", "average", "ALLELE_CT", "DENOM")
    ]
    assert [line.split("\t")[0] for line in lines[1:]] == ["s2", "s5"]
    cohorts = ["--discovery-cohorts", "unknown", "--discovery-cohorts", "PGS2=overlaps"]
    assert main([*command, *cohorts, "--json", "-q"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [s["discovery_cohorts"] for s in facts["scores"]] == ["unknown", "overlaps"]


def test_frequencies_of_others_stand_in_for_missing_genotypes(cohort: Path, calls: np.ndarray, tmp_path: Path) -> None:
    rows = [f"{c}\t{p}\tA\tG\t0.125" for c, p, _, _ in VARIANTS]
    (tmp_path / "f.tsv").write_text("contig\tposition\tref\talt\talt_frequency\n" + "\n".join(rows) + "\n")
    out = tmp_path / "s.parquet"
    command = ["variants", "score", str(cohort), "-s", str(scoring_file(tmp_path)), "-o", str(out), "-q"]
    assert main([*command, "--frequencies", str(tmp_path / "f.tsv")]) == 0
    filled = np.where(calls[:40] < 0, 0.25, calls[:40])
    expected = np.array([weight(i) for i in range(40)]) @ filled
    np.testing.assert_allclose(pl.read_parquet(out)["PGS1_sum"], expected, atol=1e-12)


def test_refusals(cohort: Path, tmp_path: Path, capsys) -> None:
    def run(*arguments: str | Path) -> int:
        return main(["variants", "score", str(cohort), *(str(a) for a in arguments), "-q"])

    file = scoring_file(tmp_path)
    absent = "".join(f"7\t{i}\tA\tC\t1\n" for i in range(100))
    poor = scoring_file(tmp_path, "POOR", extra=absent)
    haplotype = tmp_path / "H.txt"
    text = scoring_file(tmp_path, "X").read_text().replace("effect_weight\n", "effect_weight\tis_haplotype\n")
    haplotype.write_text(text.replace("-0.25\n", "-0.25\tTRUE\n", 1))
    (tmp_path / "nobody.txt").write_text("x1\n")
    (tmp_path / "some.txt").write_text("x1\n" + "\n".join(f"s{i}" for i in range(30)) + "\n")
    (tmp_path / "a.txt").write_text("\n".join(f"s{i}" for i in range(30)) + "\n")
    (tmp_path / "b.txt").write_text("\n".join(f"s{i}" for i in range(30, 60)) + "\n")
    (tmp_path / "pcs.tsv").write_text("IID\tPC1\ns0\t0.1\ns1\tsecret\n")
    for arguments, code, words in (
        (("-s", poor), 4, "lower --min-overlap (minimum_coverage in a study)"),
        (("-s", file, "--keep", tmp_path / "b.txt", "--fit-samples", tmp_path / "a.txt"), 6, "--fit-samples names is"),
        (("-s", file, "--pcs", tmp_path / "pcs.tsv", "--n-pcs", "1"), 4, "column PC1 holds something that is not"),
        (("-s", file, "--pcs", tmp_path / "pcs.tsv", "--n-pcs", "1"), 4, "pcs.tsv:3"),
        (("-s", file, "-o", tmp_path / "PGS1.tsv", "--details", tmp_path / "PGS1.tsv"), 8, "are the same file"),
        (("-s", file, "--details", tmp_path / "s.json", "-o", tmp_path / "s.tsv"), 8, "json"),
        (("-s", file, "-o", tmp_path / "pcs.tsv", "--pcs", tmp_path / "pcs.tsv"), 8, "that this run reads"),
        (("-s", tmp_path / "none.txt"), 3, "cannot read none.txt: No such file"),
        (("-s", poor), 4, "only 40 of the 140 variants of score POOR"),
        (("-s", scoring_file(tmp_path, "OLD", build="hg19")), 4, "GRCh37"),
        (("-s", file, "-s", file), 8, "two scores are named 'PGS1'"),
        (("-s", haplotype, "--strict"), 4, "haplotype (1 such rows of 40)"),
        (("-s", file, "-o", tmp_path / "s.csv"), 8, ".parquet or .tsv"),
        (("-s", file, "--discovery-cohorts", "PGS9=none"), 8, "not understood"),
        (("-s", file, "--keep", tmp_path / "nobody.txt"), 6, "that --keep names is in calls"),
        (
            ("-s", file, "--fit-samples", tmp_path / "some.txt", "--strict"),
            15,
            "1 of 31 listed samples are not in the genotypes (--fit-samples",
        ),
        (("-s", file, "--pcs", "a", "--compute-pcs", "2"), 8, "exclude each other"),
        (("-s", file, "--reference-scores", "a"), 8, "need --pcs"),
        (("-s", file, "--min-overlap", "2"), 2, "--min-overlap"),
        ((), 2, "--score-file"),
    ):
        assert run(*arguments) == code, arguments
        said = capsys.readouterr().err
        assert words in said
        assert "secret" not in said
    assert run("-s", poor, "--min-overlap", "0.2") == 0
    assert run("-s", haplotype) == 0


def test_scores_without_imputation_lack_no_frequency(cohort: Path, tmp_path: Path, capsys) -> None:
    command = ["variants", "score", str(cohort), "-s", str(scoring_file(tmp_path)), "--missing", "none", "--strict"]
    assert main([*command, "--json", "-q"]) == 0
    said = capsys.readouterr()
    assert "allele frequency" not in said.err
    assert json.loads(said.out)["scores"][0]["n_without_frequency"] is None


def test_a_build_that_is_not_known_is_told(calls: np.ndarray, tmp_path: Path, capsys) -> None:
    store = store_of(tmp_path, calls, variants=VARIANTS, build=None)
    command = ["variants", "score", str(store.prefix), "-s", str(scoring_file(tmp_path)), "-q"]
    assert main(command) == 0
    assert "positions of GRCh38, and the build of the genotypes is unknown" in capsys.readouterr().err
    assert main([*command, "--strict"]) == 15
    capsys.readouterr()
    assert main(["variants", "score", str(store.prefix), "-s", str(scoring_file(tmp_path, build="NR")), "-q"]) == 0
    assert "is unknown" not in capsys.readouterr().err


def test_wide_tables_give_a_score_of_each_column(cohort: Path, tmp_path: Path, capsys) -> None:
    head = "chr pos A1 A2 BMI LDL note"
    rows = [f"{c} {p} G A {weight(i)!r} {0.5 + i!r} x" for i, (c, p, _, _) in enumerate(VARIANTS[:40])]
    (tmp_path / "wide.txt").write_text("\n".join([head, *rows]) + "\n")
    out = tmp_path / "w.parquet"
    command = ["variants", "score", str(cohort), "-s", str(tmp_path / "wide.txt"), "-o", str(out), "-q"]
    assert main([*command, "--score-columns", "BMI, LDL"]) == 0
    wide = pl.read_parquet(out)
    one = ["variants", "score", str(cohort), "-s", str(scoring_file(tmp_path)), "-o", str(tmp_path / "o.parquet"), "-q"]
    assert main(one) == 0
    assert wide["BMI_sum"].to_list() == pl.read_parquet(tmp_path / "o.parquet")["PGS1_sum"].to_list()
    assert "LDL_sum" in wide.columns
    for columns, code in (("BMI,HDL", 8), ("BMI,BMI", 8), ("note", 4)):
        assert main([*command, "--score-columns", columns]) == code
    assert "HDL" in capsys.readouterr().err


def test_z_scores_do_not_depend_on_who_else_is_scored(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_company(*arguments: Any, **options: Any) -> np.ndarray:
        """A matrix product whose last bits depend on its size."""
        found = project_store(*arguments, **options)
        return found + 1e-7 * len(found)

    monkeypatch.setattr("genomix.variants.score_ancestry.project_store", by_company)
    (tmp_path / "fit.txt").write_text("\n".join(f"s{i}" for i in range(40)) + "\n")
    (tmp_path / "keep.txt").write_text("\n".join(f"s{i}" for i in range(47)) + "\n")
    command = ["variants", "score", str(cohort), "-s", str(scoring_file(tmp_path)), "--compute-pcs", "2", "-q"]
    command += ["--fit-samples", str(tmp_path / "fit.txt")]
    assert main([*command, "-o", str(tmp_path / "all.parquet")]) == 0
    assert main([*command, "-o", str(tmp_path / "some.parquet"), "--keep", str(tmp_path / "keep.txt")]) == 0
    everyone, some = pl.read_parquet(tmp_path / "all.parquet"), pl.read_parquet(tmp_path / "some.parquet")
    assert everyone[:47].equals(some)


def test_what_is_written_is_what_the_schemas_say(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    command = ["variants", "score", str(cohort), "-s", str(scoring_file(tmp_path)), "--compute-pcs", "2", "-q"]
    assert main([*command, "-o", str(out), "--details", str(tmp_path / "d.parquet")]) == 0
    assert pl.read_parquet(out).columns == [n.replace("<score>", "PGS1") for n in SAMPLE_SCORES.names]
    for name, schema in (("s.matches.parquet", SCORE_MATCHES), ("d.parquet", SCORE_VERDICTS)):
        assert pl.read_parquet(tmp_path / name).columns == schema.names
    facts = json.loads((tmp_path / "s.json").read_text())
    assert sorted(facts) == sorted(SCORE_METADATA.names)
    assert sorted(facts["scores"][0]) == sorted(SCORE_FACTS.names)


def test_a_split_site_is_judged_as_one_record_of_several_alts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = "##fileformat=VCFv4.2\n##contig=<ID=1,length=248956422>\n"
    head += '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    head += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\n"
    row = "1\t20\t.\tC\t{}\t.\t.\t.\tGT\t{}\n"
    files = {
        "kept": head + row.format("T,A", "0/1\t2/2\t1/2"),
        "split": head + row.format("T", "0/1\t0/0\t0/1") + row.format("A", "0/0\t1/1\t0/1"),
    }
    table = tmp_path / "s.tsv"
    table.write_text("chr_name\tchr_position\teffect_allele\teffect_weight\n1\t20\tC\t1\n")
    for name, text in files.items():
        (tmp_path / f"{name}.vcf").write_text(text)
        out = tmp_path / f"{name}.parquet"
        command = ["variants", "score", str(tmp_path / f"{name}.vcf"), "--score-file", str(table), "-o", str(out)]
        assert main(command) != 0, name
        assert "1 multi-allelic without other allele" in capsys.readouterr().err
        assert not out.exists()


def test_tables_without_rows_or_positions_say_what_to_do(cohort: Path, tmp_path: Path, capsys) -> None:
    table = tmp_path / "ids.tsv"
    table.write_text("rsID\teffect_allele\tother_allele\teffect_weight\n")
    assert main(["variants", "score", str(cohort), "-s", str(table)]) == 4
    assert "ids.tsv has column names and no weight below them" in capsys.readouterr().err
    table.write_text(table.read_text() + "".join(f"x{i}\tG\tA\t0.1\n" for i in range(5)))
    assert main(["variants", "score", str(cohort), "-s", str(table)]) == 4
    assert "Try: --match-ids (match_ids in a study)" in capsys.readouterr().err


def test_options_of_z_scores_need_components(cohort: Path, tmp_path: Path, capsys) -> None:
    command = ["variants", "score", str(cohort), "-s", str(scoring_file(tmp_path)), "-o", str(tmp_path / "s.tsv"), "-q"]
    for options, words in (
        (["--adjust", "mean"], "--adjust without --pcs or --compute-pcs"),
        (["--adjust", "mean+variance"], "--adjust without --pcs or --compute-pcs"),
        (["--n-pcs", "3"], "--n-pcs without --pcs"),
        (["--n-pcs", "3", "--compute-pcs", "2"], "--n-pcs without --pcs"),
    ):
        assert main([*command, *options]) == 8
        assert words in capsys.readouterr().err
    assert not (tmp_path / "s.tsv").exists()


def test_tables_that_can_be_read_once_only(cohort: Path, tmp_path: Path, capsys) -> None:
    keep = "".join(f"s{i}\n" for i in range(30)).encode()
    file = scoring_file(tmp_path)
    (tmp_path / "keep.txt").write_bytes(keep)
    command = ["variants", "score", str(cohort), "-q", "--strict"]
    assert main([*command, "-s", str(file), "--keep", str(tmp_path / "keep.txt"), "-o", str(tmp_path / "a.tsv")]) == 0
    with piped(file.read_bytes()) as weights, piped(keep) as kept:
        wanted = ["-s", str(weights), "--keep", str(kept), "-o", str(tmp_path / "b.tsv")]
        assert main([*command, *wanted]) == 0, capsys.readouterr().err
    one, two = (pl.read_csv(tmp_path / f"{n}.tsv", separator="\t") for n in "ab")
    assert one.height == 30
    assert one["PGS1_sum"].equals(two["PGS1_sum"])
