"""Sum weight times copies of the effect allele, for any number of scores in one pass over the genotypes.

Dosages are used where the file holds them. On X outside the pseudo-autosomal regions a man counts as having 0 or 2
copies (PLINK's default); Y and MT count 0 or 1, and Y in men only. An X variant's frequency counts a man's copy once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.contigs import PloidyClass, ploidy_classes
from genomix.io.plink import GenotypeStore
from genomix.schemas.scores import ADDITIVE, DOMINANT, GENOTYPIC, RECESSIVE
from genomix.variants.score_kernels import (
    ABSENT,
    CODINGS,
    COMPILED_FROM,
    CONSTANT,
    RowCounts,
    Terms,
    add_terms,
    add_terms_plainly,
    count_rows,
    count_rows_plainly,
)
from genomix.variants.score_matching import ScoreMatch

FloatArray = npt.NDArray[np.float64]
DosageArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

Imputation = Literal["mean", "none"]
Progress = Callable[[float, int], None]

BLOCK = 1024
_MALE = 1


class ScoreSums(NamedTuple):
    """Sums of several scores.

    ``totals`` float64, ``alleles_called`` and ``alleles`` int64, all (n_scores, n_samples): the sum, the alleles of
    known genotypes (plink2's ALLELE_CT) and of all genotypes that went into the sum (plink2's DENOM: with imputation
    the missing ones too). ``frequencies``: per score, float64 (n_used,), the effect allele's frequency that stood in
    for missing genotypes, NaN where none is known.
    """

    totals: FloatArray
    alleles_called: IntArray
    alleles: IntArray
    frequencies: list[FloatArray]


class LoadedDosages(NamedTuple):
    """Effect-allele dosages in memory: float32 (n_pairs, n_samples) of ascending 0-based ``samples``.

    The pairs are those of :func:`effect_alleles`, before anything is halved.
    """

    values: DosageArray
    samples: IntArray


class EffectAlleles(NamedTuple):
    """Distinct (variant, REF or not) pairs that some scores count, by variant, and each used weight's pair."""

    variant: IntArray
    reference: npt.NDArray[np.bool_]
    pair_of_weight: list[IntArray]


