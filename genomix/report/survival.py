"""What the report says of a time to an event: follow-up, ranking, risk at horizons, and curves of risk groups."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomix.privacy import is_small, suppress_counts
from genomix.report.blocks import Block, Cell, Column, Figure, KeyNumber, Note, Paragraph, Table
from genomix.report.inputs import ReportInputs, SurvivalResults
from genomix.report.metric_names import metric_name
from genomix.report.numbers import (
    Estimate,
    count,
    decimal,
    group_thousands,
    not_estimable,
    people,
    people_cell,
    percent,
    plain,
)
from genomix.report.select import counts, estimate, join_words, mark, point, targets, unit_word
from genomix.report.survival_charts import draw_calibration_panels, draw_risk_groups

MODELS = {"boosted": "Boosted trees", "linear": "Cox regression", "prevalence": "Same risk for everybody"}
GROUP_NAMES = {2: ("lower half", "upper half"), 3: ("lowest third", "middle third", "highest third")}
AT = {
    "auroc": ("AUROC", "who had the event by then against who had not; 0.5 is chance"),
    "brier": ("Brier score", "mean squared error of the risk, weighted for censoring; lower is better"),
    "brier_skill": ("Gain over the same risk for everybody", "1 − Brier score / that of the last column; 0 is no gain"),
    "expected_observed": ("Expected / observed", "mean predicted over observed risk; above 1 is too high"),
}
TIMES_OF_A_TABLE = (
    "Follow-up starts at the moment of prediction. Which columns of a row were known by then cannot be seen from the "
    "table: the study's own word stands for it."
)


def span(survival: SurvivalResults, time: float) -> str:
    """Return a time with its unit, e.g. ``1 095 days``."""
    number = count(int(time)) if time == int(time) else plain(time)
    return f"{number} {survival.unit.removesuffix('s') if time == 1 else survival.unit}"


def _target(inputs: ReportInputs) -> str:
    return targets(inputs)[0]


def _spans(survival: SurvivalResults) -> str:
    return join_words([span(survival, h) for h in survival.horizons])


def what_sentence(inputs: ReportInputs, survival: SurvivalResults) -> str:
    """Return what is predicted, by when, and what else may end the wait."""
    other = " Another event that comes first ends the wait and counts as the event not happening." if (
        survival.competing
    ) else ""  # fmt: skip
    return f"A model of the risk of {inputs.facts.outcome.rstrip('.')}, by {_spans(survival)} of follow-up.{other}"


def whom_sentence(inputs: ReportInputs, survival: SurvivalResults) -> str:
    """Return for how many held-out rows the figures stand, and how long they were followed."""
    held = survival.follow_up["held out"]
    shown = _shown(held)
    unit = unit_word(inputs)
    return (
        f"All figures are for {people(held['rows'])} held-out {unit}; the event was seen in {shown['events']}. "
        f"Median follow-up is {_median(survival, held)}."
    )


def _median(survival: SurvivalResults, of: Any) -> str:
    return "not reached" if of["median"] is None else span(survival, of["median"])


def _shown(of: Any) -> dict[str, str]:
    """Return the counts of one part as text; they add up to its rows, so small ones take a neighbour with them."""
    names = [n for n in ("events", "competing", "censored") if of[n] is not None]
    texts = suppress_counts([of[n] for n in names])
    return {name: group_thousands(text) for name, text in zip(names, texts, strict=True)}


def follow_up_blocks(inputs: ReportInputs, survival: SurvivalResults) -> list[Block]:
    """Return the table of events, competing events, censoring and follow-up, of all and of held-out rows."""
    heads = [Column("Part"), Column(unit_word(inputs).capitalize(), True), Column("With the event", True)]
    heads += [Column("Another event first", True)] if survival.competing else []
    heads += [Column("Follow-up ended without", True), Column("Median follow-up", True)]
    parts = {name: survival.follow_up[name] for name in ("all", "held out") if name in survival.follow_up}
    shown = {name: _shown(of) for name, of in parts.items()}
    rest = [of[n] - survival.follow_up["held out"][n] for of in parts.values() for n in shown["held out"]]
    hidden = [t for texts in shown.values() for t in texts.values() if t.startswith("<") or t == "withheld"]
    if hidden or any(is_small(n) for n in rest):
        # what is hidden of one part must not follow from the other's: the held-out rows are among all
        parts.pop("all", None)
    rows = []
    for name, of in parts.items():
        cells = [Cell(name.capitalize()), people_cell(of["rows"])]
        cells += [Cell(shown[name][n]) for n in ("events", "competing", "censored") if n in shown[name]]
        rows.append((*cells, Cell(_median(survival, of))))
    note = "Median follow-up by the reverse Kaplan–Meier estimator: how long people were, or would have been, watched."
    return [Table("Events and follow-up", tuple(heads), tuple(rows), note=note)]


def ranking_finding(inputs: ReportInputs) -> str:
    """Return the C-index as a sentence of pairs."""
    value = point(inputs, "harrell_c", target=_target(inputs), model="boosted")
    if not value.known or value.value is None:
        found = estimate(inputs, "harrell_c", target=_target(inputs), model="boosted")
        return f"How well the model ranks people is {not_estimable(found[1] if found else '')}."
    ends = (
        f" ({100 * value.low:.0f}–{100 * value.high:.0f})" if value.low is not None and value.high is not None else ""
    )
    return (
        f"Of 100 pairs of whom it is known who had the event first, the model ranks about {100 * value.value:.0f}"
        f"{ends} in the right order; chance would rank 50."
    )


def agreement_sentence(inputs: ReportInputs, survival: SurvivalResults) -> str:
    """Return whether predicted and observed risk agree at the last horizon."""
    last = survival.horizons[-1]
    value = point(inputs, f"expected_observed_at_{last:g}", target=_target(inputs), model="boosted")
    by = f"By {span(survival, last)}"
    if not value.has_interval:
        return f"{by}, whether predicted and observed risk agree is not estimable: read predictions as a ranking."
    text = f"{by}, predicted over observed risk is {value.text()}"
    if not value.excludes(1.0):
        return f"{text}: no clear departure from 1, the value of agreement."
    return f"{text}: predicted risk is too {'high' if (value.low or 0) > 1 else 'low'} on average."


def key_numbers(inputs: ReportInputs, survival: SurvivalResults) -> tuple[KeyNumber, ...]:
    """Return page one's three numbers: ranking, agreement and gain at the last horizon."""
    target, last = _target(inputs), survival.horizons[-1]

    def number(label: str, metric: str, meaning: str) -> KeyNumber:
        own, beside = (point(inputs, metric, target=target, model=m) for m in ("boosted", "linear"))
        words = f"Beside it: Cox regression {beside.text()}."
        return KeyNumber(label, own.number(), own.interval() if own.known else "", meaning, words)

    by = span(survival, last)
    return (
        number("Ranking (Harrell's C)", "harrell_c", "0.5 is chance, 1 is perfect ranking."),
        number(
            f"Expected / observed by {by}", f"expected_observed_at_{last:g}", "1 is agreement; above 1 is too high."
        ),
        number(f"Gain in Brier score by {by}", f"brier_skill_at_{last:g}", "0 is the same risk for everybody."),
    )


