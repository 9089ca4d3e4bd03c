"""Quality control of variants, from genotype counts (:mod:`genomix.variants.genotype_counts`).

Hardy-Weinberg and ancestry: pooled samples of several populations have too few heterozygotes at most variants (Wahlund)
without any genotyping error. So the test runs within the largest label when ancestry labels are given; without labels
it only removes variants with *too many* heterozygotes, which structure cannot produce (PLINK 2's ``keep-fewhet``).

Counts and frequencies are those of hard calls, also where the file holds dosages; what an imputation program says of a
variant's quality is read from INFO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.contigs import PloidyClass
from genomix.io.plink import GenotypeStore
from genomix.schemas.genotypes import VARIANT_QC, VARIANTS
from genomix.variants.genotype_counts import (
    FEMALE,
    HUMAN_AUTOSOMES,
    GenotypeCounts,
    IntArray,
    autosomal_biallelic,
    call_blocks,
    count_block,
    count_genotypes,
    sample_numbers,
    store_ploidy_classes,
)
from genomix.variants.hwe import hwe_exact_mid_p_many
from genomix.variants.sample_qc import DUPLICATE, SampleThresholds, heterozygosity, sample_qc

__all__ = [
    "GenotypeCounts", "SampleThresholds", "VariantThresholds", "autosomal_biallelic", "count_genotypes",
    "heterozygosity", "imputation_quality", "largest_label", "sample_qc", "store_ploidy_classes", "threshold_table",
    "variant_qc", "variant_qc_from_counts",
]  # fmt: skip

QUALITY_KEYS = ("R2", "DR2", "ER2", "INFO")
"""INFO keys of imputation quality (minimac, Beagle, IMPUTE), the first of them that a record has."""


@dataclass(frozen=True)
class VariantThresholds:
    """What a variant must reach; a value of None switches its threshold off.

    Parameters
    ----------
    call_rate: smallest share of samples with a call, in [0, 1].
    maf: smallest minor allele frequency, in [0, 0.5]; at any value a monomorphic variant fails it.
    hwe_p: smallest exact mid-p (autosomes, PARs, and X in females; never Y, MT or other contigs).
    min_imputation_quality: smallest imputation quality (R2, DR2, ER2 or INFO); a variant without one is not judged.
    filter_pass: True removes variants whose FILTER is something else than PASS.
    keep_fewer_heterozygotes: True lets variants with a deficit pass the Hardy-Weinberg threshold; None does so exactly
        when no ancestry labels are given.
    """

    call_rate: float | None = 0.95
    maf: float | None = 0.01
    hwe_p: float | None = 1e-6
    min_imputation_quality: float | None = None
    filter_pass: bool = False
    keep_fewer_heterozygotes: bool | None = None


def largest_label(labels: Sequence[str | None] | pl.Series) -> str | None:
    """Return the most frequent label, the first in alphabetical order of equals; None without labels."""
    counts = pl.Series("label", labels, dtype=pl.String).drop_nulls().value_counts(sort=False)
    ordered = counts.sort(["count", "label"], descending=[True, False])
    return str(ordered["label"][0]) if ordered.height else None


def imputation_quality(annotations: pl.DataFrame, allele: pl.Series | None = None) -> pl.Series:
    """Return each row's imputation quality from its INFO, Float64, null where it has none.

    Parameters
    ----------
    annotations: frame with ``info``.
    allele: number of each row's ALT, for keys that have one value per ALT; None takes the first.

    >>> imputation_quality(pl.DataFrame({"info": ["IMPUTED;R2=0.5", ".", "AF=0.1;DR2=0.25,0.75"]})).to_list()
    [0.5, None, 0.25]
    """
    info = annotations["info"]
    if not info.str.contains("=", literal=True).any():
        return pl.Series("imputation_quality", [None] * len(info), dtype=pl.Float64)
    found = pl.coalesce(pl.col("info").str.extract(rf"(?:^|;){key}=([^;]+)") for key in QUALITY_KEYS)
    at = pl.lit(0) if allele is None else pl.Series("at", allele, dtype=pl.Int64) - 1
    values = annotations.select(found.str.split(",").alias("values")).with_columns(at.alias("at"))
    own = pl.col("values").list.get(pl.col("at"), null_on_oob=True)
    text = values.select(pl.coalesce(own, pl.col("values").list.first()).alias("imputation_quality"))
    return text.to_series().cast(pl.Float64, strict=False)


def variant_qc(
    store: GenotypeStore,
    thresholds: VariantThresholds | None = None,
    *,
    samples: Any = None,
    ancestry: Sequence[str | None] | pl.Series | None = None,
    autosomes: int = HUMAN_AUTOSOMES,
) -> pl.DataFrame:
    """Return one row per row of the store's variants (schema VARIANT_QC).

    Parameters
    ----------
    thresholds: None for the defaults.
    samples: 0-based samples that count (e.g. training samples, or unrelated ones); None for all.
    ancestry: one label per sample of the store (null where unknown); Hardy-Weinberg is then tested within the label
        that most of ``samples`` have.
    autosomes: number of autosomes of the species.
    """
    limits = thresholds or VariantThresholds()
    chosen = sample_numbers(store, samples)
    counts = count_genotypes(store, samples=chosen, autosomes=autosomes)
    group = chosen if ancestry is None else _largest_group(chosen, ancestry)
    tested = counts if len(group) == len(chosen) else count_genotypes(store, samples=group, autosomes=autosomes)
    classes = store_ploidy_classes(store, autosomes=autosomes)
    fewer_pass = limits.keep_fewer_heterozygotes
    notes = store.annotations.select(pl.col("filter").replace(".", "PASS")).with_columns(
        imputation_quality(store.annotations, store.variants["allele"])
    )
    return variant_qc_from_counts(
        store.variants.select(VARIANTS.names).hstack(notes),
        counts,
        _with_females_alone_on_x(store, tested, classes, group),
        classes,
        limits,
        keep_fewer_heterozygotes=ancestry is None if fewer_pass is None else fewer_pass,
    )


def _largest_group(chosen: IntArray, ancestry: Sequence[str | None] | pl.Series) -> IntArray:
    labels = pl.Series("label", ancestry, dtype=pl.String)
    label = largest_label(labels[chosen])
    if label is None:
        return chosen
    return np.asarray(chosen[(labels == label).fill_null(False).to_numpy()[chosen]])


def _with_females_alone_on_x(
    store: GenotypeStore, counts: GenotypeCounts, classes: npt.NDArray[np.int8], samples: IntArray
) -> GenotypeCounts:
    """Two-copy genotype counts; on X of recorded females alone, since a doubled male call looks homozygous."""
    on_x = np.flatnonzero(classes == PloidyClass.X)
    if not len(on_x):
        return counts
    females = samples[store.samples["sex"].to_numpy()[samples] == FEMALE]
    everyone_else = np.full(len(on_x), PloidyClass.AUTOSOME, dtype=np.int8)
    parts = {name: getattr(counts, name).copy() for name in ("hom_ref", "het", "hom_alt")}
    for part, calls in call_blocks(store, on_x, females):
        of_females = count_block(calls, everyone_else[part], np.zeros(len(females), dtype=np.bool_))
        for name, values in zip(parts, of_females, strict=False):
            parts[name][on_x[part]] = values
    return replace(counts, **parts)


def variant_qc_from_counts(
    variants: pl.DataFrame, counts: GenotypeCounts, tested: GenotypeCounts, classes: npt.NDArray[np.int8],
    thresholds: VariantThresholds, *, keep_fewer_heterozygotes: bool,
) -> pl.DataFrame:  # fmt: skip
    """Apply the thresholds to genotype counts.

    Parameters
    ----------
    variants: VARIANTS columns, ``filter`` and ``imputation_quality``.
    counts: of all samples that count; tested: for Hardy-Weinberg.
    """
    frequency = counts.alt_frequency
    call_rate = counts.n_called / np.maximum(counts.n_eligible, 1)
    p = _hwe_p(tested, classes)
    quality = variants["imputation_quality"].to_numpy()
    failures = {
        "filter": (variants["filter"] != "PASS").to_numpy() & thresholds.filter_pass,
        "imputation_quality": quality < (thresholds.min_imputation_quality or 0.0),
        "call_rate": call_rate < (thresholds.call_rate or 0.0),
        "maf": _too_rare(frequency, thresholds.maf),
        "hwe_p": p < (thresholds.hwe_p or 0.0),
    }
    if keep_fewer_heterozygotes:
        failures["hwe_p"] &= _excess_heterozygotes(tested)
    reason = np.select(list(failures.values()), list(failures), default="")
    columns = {
        "n_called": counts.n_called, "call_rate": call_rate, "alt_count": counts.alt_count,
        "allele_count": counts.allele_count, "alt_frequency": frequency, "n_hom_ref": counts.hom_ref,
        "n_het": counts.het, "n_hom_alt": counts.hom_alt, "hwe_p": p,
        "keep": reason == "", "reason": reason.tolist(),
    }  # fmt: skip
    types = {c.name: c.dtype for c in VARIANT_QC.columns}
    frame = variants.with_columns(
        pl.Series(name, values, dtype=types[name]).fill_nan(None) if types[name] == pl.Float64
        else pl.Series(name, values, dtype=types[name])
        for name, values in columns.items()
    )  # fmt: skip
    return VARIANT_QC.validate(frame)


def _hwe_p(tested: GenotypeCounts, classes: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """Mid-p on autosomes, PARs and X; NaN elsewhere and without a call."""
    p = hwe_exact_mid_p_many(tested.het, tested.hom_ref, tested.hom_alt)
    testable = np.isin(classes, [PloidyClass.AUTOSOME, PloidyClass.PAR, PloidyClass.X])
    has_counts = (tested.het + tested.hom_ref + tested.hom_alt) > 0
    return np.where(testable & has_counts, p, np.nan)


def _too_rare(frequency: npt.NDArray[np.float64], maf: float | None) -> npt.NDArray[np.bool_]:
    if maf is None:
        return np.zeros(len(frequency), dtype=np.bool_)
    minor = np.minimum(frequency, 1 - frequency)
    return np.asarray(~(minor > 0) | (minor < maf))


def _excess_heterozygotes(counts: GenotypeCounts) -> npt.NDArray[np.bool_]:
    n = counts.hom_ref + counts.het + counts.hom_alt
    alt = counts.het + 2 * counts.hom_alt
    expected = alt * (2 * n - alt) / np.maximum(2 * n, 1)
    return np.asarray(counts.het > expected)


def threshold_table(quality: pl.DataFrame, thresholds: VariantThresholds | SampleThresholds) -> pl.DataFrame:
    """Return what each threshold removed: threshold, value, entered, removed, kept, in the order of application.

    Something that fails two thresholds is counted at the first.
    """
    values: dict[str, float | None] = {}
    if isinstance(thresholds, VariantThresholds):
        if thresholds.filter_pass:
            values["filter"] = None
        if thresholds.min_imputation_quality is not None:
            values["imputation_quality"] = thresholds.min_imputation_quality
        values |= {"call_rate": thresholds.call_rate, "maf": thresholds.maf, "hwe_p": thresholds.hwe_p}
    else:
        values |= {
            "call_rate": thresholds.call_rate,
            "heterozygosity": thresholds.heterozygosity_sd,
            "sex_mismatch": thresholds.min_male_x_f,
        }
        if thresholds.remove_duplicates:
            values["duplicate"] = DUPLICATE
    rows: list[tuple[str, float | None, int, int, int]] = []
    left = quality.height
    for name, value in values.items():
        removed = int((quality["reason"] == name).sum())
        rows.append((name, value, left, removed, left - removed))
        left -= removed
    schema = {"threshold": pl.String, "value": pl.Float64, "entered": pl.Int64, "removed": pl.Int64, "kept": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")
