"""``genomix ehr``: records of any format into MEDS, described and labelled; counts that add up, exit codes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from genomix.io.meds import read_meds
from genomix.schemas.people import FLOW, LABELS
from genomix_cli.app import main

START = datetime(2020, 1, 1, 9)
TASK = """
predicates:
  visit: {code: VISIT}
  outcome: {code: OUTCOME}
trigger: visit
windows:
  target: {start: trigger, end: start + 10d, start_inclusive: false, end_inclusive: true, label: outcome}
  input: {start: null, end: trigger, start_inclusive: true, end_inclusive: true, index_timestamp: end}
genomix: {censoring: drop}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    days = {
        "1": [("VISIT", 0), ("OUTCOME", 5)],
        "2": [("VISIT", 0), ("OTHER", 20)],
        "x": [("VISIT", 0)],
        "4": [("", 1)],
    }
    rows = [(who, START + timedelta(days=d), code, 90.0) for who, found in days.items() for code, d in found]
    folder = tmp_path / "in" / "data"
    folder.mkdir(parents=True)
    frame = pl.DataFrame(rows, schema=["subject_id", "time", "code", "numeric_value"], orient="row")
    frame.write_parquet(folder / "0.parquet")
    return tmp_path / "in"


@pytest.fixture
def records(source: Path, tmp_path: Path) -> Path:
    assert main(["ehr", "convert", str(source), "-o", str(tmp_path / "records"), "--quiet"]) == 0
    return tmp_path / "records"


def test_convert_accounts_for_every_row(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    assert main(["ehr", "convert", str(source), "--from", "meds", "-o", str(out)]) == 0
    said = capsys.readouterr().err
    assert "1 dropped: subject is missing or not an integer" in said
    assert "1 dropped: code is missing or empty" in said
    assert "6 rows read = 4 kept + 2 dropped; 4 events of 2 people" in said
    assert read_meds(out).events.height == 4
    account = json.loads((out / "metadata" / "conversion.json").read_text())
    assert account["records"]["rows_read"] == account["records"]["rows_kept"] + 2


def test_convert_as_json_and_strict(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["ehr", "convert", str(source), "-o", str(tmp_path / "o"), "--json", "--strict"])
    printed = capsys.readouterr()
    assert code == 15
    assert json.loads(printed.out)["subjects"] == 2
    assert "2 rows gave no event" in printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{in}", "--from", "nonsense", "-o", "{out}"], 8, "one of: "),
        (["{out}/none", "-o", "{out}"], 3, "does not exist"),
        (["{in}", "-o", "{in}"], 9, "exists already"),
        (["{in}", "-o", "{out}", "--mapping", "{task}"], 8, "leave out --mapping"),
        (["{in}", "-o", "{out}", "--availability", "{task}"], 8, "is not TOML"),
        (["{in}", "-o", "{out}", "--units", "guess"], 2, "harmonise"),
    ],
)
def test_convert_refuses(
    arguments: list[str], code: int, words: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK)
    names = {"in": str(source), "out": str(tmp_path / "o"), "task": str(task)}
    assert main(["ehr", "convert", *(a.format(**names) for a in arguments)]) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_describe(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ehr", "describe", str(records), "--codes", str(tmp_path / "codes.parquet"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_subjects"], found["n_events"]) == (2, 4)
    assert found["coverage"] == [{"year": 2020, "events": 4, "people": 2}]
    assert pl.read_parquet(tmp_path / "codes.parquet")["n_events"].sum() == 4
    assert main(["ehr", "describe", str(records)]) == 0
    assert "n events: 4" in capsys.readouterr().out


