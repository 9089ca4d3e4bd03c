"""Example people for the opt-in file: chosen by risk, numbered, each bar with the records behind it as days before."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.explain.tree_shap import Explained
from genomix.features.matrix import FeatureMatrix
from genomix.models.model import sigmoid
from genomix.privacy import TOP_CODED_AGE_YEARS
from genomix_pipelines.stage import StageContext

BARS = 8
RECORDS_PER_BAR = 5


def example_subjects(
    context: StageContext, matrix: FeatureMatrix, explained: Explained, count: int
) -> list[dict[str, Any]]:
    """Return ``count`` people spread over the predicted range (each in the middle of its share), lowest first."""
    margins = explained.values.astype(np.float64).sum(axis=1) + explained.base_value
    order = np.argsort(margins, kind="stable")
    positions = [int((2 * i + 1) * len(order) / (2 * count)) for i in range(count)]
    events = _events(context)
    people = []
    for ordinal, position in enumerate(positions, start=1):
        at = int(order[position])
        row = int(explained.row[at])
        margin = float(margins[at])
        people.append(
            {
                "ordinal": ordinal,
                "prediction": float(sigmoid(np.array([margin]))[0]) if context.study.binary else margin,
                "base_value": float(explained.base_value),
                "label": float(matrix.labels[row]),
                "bars": _bars(explained, at, matrix.index.row(row, named=True), events),
            }
        )
    return people


def _bars(explained: Explained, at: int, row: dict[str, Any], events: pl.DataFrame | None) -> list[dict[str, Any]]:
    """Return the largest contributions, each with its sentence, value and records, and the sum of all others."""
    shap = explained.values[at].astype(np.float64)
    largest = np.argsort(-np.abs(shap), kind="stable")[:BARS]
    bars = []
    for j in largest.tolist():
        column = explained.columns.row(j, named=True)
        value = float(explained.features[at, j])
        if column["family"] == "demographics" and column["group"] == "age":
            value = float(np.floor(min(value, float(TOP_CODED_AGE_YEARS))))
        bars.append(
            {
                "feature": column["name"],
                "sentence": column["sentence"],
                "value": None if np.isnan(value) else value,
                "unit": None if column["unit"] == "1" else column["unit"],
                "shap": float(shap[j]),
                "records": _records(column, row, events),
            }
        )
    rest = float(shap.sum() - shap[largest].sum())
    others = len(shap) - len(largest)
    if others:
        bars.append(
            {
                "feature": "",
                "sentence": f"all {others} other features",
                "value": None,
                "unit": None,
                "shap": rest,
                "records": [],
            }
        )
    return bars


def _records(column: dict[str, Any], row: dict[str, Any], events: pl.DataFrame | None) -> list[dict[str, Any]]:
    """Return the latest records behind a feature as (days before prediction, what)."""
    if events is None or column["source"] != "records" or column["code"] is None or row["prediction_time"] is None:
        return []
    t = row["prediction_time"]
    mine = events.filter(
        (pl.col("subject_id") == row["subject_id"])
        & ((pl.col("code") == column["code"]) | pl.col("code").str.starts_with(column["code"] + "//"))
        & (pl.col("time") <= t)
        & (pl.col("available_time") <= t)
    )
    if column["window"] not in (None, "full"):
        mine = mine.filter(
            (pl.lit(t) - pl.col("time")).dt.total_seconds() < int(column["window"].removesuffix("d")) * 86400
        )
    latest = mine.sort("time", "code", "numeric_value", descending=[True, False, False]).head(RECORDS_PER_BAR)
    shown = []
    for time, code, value, unit in latest.select("time", "code", "numeric_value", "unit").iter_rows():
        days = (t - time).total_seconds() / 86400
        figure = "" if value is None else f" {value:.4g}" + (f" {unit}" if unit else "")
        shown.append({"days_before": round(days, 1), "what": f"{code}{figure}"})
    return shown


def _events(context: StageContext) -> pl.DataFrame | None:
    if not context.has("convert_records"):
        return None
    from genomix_pipelines.stage_inputs import read_events

    return read_events(context)
