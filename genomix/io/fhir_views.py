"""View definitions: which paths of a FHIR resource become which events, read from TOML.

The shipped views are ``views/fhir_r4.toml``, which states the keys; a site's own file adds views, or replaces the
shipped view of a resource type. The idea is that of SQL on FHIR (https://sql-on-fhir.org): tables of paths, no code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from genomix.errors import ConfigError, InputNotFoundError
from genomix.io.fhir_paths import Context, compile_path
from genomix.io.fhir_paths import Path as FhirPath

_TOP = ("systems", "view", "shipped")
_VIEW = ("resource", "subject", "prefer", "time", "available", "drop", "note", "event")
_RULE = ("reason", "when")
_EVENT = (
    "prefix", "code", "suffix", "optional", "fallback", "prefer", "time", "static", "value", "unit", "text",
    "available", "when", "foreach",
)  # fmt: skip
_TEST = ("path", "in", "not_in", "exists")


@dataclass(frozen=True)
class PathTest:
    """One condition on the nodes at a path: there or not, or whether one of them is among some values."""

    path: FhirPath
    exists: bool | None = None
    inside: tuple[Any, ...] | None = None
    outside: tuple[Any, ...] | None = None

    def holds(self, node: Any, context: Context) -> bool:
        """Say whether the condition holds."""
        found = self.path.all(node, context)
        if self.exists is not None:
            return bool(found) is self.exists
        if self.inside is not None:
            return any(_among(value, self.inside) for value in found)
        return not any(_among(value, self.outside or ()) for value in found)


def _among(value: Any, wanted: tuple[Any, ...]) -> bool:
    if type(value) is str:
        return value in wanted
    return any(type(value) is type(one) and value == one for one in wanted)


@dataclass(frozen=True)
class When:
    """Tests that must all hold; of each inner tuple one must hold."""

    tests: tuple[tuple[PathTest, ...], ...] = ()

    def holds(self, node: Any, context: Context) -> bool:
        """Say whether all hold."""
        for either in self.tests:
            for test in either:
                if test.holds(node, context):
                    break
            else:
                return False
        return True

    def blamed(self, node: Any, context: Context) -> tuple[str | None, str | None]:
        """Return the field that made it hold and its value, where that is a word or a truth value."""
        for test in (test for either in self.tests for test in either):
            for value in test.path.all(node, context):
                if test.inside is not None and _among(value, test.inside):
                    return test.path.field, str(value).lower() if isinstance(value, bool) else str(value)
        return (self.tests[0][0].path.field, None) if self.tests else (None, None)


@dataclass(frozen=True)
class Finding:
    """A reason, and when it applies."""

    reason: str
    when: When


@dataclass(frozen=True)
class EventView:
    """How a resource, or each item at ``foreach``, becomes one event; see the shipped file for the keys."""

    prefix: str = ""
    suffix: str = ""
    code: tuple[FhirPath, ...] = ()
    optional: bool = False
    fallback: bool = True
    prefer: tuple[str, ...] = ()
    time: tuple[FhirPath, ...] = ()
    value: tuple[FhirPath, ...] = ()
    unit: tuple[FhirPath, ...] = ()
    text: tuple[FhirPath, ...] = ()
    available: tuple[FhirPath, ...] = ()
    when: When = field(default_factory=When)
    foreach: FhirPath | None = None
    time_of_item: bool = False
    available_of_item: bool = False

    @property
    def static(self) -> bool:
        """Whether its events have no time."""
        return not self.time


@dataclass(frozen=True)
class View:
    """How one resource type becomes events."""

    resource: str
    subject: FhirPath
    events: tuple[EventView, ...]
    drops: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Views:
    """Views by resource type, and the short names of code systems by URI."""

    views: Mapping[str, View]
    systems: Mapping[str, str]

    @property
    def resolves(self) -> bool:
        """Whether a view follows references to other resources."""
        paths = (p for v in self.views.values() for e in v.events for p in (*e.code, *e.value, *e.text, *e.time))
        return any(p.resolves for p in paths)


def shipped_views() -> Views:
    """Return the views that come with the package."""
    file = resources.files("genomix.io") / "views" / "fhir_r4.toml"
    return views_from(tomllib.loads(file.read_text(encoding="utf-8")), where="fhir_r4.toml", base=None)


def read_views(path: Path) -> Views:
    """Read a site's own views: they replace the shipped views of their resource types and add to the code systems.

    ``shipped = false`` leaves the shipped views out (the shipped code systems stay).

    Raises
    ------
    ConfigError: an unknown key or a path that cannot be read, naming file and key; a broken TOML file.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not TOML: {error}", where=str(path)) from error
    return views_from(content, where=str(path), base=shipped_views())


def views_from(content: Mapping[str, Any], *, where: str, base: Views | None) -> Views:
    """Return the views that a mapping states, over those of ``base``."""
    _known(content, _TOP, where)
    systems = dict(base.systems) if base is not None else {}
    stated = content.get("systems", {})
    if not isinstance(stated, dict) or not all(isinstance(v, str) and v for v in stated.values()):
        raise ConfigError("systems is no table of URI = name", where=where, hint='"http://loinc.org" = "LOINC"')
    systems |= {uri.rstrip("/"): name for uri, name in stated.items()}
    views = dict(base.views) if base is not None and content.get("shipped", True) else {}
    own = [_view(table, f"{where}: view {i}") for i, table in enumerate(_tables(content, "view", where), start=1)]
    names = [view.resource for view in own]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two views of {twice[0]}", where=where, hint="one view with several [[view.event]]")
    return Views(views | {view.resource: view for view in own}, systems)


