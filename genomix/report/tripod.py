"""TRIPOD+AI's 27 items with their sub-items, and what this report can say to each (doi:10.1136/bmj-2023-078378)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from genomix.report.inputs import ReportInputs
from genomix.report.select import ALL, is_binary, targets, threshold_row

Answer = Literal["answered", "in part", "not done", "for the authors"]
"""``answered`` and ``in part`` point at a section; the others say why there is none."""


class Item(NamedTuple):
    """One sub-item: number, what it asks in our words, the section that speaks to it, how far, and what is lacking.

    ``needs`` says whether the report has what the section needs; where not, the item is not done.
    """

    number: str
    asks: str
    answer: Answer
    section: str | None = None
    remark: str = ""
    needs: Callable[[ReportInputs], bool] | None = None


def has_metrics(inputs: ReportInputs) -> bool:
    """Say whether any performance was computed."""
    return inputs.metrics.height > 0


def has_subgroups(inputs: ReportInputs) -> bool:
    """Say whether performance was computed for any group of people."""
    return inputs.metrics.filter(inputs.metrics["group"] != ALL).height > 0


def has_flow(inputs: ReportInputs) -> bool:
    """Say whether it was counted who entered and left."""
    return inputs.flow.height > 0


def has_quality(inputs: ReportInputs) -> bool:
    """Say whether any figure on the data is there."""
    return any(inputs.quality.values())


def has_features(inputs: ReportInputs) -> bool:
    """Say whether the features are listed."""
    return inputs.columns.height > 0


def has_split(inputs: ReportInputs) -> bool:
    """Say whether it is known which rows were learned from."""
    return bool(inputs.split.get("folds"))


def has_use(inputs: ReportInputs) -> bool:
    """Say whether owner and use are stated."""
    return bool(inputs.facts.owner and inputs.facts.intended_use)


def has_question(inputs: ReportInputs) -> bool:
    """Say whether the study states its question."""
    return bool(inputs.facts.question.strip())


def has_output(inputs: ReportInputs) -> bool:
    """Say whether probabilities are judged at the study's stated threshold."""
    return is_binary(inputs) and len(targets(inputs)) == 1 and threshold_row(inputs) is not None


def of_sites(inputs: ReportInputs) -> bool:
    """Say whether each site was held out in turn."""
    return inputs.split.get("design") == "by_site" and has_metrics(inputs)


def has_provenance(inputs: ReportInputs) -> bool:
    """Say whether versions and parameters were recorded."""
    return bool(inputs.provenance)


def has_data_use(inputs: ReportInputs) -> bool:
    """Say whether the study states a data-use record."""
    return bool(inputs.facts.data_use)


def has_score_card(inputs: ReportInputs) -> bool:
    """Say whether a score of points is printed."""
    return inputs.score_card is not None and bool(inputs.score_card.rows) and len(targets(inputs)) == 1


