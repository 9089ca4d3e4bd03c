"""The leakage certificate of a feature set: what was computed on it, and what that cannot show."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.features.certificate_checks import FEWEST, SEPARATES_ALONE, Check, column_strength, lag_in_words, some_of
from genomix.features.feature_set import FeatureSet, open_feature_set
from genomix.schemas.results import CERTIFICATE


class SetFacts(NamedTuple):
    """What was found while the set was made.

    changed, compared: values of first and last rows that differed when later records were altered. training: rows that
    codes and columns were chosen by, None where nothing was chosen. inclusive: whether records at the prediction count.
    """

    changed: int
    compared: int
    training: npt.NDArray[np.bool_] | None
    inclusive: bool


def certify_set(folder: Path, facts: SetFacts) -> pl.DataFrame:
    """Check a feature set and return the CERTIFICATE frame."""
    found = open_feature_set(folder)
    checks = [
        _availability(found, facts),
        _later_events(facts),
        _subjects_disjoint(found, facts),
        _columns_that_encode(found, facts),
        Check(
            "outcome_code", "not provable", "No feature is made from a code that defines the outcome.",
            "A feature set knows its labels, not how they were made; a study's certificate lists such codes.",
        ),
        Check(
            "stamps_at_source", "not provable", "The time stamps at the source are right.",
            "A record stamped before it was really known cannot be found by computation: review the availability.",
        ),
    ]  # fmt: skip
    return CERTIFICATE.validate(
        pl.DataFrame(checks, schema=[(c.name, c.dtype) for c in CERTIFICATE.columns], orient="row")
    )


def _availability(found: FeatureSet, facts: SetFacts) -> Check:
    claim = "Every record behind a feature was available at or before the prediction time."
    if not facts.inclusive:
        claim = "Every record behind a feature was available before the prediction time."
    lags = found.columns.drop_nulls("smallest_lag_days").sort("smallest_lag_days")
    if not lags.height:
        return Check("availability", "not applicable", claim, "No feature is made from dated records.")
    smallest = float(lags["smallest_lag_days"][0])
    least = pl.col("smallest_lag_days") < 0 if facts.inclusive else pl.col("smallest_lag_days") <= 0
    late = lags.filter(least)["name"].to_list()
    if late:
        return Check("availability", "failed", claim, f"{len(late)} features use later records: {some_of(late)}.")
    found_text = (
        f"{lags.height} features; the latest record was available {lag_in_words(smallest)} before its prediction time."
    )
    return Check("availability", "passed", claim, found_text)


def _later_events(facts: SetFacts) -> Check:
    claim = "Each person's first and last row is the same when every record that was known only later is another."
    if facts.changed:
        return Check("later_events", "failed", claim, f"{facts.changed} of {facts.compared} values changed.")
    return Check("later_events", "passed", claim, f"{facts.compared} values were made again and none changed.")


def _subjects_disjoint(found: FeatureSet, facts: SetFacts) -> Check:
    claim = "Nobody is both among the rows that columns were chosen by and among the others."
    if facts.training is None:
        return Check("subjects_disjoint", "not applicable", claim, "No column was chosen by what rows hold.")
    subject = found.index["subject_id"].to_numpy()
    both = np.intersect1d(subject[facts.training], subject[~facts.training])
    people = f"{len(np.unique(subject[facts.training]))} people in {int(facts.training.sum())} rows"
    if len(both):
        return Check("subjects_disjoint", "failed", claim, f"{len(both)} people stand on both sides; {people}.")
    return Check("subjects_disjoint", "passed", claim, f"Columns were chosen by {people}; none has another row.")


def _columns_that_encode(found: FeatureSet, facts: SetFacts) -> Check:
    claim = "No single column gives the outcome away."
    name = "columns_that_encode"
    labels = found.index["label"].to_numpy()
    rows = np.flatnonzero(~np.isnan(labels) & (True if facts.training is None else facts.training))
    y = labels[rows]
    binary = bool(np.isin(y, (0, 1)).all())
    least = min(int((y == 1).sum()), int((y == 0).sum())) if binary else len(rows)
    if least < FEWEST or len(np.unique(y)) < 2:
        each = " of each class" if binary else ""
        return Check(name, "not provable", claim, f"It takes {FEWEST} labelled rows{each} to judge a column.")
    dense = found.columns["storage"].to_numpy() == "dense"
    strength = np.zeros(found.columns.height)
    names = found.columns.filter(pl.col("storage") == "dense")["name"].to_list()
    strength[dense] = column_strength(found.block(names, rows).values, y, binary=binary)
    strength[~dense] = _sparse_strength(found, rows, y, binary)
    order = np.argsort(-strength, kind="stable")
    every = found.columns["name"].to_list()
    measure = "AUROC" if binary else "absolute correlation"
    suspects = [every[i] for i in order if strength[i] > SEPARATES_ALONE]
    if suspects:
        return Check(name, "failed", claim, f"{measure} above {SEPARATES_ALONE}: {some_of(suspects)}.")
    best = order[0]
    return Check(name, "passed", claim, f"Strongest single column: {every[best]}, {measure} {strength[best]:.2f}.")


def _sparse_strength(
    found: FeatureSet, rows: npt.NDArray[np.int64], y: npt.NDArray[np.float64], binary: bool
) -> npt.NDArray[np.float64]:
    from genomix.features import record_kernels as kernels

    matrix = found.sparse()
    part = (matrix if len(rows) == matrix.shape[0] else matrix[rows]).tocsc()
    absent = found.columns.filter(pl.col("storage") == "sparse")["absent"]
    zero = absent.is_not_null().to_numpy()
    indptr, indices = part.indptr.astype(np.int64), part.indices.astype(np.int32)
    return np.asarray(kernels.strengths(indptr, indices, part.data, zero, y.astype(np.float64), binary, FEWEST))
