"""The score card shows what the model does, and nothing that stands for fewer than eleven people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from genomix.report.blocks import Paragraph, Table
from genomix.report.inputs import CardRow, ReportInputs
from genomix.report.score_card import FEW, band_words, score_card_blocks, total_ranges, wilson
from tests.contracts import sample_report as sample


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_ranges_cover_every_total_once_and_hold_enough_of_each_kind(rows: list[tuple[int, bool]], binary: bool) -> None:
    totals = np.array([t for t, _ in rows], dtype=np.int64)
    outcome = np.array([o for _, o in rows], dtype=bool)
    found = total_ranges(totals, outcome if binary else None, 12)
    kinds = (outcome, ~outcome) if binary else (np.ones(len(rows), dtype=bool),)
    if not found:
        assert min(int(kind.sum()) for kind in kinds) < 11
        return
    assert [t for low, high in found for t in range(low, high + 1)] == list(range(13))
    for low, high in found:
        inside = [low <= t <= high for t, _ in rows]
        assert all(int((np.array(inside) & kind).sum()) >= 11 for kind in kinds)


def test_many_people_are_told_apart_by_total() -> None:
    totals = np.repeat(np.arange(6), 40)
    assert total_ranges(totals, np.tile([True, False], 120), 5) == [(i, i) for i in range(6)]


ROW = CardRow("age", "a", (30.0, 50.0, 70.0), (0, 2, 2, 5), 1, (40, 40, 40, 40))


def test_bands_in_words() -> None:
    found = band_words(ROW)
    assert found is not None
    assert found == (["below 30", "30 to below 70", "70 or more"], [0, 2, 5])
    assert band_words(replace(ROW, edges=(), points=(3,), n_bands=(40,))) == (["any value"], [3])


@pytest.mark.parametrize("value", [29.0, 30.0, 49.9, 50.0, 69.99, 70.0, 80.0])
def test_the_words_give_the_points_of_the_model(value: float) -> None:
    """A plain reading of the words against a plain count of the edges at or below the value."""
    found = band_words(ROW)
    assert found is not None
    low = [float("-inf") if w.startswith("below") else float(w.split()[0]) for w in found.bands]
    read = found.points[max(i for i, end in enumerate(low) if value >= end)]
    assert read == ROW.points[sum(value >= edge for edge in ROW.edges)]


def test_ages_above_89_are_not_told_apart() -> None:
    aged = replace(ROW, edges=(60.0, 91.0), points=(0, 1, 2), n_bands=(40, 40, 40))
    assert band_words(aged) == (["below 60", "60 to below 90", "90 or more"], [0, 1, 2])
    assert band_words(replace(aged, edges=(91.0, 95.0))) is None
    other = replace(aged, unit="mmHg")
    assert band_words(other) == (["below 60", "60 to below 91", "91 or more"], [0, 1, 2])


def _said(inputs: ReportInputs) -> str:
    return repr([block.to_json() for block in score_card_blocks(inputs)])


def test_a_band_of_few_people_is_withheld_and_its_size_is_nowhere() -> None:
    full = sample.full_inputs()
    card = full.score_card
    assert card is not None

    def with_few(n: int) -> str:
        rows = (replace(card.rows[0], n_bands=(n, 700, 300)), card.rows[1])
        return _said(replace(full, score_card=replace(card, rows=rows)))

    assert with_few(3) == with_few(10)
    assert FEW in with_few(3)
    assert "43" not in with_few(10).split("HbA1c")[0]
    assert FEW not in with_few(11)
    assert with_few(11) == with_few(500)


def test_the_tables_of_the_sample() -> None:
    blocks = score_card_blocks(sample.full_inputs())
    tables = [b for b in blocks if isinstance(b, Table)]
    assert [c.text for row in tables[0].rows for c in row] == [
        "below 43", "0", "43 to below 90", "3", "90 or more", "10", "no value", "5",
    ]  # fmt: skip
    assert [c.text for row in tables[1].rows for c in row][:4] == ["below 6.1", "0", "6.1 to below 6.5", "4"]
    last = tables[-1]
    assert sum(c.value or 0 for row in last.rows for c in row[2:3]) == sample.N_HELD
    about = next(b for b in blocks if isinstance(b, Paragraph))
    assert "not for use at a bedside" in about.text


def test_without_a_card_nothing_is_said() -> None:
    assert score_card_blocks(sample.empty_inputs()) == []


@pytest.mark.parametrize(("events", "n"), [(18, 206), (25, 36), (11, 22), (250, 500)])
def test_wilson_against_scipy(events: int, n: int) -> None:
    ends = binomtest(events, n).proportion_ci(method="wilson")
    assert wilson(events, n) == f"{100 * ends.low:.0f}–{100 * ends.high:.0f}\u202f%"
