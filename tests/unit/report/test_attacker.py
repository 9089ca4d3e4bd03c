"""An attacker who knows every rule, every printed total and every exact share cannot solve for a suppressed cell.

Cohorts are drawn, evaluated by the software, and rendered. What the report prints becomes linear equations and bounds
over whole numbers; an integer solver finds the least and the largest value of every small cell. At least three values
must remain for each. The attacker is given more than the page prints: the exact four cells of every threshold whose net
benefit is shown, and the exact counts behind every point of the ROC curve.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from genomix.models.curves import roc_curve
from genomix.models.decision import default_thresholds, threshold_table
from genomix.models.evaluate import Rows, evaluate_predictions, rows_by_model
from genomix.report.document import place_sections
from genomix.report.inputs import ReportInputs
from genomix.schemas.features import PREDICTIONS
from genomix.schemas.results import LADDER, METRICS
from tests.contracts import sample_report as sample

COHORTS = [
    (0, 130, 0.3), (1, 180, 0.12), (2, 240, 0.5), (3, 300, 0.08), (4, 420, 0.2), (5, 600, 0.05), (6, 900, 0.15),
    (7, 160, 0.85),
]  # fmt: skip
"""Seed, people and share with the outcome."""


class System:
    """Whole numbers from 0 to ``most`` under linear equations and bounds."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.names: dict[str, int] = {}
        self.rules: list[tuple[dict[str, int], float, float]] = []

    def say(self, low: float, high: float, **terms: int) -> None:
        """Add ``low <= sum of coefficient × name <= high``."""
        for name in terms:
            self.names.setdefault(name, len(self.names))
        self.rules.append((terms, low, high))

    def values(self, name: str) -> tuple[int, int]:
        """Return the least and the largest value that the name may have."""
        matrix = np.zeros((len(self.rules), len(self.names)))
        for i, (terms, _, _) in enumerate(self.rules):
            for term, coefficient in terms.items():
                matrix[i, self.names[term]] = coefficient
        rules = LinearConstraint(matrix, [r[1] for r in self.rules], [r[2] for r in self.rules])
        ends = []
        for sign in (1, -1):
            aim = np.zeros(len(self.names))
            aim[self.names[name]] = sign
            found = milp(aim, constraints=rules, bounds=Bounds(0, self.most), integrality=np.ones(len(aim)))
            assert found.success, f"what is printed contradicts itself: {found.message}"
            ends.append(round(found.x[self.names[name]]))
        return ends[0], ends[1]


class Cohort:
    """Drawn people with predictions and groups, and the report on them."""

    def __init__(self, seed: int, n: int, share: float) -> None:
        rng = np.random.default_rng(seed)
        risk = rng.normal(np.log(share / (1 - share)), 1.4, n)
        self.p = 1 / (1 + np.exp(-risk))
        self.y = (rng.random(n) < self.p).astype(float)
        self.groups = {
            "sex": rng.choice(["female", "male", None], n, p=[0.55, 0.43, 0.02]).tolist(),
            "site": rng.choice([f"s{i}" for i in range(6)], n, p=[0.5, 0.3, 0.1, 0.06, 0.03, 0.01]).tolist(),
        }
        for name, label in (("sex", "female"), ("site", "s1")):  # a group with exactly ten events: the edge of the rule
            if seed % 2:
                inside = np.flatnonzero((np.array(self.groups[name]) == label) & (self.y == 1))
                self.y[inside[10:]] = 0.0
        rows = np.arange(n)
        predictions = PREDICTIONS.validate(pl.DataFrame({
            "row": rows, "fold": np.zeros(n, dtype=np.int64), "model": ["boosted"] * n, "label": self.y,
            "prediction": self.p, "kin_group": rows,
        }))  # fmt: skip
        metrics = evaluate_predictions(
            predictions,
            target="outcome",
            objective="binary",
            seed=1,
            subgroups=self.groups,
            metrics=["auroc"],
            n_resamples=100,
        )
        self.rows: Rows = rows_by_model(predictions)["boosted"]
        marks = default_thresholds(float(self.y.mean()))
        self.thresholds = threshold_table(
            self.rows, marks, target="outcome", model="boosted", seed=1, n_resamples=100
        ).sort("threshold")
        self.roc = roc_curve(self.rows, target="outcome", model="boosted")
        full = sample.full_inputs()
        inputs = replace(
            full, facts=replace(full.facts, threshold=marks[3]), metrics=METRICS.validate(metrics), curves=self.roc,
            thresholds=self.thresholds, ladder=_ladder(metrics), importance=full.importance.clear(),
            beeswarm=full.beeswarm.clear(), score_card=None, split={}, flow=full.flow.clear(), quality={},
        )  # fmt: skip
        self.sections = printed(inputs)

    def cells(self, threshold: float) -> dict[str, int]:
        """Return the four true cells."""
        flagged, sick = self.p >= threshold, self.y == 1
        pairs = {"TP": flagged & sick, "FP": flagged & ~sick, "FN": ~flagged & sick, "TN": ~flagged & ~sick}
        return {k: int(v.sum()) for k, v in pairs.items()}


