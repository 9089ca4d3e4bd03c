"""Rows and labels against es-aces, the reference program of the task language, on generated and on real records.

es-aces needs another polars, so it runs in its own environment: ``python -m venv .venv-aces`` and ``.venv-aces/bin/pip
install es-aces``. Last run with 0.7.3. It differs from this package in five ways, each shown by a test of its own:

* A label window whose end is searched for and never comes: no row there, a matter of censoring here.
* A search stops where it starts if the end that it looks for is inclusive, here only if both ends are.
* A null end of a window that is exclusive, at the first or last record: no row there, an empty window here.
* ``index_timestamp`` of a window that reaches back by a duration: its start and end are swapped there.
* Windows in one line, the last of which is never found: a row without a trigger there, no row here.

It also stops at the key ``other_cols`` of its own specification, and takes the columns as keys of the predicate.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from genomix.ehr.aces import parse_task
from genomix.ehr.cohort import extract_cohort
from genomix.ehr.ready_tasks import ready_tasks
from genomix.ehr.task import Policies
from genomix.errors import LabelError
from genomix.io.meds import read_meds
from genomix.io.record_format import to_events

pytestmark = pytest.mark.external_tool

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-aces" / "bin" / "python"
SCRIPT = Path(__file__).parent / "peers" / "aces_labels.py"
STUDIES = Path(__file__).parent / "studies"
START = datetime(2020, 1, 1)

Rows = dict[tuple[int, datetime], bool]
Peer = Callable[[pl.DataFrame, Mapping[str, str]], dict[str, pl.DataFrame]]

CODES = """
predicates: {a: {code: A}, b: {code: B}, c: {code: {regex: "^C"}}, c1: {code: {any: [C//1, V]}},
             b_or_c: {expr: "or(b, c)"}, a_and_b: {expr: "and(a, b)"}, all: {expr: "and(b_or_c, a_and_b)"}}
"""
UP_TO = "{start: null, end: trigger, start_inclusive: true, end_inclusive: true, index_timestamp: end}"
AFTER = "start: trigger, end: start + 3d, start_inclusive: false, end_inclusive: true"


def text(trigger: str, **windows: str) -> str:
    """Return a task; a window is written without its braces."""
    lines = "".join(f"  {name}: {value if value[0] == '{' else '{' + value + '}'}\n" for name, value in windows.items())
    return f"{CODES}trigger: {trigger}\nwindows:\n{lines}"


def near(inclusive: tuple[bool, bool]) -> str:
    """Return a task with a search forwards from the trigger."""
    ends = f"start_inclusive: {str(inclusive[0]).lower()}, end_inclusive: {str(inclusive[1]).lower()}"
    return text(
        "a", input=UP_TO, near=f'start: trigger, end: start -> b, {ends}, has: {{c: "(None, 2)"}}',
        target="start: near.end, end: start + 4d, start_inclusive: false, end_inclusive: true, label: c",
    )  # fmt: skip


def back(inclusive: tuple[bool, bool]) -> str:
    """Return a task with a search backwards from the trigger."""
    ends = f"start_inclusive: {str(inclusive[0]).lower()}, end_inclusive: {str(inclusive[1]).lower()}"
    return text(
        "_ANY_EVENT", before=f'start: end <- a, end: trigger, {ends}, has: {{b: "(1, 3)"}}, index_timestamp: end',
        target="start: trigger, end: null, start_inclusive: false, end_inclusive: true, label: c",
    )  # fmt: skip


def washout(near_end: str, far_end: str, target_end: str) -> str:
    """Return a task with a look back by a duration and a window before it."""
    return text(
        "a", input=UP_TO,
        washout=f'start: end - 3d, end: trigger, start_inclusive: {far_end}, end_inclusive: {near_end}, '
        'has: {b: "(None, 0)"}',
        older=f'start: null, end: washout.start, start_inclusive: true, end_inclusive: {near_end}, '
        'has: {c: "(1, None)"}',
        target=f"start: trigger, end: start + 3d, start_inclusive: false, end_inclusive: {target_end}, label: c",
    )  # fmt: skip


VALUES = """
predicates:
  a: {code: A}
  from_07: {code: V, value_min: 0.7, value_min_inclusive: true}
  over_03: {code: V, value_min: 0.3}
  low: {code: V, value_max: 0.7, value_max_inclusive: true}
  middle: {code: V, value_min: 0.3, value_min_inclusive: true, value_max: 0.9}
  rest: {code: V, other_cols: {unit: g}}
"""
EQUAL = {
    "duration": text("a", input=UP_TO[:-1] + ', has: {_ANY_EVENT: "(2, None)"}}', target=f"{AFTER}, label: b"),
    "gap": text(
        "a", input="start: null, end: trigger + 24h, start_inclusive: true, end_inclusive: true, index_timestamp: end",
        gap='start: trigger, end: start + 48h, start_inclusive: false, end_inclusive: true, has: {b_or_c: "(None, 1)"}',
        target="start: gap.end, end: start + 5d, start_inclusive: false, end_inclusive: true, label: c1",
    ),
    "gap_open": text(
        "a", input="start: null, end: trigger + 24h, start_inclusive: true, end_inclusive: true, index_timestamp: end",
        gap="start: trigger, end: start + 48h, start_inclusive: true, end_inclusive: false, "
        'has: {a_and_b: "(None, 0)"}',
        target="start: gap.end, end: start + 5d, start_inclusive: false, end_inclusive: false, label: c",
    ),
    "derived": text("b_or_c", input=UP_TO, target=f'{AFTER}, label: all, has: {{b_or_c: "(None, 4)"}}'),
    "near_both": near((True, True)),
    "near_none": near((False, False)),
    "near_start": near((True, False)),
    "back_both": back((True, True)),
    "back_none": back((False, False)),
    "back_end": back((False, True)),
    "washout": washout("true", "false", "false"),
    "washout_open": washout("false", "true", "true"),
    "root_search": text(
        "a", later="start: trigger -> c, end: start + 1d, start_inclusive: true, end_inclusive: true, "
        "index_timestamp: start",
        target="start: later.end, end: start + 3d, start_inclusive: false, end_inclusive: true, label: b",
    ),
    "chain": text(
        "a", first="start: trigger, end: start -> b, start_inclusive: true, end_inclusive: false",
        second='start: first.end, end: start + 12h, start_inclusive: true, end_inclusive: true, '
        'has: {c: "(None, 1)"}, index_timestamp: end',
        target="start: second.end, end: start + 3d, start_inclusive: false, end_inclusive: true, label: c",
    ),
    "record": text(
        "a", input=UP_TO[:-1] + ', has: {_RECORD_START: "(1, 1)"}}',
        target=f'{AFTER}, label: b, has: {{_RECORD_END: "(None, 0)"}}',
    ),
    "static": text("a", input=UP_TO, target=f"{AFTER}, label: b").replace(
        "trigger:", "patient_demographics: {male: {code: GENDER//M}}\ntrigger:", 1
    ),
    "values": VALUES + text(
        "a", input=UP_TO[:-1] + ', has: {over_03: "(None, 2)", low: "(None, 2)"}}',
        target='start: trigger, end: start + 9d, start_inclusive: false, end_inclusive: true, label: from_07, '
        'has: {middle: "(None, 2)", rest: "(None, 2)"}',
    ).removeprefix(CODES),
}  # fmt: skip
INPUT_24H = "start: null, end: trigger + 24h, start_inclusive: true, end_inclusive: true, index_timestamp: end"
NO_C = 'start: trigger, end: start + 24h, start_inclusive: false, end_inclusive: true, has: {c: "(None, 0)"}'
SEARCHED = {
    f"searched_{kind}": text(
        "a", input=INPUT_24H, gap=NO_C,
        target=f"start: gap.end, end: start -> c, start_inclusive: false, end_inclusive: {inclusive}, label: b",
    )
    for kind, inclusive in (("closed", "true"), ("open", "false"))
}  # fmt: skip


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    if not PYTHON.is_file():
        pytest.skip("no environment .venv-aces with es-aces")

    def run(events: pl.DataFrame, tasks: Mapping[str, str]) -> dict[str, pl.DataFrame]:
        folder = tmp_path_factory.mktemp("aces")
        # Shards are sorted by person and time, with static records first, as MEDS asks for.
        events.sort("subject_id", "time", nulls_last=False, maintain_order=True).write_parquet(
            folder / "events.parquet"
        )
        for name, content in tasks.items():
            flat = re.sub(r"other_cols: \{ *([^}]*?) *\}", r"\1", content)
            (folder / f"{name}.yaml").write_text(flat)
        done = subprocess.run(
            [PYTHON, SCRIPT, folder / "events.parquet", folder, *(folder / f"{name}.yaml" for name in tasks)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {name: pl.read_parquet(folder / f"{name}.parquet") for name in tasks}

    return run


def theirs(found: pl.DataFrame) -> Rows:
    """Return (person, prediction time) → outcome; of triggers with one prediction time the first."""
    rows: Rows = {}
    for person, _, time, label in found.drop_nulls("trigger").sort("subject_id", "trigger").iter_rows():
        rows.setdefault((person, time), label > 0)
    return rows


def ours(events: pl.DataFrame, content: str) -> Rows:
    task = replace(parse_task(content + "\ngenomix: {censoring: negative}"))
    try:
        labels = extract_cohort(events, replace(task, policies=Policies(censoring="negative"))).labels
    except LabelError:
        return {}
    return {(s, t): v == 1 for s, t, v in labels.select("subject_id", "prediction_time", "value").iter_rows()}


def generated(seed: int) -> pl.DataFrame:
    """Return records with ties, several triggers a day, people without dated records, and values near the bounds."""
    draw = random.Random(seed)
    rows: list[tuple[int, datetime | None, str, float | None, str | None]] = []
    for person in range(1, 301):
        rows.append((person, None, draw.choice(["GENDER//M", "GENDER//F"]), None, None))
        step, most = draw.choice([(24, 25), (12, 40), (6, 60), (1, 200)])
        for _ in range(0 if person % 17 == 0 else draw.randint(1, 14)):
            code = draw.choice(["A", "B", "C//1", "C//2", "V", "X"])
            value = draw.choice([0.3, 0.5, 0.7, 0.9, 1.5, None]) if code == "V" else None
            time = START + timedelta(hours=step * draw.randint(0, most))
            rows.append((person, time, code, value, draw.choice(["g", None])))
    return frame(rows)


def frame(rows: list[tuple[int, datetime | None, str, float | None, str | None]]) -> pl.DataFrame:
    raw = pl.DataFrame(
        rows, orient="row", schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String,
                                    "numeric_value": pl.Float32, "unit": pl.String},
    )  # fmt: skip
    return to_events(raw, source_format="t").events


def small(*rows: tuple[float, str]) -> pl.DataFrame:
    """Return one person's records from (hours, code)."""
    return frame([(1, START + timedelta(hours=hours), code, None, None) for hours, code in rows])


def hours(rows: Rows) -> dict[float, bool]:
    return {(time - START) / timedelta(hours=1): label for (_, time), label in rows.items()}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_generated_records(peer: Peer, seed: int) -> None:
    events = generated(seed)
    found = peer(events, EQUAL | SEARCHED)
    for name, content in EQUAL.items():
        expected = theirs(found[name])
        assert len(expected) > 30, name
        assert len(set(expected.values())) == 2, name
        assert ours(events, content) == expected, name
    for name, content in SEARCHED.items():
        # Without the rows whose window never ends: no c after its start, 24 hours after the trigger.
        ends = events.filter(pl.col("code").str.starts_with("C")).select("subject_id", "time").rows()
        closed = {
            key: label
            for key, label in ours(events, content).items()
            if any(s == key[0] and t > key[1] for s, t in ends)
        }
        expected = theirs(found[name])
        assert len(expected) > 30, name
        assert closed == expected, name


def test_difference_a_searched_end_that_never_comes(peer: Peer) -> None:
    events, content = small((0, "A"), (30, "B"), (40, "X")), SEARCHED["searched_closed"]
    assert hours(ours(events, content)) == {24: True}
    assert theirs(peer(events, {"t": content})["t"]) == {}


def test_difference_a_search_that_stays(peer: Peer) -> None:
    events = small((0, "A"), (0, "B"), (24, "B"), (100, "C//1"), (140, "X"))
    content = near((False, True))
    assert hours(ours(events, content)) == {0: True}  # from the second b, at 24
    assert hours(theirs(peer(events, {"t": content})["t"])) == {0: False}  # from the first, at 0
    content = back((True, False))
    events = small((0, "A"), (5, "B"), (10, "A"), (20, "C//1"))
    assert hours(ours(events, content)) == {10: True}
    assert hours(theirs(peer(events, {"t": content})["t"])) == {}


def test_difference_an_exclusive_null_end(peer: Peer) -> None:
    events = small((0, "A"), (10, "B"), (20, "A"))
    content = text("a", input=UP_TO, target="start: trigger, end: null, start_inclusive: false, end_inclusive: false, "
                   "label: b")  # fmt: skip
    assert hours(ours(events, content)) == {0: True, 20: False}
    assert hours(theirs(peer(events, {"t": content})["t"])) == {0: True}
    content = text(
        "a", input=UP_TO.replace("start_inclusive: true", "start_inclusive: false"), target=f"{AFTER}, label: b"
    )
    assert hours(ours(events, content)) == {0: True, 20: False}
    assert hours(theirs(peer(events, {"t": content})["t"])) == {20: False}


def test_difference_the_timestamp_of_a_window_back(peer: Peer) -> None:
    events = small((0, "X"), (100, "A"), (110, "B"))
    content = text("a", before="start: end - 2d, end: trigger, start_inclusive: true, end_inclusive: true, "
                   "index_timestamp: end", target=f"{AFTER}, label: b")  # fmt: skip
    assert hours(ours(events, content)) == {100: True}
    assert hours(theirs(peer(events, {"t": content})["t"])) == {52: True}


def test_difference_a_row_without_a_trigger(peer: Peer) -> None:
    content = text(
        "a", first="start: trigger, end: start -> b, start_inclusive: true, end_inclusive: true, index_timestamp: end",
        target="start: first.end, end: start -> c, start_inclusive: false, end_inclusive: false, label: b",
    )  # fmt: skip
    events = small((0, "A"), (10, "B"), (20, "X"))
    assert hours(ours(events, content)) == {10: False}  # the end never comes: a matter of censoring
    found = peer(events, {"t": content})["t"]
    assert found["trigger"].to_list() == [None]


@pytest.mark.real_data
def test_mimic(peer: Peer, real_data: Path) -> None:
    events = read_meds(real_data / "mimic4-demo-meds").events
    tasks = {name: path.read_text() for name, path in ready_tasks().items()}
    tasks["mimic4_death_24h"] = (STUDIES / "mimic4_death_24h.task.yaml").read_text()
    plain = {name: content.split("\ngenomix:")[0] + "\n" for name, content in tasks.items()}
    found = peer(events, plain)
    for name, content in plain.items():
        expected = theirs(found[name])
        assert len(expected) > 50, name
        assert ours(events, content) == expected, name
    assert len(theirs(found["mimic4_death_24h"])) == 245
    assert sum(theirs(found["mimic4_death_24h"]).values()) == 14
