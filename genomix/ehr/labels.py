"""Labels beside other people's: the MEDS label file, and what each censoring policy would have given."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, get_args

import polars as pl

from genomix.ehr.cohort import extract_cohort
from genomix.ehr.task import Censoring, Task
from genomix.errors import LabelError


class MedsLabels(NamedTuple):
    """A MEDS label file, and how many rows it cannot hold."""

    labels: pl.DataFrame
    left_out: int


def to_meds_labels(labels: pl.DataFrame) -> MedsLabels:
    """Return subject_id, prediction_time and boolean_value or float_value (MEDS 0.4, which allows no null label).

    Parameters
    ----------
    labels: schema LABELS. Rows without a value or a prediction time are left out and counted; status, times and
        weights have no column there.
    """
    known = labels.filter(pl.col("value").is_not_null() & pl.col("prediction_time").is_not_null())
    binary = known["value"].is_in([0.0, 1.0]).all()
    number = pl.col("value").cast(pl.Float32).alias("float_value")
    value = (pl.col("value") == 1).alias("boolean_value") if binary else number
    table = known.select("subject_id", "prediction_time", value).sort("subject_id", "prediction_time")
    return MedsLabels(table, labels.height - known.height)


def policy_comparison(events: pl.DataFrame, task: Task) -> pl.DataFrame:
    """Return for each censoring policy: policy, rows, labelled, positive (no row where a policy leaves nobody).

    The policy decides what becomes of rows whose record ends before the label window does; where the counts differ
    much, so will a model, and the choice belongs beside its result.
    """
    rows = []
    for policy in get_args(Censoring):
        try:
            found = extract_cohort(events, replace(task, policies=replace(task.policies, censoring=policy))).labels
        except LabelError:
            rows.append((policy, 0, 0, 0))
            continue
        values = found["value"].drop_nulls()
        rows.append((policy, found.height, len(values), int((values == 1).sum())))
    schema = {"policy": pl.String, "rows": pl.Int64, "labelled": pl.Int64, "positive": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")
