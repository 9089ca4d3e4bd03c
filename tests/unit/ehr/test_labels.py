"""Labels as MEDS can hold them, and what each censoring policy would give."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from genomix.ehr.aces import parse_task
from genomix.ehr.labels import policy_comparison, to_meds_labels
from genomix.io.record_format import to_events
from genomix.schemas.people import LABELS

TASK = """
predicates:
  visit: {code: VISIT}
  outcome: {code: OUTCOME}
trigger: visit
windows:
  target: {start: trigger, end: start + 10d, start_inclusive: false, end_inclusive: true, label: outcome}
  input: {start: null, end: trigger, start_inclusive: true, end_inclusive: true, index_timestamp: end}
genomix: {censoring: %s}
"""
START = datetime(2020, 1, 1)


def events() -> pl.DataFrame:
    days = {1: [("VISIT", 0), ("OUTCOME", 5)], 2: [("VISIT", 0), ("OTHER", 20)], 3: [("VISIT", 0), ("OTHER", 3)]}
    rows = [(who, START + timedelta(days=d, hours=1), code) for who, found in days.items() for code, d in found]
    raw = pl.DataFrame(rows, schema=["subject_id", "time", "code"], orient="row")
    return to_events(raw, source_format="test").events


def test_every_policy_is_counted() -> None:
    found = policy_comparison(events(), parse_task(TASK % "drop"))
    assert found.rows() == [("drop", 2, 2, 1), ("negative", 3, 3, 1), ("censored", 3, 2, 1)]


def labels(values: list[float | None]) -> pl.DataFrame:
    n = len(values)
    frame = pl.DataFrame(
        {
            "subject_id": list(range(n, 0, -1)), "prediction_time": [START] * n, "value": values,
            "status": ["censored" if v is None else "observed" for v in values],
            "time_days": [1.0] * n, "weight": [1.0] * n,
        },
        schema_overrides={"value": pl.Float64, "prediction_time": pl.Datetime("us")},
    )  # fmt: skip
    return LABELS.validate(frame)


def test_null_labels_are_left_out_and_counted() -> None:
    found = to_meds_labels(labels([1.0, None, 0.0]))
    assert found.left_out == 1
    assert found.labels.columns == ["subject_id", "prediction_time", "boolean_value"]
    assert found.labels.rows() == [(1, START, False), (3, START, True)]


def test_quantities_are_floats() -> None:
    found = to_meds_labels(labels([2.5, 0.0]))
    assert found.labels["float_value"].to_list() == [0.0, 2.5]
