"""Splits by time and by site: boundaries, whole units, what is left unused; against the definition in a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.errors import LabelError
from genomix.features.split_designs import check_largest_unit, roles_by_site, roles_by_time

ROWS = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 12)), min_size=30, max_size=120)


@settings(max_examples=80, deadline=None)
@given(ROWS)
def test_held_out_rows_are_later_than_all_others_and_units_are_whole(rows: list[tuple[int, int]]) -> None:
    units, times = (np.array(x) for x in zip(*rows, strict=True))
    try:
        found = roles_by_time(units, times.astype(np.float64), held_out=0.3, tuning=0.2)
    except LabelError:
        return
    for i, (unit, time) in enumerate(rows):
        last = max(t for u, t in rows if u == unit)
        if last >= found.held_out_from:
            wanted = "held_out" if time >= found.held_out_from else "unused"
        elif last >= found.tuning_from:
            wanted = "tuning" if time >= found.tuning_from else "unused"
        else:
            wanted = "train"
        assert found.roles[i] == wanted
    roles = np.array(found.roles)
    assert times[roles == "held_out"].min() > times[np.isin(roles, ["train", "tuning"])].max()
    assert times[roles == "tuning"].min() > times[roles == "train"].max()
    parts = {u: set(roles[(units == u) & (roles != "unused")].tolist()) for u in units}
    assert all(len(p) == 1 for p in parts.values())


def test_shares_are_those_of_rows_where_everyone_has_one() -> None:
    found = roles_by_time(np.arange(1000), np.random.default_rng(1).random(1000), held_out=0.3, tuning=0.15)
    assert [found.roles.count(r) for r in ("train", "tuning", "held_out", "unused")] == [550, 150, 300, 0]


def test_times_that_cannot_part_rows_are_refused() -> None:
    with pytest.raises(LabelError, match="no row is left for train"):
        roles_by_time(np.arange(9), np.ones(9), held_out=0.3, tuning=0.2)
    with pytest.raises(LabelError, match="1 of 3 rows have no time"):
        roles_by_time(np.arange(3), np.array([1.0, np.nan, 2.0]), held_out=0.3, tuning=0.2)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 99))
def test_each_site_is_held_out_once_with_nobody_of_it_elsewhere(rows: list[tuple[int, int]], seed: int) -> None:
    units, sites = (np.array(x) for x in zip(*rows, strict=True))
    names = [None if s == 12 else f"site {s % 3}" for s in sites.tolist()]
    try:
        roles = roles_by_site(units, names, np.zeros(len(rows), dtype=np.int64), tuning=0.25, seed=seed)
    except LabelError:
        return
    held = 0
    for fold, site in enumerate(sorted({n for n in names if n is not None})):
        column = roles[f"fold_{fold}"]
        there = {u for u, n in zip(units.tolist(), names, strict=True) if n == site}
        for unit, name, role in zip(units.tolist(), names, column, strict=True):
            if name == site:
                assert role == "held_out"
                held += 1
            else:
                assert role in (("unused",) if unit in there else ("train", "tuning"))
        sides = {u: {r for v, r in zip(units.tolist(), column, strict=True) if v == u} - {"unused"} for u in units}
        assert all(len(s) <= 1 for s in sides.values())
    assert held == sum(n is not None for n in names)


def test_sites_that_cannot_be_held_out_are_refused() -> None:
    strata = np.zeros(6, dtype=np.int64)
    with pytest.raises(LabelError, match="1 different sites"):
        roles_by_site(np.arange(6), ["a"] * 5 + [None], strata, tuning=0.3, seed=1)
    with pytest.raises(LabelError, match="every person of the other sites"):
        roles_by_site(np.array([0, 0, 1, 1, 2, 2]), ["a", "b"] * 3, strata, tuning=0.3, seed=1)


def test_a_unit_that_outgrows_every_part_is_refused() -> None:
    units = np.concatenate([np.zeros(40, dtype=np.int64), np.arange(1, 61)])
    check_largest_unit(units, (0.55, 0.15, 0.3))
    with pytest.raises(LabelError, match="has 40 of 100 rows"):
        check_largest_unit(units, (0.2,) * 5)
