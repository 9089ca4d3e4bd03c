"""Who went in, who dropped out at each step and why."""

from __future__ import annotations

from genomix.privacy import WITHHELD
from genomix.report import survival
from genomix.report.blocks import Block, Cell, Column, Figure, Note, Paragraph, Section, SectionMaker, Table
from genomix.report.diagrams import flow_diagram
from genomix.report.flow import Chain, chains, miscounted
from genomix.report.inputs import ReportInputs
from genomix.report.numbers import share_of
from genomix.report.select import join_words, mark, sentence, unit_word

TITLE = "Who was studied"


def render(inputs: ReportInputs) -> Section:
    """Return the flow diagram with its table; without a flow, what is known of the population."""
    facts = inputs.facts
    about = Paragraph(sentence(facts.population) or "The study does not state its population.")
    if not inputs.flow.height:
        return Section(TITLE, "No count of the people who entered and left was recorded.", (about,))
    found = chains(inputs.flow, row_word=unit_word(inputs))
    last = found[-1]
    entered = [f"{c.entered} {c.unit}" for c in found if c.part != "study"] or [f"{last.entered} {last.unit}"]
    finding = f"{_end(last)} were studied."
    events = inputs.flow["events"].to_list()[-1]
    kept = inputs.flow["kept"].to_list()[-1]
    blocks: list[Block] = [about]
    if inputs.survival is not None:
        blocks += survival.follow_up_blocks(inputs, inputs.survival)
    elif events is not None:
        blocks.append(Paragraph(f"The outcome ({facts.outcome}) was observed in {share_of(events, kept)} of them."))
    alt = "Flow diagram. " + " ".join(_words(c) for c in found)
    caption = f"{_end(last)} are left after every step; every box is the box above it minus the number removed."
    blocks.append(
        Figure(flow_diagram(found, mark=mark(inputs)), caption, alt, f"n entered: {join_words(entered)}", _table(found))
    )
    wrong = miscounted(inputs.flow)
    if wrong:
        blocks.append(Note("Counts do not add up", f"At these steps: {'; '.join(wrong)}."))
    if _is_grouped(found):
        blocks.append(
            Note(
                "Small numbers",
                "Counts from 1 to 10 are shown as <11. A step that removed so few people is shown "
                "together with its neighbour, or a count beside it is withheld, so that it cannot be worked out.",
            )
        )
    return Section(TITLE, finding, tuple(blocks))


def _end(chain: Chain) -> str:
    n = chain.steps[-1].kept if chain.steps else chain.entered
    return f"A number of {chain.unit} that is withheld" if n == WITHHELD else f"{n} {chain.unit}"


def _words(chain: Chain) -> str:
    opening = f" ({chain.opening})" if chain.opening else ""
    drops = "; ".join(f"{step.removed} removed ({', '.join(step.asked)}), {step.kept} left" for step in chain.steps)
    return f"{chain.part.capitalize()}: {chain.entered} {chain.unit} entered{opening}; {drops}."


def _is_grouped(found: list[Chain]) -> bool:
    texts = [t for c in found for s in c.steps for t in (c.entered, s.removed, s.kept)]
    return any(len(s.asked) > 1 for c in found for s in c.steps) or any(t == WITHHELD or t[0] == "<" for t in texts)


def _table(found: list[Chain]) -> Table:
    columns = (
        Column("Step"), Column("Part"), Column("Unit"), Column("Entered", True), Column("Removed", True),
        Column("Left", True),
    )  # fmt: skip
    rows = []
    for chain in found:
        before = chain.entered
        if chain.opening:
            cells = (chain.opening, chain.part, chain.unit, before, "0", before)
            rows.append(tuple(Cell(t) for t in cells))
        for step in chain.steps:
            cells = ("; ".join(step.asked), chain.part, chain.unit, before, step.removed, step.kept)
            rows.append(tuple(Cell(t) for t in cells))
            before = step.kept
    return Table("Every step of the flow", columns, tuple(rows))


SECTION = SectionMaker("cohort_flow", render)
