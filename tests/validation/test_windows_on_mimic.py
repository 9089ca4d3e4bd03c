"""Every aggregation and window on rows of the MIMIC-IV demo, by both engines, against a plain loop over the records."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from genomix.ehr.windows import AGGREGATIONS, Engine, window_aggregates
from genomix.io.meds import read_meds

DAY = timedelta(days=1)
WINDOWS = {"1d": DAY, "7d": 7 * DAY, "365d": 365 * DAY, "full": None, "since:HOSPITAL_ADMISSION": None}
Record = tuple[datetime, datetime, str, float | None]
EXACT = ("count", "has", "distinct_days", "first", "last", "min", "max", "has_value", "out_of_range_count")


def by_loop(
    records: list[Record], t: datetime, bounds: dict[str, tuple[float, float]]
) -> dict[tuple[str, str], dict[str, float | None]]:
    known = [r for r in records if r[0] <= t and r[1] <= t]
    admitted = max(
        (r[0] for r in known if r[2] == "HOSPITAL_ADMISSION" or r[2].startswith("HOSPITAL_ADMISSION//")), default=None
    )
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for window, length in WINDOWS.items():
        inside: defaultdict[str, list[Record]] = defaultdict(list)
        for record in known:
            begins = (admitted is not None and record[0] >= admitted) if window.startswith("since:") else (
                length is None or record[0] > t - length
            )  # fmt: skip
            if begins:
                inside[record[2]].append(record)
        for code, mine in inside.items():
            found[code, window] = aggregates(mine, t, bounds.get(code))
    return found


def aggregates(mine: list[Record], t: datetime, bounds: tuple[float, float] | None) -> dict[str, float | None]:
    times = [r[0] for r in mine]
    found: dict[str, float | None] = dict.fromkeys(AGGREGATIONS)
    found |= {"count": len(mine), "has": 1, "distinct_days": len({x.date() for x in times})}
    found |= {"time_since_first": (t - min(times)) / DAY, "time_since_last": (t - max(times)) / DAY}
    valued = sorted((r[0], r[3]) for r in mine if r[3] is not None)
    if not valued:
        return found
    values = [Fraction(v) for _, v in valued]
    n, mean = len(values), sum(values) / len(values)
    found |= {"first": valued[0][1], "last": valued[-1][1], "min": float(min(values)), "max": float(max(values))}
    found |= {"sum": float(sum(values)), "mean": float(mean), "has_value": 1}
    if bounds is not None:
        found["out_of_range_count"] = sum(v < bounds[0] or v > bounds[1] for _, v in valued)
    if n > 1:
        found["std"] = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    days = [Fraction((time - datetime(2000, 1, 1)) // timedelta(microseconds=1), 86_400_000_000) for time, _ in valued]
    centre = sum(days) / n
    spread = sum((d - centre) ** 2 for d in days)
    if spread:
        found["slope"] = float(sum((d - centre) * (v - mean) for d, v in zip(days, values, strict=True)) / spread)
    return found


@pytest.mark.real_data
@pytest.mark.parametrize("engine", ["expressions", "compiled"])
def test_rows_of_the_demo_equal_the_loop(real_data: Path, engine: Engine) -> None:
    events = read_meds(real_data / "mimic4-demo-meds").events.filter(pl.col("time").is_not_null())
    draw = random.Random(11)
    subjects = draw.sample(events["subject_id"].unique().sort().to_list(), 8)
    mine: dict[int, list[Record]] = {}
    rows: list[tuple[int, datetime]] = []
    for subject in subjects:
        own = events.filter(pl.col("subject_id") == subject).select("time", "available_time", "code", "numeric_value")
        mine[subject] = [(t, k, c, None if v is None or not math.isfinite(v) else v) for t, k, c, v in own.rows()]
        times = sorted({t for t, _, c, _ in mine[subject] if c != "MEDS_BIRTH"})
        rows += [(subject, draw.choice(times)), (subject, draw.choice(times) + timedelta(hours=7))]
    index = pl.DataFrame(
        [(i, s, t) for i, (s, t) in enumerate(rows)], orient="row",
        schema={"row": pl.Int64, "subject_id": pl.Int64, "prediction_time": pl.Datetime("us")},
    )  # fmt: skip
    bounds = {"LAB//50971//mEq/L": (3.5, 5.0), "LAB//50912//mg/dL": (0.5, 1.25), "LAB//220045//bpm": (60.0, 100.0)}
    ranges = pl.DataFrame([(c, *b) for c, b in bounds.items()], orient="row",
                          schema={"code": pl.String, "low": pl.Float32, "high": pl.Float32})  # fmt: skip
    found = window_aggregates(events, index, windows=list(WINDOWS), ranges=ranges, engine=engine)
    names = dict(found.codes.iter_rows())
    ours = {(r["row"], names[r["code_id"]], list(WINDOWS)[r["window"]]): r for r in found.values.iter_rows(named=True)}
    theirs = {
        (row, *key): values
        for row, (subject, t) in enumerate(rows)
        for key, values in by_loop(mine[subject], t, bounds).items()
    }
    assert set(ours) == set(theirs)
    assert len(theirs) > 10_000
    compared = dict.fromkeys(AGGREGATIONS, 0)
    for key, expected in theirs.items():
        for name in AGGREGATIONS:
            got, want = ours[key][name], expected[name]
            assert (got is None) == (want is None), (key, name)
            if want is not None:
                compared[name] += 1
                scale = max(1.0, abs(expected["max"] or 0), abs(expected["min"] or 0))
                tolerance = 0.0 if name in EXACT else 2e-6 * scale
                assert math.isclose(got, want, rel_tol=3e-7, abs_tol=tolerance), (key, name, got, want)
    assert min(compared.values()) > 20, compared
