"""MIMIC-IV tables (doi:10.13026/6mm1-ek67), by the shipped mapping ``mappings/mimic4.toml``."""

from __future__ import annotations

from pathlib import Path

from genomix.io.mapped_tables import MappedScan, stem_of, table_files
from genomix.io.mapping_language import read_mapping
from genomix.io.record_conversion import ScannedFormat
from genomix.io.record_rows import RecordScan
from genomix.io.shipped_mappings import shipped_mapping


class Mimic4Format(ScannedFormat):
    """MIMIC-IV as a record format."""

    name = "mimic4"

    def recognises(self, path: Path) -> bool:
        """Say whether a folder holds the tables that only this release has."""
        if not path.is_dir():
            return False
        names = {stem_of(p) for p in table_files(path) if p.parent == path / "hosp"}
        return {"patients", "admissions"} <= names

    def scan(self, path: Path, *, mapping: Path | None = None) -> RecordScan:
        """Open a folder of tables, by the shipped mapping or another."""
        found = shipped_mapping(self.name) if mapping is None else read_mapping(mapping)
        return MappedScan(path, found, self.name)


RECORD_FORMAT = Mimic4Format()
