"""Polygenic scores of a store's samples: match, refuse, sum, adjust; and the parts to do each alone.

A score is a sum, not a probability; it carries the ancestry of the people it was made in, and its units are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.pgs_catalog import ScoreTable
from genomix.io.plink import GenotypeStore
from genomix.schemas.scores import SAMPLE_SCORES, SCORE_VERDICTS
from genomix.variants.score_adjustment import ScoreAdjustment, fit_adjustment
from genomix.variants.score_frequencies import alt_frequencies, effect_from_alt
from genomix.variants.score_matching import (
    MINIMUM_COVERAGE,
    USED_STATUSES,
    Ambiguous,
    ScoreMatch,
    build_warning,
    check_score_build,
    complement,
    match_report,
    match_score,
    require_coverage,
)
from genomix.variants.score_sums import (
    Imputation,
    LoadedDosages,
    ScoreSums,
    effect_frequencies,
    load_dosages,
    read_effect_dosages,
    score_sums,
    sum_scores,
)

__all__ = [
    "MINIMUM_COVERAGE",
    "USED_STATUSES",
    "Ambiguous",
    "DiscoveryCohorts",
    "Imputation",
    "LoadedDosages",
    "ScoreMatch",
    "ScoreSums",
    "ScoringOptions",
    "ScoringResult",
    "build_warning",
    "check_score_build",
    "complement",
    "effect_frequencies",
    "load_dosages",
    "match_report",
    "match_score",
    "read_effect_dosages",
    "require_coverage",
    "score_samples",
    "score_sums",
    "sum_scores",
]

FloatArray = npt.NDArray[np.float64]
DiscoveryCohorts = Literal["none", "overlaps", "unknown"]
X_CODING = "0 or 2 copies in men on X outside the pseudo-autosomal regions; 0 or 1 on Y (men only) and MT"


@dataclass(frozen=True)
class ScoringOptions:
    """How scores are matched and summed.

    Parameters
    ----------
    ambiguous, match_ids: see :func:`~genomix.variants.score_matching.match_score`.
    minimum_coverage: smallest share of a score's weights that must be used.
    imputation: what a missing genotype counts as: twice the effect allele's frequency, or nothing.
    fit_samples: 0-based samples that frequencies and adjustments are fitted on; None for all scored samples.
    frequencies: schema ALLELE_FREQUENCIES, instead of those of the fit samples.
    samples: 0-based samples to score; None for all.
    variance: adjust also for the variance by ancestry.
    threads, block: change no bit of the result.
    """

    ambiguous: Ambiguous = "drop"
    match_ids: bool = False
    minimum_coverage: float = MINIMUM_COVERAGE
    imputation: Imputation = "mean"
    fit_samples: npt.NDArray[np.int64] | None = None
    frequencies: pl.DataFrame | None = None
    samples: npt.NDArray[np.int64] | None = None
    variance: bool = True
    threads: int = 1
    block: int = 1024


class ScoringResult(NamedTuple):
    """``samples`` (schema SAMPLE_SCORES), ``matches`` (schema SCORE_MATCHES), every weight's fate and the metadata."""

    samples: pl.DataFrame
    matches: pl.DataFrame
    verdicts: pl.DataFrame
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Ancestry:
    """Components of people: of the scored samples, and of reference people elsewhere if these are fitted on.

    Parameters
    ----------
    components: float64 (n_scored, k), NaN where a sample has none.
    origin: where they come from, for the metadata.
    reference_components: float64 (n_reference, k); None fits on the scored samples.
    reference_scores: score to float64 (n_reference,).
    """

    components: FloatArray
    origin: str
    reference_components: FloatArray | None = None
    reference_scores: Mapping[str, FloatArray] = field(default_factory=dict)


