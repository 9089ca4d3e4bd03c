"""Aggregates of health records in look-back windows before the prediction time.

Options: see :mod:`genomix.features.record_columns`.

``compute`` makes every candidate column; ``fit`` keeps columns of codes that occur in enough training subjects and
that are not constant in training rows; ``apply`` takes those (a column that no row of a new table has is 0 for counts
and missing for values). Counts are 0 when nothing happened, values and times are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.ehr.windows import (
    NUMERIC_AGGREGATIONS,
    ZERO_WHEN_ABSENT,
    WindowAggregates,
    static_aggregates,
    window_aggregates,
)
from genomix.errors import ConfigError
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.matrix import FeatureBlock, Float32Array, RowArray
from genomix.features.record_columns import (
    FAMILY_NAME,
    LEARNED_COLUMNS,
    RUNG,
    STATIC,
    RecordWindowOptions,
    Units,
    check_range_units,
    chosen_events,
    layout,
    read_options,
    read_ranges,
    stated_units,
    static_layout,
    units_of,
    with_constants,
)
from genomix.schemas.features import COLUMNS

MAX_VALUES = 1_500_000_000
"""Values of one block (6 GB as float32); more is refused with what to change."""


class RecordWindowsFamily:
    """Aggregates of records by code, look-back window and aggregation."""

    name = FAMILY_NAME
    rung = RUNG
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
        events = chosen_events(inputs.events, chosen)
        ranges = None if chosen.ranges is None else read_ranges(Path(chosen.ranges))
        dated = window_aggregates(
            events, index, windows=chosen.windows, aggregations=chosen.aggregations, inclusive=chosen.inclusive,
            ranges=ranges, anchors=inputs.events, device=inputs.device,
        )  # fmt: skip
        units = units_of(stated_units(events, index), chosen)
        check_range_units(ranges, units)
        parts = [_dated_block(dated, units, ranges, chosen, inputs.n_rows)]
        if chosen.static:
            parts.append(_static_block(static_aggregates(events, index), chosen, inputs.n_rows))
        columns = pl.concat([part.columns for part in parts])
        if len(parts) == 1 or not parts[1].columns.height:
            return FeatureBlock(parts[0].values, COLUMNS.validate(columns))
        return FeatureBlock(np.hstack([part.values for part in parts]), COLUMNS.validate(columns))

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn the vocabulary, the columns worth keeping and their outlier bounds from ``rows`` only."""
        chosen = read_options(options)
        values = block.values[rows]
        enough = _in_enough_subjects(values, block.columns, inputs.index["subject_id"].to_numpy()[rows], chosen)
        kept = np.flatnonzero(enough & _varies(values))
        told = block.columns[kept].select("name", "group", "window", "aggregation", "unit", "code", "sentence")
        assert inputs.events is not None
        told = _without_foreign_units(told, inputs.events, inputs.index[rows], chosen)
        learned: Learned = {"min_subjects": chosen.min_subjects}
        if chosen.outlier_quantiles is not None:
            learned["bounds"] = _outlier_bounds(values[:, kept], told, chosen.outlier_quantiles)
            told = _with_bounds_in_words(told, learned["bounds"])
        return {"columns": [list(row) for row in told.iter_rows()], **learned}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return the learned columns, in their learned order."""
        names = [row[0] for row in learned["columns"]]
        position = {name: i for i, name in enumerate(block.columns["name"].to_list())}
        bounds = learned.get("bounds", {})
        values = np.empty((block.values.shape[0], len(names)), dtype=np.float32)
        for i, (name, *_, aggregation, _unit, _code, _sentence) in enumerate(learned["columns"]):
            absent = 0.0 if aggregation in ZERO_WHEN_ABSENT else np.nan
            values[:, i] = block.values[:, position[name]] if name in position else absent
            if name in bounds:
                np.clip(values[:, i], *(np.float32(bound) for bound in bounds[name]), out=values[:, i])
        told = pl.DataFrame(learned["columns"], schema=LEARNED_COLUMNS, orient="row")
        lag = block.columns.select("name", "smallest_lag_days")
        columns = with_constants(told.join(lag, on="name", how="left", maintain_order="left"))
        return FeatureBlock(values, COLUMNS.validate(columns))


FAMILY = RecordWindowsFamily()


def _without_foreign_units(
    told: pl.DataFrame, events: pl.DataFrame, index: pl.DataFrame, chosen: RecordWindowOptions
) -> pl.DataFrame:
    """Take away a unit that only other people's records state: what is learned must not depend on them."""
    own = events.join(index.select("subject_id").unique(), on="subject_id", how="semi")
    stated = units_of(stated_units(chosen_events(own, chosen), index), chosen).frame["code"].to_list()
    numeric = pl.col("aggregation").is_in(NUMERIC_AGGREGATIONS) & ~pl.col("aggregation").is_in(ZERO_WHEN_ABSENT)
    foreign = numeric & ~pl.col("code").is_in(stated)
    ending = pl.concat_str(pl.lit(", "), "unit").fill_null("")
    return told.with_columns(
        pl.when(foreign).then(None).otherwise("unit").alias("unit"),
        pl.when(foreign).then(pl.col("sentence").str.strip_suffix(ending)).otherwise("sentence").alias("sentence"),
    )


