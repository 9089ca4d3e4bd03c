"""What a run tells while it runs; the console and tests implement it, the runner only calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Status = Literal["done", "reused", "planned"]


@dataclass(frozen=True)
class NodeResult:
    """What became of one node.

    ``done``: computed now; ``checked`` is set when an earlier output with the same HASH held the same bytes.
    ``reused``: complete before. ``planned``: a dry run would compute it. ``cpu_seconds`` and ``peak_memory_bytes`` are
    the process's while the node ran, so with several jobs they include what ran beside it.
    """

    name: str
    stage: str
    target: str | None
    hash: str
    status: Status
    folder: Path
    summary: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    checked: bool = False


class Observer(Protocol):
    """Told of each step of a run; calls never overlap, also when several nodes run at once."""

    def planned(self, names: tuple[str, ...]) -> None:
        """The nodes of the run, in order, before the first starts."""

    def started(self, name: str) -> None:
        """A node starts computing."""

    def progress(self, name: str, share: float, words: str) -> None:
        """A node is ``share`` (0 to 1) through."""

    def finished(self, result: NodeResult) -> None:
        """A node is complete, computed now or before."""

    def failed(self, name: str, error: Exception) -> None:
        """A node failed; the run ends."""


class Silent:
    """An observer that tells nobody."""

    def planned(self, names: tuple[str, ...]) -> None:
        """Ignore it."""

    def started(self, name: str) -> None:
        """Ignore it."""

    def progress(self, name: str, share: float, words: str) -> None:
        """Ignore it."""

    def finished(self, result: NodeResult) -> None:
        """Ignore it."""

    def failed(self, name: str, error: Exception) -> None:
        """Ignore it."""
