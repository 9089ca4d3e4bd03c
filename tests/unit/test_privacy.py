"""Small cells, top-coded ages and pseudonyms, each against a plain statement of its rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomix.privacy import SMALL_CELL, is_small, pseudonym, suppress_count, suppress_share, top_code_age


@pytest.mark.parametrize(("count", "shown"), [(0, "0"), (1, "<11"), (10, "<11"), (11, "11"), (2504, "2504")])
def test_counts_from_1_to_10_are_hidden(count: int, shown: str) -> None:
    assert suppress_count(count) == shown
    assert is_small(count) == (shown == "<11")


def test_the_threshold_is_the_published_one_and_can_be_raised() -> None:
    assert SMALL_CELL == 11
    assert suppress_count(19, threshold=20) == "<20"


@pytest.mark.parametrize(("age", "shown"), [(0.5, 0.5), (89.9, 89.9), (90.0, 90.0), (104.0, 90.0)])
def test_ages_from_90_are_one(age: float, shown: float) -> None:
    assert top_code_age(age) == shown


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_share_is_exact_only_when_neither_part_is_small(part: int, rest: int) -> None:
    total = part + rest
    share, bound = suppress_share(part, total)
    if share is not None:
        assert not is_small(part)
        assert not is_small(rest)
        assert share == part / total
    elif bound is not None:
        assert part / total <= bound if bound > 0 else part / total >= -bound


def test_a_pseudonym_is_stable_under_its_salt_and_differs_under_another() -> None:
    assert pseudonym("NA12878", "salt") == pseudonym("NA12878", "salt")
    assert pseudonym("NA12878", "salt") != pseudonym("NA12878", "other")
    assert len({pseudonym(f"s{i}", "salt") for i in range(5000)}) == 5000


def test_a_pseudonym_holds_nothing_of_the_identifier() -> None:
    assert "878" not in pseudonym("878", "salt")
    assert len(pseudonym("a" * 1000, "salt")) == 12
