"""Tables beside polygenic scores: components and scores of people to read, scores and match reports to write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.spreadsheet import spreadsheet_safe
from genomix.io.tables import read_table
from genomix.provenance import atomic_path, write_json

_SAMPLE_COLUMNS = ("sample_id", "IID", "#IID")
_COMPONENT = re.compile(r"^PC_?(\d+)$", re.IGNORECASE)


def read_components(path: Path, n_components: int | None = None) -> pl.DataFrame:
    """Return people's principal components: sample_id, PC1, PC2, ... (Parquet, TSV, CSV or plink2's .eigenvec).

    Parameters
    ----------
    n_components: how many to take, PC1 first; None for all.

    Raises
    ------
    FormatError: without components, with fewer than asked for, or with one sample twice.
    """
    table = _with_sample_id(read_table(path, text=_SAMPLE_COLUMNS), path)
    numbered = {int(found[1]): name for name in table.columns if (found := _COMPONENT.match(name))}
    wanted = range(1, (n_components or len(numbered)) + 1)
    absent = [f"PC{i}" for i in wanted if i not in numbered]
    if absent or not numbered:
        raise FormatError(
            f"{path.name} has no column {absent[0] if absent else 'PC1'}", where=str(path), hint="columns PC1, PC2, ..."
        )
    return table.select("sample_id", *(_numbers(table[numbered[i]], path).alias(f"PC{i}") for i in wanted))


def read_reference_scores(path: Path) -> pl.DataFrame:
    """Return reference people's scores: sample_id and one Float64 column per score, from columns ``NAME_sum``.

    Raises
    ------
    FormatError: without such a column, or with one sample twice.
    """
    table = _with_sample_id(read_table(path, text=_SAMPLE_COLUMNS), path)
    sums = [name for name in table.columns if name.lower().endswith("_sum") and name != "NAMED_ALLELE_DOSAGE_SUM"]
    if not sums:
        raise FormatError(
            f"{path.name} has no column that ends in _sum", where=str(path), hint="it has: " + ", ".join(table.columns)
        )
    return table.select("sample_id", *(_numbers(table[name], path).alias(name[:-4]) for name in sums))


def _numbers(values: pl.Series, path: Path) -> pl.Series:
    """The column as Float64; a cell that is no number is named by its line, not by its content."""
    numbers = values.cast(pl.Float64, strict=False)
    bad = numbers.is_null() & values.is_not_null()
    if bad.any():
        row = int(bad.arg_max() or 0)
        where = f"{path}: row {row + 1}" if path.suffix == ".parquet" else f"{path}:{row + 2}"
        raise FormatError(f"column {values.name} holds something that is not a number", where=where)
    return numbers


def _with_sample_id(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The table with its sample column named ``sample_id``, unique."""
    name = next((c for c in _SAMPLE_COLUMNS if c in table.columns), None)
    if name is None:
        raise FormatError(f"{path.name} has no column sample_id or IID", where=str(path))
    named = table.with_columns(pl.col(name).cast(pl.String).alias("sample_id"))
    if named["sample_id"].is_duplicated().any():
        raise FormatError(f"{path.name} names a sample twice", where=str(path))
    return named


def check_score_output(path: Path) -> None:
    """Raise a :class:`ConfigError` for a name whose suffix says no format that scores are written in."""
    if path.suffix not in (".parquet", ".tsv"):
        raise ConfigError(
            f"scores are not written as {path.suffix or 'a name without suffix'}", hint=".parquet or .tsv"
        )


def score_paths(path: Path) -> dict[str, Path]:
    """Return every file of a run by what it is: scores, matches, metadata."""
    return {
        "scores": path,
        "matches": path.with_suffix(f".matches{path.suffix}"),
        "metadata": path.with_suffix(".json"),
    }


def write_scores(path: Path, samples: pl.DataFrame, matches: pl.DataFrame, metadata: Mapping[str, Any]) -> list[Path]:
    """Write ``NAME.parquet`` (or .tsv), beside it ``NAME.matches.parquet`` (or .tsv) and ``NAME.json``; return them."""
    check_score_output(path)
    beside = score_paths(path)
    write_frame(beside["matches"], matches)
    write_json(beside["metadata"], dict(metadata))
    write_frame(path, samples)
    return list(beside.values())


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a table as Parquet or TSV by its suffix, atomically."""
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            spreadsheet_safe(frame).write_csv(temporary, separator="\t", null_value="NA")
