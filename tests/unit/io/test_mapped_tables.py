"""Tables by a mapping: long and wide, lookups, conditions, times; every row an event or dropped for its reason."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, InputNotFoundError
from genomix.io.csv_records import RECORD_FORMAT
from genomix.io.record_conversion import read_records
from genomix.io.record_format import RecordSet, recognise
from genomix.io.shipped_mappings import shipped_mapping

LONG = """
subject = "PatientID"
missing = ["?"]
[[table]]
file = "labs"
join = { file = "items", on = "item", columns = ["label"] }
drop = { when = "{error} == '1'", why = "entered in error" }
time_formats = { seen = "%d.%m.%Y %H:%M" }
[[table.event]]
code = "LAB//{item}"
description = "{label}"
time = "seen"
available = "stored"
value = "result"
text = "result"
unit = "'mg/dL'"
when = "{item} is not empty"
[[availability]]
prefix = "LAB"
available = "as_stamped"
"""
LABS = """PatientID,Item,Seen,Stored,Result,Error
1,gluc,01.02.2020 08:30,2020-02-01 10:00,90,0
1,gluc,02.02.2020 08:30,2020-02-01 10:00,<5,0
2,gluc,31.02.2020 08:30,,90,0
2,gluc,,,90,0
,gluc,01.02.2020 08:30,,90,0
2,gluc,01.02.2020 08:30,,90,1
2,?,01.02.2020 08:30,,90,0
3,crea,01.02.2020 08:30,,?,
"""


def write(folder: Path, mapping: str = LONG, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mapping.toml").write_text(mapping)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def read(folder: Path) -> RecordSet:
    return read_records(RECORD_FORMAT, folder)


def rows(found: RecordSet, *names: str) -> list[tuple[Any, ...]]:
    return found.events.select(*names).rows()


def test_a_long_table_row_by_row(tmp_path: Path) -> None:
    found = read(write(tmp_path / "x", labs=LABS, items="item,label\ngluc,glucose\n"))
    assert rows(found, "subject_id", "time", "code", "numeric_value", "text_value", "unit", "available_time") == [
        (1, datetime(2020, 2, 1, 8, 30), "LAB//gluc", 90.0, None, "mg/dL", datetime(2020, 2, 1, 10)),
        (1, datetime(2020, 2, 2, 8, 30), "LAB//gluc", None, "<5", None, datetime(2020, 2, 2, 8, 30)),
        (3, datetime(2020, 2, 1, 8, 30), "LAB//crea", None, None, None, datetime(2020, 2, 1, 8, 30)),
    ]
    assert found.report.dropped == {
        "time cannot be read": 1, "there is no time": 1, "subject is missing": 1, "entered in error": 1,
        "nothing in the row is an event": 1,
    }  # fmt: skip
    assert found.report.rows_read == 8
    assert dict(found.descriptions.iter_rows()) == {"LAB//gluc": "glucose"}
    assert {(f.file, f.rows, f.reason) for f in found.report.left_out} == {("items.csv", 1, "lookup table")}
    assert recognise(tmp_path / "x").name == "csv"


WIDE = """
subject = "id"
missing = ["?"]
[[table]]
file = "*"
[table.columns]
numeric = ["age"]
units = { age = "a" }
categorical = ["race"]
skip = ["note"]
"""


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_wide_table_without_times_is_static(tmp_path: Path, suffix: str) -> None:
    text = "id,age,race,note,other\n1,50,A,secret,9\n2,?,B,,9\n3,x,?,,9\n"
    mapping = tmp_path / "m.toml"
    mapping.write_text(WIDE)
    path = tmp_path / f"people.{suffix}"
    frame = pl.read_csv(text.encode(), infer_schema=False)
    frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    found = read_records(RECORD_FORMAT, path, mapping=mapping)
    assert rows(found, "subject_id", "code", "numeric_value", "unit", "time_precision") == [
        (1, "age", 50.0, "a", "static"), (1, "race//A", None, None, "static"), (2, "race//B", None, None, "static"),
        (3, "age", None, None, "static"),
    ]  # fmt: skip
    assert found.events["text_value"].to_list() == [None, None, None, "x"]
    assert found.report.adjusted == {
        "people: rows whose columns other the mapping leaves out": 3, "people: age is no number; kept as text": 1
    }  # fmt: skip


def test_times_from_a_year_an_offset_and_a_list(tmp_path: Path) -> None:
    mapping = """
