"""Reading MEDS in every dialect, accounting for every row, and writing MEDS 0.4."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.meds import read_meds, write_meds
from genomix.io.record_format import RecordReport, recognise, record_format, to_events
from genomix.schemas.events import EVENTS

NOON = datetime(2020, 3, 1, 12)


def raw(**columns: list[object]) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    filled = {"subject_id": [1] * n, "time": [NOON] * n, "code": ["A"] * n, **columns}
    return pl.DataFrame(filled, strict=False)


def dataset(folder: Path, **files: pl.DataFrame) -> Path:
    (folder / "data").mkdir(parents=True)
    for name, frame in files.items():
        frame.write_parquet(folder / "data" / f"{name}.parquet")
    return folder


def test_older_dialect_is_read(tmp_path: Path) -> None:
    old = raw(code=["LAB//1//mg/dL", "LAB//2//UNK"], table=["labs", "labs"], value=[5.0, 7.0])
    found = read_meds(dataset(tmp_path / "d", a=old))
    assert found.events["numeric_value"].to_list() == [5.0, 7.0]
    assert found.events["unit"].to_list() == ["mg/dL", None]
    assert found.events.schema == EVENTS.empty().schema
    assert found.report.rows_read == found.report.rows_kept == 2


def test_numeric_value_wins_over_value(tmp_path: Path) -> None:
    both = raw(numeric_value=[1.0], value=[2.0])
    assert read_meds(dataset(tmp_path / "d", a=both)).events["numeric_value"].to_list() == [1.0]


def test_label_file_inside_data_is_left_out_and_reported(tmp_path: Path) -> None:
    labels = pl.DataFrame({"subject_id": [1, 2], "prediction_time": [NOON, NOON], "boolean_value": [True, False]})
    found = read_meds(dataset(tmp_path / "d", a=raw(code=["A", "B"]), labels=labels))
    assert found.events.height == 2
    (left,) = found.report.left_out
    assert (left.file, left.rows) == ("data/labels.parquet", 2)
    assert "a label file" in left.reason
    assert "prediction_time" in left.reason


def test_label_file_alone_is_an_error_that_names_it(tmp_path: Path) -> None:
    labels = pl.DataFrame({"subject_id": [1], "prediction_time": [NOON], "boolean_value": [True]})
    with pytest.raises(FormatError, match=r"labels\.parquet is a label file"):
        read_meds(dataset(tmp_path / "d", labels=labels))


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    text = pl.DataFrame(
        {
            "subject_id": ["1", None, "x7", "2", "2", "3", "3"],
            "time": [
                "2020-01-02",
                "2020-01-02",
                "2020-01-02",
                "soon",
                None,
                "2020-01-02 03:04",
                "2020-01-02T03:04:05.5",
            ],
            "code": ["A", "A", "A", "A", "STATIC", "", "B"],
        }
    )
    report = read_meds(dataset(tmp_path / "d", a=text)).report
    assert report.rows_read == 7
    assert report.rows_kept == 3
    assert report.dropped == {
        "code is missing or empty": 1,
        "subject is missing or not an integer": 2,
        "time cannot be read": 1,
    }
    with pytest.raises(AssertionError):
        RecordReport("x", 3, 1, {"a": 1})


def test_times_of_every_kind_become_naive_microseconds() -> None:
    zoned = raw(time=[NOON]).with_columns(pl.col("time").dt.replace_time_zone("Europe/Berlin"))
    assert to_events(zoned, source_format="t").events["time"].to_list() == [datetime(2020, 3, 1, 11)]
    nano = raw(time=[NOON]).with_columns(pl.col("time").cast(pl.Datetime("ns")))
    assert to_events(nano, source_format="t").events["time"].to_list() == [NOON]
    days = to_events(raw(time=[date(2020, 3, 1)]), source_format="t").events
    assert days["time_precision"].to_list() == ["day"]
    assert days["available_time"].to_list() == [datetime(2020, 3, 1, 23, 59, 59, 999999)]
    with pytest.raises(FormatError, match="time is"):
        to_events(raw(time=[1.5]), source_format="t")


def test_not_finite_values_become_missing_and_are_counted() -> None:
    found = to_events(raw(numeric_value=[1.0, float("inf"), float("nan"), 1e300]), source_format="t")
    assert sorted(found.events["numeric_value"].to_list(), key=str) == [1.0, None, None, None]
    assert found.report.adjusted == {"infinite numeric value made missing": 2}


def test_unit_column_wins_over_the_code_and_needs_a_value() -> None:
    frame = raw(code=["LAB//1//mg/dL"] * 3, numeric_value=[1.0, None, 2.0], unit=["mmol/L", None, " N/A "])
    found = to_events(frame, source_format="t").events.sort("numeric_value", nulls_last=True)
    assert found["unit"].to_list() == ["mmol/L", None, None]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    dataset(tmp_path / "d", a=raw(code=["A"]))
    (tmp_path / "d" / "data" / "b.parquet").write_bytes(content)
    with pytest.raises(FormatError, match=r"b\.parquet"):
        read_meds(tmp_path / "d")


def test_truncated_file_is_an_error(tmp_path: Path) -> None:
    path = dataset(tmp_path / "d", a=raw(code=["A"] * 1000)) / "data" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match="whole Parquet"):
        read_meds(tmp_path / "d")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError):
        read_meds(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputNotFoundError, match="no Parquet"):
        read_meds(tmp_path / "empty")


def test_order_of_rows_and_files_does_not_matter(tmp_path: Path) -> None:
    frame = raw(subject_id=[2, 1, 1, 2], code=["B", "A", "C", "A"], numeric_value=[1.0, None, 3.0, 2.0])
    one = read_meds(dataset(tmp_path / "one", a=frame))
    two = read_meds(dataset(tmp_path / "two", a=frame[2:].reverse(), z=frame[:2]))
    assert one.events.equals(two.events)


def test_written_dataset_is_meds_and_its_bytes_depend_on_events_only(tmp_path: Path) -> None:
    meds = pytest.importorskip("meds")
    import pyarrow.parquet as pq

    words = pl.DataFrame({"code": ["A", "unused"], "description": ["alpha", "omega"]})
    frame = raw(code=["B", "A", "A"], time=[None, NOON, NOON], numeric_value=[None, 2.0, 1.0], unit=[None, "kg", "kg"])
    events = to_events(frame, source_format="t").events
    write_meds(events, tmp_path / "a", descriptions=words)
    write_meds(events.reverse(), tmp_path / "b", descriptions=words.reverse())
    for name in ("data/0.parquet", "metadata/codes.parquet", "metadata/dataset.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    meds.DataSchema.validate(pq.read_table(tmp_path / "a" / "data" / "0.parquet"))
    meds.CodeMetadataSchema.validate(pq.read_table(tmp_path / "a" / "metadata" / "codes.parquet"))
    meds.DatasetMetadataSchema.validate(json.loads((tmp_path / "a" / "metadata" / "dataset.json").read_text()))
    again = read_meds(tmp_path / "a")
    assert again.events.equals(events)
    assert again.descriptions.to_dicts() == [{"code": "A", "description": "alpha"}]


def test_formats_are_members_of_the_registry(tmp_path: Path) -> None:
    assert record_format("meds").name == "meds"
    assert recognise(dataset(tmp_path / "d", a=raw(code=["A"]))).name == "meds"
