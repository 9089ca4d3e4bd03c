"""From events and a task to labelled rows, with a count and a reason for everyone who leaves on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.ehr.durations import MICROSECONDS_PER_DAY
from genomix.ehr.task import RECORD_END, RECORD_START, Boundary, PlainPredicate, Task, Window
from genomix.ehr.timeline import MISSING, Integers, Timeline, build_timeline, match
from genomix.errors import ConfigError, LabelError
from genomix.schemas.events import TIME
from genomix.schemas.people import FLOW, LABELS

BIRTH = "MEDS_BIRTH"
DAYS_PER_YEAR = 365.25

Mask = npt.NDArray[np.bool_]


class Cohort(NamedTuple):
    """Labelled rows (schema LABELS) and how they came about (schema FLOW, part ``records``).

    ``in_gap``: rows with an outcome after the prediction and before the label window begins.
    """

    labels: pl.DataFrame
    flow: pl.DataFrame
    in_gap: int


@dataclass
class _Flow:
    """Realisations that are still in, and the boxes of the diagram so far."""

    alive: Mask
    outcome: Mask
    unit: str
    boxes: list[dict[str, Any]] = field(default_factory=list)

    def remove(self, step: str, gone: Mask) -> None:
        """Take realisations out and note how many."""
        before = int(self.alive.sum())
        self.alive = self.alive & ~gone
        after = int(self.alive.sum())
        self.note(step, self.unit, before, after, int((self.alive & self.outcome).sum()))

    def note(self, step: str, unit: str, entered: int, kept: int, events: int | None) -> None:
        """Add a box."""
        removed = entered - kept
        self.boxes.append(
            {"part": "records", "step": step, "unit": unit, "entered": entered, "removed": removed, "kept": kept}
            | {"events": events}
        )


class _Outcome(NamedTuple):
    """What happened in each realisation's label window; times in us, MISSING where there is none."""

    value: Mask
    competing: Mask
    unfinished: Mask
    until: Integers

    def take(self, rows: Integers) -> _Outcome:
        """Return these realisations."""
        return _Outcome(self.value[rows], self.competing[rows], self.unfinished[rows], self.until[rows])


def extract_cohort(events: pl.DataFrame, task: Task) -> Cohort:
    """Evaluate a task's windows for every realisation of its trigger and label those that satisfy all of them.

    Parameters
    ----------
    events: schema EVENTS. task: see :mod:`genomix.ehr.aces`.

    Returns
    -------
    Labels are 1 when the label predicate occurs in the label window, else 0; with the policy ``censored`` null where
    the record ends before the window does. ``time_days`` runs from the prediction time to the first outcome, the
    competing event, the end of the window or the end of the record, whichever decided the row. The ``events`` of a
    flow step before labelling are the realisations with an outcome between the trigger and the end of the label
    window (an end that is searched for is searched from the trigger on), so that early outcomes are seen to leave.

    A competing event counts from the prediction time on, also before the label window begins. Where both happen at one
    time, the outcome counts.

    Follow-up ends at a subject's last dated record of any kind. A death that the task does not name as ``competing``
    is such a record and no more.

    Raises
    ------
    ConfigError: the label window begins before the prediction time. LabelError: no row is left.
    """
    timeline = build_timeline(events, task.predicates, _wanted(task))
    people = int(events["subject_id"].n_unique())
    owner, trigger = timeline.times_of(task.trigger)
    flow = _Flow(np.ones(len(owner), bool), np.zeros(len(owner), bool), task.policies.unit)
    flow.note("People with records", "people", people, people, None)
    spans = _spans(task, timeline, owner, trigger)
    index = task.index_window
    prediction = spans[index.name][0 if index.index_timestamp == "start" else 1]
    outcome = _label(task, timeline, owner, prediction, spans[task.label_window.name])
    flow.outcome = _early_outcome(task, timeline, owner, trigger, spans) | outcome.value
    flow.remove(f"Every {_in_words(task.trigger)}", np.zeros(len(owner), bool))
    _apply_demographics(task, events, timeline, owner, flow)
    for name in task.order:
        _apply_window(task, task.windows[name], timeline, owner, spans[name], flow)
    begin = spans[task.label_window.name][0]
    _check_order(task, begin, prediction, flow.alive)
    _apply_policies(task, events, timeline, owner, prediction, begin, flow)
    flow.outcome = outcome.value
    _apply_censoring(task, outcome, flow)
    _apply_choice(task, owner, prediction, trigger, flow)
    rows = np.flatnonzero(flow.alive)
    if not len(rows):
        raise LabelError("no row is left", where=task.where, hint="see the counts of the cohort flow for the step")
    labels = _labels(task, timeline, owner[rows], prediction[rows], outcome.take(rows))
    flow_frame = FLOW.validate(pl.DataFrame(flow.boxes, schema={c.name: c.dtype for c in FLOW.columns}))
    in_gap = _in_gap(task, timeline, owner[rows], prediction[rows], begin[rows])
    return Cohort(LABELS.validate(labels), flow_frame, in_gap)


