"""Stage ``explain``: exact contributions on held-out rows, global importance, the beeswarm, opt-in example people."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomix.explain.beeswarm import beeswarm
from genomix.explain.groups import group_importance
from genomix.explain.importance import importance
from genomix.explain.tree_shap import Explained, attributions, explain_rows
from genomix.features.matrix import FeatureMatrix, read_matrix
from genomix.models.bundle import read_bundle
from genomix.provenance import write_json
from genomix.schemas.explain import GROUP_IMPORTANCE
from genomix.schemas.results import IMPORTANCE
from genomix_pipelines.examples import example_subjects
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study

GROUPED_BY = ("family", "gene", "code", "window")


def run(context: StageContext) -> dict[str, Any]:
    """Write ``attributions``, ``importance``, ``groups``, ``beeswarm`` and, by the study's wish, ``examples.json``."""
    study: Study = context.study
    matrix = read_matrix(context.folder("features") / "matrix")
    explained = [explain_fold(context, matrix, fold) for fold in range(len(matrix.folds))]
    pl.concat([attributions(e) for e in explained]).write_parquet(context.out / "attributions.parquet")
    table = importance(explained, target=context.target or "outcome")
    IMPORTANCE.validate(table).write_parquet(context.out / "importance.parquet")
    groups = pl.concat([group_importance(explained, by) for by in GROUPED_BY])
    GROUP_IMPORTANCE.validate(groups).write_parquet(context.out / "groups.parquet")
    swarm = beeswarm(
        explained, seed=study.study.seed, n_rows=study.report.beeswarm_rows, units=matrix.index["subject_id"].to_numpy()
    )
    swarm.write_parquet(context.out / "beeswarm.parquet")
    if study.report.examples:
        write_json(
            context.out / "examples.json", example_subjects(context, matrix, explained[0], study.report.examples)
        )
    return {"rows": sum(len(e.row) for e in explained), "features": len(explained[0].columns)}


def explain_fold(context: StageContext, matrix: FeatureMatrix, fold: int) -> Explained:
    """Return the boosted model's contributions for the fold's held-out rows, from its verified bundle."""
    bundle = read_bundle(context.folder("model") / "bundles" / f"fold_{fold}" / "boosted", device=context.device)
    block = matrix.for_fold(fold).select(bundle.columns["name"].to_list())
    return explain_rows(bundle.fitted, block, matrix.rows(fold, "held_out"), fold=fold)


def parameters(study: Study, target: str | None) -> dict[str, Any]:
    """Return what determines the explanation, beside the models."""
    return {
        "seed": study.study.seed,
        "examples": study.report.examples,
        "beeswarm_rows": study.report.beeswarm_rows,
        "target": target,
    }


STAGE = Stage(
    name="explain",
    run=run,
    needs=("model", "features", "split", "cohort", "convert_records", "convert_genotypes", "genotype_qc"),
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.modelled,
)
