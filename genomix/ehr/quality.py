"""What health records look like, in figures that a report may print: no dates, no identifiers."""

from __future__ import annotations

from typing import Any

import polars as pl

BIRTH, DEATH = "MEDS_BIRTH", "MEDS_DEATH"
_YEAR = 365.25 * 86_400_000_000


def describe(events: pl.DataFrame, *, most: int = 20) -> dict[str, Any]:
    """Describe events (schema EVENTS).

    Parameters
    ----------
    most: how many of the most frequent codes, and of codes with several units, are listed.

    Returns
    -------
    Counts and shares (0 to 1, None where nothing is counted) as JSON-able values; lengths of records in years, births
    left out, never calendar dates. Counts of people are exact: the report withholds small ones.
    """
    dated = events.filter(pl.col("time").is_not_null())
    valued = events.filter(pl.col("numeric_value").is_not_null())
    subjects = events["subject_id"].n_unique()
    late, early = _beyond(dated, DEATH, after=True), _beyond(dated, BIRTH, after=False)
    longest, median = _span(dated)
    mixed = _unit_mix(valued)
    return {
        "n_subjects": subjects,
        "n_events": dated.height,
        "n_static": events.height - dated.height,
        "n_codes": events["code"].n_unique(),
        "longest_record_years": longest,
        "median_record_years": median,
        "median_events_per_subject": _median(events.group_by("subject_id").len()["len"]),
        "share_date_only": _share(dated, pl.col("time_precision") == "day"),
        "share_known_later_than_stamped": _share(dated, pl.col("available_time") > pl.col("time")),
        "share_without_availability": _share(dated, pl.col("available_time").is_null()),
        "share_without_value": _share(events, pl.col("numeric_value").is_null()),
        "share_without_unit": _share(valued, pl.col("unit").is_null()),
        "share_of_people_without_birth": 1 - _subjects_with(events, BIRTH) / subjects if subjects else None,
        "n_repeated_records": events.height - events.unique().height,
        "n_events_after_death": late.height,
        "n_people_with_events_after_death": late["subject_id"].n_unique(),
        "n_events_before_birth": early.height,
        "n_people_with_events_before_birth": early["subject_id"].n_unique(),
        "n_codes_with_several_units": mixed["code"].n_unique(),
        "codes_with_several_units": mixed.filter(
            pl.col("code").is_in(mixed["code"].unique().sort().head(most).to_list())
        ).to_dicts(),
        "most_frequent_codes": _frequent(events, most),
    }


def _share(frame: pl.DataFrame, condition: pl.Expr) -> float | None:
    """Return the share of rows, None without rows."""
    if not frame.height:
        return None
    return int(frame.select(condition.fill_null(False).sum()).item()) / frame.height


