"""Match a score's weights to the store's variants by contig, position and alleles.

The same strand is tried before the other one. A/T and C/G variants look alike on both strands: they are dropped, kept
as being on the same strand, or resolved by frequency. Insertions and deletions match only when written alike.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.io.pgs_catalog import LEFT_OUT_WHEN_READ, NAMED_ALLELE
from genomix.schemas.scores import ADDITIVE, SCORE_MATCHES

Ambiguous = Literal["drop", "keep", "resolve"]

MINIMUM_COVERAGE = 0.75

FREQUENCY_MARGIN = 0.08
"""A palindromic variant is resolved only when both frequencies are farther than this from a half (the minor allele
below 0.42, as in Hemani et al. 2018, doi:10.7554/eLife.34408)."""

_COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
USED_STATUSES = ("matched", "swapped", "flipped", "flipped and swapped")
_DROPPED = ("ambiguous", "multi-allelic without other allele", "duplicate", "missing")
_SELDOM = ("without position", *LEFT_OUT_WHEN_READ)
_TERM_COLUMNS = {"effect_type": pl.String, "weight_0": pl.Float64, "weight_1": pl.Float64, "weight_2": pl.Float64}


class ScoreMatch(NamedTuple):
    """Which store variants a score uses, and what became of every weight.

    ``variants`` has one row per used weight: ``variant`` (row of the store's variants), ``reference`` (True where the
    effect allele is REF), ``weight``, ``status``, ``effect_type`` and, with weights per genotype, ``weight_0`` to
    ``weight_2``; sorted by variant. ``counts`` sums to the number of weights: matched, swapped (effect allele is REF),
    flipped (other strand), flipped and swapped, ambiguous (A/T or C/G, dropped), multi-allelic without other allele
    (dropped), duplicate (a repeated weight, dropped), missing; and, where there are any, without position, haplotype,
    diplotype, interaction and named allele. ``weight_shares`` gives each status' share of the sum of absolute weights;
    ``verdicts`` has one row per weight in their order: ``status``, ``variant`` (null where not used).
    """

    variants: pl.DataFrame
    counts: dict[str, int]
    weight_shares: dict[str, float] = {}  # noqa: RUF012 - a NamedTuple's default, never changed
    verdicts: pl.DataFrame = pl.DataFrame(schema={"status": pl.String, "variant": pl.Int64})

    @property
    def n_weights(self) -> int:
        """Number of weights of the score."""
        return sum(self.counts.values())

    @property
    def coverage(self) -> float:
        """Share of the score's weights that are used."""
        return self.variants.height / self.n_weights if self.n_weights else 0.0

    @property
    def weight_coverage(self) -> float:
        """Share of the sum of the score's absolute weights that is used."""
        return sum(self.weight_shares.get(status, 0.0) for status in USED_STATUSES)


def complement(alleles: pl.Expr) -> pl.Expr:
    """Return the bases of the other strand for single-base alleles, null for longer ones."""
    return alleles.replace_strict(_COMPLEMENT, default=None, return_dtype=pl.String)


