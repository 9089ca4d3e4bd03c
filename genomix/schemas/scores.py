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
    (Column("sample_id", pl.String, "a genotyped specimen (IID)"),),
    key=("sample_id",),
    extra_allowed=True,
)
"""Further columns per score: ``NAME_sum``, ``NAME_average``, ``NAME_ALLELE_CT``, ``NAME_DENOM`` and, where fitted,
``NAME_z_mean`` and ``NAME_z_mean_variance``."""

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
