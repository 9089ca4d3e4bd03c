"""A first mapping for a table that nobody has described: guessed from names and from the first rows, to be reviewed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from genomix.errors import InputNotFoundError
from genomix.io.mapped_tables import stem_of
from genomix.io.record_rows import moment, number, table_parts, text_or_null

ROWS = 1000
_MARKS = ("?", "NA", "N/A", "na", "NaN", "nan", "NULL", "null", ".", "-")
_FORMATS = ("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%Y/%m/%d")
_SUBJECT = (r"^subject_?id$", r"^(patient|person|participant)_?(id|nbr|no|num|number)$", r"^(mrn|eid|pid|ptid)$",
            r"^(subject|patient|person)$", r"patient|subject|person", r"^id$", r"_?id$")  # fmt: skip
_STAY = r"encounter|stay|visit|admission|hadm|episode"
_STORED = r"store|result_?(time|date)|report|verified|issued|released|available|updated|entered"
_LATER = r"end|stop|out|disch|birth|dob|death|dod"
_CODE = (r"^code$", r"_?code$", r"item_?id$", r"concept", r"^(test|lab|analyte|drug|measure|parameter|variable)",
         r"(test|lab|drug|medication)_?name$", r"^(item|name|label|type|event)$")  # fmt: skip
_VALUE = (r"^value_?num", r"^num(eric)?_?value$", r"^value$", r"^result$", r"value_as_number", r"value|result")
_UNIT = (r"uom$", r"^units?$", r"unit")
_NO_CATEGORY = 50


class _Column(NamedTuple):
    name: str
    filled: int
    distinct: int
    numeric: bool
    time: bool
    format: str | None


def propose_mapping(path: Path) -> str:
    """Return a commented mapping (TOML) for a table, or for every table of a folder.

    Parameters
    ----------
    path: CSV, TSV or Parquet; only its header and its first 1,000 rows are looked at.

    Raises
    ------
    InputNotFoundError: no table is there. FormatError: a table cannot be read.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and stem_of(p))
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise InputNotFoundError("no CSV, TSV or Parquet table", where=str(path))
    head = [
        f"# A proposal from the header and the first {ROWS:,} rows: check every line before it is used.",
        "# Times decide what a prediction may know. Where a result becomes known later than its time, name the",
        "# column that says so as `available`, or add [[availability]] rules.",
    ]
    return "\n".join(head) + "\n" + "".join(_table(file) for file in files)


def _table(path: Path) -> str:
    part = next(iter(table_parts(path, rows=ROWS)))
    frame = part.frame
    texts = frame.select(pl.all().str.strip_chars())
    marks = [m for m in _MARKS if texts.select(pl.any_horizontal(pl.all() == m).any()).item()] if frame.width else []
    columns = [_look(texts, name, marks) for name in frame.columns]
    lines = ["", "[[table]]", f"file = {_quoted(stem_of(path))}"]
    if not any(c.filled for c in columns):
        return "\n".join(["", "# a table without rows: nothing can be guessed", *_off(lines), ""])
    if marks:
        lines.append(f"missing = {_list(marks)}")
    subject, why = _subject(columns, frame.height)
    lines.append(f"subject = {_quoted(subject)}{'  # ' + why if why else ''}")
    times = [c for c in columns if c.time]
    stored = _first([c for c in times if not re.search(_LATER, c.name)], (_STORED,), set())
    occurred = [c for c in times if c is not stored]
    time = _first(occurred, (rf"^(?!.*({_LATER})).*(time|date)", rf"^(?!.*({_LATER}))", r""), set())
    formats = {c.name: c.format for c in (time, stored) if c is not None and c.format is not None}
    if formats:
        inside = ", ".join(f"{_quoted(n)} = {_quoted(f)}" for n, f in formats.items())
        lines.append(f"time_formats = {{ {inside} }}  # day or month first? check")
    taken = {subject} | {c.name for c in times}
    code = _first(columns, _CODE, taken)
    value = _first([c for c in columns if c.numeric], _VALUE, taken | ({code.name} if code else set()))
    stamp = [f"time = {_quoted(time.name)}"] if time else ["# no column holds times: every row is a static fact"]
    stamp += [f"available = {_quoted(stored.name)}"] if stored and time else []
    others = [c.name for c in occurred if c is not time]
    stamp += [f"# other times: {', '.join(others)}"] if others else []
    if code is not None and (time is not None or value is not None) and _is_long(columns, code, value):
        lines += _long(path, columns, code, value, taken, stamp)
    else:
        lines += _wide(columns, taken, stamp, frame.height)
        if "numeric = []" in lines and "categorical = []" in lines:
            lines = ["", "# no column of this table looks like a fact; it may be a lookup table", *_off(lines)]
    return "\n".join(lines) + "\n"


