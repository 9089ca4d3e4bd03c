"""Aggregates of health records in look-back windows before the prediction time.

Options
-------
windows: look-back windows, default 1d, 30d, 365d, full. counts: aggregations of records, of count, has,
time_since_last (default count, time_since_last). numeric: aggregations of values, of first, last, min, max, mean,
sum, std, slope (default last, min, max, mean). include, exclude: regular expressions on codes (births and sex are
always left to ``demographics``). code_depth: roll codes up to their first parts (``//``); roll_up: a table that maps
codes to groups (:mod:`genomix.ehr.roll_up`), with roll_up_keep ``groups`` (default: groups take the codes' place,
codes without one are left out) or ``both``; a rolled-up code that joins values of several units has no numeric
columns. min_subjects: a code must occur in this many training subjects (default 20). min_rows: leave out codes that
occur in fewer rows before anything is learned (default 1: none; for memory). static: also records without a time
(default true). prediction_time: inclusive (default) or exclusive. descriptions: code → words, for the sentences.

``compute`` makes every candidate column; ``fit`` keeps columns of codes that occur in enough training subjects and
that are not constant in training rows; ``apply`` takes those (a column that no row of a new table has is 0 for counts
and missing for values). Counts are 0 when nothing happened, values and times are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.ehr.roll_up import groups_of, read_roll_up
from genomix.ehr.vocabulary import choose, in_words, roll_up, window_in_words
from genomix.ehr.windows import (
    COUNT_AGGREGATIONS,
    DEFAULT_WINDOWS,
    NUMERIC_AGGREGATIONS,
    WindowAggregates,
    static_aggregates,
    window_aggregates,
    window_length,
)  # fmt: skip
from genomix.errors import ConfigError, FormatError
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.matrix import FeatureBlock, Float32Array, RowArray
from genomix.schemas.features import COLUMNS

ZERO_WHEN_ABSENT = ("count", "has")
STATIC = "static"
DEMOGRAPHIC_CODES = ("^MEDS_BIRTH$", "^(?i:GENDER|SEX)//")
MAX_VALUES = 1_500_000_000
"""Values of one block (6 GB as float32); more is refused with what to change."""

_SAY = {
    "count": "number of records of {what} {when}",
    "has": "any record of {what} {when}",
    "time_since_last": "days since the last record of {what}, {when}",
    "first": "first {what} {when}",
    "last": "last {what} {when}",
    "min": "lowest {what} {when}",
    "max": "highest {what} {when}",
    "mean": "mean {what} {when}",
    "sum": "sum of {what} {when}",
    "std": "standard deviation of {what} {when}",
    "slope": "change per day of {what} {when}",
}


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
    min_subjects: int = 20
    min_rows: int = 1
    static: bool = True
    prediction_time: str = "inclusive"
    descriptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def aggregations(self) -> tuple[str, ...]:
        """Counting aggregations, then numeric ones."""
        return self.counts + self.numeric

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
    for window in chosen.windows:
        window_length(window)
    return chosen


class RecordWindowsFamily:
    """Aggregates of records by code, look-back window and aggregation."""

    name = "record_windows"
    rung = "records"
    learns = True
    needs = frozenset({"records"})

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Return every candidate column: each code that occurs before some row's prediction time."""
        chosen = read_options(options)
        assert inputs.events is not None
        if inputs.index["prediction_time"].null_count():
            raise ConfigError("record_windows needs a prediction time on every row", hint="give the study a [task]")
        index = inputs.index.select("row", "subject_id", "prediction_time").with_columns(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
        )
        events = _chosen_events(inputs.events, chosen)
        dated = window_aggregates(
            events, index, windows=chosen.windows, aggregations=chosen.aggregations,
            inclusive=chosen.prediction_time == "inclusive", device=inputs.device,
        )  # fmt: skip
        parts = [_dated_block(dated, _units(events, index, dated.codes, chosen), chosen, inputs.n_rows)]
        if chosen.static:
            parts.append(_static_block(static_aggregates(events, index), chosen, inputs.n_rows))
        columns = pl.concat([part.columns for part in parts])
        if len(parts) == 1 or not parts[1].columns.height:
            return FeatureBlock(parts[0].values, COLUMNS.validate(columns))
        return FeatureBlock(np.hstack([part.values for part in parts]), COLUMNS.validate(columns))

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn the vocabulary and the columns worth keeping from ``rows`` only."""
        chosen = read_options(options)
        values = block.values[rows]
        enough = _in_enough_subjects(values, block.columns, inputs.index["subject_id"].to_numpy()[rows], chosen)
        kept = np.flatnonzero(enough & _varies(values))
        told = block.columns[kept].select("name", "group", "window", "aggregation", "unit", "code", "sentence")
        assert inputs.events is not None
        told = _without_foreign_units(told, inputs.events, inputs.index[rows], chosen)
        return {"columns": [list(row) for row in told.iter_rows()], "min_subjects": chosen.min_subjects}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return the learned columns, in their learned order."""
        names = [row[0] for row in learned["columns"]]
        position = {name: i for i, name in enumerate(block.columns["name"].to_list())}
        values = np.empty((block.values.shape[0], len(names)), dtype=np.float32)
        for i, (name, *_, aggregation, _unit, _code, _sentence) in enumerate(learned["columns"]):
            absent = 0.0 if aggregation in ZERO_WHEN_ABSENT else np.nan
            values[:, i] = block.values[:, position[name]] if name in position else absent
        told = pl.DataFrame(learned["columns"], schema=_LEARNED, orient="row")
        lag = block.columns.select("name", "smallest_lag_days")
        columns = _with_constants(told.join(lag, on="name", how="left", maintain_order="left"))
        return FeatureBlock(values, COLUMNS.validate(columns))


