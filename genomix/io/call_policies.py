"""What becomes of calls that are not two known alleles: half-calls, haploid calls, calls of higher ploidy.

Every call of a block ends in exactly one of ``CALL_OUTCOMES``.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, Identifier
from genomix.io.contigs import HAPLOID_CLASSES, PloidyClass
from genomix.io.genotype_format import HAPLOID, MISSING, AlleleArray, GenotypeBlock

HalfCallPolicy = Literal["missing", "reference", "error"]
HaploidPolicy = Literal["missing", "double", "error"]

_BOOL = npt.NDArray[np.bool_]

CALL_OUTCOMES = (
    "diploid calls kept", "haploid calls doubled", "haploid calls doubled outside X, Y and MT",
    "haploid calls set missing", "half-calls set missing", "half-calls completed with REF",
    "calls over ploidy 2 set missing", "missing", "missing in a record without GT", "dosages kept, hard calls derived",
)  # fmt: skip
CALL_NOTES = ("heterozygous calls of males on X outside the PARs", "calls of females on Y")


def apply_ploidy(
    block: GenotypeBlock, classes: npt.NDArray[np.int8], half_call: HalfCallPolicy, haploid: HaploidPolicy,
    calls: Counter[str], *, ids: pl.Series, where: str | None = None,
) -> AlleleArray:  # fmt: skip
    """Return diploid codes, int16 (n_records, n_samples, 2) with both negative where missing; add to ``calls``.

    Parameters
    ----------
    block: calls as read; classes: int8 (n_records,) ploidy class of each record.
    calls: counts by outcome (``CALL_OUTCOMES``), added to in place.
    ids: sample identifiers, for an error's message.

    Raises
    ------
    FormatError: where a policy is ``"error"`` and such a call is met.
    """
    first, second = block.alleles[..., 0].copy(), block.alleles[..., 1].copy()
    one = (second == HAPLOID) & (first >= 0)
    half = ((first == MISSING) & (second >= 0)) | ((first >= 0) & (second == MISSING))
    legitimate = one & np.isin(classes, [int(c) for c in HAPLOID_CLASSES])[:, None]
    elsewhere = one & ~legitimate
    for mask, policy, what in (
        (half, half_call, "half-call"),
        (elsewhere, haploid, "haploid call outside X, Y and MT"),
    ):
        if policy == "error" and mask.any():
            raise _policy_error(mask, what, block.start, ids, where)
    double = legitimate | (elsewhere if haploid == "double" else np.zeros_like(elsewhere))
    second[double] = first[double]
    lost = (elsewhere & ~double) | (half if half_call == "missing" else np.zeros_like(half))
    if half_call == "reference":
        first[half & (first == MISSING)] = 0
        second[half & (second == MISSING)] = 0
    absent = lost | (first < 0) | (second < 0)
    first[absent] = MISSING
    second[absent] = MISSING
    _count(block, calls, legitimate, elsewhere, half, absent, half_call, haploid)
    return np.stack([first, second], axis=-1)


def _count(
    block: GenotypeBlock, calls: Counter[str], legitimate: _BOOL, elsewhere: _BOOL, half: _BOOL, absent: _BOOL,
    half_call: str, haploid: str,
) -> None:  # fmt: skip
    """Add the block's calls to their outcomes; the outcomes are exclusive and complete."""
    over = int(block.over_ploidy.sum())
    n_half, n_elsewhere = int(half.sum()), int(elsewhere.sum())
    without = block.without_calls
    with_dosage = 0 if block.dosages is None else int(np.isfinite(block.dosages).sum())
    replaced = 0 if block.dosages is None else int((np.isfinite(block.dosages) & absent).sum())
    kept = ~absent & ~legitimate & ~elsewhere & ~half
    if block.dosages is not None:
        kept &= ~np.isfinite(block.dosages)
    lost_calls = (n_half if half_call == "missing" else 0) + (n_elsewhere if haploid == "missing" else 0)
    without_gt = int(without.sum()) * absent.shape[1] - (
        0 if block.dosages is None else int(np.isfinite(block.dosages[without]).sum())
    )
    calls["diploid calls kept"] += int(kept.sum())
    calls["haploid calls doubled"] += int(legitimate.sum())
    calls["haploid calls doubled outside X, Y and MT" if haploid == "double" else "haploid calls set missing"] += (
        n_elsewhere
    )
    calls["half-calls completed with REF" if half_call == "reference" else "half-calls set missing"] += n_half
    calls["calls over ploidy 2 set missing"] += over
    calls["missing in a record without GT"] += without_gt
    calls["dosages kept, hard calls derived"] += with_dosage
    calls["missing"] += int(absent.sum()) - lost_calls - over - without_gt - replaced


def _policy_error(mask: _BOOL, what: str, start: int, ids: pl.Series, where: str | None) -> FormatError:
    record, sample = (int(v) for v in np.argwhere(mask)[0])
    return FormatError(
        f"a {what} was met and the policy is 'error'",
        where=f"{where or 'input'} record {start + record + 1}",
        hint="choose another policy for such calls",
        identifiers=(Identifier("sample", str(ids[sample]), sample + 1),),
    )


def note_sex(
    alleles: AlleleArray, classes: npt.NDArray[np.int8], sex: npt.NDArray[np.int8], calls: Counter[str]
) -> None:
    """Count calls that are kept but contradict the recorded sex."""
    on_x, on_y = classes == PloidyClass.X, classes == PloidyClass.Y
    if on_x.any():
        males = alleles[np.ix_(on_x, sex == 1)]
        calls[CALL_NOTES[0]] += int((males[..., 0] != males[..., 1]).sum())
    if on_y.any():
        calls[CALL_NOTES[1]] += int((alleles[np.ix_(on_y, sex == 2)][..., 0] >= 0).sum())
