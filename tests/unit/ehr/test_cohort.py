"""Cohorts: the rules on small records, and the whole evaluation against a plain loop over random records."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from genomix.ehr.aces import parse_task
from genomix.ehr.cohort import Cohort, extract_cohort
from genomix.ehr.task import Boundary, DerivedPredicate, Task
from genomix.errors import ConfigError, LabelError
from genomix.io.record_format import to_events

START = datetime(2020, 1, 1)
DAY = timedelta(days=1)

TASK = """
predicates:
  visit: {code: VISIT}
  stroke: {code: {regex: "^STROKE"}}
  death: {code: MEDS_DEATH}
trigger: visit
windows:
  input:
    {start: null, end: trigger, start_inclusive: true, end_inclusive: true, index_timestamp: end}
  target:
    {start: input.end, end: start + 30d, start_inclusive: false, end_inclusive: true, label: stroke}
genomix: {censoring: drop}
"""


def records(*rows: tuple[int, float | None, str]) -> pl.DataFrame:
    """Return events from (subject, day, code); a null day is static."""
    raw = pl.DataFrame(
        [(s, None if d is None else START + d * DAY + timedelta(minutes=7), c) for s, d, c in rows],
        schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String}, orient="row",
    )  # fmt: skip
    return to_events(raw, source_format="t").events


def task(policies: str = "censoring: drop", text: str = TASK) -> Task:
    return parse_task(text.replace("censoring: drop", policies))


def labels(cohort: Cohort) -> list[tuple[int, float, float | None, str, float]]:
    """Return (subject, day of prediction, value, status, days)."""
    return [(s, (t - START) // DAY, v, status, round(d, 6)) for s, t, v, status, d, _ in cohort.labels.iter_rows()]


RECORD = records(
    (1, 0, "VISIT"), (1, 10, "STROKE//a"), (1, 100, "X"),  # an outcome after 10 days
    (2, 0, "VISIT"), (2, 31, "STROKE//b"),  # too late
    (3, 0, "VISIT"), (3, 12, "X"),  # the record ends after 12 days
    (4, 0, "VISIT"), (4, 20, "MEDS_DEATH"),  # dies
    (5, 0, "VISIT"), (5, 29, "STROKE//a"),  # the record ends with the outcome
)  # fmt: skip


def test_censoring_drop() -> None:
    found = extract_cohort(RECORD, task())
    assert labels(found) == [(1, 0, 1, "observed", 10), (2, 0, 0, "observed", 30), (5, 0, 1, "observed", 29)]
    last = found.flow.row(-1, named=True)
    assert (last["entered"], last["removed"], last["kept"], last["events"]) == (5, 2, 3, 2)
    assert "censoring: drop" in last["step"]


def test_censoring_negative_and_censored() -> None:
    negative = labels(extract_cohort(RECORD, task("censoring: negative")))
    assert negative[2] == (3, 0, 0, "observed", 12)
    censored = labels(extract_cohort(RECORD, task("censoring: censored")))
    assert censored[2:4] == [(3, 0, None, "censored", 12), (4, 0, None, "censored", 20)]
    assert censored[0] == negative[0] == (1, 0, 1, "observed", 10)


def test_competing_events_decide_and_are_kept() -> None:
    found = labels(extract_cohort(RECORD, task("censoring: drop, competing: death")))
    assert (4, 0, 0, "competing", 20) in found
    after = records((1, 0, "VISIT"), (1, 5, "STROKE//a"), (1, 6, "MEDS_DEATH"))
    assert labels(extract_cohort(after, task("censoring: drop, competing: death"))) == [(1, 0, 1, "observed", 5)]


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        ("washout: 30d", [70]),  # a stroke 30 days before day 50 is within (20, 50]; 70 - 30 is past it
        ("washout: 29d", [50, 70]),
        ("washout: all", []),
        ("minimum_history: 50d", [50, 70]),
        ("minimum_history: 51d", [70]),
        ("index: first", [0]),
        ("minimum_age_years: 40.1", [50, 70]),
        ("maximum_age_years: 40.1", [0]),
        ("minimum_age_years: 99", []),
    ],
)
def test_policies(policy: str, left: list[int]) -> None:
    record = records((1, -40 * 365.25, "MEDS_BIRTH"), (1, 0, "VISIT"), (1, 20.5, "STROKE//a"), (1, 50, "VISIT"),
                     (1, 70, "VISIT"), (1, 200, "X"))  # fmt: skip
    chosen = task(f"censoring: drop, {policy}")
    if "washout" in policy:
        left = [0, *left]  # the first visit has no stroke before it
    if not left:
        with pytest.raises(LabelError):
            extract_cohort(record, chosen)
        return
    assert [day for _, day, *_ in labels(extract_cohort(record, chosen))] == left


def test_washout_is_a_look_back_window_open_at_its_far_end() -> None:
    record = records((1, 20, "STROKE//a"), (1, 50, "VISIT"), (1, 200, "X"))
    assert extract_cohort(record, task("censoring: drop, washout: 30d")).labels.height == 1
    with pytest.raises(LabelError):
        extract_cohort(record, task("censoring: drop, washout: 31d"))


def test_random_row_of_each_person_depends_on_the_seed_only() -> None:
    record = records(*((s, d, "VISIT") for s in range(40) for d in range(5)), *((s, 99, "X") for s in range(40)))
    one, again, other = (
        extract_cohort(
            record.sample(fraction=1, shuffle=True, seed=i), task(f"censoring: drop, index: random, seed: {k}")
        )
        for i, k in enumerate((1, 1, 2))
    )
    assert one.labels.equals(again.labels)
    assert one.labels["subject_id"].to_list() == list(range(40))
    assert not one.labels.equals(other.labels)
    assert {day for _, day, *_ in labels(one)} == {0, 1, 2, 3, 4}


def test_birth_must_be_recorded_for_ages() -> None:
    with pytest.raises(LabelError):
        extract_cohort(RECORD, task("censoring: drop, minimum_age_years: 18"))


def test_demographics_are_static_records() -> None:
    text = TASK.replace("trigger:", "patient_demographics:\n  male: {code: GENDER//M}\ntrigger:")
    record = pl.concat([RECORD, records((1, None, "GENDER//M"), (2, None, "GENDER//F"))])
    found = extract_cohort(record, task(text=text))
    assert [s for s, *_ in labels(found)] == [1]
    assert "male" in found.flow["step"].to_list()[2]


def test_label_window_before_prediction_is_refused() -> None:
    early = TASK.replace("start: input.end, end: start + 30d", "start: trigger - 1d, end: start + 30d")
    with pytest.raises(ConfigError, match="begins before the prediction time"):
        extract_cohort(RECORD, task(text=early))
    touching = TASK.replace("end: start + 30d, start_inclusive: false", "end: start + 30d, start_inclusive: true")
    with pytest.raises(ConfigError, match="label and feature at once"):
        extract_cohort(RECORD, task(text=touching))
    exclusive = touching.replace("censoring: drop", "censoring: drop, prediction_time: exclusive")
    assert extract_cohort(RECORD, parse_task(exclusive)).labels.height == 3


def test_flow_adds_up_and_shows_early_outcomes_leaving() -> None:
    text = TASK.replace(
        "  target:",
        "  gap: {start: trigger, end: start + 3d, start_inclusive: false, end_inclusive: true,\n"
        "        has: {stroke: '(None, 0)'}}\n"
        "  target:",
    ).replace("start: input.end", "start: gap.end")
    record = pl.concat([RECORD, records((6, 0, "VISIT"), (6, 2, "STROKE//a"), (6, 90, "X"))])
    flow = extract_cohort(record, task(text=text)).flow
    rows = flow.filter(pl.col("unit") == "rows")
    assert (rows["entered"] - rows["removed"] == rows["kept"]).all()
    assert rows["kept"].to_list()[:-1] == rows["entered"].to_list()[1:]
    # Person 2's stroke on day 31 is inside the window now: it lasts to day 33.
    assert rows.select("kept", "events").rows()[:2] == [(6, 4), (5, 3)]


def test_search_may_stay_only_when_both_ends_are_inclusive() -> None:
    text = """
