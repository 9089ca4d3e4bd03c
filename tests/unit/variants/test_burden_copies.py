"""Copies as people carry them, against a loop over people and variants, and burdens against scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.io.contigs import PloidyClass
from genomix.variants.burden import BurdenOptions, BurdenSet, collapse_sets, compute_burden
from genomix.variants.burden_copies import PeopleCopies, VariantCopies, copies_of
from genomix.variants.gene_masks import Mask
from genomix.variants.score_matching import match_score
from genomix.variants.score_sums import score_sums
from tests.genotype_store import store_of

CLASSES = [PloidyClass.AUTOSOME, PloidyClass.PAR, PloidyClass.X, PloidyClass.Y, PloidyClass.MT, PloidyClass.OTHER]
PLACES = [("1", 10), ("X", 10_000), ("X", 50_000_000), ("Y", 10_000_000), ("MT", 50)]


def carried(call: int, kind: PloidyClass, male: bool, flipped: bool) -> tuple[int, bool]:
    """Copies and whether the call is there, rule by rule."""
    if kind is PloidyClass.Y and not male:
        return 0, True
    if call < 0:
        return 0, False
    if kind in (PloidyClass.Y, PloidyClass.MT):
        if call == 1:
            return 0, False
        return (1 - call // 2 if flipped else call // 2), True
    return (2 - call if flipped else call), True


def test_every_call_in_every_place_equals_the_rules() -> None:
    male = np.array([True, False, True, False])
    for flipped in (False, True):
        for kind in CLASSES:
            for call in (-9, 0, 1, 2):
                calls = np.full((1, 4), call, dtype=np.int8)
                variants = VariantCopies.of_classes(np.array([int(kind)], dtype=np.int8))
                found = copies_of(calls, np.array([flipped]), variants, PeopleCopies(male))
                wanted = [carried(call, kind, bool(m), flipped) for m in male]
                assert list(zip(found.copies[0].tolist(), found.called[0].tolist(), strict=True)) == wanted
                assert found.copies.max() <= variants.most[0]


@pytest.mark.parametrize("missing", ["reference", "mean"])
def test_a_weighted_burden_is_the_score_of_its_weights(missing: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    calls = 2 * rng.binomial(1, 0.3, (5, 30)).astype(np.int8)
    calls[rng.random(calls.shape) < 0.1] = -9
    store = store_of(tmp_path, calls, variants=[(c, p, "A", "G") for c, p in PLACES], sex=[1, 2, 1] * 10)
    weights = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    p = np.array([0.25, 0.5, 0.125, 0.25, 0.5])
    one = BurdenSet("G", "m", np.arange(5), p, weights, np.zeros(5, dtype=bool))
    found = collapse_sets(store, [one], collapse="weighted", missing=missing)
    table = pl.DataFrame(
        {"contig": [c for c, _ in PLACES], "position": [q for _, q in PLACES], "effect_allele": ["G"] * 5,
         "other_allele": ["A"] * 5, "weight": weights}
    )  # fmt: skip
    match = match_score(table, store.variants)
    score = score_sums(store, match, frequencies=p if missing == "mean" else None)
    np.testing.assert_allclose(found.values[:, 0], score, rtol=1e-6)
    women = np.flatnonzero(np.array([1, 2, 1] * 10) == 2)
    on_y = BurdenSet("G", "y", np.array([3]), p[3:4], weights[3:4], np.zeros(1, dtype=bool))
    assert collapse_sets(store, [on_y], collapse="count").values[women].max() == 0


def test_intervals_admit_no_consequence(tmp_path: Path) -> None:
    store = store_of(tmp_path, np.ones((1, 4), dtype=np.int8))
    bed = pl.DataFrame({"contig": ["1"], "start": [1], "end": [20], "gene": ["G"]})
    with pytest.raises(ConfigError, match="say no consequence"):
        compute_burden(store, bed, BurdenOptions((Mask("lof", "lof", None),)))
