"""Labels of the study's rows for subgroup tables: sex, ancestry as recorded, age band."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from genomix.features.matrix import FeatureMatrix, read_matrix
from genomix_pipelines.stage import StageContext

AGE_BANDS_YEARS = (40, 50, 60, 70, 80)
SEX_NAMES = {1: "male", 2: "female"}

Labels = list[str | None]


def labels_of_rows(context: StageContext, variables: tuple[str, ...]) -> dict[str, Labels]:
    """Return one label (or None) per row for each variable that the study has.

    In a table study they are the categories of that name. Elsewhere sex comes from the records' feature where there is
    one, else from the genotypes' sample table; ancestry from the sample table's declared column; age from the feature.
    In a split by site, the split's column is one too.
    """
    matrix = read_matrix(context.folder("features") / "matrix")
    found: dict[str, Labels | None]
    if context.study.of_table:
        found = _categories(context, matrix, variables)
    else:
        samples = sample_rows(context)
        found = {"sex": _sex(matrix, samples), "ancestry": _ancestry(context, samples), "age": _age(matrix)}
    split = context.study.split
    if split.design == "by_site" and split.column in variables:
        found[split.column] = pl.read_parquet(context.folder("split") / "sites.parquet")["site"].to_list()
    chosen = {name: found.get(name) for name in variables}
    return {name: labels for name, labels in chosen.items() if labels is not None and len(set(labels) - {None}) > 1}


def _categories(context: StageContext, matrix: FeatureMatrix, variables: tuple[str, ...]) -> dict[str, Labels | None]:
    """Return the values of a table study's categorical columns by row, in the study's own words."""
    table = pl.read_parquet(context.folder("features") / "table.parquet")
    rows = matrix.index.select("source_row").join(table, on="source_row", how="left", maintain_order="left")
    chosen = {c.column: c for c in context.study.table.categorical if c.column in variables}
    return {name: [c.names.get(v, v) for v in rows[name].to_list()] for name, c in chosen.items()}


def sample_rows(context: StageContext) -> pl.DataFrame | None:
    """Return the sample table in row order (nulls where a row has no sample), or None without genotypes."""
    if not context.has("genotype_qc"):
        return None
    table = pl.read_parquet(context.folder("genotype_qc") / "sample_info.parquet").with_row_index("sample")
    rows = pl.read_parquet(context.folder("split") / "samples_of_rows.parquet")
    return rows.join(
        table.with_columns(pl.col("sample").cast(pl.Int64)), on="sample", how="left", maintain_order="left"
    )


def _sex(matrix: FeatureMatrix, samples: pl.DataFrame | None) -> Labels | None:
    values = _column(matrix, "sex")
    if values is not None:
        return [None if np.isnan(v) else ("female" if v == 1 else "male") for v in values.tolist()]
    if samples is None:
        return None
    return [SEX_NAMES.get(s) for s in samples["sex"].to_list()]


def _ancestry(context: StageContext, samples: pl.DataFrame | None) -> Labels | None:
    genotypes = context.study.genotypes
    if samples is None or not genotypes.ancestry_column or genotypes.ancestry_column not in samples.columns:
        return None
    labels: Labels = samples[genotypes.ancestry_column].cast(pl.String).to_list()
    return labels


def _age(matrix: FeatureMatrix) -> Labels | None:
    values = _column(matrix, "age")
    if values is None:
        return None
    edges = np.array(AGE_BANDS_YEARS)
    names = [
        f"under {edges[0]}",
        *(f"{a}–{b - 1}" for a, b in pairwise(edges)),
        f"{edges[-1]} and over",
    ]
    return [None if np.isnan(v) else names[int(np.searchsorted(edges, v, side="right"))] for v in values.tolist()]


def _column(matrix: FeatureMatrix, group: str) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    chosen = matrix.block.columns.filter((pl.col("family") == "demographics") & (pl.col("group") == group))
    if not chosen.height:
        return None
    return matrix.block.select([chosen["name"][0]]).values[:, 0]
