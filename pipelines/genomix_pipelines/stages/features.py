"""Stage ``features``: run the study's feature families into a FeatureMatrix that knows its folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from genomix.features.assemble import assemble
from genomix.features.matrix import write_matrix
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.stage_inputs import family_inputs, write_used_table
from genomix_pipelines.study import Study, without_folders


def files(study: Study, _target: str | None) -> dict[str, Path]:
    """Return the scores, tables and mappings that families read."""
    found = {f"score_{i}": s.path for i, s in enumerate(study.scores)}
    if study.table is not None and study.features.table is not None:
        found["table"] = study.table.path
    if (windows := study.features.record_windows) is not None:
        given = {"record_windows_roll_up": windows.roll_up, "record_windows_ranges": windows.ranges}
        found |= {name: path for name, path in given.items() if path is not None}
    if study.features.burden is not None:
        found |= {f"burden_{name}": v for name, v in study.features.burden if isinstance(v, Path)}
    return found


def parameters(study: Study, target: str | None) -> dict[str, Any]:
    """Return the families' options."""
    return {
        "features": without_folders(study.features.model_dump()),
        "scores": [s.model_dump(mode="json", exclude={"path", "discovery_cohorts"}) for s in study.scores],
        "table": study.table.model_dump(mode="json", exclude={"path"}) if study.table else None,
        "target": target,
    }


def run(context: StageContext) -> dict[str, Any]:
    """Write the matrix folder."""
    index = pl.read_parquet(context.folder("split") / "index.parquet")
    write_used_table(context)
    families, options, inputs = family_inputs(context, index, table_folder=context.out)
    matrix = assemble(families, options, inputs, index, progress=context.progress)
    folder = context.out / "matrix"
    folder.mkdir()
    write_matrix(matrix, folder)
    return {"rows": matrix.n_rows, "columns": matrix.for_fold(0).columns.height, "families": len(families)}


STAGE = Stage(
    name="features",
    run=run,
    needs=("split", "cohort", "kinship", "link", "convert_records", "convert_genotypes", "genotype_qc"),
    files=files,
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.modelled,
)
