"""FHIR R4 resources of every type that is read, with their events written down by hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from genomix.io import fhir_rows
from genomix.io.availability import DEFAULT_RULES, AvailabilityRules, add_availability
from tests.unit.io.fhir_resources import (
    ALICE,
    LOINC,
    NOON,
    RXNORM,
    SNOMED,
    TWO,
    Read,
    Resource,
    at,
    concept,
    observation,
    quantity,
    read,
    read_lines,
)


@pytest.fixture
def ndjson(tmp_path: Path) -> Callable[..., Read]:
    """Write resources as the lines of one file and read it."""
    return partial(read_lines, tmp_path)


US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"


def test_a_patient_gives_birth_death_and_static_facts(ndjson: Callable[..., Read]) -> None:
    def group(name: str, *displays: str) -> Resource:
        inner = [{"url": "ombCategory", "valueCoding": {"code": "x", "display": d}} for d in displays]
        return {"url": US_CORE + name, "extension": [*inner, {"url": "text", "valueString": "in words"}]}

    found = ndjson(
        {
            "resourceType": "Patient", "id": "alice", "birthDate": "1949-06-09", "gender": "female",
            "deceasedDateTime": "2019-12-31T23:30:00-01:00",
            "extension": [group("race", "Asian", "White"), group("ethnicity", "Not Hispanic or Latino")],
        },
        {"resourceType": "Patient", "id": "bob", "extension": [group("race")], "deceasedBoolean": True},
    )  # fmt: skip
    assert found.values("subject_id", "time", "code", "time_precision") == [
        ("alice", at("1949-06-09"), "MEDS_BIRTH", "day"),
        ("alice", at("2020-01-01 00:30"), "MEDS_DEATH", None),
        ("alice", None, "GENDER//female", None),
        ("alice", None, "RACE//Asian", None),
        ("alice", None, "RACE//White", None),
        ("alice", None, "ETHNICITY//Not Hispanic or Latino", None),
        ("bob", None, "RACE//in words", None),
    ]
    assert found.dropped == []
    assert found.scan.adjusted == {fhir_rows.ZONED: 1, "dead without a date of death: no MEDS_DEATH": 1}


@pytest.mark.parametrize(("stated", "first"), [("1970", "1970-01-01"), ("1970-05", "1970-05-01")])
def test_a_partial_birth_date_is_its_first_day(ndjson: Callable[..., Read], stated: str, first: str) -> None:
    found = ndjson({"resourceType": "Patient", "id": "alice", "birthDate": stated})
    assert found.values("time", "time_precision", "available_time") == [(at(first), "day", None)]
    assert found.scan.adjusted == {fhir_rows.PARTIAL: 1}


def test_other_partial_dates_are_known_when_their_month_or_year_is_over(ndjson: Callable[..., Read]) -> None:
    base = {"resourceType": "Condition", "subject": ALICE, "code": concept(SNOMED, "73211009")}
    found = ndjson(
        base | {"onsetDateTime": "2019"},
        base | {"onsetDateTime": "2020-02"},
        base | {"onsetDateTime": "2019", "recordedDate": "2019-06-05"},
    )
    assert found.values("time", "available_time") == [
        (at("2019-01-01"), at("2019-12-31 23:59:59.999999")),
        (at("2020-02-01"), at("2020-02-29 23:59:59.999999")),
        (at("2019-01-01"), at("2019-06-05 23:59:59.999999")),
    ]


def test_encounters_start_end_and_are_hospital_stays_where_inpatient(ndjson: Callable[..., Read]) -> None:
    base = {"resourceType": "Encounter", "status": "finished", "subject": ALICE, "period": {"start": NOON, "end": TWO}}
    home = {"dischargeDisposition": concept("http://terminology.hl7.org/CodeSystem/discharge-disposition", "home")}
    found = ndjson(
        base | {"class": {"code": "AMB"}},
        base | {"class": {"code": "IMP"}, "hospitalization": home},
        base | {"class": {"code": "ACUTE"}, "period": {"start": NOON}},
        base | {"class": {"code": "NONAC"}, "period": {"end": TWO}},
        base | {"class": {"code": "EMER"}, "period": {"start": NOON}},
        base | {"type": [concept(SNOMED, "185347001")], "period": {"start": NOON}},
        base | {"class": {"code": "IMP"}, "status": "planned"},
        base | {"class": {"code": "IMP"}, "period": {}},
    )
    start, end = at("2020-03-01 12:00"), at("2020-03-01 14:00")
    assert found.values("source_row", "time", "code") == [
        (0, start, "ENCOUNTER//AMB//START"),
        (0, end, "ENCOUNTER//AMB//END"),
        (1, start, "ENCOUNTER//IMP//START"),
        (1, start, "HOSPITAL_ADMISSION"),
        (1, end, "ENCOUNTER//IMP//END"),
        (1, end, "HOSPITAL_DISCHARGE//home"),
        (2, start, "ENCOUNTER//ACUTE//START"),
        (2, start, "HOSPITAL_ADMISSION"),
        (3, end, "ENCOUNTER//NONAC//END"),
        (3, end, "HOSPITAL_DISCHARGE"),
        (4, start, "ENCOUNTER//EMER//START"),
        (5, start, "ENCOUNTER//SNOMED//185347001//START"),
    ]
    reason = "the status says that it did not take place, or is an error"
    assert found.dropped == [("Encounter", reason, "status", "planned"), ("Encounter", fhir_rows.NO_TIME, None, None)]


def test_a_condition_begins_is_resolved_and_is_known_when_recorded(ndjson: Callable[..., Read]) -> None:
    base = {"resourceType": "Condition", "subject": ALICE, "code": concept(SNOMED, "73211009", "Diabetes")}
    status = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
    found = ndjson(
        base | {"onsetDateTime": NOON, "abatementDateTime": TWO, "recordedDate": "2020-03-05T08:00:00+01:00"},
        base | {"onsetPeriod": {"start": NOON}, "recordedDate": "2020-03-01"},
        base | {"onsetDateTime": TWO, "recordedDate": NOON},
        base | {"onsetString": "in childhood", "recordedDate": NOON},
        base | {"onsetDateTime": NOON, "verificationStatus": concept(status, "provisional")},
        base | {"onsetDateTime": NOON, "verificationStatus": concept(status, "refuted")},
        base | {"onsetDateTime": NOON, "verificationStatus": concept(status, "entered-in-error")},
        base | {"onsetString": "in childhood"},
    )
    start, end = at("2020-03-01 12:00"), at("2020-03-01 14:00")
    assert found.values("time", "code", "available_time") == [
        (start, "SNOMED//73211009", at("2020-03-05 07:00")),
        (end, "SNOMED//73211009//RESOLVED", None),
        (start, "SNOMED//73211009", at("2020-03-01 23:59:59.999999")),
        (end, "SNOMED//73211009", None),
        (start, "SNOMED//73211009", start),
        (start, "SNOMED//73211009", None),
    ]
    reason = "the status says that it was refuted, or is an error"
    assert found.dropped == [
        ("Condition", reason, "verificationStatus.coding.code", "refuted"),
        ("Condition", reason, "verificationStatus.coding.code", "entered-in-error"),
        ("Condition", fhir_rows.NO_TIME, None, None),
    ]
    assert found.scan.adjusted[fhir_rows.EARLY] == 1
    assert found.scan.adjusted["condition that is not confirmed, kept"] == 1
    assert found.scan.descriptions().rows() == [
        ("SNOMED//73211009", "Diabetes"),
        ("SNOMED//73211009//RESOLVED", "Diabetes"),
    ]


@pytest.mark.parametrize(
    ("value", "number", "text", "unit"),
    [
        ({"valueQuantity": quantity(1.5)}, 1.5, None, "mg/dL"),
        ({"valueQuantity": quantity(0.1, comparator="<")}, 0.1, "<", "mg/dL"),
        ({"valueQuantity": {"value": 7, "unit": "points"}}, 7, None, "points"),
        ({"valueQuantity": {"value": "2.5", "code": "x", "system": "http://own"}}, 2.5, None, "x"),
        ({"valueQuantity": {"unit": "mg/dL", "code": "mg/dL"}}, None, None, None),
        ({"valueQuantity": quantity(1e300)}, None, None, "mg/dL"),
        ({"valueInteger": 3}, 3, None, None),
        ({"valueBoolean": False}, None, "false", None),
        ({"valueString": " positive "}, None, "positive", None),
        ({"valueCodeableConcept": concept(SNOMED, "266919005", "Never smoker")}, None, "Never smoker", None),
        ({"valueCodeableConcept": {"text": "in words"}}, None, "in words", None),
        ({"valueCodeableConcept": concept(SNOMED, "266919005")}, None, "266919005", None),
        ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}}, None, "1:128", None),
        ({"valueRange": {"low": quantity(1), "high": quantity(5)}}, None, "1 to 5 mg/dL", None),
        ({"valueDateTime": "2020-01"}, None, "2020-01", None),
        ({"dataAbsentReason": concept("x", "unknown")}, None, None, None),
    ],
)
def test_every_type_of_value(
    ndjson: Callable[..., Read], value: Resource, number: float | None, text: str | None, unit: str | None
) -> None:
    found = ndjson(observation(**value))
    (row,) = found.values("code", "numeric_value", "text_value", "unit")
    assert row == ("LOINC//2160-0", pytest.approx(number) if number is not None else None, text, unit)
    assert found.scan.adjusted.get(fhir_rows.LIMIT, 0) == (text == "<")
    assert found.scan.adjusted.get("value absent, as the source says", 0) == ("dataAbsentReason" in value)


def test_a_value_of_a_type_that_is_not_read_is_noted(ndjson: Callable[..., Read]) -> None:
    found = ndjson(observation(valueSampledData={"origin": {"value": 0}, "period": 10, "dimensions": 1, "data": "1 2"}))
    assert found.values("code", "numeric_value", "text_value") == [("LOINC//2160-0", None, None)]
    assert found.scan.adjusted[fhir_rows.UNREAD] == 1


def test_components_are_events_of_their_own(ndjson: Callable[..., Read]) -> None:
    parts = [
        {"code": concept(LOINC, "8480-6"), "valueQuantity": quantity(120, "mm[Hg]")},
        {"code": concept(LOINC, "8462-4"), "valueQuantity": quantity(80, "mm[Hg]")},
        {"code": {}, "valueInteger": 1},
    ]
    panel = concept(LOINC, "55284-4")
    found = ndjson(
        observation(code=panel, component=parts, issued=TWO), observation(code=panel, component=parts, valueInteger=9)
    )
    assert found.values("source_row", "code", "numeric_value", "unit", "available_time") == [
        (0, "LOINC//8480-6", 120, "mm[Hg]", at("2020-03-01 14:00")),
        (0, "LOINC//8462-4", 80, "mm[Hg]", at("2020-03-01 14:00")),
        (1, "LOINC//55284-4", 9, None, None),
        (1, "LOINC//8480-6", 120, "mm[Hg]", None),
        (1, "LOINC//8462-4", 80, "mm[Hg]", None),
    ]


def test_the_time_of_an_observation_and_of_its_release(ndjson: Callable[..., Read]) -> None:
    without = observation()
    del without["effectiveDateTime"]
    found = ndjson(
        observation(issued=TWO),
        observation(effectiveDateTime=TWO, issued=NOON),
        without | {"effectivePeriod": {"start": NOON, "end": TWO}},
        without | {"effectiveInstant": "2020-03-01T23:30:00.25-05:00"},
        without | {"issued": TWO},
        observation(effectiveDateTime="2020-03-01"),
        observation(issued="not a time"),
    )
    noon, two = at("2020-03-01 12:00"), at("2020-03-01 14:00")
    assert found.values("time", "available_time", "time_precision") == [
        (noon, two, None),
        (two, None, None),
        (two, None, None),
        (at("2020-03-02 04:30:00.25"), None, None),
        (two, two, None),
        (at("2020-03-01"), None, "day"),
        (noon, None, None),
    ]
    assert found.scan.adjusted == {fhir_rows.ZONED: 6, fhir_rows.EARLY: 2}


def test_times_that_cannot_be_are_dropped_and_words_in_their_place_are_not_shown(ndjson: Callable[..., Read]) -> None:
    period = {"start": NOON, "end": "2020-02-30T10:00:00Z"}
    found = ndjson(
        observation(effectiveDateTime="2020-02-30"),
        observation(effectiveDateTime="2020-13"),
        observation(effectiveDateTime="Jane Doe's birthday"),
        {"resourceType": "Encounter", "subject": ALICE, "class": {"code": "AMB"}, "period": period},
    )
    assert found.dropped == [
        ("Observation", fhir_rows.BAD_TIME, "effectiveDateTime", "2020-02-30"),
        ("Observation", fhir_rows.BAD_TIME, "effectiveDateTime", "2020-13"),
        ("Observation", fhir_rows.BAD_TIME, "effectiveDateTime", None),
    ]
    assert found.values("code") == ["ENCOUNTER//AMB//START"]
    assert found.scan.adjusted[fhir_rows.LOST] == 1


def test_medications_ordered_given_and_stated(ndjson: Callable[..., Read]) -> None:
    drug = {"subject": ALICE, "medicationCodeableConcept": concept(RXNORM, "310325", "ferrous sulfate")}
    order = drug | {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "authoredOn": NOON}
    given = drug | {"resourceType": "MedicationAdministration", "status": "completed", "effectiveDateTime": NOON}
    said = drug | {"resourceType": "MedicationStatement", "status": "active", "effectivePeriod": {"start": NOON}}
    found = ndjson(
        order,
        order | {"status": "cancelled"},
        order | {"intent": "plan"},
        order | {"doNotPerform": True},
        given | {"dosage": {"dose": quantity(5, "mg")}},
        given | {"status": "not-done"},
        said | {"dateAsserted": TWO},
        said | {"status": "not-taken"},
    )
    noon, two = at("2020-03-01 12:00"), at("2020-03-01 14:00")
    assert found.values("time", "code", "numeric_value", "unit", "available_time") == [
        (noon, "RxNorm//310325//GIVEN", 5, "mg", None),
        (noon, "RxNorm//310325", None, None, noon),
        (noon, "RxNorm//310325//STATED", None, None, two),
    ]
    assert [(table, field, value) for table, _, field, value in found.dropped] == [
        ("MedicationAdministration", "status", "not-done"),
        ("MedicationRequest", "status", "cancelled"),
        ("MedicationRequest", "intent", "plan"),
        ("MedicationRequest", "doNotPerform", "true"),
        ("MedicationStatement", "status", "not-taken"),
    ]


def test_a_medication_is_found_wherever_it_is(tmp_path: Path) -> None:
    order = {"resourceType": "MedicationRequest", "intent": "order", "authoredOn": NOON, "subject": ALICE}
    orders = [
        order | {"medicationReference": {"reference": "Medication/m1"}},
        order | {"medicationReference": {"reference": "https://server/fhir/Medication/m1/_history/2"}},
        order
        | {
            "medicationReference": {"reference": "#m"},
            "contained": [{"resourceType": "Medication", "id": "m", "code": concept(RXNORM, "2")}],
        },
        order | {"medicationReference": {"reference": "Medication/absent", "display": "Aspirin"}},
        order | {"medicationReference": {"reference": "Medication/absent"}},
    ]
    medication = {"resourceType": "Medication", "id": "m1", "code": concept(RXNORM, "1")}
    (tmp_path / "a.ndjson").write_text("\n".join(json.dumps(r) for r in orders))
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(json.dumps(medication).encode()))
    found = read(tmp_path)
    assert found.values("code") == ["RxNorm//1", "RxNorm//1", "RxNorm//2", "TEXT//Aspirin"]
    assert found.dropped == [("MedicationRequest", fhir_rows.NO_CODE, None, None)]
    assert [tuple(x) for x in found.scan.left_out] == [("Medication", 1, "no view for this resource type")]


def test_procedures_immunizations_allergies_and_reports(ndjson: Callable[..., Read]) -> None:
    done = {"status": "completed", "code": concept(SNOMED, "80146002", "Appendectomy")}
    vaccine = {"resourceType": "Immunization", "patient": ALICE, "occurrenceDateTime": NOON}
    vaccine |= {"vaccineCode": concept("http://hl7.org/fhir/sid/cvx", "140")}
    allergy = {"resourceType": "AllergyIntolerance", "patient": ALICE, "code": concept(SNOMED, "91935009")}
    panel = {"resourceType": "DiagnosticReport", "subject": ALICE, "code": concept(LOINC, "51990-0")}
    refuted = concept("http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "refuted")
    found = ndjson(
        {"resourceType": "Procedure", "subject": ALICE, "performedPeriod": {"start": NOON, "end": TWO}} | done,
        {"resourceType": "Procedure", "subject": ALICE, "performedDateTime": TWO} | done | {"status": "not-done"},
        vaccine | {"status": "completed", "recorded": "2020-03-02"},
        vaccine | {"status": "entered-in-error"},
        allergy | {"recordedDate": NOON, "criticality": "high"},
        allergy | {"recordedDate": NOON, "verificationStatus": refuted},
        panel | {"effectiveDateTime": NOON, "issued": TWO, "conclusionCode": [concept(SNOMED, "1", "anaemia")]},
        panel | {"effectiveDateTime": NOON, "status": "cancelled"},
    )
    noon, two, day = at("2020-03-01 12:00"), at("2020-03-01 14:00"), at("2020-03-02 23:59:59.999999")
    assert found.values("time", "code", "text_value", "available_time") == [
        (noon, "ALLERGY//SNOMED//91935009", "high", noon),
        (noon, "LOINC//51990-0//REPORT", "anaemia", two),
        (noon, "CVX//140", None, day),
        (noon, "SNOMED//80146002", None, None),
    ]
    assert [row[0] for row in found.dropped] == ["AllergyIntolerance", "DiagnosticReport", "Immunization", "Procedure"]
    assert {rule.table: rule.available for rule in found.scan.rules} == {
        "Condition": "discharge", "Procedure": "discharge", "AllergyIntolerance": "discharge",
    }  # fmt: skip
    assert all(rule.why for rule in found.scan.rules)


def test_what_was_not_recorded_within_a_stay_is_known_at_its_end(ndjson: Callable[..., Read]) -> None:
    stay = {"start": "2020-03-01T08:00:00Z", "end": "2020-03-05T15:00:00Z"}
    condition = {"resourceType": "Condition", "subject": ALICE, "onsetDateTime": NOON}
    found = ndjson(
        {"resourceType": "Encounter", "subject": ALICE, "class": {"code": "IMP"}, "period": stay},
        condition | {"code": concept(SNOMED, "1")},
        condition | {"code": concept(SNOMED, "2"), "recordedDate": TWO},
        {"resourceType": "Procedure", "subject": ALICE, "performedDateTime": NOON, "code": concept(SNOMED, "3")},
        observation(issued=TWO),
    )
    tables = pl.col("code").replace_strict(
        {"SNOMED//1": "Condition", "SNOMED//2": "Condition", "SNOMED//3": "Procedure"}, default=None
    )
    rules = AvailabilityRules(found.scan.rules + DEFAULT_RULES.rules)
    known = add_availability(found.events.with_columns(tables.alias("table")), rules).events
    assert dict(
        known.filter(pl.col("time") == at("2020-03-01 12:00")).select("code", "available_time").iter_rows()
    ) == {
        "SNOMED//1": at("2020-03-05 15:00"),
        "SNOMED//2": at("2020-03-01 14:00"),
        "SNOMED//3": at("2020-03-05 15:00"),
        "LOINC//2160-0": at("2020-03-01 14:00"),
    }