def effect_alleles(matches: Sequence[ScoreMatch]) -> EffectAlleles:
    """Return the alleles to be read for several scores, each once."""
    codes = [
        2 * m.variants["variant"].to_numpy().astype(np.int64) + m.variants["reference"].to_numpy().astype(np.int64)
        for m in matches
    ]
    distinct = np.unique(np.concatenate(codes)) if codes else np.empty(0, dtype=np.int64)
    return EffectAlleles(distinct // 2, (distinct % 2).astype(np.bool_), [np.searchsorted(distinct, c) for c in codes])


def sum_scores(
    store: GenotypeStore,
    matches: Sequence[ScoreMatch],
    *,
    frequencies: Sequence[FloatArray] | None = None,
    imputation: Imputation = "mean",
    samples: Any = None,
    fit_samples: Any = None,
    loaded: LoadedDosages | None = None,
    threads: int = 1,
    block: int = BLOCK,
    compiled: bool | None = None,
    progress: Progress | None = None,
) -> ScoreSums:
    """Return every sample's scores; each genotype is read once for all of them.

    A missing genotype counts as its expectation under Hardy-Weinberg proportions: 2p copies of the effect allele
    (dominant: p(2 - p); recessive: p squared), nothing where p is not known; with ``imputation="none"`` nothing.

    Parameters
    ----------
    frequencies: per score, the effect allele's frequency of each used weight; None takes those of ``fit_samples``.
    samples: 0-based samples to score; None for all.
    fit_samples: 0-based samples that frequencies come from; None for the scored ones.
    loaded: dosages that were read before, of at least these samples.
    block: alleles that are held at once; changes no bit of the result.
    compiled: None compiles the loops when there is enough to do; changes no bit of the result.
    """
    alleles = effect_alleles(matches)
    scored = np.arange(store.n_samples) if samples is None else np.asarray(samples, dtype=np.int64)
    fit = None if fit_samples is None else np.asarray(fit_samples, dtype=np.int64)
    ploidy = _Ploidy.of(store, alleles)
    plan = _plan(matches, alleles)
    quick = len(plan.row) * len(scored) >= COMPILED_FROM if compiled is None else compiled
    totals = np.zeros((len(matches), len(scored)))
    missing = np.zeros((len(matches), len(scored)), dtype=np.int64)
    known = None if frequencies is None else _frequency_of_pair(alleles, frequencies)
    found = np.full(len(alleles.variant), np.nan)
    for start in range(0, len(alleles.variant), block):
        part = slice(start, min(start + block, len(alleles.variant)))
        copies = _read(store, alleles, part, scored if samples is not None else None, loaded)
        counts = (count_rows if quick else count_rows_plainly)(copies)
        here = np.arange(*np.searchsorted(plan.row, (part.start, part.stop)))
        if known is None and imputation == "mean":
            teaching = copies if fit is None else _read(store, alleles, part, fit, loaded)
            taught = counts if fit is None else (count_rows if quick else count_rows_plainly)(teaching)
            found[part] = ploidy.frequencies(teaching, taught, part, scored if fit is None else fit)
        p = plan.frequencies(here, known) if known is not None else found[plan.row[here]]
        copies = ploidy.halved(copies, part, scored)
        gaps = np.where(ploidy.classes[part] == PloidyClass.Y, 2, counts.called < len(scored)).astype(np.int8)
        fill = _fill(plan.coding[here], p, ploidy.haploid[plan.row[here]], imputation)
        terms = Terms(
            plan.row[here] - start, plan.score[here], plan.weight[here], plan.coding[here], fill,
            plan.counted[here] * np.where(ploidy.haploid[plan.row[here]], 1, 2),
        )  # fmt: skip
        ordered = terms.taken(np.argsort(terms.score, kind="stable"))
        if quick:
            add_terms(copies, ordered, gaps, totals, missing, threads=threads)
        else:
            add_terms_plainly(copies, ordered, gaps, totals, missing)
        if progress is not None:
            progress(part.stop / len(alleles.variant), part.stop)
    every = _all_alleles(plan, ploidy, len(matches), scored)
    used = frequencies if frequencies is not None else [found[pairs] for pairs in alleles.pair_of_weight]
    return ScoreSums(totals, every - missing, every if imputation == "mean" else every - missing, list(used))


def score_sums(
    store: GenotypeStore,
    match: ScoreMatch,
    *,
    frequencies: FloatArray | None,
    samples: Any = None,
    block: int = BLOCK,
    loaded: LoadedDosages | None = None,
) -> FloatArray:
    """Return each sample's score, float64 (n_samples,): the sum of weight times effect-allele copies.

    Parameters
    ----------
    frequencies: effect-allele frequency per used weight; a missing genotype counts as twice it (0 where NaN). None: a
        missing genotype counts as 0 copies, which is only right where none is missing.
    samples: 0-based samples; None for all.
    """
    given = None if frequencies is None else [np.asarray(frequencies, dtype=np.float64)]
    imputation: Imputation = "none" if frequencies is None else "mean"
    sums = sum_scores(
        store, [match], frequencies=given, imputation=imputation, samples=samples, loaded=loaded, block=block
    )
    return np.asarray(sums.totals[0])


def effect_frequencies(
    store: GenotypeStore,
    match: ScoreMatch,
    samples: Any = None,
    *,
    block: int = BLOCK,
    loaded: LoadedDosages | None = None,
) -> FloatArray:
    """Return the effect allele's frequency among ``samples`` for each used weight, float64; NaN without a call."""
    alleles = effect_alleles([match])
    ploidy = _Ploidy.of(store, alleles)
    chosen = np.arange(store.n_samples) if samples is None else np.asarray(samples, dtype=np.int64)
    quick = len(alleles.variant) * len(chosen) >= COMPILED_FROM
    found = np.full(len(alleles.variant), np.nan)
    for start in range(0, len(alleles.variant), block):
        part = slice(start, min(start + block, len(alleles.variant)))
        copies = _read(store, alleles, part, chosen if samples is not None else None, loaded)
        found[part] = ploidy.frequencies(copies, (count_rows if quick else count_rows_plainly)(copies), part, chosen)
    return found[alleles.pair_of_weight[0]]


def load_dosages(store: GenotypeStore, matches: Sequence[ScoreMatch], samples: Any) -> LoadedDosages:
    """Read every effect allele that some scores count into memory, for ascending ``samples``."""
    alleles = effect_alleles(matches)
    chosen = np.asarray(samples, dtype=np.int64)
    return LoadedDosages(_read(store, alleles, slice(0, len(alleles.variant)), chosen, None), chosen)


def expected_sum(used: pl.DataFrame, frequencies: FloatArray, haploid: npt.NDArray[np.bool_]) -> float:
    """Return what used weights (as in ``ScoreMatch.variants``) add for a person of whom no genotype is known."""
    plan = _terms_of(ScoreMatch(used, {}), np.arange(used.height), 0)
    fill = _fill(plan.coding, np.asarray(frequencies, dtype=np.float64)[plan.row], haploid[plan.row], "mean")
    return float((fill * plan.weight).sum())


def read_effect_dosages(store: GenotypeStore, used: pl.DataFrame, samples: Any = None) -> DosageArray:
    """Return copies of the effect allele, float32 (n_used, n_samples) in [0, 2], NaN missing.

    Parameters
    ----------
    used: columns ``variant`` and ``reference``, as in ``ScoreMatch.variants``.
    """
    rows = used["variant"].to_numpy().astype(np.int64)
    reference = used["reference"].to_numpy().astype(np.bool_)
    return _read_alleles(store, rows, reference, samples)


def _read_alleles(store: GenotypeStore, rows: IntArray, reference: npt.NDArray[np.bool_], samples: Any) -> DosageArray:
    if not reference.any():
        return store.read_dosages(rows, samples)
    n = store.n_samples if samples is None else len(samples)
    out = np.empty((len(rows), n), dtype=np.float32)
    for flag in (False, True):
        at = np.flatnonzero(reference == flag)
        out[at] = store.read_dosages(rows[at], samples, reference=flag)
    return out


def _read(
    store: GenotypeStore, alleles: EffectAlleles, part: slice, samples: IntArray | None, loaded: LoadedDosages | None
) -> DosageArray:
    """Copies of some effect alleles, of ``samples`` (None for all), from memory where they are."""
    if loaded is None:
        return _read_alleles(store, alleles.variant[part], alleles.reference[part], samples)
    wanted = np.arange(store.n_samples) if samples is None else samples
    return np.ascontiguousarray(loaded.values[part][:, np.searchsorted(loaded.samples, wanted)])


class _Plan(NamedTuple):
    """Every term of every score, by pair: which pair, score, weight, coding, and whether its alleles are counted."""

    row: IntArray
    score: IntArray
    weight: FloatArray
    coding: IntArray
    counted: IntArray

    def frequencies(self, here: IntArray, known: FloatArray) -> FloatArray:
        """Each term's frequency, given (n_scores, n_pairs)."""
        return np.asarray(known[self.score[here], self.row[here]])


def _plan(matches: Sequence[ScoreMatch], alleles: EffectAlleles) -> _Plan:
    parts = [
        _terms_of(match, pairs, number)
        for number, (match, pairs) in enumerate(zip(matches, alleles.pair_of_weight, strict=True))
    ]
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return _Plan(none, none, np.empty(0), none, none)
    row = np.concatenate([p.row for p in parts])
    order = np.argsort(row, kind="stable")
    return _Plan(
        row[order],
        np.concatenate([p.score for p in parts])[order],
        np.concatenate([p.weight for p in parts])[order],
        np.concatenate([p.coding for p in parts])[order],
        np.concatenate([p.counted for p in parts])[order],
    )


def _terms_of(match: ScoreMatch, pairs: IntArray, number: int) -> _Plan:
    """A score's weights as weights of coded copies.

    Weights per genotype: w0 + (w1 - w0) min(d, 1) + (w2 - w1) max(d - 1, 0), three terms of which one counts alleles.
    """
    used = match.variants
    names = (
        used["effect_type"] if "effect_type" in used.columns else pl.Series([ADDITIVE] * used.height, dtype=pl.String)
    )
    single = (names != GENOTYPIC).to_numpy()
    kinds = names.replace_strict(
        [*CODINGS[:3], GENOTYPIC], [0, 1, 2, 3], return_dtype=pl.Int64
    ).to_numpy()  # fmt: skip
    rows, weights, codings, counted = [pairs[single]], [used["weight"].to_numpy()[single]], [kinds[single]], [1]
    if not single.all():
        three = used.filter(pl.Series(~single)).select("weight_0", "weight_1", "weight_2").to_numpy()
        per_copy = {CONSTANT: three[:, 0], DOMINANT: three[:, 1] - three[:, 0], RECESSIVE: three[:, 2] - three[:, 1]}
        for coding, weight in per_copy.items():
            rows.append(pairs[~single])
            weights.append(weight)
            codings.append(np.full(len(weight), CODINGS.index(coding)))
            counted.append(int(coding == CONSTANT))
    return _Plan(
        np.concatenate(rows).astype(np.int64),
        np.full(sum(len(r) for r in rows), number, dtype=np.int64),
        np.concatenate(weights).astype(np.float64),
        np.concatenate(codings).astype(np.int64),
        np.repeat(np.array(counted, dtype=np.int64), [len(r) for r in rows]),
    )


def _frequency_of_pair(alleles: EffectAlleles, frequencies: Sequence[FloatArray]) -> FloatArray:
    """Given frequencies of used weights, float64 (n_scores, n_pairs)."""
    known = np.full((len(frequencies), len(alleles.variant)), np.nan)
    for number, (pairs, given) in enumerate(zip(alleles.pair_of_weight, frequencies, strict=True)):
        known[number, pairs] = given
    return known


def _fill(coding: IntArray, p: FloatArray, haploid: npt.NDArray[np.bool_], imputation: Imputation) -> FloatArray:
    """Coded copies that a missing genotype counts as."""
    if imputation == "none":
        return np.zeros(len(coding))
    known = np.nan_to_num(p)
    diploid = np.choose(coding, [2 * known, known * (2 - known), known * known, np.ones(len(p))])
    single = np.choose(coding, [known, known, np.zeros(len(p)), np.ones(len(p))])
    nothing = np.isnan(p) & (coding == CODINGS.index(CONSTANT))
    return np.asarray(np.where(nothing, 0.0, np.where(haploid, single, diploid)))


class _Ploidy(NamedTuple):
    """Each pair's PloidyClass and whether it counts single copies; men among the store's samples."""

    classes: npt.NDArray[np.int8]
    haploid: npt.NDArray[np.bool_]
    male: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, store: GenotypeStore, alleles: EffectAlleles) -> _Ploidy:
        """Look up contigs, positions and sexes."""
        table = store.variants[alleles.variant]
        classes = ploidy_classes(table["contig"], table["position"].to_numpy(), store.build)
        haploid = (classes == PloidyClass.Y) | (classes == PloidyClass.MT)
        return cls(classes, haploid, (store.samples["sex"] == _MALE).to_numpy())

    def halved(self, copies: DosageArray, part: slice, samples: IntArray) -> DosageArray:
        """Copies as they are summed: single ones on Y and MT, none on Y but in men."""
        at = np.flatnonzero(self.haploid[part])
        copies[at] *= np.float32(0.5)
        on_y = np.flatnonzero(self.classes[part] == PloidyClass.Y)
        if len(on_y):
            copies[np.ix_(on_y, np.flatnonzero(~self.male[samples]))] = ABSENT
        return copies

    def frequencies(self, copies: DosageArray, counts: RowCounts, part: slice, samples: IntArray) -> FloatArray:
        """Effect-allele frequencies: on X a man has one allele, on Y only men have any."""
        found = np.where(counts.called > 0, counts.copies / np.maximum(2 * counts.called, 1), np.nan)
        male = self.male[samples]
        for row in np.flatnonzero(np.isin(self.classes[part], (PloidyClass.X, PloidyClass.Y))).tolist():
            on_x = self.classes[part][row] == PloidyClass.X
            share = np.where(male, 0.5, 1.0) if on_x else male.astype(np.float64)
            known = np.isfinite(copies[row])
            total = float((share * np.where(known, copies[row], 0)).sum(dtype=np.float64))
            alleles = float(2 * share[known].sum())
            found[row] = total / alleles if alleles else np.nan
        return found


def _all_alleles(plan: _Plan, ploidy: _Ploidy, n_scores: int, samples: IntArray) -> IntArray:
    """Alleles of all genotypes of each score and sample, int64 (n_scores, n_samples)."""
    per_term = plan.counted * np.where(ploidy.haploid[plan.row], 1, 2)
    everyone = np.bincount(plan.score, weights=per_term, minlength=n_scores).astype(np.int64)
    on_y = ploidy.classes[plan.row] == PloidyClass.Y
    of_men = np.bincount(plan.score[on_y], weights=per_term[on_y], minlength=n_scores).astype(np.int64)
    return np.asarray(everyone[:, None] - np.where(ploidy.male[samples], 0, 1)[None, :] * of_men[:, None])
