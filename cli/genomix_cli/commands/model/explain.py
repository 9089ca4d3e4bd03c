"""``genomix model explain``: what each column contributed to each prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genomix_cli.commands.model.predict import BundleArgument, ExpectOption, MissingOption, tell_differences
from genomix_cli.commands.model.train import DataArgument
from genomix_cli.options import JsonOption, QuietOption

if TYPE_CHECKING:
    import polars as pl

_EXAMPLE = """Examples:

\b
  genomix model explain bundle new.csv -o attributions.parquet
  genomix model explain bundle features -o attributions.parquet --level feature --most 50
  genomix model explain bundle features -o attributions.parquet --level code --roll-up chapters.csv
  genomix model explain bundle new.csv -o attributions.parquet --interactions pairs.parquet --rows 0,12
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("explain", epilog=_EXAMPLE, short_help="Exact Shapley values of predictions.")(explain)


def explain(
    bundle: BundleArgument,
    data: DataArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Table of contributions: .parquet.", show_default=False)],
    level: Annotated[
        str,
        typer.Option("--level", help="Sum within: feature, group, family, rung, window or code."),
    ] = "group",
    roll_up: Annotated[
        Path | None,
        typer.Option("--roll-up", help="Table of code and group: codes count with their group at --level code."),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option("--interactions", help="Also interactions of --rows: .parquet.", show_default=False)
    ] = None,
    rows_of_pairs: Annotated[
        str | None, typer.Option("--rows", help="Rows (0-based, commas) for --interactions.", show_default=False)
    ] = None,
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
    from genomix.explain.interactions import interactions
    from genomix.explain.tree_shap import attributions, explain_rows
    from genomix.io.score_tables import write_frame
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
    if roll_up is not None and level != "code":
        raise ConfigError("--roll-up needs --level code: nothing else is made of codes")
    if (pairs is None) != (rows_of_pairs is None):
        raise ConfigError("--interactions and --rows belong together", hint="--interactions pairs.parquet --rows 0,5")
    if pairs is not None and (pairs.suffix != ".parquet" or pairs == out):
        raise ConfigError(f"{pairs.name} is no .parquet of its own", hint=f"{pairs.stem}.pairs.parquet")
    wanted = _rows(rows_of_pairs)
    chosen: list[pl.DataFrame] = []
    found = read_bundle(bundle, expect_sha256=expect_sha256)
    groups = None if roll_up is None else _groups(roll_up, found.columns["code"])
    rows, held = 0, 0
    lacking: tuple[str, ...] = ()
    unseen: Counter[str] = Counter()
    totals: list[pl.DataFrame] = []
    with output_errors(out), atomic_path(out) as temporary:
        writer = None
        for part in score(found, data, allow_missing=allow_missing):
            explained = explain_rows(found.fitted, part.block, np.arange(part.rows.height))
            totals.append(importance([explained], target="", levels=[level], roll_up=groups))
            inside = np.array([r - rows for r in wanted if rows <= r < rows + part.rows.height], dtype=np.int64)
            if inside.size:
                chosen.append(interactions(found.fitted, part.block, inside).with_columns(pl.col("row") + rows))
            table = attributions(explained).filter(pl.col("shap") != 0).with_columns(pl.col("row") + rows)
            writer = writer or pq.ParquetWriter(temporary, table.to_arrow().schema, compression="zstd")
            writer.write_table(table.to_arrow())
            rows, held, lacking = rows + part.rows.height, held + table.height, part.lacking
            unseen.update(part.unseen)
        if writer is None:
            raise ConfigError("there is no row to explain", where=str(data))
        writer.close()
        if beyond := [r for r in wanted if r >= rows]:
            raise ConfigError(f"--rows names row {beyond[0]}, there are {rows:,} (0 to {rows - 1:,})")
    if pairs is not None:
        write_frame(pairs, pl.concat(chosen))
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
    if pairs is not None:
        say(f"interactions of {len(wanted):,} rows in {pairs}", quiet=quiet)
    say(f"{held:,} contributions to {rows:,} predictions in {out}", quiet=quiet)


def _rows(text: str | None) -> list[int]:
    from genomix.errors import ConfigError

    if text is None:
        return []
    words = [w.strip() for w in text.split(",")]
    if not all(w.isdigit() for w in words):
        raise ConfigError(f"--rows {text!r} are no row numbers", hint="--rows 0,12")
    return sorted({int(w) for w in words})


def _groups(path: Path, codes: pl.Series) -> dict[str, str]:
    """Return the group of each of the model's codes; one that is in two groups would be counted twice."""
    from genomix.ehr.roll_up import groups_of, read_roll_up
    from genomix.errors import ConfigError

    table = groups_of(codes.drop_nulls().unique().sort(), read_roll_up(path)).select("code", "group").sort("code")
    twice = table.filter(table["code"].is_duplicated())
    if twice.height:
        raise ConfigError(
            f"code {twice['code'][0]!r} is in several groups: its contribution would count twice", where=str(path)
        )
    return dict(table.iter_rows())
