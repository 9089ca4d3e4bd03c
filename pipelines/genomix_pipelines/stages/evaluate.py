"""Stage ``evaluate``: held-out metrics with intervals that resample kin groups, curves, thresholds and the ladder."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.models.calibration import calibration_curve, scatter_cells
from genomix.models.curves import precision_recall_curve, roc_curve
from genomix.models.decision import decision_curve, default_thresholds, threshold_table
from genomix.models.evaluate import Rows, evaluate_predictions, rows_by_model
from genomix.models.ladder import ladder
from genomix.provenance import read_json
from genomix.schemas.results import CURVES, LADDER, METRICS, THRESHOLDS
from genomix_pipelines import survival_study
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.stages.model import objective, survival_parameters
from genomix_pipelines.study import Study
from genomix_pipelines.subgroups import labels_of_rows

SHOWN_MODELS = ("boosted", "linear", "points")
CURVED_MODELS = ("boosted", "linear")


def run(context: StageContext) -> dict[str, Any]:
    """Write ``metrics``, ``ladder``, ``curves`` and ``thresholds`` (schemas of genomix.schemas.results)."""
    study: Study = context.study
    if study.survival:
        return survival_study.evaluate(context)
    index = pl.read_parquet(context.folder("features") / "matrix" / "index.parquet")
    predictions = pl.read_parquet(context.folder("model") / "predictions.parquet")
    target = context.target or "outcome"
    subgroups = labels_of_rows(context, study.report.subgroups)
    common: dict[str, Any] = {
        "target": target,
        "objective": objective(study),
        "seed": study.study.seed,
        "n_resamples": study.model.resamples,
        "people": index["subject_id"].to_numpy(),
    }
    means = training_means(index)
    shown = predictions.filter(pl.col("model").is_in(SHOWN_MODELS))
    metrics = evaluate_predictions(shown, subgroups=subgroups, training_mean=means, **common)
    METRICS.validate(metrics).write_parquet(context.out / "metrics.parquet")
    context.progress(0.5, "ladder")
    steps = ladder_of(context, predictions, subgroups.get("ancestry"), means, common)
    LADDER.validate(steps).write_parquet(context.out / "ladder.parquet")
    context.progress(0.8, "curves")
    rows = rows_by_model(
        shown.filter(pl.col("model").is_in(CURVED_MODELS)), training_mean=means, people=common["people"]
    )
    curves, thresholds = curves_of(study, rows, target)
    CURVES.validate(curves).write_parquet(context.out / "curves.parquet")
    THRESHOLDS.validate(thresholds).write_parquet(context.out / "thresholds.parquet")
    return headline(metrics, study)


def training_means(index: pl.DataFrame) -> dict[int, float]:
    """Return the mean label of each fold's training rows: the prediction without any model."""
    folds = [c for c in index.columns if c.startswith("fold_")]
    labels = index["label"].to_numpy()
    return {k: float(labels[(index[c] == "train").to_numpy()].mean()) for k, c in enumerate(folds)}


def ladder_of(
    context: StageContext, predictions: pl.DataFrame, ancestry: Any, means: dict[int, float], common: dict[str, Any]
) -> pl.DataFrame:
    """Return the ladder: the last rung's model is the full boosted one."""
    rungs = read_json(context.folder("model") / "rungs.json")
    if len(rungs) < 2:
        return LADDER.empty()
    names = [r["rung"] for r in rungs]
    renamed = predictions.filter(pl.col("model").is_in([*names[:-1], "boosted"])).with_columns(
        pl.col("model").replace({"boosted": names[-1]})
    )
    matrix_columns = rung_sizes(context, names)
    notes = {"score": "; ".join(f"{s.name}: discovery cohorts {s.discovery_cohorts}" for s in context.study.scores)}
    controls = pl.read_parquet(context.folder("model") / "controls.parquet")
    return ladder(
        renamed, n_features=matrix_columns, ancestry=ancestry, notes=notes, training_mean=means,
        threshold=context.study.study.threshold, controls=controls, **common,
    )  # fmt: skip


def rung_sizes(context: StageContext, names: list[str]) -> dict[str, int]:
    """Return the number of columns of each rung in the first fold, columns of earlier rungs included."""
    folder = context.folder("features") / "matrix"
    columns = pl.concat([pl.read_parquet(p / "columns.parquet") for p in (folder, folder / "fold_0")])
    counts = [int((columns["rung"] == n).sum()) for n in names]
    return dict(zip(names, np.cumsum(counts).tolist(), strict=True))


def curves_of(study: Study, rows: dict[str, Rows], target: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the curves and the threshold table of the shown models."""
    settings = {"seed": study.study.seed, "n_resamples": study.model.resamples}
    curves, tables = [CURVES.empty()], [THRESHOLDS.empty()]
    for model, held_out in rows.items():
        curves.append(calibration_curve(held_out, target=target, model=model, objective=objective(study), **settings))
        if not study.binary:
            curves.append(scatter_cells(held_out, target=target, model=model))
            continue
        curves.append(roc_curve(held_out, target=target, model=model))
        curves.append(precision_recall_curve(held_out, target=target, model=model))
        thresholds = set(default_thresholds(held_out.n_events / held_out.y.size))
        thresholds |= {study.study.threshold} if study.study.threshold else set()
        table = threshold_table(held_out, target=target, model=model, thresholds=sorted(thresholds), **settings)
        tables.append(table)
        curves.append(decision_curve(table, held_out))
    joined = pl.concat(curves).unique(["target", "model", "curve", "x", "y"], keep="first", maintain_order=True)
    return joined, pl.concat(tables)


def headline(metrics: pl.DataFrame, study: Study) -> dict[str, Any]:
    """Return the main figure for the log line."""
    name = "auroc" if study.binary else "r2"
    row = metrics.filter((pl.col("model") == "boosted") & (pl.col("metric") == name) & (pl.col("group") == "all"))
    value = row["estimate"][0] if row.height else None
    return {name: None if value is None else round(value, 4), "rows": int(row["n_rows"][0]) if row.height else 0}


def parameters(study: Study, target: str | None) -> dict[str, Any]:
    """Return what determines the evaluation, beside the predictions."""
    return {
        "seed": study.study.seed,
        "resamples": study.model.resamples,
        "threshold": study.study.threshold,
        "objective": objective(study),
        "subgroups": list(study.report.subgroups),
        "ancestry_column": study.genotypes.ancestry_column if study.genotypes else None,
        "scores": [[s.name, s.discovery_cohorts] for s in study.scores],
        "target": target,
        **survival_parameters(study),
    }


STAGE = Stage(
    name="evaluate",
    run=run,
    needs=("model", "features", "split", "cohort", "genotype_qc", "convert_records"),
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.modelled,
)
