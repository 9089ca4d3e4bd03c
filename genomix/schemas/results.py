"""Result tables that evaluation writes and the report reads."""

from __future__ import annotations

import polars as pl

from genomix.schemas.frame import Column, FrameSchema

METRICS = FrameSchema(
    "metrics",
    (
        Column("target", pl.String, "what was predicted"),
        Column("model", pl.String, "boosted | linear | prevalence | <rung name>"),
        Column("metric", pl.String, "auroc, auprc, brier, log_loss, calibration_slope, r2, ..."),
        Column("group", pl.String, "'all', or subgroup as variable=value, e.g. sex=female"),
        Column("estimate", pl.Float64, "point estimate; null when not estimable", nullable=True),
        Column("low", pl.Float64, "lower end of the 95 % interval; null when not estimable", nullable=True),
        Column("high", pl.Float64, "upper end of the 95 % interval; null when not estimable", nullable=True),
        Column("n_rows", pl.Int64, "held-out rows"),
        Column("n_units", pl.Int64, "resampled units (kin groups or subjects)"),
        Column("n_events", pl.Int64, "held-out events; null for a quantity", nullable=True),
        Column("note", pl.String, "why it is not estimable, or empty"),
    ),
    key=("target", "model", "metric", "group"),
)

LADDER = FrameSchema(
    "ladder",
    (
        Column("target", pl.String, "what was predicted"),
        Column("group", pl.String, "'all' or ancestry=<label>"),
        Column("step", pl.Int64, "0-based rung"),
        Column("rung", pl.String, "demographics | ancestry | records | score | variants"),
        Column("n_features", pl.Int64, "columns that the rung's model saw"),
        Column("metric", pl.String, "auroc, net_benefit or r2 (higher is better), log_loss or rmse (lower is better)"),
        Column("estimate", pl.Float64, "the rung's own value", nullable=True),
        Column("low", pl.Float64, "its 95 % interval", nullable=True),
        Column("high", pl.Float64, "its 95 % interval", nullable=True),
        Column("delta", pl.Float64, "paired difference to the rung before; null on the first", nullable=True),
        Column("delta_low", pl.Float64, "its 95 % interval", nullable=True),
        Column("delta_high", pl.Float64, "its 95 % interval", nullable=True),
        Column("control_delta", pl.Float64, "the same difference with the rung's columns shuffled", nullable=True),
        Column("control_low", pl.Float64, "its 95 % interval", nullable=True),
        Column("control_high", pl.Float64, "its 95 % interval", nullable=True),
        Column("note", pl.String, "discovery cohorts of the scores, or why not estimable"),
    ),
    key=("target", "group", "step", "metric"),
)

CURVES = FrameSchema(
    "curves",
    (
        Column("target", pl.String, "what was predicted"),
        Column("model", pl.String, "boosted | linear"),
        Column("curve", pl.String, "roc | precision_recall | calibration | decision | scatter"),
        Column("x", pl.Float64, "abscissa"),
        Column("y", pl.Float64, "ordinate"),
        Column("low", pl.Float64, "lower 95 % band", nullable=True),
        Column("high", pl.Float64, "upper 95 % band", nullable=True),
        Column("n", pl.Int64, "people behind the point (small cells are merged before this table)"),
    ),
)

THRESHOLDS = FrameSchema(
    "thresholds",
    (
        Column("target", pl.String, "what was predicted"),
        Column("model", pl.String, "boosted | linear"),
        Column("threshold", pl.Float64, "predicted risk at or above which a person is flagged"),
        Column("n_flagged", pl.Int64, "people flagged"),
        Column("sensitivity", pl.Float64, "flagged among events", nullable=True),
        Column("specificity", pl.Float64, "not flagged among non-events", nullable=True),
        Column("ppv", pl.Float64, "events among flagged", nullable=True),
        Column("ppv_low", pl.Float64, "its 95 % interval", nullable=True),
        Column("ppv_high", pl.Float64, "its 95 % interval", nullable=True),
        Column("npv", pl.Float64, "non-events among not flagged", nullable=True),
        Column("net_benefit", pl.Float64, "net benefit (doi:10.1177/0272989X06295361)", nullable=True),
        Column("net_benefit_low", pl.Float64, "its 95 % interval", nullable=True),
        Column("net_benefit_high", pl.Float64, "its 95 % interval", nullable=True),
        Column("net_benefit_treat_all", pl.Float64, "net benefit of flagging everyone", nullable=True),
    ),
    key=("target", "model", "threshold"),
)

DRIFT = FrameSchema(
    "drift",
    (
        Column("column", pl.String, "column of the model, or 'prediction'"),
        Column("psi", pl.Float64, "population stability index of the known values; null: too few", nullable=True),
        Column("psi_by_chance", pl.Float64, "what 99.9 % of samples without any shift stay below", nullable=True),
        Column("missing_before", pl.Float64, "share of missing values in training", nullable=True),
        Column("missing_now", pl.Float64, "share of missing values in the new rows", nullable=True),
        Column("shift", pl.String, "none to speak of | some | large | not known"),
    ),
    key=("column",),
)

SURVIVAL_CALIBRATION = FrameSchema(
    "calibration at horizons",
    (
        Column("model", pl.String, "boosted | linear"),
        Column("horizon", pl.Float64, "time by which the event is predicted, in the study's unit"),
        Column("group", pl.Int64, "0-based, from the lowest predicted risk on"),
        Column("n_rows", pl.Int64, "held-out rows"),
        Column("expected", pl.Float64, "mean predicted risk"),
        Column(
            "observed",
            pl.Float64,
            "Aalen-Johansen's (1 - Kaplan-Meier's) risk; null: not followed so far",
            nullable=True,
        ),
        Column("low", pl.Float64, "its 95 % interval", nullable=True),
        Column("high", pl.Float64, "its 95 % interval", nullable=True),
    ),
    key=("model", "horizon", "group"),
)

SURVIVAL_GROUPS = FrameSchema(
    "curves of risk groups",
    (
        Column("group", pl.Int64, "0-based, from the lowest predicted risk on"),
        Column("time", pl.Float64, "in the study's unit"),
        Column("incidence", pl.Float64, "observed share with the event by then"),
        Column("low", pl.Float64, "its 95 % interval", nullable=True),
        Column("high", pl.Float64, "its 95 % interval", nullable=True),
        Column("n_at_risk", pl.Int64, "rows still followed after this time"),
    ),
    key=("group", "time"),
)

CERTIFICATE = FrameSchema(
    "leakage certificate",
    (
        Column("check", pl.String, "stable name of the check"),
        Column("status", pl.String, "passed | failed | not provable | not applicable"),
        Column("claim", pl.String, "what a pass means, as a sentence"),
        Column("found", pl.String, "what was computed, with figures"),
    ),
    key=("check",),
)

IMPORTANCE = FrameSchema(
    "importance",
    (
        Column("target", pl.String, "what was predicted"),
        Column("level", pl.String, "feature | group | family"),
        Column("name", pl.String, "column name, group or family"),
        Column("mean_abs_shap", pl.Float64, "mean absolute contribution over held-out rows, on the margin scale"),
        Column("n_rows", pl.Int64, "held-out rows"),
    ),
    key=("target", "level", "name"),
)
