"""FeatureMatrix: rows, columns, values and folds, in memory and on disk.

Values that need no learning are held once (``dense``). What learns from rows (a vocabulary, an imputer, principal
components) gives other values in every fold; those are held per fold, beside what was learned and from which rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.provenance import read_json, write_json
from genomix.schemas.features import COLUMNS, INDEX

Float32Array = npt.NDArray[np.float32]
RowArray = npt.NDArray[np.int64]


class FeatureBlock(NamedTuple):
    """Values of one family: float32 (rows, columns), NaN where missing, and the columns' dictionary."""

    values: Float32Array
    columns: pl.DataFrame

    def select(self, names: list[str]) -> FeatureBlock:
        """Return the block with these columns, in this order."""
        position = {name: i for i, name in enumerate(self.columns["name"].to_list())}
        chosen = [position[name] for name in names]
        return FeatureBlock(self.values[:, chosen], self.columns[chosen])


def empty_block(n_rows: int) -> FeatureBlock:
    """Return a block without columns."""
    return FeatureBlock(np.empty((n_rows, 0), dtype=np.float32), COLUMNS.empty())


def join_blocks(blocks: list[FeatureBlock], n_rows: int) -> FeatureBlock:
    """Put blocks of the same rows side by side; names must be unique."""
    kept = [b for b in blocks if b.values.shape[1]] or [empty_block(n_rows)]
    columns = COLUMNS.validate(pl.concat([b.columns.select(COLUMNS.names) for b in kept]))
    return FeatureBlock(np.ascontiguousarray(np.hstack([b.values for b in kept])), columns)


@dataclass(frozen=True)
class FoldFeatures:
    """One fold: the values of its fitted families, what each learned, and from which rows."""

    block: FeatureBlock
    learned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learned_from: Mapping[str, RowArray] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureMatrix:
    """Rows × columns with folds; see the module's docstring.

    ``index`` has one String column ``fold_K`` per fold with the row's role in it: train, tuning, held_out, unused.
    """

    index: pl.DataFrame
    block: FeatureBlock
    folds: tuple[FoldFeatures, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.index.height

    @property
    def labels(self) -> npt.NDArray[np.float64]:
        """Labels in row order."""
        return self.index["label"].to_numpy()

    @property
    def kin_groups(self) -> RowArray:
        """Kin group of each row."""
        return self.index["kin_group"].to_numpy()

    def rows(self, fold: int, *roles: str) -> RowArray:
        """Return the row numbers that have one of ``roles`` in ``fold``."""
        return np.flatnonzero(self.index[f"fold_{fold}"].is_in(roles).to_numpy()).astype(np.int64)

    def for_fold(self, fold: int) -> FeatureBlock:
        """Return all columns as this fold sees them: row-local ones, then the fitted ones."""
        return join_blocks([self.block, self.folds[fold].block], self.n_rows)


def write_matrix(matrix: FeatureMatrix, folder: Path) -> None:
    """Write index, dense values, columns and folds into an (existing, temporary) folder."""
    INDEX.validate(matrix.index).write_parquet(folder / "index.parquet")
    _write_block(matrix.block, folder)
    for number, fold in enumerate(matrix.folds):
        place = folder / f"fold_{number}"
        place.mkdir()
        _write_block(fold.block, place)
        write_json(place / "learned.json", {k: dict(v) for k, v in fold.learned.items()})
        write_json(place / "learned_from.json", {k: v.tolist() for k, v in fold.learned_from.items()})


def read_matrix(folder: Path) -> FeatureMatrix:
    """Read what :func:`write_matrix` wrote."""
    index = INDEX.validate(pl.read_parquet(folder / "index.parquet"), where=str(folder / "index.parquet"))
    places = sorted(folder.glob("fold_*"), key=lambda p: int(p.name.removeprefix("fold_")))
    folds = tuple(
        FoldFeatures(
            _read_block(place),
            read_json(place / "learned.json"),
            {k: np.asarray(v, dtype=np.int64) for k, v in read_json(place / "learned_from.json").items()},
        )
        for place in places
    )
    return FeatureMatrix(index, _read_block(folder), folds)


def _write_block(block: FeatureBlock, folder: Path) -> None:
    columns = COLUMNS.validate(block.columns)
    frame = pl.DataFrame(
        {name: pl.Series(name, block.values[:, i]) for i, name in enumerate(columns["name"].to_list())},
    )
    if frame.width == 0:
        frame = pl.DataFrame({"_row": pl.Series(np.arange(block.values.shape[0], dtype=np.int64))})
    frame.write_parquet(folder / "dense.parquet")
    columns.write_parquet(folder / "columns.parquet")


def _read_block(folder: Path) -> FeatureBlock:
    columns = COLUMNS.validate(pl.read_parquet(folder / "columns.parquet"), where=str(folder / "columns.parquet"))
    frame = pl.read_parquet(folder / "dense.parquet")
    if not columns.height:
        return empty_block(frame.height)
    if frame.columns != columns["name"].to_list():
        raise FormatError("dense.parquet and columns.parquet name different columns", where=str(folder))
    return FeatureBlock(np.ascontiguousarray(frame.to_numpy().astype(np.float32, copy=False)), columns)
