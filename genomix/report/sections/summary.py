"""Page one: what it is, for whom, how good, what drives it, whether it may be used, and what is not known."""

from __future__ import annotations

from genomix.report import survival
from genomix.report.blocks import Abstract, Block, KeyNumber, KeyNumbers, Section, SectionMaker
from genomix.report.findings import flagged_sentence, hides_small_cell, net_benefit, slope_sentence, status_sentence
from genomix.report.guard import thresholds_that_hide_flagged
from genomix.report.importance_rows import leading_families
from genomix.report.inputs import ReportInputs
from genomix.report.ladder_rows import genetic_finding
from genomix.report.limits import limits
from genomix.report.metric_names import metric_name, model_name
from genomix.report.numbers import Estimate, days, decimal, people, percent, share_of
from genomix.report.select import (
    counts,
    is_binary,
    is_table,
    join_words,
    point,
    primary_metric,
    primary_model,
    sentence,
    targets,
    threshold_row,
    unit_word,
)  # fmt: skip

TITLE = "Summary"


def render(inputs: ReportInputs) -> Section:
    """Return page one as a structured abstract around three numbers with their intervals."""
    if inputs.facts.no_model is not None:
        return _description(inputs, inputs.facts.no_model)
    names = targets(inputs)
    if not names:
        numbers: tuple[KeyNumber, ...] = ()
    elif len(names) > 1:
        numbers = _many_numbers(inputs, names)
    else:
        numbers = _one_target(inputs, names[0])
    blocks: list[Block] = [Abstract((("What this is", _what(inputs)), ("For whom", _for_whom(inputs, names))))]
    if numbers:
        blocks.append(KeyNumbers(numbers))
    drives = leading_families(inputs)
    genetics = genetic_finding(inputs) if inputs.ladder.height else "This was not measured."
    blocks.append(
        Abstract(
            (
                ("How well it works", _how_well(inputs, names)),
                *(() if is_table(inputs) else (("What genetics adds", genetics),)),
                ("What drives it", f"Mostly {drives}, as shares of all movement of the predictions. "
                 "This describes the model, not a cause." if drives else "This was not computed."),
                ("May it be used?", _use(inputs)),
                ("What is not known", " ".join([t for t in limits(inputs) if not t.startswith("SIMULATED")][:3])),
            )
        )
    )  # fmt: skip
    return Section(TITLE, _finding(inputs, names), tuple(blocks))


def _one_target(inputs: ReportInputs, target: str) -> tuple[KeyNumber, ...]:
    if inputs.survival is not None:
        return survival.key_numbers(inputs, inputs.survival)
    return _binary_numbers(inputs, target) if is_binary(inputs) else _quantity_numbers(inputs, target)


def _description(inputs: ReportInputs, no_model: str) -> Section:
    """Return page one of a study that only describes its data."""
    population = sentence(inputs.facts.population) or "The population is not stated."
    outcome = inputs.facts.outcome.rstrip(".")
    asked = "anything" if outcome.lower() in ("", "none") else outcome
    rows = [
        ("What this is", "A description of the data, without a model."),
        ("For whom", population),
        ("What was found", no_model),
        ("May it be used?", "It supports decisions about the data, not about a person."),
        ("What is not known", f"Whether {asked} can be predicted from these data, and how well."),
    ]
    return Section(TITLE, no_model, (Abstract(tuple(rows)),))


def _finding(inputs: ReportInputs, names: list[str]) -> str:
    if not names:
        return "No result was computed."
    row = threshold_row(inputs)
    if row and len(names) == 1 and is_binary(inputs):
        hides = row["threshold"] in thresholds_that_hide_flagged(inputs, row["model"], names[0])
        return flagged_sentence(row, counts(inputs, names[0]), unit_word(inputs), hides_flagged=hides)
    value = point(inputs, primary_metric(inputs), target=names[0], model=primary_model(inputs))
    label = metric_name(primary_metric(inputs)).label
    if len(names) == 1:
        return f"{label} on held-out {unit_word(inputs)} is {value.text()}."
    clear, reference = _clear(inputs, names)
    return (
        f"For {clear} of {len(names)} targets, {label} on held-out {unit_word(inputs)} is clearly above {reference:g}."
    )