def _in_gap(task: Task, timeline: Timeline, owner: Integers, prediction: Integers, begin: Integers) -> int:
    """Count rows with an outcome between prediction and label window: no feature sees it, and no label counts it."""
    window = task.label_window
    assert window.label is not None
    found = timeline.count(
        window.label, owner, prediction, begin, start_in=not task.inclusive, end_in=not window.start_inclusive
    )
    return int(((found > 0) & (begin > prediction)).sum())


def _wanted(task: Task) -> set[str]:
    found = {task.trigger, task.label_window.label or ""}
    if task.policies.competing is not None:
        found.add(task.policies.competing)
    for window in task.windows.values():
        found |= {name for name, _, _ in window.has}
        found |= {b.predicate for b in (window.start, window.end) if b.predicate is not None}
    return found


def _spans(task: Task, timeline: Timeline, owner: Integers, trigger: Integers) -> dict[str, tuple[Integers, Integers]]:
    """Return start and end of every window for every realisation; MISSING where the window is not realised."""
    found: dict[str, tuple[Integers, Integers]] = {}
    for name in task.order:
        window = task.windows[name]
        target, _, side = window.root_boundary.reference.partition(".")
        base = trigger if target == "trigger" else found[target][0 if side == "start" else 1]
        root = _resolve(window.root_boundary, timeline, owner, base, strict=True)
        strict = not (window.start_inclusive and window.end_inclusive)
        other = _resolve(window.other_boundary, timeline, owner, root, strict=strict)
        found[name] = (root, other) if window.root == "start" else (other, root)
    return found


def _resolve(boundary: Boundary, timeline: Timeline, owner: Integers, base: Integers, *, strict: bool) -> Integers:
    if boundary.predicate in (RECORD_START, RECORD_END):
        edge = timeline.first[owner] if boundary.predicate == RECORD_START else timeline.last[owner]
        reached = (edge - base) * boundary.direction >= 0
        return np.where(reached & (base != MISSING), edge, MISSING)
    if boundary.predicate is not None:
        return timeline.search(boundary.predicate, owner, base, direction=boundary.direction, strict=strict)
    return np.where(base == MISSING, MISSING, np.where(base == MISSING, 0, base) + boundary.offset)


def _apply_demographics(task: Task, events: pl.DataFrame, timeline: Timeline, owner: Integers, flow: _Flow) -> None:
    static = events.filter(pl.col("time").is_null())
    for name in task.demographics:
        predicate = task.predicates[name]
        assert isinstance(predicate, PlainPredicate)
        have = static.filter(match(predicate))["subject_id"].unique().to_numpy()
        flow.remove(f"The person is {name}", ~np.isin(timeline.subjects[owner], have))


def _is_label(task: Task, window: Window) -> bool:
    return window.name == task.label_window.name


def _apply_window(
    task: Task, window: Window, timeline: Timeline, owner: Integers, span: tuple[Integers, Integers], flow: _Flow
) -> None:
    start, end = span
    searches = any(b.predicate not in (None, RECORD_START, RECORD_END) for b in (window.start, window.end))
    if _is_label(task, window):
        # An outcome window that the record does not finish is a matter of censoring, not of eligibility.
        end = _observed_end(window, timeline, owner, start, end)
    unrealised = (start == MISSING) | (end == MISSING) | (end < start)
    if searches or unrealised[flow.alive].any():
        flow.remove(f'In the window "{_in_words(window.name)}": {_what_bounds(window)}', unrealised)
    for name, least, most in window.has:
        n = timeline.count(
            name, owner, start, end, start_in=window.start_inclusive, end_in=window.end_inclusive
        )  # fmt: skip
        outside = np.zeros(len(n), bool) if least is None else n < least
        if most is not None:
            outside |= n > most
        flow.remove(
            f'In the window "{_in_words(window.name)}": {_bounds_in_words(least, most)} {_in_words(name)}', outside
        )


