"""``genomix ehr features``: records in look-back windows as a feature set on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.commands.ehr.cohort import MedsArgument
from genomix_cli.options import JsonOption, QuietOption, StrictOption

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from genomix.features.record_set import Made
    from genomix.io.meds_shards import Part

_EXAMPLE = """Examples:

\b
  genomix ehr features records --labels labels.parquet -o features
  genomix ehr features records --labels labels.parquet --windows 1d,30d,365d,full --aggregations count,sum,min,max -o features
  genomix ehr features records --labels labels.parquet --roll-up phecodes.csv --windows since:HOSPITAL_ADMISSION -o features
"""  # noqa: E501 # a command that is copied stands on one line
DEFAULT_AGGREGATIONS = "count,time_since_last,last,min,max,mean"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("features", epilog=_EXAMPLE, short_help="Look-back windows as a feature set.")(features)


def features(
    records: MedsArgument,
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            help="Rows: subject_id, prediction_time and a label; .parquet, or a folder of such.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FEATURES_DIR", help="Folder to make.", show_default=False)
    ],
    windows: Annotated[
        str, typer.Option("--windows", help="Look-back windows: durations, full, since:CODE; with commas between.")
    ] = "1d,30d,365d,full",
    aggregations: Annotated[
        str, typer.Option("--aggregations", help="What to compute of each code in each window; with commas between.")
    ] = DEFAULT_AGGREGATIONS,
    split: Annotated[
        Path | None,
        typer.Option(
            "--split",
            help="Table of subject_id and split; default: the labels' split, or the dataset's.",
            show_default=False,
        ),
    ] = None,
    min_subjects: Annotated[
        int | None,
        typer.Option(
            "--min-subjects",
            min=1,
            show_default="20 with a split",
            help="Keep codes that occur in this many training people, and columns that vary among them.",
        ),
    ] = None,
    include: Annotated[list[str] | None, typer.Option("--include", help="Codes to take, a regular expression.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Codes to leave out, a regular expression.")
    ] = None,
    code_depth: Annotated[
        int | None, typer.Option("--code-depth", min=1, help="Roll codes up to so many parts.")
    ] = None,
    roll_up: Annotated[Path | None, typer.Option("--roll-up", help="Table of code and group.")] = None,
    roll_up_both: Annotated[bool, typer.Option("--roll-up-both", help="Keep the codes beside their groups.")] = False,
    any_record: Annotated[bool, typer.Option("--any-record", help="All records as one code too: how busy.")] = False,
    ranges: Annotated[
        Path | None, typer.Option("--ranges", help="Table of code, low, high and unit, for out_of_range_count.")
    ] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="Leave out records at the prediction time itself.")
    ] = False,
    static: Annotated[bool, typer.Option("--static/--no-static", help="Take records without a time, too.")] = True,
    certificate: Annotated[
        bool, typer.Option("--certificate/--no-certificate", help="Look for leakage, by making rows again.")
    ] = True,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Aggregate records before each prediction time: one row per label, columns dense or sparse (CSR).

    A record counts from when it was known. Codes and columns are chosen by training rows alone, where a split says
    which these are; without one, every column stays. A dataset from ``genomix ehr convert`` is read in bounded memory.
    """
    import tempfile

    import polars as pl

    from genomix.errors import ConfigError, InputNotFoundError, LeakageError, OutputError
    from genomix.features.record_set import make_record_set
    from genomix.io.label_tables import read_labels
    from genomix.provenance import atomic_directory
    from genomix_cli.console import print_json, say
    from genomix_cli.progress import progress

    if out.exists():
        raise OutputError(f"{out.name} exists already", where=str(out), hint="choose another folder, or remove it")
    if roll_up_both and roll_up is None:
        raise ConfigError("--roll-up-both needs --roll-up")
    if not records.exists():
        raise InputNotFoundError(f"{records.name} does not exist", where=str(records))
    table = read_labels(labels)
    table, training = _with_split(table, records, split)
    if training is None and min_subjects is not None:
        raise ConfigError(
            "--min-subjects counts training people, and no split says who these are",
            hint="--split, a column split in the labels, or metadata/subject_splits.parquet in the dataset",
        )
    options = {
        "windows": _listed(windows), **_sorted_out(_listed(aggregations)), "include": include or [],
        "exclude": exclude or [], "code_depth": code_depth, "any_record": any_record,
        "roll_up": None if roll_up is None else str(roll_up), "roll_up_keep": "both" if roll_up_both else "groups",
        "ranges": None if ranges is None else str(ranges), "static": static, "min_subjects": min_subjects or 20,
        "prediction_time": "exclusive" if exclusive else "inclusive",
    }  # fmt: skip
    parts, n_events, descriptions = _parts(records, roll_up, quiet=quiet)
    index = table.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    with (
        progress("aggregating", "events", quiet=quiet) as report,
        atomic_directory(out) as folder,
        tempfile.TemporaryDirectory(dir=out.parent, prefix=".genomix-") as scratch,
    ):
        made = make_record_set(
            parts, index, folder, _read_options({**options, "descriptions": descriptions}), scratch=Path(scratch),
            training=training, certify=certificate, manifest={"options": _told(options)},
            progress=lambda n: report(min(n / max(n_events, 1), 0.99), n),
        )  # fmt: skip
    if as_json:
        checks = None if made.certificate is None else made.certificate.to_dicts()
        print_json({"counts": made.counts, "certificate": checks})
    else:
        _tell(made, out, training, quiet=quiet)
    failed = [] if made.certificate is None else made.certificate.filter(pl.col("status") == "failed").rows()
    for name, _, _, words in failed:
        say(f"leakage check {name} failed: {words}")
    if strict and failed:
        raise LeakageError(
            f"{len(failed)} leakage checks failed, under --strict", where=str(out / "certificate.parquet"),
            hint="the feature set is there; leave out what leaks with --exclude, or leave out --strict",
        )  # fmt: skip


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _sorted_out(names: list[str]) -> dict[str, list[str]]:
    """Return counting and other aggregations apart; an unknown one is left for the options' check."""
    from genomix.ehr.windows import COUNT_AGGREGATIONS

    counts = [n for n in names if n in COUNT_AGGREGATIONS]
    return {"counts": counts, "numeric": [n for n in names if n not in counts]}


