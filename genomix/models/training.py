"""Train the boosted model and its linear baseline on one split, and measure both on held-out people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.device import Device
from genomix.errors import ConfigError, LabelError
from genomix.features.matrix import FeatureMatrix, RowArray
from genomix.features.split import assign_parts, assign_roles, strata_of_labels
from genomix.models.conformal import Conformal, calibrate, coverage
from genomix.models.drift import reference_bins
from genomix.models.evaluate import evaluate_predictions
from genomix.models.model import Fitted, Float64Array, Objective, Part, model_named
from genomix.schemas.features import PREDICTIONS

MODELS = ("boosted", "linear", "points")
FEWEST_PER_CLASS = 2


class Trained(NamedTuple):
    """Fitted models by name, their measures on the held-out rows (METRICS), and what drift is measured against.

    ``conformal``: the boosted model's bounds, learned on the tuning rows, which also stopped its trees: what they hold
    of the held-out people is in ``coverage``.
    """

    fitted: Mapping[str, Fitted]
    metrics: pl.DataFrame
    reference: Mapping[str, Any]
    conformal: Conformal
    coverage: list[dict[str, Any]]


def roles_by_subject(
    subjects: RowArray, labels: np.ndarray, *, objective: Objective, held_out: float, tuning: float, seed: int
) -> list[str]:
    """Return train, tuning or held_out for each row: a person's rows together, labels balanced."""
    strata = strata_of_labels(labels, binary=objective == "binary")
    parts = assign_parts(subjects, strata, shares=(1 - held_out - tuning, tuning, held_out), seed=seed)
    return assign_roles(parts, design="holdout", n_folds=1)["fold_0"]


def train(
    matrix: FeatureMatrix,
    *,
    target: str,
    objective: Objective,
    seed: int,
    device: Device,
    threads: int = 1,
    n_resamples: int = 2000,
    options: Mapping[str, Any] | None = None,
) -> Trained:
    """Fit every model on fold 0's training rows; tuning rows stop or penalise; held-out rows are read once.

    Intervals resample kin groups (the index's ``kin_group``: people, where nothing else is known).

    Parameters
    ----------
    options: of the boosted model.

    Raises
    ------
    LabelError: a part without rows, or with one class only.
    """
    block = matrix.for_fold(0)
    parts = {}
    for role in ("train", "tuning", "held_out"):
        rows = matrix.rows(0, role)
        labels = matrix.labels[rows]
        check_role(labels, objective, role)
        parts[role] = Part(block.values[rows], labels)
    fitted = {
        name: model_named(name).fit(
            parts["train"],
            tuning=parts["tuning"],
            objective=objective,
            seed=seed,
            device=device,
            threads=threads,
            options=options if name == "boosted" else None,
        )
        for name in MODELS
    }
    predicted = {name: model.predict(parts["held_out"].X) for name, model in fitted.items()}
    names = block.columns["name"].to_list()
    reference = reference_bins(parts["train"].X, names, predicted["boosted"])
    tuned = fitted["boosted"].predict(parts["tuning"].X)
    return concluded(
        matrix, fitted, predicted, tuned, reference, target=target, objective=objective, seed=seed,
        n_resamples=n_resamples,
    )  # fmt: skip


def check_role(labels: Float64Array, objective: Objective, role: str) -> None:
    """Raise a LabelError for a part without rows, or with too few of a class."""
    words = role.replace("_", " ")
    if objective == "binary" and min((labels == 1).sum(), (labels == 0).sum()) < FEWEST_PER_CLASS:
        raise LabelError(f"the {words} part has fewer than {FEWEST_PER_CLASS} rows of a class")
    if not len(labels):
        raise LabelError(f"the {words} part has no rows")


def concluded(
    matrix: FeatureMatrix, fitted: Mapping[str, Fitted], predicted: Mapping[str, Float64Array], tuned: Float64Array,
    reference: Mapping[str, Any], *, target: str, objective: Objective, seed: int, n_resamples: int,
) -> Trained:  # fmt: skip
    """Return the measures and bounds of models whose predictions are made.

    Parameters
    ----------
    matrix: rows, labels and kin groups; its values are not read. predicted: by model, of the held-out rows.
    tuned: the boosted model's, of the tuning rows.
    """
    rows = matrix.rows(0, "held_out")
    mean = float(matrix.labels[matrix.rows(0, "train")].mean())
    predictions = pl.concat(
        predictions_of(name, p, rows, matrix.labels[rows], matrix.kin_groups[rows]) for name, p in predicted.items()
    )
    metrics = evaluate_predictions(
        predictions, target=target, objective=objective, seed=seed, n_resamples=n_resamples,
        training_mean={0: mean}, people=matrix.index["subject_id"].to_numpy(),
    )  # fmt: skip
    of_tuning = matrix.rows(0, "tuning")
    bounds = calibrate(
        tuned, matrix.labels[of_tuning], matrix.kin_groups[of_tuning], objective=objective, seed=seed
    )  # fmt: skip
    covered = coverage(bounds, predicted["boosted"], matrix.labels[rows], matrix.kin_groups[rows], seed=seed)
    return Trained(fitted, metrics, reference, bounds, covered)


def inner_part(matrix: FeatureMatrix) -> tuple[Part, RowArray]:
    """Return fold 0's training and tuning rows together, and the kin group of each: what a search may look at."""
    rows = np.sort(np.concatenate([matrix.rows(0, "train"), matrix.rows(0, "tuning")]))
    return Part(matrix.for_fold(0).values[rows], matrix.labels[rows]), matrix.kin_groups[rows]


def monotone_signs(columns: pl.DataFrame, wanted: Mapping[str, int]) -> list[int]:
    """Return 1, -1 or 0 for each of the model's columns (COLUMNS), in their order.

    Parameters
    ----------
    wanted: sign by the column's name, or by its group where that is one column (a number of a table).

    Raises
    ------
    ConfigError: a name that is no column, or a group of several.
    """
    names, groups = columns["name"].to_list(), columns["group"].to_list()
    signs = dict.fromkeys(names, 0)
    for name, sign in wanted.items():
        found = [name] if name in signs else [n for n, g in zip(names, groups, strict=True) if g == name]
        if len(found) != 1:
            what = f"{len(found)} columns" if found else "which the model does not have"
            raise ConfigError(f"monotone names {name!r}, {what}", hint="one column, named as in columns.parquet")
        signs[found[0]] = sign
    return list(signs.values())


def predictions_of(
    model: str, predicted: np.ndarray, rows: RowArray, labels: np.ndarray, groups: RowArray
) -> pl.DataFrame:
    """Return one model's predictions of one fold as PREDICTIONS."""
    frame = pl.DataFrame(
        {
            "row": rows, "fold": np.zeros(len(rows), dtype=np.int64), "model": [model] * len(rows), "label": labels,
            "prediction": predicted, "kin_group": groups,
        }
    )  # fmt: skip
    return PREDICTIONS.validate(frame)
