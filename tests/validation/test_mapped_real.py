"""Real tables by mappings: rows counted by plain loops, MIMIC-III's and a hundred thousand hospital stays."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from genomix.io.csv_records import RECORD_FORMAT as CSV
from genomix.io.mimic3 import RECORD_FORMAT as MIMIC3
from genomix.io.mimic4 import RECORD_FORMAT as MIMIC4
from genomix.io.record_conversion import read_records


def loop(path: Path) -> list[dict[str, str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as stream:
        return [{k.lower(): v for k, v in row.items()} for row in csv.DictReader(stream)]


@pytest.mark.real_data
def test_mimic3_demo_by_plain_loops(real_data: Path) -> None:
    folder = real_data / "mimic3-demo"
    found = read_records(MIMIC3, folder)
    for name, table in found.report.tables.items():
        rows = loop(folder / f"{name.upper()}.csv")
        assert table["rows_read"] == len(rows), name
        assert table["rows_kept"] + sum(table["dropped"].values()) == len(rows), name
    stays = {r["hadm_id"]: r["dischtime"] for r in loop(folder / "ADMISSIONS.csv")}
    diagnoses = [r for r in loop(folder / "DIAGNOSES_ICD.csv") if r["icd9_code"].strip()]
    expected = sorted(
        (int(r["subject_id"]), f"DIAGNOSIS//ICD//9//{r['icd9_code'].strip()}", stays[r["hadm_id"]])
        for r in diagnoses if stays.get(r["hadm_id"])
    )  # fmt: skip
    events = found.events.filter(found.events["code"].str.starts_with("DIAGNOSIS//"))
    told = [(s, c, str(t)) for s, c, t in events.select("subject_id", "code", "time").iter_rows()]
    assert sorted(told) == expected
    assert found.events["subject_id"].n_unique() == 100


@pytest.mark.real_data
def test_mimic4_tables_of_another_project(real_data: Path) -> None:
    folder = real_data / "pyhealth-demo-ehr" / "core" / "mimic4demo"
    report = read_records(MIMIC4, folder).report
    for name, table in report.tables.items():
        path = next(folder.rglob(f"{name}.csv"))
        assert table["rows_read"] == len(loop(path)), name


@pytest.mark.real_data
def test_a_wide_table_of_a_hundred_thousand_stays(real_data: Path, tmp_path: Path) -> None:
    source = next((real_data / "uci-diabetes130").rglob("diabetic_data.csv.gz"))
    (tmp_path / "m.toml").write_text(
        'subject = "encounter_id"\nmissing = ["?"]\n[[table]]\nfile = "*"\n[table.columns]\n'
        'numeric = ["time_in_hospital", "num_lab_procedures"]\ncategorical = ["race", "readmitted"]\n'
        'skip = ["patient_nbr"]\n'
    )
    found = read_records(CSV, source, mapping=tmp_path / "m.toml")
    rows = loop(source)
    assert found.report.rows_read == found.report.rows_kept == len(rows)
    codes = dict(found.events["code"].value_counts().iter_rows())
    assert codes["readmitted//<30"] == sum(r["readmitted"] == "<30" for r in rows)
    assert codes["race//Asian"] == sum(r["race"] == "Asian" for r in rows)
    assert "race//?" not in codes
