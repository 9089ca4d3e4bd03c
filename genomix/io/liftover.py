"""Records from one genome build to another by a chain file, with a reason for each that cannot be lifted.

A record is lifted when all bases of its REF lie in one stretch of one chain without a gap. Where that stretch runs on
the reverse strand, alleles are complemented; insertions and deletions must then be anchored on their other side, which
takes the target's sequence. With that sequence REF is checked in the target, and a substitution whose ALT is the
target's base has REF and ALT exchanged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.chain import Chain, read_chain
from genomix.io.contigs import CONTIG_LENGTHS, normalise_contigs
from genomix.io.fasta import MATCH, MISMATCH, UNKNOWN, Fasta
from genomix.io.normalise import ALIGNED, UNCHANGED, left_align

__all__ = ["LIFT_REASONS", "LiftedRecords", "lift_records", "read_chain"]

NO_CONTIG = "liftover: the chain file has no such contig"
NO_CHAIN = "liftover: no chain covers the position"
DELETED = "liftover: the position lies in a gap, it is deleted in the target"
SHARED = "liftover: several chains cover the position"
SPANS_GAP = "liftover: the record spans a gap of the chain"
OTHER_MT = "liftover: the chain file's mitochondrial contig is not rCRS (16,569 bp)"
NO_SEQUENCE = "liftover: an ALT is symbolic or a breakend"
REVERSE_INDEL = "liftover: an insertion or deletion on the reverse strand needs the target's FASTA"
REVERSE_OTHER = "liftover: cannot be anchored on the reverse strand"
REF_MISMATCH = "liftover: neither REF nor a single ALT is what the target has"
OFF_TARGET = "liftover: the target's FASTA has no such place"

LIFT_REASONS = (
    NO_CONTIG, NO_CHAIN, DELETED, SHARED, SPANS_GAP, OTHER_MT, NO_SEQUENCE, REVERSE_INDEL, REVERSE_OTHER, REF_MISMATCH,
    OFF_TARGET,
)  # fmt: skip

_COMPLEMENT = str.maketrans("ACGTRYKMBDHVacgtrykmbdhv", "TGCAYRMKVHDBtgcayrmkvhdb")

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]


class LiftedRecords(NamedTuple):
    """Records in the order given, lifted where they could be.

    ``records``: as given; of lifted ones contig (normalised), position, ref and alt are the target's. ``reverse``,
    ``swapped``: bool, lifted to the reverse strand; with REF and ALT exchanged, so that calls must be exchanged too.
    ``reason``: String, why a record was not lifted, empty where it was.
    """

    records: pl.DataFrame
    reverse: _Bools
    swapped: _Bools
    reason: pl.Series


def lift_records(records: pl.DataFrame, chain: Chain, target_fasta: Fasta | None = None) -> LiftedRecords:
    """Lift records over; the result may be out of order, and two records may come to the same place.

    QUAL, FILTER and INFO stay as they are: of a swapped record, INFO/AF and the like still count the former ALT. A
    forward insertion or deletion keeps its anchor and is not left-aligned anew.

    Parameters
    ----------
    records: contig (any style), position (1-based), ref, alt (comma-separated), and any other columns.
    chain: see :func:`~genomix.io.chain.read_chain`.
    target_fasta: the target build's sequence; without it REF is not checked in the target.
    """
    found, reason = _places(records, chain)
    rows = np.flatnonzero(reason == "")
    reverse, swapped = np.zeros(records.height, dtype=np.bool_), np.zeros(records.height, dtype=np.bool_)
    reverse[rows] = chain.blocks.reverse[found[rows]]
    part, why = _moved(records[rows], chain, found[rows], reverse[rows], target_fasta is not None)
    if target_fasta is not None and len(rows):
        part, swapped[rows] = _checked(part, target_fasta, why)
        part = _anchored(part, target_fasta, reverse[rows], why)
    reason[rows] = why
    lifted = reason == ""
    kept = pl.Series(why == "")
    columns = ("contig", "position", "ref", "alt")
    updated = [_scatter(records[n], np.flatnonzero(lifted), part[n].filter(kept)) for n in columns]
    return LiftedRecords(
        records.with_columns(updated), reverse & lifted, swapped & lifted, pl.Series("reason", reason, dtype=pl.String)
    )


def _places(records: pl.DataFrame, chain: Chain) -> tuple[_Ints, npt.NDArray[np.object_]]:
    """Return the block that holds each record's REF, and the reason where none does."""
    names = normalise_contigs(records["contig"])
    numbers = chain.contig_numbers(names)
    before = records["position"].to_numpy().astype(np.int64) - 1
    starts = chain.keys(numbers, before)
    ends = starts + records["ref"].str.len_bytes().to_numpy().astype(np.int64)
    blocks = chain.blocks
    found = np.maximum(np.searchsorted(blocks.start, starts, side="right") - 1, 0)
    inside = (blocks.start[found] <= starts) & (starts < blocks.end[found])
    needed = ends + _inserts(records)  # bases are inserted before the next base, which must stay the next
    shared = chain.shared.touch(starts, ends)
    other_mt = (names == "MT").to_numpy() & _has_other_mt(chain)
    reason = np.full(records.height, "", dtype=object)
    for wrong, why in (
        (needed > blocks.end[found], SPANS_GAP),
        (~inside & (starts >= 0) & chain.covered.hold(starts), DELETED),
        (~inside & ~chain.covered.hold(starts), NO_CHAIN),
        (shared, SHARED),
        ((numbers < 0), NO_CONTIG),
        (other_mt, OTHER_MT),
        (records["alt"].str.contains(r"[<\[\]]").to_numpy(), NO_SEQUENCE),
    ):
        reason[wrong] = why
    return found, reason


