"""KING-robust: every pair against the scalar formula, on two array modules; groups, unrelated sets, crossing pairs."""

from __future__ import annotations

from pathlib import Path

import array_api_strict
import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.variants.kinship import (
    PairCounts,
    bit_planes,
    degree_words,
    king_robust,
    king_robust_matrix,
    king_robust_pair,
    kinship_pairs,
    named_pairs,
)
from genomix.variants.relatives import (
    crossing_kinship,
    kin_groups,
    low_kinship_clusters,
    relatives_table,
    unrelated,
)
from tests.genotype_store import random_calls, store_of


def by_definition(i: np.ndarray, j: np.ndarray) -> float:
    """Manichaikul 2010, equation 11, with its own counts, in a loop."""
    n_het_het = n_opposite = n_het_i = n_het_j = 0
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        if a < 0 or b < 0:
            continue
        n_het_het += a == 1 and b == 1
        n_opposite += {a, b} == {0, 2}
        n_het_i += a == 1
        n_het_j += b == 1
    fewer = min(n_het_i, n_het_j)
    return (n_het_het - 2 * n_opposite) / (2 * fewer) + 0.5 - 0.25 * (n_het_i + n_het_j) / fewer


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("tile", [5, 100])
def test_pairs_equal_the_definition(missing: float, tile: int) -> None:
    calls = random_calls(150, 17, seed=1, missing=missing)
    calls[:, 3] = calls[:, 11]
    frame = king_robust(calls, minimum=-9.0, tile=tile)
    assert frame.height == 17 * 16 // 2
    for a, b, kinship in frame.iter_rows():
        assert kinship == pytest.approx(by_definition(calls[:, a], calls[:, b]), abs=1e-12)
        assert kinship == pytest.approx(king_robust_pair(calls[:, a], calls[:, b]), abs=1e-12)
    assert frame.equals(king_robust(calls, minimum=-9.0, tile=tile, xp=array_api_strict))
    dense = king_robust_matrix(calls)
    assert (dense[frame["sample_a"], frame["sample_b"]] == frame["kinship"].to_numpy()).all()
    assert (dense == dense.T).all()


@pytest.mark.parametrize(("n_samples", "tile"), [(17, 5), (17, 100), (510, 200)])
def test_pairs_without_a_kinship_are_counted(n_samples: int, tile: int, tmp_path: Path) -> None:
    calls = random_calls(40, n_samples, seed=3, missing=0.2)
    calls[:, 4] = 2 * (calls[:, 4] > 0)
    calls[:, 8] = -9
    counted = PairCounts()
    found = kinship_pairs(store_of(tmp_path, calls), minimum=-99.0, tile=tile, counted=counted)
    pairs = [(i, j) for i in range(n_samples) for j in range(i + 1, n_samples)]
    nothing = sum(np.isnan(king_robust_pair(calls[:, i], calls[:, j])) for i, j in pairs)
    assert nothing >= 2 * n_samples - 3
    assert counted.undefined == nothing
    assert found.height == len(pairs) - nothing


def test_swapping_ref_and_alt_changes_nothing() -> None:
    calls = random_calls(80, 12, seed=2)
    flipped = np.where(calls >= 0, 2 - calls, calls).astype(np.int8)
    assert king_robust(calls, minimum=-9).equals(king_robust(flipped, minimum=-9))


def test_the_store_is_read_in_blocks_from_autosomal_records_with_one_alt(tmp_path: Path) -> None:
    calls = random_calls(60, 9, seed=4)
    variants = [("1", i + 1, "A", "G") for i in range(50)] + [("X", 5_000_000 + i, "A", "G") for i in range(10)]
    store = store_of(tmp_path, calls, variants=variants)
    assert kinship_pairs(store, minimum=-9).equals(king_robust(calls[:50], minimum=-9))
    chosen = [7, 2, 5]
    part = kinship_pairs(store, minimum=-9, samples=chosen)
    assert part.select("sample_a", "sample_b").rows() == [(2, 5), (2, 7), (5, 7)]
    whole = {(a, b): k for a, b, k in kinship_pairs(store, minimum=-9).iter_rows()}
    assert all(whole[a, b] == k for a, b, k in part.iter_rows())


def test_no_heterozygote_gives_nan_and_no_pair() -> None:
    calls = np.zeros((5, 3), dtype=np.int8)
    assert np.isnan(king_robust_pair(calls[:, 0], calls[:, 1]))
    assert king_robust(calls, minimum=-9).height == 0


