"""One file in a folder = one member: formats, feature families, models, report sections.

A package that holds members names, in each member's module, one attribute. ``members`` imports the modules of the
package in name order and collects that attribute; nothing else needs to be touched to add a member.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from genomix.errors import ConfigError


def members(package: str, attribute: str) -> dict[str, Any]:
    """Return ``{member.name: member}`` for every module of ``package`` that defines ``attribute``.

    Parameters
    ----------
    package: dotted name of an importable package, e.g. ``"genomix.features.families"``.
    attribute: the module-level name that marks a member, e.g. ``"FAMILY"``.

    Raises
    ------
    ValueError: when two modules register the same name.
    """
    root = importlib.import_module(package)
    found: dict[str, Any] = {}
    for info in sorted(pkgutil.iter_modules(root.__path__), key=lambda i: i.name):
        module: ModuleType = importlib.import_module(f"{package}.{info.name}")
        member = getattr(module, attribute, None)
        if member is None:
            continue
        if member.name in found:
            raise ValueError(f"{package}: two members are named {member.name!r}")
        found[member.name] = member
    return found


def member(package: str, attribute: str, name: str) -> Any:
    """Return one member by name, or raise a :class:`ConfigError` that lists the allowed names."""
    found = members(package, attribute)
    if name not in found:
        raise ConfigError(f"unknown name {name!r} in {package}", hint="one of: " + ", ".join(sorted(found)))
    return found[name]
