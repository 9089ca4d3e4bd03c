"""``genomix model train``: a boosted model and its linear baseline from a table or a feature set."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.options import DeviceChoice, DeviceOption, JsonOption, QuietOption

if TYPE_CHECKING:
    import polars as pl

    from genomix.features.matrix import FeatureMatrix

_EXAMPLE = """Examples:

\b
  genomix model train stays.csv --target readmitted --positive yes --subject-column patient -o bundle
  genomix model train features -o bundle
  genomix model train trial.csv --objective survival --time days --event died --horizon 365 --horizon 730 -o bundle
"""
DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="A table (CSV, TSV, Parquet), or a folder from genomix ehr features.", show_default=False
    ),
]


class ObjectiveChoice(StrEnum):
    """What is predicted."""

    auto = "auto"
    binary = "binary"
    regression = "regression"
    survival = "survival"


class SurvivalModel(StrEnum):
    """Model of a time to an event that goes into the bundle."""

    boosted_cox = "boosted_cox"
    boosted_aft = "boosted_aft"
    cox = "cox"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("train", epilog=_EXAMPLE, short_help="Train on a table or a feature set.")(train)


def train(
    data: DataArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="BUNDLE", help="Folder to make.", show_default=False)],
    target: Annotated[
        str | None, typer.Option("--target", help="Column to predict (a table's).", show_default=False)
    ] = None,
    objective: Annotated[
        ObjectiveChoice,
        typer.Option("--objective", help="auto: two values are a yes/no outcome; survival: a time to an event."),
    ] = ObjectiveChoice.auto,
    positive: Annotated[
        str | None,
        typer.Option("--positive", help="The target's (or event's) value that means yes.", show_default=False),
    ] = None,
    subject_column: Annotated[
        str | None,
        typer.Option(
            "--subject-column", help="Person of a row: never on two sides of the split.", show_default="one a row"
        ),
    ] = None,
    split_column: Annotated[
        str | None,
        typer.Option("--split-column", help="Column that says train, tuning or held_out.", show_default=False),
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Column that is no feature.")] = None,
    categorical: Annotated[
        list[str] | None, typer.Option("--categorical", help="Column of categories, though numbers or many texts.")
    ] = None,
    missing: Annotated[list[str] | None, typer.Option("--missing", help="What a cell says for nothing.")] = None,
    min_subjects: Annotated[
        int, typer.Option("--min-subjects", min=1, help="Training people that a category needs; others are pooled.")
    ] = 20,
    held_out: Annotated[float, typer.Option("--held-out", min=0.05, max=0.8, help="Share of people held out.")] = 0.3,
    tuning: Annotated[float, typer.Option("--tuning", min=0.05, max=0.5, help="Share of people for tuning.")] = 0.15,
    seed: Annotated[int, typer.Option("--seed", help="Makes the split.")] = 1,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Resamples of people for intervals.")] = 2000,
    monotone: Annotated[
        list[str] | None,
        typer.Option("--monotone", metavar="COLUMN=+1", help="The prediction never falls (-1: rises) with it."),
    ] = None,
    tune_trials: Annotated[
        int | None, typer.Option("--tune", min=1, help="Trials of settings, within training and tuning rows.")
    ] = None,
    tune_minutes: Annotated[
        float | None, typer.Option("--tune-minutes", min=0, help="Minutes after which no trial begins.")
    ] = None,
    tune_file: Annotated[
        Path | None, typer.Option("--tune-file", help="Journal of the trials: an interrupted search goes on from it.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="survival: column of times, from the start.", show_default=False)
    ] = None,
    event: Annotated[
        str | None, typer.Option("--event", help="survival: column that says if it was seen.", show_default=False)
    ] = None,
    horizon: Annotated[
        list[float] | None,
        typer.Option("--horizon", help="survival: time to predict at; repeat it.", show_default="quartiles of events"),
    ] = None,
    survival_model: Annotated[
        SurvivalModel, typer.Option("--survival-model", help="survival: the model of the bundle.")
    ] = SurvivalModel.boosted_cox,
    memory: Annotated[
        float,
        typer.Option("--memory", min=0, help="GB of a dense matrix; a feature set of more is read in blocks."),
    ] = 6.0,
    device: DeviceOption = DeviceChoice.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train boosted trees beside an elastic net and a score of a few columns, and measure each once on held-out people.

    Categories are learned from training rows; the split keeps all rows of a person on one side. The bundle holds the
    trees and, beside them, the baseline; the figures of both stand in its metrics.json.
    """
    from genomix.device import resolve_device
    from genomix.errors import ConfigError, InputNotFoundError, OutputError
    from genomix.explain.response import training_ranges
    from genomix.models.bundle import write_bundle
    from genomix.models.evaluate import shown_metrics
    from genomix.models.given_table import KIND
    from genomix.models.training import monotone_signs
    from genomix.models.training import train as train_models
    from genomix_cli.console import print_json, say, say_device
    from genomix_cli.train_blocks import in_blocks, train_blocks

    if out.exists():
        raise OutputError(f"{out.name} exists already", where=str(out), hint="choose another folder, or remove it")
    if not data.exists():
        raise InputNotFoundError(f"{data.name} does not exist", where=str(data))
    if held_out + tuning > 0.9:
        raise ConfigError("--held-out and --tuning leave less than a tenth of the people for training")
    if tune_file is not None and tune_trials is None and tune_minutes is None:
        raise ConfigError("--tune-file without --tune or --tune-minutes: nothing is searched")
    chosen = resolve_device(device.value, needs="xgboost")
    say_device(chosen, quiet=quiet)
    timed = {"--time": time, "--event": event, "--horizon": horizon}
    if objective is ObjectiveChoice.survival:
        from genomix_cli.train_survival import train_survival_table

        if target is not None:
            raise ConfigError("--target is not for --objective survival", hint="--time COLUMN --event COLUMN")
        if monotone or tune_trials is not None or tune_minutes is not None:
            raise ConfigError("--monotone and --tune are not for --objective survival")
        train_survival_table(
            data, out, time=time, event=event, horizons=horizon or [], model=survival_model.value, positive=positive,
            subject_column=subject_column, split_column=split_column, exclude=exclude or [],
            categorical=categorical or [], missing=missing or [], min_subjects=min_subjects, held_out=held_out,
            tuning=tuning, seed=seed, resamples=resamples, device=chosen, quiet=quiet, as_json=as_json,
        )  # fmt: skip
        return
    if wrong := [name for name, value in timed.items() if value]:
        raise ConfigError(f"{wrong[0]} needs --objective survival")
    asked = None if objective is ObjectiveChoice.auto else objective.value
    if data.is_dir():
        given = {"--target": target, "--positive": positive, "--subject-column": subject_column,
                 "--split-column": split_column, "--exclude": exclude, "--categorical": categorical,
                 "--missing": missing}  # fmt: skip
        if wrong := [name for name, value in given.items() if value]:
            raise ConfigError(f"{wrong[0]} is for tables; a feature set has its labels, people and columns")
        if in_blocks(data, memory):
            if tune_trials is not None or tune_minutes is not None:
                raise ConfigError(
                    "--tune needs the feature set dense, which is more than --memory allows",
                    hint="a larger --memory, or tune on a feature set of fewer columns or rows",
                )
            train_blocks(
                data, out, asked, memory_gb=memory, held_out=held_out, tuning=tuning, seed=seed, resamples=resamples,
                device=chosen, signs=_signs(monotone or []), quiet=quiet, as_json=as_json,
            )  # fmt: skip
            return
        matrix, about = _of_set(data, asked, held_out, tuning, seed, memory)
    else:
        if target is None:
            raise ConfigError("a table needs --target", hint="--target COLUMN")
        matrix, about = _of_table(
            data, asked, held_out, tuning, seed, split_column=split_column, target=target, positive=positive,
            subject_column=subject_column, exclude=exclude or [], categorical=categorical or [],
            missing=missing or [], min_subjects=min_subjects,
        )  # fmt: skip
    rows = {role: len(matrix.rows(0, role)) for role in ("train", "tuning", "held_out", "unused")}
    options: dict[str, Any] = {}
    if signs := _signs(monotone or []):
        options["monotone"] = monotone_signs(matrix.for_fold(0).columns, signs)
        about["monotone"] = signs
    metrics: dict[str, Any] = {"rows": rows}
    if tune_trials is not None or tune_minutes is not None:
        options, metrics["tuning"] = _tuned(
            matrix, about["objective"], seed, chosen, tune_trials, tune_minutes, tune_file, options, quiet
        )
    done = train_models(
        matrix, target=about["target"], objective=about["objective"], seed=seed, device=chosen, n_resamples=resamples,
        options=options,
    )  # fmt: skip
    metrics |= {"metrics": shown_metrics(done.metrics), "conformal": done.coverage}
    if about["kind"] == KIND:
        metrics["columns_that_encode"] = encoding(matrix, about["objective"])
    digest = write_bundle(
        out, done.fitted["boosted"], columns=matrix.for_fold(0).columns, learned=matrix.folds[0].learned,
        metrics=metrics, about={**about, "seed": seed}, reference=done.reference, conformal=done.conformal,
        baseline=done.fitted["linear"], ranges=training_ranges(matrix.for_fold(0), matrix.rows(0, "train")),
    )  # fmt: skip
    if as_json:
        print_json({**metrics, "manifest_sha256": digest})
        return
    say(", ".join(f"{role.replace('_', ' ')} {n:,} rows" for role, n in rows.items() if n), quiet=quiet)
    print_metrics(done.metrics)
    say(f"{matrix.for_fold(0).columns.height:,} columns; bundle {out}, manifest {digest}", quiet=quiet)


