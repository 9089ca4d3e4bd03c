"""The leakage certificate: computed checks on a study's matrix, and a plain statement of what they cannot prove.

Each check returns one row of the CERTIFICATE frame. ``failed`` means that a leak was found; ``not provable`` that the
data cannot show it either way; nothing is ``passed`` without having been computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.ehr.vocabulary import roll_up
from genomix.errors import GenomixError
from genomix.features.family import FeatureFamily, FeatureInputs, Options, fitting_inputs
from genomix.features.matrix import FeatureBlock, FeatureMatrix, RowArray
from genomix.features.other_people import with_others_replaced
from genomix.features.split import crossing_kinship
from genomix.provenance import canonical_json
from genomix.schemas.results import CERTIFICATE
from genomix.variants.kinship import DEGREES

SEPARATES_ALONE = 0.95
"""A single column whose AUROC (either direction) or |correlation| exceeds this may encode the outcome."""

ROUNDING = 1e-5
"""Share of a column's largest value by which a learned feature's value may differ when it is made again."""

PICKS: tuple[Literal["first", "last"], ...] = ("first", "last")

FEWEST = 10
"""Fewest people (of each class, where there are classes) among whom a column's strength is judged."""


class Check(NamedTuple):
    """One line of the certificate."""

    check: str
    status: str
    claim: str
    found: str


