"""From a source of health records to a sharded MEDS dataset, in bounded memory, with every source row accounted for.

The source is read once. Its raw events wait in files, one for each bucket of people, so that a whole person is in one
bucket; each bucket then becomes one shard. Memory is bounded by a part of the source and by a bucket, not by the
source; of every person an identifier is kept.

Identifiers that are not integers (FHIR's UUIDs, hospital numbers) become 1, 2, … in their sorted order; which is which
stands in a file of its own that only its owner may read.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.availability import DEFAULT_RULES, AvailabilityRules, count_midnights
from genomix.io.record_format import LeftOut, RecordFormat, RecordReport, RecordSet, finish_events
from genomix.io.record_rows import RAW, RawRows, RecordScan
from genomix.provenance import scratch_errors
from genomix.schemas.events import EVENTS

EVENTS_PER_SHARD = 4_000_000
EVENTS_PER_WRITE = 50_000
"""Events that are handled at once at least: many small files would otherwise cost a fixed price each."""
SAMPLES_PER_REASON = 5
_INTEGER = r"^(?:0|-?[1-9]\d*)$"

Progress = Callable[[str, int], None]
"""Called with the table and the rows read so far."""


@dataclass
class TableAccount:
    """What became of the rows of one source table: ``rows_read == rows_kept + sum(dropped.values())``."""

    rows_read: int = 0
    rows_kept: int = 0
    events: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class DroppedRow(NamedTuple):
    """One of the rows that were dropped: where it stands, and the field that was wrong (never an identifier)."""

    file: str
    row: int
    reason: str
    field: str | None
    value: str | None


class Spooled(NamedTuple):
    """What one pass over a source found out, its raw events being on disk.

    ``midnights``: see :func:`~genomix.io.availability.count_midnights`; ``subjects``: every identifier, sorted.
    """

    buckets: tuple[Path, ...]
    tables: dict[str, TableAccount]
    samples: tuple[DroppedRow, ...]
    midnights: pl.DataFrame
    subjects: pl.Series
    n_events: int


def rules_for(scan: RecordScan, study: AvailabilityRules) -> AvailabilityRules:
    """Return a study's rules followed by the format's own, which come before the shipped ones."""
    shipped = {(r.table, r.prefix) for r in DEFAULT_RULES.rules}
    own = tuple(r for r in study.rules if (r.table, r.prefix) not in shipped or r not in DEFAULT_RULES.rules)
    taken = {(r.table, r.prefix) for r in own}
    added = tuple(r for r in scan.rules if (r.table, r.prefix) not in taken)
    taken |= {(r.table, r.prefix) for r in added}
    rest = tuple(r for r in study.rules if r not in own and (r.table, r.prefix) not in taken)
    return replace(study, rules=own + added + rest)


def spool_source(
    scan: RecordScan,
    folder: Path,
    *,
    rules: AvailabilityRules,
    n_buckets: int = 1,
    where: str | None = None,
    progress: Progress | None = None,
) -> Spooled:
    """Read a source once and write its raw events into ``folder``, by bucket of people.

    Raises
    ------
    FormatError: when no row of the source is an event.
    """
    tables: dict[str, TableAccount] = defaultdict(TableAccount)
    samples: dict[tuple[str, str], list[DroppedRow]] = defaultdict(list)
    midnights: list[pl.DataFrame] = []
    subjects: list[pl.Series] = []
    rows = 0
    waiting: list[pl.DataFrame] = []
    n_waiting = 0
    with scratch_errors(folder), ExitStack() as stack:
        writers = _Buckets(folder, n_buckets, stack)

        def write_waiting() -> None:
            if waiting:
                raw = pl.concat(waiting)
                midnights.append(count_midnights(raw.filter(pl.col("time_precision").is_null()), rules))
                subjects.append(raw["subject_id"].unique())
                writers.write(raw)
                waiting.clear()

        for part in scan.parts():
            _account(part, tables[part.table], samples)
            rows += part.n_rows
            if part.events.height:
                waiting.append(_with_table(part))
                n_waiting += part.events.height
                if n_waiting >= EVENTS_PER_WRITE:
                    write_waiting()
                    n_waiting = 0
            if progress is not None:
                progress(part.table, rows)
        write_waiting()
    n_events = sum(t.events for t in tables.values())
    if not n_events:
        reasons = Counter[str]()
        for table in tables.values():
            reasons.update(table.dropped)
        why = "; ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items()))
        hint = why or "the source has no rows"
        raise FormatError(f"{scan.source_format}: no row is an event", where=where, hint=hint)
    everyone = pl.concat(subjects).unique().sort()
    return Spooled(
        writers.paths, dict(sorted(tables.items())), tuple(s for k in sorted(samples) for s in samples[k]),
        _added(midnights), everyone, n_events,
    )  # fmt: skip


def _with_table(part: RawRows) -> pl.DataFrame:
    """Add the table that rules of availability go by; a source may state it row by row."""
    table = pl.col("table") if "table" in part.events.columns else pl.lit(part.table).alias("table")
    return part.events.select(*(name for name in RAW if name != "source_row"), table)


def _account(part: RawRows, table: TableAccount, samples: dict[tuple[str, str], list[DroppedRow]]) -> None:
    kept = part.events["source_row"].n_unique()
    if kept + part.dropped["source_row"].n_unique() != part.n_rows or part.dropped.height + kept != part.n_rows:
        raise AssertionError(f"{part.file}: {part.n_rows} rows read are not all accounted for")
    table.rows_read += part.n_rows
    table.rows_kept += kept
    table.events += part.events.height
    for reason, n in part.dropped["reason"].value_counts().iter_rows():
        table.dropped[reason] += n
        held = samples[part.table, reason]
        if (room := SAMPLES_PER_REASON - len(held)) > 0:
            rows = part.dropped.filter(pl.col("reason") == reason).head(room)
            for row, _, blamed, value in rows.iter_rows():
                shown = None if value is None else value[:40]
                held.append(DroppedRow(*part.place(row), reason, blamed, shown))


def _added(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return (
        pl.concat(parts).group_by("group", "table").agg(pl.col("stamps").sum(), pl.col("midnights").sum())
        .sort("group", "table")
    )  # fmt: skip


class _Buckets:
    """Files of raw events by bucket of people, opened when first needed."""

    def __init__(self, folder: Path, n: int, stack: ExitStack) -> None:
        self.paths = tuple(folder / f"{i}.arrow" for i in range(n))
        self._stack = stack
        self._writers: dict[int, Any] = {}

    def write(self, raw: pl.DataFrame) -> None:
        """Append a part's events, each to its person's bucket."""
        if len(self.paths) == 1:
            self._append(0, raw)
            return
        people = raw["subject_id"].unique().sort()
        bucket = [zlib.crc32(p.encode()) % len(self.paths) for p in people.to_list()]
        of_person = pl.DataFrame({"subject_id": people, "_bucket": pl.Series(bucket, dtype=pl.Int32)})
        joined = raw.join(of_person, on="subject_id", how="left", maintain_order="left")
        for (number,), rows in joined.partition_by("_bucket", as_dict=True).items():
            self._append(int(number), rows.drop("_bucket"))

    def _append(self, number: int, rows: pl.DataFrame) -> None:
        import pyarrow as pa

        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        if number not in self._writers:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            sink = self._stack.enter_context(pa.OSFile(str(self.paths[number]), "wb"))
            self._writers[number] = self._stack.enter_context(pa.ipc.new_stream(sink, table.schema, options=options))
        self._writers[number].write_table(table)


def subject_numbers(subjects: pl.Series) -> pl.DataFrame | None:
    """Return subject_key and subject_id where identifiers are not all whole numbers as one writes them, else None.

    ``007`` and ``7`` are two people to a source that tells them apart, so a leading zero makes all of them text.
    """
    if subjects.str.contains(_INTEGER).all() and not subjects.cast(pl.Int64, strict=False).null_count():
        return None
    return pl.DataFrame({"subject_key": subjects, "subject_id": pl.Series(range(1, len(subjects) + 1), dtype=pl.Int64)})


class FinishedBucket(NamedTuple):
    """Events of some people (schema EVENTS, sorted), and the account of their making."""

    events: pl.DataFrame
    adjusted: dict[str, int]
    applied: pl.DataFrame


def finished_buckets(
    spooled: Spooled, rules: AvailabilityRules, numbers: pl.DataFrame | None
) -> Iterator[FinishedBucket]:
    """Yield the buckets that hold anybody, each as events."""
    import pyarrow as pa

    for path in spooled.buckets:
        if not path.is_file():
            continue
        with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
            frame = pl.from_arrow(reader.read_all())
        assert isinstance(frame, pl.DataFrame)
        if numbers is None:
            frame = frame.with_columns(pl.col("subject_id").cast(pl.Int64))
        else:
            keyed = numbers.rename({"subject_id": "_number"})
            frame = frame.join(keyed, left_on="subject_id", right_on="subject_key", how="left", maintain_order="left")
            frame = frame.with_columns(pl.col("_number").alias("subject_id")).drop("_number")
        yield FinishedBucket(*finish_events(frame, rules, midnights=spooled.midnights))


def record_report(
    scan: RecordScan, spooled: Spooled, adjusted: Counter[str], applied: list[pl.DataFrame]
) -> RecordReport:
    """Return the account of a whole source."""
    dropped: Counter[str] = Counter()
    for table in spooled.tables.values():
        dropped.update(table.dropped)
    rules = (
        pl.concat(applied).group_by("rule").agg(pl.all().sum()).sort("rule")
        if applied else pl.DataFrame(schema={"rule": pl.String})
    )  # fmt: skip
    return RecordReport(
        scan.source_format,
        sum(t.rows_read for t in spooled.tables.values()),
        sum(t.rows_kept for t in spooled.tables.values()),
        dict(sorted(dropped.items())),
        dict(sorted((Counter(scan.adjusted) + adjusted).items())),
        tuple(LeftOut(*left) for left in scan.left_out),
        tuple(rules.iter_rows(named=True)),
        n_events=spooled.n_events,
        tables={
            name: {"rows_read": t.rows_read, "rows_kept": t.rows_kept, "events": t.events, "dropped": dict(t.dropped)}
            for name, t in spooled.tables.items()
        },
        samples=tuple(s._asdict() for s in spooled.samples),
    )


def read_scan(
    scan: RecordScan, *, availability: AvailabilityRules = DEFAULT_RULES, where: str | None = None
) -> RecordSet:
    """Read a source into memory whole; ``where`` names it in messages."""
    import tempfile

    rules = rules_for(scan, availability)
    with tempfile.TemporaryDirectory(prefix="genomix-") as folder:
        spooled = spool_source(scan, Path(folder), rules=rules, where=where)
        found = list(finished_buckets(spooled, rules, subject_numbers(spooled.subjects)))
    adjusted: Counter[str] = Counter()
    for bucket in found:
        adjusted.update(bucket.adjusted)
    report = record_report(scan, spooled, adjusted, [b.applied for b in found])
    events = pl.concat([b.events for b in found]).sort(EVENTS.names)
    return RecordSet(events, scan.descriptions(), report)


class ScannedFormat(ABC):
    """Base of formats that are read in parts: reading into memory is the same for all of them."""

    name: str

    @abstractmethod
    def scan(self, path: Path, *, mapping: Path | None = None) -> RecordScan:
        """Open a source."""

    def read(self, path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
        """Read everything at a path into memory."""
        return read_scan(self.scan(path), availability=availability, where=str(path))

    def no_mapping(self, mapping: Path | None) -> None:
        """Raise a :class:`ConfigError` where a mapping was given to a format that has its own."""
        if mapping is not None:
            raise ConfigError(f"the format {self.name} needs no mapping", hint="leave out --mapping")


def read_records(
    kind: RecordFormat, path: Path, *, availability: AvailabilityRules = DEFAULT_RULES, mapping: Path | None = None
) -> RecordSet:
    """Read a source of any format into memory whole.

    Parameters
    ----------
    mapping: see the format; ConfigError for a format that takes none.
    """
    return read_scan(kind.scan(path, mapping=mapping), availability=availability, where=str(path))
