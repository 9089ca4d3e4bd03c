"""Picking from the result tables what several sections need: targets, the model of the page, one estimate, the unit."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from genomix.privacy import is_small
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import PRIMARY, canonical_metric
from genomix.report.numbers import Estimate

ALL = "all"


class Counts(NamedTuple):
    """Held-out rows, units of resampling and events of one target; None when not stated."""

    rows: int | None
    units: int | None
    events: int | None


def targets(inputs: ReportInputs) -> list[str]:
    """Return every target, in name order."""
    frame = inputs.metrics if inputs.metrics.height else inputs.ladder
    return sorted(frame["target"].unique().to_list())


def is_binary(inputs: ReportInputs) -> bool:
    """Say whether the outcome is yes or no."""
    return inputs.facts.objective == "binary"


def is_table(inputs: ReportInputs) -> bool:
    """Say whether the study is of one table, without records, genotypes or times."""
    return inputs.facts.table_rows is not None


def primary_metric(inputs: ReportInputs) -> str:
    """Return the metric of page one."""
    return PRIMARY.get(inputs.facts.objective, "r2")


def primary_model(inputs: ReportInputs) -> str:
    """Return the model that the page is about: boosted trees, else the linear model, else the first by name."""
    models = sorted(inputs.metrics["model"].unique().to_list())
    return next((m for m in ("boosted", "linear") if m in models), models[0] if models else "boosted")


def estimate(
    inputs: ReportInputs, metric: str, *, target: str, model: str, group: str = ALL
) -> tuple[Estimate, str] | None:
    """Return one estimate with its note, or None where the table has no such row."""
    rows = inputs.metrics.filter(
        (pl.col("target") == target) & (pl.col("model") == model) & (pl.col("group") == group)
    ).to_dicts()
    for row in rows:
        if canonical_metric(row["metric"]) == metric:
            return Estimate(row["estimate"], row["low"], row["high"]), row["note"]
    return None


def point(inputs: ReportInputs, metric: str, *, target: str, model: str) -> Estimate:
    """Return one estimate over all held-out rows; not estimable where the table has no such row."""
    found = estimate(inputs, metric, target=target, model=model)
    return found[0] if found else Estimate(None, None, None)


def counts(inputs: ReportInputs, target: str) -> Counts:
    """Return the held-out counts of one target."""
    rows = inputs.metrics.filter((pl.col("target") == target) & (pl.col("group") == ALL)).sort("model", "metric")
    if not rows.height:
        return Counts(None, None, None)
    best = rows.row(int(rows["n_rows"].arg_max() or 0), named=True)
    return Counts(best["n_rows"], best["n_units"], best["n_events"])


def unit_word(inputs: ReportInputs) -> str:
    """Return what a row is, in the plural: a table study's word, else the flow's last unit with a name, else people."""
    if inputs.facts.table_rows is not None:
        return inputs.facts.table_rows
    named = [u for u in inputs.flow["unit"].to_list() if u in ("people", "samples", "admissions")]
    of_records = inputs.flow.filter((pl.col("part") == "records") & pl.col("unit").is_in(["people", "admissions"]))
    if inputs.flow.height and inputs.flow["unit"].to_list()[-1] == "rows":
        return str(of_records["unit"].to_list()[-1]) if of_records.height else "people"
    return str(named[-1]) if named else "people"


def curve(inputs: ReportInputs, name: str, *, model: str | None = None) -> pl.DataFrame:
    """Return the points of one curve in the table's order, without points behind which a small cell stands."""
    frame = inputs.curves.filter(pl.col("curve") == name)
    if model is not None:
        frame = frame.filter(pl.col("model") == model)
    keep = [not is_small(n) for n in frame["n"].to_list()]
    return frame.filter(pl.Series(keep, dtype=pl.Boolean))


def curve_models(frame: pl.DataFrame) -> list[str]:
    """Return the models of some curve points, the boosted one last so that it is drawn on top."""
    models = sorted(frame["model"].unique().to_list())
    return [m for m in models if m != "boosted"] + [m for m in models if m == "boosted"]


def threshold_row(inputs: ReportInputs) -> dict[str, Any] | None:
    """Return the threshold table's row at the stated threshold (the nearest one within 1e-9), or None."""
    stated = inputs.facts.threshold
    if stated is None or not inputs.thresholds.height:
        return None
    model = primary_model(inputs)
    for row in inputs.thresholds.filter(pl.col("model") == model).sort("target", "threshold").to_dicts():
        if abs(row["threshold"] - stated) < 1e-9:
            return row
    return None


def simulated_phrase(inputs: ReportInputs) -> str:
    """Return what is simulated as one phrase, e.g. ``health records and outcome``; empty when nothing is."""
    return join_words(list(inputs.facts.simulated))


def mark(inputs: ReportInputs) -> str:
    """Return the words that stand next to every figure of a study with simulated parts, else an empty text."""
    return f"SIMULATED: {simulated_phrase(inputs)}" if inputs.facts.simulated else ""


def join_words(words: list[str]) -> str:
    """Return ``a, b and c``.

    >>> join_words(["a"]), join_words(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


ROWS_PER_FIGURE = 40
"""More targets than this are drawn in several figures, so that each fits on a page."""


def pages(names: list[str]) -> list[list[str]]:
    """Return the names in runs that one figure can hold."""
    return [names[i : i + ROWS_PER_FIGURE] for i in range(0, len(names), ROWS_PER_FIGURE)]


def sentence(text: str) -> str:
    """Return a text with a capital at its start and a full stop at its end."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
