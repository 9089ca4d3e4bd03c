"""Matching and adjustment against pgscatalog-utils: its match table, its refusal, and its adjusted scores.

The z-scores were computed by ``pgs_adjust`` of pgscatalog.calc (commit 2d2d6c4, the one the data come from; Apache-2.0)
on its own test data: ``aggregated_scores.txt``, ``ref.pcs`` and ``target.pcs``, four components, every one of the 2,575
reference people with components as training sample. Its genotypes of HGDP and CINECA are not public, so that its
``.sscore`` files cannot be recomputed from genotypes here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import FormatError
from genomix.io.convert import convert_genotypes
from genomix.io.load_options import LoadOptions
from genomix.io.pgs_catalog import read_score_tables
from genomix.io.plink import GenotypeStore, open_store
from genomix.io.score_tables import read_components
from genomix.schemas.genotypes import SCORE_WEIGHTS
from genomix.variants.score_adjustment import fit_adjustment
from genomix.variants.scores import ScoringOptions, match_score, score_samples, sum_scores

pytestmark = pytest.mark.real_data

PGS = "pgscatalog-utils/pgscatalog.calc/tests"
CORE = "pgscatalog-utils/pgscatalog.core/tests/data"


@pytest.fixture(scope="module")
def tiny(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    prefix = tmp_path_factory.mktemp("tiny") / "tiny"
    people = pl.read_csv(real_data / PGS / "legacy/data/ref.psam", separator="\t", infer_schema=False)
    sex = people.select(pl.col("#IID").alias("sample_id"), pl.col("SEX").cast(pl.Int8).alias("sex"))
    convert_genotypes(real_data / PGS / "data/vcf/tiny1000G.vcf.gz", prefix, LoadOptions(build="GRCh38", sex=sex))
    return open_store(prefix)


def lines(path: Path) -> pl.DataFrame:
    return pl.DataFrame([json.loads(line) for line in path.read_text().splitlines()])


@pytest.fixture(scope="module")
def peer_matches(real_data: Path) -> pl.DataFrame:
    """pgscatalog.calc's variants of PGS001229 with what its matching made of each."""
    folder = real_data / PGS / "data/duckdb"
    terms = lines(folder / "score_variant_table.json").filter(pl.col("accession") != "test")
    verdicts = lines(folder / "allele_match_table.json").unnest("match_result")
    return terms.join(verdicts, on=["accession", "row_nr"], how="inner", maintain_order="left")


def variants_of(peer: pl.DataFrame, ref: str, alt: str) -> pl.DataFrame:
    """The genotypes' variants as a match table names them."""
    places = peer.select(
        contig=pl.col("chr_name").cast(pl.String), position=pl.col("chr_position").cast(pl.Int64),
        ref=pl.col(ref).cast(pl.String), alt=pl.col(alt).cast(pl.String),
    ).unique(maintain_order=True)  # fmt: skip
    return places.with_row_index("record").with_columns(variant_id=pl.lit("."))


def weights_of(peer: pl.DataFrame) -> pl.DataFrame:
    return SCORE_WEIGHTS.validate(
        peer.select(
            pl.col("chr_name").alias("contig"),
            pl.col("chr_position").alias("position"),
            "effect_allele",
            "other_allele",
            pl.col("effect_weight").alias("weight"),
        )
    )


def test_verdicts_of_its_match_table_are_reproduced(peer_matches: pl.DataFrame) -> None:
    """Its target file is not public; the table says that each effect allele is the ALT (index 1), the other one REF."""
    match = match_score(weights_of(peer_matches), variants_of(peer_matches, "other_allele", "effect_allele"))
    expected = peer_matches["is_ambiguous"].to_list()
    assert (len(expected), sum(expected)) == (100, 7)
    assert peer_matches.filter(~pl.col("is_ambiguous"))["effect_allele_idx"].unique().to_list() == [1]
    found = match.verdicts["status"].to_list()
    assert found == ["ambiguous" if a else "matched" for a in expected]


