"""Parts of the mapping language: templates over columns, conditions, and where a time comes from."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from genomix.errors import ConfigError
from genomix.io.record_rows import is_date_text, moment, number, text_or_null, unreadable

UNITS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}
UNKNOWN = "UNK"
_LONGEST_S = 200 * 366 * 86400.0
_CONDITION = re.compile(r"^\s*(\{[^{}]+\}|[^\s{}]+)\s+(==|!=|not in|in|is not empty|is empty)(?:\s+(.+?))?\s*$")


class Template(NamedTuple):
    """Text with columns in it: pieces of text and, where ``is_column``, names of columns."""

    pieces: tuple[tuple[bool, str], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in lower case."""
        return tuple(text for is_column, text in self.pieces if is_column)

    def text(self, empty: str) -> pl.Expr:
        """Return the text of a row; null where it has columns and all of them are empty."""
        parts = [pl.col(text).fill_null(empty) if is_column else pl.lit(text) for is_column, text in self.pieces]
        whole = pl.concat_str(parts)
        if not self.columns:
            return whole
        return pl.when(pl.any_horizontal(pl.col(c).is_not_null() for c in self.columns)).then(whole)


def template(text: str, where: str) -> Template:
    """Parse ``LAB//{itemid}``.

    Raises
    ------
    ConfigError: a brace without its other half, or one around nothing.
    """
    pieces = []
    for part in re.split(r"(\{[^{}]*\})", text):
        is_column = part.startswith("{") and part.endswith("}")
        content = part[1:-1].strip().lower() if is_column else part
        if (is_column and not content) or (not is_column and ("{" in part or "}" in part)):
            raise ConfigError(f"{text!r} has a brace that names no column", where=where, hint='"LAB//{itemid}"')
        if content:
            pieces.append((is_column, content))
    return Template(tuple(pieces))


class Condition(NamedTuple):
    """What a row must fulfil: a column, an operation, and the texts that it is compared with."""

    column: str
    operation: str
    values: tuple[str, ...]

    def holds(self) -> pl.Expr:
        """Return True or False per row; an empty cell equals the empty text."""
        text = pl.col(self.column).fill_null("")
        found = text.is_in(list(self.values))
        return ~found if self.operation in ("!=", "not in", "is not empty") else found


def condition(text: str, where: str) -> Condition:
    """Parse ``{flag} == 'x'``, ``!=``, ``in ['a', 'b']``, ``not in``, ``is empty`` and ``is not empty``."""
    hint = "{column} == 'x', != 'x', in ['a', 'b'], not in [...], is empty, is not empty"
    match = _CONDITION.match(text)
    if match is None:
        raise ConfigError(f"{text!r} is not a condition", where=where, hint=hint)
    column, operation, given = match[1].strip("{} ").lower(), match[2], match[3]
    if operation in ("is empty", "is not empty"):
        if given:
            raise ConfigError(f"{text!r} is not a condition", where=where, hint=hint)
        return Condition(column, operation, ("",))
    try:
        value = ast.literal_eval(given or "")
    except (ValueError, SyntaxError) as error:
        raise ConfigError(f"{text!r} compares with no text in quotes", where=where, hint=hint) from error
    many = operation in ("in", "not in")
    values = value if many else [value]
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ConfigError(f"{text!r} compares with no text in quotes", where=where, hint=hint)
    return Condition(column, operation, tuple(values))


