"""Importance by level, averaged over targets, and its leading families."""

from __future__ import annotations

import polars as pl

from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import family_name
from genomix.report.numbers import percent
from genomix.report.select import is_table


def leading_families(inputs: ReportInputs) -> str:
    """Return the two families (of a table: columns) that move predictions most, with their shares; or nothing."""
    if is_table(inputs):
        named = [(group_name(inputs, n), share) for n, _, share in importance_by(inputs, "group")[:2]]
        return " and ".join(f"“{name}” ({percent(share)})" for name, share in named)
    found = importance_by(inputs, "family")[:2]
    return " and ".join(f"{family_name(n).lower()} ({percent(s)})" for n, _, s in found)


def group_name(inputs: ReportInputs, group: str) -> str:
    """Return how a group is shown; a table study's column in the study's own words."""
    if not is_table(inputs):
        return group
    named = inputs.columns.filter((pl.col("group") == group) & (pl.col("family") == "table"))
    return str(named["sentence"][0]) if named.height else group


def importance_by(inputs: ReportInputs, level: str) -> list[tuple[str, float, float]]:
    """Return (name, mean contribution, share of the total), the largest first; shares are averaged over targets."""
    part = inputs.importance.filter(pl.col("level") == level).sort("target", "name")
    totals: dict[str, float] = {}
    for target, value in zip(part["target"].to_list(), part["mean_abs_shap"].to_list(), strict=True):
        totals[target] = totals.get(target, 0.0) + value
    sums: dict[str, tuple[float, float]] = {}
    for row in part.to_dicts():
        value, share = sums.get(row["name"], (0.0, 0.0))
        total = totals[row["target"]]
        own = row["mean_abs_shap"]
        sums[row["name"]] = (value + own, share + (own / total if total else 0.0))
    n = max(1, len(totals))
    ranked = [(name, value / n, share / n) for name, (value, share) in sums.items()]
    return sorted(ranked, key=lambda r: (-r[2], r[0]))
