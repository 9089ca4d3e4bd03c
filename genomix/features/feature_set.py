"""A feature set: a folder of rows and columns, dense for the few and CSR for the many.

* ``index.parquet``: row, subject_id, prediction_time, label and whatever else the labels said (split, weight, ...);
* ``dense.parquet``: the columns whose ``storage`` is ``dense``;
* ``sparse.npz``: the others, as :func:`scipy.sparse.load_npz` reads it. An entry that is not there is the column's
  ``absent`` value: 0 for counts and presence, missing for values and times (null). A 0 that was recorded is held.
  XGBoost takes what is not there for missing, which is wrong for counts; scikit-learn takes it for 0, which is wrong
  for values and times. :meth:`FeatureSet.block` and :meth:`FeatureSet.rows` fill it in;
* ``columns.parquet``: one row per column, in order: the dictionary (schema COLUMNS) with storage and absent;
* ``certificate.parquet`` where leakage was checked, ``learned.json``: what was learned, from which rows, and counts;
* ``manifest.json``: how it was made, and the SHA-256 of every file.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, InputNotFoundError
from genomix.features.matrix import FeatureBlock, Float32Array, RowArray
from genomix.features.set_rows import SetRows, SparseFile
from genomix.provenance import read_json
from genomix.schemas.features import COLUMNS, SET_COLUMNS, SET_INDEX

PARTS = ("index.parquet", "dense.parquet", "sparse.npz", "columns.parquet", "learned.json")


@dataclass(frozen=True)
class FeatureSet:
    """An opened feature set."""

    folder: Path
    index: pl.DataFrame
    columns: pl.DataFrame

    @property
    def learned(self) -> Mapping[str, Any]:
        """What was learned, from which rows, with counts."""
        found: Mapping[str, Any] = read_json(self.folder / "learned.json")
        return found

    def sparse(self) -> Any:
        """Return the sparse columns as ``scipy.sparse.csr_array`` (rows × sparse columns), absent entries not held."""
        n_rows = self.index.height
        shape = (n_rows, self.columns.filter(pl.col("storage") == "sparse").height)
        return SparseFile(self.folder / "sparse.npz", shape).rows(0, n_rows)

    def block(self, names: Sequence[str] | None = None, rows: RowArray | None = None) -> FeatureBlock:
        """Return columns (all by default, in their order) as dense float32 with absent entries filled in.

        Raises
        ------
        FormatError: an unknown column, or a damaged file.
        """
        part = self.rows(names, rows)
        return FeatureBlock(part.whole(), COLUMNS.validate(part.columns.select(COLUMNS.names)))

    def rows(self, names: Sequence[str] | None = None, rows: RowArray | None = None) -> SetRows:
        """Return the same as :meth:`block`, to be read some rows or columns at a time."""
        return SetRows(self.folder, self.index.height, self.columns, names=names, rows=rows)


def open_feature_set(folder: Path) -> FeatureSet:
    """Open a feature set.

    Raises
    ------
    InputNotFoundError: no such folder, or a file of it is not there. FormatError: a damaged index or dictionary.
    """
    for name in PARTS:
        if not (folder / name).is_file():
            raise InputNotFoundError(
                f"{folder.name} is no feature set: there is no {name}", where=str(folder),
                hint="genomix ehr features makes one",
            )  # fmt: skip
    try:
        index, columns = (pl.read_parquet(folder / name) for name in ("index.parquet", "columns.parquet"))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError("a file of the feature set is damaged", where=str(folder)) from error
    return FeatureSet(
        folder,
        SET_INDEX.validate(index, where=str(folder / "index.parquet")),
        SET_COLUMNS.validate(columns, where=str(folder / "columns.parquet")),
    )


def write_dense(folder: Path, names: Sequence[str], values: Float32Array) -> None:
    """Write ``dense.parquet``; without a column it holds the row numbers alone."""
    frame = pl.DataFrame({name: pl.Series(values[:, i]) for i, name in enumerate(names)})
    if not names:
        frame = pl.DataFrame({"_row": pl.Series(np.arange(len(values), dtype=np.int64))})
    frame.write_parquet(folder / "dense.parquet", compression="zstd", statistics=False)


VALUES_PER_BLOCK = 4_000_000


class SparseWriter:
    """Writes ``sparse.npz`` of any size in bounded memory: parts of the rows come in any order.

    Parts wait in scratch files; :meth:`finish` puts them together, some rows at a time, straight into the archive.
    """

    def __init__(self, scratch: Path, n_rows: int, n_columns: int) -> None:
        self._scratch = scratch
        self._sizes = np.zeros(n_rows, dtype=np.int64)
        self._n_columns = n_columns
        self._parts: list[tuple[RowArray, npt.NDArray[np.int64]]] = []

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """How many values each row holds so far."""
        return self._sizes

    def add(
        self, rows: RowArray, sizes: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], data: Float32Array
    ) -> None:
        """Take all values of some rows (ascending), one row after the other."""
        for kind, values in (("indices", indices), ("data", data)):
            values.tofile(self._path(kind, len(self._parts)))
        self._sizes[rows] = sizes
        self._parts.append((rows, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)))

    def finish(self, target: Path) -> None:
        """Write the archive; its bytes depend on the matrix only."""
        indptr = np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)
        shape = (len(self._sizes), self._n_columns)
        narrow = int(indptr[-1]) < np.iinfo(np.int32).max
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            self._add(archive, "indices", np.dtype(np.int32), indptr)
            _add_array(archive, "indptr", indptr.astype(np.int32) if narrow else indptr)
            _add_array(archive, "format", np.array(b"csr"))
            _add_array(archive, "shape", np.array(shape, dtype=np.int64))
            self._add(archive, "data", np.dtype(np.float32), indptr)
        for number in range(len(self._parts)):
            for kind in ("indices", "data"):
                self._path(kind, number).unlink()

    def _path(self, kind: str, number: int) -> Path:
        return self._scratch / f"{kind}-{number}.raw"

    def _add(self, archive: zipfile.ZipFile, kind: str, dtype: np.dtype[Any], indptr: npt.NDArray[np.int64]) -> None:
        with archive.open(_member(kind), "w", force_zip64=True) as sink:
            sink.write(_header((int(indptr[-1]),), dtype))
            for block in self._blocks(kind, indptr):
                sink.write(block.tobytes())

    def _blocks(self, kind: str, indptr: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.uint32]]:
        """Yield the values of consecutive rows, about ``VALUES_PER_BLOCK`` at a time."""
        from genomix.features import record_kernels as kernels

        edges = [0]
        while edges[-1] < len(self._sizes):
            limit = indptr[edges[-1]] + VALUES_PER_BLOCK
            edges.append(max(int(np.searchsorted(indptr, limit, side="right")) - 1, edges[-1] + 1))
        for a, b in pairwise(edges):
            out = np.empty(int(indptr[b] - indptr[a]), dtype=np.uint32)
            for number, (rows, offsets) in enumerate(self._parts):
                first, last = np.searchsorted(rows, (a, b)).tolist()
                if first < last:
                    begin, n = int(offsets[first]), int(offsets[last] - offsets[first])
                    held = np.fromfile(self._path(kind, number), dtype=np.uint32, count=n, offset=4 * begin)
                    kernels.put_rows(rows[first:last], offsets[first : last + 1] - begin, held, indptr, a, out)
            yield out


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return the header of a version 1.0 .npy file (https://numpy.org/doc/stable/reference/generated/numpy.lib.format)."""
    words = f"{{'descr': {np.lib.format.dtype_to_descr(dtype)!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    room = -(10 + len(words) + 1) % 64
    text = words.encode("latin1") + b" " * room + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    member.external_attr = 0o600 << 16
    return member


def _add_array(archive: zipfile.ZipFile, name: str, values: npt.NDArray[Any]) -> None:
    archive.writestr(_member(name), _header(values.shape, values.dtype) + values.tobytes())
