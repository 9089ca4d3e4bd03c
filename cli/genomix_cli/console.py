"""What a command prints: results on stdout, everything else on stderr.

Nothing here is kept between commands: streams are looked up when something is printed, and settings travel in the
command's context.
"""

from __future__ import annotations

import json
import sys
import traceback
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomix.errors import GenomixError, StrictError

if TYPE_CHECKING:
    from genomix.device import Device
    from genomix_pipelines.execute import Outcome
    from genomix_pipelines.observer import NodeResult, Observer


@dataclass
class Settings:
    """The global options of one command."""

    debug: bool = False
    show_identifiers: bool = False

    @property
    def names_people(self) -> bool:
        """Whether identifiers may be printed: to a person at a terminal, or because that was asked for."""
        return self.show_identifiers or sys.stderr.isatty()


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text in which what would move a terminal's cursor, colour it or turn its text round is spelled out.

    >>> printable("a\x1b[2Jb"), printable("a\nb"), printable("a\nb", keep="\n")
    ('a\\x1b[2Jb', 'a\\nb', 'a\nb')
    """
    return "".join(c if c in keep or not _moves(c) else c.encode("unicode_escape").decode() for c in text)


def _moves(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line to stderr unless quiet."""
    if not quiet:
        print(printable(text, keep="\n\t"), file=sys.stderr, flush=True)


def say_device(device: Device, *, quiet: bool = False) -> None:
    """Print where the command computes, and why: its first line."""
    say(f"device: {device.kind} ({device.name}): {device.reason}", quiet=quiet)


def print_json(value: Any) -> None:
    """Print a result for a machine to stdout."""
    print(json.dumps(value, indent=1, sort_keys=True, default=str))


def describe_error(error: GenomixError, settings: Settings) -> str:
    """Return the line that a user's error prints."""
    return f"error: {printable(error.render(show_identifiers=settings.names_people))}"


def describe_crash(error: BaseException) -> str:
    """Return the line that a bug prints: no message, because it may quote a person's row."""
    stage = next((f" {note}" for note in getattr(error, "__notes__", []) if note.startswith("in stage ")), "")
    return (
        f"internal error: {type(error).__name__} at {_place(error)}{stage}. "
        "Try: the same command with --debug, and report what it prints"
    )


def format_traceback(error: BaseException, settings: Settings) -> str:
    """Return the traceback without any variable; messages only where identifiers may be printed."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, GenomixError):
            message = current.render(show_identifiers=settings.names_people)
        else:
            message = str(current) if settings.names_people else "(message hidden: see --show-identifiers)"
        parts.append("".join(traceback.format_tb(current.__traceback__)) + f"{type(current).__name__}: {message}\n")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "caused:\n".join(reversed(parts))


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    ours = [f for f in frames if any(part.startswith("genomix") for part in Path(f.filename).parts)]
    frame = (ours or frames)[-1]
    parts = Path(frame.filename).parts
    start = max((i for i, part in enumerate(parts) if part.startswith("genomix")), default=len(parts) - 1)
    return f"{'/'.join(parts[start:])}:{frame.lineno}"


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[Observer]:
    """Yield an observer that suits stderr: silent, a progress bar on a terminal, otherwise a line per stage."""
    if quiet:
        from genomix_pipelines.observer import Silent

        yield Silent()
    elif sys.stderr.isatty():
        with _Bar() as bar:
            yield bar
    else:
        yield Lines()


class Lines:
    """One plain line for each stage that ended: number, name, counts, time, memory."""

    def __init__(self) -> None:
        self._total = self._ended = self._width = 0

    def planned(self, names: tuple[str, ...]) -> None:
        """Learn how many lines there will be."""
        self._total = len(names)
        self._width = max((len(name) for name in names), default=0)

    def started(self, name: str) -> None:
        """Print nothing: a line comes when the stage has ended."""

    def progress(self, name: str, share: float, words: str) -> None:
        """Print nothing: logs keep one line per stage."""

    def finished(self, result: NodeResult) -> None:
        """Print the stage's line."""
        self._ended += 1
        digits = len(str(self._total))
        self._print(f"[{self._ended:{digits}}/{self._total}] {result.name:{self._width}}  {describe_node(result)}")

    def failed(self, name: str, error: Exception) -> None:
        """Print that the stage failed; the error itself comes last."""
        self._print(f"[{'-' * len(str(self._total))}/{self._total}] {name:{self._width}}  failed")

    def _print(self, line: str) -> None:
        say(line.rstrip())


