"""The local runner: it does each node once, resumes, compares, and never leaves an older result in doubt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, FormatError, IntegrityError, LockedError, OutputError
from genomix_pipelines import store
from genomix_pipelines.lock import OutputLock
from genomix_pipelines.observer import NodeResult
from genomix_pipelines.run import RunResult, run_study
from genomix_pipelines.stage import Stage, StageContext
from tests.faults import environment, final_hashes
from tests.toy_study import COUNT, READ, STAGES, SUM, ToyStudy, make_study


@pytest.fixture
def study(tmp_path: Path) -> ToyStudy:
    return make_study(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(study: Any, out: Path, **options: Any) -> RunResult:
    return run_study(study, out, **{"stages": STAGES, "device": CPU, **options})


def statuses(result: RunResult) -> dict[str, str]:
    return {node.name: node.status for node in result.nodes}


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Watcher:
    """Remembers what it was told, and that calls never overlapped."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self._busy = threading.Lock()

    def _tell(self, what: str, name: str) -> None:
        assert self._busy.acquire(blocking=False), "two calls at once"
        time.sleep(0.001)
        self.told.append((what, name))
        self._busy.release()

    def planned(self, names: tuple[str, ...]) -> None:
        self._tell("planned", " ".join(names))

    def started(self, name: str) -> None:
        self._tell("started", name)

    def progress(self, name: str, share: float, words: str) -> None:
        self._tell("progress", f"{name} {share} {words}")

    def finished(self, result: NodeResult) -> None:
        self._tell(result.status, result.name)

    def failed(self, name: str, error: Exception) -> None:
        self._tell("failed", name)


def test_the_results_are_right(study: ToyStudy, out: Path) -> None:
    result = run(study, out)
    text = study.words.read_text()
    assert (result.folder("sum") / "report.html").read_text() == f"<p>{text.count('a') + text.count('e')}</p>"
    assert set(statuses(result).values()) == {"done"}
    assert {n.name: dict(n.summary) for n in result.nodes}["count[a]"] == {"count": text.count("a")}
    assert json.loads((out / "current.json").read_text()) == {n.name: n.hash for n in result.nodes}
    assert store.current_folder(out, "count[e]") == result.folder("count", "e")


def test_a_second_run_does_nothing(study: ToyStudy, out: Path) -> None:
    run(study, out)
    before = {
        p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*") if p.is_file() and p.name != "run.json"
    }
    second = run(study, out)
    assert second.nothing_done
    assert set(statuses(second).values()) == {"reused"}
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in before} == before
    assert second.nodes[0].summary == {"words": 3}


def test_nothing_but_the_record_differs_between_runs(study: ToyStudy, tmp_path: Path) -> None:
    run(study, tmp_path / "one", command=["first"])
    run(study, tmp_path / "two", command=["second"], jobs=3, threads=2)
    one, two = all_bytes(tmp_path / "one"), all_bytes(tmp_path / "two")
    assert set(one) == set(two)
    assert {name for name in one if one[name] != two[name]} == {"run.json"}


def test_manifests_hold_no_place_host_or_time(study: ToyStudy, out: Path, tmp_path: Path) -> None:
    result = run(study, out, command=["a command"])
    text = (result.folder("read") / "manifest.json").read_text()
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text.split('"')
    manifest = json.loads(text)
    assert manifest["parameters"] == {"seed": 1}
    assert manifest["summary"] == {"words": 3}
    assert set(manifest["inputs"]) == {"words", "notes"}
    assert set(manifest["files"]) == {"words.json", "nested/seed.txt"}


def test_the_record_says_what_was_done_where_and_when(study: ToyStudy, out: Path) -> None:
    run(study, out, command=["genomix", "run", "x"])
    record = json.loads((out / "run.json").read_text())
    assert record["command"] == ["genomix", "run", "x"]
    assert record["device"]["reason"] == CPU.reason
    assert record["host"] == os.uname().nodename
    assert record["failed"] is None
    assert [n["node"] for n in record["nodes"]] == ["read", "count[a]", "count[e]", "sum"]
    assert all(n["status"] == "done" and n["peak_memory_bytes"] > 2**20 for n in record["nodes"])


def test_a_changed_parameter_recomputes_what_depends_on_it_and_keeps_the_old(study: ToyStudy, out: Path) -> None:
    first = run(study, out)
    second = run(replace(study, seed=2), out)
    assert set(statuses(second).values()) == {"done"}
    assert all(n.folder.is_dir() for n in first.nodes)
    assert run(study, out).nothing_done


