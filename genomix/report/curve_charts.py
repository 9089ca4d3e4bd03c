"""Figures of curves: discrimination, calibration, decision, and observed against predicted."""

from __future__ import annotations

import numpy as np
import polars as pl

from genomix.report.blocks import Cell, Column, Figure, Table
from genomix.report.charts import (
    BLUE,
    INK,
    MODEL_COLOURS,
    QUIET,
    REFERENCE_DASH,
    FloatArray,
    Line,
    add_axes,
    canvas,
    curve_label,
    draw_line,
    light_grid,
    new_figure,
    themed,
    thin_ticks,
    to_svg,
)  # fmt: skip
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import CURVE_NAMES, metric_name, model_name
from genomix.report.numbers import Estimate, people_cell, percent, plain, shows_share
from genomix.report.select import counts, curve, curve_models, is_table, mark, primary_model, targets, unit_word

MAX_TABLE_POINTS = 25


def line_of(frame: pl.DataFrame, model: str, *, markers: bool = False) -> Line:
    """Return one model's points as a line, ordered by x, then y."""
    part = frame.filter(pl.col("model") == model).sort("x", "y")
    low, high = (part[n].cast(pl.Float64).fill_null(float("nan")).to_numpy() for n in ("low", "high"))
    has_band = bool(np.isfinite(low).any())
    colour = MODEL_COLOURS.get(model, QUIET)
    x, y = part["x"].to_numpy(), part["y"].to_numpy()
    line = Line(CURVE_NAMES.get(model, model), colour, x, y, dashed=model != "boosted", markers=markers)
    return line._replace(low=low, high=high) if has_band else line


def points_table(frame: pl.DataFrame, caption: str, x: str, y: str) -> Table:
    """Return a curve's points as a table, at most ``MAX_TABLE_POINTS`` a model, evenly picked."""
    rows = []
    for model in reversed(curve_models(frame)):
        part = frame.filter(pl.col("model") == model).sort("x", "y")
        pick = np.unique(np.linspace(0, part.height - 1, min(MAX_TABLE_POINTS, part.height)).round().astype(int))
        for row in part[pick.tolist()].to_dicts():
            shown = Estimate(row["y"], row["low"], row["high"])
            y_cell = shown.cell() if shown.has_interval else Cell(plain(row["y"]))
            rows.append((Cell(model_name(model)), Cell(plain(row["x"])), y_cell, people_cell(row["n"])))
    columns = (Column("Model"), Column(x, True), Column(y, True), Column("People behind the point", True))
    return Table(caption, columns, tuple(rows))


def roc_and_precision(inputs: ReportInputs, found: Estimate, n: str) -> Figure | None:
    """Return sensitivity against false alarms beside precision against sensitivity; None without these curves."""
    roc, precision = curve(inputs, "roc"), curve(inputs, "precision_recall")
    if not roc.height and not precision.height:
        return None
    (target, *_) = targets(inputs)
    held = counts(inputs, target)
    prevalence = held.events / held.rows if held.rows and held.events is not None else None
    prevalence = prevalence if shows_share(prevalence, held.rows) else None
    svg = _draw_roc_and_precision(roc, precision, prevalence, mark(inputs))
    ranked = unit_word(inputs) if is_table(inputs) else "people"
    caption = f"Across all cut-offs the model ranks {ranked} with AUROC {found.text()}; the dotted lines show no skill."
    alt = f"Two panels. Left: sensitivity against one minus specificity, {_extent(roc)}. Right: precision (positive "
    alt += f"predictive value) against sensitivity, {_extent(precision)}; prevalence is {percent(prevalence)}."
    return Figure(svg, caption, alt, n, _panels_table(roc, precision))


def _panels_table(roc: pl.DataFrame, precision: pl.DataFrame) -> Table:
    caption = "Points of the figure; left: 1 − specificity and sensitivity, right: sensitivity and precision"
    rows = [
        (Cell(panel), *row)
        for panel, frame in (("left", roc), ("right", precision))
        for row in points_table(frame, "", "", "").rows
    ]
    heads = (Column("Panel"), Column("Model"), Column("Across", True), Column("Up", True))
    return Table(caption, (*heads, Column("People behind the point", True)), tuple(rows))


