"""Cohorts of drawn tasks over tiny drawn records, against a plain evaluation of the language as it is described."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.ehr.aces import parse_task
from genomix.ehr.cohort import extract_cohort
from genomix.ehr.task import PlainPredicate
from genomix.ehr.timeline import match
from genomix.errors import ConfigError, LabelError
from genomix.io.record_format import to_events

START = datetime(2020, 1, 1)
HOUR = timedelta(hours=1)
YEAR = 365.25 * 24

# A record is (hour or None, code, value or None); a boundary is (reference, operator, hours or predicate).
Record = tuple[float | None, str, float | None]
Boundary = tuple[str, str, Any] | None

PREDICATES: dict[str, Any] = {
    "a": {"code": "A"},
    "b": {"code": "B"},
    "c": {"code": {"regex": "^C"}},
    "b_or_d": {"code": {"any": ["B", "D"]}},
    "low": {"code": "V", "value_max": 0.7, "value_max_inclusive": True},
    "from_07": {"code": "V", "value_min": 0.7, "value_min_inclusive": True},
    "over_03": {"code": "V", "value_min": 0.3, "value_max": 0.9},
    "either": {"expr": "or(a, c)"},
    "both": {"expr": "and(b, either)"},
}
EVENTS = ["a", "b", "c", "b_or_d", "low", "from_07", "either", "both"]


def holds(name: str, record: Record) -> bool:
    """Say whether a plain predicate counts a record; bounds are decimal numbers, as the values are."""
    _, code, value = record
    number = None if value is None or math.isnan(value) else value
    match name:
        case "a" | "b":
            return code == name.upper()
        case "c":
            return code.startswith("C")
        case "b_or_d":
            return code in ("B", "D")
        case "low":
            return code == "V" and number is not None and number <= 0.7
        case "from_07":
            return code == "V" and number is not None and number >= 0.7
        case "over_03":
            return code == "V" and number is not None and 0.3 < number < 0.9
    raise AssertionError(name)


@dataclass
class Person:
    """One person's record and the questions that a task asks of it."""

    records: list[Record]

    @property
    def times(self) -> list[float]:
        return sorted({t for t, *_ in self.records if t is not None})

    def at(self, name: str, time: float) -> int:
        """Count a predicate at a time: records of a plain one, the time itself of any other."""
        if name == "_ANY_EVENT":
            return 1
        if name == "_RECORD_START":
            return int(time == self.times[0])
        if name == "_RECORD_END":
            return int(time == self.times[-1])
        if name == "either":
            return int(self.at("a", time) > 0 or self.at("c", time) > 0)
        if name == "both":
            return int(self.at("b", time) > 0 and self.at("either", time) > 0)
        return sum(holds(name, r) for r in self.records if r[0] == time)

    def inside(self, name: str, low: float, high: float, low_in: bool, high_in: bool) -> list[float]:
        """Return the times within a window at which a predicate holds."""
        return [
            t for t in self.times
            if self.at(name, t) and (t >= low if low_in else t > low) and (t <= high if high_in else t < high)
        ]  # fmt: skip

    def reach(self, boundary: Boundary, side: str, base: float | None, stay: bool) -> float | None:
        """Return where a boundary lies that is reached from ``base``; None where it does not exist."""
        if base is None:
            return None
        if boundary is None:
            edge = self.times[0] if side == "start" else self.times[-1]
            return edge if (edge <= base if side == "start" else edge >= base) else None
        _, operator, what = boundary
        if operator == "":
            return base
        if operator in "+-":
            return base + float(what if operator == "+" else -what)
        if operator == "->":
            return min((t for t in self.times if self.at(what, t) and (t > base or (stay and t == base))), default=None)
        return max((t for t in self.times if self.at(what, t) and (t < base or (stay and t == base))), default=None)


Row = tuple[float, float | None, str, float]


def rows_of(person: Person, task: dict[str, Any]) -> list[Row]:
    """Return (prediction time, value, status, days) of every row, before one is chosen of each person."""
    found: dict[float, Row] = {}
    for trigger in person.times:
        if person.at(task["trigger"], trigger):
            row = row_of(person, task, trigger)
            if row is not None:
                found.setdefault(row[0], row)
    return sorted(found.values())


