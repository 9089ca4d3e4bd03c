"""``genomix ehr tasks``: the tasks that come with genomix, to use by name or to copy and change."""

from __future__ import annotations

from typing import Annotated

import typer

from genomix_cli.options import JsonOption

_EXAMPLE = """Examples:

\b
  genomix ehr tasks
  genomix ehr tasks in_hospital_death > task.yaml
  genomix ehr cohort records --task in_hospital_death -o labels.parquet
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("tasks", epilog=_EXAMPLE, short_help="Ready tasks: list them, or print one.")(tasks)


def tasks(
    name: Annotated[str | None, typer.Argument(help="Print this task, to copy and change.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the ready tasks with what each asks, or print one as its file."""
    from genomix.ehr.aces import read_task
    from genomix.ehr.ready_tasks import ready_tasks
    from genomix.errors import ConfigError
    from genomix_cli.console import print_json

    known = ready_tasks()
    if name is not None:
        if name not in known:
            raise ConfigError(f"{name!r} is no ready task", hint="one of: " + ", ".join(known))
        print(known[name].read_text(), end="")
        return
    described = {task: read_task(path).description for task, path in known.items()}
    if as_json:
        print_json(described)
        return
    for task, words in described.items():
        print(f"{task}\n  {' '.join(words.split())}")
