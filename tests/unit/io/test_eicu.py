"""eICU tables of two stays, worked by hand: minutes from a made origin, ages, results known when they are revised."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from genomix.io.eicu import RECORD_FORMAT
from genomix.io.record_conversion import read_records
from genomix.io.record_format import recognise

HEADER = (
    "patientunitstayid,gender,age,ethnicity,hospitaladmitoffset,hospitaladmitsource,hospitaldischargeyear,"
    "hospitaldischargeoffset,hospitaldischargelocation,hospitaldischargestatus,unittype,unitadmittime24,"
    "unitdischargeoffset,admissionheight,admissionweight,dischargeweight,uniquepid\n"
)


def write(folder: Path) -> Path:
    folder.mkdir()
    (folder / "patient.csv").write_text(
        HEADER + "7,Female,87,Asian,-60,,2015,2880,Home,Alive,MICU,13:14:00,1440,157.5,,,002-1\n"
        "8,Male,> 89,,-5,Floor,2015,100,Death,Expired,MICU,01:00:00,90,,,,002-1\n"
        "9,Male,60,,-5,Floor,2015,100,Home,Alive,MICU,bad,90,,,,002-2\n"
    )
    (folder / "lab.csv").write_text(
        "labid,patientunitstayid,labresultoffset,labname,labresult,labresulttext,labmeasurenamesystem,"
        "labresultrevisedoffset\n1,7,10,BUN,31.0,31,mg/dL,45\n2,7,ten,BUN,1,1,mg/dL,45\n3,7,10,BUN,1,1,mg/dL,5\n"
    )
    (folder / "hospital.csv").write_text("hospitalid\n1\n2\n")
    return folder


def test_times_count_from_the_unit_admission(tmp_path: Path) -> None:
    folder = write(tmp_path / "e")
    assert recognise(folder).name == "eicu"
    found = read_records(RECORD_FORMAT, folder)
    of = {(s, c): (t, a) for s, c, t, a in found.events.select("subject_id", "code", "time", "available_time").rows()}
    admitted = datetime(2015, 1, 1, 13, 14)
    assert of[7, "ICU_ADMISSION//MICU"][0] == admitted
    assert of[7, "HOSPITAL_ADMISSION//UNK"][0] == datetime(2015, 1, 1, 12, 14)
    assert of[7, "HOSPITAL_DISCHARGE//Alive//Home"][0] == datetime(2015, 1, 3, 13, 14)
    assert of[7, "MEDS_BIRTH"][0] == datetime(1928, 1, 1)
    labs = found.events.filter(found.events["code"] == "LAB//BUN//mg/dL").sort("numeric_value")
    stamp = datetime(2015, 1, 1, 13, 24)
    assert labs["time"].to_list() == [stamp, stamp]
    assert labs["available_time"].to_list() == [stamp, datetime(2015, 1, 1, 13, 59)]
    assert found.report.tables["lab"]["dropped"] == {"time cannot be read": 1}


def test_ages_above_89_have_no_birth_and_a_bad_clock_no_times(tmp_path: Path) -> None:
    found = read_records(RECORD_FORMAT, write(tmp_path / "e"))
    of = dict(found.events.filter(found.events["subject_id"] == 8).select("code", "time").iter_rows())
    assert of["AGE//> 89"] is None
    assert "MEDS_BIRTH" not in of
    assert of["MEDS_DEATH"] == of["HOSPITAL_DISCHARGE//Expired//Death"] == datetime(2015, 1, 1, 2, 40)
    assert not found.events["code"].str.contains("002-").any()
    # The stay 9 has a birth from its year and age; the times of a clock that cannot be read are counted.
    ninth = set(found.events.filter(found.events["subject_id"] == 9)["code"])
    assert ninth == {"GENDER//Male", "MEDS_BIRTH"}