def _read_options(options: dict[str, Any]) -> Any:
    from genomix.features.record_columns import read_options

    return read_options(options)


def _told(options: dict[str, Any]) -> dict[str, Any]:
    """Return options for the manifest: files by name only."""
    paths = {n: Path(options[n]).name for n in ("roll_up", "ranges") if options[n] is not None}
    return {**options, **paths}


def _with_split(
    table: pl.DataFrame, records: Path, path: Path | None
) -> tuple[pl.DataFrame, npt.NDArray[np.bool_] | None]:
    """Return the rows with their split, and which are training rows with a label; None without a split."""
    import polars as pl

    from genomix.errors import LabelError
    from genomix.io.label_tables import read_splits

    own = records / "metadata" / "subject_splits.parquet"
    if path is None and "split" not in table.columns and own.is_file():
        path = own
    if path is not None:
        table = table.drop("split", strict=False).join(
            read_splits(path), on="subject_id", how="left", maintain_order="left"
        )
    if "split" not in table.columns:
        return table, None
    training = (table["split"] == "train").fill_null(False) & table["label"].is_not_null()
    if not training.any():
        raise LabelError(
            "no row is a training row with a label", where=str(path or "the labels' column split"),
            hint="split says train, tuning or held_out",
        )  # fmt: skip
    return table.with_columns(pl.col("split")), training.to_numpy()


def _parts(records: Path, roll_up: Path | None, *, quiet: bool) -> tuple[Iterable[Part], int, dict[str, str]]:
    """Return the records some people at a time, about how many there are, and what codes mean."""
    from genomix.ehr.roll_up import read_roll_up
    from genomix.io.meds import read_descriptions, read_meds
    from genomix.io.meds_shards import converted_files, count_events, read_parts, whole_part
    from genomix_cli.console import say

    files = converted_files(records)
    groups = {} if roll_up is None else dict(read_roll_up(roll_up).descriptions.iter_rows())
    if files is None:
        say("the dataset does not say when records were known: it is read whole, by the shipped rules; "
            "genomix ehr convert writes one that does", quiet=quiet)  # fmt: skip
        found = read_meds(records)
        words = dict(found.descriptions.iter_rows())
        return [whole_part(found.events)], found.events.height, words | groups
    words = dict(read_descriptions(records if records.is_dir() else records.parent).iter_rows())
    return (part for file in files for part in read_parts(file)), count_events(files), words | groups


def _tell(made: Made, out: Path, training: npt.NDArray[np.bool_] | None, *, quiet: bool) -> None:
    from genomix_cli.console import say

    n = made.counts
    say(
        f"{n['events_read']:,} events; {n['rows']:,} rows of {n['people']:,} people, {n['people_with_records']:,} of "
        f"them with records",
        quiet=quiet,
    )
    dated = f"codes with a record before a prediction: {n['codes']:,}"
    if training is None:
        say(f"{dated}, all kept, as no split says which rows are for training", quiet=quiet)
    else:
        few = n["codes_in_too_few_people"]
        say(
            f"{dated} = {n['codes_kept']:,} kept + {few:,} in too few people of {n['training_rows']:,} training rows + "
            f"{n['codes'] - n['codes_kept'] - few:,} without a column that varies",
            quiet=quiet,
        )
    say(f"{n['columns']:,} columns, {n['values_held']:,} values held in sparse.npz; in {out}", quiet=quiet)
    if made.certificate is not None:
        for name, status, _, words in made.certificate.iter_rows():
            say(f"certificate: {name} {status}. {words}", quiet=quiet)
