"""What is needed to make this report again: versions, hashes, seeds and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genomix.report.blocks import Block, Heading, Paragraph, Section, SectionMaker, text_table
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import in_words
from genomix.report.numbers import NOT_STATED
from genomix.report.select import is_table

TITLE = "How to make this report again"
HEADS = {
    "versions": "Versions", "inputs": "Hashes of the input files", "input_hashes": "Hashes of the input files",
    "stages": "Hashes of the stages", "stage_hashes": "Hashes of the stages", "parameters": "Parameters",
    "seed": "Seed", "device": "Device kind", "device_kind": "Device kind",
}  # fmt: skip


def render(inputs: ReportInputs) -> Section:
    """Return the provenance as tables, and the study's data-use record."""
    facts = inputs.facts
    blocks: list[Block] = [
        Paragraph(
            "The same inputs, parameters, seed and versions give this file byte for byte. Command line, host and times "
            "are in run.json; the figures of this page are in report.json."
        )
    ]
    single = {k: v for k, v in inputs.provenance.items() if not isinstance(v, Mapping)}
    rows = [(HEADS.get(k, in_words(k)), _text(v)) for k, v in single.items()]
    rows += [] if is_table(inputs) else [("Genome build", facts.genome_build or NOT_STATED)]
    rows += [("Report date", facts.report_date or NOT_STATED)]
    blocks.append(text_table("At a glance", ("Item", "Value"), rows))
    for key, value in inputs.provenance.items():
        if isinstance(value, Mapping) and value:
            name = HEADS.get(key, in_words(key))
            lines = [(n, t) for n, t in _flat(value)]
            blocks.append(text_table(name, ("Name", "Value"), lines, closed=f"{name} ({len(lines)})"))
    blocks.append(Heading("Use of the data"))
    if facts.data_use:
        lines = [(in_words(k), v) for k, v in facts.data_use.items()]
        blocks.append(text_table("Data-use record of the study", ("Item", "Value"), lines))
    else:
        blocks.append(Paragraph("The study states no data-use record (legal basis or consent codes, owner)."))
    if not is_table(inputs):
        blocks.append(
            Paragraph("Genotypes are pseudonymised. They are never anonymous: a genome points to its person.")
        )
    seed = inputs.provenance.get("seed")
    finding = f"Everything needed is listed{'' if seed is None else f'; the seed is {seed}'}."
    return Section(TITLE, finding if inputs.provenance else "No provenance was recorded.", tuple(blocks), on_data=False)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if value is None:
        return NOT_STATED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value) or "none"
    return str(value) if not isinstance(value, Mapping) else "none"


SECTION = SectionMaker("reproducibility", render)