def _long(
    path: Path, columns: Sequence[_Column], code: _Column, value: _Column | None, taken: set[str], stamp: list[str]
) -> list[str]:
    used = taken | {code.name} | ({value.name} if value else set())
    unit = _first([c for c in columns if not c.numeric], _UNIT, used)
    text = _first([c for c in columns if not c.numeric], (r"text", *_VALUE), used | ({unit.name} if unit else set()))
    shown = f"{stem_of(path).upper()}//{{{code.name}}}" + (f"//{{{unit.name}}}" if unit else "")
    lines = ["", "[[table.event]]", f"code = {_quoted(shown)}", *stamp]
    for key, found in (("value", value), ("text", text), ("unit", unit)):
        if found is not None:
            lines.append(f"{key} = {_quoted(found.name)}")
            used.add(found.name)
    unused = [c.name for c in columns if c.name not in used]
    return [*lines, *([f"# not used: {', '.join(unused)}"] if unused else [])]


def _wide(columns: Sequence[_Column], taken: set[str], stamp: list[str], rows: int) -> list[str]:
    numeric, categorical, skipped = [], [], []
    for one in columns:
        if one.name in taken:
            continue
        many = one.distinct > max(_NO_CATEGORY, rows // 2)
        person = any(re.search(p, one.name) for p in _SUBJECT[:4])
        if person or (many and re.search(r"(^|_)(id|nbr)$", one.name)):
            skipped.append(one.name)
        elif one.numeric and not re.search(r"(^|_)(id|code)$", one.name):
            numeric.append(one.name)
        elif not many:
            categorical.append(one.name)
        else:
            skipped.append(one.name)
    lines = ["", "[table.columns]", *stamp, f"numeric = {_list(numeric)}", f"categorical = {_list(categorical)}"]
    return lines + ([f"skip = {_list(skipped)}  # identifiers, or almost a text of its own per row"] if skipped else [])


def _is_long(columns: Sequence[_Column], code: _Column, value: _Column | None) -> bool:
    """Say whether rows are facts: one column names them, and few columns hold anything else."""
    return value is not None or len(columns) <= 12 or code.name in ("code", "itemid")


def _look(texts: pl.DataFrame, name: str, marks: Sequence[str]) -> _Column:
    text = text_or_null(name)
    filled = texts.select(pl.when(~text.is_in(list(marks))).then(text).alias(name)).drop_nulls()
    if not filled.height:
        return _Column(name, 0, 0, False, False, None)
    share = filled.select(number(name).is_not_null().mean().alias("n"), moment(name).is_not_null().mean().alias("t"))
    numeric, time = share.row(0)
    chosen = None
    if numeric < 0.95 and time < 0.95:
        chosen = next((f for f in _FORMATS if _share(filled, name, f) >= 0.95), None)
    return _Column(name, filled.height, filled[name].n_unique(), numeric >= 0.95, time >= 0.95 or bool(chosen), chosen)


def _share(filled: pl.DataFrame, name: str, pattern: str) -> float:
    return float(filled.select(pl.col(name).str.to_datetime(pattern, strict=False).is_not_null().mean()).item())


def _subject(columns: Sequence[_Column], rows: int) -> tuple[str, str]:
    """Return the person's column and a remark; without times, a stay stands for the person where people repeat."""
    found = _first(columns, _SUBJECT, set())
    if found is None:
        return columns[0].name, "no column is named like an identifier: a guess"
    if not any(c.time for c in columns) and found.distinct < found.filled:
        stay = next((c for c in columns if re.search(_STAY, c.name) and c.distinct == rows), None)
        if stay is not None:
            return stay.name, f"people repeat in {found.name} and no column holds times: one subject per row"
    return found.name, ""


def _first(columns: Sequence[_Column], patterns: Sequence[str], taken: set[str]) -> _Column | None:
    """Return the first column that fits the earliest pattern."""
    for pattern in patterns:
        for one in columns:
            if one.name not in taken and one.filled and re.search(pattern, one.name):
                return one
    return None


def _off(lines: Sequence[str]) -> list[str]:
    """Return lines that are not empty as comments."""
    return [f"# {line}" for line in lines if line]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _list(words: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(w) for w in words) + "]"