def test_a_run_that_failed_resumes_after_what_it_had_completed(study: ToyStudy, out: Path) -> None:
    def fail(_context: StageContext) -> dict[str, Any]:
        raise FormatError("a bad line", where="x:3")

    with pytest.raises(FormatError, match=r"^stage sum: a bad line \[x:3\]$"):
        run(study, out, stages=(READ, COUNT, replace(SUM, run=fail)))
    record = json.loads((out / "run.json").read_text())
    assert record["failed"] == "sum"
    assert set(json.loads((out / "current.json").read_text())) == {"read", "count[a]", "count[e]"}
    assert not (out / ".lock").exists()
    assert list(out.rglob(".tmp-*")) == []
    assert statuses(run(study, out)) == {"read": "reused", "count[a]": "reused", "count[e]": "reused", "sum": "done"}


def test_a_bug_in_a_stage_passes_with_the_stage_s_name(study: ToyStudy, out: Path) -> None:
    def crash(_context: StageContext) -> dict[str, Any]:
        return {"x": 1 / 0}

    with pytest.raises(ZeroDivisionError) as caught:
        run(study, out, stages=(READ, replace(COUNT, run=crash)))
    assert caught.value.__notes__ == ["in stage count[a]"]


def test_the_observer_is_told_each_step(study: ToyStudy, out: Path) -> None:
    watcher = Watcher()
    run(study, out, observer=watcher)
    assert watcher.told[:4] == [
        ("planned", "read count[a] count[e] sum"), ("started", "read"), ("done", "read"), ("started", "count[a]"),
    ]  # fmt: skip
    assert ("progress", "count[a] 0.5 counted") in watcher.told
    again = Watcher()
    run(study, out, observer=again)
    assert [what for what, _ in again.told] == ["planned", *["reused"] * 4]


def test_a_dry_run_writes_nothing(study: ToyStudy, out: Path) -> None:
    assert set(statuses(run(study, out, dry_run=True)).values()) == {"planned"}
    assert not out.exists()
    run(study, out, stages=(READ,))
    before = all_bytes(out)
    assert statuses(run(study, out, dry_run=True)) == {
        "read": "reused", "count[a]": "planned", "count[e]": "planned", "sum": "planned",
    }  # fmt: skip
    assert statuses(run(study, out, dry_run=True, from_stage="read"))["read"] == "planned"
    assert all_bytes(out) == before


def test_from_a_stage_recomputes_it_and_its_readers_and_compares(study: ToyStudy, out: Path) -> None:
    run(study, out)
    before = all_bytes(out / "stages")
    result = run(study, out, from_stage="count")
    assert statuses(result) == {"read": "reused", "count[a]": "done", "count[e]": "done", "sum": "done"}
    assert [n.checked for n in result.nodes] == [False, True, True, True]
    assert all_bytes(out / "stages") == before


def test_a_stage_that_is_not_reproducible_is_found_by_from(study: ToyStudy, out: Path) -> None:
    def differ(context: StageContext) -> dict[str, Any]:
        (context.out / "same.txt").write_text("same")
        (context.out / "time.txt").write_text(str(time.monotonic_ns()))
        return {}

    stages = (READ, Stage("odd", differ, needs=("read",)))
    run(study, out, stages=stages)
    before = all_bytes(out / "stages")
    with pytest.raises(IntegrityError, match=r"odd is not reproducible: time.txt differs"):
        run(study, out, stages=stages, from_stage="odd")
    assert all_bytes(out / "stages") == before


def test_a_summary_that_is_not_reproducible_is_found_too(study: ToyStudy, out: Path) -> None:
    stages = (Stage("odd", lambda _: {"now": time.monotonic_ns()}),)
    run(study, out, stages=stages)
    with pytest.raises(IntegrityError, match=r"manifest.json differs"):
        run(study, out, stages=stages, from_stage="odd")


def test_from_an_unknown_stage_lists_the_stages(study: ToyStudy, out: Path) -> None:
    with pytest.raises(ConfigError, match=r"no stage 'nope'.*read, count, sum"):
        run(study, out, from_stage="nope")


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "no manifest", "broken manifest"])
def test_a_damaged_finished_stage_is_never_reused(study: ToyStudy, out: Path, damage: str) -> None:
    folder = run(study, out).folder("read")
    words, manifest = folder / "words.json", folder / "manifest.json"
    if damage == "cut":
        words.write_bytes(words.read_bytes()[:-1])
    elif damage == "flip":
        words.write_bytes(words.read_bytes().replace(b"p", b"q"))
    elif damage == "remove":
        words.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text("{")
    with pytest.raises(IntegrityError, match="a finished stage was damaged") as caught:
        run(study, out)
    assert str(folder) in str(caught.value)
    assert (caught.value.where or "").endswith("words.json" if damage in ("cut", "flip", "remove") else "manifest.json")


