"""Columns made of records in look-back windows: options, which codes count, units, ranges, and each column's words.

Options
-------
windows: look-back windows, default 1d, 30d, 365d, full; ``since:CODE`` begins with the last record of CODE.
counts: aggregations of records, of count, has, distinct_days, time_since_first, time_since_last (default count,
time_since_last). numeric: aggregations of values, of first, last, min, max, mean, sum, std, slope, has_value,
out_of_range_count (default last, min, max, mean). include, exclude: regular expressions on codes (births and sex are
always left to ``demographics``). code_depth: roll codes up to their first parts (``//``); roll_up: a table that maps
codes to groups (:mod:`genomix.ehr.roll_up`), with roll_up_keep ``groups`` (default: groups take the codes' place,
codes without one are left out) or ``both``; a rolled-up code that joins values of several units has no numeric
columns. any_record: also all records as one code, ``_ANY_EVENT``, with the counts (how busy a record is; default
false). ranges: a table of code, low, high and unit for out_of_range_count. min_subjects: a code must occur in this
many training subjects (default 20). min_rows: leave out codes that occur in fewer rows before anything is learned
(default 1: none; for memory). outlier_quantiles: two shares; values beyond these quantiles of the training rows are
set to them (default: none). static: also records without a time (default true). prediction_time: inclusive (default)
or exclusive. descriptions: code → words, for the sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.ehr.roll_up import groups_of, read_roll_up
from genomix.ehr.vocabulary import choose, in_words, roll_up, window_in_words
from genomix.ehr.windows import COUNT_AGGREGATIONS, DEFAULT_WINDOWS, NUMERIC_AGGREGATIONS, window_length
from genomix.errors import ConfigError, FormatError, InputNotFoundError
from genomix.features.family import Options
from genomix.io.record_rows import table_parts
from genomix.schemas.features import COLUMNS

FAMILY_NAME = "record_windows"
RUNG = "records"
STATIC = "static"
ANY_RECORD = "_ANY_EVENT"
DEMOGRAPHIC_CODES = ("^MEDS_BIRTH$", "^(?i:GENDER|SEX)//")

_SAY = {
    "count": "number of records of {what} {when}",
    "has": "any record of {what} {when}",
    "distinct_days": "number of days with a record of {what} {when}",
    "time_since_first": "days since the first record of {what}, {when}",
    "time_since_last": "days since the last record of {what}, {when}",
    "first": "first {what} {when}",
    "last": "last {what} {when}",
    "min": "lowest {what} {when}",
    "max": "highest {what} {when}",
    "mean": "mean {what} {when}",
    "sum": "sum of {what} {when}",
    "std": "standard deviation of {what} {when}",
    "slope": "change per day of {what} {when}",
    "has_value": "any value of {what} {when}",
    "out_of_range_count": "number of values of {what} outside {range} {when}",
}
_UNIT = {
    "count": "1", "has": "1", "distinct_days": "d", "time_since_first": "d", "time_since_last": "d", "has_value": "1",
    "out_of_range_count": "1",
}  # fmt: skip
_UNIT_IN_WORDS = ("first", "last", "min", "max", "mean", "sum", "std", "slope")

LEARNED_COLUMNS: dict[str, Any] = dict.fromkeys(
    ("name", "group", "window", "aggregation", "unit", "code", "sentence"), pl.String
)


@dataclass(frozen=True)
class RecordWindowOptions:
    """The family's options, see the module's docstring."""

    windows: tuple[str, ...] = DEFAULT_WINDOWS
    counts: tuple[str, ...] = ("count", "time_since_last")
    numeric: tuple[str, ...] = ("last", "min", "max", "mean")
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    code_depth: int | None = None
    roll_up: str | None = None
    roll_up_keep: str = "groups"
    any_record: bool = False
    ranges: str | None = None
    min_subjects: int = 20
    min_rows: int = 1
    outlier_quantiles: tuple[float, float] | None = None
    static: bool = True
    prediction_time: str = "inclusive"
    descriptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def aggregations(self) -> tuple[str, ...]:
        """Counting aggregations, then numeric ones."""
        return self.counts + self.numeric

    @property
    def inclusive(self) -> bool:
        """Whether records at the prediction time itself count."""
        return self.prediction_time == "inclusive"

    @property
    def joins_codes(self) -> bool:
        """Whether several codes may become one."""
        return self.code_depth is not None or self.roll_up is not None


def read_options(options: Options) -> RecordWindowOptions:
    """Check the options and fill in defaults; anything unknown is a :class:`ConfigError` that says what is allowed."""
    known = RecordWindowOptions.__dataclass_fields__
    for key in options:
        if key not in known:
            raise ConfigError(f"record_windows has no option {key!r}", hint="one of: " + ", ".join(known))
    found: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    chosen = RecordWindowOptions(**found)
    for key, given, allowed in (
        ("counts", chosen.counts, COUNT_AGGREGATIONS),
        ("numeric", chosen.numeric, NUMERIC_AGGREGATIONS),
        ("prediction_time", (chosen.prediction_time,), ("inclusive", "exclusive")),
        ("roll_up_keep", (chosen.roll_up_keep,), ("groups", "both")),
    ):
        wrong = [g for g in given if g not in allowed]
        if wrong:
            raise ConfigError(f"{key}: {wrong[0]!r} is unknown", hint="one of: " + ", ".join(allowed))
    if chosen.code_depth is not None and chosen.roll_up is not None:
        raise ConfigError("code_depth and roll_up both roll codes up", hint="give one of them")
    if not chosen.aggregations:
        raise ConfigError("record_windows has no aggregation", hint='counts = ["count"]')
    if ("out_of_range_count" in chosen.numeric) != (chosen.ranges is not None):
        raise ConfigError("out_of_range_count and a table of ranges need each other", hint='ranges = "ranges.csv"')
    _check_quantiles(chosen.outlier_quantiles)
    for window in chosen.windows:
        window_length(window)
    return chosen


def _check_quantiles(given: tuple[float, ...] | None) -> None:
    if given is not None and not (len(given) == 2 and 0 <= given[0] < given[1] <= 1):
        raise ConfigError(f"outlier_quantiles is {list(given)}", hint="two shares, for example [0.005, 0.995]")


def with_constants(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the columns of COLUMNS that are the same for the whole family."""
    return frame.with_columns(
        pl.lit(FAMILY_NAME).alias("family"), pl.lit(RUNG).alias("rung"), pl.lit("records").alias("source")
    ).select(COLUMNS.names)


