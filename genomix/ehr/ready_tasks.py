"""Tasks that come with the package: common questions, written for MIMIC's, OMOP's and FHIR's codes alike.

Each file's ``description`` says what a 1 means, and what it does not. Copy one to change it.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from genomix.errors import ConfigError, InputNotFoundError


def ready_tasks() -> dict[str, Path]:
    """Return name → file of the tasks that come with the package, by name."""
    folder = Path(str(files("genomix.ehr") / "tasks"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_task(name_or_path: str) -> Path:
    """Return the file of a ready task, or the task file at a path. A name goes before a file of the same name.

    Raises
    ------
    ConfigError: neither a ready task nor a file; it lists the names. InputNotFoundError: a path to no file.
    """
    ready = ready_tasks()
    if name_or_path in ready:
        return ready[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputNotFoundError(
            f"{path.name} does not exist", where=str(path), hint="genomix ehr tasks lists ready ones"
        )
    raise ConfigError(
        f"{name_or_path!r} is neither a ready task nor a file", hint="a task file, or one of: " + ", ".join(ready)
    )
