"""``genomix ehr describe``: what a MEDS dataset holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genomix_cli.commands.ehr.cohort import MedsArgument
from genomix_cli.options import JsonOption, QuietOption

_EXAMPLE = """Examples:

\b
  genomix ehr describe records
  genomix ehr describe records --codes codes.parquet --json > quality.json
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("describe", epilog=_EXAMPLE, short_help="Counts, coverage, units and oddities.")(describe)


def describe(
    records: MedsArgument,
    codes: Annotated[
        Path | None,
        typer.Option("--codes", help="Table of every code: counts, units, quantiles; .parquet, .csv or .tsv."),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Codes to list.")] = 20,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Describe health records: counts, time covered, missing values, units, quantiles, repeats, gaps, impossible order.

    Calendar years are printed: this is for the study's own team. A report holds none.
    """
    from genomix.ehr import quality
    from genomix.io.meds import read_meds
    from genomix_cli.console import print_json, say

    events = read_meds(records).events
    found = quality.describe(events, most=most)
    found["coverage"] = quality.coverage(events).to_dicts()
    found["gaps_days"] = quality.gaps(events)
    table = quality.describe_codes(events)
    if codes is not None:
        from genomix.io.score_tables import write_frame

        write_frame(codes, table)
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if not isinstance(value, list | dict):
            print(f"{name.replace('_', ' ')}: {_shown(value)}")
    print("gaps between records of a person, in days: " + _pairs(found["gaps_days"]))
    for row in found["coverage"]:
        print(f"year {row['year']}: {row['events']:,} events of {row['people']:,} people")
    for row in found["most_frequent_codes"]:
        print(f"{row['n_events']:>12,} events, {row['n_people']:>8,} people: {row['code']}")
    for row in found["codes_with_several_units"]:
        print(f"{row['values']:>12,} values in {row['unit']}: {row['code']}")
    say(f"{table.height:,} codes", quiet=quiet)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in values.items())