def rolled_names(codes: pl.Series, chosen: RecordWindowOptions) -> pl.DataFrame:
    """Return code and rolled: the code or codes under which the chosen codes' events count."""
    codes = choose(codes.sort(), include=chosen.include, exclude=(*DEMOGRAPHIC_CODES, *chosen.exclude))
    itself = pl.DataFrame({"code": codes, "rolled": roll_up(codes, chosen.code_depth)})
    if chosen.roll_up is None:
        return itself
    groups = groups_of(codes, read_roll_up(Path(chosen.roll_up))).rename({"group": "rolled"})
    return pl.concat([itself, groups]).unique().sort("code", "rolled") if chosen.roll_up_keep == "both" else groups


def chosen_events(events: pl.DataFrame, chosen: RecordWindowOptions) -> pl.DataFrame:
    """Keep events of the chosen codes, rolled up; with ``any_record`` all dated ones once more, without values."""
    kept = events.join(rolled_names(events["code"].unique(), chosen), on="code", how="inner")
    kept = kept.with_columns(pl.col("rolled").alias("code")).drop("rolled")
    if not chosen.any_record:
        return kept
    every = events.filter(pl.col("time").is_not_null() & (pl.col("code") != "MEDS_BIRTH")).with_columns(
        pl.lit(ANY_RECORD).alias("code"),
        *(pl.lit(None, dtype=events.schema[c]).alias(c) for c in ("numeric_value", "unit")),
    )
    return pl.concat([kept, every])