FAMILY = RecordWindowsFamily()

_LEARNED: dict[str, Any] = dict.fromkeys(
    ("name", "group", "window", "aggregation", "unit", "code", "sentence"), pl.String
)


def _with_constants(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(RecordWindowsFamily.name).alias("family"),
        pl.lit(RecordWindowsFamily.rung).alias("rung"),
        pl.lit("records").alias("source"),
    ).select(COLUMNS.names)


def _chosen_events(events: pl.DataFrame, chosen: RecordWindowOptions) -> pl.DataFrame:
    """Keep events of the chosen codes, rolled up."""
    codes = choose(
        events["code"].unique().sort(), include=chosen.include, exclude=(*DEMOGRAPHIC_CODES, *chosen.exclude)
    )
    kept = events.join(_rolled_names(codes, chosen), on="code", how="inner")
    return kept.with_columns(pl.col("_rolled").alias("code")).drop("_rolled")


def _rolled_names(codes: pl.Series, chosen: RecordWindowOptions) -> pl.DataFrame:
    """Return code and _rolled, the code or codes under which a code's events count."""
    itself = pl.DataFrame({"code": codes, "_rolled": roll_up(codes, chosen.code_depth)})
    if chosen.roll_up is None:
        return itself
    groups = groups_of(codes, read_roll_up(Path(chosen.roll_up))).rename({"group": "_rolled"})
    return pl.concat([itself, groups]).unique().sort("code", "_rolled") if chosen.roll_up_keep == "both" else groups


class _Units(NamedTuple):
    """Unit per code_id (one at most), and the code_ids whose values may be aggregated."""

    frame: pl.DataFrame
    mixed: pl.DataFrame


def _units(events: pl.DataFrame, index: pl.DataFrame, codes: pl.DataFrame, chosen: RecordWindowOptions) -> _Units:
    """Find each code's unit among values known before some prediction.

    Several units are an error; where codes were rolled up, the code's values are not aggregated.
    """
    limits = index.group_by("subject_id").agg(pl.col("prediction_time").max().alias("_limit"))
    seen = (
        events.filter(pl.col("numeric_value").is_not_null() & pl.col("unit").is_not_null())
        .join(limits, on="subject_id")
        .filter((pl.col("time") <= pl.col("_limit")) & (pl.col("available_time") <= pl.col("_limit")))
        .group_by("code")
        .agg(pl.col("unit").min(), pl.col("unit").max().alias("_other"))
        .join(codes, on="code")
        .sort("code_id")
    )
    mixed = seen.filter(pl.col("unit") != pl.col("_other"))
    if mixed.height and not chosen.joins_codes:
        code, unit, other = mixed.row(0)[:3]
        raise FormatError(
            f"{code} has values in {unit} and in {other}, which cannot be aggregated together",
            hint="harmonise units before features are made",
        )
    return _Units(seen.filter(pl.col("unit") == pl.col("_other")).select("code_id", "unit"), mixed.select("code_id"))


