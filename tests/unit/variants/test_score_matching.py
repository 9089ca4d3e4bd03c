"""Matching beyond the table in test_scores: frequencies, IDs, rows that cannot be summed, repeats."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomix.errors import FormatError
from genomix.schemas.scores import SCORE_TERMS
from genomix.variants.score_frequencies import alt_frequencies, effect_from_alt
from genomix.variants.score_matching import match_report, match_score

VARIANTS = pl.DataFrame(
    [
        ("1", 10, "rs1", "A", "G", 0), ("1", 20, "rs2;rs2b", "A", "T", 1), ("1", 30, "rs3", "C", "A", 2),
        ("1", 30, "rs3", "C", "T", 2), ("2", 10, "rs4", "G", "C", 3),
    ],
    schema=["contig", "position", "variant_id", "ref", "alt", "record"], orient="row",
)  # fmt: skip


def term(contig: str | None, position: int | None, effect: str, other: str | None, **more: object) -> dict[str, object]:
    empty = dict.fromkeys(SCORE_TERMS.names)
    place = {"contig": contig, "position": position, "effect_allele": effect, "other_allele": other}
    return {**empty, **place, "weight": 1.0, "effect_type": "additive", "line": 1, **more}


def terms(*rows: dict[str, object]) -> pl.DataFrame:
    numbered = [{**row, "line": i} for i, row in enumerate(rows, start=2)]
    return SCORE_TERMS.validate(pl.DataFrame(numbered, schema={c.name: c.dtype for c in SCORE_TERMS.columns}))


@pytest.mark.parametrize(
    ("effect", "stated", "alt", "expected"),
    [
        # one side of a half: the same strand
        ("T", 0.2, 0.3, "matched"),
        ("A", 0.8, 0.3, "swapped"),
        # two sides: the letter is the other strand's
        ("T", 0.8, 0.3, "flipped and swapped"),
        ("A", 0.2, 0.3, "flipped"),
        # too near to a half, or unknown
        ("T", 0.45, 0.3, "ambiguous"),
        ("T", 0.2, 0.55, "ambiguous"),
        ("T", None, 0.3, "ambiguous"),
        ("T", 0.2, float("nan"), "ambiguous"),
    ],
)
def test_palindromes_are_resolved_by_two_frequencies(effect, stated, alt, expected) -> None:
    other = "A" if effect == "T" else "T"
    table = terms(term("1", 20, effect, other, effect_frequency=stated))
    known = np.array([0.1, alt, 0.1, 0.1, 0.1])
    match = match_score(table, VARIANTS, ambiguous="resolve", alt_frequencies=known)
    assert [name for name, n in match.counts.items() if n] == [expected]
    if match.variants.height:
        # after resolving, the counted allele's frequency here is on the stated side
        here = 1 - alt if match.variants["reference"][0] else alt
        assert (here > 0.5) == (stated > 0.5)
    plain = terms(term("1", 10, "G", "A", effect_frequency=0.9))
    assert match_score(plain, VARIANTS, ambiguous="resolve", alt_frequencies=known).counts["matched"] == 1


def test_rows_without_position_are_found_by_id_only_when_asked() -> None:
    table = terms(
        term(None, None, "G", "A", variant_id="rs1"), term(None, None, "C", "T", variant_id="rs1"),
        term(None, None, "T", None, variant_id="rs3"), term(None, None, "A", "C", variant_id="rs9"),
        term(None, None, "A", "C"), term("1", 10, "T", "C", variant_id="rs4"),
    )  # fmt: skip
    assert match_score(table, VARIANTS).counts["without position"] == 5
    found = match_score(table, VARIANTS, match_ids=True, ambiguous="keep")
    assert found.verdicts["status"].to_list() == [
        "matched", "duplicate", "matched", "without position", "without position", "flipped and swapped",
    ]  # fmt: skip
    assert found.variants.select("variant", "reference").rows() == [(0, False), (0, True), (3, False)]
    assert match_score(terms(term(None, None, "T", "A", variant_id="rs2b")), VARIANTS, match_ids=True).counts[
        "ambiguous"
    ] == 1  # fmt: skip


def test_rows_that_cannot_be_summed_keep_their_reason_and_count_against_coverage() -> None:
    table = terms(
        term("1", 10, "G", "A"), term("1", 30, "HLA-B*57:01", None, left_out="haplotype", weight=3.0),
        term("19", 5, "APOE-E4", None, left_out="named allele"),
    )  # fmt: skip
    match = match_score(table, VARIANTS)
    assert {k: n for k, n in match.counts.items() if n} == {"matched": 1, "haplotype": 1, "named allele": 1}
    assert match.coverage == pytest.approx(1 / 3)
    assert match.weight_shares["haplotype"] == pytest.approx(0.6)
    report = match_report({"S": match})
    assert report.filter(pl.col("used"))["n_weights"].sum() == 1
    assert report["weight_share"].sum() == pytest.approx(1)


def test_alleles_that_are_codes_match_when_the_genotypes_have_the_same_codes() -> None:
    coded = VARIANTS.with_columns(ref=pl.lit("1"), alt=pl.lit("2"))[:1]
    table = terms(
        term("1", 10, "2", "1", left_out="named allele"), term("1", 10, "3", "1", left_out="named allele"),
    )  # fmt: skip
    assert match_score(table, coded).verdicts["status"].to_list() == ["matched", "named allele"]


def test_one_allele_of_one_variant_is_counted_once() -> None:
    """On the other strand, or with an unknown other allele, a repeat is still a repeat; the other allele is none."""
    table = terms(term("1", 10, "G", "A"), term("1", 10, "C", "T"), term("1", 10, "G", None), term("1", 10, "A", "G"))
    match = match_score(table, VARIANTS)
    assert match.verdicts["status"].to_list() == ["matched", "duplicate", "duplicate", "swapped"]


def known(*rows: tuple[str | None, int | None, str, str, str, float]) -> pl.DataFrame:
    names = ["contig", "position", "variant_id", "ref", "alt", "alt_frequency"]
    types = [pl.String, pl.Int64, pl.String, pl.String, pl.String, pl.Float64]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def test_frequencies_from_elsewhere_fit_by_position_or_id_and_may_be_exchanged() -> None:
    by_place = alt_frequencies(known(("1", 10, "x", "A", "G", 0.2), ("1", 20, "y", "T", "A", 0.3)), VARIANTS)
    np.testing.assert_allclose(by_place, [0.2, 0.7, np.nan, np.nan, np.nan])
    by_id = alt_frequencies(known(("1", None, "rs3", "C", "A", 0.1), ("1", None, "rs3", "C", "T", 0.25)), VARIANTS)
    np.testing.assert_allclose(by_id, [np.nan, np.nan, 0.1, 0.25, np.nan])
    match = match_score(terms(term("1", 30, "C", "A"), term("1", 30, "T", "C")), VARIANTS)
    np.testing.assert_allclose(effect_from_alt(match, by_id, VARIANTS), [0.65, 0.25])
    with pytest.raises(FormatError, match="different frequencies"):
        alt_frequencies(known(("1", 10, "x", "A", "G", 0.2), ("1", 10, "x", "G", "A", 0.7)), VARIANTS)
