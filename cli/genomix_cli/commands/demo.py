"""``genomix demo``: the whole thing on bundled data, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genomix_cli.options import (
    DemoSize,
    DeviceChoice,
    DeviceOption,
    JobsOption,
    JsonOption,
    QuietOption,
)

_EXAMPLE = """Examples:

\b
  genomix demo
  genomix demo --out small-demo --size small
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog=_EXAMPLE, short_help="Run a whole study on bundled data.")(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Output folder.")] = Path("genomix-demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulated records and outcome.")] = 1,
    size: Annotated[DemoSize, typer.Option("--size", help="How many people.")] = DemoSize.full,
    device: DeviceOption = DeviceChoice.auto,
    jobs: JobsOption = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a whole study on bundled data: real genotypes, SIMULATED health records and outcome.

    It needs no network and takes about a minute. The last line on stdout is the path of the report.
    """
    from genomix.device import resolve_device
    from genomix_cli.console import conclude, say_device, watching
    from genomix_pipelines.demo import run_demo

    chosen = resolve_device(device.value)
    say_device(chosen, quiet=quiet)
    with watching(quiet=quiet) as observer:
        outcome = run_demo(out, seed=seed, size=size.value, device=chosen, jobs=jobs, observer=observer)
    conclude(outcome, strict=False, quiet=quiet, as_json=as_json)
