"""What could be wrong: limits computed from the results, then the study's own."""

from __future__ import annotations

from genomix.report.blocks import Block, Bullets, Heading, Section, SectionMaker
from genomix.report.inputs import ReportInputs
from genomix.report.limits import limits
from genomix.report.select import is_binary, is_table, sentence

TITLE = "What could be wrong"


def render(inputs: ReportInputs) -> Section:
    """Return the computed limits, the study's own limits, and what was not done."""
    computed = limits(inputs) if inputs.facts.no_model is None else [inputs.facts.no_model]
    own = [sentence(text) for text in inputs.facts.limitations if text.strip()]
    blocks: list[Block] = [Heading("Computed from the results"), Bullets(tuple(computed))]
    if own:
        blocks += [Heading("Stated by the study"), Bullets(tuple(own))]
    if inputs.facts.no_model is None:
        blocks += [Heading("Not done"), Bullets(tuple(not_done(inputs)))]
    n = len(computed) + len(own)
    finding = computed[0] if n == 1 else f"{n} limits are listed. The first: {computed[0]}"
    return Section(TITLE, finding, tuple(blocks))


def not_done(inputs: ReportInputs) -> list[str]:
    """Return what a reader may expect and will not find."""
    items = [
        "No external validation, and no comparison with a clinical score in use.",
        "No study of what happens when somebody acts on a prediction.",
        "No adjustment for testing many measures, rungs and subgroups: read intervals one by one with care.",
    ]
    if is_table(inputs):
        items.append("No check against the source of the table: its columns are taken as they came.")
    elif not inputs.ladder.height:
        items.append("No ladder: what genetics adds was not measured.")
    if is_binary(inputs) and not inputs.thresholds.height:
        items.append("No decision threshold was examined.")
    if not any("=" in g for g in inputs.metrics["group"].to_list()):
        items.append("No subgroups were examined.")
    return items


SECTION = SectionMaker("limitations", render)
