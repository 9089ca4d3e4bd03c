"""Health records: MEDS 0.4 events with unit, precision and availability (https://doi.org/10.5281/zenodo.10957037)."""

from __future__ import annotations

import polars as pl

from genomix.schemas.frame import Column, FrameSchema

TIME = pl.Datetime("us")

EVENTS = FrameSchema(
    "events",
    (
        Column("subject_id", pl.Int64, "the person"),
        Column("time", TIME, "when it happened; null for static facts", nullable=True),
        Column("code", pl.String, "what, with its vocabulary, e.g. LAB//creatinine"),
        Column("numeric_value", pl.Float32, "the value, in `unit`", nullable=True),
        Column("text_value", pl.String, "free or categorical value", nullable=True),
        Column("unit", pl.String, "UCUM unit as recorded", nullable=True),
        Column("time_precision", pl.String, "static | day | second"),
        Column("available_time", TIME, "when it could first be known; null for static facts", nullable=True),
    ),
)