def _what_bounds(window: Window) -> str:
    parts = []
    for side, boundary in (("start", window.start), ("end", window.end)):
        if boundary.predicate == RECORD_START or boundary.predicate == RECORD_END:
            parts.append("the record reaches it")
        elif boundary.predicate is not None:
            where = "after" if boundary.direction > 0 else "before"
            parts.append(f"its {side} exists ({_in_words(boundary.predicate)} {where} {boundary.reference})")
    return " and ".join(parts) or "it exists"


def _in_words(name: str) -> str:
    """Return a name of the task file as a reader would say it."""
    return name.strip("_").replace("_", " ")


def _bounds_in_words(least: int | None, most: int | None) -> str:
    if most == 0:
        return "no"
    if most is None:
        return f"at least {least}"
    return f"at most {most}" if least is None else f"{least} to {most}"


def _observed_end(window: Window, timeline: Timeline, owner: Integers, start: Integers, end: Integers) -> Integers:
    """Return the label window's end, or the end of the record where the event that ends it was never seen."""
    never = (end == MISSING) & (start != MISSING)
    if window.root == "end":
        return end
    return np.where(never, np.maximum(timeline.last[owner], start), end)


def _early_outcome(
    task: Task, timeline: Timeline, owner: Integers, trigger: Integers, spans: dict[str, tuple[Integers, Integers]]
) -> Mask:
    window = task.label_window
    end = spans[window.name][1]
    if window.root == "start" and window.end.predicate not in (None, RECORD_END):
        assert window.end.predicate is not None
        end = timeline.search(window.end.predicate, owner, trigger, direction=1, strict=True)
        end = np.where(end == MISSING, timeline.last[owner], end)
    assert window.label is not None
    return timeline.count(window.label, owner, trigger, end, start_in=False, end_in=True) > 0


def _check_order(task: Task, start: Integers, prediction: Integers, alive: Mask) -> None:
    window = task.label_window
    begun = alive & (start != MISSING) & (prediction != MISSING)
    if (begun & (start < prediction)).any():
        raise ConfigError(
            f"window {window.name!r} holds the label and begins before the prediction time", where=task.where,
            hint="let it start at or after the window end that has index_timestamp",
        )  # fmt: skip
    if window.start_inclusive and task.inclusive and (begun & (start == prediction)).any():
        raise ConfigError(
            f"an outcome at the very prediction time would be label and feature at once (window {window.name!r})",
            where=task.where, hint="start_inclusive: false, or genomix: prediction_time: exclusive",
        )  # fmt: skip


def _apply_policies(
    task: Task,
    events: pl.DataFrame,
    timeline: Timeline,
    owner: Integers,
    prediction: Integers,
    begin: Integers,
    flow: _Flow,
) -> None:
    """Apply ages, history and washout; ``begin`` is where the label windows start."""
    policies = task.policies
    if policies.minimum_age_years is not None or policies.maximum_age_years is not None:
        birth = _earliest(events.filter(pl.col("code") == BIRTH), timeline)[owner]
        flow.remove("A birth is recorded", birth == MISSING)
        years = (prediction - np.where(birth == MISSING, prediction, birth)) / (DAYS_PER_YEAR * MICROSECONDS_PER_DAY)
        if policies.minimum_age_years is not None:
            flow.remove(
                f"Age at prediction at least {policies.minimum_age_years:g} years", years < policies.minimum_age_years
            )
        if policies.maximum_age_years is not None:
            flow.remove(
                f"Age at prediction at most {policies.maximum_age_years:g} years", years > policies.maximum_age_years
            )
    if policies.minimum_history is not None:
        first = _earliest(events.filter(pl.col("code") != BIRTH), timeline)[owner]
        short = (first == MISSING) | (prediction - first < policies.minimum_history)
        flow.remove(f"Records for at least {_days(policies.minimum_history)} before prediction", short)
    if policies.washout is not None:
        label = task.label_window.label
        assert label is not None
        since = timeline.first[owner] if policies.washout == "all" else prediction - policies.washout
        seen, before = (
            timeline.count(label, owner, since, prediction, start_in=policies.washout == "all", end_in=end_in)
            for end_in in (True, False)
        )
        # An outcome at the very prediction time may be the label: then it is not before it.
        seen = np.where((begin == prediction) & task.label_window.start_inclusive, before, seen)
        span = "at any time" if policies.washout == "all" else f"in the {_days(policies.washout)}"
        flow.remove(f"No {label} {span} before prediction (washout)", seen > 0)


def _days(microseconds: int) -> str:
    return f"{microseconds / MICROSECONDS_PER_DAY:g} days"