predicates: {visit: {code: VISIT}, end_: {code: END}}
trigger: visit
windows:
  input: {start: trigger, end: start -> visit, start_inclusive: START, end_inclusive: true, index_timestamp: end}
  target: {start: input.end, end: start + 5d, start_inclusive: false, end_inclusive: true, label: end_}
genomix: {censoring: drop}
"""
    record = records((1, 0, "VISIT"), (1, 3, "VISIT"), (1, 50, "X"))
    stays = extract_cohort(record, parse_task(text.replace("START", "true")))
    goes_on = extract_cohort(record, parse_task(text.replace("START", "false")))
    assert [day for _, day, *_ in labels(stays)] == [0, 3]
    assert [day for _, day, *_ in labels(goes_on)] == [3]


def test_two_triggers_with_one_prediction_time_make_one_row() -> None:
    text = """
predicates: {visit: {code: VISIT}, end_: {code: END}}
trigger: visit
windows:
  input: {start: trigger, end: start -> end_, start_inclusive: true, end_inclusive: true, index_timestamp: end}
  target: {start: input.end, end: start + 5d, start_inclusive: false, end_inclusive: true, label: visit}
genomix: {censoring: drop}
"""
    found = extract_cohort(records((1, 0, "VISIT"), (1, 1, "VISIT"), (1, 3, "END"), (1, 50, "X")), parse_task(text))
    assert labels(found) == [(1, 3, 0, "observed", 5)]
    assert "earlier trigger" in found.flow["step"][-1]


# The whole evaluation against a plain loop.

BRUTE = [
    TASK,
    """
