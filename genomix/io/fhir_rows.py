"""Parsed FHIR resources to raw events: columns of plain values per resource, then times and counts for all at once."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

import polars as pl

from genomix.io.fhir_paths import Context, Path, Resource, Target, id_of
from genomix.io.fhir_values import Coded, coded, measured
from genomix.io.fhir_views import EventView, View, Views
from genomix.io.record_rows import DROPPED, NO_EVENT, RAW, RawRows, moment
from genomix.schemas.events import TIME

NO_SUBJECT = "subject is missing"
NOT_A_PATIENT = "the subject is not a Patient"
READ_BEFORE = "this Patient was read before"
NO_CODE = "no code is stated"
NO_TIME = "no time is stated"
BAD_TIME = "the time cannot be read"

ZONED = "times with a zone turned into UTC"
PARTIAL = "a year or month alone taken as its first day"
LIMIT = "value with a comparator: the limit as the number, the comparator as text"
UNREAD = "value of a type that is not read, left out"
EARLY = "time of record before the event, or unreadable: left out"
LOST = "event of a kept resource left out: its time cannot be read"

_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "table": pl.String,
    "source_row": pl.Int64,
    "subject_id": pl.String,
    "code": pl.String,
    "numeric_value": pl.Float64,
    "text_value": pl.String,
    "unit": pl.String,
    "_static": pl.Boolean,
    "_time": pl.String,
    "_field": pl.String,
    "_known": pl.String,
    "_limit": pl.Boolean,
    "_unread": pl.Boolean,
}
_LIKE_A_TIME = re.compile(r"[0-9TZtz:+. -]{1,40}")
_YEAR, _MONTH, _DAY = r"^\d{4}$", r"^\d{4}-\d{2}$", r"^\d{4}-\d{2}-\d{2}$"
_ZONE = r"^\d{4}-\d{2}-\d{2}[ Tt].*(?:[Zz]|[+-]\d{2}:?\d{2})$"


class Chunk:
    """Resources that become events together; :meth:`begin` says which file they come from, :meth:`rows` ends it.

    Parameters
    ----------
    views: what to read.
    adjusted, descriptions, patients: what the whole source gathers: counts by reason, code → meaning, ids of Patients.
    """

    def __init__(
        self,
        views: Views,
        adjusted: dict[str, int],
        descriptions: dict[str, str],
        patients: set[str],
    ) -> None:
        self._views = views
        self._adjusted = adjusted
        self._descriptions = descriptions
        self._patients = patients
        self._size: Counter[str] = Counter()
        self._file = ""
        self._before: Counter[str] = Counter()
        self._starts: defaultdict[str, list[tuple[int, str, int]]] = defaultdict(list)
        self._events: list[tuple[Any, ...]] = []
        self._dropped: list[tuple[str, int, str, str | None, str | None]] = []
        self._notes: list[tuple[str, int, str]] = []

    @property
    def size(self) -> int:
        """How many resources were taken."""
        return self._size.total()

    def begin(self, file: str, before: Counter[str]) -> None:
        """Say that what is added now comes from ``file``; before: resources by type read from it, kept up to date."""
        self._file, self._before = file, before

    def add(self, resource: Resource, context: Context, url: str | None) -> None:
        """Take a resource whose type has a view; ``url`` is its fullUrl in a bundle."""
        table: str = resource["resourceType"]
        view = self._views.views[table]
        row = self._size[table]
        self._size[table] += 1
        self._before[table] += 1
        starts = self._starts[table]
        if not starts or starts[-1][1] != self._file:
            starts.append((row, self._file, self._before[table]))
        context.root = resource
        subject, reason, field, value = self._subject(view, resource, context, url)
        if reason is not None:
            self._dropped.append((table, row, reason, field, value))
            return
        for drop in view.drops:
            if drop.when.holds(resource, context):
                self._dropped.append((table, row, drop.reason, *drop.when.blamed(resource, context)))
                return
        for note in view.notes:
            if note.when.holds(resource, context):
                self._notes.append((table, row, note.reason))
        before = len(self._events)
        lacks: set[str] = set()
        for event in view.events:
            if event.foreach is None:
                self._event(event, resource, context, (table, row, subject), lacks)
                continue
            for item in event.foreach.all(resource, context):
                self._event(event, item, context, (table, row, subject), lacks)
        if len(self._events) == before:
            reason = NO_CODE if NO_CODE in lacks else NO_TIME if NO_TIME in lacks else NO_EVENT
            self._dropped.append((table, row, reason, None, None))

    def _subject(
        self, view: View, resource: Resource, context: Context, url: str | None
    ) -> tuple[str | None, str | None, str | None, str | None]:
        """Return the subject, or why there is none with its field and value."""
        field = view.subject.field
        if view.resource == "Patient":
            own = id_of(resource, url)
            if own is None:
                return None, NO_SUBJECT, field, None
            if own in self._patients:
                return None, READ_BEFORE, None, None
            self._patients.add(own)
            return own, None, None, None
        found: Target = context.target(view.subject.first(resource, context))
        if found.type not in (None, "Patient"):
            return None, NOT_A_PATIENT, field, found.type
        if not found.id:
            return None, NO_SUBJECT, field, None
        return found.id, None, None, None

    def _event(
        self, event: EventView, item: Any, context: Context, row: tuple[str, int, str | None], lacks: set[str]
    ) -> None:
        if event.when.tests and not event.when.holds(item, context):
            return
        time, field = None, None
        if event.time:
            time, field = _first_text(event.time, item if event.time_of_item else context.root, context)
            if time is None:
                lacks.add(NO_TIME)
                return
        code = self._code(event, item, context)
        if code.code is None and not event.optional:
            lacks.add(NO_CODE)
            return
        whole = "//".join(part for part in (event.prefix, code.code, event.suffix) if part)
        if code.description and whole not in self._descriptions:
            self._descriptions[whole] = code.description
        value = measured(_first(event.value, item, context))
        unit = measured(_first(event.unit, item, context)).text if event.unit else value.unit
        text = (measured(_first(event.text, item, context)).text if event.text else None) or value.text
        known = None
        if event.available:
            known, _ = _first_text(event.available, item if event.available_of_item else context.root, context)
        self._events.append(
            (*row, whole, value.number, text, unit, event.static, time, field, known, value.limit, value.unread)
        )

    def _code(self, event: EventView, item: Any, context: Context) -> Coded:
        for path in event.code:
            for value in path.all(item, context):
                found = coded(value, self._views.systems, event.prefer, event.fallback)
                if found.code is not None:
                    return found
        return Coded(None, None)

    def rows(self) -> list[RawRows]:
        """Return one part per resource type, and count what was changed in the rows that are kept."""
        if not self._size:
            return []
        events = _with_times(pl.DataFrame(self._events, schema=_COLUMNS, orient="row"))
        good = events.filter("_good")
        lost = events.filter(~pl.col("_good")).join(good, on=["table", "source_row"], how="semi")
        late = (
            events.filter(~pl.col("_good"))
            .join(good, on=["table", "source_row"], how="anti")
            .unique(["table", "source_row"], keep="first", maintain_order=True)
        )
        for table, row, field, time in late.select("table", "source_row", "_field", "_time").iter_rows():
            shown = time if _LIKE_A_TIME.fullmatch(time) else None
            self._dropped.append((table, row, BAD_TIME, field, shown))
        self._count(good, lost.height)
        dropped = pl.DataFrame(self._dropped, schema={"table": pl.String, **DROPPED}, orient="row")
        kept = {key[0]: part for key, part in good.partition_by("table", as_dict=True).items()}
        gone = {key[0]: part for key, part in dropped.partition_by("table", as_dict=True).items()}
        parts = []
        for table, size in sorted(self._size.items()):
            made = kept.get(table, good.clear()).select(list(RAW))
            out = gone.get(table, dropped.clear()).drop("table").sort("source_row")
            starts = tuple(self._starts[table])
            parts.append(RawRows(table, *starts[0][1:], size, made, out, starts))
        return parts

    def _count(self, good: pl.DataFrame, lost: int) -> None:
        sums = good.select(
            pl.col("_zoned").sum().alias(ZONED),
            pl.col("_partial").sum().alias(PARTIAL),
            pl.col("_limit").sum().alias(LIMIT),
            pl.col("_unread").sum().alias(UNREAD),
            pl.col("_early").sum().alias(EARLY),
        ).row(0, named=True)
        counts: Counter[str] = Counter({reason: int(n or 0) for reason, n in sums.items()})
        counts[LOST] += lost
        if self._notes:
            kept = set(good.select("table", "source_row").unique().iter_rows())
            counts.update(reason for table, row, reason in self._notes if (table, row) in kept)
        for reason, n in counts.items():
            if n:
                self._adjusted[reason] = self._adjusted.get(reason, 0) + n


def _first(paths: tuple[Path, ...], item: Any, context: Context) -> Any:
    for path in paths:
        value = path.first(item, context)
        if value is not None:
            return value
    return None


def _first_text(paths: tuple[Path, ...], item: Any, context: Context) -> tuple[str | None, str | None]:
    for path in paths:
        value = path.first(item, context)
        if isinstance(value, str) and value.strip():
            return value.strip(), path.field
    return None, None


def _with_times(events: pl.DataFrame) -> pl.DataFrame:
    """Add the columns of RAW that are missing, whether an event is usable, and what was changed in it."""
    read = _read_times(pl.concat([events["_time"], events["_known"]]).drop_nulls().unique())
    stamps = read.select("_text", "time", "_end", "_partial", "_zoned", "_dated")
    known = read.select("_text", pl.col("_end").alias("_known_at"))
    joined = events.join(stamps, left_on="_time", right_on="_text", how="left", maintain_order="left").join(
        known, left_on="_known", right_on="_text", how="left", maintain_order="left"
    )
    stated = pl.col("_known").is_not_null()
    usable = pl.col("_known_at").is_not_null() & (pl.col("_known_at") >= pl.col("time"))
    whole = pl.when(pl.col("_partial") & (pl.col("code") != "MEDS_BIRTH")).then("_end")
    value = pl.col("numeric_value").cast(pl.Float32)
    return joined.with_columns(
        pl.when("_dated").then(pl.lit("day")).alias("time_precision"),
        pl.coalesce(pl.when(stated & usable).then("_known_at"), whole).cast(TIME).alias("available_time"),
        pl.when(value.is_finite()).then(value).alias("numeric_value"),
        (pl.col("_static") | pl.col("time").is_not_null()).alias("_good"),
        (stated & ~usable.fill_null(False)).alias("_early"),
    )


def _read_times(texts: pl.Series) -> pl.DataFrame:
    """Return each text's time, the end of the day, month or year that it names, and what kind of text it is."""
    text = pl.col("_text")
    year, month, day = (text.str.contains(pattern) for pattern in (_YEAR, _MONTH, _DAY))
    whole = pl.when(year).then(text + "-01-01").when(month).then(text + "-01").otherwise(text)
    stamp = pl.col("time")
    last = pl.duration(microseconds=1)
    end = (
        pl.when(year).then(stamp.dt.offset_by("1y") - last)
        .when(month).then(stamp.dt.offset_by("1mo") - last)
        .when(day).then(stamp.dt.offset_by("1d") - last)
        .otherwise(stamp)
    )  # fmt: skip
    return (
        pl.DataFrame({"_text": texts}, schema={"_text": pl.String})
        .with_columns(whole.alias("_whole"))
        .with_columns(
            moment("_whole").alias("time"),
            (year | month).alias("_partial"),
            (year | month | day).alias("_dated"),
            text.str.contains(_ZONE).alias("_zoned"),
        )
        .with_columns(end.alias("_end"))
    )
