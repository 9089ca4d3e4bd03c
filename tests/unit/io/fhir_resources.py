"""Small FHIR resources for tests, and what a source of them gives."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.io.fhir import RECORD_FORMAT, FhirScan
from genomix.io.record_rows import DROPPED, RAW

Resource = dict[str, Any]
ALICE = {"reference": "Patient/alice"}
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
NOON, TWO = "2020-03-01T12:00:00Z", "2020-03-01T14:00:00Z"


def concept(system: str, code: str, display: str | None = None) -> Resource:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Read(NamedTuple):
    """Everything that a source gave, parts joined."""

    events: pl.DataFrame
    dropped: list[tuple[str, str, str | None, str | None]]
    scan: FhirScan
    rows: int

    def values(self, *columns: str) -> list[Any]:
        found = self.events.select(columns).rows()
        return [row[0] for row in found] if len(columns) == 1 else found


def read(path: Path, scan: FhirScan | None = None) -> Read:
    """Read a source and check that every row is in events or in dropped, never in both."""
    opened = scan or RECORD_FORMAT.scan(path)
    events, dropped, rows = [pl.DataFrame(schema=RAW)], [], 0
    for part in opened.parts():
        assert part.events.schema == pl.Schema(RAW)
        assert part.dropped.schema == pl.Schema(DROPPED)
        kept, gone = part.events["source_row"].unique().to_list(), part.dropped["source_row"].to_list()
        assert sorted(kept + gone) == list(range(part.n_rows))
        assert part.events["source_row"].is_sorted()
        events.append(part.events)
        dropped += [(part.table, *row) for row in part.dropped.select("reason", "field", "value").rows()]
        rows += part.n_rows
    return Read(pl.concat(events), dropped, opened, rows)


def observation(**fields: Any) -> Resource:
    base = {"resourceType": "Observation", "status": "final", "subject": ALICE, "effectiveDateTime": NOON}
    return base | {"code": concept(LOINC, "2160-0", "Creatinine")} | fields


def quantity(value: Any, code: str = "mg/dL", **more: Any) -> Resource:
    return {"value": value, "unit": "mg per dL", "system": "http://unitsofmeasure.org", "code": code} | more


def read_lines(folder: Path, *resources: Resource) -> Read:
    """Write resources as the lines of one file and read it."""
    file = folder / "export.ndjson"
    file.write_text("".join(json.dumps(r) + "\n" for r in resources))
    return read(file)
