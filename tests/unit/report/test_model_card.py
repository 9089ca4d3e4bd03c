"""The model card has the fields of CHAI's schema, filled with what the report prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from genomix.report.document import place_sections
from genomix.report.inputs import ReportInputs
from genomix.report.model_card import model_card
from tests.contracts import sample_report as sample

METRIC = ("MetricGoal", "Results", "Interpretation", "TestType", "TestingDataDescription",
          "ValidationProcessAndJustification")  # fmt: skip
FIELDS: dict[str, Any] = {
    "BasicInfo": ("ModelName", "ModelDeveloper", "DeveloperContact"),
    "ReleaseInfo": ("ReleaseStage", "ReleaseDate", "ReleaseVersion", "GlobalAvailability", "RegulatoryApproval"),
    "ModelSummary": ("Summary", "Keywords"),
    "UsesAndDirections": ("IntendedUseAndWorkflow", "PrimaryIntendedUsers", "HowToUse", "TargetedPatientPopulation",
                          "CautionedOutOfScopeSettings"),
    "Warnings": ("KnownRisksAndLimitations", "KnownBiasesOrEthicalConsiderations", "ClinicalRiskLevel"),
    "TrustIngredients": {
        "AISystemFacts": ("OutcomesAndOutputs", "ModelType", "FoundationModels", "InputDataSource",
                          "OutputAndInputDataTypes", "DevelopmentDataCharacterization", "BiasMitigationApproaches",
                          "OngoingMaintenance", "Security", "Transparency"),
        "TransparencyInformation": ("FundingSource", "ThirdPartyInformation", "StakeholdersConsulted"),
    },
    "KeyMetrics": {"UsefulnessUsabilityEfficacy": METRIC, "FairnessEquity": METRIC, "SafetyReliability": METRIC},
    "Resources": ("EvaluationReferences", "ClinicalTrial", "PeerReviewedPublications", "ReimbursementStatus",
                  "PatientConsentOrDisclosure"),
}  # fmt: skip
"""Elements of https://mc.chai.org/v0.2/schema.xsd in its order (its sequences fix it)."""

STUDIES = {
    "full": sample.full_inputs, "suppressed": sample.suppressed_inputs, "targets": lambda: sample.trait_inputs(4),
    "quantity": sample.quantity_inputs, "table": sample.table_inputs,
}  # fmt: skip


def _card(inputs: ReportInputs) -> tuple[dict[str, Any], str]:
    quick = replace(inputs, beeswarm=inputs.beeswarm.clear())
    sections = {p.name: p.section for p in place_sections(quick)}
    printed = json.dumps([s.to_json() for s in sections.values()], ensure_ascii=False)
    return model_card(quick, sections), printed


def _leaves(value: Any) -> Iterator[str]:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]:
        if isinstance(part, dict | list):
            yield from _leaves(part)
        else:
            yield part


@pytest.mark.parametrize("name", STUDIES)
def test_the_card_has_the_fields_of_the_schema(name: str) -> None:
    card = _card(STUDIES[name]())[0]["AppliedModelCard"]
    assert list(card) == [*FIELDS, "Bibliography"]
    for group, wanted in FIELDS.items():
        if isinstance(wanted, dict):
            assert {k: list(v) for k, v in card[group].items()} == {k: list(v) for k, v in wanted.items()}
        else:
            assert list(card[group]) == list(wanted)
    for part in card["KeyMetrics"].values():
        results = part["Results"]["MetricResult"]
        assert results
        for result in results:
            assert set(result) == {"Label", "ValueJson"}
            json.loads(result["ValueJson"])
    text = [leaf for leaf in _leaves(card) if leaf != card["Bibliography"]]
    assert all(isinstance(leaf, str) and leaf.strip() for leaf in text)
    json.dumps(card, allow_nan=False)


@pytest.mark.parametrize("name", ["full", "suppressed"])
def test_every_figure_of_the_card_is_printed_in_the_report(name: str) -> None:
    card, printed = _card(STUDIES[name]())
    for part in card["AppliedModelCard"]["KeyMetrics"].values():
        for result in part["Results"]["MetricResult"]:
            value = json.loads(result["ValueJson"])
            for text in value.values() if isinstance(value, dict) else [value]:
                assert json.dumps(text, ensure_ascii=False)[1:-1] in printed


def test_what_nobody_stated_is_not_made_up() -> None:
    card = _card(sample.full_inputs())[0]["AppliedModelCard"]
    assert card["BasicInfo"]["ModelDeveloper"] == "not stated"
    assert card["ReleaseInfo"]["ReleaseStage"] == "research"
    assert "Research use only" in card["UsesAndDirections"]["IntendedUseAndWorkflow"]
    full = sample.full_inputs()
    owned = replace(full, facts=replace(full.facts, owner="Clinic A", intended_use="triage of referrals"))
    card = _card(owned)[0]["AppliedModelCard"]
    assert card["UsesAndDirections"]["IntendedUseAndWorkflow"] == "As Clinic A states: Triage of referrals."
    assert card["BasicInfo"]["ModelDeveloper"] == "Clinic A"


def test_simulated_data_are_said_at_the_top() -> None:
    assert _card(sample.full_inputs())[0]["Simulated"] == ["health records", "outcome"]
