"""Checks of the leakage certificate that look at a matrix, its records and what the study declares, as they are.

Those that make features again are in :mod:`genomix.features.certificate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.ehr.vocabulary import roll_up
from genomix.ehr.windows import window_aggregates
from genomix.features.family import FeatureInputs, Options
from genomix.features.matrix import FeatureMatrix, RowArray
from genomix.features.split import crossing_kinship
from genomix.variants.kinship import DEGREES

SEPARATES_ALONE = 0.95
"""A single column whose AUROC (either direction) or |correlation| exceeds this may encode the outcome."""

FEWEST = 10
"""Fewest people (of each class, where there are classes) among whom a column's strength is judged."""


class Check(NamedTuple):
    """One line of the certificate."""

    check: str
    status: str
    claim: str
    found: str


def availability(matrix: FeatureMatrix) -> Check:
    """Check that no feature read a record that became available after its prediction time."""
    claim = "Every record behind a feature was available at or before the prediction time."
    columns = all_columns(matrix)
    lags = columns.filter(pl.col("smallest_lag_days").is_not_null())
    if not lags.height:
        return Check("availability", "not applicable", claim, "No feature is made from dated records.")
    late = lags.filter(pl.col("smallest_lag_days") < 0)
    smallest = float(lags["smallest_lag_days"].to_numpy().min())
    if late.height:
        names = some_of(late["name"].to_list())
        return Check(
            "availability", "failed", claim, f"{late.height} of {lags.height} features use later records: {names}."
        )
    found = (
        f"{lags.height} features; the latest record was available {lag_in_words(smallest)} before its prediction time."
    )
    return Check("availability", "passed", claim, found)


def date_only_records(events: pl.DataFrame | None) -> Check:
    """Check that records with a date but no time count from the end of their day."""
    claim = "A record with a date but no time of day counts from the end of that day."
    if events is None:
        return Check("date_only", "not applicable", claim, "The study has no dated records.")
    days = events.filter(pl.col("time_precision") == "day")
    early = days.filter(
        pl.col("available_time").is_null()
        | (
            pl.col("available_time")
            < pl.col("time").dt.truncate("1d") + pl.duration(days=1) - pl.duration(microseconds=1)
        )
    )
    if early.height:
        return Check("date_only", "failed", claim, f"{early.height} of {days.height} date-only records count earlier.")
    return Check("date_only", "passed", claim, f"All {days.height} date-only records of {events.height} do.")


def subjects_disjoint(matrix: FeatureMatrix) -> Check:
    """Check that no subject has rows on both sides of a split."""
    claim = "Nobody is both in training (or tuning) and held out."
    both = 0
    for k in range(len(matrix.folds)):
        fitted = matrix.index[matrix.rows(k, "train", "tuning")]["subject_id"]
        held_out = matrix.index[matrix.rows(k, "held_out")]["subject_id"]
        both += len(set(fitted.to_list()) & set(held_out.to_list()))
    n = matrix.index["subject_id"].n_unique()
    if both:
        return Check(
            "subjects_disjoint", "failed", claim, f"{both} people stand on both sides ({len(matrix.folds)} folds)."
        )
    return Check(
        "subjects_disjoint", "passed", claim, f"{n} people in {len(matrix.folds)} fold(s); none on both sides."
    )


def kin_disjoint(
    matrix: FeatureMatrix, sample_of_row: RowArray | None, kinship: pl.DataFrame | None, threshold: float | None
) -> Check:
    """Measure the kinship that crosses the split, and check it against what the split promised."""
    claim = "Close relatives are never on both sides of the split."
    if kinship is None or sample_of_row is None:
        return Check("kin_disjoint", "not provable", claim, "Without genotypes relatives cannot be found.")
    worst: list[Any] = []
    for k in range(len(matrix.folds)):
        worst.append(
            crossing_kinship(kinship, sample_of_row, matrix.rows(k, "train", "tuning"), matrix.rows(k, "held_out"))
        )
    maximum = max((w.maximum for w in worst if w.maximum is not None), default=None)
    counts = ", ".join(f"{sum(w.counts[degree] for w in worst)} pairs above {cut:g}" for degree, cut in DEGREES.items())
    counts += f", over {len(worst)} fold(s)"
    found = f"Largest kinship that crosses: {'none above 0.0442' if maximum is None else f'{maximum:.4f}'}; {counts}."
    if threshold is None:
        return Check(
            "kin_disjoint",
            "not provable",
            claim,
            "The study holds out clusters of low kinship, so relatives cross. " + found,
        )
    status = "failed" if maximum is not None and maximum > threshold else "passed"
    return Check("kin_disjoint", status, f"{claim} (threshold {threshold:g})", found)


def imputed_from_training(matrix: FeatureMatrix, imputed: Mapping[int, bool] | None) -> Check:
    """State, per fold, whether the imputer and scaler learned again from training rows are the ones in the bundle."""
    claim = "Missing values were filled and columns scaled by figures of training rows only."
    if not imputed:
        return Check("imputed_from_training", "not applicable", claim, "No model of this study fills missing values.")
    wrong = [k for k, same in sorted(imputed.items()) if not same]
    if wrong:
        return Check("imputed_from_training", "failed", claim, f"Learned from other rows in fold(s) {some_of(wrong)}.")
    found = f"Learned again on training rows of {len(imputed)} of {len(matrix.folds)} fold(s), identical."
    return Check("imputed_from_training", "passed", claim, found)


