"""Window aggregates as Polars expressions: one join, one filter, one group per window.

The reference for :mod:`genomix.ehr.window_compiled`, and what a GPU runs: every step is an expression that cudf-polars
translates; codes are integers through a join with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from genomix.device import Device
from genomix.ehr.durations import MICROSECONDS_PER_DAY
from genomix.ehr.windows import COUNT_AGGREGATIONS, NUMERIC_AGGREGATIONS, PartAggregates, Rows

_KEY = ["row", "code_id"]


def aggregate_expressions(
    dated: pl.DataFrame,
    rows: Rows,
    aggregations: Sequence[str],
    bounds: pl.DataFrame,
    *,
    inclusive: bool,
    device: Device,
) -> PartAggregates:
    """Aggregate the records (subject_id, time, available_time, code_id, value) of some rows; see the module."""
    joined = _joined(dated, rows, inclusive).collect(engine=device.engine)
    valued = joined.lazy().filter(pl.col("value").is_not_null())
    if "out_of_range_count" in aggregations:
        valued = valued.join(bounds.lazy(), on="code_id").with_columns(_is_outside()).drop("low", "high", "ranged")
    ordered = _ordered(valued).collect(engine=device.engine)
    values, lags = [], []
    for position in range(rows.n_windows):
        query = _one_window(joined.lazy(), ordered.lazy(), f"limit_{position}", aggregations)
        found = query.collect(engine=device.engine).with_columns(pl.lit(position, dtype=pl.Int32).alias("window"))
        lags.append(found.select("code_id", "window", "known", "numeric_known"))
        values.append(found.select(*_KEY, "window", *aggregations))
    return PartAggregates(pl.concat(values), pl.concat(lags))


def _joined(dated: pl.DataFrame, rows: Rows, inclusive: bool) -> pl.LazyFrame:
    """Return row, code_id, lag and known (us before prediction: when it happened, when it was known), value, limits."""
    least = 0 if inclusive else 1
    pairs = rows.frame.lazy().join(dated.lazy(), on="subject_id")
    return pairs.select(
        "row",
        "code_id",
        *(f"limit_{w}" for w in range(rows.n_windows)),
        (pl.col("time").cast(pl.Int64) // MICROSECONDS_PER_DAY).cast(pl.Int32).alias("day"),
        (pl.col("prediction_time") - pl.col("time")).cast(pl.Int64).alias("lag"),
        (pl.col("prediction_time") - pl.col("available_time")).cast(pl.Int64).alias("known"),
        "value",
    ).filter((pl.col("lag") >= least) & (pl.col("known") >= least))


def _is_outside() -> pl.Expr:
    """Say 1 for a value outside its code's range, 0 within, null for a code without a range."""
    value = pl.col("value").cast(pl.Float32)
    outside = (value < pl.col("low")).fill_null(False) | (value > pl.col("high")).fill_null(False)
    return pl.when("ranged").then(outside.cast(pl.Float32)).alias("outside")


def _one_window(joined: pl.LazyFrame, valued: pl.LazyFrame, limit: str, aggregations: Sequence[str]) -> pl.LazyFrame:
    """Aggregate one window; ``valued`` are the records with a value, ordered."""
    inside = joined.filter(pl.col("lag") < pl.col(limit))

    def days(lag: pl.Expr) -> pl.Expr:
        return (lag.cast(pl.Float64) / MICROSECONDS_PER_DAY).cast(pl.Float32)

    counted: dict[str, pl.Expr] = {
        "count": pl.len().cast(pl.Float32),
        "has": pl.len().clip(0, 1).cast(pl.Float32),
        "distinct_days": pl.col("day").n_unique().cast(pl.Float32),
        "time_since_first": days(pl.col("lag").max()),
        "time_since_last": days(pl.col("lag").min()),
    }
    chosen = [counted[a].alias(a) for a in aggregations if a in COUNT_AGGREGATIONS]
    found = inside.group_by(_KEY).agg(*chosen, pl.col("known").min())
    numeric = [a for a in aggregations if a in NUMERIC_AGGREGATIONS]
    if not numeric:
        return found.with_columns(pl.lit(None, dtype=pl.Int64).alias("numeric_known"))
    valued = valued.filter(pl.col("lag") < pl.col(limit))
    return found.join(_numeric(valued, numeric), on=_KEY, how="left")


def _numeric(ordered: pl.LazyFrame, aggregations: Sequence[str]) -> pl.LazyFrame:
    value = pl.col("value")
    outside = [pl.col("outside").max().alias("_ranged"), pl.col("outside").sum().alias("_outside")]
    ranged = "out_of_range_count" in aggregations
    whole = ordered.group_by(_KEY, maintain_order=True).agg(
        pl.len().alias("n"), value.sum().alias("sum"), value.min().alias("min"), value.max().alias("max"),
        value.first().alias("first"), value.last().alias("last"), pl.col("lag").max().alias("earliest"),
        pl.col("known").min().alias("numeric_known"), *(outside if ranged else []),
    ).with_columns((pl.col("sum") / pl.col("n")).alias("mean"), pl.lit(1.0).alias("has_value"))  # fmt: skip
    if ranged:
        whole = whole.with_columns(
            pl.when(pl.col("_ranged").is_not_null()).then("_outside").alias("out_of_range_count")
        )
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