def read_ranges(path: Path) -> pl.DataFrame:
    """Read a table of code, low, high and unit (CSV, TSV or Parquet); low, high and unit may be empty.

    Raises
    ------
    InputNotFoundError: no such file. FormatError: a missing column, a bound that is no number, low above high, a code
        without a bound or with two lines; it names the row.
    """
    if not path.is_file():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    parts = [p.frame for p in table_parts(path)]
    table = pl.concat(parts) if parts else pl.DataFrame()
    missing = [c for c in ("code", "low", "high") if c not in table.columns]
    if missing:
        raise FormatError(f"there is no column {missing[0]!r}", where=str(path), hint="code, low, high, unit")
    if "unit" not in table.columns:
        table = table.with_columns(pl.lit(None, dtype=pl.String).alias("unit"))
    text = [pl.col(c).cast(pl.String).str.strip_chars().replace("", None) for c in ("code", "low", "high", "unit")]
    given = table.select(text)
    typed = given.with_columns(pl.col("low", "high").cast(pl.Float32, strict=False))
    problems = {
        "code is empty": typed["code"].is_null(),
        "low is not a number": typed["low"].is_null() & given["low"].is_not_null(),
        "high is not a number": typed["high"].is_null() & given["high"].is_not_null(),
        "there is neither low nor high": typed["low"].is_null() & typed["high"].is_null(),
        "low is above high": (typed["low"] > typed["high"]).fill_null(False),
        "the code has a line already": ~typed["code"].is_first_distinct(),
    }
    for words, broken in problems.items():
        if broken.any():
            raise FormatError(words, where=f"{path} row {int(broken.arg_max() or 0) + 1}")
    return typed


class Units(NamedTuple):
    """Unit per code (code, unit; one at most), and the codes whose values may not be aggregated."""

    frame: pl.DataFrame
    mixed: tuple[str, ...]


def units_of(stated: pl.DataFrame, chosen: RecordWindowOptions) -> Units:
    """Find each code's unit among the (code, unit) that its values have.

    Raises
    ------
    FormatError: a code has several units, unless codes were rolled up: then its values are not aggregated.
    """
    seen = stated.group_by("code").agg(pl.col("unit").min(), pl.col("unit").max().alias("_other")).sort("code")
    mixed = seen.filter(pl.col("unit") != pl.col("_other"))
    if mixed.height and not chosen.joins_codes:
        code, unit, other = mixed.row(0)
        raise FormatError(
            f"{code} has values in {unit} and in {other}, which cannot be aggregated together",
            hint="harmonise units before features are made",
        )
    same = seen.filter(pl.col("unit") == pl.col("_other")).select("code", "unit")
    return Units(same, tuple(mixed["code"].to_list()))


