"""Joining samples to subjects: what joins, what is refused, and who is named."""

from __future__ import annotations

import polars as pl
import pytest

from genomix.errors import LinkError
from genomix.features.link import identity_link, resolve_link, same_name_link, sample_of_subject


def table(*rows: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"sample_id": pl.String, "subject_id": pl.Int64}, orient="row")


def test_counts_what_joins_and_what_stays_alone() -> None:
    link, report = resolve_link(table(("a", 7), ("b", 9), ("x", 9)), ["a", "b", "c"], [7, 9, 11])
    assert link.rows() == [("a", 7), ("b", 9)]
    assert (report.samples_alone, report.subjects_alone) == (1, 1)


def test_no_overlap_is_an_error_with_counts() -> None:
    with pytest.raises(LinkError, match="none of the 1 linked samples is among the 2 samples") as caught:
        resolve_link(table(("zz", 7)), ["a", "b"], [7])
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("samples", [["NA1", "na1"], ["NA1", "NA1 "], ["NA1", "NA1"]])
def test_samples_equal_up_to_case_and_space_are_refused_naming_both(samples: list[str]) -> None:
    with pytest.raises(LinkError) as caught:
        identity_link(samples)
    shown = caught.value.render(show_identifiers=True)
    assert repr(samples[0]) in shown
    assert repr(samples[1]) in shown
    assert "NA1" not in str(caught.value), "an error in a log must not name a sample"


def test_link_that_differs_by_case_only_is_refused() -> None:
    with pytest.raises(LinkError, match="case or white space only"):
        resolve_link(table(("NA1", 1)), ["na1"], [1])


def test_one_sample_of_two_subjects_is_refused_naming_both_sides() -> None:
    with pytest.raises(LinkError, match="linked to two subjects") as caught:
        resolve_link(table(("a", 1), ("a", 2)), ["a"], [1, 2])
    shown = caught.value.render(show_identifiers=True)
    assert "sample a, subject 1, subject 2" in shown


def test_ids_are_not_cut_at_underscores_nor_sorted() -> None:
    """A close peer cuts identifiers at the first underscore and relabels columns by sorting them in place."""
    link, _ = resolve_link(table(("fam_b_2", 1), ("fam_a_1", 2)), ["fam_b_2", "fam_a_1"], [1, 2])
    assert sample_of_subject(link, ["fam_b_2", "fam_a_1"], pl.Series([2, 1, 3])).tolist() == [1, 0, -1]


def test_same_names_join_and_leading_zeros_do_not_collide() -> None:
    assert same_name_link(["12", "13", "x"], [12, 14]).rows() == [("12", 12)]
    with pytest.raises(LinkError, match="identifier of a subject"):
        same_name_link(["a"], [1])


def test_first_sample_in_file_order_stands_for_a_subject_with_two() -> None:
    link, _ = resolve_link(table(("late", 1), ("early", 1)), ["early", "late"], [1])
    assert sample_of_subject(link, ["early", "late"], pl.Series([1])).tolist() == [0]