def match_score(
    weights: pl.DataFrame,
    variants: pl.DataFrame,
    *,
    ambiguous: Ambiguous = "drop",
    match_ids: bool = False,
    alt_frequencies: npt.NDArray[np.float64] | None = None,
) -> ScoreMatch:
    """Match weights to variants; see the module.

    Parameters
    ----------
    weights: schema SCORE_WEIGHTS or SCORE_TERMS; ``other_allele`` may be null, then a record with several ALTs cannot
        be swapped.
    variants: the store's ``variants`` (contig, position, variant_id, ref, alt, record).
    ambiguous: what happens to A/T and C/G variants. ``resolve`` compares ``effect_frequency`` with the ALT frequencies:
        both beyond ``FREQUENCY_MARGIN`` of a half, on one side: the same strand, on two sides: the other one; all else
        is dropped.
    match_ids: a weight without a position is looked up by its ``variant_id`` among the variants'.
    alt_frequencies: float64 (n_variants,), NaN unknown; needed to resolve.
    """
    numbered = _numbered(weights)
    if match_ids:
        numbered = _placed_by_id(numbered, variants)
    found = _candidates(numbered, variants, alt_frequencies)
    if ambiguous == "resolve":
        found = _resolved(found)
    best = found.sort("weight_row", "rank", "variant").unique("weight_row", keep="first", maintain_order=True)
    judged = numbered.join(best, on="weight_row", how="left", maintain_order="left").with_columns(
        _verdict(ambiguous).alias("status")
    )
    judged = judged.with_columns(pl.col("status").str.ends_with("swapped").alias("reference"))
    judged = judged.with_columns(_repeated().alias("status"))
    used = judged.filter(pl.col("status").is_in(USED_STATUSES))
    columns = ["variant", "reference", "weight", "status", *(c for c in _TERM_COLUMNS if _needed(used, c))]
    return ScoreMatch(
        used.select(columns).sort("variant", "reference", maintain_order=True),
        _counts(judged),
        _weight_shares(judged),
        judged.select("status", pl.when(pl.col("status").is_in(USED_STATUSES)).then("variant").alias("variant")),
    )


def _numbered(weights: pl.DataFrame) -> pl.DataFrame:
    """The weights with their row, every column that matching reads, and whether a weight is the first of its kind."""
    absent = {
        "effect_type": pl.lit(ADDITIVE), "effect_frequency": pl.lit(None, dtype=pl.Float64),
        "left_out": pl.lit(None, dtype=pl.String), "variant_id": pl.lit(None, dtype=pl.String),
        "weight_0": pl.lit(None, dtype=pl.Float64), "weight_1": pl.lit(None, dtype=pl.Float64),
        "weight_2": pl.lit(None, dtype=pl.Float64),
    }  # fmt: skip
    full = weights.with_columns(e.alias(n) for n, e in absent.items() if n not in weights.columns)
    key = ["contig", "position", "effect_allele", "other_allele"]
    key += ["variant_id"] if "variant_id" in weights.columns else []
    return full.with_row_index("weight_row").with_columns(
        (pl.struct(key).is_first_distinct() | pl.col("left_out").is_not_null()).alias("first"),
        (pl.col("effect_allele") == complement(pl.col("other_allele"))).fill_null(False).alias("palindrome"),
    )


def _placed_by_id(numbered: pl.DataFrame, variants: pl.DataFrame) -> pl.DataFrame:
    """Give weights without a position that of the first variant that bears their ID (IDs may be joined by ``;``)."""
    known = (
        variants.select(pl.col("variant_id").str.split(";"), pl.col("contig").alias("c"), pl.col("position").alias("p"))
        .explode("variant_id")
        .unique("variant_id", keep="first", maintain_order=True)
    )
    unplaced = pl.col("contig").is_null() | pl.col("position").is_null()
    return (
        numbered.join(known, on="variant_id", how="left", maintain_order="left")
        .with_columns(
            pl.when(unplaced).then("c").otherwise("contig").alias("contig"),
            pl.when(unplaced).then("p").otherwise("position").alias("position"),
        )
        .drop("c", "p")
    )


