"""Shards of a converted MEDS dataset for feature making: few columns, codes as numbers, one file at a time.

Only a dataset whose files state ``available_time`` can be read so: when a record was known follows from rules that look
at the whole source (:mod:`genomix.io.availability`), which ``genomix ehr convert`` has applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.errors import FormatError
from genomix.io.meds import _data_files, _not_parquet, _schema
from genomix.schemas.events import TIME

COLUMNS = ("subject_id", "time", "available_time", "code", "numeric_value", "unit")
TYPES: dict[str, Any] = {
    "subject_id": pl.Int64, "time": TIME, "available_time": TIME, "numeric_value": pl.Float32,
}  # fmt: skip


class Shard(NamedTuple):
    """Events of one file.

    ``events``: subject_id, time, available_time, code (UInt32, place in ``codes``), numeric_value, unit (UInt32, place
    in ``units``, null for none). ``codes`` and ``units`` are sorted.
    """

    file: str
    events: pl.DataFrame
    codes: tuple[str, ...]
    units: tuple[str, ...]


def converted_files(path: Path) -> list[Path] | None:
    """Return the files of a dataset that states availability throughout, None where it does not."""
    files = _data_files(path)
    has_all = all(set(COLUMNS) <= set(_schema(file)) for file in files)
    return files if has_all else None


def read_shards(files: list[Path]) -> Iterator[Shard]:
    """Yield one shard for each file.

    Raises
    ------
    FormatError: a broken file, or a column of another type than ``genomix ehr convert`` writes.
    """
    for file in files:
        yield _read_shard(file)


def _read_shard(file: Path) -> Shard:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, columns=list(COLUMNS), read_dictionary=["code", "unit"], partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise _not_parquet(file) from error
    columns, dictionaries = {}, {}
    for name in ("code", "unit"):
        number, words = _numbered(table[name])
        columns[name], dictionaries[name] = number, words
    frame = pl.from_arrow(table.select([n for n in COLUMNS if n in TYPES]))
    assert isinstance(frame, pl.DataFrame)
    for name, dtype in TYPES.items():
        if frame.schema[name] != dtype:
            raise FormatError(
                f"{name} is {frame.schema[name]}, not {dtype}", where=str(file), hint="genomix ehr convert it again"
            )
    if columns["code"].null_count() or frame["subject_id"].null_count():
        raise FormatError("a code or a subject is empty", where=str(file), hint="genomix ehr convert it again")
    events = frame.with_columns(columns["code"].alias("code"), columns["unit"].alias("unit")).select(COLUMNS)
    return Shard(file.name, events, dictionaries["code"], dictionaries["unit"])


def _numbered(column: Any) -> tuple[pl.Series, tuple[str, ...]]:
    """Return each value's place among the sorted distinct values, and these."""
    import numpy as np
    import pyarrow as pa

    if column.num_chunks == 0:
        return pl.Series([], dtype=pl.UInt32), ()
    whole = column.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    words = whole.dictionary.to_pylist()
    order = sorted(set(words))
    place = {word: i for i, word in enumerate(order)}
    target = np.array([place[word] for word in words], dtype=np.uint32)
    indices = pl.from_arrow(whole.indices)
    assert isinstance(indices, pl.Series)
    if not len(target):
        return pl.Series([None] * len(indices), dtype=pl.UInt32), ()
    moved = pl.Series(target)[indices.fill_null(0)]
    none = indices.is_null()
    return (moved.set(none, None) if none.any() else moved), tuple(order)
