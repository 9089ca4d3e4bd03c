"""For whom the predictions are worse, and for whom that cannot be said."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomix.privacy import WITHHELD, shown_from
from genomix.report.blocks import Cell, Column, Figure, Heading, Note, Section, SectionMaker, Table
from genomix.report.charts import Row, interval_chart
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import in_words, metric_name
from genomix.report.numbers import NOT_STATED, Estimate, not_estimable, partition, people
from genomix.report.select import (
    ALL,
    counts,
    is_binary,
    join_words,
    mark,
    point,
    primary_metric,
    primary_model,
    targets,
    unit_word,
)  # fmt: skip

TITLE = "For whom it works, and for whom it fails"


def render(inputs: ReportInputs) -> Section:
    """Return the primary metric by subgroup with n, events and interval; ``not estimable`` where it is."""
    frame = _subgroup_rows(inputs)
    names = targets(inputs)
    if not frame.height:
        return Section(TITLE, "No subgroup was examined: whether the model fails for some people is not known.")
    if len(names) > 1:
        return _many(inputs, frame, names)
    rows = frame.to_dicts()
    overall = point(inputs, primary_metric(inputs), target=names[0], model=primary_model(inputs))
    finding = _finding(rows, overall)
    note = Note(
        "How to read this",
        "Groups differ in size, so their intervals differ in width; a group with few events may look better or worse "
        "by chance. Overlapping intervals do not show that groups are served equally well.",
    )
    return Section(TITLE, finding, (_figure(inputs, rows, overall, finding), note))


def _subgroup_rows(inputs: ReportInputs) -> pl.DataFrame:
    metric, model = primary_metric(inputs), primary_model(inputs)
    chosen = (pl.col("group") != ALL) & (pl.col("metric") == metric) & (pl.col("model") == model)
    return inputs.metrics.filter(chosen).sort("target", "group")


def _finding(rows: list[dict[str, Any]], overall: Estimate) -> str:
    unknown = [_words(r) for r in rows if r["estimate"] is None]
    apart = [
        _words(r) for r in rows
        if overall.value is not None and Estimate(r["estimate"], r["low"], r["high"]).excludes(overall.value)
    ]  # fmt: skip
    said = (
        f"For {join_words(apart)}, the interval does not cover the overall value."
        if apart else "In every group with an estimate, the interval covers the overall value."
    )  # fmt: skip
    if len(unknown) == len(rows):
        said = "No group has an estimate."
    return said + (f" Not estimable: {join_words(unknown)}." if unknown else "")


def _name(row: dict[str, Any]) -> str:
    variable, _, value = row["group"].partition("=")
    return f"{in_words(variable)}: {value}" if value else variable


def _words(row: dict[str, Any]) -> str:
    variable, _, value = row["group"].partition("=")
    return f"{in_words(variable).lower()} {value}" if value else variable


def _figure(inputs: ReportInputs, rows: list[dict[str, Any]], overall: Estimate, finding: str) -> Figure:
    name = metric_name(rows[0]["metric"])
    target = rows[0]["target"]
    drawn = [Row("Everyone", overall.value, overall.low, overall.high, emphasis=True)]
    drawn += [Row(_name(r), r["estimate"], r["low"], r["high"]) for r in rows]
    svg = interval_chart(
        drawn, x_label=f"{name.label}, 95 % interval", zero=overall.value, zero_label="everyone", mark=mark(inputs)
    )
    alt = f"{name.label} with 95 % interval by subgroup. Everyone {overall.text()}; "
    alt += "; ".join(f"{_name(r)} {Estimate(r['estimate'], r['low'], r['high']).text()}" for r in rows) + "."
    held = counts(inputs, target)
    n = f"n = {people(held.rows)} held-out {unit_word(inputs)}; n of each group in the table"
    return Figure(svg, finding, alt, n, _table(inputs, rows, overall))


def _table(inputs: ReportInputs, rows: list[dict[str, Any]], overall: Estimate) -> Table:
    binary = is_binary(inputs)
    held = counts(inputs, rows[0]["target"])
    n_texts = _by_variable(rows, [r["n_rows"] for r in rows], held.rows)
    events = [r["n_events"] for r in rows]
    without = [None if e is None else r["n_rows"] - e for r, e in zip(rows, events, strict=True)]
    event_texts = _by_variable(rows, events, held.events)
    # A small count of people without the outcome follows from n and events: withhold events there too.
    without_texts = _by_variable(rows, without, None if held.events is None else (held.rows or 0) - held.events)
    hidden = [w.startswith(("<", WITHHELD)) for w in without_texts]
    event_texts = [_hide(e, h, n) for e, h, n in zip(event_texts, hidden, n_texts, strict=True)]
    columns = [
        Column("Group"),
        Column(metric_name(rows[0]["metric"]).label + " (95 % interval)", True),
        Column("n", True),
    ]
    columns += [Column("With the outcome", True)] if binary else []
    everyone = [Cell("Everyone"), overall.cell(), Cell(people(held.rows))]
    lines = [(*everyone, *([Cell(people(held.events))] if binary else []))]
    for row, n, e in zip(rows, n_texts, event_texts, strict=True):
        value = Estimate(row["estimate"], row["low"], row["high"])
        first = value.cell() if value.known else Cell(not_estimable(row["note"]))
        lines.append((Cell(_name(row)), first, Cell(n), *([Cell(e)] if binary else [])))
    least = shown_from()
    note = (
        f"Counts from 1 to {least - 1} are shown as <{least}; a count is withheld where a small one could be "
        "worked out from it."
    )
    if least <= 1:
        note = "Every count is shown."
    return Table("Every subgroup", tuple(columns), tuple(lines), note=note)


def _hide(events: str, hidden: bool, n: str) -> str:
    open_to_sums = events not in ("0", NOT_STATED) and not events.startswith("<")
    return WITHHELD if open_to_sums and (hidden or n.startswith(("<", WITHHELD))) else events


def _by_variable(rows: list[dict[str, Any]], values: list[int | None], total: int | None) -> list[str]:
    """Suppress within each variable, whose groups and the people in none of them add up to the total."""
    variables = [r["group"].partition("=")[0] for r in rows]
    found: dict[str, list[str]] = {}
    for variable in dict.fromkeys(variables):
        found[variable] = partition([v for v, n in zip(values, variables, strict=True) if n == variable], total)
    return [found[variable].pop(0) for variable in variables]


def _many(inputs: ReportInputs, frame: pl.DataFrame, names: list[str]) -> Section:
    metric = metric_name(primary_metric(inputs))
    groups = sorted(frame["group"].unique().to_list())
    columns = (Column("Target"), *(Column(_name({"group": g}), True) for g in groups))
    lines = []
    for target in names:
        cells = [Cell(target)]
        for group in groups:
            found = frame.filter((pl.col("target") == target) & (pl.col("group") == group)).to_dicts()
            value = (
                Estimate(found[0]["estimate"], found[0]["low"], found[0]["high"])
                if found
                else Estimate(None, None, None)
            )
            cells.append(value.cell())
        lines.append(tuple(cells))
    unknown = frame["estimate"].null_count()
    finding = (
        f"{metric.label} by subgroup for {len(names)} targets; {unknown} of {frame.height} values are not estimable."
    )
    sizes = frame.filter(pl.col("target") == names[0]).to_dicts()
    texts = _by_variable(sizes, [r["n_rows"] for r in sizes], counts(inputs, names[0]).rows)
    size_rows = tuple((Cell(_name(r)), Cell(t)) for r, t in zip(sizes, texts, strict=True))
    return Section(
        TITLE, finding,
        (
            Table(f"{metric.label} (95 % interval) of every target by subgroup", columns, tuple(lines)),
            Heading("Size of the groups"),
            Table(f"Held-out {unit_word(inputs)} a group", (Column("Group"), Column("n", True)), size_rows),
        ),
    )  # fmt: skip


SECTION = SectionMaker("subgroups", render)