class _Bar(Lines):
    """A progress bar over the study, above it the same lines."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False),
            console=Console(file=sys.stderr), transient=True,
        )  # fmt: skip
        self._progress.start()
        self._study = self._progress.add_task("", total=None)
        self._running: dict[str, str] = {}
        return self

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()

    def planned(self, names: tuple[str, ...]) -> None:
        super().planned(names)
        self._progress.update(self._study, total=len(names))

    def started(self, name: str) -> None:
        self._show(name, name)

    def progress(self, name: str, share: float, words: str) -> None:
        self._show(name, f"{name} {share:.0%} {words}")

    def finished(self, result: NodeResult) -> None:
        super().finished(result)
        self._running.pop(result.name, None)
        self._progress.update(self._study, completed=self._ended, description=", ".join(self._running.values()))

    def failed(self, name: str, error: Exception) -> None:
        super().failed(name, error)
        self._running.pop(name, None)

    def _show(self, name: str, words: str) -> None:
        self._running[name] = words
        self._progress.update(self._study, description=", ".join(self._running.values()))

    def _print(self, line: str) -> None:
        self._progress.console.print(line.rstrip(), markup=False, highlight=False)


def describe_node(result: NodeResult) -> str:
    """Return what a stage's line says of it: what happened, counts, time and memory."""
    counts = describe_counts(result.summary)
    if result.status != "done":
        return f"{result.status:7}  {counts}".rstrip()
    note = "same bytes as before  " if result.checked else ""
    return (
        f"done     {note}{counts}{'  ' if counts else ''}"
        f"{result.seconds:.1f} s  {result.peak_memory_bytes / 2**20:.0f} MiB"
    )


def describe_counts(summary: Mapping[str, Any]) -> str:
    """Return the numbers and words of a stage's summary, without its lists and tables.

    >>> describe_counts({"rows": 12000, "share": 0.25, "model": "boosted", "warnings": []})
    'rows 12,000, share 0.25, model boosted'
    """
    shown = {k: v for k, v in summary.items() if isinstance(v, int | float | str)}
    return ", ".join(f"{k.replace('_', ' ')} {_figure(v)}" for k, v in shown.items())


def _figure(value: float | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value


def conclude(outcome: Outcome, *, strict: bool, quiet: bool, as_json: bool) -> None:
    """Print a run's warnings and where its report lies; under ``strict`` warnings end in an exit code.

    A stage's summary may hold ``warnings``, a list of sentences.

    Raises
    ------
    StrictError: when there are warnings and the run is strict.
    """
    result = outcome.result
    warnings = [f"{node.name}: {text}" for node in result.nodes for text in node.summary.get("warnings", ())]
    warnings += [f"leakage certificate: {check} failed" for check in outcome.failed_checks]
    for text in warnings:
        say(f"warning: {text}")
    if result.nothing_done:
        say(f"nothing to do: all {len(result.nodes)} stages are up to date in {result.out}", quiet=quiet)
    if as_json:
        report = str(outcome.report) if outcome.report is not None else None
        print_json({**result.to_json(), "report": report, "warnings": warnings})
    elif outcome.report is not None:
        print(outcome.report)
    if strict and warnings:
        raise StrictError(
            f"{len(warnings)} warning(s) under --strict", where=str(result.out), hint="mend them, or leave out --strict"
        )
