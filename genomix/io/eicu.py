"""The eICU Collaborative Research Database (https://doi.org/10.1038/sdata.2018.178), by ``mappings/eicu.toml``.

eICU has no dates: every time is a number of minutes since the admission to the unit. The mapping counts from an origin
that is made: 1 January of the year of the hospital discharge, at the true clock time of the unit admission. Only
differences of times within one unit stay mean something; dates, seasons and the order of stays do not.

The subject is the unit stay (``patientunitstayid``), not the person: several stays of one person on one made timeline
would overlap. Stays of one person share ``uniquepid``, which is an identifier and is not read: a split that must keep
a person's stays together needs it as a group, from ``patient.csv``.

Ages above 89 are written ``> 89``: these stays have a code ``AGE//> 89`` and no birth.
"""

from __future__ import annotations

from pathlib import Path

from genomix.errors import FormatError
from genomix.io.mapped_tables import MappedScan, stem_of, table_files
from genomix.io.mapping_language import read_mapping
from genomix.io.record_conversion import ScannedFormat
from genomix.io.record_rows import RecordScan, table_parts
from genomix.io.shipped_mappings import shipped_mapping


class EicuFormat(ScannedFormat):
    """The eICU database as a record format."""

    name = "eicu"

    def recognises(self, path: Path) -> bool:
        """Say whether a folder has the table patient with patientunitstayid."""
        if not path.is_dir():
            return False
        tables = [p for p in table_files(path) if p.parent == path and stem_of(p) == "patient"]
        try:
            return any("patientunitstayid" in next(table_parts(p, rows=1)).frame.columns for p in tables)
        except FormatError:
            return False

    def scan(self, path: Path, *, mapping: Path | None = None) -> RecordScan:
        """Open a folder of tables, by the shipped mapping or another."""
        found = shipped_mapping(self.name) if mapping is None else read_mapping(mapping)
        return MappedScan(path, found, self.name)


RECORD_FORMAT = EicuFormat()
