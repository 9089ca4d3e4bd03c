"""Columns of numbers of a table that the study gives (covariates measured elsewhere), by subject or by row.

Options: ``columns`` (names; default: all), ``rung`` is fixed to ``demographics``; ``sentences`` (name → sentence).
What those columns were fitted on is not known here: the leakage certificate says that it cannot prove it.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.given_table import KEYS, table_of_rows
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.schemas.features import COLUMNS


class TableFamily:
    """Given columns, as they are."""

    name = "table"
    rung = "demographics"
    learns = False
    needs = frozenset({"table"})

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Return the chosen columns of ``inputs.table``, joined by subject or row; NaN where it has none."""
        assert inputs.table is not None
        wrong = sorted(set(options) - {"columns", "sentences"})
        if wrong:
            raise ConfigError(f"table has no option {wrong[0]!r}", hint="it has: columns, sentences")
        numeric = [n for n, t in inputs.table.schema.items() if t.is_numeric() and n not in KEYS]
        names = list(options.get("columns") or numeric)
        unknown = [n for n in names if n not in numeric]
        if unknown:
            raise ConfigError(f"table has no numeric column {unknown[0]!r}", hint="it has: " + ", ".join(numeric))
        joined = table_of_rows(inputs, names).cast(pl.Float32)
        values = np.ascontiguousarray(joined.to_numpy().astype(np.float32))
        sentences = options.get("sentences", {})
        columns = COLUMNS.validate(
            pl.DataFrame(
                [
                    [f"table:{n}", self.name, self.rung, n, "table", None, None, None, None, sentences.get(n, n), None]
                    for n in names
                ],
                schema={c.name: c.dtype for c in COLUMNS.columns},
                orient="row",
            )
        )
        return FeatureBlock(values, columns)

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn nothing."""
        return {}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return the computed block."""
        return block


FAMILY = TableFamily()
