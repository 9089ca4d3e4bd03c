"""A few health records in memory, and how to write them as every record format's source.

The rows are the truth of the record contract; some of them cannot be events. A new format needs one more ``Source``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

Row = tuple[int | None, datetime | None, str | None, float | None, str | None, str | None]
"""Subject, time (None: static), code, value, unit, text."""

ROWS: tuple[Row, ...] = (
    (1, None, "GENDER//F", None, None, None),
    (1, datetime(1950, 1, 1), "MEDS_BIRTH", None, None, None),
    (1, datetime(2020, 3, 1, 12, 30), "LAB//creatinine", 1.25, "mg/dL", None),
    (1, datetime(2020, 3, 1, 12, 30), "LAB//creatinine", 1.25, "mg/dL", None),
    (2, datetime(2020, 3, 1, 8, 15), "LAB//creatinine", 0.75, "mg/dL", None),
    (None, datetime(2020, 3, 2, 9), "LAB//creatinine", 9.5, "mg/dL", None),
    (2, datetime(2020, 3, 2, 9, 1, 2, 3), "NOTE", None, None, "no change"),
    (3, datetime(2020, 3, 3, 10), None, 4.0, None, None),
    (3, datetime(2020, 3, 4, 11, 59), "DIAGNOSIS//é", None, None, None),
    (3, datetime(2020, 3, 4, 11, 59), "", None, None, None),
)
KEPT = tuple(r for r in ROWS if r[0] is not None and r[2])
DESCRIPTIONS = {"LAB//creatinine": "creatinine in serum"}


@dataclass(frozen=True)
class Source:
    """How to write rows in one format.

    Parameters
    ----------
    format: name of the registered member.
    write: given a new folder and rows, writes the source and returns the path to read.
    data_file: given that path, the file that holds the rows.
    """

    label: str
    format: str
    write: Callable[[Path, Sequence[Row]], Path]
    data_file: Callable[[Path], Path]


_SCHEMA = {
    "subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32,
    "unit": pl.String, "text_value": pl.String,
}  # fmt: skip


def _frame(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=_SCHEMA, orient="row")


def _meds(folder: Path, rows: Sequence[Row]) -> Path:
    (folder / "set" / "data").mkdir(parents=True)
    (folder / "set" / "metadata").mkdir()
    _frame(rows).write_parquet(folder / "set" / "data" / "0.parquet")
    codes = pl.DataFrame({"code": list(DESCRIPTIONS), "description": list(DESCRIPTIONS.values())})
    codes.write_parquet(folder / "set" / "metadata" / "codes.parquet")
    return folder / "set"


def _single(folder: Path, rows: Sequence[Row]) -> Path:
    folder.mkdir(parents=True)
    _frame(rows).write_parquet(folder / "events.parquet")
    return folder / "events.parquet"


SOURCES = (
    Source("meds dataset", "meds", _meds, lambda path: path / "data" / "0.parquet"),
    Source("meds file", "meds", _single, lambda path: path),
)
