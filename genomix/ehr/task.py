"""What a task is: predicates on records, a trigger, a tree of windows, and the policies that a study must state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

ANY_EVENT = "_ANY_EVENT"
RECORD_START = "_RECORD_START"
RECORD_END = "_RECORD_END"
SPECIAL = (ANY_EVENT, RECORD_START, RECORD_END)

Censoring = Literal["drop", "negative", "censored"]


@dataclass(frozen=True)
class PlainPredicate:
    """Records with one of ``codes``, or whose code matches ``regex``, and whose value and text columns fit."""

    name: str
    codes: tuple[str, ...] = ()
    regex: str | None = None
    value_min: float | None = None
    value_max: float | None = None
    value_min_inclusive: bool = False
    value_max_inclusive: bool = False
    other_columns: tuple[tuple[str, str], ...] = ()
    static: bool = False


@dataclass(frozen=True)
class DerivedPredicate:
    """Time points at which all (``and``) or any (``or``) of other predicates hold."""

    name: str
    operator: Literal["and", "or"]
    inputs: tuple[str, ...]


Predicate = PlainPredicate | DerivedPredicate


@dataclass(frozen=True)
class Boundary:
    """An end of a window: a reference, then at most one of an offset and a search for a predicate.

    ``reference`` is ``trigger``, ``start``, ``end``, ``WINDOW.start`` or ``WINDOW.end``. ``offset`` is in microseconds.
    ``predicate`` with ``direction`` 1 is the next such event (``->``), with -1 the previous one (``<-``).
    """

    reference: str
    offset: int = 0
    predicate: str | None = None
    direction: int = 0


@dataclass(frozen=True)
class Window:
    """A window; ``root`` is the end that refers outside of it, the other end refers to the root.

    ``has`` maps a predicate to the least and most events of it (None: no bound).
    """

    name: str
    start: Boundary
    end: Boundary
    start_inclusive: bool
    end_inclusive: bool
    root: Literal["start", "end"]
    has: tuple[tuple[str, int | None, int | None], ...] = ()
    label: str | None = None
    index_timestamp: Literal["start", "end"] | None = None

    @property
    def root_boundary(self) -> Boundary:
        """The boundary that refers to the trigger or to another window."""
        return self.start if self.root == "start" else self.end

    @property
    def other_boundary(self) -> Boundary:
        """The boundary that refers to the root of this window."""
        return self.end if self.root == "start" else self.start


@dataclass(frozen=True)
class Policies:
    """What ACES leaves open and a study must state, see :mod:`genomix.ehr.aces`. Durations in microseconds."""

    censoring: Censoring | None = None
    prediction_time: Literal["inclusive", "exclusive"] = "inclusive"
    competing: str | None = None
    washout: int | Literal["all"] | None = None
    minimum_age_years: float | None = None
    maximum_age_years: float | None = None
    index: Literal["first", "any", "random"] = "any"
    seed: int = 0
    minimum_history: int | None = None
    unit: Literal["people", "admissions", "rows"] = "rows"


@dataclass(frozen=True)
class Task:
    """A task; ``windows`` are in the order of the file, ``order`` so that each refers to earlier ones only."""

    predicates: dict[str, Predicate]
    trigger: str
    windows: dict[str, Window]
    order: tuple[str, ...]
    policies: Policies
    where: str
    demographics: tuple[str, ...] = ()
    description: str = ""

    @property
    def label_window(self) -> Window:
        """The window that holds the label."""
        return next(w for w in self.windows.values() if w.label is not None)

    @property
    def index_window(self) -> Window:
        """The window whose start or end is the prediction time."""
        return next(w for w in self.windows.values() if w.index_timestamp is not None)

    @property
    def inclusive(self) -> bool:
        """Whether records at the very prediction time may be used."""
        return self.policies.prediction_time == "inclusive"

    @property
    def outcome_codes(self) -> tuple[str, ...]:
        """Regular expressions of the codes that define the outcome."""
        found: list[str] = []
        stack = [self.label_window.label or ""]
        while stack:
            predicate = self.predicates[stack.pop()]
            if isinstance(predicate, DerivedPredicate):
                stack.extend(reversed(predicate.inputs))
            elif predicate.regex is not None:
                found.append(predicate.regex)
            else:
                found.extend(f"^{re.escape(code)}$" for code in predicate.codes)
        return tuple(sorted(set(found)))