def score_samples(
    store: GenotypeStore,
    scores: Sequence[ScoreTable],
    options: ScoringOptions | None = None,
    *,
    ancestry: Ancestry | None = None,
    discovery_cohorts: Mapping[str, DiscoveryCohorts] | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> ScoringResult:
    """Score samples by one or many scores in one pass over the genotypes.

    Raises
    ------
    FormatError: when a score's build is not the store's, or too few of its weights can be used.
    ConfigError: for two scores of one name, or people that an adjustment cannot be fitted on.
    """
    chosen = options or ScoringOptions()
    names = [table.header.name for table in scores]
    if not names or len(set(names)) < len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise ConfigError(f"two scores are named {twice[0]!r}" if twice else "there is no score")
    of_alt = _known_frequencies(store, scores, chosen)
    matches = {table.header.name: _matched(store, table, chosen, of_alt) for table in scores}
    given = None
    if chosen.frequencies is not None and of_alt is not None:
        given = [effect_from_alt(m, of_alt, store.variants) for m in matches.values()]
    sums = sum_scores(
        store, list(matches.values()), frequencies=given, imputation=chosen.imputation, samples=chosen.samples,
        fit_samples=chosen.fit_samples, threads=chosen.threads, block=chosen.block, progress=progress,
    )  # fmt: skip
    table = _table(store, names, sums, chosen)
    fitted: dict[str, ScoreAdjustment] = {}
    if ancestry is not None:
        table, fitted = _adjusted(table, names, sums, ancestry, chosen)
    report = match_report(matches)
    cohorts = dict(discovery_cohorts or {})
    return ScoringResult(
        SAMPLE_SCORES.validate(table),
        report,
        _verdicts(scores, matches, store),
        {
            "build": store.build,
            "n_samples": table.height,
            "imputation": _imputation_words(chosen),
            "ambiguous": chosen.ambiguous,
            "x_coding": X_CODING,
            "ancestry": None if ancestry is None else ancestry.origin,
            "scores": [
                _facts(
                    t,
                    matches[t.header.name],
                    None if chosen.imputation == "none" else sums.frequencies[i],
                    cohorts,
                    fitted,
                )
                for i, t in enumerate(scores)
            ],
        },
    )


def _known_frequencies(
    store: GenotypeStore, scores: Sequence[ScoreTable], options: ScoringOptions
) -> FloatArray | None:
    """ALT frequencies of the store's variants: given ones, or counted at palindromic variants to be resolved."""
    if options.frequencies is not None:
        return alt_frequencies(options.frequencies, store.variants)
    if options.ambiguous != "resolve":
        return None
    places = pl.concat([s.terms.select("contig", "position") for s in scores]).unique()
    palindromic = (pl.col("ref") == complement(pl.col("alt"))).fill_null(False)
    rows = (
        store.variants.with_row_index("row").filter(palindromic).join(places, on=["contig", "position"], how="semi")
    )["row"].cast(pl.Int64).sort()  # fmt: skip
    table = pl.DataFrame(
        {
            "variant": rows,
            "reference": pl.repeat(False, len(rows), eager=True),
            "weight": pl.zeros(len(rows), eager=True),
        }
    )
    people = options.fit_samples if options.fit_samples is not None else options.samples
    found = np.full(store.n_variants, np.nan)
    found[rows.to_numpy()] = effect_frequencies(store, ScoreMatch(table, {}), people, block=options.block)
    return found


def _matched(store: GenotypeStore, table: ScoreTable, options: ScoringOptions, of_alt: FloatArray | None) -> ScoreMatch:
    name = table.header.name
    check_score_build(name, table.header.build, store.build)
    match = match_score(
        table.terms, store.variants, ambiguous=options.ambiguous, match_ids=options.match_ids, alt_frequencies=of_alt
    )
    require_coverage(match, name, minimum=options.minimum_coverage)
    if not match.variants.height:
        raise FormatError(f"no variant of score {name} is in the genotypes", hint="check build and contig names")
    return match


def _table(store: GenotypeStore, names: Sequence[str], sums: ScoreSums, options: ScoringOptions) -> pl.DataFrame:
    """One row per sample: sums, averages as plink2's (sum / DENOM; NaN without alleles) and allele counts."""
    rows = store.samples if options.samples is None else store.samples[options.samples]
    columns = [rows["sample_id"]]
    for i, name in enumerate(names):
        with np.errstate(invalid="ignore", divide="ignore"):
            average = np.where(sums.alleles[i] > 0, sums.totals[i] / sums.alleles[i], np.nan)
        columns += [
            pl.Series(f"{name}_sum", sums.totals[i]),
            pl.Series(f"{name}_average", average).fill_nan(None),
            pl.Series(f"{name}_ALLELE_CT", sums.alleles_called[i]),
            pl.Series(f"{name}_DENOM", sums.alleles[i]),
        ]
    return pl.DataFrame(columns)


def _adjusted(
    table: pl.DataFrame, names: Sequence[str], sums: ScoreSums, ancestry: Ancestry, options: ScoringOptions
) -> tuple[pl.DataFrame, dict[str, ScoreAdjustment]]:
    """Add the z columns; people without components have none."""
    teachers = np.arange(table.height)
    if options.fit_samples is not None:
        scored = np.arange(table.height) if options.samples is None else options.samples
        teachers = np.flatnonzero(np.isin(scored, options.fit_samples))
    fitted: dict[str, ScoreAdjustment] = {}
    for i, name in enumerate(names):
        if ancestry.reference_components is None:
            learned = fit_adjustment(
                sums.totals[i][teachers], ancestry.components[teachers], variance=options.variance, name=name
            )
        elif name not in ancestry.reference_scores:
            raise ConfigError(f"the reference scores have no column {name}_sum")
        else:
            learned = fit_adjustment(
                ancestry.reference_scores[name], ancestry.reference_components, variance=options.variance, name=name
            )
        z = learned.apply(sums.totals[i], ancestry.components)
        table = table.with_columns(pl.Series(f"{name}_z_mean", z.mean).fill_nan(None))
        if z.mean_variance is not None:
            table = table.with_columns(pl.Series(f"{name}_z_mean_variance", z.mean_variance).fill_nan(None))
        fitted[name] = learned
    return table, fitted


def _imputation_words(options: ScoringOptions) -> str:
    if options.imputation == "none":
        return "none: a missing genotype adds nothing"
    source = "the given table" if options.frequencies is not None else "the scored samples"
    if options.frequencies is None and options.fit_samples is not None:
        source = f"{len(options.fit_samples)} fit samples"
    return f"mean: a missing genotype counts as expected from the effect allele's frequency in {source}"


def _facts(
    table: ScoreTable,
    match: ScoreMatch,
    frequencies: FloatArray | None,
    cohorts: Mapping[str, DiscoveryCohorts],
    fitted: Mapping[str, ScoreAdjustment],
) -> dict[str, Any]:
    """What is known of one score, JSON-able."""
    name = table.header.name
    kinds = match.variants["effect_type"].value_counts().sort("effect_type")
    facts = asdict(table.header)
    named = facts.pop("discovery_cohorts")
    return {
        **facts,
        "discovery_cohorts": cohorts.get(name, "unknown"),
        "discovery_cohorts_as_stated": named,
        "counts": match.counts,
        "coverage": match.coverage,
        "weight_coverage": match.weight_coverage,
        "effect_types": dict(kinds.iter_rows()),
        "n_without_frequency": None if frequencies is None else int(np.isnan(frequencies).sum()),
        "adjustment": fitted[name].to_dict() if name in fitted else None,
    }


def _verdicts(scores: Sequence[ScoreTable], matches: Mapping[str, ScoreMatch], store: GenotypeStore) -> pl.DataFrame:
    """One row per weight of every score: where it stood, what became of it, and by which variant."""
    names = store.variants.select("variant_id").with_row_index("variant").cast({"variant": pl.Int64})
    names = names.rename({"variant_id": "store_variant"})
    frames = []
    for table in scores:
        name = table.header.name
        rows = table.terms.select("line", "contig", "position", "variant_id", "effect_allele", "other_allele", "weight")
        frames.append(rows.hstack(matches[name].verdicts).select(pl.lit(name).alias("score"), pl.all()))
    joined = pl.concat(frames).join(names, on="variant", how="left", maintain_order="left").drop("variant")
    return SCORE_VERDICTS.validate(joined)
