"""Phenotype and covariate tables as PLINK 2, regenie, SAIGE and plain TSV, CSV or Parquet write them.

A header line names the sample column (``IID``, ``#IID`` or ``sample_id``, anywhere in the line); ``FID`` and ``SID``
are left aside, since samples are known by their IID. Without such a header the first two columns are FID and IID and
the others ``PHENO1``, ``PHENO2``, ... (PLINK's rule).

Missing: empty, ``.``, ``NA``, ``N/A``, ``nan`` in any case, and by default the number -9, in phenotypes and covariates
alike (PLINK 2's rule).

A quoted field may hold the separator (RFC 4180). No message repeats a cell: a misplaced one may be somebody's name.

Case or control is found from the values present: only 1 and 2 (0 then is missing): 1 control, 2 case; only 0 and 1: 1
case. PLINK 2 reads the second kind so under ``--1`` only; without it, it would take the zeros as missing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from genomix.errors import ConfigError, FormatError, Identifier
from genomix.io.tables import read_table, read_text
from genomix.schemas.genotypes import COMPONENT_SCORES

Kind = Literal["quantitative", "binary"]
KindChoice = Literal["auto", "quantitative", "binary"]

SAMPLE_COLUMNS = ("#IID", "IID", "sample_id", "#sample_id")
_ASIDE = ("#FID", "FID", "SID")
_MISSING = frozenset({"", ".", "na", "n/a", "nan", "-nan"})
_NOT_BINARY = "a value is none of 0, 1 and 2"
_BINARY_HINT = "a case-control phenotype holds 1 and 2, or 0 and 1"
MISSING_VALUE = -9.0
"""The number that means missing by default."""


class PhenotypeTable(NamedTuple):
    """``values``: sample_id and one Float64 column per phenotype (binary: 1 case, 0 control); ``kinds`` by name."""

    values: pl.DataFrame
    kinds: dict[str, Kind]

    @property
    def names(self) -> list[str]:
        """Names of the phenotypes."""
        return self.values.columns[1:]


def read_phenotypes(
    path: Path,
    names: Iterable[str] | None = None,
    *,
    kind: KindChoice = "auto",
    missing_value: float | None = MISSING_VALUE,
) -> PhenotypeTable:
    """Read phenotypes.

    Parameters
    ----------
    names: which columns, in this order; None for all.
    kind: what every phenotype is; ``auto`` finds it from the values. missing_value: a number that means missing.

    Raises
    ------
    InputNotFoundError, FormatError: with file and line. ConfigError: for a name that the file has not.
    """
    rows = read_rows(path)
    chosen = _chosen(rows.table, names, path, "phenotype")
    columns, kinds = [rows.table["sample_id"]], {}
    for name in chosen:
        values = rows.numbers(name)
        if missing_value is not None:
            values = values.set(values == missing_value, None)
        if kind == "binary" and (odd := ~values.is_in([0.0, 1.0, 2.0])).any():
            raise FormatError(f"column {name}: {_NOT_BINARY}", where=rows.where(odd), hint=_BINARY_HINT)
        values, kinds[name] = classify(values, kind)
        columns.append(values.alias(name))
    return PhenotypeTable(pl.DataFrame(columns), kinds)


def classify(values: pl.Series, kind: KindChoice = "auto") -> tuple[pl.Series, Kind]:
    """Return a phenotype as 0/1 where it is case-control, and what it is; see the module's docstring.

    >>> classify(pl.Series([1.0, 2.0, 0.0, None]))[0].to_list()
    [0.0, 1.0, None, None]
    >>> classify(pl.Series([1.5, 2.0]))[1]
    'quantitative'
    """
    present = set(values.drop_nulls().unique().to_list())
    if kind == "quantitative" or not present:
        return values, "quantitative"
    if 2.0 in present and present <= {0.0, 1.0, 2.0}:
        return values.set(values == 0.0, None) - 1.0, "binary"
    if present <= {0.0, 1.0}:
        return values, "binary"
    if kind == "binary":
        raise FormatError(f"phenotype {values.name}: {_NOT_BINARY}", hint=_BINARY_HINT)
    return values, "quantitative"


def read_covariates(
    path: Path,
    names: Iterable[str] | None = None,
    *,
    missing_value: float | None = MISSING_VALUE,
    report: Callable[[str], None] | None = None,
) -> pl.DataFrame:
    """Read covariates: sample_id, Float64 columns, and String columns where a value is no number (categories).

    Parameters
    ----------
    names: which columns, in this order; None for all, but of a table of components (``genomix variants pca``) only
        ``pc_1``, ``pc_2``, ... missing_value: a number that means missing. report: called with a line that says so.

    Raises
    ------
    InputNotFoundError, FormatError: with file and line. ConfigError: for a name that the file has not.
    """
    rows = read_rows(path)
    if names is None and (components := _components(rows.table.columns)):
        names = components
        if report is not None:
            report(
                f"note: {path.name} is a table of components: {components[0]} to {components[-1]} are the covariates; "
                "name others by --covariate-names"
            )
    columns = [rows.table["sample_id"]]
    for name in _chosen(rows.table, names, path, "covariate"):
        text = rows.table[name]
        numbers = text.cast(pl.Float64, strict=False)
        if numbers.null_count() > text.null_count():
            columns.append(
                text if missing_value is None else text.set((numbers == missing_value).fill_null(False), None)
            )
            continue
        numbers = rows.numbers(name)
        columns.append(numbers if missing_value is None else numbers.set(numbers == missing_value, None))
    return pl.DataFrame(columns)


def _components(columns: Sequence[str]) -> list[str]:
    """The components of a table that also tells how they were fitted; nothing for any other table."""
    aside = {c.name for c in COMPONENT_SCORES.columns} - {"sample_id"}
    found = [name for name in columns if name.startswith("pc_") and name[3:].isdecimal()]
    return found if found and aside <= set(columns) else []


def _chosen(table: pl.DataFrame, names: Iterable[str] | None, path: Path, what: str) -> list[str]:
    known = table.columns[1:]
    chosen = known if names is None else list(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            raise ConfigError(f"there is no {what} {name!r}", where=str(path), hint="it has: " + ", ".join(known))
    if not chosen:
        raise FormatError(f"{path.name} has no {what} column", where=str(path))
    return chosen


class Rows(NamedTuple):
    """``table``: ``sample_id`` and every other column as text, null where missing; ``lines``: each row's line."""

    table: pl.DataFrame
    lines: Sequence[int]
    path: Path

    def where(self, bad: pl.Series) -> str:
        """Return file and line of the first row that is True."""
        return f"{self.path}:{self.lines[int(bad.fill_null(False).arg_max() or 0)]}"

    def numbers(self, name: str) -> pl.Series:
        """Return a column as Float64, NaN as null.

        Raises
        ------
        FormatError: with line and column where a cell is no finite number.
        """
        text = self.table[name]
        numbers = text.cast(pl.Float64, strict=False)
        bad = numbers.is_null() & text.is_not_null() | numbers.is_infinite().fill_null(False)
        if bad.any():
            raise FormatError(
                f"column {name} holds something that is not a number", where=self.where(bad),
                hint="missing values are written NA; name the columns to use",
            )  # fmt: skip
        return numbers.fill_nan(None)


