"""``genomix variants burden``: tables, counts, tests, wrong arguments, exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.schemas.burden import BURDEN_COUNTS, BURDEN_GENES, BURDEN_TESTS, BURDEN_VARIANTS
from genomix_cli.app import main
from tests.genotype_store import store_of
from tests.pipes import piped

VARIANTS = [("1", 100 + 10 * i, "A", "G") for i in range(5)]
ANNOTATED = """##fileformat=VCFv4.3
##INFO=<ID=CSQ,Number=.,Type=String,Description="Consequence annotations. Format: Allele|Consequence|SYMBOL|Feature">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
chr1\t100\t.\tA\tG\t.\t.\tCSQ=G|stop_gained|ALPHA|T1
chr1\t110\t.\tA\tG\t.\t.\tCSQ=G|missense_variant|ALPHA|T1
chr1\t120\t.\tA\tG\t.\t.\tCSQ=G|missense_variant|BETA|T2
chr1\t130\t.\tA\tG\t.\t.\tCSQ=G|intron_variant|GAMMA|T3
chr1\t999\t.\tA\tG\t.\t.\tCSQ=G|stop_gained|DELTA|T4
"""
N = 40


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    rng = np.random.default_rng(6)
    found = rng.binomial(2, 0.08, (5, N)).astype(np.int8)
    found[1, 3] = -9
    return found


@pytest.fixture
def study(tmp_path: Path, calls: np.ndarray) -> Path:
    store_of(tmp_path, calls, variants=VARIANTS)
    (tmp_path / "a.vcf").write_text(ANNOTATED)
    rng = np.random.default_rng(8)
    rows = [f"s{i}\t{rng.normal():.4f}\t{1 + i % 2}\t{rng.normal():.4f}" for i in range(N)]
    (tmp_path / "p.tsv").write_text("IID\theight\tcase\tage\n" + "\n".join(rows) + "\n")
    return tmp_path


def burden(study: Path, *arguments: str, out: str = "b.tsv") -> int:
    return main(["variants", "burden", str(study / "calls"), "-o", str(study / out), *arguments])


def test_the_matrix_and_its_companions(study: Path, calls: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    assert burden(study, "--annotation", str(study / "a.vcf"), "--max-frequency", "0.5", out="b.parquet") == 0
    told = capsys.readouterr()
    assert told.out == ""
    matrix = pl.read_parquet(study / "b.parquet")
    assert matrix.columns == ["sample_id", "ALPHA:lof", "ALPHA:missense+lof", "BETA:missense+lof"]
    assert matrix["sample_id"].to_list() == [f"s{i}" for i in range(N)]
    assert matrix["ALPHA:missense+lof"].to_list() == np.maximum(calls[:2], 0).sum(axis=0).tolist()
    genes = pl.read_parquet(study / "b.genes.parquet")
    assert genes.height == 8
    reason = {(g, m): r for g, m, r in genes.select("gene", "mask", "reason").iter_rows()}
    assert reason[("DELTA", "lof")] == "no annotated variant is in the genotypes"
    assert reason[("GAMMA", "lof")] == "no variant has a consequence of the mask"
    variants = pl.read_parquet(study / "b.variants.parquet")
    assert variants["position"].to_list() == [100, 100, 110, 120]
    counts = json.loads((study / "b.counts.json").read_text())
    assert counts["burden"]["annotated alleles not in the genotypes"] == 1
    assert counts["burden"]["alleles of the genotypes that the annotation file lacks"] == 1
    assert "annotated alleles not in the genotypes: 1" in told.err
    assert "genes x masks: no variant has a consequence of the mask" in told.err
    assert not (study / "b.tests.parquet").exists()


def test_phenotypes_are_tested(study: Path) -> None:
    both = ["--annotation", str(study / "a.vcf"), "--mask", "missense+lof", "--max-frequency", "0.5", "-q"]
    tables = ["--phenotype", str(study / "p.tsv"), "--covariates", str(study / "p.tsv"), "--covariate-names", "age"]
    assert burden(study, *both, *tables, "--phenotype-name", "height", "--test", "all") == 0
    tests = pl.read_csv(study / "b.tests.tsv", separator="\t", null_values="NA")
    assert tests["test"].to_list() == ["linear"] * 2 + ["skat", "skat-o"] * 2
    assert tests["p"].is_between(0, 1).all()
    matrix = pl.read_csv(study / "b.tsv", separator="\t")
    table = pl.read_csv(study / "p.tsv", separator="\t")
    design = np.column_stack([np.ones(N), table["age"], matrix["ALPHA:missense+lof"]])
    beta = np.linalg.lstsq(design, table["height"].to_numpy(), rcond=None)[0]
    assert tests["beta"][0] == pytest.approx(beta[-1], rel=1e-6)
    assert burden(study, *both, *tables, "--phenotype-name", "case") == 0
    assert set(pl.read_csv(study / "b.tests.tsv", separator="\t", null_values="NA")["test"]) <= {"logistic", "firth"}


def test_an_offset_is_taken_from_the_phenotype(study: Path) -> None:
    table = pl.read_csv(study / "p.tsv", separator="\t")
    shift = np.linspace(-1, 1, N)
    lines = [f"{i}\t{x}" for i, x in zip(table["IID"], shift, strict=True)]
    (study / "o.tsv").write_text("IID\toffset\n" + "\n".join(lines) + "\n")
    arguments = ["--annotation", str(study / "a.vcf"), "--mask", "missense+lof", "--max-frequency", "0.5", "-q"]
    arguments += ["--phenotype", str(study / "p.tsv"), "--phenotype-name", "height"]
    assert burden(study, *arguments, "--offset", str(study / "o.tsv"), "--test", "all") == 0
    tests = pl.read_csv(study / "b.tests.tsv", separator="\t", null_values="NA")
    assert tests["gene"].to_list() == ["ALPHA", "BETA", "ALPHA", "ALPHA", "BETA", "BETA"]
    matrix = pl.read_csv(study / "b.tsv", separator="\t")
    for row, name in enumerate(("ALPHA", "BETA")):
        design = np.column_stack([np.ones(N), matrix[f"{name}:missense+lof"]])
        beta = np.linalg.lstsq(design, table["height"].to_numpy() - shift, rcond=None)[0]
        assert tests["beta"][row] == pytest.approx(beta[-1], rel=1e-6)


def test_some_samples_weights_and_masks_from_files(study: Path, calls: np.ndarray) -> None:
    (study / "keep.txt").write_text("s7\ns2\ns30\n")
    (study / "m.toml").write_text('[[mask]]\nname = "M"\nconsequences = ["lof"]\nmax_frequency = 1.0\n')
    (study / "w.tsv").write_text("contig\tposition\tref\talt\tweight\n1\t100\tA\tG\t2.5\n")
    code = burden(
        study, "--annotation", str(study / "a.vcf"), "--masks", str(study / "m.toml"),
        "--keep", str(study / "keep.txt"), "--weights", str(study / "w.tsv"), "-q", out="b.csv",
    )  # fmt: skip
    assert code == 0
    matrix = pl.read_csv(study / "b.csv")
    assert matrix["sample_id"].to_list() == ["s2", "s7", "s30"]
    assert matrix["ALPHA:M"].to_list() == (2.5 * calls[0, [2, 7, 30]]).tolist()


def test_gene_intervals(study: Path, calls: np.ndarray) -> None:
    (study / "g.bed").write_text("chr1\t99\t115\tONE\nchr1\t500\t600\tTWO\n")
    assert burden(study, "--genes", str(study / "g.bed"), "--max-frequency", "1", "--collapse", "carrier", "-q") == 0
    matrix = pl.read_csv(study / "b.tsv", separator="\t")
    assert matrix.columns == ["sample_id", "ONE:all"]
    assert matrix["ONE:all"].to_list() == (calls[:2] > 0).any(axis=0).astype(float).tolist()


def test_json_and_strict(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--annotation", str(study / "a.vcf"), "--max-frequency", "0.5", "-q"]
    assert burden(study, *options, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["genes"] == 4
    assert burden(study, *options, "--strict") == 15


def test_two_runs_give_the_same_bytes(study: Path) -> None:
    options = ["--annotation", str(study / "a.vcf"), "--max-frequency", "0.5", "--weights", "beta", "-q"]
    assert burden(study, *options, "--missing", "mean", out="one.tsv") == 0
    assert burden(study, *options, "--missing", "mean", "--threads", "2", out="two.tsv") == 0
    for word in ("", ".genes", ".variants"):
        assert (study / f"one{word}.tsv").read_bytes() == (study / f"two{word}.tsv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 8, "--annotation or from --genes"),
        (["--annotation", "a.vcf", "--genes", "g.bed"], 8, "--annotation or from --genes"),
        (["--annotation", "none.vcf"], 3, "none.vcf"),
        (["--annotation", "a.vcf", "--mask", "misense"], 8, "misense"),
        (["--annotation", "a.vcf", "--mask", "lof", "--masks", "m.toml"], 8, "masks are given twice"),
        (["--annotation", "a.vcf", "--transcripts", "mane"], 8, "does not mark MANE"),
        (["--annotation", "a.vcf", "--collapse", "weighted"], 8, "belong together"),
        (["--annotation", "a.vcf", "--max-frequency", "2"], 2, ""),
        (["--annotation", "a.vcf", "--weights", "none.tsv"], 3, "none.tsv"),
        (["--annotation", "a.vcf", "--phenotype", "p.tsv"], 8, "holds 3 phenotypes"),
        (["--annotation", "a.vcf", "--phenotype", "p.tsv", "--phenotype-name", "weight"], 8, "weight"),
    ],
)
def test_wrong_arguments(
    study: Path, arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = [str(study / a) if a.endswith((".vcf", ".bed", ".tsv", ".toml")) else a for a in arguments]
    assert burden(study, *there) == code
    assert words in capsys.readouterr().err
    assert not (study / "b.tsv").exists()


def test_an_output_without_a_format_is_refused_first(study: Path) -> None:
    assert burden(study, "--annotation", str(study / "a.vcf"), out="b.xlsx") == 8


def test_relatives_are_refused_as_in_assoc(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "k.tsv").write_text("sample_id_a\tsample_id_b\tkinship\ns0\ts1\t0.25\ns0\ts2\t0.05\n")
    options = ["--annotation", str(study / "a.vcf"), "--max-frequency", "0.5", "-q"]
    options += ["--phenotype", str(study / "p.tsv"), "--phenotype-name", " height "]
    assert burden(study, *options, "--kinship", str(study / "k.tsv")) == 7
    assert "1 pairs of the 40 tested samples are related" in capsys.readouterr().err
    assert not (study / "b.tsv").exists()
    assert burden(study, *options, "--kinship", str(study / "k.tsv"), "--allow-related") == 0
    rows = "".join(f"s{i}\t0.0\n" for i in range(N))
    (study / "o.tsv").write_text("IID\toffset\n" + rows)
    assert burden(study, *options, "--kinship", str(study / "k.tsv"), "--offset", str(study / "o.tsv")) == 0
    lines = (study / "p.tsv").read_text().splitlines()
    fields = lines[1].split("\t")
    (study / "p.tsv").write_text("\n".join([lines[0], "\t".join([fields[0], "NA", *fields[2:]]), *lines[2:]]) + "\n")
    assert burden(study, *options, "--kinship", str(study / "k.tsv")) == 0, "one of the pair is not tested"


def test_missing_values_and_kinds_as_in_assoc(study: Path) -> None:
    lines = (study / "p.tsv").read_text().splitlines()
    first = lines[1].split("\t")
    (study / "p.tsv").write_text("\n".join([lines[0], "\t".join([first[0], "99", *first[2:]]), *lines[2:]]) + "\n")
    options = [
        "--annotation",
        str(study / "a.vcf"),
        "--max-frequency",
        "0.5",
        "-q",
        "--phenotype",
        str(study / "p.tsv"),
    ]

    def tested(*more: str) -> pl.DataFrame:
        assert burden(study, *options, *more) == 0
        return pl.read_csv(study / "b.tests.tsv", separator="\t", null_values="NA")

    assert set(tested("--phenotype-name", "height")["n_samples"]) == {N}
    assert set(tested("--phenotype-name", "height", "--missing-value", "99")["n_samples"]) == {N - 1}
    assert set(tested("--phenotype-name", "case", "--phenotype-kind", "quantitative")["test"]) == {"linear"}
    others = ["--covariates", str(study / "p.tsv"), "--covariate-names", " age , case"]
    assert set(tested("--phenotype-name", "height", *others)["n_samples"]) == {N}
    assert burden(study, *options[:-2], "--kinship", "k.tsv") == 8


def test_outputs_spare_inputs_and_each_other(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (study / "p.tsv").read_bytes()
    options = ["--annotation", str(study / "a.vcf"), "--phenotype", str(study / "p.tsv"), "--phenotype-name", "height"]
    assert burden(study, *options, out="p.tsv") == 8
    (study / "b.tests.tsv").write_bytes(before)
    options[3] = str(study / "b.tests.tsv")
    assert burden(study, *options) == 8
    assert "that this run reads" in capsys.readouterr().err
    assert (study / "p.tsv").read_bytes() == (study / "b.tests.tsv").read_bytes() == before


def test_lists_of_samples_behave_as_elsewhere(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--annotation", str(study / "a.vcf"), "--max-frequency", "0.5", "-q", "--keep", str(study / "k.txt")]
    (study / "k.txt").write_text("s1\ns2\nx1\nx2\n")
    assert burden(study, *options) == 0
    assert "2 of 4 listed samples are not in the genotypes" in capsys.readouterr().err
    (study / "k.txt").write_text("x1\n")
    assert burden(study, *options) == 6


def test_what_is_written_is_what_the_schemas_say(study: Path) -> None:
    options = ["--annotation", str(study / "a.vcf"), "--max-frequency", "0.5", "-q"]
    options += ["--phenotype", str(study / "p.tsv"), "--phenotype-name", "height"]
    assert burden(study, *options, out="b.parquet") == 0
    for word, schema in (("genes", BURDEN_GENES), ("variants", BURDEN_VARIANTS), ("tests", BURDEN_TESTS)):
        assert pl.read_parquet(study / f"b.{word}.parquet").columns == schema.names
    keys = json.loads((study / "b.counts.json").read_text())
    known = {n for n in BURDEN_COUNTS.names if "<" not in n}
    assert {k for k in keys if not k.startswith("genes x masks: ")} == known


def test_skat_takes_stated_weights_whatever_they_are(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    people = [f"s{i}" for i in range(100)]
    head = "##fileformat=VCFv4.2\n##contig=<ID=1,length=248956422>\n"
    head += '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    head += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(people) + "\n"
    rows = (
        f"1\t{100 + k}\tv{k}\tA\tC\t.\t.\t.\tGT\t" + "\t".join(draw.choice(["0/0", "0/1", "1/1"], 100)) + "\n"
        for k in range(20)
    )
    (tmp_path / "c.vcf").write_text(head + "".join(rows))
    (tmp_path / "g.bed").write_text("1\t0\t999\tGENE\n")
    values = "".join(f"{name}\t{value:.3f}\n" for name, value in zip(people, draw.normal(size=100), strict=True))
    (tmp_path / "q.tsv").write_text("IID\ty\n" + values)
    for weight in (1, 2):
        lines = "".join(f"v{k}\t{weight}\n" for k in range(20))
        (tmp_path / f"w{weight}.tsv").write_text("variant_id\tweight\n" + lines)
    found = {}
    for name in ("none", "beta", str(tmp_path / "w1.tsv"), str(tmp_path / "w2.tsv")):
        out = tmp_path / f"{Path(name).stem}.parquet"
        command = ["variants", "burden", str(tmp_path / "c.vcf"), "--genes", str(tmp_path / "g.bed"), "--max-frequency",
                   "1", "--phenotype", str(tmp_path / "q.tsv"), "--test", "all", "--allow-related", "--weights", name,
                   "-o", str(out), "-q"]  # fmt: skip
        assert main(command) == 0
        tests = pl.read_parquet(tmp_path / f"{Path(name).stem}.tests.parquet")
        found[Path(name).stem] = tests.filter(pl.col("test").str.starts_with("skat"))["p"].to_list()
    assert found["w1"] == pytest.approx(found["w2"], rel=1e-6)  # the scale of weights means nothing
    assert found["none"] == pytest.approx(found["beta"])
    assert found["none"] != pytest.approx(found["w1"], rel=1e-3)


def test_a_bed_of_genes_may_have_headers_and_be_a_pipe(study: Path) -> None:
    rows = "chr1\t99\t115\tONE\nchr1\t120\t600\tTWO\n"
    options = ["--max-frequency", "1", "-q"]
    (study / "g.bed").write_text(rows)
    assert burden(study, "--genes", str(study / "g.bed"), *options) == 0
    plain = (study / "b.tsv").read_bytes()
    heads = (
        "browser position chr1:1-2\ntrack name=genes\n#comment\n", "chrom\tstart\tend\tname\n",
        "#chrom\tstart\tend\tname\n",
        "track\nchr start end gene\n", "Chromosome\tchromStart\tchromEnd\tname\n",
    )  # fmt: skip
    for head in heads:
        (study / "g.bed").write_text(head + rows)
        assert burden(study, "--genes", str(study / "g.bed"), *options) == 0, head
        assert (study / "b.tsv").read_bytes() == plain
    for data in (rows.encode(), gzip.compress(rows.encode())):
        with piped(data) as genes:
            assert burden(study, "--genes", str(genes), *options) == 0
        assert (study / "b.tsv").read_bytes() == plain
    (study / "g.bed").write_text(rows + "chrom\tstart\tend\tname\n")
    assert burden(study, "--genes", str(study / "g.bed"), *options) == 4, "a header stands first"


def test_an_annotation_from_a_pipe_is_refused_in_words(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with piped((study / "a.vcf").read_bytes()) as annotation:
        assert burden(study, "--annotation", str(annotation)) == 3
    assert "is a pipe or a device, and is read more than once" in capsys.readouterr().err
    (study / "empty.anno").write_text("\n")
    assert burden(study, "--annotation", str(study / "empty.anno")) == 4
    assert "empty.anno annotates no variant" in capsys.readouterr().err


def test_options_of_tests_need_a_phenotype(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--annotation", str(study / "a.vcf"), "-q"]
    for option in (
        ["--test", "all"], ["--allow-related"], ["--model", "linear"], ["--firth", "always"],
        ["--phenotype-kind", "binary"], ["--kinship", str(study / "p.tsv")],
    ):  # fmt: skip
        assert burden(study, *wanted, *option) == 8
        assert f"{' '.join(option[:2] if '--test' in option else option[:1])} without --phenotype" in (
            capsys.readouterr().err
        )
    tested = [*wanted, "--phenotype", str(study / "p.tsv"), "--phenotype-name", "height", "--allow-related"]
    assert burden(study, *tested, "--kinship", str(study / "none.tsv")) == 3


def test_what_leaves_nobody_to_test_is_named(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--annotation", str(study / "a.vcf"), "--max-frequency", "0.5", "-q", "--allow-related"]
    wanted += ["--phenotype", str(study / "p.tsv"), "--phenotype-name", "height"]
    (study / "c.tsv").write_text("IID\tage\tbmi\n" + "".join(f"s{i}\t{i}\tNA\n" for i in range(N)))
    assert burden(study, *wanted, "--covariates", str(study / "c.tsv")) == 7
    assert "is known in 40 samples, of whom 0 have all covariates (bmi is missing in 40): too few for 2" in (
        capsys.readouterr().err
    )
    (study / "c.tsv").write_text("IID\tage\tbmi\n" + "".join(f"s{i}\t{i}\t5\n" for i in range(N)))
    assert burden(study, *wanted, "--covariates", str(study / "c.tsv")) == 8
    assert "covariate bmi is the same for everyone" in capsys.readouterr().err
    (study / "o.tsv").write_text("IID\toffset\nother\t0.1\n")
    assert burden(study, *wanted, "--offset", str(study / "o.tsv")) == 6
    assert "no sample of the offset file o.tsv" in capsys.readouterr().err


def test_frequencies_from_qc_and_what_they_lack(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table that ``qc`` writes serves as it is; what a table lacks is a warning, and an error under --strict."""
    assert main(["variants", "qc", str(study / "calls"), "-o", str(study / "q"), "--quiet"]) == 0
    given = ("--annotation", str(study / "a.vcf"), "--max-frequency", "0.5")
    (study / "genes.bed").write_text("chr1\t0\t500\tALL\n")
    genes = ("--genes", str(study / "genes.bed"), "--max-frequency", "0.5")
    assert burden(study, *given, out="plain.tsv") == 0
    whole = study / "q.variants.parquet"
    assert burden(study, *given, "--frequencies", str(whole), out="qc.tsv") == 0
    assert (study / "qc.tsv").read_bytes() == (study / "plain.tsv").read_bytes()
    assert "are not in the table" not in capsys.readouterr().err
    pl.read_parquet(whole).head(2).write_parquet(study / "part.parquet")
    assert burden(study, *given, "--frequencies", str(study / "part.parquet"), out="part.tsv") == 0
    assert "are not in the table of --frequencies: they count with their frequency" in capsys.readouterr().err
    assert burden(study, *genes, "--frequencies", str(study / "part.parquet"), "--strict", out="part.tsv") == 15
    assert "under --strict" in capsys.readouterr().err


def test_weights_of_variance_tests_are_said(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--annotation", str(study / "a.vcf"), "--phenotype", str(study / "p.tsv"), "--phenotype-name", "height")
    for weights, words in (("none", "Beta(1, 25)"), ("beta", "beta")):
        assert burden(study, *given, "--test", "all", "--weights", weights) == 0
        assert f"weights of SKAT and SKAT-O: {words}" in capsys.readouterr().err
