"""Every registered record format keeps the contract, and each check catches a format that breaks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genomix.io.availability import DEFAULT_RULES, AvailabilityRules
from genomix.io.meds import MedsFormat, read_meds
from genomix.io.record_format import RecordReport, RecordSet
from genomix.registry import members
from tests.contracts.record_files import SOURCES, Source
from tests.contracts.record_format import (
    check_accounts_for_every_row,
    check_events_keep_the_schema,
    check_is_recognised,
    check_order_of_rows_does_not_matter,
    check_rejects_bad_input,
    check_round_trip,
)

FORMATS = members("genomix.io", "RECORD_FORMAT")
CHECKS = (
    check_accounts_for_every_row, check_events_keep_the_schema, check_order_of_rows_does_not_matter, check_round_trip,
    check_rejects_bad_input,
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_has_a_source_to_be_tested_on(name: str) -> None:
    assert [s for s in SOURCES if s.format == name], f"say in record_files.py how to write a {name} source"


@pytest.mark.parametrize("source", [pytest.param(s, id=s.label) for s in SOURCES])
@pytest.mark.parametrize("check", CHECKS)
def test_every_format_keeps_the_contract(check: Any, source: Source, tmp_path: Path) -> None:
    check(FORMATS[source.format], source, tmp_path / "x")


@pytest.mark.parametrize("source", [pytest.param(s, id=s.label) for s in SOURCES])
def test_a_source_is_recognised_by_its_format_alone(source: Source, tmp_path: Path) -> None:
    check_is_recognised(FORMATS[source.format], FORMATS, source, tmp_path / "x")


class _Changed(MedsFormat):
    """MEDS, with one thing spoilt."""

    name = "changed"

    def read(self, path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
        return self.spoil(read_meds(path, availability=availability))

    def spoil(self, found: RecordSet) -> RecordSet:
        return found


class _Swallowing(_Changed):
    """Leaves the last event out and does not say so."""

    def spoil(self, found: RecordSet) -> RecordSet:
        report = found.report
        less = RecordReport("x", report.rows_read - 1, report.rows_kept - 1, report.dropped)
        return found._replace(events=found.events[:-1], report=less)


class _Miscounting(_Changed):
    def spoil(self, found: RecordSet) -> RecordSet:
        return found._replace(events=found.events[:-1])


class _Deduplicating(_Changed):
    """Drops a repeated row under a reason, but it was a record of its own."""

    def spoil(self, found: RecordSet) -> RecordSet:
        events = found.events.unique(maintain_order=True)
        gone = found.events.height - events.height
        report = replace(found.report, rows_kept=events.height, dropped={**found.report.dropped, "repeated": gone})
        return found._replace(events=events, report=report)


class _Early(_Changed):
    """Says that everything was known at the start of its day."""

    def spoil(self, found: RecordSet) -> RecordSet:
        day = pl.col("time").dt.truncate("1d").alias("available_time")
        return found._replace(events=found.events.with_columns(day))


class _InFileOrder(_Changed):
    def spoil(self, found: RecordSet) -> RecordSet:
        return found._replace(events=found.events.reverse())


class _Forgiving(_Changed):
    """Takes a file that cannot be read for one without events."""

    def read(self, path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
        try:
            return read_meds(path)
        except Exception:
            return RecordSet(pl.DataFrame(), pl.DataFrame(), RecordReport("x", 0, 0))


class _Nameless(_Changed):
    def read(self, path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
        pl.read_parquet(path / "data" / "0.parquet")
        return read_meds(path)


class _FirstPersonOnly(_Changed):
    """Keeps the person of the file's first row."""

    def read(self, path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
        raw = pl.read_parquet(path / "data" / "0.parquet")
        found = read_meds(path)
        return found._replace(events=found.events.filter(pl.col("subject_id") == raw["subject_id"][0]))


class _Greedy(_Changed):
    def recognises(self, path: Path) -> bool:
        return True


BROKEN = (
    (check_accounts_for_every_row, _Swallowing(), "9 rows read of 10"),
    (check_accounts_for_every_row, _Miscounting(), "says 7 rows, gives others"),
    (check_accounts_for_every_row, _Deduplicating(), "other events than the source's"),
    (check_events_keep_the_schema, _Early(), "available before it happened"),
    (check_events_keep_the_schema, _InFileOrder(), "not sorted"),
    (check_round_trip, _InFileOrder(), "events change when written and read again"),
    (check_order_of_rows_does_not_matter, _FirstPersonOnly(), "order of rows changes the events"),
    (check_rejects_bad_input, _Forgiving(), "missing was accepted"),
    (check_rejects_bad_input, _Nameless(), "missing raised FileNotFoundError"),
)


@pytest.mark.parametrize(("check", "member", "message"), BROKEN)
def test_each_check_catches_a_broken_format(check: Any, member: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check(member, SOURCES[0], tmp_path / "x")


def test_a_format_that_claims_everything_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"recognised by .*changed.*meds"):
        check_is_recognised(FORMATS["meds"], {**FORMATS, "changed": _Greedy()}, SOURCES[0], tmp_path / "x")
