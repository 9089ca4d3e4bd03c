"""Any CSV, TSV or Parquet tables, long or wide, by a mapping file (:mod:`genomix.io.mapping_language`)."""

from __future__ import annotations

from pathlib import Path

from genomix.errors import ConfigError
from genomix.io.mapped_tables import MappedScan
from genomix.io.mapping_language import read_mapping
from genomix.io.record_conversion import ScannedFormat
from genomix.io.record_rows import RecordScan

MAPPING_NAME = "mapping.toml"


class CsvFormat(ScannedFormat):
    """Tables of any layout; a folder may carry its ``mapping.toml``."""

    name = "csv"

    def recognises(self, path: Path) -> bool:
        """Say whether a folder carries a mapping."""
        return path.is_dir() and (path / MAPPING_NAME).is_file()

    def scan(self, path: Path, *, mapping: Path | None = None) -> RecordScan:
        """Open tables by a mapping, the given one or the folder's own."""
        found = mapping if mapping is not None else path / MAPPING_NAME
        if mapping is None and not found.is_file():
            raise ConfigError(
                "tables need a mapping that says which columns become which events", where=str(path),
                hint=f"give --mapping, or put {MAPPING_NAME} into the folder; docs/how-to/work-with-records.md",
            )  # fmt: skip
        return MappedScan(path, read_mapping(found), self.name)


RECORD_FORMAT = CsvFormat()
