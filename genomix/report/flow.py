"""The cohort's flow as chains of steps whose counts add up and give no small cell away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from genomix.privacy import WITHHELD, is_small
from genomix.report.numbers import count, people

PARTS = ("genotypes", "records", "study")
_NOT_PEOPLE = ("variants",)


class FlowStep(NamedTuple):
    """One drop: the questions asked (several where steps were put together), and the counts as shown."""

    asked: tuple[str, ...]
    removed: str
    kept: str


class Chain(NamedTuple):
    """Steps of one part in one unit, from the count that entered to the count that is left."""

    part: str
    unit: str
    entered: str
    steps: tuple[FlowStep, ...]
    opening: str = ""  # who entered, in words


def chains(flow: pl.DataFrame, *, row_word: str = "rows") -> list[Chain]:
    """Return the flow's chains in the order genotypes, records, study; other parts last.

    A step that removed 1 to 10 people is put together with its neighbour, so that the counts still add up. Where there
    is no neighbour to put it with, the count before it is withheld. A part's last count is withheld where subtracting
    the count that enters the study would give a small cell.

    Parameters
    ----------
    flow: schema FLOW, in the order of the steps. row_word: what stands for the unit ``rows``.
    """
    rows = flow.to_dicts()
    parts = [*PARTS, *sorted({r["part"] for r in rows} - set(PARTS))]
    study_entered = next((r["entered"] for r in rows if r["part"] == "study"), None)
    found = []
    for part in parts:
        runs = _runs([r for r in rows if r["part"] == part])
        for i, run in enumerate(runs):
            next_entered = study_entered if part in ("genotypes", "records") and i == len(runs) - 1 else None
            chain = _chain(part, run, next_entered)
            found.append(chain._replace(unit=row_word) if chain.unit == "rows" else chain)
    return found


def miscounted(flow: pl.DataFrame) -> list[str]:
    """Return the steps whose counts do not add up (entered − removed ≠ kept, or a step enters with other than the
    step before it kept)."""
    wrong = []
    for part in sorted(set(flow["part"].to_list())):
        for run in _runs([r for r in flow.to_dicts() if r["part"] == part]):
            before = run[0]["entered"]
            for row in run:
                if row["entered"] - row["removed"] != row["kept"] or row["entered"] != before:
                    wrong.append(row["step"])
                before = row["kept"]
    return wrong


def _runs(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Split a part's rows where the unit changes."""
    runs: list[list[dict[str, Any]]] = []
    for row in rows:
        if runs and runs[-1][-1]["unit"] == row["unit"]:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


def _chain(part: str, run: list[dict[str, Any]], next_entered: int | None) -> Chain:
    unit = run[0]["unit"]
    opening = run[0]["step"] if not run[0]["removed"] else ""
    start = run[0]["entered"]
    run = run[1:] if opening else run
    if unit in _NOT_PEOPLE:
        steps = tuple(FlowStep((r["step"],), count(r["removed"]), count(r["kept"])) for r in run)
        return Chain(part, unit, count(start), steps, opening)
    groups = group_small_drops([r["removed"] for r in run])
    steps_ = [_step([run[i] for i in g], run[g[0]]["entered"]) for g in groups]
    entered, end = people(start), run[-1]["kept"] if run else start
    if len(groups) == 1 and is_small(sum(r["removed"] for r in run)):
        entered = WITHHELD
    if next_entered is not None and is_small(abs(end - next_entered)):
        steps_, entered = _hide_end(steps_, entered)
    return Chain(part, unit, entered, tuple(steps_), opening)


def group_small_drops(removed: Sequence[int]) -> list[list[int]]:
    """Return runs of steps to be shown together, so that none of them removed 1 to 10.

    >>> group_small_drops([20, 3, 0, 40])
    [[0], [1, 2, 3]]
    >>> group_small_drops([20, 0, 3])
    [[0, 1, 2]]
    >>> group_small_drops([4, 0])
    [[0, 1]]
    """
    groups: list[list[int]] = []
    pending: list[int] = []
    for i in range(len(removed)):
        pending.append(i)
        if not is_small(sum(removed[j] for j in pending)):
            groups.append(pending)
            pending = []
    while pending and groups and is_small(sum(removed[j] for j in pending)):
        pending = groups.pop() + pending
    return [*groups, pending] if pending else groups


def _step(rows: list[dict[str, Any]], before: int) -> FlowStep:
    removed, kept = sum(r["removed"] for r in rows), rows[-1]["kept"]
    hidden = is_small(kept) and not is_small(before)
    return FlowStep(tuple(r["step"] for r in rows), WITHHELD if hidden else people(removed), people(kept))


def _hide_end(steps: list[FlowStep], entered: str) -> tuple[list[FlowStep], str]:
    if not steps:
        return steps, WITHHELD
    last = steps[-1]
    steps = [*steps[:-1], FlowStep(last.asked, last.removed if last.removed == "0" else WITHHELD, WITHHELD)]
    for i in range(len(steps) - 1, -1, -1):
        if steps[i].removed != "0":
            return steps, entered
        if i:
            before = steps[i - 1]
            steps[i - 1] = FlowStep(before.asked, before.removed if before.removed == "0" else WITHHELD, WITHHELD)
    return steps, WITHHELD
