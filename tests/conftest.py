"""Shared fixtures: where the real inputs lie, and which other tools are installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def real_data_folder() -> Path | None:
    """Return the folder of real inputs (GENOMIX_TEST_DATA, default ../shared/data), or None where it is absent."""
    folder = Path(os.environ.get("GENOMIX_TEST_DATA", ROOT.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real inputs; a test that asks for it is skipped where there is none."""
    folder = real_data_folder()
    if folder is None:
        pytest.skip("the real inputs are not on this machine (set GENOMIX_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def fixtures_folder() -> Path:
    """The repository's small test inputs."""
    return ROOT / "fixtures"


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="session")
def plink2() -> str:
    """Path of plink2, or skip."""
    return _tool("plink2")


@pytest.fixture(scope="session")
def bcftools() -> str:
    """Path of bcftools, or skip."""
    return _tool("bcftools")
