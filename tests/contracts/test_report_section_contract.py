"""Every registered report section keeps the contract, and each check catches a section that breaks it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from genomix.registry import members
from genomix.report.blocks import Figure, Paragraph, Section, SectionMaker, text_table
from genomix.report.inputs import ReportInputs
from tests.contracts.registered import by_file
from tests.contracts.report_section import (
    INPUTS,
    check_leaks_no_identifier,
    check_renders,
    check_runs_nothing,
)

SECTIONS = members("genomix.report.sections", "SECTION")


@pytest.mark.parametrize("kind", sorted(INPUTS))
@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_section_renders_on_every_input(name: str, kind: str) -> None:
    check_renders(SECTIONS[name], kind)


@pytest.mark.parametrize("kind", ["full", "empty"])
@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_no_section_shows_an_identifier(name: str, kind: str) -> None:
    check_leaks_no_identifier(SECTIONS[name], kind)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_no_section_turns_words_into_markup(name: str) -> None:
    check_runs_nothing(SECTIONS[name], "full")


def test_a_section_is_named_as_its_file() -> None:
    found = by_file("genomix.report.sections", "SECTION")
    assert {file: member.name for file, member in found.items()} == {name: name for name in SECTIONS}


def _say(text: str, *, finding: str = "something was found.") -> Section:
    return Section("A title", finding, (Paragraph(text),))


def _features(inputs: ReportInputs) -> Section:
    return _say(f"{inputs.columns.height} features")


def _first_column(inputs: ReportInputs) -> Section:
    return _say(f"for example {inputs.columns['sentence'][0]}")


def _mean_missing(inputs: ReportInputs) -> Section:
    shares = inputs.columns["n_missing_share"] if "n_missing_share" in inputs.columns.columns else []
    return _say(f"missing: {sum(shares) / max(len(shares), 1) if len(shares) else float('nan')}")


def _everything(inputs: ReportInputs) -> Section:
    rows = [tuple(str(v) for v in row) for row in inputs.columns.rows()]
    return Section("A title", "x.", (text_table("all", tuple(inputs.columns.columns), rows),))


def _everyone(inputs: ReportInputs) -> Section:
    return _say(f"people: {inputs.beeswarm['row'].head(3).to_list()}")


def _order_of_people(inputs: ReportInputs) -> Section:
    return _say(f"sum {inputs.beeswarm['row'].sum()}")


def _dice(inputs: ReportInputs) -> Section:
    return _say(str(random.random()))


def _no_finding(inputs: ReportInputs) -> Section:
    return _say("words", finding=" ")


def _speechless_figure(inputs: ReportInputs) -> Section:
    figure = Figure(b"<svg/>", "a caption", "", "n = 5", text_table("t", ("a",), [("1",)]))
    return Section("A title", "x.", (figure,))


def _drawn_markup(inputs: ReportInputs) -> Section:
    svg = f"<svg>{inputs.facts.title}</svg>".encode()
    return Section("A title", "x.", (Figure(svg, "c", "d", "n", text_table("t", ("a",), [("1",)])),))


class _Trusted(str):
    """Text that says of itself that it is markup."""

    def __html__(self) -> str:
        return str(self)


def _trusted_markup(inputs: ReportInputs) -> Section:
    return Section(_Trusted(inputs.facts.title), "x.")


BROKEN = (
    (check_renders, _first_column, "empty", "on empty input raised"),
    (check_renders, _mean_missing, "empty", "the words hold 'nan'"),
    (check_renders, _dice, "full", "another time, other bytes"),
    (check_renders, _no_finding, "full", "no finding"),
    (check_renders, _speechless_figure, "full", "a figure without a description"),
    (check_leaks_no_identifier, _everything, "full", "shows 'PRIVATE_NA'"),
    (check_leaks_no_identifier, _everyone, "full", "shows '987654321'"),
    (check_leaks_no_identifier, _order_of_people, "full", "depends on identifiers or row numbers"),
    (check_runs_nothing, _drawn_markup, "full", "a script in a drawing"),
    (check_runs_nothing, _trusted_markup, "full", "a script in the page"),
)  # fmt: skip


@pytest.mark.parametrize(("check", "render", "kind", "message"), BROKEN)
def test_each_check_catches_a_broken_section(check: Any, render: Any, kind: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(SectionMaker("broken", render), kind)


@pytest.mark.parametrize("check", [check_renders, check_leaks_no_identifier, check_runs_nothing])
def test_a_sound_section_passes(check: Any) -> None:
    for kind in INPUTS:
        check(SectionMaker("sound", _features), kind)
