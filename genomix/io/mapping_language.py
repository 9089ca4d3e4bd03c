"""The mapping language: a TOML file that says which columns of a table become which event.

.. code-block:: toml

    subject = "subject_id"          # column of the person, for every table that names no other
    missing = ["?", "NA"]           # cells that stand for nothing
    optional = true                 # tables and lookup files that are absent are no error

    [[table]]
    file = "LABEVENTS"              # stem or glob, in any letter case: .csv, .tsv (also .gz), .parquet
    name = "labevents"              # what rules of availability call it; default: the file's stem
    dates = ["chartdate"]           # columns whose midnights are dates
    time_formats = { seen = "%d.%m.%Y" }      # columns that are not ISO 8601
    join = { file = "D_LABITEMS", on = "itemid", columns = ["label"] }        # or a list of them
    drop = { when = "{error} == '1'", why = "entered in error" }              # or a list of them
    left_out = { note = "free text is never read" }                          # columns to report as not read

    [[table.event]]
    code = "LAB//{itemid}//{valueuom}"
    description = "{label}"
    time = "charttime"              # or a list: the first that is not empty; absent: a static fact
    available = "storetime"
    value = "valuenum"
    text = "value"
    unit = "valueuom"               # or a fixed one: "'kg'"
    when = "{flag} is not empty"    # or a list: all of them
    optional = true                 # a column that the source lacks is no error

    [[availability]]
    table = "labevents"
    available = "as_stamped"

Column names are compared without regard to letter case. In ``code`` an empty column is written ``UNK``, and a code all
of whose columns are empty is no event; a list of parts is joined with ``//``. A time can also be
``{ year = "anchor_year", minus = "anchor_age" }`` or, for sources that count from an origin,
``offset = { column = "labresultoffset", unit = "minutes", from = "{dischargeyear}-01-01 {admittime}" }``;
``available`` takes the same forms. An order of rows (first stay, second stay) is no time, and there is no key for it.

A wide table has ``[table.columns]`` in place of events: each column of ``numeric`` becomes a code ``COLUMN`` with a
value, each of ``categorical`` a code ``COLUMN//value``; ``others`` says what every other column is (``"numeric"``,
``"categorical"``, or ``"leave"``, the default); ``skip``, ``units``, ``prefix``, ``time``, ``offset`` and ``available``
are optional.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping as Keys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from genomix.errors import ConfigError, InputNotFoundError
from genomix.io.availability import ACTIONS, AvailabilityRule
from genomix.io.mapping_values import Condition, Template, TimeSpec, condition, template, time_spec

OTHERS = ("leave", "numeric", "categorical")
_TOP = ("subject", "missing", "optional", "table", "availability", "left_out")
_TABLE = (
    "file", "name", "subject", "join", "event", "columns", "dates", "time_formats", "missing", "optional", "drop",
    "left_out",
)  # fmt: skip
_EVENT = ("code", "description", "time", "offset", "available", "value", "text", "unit", "when", "optional")
_COLUMNS = ("numeric", "categorical", "others", "skip", "units", "prefix", "time", "offset", "available")
_JOIN = ("file", "on", "key", "columns", "prefix", "optional")


class Join(NamedTuple):
    """Columns of a lookup file, found by a key; where a key repeats, the first value that is not empty counts."""

    file: str
    on: tuple[str, ...]
    key: tuple[str, ...]
    columns: tuple[str, ...]
    prefix: str
    optional: bool


class Drop(NamedTuple):
    """Rows that are not facts, and why."""

    when: Condition
    why: str


@dataclass(frozen=True)
class Event:
    """One event of a row. ``code_text`` is the template as written, for messages."""

    code: Template
    code_text: str
    description: Template | None = None
    time: TimeSpec | None = None
    available: TimeSpec | None = None
    value: str | None = None
    text: str | None = None
    unit: str | None = None
    when: tuple[Condition, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class WideColumns:
    """How the columns of a wide table become events."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    others: str
    skip: tuple[str, ...]
    units: Keys[str, str]
    prefix: str
    time: TimeSpec | None
    available: TimeSpec | None


@dataclass(frozen=True)
class Table:
    """One table of a mapping."""

    file: str
    name: str | None
    subject: str
    joins: tuple[Join, ...]
    events: tuple[Event, ...]
    columns: WideColumns | None
    dates: tuple[str, ...]
    time_formats: Keys[str, str]
    missing: tuple[str, ...]
    optional: bool
    drops: tuple[Drop, ...]
    left_out: Keys[str, str]