def test_large_files_are_judged_by_size_when_reused_and_in_full_by_from(
    study: ToyStudy, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(study, out).folder("read")
    (folder / "words.json").write_bytes((folder / "words.json").read_bytes().replace(b"p", b"q"))
    monkeypatch.setattr(store, "FULL_CHECK_BYTES", 1)
    assert run(study, out).nothing_done
    with pytest.raises(IntegrityError, match=r"words.json"):
        run(study, out, from_stage="read")


def test_an_input_that_changes_during_the_run_is_found(study: ToyStudy, out: Path) -> None:
    def meddle(context: StageContext) -> dict[str, Any]:
        context.files["words"].write_text("other words")
        return {}

    with pytest.raises(IntegrityError, match=r"words.txt was changed while the run read it"):
        run(study, out, stages=(replace(READ, run=meddle),))
    assert list(out.glob("stages/read/*")) == []


def test_an_output_folder_inside_an_input_folder_is_refused(study: ToyStudy) -> None:
    with pytest.raises(ConfigError, match="inside an input folder"):
        run(study, study.notes / "out")


def test_leftovers_of_dead_runs_are_removed(study: ToyStudy, out: Path) -> None:
    run(study, out)
    (out / "stages" / "read" / ".tmp-dead").mkdir()
    (out / "stages" / "read" / ".tmp-dead" / "half.txt").write_text("x")
    (out / ".tmp-file.json").write_text("{")
    (out / "inputs" / "deep").mkdir(parents=True)
    (out / "inputs" / "deep" / ".tmp-records").write_text("x")
    (out / "mine").mkdir()
    (out / "mine" / "kept.txt").write_text("x")
    run(study, out)
    assert (out / "mine" / "kept.txt").exists()
    assert list(out.rglob(".tmp-*")) == []


def test_nothing_is_swept_while_another_run_owns_the_folder(study: ToyStudy, out: Path) -> None:
    out.mkdir()
    (out / ".tmp-other").write_text("in use")
    with OutputLock(out, command="genomix run other"), pytest.raises(LockedError, match="genomix run other"):
        run(study, out)
    assert (out / ".tmp-other").exists()


def test_temporaries_of_a_stage_do_not_enter_its_folder(study: ToyStudy, out: Path) -> None:
    def litter(context: StageContext) -> dict[str, Any]:
        (context.out / ".tmp-scratch").mkdir()
        (context.out / ".tmp-scratch" / "x").write_text("x")
        (context.out / "a.txt").write_text("a")
        return {}

    folder = run(study, out, stages=(Stage("litter", litter),)).folder("litter")
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "manifest.json"]


def test_nested_manifests_are_hashed_like_any_file(study: ToyStudy, out: Path) -> None:
    def bundle(context: StageContext) -> dict[str, Any]:
        (context.out / "bundle").mkdir()
        (context.out / "bundle" / "manifest.json").write_text("{}")
        return {}

    folder = run(study, out, stages=(Stage("bundle", bundle),)).folder("bundle")
    (folder / "bundle" / "manifest.json").write_text("[]")
    with pytest.raises(IntegrityError, match="damaged"):
        run(study, out, stages=(Stage("bundle", bundle),))


def test_a_stage_may_not_write_the_runner_s_manifest(study: ToyStudy, out: Path) -> None:
    def own(context: StageContext) -> dict[str, Any]:
        (context.out / "manifest.json").write_text("{}")
        return {}

    with pytest.raises(ValueError, match="that name is the runner's"):
        run(study, out, stages=(Stage("own", own),))


def test_an_output_path_under_a_file_is_an_output_error(study: ToyStudy) -> None:
    with pytest.raises(OutputError):
        run(study, study.words / "out")


def test_a_full_disk_inside_a_stage_is_an_output_error(study: ToyStudy, out: Path) -> None:
    def fill(_context: StageContext) -> dict[str, Any]:
        with Path("/dev/full").open("wb", buffering=0) as stream:
            stream.write(b"x" * 10)
        return {}

    with pytest.raises(OutputError, match="No space left on device"):
        run(study, out, stages=(Stage("fill", fill),))
    assert list(out.rglob(".tmp-*")) == []


