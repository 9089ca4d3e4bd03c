"""``genomix ehr cohort``: from records and a task to labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genomix_cli.options import JsonOption, QuietOption, a_number

if TYPE_CHECKING:
    import polars as pl

_EXAMPLE = """Examples:

\b
  genomix ehr cohort records --task task.yaml -o labels.parquet
  genomix ehr cohort records --task in_hospital_death -o labels.parquet
  genomix ehr cohort records --task task.yaml -o labels.parquet --flow flow.parquet --meds-labels meds_labels.parquet
"""

MedsArgument = Annotated[
    Path, typer.Argument(metavar="MEDS_DIR", help="A MEDS dataset, or one Parquet file of it.", show_default=False)
]


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("cohort", epilog=_EXAMPLE, short_help="Rows and labels by a task.")(cohort)


def cohort(
    records: MedsArgument,
    task: Annotated[
        str,
        typer.Option(
            "--task",
            metavar="TASK",
            show_default=False,
            help="A task file in the ACES dialect (YAML), or a ready task's name (genomix ehr tasks).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table of labels: .parquet.", show_default=False)],
    flow: Annotated[Path | None, typer.Option("--flow", help="Table of who left at each step: .parquet.")] = None,
    meds_labels: Annotated[
        Path | None, typer.Option("--meds-labels", help="The labels that MEDS can express, as its label file.")
    ] = None,
    horizon: Annotated[
        float | None,
        typer.Option(
            "--ipcw",
            metavar="DAYS",
            min=0,
            show_default=False,
            callback=a_number,
            help="Ask for the outcome within so many days, weighted by the inverse probability of censoring.",
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            "--split",
            show_default=False,
            help="Table of subject_id and split: --ipcw learns from people in train alone (default: from everyone).",
        ),
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find every row that a task asks for, label it, and count everyone who leaves on the way with the reason."""
    from genomix.ehr.aces import read_task
    from genomix.ehr.cohort import extract_cohort
    from genomix.ehr.labels import policy_comparison, to_meds_labels
    from genomix.ehr.ready_tasks import find_task
    from genomix.errors import ConfigError
    from genomix.io.meds import read_meds
    from genomix.provenance import atomic_path, output_errors
    from genomix.schemas.people import FLOW, LABELS
    from genomix_cli.console import print_json, say

    for path in (out, flow, meds_labels):
        if path is not None and path.suffix != ".parquet":
            raise ConfigError(f"{path.name} is not named .parquet", hint=f"{path.stem}.parquet")
    if split is not None and horizon is None:
        raise ConfigError("--split says whom --ipcw learns from, and there is no --ipcw", hint="leave it out")
    chosen = read_task(find_task(task))
    events = read_meds(records).events
    found = extract_cohort(events, chosen)
    if horizon is not None:
        found = found._replace(labels=_weighted(found.labels, horizon, split))
        if split is None:
            say("--ipcw learned from all rows; where rows are held out, give --split", quiet=quiet)
    tables = {out: LABELS.validate(found.labels), flow: FLOW.validate(found.flow)}
    exported = None
    if meds_labels is not None:
        exported = to_meds_labels(found.labels)
        tables[meds_labels] = exported.labels
    for path, table in tables.items():
        if path is not None:
            with output_errors(path), atomic_path(path) as temporary:
                table.write_parquet(temporary, compression="zstd", statistics=False)
    observed = found.labels["value"].drop_nulls()
    counts = {
        "rows": found.labels.height,
        "people": found.labels["subject_id"].n_unique(),
        "labelled": len(observed),
        "positive": int((observed == 1).sum()),
        "censored": int((found.labels["status"] == "censored").sum()),
        "competing": int((found.labels["status"] == "competing").sum()),
    }
    comparison = policy_comparison(events, chosen)
    if as_json:
        print_json(
            {"counts": counts, "flow": found.flow.to_dicts(), "by_censoring_policy": comparison.to_dicts()}
            | ({} if exported is None else {"meds_labels_left_out": exported.left_out})
        )
        return
    for row in found.flow.iter_rows(named=True):
        outcome = "" if row["events"] is None else f", {row['events']:,} with the outcome"
        say(f"{row['step']}: {row['kept']:,} {row['unit']} (−{row['removed']:,}){outcome}", quiet=quiet)
    say(", ".join(f"{name} {n:,}" for name, n in counts.items()), quiet=quiet)
    for row in comparison.iter_rows(named=True):
        mark = " (the task's)" if row["policy"] == chosen.policies.censoring else ""
        rate = "no label" if row["labelled"] == 0 else f"{row['positive']:,} of {row['labelled']:,} positive"
        say(f"censoring {row['policy']}{mark}: {row['rows']:,} rows, {rate}", quiet=quiet)
    if exported is not None and exported.left_out:
        say(f"{exported.left_out:,} rows have no label that MEDS could hold (null)", quiet=quiet)


def _weighted(labels: pl.DataFrame, horizon: float, split: Path | None) -> pl.DataFrame:
    """Return the labels at a horizon, with weights learned from training people (everyone without a split)."""
    import numpy as np

    from genomix.ehr.censoring_weights import ipcw
    from genomix.errors import LabelError
    from genomix.io.label_tables import read_splits

    rows = np.arange(labels.height)
    if split is not None:
        parts = labels.join(read_splits(split), on="subject_id", how="left", maintain_order="left")["split"]
        rows = np.flatnonzero((parts == "train").fill_null(False).to_numpy())
        if not len(rows):
            raise LabelError("no row belongs to a person in train", where=str(split))
    return ipcw(labels, horizon, rows)
