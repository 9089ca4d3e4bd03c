"""Kill a command at a chosen moment, and see what it leaves behind.

A command is what follows ``python``: ``["-m", "genomix_cli.app", "demo", "--out", "x"]`` or ``["script.py", ...]``. It
runs in a child process whose file operations below one output folder are counted; before the n-th the child kills
itself with SIGKILL. Operations of native code are not seen by the count: :func:`kill_after` reaches those by the clock.

The module is also the child's program: ``python faults.py ROOT {trace FILE | kill N | halve N} COMMAND...``.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from genomix.provenance import TEMPORARY_PREFIX, is_temporary, sha256_file

ROOT = Path(__file__).resolve().parent.parent
RUN_RECORD = "run.json"
LOCK = ".lock"


class Event(NamedTuple):
    """One file operation below the output folder: its kind and the paths it names, relative to the folder."""

    kind: str  # open | rename | link | mkdir | remove | rmdir | fsync
    path: str
    destination: str = ""


def trace(command: Sequence[str], out: Path, scratch: Path) -> list[Event]:
    """Run a command to its end and return its file operations below ``out``, in order."""
    log = scratch / "trace.jsonl"
    done = _child(["trace", str(log)], command, out)
    assert done.returncode == 0, done.stderr
    return [Event(*json.loads(line)) for line in log.read_text().splitlines()]


def kill_at(command: Sequence[str], out: Path, number: int, *, halve: bool = False) -> None:
    """Run a command and kill it just before its operation ``number`` (0-based) below ``out``.

    ``halve``: the operation is an fsync; the file is first cut to half, as if the rest had not reached the disk.
    """
    done = _child(["halve" if halve else "kill", str(number)], command, out)
    assert done.returncode == -signal.SIGKILL, (done.returncode, done.stderr)


def kill_after(command: Sequence[str], seconds: float) -> bool:
    """Run a command, kill it after some seconds, and say whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, *command], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end without interference, and assert that it succeeds."""
    done = subprocess.run([sys.executable, *command], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def environment() -> dict[str, str]:
    """Return the environment in which a child finds genomix and the tests."""
    paths = [str(ROOT), str(ROOT / "cli"), str(ROOT / "pipelines")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def final_hashes(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every final file; ``run.json``, the lock and temporaries are not results."""
    files = sorted(p for p in out.rglob("*") if p.is_file())
    names = {p: p.relative_to(out) for p in files}
    return {
        n.as_posix(): sha256_file(p)
        for p, n in names.items()
        if not is_temporary(n) and n.as_posix() not in (RUN_RECORD, LOCK)
    }


def temporaries(out: Path) -> list[str]:
    """Return the outermost temporary names that lie below ``out``."""
    found = {_temporary_root(p.relative_to(out).as_posix()) for p in out.rglob("*")} if out.exists() else set()
    return sorted(found - {""})


def expected_temporaries(events: Sequence[Event]) -> set[str]:
    """Return the temporary names that exist after these operations have been carried out."""
    present: set[str] = set()
    for event in events:
        place = _temporary_root(event.path)
        if place and event.kind in ("open", "mkdir"):
            present.add(place)
        elif event.kind in ("rename", "remove", "rmdir"):
            present.discard(event.path)
    return present


def assert_whole(out: Path) -> None:
    """Assert that whatever stands under a final name is complete: stage folders, pointer and record."""
    stages = out / "stages"
    for folder in sorted(p for p in stages.glob("*/*") if not is_temporary(p.relative_to(stages))):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        files = {p.relative_to(folder).as_posix(): sha256_file(p) for p in folder.rglob("*") if p.is_file()}
        del files["manifest.json"]
        assert files == manifest["files"], f"{folder} is not what its manifest states"
        assert manifest["hash"].startswith(folder.name)
    if (out / "current.json").exists():
        for node, digest in json.loads((out / "current.json").read_bytes()).items():
            assert (stages / node.partition("[")[0] / digest[:16]).is_dir(), f"current.json names a missing {node}"
    if (out / RUN_RECORD).exists():
        json.loads((out / RUN_RECORD).read_bytes())


def assert_recovers(rerun: Callable[[], object], out: Path, wanted: dict[str, str]) -> None:
    """Assert that what a killed command left is whole, and that running it again ends with the wanted files."""
    assert_whole(out)
    rerun()
    assert final_hashes(out) == wanted
    assert temporaries(out) == []
    assert not (out / LOCK).exists()


def _temporary_root(path: str) -> str:
    """Return a path up to its first temporary part, or nothing."""
    parts = Path(path).parts
    ends = [i for i, part in enumerate(parts) if part.startswith(TEMPORARY_PREFIX)]
    return Path(*parts[: ends[0] + 1]).as_posix() if ends else ""


def _child(order: list[str], command: Sequence[str], out: Path) -> subprocess.CompletedProcess[str]:
    full = [sys.executable, "-P", __file__, str(out.absolute()), *order, *command]
    return subprocess.run(full, env=environment(), capture_output=True, text=True, check=False)


class _Watch:
    """Sees the child's file operations and carries out the order."""

    _AUDITED: ClassVar[dict[str, str]] = {
        "open": "open", "os.rename": "rename", "os.link": "link", "os.mkdir": "mkdir", "os.remove": "remove",
        "os.rmdir": "rmdir",
    }  # fmt: skip

    def __init__(self, root: str, order: str, argument: str) -> None:
        self._root, self._order = root, order
        self._number = -1 if order == "trace" else int(argument)
        self._log = Path(argument).open("w") if order == "trace" else None  # noqa: SIM115 (open until the child ends)
        self._count = 0

    def hook(self, name: str, arguments: tuple[Any, ...]) -> None:
        kind = self._AUDITED.get(name)
        if kind is None or (kind == "open" and not self._writes(arguments)):
            return
        paths = [self._relative(a) for a in arguments[: 2 if kind in ("rename", "link") else 1]]
        if any(p is not None for p in paths):
            self._happen(Event(kind, *(p or "" for p in paths)))

    def fsync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        relative = self._relative(str(path))
        if relative is not None:
            self._happen(Event("fsync", relative), whole=path)
        _FSYNC(descriptor)

    def _happen(self, event: Event, *, whole: Path | None = None) -> None:
        if self._log is not None:
            self._log.write(json.dumps(event) + "\n")
            self._log.flush()
        elif self._count == self._number:
            if self._order == "halve" and whole is not None and whole.is_file():
                os.truncate(whole, whole.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1

    def _writes(self, arguments: tuple[Any, ...]) -> bool:
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def _relative(self, path: Any) -> str | None:
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        full = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (resolving a link would be a file operation)
        return os.path.relpath(full, self._root) if full.startswith(self._root + os.sep) else None


_FSYNC = os.fsync


def _main(arguments: list[str]) -> None:
    root, order, argument, *command = arguments
    watch = _Watch(root, order, argument)
    os.fsync = watch.fsync  # type: ignore[assignment]  # the child's own, until it ends
    sys.addaudithook(watch.hook)
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    _main(sys.argv[1:])
