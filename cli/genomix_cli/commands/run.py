"""``genomix run``: bring a study's every stage to its complete output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genomix_cli.options import (
    DeviceChoice,
    DeviceOption,
    JobsOption,
    JsonOption,
    QuietOption,
    StrictOption,
    StudyArgument,
)

_EXAMPLE = """Examples:

\b
  genomix run study.toml
  genomix run study.toml --out results --device cpu --jobs 2
  genomix run study.toml --dry-run
  genomix run study.toml --from model
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=_EXAMPLE, short_help="Run a study.")(run)


def run(
    study: StudyArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Output folder; default: the study file's name + '-out', here.", show_default=False),
    ] = None,
    device: DeviceOption = DeviceChoice.auto,
    jobs: JobsOption = 1,
    from_stage: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STAGE",
            help="Recompute from this stage on and compare with the earlier output, byte for byte.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run; write nothing.")] = False,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study: convert, split, features, models, explanations, report.

    What is complete is not done again: a run that was cut off resumes, and a second run does nothing. The last line on
    stdout is the path of the report.
    """
    from genomix.device import resolve_device
    from genomix_cli.console import conclude, print_json, say_device, watching
    from genomix_pipelines.execute import execute
    from genomix_pipelines.study import load_study

    loaded = load_study(study)
    chosen = resolve_device(device.value)
    say_device(chosen, quiet=quiet)
    folder = out if out is not None else Path(f"{study.stem}-out")
    with watching(quiet=quiet) as observer:
        outcome = execute(
            loaded, folder, device=chosen, strict=strict, jobs=jobs,
            from_stage=from_stage, dry_run=dry_run, observer=observer,
        )  # fmt: skip
    if not dry_run:
        conclude(outcome, strict=strict, quiet=quiet, as_json=as_json)
    elif as_json:
        print_json(outcome.result.to_json())
    else:
        for node in outcome.result.nodes:
            print(f"{node.status:7}  {node.name}  {node.hash[:16]}")
