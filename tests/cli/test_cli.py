"""The command line: help, exit codes, what goes to which stream, and what an error may say."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer

from genomix.device import CPU
from genomix.errors import EXIT_CODES, FormatError, GenomixError, Identifier, LabelError
from genomix_cli import app as app_module
from genomix_cli.app import app, main
from genomix_cli.console import Lines, Settings, describe_counts, watching
from genomix_pipelines.observer import NodeResult, Silent
from genomix_pipelines.run import run_study
from tests.faults import environment
from tests.toy_study import STAGES, ToyStudy, make_study

HEAVY = {"polars", "numpy", "xgboost", "shap", "torch", "matplotlib", "sklearn", "scipy", "pydantic", "pyarrow", "rich"}


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*path, name), command
        yield from _commands(command, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))


def genomix(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genomix_cli.app", *arguments]
    return subprocess.run(command, env=environment(), text=True, check=False, **{"capture_output": True, **options})


@dataclass
class Checked:
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    errors: list[GenomixError] = field(default_factory=list)


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., ToyStudy]:
    """Stand toy functions in for the study's loader, runner, check, proposal and demo."""

    def install(**replacements: Callable[..., Any]) -> ToyStudy:
        study = make_study(tmp_path / "in")

        def execute(loaded: Any, out: Path, *, device: Any, strict: bool = False, **options: Any) -> Any:
            result = run_study(loaded, out, stages=STAGES, device=device, **options)
            report = None if options.get("dry_run") else result.folder("sum") / "report.html"
            return types.SimpleNamespace(
                result=result, report=report, failed_checks=replacements.get("failed", tuple)()
            )

        def run_demo(out: Path, **options: Any) -> Any:
            return execute(study, out, **{k: v for k, v in options.items() if k not in ("seed", "size")})

        toys: dict[str, dict[str, Any]] = {
            "study": {"load_study": lambda _: study},
            "execute": {"execute": execute},
            "check": {"check_study": lambda _: Checked()},
            "propose": {"propose_study": lambda _: "[study]\n"},
            "demo": {"run_demo": run_demo},
        }
        for module, names in toys.items():
            fake = types.ModuleType(f"genomix_pipelines.{module}")
            for name, function in names.items():
                setattr(fake, name, replacements.get(name, function))
            monkeypatch.setitem(sys.modules, fake.__name__, fake)
        return study

    monkeypatch.chdir(tmp_path)
    return install


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


# help


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, time, genomix_cli.app as a; code = a.main(['--help']); "
        f"print(code, sorted({HEAVY!r} & set(sys.modules)), time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr.split()[:2] == ["0", "[]"]
    for name in ("demo", "run", "init", "check", "doctor"):
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE), done.stdout


def test_importing_every_command_s_module_imports_nothing_heavy() -> None:
    """The app imports them all to list them, so this is what each call pays."""
    code = f"import sys, genomix_cli.app; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    command = COMMANDS[path]
    assert command.help
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert command.help.splitlines()[0].split()[0] in shown
    if not getattr(command, "commands", None):
        assert "genomix " + " ".join(path) in shown.partition("Example")[2], f"no example in the help of {path}"
        for parameter in command.params:
            assert getattr(parameter, "help", "x"), f"{path}: {parameter.name} has no help"


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([])
    shown = capsys.readouterr()
    assert "Usage: genomix" in shown.out + shown.err
    assert code in (0, 2)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    import genomix as package

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"genomix {package.__version__}\n"


