"""The local runner: it brings every node of a plan to its complete folder, once, and resumes where a run was cut off.

A node is complete when ``stages/NAME/HASH`` exists: it appears by one rename, after all its bytes are on disk.
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import shutil
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import genomix
from genomix.device import Device
from genomix.errors import ConfigError, GenomixError, IntegrityError
from genomix.provenance import (
    TEMPORARY_PREFIX,
    atomic_directory,
    canonical_json,
    output_errors,
    python_version,
    write_json,
)
from genomix.registry import members
from genomix_pipelines import store
from genomix_pipelines.graph import Key, Node, descendants, folder_of, plan, stamp
from genomix_pipelines.lock import OutputLock, refuse_if_owned
from genomix_pipelines.meter import Meter
from genomix_pipelines.observer import NodeResult, Observer, Silent
from genomix_pipelines.stage import Stage, StageContext, StudyLike
from genomix_pipelines.termination import exit_on_sigterm

# OpenMP's default spinning multiplies the processor time of small models; it is read when the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_WIND_DOWN_SECONDS = 5.0


@dataclass(frozen=True)
class RunResult:
    """What a run did: one result per node, in the order of the plan."""

    out: Path
    device: Device
    nodes: tuple[NodeResult, ...]

    def folder(self, stage: str, target: str | None = None) -> Path:
        """Return the folder of a node."""
        return next(n.folder for n in self.nodes if (n.stage, n.target) == (stage, target))

    @property
    def nothing_done(self) -> bool:
        """Whether every node was complete before."""
        return all(n.status == "reused" for n in self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values, for ``--json``."""
        return {
            "out": str(self.out),
            "device": asdict(self.device),
            "nodes": [{**asdict(n), "folder": str(n.folder)} for n in self.nodes],
        }


def run_study(
    study: StudyLike,
    out: Path,
    *,
    stages: Iterable[Stage] | Mapping[str, Stage] | None = None,
    device: Device,
    jobs: int = 1,
    threads: int = 1,
    from_stage: str | None = None,
    dry_run: bool = False,
    observer: Observer | None = None,
    command: Sequence[str] | None = None,
    finish: Callable[[RunResult], None] | None = None,
) -> RunResult:
    """Bring every node of a study to its complete folder under ``out``.

    Parameters
    ----------
    stages: every stage there is; default: the members of ``genomix_pipelines.stages``.
    jobs: nodes that may run at once; threads: given to each of them.
    from_stage: recompute this stage and all that reads it beside the earlier output, and compare byte for byte.
    dry_run: say what would be done; write nothing.
    command: the command line for ``run.json`` and the lock; default: this process's.
    finish: called with the result of a complete run while ``out`` is still locked, e.g. to copy the report there.

    Raises
    ------
    LockedError: when another run owns ``out``.
    IntegrityError: when a complete folder is damaged, an input changed during the run, or a recomputation differs.
    """
    out = Path(out)
    command = list(sys.argv if command is None else command)
    if not dry_run:
        refuse_if_owned(out)
    all_stages = members("genomix_pipelines.stages", "STAGE") if stages is None else stages
    nodes = plan(study, all_stages, device_kind=device.kind)
    again = _recomputed(nodes, from_stage)
    _refuse_output_within_inputs(nodes, out)
    if dry_run:
        return RunResult(out, device, tuple(_preview(n, out, again) for n in nodes))
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with exit_on_sigterm(), OutputLock(out, command=" ".join(command)) as lock, _single_threaded_blas():
        store.sweep(out)
        runner = _Runner(study, out, nodes, again, device, threads, lock, observer or Silent())
        result = runner.run(max(1, jobs), command)
        if finish is not None:
            finish(result)
        return result


class _Cancelled(BaseException):
    """Raised inside a node's thread when the run is being ended."""


