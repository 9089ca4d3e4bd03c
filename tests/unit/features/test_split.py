"""Splits: whole kin groups, balanced classes, every row held out once, and the kinship that crosses."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.errors import ConfigError, LabelError
from genomix.features.split import assign_parts, assign_roles, crossing_kinship, merge_groups, strata_of_labels


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1)), min_size=60, max_size=300),
    st.integers(0, 2**31 - 1),
)
def test_units_are_never_divided(rows: list[tuple[int, int]], seed: int) -> None:
    units, strata = np.array(rows).T
    if len(set(units.tolist())) < 3:
        return
    parts = assign_parts(units, strata, shares=(0.5, 0.2, 0.3), seed=seed)
    assert all(len(set(parts[units == u].tolist())) == 1 for u in units)
    assert set(parts.tolist()) <= {0, 1, 2}


def test_classes_and_sizes_are_balanced_with_single_units() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(3000) < 0.2).astype(np.int64)
    parts = assign_parts(np.arange(3000), labels, shares=(0.5, 0.15, 0.35), seed=4)
    for part, share in enumerate((0.5, 0.15, 0.35)):
        assert abs((parts == part).mean() - share) < 0.005
        assert abs(labels[parts == part].mean() - labels.mean()) < 0.005


def test_balance_holds_with_large_units() -> None:
    rng = np.random.default_rng(1)
    units = np.repeat(np.arange(400), rng.integers(1, 15, 400))
    labels = (rng.random(len(units)) < 0.3).astype(np.int64)
    parts = assign_parts(units, labels, shares=(0.2,) * 5, seed=0)
    shares = np.bincount(parts, minlength=5) / len(parts)
    assert np.abs(shares - 0.2).max() < 0.01


def test_same_seed_same_parts_and_another_seed_others() -> None:
    units, strata = np.arange(200), np.zeros(200, dtype=np.int64)
    first = assign_parts(units, strata, shares=(0.5, 0.5), seed=1)
    assert (first == assign_parts(units, strata, shares=(0.5, 0.5), seed=1)).all()
    assert (first != assign_parts(units, strata, shares=(0.5, 0.5), seed=2)).any()


def test_too_few_groups_and_wrong_shares_are_refused() -> None:
    with pytest.raises(LabelError, match="2 groups of relatives cannot fill 3 parts"):
        assign_parts(np.array([0, 0, 1]), np.zeros(3, dtype=np.int64), shares=(0.4, 0.3, 0.3), seed=0)
    with pytest.raises(ConfigError, match="sum to 1"):
        assign_parts(np.arange(9), np.zeros(9, dtype=np.int64), shares=(0.4, 0.3), seed=0)


def test_each_row_is_held_out_once_and_tuned_once_in_cross_validation() -> None:
    roles = assign_roles(np.arange(20) % 5, design="cross_validation", n_folds=5)
    table = np.array([roles[f"fold_{k}"] for k in range(5)])
    assert ((table == "held_out").sum(axis=0) == 1).all()
    assert ((table == "tuning").sum(axis=0) == 1).all()


def test_strata_of_a_quantity_are_its_quantile_bins() -> None:
    strata = strata_of_labels(np.arange(100, dtype=np.float64), binary=False)
    assert np.bincount(strata).tolist() == [20] * 5


def test_units_join_relatives_and_repeated_rows_transitively() -> None:
    subjects = np.array([1, 1, 2, 3, 4])
    groups = np.array([0, 0, 0, 7, -1])
    assert merge_groups(subjects, groups).tolist() == [0, 0, 0, 1, 2]


def test_subjects_without_genotypes_are_not_one_group() -> None:
    assert merge_groups(np.array([1, 2, 3]), np.array([-1, -1, -1])).tolist() == [0, 1, 2]


def test_crossing_kinship_equals_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(3)
    pairs = {tuple(sorted(p)) for p in rng.integers(0, 60, (300, 2)).tolist() if p[0] != p[1]}
    ordered = sorted(pairs)
    kinship = rng.uniform(0.05, 0.5, len(ordered))
    frame = pl.DataFrame({"sample_a": [a for a, _ in ordered], "sample_b": [b for _, b in ordered], "kinship": kinship})
    sample_of_row = np.append(rng.permutation(60), -1)
    train, held_out = np.arange(0, 40), np.arange(40, 61)
    left = set(sample_of_row[train].tolist())
    right = set(sample_of_row[held_out].tolist()) - {-1}
    crossing = [
        k for (a, b), k in zip(ordered, kinship, strict=True) if (a in left) != (b in left) and {a, b} <= left | right
    ]
    found = crossing_kinship(frame, sample_of_row, train, held_out)
    assert found.maximum == max(crossing)
    assert found.counts["first"] == sum(k > 0.177 for k in crossing)
    assert found.counts["third"] == len(crossing)


def test_no_relatives_means_no_maximum() -> None:
    empty = pl.DataFrame(schema={"sample_a": pl.Int64, "sample_b": pl.Int64, "kinship": pl.Float64})
    assert crossing_kinship(empty, np.arange(4), np.array([0, 1]), np.array([2, 3])).maximum is None
