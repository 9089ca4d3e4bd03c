"""Figures about records, counted by hand; no date may appear among them."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from genomix.ehr import quality
from genomix.ehr.quality import describe
from genomix.io.record_format import to_events


def test_figures_by_hand() -> None:
    rows = [
        (1, datetime(1950, 1, 1), "MEDS_BIRTH", None, None),
        (1, datetime(2019, 1, 1, 8), "A", 1.0, "kg"),
        (1, datetime(2020, 1, 1, 8), "A", 2.0, "g"),
        (1, datetime(2020, 1, 1, 8), "A", 2.0, "g"),
        (1, datetime(2020, 1, 2), "MEDS_DEATH", None, None),  # a date: to the end of the day
        (1, datetime(2020, 1, 2, 20), "B", None, None),
        (1, datetime(2020, 1, 3, 1), "B", None, None),
        (2, None, "GENDER//F", None, None),
        (2, datetime(2020, 1, 1, 9), "B", 4.0, None),
    ]
    schema = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32}
    raw = pl.DataFrame(rows, schema=schema | {"unit": pl.String}, orient="row")
    found = describe(to_events(raw, source_format="t").events)
    assert (found["n_subjects"], found["n_events"], found["n_static"], found["n_codes"]) == (2, 8, 1, 5)
    assert found["n_repeated_records"] == 1
    assert (found["n_events_after_death"], found["n_people_with_events_after_death"]) == (1, 1)
    assert found["n_events_before_birth"] == 0
    assert found["share_date_only"] == 2 / 8
    assert found["share_without_unit"] == 1 / 4
    assert found["share_of_people_without_birth"] == 0.5
    assert found["longest_record_years"] == pytest.approx(367 / 365.25, abs=0.003)
    assert found["n_codes_with_several_units"] == 1
    assert [(r["unit"], r["values"]) for r in found["codes_with_several_units"]] == [("g", 2), ("kg", 1)]
    assert found["most_frequent_codes"][0] == {"code": "A", "n_events": 3, "n_people": 1}
    text = json.dumps(found, allow_nan=False)
    assert "2020" not in text
    assert "2019" not in text


def test_no_events() -> None:
    from genomix.schemas.events import EVENTS

    found = describe(EVENTS.empty())
    assert found["n_subjects"] == 0
    assert found["share_date_only"] is None


def _events(rows: list[tuple[int, datetime | None, str, float | None, str | None]]) -> pl.DataFrame:
    names = ["subject_id", "time", "code", "numeric_value", "unit"]
    types = {"time": pl.Datetime("us"), "numeric_value": pl.Float64, "unit": pl.String}
    raw = pl.DataFrame(rows, schema=names, schema_overrides=types, orient="row")
    return to_events(raw, source_format="test").events


def test_codes_are_described_by_hand() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 10.0]
    rows = [(i % 2, datetime(2020, 1, 1 + i, 9), "LAB", v, "g/L") for i, v in enumerate(values)]
    rows += [(1, datetime(2020, 1, 9, 9), "LAB", None, None), (1, datetime(2021, 1, 9, 9), "DX", None, None)]
    found = quality.describe_codes(_events(rows))
    lab, dx = found.row(0, named=True), found.row(1, named=True)
    assert (lab["code"], lab["n_events"], lab["n_people"], lab["n_units"], lab["unit"]) == ("LAB", 6, 2, 1, "g/L")
    assert lab["share_with_value"] == pytest.approx(5 / 6)
    assert [lab[k] for k in ("min", "p25", "p50", "p75", "max", "mean")] == [1, 2, 3, 4, 10, 4]
    assert lab["p1"] == pytest.approx(np.quantile(values, 0.01))
    assert lab["std"] == pytest.approx(np.std(values, ddof=1))
    assert (dx["code"], dx["mean"], dx["unit"], dx["n_units"]) == ("DX", None, None, 0)


def test_coverage_and_gaps_leave_births_out() -> None:
    rows = [
        (1, datetime(1950, 1, 1), "MEDS_BIRTH", None, None), (1, datetime(2020, 1, 1, 9), "A", None, None),
        (1, datetime(2020, 1, 11, 9), "A", None, None), (1, datetime(2022, 1, 11, 9), "A", None, None),
        (2, datetime(2020, 1, 1, 9), "A", None, None), (2, datetime(2020, 1, 2, 9), "B", None, None),
        (3, datetime(2020, 1, 1, 9), "A", None, None), (3, None, "GENDER//F", None, None),
    ]  # fmt: skip
    events = _events(rows)
    assert quality.coverage(events).rows() == [(2020, 5, 3), (2022, 1, 1)]
    assert quality.gaps(events) == {
        "people": 2, "median_of_largest": (731 + 1) / 2, "largest": 731.0, "share_over_a_year": 0.5,
    }  # fmt: skip
    assert quality.gaps(events.filter(pl.col("subject_id") == 3))["largest"] is None


def test_quantiles_for_a_report_point_at_nobody() -> None:
    t = datetime(2020, 1, 1)
    rows: list[tuple[int, datetime | None, str, float | None, str | None]] = []
    rows += [(person, t, "MANY", float(person), "g") for person in range(1, 202)]
    rows += [(person, t, "SOME", float(person), None) for person in range(1, 22)]
    rows += [(person, t, "FEW", 1.0, None) for person in range(1, 20)]
    rows += [(person, t, "MIXED", 1.0, "g" if person % 2 else "mg") for person in range(1, 100)]
    rows += [(1, t, "OFTEN", float(k), None) for k in range(100)]
    rows += [(person, t, "NONE", None, None) for person in range(1, 100)]
    found = {r["code"]: r for r in quality.value_quantiles(_events(rows))}
    assert list(found) == ["MANY", "SOME"]
    assert [found["MANY"][p] for p in ("p5", "p25", "p50", "p75", "p95")] == [11, 51, 101, 151, 191]
    assert [found["SOME"][p] for p in ("p5", "p25", "p50", "p75", "p95")] == [None, 6, 11, 16, None]
    assert (found["MANY"]["unit"], found["SOME"]["unit"]) == ("g", None)
    assert len(quality.value_quantiles(_events(rows), most=1)) == 1
