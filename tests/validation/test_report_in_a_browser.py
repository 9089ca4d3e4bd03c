"""The report in a browser and on paper: WCAG 2.2 AA by axe at two widths, light and dark, and the pages of the PDF."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from genomix.report.document import render_report
from genomix.report.examples import render_examples
from tests.contracts import sample_report

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PAGES = {
    "full": lambda: render_report(sample_report.full_inputs()).html,
    "empty": lambda: render_report(sample_report.empty_inputs()).html,
    "suppressed": lambda: render_report(sample_report.suppressed_inputs()).html,
    "targets": lambda: render_report(sample_report.trait_inputs()).html,
    "table": lambda: render_report(sample_report.table_inputs()).html,
    "examples": lambda: render_examples(sample_report.example_subjects(), sample_report.full_inputs().facts),
}


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium")
    return found


@pytest.fixture(scope="module")
def axe() -> str:
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("axe-core-python is not installed")
    return (Path(next(iter(spec.submodule_search_locations))) / "axe.min.js").read_text(encoding="utf-8")


def judged(page: str, axe: str, chromium: str, folder: Path, *, size: str, dark: bool) -> dict[str, Any]:
    """Return what axe finds on a copy of the page whose policy lets it run, with everything folded out."""
    copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    asked = (
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        f"axe.run(document, {{runOnly: {json.dumps(RULES)}}}).then(r => {{"
        "const p = document.createElement('pre'); p.id = 'axe'; p.textContent = JSON.stringify({"
        "dark: matchMedia('(prefers-color-scheme: dark)').matches, passes: r.passes.map(v => v.id),"
        "wide: document.documentElement.scrollWidth - innerWidth,"
        "violations: r.violations.map(v => [v.id, v.nodes.slice(0, 3).map(n => n.target.join(' '))])});"
        "document.body.appendChild(p); });"
    )
    script = f"<script>{axe.replace('</script', '<' + chr(92) + '/script')}</script><script>{asked}</script>"
    path = folder / "page.html"
    path.write_text(copy.replace("</body>", script + "</body>"), encoding="utf-8")
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={size}",
               f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=30000",
               f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout
    found = re.search(r'<pre id="axe">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None, "axe did not run"
    text = found[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
    result: dict[str, Any] = json.loads(text)
    return result


SLOW = pytest.mark.slow
SEEN = {"color-contrast", "document-title", "html-has-lang", "landmark-one-main"}


@pytest.mark.parametrize(
    ("name", "size", "dark"),
    [
        ("full", "1280,900", False),
        ("full", "390,844", True),
        ("suppressed", "390,844", False),
        ("examples", "390,844", True),
        pytest.param("full", "390,844", False, marks=SLOW),
        pytest.param("empty", "1280,900", True, marks=SLOW),
        pytest.param("targets", "1280,900", True, marks=SLOW),
        pytest.param("table", "390,844", True, marks=SLOW),
        pytest.param("examples", "1280,900", False, marks=SLOW),
    ],
)
def test_no_rule_of_wcag_is_broken(name: str, size: str, dark: bool, axe: str, chromium: str, tmp_path: Path) -> None:
    found = judged(PAGES[name](), axe, chromium, tmp_path, size=size, dark=dark)
    assert found["dark"] == dark
    assert found["violations"] == []
    assert set(found["passes"]) >= SEEN
    assert name != "full" or "image-alt" in found["passes"]
    assert found["wide"] <= 0, "nothing but tables scrolls sideways"


def test_the_check_sees_what_is_wrong(axe: str, chromium: str, tmp_path: Path) -> None:
    page = PAGES["empty"]().replace('lang="en"', "", 1).replace("<main", '<img src="data:,"><main', 1)
    found = judged(page, axe, chromium, tmp_path, size="1280,900", dark=False)
    assert {"html-has-lang", "image-alt"} <= {name for name, _ in found["violations"]}


@pytest.fixture(scope="module")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        import weasyprint  # noqa: F401  # it loads Pango
    except (ImportError, OSError):
        pytest.skip("there is no WeasyPrint")
    from genomix.report.pdf import to_pdf

    page = PAGES["full"]()
    path = tmp_path_factory.mktemp("pdf") / "report.pdf"
    path.write_bytes(to_pdf(page))
    assert to_pdf(page) == path.read_bytes(), "the same page gives the same bytes"
    return path


def test_every_page_of_the_pdf_has_the_banner_and_its_number(pdf: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("there is no pdftotext")
    text = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], capture_output=True, text=True, check=True).stdout
    pages = text.rstrip("\f\n").split("\f")
    assert len(pages) > 5
    for number, page in enumerate(pages, start=1):
        assert "Research use only; not a medical device" in page
        assert f"Page {number} of {len(pages)}" in page
    whole = " ".join(text.split())
    for words in ("TRIPOD", "What could be wrong", "What genetics adds"):
        assert words in whole


def test_page_one_of_the_pdf_is_the_whole_summary(pdf: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("there is no pdftotext")
    command = ["pdftotext", "-layout", "-l", "1", str(pdf), "-"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "What this is" in page
    assert "What is not known" in page
    heads = ("Discrimination (AUROC)", "Calibration (slope)", "Net benefit")
    assert any(all(head in line for head in heads) for line in page.splitlines()), (
        "the three numbers stand side by side"
    )
