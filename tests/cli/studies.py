"""The real command line on a small real study: run it, spoil its inputs, and look at what it left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests import faults
from tests.faults import Event

COMMAND = ("-m", "genomix_cli.app")
STAGES = (
    "convert_genotypes", "convert_records", "genotype_qc", "kinship", "link", "cohort", "split", "features", "model",
    "certificate", "evaluate", "explain", "report",
)  # fmt: skip
"""The demo's stages, in the order in which they run one after the other."""


def genomix(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``genomix ARGUMENTS`` as a process of its own, away from any terminal."""
    return python([*COMMAND, *(str(a) for a in arguments)], **options)


def python(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run what follows ``python`` as a process of its own."""
    settings = {"env": faults.environment(), "capture_output": True, "text": True, "check": False}
    return subprocess.run([sys.executable, *command], **{**settings, **options})


@dataclass(frozen=True)
class Study:
    """A study's inputs and its output folder, which a test may spoil."""

    inputs: Path
    out: Path

    @property
    def file(self) -> Path:
        """The study file."""
        return self.inputs / "study.toml"

    def run(self, *options: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Run the study on the CPU."""
        return genomix("run", self.file, "--out", self.out, "--device", "cpu", *options, **settings)

    def command(self, *options: str) -> list[str]:
        """Return what follows ``python`` to run the study."""
        return [*COMMAND, "run", str(self.file), "--out", str(self.out), "--device", "cpu", *options]

    def edit(self, old: str, new: str, *, file: str = "study.toml") -> None:
        """Replace a text that an input file holds exactly once."""
        path = self.inputs / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def set(self, table: str, key: str, value: str) -> None:
        """Set a key of the study file to a TOML value, whether the file has the key, the table, or neither."""
        lines = self.file.read_text().splitlines()
        if f"[{table}]" not in lines:
            lines += [f"[{table}]"]
        start = lines.index(f"[{table}]") + 1
        end = next((i for i in range(start, len(lines)) if lines[i].startswith("[")), len(lines))
        kept = [line for line in lines[start:end] if line.split("=")[0].strip() != key]
        lines[start:end] = [f"{key} = {value}", *kept]
        self.file.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Demo:
    """The small demo, run once to its end: its folder and every file operation below it."""

    out: Path
    trace: Path

    @cached_property
    def events(self) -> list[Event]:
        """The file operations of the run, in order."""
        return [Event(*json.loads(line)) for line in self.trace.read_text().splitlines()]

    @cached_property
    def wanted(self) -> dict[str, str]:
        """The SHA-256 of every final file."""
        return faults.final_hashes(self.out)

    @cached_property
    def people(self) -> frozenset[str]:
        """Every identifier of a sample or subject."""
        rows = (self.out / "inputs" / "link.csv").read_text().split()[1:]
        return frozenset(name for row in rows for name in row.split(","))

    def copy(self, folder: Path) -> Study:
        """Copy the demo into ``folder``: its inputs, and its output beside them."""
        shutil.copytree(self.out / "inputs", folder / "study")
        shutil.copytree(self.out, folder / "out", ignore=lambda place, _: ["inputs"] if place == str(self.out) else [])
        return Study(folder / "study", folder / "out")

    def named_in(self, text: str) -> set[str]:
        """Return the people whom a text names, in any case."""
        folded = {name.casefold() for name in self.people}
        return folded & set(re.findall(r"[a-z0-9]+", text.casefold()))


def demo_command(out: Path, *options: str) -> list[str]:
    """Return what follows ``python`` to run the small demo."""
    return [*COMMAND, "demo", "--size", "small", "--device", "cpu", "--out", str(out), *options]


def run_demo(folder: Path) -> Demo:
    """Run the small demo in ``folder`` to its end, watching its file operations."""
    faults.trace(demo_command(folder / "demo"), folder / "demo", folder)
    return Demo(folder / "demo", folder / "trace.jsonl")


def intact(before: Mapping[str, str], out: Path) -> None:
    """Assert that every earlier output stands as it did, and that nothing under a final name is partial.

    ``current.json`` may have moved on to stages that were completed before the run failed.
    """
    after = faults.final_hashes(out)
    changed = [name for name, digest in before.items() if name != "current.json" and after.get(name) != digest]
    assert not changed, changed
    faults.assert_whole(out)
    assert faults.temporaries(out) == []
    assert not (out / faults.LOCK).exists()


def refused(done: subprocess.CompletedProcess[str], code: int, words: Sequence[str], demo: Demo) -> None:
    """Assert an exit code and one last line that says what is wrong and what to try, and names nobody."""
    assert done.returncode == code, (done.returncode, done.stderr)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: "), done.stderr
    assert ". Try: " in last, last
    for word in words:
        assert word in last, (word, last)
    assert "Traceback" not in done.stderr
    assert not demo.named_in(done.stderr + done.stdout)


def statuses(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return what a run with ``--json`` says of each stage."""
    assert done.returncode == 0, done.stderr
    return {node["name"]: node["status"] for node in json.loads(done.stdout)["nodes"]}


def environment(**changes: str | None) -> dict[str, str]:
    """Return the child's environment with some variables set, or removed where None."""
    merged = {**faults.environment(), **changes}
    return {name: value for name, value in merged.items() if value is not None}


def can(*command: str) -> bool:
    """Say whether a command succeeds here."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False, cwd=os.sep).returncode == 0