@dataclass(frozen=True)
class TimeSpec:
    """Where a time comes from: the first of ``columns`` that is not empty, a year, or an offset from an origin."""

    columns: tuple[str, ...] = ()
    year: str | None = None
    minus: str | None = None
    offset: str | None = None
    seconds: float = 60.0
    origin: Template | None = None

    @property
    def used(self) -> tuple[str, ...]:
        """Columns that the time needs."""
        named = [c for c in (self.year, self.minus, self.offset) if c]
        return (*self.columns, *named, *(self.origin.columns if self.origin else ()))

    @property
    def blamed(self) -> str:
        """The column that a message names."""
        origin = self.origin.columns if self.origin else ()
        return (*self.columns, *(c for c in (self.year, self.offset) if c), *origin, "time")[0]

    def add(self, frame: pl.DataFrame, name: str, dates: tuple[str, ...]) -> pl.DataFrame:
        """Add ``{name}`` (time), ``{name}_day`` (it is a date) and ``{name}_bad`` (given, but unreadable)."""
        if self.offset is not None:
            return self._with_offset(frame, name)
        if self.year is not None:
            return self._with_year(frame, name)
        time, day, bad = pl.lit(None, dtype=pl.Datetime("us")), pl.lit(False), pl.lit(False)
        for column in reversed(self.columns):
            given, found = pl.col(column).is_not_null(), moment(column)
            midnight = found == found.dt.truncate("1d")
            is_day = midnight if column in dates else is_date_text(column)
            time = pl.when(given).then(found).otherwise(time)
            day = pl.when(given).then(is_day.fill_null(False)).otherwise(day)
            bad = pl.when(given).then(unreadable(column)).otherwise(bad)
        return frame.with_columns(time.alias(name), day.alias(f"{name}_day"), bad.alias(f"{name}_bad"))

    def _with_year(self, frame: pl.DataFrame, name: str) -> pl.DataFrame:
        year = number(str(self.year)) - (number(self.minus) if self.minus else 0)
        given = pl.all_horizontal(pl.col(c).is_not_null() for c in self.used)
        fits = ((year == year.floor()) & year.is_between(1, 9999)).fill_null(False)
        whole = pl.when(fits).then(year).cast(pl.Int32, strict=False)
        return frame.with_columns(
            pl.when(fits).then(pl.datetime(whole.fill_null(1), 1, 1, time_unit="us")).alias(name),
            pl.lit(True).alias(f"{name}_day"),
            (given & ~fits).alias(f"{name}_bad"),
        )

    def _with_offset(self, frame: pl.DataFrame, name: str) -> pl.DataFrame:
        assert self.offset is not None
        assert self.origin is not None
        origin = f"{name}_from"
        shift = number(self.offset) * self.seconds if self.offset else pl.lit(0.0)
        fits = (shift.abs() < _LONGEST_S).fill_null(False)
        whole = pl.all_horizontal(pl.lit(True), *(pl.col(c).is_not_null() for c in self.origin.columns))
        frame = frame.with_columns(pl.when(whole).then(self.origin.text("")).alias(origin))
        microseconds = pl.when(fits).then(shift * 1e6).round(0).cast(pl.Int64).cast(pl.Duration("us"))
        frame = frame.with_columns((moment(origin) + microseconds).alias(name), pl.lit(False).alias(f"{name}_day"))
        given = text_or_null(self.offset).is_not_null() if self.offset else pl.lit(True)
        return frame.with_columns((given & pl.col(name).is_null()).alias(f"{name}_bad"))


def time_spec(value: Any, key: str, where: str) -> TimeSpec:
    """Parse a column, a list of columns, ``{ year, minus }`` or ``{ offset = { column, unit, from } }``."""
    hint = 'a column, a list of columns, { year = "…", minus = "…" } or an offset { column, unit, from }'
    if isinstance(value, str) and value.strip():
        return TimeSpec((value.strip().lower(),))
    if isinstance(value, list) and value and all(isinstance(v, str) and v.strip() for v in value):
        return TimeSpec(tuple(v.strip().lower() for v in value))
    if isinstance(value, Mapping) and set(value) == {"offset"} and isinstance(value["offset"], Mapping):
        return _offset(value["offset"], where)
    if isinstance(value, Mapping) and "year" in value and set(value) <= {"year", "minus"}:
        year, minus = value["year"], value.get("minus")
        if isinstance(year, str) and isinstance(minus, str | None):
            return TimeSpec(year=year.strip().lower(), minus=minus.strip().lower() if minus else None)
    raise ConfigError(f"{key} is {value!r}", where=where, hint=hint)


def _offset(value: Mapping[str, Any], where: str) -> TimeSpec:
    wanted = ("column", "unit", "from")
    unknown = sorted(set(value) - set(wanted))
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r} of an offset", where=where, hint="one of: " + ", ".join(wanted))
    column = value.get("column", "")
    if not all(isinstance(one, str) for one in (column, value.get("unit"), value.get("from"))):
        raise ConfigError("an offset needs unit and from; without a column it is the origin itself", where=where)
    if value["unit"] not in UNITS:
        raise ConfigError(f"unit is {value['unit']!r}", where=where, hint="one of: " + ", ".join(UNITS))
    origin = template(value["from"], where)
    return TimeSpec(offset=column.strip().lower(), seconds=UNITS[value["unit"]], origin=origin)
