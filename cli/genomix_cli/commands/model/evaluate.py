"""``genomix model evaluate``: how well a bundle does on data that it never saw."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.commands.model.predict import BundleArgument, ExpectOption, MissingOption, tell_differences
from genomix_cli.commands.model.train import DataArgument, print_metrics
from genomix_cli.options import DeviceChoice, DeviceOption, JsonOption, QuietOption

if TYPE_CHECKING:
    import polars as pl

_EXAMPLE = """Examples:

\b
  genomix model evaluate bundle other_site.csv -o metrics.json
  genomix model evaluate bundle other_site.csv --subgroup sex --subgroup age_band
  genomix model evaluate bundle other_site.csv --recalibrate platt --write-bundle bundle_of_other_site
"""


class Recalibration(StrEnum):
    """How predictions are moved to what the data show."""

    intercept = "intercept"
    platt = "platt"
    isotonic = "isotonic"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("evaluate", epilog=_EXAMPLE, short_help="Measures on other data.")(evaluate)


def evaluate(
    bundle: BundleArgument,
    data: DataArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Measures as JSON.", show_default=False)] = None,
    allow_missing: MissingOption = False,
    expect_sha256: ExpectOption = None,
    recalibrate: Annotated[
        Recalibration | None,
        typer.Option("--recalibrate", help="Learn level, line or curve on some people; measure on the others."),
    ] = None,
    recalibrate_share: Annotated[
        float, typer.Option("--recalibrate-share", min=0.1, max=0.9, help="Share of the people to learn from.")
    ] = 0.5,
    new_bundle: Annotated[
        Path | None, typer.Option("--write-bundle", help="New bundle with the recalibration.", show_default=False)
    ] = None,
    subgroup: Annotated[
        list[str] | None,
        typer.Option("--subgroup", help="Column whose groups are measured too; may be repeated.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Makes the resamples and the parts.")] = 1,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Resamples of people for intervals.")] = 2000,
    device: DeviceOption = DeviceChoice.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict labelled rows and measure discrimination and calibration, with intervals that resample people.

    Columns are matched by name. What the bundle's own rows gave stands in its metrics.json. Nothing is fitted here but
    a recalibration, where asked for: on people of its own, and measured on the others.
    """
    from collections import Counter

    import polars as pl

    from genomix.device import resolve_device
    from genomix.errors import ConfigError, InputNotFoundError, OutputError
    from genomix.models.bundle import read_bundle
    from genomix.models.bundle_subgroups import group_labels_of, measure_subgroups
    from genomix.models.drift import Counter as DriftCounter
    from genomix.models.evaluate import shown_metrics
    from genomix.models.scoring import measure, score, write_recalibrated
    from genomix.models.scoring import recalibrate as learn
    from genomix.provenance import output_errors, write_json
    from genomix_cli.console import print_json, say, say_device

    if out is not None and out.suffix != ".json":
        raise ConfigError(f"{out.name} is not named .json", hint=f"{out.stem}.json")
    if new_bundle is not None and recalibrate is None:
        raise ConfigError("--write-bundle without --recalibrate: the bundle would be the same")
    if new_bundle is not None and new_bundle.exists():
        raise OutputError(f"{new_bundle.name} exists already", where=str(new_bundle), hint="choose another folder")
    if not data.exists():
        raise InputNotFoundError(f"{data.name} does not exist", where=str(data))
    chosen = resolve_device(device.value, needs="xgboost")
    say_device(chosen, quiet=quiet)
    found = read_bundle(bundle, expect_sha256=expect_sha256, device=chosen)
    groups = {name: group_labels_of(found, data, name) for name in subgroup or ()}
    scored: list[pl.DataFrame] = []
    counter = DriftCounter(found.reference) if found.reference is not None else None
    unseen: Counter[str] = Counter()
    lacking: tuple[str, ...] = ()
    for part in score(found, data, allow_missing=allow_missing, labelled=True):
        scored.append(part.rows)
        if counter is not None:
            names = part.block.columns["name"].to_list()
            counter.add(part.block.values, names, found.fitted.predict(part.block.values))
        unseen.update(part.unseen)
        lacking = part.lacking
    if not scored:
        raise ConfigError("there is no row to evaluate", where=str(data))
    rows = pl.concat(scored)
    metrics = measure(found, rows, seed=seed, n_resamples=resamples)
    content: dict[str, Any] = {
        "metrics": shown_metrics(metrics), "rows": rows.height, "labelled": int(rows["label"].is_not_null().sum()),
        "absent_columns": list(lacking), "rows_with_an_unknown_category": dict(unseen),
    }  # fmt: skip
    drift = None if counter is None else counter.table()
    content["drift"] = None if drift is None else drift.to_dicts()
    content["subgroups"] = [
        entry for name, labels in groups.items()
        for entry in measure_subgroups(found, rows, labels, column=name, seed=seed, n_resamples=resamples)
    ]  # fmt: skip
    moved = None
    if recalibrate is not None:
        moved = learn(found, rows, method=recalibrate.value, share=recalibrate_share, seed=seed, n_resamples=resamples)
        content["recalibration"] = {
            "calibrator": moved.calibrator.to_json(), "rows_learned_from": moved.n_learned,
            "rows_measured": moved.n_measured, "before": shown_metrics(moved.before),
            "after": shown_metrics(moved.after),
        }  # fmt: skip
        if new_bundle is not None:
            content["recalibration"]["manifest_sha256"] = write_recalibrated(new_bundle, found, moved)
    if out is not None:
        with output_errors(out):
            write_json(out, content)
    if as_json:
        print_json(content)
        return
    tell_differences(lacking, unseen, rows.height)
    say(f"{content['labelled']:,} of {rows.height:,} rows have a label", quiet=quiet)
    print_metrics(metrics)
    _print_subgroups(content["subgroups"])
    _tell_drift(drift, quiet)
    if moved is not None:
        say(f"recalibrated ({moved.calibrator.method}) on {moved.n_learned:,} rows; on the other "
            f"{moved.n_measured:,}, before and after:", quiet=quiet)  # fmt: skip
        print_metrics(_side_by_side(moved.before, moved.after))


