"""The demo is killed while it writes: nothing partial is left under a final name, and the same command finishes it.

A few kills run with the other tests. The exhaustive ones (``make test-faults``) kill the demo before every file that
it opens for writing, every rename, every link and every new folder, and at random moments.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from genomix_pipelines.store import read_pointer, write_pointer
from tests import faults
from tests.cli import studies
from tests.cli.studies import STAGES, Demo, Study
from tests.faults import Event

SAMPLE = int(os.environ.get("GENOMIX_FAULT_SAMPLE", "1"))
"""1 for every operation; n for every n-th, and a n-th of the random moments, where minutes are short."""

POINTS = ("open", "rename", "link", "mkdir")
RANDOM_MOMENTS = 20

CHAIN = (17, 64, 80, 90, 100, 110)
"""Operations at which six attempts, each resuming the one before, are killed; one stage is some 35 operations."""


@dataclass(frozen=True)
class Part:
    """A part of the demo's output that is made again, while the rest is there, and the operations that make it."""

    name: str
    clear: Callable[[Path], None]
    owns: Callable[[Event], bool]

    def command(self, out: Path) -> list[str]:
        """Return the command that makes the part again: the demo only where its inputs are made, which takes longer."""
        return studies.demo_command(out) if self.name == "inputs" else Study(out / "inputs", out).command()


def clear_inputs(out: Path) -> None:
    shutil.rmtree(out / "inputs")


def clear_stage(name: str, out: Path) -> None:
    """Remove a stage and its place in ``current.json``, as if it had not been reached."""
    shutil.rmtree(out / "stages" / name)
    write_pointer(out, {stage: digest for stage, digest in read_pointer(out).items() if stage != name})


def clear_stages(out: Path) -> None:
    shutil.rmtree(out / "stages")
    (out / "current.json").unlink()


def clear_top(out: Path) -> None:
    for path in [p for p in out.iterdir() if p.is_file()]:
        path.unlink()


def within(place: str, event: Event) -> bool:
    return event.path == place or event.path.startswith(f"{place}/")


def at_the_top(event: Event) -> bool:
    return not any(within(place, event) for place in ("inputs", "stages"))


PARTS = (
    Part("inputs", clear_inputs, partial(within, "inputs")),
    *(Part(name, partial(clear_stage, name), partial(within, f"stages/{name}")) for name in STAGES),
    Part("the folder of stages", clear_stages, lambda event: event.path == "stages"),
    Part("the top", clear_top, at_the_top),
)


def kinds(events: list[Event]) -> set[Event]:
    """Return the operations at which a kill differs: random names are made one."""
    return {Event(*(re.sub(r"[0-9a-f]{32}", "*", text) for text in e)) for e in events if e.kind in POINTS}


def test_killed_six_times_and_resumed_each_time(demo: Demo, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    complete, with_temporaries = [], 0
    study = Study(out / "inputs", out)
    for attempt, number in enumerate(CHAIN):
        faults.kill_at(studies.demo_command(out) if attempt < 2 else study.command(), out, number)
        faults.assert_whole(out)
        with_temporaries += bool(faults.temporaries(out))
        complete.append(len([p for p in out.glob("stages/*/*") if not p.name.startswith(".tmp-")]))
    assert complete == sorted(complete)
    assert complete[0] == 0
    assert 5 <= complete[-1] < len(STAGES)
    assert with_temporaries >= 4
    faults.assert_recovers(lambda: faults.run(studies.demo_command(out)), out, demo.wanted)


def kill_and_recover(demo: Demo, folder: Path, part: Part, number: int, events: list[Event]) -> int:
    """Kill the command that makes a part at one operation, run it again, and count the temporaries that were left."""
    out = folder / f"{part.name}-{number}"
    shutil.copytree(demo.out, out)
    part.clear(out)
    command = part.command(out)
    faults.kill_at(command, out, number)
    left, must = faults.temporaries(out), faults.expected_temporaries(events[:number])
    assert len(left) == len(must), (part.name, number, events[number], left, must)
    faults.assert_recovers(lambda: faults.run(command), out, demo.wanted)
    shutil.rmtree(out)
    return len(left)


def traced_parts(demo: Demo, folder: Path) -> Iterator[tuple[Part, list[Event]]]:
    """Yield each part with the operations of the run that makes it again, which must end with the same bytes."""
    for part in PARTS:
        out = folder / part.name
        shutil.copytree(demo.out, out)
        part.clear(out)
        yield part, faults.trace(part.command(out), out, folder)
        assert faults.final_hashes(out) == demo.wanted
        shutil.rmtree(out)


@pytest.mark.slow
def test_killed_before_every_write_rename_and_new_folder(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points: list[tuple[Part, int, list[Event]]] = []
    seen: set[Event] = set()
    for part, events in traced_parts(demo, tmp_path):
        mine = [i for i, e in enumerate(events) if e.kind in POINTS and part.owns(e)]
        seen |= kinds([events[i] for i in mine])
        points += [(part, i, events) for i in mine]
    of = len(points)
    points = points[::SAMPLE]
    assert seen >= kinds(demo.events), sorted(kinds(demo.events) - seen)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        left = list(pool.map(lambda point: kill_and_recover(demo, tmp_path, *point), points))
    by_part = {part.name: sum(p is part for p, _, _ in points) for part in PARTS}
    with capsys.disabled():
        print(f"\nkilled at {len(points)} of {of} operations, {sum(map(bool, left))} with a temporary left: {by_part}")
    assert min(by_part.values()) >= 1 // SAMPLE
    assert sum(map(bool, left)) > len(points) / 2


@pytest.mark.slow
def test_killed_at_random_moments(demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moments = random.Random(20)
    start = time.monotonic()
    faults.run(studies.demo_command(tmp_path / "whole"))
    length = time.monotonic() - start
    killed = unfinished = 0
    moments_tried = -(-RANDOM_MOMENTS // SAMPLE)
    for number in range(moments_tried):
        out = tmp_path / f"{number}"
        out.mkdir()
        killed += faults.kill_after(studies.demo_command(out), moments.uniform(0.1, 1.0) * length)
        unfinished += bool(faults.temporaries(out))
        faults.assert_recovers(lambda: faults.run(studies.demo_command(out)), out, demo.wanted)  # noqa: B023 (run here)
        shutil.rmtree(out)
    with capsys.disabled():
        print(f"\nkilled at {killed} of {moments_tried} random moments, {unfinished} with a temporary left")
    assert killed >= moments_tried / 2