class _Runner:
    """One run that holds the lock."""

    def __init__(
        self,
        study: StudyLike,
        out: Path,
        nodes: Sequence[Node],
        again: frozenset[Key],
        device: Device,
        threads: int,
        lock: OutputLock,
        observer: Observer,
    ) -> None:
        self._study, self._out, self._nodes, self._again = study, out, nodes, again
        self._device, self._threads, self._lock, self._observer = device, threads, lock, observer
        self._telling = threading.RLock()
        self._ending = threading.Event()
        self._results: dict[Key, NodeResult] = {}
        earlier = store.read_pointer(out)
        self._complete = {n.name: n.hash for n in nodes if earlier.get(n.name) == n.hash}
        self._failed: str | None = None

    def run(self, jobs: int, command: list[str]) -> RunResult:
        """Run all nodes; the record is written whether they succeed or not."""
        started = datetime.now(UTC)
        self._observer.planned(tuple(node.name for node in self._nodes))
        try:
            if jobs == 1:
                for node in self._nodes:
                    self._one(node)
            else:
                self._at_once(jobs)
        finally:
            self._record(started, command, jobs)
        return RunResult(self._out, self._device, tuple(self._results[node.key] for node in self._nodes))

    def _at_once(self, jobs: int) -> None:
        """Run nodes as soon as what they need is complete, each in a thread; end at the first failure."""
        waiting, running = list(self._nodes), dict[Key, threading.Thread]()
        ended: queue.SimpleQueue[tuple[Key, BaseException | None]] = queue.SimpleQueue()
        errors: dict[Key, BaseException] = {}
        try:
            while running or (waiting and not errors):
                ready = [n for n in waiting if not errors and all(k in self._results for k in n.needs)]
                for node in ready[: jobs - len(running)]:
                    waiting.remove(node)
                    running[node.key] = threading.Thread(target=self._in_thread, args=(node, ended), daemon=True)
                    running[node.key].start()
                key, error = ended.get()
                running.pop(key).join()
                if error is not None:
                    errors[key] = error
        finally:
            self._wind_down(list(running.values()))
        for node in self._nodes:
            if node.key in errors:
                raise errors[node.key]

    def _in_thread(self, node: Node, ended: queue.SimpleQueue[tuple[Key, BaseException | None]]) -> None:
        try:
            self._one(node)
        except BaseException as error:
            ended.put((node.key, error))
        else:
            ended.put((node.key, None))

    def _wind_down(self, running: list[threading.Thread]) -> None:
        """Ask the threads that an interruption left running to stop; a stage that never looks up is abandoned."""
        self._ending.set()
        for thread in running:
            thread.join(_WIND_DOWN_SECONDS / len(running))
        if running:
            store.sweep(self._out)

    def _one(self, node: Node) -> None:
        folder = folder_of(self._out, node.stage.name, node.hash)
        try:
            if folder.exists() and node.key not in self._again:
                store.verify(folder, node)
                result = self._result(node, folder, store.summary_of(folder), status="reused")
            else:
                result = self._compute(node, folder)
        except BaseException as error:
            self._tell_failure(node, error)
            raise
        with self._telling:
            self._results[node.key] = result
            self._complete[node.name] = node.hash
            store.write_pointer(self._out, self._complete)
            self._observer.finished(result)

    def _compute(self, node: Node, folder: Path) -> NodeResult:
        with self._telling:
            self._observer.started(node.name)
        earlier = folder.exists()
        with Meter() as meter, output_errors(folder), _beside(folder) if earlier else atomic_directory(folder) as fresh:
            summary = self._fill(node, fresh)
            if earlier:
                store.compare(fresh, folder, node)
            self._lock.check()
        return self._result(node, folder, summary, status="done", meter=meter, checked=earlier)

    def _fill(self, node: Node, folder: Path) -> dict[str, Any]:
        summary = node.stage.run(self._context(node, folder)) or {}
        canonical_json(summary)
        for role, path in node.files.items():
            if not path.exists() or stamp(path) != node.stamps[role]:
                raise IntegrityError(
                    f"{path.name} was changed while the run read it", where=str(path), hint="run the study again"
                )
        store.complete(folder, node, summary)
        return dict(summary)

    def _context(self, node: Node, folder: Path) -> StageContext:
        upstream = {
            stage: {target: folder_of(self._out, stage, digest) for target, digest in by_target.items()}
            for stage, by_target in node.upstream.items()
        }

        def progress(share: float, words: str) -> None:
            if self._ending.is_set():
                raise _Cancelled
            with self._telling:
                self._observer.progress(node.name, share, words)

        return StageContext(
            study=self._study, target=node.target, out=folder, files=node.files, upstream=upstream,
            device=self._device, threads=self._threads, progress=progress,
        )  # fmt: skip

    def _result(
        self,
        node: Node,
        folder: Path,
        summary: Mapping[str, Any],
        *,
        status: Any,
        meter: Meter | None = None,
        checked: bool = False,
    ) -> NodeResult:
        return NodeResult(
            name=node.name, stage=node.stage.name, target=node.target, hash=node.hash, status=status, folder=folder,
            summary=summary, checked=checked,
            seconds=meter.seconds if meter else 0.0,
            cpu_seconds=meter.cpu_seconds if meter else 0.0,
            peak_memory_bytes=meter.peak_memory_bytes if meter else 0,
        )  # fmt: skip

    def _tell_failure(self, node: Node, error: BaseException) -> None:
        if isinstance(error, GenomixError):
            error.what = f"stage {node.name}: {error.what}"
        else:
            error.add_note(f"in stage {node.name}")
        with self._telling:
            self._failed = self._failed or node.name
            if isinstance(error, Exception):  # an interruption is nobody's failure
                self._observer.failed(node.name, error)

    def _record(self, started: datetime, command: list[str], jobs: int) -> None:
        """Write ``run.json``: everything that differs by run, and nowhere else."""
        ended = datetime.now(UTC)
        nodes = [
            {
                "node": r.name, "hash": r.hash, "status": r.status, "checked": r.checked,
                "seconds": round(r.seconds, 3), "cpu_seconds": round(r.cpu_seconds, 3),
                "peak_memory_bytes": r.peak_memory_bytes,
            }
            for r in (self._results[n.key] for n in self._nodes if n.key in self._results)
        ]  # fmt: skip
        record = {
            "command": command, "working_folder": str(Path.cwd()), "out": str(self._out.absolute()),
            "host": socket.gethostname(), "platform": platform.platform(),
            "python": python_version(), "genomix": genomix.__version__,
            "device": asdict(self._device), "jobs": jobs, "threads": self._threads,
            "started_at": started.isoformat(timespec="seconds"), "ended_at": ended.isoformat(timespec="seconds"),
            "seconds": round((ended - started).total_seconds(), 3),
            "failed": self._failed, "nodes": nodes,
        }  # fmt: skip
        # A full disk must not hide the error that ended the run.
        with contextlib.suppress(GenomixError) if sys.exc_info()[0] is not None else contextlib.nullcontext():
            write_json(self._out / store.RECORD, record)


