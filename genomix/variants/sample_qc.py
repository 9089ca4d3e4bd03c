"""Quality control of samples: call rate, heterozygosity, sex against X and Y, counts of alleles, duplicates.

All counts are of hard calls. F is 1 - observed / expected heterozygotes with 2p(1 - p) expected per called variant
(Wright's inbreeding coefficient by the method of moments, without a small-sample factor, as PLINK 2's ``--het``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.contigs import PloidyClass
from genomix.io.plink import GenotypeStore
from genomix.schemas.genotypes import SAMPLE_QC
from genomix.variants.genotype_counts import (
    FEMALE,
    HUMAN_AUTOSOMES,
    MALE,
    FloatArray,
    IntArray,
    WordBlock,
    call_blocks,
    column_sums,
    count_genotypes,
    sample_numbers,
    store_ploidy_classes,
)

DUPLICATE = 0.354
"""KING-robust kinship above which two samples are one person's, or monozygotic twins' (Manichaikul 2010, table 1)."""

_NOTHING = 1e-9
"""Expected heterozygotes below this are rounding of none."""

_TRANSITIONS = ("AG", "GA", "CT", "TC")


@dataclass(frozen=True)
class SampleThresholds:
    """What a sample must reach; a value of None switches its threshold off.

    Parameters
    ----------
    call_rate: smallest share of autosomal records with one ALT that have a call.
    heterozygosity_sd: largest distance of F from the mean of its label, in standard deviations
        (Anderson et al. 2010, doi:10.1038/nprot.2010.116, use 3; about 3 in 1,000 pass out by chance alone).
    max_female_x_f, min_male_x_f: X F from 0.2 to 0.8 contradicts neither sex (PLINK's bounds).
    min_x_variants: with fewer X variants outside the PARs, X F is shown but decides nothing.
    remove_duplicates: True removes all but one of each group of duplicates (see :func:`sample_qc`).
    """

    call_rate: float | None = 0.95
    heterozygosity_sd: float | None = 3.0
    max_female_x_f: float = 0.2
    min_male_x_f: float = 0.8
    min_x_variants: int = 100
    remove_duplicates: bool = False


@dataclass(frozen=True)
class Heterozygosity:
    """Per sample: called variants, observed and expected heterozygotes, float64 (n_samples,)."""

    called: FloatArray
    observed: FloatArray
    expected: FloatArray

    @property
    def f(self) -> FloatArray:
        """Inbreeding coefficient; NaN where nothing is expected."""
        return _f(self.observed, self.expected)


def heterozygosity(
    store: GenotypeStore, variants: Any, frequencies: FloatArray, *, samples: Any = None
) -> Heterozygosity:
    """Count observed and expected heterozygotes of each sample over ``variants``, plainly.

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
    return Heterozygosity(called, observed, expected)


def sample_qc(
    store: GenotypeStore,
    thresholds: SampleThresholds | None = None,
    *,
    ancestry: Sequence[str | None] | pl.Series | None = None,
    variants: Any = None,
    samples: Any = None,
    pairs: pl.DataFrame | None = None,
    counted: pl.DataFrame | None = None,
    autosomes: int = HUMAN_AUTOSOMES,
) -> pl.DataFrame:
    """Return one row per sample (schema SAMPLE_QC).

    F and X F compare observed with expected heterozygotes at allele frequencies of the sample's own ancestry label
    when labels are given, of all samples otherwise; in pooled data F mirrors ancestry more than anything else.

    Parameters
    ----------
    thresholds: None for the defaults.
    ancestry: one label per sample of the store (null where unknown: those are compared among themselves).
    variants: rows of the store's variants that F and X F may use (e.g. those that passed); None for all. The call rate
        is taken over all autosomal records with one ALT, and alleles are counted over all autosomal rows.
    samples: 0-based samples, in the order of the result; None for all. The others teach nothing.
    pairs: pairs of related samples (schema KINSHIP, numbered as in the store); None leaves ``duplicate_of`` null. Of a
        group of duplicates the best called one is kept, of equals the first.
    counted: what :func:`~genomix.variants.qc.variant_qc` returned for the same samples: they are not counted again.
    autosomes: number of autosomes of the species.
    """
    limits = thresholds or SampleThresholds()
    chosen = sample_numbers(store, samples)
    rows = _Rows.of(store, variants, autosomes)
    labels = pl.Series("label", ancestry if ancestry is not None else ["all"] * store.n_samples, dtype=pl.String)[
        chosen
    ]
    members = [
        np.flatnonzero((labels == label).to_numpy() if label is not None else labels.is_null().to_numpy())
        for label in labels.unique().sort().to_list()
    ]
    tally = _tally(store, rows, chosen, members, autosomes, counted if len(members) == 1 else None)
    f, x_f = _f(tally.het_used, tally.expected), _f(tally.x_het, tally.x_expected)
    outlying = np.zeros(len(chosen), dtype=np.bool_)
    for group in members:
        outlying[group] = _outlying(f[group], limits.heterozygosity_sd)
    sex = store.samples["sex"].to_numpy()[chosen]
    x_sex = np.where(x_f > limits.min_male_x_f, MALE, np.where(x_f < limits.max_female_x_f, FEMALE, 0))
    mismatch = ((sex == MALE) & (x_f < limits.max_female_x_f)) | ((sex == FEMALE) & (x_f > limits.min_male_x_f))
    call_rate = tally.called / len(rows.single) if len(rows.single) else np.ones(len(chosen))
    original = _originals(store.n_samples, chosen, pairs, call_rate)
    failures = {
        "call_rate": call_rate < (limits.call_rate or 0.0),
        "heterozygosity": outlying,
        "sex_mismatch": mismatch & (len(rows.x_used) >= limits.min_x_variants),
        "duplicate": (original >= 0) & limits.remove_duplicates,
    }
    reason = np.select(list(failures.values()), list(failures), default="")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(tally.transversions > 0, tally.transitions / tally.transversions, np.nan)
        y_rate = tally.y_called / len(rows.y) if len(rows.y) else np.full(len(chosen), np.nan)
    ids = store.samples["sample_id"]
    columns: dict[str, Any] = {
        "call_rate": call_rate, "heterozygosity_f": f, "x_f": x_f, "y_call_rate": y_rate,
        "x_sex": np.where(np.isfinite(x_f), x_sex, 0), "n_het": tally.het, "n_hom_alt": tally.nonref - tally.het,
        "n_non_reference": tally.nonref, "n_singletons": tally.singletons, "n_transitions": tally.transitions,
        "n_transversions": tally.transversions, "ti_tv": ratio,
        "duplicate_of": [ids[i] if i >= 0 else None for i in original.tolist()],
        "keep": reason == "", "reason": reason.tolist(),
    }  # fmt: skip
    types = {c.name: c.dtype for c in SAMPLE_QC.columns}
    frame = store.samples[chosen].select("sample_id", "sex").with_columns(
        pl.Series(name, values, dtype=types[name]).fill_nan(None) if types[name] == pl.Float64
        else pl.Series(name, values, dtype=types[name])
        for name, values in columns.items()
    )  # fmt: skip
    return SAMPLE_QC.validate(frame)


def x_variants(store: GenotypeStore, variants: Any = None, *, autosomes: int = HUMAN_AUTOSOMES) -> int:
    """Return how many of ``variants`` (rows; None for all) lie on X outside the PARs, which X F is made of."""
    return len(_Rows.of(store, variants, autosomes).x_used)


class SexCheck(NamedTuple):
    """Samples with a recorded sex, those whose X F contradicts it, and why the check decided nothing, else None."""

    n_recorded: int
    n_contradicting: int
    idle: str | None


def sex_check(quality: pl.DataFrame, n_x_variants: int, thresholds: SampleThresholds | None = None) -> SexCheck:
    """Return what the check of recorded sex against X F found, also where it decided nothing.

    Parameters
    ----------
    quality: what :func:`sample_qc` returned (schema SAMPLE_QC).
    n_x_variants: variants that X F was made of (:func:`x_variants`).
    thresholds: that ``quality`` was made with; None for the defaults.
    """
    limits = thresholds or SampleThresholds()
    recorded = quality.filter(pl.col("sex") != 0)
    contradicting = recorded.filter((pl.col("x_sex") != 0) & (pl.col("x_sex") != pl.col("sex"))).height
    idle = None
    if n_x_variants < limits.min_x_variants:
        idle = f"decided nothing: {n_x_variants} X variants, at least {limits.min_x_variants} are needed"
        if recorded.height and n_x_variants:
            idle += f"; X F contradicts the recorded sex of {contradicting} of {recorded.height} samples"
    elif not recorded.height:
        idle = "decided nothing: no sample has a recorded sex"
    return SexCheck(recorded.height, contradicting, idle)


@dataclass(frozen=True)
class _Rows:
    """Rows of the store's variants by what they serve for, int64 each.

    ``autosomal`` holds every autosomal row, ``single`` those of records with one ALT, ``used`` those of them that F may
    use; ``x_used`` the rows on X outside the PARs that X F may use, ``y`` one row per record on Y.
    """

    autosomal: IntArray
    single: IntArray
    used: IntArray
    x_used: IntArray
    y: IntArray
    transition: npt.NDArray[np.bool_]
    transversion: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, store: GenotypeStore, variants: Any, autosomes: int) -> _Rows:
        usable = np.ones(store.n_variants, dtype=np.bool_)
        if variants is not None:
            usable[:] = False
            usable[np.asarray(variants, dtype=np.int64)] = True
        classes = store_ploidy_classes(store, autosomes=autosomes)
        first = store.variants["allele"].to_numpy() == 1
        autosomal = classes == PloidyClass.AUTOSOME
        single = autosomal & first & store.variants["record"].is_unique().to_numpy()
        change = store.variants.select(
            pl.concat_str(pl.col("ref").str.to_uppercase(), pl.col("alt").str.to_uppercase())
        )
        transition = change.to_series().is_in(list(_TRANSITIONS)).to_numpy()
        substitution = change.to_series().str.contains("^[ACGT]{2}$").to_numpy()
        return cls(
            np.flatnonzero(autosomal),
            np.flatnonzero(single),
            np.flatnonzero(single & usable),
            np.flatnonzero((classes == PloidyClass.X) & first & usable),
            np.flatnonzero((classes == PloidyClass.Y) & first),
            transition,
            substitution & ~transition,
        )


