"""A proposed mapping is TOML that reads, and it names the columns that a person would name."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomix.errors import InputNotFoundError
from genomix.io.csv_records import RECORD_FORMAT
from genomix.io.mapping_language import parse_mapping
from genomix.io.mapping_proposal import propose_mapping
from genomix.io.record_conversion import read_records


def test_a_long_table(tmp_path: Path) -> None:
    file = tmp_path / "labs.csv"
    file.write_text(
        "row_id,subject_id,itemid,charttime,storetime,valuenum,valueuom\n"
        "1,10,50912,2180-01-02 10:00:00,2180-01-02 11:00:00,1.2,mg/dL\n"
        "2,10,50912,2180-01-03 10:00:00,2180-01-03 11:00:00,NA,mg/dL\n"
    )
    mapping = tmp_path / "m.toml"
    mapping.write_text(propose_mapping(file))
    event = parse_mapping(mapping.read_text(), where="m").tables[0].events[0]
    assert (event.code_text, event.value, event.unit) == ("LABS//{itemid}//{valueuom}", "valuenum", "valueuom")
    assert event.time is not None
    assert event.available is not None
    assert (event.time.columns, event.available.columns) == (("charttime",), ("storetime",))
    found = read_records(RECORD_FORMAT, file, mapping=mapping)
    assert found.report.rows_read == found.report.rows_kept == 2


def test_a_wide_table_without_times_has_one_subject_per_stay(tmp_path: Path) -> None:
    file = tmp_path / "stays.csv"
    file.write_text("encounter_id,patient_nbr,race,days\n1,8,Asian,3\n2,8,?,4\n3,9,Asian,5\n")
    text = propose_mapping(file)
    table = parse_mapping(text, where="m").tables[0]
    assert table.subject == "encounter_id"
    assert table.missing == ("?",)
    assert table.columns is not None
    assert (table.columns.numeric, table.columns.categorical) == (("days",), ("race",))
    assert table.columns.time is None
    assert "static fact" in text


def test_dates_of_another_form_are_named(tmp_path: Path) -> None:
    file = tmp_path / "v.tsv"
    file.write_text("patient_id\tvisit_date\tcode\n1\t31/12/2020\tA\n1\t30/11/2020\tB\n")
    table = parse_mapping(propose_mapping(file), where="m").tables[0]
    assert table.time_formats == {"visit_date": "%d/%m/%Y"}
    assert table.events[0].code_text == "V//{code}"


def test_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no CSV"):
        propose_mapping(tmp_path)