def _ladder(metrics: pl.DataFrame) -> pl.DataFrame:
    """Return a ladder whose groups have an estimate wherever the group's own figure has one."""
    rows = []
    for row in metrics.filter(pl.col("group").str.starts_with("site=") | (pl.col("group") == "all")).to_dicts():
        known = row["estimate"] is not None
        for step, rung in enumerate(("demographics", "score")):
            value = {"estimate": row["estimate"], "low": row["low"], "high": row["high"]}
            delta = {"delta": 0.01, "delta_low": -0.01, "delta_high": 0.03} if step and known else {}
            rows.append({"target": "outcome", "group": row["group"], "step": step, "rung": rung, "n_features": 3,
                         "metric": "auroc", "note": row["note"], **value, **delta})  # fmt: skip
    return sample.frame(LADDER, rows)


def printed(inputs: ReportInputs) -> dict[str, dict[str, Any]]:
    """Return the sections as the report prints them."""
    return {p.name: p.section.to_json() for p in place_sections(inputs)}


def table(section: dict[str, Any], start: str) -> dict[str, Any]:
    """Return the table whose caption starts so, in a figure or alone."""
    tables = [b.get("table", b) for b in section["blocks"] if b["type"] in ("figure", "table")]
    found: dict[str, Any] = next(t for t in tables if t["caption"].startswith(start))
    return found


def number(text: str) -> int | None:
    """Return a printed whole number."""
    digits = text.replace("\u202f", "")
    return int(digits) if digits.isdigit() else None


def remaining(system: System, name: str, truth: int) -> int:
    """Return how many values are left; the truth is one of them, or the attack is wrong."""
    low, high = system.values(name)
    assert low <= truth <= high, (name, low, truth, high)
    return high - low + 1


@pytest.fixture(scope="module", params=COHORTS, ids=[f"{n} people" for _, n, _ in COHORTS])
def cohort(request: pytest.FixtureRequest) -> Cohort:
    return Cohort(*request.param)


BOUND = {  # column: what "above" and "below" say is small
    "PPV": ("FP", "TP"), "Sensitivity": ("FN", "TP"), "Specificity": ("FP", "TN"), "NPV": ("FN", "TN"),
}  # fmt: skip


def _threshold_system(cohort: Cohort, shown: list[dict[str, str]], at: list[float]) -> System:
    n, events = cohort.y.size, int(cohort.y.sum())
    system = System(n)
    for i, row in enumerate(shown):
        system.say(events, events, **{f"TP{i}": 1, f"FN{i}": 1})
        system.say(n - events, n - events, **{f"FP{i}": 1, f"TN{i}": 1})
        flagged = number(row["Flagged"])
        if flagged is not None:
            system.say(flagged, flagged, **{f"TP{i}": 1, f"FP{i}": 1})
        elif row["Flagged"].startswith("<"):
            system.say(1, 10, **{f"TP{i}": 1, f"FP{i}": 1})
        elif row["PPV"] == "not estimable":  # withheld because few are left
            system.say(1, 10, **{f"FN{i}": 1, f"TN{i}": 1})
        if re.search(r"\d", row["Net benefit"]):
            for kind, count in cohort.cells(at[i]).items():
                system.say(count, count, **{f"{kind}{i}": 1})
        for column, (above, below) in BOUND.items():
            for word, kind in (("above", above), ("below", below)):
                if row[column].startswith(word):
                    system.say(1, 10, **{f"{kind}{i}": 1})
        if i:
            system.say(0, n, **{f"TP{i - 1}": 1, f"TP{i}": -1})
            system.say(0, n, **{f"FP{i - 1}": 1, f"FP{i}": -1})
        _between_points_of_the_curve(cohort, system, i, flagged, n)
    return system


