"""Polygenic scores: match a score's variants to the store's, then sum weight times copies of the effect allele.

A score is a sum, not a probability; it carries the ancestry of the people it was made in, and its units are its own. On
X outside the pseudo-autosomal regions a man counts as having 0 or 2 copies (PLINK's default).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.io.plink import GenotypeStore

FloatArray = npt.NDArray[np.float64]

Ambiguous = Literal["drop", "keep"]

MINIMUM_COVERAGE = 0.75

_COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
_STATUSES = ("matched", "swapped", "flipped", "flipped and swapped")


class ScoreMatch(NamedTuple):
    """Which store variants a score uses, and what became of every weight.

    ``variants`` has one row per used weight: ``variant`` (row of the store's variants), ``reference`` (True where the
    effect allele is REF), ``weight``, ``status``, sorted by variant. ``counts`` sums to the number of weights:
    matched, swapped (effect allele is REF), flipped (other strand), flipped and swapped, ambiguous (A/T or C/G,
    dropped), multi-allelic without other allele (dropped), duplicate (a repeated weight, dropped), missing.
    """

    variants: pl.DataFrame
    counts: dict[str, int]

    @property
    def n_weights(self) -> int:
        """Number of weights of the score."""
        return sum(self.counts.values())

    @property
    def coverage(self) -> float:
        """Share of the score's weights that are used."""
        return self.variants.height / self.n_weights if self.n_weights else 0.0


def complement(alleles: pl.Expr) -> pl.Expr:
    """Return the bases of the other strand for single-base alleles, null for longer ones."""
    return alleles.replace_strict(_COMPLEMENT, default=None, return_dtype=pl.String)


def match_score(weights: pl.DataFrame, variants: pl.DataFrame, *, ambiguous: Ambiguous = "drop") -> ScoreMatch:
    """Match weights to variants by contig, position and alleles.

    The same strand is tried before the other one. A/T and C/G variants look alike on both strands and are dropped, or
    with ``ambiguous="keep"`` taken as being on the same strand. Insertions and deletions match only when written alike.

    Parameters
    ----------
    weights: schema SCORE_WEIGHTS; ``other_allele`` may be null, then a record with several ALTs cannot be swapped.
    variants: the store's ``variants`` (contig, position, ref, alt, record).
    """
    key = ["contig", "position", "effect_allele", "other_allele"]
    numbered = weights.with_row_index("weight_row").with_columns(
        pl.struct(key).is_first_distinct().alias("first"),
        (pl.col("effect_allele") == complement(pl.col("other_allele"))).fill_null(False).alias("palindrome"),
    )
    found = _candidates(numbered, variants)
    best = found.sort("weight_row", "rank", "variant").unique("weight_row", keep="first", maintain_order=True)
    judged = numbered.join(best, on="weight_row", how="left", maintain_order="left").with_columns(
        _verdict(ambiguous).alias("status")
    )
    used = judged.filter(pl.col("status").is_in(_STATUSES)).with_columns(
        pl.col("status").str.ends_with("swapped").alias("reference")
    )
    counted = dict(judged["status"].value_counts().sort("status").iter_rows())
    counts = {name: int(counted.get(name, 0)) for name in (*_STATUSES, *_DROPPED)}
    return ScoreMatch(used.select("variant", "reference", "weight", "status").sort("variant", "reference"), counts)


def _candidates(numbered: pl.DataFrame, variants: pl.DataFrame) -> pl.DataFrame:
    """Every (weight, variant) pair at one position whose alleles agree in one of four ways, with the way as rank."""
    placed = variants.select(
        "contig", "position", "ref", "alt", pl.int_range(pl.len(), dtype=pl.Int64).alias("variant"),
        pl.len().over("record").alias("n_alts"),
    )  # fmt: skip
    pairs = numbered.join(placed, on=["contig", "position"], how="inner", maintain_order="left_right")
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
        (pl.col("other_allele").is_null() & (pl.col("n_alts") > 1)).alias("undecided"),
    ).filter(pl.col("rank").is_not_null())  # fmt: skip


_DROPPED = ("ambiguous", "multi-allelic without other allele", "duplicate", "missing")