@dataclass(frozen=True)
class RecordMapping:
    """A whole mapping. ``left_out``: glob of files → why they are not read. ``where``: its file, for messages."""

    tables: tuple[Table, ...]
    rules: tuple[AvailabilityRule, ...]
    left_out: Keys[str, str]
    where: str


def read_mapping(path: Path) -> RecordMapping:
    """Read a mapping file.

    Raises
    ------
    InputNotFoundError: no such file. ConfigError: not TOML, an unknown key, or a value that cannot be.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8 text", where=str(path)) from error
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    return parse_mapping(text, where=str(path))


def parse_mapping(text: str, *, where: str) -> RecordMapping:
    """Return the mapping that TOML text states; ``where`` names it in messages. Raises as :func:`read_mapping` does."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the mapping is not TOML: {error}", where=where) from error
    _known(content, _TOP, where)
    tables = _list(content, "table", where)
    if not tables:
        raise ConfigError("the mapping names no table", where=where, hint="add a [[table]]")
    found = tuple(_table(one, content, f"{where}: table {i}") for i, one in enumerate(tables, start=1))
    rules = tuple(
        _rule(one, f"{where}: availability {i}") for i, one in enumerate(_list(content, "availability", where), start=1)
    )
    return RecordMapping(found, rules, _why(content, where), where)


def _table(raw: Keys[str, Any], top: Keys[str, Any], where: str) -> Table:
    _known(raw, _TABLE, where)
    subject = raw.get("subject", top.get("subject"))
    if not isinstance(subject, str):
        raise ConfigError("no column holds the person", where=where, hint='subject = "subject_id"')
    default = _flag(top, "optional", False, where)
    optional = _flag(raw, "optional", default, where)
    events = tuple(_event(e, f"{where}, event {i}") for i, e in enumerate(_list(raw, "event", where), start=1))
    wide = _wide(raw["columns"], f"{where}, columns") if "columns" in raw else None
    if bool(events) == (wide is not None):
        raise ConfigError("a table has either events or columns", where=where, hint="[[table.event]] for a long table")
    formats = _texts(raw, "time_formats", where)
    for column, pattern in formats.items():
        if "%y" in pattern:
            raise ConfigError(f"two-digit years of {column!r} name no century", where=where, hint="%Y")
    return Table(
        _text(raw, "file", where) or "*", _text(raw, "name", where), subject.strip().lower(),
        tuple(_join(j, default, f"{where}, join {i}") for i, j in enumerate(_list(raw, "join", where), start=1)),
        events, wide, _names(raw, "dates", where), formats,
        _words(raw if "missing" in raw else top, "missing", where), optional,
        tuple(_drop(d, f"{where}, drop {i}") for i, d in enumerate(_list(raw, "drop", where), start=1)),
        _texts(raw, "left_out", where),
    )  # fmt: skip


def _join(raw: Keys[str, Any], optional: bool, where: str) -> Join:
    _known(raw, _JOIN, where)
    file, on, columns = _text(raw, "file", where), _names(raw, "on", where), _names(raw, "columns", where)
    if not (file and on and columns):
        raise ConfigError("a join needs file, on and columns", where=where)
    key = _names(raw, "key", where) or on
    if len(key) != len(on):
        raise ConfigError(f"key has {len(key)} columns, on has {len(on)}", where=where)
    return Join(file, on, key, columns, _text(raw, "prefix", where) or "", _flag(raw, "optional", optional, where))


def _drop(raw: Keys[str, Any], where: str) -> Drop:
    _known(raw, ("when", "why"), where)
    when, why = _text(raw, "when", where), _text(raw, "why", where)
    if not (when and why):
        raise ConfigError("rows are dropped under a condition and a reason", where=where, hint="when and why")
    return Drop(condition(when, where), why)


def _event(raw: Keys[str, Any], where: str) -> Event:
    _known(raw, _EVENT, where)
    code = "//".join(_words(raw, "code", where))
    if not code:
        raise ConfigError("an event needs a code", where=where, hint='code = "LAB//{itemid}"')
    described = _text(raw, "description", where)
    value, text = (_lower(_text(raw, name, where)) for name in ("value", "text"))
    return Event(
        template(code, where), code, template(described, where) if described else None,
        _time(raw, where), _available(raw, where), value, text, _unit(raw, where),
        tuple(condition(one, where) for one in _words(raw, "when", where)), _flag(raw, "optional", False, where),
    )  # fmt: skip