def test_candidates_of_its_match_example_are_reproduced(real_data: Path) -> None:
    """pgscatalog.match's example: 155 rows of two scores against a .pvar, every candidate with its kind."""
    folder = real_data / "pgscatalog-utils/pgscatalog.match/tests/data"
    peer = pl.read_ipc(folder / "match.ipc").with_columns(
        pl.col("chr_name", "effect_allele", "REF", "ALT", "accession").cast(pl.String)
    )
    variants = pl.read_csv(folder / "good_match.pvar", separator="\t", schema_overrides={"#CHROM": pl.String}).select(
        contig="#CHROM", position="POS", variant_id="ID", ref="REF", alt="ALT"
    )  # fmt: skip
    variants = variants.with_row_index("record")
    names = {"refalt": "swapped", "altref": "matched", "altref_flip": "flipped"}
    seen = []
    for table in read_score_tables(folder / "good_match_scorefile.txt"):
        match = match_score(table.terms, variants, ambiguous="keep")
        dropped = match_score(table.terms, variants)
        rows = table.terms.hstack(match.verdicts).with_columns(dropped=dropped.verdicts["status"])
        for row in rows.iter_rows(named=True):
            kinds = peer.filter(
                (pl.col("accession") == table.header.name) & (pl.col("chr_name") == row["contig"])
                & (pl.col("chr_position") == row["position"]) & (pl.col("effect_allele") == row["effect_allele"])
            )["match_type"].to_list()  # fmt: skip
            assert row["status"] == (names[min(kinds, key=list(names).index)] if kinds else "missing")
            assert (row["dropped"] == "ambiguous") == ("altref_flip" in kinds)
            seen += kinds
    assert sorted(seen) == sorted(peer["match_type"].to_list())


@pytest.fixture(scope="module")
def real_weights(tiny: GenotypeStore, real_data: Path) -> pl.DataFrame:
    """PGS001229's rows that lie at a variant of the genotypes, written alike on one strand."""
    table = read_score_tables(real_data / PGS / "data/structured/PGS001229_hmPOS_GRCh38.txt.gz")[0].terms
    match = match_score(table, tiny.variants)
    kept = match.verdicts["status"].is_in(["matched", "swapped"])
    return table.filter(kept).select(SCORE_WEIGHTS.names)