def read_rows(path: Path, *, repeated: bool = False) -> Rows:
    """Read a table of samples; ``repeated`` allows several rows of one.

    Raises
    ------
    InputNotFoundError, FormatError: with file and line (of Parquet: the row).
    """
    if path.suffix == ".parquet":
        frame = read_table(path).cast(pl.String)
        return _with_sample_id(frame, range(1, frame.height + 1), path, repeated)
    lines = read_text(path).splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("##")), None)
    if start is None:
        raise FormatError(f"{path.name} is empty", where=str(path))
    head = lines[start]
    separator = "\t" if "\t" in head else ("," if "," in head else None)
    fields = next(_split(lines[start : start + 1], separator, path, start))[1]
    if any(name in fields for name in SAMPLE_COLUMNS):
        names, body = fields, start + 1
    else:
        names, body = _plain_names(fields, path, start + 1), start
    rows, numbers = [], []
    for number, values in _split(lines[body:], separator, path, body):
        if len(values) != len(names):
            raise FormatError(f"line has {len(values)} fields, not {len(names)}", where=f"{path}:{number}")
        rows.append(values)
        numbers.append(number)
    if len(set(names)) != len(names):
        raise FormatError(f"{path.name} has two columns of one name", where=f"{path}:{start + 1}")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return _with_sample_id(frame, numbers, path, repeated)


def _split(lines: list[str], separator: str | None, path: Path, before: int) -> Iterator[tuple[int, list[str]]]:
    """Yield line number (``before`` lines precede) and fields of every line that is not blank."""
    if separator is None:
        for number, line in enumerate(lines, start=before + 1):
            if line.strip():
                yield number, [field.strip('"') for field in line.split()]
        return
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator == ",", strict=True)
    number = before + 1
    try:
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield number, [field.strip() for field in fields]
            number = before + reader.line_num + 1
    except csv.Error as error:
        raise FormatError(f"quotes do not match: {error}", where=f"{path}:{number}") from None


def _plain_names(fields: list[str], path: Path, line: int) -> list[str]:
    """FID IID PHENO1 ...: only when the first line looks like data."""
    if len(fields) < 3 or not all(_is_value(f) for f in fields[2:]):
        raise FormatError(
            f"{path.name} names no sample column", where=f"{path}:{line}", hint="a header with IID or sample_id"
        )
    return ["FID", "IID", *(f"PHENO{i}" for i in range(1, len(fields) - 1))]


def _is_value(text: str) -> bool:
    if text.lower() in _MISSING:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_sample_id(frame: pl.DataFrame, lines: Sequence[int], path: Path, repeated: bool) -> Rows:
    column = next((name for name in SAMPLE_COLUMNS if name in frame.columns), None)
    if column is None:
        raise FormatError(f"{path.name} names no sample column", where=str(path), hint="IID or sample_id")
    ids = frame[column]
    others = [n for n in frame.columns if n != column and n not in _ASIDE]
    text = [
        pl.when(pl.col(n).str.to_lowercase().is_in(list(_MISSING))).then(None).otherwise(pl.col(n)).alias(n)
        for n in others
    ]
    rows = Rows(frame.select(pl.col(column).alias("sample_id"), *text), lines, path)
    nameless = ids.is_null() | (ids == "")
    if nameless.any():
        raise FormatError("a row names no sample", where=rows.where(nameless))
    again = ~ids.is_first_distinct()
    if not repeated and again.any():
        row = int(again.arg_max() or 0)
        raise FormatError(
            "one sample has two rows", where=rows.where(again), hint="keep one row per sample",
            identifiers=(Identifier("sample", str(ids[row]), row + 1),),
        )  # fmt: skip
    return rows
