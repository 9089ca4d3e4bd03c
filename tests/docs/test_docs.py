"""The documentation says what the code does: reference pages, links, and the commands that the README names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_reference_pages_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make_reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        if not (page.parent / target.split("#")[0]).exists():
            broken.append(target)
    assert broken == []


def test_the_two_commands_stand_in_the_first_fifteen_lines_of_the_readme() -> None:
    head = "\n".join((ROOT / "README.md").read_text().splitlines()[:15])
    assert "make demo" in head
    assert "make test" in head


def test_commands_of_the_readme_exist() -> None:
    from genomix_cli.app import main

    named = set(re.findall(r"`genomix ([a-z]+)", (ROOT / "README.md").read_text()))
    assert named >= {"demo", "init", "check", "run", "doctor"}
    for command in sorted(named):
        assert main([command, "--help"]) == 0


def test_no_page_names_a_place_that_only_one_machine_has() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(work|home|root|tmp)/", page.read_text()), page


def test_every_decision_is_listed_and_dated() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    for page in folder.glob("2*.md"):
        assert page.name in listed
        assert page.read_text().startswith(f"# {page.name[:10]} ")
