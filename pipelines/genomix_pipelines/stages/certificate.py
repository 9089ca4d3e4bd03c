"""Stage ``certificate``: the computed checks for leaks, on the matrix that the models saw."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import polars as pl

from genomix.features.certificate import certify
from genomix.features.matrix import FeatureMatrix, read_matrix
from genomix.models.bundle import read_bundle
from genomix.models.cox import FittedCox
from genomix.models.linear import FittedLinear, learn_preprocessing
from genomix.provenance import read_json
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.stage_inputs import family_inputs
from genomix_pipelines.stages.model import part
from genomix_pipelines.study import Study, without_folders


def run(context: StageContext) -> dict[str, Any]:
    """Write ``certificate.parquet`` (schema CERTIFICATE)."""
    study: Study = context.study
    matrix = read_matrix(context.folder("features") / "matrix")
    families, options, inputs = family_inputs(context, matrix.index)
    pairs = pl.read_parquet(context.folder("kinship") / "kinship.parquet") if context.has("kinship") else None
    cohort = read_json(context.folder("cohort") / "cohort.json")
    frame = certify(
        matrix, families, options, inputs,
        binary=study.two_class,
        kinship=pairs,
        kinship_threshold=study.split.kinship if study.split.keep_together in ("kin_groups", "subjects") else None,
        imputed={fold: imputed_from_training_rows(context, matrix, fold) for fold in range(len(matrix.folds))},
        outcome_codes=tuple(cohort["outcome_codes"]),
        in_gap=cohort.get("rows_with_outcome_in_gap") if cohort.get("gap_days") != 0 else None,
        score_cohorts={s.name: s.discovery_cohorts for s in study.scores},
    )  # fmt: skip
    frame.write_parquet(context.out / "certificate.parquet")
    counts = frame["status"].value_counts().sort("status")
    return {str(status): int(n) for status, n in counts.iter_rows()}


def imputed_from_training_rows(context: StageContext, matrix: FeatureMatrix, fold: int) -> bool:
    """Learn the linear model's imputer and scaler again from training rows; say whether its bundle holds the same."""
    bundle = read_bundle(context.folder("model") / "bundles" / f"fold_{fold}" / "linear")
    fitted = bundle.fitted
    assert isinstance(fitted, FittedLinear | FittedCox)
    block = matrix.for_fold(fold).select(bundle.columns["name"].to_list())
    train = part(matrix, fold, block, "train")
    again = learn_preprocessing(train.X, train.weights, fitted.preprocessing.clip_sd)
    pairs = zip(astuple(again), astuple(fitted.preprocessing), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def parameters(study: Study, target: str | None) -> dict[str, Any]:
    """Return what determines the checks, beside the matrix."""
    return {
        "split": study.split.model_dump(mode="json"),
        "scores": [[s.name, s.discovery_cohorts] for s in study.scores],
        "features": without_folders(study.features.model_dump()),
        "binary": study.two_class,
        "target": target,
    }


STAGE = Stage(
    name="certificate",
    run=run,
    needs=("features", "model", "cohort", "split", "kinship", "convert_records", "convert_genotypes", "genotype_qc"),
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.modelled,
)
