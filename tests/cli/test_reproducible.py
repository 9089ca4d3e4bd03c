"""The same inputs and seed give the same bytes, wherever, whenever, by whomever and however parallel they are run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import faults
from tests.cli import studies
from tests.cli.studies import Demo

PLACES = {
    "another machine's habits": (
        {
            "PYTHONHASHSEED": "1", "TZ": "LINT-14", "LANG": "C", "LC_ALL": "C", "USER": "someone", "LOGNAME": "someone",
            "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "2", "COLUMNS": "40",
        }, 0o077, "2", "elsewhere",
    ),
    "a batch job's": (
        {
            "PYTHONHASHSEED": "4242", "TZ": "NST3:30", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "USER": None,
            "LOGNAME": None, "POLARS_MAX_THREADS": "3", "MPLBACKEND": "svg", "PYTHONUTF8": "0",
        }, 0o002, "1", "a folder/naïve & ünusual",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_every_result_is_byte_identical(name: str, demo: Demo, tmp_path: Path) -> None:
    variables, umask, jobs, place = PLACES[name]
    cwd, home = tmp_path / place, tmp_path / "home"
    cwd.mkdir(parents=True), home.mkdir()
    done = subprocess.run(
        [sys.executable, *studies.demo_command(Path("results"), "--jobs", jobs)],
        env=studies.environment(HOME=str(home), **variables), cwd=cwd, umask=umask,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = cwd / "results"
    found = faults.final_hashes(out)
    assert sorted(n for n in {*found, *demo.wanted} if found.get(n) != demo.wanted.get(n)) == []
    assert {"current.json", "report.html", "report.json", "model_card.json", "examples.html"} <= found.keys()
    assert sum(n.startswith("stages/") for n in found) > 50
    runs = [(folder / faults.RUN_RECORD).read_bytes() for folder in (out, demo.out)]
    assert runs[0] != runs[1]  # the one file that tells the runs apart
    assert faults.temporaries(out) == []


def test_no_result_says_where_or_by_whom_it_was_made(demo: Demo) -> None:
    known = (str(demo.out), f"{Path.home()}/", str(faults.ROOT), socket.gethostname())
    secrets = [text.encode() for text in known if len(text) > 5]  # a shorter one may stand there by chance
    for name in demo.wanted:
        content = (demo.out / name).read_bytes()
        assert not any(secret in content for secret in secrets), name


def test_the_run_record_holds_what_differs(demo: Demo) -> None:
    text = (demo.out / faults.RUN_RECORD).read_text()
    assert str(demo.out) in text
    assert os.uname().nodename in text
