"""Tables read by a mapping (:mod:`genomix.io.mapping_language`): every row an event, or dropped for a stated reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import polars as pl

from genomix.errors import ConfigError, FormatError, InputNotFoundError
from genomix.io.mapping_language import Event, Join, RecordMapping, Table, WideColumns
from genomix.io.mapping_values import Template, TimeSpec
from genomix.io.record_rows import (
    EventMap,
    LeftOutFile,
    RawRows,
    RowCheck,
    descriptions_of,
    map_rows,
    number,
    table_parts,
    text_or_null,
    with_malformed,
)

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_NOT_NAMED = "no table of the mapping names it"


def stem_of(path: Path) -> str:
    """Return a table file's name in lower case without its suffixes, empty for another kind of file."""
    name = path.name.lower()
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(s)), None)
    return "" if suffix is None else name.removesuffix(suffix)


def table_files(path: Path) -> list[Path]:
    """Return the tables of a folder and the folders in it, or the one file that was given."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    found = (p for p in path.rglob("*") if p.is_file() and stem_of(p) and not p.name.startswith("."))
    return sorted(found, key=lambda p: p.relative_to(path).as_posix())


class MappedScan:
    """A folder of tables, or one table, in bounded parts; see :class:`~genomix.io.record_rows.RecordScan`."""

    def __init__(self, path: Path, mapping: RecordMapping, source_format: str) -> None:
        self.source_format = source_format
        self.rules = mapping.rules
        self.left_out: list[LeftOutFile] = []
        self.adjusted: dict[str, int] = {}
        self._base = path if path.is_dir() else path.parent
        self._mapping = mapping
        self._files = table_files(path)
        self._single = path.is_file()
        self._words: dict[str, str] = {}

    def parts(self) -> Iterator[RawRows]:
        """Yield the rows of every table that the mapping names."""
        noted: Counter[str] = Counter()
        used: set[Path] = set()
        for table in self._mapping.tables:
            files = self._matching(table.file)
            if twice := [f for f in files if f in used]:
                raise ConfigError(
                    f"two tables of the mapping name {self._relative(twice[0])}, which would be read twice",
                    where=str(self._base), hint="put all events of a file into one [[table]]",
                )  # fmt: skip
            if not files and not table.optional:
                hint = "the mapping's file is a name without its suffix, or a pattern"
                raise FormatError(f"there is no table {table.file}", where=str(self._base), hint=hint)
            lookups = [(join, self._lookup(join)) for join in table.joins]
            used.update(files)
            for file in files:
                yield from self._file(table, file, lookups, noted)
        lookup_files = {f for t in self._mapping.tables for j in t.joins for f in self._matching(j.file)}
        for file in self._files:
            if file not in used:
                reason = "lookup table" if file in lookup_files else self._reason(file)
                self.left_out.append(self._left_out(file, reason))
        self.adjusted = dict(noted)

    def _left_out(self, file: Path, reason: str) -> LeftOutFile:
        try:
            rows = sum(part.frame.height + len(part.malformed) for part in table_parts(file))
        except FormatError as error:
            return LeftOutFile(self._relative(file), 0, f"{reason}; its rows cannot be counted: {error.what}")
        return LeftOutFile(self._relative(file), rows, reason)

    def descriptions(self) -> pl.DataFrame:
        """Return what the mapping's descriptions say of the codes that were met."""
        return descriptions_of(self._words)

    def _relative(self, file: Path) -> str:
        return file.relative_to(self._base).as_posix()

    def _matching(self, pattern: str) -> list[Path]:
        wanted = pattern.lower()
        if self._single and wanted == "*":
            return self._files
        return [f for f in self._files if fnmatchcase(stem_of(f), wanted) or fnmatchcase(self._place(f), wanted)]

    def _place(self, file: Path) -> str:
        """Return a file's path without its suffixes, in lower case: ``hosp/labevents``."""
        return self._relative(file).lower().removesuffix(file.name.lower()) + stem_of(file)

    def _reason(self, file: Path) -> str:
        named = self._mapping.left_out.items()
        return next((why for pattern, why in named if fnmatchcase(stem_of(file), pattern.lower())), _NOT_NAMED)

    def _lookup(self, join: Join) -> pl.DataFrame | None:
        files = self._matching(join.file)
        if not files:
            if join.optional:
                return None
            raise FormatError(f"there is no lookup table {join.file}", where=str(self._base))
        frames = []
        for file in files:
            for part in table_parts(file):
                _check_columns(part.frame, (*join.key, *join.columns), file)
                frames.append(part.frame.select(*join.key, *join.columns))
        table = pl.concat(frames).with_columns(text_or_null(c) for c in (*join.key, *join.columns))
        return table.group_by(join.key, maintain_order=True).agg(pl.col(join.columns).drop_nulls().first())

    def _file(
        self, table: Table, file: Path, lookups: Sequence[tuple[Join, pl.DataFrame | None]], noted: Counter[str]
    ) -> Iterator[RawRows]:
        name = table.name or stem_of(file)
        for part in table_parts(file):
            frame = _without_missing(part.frame, table)
            for join, looked_up in lookups:
                frame = _joined(frame, join, looked_up, file)
            events = [*table.events] if table.columns is None else _wide_events(table.columns, table, frame.columns)
            if table.columns is not None and (unnamed := _unnamed(table.columns, table, events, part.frame.columns)):
                shown = ", ".join(unnamed[:10]) + (f" and {len(unnamed) - 10} more" if len(unnamed) > 10 else "")
                noted[f"{name}: rows whose columns {shown} the mapping leaves out"] += part.frame.height
            frame = _with_other_times(frame, events)
            events = [e for e in events if not e.optional or not _lacking(e, frame)]
            _check_columns(frame, (table.subject, *(c for e in events for c in _columns_of(e))), file)
            rows = self._rows(table, events, _readable(frame, table), name, file, part.first_row, noted)
            yield with_malformed(rows, part.malformed)

    def _rows(
        self, table: Table, events: Sequence[Event], frame: pl.DataFrame, name: str, file: Path, first: int,
        noted: Counter[str],
    ) -> RawRows:  # fmt: skip
        maps, bad, good = [], [], []
        static = [_holds(e) for e in events if e.time is None]
        for i, event in enumerate(events):
            frame = _with_times(frame, event, i, table.dates)
            maps.append(_event_map(event, i))
            if event.time is not None:
                wanted = _holds(event)
                bad.append(pl.col(f"_t{i}_bad") & wanted)
                good.append(pl.col(f"_t{i}").is_not_null() & wanted)
                n = int(frame.select((pl.col(f"_t{i}_bad").fill_null(False) & wanted).sum()).item())
                if n:
                    noted[f"{name}: {event.time.blamed} cannot be read as a time"] += n
            if event.value is not None:
                n = int(frame.select((pl.col(event.value).is_not_null() & number(event.value).is_null()
                                      & _holds(event)).sum()).item())  # fmt: skip
                kept = "the text stands for it" if event.text is not None else "kept as text"
                if n:
                    noted[f"{name}: {event.value} is no number; {kept}"] += n
            self._describe(frame, event)
        checks = [RowCheck(d.why, d.when.holds(), d.when.column) for d in table.drops]
        if bad:
            blamed = next(e.time.blamed for e in events if e.time is not None)
            without = ~pl.any_horizontal(good)
            nothing_else = ~pl.any_horizontal(static) if static else pl.lit(True)
            checks.append(RowCheck("time cannot be read", pl.any_horizontal(bad) & without & nothing_else, blamed))
            if all(e.time is not None for e in events):
                wanted = pl.any_horizontal([_holds(e) for e in events])
                checks.append(RowCheck("there is no time", wanted & without, blamed))
        return map_rows(
            frame, table=name, file=self._relative(file), first_row=first, subject=pl.col(table.subject), events=maps,
            checks=checks,
        )  # fmt: skip

    def _describe(self, frame: pl.DataFrame, event: Event) -> None:
        if event.description is None:
            return
        words = frame.select(event.code.text("UNK").alias("code"), event.description.text("").alias("words"))
        for code, text in words.drop_nulls().unique().sort("code", "words").iter_rows():
            if code not in self._words and text.strip():
                self._words[code] = text.strip()


