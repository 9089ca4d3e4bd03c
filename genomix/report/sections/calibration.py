"""Whether predicted values mean what they say."""

from __future__ import annotations

from genomix.report import survival
from genomix.report.blocks import Block, Cell, Column, Figure, Note, Section, SectionMaker, Table
from genomix.report.curve_charts import calibration_words, draw_calibration, points_table
from genomix.report.findings import slope_sentence
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import CALIBRATION, metric_name, model_name
from genomix.report.numbers import not_estimable, people
from genomix.report.select import (
    counts,
    curve,
    curve_models,
    estimate,
    is_binary,
    mark,
    point,
    primary_model,
    targets,
    unit_word,
)  # fmt: skip

TITLE = "Whether the predictions mean what they say"


def render(inputs: ReportInputs) -> Section | None:
    """Return the calibration measures and, for one target, the curve; None where a trait study computed neither."""
    if inputs.survival is not None:
        return Section(TITLE, *survival.calibration_content(inputs, inputs.survival))
    names = targets(inputs)
    table = _table(inputs, names)
    frame = curve(inputs, "calibration")
    if table is None and not frame.height:
        if not is_binary(inputs) and inputs.metrics.height:
            return None
        return Section(TITLE, "Calibration was not computed: read predicted values as scores, not as probabilities.")
    blocks: list[Block] = []
    if len(names) == 1:
        slope = point(inputs, "calibration_slope", target=names[0], model=primary_model(inputs))
        said = calibration_words(frame, primary_model(inputs))
        finding = slope_sentence(slope) if slope.known or is_binary(inputs) else said
        if frame.height:
            blocks.append(_figure(inputs, names[0], said))
    else:
        finding = _many_finding(inputs, names)
    if table is not None:
        blocks.append(table)
    if is_binary(inputs):
        blocks.append(Note("What this does not mean", "Agreement on average says nothing about one person's outcome."))
    return Section(TITLE, finding, tuple(blocks))


def _many_finding(inputs: ReportInputs, names: list[str]) -> str:
    model = primary_model(inputs)
    slopes = [point(inputs, "calibration_slope", target=t, model=model) for t in names]
    known = [s for s in slopes if s.has_interval]
    agree = sum(not s.excludes(1.0) for s in known)
    return f"For {agree} of {len(names)} targets the calibration slope's interval covers 1, the value of agreement."


def _table(inputs: ReportInputs, names: list[str]) -> Table | None:
    models = [m for m in ("boosted", "linear") if m in set(inputs.metrics["model"].to_list())] or [
        primary_model(inputs)
    ]
    rows = []
    for target in names:
        for model in models:
            for metric in CALIBRATION:
                found = estimate(inputs, metric, target=target, model=model)
                if found is None:
                    continue
                value, note = found
                cell = value.cell() if value.known else Cell(not_estimable(note))
                name = metric_name(metric)
                ideal = "not stated" if name.reference is None else f"{name.reference:g}"
                first = (Cell(target),) if len(names) > 1 else ()
                rows.append((*first, Cell(name.label, hint=name.meaning), Cell(model_name(model)), cell, Cell(ideal)))
    if not rows:
        return None
    heads = (Column("Measure"), Column("Model"), Column("Estimate (95 % interval)", True), Column("At agreement", True))
    first_head = (Column("Target"),) if len(names) > 1 else ()
    return Table("Calibration measures", (*first_head, *heads), tuple(rows))


def _figure(inputs: ReportInputs, target: str, caption: str) -> Figure:
    frame = curve(inputs, "calibration")
    binary = is_binary(inputs)
    x = "Predicted probability" if binary else "Predicted"
    y = "Observed share with the outcome" if binary else "Observed"
    svg = draw_calibration(frame, curve(inputs, "calibration_smooth"), x, y, mark(inputs), from_zero=binary)
    words = ", ".join(model_name(m).lower() for m in reversed(curve_models(frame)))
    alt = f"{y} against {x.lower()} with 95 % bands, {words}; the dashed diagonal is perfect agreement. {caption}"
    n = f"n = {people(counts(inputs, target).rows)} held-out {unit_word(inputs)}; no point stands for fewer than 11"
    return Figure(svg, caption, alt, n, points_table(frame, "Points of the figure", x, y))


SECTION = SectionMaker("calibration", render)
