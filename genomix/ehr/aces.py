"""The ACES task language (https://doi.org/10.48550/arXiv.2406.19653), read from YAML, plus a ``genomix:`` mapping.

What a file may hold:

``predicates``: ``name: {code: CODE | {regex: R} | {any: [CODE, ...]}, value_min, value_max, value_min_inclusive,
value_max_inclusive, other_cols: {column: value}}`` or ``name: {expr: and(a, b) | or(a, b)}``. A plain predicate counts
records, ``expr`` and ``_ANY_EVENT`` count distinct times. Value bounds are exclusive unless said otherwise. The other
columns that exist are text_value and unit. ``patient_demographics``: plain predicates on static records, all of which
a person must have.

``trigger``: a predicate; every distinct time at which it holds is one realisation.

``windows``: ``name: {start, end, start_inclusive, end_inclusive, has: {predicate: (min, max)}, label,
index_timestamp}``. One end refers to ``trigger`` or to ``WINDOW.start``/``WINDOW.end``, the other to this window's own
``start`` or ``end``, or is null (begin or end of the record). A reference may be followed by ``+ 24h``, ``- 30d``,
``-> predicate`` (the next event) or ``<- predicate`` (the one before). Counts in ``has`` are inclusive.

A search from the window's own other end may stop at the very time it starts from only when both ends are inclusive;
otherwise it goes strictly on. (The published specification says so; version 0.7 of the reference program lets a
search with ``start_inclusive: false`` stop where it starts.) A search outside the window always goes strictly on. A
search that finds nothing, and a window that would end before it starts, makes the realisation invalid.

``genomix``: what ACES leaves open.

* ``censoring`` (mandatory with a label): when the record ends before the label window does and no outcome was seen:
  ``drop`` the row, count it as ``negative``, or keep it as ``censored`` with a null value. ACES keeps such rows as
  negatives without saying so.
* ``prediction_time``: ``inclusive`` (default) or ``exclusive``: whether records at that very time may be features.
* ``competing``: a predicate that makes the outcome impossible; ``washout``: no outcome in this long before the
  prediction (a duration, or ``all``); ``minimum_age_years``, ``maximum_age_years`` at prediction;
  ``minimum_history``: a duration by which the first record (not the birth) precedes the prediction.
* ``index``: ``any`` (default) row of a person, the ``first`` or one at ``random`` (with ``seed``).
* ``unit``: what one realisation is called in the cohort flow: rows (default), admissions or people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from genomix.ehr.durations import parse_duration
from genomix.ehr.task import (
    RECORD_END,
    RECORD_START,
    SPECIAL,
    Boundary,
    DerivedPredicate,
    PlainPredicate,
    Policies,
    Predicate,
    Task,
    Window,
)  # fmt: skip
from genomix.errors import ConfigError, InputNotFoundError

TOP_KEYS = ("predicates", "patient_demographics", "trigger", "windows", "genomix", "description", "metadata")
PLAIN_KEYS = ("code", "value_min", "value_max", "value_min_inclusive", "value_max_inclusive", "other_cols")
WINDOW_KEYS = ("start", "end", "start_inclusive", "end_inclusive", "has", "label", "index_timestamp")
POLICY_KEYS = (
    "censoring", "prediction_time", "competing", "washout", "minimum_age_years", "maximum_age_years", "index", "seed",
    "minimum_history", "unit",
)  # fmt: skip
OTHER_COLUMNS = ("text_value", "unit")
_NAME = re.compile(r"\w+$")


def read_task(path: Path) -> Task:
    """Read a task file.

    Raises
    ------
    ConfigError: an unknown key, predicate or window, or an impossible value; it names file, key and what is allowed.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8 text", where=str(path)) from error
    return parse_task(text, where=str(path))


