"""Tables of people: CSV, TSV and Parquet; BIMBAM phenotypes; expression BED; QTLtools covariates."""

from __future__ import annotations

import difflib
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from genomix.errors import ConfigError, FormatError, InputNotFoundError, TruncatedInputError
from genomix.io.contigs import normalise_contig


class Phenotypes(NamedTuple):
    """Quantities per sample, and where each lies on the genome when it is molecular.

    ``values``: sample_id + one Float64 column per phenotype. ``positions``: name, contig, start (1-based), end.
    """

    values: pl.DataFrame
    positions: pl.DataFrame


_NO_POSITIONS = pl.DataFrame(
    schema={"name": pl.String, "contig": pl.String, "start": pl.Int64, "end": pl.Int64},
)
_MISSING = ["NA", "na", "NaN", "nan", "", "."]


def read_text(path: Path) -> str:
    """Return a text file's content, decompressed when its name or bytes say gzip."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile) as error:
            raise TruncatedInputError(f"{path.name} ends before its end: {error}", where=str(path)) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name} is not UTF-8 text (byte {error.start})", where=str(path)) from error


def read_table(
    path: Path, *, text: tuple[str, ...] = (), as_text: bool = False, missing: Sequence[str] = ()
) -> pl.DataFrame:
    """Read a CSV, TSV or Parquet table with a header; the separator is found from the header line.

    Parameters
    ----------
    path: the file, compressed or not. text: columns whose values are names, not numbers (007 stays 007).
    as_text: every column of a text file is read as text. missing: what a text file writes for nothing, beside NA and
        the like.

    Raises
    ------
    InputNotFoundError, FormatError: with the file and, for text, the line.
    """
    if path.suffix == ".parquet":
        try:
            return pl.read_parquet(path)
        except FileNotFoundError as error:
            raise InputNotFoundError(f"cannot read {path.name}: no such file", where=str(path)) from error
        except pl.exceptions.PolarsError as error:
            raise FormatError(f"{path.name} is not a readable Parquet file", where=str(path)) from error
    content = read_text(path)
    header = content.split("\n", 1)[0]
    if not header.strip():
        raise FormatError(f"{path.name} has no header", where=f"{path}:1")
    separator = "\t" if "\t" in header else ("," if "," in header else " ")
    names = header.rstrip("\r").split(separator)
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise FormatError(f"{path.name} has two columns named {twice[0]!r}", where=f"{path}:1")
    _check_widths(content, separator, len(names), path)
    return pl.read_csv(
        io.StringIO(content),
        separator=separator,
        null_values=[*_MISSING, *missing],
        infer_schema=not as_text,
        infer_schema_length=None,
        schema_overrides={n: pl.String for n in text if n in names},
    )


def read_text_columns(path: Path, names: Sequence[str], *, missing: Sequence[str] = ()) -> pl.DataFrame:
    """Read columns of a table as text, without space at either end; null where there is none or ``missing`` says so.

    Whole numbers of a Parquet file are written without a decimal point, truth values as 1 and 0.

    Raises
    ------
    ConfigError: when the table has no such column. InputNotFoundError, FormatError: as :func:`read_table`.
    """
    frame = read_table(path, as_text=True)
    absent = [n for n in names if n not in frame.columns]
    if absent:
        near = difflib.get_close_matches(absent[0], frame.columns, n=1)
        hint = (f"did you mean {near[0]!r}? " if near else "") + "it has: " + ", ".join(frame.columns)
        raise ConfigError(f"the table has no column {absent[0]!r}", where=str(path), hint=hint)
    nothing = [*_MISSING, *missing]
    return frame.select(
        pl.when(~text.is_in(nothing)).then(text).alias(n)
        for n in names
        for text in [_text_of(frame[n]).str.strip_chars()]
    )


def _text_of(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        values = values.cast(pl.Int8)
    if values.dtype.is_float() and (values.is_nan() | ((values == values.round()) & (values.abs() < 2**53))).all():
        values = values.fill_nan(None).cast(pl.Int64)
    return values.cast(pl.String)


def numbers_of(texts: pl.Series, path: Path) -> pl.Series:
    """Return a text column as Float64.

    Raises
    ------
    FormatError: naming the column and the first row that holds no finite number; not what it holds, which may be
        anything.
    """
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = texts.is_not_null() & (numbers.is_null() | ~numbers.is_finite()).fill_null(value=True)
    if wrong.any():
        more = int(wrong.sum()) - 1
        raise FormatError(
            f"column {texts.name!r} is not a number in row {int(wrong.arg_max() or 0) + 1} of the table, header not "
            f"counted" + (f" (and in {more:,} more)" if more else ""),
            where=str(path), hint="list it as categorical, or its word for nothing in missing_values",
        )  # fmt: skip
    return numbers


def _check_widths(text: str, separator: str, width: int, path: Path) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        if line and '"' not in line and line.count(separator) != width - 1:
            raise FormatError(
                f"line has {line.count(separator) + 1} fields, the header has {width}", where=f"{path}:{number}"
            )


def read_phenotype_table(path: Path, sample_column: str) -> Phenotypes:
    """Read a table with one row per sample."""
    frame = read_table(path, text=(sample_column,))
    if sample_column not in frame.columns:
        raise FormatError(f"no column {sample_column!r}", where=str(path), hint="it has: " + ", ".join(frame.columns))
    numeric = [n for n, t in frame.schema.items() if n != sample_column and t.is_numeric()]
    values = frame.select(
        pl.col(sample_column).cast(pl.String).alias("sample_id"), *(pl.col(n).cast(pl.Float64) for n in numeric)
    )
    _check_unique(values["sample_id"], path)
    return Phenotypes(values, _NO_POSITIONS)


def read_bimbam_phenotypes(path: Path, sample_ids: list[str]) -> Phenotypes:
    """Read a BIMBAM phenotype file: no header, a row per sample in genotype order; columns become ``1``, ``2``, ..."""
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if len(rows) != len(sample_ids):
        raise FormatError(f"{len(rows)} rows for {len(sample_ids)} samples", where=str(path))
    width = len(rows[0])
    data: dict[str, list[float | None]] = {str(i + 1): [] for i in range(width)}
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise FormatError(f"row has {len(row)} values, the first has {width}", where=f"{path}:{number}")
        for i, text in enumerate(row):
            data[str(i + 1)].append(_number(text, f"{path}:{number}"))
    columns = {n: pl.Series(n, v, dtype=pl.Float64) for n, v in data.items()}
    return Phenotypes(pl.DataFrame({"sample_id": pl.Series(sample_ids, dtype=pl.String), **columns}), _NO_POSITIONS)


def read_expression_bed(path: Path) -> Phenotypes:
    """Read a QTLtools/FastQTL phenotype BED: #chr start end name ... strand, then one column per sample."""
    lines = read_text(path).splitlines()
    header = lines[0].split("\t") if lines else []
    if len(header) < 7 or not header[0].startswith("#"):
        raise FormatError(
            "not a phenotype BED: its header needs #chr, start, end, name, two more, samples", where=f"{path}:1"
        )
    names, contigs, starts, ends = [], [], [], []
    matrix = np.empty((len(lines) - 1, len(header) - 6))
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        if len(fields) != len(header):
            raise FormatError(f"line has {len(fields)} fields, the header has {len(header)}", where=f"{path}:{number}")
        names.append(fields[3])
        contigs.append(normalise_contig(fields[0]))
        starts.append(int(fields[1]) + 1)
        ends.append(int(fields[2]))
        values = [_number(t, f"{path}:{number}") for t in fields[6:]]
        matrix[number - 2] = [np.nan if v is None else v for v in values]
    positions = pl.DataFrame(
        {"name": names, "contig": contigs, "start": starts, "end": ends}, schema=_NO_POSITIONS.schema
    )
    values_frame = pl.DataFrame(
        {"sample_id": pl.Series(header[6:], dtype=pl.String)}
        | {n: pl.Series(n, matrix[i]).fill_nan(None) for i, n in enumerate(names)}
    )
    return Phenotypes(values_frame, positions)


