"""A study run again: nothing is done twice, a change redoes what depends on it, an interruption costs no result."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genomix.device import CPU
from genomix_pipelines import execute as execution
from genomix_pipelines.study import load_study
from tests import faults
from tests.cli import studies
from tests.cli.studies import STAGES, Demo, Study

AFTER_MODEL = {"model", "certificate", "evaluate", "explain", "report"}
AFTER_FEATURES = {"features", *AFTER_MODEL}
AFTER_SPLIT = {"split", *AFTER_FEATURES}
AFTER_COHORT = {"cohort", *AFTER_SPLIT}


@pytest.fixture
def study(demo: Demo, tmp_path: Path) -> Study:
    """A copy of the finished small demo."""
    return demo.copy(tmp_path)


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file below a folder was changed, and its bytes; folders too."""
    found = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*"))}
    return {n: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for n, p in found.items()}


def would_run(study: Study) -> set[str]:
    """Return the stages that a run would do now."""
    outcome = execution.execute(load_study(study.file), study.out, device=CPU, dry_run=True)
    assert [node.name for node in outcome.result.nodes] == list(STAGES)
    return {node.name for node in outcome.result.nodes if node.status == "planned"}


def test_a_second_run_does_nothing_and_says_so(study: Study, tmp_path: Path) -> None:
    before = {n: v for n, v in everything(study.out).items() if n != faults.RUN_RECORD}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = study.run(cwd=elsewhere)
    assert done.returncode == 0
    assert f"nothing to do: all {len(STAGES)} stages are up to date in {study.out}" in done.stderr
    assert done.stderr.count("reused") == len(STAGES)
    assert done.stdout == f"{study.out / 'report.html'}\n"
    assert {n: v for n, v in everything(study.out).items() if n != faults.RUN_RECORD} == before
    assert list(elsewhere.iterdir()) == []
    record = json.loads((study.out / faults.RUN_RECORD).read_bytes())
    assert record["working_folder"] == str(elsewhere)
    assert {node["status"] for node in record["nodes"]} == {"reused"}


CHANGES: dict[tuple[str, str, str], set[str]] = {
    ("study", "title", '"Another title"'): {"report"},
    ("study", "report_date", '"2026-11-24"'): {"report"},
    ("study", "seed", "2"): AFTER_SPLIT,
    ("study", "threshold", "0.25"): {"evaluate", "report"},
    ("[scores]", "discovery_cohorts", '"unknown"'): {"certificate", "evaluate", "report"},
    ("[scores]", "minimum_coverage", "0.5"): AFTER_FEATURES,
    ("genotypes.qc", "hwe_p", "1e-9"): {"genotype_qc", "kinship", "link", *AFTER_COHORT},
    ("split", "held_out", "0.3"): AFTER_SPLIT,
    ("split", "kinship", "0.0884"): {"kinship", *AFTER_SPLIT},
    ("features.ancestry_pcs", "n_components", "4"): AFTER_FEATURES,
    ("features.record_windows", "windows", '["90d", "full"]'): AFTER_FEATURES,
    ("model", "max_depth", "4"): AFTER_MODEL,
    ("model", "resamples", "300"): {"evaluate", "report"},
    ("report", "examples", "0"): {"explain", "report"},
    ("report", "beeswarm_rows", "60"): {"explain", "report"},
    ("report", "subgroups", '["sex"]'): {"evaluate", "report"},
    ("compute", "threads", "7"): {"report"},
    ("split", "design", '"holdout"'): set(),
    ("model", "learning_rate", "0.05"): set(),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: f"{c[0]}.{c[1]} = {c[2]}")
def test_a_changed_key_redoes_what_depends_on_it_and_nothing_else(change: tuple[str, str, str], study: Study) -> None:
    study.set(*change)
    assert would_run(study) == CHANGES[change]


INPUT_CHANGES = {
    "task.yaml": AFTER_COHORT,
    "link.csv": {"link", *AFTER_COHORT},
    "score_weights.tsv": AFTER_FEATURES,
    "sample_info.tsv": {"convert_genotypes", "genotype_qc", "kinship", "link", *AFTER_COHORT},
    "truth.json": set[str](),
}


