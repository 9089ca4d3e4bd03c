"""Stage ``model``: boosted trees, the linear baseline and the ladder's rungs, per fold; held-out rows are read once."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.explain.response import training_ranges
from genomix.features.matrix import FeatureBlock, FeatureMatrix, read_matrix
from genomix.models.bundle import write_bundle
from genomix.models.model import Fitted, Objective, Part, model_named
from genomix.models.training import monotone_signs
from genomix.provenance import write_json
from genomix.schemas.features import PREDICTIONS, RUNGS
from genomix_pipelines import survival_study
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study

BESIDE = ("linear", "points")
"""Simpler models of the same columns, whose figures always stand beside the boosted one's."""


def run(context: StageContext) -> dict[str, Any]:
    """Write ``predictions`` and ``controls`` (Parquet), ``rungs.json``, ``facts.json``, ``bundles/fold_K/MODEL``."""
    if context.study.survival:
        return survival_study.train(context)
    matrix = read_matrix(context.folder("features") / "matrix")
    rungs = rungs_of(matrix)
    monotone_signs(matrix.for_fold(0).columns, context.study.model.monotone)  # says at once what is no column
    predictions, facts, controls = [], [], []
    shuffled = rungs if context.study.model.permutation_control else []
    for fold in range(len(matrix.folds)):
        block = matrix.for_fold(fold)
        for number, (name, rung, columns) in enumerate(runs(block, rungs)):
            context.progress(
                (fold + number / (len(rungs) + 1 + len(BESIDE))) / len(matrix.folds), f"fold {fold}: {name}"
            )
            kind = name if name in BESIDE else "boosted"
            fitted = fit(context, matrix, fold, block.select(columns), kind)
            predictions.append(held_out(matrix, fold, block.select(columns), fitted, name))
            facts.append({"fold": fold, "model": name, "features": len(columns), **fitted.facts})
            if rung is None:
                save(context, matrix, fold, block, fitted, name)
        controls += [control(context, matrix, fold, block, rungs, step) for step in range(1, len(shuffled))]
    PREDICTIONS.validate(pl.concat(predictions)).write_parquet(context.out / "predictions.parquet")
    beside = pl.concat(controls) if controls else PREDICTIONS.empty()
    PREDICTIONS.validate(beside).write_parquet(context.out / "controls.parquet")
    write_json(context.out / "rungs.json", [{"rung": r, "features": len(c)} for r, c in rungs])
    write_json(context.out / "facts.json", facts)
    return {"folds": len(matrix.folds), "models": len(facts), "features": matrix.for_fold(0).columns.height}


def rungs_of(matrix: FeatureMatrix) -> list[tuple[str, set[str]]]:
    """Return the ladder's rungs that add columns, each with the families that it holds (its own and all before)."""
    columns = pl.concat([matrix.block.columns, *(f.block.columns for f in matrix.folds)])
    present = [r for r in RUNGS if (columns["rung"] == r).any()]
    return [(r, set(present[: i + 1])) for i, r in enumerate(present)]


def runs(block: FeatureBlock, rungs: list[tuple[str, set[str]]]) -> list[tuple[str, str | None, list[str]]]:
    """Return what is trained in a fold: (name, rung or None, columns). The last rung is the full boosted model."""
    names, column_rungs = block.columns["name"].to_list(), block.columns["rung"].to_list()
    chosen: list[tuple[str, str | None, list[str]]] = [(n, None, names) for n in ("boosted", *BESIDE)]
    for rung, held in rungs[:-1]:
        chosen.append((rung, rung, [n for n, r in zip(names, column_rungs, strict=True) if r in held]))
    return chosen


