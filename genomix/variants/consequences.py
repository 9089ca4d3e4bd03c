"""Consequence terms of the Sequence Ontology: severity, impact and named classes.

Order and impact are those that Ensembl documents for VEP ("Calculated variant consequences"; McLaren et al. 2016,
doi:10.1186/s13059-016-0974-4). snpEff (Cingolani et al. 2012, doi:10.4161/fly.19695) uses further terms, which stand
beside their nearest relative.

The order ranks how a term is read, not what a variant does: a predicted loss of function need not lose any.

>>> worst_term("splice_region_variant&missense_variant")
'missense_variant'
>>> sorted(terms_of_mask("missense+stop_lost"))
['missense', 'missense_variant', 'stop_lost']
"""

from __future__ import annotations

from genomix.errors import ConfigError

_ENSEMBL: tuple[tuple[str, str], ...] = (
    ("transcript_ablation", "HIGH"),
    ("splice_acceptor_variant", "HIGH"),
    ("splice_donor_variant", "HIGH"),
    ("stop_gained", "HIGH"),
    ("frameshift_variant", "HIGH"),
    ("stop_lost", "HIGH"),
    ("start_lost", "HIGH"),
    ("transcript_amplification", "HIGH"),
    ("feature_elongation", "HIGH"),
    ("feature_truncation", "HIGH"),
    ("inframe_insertion", "MODERATE"),
    ("inframe_deletion", "MODERATE"),
    ("missense_variant", "MODERATE"),
    ("protein_altering_variant", "MODERATE"),
    ("splice_donor_5th_base_variant", "LOW"),
    ("splice_region_variant", "LOW"),
    ("splice_donor_region_variant", "LOW"),
    ("splice_polypyrimidine_tract_variant", "LOW"),
    ("incomplete_terminal_codon_variant", "LOW"),
    ("start_retained_variant", "LOW"),
    ("stop_retained_variant", "LOW"),
    ("synonymous_variant", "LOW"),
    ("coding_sequence_variant", "MODIFIER"),
    ("mature_miRNA_variant", "MODIFIER"),
    ("5_prime_UTR_variant", "MODIFIER"),
    ("3_prime_UTR_variant", "MODIFIER"),
    ("non_coding_transcript_exon_variant", "MODIFIER"),
    ("intron_variant", "MODIFIER"),
    ("NMD_transcript_variant", "MODIFIER"),
    ("non_coding_transcript_variant", "MODIFIER"),
    ("coding_transcript_variant", "MODIFIER"),
    ("upstream_gene_variant", "MODIFIER"),
    ("downstream_gene_variant", "MODIFIER"),
    ("TFBS_ablation", "MODIFIER"),
    ("TFBS_amplification", "MODIFIER"),
    ("TF_binding_site_variant", "MODIFIER"),
    ("regulatory_region_ablation", "MODIFIER"),
    ("regulatory_region_amplification", "MODIFIER"),
    ("regulatory_region_variant", "MODIFIER"),
    ("intergenic_variant", "MODIFIER"),
    ("sequence_variant", "MODIFIER"),
)

SEVERITY: dict[str, int] = {term: rank for rank, (term, _) in enumerate(_ENSEMBL)}
"""Ensembl's terms, 0 the most severe."""

IMPACT: dict[str, str] = dict(_ENSEMBL)
"""Ensembl's impact of each term: HIGH, MODERATE, LOW or MODIFIER."""

_RELATIVES = {
    "exon_loss_variant": "transcript_ablation",
    "chromosome_number_variation": "transcript_ablation",
    "rare_amino_acid_variant": "stop_lost",
    "disruptive_inframe_insertion": "inframe_insertion",
    "conservative_inframe_insertion": "inframe_insertion",
    "disruptive_inframe_deletion": "inframe_deletion",
    "conservative_inframe_deletion": "inframe_deletion",
    "initiator_codon_variant": "start_retained_variant",
    "5_prime_UTR_premature_start_codon_gain_variant": "start_retained_variant",
    "5_prime_UTR_truncation": "5_prime_UTR_variant",
    "3_prime_UTR_truncation": "3_prime_UTR_variant",
    "non_coding_exon_variant": "non_coding_transcript_exon_variant",
    "conserved_intron_variant": "intron_variant",
    "intragenic_variant": "non_coding_transcript_variant",
    "intergenic_region": "intergenic_variant",
    "conserved_intergenic_variant": "intergenic_variant",
}
"""snpEff's own terms and the Ensembl term beside which each ranks."""

_LOF = ("transcript_ablation", "splice_acceptor_variant", "splice_donor_variant", "stop_gained", "frameshift_variant")
_INFRAME = (
    "inframe_insertion", "inframe_deletion", "disruptive_inframe_insertion", "conservative_inframe_insertion",
    "disruptive_inframe_deletion", "conservative_inframe_deletion",
)  # fmt: skip


def _of_impact(impact: str) -> frozenset[str]:
    own = {term for term, found in IMPACT.items() if found == impact}
    return frozenset(own | {term for term, like in _RELATIVES.items() if IMPACT[like] == impact})


CLASSES: dict[str, frozenset[str]] = {
    "lof": frozenset((*_LOF, "exon_loss_variant")),
    "missense": frozenset({"missense_variant"}),
    "inframe": frozenset(_INFRAME),
    "synonymous": frozenset({"synonymous_variant"}),
    "splice_region": frozenset(
        {
            "splice_region_variant", "splice_donor_5th_base_variant", "splice_donor_region_variant",
            "splice_polypyrimidine_tract_variant",
        }
    ),
    "utr": frozenset({"5_prime_UTR_variant", "3_prime_UTR_variant"}),
    "high": _of_impact("HIGH"),
    "moderate": _of_impact("MODERATE"),
    "low": _of_impact("LOW"),
    "modifier": _of_impact("MODIFIER"),
}  # fmt: skip
"""Names that a mask may use for several terms. ``lof``: stop gained, frameshift, essential splice sites, transcript or
exon lost; a lost start or stop codon is not among them (add ``start_lost`` or ``stop_lost`` by name)."""
CLASSES["plof"] = CLASSES["lof"]
CLASSES["protein_altering"] = (
    CLASSES["lof"] | CLASSES["missense"] | CLASSES["inframe"] | {"start_lost", "stop_lost", "protein_altering_variant"}
)

UNKNOWN_SEVERITY = len(SEVERITY)


def severity(term: str) -> int:
    """Return a term's rank, 0 the most severe; an unknown term ranks after all known ones."""
    return SEVERITY.get(_RELATIVES.get(term, term), UNKNOWN_SEVERITY)


def worst_term(consequence: str) -> str:
    """Return the most severe of the terms that ``&`` joins; among equals the first in the alphabet."""
    return min(consequence.split("&"), key=lambda term: (severity(term), term))


def terms_of_mask(expression: str) -> frozenset[str]:
    """Return every term that ``missense+lof`` or ``stop_lost`` stands for, and each word itself.

    The words themselves count so that the labels of a regenie annotation file (``pLof``) match too.

    Raises
    ------
    ConfigError: for an expression without a word.
    """
    words = [word.strip() for word in expression.split("+")]
    if not all(words):
        raise ConfigError(f"a mask names no consequence: {expression!r}", hint="lof, missense, missense+lof, ...")
    found: set[str] = set()
    for word in words:
        found |= {word} | CLASSES.get(word.lower(), frozenset())
    return frozenset(found)


def known_word(word: str) -> bool:
    """Say whether a mask's word is a class or a term that some annotator writes."""
    return word.lower() in CLASSES or word in SEVERITY or word in _RELATIVES