def _view(table: Mapping[str, Any], where: str) -> View:
    _known(table, _VIEW, where)
    resource = _string(table, "resource", where)
    if not resource:
        raise ConfigError("resource is missing", where=where, hint='resource = "Observation"')
    where = f"{where} ({resource})"
    subject = _paths(table, "subject", where)
    if not subject:
        raise ConfigError("subject is missing", where=where, hint='subject = "subject"')
    events = [
        _event(one, table, f"{where}, event {i}") for i, one in enumerate(_tables(table, "event", where), start=1)
    ]
    if not events:
        raise ConfigError("event is missing", where=where, hint="at least one [[view.event]]")
    drops, notes = (
        tuple(_finding(one, f"{where}, {key} {i}") for i, one in enumerate(_tables(table, key, where), start=1))
        for key in ("drop", "note")
    )
    return View(resource, subject[0], tuple(events), drops, notes)


def _event(table: Mapping[str, Any], view: Mapping[str, Any], where: str) -> EventView:
    _known(table, _EVENT, where)
    of_view = {key: view[key] for key in ("time", "available", "prefer") if key in view}
    merged = of_view | dict(table)
    static = _flag(table, "static", where)
    time = () if static else _paths(merged, "time", where)
    code = _paths(table, "code", where)
    prefix = _string(table, "prefix", where)
    if not static and not time:
        raise ConfigError("time is missing", where=where, hint='time = ["effectiveDateTime"], or static = true')
    if not code and not prefix:
        raise ConfigError("code is missing", where=where, hint='code = ["code"], or a prefix alone')
    fallback = table.get("fallback", "text")
    if fallback not in ("text", "none"):
        raise ConfigError(f"fallback is {fallback!r}", where=where, hint='one of: "text", "none"')
    foreach = _paths(table, "foreach", where)
    return EventView(
        prefix=prefix,
        suffix=_string(table, "suffix", where),
        code=code,
        optional=_flag(table, "optional", where) or not code,
        fallback=fallback == "text",
        prefer=_strings(merged, "prefer", where),
        time=time,
        value=_paths(table, "value", where),
        unit=_paths(table, "unit", where),
        text=_paths(table, "text", where),
        available=() if static else _paths(merged, "available", where),
        when=_when(table, where),
        foreach=foreach[0] if foreach else None,
        time_of_item="time" in table,
        available_of_item="available" in table,
    )


def _finding(table: Mapping[str, Any], where: str) -> Finding:
    _known(table, _RULE, where)
    reason = _string(table, "reason", where)
    when = _when(table, where)
    if not reason or not when.tests:
        raise ConfigError("reason or when is missing", where=where, hint="a reason in words and its tests")
    return Finding(reason, when)


def _when(table: Mapping[str, Any], where: str) -> When:
    stated = table.get("when", [])
    if not isinstance(stated, list):
        raise ConfigError("when is no list", where=where, hint='when = [{ path = "status", in = ["final"] }]')
    return When(tuple(tuple(_test(t, where) for t in (one if isinstance(one, list) else [one])) for one in stated))


def _test(table: Any, where: str) -> PathTest:
    where = f"{where}, when"
    if not isinstance(table, dict):
        raise ConfigError("a test in when is no table", where=where, hint='{ path = "status", in = ["final"] }')
    _known(table, _TEST, where)
    paths = _paths(table, "path", where)
    asked = [key for key in ("in", "not_in", "exists") if key in table]
    if len(paths) != 1 or len(asked) != 1:
        raise ConfigError("a test takes a path and one of in, not_in, exists", where=where)
    for key in ("in", "not_in"):
        if not isinstance(table.get(key, []), list):
            raise ConfigError(f"{key} is no list", where=where)
    return PathTest(
        paths[0],
        _flag(table, "exists", where) if "exists" in table else None,
        tuple(table["in"]) if "in" in table else None,
        tuple(table["not_in"]) if "not_in" in table else None,
    )


def _paths(table: Mapping[str, Any], key: str, where: str) -> tuple[FhirPath, ...]:
    try:
        return tuple(compile_path(text) for text in _strings(table, key, where))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}", where=where, hint="the subset of FHIRPath in fhir_paths") from error


def _strings(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = table.get(key, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
        raise ConfigError(f"{key} is no text or list of texts", where=where)
    return tuple(values)


def _string(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{key} is no text", where=where)
    return value


def _flag(table: Mapping[str, Any], key: str, where: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is neither true nor false", where=where)
    return value


def _tables(content: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    found = content.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ConfigError(f"{key} is no list of tables", where=where, hint=f"[[{key}]]")
    return found


def _known(table: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    unknown = sorted(str(key) for key in table if key not in allowed)
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}", where=where, hint="one of: " + ", ".join(allowed))
