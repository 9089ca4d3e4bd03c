"""The model card: the fields of CHAI's Applied Model Card v0.2, filled with what the report says and nothing else.

Names and order of the fields are those of the Coalition for Health AI's schema (https://mc.chai.org/v0.2/schema.xsd).
What a study does not state stays ``not stated``: a card is no place for guesses. Every figure is a text that the
report prints, so the card gives away nothing that the page hides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from genomix.report.blocks import Figure, KeyNumbers, Section, Table
from genomix.report.findings import slope_sentence, status_sentence
from genomix.report.inputs import ReportInputs
from genomix.report.limits import limits
from genomix.report.metric_names import family_name, model_name
from genomix.report.numbers import NOT_STATED, count, days
from genomix.report.select import (
    is_binary,
    join_words,
    point,
    primary_model,
    sentence,
    targets,
    unit_word,
)  # fmt: skip
from genomix.report.survival import what_sentence

SCHEMA = "https://mc.chai.org/v0.2/schema.xsd"
RESEARCH = "Research use only; not a medical device; not for individual care."


def model_card(inputs: ReportInputs, sections: Mapping[str, Section]) -> dict[str, Any]:
    """Return the card as JSON-able values.

    Parameters
    ----------
    inputs: of a study with a model. sections: the report's sections by name, as they are printed.
    """
    facts = inputs.facts
    return {
        "$schema": SCHEMA,
        "Simulated": list(facts.simulated),
        "AppliedModelCard": {
            "BasicInfo": {
                "ModelName": facts.title, "ModelDeveloper": facts.owner or NOT_STATED, "DeveloperContact": NOT_STATED,
            },
            "ReleaseInfo": {
                "ReleaseStage": "as its owner states" if _in_use(inputs) else "research",
                "ReleaseDate": facts.report_date or NOT_STATED,
                "ReleaseVersion": _version(inputs), "GlobalAvailability": NOT_STATED,
                "RegulatoryApproval": "none stated",
            },
            "ModelSummary": {
                "Summary": f"{_output(inputs)} {_finding(sections, 'summary')}",
                "Keywords": {"Keyword": _keywords(inputs)},
            },
            "UsesAndDirections": _uses(inputs),
            "Warnings": _warnings(inputs, sections),
            "TrustIngredients": {"AISystemFacts": _system(inputs, sections), "TransparencyInformation": {
                "FundingSource": NOT_STATED, "ThirdPartyInformation": NOT_STATED, "StakeholdersConsulted": NOT_STATED,
            }},
            "KeyMetrics": _key_metrics(inputs, sections),
            "Resources": {
                "EvaluationReferences": "report.html and report.json beside this card", "ClinicalTrial": NOT_STATED,
                "PeerReviewedPublications": NOT_STATED, "ReimbursementStatus": NOT_STATED,
                "PatientConsentOrDisclosure": _data_use(inputs),
            },
            "Bibliography": "",
        },
    }  # fmt: skip


def _in_use(inputs: ReportInputs) -> bool:
    return bool(inputs.facts.owner and inputs.facts.intended_use)


def _version(inputs: ReportInputs) -> str:
    stages = inputs.provenance.get("stages") or {}
    digest = next((v for k, v in stages.items() if k.partition("[")[0] == "model"), None)
    software = inputs.provenance.get("genomix_version")
    known = [f"model stage {digest}" if digest else "", f"genomix {software}" if software else ""]
    return ", ".join(k for k in known if k) or NOT_STATED


def _output(inputs: ReportInputs) -> str:
    facts = inputs.facts
    if inputs.survival is not None:
        return what_sentence(inputs, inputs.survival)
    kind = "The probability of" if is_binary(inputs) else "A predicted value of"
    ahead = f" within {days(facts.horizon_days)} of the prediction time" if facts.horizon_days is not None else ""
    return f"{kind} {facts.outcome.rstrip('.')}{ahead}."


def _keywords(inputs: ReportInputs) -> list[str]:
    return ["clinical prediction model", *(family_name(f).lower() for f in _families(inputs))]


def _families(inputs: ReportInputs) -> list[str]:
    return sorted(set(inputs.columns["family"].to_list()))


def _uses(inputs: ReportInputs) -> dict[str, str]:
    facts = inputs.facts
    stated = f"As {facts.owner} states: {sentence(facts.intended_use or '')}"
    use = stated if _in_use(inputs) else f"{RESEARCH} No workflow is stated."
    return {
        "IntendedUseAndWorkflow": use, "PrimaryIntendedUsers": NOT_STATED,
        "HowToUse": "genomix model predict, with the bundle of the model; the report says what its output means.",
        "TargetedPatientPopulation": sentence(facts.population) or NOT_STATED,
        "CautionedOutOfScopeSettings": "Any population, setting or time other than the study's: none was examined. "
        "Decisions about a person's care, unless the owner has shown that the model is fit for them.",
    }  # fmt: skip


def _warnings(inputs: ReportInputs, sections: Mapping[str, Section]) -> dict[str, str]:
    own = [sentence(t) for t in inputs.facts.limitations if t.strip()]
    return {
        "KnownRisksAndLimitations": " ".join([*limits(inputs), *own]),
        "KnownBiasesOrEthicalConsiderations": _finding(sections, "subgroups"),
        "ClinicalRiskLevel": "not classified",
    }


def _system(inputs: ReportInputs, sections: Mapping[str, Section]) -> dict[str, str]:
    model = primary_model(inputs)
    split = f" {sentence(inputs.facts.split_sentence)}" if inputs.facts.split_sentence else ""
    n = inputs.columns.height
    given = join_words([family_name(f).lower() for f in _families(inputs)]) if n else ""
    return {
        "OutcomesAndOutputs": _output(inputs),
        "ModelType": f"{model_name(model)} (genomix model “{model}”).",
        "FoundationModels": "none",
        "InputDataSource": _finding(sections, "data_quality"),
        "OutputAndInputDataTypes": f"{count(n)} numeric columns ({given}); output: one number a row."
        if n
        else NOT_STATED,
        "DevelopmentDataCharacterization": f"{_finding(sections, 'cohort_flow')}{split}",
        "BiasMitigationApproaches": "none was applied; performance by group is measured, see FairnessEquity",
        "OngoingMaintenance": "none stated",
        "Security": "The bundle's files are checked against their hashes before they are read.",
        "Transparency": "Explained by exact SHAP values; the report lists what drives the predictions. "
        + _finding(sections, "importance"),
    }


def _key_metrics(inputs: ReportInputs, sections: Mapping[str, Section]) -> dict[str, Any]:
    names = targets(inputs)
    slopes = [point(inputs, "calibration_slope", target=n, model=primary_model(inputs)) for n in names]
    slope = slope_sentence(slopes[0]) if len(slopes) == 1 else _finding(sections, "calibration")
    checks = status_sentence(inputs) if inputs.certificate.height else "No leakage check was run."
    return {
        "UsefulnessUsabilityEfficacy": _metric(
            inputs, "To rank and predict for people whom the model never saw.", _numbers(sections),
            _finding(sections, "summary"),
        ),
        "FairnessEquity": _metric(
            inputs, "To find groups for whom the predictions are worse.", _rows(sections, "subgroups"),
            _finding(sections, "subgroups"),
        ),
        "SafetyReliability": _metric(
            inputs, "Predicted values that mean what they say, and figures free of leakage.",
            [*_rows(sections, "calibration"), {"Label": "Leakage checks", "ValueJson": json.dumps(checks)}],
            f"{slope} {checks}",
        ),
    }  # fmt: skip


def _metric(inputs: ReportInputs, goal: str, results: Sequence[dict[str, str]], said: str) -> dict[str, Any]:
    nothing = [{"Label": "not computed", "ValueJson": "null"}]
    return {
        "MetricGoal": goal, "Results": {"MetricResult": list(results) or nothing}, "Interpretation": said,
        "TestType": "internal validation on held-out data",
        "TestingDataDescription": f"Held-out {unit_word(inputs)} of the same study. "
        + (sentence(inputs.facts.population) or "The population is not stated."),
        "ValidationProcessAndJustification": sentence(inputs.facts.split_sentence) or NOT_STATED,
    }  # fmt: skip


def _numbers(sections: Mapping[str, Section]) -> list[dict[str, str]]:
    summary = sections["summary"].blocks if "summary" in sections else ()
    blocks = [b for b in summary if isinstance(b, KeyNumbers)]
    return [
        _result(item.label, {"estimate": item.number, "interval_95": item.interval, "beside": item.beside})
        for block in blocks
        for item in block.items
    ]


def _rows(sections: Mapping[str, Section], name: str) -> list[dict[str, str]]:
    """Return the rows of a section's first table as printed: the heading is the label, the other cells the value."""
    section = sections.get(name)
    tables = [b.table if isinstance(b, Figure) else b for b in section.blocks if isinstance(b, Figure | Table)] if (
        section) else []  # fmt: skip
    if name == "calibration":
        tables = [t for t in tables if t.columns[0].heading in ("Measure", "Target")]
    found = []
    for row in tables[0].rows if tables else ():
        heads = [c.heading for c in tables[0].columns]
        found.append(_result(row[0].text, {h: c.text for h, c in zip(heads[1:], row[1:], strict=True)}))
    return found


def _result(label: str, value: Mapping[str, str]) -> dict[str, str]:
    return {"Label": label, "ValueJson": json.dumps(dict(value), ensure_ascii=False)}


def _finding(sections: Mapping[str, Section], name: str) -> str:
    return sections[name].finding if name in sections else "This was not computed."


def _data_use(inputs: ReportInputs) -> str:
    stated = inputs.facts.data_use
    return "; ".join(f"{k}: {v}" for k, v in stated.items()) if stated else NOT_STATED
