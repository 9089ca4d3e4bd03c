"""Members of a package by the name of their file."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any


def by_file(package: str, attribute: str) -> dict[str, Any]:
    """Return ``{file name: member}`` for every module of ``package`` that defines ``attribute``."""
    root = importlib.import_module(package)
    modules = {i.name: importlib.import_module(f"{package}.{i.name}") for i in pkgutil.iter_modules(root.__path__)}
    return {name: getattr(m, attribute) for name, m in sorted(modules.items()) if hasattr(m, attribute)}
