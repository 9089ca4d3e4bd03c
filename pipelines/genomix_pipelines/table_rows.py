"""A table study's rows: who each is of, which are left out and why, and what the outcome's column says of each.

People are numbered by their first row in the table; no identifier of the table travels further than this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.errors import FormatError, LabelError
from genomix.io.tables import numbers_of, read_text_columns
from genomix.models.survival_metrics import check_outcome
from genomix.schemas.people import FLOW
from genomix_pipelines.study import Study
from genomix_pipelines.study_sections import OutcomeSection, TableSection


class TableCohort(NamedTuple):
    """Labels (TABLE_LABELS) of the rows that were not left out, the flow (FLOW), and figures for the report.

    ``follow_up``: of a time to an event, source_row, ``time`` in the outcome's unit and ``cause`` (1 the event, 2 a
    competing one, 0 neither) of every labelled row.
    """

    labels: pl.DataFrame
    flow: pl.DataFrame
    quality: dict[str, Any]
    follow_up: pl.DataFrame | None = None


def table_features(study: Study, path: Path) -> pl.DataFrame:
    """Return source_row, subject_id, and the columns listed as features: numbers as Float64, categories as text.

    Raises
    ------
    ConfigError, FormatError: as :func:`table_cohort`.
    """
    assert study.table is not None
    own, texts = _read(study, path)
    return _typed(own, texts, study.table, path)


def table_cohort(study: Study, path: Path) -> TableCohort:
    """Read the table, leave rows out as the study says, and label the rest.

    Raises
    ------
    ConfigError: when the table lacks a column that the study names.
    FormatError: for a row without a person, a row name that is there twice, or a number that is none; never naming
        who it is.
    LabelError: for a value of the outcome that the study does not list.
    """
    table, outcome = study.table, study.outcome
    assert table is not None
    assert outcome is not None
    own, texts = _read(study, path)
    features = _typed(own, texts, table, path)
    values = _outcome_values(texts[outcome.column], outcome, path)
    kept = pl.repeat(value=True, n=texts.height, eager=True)
    steps: list[list[Any]] = []

    def note(step: str, after: pl.Series) -> pl.Series:
        events = int((values.filter(after) == 1).sum()) if study.two_class else None
        before, left = int(kept.sum()), int(after.sum())
        steps.append(["study", step, table.row_word, before, before - left, left, events])
        return after

    kept = note("the row is in the table", kept)
    for rule in table.leave_out:
        kept = note(f"not: {rule.reason}", kept & ~texts[rule.column].is_in(rule.values).fill_null(value=False))
    if table.keep_first is not None:
        first = _first_of_each(features["subject_id"], numbers_of(texts[table.keep_first], path), kept)
        kept = note(f"the person's first by {table.keep_first}", first)
    _check_values(texts[outcome.column].filter(kept), values.filter(kept), outcome, path)
    labels = features.filter(kept).select(
        "subject_id", pl.lit(None, dtype=pl.Datetime("us")).alias("prediction_time"),
        values.filter(kept).alias("value"),
        pl.lit(None, dtype=pl.Float64).alias("time_days"), pl.lit(1.0).alias("weight"), "source_row",
    ).with_columns(
        pl.when(pl.col("value").is_null()).then(pl.lit("censored")).otherwise(pl.lit("observed")).alias("status")
    )  # fmt: skip
    flow = pl.DataFrame(steps, schema={c.name: c.dtype for c in FLOW.columns}, orient="row")
    seen = own.filter(kept), texts.filter(kept), values.filter(kept)
    follow_up = _follow_up(*seen, outcome, path) if outcome.time_column is not None else None
    return TableCohort(labels, flow, _quality(features.filter(kept)), follow_up)


def _follow_up(
    own: pl.DataFrame, texts: pl.DataFrame, values: pl.Series, outcome: OutcomeSection, path: Path
) -> pl.DataFrame:
    """Return source_row, time and cause of the rows with a label; a LabelError for a time that is none."""
    assert outcome.time_column is not None
    time = numbers_of(texts[outcome.time_column], path).cast(pl.Float64)
    other = texts[outcome.column].is_in(outcome.competing).fill_null(value=False)
    frame = pl.DataFrame(
        {"source_row": own["source_row"], "time": time, "event": values, "other": other}
    ).filter(pl.col("event").is_not_null())  # fmt: skip
    known = frame["time"].fill_null(float("nan")).to_numpy()
    if frame.height:
        check_outcome(known, frame["event"].to_numpy(), f"column {outcome.time_column!r}")
    cause = pl.when(pl.col("other")).then(2).otherwise(pl.col("event")).cast(pl.Int64)
    return frame.select("source_row", "time", cause.alias("cause"))


def _read(study: Study, path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return source_row and subject_id, and every column that the study names as text."""
    table, outcome = study.table, study.outcome
    assert table is not None
    assert outcome is not None
    given = (table.id_column, table.row_column, table.keep_first, outcome.column, outcome.time_column)
    single = [n for n in given if n is not None]
    names = [*single, *table.feature_columns, *(rule.column for rule in table.leave_out)]
    texts = read_text_columns(path, list(dict.fromkeys(names)), missing=table.missing_values)
    _check_named(texts[table.id_column], "no person", path)
    if table.row_column is not None:
        _check_named(texts[table.row_column], "no name", path)
        _check_once(texts[table.row_column], path)
    persons = texts.select(person=table.id_column)
    numbered = persons.unique(maintain_order=True).with_row_index("subject_id", offset=1)
    own = persons.join(numbered, on="person", how="left", maintain_order="left").select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("source_row"), pl.col("subject_id").cast(pl.Int64)
    )
    return own, texts


