"""Our filesets and figures against plink2 and bcftools on real genotypes, and against a naive reading of the text.

Figures of plink2 are compared to the precision that it prints (six digits). Last run with PLINK v2.00a3.5 (9 Aug 2022)
and bcftools 1.16.
"""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.contigs import AUTOSOMES
from genomix.io.convert import convert_genotypes
from genomix.io.load_options import LoadOptions
from genomix.io.pgs_catalog import read_scoring_file
from genomix.io.plink import GenotypeStore, open_store
from genomix.variants.kinship import kinship_pairs
from genomix.variants.pca import fit_pca, project
from genomix.variants.qc import autosomal_biallelic, count_genotypes, variant_qc
from genomix.variants.relatives import kin_groups, unrelated
from genomix.variants.scores import effect_frequencies, match_score, score_sums

pytestmark = [pytest.mark.real_data, pytest.mark.external_tool]

PGS = "pgscatalog-utils/pgscatalog.calc/tests"


@pytest.fixture(scope="module")
def people(real_data: Path) -> pl.DataFrame:
    """Sex and ancestry of the 3,202 people of 1000 Genomes."""
    frame = pl.read_csv(real_data / PGS / "legacy/data/ref.psam", separator="\t", infer_schema=False)
    return frame.select(
        pl.col("#IID").alias("sample_id"), pl.col("SEX").cast(pl.Int8).alias("sex"), "SuperPop", "Population"
    )


