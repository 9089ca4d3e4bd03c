"""Polygenic scores: what a scoring file says, what became of each weight, and what a sample scores."""

from __future__ import annotations

import polars as pl

from genomix.schemas.frame import Column, FrameSchema

ADDITIVE, DOMINANT, RECESSIVE, GENOTYPIC = EFFECT_TYPES = ("additive", "dominant", "recessive", "genotypic")
"""What a weight multiplies: copies, copies up to one, copies beyond one; or one weight per number of copies."""

SCORE_TERMS = FrameSchema(
    "score terms",
    (
        Column("line", pl.Int64, "1-based line of the scoring file"),
        Column("contig", pl.String, "contig name without 'chr'", nullable=True),
        Column("position", pl.Int64, "1-based position", nullable=True),
        Column("variant_id", pl.String, "rsID or other name", nullable=True),
        Column("effect_allele", pl.String, "the allele whose copies are counted"),
        Column("other_allele", pl.String, "the other allele", nullable=True),
        Column("weight", pl.Float64, "weight; of a genotypic term the largest difference between its three weights"),
        Column("effect_type", pl.String, "additive | dominant | recessive | genotypic"),
        Column("weight_0", pl.Float64, "genotypic: weight of no copy", nullable=True),
        Column("weight_1", pl.Float64, "genotypic: weight of one copy", nullable=True),
        Column("weight_2", pl.Float64, "genotypic: weight of two copies", nullable=True),
        Column("effect_frequency", pl.Float64, "frequency of the effect allele, as stated", nullable=True),
        Column("left_out", pl.String, "why the row cannot be summed, null where it can", nullable=True),
    ),
    key=("line",),
)

SCORE_MATCHES = FrameSchema(
    "score matches",
    (
        Column("score", pl.String, "name of the score"),
        Column("status", pl.String, "what became of the weights: matched, swapped, flipped, ambiguous, missing, ..."),
        Column("used", pl.Boolean, "whether they are summed"),
        Column("n_weights", pl.Int64, "weights of the scoring file"),
        Column("share", pl.Float64, "of all weights of the score"),
        Column("weight_share", pl.Float64, "of the sum of all absolute weights of the score"),
    ),
    key=("score", "status"),
)

SAMPLE_SCORES = FrameSchema(
    "sample scores",
    (
        Column("sample_id", pl.String, "a genotyped specimen (IID)"),
        Column("<score>_sum", pl.Float64, "sum of weight times copies of the effect allele", optional=True),
        Column(
            "<score>_average", pl.Float64, "sum / DENOM (plink2's SCORE1_AVG); null without alleles", nullable=True,
            optional=True,
        ),
        Column("<score>_ALLELE_CT", pl.Int64, "alleles of known genotypes (plink2's ALLELE_CT)", optional=True),
        Column("<score>_DENOM", pl.Int64, "alleles that went into the sum, imputed ones too", optional=True),
        Column(
            "<score>_z_mean", pl.Float64, "deviation from the mean expected at this ancestry; null without components",
            nullable=True, optional=True, unit="SD",
        ),
        Column(
            "<score>_z_mean_variance", pl.Float64, "the same over the SD expected at this ancestry", nullable=True,
            optional=True, unit="SD",
        ),
    ),
    key=("sample_id",),
    extra_allowed=True,
)  # fmt: skip
"""``NAME.parquet`` or ``NAME.tsv``: ``<score>`` stands for each score's name; z columns where they were fitted."""

SCORE_VERDICTS = FrameSchema(
    "score details",
    (
        Column("score", pl.String, "name of the score"),
        Column("line", pl.Int64, "1-based line of the scoring file"),
        Column("contig", pl.String, "contig name without 'chr', as in the scoring file", nullable=True),
        Column("position", pl.Int64, "1-based position", nullable=True),
        Column("variant_id", pl.String, "rsID or other name", nullable=True),
        Column("effect_allele", pl.String, "the allele whose copies are counted"),
        Column("other_allele", pl.String, "the other allele", nullable=True),
        Column("weight", pl.Float64, "weight"),
        Column("status", pl.String, "what became of the weight, as in the match report"),
        Column("store_variant", pl.String, "identifier of the variant that is used", nullable=True),
    ),
    key=("score", "line"),
)
"""What ``--details`` writes: one row per weight."""

SCORE_METADATA = FrameSchema(
    "score metadata (keys of NAME.json)",
    (
        Column("build", pl.String, "build of the genotypes, or unknown"),
        Column("n_samples", pl.Int64, "samples scored"),
        Column("imputation", pl.String, "what a missing genotype counts as"),
        Column("ambiguous", pl.String, "drop, keep or resolve"),
        Column("x_coding", pl.String, "copies on X, Y and MT"),
        Column("ancestry", pl.String, "where the components come from", nullable=True),
        Column("scores", pl.List(pl.Struct({})), "one entry per score, see the next table"),
    ),
)

SCORE_FACTS = FrameSchema(
    "score metadata (keys of each entry of scores in NAME.json)",
    (
        Column("name", pl.String, "name of the score"),
        Column("build", pl.String, "build of its positions, or unknown"),
        Column("trait", pl.String, "reported trait, or empty"),
        Column("citation", pl.String, "as stated, or empty"),
        Column("n_variants", pl.Int64, "weights of the score"),
        Column("n_without_position", pl.Int64, "of these, without a position"),
        Column("licence", pl.String, "as stated, or empty"),
        Column("weight_type", pl.String, "as stated, or empty"),
        Column("discovery_cohorts", pl.String, "as declared: none, overlaps or unknown"),
        Column("discovery_cohorts_as_stated", pl.String, "cohorts that the scoring file names, or empty"),
        Column("counts", pl.Struct({}), "weights by what became of them"),
        Column("coverage", pl.Float64, "share of the weights that is used"),
        Column("weight_coverage", pl.Float64, "used share of the sum of absolute weights"),
        Column("effect_types", pl.Struct({}), "used weights by effect type"),
        Column(
            "n_without_frequency", pl.Int64, "used weights whose allele frequency is unknown; null where none is used",
            nullable=True,
        ),
        Column("adjustment", pl.Struct({}), "what was fitted for the z-scores", nullable=True),
    ),
)  # fmt: skip

ALLELE_FREQUENCIES = FrameSchema(
    "allele frequencies",
    (
        Column("contig", pl.String, "contig name without 'chr'", nullable=True),
        Column("position", pl.Int64, "1-based position", nullable=True),
        Column("variant_id", pl.String, "ID as given", nullable=True),
        Column("ref", pl.String, "reference allele"),
        Column("alt", pl.String, "one alternative allele"),
        Column("alt_frequency", pl.Float64, "frequency of the alternative allele", nullable=True),
    ),
)
