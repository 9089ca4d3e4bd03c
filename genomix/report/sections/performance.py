"""How good the predictions are for people whom the model never saw."""

from __future__ import annotations

import polars as pl

from genomix.report import survival
from genomix.report.blocks import Block, Cell, Column, Figure, Paragraph, Section, SectionMaker, Table
from genomix.report.charts import Row, interval_chart
from genomix.report.curve_charts import roc_and_precision, scatter
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import CALIBRATION, canonical_metric, metric_name, model_name
from genomix.report.numbers import Estimate, count, not_estimable, people, safe_share, share_of
from genomix.report.score_card import score_card_blocks
from genomix.report.select import (
    ALL,
    counts,
    estimate,
    is_binary,
    is_table,
    mark,
    pages,
    point,
    primary_metric,
    primary_model,
    targets,
    unit_word,
)  # fmt: skip

TITLE = "How good the predictions are"


def render(inputs: ReportInputs) -> Section:
    """Return metrics with intervals and, for one target, its curves; for several, all of them in one figure."""
    names = targets(inputs)
    if not inputs.metrics.height:
        return Section(TITLE, "No performance was computed.")
    if inputs.survival is not None:
        return Section(TITLE, survival.ranking_finding(inputs), survival.performance_blocks(inputs, inputs.survival))
    if len(names) > 1:
        return _many(inputs, names)
    return _one(inputs, names[0])


def _one(inputs: ReportInputs, target: str) -> Section:
    model, metric = primary_model(inputs), primary_metric(inputs)
    found = point(inputs, metric, target=target, model=model)
    n = counts(inputs, target)
    finding = f"{metric_name(metric).label} on held-out {unit_word(inputs)} is {found.text()}."
    blocks: list[Block] = [Paragraph(_who(inputs, target)), _metrics_table(inputs, target)]
    n_words = f"n = {people(n.rows)} held-out {unit_word(inputs)}"
    if is_binary(inputs):
        n_words += f", {people(n.events)} with the outcome"
    drawn = (roc_and_precision if is_binary(inputs) else scatter)(inputs, found, n_words)
    return Section(TITLE, finding, (*blocks, *([drawn] if drawn else []), *score_card_blocks(inputs)))


def _who(inputs: ReportInputs, target: str) -> str:
    n = counts(inputs, target)
    unit = unit_word(inputs)
    whom = "that" if is_table(inputs) else "whom"
    text = f"All figures are for {people(n.rows)} {unit} {whom} the model did not learn from"
    if n.units is not None and is_table(inputs):
        text += f"; intervals come from resampling {people(n.units)} people, each with all their {unit}"
    elif n.units is not None and n.units != n.rows:
        text += f"; intervals come from resampling {people(n.units)} units (people or groups of relatives)"
    else:
        text += f"; intervals come from resampling {unit}"
    if is_binary(inputs):
        text += f". The outcome was observed in {share_of(n.events, n.rows)}"
    return text + ". Intervals cover 95 %."


def _metrics_table(inputs: ReportInputs, target: str) -> Table:
    part = inputs.metrics.filter((pl.col("target") == target) & (pl.col("group") == ALL))
    models = _ordered_models(part["model"].unique().to_list())
    metrics = [m for m in _ordered_metrics(part["metric"].to_list()) if m not in CALIBRATION]
    columns = (Column("Measure"), *(Column(model_name(m), True) for m in models))
    rows = []
    for metric in metrics:
        cells = [_cell(inputs, metric, target, model) for model in models]
        name = metric_name(metric)
        better = {"higher": "higher is better", "lower": "lower is better", "near": ""}[name.better]
        words = "; ".join(w for w in (name.meaning, better) if w)
        rows.append((Cell(name.label, hint=words), *cells))
    return Table("Held-out performance beside simple baselines (95 % intervals)", columns, tuple(rows))


def _cell(inputs: ReportInputs, metric: str, target: str, model: str) -> Cell:
    found = estimate(inputs, metric, target=target, model=model)
    if found is None:
        return Cell("not computed")
    value, note = found
    if metric == "prevalence":
        return Cell(safe_share(value.value, counts(inputs, target).rows))
    if not value.known:
        return Cell(not_estimable(note))
    return value.cell()


def _ordered_models(models: list[str]) -> list[str]:
    order = ("boosted", "linear", "points", "demographics", "prevalence", "mean")
    known = [m for m in order if m in models]
    shown = known or sorted(models)
    return shown if len(known) > 1 else [*known, *sorted(set(models) - set(known))]