@pytest.fixture(scope="module")
def tiny(real_data: Path, people: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    prefix = tmp_path_factory.mktemp("tiny") / "tiny"
    source = real_data / PGS / "data/vcf/tiny1000G.vcf.gz"
    report = convert_genotypes(source, prefix, LoadOptions(build="GRCh38", sex=people))
    assert report.calls == {"diploid calls kept": 1004 * 3202 - 57_564, "haploid calls doubled": 57_564}
    return open_store(prefix)


@pytest.fixture(scope="module")
def mouse(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    prefix = tmp_path_factory.mktemp("mouse") / "mouse"
    convert_genotypes(real_data / "gemma-mouse-hs1940" / "mouse_hs1940", prefix)
    return open_store(prefix)


def run(plink2: str, store: GenotypeStore, folder: Path, *arguments: str) -> Path:
    """Run plink2 on a store; return the prefix of what it wrote."""
    out = folder / "peer"
    done = subprocess.run(
        [plink2, "--pfile", str(store.prefix), "--threads", "1", "--memory", "4000", "--out", str(out), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def table(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", infer_schema_length=None, null_values=["nan", "NA"])


def rounded(found: float | None, printed: float | None) -> bool:
    """Equal to the six digits that plink2 prints."""
    if found is None or printed is None:
        return found is None and printed is None
    return abs(found - printed) <= 5.1e-6 * max(abs(printed), 1e-300) + 1e-15


def naive_dosages(path: Path) -> dict[str, np.ndarray]:
    """Copies of the one ALT by splitting the text; a haploid call counts twice."""
    copies: dict[str, int] = {}
    found = {}
    with gzip.open(path, "rt") as stream:
        for line in stream:
            if not line.startswith("#"):
                fields = line.rstrip("\n").split("\t")
                for call in set(fields[9:]) - set(copies):
                    alleles = call.split(":")[0].replace("|", "/").split("/")
                    copies[call] = -9 if "." in alleles else sum(map(int, alleles)) * (2 // len(alleles))
                found[fields[2]] = np.array([copies[c] for c in fields[9:]])
    return found


def test_tiny_1000_genomes_equals_the_text(tiny: GenotypeStore, real_data: Path) -> None:
    truth = naive_dosages(real_data / PGS / "data/vcf/tiny1000G.vcf.gz")
    calls = tiny.read_calls()
    assert int(calls.sum(dtype=np.int64)) == 2_171_567
    assert tiny.n_variants == len(truth) == 1004
    for name, row in zip(tiny.variants["variant_id"], calls, strict=True):
        assert (row == truth[name]).all(), name
    assert set(tiny.samples["SuperPop"]) == {"AFR", "AMR", "EAS", "EUR", "SAS"}


@pytest.mark.parametrize("which", ["tiny", "mouse"])
def test_plink2_validates_and_counts_alike(which: str, request, plink2: str, tmp_path: Path) -> None:
    store: GenotypeStore = request.getfixturevalue(which)
    out = run(plink2, store, tmp_path, "--validate", "--freq", "--missing", "--hardy", "midp", "--nonfounders")
    quality = variant_qc(store)
    peer = {r["ID"]: r for r in table(out.with_suffix(".afreq")).iter_rows(named=True)}
    missing = {r["ID"]: r for r in table(out.with_suffix(".vmiss")).iter_rows(named=True)}
    hardy = {r["ID"]: r["MIDP"] for r in table(out.with_suffix(".hardy")).iter_rows(named=True)}
    autosomal = quality["contig"].is_in(AUTOSOMES).to_numpy()
    compared = 0
    for row, on_autosome in zip(quality.iter_rows(named=True), autosomal, strict=True):
        name = row["variant_id"]
        assert rounded(row["alt_frequency"], peer[name]["ALT_FREQS"]), name
        assert row["n_called"] == missing[name]["OBS_CT"] - missing[name]["MISSING_CT"], name
        if on_autosome:
            assert rounded(row["hwe_p"], hardy[name]), (name, row["hwe_p"], hardy[name])
            compared += 1
    assert compared == int(autosomal.sum()) >= 968


@pytest.mark.parametrize(("which", "n_pairs"), [("tiny", 28_470), ("mouse", 218_185)])
def test_kinship_equals_plink2(which: str, n_pairs: int, request, plink2: str, tmp_path: Path) -> None:
    store: GenotypeStore = request.getfixturevalue(which)
    out = run(plink2, store, tmp_path, "--make-king-table", "--king-table-filter", "0.0442")
    peer = table(out.with_suffix(".kin0"))
    first = "IID1" if "IID1" in peer.columns else "#IID1"
    number = pl.DataFrame({"id": store.samples["sample_id"], "n": np.arange(store.n_samples)})
    peer = (
        peer.select(pl.col(first).alias("a"), pl.col("IID2").alias("b"), "KINSHIP")
        .join(number, left_on="a", right_on="id").join(number, left_on="b", right_on="id", suffix="_b")
        .select(
            pl.min_horizontal("n", "n_b").alias("sample_a"), pl.max_horizontal("n", "n_b").alias("sample_b"), "KINSHIP",
        )
    )  # fmt: skip
    joined = kinship_pairs(store).join(peer, on=["sample_a", "sample_b"], how="full", coalesce=True)
    assert joined.height == n_pairs
    assert joined.null_count().sum_horizontal().item() == 0
    assert (joined["kinship"] - joined["KINSHIP"]).abs().max() < 6e-7


def test_kin_groups_of_1000_genomes(tiny: GenotypeStore) -> None:
    pairs = kinship_pairs(tiny)
    assert (pairs["kinship"] > 0.177).sum() == 1233
    for threshold, largest in ((0.0442, 2682), (0.0884, 158), (0.177, 12)):
        labels, sizes = np.unique(kin_groups(tiny.n_samples, pairs, threshold), return_counts=True)
        assert sizes.max() == largest
        assert (labels >= 0).all()
    assert int((sizes > 1).sum()) == 598
    mask = unrelated(tiny.n_samples, pairs)
    close = pairs.filter(pl.col("kinship") > 0.177)
    assert not (mask[close["sample_a"].to_numpy()] & mask[close["sample_b"].to_numpy()]).any()


def test_the_mouse_population_is_one_group(mouse: GenotypeStore) -> None:
    pairs = kinship_pairs(mouse)
    for threshold, largest in ((0.125, 1940), (0.177, 1499)):
        assert np.unique(kin_groups(mouse.n_samples, pairs, threshold), return_counts=True)[1].max() == largest


@pytest.mark.parametrize("which", ["tiny", "mouse"])
def test_components_equal_plink2(which: str, request, plink2: str, tmp_path: Path) -> None:
    store: GenotypeStore = request.getfixturevalue(which)
    samples = np.arange(0, 1900, 4)
    names = ["FID", "sample_id"] if "FID" in store.samples.columns else ["sample_id"]
    store.samples[samples].select(names).write_csv(tmp_path / "keep.txt", separator="\t", include_header=False)
    rows = np.flatnonzero(autosomal_biallelic(store))
    calls = store.read_calls(rows, samples)
    model = fit_pca(calls, n_components=4)
    out = run(
        plink2, store, tmp_path, "--keep", str(tmp_path / "keep.txt"), "--autosome", "--mac", "1", "--pca", "4",
        "--nonfounders", "--bad-freqs",
    )  # fmt: skip
    peer = table(out.with_suffix(".eigenvec")).select(pl.col("^PC.*$")).to_numpy()
    np.testing.assert_allclose(model.eigenvalues, np.loadtxt(out.with_suffix(".eigenval")), rtol=1e-5)
    scores = project(model, calls)
    for k in range(4):
        assert abs(np.corrcoef(scores[:, k], peer[:, k])[0, 1]) > 0.9999


def test_score_equals_plink2(tiny: GenotypeStore, real_data: Path, plink2: str, tmp_path: Path) -> None:
    weights, header = read_scoring_file(real_data / PGS / "data/structured/PGS001229_hmPOS_GRCh38.txt.gz")
    match = match_score(weights, tiny.variants)
    assert header.name == "PGS001229"
    assert match.variants.height + match.counts["ambiguous"] == 986
    used = match.variants.with_columns(tiny.variants[match.variants["variant"].to_numpy()])
    effect = pl.when("reference").then("ref").otherwise("alt")
    used.select("variant_id", effect.alias("effect"), "weight").write_csv(tmp_path / "w.tsv", separator="\t")
    out = run(plink2, tiny, tmp_path, "--score", str(tmp_path / "w.tsv"), "1", "2", "3", "header", "cols=scoresums")
    printed = table(out.with_suffix(".sscore"))["SCORE1_SUM"].to_numpy()
    found = score_sums(tiny, match, frequencies=effect_frequencies(tiny, match))
    assert all(rounded(f, p) for f, p in zip(found.tolist(), printed.tolist(), strict=True))


def test_missing_genotypes_are_imputed_as_plink2_does(mouse: GenotypeStore, plink2: str, tmp_path: Path) -> None:
    """Genotypes taken away in a copy of the mice, mean-imputed by both."""
    rows = np.arange(0, 400)
    calls = mouse.read_calls(rows)
    calls[np.random.default_rng(0).random(calls.shape) < 0.1] = -9
    from tests.genotype_store import store_of

    store = store_of(tmp_path, calls, build=None)
    weights = pl.DataFrame(
        [("1", 10 * (i + 1), "G" if i % 3 else "A", "A" if i % 3 else "G", 0.01 * (i % 11) - 0.04) for i in range(400)],
        schema=["contig", "position", "effect_allele", "other_allele", "weight"], orient="row",
    )  # fmt: skip
    match = match_score(weights, store.variants)
    names = store.variants["variant_id"].to_list()
    lines = [f"{n}\t{e}\t{w!r}" for n, e, w in zip(names, weights["effect_allele"], weights["weight"], strict=True)]
    (tmp_path / "w.tsv").write_text("\n".join(lines) + "\n")
    run(plink2, store, tmp_path, "--freq")
    out = run(
        plink2, store, tmp_path, "--read-freq", str(tmp_path / "peer.afreq"),
        "--score", str(tmp_path / "w.tsv"), "1", "2", "3", "cols=scoresums",
    )  # fmt: skip
    printed = table(out.with_suffix(".sscore"))["SCORE1_SUM"].to_numpy()
    found = score_sums(store, match, frequencies=effect_frequencies(store, match))
    np.testing.assert_allclose(found, printed, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("plink-ng-1000g-chr21/Tests/TEST_ONE_WAY_EXPORT/all_ploidy.pgen", False),
        ("plink-ng-1000g-chr21/Tests/TEST_PHASED_VCF/mt_mixed_phase.pgen", False),
        ("plink-ng-1000g-chr21/pgenlibr/inst/extdata/chr21_phase3_start.pgen", True),
        ("plink-ng-1000g-chr21/Tests/TEST_PHASED_VCF/1kg_phase3_chr21_start.vcf.gz", True),
        ("shapeit4-1000g-chr20/scaffold.bcf.gz", True),
        ("bolt-lmm-1000g-eur/EUR_subset.bed", True),
    ],
)
def test_other_real_files_are_valid_filesets(
    name: str, plain: bool, real_data: Path, plink2: str, tmp_path: Path
) -> None:
    report = convert_genotypes(real_data / name, tmp_path / "o")
    assert sum(report.calls.values()) == report.n_records_written * report.n_samples
    store = open_store(tmp_path / "o")
    out = run(plink2, store, tmp_path, "--validate", "--geno-counts")
    if plain:
        peer = table(out.with_suffix(".gcount"))
        counts = count_genotypes(store)
        first = (store.variants["allele"] == 1).to_numpy() & ~store.variants["record"].is_duplicated().to_numpy()
        biallelic = peer.filter(~pl.col("ALT").str.contains(","))
        assert counts.hom_ref[first].tolist() == biallelic["HOM_REF_CT"].to_list()
        assert counts.het[first].tolist() == biallelic["HET_REF_ALT_CTS"].cast(pl.Int64).to_list()


def test_bcf_and_vcf_of_one_file_give_one_store(real_data: Path, bcftools: str, tmp_path: Path) -> None:
    """bcftools converts; both readers must agree to the byte."""
    source = tmp_path / "source.vcf"
    text = (real_data / "vcf-odd" / "odd.vcf").read_text()
    source.write_text(text.replace("##ALT=", '##FILTER=<ID=q10,Description="low">\n##ALT=', 1))
    subprocess.run([bcftools, "view", "-Ob", "-o", str(tmp_path / "odd.bcf"), str(source)], check=True)
    subprocess.run([bcftools, "view", "-Oz", "-o", str(tmp_path / "odd.vcf.gz"), str(source)], check=True)
    outputs = []
    for name in (source, tmp_path / "odd.bcf", tmp_path / "odd.vcf.gz"):
        report = convert_genotypes(name, tmp_path / "o")
        outputs.append([(tmp_path / f"o{s}").read_bytes() for s in (".pgen", ".pvar", ".psam")])
    assert outputs[0] == outputs[1] == outputs[2]
    assert report.records_left_out == {"no ALT": 1, "symbolic ALT only": 1}
    assert report.sorted


def test_a_bgzf_file_cut_at_a_block_boundary_is_refused(real_data: Path, tmp_path: Path) -> None:
    """What htslib passes over in silence."""
    from genomix.errors import TruncatedInputError

    data = (real_data / PGS / "data/vcf/tiny1000G.vcf.gz").read_bytes()
    ends = [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + int.from_bytes(data[ends[-1] + 16 : ends[-1] + 18], "little") + 1)
    (tmp_path / "cut.vcf.gz").write_bytes(data[: ends[len(ends) // 2]])
    with pytest.raises(TruncatedInputError, match="end-of-file block"):
        convert_genotypes(tmp_path / "cut.vcf.gz", tmp_path / "o")
