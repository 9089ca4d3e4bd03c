"""The dated records behind a value, days before prediction, and the value computed again from them in plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.explain.chain_result import Chain, number, require_equal
from genomix.features.families.demographics import BIRTH, FEMALE, MALE, MICROSECONDS_PER_YEAR, SEX_CODE
from genomix.features.record_columns import RecordWindowOptions
from genomix.features.record_sources import source_records
from genomix.privacy import TOP_CODED_AGE_YEARS, top_code_age
from genomix.schemas.explain import RECORD_SOURCES

DAY = 86_400_000_000


@dataclass(frozen=True)
class RecordsBehind:
    """A person's records at one prediction time.

    Parameters
    ----------
    events: schema EVENTS, of this person at least. options: those that the columns were made with.
    bounds: column → bounds that values were held within (learned from training rows), where there are any.
    """

    events: pl.DataFrame
    subject_id: int
    prediction_time: datetime
    options: RecordWindowOptions | None = None
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def record_chain(column: Mapping[str, Any], value: float, behind: RecordsBehind) -> Chain:
    """Return the records behind a look-back column (a row of COLUMNS).

    Raises
    ------
    IntegrityError: the records do not give the value. ConfigError: the column was made with other options.
    """
    if behind.options is None:
        raise ConfigError(f"{column['name']}: the options that it was made with are not known")
    found = source_records(behind.events, behind.subject_id, behind.prediction_time, column, behind.options)
    again = value_of_records(found, column["aggregation"], behind.prediction_time)
    note = ""
    if column["name"] in behind.bounds and not np.isnan(again):
        low, high = behind.bounds[column["name"]]
        held = float(np.clip(np.float32(again), np.float32(low), np.float32(high)))
        note = f"held within {low:g} to {high:g}; the records say {again:g}" if held != np.float32(again) else ""
        again = held
    numbers = np.array([v for v in found["numeric_value"].to_list() if v is not None and np.isfinite(v)])
    loose = column["aggregation"] in ("std", "slope")
    require_equal(
        column["name"], value, again, relative=1e-4 if loose else 1e-5,
        scale=float(np.abs(numbers).max(initial=0.0)) if loose or column["aggregation"] in ("sum", "mean") else 0.0,
    )  # fmt: skip
    if not found.height:
        note = "no such record: " + ("the value is 0" if value == 0 else "the value is missing")
    return Chain(
        column["name"], column["sentence"], column["unit"], "records", number(value), number(again), checked=True,
        sources=_sources(found, behind.prediction_time), n_sources=found.height, note=note,
    )  # fmt: skip


def value_of_records(found: pl.DataFrame, aggregation: str, t: datetime) -> float:
    """Compute an aggregation from its source records: plain arithmetic over the listed lines."""
    values = [0.0 if v == 0 else float(v) for v in found["numeric_value"] if v is not None and np.isfinite(v)]
    if aggregation in ("count", "out_of_range_count"):
        return float(found.height)
    if aggregation in ("has", "has_value"):
        return float(found.height > 0)
    if aggregation == "distinct_days":
        return float(len({time.date() for time in found["time"]}))
    if not found.height:
        return float("nan")
    if aggregation in ("time_since_first", "time_since_last"):
        return float((t - found["time"][0]).total_seconds() / 86_400)
    if aggregation in ("first", "last", "min", "max", "value"):
        return values[0] if values else float("nan")
    if aggregation == "sum":
        return sum(values)
    if aggregation == "mean":
        return sum(values) / len(values)
    if aggregation == "std":
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    days = np.array([-(t - time).total_seconds() / 86_400 for time in found["time"]])
    off = days - days.mean()
    return float((off * np.array(values)).sum() / (off**2).sum()) if (off != 0).any() else float("nan")


def demographic_chain(column: Mapping[str, Any], value: float, behind: RecordsBehind) -> Chain:
    """Return the records of birth or sex; an age is told in whole years, 90 at most, and no day of birth.

    Raises
    ------
    IntegrityError: the records do not give the value.
    """
    t = pl.lit(behind.prediction_time, dtype=pl.Datetime("us"))
    of_age = column["group"] == "age"
    wanted = pl.col("code") == BIRTH if of_age else pl.col("code").str.contains(SEX_CODE)
    known = pl.col("time").is_null() | ((pl.col("time") <= t) & (pl.col("available_time") <= t)).fill_null(False)
    mine = behind.events.filter((pl.col("subject_id") == behind.subject_id) & wanted & known)
    if of_age:
        births = mine.filter(pl.col("time") == pl.col("time").min())
        again = float("nan")
        if births.height:
            lived = int(
                (pl.Series([behind.prediction_time], dtype=pl.Datetime("us")) - births["time"][:1]).cast(pl.Int64)[0]
            )
            again = lived / MICROSECONDS_PER_YEAR
        require_equal(column["name"], value, again)
        shown = None if np.isnan(value) else float(np.floor(top_code_age(value)))
        note = f"from the record of birth; in whole years, {TOP_CODED_AGE_YEARS} at most, and no day is told"
        return Chain(
            column["name"], column["sentence"], column["unit"], "records", shown, shown, checked=True,
            sources=RECORD_SOURCES.empty(), n_sources=births.height, withheld=births.height, note=note,
        )  # fmt: skip
    words = {code.rsplit("//", 1)[-1].upper() for code in mine["code"].to_list()}
    said = {1.0 for w in words if w in FEMALE} | {0.0 for w in words if w in MALE}
    again = said.pop() if len(said) == 1 else float("nan")
    if np.isnan(again) and not np.isnan(value):
        return Chain(
            column["name"], column["sentence"], None, "none", number(value), None, checked=False, sources=None,
            note="the recorded sex of the genotyped sample, as no record says it",
        )  # fmt: skip
    require_equal(column["name"], value, again)
    return Chain(
        column["name"], column["sentence"], None, "records", number(value), number(again), checked=True,
        sources=_sources(mine, behind.prediction_time), n_sources=mine.height,
    )  # fmt: skip


def _sources(found: pl.DataFrame, t: datetime) -> pl.DataFrame:
    at = pl.lit(t, dtype=pl.Datetime("us"))

    def days(column: str) -> pl.Expr:
        # A day is told to three places (some minutes): no moment can be read off it.
        return ((at - pl.col(column)).cast(pl.Int64) / DAY).round(3)

    ordered = found.sort("time", "code", nulls_last=False, maintain_order=True)
    return RECORD_SOURCES.validate(
        ordered.select(
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("n"), days("time").alias("days_before"),
            days("available_time").alias("known_days_before"), pl.col("code").cast(pl.String),
            pl.col("numeric_value").cast(pl.Float64).alias("value"), pl.col("unit").cast(pl.String),
        )
    )  # fmt: skip
