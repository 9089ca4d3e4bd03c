"""OMOP tables become events by hand-worked rows: codes, times, units, stays; both CDM versions, CSV and Parquet."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, InputNotFoundError
from genomix.io.omop import RECORD_FORMAT, ancestors
from genomix.io.record_format import RecordSet, recognise

CONCEPTS = [
    (8507, "MALE", "Gender", "M"), (8527, "White", "Race", "5"), (38003564, "Not Hispanic", "Ethnicity", "N"),
    (9201, "Inpatient Visit", "Visit", "IP"), (9202, "Outpatient Visit", "Visit", "OP"),
    (201826, "Type 2 diabetes mellitus", "SNOMED", "44054006"), (100, "E11", "ICD10CM", "E11"),
    (3004410, "HbA1c", "LOINC", "4548-4"), (8554, "percent", "UCUM", "%"), (4181412, "Present", "SNOMED", "52101004"),
    (73211009, "Diabetes mellitus", "SNOMED", "73211009"), (19019979, "ibuprofen 200", "RxNorm", "198405"),
]  # fmt: skip
PERSON = {
    "person_id": [1, 2], "gender_concept_id": [8507, 0], "year_of_birth": [1950, None], "month_of_birth": [2, None],
    "day_of_birth": [None, None], "race_concept_id": [8527, 0], "ethnicity_concept_id": [38003564, 0],
    "gender_source_value": ["M", ""],
}  # fmt: skip
VISIT = {
    "visit_occurrence_id": [1, 2], "person_id": [1, 1], "visit_concept_id": [9201, 9202],
    "visit_start_date": ["2020-03-01", "2020-05-01"], "visit_start_datetime": ["2020-03-01 08:30:00", ""],
    "visit_end_date": ["2020-03-04", "2020-05-01"],
    "visit_end_datetime": ["2020-03-04 12:00:00", "2020-05-01 00:00:00"],
}  # fmt: skip


def write(folder: Path, suffix: str = ".csv", **tables: dict[str, list[Any]]) -> Path:
    folder.mkdir(parents=True)
    concept = pl.DataFrame(
        CONCEPTS, schema=["concept_id", "concept_name", "vocabulary_id", "concept_code"], orient="row"
    )
    frames = {"person": pl.DataFrame(PERSON), "visit_occurrence": pl.DataFrame(VISIT), "concept": concept}
    frames |= {name: pl.DataFrame(columns) for name, columns in tables.items()}
    for name, frame in frames.items():
        if suffix == ".csv":
            frame.write_csv(folder / f"{name.upper()}.csv")
        else:
            frame.write_parquet(folder / f"{name}.parquet")
    return folder


def rows(found: RecordSet, *names: str) -> list[tuple[Any, ...]]:
    return found.events.select(*names).rows()


def of(found: RecordSet, code: str) -> dict[str, Any]:
    return found.events.row(by_predicate=pl.col("code") == code, named=True)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_people_and_visits(tmp_path: Path, suffix: str) -> None:
    found = RECORD_FORMAT.read(write(tmp_path / "o", suffix))
    assert sorted(rows(found, "subject_id", "code")) == [
        (1, "ETHNICITY//Ethnicity//N"), (1, "GENDER//Gender//M"), (1, "HOSPITAL_ADMISSION//Visit//IP"),
        (1, "HOSPITAL_DISCHARGE//UNKNOWN"), (1, "MEDS_BIRTH"), (1, "RACE//Race//5"), (1, "VISIT//Visit//IP//END"),
        (1, "VISIT//Visit//IP//START"), (1, "VISIT//Visit//OP//END"), (1, "VISIT//Visit//OP//START"),
    ]  # fmt: skip
    assert (of(found, "MEDS_BIRTH")["time"], of(found, "MEDS_BIRTH")["time_precision"]) == (datetime(1950, 2, 1), "day")
    assert of(found, "HOSPITAL_ADMISSION//Visit//IP")["time"] == datetime(2020, 3, 1, 8, 30)
    outpatient = of(found, "VISIT//Visit//OP//START")
    assert (outpatient["time_precision"], outpatient["available_time"].hour) == ("day", 23)
    assert found.report.tables["person"]["dropped"] == {"nothing in the row is an event": 1}
    assert found.report.tables["visit_occurrence"]["rows_kept"] == 2


def test_conditions_count_from_discharge_and_keep_their_vocabulary(tmp_path: Path) -> None:
    condition = {
        "condition_occurrence_id": [1, 2, 3, 4], "person_id": [1, 1, 1, 1],
        "condition_concept_id": [201826, 0, 0, 0], "condition_source_concept_id": [100, 100, 0, 0],
        "condition_source_value": ["E11", "E11", "local 7", ""], "condition_start_date": ["2020-03-02"] * 4,
        "condition_end_date": ["2020-03-03", "2020-02-01", "", ""],
    }  # fmt: skip
    found = RECORD_FORMAT.read(write(tmp_path / "o", condition_occurrence=condition))
    codes = ["SNOMED//44054006", "SNOMED//44054006//END", "ICD10CM//E11", "CONDITION//local 7"]
    assert {of(found, c)["available_time"] for c in codes} == {datetime(2020, 3, 4, 12)}
    assert found.report.adjusted == {"condition_occurrence: the end lies before the start and was left out": 1}
    assert found.report.dropped["nothing in the row is an event"] == 2  # the person and condition without anything
    known = dict(found.descriptions.iter_rows())
    assert known["SNOMED//44054006"] == "Type 2 diabetes mellitus"


def test_values_units_bounds_and_text(tmp_path: Path) -> None:
    measurement = {
        "person_id": [1, 1, 1, 1], "measurement_concept_id": [3004410] * 4,
        "measurement_date": ["2020-03-02", "2020-03-03", "2020-03-04", "2020-03-05"],
        "measurement_datetime": ["2020-03-02 10:00:00", "2020-03-03T10:00:00", "", "2020-03-09 10:00:00"],
        "value_as_number": ["6.5", "4", "", "x"], "unit_concept_id": [8554, 0, 0, 0],
        "unit_source_value": ["pct", "%", "", ""], "operator_concept_id": ["", 4171756, "", ""],
        "value_as_concept_id": [0, 0, 4181412, 0], "value_source_value": ["6.5", "<4", "present", "x"],
    }  # fmt: skip
    frame = {k: [str(v) for v in values] for k, values in measurement.items()}
    found = RECORD_FORMAT.read(write(tmp_path / "o", measurement=frame))
    labs = found.events.filter(pl.col("code") == "LOINC//4548-4").sort("time")
    assert labs.select("numeric_value", "unit", "text_value", "time_precision").rows() == [
        (6.5, "%", None, "second"), (4.0, "%", "<4", "second"), (None, None, "SNOMED//52101004", "day"),
        (None, None, "x", "day"),
    ]  # fmt: skip
    assert labs["time"].to_list()[-1] == datetime(2020, 3, 5)
    assert list(found.report.adjusted.values()) == [1]


def test_deaths_drugs_and_notes(tmp_path: Path) -> None:
    drug = {
        "person_id": [1], "drug_concept_id": [19019979], "drug_exposure_start_date": ["2020-03-02"],
        "drug_exposure_end_date": ["2020-03-09"], "quantity": ["14"], "dose_unit_source_value": ["{tablet}"],
    }  # fmt: skip
    death = {"person_id": [1], "death_date": ["2021-01-01"], "cause_concept_id": [201826]}
    note = {"person_id": [1], "note_date": ["2020-03-02"], "note_type_concept_id": [44814637], "note_text": ["secret"]}
    found = RECORD_FORMAT.read(write(tmp_path / "o", drug_exposure=drug, death=death, note=note))
    given = of(found, "RxNorm//198405")
    assert (given["numeric_value"], given["unit"]) == (14.0, "{tablet}")
    assert of(found, "RxNorm//198405//END")["time"] == datetime(2020, 3, 9)
    assert of(found, "MEDS_DEATH")["available_time"] == datetime(2021, 1, 1, 23, 59, 59, 999999)
    assert of(found, "DEATH_CAUSE//SNOMED//44054006")["time_precision"] == "day"
    assert of(found, "NOTE//OMOP//44814637")["text_value"] is None


def test_without_concepts_and_with_names_of_version_5_3(tmp_path: Path) -> None:
    folder = write(tmp_path / "o")
    (folder / "CONCEPT.csv").unlink()
    visits = pl.DataFrame(VISIT).with_columns(pl.lit("HOME").alias("discharge_to_source_value"))
    visits.write_csv(folder / "VISIT_OCCURRENCE.csv")
    found = RECORD_FORMAT.read(folder)
    assert of(found, "HOSPITAL_DISCHARGE//HOME")["time"] == datetime(2020, 3, 4, 12)
    assert of(found, "GENDER//OMOP//8507")["subject_id"] == 1


def test_bad_rows_are_counted_with_their_place(tmp_path: Path) -> None:
    procedure = {
        "person_id": ["1", "", "1", "1", "1"], "procedure_concept_id": ["100"] * 5,
        "procedure_date": ["2020-03-02", "2020-03-02", "2020-02-30", "20-03-02", ""],
    }  # fmt: skip
    found = RECORD_FORMAT.read(write(tmp_path / "o", procedure_occurrence=procedure)).report
    table = found.tables["procedure_occurrence"]
    assert table["dropped"] == {"subject is missing": 1, "date cannot be read": 2, "date is missing": 1}
    assert {(s["row"], s["value"]) for s in found.samples if s["reason"] == "date cannot be read"} == {
        (3, "2020-02-30"), (4, "20-03-02"),
    }  # fmt: skip


def test_tables_that_are_not_events_are_listed(tmp_path: Path) -> None:
    folder = write(tmp_path / "o", cost={"cost_id": [1, 2]}, own_table={"x": [1]})
    left = {f.file: (f.rows, f.reason) for f in RECORD_FORMAT.read(folder).report.left_out}
    assert left["COST.csv"] == (2, "costs, not events of care")
    assert left["OWN_TABLE.csv"] == (1, "no table of the CDM that holds events")


def test_a_missing_column_or_table_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "o", measurement={"person_id": [1], "measurement_concept_id": [1]})
    with pytest.raises(FormatError, match="measurement has no column 'measurement_date'") as error:
        RECORD_FORMAT.read(folder)
    assert str(error.value.where).endswith("MEASUREMENT.csv")
    (folder / "PERSON.csv").unlink()
    with pytest.raises(FormatError, match="no PERSON table"):
        RECORD_FORMAT.read(folder)
    with pytest.raises(InputNotFoundError):
        RECORD_FORMAT.read(tmp_path / "none")
    with pytest.raises(ConfigError, match="needs no mapping"):
        RECORD_FORMAT.scan(folder, mapping=folder)


def test_parts_of_a_table_in_a_folder_and_recognition(tmp_path: Path) -> None:
    folder = write(tmp_path / "o", ".parquet")
    whole = RECORD_FORMAT.read(folder).events
    parts = folder / "visit_occurrence"
    parts.mkdir()
    frame = pl.read_parquet(folder / "visit_occurrence.parquet")
    (folder / "visit_occurrence.parquet").unlink()
    for i in range(2):
        frame[i : i + 1].write_parquet(parts / f"part-{i}.parquet")
    assert RECORD_FORMAT.read(folder).events.equals(whole)
    assert recognise(folder).name == "omop"


def test_ancestors_for_a_roll_up(tmp_path: Path) -> None:
    links = {
        "ancestor_concept_id": [73211009, 201826], "descendant_concept_id": [201826, 201826],
        "min_levels_of_separation": [1, 0], "max_levels_of_separation": [2, 0],
    }  # fmt: skip
    folder = write(tmp_path / "o", concept_ancestor=links)
    assert ancestors(folder).rows() == [("SNOMED//44054006", "SNOMED//73211009", 1, "Diabetes mellitus")]
    (folder / "CONCEPT_ANCESTOR.csv").unlink()
    with pytest.raises(InputNotFoundError, match="CONCEPT_ANCESTOR"):
        ancestors(folder)
