"""Insertions and deletions at their leftmost place and in their shortest form, as ``bcftools norm -f`` writes them.

A record's alleles are shortened from the right as long as all end in the same base (taking bases of the reference from
the left when one would become empty), then from the left as long as all begin with the same base and keep one. Records
with several ALTs are treated as a whole, which is what bcftools does without ``-m``.

Source: Tan, Abecasis and Kang 2015, doi:10.1093/bioinformatics/btv112.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.fasta import MATCH, MISMATCH, UNKNOWN, Fasta, upper_bases

UNCHANGED = "unchanged"
ALIGNED = "left-aligned or trimmed"
REF_MISMATCH = "REF is not what the FASTA has"
OFF_REFERENCE = "contig or position is not in the FASTA"
NO_SEQUENCE = "symbolic, breakend or spanning deletion"
OTHER_CODES = "an ALT holds other codes than A, C, G, T and N"
ALT_IS_REF = "an ALT equals REF"

STATUSES = (UNCHANGED, ALIGNED, REF_MISMATCH, OFF_REFERENCE, NO_SEQUENCE, OTHER_CODES, ALT_IS_REF)

_FIRST_WINDOW, _WINDOW_GROWTH = 32, 8
_WINDOW_BYTES = 1 << 25

_UPPER_CASE = np.uint8(0xDF)
"""Mask that takes the bit of the lower case from an ASCII letter."""

_Ints = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]


class NormalisedRecords(NamedTuple):
    """Records in the order given, and what became of each.

    ``status``: one of :data:`STATUSES`; only records of status :data:`ALIGNED` differ from what was given.
    """

    records: pl.DataFrame
    status: pl.Series


class _Alleles(NamedTuple):
    """Alleles of some records, flat: REF first, then the ALTs; ``first`` has one entry more than there are records."""

    text: _Bytes
    starts: _Ints
    sizes: _Ints
    first: _Ints


def left_align(records: pl.DataFrame, fasta: Fasta) -> NormalisedRecords:
    """Return records with every insertion and deletion left-aligned and every allele as short as it can be.

    The result may be out of order. Changed alleles are in upper case; QUAL, FILTER and INFO (also INFO/END) stay.
    A record without ALT keeps the first base of its REF. Left as they are: records whose REF is not what the FASTA
    has (see :meth:`~genomix.io.fasta.Fasta.ref_matches`), and those for which an allele is no sequence of bases.

    Parameters
    ----------
    records: contig, position (1-based), ref, alt (comma-separated), and any other columns.
    fasta: the reference sequence.
    """
    matches = fasta.ref_matches(records)
    codes = np.select([matches == MISMATCH, matches == UNKNOWN], [2, 3], 0).astype(np.uint8)
    rows = np.flatnonzero((matches == MATCH) & ~_plain_substitutions(records))
    if len(rows):
        codes[rows] = _codes_by_alleles(records[rows])
        shorten = rows[codes[rows] == 0]
        if len(shorten):
            records, changed = _align(records, shorten, fasta)
            codes[shorten[changed]] = 1
    status = pl.Series("status", STATUSES, dtype=pl.String).gather(codes)
    return NormalisedRecords(records, status)


def _plain_substitutions(records: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Say which records exchange one base for another or for none, so that nothing can be moved or shortened."""
    ref_sizes, alt_sizes = (records[n].str.len_bytes().to_numpy() for n in ("ref", "alt"))
    single: npt.NDArray[np.bool_] = (ref_sizes == 1) & (alt_sizes == 1)
    chosen = pl.Series(single)
    ref, alt = (_single_bytes(records[n] if single.all() else records[n].filter(chosen)) for n in ("ref", "alt"))
    another_base = (upper_bases(alt) == alt & _UPPER_CASE) & ((alt ^ ref) & _UPPER_CASE != 0)
    single[single] = another_base | (alt == ord("."))
    return single


def _single_bytes(letters: pl.Series) -> _Bytes:
    return np.frombuffer("".join(letters.to_list()).encode(), dtype=np.uint8)


def _codes_by_alleles(records: pl.DataFrame) -> npt.NDArray[np.uint8]:
    """Return the status (its place in ``STATUSES``) of records that cannot be aligned, 0 for the others."""
    alt = pl.col("alt").str.to_uppercase()
    ref, comma = pl.col("ref").str.to_uppercase(), pl.lit(",")
    repeated = pl.concat_str(comma, alt, comma).str.contains(pl.concat_str(comma, ref, comma), literal=True)
    return (
        records.select(
            pl.when(alt == ".").then(0)
            .when(alt.str.contains(r"[<\[\]*]|\.")).then(4)
            .when(~alt.str.contains("^[ACGTN]+(?:,[ACGTN]+)*$")).then(5)
            .when(repeated).then(6)
            .otherwise(0).cast(pl.UInt8)
        ).to_series().to_numpy()
    )  # fmt: skip