def certify(
    matrix: FeatureMatrix,
    families: Mapping[str, FeatureFamily],
    options: Mapping[str, Options],
    inputs: FeatureInputs,
    *,
    binary: bool,
    kinship: pl.DataFrame | None,
    kinship_threshold: float | None,
    imputed: Mapping[int, bool] | None = None,
    outcome_codes: tuple[str, ...] = (),
    score_cohorts: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Run every check and return the CERTIFICATE frame.

    Parameters
    ----------
    matrix, families, options, inputs: as given to and returned by ``assemble``.
    kinship: pairs (schema KINSHIP), None without genotypes. kinship_threshold: what the split promised to keep
        together, None when the study's population allows no such split.
    imputed: per fold, whether the linear model's imputer and scaler are what training rows alone give.
    outcome_codes: regular expressions of the codes that define the outcome. score_cohorts: discovery cohorts by score.
    """
    checks = [
        availability(matrix),
        later_events_change_nothing(matrix, families, options, inputs),
        date_only_records(inputs.events),
        subjects_disjoint(matrix),
        kin_disjoint(matrix, inputs.sample_of_row, kinship, kinship_threshold),
        learned_from_training(matrix, families, options, inputs),
        imputed_from_training(matrix, imputed),
        columns_that_encode(matrix, binary=binary),
        outcome_code_as_feature(matrix, outcome_codes, inputs.events, code_depth(options)),
        score_discovery(score_cohorts or {}),
        given_columns(matrix),
        stamps_at_source(inputs.events),
    ]
    return CERTIFICATE.validate(
        pl.DataFrame(checks, schema=[(c.name, c.dtype) for c in CERTIFICATE.columns], orient="row")
    )


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
        names = _names(late["name"].to_list())
        return Check(
            "availability", "failed", claim, f"{late.height} of {lags.height} features use later records: {names}."
        )
    found = f"{lags.height} features; the latest record was available {smallest:.6g} days before its prediction time."
    return Check("availability", "passed", claim, found)


def later_events_change_nothing(
    matrix: FeatureMatrix,
    families: Mapping[str, FeatureFamily],
    options: Mapping[str, Options],
    inputs: FeatureInputs,
) -> Check:
    """Recompute each subject's first and last row without any event known later, and compare with the matrix."""
    claim = "Each person's first and last row, made again without any record known only later, is the same."
    # a family that names no need reads whatever there is, records too
    dated = {n: f for n, f in families.items() if "records" in f.needs or not f.needs}
    if inputs.events is None or not dated:
        return Check("later_events", "not applicable", claim, "No feature is made from dated records.")
    compared, changed = 0, set[str]()
    picks = {tuple(_one_row_per_subject(inputs.index, pick).tolist()) for pick in PICKS}
    for rows in (np.array(pick, dtype=np.int64) for pick in sorted(picks)):
        cut = replace(inputs, events=_events_known_at(inputs.events, inputs.index[rows]))
        for name, family in dated.items():
            again = family.compute(cut, options.get(name, {}))
            for block in (matrix.block, *(fold.block for fold in matrix.folds)):
                used = block.select(block.columns.filter(pl.col("family") == name)["name"].to_list())
                compared += len(rows) * used.values.shape[1]
                changed |= set(_differences(used, again, rows))
    if changed:
        return Check("later_events", "failed", claim, f"Values changed in: {_names(sorted(changed))}.")
    return Check("later_events", "passed", claim, f"{compared} values were recomputed and none changed.")


def _one_row_per_subject(index: pl.DataFrame, pick: Literal["first", "last"]) -> RowArray:
    ordered = index.sort("subject_id", "prediction_time", "row")
    return np.sort(ordered.unique("subject_id", keep=pick, maintain_order=True)["row"].to_numpy()).astype(np.int64)


def _events_known_at(events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    limits = index.select("subject_id", pl.col("prediction_time").alias("_limit"))
    known = (pl.col("time").is_null() | (pl.col("time") <= pl.col("_limit"))) & (
        pl.col("available_time").is_null() | (pl.col("available_time") <= pl.col("_limit"))
    )
    joined = events.join(limits, on="subject_id", how="left", maintain_order="left")
    return joined.filter(known | pl.col("_limit").is_null()).drop("_limit")


def _differences(whole: FeatureBlock, again: FeatureBlock, rows: RowArray, *, tolerance: float = 0.0) -> list[str]:
    """Name the columns whose values differ at ``rows``; a column that vanished must have been empty there.

    tolerance: largest difference that counts as none, as a share of the column's largest value.
    """
    position = {name: i for i, name in enumerate(again.columns["name"].to_list())}
    changed = []
    for i, (name, aggregation) in enumerate(whole.columns.select("name", "aggregation").iter_rows()):
        before = whole.values[rows, i]
        if name in position:
            after = again.values[rows, position[name]]
            allowed = tolerance * float(np.nanmax(np.abs(before), initial=0.0))
            same = np.allclose(before, after, rtol=0.0, atol=allowed, equal_nan=True)
        else:
            same = bool(np.all(np.isnan(before) | (before == 0)))
        if not same:
            changed.append(f"{name} ({aggregation})" if aggregation else name)
    return changed


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


def learned_from_training(
    matrix: FeatureMatrix,
    families: Mapping[str, FeatureFamily],
    options: Mapping[str, Options],
    inputs: FeatureInputs,
) -> Check:
    """Make every family's features again with all other people's data replaced, and compare with the matrix.

    What was learned must be the same to the last digit, values on training rows to float32's rounding. A dependence
    that the replacement (:mod:`genomix.features.other_people`) leaves the same is not found, nor is a family that
    reads files by itself instead of its inputs.
    """
    claim = "What features learned, and are on training rows, is the same whatever families are given of anybody else."
    if inputs.genotypes is not None:
        claim += " (Quality control and the choice of unrelated people come before and look at everyone, at no label.)"
    if not families:
        return Check("learned_from_training", "not applicable", claim, "The study has no feature.")
    problems: list[str] = []
    for k in range(len(matrix.folds)):
        with TemporaryDirectory() as folder:
            noisy = with_others_replaced(inputs, matrix.rows(k, "train"), Path(folder), seed=k)
            for name, family in families.items():
                problem = _made_otherwise(matrix, k, name, family, options.get(name, {}), noisy)
                problems += [f"{name} {problem} in fold {k}"] if problem else []
    if problems:
        return Check("learned_from_training", "failed", claim, "; ".join(problems) + ".")
    have = {"records": inputs.events, "genotypes": inputs.genotypes, "table values": inputs.table}
    replaced = ", ".join(name for name, given in have.items() if given is not None)
    found = (
        f"{', '.join(sorted(families))}: made again in {len(matrix.folds)} of {len(matrix.folds)} fold(s) with other "
        f"people's {replaced} replaced, identical."
    )
    return Check("learned_from_training", "passed", claim, found)


def _made_otherwise(
    matrix: FeatureMatrix, k: int, name: str, family: FeatureFamily, options: Options, noisy: FeatureInputs
) -> str:
    """Say what differs when a family sees the training people's data alone; nothing: empty."""
    train, fold = matrix.rows(k, "train"), matrix.folds[k]
    if family.learns and not set(fold.learned_from.get(name, np.array([-1])).tolist()) <= set(train.tolist()):
        return "says that it read other rows"
    try:
        block = family.compute(noisy, options)
        if family.learns:
            learned = family.fit(block, fitting_inputs(noisy, matrix.index["label"], train), options, train)
            if canonical_json(learned) != canonical_json(fold.learned.get(name)):
                return "learned something else"
            block = family.apply(block, noisy, options, learned)
    except GenomixError:
        return "fails once other people's data are replaced"
    whole = fold.block if family.learns else matrix.block
    names = set(whole.columns["name"].to_list())
    if family.learns and not set(block.columns["name"].to_list()) <= names:
        return "makes other columns"
    mine = whole.columns.filter((pl.col("family") == name) | pl.col("name").is_in(block.columns["name"].to_list()))[
        "name"
    ].to_list()
    changed = _differences(whole.select(mine), block, train, tolerance=ROUNDING)
    return f"gives training rows other values of {_names(changed)}" if changed else ""


def imputed_from_training(matrix: FeatureMatrix, imputed: Mapping[int, bool] | None) -> Check:
    """State, per fold, whether the imputer and scaler learned again from training rows are the ones in the bundle."""
    claim = "Missing values were filled and columns scaled by figures of training rows only."
    if not imputed:
        return Check("imputed_from_training", "not applicable", claim, "No model of this study fills missing values.")
    wrong = [k for k, same in sorted(imputed.items()) if not same]
    if wrong:
        return Check("imputed_from_training", "failed", claim, f"Learned from other rows in fold(s) {_names(wrong)}.")
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
            "columns_that_encode", "failed", claim, f"{measure} above {SEPARATES_ALONE}: {_names(sorted(suspects))}."
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
            "outcome_code", "not provable", claim, f"Made from outcome codes before prediction: {_names(found)}."
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
        return Check("score_discovery", "failed", claim, f"Declared to overlap: {_names(overlapping)}.")
    if unknown:
        return Check("score_discovery", "not provable", claim, f"Discovery cohorts not declared: {_names(unknown)}.")
    return Check("score_discovery", "passed", claim, "The study declares no overlap (declared, not computed).")


def given_columns(matrix: FeatureMatrix) -> Check:
    """Name the columns that came ready-made: what they were fitted on cannot be seen from here."""
    claim = "Columns that the study was given ready-made were not fitted on held-out people."
    names = all_columns(matrix).filter(pl.col("source") == "table")["name"].to_list()
    if not names:
        return Check("given_columns", "not applicable", claim, "Every feature was made here.")
    return Check("given_columns", "not provable", claim, f"Made elsewhere: {_names(names)}.")


def stamps_at_source(events: pl.DataFrame | None) -> Check:
    """Say what no recomputation can show: a stamp that is wrong at the source."""
    claim = "The time stamps at the source are right."
    if events is None:
        return Check("stamps_at_source", "not applicable", claim, "The study has no dated records.")
    found = "A record stamped before it was really known cannot be found by computation; review the availability rules."
    return Check("stamps_at_source", "not provable", claim, found)


def all_columns(matrix: FeatureMatrix) -> pl.DataFrame:
    """Return the dictionary of every column of every fold, one row per name, the smallest lag over folds."""
    frames = [matrix.block.columns, *(fold.block.columns for fold in matrix.folds)]
    return (
        pl.concat(frames)
        .sort("name", "smallest_lag_days", nulls_last=True)
        .unique("name", keep="first", maintain_order=True)
    )


def _names(names: list[Any], most: int = 10) -> str:
    shown = ", ".join(str(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