def _recomputed(nodes: Sequence[Node], from_stage: str | None) -> frozenset[Key]:
    if from_stage is None:
        return frozenset()
    names = list(dict.fromkeys(n.stage.name for n in nodes))
    if from_stage not in names:
        raise ConfigError(f"this study has no stage {from_stage!r}", hint="--from with one of: " + ", ".join(names))
    return descendants(nodes, from_stage)


def _refuse_output_within_inputs(nodes: Sequence[Node], out: Path) -> None:
    """An output folder inside an input folder would change that input's hash with every stage."""
    place = out.resolve()
    for node in nodes:
        for role, path in node.files.items():
            if path.is_dir() and (place == path.resolve() or path.resolve() in place.parents):
                raise ConfigError(
                    f"the output folder lies inside an input folder ({role} of stage {node.stage.name})",
                    where=str(path),
                    hint="choose another --out",
                )


def _preview(node: Node, out: Path, again: frozenset[Key]) -> NodeResult:
    folder = folder_of(out, node.stage.name, node.hash)
    reused = folder.exists() and node.key not in again
    return NodeResult(
        name=node.name, stage=node.stage.name, target=node.target, hash=node.hash, folder=folder,
        status="reused" if reused else "planned", summary=store.summary_of(folder) if reused else {},
    )  # fmt: skip


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside an earlier one, and remove it in any case."""
    temporary = folder.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread: its sums depend on the number. Libraries loaded later read the environment."""
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in _BLAS_VARIABLES}
    os.environ.update(dict.fromkeys(_BLAS_VARIABLES, "1"))
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