@pytest.mark.external_tool
def test_its_way_by_plink2_gives_the_same_scores(
    tiny: GenotypeStore, real_weights: pl.DataFrame, plink2: str, tmp_path: Path
) -> None:
    """The way of pgsc_calc: matched variants and effect alleles handed to ``plink2 --score``."""
    used = real_weights.join(
        tiny.variants.select("contig", "position", "ref", "alt", "variant_id"), on=["contig", "position"], how="inner"
    )
    used = used.filter(pl.col("effect_allele").is_in(["A", "C", "G", "T"]) & (
        (pl.col("effect_allele") == pl.col("alt")) | (pl.col("effect_allele") == pl.col("ref"))
    ))  # fmt: skip
    assert used.height == real_weights.height == 917
    used.select("variant_id", "effect_allele", "weight").write_csv(tmp_path / "w.tsv", separator="\t")
    done = subprocess.run(
        [plink2, "--pfile", str(tiny.prefix), "--score", str(tmp_path / "w.tsv"), "1", "2", "3", "header",
         "cols=+scoresums,+denom", "--out", str(tmp_path / "peer")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peer = pl.read_csv(tmp_path / "peer.sscore", separator="\t")
    sums = sum_scores(tiny, [match_score(real_weights, tiny.variants)])
    np.testing.assert_allclose(sums.totals[0], peer["SCORE1_SUM"].to_numpy(), rtol=5.1e-6, atol=1e-9)
    assert sums.alleles_called[0].tolist() == peer["ALLELE_CT"].to_list()
    assert sums.alleles[0].tolist() == peer["DENOM"].to_list()


def test_a_score_of_which_little_is_there_is_refused(tiny: GenotypeStore, real_data: Path) -> None:
    """986 of the 1,004 variants come from this score, which is 1.9 % of it."""
    tables = read_score_tables(real_data / PGS / "data/structured/PGS001229_hmPOS_GRCh38.txt.gz")
    with pytest.raises(FormatError, match=r"only 920 of the 51209 variants.*1\.8%.*66 ambiguous.*fewer than the 75%"):
        score_samples(tiny, tables)
    scored = score_samples(tiny, tables, ScoringOptions(minimum_coverage=0.01))
    counts = scored.metadata["scores"][0]["counts"]
    assert sum(counts.values()) == 51_209
    assert counts["matched"] + counts["swapped"] + counts["flipped"] + counts["flipped and swapped"] == 920
    assert 920 + counts["ambiguous"] == 986


@pytest.mark.parametrize(
    ("name", "kinds", "left_out"),
    [
        ("PGS000802_hmPOS_GRCh37.txt", {"additive": 5, "dominant": 7, "recessive": 7}, 0),
        ("PGS004255_hmPOS_GRCh38.txt.gz", {"genotypic": 30}, 0),
        ("complex_variants_PGS000021.txt", {"additive": 33}, 8),
        ("complex_variants_PGS004239.txt", {"additive": 14}, 9),
        ("combined.txt.gz", {"additive": 154}, 0),
        ("OPGS002493.txt.gz", {"additive": 23}, 0),
    ],
)
def test_its_scoring_files_are_read(real_data: Path, name: str, kinds: dict[str, int], left_out: int) -> None:
    """Effect types and complex rows counted by eye in the files."""
    tables = read_score_tables(real_data / CORE / name)
    terms = pl.concat([t.terms for t in tables])
    assert dict(terms["effect_type"].value_counts().iter_rows()) == kinds
    assert terms["left_out"].is_not_null().sum() == left_out


PEER_Z = [
    ("HGDP00001", 0.6770295494299394, 0.6325425241802615),
    ("HGDP00003", 0.5585400108502149, 0.5245146020435631),
    ("HGDP00177", 1.7631801567824985, 1.6803193307520683),
    ("HGDP00849", 1.8136991086156347, 1.7876033078078626),
    ("HGDP01379", -0.44883751724708865, -0.37877495617692725),
    ("HG00096", -0.17828791966350613, -0.14293933823701124),
    ("HG01932", 1.5940999444273827, 1.5204387406785553),
    ("NA18961", 0.042747948227921204, 0.04375317204152737),
]
"""Sample, Z_norm1 and Z_norm2 of pgscatalog.calc."""


def test_adjusted_scores_equal_its_own(real_data: Path) -> None:
    folder = real_data / PGS / "legacy/data"
    sums = pl.read_csv(folder / "aggregated_scores.txt", separator="\t").select(
        pl.col("IID").alias("sample_id"), "sampleset", "SUM"
    )
    people = [
        sums.filter(pl.col("sampleset") == name).join(
            read_components(folder / f"{file}.pcs", 4), on="sample_id", how="inner", maintain_order="left"
        )
        for name, file in (("reference", "ref"), ("hgdp", "target"))
    ]
    scores, components = [[p["SUM"].to_numpy() for p in people], [p.select("^PC.$").to_numpy() for p in people]]
    assert [p.height for p in people] == [2575, 929]
    adjustment = fit_adjustment(scores[0], components[0])
    found = {}
    for table, s, x in zip(people, scores, components, strict=True):
        z = adjustment.apply(s, x)
        assert z.mean_variance is not None
        found |= dict(zip(table["sample_id"], zip(z.mean, z.mean_variance, strict=True), strict=True))
    for sample, by_mean, by_both in PEER_Z:
        assert found[sample][0] == pytest.approx(by_mean, abs=1e-12)
        assert found[sample][1] == pytest.approx(by_both, abs=2e-6)  # its optimiser stops at a gradient of 1e-5
