"""``genomix model explain``: what each column contributed to each prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genomix_cli.commands.model.predict import BundleArgument, ExpectOption, MissingOption, tell_differences
from genomix_cli.commands.model.train import DataArgument
from genomix_cli.options import JsonOption, QuietOption

_EXAMPLE = """Examples:

\b
  genomix model explain bundle new.csv -o attributions.parquet
  genomix model explain bundle features -o attributions.parquet --level feature --most 50
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("explain", epilog=_EXAMPLE, short_help="Exact Shapley values of predictions.")(explain)


def explain(
    bundle: BundleArgument,
    data: DataArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Table of contributions: .parquet.", show_default=False)],
    level: Annotated[
        str, typer.Option("--level", help="What to print the importance of: feature, group or family.")
    ] = "group",
    most: Annotated[int, typer.Option("--most", min=1, help="Names to print.")] = 20,
    allow_missing: MissingOption = False,
    expect_sha256: ExpectOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write every contribution that is not 0: row, feature, value, SHAP value on the margin scale, base value.

    Contributions of a row and the base value add up to the model's margin, which is checked. They say how the model
    used a column, not what causes what.
    """
    from collections import Counter

    import numpy as np
    import polars as pl
    import pyarrow.parquet as pq

    from genomix.errors import ConfigError, InputNotFoundError
    from genomix.explain.importance import LEVELS, importance
    from genomix.explain.tree_shap import attributions, explain_rows
    from genomix.models.bundle import read_bundle
    from genomix.models.scoring import score
    from genomix.provenance import atomic_path, output_errors
    from genomix_cli.console import print_json, say

    if out.suffix != ".parquet":
        raise ConfigError(f"{out.name} is not named .parquet", hint=f"{out.stem}.parquet")
    if level not in LEVELS:
        raise ConfigError(f"unknown level {level!r}", hint="one of: " + ", ".join(LEVELS))
    if not data.exists():
        raise InputNotFoundError(f"{data.name} does not exist", where=str(data))
    found = read_bundle(bundle, expect_sha256=expect_sha256)
    rows, held = 0, 0
    lacking: tuple[str, ...] = ()
    unseen: Counter[str] = Counter()
    totals: list[pl.DataFrame] = []
    with output_errors(out), atomic_path(out) as temporary:
        writer = None
        for part in score(found, data, allow_missing=allow_missing):
            explained = explain_rows(found.fitted, part.block, np.arange(part.rows.height))
            totals.append(importance([explained], target=found.manifest["about"]["target"]))
            table = attributions(explained).filter(pl.col("shap") != 0).with_columns(pl.col("row") + rows)
            writer = writer or pq.ParquetWriter(temporary, table.to_arrow().schema, compression="zstd")
            writer.write_table(table.to_arrow())
            rows, held, lacking = rows + part.rows.height, held + table.height, part.lacking
            unseen.update(part.unseen)
        if writer is None:
            raise ConfigError("there is no row to explain", where=str(data))
        writer.close()
    sums = (pl.col("mean_abs_shap") * pl.col("n_rows")).sum() / rows
    whole = (
        pl.concat(totals).filter(pl.col("level") == level).group_by("name").agg(sums.alias("mean_abs_shap"))
        .sort("mean_abs_shap", "name", descending=[True, False]).head(most)
    )  # fmt: skip
    if as_json:
        print_json({"rows": rows, "contributions": held, "importance": whole.to_dicts(),
                    "absent_columns": list(lacking), "rows_with_an_unknown_category": dict(unseen)})  # fmt: skip
        return
    tell_differences(lacking, unseen, rows)
    for name, value in whole.iter_rows():
        print(f"{name}\t{value:.4g}")
    say(f"{held:,} contributions to {rows:,} predictions in {out}", quiet=quiet)
