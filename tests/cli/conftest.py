"""One run of the small demo for every test of the command line, also over several test processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.cli import studies


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> studies.Demo:
    """The finished small demo. Nobody may change it; ``Demo.copy`` gives a copy."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return studies.run_demo(tmp_path_factory.mktemp("demo"))
    return _once_for_all_workers(base.parent / "demo")


def _once_for_all_workers(folder: Path) -> studies.Demo:
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "done").exists():
            return studies.Demo(folder / "demo", folder / "trace.jsonl")
        found = studies.run_demo(folder)
        (folder / "done").touch()
        return found
