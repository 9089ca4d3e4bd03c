"""eICU demo tables against plain loops over the same files."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from genomix.io.eicu import RECORD_FORMAT
from genomix.io.mapping_language import parse_mapping
from genomix.io.mapping_proposal import propose_mapping
from genomix.io.record_conversion import read_records

pytestmark = pytest.mark.real_data


def loop(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [{k.lower(): v for k, v in row.items()} for row in csv.DictReader(stream)]


def test_every_row_and_every_result(real_data: Path) -> None:
    folder = real_data / "pyhealth-demo-ehr" / "core" / "eicudemo"
    found = read_records(RECORD_FORMAT, folder)
    for name, table in found.report.tables.items():
        rows = loop(folder / f"{name}.csv")
        assert table["rows_read"] == len(rows), name
        assert table["rows_kept"] + sum(table["dropped"].values()) == len(rows), name
    stays = {r["patientunitstayid"] for r in loop(folder / "patient.csv")}
    assert set(found.events["subject_id"]) <= {int(s) for s in stays}
    labs = [r for r in loop(folder / "lab.csv") if r["labname"].strip() and r["patientunitstayid"] in stays]
    truth = Counter(f"LAB//{r['labname'].strip()}//{r['labmeasurenamesystem'].strip() or 'UNK'}" for r in labs)
    codes = found.events.filter(found.events["code"].str.starts_with("LAB//"))["code"]
    assert dict(codes.value_counts().iter_rows()) == dict(truth)
    cancelled = sum(r["drugordercancelled"] == "Yes" for r in loop(folder / "medication.csv"))
    assert found.report.tables["medication"]["dropped"].get("order cancelled", 0) == cancelled


def test_proposals_for_real_tables_can_be_read(real_data: Path) -> None:
    stays = next((real_data / "uci-diabetes130").rglob("diabetic_data.csv.gz"))
    table = parse_mapping(propose_mapping(stays), where="m").tables[0]
    assert table.subject == "encounter_id"
    assert table.missing == ("?",)
    assert table.columns is not None
    assert "time_in_hospital" in table.columns.numeric
    assert {"race", "readmitted"} <= set(table.columns.categorical)
    parse_mapping(propose_mapping(real_data / "mimic3-demo"), where="m")
