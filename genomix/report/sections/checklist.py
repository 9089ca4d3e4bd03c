"""TRIPOD+AI: where each sub-item is answered, and an honest ``not done`` where it is not."""

from __future__ import annotations

from genomix.report.blocks import Cell, Column, Paragraph, Section, SectionMaker, Table
from genomix.report.inputs import ReportInputs
from genomix.report.tripod import ITEMS, Item, answered

TITLE = "TRIPOD+AI checklist"


def render(inputs: ReportInputs) -> Section:
    """Return every sub-item with how far this report answers it and a link to where."""
    items = [answered(item, inputs) for item in ITEMS]
    n = {kind: sum(i.answer == kind for i in items) for kind in ("answered", "in part", "not done", "for the authors")}
    table = Table(
        "TRIPOD+AI, every sub-item",
        (Column("Item"), Column("What it asks"), Column("This report"), Column("Where"), Column("Remark")),
        tuple(_row(item) for item in items), closed=f"All {len(items)} rows of the checklist",
    )  # fmt: skip
    about = Paragraph(
        "TRIPOD+AI (doi:10.1136/bmj-2023-078378) says what a report of a prediction model must hold. “Answered” and "
        "“in part” link to the section that speaks to an item; whether that is enough is for the reader to judge. “For "
        "the authors” is what no software can state."
    )
    finding = (
        f"Of {len(items)} rows of TRIPOD+AI this report answers {n['answered']} and {n['in part']} in part; "
        f"{n['not done']} are not done and {n['for the authors']} are for the study's authors to state."
    )
    return Section(TITLE, finding, (about, table), on_data=False)


def _row(item: Item) -> tuple[Cell, ...]:
    where = Cell("not in this report") if item.section is None else Cell("", section=item.section)
    return Cell(item.number), Cell(item.asks), Cell(item.answer), where, Cell(item.remark)


SECTION = SectionMaker("checklist", render)