predicates:
  a: {code: A}
  b: {code: B}
  c: {code: {any: [C, D]}}
  a_and_b: {expr: "and(a, b)"}
  b_or_c: {expr: "or(b, c)"}
trigger: a
windows:
  before: {start: end - 6d, end: trigger, start_inclusive: true, end_inclusive: false, has: {b_or_c: "(None, 2)"}}
  input: {start: null, end: trigger + 1d, start_inclusive: true, end_inclusive: true, has: {_ANY_EVENT: "(2, None)"},
          index_timestamp: end}
  gap: {start: input.end, end: start + 2d, start_inclusive: false, end_inclusive: true, has: {a_and_b: "(None, 0)"}}
  target: {start: gap.end, end: start -> b_or_c, start_inclusive: false, end_inclusive: true, label: c}
genomix: {censoring: drop}
""",
    """
predicates: {a: {code: A}, b: {code: B}, c: {code: C}}
trigger: _ANY_EVENT
windows:
  stay: {start: end <- a, end: trigger, start_inclusive: true, end_inclusive: true, has: {b: "(1, 3)"}}
  later: {start: trigger -> c, end: start + 3d, start_inclusive: true, end_inclusive: false, index_timestamp: start}
  target: {start: later.start, end: null, start_inclusive: false, end_inclusive: true, label: b,
           has: {_RECORD_END: "(1, 1)"}}
genomix: {censoring: negative}
""",
    """
predicates: {a: {code: A}, b: {code: B}, c: {code: C}}
trigger: b
windows:
  input: {start: end <- c, end: trigger, start_inclusive: false, end_inclusive: false, index_timestamp: end}
  target: {start: trigger, end: start -> a, start_inclusive: false, end_inclusive: false, label: c}
