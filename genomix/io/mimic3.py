"""MIMIC-III tables (doi:10.13026/C2XW26), by the shipped mapping ``mappings/mimic3.toml``."""

from __future__ import annotations

from pathlib import Path

from genomix.io.mapped_tables import MappedScan, stem_of, table_files
from genomix.io.mapping_language import read_mapping
from genomix.io.record_conversion import ScannedFormat
from genomix.io.record_rows import RecordScan
from genomix.io.shipped_mappings import shipped_mapping


class Mimic3Format(ScannedFormat):
    """MIMIC-III as a record format."""

    name = "mimic3"

    def recognises(self, path: Path) -> bool:
        """Say whether a folder holds the tables that only this release has."""
        if not path.is_dir():
            return False
        names = {stem_of(p) for p in table_files(path) if p.parent == path}
        return {"patients", "admissions", "icustays"} <= names

    def scan(self, path: Path, *, mapping: Path | None = None) -> RecordScan:
        """Open a folder of tables, by the shipped mapping or another."""
        found = shipped_mapping(self.name) if mapping is None else read_mapping(mapping)
        return MappedScan(path, found, self.name)


RECORD_FORMAT = Mimic3Format()