def _candidates(
    numbered: pl.DataFrame, variants: pl.DataFrame, alt_frequencies: npt.NDArray[np.float64] | None
) -> pl.DataFrame:
    """Every (weight, variant) pair at one position whose alleles agree in one of four ways, with the way as rank."""
    unknown = np.full(variants.height, np.nan)
    placed = variants.select(
        "contig", "position", "ref", "alt", pl.int_range(pl.len(), dtype=pl.Int64).alias("variant"),
        # A site that was split into records has several ALTs all the same.
        pl.max_horizontal(
            pl.len().over("record"), pl.col("alt").n_unique().over("contig", "position", "ref")
        ).alias("n_alts"),
        pl.Series("alt_frequency", unknown if alt_frequencies is None else alt_frequencies).fill_nan(None),
    )  # fmt: skip
    usable = numbered.filter(pl.col("left_out").is_null() | (pl.col("left_out") == NAMED_ALLELE)).select(
        "weight_row", "contig", "position", "effect_allele", "other_allele", "effect_frequency"
    )
    pairs = usable.join(placed, on=["contig", "position"], how="inner", maintain_order="left_right")
    effect, other, ref, alt = (pl.col(n) for n in ("effect_allele", "other_allele", "ref", "alt"))
    effect_c, other_c = complement(effect), complement(other)

    def agrees(a: pl.Expr, b: pl.Expr, x: pl.Expr, y: pl.Expr) -> pl.Expr:
        """The effect allele is x, and the other allele is y or unknown."""
        return ((a == x) & (b.is_null() | (b == y))).fill_null(False)

    single_base = (ref.str.len_bytes() == 1) & (alt.str.len_bytes() == 1)
    rank = (
        pl.when(agrees(effect, other, alt, ref)).then(0)
        .when(agrees(effect, other, ref, alt)).then(1)
        .when(single_base & agrees(effect_c, other_c, alt, ref)).then(2)
        .when(single_base & agrees(effect_c, other_c, ref, alt)).then(3)
    )  # fmt: skip
    palindrome = (ref == complement(alt)).fill_null(False)
    return pairs.select(
        "weight_row", "variant", rank.alias("rank"), palindrome.alias("palindromic_variant"),
        (other.is_null() & (pl.col("n_alts") > 1)).alias("undecided"), "effect_frequency", "alt_frequency",
    ).filter(pl.col("rank").is_not_null())  # fmt: skip


def _resolved(found: pl.DataFrame) -> pl.DataFrame:
    """Palindromic pairs with two telling frequencies get the strand on which these agree, and are ambiguous no more."""
    here = pl.when(pl.col("rank") == 0).then(pl.col("alt_frequency")).otherwise(1 - pl.col("alt_frequency")) - 0.5
    stated = pl.col("effect_frequency") - 0.5
    telling = (here.abs() > FREQUENCY_MARGIN) & (stated.abs() > FREQUENCY_MARGIN)
    decided = (pl.col("palindromic_variant") & pl.col("rank").is_in([0, 1]) & telling).fill_null(False)
    other_strand = decided & (here.sign() != stated.sign()).fill_null(False)
    # on the other strand the same letter is the other allele: (effect = ALT) becomes flipped and swapped, and so on
    return found.with_columns(
        pl.when(other_strand).then(3 - pl.col("rank")).otherwise("rank").alias("rank"),
        decided.alias("resolved"),
    )


def _verdict(ambiguous: Ambiguous) -> pl.Expr:
    """Name what becomes of each weight, the first reason that applies."""
    palindrome = pl.col("palindrome") | pl.col("palindromic_variant").fill_null(False)
    dropped = palindrome if ambiguous != "keep" else pl.lit(False)
    if ambiguous == "resolve":
        dropped &= ~pl.col("resolved").fill_null(False)
    swapped_blindly = pl.col("undecided").fill_null(False) & pl.col("rank").is_in([1, 3])
    status = pl.col("rank").replace_strict(dict(enumerate(USED_STATUSES)), default="missing", return_dtype=pl.String)
    unplaced = pl.col("contig").is_null() | pl.col("position").is_null()
    alike = (pl.col("left_out") == NAMED_ALLELE) & pl.col("rank").is_not_null()  # coded alleles (1 and 2) may match
    return (
        pl.when(pl.col("left_out").is_not_null() & ~alike).then("left_out")
        .when(unplaced).then(pl.lit("without position"))
        .when(~pl.col("first")).then(pl.lit("duplicate"))
        .when(pl.col("rank").is_null()).then(pl.lit("missing"))
        .when(dropped).then(pl.lit("ambiguous"))
        .when(swapped_blindly).then(pl.lit("multi-allelic without other allele"))
        .otherwise(status)
    )  # fmt: skip


