"""A study of a time to an event, with and without competing events, from ``genomix run`` to its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix_cli.app import main

STUDY = """
[study]
title = "Relapse"
question = "Can relapse be predicted?"
outcome = "relapse"
population = "made-up people"
seed = 3
[table]
path = "people.csv"
id_column = "person"
row_word = "people"
columns = ["age", "marker"]
[outcome]
column = "end"
kind = "survival"
time_column = "days"
horizons = [200, 500]
positive = ["relapse"]
negative = ["lost"]
competing = ["died"]
[split]
keep_together = "subjects"
[features.table]
[model]
max_rounds = 60
resamples = 100
"""


def write_people(folder: Path, n: int = 1500) -> pl.DataFrame:
    """Write people whose relapse follows the marker, and whose death follows age."""
    draw = np.random.default_rng(5)
    age, marker = draw.normal(60, 10, n).round(1), draw.normal(size=n).round(3)
    ends = np.column_stack([
        draw.exponential(900 * np.exp(-marker)), draw.exponential(900 * np.exp(-(age - 60) / 10)),
        draw.uniform(100, 1500, n),
    ])  # fmt: skip
    names = np.array(["relapse", "died", "lost"])[ends.argmin(axis=1)]
    frame = pl.DataFrame({"person": [f"MRN-{7000 + i}" for i in range(n)], "age": age, "marker": marker,
                          "days": np.ceil(ends.min(axis=1)), "end": names})  # fmt: skip
    frame.write_csv(folder / "people.csv")
    return frame


def run(folder: Path, study: str = STUDY) -> int:
    (folder / "study.toml").write_text(study)
    return main(["run", str(folder / "study.toml"), "--out", str(folder / "out"), "--device", "cpu"])


def report(folder: Path) -> dict[str, Any]:
    told = json.loads((folder / "out" / "report.json").read_text())
    return {s["name"]: s for s in told["sections"]}


def rows(section: dict[str, Any], start: str) -> list[list[str]]:
    tables = [b.get("table", b) for b in section["blocks"] if b["type"] in ("table", "figure")]
    found = next(t for t in tables if t["caption"].startswith(start))
    return [[c["text"].replace("\u202f", "") for c in row] for row in found["rows"]]


def test_a_study_with_competing_events(tmp_path: Path) -> None:
    people = write_people(tmp_path)
    assert run(tmp_path) == 0
    told = report(tmp_path)
    everyone = rows(told["cohort_flow"], "Events and follow-up")[0]
    n = {end: (people["end"] == end).sum() for end in ("relapse", "died", "lost")}
    assert everyone[:5] == ["All", "1500", str(n["relapse"]), str(n["died"]), str(n["lost"])]
    measures = {r[0]: r[1:] for r in rows(told["performance"], "Held-out")}
    assert 0.6 < float(measures["C-index (Harrell)"][0].split()[0]) < 0.85
    assert "C-index (Uno)" not in measures
    for name in ("AUROC by 500 days", "Brier score by 200 days", "Expected / observed by 500 days"):
        assert name in measures
    assert float(measures["Expected / observed by 500 days"][0].split()[0]) == pytest.approx(1, abs=0.25)
    curve = rows(told["performance"], "Points of the figure")
    assert {r[0] for r in curve} == {"lowest third", "middle third", "highest third"}
    assert "marker" in told["importance"]["finding"]
    assert "log hazard" in json.dumps(told["importance"])
    assert "Aalen–Johansen" in json.dumps(told["calibration"], ensure_ascii=False)
    items = {r[0]: r[2] for r in rows(told["checklist"], "TRIPOD+AI")}
    assert items["20a"] == "in part"
    assert "MRN-" not in (tmp_path / "out" / "report.html").read_text()
    assert "None" not in json.dumps(told)


def test_without_competing_events_uno_s_index_is_there(tmp_path: Path) -> None:
    write_people(tmp_path)
    one = STUDY.replace('negative = ["lost"]', 'negative = ["lost", "died"]').replace('competing = ["died"]', "")
    assert run(tmp_path, one) == 0
    told = report(tmp_path)
    assert len(rows(told["cohort_flow"], "Events and follow-up")[0]) == 5
    assert "C-index (Uno)" in {r[0] for r in rows(told["performance"], "Held-out")}
    assert "Another event" not in told["summary"]["finding"] + told["timeline"]["finding"]


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ('time_column = "days"', "", 8, "time_column"),
        ("horizons = [200, 500]", "horizons = [500, 200]", 8, "increasing"),
        ("horizons = [200, 500]", "horizons = [9000]", 8, "follow-up"),
        ('columns = ["age", "marker"]', 'columns = ["age", "days"]', 8, "only after the prediction"),
        ('keep_together = "subjects"', 'keep_together = "subjects"\ndesign = "cross_validation"', 8, "one split"),
        ('kind = "survival"', 'kind = "binary"', 8, 'belongs to kind = "survival"'),
        ("resamples = 100", "resamples = 100\nmonotone = { age = 1 }", 8, "leave it out"),
        ("seed = 3", "seed = 3\nthreshold = 0.2", 8, "leave it out"),
        ("[split]", '[report]\nsubgroups = ["age"]\n\n[split]', 8, "[report] subgroups is not made"),
        ('competing = ["died"]', "", 7, "'died'"),
    ],
)
def test_wrong_studies(
    tmp_path: Path, old: str, new: str, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_people(tmp_path)
    assert run(tmp_path, STUDY.replace(old, new)) == code
    assert says in capsys.readouterr().err