def _typed(own: pl.DataFrame, texts: pl.DataFrame, table: TableSection, path: Path) -> pl.DataFrame:
    """Return source_row, subject_id and the features; their names are never those two (see the study file's rules)."""
    numbers = [numbers_of(texts[name], path) for name in table.columns]
    return own.with_columns(*numbers, *(texts[c.column] for c in table.categorical))


def _check_named(names: pl.Series, what: str, path: Path) -> None:
    n = names.null_count()
    if n:
        row = int(names.is_null().arg_max() or 0) + 1
        raise FormatError(f"{n:,} rows have {what} (column {names.name!r}), the first is row {row}", where=str(path))


def _check_once(names: pl.Series, path: Path) -> None:
    again = ~names.is_first_distinct()
    if again.any():
        row = int(again.arg_max() or 0)
        first = int((names == names[row]).arg_max() or 0)
        raise FormatError(
            f"rows {first + 1} and {row + 1} of the table have the same {names.name!r}", where=str(path),
            hint="row_column must name each row once; leave it out when nothing does",
        )  # fmt: skip


def _outcome_values(texts: pl.Series, outcome: OutcomeSection, path: Path) -> pl.Series:
    """Return 1 and 0, or the quantity; null where the study says unknown, or nothing (which is told apart later)."""
    if outcome.kind == "regression":
        known = pl.select(pl.when(~texts.is_in(outcome.unknown)).then(texts).alias(texts.name)).to_series()
        return numbers_of(known, path)
    coded = {**dict.fromkeys(outcome.positive, 1.0), **dict.fromkeys((*outcome.negative, *outcome.competing), 0.0)}
    return texts.replace_strict(coded, default=None, return_dtype=pl.Float64)


def _check_values(texts: pl.Series, values: pl.Series, outcome: OutcomeSection, path: Path) -> None:
    """Refuse a value of the outcome that the study does not list."""
    wrong = texts.filter(values.is_null() & texts.is_not_null() & ~texts.is_in(outcome.unknown).fill_null(value=False))
    if len(wrong):
        counts = wrong.value_counts(sort=True).sort("count", texts.name, descending=[True, False])
        value, n = counts.row(0)
        more = f" (and {counts.height - 1} more values)" if counts.height > 1 else ""
        raise LabelError(
            f"{n:,} rows have the outcome {value!r}, which [outcome] does not list{more}", where=str(path),
            hint="list it as positive, negative or unknown",
        )  # fmt: skip


def _first_of_each(subjects: pl.Series, order: pl.Series, kept: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"subject": subjects, "order": order, "row": range(len(order))}).filter(kept)
    first = frame.sort("order", "row", nulls_last=True).unique("subject", keep="first")["row"]
    return pl.Series(range(len(order))).is_in(first.implode())


def _quality(features: pl.DataFrame) -> dict[str, Any]:
    """Return how many rows and people there are, and of each column how many rows have no value."""
    per_person = features["subject_id"].value_counts()["count"]
    columns = [c for c in features if c.name not in ("source_row", "subject_id")]
    return {
        "rows": features.height,
        "people": len(per_person),
        "people_with_several_rows": int((per_person > 1).sum()),
        "given_columns": [
            {"column": c.name, "kind": "number" if c.dtype.is_numeric() else "category",
             "rows_without_a_value": c.null_count()}
            for c in columns
        ],
    }  # fmt: skip
