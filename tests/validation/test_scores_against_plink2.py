"""Sums, averages and allele counts against ``plink2 --score``, to the six digits that it prints.

Last run with PLINK v2.00a3.5 (9 Aug 2022). Where the two differ by rule: plink2 counts a missing genotype of a
dominant or recessive weight as p, half the additive expectation; here it is the expectation under Hardy-Weinberg
proportions, p(2 - p) and p squared, so that effect types are compared without imputation.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.convert import convert_genotypes
from genomix.io.load_options import LoadOptions
from genomix.io.plink import GenotypeStore, open_store
from genomix.io.score_frequencies import read_frequencies
from genomix.variants.score_frequencies import alt_frequencies, effect_from_alt
from genomix.variants.scores import Imputation, ScoreMatch, match_score, sum_scores

pytestmark = [pytest.mark.real_data, pytest.mark.external_tool]

DIGITS = 5.1e-6


@pytest.fixture(scope="module")
def stores(real_data: Path, plink2: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, GenotypeStore]:
    """1000 Genomes with X, GEUVADIS chromosome 22, mice with missing genotypes, and simulated dosages."""
    folder = tmp_path_factory.mktemp("stores")
    pgs = real_data / "pgscatalog-utils/pgscatalog.calc/tests"
    people = pl.read_csv(pgs / "legacy/data/ref.psam", separator="\t", infer_schema=False)
    sex = people.select(pl.col("#IID").alias("sample_id"), pl.col("SEX").cast(pl.Int8).alias("sex"))
    loading = LoadOptions(build="GRCh38", sex=sex)
    convert_genotypes(pgs / "data/vcf/tiny1000G.vcf.gz", folder / "1000G", loading)
    vcf = next((real_data / "geuvadis-chr22-qtltools").glob("*.vcf.gz"))
    convert_genotypes(vcf, folder / "GEUVADIS", LoadOptions(build="GRCh37"))
    convert_genotypes(real_data / "gemma-mouse-hs1940" / "mouse_hs1940", folder / "mouse")
    simulated(plink2, folder / "dosages", "dosage-freq=0.4")
    simulated(plink2, folder / "gaps")
    return {name: open_store(folder / name) for name in ("1000G", "GEUVADIS", "mouse", "dosages", "gaps")}


def simulated(plink2: str, prefix: Path, *modifiers: str) -> None:
    """Calls or dosages, some missing; the variants are renamed to lie on 1, X, Y and MT, and people get both sexes."""
    dummy = ["--dummy", "300", "80", "0.08", *modifiers, "acgt", "--seed", "7"]
    subprocess.run([plink2, *dummy, "--make-pgen", "--out", str(prefix)], check=True, capture_output=True)
    table = pl.read_csv(prefix.with_suffix(".pvar"), separator="\t", infer_schema=False)
    contigs = ["1"] * 30 + ["X"] * 30 + ["Y"] * 12 + ["MT"] * 8
    place = [str(i + (0 if c == "MT" else 5_000_000)) for i, c in enumerate(contigs, start=1)]
    table.with_columns(pl.Series("#CHROM", contigs), pl.Series("POS", place)).write_csv(
        prefix.with_suffix(".pvar"), separator="\t"
    )
    names = pl.read_csv(prefix.with_suffix(".psam"), separator="\t", infer_schema=False)["#IID"]
    sexes = pl.Series("SEX", [i % 2 + 1 for i in range(len(names))])
    pl.DataFrame([names, sexes]).write_csv(prefix.with_suffix(".psam"), separator="\t")


def weights_of(store: GenotypeStore, seed: int, most: int = 500) -> ScoreMatch:
    """Random weights of random biallelic variants, for REF as often as for ALT."""
    rng = np.random.default_rng(seed)
    once = store.variants.with_row_index("row").filter(
        ~pl.col("variant_id").is_duplicated() & ~pl.col("record").is_duplicated() & (pl.col("position") > 0)
        & (pl.col("ref") != pl.col("alt"))  # the mouse file has such records
        & ~pl.struct("contig", "position").is_duplicated()
    )  # fmt: skip
    rows = np.sort(rng.choice(once.height, min(most, once.height), replace=False))
    of_ref = pl.Series(rng.random(len(rows)) < 0.5)
    table = once[rows].select(
        "contig", "position", pl.when(of_ref).then("ref").otherwise("alt").alias("effect_allele"),
        pl.when(of_ref).then("alt").otherwise("ref").alias("other_allele"),
        pl.Series("weight", rng.normal(size=len(rows))),
    )  # fmt: skip
    match = match_score(table, store.variants, ambiguous="keep")
    assert match.coverage == 1
    return match


def peer_scores(plink2: str, store: GenotypeStore, match: ScoreMatch, folder: Path, *options: str) -> pl.DataFrame:
    used = match.variants.hstack(
        store.variants[match.variants["variant"].to_numpy()].select("variant_id", "ref", "alt")
    )
    allele = pl.when("reference").then("ref").otherwise("alt").alias("allele")
    used.select("variant_id", allele, "weight").write_csv(folder / "w.tsv", separator="\t")
    modifiers = [o for o in options if not o.startswith("--") and not o.endswith(".afreq")]
    others = [o for o in options if o not in modifiers]
    done = subprocess.run(
        [plink2, "--pfile", str(store.prefix), "--allow-extra-chr", "--nonfounders",
         "--score", str(folder / "w.tsv"), "1", "2", "3", "header", *modifiers,
         "cols=+scoresums,+denom", *others, "--out", str(folder / "peer")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return pl.read_csv(folder / "peer.sscore", separator="\t", null_values=["nan"])


def compare(peer: pl.DataFrame, totals: np.ndarray, called: np.ndarray, every: np.ndarray) -> None:
    assert called.tolist() == peer["ALLELE_CT"].to_list()
    assert every.tolist() == peer["DENOM"].to_list()
    np.testing.assert_allclose(totals, peer["SCORE1_SUM"].to_numpy(), rtol=DIGITS, atol=1e-9)
    known = every > 0
    average = totals[known] / every[known]
    np.testing.assert_allclose(average, peer["SCORE1_AVG"].to_numpy()[known], rtol=DIGITS, atol=1e-12)


@pytest.mark.parametrize("name", ["1000G", "GEUVADIS", "mouse", "dosages", "gaps"])
@pytest.mark.parametrize("imputation", ["mean", "none"])
def test_sums_averages_and_alleles(
    name: str, imputation: Imputation, stores: dict[str, GenotypeStore], plink2: str, tmp_path: Path
) -> None:
    store = stores[name]
    match = weights_of(store, seed=1)
    options = [] if imputation == "mean" else ["no-mean-imputation"]
    peer = peer_scores(plink2, store, match, tmp_path, *options)
    sums = sum_scores(store, [match], imputation=imputation)
    compare(peer, sums.totals[0], sums.alleles_called[0], sums.alleles[0])
    if name in ("gaps", "dosages") and imputation == "mean":
        assert (sums.alleles_called[0] < sums.alleles[0]).any()


@pytest.mark.parametrize("name", ["gaps", "dosages"])
def test_imputation_by_given_frequencies(
    name: str, stores: dict[str, GenotypeStore], plink2: str, tmp_path: Path
) -> None:
    """An .afreq of other people (here: the first half) stands in for missing genotypes on both sides."""
    store = stores[name]
    half = store.samples[: store.n_samples // 2]
    half.select(pl.col("sample_id").alias("#IID")).write_csv(tmp_path / "half.txt", separator="\t")
    subprocess.run(
        [plink2, "--pfile", str(store.prefix), "--allow-extra-chr", "--nonfounders",
         "--keep", str(tmp_path / "half.txt"), "--freq",
         "--out", str(tmp_path / "half")],
        check=True, capture_output=True,
    )  # fmt: skip
    match = weights_of(store, seed=2)
    peer = peer_scores(plink2, store, match, tmp_path, "--read-freq", str(tmp_path / "half.afreq"))
    known = effect_from_alt(
        match, alt_frequencies(read_frequencies(tmp_path / "half.afreq"), store.variants), store.variants
    )
    sums = sum_scores(store, [match], frequencies=[known])
    np.testing.assert_allclose(sums.totals[0], peer["SCORE1_SUM"].to_numpy(), rtol=2e-5, atol=2e-5)
    own = sum_scores(store, [match], fit_samples=np.arange(store.n_samples // 2))
    np.testing.assert_allclose(own.totals[0], peer["SCORE1_SUM"].to_numpy(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["dominant", "recessive"])
@pytest.mark.parametrize("name", ["mouse", "dosages"])
def test_effect_types(kind: str, name: str, stores: dict[str, GenotypeStore], plink2: str, tmp_path: Path) -> None:
    store = stores[name]
    whole = weights_of(store, seed=3)
    autosomal = ~store.variants["contig"].is_in(["X", "Y", "MT"])
    rows = whole.variants.filter(autosomal[whole.variants["variant"].to_numpy()])
    match = whole._replace(variants=rows.with_columns(effect_type=pl.lit(kind)))
    peer = peer_scores(plink2, store, match, tmp_path, kind, "no-mean-imputation")
    sums = sum_scores(store, [match], imputation="none")
    compare(peer, sums.totals[0], sums.alleles_called[0], sums.alleles[0])
    np.testing.assert_allclose(
        sum_scores(store, [match], imputation="none", compiled=True).totals, sums.totals, rtol=0, atol=0
    )


def test_many_scores_in_one_pass(stores: dict[str, GenotypeStore], plink2: str, tmp_path: Path) -> None:
    store = stores["GEUVADIS"]
    matches = [weights_of(store, seed=10 + i, most=300) for i in range(3)]
    sums = sum_scores(store, matches, block=100)
    for i, match in enumerate(matches):
        peer = peer_scores(plink2, store, match, tmp_path)
        compare(peer, sums.totals[i], sums.alleles_called[i], sums.alleles[i])
