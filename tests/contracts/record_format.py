"""What every format of health records promises: each row an event or dropped for a counted reason; bad input named."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.meds import read_meds, write_meds
from genomix.io.record_format import RecordSet
from genomix.provenance import canonical_json
from genomix.schemas.events import EVENTS
from tests.contracts.record_files import KEPT, ROWS, Source
from tests.contracts.refusal import refusal

TOLD = ("subject_id", "time", "code", "numeric_value", "unit", "text_value")


def check_accounts_for_every_row(member: Any, source: Source, folder: Path) -> None:
    """Rows read = rows kept + rows dropped by reason, and the kept rows are the source's."""
    found: RecordSet = member.read(source.write(folder, ROWS))
    report = found.report
    dropped = sum(report.dropped.values())
    n_read = len(ROWS) if source.n_read is None else source.n_read
    assert report.rows_read == n_read, f"{member.name}: {report.rows_read} rows read of {n_read}"
    n_events = report.rows_kept if report.n_events is None else report.n_events
    assert n_events == found.events.height, f"{member.name}: says {n_events} rows, gives others"
    assert report.rows_read == report.rows_kept + dropped, f"{member.name}: a row is neither kept nor dropped"
    assert all(report.dropped), f"{member.name}: rows are dropped without a reason"
    events = Counter(found.events.select(TOLD).rows())
    truth = Counter(source.kept)
    assert events == truth, f"{member.name}: other events than the source's: {events - truth}"
    text = canonical_json(report.as_json()).decode()
    assert str(folder) not in text, f"{member.name}: the report holds a path"


def check_events_keep_the_schema(member: Any, source: Source, folder: Path) -> None:
    """The EVENTS columns, sorted; nothing is known before it happened; what has no time has no availability."""
    events = member.read(source.write(folder, ROWS)).events
    EVENTS.validate(events)
    assert events.columns == EVENTS.names, f"{member.name}: columns {events.columns}"
    assert events.equals(events.sort(EVENTS.names)), f"{member.name}: events are not sorted"
    static = pl.col("time").is_null()
    wrong = events.filter(static != pl.col("available_time").is_null())
    assert not wrong.height, f"{member.name}: an event has a time and no availability, or the reverse"
    early = events.filter(pl.col("available_time") < pl.col("time"))
    assert not early.height, f"{member.name}: an event is available before it happened"
    precision = set(events.filter(static)["time_precision"]) | {"static"}
    assert precision == {"static"}, f"{member.name}: an event without a time is not called static"


def check_order_of_rows_does_not_matter(member: Any, source: Source, folder: Path) -> None:
    """The same rows in another order give the same events and the same account."""
    one = member.read(source.write(folder / "one", ROWS))
    other = member.read(source.write(folder / "other", ROWS[::-1]))
    assert one.events.equals(other.events), f"{member.name}: the order of rows changes the events"
    same = replace(one.report, samples=()) == replace(other.report, samples=())  # samples say where a row stands
    assert same, f"{member.name}: the order of rows changes the account"


def check_round_trip(member: Any, source: Source, folder: Path) -> None:
    """Events written as MEDS and read back are the same events with the same descriptions."""
    found = member.read(source.write(folder / "in", ROWS))
    write_meds(found.events, folder / "out", descriptions=found.descriptions)
    again = read_meds(folder / "out")
    assert again.events.equals(found.events), f"{member.name}: events change when written and read again"
    assert again.descriptions.equals(found.descriptions), f"{member.name}: descriptions change"
    assert again.report.rows_read == found.events.height
    assert not again.report.dropped, f"{member.name}: a written event is dropped when read again"


def check_rejects_bad_input(member: Any, source: Source, folder: Path) -> None:
    """A missing, empty, cut or foreign file, and a source without events, are refused, naming the file."""
    kinds = ("missing", "empty", "foreign") if source.is_text else ("missing", "empty", "cut", "foreign")
    for what in kinds:
        path = source.write(folder / what, ROWS)
        file = source.data_file(path)
        data = file.read_bytes()
        if what == "missing":
            file.unlink()
        else:
            file.write_bytes({"empty": b"", "cut": data[: len(data) * 2 // 3], "foreign": b"\x89PNG\r\n" + data}[what])
        of_source = what == "missing" or (what == "empty" and source.may_be_empty)
        _refused(member, path, path if of_source else file, what)
    path = source.write(folder / "nothing", [])
    _refused(member, path, path, "a source without rows")
    path = source.write(folder / "no event", [r for r in ROWS if r not in KEPT and r[1] is not None])
    _refused(member, path, path, "a source without events")


def _refused(member: Any, path: Path, named: Path, what: str) -> None:
    before = sorted(path.parent.rglob("*"))
    error = refusal(lambda: member.read(path), (FormatError, InputNotFoundError), f"{member.name}: {what}")
    assert str(named) in (error.where or ""), f"{member.name}: {what}: the error names {error.where}"
    assert sorted(path.parent.rglob("*")) == before, f"{member.name}: {what} leaves a file behind"


def check_is_recognised(member: Any, others: dict[str, Any], source: Source, folder: Path) -> None:
    """The format recognises its own source, and no other format does."""
    path = source.write(folder, ROWS)
    claimed = sorted(name for name, other in {**others, member.name: member}.items() if other.recognises(path))
    assert claimed == [member.name], f"{source.label} is recognised by {claimed}, not by {member.name} alone"