def _wide(raw: Any, where: str) -> WideColumns:
    if not isinstance(raw, dict):
        raise ConfigError("columns is not a table", where=where, hint="[table.columns]")
    _known(raw, _COLUMNS, where)
    others = raw.get("others", "leave")
    if others not in OTHERS:
        raise ConfigError(f"others is {others!r}", where=where, hint="one of: " + ", ".join(OTHERS))
    numeric, categorical = _names(raw, "numeric", where), _names(raw, "categorical", where)
    both = sorted(set(numeric) & set(categorical))
    if both:
        raise ConfigError(f"column {both[0]!r} is both numeric and categorical", where=where)
    if not (numeric or categorical) and others == "leave":
        raise ConfigError("no column is read", where=where, hint='numeric = [...], categorical = [...] or others = "…"')
    return WideColumns(
        numeric, categorical, others, _names(raw, "skip", where), _texts(raw, "units", where),
        _text(raw, "prefix", where) or "", _time(raw, where), _available(raw, where),
    )  # fmt: skip


def _rule(raw: Keys[str, Any], where: str) -> AvailabilityRule:
    _known(raw, ("table", "prefix", "available", "why"), where)
    action, table, prefix = raw.get("available"), _text(raw, "table", where), _text(raw, "prefix", where) or ""
    if action not in ACTIONS:
        raise ConfigError(f"available is {action!r}", where=where, hint="one of: " + ", ".join(ACTIONS))
    if table is None and not prefix:
        raise ConfigError("a rule needs a table or a prefix", where=where, hint='table = "labevents"')
    return AvailabilityRule(prefix, action, _text(raw, "why", where) or "", table)


def _time(raw: Keys[str, Any], where: str) -> TimeSpec | None:
    if "time" in raw and "offset" in raw:
        raise ConfigError("an event has a time or an offset, not both", where=where)
    if "offset" in raw:
        return time_spec({"offset": raw["offset"]}, "offset", where)
    return time_spec(raw["time"], "time", where) if "time" in raw else None


def _available(raw: Keys[str, Any], where: str) -> TimeSpec | None:
    return time_spec(raw["available"], "available", where) if "available" in raw else None


def _unit(raw: Keys[str, Any], where: str) -> str | None:
    """Return a column in lower case, or a fixed unit in its quotes as written."""
    unit = _text(raw, "unit", where)
    return unit if unit is None or unit.startswith("'") else unit.strip().lower()


def _known(content: Keys[str, Any], allowed: Sequence[str], where: str) -> None:
    unknown = sorted(str(k) for k in content if k not in allowed)
    if unknown:
        hint = "one of: " + ", ".join(allowed)
        if unknown[0] in ("order", "synthetic_time"):
            hint = "an order of rows is not a time: rows without a date are static facts"
        raise ConfigError(f"unknown key {unknown[0]!r}", where=where, hint=hint)


def _why(content: Keys[str, Any], where: str) -> dict[str, str]:
    found = {}
    for i, one in enumerate(_list(content, "left_out", where), start=1):
        inside = f"{where}: left_out {i}"
        _known(one, ("file", "why"), inside)
        file, why = _text(one, "file", inside), _text(one, "why", inside)
        if not (file and why):
            raise ConfigError("a file is left out by name and reason", where=inside, hint="file and why")
        found[file] = why
    return found


def _list(content: Keys[str, Any], key: str, where: str) -> list[Keys[str, Any]]:
    """Return a list of tables; one table alone is a list of one."""
    value = content.get(key, [])
    found = [value] if isinstance(value, dict) else value
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ConfigError(f"{key} is not a list of tables", where=where, hint=f"[[{key}]]")
    return found


def _text(content: Keys[str, Any], key: str, where: str) -> str | None:
    value = content.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ConfigError(f"{key} is {value!r}", where=where, hint="text in quotes")
    return value


def _lower(text: str | None) -> str | None:
    return None if text is None else text.strip().lower()


def _flag(content: Keys[str, Any], key: str, default: bool, where: str) -> bool:
    value = content.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is {value!r}", where=where, hint="true or false")
    return value


def _words(content: Keys[str, Any], key: str, where: str) -> tuple[str, ...]:
    """Return a list of text; one text alone is a list of one."""
    value = content.get(key, [])
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ConfigError(f"{key} is {value!r}", where=where, hint="text, or a list of it")
    return tuple(found)


def _names(content: Keys[str, Any], key: str, where: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in _words(content, key, where))


def _texts(content: Keys[str, Any], key: str, where: str) -> dict[str, str]:
    value = content.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ConfigError(f"{key} is {value!r}", where=where, hint=f'{key} = {{ column = "text" }}')
    return {name.strip().lower(): one for name, one in value.items()}
