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
    assert found.report.adjusted == {
        "measurement: measurement_datetime is on another day than measurement_date, which counts": 1,
        "measurement: a value with <, <=, > or >= keeps its bound as number; text_value holds both": 1,
        "measurement: value_as_number is not a number and was kept as text": 1,
    }


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
    condition = {"person_id": [1], "condition_concept_id": [201826], "condition_start_date": ["2020-03-02"]}
    folder = write(tmp_path / "o", concept_ancestor=links, condition_occurrence=condition)
    assert ancestors(folder).rows() == [("SNOMED//44054006", "SNOMED//73211009", 1, "Diabetes mellitus")]
    (folder / "CONCEPT_ANCESTOR.csv").unlink()
    with pytest.raises(InputNotFoundError, match="CONCEPT_ANCESTOR"):
        ancestors(folder)


def test_a_visit_without_a_concept_does_not_spell_out_its_number(tmp_path: Path) -> None:
    visit = VISIT | {"visit_concept_id": [0, 0], "visit_source_value": ["MRN 1|2020", "MRN 2|2020"]}
    found = RECORD_FORMAT.read(write(tmp_path / "o", visit_occurrence=visit))
    assert set(found.events.filter(pl.col("code").str.starts_with("VISIT"))["code"]) == {
        "VISIT//UNKNOWN//START", "VISIT//UNKNOWN//END",
    }  # fmt: skip


@pytest.mark.parametrize("concept", ["9201", "9201.0", " 8971", "581379"])
def test_inpatient_visits_are_stays_however_the_number_is_written(tmp_path: Path, concept: str) -> None:
    visit = {k: v[:1] for k, v in VISIT.items()} | {"visit_concept_id": [concept], "person_id": ["1.0"]}
    found = RECORD_FORMAT.read(write(tmp_path / "o", visit_occurrence=visit))
    stay = found.events.filter(pl.col("code").str.starts_with("HOSPITAL_")).sort("time")
    assert stay["time"].to_list() == [datetime(2020, 3, 1, 8, 30), datetime(2020, 3, 4, 12)]
    assert stay["subject_id"].unique().to_list() == [1]


def test_an_inpatient_visit_by_its_source_concept(tmp_path: Path) -> None:
    visit = VISIT | {"visit_concept_id": [0, 0], "visit_source_concept_id": [262, 0]}
    found = RECORD_FORMAT.read(write(tmp_path / "o", visit_occurrence=visit))
    assert of(found, "HOSPITAL_ADMISSION//OMOP//262")["time"] == datetime(2020, 3, 1, 8, 30)


@pytest.mark.parametrize(
    ("date", "clock", "time", "precision"),
    [
        ("2020-03-02", "2020-03-02T23:00:00-05:00", datetime(2020, 3, 3, 4), "second"),
        ("2020-03-02", "2020-03-02T00:00:00-05:00", datetime(2020, 3, 2), "day"),
        ("2020-03-02", "2020-03-02 00:00:00.000", datetime(2020, 3, 2), "day"),
        ("2020-03-02", "2020-03-02 00:00:01", datetime(2020, 3, 2, 0, 0, 1), "second"),
        ("2020-03-02 00:00:00", "", datetime(2020, 3, 2), "day"),
        ("2020-03-02", "2020-02-30 10:00:00", datetime(2020, 3, 2), "day"),
        ("20-03-02", "2020-03-02 10:00:00", datetime(2020, 3, 2, 10), "second"),
        ("", "2020-03-02 10:00:00", datetime(2020, 3, 2, 10), "second"),
    ],
)
def test_times(tmp_path: Path, date: str, clock: str, time: datetime, precision: str) -> None:
    observation = {
        "person_id": ["1"], "observation_concept_id": ["3004410"], "observation_date": [date],
        "observation_datetime": [clock],
    }  # fmt: skip
    found = of(RECORD_FORMAT.read(write(tmp_path / "o", observation=observation)), "LOINC//4548-4")
    assert (found["time"], found["time_precision"]) == (time, precision)


def test_what_is_changed_in_a_kept_row_is_counted_and_in_a_dropped_row_is_not(tmp_path: Path) -> None:
    observation = {
        "person_id": ["1", "1", ""], "observation_concept_id": ["3004410"] * 3, "observation_date": ["2020-03-02"] * 3,
        "observation_datetime": ["25:00", "2020-03-09 10:00:00", "2020-03-09 10:00:00"],
    }  # fmt: skip
    found = RECORD_FORMAT.read(write(tmp_path / "o", observation=observation)).report
    assert found.adjusted == {
        "observation: observation_datetime cannot be read; observation_date counts": 1,
        "observation: observation_datetime is on another day than observation_date, which counts": 1,
    }


def test_ends_of_visits(tmp_path: Path) -> None:
    visit = {
        "person_id": ["1"] * 3, "visit_concept_id": ["9201"] * 3,
        "visit_start_date": ["2020-03-01", "2020-04-01", "2020-05-01"],
        "visit_start_datetime": ["2020-03-01 08:00:00", "2020-04-01 08:00:00", "2020-05-01 08:00:00"],
        "visit_end_date": ["2020-03-01", "04/03/2020", "2020-04-30"],
    }  # fmt: skip
    found = RECORD_FORMAT.read(write(tmp_path / "o", visit_occurrence=visit))
    left = of(found, "HOSPITAL_DISCHARGE//UNKNOWN")
    assert (left["time"], left["time_precision"]) == (datetime(2020, 3, 1, 8), "day")
    assert left["available_time"] == datetime(2020, 3, 1, 23, 59, 59, 999999)
    assert found.report.adjusted == {
        "visit_occurrence: the end cannot be read and was left out": 1,
        "visit_occurrence: the end lies before the start and was left out": 1,
    }


