"""Example people for the opt-in file: chosen by risk, numbered, each bar with the records behind it as days before."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.explain.tree_shap import Explained
from genomix.features.matrix import FeatureMatrix
from genomix.features.record_columns import FAMILY_NAME as RECORDS
from genomix.features.record_columns import RecordWindowOptions, read_options
from genomix.features.record_sources import source_records
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
    behind = _behind(context)
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
                "bars": _bars(explained, at, matrix.index.row(row, named=True), behind),
            }
        )
    return people


def _bars(explained: Explained, at: int, row: dict[str, Any], behind: _Behind | None) -> list[dict[str, Any]]:
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
                "records": _records(column, row, behind),
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


def _records(column: dict[str, Any], row: dict[str, Any], behind: _Behind | None) -> list[dict[str, Any]]:
    """Return the latest records that the value was made from as (days before prediction, what)."""
    t = row["prediction_time"]
    if behind is None or column["family"] != RECORDS or t is None:
        return []
    found = source_records(behind.events, row["subject_id"], t, column, behind.options)
    latest = found.sort("time", "code", "numeric_value", descending=[True, False, False], nulls_last=True)
    shown = []
    for time, code, value, unit in (
        latest.head(RECORDS_PER_BAR).select("time", "code", "numeric_value", "unit").iter_rows()
    ):
        days = None if time is None else round((t - time).total_seconds() / 86400, 1)
        figure = "" if value is None else f" {value:.4g}" + (f" {unit}" if unit else "")
        shown.append({"days_before": days, "what": f"{code}{figure}"})
    return shown


class _Behind(NamedTuple):
    """The study's records, and the options that its look-back columns were made with."""

    events: pl.DataFrame
    options: RecordWindowOptions


def _behind(context: StageContext) -> _Behind | None:
    if not context.has("convert_records") or context.study.features.record_windows is None:
        return None
    from genomix_pipelines.stage_inputs import family_options, read_events

    return _Behind(read_events(context), read_options(family_options(context, RECORDS)))