def _signs(texts: list[str]) -> dict[str, int]:
    """Return the sign of each column in ``COLUMN=+1`` and ``COLUMN=-1``."""
    from genomix.errors import ConfigError

    found: dict[str, int] = {}
    for text in texts:
        name, _, sign = text.rpartition("=")
        if not name or sign not in ("+1", "1", "-1"):
            raise ConfigError(f"--monotone {text!r} is no column with a sign", hint="--monotone age=+1, or age=-1")
        found[name] = int(sign)
    return found


def _tuned(
    matrix: FeatureMatrix, objective: Any, seed: int, device: Any, n_trials: int | None, minutes: float | None,
    path: Path | None, options: dict[str, Any], quiet: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """Search settings within training and tuning rows; return the options and what is told of the search."""
    from genomix.models.training import inner_part
    from genomix.models.tuning import tune
    from genomix_cli.console import say

    def told(n: int, best: float | None) -> None:
        say(f"trial {n}: smallest loss so far {'none' if best is None else format(best, '.4f')}", quiet=quiet)

    part, units = inner_part(matrix)
    found = tune(
        part, units, objective=objective, seed=seed, device=device, n_trials=n_trials, minutes=minutes, options=options,
        study_file=path, progress=told,
    )  # fmt: skip
    counts = dict(found.trials["status"].value_counts().sort("status").iter_rows())
    shown = {k: v for k, v in found.options.items() if k != "monotone"}
    return found.options, {"trials": counts, "chosen": shown, "smallest_loss": found.trials["value"].min()}


def _of_table(
    data: Path, objective: Any, held_out: float, tuning: float, seed: int, *, split_column: str | None, **options: Any
) -> tuple[FeatureMatrix, dict[str, Any]]:
    from genomix.io.tables import read_text_columns
    from genomix.models.given_matrix import table_matrix
    from genomix.models.given_table import find_roles

    target = options.pop("target")
    split = None
    if split_column is not None:
        split = read_text_columns(data, [split_column])[split_column]
        options["exclude"] = [*options["exclude"], split_column]
    roles = find_roles(data, target, objective=objective, **options)
    matrix = table_matrix(data, roles, split=split, held_out=held_out, tuning=tuning, seed=seed)
    return matrix, roles.as_json()


def _of_set(
    data: Path, objective: Any, held_out: float, tuning: float, seed: int, memory_gb: float
) -> tuple[FeatureMatrix, dict[str, Any]]:
    from genomix.features.feature_set import open_feature_set
    from genomix.models.given_matrix import KIND_OF_SET, set_matrix
    from genomix_cli.train_blocks import VALUES_PER_GB, objective_of

    found = open_feature_set(data)
    objective = objective or objective_of(found)
    matrix = set_matrix(
        found, objective, held_out=held_out, tuning=tuning, seed=seed, max_values=int(memory_gb * VALUES_PER_GB)
    )
    return matrix, {"kind": KIND_OF_SET, "target": "label", "objective": objective}


def encoding(matrix: FeatureMatrix, objective: str) -> dict[str, str]:
    """Look for a column that alone separates the outcome among training rows, and warn of it."""
    from genomix.features.certificate_checks import columns_that_encode
    from genomix_cli.console import say

    check = columns_that_encode(matrix, binary=objective == "binary")
    if check.status == "failed":
        say(f"warning: a column may give the outcome away: {check.found} --exclude it if it is known only afterwards")
    return {"status": check.status, "found": check.found}


def print_metrics(metrics: pl.DataFrame) -> None:
    """Print every measure with its interval, one line each, models side by side."""
    for row in metrics.iter_rows(named=True):
        if row["estimate"] is None:
            print(f"{row['model']}\t{row['metric']}\t{row['note'] or 'not estimable'}")
            continue
        interval = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
        print(f"{row['model']}\t{row['metric']}\t{row['estimate']:.3f}{interval}")