class RefusedError(Exception):
    """The task may not be evaluated: its label lies in the past of its prediction."""


def row_of(person: Person, task: dict[str, Any], trigger: float) -> Row | None:
    spans: dict[str, list[float | None]] = {}
    windows, policies, last = task["windows"], task["policies"], person.times[-1]
    for name, w in windows.items():
        from_start = w["end"] is None or w["end"][0] == "start"
        outer, inner = (w["start"], w["end"]) if from_start else (w["end"], w["start"])
        target, _, side = outer[0].partition(".")
        base: float | None = trigger if target == "trigger" else spans[target][side == "end"]
        root = person.reach(outer, "start" if from_start else "end", base, False)
        far = person.reach(inner, "end" if from_start else "start", root, w["start_in"] and w["end_in"])
        spans[name] = [root, far] if from_start else [far, root]
    start, end = spans["target"]
    never = (
        end is None
        and start is not None
        and (windows["target"]["end"] is None or windows["target"]["end"][0] == "start")
    )
    unfinished = never or (end is not None and end > last)
    observed = dict(spans)
    if never and start is not None:
        observed["target"] = [start, max(last, start)]
    for name, w in windows.items():
        low, high = observed[name]
        if low is None or high is None or high < low:
            return None
        for predicate, least, most in w["has"]:
            inside = person.inside(predicate, low, high, w["start_in"], w["end_in"])
            n = sum(person.at(predicate, t) for t in inside)
            if (least is not None and n < least) or (most is not None and n > most):
                return None
    begin, stop = observed["target"]
    stamp, side = task["stamp"]
    prediction = spans[stamp][side == "end"]
    assert begin is not None
    assert stop is not None
    assert prediction is not None
    target = windows["target"]
    inclusive = policies.get("prediction_time") != "exclusive"
    if begin < prediction or (begin == prediction and target["start_in"] and inclusive):
        raise RefusedError
    if not eligible(person, task, prediction, label_at_prediction=begin == prediction and target["start_in"]):
        return None
    outcome = min(person.inside(task["label"], begin, stop, target["start_in"], target["end_in"]), default=math.inf)
    rival = math.inf
    if policies.get("competing"):
        times = person.inside(policies["competing"], prediction, stop, not inclusive, target["end_in"])
        rival = min(times, default=math.inf)
    if rival < outcome:
        return prediction, 0.0, "competing", (rival - prediction) / 24
    if outcome < math.inf:
        return prediction, 1.0, "observed", (outcome - prediction) / 24
    if not unfinished:
        return prediction, 0.0, "observed", (stop - prediction) / 24
    followed = max(min(last, stop) - prediction, 0) / 24
    match policies["censoring"]:
        case "drop":
            return None
        case "negative":
            return prediction, 0.0, "observed", followed
    return prediction, None, "censored", followed


def eligible(person: Person, task: dict[str, Any], prediction: float, *, label_at_prediction: bool) -> bool:
    policies = task["policies"]
    births = [t for t, code, _ in person.records if code == "MEDS_BIRTH" and t is not None]
    if "minimum_age_years" in policies or "maximum_age_years" in policies:
        if not births:
            return False
        age = (prediction - min(births)) / YEAR
        if age < policies.get("minimum_age_years", 0) or age > policies.get("maximum_age_years", 999):
            return False
    if "minimum_history" in policies:
        first = min((t for t, code, _ in person.records if code != "MEDS_BIRTH" and t is not None), default=math.inf)
        if first > prediction - int(policies["minimum_history"][:-1]):
            return False
    if "washout" in policies:
        every = policies["washout"] == "all"
        since = -math.inf if every else prediction - int(policies["washout"][:-1])
        # An outcome at the prediction time is past, unless it is the one that is predicted.
        if person.inside(task["label"], since, prediction, every, not label_at_prediction):
            return False
    return True


def choose(rows: Sequence[Row], index: str) -> list[Row]:
    return list(rows[:1]) if index == "first" else list(rows)


def written(boundary: Boundary) -> str | None:
    if boundary is None:
        return None
    reference, operator, what = boundary
    return reference if not operator else f"{reference} {operator} {what}{'h' if operator in '+-' else ''}"


