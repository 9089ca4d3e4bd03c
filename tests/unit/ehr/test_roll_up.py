"""Codes rolled up by a user's mapping equal a plain loop; what has no group is counted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.ehr.roll_up import RollUp, groups_of, read_roll_up, rolled_up
from genomix.errors import FormatError, InputNotFoundError
from genomix.io.record_format import to_events


def mapping(folder: Path, text: str) -> RollUp:
    path = folder / "map.csv"
    path.write_text(text)
    return read_roll_up(path)


def test_events_get_their_groups(tmp_path: Path) -> None:
    found = mapping(
        tmp_path, "code,group,description\nICD//E11*,PHE//250,diabetes\nICD//E11.3,PHE//362,\nICD//I10,P//401,"
    )
    codes = ["ICD//E11.3", "ICD//E11.3", "ICD//I10", "ICD//Z00", "ICD//E1"]
    rows = [(1, datetime(2020, 1, 1, i), code) for i, code in enumerate(codes)]
    raw = pl.DataFrame(rows, schema=["subject_id", "time", "code"], orient="row")
    events = to_events(raw, source_format="x").events
    done = rolled_up(events, found)
    assert sorted(done.events.select("code", "time").rows()) == [
        ("P//401", datetime(2020, 1, 1, 2)), ("PHE//250", datetime(2020, 1, 1, 0)),
        ("PHE//250", datetime(2020, 1, 1, 1)), ("PHE//362", datetime(2020, 1, 1, 0)),
        ("PHE//362", datetime(2020, 1, 1, 1)),
    ]  # fmt: skip
    assert done.n_mapped == 3
    assert done.unmapped.rows() == [("ICD//E1", 1), ("ICD//Z00", 1)]
    assert found.descriptions.rows() == [("PHE//250", "diabetes")]


words = st.text("ABé/", min_size=1, max_size=4)


@settings(deadline=None)
@given(codes=st.lists(words, max_size=6), lines=st.lists(st.tuples(words, st.booleans(), words), max_size=6))
def test_groups_equal_a_loop(codes: list[str], lines: list[tuple[str, bool, str]]) -> None:
    exact = {(c, g) for c, is_prefix, g in lines if not is_prefix}
    prefixes = {(c, g) for c, is_prefix, g in lines if is_prefix}
    schema = [pl.String, pl.String]
    frames = [
        pl.DataFrame(sorted(pairs), schema=dict(zip((name, "group"), schema, strict=True)), orient="row")
        for name, pairs in (("code", exact), ("prefix", prefixes))
    ]
    found = groups_of(pl.Series(codes, dtype=pl.String), RollUp(*frames, pl.DataFrame()))
    expected = {(c, g) for c in codes for key, g in exact if c == key}
    expected |= {(c, g) for c in codes for key, g in prefixes if c.startswith(key)}
    assert found.rows() == sorted(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("code,grp\nA,B\n", "no column 'group'"),
        ("code,group\nA,B\n,C\n", "code or group is empty"),
        ("code,group,description\nA,G,one\nB,G,two\n", "group 'G' has two descriptions"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        mapping(tmp_path, text)
    with pytest.raises(InputNotFoundError):
        read_roll_up(tmp_path / "none.csv")
