"""The study's table in the order of the rows: joined by row in a table study, else by subject."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from genomix.errors import FormatError
from genomix.features.family import FeatureInputs

KEYS = ("subject_id", "source_row")
"""Columns of the table that say whose row it is; never features."""


def table_of_rows(inputs: FeatureInputs, names: Sequence[str]) -> pl.DataFrame:
    """Return columns of ``inputs.table``, one row per row of ``inputs.index``; null where the table has no row for it.

    Raises
    ------
    FormatError: when the table has two rows for one of the study's rows.
    """
    assert inputs.table is not None
    key = "source_row" if "source_row" in inputs.table.columns else "subject_id"
    if inputs.table[key].is_duplicated().any():
        raise FormatError("the table has two rows of one subject", hint="keep one row per subject")
    chosen = inputs.table.select(key, *names)
    return inputs.index.select(key).join(chosen, on=key, how="left", maintain_order="left").select(names)
