"""Label tables of every kind that occurs, and what is refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.label_tables import read_labels, read_splits

T = datetime(2020, 1, 1)


def table(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"subject_id": [2, 1], "prediction_time": [T, T], **columns})


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"boolean_value": [True, False]}, [0, 1]),
        ({"value": [None, 2.5]}, [2.5, None]),
        ({"integer_value": [3, 4], "float_value": [None, None]}, [4, 3]),
        ({"boolean_value": [None, None], "float_value": [0.5, None]}, [None, 0.5]),
        ({}, [None, None]),
    ],
)
def test_labels_in_order_of_person(tmp_path: Path, columns: dict[str, object], expected: list[float | None]) -> None:
    table(**columns).write_parquet(tmp_path / "l.parquet")
    found = read_labels(tmp_path / "l.parquet")
    assert found["subject_id"].to_list() == [1, 2]
    assert found["label"].to_list() == expected
    assert found.schema["prediction_time"] == pl.Datetime("us")


def test_a_folder_of_labels_with_zones(tmp_path: Path) -> None:
    for name, zone in (("a", "UTC"), ("b", "Asia/Tokyo")):
        folder = tmp_path / name
        folder.mkdir()
        frame = table(boolean_value=[True, True], split=["train", "held_out"]).with_columns(
            pl.col("prediction_time").dt.replace_time_zone(zone).dt.cast_time_unit("ms"),
            pl.col("subject_id") + (10 if name == "b" else 0),
        )
        frame.write_parquet(folder / "0.parquet")
    found = read_labels(tmp_path)
    assert found["subject_id"].to_list() == [1, 2, 11, 12]
    assert found["prediction_time"].to_list() == [T, T, datetime(2019, 12, 31, 15), datetime(2019, 12, 31, 15)]
    assert found.columns == ["subject_id", "prediction_time", "label", "split"]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (table().drop("subject_id"), "no column 'subject_id'"),
        (table().drop("prediction_time"), "no column 'prediction_time'"),
        (table().with_columns(pl.col("subject_id").cast(pl.String)), "subject_id is String"),
        (table().with_columns(pl.col("prediction_time").dt.date()), "prediction_time Date"),
        (table().with_columns(pl.lit(1).alias("subject_id")), "2 rows share a person"),
        (table().with_columns(pl.lit(None, dtype=pl.Datetime("us")).alias("prediction_time")), "2 rows have no person"),
    ],
)
def test_what_is_no_table_of_labels(tmp_path: Path, frame: pl.DataFrame, words: str) -> None:
    frame.write_parquet(tmp_path / "l.parquet")
    with pytest.raises(FormatError, match=words):
        read_labels(tmp_path / "l.parquet")


def test_files_that_are_not_there_or_not_parquet(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError):
        read_labels(tmp_path / "none.parquet")
    with pytest.raises(InputNotFoundError):
        read_splits(tmp_path / "none.parquet")
    (tmp_path / "t.parquet").write_text("no table")
    for read in (read_labels, read_splits):
        with pytest.raises(FormatError, match="not a whole Parquet file"):
            read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pl.DataFrame({"subject_id": [1]}), "no column 'split'"),
        (pl.DataFrame({"subject_id": [1], "split": ["test"]}), "split 'test' is unknown"),
        (pl.DataFrame({"subject_id": [1, 1], "split": ["train", "train"]}), "in the table twice"),
    ],
)
def test_what_is_no_split(tmp_path: Path, frame: pl.DataFrame, words: str) -> None:
    frame.write_parquet(tmp_path / "s.parquet")
    with pytest.raises(FormatError, match=words):
        read_splits(tmp_path / "s.parquet")
