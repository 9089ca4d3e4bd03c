"""``genomix model evaluate``: how well a bundle does on data that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genomix_cli.commands.model.predict import BundleArgument, ExpectOption, MissingOption, tell_differences
from genomix_cli.commands.model.train import DataArgument, print_metrics
from genomix_cli.options import JsonOption, QuietOption

_EXAMPLE = """Examples:

\b
  genomix model evaluate bundle other_site.csv -o metrics.json
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("evaluate", epilog=_EXAMPLE, short_help="Measures on other data.")(evaluate)


def evaluate(
    bundle: BundleArgument,
    data: DataArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Measures as JSON.", show_default=False)] = None,
    allow_missing: MissingOption = False,
    expect_sha256: ExpectOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Makes the resamples.")] = 1,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Resamples of people for intervals.")] = 2000,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict labelled rows and measure discrimination and calibration, with intervals that resample people.

    Columns are matched by name. What the bundle's own rows gave stands in its metrics.json; nothing is fitted here.
    """
    from collections import Counter

    import polars as pl

    from genomix.errors import ConfigError, InputNotFoundError
    from genomix.models.bundle import read_bundle
    from genomix.models.scoring import measure, score
    from genomix.provenance import output_errors, write_json
    from genomix_cli.console import print_json, say

    if out is not None and out.suffix != ".json":
        raise ConfigError(f"{out.name} is not named .json", hint=f"{out.stem}.json")
    if not data.exists():
        raise InputNotFoundError(f"{data.name} does not exist", where=str(data))
    found = read_bundle(bundle, expect_sha256=expect_sha256)
    scored: list[pl.DataFrame] = []
    unseen: Counter[str] = Counter()
    lacking: tuple[str, ...] = ()
    for part in score(found, data, allow_missing=allow_missing, labelled=True):
        scored.append(part.rows)
        unseen.update(part.unseen)
        lacking = part.lacking
    if not scored:
        raise ConfigError("there is no row to evaluate", where=str(data))
    rows = pl.concat(scored)
    metrics = measure(found, rows, seed=seed, n_resamples=resamples)
    content = {
        "metrics": metrics.to_dicts(), "rows": rows.height, "labelled": int(rows["label"].is_not_null().sum()),
        "absent_columns": list(lacking), "rows_with_an_unknown_category": dict(unseen),
    }  # fmt: skip
    if out is not None:
        with output_errors(out):
            write_json(out, content)
    if as_json:
        print_json(content)
        return
    tell_differences(lacking, unseen, rows.height)
    say(f"{content['labelled']:,} of {rows.height:,} rows have a label", quiet=quiet)
    print_metrics(metrics)
