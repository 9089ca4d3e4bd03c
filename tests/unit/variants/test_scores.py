"""Polygenic scores: the matching rules as a table, and the sum against a loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import FormatError
from genomix.schemas.genotypes import SCORE_WEIGHTS
from genomix.variants.scores import (
    check_score_build,
    effect_frequencies,
    match_score,
    require_coverage,
    score_sums,
)
from tests.genotype_store import random_calls, store_of

VARIANTS = pl.DataFrame(
    [
        ("1", 10, "a", "A", "G", 0), ("1", 20, "b", "A", "T", 1), ("1", 30, "c", "C", "A", 2),
        ("1", 30, "c", "C", "T", 2), ("1", 40, "d", "AT", "A", 3), ("2", 10, "e", "G", "C", 4),
        ("X", 10, "f", "G", "T", 5),
    ],
    schema=["contig", "position", "variant_id", "ref", "alt", "record"], orient="row",
)  # fmt: skip


def weights(*rows: tuple[str, int, str, str | None, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={c.name: c.dtype for c in SCORE_WEIGHTS.columns}, orient="row")


@pytest.mark.parametrize(
    ("contig", "position", "effect", "other", "drop", "keep"),
    [
        ("1", 10, "G", "A", "matched", "matched"),
        ("1", 10, "A", "G", "swapped", "swapped"),
        ("1", 10, "C", "T", "flipped", "flipped"),
        ("1", 10, "T", "C", "flipped and swapped", "flipped and swapped"),
        ("1", 10, "G", None, "matched", "matched"),
        ("1", 10, "A", None, "swapped", "swapped"),
        ("1", 10, "C", None, "flipped", "flipped"),
        ("1", 10, "G", "C", "missing", "missing"),
        ("1", 10, "G", "T", "missing", "missing"),
        ("1", 11, "G", "A", "missing", "missing"),
        ("2", 10, "G", "A", "missing", "missing"),
        ("1", 20, "T", "A", "ambiguous", "matched"),
        ("1", 20, "A", "T", "ambiguous", "swapped"),
        ("1", 20, "A", None, "ambiguous", "swapped"),
        ("2", 10, "C", "G", "ambiguous", "matched"),
        ("1", 30, "A", "C", "matched", "matched"),
        ("1", 30, "T", "C", "matched", "matched"),
        ("1", 30, "C", "T", "swapped", "swapped"),
        ("1", 30, "C", None, "multi-allelic without other allele", "multi-allelic without other allele"),
        ("1", 30, "T", None, "matched", "matched"),
        ("1", 40, "A", "AT", "matched", "matched"),
        ("1", 40, "AT", "A", "swapped", "swapped"),
        ("1", 40, "T", "TA", "missing", "missing"),
    ],
)
def test_what_becomes_of_a_weight(contig, position, effect, other, drop, keep) -> None:
    for ambiguous, expected in (("drop", drop), ("keep", keep)):
        match = match_score(weights((contig, position, effect, other, 0.5)), VARIANTS, ambiguous=ambiguous)
        assert [name for name, n in match.counts.items() if n] == [expected]
        assert match.n_weights == 1
        used = expected in ("matched", "swapped", "flipped", "flipped and swapped")
        assert match.variants.height == used
        if used:
            assert match.variants["reference"][0] == expected.endswith("swapped")


def test_the_right_alt_is_counted_and_repeats_are_dropped() -> None:
    match = match_score(
        weights(("1", 30, "T", "C", 0.5), ("1", 30, "T", "C", 0.7), ("1", 10, "G", "A", 1.0), ("9", 1, "A", "C", 1.0)),
        VARIANTS,
    )
    assert match.variants.rows() == [(0, False, 1.0, "matched", "additive"), (3, False, 0.5, "matched", "additive")]
    assert match.verdicts.rows() == [("matched", 3), ("duplicate", None), ("matched", 0), ("missing", None)]
    assert match.weight_shares["duplicate"] == pytest.approx(0.7 / 3.2)
    assert match.weight_coverage == pytest.approx(1.5 / 3.2)
    assert match.counts["duplicate"] == 1
    assert match.counts["missing"] == 1
    assert match.coverage == 0.5


def test_coverage_and_build_are_refused_with_figures() -> None:
    match = match_score(weights(("1", 10, "G", "A", 1.0), ("9", 1, "A", "C", 1.0)), VARIANTS)
    require_coverage(match, "S", minimum=0.5)
    with pytest.raises(FormatError, match=r"only 1 of the 2 variants of score S.*50\.0%.*1 matched, 1 missing.*75%"):
        require_coverage(match, "S")
    check_score_build("S", "unknown", "GRCh37")
    check_score_build("S", "GRCh38", "unknown")
    with pytest.raises(FormatError, match=r"GRCh38.*GRCh37"):
        check_score_build("S", "GRCh38", "GRCh37")


def test_the_sum_equals_a_loop_whatever_the_block(tmp_path: Path) -> None:
    calls = random_calls(20, 15, seed=3, missing=0.1)
    store = store_of(tmp_path, calls)
    rng = np.random.default_rng(1)
    effects = ["G", "A"] * 10
    table = weights(
        *((("1"), 10 * (i + 1), e, "A" if e == "G" else "G", float(rng.normal())) for i, e in enumerate(effects))
    )
    match = match_score(table, store.variants)
    training = [0, 1, 2, 3, 4, 5, 6]
    frequencies = effect_frequencies(store, match, training)
    for s in range(15):
        total = 0.0
        for v in range(20):
            copies = {True: calls[v], False: np.where(calls[v] >= 0, 2 - calls[v], -9)}[effects[v] == "G"]
            seen = [c for c in copies[training] if c >= 0]
            assert frequencies[v] == pytest.approx(sum(seen) / (2 * len(seen)))
            total += table["weight"][v] * (copies[s] if copies[s] >= 0 else 2 * frequencies[v])
        assert score_sums(store, match, frequencies=frequencies)[s] == pytest.approx(total, abs=1e-12)
    whole = score_sums(store, match, frequencies=frequencies)
    assert (whole == score_sums(store, match, frequencies=frequencies, block=3)).all()
    assert (whole[[4, 2]] == score_sums(store, match, frequencies=frequencies, samples=[4, 2])).all()


def test_naming_the_other_allele_as_effect_reverses_the_score(tmp_path: Path) -> None:
    """dosage of REF = 2 - dosage of ALT, so the two sums add up to twice the sum of weights."""
    store = store_of(tmp_path, random_calls(10, 8, seed=4, missing=0))
    one = weights(*(("1", 10 * (i + 1), "G", "A", 0.1 * i) for i in range(10)))
    other = one.rename({"effect_allele": "other_allele", "other_allele": "effect_allele"}).select(one.columns)
    sums = [score_sums(store, match_score(w, store.variants), frequencies=None) for w in (one, other)]
    np.testing.assert_allclose(sums[0] + sums[1], 2 * one["weight"].sum())
