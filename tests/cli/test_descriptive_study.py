"""A study without features describes its data and says why nothing was estimated."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from genomix_cli.app import main

TASK = """
predicates:
  visit: {code: VISIT}
  outcome: {code: OUTCOME}
trigger: visit
windows:
  target: {start: trigger, end: start + 10d, start_inclusive: false, end_inclusive: true, label: outcome}
  input: {start: null, end: trigger, start_inclusive: true, end_inclusive: true, index_timestamp: end}
genomix: {censoring: negative}
"""
STUDY = """
[study]
title = "What there is"
question = "What do these records hold?"
outcome = "the outcome"
population = "made-up people"
seed = 1
[records]
path = "records.parquet"
"""


def study(folder: Path, n_events: int, *, task: bool) -> Path:
    start = datetime(2020, 1, 1, 9)
    rows = [(i, start, "VISIT") for i in range(40)]
    rows += [(i, start + timedelta(days=2), "OUTCOME") for i in range(n_events)]
    frame = pl.DataFrame(rows, schema=["subject_id", "time", "code"], orient="row")
    frame.write_parquet(folder / "records.parquet")
    (folder / "task.yaml").write_text(TASK)
    (folder / "study.toml").write_text(STUDY + ('[task]\npath = "task.yaml"\n' if task else ""))
    return folder / "study.toml"


@pytest.mark.parametrize(
    ("n_events", "task", "words"),
    [
        (2, True, "Not estimable: 40 labelled rows are too few, or too much alike, to fit any model."),
        (20, True, "No model was asked for; 40 rows have a label."),
        (2, False, "No outcome and no model were asked for: this report describes the data."),
    ],
)
def test_the_report_says_why_there_is_no_model(tmp_path: Path, n_events: int, task: bool, words: str) -> None:
    path = study(tmp_path, n_events, task=task)
    assert main(["check", str(path)]) == 0
    assert main(["run", str(path), "--out", str(tmp_path / "o"), "--device", "cpu"]) == 0
    report = json.loads((tmp_path / "o/report.json").read_text())
    sections = {s["name"]: s for s in report["sections"]}
    names = ["summary", *(["cohort_flow"] if task else []), "data_quality", "limitations", "reproducibility"]
    assert [n for n in sections if n in names] == names
    assert set(sections) <= {*names, "cohort_flow"}
    assert sections["summary"]["finding"] == words
    text = (tmp_path / "o/report.html").read_text()
    assert "AUROC" not in text
    stages = {p.name for p in (tmp_path / "o/stages").iterdir()}
    assert stages == {"convert_records", "report", *(["cohort"] if task else [])}


def test_small_counts_are_withheld_where_nothing_is_estimable(tmp_path: Path) -> None:
    path = study(tmp_path, 2, task=True)
    assert main(["run", str(path), "--out", str(tmp_path / "o"), "--device", "cpu"]) == 0
    flow = next(
        s for s in json.loads((tmp_path / "o/report.json").read_text())["sections"] if s["name"] == "cohort_flow"
    )
    assert "2 of 40" not in json.dumps(flow, ensure_ascii=False)
    assert "5 %" not in json.dumps(flow, ensure_ascii=False)


def test_an_empty_features_table_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = study(tmp_path, 2, task=True)
    path.write_text(path.read_text() + "[features]\n")
    assert main(["check", str(path)]) == 8
    assert "leave it out for a study that only describes its data" in capsys.readouterr().err
