"""The files of a burden run: the matrix, and beside it genes, variants, tests and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError
from genomix.io.spreadsheet import spreadsheet_safe
from genomix.provenance import atomic_path, write_json
from genomix.schemas.burden import BURDEN_MATRIX

SUFFIXES = (".parquet", ".tsv", ".csv")


def check_table_path(path: Path) -> None:
    """Raise a :class:`ConfigError` unless a table can be written under this name."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path.name} has no suffix that says its format", hint="one of: " + ", ".join(SUFFIXES))


def beside_table(path: Path, word: str) -> Path:
    """Return the name of a companion: ``burden.parquet`` and ``genes`` give ``burden.genes.parquet``."""
    return path.with_name(f"{path.stem}.{word}{path.suffix}")


def burden_paths(path: Path) -> dict[str, Path]:
    """Return every file of a run by what it is: matrix, genes, variants, tests, counts."""
    beside = {word: beside_table(path, word) for word in ("genes", "variants", "tests")}
    return {"matrix": path, **beside, "counts": path.with_name(f"{path.stem}.counts.json")}


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet, TSV or CSV by the suffix, atomically."""
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            tabs = path.suffix == ".tsv"
            style: Literal["never", "necessary"] = "never" if tabs else "necessary"
            separator = "\t" if tabs else ","
            safe = spreadsheet_safe(frame)
            safe.write_csv(temporary, separator=separator, null_value="NA", quote_style=style)


def write_burden(
    path: Path,
    sample_ids: Sequence[str],
    names: Sequence[str],
    values: npt.NDArray[np.float32],
    companions: Mapping[str, pl.DataFrame],
    counts: Mapping[str, Any],
) -> list[Path]:
    """Write the matrix (sample_id, then one Float32 column per ``gene:mask``) and its companions; return all paths."""
    matrix = pl.DataFrame({"sample_id": pl.Series(list(sample_ids), dtype=pl.String)})
    matrix = matrix.hstack([pl.Series(name, values[:, i]) for i, name in enumerate(names)])
    write_frame(BURDEN_MATRIX.validate(matrix), path)
    written = [path]
    for word, frame in companions.items():
        write_frame(frame, beside_table(path, word))
        written.append(beside_table(path, word))
    report = burden_paths(path)["counts"]
    write_json(report, dict(counts))
    return [*written, report]
