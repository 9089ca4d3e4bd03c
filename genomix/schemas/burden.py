"""Annotation of variants by gene, gene sets under a mask, and the results of gene-based tests."""

from __future__ import annotations

import polars as pl

from genomix.schemas.frame import Column, FrameSchema

ANNOTATIONS = FrameSchema(
    "variant annotation",
    (
        Column("contig", pl.String, "contig name without 'chr'"),
        Column("position", pl.Int64, "1-based position of REF's first base, as in the annotated file"),
        Column("ref", pl.String, "reference allele"),
        Column("alt", pl.String, "the one alternative allele that is meant"),
        Column("variant_id", pl.String, "identifier, where variants are matched by it", nullable=True, optional=True),
        Column("gene", pl.String, "gene symbol, else gene identifier"),
        Column("gene_id", pl.String, "gene identifier", nullable=True),
        Column("transcript", pl.String, "transcript or other feature", nullable=True),
        Column("consequence", pl.String, "Sequence Ontology terms joined by '&', or a label"),
        Column("biotype", pl.String, "biotype of the transcript", nullable=True),
        Column("canonical", pl.Boolean, "canonical transcript; null where the file does not say", nullable=True),
        Column("mane", pl.Boolean, "MANE Select transcript; null where the file does not say", nullable=True),
        Column("lof", pl.String, "LOFTEE's HC or LC", nullable=True),
    ),
)

GENE_VARIANTS = FrameSchema(
    "variants of genes",
    (
        Column("gene", pl.String, "gene"),
        Column("mask", pl.String, "mask"),
        Column("variant", pl.Int64, "row of the store's variants"),
        Column("consequence", pl.String, "the most severe term that let it in"),
    ),
    key=("gene", "mask", "variant"),
)

BURDEN_VARIANTS = FrameSchema(
    "burden variants",
    (
        Column("gene", pl.String, "gene"),
        Column("mask", pl.String, "mask"),
        Column("contig", pl.String, "contig name without 'chr'"),
        Column("position", pl.Int64, "1-based position of REF's first base"),
        Column("variant_id", pl.String, "ID as given, or contig:position:ref:alt"),
        Column("ref", pl.String, "reference allele"),
        Column("alt", pl.String, "alternative allele"),
        Column("consequence", pl.String, "the most severe term that let it in"),
        Column("frequency", pl.Float64, "ALT frequency that the mask was applied to"),
        Column("weight", pl.Float64, "weight per copy"),
        Column("flipped", pl.Boolean, "copies of REF are counted, ALT being the common allele"),
    ),
)

BURDEN_GENES = FrameSchema(
    "burden genes",
    (
        Column("gene", pl.String, "gene"),
        Column("mask", pl.String, "mask"),
        Column("contig", pl.String, "contig of its annotated variants or of its interval", nullable=True),
        Column("start", pl.Int64, "smallest position, 1-based", nullable=True),
        Column("end", pl.Int64, "largest position, 1-based", nullable=True),
        Column("n_annotated", pl.Int64, "alleles that the annotation gives to the gene"),
        Column("n_genotyped", pl.Int64, "of these, alleles in the genotypes"),
        Column("n_consequence", pl.Int64, "of these, alleles with a consequence of the mask"),
        Column("n_variants", pl.Int64, "of these, alleles of the mask's frequency: the burden is made of them"),
        Column("n_seen", pl.Int64, "of these, alleles with a counted copy in some sample"),
        Column("carriers", pl.Int64, "samples with at least one counted copy"),
        Column("allele_count", pl.Int64, "counted copies over all samples"),
        Column("n_missing", pl.Int64, "missing calls over all samples and variants"),
        Column("reason", pl.String, "why the gene has no burden under this mask, or empty"),
    ),
    key=("gene", "mask"),
)

BURDEN_MATRIX = FrameSchema(
    "burden matrix",
    (
        Column("sample_id", pl.String, "a genotyped specimen (IID)"),
        Column(
            "<gene>:<mask>", pl.Float32, "copies, carrier (0 or 1) or weighted copies, by --collapse", optional=True
        ),
    ),
    key=("sample_id",),
    extra_allowed=True,
)
"""``TABLE`` itself: one column per gene and mask that has a variant."""

BURDEN_COUNTS = FrameSchema(
    "burden counts (keys of TABLE.counts.json)",
    (
        Column(
            "loading", pl.Struct({}), "records in and out when reading; null for a fileset read as is", nullable=True
        ),
        Column("burden", pl.Struct({}), "annotated alleles, entries and frequencies, in and out by reason"),
        Column("samples", pl.Int64, "rows of the matrix"),
        Column("genes", pl.Int64, "genes of the annotation or of the intervals"),
        Column("genes x masks with a burden", pl.Int64, "columns of the matrix"),
        Column("genes x masks: <reason>", pl.Int64, "genes x masks without a carrier, by reason", optional=True),
        Column("tests", pl.Int64, "tests, with a phenotype", optional=True),
        Column("tests with a result", pl.Int64, "of these, with a p value", optional=True),
        Column("kinship", pl.Struct({}), "related pairs of the tested and variants they are from", optional=True),
    ),
)

BURDEN_TESTS = FrameSchema(
    "burden tests",
    (
        Column("gene", pl.String, "gene"),
        Column("mask", pl.String, "mask"),
        Column("n_samples", pl.Int64, "samples with phenotype and covariates"),
        Column("n_variants", pl.Int64, "variants of the burden"),
        Column("carriers", pl.Int64, "of these samples, those with a burden above 0"),
        Column("test", pl.String, "linear, logistic, firth, skat or skat-o"),
        Column("beta", pl.Float64, "effect per unit of burden (log odds ratio in logistic models)", nullable=True),
        Column("se", pl.Float64, "standard error of beta", nullable=True),
        Column("statistic", pl.Float64, "t, z, likelihood-ratio chi-square or Q, by test", nullable=True),
        Column("p", pl.Float64, "two-sided p value", nullable=True),
        Column("reason", pl.String, "why there is no result, or empty"),
    ),
    key=("gene", "mask", "test"),
)
