"""The whole report: the same bytes again, nothing from outside, nothing executed, complete for every kind of study."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from genomix.report.document import ORDER, RESEARCH_ONLY, Report, place_sections, render_report, write_report
from genomix.report.inputs import ReportInputs, StudyFacts

HERE = Path(__file__).resolve().parent
CONTRACTS = HERE.parents[1] / "contracts"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


sample = _load(CONTRACTS / "sample_report.py")
reader = _load(HERE / "page_reader.py")
KINDS: dict[str, Callable[[], ReportInputs]] = {
    "full": sample.full_inputs,
    "trait": sample.trait_inputs,
    "quantity": sample.quantity_inputs,
    "suppressed": sample.suppressed_inputs,
    "empty": sample.empty_inputs,
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, Report]:
    return {kind: render_report(make()) for kind, make in KINDS.items()}


@pytest.fixture(params=sorted(KINDS))
def report(request: pytest.FixtureRequest, rendered: dict[str, Report]) -> Report:
    return rendered[str(request.param)]


def test_every_address_stays_inside_the_page(report: Report) -> None:
    page = reader.read_page(report.html)
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    for element in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            address = element.attributes.get(name)
            assert address is None or address.startswith(("#", "data:image/svg+xml;base64,"))
            if address is not None and address.startswith("#"):
                assert address[1:] in ids
    for svg in reader.drawings(page):
        for address in re.findall(rb'href="([^"]*)"', svg):
            assert address.startswith((b"#", b"data:image/png;base64,"))
    assert "url(" not in report.html
    assert "@import" not in report.html


def test_nothing_can_run(report: Report) -> None:
    page = reader.read_page(report.html)
    assert not page.of("script", "iframe", "object", "embed", "form", "link", "base")
    assert not [n for e in page.elements for n in e.attributes if n.startswith("on") or n == "style"]
    for svg in reader.drawings(page):
        assert b"<script" not in svg
        assert b"<foreignObject" not in svg


def test_policy_allows_the_own_style_and_no_more(report: Report) -> None:
    page = reader.read_page(report.html)
    (policy,) = [e for e in page.of("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"]
    (css,) = [e.text for e in page.of("style")]
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "style-src": f"'sha256-{digest}'", "base-uri": "'none'",
        "form-action": "'none'",
    }  # fmt: skip


def test_tags_are_balanced_and_ids_are_unique(report: Report) -> None:
    page = reader.read_page(report.html)
    assert page.unclosed == []
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        for target in element.attributes.get("aria-labelledby", "").split():
            assert target in ids


def test_headings_are_in_order(report: Report) -> None:
    levels = [int(e.tag[1]) for e in reader.read_page(report.html).of("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_landmarks_and_language(report: Report) -> None:
    page = reader.read_page(report.html)
    assert page.of("html")[0].attributes["lang"] == "en"
    assert len(page.of("main")) == len(page.of("nav")) == len(page.of("footer")) == 1
    skip = next(e for e in page.of("a") if e.attributes.get("class") == "skip")
    assert skip.attributes["href"] == "#" + page.of("main")[0].attributes["id"]


def test_figures_have_words_and_numbers(report: Report) -> None:
    page = reader.read_page(report.html)
    figures = page.of("figure")
    assert len(figures) == len(page.of("img")) == len(page.of("figcaption"))
    assert all(len(e.attributes["alt"]) > 40 for e in page.of("img"))
    tables = [e for e in page.of("table") if "figure" in e.inside and "details" in e.inside]
    assert len(tables) == len(figures)
    shown = [b for s in report.json["sections"] for b in s["blocks"] if b["type"] == "figure"]
    assert len(shown) == len(figures)
    for figure in shown:
        assert figure["caption"].endswith((".", "…"))
        assert figure["n"]
        assert figure["table"]["rows"]


def test_drawings_are_well_formed(report: Report) -> None:
    import xml.etree.ElementTree as ElementTree

    for svg in reader.drawings(reader.read_page(report.html)):
        assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_table_rows_fill_their_columns(report: Report) -> None:
    for section in report.json["sections"]:
        for block in section["blocks"]:
            table = block.get("table", block)
            for row in table.get("rows", []):
                assert len(row) == len(table["columns"])


def test_banner_opens_and_closes_the_page_and_every_printed_one(report: Report) -> None:
    page = reader.read_page(report.html)
    assert RESEARCH_ONLY in page.of("header")[0].text
    assert RESEARCH_ONLY in page.of("footer")[0].text
    header = re.search(r"@top-left \{ content: \"([^\"]*)\"", page.of("style")[0].text)
    assert header is not None
    assert RESEARCH_ONLY in header.group(1)


def test_no_section_is_silent(report: Report) -> None:
    for section in report.json["sections"]:
        assert section["finding"].strip()
        assert section["title"].strip()


def test_json_is_strict(report: Report) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = json.dumps(report.json, allow_nan=False)
    assert json.loads(text, parse_constant=refuse) == report.json


def test_words_never_say_more_than_was_computed(report: Report) -> None:
    text = json.dumps(report.json).lower()
    for word in ("significant", "nan", "infinity", "none of none"):
        assert not re.search(rf"\b{word}\b", text)


def test_sections_keep_the_documents_order() -> None:
    placed = place_sections(sample.full_inputs())
    assert [p.name for p in placed] == list(ORDER)
    assert [p.number for p in placed] == list(range(1, len(ORDER) + 1))


def test_checklist_does_not_point_at_a_missing_section(rendered: dict[str, Report]) -> None:
    names = {s["name"] for s in rendered["trait"].json["sections"]}
    assert "clinical_use" not in names
    page = reader.read_page(rendered["trait"].html)
    assert "#clinical_use" not in {e.attributes.get("href") for e in page.of("a")}


def test_simulated_stands_in_title_sections_and_drawings(rendered: dict[str, Report]) -> None:
    words = "SIMULATED: health records and outcome"
    page = reader.read_page(rendered["full"].html)
    assert page.of("title")[0].text.startswith("[SIMULATED]")
    assert all(e.attributes["alt"].startswith(words) for e in page.of("img"))
    for section in page.of("section"):
        if section.attributes["id"] not in ("checklist", "reproducibility"):
            assert words in section.text
    marked = render_report(replace(sample.full_inputs(), facts=replace(sample.full_inputs().facts, simulated=())))
    plain = reader.read_page(marked.html)
    assert "SIMULATED" not in marked.html
    for with_mark, without in zip(reader.drawings(page), reader.drawings(plain), strict=True):
        assert with_mark != without


def test_owner_and_use_replace_the_banner_only_together() -> None:
    facts = sample.empty_inputs().facts
    for owner, use, expected in (("Clinic A", None, False), (None, "triage", False), ("Clinic A", "triage", True)):
        html = render_report(replace(sample.empty_inputs(), facts=replace(facts, owner=owner, intended_use=use))).html
        assert ("Intended use as stated by Clinic A: triage" in html) is expected
        assert (RESEARCH_ONLY in html) is not expected


SCRIPT = """
import hashlib, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("sample_report", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["sample_report"] = module
spec.loader.exec_module(module)
from genomix.report.document import render_report
report = render_report(module.full_inputs())
print(hashlib.sha256(report.html.encode()).hexdigest())
print(hashlib.sha256(json.dumps(report.json, sort_keys=True).encode()).hexdigest())
"""


def test_other_processes_give_the_same_bytes(rendered: dict[str, Report], tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 23\naxes.facecolor: red\nsvg.fonttype: none\n")
    settings = ({"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}, {"PYTHONHASHSEED": "77", "MATPLOTLIBRC": str(tmp_path)})
    answers = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(CONTRACTS / "sample_report.py")], capture_output=True, text=True,
            check=True, env={**os.environ, **setting, "LC_ALL": "C.UTF-8"}, cwd=HERE.parents[2],
        ).stdout.split()
        for setting in settings
    ]  # fmt: skip
    html = hashlib.sha256(rendered["full"].html.encode()).hexdigest()
    content = hashlib.sha256(json.dumps(rendered["full"].json, sort_keys=True).encode()).hexdigest()
    assert answers == [[html, content], [html, content]]


PAYLOAD = "</style></title>--><img src=x onerror=alert(1)><script>alert(2)</script>\"'&{{ 7*7 }}${1+1}$\x1b"


def _poisoned(value: Any) -> Any:
    """Return the value with the payload at the end of every text that a user's files could hold."""
    if isinstance(value, str):
        return value + PAYLOAD
    if isinstance(value, dict):
        return {k + PAYLOAD: _poisoned(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_poisoned(v) for v in value)
    return value


FIXED = {
    "part", "unit", "model", "metric", "curve", "status", "level", "rung", "source", "step_unit", "target", "family",
    "group", "name", "feature",
}  # fmt: skip


def _poisoned_frame(frame: pl.DataFrame) -> pl.DataFrame:
    texts = [n for n, t in frame.schema.items() if t == pl.String and n not in FIXED]
    return frame.with_columns(pl.col(n) + PAYLOAD for n in texts)


def test_no_text_of_a_user_becomes_markup(rendered: dict[str, Report]) -> None:
    full = sample.full_inputs()
    facts = StudyFacts(
        **{
            f.name: getattr(full.facts, f.name) if f.name == "objective" else _poisoned(getattr(full.facts, f.name))
            for f in fields(full.facts)
        }
    )
    frames = {
        n: _poisoned_frame(getattr(full, n))
        for n in ("flow", "columns", "metrics", "ladder", "importance", "certificate")
    }
    names = pl.col("group").str.replace("EUR", "EUR" + PAYLOAD, literal=True)
    rename = pl.col("name") + PAYLOAD
    inputs = replace(
        full, facts=facts, quality=_poisoned(full.quality), provenance=_poisoned(full.provenance), **frames
    )
    inputs = replace(
        inputs, metrics=inputs.metrics.with_columns(names), ladder=inputs.ladder.with_columns(names),
        importance=inputs.importance.with_columns(rename), columns=inputs.columns.with_columns(rename),
        beeswarm=inputs.beeswarm.with_columns(pl.col("feature") + PAYLOAD),
        split={**full.split, "design": PAYLOAD, PAYLOAD: PAYLOAD},
    )  # fmt: skip
    html = render_report(inputs).html
    page = reader.read_page(html)
    clean = reader.read_page(rendered["full"].html)
    assert page.unclosed == []
    assert [e.tag for e in page.elements if e.tag in ("script", "style", "title", "img")] == [
        e.tag for e in clean.elements if e.tag in ("script", "style", "title", "img")
    ]
    assert not [n for e in page.elements for n in e.attributes if n.startswith("on")]
    assert page.of("style")[0].text == clean.of("style")[0].text
    assert "{{ 7*7 }}" in page.of("h1")[0].text
    assert "<script>alert(2)</script>" in page.of("main")[0].text
    for svg in reader.drawings(page):
        assert b"alert" not in svg


def test_a_large_study_stays_under_two_megabytes() -> None:
    full = sample.full_inputs()
    wide = pl.concat([full.columns.with_columns(pl.col("name") + f"_{i}") for i in range(300)])
    heavy = pl.concat([full.importance.with_columns(pl.col("name") + f"_{i}") for i in range(300)])
    inputs = replace(full, columns=wide, importance=heavy, beeswarm=sample._beeswarm(4_000))
    assert len(render_report(inputs).html) < 2_000_000


def test_many_targets_are_all_drawn_and_listed() -> None:
    report = render_report(sample.trait_inputs(45))
    (section,) = [s for s in report.json["sections"] if s["name"] == "performance"]
    figures = [b for b in section["blocks"] if b["type"] == "figure"]
    assert len(figures) == 2
    listed = [row[0]["text"] for f in figures for row in f["table"]["rows"]]
    assert sorted(listed) == sorted(f"GENE{i:02d}" for i in range(1, 46))
    assert len(report.html) < 2_000_000


def test_written_files_are_what_was_rendered(tmp_path: Path, rendered: dict[str, Report]) -> None:
    write_report(rendered["empty"], tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.html", "report.json"]
    assert (tmp_path / "out" / "report.html").read_text() == rendered["empty"].html
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == rendered["empty"].json
