"""Converted MEDS datasets for feature making: few columns, codes as numbers, some people at a time.

Only a dataset whose files state ``available_time`` can be read so: when a record was known follows from rules that look
at the whole source (:mod:`genomix.io.availability`), which ``genomix ehr convert`` has applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.errors import FormatError
from genomix.io.meds import column_names, data_files, not_parquet
from genomix.schemas.events import TIME

COLUMNS = ("subject_id", "time", "available_time", "code", "numeric_value", "unit")
TYPES: dict[str, Any] = {
    "subject_id": pl.Int64, "time": TIME, "available_time": TIME, "numeric_value": pl.Float32,
}  # fmt: skip


ROWS_PER_PART = 1 << 19
"""Rows read at a time; a person's rows stay together, whatever that takes."""


class Part(NamedTuple):
    """All events of some people.

    ``events``: subject_id, time, available_time, code (UInt32, place in ``codes``), numeric_value, unit (UInt32, place
    in ``units``, null for none). ``codes`` and ``units`` are sorted.
    """

    file: str
    events: pl.DataFrame
    codes: tuple[str, ...]
    units: tuple[str, ...]


def converted_files(path: Path) -> list[Path] | None:
    """Return the files of a dataset that states availability throughout, None where it does not."""
    files = data_files(path)
    return files if all(set(COLUMNS) <= set(column_names(file)) for file in files) else None


def count_events(files: list[Path]) -> int:
    """Return how many rows files hold, by their footers."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in files)


def read_parts(file: Path, *, rows_per_part: int = ROWS_PER_PART) -> Iterator[Part]:
    """Yield a file's events, a person's rows in one part. A file that is not in order of person is one part.

    Raises
    ------
    FormatError: a broken file, an empty code or subject, or a column of another type than ``genomix ehr convert``
        writes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept: Any = None
    try:
        with pq.ParquetFile(file, read_dictionary=["code", "unit"]) as opened:
            for batch in opened.iter_batches(batch_size=rows_per_part, columns=list(COLUMNS)):
                table = pa.Table.from_batches([batch])
                table = table if kept is None else pa.concat_tables([kept, table])
                cut = _whole_people(table, file)
                if cut:
                    yield _part(table.slice(0, cut), file)
                kept = table.slice(cut)
    except (pa.ArrowInvalid, OSError) as error:
        raise not_parquet(file) from error
    if kept is not None and kept.num_rows:
        yield _part(kept, file)


def _whole_people(table: Any, file: Path) -> int:
    """Return how many of the first rows hold people who cannot have another row; 0 where rows are not in order."""
    subjects = pl.from_arrow(table["subject_id"])
    assert isinstance(subjects, pl.Series)
    if subjects.null_count():
        raise _again("a subject is empty", file)
    if not subjects.is_sorted():
        return 0
    return int(subjects.search_sorted(subjects[-1], side="left"))


def _again(what: str, file: Path) -> FormatError:
    return FormatError(what, where=str(file), hint="genomix ehr convert it again")


def _part(table: Any, file: Path) -> Part:
    columns, dictionaries = {}, {}
    for name in ("code", "unit"):
        columns[name], dictionaries[name] = _numbered(table[name])
    frame = pl.from_arrow(table.select([n for n in COLUMNS if n in TYPES]))
    assert isinstance(frame, pl.DataFrame)
    for name, dtype in TYPES.items():
        if frame.schema[name] != dtype:
            raise _again(f"{name} is {frame.schema[name]}, not {dtype}", file)
    if columns["code"].null_count():
        raise _again("a code is empty", file)
    events = frame.with_columns(columns["code"].alias("code"), columns["unit"].alias("unit")).select(COLUMNS)
    return Part(file.name, events, dictionaries["code"], dictionaries["unit"])


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


def whole_part(events: pl.DataFrame) -> Part:
    """Return events in memory (schema EVENTS) as one part."""
    numbered, words = {}, {}
    for name in ("code", "unit"):
        words[name] = tuple(events[name].drop_nulls().unique().sort().to_list())
        place = dict(zip(words[name], range(len(words[name])), strict=True))
        numbered[name] = events[name].replace_strict(place, default=None, return_dtype=pl.UInt32)
    return Part("events", events.with_columns(**numbered).select(COLUMNS), words["code"], words["unit"])