@pytest.mark.parametrize("file", INPUT_CHANGES)
def test_a_changed_input_redoes_what_reads_it(file: str, study: Study) -> None:
    path = study.inputs / file
    os.utime(path, (0, 0))
    assert would_run(study) == set()
    path.write_bytes(path.read_bytes() + b"\n")
    assert would_run(study) == INPUT_CHANGES[file]


def test_inputs_elsewhere_under_other_folders_change_nothing(study: Study, tmp_path: Path) -> None:
    moved = shutil.move(study.inputs, tmp_path / "moved")
    assert would_run(Study(Path(moved), study.out)) == set()


def test_a_change_is_run_and_taken_back(study: Study, demo: Demo) -> None:
    text = study.file.read_text()
    before = faults.final_hashes(study.out)
    study.set("report", "beeswarm_rows", "60")
    changed = studies.statuses(study.run("--json"))
    assert {name for name, status in changed.items() if status == "done"} == {"explain", "report"}
    assert faults.final_hashes(study.out)["report.html"] != before["report.html"]
    study.file.write_text(text)
    assert set(studies.statuses(study.run("--json")).values()) == {"reused"}
    after = faults.final_hashes(study.out)
    assert {name: after[name] for name in before} == before


def test_the_report_is_put_in_place_while_the_folder_is_locked(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: list[bool] = []
    monkeypatch.setattr(
        execution, "publish", lambda folder, out: locked.append((out / faults.LOCK).exists() and folder.is_dir())
    )
    execution.execute(load_study(study.file), study.out, device=CPU)
    assert locked == [True]


@pytest.mark.parametrize("options", [(), ("--from", "model")])
def test_a_dry_run_writes_nothing(options: tuple[str, ...], study: Study, tmp_path: Path) -> None:
    study.set("model", "max_depth", "4")
    before = everything(tmp_path)
    done = study.run("--dry-run", *options)
    assert done.returncode == 0
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("planned ")} == AFTER_MODEL
    assert everything(tmp_path) == before


def test_a_dry_run_makes_no_folder(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "not" / "there"
    done = Study(study.inputs, out).run("--dry-run")
    assert done.stdout.count("planned  ") == len(STAGES)
    assert not out.parent.exists()


def test_from_a_stage_recomputes_and_compares(study: Study) -> None:
    before = faults.final_hashes(study.out)
    done = study.run("--from", "model")
    assert done.returncode == 0, done.stderr
    compared = [line.split("] ")[1].split()[0] for line in done.stderr.splitlines() if "same bytes as before" in line]
    assert compared == [name for name in STAGES if name in AFTER_MODEL]
    assert faults.final_hashes(study.out) == before
    assert faults.temporaries(study.out) == []


def test_from_a_stage_that_does_not_exist(study: Study, demo: Demo) -> None:
    before = faults.final_hashes(study.out)
    studies.refused(study.run("--from", "modle"), 8, ["no stage 'modle'", "evaluate"], demo)
    studies.intact(before, study.out)


def interrupt(study: Study, stage: str, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Start the study and send it a signal as soon as it works on a stage."""
    process = subprocess.Popen(
        [sys.executable, *study.command()], env=faults.environment(), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(study.out.glob(f"stages/{stage}/.tmp-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, "", text)


def test_interrupted_twice_and_resumed(study: Study, demo: Demo) -> None:
    wanted = faults.final_hashes(study.out)
    for name in ("evaluate", "explain", "report"):
        shutil.rmtree(study.out / "stages" / name)
    for name in ("report.html", "report.json", "examples.html", "current.json", "run.json"):
        (study.out / name).unlink()

    ended = interrupt(study, "evaluate", signal.SIGTERM)
    assert ended.returncode == 143
    assert "Traceback" not in ended.stderr
    assert faults.temporaries(study.out) == []
    assert not (study.out / faults.LOCK).exists()
    faults.assert_whole(study.out)

    killed = interrupt(study, "explain", signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    assert faults.temporaries(study.out)
    assert (study.out / faults.LOCK).exists()
    assert not (study.out / "report.html").exists()
    assert list((study.out / "stages" / "evaluate").glob("[0-9a-f]*"))

    faults.assert_recovers(lambda: faults.run(study.command()), study.out, wanted)
