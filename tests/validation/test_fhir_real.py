"""Real FHIR bundles (Synthea, SMART sample data), compared with a plain loop over their JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genomix.io.fhir import RECORD_FORMAT, FhirScan
from genomix.io.record_rows import RawRows

pytestmark = pytest.mark.real_data
NAMES = {"http://loinc.org": "LOINC", "http://snomed.info/sct": "SNOMED", "http://hl7.org/fhir/sid/cvx": "CVX"}
NAMES["http://www.nlm.nih.gov/research/umls/rxnorm"] = "RxNorm"
TIMES = {
    "Procedure": lambda r: r["performedPeriod"]["start"],
    "Immunization": lambda r: r["occurrenceDateTime"],
    "MedicationRequest": lambda r: r["authoredOn"],
    "DiagnosticReport": lambda r: r["effectiveDateTime"],
    "AllergyIntolerance": lambda r: r["recordedDate"],
}
AVAILABLE = {"MedicationRequest": "authoredOn", "DiagnosticReport": "issued", "AllergyIntolerance": "recordedDate"}
AVAILABLE |= {"Observation": "issued", "Condition": "recordedDate"}
Event = tuple[str, datetime | None, str, float | None, str | None, str | None, datetime | None]


@pytest.fixture(scope="module")
def folder(real_data: Path) -> Path:
    found = real_data / "fhir-smart-synthea-r4"
    if not found.is_dir():
        pytest.skip("fhir-smart-synthea-r4 is not on this machine")
    return found


@pytest.fixture(scope="module")
def scanned(folder: Path) -> tuple[FhirScan, list[RawRows]]:
    scan = RECORD_FORMAT.scan(folder)
    return scan, list(scan.parts())


@pytest.fixture(scope="module")
def resources(folder: Path) -> list[dict[str, Any]]:
    bundles = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    return [entry["resource"] for bundle in bundles for entry in bundle["entry"]]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def code_of(concept: dict[str, Any]) -> str:
    coding = concept["coding"][0]
    return f"{NAMES[coding['system']]}//{coding['code']}"


def expected(r: dict[str, Any]) -> Iterator[Event]:
    """Give the events of a resource as the paths of this data set state them."""
    kind = r["resourceType"]
    if kind == "Patient":
        yield r["id"], datetime.fromisoformat(r["birthDate"]), "MEDS_BIRTH", None, None, None, None
        yield r["id"], None, f"GENDER//{r['gender']}", None, None, None, None
        for extension in r["extension"]:
            name = extension["url"].rsplit("us-core-", 1)[-1].upper()
            if name in ("RACE", "ETHNICITY"):
                display = extension["extension"][0]["valueCoding"]["display"]
                yield r["id"], None, f"{name}//{display}", None, None, None, None
        if "deceasedDateTime" in r:
            yield r["id"], utc(r["deceasedDateTime"]), "MEDS_DEATH", None, None, None, None
        return
    person = (r.get("subject") or r["patient"])["reference"].removeprefix("urn:uuid:")
    known = utc(r[AVAILABLE[kind]]) if kind in AVAILABLE else None
    if kind == "Encounter":
        short = r["class"]["code"]
        for edge, stay in (("start", "HOSPITAL_ADMISSION"), ("end", "HOSPITAL_DISCHARGE")):
            time = utc(r["period"][edge])
            yield person, time, f"ENCOUNTER//{short}//{edge.upper()}", None, None, None, None
            if short == "IMP":
                disposition = r.get("hospitalization", {}).get("dischargeDisposition") if edge == "end" else None
                code = f"{stay}//{disposition['coding'][0]['code']}" if disposition else stay
                yield person, time, code, None, None, None, None
    elif kind == "Condition":
        yield person, utc(r["onsetDateTime"]), code_of(r["code"]), None, None, None, known
        if "abatementDateTime" in r:
            yield person, utc(r["abatementDateTime"]), code_of(r["code"]) + "//RESOLVED", None, None, None, None
    elif kind == "Observation":
        for item in r.get("component", [r]):
            value, unit, text = None, None, None
            if "valueQuantity" in item:
                value, unit = item["valueQuantity"]["value"], item["valueQuantity"]["code"]
            elif "valueCodeableConcept" in item:
                text = item["valueCodeableConcept"]["coding"][0]["display"]
            elif "valueString" in item:
                text = item["valueString"]
            yield person, utc(r["effectiveDateTime"]), code_of(item["code"]), value, text, unit, known
    else:
        concept = r.get("vaccineCode") or r.get("medicationCodeableConcept") or r["code"]
        code = code_of(concept)
        code = {"AllergyIntolerance": f"ALLERGY//{code}", "DiagnosticReport": f"{code}//REPORT"}.get(kind, code)
        yield person, utc(TIMES[kind](r)), code, None, r.get("criticality"), None, known


SEEN = ("Patient", "Encounter", "Condition", "Observation", *TIMES)


@pytest.mark.parametrize("table", SEEN)
def test_events_are_those_of_a_plain_loop(
    scanned: tuple[FhirScan, list[RawRows]], resources: list[dict[str, Any]], table: str
) -> None:
    wanted = [event for r in resources if r["resourceType"] == table for event in expected(r)]
    schema: dict[str, Any] = {"subject_id": pl.String, "time": pl.Datetime("us"), "code": pl.String}
    schema |= {"numeric_value": pl.Float32}
    schema |= {"text_value": pl.String, "unit": pl.String, "available_time": pl.Datetime("us")}
    plain = pl.DataFrame(wanted, schema=schema, orient="row")
    parts = [part for part in scanned[1] if part.table == table]
    found = pl.concat([part.events for part in parts]).select(list(schema))
    assert plain.height > 0
    assert found.sort(list(schema)).equals(plain.sort(list(schema)))
    assert sum(part.n_rows for part in parts) == sum(r["resourceType"] == table for r in resources)
    assert sum(part.dropped.height for part in parts) == 0


def test_every_resource_is_accounted_for(
    scanned: tuple[FhirScan, list[RawRows]], resources: list[dict[str, Any]]
) -> None:
    scan, parts = scanned
    counts: Counter[str] = Counter({left.file: left.rows for left in scan.left_out})
    for part in parts:
        counts[part.table] += part.n_rows
        rows = part.events["source_row"].unique().to_list() + part.dropped["source_row"].to_list()
        assert sorted(rows) == list(range(part.n_rows))
    assert counts == Counter(r["resourceType"] for r in resources)
    described = dict(scan.descriptions().iter_rows())
    assert described["LOINC//8302-2"] == "Body Height"


def test_no_name_or_number_of_a_person_is_left(
    scanned: tuple[FhirScan, list[RawRows]], resources: list[dict[str, Any]]
) -> None:
    scan, parts = scanned
    columns = ("code", "text_value", "unit")
    texts = {v for part in parts for c in columns for v in part.events[c].drop_nulls().unique()}
    texts |= {v for part in parts for c in ("reason", "field", "value") for v in part.dropped[c].drop_nulls()}
    texts |= {left.file for left in scan.left_out} | {left.reason for left in scan.left_out}
    texts |= {text for row in scan.descriptions().iter_rows() for text in row}
    whole = "\n".join(sorted(texts))
    for person in (r for r in resources if r["resourceType"] == "Patient"):
        secrets = [person["id"], *(i["value"] for i in person["identifier"]), person["address"][0]["line"][0]]
        secrets += [name["family"] for name in person["name"]] + [t["value"] for t in person["telecom"]]
        assert not [s for s in secrets if s in whole]


def test_ndjson_of_the_same_resources_gives_the_same_events(
    folder: Path, scanned: tuple[FhirScan, list[RawRows]], resources: list[dict[str, Any]], tmp_path: Path
) -> None:
    kinds = sorted({r["resourceType"] for r in resources})
    for kind in kinds:
        lines = (json.dumps(r) + "\n" for r in resources if r["resourceType"] == kind)
        (tmp_path / f"{kind}.ndjson").write_text("".join(lines))
    assert RECORD_FORMAT.recognises(folder)
    assert RECORD_FORMAT.recognises(tmp_path)
    scan = RECORD_FORMAT.scan(tmp_path)
    lines_events = pl.concat([part.events for part in scan.parts()]).drop("source_row")
    bundle_events = pl.concat([part.events for part in scanned[1]]).drop("source_row")
    assert lines_events.sort(pl.all()).equals(bundle_events.sort(pl.all()))
    assert scan.left_out == scanned[0].left_out
    assert scan.adjusted == scanned[0].adjusted