def test_cohort(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK)
    out, flow, meds = (tmp_path / n for n in ("l.parquet", "f.parquet", "m.parquet"))
    arguments = ["--task", str(task), "-o", str(out), "--flow", str(flow), "--meds-labels", str(meds)]
    assert main(["ehr", "cohort", str(records), *arguments]) == 0
    said = capsys.readouterr().err
    assert "rows 2, people 2, labelled 2, positive 1, censored 0, competing 0" in said
    assert "censoring drop (the task's): 2 rows, 1 of 2 positive" in said
    labels = LABELS.validate(pl.read_parquet(out))
    assert labels.select("subject_id", "value").rows() == [(1, 1.0), (2, 0.0)]
    kept = FLOW.validate(pl.read_parquet(flow))
    assert (kept["entered"] - kept["removed"]).equals(kept["kept"], check_names=False)
    assert pl.read_parquet(meds)["boolean_value"].to_list() == [True, False]


def test_cohort_refuses(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK.replace("{code: OUTCOME}", "{code: OUTCOME, valu_min: 3}"))
    assert main(["ehr", "cohort", str(records), "--task", str(task), "-o", str(tmp_path / "l.parquet")]) == 8
    assert "unknown key 'valu_min'" in capsys.readouterr().err
    task.write_text(TASK)
    assert main(["ehr", "cohort", str(records), "--task", str(task), "-o", str(tmp_path / "l.csv")]) == 8
    assert "l.parquet" in capsys.readouterr().err


def test_ready_tasks_are_listed_printed_and_taken_by_name(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ehr", "tasks"]) == 0
    listed = capsys.readouterr().out
    assert "in_hospital_death\n  Death in hospital" in listed
    assert main(["ehr", "tasks", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {n for n in listed.split("\n") if n and n[0] != " "}
    assert main(["ehr", "tasks", "in_hospital_death"]) == 0
    copied = tmp_path / "copied.yaml"
    copied.write_text(capsys.readouterr().out)
    assert main(["ehr", "tasks", "death"]) == 8
    assert "one of: death_90_days" in capsys.readouterr().err
    for task, code, words in (
        ("in_hospital_death", 7, "no row is left"), (str(copied), 7, "no row is left"),
        ("in_hospital_deth", 8, "neither a ready task nor a file"), ("none.yaml", 3, "none.yaml does not exist"),
    ):  # fmt: skip
        assert main(["ehr", "cohort", str(records), "--task", task, "-o", str(tmp_path / "l.parquet")]) == code
        assert words in capsys.readouterr().err


def test_labels_at_a_horizon_weighted_for_censoring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends = {1: ("OUTCOME", 8), 2: ("OTHER", 3), 3: ("OTHER", 20), 4: ("OUTCOME", 2)}
    rows = [
        (who, START + timedelta(days=d), code) for who, (c, n) in ends.items() for code, d in (("VISIT", 0), (c, n))
    ]
    (tmp_path / "m" / "data").mkdir(parents=True)
    pl.DataFrame(rows, schema=["subject_id", "time", "code"], orient="row").write_parquet(tmp_path / "m/data/0.parquet")
    task = tmp_path / "task.yaml"
    task.write_text(TASK.replace("drop", "censored"))
    out = tmp_path / "l.parquet"
    command = ["ehr", "cohort", str(tmp_path / "m"), "--task", str(task), "-o", str(out)]
    assert main([*command, "--ipcw", "7"]) == 0
    assert "learned from all rows" in capsys.readouterr().err
    found = pl.read_parquet(out)
    # Person 2 leaves at day 3, when three of four are at risk: the two others who stay stand for them by 3 / 2.
    assert found["value"].to_list() == [0, None, 0, 1]
    assert found["weight"].to_list() == pytest.approx([1.5, 0, 1.5, 1])
    split = tmp_path / "s.parquet"
    pl.DataFrame({"subject_id": [1, 3, 4], "split": ["train"] * 3}).write_parquet(split)
    assert main([*command, "--ipcw", "7", "--split", str(split)]) == 0
    assert pl.read_parquet(out)["weight"].to_list() == [1, 0, 1, 1]
    assert main([*command, "--split", str(split)]) == 8
    assert main([*command, "--ipcw", "nan"]) == 2
    assert main([*command, "--ipcw", "0"]) == 8
    pl.DataFrame({"subject_id": [9], "split": ["train"]}).write_parquet(split)
    assert main([*command, "--ipcw", "7", "--split", str(split)]) == 7
