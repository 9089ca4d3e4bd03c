"""Rows of a feature set, some at a time, dense in the columns' own meaning; what is read is bounded by what is asked.

An entry that ``sparse.npz`` does not hold means what ``absent`` of ``columns.parquet`` says: 0 for counts and presence,
missing (NaN) for values, times and everything else that is not known when nothing was recorded. A recorded 0 is held:
it differs from a value that is not there. XGBoost takes an entry that is not there for missing, and missing is not 0 to
a tree; a matrix is therefore made dense, a block at a time, before XGBoost sees it.
"""

from __future__ import annotations

import ast
import struct
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.features.matrix import FeatureBlock, Float32Array, RowArray
from genomix.schemas.features import COLUMNS

VALUES_PER_BLOCK = 16_000_000
"""Values made dense at once (64 MB as float32)."""


class _Member(NamedTuple):
    """An array inside an uncompressed archive: where its values begin, their type, how many."""

    begin: int
    dtype: np.dtype[Any]
    size: int


class SparseFile:
    """``sparse.npz`` read by row ranges, without holding the rest."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        """Look at the archive's headers.

        Raises
        ------
        FormatError: a damaged archive, or another shape.
        """
        self.path, self.shape = path, shape
        try:
            self._members = _members(path)
        except (OSError, ValueError, KeyError, SyntaxError, struct.error, zipfile.BadZipFile) as error:
            raise _damaged(path) from error
        self._whole = None if self._members is not None else _load(path)
        if self._whole is None:
            found = tuple(int(v) for v in self._read("shape", 0, 2))
            entries = (self._members or {})["indptr"].size - 1
            self._check(found if entries == found[0] else (entries, found[1]))
        else:
            self._check(self._whole.shape)

    def _check(self, found: tuple[int, ...]) -> None:
        if found != self.shape:
            raise FormatError(f"sparse.npz is {found}, not {self.shape}", where=str(self.path))

    def rows(self, begin: int, end: int) -> Any:
        """Return rows ``begin`` to ``end`` as ``scipy.sparse.csr_array``."""
        import scipy.sparse

        if self._whole is not None:
            return self._whole[begin:end]
        indptr = self._read("indptr", begin, end - begin + 1)
        first, n = int(indptr[0]), int(indptr[-1] - indptr[0])
        arrays = (self._read("data", first, n), self._read("indices", first, n), indptr - first)
        return scipy.sparse.csr_array(arrays, shape=(end - begin, self.shape[1]))

    def _read(self, name: str, begin: int, n: int) -> npt.NDArray[Any]:
        assert self._members is not None
        member = self._members[name]
        at = member.begin + begin * member.dtype.itemsize
        found = np.fromfile(self.path, dtype=member.dtype, count=n, offset=at) if n else np.empty(0, member.dtype)
        if begin + n > member.size or found.size < n:
            raise _damaged(self.path)
        return found


def _members(path: Path) -> dict[str, _Member] | None:
    """Return the arrays of an archive that is not compressed, else None."""
    found: dict[str, _Member] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                return None
            file.seek(info.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            begin = info.header_offset + 30 + name + extra
            file.seek(begin)
            version = file.read(8)[6]
            width = 2 if version == 1 else 4
            length = int.from_bytes(file.read(width), "little")
            words = ast.literal_eval(file.read(length).decode("latin1"))
            size = int(np.prod(words["shape"], dtype=np.int64)) if words["shape"] else 1
            found[info.filename.removesuffix(".npy")] = _Member(
                begin + 8 + width + length, np.dtype(words["descr"]), size
            )
    _ = found["indptr"], found["indices"], found["data"], found["shape"]
    return found


def _load(path: Path) -> Any:
    import scipy.sparse

    try:
        return scipy.sparse.csr_array(scipy.sparse.load_npz(path))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> FormatError:
    return FormatError("sparse.npz is damaged", where=str(path), hint="make the feature set again")


class SetRows:
    """Some rows and columns of a feature set; ``columns`` is their dictionary (SET_COLUMNS), ``rows`` their numbers."""

    def __init__(
        self, folder: Path, n_rows: int, columns: pl.DataFrame, *, names: Sequence[str] | None = None,
        rows: RowArray | None = None,
    ) -> None:  # fmt: skip
        """``n_rows``, ``columns``: of the whole set. ``names``: columns in this order, all by default."""
        position = {name: i for i, name in enumerate(columns["name"].to_list())}
        unknown = [n for n in names or () if n not in position]
        if unknown:
            raise FormatError(f"no column {unknown[0]!r}", where=str(folder / "columns.parquet"))
        self.columns = columns if names is None else columns[[position[n] for n in names]]
        self.rows = np.arange(n_rows) if rows is None else rows
        self._folder = folder
        held = columns.filter(pl.col("storage") == "sparse")["name"].to_list()
        place = {name: i for i, name in enumerate(held)}
        dense = self.columns["storage"].to_numpy() == "dense"
        self._dense = np.flatnonzero(dense)
        self._sparse = np.flatnonzero(~dense)
        own = self.columns["name"].to_list()
        # Where a column of the file goes; -1 where it was not asked for.
        self._goes_to = np.full(len(held), -1, dtype=np.int64)
        self._goes_to[[place[own[i]] for i in self._sparse.tolist()]] = self._sparse
        self._absent = self.columns["absent"].fill_null(float("nan")).to_numpy().astype(np.float32)
        self._file = SparseFile(folder / "sparse.npz", (n_rows, len(held))) if self._sparse.size else None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows × columns."""
        return len(self.rows), self.columns.height

    def read(self, begin: int, end: int) -> Float32Array:
        """Return own rows ``begin`` to ``end``, dense float32, absent entries filled in."""
        rows = self.rows[begin:end]
        values = np.full((len(rows), self.columns.height), np.nan, dtype=np.float32)
        if not len(rows):
            return values
        low, high = int(rows.min()), int(rows.max()) + 1
        if self._dense.size:
            names = self.columns["name"].gather(self._dense).to_list()
            table = pl.scan_parquet(self._folder / "dense.parquet").select(names).slice(low, high - low).collect()
            values[:, self._dense] = table[rows - low].to_numpy()
        if self._file is not None:
            part = self._file.rows(low, high)[rows - low]
            values[:, self._sparse] = self._absent[self._sparse]
            at = np.repeat(np.arange(len(rows)), np.diff(part.indptr))
            column = self._goes_to[part.indices]
            kept = column >= 0
            values[at[kept], column[kept]] = part.data[kept]
        return values

    def blocks(self, n_values: int = VALUES_PER_BLOCK) -> Iterator[Float32Array]:
        """Yield all rows in order, about ``n_values`` values at a time."""
        step = max(1, n_values // max(1, self.columns.height))
        for begin in range(0, len(self.rows), step):
            yield self.read(begin, begin + step)

    def only(self, at: RowArray) -> SetRows:
        """Return these columns of the same rows."""
        every = self.columns
        names = every["name"].gather(at).to_list()
        part = object.__new__(SetRows)
        part.__dict__.update(self.__dict__)
        part.columns = every[at.tolist()]
        assert part.columns["name"].to_list() == names
        part._dense = np.flatnonzero(part.columns["storage"].to_numpy() == "dense")
        part._sparse = np.flatnonzero(part.columns["storage"].to_numpy() != "dense")
        part._absent = self._absent[at]
        moved = np.full(every.height + 1, -1, dtype=np.int64)  # the last place is that of a column not asked for
        moved[at] = np.arange(len(at))
        part._goes_to = moved[self._goes_to]
        return part

    def whole(self) -> Float32Array:
        """Return everything at once."""
        found = np.empty(self.shape, dtype=np.float32)
        begin = 0
        for block in self.blocks():
            found[begin : begin + len(block)] = block
            begin += len(block)
        return found

    def column_blocks(self, n_values: int = VALUES_PER_BLOCK) -> Iterator[FeatureBlock]:
        """Yield all rows of some columns after the other, about ``n_values`` values at a time."""
        step = max(1, n_values // max(1, len(self.rows)))
        for begin in range(0, self.columns.height, step):
            part = self.only(np.arange(begin, min(begin + step, self.columns.height)))
            yield FeatureBlock(part.whole(), COLUMNS.validate(part.columns.select(COLUMNS.names)))
