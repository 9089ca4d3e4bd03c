"""Left-alignment: published and hand-made cases, and records that must be left alone. See also the property tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.fasta import Fasta
from genomix.io.normalise import (
    ALIGNED,
    ALT_IS_REF,
    NO_SEQUENCE,
    OFF_REFERENCE,
    OTHER_CODES,
    REF_MISMATCH,
    UNCHANGED,
    left_align,
)
from tests.fasta_files import random_variants, repetitive_sequence, write_fasta


def align(tmp_path: Path, bases: str, *rows: tuple[int, str, str]) -> list[tuple[int, str, str, str]]:
    fasta = Fasta(write_fasta(tmp_path / "a.fa", {"chr1": bases}, width=7))
    frame = pl.DataFrame(rows, schema=["position", "ref", "alt"], orient="row").with_columns(
        contig=pl.lit("1"), quality=pl.lit("7")
    )
    done = left_align(frame, fasta)
    assert done.records.columns == frame.columns
    return list(zip(done.records["position"], done.records["ref"], done.records["alt"], done.status, strict=True))


@pytest.mark.parametrize(
    "row", [(6, "CAC", "C"), (4, "CACA", "CA"), (3, "GCACA", "GCA"), (9, "ACA", "A"), (8, "CAC", "C")]
)
def test_one_deletion_in_a_repeat_has_one_normal_form(tmp_path: Path, row: tuple[int, str, str]) -> None:
    # the example of figure 1 of Tan et al. 2015: a CA repeat loses one unit
    assert align(tmp_path, "GGGCACACACAGGG", row) == [(3, "GCA", "G", ALIGNED)]


def test_substitutions_are_shortened(tmp_path: Path) -> None:
    bases = "ACGTACGTACGT"
    found = align(tmp_path, bases, (2, "CGT", "CAT"), (2, "CG", "TA"), (2, "C", "G"), (2, "CGTA", "CGTC,CGGA"))
    assert found == [
        (3, "G", "A", ALIGNED),
        (2, "CG", "TA", UNCHANGED),
        (2, "C", "G", UNCHANGED),
        (4, "TA", "TC,GA", ALIGNED),
    ]


def test_at_the_contig_start_the_anchor_stays_on_the_right(tmp_path: Path) -> None:
    assert align(tmp_path, "AAAAAG", (3, "AA", "A"), (1, "AAA", "A"), (1, "A", "AA")) == [
        (1, "AA", "A", ALIGNED),
        (1, "AAA", "A", UNCHANGED),
        (1, "A", "AA", UNCHANGED),
    ]


def test_a_long_repeat_is_followed_to_its_start(tmp_path: Path) -> None:
    bases = "G" + "AC" * 3000 + "T"
    assert align(tmp_path, bases, (5997, "CAC", "C"), (6001, "C", "CAC")) == [
        (1, "GAC", "G", ALIGNED),
        (1, "G", "GAC", ALIGNED),
    ]


def test_case_does_not_matter(tmp_path: Path) -> None:
    assert align(tmp_path, "gggcaCAcacaggg", (8, "cAc", "C"), (4, "c", "t")) == [
        (3, "GCA", "G", ALIGNED),
        (4, "c", "t", UNCHANGED),
    ]


def test_records_that_cannot_be_aligned_are_left_alone(tmp_path: Path) -> None:
    bases = "GGGCACACACAGGG"
    cases = [
        ((10, "CAG", "C"), UNCHANGED),
        ((9, "CAC", "C"), REF_MISMATCH),
        ((4, "T", "C"), REF_MISMATCH),
        ((15, "G", "C"), OFF_REFERENCE),
        ((14, "GG", "G"), OFF_REFERENCE),
        ((0, "G", "C"), OFF_REFERENCE),
        ((9, "ACA", "<DEL>"), NO_SEQUENCE),
        ((9, "ACA", "A,<DEL>"), NO_SEQUENCE),
        ((9, "ACA", "A,*"), NO_SEQUENCE),
        ((9, "A", "*"), NO_SEQUENCE),
        ((9, "A", "A]2:5]"), NO_SEQUENCE),
        ((9, "A", "."), UNCHANGED),
        ((9, "A", "R"), OTHER_CODES),
        ((9, "ACA", "A,RCA"), OTHER_CODES),
        ((9, "ACA", "A,ACA"), ALT_IS_REF),
        ((9, "A", "A"), ALT_IS_REF),
    ]
    found = align(tmp_path, bases, *(row for row, _ in cases))
    assert found == [(*row, status) for row, status in cases]


def test_a_record_without_alt_keeps_one_base(tmp_path: Path) -> None:
    assert align(tmp_path, "GGGCACA", (4, "CAC", ".")) == [(4, "C", ".", ALIGNED)]


def test_an_unknown_contig_and_no_records(tmp_path: Path) -> None:
    fasta = Fasta(write_fasta(tmp_path / "a.fa", {"chr1": "ACGT"}))
    frame = pl.DataFrame({"contig": ["7"], "position": [2], "ref": ["C"], "alt": ["G"]})
    assert left_align(frame, fasta).status.to_list() == [OFF_REFERENCE]
    empty = left_align(frame.clear(), fasta)
    assert empty.records.schema == frame.schema
    assert empty.status.to_list() == []


def test_the_records_given_are_not_changed(tmp_path: Path) -> None:
    fasta = Fasta(write_fasta(tmp_path / "a.fa", {"1": "GGGCACACACAGGG"}))
    frame = pl.DataFrame({"contig": ["1"] * 2, "position": [8, 4], "ref": ["CAC", "C"], "alt": ["C", "T"]})
    before = frame.rows()
    assert left_align(frame, fasta).records.rows() == [("1", 3, "GCA", "G"), before[1]]
    assert frame.rows() == before


@pytest.mark.parametrize("block", [1, 3, 100])
def test_blocks_make_no_difference(tmp_path: Path, block: int) -> None:
    rng = np.random.default_rng(6)
    contigs = {"1": repetitive_sequence(rng, 3000), "2": repetitive_sequence(rng, 200)}
    fasta = Fasta(write_fasta(tmp_path / "a.fa", contigs))
    records = random_variants(rng, contigs, 200)
    whole = left_align(records, fasta)
    parts = [left_align(records[i : i + block], fasta) for i in range(0, records.height, block)]
    assert pl.concat([p.records for p in parts]).equals(whole.records)
    assert pl.concat([p.status for p in parts]).equals(whole.status)
