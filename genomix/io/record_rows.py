"""Source rows of health records, mapped to raw events in bounded parts with every row accounted for.

A format says which columns become which event, and what makes a row unusable; :func:`map_rows` does the rest. No part
holds more rows than the reader was asked for, so memory does not grow with the source.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl

from genomix.errors import FormatError
from genomix.io.availability import AvailabilityRule
from genomix.schemas.events import TIME

ROWS_PER_PART = 250_000

RAW: dict[str, pl.DataType | type[pl.DataType]] = {
    "source_row": pl.Int64,
    "subject_id": pl.String,
    "time": TIME,
    "code": pl.String,
    "numeric_value": pl.Float32,
    "text_value": pl.String,
    "unit": pl.String,
    "time_precision": pl.String,
    "available_time": TIME,
}
"""Columns of raw events. ``source_row`` counts from 0 within the part; a null ``time`` is a static fact;
``time_precision`` is ``day`` where the source states a date only, else null; ``available_time`` is null unless the
source itself states when a record was known."""

DROPPED: dict[str, pl.DataType | type[pl.DataType]] = {
    "source_row": pl.Int64,
    "reason": pl.String,
    "field": pl.String,
    "value": pl.String,
}
"""Rows that gave no event: why, and the field and value that were wrong (never an identifier)."""


class RawRows(NamedTuple):
    """Consecutive rows of one source table; each is in ``events`` or in ``dropped``, never in both.

    Parameters
    ----------
    table: name of the source table or resource type, as rules of availability name it.
    file: path relative to the source.
    first_row: 1-based number of the first row in its file (a header line does not count).
    n_rows: rows of the source that this part covers.
    events: columns ``RAW``; dropped: columns ``DROPPED``.
    starts: where rows of several files begin in this part: (row of the part, file, its number in the file); then
        ``file`` and ``first_row`` are those of the first.
    """

    table: str
    file: str
    first_row: int
    n_rows: int
    events: pl.DataFrame
    dropped: pl.DataFrame
    starts: tuple[tuple[int, str, int], ...] = ()

    def place(self, row: int) -> tuple[str, int]:
        """Return the file of a row of this part, and the row's 1-based number in it."""
        if not self.starts:
            return self.file, self.first_row + row
        begin, file, number = self.starts[bisect_right(self.starts, row, key=lambda start: start[0]) - 1]
        return file, number + row - begin


class LeftOutFile(NamedTuple):
    """A file that was not read as events, and why."""

    file: str
    rows: int
    reason: str


class RecordScan(Protocol):
    """An opened source of health records, read once from beginning to end.

    ``rules`` are the format's own rules of availability; a study's rules come before them. ``left_out``, ``adjusted``
    (what was changed in rows that were kept, by reason) and :meth:`descriptions` are complete after the last part.
    """

    source_format: str
    rules: tuple[AvailabilityRule, ...]
    left_out: list[LeftOutFile]
    adjusted: dict[str, int]

    def parts(self) -> Iterator[RawRows]:
        """Yield every row of every table that is read."""
        ...

    def descriptions(self) -> pl.DataFrame:
        """Return code and description (String)."""
        ...


class RowCheck(NamedTuple):
    """What makes a row unusable: a reason, the expression that is True for it, and the field that is to blame."""

    reason: str
    broken: pl.Expr
    field: str


@dataclass(frozen=True)
class EventMap:
    """How a row becomes one event: an expression for each column of ``RAW`` that it fills.

    Parameters
    ----------
    code: String. time: Datetime; None for a static fact. when: rows that have this event.
    day: True where the time is a date only, or an expression that says so.
    """

    code: pl.Expr
    time: pl.Expr | None = None
    when: pl.Expr = field(default_factory=lambda: pl.lit(True))
    numeric_value: pl.Expr | None = None
    text_value: pl.Expr | None = None
    unit: pl.Expr | None = None
    day: pl.Expr | bool = False
    available_time: pl.Expr | None = None


NO_EVENT = "nothing in the row is an event"


