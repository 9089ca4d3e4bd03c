"""The ready tasks: each parses, says what it means, and gives the rows of its text in the codes of three sources."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from genomix.ehr.aces import read_task
from genomix.ehr.cohort import extract_cohort
from genomix.ehr.ready_tasks import find_task, ready_tasks
from genomix.errors import ConfigError
from genomix.io.record_format import to_events

START = datetime(2020, 1, 1)
YEAR = 365.25

CODES = {
    "mimic": {
        "in": "HOSPITAL_ADMISSION//EW EMER.//UNK", "out": "HOSPITAL_DISCHARGE//HOME",
        "out dead": "HOSPITAL_DISCHARGE//DIED", "icu in": "ICU_ADMISSION//MICU", "icu out": "ICU_DISCHARGE//MICU",
        "visit": "HOSPITAL_ADMISSION//URGENT", "diabetes": "DIAGNOSIS//ICD//10//E1122",
        "diabetes 1": "DIAGNOSIS//ICD//10//E109", "heart failure": "DIAGNOSIS//ICD//9//4280",
        "hypertension": "DIAGNOSIS//ICD//10//I10", "kidney": "DIAGNOSIS//ICD//10//N183",
        "potassium": "LAB//50971//mEq/L", "sodium": "LAB//50983//mEq/L", "haemoglobin": "LAB//51222//g/dL",
        "glucose": "LAB//225664//UNK", "creatinine": "LAB//50912//mg/dL",
    },
    "omop": {
        "in": "HOSPITAL_ADMISSION//Visit//IP", "out": "HOSPITAL_DISCHARGE//UNKNOWN",
        "out dead": "HOSPITAL_DISCHARGE//SNOMED//371828006", "icu in": "VISIT_DETAIL//Visit//OMOP4822460//START",
        "icu out": "VISIT_DETAIL//Visit//OMOP4822460//END", "visit": "VISIT//Visit//OP//START",
        "diabetes": "SNOMED//44054006", "diabetes 1": "SNOMED//46635009", "heart failure": "SNOMED//84114007",
        "hypertension": "SNOMED//59621000", "kidney": "SNOMED//433144002", "potassium": "LOINC//2823-3",
        "sodium": "LOINC//2951-2", "haemoglobin": "LOINC//718-7", "glucose": "LOINC//2345-7",
        "creatinine": "LOINC//2160-0",
    },
    "fhir": {
        "in": "HOSPITAL_ADMISSION", "out": "HOSPITAL_DISCHARGE", "out dead": "HOSPITAL_DISCHARGE//exp",
        "icu in": "ENCOUNTER//IMP//SNOMED//305351004//START", "icu out": "ENCOUNTER//IMP//SNOMED//305351004//END",
        "visit": "ENCOUNTER//AMB//SNOMED//185349003//START", "diabetes": "ICD10CM//E11.9",
        "diabetes 1": "ICD10CM//E10.9", "heart failure": "ICD10GM//I50.01", "hypertension": "ICD10CM//I10",
        "kidney": "ICD10CM//N18.5",
        "potassium": "LOINC//6298-4", "sodium": "LOINC//2947-0", "haemoglobin": "LOINC//718-7",
        "glucose": "LOINC//14749-6", "creatinine": "LOINC//14682-9",
    },
}  # fmt: skip
UNITS = {
    "mimic": {"haemoglobin": ("g/dL", 1.0), "creatinine": ("mg/dL", 1.0)},
    "omop": {"haemoglobin": ("g/dL", 1.0), "glucose": ("mg/dL", 1.0), "creatinine": ("mg/dL", 1.0)},
    "fhir": {"haemoglobin": ("g/L", 10.0), "glucose": ("mmol/L", 1 / 18.016), "creatinine": ("umol/L", 88.42)},
}

# name: (people, each a list of (day, word or (word, value)); expected (person, day, value, status)).
Word = str | tuple[str, float]
Record = list[tuple[float, Word]]
Expected = list[tuple[int, float, float | None, str]]
STAYS: dict[int, Record] = {
    1: [(0, "in"), (5, "out"), (50, "x")],
    2: [(0, "in"), (5, "out dead")],
    3: [(0, "in"), (0.5, "out"), (50, "x")],  # less than a day
    4: [(0, "in"), (0.9, "death")],
    5: [(0, "in"), (3, "x")],  # the stay's end is not in the record
    6: [(-3, "in"), (0, "out"), (0, "in"), (9, "out"), (12, "death")],  # leaves and is admitted at once; dies at home
    7: [(0, "in"), (4, "death")],  # no discharge
}
ICU: dict[int, Record] = {
    1: [(0, "icu in"), (2, "icu out"), (6, "out")],
    2: [(0, "icu in"), (5, "icu out"), (6, "out")],
    3: [(0, "icu in"), (0.8, "icu out"), (6, "out")],
    4: [(0, "icu in"), (2, "death")],
    5: [(0, "icu in"), (9, "icu out"), (12, "out")],
    6: [(0, "icu in"), (2, "x")],
    7: [(-2, "icu in"), (0, "icu out"), (0, "icu in"), (3, "icu out"), (4, "out")],  # exactly three days
}
LEAVING: dict[int, Record] = {
    1: [(0, "in"), (3, "out"), (20, "in"), (25, "out"), (200, "x")],
    2: [(0, "in"), (3, "out"), (40, "in"), (44, "out dead")],
    3: [(0, "in"), (3, "out dead"), (3, "death")],
    4: [(0, "in"), (3, "out"), (13, "death")],
    5: [(0, "in"), (3, "out"), (20, "x")],  # the record ends before
    6: [(0, "in"), (3, "out"), (3, "in"), (8, "out"), (300, "x")],  # a transfer
    7: [(0, "in"), (2.75, "death"), (3, "out")],  # the date of a death, before the discharge
}


def diagnoses(code: str, other: str) -> dict[int, Record]:
    return {
        1: [(-400, "x"), (0, "visit"), (100, code), (900, "x")],
        2: [(-400, "x"), (0, "visit"), (366, code), (900, "x")],
        3: [(-400, "x"), (-100, code), (0, "visit"), (900, "x")],  # has it already
        4: [
            (-200, "x"),
            (0, "visit"),
            (100, code),
            (170, "visit"),
            (900, "x"),
        ],  # no year of records before, then too late
        5: [(-400, "x"), (0, "visit"), (50, "death")],
        6: [(-400, "x"), (0, "visit"), (50, other), (200, "x")],
        7: [(-400, "x"), (0, "visit"), (0, code), (900, "x")],  # recorded with the visit
        8: [
            (-400, "x"),
            (-100, "visit"),
            (-30, "visit"),
            (0, "visit"),
            (330, code),
            (900, "x"),
        ],  # from the second visit
    }


DIAGNOSED: Expected = [
    (1, 0, 1, "observed"), (2, 0, 0, "observed"), (5, 0, 0, "competing"), (6, 0, None, "censored"),
    (8, -30, 1, "observed"),
]  # fmt: skip


def measured(word: str, normal: float, abnormal: float, *, needs: bool = False) -> tuple[dict[int, Record], Expected]:
    people: dict[int, Record] = {
        1: [(0, "in"), (0, (word, normal)), (2, (word, abnormal)), (5, "out")],
        2: [(0, "in"), (0.5, (word, normal)), (2, (word, normal)), (5, "out"), (6, (word, abnormal))],  # after the stay
        3: [(0, "in"), (0, (word, abnormal)), (2, (word, abnormal)), (5, "out")],  # has it already
        4: [(0, "in"), (0.5, (word, normal)), (2, "death"), (5, "out dead")],
        5: [(0, "in"), (0.5, (word, normal)), (2, (word, abnormal)), (3, "out dead")],
        6: [(0, "in"), (0.5, (word, normal)), (2, (word, abnormal))],  # no end of the stay, outcome seen
        7: [(0, "in"), (5, "out")],  # never measured
        8: [(0, "in"), (0.5, (word, normal)), (0.9, "out")],
        9: [(0, "in"), (0.5, (word, normal)), (2, (word, normal))],  # no end of the stay
    }
    rows: Expected = [(1, 1, 1, "observed"), (2, 1, 0, "observed"), (4, 1, 0, "competing"), (5, 1, 1, "observed"),
                      (6, 1, 1, "observed")]  # fmt: skip
    return people, rows if needs else [*rows, (7, 1, 0, "observed")]


TABLE: dict[str, tuple[dict[int, Record], Expected]] = {
    "in_hospital_death": (STAYS, [
        (1, 1, 0, "observed"), (2, 1, 1, "observed"), (6, -2, 0, "observed"), (6, 1, 0, "observed"),
        (7, 1, 1, "observed"),
    ]),
    "hospital_stay_ends_within_7_days": (STAYS, [
        (1, 1, 1, "observed"), (2, 1, 1, "observed"), (6, -2, 1, "observed"), (6, 1, 0, "observed"),
        (7, 1, 1, "observed"),
    ]),
    "icu_stay_ends_within_3_days": (ICU, [
        (1, 1, 1, "observed"), (2, 1, 0, "observed"), (4, 1, 1, "observed"), (5, 1, 0, "observed"),
        (7, -1, 1, "observed"), (7, 1, 1, "observed"),
    ]),
    "icu_stay_ends_within_7_days": (ICU, [
        (1, 1, 1, "observed"), (2, 1, 1, "observed"), (4, 1, 1, "observed"), (5, 1, 0, "observed"),
        (7, -1, 1, "observed"), (7, 1, 1, "observed"),
    ]),
    "readmission_30_days": (LEAVING, [
        (1, 3, 1, "observed"), (1, 25, 0, "observed"), (2, 3, 0, "observed"), (4, 3, 0, "competing"),
        (5, 3, None, "censored"), (6, 3, 0, "observed"), (6, 8, 0, "observed"),
    ]),
    "death_90_days_after_discharge": (LEAVING, [
        (1, 3, 0, "observed"), (1, 25, 0, "observed"), (2, 3, 1, "observed"), (4, 3, 1, "observed"),
        (5, 3, None, "censored"), (6, 3, 0, "observed"), (6, 8, 0, "observed"),
    ]),
    "first_type_2_diabetes_365_days": (diagnoses("diabetes", "diabetes 1"), DIAGNOSED),
    "first_heart_failure_365_days": (diagnoses("heart failure", "hypertension"), DIAGNOSED),
    "first_chronic_kidney_disease_365_days": (diagnoses("kidney", "hypertension"), DIAGNOSED),
    "hyperkalaemia": measured("potassium", 5.5, 5.6),
    "low_sodium": measured("sodium", 130, 129),
    "severe_anaemia": measured("haemoglobin", 8, 7.9),
    "hypoglycaemia": measured("glucose", 75, 69),
    "kidney_injury_by_creatinine": measured("creatinine", 1.2, 2.1, needs=True),
}  # fmt: skip


def events(people: dict[int, Record], source: str) -> pl.DataFrame:
    rows: list[tuple[int, datetime, str, float | None, str | None]] = []
    for person, record in people.items():
        rows.append((person, START - timedelta(days=50 * YEAR), "MEDS_BIRTH", None, None))
        for day, word in record:
            name, value = word if isinstance(word, tuple) else (word, None)
            unit, factor = UNITS[source].get(name, (None, 1.0))
            code = {"death": "MEDS_DEATH", "x": "X"}.get(name) or CODES[source][name]
            rows.append((person, START + timedelta(days=day), code, value and value * factor, unit))
    raw = pl.DataFrame(
        rows, orient="row", schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String,
                                    "numeric_value": pl.Float32, "unit": pl.String},
    )  # fmt: skip
    return to_events(raw, source_format="t").events


@pytest.mark.parametrize("source", CODES)
@pytest.mark.parametrize("name", TABLE)
def test_rows_are_those_of_the_text(name: str, source: str) -> None:
    people, expected = TABLE[name]
    found = extract_cohort(events(people, source), read_task(ready_tasks()[name])).labels
    rows = [
        (s, (t - START) / timedelta(days=1), v, status) for s, t, v, status in found.drop("time_days", "weight").rows()
    ]
    assert rows == sorted(expected, key=lambda row: row[:2])


def test_children_are_left_out() -> None:
    people, expected = TABLE["in_hospital_death"]
    record = events(people, "mimic")
    young = pl.when((pl.col("code") == "MEDS_BIRTH") & (pl.col("subject_id") == 1)).then(START - timedelta(days=3000))
    record = record.with_columns(young.otherwise("time").cast(pl.Datetime("us")).alias("time"))
    found = extract_cohort(record, read_task(ready_tasks()["in_hospital_death"])).labels
    assert found["subject_id"].to_list() == [s for s, *_ in expected if s != 1]


def test_every_ready_task_is_in_the_table_and_says_what_it_means() -> None:
    ready = ready_tasks()
    assert set(ready) == set(TABLE)
    for name, path in ready.items():
        task = read_task(path)
        assert path.is_file()
        assert name == path.stem
        assert "Value 1: " in task.description
        assert "It does not mean " in task.description
        assert task.policies.censoring is not None
        deaths = task.label_window.label in ("death", "left")  # a death is the outcome, or part of it
        assert (task.policies.competing is None) == deaths
        assert max(len(line) for line in path.read_text().splitlines()) <= 120


def test_values_without_a_unit_or_beyond_belief_do_not_count() -> None:
    people: dict[int, Record] = {1: [(0, "in"), (2, ("glucose", 60)), (5, "out")]}
    task = read_task(ready_tasks()["hypoglycaemia"])
    record = events(people, "omop")
    assert extract_cohort(record, task).labels["value"].to_list() == [1]
    assert extract_cohort(record.with_columns(unit=pl.lit(None, pl.String)), task).labels["value"].to_list() == [0]
    wrong = events({1: [(0, "in"), (2, ("potassium", 99)), (5, "out")]}, "mimic")
    assert extract_cohort(wrong, read_task(ready_tasks()["hyperkalaemia"])).labels["value"].to_list() == [0]


def test_find_task(tmp_path: Path) -> None:
    assert find_task("low_sodium") == ready_tasks()["low_sodium"]
    own = tmp_path / "own.yaml"
    own.write_text("")
    assert find_task(str(own)) == own
    with pytest.raises(ConfigError, match="hyperkalaemia, hypoglycaemia") as caught:
        find_task("hyperkalemia")
    assert re.search("'hyperkalemia' is neither", str(caught.value))
