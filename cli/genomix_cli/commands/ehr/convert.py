"""``genomix ehr convert``: health records of any format into a MEDS dataset."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genomix_cli.options import JsonOption, QuietOption, StrictOption

if TYPE_CHECKING:
    from genomix.ehr.conversion import Conversion

_EXAMPLE = """Examples:

\b
  genomix ehr convert omop/ --from omop -o records
  genomix ehr convert mimiciv/ -o records
  genomix ehr convert visits.csv --from csv --mapping visits.toml -o records
"""


class UnitsChoice(StrEnum):
    """What becomes of units."""

    harmonise = "harmonise"
    keep = "keep"


class ImplausibleChoice(StrEnum):
    """What becomes of values that no living person has."""

    flag = "flag"
    missing = "missing"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("convert", epilog=_EXAMPLE, short_help="Any format into a MEDS dataset.")(convert)


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A folder or file of health records.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MEDS_DIR", help="Folder to make.", show_default=False)],
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Format: omop, fhir, meds, mimic3, mimic4, eicu or csv; by default recognised."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", help="Mapping of tables, or views of FHIR resources (TOML)."),
    ] = None,
    availability: Annotated[
        Path | None, typer.Option("--availability", help="Rules (TOML) of when a record could first be known.")
    ] = None,
    units: Annotated[
        UnitsChoice, typer.Option("--units", help="Bring every code to one unit, or keep units as recorded.")
    ] = UnitsChoice.harmonise,
    unit_table: Annotated[
        Path | None, typer.Option("--unit-table", help="A site's own units (TOML), before the shipped ones.")
    ] = None,
    implausible: Annotated[
        ImplausibleChoice, typer.Option("--implausible", help="Count implausible values only, or make them missing.")
    ] = ImplausibleChoice.flag,
    events_per_shard: Annotated[
        int, typer.Option("--events-per-shard", min=1000, help="About how many events are held in memory and a file.")
    ] = 4_000_000,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert health records, with every source row accounted for and an availability time for every event.

    The account stands in MEDS_DIR/metadata/conversion.json, the units in metadata/units.parquet. Identifiers that are
    no whole numbers are replaced by numbers; MEDS_DIR.identifiers.parquet, which only its owner may read, says which.
    """
    from genomix.ehr.conversion import convert_records, estimated_rows
    from genomix.ehr.unit_table import read_unit_table
    from genomix.errors import ConfigError, InputNotFoundError, StrictError
    from genomix.io.availability import DEFAULT_RULES, read_rules
    from genomix.io.record_format import recognise, record_format
    from genomix_cli.console import print_json
    from genomix_cli.progress import progress

    if unit_table is not None and units is UnitsChoice.keep:
        raise ConfigError("--unit-table with --units keep: no unit would be changed", hint="leave out one of them")
    if not source.exists():
        raise InputNotFoundError(f"{source.name} does not exist", where=str(source))
    kind = record_format(from_) if from_ is not None else recognise(source)
    rules = DEFAULT_RULES if availability is None else read_rules(availability)
    n_rows = estimated_rows(source)
    own_units = None if unit_table is None else read_unit_table(unit_table)
    scan = kind.scan(source, mapping=mapping)
    with progress("converting", "rows", quiet=quiet) as report:
        done = convert_records(
            scan, out, n_rows=n_rows, availability=rules, units=units.value, unit_table=own_units,
            implausible=implausible.value, events_per_shard=events_per_shard, where=str(source),
            progress=lambda _table, rows: report(min(rows / max(n_rows, 1), 0.99), rows),
        )  # fmt: skip
    if as_json:
        print_json(done.as_json())
    else:
        _tell(done, out, quiet=quiet)
    dropped = sum(done.report.dropped.values())
    if strict and dropped:
        raise StrictError(
            f"{dropped:,} rows gave no event, under --strict", where=str(source),
            hint="look at metadata/conversion.json, mend them, or leave out --strict",
        )  # fmt: skip


def _tell(done: Conversion, out: Path, *, quiet: bool) -> None:
    """Print counts that add up, table by table."""
    from genomix_cli.console import say

    report = done.report
    for name, table in report.tables.items():
        say(
            f"{name}: {table['rows_read']:,} rows, {table['rows_kept']:,} of them events ({table['events']:,})",
            quiet=quiet,
        )
        for reason, n in sorted(table["dropped"].items()):
            say(f"  {n:,} dropped: {reason}", quiet=quiet)
    for what, n in report.adjusted.items():
        say(f"{n:,}: {what}", quiet=quiet)
    for left in report.left_out:
        say(f"not read: {left.file} ({left.rows:,} rows): {left.reason}", quiet=quiet)
    if done.units is not None:
        told = done.units.as_json()
        for action, n in told["values_by_action"].items():
            if action != "kept":
                say(f"units: {n:,} values {action}", quiet=quiet)
        if told["implausible"]:
            say(f"units: {told['implausible']:,} values outside documented bounds", quiet=quiet)
    if done.identifiers is not None:
        say(f"identifiers were replaced by numbers; {done.identifiers.name} says which is which", quiet=quiet)
    say(
        f"{report.rows_read:,} rows read = {report.rows_kept:,} kept + {sum(report.dropped.values()):,} dropped; "
        f"{report.n_events or report.rows_kept:,} events of {done.n_subjects:,} people in {out}",
        quiet=quiet,
    )
