"""What explanation writes beside attributions: groups, pairs of columns, the sources behind a value, and responses."""

from __future__ import annotations

import polars as pl

from genomix.schemas.frame import Column, FrameSchema

GROUP_IMPORTANCE = FrameSchema(
    "grouped importance",
    (
        Column("by", pl.String, "feature | group | family | gene | code | window"),
        Column("group", pl.String, "name of the group"),
        Column("n_columns", pl.Int64, "columns of the model in it"),
        Column("mean_abs_shap", pl.Float64, "mean over rows of |sum of the group's contributions|, margin scale"),
        Column("mean_shap", pl.Float64, "mean over rows of the sum, with its sign"),
        Column("share", pl.Float64, "of the sum of mean_abs_shap over all groups; null where that is 0", nullable=True),
    ),
    key=("by", "group"),
)

GROUP_CONTRIBUTIONS = FrameSchema(
    "grouped contributions",
    (
        Column("row", pl.Int64, "0-based row of the data"),
        Column("group", pl.String, "what the columns were grouped by"),
        Column("shap", pl.Float64, "sum of the group's contributions, margin scale"),
        Column("base_value", pl.Float64, "the model's expected margin; with the row's sums it gives the margin"),
    ),
    key=("row", "group"),
)

INTERACTIONS = FrameSchema(
    "interactions",
    (
        Column("row", pl.Int64, "0-based row of the data"),
        Column("feature", pl.String, "column name"),
        Column("other", pl.String, "another column; the column itself for its main effect"),
        Column("shap", pl.Float64, "of the pair, both halves together; all lines of a row and the base add up"),
        Column("base_value", pl.Float64, "the model's expected margin"),
    ),
    key=("row", "feature", "other"),
)

LINEAR_TERMS = FrameSchema(
    "linear terms",
    (
        Column("feature", pl.String, "column name"),
        Column("coefficient", pl.Float64, "change of the margin per unit of the column"),
        Column("training_mean", pl.Float64, "mean over training rows, missing values replaced by the median"),
        Column("low", pl.Float64, "values below count as this one"),
        Column("high", pl.Float64, "values above count as this one"),
        Column("if_present", pl.Float64, "added to coefficient x (value - training mean), as the value is known"),
        Column("if_missing", pl.Float64, "the whole contribution of a missing value"),
    ),
    key=("feature",),
)

RECORD_SOURCES = FrameSchema(
    "records behind a value",
    (
        Column("n", pl.Int64, "1-based number, the oldest first"),
        Column("days_before", pl.Float64, "prediction minus time of the record; null without a date", nullable=True,
               unit="d"),
        Column("known_days_before", pl.Float64, "prediction minus when it was known", nullable=True, unit="d"),
        Column("code", pl.String, "code of the record"),
        Column("value", pl.Float64, "its number", nullable=True),
        Column("unit", pl.String, "unit of the number", nullable=True),
    ),
    key=("n",),
)  # fmt: skip

VARIANT_SOURCES = FrameSchema(
    "variants behind a value",
    (
        Column("n", pl.Int64, "1-based number, the largest share of the value first"),
        Column("contig", pl.String, "contig name without 'chr'"),
        Column("position", pl.Int64, "1-based position of REF's first base"),
        Column("ref", pl.String, "reference allele"),
        Column("alt", pl.String, "alternative allele"),
        Column("counted_allele", pl.String, "the allele whose copies are counted"),
        Column("copies", pl.Float64, "copies that this person carries; null where not called", nullable=True),
        Column("counted_as", pl.Float64, "copies that went into the value (an expectation where not called)"),
        Column("weight", pl.Float64, "weight per copy; null where the value is the copies themselves", nullable=True),
        Column("term", pl.Float64, "what the variant adds, before any adjustment"),
        Column("gene", pl.String, "gene or genes of the variant, where an annotation says", nullable=True),
        Column("consequence", pl.String, "most severe consequence, where an annotation says", nullable=True),
        Column("nucleotide", pl.Float64, "attribution of a sequence model to the base, where one gave the weight",
               nullable=True),
    ),
    key=("n",),
)  # fmt: skip

RESPONSES = FrameSchema(
    "responses of a model",
    (
        Column("row", pl.Int64, "0-based row of the data"),
        Column("prediction", pl.Float64, "as it is"),
        Column("under", pl.Float64, "the threshold"),
        Column("feature", pl.String, "column that is changed; null where nothing was found", nullable=True),
        Column("value", pl.Float64, "its value", nullable=True),
        Column("changed_to", pl.Float64, "nearest value at which the prediction is under the threshold", nullable=True),
        Column("change", pl.Float64, "|changed_to - value| over the range allowed; summed over a pair", nullable=True),
        Column("prediction_then", pl.Float64, "the model's prediction there", nullable=True),
        Column("note", pl.String, "why there is none, or empty"),
    ),
)