def _span(dated: pl.DataFrame) -> tuple[float | None, float | None]:
    """Return the longest and the middle length of a record in years."""
    lengths = (
        dated.filter(pl.col("code") != BIRTH)
        .group_by("subject_id")
        .agg((pl.col("time").max() - pl.col("time").min()).cast(pl.Int64).alias("us"))["us"]
        .sort()
        .to_list()
    )
    return (lengths[-1] / _YEAR, lengths[(len(lengths) - 1) // 2] / _YEAR) if lengths else (None, None)


def _median(sizes: pl.Series) -> int:
    """Return the lower middle."""
    ordered = sizes.sort().to_list()
    return int(ordered[(len(ordered) - 1) // 2]) if ordered else 0


def _subjects_with(events: pl.DataFrame, code: str) -> int:
    return events.filter(pl.col("code") == code)["subject_id"].n_unique()


def _beyond(dated: pl.DataFrame, code: str, *, after: bool) -> pl.DataFrame:
    """Return events after (or before) each subject's ``code``; a date-only limit reaches to the end of its day."""
    limit = pl.col("available_time").max() if after else pl.col("time").min()
    limits = dated.filter(pl.col("code") == code).group_by("subject_id").agg(limit.alias("_limit"))
    joined = dated.filter(pl.col("code") != code).join(limits, on="subject_id")
    return joined.filter(pl.col("time") > pl.col("_limit") if after else pl.col("time") < pl.col("_limit"))


def _unit_mix(valued: pl.DataFrame) -> pl.DataFrame:
    """Return code, unit and values of the codes whose values have several units (no unit counts as one)."""
    return (
        valued.group_by("code", pl.col("unit").fill_null("(none)").alias("unit"))
        .agg(pl.len().alias("values"))
        .filter(pl.len().over("code") > 1)
        .sort("code", "unit")
    )


def _frequent(events: pl.DataFrame, most: int) -> list[dict[str, Any]]:
    found = (
        events.group_by("code")
        .agg(pl.len().alias("n_events"), pl.col("subject_id").n_unique().alias("n_people"))
        .sort("n_events", "code", descending=[True, False])
        .head(most)
    )
    return found.to_dicts()


QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def describe_codes(events: pl.DataFrame) -> pl.DataFrame:
    """Return one row per code, most frequent first.

    Columns code, n_events, n_people, events_per_person, share_with_value, share_date_only, n_units, unit (the one that
    most values have), mean, std, min, p1, p5, p25, p50, p75, p95, p99, max. Quantiles are linear between values.
    """
    value = pl.col("numeric_value").cast(pl.Float64)
    return (
        events.group_by("code")
        .agg(
            pl.len().cast(pl.Int64).alias("n_events"),
            pl.col("subject_id").n_unique().cast(pl.Int64).alias("n_people"),
            (pl.len() / pl.col("subject_id").n_unique()).alias("events_per_person"),
            value.is_not_null().mean().alias("share_with_value"),
            (pl.col("time_precision") == "day").mean().alias("share_date_only"),
            pl.col("unit").filter(value.is_not_null()).n_unique().cast(pl.Int64).alias("n_units"),
            pl.col("unit").filter(value.is_not_null()).drop_nulls().sort().mode().first().alias("unit"),
            value.mean().alias("mean"),
            value.std().alias("std"),
            value.min().alias("min"),
            *(value.quantile(q, "linear").alias(f"p{round(100 * q)}") for q in QUANTILES),
            value.max().alias("max"),
        )
        .sort("n_events", "code", descending=[True, False])
    )


def coverage(events: pl.DataFrame) -> pl.DataFrame:
    """Return year, events and people: what each calendar year holds, births left out."""
    dated = events.filter(pl.col("time").is_not_null() & (pl.col("code") != BIRTH))
    return (
        dated.group_by(pl.col("time").dt.year().cast(pl.Int64).alias("year"))
        .agg(pl.len().cast(pl.Int64).alias("events"), pl.col("subject_id").n_unique().cast(pl.Int64).alias("people"))
        .sort("year")
    )


def gaps(events: pl.DataFrame) -> dict[str, float | int | None]:
    """Return how long people go without any record, in days: median and largest of each person's largest gap.

    Births are left out; ``people`` counts those with two dated records at different times.
    """
    dated = events.filter(pl.col("time").is_not_null() & (pl.col("code") != BIRTH))
    times = dated.select("subject_id", "time").unique().sort("subject_id", "time")
    days = pl.col("time").diff().over("subject_id").cast(pl.Int64) / 86_400_000_000
    longest = (
        times.select("subject_id", days.alias("gap"))
        .drop_nulls()
        .group_by("subject_id")
        .agg(pl.col("gap").max())["gap"]
    )
    if not len(longest):
        return {"people": 0, "median_of_largest": None, "largest": None, "share_over_a_year": None}
    return {
        "people": len(longest),
        "median_of_largest": float(str(longest.median())),
        "largest": float(str(longest.max())),
        "share_over_a_year": int((longest > 365.25).sum()) / len(longest),
    }


FEWEST_FOR_QUARTILES, FEWEST_FOR_TAILS = 20, 200
"""People whose values are needed before quartiles, and before the 5th and 95th percentiles, may stand in a report."""


def value_quantiles(events: pl.DataFrame, *, most: int = 20) -> list[dict[str, Any]]:
    """Return code, unit, n_people and quantiles of the values that most people have: nothing that points at a person.

    Codes whose values have several units, or fewer than 20 people, are left out; p5 and p95 need 200 people.
    """
    value = pl.col("numeric_value").cast(pl.Float64)
    tails = pl.col("n_people") >= FEWEST_FOR_TAILS
    found = (
        events.filter(value.is_finite())
        .group_by("code")
        .agg(
            pl.col("unit").first().alias("unit"),
            pl.col("unit").fill_null("").n_unique().alias("_units"),
            pl.col("subject_id").n_unique().cast(pl.Int64).alias("n_people"),
            *(value.quantile(q / 100, "linear").alias(f"p{q}") for q in (5, 25, 50, 75, 95)),
        )
        .filter((pl.col("_units") == 1) & (pl.col("n_people") >= FEWEST_FOR_QUARTILES))
        .sort("n_people", "code", descending=[True, False])
        .head(most)
        .with_columns(pl.when(tails).then(name).alias(name) for name in ("p5", "p95"))
    )
    return found.drop("_units").to_dicts()