def _what(inputs: ReportInputs) -> str:
    facts = inputs.facts
    if inputs.survival is not None:
        return survival.what_sentence(inputs, inputs.survival)
    kind = "A model that estimates the probability of" if is_binary(inputs) else "A model that predicts"
    ahead = f", within {days(facts.horizon_days)} of the prediction time" if facts.horizon_days is not None else ""
    return f"{kind} {facts.outcome.rstrip('.')}{ahead}."


def _for_whom(inputs: ReportInputs, names: list[str]) -> str:
    text = sentence(inputs.facts.population) or "The population is not stated."
    if not names:
        return text
    if inputs.survival is not None:
        return f"{text} {survival.whom_sentence(inputs, inputs.survival)}"
    held = counts(inputs, names[0])
    unit = unit_word(inputs)
    if is_binary(inputs):
        told = share_of(held.events, held.rows)
        return f"{text} All figures are for {people(held.rows)} held-out {unit}; the outcome occurred in {told}."
    return f"{text} All figures are for {people(held.rows)} held-out {unit}{' a target' if len(names) > 1 else ''}."


def _how_well(inputs: ReportInputs, names: list[str]) -> str:
    if not names:
        return "No performance was computed."
    if inputs.survival is not None:
        return f"{survival.ranking_finding(inputs)} {survival.agreement_sentence(inputs, inputs.survival)}"
    metric, model = primary_metric(inputs), primary_model(inputs)
    label = metric_name(metric).label
    if len(names) > 1:
        clear, reference = _clear(inputs, names)
        return (
            f"All {len(names)} targets were evaluated and all are shown. For {clear} of them the whole interval of "
            f"{label} lies above {reference:g}, the value of no skill."
        )
    value = point(inputs, metric, target=names[0], model=model)
    if metric == "auroc" and value.value is not None:
        low, high = value.low, value.high
        span = f" ({100 * low:.0f}–{100 * high:.0f})" if low is not None and high is not None else ""
        text = (
            f"Of 100 pairs of one with and one without the outcome, about {100 * value.value:.0f}{span} are ranked "
            "in the right order by the model; chance would rank 50. "
        )
    else:
        text = f"{label} is {value.text()}. "
    slope = point(inputs, "calibration_slope", target=names[0], model=model)
    return text + slope_sentence(slope) if slope.known or is_binary(inputs) else text.strip()


def _baseline(inputs: ReportInputs, target: str) -> str:
    metric, model = primary_metric(inputs), primary_model(inputs)
    said = []
    for other in ("demographics", "linear"):
        value = point(inputs, metric, target=target, model=other)
        if other != model and value.known:
            said.append(f"{model_name(other).lower()} {value.text()}")
    found = inputs.ladder.to_dicts() if not said or "demographics" not in said[0] else []
    first = [
        r for r in found if r["step"] == 0 and r["metric"] == metric and r["group"] == "all" and r["target"] == target
    ]
    if first:
        value = Estimate(first[0]["estimate"], first[0]["low"], first[0]["high"])
        said.insert(0, f"{first[0]['rung']} only {value.text()}")
    return f"Beside it: {'; '.join(said)}." if said else "No baseline was computed."


def _binary_numbers(inputs: ReportInputs, target: str) -> tuple[KeyNumber, ...]:
    model = primary_model(inputs)
    auroc = point(inputs, "auroc", target=target, model=model)
    slope = point(inputs, "calibration_slope", target=target, model=model)
    intercept = point(inputs, "calibration_intercept", target=target, model=model)
    held = counts(inputs, target)
    return (
        _key("Discrimination (AUROC)", auroc, "0.5 is chance, 1 is perfect ranking.", _baseline(inputs, target)),
        _key(
            "Calibration (slope)",
            slope,
            "1 is agreement of predicted and observed.",
            f"Intercept {intercept.text()}; 0 is agreement.",
        ),
        _benefit(inputs, f"Prevalence {share_of(held.events, held.rows)}."),
    )


