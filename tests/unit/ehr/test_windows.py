"""Look-back windows on cases small enough to check by eye."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from genomix.ehr.windows import AGGREGATIONS, Engine, static_aggregates, window_aggregates
from genomix.errors import ConfigError

T = datetime(2020, 3, 10, 12)
MICRO = timedelta(microseconds=1)
ENGINES: tuple[Engine, ...] = ("expressions", "compiled")


def events(*rows: tuple[datetime | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [(1, t, t, "A", v) for t, v in rows],
        schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "available_time": pl.Datetime("us"),
                "code": pl.String, "numeric_value": pl.Float32},
        orient="row",
    )  # fmt: skip


INDEX = pl.DataFrame(
    {"row": [0], "subject_id": [1], "prediction_time": [T]}, schema_overrides={"prediction_time": pl.Datetime("us")}
)


def only(frame: pl.DataFrame, window: str, *, inclusive: bool = True) -> dict[str, float | None]:
    found = window_aggregates(frame, INDEX, windows=[window], inclusive=inclusive).values
    return found.row(0, named=True) if found.height else {"count": 0.0}


@pytest.mark.parametrize(
    ("time", "inclusive", "exclusive"),
    [
        (T, 1, 0),  # at the prediction itself
        (T + MICRO, 0, 0),
        (T - MICRO, 1, 1),
        (T - timedelta(days=1), 0, 0),  # t - w is outside
        (T - timedelta(days=1) + MICRO, 1, 1),
    ],
)
def test_ends_of_the_window(time: datetime, inclusive: int, exclusive: int) -> None:
    assert only(events((time, 1.0)), "1d")["count"] == inclusive
    assert only(events((time, 1.0)), "1d", inclusive=False)["count"] == exclusive


def test_a_record_known_later_does_not_count() -> None:
    frame = events((T - timedelta(hours=2), 1.0))
    known = pl.col("available_time")
    assert only(frame.with_columns((known + timedelta(hours=2)).alias("available_time")), "full")["count"] == 1
    late = frame.with_columns((known + timedelta(hours=2) + MICRO).alias("available_time"))
    assert only(late, "full")["count"] == 0


def test_every_aggregation_by_hand() -> None:
    # Two values at one time: the first takes the smaller, the last the larger. A record without a value counts.
    frame = events((T - timedelta(days=4), 3.0), (T - timedelta(days=4), 1.0), (T - timedelta(days=2), None),
                   (T - timedelta(days=1), 5.0), (T - timedelta(days=1), 7.0))  # fmt: skip
    found = only(frame, "full")
    assert found["count"] == 5
    assert found["has"] == 1
    assert found["time_since_last"] == 1
    assert (found["first"], found["last"], found["min"], found["max"]) == (1, 7, 1, 7)
    assert (found["sum"], found["mean"]) == (16, 4)
    assert found["std"] == pytest.approx((20 / 3) ** 0.5)
    assert found["slope"] == pytest.approx(4 / 3)  # mean 2 at day 0, mean 6 at day 3


def test_std_needs_two_values_and_slope_two_times() -> None:
    once = only(events((T, 1.0)), "full")
    assert once["std"] is None
    assert once["slope"] is None
    tied = only(events((T, 1.0), (T, 3.0)), "full")
    assert tied["std"] == pytest.approx(2**0.5)
    assert tied["slope"] is None


def test_slope_of_readings_a_minute_apart_long_ago() -> None:
    start = T - timedelta(days=9000)
    frame = events(*((start + timedelta(minutes=i), float(i)) for i in range(5)))
    assert only(frame, "full")["slope"] == pytest.approx(1440, rel=1e-6)


def test_smallest_lag_is_from_availability_and_recency_from_time() -> None:
    frame = events((T - timedelta(days=3), None), (T - timedelta(days=5), 2.0)).with_columns(
        (pl.col("available_time") + timedelta(days=1)).alias("available_time")
    )
    found = window_aggregates(frame, INDEX, windows=["full"])
    assert found.values["time_since_last"].to_list() == [3]
    assert found.lags.select("lag_days", "numeric_lag_days").row(0) == (2.0, 4.0)


def test_static_records_are_apart() -> None:
    frame = events((None, 4.0), (None, 2.0), (T, 1.0))
    assert only(frame, "full")["count"] == 1
    assert static_aggregates(frame, INDEX).rows() == [(0, "A", 4.0)]


def test_the_sign_of_zero_does_not_depend_on_the_order_of_records() -> None:
    for values in ((-0.0, 0.0), (0.0, -0.0)):
        found = only(events((T, values[0]), (T, values[1])), "full")
        assert [str(found[name]) for name in ("first", "last", "min", "max", "sum")] == ["0.0"] * 5


def test_nothing_to_aggregate() -> None:
    found = window_aggregates(events(), INDEX)
    assert found.values.columns == ["row", "code_id", "window", *AGGREGATIONS]
    assert found.values.height == found.lags.height == 0


@pytest.mark.parametrize("windows", [["1x"], ["0d"], [], ["1d", "1d"], ["1 month"]])
def test_bad_windows(windows: list[str]) -> None:
    with pytest.raises(ConfigError, match="window"):
        window_aggregates(events(), INDEX, windows=windows)


def test_bad_aggregation() -> None:
    with pytest.raises(ConfigError, match="unknown aggregation 'average'"):
        window_aggregates(events(), INDEX, aggregations=["average"])


_PROGRAM = """
import hashlib
from datetime import datetime, timedelta
import numpy as np, polars as pl
from genomix.ehr.windows import window_aggregates
rng = np.random.default_rng(3)
n, t = 60_000, datetime(2020, 1, 1)
time = pl.Series(1577836800000000 - rng.integers(0, 400 * 86400, n) * 1_000_000).cast(pl.Datetime("us"))
events = pl.DataFrame({"subject_id": rng.integers(0, 40, n), "time": time, "available_time": time,
    "code": [f"C{i}" for i in rng.integers(0, 5, n)],
    "numeric_value": pl.Series(rng.lognormal(0, 4, n).astype(np.float32))})