def test_several_jobs_run_at_once_and_each_after_its_needs(study: ToyStudy, out: Path) -> None:
    meeting = threading.Barrier(2, timeout=20)

    def meet(context: StageContext) -> dict[str, Any]:
        assert (context.folder("read") / "words.json").exists()
        meeting.wait()  # passes only when both targets are running
        return {}

    stages = (READ, replace(COUNT, run=meet))
    watcher = Watcher()
    assert set(statuses(run(study, out, stages=stages, jobs=2, observer=watcher)).values()) == {"done"}
    assert watcher.told.index(("done", "read")) < watcher.told.index(("started", "count[a]"))


def test_with_several_jobs_what_runs_beside_a_failure_is_completed(study: ToyStudy, out: Path) -> None:
    def one_fails(context: StageContext) -> dict[str, Any]:
        if context.target == "a":
            raise FormatError("no good")
        time.sleep(0.2)
        return {}

    with pytest.raises(FormatError, match=r"stage count\[a\]: no good"):
        run(study, out, stages=(READ, replace(COUNT, run=one_fails), SUM), jobs=2)
    assert set(json.loads((out / "current.json").read_text())) == {"read", "count[e]"}
    assert list(out.glob("stages/sum/*")) == []


def test_blas_runs_on_one_thread_inside_stages_and_as_before_outside(study: ToyStudy, out: Path) -> None:
    import numpy as np
    from threadpoolctl import threadpool_info

    def blas() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    inside: list[int] = []

    def look(_context: StageContext) -> dict[str, Any]:
        inside.extend(blas())
        return {"variable": os.environ["OPENBLAS_NUM_THREADS"]}

    assert np.__version__
    outside, environment_before = blas(), os.environ.get("OPENBLAS_NUM_THREADS")
    result = run(study, out, stages=(Stage("look", look),))
    assert set(inside) == {1}
    assert result.nodes[0].summary == {"variable": "1"}
    assert (blas(), os.environ.get("OPENBLAS_NUM_THREADS")) == (outside, environment_before)


def test_openmp_does_not_spin(study: ToyStudy) -> None:
    code = "import os, genomix_pipelines.run; print(os.environ['OMP_WAIT_POLICY'])"
    plain = {k: v for k, v in environment().items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "passive"


def test_finish_is_called_while_the_folder_is_locked(study: ToyStudy, out: Path) -> None:
    seen: list[bool] = []
    run(study, out, finish=lambda result: seen.append((result.out / ".lock").exists()))
    assert seen == [True]


@pytest.mark.parametrize("options", [(), ("--jobs", "2")])
def test_sigterm_clears_up_and_ends_with_143(study: ToyStudy, out: Path, options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tests.toy_run", str(study.folder), str(out), "--pause", "0.3", *options]
    process = subprocess.Popen(command, env=environment())
    deadline = time.monotonic() + 20
    while not list(out.glob("stages/count/.tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    assert process.wait(20) == 143
    assert not (out / ".lock").exists()
    assert list(out.rglob(".tmp-*")) == []
    done = run(study, out)
    assert statuses(done)["read"] == "reused"
    assert json.loads((out / "run.json").read_text())["failed"] is None


def test_the_toy_command_and_the_library_give_the_same_files(study: ToyStudy, out: Path, tmp_path: Path) -> None:
    run(study, out)
    command = [sys.executable, "-m", "tests.toy_run", str(study.folder), str(tmp_path / "other")]
    odd = {**environment(), "PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
    subprocess.run(command, env=odd, check=True)
    assert final_hashes(out) == final_hashes(tmp_path / "other")


def test_the_pointer_never_names_less_than_what_is_complete(study: ToyStudy, out: Path) -> None:
    run(study, out)
    seen: list[set[str]] = []

    class Reader(Watcher):
        def finished(self, result: NodeResult) -> None:
            seen.append(set(json.loads((out / "current.json").read_text())))

    run(study, out, observer=Reader())
    assert seen == [{"read", "count[a]", "count[e]", "sum"}] * 4
    seen.clear()
    run(replace(study, seed=2), out, observer=Reader())  # nothing of the earlier study is current any more
    assert seen == [
        {"read"},
        {"read", "count[a]"},
        {"read", "count[a]", "count[e]"},
        {"read", "count[a]", "count[e]", "sum"},
    ]