def _benefit(inputs: ReportInputs, beside: str) -> KeyNumber:
    row = threshold_row(inputs)
    if row is None:
        why = "No decision threshold was stated, so there is none to judge."
        return KeyNumber("Net benefit", "not computed", "", why, beside)
    label = f"Net benefit at a threshold of {percent(row['threshold'])}"
    if hides_small_cell(row, counts(inputs, row["target"])):
        return KeyNumber(label, "withheld", "", "Fewer than 11 people stand behind a part of it.", beside)
    value = net_benefit(row)
    everyone = row["net_benefit_treat_all"]
    said = "" if everyone is None else f"Flagging everyone: {decimal(everyone, value.decimals)}; flagging no one: 0. "
    return _key(label, value, "Higher is better.", said + beside)


def _quantity_numbers(inputs: ReportInputs, target: str) -> tuple[KeyNumber, ...]:
    model = primary_model(inputs)
    values = {m: point(inputs, m, target=target, model=model) for m in ("r2", "rmse", "mae", "pearson_r")}
    without = point(inputs, "rmse", target=target, model="prevalence")
    beside = f"Predicting the mean: {without.text()}." if without.known else "In the outcome's unit."
    return (
        _key(
            "Variance accounted for (R²)",
            values["r2"],
            "0 is no better than the mean, 1 is perfect.",
            _baseline(inputs, target),
        ),
        _key("Typical error (RMSE)", values["rmse"], "In the outcome's unit; lower is better.", beside),
        _key(
            "Correlation with the observed",
            values["pearson_r"],
            "0 is none, 1 is perfect.",
            f"MAE {values['mae'].text()}.",
        ),
    )


def _many_numbers(inputs: ReportInputs, names: list[str]) -> tuple[KeyNumber, ...]:
    metric, model = primary_metric(inputs), primary_model(inputs)
    label = metric_name(metric).label
    found = [(t, point(inputs, metric, target=t, model=model)) for t in names]
    known = sorted((v.value, t, v) for t, v in found if v.value is not None and v.known)
    clear, reference = _clear(inputs, names)
    numbers = [
        KeyNumber(
            f"Targets with {label} clearly above {reference:g}", f"{clear} of {len(names)}", "",
            "The whole 95 % interval lies above the value of no skill.", _baseline_many(inputs, names),
        )
    ]  # fmt: skip
    if known:
        middle, best = known[(len(known) - 1) // 2], known[-1]
        numbers.append(
            _key(f"{label}, median target", middle[2], f"Target: {middle[1]}.", "Half of the targets do no better.")
        )
        numbers.append(
            _key(f"{label}, best target", best[2], f"Target: {best[1]}.", "The best of many is partly luck.")
        )
    return tuple(numbers)


def _baseline_many(inputs: ReportInputs, names: list[str]) -> str:
    other = "linear" if primary_model(inputs) != "linear" else "prevalence"
    metric = primary_metric(inputs)
    values = [point(inputs, metric, target=t, model=other) for t in names]
    if not any(v.known for v in values):
        return "No baseline was computed."
    reference = metric_name(metric).reference or 0.0
    clear = sum(v.low is not None and v.low > reference for v in values)
    return f"Beside it: {model_name(other).lower()}, {clear} of {len(names)}."


def _clear(inputs: ReportInputs, names: list[str]) -> tuple[int, float]:
    metric = primary_metric(inputs)
    reference = metric_name(metric).reference or 0.0
    found = [point(inputs, metric, target=t, model=primary_model(inputs)) for t in names]
    return sum(v.low is not None and v.low > reference for v in found), reference


def _key(label: str, value: Estimate, meaning: str, beside: str) -> KeyNumber:
    return KeyNumber(label, value.number(), value.interval() if value.known else "", meaning, beside)


def _use(inputs: ReportInputs) -> str:
    facts = inputs.facts
    if facts.owner and facts.intended_use:
        use = f"{facts.owner} states this use: {sentence(facts.intended_use)} Nothing here shows that it is fit for it."
    else:
        use = "For research only: it is not a medical device and must not guide the care of any person."
    checks = status_sentence(inputs) if inputs.certificate.height else "No leakage check was run."
    failed = inputs.certificate["status"].to_list().count("failed")
    said = (
        [f"SIMULATED {join_words(list(facts.simulated))}: nothing here is evidence about patients."]
        if facts.simulated
        else []
    )
    return " ".join([checks, use, *said] if failed else [use, *said, checks])


SECTION = SectionMaker("summary", render)
