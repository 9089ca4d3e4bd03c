"""MEDS datasets (https://doi.org/10.5281/zenodo.10957037): read any dialect in use, write version 0.4.

Read: a dataset folder (``data/**/*.parquet``, ``metadata/codes.parquet``), a folder of Parquet files, or one file.
Dialects: ``value`` for ``numeric_value``, a source ``table`` column, no ``text_value`` or ``unit``.

The schema of every file under ``data/`` is looked at first. A file without ``subject_id``, ``time`` and ``code`` is
not events (the MIMIC-IV demo release keeps a label file there): it is left out and listed in the report, with its
columns and rows. When the user names one such file alone, or nothing else is there, it is an error.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from genomix.errors import FormatError, InputNotFoundError, TruncatedInputError
from genomix.io.availability import DEFAULT_RULES, AvailabilityRules
from genomix.io.record_format import LeftOut, RecordSet, empty_descriptions, to_events
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


RECORD_FORMAT = MedsFormat()


def read_meds(path: Path, *, availability: AvailabilityRules = DEFAULT_RULES) -> RecordSet:
    """Read a MEDS dataset folder, a folder of Parquet files or one file into the EVENTS frame.

    Raises
    ------
    InputNotFoundError: nothing to read there. FormatError: a broken file, or no file that holds events.
    """
    files = _data_files(path)
    base = path if path.is_dir() else path.parent
    frames: list[pl.DataFrame] = []
    left_out: list[LeftOut] = []
    for file in files:
        name = file.relative_to(base).as_posix()
        columns = _schema(file)
        missing = [c for c in REQUIRED if c not in columns]
        if missing:
            kind = "a label file" if "prediction_time" in columns else "not events"
            reason = f"{kind}: no column {', '.join(missing)} (it has: {', '.join(columns)})"
            left_out.append(LeftOut(name, _count_rows(file), reason))
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
            raw, source_format="meds", availability=availability, left_out=left_out, descriptions=_descriptions(base)
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
    ordered = EVENTS.validate(events).sort(EVENTS.names)
    known = _one_per_code(empty_descriptions() if descriptions is None else descriptions)
    codes = (
        ordered.select("code")
        .unique()
        .join(known, on="code", how="left")
        .sort("code")
        .with_columns(pl.lit([], dtype=pl.List(pl.String)).alias("parent_codes"))
    )
    dataset = {
        "code_modifier_columns": ["unit"],
        "dataset_name": dataset_name,
        "etl_name": "genomix",
        "meds_version": MEDS_VERSION,
    }
    with atomic_directory(folder) as temporary:
        for part in ("data", "metadata"):
            (temporary / part).mkdir()
        _write(ordered, temporary / "data" / "0.parquet")
        _write(codes, temporary / "metadata" / "codes.parquet")
        text = json.dumps(dataset, sort_keys=True, indent=1)
        (temporary / "metadata" / "dataset.json").write_text(text + "\n")


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


def _data_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    root = path / "data" if (path / "data").is_dir() else path
    files = sorted((p for p in root.rglob("*.parquet") if p.is_file()), key=lambda p: p.relative_to(root).as_posix())
    if not files:
        raise InputNotFoundError("no Parquet file", where=str(root), hint="a MEDS dataset has data/*.parquet")
    return files


def _schema(file: Path) -> list[str]:
    try:
        return list(pl.read_parquet_schema(file))
    except OSError as error:
        raise InputNotFoundError(f"cannot read {file.name}: {error.strerror}", where=str(file)) from error
    except pl.exceptions.PolarsError as error:
        raise _not_parquet(file) from error


def _not_parquet(file: Path) -> FormatError:
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
        raise _not_parquet(file) from error
    return frame.with_columns(pl.col(c).cast(pl.String) for c, t in frame.schema.items() if t == pl.Categorical)


def _concat(frames: list[pl.DataFrame], path: Path) -> pl.DataFrame:
    if len(frames) == 1:
        return frames[0]
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"files under {path.name} give one column different types", where=str(path)) from error


def _descriptions(base: Path) -> pl.DataFrame:
    file = base / "metadata" / "codes.parquet"
    if not file.is_file():
        return empty_descriptions()
    columns = _schema(file)
    if "code" not in columns or "description" not in columns:
        return empty_descriptions()
    frame = pl.read_parquet(file, columns=["code", "description"]).select(pl.all().cast(pl.String))
    return _one_per_code(frame)


def _one_per_code(frame: pl.DataFrame) -> pl.DataFrame:
    ordered = frame.select("code", "description").drop_nulls().sort("code", "description")
    return ordered.unique("code", keep="first", maintain_order=True)