def _extent(frame: pl.DataFrame) -> str:
    if not frame.height:
        return "no curve"
    return f"from {plain(float(frame['y'].to_numpy().min()))} to {plain(float(frame['y'].to_numpy().max()))}"


@themed
def _draw_roc_and_precision(roc: pl.DataFrame, precision: pl.DataFrame, prevalence: float | None, label: str) -> bytes:
    figure = new_figure(3.05)
    panels = ((roc, "1 − specificity", "Sensitivity"), (precision, "Sensitivity", "Precision (PPV)"))
    for i, (frame, x_label, y_label) in enumerate(panels):
        axes = add_axes(figure, left=0.6 + 2.83 * i, right=0.08 + 2.83 * (1 - i), top=0.35, bottom=0.5)
        if i == 0:
            axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1.2, linestyle=REFERENCE_DASH)
        elif prevalence is not None:
            axes.axhline(prevalence, color=QUIET, linewidth=1.2, linestyle=REFERENCE_DASH)
            axes.annotate(
                "prevalence", (0.02, prevalence), xytext=(0, 3), textcoords="offset points", color=QUIET, fontsize=8
            )
        models = curve_models(frame)
        for model in models:
            draw_line(axes, line_of(frame, model))
        for j, model in enumerate(reversed(models)):
            place = 0.07 + 0.1 * j if i == 0 else 0.93 - 0.1 * j
            name = CURVE_NAMES.get(model, model)
            curve_label(axes, name, 0.97, place, MODEL_COLOURS.get(model, QUIET), ha="right")
        axes.set_xlim(0, 1.005)
        axes.set_ylim(0, 1.005)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        light_grid(axes, "both")
    return to_svg(figure, mark=label)


@themed
def draw_calibration(
    bins: pl.DataFrame, smooth: pl.DataFrame, x_label: str, y_label: str, label: str, *, from_zero: bool
) -> bytes:
    """Draw observed against predicted around the diagonal of perfect agreement: smooth curves with bands, bins as dots.

    Without smooth curves the bins are joined and carry the bands.
    """
    frame = pl.concat([bins, smooth])
    figure, axes = canvas(3.9, left=0.7, right=0.25, top=0.32, bottom=0.5)
    ends = [frame[c].drop_nulls().to_numpy() for c in ("x", "y", "low", "high")]
    values: FloatArray = np.concatenate([e for e in ends if len(e)])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    low = min(0.0, low) if from_zero else low - 0.04 * (high - low)
    pad = 0.04 * ((high - low) or 1)
    axes.plot([low, high + pad], [low, high + pad], color=INK, linewidth=1.2, linestyle=REFERENCE_DASH)
    models = curve_models(frame)
    for model in models:
        if smooth.filter(pl.col("model") == model).height:
            draw_line(axes, line_of(smooth, model))
            points = line_of(bins, model)
            axes.plot(points.x, points.y, "o", color=points.colour, markersize=4)
        else:
            draw_line(axes, line_of(bins, model, markers=True))
    for j, model in enumerate(reversed(models)):
        place = low + (high - low) * (0.06 + 0.075 * j)
        curve_label(axes, CURVE_NAMES.get(model, model), high, place, MODEL_COLOURS.get(model, QUIET), ha="right")
    axes.text(
        low + 0.9 * (high + pad - low), low + 0.915 * (high + pad - low), "perfect agreement", ha="center", va="bottom",
        fontsize=8.5, color=QUIET, rotation=45, rotation_mode="anchor", transform_rotates_text=True,
    )  # fmt: skip
    axes.set_xlim(low, high + pad)
    axes.set_ylim(low, high + pad)
    thin_ticks(axes, x=5, y=5)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    light_grid(axes, "both")
    return to_svg(figure, mark=label)