def as_yaml(task: dict[str, Any]) -> str:
    windows: dict[str, Any] = {}
    for name, w in task["windows"].items():
        windows[name] = {"start": written(w["start"]), "end": written(w["end"]), "start_inclusive": w["start_in"],
                         "end_inclusive": w["end_in"]}  # fmt: skip
        if w["has"]:
            windows[name]["has"] = {p: f"({least}, {most})" for p, least, most in w["has"]}
    windows["target"]["label"] = task["label"]
    windows[task["stamp"][0]]["index_timestamp"] = task["stamp"][1]
    content = {"predicates": PREDICATES, "trigger": task["trigger"], "windows": windows, "genomix": task["policies"]}
    return yaml.safe_dump(content, sort_keys=False)


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, Any]:
    event, hours = st.sampled_from([*EVENTS, "_ANY_EVENT"]), st.sampled_from([0, 3, 6, 12, 24])

    def window(start: Boundary, end: Boundary, *, chance: int = 7) -> dict[str, Any]:
        has = []
        if draw(st.integers(1, chance)) == chance:
            bounds = draw(st.sampled_from([(None, 0), (1, None), (None, 2), (1, 3), (2, None), (0, 1)]))
            has.append(
                (draw(st.sampled_from([*EVENTS, "over_03", "_ANY_EVENT", "_RECORD_START", "_RECORD_END"])), *bounds)
            )
        return {"start": start, "end": end, "start_in": draw(st.booleans()), "end_in": draw(st.booleans()), "has": has}

    windows: dict[str, Any] = {}
    kind = draw(st.sampled_from(["all", "later", "stay", "back", "recent", "next"]))
    stamp = "end"
    match kind:
        case "all":
            windows["input"] = window(None, ("trigger", "+", draw(hours)))
        case "later":
            windows["input"] = window(("trigger", "", None), ("start", "+", draw(hours)))
            stamp = draw(st.sampled_from(["start", "end"]))
        case "stay":
            windows["input"] = window(("trigger", "", None), ("start", "->", draw(event)))
        case "back":
            windows["input"] = window(("end", "<-", draw(event)), ("trigger", "", None))
        case "recent":
            windows["input"] = window(("end", "-", draw(hours)), ("trigger", "", None))
        case "next":
            windows["input"] = window(("trigger", "->", draw(event)), ("start", "+", draw(hours)))
    follows = "input.end"
    if draw(st.booleans()):
        far: Boundary = draw(st.sampled_from([("start", "+", 6), ("start", "+", 24), ("start", "->", draw(event))]))
        windows["gap"] = window((draw(st.sampled_from(["input.end", "trigger"])), "", None), far)
        follows = draw(st.sampled_from(["input.end", "gap.end"]))
    ends: list[tuple[Boundary, Boundary]] = [
        ((follows, "", None), ("start", "+", draw(hours))),
        ((follows, "", None), ("start", "->", draw(event))),
        ((follows, "", None), None),
        ((follows, "->", draw(event)), ("start", "+", draw(hours))),
        (("end", "-", 3), (follows, "+", 12)),
        (("end", "-", 3), (follows, "->", draw(event))),
    ]
    windows["target"] = window(*draw(st.sampled_from(ends)), chance=9)
    if draw(st.integers(1, 8)) == 8:
        windows["after"] = window(("target.end", "", None), ("start", "+", draw(hours)))
    policies: dict[str, Any] = {"censoring": draw(st.sampled_from(["drop", "negative", "censored"]))}
    options: dict[str, list[Any]] = {
        "prediction_time": ["exclusive"],
        "competing": ["a", "b", "either"],
        "washout": ["3h", "12h", "all"],
        "minimum_age_years": [30.5],
        "maximum_age_years": [60.5],
        "minimum_history": ["3h", "12h"],
        "index": ["first", "random"],
    }
    for key, values in options.items():
        if draw(st.integers(1, 6)) == 6:
            policies[key] = draw(st.sampled_from(values))
    return {
        "windows": windows, "stamp": ("input", stamp), "label": draw(st.sampled_from(EVENTS)), "policies": policies,
        "trigger": draw(st.sampled_from(["a", "b", "either", "low", "_ANY_EVENT", "_RECORD_START"])),
    }  # fmt: skip


