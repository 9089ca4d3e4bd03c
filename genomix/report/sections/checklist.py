"""TRIPOD+AI: where each item is answered, and an honest ``not done`` where it is not (doi:10.1136/bmj-2023-078378)."""

from __future__ import annotations

from typing import NamedTuple

from genomix.report.blocks import Cell, Column, Paragraph, Section, SectionMaker, Table
from genomix.report.inputs import ReportInputs

TITLE = "TRIPOD+AI checklist"


class Item(NamedTuple):
    """One item: its number and topic, the section that answers it (None: not in this report), and a remark."""

    number: str
    topic: str
    section: str | None
    remark: str = ""


ITEMS = (
    Item("1", "Title", "summary"),
    Item("2", "Abstract", "summary"),
    Item("3a", "Health context and rationale", None, "for the study to state"),
    Item("3b", "Target population and intended use", "summary"),
    Item("3c", "Known health inequalities", None, "for the study to state"),
    Item("4", "Objectives", "summary"),
    Item("5", "Sources of data, dates of accrual", "data_quality"),
    Item("6", "Participants: setting, eligibility, treatments", "cohort_flow", "treatments: not stated"),
    Item("7", "Data preparation", "data_quality"),
    Item("8", "Outcome: definition and time horizon", "timeline"),
    Item("9", "Predictors: choice and measurement", "features"),
    Item("10", "Sample size justification", None, "not done before the study; see limits"),
    Item("11", "Missing data", "features"),
    Item("12a", "Use of the data: split, relatives", "certificate"),
    Item("12b", "Handling of predictors", "reproducibility"),
    Item("12c", "Model type, building, validation", "reproducibility"),
    Item("12d", "Heterogeneity across clusters", None, "not done"),
    Item("12e", "Measures of performance", "performance"),
    Item("12f", "Model updating after evaluation", None, "not done: the model was not changed after evaluation"),
    Item("12g", "How predictions are calculated", None, "the model bundle, not this report"),
    Item("13", "Class imbalance methods", None, "not done: no re-weighting or re-sampling of classes is reported"),
    Item("14", "Fairness", "subgroups"),
    Item("15", "Model output: probabilities, thresholds", "clinical_use"),
    Item("16", "Training and evaluation data: differences", "certificate"),
    Item("17", "Ethical approval", None, "for the study to state"),
    Item("18a–f", "Funding, conflicts, protocol, registration, data, code", "reproducibility", "funding: not stated"),
    Item("19", "Patient and public involvement", None, "for the study to state"),
    Item("20", "Flow of participants and characteristics", "cohort_flow"),
    Item("21", "Numbers in each analysis", "performance"),
    Item("22", "Model specification", None, "the model bundle, not this report"),
    Item("23a", "Performance with intervals", "performance"),
    Item("23b", "Heterogeneity in performance", "subgroups"),
    Item("24", "Results of model updating", None, "not done"),
    Item("25", "Interpretation", "ladder"),
    Item("26", "Limitations", "limitations"),
    Item("27a–c", "Use in care: input quality, expertise, next steps", None, "not done: research use only"),
)


def render(_inputs: ReportInputs) -> Section:
    """Return the checklist with a link to the section that answers each item."""
    answered = sum(item.section is not None for item in ITEMS)
    rows = tuple(_row(item) for item in ITEMS)
    table = Table(
        "TRIPOD+AI items", (Column("Item"), Column("Topic"), Column("Where"), Column("Remark")), rows,
        closed=f"All {len(ITEMS)} rows of the checklist",
    )  # fmt: skip
    about = Paragraph(
        "TRIPOD+AI says what a report of a prediction model must hold. A link shows where this report speaks to an "
        "item, not that the item is fully met; the others are not done or are for the study's authors to state."
    )
    finding = f"This report speaks to {answered} of {len(ITEMS)} rows of TRIPOD+AI; {len(ITEMS) - answered} are open."
    return Section(TITLE, finding, (about, table), on_data=False)


def _row(item: Item) -> tuple[Cell, ...]:
    where = Cell("not in this report") if item.section is None else Cell("", section=item.section)
    return Cell(item.number), Cell(item.topic), where, Cell(item.remark)


SECTION = SectionMaker("checklist", render)
