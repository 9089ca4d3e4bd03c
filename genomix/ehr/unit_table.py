"""A site's own table of units, from TOML: conversions that a chemist can review beside the shipped ones.

```toml
shipped = true                       # false leaves the shipped analytes out

[[analyte]]
name = "troponin T"
pattern = "(?i)troponin[ _]t"        # a regular expression on the code; the first analyte that matches wins
target = "ng/L"                      # UCUM
low = 0                              # values outside are flagged: what no living person has, not what is normal
high = 100000
source = "decimal"
conversions = [{ unit = "ng/mL", factor = 1000 }, { unit = "ug/L", factor = 1000, offset = 0 }]

[spellings]                          # spelling in the source = UCUM
"ng/ml" = "ng/mL"
```

The site's analytes come before the shipped ones, so they also replace them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from genomix.ehr.units import DEFAULT_TABLE, SPELLINGS, Analyte, Conversion
from genomix.errors import ConfigError, InputNotFoundError

_KEYS = ("name", "pattern", "target", "low", "high", "source", "conversions")


class UnitTable(NamedTuple):
    """Analytes in the order in which they are tried, and spellings that are renamed first."""

    analytes: tuple[Analyte, ...] = DEFAULT_TABLE
    spellings: Mapping[str, str] = SPELLINGS


def read_unit_table(path: Path) -> UnitTable:
    """Read a table of units.

    Raises
    ------
    InputNotFoundError: no such file. ConfigError: broken TOML, an unknown key, or an impossible value; it names the
        analyte.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not TOML: {error}", where=str(path)) from error
    _no_unknown(content, ("shipped", "analyte", "spellings"), str(path))
    own = tuple(_analyte(a, f"{path}: analyte {i}") for i, a in enumerate(content.get("analyte", []), start=1))
    spellings = content.get("spellings", {})
    if not all(isinstance(v, str) and v for v in spellings.values()):
        raise ConfigError("a spelling leads to no unit", where=f"{path}: spellings", hint='"ng/ml" = "ng/mL"')
    return UnitTable(own + (DEFAULT_TABLE if content.get("shipped", True) else ()), {**SPELLINGS, **spellings})


def _analyte(value: Any, where: str) -> Analyte:
    if not isinstance(value, Mapping):
        raise ConfigError("an analyte is a table", where=where, hint="[[analyte]]")
    _no_unknown(value, _KEYS, where)
    missing = [k for k in ("name", "pattern", "target", "low", "high", "source") if k not in value]
    if missing:
        raise ConfigError(f"{missing[0]} is missing", where=where, hint="needed: " + ", ".join(_KEYS[:-1]))
    try:
        re.compile(str(value["pattern"]))
    except re.error as error:
        raise ConfigError(f"pattern cannot be read: {error}", where=where, hint="a regular expression") from error
    low, high = _number(value, "low", where), _number(value, "high", where)
    if low >= high:
        raise ConfigError(f"low {low:g} is not below high {high:g}", where=where)
    conversions = tuple(_conversion(c, where) for c in value.get("conversions", []))
    units = [str(value["target"]), *(c.unit for c in conversions)]
    if len(set(units)) < len(units):
        raise ConfigError("a unit is there twice", where=where, hint="one conversion a unit, none for the target")
    name, pattern, target, source = (str(value[k]) for k in ("name", "pattern", "target", "source"))
    return Analyte(name, pattern, target, conversions, low, high, source)


def _conversion(value: Any, where: str) -> Conversion:
    if not isinstance(value, Mapping) or "unit" not in value or "factor" not in value:
        raise ConfigError("a conversion needs unit and factor", where=where, hint='{ unit = "ng/mL", factor = 1000 }')
    _no_unknown(value, ("unit", "factor", "offset"), where)
    factor, offset = _number(value, "factor", where), _number(value, "offset", where, 0.0)
    if factor <= 0:
        raise ConfigError(f"factor is {factor:g}", where=where, hint="value_in_target = value * factor + offset")
    return Conversion(str(value["unit"]), factor, offset)


def _number(value: Mapping[str, Any], key: str, where: str, default: float | None = None) -> float:
    found = value.get(key, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or found != found:
        raise ConfigError(f"{key} is {found!r}, not a number", where=where)
    return float(found)


def _no_unknown(content: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    unknown = sorted(str(k) for k in content if k not in allowed)
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}", where=where, hint="one of: " + ", ".join(allowed))
