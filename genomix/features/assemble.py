"""Run feature families into a FeatureMatrix: compute once, fit on the training rows of each fold, apply to all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.features.family import FeatureFamily, FeatureInputs, Learned, Options, fitting_inputs
from genomix.features.matrix import FeatureBlock, FeatureMatrix, FoldFeatures, RowArray, empty_block, join_blocks
from genomix.registry import members

FAMILIES = "genomix.features.families"


def load_families(names: list[str]) -> dict[str, FeatureFamily]:
    """Return the named families, in the order given; an unknown name is a :class:`ConfigError`."""
    known: dict[str, FeatureFamily] = members(FAMILIES, "FAMILY")
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown feature family {name!r}", hint="one of: " + ", ".join(sorted(known)))
    return {name: known[name] for name in names}


def check_needs(family: FeatureFamily, inputs: FeatureInputs) -> None:
    """Raise when a family needs an input that the study does not have."""
    have = {
        "records": inputs.events is not None,
        "genotypes": inputs.genotypes is not None,
        "table": inputs.table is not None,
    }
    for need in sorted(family.needs):
        if not have[need]:
            raise ConfigError(f"feature family {family.name!r} needs {need}, which the study does not give")


def assemble(
    families: Mapping[str, FeatureFamily],
    options: Mapping[str, Options],
    inputs: FeatureInputs,
    index: pl.DataFrame,
    *,
    progress: Callable[[float, str], None] | None = None,
) -> FeatureMatrix:
    """Build the matrix; a family that learns is fitted on the rows whose role is ``train`` in each fold.

    Parameters
    ----------
    families: by name, in column order. options: by name. inputs: what families may read (its index has no label).
    index: schema INDEX with one ``fold_K`` column per fold.

    Raises
    ------
    ConfigError: when a family needs what is not there, or a fold has no training rows.
    """
    n_folds = sum(name.startswith("fold_") for name in index.columns)
    trains = [_rows(index, k, "train") for k in range(n_folds)]
    if not n_folds or any(len(rows) == 0 for rows in trains):
        raise ConfigError("every fold needs training rows before features can be fitted")
    local: list[FeatureBlock] = []
    fitted: list[list[tuple[str, FeatureBlock, Learned, RowArray]]] = [[] for _ in trains]
    for number, (name, family) in enumerate(families.items()):
        if progress is not None:
            progress(number / len(families), name)
        check_needs(family, inputs)
        chosen = options.get(name, {})
        block = family.compute(inputs, chosen)
        _check_rows(name, block, inputs.n_rows)
        if not family.learns:
            local.append(block)
            continue
        for k, rows in enumerate(trains):
            learned = family.fit(block, fitting_inputs(inputs, index["label"], rows), chosen, rows)
            values = family.apply(block, inputs, chosen, learned)
            _check_rows(name, values, inputs.n_rows)
            fitted[k].append((name, values, learned, rows))
    folds = tuple(_fold(parts, inputs.n_rows) for parts in fitted)
    return FeatureMatrix(index, join_blocks(local, inputs.n_rows), folds)


def _rows(index: pl.DataFrame, fold: int, role: str) -> RowArray:
    return np.flatnonzero((index[f"fold_{fold}"] == role).to_numpy()).astype(np.int64)


def _check_rows(name: str, block: FeatureBlock, n_rows: int) -> None:
    if block.values.shape != (n_rows, block.columns.height):
        raise AssertionError(f"family {name} returned {block.values.shape} values for {n_rows} rows")


def _fold(parts: list[tuple[str, FeatureBlock, Learned, RowArray]], n_rows: int) -> FoldFeatures:
    if not parts:
        return FoldFeatures(empty_block(n_rows))
    return FoldFeatures(
        join_blocks([values for _, values, _, _ in parts], n_rows),
        {name: learned for name, _, learned, _ in parts},
        {name: rows for name, _, _, rows in parts},
    )


def missing_share(block: FeatureBlock, rows: RowArray) -> pl.DataFrame:
    """Return the block's columns with ``missing_share``: the share of ``rows`` without a value."""
    share: np.ndarray[Any, np.dtype[np.float64]] = np.isnan(block.values[rows]).mean(axis=0, dtype=np.float64)
    return block.columns.with_columns(pl.Series("missing_share", share, dtype=pl.Float64))