_AUTHORS: Answer = "for the authors"
ITEMS = (
    Item("1", "Title: development or evaluation, population, outcome", "in part", "summary", "in the study's words"),
    Item("2", "Abstract", "answered", "summary", "", has_metrics),
    Item("3a", "Health context, rationale, existing models", _AUTHORS),
    Item("3b", "Target population, intended purpose and users", "in part", "summary", "users: not stated", has_use),
    Item("3c", "Known health inequalities between groups", _AUTHORS),
    Item("4", "Objectives", "answered", "summary", "", has_question),
    Item("5a", "Sources of data, why these, how representative", "in part", "data_quality",
         "why these and how representative: for the authors", has_quality),
    Item("5b", "Dates: start and end of accrual, end of follow-up", "not done", None,
         "no dates are printed, so that nobody is found by one"),
    Item("6a", "Setting; number and location of centres", _AUTHORS),
    Item("6b", "Eligibility criteria", "answered", "cohort_flow", "", has_flow),
    Item("6c", "Treatments received and how they were handled", _AUTHORS),
    Item("7", "Data pre-processing and quality checks", "in part", "data_quality",
         "not shown by sociodemographic group", has_quality),
    Item("8a", "Outcome and time horizon: definition, assessment, rationale", "in part", "timeline",
         "rationale, and assessment by group: for the authors"),
    Item("8b", "Who judged the outcome, where that is subjective", _AUTHORS),
    Item("8c", "Blinding of the outcome's assessment", _AUTHORS),
    Item("9a", "Choice of initial predictors and pre-selection", "in part", "features",
         "rules are among the parameters; their reasons: for the authors", has_features),
    Item("9b", "Definition of all predictors: how and when measured", "in part", "features",
         "blinding: not stated; every feature stands in the model bundle", has_features),
    Item("9c", "Who judged predictors, where that is subjective", _AUTHORS),
    Item("10", "How the study size was arrived at and justified", "not done", None, "no sample-size calculation"),
    Item("11", "Handling of missing data; reasons for omissions", "in part", "features",
         "reasons: for the authors", has_features),
    Item("12a", "How the data were used: partition", "answered", "certificate", "", has_split),
    Item("12b", "How predictors were handled in the analysis", "in part", "features",
         "rescaling is in the model bundle", has_features),
    Item("12c", "Type of model, building, tuning, internal validation", "in part", "reproducibility",
         "rationale: for the authors", has_provenance),
    Item("12d", "Methods for heterogeneity across clusters", "in part", "certificate",
         "each site held out in turn; no random-effects summary", of_sites),
    Item("12e", "Measures and plots of performance", "answered", "performance", "", has_metrics),
    Item("12f", "Model updating that arose from the evaluation", "not done", None,
         "the model was not changed after evaluation"),
    Item("12g", "How predictions were calculated in the evaluation", "in part", "reproducibility",
         "by the models of the stage whose hash is listed", has_provenance),
    Item("13", "Methods for class imbalance, and recalibration after them", "answered", "reproducibility",
         "none was used", has_provenance),
    Item("14", "Approaches to fairness and their rationale", "in part", "subgroups",
         "measured by group; nothing was done to make groups equal", has_subgroups),
    Item("15", "Output of the model; thresholds and their rationale", "in part", "clinical_use",
         "rationale of the threshold: for the authors", has_output),
    Item("16", "Differences between development and evaluation data", "in part", "limitations",
         "how far apart they are; distributions are not compared"),
    Item("17", "Ethics approval and consent, or waiver", _AUTHORS),
    Item("18a", "Funding and the role of funders", _AUTHORS),
    Item("18b", "Conflicts of interest", _AUTHORS),
    Item("18c", "Protocol: where, or that there is none", _AUTHORS),
    Item("18d", "Registration, or that there is none", _AUTHORS),
    Item("18e", "Availability of the data", "in part", "reproducibility", "as the data-use record says", has_data_use),
    Item("18f", "Availability of the code", "in part", "reproducibility",
         "versions and parameters are listed", has_provenance),
    Item("19", "Patient and public involvement", _AUTHORS),
    Item("20a", "Flow of participants, with and without the outcome; follow-up", "in part", "cohort_flow",
         "follow-up time: not summarised", has_flow),
    Item("20b", "Characteristics of participants, by source and group", "in part", "data_quality",
         "of everyone; not by group or by outcome", has_quality),
    Item("20c", "Predictors' distribution: evaluation beside development data", "not done"),
    Item("21", "Participants and events in each analysis", "in part", "certificate",
         "events: of the held-out part only", has_split),
    Item("22", "The full model, for use and for evaluation by others", "in part", "performance",
         "the clinical score is printed; the other models are in their bundles", has_score_card),
    Item("23a", "Performance with confidence intervals, also in key subgroups", "answered", "performance",
         "subgroups have a section of their own", has_subgroups),
    Item("23b", "Results on heterogeneity across clusters", "in part", "certificate",
         "over sites together, not one by one", of_sites),
    Item("24", "Results of model updating", "not done", None, "no model was updated"),
    Item("25", "Overall interpretation, with fairness and previous studies", "in part", "summary",
         "previous studies: for the authors", has_metrics),
    Item("26", "Limitations and their effect", "answered", "limitations"),
    Item("27a", "How poor or missing input should be handled in use", "in part", "features",
         "a missing value stays missing; poor input is not assessed", has_features),
    Item("27b", "What users must do, and what expertise they need", _AUTHORS),
    Item("27c", "Next steps for research: applicability, generalisability", _AUTHORS),
)  # fmt: skip
"""Every sub-item of the published checklist: 27 items, 52 rows."""

_SURVIVAL = {
    "8a": ("in part", "timeline", "event, start of follow-up and horizons are stated; rationale: for the authors"),
    "12e": ("answered", "performance", "C-index, AUROC and Brier score at horizons; calibration has its own section"),
    "15": ("in part", "calibration", "risk by each horizon; no decision threshold was examined"),
    "20a": ("in part", "cohort_flow", "events, censoring and median follow-up (reverse Kaplan-Meier) are stated"),
    "21": ("in part", "cohort_flow", "of all and of held-out rows; events of other parts: not stated"),
}
"""Sub-items that a study of a time to an event answers otherwise: answer, section, remark."""

_LACKING = {
    "3b": "the study states no owner and intended use",
    "12d": "not examined across sites",
    "14": "no subgroup was examined",
    "15": "no decision threshold was stated and examined",
    "18e": "the study states no data-use record",
    "22": "in the model bundles, not in this report",
    "23a": "no subgroup was examined",
    "23b": "not examined across sites",
}


def answered(item: Item, inputs: ReportInputs) -> Item:
    """Return the item as it stands in this report: not done where the report lacks what it needs."""
    if inputs.survival is not None and item.number in _SURVIVAL and has_metrics(inputs):
        answer, section, remark = _SURVIVAL[item.number]
        return item._replace(answer=answer, section=section, remark=remark)  # type: ignore[arg-type]  # the literals
    if item.needs is None or item.needs(inputs):
        return item
    return item._replace(answer="not done", section=None, remark=_LACKING.get(item.number, "not in this study"))