def _print_subgroups(entries: list[dict[str, Any]]) -> None:
    """Print a line per group and measure: people, those with the outcome, the figure or why there is none."""
    for e in entries:
        size = f"{e['n_people']} people" + ("" if e["n_events"] is None else f", {e['n_events']} with the outcome")
        figure = e["note"] or "not estimable"
        if e["estimate"] is not None:
            figure = f"{e['estimate']:.3f}" + ("" if e["low"] is None else f" ({e['low']:.3f} to {e['high']:.3f})")
            figure += e["note"] and f"\t{e['note']}"
        print(f"{e['column']}={e['group']}\t{size}\t{e['metric']}\t{figure}")


def _tell_drift(drift: pl.DataFrame | None, quiet: bool) -> None:
    """Name the columns that shifted, and how many did not."""
    import polars as pl

    from genomix_cli.console import say

    if drift is None:
        say("drift: not known, the bundle keeps no bins of its training rows", quiet=quiet)
        return
    shifted = drift.filter(pl.col("shift").is_in(["some", "large"]))
    for name, psi, chance, before, now, word in shifted.iter_rows():
        gaps = ", ".join(f"{share:.0%} missing {when}" for share, when in ((before, "before"), (now, "now")) if share)
        say(f"drift: {name}: {word}, PSI {psi:.2f} (up to {chance:.2f} by chance){gaps and ', ' + gaps}", quiet=quiet)
    moved = drift.filter((pl.col("missing_now") - pl.col("missing_before").fill_null(0.0)).abs() > 0.1)[
        "column"
    ].to_list()
    if moved:
        say(f"drift: the share of missing values moved by more than a tenth in {', '.join(moved)}", quiet=quiet)
    unknown = drift.filter(pl.col("shift") == "not known").height
    say(f"drift: {shifted.height:,} of {drift.height:,} shifted, {unknown:,} not known", quiet=quiet)


def _side_by_side(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Return the boosted model's measures of both, named before and after."""
    import polars as pl

    named = [
        frame.filter(pl.col("model") != "prevalence").with_columns(pl.lit(word).alias("model"))
        for word, frame in (("before", before), ("after", after))
    ]
    return pl.concat(named).sort("metric", "model", descending=[False, True], maintain_order=True)
