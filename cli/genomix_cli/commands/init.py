"""``genomix init``: look at a folder and propose a study file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_EXAMPLE = """Examples:

\b
  genomix init data/
  genomix init data/ -o study.toml
  genomix init labs/ --mapping -o labs/mapping.toml
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init", epilog=_EXAMPLE, short_help="Propose a study file for a folder.")(init)


def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A folder of inputs (with --mapping also one table).", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the study file here instead of to stdout.", show_default=False),
    ] = None,
    mapping: Annotated[
        bool,
        typer.Option("--mapping", help="Propose what the columns of tables of records mean, instead of a study."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Propose a study file from what a folder holds; read it, correct it, then check it.

    With --mapping, propose which columns of long or wide tables (CSV, TSV, Parquet) become which events; genomix ehr
    convert reads the tables by it.
    """
    from genomix.errors import InputNotFoundError, OutputError
    from genomix.provenance import write_bytes
    from genomix_cli.console import say
    from genomix_pipelines.propose import propose_study

    if not folder.is_dir() and not (mapping and folder.is_file()):
        raise InputNotFoundError(f"{folder.name} is not a folder", where=str(folder), hint="name the folder of inputs")
    if output is not None and output.is_file() and not force:
        raise OutputError(f"{output.name} exists", where=str(output), hint="another -o, or --force to replace it")
    if mapping:
        from genomix.io.mapping_proposal import propose_mapping

        text, following = propose_mapping(folder), f"genomix ehr convert {folder} --from csv --mapping {output}"
    else:
        text, following = propose_study(folder), f"genomix check {output}"
    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    write_bytes(output, text.encode())
    say(f"wrote {output}; read it, correct it, then: {following}")