def calibration_words(bins: pl.DataFrame, model: str) -> str:
    """Return for how many groups the interval of what was observed covers what was predicted."""
    part = bins.filter((pl.col("model") == model) & pl.col("low").is_not_null() & pl.col("high").is_not_null())
    if not part.height:
        return "Observed is drawn against predicted; no interval was computed."
    covered = part.filter((pl.col("low") <= pl.col("x")) & (pl.col("x") <= pl.col("high"))).height
    return f"In {covered} of {part.height} groups the interval of what was observed covers what was predicted."


@themed
def draw_decision(
    frame: pl.DataFrame, treat_all: tuple[FloatArray, FloatArray] | None, threshold: float | None, label: str
) -> bytes:
    """Draw net benefit by threshold: the models, flagging everyone, flagging no one, and the stated threshold."""
    figure, axes = canvas(3.4, left=0.72, right=0.25, top=0.35, bottom=0.5)
    models = curve_models(frame)
    lines = [line_of(frame, m) for m in models]
    top = max(float(np.nanmax(np.concatenate([ln.y, ln.high if ln.high is not None else ln.y]))) for ln in lines)
    right = max(float(ln.x.max()) for ln in lines)
    floor = -0.25 * max(top, 1e-6)
    axes.axhline(0, color=INK, linewidth=1)
    curve_label(axes, "flag no one", right, floor * 0.28, INK, ha="right")
    if treat_all is not None and len(treat_all[0]):
        axes.plot(*treat_all, color=QUIET, linewidth=1.4, linestyle=(0, (4, 2)))
        curve_label(axes, "flag everyone", float(treat_all[0][0]), floor * 0.7, QUIET)
    for line in lines:
        draw_line(axes, line)
    for j, line in enumerate(reversed(lines)):
        curve_label(axes, line.name, right, top * (0.95 - 0.1 * j), line.colour, ha="right")
    if threshold is not None:
        axes.axvline(threshold, color=BLUE, linewidth=1, linestyle=":")
        axes.annotate(
            "stated threshold", (threshold, top), xytext=(4, 0), textcoords="offset points", fontsize=8.5, color=BLUE
        )
    axes.set_ylim(floor, top * 1.08 or 0.01)
    axes.set_xlim(0, right * 1.01)
    thin_ticks(axes, x=6, y=5)
    axes.set_xlabel("Threshold: predicted probability at which a person is flagged")
    axes.set_ylabel("Net benefit")
    light_grid(axes, "both")
    return to_svg(figure, mark=label)


def scatter(inputs: ReportInputs, found: Estimate, n: str) -> Figure | None:
    """Return observed against predicted for a quantity; None without the curve. Each dot is a group of people."""
    frame = curve(inputs, "scatter", model=primary_model(inputs))
    if not frame.height:
        return None
    svg = _draw_scatter(frame, mark(inputs))
    caption = f"Predicted and observed values lie around the diagonal with {metric_name('r2').label} {found.text()}."
    alt = (
        f"Observed against predicted {inputs.facts.outcome}, {frame.height} points, each the mean of a group of people."
    )
    table = points_table(frame, "Points of the figure", "Predicted", "Observed")
    return Figure(svg, caption, alt, n, table)


@themed
def _draw_scatter(frame: pl.DataFrame, label: str) -> bytes:
    figure, axes = canvas(3.9, left=0.75, right=0.25, top=0.32, bottom=0.5)
    x, y = frame["x"].to_numpy(), frame["y"].to_numpy()
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    pad = 0.05 * ((high - low) or 1)
    axes.plot([low - pad, high + pad], [low - pad, high + pad], color=INK, linewidth=1.2, linestyle=REFERENCE_DASH)
    axes.scatter(x, y, s=12, color=BLUE, alpha=0.55, linewidths=0, rasterized=True)
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(low - pad, high + pad)
    thin_ticks(axes, x=5, y=5)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("Observed")
    light_grid(axes, "both")
    return to_svg(figure, mark=label)
