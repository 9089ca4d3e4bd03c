"""When an OMOP record happened: a ``_date`` and a ``_datetime`` column, read together.

The datetime counts where it is on the day of the date (as both are written, whatever the zone), else the date. A stamp
of exactly 00:00:00 is a date. An end that is a date only, on the day of a start with a clock time, is put at the start.
"""

from __future__ import annotations

import polars as pl

from genomix.io.record_rows import RowCheck, moment, text_or_null

Notes = list[tuple[str, pl.Expr]]
"""What was changed in a row that is kept, and the expression that says where."""

_MIDNIGHT = r"^\d{4}-\d{2}-\d{2}(?:[ T]00:00(?::00(?:\.0+)?)?(?:[Zz]|[+-]\d{2}:?\d{2})?)?$"


def with_start(frame: pl.DataFrame, date: str, clock: str) -> tuple[pl.DataFrame, list[RowCheck], Notes]:
    """Add _start (Datetime) and _start_day (it is a date only); return what makes a row unusable, and the notes."""
    frame, notes = _stamped(frame, date, clock, "_start")
    none = pl.col("_start").is_null()
    checks = [
        RowCheck("date cannot be read", none & text_or_null(date).is_not_null(), date),
        RowCheck("datetime cannot be read", none & text_or_null(clock).is_not_null(), clock),
        RowCheck("date is missing", none, date),
    ]
    return frame, checks, notes


def with_end(frame: pl.DataFrame, date: str, clock: str) -> tuple[pl.DataFrame, Notes]:
    """Add _end and _end_day to rows with a start; an end before the start is left out and noted."""
    frame, notes = _stamped(frame, date, clock, "_end")
    same_day = pl.col("_end").dt.date() == pl.col("_start").dt.date()
    end = pl.when(same_day & pl.col("_end_day")).then(pl.max_horizontal("_start", "_end")).otherwise("_end")
    frame = frame.with_columns(end.alias("_end"))
    early = (pl.col("_end") < pl.col("_start")).fill_null(False)
    stated = text_or_null(date).is_not_null() | text_or_null(clock).is_not_null()
    frame = frame.with_columns(early.alias("_early"), (stated & pl.col("_end").is_null()).alias("_end_lost"))
    notes += [
        ("the end lies before the start and was left out", pl.col("_early")),
        ("the end cannot be read and was left out", pl.col("_end_lost")),
    ]
    return frame.with_columns(pl.when(~early).then("_end").alias("_end")), notes


def local_day(column: str) -> pl.Expr:
    """Return the day that a readable stamp is written with, as text; null where :func:`moment` reads nothing."""
    return pl.when(moment(column).is_not_null()).then(text_or_null(column).str.slice(0, 10))


def midnight_of(day: pl.Expr) -> pl.Expr:
    """Return the midnight of a day as text, null where there is no such day."""
    return day.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False)


def _stamped(frame: pl.DataFrame, date: str, clock: str, name: str) -> tuple[pl.DataFrame, Notes]:
    """Add the time of two columns and whether it is a date only; each column is read once."""
    d, c = f"{name}_in_date", f"{name}_in_clock"
    frame = frame.with_columns(
        moment(date).alias(d), moment(clock).alias(c), text_or_null(date).alias(f"{d}_text"),
        text_or_null(clock).alias(f"{c}_text"),
    )  # fmt: skip
    read_date, read_clock = pl.col(d).is_not_null(), pl.col(c).is_not_null()
    same = pl.col(f"{c}_text").str.slice(0, 10) == pl.col(f"{d}_text").str.slice(0, 10)
    frame = frame.with_columns((read_clock & (~read_date | same)).fill_null(False).alias(f"{name}_use"))
    use = pl.col(f"{name}_use")
    text = pl.when(use).then(f"{c}_text").otherwise(f"{d}_text")
    frame = frame.with_columns(text.str.contains(_MIDNIGHT).fill_null(False).alias(f"{name}_day"))
    time = pl.when(use).then(c).otherwise(d)
    day = midnight_of(text.str.slice(0, 10))
    frame = frame.with_columns(pl.when(f"{name}_day").then(day).otherwise(time).alias(name))
    frame = frame.with_columns(
        (read_date & read_clock & ~use).alias(f"{name}_apart"),
        (read_date & ~read_clock & pl.col(f"{c}_text").is_not_null()).alias(f"{name}_no_clock"),
        (read_clock & ~read_date & pl.col(f"{d}_text").is_not_null()).alias(f"{name}_no_date"),
    ).drop(d, c, f"{d}_text", f"{c}_text", f"{name}_use")
    return frame, [
        (f"{clock} is on another day than {date}, which counts", pl.col(f"{name}_apart")),
        (f"{clock} cannot be read; {date} counts", pl.col(f"{name}_no_clock")),
        (f"{date} cannot be read; {clock} counts", pl.col(f"{name}_no_date")),
    ]
