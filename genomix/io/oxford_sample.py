"""Oxford .sample files: a line of names, a line of types, one line per sample.

See https://www.cog-genomics.org/plink/2.0/formats#sample.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from genomix.errors import FormatError
from genomix.io.genotype_format import check_sample_ids
from genomix.io.tables import read_text

_ID_NAMES = (("id_1", "id_2"), ("id",))
_SEXES = {"1": 1, "M": 1, "m": 1, "2": 2, "F": 2, "f": 2}
_NO_VALUE = ("NA", "nan")
_TYPES = {"0", "B", "C", "D", "P"}


def read_sample(path: Path) -> pl.DataFrame:
    """Return sample_id, sex (1, 2, 0), FID where it says something, and the other columns as text.

    ``ID_2`` is the sample's identifier and ``ID_1`` the family, as in plink2; a file of one ``ID`` column has no
    families. ``missing`` is left out.

    Raises
    ------
    FormatError: for a wrong header, a short line, a missing line of types, or a duplicated or empty identifier.
    """
    lines = read_text(path).splitlines()
    if len(lines) < 2:
        raise FormatError(f"{path.name} has no line of names and line of types", where=str(path))
    names = lines[0].split()
    n_ids = next((len(ids) for ids in _ID_NAMES if tuple(n.lower() for n in names[: len(ids)]) == ids), 0)
    if not n_ids:
        raise FormatError("the first line names neither ID_1 and ID_2 nor ID", where=f"{path}:1")
    types = lines[1].split()
    if len(types) != len(names) or any(t.upper() not in _TYPES for t in types) or types[0] != "0":
        raise FormatError("the second line does not give each column's type (0, D, C, P, B)", where=f"{path}:2")
    columns: dict[str, list[str]] = {name: [] for name in names}
    if len(columns) != len(names):
        raise FormatError("two columns have the same name", where=f"{path}:1")
    for number, line in enumerate(lines[2:], start=3):
        if not line.strip():
            continue
        values = line.split()
        if len(values) != len(names):
            raise FormatError(f"the line has {len(values)} columns, the header {len(names)}", where=f"{path}:{number}")
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return _frame(columns, names, n_ids, path)


def _frame(columns: dict[str, list[str]], names: list[str], n_ids: int, path: Path) -> pl.DataFrame:
    ids = columns.pop(names[n_ids - 1])
    family = columns.pop(names[0]) if n_ids > 1 else []
    lower = {name.lower(): name for name in columns}
    columns.pop(lower.get("missing", ""), None)
    sex = columns.pop(lower.get("sex", ""), ["0"] * len(ids))
    known = {"FID": family} if any(f != "0" for f in family) else {}
    check_sample_ids(ids, where=str(path), families=family or None)
    extra = [
        pl.Series(name, [None if v in _NO_VALUE else v for v in values], dtype=pl.String)
        for name, values in {**known, **columns}.items()
    ]
    frame = pl.DataFrame(
        {"sample_id": ids, "sex": [_SEXES.get(s, 0) for s in sex]}, schema={"sample_id": pl.String, "sex": pl.Int8}
    )
    return frame.with_columns(extra)