def _outlier_bounds(
    values: Float32Array, told: pl.DataFrame, quantiles: tuple[float, float]
) -> dict[str, tuple[float, float]]:
    """Return the bounds of every column that holds values (not counts, not times), by name."""
    bounds = {}
    for i, (name, aggregation) in enumerate(told.select("name", "aggregation").iter_rows()):
        column = values[:, i][~np.isnan(values[:, i])]
        if aggregation not in NUMERIC_AGGREGATIONS or aggregation in ZERO_WHEN_ABSENT or not len(column):
            continue
        low, high = np.quantile(column, quantiles, method="closest_observation")
        bounds[name] = (float(low), float(high))
    return bounds


def _with_bounds_in_words(told: pl.DataFrame, bounds: dict[str, tuple[float, float]]) -> pl.DataFrame:
    said = {name: f" (held within {low:g} to {high:g})" for name, (low, high) in bounds.items()}
    ending = pl.col("name").replace_strict(said, default="", return_dtype=pl.String)
    return told.with_columns((pl.col("sentence") + ending).alias("sentence"))


def _dated_block(
    found: WindowAggregates, units: Units, ranges: pl.DataFrame | None, chosen: RecordWindowOptions, n_rows: int
) -> FeatureBlock:
    seen = found.values.group_by("code_id").agg(pl.col("row").n_unique().alias("rows"))
    valued = found.lags.group_by("code_id").agg(pl.col("numeric_lag_days").is_not_null().any().alias("valued"))
    seen = (
        seen.filter(pl.col("rows") >= chosen.min_rows)
        .join(valued, on="code_id")
        .join(found.codes, on="code_id")
        .sort("code")
    )
    columns = layout(seen, found.lags, units, ranges, chosen)
    if columns.height * n_rows > MAX_VALUES:
        raise ConfigError(
            f"record_windows would make {columns.height} columns of {n_rows} rows",
            hint="fewer windows or aggregations, include/exclude, code_depth or roll_up",
        )
    return FeatureBlock(_fill(found.values, columns, chosen, n_rows), with_constants(columns))


def _fill(values: pl.DataFrame, columns: pl.DataFrame, chosen: RecordWindowOptions, n_rows: int) -> Float32Array:
    """Put aggregates into a dense array; absent is 0 for counts and NaN for the rest."""
    zero = columns["aggregation"].is_in(ZERO_WHEN_ABSENT).to_numpy()
    dense = np.full((n_rows, columns.height), np.nan, dtype=np.float32)
    dense[:, zero] = 0
    n_codes = int(columns["code_id"].to_numpy().max()) + 1 if columns.height else 0
    place = np.full((n_codes, len(chosen.windows), len(chosen.aggregations)), -1, dtype=np.int64)
    at = columns.select("code_id", "window_id", "kind").to_numpy()
    place[at[:, 0], at[:, 1], at[:, 2]] = np.arange(columns.height)
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
    values = []
    for code, valued in seen.select("code", "valued").iter_rows():
        mine = found.filter(pl.col("code") == code)
        has = np.zeros(n_rows, dtype=np.float32)
        has[mine["row"].to_numpy()] = 1
        values.append(has)
        if valued:
            value = np.full(n_rows, np.nan, dtype=np.float32)
            value[mine["row"].to_numpy()] = mine["value"].fill_null(float("nan")).to_numpy()
            values.append(value)
    dense = np.column_stack(values) if values else np.empty((n_rows, 0), dtype=np.float32)
    return FeatureBlock(dense, with_constants(static_layout(seen, chosen)))


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