subject = "id"
[[table]]
file = "t"
dates = ["day"]
[[table.event]]
code = "BORN"
time = { year = "anchor", minus = "age" }
[[table.event]]
code = "LAB"
offset = { column = "minutes", unit = "minutes", from = "{year}-01-01 {clock}" }
[[table.event]]
code = "SEEN"
time = ["stamp", "day", "absent"]
"""
    text = "id,anchor,age,minutes,year,clock,stamp,day\n1,2020,50,-30,2015,08:00:00,,2020-03-01 00:00:00\n"
    found = read(write(tmp_path / "x", mapping, t=text))
    assert rows(found, "code", "time", "time_precision") == [
        ("BORN", datetime(1970, 1, 1), "day"), ("LAB", datetime(2015, 1, 1, 7, 30), "second"),
        ("SEEN", datetime(2020, 3, 1), "day"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ('code = "LAB//{item}"', 'code = "LAB//{itm}"', FormatError, "no column 'itm'"),
        ('file = "labs"', 'file = "lab"', FormatError, "no table lab"),
        ('file = "items"', 'file = "item"', FormatError, "no lookup table item"),
        ('subject = "PatientID"', "", ConfigError, "no column holds the person"),
        ("value =", "valu =", ConfigError, "unknown key 'valu'"),
        ('when = "{item} is not empty"', 'when = "item"', ConfigError, "is not a condition"),
        ('"%d.%m.%Y %H:%M"', '"%d.%m.%y"', ConfigError, "name no century"),
        ('available = "as_stamped"', 'available = "soon"', ConfigError, "available is 'soon'"),
        ("[[table]]", "[[tables]]", ConfigError, "unknown key 'tables'"),
        ("[[table]]", "[[table", ConfigError, "not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, kind: type[Exception], words: str) -> None:
    assert old in LONG
    folder = write(tmp_path / "x", LONG.replace(old, new, 1), labs=LABS, items="item,label\ngluc,glucose\n")
    with pytest.raises(kind, match=words):
        read(folder)


def test_without_a_mapping_or_a_source(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(ConfigError, match="tables need a mapping"):
        read(tmp_path / "x")
    (tmp_path / "m.toml").write_text(WIDE)
    with pytest.raises(InputNotFoundError):
        read_records(RECORD_FORMAT, tmp_path / "none", mapping=tmp_path / "m.toml")


@pytest.mark.parametrize("name", ["mimic3", "mimic4"])
def test_shipped_mappings_are_whole(name: str) -> None:
    mapping = shipped_mapping(name)
    assert {"patients", "admissions", "labevents", "diagnoses_icd"} <= {t.name for t in mapping.tables}
    assert {r.table for r in mapping.rules} >= {"diagnoses_icd", "procedures_icd", "drgcodes"}


def test_numbers_that_cannot_be_read_are_counted_and_kept(tmp_path: Path) -> None:
    mapping = LONG.replace('text = "result"\n', "")
    found = read(write(tmp_path / "x", mapping, labs=LABS, items="item,label\ngluc,glucose\n"))
    assert rows(found, "numeric_value", "text_value", "unit")[1] == (None, "<5", None)
    assert found.report.adjusted["labs: result is no number; kept as text"] == 1
    both = read(write(tmp_path / "y", labs=LABS, items="item,label\ngluc,glucose\n"))
    assert both.report.adjusted["labs: result is no number; the text stands for it"] == 1


def test_a_file_of_two_tables_is_an_error(tmp_path: Path) -> None:
    mapping = WIDE + WIDE.split('missing = ["?"]\n')[1].replace('"*"', '"people"')
    with pytest.raises(ConfigError, match=r"two tables of the mapping name people\.csv"):
        read(write(tmp_path / "x", mapping, people="id,age,race\n1,50,A\n"))


def test_a_broken_file_that_no_table_names_stops_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", labs=LABS, items="item,label\ngluc,glucose\n")
    (folder / "other.parquet").write_text("no table")
    left = {f.file: (f.rows, f.reason) for f in read(folder).report.left_out}
    assert left["other.parquet"][0] == 0
    assert left["other.parquet"][1].startswith("no table of the mapping names it; its rows cannot be counted: ")


def test_a_row_keeps_its_facts_where_its_time_cannot_be_read(tmp_path: Path) -> None:
    mapping = """
subject = "id"
[[table]]
file = "visits"
[[table.event]]
code = "SEX//{sex}"
when = "{sex} is not empty"
[[table.event]]
code = "VISIT"
time = "day"
"""
    found = read(write(tmp_path / "x", mapping, visits="id,sex,day\n1,F,2020-01-01\n2,M,2020-02-31\n3,,2020-02-31\n"))
    assert rows(found, "subject_id", "code") == [(1, "SEX//F"), (1, "VISIT"), (2, "SEX//M")]
    assert found.report.dropped == {"time cannot be read": 1}
    assert found.report.adjusted == {"visits: day cannot be read as a time": 2}