def _without_foreign_units(
    told: pl.DataFrame, events: pl.DataFrame, index: pl.DataFrame, chosen: RecordWindowOptions
) -> pl.DataFrame:
    """Take away a unit that only other people's records state: what is learned must not depend on them."""
    own = events.join(index.select("subject_id").unique(), on="subject_id", how="semi")
    codes = told.select("code").unique().sort("code").with_row_index("code_id")
    stated = _units(_chosen_events(own, chosen), index, codes, chosen).frame.join(codes, on="code_id")["code"]
    foreign = pl.col("aggregation").is_in(NUMERIC_AGGREGATIONS) & ~pl.col("code").is_in(stated.to_list())
    ending = pl.concat_str(pl.lit(", "), "unit").fill_null("")
    return told.with_columns(
        pl.when(foreign).then(None).otherwise("unit").alias("unit"),
        pl.when(foreign).then(pl.col("sentence").str.strip_suffix(ending)).otherwise("sentence").alias("sentence"),
    )


def _dated_block(found: WindowAggregates, units: _Units, chosen: RecordWindowOptions, n_rows: int) -> FeatureBlock:
    seen = found.values.group_by("code_id").agg(pl.col("row").n_unique().alias("rows"))
    valued = found.lags.group_by("code_id").agg(pl.col("numeric_lag_days").is_not_null().any().alias("_valued"))
    seen = (
        seen.filter(pl.col("rows") >= chosen.min_rows)
        .join(valued, on="code_id")
        .join(found.codes, on="code_id")
        .join(units.frame, on="code_id", how="left")
        .with_columns((pl.col("_valued") & ~pl.col("code_id").is_in(units.mixed["code_id"].to_list())).alias("_valued"))
        .sort("code")
    )
    layout = _layout(seen, found.lags, chosen)
    if layout.height * n_rows > MAX_VALUES:
        raise ConfigError(
            f"record_windows would make {layout.height} columns of {n_rows} rows",
            hint="fewer windows or aggregations, include/exclude, code_depth, or min_rows",
        )
    return FeatureBlock(_fill(found.values, layout, chosen, n_rows), _with_constants(layout))


def _layout(seen: pl.DataFrame, lags: pl.DataFrame, chosen: RecordWindowOptions) -> pl.DataFrame:
    """Return one row per column in its order: code, window, aggregation; with its words."""
    windows = pl.DataFrame(
        {
            "window": list(chosen.windows),
            "_window": pl.Series(range(len(chosen.windows)), dtype=pl.Int32),
            "_when": [window_in_words(w) for w in chosen.windows],
        }
    )
    kinds = pl.DataFrame(
        {
            "aggregation": list(chosen.aggregations),
            "_kind": pl.Series(range(len(chosen.aggregations)), dtype=pl.Int32),
            "_numeric": [a in NUMERIC_AGGREGATIONS for a in chosen.aggregations],
        }
    )
    words = pl.Series("group", [in_words(c, chosen.descriptions) for c in seen["code"].to_list()], dtype=pl.String)
    grid = seen.select("code_id", "code", "unit", "_valued").with_columns(words)
    grid = grid.join(windows, how="cross").join(kinds, how="cross").filter(~pl.col("_numeric") | pl.col("_valued"))
    grid = grid.join(
        lags, left_on=["code_id", "_window"], right_on=["code_id", "window"], how="left", maintain_order="left"
    )  # fmt: skip
    say = pl.lit("")
    for aggregation in chosen.aggregations:
        before, _, after = _SAY[aggregation].partition("{what}")
        text = pl.concat_str(pl.lit(before), "group", pl.lit(after.replace("{when}", "")), "_when")
        say = pl.when(pl.col("aggregation") == aggregation).then(text).otherwise(say)
    unit = (
        pl.when(pl.col("aggregation") == "count").then(pl.lit("1"))
        .when(pl.col("aggregation") == "has").then(pl.lit("1"))
        .when(pl.col("aggregation") == "time_since_last").then(pl.lit("d"))
        .when(pl.col("aggregation") == "slope").then(pl.col("unit") + "/d")
        .otherwise("unit")
    )  # fmt: skip
    said_unit = pl.when(pl.col("_numeric") & unit.is_not_null()).then(pl.concat_str(pl.lit(", "), unit))
    return grid.select(
        pl.concat_str(pl.lit("records:"), "code", pl.lit(":"), "aggregation", pl.lit(":"), "window").alias("name"),
        "group", "window", "aggregation", unit.alias("unit"), "code",
        pl.concat_str(say, said_unit.fill_null("")).alias("sentence"),
        pl.when("_numeric").then("numeric_lag_days").otherwise("lag_days").alias("smallest_lag_days"),
        "code_id", "_window", "_kind",
    )  # fmt: skip