def map_rows(
    frame: pl.DataFrame,
    *,
    table: str,
    file: str,
    first_row: int,
    subject: pl.Expr,
    events: Sequence[EventMap],
    checks: Sequence[RowCheck] = (),
) -> RawRows:
    """Turn consecutive source rows into raw events.

    A row is dropped under the first check that it breaks; a row without a subject, or one that no map turns into an
    event with a code, is dropped too.

    Parameters
    ----------
    frame: source rows in file order. subject: the person's identifier, cast to text here.
    """
    rows = frame.with_row_index("source_row").with_columns(
        pl.col("source_row").cast(pl.Int64), _text(subject).alias("_subject")
    )
    found = [RowCheck("subject is missing", pl.col("_subject").is_null(), "subject"), *checks]
    reason, blamed, value = (pl.lit(None, dtype=pl.String) for _ in range(3))
    for check in reversed(found):
        broken = check.broken.fill_null(False)
        reason = pl.when(broken).then(pl.lit(check.reason)).otherwise(reason)
        blamed = pl.when(broken).then(pl.lit(check.field)).otherwise(blamed)
        shown = pl.col(check.field).cast(pl.String) if check.field in frame.columns else pl.lit(None, dtype=pl.String)
        value = pl.when(broken).then(shown).otherwise(value)
    rows = rows.with_columns(reason.alias("_reason"), blamed.alias("_field"), value.alias("_value"))
    usable = rows.filter(pl.col("_reason").is_null())
    parts = [_events(usable, one) for one in events]
    made = pl.concat([pl.DataFrame(schema=RAW), *parts]).sort("source_row", maintain_order=True)
    silent = usable.select("source_row").join(made.select("source_row").unique(), on="source_row", how="anti")
    dropped = pl.concat(
        [
            rows.filter(pl.col("_reason").is_not_null()).select(
                "source_row", pl.col("_reason").alias("reason"), pl.col("_field").alias("field"),
                pl.col("_value").alias("value"),
            ),
            silent.select(
                "source_row", pl.lit(NO_EVENT).alias("reason"), pl.lit(None, dtype=pl.String).alias("field"),
                pl.lit(None, dtype=pl.String).alias("value"),
            ),
        ]
    ).sort("source_row")  # fmt: skip
    return RawRows(table, file, first_row, frame.height, made, dropped)


def _events(rows: pl.DataFrame, one: EventMap) -> pl.DataFrame:
    values: dict[str, pl.Expr | None] = {
        "time": one.time, "code": one.code, "numeric_value": one.numeric_value, "text_value": one.text_value,
        "unit": one.unit, "available_time": one.available_time,
    }  # fmt: skip
    day = one.day if isinstance(one.day, pl.Expr) else pl.lit(one.day)
    columns = [(pl.lit(None) if e is None else e).cast(RAW[n], strict=False).alias(n) for n, e in values.items()]
    marked = rows.with_columns(one.when.fill_null(False).alias("_wanted"))  # a column: a bare literal is no mask
    wanted = marked.filter(pl.col("_wanted")).select(
        "source_row",
        pl.col("_subject").alias("subject_id"),
        *columns,
        pl.when(day.fill_null(False)).then(pl.lit("day")).alias("time_precision"),
    )
    timed = pl.lit(True) if one.time is None else pl.col("time").is_not_null()
    return wanted.filter((pl.col("code").fill_null("") != "") & timed).select(list(RAW))


def _text(value: pl.Expr) -> pl.Expr:
    text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def text_or_null(column: str) -> pl.Expr:
    """Return a column's text without white space around it, null where nothing is left."""
    return _text(pl.col(column))


def number(column: str) -> pl.Expr:
    """Return a column's text as a finite Float64, null where it is none."""
    value = pl.col(column).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


_DATE = r"^\d{4}-\d{2}-\d{2}$"
_ZONED = r"(?:[Zz]|[+-]\d{2}:?\d{2})$"
_MOMENT = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}"


def is_date_text(column: str) -> pl.Expr:
    """Say whether a column's text is a date without a time (``2020-03-01``)."""
    return pl.col(column).str.strip_chars().str.contains(_DATE).fill_null(False)


def moment(column: str) -> pl.Expr:
    """Return ISO 8601 text as a time: a date is its midnight; a zone is turned into UTC; anything else is null.

    Years have four digits; impossible dates (30 February) are null, so that a :class:`RowCheck` can name them.
    """
    text = pl.col(column).str.strip_chars()
    plain = text.str.replace("T", " ", literal=True)
    local = pl.coalesce(
        plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False),
        plain.str.to_datetime("%Y-%m-%d %H:%M", time_unit="us", strict=False),
    )
    shifted = plain.str.replace(r"[Zz]$", "+00:00").str.replace(r"([+-]\d{2})(\d{2})$", "${1}:${2}")
    utc = pl.coalesce(
        shifted.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False),
        shifted.str.to_datetime("%Y-%m-%d %H:%M%:z", time_unit="us", time_zone="UTC", strict=False),
    ).dt.replace_time_zone(None)
    date = text.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False)
    return (
        pl.when(text.str.contains(_DATE)).then(date)
        .when(text.str.contains(_MOMENT) & text.str.contains(_ZONED)).then(utc)
        .when(text.str.contains(_MOMENT)).then(local)
        .otherwise(None)
    )  # fmt: skip


