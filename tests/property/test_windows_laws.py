"""The window engine against a plain loop, for every aggregation and window, and the laws that it must obey."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.ehr.windows import AGGREGATIONS, COUNT_AGGREGATIONS, Engine, WindowAggregates, window_aggregates

START = datetime(2020, 1, 1)
HOUR = timedelta(hours=1)
WINDOWS = {"6h": 6 * HOUR, "1d": 24 * HOUR, "7d": 168 * HOUR, "full": None, "since:B": None, "since:Z": None}
RANGES = {"A": (-1.0, 2.0), "B//1": (None, 0.5)}
EXACT = ("count", "has", "distinct_days", "first", "last", "min", "max", "has_value",
         "out_of_range_count")  # fmt: skip
ENGINES: tuple[Engine, ...] = ("expressions", "compiled")

EVENT = st.tuples(
    st.integers(1, 3),  # subject
    st.one_of(st.none(), st.integers(0, 60), st.sampled_from([12, 18, 24, 36])),  # hours; ties and window ends
    st.sampled_from([0, 0, 0, 1, 30]),  # hours until known
    st.sampled_from(["A", "B", "B//1", "BB"]),
    st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32), st.just(float("nan"))),
)
ROW = st.tuples(st.integers(1, 4), st.sampled_from([0, 12, 24, 36, 48, 60]))


def frames(
    records: list[tuple[int, int | None, int, str, float | None]], rows: list[tuple[int, int]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    events = pl.DataFrame(
        [
            (s, None if h is None else START + h * HOUR, None if h is None else START + (h + known) * HOUR, code, value)
            for s, h, known, code, value in records
        ],
        schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "available_time": pl.Datetime("us"),
                "code": pl.String, "numeric_value": pl.Float32},
        orient="row",
    )  # fmt: skip
    index = pl.DataFrame(
        [(i, s, START + h * HOUR) for i, (s, h) in enumerate(rows)],
        schema={"row": pl.Int64, "subject_id": pl.Int64, "prediction_time": pl.Datetime("us")}, orient="row",
    )  # fmt: skip
    return events, index


def found_by(engine: Engine, events: pl.DataFrame, index: pl.DataFrame, **more: Any) -> WindowAggregates:
    ranges = pl.DataFrame([(c, *r) for c, r in RANGES.items()], orient="row",
                          schema={"code": pl.String, "low": pl.Float32, "high": pl.Float32})  # fmt: skip
    return window_aggregates(events, index, windows=list(WINDOWS), ranges=ranges, engine=engine, **more)


def begin_of(events: pl.DataFrame, subject: int, window: str, t: datetime, inclusive: bool) -> datetime | None:
    """Return the time from which a ``since:`` window counts, None where it has no anchor."""
    code = window.removeprefix("since:")
    times = [
        time
        for s, time, known, c, _ in events.iter_rows()
        if s == subject and time is not None and (c == code or c.startswith(code + "//"))
        and ((time <= t and known <= t) if inclusive else (time < t and known < t))
    ]  # fmt: skip
    return max(times, default=None)


def by_loop(
    events: pl.DataFrame, index: pl.DataFrame, inclusive: bool
) -> dict[tuple[int, str, str], dict[str, object]]:
    """Return every aggregate by the definition, sums in exact fractions."""
    out: dict[tuple[int, str, str], dict[str, object]] = {}
    for row, subject, t in index.iter_rows():
        for window, width in WINDOWS.items():
            since = begin_of(events, subject, window, t, inclusive) if window.startswith("since:") else datetime.min
            for code in ("A", "B", "B//1", "BB"):
                inside = []
                for s, time, known, c, value in events.iter_rows():
                    if s != subject or c != code or time is None or (width is not None and not t - width < time):
                        continue
                    if since is None or time < since:
                        continue
                    if (time <= t and known <= t) if inclusive else (time < t and known < t):
                        inside.append((time, value if value is not None and math.isfinite(value) else None))
                if inside:
                    out[row, code, window] = aggregates(inside, t, RANGES.get(code))
    return out


def aggregates(
    inside: list[tuple[datetime, float | None]], t: datetime, bounds: tuple[float | None, float | None] | None
) -> dict[str, object]:
    valued = sorted((time, value) for time, value in inside if value is not None)
    found: dict[str, object] = dict.fromkeys(AGGREGATIONS)
    found["count"], found["has"] = len(inside), 1
    found["distinct_days"] = len({time.date() for time, _ in inside})
    found["time_since_first"] = (t - min(time for time, _ in inside)) / timedelta(days=1)
    found["time_since_last"] = (t - max(time for time, _ in inside)) / timedelta(days=1)
    if not valued:
        return found
    if bounds is not None:
        low, high = bounds
        found["out_of_range_count"] = sum(
            (low is not None and v < low) or (high is not None and v > high) for _, v in valued
        )
    found["has_value"] = 1
    values = [Fraction(v) for _, v in valued]
    days = [Fraction(round((time - START) / timedelta(microseconds=1)), 86_400_000_000) for time, _ in valued]
    n, mean, centre = len(values), sum(values) / len(values), sum(days) / len(days)
    found |= {"first": valued[0][1], "last": valued[-1][1], "min": float(min(values)), "max": float(max(values))}
    found |= {"sum": float(sum(values)), "mean": float(mean)}
    if n > 1:
        found["std"] = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    spread = sum((d - centre) ** 2 for d in days)
    if spread:
        found["slope"] = float(sum((d - centre) * (v - mean) for d, v in zip(days, values, strict=True)) / spread)
    return found


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=120, deadline=None)
@given(st.lists(EVENT, max_size=25), st.lists(ROW, min_size=1, max_size=4), st.booleans())
def test_equals_the_loop(
    engine: Engine,
    records: list[tuple[int, int | None, int, str, float | None]], rows: list[tuple[int, int]], inclusive: bool,
) -> None:  # fmt: skip
    events, index = frames(records, rows)
    found = found_by(engine, events, index, inclusive=inclusive)
    names = dict(found.codes.iter_rows())
    ours = {(r["row"], names[r["code_id"]], list(WINDOWS)[r["window"]]): r for r in found.values.iter_rows(named=True)}
    theirs = by_loop(events, index, inclusive)
    assert set(ours) == set(theirs)
    scale = max([1.0, *(abs(v) for *_, v in records if v is not None and math.isfinite(v))])
    for key, expected in theirs.items():
        for name in AGGREGATIONS:
            got, want = ours[key][name], expected[name]
            if want is None or got is None:
                assert got is want, (key, name)
            else:
                tolerance = 0 if name in EXACT else 1e-6 * scale
                assert math.isclose(got, want, rel_tol=2e-7, abs_tol=tolerance), (key, name, got, want)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=40, deadline=None)
@given(
    st.lists(EVENT, min_size=2, max_size=25), st.lists(ROW, min_size=1, max_size=4), st.randoms(use_true_random=False)
)
def test_order_of_records_and_chunks_change_no_bit(
    engine: Engine,
    records: list[tuple[int, int | None, int, str, float | None]], rows: list[tuple[int, int]], random: object,
) -> None:  # fmt: skip
    events, index = frames(records, rows)
    shuffled = list(records)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a random.Random
    one = found_by(engine, events, index)
    two = found_by(engine, frames(shuffled, rows)[0], index, pairs_per_chunk=3)
    assert one.values.equals(two.values)
    assert one.lags.equals(two.lags)


@settings(max_examples=120, deadline=None)
@given(st.lists(EVENT, max_size=40), st.lists(ROW, min_size=1, max_size=4), st.booleans())
def test_the_engines_agree(
    records: list[tuple[int, int | None, int, str, float | None]], rows: list[tuple[int, int]], inclusive: bool
) -> None:
    one, two = (found_by(engine, *frames(records, rows), inclusive=inclusive) for engine in ENGINES)
    assert one.codes.equals(two.codes)
    assert one.lags.equals(two.lags)
    assert one.values.select("row", "code_id", "window", *EXACT).equals(
        two.values.select("row", "code_id", "window", *EXACT)
    )
    scale = max([1.0, *(abs(v) for *_, v in records if v is not None and math.isfinite(v))])
    for name in AGGREGATIONS:
        a, b = one.values[name], two.values[name]
        assert a.is_null().equals(b.is_null()), name
        for x, y in zip(a.drop_nulls(), b.drop_nulls(), strict=True):
            assert math.isclose(x, y, rel_tol=2e-7, abs_tol=1e-7 * scale), name


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=40, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=25), st.integers(1, 3), st.sampled_from([0, 12, 24, 36]))
def test_later_records_change_nothing(
    engine: Engine, records: list[tuple[int, int | None, int, str, float | None]], subject: int, hour: int
) -> None:  # fmt: skip
    events, index = frames(records, [(subject, hour)])
    t = START + hour * HOUR
    past = events.filter(pl.col("time").is_null() | ((pl.col("time") <= t) & (pl.col("available_time") <= t)))
    whole, cut = (found_by(engine, e, index) for e in (events, past))
    named = [w.values.join(w.codes, on="code_id").drop("code_id").sort("row", "code", "window") for w in (whole, cut)]
    assert named[0].equals(named[1])


@settings(max_examples=30, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=25), st.lists(ROW, min_size=1, max_size=3))
def test_wider_windows_count_no_less(
    records: list[tuple[int, int | None, int, str, float | None]], rows: list[tuple[int, int]]
) -> None:
    events, index = frames(records, rows)
    nested = [w for w in WINDOWS if not w.startswith("since:")]
    found = window_aggregates(events, index, windows=nested, aggregations=list(COUNT_AGGREGATIONS)).values
    for _, group in found.group_by("row", "code_id"):
        for name in ("count", "distinct_days", "time_since_first"):
            values = group.sort("window")[name].to_list()
            assert values == sorted(values)
        assert group["time_since_last"].n_unique() == 1
