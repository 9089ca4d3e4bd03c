"""What drives the predictions: families and groups first, then features as sentences, then the swarm."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from genomix.report.blocks import Block, Cell, Column, Figure, Heading, Note, Section, SectionMaker, Table
from genomix.report.charts import FloatArray, bar_chart
from genomix.report.importance_rows import group_name, importance_by, leading_families
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import family_name
from genomix.report.numbers import decimal, people, percent, plain
from genomix.report.select import is_binary, is_table, mark, targets, unit_word
from genomix.report.swarm import Cloud, Dependence, beeswarm, dependence, dependence_panels, micro_aggregate

TITLE = "What drives the predictions"
MOST_GROUPS, MOST_FEATURES, MOST_SWARM = 12, 15, 10


def render(inputs: ReportInputs) -> Section:
    """Return grouped importance, features as sentences, the beeswarm, and the dependence of the strongest features."""
    if not inputs.importance.height:
        return Section(TITLE, "What drives the predictions was not computed.")
    sentences = _sentences(inputs)
    blocks: list[Block] = [
        Note(
            "What this does not mean",
            "These figures describe the model: how much a prediction moves when it knows a feature. They do not show a "
            "cause, and they are not biology. Features that say the same share their weight. Within a group or kind, "
            "contributions of one person are added up before their size is taken, so shares differ between the charts.",
        )
    ]
    levels = [("family", "By kind of data"), ("group", "By code, score or gene"), ("feature", "By feature")]
    if is_table(inputs):
        levels = [("group", "By column of the table"), ("feature", "By feature")]
    for level, head in levels:
        found = importance_by(inputs, level)
        if found:
            blocks += [Heading(head), _figure(inputs, level, found, sentences)]
    drawn = _swarm(inputs, sentences)
    if drawn:
        blocks += [Heading("How each feature moves predictions"), *drawn]
    return Section(TITLE, _finding(inputs), tuple(blocks))


def _finding(inputs: ReportInputs) -> str:
    words = leading_families(inputs)
    return (
        f"Of all movement of the predictions, most comes from {words}."
        if words
        else "The strongest features are listed."
    )


def _sentences(inputs: ReportInputs) -> dict[str, str]:
    return dict(zip(inputs.columns["name"].to_list(), inputs.columns["sentence"].to_list(), strict=True))


def _label(inputs: ReportInputs, level: str, name: str, sentences: Mapping[str, str]) -> str:
    if level == "feature" or (level == "group" and is_table(inputs)):
        text = sentences.get(name, name) if level == "feature" else group_name(inputs, name)
        return text[:1].upper() + text[1:]
    return family_name(name) if level == "family" else name


def _figure(
    inputs: ReportInputs, level: str, found: list[tuple[str, float, float]], sentences: Mapping[str, str]
) -> Figure:
    most = MOST_FEATURES if level == "feature" else MOST_GROUPS
    shown = found[:most]
    labels = [_label(inputs, level, name, sentences) for name, _, _ in shown]
    texts = [percent(share) for _, _, share in shown]
    svg = bar_chart(
        labels, [100 * s for _, _, s in shown], texts, x_label="share of all movement, %",
        mark=mark(inputs), label_width_in=2.9 if level == "feature" else 2.1,
    )  # fmt: skip
    groups = "columns" if is_table(inputs) else "groups"
    kind = {"family": "kinds of data", "group": groups, "feature": "features"}[level]
    left = f" {len(found) - most} further {kind} hold the rest." if len(found) > most else ""
    caption = f"“{labels[0]}” moves predictions most: {texts[0]} of all movement.{left}"
    alt = f"Bars, the largest first: {'; '.join(f'{a} {b}' for a, b in zip(labels, texts, strict=True))}."
    return Figure(svg, caption, alt, _n(inputs), _table(inputs, level, found, sentences))


def _scale(inputs: ReportInputs) -> str:
    """Return what a contribution is counted in."""
    if inputs.survival is not None:
        return "log hazard"
    return "log-odds" if is_binary(inputs) else "outcome's unit"


def _n(inputs: ReportInputs) -> str:
    sizes = sorted(set(inputs.importance["n_rows"].to_list()))
    text = people(sizes[0]) if len(sizes) == 1 else f"{people(sizes[0])} to {people(sizes[-1])}"
    n_targets = len(targets(inputs))
    return f"n = {text} held-out {unit_word(inputs)}" + (
        f", averaged over {n_targets} targets" if n_targets > 1 else ""
    )


def _table(
    inputs: ReportInputs, level: str, found: list[tuple[str, float, float]], sentences: Mapping[str, str]
) -> Table:
    scale = _scale(inputs)
    group = "Column" if is_table(inputs) else "Group"
    columns = (
        Column({"family": "Kind of data", "group": group, "feature": "Feature"}[level]), Column("Share", True),
        Column(f"Mean contribution ({scale})", True),
    )  # fmt: skip
    rows = tuple(
        (Cell(_label(inputs, level, name, sentences)), Cell(percent(share)), Cell(plain(value)))
        for name, value, share in found[: 4 * MOST_FEATURES]
    )
    note = f"The {4 * MOST_FEATURES} largest of {len(found)}." if len(found) > 4 * MOST_FEATURES else ""
    return Table("Mean absolute contribution on held-out people", columns, rows, note=note)


def _swarm(inputs: ReportInputs, sentences: Mapping[str, str]) -> list[Block]:
    frame = inputs.beeswarm
    if not frame.height or "percentile" not in frame.columns:
        return []
    ranked = [name for name, _, _ in importance_by(inputs, "feature")]
    present = set(frame["feature"].to_list())
    order = [n for n in ranked if n in present] + sorted(present - set(ranked))
    clouds: list[tuple[str, Cloud]] = []
    curves: list[Dependence] = []
    n = 0
    for name in order[:MOST_SWARM]:
        value, shap, percentile = _columns(frame, name)
        cloud = micro_aggregate(shap, percentile)
        if cloud is None:
            continue
        n = max(n, len(shap))
        clouds.append((_label(inputs, "feature", name, sentences), cloud))
        curve = dependence(_label(inputs, "feature", name, sentences), value, shap) if len(curves) < 4 else None
        curves += [curve] if curve else []
    scale = _scale(inputs)
    blocks: list[Block] = []
    if clouds:
        blocks.append(_swarm_figure(inputs, clouds, n, scale))
    if curves:
        blocks.append(_dependence_figure(inputs, curves, n, scale))
    return blocks


def _columns(frame: pl.DataFrame, name: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    part = frame.filter(pl.col("feature") == name).sort("row", "fold")
    value, shap, percentile = (
        part[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in ("value", "shap", "percentile")
    )
    return value, shap, percentile


def _swarm_figure(inputs: ReportInputs, clouds: list[tuple[str, Cloud]], n: int, scale: str) -> Figure:
    labels = [label for label, _ in clouds]
    svg = beeswarm(
        labels, [c for _, c in clouds], x_label=f"contribution to the prediction ({scale})", mark=mark(inputs)
    )
    directions = [_direction(c) for _, c in clouds]
    dot = "row" if is_table(inputs) else "person"
    caption = (
        f"“{labels[0]}”: {directions[0]}. One dot a {dot}, placed and coloured by the mean of at least 11 neighbours."
    )
    alt = "Beeswarm, the strongest feature first. " + "; ".join(
        f"{a}: {d}" for a, d in zip(labels, directions, strict=True)
    )
    columns = (Column("Feature"), Column("Direction"), *(Column(f"{q}th percentile", True) for q in (10, 50, 90)))
    rows = tuple(
        (Cell(a), Cell(d), *(Cell(t) for t in _quantiles(c))) for (a, c), d in zip(clouds, directions, strict=True)
    )
    table = Table(f"Contributions ({scale}) of the strongest features", columns, rows)
    return Figure(svg, caption, f"{alt}.", f"n = {people(n)} held-out {unit_word(inputs)} drawn", table)


def _quantiles(cloud: Cloud) -> list[str]:
    import numpy as np

    return [plain(round(float(q), 4)) for q in np.quantile(cloud.shap, (0.1, 0.5, 0.9))]


def _direction(cloud: Cloud) -> str:
    import numpy as np

    known = np.isfinite(cloud.percentile)
    x, y = cloud.percentile[known], cloud.shap[known]
    if len(x) < 22 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return "direction not clear"
    r = float(np.corrcoef(x, y)[0, 1])
    if abs(r) < 0.3:
        return "no single direction"
    return "higher values go with higher predictions" if r > 0 else "higher values go with lower predictions"


def _dependence_figure(inputs: ReportInputs, curves: list[Dependence], n: int, scale: str) -> Figure:
    svg = dependence_panels(curves, y_label="contribution", mark=mark(inputs))
    first = curves[0]
    caption = (
        f"From its lowest to its highest values the mean contribution of “{first.label}” goes from "
        f"{decimal(float(first.mean[0]), 2, signed=True)} to {decimal(float(first.mean[-1]), 2, signed=True)} "
        f"({scale}); the band holds the middle 80 % of people."
    )
    alt = f"{len(curves)} panels: " + "; ".join(
        f"{c.label}, from {plain(float(c.mean[0]))} at its lowest values to {plain(float(c.mean[-1]))} at its highest"
        for c in curves
    )
    columns = (
        Column("Feature"),
        Column("Value, mean of the group", True),
        Column("Contribution", True),
        Column("10–90 %", True),
    )
    rows = tuple(
        (Cell(c.label), Cell(plain(float(v))), Cell(plain(float(m))), Cell(f"{plain(float(a))} to {plain(float(b))}"))
        for c in curves
        for v, m, a, b in zip(c.value, c.mean, c.low, c.high, strict=True)
    )
    table = Table("Points of the figure; each is a group of at least 11 people", columns, rows)
    return Figure(svg, caption, f"{alt}.", f"n = {people(n)} held-out {unit_word(inputs)} drawn", table)


SECTION = SectionMaker("importance", render)
