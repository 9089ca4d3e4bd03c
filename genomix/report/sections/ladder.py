"""What each kind of data adds, on the same held-out people: demographics, ancestry, records, score, variants."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomix.report.blocks import Block, Bullets, Cell, Column, Figure, Heading, Note, Section, SectionMaker, Table
from genomix.report.charts import Row, interval_chart, interval_panels
from genomix.report.inputs import ReportInputs
from genomix.report.ladder_rows import (
    GENETIC,
    control,
    control_sentence,
    gain,
    genetic_finding,
    has_controls,
    has_genetics,
    ladder_metric,
    own,
    rung_sentence,
    rungs,
    verdict,
)
from genomix.report.metric_names import RUNG_NAMES, RUNG_WORDS, in_words, metric_name
from genomix.report.numbers import NOT_ESTIMABLE, count, not_estimable, partition, people
from genomix.report.select import ALL, counts, is_table, mark, pages, sentence, unit_word

TITLE = "What genetics adds"
SHUFFLED = "The same change with the columns shuffled"


def render(inputs: ReportInputs) -> Section | None:
    """Return one row a rung with paired differences around zero, over everyone and within ancestry groups.

    None for a table study: its features are all of one kind.
    """
    if is_table(inputs):
        return None
    if not inputs.ladder.height:
        return Section(TITLE, "The ladder was not computed: this study does not say what genetics adds.")
    names = sorted(inputs.ladder["target"].unique().to_list())
    blocks: list[Block] = _many(inputs, names) if len(names) > 1 else _one(inputs, names[0])
    judged = inputs.ladder.filter(pl.col("estimate").is_not_null() & (pl.col("note") != ""))
    notes = sorted(set(judged["note"].to_list()))
    if notes:
        blocks.append(Note("About the scores and rungs", " ".join(sentence(n) for n in notes)))
    title = TITLE if has_genetics(inputs) else "What each kind of data adds"
    blocks.append(
        Note(
            "What this does not mean",
            "A rung is judged after those before it, on the same people: what the records already tell is not counted "
            "again for genetics. A score that was made from people who overlap with these proves nothing here.",
        )
    )
    return Section(title, genetic_finding(inputs), tuple(blocks))


def _one(inputs: ReportInputs, target: str) -> list[Block]:
    metric = ladder_metric(inputs)
    found = rungs(inputs, target=target)
    blocks: list[Block] = [Bullets(tuple(rung_sentence(r) for r in found))]
    if has_controls(inputs):
        blocks.append(Note("Permutation control", control_sentence(found)))
    if any(r["step"] > 0 for r in found):
        blocks.append(_figure(inputs, target, found, metric))
    groups = [g for g in sorted(inputs.ladder["group"].unique().to_list()) if g != ALL]
    if groups and _later_steps(inputs):
        blocks += [Heading("Within ancestry groups"), _groups_figure(inputs, target, groups, metric)]
    return blocks


def _figure(inputs: ReportInputs, target: str, found: list[dict[str, Any]], metric: str) -> Figure:
    later = [r for r in found if r["step"] > 0]
    rows = [_interval_row(r) for r in later]
    name = metric_name(metric)
    svg = interval_chart(
        rows, x_label=f"Change in {name.label} from the rung before, 95 % interval", zero=0.0, zero_label="no change",
        mark=mark(inputs),
    )  # fmt: skip
    gains = [
        RUNG_NAMES.get(r["rung"], r["rung"]).removeprefix("+ ") for r in later if verdict(gain(r), metric) == "a gain"
    ]
    caption = (
        f"The interval of the change excludes zero, for the better, for {', '.join(gains)}."
        if gains else "No rung's interval excludes zero for the better."
    )  # fmt: skip
    alt = f"Change in {name.label} with 95 % interval for each rung. " + " ".join(rung_sentence(r) for r in later)
    n = f"n = {people(counts(inputs, target).rows)} held-out {unit_word(inputs)}, the same for every rung"
    return Figure(svg, caption, alt, n, _table(inputs, [target], [ALL]))


def _interval_row(row: dict[str, Any]) -> Row:
    label = RUNG_NAMES.get(row["rung"], in_words(row["rung"]))
    return Row(label, row["delta"], row["delta_low"], row["delta_high"])


def _groups_figure(inputs: ReportInputs, target: str, groups: list[str], metric: str) -> Figure:
    steps = _later_steps(inputs)
    labels = [g.split("=", 1)[-1] for g in groups]
    panels = [
        (
            RUNG_NAMES.get(rung, rung),
            [
                _find(rungs(inputs, target=target, group=g), rung, label)
                for g, label in zip(groups, labels, strict=True)
            ],
        )
        for rung in steps
    ]
    name = metric_name(metric)
    svg = interval_panels(panels, x_label=f"Change in {name.label}, 95 % interval", mark=mark(inputs))
    wide = [labels[i] for i, g in enumerate(groups) if _gains(inputs, target, g, metric)]
    caption = (
        f"Within ancestry groups, the score's or variants' interval excludes zero for the better in {', '.join(wide)}."
        if wide else "Within no ancestry group does the score's or variants' interval exclude zero for the better."
    )  # fmt: skip
    table = _table(inputs, [target], groups)
    return Figure(
        svg, caption, f"One panel a rung, one row an ancestry group. {caption}", _n_groups(inputs, groups), table
    )


def _n_groups(inputs: ReportInputs, groups: list[str]) -> str:
    sizes = inputs.metrics.filter(pl.col("group").is_in(groups)).sort("group", "n_rows")
    known = {g: sizes.filter(pl.col("group") == g)["n_rows"].to_list() for g in groups}
    held = counts(inputs, inputs.ladder["target"].to_list()[0])
    texts = partition([v[-1] for v in known.values() if v], held.rows)
    parts = [f"{g.split('=', 1)[-1]} {t}" for g, t in zip([g for g, v in known.items() if v], texts, strict=True)]
    unit = f"held-out {unit_word(inputs)}; n. e.: not estimable"
    return f"n: {', '.join(parts)} {unit}" if parts else f"n of each group is not stated; {unit}"


def _gains(inputs: ReportInputs, target: str, group: str, metric: str) -> bool:
    found = rungs(inputs, target=target, group=group)
    return any(r["rung"] in GENETIC and r["step"] > 0 and verdict(gain(r), metric) == "a gain" for r in found)


def _later_steps(inputs: ReportInputs) -> list[str]:
    return list(dict.fromkeys(inputs.ladder.filter(pl.col("step") > 0).sort("step", "rung")["rung"].to_list()))


def _find(found: list[dict[str, Any]], rung: str | None, label: str) -> Row:
    row = next((r for r in found if r["rung"] == rung), None)
    if row is None:
        return Row(label, None, None, None)
    return Row(label, row["delta"], row["delta_low"], row["delta_high"])


def _many(inputs: ReportInputs, names: list[str]) -> list[Block]:
    metric = ladder_metric(inputs)
    steps = _later_steps(inputs)
    last = steps[-1] if steps else None
    by_gain = {t: _find(rungs(inputs, target=t), last, t).value for t in names}
    ordered = sorted(names, key=lambda t: (-(by_gain[t] or 0.0), t))
    figures = [_targets_figure(inputs, page, steps, metric) for page in pages(ordered)] if steps else []
    sentences = []
    for s in steps:
        rows = [r for t in names for r in rungs(inputs, target=t) if r["rung"] == s]
        better, worse = (sum(verdict(gain(r), metric) == v for r in rows) for v in ("a gain", "a loss"))
        words = RUNG_WORDS.get(s, in_words(s).lower())
        sentences.append(f"Adding {words}: a gain for {better}, a loss for {worse}, no clear change for the rest.")
    return [*figures, Bullets(tuple(sentences))]


def _targets_figure(inputs: ReportInputs, shown: list[str], steps: list[str], metric: str) -> Figure:
    panels = [(RUNG_NAMES.get(s, s), [_find(rungs(inputs, target=t), s, t) for t in shown]) for s in steps]
    label = f"Change in {metric_name(metric).label}, 95 % interval"
    svg = interval_panels(panels, x_label=label, mark=mark(inputs), label_width_in=0.95)
    caption = f"{shown[0]} gains most from the last rung, {shown[-1]} least, of the {len(shown)} targets drawn here."
    alt = f"One panel a rung, one row for each of {len(shown)} targets. {caption}"
    held = people(counts(inputs, shown[0]).rows)
    n = f"n = {held} held-out {unit_word(inputs)} a target"
    return Figure(svg, caption, alt, n, _table(inputs, shown, [ALL]))


def _table(inputs: ReportInputs, names: list[str], groups: list[str]) -> Table:
    first = (Column("Target"),) if len(names) > 1 else (Column("Group"),) if groups != [ALL] else ()
    shown = has_controls(inputs)
    columns = (
        *first, Column("Rung"), Column("Measure"), Column("Features", True), Column("Value", True),
        Column("Change from the rung before", True), *([Column(SHUFFLED, True)] if shown else []), Column("Reading"),
    )  # fmt: skip
    rows = []
    metrics = sorted(inputs.ladder["metric"].unique().to_list(), key=lambda m: (m != ladder_metric(inputs), m))
    for target in names:
        for group in groups:
            for metric in metrics if len(names) == 1 else metrics[:1]:
                for row in rungs(inputs, target=target, group=group, metric=metric):
                    lead = target if len(names) > 1 else group.split("=", 1)[-1]
                    rows.append((*([Cell(lead)] if first else []), *_cells(row, shown)))
    return Table("Every rung, with 95 % intervals", columns, tuple(rows))


def _cells(row: dict[str, Any], shown: bool) -> tuple[Cell, ...]:
    first = row["step"] == 0
    reading = verdict(gain(row), row["metric"]) if gain(row).known else not_estimable(row["note"])
    return (
        Cell(RUNG_NAMES.get(row["rung"], in_words(row["rung"]))), Cell(metric_name(row["metric"]).label),
        Cell(count(row["n_features"])), own(row).cell(),
        Cell("first rung") if first else gain(row).cell(signed=True) if gain(row).known else Cell(NOT_ESTIMABLE),
        *([Cell("") if not control(row).known else control(row).cell(signed=True)] if shown else []),
        Cell("" if first else reading),
    )  # fmt: skip


SECTION = SectionMaker("ladder", render)