RECORD = st.tuples(
    st.one_of(st.integers(0, 8).map(lambda n: 3.0 * n), st.integers(0, 40).map(float)),
    st.sampled_from(["A", "A", "B", "B", "C1", "C2", "D", "V", "V"]),
    st.sampled_from([None, 0.3, 0.5, 0.7, 0.9, math.nan]),
)
BIRTH = st.sampled_from([-20, -40, -70]).map(lambda years: (years * YEAR, "MEDS_BIRTH", None))
UNDATED = st.just((None, "GENDER//F", None))
PERSON = st.tuples(
    st.lists(RECORD, min_size=6, max_size=14),
    st.lists(BIRTH, min_size=1, max_size=1) | st.just([]),
    st.lists(UNDATED, max_size=1),
).map(lambda parts: [*parts[0], *parts[1], *parts[2]])


def frame(people: list[list[Record]]) -> pl.DataFrame:
    raw = pl.DataFrame(
        [(i, None if t is None else START + t * HOUR, c, v) for i, rows in enumerate(people) for t, c, v in rows],
        schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32},
        orient="row",
    )
    return to_events(raw, source_format="t").events


@settings(max_examples=300, deadline=None)
@given(st.lists(PERSON, min_size=1, max_size=3), tasks())
def test_labels_and_flow_are_those_of_the_description(people: list[list[Record]], drawn: dict[str, Any]) -> None:
    chosen = parse_task(as_yaml(drawn))
    index = drawn["policies"].get("index", "any")
    try:
        rows = {i: rows_of(Person(r), drawn) for i, r in enumerate(people) if Person(r).times}
        expected: list[tuple[int, Row]] | None = [(i, row) for i, found in rows.items() for row in choose(found, index)]
    except RefusedError:
        expected = None
    try:
        cohort = extract_cohort(frame(people), chosen)
    except ConfigError:
        assert expected is None
        return
    except LabelError:
        assert expected == []
        return
    assert expected is not None
    columns = ("subject_id", "prediction_time", "value", "status", "time_days")
    ours = [
        (s, ((t - START) / HOUR, v, status, days))
        for s, t, v, status, days in cohort.labels.select(columns).iter_rows()
    ]
    if index == "random":
        assert [s for s, _ in ours] == sorted({s for s, _ in expected})
        expected = [row for row in expected if (row[0], row[1][0]) in {(s, r[0]) for s, r in ours}]
    assert [(s, row[:3]) for s, row in ours] == [(s, row[:3]) for s, row in expected]
    for (_, mine), (_, other) in zip(ours, expected, strict=True):
        assert math.isclose(mine[3], other[3], abs_tol=1e-9)
    steps = cohort.flow.filter(pl.col("unit") == "rows")
    assert (steps["entered"] - steps["removed"] == steps["kept"]).all()
    assert steps["entered"].to_list()[1:] == steps["kept"].to_list()[:-1]
    assert steps["kept"][-1] == cohort.labels.height
    assert steps["events"].to_list() == sorted(steps["events"].to_list(), reverse=True)
    assert steps["events"][-1] == cohort.labels.filter(pl.col("value") == 1).height
    assert (steps["events"] <= steps["kept"]).all()


VALUE = st.sampled_from([None, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, math.nan])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.just(1.0), st.sampled_from(["A", "B", "C1", "D", "V"]), VALUE), min_size=1, max_size=12))
def test_a_plain_predicate_counts_records_whose_decimal_value_fits(records: list[Record]) -> None:
    task = {
        "windows": {
            "input": {"start": None, "end": ("trigger", "", None), "start_in": True, "end_in": True, "has": []},
            "target": {"start": ("trigger", "", None), "end": None, "start_in": False, "end_in": True, "has": []},
        },
        "stamp": ("input", "end"), "label": "a", "policies": {"censoring": "drop"}, "trigger": "a",
    }  # fmt: skip
    events = frame([records])
    for name, predicate in parse_task(as_yaml(task)).predicates.items():
        if isinstance(predicate, PlainPredicate):
            assert events.filter(match(predicate)).height == sum(holds(name, r) for r in records)
