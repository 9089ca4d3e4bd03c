"""MEDS datasets (https://doi.org/10.5281/zenodo.10957037): read any dialect in use, write version 0.4.

Read: a dataset folder (``data/**/*.parquet``, ``metadata/codes.parquet``), a folder of Parquet files, or one file.
Dialects: ``value`` for ``numeric_value``, a source ``table`` column, no ``text_value`` or ``unit``.

The schema of every file under ``data/`` is looked at first. A file without ``subject_id``, ``time`` and ``code`` is
not events (the MIMIC-IV demo release keeps a label file there): it is left out and listed in the report, with its
columns and rows. When the user names one such file alone, or nothing else is there, it is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from genomix.errors import ConfigError, FormatError, InputNotFoundError, TruncatedInputError
from genomix.io.availability import DEFAULT_RULES, AvailabilityRule, AvailabilityRules
from genomix.io.record_format import LeftOut, RecordSet, empty_descriptions, row_reason, to_events, typed_rows
from genomix.io.record_rows import RAW, ROWS_PER_PART, LeftOutFile, RawRows
from genomix.provenance import atomic_directory
from genomix.schemas.events import EVENTS

REQUIRED = ("subject_id", "time", "code")
OPTIONAL = ("numeric_value", "text_value", "unit", "table", "time_precision", "available_time")
SYNONYMS = {"value": "numeric_value"}
MEDS_VERSION = "0.4.0"
PARQUET_MAGIC = b"PAR1"


class MedsFormat:
    """MEDS as a record format."""

    name = "meds"

    def recognises(self, path: Path) -> bool:
        """Say whether a path is a Parquet file or a folder with Parquet files under ``data``."""
        if path.is_dir():
            return any((path / "data").rglob("*.parquet"))
        return path.suffix == ".parquet"

    def read(self, path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
        """Read a dataset folder or one Parquet file, see :func:`read_meds`."""
        return read_meds(path, availability=availability)

    def scan(self, path: Path, *, mapping: Path | None = None) -> MedsScan:
        """Open a dataset folder or one Parquet file for reading in bounded parts."""
        if mapping is not None:
            raise ConfigError("a mapping is for tables; MEDS needs none", hint="leave out --mapping")
        return MedsScan(path)


class MedsScan:
    """MEDS files in bounded parts; see :class:`~genomix.io.record_rows.RecordScan`."""

    source_format = "meds"
    rules: tuple[AvailabilityRule, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._base = path if path.is_dir() else path.parent
        self._files = data_files(path)
        self.left_out: list[LeftOutFile] = []
        self.adjusted: dict[str, int] = {}

    def parts(self) -> Iterator[RawRows]:
        """Yield the rows of every file that holds events."""
        read = 0
        for file in self._files:
            columns = column_names(file)
            name = file.relative_to(self._base).as_posix()
            if left := _not_events(file, columns, name):
                self.left_out.append(LeftOutFile(*left))
                continue
            read += 1
            yield from _file_parts(file, name, columns)
        if not read:
            first = self.left_out[0]
            hint = "MEDS events: " + ", ".join(REQUIRED)
            raise FormatError(f"{first.file} is {first.reason}", where=str(self._path), hint=hint)

    def splits(self) -> pl.DataFrame | None:
        """Return subject_id and split of the dataset's ``metadata/subject_splits.parquet``, None where it has none."""
        from genomix.io.label_tables import read_splits

        file = self._base / "metadata" / "subject_splits.parquet"
        return read_splits(file) if file.is_file() else None

    def descriptions(self) -> pl.DataFrame:
        """Return code and description, one row for each described code."""
        return read_descriptions(self._base)


def _file_parts(file: Path, name: str, columns: list[str]) -> Iterator[RawRows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    renamed = {old: new for old, new in SYNONYMS.items() if old in columns and new not in columns}
    wanted = [c for c in columns if c in REQUIRED or c in OPTIONAL or c in renamed]
    first = 1
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=ROWS_PER_PART, columns=wanted):
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                plain = [pl.col(c).cast(pl.String) for c, t in frame.schema.items() if t == pl.Categorical]
                yield _raw_rows(frame.rename(renamed).with_columns(plain), name, first)
                first += frame.height
    except (pa.ArrowInvalid, OSError) as error:
        raise not_parquet(file) from error