genomix: {censoring: censored}
""",
]


class Loop:
    """One subject's record, evaluated by definition."""

    def __init__(self, chosen: Task, record: list[tuple[datetime, str]]) -> None:
        self.task, self.record = chosen, sorted(record)
        self.times = sorted({t for t, _ in record})

    def hits(self, name: str, time: datetime) -> int:
        if name == "_ANY_EVENT":
            return 1
        if name in ("_RECORD_START", "_RECORD_END"):
            return int(time == (self.times[0] if name == "_RECORD_START" else self.times[-1]))
        predicate = self.task.predicates[name]
        if isinstance(predicate, DerivedPredicate):
            parts = [self.hits(p, time) > 0 for p in predicate.inputs]
            return int(all(parts) if predicate.operator == "and" else any(parts))
        if predicate.regex is not None:
            return sum(t == time and c.startswith(predicate.regex.removeprefix("^")) for t, c in self.record)
        return sum(t == time and c in predicate.codes for t, c in self.record)

    def count(self, name: str, span: tuple[datetime, datetime], start_in: bool, end_in: bool) -> int:
        low, high = span
        return sum(
            self.hits(name, t) for t in self.times
            if (low <= t if start_in else low < t) and (t <= high if end_in else t < high)
        )  # fmt: skip

    def resolve(self, boundary: Boundary, base: datetime | None, stay: bool) -> datetime | None:
        if base is None:
            return None
        if boundary.predicate is None:
            return base + timedelta(microseconds=boundary.offset)
        stay = stay or boundary.predicate.startswith("_RECORD")
        hits = [t for t in self.times if self.hits(boundary.predicate, t)]
        if boundary.direction > 0:
            return next((t for t in hits if t > base or (stay and t == base)), None)
        return next((t for t in reversed(hits) if t < base or (stay and t == base)), None)

    def rows(self) -> list[tuple[datetime, float | None]]:
        found = [self.row(t) for t in self.times if self.hits(self.task.trigger, t)]
        kept: dict[datetime, float | None] = {}
        for row in found:
            if row is not None:
                kept.setdefault(*row)
        return sorted(kept.items())

    def row(self, trigger: datetime) -> tuple[datetime, float | None] | None:
        spans: dict[str, tuple[datetime | None, datetime | None]] = {}
        for name in self.task.order:
            w = self.task.windows[name]
            target, _, side = w.root_boundary.reference.partition(".")
            base = trigger if target == "trigger" else spans[target][side == "end"]
            root = self.resolve(w.root_boundary, base, False)
            other = self.resolve(w.other_boundary, root, w.start_inclusive and w.end_inclusive)
            spans[name] = (root, other) if w.root == "start" else (other, root)
        label = self.task.label_window
        start, end = spans[label.name]
        unfinished = end is None or end > self.times[-1]
        if start is None:
            return None
        if end is None:
            end = max(self.times[-1], start)
        spans[label.name] = (start, end)
        for name, (low, high) in spans.items():
            w = self.task.windows[name]
            if low is None or high is None or high < low:
                return None
            for predicate, least, most in w.has:
                n = self.count(predicate, (low, high), w.start_inclusive, w.end_inclusive)
                if (least is not None and n < least) or (most is not None and n > most):
                    return None
        index = self.task.index_window
        prediction = spans[index.name][index.index_timestamp == "end"]
        assert prediction is not None
        assert label.label is not None
        value: float | None = float(
            self.count(label.label, (start, end), label.start_inclusive, label.end_inclusive) > 0
        )
        if unfinished and not value:
            policy = self.task.policies.censoring
            if policy == "drop":
                return None
            value = None if policy == "censored" else 0.0
        return prediction, value


@pytest.mark.parametrize("text", BRUTE)
def test_equals_the_loop(text: str) -> None:
    chosen = parse_task(text)
    codes = ["VISIT", "STROKE//a", "X"] if "visit" in text else ["A", "B", "C", "D"]
    rng = np.random.default_rng(5)
    rows = [
        (s, float(rng.integers(0, 40)) / (1 if s % 2 else 2), codes[rng.integers(len(codes))])
        for s in range(150)
        for _ in range(rng.integers(1, 14))
    ]
    frame = records(*rows)
    expected = []
    for subject, group in frame.group_by("subject_id", maintain_order=True):
        found = Loop(chosen, list(group.select("time", "code").iter_rows())).rows()
        expected += [(subject[0], t, v) for t, v in found]
    ours = extract_cohort(frame, chosen).labels.select("subject_id", "prediction_time", "value").rows()
    assert len(expected) > 20
    assert len({v for *_, v in expected}) >= 2
    assert ours == sorted(expected, key=lambda r: r[:2])


@pytest.mark.parametrize(("inclusive", "n"), [(True, 1), (False, 2)])
def test_outcomes_in_the_gap_are_counted(inclusive: bool, n: int) -> None:
    task = parse_task(f"""
predicates: {{visit: {{code: V}}, sick: {{code: S}}}}
trigger: visit
windows:
  input: {{start: null, end: trigger, start_inclusive: true, end_inclusive: true, index_timestamp: end}}
  target: {{start: trigger + 2d, end: start + 10d, start_inclusive: true, end_inclusive: true, label: sick}}
genomix: {{censoring: negative, prediction_time: {"inclusive" if inclusive else "exclusive"}}}
""")
    start = datetime(2020, 1, 1)
    # At the prediction; in the gap; at the window's begin; after it.
    days = {1: 0.0, 2: 1.0, 3: 2.0, 4: 3.0}
    rows = [(s, start, "V") for s in days] + [(s, start + timedelta(days=d), "S") for s, d in days.items()]
    rows += [(s, start + timedelta(days=20), "X") for s in days]
    raw = pl.DataFrame(
        rows, orient="row", schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String}
    )
    found = extract_cohort(to_events(raw, source_format="t").events, task)
    assert found.in_gap == n
    assert found.labels["value"].to_list() == [0, 0, 1, 1]
