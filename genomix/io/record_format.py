"""What a format of health records is, and the one road from its rows to the EVENTS frame.

A format is one file of this package with a module-level ``RECORD_FORMAT``. Its reader turns the source into a raw frame
(see :func:`to_events`) and every row of it is then either an event or dropped under a counted reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.availability import DEFAULT_RULES, AvailabilityRules, add_availability
from genomix.registry import member, members
from genomix.schemas.events import EVENTS, TIME

NO_UNIT = ("", "UNK", "N/A", "NA", "None", "none", "null")
"""Words that stand for an unknown unit."""


class LeftOut(NamedTuple):
    """A file that was not read as events, and why."""

    file: str
    rows: int
    reason: str


@dataclass(frozen=True)
class RecordReport:
    """What became of every source row: ``rows_read == rows_kept + sum(dropped.values())``, or construction fails.

    Parameters
    ----------
    dropped: reason → rows. adjusted: what was changed in kept rows → rows. left_out: files that were not read.
    availability: one mapping per rule (rule, events, date_only, later_than_stamp).
    n_events: events made, None where each row is one. tables: the same account for each source table. samples: some of
    the dropped rows, with file, row, reason, field and value, never an identifier.
    """

    source_format: str
    rows_read: int
    rows_kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    adjusted: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    availability: tuple[Mapping[str, Any], ...] = ()
    n_events: int | None = None
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    samples: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.rows_read != self.rows_kept + sum(self.dropped.values()):
            raise AssertionError(f"{self.source_format}: {self.rows_read} rows read are not all accounted for")

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {
            "source_format": self.source_format,
            "rows_read": self.rows_read,
            "rows_kept": self.rows_kept,
            "dropped": dict(self.dropped),
            "adjusted": dict(self.adjusted),
            "left_out": [part._asdict() for part in self.left_out],
            "availability": [dict(rule) for rule in self.availability],
            "events": self.rows_kept if self.n_events is None else self.n_events,
            "tables": {name: dict(table) for name, table in self.tables.items()},
            "samples_of_dropped_rows": [dict(sample) for sample in self.samples],
        }


class RecordSet(NamedTuple):
    """Events (schema EVENTS, sorted), what codes mean (columns code, description), and the account of the source."""

    events: pl.DataFrame
    descriptions: pl.DataFrame
    report: RecordReport


class RecordFormat(Protocol):
    """A format of health records: ``scan`` opens a source (:class:`~genomix.io.record_rows.RecordScan`)."""

    name: str
    scan: Any

    def recognises(self, path: Path) -> bool:
        """Say whether a path looks like this format, without reading its rows."""
        ...

    def read(self, path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
        """Read everything at a path."""
        ...


def record_format(name: str) -> RecordFormat:
    """Return a format by name, or raise a :class:`ConfigError` that lists the names."""
    found: RecordFormat = member("genomix.io", "RECORD_FORMAT", name)
    return found


def recognise(path: Path) -> RecordFormat:
    """Return the one format that recognises a path."""
    known: dict[str, RecordFormat] = members("genomix.io", "RECORD_FORMAT")
    fitting = [f for f in known.values() if f.recognises(path)]
    if len(fitting) != 1:
        found = "no format" if not fitting else " and ".join(f.name for f in fitting)
        raise ConfigError(f"{found} recognises {path.name}", where=str(path), hint="name one of: " + ", ".join(known))
    return fitting[0]


def empty_descriptions() -> pl.DataFrame:
    """Return a frame of descriptions without rows."""
    return pl.DataFrame(schema={"code": pl.String, "description": pl.String})


def to_events(
    raw: pl.DataFrame,
    *,
    source_format: str,
    availability: AvailabilityRules = DEFAULT_RULES,
    left_out: Sequence[LeftOut] = (),
    descriptions: pl.DataFrame | None = None,
) -> RecordSet:
    """Turn a raw frame into events; rows that cannot be events are dropped under a counted reason.

    Parameters
    ----------
    raw: subject_id (integer or text that is one), time (Datetime, Date or ISO 8601 text; null = static), code, and
        optionally numeric_value, text_value, unit, table, time_precision, available_time. Times with a zone are
        turned into UTC and lose it.

    Raises
    ------
    FormatError: when a column has a type that cannot be read, or no row is left.
    """
    frame = typed_rows(raw)
    frame = frame.with_columns(row_reason().alias("_reason"))
    counts = dict(frame["_reason"].drop_nulls().value_counts().sort("_reason").iter_rows())
    kept = frame.filter(pl.col("_reason").is_null())
    if not kept.height:
        raise FormatError(f"{source_format}: no row is an event", hint="; ".join(counts) or "the source has no rows")
    finished = finish_events(kept.drop("_reason", "_time_given"), availability)
    report = RecordReport(
        source_format, raw.height, finished.events.height, counts, finished.adjusted, tuple(left_out),
        tuple(finished.applied.iter_rows(named=True)),
    )  # fmt: skip
    return RecordSet(finished.events, empty_descriptions() if descriptions is None else descriptions, report)


class FinishedEvents(NamedTuple):
    """Events (schema EVENTS, sorted), what was changed in them, and what each rule of availability decided."""

    events: pl.DataFrame
    adjusted: dict[str, int]
    applied: pl.DataFrame


def finish_events(
    typed: pl.DataFrame, availability: AvailabilityRules, *, midnights: pl.DataFrame | None = None
) -> FinishedEvents:
    """Return typed rows as events: values finite, units filled from codes, availability added.

    Parameters
    ----------
    typed: the columns of EVENTS, ``table`` and optionally ``is_date``; subjects are integers, codes not empty.
    midnights: see :func:`~genomix.io.availability.add_availability`.
    """
    finite = pl.col("numeric_value").is_finite()
    infinite = int(typed.select((~finite & ~pl.col("numeric_value").is_nan()).sum()).item())
    kept = typed.with_columns(pl.when(finite).then("numeric_value").alias("numeric_value"))
    available = add_availability(_with_unit(kept, availability.unit_patterns), availability, midnights=midnights)
    events = EVENTS.validate(available.events.select(EVENTS.names)).sort(EVENTS.names)
    adjusted = {"infinite numeric value made missing": infinite} if infinite else {}
    return FinishedEvents(events, adjusted, available.applied)


def row_reason() -> pl.Expr:
    """Return why a row of :func:`typed_rows` cannot be an event, null where it can."""
    reasons = {
        "subject is missing or not an integer": pl.col("subject_id").is_null(),
        "code is missing or empty": pl.col("code").fill_null("") == "",
        "time cannot be read": pl.col("time").is_null() & pl.col("_time_given"),
    }
    reason = pl.lit(None, dtype=pl.String)
    for words, broken in reversed(reasons.items()):
        reason = pl.when(broken).then(pl.lit(words)).otherwise(reason)
    return reason


def typed_rows(raw: pl.DataFrame) -> pl.DataFrame:
    """Cast every column to its type in EVENTS; what does not fit becomes null (see :func:`row_reason`)."""
    types: dict[str, type[pl.DataType] | pl.DataType] = {"numeric_value": pl.Float32, "available_time": TIME}
    types |= dict.fromkeys(("text_value", "unit", "table", "time_precision"), pl.String)
    absent = [pl.lit(None, dtype=t).alias(n) for n, t in types.items() if n not in raw.columns]
    frame = raw.with_columns(*absent)
    subject = frame.schema["subject_id"]
    if not (subject.is_integer() or subject == pl.String):
        raise FormatError(f"subject_id is {subject}", hint="integers, or text that holds integers")
    return frame.select(
        pl.col("subject_id").cast(pl.Int64, strict=False),
        _moment(frame, "time").alias("time"),
        pl.col("code").cast(pl.String),
        pl.col("numeric_value").cast(pl.Float32, strict=False),
        pl.col("text_value").cast(pl.String),
        pl.col("unit").cast(pl.String).str.strip_chars(),
        pl.col("table").cast(pl.String),
        pl.col("time_precision").cast(pl.String),
        _moment(frame, "available_time").alias("available_time"),
        pl.col("time").is_not_null().alias("_time_given"),
        pl.lit(frame.schema["time"] == pl.Date).alias("is_date"),
    )


def _moment(frame: pl.DataFrame, name: str) -> pl.Expr:
    dtype = frame.schema[name]
    if isinstance(dtype, pl.Datetime):
        zoned = pl.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else pl.col(name)
        return zoned.cast(TIME)
    if dtype in (pl.Date, pl.Null):
        return pl.col(name).cast(TIME)
    if dtype == pl.String:
        text = pl.col(name).str.strip_chars().str.replace("T", " ", literal=True)
        formats = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
        return pl.coalesce(*(text.str.to_datetime(f, time_unit="us", strict=False) for f in formats))
    raise FormatError(f"{name} is {dtype}", hint="a timestamp, a date, or ISO 8601 text")


def _with_unit(frame: pl.DataFrame, patterns: tuple[str, ...]) -> pl.DataFrame:
    """Fill a missing unit from the code; only records with a value have a unit."""
    try:
        found = [pl.col("code").str.extract(p).str.strip_chars() for p in patterns]
        codes = frame.select("code").unique().with_columns(
            (pl.coalesce(*found) if found else pl.lit(None, dtype=pl.String)).alias("_from_code")
        )  # fmt: skip
    except pl.exceptions.ComputeError as error:
        raise ConfigError(f"unit_patterns: {error}", hint="regular expressions with one group") from error
    unit = pl.coalesce(pl.col("unit"), pl.when(pl.col("numeric_value").is_not_null()).then("_from_code"))
    unit = pl.when(unit.is_in(NO_UNIT)).then(None).otherwise(unit)
    joined = frame.join(codes, on="code", how="left", maintain_order="left")
    return joined.with_columns(unit.alias("unit")).drop("_from_code")