def _fill(values: pl.DataFrame, layout: pl.DataFrame, chosen: RecordWindowOptions, n_rows: int) -> Float32Array:
    """Put aggregates into a dense array; absent is 0 for counts and NaN for the rest."""
    zero = layout["aggregation"].is_in(ZERO_WHEN_ABSENT).to_numpy()
    dense = np.full((n_rows, layout.height), np.nan, dtype=np.float32)
    dense[:, zero] = 0
    n_codes = int(layout["code_id"].to_numpy().max()) + 1 if layout.height else 0
    place = np.full((n_codes, len(chosen.windows), len(chosen.aggregations)), -1, dtype=np.int64)
    at = layout.select("code_id", "_window", "_kind").to_numpy()
    place[at[:, 0], at[:, 1], at[:, 2]] = np.arange(layout.height)
    values = values.filter(pl.col("code_id") < n_codes)
    row, code, window = (values[c].to_numpy() for c in ("row", "code_id", "window"))
    for kind, aggregation in enumerate(chosen.aggregations):
        column = place[code, window, kind]
        here = (column >= 0) & values[aggregation].is_not_null().to_numpy()
        dense[row[here], column[here]] = values[aggregation].to_numpy()[here]
    return dense


def _static_block(found: pl.DataFrame, chosen: RecordWindowOptions, n_rows: int) -> FeatureBlock:
    """Return ``has`` for every static code, and its value where it has one."""
    seen = (
        found.group_by("code").agg(pl.len().alias("rows"), pl.col("value").is_not_null().any().alias("valued"))
        .filter(pl.col("rows") >= chosen.min_rows).sort("code")
    )  # fmt: skip
    columns, values = [], []
    for code, _, valued in seen.iter_rows():
        mine = found.filter(pl.col("code") == code)
        words = in_words(code, chosen.descriptions)
        has = np.zeros(n_rows, dtype=np.float32)
        has[mine["row"].to_numpy()] = 1
        values.append(has)
        columns.append(
            [f"records:{code}:has:{STATIC}", words, STATIC, "has", "1", code, f"{words} is recorded (no date)"]
        )
        if valued:
            value = np.full(n_rows, np.nan, dtype=np.float32)
            value[mine["row"].to_numpy()] = mine["value"].fill_null(float("nan")).to_numpy()
            values.append(value)
            columns.append([f"records:{code}:value:{STATIC}", words, STATIC, "value", None, code, f"{words} (no date)"])
    told = pl.DataFrame(columns, schema=_LEARNED, orient="row").with_columns(
        pl.lit(None, dtype=pl.Float64).alias("smallest_lag_days")
    )
    dense = np.column_stack(values) if values else np.empty((n_rows, 0), dtype=np.float32)
    return FeatureBlock(dense, _with_constants(told))


def _in_enough_subjects(
    values: Float32Array, columns: pl.DataFrame, subjects: np.ndarray[Any, Any], chosen: RecordWindowOptions
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say for each column whether its code occurs in at least ``min_subjects`` of these rows' subjects."""
    if not columns.height:
        return np.zeros(0, dtype=bool)
    counts = columns["aggregation"].is_in(ZERO_WHEN_ABSENT).to_numpy()
    # The columns of one code lie side by side; its static ones come apart from its dated ones.
    code, static = pl.col("code"), pl.col("window") == STATIC
    new = columns.select(((code != code.shift()) | (static != static.shift())).fill_null(True)).to_series()
    begins = np.flatnonzero(new.to_numpy())
    _, owner = np.unique(subjects, return_inverse=True)
    enough = np.zeros(columns.height, dtype=bool)
    for begin, end in zip(begins, [*begins[1:], columns.height], strict=True):
        part = values[:, begin:end]
        occurs = np.where(counts[begin:end], part > 0, ~np.isnan(part)).any(axis=1)
        enough[begin:end] = len(np.unique(owner[occurs])) >= chosen.min_subjects
    return enough


def _varies(values: Float32Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say for each column whether it has two different values, or is missing on some rows only."""
    if not len(values):
        return np.zeros(values.shape[1], dtype=bool)
    missing = np.isnan(values)
    low = np.where(missing, np.inf, values).min(axis=0)
    high = np.where(missing, -np.inf, values).max(axis=0)
    n_missing = missing.sum(axis=0)
    return np.asarray((low < high) | ((n_missing > 0) & (n_missing < len(values))))