def columns_that_encode(matrix: FeatureMatrix, *, binary: bool) -> Check:
    """Look for a column that alone separates the outcome, by its values or by being missing (training rows)."""
    claim = "No single column gives the outcome away."
    strongest, name = 0.0, ""
    suspects: set[str] = set()
    for k in range(len(matrix.folds)):
        rows = matrix.rows(k, "train")
        block, labels = matrix.for_fold(k), matrix.labels[rows]
        strength = column_strength(block.values[rows], labels, binary=binary)
        for column, value in zip(block.columns["name"].to_list(), strength.tolist(), strict=True):
            if value > strongest:
                strongest, name = value, column
            if value > SEPARATES_ALONE:
                suspects.add(column)
    measure = "AUROC" if binary else "absolute correlation"
    if suspects:
        return Check(
            "columns_that_encode", "failed", claim, f"{measure} above {SEPARATES_ALONE}: {some_of(sorted(suspects))}."
        )
    return Check(
        "columns_that_encode", "passed", claim, f"Strongest single column: {name or 'none'}, {measure} {strongest:.2f}."
    )


def column_strength(
    values: npt.NDArray[np.float32], labels: npt.NDArray[np.float64], *, binary: bool
) -> npt.NDArray[np.float64]:
    """Return each column's strength alone: max(AUROC, 1 − AUROC), or |Pearson r|; of value or of missingness.

    Values missing on a row are left out of the value's strength. Fewer than 10 rows, or than 10 of either class, give
    0: so few people separate by chance.
    """
    strength = np.zeros(values.shape[1])
    for j in range(values.shape[1]):
        present = ~np.isnan(values[:, j])
        strength[j] = max(
            _strength(values[present, j].astype(np.float64), labels[present], binary),
            _strength(present.astype(np.float64), labels, binary),
        )
    return strength


def _strength(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], binary: bool) -> float:
    if len(x) < FEWEST or x.min() == x.max() or y.min() == y.max():
        return 0.0
    if not binary:
        return abs(float(np.corrcoef(x, y)[0, 1]))
    if min((y == 1).sum(), (y == 0).sum()) < FEWEST:
        return 0.0
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    midranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n1 = float((y == 1).sum())
    auroc = (midranks[y == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1))
    return float(max(auroc, 1 - auroc))


def same_window(matrix: FeatureMatrix, inputs: FeatureInputs, *, binary: bool) -> Check:
    """Compare how much record lies before the prediction with and without the outcome.

    Windows are the same for all rows; prediction times need not be chosen alike. Where cases are predicted at an event
    and controls at any other time, the length of the history, or the time since the last record, tells them apart.
    """
    claim = "Rows with and without the outcome are looked at from prediction times that were chosen alike."
    name = "same_window"
    if inputs.events is None or inputs.index["prediction_time"].null_count():
        return Check(name, "not applicable", claim, "The study has no prediction times.")
    dated = inputs.events.filter(pl.col("time").is_not_null() & (pl.col("code") != "MEDS_BIRTH"))
    every = dated.with_columns(pl.lit("any").alias("code"), pl.lit(None, dtype=pl.Float32).alias("numeric_value"))
    spans = ("time_since_first", "time_since_last")
    found = window_aggregates(every, inputs.index, windows=["full"], aggregations=spans, device=inputs.device).values
    joined = inputs.index.select("row").join(found, on="row", how="left", maintain_order="left")
    values = joined.select(pl.col(spans).fill_null(float("nan"))).to_numpy().astype(np.float32)
    labels = matrix.labels
    strength = column_strength(values, labels, binary=binary)
    measure = "AUROC" if binary else "absolute correlation"
    words = []
    for column, what, value in zip(values.T, ("History", "time since the last record"), strength, strict=True):
        groups = ((1, "with"), (0, "without")) if binary else ((None, "over all"),)
        medians = [
            f"{np.median(known):.3g} days {word}"
            for label, word in groups
            if len(known := column[~np.isnan(column) & (True if label is None else labels == label)])
        ]
        words.append(f"{what}: median {', '.join(medians) or 'unknown'} ({measure} {value:.2f})")
    status = "failed" if strength.max() > SEPARATES_ALONE else "passed"
    return Check(name, status, claim, "; ".join(words) + ".")


def outcome_in_gap(matrix: FeatureMatrix, in_gap: int | None) -> Check:
    """List outcomes between prediction and label window: their rows are labelled by what comes after."""
    claim = "No outcome falls between the prediction and the window in which it is looked for."
    if in_gap is None:
        return Check("outcome_in_gap", "not applicable", claim, "The outcome is looked for from the prediction on.")
    n = matrix.index.height
    if not in_gap:
        return Check("outcome_in_gap", "passed", claim, f"None of {n} rows has an outcome there.")
    many = f"{in_gap} of {n}" if in_gap >= FEWEST else f"Fewer than {FEWEST} of {n}"
    return Check("outcome_in_gap", "not provable", claim, f"{many} rows have: they are labelled by the window alone.")


