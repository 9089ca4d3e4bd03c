"""Source rows: text becomes times and numbers by stated rules, files come in bounded parts, odd rows are named."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import FormatError
from genomix.io.record_rows import EventMap, map_rows, moment, number, table_parts, unreadable, with_malformed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-03-01", datetime(2020, 3, 1)),
        (" 2020-03-01 ", datetime(2020, 3, 1)),
        ("2020-03-01 10:20", datetime(2020, 3, 1, 10, 20)),
        ("2020-03-01T10:20:30.5", datetime(2020, 3, 1, 10, 20, 30, 500000)),
        ("2020-03-01T10:20:30Z", datetime(2020, 3, 1, 10, 20, 30)),
        ("2020-03-01T00:20:30+02:00", datetime(2020, 2, 29, 22, 20, 30)),
        ("2020-03-01T10:20:30.125-0500", datetime(2020, 3, 1, 15, 20, 30, 125000)),
        ("2020-02-30", None),
        ("20-03-01", None),
        ("01/03/2020", None),
        ("2020-03-01 25:00:00", None),
        ("", None),
    ],
)
def test_moments(text: str, expected: datetime | None) -> None:
    frame = pl.DataFrame({"t": [text]})
    assert frame.select(moment("t")).item() == expected
    assert frame.select(unreadable("t")).item() == (expected is None and text != "")


@pytest.mark.parametrize(
    ("text", "expected"), [("1.5", 1.5), (" 2 ", 2.0), ("1e3", 1000.0), ("inf", None), ("<5", None)]
)
def test_numbers(text: str, expected: float | None) -> None:
    assert pl.DataFrame({"v": [text]}).select(number("v")).item() == expected


def test_one_row_may_give_several_events_and_counts_once() -> None:
    frame = pl.DataFrame({"who": ["1", "2"], "start": ["2020-01-01", "2020-01-01"], "end": ["2020-01-02", ""]})
    rows = map_rows(
        frame, table="visit", file="visit.csv", first_row=1, subject=pl.col("who"),
        events=[EventMap(pl.lit("START"), moment("start")), EventMap(pl.lit("END"), moment("end"))],
    )  # fmt: skip
    assert rows.events.select("source_row", "subject_id", "code").rows() == [
        (0, "1", "START"), (0, "1", "END"), (1, "2", "START"),
    ]  # fmt: skip
    assert rows.dropped.height == 0


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_a_file_comes_in_parts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    frame = pl.DataFrame({"A": [str(i) for i in range(10)], "b": ["x,y" if i % 2 else "" for i in range(10)]})
    text = frame.write_csv(separator="\t" if suffix == ".tsv" else ",", quote_style="always").encode()
    if suffix == ".parquet":
        frame.write_parquet(path)
    else:
        path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    parts = list(table_parts(path, rows=4))
    assert [(p.first_row, p.frame.height) for p in parts] == [(1, 4), (5, 4), (9, 2)]
    assert parts[0].frame.columns == ["a", "b"]
    assert pl.concat([p.frame for p in parts])["b"].to_list() == frame["b"].to_list()


def test_rows_of_another_width_are_told_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,b\n1,2\n3\n4,"5\n6"\n7,8,9\n')
    parts = list(table_parts(tmp_path / "x.csv"))
    assert parts[0].frame.rows() == [("1", "2"), ("4", "5\n6")]
    found = [m for p in parts for m in p.malformed]
    assert [what for _, what in found] == ["the row has 1 columns, the header 2", "the row has 3 columns, the header 2"]
    mapped = map_rows(
        parts[0].frame, table="t", file="x.csv", first_row=1, subject=pl.col("a"), events=[EventMap(pl.lit("C"))]
    )
    whole = with_malformed(mapped, found)
    assert whole.n_rows == 4
    assert whole.dropped["source_row"].to_list() == [2, 3]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.csv", b"", "is empty"),
        ("x.csv", b"a,A\n1,2\n", "two columns are named 'a'"),
        ("x.csv", b"a,b\n\xff\xfe,2\n", "cannot be read as a table"),
        ("x.csv.gz", gzip.compress(b"a,b\n1,2\n" * 500, mtime=0)[:-9], "cannot be read as a table"),
        ("x.parquet", b"PAR1nonsense", "not a whole Parquet file"),
    ],
    ids=["empty", "repeated name", "not UTF-8", "cut gzip", "not Parquet"],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FormatError, match=words) as error:
        list(table_parts(tmp_path / name))
    assert error.value.where == str(tmp_path / name)


def test_times_in_parquet_become_text_that_reads_back(tmp_path: Path) -> None:
    stamps = pl.Series([datetime(2020, 1, 1, 1, 2, 3, 4), datetime(2020, 1, 2)])
    zoned = stamps.dt.replace_time_zone("Europe/Berlin")
    pl.DataFrame({"a": stamps, "b": zoned, "c": stamps.cast(pl.Date)}).write_parquet(tmp_path / "x.parquet")
    part = next(iter(table_parts(tmp_path / "x.parquet"))).frame
    read = part.select(moment("a").alias("a"), moment("b").alias("b"), moment("c").alias("c"))
    assert read["a"].to_list() == stamps.to_list()
    assert read["b"].to_list() == zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_list()
    assert read["c"].to_list() == [datetime(2020, 1, 1), datetime(2020, 1, 2)]


def test_rows_of_several_chunks_are_mapped_as_one() -> None:
    frame = pl.concat([pl.DataFrame({"who": ["1"] * n}) for n in (3, 2)], rechunk=False)
    rows = map_rows(
        frame, table="t", file="t.csv", first_row=1, subject=pl.col("who"), events=[EventMap(pl.lit("FACT"))]
    )
    assert frame.n_chunks() == 2
    assert rows.events["source_row"].to_list() == [0, 1, 2, 3, 4]
