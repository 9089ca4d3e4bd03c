"""The Synthea OMOP sample: every row counted by a plain loop, and CSV and Parquet say the same."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from genomix.io.omop import RECORD_FORMAT

SET = "omop-synthea27nj"
CSV, PARQUET = f"{SET}/Synthea27Nj_5.4", f"{SET}/Synthea27NjParquet_5.4/Synthea27NjParquet"


def loop(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.real_data
def test_every_row_is_counted(real_data: Path) -> None:
    found = RECORD_FORMAT.read(real_data / CSV)
    for name, table in found.report.tables.items():
        rows = loop(real_data / CSV / f"{name.upper()}.csv")
        assert table["rows_read"] == len(rows), name
        assert table["rows_kept"] + sum(table["dropped"].values()) == len(rows), name
    assert found.events["subject_id"].n_unique() == 28


@pytest.mark.real_data
def test_measurements_equal_a_plain_loop(real_data: Path) -> None:
    concepts = {
        r["concept_id"]: f"{r['vocabulary_id']}//{r['concept_code']}" for r in loop(real_data / CSV / "CONCEPT.csv")
    }
    expected = []
    for row in loop(real_data / CSV / "MEASUREMENT.csv"):
        ids = (row["measurement_concept_id"], row["measurement_source_concept_id"])
        code = next(
            (concepts.get(i, f"OMOP//{i}") for i in ids if i != "0"), f"MEASUREMENT//{row['measurement_source_value']}"
        )
        value = float(row["value_as_number"]) if row["value_as_number"] else None
        expected.append((int(row["person_id"]), row["measurement_date"], code, value))
    codes = {code for _, _, code, _ in expected}
    events = RECORD_FORMAT.read(real_data / CSV).events
    found = [
        (who, str(when.date()), code, value)
        for who, when, code, value in events.select("subject_id", "time", "code", "numeric_value").iter_rows()
        if code in codes and when is not None
    ]

    def key(row: tuple[int, str, str, float | None]) -> tuple[int, str, str, float]:
        return (*row[:3], -1e9 if row[3] is None else row[3])

    missing = [r for r in expected if r[2] not in {f[2] for f in found}]
    assert not missing
    measured = sorted(expected, key=key)
    others = {c for c in codes if sum(f[2] == c for f in found) != sum(e[2] == c for e in expected)}
    assert len(others) <= 5, others  # a concept may also stand in another table
    mine = sorted((f for f in found if f[2] not in others), key=key)
    theirs = [m for m in measured if m[2] not in others]
    assert [m[:3] for m in mine] == [t[:3] for t in theirs]
    assert [m[3] for m in mine] == [None if t[3] is None else pytest.approx(t[3], rel=1e-6) for t in theirs]


@pytest.mark.real_data
def test_csv_and_parquet_say_the_same(real_data: Path) -> None:
    one, other = RECORD_FORMAT.read(real_data / CSV), RECORD_FORMAT.read(real_data / PARQUET)
    assert one.report.rows_read == other.report.rows_read
    assert one.events.equals(other.events)


@pytest.mark.real_data
def test_another_site_with_negative_identifiers(real_data: Path) -> None:
    found = RECORD_FORMAT.read(real_data / "pyhealth-demo-ehr" / "omop")
    assert sum(t["rows_read"] for t in found.report.tables.values()) == found.report.rows_read
    assert found.events["subject_id"].min() < 0


STARTS = {
    "visit_occurrence": "visit_start", "visit_detail": "visit_detail_start", "condition_occurrence": "condition_start",
    "drug_exposure": "drug_exposure_start", "procedure_occurrence": "procedure",
    "device_exposure": "device_exposure_start", "measurement": "measurement", "observation": "observation",
    "death": "death",
}  # fmt: skip


@pytest.mark.real_data
@pytest.mark.parametrize("folder", [CSV, "pyhealth-demo-ehr/omop"])
def test_each_row_begins_when_a_plain_loop_says(real_data: Path, folder: str) -> None:
    begun: dict[str, list[tuple[str, str]]] = {}
    for part in RECORD_FORMAT.scan(real_data / folder).parts():
        assert not part.dropped.height
        rows = part.events.filter(pl.col("time").is_not_null()).group_by("source_row").agg(
            pl.col("subject_id").first(), pl.col("time").min().dt.to_string("%Y-%m-%d %H:%M:%S"),
        )  # fmt: skip
        begun.setdefault(part.table, []).extend(rows.sort("source_row").select("subject_id", "time").rows())
    files = {p.stem.lower(): p for p in (real_data / folder).glob("*.[cC][sS][vV]")}
    for table, start in STARTS.items():
        expected = []
        for row in loop(files[table]) if table in files else []:
            clock, date = row[f"{start}_datetime"], row[f"{start}_date"]
            expected.append((row["person_id"], clock if clock[:10] == date else f"{date} 00:00:00"))
        assert begun.get(table, []) == expected, table
