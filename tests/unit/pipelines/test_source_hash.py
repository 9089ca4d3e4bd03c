"""The closure of sources: what a stage can run is in it, what it cannot run is not."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import genomix
from genomix_pipelines import source_hash as module
from genomix_pipelines.source_hash import find_module, source_files, source_hash
from tests.faults import ROOT, environment
from tests.toy_study import READ

Tree = Callable[[dict[str, str]], "Package"]


class Package:
    """A package ``genomix_toy`` in a folder that can be imported for the length of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, files: dict[str, str]) -> Package:
        for name, text in files.items():
            path = self.folder / "genomix_toy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return self

    def files(self, start: str = "genomix_toy.start") -> set[str]:
        return set(source_files(_function_of(start)))

    def hash(self, start: str = "genomix_toy.start") -> str:
        return source_hash(_function_of(start))


def _function_of(name: str) -> Callable[[], None]:
    def run() -> None:
        """Stand for a stage's function: only its module's name is used."""

    run.__module__ = name
    return run


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(tmp_path)
    module._roots.cache_clear()
    yield Package(tmp_path).write({"__init__.py": "", "start.py": ""})
    module._roots.cache_clear()


def test_imports_are_followed_in_every_form_and_place(package: Package) -> None:
    package.write(
        {
            "start.py": """
                import genomix_toy.a
                from genomix_toy import b
                from genomix_toy.c import value
                from . import d
                from .e import value as other
                import os, numpy

                def run():
                    from genomix_toy.room.inner import thing
                    import importlib
                    importlib.import_module("genomix_toy.f")
                """,
            "room/__init__.py": "from ..g import value",
            "room/inner.py": "from .beside import value\nfrom .. import h",
            "room/beside.py": "",
            "room/unused.py": "",
            **{f"{name}.py": "value = 1" for name in "abcdefgh"},
            "z.py": "",
        }
    )
    assert package.files() == {
        "genomix_toy", "genomix_toy.start", *(f"genomix_toy.{name}" for name in "abcdefgh"),
        "genomix_toy.room", "genomix_toy.room.inner", "genomix_toy.room.beside",
    }  # fmt: skip


def test_the_hash_changes_with_any_source_in_the_closure_and_with_no_other(package: Package) -> None:
    package.write({"start.py": "from genomix_toy import a", "a.py": "import genomix_toy.b", "b.py": "", "z.py": ""})
    before = package.hash()
    assert package.write({"z.py": "changed = True"}).hash() == before
    changed = package.write({"b.py": "changed = True"}).hash()
    assert changed != before
    assert package.write({"b.py": ""}).hash() == before


def test_circles_end(package: Package) -> None:
    package.write({"start.py": "import genomix_toy.a", "a.py": "import genomix_toy.start"})
    assert package.files() == {"genomix_toy", "genomix_toy.start", "genomix_toy.a"}


@pytest.mark.parametrize(
    "call",
    [
        'from genomix.registry import members\nmembers("genomix_toy.families", "FAMILY")',
        'from genomix.registry import member as one\none("genomix_toy.families", "FAMILY", "x")',
        'from genomix import registry\nregistry.members(package="genomix_toy.families", attribute="FAMILY")',
        'from genomix.registry import members\nAT = "genomix_toy.families"\ndef f(): return members(AT, "FAMILY")',
    ],
)
def test_members_that_the_registry_finds_at_run_time_are_source(package: Package, call: str) -> None:
    package.write({"start.py": call, "families/__init__.py": "", "families/one.py": "", "families/two/__init__.py": ""})
    families = {"genomix_toy.families", "genomix_toy.families.one", "genomix_toy.families.two"}
    assert families <= package.files()
    before = package.hash()
    assert package.write({"families/added.py": ""}).hash() != before


def test_a_package_name_that_is_computed_is_refused(package: Package) -> None:
    package.write({"start.py": "from genomix.registry import members\n\ndef f(name):\n    return members(name, 'X')\n"})
    with pytest.raises(ValueError, match=r"genomix_toy.start, line 4: name the package"):
        package.hash()


def test_other_functions_called_members_are_left_alone(package: Package) -> None:
    package.write({"start.py": "def members(a, b): ...\nmembers(1, 2)\nclass T: ...\nT().member(1, 2)\n"})
    assert package.files() == {"genomix_toy", "genomix_toy.start"}


def test_files_that_a_package_carries_are_source(package: Package) -> None:
    package.write(
        {
            "start.py": "import genomix_toy.report",
            "report/__init__.py": "",
            "report/templates/page.html": "<p>",
            "report/table.tsv": "a",
            "report/py.typed": "",
            "report/table.tsv~": "a backup",
            "report/sections/__init__.py": "",
            "report/sections/note.txt": "of a package outside the closure",
        }
    )
    assert {f for f in package.files() if ":" in f} == {
        "genomix_toy.report:templates/page.html", "genomix_toy.report:table.tsv",
    }  # fmt: skip
    before = package.hash()
    assert package.write({"report/templates/page.html": "<b>"}).hash() != before


def test_nothing_of_the_closure_is_imported(package: Package) -> None:
    package.write({"start.py": "import genomix_toy.bomb", "bomb.py": "raise SystemExit('imported')"})
    assert "genomix_toy.bomb" in package.files()
    assert "genomix_toy.bomb" not in sys.modules


def test_the_module_of_a_partial_or_wrapped_function_is_the_inner_one(package: Package) -> None:
    function = _function_of("genomix_toy.start")

    @functools.wraps(function)
    def wrapper() -> None:
        """Only passes on."""

    assert source_hash(functools.partial(function)) == source_hash(wrapper) == package.hash()


def test_a_stage_defined_outside_our_packages_counts_with_what_it_imports_of_ours() -> None:
    files = source_files(READ.run)
    assert "tests.toy_study" in files
    assert {"genomix", "genomix_pipelines", "genomix_pipelines.stage", "genomix.device", "genomix.errors"} <= set(files)
    assert "genomix_pipelines.run" not in files


def test_our_own_modules_are_found_without_importing_them() -> None:
    assert find_module("genomix.errors") == Path(genomix.__file__).parent / "errors.py"
    assert find_module("genomix.features") == Path(genomix.__file__).parent / "features" / "__init__.py"
    assert find_module("genomix.errors.GenomixError") is None
    assert find_module("numpy") is None


def test_every_module_of_ours_can_be_hashed() -> None:
    roots = (ROOT / "genomix", ROOT / "pipelines" / "genomix_pipelines")
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            name = ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
            assert name in source_files(_function_of(name))


def test_a_copy_elsewhere_has_the_same_hash(tmp_path: Path) -> None:
    """An installed wheel is such a copy: the same files in another folder."""
    import shutil

    for source in (ROOT / "genomix", ROOT / "pipelines" / "genomix_pipelines"):
        shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from genomix_pipelines.graph import plan; from genomix_pipelines.source_hash import source_hash; "
        "import genomix; print(genomix.__file__, source_hash(plan))"
    )
    paths = {}
    for where in (None, tmp_path):
        env = environment() if where is None else {**environment(), "PYTHONPATH": str(where)}
        done = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=True)
        place, digest = done.stdout.split()
        paths[place] = digest
    assert len(paths) == 2
    assert len(set(paths.values())) == 1
