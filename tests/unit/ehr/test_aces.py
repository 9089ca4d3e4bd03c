"""The task language: what a file says, and what is refused with the place and the allowed words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from genomix.ehr.aces import parse_task, read_task
from genomix.ehr.durations import parse_duration
from genomix.ehr.task import Boundary, DerivedPredicate, PlainPredicate
from genomix.errors import ConfigError, InputNotFoundError

HOUR = 3_600_000_000
TASK = """
predicates:
  admission: {code: {regex: "^ADMISSION//.*"}}
  discharge: {code: {any: [DISCHARGE//HOME, DISCHARGE//DIED]}}
  death: {code: DEATH}
  high: {code: LAB//x, value_min: 120, value_min_inclusive: true, other_cols: {text_value: fasting}}
  discharge_or_death: {expr: "or(discharge, death)"}
patient_demographics:
  male: {code: SEX//male}
trigger: admission
windows:
  input:
    start: NULL
    end: trigger + 24h
    start_inclusive: True
    end_inclusive: True
    has:
      _ANY_EVENT: (5, None)
    index_timestamp: end
  gap:
    start: trigger
    end: start + 48h
    start_inclusive: False
    end_inclusive: True
    has:
      admission: (None, 0)
      high: [0, 3]
  target:
    start: gap.end
    end: start -> discharge_or_death
    start_inclusive: False
    end_inclusive: True
    label: death
genomix:
  censoring: drop
"""


def changed(**changes: object) -> str:
    content = yaml.safe_load(TASK)
    for key, value in changes.items():
        place, *rest = key.split("__")
        here = content
        while rest:
            here, place = here[place], rest.pop(0)
        if value is None:
            del here[place]
        else:
            here[place] = value
    return yaml.safe_dump(content, sort_keys=False)


def test_a_whole_task_is_read() -> None:
    task = parse_task(TASK)
    assert task.predicates["discharge"] == PlainPredicate("discharge", ("DISCHARGE//HOME", "DISCHARGE//DIED"))
    assert task.predicates["high"] == PlainPredicate(
        "high", ("LAB//x",), value_min=120, value_min_inclusive=True, other_columns=(("text_value", "fasting"),)
    )
    assert task.predicates["discharge_or_death"] == DerivedPredicate("discharge_or_death", "or", ("discharge", "death"))
    assert task.demographics == ("male",)
    window = task.windows["input"]
    assert (window.root, window.start, window.end) == (
        "end", Boundary("end", 0, "_RECORD_START", -1), Boundary("trigger", 24 * HOUR),
    )  # fmt: skip
    assert task.windows["gap"].has == (("admission", None, 0), ("high", 0, 3))
    assert task.windows["target"].end == Boundary("start", 0, "discharge_or_death", 1)
    assert task.order == ("input", "gap", "target")
    assert (task.label_window.name, task.index_window.name, task.inclusive) == ("target", "input", True)
    assert task.outcome_codes == ("^DEATH$",)


def test_windows_may_refer_to_later_ones() -> None:
    text = changed(windows__input__end="target.start")
    assert parse_task(text).order == ("gap", "target", "input")


@pytest.mark.parametrize(
    ("text", "hours"),
    [("24h", 24), ("1 day", 24), ("2 hours", 2), ("1d 12h", 36), ("1 day, 06:30:00", 30.5), ("0.5 days", 12),
     ("90 min", 1.5), ("1 week", 168), ("10:00:00", 10)],
)  # fmt: skip
def test_durations(text: str, hours: float) -> None:
    assert parse_duration(text) == hours * HOUR


@pytest.mark.parametrize("text", ["", "24", "1 month", "1 year", "h", "1h x", "-1d"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"windwos": {}}, "unknown key 'windwos'.*predicates, patient_demographics"),
        ({"trigger": None}, "trigger is missing"),
        ({"trigger": "admit"}, "unknown predicate 'admit'.*admission, discharge"),
        ({"predicates__death": {"codes": "D"}}, "unknown key 'codes'.*predicates.death.*value_min"),
        ({"predicates__death": {"code": {"regexp": "D"}}}, "regex"),
        ({"predicates__death": {"code": {"regex": "("}}}, "cannot be read"),
        ({"predicates__death": {"code": {"any": []}}}, "any needs"),
        ({"predicates__death": {"value_min": 3}}, "code is missing"),
        ({"predicates__death": {"code": "D", "value_min": "three"}}, "value_min is 'three'"),
        ({"predicates__death": {"code": "D", "other_cols": {"ward": "x"}}}, "unknown key 'ward'.*text_value, unit"),
        ({"predicates__discharge_or_death": {"expr": "or(discharge)"}}, "expr is"),
        ({"predicates__discharge_or_death": {"expr": "and(discharge, or(a, b))"}}, "not nested"),
        ({"predicates__discharge_or_death": {"expr": "or(discharge, dead)"}}, "unknown predicate 'dead'"),
        ({"predicates__discharge_or_death": {"expr": "or(discharge, discharge_or_death)"}}, "defined by itself"),
        ({"predicates__trigger": {"code": "x"}}, "name 'trigger' is taken"),
        ({"windows__gap__strat": "trigger"}, "unknown key 'strat'.*windows.gap.*start, end"),
        ({"windows__gap__start_inclusive": None}, "start_inclusive is missing"),
        ({"windows__gap__start": "trigger + 24h - 2h"}, "not a duration"),
        ({"windows__gap__start": "trigger ~ 3h"}, "start is 'trigger ~ 3h'"),
        ({"windows__gap__start": "gaps.end"}, "unknown window 'gaps'.*input.start"),
        ({"windows__target__start": "gap"}, "which end of 'gap'"),
        ({"windows__gap__start": "target.end"}, "in a circle"),
        ({"windows__gap__end": "start - 24h"}, "end before it starts"),
        ({"windows__gap__end": "start <- death"}, "end before it starts"),
        ({"windows__gap__end": "trigger + 48h"}, "exactly one of start and end"),
        ({"windows__gap__start": "end - 24h"}, "exactly one of start and end"),
        ({"windows__input__end": None}, "both null"),
        ({"windows__target__end": "start -> dead"}, "unknown predicate 'dead'"),
        ({"windows__target__label": "dead"}, "unknown predicate 'dead'"),
        ({"windows__target__label": None}, "exactly one window needs label; 0"),
        ({"windows__gap__label": "death"}, "exactly one window needs label; 2.*gap, target"),
        ({"windows__input__index_timestamp": None}, "exactly one window needs index_timestamp"),
        ({"windows__input__index_timestamp": "middle"}, "index_timestamp is 'middle'"),
        ({"windows__gap__has": {"admission": "(2, 1)"}}, "bounds nothing"),
        ({"windows__gap__has": {"admission": "(None, None)"}}, "bounds nothing"),
        ({"windows__gap__has": {"admission": "0"}}, "min, max"),
        ({"windows__gap__has": {"admit": "(None, 0)"}}, "unknown predicate 'admit'"),
        ({"genomix": None}, "censoring is missing.*drop, negative or censored"),
        ({"genomix__censoring": "ignore"}, "censoring is 'ignore'"),
        ({"genomix__horizon": "3d"}, "unknown key 'horizon'"),
        ({"genomix__washout": "3 months"}, "washout"),
        ({"genomix__competing": "dead"}, "unknown predicate 'dead'"),
        ({"genomix__seed": -1}, "seed is -1"),
        ({"genomix__index": "last"}, "index is 'last'"),
        ({"genomix__minimum_age_years": "old"}, "minimum_age_years is 'old'"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){words}") as caught:
        parse_task(changed(**change), where="t.yaml")
    assert "t.yaml" in str(caught.value)


def test_a_key_given_twice_and_broken_yaml_name_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'death' is given twice \[t.yaml:4\]"):
        parse_task("predicates:\n  death: {code: A}\n  x: {code: B}\n  death: {code: C}\n", where="t.yaml")
    with pytest.raises(ConfigError, match=r"\[t.yaml:3\]"):
        parse_task("a: 1\nb: [\n", where="t.yaml")
    with pytest.raises(InputNotFoundError):
        read_task(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="a mapping is needed"):
        parse_task("just words")


def test_static_predicates_cannot_be_trigger() -> None:
    with pytest.raises(ConfigError, match="static"):
        parse_task(changed(trigger="male"))
