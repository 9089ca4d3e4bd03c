"""Consequence terms: Ensembl's order, classes, and what a mask stands for."""

from __future__ import annotations

import pytest

from genomix.errors import ConfigError
from genomix.variants.consequences import (
    CLASSES,
    IMPACT,
    SEVERITY,
    UNKNOWN_SEVERITY,
    known_word,
    severity,
    terms_of_mask,
    worst_term,
)

_TABLE = """transcript_ablation splice_acceptor_variant splice_donor_variant stop_gained frameshift_variant stop_lost
start_lost transcript_amplification feature_elongation feature_truncation inframe_insertion inframe_deletion
missense_variant protein_altering_variant splice_donor_5th_base_variant splice_region_variant
splice_donor_region_variant splice_polypyrimidine_tract_variant incomplete_terminal_codon_variant
start_retained_variant stop_retained_variant synonymous_variant coding_sequence_variant mature_miRNA_variant
5_prime_UTR_variant 3_prime_UTR_variant non_coding_transcript_exon_variant intron_variant NMD_transcript_variant
non_coding_transcript_variant coding_transcript_variant upstream_gene_variant downstream_gene_variant TFBS_ablation
TFBS_amplification TF_binding_site_variant regulatory_region_ablation regulatory_region_amplification
regulatory_region_variant intergenic_variant sequence_variant"""
ENSEMBL = _TABLE.split()
"""The table "Calculated variant consequences" of Ensembl, top to bottom."""


def test_the_order_is_ensembls() -> None:
    assert sorted(SEVERITY, key=SEVERITY.__getitem__) == ENSEMBL


def test_impacts_fall_with_severity() -> None:
    ranks = ["HIGH", "MODERATE", "LOW", "MODIFIER"]
    found = [ranks.index(IMPACT[term]) for term in ENSEMBL]
    assert found == sorted(found)
    assert [IMPACT[t] for t in ("feature_truncation", "inframe_insertion", "synonymous_variant")] == [
        "HIGH", "MODERATE", "LOW",
    ]  # fmt: skip


def test_the_worst_of_joined_terms() -> None:
    assert worst_term("intron_variant&splice_donor_variant&NMD_transcript_variant") == "splice_donor_variant"
    assert worst_term("zebra&aardvark") == "aardvark"
    assert severity("*missense") == UNKNOWN_SEVERITY
    assert severity("disruptive_inframe_deletion") == severity("inframe_deletion")


def test_lof_holds_no_lost_start_or_stop() -> None:
    assert not CLASSES["lof"] & {"start_lost", "stop_lost", "missense_variant", "splice_region_variant"}
    assert {"stop_gained", "frameshift_variant", "splice_acceptor_variant", "splice_donor_variant"} <= CLASSES["lof"]
    assert CLASSES["plof"] == CLASSES["lof"]
    assert {"start_lost", "stop_lost"} <= CLASSES["protein_altering"] & CLASSES["high"]


def test_a_mask_holds_its_words_and_their_terms() -> None:
    assert terms_of_mask("pLof+unknown1") == CLASSES["lof"] | {"pLof", "unknown1"}
    assert known_word("MISSENSE")
    assert known_word("5_prime_UTR_premature_start_codon_gain_variant")
    assert not known_word("misense")


@pytest.mark.parametrize("expression", ["", "lof+", "+", " "])
def test_an_empty_word_is_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="names no consequence"):
        terms_of_mask(expression)