def read_qtltools_covariates(path: Path) -> pl.DataFrame:
    """Read a QTLtools covariate file: samples are columns, covariates rows; a row's name loses its folder part."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    samples = lines[0][1:]
    columns: dict[str, pl.Series] = {"sample_id": pl.Series(samples, dtype=pl.String)}
    for number, fields in enumerate(lines[1:], start=2):
        if len(fields) != len(samples) + 1:
            raise FormatError(f"line has {len(fields) - 1} values for {len(samples)} samples", where=f"{path}:{number}")
        name = fields[0].rsplit("/", 1)[-1]
        values = [_number(t, f"{path}:{number}") for t in fields[1:]]
        columns[name] = pl.Series(name, values, dtype=pl.Float64)
    return pl.DataFrame(columns)


def _number(text: str, where: str) -> float | None:
    if text in _MISSING:
        return None
    try:
        return float(text)
    except ValueError:
        raise FormatError(f"{text!r} is not a number", where=where, hint="missing values are written NA") from None


def _check_unique(ids: pl.Series, path: Path) -> None:
    if ids.is_duplicated().any():
        row = int((~ids.is_first_distinct()).arg_max() or 0) + 2
        raise FormatError("one sample has two rows", where=f"{path}:{row}", hint="keep one row per sample")