def _raw_rows(frame: pl.DataFrame, name: str, first_row: int) -> RawRows:
    rows = typed_rows(frame).with_row_index("source_row").with_columns(pl.col("source_row").cast(pl.Int64))
    reason = row_reason()
    dropped = rows.filter(reason.is_not_null()).select(
        "source_row", reason.alias("reason"), *(pl.lit(None, dtype=pl.String).alias(n) for n in ("field", "value"))
    )
    precision = pl.coalesce("time_precision", pl.when("is_date").then(pl.lit("day")))
    events = rows.filter(reason.is_null()).with_columns(precision.alias("time_precision"))
    events = events.with_columns(pl.col("subject_id").cast(pl.String)).select(*RAW, "table")
    return RawRows("events", name, first_row, frame.height, events, dropped)


def _not_events(file: Path, columns: list[str], name: str) -> LeftOut | None:
    """Say why a file holds no events, None where it does."""
    missing = [c for c in REQUIRED if c not in columns]
    if not missing:
        return None
    kind = "a label file" if "prediction_time" in columns else "not events"
    reason = f"{kind}: no column {', '.join(missing)} (it has: {', '.join(columns)})"
    return LeftOut(name, _count_rows(file), reason)


RECORD_FORMAT = MedsFormat()


def read_meds(path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
    """Read a MEDS dataset folder, a folder of Parquet files or one file into the EVENTS frame.

    Raises
    ------
    InputNotFoundError: nothing to read there. FormatError: a broken file, or no file that holds events.
    """
    files = data_files(path)
    base = path if path.is_dir() else path.parent
    frames: list[pl.DataFrame] = []
    left_out: list[LeftOut] = []
    for file in files:
        name = file.relative_to(base).as_posix()
        columns = column_names(file)
        if left := _not_events(file, columns, name):
            left_out.append(left)
            continue
        frames.append(_read_events(file, columns))
    if not frames:
        first = left_out[0]
        raise FormatError(
            f"{first.file} is {first.reason}", where=str(path), hint="MEDS events: " + ", ".join(REQUIRED)
        )
    raw = _concat(frames, path)
    try:
        return to_events(
            raw,
            source_format="meds",
            availability=availability,
            left_out=left_out,
            descriptions=read_descriptions(base),
        )
    except FormatError as error:
        raise FormatError(error.what, where=str(path), hint=error.hint) from error


def write_meds(
    events: pl.DataFrame,
    folder: Path,
    *,
    descriptions: pl.DataFrame | None = None,
    dataset_name: str = "genomix",
) -> None:
    """Write a MEDS 0.4 dataset into a new folder: one shard, every code described, bytes that depend on events only.

    Parameters
    ----------
    events: schema EVENTS; columns unit, time_precision and available_time are written as MEDS extra columns.
    folder: must not exist; it appears complete or not at all.
    descriptions: columns code, description; codes without one get a null description.
    """
    with atomic_directory(folder) as temporary:
        (temporary / "data").mkdir()
        write_shard(events, temporary, 0)
        write_metadata(temporary, events["code"].unique(), descriptions, dataset_name=dataset_name)


def write_shard(events: pl.DataFrame, folder: Path, number: int) -> None:
    """Write ``data/NUMBER.parquet`` of a dataset that is being made; a person's events all stand in one shard."""
    _write(EVENTS.validate(events).sort(EVENTS.names), folder / "data" / f"{number}.parquet")


def write_metadata(
    folder: Path, codes: pl.Series, descriptions: pl.DataFrame | None = None, *, dataset_name: str = "genomix"
) -> None:
    """Write ``metadata/codes.parquet`` and ``metadata/dataset.json`` of a dataset that is being made."""
    known = _one_per_code(empty_descriptions() if descriptions is None else descriptions)
    table = (
        pl.DataFrame({"code": codes.unique()})
        .join(known, on="code", how="left")
        .sort("code")
        .with_columns(pl.lit([], dtype=pl.List(pl.String)).alias("parent_codes"))
    )
    dataset: Mapping[str, Any] = {
        "code_modifier_columns": ["unit"],
        "dataset_name": dataset_name,
        "etl_name": "genomix",
        "meds_version": MEDS_VERSION,
    }
    (folder / "metadata").mkdir()
    _write(table, folder / "metadata" / "codes.parquet")
    (folder / "metadata" / "dataset.json").write_text(json.dumps(dataset, sort_keys=True, indent=1) + "\n")


def _write(frame: pl.DataFrame, path: Path) -> None:
    """Write with Arrow's plain string type, as the MEDS schemas ask; zstd without statistics has no varying bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [
        pa.field(f.name, _arrow_type(f.name, f.type), nullable=f.name not in ("subject_id", "code"))
        for f in table.schema
    ]
    pq.write_table(table.cast(pa.schema(fields)), path, compression="zstd", row_group_size=1 << 20, store_schema=True)


def _arrow_type(name: str, dtype: object) -> object:
    import pyarrow as pa

    if isinstance(dtype, pa.ListType | pa.LargeListType):
        return pa.list_(pa.string())
    if not pa.types.is_large_string(dtype):
        return dtype
    return pa.large_string() if name == "text_value" else pa.string()


def data_files(path: Path) -> list[Path]:
    """Return the Parquet files below ``data``, or below the folder where there is none, in order of their names."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    root = path / "data" if (path / "data").is_dir() else path
    files = sorted((p for p in root.rglob("*.parquet") if p.is_file()), key=lambda p: p.relative_to(root).as_posix())
    if not files:
        raise InputNotFoundError("no Parquet file", where=str(root), hint="a MEDS dataset has data/*.parquet")
    return files


def column_names(file: Path) -> list[str]:
    """Return the columns of a Parquet file."""
    try:
        return list(pl.read_parquet_schema(file))
    except OSError as error:
        raise InputNotFoundError(f"cannot read {file.name}: {error.strerror}", where=str(file)) from error
    except pl.exceptions.PolarsError as error:
        raise not_parquet(file) from error


def not_parquet(file: Path) -> FormatError:
    """Return what is wrong with a file that cannot be read: a Parquet file begins and ends with the same four bytes."""
    hint = "copy or export it again and compare checksums"
    with file.open("rb") as stream:
        begins = stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        stream.seek(-min(len(PARQUET_MAGIC), file.stat().st_size), 2)
        ends = stream.read() == PARQUET_MAGIC
    if begins and not ends:
        return TruncatedInputError(f"{file.name} is not a whole Parquet file: it was cut", where=str(file), hint=hint)
    return FormatError(f"{file.name} is not a whole Parquet file", where=str(file), hint=hint)


def _count_rows(file: Path) -> int:
    return int(pl.scan_parquet(file, hive_partitioning=False).select(pl.len()).collect().item())


def _read_events(file: Path, columns: list[str]) -> pl.DataFrame:
    """Read the columns that count; ``value`` is taken for ``numeric_value`` only where that is absent."""
    renamed = {old: new for old, new in SYNONYMS.items() if old in columns and new not in columns}
    wanted = [c for c in columns if c in REQUIRED or c in OPTIONAL or c in renamed]
    try:
        frame = pl.read_parquet(file, columns=wanted, hive_partitioning=False).rename(renamed)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise not_parquet(file) from error
    return frame.with_columns(pl.col(c).cast(pl.String) for c, t in frame.schema.items() if t == pl.Categorical)


def _concat(frames: list[pl.DataFrame], path: Path) -> pl.DataFrame:
    if len(frames) == 1:
        return frames[0]
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"files under {path.name} give one column different types", where=str(path)) from error


def read_descriptions(base: Path) -> pl.DataFrame:
    """Return code and description from a dataset's ``metadata/codes.parquet``; empty where there is none."""
    file = base / "metadata" / "codes.parquet"
    if not file.is_file():
        return empty_descriptions()
    columns = column_names(file)
    if "code" not in columns or "description" not in columns:
        return empty_descriptions()
    frame = pl.read_parquet(file, columns=["code", "description"]).select(pl.all().cast(pl.String))
    return _one_per_code(frame)


def _one_per_code(frame: pl.DataFrame) -> pl.DataFrame:
    ordered = frame.select("code", "description").drop_nulls().sort("code", "description")
    return ordered.unique("code", keep="first", maintain_order=True)
