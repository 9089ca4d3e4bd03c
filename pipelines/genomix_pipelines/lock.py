"""One owner per output folder: ``OUT/.lock`` names it, a second run is refused, a dead owner's lock is taken over.

The lock appears with its content in one step (a hard link), so that nobody reads half of it. An owner on this machine
is dead when its process is gone or another process has its number; an owner elsewhere is believed alive until it has
not touched the lock for :data:`STALE_SECONDS`. A takeover is itself guarded by a lock named after the dead owner's
token, so that of many waiting runs exactly one replaces it (a lock that was read as dead is checked again under that
guard: nobody else may replace it any more).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from genomix.errors import LockedError
from genomix.provenance import TEMPORARY_PREFIX, output_errors

LOCK_NAME = ".lock"
HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 600.0
_PATIENCE_SECONDS = 10.0  # how long another run's takeover, a matter of milliseconds, may take


@dataclass(frozen=True)
class Owner:
    """Who holds a lock. ``machine`` is the boot and process namespace: process numbers mean nothing elsewhere."""

    host: str
    machine: str
    pid: int
    process_start: str
    command: str
    started_at: str
    token: str

    def describe(self) -> str:
        """Return the owner as words for an error message."""
        return f"process {self.pid} on {self.host}, started {self.started_at}: {self.command}"

    def is_alive(self, lock_age_seconds: float) -> bool:
        """Say whether the owner must be believed alive, given how long ago it last touched its lock."""
        if (self.host, self.machine) != (socket.gethostname(), _machine()):
            return lock_age_seconds < STALE_SECONDS
        return _runs(self.pid, self.process_start)


class OutputLock:
    """Hold an output folder for the length of a ``with`` block, also past SIGTERM and exceptions.

    Parameters
    ----------
    out: an existing folder.
    command: what the owner runs, for the message that a second run prints.

    Raises
    ------
    LockedError: when a living run holds the folder.
    OutputError: when the folder cannot be written to.
    """

    def __init__(self, out: Path, *, command: str | None = None, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.path = out / LOCK_NAME
        self._owner = _this_process(" ".join(sys.argv) if command is None else command)
        self._heartbeat_seconds = heartbeat_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="genomix-lock", daemon=True)

    def __enter__(self) -> OutputLock:
        with output_errors(self.path):
            _claim(self.path, self._owner, deadline=time.monotonic() + _PATIENCE_SECONDS)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._is_ours():
            with contextlib.suppress(OSError):
                self.path.unlink()

    def check(self) -> None:
        """Raise :class:`LockedError` when another run has taken the folder (this one was suspended for long)."""
        if not self._is_ours():
            owner = _read(self.path)
            raise LockedError(
                "this run lost its output folder" + (f" to {owner.describe()}" if owner else ": its lock was removed"),
                where=str(self.path),
                hint="run it again when the other run has ended",
            )

    def _is_ours(self) -> bool:
        owner = _read(self.path)
        return owner is not None and owner.token == self._owner.token

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat_seconds):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def refuse_if_owned(out: Path) -> None:
    """Raise :class:`LockedError` when a living run holds the folder; a cheap look before long work."""
    path = out / LOCK_NAME
    if path.exists():
        owner = _read(path)
        if owner is not None and owner.is_alive(time.time() - _modified(path)):
            raise _locked(path, owner)


def _claim(path: Path, owner: Owner, *, deadline: float) -> None:
    """Make ``path`` name ``owner``, or raise :class:`LockedError` naming the living one."""
    while not _create(path, owner):
        holder, age = _read(path), _age(path)
        if age is None:
            continue  # released between two looks
        if (holder is None and age < STALE_SECONDS) or (holder is not None and holder.is_alive(age)):
            raise _locked(path, holder)
        if _take_over(path, holder, owner, deadline=deadline):
            return
        if time.monotonic() > deadline:
            raise _locked(path, holder)
        time.sleep(0.01)


def _take_over(path: Path, dead: Owner | None, owner: Owner, *, deadline: float) -> bool:
    """Replace a dead owner's lock; False when another run was faster or is at it."""
    token = dead.token if dead is not None else "unreadable"
    guard = path.with_name(f"{TEMPORARY_PREFIX}takeover-{token}")
    try:
        _claim(guard, replace(owner, token=uuid.uuid4().hex), deadline=deadline)
    except LockedError:
        return False
    try:
        now = _read(path)
        if (now.token if now is not None else "unreadable") != token or not path.exists():
            return False
        temporary = _write_temporary(path, owner)
        temporary.replace(path)
        return True
    except FileNotFoundError:  # the temporary was swept by a run that holds the lock by now
        return False
    finally:
        guard.unlink(missing_ok=True)


def _create(path: Path, owner: Owner) -> bool:
    """Create the lock with its content in one step; False when there is one."""
    while True:
        temporary = _write_temporary(path, owner)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            continue  # swept by a run that holds the lock: the next look sees it
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            return _create_exclusively(path, owner)
        else:
            return True
        finally:
            temporary.unlink(missing_ok=True)


def _create_exclusively(path: Path, owner: Owner) -> bool:
    """Create the lock on a file system without hard links: atomic too, but its content comes a moment later."""
    try:
        with path.open("xb") as stream:
            stream.write(_encode(owner))
    except FileExistsError:
        return False
    return True


def _write_temporary(path: Path, owner: Owner) -> Path:
    temporary = path.with_name(f"{TEMPORARY_PREFIX}lock-{uuid.uuid4().hex}")
    temporary.write_bytes(_encode(owner))
    return temporary


def _encode(owner: Owner) -> bytes:
    return (json.dumps(asdict(owner), indent=1, sort_keys=True) + "\n").encode()


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _age(path: Path) -> float | None:
    """Seconds since a lock was touched, by the clock of its file system; None when it is gone."""
    try:
        probe = path.with_name(f"{TEMPORARY_PREFIX}clock-{uuid.uuid4().hex}")
        probe.touch()
        try:
            return probe.stat().st_mtime - path.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)
    except FileNotFoundError:
        return None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _locked(path: Path, owner: Owner | None) -> LockedError:
    return LockedError(
        "another run owns this output folder" + (f" ({owner.describe()})" if owner is not None else ""),
        where=str(path),
        hint="wait for it, choose another --out, or, if you know that it is dead, delete the lock file",
    )


def _this_process(command: str) -> Owner:
    return Owner(
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        process_start=_process_status(os.getpid())[1] or "unknown",
        command=command,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        token=uuid.uuid4().hex,
    )


def _machine() -> str:
    """Return what makes a process number meaningful: this boot of this kernel, and this namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "unknown"


def _runs(pid: int, process_start: str) -> bool:
    """Say whether the process that started then still runs under that number; in doubt it does."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is someone else's, so it is there
    state, start = _process_status(pid)
    return state not in ("Z", "X") and (start is None or start == process_start)


def _process_status(pid: int) -> tuple[str, str | None]:
    """Return a process's state and when it started (clock ticks since boot); ("?", None) where that is hidden."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "?", None
    return fields[0], fields[19]