def _inserts(records: pl.DataFrame) -> _Bools:
    """Say which records have an ALT that is longer than REF."""
    simple = (records["alt"].str.len_bytes() <= records["ref"].str.len_bytes()).to_numpy()
    longer = ~simple
    rows = np.flatnonzero(longer)
    texts = zip(records["alt"].gather(rows).to_list(), records["ref"].gather(rows).to_list(), strict=True)
    longer[rows] = [max(map(len, alt.split(","))) > len(ref) for alt, ref in texts]
    return longer


def _has_other_mt(chain: Chain) -> bool:
    """GRCh37 and GRCh38 both have the rCRS, but UCSC's hg19 has another sequence of 16,571 bp under the same name."""
    rcrs = CONTIG_LENGTHS["GRCh38"]["MT"]
    return any(sizes.get("MT", rcrs) != rcrs for sizes in (chain.source_sizes, chain.target_sizes))


def _moved(
    records: pl.DataFrame, chain: Chain, found: _Ints, reverse: _Bools, has_fasta: bool
) -> tuple[pl.DataFrame, npt.NDArray[np.object_]]:
    """Return the records at their new place, alleles as the forward strand has them, and why some cannot be."""
    blocks = chain.blocks
    starts = chain.keys(
        chain.contig_numbers(normalise_contigs(records["contig"])), records["position"].to_numpy().astype(np.int64) - 1
    )
    sizes = records["ref"].str.len_bytes().to_numpy().astype(np.int64)
    offset = starts - blocks.start[found]
    first = blocks.target_start[found] + np.where(reverse, -(offset + sizes - 1), offset)
    names = pl.Series(list(chain.target_sizes), dtype=pl.String)
    refs, alts = records["ref"], records["alt"]
    why = np.full(records.height, "", dtype=object)
    rows = np.flatnonzero(reverse)
    if len(rows):
        new_refs = [reverse_complement(r) for r in refs.gather(rows).to_list()]
        new_alts = [",".join(map(reverse_complement, a.split(","))) for a in alts.gather(rows).to_list()]
        even = [_of_one_length(ref, alt) for ref, alt in zip(new_refs, new_alts, strict=True)]
        if not has_fasta:
            why[rows[~np.array(even, dtype=np.bool_)]] = REVERSE_INDEL
        refs, alts = _scatter(refs, rows, pl.Series(new_refs)), _scatter(alts, rows, pl.Series(new_alts))
    moved = records.with_columns(
        names.gather(blocks.target[found]).alias("contig"),
        pl.Series("position", first + 1),
        refs.alias("ref"),
        alts.alias("alt"),
    )
    return moved, why


def _of_one_length(ref: str, alt: str) -> bool:
    return alt == "." or all(a == "*" or len(a) == len(ref) for a in alt.split(","))


def reverse_complement(allele: str) -> str:
    """Return an allele as the other strand has it.

    >>> reverse_complement("AAC"), reverse_complement("*")
    ('GTT', '*')
    """
    return allele.translate(_COMPLEMENT)[::-1]


def _checked(records: pl.DataFrame, fasta: Fasta, why: npt.NDArray[np.object_]) -> tuple[pl.DataFrame, _Bools]:
    """Return the records with REF and ALT exchanged where only ALT is the target's base, and which those are."""
    matches = fasta.ref_matches(records)
    why[(why == "") & (matches == UNKNOWN)] = OFF_TARGET
    wrong = (why == "") & (matches == MISMATCH)
    swapped = np.zeros(records.height, dtype=np.bool_)
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return records, swapped
    why[rows] = REF_MISMATCH
    part = records[rows]
    even = ~part["alt"].str.contains(r"[,.*]") & (part["alt"].str.len_bytes() == part["ref"].str.len_bytes())
    turned = part.with_columns(ref="alt", alt="ref")
    rows = rows[even.to_numpy() & (fasta.ref_matches(turned) == MATCH)]
    swapped[rows] = True
    why[rows] = ""
    refs, alts = records["ref"], records["alt"]
    exchanged = [_scatter(refs, rows, alts.gather(rows)), _scatter(alts, rows, refs.gather(rows))]
    return records.with_columns(exchanged), swapped


def _anchored(records: pl.DataFrame, fasta: Fasta, reverse: _Bools, why: npt.NDArray[np.object_]) -> pl.DataFrame:
    """Left-align what was lifted to the reverse strand, so that it is anchored on its left again."""
    uneven = (records["alt"].str.len_bytes() != records["ref"].str.len_bytes()).to_numpy()
    rows = np.flatnonzero(reverse & uneven & (why == "") & (records["alt"] != ".").to_numpy())
    if not len(rows):
        return records
    aligned = left_align(records[rows], fasta)
    fine = aligned.status.is_in([ALIGNED, UNCHANGED]).to_numpy()
    why[rows[~fine]] = REVERSE_OTHER
    updated = [_scatter(records[n], rows, aligned.records[n]) for n in ("position", "ref", "alt")]
    return records.with_columns(updated)


def _scatter(column: pl.Series, rows: _Ints, values: pl.Series) -> pl.Series:
    return column.clone().scatter(rows, values) if len(rows) else column