index = pl.DataFrame({"row": range(40), "subject_id": range(40), "prediction_time": [t] * 40},
    schema_overrides={"prediction_time": pl.Datetime("us")})
values = window_aggregates(events, index).values
columns = (values[c].to_physical().fill_null(-1).to_numpy().tobytes() for c in values.columns)
print(hashlib.sha256(b"".join(columns)).hexdigest())
"""


def test_threads_and_hash_seed_change_no_bit() -> None:
    import os
    import subprocess
    import sys

    found = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True,
            env={**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": seed, "TZ": zone},
        ).stdout
        for threads, seed, zone in (("1", "0", "UTC"), ("4", "77", "Pacific/Apia"))
    }  # fmt: skip
    assert len(found) == 1


@pytest.mark.parametrize("n", [3, 64, 65, 300])
def test_many_records_of_one_time_are_taken_by_value(n: int) -> None:
    import random

    values: list[float | None] = [float(i % 17) / 3 for i in range(n)] + [None] * (n // 3)
    random.Random(n).shuffle(values)
    frame = events(*((T - timedelta(days=2), v) for v in values), *((T - timedelta(days=1), v) for v in values[::-1]))
    found = [
        window_aggregates(frame, INDEX, windows=["full"], engine=engine).values.row(0, named=True)
        for engine in ENGINES
    ]  # fmt: skip
    assert found[0]["out_of_range_count"] is found[1]["out_of_range_count"] is None
    one, two = ({k: v for k, v in f.items() if v is not None} for f in found)
    assert one == pytest.approx(two, rel=2e-7)
    known = [v for v in values if v is not None]
    assert (found[1]["count"], found[1]["first"], found[1]["last"]) == (
        2 * len(values), pytest.approx(min(known)), pytest.approx(max(known)),
    )  # fmt: skip


def test_a_person_with_more_records_than_codes_has_room_for_every_entry() -> None:
    frame = pl.concat([events(*((T - timedelta(hours=h), 1.0) for h in range(500))).with_columns(code=pl.lit(c))
                       for c in "ABC"])  # fmt: skip
    rows = pl.DataFrame(
        {"row": range(9), "subject_id": [1] * 9, "prediction_time": [T - timedelta(hours=50 * k) for k in range(9)]},
        schema_overrides={"prediction_time": pl.Datetime("us")},
    )
    one, two = (
        window_aggregates(frame, rows, windows=["1d", "7d", "full"], aggregations=["count", "sum"], engine=engine)
        for engine in ENGINES
    )  # fmt: skip
    assert one.values.equals(two.values)
    assert one.values.height == 81
