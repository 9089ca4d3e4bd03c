"""Stage ``model``: boosted trees, the linear baseline and the ladder's rungs, per fold; held-out rows are read once."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.explain.response import training_ranges
from genomix.features.matrix import FeatureBlock, FeatureMatrix, read_matrix
from genomix.models.bundle import write_bundle
from genomix.models.model import Fitted, Objective, Part, model_named
from genomix.provenance import write_json
from genomix.schemas.features import PREDICTIONS, RUNGS
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study


def run(context: StageContext) -> dict[str, Any]:
    """Write ``predictions.parquet``, ``rungs.json``, ``facts.json`` and ``bundles/fold_K/MODEL``."""
    matrix = read_matrix(context.folder("features") / "matrix")
    rungs = rungs_of(matrix)
    predictions, facts = [], []
    for fold in range(len(matrix.folds)):
        block = matrix.for_fold(fold)
        for number, (name, rung, columns) in enumerate(runs(block, rungs)):
            context.progress((fold + number / (len(rungs) + 2)) / len(matrix.folds), f"fold {fold}: {name}")
            kind = "linear" if name == "linear" else "boosted"
            fitted = fit(context, matrix, fold, block.select(columns), kind)
            predictions.append(held_out(matrix, fold, block.select(columns), fitted, name))
            facts.append({"fold": fold, "model": name, "features": len(columns), **fitted.facts})
            if rung is None:
                save(context, matrix, fold, block, fitted, name)
    PREDICTIONS.validate(pl.concat(predictions)).write_parquet(context.out / "predictions.parquet")
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
    chosen: list[tuple[str, str | None, list[str]]] = [("boosted", None, names), ("linear", None, names)]
    for rung, held in rungs[:-1]:
        chosen.append((rung, rung, [n for n, r in zip(names, column_rungs, strict=True) if r in held]))
    return chosen


def fit(context: StageContext, matrix: FeatureMatrix, fold: int, block: FeatureBlock, kind: str) -> Fitted:
    """Train one model on the fold's training rows; the tuning rows stop it early or choose its penalty."""
    study: Study = context.study
    options = boosted_options(study) if kind == "boosted" else {}
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
    """Return what the study's models predict."""
    return "binary" if study.binary else "regression"


def boosted_options(study: Study) -> dict[str, Any]:
    """Return the study's settings of the boosted model, by the model's own names."""
    given = study.model.model_dump(mode="json", exclude={"resamples", "learning_rate"})
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
    return {"model": boosted_options(study), "seed": study.study.seed, "objective": objective(study)}


STAGE = Stage(
    name="model",
    run=run,
    needs=("features",),
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.modelled,
)