def stated_units(events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """Return the (code, unit) of values known before some prediction."""
    limits = index.group_by("subject_id").agg(pl.col("prediction_time").max().alias("_limit"))
    return (
        events.filter(pl.col("numeric_value").is_not_null() & pl.col("unit").is_not_null())
        .join(limits, on="subject_id")
        .filter((pl.col("time") <= pl.col("_limit")) & (pl.col("available_time") <= pl.col("_limit")))
        .select("code", "unit")
        .unique()
    )


def check_range_units(ranges: pl.DataFrame | None, units: Units) -> None:
    """Raise a :class:`FormatError` where a range is in another unit than its code's values."""
    if ranges is None:
        return
    other = ranges.join(units.frame, on="code", suffix="_of_values").filter(pl.col("unit") != pl.col("unit_of_values"))
    if other.height:
        row = other.row(0, named=True)
        raise FormatError(
            f"the range of {row['code']} is in {row['unit']}, its values in {row['unit_of_values']}",
            hint="state the range in the unit of the values",
        )


def layout(
    seen: pl.DataFrame, lags: pl.DataFrame, units: Units, ranges: pl.DataFrame | None, chosen: RecordWindowOptions
) -> pl.DataFrame:
    """Return one row per column in its order (code, window, aggregation), with its words.

    Parameters
    ----------
    seen: code_id, code, valued (whether it has values), in the order of the columns. lags: code_id, window, lag_days,
        numeric_lag_days.

    Returns
    -------
    The columns of COLUMNS that a family does not share, and code_id, window_id, kind (place in the aggregations).
    """
    windows = pl.DataFrame(
        {
            "window": list(chosen.windows),
            "window_id": pl.Series(range(len(chosen.windows)), dtype=pl.Int32),
            "_when": [window_in_words(w) for w in chosen.windows],
        }
    )
    kinds = pl.DataFrame(
        {
            "aggregation": list(chosen.aggregations),
            "kind": pl.Series(range(len(chosen.aggregations)), dtype=pl.Int32),
            "_numeric": [a in NUMERIC_AGGREGATIONS for a in chosen.aggregations],
        }
    )
    words = pl.Series("group", [_words(c, chosen) for c in seen["code"].to_list()], dtype=pl.String)
    bounds = pl.DataFrame(schema={"code": pl.String, "_range": pl.String}) if ranges is None else _range_words(ranges)
    grid = (
        seen.select("code_id", "code", pl.col("valued") & ~pl.col("code").is_in(units.mixed))
        .with_columns(words)
        .join(units.frame, on="code", how="left", maintain_order="left")
        .join(bounds, on="code", how="left", maintain_order="left")
        .join(windows, how="cross")
        .join(kinds, how="cross")
        .filter(~pl.col("_numeric") | pl.col("valued"))
        .filter((pl.col("aggregation") != "out_of_range_count") | pl.col("_range").is_not_null())
        .join(
            lags, left_on=["code_id", "window_id"], right_on=["code_id", "window"], how="left", maintain_order="left"
        )
    )  # fmt: skip
    say = pl.lit("")
    for aggregation in chosen.aggregations:
        before, _, after = _SAY[aggregation].partition("{what}")
        middle, _, rest = after.replace("{when}", "").partition("{range}")
        bounds_too = [pl.col("_range"), pl.lit(rest)] if rest else []
        text = pl.concat_str(pl.lit(before), "group", pl.lit(middle), *bounds_too, "_when")
        say = pl.when(pl.col("aggregation") == aggregation).then(text).otherwise(say)
    fixed = pl.col("aggregation").replace_strict(_UNIT, default=None, return_dtype=pl.String)
    unit = pl.when(pl.col("aggregation") == "slope").then(pl.col("unit") + "/d").otherwise("unit")
    said_unit = pl.when(pl.col("aggregation").is_in(_UNIT_IN_WORDS) & unit.is_not_null()).then(
        pl.concat_str(pl.lit(", "), unit)
    )
    return grid.select(
        pl.concat_str(pl.lit("records:"), "code", pl.lit(":"), "aggregation", pl.lit(":"), "window").alias("name"),
        "group", "window", "aggregation", pl.coalesce(fixed, unit).alias("unit"), "code",
        pl.concat_str(say, said_unit.fill_null("")).alias("sentence"),
        pl.when("_numeric").then("numeric_lag_days").otherwise("lag_days").alias("smallest_lag_days"),
        "code_id", "window_id", "kind",
    )  # fmt: skip


def _words(code: str, chosen: RecordWindowOptions) -> str:
    return "any kind" if code == ANY_RECORD else in_words(code, chosen.descriptions)


def _range_words(ranges: pl.DataFrame) -> pl.DataFrame:
    """Return code and its range in words, with the unit."""
    texts = []
    for low, high, unit in ranges.select("low", "high", "unit").iter_rows():
        between = f"{low:g} to {high:g}" if low is not None and high is not None else ""
        one = f"at least {low:g}" if high is None else f"at most {high:g}"
        texts.append((between or one) + (f" {unit}" if unit else ""))
    return pl.DataFrame({"code": ranges["code"], "_range": pl.Series(texts, dtype=pl.String)})


def static_layout(seen: pl.DataFrame, chosen: RecordWindowOptions) -> pl.DataFrame:
    """Return the columns of records without a time: ``has`` for every code, ``value`` for those with one.

    seen: code, valued, in the order of the columns.
    """
    columns = []
    for code, valued in seen.select("code", "valued").iter_rows():
        words = in_words(code, chosen.descriptions)
        columns.append(
            [f"records:{code}:has:{STATIC}", words, STATIC, "has", "1", code, f"{words} is recorded (no date)"]
        )
        if valued:
            columns.append([f"records:{code}:value:{STATIC}", words, STATIC, "value", None, code, f"{words} (no date)"])
    return pl.DataFrame(columns, schema=LEARNED_COLUMNS, orient="row").with_columns(
        pl.lit(None, dtype=pl.Float64).alias("smallest_lag_days")
    )
