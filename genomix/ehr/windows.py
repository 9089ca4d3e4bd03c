"""Aggregates of records in look-back windows: one join, one filter, one group per window.

A record counts for window ``w`` at prediction time ``t`` when ``t - w < time <= t`` and ``available_time <= t``
(with ``inclusive=False``: both strictly before ``t``). ``full`` is the whole record. Lags are whole microseconds, so a
record exactly at an end is in or out by that rule and never by rounding.

Among values of one time, ``first`` takes the smallest and ``last`` the largest: the order of rows in the source has no
meaning. ``std`` divides by n - 1 and needs two values; ``slope`` is the least-squares slope per day and needs two
times. Both are computed from deviations, in two passes. Sums run in Float64 over sorted rows and are stored as
Float32, so they do not depend on threads.

Every step is an expression that cudf-polars translates; codes are integers through a join with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.device import CPU, Device
from genomix.ehr.durations import MICROSECONDS_PER_DAY, parse_duration
from genomix.errors import ConfigError

COUNT_AGGREGATIONS = ("count", "has", "time_since_last")
NUMERIC_AGGREGATIONS = ("first", "last", "min", "max", "mean", "sum", "std", "slope")
AGGREGATIONS = (*COUNT_AGGREGATIONS, *NUMERIC_AGGREGATIONS)
DEFAULT_WINDOWS = ("1d", "30d", "365d", "full")
PAIRS_PER_CHUNK = 8_000_000
"""Joined rows held at a time: bounds memory whatever the number of subjects."""

_KEY = ["row", "code_id"]


class WindowAggregates(NamedTuple):
    """Aggregates of every (row, code, window) in which something happened.

    ``values``: row (Int64), code_id (Int32), window (Int32, position in ``windows``), one Float32 column per
    aggregation (time_since_last in days; null = missing), sorted. ``codes``: code_id, code. ``lags``: code_id, window,
    lag_days and numeric_lag_days: the smallest prediction minus available_time among contributing records and among
    those with a value.
    """

    values: pl.DataFrame
    codes: pl.DataFrame
    lags: pl.DataFrame


def window_length(window: str) -> int | None:
    """Return a window's length in microseconds, None for ``full``."""
    if window == "full":
        return None
    try:
        length = parse_duration(window)
    except ValueError as error:
        raise ConfigError(f"window {window!r}: {error}", hint="for example 30d, 24h or full") from error
    if length <= 0:
        raise ConfigError(f"window {window!r} is empty", hint="for example 30d, 24h or full")
    return length


def window_aggregates(
    events: pl.DataFrame,
    index: pl.DataFrame,
    *,
    windows: Sequence[str] = DEFAULT_WINDOWS,
    aggregations: Sequence[str] = AGGREGATIONS,
    inclusive: bool = True,
    device: Device = CPU,
    pairs_per_chunk: int = PAIRS_PER_CHUNK,
) -> WindowAggregates:
    """Aggregate dated records before each row's prediction time, by code and look-back window.

    Parameters
    ----------
    events: columns subject_id, time, available_time, code, numeric_value; records without a time are left out (see
        :func:`static_aggregates`), so are values that are not finite (the record still counts).
    index: columns row, subject_id, prediction_time; rows without a prediction time have no records.

    Raises
    ------
    ConfigError: an unknown aggregation or window, or one given twice.
    """
    lengths = _checked(windows, aggregations)
    dated = _dated(events, index)
    codes = dated.select("code").unique().sort("code").with_row_index("code_id").cast({"code_id": pl.Int32})
    dated = dated.join(codes, on="code", how="left").drop("code")
    values, lags = [], []
    for rows, part in _chunks(dated, index, pairs_per_chunk):
        joined = _joined(part, rows, inclusive).collect(engine=device.engine)
        valued = _ordered(joined.lazy().filter(pl.col("value").is_not_null())).collect(engine=device.engine)
        for position, length in enumerate(lengths):
            found = _one_window(joined.lazy(), valued.lazy(), length, aggregations).collect(engine=device.engine)
            found = found.with_columns(pl.lit(position, dtype=pl.Int32).alias("window"))
            lags.append(found.select("code_id", "window", "known", "numeric_known"))
            values.append(found.select(*_KEY, "window", *aggregations))
    return _finish(values, lags, codes, aggregations)


