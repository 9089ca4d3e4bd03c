"""Stage ``certificate``: the computed checks for leaks, on the matrix that the models saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.features.certificate import certify
from genomix.features.matrix import read_matrix
from genomix.provenance import read_json
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.stage_inputs import family_inputs
from genomix_pipelines.study import Study


def run(context: StageContext) -> dict[str, Any]:
    """Write ``certificate.parquet`` (schema CERTIFICATE)."""
    study: Study = context.study
    matrix = read_matrix(context.folder("features") / "matrix")
    families, options, inputs = family_inputs(context, matrix.index)
    pairs = pl.read_parquet(context.folder("kinship") / "kinship.parquet") if context.has("kinship") else None
    learned_from = read_json(context.folder("model") / "learned_from.json")
    frame = certify(
        matrix, families, options, inputs,
        binary=study.binary,
        kinship=pairs,
        kinship_threshold=study.split.kinship if study.split.keep_together == "kin_groups" else None,
        imputed_from={int(k): np.asarray(v, dtype=np.int64) for k, v in learned_from.items()},
        outcome_codes=tuple(read_json(context.folder("cohort") / "cohort.json")["outcome_codes"]),
        score_cohorts={s.name: s.discovery_cohorts for s in study.scores},
    )  # fmt: skip
    frame.write_parquet(context.out / "certificate.parquet")
    counts = frame["status"].value_counts().sort("status")
    return {str(status): int(n) for status, n in counts.iter_rows()}


def parameters(study: Study, target: str | None) -> dict[str, Any]:
    """Return what determines the checks, beside the matrix."""
    return {
        "split": study.split.model_dump(mode="json"),
        "scores": [[s.name, s.discovery_cohorts] for s in study.scores],
        "features": study.features.model_dump(mode="json"),
        "binary": study.binary,
        "target": target,
    }


STAGE = Stage(
    name="certificate",
    run=run,
    needs=("features", "model", "cohort", "split", "kinship", "convert_records", "convert_genotypes", "genotype_qc"),
    parameters=parameters,
    per_target=True,
)
