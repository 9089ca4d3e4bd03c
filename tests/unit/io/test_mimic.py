"""MIMIC tables of a person or two, worked by hand: names of codes, what counts from discharge, what is known when."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from genomix.io import mimic3, mimic4
from genomix.io.record_conversion import read_records
from genomix.io.record_format import recognise


def write(folder: Path, tables: dict[str, str]) -> Path:
    for name, text in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def events(found: pl.DataFrame) -> dict[str, tuple[datetime | None, datetime | None]]:
    return {code: (time, known) for code, time, known in found.select("code", "time", "available_time").iter_rows()}


THREE = {
    "PATIENTS.csv": "row_id,subject_id,gender,dob,dod\n1,10,F,2094-03-05 00:00:00,2165-08-12 00:00:00\n",
    "ADMISSIONS.csv": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admission_location,"
    "discharge_location,insurance,marital_status,ethnicity\n"
    "10,7,2164-10-23 21:09:00,2164-11-01 17:15:00,,EMERGENCY,ER,HOME,Medicare,SINGLE,WHITE\n",
    "ICUSTAYS.csv": "subject_id,hadm_id,first_careunit,last_careunit,intime,outtime\n"
    "10,7,MICU,SICU,2164-10-23 21:10:15,2164-10-25 12:21:07\n",
    "DIAGNOSES_ICD.csv": "subject_id,hadm_id,seq_num,icd9_code\n10,7,1,99591\n10,8,1,0389\n",
    "D_ICD_DIAGNOSES.csv": "icd9_code,long_title\n99591,Sepsis\n",
    "LABEVENTS.csv": "subject_id,itemid,charttime,value,valuenum,valueuom\n"
    "10,50912,2164-10-24 06:00:00,1.2,1.2,mg/dL\n",
    "D_LABITEMS.csv": "itemid,label\n50912,Creatinine\n",
    "NOTEEVENTS.csv": 'subject_id,chartdate,charttime,category,text\n10,2164-10-24,,Nursing,"secret words"\n',
}  # fmt: skip


def test_mimic3(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", THREE)
    found = read_records(recognise(folder), folder)
    known = events(found.events)
    discharge = datetime(2164, 11, 1, 17, 15)
    assert known["DIAGNOSIS//ICD//9//99591"] == (discharge, discharge)
    assert known["MEDS_BIRTH"][1] == datetime(2094, 3, 5, 23, 59, 59, 999999)
    assert known["LAB//50912//mg/dL"] == (datetime(2164, 10, 24, 6), datetime(2164, 10, 24, 6))
    assert known["NOTE//Nursing"][1] == datetime(2164, 10, 24, 23, 59, 59, 999999)
    assert known["ICU_DISCHARGE//SICU"][0] == datetime(2164, 10, 25, 12, 21, 7)
    assert found.report.tables["diagnoses_icd"]["dropped"] == {"there is no time": 1}
    assert not found.events.select(pl.any_horizontal(pl.col(pl.String).str.contains("secret")).any()).item()
    assert dict(found.descriptions.iter_rows())["LAB//50912//mg/dL"] == "Creatinine"
    lab = found.events.row(by_predicate=pl.col("code") == "LAB//50912//mg/dL", named=True)
    assert (lab["numeric_value"], lab["unit"]) == (pytest.approx(1.2), "mg/dL")


FOUR = {
    "hosp/patients.csv": "subject_id,gender,anchor_age,anchor_year,dod\n10,F,52,2180,2181-01-05\n",
    "hosp/admissions.csv": "subject_id,hadm_id,admittime,dischtime,admission_type,admission_location,"
    "discharge_location,race\n10,7,2180-05-06 22:23:00,2180-05-07 17:15:00,URGENT,TRANSFER,HOME,WHITE\n",
    "hosp/labevents.csv": "subject_id,itemid,charttime,storetime,value,valuenum,valueuom\n"
    "10,50912,2180-05-06 23:00:00,2180-05-07 00:10:00,1.2,1.2,mg/dL\n",
    "hosp/d_labitems.csv": "itemid,label\n50912,Creatinine\n",
    "hosp/procedures_icd.csv": "subject_id,hadm_id,chartdate,icd_code,icd_version\n10,7,2180-05-07,5491,9\n",
    "hosp/diagnoses_icd.csv": "subject_id,hadm_id,seq_num,icd_code,icd_version\n10,7,1,I10 ,10\n",
    "icu/icustays.csv": "subject_id,hadm_id,first_careunit,last_careunit,intime,outtime\n"
    "10,7,MICU,MICU,2180-05-06 23:30:00,2180-05-07 10:00:00\n",
}  # fmt: skip


def test_mimic4(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", FOUR)
    found = read_records(recognise(folder), folder)
    known = events(found.events)
    discharge = datetime(2180, 5, 7, 17, 15)
    assert known["MEDS_BIRTH"][0] == datetime(2128, 1, 1)
    assert known["LAB//50912//mg/dL"] == (datetime(2180, 5, 6, 23), datetime(2180, 5, 7, 0, 10))
    assert known["PROCEDURE//ICD//9//5491"][1] == datetime(2180, 5, 7, 23, 59, 59, 999999)
    assert known["DIAGNOSIS//ICD//10//I10"] == (discharge, discharge)
    assert known["HOSPITAL_ADMISSION//URGENT//TRANSFER"][0] == datetime(2180, 5, 6, 22, 23)
    assert found.report.rows_read == found.report.rows_kept == 6


INFUSIONS = (
    "subject_id,itemid,starttime,endtime,storetime,amount,amountuom,rate,rateuom,statusdescription\n"
    "10,225158,2180-05-06 23:00:00,2180-05-07 03:00:00,2180-05-06 23:05:00,400,mL,100,mL/hour,FinishedRunning\n"
)


@pytest.mark.parametrize(
    ("tables", "name"), [(THREE, "INPUTEVENTS_MV.csv"), (FOUR, "icu/inputevents.csv")], ids=["mimic3", "mimic4"]
)
def test_the_amount_of_an_infusion_is_not_known_before_it_ends(
    tables: dict[str, str], name: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "m", {**tables, name: INFUSIONS})
    found = read_records(recognise(folder), folder).events.filter(pl.col("code").str.starts_with("INFUSION"))
    assert found.sort("time").select("code", "numeric_value", "unit", "available_time").rows() == [
        ("INFUSION_START//225158", 100.0, "mL/hour", datetime(2180, 5, 6, 23, 5)),
        ("INFUSION_END//225158", 400.0, "mL", datetime(2180, 5, 7, 3)),
    ]


def test_a_store_date_on_the_day_of_the_event_counts_at_its_end(tmp_path: Path) -> None:
    cultures = (
        "subject_id,chartdate,charttime,storedate,storetime,spec_type_desc,org_name\n"
        "10,2180-05-06,2180-05-06 10:00:00,2180-05-06,,BLOOD,E. COLI\n"
    )
    folder = write(tmp_path / "m", {**FOUR, "hosp/microbiologyevents.csv": cultures})
    known = events(read_records(recognise(folder), folder).events)
    assert known["MICROBIOLOGY//BLOOD//E. COLI"][1] == datetime(2180, 5, 6, 23, 59, 59, 999999)


def test_each_is_recognised_alone(tmp_path: Path) -> None:
    three, four = write(tmp_path / "3", THREE), write(tmp_path / "4", FOUR)
    assert (mimic3.RECORD_FORMAT.recognises(three), mimic4.RECORD_FORMAT.recognises(three)) == (True, False)
    assert (mimic3.RECORD_FORMAT.recognises(four), mimic4.RECORD_FORMAT.recognises(four)) == (False, True)
    assert not mimic3.RECORD_FORMAT.recognises(three / "PATIENTS.csv")
