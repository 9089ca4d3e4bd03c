"""Genotype tables: variants, samples, quality control, kinship, scores."""

from __future__ import annotations

import polars as pl

from genomix.schemas.frame import Column, FrameSchema

VARIANTS = FrameSchema(
    "variants",
    (
        Column("contig", pl.String, "contig name without 'chr'"),
        Column("position", pl.Int64, "1-based position of REF's first base"),
        Column("variant_id", pl.String, "ID as given, or contig:position:ref:alt"),
        Column("ref", pl.String, "reference allele"),
        Column("alt", pl.String, "alternative alleles, comma-separated"),
    ),
)

SAMPLES = FrameSchema(
    "samples",
    (
        Column("sample_id", pl.String, "a genotyped specimen (IID)"),
        Column("sex", pl.Int8, "1 male, 2 female, 0 unknown (PLINK)"),
    ),
    key=("sample_id",),
    extra_allowed=True,
)

VARIANT_QC = FrameSchema(
    "variant quality",
    (
        *VARIANTS.columns,
        Column("n_called", pl.Int64, "samples with a call"),
        Column("call_rate", pl.Float64, "n_called / samples"),
        Column("alt_frequency", pl.Float64, "ALT allele frequency; null without calls", nullable=True),
        Column("hwe_p", pl.Float64, "exact mid-p of Hardy-Weinberg (autosomes, and X in females)", nullable=True),
        Column("keep", pl.Boolean, "passed every threshold"),
        Column("reason", pl.String, "first threshold that it failed, or empty"),
    ),
)

SAMPLE_QC = FrameSchema(
    "sample quality",
    (
        Column("sample_id", pl.String, "a genotyped specimen (IID)"),
        Column("sex", pl.Int8, "recorded sex: 1 male, 2 female, 0 unknown"),
        Column("call_rate", pl.Float64, "called autosomal variants / autosomal variants"),
        Column("heterozygosity_f", pl.Float64, "1 - observed / expected heterozygotes, autosomal", nullable=True),
        Column("x_f", pl.Float64, "the same F on X outside the PARs; null without X variants", nullable=True),
        Column("keep", pl.Boolean, "passed every threshold"),
        Column("reason", pl.String, "first threshold that it failed, or empty"),
    ),
    key=("sample_id",),
)

KINSHIP = FrameSchema(
    "kinship",
    (
        Column("sample_a", pl.Int64, "0-based sample number, smaller one"),
        Column("sample_b", pl.Int64, "0-based sample number, larger one"),
        Column("kinship", pl.Float64, "KING-robust coefficient"),
    ),
    key=("sample_a", "sample_b"),
)

SCORE_WEIGHTS = FrameSchema(
    "score weights",
    (
        Column("contig", pl.String, "contig name without 'chr'"),
        Column("position", pl.Int64, "1-based position"),
        Column("effect_allele", pl.String, "the allele whose copies are counted"),
        Column("other_allele", pl.String, "the other allele", nullable=True),
        Column("weight", pl.Float64, "weight per copy of the effect allele"),
    ),
)