@dataclass
class _Tally:
    """Per sample: calls counted by kind, int64, and expected heterozygotes, float64, (n_samples,) each."""

    called: IntArray
    het: IntArray
    nonref: IntArray
    transitions: IntArray
    transversions: IntArray
    singletons: IntArray
    het_used: FloatArray
    expected: FloatArray
    x_het: FloatArray
    x_expected: FloatArray
    y_called: IntArray


def _tally(
    store: GenotypeStore, rows: _Rows, chosen: IntArray, members: list[IntArray], autosomes: int,
    counted: pl.DataFrame | None,
) -> _Tally:  # fmt: skip
    """Count in one pass over the autosomal rows, after one that learns the allele counts."""
    n = len(chosen)
    names = ("called", "het", "nonref", "transitions", "transversions", "singletons", "y_called")
    whole = {name: np.zeros(n, dtype=np.int64) for name in names}
    alt_counts = np.zeros(len(rows.autosomal), dtype=np.int64)
    shares = np.zeros((len(members), len(rows.autosomal)))
    used = np.isin(rows.autosomal, rows.used)
    for g, group in enumerate(members):
        if counted is None:
            of_group = count_genotypes(store, samples=chosen[group], variants=rows.autosomal, autosomes=autosomes)
            alt, frequency = of_group.alt_count, of_group.alt_frequency
        else:
            own = counted[rows.autosomal]
            alt, frequency = own["alt_count"].to_numpy(), own["alt_frequency"].to_numpy()
        alt_counts += alt
        p = np.nan_to_num(frequency)
        shares[g] = np.where(used, 2 * p * (1 - p), 0.0)
    label = np.zeros(n, dtype=np.int64)
    for g, group in enumerate(members):
        label[group] = g
    het_used, missed = np.zeros(n), np.zeros(n)
    single = np.isin(rows.autosomal, rows.single)
    transition, transversion = rows.transition[rows.autosomal], rows.transversion[rows.autosomal]
    for part, calls in call_blocks(store, rows.autosomal, chosen):
        het, nonref = calls == 1, calls > 0
        whole["het"] += column_sums(het)
        whole["nonref"] += column_sums(nonref)
        whole["transitions"] += column_sums(_some(nonref, transition[part]))
        whole["transversions"] += column_sums(_some(nonref, transversion[part]))
        whole["singletons"] += column_sums(_some(nonref, alt_counts[part] == 1))
        whole["called"] += column_sums(_some(calls, single[part]) >= 0)
        het_used += column_sums(_some(het, used[part]))
        variant, sample = WordBlock.of(calls).missing_cells()
        np.add.at(missed, sample, shares[:, part][label[sample], variant])
    for _, calls in call_blocks(store, rows.y, chosen):
        whole["y_called"] += column_sums(calls >= 0)
    x = [np.zeros(n), np.zeros(n)]
    for group in members:
        if len(rows.x_used):
            p = count_genotypes(store, samples=chosen[group], variants=rows.x_used, autosomes=autosomes).alt_frequency
            on_x = heterozygosity(store, rows.x_used, p, samples=chosen[group])
            x[0][group], x[1][group] = on_x.observed, on_x.expected
    return _Tally(**whole, het_used=het_used, expected=shares.sum(axis=1)[label] - missed, x_het=x[0], x_expected=x[1])


