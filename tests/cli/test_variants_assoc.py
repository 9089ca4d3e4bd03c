"""``genomix variants assoc``: tables, plots, counts by reason, refusals and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import OutputError
from genomix.io.association_files import association_writer
from genomix.schemas.association import ASSOCIATION
from genomix.variants.assoc_linear import linear_reference
from genomix_cli.app import main
from tests.genotype_store import random_calls, store_of

M, N = 600, 60
VARIANTS = [(str(1 + i // 300), 1000 * (i + 1), "A", "G") for i in range(M)]


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    return random_calls(M, N, seed=31, missing=0.02)


@pytest.fixture(scope="module")
def folder(calls: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("assoc")
    store_of(found, calls, variants=VARIANTS)
    rng = np.random.default_rng(1)
    rows = ["#IID\theight\tt2d\tage\tPC1"]
    rows += [f"s{i}\t{rng.normal():.4f}\t{1 + i % 2}\t{rng.normal(50, 5):.3f}\t{rng.normal():.3f}" for i in range(N)]
    rows[6] = "s5\tNA\t-9\t50\t0.5"
    (found / "t.tsv").write_text("\n".join(rows) + "\n")
    related = found / "related"
    related.mkdir()
    twins = calls.copy()
    twins[:, 9] = twins[:, 8]
    store_of(related, twins, variants=VARIANTS)
    return found


def assoc(folder: Path, *arguments: str | Path, genotypes: str = "calls") -> int:
    command = ["variants", "assoc", folder / genotypes, "--phenotype", folder / "t.tsv", *arguments]
    return main([str(a) for a in command])


def test_results_plots_and_counts(
    folder: Path, calls: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tsv, plots = tmp_path / "o.parquet", tmp_path / "o.tsv", tmp_path / "plot"
    code = assoc(
        folder, "--phenotype-name", "height", "--covariates", folder / "t.tsv", "--covariate-names", "age,PC1",
        "-o", out, "--tsv", tsv, "--plots", plots,
    )  # fmt: skip
    streams = capsys.readouterr()
    assert code == 0, streams.err
    assert streams.out == ""
    assert "height: 59 samples tested, 1 without phenotype, 0 without a covariate" in streams.err
    assert "height: 600 variants, 600 tested (0 by Firth), none left out; lambda GC" in streams.err
    found = ASSOCIATION.validate(pl.read_parquet(out))
    table = pl.read_csv(folder / "t.tsv", separator="\t", null_values=["NA"])
    known = table["height"].is_not_null().to_numpy()
    design = np.column_stack([np.ones(N), table["age"], table["PC1"]])[known]
    genotype = np.where(calls[7] < 0, np.nan, calls[7].astype(float))[known]
    beta, se, _ = linear_reference(table["height"].drop_nulls().to_numpy(), design, genotype)
    assert found["beta"][7] == pytest.approx(beta, rel=1e-9)
    printed = pl.read_csv(tsv, separator="\t")
    assert printed.columns == [
        "#CHROM", "POS", "ID", "REF", "ALT", "A1", "A1_CT", "ALLELE_CT", "A1_FREQ", "TEST", "OBS_CT", "BETA", "SE",
        "T_STAT", "P", "LOG10_P", "ERRCODE",
    ]  # fmt: skip
    assert printed["SE"][7] == pytest.approx(se, rel=5.1e-6)
    for kind in ("manhattan", "qq"):
        assert Path(f"{plots}.{kind}.png").read_bytes().startswith(b"\x89PNG")
        svg = Path(f"{plots}.{kind}.svg").read_text()
        assert "<dc:date>" not in svg


def test_bytes_are_the_same_again_and_with_threads(folder: Path, tmp_path: Path) -> None:
    written = []
    for number, threads in enumerate(("1", "3")):
        place = tmp_path / str(number)
        place.mkdir()
        assert assoc(folder, "--phenotype-name", "height,t2d", "-o", place / "o.parquet", "--tsv", place / "o.tsv",
                     "--plots", place / "p", "--threads", threads, "-q") == 0  # fmt: skip
        written.append({p.name: p.read_bytes() for p in sorted(place.iterdir())})
    assert written[0] == written[1]
    assert set(written[0]) == {
        "o.parquet", "o.height.tsv", "o.t2d.tsv",
        *(f"p.{n}.{plot}.{kind}" for n in ("height", "t2d") for plot in ("manhattan", "qq") for kind in ("svg", "png")),
    }  # fmt: skip


def test_json_and_case_control(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = assoc(folder, "--phenotype-name", "t2d", "--firth-p", "0.05", "--firth-test", "likelihood-ratio",
                 "--tsv", tmp_path / "o.tsv", "--json", "-q")  # fmt: skip
    assert code == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["samples"]["t2d"]["cases"] == 29
    assert summary["kinship"] == {"related_pairs": 0, "variants": 600}
    found = summary["phenotypes"]["t2d"]
    assert 0 < found["by_firth"] < found["tested"] == 600
    header = (tmp_path / "o.tsv").read_text().split("\n", 1)[0].split("\t")
    assert header[9:15] == ["FIRTH?", "TEST", "OBS_CT", "OR", "LOG(OR)_SE", "Z_STAT"]


def test_related_samples_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o.parquet"
    wanted = ("--phenotype-name", "height", "-o", out, "-q")
    assert assoc(folder, *wanted, genotypes="related/calls") == 7
    words = capsys.readouterr().err
    assert "1 pairs of the 59 tested samples are related" in words
    assert "--allow-related" in words
    assert not out.exists()
    assert assoc(folder, *wanted, "--allow-related", genotypes="related/calls") == 0
    out.unlink()
    (tmp_path / "o.txt").write_text("IID\toffset\n" + "".join(f"s{i}\t0.1\n" for i in range(N)))
    assert assoc(folder, *wanted, "--offset", tmp_path / "o.txt", genotypes="related/calls") == 0
    keep = tmp_path / "keep.txt"
    keep.write_text("".join(f"s{i} s{i}\n" for i in range(N) if i != 9))
    assert assoc(folder, *wanted, "--keep", keep, genotypes="related/calls") == 0
    pairs = tmp_path / "pairs.parquet"
    pl.DataFrame({"sample_id_a": ["s1", "s3"], "sample_id_b": ["s2", "s4"], "kinship": [0.26, 0.05]}).write_parquet(
        pairs
    )
    assert assoc(folder, *wanted, "--kinship", pairs) == 7


PAIRS = {
    "genomix": ("sample_id_a\tsample_id_b\tsample_a\tsample_b\tkinship\n", "{a}\t{b}\t0\t1\t{k}\n"),
    "plink2": ("#IID1\tIID2\tNSNP\tHETHET\tIBS0\tKINSHIP\n", "{a}\t{b}\t600\t0.1\t0.1\t{k}\n"),
    "king": ("FID1\tID1\tFID2\tID2\tN_SNP\tHetHet\tIBS0\tKinship\n", "{a}\t{a}\t{b}\t{b}\t9\t0\t0\t{k}\n"),
    "csv": ("sample_a,sample_b,kinship\n", "{a},{b},{k}\n"),
}


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize(
    ("pairs", "code", "words"),
    [
        ([("s8", "s9", 0.5), ("s1", "s2", 0.05)], 7, "1 pairs of the 59 tested"),
        ([("s9", "s8", 0.5), ("s1", "s2", 0.05)], 7, "1 pairs of the 59 tested"),
        ([("s1", "s2", 0.05), ("s1", "s3", 0.06)], 0, ""),
        ([("s8", "s9", 0.5)], 8, "smallest listed kinship is 0.5"),
        ([], 8, "no pair is listed"),
        ([("x8", "x9", 0.5), ("x1", "x2", 0.05)], 6, "of the 4 samples"),
        ([("x8", "x9", 0.5), ("s1", "x2", 0.05)], 6, "the genotypes have 1"),
        ([("s8", "s9", "high")], 4, "not a number"),
    ],
)
def test_kinship_is_joined_by_name_and_fails_closed(
    form: str, pairs: list[tuple[str, str, object]], code: int, words: str, folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    head, row = PAIRS[form]
    table = tmp_path / "pairs.txt"
    table.write_text(head + "".join(row.format(a=a, b=b, k=k) for a, b, k in pairs))
    out = tmp_path / "o.parquet"
    assert assoc(folder, "--phenotype-name", "height", "-o", out, "-q", "--kinship", table) == code
    assert words in capsys.readouterr().err
    assert out.exists() == (code == 0)


def test_kinship_by_number_alone_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "pairs.parquet"
    pl.DataFrame({"sample_a": [1], "sample_b": [2], "kinship": [0.05]}).write_parquet(table)
    assert assoc(folder, "--phenotype-name", "height", "-o", tmp_path / "o.parquet", "--kinship", table) == 4
    assert "does not name them" in capsys.readouterr().err


def test_the_suffix_says_the_format(folder: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"o.{end}" for end in ("parquet", "tsv", "tsv.gz")]
    for file in files:
        assert assoc(folder, "--phenotype-name", "height", "-o", file, "-q") == 0
    found = pl.read_parquet(files[0])
    assert files[2].read_bytes()[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
    for file in files[1:]:
        again = pl.read_csv(file, separator="\t", null_values="NA", schema=found.schema)
        assert again.equals(found)


def test_keep_counts_unknown_names_and_refuses_none(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep, out = tmp_path / "keep.txt", tmp_path / "o.parquet"
    keep.write_text("".join(f"s{i}\n" for i in range(40)) + "stranger\n")
    assert assoc(folder, "--phenotype-name", "height", "-o", out, "--keep", keep) == 0
    assert "1 of 41 listed samples are not in the genotypes" in capsys.readouterr().err
    keep.write_text("stranger\n")
    assert assoc(folder, "--phenotype-name", "height", "-o", out, "--keep", keep) == 6


def test_no_input_and_no_result_is_overwritten(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same, table = tmp_path / "o.tsv", folder / "t.tsv"
    before = table.read_bytes()
    wanted = ("--phenotype-name", "height")
    assert assoc(folder, *wanted, "-o", same, "--tsv", same) == 8
    assert "the same file" in capsys.readouterr().err
    assert assoc(folder, *wanted, "--tsv", table) == 8
    assert "a file that this run reads" in capsys.readouterr().err
    assert table.read_bytes() == before
    assert assoc(folder, "--phenotype-name", "height,t2d", "--tsv", same, "-o", tmp_path / "o.t2d.tsv") == 8
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--phenotype-name", "height"), 8, "nothing would be written"),
        (("--phenotype-name", "weight", "-o", "x.parquet"), 8, "no phenotype 'weight'"),
        (("--phenotype-name", "height", "--covariate-names", "age", "-o", "x.parquet"), 8, "without --covariates"),
        (("--phenotype-name", "height", "--model", "logistic", "-o", "x.parquet"), 8, "is a quantity"),
        (("--phenotype-name", "height", "--missing-value", "none so", "-o", "x.parquet"), 8, "is no number"),
        (("--phenotype-name", "height", "-o", "x.csv"), 8, ".parquet, .tsv, .tsv.gz"),
        (("--phenotype-name", "height", "--tsv", "x.parquet"), 8, ".tsv, .tsv.gz"),
        (("--phenotype-name", "height", "--missing-value", "nan", "-o", "x.parquet"), 8, "is no number"),
        (("--phenotype-name", "height", "--max-vif", "-1", "-o", "x.parquet"), 2, "--max-vif"),
        (("--phenotype-name", "height", "--max-corr", "2", "-o", "x.parquet"), 2, "--max-corr"),
        (("--phenotype-name", "height", "--model", "cox", "-o", "x.parquet"), 2, "cox"),
        (("--phenotype-name", "height", "--covariates", "gone.tsv", "-o", "x.parquet"), 3, "gone.tsv"),
        (("--phenotype-name", "height", "--offset", "gone.tsv", "-o", "x.parquet"), 3, "gone.tsv"),
    ],
)
def test_wrong_arguments(
    arguments: tuple[str, ...], code: int, words: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert assoc(folder, *arguments) == code
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_people_without_an_offset_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(2)
    people = [f"s{i}" for i in range(60)]
    head = "##fileformat=VCFv4.2\n##contig=<ID=1,length=248956422>\n"
    head += '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    head += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(people) + "\n"
    calls = "\t".join(draw.choice(["0/0", "0/1", "1/1"], 60))
    (tmp_path / "c.vcf").write_text(head + f"1\t100\tv\tA\tC\t.\t.\t.\tGT\t{calls}\n")
    values = "".join(f"{n}\t{v:.3f}\n" for n, v in zip(people, draw.normal(size=60), strict=True))
    (tmp_path / "q.tsv").write_text("IID\ty\n" + values)
    (tmp_path / "off.tsv").write_text("IID\toffset\n" + "".join(f"{n}\t0.1\n" for n in people[:40]))
    command = ["variants", "assoc", str(tmp_path / "c.vcf"), "--phenotype", str(tmp_path / "q.tsv"), "--offset",
               str(tmp_path / "off.tsv"), "-o", str(tmp_path / "o.parquet")]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "y: 40 samples tested, 0 without phenotype, 0 without a covariate, 20 without an offset" in said
    assert pl.read_parquet(tmp_path / "o.parquet")["n_observed"].to_list() == [40]


def test_what_leaves_nobody_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, people = tmp_path / "o.parquet", [f"s{i}" for i in range(N)]
    wanted = ("--phenotype-name", "height", "--allow-related", "-o", out)
    table = tmp_path / "c.tsv"
    table.write_text("IID\tage\tbmi\n" + "".join(f"{n}\t{i}\tNA\n" for i, n in enumerate(people)))
    assert assoc(folder, *wanted, "--covariates", table) == 7
    assert (
        "phenotype height is known in 59 samples, of whom 0 have all covariates (bmi is missing in 59): too few"
        in capsys.readouterr().err
    )
    draw = np.random.default_rng(4).normal(size=(N, 250))
    rows = ["\t".join([n, *(f"{v:.3f}" for v in row)]) for n, row in zip(people, draw, strict=True)]
    table.write_text("\t".join(["IID", *(f"c{j}" for j in range(250))]) + "\n" + "\n".join(rows) + "\n")
    assert assoc(folder, *wanted, "--covariates", table) == 7
    assert "height is known in 59 samples: too few for an intercept and 250 covariates" in capsys.readouterr().err
    offsets = tmp_path / "off.tsv"
    offsets.write_text("IID\toffset\nother\t0.1\n")
    assert assoc(folder, *wanted, "--offset", offsets) == 6
    assert "the genotypes have no sample of the offset file off.tsv" in capsys.readouterr().err
    (tmp_path / "x.loco").write_text("FID_IID 0_other\n1 0.1\n")
    assert assoc(folder, *wanted, "--offset", tmp_path / "x.loco") == 6
    assert "offset file x.loco" in capsys.readouterr().err
    offsets.write_text("IID\toffset\ns1\t0.1\n")
    assert assoc(folder, *wanted, "--offset", offsets) == 7
    assert "is known in 59 samples, of whom 1 have an offset" in capsys.readouterr().err
    assert not out.exists()


def test_options_that_would_be_passed_over(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ("--allow-related", "-o", tmp_path / "o.parquet")
    for option in (
        ("--firth-p", "0.05"), ("--firth-approximate",), ("--firth-test", "likelihood-ratio"),
        ("--logistic-test", "score"), ("--no-firth-fallback",),
    ):  # fmt: skip
        assert assoc(folder, *wanted, "--phenotype-name", "height", *option) == 8
        assert f"{option[0]} is about logistic regression" in capsys.readouterr().err
        assert assoc(folder, *wanted, "--phenotype-name", "t2d", "--model", "linear", *option) == 8
        assert assoc(folder, *wanted, "--phenotype-name", "height,t2d", *option, "-q") == 0
    capsys.readouterr()
    kinship = tmp_path / "k.tsv"
    assert assoc(folder, *wanted, "--phenotype-name", "height", "--kinship", kinship) == 3
    kinship.write_text("")
    assert assoc(folder, *wanted, "--phenotype-name", "height", "--kinship", kinship) == 0
    assert "note: k.tsv is not looked at beside --allow-related" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
@pytest.mark.parametrize("option", ["-o", "--tsv", "--plots"])
def test_a_folder_that_takes_no_files(
    option: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("--phenotype-name", "height", "-o", tmp_path / "o.tsv", "--tsv", tmp_path / "p.tsv", "--allow-related")
    assert assoc(folder, *wanted, option, "/proc/x.tsv") == 9
    assert "its folder takes no files" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="takes no files"), association_writer(Path("/proc/x.tsv"), None, {}):
        raise AssertionError("the file cannot be made")
