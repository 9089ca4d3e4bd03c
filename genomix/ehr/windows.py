"""Aggregates of records in look-back windows before the prediction time: what they mean, and the one way in.

A record counts for window ``w`` at prediction time ``t`` when ``t - w < time <= t`` and ``available_time <= t``
(with ``inclusive=False``: both strictly before ``t``). ``full`` is the whole record. ``since:CODE`` begins with the
last record of CODE, or of a code that starts with ``CODE//``, which was known at ``t``; that record counts, and without
one nothing does. Lags are whole microseconds, so a record exactly at an end is in or out by that rule and never by
rounding.

Among values of one time, ``first`` takes the smallest and ``last`` the largest: the order of rows in the source has no
meaning. ``std`` divides by n - 1 and needs two values; ``slope`` is the least-squares slope per day and needs two
times. Both are computed from deviations, in two passes. ``distinct_days`` counts calendar days of the record's own
clock. ``has_value`` is 1 where there is a value. ``out_of_range_count`` counts values below or above a code's range,
and is null for codes without one. Sums run in Float64 over sorted rows and are stored as Float32, so they do not
depend on threads.

Two engines give the same: ``expressions`` (:mod:`genomix.ehr.window_expressions`; every step is one that cudf-polars
translates, so it is the one on a GPU, and the reference) and ``compiled`` (:mod:`genomix.ehr.window_kernels`; one pass
over each person's records, the one on a CPU).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from genomix.device import CPU, Device
from genomix.ehr.durations import MICROSECONDS_PER_DAY, parse_duration
from genomix.errors import ConfigError

COUNT_AGGREGATIONS = ("count", "has", "distinct_days", "time_since_first", "time_since_last")
NUMERIC_AGGREGATIONS = ("first", "last", "min", "max", "mean", "sum", "std", "slope", "has_value",
                        "out_of_range_count")  # fmt: skip
AGGREGATIONS = (*COUNT_AGGREGATIONS, *NUMERIC_AGGREGATIONS)
ZERO_WHEN_ABSENT = ("count", "has", "distinct_days", "has_value", "out_of_range_count")
"""Aggregations that are 0, not missing, where nothing happened."""
DEFAULT_WINDOWS = ("1d", "30d", "365d", "full")
SINCE = "since:"
WHOLE = np.iinfo(np.int64).max
"""Length of a window without a begin."""
PAIRS_PER_CHUNK = 8_000_000
"""Pairs of a row and a record held at a time: bounds memory whatever the number of subjects."""

Engine = Literal["auto", "expressions", "compiled"]
Int64Array = np.ndarray[Any, np.dtype[np.int64]]


class WindowAggregates(NamedTuple):
    """Aggregates of every (row, code, window) in which something happened.

    ``values``: row (Int64), code_id (Int32), window (Int32, position in ``windows``), one Float32 column per
    aggregation (times in days; null = missing), sorted. ``codes``: code_id, code. ``lags``: code_id, window,
    lag_days and numeric_lag_days: the smallest prediction minus available_time among contributing records and among
    those with a value.
    """

    values: pl.DataFrame
    codes: pl.DataFrame
    lags: pl.DataFrame


class Rows(NamedTuple):
    """Rows to aggregate for: a frame of row, subject_id, prediction_time and one ``limit_W`` per window W.

    A record is inside window W when its lag in microseconds is below the limit.
    """

    frame: pl.DataFrame
    n_windows: int


def window_length(window: str) -> int | None:
    """Return a window's length in microseconds, None for ``full`` and ``since:CODE``.

    Raises
    ------
    ConfigError: not a window.
    """
    if window == "full":
        return None
    if window.startswith(SINCE):
        if not window.removeprefix(SINCE):
            raise ConfigError(f"window {window!r} names no code", hint="for example since:HOSPITAL_ADMISSION")
        return None
    hint = "for example 30d, 24h, full or since:HOSPITAL_ADMISSION"
    try:
        length = parse_duration(window)
    except ValueError as error:
        raise ConfigError(f"window {window!r}: {error}", hint=hint) from error
    if length <= 0:
        raise ConfigError(f"window {window!r} is empty", hint=hint)
    return length


def window_aggregates(
    events: pl.DataFrame,
    index: pl.DataFrame,
    *,
    windows: Sequence[str] = DEFAULT_WINDOWS,
    aggregations: Sequence[str] = AGGREGATIONS,
    inclusive: bool = True,
    ranges: pl.DataFrame | None = None,
    anchors: pl.DataFrame | None = None,
    device: Device = CPU,
    engine: Engine = "auto",
    pairs_per_chunk: int = PAIRS_PER_CHUNK,
) -> WindowAggregates:
    """Aggregate dated records before each row's prediction time, by code and look-back window.

    Parameters
    ----------
    events: columns subject_id, time, available_time, code, numeric_value; records without a time are left out (see
        :func:`static_aggregates`), so are values that are not finite (the record still counts).
    index: columns row, subject_id, prediction_time; rows without a prediction time have no records.
    ranges: columns code, low, high (Float32, null where there is no bound), one row a code, for out_of_range_count;
        a value at a bound is within.
    anchors: events among which ``since:`` windows look for their code; by default ``events``.
    engine: ``auto`` is ``compiled`` on a CPU and ``expressions`` on a GPU.

    Raises
    ------
    ConfigError: an unknown aggregation or window, or one given twice.
    """
    check_windows(windows, aggregations)
    dated = _dated(events, index)
    codes = dated.select("code").unique().sort("code").with_row_index("code_id").cast({"code_id": pl.Int32})
    dated = dated.join(codes, on="code", how="left").drop("code")
    rows = row_limits(events if anchors is None else anchors, index, windows, inclusive=inclusive)
    bounds = code_bounds(codes, ranges)
    if engine == "auto":
        engine = "compiled" if device.kind == "cpu" else "expressions"
    values, lags = [], []
    for part_rows, part in _chunks(dated, rows, pairs_per_chunk):
        if engine == "compiled":
            from genomix.ehr.window_compiled import aggregate_compiled

            found = aggregate_compiled(part, part_rows, aggregations, bounds, inclusive=inclusive)
        else:
            from genomix.ehr.window_expressions import aggregate_expressions

            found = aggregate_expressions(part, part_rows, aggregations, bounds, inclusive=inclusive, device=device)
        values.append(found.values)
        lags.append(found.lags)
    return _finish(values, lags, codes, aggregations)


class PartAggregates(NamedTuple):
    """What an engine returns for some rows: values as in :class:`WindowAggregates`, lags as known and numeric_known."""

    values: pl.DataFrame
    lags: pl.DataFrame


def check_windows(windows: Sequence[str], aggregations: Sequence[str]) -> None:
    """Raise a :class:`ConfigError` for anything unknown or given twice."""
    for kind, given, allowed in (("aggregation", aggregations, AGGREGATIONS), ("window", windows, None)):
        if len(set(given)) != len(given) or not given:
            raise ConfigError(f"{kind}s are given twice or not at all: {', '.join(given)}")
        unknown = [g for g in given if allowed is not None and g not in allowed]
        if unknown:
            raise ConfigError(f"unknown {kind} {unknown[0]!r}", hint="one of: " + ", ".join(AGGREGATIONS))
    for window in windows:
        window_length(window)


def row_limits(anchors: pl.DataFrame, index: pl.DataFrame, windows: Sequence[str], *, inclusive: bool) -> Rows:
    """Return rows with a prediction time and how far each window of each row reaches back."""
    rows = index.select("row", "subject_id", "prediction_time").filter(pl.col("prediction_time").is_not_null())
    limits = []
    for position, window in enumerate(windows):
        name = f"limit_{position}"
        if window.startswith(SINCE):
            begins = _anchor_lags(anchors, rows, window.removeprefix(SINCE), inclusive=inclusive)
            rows = rows.join(begins.rename({"lag": name}), on="row", how="left", maintain_order="left")
            # With the anchor itself; without an anchor nothing is inside.
            limits.append((pl.col(name) + 1).fill_null(0))
        else:
            length = window_length(window)
            limits.append(pl.lit(WHOLE if length is None else length, dtype=pl.Int64).alias(name))
    return Rows(rows.with_columns(limits), len(windows))


def _anchor_lags(events: pl.DataFrame, rows: pl.DataFrame, code: str, *, inclusive: bool) -> pl.DataFrame:
    """Return row and lag (us) of the last record of ``code`` or of a code below it that was known at the prediction."""
    least = 0 if inclusive else 1
    own = pl.col("code") == code
    known = pl.coalesce("available_time", "time")
    return (
        rows.lazy()
        .select("row", "subject_id", "prediction_time")
        .join(
            events.lazy().filter((own | pl.col("code").str.starts_with(code + "//")) & pl.col("time").is_not_null()),
            on="subject_id",
        )
        .select(
            "row",
            (pl.col("prediction_time") - pl.col("time")).cast(pl.Int64).alias("lag"),
            (pl.col("prediction_time") - known).cast(pl.Int64).alias("known"),
        )
        .filter((pl.col("lag") >= least) & (pl.col("known") >= least))
        .group_by("row")
        .agg(pl.col("lag").min())
        .sort("row")
        .collect()
    )


def code_bounds(codes: pl.DataFrame, ranges: pl.DataFrame | None) -> pl.DataFrame:
    """Return code_id, low, high and ranged (whether the code has a range), a row for every code."""
    empty = pl.DataFrame(schema={"code": pl.String, "low": pl.Float32, "high": pl.Float32})
    given = (empty if ranges is None else ranges.select(empty.columns)).with_columns(pl.lit(True).alias("ranged"))
    return (
        codes.join(given, on="code", how="left", maintain_order="left", validate="1:1")
        .with_columns(pl.col("ranged").fill_null(False))
        .drop("code")
    )


def _dated(events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """Keep dated records of the index's subjects; a finite value as Float64 without negative zero, else null."""
    return (
        events.lazy()
        .filter(pl.col("time").is_not_null())
        .join(index.lazy().select("subject_id").unique(), on="subject_id", how="semi")
        .select("subject_id", "time", known_time(), "code", clean_value())
        .collect()
    )


def known_time() -> pl.Expr:
    """Return available_time, the time itself where none is stated."""
    return pl.coalesce("available_time", "time").alias("available_time")


def clean_value() -> pl.Expr:
    """Return numeric_value as Float64 ``value``: finite, without negative zero, else null."""
    value = pl.col("numeric_value").cast(pl.Float64)
    return pl.when(value == 0).then(0.0).when(value.is_finite()).then(value).alias("value")


def _chunks(dated: pl.DataFrame, rows: Rows, limit: int) -> Iterator[tuple[Rows, pl.DataFrame]]:
    """Cut by subject so that each part has at most about ``limit`` pairs (one subject is never cut)."""
    frame = rows.frame
    sizes = (
        frame.group_by("subject_id")
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
    frame, dated = (part.join(chunk, on="subject_id") for part in (frame, dated))
    for number in numbers:
        yield (
            Rows(frame.filter(pl.col("_chunk") == number).drop("_chunk"), rows.n_windows),
            dated.filter(pl.col("_chunk") == number).drop("_chunk"),
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
