"""What a process costs, measured by the operating system; shared by the benchmarks.

No numerical library is imported here: Linux counts the memory of the process that starts a child in the child's peak.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OPENBLAS = Path("/usr/lib/x86_64-linux-gnu/openblas-pthread")


class Usage(NamedTuple):
    """What one process cost."""

    cpu_seconds: float
    seconds: float
    peak_mib: float
    output: str


def run(command: Sequence[str | Path], *, openblas: bool = False) -> Usage:
    """Run a command in a process of its own."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    if openblas and OPENBLAS.is_dir():
        environment |= {"LD_LIBRARY_PATH": str(OPENBLAS)}
    begun = time.monotonic()
    child = subprocess.Popen(
        [str(c) for c in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=ROOT,
        text=True,
    )
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} ended with {child.returncode}:\n{output[-2000:]}")
    return Usage(used.ru_utime + used.ru_stime, time.monotonic() - begun, used.ru_maxrss / 1024, output)


def best(command: Sequence[str | Path], *, repeats: int, openblas: bool = False) -> Usage:
    """Run a command several times and return the cheapest."""
    return min((run(command, openblas=openblas) for _ in range(repeats)), key=lambda u: u.cpu_seconds)


def genomix(*arguments: str | Path) -> list[str | Path]:
    """Return the command line of a genomix command in this checkout."""
    return [sys.executable, "-c", "import sys; from genomix_cli.app import main; sys.exit(main())", *arguments]
