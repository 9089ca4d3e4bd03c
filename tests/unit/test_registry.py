"""One file in a folder = one member; nothing else is touched to add one."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomix.errors import ConfigError
from genomix.registry import member, members


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A package with two members and a module that is none, under a name of its own for each test."""
    name = f"shapes_{request.node.name}".replace("[", "_").replace("]", "_")
    folder = tmp_path / name
    folder.mkdir()
    text = "class Shape:\n    name = {!r}\nSHAPE = Shape()\n"
    for file, content in {
        "__init__.py": "", "b_square.py": text.format("square"), "a_circle.py": text.format("circle"), "helper.py": "",
    }.items():  # fmt: skip
        (folder / file).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_every_module_with_the_attribute_is_a_member_in_file_order(shapes: str) -> None:
    assert list(members(shapes, "SHAPE")) == ["circle", "square"]


def test_a_new_file_is_a_new_member(shapes: str, tmp_path: Path) -> None:
    members(shapes, "SHAPE")
    (tmp_path / shapes / "c_line.py").write_text("class L: name = 'line'\nSHAPE = L")
    assert "line" in members(shapes, "SHAPE")


def test_two_members_of_one_name_are_refused(shapes: str, tmp_path: Path) -> None:
    (tmp_path / shapes / "c.py").write_text("class L: name = 'circle'\nSHAPE = L")
    with pytest.raises(ValueError, match="two members are named 'circle'"):
        members(shapes, "SHAPE")


def test_an_unknown_name_lists_the_known_ones(shapes: str) -> None:
    assert member(shapes, "SHAPE", "square").name == "square"
    with pytest.raises(ConfigError, match="one of: circle, square"):
        member(shapes, "SHAPE", "oval")
