"""Limits that the results themselves show, the gravest first."""

from __future__ import annotations

import polars as pl

from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import metric_name
from genomix.report.numbers import brief, count, people
from genomix.report.select import (
    counts,
    is_binary,
    join_words,
    point,
    primary_metric,
    primary_model,
    sentence,
    simulated_phrase,
    targets,
    unit_word,
)  # fmt: skip

FEW_EVENTS = 200
THIRD_DEGREE = 0.0442
"""Kinship from which people count as relatives of the third degree (doi:10.1093/bioinformatics/btq559)."""
WIDE = {"auroc": 0.1, "r2": 0.2}


def limits(inputs: ReportInputs) -> list[str]:
    """Return the limits that the results show, the gravest first; never empty."""
    return [
        *_failed(inputs), *_simulated(inputs), *_follow_up(inputs),
        *_size(inputs), *_width(inputs), *_kinship(inputs), *_scores(inputs),
        *_subgroups(inputs), *_missing(inputs), *_open_checks(inputs), _transport(inputs),
    ]  # fmt: skip


def _transport(inputs: ReportInputs) -> str:
    """Say how far from the people learned from those held out are."""
    design = inputs.split.get("design")
    if design == "by_site":
        n = len(inputs.split.get("folds") or [])
        return (
            f"Measured between {n} sites of one study, each with a model of the others: no one model was measured, and "
            "sites of other studies may differ more."
        )
    if design == "by_time":
        return (
            "Measured on later rows of the same source. Performance elsewhere, or later still, is not known and is "
            "usually lower."
        )
    return (
        "Not externally validated: the people held out come from the same source as those learned from. Performance "
        "elsewhere, or later, is not known and is usually lower."
    )


def _failed(inputs: ReportInputs) -> list[str]:
    failed = inputs.certificate.filter(pl.col("status") == "failed").height
    one = failed == 1
    return [f"{failed} leakage {'check' if one else 'checks'} failed: figures may be too good."] if failed else []


def _simulated(inputs: ReportInputs) -> list[str]:
    phrase = simulated_phrase(inputs)
    if not phrase:
        return []
    return [f"SIMULATED: {phrase}. The figures show that the method works as built; they say nothing about patients."]


def _follow_up(inputs: ReportInputs) -> list[str]:
    """Say what every figure of a time to an event takes for granted."""
    if inputs.survival is None:
        return []
    said = (
        "Follow-up that ended without an event is taken as independent of risk: where the sickest are lost to "
        "follow-up, every figure here is wrong, and the data cannot show it."
    )
    last = f"{brief(inputs.survival.horizons[-1])} {inputs.survival.unit}"
    return [said, f"Nothing is said of risk after {last}."]


def _size(inputs: ReportInputs) -> list[str]:
    found = [counts(inputs, t) for t in targets(inputs)]
    if is_binary(inputs) or inputs.survival is not None:
        events = [c.events for c in found if c.events is not None]
        if events and min(events) < FEW_EVENTS:
            return [
                f"Small: {people(min(events))} held-out {unit_word(inputs)} with the outcome. Fewer than {FEW_EVENTS} "
                "leave calibration poorly known."
            ]
        return []
    rows = [c.rows for c in found if c.rows is not None]
    if rows and min(rows) < FEW_EVENTS:
        return [f"Small: {people(min(rows))} held-out {unit_word(inputs)}."]
    return []


def _width(inputs: ReportInputs) -> list[str]:
    metric, model = primary_metric(inputs), primary_model(inputs)
    limit = WIDE.get(metric, 0.1)
    wide = []
    for target in targets(inputs):
        value = point(inputs, metric, target=target, model=model)
        if value.low is not None and value.high is not None and value.high - value.low > limit:
            wide.append((target, value))
    if not wide:
        return []
    label = metric_name(metric).label
    if len(targets(inputs)) == 1:
        return [f"Wide intervals: {label} may lie anywhere in {wide[0][1].interval()}."]
    return [f"Wide intervals: for {len(wide)} of {len(targets(inputs))} targets {label} spans more than {limit:g}."]


def _kinship(inputs: ReportInputs) -> list[str]:
    crossing = inputs.split.get("max_crossing_kinship")
    if crossing is not None and crossing > THIRD_DEGREE:
        return [
            f"Relatives cross the split: the highest kinship between people learned from and people held out is "
            f"{crossing:.3f}. What runs in families may make the figures too good."
        ]
    return []


def _scores(inputs: ReportInputs) -> list[str]:
    notes = sorted({n for n in inputs.ladder.filter(pl.col("rung") == "score")["note"].to_list() if n})
    bad = [n for n in notes if "overlap" in n.lower() or "unknown" in n.lower()]
    return [f"Polygenic score: {' '.join(sentence(n) for n in bad)}"] if bad else []


def _subgroups(inputs: ReportInputs) -> list[str]:
    chosen = (
        (pl.col("group") != "all") & (pl.col("metric") == primary_metric(inputs)) & pl.col("estimate").is_null()
        & (pl.col("model") == primary_model(inputs))
    )  # fmt: skip
    groups = sorted({g.replace("=", " ") for g in inputs.metrics.filter(chosen)["group"].to_list()})
    return [f"Nothing is known for {join_words(groups)}: too few people or events."] if groups else []


def _missing(inputs: ReportInputs) -> list[str]:
    if "n_missing_share" not in inputs.columns.columns or not inputs.columns.height:
        return []
    sparse = inputs.columns.filter(pl.col("n_missing_share") > 0.5).height
    if not sparse:
        return []
    n = inputs.columns.height
    return [f"Missing data: {count(sparse)} of {count(n)} features are missing for most of the {unit_word(inputs)}."]


def _open_checks(inputs: ReportInputs) -> list[str]:
    open_ = inputs.certificate.filter(pl.col("status") == "not provable")["claim"].to_list()
    return [f"Not proved by the data: {' '.join(f'“{claim}”' for claim in open_)}"] if open_ else []
