"""The ladder's rungs as rows and as plain sentences."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import RUNG_WORDS, in_words, metric_name
from genomix.report.numbers import Estimate, not_estimable
from genomix.report.select import primary_metric

NO_GENETICS = "No rung of this study's ladder holds genetic data."
GENETIC = ("score", "variants")


def has_genetics(inputs: ReportInputs) -> bool:
    """Say whether a rung adds a score or variants."""
    return any(rung in GENETIC for rung in inputs.ladder["rung"].to_list())


def ladder_metric(inputs: ReportInputs) -> str:
    """Return the metric of the ladder's figure: page one's where the ladder has it, else its first by name."""
    names = sorted(inputs.ladder["metric"].unique().to_list())
    wanted = primary_metric(inputs)
    return wanted if wanted in names or not names else str(names[0])


def rungs(inputs: ReportInputs, *, target: str, group: str = "all", metric: str | None = None) -> list[dict[str, Any]]:
    """Return one target's and group's rungs in their order."""
    chosen = metric or ladder_metric(inputs)
    part = inputs.ladder.filter(
        (pl.col("target") == target) & (pl.col("group") == group) & (pl.col("metric") == chosen)
    )
    return part.sort("step").to_dicts()


def own(row: dict[str, Any]) -> Estimate:
    """Return a rung's own value."""
    return Estimate(row["estimate"], row["low"], row["high"])


def gain(row: dict[str, Any]) -> Estimate:
    """Return a rung's paired difference to the rung before."""
    return Estimate(row["delta"], row["delta_low"], row["delta_high"])


def control(row: dict[str, Any]) -> Estimate:
    """Return the same difference with the rung's own columns shuffled between people."""
    return Estimate(row["control_delta"], row["control_low"], row["control_high"])


def has_controls(inputs: ReportInputs) -> bool:
    """Say whether a rung was trained with its columns shuffled."""
    return bool(inputs.ladder["control_delta"].is_not_null().any())


def control_sentence(found: list[dict[str, Any]]) -> str:
    """Return what the rungs' columns change when they are shuffled between people, so that they tell nothing."""
    judged = [r for r in found if control(r).known and control(r).has_interval]
    if not judged:
        return "The permutation control is not estimable here."
    better = [r for r in judged if verdict(control(r), r["metric"]) == "a gain"]
    rule = "Each step was made once more with its columns shuffled between people, so that they tell nothing."
    if not better:
        return f"{rule} No shuffled step shows a gain, as it should be."
    said = "; ".join(
        f"{RUNG_WORDS.get(r['rung'], in_words(r['rung']).lower())} changed {metric_name(r['metric']).label} by "
        f"{control(r).text(signed=True)}"
        for r in better
    )
    return f"{rule} Shuffled, {said}. That is chance, so a gain of that size says nothing."


def verdict(difference: Estimate, metric: str) -> str:
    """Return what an interval around a paired difference allows to say."""
    if not difference.known:
        return "not estimable"
    if not difference.has_interval:
        return "an interval is not estimable"
    if not difference.excludes(0.0):
        return "no clear gain in this cohort"
    higher = difference.low is not None and difference.low > 0
    return "a gain" if higher == (metric_name(metric).better == "higher") else "a loss"


def rung_sentence(row: dict[str, Any]) -> str:
    """Return ``Adding the polygenic score changed AUROC by +0.012 (−0.001 to +0.026): no clear gain …``."""
    name = metric_name(row["metric"])
    words = RUNG_WORDS.get(row["rung"], in_words(row["rung"]).lower())
    if row["step"] == 0:
        return f"With {words} alone, {name.label} is {own(row).text()}."
    difference = gain(row)
    if not difference.known:
        return f"What adding {words} changes is {not_estimable(row['note'])}."
    return (
        f"Adding {words} changed {name.label} by {difference.text(signed=True)}: {verdict(difference, row['metric'])}."
    )


def genetic_finding(inputs: ReportInputs) -> str:
    """Return the sentence on the genetic rung: the score's where there is one, else the variants'."""
    names = sorted(inputs.ladder["target"].unique().to_list())
    if len(names) == 1:
        found = rungs(inputs, target=names[0])
        wanted = [r for r in found if r["rung"] in GENETIC and r["step"] > 0]
        if not wanted:
            last = f" {rung_sentence(found[-1])}" if found else ""
            return f"{NO_GENETICS}{last}"
        return " ".join(rung_sentence(r) for r in wanted)
    metric = ladder_metric(inputs)
    said = []
    for rung in GENETIC:
        rows = [r for t in names for r in rungs(inputs, target=t) if r["rung"] == rung and r["step"] > 0]
        if rows:
            better = sum(verdict(gain(r), metric) == "a gain" for r in rows)
            said.append(
                f"Adding {RUNG_WORDS[rung]} improved {metric_name(metric).label}, with an interval that excludes zero, "
                f"for {better} of {len(names)} targets."
            )
    return " ".join(said) or NO_GENETICS
