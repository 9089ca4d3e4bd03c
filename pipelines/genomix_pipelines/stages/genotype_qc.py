"""Stage ``genotype_qc``: which variants and samples are good enough, and what each threshold removed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.io.plink import GenotypeStore
from genomix.provenance import write_json
from genomix.schemas.people import FLOW
from genomix.variants.qc import SampleThresholds, VariantThresholds, sample_qc, threshold_table, variant_qc
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.stage_inputs import open_genotypes
from genomix_pipelines.study import Study
from genomix_pipelines.study_sections import GenotypesSection

UNREACHED_F = float("inf")

STEP_WORDS = {
    "call_rate": "called in at least {value:g} of samples (variants) or variants (samples)",
    "maf": "minor allele frequency of at least {value:g}",
    "hwe_p": "Hardy-Weinberg exact mid-p of at least {value:g}",
    "heterozygosity": "heterozygosity within {value:g} standard deviations",
    "sex_mismatch": "recorded sex agrees with X",
}


def run(context: StageContext) -> dict[str, Any]:
    """Write ``samples``, ``variants``, ``sample_info``, ``flow`` (Parquet) and ``quality.json``.

    Quality control looks at everyone and at no outcome; it runs before the split.
    """
    section: GenotypesSection = context.study.genotypes
    store = open_genotypes(context)
    ancestry = ancestry_labels(store, section)
    of_variants, of_samples = thresholds_of(section)
    variants = variant_qc(store, of_variants, ancestry=ancestry)
    context.progress(0.5, "samples")
    passed = np.flatnonzero(variants["keep"].to_numpy())
    samples = sample_qc(store, of_samples, ancestry=ancestry, variants=passed, counted=variants)
    variants.write_parquet(context.out / "variants.parquet")
    samples.write_parquet(context.out / "samples.parquet")
    store.samples.write_parquet(context.out / "sample_info.parquet")
    flow(threshold_table(variants, of_variants), threshold_table(samples, of_samples)).write_parquet(
        context.out / "flow.parquet"
    )
    write_json(context.out / "quality.json", quality(store, variants, samples, section))
    return {
        "variants": variants.height,
        "variants_kept": int(variants["keep"].sum()),
        "samples": samples.height,
        "samples_kept": int(samples["keep"].sum()),
    }


def thresholds_of(section: GenotypesSection) -> tuple[VariantThresholds, SampleThresholds]:
    """Return the study's thresholds by the library's names."""
    qc = section.qc
    of_variants = VariantThresholds(
        call_rate=qc.variant_call_rate, maf=qc.minor_allele_frequency, hwe_p=qc.hwe_p or None
    )
    of_samples = SampleThresholds(call_rate=qc.sample_call_rate, heterozygosity_sd=qc.heterozygosity_sd)
    if not qc.check_sex:
        # no F lies beyond these bounds: X F is shown but decides nothing
        of_samples = replace(of_samples, max_female_x_f=-UNREACHED_F, min_male_x_f=UNREACHED_F)
    return of_variants, of_samples


def ancestry_labels(store: GenotypeStore, section: GenotypesSection) -> pl.Series | None:
    """Return the declared ancestry column of the sample table, or None where none is declared."""
    if section.ancestry_column is None:
        return None
    if section.ancestry_column not in store.samples.columns:
        raise ConfigError(
            f"genotypes.ancestry_column = {section.ancestry_column!r} is not in the sample table",
            hint="it has: " + ", ".join(store.samples.columns),
        )
    return store.samples[section.ancestry_column].cast(pl.String)


def flow(of_variants: pl.DataFrame, of_samples: pl.DataFrame) -> pl.DataFrame:
    """Return the flow's part "genotypes": one row per threshold that is on."""
    rows = [
        ["genotypes", STEP_WORDS[name].format(value=value or 0.0), unit, entered, removed, kept, None]
        for unit, table in (("variants", of_variants), ("samples", of_samples))
        for name, value, entered, removed, kept in table.iter_rows()
        if value is not None and value < UNREACHED_F
    ]
    return FLOW.validate(pl.DataFrame(rows, schema={c.name: c.dtype for c in FLOW.columns}, orient="row"))


def quality(
    store: GenotypeStore, variants: pl.DataFrame, samples: pl.DataFrame, section: GenotypesSection
) -> dict[str, Any]:
    """Return plain figures for the report."""
    frequency = variants["alt_frequency"].drop_nulls().to_numpy()
    minor = np.minimum(frequency, 1 - frequency)
    return {
        "build": store.build,
        "variants": variants.height,
        "variants_kept": int(variants["keep"].sum()),
        "samples": samples.height,
        "samples_kept": int(samples["keep"].sum()),
        "contigs": variants["contig"].n_unique(),
        "variant_call_rate_median": float(np.median(variants["call_rate"].to_numpy())),
        "sample_call_rate_median": float(np.median(samples["call_rate"].to_numpy())),
        "minor_allele_frequency_median": float(np.median(minor)) if len(minor) else None,
        "sex": {
            name: int((samples["sex"] == code).sum()) for name, code in (("male", 1), ("female", 2), ("unknown", 0))
        },
        "ancestry": ancestry_counts(store, section),
    }


def ancestry_counts(store: GenotypeStore, section: GenotypesSection) -> dict[str, int]:
    """Return people per ancestry label, empty where none is declared."""
    labels = ancestry_labels(store, section)
    if labels is None:
        return {}
    counts = labels.fill_null("not stated").value_counts().sort(labels.name)
    return {str(label): int(n) for label, n in counts.iter_rows()}


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return the thresholds."""
    assert study.genotypes is not None
    return {"qc": study.genotypes.qc.model_dump(mode="json"), "ancestry_column": study.genotypes.ancestry_column}


STAGE = Stage(
    name="genotype_qc",
    run=run,
    needs=("convert_genotypes",),
    wanted=lambda study: study.genotypes is not None,
    parameters=parameters,
)