def test_births(tmp_path: Path) -> None:
    person = {
        "person_id": [str(i) for i in range(1, 9)], "gender_concept_id": ["8507"] * 8, "race_concept_id": ["0"] * 8,
        "ethnicity_concept_id": ["0"] * 8,
        "year_of_birth": ["1950", "50", "1950.0", "", "1950", "1950", "1950", "1951"],
        "month_of_birth": ["13", "1", "2.0", "", "2", "2", "", "2"],
        "day_of_birth": ["1", "1", "3.0", "", "30", "", "9", "3"],
        "birth_datetime": ["", "", "", "1950-02-03 04:05:06", "", "1950-02-07 00:00:00", "", "1950-02-03"],
    }  # fmt: skip
    found = RECORD_FORMAT.read(write(tmp_path / "o", person=person))
    births = found.events.filter(pl.col("code") == "MEDS_BIRTH").select("subject_id", "time").rows()
    assert sorted(births) == [
        (3, datetime(1950, 2, 3)), (4, datetime(1950, 2, 3)), (6, datetime(1950, 2, 7)), (7, datetime(1950, 1, 1)),
        (8, datetime(1951, 2, 3)),
    ]  # fmt: skip
    assert found.report.adjusted == {
        "person: birth_datetime is another day than the year, month and day of birth, which count": 1,
        "person: the date of birth cannot be read and was left out": 3,
    }


def test_units_without_a_name_are_told_apart(tmp_path: Path) -> None:
    measurement = {
        "person_id": ["1", "1"], "measurement_concept_id": ["3004410"] * 2, "measurement_date": ["2020-03-02"] * 2,
        "value_as_number": ["1", "2"], "unit_concept_id": ["8840", "8753"],
    }  # fmt: skip
    found = RECORD_FORMAT.read(write(tmp_path / "o", measurement=measurement)).events
    assert found.filter(pl.col("numeric_value").is_not_null())["unit"].to_list() == ["OMOP//8840", "OMOP//8753"]


def test_a_vocabulary_as_athena_writes_it(tmp_path: Path) -> None:
    condition = {"person_id": [1], "condition_concept_id": [201826], "condition_start_date": ["2020-03-02"]}
    folder = write(tmp_path / "o", condition_occurrence=condition)
    (folder / "CONCEPT.csv").write_text(
        "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_code\n"
        '1\t"Open quotation mark\tCondition\tSNOMED\t1\n'
        '201826\t"Type 2" diabetes, mellitus\tCondition\tSNOMED\t44054006\n'
    )
    found = RECORD_FORMAT.read(folder)
    assert dict(found.descriptions.iter_rows()) == {"SNOMED//44054006": '"Type 2" diabetes, mellitus'}
    assert of(found, "SNOMED//44054006")["subject_id"] == 1


def test_a_table_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "o")
    pl.DataFrame(PERSON).write_parquet(folder / "person.parquet")
    with pytest.raises(FormatError, match=r"person is there twice: PERSON\.csv and person\.parquet"):
        RECORD_FORMAT.scan(folder)


def test_columns_are_checked_when_a_source_is_opened(tmp_path: Path) -> None:
    visit = {"person_id": [1], "visit_concept_id": [9201], "visit_start_date": ["2020-03-01"]}
    with pytest.raises(FormatError, match="no column 'visit_end_date' or 'visit_end_datetime'"):
        RECORD_FORMAT.scan(write(tmp_path / "o", visit_occurrence=visit))


def test_a_broken_file_that_is_not_read_stops_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "o")
    (folder / "cost.csv").write_text("")
    (left,) = RECORD_FORMAT.read(folder).report.left_out
    assert (left.rows, left.reason) == (0, "costs, not events of care; it cannot be read")


def test_empty_tables_and_rows_of_other_widths(tmp_path: Path) -> None:
    folder = write(tmp_path / "o")
    (folder / "death.csv").write_text("person_id,death_date\n")
    (folder / "note.csv").write_text(
        "person_id,note_date,note_type_concept_id,note_text\n1,2020-03-01,7,a\n1,2020-03-02,7,a,b\n"
    )
    found = RECORD_FORMAT.read(folder).report
    assert "death" not in found.tables or found.tables["death"]["rows_read"] == 0
    assert (found.tables["note"]["rows_read"], found.tables["note"]["rows_kept"]) == (2, 1)


def test_ancestors_that_no_record_names_are_still_groups(tmp_path: Path) -> None:
    links = {
        "ancestor_concept_id": [73211009, 73211009], "descendant_concept_id": [201826, 19019979],
        "min_levels_of_separation": [1, 1],
    }  # fmt: skip
    condition = {"person_id": [1], "condition_concept_id": [201826], "condition_start_date": ["2020-03-02"]}
    folder = write(tmp_path / "o", ".parquet", concept_ancestor=links, condition_occurrence=condition)
    assert ancestors(folder)["group"].to_list() == ["SNOMED//73211009"]