def _align(records: pl.DataFrame, rows: _Ints, fasta: Fasta) -> tuple[pl.DataFrame, npt.NDArray[np.bool_]]:
    """Return all records with ``rows`` aligned, and which of ``rows`` changed."""
    part = records[rows]
    alleles = _flatten(part)
    numbers = fasta.contig_numbers(part["contig"])
    before = part["position"].to_numpy().astype(np.int64) - 1
    moved, refs, alts = _shift_all(alleles, numbers, before, fasta)
    changed = (moved != 0) | (pl.Series(refs, dtype=pl.String) != part["ref"].str.to_uppercase()).to_numpy()
    if not changed.any():
        return records, changed
    chosen = np.flatnonzero(changed)
    updated = {
        "position": (before + moved + 1)[changed],
        "ref": [refs[i] for i in chosen.tolist()],
        "alt": [alts[i] for i in chosen.tolist()],
    }
    scattered = [records[n].clone().scatter(rows[changed], values) for n, values in updated.items()]
    return records.with_columns(scattered), changed


def _flatten(records: pl.DataFrame) -> _Alleles:
    """Return upper-cased alleles; a record without ALT has REF only."""
    joined = records.select(
        pl.when(pl.col("alt") == ".")
        .then(pl.concat_str("ref", pl.lit(",")))
        .otherwise(pl.concat_str("ref", pl.lit(","), "alt", pl.lit(",")))
        .str.to_uppercase()
        .alias("alleles")
    ).to_series()
    text = np.frombuffer("".join(joined.to_list()).encode(), dtype=np.uint8)
    ends = np.flatnonzero(text == ord(","))
    starts = np.concatenate([[0], ends[:-1] + 1])
    counts = joined.str.count_matches(",", literal=True).to_numpy().astype(np.int64)
    return _Alleles(text, starts, ends - starts, np.concatenate([[0], np.cumsum(counts)]))


def _shift_all(alleles: _Alleles, numbers: _Ints, before: _Ints, fasta: Fasta) -> tuple[_Ints, list[str], list[str]]:
    """Return how far each record moves, its REF and its ALTs, widening the window where it was too narrow."""
    n = len(before)
    moved = np.zeros(n, dtype=np.int64)
    refs, alts = [""] * n, [""] * n
    width = _FIRST_WINDOW
    todo = np.arange(n)
    while len(todo):
        batch = max(1, _WINDOW_BYTES // width)
        again = []
        for at in range(0, len(todo), batch):
            rows = todo[at : at + batch]
            again.append(rows[~_shift_some(alleles, rows, numbers, before, fasta, width, (moved, refs, alts))])
        todo = np.concatenate(again)
        width *= _WINDOW_GROWTH
    return moved, refs, alts


def _shift_some(
    alleles: _Alleles, rows: _Ints, numbers: _Ints, before: _Ints, fasta: Fasta, width: int,
    results: tuple[_Ints, list[str], list[str]],
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Align ``rows`` with ``width`` bases before each; fill in their results and say for which that was enough."""
    from genomix.io.kernels import allele_kernels

    moved, refs, alts = results
    chosen = _choose(alleles, rows)
    left = _bases_before(fasta, numbers[rows], before[rows], width)
    trim, begin = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    allele_kernels.shift(*chosen, left, before[rows], trim, begin)
    enough = trim >= 0
    done = np.flatnonzero(enough)
    kept = _choose(chosen, done)
    per_allele = np.diff(kept.first)
    lengths = kept.sizes - np.repeat(trim[done] + begin[done], per_allele)
    places = np.cumsum(lengths + 1) - lengths - 1
    out = np.full(int(lengths.sum() + len(lengths)), ord(","), dtype=np.uint8)
    allele_kernels.write(*kept, left[done], trim[done], begin[done], places, out)
    text = out.tobytes().decode()
    refs_at, alts_at = places[kept.first[:-1]], np.append(places, len(out))[kept.first[1:]]
    ref_ends = refs_at + lengths[kept.first[:-1]]
    for row, a, b, c in zip(rows[done].tolist(), refs_at.tolist(), ref_ends.tolist(), alts_at.tolist(), strict=True):
        refs[row], alts[row] = text[a:b], text[b + 1 : c - 1] or "."
    moved[rows[done]] = begin[done]
    return enough


def _choose(alleles: _Alleles, rows: _Ints) -> _Alleles:
    """Return the alleles of some records; the text is shared."""
    counts = np.diff(alleles.first)[rows]
    ends = np.cumsum(counts)
    flat = np.repeat(alleles.first[rows] - (ends - counts), counts) + np.arange(int(counts.sum()))
    return _Alleles(alleles.text, alleles.starts[flat], alleles.sizes[flat], np.concatenate([[0], ends]))


def _bases_before(fasta: Fasta, numbers: _Ints, before: _Ints, width: int) -> _Bytes:
    """Return uint8 (n, width): the bases before each position, the nearest last; 0 before a contig's start."""
    places = before[:, None] + np.arange(-width, 0)
    there = places >= 0
    left = np.zeros(places.shape, dtype=np.uint8)
    left[there] = upper_bases(fasta.bases(np.repeat(numbers, there.sum(axis=1)), places[there]))
    return left