def parse_task(text: str, *, where: str = "task") -> Task:
    """Parse the text of a task file, see :func:`read_task`."""
    import yaml

    try:
        content = yaml.load(text, Loader=_unique_key_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark is not None else where
        raise ConfigError(f"not YAML: {getattr(error, 'problem', None) or error}", where=line) from error
    top = _mapping(content, where, TOP_KEYS)
    predicates = _predicates(top, where)
    demographics = tuple(_mapping(top.get("patient_demographics") or {}, f"{where}: patient_demographics"))
    trigger = top.get("trigger")
    if isinstance(trigger, Mapping):
        trigger = _mapping(trigger, f"{where}: trigger", ("predicate",)).get("predicate")
    if not isinstance(trigger, str):
        raise ConfigError("trigger is missing", where=where, hint="trigger: a predicate")
    _known(trigger, predicates, f"{where}: trigger", special=True)
    raw = _mapping(top.get("windows") or {}, f"{where}: windows")
    windows = {name: _window(name, value, predicates, f"{where}: windows.{name}") for name, value in raw.items()}
    order = _order(windows, where)
    policies = _policies(top.get("genomix") or {}, predicates, f"{where}: genomix")
    task = Task(
        predicates, trigger, windows, order, policies, where, demographics, str(top.get("description") or "")
    )  # fmt: skip
    _check_whole(task)
    return task


def _unique_key_loader() -> Any:
    """A safe loader that refuses a key given twice (YAML's own takes the last one silently)."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(k, deep=True) for k, _ in node.value]
            for i, key in enumerate(keys):
                if key in keys[:i]:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} is given twice", node.value[i][0].start_mark
                    )
            return super().construct_mapping(node, deep)

    return Loader


def _mapping(value: Any, where: str, allowed: Iterable[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"a mapping is needed, not {type(value).__name__}", where=where)
    for key in value:
        if allowed is not None and key not in tuple(allowed):
            raise ConfigError(f"unknown key {key!r}", where=where, hint="one of: " + ", ".join(allowed))
        if not isinstance(key, str) or not _NAME.match(key):
            raise ConfigError(f"{key!r} is not a name", where=where, hint="letters, digits and _")
    return dict(value)


def _known(name: str, predicates: Mapping[str, Predicate], where: str, *, special: bool = False) -> str:
    allowed = [*predicates, *(SPECIAL if special else ())]
    if name not in allowed:
        raise ConfigError(f"unknown predicate {name!r}", where=where, hint="one of: " + ", ".join(allowed))
    return name


def _predicates(top: Mapping[str, Any], where: str) -> dict[str, Predicate]:
    found: dict[str, Predicate] = {}
    for section, static in (("predicates", False), ("patient_demographics", True)):
        for name, value in _mapping(top.get(section) or {}, f"{where}: {section}").items():
            place = f"{where}: {section}.{name}"
            if name in found or name in (*SPECIAL, "trigger", "start", "end"):
                raise ConfigError(f"the name {name!r} is taken", where=place)
            if isinstance(value, Mapping) and "expr" in value and not static:
                found[name] = _derived(name, _mapping(value, place, ("expr",))["expr"], place)
            else:
                found[name] = _plain(name, _mapping(value, place, PLAIN_KEYS), place, static)
    for name, predicate in found.items():
        if isinstance(predicate, DerivedPredicate):
            for part in predicate.inputs:
                _known(part, found, f"{where}: predicates.{name}")
            _no_cycle(name, found, f"{where}: predicates.{name}")
    return found


def _no_cycle(name: str, predicates: Mapping[str, Predicate], where: str) -> None:
    seen, stack = set[str](), [name]
    while stack:
        predicate = predicates.get(stack.pop())
        for part in predicate.inputs if isinstance(predicate, DerivedPredicate) else ():
            if part == name:
                raise ConfigError(f"{name!r} is defined by itself", where=where)
            if part not in seen:
                seen.add(part)
                stack.append(part)


def _derived(name: str, expression: Any, where: str) -> DerivedPredicate:
    match = re.fullmatch(r"\s*(and|or)\s*\(([^()]*)\)\s*", str(expression))
    parts = tuple(p.strip() for p in match.group(2).split(",")) if match else ()
    if match is None or len(parts) < 2 or not all(parts):
        raise ConfigError(f"expr is {expression!r}", where=where, hint="and(a, b, ...) or or(a, b, ...), not nested")
    return DerivedPredicate(name, cast(Literal["and", "or"], match.group(1)), parts)


def _plain(name: str, value: Mapping[str, Any], where: str, static: bool) -> PlainPredicate:
    code = value.get("code")
    codes: tuple[str, ...] = ()
    regex: str | None = None
    if isinstance(code, Mapping):
        if len(code) != 1 or next(iter(code)) not in ("regex", "any"):
            raise ConfigError(f"code is {dict(code)}", where=where, hint="{regex: ...} or {any: [...]}")
        if "regex" in code:
            regex = _regex(code["regex"], where)
        elif isinstance(code["any"], list) and code["any"]:
            codes = tuple(str(c) for c in code["any"])
        else:
            raise ConfigError("any needs a list of codes", where=where)
    elif isinstance(code, str) and code:
        codes = (code,)
    else:
        raise ConfigError("code is missing", where=where, hint="code: CODE, {regex: ...} or {any: [...]}; or expr: ...")
    other = _mapping(value.get("other_cols") or {}, f"{where}: other_cols", OTHER_COLUMNS)
    return PlainPredicate(
        name, codes, regex, _number(value.get("value_min"), "value_min", where),
        _number(value.get("value_max"), "value_max", where), _flag(value, "value_min_inclusive", where, False),
        _flag(value, "value_max_inclusive", where, False), tuple((k, str(v)) for k, v in other.items()), static,
    )  # fmt: skip


def _regex(pattern: Any, where: str) -> str:
    import polars as pl

    if not isinstance(pattern, str) or not pattern:
        raise ConfigError("regex needs a pattern", where=where)
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        raise ConfigError(f"regex {pattern!r} cannot be read", where=where, hint="Rust's regex syntax") from error
    return pattern


def _number(value: Any, key: str, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ConfigError(f"{key} is {value!r}, not a number", where=where)
    return float(value)


def _flag(value: Mapping[str, Any], key: str, where: str, default: bool | None) -> bool:
    found = value.get(key, default)
    if found is None and key in value:
        found = default
    if not isinstance(found, bool):
        raise ConfigError(f"{key} is missing or not true/false", where=where, hint=f"{key}: true")
    return found


def _window(name: str, value: Any, predicates: Mapping[str, Predicate], where: str) -> Window:
    found = _mapping(value, where, WINDOW_KEYS)
    if name in predicates or name in (*SPECIAL, "trigger", "start", "end"):
        raise ConfigError(f"the name {name!r} is taken", where=where)
    if found.get("start") is None and found.get("end") is None:
        raise ConfigError("start and end are both null", where=where, hint="one end must refer to the trigger")
    start = _boundary(found.get("start"), "start", predicates, where)
    end = _boundary(found.get("end"), "end", predicates, where)
    if (start.reference == "end") == (end.reference == "start"):
        raise ConfigError(
            "exactly one of start and end must refer to the other", where=where,
            hint="for example start: trigger, end: start + 24h",
        )  # fmt: skip
    root: Literal["start", "end"] = "end" if start.reference == "end" else "start"
    inner = start if root == "end" else end
    if (inner.offset or inner.direction) * (1 if root == "start" else -1) < 0:
        raise ConfigError("the window would end before it starts", where=where)
    label = found.get("label")
    if label is not None:
        _known(str(label), predicates, f"{where}: label")
    stamp = found.get("index_timestamp")
    if stamp not in (None, "start", "end"):
        raise ConfigError(f"index_timestamp is {stamp!r}", where=where, hint="start or end")
    return Window(
        name, start, end, _flag(found, "start_inclusive", where, None), _flag(found, "end_inclusive", where, None),
        root, _constraints(found.get("has") or {}, predicates, f"{where}: has"),
        str(label) if label is not None else None,
        cast(Literal["start", "end"] | None, stamp),
    )  # fmt: skip


def _boundary(text: Any, side: str, predicates: Mapping[str, Predicate], where: str) -> Boundary:
    place = f"{where}.{side}"
    if text is None:
        return Boundary("end", 0, RECORD_START, -1) if side == "start" else Boundary("start", 0, RECORD_END, 1)
    if not isinstance(text, str):
        raise ConfigError(f"{side} is {text!r}", where=place, hint="for example trigger + 24h")
    match = re.fullmatch(r"\s*(\w+(?:\.(?:start|end))?)\s*(?:(->|<-|\+|-)\s*(\S.*?))?\s*", text)
    if match is None:
        raise ConfigError(
            f"{side} is {text!r}", where=place,
            hint="REFERENCE, REFERENCE + 24h, REFERENCE - 30d, REFERENCE -> predicate or REFERENCE <- predicate",
        )  # fmt: skip
    reference, operator, rest = match.groups()
    if reference == side:
        raise ConfigError(f"{side} refers to itself", where=place)
    if operator is None:
        return Boundary(reference)
    if operator in ("->", "<-"):
        _known(rest, predicates, place, special=True)
        return Boundary(reference, 0, rest, 1 if operator == "->" else -1)
    try:
        return Boundary(reference, parse_duration(rest) * (1 if operator == "+" else -1))
    except ValueError as error:
        raise ConfigError(str(error), where=place) from error


def _constraints(
    value: Any, predicates: Mapping[str, Predicate], where: str
) -> tuple[tuple[str, int | None, int | None], ...]:
    found = []
    for name, bounds in _mapping(value, where).items():
        _known(name, predicates, where, special=True)
        parts = bounds if isinstance(bounds, list) else str(bounds).strip().strip("()").split(",")
        try:
            least, most = (None if str(p).strip() in ("None", "null", "") else int(str(p)) for p in parts)
        except ValueError as error:
            raise ConfigError(
                f"{name} is {bounds!r}", where=where, hint="(min, max); None leaves an end open"
            ) from error
        if (least is None and most is None) or (least is not None and most is not None and most < least):
            raise ConfigError(f"{name}: {bounds!r} bounds nothing", where=where, hint="(1, None) or (None, 0)")
        found.append((name, least, most))
    return tuple(found)


def _order(windows: Mapping[str, Window], where: str) -> tuple[str, ...]:
    """Order windows so that each refers to the trigger or to an earlier one."""
    waiting = {name: window.root_boundary.reference.split(".")[0] for name, window in windows.items()}
    for name, target in waiting.items():
        if target != "trigger" and target not in windows:
            allowed = ["trigger", *(f"{n}.{side}" for n in windows if n != name for side in ("start", "end"))]
            raise ConfigError(
                f"unknown window {target!r}", where=f"{where}: windows.{name}", hint="one of: " + ", ".join(allowed)
            )
        if target != "trigger" and "." not in windows[name].root_boundary.reference:
            raise ConfigError(
                f"say which end of {target!r}", where=f"{where}: windows.{name}", hint=f"{target}.start or {target}.end"
            )
    order: list[str] = []
    while waiting:
        ready = [name for name, target in waiting.items() if target == "trigger" or target in order]
        if not ready:
            raise ConfigError(f"windows refer to each other in a circle: {', '.join(waiting)}", where=where)
        order.extend(ready)
        waiting = {name: target for name, target in waiting.items() if name not in ready}
    return tuple(order)


def _policies(value: Any, predicates: Mapping[str, Predicate], where: str) -> Policies:
    found = _mapping(value, where, POLICY_KEYS)

    def choice(key: str, allowed: tuple[str, ...], default: Any) -> Any:
        if found.get(key, default) not in (*allowed, default):
            raise ConfigError(f"{key} is {found[key]!r}", where=where, hint="one of: " + ", ".join(allowed))
        return found.get(key, default)

    def duration(key: str) -> int | None:
        try:
            return parse_duration(str(found[key])) if found.get(key) is not None else None
        except ValueError as error:
            raise ConfigError(f"{key}: {error}", where=where) from error

    competing = found.get("competing")
    seed = found.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed is {seed!r}", where=where, hint="a whole number from 0")
    return Policies(
        choice("censoring", ("drop", "negative", "censored"), None),
        choice("prediction_time", ("inclusive", "exclusive"), "inclusive"),
        _known(str(competing), predicates, f"{where}: competing") if competing is not None else None,
        "all" if found.get("washout") == "all" else duration("washout"),
        _number(found.get("minimum_age_years"), "minimum_age_years", where),
        _number(found.get("maximum_age_years"), "maximum_age_years", where),
        choice("index", ("first", "any", "random"), "any"),
        seed,
        duration("minimum_history"),
        choice("unit", ("people", "admissions", "rows"), "rows"),
    )


def _check_whole(task: Task) -> None:
    """Check what a study needs beyond ACES: one label, one prediction time, a stated censoring policy."""
    labels = [w.name for w in task.windows.values() if w.label is not None]
    stamps = [w.name for w in task.windows.values() if w.index_timestamp is not None]
    for key, names in (("label", labels), ("index_timestamp", stamps)):
        if len(names) != 1:
            found = f"{len(names)} windows have it" + (f": {', '.join(names)}" if names else "")
            raise ConfigError(f"exactly one window needs {key}; {found}", where=f"{task.where}: windows")
    if task.policies.censoring is None:
        raise ConfigError(
            "censoring is missing: what happens to rows whose record ends before the label window does?",
            where=f"{task.where}: genomix", hint="censoring: drop, negative or censored",
        )  # fmt: skip
    for name in (task.trigger, task.label_window.label, task.policies.competing):
        predicate = task.predicates.get(name or "")
        if isinstance(predicate, PlainPredicate) and predicate.static:
            raise ConfigError(f"{name!r} is static: it has no time", where=task.where)
