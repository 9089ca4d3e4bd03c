"""Global importance: mean absolute contribution by column, by group (a code, a score) and by feature family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from genomix.explain.tree_shap import Explained
from genomix.models.model import Float64Array
from genomix.schemas.results import IMPORTANCE

LEVELS = {"feature": "name", "group": "group", "family": "family"}
"""Level of importance to the column of COLUMNS that names its members."""


def importance(explained: Sequence[Explained], *, target: str) -> pl.DataFrame:
    """Return IMPORTANCE over the held-out rows of all folds, largest first within each level.

    Contributions of a group are summed within a row before the absolute value is taken: members that cancel each other
    count as what they do together, so a group is at most the sum of its columns. A column that a fold's model lacks
    counts 0 there. Importance is relative to this model and these people.
    """
    n_rows = sum(e.row.size for e in explained)
    records = []
    for level, column in LEVELS.items():
        totals: dict[str, float] = {}
        for part in explained:
            for name, total in zip(*_absolute_sums(part, part.columns[column].to_list()), strict=True):
                totals[name] = totals.get(name, 0.0) + float(total)
        for name in sorted(totals, key=lambda n: (-totals[n], n)):
            mean = totals[name] / n_rows if n_rows else 0.0
            records.append({"target": target, "level": level, "name": name, "mean_abs_shap": mean, "n_rows": n_rows})
    return IMPORTANCE.validate(pl.DataFrame(records, schema={c.name: c.dtype for c in IMPORTANCE.columns}))


def _absolute_sums(part: Explained, labels: list[str]) -> tuple[list[str], Float64Array]:
    """Return the labels, sorted, and the sum over rows of |sum of the label's contributions|."""
    names, member = np.unique(np.array(labels, dtype=object), return_inverse=True)
    order = np.argsort(member, kind="stable")
    if not len(labels):
        return [], np.zeros(0)
    starts = np.searchsorted(member[order], np.arange(names.size))
    by_label = np.add.reduceat(part.values[:, order].astype(np.float64), starts, axis=1)
    return names.tolist(), np.abs(by_label).sum(axis=0)
