"""What is predicted, when, and from which stretch of the record."""

from __future__ import annotations

from genomix.report import survival
from genomix.report.blocks import Block, Figure, Paragraph, Section, SectionMaker, text_table
from genomix.report.diagrams import timeline
from genomix.report.inputs import ReportInputs
from genomix.report.numbers import days
from genomix.report.select import is_table, join_words, mark, sentence

TITLE = "What is predicted, and when"


def render(inputs: ReportInputs) -> Section:
    """Return the drawn timeline; without a time axis, that there is none."""
    facts = inputs.facts
    blocks: list[Block] = []
    if facts.prediction_time:
        blocks.append(Paragraph(sentence(f"prediction time: {facts.prediction_time}")))
    if facts.split_sentence:
        blocks.append(Paragraph(sentence(facts.split_sentence)))
    if not facts.windows_days and not facts.windows_since and facts.horizon_days is None:
        finding = f"The outcome is {facts.outcome}; this study has no time axis."
        if inputs.survival is not None:
            return Section(TITLE, survival.what_sentence(inputs, inputs.survival),
                           (*blocks, Paragraph(survival.TIMES_OF_A_TABLE)))  # fmt: skip
        if is_table(inputs):
            finding = f"The outcome is {facts.outcome}; the table states no times."
            text = (
                "Which columns of a row were known before its outcome, and which row of a person came first, cannot be "
                "seen from the table: the study's own word stands for it."
            )
            return Section(TITLE, finding, (*blocks, Paragraph(text)))
        text = "Inputs and outcome belong to a person, not to a moment: nothing here says what comes before what."
        return Section(TITLE, finding, (Paragraph(text), *blocks))
    windows = [("the whole record" if w is None else days(w)) for w in _ordered(facts.windows_days)]
    windows += [f"the last record of {code}" for code in facts.windows_since]
    looked = f"from {join_words(windows)} before the prediction time" if windows else "without looking back"
    ahead = "at any later time" if facts.horizon_days is None else f"within {days(facts.horizon_days)}"
    gap = f", after a gap of {days(facts.gap_days)}" if facts.gap_days else ""
    finding = f"The outcome is {facts.outcome}, {ahead}{gap}, predicted {looked}."
    rows = [(f"Look-back window {i + 1}", f"{w} up to and including day 0") for i, w in enumerate(windows)]
    rows += [("Prediction time", "day 0"), ("Gap", days(facts.gap_days) if facts.gap_days else "none")]
    rows += [("Horizon", "not limited" if facts.horizon_days is None else days(facts.horizon_days))]
    svg = timeline(facts.windows_days, gap_days=facts.gap_days, horizon_days=facts.horizon_days, mark=mark(inputs))
    caption = "Only what was known at the prediction time is used; what is predicted lies after it."
    alt = (
        f"Timeline. Left of day 0: look-back windows of {join_words(windows) if windows else 'none'}. Right of day 0: "
    )
    alt += f"gap {rows[-2][1]}, horizon {rows[-1][1]}."
    table = text_table("The timeline in days", ("Part", "Span"), rows)
    blocks.insert(0, Figure(svg, caption, alt, "one such timeline for each prediction", table))
    blocks.append(
        Paragraph(
            "A record counts from when it could have been known, not from the date on it: a result from when it was "
            "reported, a record with a date only from the end of that day."
        )
    )
    return Section(TITLE, finding, tuple(blocks))


def _ordered(windows: tuple[float | None, ...]) -> list[float | None]:
    known: list[float | None] = [*sorted({w for w in windows if w is not None})]
    return [*known, None] if None in windows else known


SECTION = SectionMaker("timeline", render)
