"""What a stage is: the files it reads, its parameters, and one function that fills one folder.

The graph of stages is defined once, by the stages' own ``needs``; the local runner and any workflow engine read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from genomix.device import Device


class StudyLike(Protocol):
    """What the engine needs of a study: its targets (empty: the one outcome of the study has no name)."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the outcomes for which the per-target stages are repeated."""
        ...


Progress = Callable[[float, str], None]
"""Called by a stage with the share done (0 to 1) and a few words."""


def _no_progress(share: float, words: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class StageContext:
    """What a stage's function is given.

    ``out`` is an empty, temporary folder that becomes ``stages/NAME/HASH`` when the function returns.
    ``upstream`` maps stage name to ``{target: folder}``; a stage without targets has the one key ``None``.
    """

    study: Any
    target: str | None
    out: Path
    files: Mapping[str, Path]
    upstream: Mapping[str, Mapping[str | None, Path]]
    device: Device
    threads: int = 1
    progress: Progress = field(default=_no_progress)

    def folder(self, stage: str) -> Path:
        """Return the folder of an upstream stage: this target's, or the shared one."""
        folders = self.upstream[stage]
        return folders[self.target] if self.target in folders else folders[None]

    def folders(self, stage: str) -> Mapping[str | None, Path]:
        """Return the folders of an upstream stage for every target."""
        return self.upstream[stage]

    def has(self, stage: str) -> bool:
        """Say whether the plan holds this upstream stage."""
        return stage in self.upstream


def always(_study: Any) -> bool:
    """Every plan holds the stage."""
    return True


def no_files(_study: Any, _target: str | None) -> dict[str, Path]:
    """The stage reads no file of the user's."""
    return {}


def no_parameters(_study: Any, _target: str | None) -> dict[str, Any]:
    """The stage has no parameters."""
    return {}


@dataclass(frozen=True)
class Stage:
    """One node of the graph (one per target when ``per_target``).

    Parameters
    ----------
    name: folder name under ``stages/``.
    needs: upstream stage names; those that the plan does not hold are left out.
    wanted: says whether a study's plan holds this stage.
    files: input files or folders by role; their bytes enter the HASH.
    parameters: JSON-able values that determine the result; they enter the HASH.
    run: fills ``context.out`` and returns counts for the log line and the manifest (JSON-able, no identifiers).
    per_target: repeated for every target of the study.
    """

    name: str
    run: Callable[[StageContext], dict[str, Any]]
    needs: tuple[str, ...] = ()
    wanted: Callable[[Any], bool] = always
    files: Callable[[Any, str | None], dict[str, Path]] = no_files
    parameters: Callable[[Any, str | None], dict[str, Any]] = no_parameters
    per_target: bool = False