def _some(values: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return values if chosen.all() else values[chosen]


def _f(observed: FloatArray, expected: FloatArray) -> FloatArray:
    """Inbreeding coefficient, 1 - observed / expected; NaN where nothing is expected."""
    some = expected > _NOTHING
    return np.where(some, 1 - observed / np.where(some, expected, 1.0), np.nan)


def _originals(n: int, chosen: IntArray, pairs: pl.DataFrame | None, call_rate: FloatArray) -> IntArray:
    """Return for each chosen sample the number of the sample that it duplicates, -1 for none."""
    out = np.full(len(chosen), -1, dtype=np.int64)
    if pairs is None:
        return out
    from genomix.variants.relatives import kin_groups

    place = np.full(n, -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    inside = pairs.filter(pl.Series((place[pairs["sample_a"]] >= 0) & (place[pairs["sample_b"]] >= 0)))
    group = kin_groups(n, inside, DUPLICATE)[chosen]
    order = np.lexsort((chosen, -call_rate, group))
    first = np.flatnonzero(np.concatenate([[True], np.diff(group[order]) != 0])) if len(order) else order
    best = np.repeat(order[first], np.diff(np.append(first, len(order))))
    out[order] = np.where(best == order, -1, chosen[best])
    return out


def _outlying(f: FloatArray, bound_sd: float | None) -> npt.NDArray[np.bool_]:
    finite = np.isfinite(f)
    if bound_sd is None or finite.sum() < 3:
        return np.zeros(len(f), dtype=np.bool_)
    mean, sd = float(f[finite].mean()), float(f[finite].std(ddof=1))
    return np.asarray(finite & (np.abs(np.nan_to_num(f) - mean) > bound_sd * sd))
