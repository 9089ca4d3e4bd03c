"""The report as a document: order and numbers of the sections, the page and the same content as JSON."""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import nullcontext
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from genomix.privacy import internal_view
from genomix.provenance import write_bytes, write_json
from genomix.registry import members
from genomix.report.blocks import Section, SectionMaker
from genomix.report.guard import without_estimates_of_few
from genomix.report.inputs import ReportInputs, StudyFacts
from genomix.report.model_card import model_card
from genomix.report.select import join_words

SECTIONS = "genomix.report.sections"
ORDER = (
    "summary", "cohort_flow", "data_quality", "timeline", "features", "performance", "calibration", "clinical_use",
    "ladder", "subgroups", "importance", "certificate", "limitations", "checklist", "reproducibility",
)  # fmt: skip
DESCRIPTION = ("summary", "cohort_flow", "data_quality", "limitations", "reproducibility")
"""Sections of a report on a study without a model."""

RESEARCH_ONLY = "Research use only; not a medical device; not for individual care"
INTERNAL = "INTERNAL: small counts are shown; for the study's own team, not to be passed on"
GENERATOR = "genomix"


class Report(NamedTuple):
    """One report: the page, the same sections as JSON-able values, and the model's card; None without a model."""

    html: str
    json: dict[str, Any]
    card: dict[str, Any] | None = None


class Placed(NamedTuple):
    """A section with its anchor and number, as the template reads it."""

    name: str
    number: int
    section: Section


def render_report(inputs: ReportInputs) -> Report:
    """Render every registered section into one self-contained page and into JSON-able values.

    The same inputs give the same bytes: no clock, no path, no host is read.
    """
    with internal_view() if inputs.facts.internal else nullcontext():
        return _rendered(inputs)


def _rendered(inputs: ReportInputs) -> Report:
    placed = place_sections(inputs)
    described = inputs.facts.no_model is not None or not inputs.metrics.height
    card = None if described else model_card(without_estimates_of_few(inputs), {p.name: p.section for p in placed})
    return Report(_html(inputs, placed), _json(inputs, placed), card)


def write_report(report: Report, folder: Path) -> None:
    """Write ``report.html``, ``report.json`` and, of a model, ``model_card.json``, each complete or not at all."""
    write_bytes(folder / "report.html", report.html.encode())
    write_json(folder / "report.json", report.json)
    if report.card is not None:
        write_json(folder / "model_card.json", report.card)


def place_sections(inputs: ReportInputs) -> list[Placed]:
    """Return the sections that have something to say, in the document's order; unknown ones last, by name."""
    inputs = without_estimates_of_few(inputs)
    found: dict[str, SectionMaker] = members(SECTIONS, "SECTION")
    names = [*(n for n in ORDER if n in found), *sorted(set(found) - set(ORDER))]
    if inputs.facts.no_model is not None:
        names = [name for name in names if name in DESCRIPTION]
    rendered = [(name, found[name].render(inputs)) for name in names]
    present = [(name, section) for name, section in rendered if section is not None]
    return [Placed(name, number, section) for number, (name, section) in enumerate(present, start=1)]


def banner(facts: StudyFacts) -> str:
    """Return the sentence that opens every page."""
    used = f"Intended use as stated by {facts.owner}: {facts.intended_use}" if states_use(facts) else RESEARCH_ONLY
    return f"{INTERNAL}. {used}" if facts.internal else used


def states_use(facts: StudyFacts) -> bool:
    """Say whether the study states both owner and use."""
    return bool(facts.owner and facts.intended_use)


def simulated_banner(facts: StudyFacts) -> str:
    """Return what is simulated, or an empty text."""
    return f"SIMULATED: {join_words(list(facts.simulated))}" if facts.simulated else ""


def page(template: str, **values: Any) -> str:
    """Fill one of the room's templates; every value is escaped, and a missing one is an error."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, loader=jinja2.FunctionLoader(_resource),
    )  # fmt: skip
    environment.filters["data_uri"] = data_uri
    environment.filters["kept"] = kept_together
    return environment.get_template(template).render(**values)


def kept_together(text: str) -> str:
    """Return a text in which a range of numbers and a number with its per cent sign do not break over lines.

    >>> kept_together("5–9 %") == "5–\u20609\u202f%"
    True
    """
    text = re.sub(r"(?<=\d)–(?=\d)", "–\u2060", text)
    return re.sub(r"\bn = (?=[\d<])", "n\u00a0=\u00a0", re.sub(r"(?<=\d) %", "\u202f%", text))


def data_uri(svg: bytes) -> str:
    """Return an SVG as a data address, so that the page needs no other file."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def style(facts: StudyFacts) -> str:
    """Return the style sheet; its page header's words are fixed, so no study's text enters it."""
    head = "Use as stated by the owner on page 1" if states_use(facts) else RESEARCH_ONLY
    words = f"SIMULATED DATA. {head}" if facts.simulated else head
    words = f"INTERNAL, not to be passed on. {words}" if facts.internal else words
    return _resource("style.css").replace("{{PAGE_HEADER}}", words)


def security_policy(css: str) -> str:
    """Return a content security policy under which the page can load nothing but its own style and images."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _resource(name: str) -> str:
    return resources.files("genomix.report").joinpath("templates", name).read_text(encoding="utf-8")


def _html(inputs: ReportInputs, placed: list[Placed]) -> str:
    facts = inputs.facts
    css = style(facts)
    return page(
        "report.html.j2",
        title=facts.title, question=facts.question, banner=banner(facts), simulated=simulated_banner(facts),
        internal=facts.internal, report_date=facts.report_date or "not stated",
        version=inputs.provenance.get("genomix_version", ""), css=css,
        policy=security_policy(css), sections=placed, titles={p.name: f"{p.number}. {p.section.title}" for p in placed},
    )  # fmt: skip


def _json(inputs: ReportInputs, placed: list[Placed]) -> dict[str, Any]:
    facts = inputs.facts
    sections = [{"name": p.name, "number": p.number, **p.section.to_json()} for p in placed]
    return {
        "title": facts.title, "question": facts.question, "banner": banner(facts), "simulated": list(facts.simulated),
        **({"internal": True} if facts.internal else {}),
        "report_date": facts.report_date, "sections": sections,
    }  # fmt: skip
