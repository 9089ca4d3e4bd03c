"""From a table or a feature set to the matrix that a model is trained on, split by person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.features.assemble import assemble, load_families
from genomix.features.feature_set import FeatureSet
from genomix.features.matrix import FeatureBlock, FeatureMatrix, FoldFeatures, empty_block
from genomix.features.set_rows import SetRows
from genomix.io.label_tables import ROLES
from genomix.models.given_table import TableRoles, inputs_of, read_rows
from genomix.models.model import Objective
from genomix.models.training import roles_by_subject
from genomix.schemas.features import COLUMNS

KIND_OF_SET = "feature set"


def table_matrix(
    path: Path,
    roles: TableRoles,
    *,
    split: pl.Series | None,
    held_out: float,
    tuning: float,
    seed: int,
) -> FeatureMatrix:
    """Return a table's labelled rows with features learned from training rows.

    Parameters
    ----------
    split: train, tuning or held_out for each row of the table; None draws people.

    Raises
    ------
    LabelError: no row has a label. ConfigError: another word in ``split``, or a person on two sides of it.
    """
    rows, _ = read_rows(path, roles, labelled=True)
    if split is not None:
        rows = rows.with_columns(split.alias("split"))
    rows = _labelled(rows)
    index = _index(rows, roles.objective, held_out=held_out, tuning=tuning, seed=seed)
    inputs, options = inputs_of(rows, roles)
    return assemble(load_families(list(options)), options, inputs, index)


def set_matrix(
    found: FeatureSet, objective: Objective, *, held_out: float, tuning: float, seed: int, max_values: int
) -> FeatureMatrix:
    """Return a feature set's labelled rows, dense; its own split where it has one, else people are drawn.

    Raises
    ------
    LabelError: no row has a label. ConfigError: more than ``max_values`` values.
    """
    if values_of(found) > max_values:
        raise ConfigError(
            f"{values_of(found):,} values are too many for a dense matrix", where=str(found.folder),
            hint="set_rows, and train in blocks",
        )  # fmt: skip
    every, matrix = set_rows(found, objective, held_out=held_out, tuning=tuning, seed=seed)
    block = FeatureBlock(every.whole(), COLUMNS.validate(every.columns.select(COLUMNS.names)))
    return FeatureMatrix(matrix.index, block, matrix.folds)


def values_of(found: FeatureSet) -> int:
    """Return how many values a dense matrix of the labelled rows has."""
    return (found.index.height - found.index["label"].null_count()) * found.columns.height


def set_rows(
    found: FeatureSet, objective: Objective, *, held_out: float, tuning: float, seed: int
) -> tuple[SetRows, FeatureMatrix]:
    """Return a feature set's labelled rows for reading in blocks, and a matrix of their roles without columns.

    Raises
    ------
    LabelError: no row has a label.
    """
    known = found.index.filter(pl.col("label").is_not_null())
    columns = ["subject_id", "prediction_time", "label", *(c for c in ("split",) if c in known.columns)]
    rows = known.select("row", *columns)
    index = _index(_labelled(rows), objective, held_out=held_out, tuning=tuning, seed=seed)
    nothing = empty_block(index.height)
    return found.rows(rows=rows["row"].to_numpy()), FeatureMatrix(index, nothing, (FoldFeatures(nothing),))


def _labelled(rows: pl.DataFrame) -> pl.DataFrame:
    """Keep rows with a label, numbered anew."""
    kept = rows.filter(pl.col("label").is_not_null())
    if not kept.height:
        raise LabelError("no row has a label")
    return kept.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))


def _index(rows: pl.DataFrame, objective: Objective, *, held_out: float, tuning: float, seed: int) -> pl.DataFrame:
    if objective == "binary" and not rows["label"].is_in([0.0, 1.0]).all():
        raise LabelError("a yes/no label is 0 or 1 in every row", hint="--objective regression for a quantity")
    subjects = rows["subject_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    if "split" in rows.columns:
        fold = _stated(rows, subjects)
    else:
        fold = pl.Series(
            roles_by_subject(
                subjects, rows["label"].to_numpy(), objective=objective, held_out=held_out, tuning=tuning, seed=seed
            )
        )
    time = pl.col("prediction_time") if "prediction_time" in rows.columns else pl.lit(None, dtype=pl.Datetime("us"))
    return rows.select(
        "row", "subject_id", time.alias("prediction_time"), "label", pl.lit(1.0).alias("weight"),
        pl.Series("kin_group", subjects, dtype=pl.Int64), fold.alias("fold_0"),
    )  # fmt: skip


def _stated(rows: pl.DataFrame, subjects: np.ndarray) -> pl.Series:
    """Return the stated split, ``unused`` where it says nothing; nobody may be on two sides of it."""
    split = rows["split"].fill_null("unused")
    other = sorted(set(split.unique().to_list()) - {*ROLES, "unused"})
    if other:
        raise ConfigError(f"split {other[0]!r} is unknown", hint="one of: " + ", ".join(ROLES))
    sides = pl.DataFrame({"subject": subjects, "held": split == "held_out"}).filter(split != "unused")
    both = sides.group_by("subject").agg(pl.col("held").n_unique().alias("n")).filter(pl.col("n") > 1).height
    if both:
        raise ConfigError(f"{both:,} people have rows both held out and not, by the stated split")
    return split
