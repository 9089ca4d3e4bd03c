"""A study of a time to an event: what its stages ``model`` and ``evaluate`` do, on the one split of such a study."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.explain.response import training_ranges
from genomix.features.matrix import FeatureMatrix, read_matrix
from genomix.models.bundle import write_bundle
from genomix.models.competing import FittedCompeting, fit_competing
from genomix.models.cox import SurvivalPart
from genomix.models.incidence import (
    evaluate_incidence,
    follow_up,
    incidence_calibration,
    observed_incidence,
    risk_group_curves,
)
from genomix.models.metrics import IntArray
from genomix.models.model import Float64Array
from genomix.models.survival import at_horizons
from genomix.models.survival_training import check_horizons
from genomix.provenance import write_json
from genomix.schemas.features import PREDICTIONS
from genomix.schemas.results import CURVES, LADDER, METRICS, THRESHOLDS
from genomix_pipelines.stage import StageContext
from genomix_pipelines.study import Study

KINDS = {"boosted": "boosted_cox", "linear": "cox"}
"""Model of the report → the model that is trained for each kind of event."""


def times_and_causes(context: StageContext, matrix: FeatureMatrix) -> tuple[Float64Array, Float64Array]:
    """Return the time and the cause of every row of the matrix."""
    seen = pl.read_parquet(context.folder("cohort") / "follow_up.parquet")
    joined = matrix.index.select("source_row").join(seen, on="source_row", how="left", maintain_order="left")
    return joined["time"].to_numpy(), joined["cause"].cast(pl.Float64).to_numpy()


def train(context: StageContext) -> dict[str, Any]:
    """Write ``predictions`` (the margin of the event's own hazard), ``risks`` (row, model, horizon, risk), bundles.

    With competing events there is a model of each kind; the bundle ``MODEL`` is that of the event itself, and the one
    of the others is ``MODEL_other``.
    """
    study: Study = context.study
    assert study.outcome is not None
    matrix = read_matrix(context.folder("features") / "matrix")
    time, cause = times_and_causes(context, matrix)
    block = matrix.for_fold(0)
    parts = {
        role: SurvivalPart(block.values[rows], time[rows], cause[rows])
        for role in ("train", "tuning", "held_out") for rows in (matrix.rows(0, role),)
    }  # fmt: skip
    horizons = check_horizons(study.outcome.horizons, parts["train"].time)
    predictions, risks = [], []
    facts: list[dict[str, Any]] = []
    for name, kind in KINDS.items():
        context.progress(len(facts) / 3, name)
        fitted = fit_competing(
            parts["train"], tuning=parts["tuning"], model=kind,  # type: ignore[arg-type]  # the two literal names
            seed=study.study.seed, device=context.device, threads=context.threads,
            options=boosted_settings(study) if name == "boosted" else None,
        )  # fmt: skip
        held = matrix.rows(0, "held_out")
        risk = fitted.cumulative_incidence(parts["held_out"].X, horizons)[:, 0, :]
        predictions.append(_predictions(matrix, held, name, fitted.causes[0].margin(parts["held_out"].X), cause))
        risks += [_risks(held, name, float(h), risk[:, k]) for k, h in enumerate(horizons)]
        facts += [{"fold": 0, "model": name, "cause": k, "features": block.columns.height, **model.facts}
                  for k, model in enumerate(fitted.causes, start=1)]  # fmt: skip
        _save(context, matrix, fitted, name, horizons)
    PREDICTIONS.validate(pl.concat(predictions)).write_parquet(context.out / "predictions.parquet")
    pl.concat(risks).write_parquet(context.out / "risks.parquet")
    write_json(context.out / "rungs.json", [])
    write_json(context.out / "facts.json", facts)
    return {"folds": 1, "models": len(facts), "features": block.columns.height}


def boosted_settings(study: Study) -> dict[str, Any]:
    """Return the study's settings of the trees, by the model's own names."""
    given = study.model.model_dump(
        mode="json", exclude={"resamples", "learning_rate", "permutation_control", "monotone"}
    )
    return {**given, "eta": study.model.learning_rate}


def _predictions(
    matrix: FeatureMatrix, held: IntArray, name: str, margin: Float64Array, cause: Float64Array
) -> pl.DataFrame:
    return pl.DataFrame(
        {"row": held, "fold": np.zeros(len(held), dtype=np.int64), "model": [name] * len(held),
         "label": (cause[held] == 1).astype(np.float64), "prediction": margin, "kin_group": matrix.kin_groups[held]}
    )  # fmt: skip


def _risks(held: IntArray, name: str, horizon: float, risk: Float64Array) -> pl.DataFrame:
    return pl.DataFrame(
        {"row": held, "model": [name] * len(held), "horizon": np.full(len(held), horizon), "risk": risk}
    )


def _save(
    context: StageContext, matrix: FeatureMatrix, fitted: FittedCompeting, name: str, horizons: Float64Array
) -> None:
    block = matrix.for_fold(0)
    ranges = training_ranges(block, matrix.rows(0, "train"))
    for suffix, model in zip(("", "_other"), fitted.causes, strict=False):
        kept: Any = at_horizons(model, horizons)
        write_bundle(
            context.out / "bundles" / "fold_0" / f"{name}{suffix}", kept, columns=block.columns,
            learned=matrix.folds[0].learned, ranges=ranges,
        )  # fmt: skip


def evaluate(context: StageContext) -> dict[str, Any]:
    """Write ``metrics``, ``calibration``, ``risk_groups`` and ``follow_up.json``; empty tables of what is not made."""
    study: Study = context.study
    assert study.outcome is not None
    matrix = read_matrix(context.folder("features") / "matrix")
    time, cause = times_and_causes(context, matrix)
    horizons = np.asarray(study.outcome.horizons, dtype=np.float64)
    held, train_rows = matrix.rows(0, "held_out"), matrix.rows(0, "train")
    predicted = _read_predicted(context, horizons)
    reference = observed_incidence(time[train_rows], cause[train_rows], horizons)
    people = matrix.index["subject_id"].to_numpy()[held]
    metrics = evaluate_incidence(
        predicted, time[held], cause[held], target=context.target or "outcome", horizons=horizons,
        reference=reference, units=matrix.kin_groups[held], people=people, seed=study.study.seed,
        n_resamples=study.model.resamples,
    )  # fmt: skip
    METRICS.validate(metrics).write_parquet(context.out / "metrics.parquet")
    risks = {name: risk for name, (_, risk) in predicted.items()}
    calibration = incidence_calibration(risks, time[held], cause[held], horizons=horizons)
    calibration.write_parquet(context.out / "calibration.parquet")
    groups = risk_group_curves(time[held], cause[held], risks["boosted"][:, -1], until=float(horizons[-1]))
    groups.write_parquet(context.out / "risk_groups.parquet")
    several = bool(study.outcome.competing)
    write_json(
        context.out / "follow_up.json",
        {part: follow_up(time[rows], cause[rows], competing=several)._asdict()
         for part, rows in (("all", np.arange(matrix.n_rows)), ("held out", held))},
    )  # fmt: skip
    for schema, name in ((LADDER, "ladder"), (CURVES, "curves"), (THRESHOLDS, "thresholds")):
        schema.empty().write_parquet(context.out / f"{name}.parquet")
    row = metrics.filter((pl.col("model") == "boosted") & (pl.col("metric") == "harrell_c"))
    value = row["estimate"][0]
    return {"harrell_c": None if value is None else round(value, 4), "rows": len(held)}


def _read_predicted(context: StageContext, horizons: Float64Array) -> dict[str, tuple[Float64Array, Float64Array]]:
    """Return each model's margin (rows,) and incidence (rows, points) of the held-out rows, in their order."""
    margins = pl.read_parquet(context.folder("model") / "predictions.parquet")
    risks = pl.read_parquet(context.folder("model") / "risks.parquet")
    found = {}
    for name in KINDS:
        own = risks.filter(pl.col("model") == name)
        columns = [own.filter(pl.col("horizon") == h).sort("row")["risk"].to_numpy() for h in horizons.tolist()]
        margin = margins.filter(pl.col("model") == name).sort("row")["prediction"].to_numpy()
        found[name] = margin, np.column_stack(columns)
    return found
