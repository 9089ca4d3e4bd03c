"""Tables of labels: those of ``genomix ehr cohort``, and MEDS label files (https://doi.org/10.5281/zenodo.10957037)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.meds import data_files, not_parquet
from genomix.schemas.events import TIME

VALUES = ("value", "label", "boolean_value", "integer_value", "float_value")
"""Columns that may hold the label, in the order in which they are looked for."""
ROLES = ("train", "tuning", "held_out")


def read_labels(path: Path) -> pl.DataFrame:
    """Read a table of labels, or a folder of them, in order of person and prediction time.

    Returns
    -------
    subject_id, prediction_time, label (Float64, null where censored), and ``split`` and ``weight`` where the table
    has them.

    Raises
    ------
    InputNotFoundError: nothing there. FormatError: not Parquet, a missing column, a wrong type, a row without a person
        or a prediction time, or a person twice at one time.
    """
    frames = [_one_file(file) for file in data_files(path)]
    columns = set.intersection(*(set(f.columns) for f in frames))
    wanted = ["subject_id", "prediction_time", "label", *(c for c in ("split", "weight") if c in columns)]
    table = pl.concat([f.select(wanted) for f in frames]).sort("subject_id", "prediction_time")
    empty = table.filter(pl.col("subject_id").is_null() | pl.col("prediction_time").is_null()).height
    if empty:
        raise FormatError(f"{empty:,} rows have no person or no prediction time", where=str(path))
    twice = int(table.select(pl.struct("subject_id", "prediction_time").is_duplicated().sum()).item())
    if twice:
        raise FormatError(
            f"{twice:,} rows share a person and a prediction time", where=str(path), hint="one row for each"
        )
    return table


def _one_file(file: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(file, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise not_parquet(file) from error
    for name in ("subject_id", "prediction_time"):
        if name not in frame.columns:
            raise FormatError(
                f"there is no column {name!r}", where=str(file), hint="genomix ehr cohort writes such a table"
            )
    if not frame.schema["subject_id"].is_integer() or not isinstance(frame.schema["prediction_time"], pl.Datetime):
        raise FormatError(
            f"subject_id is {frame.schema['subject_id']} and prediction_time {frame.schema['prediction_time']}",
            where=str(file), hint="whole numbers and times",
        )  # fmt: skip
    values = [pl.col(c).cast(pl.Float64, strict=False) for c in VALUES if c in frame.columns]
    label = pl.coalesce(values) if values else pl.lit(None, dtype=pl.Float64)
    time = pl.col("prediction_time")
    if frame.schema["prediction_time"] != pl.Datetime("us"):
        time = (time.dt.convert_time_zone("UTC") if _zoned(frame) else time).dt.replace_time_zone(None).cast(TIME)
    return frame.with_columns(pl.col("subject_id").cast(pl.Int64), time.alias("prediction_time"), label.alias("label"))


def _zoned(frame: pl.DataFrame) -> bool:
    dtype = frame.schema["prediction_time"]
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None


def read_splits(path: Path) -> pl.DataFrame:
    """Read subject_id and split (train, tuning or held_out, as MEDS has them) from a Parquet table.

    Raises
    ------
    InputNotFoundError: no such file. FormatError: not such a table, another word, or a person twice.
    """
    if not path.is_file():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise not_parquet(path) from error
    missing = [c for c in ("subject_id", "split") if c not in frame.columns]
    if missing:
        raise FormatError(f"there is no column {missing[0]!r}", where=str(path), hint="subject_id and split")
    frame = frame.select(pl.col("subject_id").cast(pl.Int64), pl.col("split").cast(pl.String))
    other = frame.filter(~pl.col("split").is_in(ROLES))["split"].unique().sort().to_list()
    if other:
        raise FormatError(f"split {other[0]!r} is unknown", where=str(path), hint="one of: " + ", ".join(ROLES))
    if frame["subject_id"].is_duplicated().any():
        raise FormatError("a person is in the table twice", where=str(path))
    return frame
