"""What becomes of calls that are not two known alleles: half-calls, haploid calls, calls of higher ploidy.

Every call of a block ends in exactly one of ``CALL_OUTCOMES``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, Identifier
from genomix.io.contigs import HAPLOID_CLASSES, PloidyClass
from genomix.io.genotype_format import (
    HAPLOID,
    HET_PHASED,
    HET_PHASED_REVERSED,
    MISSING,
    OVER_PLOIDY,
    AlleleArray,
    GenotypeBlock,
)
from genomix.io.packing import codes_of_alleles, count_missing
from genomix.io.spool import FinishedBlock

HalfCallPolicy = Literal["missing", "reference", "error"]
HaploidPolicy = Literal["missing", "double", "error"]

_BOOL = npt.NDArray[np.bool_]

CALL_OUTCOMES = (
    "diploid calls kept", "haploid calls doubled", "haploid calls doubled outside X, Y and MT",
    "haploid calls set missing", "half-calls set missing", "half-calls completed with REF",
    "calls over ploidy 2 set missing", "missing", "missing in a record without GT", "dosages kept, hard calls derived",
)  # fmt: skip
CALL_NOTES = (
    "heterozygous calls of males on X outside the PARs", "calls of females on Y", "heterozygous calls of males on Y",
    "heterozygous calls on MT",
)  # fmt: skip


class Policies(NamedTuple):
    """What becomes of half-calls, and of haploid calls where two copies are expected."""

    half_call: HalfCallPolicy = "missing"
    haploid: HaploidPolicy = "missing"


def finish_block(
    block: GenotypeBlock, classes: npt.NDArray[np.int8], sex: npt.NDArray[np.int8], policies: Policies,
    calls: Counter[str], *, ids: pl.Series, where: str | None = None,
) -> FinishedBlock:  # fmt: skip
    """Return the records as they are written, and add every call to ``calls`` under its outcome.

    Parameters
    ----------
    block: calls as read; classes: int8 (n_records,) ploidy class of each record.
    sex: int8 (n_samples,) recorded sex; ids: sample identifiers, for an error's message.
    calls: counts by outcome (``CALL_OUTCOMES``) and note (``CALL_NOTES``), added to in place.

    Raises
    ------
    FormatError: where a policy is ``"error"`` and such a call is met.
    """
    general = ~block.is_compact
    missing = count_missing(block.compact)
    calls["missing"] += missing
    calls["diploid calls kept"] += block.compact.size - missing
    alleles = _apply_ploidy(block, classes[general], policies, calls, ids=ids, where=where)
    _note_sex(block.compact, alleles, classes, block.is_compact, sex, calls)
    return compacted(_with_known_dosages(replace(block, alleles=alleles)))


def _with_known_dosages(block: GenotypeBlock) -> GenotypeBlock:
    """Fill gaps in a record's dosages with its diploid hard calls: a record is written as dosages or not at all."""
    if block.dosages is None:
        return block
    recorded = np.asarray(np.isfinite(block.dosages).any(axis=1))[:, None]
    known = (block.alleles[..., 0] >= 0) & (block.alleles[..., 1] >= 0) & recorded & ~np.isfinite(block.dosages)
    if not known.any():
        return block
    dosages = block.dosages.copy()
    dosages[known] = (block.alleles[known] == 1).sum(axis=1)
    return replace(block, dosages=dosages)


def compacted(block: GenotypeBlock) -> FinishedBlock:
    """Return diploid calls as they are written, every biallelic record without dosages in its compact form."""
    alleles = block.alleles
    counts = block.allele_counts
    general = np.flatnonzero(~block.is_compact)
    plain = counts[general] == 2
    if block.dosages is not None:
        plain &= ~np.isfinite(block.dosages).any(axis=1)
    dosages = None if block.dosages is None else block.dosages[~plain]
    if dosages is not None and not len(dosages):
        dosages = None
    if not plain.any():
        return FinishedBlock(block.is_compact, block.compact, alleles, block.phased, dosages, counts)
    is_compact = block.is_compact.copy()
    is_compact[general[plain]] = True
    compact = np.empty((int(is_compact.sum()), block.compact.shape[1]), dtype=np.int8)
    was_compact = block.is_compact[is_compact]
    compact[was_compact] = block.compact
    compact[~was_compact] = codes_of_alleles(alleles[plain], block.phased[plain])
    return FinishedBlock(is_compact, compact, alleles[~plain], block.phased[~plain], dosages, counts)


