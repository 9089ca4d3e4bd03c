"""A run that is killed anywhere leaves only whole files under final names, and the same command then finishes it."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path

import pytest

from genomix.device import CPU
from genomix.provenance import is_temporary
from genomix_pipelines.run import run_study
from tests import faults
from tests.faults import Event
from tests.toy_study import STAGES, ToyStudy, make_study


class Toy:
    """The toy study, its uninterrupted result, and a fresh output folder for each kill."""

    def __init__(self, folder: Path) -> None:
        self.study = make_study(folder / "in")
        self.out = folder / "out"
        self.events = faults.trace(self.command(), self.out, folder)
        self.wanted = faults.final_hashes(self.out)

    def command(self, *options: str) -> list[str]:
        return ["-m", "tests.toy_run", str(self.study.folder), str(self.out), *options]

    def clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    def rerun(self) -> None:
        """Do what the command does, in this process: a fifth of the time."""
        run_study(ToyStudy(self.study.folder), self.out, stages=STAGES, device=CPU)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("faults"))


def test_the_trace_sees_the_whole_run(toy: Toy) -> None:
    final = {e.destination for e in toy.events if e.kind == "rename" and not is_temporary(Path(e.destination))}
    assert {"current.json", "run.json"} <= final
    assert sum(name.startswith("stages/") for name in final) == 4  # read, count for two targets, sum
    assert {e.kind for e in toy.events} == {"open", "rename", "link", "mkdir", "remove", "fsync"}
    assert set(toy.wanted) == {
        name for name in faults.final_hashes(toy.out) if name == "current.json" or name.startswith("stages/")
    }


def test_killed_before_every_single_file_operation(toy: Toy) -> None:
    seen_temporaries = 0
    for number in range(len(toy.events)):
        toy.clear()
        faults.kill_at(toy.command(), toy.out, number)
        left = faults.temporaries(toy.out)
        assert len(left) == len(faults.expected_temporaries(toy.events[:number])), (number, toy.events[number], left)
        seen_temporaries += bool(left)
        faults.assert_recovers(toy.rerun, toy.out, toy.wanted)
    assert seen_temporaries > len(toy.events) / 2


def test_killed_with_half_a_file_on_disk(toy: Toy) -> None:
    points = [i for i, e in enumerate(toy.events) if e.kind == "fsync" and not _is_folder(e, toy.events)]
    assert len(points) >= 13
    for number in points:
        toy.clear()
        faults.kill_at(toy.command(), toy.out, number, halve=True)
        assert faults.temporaries(toy.out)
        faults.assert_recovers(toy.rerun, toy.out, toy.wanted)


def test_killed_at_random_moments_and_run_again_as_the_same_command(toy: Toy) -> None:
    moments = random.Random(7)
    killed = 0
    for _ in range(4):
        toy.clear()
        killed += faults.kill_after(toy.command("--pause", "0.1"), moments.uniform(0.1, 0.5))
        faults.assert_recovers(partial(faults.run, toy.command()), toy.out, toy.wanted)
    assert killed >= 2


def test_killed_twice_in_a_row_also_while_the_dead_owner_s_lock_is_taken_over(toy: Toy) -> None:
    for second in range(0, 16, 2):
        toy.clear()
        faults.kill_at(toy.command(), toy.out, 30)
        faults.kill_at(toy.command(), toy.out, second)
        faults.assert_recovers(toy.rerun, toy.out, toy.wanted)


def test_every_file_is_flushed_before_the_name_that_vouches_for_it(toy: Toy) -> None:
    for index, event in enumerate(toy.events):
        if event.kind != "rename":
            continue
        before = toy.events[:index]
        written = {e.path for e in before if e.kind == "open" and _within(e.path, event.path)}
        renamed = {e.path: e.destination for e in before if e.kind == "rename"}
        for path in {renamed.get(p, p) for p in written}:
            assert Event("fsync", path) in before, f"{path} was not flushed before {event.destination} appeared"


def test_the_harness_notices_a_partial_file_under_a_final_name(toy: Toy) -> None:
    toy.clear()
    toy.rerun()
    report = next(toy.out.glob("stages/sum/*/report.html"))
    report.write_text("<p>")
    with pytest.raises(AssertionError, match="not what its manifest states"):
        faults.assert_whole(toy.out)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _is_folder(event: Event, events: list[Event]) -> bool:
    return not any(
        e.path == event.path or e.destination == event.path for e in events if e.kind in ("open", "rename")
    ) or any(e.path == event.path for e in events if e.kind == "mkdir")
