"""``genomix report build``: what it puts where, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genomix_cli.app import main
from tests.cli.test_table_study import Ran


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Ran(tmp_path_factory.mktemp("build")).out


def test_the_page_comes_back_and_goes_to_paper(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (out / "report.html").read_bytes()
    (out / "report.html").write_text("changed by hand")
    assert main(["report", "build", str(out), "-q"]) == 0
    assert (out / "report.html").read_bytes() == before
    names = ("report.html", "report.json", "model_card.json")
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in names]
    try:
        import weasyprint  # noqa: F401  # it loads Pango
    except (ImportError, OSError):
        pytest.skip("there is no WeasyPrint")
    assert main(["report", "build", str(out), "--pdf", "-q"]) == 0
    first = (out / "report.pdf").read_bytes()
    assert first.startswith(b"%PDF-")
    assert main(["report", "build", str(out), "--pdf", "-q"]) == 0
    assert (out / "report.pdf").read_bytes() == first
    assert str(out).encode() not in first


def test_without_weasyprint_the_message_says_what_to_install(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    (out / "report.pdf").unlink(missing_ok=True)
    assert main(["report", "build", str(out), "--pdf"]) == 14
    assert 'pip install "genomix[pdf]"' in capsys.readouterr().err
    assert not (out / "report.pdf").exists()


def test_no_run_and_a_damaged_one_are_refused(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "build", str(tmp_path)]) == 3
    assert "there is no finished run" in capsys.readouterr().err
    (page,) = out.glob("stages/report/*/report.html")
    kept = page.read_bytes()
    page.write_bytes(kept + b" ")
    assert main(["report", "build", str(out)]) == 13
    assert "report.html is not what the run wrote" in capsys.readouterr().err
    page.write_bytes(kept)


def test_the_score_card_counts_every_held_out_row_once(out: Path) -> None:
    """The tables of the page against the points file and the predictions, added up here."""
    import json

    import numpy as np
    import polars as pl

    (place,) = out.glob("stages/model/*")
    points = json.loads((place / "bundles/fold_0/points/points.json").read_text())
    rows = pl.read_parquet(place / "predictions.parquet").filter(pl.col("model") == "points")
    logits = np.log(rows["prediction"] / (1 - rows["prediction"])).to_numpy()
    totals = np.round((logits - points["intercept"]) / points["per_point"]).astype(int)
    sections = {s["name"]: s for s in json.loads((out / "report.json").read_text())["sections"]}
    tables = [b for b in sections["performance"]["blocks"] if b["type"] == "table"]
    last = tables[-1]
    assert last["caption"].startswith("What a total means")
    assert len(last["rows"]) > 1
    for total, _, held_out, observed, _ in last["rows"]:
        low, _, high = total["text"].partition("–")
        inside = (totals >= int(low)) & (totals <= int(high or low))
        assert held_out["value"] == inside.sum() >= 11
        events = int(rows["label"].to_numpy()[inside].sum())
        assert f"({events} of {inside.sum()})" in observed["text"].replace("\u202f", "")
    assert sum(row[2]["value"] for row in last["rows"]) == rows.height
    assert len(tables) == 2 + len(points["cards"])


def test_the_report_comes_again_from_the_stages_byte_for_byte(out: Path) -> None:
    from genomix.report.document import render_report
    from genomix_pipelines.report_again import finished_inputs

    (page,) = out.glob("stages/report/*/report.html")
    assert render_report(finished_inputs(out)).html.encode() == page.read_bytes()


def test_internal_is_said_on_every_page_and_changes_nothing_else(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json
    import re

    before = {p.name: p.read_bytes() for p in out.glob("report.*")}
    assert main(["report", "build", str(out), "--internal", "-q"]) == 0
    names = ("report-internal.html", "report-internal.json")
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in names]
    html = (out / "report-internal.html").read_text()
    assert "<title>[INTERNAL] " in html
    assert re.search(r'@top-left \{ content: "INTERNAL, not to be passed on\.', html)
    assert html.count("INTERNAL: small counts are shown") == 2, "banner and foot"
    assert json.loads((out / "report-internal.json").read_text())["internal"] is True
    assert "<11" not in html.replace("&lt;", "<")
    assert {p.name: p.read_bytes() for p in out.glob("report.*")} == before
    assert b"INTERNAL" not in before["report.html"]
    assert "&lt;11" in before["report.html"].decode()
