"""Assign rows to parts before anything is fitted: whole kin groups, balanced by stratum, by a stated seed.

A *unit* is what is never divided: all rows of all members of one kin group. Parts are filled greedily, the largest
unit first (equal sizes in random order), each unit going to the part that is furthest below its share of the unit's
strata. That keeps class balance with groups of any size and needs no retries.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.features.matrix import RowArray
from genomix.variants import relatives

Design = Literal["holdout", "cross_validation"]


def assign_parts(units: RowArray, strata: RowArray, *, shares: tuple[float, ...], seed: int) -> npt.NDArray[np.int64]:
    """Return for each row its part (0-based); rows of one unit share a part.

    Parameters
    ----------
    units: (rows,) unit of each row. strata: (rows,) stratum of each row, e.g. the label; balanced across parts.
    shares: share of the rows per part, summing to 1. seed: makes the order of equal units.

    Raises
    ------
    ConfigError: when the shares do not sum to 1 or one is not positive.
    LabelError: when there are fewer units than parts.
    """
    if abs(sum(shares) - 1) > 1e-9 or min(shares) <= 0:
        raise ConfigError(f"shares of the parts are {shares}; they must be positive and sum to 1")
    unit_index, n_units = _dense(units)
    if n_units < len(shares):
        raise LabelError(f"{n_units} groups of relatives cannot fill {len(shares)} parts", hint="use fewer folds")
    stratum_index, n_strata = _dense(strata)
    contents = np.zeros((n_units, n_strata))
    np.add.at(contents, (unit_index, stratum_index), 1.0)
    part_of_unit = _fill_parts(contents, np.asarray(shares), seed)
    return part_of_unit[unit_index]


def _fill_parts(contents: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(contents))
    order = order[np.argsort(-contents[order].sum(axis=1), kind="stable")]
    totals = np.maximum(contents.sum(axis=0), 1.0)
    wanted = np.outer(shares, totals)
    filled = np.zeros_like(wanted)
    parts = np.zeros(len(contents), dtype=np.int64)
    for unit in order:
        need = ((wanted - filled) / totals / shares[:, None]) @ (contents[unit] / totals)
        parts[unit] = int(np.argmax(need))
        filled[parts[unit]] += contents[unit]
    return parts


def _dense(values: RowArray) -> tuple[npt.NDArray[np.int64], int]:
    unique, index = np.unique(values, return_inverse=True)
    return index.astype(np.int64), len(unique)


def assign_roles(parts: npt.NDArray[np.int64], *, design: Design, n_folds: int) -> dict[str, list[str]]:
    """Return one column of roles per fold: ``fold_0``, ``fold_1``, ...

    ``holdout``: parts 0, 1, 2 are training, tuning and held out. ``cross_validation``: in fold k part k is held out,
    part k + 1 is for tuning, the rest for training, so that every row is held out exactly once.

    >>> assign_roles(np.array([0, 1, 2]), design="cross_validation", n_folds=3)["fold_0"]
    ['held_out', 'tuning', 'train']
    """
    if design == "holdout":
        return {"fold_0": [("train", "tuning", "held_out")[p] for p in parts]}
    roles = {}
    for fold in range(n_folds):
        names = {fold: "held_out", (fold + 1) % n_folds: "tuning"}
        roles[f"fold_{fold}"] = [names.get(int(p), "train") for p in parts]
    return roles


def strata_of_labels(labels: npt.NDArray[np.float64], *, binary: bool, n_bins: int = 5) -> RowArray:
    """Return the stratum of each row: the class, or the quantile bin of a quantity."""
    if binary:
        return labels.astype(np.int64)
    edges = np.quantile(labels, np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.searchsorted(edges, labels).astype(np.int64)


def merge_groups(subject_of_row: RowArray, group_of_row: RowArray) -> RowArray:
    """Return the unit of each row: rows that share a subject or a kin group (>= 0) share a unit, transitively.

    Rows with group -1 (no genotypes) are held together by subject only. Units are numbered by first appearance.

    >>> merge_groups(np.array([1, 1, 2, 3]), np.array([5, -1, 5, -1])).tolist()
    [0, 0, 0, 1]
    """
    parent = np.arange(len(subject_of_row))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for keys in (subject_of_row, group_of_row):
        first: dict[int, int] = {}
        for row, key in enumerate(keys.tolist()):
            if key < 0 and keys is group_of_row:
                continue
            a, b = root(first.setdefault(key, row)), root(row)
            parent[max(a, b)] = min(a, b)
    roots = np.array([root(i) for i in range(len(parent))], dtype=np.int64)
    return _dense(roots)[0]


def crossing_kinship(
    pairs: pl.DataFrame, sample_of_row: RowArray, train: RowArray, held_out: RowArray
) -> relatives.CrossingKinship:
    """Measure the kinship between training (or tuning) and held-out people.

    Parameters
    ----------
    pairs: schema KINSHIP, every pair from some low coefficient upwards (0.0442 finds third degree).
    sample_of_row: sample of each row, -1 for none. train, held_out: row numbers.
    """
    sides = [sample_of_row[rows][sample_of_row[rows] >= 0] for rows in (train, held_out)]
    return relatives.crossing_kinship(pairs, *sides)