def _between_points_of_the_curve(cohort: Cohort, system: System, i: int, flagged: int | None, n: int) -> None:
    if flagged is None:
        return
    events = int(cohort.y.sum())
    true = np.round(cohort.roc["y"].to_numpy() * events).astype(int).tolist()
    false = np.round(cohort.roc["x"].to_numpy() * (n - events)).astype(int).tolist()
    for tp, fp in zip(true, false, strict=True):
        before = tp + fp <= flagged
        for kind, count in (("TP", tp), ("FP", fp)):
            system.say(count if before else 0, n if before else count, **{f"{kind}{i}": 1})


def test_no_cell_of_a_threshold_can_be_solved_for(cohort: Cohort) -> None:
    content = table(cohort.sections["clinical_use"], "Thresholds")
    shown = [dict(zip(content["columns"], (c["text"] for c in row), strict=True)) for row in content["rows"]]
    at = [row[0]["value"] for row in content["rows"]]
    system = _threshold_system(cohort, shown, at)
    tried = 0
    for i, threshold in enumerate(at):
        for kind, count in cohort.cells(threshold).items():
            if 0 < count < 11:
                tried += 1
                assert remaining(system, f"{kind}{i}", count) >= 3, (shown[i], kind, count)
    assert tried, "no small cell was planted"


def _group_system(cohort: Cohort) -> tuple[System, dict[str, int]]:
    content = table(cohort.sections["subgroups"], "Every subgroup")
    everyone, *rows = [[c["text"] for c in row] for row in content["rows"]]
    n, events = number(everyone[2]), number(everyone[3])
    assert n is not None
    assert events is not None
    system, truth = System(n), dict[str, int]()
    names: dict[str, list[str]] = {}
    for group, estimate, size, sick in rows:
        variable, _, label = group.partition(": ")
        key = re.sub(r"\W", "_", group)
        names.setdefault(variable, []).append(key)
        inside = np.array(cohort.groups[variable.lower()]) == label
        truth |= {f"n_{key}": int(inside.sum()), f"e_{key}": int(cohort.y[inside].sum())}
        truth[f"w_{key}"] = truth[f"n_{key}"] - truth[f"e_{key}"]
        system.say(0, 0, **{f"n_{key}": 1, f"e_{key}": -1, f"w_{key}": -1})
        for kind, text in (("n", size), ("e", sick)):
            known = number(text)
            low, high = (known, known) if known is not None else (1, 10) if text.startswith("<") else (0, n)
            system.say(low, high, **{f"{kind}_{key}": 1})
        if re.match(r"[\d−]", estimate):  # there is an estimate only from ten events and ten others on
            system.say(10, n, **{f"e_{key}": 1})
            system.say(10, n, **{f"w_{key}": 1})
        if "no events" in estimate:
            system.say(0, 0, **{f"e_{key}": 1})
        if few := re.search(r"fewer than (\d+) people$", estimate):
            system.say(0, int(few[1]) - 1, **{f"n_{key}": 1})
    for variable, keys in names.items():
        system.say(n, n, **{f"n_{k}": 1 for k in [*keys, variable]})
        system.say(events, events, **{f"e_{k}": 1 for k in [*keys, variable]})
        system.say(n - events, n - events, **{f"w_{k}": 1 for k in [*keys, variable]})
    return system, truth


def test_no_cell_of_a_group_can_be_solved_for(cohort: Cohort) -> None:
    system, truth = _group_system(cohort)
    small = [name for name, count in truth.items() if 0 < count < 11]
    assert small, "no small group was planted"
    for name in small:
        assert remaining(system, name, truth[name]) >= 3, (name, truth[name])


def test_what_is_said_of_a_group_elsewhere_gives_no_more(cohort: Cohort) -> None:
    """A group without an estimate in one place has none in any; a size that the table hides is printed nowhere."""
    hidden, known = {}, {}
    for row in table(cohort.sections["subgroups"], "Every subgroup")["rows"][1:]:
        label = row[0]["text"].partition(": ")[2]
        hidden[label] = number(row[2]["text"]) is None
        known[label] = "value" in row[1]
    for block in cohort.sections["ladder"]["blocks"]:
        for label, size in re.findall(r"(s\d) (\d+)", block.get("n", "")):
            assert not hidden[label], size
        for row in block.get("table", {"rows": []})["rows"]:
            if row[0]["text"] in known and not known[row[0]["text"]]:
                assert not [c for c in row[3:] if "value" in c], row
