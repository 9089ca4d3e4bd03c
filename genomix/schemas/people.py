"""Links between samples and subjects, labels, and the reasons people leave a study."""

from __future__ import annotations

import polars as pl

from genomix.schemas.events import TIME
from genomix.schemas.frame import Column, FrameSchema

LINK = FrameSchema(
    "link",
    (
        Column("sample_id", pl.String, "a genotyped specimen"),
        Column("subject_id", pl.Int64, "the person it came from"),
    ),
    key=("sample_id",),
)

LABELS = FrameSchema(
    "labels",
    (
        Column("subject_id", pl.Int64, "the person"),
        Column("prediction_time", TIME, "last usable moment; null in a study without a time axis", nullable=True),
        Column("value", pl.Float64, "0/1 or a quantity; null when censored", nullable=True),
        Column("status", pl.String, "observed | censored | competing"),
        Column("time_days", pl.Float64, "days from prediction to event or censoring", nullable=True, unit="d"),
        Column("weight", pl.Float64, "weight of the row"),
    ),
    key=("subject_id", "prediction_time"),
)

TABLE_LABELS = FrameSchema(
    "labels of a table study",
    (*LABELS.columns, Column("source_row", pl.Int64, "0-based row of the study's table")),
    key=("source_row",),
)
"""A table states no times, so a person's rows are told apart by where they stand in it."""

FLOW = FrameSchema(
    "cohort flow",
    (
        Column("part", pl.String, "genotypes | records | study: the box's column in the diagram"),
        Column("step", pl.String, "what was asked, as a sentence"),
        Column("unit", pl.String, "people | samples | variants | admissions | rows, or a table study's word"),
        Column("entered", pl.Int64, "count before the step"),
        Column("removed", pl.Int64, "count removed by the step"),
        Column("kept", pl.Int64, "count after the step"),
        Column("events", pl.Int64, "outcome events among those kept", nullable=True),
    ),
)
