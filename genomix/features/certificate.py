"""The leakage certificate: computed checks on a study's matrix, and a plain statement of what they cannot prove.

Each check returns one row of the CERTIFICATE frame. ``failed`` means that a leak was found; ``not provable`` that the
data cannot show it either way; nothing is ``passed`` without having been computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import polars as pl

from genomix.errors import GenomixError
from genomix.features.certificate_checks import (
    Check,
    availability,
    code_depth,
    columns_that_encode,
    date_only_records,
    given_columns,
    given_in_time,
    imputed_from_training,
    kin_disjoint,
    of_table,
    outcome_code_as_feature,
    outcome_in_gap,
    same_window,
    score_discovery,
    some_of,
    stamps_at_source,
    subjects_disjoint,
)
from genomix.features.family import FeatureFamily, FeatureInputs, Options, fitting_inputs
from genomix.features.matrix import FeatureBlock, FeatureMatrix, RowArray
from genomix.features.other_people import with_others_replaced
from genomix.provenance import canonical_json
from genomix.schemas.results import CERTIFICATE

ROUNDING = 1e-5
"""Share of a column's largest value by which a learned feature's value may differ when it is made again."""

PICKS: tuple[Literal["first", "last"], ...] = ("first", "last")


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
    in_gap: int | None = None,
    score_cohorts: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Run every check and return the CERTIFICATE frame.

    Parameters
    ----------
    matrix, families, options, inputs: as given to and returned by ``assemble``.
    kinship: pairs (schema KINSHIP), None without genotypes. kinship_threshold: what the split promised to keep
        together, None when the study's population allows no such split.
    imputed: per fold, whether the linear model's imputer and scaler are what training rows alone give.
    outcome_codes: regular expressions of the codes that define the outcome. in_gap: rows with an outcome between
        prediction and label window, None without a gap. score_cohorts: discovery cohorts by score.
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
        same_window(matrix, inputs, binary=binary),
        outcome_in_gap(matrix, in_gap),
        outcome_code_as_feature(matrix, outcome_codes, inputs.events, code_depth(options)),
        score_discovery(score_cohorts or {}),
        given_columns(matrix),
        *([given_in_time(matrix)] if of_table(matrix) else []),
        stamps_at_source(inputs.events),
    ]
    return CERTIFICATE.validate(
        pl.DataFrame(checks, schema=[(c.name, c.dtype) for c in CERTIFICATE.columns], orient="row")
    )


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
        return Check("later_events", "failed", claim, f"Values changed in: {some_of(sorted(changed))}.")
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
    return f"gives training rows other values of {some_of(changed)}" if changed else ""


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
