"""An annotation's rows, and which ALT of a record each entry means.

VEP: ``ALLELE_NUM`` where the file has it; else ``Allele`` as VEP writes it: at a record where some ALT differs from REF
in length, and all alleles (but ``*``) begin with the same base, that base is cut off (``-`` for nothing); the whole ALT
and the fully trimmed ALT (``--minimal``) are tried after that. snpEff: the whole ALT. bcftools: the changes of the
``dna_change`` field; an entry without that field (intron, UTR) holds at every ALT; ``@position`` points at the entry of
another record, which is looked up there. An entry without any allele at a record with several ALTs means none of them,
and is counted.

``bcftools csq`` (Danecek and McCarthy 2017, doi:10.1093/bioinformatics/btx100) has short words for consequences; they
become Sequence Ontology terms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import polars as pl

_CHANGE = re.compile(r"^(\d+)([^>]+)>(.+)$")

_BCFTOOLS = {
    "missense": "missense_variant",
    "synonymous": "synonymous_variant",
    "frameshift": "frameshift_variant",
    "splice_acceptor": "splice_acceptor_variant",
    "splice_donor": "splice_donor_variant",
    "splice_region": "splice_region_variant",
    "inframe_altering": "protein_altering_variant",
    "start_retained": "start_retained_variant",
    "stop_retained": "stop_retained_variant",
    "5_prime_utr": "5_prime_UTR_variant",
    "3_prime_utr": "3_prime_UTR_variant",
    "non_coding": "non_coding_transcript_exon_variant",
    "intron": "intron_variant",
    "intergenic": "intergenic_variant",
    "coding_sequence": "coding_sequence_variant",
}


class Annotation(NamedTuple):
    """What an annotation file says.

    ``rows``: ANNOTATIONS, one row per (allele, transcript). ``alleles``: contig, position, ref, alt of every countable
    allele of the file, annotated or not. ``tool``: vep, snpeff, bcftools, regenie or bed. ``fields``: names of the
    sub-fields as the file declares them. ``counts``: records, alleles, entries, and entries left out by reason.
    """

    rows: pl.DataFrame
    alleles: pl.DataFrame
    tool: str
    fields: tuple[str, ...]
    counts: dict[str, int]


class Record(NamedTuple):
    """A record of a VCF: place, alleles in capitals, and the value of its annotation's INFO key."""

    contig: str
    position: int
    ref: str
    alts: tuple[str, ...]
    value: str


def vep_alts(record: Record, fields: Mapping[str, str]) -> tuple[int, ...]:
    """Return the 0-based ALTs that an entry of VEP means."""
    number = fields.get("allele_num", "")
    if number.isdigit():
        return (int(number) - 1,) if 1 <= int(number) <= len(record.alts) else ()
    allele = fields.get("allele", "").upper()
    if not allele:
        return (0,) if len(record.alts) == 1 else ()
    minimal = tuple(_minimal(record.ref, alt) for alt in record.alts)
    for spell in (vep_alleles(record.ref, record.alts), record.alts, minimal):
        found = tuple(i for i, written in enumerate(spell) if written == allele)
        if found:
            return found[:1]
    return ()


def snpeff_alts(record: Record, fields: Mapping[str, str]) -> tuple[int, ...]:
    """Return the 0-based ALTs that an entry of snpEff means."""
    allele = fields.get("allele", "").upper()
    if not allele:
        return (0,) if len(record.alts) == 1 else ()
    return tuple(i for i, alt in enumerate(record.alts) if alt == allele)[:1]


def bcsq_alts(record: Record, fields: Mapping[str, str]) -> tuple[int, ...]:
    """Return the 0-based ALTs that an entry of ``bcftools csq`` means."""
    changes = fields.get("dna_change", "")
    if not changes:
        return tuple(range(len(record.alts)))
    found = set()
    for change in changes.split("+"):
        match = _CHANGE.match(change)
        if match and int(match[1]) == record.position and match[2].upper() == record.ref:
            found |= {i for i, alt in enumerate(record.alts) if alt == match[3].upper()}
    return tuple(sorted(found))


def vep_alleles(ref: str, alts: tuple[str, ...]) -> tuple[str, ...]:
    """Return each ALT as VEP writes it into CSQ's ``Allele``.

    >>> vep_alleles("CA", ("C", "CAA"))
    ('-', 'AA')
    >>> vep_alleles("C", ("T",))
    ('T',)
    """
    shown = [a for a in (ref, *alts) if "*" not in a]
    other_length = any(len(a) != len(ref) for a in alts if "*" not in a)
    if not other_length or len({a[:1] for a in shown}) != 1:
        return alts
    return tuple(a if "*" in a else (a[1:] or "-") for a in alts)


def ontology_terms(consequence: str) -> str:
    """Return ``&``-joined terms with the words of ``bcftools csq`` as Sequence Ontology terms.

    A word that begins with ``*`` (bcftools: downstream of a stop) is kept as it is: it belongs to no class.

    >>> ontology_terms("missense&splice_region")
    'missense_variant&splice_region_variant'
    """
    return "&".join(_BCFTOOLS.get(word, word) for word in consequence.split("&"))


def trim_alleles(position: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Return position, REF and ALT without shared last, then first bases, each at least one base long.

    Two records of one change that differ by padding alone become equal; nothing is moved along a repeat.

    >>> trim_alleles(10, "CAA", "CAAA")
    (10, 'C', 'CA')
    >>> trim_alleles(10, "CAT", "CGT")
    (11, 'A', 'G')
    """
    end = 0
    while end < min(len(ref), len(alt)) - 1 and ref[-1 - end] == alt[-1 - end]:
        end += 1
    ref, alt = ref[: len(ref) - end], alt[: len(alt) - end]
    start = 0
    while start < min(len(ref), len(alt)) - 1 and ref[start] == alt[start]:
        start += 1
    return position + start, ref[start:], alt[start:]


def _minimal(ref: str, alt: str) -> str:
    """The ALT without any base that it shares with REF at its ends, as ``--minimal`` writes it."""
    start = 0
    while start < min(len(ref), len(alt)) and ref[start] == alt[start]:
        start += 1
    ref, alt = ref[start:], alt[start:]
    end = 0
    while end < min(len(ref), len(alt)) and ref[-1 - end] == alt[-1 - end]:
        end += 1
    return alt[: len(alt) - end] or "-"


def is_countable(alt: str) -> bool:
    """Say whether an ALT is a sequence: not missing, overlapping (``*``), symbolic or a breakend."""
    return alt not in (".", "*") and not alt.startswith("<") and "[" not in alt and "]" not in alt


ALTS_OF: dict[str, Callable[[Record, Mapping[str, str]], tuple[int, ...]]] = {
    "vep": vep_alts, "snpeff": snpeff_alts, "bcftools": bcsq_alts,
}  # fmt: skip
"""By tool: the 0-based ALTs of a record that an entry means."""
