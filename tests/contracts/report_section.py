"""What every report section promises: it says something of any input, the same each time, and never who anybody is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any
from unittest.mock import patch

import polars as pl

from genomix.report.blocks import Figure, Section, SectionMaker
from genomix.report.document import render_report
from genomix.report.inputs import ReportInputs
from tests.contracts import sample_report as sample

INPUTS: dict[str, Callable[[], ReportInputs]] = {
    "full": sample.full_inputs,
    "trait": sample.trait_inputs,
    "table": sample.table_inputs,
    "quantity": sample.quantity_inputs,
    "suppressed": sample.suppressed_inputs,
    "survival": sample.survival_inputs,
    "empty": sample.empty_inputs,
}

SAMPLE_ID, SUBJECT_ID, PATH = "PRIVATE_NA12878", 987_654_321, "/home/private_user/study"
PAYLOAD = "<script>alert(1)</script>"
_TELLING = re.compile(r"PRIVATE_NA|987.?654.?321|private_user|alert\(1\)")


def content(section: Section | None) -> str:
    """Return everything that a section shows: its words, figures and drawings."""
    if section is None:
        return ""
    drawings = [svg.decode() for svg in _drawings(section)]
    return json.dumps(section.to_json(), sort_keys=True, allow_nan=False, ensure_ascii=False) + "".join(drawings)


def _drawings(section: Section) -> Iterator[bytes]:
    for block in section.blocks:
        if isinstance(block, Figure):
            yield block.svg


@cache
def rendered(member: Any, kind: str) -> Section | None:
    """Return the section on one kind of input, made once."""
    section: Section | None = member.render(INPUTS[kind]())
    return section


def check_renders(member: Any, kind: str) -> None:
    """The section has a title, a finding and words for its figures on every input, and is the same when made again."""
    try:
        section = rendered(member, kind)
        shown = content(section)
    except Exception as error:
        raise AssertionError(f"{member.name} on {kind} input raised {type(error).__name__}: {error}") from error
    if kind in ("full", "empty"):
        again = content(member.render(INPUTS[kind]()))
        assert again == shown, f"{member.name} on {kind} input: another time, other bytes"
    if section is None:
        return
    assert section.title.strip(), f"{member.name} on {kind} input: no title"
    assert section.finding.strip(), f"{member.name} on {kind} input: no finding"
    unknown = re.search(r"\b(nan|None|null|inf|Traceback|undefined)\b", json.dumps(_words(section.to_json())))
    assert unknown is None, f"{member.name} on {kind} input: the words hold {unknown[0]!r}" if unknown else ""
    for block in section.blocks:
        if isinstance(block, Figure):
            assert block.alt.strip(), f"{member.name} on {kind} input: a figure without a description"
            assert block.caption.strip(), f"{member.name} on {kind} input: a figure without a caption"
            assert block.n.strip(), f"{member.name} on {kind} input: a figure does not say n"


def _words(value: Any) -> list[str]:
    """Every text of a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [word for part in parts for word in _words(part)]


def planted(inputs: ReportInputs) -> ReportInputs:
    """Return inputs whose tables hold identifiers in further columns, and row numbers that could be looked up.

    The mappings (quality, split, provenance) are plain figures that a section may show as they are: that no identifier
    gets into them is what the stages that fill them promise.
    """
    frames = {}
    for field in fields(inputs):
        frame = getattr(inputs, field.name)
        if isinstance(frame, pl.DataFrame):
            frames[field.name] = frame.with_columns(
                pl.lit(SAMPLE_ID).alias("sample_id"), pl.lit(SUBJECT_ID).alias("subject_id"), pl.lit(PATH).alias("path")
            )
    numbered = frames["beeswarm"].with_columns(row=pl.col("row") + SUBJECT_ID)
    return replace(inputs, **{**frames, "beeswarm": numbered})


def check_leaks_no_identifier(member: Any, kind: str) -> None:
    """Identifiers, row numbers and paths in its inputs change nothing that a section shows."""
    try:
        shown = content(member.render(planted(INPUTS[kind]())))
    except Exception as error:
        raise AssertionError(f"{member.name} on {kind} input with further columns raised {error!r}") from error
    leak = _TELLING.search(shown)
    assert leak is None, f"{member.name} on {kind} input shows {leak[0]!r}" if leak else ""
    same = shown == content(rendered(member, kind))
    assert same, f"{member.name} on {kind} input depends on identifiers or row numbers"


def check_runs_nothing(member: Any, kind: str) -> None:
    """Markup in a study's words stays text: no script, and no element that the clean page has not."""
    clean = INPUTS[kind]()
    facts = {
        f.name: _poisoned(getattr(clean.facts, f.name)) for f in fields(clean.facts) if f.name not in ("objective",)
    }
    names = ("flow", "columns", "certificate")
    frames = {n: _poisoned_frame(getattr(clean, n)) for n in names}
    spoilt = replace(clean, facts=replace(clean.facts, **facts), quality=_poisoned(clean.quality), **frames)
    section = member.render(spoilt)
    page, plain = _page(member.name, section, spoilt), _page(member.name, rendered(member, kind), clean)
    assert "<script" not in page.lower(), f"{member.name} on {kind} input: a script in the page"
    tags = [sorted(set(re.findall(r"<([a-z0-9]+)", text))) for text in (page, plain)]
    assert tags[0] == tags[1], f"{member.name} on {kind} input: a study's words became {set(tags[0]) ^ set(tags[1])}"
    for svg in _drawings(section) if section else ():
        assert b"<script" not in svg.lower(), f"{member.name} on {kind} input: a script in a drawing"


def _page(name: str, section: Section | None, inputs: ReportInputs) -> str:
    """Return a report that holds this section only."""
    with patch("genomix.report.document.members", return_value={name: SectionMaker(name, lambda _: section)}):
        return render_report(inputs).html


def _poisoned(value: Any) -> Any:
    if isinstance(value, str):
        return value + PAYLOAD
    if isinstance(value, dict):
        return {k: _poisoned(v) for k, v in value.items()}
    return type(value)(_poisoned(v) for v in value) if isinstance(value, list | tuple) else value


_FIXED = ("part", "unit", "status", "rung", "source", "family", "name")


def _poisoned_frame(frame: pl.DataFrame) -> pl.DataFrame:
    texts = [n for n, t in frame.schema.items() if t == pl.String and n not in _FIXED]
    return frame.with_columns(pl.col(n) + PAYLOAD for n in texts)