def _ordered_metrics(metrics: list[str]) -> list[str]:
    order = ("auroc", "auprc", "brier", "brier_skill", "log_loss", "r2", "pearson_r", "spearman_r", "rmse", "mae")
    names = {canonical_metric(m) for m in metrics}
    return [*(m for m in order if m in names), *sorted(names - set(order))]


def _many(inputs: ReportInputs, names: list[str]) -> Section:
    model, metric = primary_model(inputs), primary_metric(inputs)
    found = {t: point(inputs, metric, target=t, model=model) for t in names}
    ordered = sorted(names, key=lambda t: (-_or_least(found[t]), t))
    name = metric_name(metric)
    reference = name.reference if name.reference is not None else 0.0
    above = sum(found[t].low is not None and (found[t].low or 0.0) > reference for t in names)
    finding = (
        f"For {above} of {len(names)} targets the whole interval of {name.label} lies above {_plain(reference)}, "
        "the value of no skill."
    )
    figures = [_targets_figure(inputs, page, found) for page in pages(ordered)]
    said = (
        f"All {len(names)} targets are shown, best first; none was left out. With {len(names)} targets, about "
        f"{count(max(1, round(0.025 * len(names))))} would have an interval wholly above no skill by chance alone."
    )
    return Section(TITLE, finding, (Paragraph(_who(inputs, ordered[0])), *figures, Paragraph(said)))


def _targets_figure(inputs: ReportInputs, shown: list[str], found: dict[str, Estimate]) -> Figure:
    """One figure over the targets shown; all figures share one scale."""
    metric = primary_metric(inputs)
    name = metric_name(metric)
    base = "linear" if primary_model(inputs) != "linear" else "prevalence"
    second = {t: point(inputs, metric, target=t, model=base).value for t in shown}
    rows = [Row(t, found[t].value, found[t].low, found[t].high, second=second[t]) for t in shown]
    svg = interval_chart(
        rows, x_label=f"{name.label}, 95 % interval", zero=name.reference or 0.0, zero_label="no skill",
        mark=mark(inputs), label_width_in=1.3, limits=_limits(list(found.values())),
        second_label=model_name(base).lower() if any(v is not None for v in second.values()) else "",
    )  # fmt: skip
    best, worst = shown[0], shown[-1]
    caption = f"{name.label} runs from {found[worst].text()} for {worst} to {found[best].text()} for {best}."
    alt = f"{name.label} with 95 % interval for each of {len(shown)} targets, best first: "
    alt += "; ".join(f"{t} {found[t].text()}" for t in shown) + "."
    sizes = sorted({r for t in shown if (r := counts(inputs, t).rows) is not None})
    n = people(sizes[0]) if len(sizes) == 1 else f"{people(sizes[0])} to {people(sizes[-1])}"
    return Figure(svg, caption, alt, f"n = {n} held-out {unit_word(inputs)} a target", _targets_table(inputs, shown))


def _limits(found: list[Estimate]) -> tuple[float, float] | None:
    ends = [v for e in found for v in (e.value, e.low, e.high) if v is not None]
    if not ends:
        return None
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _targets_table(inputs: ReportInputs, ordered: list[str]) -> Table:
    part = inputs.metrics.filter(pl.col("group") == ALL)
    model = primary_model(inputs)
    models = [m for m in _ordered_models(part["model"].unique().to_list()) if m in (model, "linear")]
    metrics = _ordered_metrics(part["metric"].to_list())
    pairs = [(m, k) for m in models for k in metrics if part.filter(pl.col("model") == m).height]
    heads = [f"{metric_name(k).label}, {model_name(m).lower()}" for m, k in pairs]
    columns = (Column("Target"), *(Column(h, True) for h in heads), Column("n", True))
    rows = [
        (
            Cell(t), *(_cell(inputs, k, t, m) for m, k in pairs), Cell(people(counts(inputs, t).rows)),
        )
        for t in ordered
    ]  # fmt: skip
    return Table("Every target, ordered by the first column of figures", columns, tuple(rows))


def _or_least(value: Estimate) -> float:
    return value.value if value.value is not None and value.known else float("-inf")


def _plain(value: float) -> str:
    return f"{value:g}"


SECTION = SectionMaker("performance", render)