def control(
    context: StageContext, matrix: FeatureMatrix, fold: int, block: FeatureBlock, rungs: list[tuple[str, set[str]]],
    step: int,
) -> pl.DataFrame:  # fmt: skip
    """Return predictions of a rung whose own columns were shuffled between the rows of each part: they tell nothing.

    The columns move together, so that what they tell of each other stays.
    """
    rung, held = rungs[step]
    keep = block.columns.filter(pl.col("rung").is_in(sorted(held)))
    chosen = block.select(keep["name"].to_list())
    own = np.flatnonzero((keep["rung"] == rung).to_numpy())
    values = chosen.values.copy()
    draw = np.random.default_rng([context.study.study.seed, fold, step])
    for role in ("train", "tuning", "held_out"):
        rows = matrix.rows(fold, role)
        values[np.ix_(rows, own)] = values[np.ix_(draw.permutation(rows), own)]
    shuffled = FeatureBlock(values, chosen.columns)
    return held_out(matrix, fold, shuffled, fit(context, matrix, fold, shuffled, "boosted"), rung)


def fit(context: StageContext, matrix: FeatureMatrix, fold: int, block: FeatureBlock, kind: str) -> Fitted:
    """Train one model on the fold's training rows; the tuning rows stop it early or choose its penalty."""
    study: Study = context.study
    options: dict[str, Any] = {}
    if kind == "boosted":
        present = {*block.columns["name"].to_list(), *block.columns["group"].to_list()}
        wanted = {name: sign for name, sign in study.model.monotone.items() if name in present}
        signs = monotone_signs(block.columns, wanted) if wanted else None
        options = {k: v for k, v in boosted_options(study).items() if k != "monotone"} | {"monotone": signs}
    return model_named(kind).fit(
        part(matrix, fold, block, "train"),
        tuning=part(matrix, fold, block, "tuning"),
        objective=objective(study),
        seed=study.study.seed,
        device=context.device,
        threads=context.threads,
        options=options,
    )


def objective(study: Study) -> Objective:
    """Return what the study's models predict; a time to an event has stages of its own."""
    return "binary" if study.binary else "regression"


def boosted_options(study: Study) -> dict[str, Any]:
    """Return the study's settings of the boosted model, by the model's own names."""
    given = study.model.model_dump(mode="json", exclude={"resamples", "learning_rate", "permutation_control"})
    return {**given, "eta": study.model.learning_rate}


def part(matrix: FeatureMatrix, fold: int, block: FeatureBlock, role: str) -> Part:
    """Return the rows of one role."""
    rows = matrix.rows(fold, role)
    weights = matrix.index["weight"].to_numpy()[rows]
    return Part(block.values[rows], matrix.labels[rows], None if np.all(weights == 1) else weights)


def held_out(matrix: FeatureMatrix, fold: int, block: FeatureBlock, fitted: Fitted, name: str) -> pl.DataFrame:
    """Return predictions of the fold's held-out rows (schema PREDICTIONS)."""
    rows = matrix.rows(fold, "held_out")
    return pl.DataFrame(
        {
            "row": rows,
            "fold": np.full(len(rows), fold, dtype=np.int64),
            "model": [name] * len(rows),
            "label": matrix.labels[rows],
            "prediction": fitted.predict(block.values[rows]),
            "kin_group": matrix.kin_groups[rows],
        }
    )


def save(
    context: StageContext, matrix: FeatureMatrix, fold: int, block: FeatureBlock, fitted: Fitted, name: str
) -> None:
    """Write the fold's model bundle: the model, its columns, and what its features learned."""
    folder = context.out / "bundles" / f"fold_{fold}" / name
    ranges = training_ranges(block, matrix.rows(fold, "train"))
    write_bundle(folder, fitted, columns=block.columns, learned=matrix.folds[fold].learned, ranges=ranges)


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return what determines the models, beside the features."""
    return {
        "model": boosted_options(study), "seed": study.study.seed, "objective": objective(study),
        "permutation_control": study.model.permutation_control, **survival_parameters(study),
    }  # fmt: skip


def survival_parameters(study: Study) -> dict[str, Any]:
    """Return what determines the models of a time to an event beside its rows; nothing of another study."""
    return {"horizons": list(study.outcome.horizons)} if study.survival and study.outcome else {}


STAGE = Stage(
    name="model",
    run=run,
    needs=("features", "cohort"),
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.modelled,
)
