"""The records behind a value: which of a person's records a look-back column was made from, at one prediction time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from genomix.ehr.windows import clean_value, known_time, row_limits
from genomix.errors import ConfigError
from genomix.features.record_columns import (
    ANY_RECORD,
    STATIC,
    RecordWindowOptions,
    read_options,
    read_ranges,
    rolled_names,
)
from genomix.io.meds import read_meds
from genomix.io.meds_shards import converted_files
from genomix.provenance import read_json
from genomix.schemas.events import EVENTS

_EVERY = ("count", "has", "distinct_days")
_EVERY_VALUE = ("has_value", "sum", "mean", "std", "slope")


def source_records(
    events: pl.DataFrame,
    subject_id: int,
    prediction_time: datetime,
    column: Mapping[str, Any],
    chosen: RecordWindowOptions,
) -> pl.DataFrame:
    """Return the records behind one value, in order of time; none where the value is absent.

    Parameters
    ----------
    events: schema EVENTS (of this person at least). column: a row of COLUMNS made by ``record_windows`` (code, window,
        aggregation). chosen: the options that the column was made with.

    Returns
    -------
    The rows of ``events``: all that were counted or aggregated; for ``first``, ``last``, ``min``, ``max`` and the times
    since, those that hold the value (several where they tie).

    Raises
    ------
    ConfigError: a column of another family, or a window that the options do not have.
    """
    code, window, aggregation = column["code"], column["window"], column["aggregation"]
    own = events.filter(pl.col("subject_id") == subject_id)
    mine = _of_code(own, code, chosen)
    if window == STATIC:
        static = mine.filter(pl.col("time").is_null())
        if aggregation == "has":
            return static
        value = pl.col("numeric_value")
        return static.filter(value.is_finite() & (value == value.filter(value.is_finite()).max()))
    if window not in chosen.windows or aggregation not in (*chosen.aggregations,):
        raise ConfigError(f"column {column['name']!r} was not made with these options")
    inside = _in_window(mine, own, subject_id, prediction_time, window, inclusive=chosen.inclusive)
    return _behind(inside, aggregation, code, chosen).drop("value").sort("time", "code", maintain_order=True)


def events_of_person(records: Path, subject_id: int) -> pl.DataFrame:
    """Return one person's events (schema EVENTS) of a MEDS dataset; one that states availability is read in part.

    Raises
    ------
    InputNotFoundError: nothing to read there. FormatError: a broken file.
    """
    mine = pl.col("subject_id") == subject_id
    files = converted_files(records)
    if files is None:
        return read_meds(records).events.filter(mine)
    found = [pl.scan_parquet(file).filter(mine).collect() for file in files]
    frame = pl.concat([f for f in found if f.height] or found[:1], how="diagonal_relaxed")
    absent = [pl.lit(None, dtype=c.dtype).alias(c.name) for c in EVENTS.columns if c.name not in frame.columns]
    typed = [pl.col(c.name).cast(c.dtype) for c in EVENTS.columns]
    return frame.with_columns(absent).select(typed).sort("time", nulls_last=False, maintain_order=True)


def options_of_set(
    folder: Path, *, roll_up: Path | None = None, ranges: Path | None = None
) -> RecordWindowOptions:  # fmt: skip
    """Return the options that a feature set was made with, by its manifest.

    Parameters
    ----------
    roll_up, ranges: the tables that it was made with, where it was: the manifest tells their names only.

    Raises
    ------
    ConfigError: a set that says no options, or such a table is needed and not given (or given and not needed).
    """
    told = read_json(folder / "manifest.json").get("options")
    if told is None:
        raise ConfigError("the feature set does not say how it was made", where=str(folder / "manifest.json"))
    for name, given in (("roll_up", roll_up), ("ranges", ranges)):
        option = "--" + name.replace("_", "-")
        if (told.get(name) is None) != (given is None):
            wanted = "no such table" if told.get(name) is None else f"the table {told[name]}"
            raise ConfigError(f"the feature set was made with {wanted}", where=str(folder), hint=f"see {option}")
        if given is not None:
            told[name] = str(given)
    return read_options(told)


def _of_code(own: pl.DataFrame, code: str, chosen: RecordWindowOptions) -> pl.DataFrame:
    """Keep the records that count under a code."""
    if code == ANY_RECORD:
        return own.filter(pl.col("code") != "MEDS_BIRTH")
    names = rolled_names(own["code"].unique(), chosen)
    return own.filter(pl.col("code").is_in(names.filter(pl.col("rolled") == code)["code"].to_list()))


def _in_window(
    mine: pl.DataFrame, own: pl.DataFrame, subject_id: int, prediction_time: datetime, window: str, *, inclusive: bool
) -> pl.DataFrame:
    row = pl.DataFrame(
        {"row": [0], "subject_id": [subject_id], "prediction_time": [prediction_time]},
        schema={"row": pl.Int64, "subject_id": pl.Int64, "prediction_time": pl.Datetime("us")},
    )
    limit = int(row_limits(own, row, [window], inclusive=inclusive).frame["limit_0"][0])
    least = 0 if inclusive else 1
    at = pl.lit(prediction_time, dtype=pl.Datetime("us"))
    lag, known = (at - pl.col("time")).cast(pl.Int64), (at - known_time()).cast(pl.Int64)
    return mine.filter((lag >= least) & (known >= least) & (lag < limit)).with_columns(clean_value())


def _behind(inside: pl.DataFrame, aggregation: str, code: str, chosen: RecordWindowOptions) -> pl.DataFrame:
    time, value = pl.col("time"), pl.col("value")
    if aggregation in _EVERY:
        return inside
    if aggregation in ("time_since_first", "time_since_last"):
        return inside.filter(time == (time.min() if aggregation == "time_since_first" else time.max()))
    valued = inside.filter(value.is_not_null())
    if aggregation == "first":
        return valued.filter(time == time.min()).filter(value == value.min())
    if aggregation == "last":
        return valued.filter(time == time.max()).filter(value == value.max())
    if aggregation in ("min", "max"):
        return valued.filter(value == (value.min() if aggregation == "min" else value.max()))
    if aggregation in _EVERY_VALUE:
        return valued
    assert chosen.ranges is not None
    bounds = read_ranges(Path(chosen.ranges)).filter(pl.col("code") == code)
    return valued.filter(_beyond(bounds, "low") | _beyond(bounds, "high"))


def _beyond(bounds: pl.DataFrame, side: str) -> pl.Expr:
    bound = bounds[side][0] if bounds.height else None
    if bound is None:
        return pl.lit(False)
    value = pl.col("value").cast(pl.Float32)
    limit = pl.lit(bound, dtype=pl.Float32)
    return value < limit if side == "low" else value > limit
