"""A source becomes a sharded dataset: the same events however it is cut, every row accounted for, no identifier out."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from genomix.ehr.conversion import convert_records, identifiers_path
from genomix.ehr.units import harmonise_units
from genomix.errors import FormatError, OutputError
from genomix.io.availability import AvailabilityRule, AvailabilityRules
from genomix.io.meds import RECORD_FORMAT, read_meds, write_meds
from genomix.io.record_conversion import read_scan, subject_numbers
from genomix.io.record_rows import EventMap, LeftOutFile, RawRows, RowCheck, map_rows, moment, number, unreadable

ROWS = [
    ("p1", "2020-01-01", "ADMIT", None),
    ("p1", "2020-01-03 12:00:00", "DISCHARGE", None),
    ("p1", "2020-01-02", "PROC", "1"),
    ("p2", "2020-02-30", "LAB", "2"),
    ("", "2020-02-03", "LAB", "2"),
    ("p2", "2020-02-03T10:00:00Z", "LAB", "7"),
    ("p3", "2020-05-01", "", "7"),
]


class Scan:
    """A source in memory, in parts of a given size."""

    source_format = "toy"

    def __init__(self, rows: list[tuple[str, str, str, str | None]], size: int = 2) -> None:
        self._rows, self._size = rows, size
        self.rules: tuple[AvailabilityRule, ...] = (AvailabilityRule("PROC", "discharge", "billing", "toy"),)
        self.left_out: list[LeftOutFile] = []
        self.adjusted: dict[str, int] = {}

    def parts(self) -> Iterator[RawRows]:
        for start in range(0, len(self._rows), self._size):
            part = self._rows[start : start + self._size]
            frame = pl.DataFrame(part, schema=["who", "when", "what", "value"], orient="row")
            codes = {"ADMIT": "HOSPITAL_ADMISSION", "DISCHARGE": "HOSPITAL_DISCHARGE"}
            yield map_rows(
                frame, table="toy", file="toy.csv", first_row=start + 1, subject=pl.col("who"),
                events=[
                    EventMap(
                        pl.col("what").replace(codes), moment("when"), numeric_value=number("value"),
                        day=pl.col("when").str.len_chars() == 10,
                    )
                ],
                checks=[RowCheck("date cannot be read", unreadable("when"), "when")],
            )  # fmt: skip
        self.left_out.append(LeftOutFile("notes.txt", 3, "not a table"))

    def descriptions(self) -> pl.DataFrame:
        return pl.DataFrame({"code": ["LAB"], "description": ["a test"]})


def test_every_row_is_an_event_or_dropped_with_its_place(tmp_path: Path) -> None:
    done = convert_records(Scan(ROWS), tmp_path / "o", n_rows=7)
    report = done.report
    assert (report.rows_read, report.rows_kept) == (7, 4)
    assert report.dropped == {
        "date cannot be read": 1, "nothing in the row is an event": 1, "subject is missing": 1,
    }  # fmt: skip
    assert report.tables["toy"]["events"] == 4
    assert [(s["row"], s["field"], s["value"]) for s in report.samples] == [
        (4, "when", "2020-02-30"), (7, None, None), (5, "subject", None),
    ]  # fmt: skip
    assert report.left_out[0].file == "notes.txt"
    assert json.loads((tmp_path / "o/metadata/conversion.json").read_text())["records"]["rows_read"] == 7


def test_availability_follows_the_format_and_the_study(tmp_path: Path) -> None:
    events = read_scan(Scan(ROWS)).events
    procedure = events.row(by_predicate=pl.col("code") == "PROC", named=True)
    assert procedure["available_time"] == datetime(2020, 1, 3, 12)
    study = AvailabilityRules((AvailabilityRule("PROC", "end_of_day", "known the same day", "toy"),))
    again = read_scan(Scan(ROWS), availability=study).events.row(by_predicate=pl.col("code") == "PROC", named=True)
    assert again["available_time"] == datetime(2020, 1, 2, 23, 59, 59, 999999)
    _ = tmp_path


@pytest.mark.parametrize(("size", "n_rows"), [(1, 7), (3, 7), (100, 7), (2, 40_000)])
def test_how_a_source_is_cut_changes_nothing_but_the_shards(tmp_path: Path, size: int, n_rows: int) -> None:
    convert_records(Scan(ROWS, size), tmp_path / "o", n_rows=n_rows, events_per_shard=10_000)
    events = read_meds(tmp_path / "o").events
    whole = read_scan(Scan(ROWS)).events
    assert events.equals(harmonise_units(whole).events.sort(whole.columns))
    homes = [set(pl.read_parquet(f)["subject_id"]) for f in sorted((tmp_path / "o/data").glob("*.parquet"))]
    assert sum(map(len, homes)) == len(set().union(*homes))
    assert (len(homes) > 1) == (n_rows == 40_000)


def test_identifiers_stay_in_a_file_of_their_owner(tmp_path: Path) -> None:
    done = convert_records(Scan(ROWS), tmp_path / "o", n_rows=7)
    path = identifiers_path(tmp_path / "o")
    assert done.identifiers == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pl.read_parquet(path).rows() == [("p1", 1), ("p2", 2)]
    for file in (p for p in (tmp_path / "o").rglob("*") if p.is_file()):
        assert b"p1" not in file.read_bytes(), file.name
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".genomix")]


@pytest.mark.parametrize(
    ("given", "are_numbers"),
    [
        (["1", "20"], True),
        (["0", "-5"], True),
        (["007", "7"], False),
        (["1", "x"], False),
        (["9223372036854775807", "-9223372036854775808"], True),
        (["9223372036854775808"], False),
    ],
)
def test_numbers_stay_as_they_are_only_where_nothing_is_lost(given: list[str], are_numbers: bool) -> None:
    assert (subject_numbers(pl.Series(given)) is None) == are_numbers


def test_nothing_is_written_where_something_is_or_nothing_would_be(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        convert_records(Scan(ROWS), tmp_path / "o", n_rows=7)
    with pytest.raises(FormatError, match="no row is an event") as error:
        convert_records(Scan(ROWS[3:5]), tmp_path / "p", n_rows=7)
    assert "1 subject is missing" in str(error.value.hint)
    assert [p.name for p in tmp_path.iterdir()] == ["o"]


def test_meds_in_parts_is_meds_at_once(tmp_path: Path) -> None:
    events = read_scan(Scan(ROWS)).events
    write_meds(events, tmp_path / "in")
    assert read_scan(RECORD_FORMAT.scan(tmp_path / "in")).events.equals(events)


def test_units_are_decided_by_the_whole_source(tmp_path: Path) -> None:
    rows = [
        (i, datetime(2020, 1, 1, 1), "LAB//glucose", 90.0 + i, "mg/dL" if i % 3 else "mmol/L") for i in range(1, 40)
    ]
    raw = pl.DataFrame(rows, schema=["subject_id", "time", "code", "numeric_value", "unit"], orient="row")
    (tmp_path / "in").mkdir()
    raw.write_parquet(tmp_path / "in/x.parquet")
    done = convert_records(RECORD_FORMAT.scan(tmp_path / "in"), tmp_path / "o", n_rows=40_000, events_per_shard=1_000)
    expected = harmonise_units(read_meds(tmp_path / "in").events)
    assert done.n_shards > 3
    assert done.units is not None
    assert done.units.table.equals(expected.report.table)
    assert read_meds(tmp_path / "o").events.equals(expected.events.sort(expected.events.columns))


def test_a_discharge_that_is_a_date_is_known_at_the_end_of_its_day() -> None:
    rows: list[tuple[str, str, str, str | None]] = [
        ("1", "2020-01-01", "ADMIT", None),
        ("1", "2020-01-02", "PROC", "1"),
        ("1", "2020-01-04", "DISCHARGE", None),
    ]
    events = read_scan(Scan(rows)).events
    known = events.row(by_predicate=pl.col("code") == "PROC", named=True)["available_time"]
    assert known == datetime(2020, 1, 4, 23, 59, 59, 999999)