def performance_blocks(inputs: ReportInputs, survival: SurvivalResults) -> tuple[Block, ...]:
    """Return the measures over all follow-up, those at each horizon, and the curves of risk groups."""
    n = counts(inputs, _target(inputs))
    unit = unit_word(inputs)
    drawn = unit if n.units == n.rows else f"{people(n.units)} people, each with all their {unit}"
    who = (
        f"All figures are for {people(n.rows)} {unit} that the model did not learn from; intervals cover 95 % and come "
        f"from resampling {drawn}."
    )
    blocks: list[Block] = [Paragraph(who), _table(inputs, survival)]
    if survival.competing:
        words = (
            "Who had another event first is kept as not having this one. Uno's C-index is not defined here for that."
        )
        blocks.append(Note("Other events", words))
    return (*blocks, *_curves(inputs, survival))


def _table(inputs: ReportInputs, survival: SurvivalResults) -> Table:
    target = _target(inputs)
    rows = []
    for metric in ("harrell_c", "uno_c", "integrated_brier"):
        name = metric_name(metric)
        cells = [_cell(inputs, metric, target, m) for m in MODELS]
        if any(c.text != "—" for c in cells):
            rows.append((Cell(name.label, hint=name.meaning), *cells))
    for horizon in survival.horizons:
        for metric, (label, meaning) in AT.items():
            cells = [_cell(inputs, f"{metric}_at_{horizon:g}", target, m) for m in MODELS]
            rows.append((Cell(f"{label} by {span(survival, horizon)}", hint=meaning), *cells))
    columns = (Column("Measure"), *(Column(n, True) for n in MODELS.values()))
    note = "— does not apply: the same risk for everybody ranks nobody."
    return Table("Held-out performance (95 % intervals)", columns, tuple(rows), note=note)


def _cell(inputs: ReportInputs, metric: str, target: str, model: str) -> Cell:
    found = estimate(inputs, metric, target=target, model=model)
    if found is None:
        return Cell("—")
    value, note = found
    return value.cell() if value.known else Cell(not_estimable(note))