def _holds(event: Event) -> pl.Expr:
    return pl.all_horizontal([c.holds() for c in event.when]) if event.when else pl.lit(True)


def _columns_of(event: Event) -> tuple[str, ...]:
    found = [*event.code.columns, *(c.column for c in event.when)]
    found += [c for t in (event.time, event.available) if t is not None for c in t.used]
    found += [c for c in (event.value, event.text) if c is not None]
    if event.unit is not None and not event.unit.startswith("'"):
        found.append(event.unit)
    return tuple(found)


def _with_other_times(frame: pl.DataFrame, events: Sequence[Event]) -> pl.DataFrame:
    """Add the columns of a list of times that a source lacks, empty, where it has another one of the list."""
    absent: set[str] = set()
    for time in (t for e in events for t in (e.time, e.available) if t is not None):
        if any(c in frame.columns for c in time.columns):
            absent.update(c for c in time.columns if c not in frame.columns)
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(c) for c in sorted(absent))


def _lacking(event: Event, frame: pl.DataFrame) -> bool:
    return any(c not in frame.columns for c in _columns_of(event))


def _check_columns(frame: pl.DataFrame, wanted: Sequence[str], file: Path) -> None:
    missing = [c for c in wanted if c not in frame.columns]
    if missing:
        have = ", ".join(c for c in frame.columns if not c.startswith("_"))
        raise FormatError(f"there is no column {missing[0]!r}", where=str(file), hint=f"it has: {have}")