def code_depth(options: Mapping[str, Options]) -> int | None:
    """Return how many parts of a code the record windows keep, None for all."""
    depth = options.get("record_windows", {}).get("code_depth")
    return None if depth is None else int(depth)


def outcome_code_as_feature(
    matrix: FeatureMatrix, outcome_codes: tuple[str, ...], events: pl.DataFrame | None = None, depth: int | None = None
) -> Check:
    """List features made from the codes that define the outcome: earlier episodes, or the outcome recorded early."""
    claim = "No feature is made from a code that defines the outcome."
    if not outcome_codes:
        return Check("outcome_code", "not applicable", claim, "The outcome is not defined by codes.")
    columns = all_columns(matrix).filter(pl.col("code").is_not_null() & (pl.col("source") == "records"))
    known = pl.concat([columns["code"], *([] if events is None else [events["code"]])]).unique().sort()
    outcome = pl.concat([known.filter(known.str.contains(pattern)) for pattern in outcome_codes]).unique().sort()
    made_of = set(outcome.to_list()) | set(roll_up(outcome, depth).to_list())
    found = sorted(columns.filter(pl.col("code").is_in(sorted(made_of)))["name"].to_list())
    if found:
        return Check(
            "outcome_code", "not provable", claim, f"Made from outcome codes before prediction: {some_of(found)}."
        )
    return Check("outcome_code", "passed", claim, f"None of {columns.height} features with a code is.")


def score_discovery(cohorts: Mapping[str, str]) -> Check:
    """State whether a score's discovery cohorts overlap the study's people, as far as the study declares it."""
    claim = "No polygenic score was trained on the study's own people."
    if not cohorts:
        return Check("score_discovery", "not applicable", claim, "The study uses no score.")
    overlapping = sorted(n for n, c in cohorts.items() if c == "overlaps")
    unknown = sorted(n for n, c in cohorts.items() if c == "unknown")
    if overlapping:
        return Check("score_discovery", "failed", claim, f"Declared to overlap: {some_of(overlapping)}.")
    if unknown:
        return Check("score_discovery", "not provable", claim, f"Discovery cohorts not declared: {some_of(unknown)}.")
    return Check("score_discovery", "passed", claim, "The study declares no overlap (declared, not computed).")


def given_columns(matrix: FeatureMatrix) -> Check:
    """Name the columns that came ready-made: what they were fitted on cannot be seen from here."""
    claim = "Columns that the study was given ready-made were not fitted on held-out people."
    given = all_columns(matrix).filter(pl.col("source") == "table")
    by_column = pl.when(pl.col("aggregation") == "level").then("group").otherwise("name")  # levels by their column
    told = pl.col("group") if of_table(matrix) else by_column
    names = given.select(told.alias("told"))["told"].unique(maintain_order=True).to_list()
    if not names:
        return Check("given_columns", "not applicable", claim, "Every feature was made here.")
    return Check("given_columns", "not provable", claim, f"Made elsewhere: {some_of(names)}.")


def of_table(matrix: FeatureMatrix) -> bool:
    """Say whether the matrix is of a table study, whose rows have no times."""
    return "source_row" in matrix.index.columns


def given_in_time(matrix: FeatureMatrix) -> Check:
    """Say of a table study what nothing can show: whether its columns were known before the outcome."""
    claim = "Every column of the table was known when the prediction would be made."
    n = all_columns(matrix).filter(pl.col("source") == "table")["group"].n_unique()
    found = f"The table states no times of its columns: for these {n} it rests on the study's word."
    return Check("given_in_time", "not provable", claim, found)


def stamps_at_source(events: pl.DataFrame | None) -> Check:
    """Say what no recomputation can show: a stamp that is wrong at the source."""
    claim = "The time stamps at the source are right."
    if events is None:
        return Check("stamps_at_source", "not applicable", claim, "The study has no dated records.")
    found = "A record stamped before it was really known cannot be found by computation; review the availability rules."
    return Check("stamps_at_source", "not provable", claim, found)


def lag_in_words(days: float) -> str:
    """Return how long before a prediction a record was available.

    >>> lag_in_words(1.5), lag_in_words(0.0), lag_in_words(1e-11)
    ('1.5 days', '0 days', 'less than a second')
    """
    return "less than a second" if 0 < days < 1 / 86_400 else f"{days:.6g} days"


def all_columns(matrix: FeatureMatrix) -> pl.DataFrame:
    """Return the dictionary of every column of every fold, one row per name, the smallest lag over folds."""
    frames = [matrix.block.columns, *(fold.block.columns for fold in matrix.folds)]
    return (
        pl.concat(frames)
        .sort("name", "smallest_lag_days", nulls_last=True)
        .unique("name", keep="first", maintain_order=True)
    )


def some_of(names: list[Any], most: int = 10) -> str:
    """Return the first names in words, and how many more there are."""
    shown = ", ".join(str(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
