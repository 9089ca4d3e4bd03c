"""``genomix model predict``: a bundle on new rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genomix_cli.commands.model.train import DataArgument
from genomix_cli.options import DeviceChoice, DeviceOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EXAMPLE = """Examples:

\b
  genomix model predict bundle new.csv -o predictions.parquet
  genomix model predict bundle new.csv -o predictions.parquet --expect-sha256 0123...
"""
BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A model bundle.", show_default=False)]
ExpectOption = Annotated[
    str | None,
    typer.Option(
        "--expect-sha256", show_default=False,
        help="SHA-256 of the bundle's manifest.json, as its author published it.",
    ),
]  # fmt: skip
MissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Take feature columns that are not there for empty, and count them.")
]


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("predict", epilog=_EXAMPLE, short_help="Predictions for new rows.")(predict)


def predict(
    bundle: BundleArgument,
    data: DataArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Table of predictions: .parquet.", show_default=False)],
    conformal: Annotated[
        bool, typer.Option("--conformal", help="Also intervals (a quantity), or sets of answers, of 80, 90 and 95 %.")
    ] = False,
    allow_missing: MissingOption = False,
    expect_sha256: ExpectOption = None,
    device: DeviceOption = DeviceChoice.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write row, subject, label (where there is one) and prediction; every file of the bundle is verified first.

    Columns are matched by name; rows whose category training did not keep are counted, and count as any other.
    """
    from collections import Counter

    import pyarrow.parquet as pq

    from genomix.device import resolve_device
    from genomix.errors import ConfigError, InputNotFoundError
    from genomix.models.bundle import read_bundle
    from genomix.models.scoring import score
    from genomix.provenance import atomic_path, output_errors
    from genomix_cli.console import print_json, say, say_device

    if out.suffix != ".parquet":
        raise ConfigError(f"{out.name} is not named .parquet", hint=f"{out.stem}.parquet")
    if not data.exists():
        raise InputNotFoundError(f"{data.name} does not exist", where=str(data))
    chosen = resolve_device(device.value, needs="xgboost")
    say_device(chosen, quiet=quiet)
    found = read_bundle(bundle, expect_sha256=expect_sha256, device=chosen)
    if conformal and found.conformal is None:
        raise ConfigError(
            "the bundle holds no bounds for --conformal", where=str(bundle),
            hint="bundles of model train of a yes/no outcome or a quantity do; a recalibrated one does not",
        )  # fmt: skip
    rows = 0
    lacking: tuple[str, ...] = ()
    unseen: Counter[str] = Counter()
    with output_errors(out), atomic_path(out) as temporary:
        writer = None
        for part in score(found, data, allow_missing=allow_missing):
            frame = part.rows
            if conformal and found.conformal is not None:
                frame = frame.with_columns(found.conformal.columns(frame["prediction"].to_numpy()))
            table = frame.to_arrow()
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
            rows, lacking = rows + part.rows.height, part.lacking
            unseen.update(part.unseen)
        if writer is None:
            raise ConfigError("there is no row to predict", where=str(data))
        writer.close()
    if as_json:
        print_json({"rows": rows, "absent_columns": list(lacking), "rows_with_an_unknown_category": dict(unseen)})
        return
    tell_differences(lacking, unseen, rows)
    say(f"{rows:,} predictions in {out}", quiet=quiet)


def tell_differences(lacking: Sequence[str], unseen: Mapping[str, int], rows: int) -> None:
    """Warn of columns that are not there, and of categories that training did not keep."""
    from genomix_cli.console import say

    if lacking:
        say(f"warning: {len(lacking):,} of the model's columns are not there, the first {lacking[0]!r}")
    for column, n in sorted(unseen.items()):
        say(f"warning: {n:,} of {rows:,} rows have a category in {column!r} that training did not keep")