def _curves(inputs: ReportInputs, survival: SurvivalResults) -> list[Block]:
    frame = survival.risk_groups
    numbers = sorted(frame["group"].unique().to_list()) if frame.height else []
    shown = [g for g in numbers if frame.filter(pl.col("group") == g).height > 1]
    if len(shown) < 2 or max(numbers) >= 3:
        return [Paragraph("Curves of risk groups are withheld: fewer than 11 people would stand behind their steps.")]
    names = GROUP_NAMES[3 if max(numbers) == 2 else 2]
    ends = {g: frame.filter(pl.col("group") == g).sort("time").row(-1, named=True) for g in shown}
    low, high = ends[shown[0]], ends[shown[-1]]
    caption = (
        f"Observed risk reaches {percent(high['incidence'])} by {span(survival, high['time'])} in the "
        f"{names[shown[-1]]} of predicted risk and {percent(low['incidence'])} by {span(survival, low['time'])} in the "
        f"{names[shown[0]]}."
    )
    method = "Aalen–Johansen" if survival.competing else "1 − Kaplan–Meier"
    alt = f"Observed risk against follow-up in {survival.unit}, {len(shown)} lines with 95 % bands. {caption}"
    rows = []
    for g in shown:
        for row in frame.filter(pl.col("group") == g).sort("time").to_dicts():
            value = Estimate(row["incidence"], row["low"], row["high"])
            risk = f"{percent(row['incidence'])}" + (f" ({_ends(value)})" if value.has_interval else "")
            rows.append((Cell(names[g]), Cell(count(round(row["time"]))), Cell(risk), people_cell(row["n_at_risk"])))
    head = f"Time, {survival.unit}"
    columns = (Column("Predicted risk"), Column(head, True), Column("Observed risk (95 % interval)", True),
               Column("Number at risk", True))  # fmt: skip
    table = Table("Points of the figure, with the number at risk", columns, tuple(rows))
    n = f"n = {people(survival.follow_up['held out']['rows'])} held-out {unit_word(inputs)}; {method}"
    svg = draw_risk_groups(frame.filter(pl.col("group").is_in(shown)), names, survival.unit, mark(inputs))
    words = (
        "Points are shown only where 11 or more events, or none, lie between them, where 11 or more left otherwise, or "
        "none, and where 11 or more are left: the size of a step would give a smaller count away. Lines join points."
    )
    return [Figure(svg, caption, alt, n, table), Note("Small numbers", words)]


def _ends(value: Estimate) -> str:
    low, high = value.low or 0.0, value.high or 0.0
    return f"{decimal(100 * low, 1)}–{decimal(100 * high, 1)} %"


def calibration_content(inputs: ReportInputs, survival: SurvivalResults) -> tuple[str, tuple[Block, ...]]:
    """Return the finding and the blocks: predicted beside observed risk in groups, at each horizon."""
    finding = agreement_sentence(inputs, survival)
    note = Note("What this does not mean", "Agreement on average says nothing about one person's outcome.")
    frame = survival.calibration.filter(pl.col("observed").is_not_null())
    if not frame.height:
        words = "Groups of similar predictions are not shown: too few people, or fewer than 11 events in each."
        return finding, (Paragraph(words), note)
    boosted = frame.filter(pl.col("model") == "boosted")
    inside = boosted.filter((pl.col("low") <= pl.col("expected")) & (pl.col("expected") <= pl.col("high"))).height
    caption = f"In {inside} of {boosted.height} groups the interval of the observed risk covers the predicted risk."
    horizons = [h for h in survival.horizons if frame.filter(pl.col("horizon") == h).height]
    method = "Aalen–Johansen" if survival.competing else "1 − Kaplan–Meier"
    alt = (
        f"Observed against predicted risk by {join_words([span(survival, h) for h in horizons])}; the dotted diagonal "
    )
    alt += f"is agreement. {caption}"
    rows = [
        (Cell(MODELS[r["model"]]), Cell(span(survival, r["horizon"])), Cell(percent(r["expected"])),
         Cell(f"{percent(r['observed'])} ({_ends(Estimate(r['observed'], r['low'], r['high']))})"),
         people_cell(r["n_rows"]))
        for r in frame.sort("horizon", "model", "group").to_dicts()
    ]  # fmt: skip
    columns = (Column("Model"), Column("By"), Column("Predicted risk", True), Column("Observed risk (95 %)", True),
               Column("Behind the point", True))  # fmt: skip
    table = Table("Points of the figure", columns, tuple(rows))
    n = f"n = {people(survival.follow_up['held out']['rows'])} held-out {unit_word(inputs)}; observed: {method}"
    titles = [f"by {span(survival, h)}" for h in horizons]
    svg = draw_calibration_panels(frame, horizons, titles, mark(inputs))
    return finding, (Figure(svg, caption, alt, n, table), note)
