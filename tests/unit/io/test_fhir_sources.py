"""FHIR R4 sources: bundles, NDJSON, references, codes, broken files, and what identifies a person."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import FormatError, InputNotFoundError, TruncatedInputError
from genomix.io import fhir_rows
from genomix.io.fhir import RECORD_FORMAT, FhirScan
from genomix.io.fhir_views import shipped_views
from tests.unit.io.fhir_resources import (
    ALICE,
    LOINC,
    NOON,
    RXNORM,
    SNOMED,
    Read,
    Resource,
    concept,
    observation,
    read,
    read_lines,
)


@pytest.fixture
def ndjson(tmp_path: Path) -> Callable[..., Read]:
    """Write resources as the lines of one file and read it."""
    return partial(read_lines, tmp_path)


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ({"coding": [{"system": "http://own.org/codes", "code": "1"}, {"system": LOINC, "code": "2"}]}, "LOINC//2"),
        ({"coding": [{"system": SNOMED, "code": "1"}, {"system": LOINC, "code": "2"}]}, "LOINC//2"),
        ({"coding": [{"system": "http://a/x", "code": "1"}, {"system": "http://b/y/", "code": "2"}]}, "x//1"),
        (
            {"coding": [{"system": "u:a", "code": "1"}, {"system": "u:b", "code": "2", "userSelected": True}]},
            "b//2",
        ),
        ({"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm|2020", "code": "E11.9"}]}, "ICD10CM//E11.9"),
        ({"coding": [{"system": "urn:oid:2.16.840.1.113883.6.1", "code": "3"}]}, "LOINC//3"),
        ({"coding": [{"code": "4"}]}, "LOCAL//4"),
        ({"coding": [{"system": LOINC, "display": "no code"}], "text": "in words"}, "TEXT//in words"),
    ],
)
def test_which_coding_counts(ndjson: Callable[..., Read], code: Resource, event: str) -> None:
    assert ndjson(observation(code=code)).values("code") == [event]


def test_subjects_that_are_no_patient_or_missing_are_dropped(ndjson: Callable[..., Read]) -> None:
    found = ndjson(
        observation(subject={"reference": "Group/g1"}),
        observation(subject={"reference": "https://server/fhir/Device/d1"}),
        observation(subject={"reference": "Patient?identifier=secret"}),
        observation(subject={"display": "Jane Doe"}),
        observation(subject={"reference": "https://server/fhir/Patient/alice/_history/3"}),
        observation(subject={"reference": "urn:uuid:3f1c"}),
        observation(subject={"reference": "urn:uuid:3f1c", "type": "Location"}),
    )
    assert found.dropped == [
        ("Observation", fhir_rows.NOT_A_PATIENT, "subject", "Group"),
        ("Observation", fhir_rows.NOT_A_PATIENT, "subject", "Device"),
        ("Observation", fhir_rows.NO_SUBJECT, "subject", None),
        ("Observation", fhir_rows.NO_SUBJECT, "subject", None),
        ("Observation", fhir_rows.NOT_A_PATIENT, "subject", "Location"),
    ]
    assert found.values("subject_id") == ["alice", "3f1c"]


def bundle(*entries: Resource, kind: str = "transaction") -> str:
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": list(entries)})


def test_references_inside_a_bundle_lead_to_its_resources(tmp_path: Path) -> None:
    order = {"resourceType": "MedicationRequest", "authoredOn": NOON, "subject": {"reference": "urn:uuid:1"}}
    (tmp_path / "one.json").write_text(
        bundle(
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "alice", "gender": "female"}},
            {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Patient", "gender": "male"}},
            {"fullUrl": "urn:uuid:3", "resource": {"resourceType": "Group"}},
            {"fullUrl": "urn:uuid:4", "resource": {"resourceType": "Medication", "code": concept(RXNORM, "1")}},
            {"resource": order | {"medicationReference": {"reference": "urn:uuid:4"}}},
            {"resource": observation(subject={"reference": "urn:uuid:2"})},
            {"resource": observation(subject={"reference": "urn:uuid:3"})},
            {"request": {"method": "DELETE", "url": "Patient/x"}},
        )
    )
    (tmp_path / "two.json").write_text(
        bundle({"resource": {"resourceType": "Patient", "id": "alice", "gender": "female"}}, kind="searchset")
    )
    found = read(tmp_path)
    assert found.values("subject_id", "code") == [
        ("alice", "RxNorm//1"),
        ("2", "LOINC//2160-0"),
        ("alice", "GENDER//female"),
        ("2", "GENDER//male"),
    ]
    assert found.dropped == [
        ("Observation", fhir_rows.NOT_A_PATIENT, "subject", "Group"),
        ("Patient", fhir_rows.READ_BEFORE, None, None),
    ]
    assert [tuple(x) for x in found.scan.left_out] == [
        ("Group", 1, "no view for this resource type"),
        ("Medication", 1, "no view for this resource type"),
        ("Bundle", 1, "entry of a bundle without a resource"),
    ]


def test_bundle_ndjson_and_gzip_give_the_same_events(tmp_path: Path) -> None:
    resources: list[Resource] = [{"resourceType": "Patient", "id": "alice", "gender": "female", "birthDate": "1970"}]
    resources += [observation(valueInteger=i) for i in range(7)]
    resources += [{"resourceType": "Claim", "id": str(i)} for i in range(3)]
    resources += [observation(status="cancelled"), {"resourceType": "Condition", "subject": ALICE}]
    lines = "\n\n".join(json.dumps(r) for r in resources).encode()
    files = {
        "a.json": bundle(*({"resource": r} for r in resources), kind="collection").encode(),
        "b.ndjson": lines,
        "c.ndjson.gz": gzip.compress(lines),
    }
    found = {}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert RECORD_FORMAT.recognises(tmp_path / name)
        found[name] = read(tmp_path / name)
    parted = read(tmp_path / "b.ndjson", FhirScan(tmp_path / "b.ndjson", shipped_views(), lines_per_part=3))
    for other in (*found.values(), parted):
        assert (
            other.events.drop("source_row")
            .sort(pl.all())
            .equals(found["a.json"].events.drop("source_row").sort(pl.all()))
        )
        assert sorted(other.dropped) == sorted(found["a.json"].dropped)
        assert other.scan.left_out == [("Claim", 3, "no view for this resource type")]
        assert other.scan.adjusted == found["a.json"].scan.adjusted
        assert other.rows == 10


def test_parts_number_the_rows_of_a_type_within_its_file(tmp_path: Path) -> None:
    file = tmp_path / "o.ndjson"
    file.write_text("\n".join(json.dumps(observation(valueInteger=i)) for i in range(5)))
    parts = list(FhirScan(file, shipped_views(), lines_per_part=2).parts())
    assert [(p.table, p.file, p.first_row, p.n_rows) for p in parts] == [
        ("Observation", "file 1 of 1", 1, 2),
        ("Observation", "file 1 of 1", 3, 2),
        ("Observation", "file 1 of 1", 5, 1),
    ]


def test_nothing_but_the_subject_identifies_a_person(tmp_path: Path) -> None:
    secret = "Xyzzy"
    who = {
        "resourceType": "Patient", "id": "alice", "gender": "female", "birthDate": "1970-01-01",
        "name": [{"family": secret, "given": [secret], "text": secret}],
        "identifier": [{"system": "http://hospital", "value": secret}],
        "telecom": [{"value": secret}],
        "address": [{"line": [secret], "city": secret, "postalCode": secret}],
        "contact": [{"name": {"family": secret}}],
        "text": {"div": secret},
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
                       "valueString": secret}],
    }  # fmt: skip
    person = {"reference": "Patient/alice", "display": secret, "identifier": {"value": secret}}
    common: Resource = {
        "id": secret,
        "identifier": [{"value": secret}],
        "note": [{"text": secret}],
        "text": {"div": secret},
    }
    common |= {"performer": [{"display": secret}], "subject": person, "patient": person}
    common |= {"encounter": {"reference": f"Encounter/{secret}"}, "code": concept(LOINC, "1")}
    dated: Resource = {"effectiveDateTime": NOON, "recordedDate": NOON, "performedDateTime": NOON, "authoredOn": NOON}
    dated |= {"occurrenceDateTime": NOON, "period": {"start": NOON}, "class": {"code": "IMP"}}
    dated |= {"vaccineCode": concept(LOINC, "1"), "medicationCodeableConcept": concept(LOINC, "1")}
    types = [t for t in shipped_views().views if t != "Patient"]
    resources: list[Resource] = [who, {"resourceType": "Person", "name": [{"family": secret}]}]
    resources += [{"resourceType": t} | common | extra for t in types for extra in (dated, {}, dated | {"status": "x"})]
    resources += [{"resourceType": t} | common | {"subject": {"reference": f"Group/{secret}"}} for t in types]
    (tmp_path / "all.ndjson").write_text("\n".join(json.dumps(r) for r in resources))
    found = read(tmp_path)
    assert dict.fromkeys(types, 0).keys() <= {table for table, *_ in found.dropped}
    assert set(found.values("subject_id")) == {"alice"}
    written = [found.events.write_json(), json.dumps(found.dropped), str(found.scan.left_out)]
    written += [found.scan.descriptions().write_json(), str(found.scan.adjusted)]
    assert not any(secret in text for text in written)


GOOD = json.dumps(observation())


@pytest.mark.parametrize(
    ("name", "content", "line", "error"),
    [
        ("a.ndjson", f"{GOOD}\n{GOOD}\nnot json\n", ":3", FormatError),
        ("a.ndjson", f"{GOOD}\n{GOOD[:40]}", ":2", TruncatedInputError),
        ("a.ndjson", f'{GOOD}\n{{"a": 1}}\n', ":2", FormatError),
        ("a.ndjson", f"{GOOD}\n[1, 2]\n", ":2", FormatError),
        ("a.ndjson", f'{GOOD}\n{{"resourceType": "no type"}}\n', ":2", FormatError),
        ("a.json", f'{{"resourceType": "Bundle",\n"entry": [\n{{"resource": {GOOD}', ":3", TruncatedInputError),
        ("a.json", '{"resourceType": "Bundle",\n"type": broken}', ":2", FormatError),
        ("a.json", '{"resourceType": "Bundle", "entry": {}}', "", FormatError),
        ("a.json", '{"resourceType": "Bundle", "entry": [{"resource": {"id": "x"}}]}', ", entry 1", FormatError),
        ("a.json", '{"resourceType": "Bundle", "type": "history"}', "", FormatError),
        ("a.json", '{"some": "JSON"}', "", FormatError),
        ("a.json", "", ":1", FormatError),
    ],
)
def test_broken_files_say_where(tmp_path: Path, name: str, content: str, line: str, error: type[FormatError]) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(error) as caught:
        list(RECORD_FORMAT.scan(file).parts())
    assert caught.value.where == f"{file}{line}"
    assert "alice" not in str(caught.value)


def test_a_cut_gzip_file_is_truncated(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson.gz"
    file.write_bytes(gzip.compress((GOOD + "\n").encode() * 500)[:-20])
    with pytest.raises(TruncatedInputError):
        list(RECORD_FORMAT.scan(file).parts())
    file.write_bytes(b"no gzip")
    with pytest.raises(FormatError):
        list(RECORD_FORMAT.scan(file).parts())
    assert not RECORD_FORMAT.recognises(file)


def test_what_is_recognised(tmp_path: Path) -> None:
    assert not RECORD_FORMAT.recognises(tmp_path)
    (tmp_path / "dataset.json").write_text('{"meds_version": "0.4.0"}')
    assert not RECORD_FORMAT.recognises(tmp_path)
    manifest = tmp_path / "export.json"
    manifest.write_text('{"transactionTime": "2020-01-01T00:00:00Z", "output": []}')
    (tmp_path / "o.ndjson").write_text("\ufeff" + GOOD)
    assert RECORD_FORMAT.recognises(tmp_path)
    assert not RECORD_FORMAT.recognises(tmp_path / "absent.json")
    assert not RECORD_FORMAT.recognises(manifest)
    (tmp_path / "dataset.json").unlink()
    found = read(tmp_path)
    assert (found.rows, [tuple(x) for x in found.scan.left_out]) == (
        1, [("file 1 of 2", 0, "the manifest of a bulk export")],
    )  # fmt: skip
    for absent in (tmp_path / "absent", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputNotFoundError):
            RECORD_FORMAT.scan(absent)


def test_a_dropped_row_is_told_by_its_own_file_where_bundles_are_read_together(tmp_path: Path) -> None:
    fine, bad = observation(valueInteger=1), observation(status="cancelled")
    for name, resources in (
        ("a", [fine, fine]),
        ("b", [bad]),
        ("c", [fine, {"resourceType": "Patient", "id": "alice"}, bad]),
    ):
        (tmp_path / f"{name}.json").write_text(bundle(*({"resource": r} for r in resources), kind="collection"))
    parts = {p.table: p for p in FhirScan(tmp_path, shipped_views()).parts()}
    told = parts["Observation"]
    assert told.n_rows == 5
    rows = told.dropped["source_row"].to_list()
    assert [told.place(row) for row in rows] == [("file 2 of 3", 1), ("file 3 of 3", 2)]
    assert told.place(0) == ("file 1 of 3", 1)
    assert parts["Patient"].place(0) == ("file 3 of 3", 1)
