"""Quality control: counts by hand on X, Y and MT, thresholds, and the loop that F is checked against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.variants.qc import (
    SampleThresholds,
    VariantThresholds,
    count_genotypes,
    largest_label,
    sample_qc,
    threshold_table,
    variant_qc,
)
from tests.genotype_store import random_calls, store_of

MALE, FEMALE, UNKNOWN = 1, 2, 0


def test_copies_are_counted_as_people_carry_them(tmp_path: Path) -> None:
    sex = [MALE, MALE, MALE, FEMALE, FEMALE, UNKNOWN]
    row = [0, 1, 2, 1, 2, -9]
    variants = [("1", 1, "A", "G"), ("X", 1_000_000, "A", "G"), ("X", 5_000_000, "A", "G"),
                ("Y", 5_000_000, "A", "G"), ("MT", 5, "A", "G")]  # fmt: skip
    store = store_of(tmp_path, np.array([row] * 5, dtype=np.int8), variants=variants, sex=sex)
    counts = count_genotypes(store)
    assert store.variants["contig"].to_list() == ["1", "X", "X", "Y", "MT"]
    assert counts.n_called.tolist() == [5, 5, 4, 2, 3]  # a het with one copy is no call
    assert counts.n_eligible.tolist() == [6, 6, 6, 3, 6]
    expected = [6 / 10, 6 / 10, (1 + 3) / (2 + 4), 1 / 2, 2 / 3]
    np.testing.assert_allclose(counts.alt_frequency, expected)


def test_hwe_on_x_uses_recorded_females_and_never_y_or_mt(tmp_path: Path) -> None:
    sex = [MALE] * 40 + [FEMALE] * 40 + [UNKNOWN] * 20
    females = [0] * 10 + [1] * 20 + [2] * 10
    row = np.array([0, 2] * 20 + females + [0, 2] * 10, dtype=np.int8)
    variants = [("1", 1, "A", "G"), ("X", 5_000_000, "A", "G"), ("Y", 5_000_000, "A", "G"), ("MT", 5, "A", "G")]
    store = store_of(tmp_path, np.array([row] * 4), variants=variants, sex=sex)
    p = variant_qc(store)["hwe_p"].to_list()
    from genomix.variants.hwe import hwe_exact_mid_p

    assert p[1] == pytest.approx(hwe_exact_mid_p(20, 10, 10))
    assert p[0] == pytest.approx(hwe_exact_mid_p(20, 40, 40))
    assert p[0] < 1e-6 < p[1]
    assert p[2] is None
    assert p[3] is None


def test_each_threshold_removes_what_it_names(tmp_path: Path) -> None:
    n = 200
    good = np.array([0] * 50 + [1] * 100 + [2] * 50)
    uncalled = good.copy()
    uncalled[:11] = -9
    rare = np.array([1] * 3 + [0] * 197)
    constant, never = np.zeros(n), np.full(n, -9)
    excess, deficit = np.ones(n), np.array([0, 2] * 100)
    store = store_of(tmp_path, np.array([good, uncalled, rare, constant, never, excess, deficit], dtype=np.int8))
    pooled = variant_qc(store)
    assert pooled["reason"].to_list() == ["", "call_rate", "maf", "maf", "call_rate", "hwe_p", ""]
    assert pooled["keep"].to_list() == [r == "" for r in pooled["reason"]]
    within = variant_qc(store, ancestry=["one"] * n)
    assert within["reason"].to_list()[5:] == ["hwe_p", "hwe_p"]  # labels given: a deficit counts too
    off = variant_qc(store, VariantThresholds(call_rate=None, maf=None, hwe_p=None))
    assert off["keep"].all()
    assert pooled["alt_frequency"].to_list()[4] is None
    table = threshold_table(pooled, VariantThresholds())
    assert table.rows() == [("call_rate", 0.95, 7, 2, 5), ("maf", 0.01, 5, 2, 3), ("hwe_p", 1e-6, 3, 1, 2)]


def test_two_populations_do_not_lose_their_variants(tmp_path: Path) -> None:
    """Wahlund: each population in proportion, both together far from it."""
    one, other = [0] * 81 + [1] * 18 + [2], [2] * 81 + [1] * 18 + [0]
    store = store_of(tmp_path, np.array([one + other], dtype=np.int8))
    labels = ["a"] * 100 + ["b"] * 100
    assert variant_qc(store)["hwe_p"][0] < 1e-20
    assert variant_qc(store)["keep"].all()
    assert variant_qc(store, ancestry=labels)["hwe_p"][0] > 0.1
    strict = VariantThresholds(keep_fewer_heterozygotes=False)
    assert not variant_qc(store, strict)["keep"].any()


def test_only_the_given_samples_count(tmp_path: Path) -> None:
    calls = random_calls(30, 40, seed=3)
    store = store_of(tmp_path, calls)
    chosen = [1, 5, 7, 30, 31, 32, 33]
    alone = store_of(_folder(tmp_path, "alone"), calls[:, chosen])
    assert variant_qc(store, samples=chosen).equals(variant_qc(alone))


def _folder(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_sample_f_and_call_rate_equal_a_loop(tmp_path: Path) -> None:
    calls = random_calls(60, 25, seed=5, missing=0.1)
    variants = [("1", i + 1, "A", "G") for i in range(40)] + [("X", 5_000_000 + i, "A", "G") for i in range(20)]
    sex = ([MALE, FEMALE] * 13)[:25]
    store = store_of(tmp_path, calls, variants=variants, sex=sex)
    found = sample_qc(store)
    for rows, column, males_carry in ((range(40), "heterozygosity_f", 2), (range(40, 60), "x_f", 1)):
        frequencies = []
        for v in rows:
            alt = copies = 0
            for s in range(25):
                call, carried = calls[v, s], males_carry if sex[s] == MALE else 2
                if call == -9 or (carried == 1 and call == 1):
                    continue
                copies += carried
                alt += call if carried == 2 else call // 2
            frequencies.append(alt / copies)
        for s in range(25):
            seen = [
                (calls[v, s] == 1, 2 * p * (1 - p)) for v, p in zip(rows, frequencies, strict=True) if calls[v, s] >= 0
            ]
            f = 1 - sum(h for h, _ in seen) / sum(e for _, e in seen)
            assert found[column][s] == pytest.approx(f)
    np.testing.assert_allclose(found["call_rate"], (calls[:40] >= 0).mean(axis=0))


def test_sex_mismatch_needs_enough_x_variants(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    variants = [("X", 5_000_000 + i, "A", "G") for i in range(150)]
    males = rng.integers(0, 2, (150, 20)) * 2
    females = rng.binomial(2, 0.5, (150, 20))
    sex = [MALE] * 20 + [FEMALE] * 20
    sex[0], sex[39] = FEMALE, MALE
    store = store_of(tmp_path, np.hstack([males, females]).astype(np.int8), variants=variants, sex=sex)
    quality = sample_qc(store)
    assert np.flatnonzero(quality["reason"] == "sex_mismatch").tolist() == [0, 39]
    assert sample_qc(store, SampleThresholds(min_x_variants=151))["keep"].all()
    assert threshold_table(quality, SampleThresholds())["removed"].to_list() == [0, 0, 2]


def test_heterozygosity_is_judged_within_its_label(tmp_path: Path) -> None:
    calls = random_calls(400, 60, seed=8, missing=0)
    calls[:, 7] = 1
    store = store_of(tmp_path, calls)
    labels = ["a"] * 30 + ["b"] * 30
    quality = sample_qc(store, ancestry=labels)
    assert quality["reason"][7] == "heterozygosity"
    assert sample_qc(store, SampleThresholds(heterozygosity_sd=None))["keep"].all()


def test_largest_label_breaks_ties_by_name() -> None:
    assert largest_label(["b", "a", None, "a", "b"]) == "a"
    assert largest_label(pl.Series([None, None], dtype=pl.String)) is None