def _repeated() -> pl.Expr:
    """A used weight whose allele of whose variant an earlier weight already counts is a duplicate."""
    used = pl.col("status").is_in(USED_STATUSES)
    again = used & ~pl.struct("variant", "reference", used).is_first_distinct()
    return pl.when(again).then(pl.lit("duplicate")).otherwise("status")


def _needed(used: pl.DataFrame, column: str) -> bool:
    """The effect type always, weights per genotype only where there are some."""
    return column == "effect_type" or bool(used[column].is_not_null().any())


def _counts(judged: pl.DataFrame) -> dict[str, int]:
    found = dict(judged["status"].value_counts().sort("status").iter_rows())
    names = (*USED_STATUSES, *_DROPPED, *(s for s in _SELDOM if found.get(s)))
    return {name: int(found.get(name, 0)) for name in names}


def _weight_shares(judged: pl.DataFrame) -> dict[str, float]:
    """Each status' share of the sum of absolute weights, added up in the order of the rows."""
    sizes = np.abs(judged["weight"].to_numpy())
    status = judged["status"].to_numpy()
    total = float(np.sum(sizes))
    names = (*USED_STATUSES, *_DROPPED, *_SELDOM)
    shares = {name: float(np.sum(sizes[status == name])) / total if total else 0.0 for name in names}
    return {name: share for name, share in shares.items() if name not in _SELDOM or share}


def match_report(matches: dict[str, ScoreMatch]) -> pl.DataFrame:
    """Return the match report: one row per score and status (schema SCORE_MATCHES)."""
    rows = [
        (name, status, status in USED_STATUSES, n, n / max(match.n_weights, 1), match.weight_shares.get(status, 0.0))
        for name, match in matches.items()
        for status, n in match.counts.items()
    ]
    schema = {c.name: c.dtype for c in SCORE_MATCHES.columns}
    return SCORE_MATCHES.validate(pl.DataFrame(rows, schema=schema, orient="row"))


def require_coverage(match: ScoreMatch, name: str, *, minimum: float = MINIMUM_COVERAGE) -> None:
    """Raise a :class:`FormatError` when fewer than ``minimum`` of the score's weights are used."""
    if match.coverage < minimum:
        lost = ", ".join(f"{count} {reason}" for reason, count in match.counts.items() if count)
        unplaced, n_lost = match.counts.get("without position", 0), match.n_weights - match.variants.height
        share = f"; {match.weight_coverage:.1%} of the sum of absolute weights" if match.weight_shares else ""
        raise FormatError(
            f"only {match.variants.height} of the {match.n_weights} variants of score {name} are in the genotypes "
            f"({match.coverage:.1%}{share}; {lost}), fewer than the {minimum:.0%} asked for",
            hint="--match-ids (match_ids in a study) looks rows without a position up by their ID"
            if 2 * unplaced > n_lost
            else "check the genome build, use imputed genotypes, or lower --min-overlap (minimum_coverage in a study) "
            "and say so",
        )


def build_warning(name: str, score_build: str, store_build: str) -> str | None:
    """Return a warning where the score has a build and the genotypes' is not known, else None."""
    if store_build != "unknown" or score_build == "unknown":
        return None
    return f"score {name} has positions of {score_build}, and the build of the genotypes is unknown: --build names it"


def check_score_build(name: str, score_build: str, store_build: str) -> None:
    """Raise a :class:`FormatError` when both builds are known and differ."""
    if "unknown" not in (score_build, store_build) and score_build != store_build:
        raise FormatError(
            f"score {name} has positions of {score_build}, the genotypes of {store_build}",
            hint=f"use the score's harmonised file for {store_build}",
        )
