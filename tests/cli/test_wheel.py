"""The built wheel alone, in another folder and without a network, does what the checkout does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import faults
from tests.cli import studies
from tests.cli.studies import Demo

_ALONE = """
import sys
checkout, target = sys.argv[1:3]
inside = lambda p: (p + "/").startswith(checkout + "/") and "site-packages" not in p  # .venv may lie in the checkout
sys.path[:] = [target] + [p for p in sys.path if p and not inside(p)]
sys.meta_path[:] = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("__editable__")]
from genomix_cli.app import main
code = main(["demo", "--size", "small", "--device", "cpu", "--out", "results"])
places = {m.__file__ for n, m in sys.modules.items() if n.startswith("genomix") and getattr(m, "__file__", None)}
assert len(places) > 50
assert all(p.startswith(target + "/") for p in places), sorted(places)
import socket
try:
    socket.create_connection(("192.0.2.1", 80), timeout=0.2)
except OSError as error:
    print("network:", error.errno, file=sys.stderr)
sys.exit(code)
"""

NETWORK_IS_UNREACHABLE = 101


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    here = importlib.util.find_spec("hatchling") is not None
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(faults.ROOT)]
    done = subprocess.run(
        [*command, "--quiet", "--disable-pip-version-check", *(["--no-build-isolation"] if here else [])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not here and done.returncode and "hatchling" in done.stderr:
        pytest.skip("hatchling is neither installed nor to be had: pip install hatchling")
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(archive.read(n).decode() for n in names if n.endswith("/entry_points.txt"))
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"genomix", "genomix_cli", "genomix_pipelines"}
    assert "genomix = genomix_cli.app:main" in entry_points
    for package, folder in (("genomix", "."), ("genomix_cli", "cli"), ("genomix_pipelines", "pipelines")):
        root = faults.ROOT / folder
        wanted = {p.relative_to(root).as_posix() for p in (root / package).rglob("*") if p.is_file()}
        wanted = {n for n in wanted if "__pycache__" not in n}
        assert wanted == {n for n in names if n.startswith(f"{package}/")}


def test_the_wheel_alone_makes_the_same_report_without_a_network(wheel: Path, demo: Demo, tmp_path: Path) -> None:
    target, work = tmp_path / "target", tmp_path / "work"
    work.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
         "--no-compile", "--target", str(target), str(wheel)],
        check=True,
    )  # fmt: skip
    offline = next((c for c in (["unshare", "-rn"], ["unshare", "-n"]) if studies.can(*c, "true")), [])
    nobody = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [*offline, sys.executable, "-P", "-c", _ALONE, str(faults.ROOT), str(target)],
        env=studies.environment(PYTHONPATH=str(target), **nobody), cwd=work,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if offline:
        assert f"network: {NETWORK_IS_UNREACHABLE}" in done.stderr
    assert done.stdout == "results/report.html\n"
    assert faults.final_hashes(work / "results") == demo.wanted
