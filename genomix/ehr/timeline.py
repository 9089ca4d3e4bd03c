"""Where a predicate holds in each subject's record, as sorted integers that answer counts and searches at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.ehr.task import ANY_EVENT, RECORD_END, RECORD_START, DerivedPredicate, PlainPredicate, Predicate

Integers = npt.NDArray[np.int64]
MISSING = np.int64(np.iinfo(np.int64).min)
"""Stands for a time that does not exist."""


@dataclass(frozen=True)
class Points:
    """Sorted keys (subject × stride + rank of the time), and how many records lie at and before each."""

    keys: Integers
    cumulative: Integers


@dataclass(frozen=True)
class Timeline:
    """Points of every predicate. ``first`` and ``last`` are each subject's first and last dated record (us)."""

    subjects: Integers
    times: Integers
    points: dict[str, Points]
    first: Integers
    last: Integers

    def _key(self, subject: Integers, time: Integers, *, after: bool) -> Integers:
        rank = np.searchsorted(self.times, time, side="right" if after else "left")
        return np.asarray(subject * (len(self.times) + 1) + rank, dtype=np.int64)

    def count(
        self, name: str, subject: Integers, start: Integers, end: Integers, *, start_in: bool, end_in: bool
    ) -> Integers:
        """Count records of a predicate between two times; an end belongs to the window when it is inclusive."""
        points = self.points[name]
        low = np.searchsorted(points.keys, self._key(subject, start, after=not start_in))
        high = np.searchsorted(points.keys, self._key(subject, end, after=end_in))
        found = points.cumulative[np.maximum(high, low)] - points.cumulative[low]
        return np.where((start == MISSING) | (end == MISSING), 0, found)

    def search(self, name: str, subject: Integers, time: Integers, *, direction: int, strict: bool) -> Integers:
        """Return the nearest time at which a predicate holds, after (1) or before (-1) a time; MISSING if none."""
        keys = self.points[name].keys
        if not len(keys):
            return np.full(len(time), MISSING)
        if direction > 0:
            at = np.searchsorted(keys, self._key(subject, time, after=strict))
        else:
            at = np.searchsorted(keys, self._key(subject, time, after=not strict)) - 1
        inside = (at >= 0) & (at < len(keys))
        owner, rank = np.divmod(keys[np.clip(at, 0, len(keys) - 1)], len(self.times) + 1)
        return np.where(inside & (owner == subject) & (time != MISSING), self.times[rank], MISSING)

    def times_of(self, name: str) -> tuple[Integers, Integers]:
        """Return subject numbers and times at which a predicate holds, in order."""
        owner, rank = np.divmod(self.points[name].keys, len(self.times) + 1)
        return owner, self.times[rank]


def build_timeline(events: pl.DataFrame, predicates: dict[str, Predicate], wanted: set[str]) -> Timeline:
    """Find the points of the wanted predicates (and of those that they are made of) in dated events."""
    dated = events.filter(pl.col("time").is_not_null())
    whole = dated.select("subject_id", "time").unique().sort("subject_id", "time")
    subjects = whole["subject_id"].unique().sort().to_numpy().astype(np.int64)
    times = whole["time"].unique().sort().to_physical().to_numpy().astype(np.int64)
    owner = np.searchsorted(subjects, whole["subject_id"].to_numpy())
    moment = whole["time"].to_physical().to_numpy().astype(np.int64)
    keys = np.asarray(owner * (len(times) + 1) + np.searchsorted(times, moment), dtype=np.int64)
    begins = np.flatnonzero(np.diff(owner, prepend=-1)) if len(owner) else np.zeros(0, dtype=np.int64)
    ends = np.append(begins[1:], len(owner)) - 1 if len(owner) else begins
    points = {
        ANY_EVENT: _points(keys, np.ones(len(keys), dtype=np.int64)),
        RECORD_START: _points(keys[begins], np.ones(len(begins), dtype=np.int64)),
        RECORD_END: _points(keys[ends], np.ones(len(ends), dtype=np.int64)),
    }
    for name in _in_order(predicates, wanted):
        predicate = predicates[name]
        if isinstance(predicate, DerivedPredicate):
            points[name] = _derived_points(predicate, points)
        elif predicate.static:
            points[name] = points[ANY_EVENT]
        else:
            points[name] = _plain_points(dated, predicate, subjects, times)
    return Timeline(subjects, times, points, moment[begins], moment[ends])


def match(predicate: PlainPredicate) -> pl.Expr:
    """Return the expression that says which events a plain predicate counts."""
    code = pl.col("code")
    found = code.str.contains(predicate.regex) if predicate.regex is not None else code.is_in(predicate.codes)
    # A bound is rounded as the values are, or a value of 0.7 would not reach an inclusive bound of 0.7. NaN is none.
    value = pl.col("numeric_value").fill_nan(None)
    if predicate.value_min is not None:
        least = pl.lit(predicate.value_min, dtype=pl.Float32)
        found &= value >= least if predicate.value_min_inclusive else value > least
    if predicate.value_max is not None:
        most = pl.lit(predicate.value_max, dtype=pl.Float32)
        found &= value <= most if predicate.value_max_inclusive else value < most
    for column, wanted in predicate.other_columns:
        found &= pl.col(column) == wanted
    return found.fill_null(False)


def _in_order(predicates: dict[str, Predicate], wanted: set[str]) -> list[str]:
    """Return the wanted predicates, each after those that it is made of."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in predicates:
            return
        predicate = predicates[name]
        for part in predicate.inputs if isinstance(predicate, DerivedPredicate) else ():
            visit(part)
        order.append(name)

    for name in sorted(wanted):
        visit(name)
    return order


def _plain_points(dated: pl.DataFrame, predicate: PlainPredicate, subjects: Integers, times: Integers) -> Points:
    found = (
        dated.filter(match(predicate))
        .group_by("subject_id", "time")
        .agg(pl.len().cast(pl.Int64).alias("n"))
        .sort("subject_id", "time")
    )
    owner = np.searchsorted(subjects, found["subject_id"].to_numpy())
    rank = np.searchsorted(times, found["time"].to_physical().to_numpy())
    return _points(np.asarray(owner * (len(times) + 1) + rank, dtype=np.int64), found["n"].to_numpy())


def _derived_points(predicate: DerivedPredicate, points: dict[str, Points]) -> Points:
    parts = [points[name].keys for name in predicate.inputs]
    keys = parts[0]
    for part in parts[1:]:
        keys = np.intersect1d(keys, part) if predicate.operator == "and" else np.union1d(keys, part)
    return _points(keys, np.ones(len(keys), dtype=np.int64))


def _points(keys: Integers, counts: Integers) -> Points:
    return Points(keys, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
