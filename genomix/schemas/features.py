"""Feature frames: the index of rows, and the dictionary of columns that the report reads instead of parsing names."""

from __future__ import annotations

import polars as pl

from genomix.schemas.events import TIME
from genomix.schemas.frame import Column, FrameSchema

ROLES = ("train", "tuning", "held_out", "unused")
RUNGS = ("demographics", "ancestry", "records", "score", "variants")
"""Order of the ladder."""

INDEX = FrameSchema(
    "index",
    (
        Column("row", pl.Int64, "0-based row of the matrix"),
        Column("subject_id", pl.Int64, "the person"),
        Column("prediction_time", TIME, "last usable moment", nullable=True),
        Column("label", pl.Float64, "what is predicted"),
        Column("weight", pl.Float64, "weight of the row"),
        Column("kin_group", pl.Int64, "rows of one kin group are never split"),
        Column("source_row", pl.Int64, "0-based row of a table study's table", optional=True),
    ),
    key=("row",),
    extra_allowed=True,  # one String column fold_0, fold_1, ... per fold, holding a role
)

COLUMNS = FrameSchema(
    "columns",
    (
        Column("name", pl.String, "unique name of the column"),
        Column("family", pl.String, "feature family that made it"),
        Column("rung", pl.String, "step of the ladder at which it enters"),
        Column("group", pl.String, "what it is summed with in grouped importance (a code, a score, 'ancestry')"),
        Column("source", pl.String, "records | genotypes | static | table"),
        Column("window", pl.String, "look-back window, e.g. 365d or full", nullable=True),
        Column("aggregation", pl.String, "count, last, mean, ...", nullable=True),
        Column("unit", pl.String, "unit of the value", nullable=True),
        Column("code", pl.String, "code or variant behind it", nullable=True),
        Column("sentence", pl.String, "what it is, as a clinician would say it"),
        Column(
            "smallest_lag_days", pl.Float64, "smallest prediction minus availability; null without times",
            nullable=True, unit="d",
        ),
    ),
    key=("name",),
)  # fmt: skip

SET_INDEX = FrameSchema(
    "feature set index",
    (
        Column("row", pl.Int64, "0-based row"),
        Column("subject_id", pl.Int64, "the person"),
        Column("prediction_time", TIME, "last usable moment", nullable=True),
        Column("label", pl.Float64, "what is to be predicted", nullable=True),
    ),
    key=("row",),
    extra_allowed=True,
)
SET_COLUMNS = FrameSchema(
    "feature set columns",
    (
        *COLUMNS.columns,
        Column("storage", pl.String, "dense | sparse"),
        Column("absent", pl.Float64, "value of an entry that sparse.npz does not hold; null: missing", nullable=True),
    ),
    key=("name",),
)

PREDICTIONS = FrameSchema(
    "predictions",
    (
        Column("row", pl.Int64, "row of the index"),
        Column("fold", pl.Int64, "fold whose held-out part holds the row"),
        Column("model", pl.String, "boosted | linear | <rung name>"),
        Column("label", pl.Float64, "observed"),
        Column("prediction", pl.Float64, "probability or predicted quantity"),
        Column("kin_group", pl.Int64, "unit of resampling"),
    ),
    key=("row", "fold", "model"),
)

ATTRIBUTIONS = FrameSchema(
    "attributions",
    (
        Column("row", pl.Int64, "row of the index"),
        Column("fold", pl.Int64, "fold of the model"),
        Column("feature", pl.String, "column name"),
        Column("value", pl.Float32, "the feature's value; null when missing", nullable=True),
        Column("shap", pl.Float32, "contribution on the model's margin scale"),
        Column("base_value", pl.Float32, "the model's expected margin"),
    ),
)
