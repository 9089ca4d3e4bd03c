"""What would happen at a decision threshold: who is flagged, who is missed, and whether it beats flagging everyone."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.privacy import WITHHELD, is_small, shown_from
from genomix.report.blocks import Block, Cell, Column, Figure, Note, Paragraph, Section, SectionMaker, Table
from genomix.report.charts import FloatArray
from genomix.report.curve_charts import draw_decision, points_table
from genomix.report.findings import flagged_sentence, hides_small_cell, net_benefit
from genomix.report.guard import thresholds_that_hide_flagged
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import model_name
from genomix.report.numbers import (
    NOT_ESTIMABLE,
    decimal,
    people,
    people_cell,
    percent,
    percent_interval,
    safe_share,
    shows_share,
)  # fmt: skip
from genomix.report.select import (
    Counts,
    counts,
    curve,
    is_binary,
    mark,
    primary_model,
    targets,
    threshold_row,
    unit_word,
)  # fmt: skip

TITLE = "What it would mean in use"
TREAT_ALL = "treat_all"


def render(inputs: ReportInputs) -> Section | None:
    """Return the threshold table and the decision curve; None for a quantity, which has no threshold."""
    if not is_binary(inputs):
        return None
    frame = _decision_points(inputs)
    if not inputs.thresholds.height and not frame.height:
        return Section(TITLE, "No decision threshold was examined.")
    (target, *_) = targets(inputs) or [""]
    held = counts(inputs, target)
    row = threshold_row(inputs)
    finding = "No decision threshold was stated for this study."
    if row:
        hides = row["threshold"] in thresholds_that_hide_flagged(inputs, row["model"], target)
        finding = flagged_sentence(row, held, unit_word(inputs), hides_flagged=hides)
    blocks: list[Block] = []
    if row:
        blocks.append(Paragraph(_benefit_sentence(row, held, inputs.facts.table_rows or "people")))
    if inputs.thresholds.height:
        blocks.append(_table(inputs, held))
    if frame.height:
        blocks.append(_figure(inputs, frame, held))
    note = (
        "These figures describe held-out people of this cohort. Nobody was treated differently because of a prediction."
    )
    blocks.append(Note("Not a trial", note))
    return Section(TITLE, finding, tuple(blocks))


def _decision_points(inputs: ReportInputs) -> pl.DataFrame:
    """Leave out flagging everyone, and the thresholds at which net benefit would give a small cell away."""
    frame = curve(inputs, "decision").filter(pl.col("model") != TREAT_ALL)
    rows = inputs.thresholds.to_dicts()
    hidden = [
        (r["model"], r["threshold"]) for r in rows if hides_small_cell(r, counts(inputs, r["target"]))
    ]  # fmt: skip
    keep = [
        not any(model == m and abs(x - t) < 1e-9 for m, t in hidden)
        for model, x in zip(frame["model"].to_list(), frame["x"].to_list(), strict=True)
    ]
    return frame.filter(pl.Series(keep, dtype=pl.Boolean))


def _benefit_sentence(row: dict[str, Any], held: Counts, unit: str) -> str:
    if hides_small_cell(row, held):
        return "Net benefit is withheld: fewer than 11 people stand behind a part of it."
    value = net_benefit(row)
    if not value.known or value.value is None:
        return "Net benefit at this threshold is not estimable."
    text = (
        f"Net benefit at this threshold is {value.text()}: as good as finding {decimal(100 * value.value, 1)} {unit} "
        "with the outcome in every 100, with no false alarm"
    )
    everyone = row["net_benefit_treat_all"]
    if everyone is not None:
        text += f". Flagging everyone has {decimal(everyone, value.decimals)}, flagging no one has 0"
        better = value.low is not None and value.low > max(everyone, 0.0)
        text += "; the interval lies above both" if better else "; the interval does not lie above both"
    return f"{text}."


def _table(inputs: ReportInputs, held: Counts) -> Table:
    model = primary_model(inputs)
    every = inputs.thresholds.filter(pl.col("model") == model).sort("target", "threshold")
    part = every.filter(pl.col("n_flagged") > 0)
    heads = ("Flagged", "PPV", "Sensitivity", "Specificity", "NPV", "Net benefit", "Net benefit, everyone flagged")
    columns = (Column("Threshold"), *(Column(h, True) for h in heads))
    (target, *_) = targets(inputs) or [""]
    closed = thresholds_that_hide_flagged(inputs, model, target)
    rows = tuple(_row(r, held, r["threshold"] in closed) for r in part.to_dicts())
    note = (
        "PPV: share with the outcome among those flagged. Sensitivity: share flagged among those with the outcome. "
        "Specificity: share not flagged among those without it. NPV: share without it among those not flagged."
    )
    if shown_from() > 1:
        note += f" Where fewer than {shown_from()} people stand behind a share, a bound is shown instead."
    if part.height < every.height:
        note += f" {every.height - part.height} thresholds at which nobody is flagged are left out."
    return Table(f"Thresholds, {model_name(model).lower()} (95 % intervals)", columns, rows, note=note)


def _row(row: dict[str, Any], held: Counts, hides_flagged: bool) -> tuple[Cell, ...]:
    n, events, flagged = held.rows, held.events, row["n_flagged"]
    without = n - events if n is not None and events is not None else None
    rest = n - flagged if n is not None else None
    few_left = rest is not None and is_small(rest)
    hidden = hides_small_cell(row, held) or few_left
    value, everyone = net_benefit(row), row["net_benefit_treat_all"]
    shares = [
        _share(row["ppv"], flagged, hidden), _share(row["sensitivity"], events, hidden),
        _share(row["specificity"], without, hidden), _share(row["npv"], rest, hidden),
    ]  # fmt: skip
    if not hidden and row["ppv"] is not None:
        shares[0] += f" ({percent_interval(row['ppv_low'], row['ppv_high'])})"
    return (
        Cell(percent(row["threshold"]), row["threshold"]),
        Cell(WITHHELD) if few_left or (hides_flagged and not is_small(flagged)) else people_cell(flagged),
        *(Cell(text) for text in shares),
        Cell(WITHHELD) if hidden else value.cell(),
        Cell(NOT_ESTIMABLE if everyone is None else decimal(everyone, 4 if hidden else value.decimals)),
    )


def _share(share: float | None, denominator: int | None, hidden: bool) -> str:
    """In a row with a small cell a share is a bound at best."""
    if hidden and share is not None:
        no_bound = denominator is None or is_small(denominator) or shows_share(share, denominator)
        return WITHHELD if no_bound else safe_share(share, denominator)
    return safe_share(share, denominator)


def _figure(inputs: ReportInputs, frame: pl.DataFrame, held: Counts) -> Figure:
    model = primary_model(inputs)
    part = inputs.thresholds.filter(pl.col("model") == model).sort("threshold")
    everyone = part.filter(pl.col("net_benefit_treat_all").is_not_null())
    treat_all: tuple[FloatArray, FloatArray] | None = None
    if everyone.height:
        treat_all = (everyone["threshold"].to_numpy(), everyone["net_benefit_treat_all"].to_numpy())
    svg = draw_decision(frame, treat_all, inputs.facts.threshold, mark(inputs))
    ahead = _ahead(frame, model, treat_all)
    caption = f"Net benefit of {model_name(model).lower()} is above flagging everyone and flagging no one {ahead}."
    alt = f"Decision curve: net benefit against threshold, with 95 % bands. {caption}"
    table = points_table(frame, "Points of the figure", "Threshold", "Net benefit")
    return Figure(svg, caption, alt, f"n = {people(held.rows)} held-out {unit_word(inputs)}", table)


def _ahead(frame: pl.DataFrame, model: str, treat_all: tuple[FloatArray, FloatArray] | None) -> str:
    part = frame.filter(pl.col("model") == model).sort("x")
    x, y = part["x"].to_numpy(), part["y"].to_numpy()
    other = np.maximum(0, np.interp(x, *treat_all)) if treat_all is not None else np.zeros(len(x))
    better = x[y > other]
    if not len(better):
        return "at no threshold examined"
    share = f"at {len(better)} of {len(x)} thresholds examined"
    return f"{share}, between {percent(float(better.min()))} and {percent(float(better.max()))}"


SECTION = SectionMaker("clinical_use", render)
