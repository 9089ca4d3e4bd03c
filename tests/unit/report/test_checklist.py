"""The checklist holds every sub-item of TRIPOD+AI and claims no more than the report holds."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from genomix.report.document import place_sections
from genomix.report.inputs import ReportInputs
from genomix.report.sections.checklist import SECTION as CHECKLIST
from genomix.report.tripod import ITEMS
from genomix.schemas.results import THRESHOLDS
from tests.contracts import sample_report as sample

_NUMBERS = """1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17
18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"""
PUBLISHED = _NUMBERS.split()
"""Numbers of the rows of the checklist as published (doi:10.1136/bmj-2023-078378, table 2)."""

STUDIES = {
    "full": sample.full_inputs, "empty": sample.empty_inputs, "suppressed": sample.suppressed_inputs,
    "targets": sample.trait_inputs, "quantity": sample.quantity_inputs, "table": sample.table_inputs,
}  # fmt: skip


def _section(inputs: ReportInputs) -> dict[str, Any]:
    section = CHECKLIST.render(inputs)
    assert section is not None
    return section.to_json()


def _rows(inputs: ReportInputs) -> list[list[dict[str, str]]]:
    (table,) = [b for b in _section(inputs)["blocks"] if b["type"] == "table"]
    rows: list[list[dict[str, str]]] = table["rows"]
    return rows


def test_every_sub_item_is_there_once() -> None:
    assert len(PUBLISHED) == 52
    assert len({re.sub("[a-z]", "", number) for number in PUBLISHED}) == 27
    assert [item.number for item in ITEMS] == PUBLISHED


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_answered_points_at_a_section_and_what_is_not_does_not(name: str) -> None:
    inputs = STUDIES[name]()
    quick = {n: getattr(inputs, n).clear() for n in ("beeswarm", "curves", "importance")}  # no item needs them
    sections = {p.name for p in place_sections(replace(inputs, **quick))}
    for number, asks, answer, where, remark in _rows(inputs):
        if answer["text"] in ("answered", "in part"):
            assert where["section"] in sections, number["text"]
            assert answer["text"] == "answered" or remark["text"], f"{number['text']}: what part?"
        else:
            assert answer["text"] in ("not done", "for the authors")
            assert "section" not in where
        assert asks["text"]


def test_the_finding_counts_the_rows() -> None:
    found = [int(x) for x in re.findall(r"\d+", _section(sample.full_inputs())["finding"])]
    n = Counter(row[2]["text"] for row in _rows(sample.full_inputs()))
    assert found == [52, n["answered"], n["in part"], n["not done"], n["for the authors"]]


def _answer(inputs: ReportInputs, number: str) -> str:
    return next(row[2]["text"] for row in _rows(inputs) if row[0]["text"] == number)


def test_an_item_is_claimed_only_where_the_study_has_it() -> None:
    full = sample.full_inputs()
    without = {
        "2": replace(full, metrics=full.metrics.clear()),
        "14": replace(full, metrics=full.metrics.filter(full.metrics["group"] == "all")),
        "15": replace(full, thresholds=THRESHOLDS.empty()),
        "18e": replace(full, facts=replace(full.facts, data_use={})),
        "12a": replace(full, split={}),
        "9b": replace(full, columns=full.columns.clear()),
        "20a": replace(full, flow=full.flow.clear()),
        "7": replace(full, quality={}),
        "4": replace(full, facts=replace(full.facts, question="")),
        "12c": replace(full, provenance={}),
    }
    for number, inputs in without.items():
        assert _answer(full, number) in ("answered", "in part")
        assert _answer(inputs, number) == "not done", number
    owned = replace(full, facts=replace(full.facts, owner="Clinic A", intended_use="triage"))
    assert (_answer(full, "3b"), _answer(owned, "3b")) == ("not done", "in part")
    sites = replace(full, split={**full.split, "design": "by_site"})
    assert (_answer(full, "23b"), _answer(sites, "23b")) == ("not done", "in part")


def test_the_empty_study_answers_nothing_but_its_limits() -> None:
    assert {r[0]["text"] for r in _rows(sample.empty_inputs()) if r[2]["text"] == "answered"} == {"26"}
