"""Genotype tables: variants, samples, quality control, kinship, relatives, components, scores."""

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
        Column("filter", pl.String, "FILTER; PASS where the file has none"),
        Column("imputation_quality", pl.Float64, "R2, DR2, ER2 or INFO, as the file gives it", nullable=True),
        Column("n_called", pl.Int64, "samples with a call"),
        Column("call_rate", pl.Float64, "n_called / samples"),
        Column("alt_count", pl.Int64, "copies of the ALT, as people carry them"),
        Column("allele_count", pl.Int64, "copies of any allele"),
        Column("alt_frequency", pl.Float64, "ALT allele frequency; null without calls", nullable=True),
        Column("n_hom_ref", pl.Int64, "people with two copies, none of them the ALT"),
        Column("n_het", pl.Int64, "people with two copies, one of them the ALT"),
        Column("n_hom_alt", pl.Int64, "people with two copies of the ALT"),
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
        Column("call_rate", pl.Float64, "called / all autosomal records with one ALT; 1 without any"),
        Column("heterozygosity_f", pl.Float64, "1 - observed / expected heterozygotes, autosomal", nullable=True),
        Column("x_f", pl.Float64, "the same F on X outside the PARs; null without X variants", nullable=True),
        Column("y_call_rate", pl.Float64, "called / all variants on Y; null without Y variants", nullable=True),
        Column("x_sex", pl.Int8, "sex by X F: 1 male, 2 female, 0 neither"),
        Column("n_het", pl.Int64, "heterozygous calls, autosomal"),
        Column("n_hom_alt", pl.Int64, "calls with two copies of an ALT, autosomal"),
        Column("n_non_reference", pl.Int64, "calls with an ALT, autosomal; one with two ALTs counts for each"),
        Column("n_singletons", pl.Int64, "autosomal ALTs whose one copy is this sample's"),
        Column("n_transitions", pl.Int64, "autosomal calls with an ALT that is a transition"),
        Column("n_transversions", pl.Int64, "autosomal calls with an ALT that is a transversion"),
        Column("ti_tv", pl.Float64, "n_transitions / n_transversions; null without the latter", nullable=True),
        Column(
            "duplicate_of", pl.String, "the sample that it duplicates; null if none, or not looked for", nullable=True
        ),
        Column("keep", pl.Boolean, "passed every threshold"),
        Column("reason", pl.String, "first threshold that it failed, or empty"),
    ),
    key=("sample_id",),
)

QC_THRESHOLDS = FrameSchema(
    "quality thresholds",
    (
        Column("unit", pl.String, "variants or samples"),
        Column("threshold", pl.String, "its name, as in `reason`"),
        Column("value", pl.Float64, "its value; null where it is a word (FILTER)", nullable=True),
        Column("entered", pl.Int64, "variants or samples that passed the thresholds above"),
        Column("removed", pl.Int64, "of those, how many failed it"),
        Column("kept", pl.Int64, "of those, how many passed it"),
        Column("note", pl.String, "why it decided nothing; null if it did decide", nullable=True),
    ),
    key=("unit", "threshold"),
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

KINSHIP_NAMED = FrameSchema(
    "kinship with names",
    (
        Column("sample_id_a", pl.String, "identifier of sample_a"),
        Column("sample_id_b", pl.String, "identifier of sample_b"),
        *KINSHIP.columns,
        Column("degree", pl.String, "duplicate, first, second, third or unrelated"),
    ),
    key=("sample_a", "sample_b"),
)

RELATIVES = FrameSchema(
    "relatives",
    (
        Column("sample_id", pl.String, "a genotyped specimen (IID)"),
        Column("group", pl.Int64, "kin group: its smallest 0-based sample number"),
        Column("group_size", pl.Int64, "samples in the group"),
        Column("unrelated", pl.Boolean, "member of a set in which no pair is above the threshold"),
    ),
    key=("sample_id",),
)

COMPONENT_SCORES = FrameSchema(
    "component scores",
    (
        Column("sample_id", pl.String, "a genotyped specimen (IID)"),
        Column(
            "fitted", pl.Boolean, "components were fitted on it, or --model compares with it; the others are projected"
        ),
        Column("distance", pl.Float64, "squared robust Mahalanobis distance of its components", nullable=True),
        Column(
            "is_outlier",
            pl.Boolean,
            "distance beyond the bound; null without a distance, and for projected samples unless corrected",
            nullable=True,
        ),
        Column("pc_1", pl.Float64, "score of component 1 (SD of the fitted samples); pc_2, pc_3, ... alike"),
    ),
    key=("sample_id",),
    extra_allowed=True,
)

EIGENVALUES = FrameSchema(
    "eigenvalues",
    (
        Column("component", pl.Int64, "number of the component, from 1"),
        Column("eigenvalue", pl.Float64, "of the genetic relationship matrix of the fitted samples"),
        Column("projected_sd", pl.Float64, "SD of the projected samples' scores; null below two", nullable=True),
        Column("expected_sd", pl.Float64, "SD to expect of people like the fitted; null if randomised", nullable=True),
    ),
    key=("component",),
)

PCA_MODEL = FrameSchema(
    "model of principal components",
    (
        *VARIANTS.columns,
        Column("alt_frequency", pl.Float64, "ALT allele frequency among the fitting samples"),
        Column(
            "pc_1",
            pl.Float64,
            "loading of a standardised genotype on component 1; pc_2, pc_3, ... alike",
            optional=True,
        ),
    ),
    extra_allowed=True,
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
