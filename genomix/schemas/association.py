"""Association results: one row per variant and phenotype, tested or not."""

from __future__ import annotations

import polars as pl

from genomix.schemas.frame import Column, FrameSchema

TESTED = "."
"""The errcode of a row that was tested."""

ERROR_CODES: dict[str, str] = {
    "CONST_OMITTED_ALLELE": "everybody tested has the same number of copies of REF, and so of A1",
    "CONST_ALLELE": "the same of A1, where the record has further ALTs",
    "LOW_ALLELE_COUNT": "fewer copies of the rarer allele among those tested than the minimum asked for",
    "SAMPLE_CT<=PREDICTOR_CT": "no more people with a call than coefficients (also: nobody tested has a call)",
    "CORR_TOO_HIGH": "genotype and a covariate, or two covariates among those tested, correlate above the limit",
    "VIF_TOO_HIGH": "variance inflation factor above the limit",
    "LOGISTIC_CONVERGE_FAIL": "logistic regression did not converge, and no Firth regression was asked for",
    "FIRTH_CONVERGE_FAIL": "Firth regression did not converge",
    "INVALID_RESULT": "the residual variance is not positive",
}
"""Why a row has no result: PLINK 2's words, and LOW_ALLELE_COUNT, which is ours (PLINK 2 has no such bound)."""

ASSOCIATION = FrameSchema(
    "association",
    (
        Column("contig", pl.String, "contig name without 'chr'"),
        Column("position", pl.Int64, "1-based position of REF's first base"),
        Column("variant_id", pl.String, "ID as given, or contig:position:ref:alt"),
        Column("ref", pl.String, "reference allele"),
        Column("alt", pl.String, "alternative allele"),
        Column("a1", pl.String, "the allele whose copies are tested: always ALT"),
        Column("phenotype", pl.String, "name of the phenotype"),
        Column("model", pl.String, "linear | logistic | firth: what gave the row's figures"),
        Column(
            "a1_count",
            pl.Float64,
            "copies of A1 among those tested; on X a male has 0 or 2, on Y and MT a person 0 to 1",
            nullable=True,
        ),
        Column(
            "allele_count", pl.Int64, "alleles among those tested: two per person (also per male on X), one on Y and MT"
        ),
        Column("a1_frequency", pl.Float64, "a1_count / allele_count; null without a call", nullable=True),
        Column("n_observed", pl.Int64, "people with genotype, phenotype and all covariates"),
        Column("n_cases", pl.Int64, "cases among them; null for a quantity", nullable=True),
        Column("beta", pl.Float64, "effect per copy of A1; log odds ratio for a case-control phenotype", nullable=True),
        Column("se", pl.Float64, "its standard error", nullable=True),
        Column("statistic", pl.Float64, "t (linear), z (Wald) or signed root of the likelihood ratio", nullable=True),
        Column("p", pl.Float64, "two-sided p value; 0 where it underflows", nullable=True),
        Column("minus_log10_p", pl.Float64, "-log10(P), exact in the far tail", nullable=True),
        Column("errcode", pl.String, f"'{TESTED}' where tested, otherwise why not: " + ", ".join(ERROR_CODES)),
    ),
)