def _verdict(ambiguous: Ambiguous) -> pl.Expr:
    """Name what becomes of each weight, the first reason that applies."""
    palindrome = pl.col("palindrome") | pl.col("palindromic_variant").fill_null(False)
    dropped = palindrome if ambiguous == "drop" else pl.lit(False)
    swapped_blindly = pl.col("undecided").fill_null(False) & pl.col("rank").is_in([1, 3])
    status = pl.col("rank").replace_strict(dict(enumerate(_STATUSES)), default="missing", return_dtype=pl.String)
    return (
        pl.when(~pl.col("first")).then(pl.lit("duplicate"))
        .when(pl.col("rank").is_null()).then(pl.lit("missing"))
        .when(dropped).then(pl.lit("ambiguous"))
        .when(swapped_blindly).then(pl.lit("multi-allelic without other allele"))
        .otherwise(status)
    )  # fmt: skip


def require_coverage(match: ScoreMatch, name: str, *, minimum: float = MINIMUM_COVERAGE) -> None:
    """Raise a :class:`FormatError` when fewer than ``minimum`` of the score's weights are used."""
    if match.coverage < minimum:
        lost = ", ".join(f"{count} {reason}" for reason, count in match.counts.items() if count)
        raise FormatError(
            f"only {match.variants.height} of the {match.n_weights} variants of score {name} are in the genotypes "
            f"({match.coverage:.1%}; {lost}), fewer than the {minimum:.0%} asked for",
            hint="check the genome build, use imputed genotypes, or lower minimum_coverage and say so",
        )


def check_score_build(name: str, score_build: str, store_build: str) -> None:
    """Raise a :class:`FormatError` when both builds are known and differ."""
    if "unknown" not in (score_build, store_build) and score_build != store_build:
        raise FormatError(
            f"score {name} has positions of {score_build}, the genotypes of {store_build}",
            hint=f"use the score's harmonised file for {store_build}",
        )


def read_effect_dosages(store: GenotypeStore, used: pl.DataFrame, samples: Any = None) -> npt.NDArray[np.float32]:
    """Return copies of the effect allele, float32 (n_used, n_samples) in [0, 2], NaN missing."""
    rows = used["variant"].to_numpy()
    reference = used["reference"].to_numpy()
    if not reference.any():
        return store.read_dosages(rows, samples)
    n = store.n_samples if samples is None else len(samples)
    out = np.empty((len(rows), n), dtype=np.float32)
    for flag in (False, True):
        at = np.flatnonzero(reference == flag)
        out[at] = store.read_dosages(rows[at], samples, reference=flag)
    return out


def effect_frequencies(
    store: GenotypeStore, match: ScoreMatch, samples: Any = None, *, block: int = 1024
) -> FloatArray:
    """Return the effect allele's frequency among ``samples`` for each used weight, float64; NaN without a call."""
    parts = []
    for start in range(0, match.variants.height, block):
        dosages = read_effect_dosages(store, match.variants[start : start + block], samples).astype(np.float64)
        called = np.isfinite(dosages).sum(axis=1)
        total = np.nan_to_num(dosages).sum(axis=1)
        parts.append(np.where(called > 0, total / np.maximum(2 * called, 1), np.nan))
    return np.concatenate(parts) if parts else np.empty(0)


def score_sums(
    store: GenotypeStore, match: ScoreMatch, *, frequencies: FloatArray | None, samples: Any = None, block: int = 1024
) -> FloatArray:
    """Return each sample's score, float64 (n_samples,): the sum of weight times effect-allele copies.

    Parameters
    ----------
    frequencies: effect-allele frequency per used weight; a missing genotype counts as twice it (0 where NaN). None: a
        missing genotype counts as 0 copies, which is only right where none is missing.
    samples: 0-based samples; None for all.
    """
    n = store.n_samples if samples is None else len(samples)
    total = np.zeros(n)
    weights = match.variants["weight"].to_numpy()
    fill = np.zeros(len(weights)) if frequencies is None else 2 * np.nan_to_num(np.asarray(frequencies))
    for start in range(0, len(weights), block):
        part = slice(start, start + block)
        dosages = read_effect_dosages(store, match.variants[part], samples).astype(np.float64)
        complete = np.where(np.isnan(dosages), fill[part, None], dosages)
        for weight, copies in zip(weights[part].tolist(), complete, strict=True):
            total += weight * copies  # one variant after the other: the same bits for any block size
    return total