def _earliest(events: pl.DataFrame, timeline: Timeline) -> Integers:
    """Return each subject's earliest time among events, MISSING where there is none."""
    found = events.filter(pl.col("time").is_not_null()).group_by("subject_id").agg(pl.col("time").min())
    earliest = np.full(len(timeline.subjects), MISSING)
    earliest[np.searchsorted(timeline.subjects, found["subject_id"].to_numpy())] = (
        found["time"].to_physical().to_numpy()
    )
    return earliest


def _label(
    task: Task, timeline: Timeline, owner: Integers, prediction: Integers, span: tuple[Integers, Integers]
) -> _Outcome:
    """Find the first outcome in the label window, and the first competing event from the prediction on."""
    window, (start, end) = task.label_window, span
    assert window.label is not None
    last = timeline.last[owner]
    unfinished = (end == MISSING) | (end > last)
    end = _observed_end(window, timeline, owner, start, end)

    def first(name: str, base: Integers, *, strict: bool) -> Integers:
        found = timeline.search(name, owner, base, direction=1, strict=strict)
        inside = (found <= end) if window.end_inclusive else (found < end)
        return np.where(inside & (start != MISSING), found, MISSING)

    outcome = first(window.label, start, strict=not window.start_inclusive)
    value = outcome != MISSING
    competing = np.zeros(len(owner), bool)
    until = np.where(value, outcome, np.where(unfinished, np.minimum(last, end), end))
    if task.policies.competing is not None:
        rival = first(task.policies.competing, prediction, strict=task.inclusive)
        competing = (rival != MISSING) & (~value | (rival < outcome))
        value &= ~competing
        until = np.where(competing, rival, until)
    return _Outcome(value, competing, unfinished & ~value & ~competing, until)


def _apply_censoring(task: Task, outcome: _Outcome, flow: _Flow) -> None:
    words = "The record lasts to the end of the outcome window, or the outcome was seen"
    if task.policies.censoring == "drop":
        flow.remove(f"{words} (censoring: drop)", outcome.unfinished)
        return
    n = int((flow.alive & outcome.unfinished).sum())
    kept = "kept as negative" if task.policies.censoring == "negative" else "kept as censored"
    flow.remove(
        f"{words}; {n} without are {kept} (censoring: {task.policies.censoring})", np.zeros(len(flow.alive), bool)
    )


def _apply_choice(task: Task, owner: Integers, prediction: Integers, trigger: Integers, flow: _Flow) -> None:
    """Keep one realisation per prediction time, then the rows of each person that the task asks for."""
    rows = np.flatnonzero(flow.alive)
    rows = rows[np.lexsort((trigger[rows], prediction[rows], owner[rows]))]
    again = np.zeros(len(flow.alive), bool)
    same = (np.diff(owner[rows], prepend=-1) == 0) & (np.diff(prediction[rows], prepend=MISSING) == 0)
    if same.any():
        again[rows[same]] = True
        flow.remove("Not the same person and prediction time as an earlier trigger", again)
        rows = rows[~same]
    if task.policies.index == "any" or not len(rows):
        return
    begins = np.flatnonzero(np.diff(owner[rows], prepend=-1))
    sizes = np.diff(np.append(begins, len(rows)))
    chosen = begins
    if task.policies.index == "random":
        drawn = np.random.default_rng(task.policies.seed).random(len(sizes))
        chosen = begins + np.minimum((drawn * sizes).astype(np.int64), sizes - 1)
    others = flow.alive.copy()
    others[rows[chosen]] = False
    words = (
        "The first row of each person" if task.policies.index == "first" else "One row of each person, drawn at random"
    )
    flow.remove(words, others)


def _labels(task: Task, timeline: Timeline, owner: Integers, prediction: Integers, outcome: _Outcome) -> pl.DataFrame:
    censored = outcome.unfinished & (task.policies.censoring == "censored")
    status = np.where(censored, "censored", np.where(outcome.competing, "competing", "observed"))
    days = np.maximum(outcome.until - prediction, 0) / MICROSECONDS_PER_DAY
    frame = pl.DataFrame(
        {
            "subject_id": timeline.subjects[owner],
            "prediction_time": pl.Series(prediction, dtype=pl.Int64).cast(TIME),
            "value": outcome.value.astype(np.float64),
            "status": pl.Series(status.tolist(), dtype=pl.String),
            "time_days": days,
            "weight": np.ones(len(owner)),
        }
    )
    frame = frame.with_columns(pl.when(pl.col("status") != "censored").then("value").alias("value"))
    return frame.sort("subject_id", "prediction_time")