def _apply_ploidy(
    block: GenotypeBlock, classes: npt.NDArray[np.int8], policies: Policies,
    calls: Counter[str], *, ids: pl.Series, where: str | None,
) -> AlleleArray:  # fmt: skip
    """Return diploid codes of the general records, int16 (n, n_samples, 2), both negative where missing."""
    half_call, haploid = policies
    first, second = block.alleles[..., 0].copy(), block.alleles[..., 1].copy()
    over = first == OVER_PLOIDY
    one = (second == HAPLOID) & (first >= 0)
    half = ((first == MISSING) & (second >= 0)) | ((first >= 0) & (second == MISSING))
    legitimate = one & np.isin(classes, [int(c) for c in HAPLOID_CLASSES])[:, None]
    elsewhere = one & ~legitimate
    for mask, policy, what in (
        (half, half_call, "half-call"),
        (elsewhere, haploid, "haploid call outside X, Y and MT"),
    ):
        if policy == "error" and mask.any():
            raise _policy_error(mask, what, block.numbers[~block.is_compact], ids, where)
    double = legitimate | (elsewhere if haploid == "double" else np.zeros_like(elsewhere))
    second[double] = first[double]
    lost = (elsewhere & ~double) | (half if half_call == "missing" else np.zeros_like(half))
    if half_call == "reference":
        first[half & (first == MISSING)] = 0
        second[half & (second == MISSING)] = 0
    absent = lost | (first < 0) | (second < 0)
    first[absent] = MISSING
    second[absent] = MISSING
    _count(block, calls, _Calls(over, legitimate, elsewhere, half, absent), policies)
    return np.stack([first, second], axis=-1)


class _Calls(NamedTuple):
    """Which general calls are what, bool (n, n_samples) each."""

    over: _BOOL
    legitimate: _BOOL
    elsewhere: _BOOL
    half: _BOOL
    absent: _BOOL


def _count(block: GenotypeBlock, calls: Counter[str], found: _Calls, policies: Policies) -> None:
    """Add the general calls to their outcomes; the outcomes are exclusive and complete."""
    over, legitimate, elsewhere, half, absent = found
    n_over, n_half, n_elsewhere = int(over.sum()), int(half.sum()), int(elsewhere.sum())
    without = block.without_calls
    finite = None if block.dosages is None else np.isfinite(block.dosages)
    with_dosage = 0 if finite is None else int(finite.sum())
    replaced = 0 if finite is None else int((finite & absent).sum())
    kept = ~absent & ~legitimate & ~elsewhere & ~half
    if finite is not None:
        kept &= ~finite
        n_over -= int((over & finite).sum())
        n_half -= int((half & finite).sum())
        n_elsewhere -= int((elsewhere & finite).sum())
        legitimate = legitimate & ~finite
    lost = absent if finite is None else absent & ~finite
    lost_calls = (n_half if policies.half_call == "missing" else 0) + (
        n_elsewhere if policies.haploid == "missing" else 0
    )
    without_gt = int(lost[without].sum())
    calls["diploid calls kept"] += int(kept.sum())
    calls["haploid calls doubled"] += int(legitimate.sum())
    doubled = policies.haploid == "double"
    calls["haploid calls doubled outside X, Y and MT" if doubled else "haploid calls set missing"] += n_elsewhere
    calls["half-calls completed with REF" if policies.half_call == "reference" else "half-calls set missing"] += n_half
    calls["calls over ploidy 2 set missing"] += n_over
    calls["missing in a record without GT"] += without_gt
    calls["dosages kept, hard calls derived"] += with_dosage
    calls["missing"] += int(absent.sum()) - lost_calls - n_over - without_gt - replaced


def _policy_error(
    mask: _BOOL, what: str, numbers: npt.NDArray[np.int64], ids: pl.Series, where: str | None
) -> FormatError:
    record, sample = (int(v) for v in np.argwhere(mask)[0])
    return FormatError(
        f"a {what} was met and the policy is 'error'",
        where=f"{where or 'input'} record {int(numbers[record]) + 1}",
        hint="choose another policy for such calls",
        identifiers=(Identifier("sample", str(ids[sample]), sample + 1),),
    )


def _note_sex(
    compact: npt.NDArray[np.int8], alleles: AlleleArray, classes: npt.NDArray[np.int8], is_compact: _BOOL,
    sex: npt.NDArray[np.int8], calls: Counter[str],
) -> None:  # fmt: skip
    """Count calls that are kept but contradict the recorded sex."""
    if not np.isin(classes, [int(PloidyClass.X), int(PloidyClass.Y), int(PloidyClass.MT)]).any():
        return
    het = np.isin(compact, (1, HET_PHASED, HET_PHASED_REVERSED)), alleles[..., 0] != alleles[..., 1]
    called = compact >= 0, alleles[..., 0] >= 0
    of = classes[is_compact], classes[~is_compact]
    everyone, males, females = np.ones(len(sex), dtype=np.bool_), sex == 1, sex == 2
    for note, found, contig, people in (
        (CALL_NOTES[0], het, PloidyClass.X, males),
        (CALL_NOTES[1], called, PloidyClass.Y, females),
        (CALL_NOTES[2], het, PloidyClass.Y, males),
        (CALL_NOTES[3], het, PloidyClass.MT, everyone),
    ):
        for part, part_classes in zip(found, of, strict=True):
            calls[note] += int(part[np.ix_(part_classes == contig, people)].sum())
