"""A frame's contract: its columns, their types, units, nullability and meaning, and the check.

>>> import polars as pl
>>> SCORES = FrameSchema("scores", (Column("sample_id", pl.String, "the sample"), Column("score", pl.Float64, "sum")))
>>> SCORES.validate(pl.DataFrame({"sample_id": ["a"], "score": [0.5]}), where="s.parquet").height
1
>>> SCORES.validate(pl.DataFrame({"sample_id": ["a"]}), where="s.parquet")
Traceback (most recent call last):
    ...
genomix.errors.FormatError: scores: column 'score' is missing [s.parquet]. Try: it has: sample_id
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from genomix.errors import FormatError


@dataclass(frozen=True)
class Column:
    """One column: name, Polars type, meaning; ``unit`` in UCUM where there is one."""

    name: str
    dtype: type[pl.DataType] | pl.DataType
    meaning: str
    nullable: bool = False
    unit: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class FrameSchema:
    """The columns of one artefact and the key that makes its rows unique."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    extra_allowed: bool = False

    @property
    def names(self) -> list[str]:
        """Column names in their order."""
        return [c.name for c in self.columns]

    def empty(self) -> pl.DataFrame:
        """Return a frame with these columns and no rows."""
        return pl.DataFrame(schema={c.name: c.dtype for c in self.columns})

    def validate(self, frame: pl.DataFrame, *, where: str | None = None) -> pl.DataFrame:
        """Return ``frame`` with the schema's columns in their order, or raise a :class:`FormatError`.

        Checked: missing and unknown columns, types, nulls where they are forbidden, and the key's uniqueness.
        """
        for column in self.columns:
            self._check_column(frame, column, where)
        unknown = [n for n in frame.columns if n not in self.names]
        if unknown and not self.extra_allowed:
            raise FormatError(f"{self.name}: unknown column {unknown[0]!r}", where=where, hint=self._has(self.names))
        if self.key and frame.height and frame.select(self.key).is_duplicated().any():
            raise FormatError(f"{self.name}: rows are not unique by {', '.join(self.key)}", where=where)
        present = [n for n in self.names if n in frame.columns]
        return frame.select(*present, *unknown)

    def _check_column(self, frame: pl.DataFrame, column: Column, where: str | None) -> None:
        if column.name not in frame.columns:
            if column.optional:
                return
            raise FormatError(
                f"{self.name}: column {column.name!r} is missing", where=where, hint=self._has(frame.columns)
            )
        found = frame.schema[column.name]
        if found != column.dtype:
            raise FormatError(f"{self.name}: column {column.name!r} is {found}, not {column.dtype}", where=where)
        if not column.nullable and frame[column.name].null_count():
            row = int(frame[column.name].is_null().arg_max() or 0) + 1
            raise FormatError(f"{self.name}: column {column.name!r} is null in row {row}", where=where)

    @staticmethod
    def _has(names: list[str]) -> str:
        return "it has: " + ", ".join(names)
