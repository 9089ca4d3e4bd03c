"""Quality control of variants and samples, from genotype counts.

Copies are counted as people carry them: on X outside the pseudo-autosomal regions and on Y a male has one copy, on MT
everyone has. A heterozygous call where there is one copy is no call. Y is counted in males. Unknown sex counts as
female on X (as PLINK does), and is not counted on Y.

Hardy-Weinberg and ancestry: pooled samples of several populations have too few heterozygotes at most variants (Wahlund)
without any genotyping error. So the test runs within the largest label when ancestry labels are given; without labels
it only removes variants with *too many* heterozygotes, which structure cannot produce (PLINK 2's ``keep-fewhet``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.contigs import PloidyClass, ploidy_classes
from genomix.io.plink import GenotypeStore
from genomix.schemas.genotypes import SAMPLE_QC, VARIANT_QC, VARIANTS
from genomix.variants.hwe import hwe_exact_mid_p_many

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MALE, FEMALE = 1, 2


@dataclass(frozen=True)
class VariantThresholds:
    """What a variant must reach; a value of None switches its threshold off.

    Parameters
    ----------
    call_rate: smallest share of samples with a call, in [0, 1].
    maf: smallest minor allele frequency, in [0, 0.5]; at any value a monomorphic variant fails it.
    hwe_p: smallest exact mid-p (autosomes, PARs, and X in females; never Y, MT or other contigs).
    keep_fewer_heterozygotes: True lets variants with a deficit pass the Hardy-Weinberg threshold; None does so exactly
        when no ancestry labels are given.
    """

    call_rate: float | None = 0.95
    maf: float | None = 0.01
    hwe_p: float | None = 1e-6
    keep_fewer_heterozygotes: bool | None = None


@dataclass(frozen=True)
class SampleThresholds:
    """What a sample must reach; a value of None switches its threshold off.

    Parameters
    ----------
    call_rate: smallest share of autosomal records with a call.
    heterozygosity_sd: largest distance of F from the mean of its label, in standard deviations
        (Anderson et al. 2010, doi:10.1038/nprot.2010.116, use 3; about 3 in 1,000 pass out by chance alone).
    max_female_x_f, min_male_x_f: X F from 0.2 to 0.8 contradicts neither sex (PLINK's bounds).
    min_x_variants: with fewer X variants outside the PARs, X F is shown but decides nothing.
    """

    call_rate: float | None = 0.95
    heterozygosity_sd: float | None = 3.0
    max_female_x_f: float = 0.2
    min_male_x_f: float = 0.8
    min_x_variants: int = 100


@dataclass(frozen=True)
class GenotypeCounts:
    """Counts of people per genotype, int64 (n_variants,) each; one-copy calls apart from two-copy calls."""

    hom_ref: IntArray
    het: IntArray
    hom_alt: IntArray
    one_ref: IntArray
    one_alt: IntArray
    n_eligible: IntArray

    @property
    def n_called(self) -> IntArray:
        """People with a call."""
        return self.hom_ref + self.het + self.hom_alt + self.one_ref + self.one_alt

    @property
    def alt_frequency(self) -> FloatArray:
        """ALT copies over all copies; NaN without a call."""
        alt = self.het + 2 * self.hom_alt + self.one_alt
        copies = 2 * (self.hom_ref + self.het + self.hom_alt) + self.one_ref + self.one_alt
        with np.errstate(invalid="ignore"):
            return np.where(copies > 0, alt / np.maximum(copies, 1), np.nan)


def store_ploidy_classes(store: GenotypeStore) -> npt.NDArray[np.int8]:
    """Return the :class:`~genomix.io.contigs.PloidyClass` of each row of the store's variants."""
    return ploidy_classes(store.variants["contig"], store.variants["position"].to_numpy(), store.build)


def autosomal_biallelic(store: GenotypeStore) -> npt.NDArray[np.bool_]:
    """Return which rows of the store's variants are autosomal and the only ALT of their record.

    Contigs other than 1 to 22 count as no autosome.
    """
    single = store.variants["record"].is_unique().to_numpy()
    autosomal: npt.NDArray[np.bool_] = store_ploidy_classes(store) == PloidyClass.AUTOSOME
    return np.asarray(autosomal & single & (store.variants["allele"].to_numpy() == 1))


def count_genotypes(
    store: GenotypeStore, *, samples: Any = None, variants: Any = None, block_size: int | None = None
) -> GenotypeCounts:
    """Count genotypes of each variant among ``samples`` (None: all), each with the copies that the person carries."""
    rows = np.arange(store.n_variants) if variants is None else np.asarray(variants, dtype=np.int64)
    chosen = np.arange(store.n_samples) if samples is None else np.asarray(samples, dtype=np.int64)
    male = store.samples["sex"].to_numpy()[chosen] == MALE
    classes = store_ploidy_classes(store)[rows]
    counts = np.zeros((6, len(rows)), dtype=np.int64)
    done = 0
    for block in store.blocks(rows, chosen, block_size=block_size):
        part = slice(done, done + len(block.variants))
        counts[:, part] = _count_block(block.calls, classes[part], male)
        done = part.stop
    return GenotypeCounts(*counts)


def _count_block(calls: npt.NDArray[np.int8], classes: npt.NDArray[np.int8], male: npt.NDArray[np.bool_]) -> IntArray:
    """Rows: hom_ref, het, hom_alt, one_ref, one_alt, eligible people."""
    out = np.zeros((6, len(calls)), dtype=np.int64)
    is_x, is_y, is_mt = (classes == c for c in (PloidyClass.X, PloidyClass.Y, PloidyClass.MT))
    for group, two in (
        (~is_x & ~is_y & ~is_mt, slice(None)),
        (is_x, ~male),
    ):
        at = np.flatnonzero(group)
        if len(at):
            part = calls[at][:, two]
            out[:3, at] = [(part == copies).sum(axis=1) for copies in (0, 1, 2)]
            out[5, at] = part.shape[1]
    for group, one in ((is_x | is_y, male), (is_mt, slice(None))):
        at = np.flatnonzero(group)
        if len(at):
            part = calls[at][:, one]
            out[3:5, at] = [(part == copies).sum(axis=1) for copies in (0, 2)]
            out[5, at] += part.shape[1]
    return out


def largest_label(labels: Sequence[str | None] | pl.Series) -> str | None:
    """Return the most frequent label, the first in alphabetical order of equals; None without labels."""
    counts = pl.Series("label", labels, dtype=pl.String).drop_nulls().value_counts(sort=False)
    ordered = counts.sort(["count", "label"], descending=[True, False])
    return str(ordered["label"][0]) if ordered.height else None


def variant_qc(
    store: GenotypeStore,
    thresholds: VariantThresholds | None = None,
    *,
    samples: Any = None,
    ancestry: Sequence[str | None] | pl.Series | None = None,
) -> pl.DataFrame:
    """Return one row per row of the store's variants (schema VARIANT_QC).

    Parameters
    ----------
    thresholds: None for the defaults.
    samples: 0-based samples that count (e.g. training samples, or unrelated ones); None for all.
    ancestry: one label per sample of the store (null where unknown); Hardy-Weinberg is then tested within the label
        that most of ``samples`` have.
    """
    limits = thresholds or VariantThresholds()
    chosen = np.arange(store.n_samples) if samples is None else np.asarray(samples, dtype=np.int64)
    counts = count_genotypes(store, samples=chosen)
    tested = _hwe_counts(store, chosen if ancestry is None else _largest_group(chosen, ancestry))
    fewer_pass = limits.keep_fewer_heterozygotes
    return variant_qc_from_counts(
        store.variants,
        counts,
        tested,
        store_ploidy_classes(store),
        limits,
        keep_fewer_heterozygotes=ancestry is None if fewer_pass is None else fewer_pass,
    )


def _largest_group(chosen: IntArray, ancestry: Sequence[str | None] | pl.Series) -> IntArray:
    labels = pl.Series("label", ancestry, dtype=pl.String)
    label = largest_label(labels[chosen])
    if label is None:
        return chosen
    return np.asarray(chosen[(labels == label).fill_null(False).to_numpy()[chosen]])


def _hwe_counts(store: GenotypeStore, samples: IntArray) -> GenotypeCounts:
    """Two-copy genotype counts; on X of recorded females alone, since a doubled male call looks homozygous."""
    counts = count_genotypes(store, samples=samples)
    on_x = np.flatnonzero(store_ploidy_classes(store) == PloidyClass.X)
    if not len(on_x):
        return counts
    females = samples[store.samples["sex"].to_numpy()[samples] == FEMALE]
    of_females = count_genotypes(store, variants=on_x, samples=females)
    for name in ("hom_ref", "het", "hom_alt"):
        getattr(counts, name)[on_x] = getattr(of_females, name)
    return counts


def variant_qc_from_counts(
    variants: pl.DataFrame, counts: GenotypeCounts, tested: GenotypeCounts, classes: npt.NDArray[np.int8],
    thresholds: VariantThresholds, *, keep_fewer_heterozygotes: bool,
) -> pl.DataFrame:  # fmt: skip
    """Apply the thresholds to genotype counts; ``tested`` are the counts for Hardy-Weinberg."""
    call_rate = counts.n_called / np.maximum(counts.n_eligible, 1)
    frequency = counts.alt_frequency
    p = hwe_exact_mid_p_many(tested.het, tested.hom_ref, tested.hom_alt)
    testable = np.isin(classes, [PloidyClass.AUTOSOME, PloidyClass.PAR, PloidyClass.X])
    has_counts = (tested.het + tested.hom_ref + tested.hom_alt) > 0
    p = np.where(testable & has_counts, p, np.nan)
    failed_hwe = p < (thresholds.hwe_p or 0.0)
    if keep_fewer_heterozygotes:
        failed_hwe &= _excess_heterozygotes(tested)
    minor = np.minimum(frequency, 1 - frequency)
    too_rare = ~(minor > 0) | (minor < (thresholds.maf or 0.0))
    failures = {
        "call_rate": call_rate < (thresholds.call_rate or 0.0),
        "maf": too_rare if thresholds.maf is not None else np.zeros(len(p), dtype=np.bool_),
        "hwe_p": failed_hwe,
    }
    reason = np.select(list(failures.values()), list(failures), default="")
    frame = variants.select(VARIANTS.names).with_columns(
        pl.Series("n_called", counts.n_called, dtype=pl.Int64),
        pl.Series("call_rate", call_rate, dtype=pl.Float64),
        pl.Series("alt_frequency", frequency, dtype=pl.Float64).fill_nan(None),
        pl.Series("hwe_p", p, dtype=pl.Float64).fill_nan(None),
        pl.Series("keep", reason == "", dtype=pl.Boolean),
        pl.Series("reason", reason.tolist(), dtype=pl.String),
    )
    return VARIANT_QC.validate(frame)


def _excess_heterozygotes(counts: GenotypeCounts) -> npt.NDArray[np.bool_]:
    n = counts.hom_ref + counts.het + counts.hom_alt
    alt = counts.het + 2 * counts.hom_alt
    expected = alt * (2 * n - alt) / np.maximum(2 * n, 1)
    return np.asarray(counts.het > expected)


@dataclass(frozen=True)
class _Heterozygosity:
    """Per sample: called variants, observed and expected heterozygotes, float64 (n_samples,)."""

    called: FloatArray
    observed: FloatArray
    expected: FloatArray

    @property
    def f(self) -> FloatArray:
        """Inbreeding coefficient, 1 - observed / expected; NaN where nothing is expected."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.expected > 0, 1 - self.observed / self.expected, np.nan)


def heterozygosity(
    store: GenotypeStore, variants: Any, frequencies: FloatArray, *, samples: Any = None
) -> _Heterozygosity:
    """Count observed and expected heterozygotes of each sample over ``variants``.

    Parameters
    ----------
    variants: rows of the store's variants.
    frequencies: ALT frequency of each, float64 (n_variants,); NaN or 0 or 1 makes a variant say nothing.
    """
    n = store.n_samples if samples is None else len(samples)
    called, observed, expected = np.zeros(n), np.zeros(n), np.zeros(n)
    informative = np.nan_to_num(2 * frequencies * (1 - frequencies))
    done = 0
    for block in store.blocks(variants, samples):
        share = informative[done : done + len(block.variants)]
        done += len(block.variants)
        present = block.calls >= 0
        called += present.sum(axis=0)
        observed += ((block.calls == 1) & (share > 0)[:, None]).sum(axis=0)
        expected += np.where(present, share[:, None], 0.0).sum(axis=0)
    return _Heterozygosity(called, observed, expected)


def sample_qc(
    store: GenotypeStore,
    thresholds: SampleThresholds | None = None,
    *,
    ancestry: Sequence[str | None] | pl.Series | None = None,
    variants: Any = None,
) -> pl.DataFrame:
    """Return one row per sample of the store (schema SAMPLE_QC).

    F and X F compare observed with expected heterozygotes at allele frequencies of the sample's own ancestry label
    when labels are given, of all samples otherwise; in pooled data F mirrors ancestry more than anything else.

    Parameters
    ----------
    thresholds: None for the defaults.
    ancestry: one label per sample (null where unknown: those are compared among themselves).
    variants: rows of the store's variants that may be used (e.g. those that passed); None for all. The call rate is
        taken over all autosomal variants.
    """
    limits = thresholds or SampleThresholds()
    usable = np.ones(store.n_variants, dtype=np.bool_) if variants is None else _mask(variants, store.n_variants)
    autosomal = autosomal_biallelic(store)
    on_x = (store_ploidy_classes(store) == PloidyClass.X) & (store.variants["allele"].to_numpy() == 1)
    labels = pl.Series("label", ancestry if ancestry is not None else ["all"] * store.n_samples, dtype=pl.String)
    f, x_f = np.full(store.n_samples, np.nan), np.full(store.n_samples, np.nan)
    outlying = np.zeros(store.n_samples, dtype=np.bool_)
    for label in labels.unique().sort().to_list():
        members = np.flatnonzero((labels == label).to_numpy() if label is not None else labels.is_null().to_numpy())
        f[members] = _f_within(store, np.flatnonzero(autosomal & usable), members)
        x_f[members] = _f_within(store, np.flatnonzero(on_x & usable), members)
        outlying[members] = _outlying(f[members], limits.heterozygosity_sd)
    call_rate = _call_rate(store, np.flatnonzero(autosomal))
    sex = store.samples["sex"].to_numpy()
    decides = int((on_x & usable).sum()) >= limits.min_x_variants
    mismatch = ((sex == MALE) & (x_f < limits.max_female_x_f)) | ((sex == FEMALE) & (x_f > limits.min_male_x_f))
    failures = {
        "call_rate": call_rate < (limits.call_rate or 0.0),
        "heterozygosity": outlying,
        "sex_mismatch": mismatch & decides,
    }
    reason = np.select(list(failures.values()), list(failures), default="")
    frame = store.samples.select("sample_id", "sex").with_columns(
        pl.Series("call_rate", call_rate, dtype=pl.Float64),
        pl.Series("heterozygosity_f", f, dtype=pl.Float64).fill_nan(None),
        pl.Series("x_f", x_f, dtype=pl.Float64).fill_nan(None),
        pl.Series("keep", reason == "", dtype=pl.Boolean),
        pl.Series("reason", reason.tolist(), dtype=pl.String),
    )
    return SAMPLE_QC.validate(frame)


def _mask(variants: Any, n: int) -> npt.NDArray[np.bool_]:
    out = np.zeros(n, dtype=np.bool_)
    out[np.asarray(variants, dtype=np.int64)] = True
    return out


def _f_within(store: GenotypeStore, rows: IntArray, members: IntArray) -> FloatArray:
    """F of the members at their own frequencies (males count one copy on X)."""
    if not len(rows):
        return np.full(len(members), np.nan)
    frequencies = count_genotypes(store, variants=rows, samples=members).alt_frequency
    return heterozygosity(store, rows, frequencies, samples=members).f


def _outlying(f: FloatArray, bound_sd: float | None) -> npt.NDArray[np.bool_]:
    finite = np.isfinite(f)
    if bound_sd is None or finite.sum() < 3:
        return np.zeros(len(f), dtype=np.bool_)
    mean, sd = float(f[finite].mean()), float(f[finite].std(ddof=1))
    return np.asarray(finite & (np.abs(np.nan_to_num(f) - mean) > bound_sd * sd))


def _call_rate(store: GenotypeStore, rows: IntArray) -> FloatArray:
    """Share of autosomal records with a call; 1.0 where there is no autosomal record."""
    called = np.zeros(store.n_samples, dtype=np.int64)
    for block in store.blocks(rows):
        called += (block.calls >= 0).sum(axis=0)
    return called / len(rows) if len(rows) else np.ones(store.n_samples)


def threshold_table(quality: pl.DataFrame, thresholds: VariantThresholds | SampleThresholds) -> pl.DataFrame:
    """Return what each threshold removed: threshold, value, entered, removed, kept, in the order of application.

    Something that fails two thresholds is counted at the first.
    """
    values: dict[str, float | None] = (
        {"call_rate": thresholds.call_rate, "maf": thresholds.maf, "hwe_p": thresholds.hwe_p}
        if isinstance(thresholds, VariantThresholds)
        else {
            "call_rate": thresholds.call_rate,
            "heterozygosity": thresholds.heterozygosity_sd,
            "sex_mismatch": thresholds.min_male_x_f,
        }
    )
    rows: list[tuple[str, float | None, int, int, int]] = []
    left = quality.height
    for name, value in values.items():
        removed = int((quality["reason"] == name).sum())
        rows.append((name, value, left, removed, left - removed))
        left -= removed
    schema = {"threshold": pl.String, "value": pl.Float64, "entered": pl.Int64, "removed": pl.Int64, "kept": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")
