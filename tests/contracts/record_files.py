"""A few health records in memory, and how to write them as every record format's source.

The rows are the truth of the record contract; some of them cannot be events. A new format needs one more ``Source``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

Row = tuple[int | None, datetime | None, str | None, float | None, str | None, str | None]
"""Subject, time (None: static), code, value, unit, text."""

ROWS: tuple[Row, ...] = (
    (1, None, "GENDER//F", None, None, None),
    (1, datetime(1950, 1, 1), "MEDS_BIRTH", None, None, None),
    (1, datetime(2020, 3, 1, 12, 30), "LAB//creatinine", 1.25, "mg/dL", None),
    (1, datetime(2020, 3, 1, 12, 30), "LAB//creatinine", 1.25, "mg/dL", None),
    (2, datetime(2020, 3, 1, 8, 15), "LAB//creatinine", 0.75, "mg/dL", None),
    (None, datetime(2020, 3, 2, 9), "LAB//creatinine", 9.5, "mg/dL", None),
    (2, datetime(2020, 3, 2, 9, 1, 2, 3), "NOTE", None, None, "no change"),
    (3, datetime(2020, 3, 3, 10), None, 4.0, None, None),
    (3, datetime(2020, 3, 4, 11, 59), "DIAGNOSIS//é", None, None, None),
    (3, datetime(2020, 3, 4, 11, 59), "", None, None, None),
)
KEPT = tuple(r for r in ROWS if r[0] is not None and r[2])
DESCRIPTIONS = {"LAB//creatinine": "creatinine in serum"}


@dataclass(frozen=True)
class Source:
    """How to write rows in one format.

    Parameters
    ----------
    format: name of the registered member.
    write: given a new folder and rows, writes the source and returns the path to read.
    data_file: given that path, the file that holds the rows.
    kept: the rows that are events in this format; n_read: rows of the source that hold them, None for one each.
    may_be_empty: an empty file is a source without rows, not a broken file.
    is_text: a cut file of text cannot be told from a shorter one, only its last row may be counted as malformed.
    """

    label: str
    format: str
    write: Callable[[Path, Sequence[Row]], Path]
    data_file: Callable[[Path], Path]
    kept: tuple[Row, ...] = KEPT
    n_read: int | None = None
    is_text: bool = False
    may_be_empty: bool = False


_SCHEMA = {
    "subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32,
    "unit": pl.String, "text_value": pl.String,
}  # fmt: skip


def _frame(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=_SCHEMA, orient="row")


def _meds(folder: Path, rows: Sequence[Row]) -> Path:
    (folder / "set" / "data").mkdir(parents=True)
    (folder / "set" / "metadata").mkdir()
    _frame(rows).write_parquet(folder / "set" / "data" / "0.parquet")
    codes = pl.DataFrame({"code": list(DESCRIPTIONS), "description": list(DESCRIPTIONS.values())})
    codes.write_parquet(folder / "set" / "metadata" / "codes.parquet")
    return folder / "set"


def _single(folder: Path, rows: Sequence[Row]) -> Path:
    folder.mkdir(parents=True)
    _frame(rows).write_parquet(folder / "events.parquet")
    return folder / "events.parquet"


_MAPPING = """
subject = "person"
[[table]]
file = "rows"
[[table.event]]
code = "{code}"
time = "time"
value = "value"
unit = "unit"
text = "text"
when = ["{code} is not empty", "{time} is not empty"]
[[table.event]]
code = "{code}"
value = "value"
unit = "unit"
text = "text"
when = ["{code} is not empty", "{time} is empty"]
"""


def _csv(folder: Path, rows: Sequence[Row]) -> Path:
    folder.mkdir(parents=True)
    (folder / "mapping.toml").write_text(_MAPPING)
    times = pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S%.f")
    frame = _frame(rows).with_columns(times).rename(
        {"subject_id": "person", "numeric_value": "value", "text_value": "text"}
    )  # fmt: skip
    frame.write_csv(folder / "rows.csv")
    return folder


def _measurements(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r[1] is not None and r[1].year > 2000]


def _omop(folder: Path, rows: Sequence[Row]) -> Path:
    """Write the dated rows as observations of one CDM; codes are source values."""
    folder.mkdir(parents=True)
    lines = [
        [r[0], 0, None if r[2] is None else r[2].removeprefix("LAB//"), str(r[1].date()) if r[1] else None,
         r[1].strftime("%Y-%m-%d %H:%M:%S.%f") if r[1] else None, r[3], r[4], r[5]]
        for r in _measurements(rows)
    ]  # fmt: skip
    names = ["person_id", "observation_concept_id", "observation_source_value", "observation_date",
             "observation_datetime", "value_as_number", "unit_source_value", "value_as_string"]  # fmt: skip
    types = dict.fromkeys(names, pl.String) | {"person_id": pl.Int64, "observation_concept_id": pl.Int64}
    types |= {"value_as_number": pl.Float64}
    pl.DataFrame(lines, schema=types, orient="row").write_csv(folder / "OBSERVATION.csv")
    (folder / "PERSON.csv").write_text("person_id,gender_concept_id\n")
    (folder / "VISIT_OCCURRENCE.csv").write_text("person_id,visit_concept_id,visit_start_date\n")
    return folder


_OMOP_KEPT = tuple(
    (*r[:2], "OBSERVATION//" + str(r[2]).removeprefix("LAB//"), *r[3:]) for r in _measurements(KEPT)
)  # fmt: skip


def _labs(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r[2] is not None and r[2].startswith("LAB//")]


_LAB_KEPT = tuple((*r[:2], f"{r[2]}//{r[4]}", *r[3:]) for r in _labs(KEPT))
_STAYS = "subject_id,hadm_id,admittime,dischtime,admission_type,admission_location,discharge_location"


def _lab_table(path: Path, rows: Sequence[Row]) -> None:
    frame = _frame(_labs(rows)).select(
        "subject_id", pl.col("code").str.strip_prefix("LAB//").alias("itemid"),
        pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S").alias("charttime"),
        pl.lit("").alias("storetime"), pl.col("numeric_value").alias("value"),
        pl.col("numeric_value").alias("valuenum"), pl.col("unit").alias("valueuom"),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_csv(path)


def _mimic3(folder: Path, rows: Sequence[Row]) -> Path:
    _lab_table(folder / "LABEVENTS.csv", rows)
    (folder / "PATIENTS.csv").write_text("subject_id,gender,dob,dod\n")
    (folder / "ADMISSIONS.csv").write_text(f"{_STAYS},deathtime,insurance,marital_status,ethnicity\n")
    (folder / "ICUSTAYS.csv").write_text("subject_id,first_careunit,last_careunit,intime,outtime\n")
    (folder / "D_LABITEMS.csv").write_text("itemid,label\ncreatinine,creatinine in serum\n")
    return folder


def _mimic4(folder: Path, rows: Sequence[Row]) -> Path:
    _lab_table(folder / "hosp" / "labevents.csv", rows)
    (folder / "hosp" / "patients.csv").write_text("subject_id,gender,anchor_age,anchor_year,dod\n")
    (folder / "hosp" / "admissions.csv").write_text(f"{_STAYS}\n")
    (folder / "hosp" / "d_labitems.csv").write_text("itemid,label\ncreatinine,creatinine in serum\n")
    return folder


def _eicu(folder: Path, rows: Sequence[Row]) -> Path:
    folder.mkdir(parents=True)
    minutes = (pl.col("time") - datetime(2020, 1, 1)).dt.total_minutes()
    frame = _frame(_labs(rows)).select(
        pl.col("subject_id").alias("patientunitstayid"), minutes.alias("labresultoffset"),
        pl.col("code").str.strip_prefix("LAB//").alias("labname"), pl.col("numeric_value").alias("labresult"),
        pl.col("numeric_value").alias("labresulttext"), pl.col("unit").alias("labmeasurenamesystem"),
        pl.lit("").alias("labresultrevisedoffset"),
    )  # fmt: skip
    frame.write_csv(folder / "lab.csv")
    names = (
        "patientunitstayid,hospitaldischargeyear,unitadmittime24,gender,age,ethnicity,hospitaladmitoffset,"
        "hospitaladmitsource,hospitaldischargeoffset,hospitaldischargelocation,hospitaldischargestatus,unittype,"
        "unitdischargeoffset,admissionheight,admissionweight,dischargeweight"
    )
    stays = [f"{stay},2020,00:00:00" + "," * 13 for stay in _EICU_STAYS]
    (folder / "patient.csv").write_text("\n".join([names, *stays]) + "\n")
    return folder


_EICU_STAYS = (1, 2, 3)


def _fhir(folder: Path, rows: Sequence[Row]) -> Path:
    folder.mkdir(parents=True)
    lines = []
    for i, (who, time, code, value, unit, _) in enumerate(_labs(rows)):
        assert time is not None
        coding = {"system": "http://example.org/LAB", "code": str(code).removeprefix("LAB//")}
        lines.append(
            {
                "resourceType": "Observation", "id": f"o{i}", "status": "final",
                "subject": {} if who is None else {"reference": f"Patient/{who}"},
                "code": {"coding": [coding], "text": DESCRIPTIONS["LAB//creatinine"]},
                "effectiveDateTime": time.isoformat() + "Z", "valueQuantity": {"value": value, "unit": unit},
            }
        )  # fmt: skip
    (folder / "Observation.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


SOURCES = (
    Source("meds dataset", "meds", _meds, lambda path: path / "data" / "0.parquet"),
    Source("meds file", "meds", _single, lambda path: path),
    Source("tables", "csv", _csv, lambda path: path / "rows.csv", is_text=True),
    Source(
        "omop observations",
        "omop",
        _omop,
        lambda path: path / "OBSERVATION.csv",
        _OMOP_KEPT,
        len(_measurements(ROWS)),
        is_text=True,
    ),
    Source("mimic3 results", "mimic3", _mimic3, lambda path: path / "LABEVENTS.csv", _LAB_KEPT, len(_labs(ROWS)), True),
    Source(
        "mimic4 results",
        "mimic4",
        _mimic4,
        lambda path: path / "hosp" / "labevents.csv",
        _LAB_KEPT,
        len(_labs(ROWS)),
        True,
    ),
    Source(
        "fhir observations",
        "fhir",
        _fhir,
        lambda path: path / "Observation.ndjson",
        tuple(_labs(KEPT)),
        len(_labs(ROWS)),
        may_be_empty=True,
    ),
    Source(
        "eicu results",
        "eicu",
        _eicu,
        lambda path: path / "lab.csv",
        _LAB_KEPT,
        len(_labs(ROWS)) + len(_EICU_STAYS),
        True,
    ),
)
