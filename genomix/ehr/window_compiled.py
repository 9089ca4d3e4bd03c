"""Window aggregates by a compiled kernel: frames in, frames out; see :mod:`genomix.ehr.window_kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.ehr.windows import AGGREGATIONS, COUNT_AGGREGATIONS, PartAggregates, Rows

NEVER = np.iinfo(np.int64).max
SPREAD_AGGREGATIONS = ("std", "slope")
PAIRS_PER_CALL = 500_000
"""Pairs of a row and a record in one call of the kernel: bounds its output, which is trimmed after each call."""

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


class Records(NamedTuple):
    """Dated records in order of person and time: times in us, codes by number, value NaN for none."""

    subject: Int64Array
    time: Int64Array
    known: Int64Array
    code: Int32Array
    value: Float64Array


class Entries(NamedTuple):
    """One entry per (row, code, window) in which something happened, in that order, and the smallest lags.

    values: (aggregations, entries), NaN where missing. known, values_known: (codes, windows) smallest prediction minus
    available time in us, of all records and of those with a value; ``NEVER`` where there is none.
    """

    row: Int64Array
    code: Int32Array
    window: Int32Array
    values: Float32Array
    known: Int64Array
    values_known: Int64Array


def records_of(dated: pl.DataFrame) -> Records:
    """Return a frame of subject_id, time, available_time, code_id and value as arrays in order of person and time."""
    subject, time = _ints(dated["subject_id"]), _ints(dated["time"])
    same = subject[1:] == subject[:-1]
    if not bool(np.all((subject[1:] > subject[:-1]) | (same & (time[1:] >= time[:-1])))):
        dated = dated.sort("subject_id", "time")
        subject, time = _ints(dated["subject_id"]), _ints(dated["time"])
    value = dated["value"].fill_null(float("nan")).to_numpy()
    return Records(subject, time, _ints(dated["available_time"]), dated["code_id"].to_numpy(), value)


def _ints(series: pl.Series) -> Int64Array:
    return series.to_physical().cast(pl.Int64).to_numpy()


def aggregate_compiled(
    dated: pl.DataFrame, rows: Rows, aggregations: Sequence[str], bounds: pl.DataFrame, *, inclusive: bool
) -> PartAggregates:
    """Aggregate the records (subject_id, time, available_time, code_id, value) of some rows."""
    found = entries_of(records_of(dated), rows, aggregations, bounds, inclusive=inclusive)
    values = pl.DataFrame(
        {"row": found.row, "code_id": found.code, "window": found.window}
        | {name: pl.Series(column) for name, column in zip(aggregations, found.values, strict=True)}
    ).with_columns(pl.col(aggregations).fill_nan(None))
    code, window = np.nonzero(found.known != NEVER)
    lags = pl.DataFrame(
        {
            "code_id": code.astype(np.int32),
            "window": window.astype(np.int32),
            "known": found.known[code, window],
            "numeric_known": found.values_known[code, window],
        }
    )
    numeric = pl.when(pl.col("numeric_known") != NEVER).then("numeric_known").alias("numeric_known")
    return PartAggregates(values, lags.with_columns(numeric))


def entries_of(
    records: Records, rows: Rows, aggregations: Sequence[str], bounds: pl.DataFrame, *, inclusive: bool
) -> Entries:
    """Return every entry of some rows.

    Parameters
    ----------
    bounds: code_id (0, 1, ...), low, high, ranged; a row for every code.
    """
    from genomix.ehr import window_kernels as kernels

    frame = rows.frame.sort("row")
    numbers = frame["row"].to_numpy()
    subject = _ints(frame["subject_id"])
    begins = np.searchsorted(records.subject, subject, side="left").astype(np.int64)
    ends = np.searchsorted(records.subject, subject, side="right").astype(np.int64)
    limits = np.column_stack([frame[f"limit_{w}"].to_numpy() for w in range(rows.n_windows)]).astype(np.int64)
    low, high = (bounds[side].cast(pl.Float64).fill_null(float("nan")).to_numpy() for side in ("low", "high"))
    wanted = kernels.COUNTED
    wanted |= kernels.VALUED if any(a not in COUNT_AGGREGATIONS for a in aggregations) else 0
    wanted |= kernels.SPREAD if any(a in SPREAD_AGGREGATIONS for a in aggregations) else 0
    kinds = np.array([AGGREGATIONS.index(a) for a in aggregations], dtype=np.int64)
    shape = (bounds.height, rows.n_windows)
    known, values_known = (np.full(shape, NEVER, dtype=np.int64) for _ in range(2))
    longest = int((ends - begins).max(initial=0))
    order = np.empty(longest, dtype=np.int64)
    parts: list[tuple[Any, ...]] = []
    for a, b in _calls(ends - begins):
        room = int(np.minimum(ends[a:b] - begins[a:b], bounds.height).sum()) * rows.n_windows
        out = [np.empty(room, dtype=np.int32) for _ in range(3)]
        values = np.empty((len(aggregations), room), dtype=np.float32)
        n = kernels.aggregate(
            begins[a:b], ends[a:b], _ints(frame["prediction_time"])[a:b], limits[a:b], 0 if inclusive else 1,
            records.time, records.known, records.code, records.value, low, high, bounds["ranged"].to_numpy(),
            bounds.height, kinds, wanted, *out, values, known, values_known, order,
        )  # fmt: skip
        parts.append((numbers[out[0][:n] + a], out[1][:n].copy(), out[2][:n].copy(), values[:, :n].copy()))
    if not parts:
        none = np.empty(0, dtype=np.int32)
        empty = np.empty((len(aggregations), 0), dtype=np.float32)
        return Entries(none.astype(np.int64), none, none, empty, known, values_known)
    row, code, window, values = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    return Entries(row, code, window, values, known, values_known)


def _calls(sizes: Int64Array) -> list[tuple[int, int]]:
    """Cut rows so that each call has at most about ``PAIRS_PER_CALL`` pairs."""
    number = (np.cumsum(sizes) - 1) // PAIRS_PER_CALL
    cuts = np.flatnonzero(np.diff(number)) + 1
    edges = [0, *cuts.tolist(), len(sizes)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