def pairs(*rows: tuple[int, int, float]) -> pl.DataFrame:
    schema = {"sample_a": pl.Int64, "sample_b": pl.Int64, "kinship": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


FAMILY = pairs((0, 4, 0.25), (4, 2, 0.24), (1, 3, 0.12), (5, 6, 0.4), (6, 7, 0.19))


def test_groups_are_components_labelled_by_their_smallest_member() -> None:
    assert kin_groups(9, FAMILY).tolist() == [0, 1, 0, 3, 0, 5, 5, 5, 8]
    assert kin_groups(9, FAMILY.reverse()).tolist() == kin_groups(9, FAMILY).tolist()
    assert kin_groups(9, FAMILY, 0.1).tolist() == [0, 1, 0, 1, 0, 5, 5, 5, 8]
    assert kin_groups(2, FAMILY.clear()).tolist() == [0, 1]


def test_unrelated_is_independent_and_maximal() -> None:
    taken = unrelated(9, FAMILY)
    assert taken.tolist() == [True, True, True, True, False, True, False, True, True]
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = 30
        edges = [(int(a), int(b), 0.25) for a, b in rng.integers(0, n, (25, 2)) if a != b]
        frame = pairs(*edges)
        mask = unrelated(n, frame)
        neighbours = {i: {a + b - i for a, b, _ in edges if i in (a, b)} for i in range(n)}
        assert not any(mask[a] and mask[b] for a, b, _ in edges)
        assert all(mask[i] or any(mask[j] for j in neighbours[i]) for i in range(n))


def test_crossing_pairs_by_degree() -> None:
    found = crossing_kinship(FAMILY, [0, 2, 5, 1], [4, 6, 7, 3])
    assert found.counts == {"duplicate": 1, "first": 3, "second": 4, "third": 4}
    assert found.maximum == 0.4
    assert crossing_kinship(FAMILY, [0], [1]) == ({"duplicate": 0, "first": 0, "second": 0, "third": 0}, None)


def test_clusters_put_close_relatives_together() -> None:
    kinship = np.full((6, 6), 0.05)
    for group in ([0, 3], [1, 2, 5]):
        kinship[np.ix_(group, group)] = 0.3
    np.fill_diagonal(kinship, 0.5)
    assert low_kinship_clusters(kinship, n_clusters=3).tolist() == [0, 1, 1, 0, 4, 1]
    assert low_kinship_clusters(kinship, n_clusters=1).tolist() == [0] * 6
    with pytest.raises(ConfigError):
        low_kinship_clusters(kinship, n_clusters=7)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_comparing_bits_gives_the_very_same_numbers(missing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = random_calls(333, 41, seed=9, missing=missing)
    calls[:, 5:9] = np.where(calls[:, 5:9] < 0, 0, calls[:, 5:9])  # some without a missing call among others with
    products = king_robust(calls, minimum=-9.0, tile=16)
    close = king_robust(calls, minimum=0.05, tile=16)
    assert 0 < close.height < products.height
    monkeypatch.setattr("genomix.variants.kinship._MANY_PAIRS", 1)
    for tile in (16, 64, None):
        assert king_robust(calls, minimum=-9.0, tile=tile).equals(products)
        assert king_robust(calls, minimum=0.05, tile=tile).equals(close)


@pytest.mark.parametrize("n_variants", [1, 64, 130])
def test_bits_are_the_calls(n_variants: int) -> None:
    calls = random_calls(n_variants, 7, seed=3, missing=0.3)
    planes = bit_planes(calls)
    assert planes.shape == (3, 7, -(-n_variants // 64))
    for plane, copies in zip(planes, (1, 0, 2), strict=True):
        for s in range(7):
            bits = [int(plane[s, v // 64]) >> (v % 64) & 1 for v in range(64 * planes.shape[2])]
            assert bits[:n_variants] == (calls[:, s] == copies).astype(int).tolist()
            assert not any(bits[n_variants:])


def test_named_pairs_say_their_degree_closest_first() -> None:
    named = named_pairs(FAMILY, pl.Series([f"s{i}" for i in range(9)]))
    assert named.select("sample_id_a", "sample_id_b", "degree").rows() == [
        ("s5", "s6", "duplicate"), ("s0", "s4", "first"), ("s4", "s2", "first"), ("s6", "s7", "first"),
        ("s1", "s3", "second"),
    ]  # fmt: skip
    degrees = pl.DataFrame({"k": [0.354, 0.177, 0.0884, 0.0442, 0.04, -1.0]}).select(degree_words(pl.col("k")))
    assert degrees.to_series().to_list() == ["first", "second", "third", *["unrelated"] * 3]


def test_the_table_of_relatives_names_groups_and_an_unrelated_set() -> None:
    table = relatives_table(pl.Series([f"s{i}" for i in range(9)]), FAMILY)
    assert table["group"].to_list() == kin_groups(9, FAMILY).tolist()
    assert table["group_size"].to_list() == [3, 1, 3, 1, 3, 3, 3, 3, 1]
    assert table["unrelated"].to_list() == unrelated(9, FAMILY).tolist()
