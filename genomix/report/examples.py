"""The opt-in file of example people: one waterfall each, every bar opening to its dated records or variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomix.privacy import TOP_CODED_AGE_YEARS
from genomix.provenance import write_bytes
from genomix.report.document import banner, page, security_policy, simulated_banner, style
from genomix.report.inputs import ExampleSubject, StudyFacts
from genomix.report.numbers import Estimate, brief, days, decimal, percent, plain
from genomix.report.select import sentence

YEARS = ("a", "year", "years")
NO_RECORDS = "No single record or variant stands behind this feature."
GIVEN = "This is what the table says of the row."


@dataclass(frozen=True)
class Bar:
    """One step of a waterfall, as the template reads it; left and width in per cent of the drawing."""

    what: str
    given: str
    amount: str
    direction: str  # up | down
    left: float
    width: float
    zero: float
    records: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Person:
    """One example person, as the template reads it."""

    ordinal: int
    opening: str
    bars: tuple[Bar, ...]


def render_examples(examples: Sequence[ExampleSubject], facts: StudyFacts) -> str:
    """Return one self-contained page with a waterfall per pseudonymised person, the largest bar first.

    A bar whose feature has no name stands for all other features and comes last.

    The page shows single people's records: it is for the study's own team and never part of the report.
    """
    css = style(facts)
    people = [_person(example, facts) for example in sorted(examples, key=lambda e: e.ordinal)]
    return page(
        "examples.html.j2", title=facts.title, banner=banner(facts), simulated=simulated_banner(facts), css=css,
        policy=security_policy(css), people=people, of_table=facts.table_rows is not None,
        no_records=NO_RECORDS if facts.table_rows is None else GIVEN,
        scale="log-odds" if facts.objective == "binary" else "the outcome's unit",
    )  # fmt: skip


def write_examples(html: str, path: Path) -> None:
    """Write the page, complete or not at all."""
    write_bytes(path, html.encode())


def _person(example: ExampleSubject, facts: StudyFacts) -> Person:
    binary = facts.objective == "binary"
    shown = percent(example.prediction) if binary else plain(example.prediction)
    seen = ("was observed" if example.label else "was not observed") if binary else f"was {plain(example.label)}"
    what = "The predicted probability is" if binary else "The predicted value is"
    opening = f"{what} {shown}; the outcome {seen}. The bars start from the model's average, "
    opening += f"{decimal(example.base_value, 2)}."
    ordered = sorted(example.bars, key=lambda b: (not b["feature"], -abs(float(b["shap"])), str(b["feature"])))
    ends = [example.base_value]
    for bar in ordered:
        ends.append(ends[-1] + float(bar["shap"]))
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    zero = 100 * (example.base_value - low) / span
    bars = tuple(
        _bar(bar, 100 * (min(a, b) - low) / span, 100 * abs(b - a) / span, zero)
        for bar, a, b in zip(ordered, ends[:-1], ends[1:], strict=True)
    )
    return Person(example.ordinal, opening, bars)


def _bar(bar: Mapping[str, Any], left: float, width: float, zero: float) -> Bar:
    shap = float(bar["shap"])
    records = tuple((_when(r.get("days_before")), str(r.get("what", ""))) for r in bar.get("records") or ())
    name = sentence(str(bar.get("sentence") or bar["feature"])).rstrip(".")
    amount = decimal(shap, 2, signed=True)
    return Bar(
        name, _given(bar), amount, "up" if shap >= 0 else "down", round(left, 2), max(0.3, round(width, 2)),
        round(zero, 2), records,
    )  # fmt: skip


def _given(bar: Mapping[str, Any]) -> str:
    value, unit = bar.get("value"), str(bar.get("unit") or "")
    if not bar["feature"]:
        return ""
    if value is None or not Estimate(float(value), None, None).known:
        return "missing"
    if unit in YEARS and float(value) >= TOP_CODED_AGE_YEARS:
        return f"{TOP_CODED_AGE_YEARS}+ years"
    return f"{brief(float(value))} {'years' if unit in YEARS else unit}".strip()


def _when(days_before: float | None) -> str:
    return "not dated" if days_before is None else f"{days(float(days_before))} before"