def _without_missing(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return every cell without white space around it, null where it is empty or stands for nothing."""
    cells = [text_or_null(c) for c in frame.columns]
    frame = frame.with_columns(cells)
    if not table.missing:
        return frame
    return frame.with_columns(pl.when(~pl.col(c).is_in(list(table.missing))).then(c).alias(c) for c in frame.columns)


def _joined(frame: pl.DataFrame, join: Join, looked_up: pl.DataFrame | None, file: Path) -> pl.DataFrame:
    names = {c: f"{join.prefix}{c}" for c in join.columns}
    if looked_up is None:
        return frame.with_columns(
            pl.lit(None, dtype=pl.String).alias(n) for n in names.values() if n not in frame.columns
        )
    _check_columns(frame, join.on, file)
    lookup = looked_up.rename(names)
    clash = [n for n in names.values() if n in frame.columns]
    return frame.drop(clash).join(
        lookup, left_on=list(join.on), right_on=list(join.key), how="left", maintain_order="left"
    )


def _readable(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Turn columns of another time format into ISO 8601; what does not fit stays as it is, and cannot be read."""
    changed = []
    for column, pattern in table.time_formats.items():
        if column in frame.columns:
            time = pl.col(column).str.to_datetime(pattern, time_unit="us", strict=False)
            with_clock = any(mark in pattern for mark in ("%H", "%I", "%T", "%s"))
            text = time.dt.strftime("%Y-%m-%d %H:%M:%S%.f" if with_clock else "%Y-%m-%d")
            changed.append(pl.coalesce(text, pl.concat_str(pl.lit("? "), pl.col(column))).alias(column))
    return frame.with_columns(changed)


def _with_times(frame: pl.DataFrame, event: Event, i: int, dates: tuple[str, ...]) -> pl.DataFrame:
    if event.time is not None:
        frame = event.time.add(frame, f"_t{i}", dates)
    if event.available is not None:
        frame = event.available.add(frame, f"_a{i}", dates)
    return frame


def _event_map(event: Event, i: int) -> EventMap:
    value = None if event.value is None else number(event.value)
    text = None if event.text is None else text_or_null(event.text)
    if text is None and event.value is not None:
        text = text_or_null(event.value)
    if text is not None and value is not None:
        text = pl.when(value.is_null()).then(text)
    unit = None
    if event.unit is not None and value is not None:
        told = pl.lit(event.unit.strip("'")) if event.unit.startswith("'") else text_or_null(event.unit)
        unit = pl.when(value.is_not_null()).then(told)
    available: pl.Expr | None = None
    if event.available is not None:
        known, at = pl.col(f"_a{i}"), pl.col(f"_t{i}")
        end = (
            pl.when(pl.col(f"_a{i}_day")).then(known.dt.offset_by("1d") - pl.duration(microseconds=1)).otherwise(known)
        )
        available = pl.when(end >= at).then(end)
    time = None if event.time is None else pl.col(f"_t{i}")
    day = False if event.time is None else pl.col(f"_t{i}_day")
    return EventMap(event.code.text("UNK"), time, _holds(event), value, text, unit, day, available)


def _wide_events(wide: WideColumns, table: Table, columns: Sequence[str]) -> list[Event]:
    """Return one event for each column that a wide table gives."""
    times = [c for t in (wide.time, wide.available) if t is not None for c in t.used]
    taken = {table.subject, *wide.numeric, *wide.categorical, *wide.skip, *times}
    others = [c for c in columns if c not in taken and not c.startswith("_")] if wide.others != "leave" else []
    numeric = [*wide.numeric, *(others if wide.others == "numeric" else [])]
    categorical = [*wide.categorical, *(others if wide.others == "categorical" else [])]
    found = []
    for column in numeric:
        unit = f"'{wide.units[column]}'" if column in wide.units else None
        found.append(_column_event(f"{wide.prefix}{column}", ((False, f"{wide.prefix}{column}"),), column, unit, wide))
    for column in categorical:
        pieces = ((False, f"{wide.prefix}{column}//"), (True, column))
        found.append(_column_event(f"{wide.prefix}{column}", pieces, None, None, wide))
    return found


def _unnamed(wide: WideColumns, table: Table, events: Sequence[Event], columns: Sequence[str]) -> list[str]:
    """Return the columns of a wide table that become nothing and are not said to be left out."""
    named = {table.subject, *wide.skip, *(c for e in events for c in _columns_of(e))}
    named |= {c for j in table.joins for c in j.on} | {c.when.column for c in table.drops}
    return [c for c in columns if c not in named and not c.startswith("_")]


def _column_event(
    name: str, pieces: tuple[tuple[bool, str], ...], value: str | None, unit: str | None, wide: WideColumns
) -> Event:
    from genomix.io.mapping_values import Condition

    when = (Condition(value, "is not empty", ("",)),) if value is not None else ()
    time: TimeSpec | None = wide.time
    return Event(Template(pieces), name, None, time, wide.available, value, None, unit, when)
