"""Codes and values of FHIR data types: CodeableConcept, Coding, Quantity, Ratio, Range and the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

UCUM = "http://unitsofmeasure.org"
NO_SYSTEM = "LOCAL"


class Coded(NamedTuple):
    """A code with its vocabulary, and what it means; None where nothing is stated."""

    code: str | None
    description: str | None


NOTHING_CODED = Coded(None, None)


def vocabulary(system: Any, systems: Mapping[str, str]) -> str:
    """Return a code system's short name: of the table, else the last part of its URI.

    >>> vocabulary("http://loinc.org", {"http://loinc.org": "LOINC"}), vocabulary("http://lab.org/codes/own", {})
    ('LOINC', 'own')
    """
    if not isinstance(system, str) or not system.strip():
        return NO_SYSTEM
    uri = system.strip().split("|")[0].rstrip("/")
    return systems.get(uri) or re.split(r"[/:#]", uri)[-1] or NO_SYSTEM


def coded(value: Any, systems: Mapping[str, str], prefer: tuple[str, ...] = (), fallback: bool = True) -> Coded:
    """Return the code of a CodeableConcept, Coding, Reference or word.

    Of several codings the first of the most preferred vocabulary counts, else the one that a person chose, else the
    first. Without a coding the text counts as ``TEXT//...`` where ``fallback`` allows it.
    """
    if isinstance(value, str):
        return Coded(value.strip() or None, None)
    if not isinstance(value, dict):
        return NOTHING_CODED
    stated = value.get("coding") if "coding" in value else [value]
    best: tuple[int, str, Any] | None = None
    for coding in stated if isinstance(stated, list) else [stated]:
        if not isinstance(coding, dict):
            continue
        code = _words(coding.get("code"))
        if code is None:
            continue
        name = vocabulary(coding.get("system"), systems)
        rank = prefer.index(name) if name in prefer else len(prefer) + (coding.get("userSelected") is not True)
        if best is None or rank < best[0]:
            best = (rank, f"{name}//{code}", coding.get("display"))
    text = _words(value.get("text"))
    if best is not None:
        return Coded(best[1], _words(best[2]) or text)
    text = text or _words(value.get("display"))
    return Coded(f"TEXT//{text}", text) if fallback and text else NOTHING_CODED


class Measured(NamedTuple):
    """A value as number with unit, or as text; ``limit``: it has a comparator; ``unread``: its type is not read."""

    number: float | None = None
    text: str | None = None
    unit: str | None = None
    limit: bool = False
    unread: bool = False


NOTHING = Measured()


def measured(value: Any) -> Measured:
    """Return a value of any FHIR type as number or text.

    >>> measured({"value": 5, "comparator": "<", "unit": "mg per dL", "system": UCUM, "code": "mg/dL"})
    Measured(number=5.0, text='<', unit='mg/dL', limit=True, unread=False)
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return Measured(text="true" if value else "false")
    if isinstance(value, int | float):
        return Measured(number=_number(value))
    if isinstance(value, str):
        return Measured(text=value.strip() or None)
    if not isinstance(value, dict):
        return Measured(unread=True)
    return _of_type(value)


def _of_type(value: dict[str, Any]) -> Measured:
    if "numerator" in value or "denominator" in value:
        return Measured(text=_join(value.get("numerator"), ":", value.get("denominator")))
    if "coding" in value or ("text" in value and "value" not in value):
        codings = value.get("coding")
        named = [c for c in codings if isinstance(c, dict)] if isinstance(codings, list) else []
        words = [_words(c.get("display")) for c in named] + [_words(value.get("text"))]
        words += [_words(c.get("code")) for c in named]
        return Measured(text=next((w for w in words if w), None))
    if "low" in value or "high" in value:
        return Measured(text=_join(value.get("low"), " to ", value.get("high")))
    if "start" in value or "end" in value:
        return Measured(text=f"{value.get('start', '')} to {value.get('end', '')}".strip())
    if "value" in value or "comparator" in value or "unit" in value or value.get("system") == UCUM:
        return _quantity(value)
    if "code" in value:
        return Measured(text=_words(value.get("display")) or _words(value.get("code")))
    return Measured(unread=bool(value.keys() - {"extension", "id"}))


def _quantity(value: dict[str, Any]) -> Measured:
    number = _number(value.get("value"))
    code, unit = _words(value.get("code")), _words(value.get("unit"))
    known = code if value.get("system") == UCUM and code else unit or code
    limit = _words(value.get("comparator"))
    if number is None:
        return NOTHING
    return Measured(number, limit, known, limit is not None)


def _join(left: Any, between: str, right: Any) -> str | None:
    sides = [measured(side) if isinstance(side, dict) else NOTHING for side in (left, right)]
    if all(side.number is None for side in sides):
        return None
    unit = sides[1].unit or sides[0].unit
    words = between.join("" if s.number is None else f"{s.text or ''}{s.number:.15g}" for s in sides)
    return f"{words} {unit}" if unit and unit != "1" else words


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _words(value: Any) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None
