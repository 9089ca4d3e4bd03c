"""Generated records of many people, with ties, late results, units, static facts and codes of every kind."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import polars as pl

from genomix.io.record_format import to_events

START = datetime(2020, 1, 1)
DAY = timedelta(days=1)
CODES = ("LAB//a", "LAB//b", "DX//x", "DX//y", "RX//r", "VISIT//1", "VISIT//2", "RARE")


def world(seed: int, people: int = 60, *, rows_each: int = 2) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return events (schema EVENTS) and rows: row, subject_id, prediction_time, label, split."""
    draw = random.Random(seed)
    records: list[tuple[int, datetime | None, str, float | None, str | None]] = []
    rows: list[tuple[int, datetime, float, str]] = []
    for person in range(1, people + 1):
        records.append((person, START - draw.randint(20, 60) * 365 * DAY, "MEDS_BIRTH", None, None))
        records.append((person, None, draw.choice(["GENDER//F", "GENDER//M"]), None, None))
        if draw.random() < 0.6:
            records.append((person, None, "PRS//t2d", draw.gauss(0, 1), None))
        for _ in range(0 if person % 13 == 0 else draw.randint(1, 40)):
            code = draw.choices(CODES, weights=(8, 5, 5, 3, 3, 4, 2, 0.2))[0]
            time = START + draw.randint(0, 800) * DAY / 2
            value = draw.choice([None, round(draw.gauss(5, 3), 2), 0.0]) if code.startswith(("LAB", "RX")) else None
            records.append((person, time, code, value, "mg" if code == "LAB//a" and value is not None else None))
        for k in range(rows_each):
            split = "train" if person % 5 else ("tuning" if person % 2 else "held_out")
            rows.append(
                (person, START + (100 + 150 * k + draw.randint(0, 60)) * DAY, float(draw.random() < 0.4), split)
            )
    raw = pl.DataFrame(
        records, orient="row", schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String,
                                       "numeric_value": pl.Float32, "unit": pl.String},
    )  # fmt: skip
    index = pl.DataFrame(
        rows, orient="row", schema={"subject_id": pl.Int64, "prediction_time": pl.Datetime("us"), "label": pl.Float64,
                                    "split": pl.String},
    ).sort("subject_id", "prediction_time")  # fmt: skip
    return to_events(raw, source_format="t").events, index.with_row_index("row").with_columns(
        pl.col("row").cast(pl.Int64)
    )