def _checked(windows: Sequence[str], aggregations: Sequence[str]) -> list[int | None]:
    for kind, given, allowed in (("aggregation", aggregations, AGGREGATIONS), ("window", windows, None)):
        if len(set(given)) != len(given) or not given:
            raise ConfigError(f"{kind}s are given twice or not at all: {', '.join(given)}")
        unknown = [g for g in given if allowed is not None and g not in allowed]
        if unknown:
            raise ConfigError(f"unknown {kind} {unknown[0]!r}", hint="one of: " + ", ".join(AGGREGATIONS))
    return [window_length(w) for w in windows]


def _dated(events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """Keep dated records of the index's subjects; a finite value as Float64 without negative zero, else null."""
    value = pl.col("numeric_value").cast(pl.Float64)
    return (
        events.lazy()
        .filter(pl.col("time").is_not_null())
        .join(index.lazy().select("subject_id").unique(), on="subject_id", how="semi")
        .select(
            "subject_id",
            "time",
            pl.coalesce("available_time", "time").alias("available_time"),
            "code",
            pl.when(value == 0).then(0.0).when(value.is_finite()).then(value).alias("value"),
        )
        .collect()
    )


def _chunks(dated: pl.DataFrame, index: pl.DataFrame, limit: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Cut by subject so that each join has at most about ``limit`` rows (one subject is never cut)."""
    rows = index.select("row", "subject_id", "prediction_time").filter(pl.col("prediction_time").is_not_null())
    sizes = (
        rows.group_by("subject_id")
        .agg(pl.len().cast(pl.Int64).alias("rows"))
        .join(dated.group_by("subject_id").agg(pl.len().cast(pl.Int64).alias("records")), on="subject_id")
        .sort("subject_id")
    )
    before = np.cumsum((sizes["rows"] * sizes["records"]).to_numpy()) - 1
    chunk = sizes.select("subject_id", pl.Series("_chunk", before // max(limit, 1), dtype=pl.Int64))
    numbers = chunk["_chunk"].unique().sort().to_list()
    if len(numbers) <= 1:
        yield rows, dated
        return
    rows, dated = (frame.join(chunk, on="subject_id") for frame in (rows, dated))
    for number in numbers:
        yield (
            rows.filter(pl.col("_chunk") == number).drop("_chunk"),
            dated.filter(pl.col("_chunk") == number).drop("_chunk"),
        )


def _joined(dated: pl.DataFrame, rows: pl.DataFrame, inclusive: bool) -> pl.LazyFrame:
    """Return row, code_id, lag and known (us before prediction: when it happened, when it was known) and value."""
    least = 0 if inclusive else 1
    pairs = rows.lazy().join(dated.lazy(), on="subject_id")
    return pairs.select(
        "row",
        "code_id",
        (pl.col("prediction_time") - pl.col("time")).cast(pl.Int64).alias("lag"),
        (pl.col("prediction_time") - pl.col("available_time")).cast(pl.Int64).alias("known"),
        "value",
    ).filter((pl.col("lag") >= least) & (pl.col("known") >= least))


def _one_window(
    joined: pl.LazyFrame, valued: pl.LazyFrame, length: int | None, aggregations: Sequence[str]
) -> pl.LazyFrame:
    """Aggregate one window; ``valued`` are the records with a value, ordered."""
    inside = joined if length is None else joined.filter(pl.col("lag") < length)
    days = (pl.col("lag").min().cast(pl.Float64) / MICROSECONDS_PER_DAY).cast(pl.Float32)
    counted: dict[str, pl.Expr] = {
        "count": pl.len().cast(pl.Float32),
        "has": pl.len().clip(0, 1).cast(pl.Float32),
        "time_since_last": days,
    }
    chosen = [counted[a].alias(a) for a in aggregations if a in COUNT_AGGREGATIONS]
    found = inside.group_by(_KEY).agg(*chosen, pl.col("known").min())
    numeric = [a for a in aggregations if a in NUMERIC_AGGREGATIONS]
    if not numeric:
        return found.with_columns(pl.lit(None, dtype=pl.Int64).alias("numeric_known"))
    valued = valued if length is None else valued.filter(pl.col("lag") < length)
    return found.join(_numeric(valued, numeric), on=_KEY, how="left")


def _numeric(ordered: pl.LazyFrame, aggregations: Sequence[str]) -> pl.LazyFrame:
    value = pl.col("value")
    whole = ordered.group_by(_KEY, maintain_order=True).agg(
        pl.len().alias("n"), value.sum().alias("sum"), value.min().alias("min"), value.max().alias("max"),
        value.first().alias("first"), value.last().alias("last"), pl.col("lag").max().alias("earliest"),
        pl.col("known").min().alias("numeric_known"),
    ).with_columns((pl.col("sum") / pl.col("n")).alias("mean"))  # fmt: skip
    if "std" in aggregations or "slope" in aggregations:
        whole = whole.join(_spread(ordered, whole), on=_KEY, how="left")
    return whole.select(*_KEY, "numeric_known", *(pl.col(a).cast(pl.Float32) for a in aggregations))


def _ordered(valued: pl.LazyFrame) -> pl.LazyFrame:
    """Sort by group, time and value: then every sum has one order, and ties are equal."""
    return valued.sort("row", "code_id", "lag", "value", descending=[False, False, True, False])


def _spread(valued: pl.LazyFrame, whole: pl.LazyFrame) -> pl.LazyFrame:
    """Return std and slope from deviations: values from their mean, days since the first value from their mean."""
    days = (pl.col("earliest") - pl.col("lag")).cast(pl.Float64) / MICROSECONDS_PER_DAY
    centred = _ordered(
        valued.join(whole.select(*_KEY, "mean", "earliest", "n"), on=_KEY).with_columns(days.alias("days"))
    )
    centre = centred.group_by(_KEY, maintain_order=True).agg((pl.col("days").sum() / pl.len()).alias("mean_days"))
    dv, dx = pl.col("value") - pl.col("mean"), pl.col("days") - pl.col("mean_days")
    sums = (
        _ordered(centred.join(centre, on=_KEY))
        .with_columns((dv * dv).alias("vv"), (dx * dx).alias("xx"), (dx * dv).alias("xv"))
        .group_by(_KEY, maintain_order=True)
        .agg(pl.col("vv").sum(), pl.col("xx").sum(), pl.col("xv").sum(), pl.len().alias("size"))
    )
    return sums.select(
        *_KEY,
        pl.when(pl.col("size") > 1).then((pl.col("vv") / (pl.col("size") - 1)).sqrt()).alias("std"),
        pl.when(pl.col("xx") > 0).then(pl.col("xv") / pl.col("xx")).alias("slope"),
    )


def _finish(
    values: list[pl.DataFrame], lags: list[pl.DataFrame], codes: pl.DataFrame, aggregations: Sequence[str]
) -> WindowAggregates:
    schema: dict[str, Any] = {"row": pl.Int64, "code_id": pl.Int32, "window": pl.Int32}
    whole = pl.concat(values) if values else pl.DataFrame(schema=schema | dict.fromkeys(aggregations, pl.Float32))
    known: dict[str, Any] = {"code_id": pl.Int32, "window": pl.Int32, "known": pl.Int64, "numeric_known": pl.Int64}
    smallest = (
        (pl.concat(lags) if lags else pl.DataFrame(schema=known))
        .group_by("code_id", "window")
        .agg(pl.col("known").min() / MICROSECONDS_PER_DAY, pl.col("numeric_known").min() / MICROSECONDS_PER_DAY)
        .rename({"known": "lag_days", "numeric_known": "numeric_lag_days"})
        .sort("code_id", "window")
    )
    return WindowAggregates(whole.sort("row", "code_id", "window"), codes, smallest)


def static_aggregates(events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """Return what is recorded without a time: row, code, value (the largest finite one, Float32; null without).

    Such records hold whatever the prediction time is; whether they were known by then cannot be seen from them.
    """
    value = pl.col("numeric_value").cast(pl.Float32)
    static = events.filter(pl.col("time").is_null()).select(
        "subject_id", "code", pl.when(value.is_finite()).then(value).alias("value")
    )
    once = static.group_by("subject_id", "code").agg(pl.col("value").max())
    return index.select("row", "subject_id").join(once, on="subject_id").drop("subject_id").sort("row", "code")
