"""One owner per output folder: refusal, dead owners, takeover by exactly one, and release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from genomix.errors import LockedError, OutputError
from genomix_pipelines import lock as lock_module
from genomix_pipelines.lock import STALE_SECONDS, OutputLock, refuse_if_owned
from tests.faults import environment


def owner_of(path: Path) -> dict[str, Any]:
    owner: dict[str, Any] = json.loads((path / ".lock").read_text())
    return owner


def plant(out: Path, **changes: Any) -> None:
    """Write the lock of another owner: this process's, with changes."""
    with OutputLock(out, command="the other run"):
        owner = owner_of(out)
    (out / ".lock").write_text(json.dumps({**owner, **changes}))


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


@contextmanager
def acquired(out: Path) -> Iterator[None]:
    with OutputLock(out, command="this run"):
        assert owner_of(out)["command"] == "this run"
        yield
    assert not (out / ".lock").exists()
    assert list(out.iterdir()) == []


def test_the_lock_names_its_owner_and_is_released(tmp_path: Path) -> None:
    with OutputLock(tmp_path, command="genomix run x"):
        owner = owner_of(tmp_path)
        assert (owner["pid"], owner["host"], owner["command"]) == (os.getpid(), os.uname().nodename, "genomix run x")
        assert owner["process_start"] == Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert list(tmp_path.iterdir()) == []


def test_it_is_released_on_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), OutputLock(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_second_owner_is_refused_with_the_first_one_s_name(tmp_path: Path) -> None:
    with OutputLock(tmp_path, command="the first"), pytest.raises(LockedError) as caught, OutputLock(tmp_path):
        pass
    assert f"process {os.getpid()}" in str(caught.value)
    assert "the first" in str(caught.value)
    assert caught.value.where == str(tmp_path / ".lock")


def test_a_look_before_long_work_refuses_too(tmp_path: Path) -> None:
    refuse_if_owned(tmp_path)
    with OutputLock(tmp_path), pytest.raises(LockedError):
        refuse_if_owned(tmp_path)
    plant(tmp_path, pid=dead_process())
    refuse_if_owned(tmp_path)


def test_an_owner_whose_process_is_gone_is_replaced(tmp_path: Path) -> None:
    plant(tmp_path, pid=dead_process())
    with acquired(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_a_process_number_that_was_given_again_is_not_the_owner(tmp_path: Path) -> None:
    plant(tmp_path, process_start="1")
    with acquired(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    stat = Path(f"/proc/{process.pid}/stat")
    start = stat.read_text().rpartition(")")[2].split()[19]
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.005)
    plant(tmp_path, pid=process.pid, process_start=start)
    with acquired(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    process.wait()


@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"machine": "another boot pid:[1]"}])
def test_an_owner_elsewhere_is_believed_alive_until_it_is_silent_for_long(
    tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    plant(tmp_path, pid=dead_process(), **elsewhere)
    with pytest.raises(LockedError), OutputLock(tmp_path):
        pass
    late = time.time() - STALE_SECONDS - 5
    os.utime(tmp_path / ".lock", (late, late))
    with acquired(tmp_path):
        pass


def test_an_owner_here_is_alive_however_long_it_is_silent(tmp_path: Path) -> None:
    with OutputLock(tmp_path):
        os.utime(tmp_path / ".lock", (0, 0))
        with pytest.raises(LockedError), OutputLock(tmp_path):
            pass


def test_an_unreadable_lock_is_believed_until_it_is_old(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("")
    with pytest.raises(LockedError), OutputLock(tmp_path):
        pass
    os.utime(tmp_path / ".lock", (0, 0))
    with acquired(tmp_path):
        pass


def test_the_heartbeat_touches_the_lock(tmp_path: Path) -> None:
    with OutputLock(tmp_path, heartbeat_seconds=0.01):
        os.utime(tmp_path / ".lock", (0, 0))
        deadline = time.monotonic() + 10
        while (tmp_path / ".lock").stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert (tmp_path / ".lock").stat().st_mtime > 0


def test_an_owner_that_lost_its_lock_notices_and_leaves_the_other_s_alone(tmp_path: Path) -> None:
    with OutputLock(tmp_path) as lock:
        lock.check()
        (tmp_path / ".lock").write_text(json.dumps({**owner_of(tmp_path), "token": "x", "command": "the thief"}))
        with pytest.raises(LockedError, match=r"lost its output folder.*the thief"):
            lock.check()
    assert owner_of(tmp_path)["command"] == "the thief"


def test_a_takeover_that_died_half_way_is_taken_over_itself(tmp_path: Path) -> None:
    pid = dead_process()
    plant(tmp_path, pid=pid, token="first")
    dead = (tmp_path / ".lock").read_text()
    (tmp_path / ".tmp-takeover-first").write_text(dead.replace("first", "second"))
    (tmp_path / ".tmp-takeover-second").write_text(dead.replace("first", "third"))
    with OutputLock(tmp_path, command="this run"):
        assert owner_of(tmp_path)["command"] == "this run"
        assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_without_hard_links_the_lock_is_still_exclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(lock_module.os, "link", refuse)
    with OutputLock(tmp_path, command="the first"), pytest.raises(LockedError, match="the first"), OutputLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError), OutputLock(file):
        pass


def test_of_many_that_find_a_dead_owner_exactly_one_replaces_it(tmp_path: Path) -> None:
    pid = dead_process()
    for round_ in range(15):
        plant(tmp_path, pid=pid, token=f"dead{round_}")
        start, hold = threading.Barrier(6), threading.Barrier(6)
        outcomes: list[str] = []

        def contend(start: threading.Barrier = start, hold: threading.Barrier = hold, to: list[str] = outcomes) -> None:
            start.wait()
            try:
                with OutputLock(tmp_path):
                    to.append("won")
                    hold.wait()
            except LockedError:
                to.append("refused")
                hold.wait()

        threads = [threading.Thread(target=contend) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["refused"] * 5 + ["won"]


_STORM = """
import os, random, sys, time
from pathlib import Path
from genomix.errors import LockedError
from genomix_pipelines.lock import OutputLock
out, seed = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
for _ in range(40):
    dies = chance.random() < 0.5
    child = os.fork()
    if child == 0:
        try:
            lock = OutputLock(out)
            lock.__enter__()
        except LockedError:
            os._exit(0)
        try:
            os.close(os.open(out / "inside", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            os._exit(7)
        time.sleep(0.001)
        os.unlink(out / "inside")
        if not dies:
            lock.__exit__(None, None, None)
        os._exit(3 if dies else 2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code)
"""


def test_owners_that_die_in_a_storm_never_leave_two_inside(tmp_path: Path) -> None:
    storms = [
        subprocess.Popen(
            [sys.executable, "-c", _STORM, str(tmp_path), str(seed)],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    codes = [int(line) for storm in storms for line in (storm.communicate()[0] or "").split()]
    assert len(codes) == 160
    assert 7 not in codes, "two owners were inside at once"
    assert set(codes) <= {0, 2, 3}
    assert codes.count(3) > 10
    assert codes.count(2) > 10
