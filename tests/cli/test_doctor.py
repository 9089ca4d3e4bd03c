"""The doctor: everything needed is tried for real, and what is broken is named with an exit code."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from genomix_cli.app import main
from genomix_cli.commands import doctor
from genomix_cli.commands.doctor import EXTRAS, NEEDED, check_packages
from tests.faults import ROOT


def requirements(lines: list[str]) -> set[str]:
    import re

    return {re.split(r"[<>=;\[ ]", line)[0] for line in lines}


def test_every_dependency_is_tried_and_every_extra_is_listed() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(NEEDED) == requirements(project["dependencies"])
    extras = {k: requirements(v) for k, v in project["optional-dependencies"].items() if k != "dev"}
    assert set(EXTRAS) == set(extras)
    for name, packages in EXTRAS.items():
        assert set(packages) <= extras[name]


def test_this_environment_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: p["problem"] for name, p in found["packages"].items()} == dict.fromkeys(NEEDED, "")
    assert found["device"]["reason"]
    assert found["memory_bytes"] > 2**28
    assert found["threads"]["usable"] >= 1
    assert found["environment"]["OMP_WAIT_POLICY"] == "passive"
    assert all(free > 0 for free in found["free_disk_bytes"].values())


def test_each_kind_of_breakage_is_named_and_the_rest_still_tried() -> None:
    checks = {
        "good": "assert 1 + 1 == 2",
        "missing": "import no_such_package",
        "wrong": "assert 1 + 1 == 3",
        "killer": "import os; os.kill(os.getpid(), 9)",
        "leaver": "raise SystemExit(0)",
        "noisy": "print('x' * 100000)",
        "last": "pass",
    }
    found = check_packages(checks)
    assert list(found) == list(checks)
    assert found["good"] == found["noisy"] == found["last"] == ""
    assert found["missing"] == "ModuleNotFoundError: No module named 'no_such_package'"
    assert found["wrong"].startswith("AssertionError")
    assert found["killer"] == "it ended the process: code -9"
    assert found["leaver"].startswith("SystemExit")


def test_a_broken_package_ends_in_a_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "yaml.py").write_text("raise ImportError('libyaml is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "NEEDED", {"pyyaml": NEEDED["pyyaml"], "jinja2": NEEDED["jinja2"]})
    assert main(["doctor"]) == 14
    shown = capsys.readouterr()
    assert "ImportError: libyaml is broken" in shown.out
    assert "error: broken or missing: pyyaml" in shown.err
    assert "jinja2" not in shown.err