@pytest.mark.parametrize("arguments", [["nope"], ["run"], ["run", "x", "--jobs", "0"], ["demo", "--device", "gpu"]])
def test_a_wrong_command_line_is_2_and_says_how(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--help" in shown.err


# run, demo


def test_run_prints_the_device_first_and_the_report_last(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines()
    assert main(["run", "study.toml", "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    report = Path(shown.out.strip())
    assert report.name == "report.html"
    assert report.read_text() == "<p>7</p>"
    assert report.is_relative_to("study-out")
    lines = shown.err.splitlines()
    assert lines[0] == f"device: cpu (CPU): {CPU.reason}"
    assert re.fullmatch(r"\[1/4\] read      done     words 3  \d+\.\d s  \d+ MiB", lines[1])
    assert len(lines) == 5


def test_a_second_run_says_that_there_is_nothing_to_do(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines()
    main(["run", "study.toml", "--device", "cpu", "--out", "o", "--quiet"])
    first = capsys.readouterr()
    assert first.err == ""
    assert main(["run", "study.toml", "--device", "cpu", "--out", "o"]) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert second.err.count("reused") == 4
    assert "nothing to do: all 4 stages are up to date in o" in second.err


def test_run_as_json_is_one_document(pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]) -> None:
    pipelines()
    assert main(["run", "study.toml", "--device", "cpu", "--json", "--jobs", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["report"].endswith("report.html")
    assert {n["name"]: n["status"] for n in found["nodes"]}["count[a]"] == "done"
    assert found["device"]["kind"] == "cpu"


def test_a_dry_run_lists_the_plan_on_stdout(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipelines()
    assert main(["run", "study.toml", "--device", "cpu", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["planned", n] for n in ("read", "count[a]", "count[e]", "sum")]
    assert not (tmp_path / "study-out").exists()
    assert main(["run", "study.toml", "--device", "cpu", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"][0]["status"] == "planned"


def test_run_from_a_stage(pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]) -> None:
    pipelines()
    main(["run", "study.toml", "--device", "cpu"])
    capsys.readouterr()
    assert main(["run", "study.toml", "--device", "cpu", "--from", "sum"]) == 0
    assert "same bytes as before" in capsys.readouterr().err
    assert main(["run", "study.toml", "--device", "cpu", "--from", "nope"]) == 8


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 15)])
def test_warnings_are_printed_and_strict_makes_them_a_code(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str], strict: list[str], code: int
) -> None:
    pipelines(failed=lambda: ("kinship crosses the split",))
    assert main(["run", "study.toml", "--device", "cpu", "--quiet", *strict]) == code
    shown = capsys.readouterr()
    assert "warning: leakage certificate: kinship crosses the split failed" in shown.err
    assert shown.out.strip().endswith("report.html")


def test_the_demo_runs_with_its_options(pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]) -> None:
    given: dict[str, Any] = {}
    study = pipelines(run_demo=lambda out, **options: given.update(options, out=out) or raise_label())

    def raise_label() -> None:
        raise LabelError("stop here")

    assert study.words.exists()
    assert main(["demo", "--seed", "5", "--size", "small", "--device", "cpu", "--jobs", "3"]) == 7
    assert {k: given[k] for k in ("out", "seed", "size", "device", "jobs")} == {
        "out": Path("genomix-demo"), "seed": 5, "size": "small", "device": CPU, "jobs": 3,
    }  # fmt: skip
    assert "error: stop here" in capsys.readouterr().err


def test_the_demo_ends_with_its_report(pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]) -> None:
    pipelines()
    assert main(["demo", "--out", "d", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")


# init, check


def test_init_prints_or_writes_a_proposal_and_replaces_nothing(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipelines()
    assert main(["init", "in"]) == 0
    assert capsys.readouterr().out == "[study]\n"
    assert main(["init", "in", "-o", "study.toml"]) == 0
    assert (tmp_path / "study.toml").read_text() == "[study]\n"
    shown = capsys.readouterr()
    assert shown.out == ""
    (tmp_path / "study.toml").write_text("mine")
    assert main(["init", "in", "-o", "study.toml"]) == 9
    assert (tmp_path / "study.toml").read_text() == "mine"
    assert main(["init", "in", "-o", "study.toml", "--force"]) == 0
    assert (tmp_path / "study.toml").read_text() == "[study]\n"


def test_init_of_no_folder(pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]) -> None:
    pipelines()
    assert main(["init", "nowhere"]) == 3
    assert "error: nowhere is not a folder [nowhere]" in capsys.readouterr().err


def test_check_prints_facts_and_ends_with_the_first_error_s_code(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [LabelError("one class only"), FormatError("line 3 is short")]
    pipelines(check_study=lambda _: Checked({"samples": 2504}, ["few events"], problems))
    assert main(["check", "study.toml"]) == 7
    shown = capsys.readouterr()
    assert shown.out == "samples 2,504\n"
    assert set(shown.err.splitlines()) == {"warning: few events", "error: line 3 is short", "error: one class only"}
    assert main(["check", "study.toml", "--json"]) == 7
    found = json.loads(capsys.readouterr().out)
    assert found["facts"] == {"samples": 2504}
    assert [e["code"] for e in found["errors"]] == [7, 4]


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 15)])
def test_check_with_warnings(pipelines: Callable[..., ToyStudy], strict: list[str], code: int) -> None:
    pipelines(check_study=lambda _: Checked(warnings=["few events"]))
    assert main(["check", "study.toml", *strict]) == code


# errors


@pytest.mark.parametrize("cause", GenomixError.__subclasses__(), ids=lambda c: c.__name__)
def test_each_cause_ends_in_its_code_and_one_line(
    cause: type[GenomixError], pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines(load_study=raising(cause("it is wrong", where="x:1", hint="mend it")))
    assert main(["run", "study.toml"]) == cause.exit_code
    assert capsys.readouterr().err == "error: it is wrong [x:1]. Try: mend it\n"


@pytest.mark.parametrize(("flags", "named"), [([], False), (["--show-identifiers"], True)])
def test_identifiers_are_named_in_logs_only_when_asked(
    flags: list[str], named: bool, pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    error = FormatError("a bad call", identifiers=(Identifier("sample", "NA12878", 3),))
    pipelines(load_study=raising(error))
    for arguments in (
        ["run", "study.toml", *flags],
        [*flags, "run", "study.toml"],
        ["run", "study.toml", "--debug", *flags],
    ):
        assert main(arguments) == 4
        text = capsys.readouterr().err
        assert ("NA12878" in text) == named
        assert ("sample no. 3" in text) != named


def test_identifiers_are_named_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Settings().names_people
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert Settings().names_people


def test_settings_do_not_leak_into_the_next_command(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines(load_study=raising(FormatError("bad", identifiers=(Identifier("sample", "NA12878", 3),))))
    main(["run", "x", "--show-identifiers", "--debug"])
    capsys.readouterr()
    main(["run", "x"])
    assert capsys.readouterr().err == "error: bad (sample no. 3)\n"


def test_a_bug_prints_its_type_and_place_only(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines(load_study=raising(KeyError("NA12878")))
    assert main(["run", "study.toml"]) == 1
    text = capsys.readouterr().err
    assert re.match(r"internal error: KeyError at genomix_cli/commands/run\.py:\d+\. Try: .*--debug", text)
    assert "NA12878" not in text
    assert text.count("\n") == 1


def test_debug_prints_a_traceback_without_values(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_path: Path) -> None:
        patient = {"subject": "MRN-77"}
        raise KeyError(patient["subject"])

    pipelines(load_study=fail)
    assert main(["run", "study.toml", "--debug"]) == 1
    text = capsys.readouterr().err
    assert 'raise KeyError(patient["subject"])' in text
    assert "MRN-77" not in text.replace('{"subject": "MRN-77"}', "")
    assert main(["--debug", "--show-identifiers", "run", "study.toml"]) == 1
    assert "KeyError: 'MRN-77'" in capsys.readouterr().err


def test_a_bug_in_a_stage_names_the_stage(
    pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    error = ValueError("of a row")
    error.add_note("in stage model[ldl]")
    pipelines(load_study=raising(error))
    assert main(["run", "study.toml"]) == 1
    assert "in stage model[ldl]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit(143), 143, ""),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (OSError(errno.ENOSPC, "No space left on device"), 9, "error: cannot write: No space left on device"),
        (RuntimeError("No space left on device"), 9, "error: cannot write: No space left on device"),
    ],
)
def test_other_endings(
    error: BaseException, code: int, text: str, pipelines: Callable[..., ToyStudy], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(app_module, "_silence_stdout", lambda: None)  # it would close the tests' own stream
    pipelines(load_study=raising(error))
    assert main(["run", "study.toml"]) == code
    assert code in EXIT_CODES
    assert capsys.readouterr().err.startswith(text)


# the real command in a process of its own


def test_a_missing_study_file() -> None:
    for command in ("run", "check"):
        done = genomix(command, "no-such.toml")
        assert done.returncode == 3
        assert done.stderr.startswith("error: ")
        assert "no-such.toml" in done.stderr
        assert done.stdout == ""


def test_a_full_disk_behind_stdout_is_9() -> None:
    with Path("/dev/full").open("w") as full:
        done = genomix("--help", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (
        9, "error: cannot write: No space left on device. Try: free space or choose another place to write to\n",
    )  # fmt: skip


def test_a_reader_that_leaves_is_no_error() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    try:
        done = genomix("--help", capture_output=False, stdout=writable, stderr=subprocess.PIPE)
    finally:
        os.close(writable)
    assert (done.returncode, done.stderr) == (141, "")


_TOY = """
import sys, types
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.toy_study import STAGES, ToyStudy
from genomix_pipelines.run import run_study
def install(name, **functions):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(functions)
def execute(study, out, *, strict, **options):
    result = run_study(study, out, stages=STAGES, **options)
    return types.SimpleNamespace(result=result, report=result.folder("sum") / "report.html", failed_checks=())
install("genomix_pipelines.study", load_study=lambda path: ToyStudy(Path({folder!r}), pause={pause}))
install("genomix_pipelines.execute", execute=execute)
from genomix_cli.app import main
sys.exit(main(sys.argv[1:]))
"""


def toy_command(folder: Path, pause: float = 0.0) -> list[str]:
    make_study(folder)
    root = str(Path(__file__).resolve().parent.parent.parent)
    return [
        sys.executable,
        "-c",
        _TOY.format(root=root, folder=str(folder), pause=pause),
        "run",
        "x.toml",
        "--device",
        "cpu",
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_clears_up(number: int, code: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*toy_command(tmp_path / "in", 0.5), "--out", str(out)], env=environment(), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 20
    while not list(out.glob("stages/count/.tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, text = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in text
    assert not (out / ".lock").exists()
    assert list(out.rglob(".tmp-*")) == []


def test_a_second_run_in_the_same_folder_is_refused_with_the_owner(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = subprocess.Popen(
        [*toy_command(tmp_path / "in", 60.0), "--out", str(out)], env=environment(), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 20
    while not (out / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    command = [*toy_command(tmp_path / "in"), "--out", str(out)]
    second = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    first.terminate()
    first.wait(20)
    assert second.returncode == 10
    assert f"process {first.pid} on {os.uname().nodename}" in second.stderr


@pytest.mark.parametrize("place", ["words.txt", "words.txt/x"])
def test_an_output_path_that_is_a_file_or_under_one(tmp_path: Path, place: str) -> None:
    command = [*toy_command(tmp_path / "in"), "--out", str(tmp_path / "in" / place)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 9
    assert re.search(r"^error: cannot write .*Try: ", done.stderr, re.MULTILINE)


# the console


def test_a_quiet_console_is_silent_and_a_log_gets_lines() -> None:
    with watching(quiet=True) as observer:
        assert isinstance(observer, Silent)
    with watching() as observer:
        assert type(observer) is Lines


def test_the_progress_bar_prints_the_same_lines_above_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    study = make_study(tmp_path / "in")
    with watching() as observer:
        run_study(study, tmp_path / "out", stages=STAGES, device=CPU, observer=observer)
        observer.failed("sum", ValueError("x"))
    text = capsys.readouterr().err
    assert "[1/4] read      done     words 3" in text
    assert "[4/4] sum       done     total 7" in text
    assert "[-/4] sum       failed" in text


def test_counts_are_words_and_figures_without_lists() -> None:
    assert describe_counts({"rows": 12000, "mean_age": 51.23456, "ok": True, "warnings": ["x"], "table": {}}) == (
        "rows 12,000, mean age 51.23, ok yes"
    )


def test_a_stage_without_counts_has_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.planned(("one",))
    lines.finished(NodeResult("one", "one", None, "h", "reused", Path("x")))
    assert capsys.readouterr().err == "[1/1] one  reused\n"