def unreadable(column: str) -> pl.Expr:
    """Say whether a column holds text that :func:`moment` cannot read."""
    return text_or_null(column).is_not_null() & moment(column).is_null()


class TablePart(NamedTuple):
    """Consecutive rows of a file, all columns as text with lower-case names, and rows that could not be split.

    ``frame`` holds whole rows only; ``malformed``: (1-based row number in the file, what is wrong).
    """

    frame: pl.DataFrame
    first_row: int
    malformed: list[tuple[int, str]]


def table_parts(path: Path, *, rows: int = ROWS_PER_PART, delimiter: str | None = None) -> Iterator[TablePart]:
    """Yield a CSV (also gzip; tab-separated where it is named .tsv) or Parquet file in parts of at most ``rows`` rows.

    Raises
    ------
    FormatError: for a file that is neither, is empty, is cut, or whose header repeats a name.
    """
    if path.suffix.lower() == ".parquet":
        yield from _parquet_parts(path, rows)
        return
    yield from _csv_parts(path, rows, delimiter)


def _parquet_parts(path: Path, rows: int) -> Iterator[TablePart]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = 1
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows):
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                yield TablePart(_as_text(frame), first, [])
                first += frame.height
            if first == 1:
                yield TablePart(
                    pl.DataFrame(schema=dict.fromkeys(_lower(file.schema_arrow.names, path), pl.String)), 1, []
                )
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(
            f"{path.name} is not a whole Parquet file", where=str(path), hint="export it again"
        ) from error


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Cast every column to text that :func:`moment` and :func:`number` read back."""
    found = []
    for name, kind in frame.schema.items():
        column = pl.col(name)
        if isinstance(kind, pl.Datetime):
            zoned = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else column
            column = zoned.dt.strftime("%Y-%m-%d %H:%M:%S%.f")
        found.append(column.cast(pl.String).alias(name.lower()))
    return frame.select(found)


def _lower(names: Sequence[str], path: Path) -> list[str]:
    lower = [name.strip().lstrip("\ufeff").lower() for name in names]
    repeated = sorted({name for name in lower if lower.count(name) > 1})
    if repeated:
        raise FormatError(f"two columns are named {repeated[0]!r}", where=str(path), hint="rename one of them")
    return lower


def _csv_parts(path: Path, rows: int, delimiter: str | None) -> Iterator[TablePart]:
    import pyarrow as pa
    from pyarrow import csv

    if delimiter is None:
        name = path.name.lower().removesuffix(".gz")
        delimiter = "\t" if name.endswith((".tsv", ".txt")) else ","
    malformed: list[tuple[int, str]] = []

    def note(row: Any) -> str:
        malformed.append(
            (row.number or 0, f"the row has {row.actual_columns} columns, the header {row.expected_columns}")
        )
        return "skip"

    try:
        names = _lower(_header(path, delimiter), path)
        with pa.input_stream(str(path), compression="detect") as stream:
            reader = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(
                    block_size=16 << 20, column_names=names, skip_rows_after_names=1, use_threads=False
                ),
                parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False
                ),
            )
            first = 1
            for batch in reader:
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                for start in range(0, frame.height, rows):
                    part = frame[start : start + rows]
                    bad, malformed[:] = list(malformed), []
                    yield TablePart(part, first, bad)
                    first += part.height + len(bad)
            if malformed or first == 1:
                yield TablePart(pl.DataFrame(schema=dict.fromkeys(names, pl.String)), first, list(malformed))
    except (pa.ArrowInvalid, OSError, EOFError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}", where=str(path),
            hint="UTF-8 text with one header line; compare checksums with the source's",
        ) from error  # fmt: skip


def _header(path: Path, delimiter: str) -> list[str]:
    import csv
    import gzip
    import io

    open_file = gzip.open if path.suffix.lower() == ".gz" else open
    with open_file(path, "rb") as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        for row in csv.reader(text, delimiter=delimiter):
            return row
    raise FormatError(f"{path.name} is empty", where=str(path), hint="a table with a header line")


def with_malformed(rows: RawRows, malformed: Sequence[tuple[int, str]]) -> RawRows:
    """Add rows that could not be split into columns to what was dropped."""
    if not malformed:
        return rows
    extra = pl.DataFrame(
        [(rows.n_rows + i, reason, None, None) for i, (_, reason) in enumerate(malformed)], schema=DROPPED, orient="row"
    )
    return rows._replace(n_rows=rows.n_rows + len(malformed), dropped=pl.concat([rows.dropped, extra]))


def descriptions_of(known: Mapping[str, str]) -> pl.DataFrame:
    """Return code and description as a frame, sorted."""
    pairs = sorted(known.items())
    return pl.DataFrame(pairs, schema={"code": pl.String, "description": pl.String}, orient="row")
