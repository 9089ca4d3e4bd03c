"""The genotype probability blocks of BGEN layout 2 (https://www.chg.ox.ac.uk/~gav/bgen_format/spec/latest.html).

Dosages are rounded to 1/16384 by the integer arithmetic of plink2's BGEN import, so that a fileset made here holds the
same numbers to the last bit.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import FormatError
from genomix.io.genotype_format import (
    COMPACT_MISSING,
    HAPLOID,
    HET_PHASED,
    HET_PHASED_REVERSED,
    MISSING,
    OVER_PLOIDY,
    AlleleArray,
)

UNIT = 16384
"""Steps of a stored dosage per copy of an allele."""

THRESHOLD = 0.1
"""plink2's default --hard-call-threshold: a dosage further from a whole number has no hard call."""

HARD_CALL_STEPS = int(THRESHOLD * UNIT)

_MOST_ALLELES = 1 << 12
_TABLE_BITS = 16
_MISSING_FLAG, _PLOIDY_BITS = 0x80, 0x3F
_BYTE = 8
_UNSURE, _IMPOSSIBLE = 100, 101

_Ints = npt.NDArray[np.int64]


class Decoded(NamedTuple):
    """The calls of one record.

    Parameters
    ----------
    compact: int8 (n_samples,) codes of a :class:`~genomix.io.genotype_format.GenotypeBlock`, or None.
    alleles: int16 (n_samples, 2) where it is not compact, or None where all are ``MISSING``: dosages alone.
    phased: whether the order of alleles means something.
    dosages: float32 (n_samples,) of the ALT, NaN where missing, or None.
    derived: multi-allelic calls that were taken from uncertain probabilities; uncertain: those set missing.
    """

    compact: npt.NDArray[np.int8] | None
    alleles: AlleleArray | None = None
    phased: bool = False
    dosages: npt.NDArray[np.float32] | None = None
    derived: int = 0
    uncertain: int = 0


class _Block(NamedTuple):
    """A block's parts: what is missing, ploidies, whether phased, bits per probability, and the packed values."""

    missing: npt.NDArray[np.bool_]
    ploidy: npt.NDArray[np.uint8]
    diploid: bool
    phased: bool
    bits: int
    packed: npt.NDArray[np.uint8]


def decode(data: bytes, n_samples: int, n_alleles: int, *, ref_last: bool, dosages: bool, where: str) -> Decoded:
    """Return the calls of one uncompressed probability block.

    Parameters
    ----------
    data: the block; n_samples, n_alleles: what the file's header and the record say, which the block must repeat.
    ref_last: REF is the last allele and not the first; the other alleles keep their order.
    dosages: keep dosages; without, hard calls are derived from them.
    where: file and record, for an error's message.

    Raises
    ------
    FormatError: for a block that contradicts its own sizes, or probabilities that sum to more than one.
    """
    block = _split(data, n_samples, n_alleles, where)
    if block.diploid and n_alleles == 2 and block.bits == _BYTE and len(block.packed) == 2 * n_samples:
        return _byte_pairs(block, ref_last, dosages, where)
    if block.diploid and n_alleles == 2:
        values = _unpack(block.packed, block.bits, 2 * n_samples, where).reshape(n_samples, 2)
        if block.phased:
            return _phased_diploid(values, block, ref_last, dosages)
        return _unphased_diploid(values, block, ref_last, dosages, where)
    return _general(block, n_alleles, ref_last, dosages, where)


def _split(data: bytes, n_samples: int, n_alleles: int, where: str) -> _Block:
    if len(data) < 10 + n_samples:
        raise FormatError(f"a probability block of {len(data)} bytes is too short for {n_samples} samples", where=where)
    raw = np.frombuffer(data, dtype=np.uint8)
    n, k = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:6], "little")
    if (n, k) != (n_samples, n_alleles):
        raise FormatError(
            f"the block states {n} samples and {k} alleles; the file has {n_samples} samples, the record {n_alleles} "
            "alleles",
            where=where,
        )
    least, most = data[6], data[7]
    state = raw[8 : 8 + n]
    phased, bits = data[8 + n], data[9 + n]
    if phased > 1 or not 1 <= bits <= 32 or k > _MOST_ALLELES:
        raise FormatError(
            f"the block's phase flag is {phased} (0 or 1), its probabilities have {bits} bits (1 to 32), "
            f"its alleles are {k}",
            where=where,
        )
    if state.tobytes() == b"\2" * n and least <= 2 <= most:
        return _Block(np.zeros(n, dtype=np.bool_), state, True, bool(phased), bits, raw[10 + n :])
    ploidy = state & np.uint8(_PLOIDY_BITS)
    if n and (int(ploidy.min()) < least or int(ploidy.max()) > most):
        raise FormatError(f"a ploidy lies outside the block's own bounds, {least} to {most}", where=where)
    missing = state >= _MISSING_FLAG
    return _Block(missing, ploidy, bool((ploidy == 2).all()), bool(phased), bits, raw[10 + n :])


def _unpack(packed: npt.NDArray[np.uint8], bits: int, count: int, where: str) -> npt.NDArray[np.unsignedinteger]:
    """Return ``count`` unsigned integers of ``bits`` bits each, packed from the lowest bit on."""
    needed = (count * bits + 7) // 8
    if len(packed) != needed:
        raise FormatError(f"the probabilities take {len(packed)} bytes; {needed} are needed", where=where)
    if bits in (8, 16, 32):
        return packed.view(f"<u{bits // 8}") if bits == 8 else np.frombuffer(packed.tobytes(), f"<u{bits // 8}")
    flat = np.unpackbits(packed, bitorder="little", count=count * bits).reshape(count, bits)
    return np.asarray(flat @ (np.uint64(1) << np.arange(bits, dtype=np.uint64)), dtype=np.uint64)


@lru_cache(maxsize=8)
def _step_table(bits: int) -> npt.NDArray[np.uint16]:
    """Dosage steps of every sum of two probabilities."""
    full = (1 << bits) - 1
    return _steps(np.arange(2 * full + 1, dtype=np.int64), full).astype(np.uint16)


def _steps(numerator: _Ints, full: int) -> _Ints:
    """Return ``numerator / full`` copies of the record's first allele in steps of 1/16384, rounded as plink2 does.

    ``full`` is odd, so no quotient lies halfway; plink2 also rounds up the one just below halfway.
    """
    return np.asarray((numerator * UNIT + (full + 1) // 2 * (full > 1)) // full, dtype=np.int64)


def _alt_steps(first: npt.NDArray[np.integer], block: _Block, ref_last: bool) -> npt.NDArray[np.integer]:
    """ALT dosages in steps, from sums of the first allele's probabilities."""
    if block.bits <= _TABLE_BITS:
        steps: npt.NDArray[np.integer] = np.asarray(_step_table(block.bits)[first])
    else:
        steps = _steps(first.astype(np.int64), (1 << block.bits) - 1)
    return steps if ref_last else np.asarray(2 * UNIT - steps, dtype=steps.dtype)


def _wide(values: npt.NDArray[np.unsignedinteger], bits: int) -> npt.NDArray[np.integer]:
    """Give room for the sum of a few values."""
    return values.astype(np.uint16 if bits < 14 else np.int64)


class _ByteTables(NamedTuple):
    """For each pair of bytes (as one little-endian word): its compact code or a mark, and its dosage."""

    codes: npt.NDArray[np.int8]
    dosages: npt.NDArray[np.float32]


@lru_cache(maxsize=8)
def _byte_tables(phased: bool, ref_last: bool, dosages: bool) -> _ByteTables:
    """Decode every pair of bytes once, by the functions that decode any other number of bits."""
    words = np.arange(1 << 16)
    pairs = np.stack([words & 255, words >> 8], axis=1).astype(np.uint8)
    none = np.zeros(len(words), dtype=np.bool_)
    block = _Block(none, np.full(len(words), 2, dtype=np.uint8), True, phased, _BYTE, pairs.reshape(-1))
    wide = pairs.astype(np.int64)
    steps = _alt_steps(wide.sum(axis=1) if phased else np.minimum(2 * wide[:, 0] + wide[:, 1], 510), block, ref_last)
    unsure = _distance(steps) > (0 if dosages else HARD_CALL_STEPS)
    codes = np.where(unsure, _UNSURE, ((steps + UNIT // 2) >> 14).astype(np.int64))
    if not dosages:
        codes[codes == _UNSURE] = COMPACT_MISSING
    if phased:
        alt = (pairs == 255) == ref_last
        whole = ((pairs == 0) | (pairs == 255)).all(axis=1)
        codes[~whole & (codes != COMPACT_MISSING)] = _UNSURE
        for first, second, code in ((False, True, HET_PHASED), (True, False, HET_PHASED_REVERSED)):
            codes[whole & (alt[:, 0] == first) & (alt[:, 1] == second)] = code
    else:
        codes[wide.sum(axis=1) > 255] = _IMPOSSIBLE
    return _ByteTables(codes.astype(np.int8), _floats(steps, none))


def _byte_pairs(block: _Block, ref_last: bool, dosages: bool, where: str) -> Decoded:
    """Biallelic diploid records of 8 bits, nearly all there are: two look-ups a sample."""
    words = block.packed.view("<u2")
    tables = _byte_tables(block.phased, ref_last, dosages)
    codes = tables.codes[words]
    if block.missing.any():
        codes[block.missing] = COMPACT_MISSING
    most = int(codes.max(initial=0))
    if most == _IMPOSSIBLE:
        raise _sum_error(where)
    if most < _UNSURE:
        return Decoded(codes)
    values = block.packed.reshape(-1, 2)
    if block.phased and not dosages:
        return _phased_diploid(values, block, ref_last, dosages)
    found = tables.dosages[words]
    found[block.missing] = np.nan
    if block.phased and not (found % 1).any():
        return _phased_diploid(values, block, ref_last, dosages)
    return Decoded(None, dosages=found)


def _unphased_diploid(
    values: npt.NDArray[np.unsignedinteger], block: _Block, ref_last: bool, dosages: bool, where: str
) -> Decoded:
    """P(two first alleles), P(one of each); the rest is P(two second alleles)."""
    full = (1 << block.bits) - 1
    two, one = _wide(values[:, 0], block.bits), _wide(values[:, 1], block.bits)
    if (two + one > full).any():
        raise _sum_error(where)
    return _from_steps(_alt_steps(2 * two + one, block, ref_last), block, dosages)


def _phased_diploid(values: npt.NDArray[np.unsignedinteger], block: _Block, ref_last: bool, dosages: bool) -> Decoded:
    """P(first allele) on each haplotype."""
    full = (1 << block.bits) - 1
    whole = (values == 0) | (values == full)
    whole[block.missing] = True
    alt = (values == full) == ref_last
    if whole.all():
        codes = np.where(alt[:, 0], HET_PHASED_REVERSED, HET_PHASED).astype(np.int8)
        same = alt[:, 0] == alt[:, 1]
        codes[same] = 2 * alt[same, 0]
        codes[block.missing] = COMPACT_MISSING
        return Decoded(codes, phased=True)
    wide = _wide(values, block.bits)
    return _from_steps(_alt_steps(wide[:, 0] + wide[:, 1], block, ref_last), block, dosages)


def _from_steps(steps: npt.NDArray[np.integer], block: _Block, dosages: bool) -> Decoded:
    """Diploid dosages as hard calls where every one is whole (or no dosages are wanted), else as dosages."""
    off = _distance(steps)
    off[block.missing] = 0
    if not dosages or not off.any():
        codes = ((steps + UNIT // 2) >> 14).astype(np.int8)
        codes[block.missing | (off > HARD_CALL_STEPS)] = COMPACT_MISSING
        return Decoded(codes)
    return Decoded(None, dosages=_floats(steps, block.missing))


def _distance(steps: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Steps between a dosage and the nearest whole number."""
    part = np.asarray(steps & (UNIT - 1))
    return np.asarray(np.minimum(part, UNIT - part))


def _floats(steps: npt.NDArray[np.integer], missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    out = steps.astype(np.float32) * np.float32(1 / UNIT)
    out[missing] = np.nan
    return out


def _general(block: _Block, n_alleles: int, ref_last: bool, dosages: bool, where: str) -> Decoded:
    """Any ploidy and number of alleles: copies of each allele, ploidy by ploidy."""
    n = len(block.ploidy)
    ploidies = np.unique(block.ploidy).tolist()
    counts = np.array([_n_values(p, n_alleles, block.phased) if p in ploidies else 0 for p in range(64)])
    per_sample = counts[block.ploidy]
    values = _unpack(block.packed, block.bits, int(per_sample.sum()), where).astype(np.int64)
    ends = np.cumsum(per_sample)
    order = _ref_first(n_alleles, ref_last)
    alleles = np.full((n, 2), MISSING, dtype=np.int16)
    copies = np.zeros((n, n_alleles), dtype=np.int64)
    exact = np.ones(n, dtype=np.bool_)
    for ploidy in ploidies:
        at = np.flatnonzero(block.ploidy == ploidy)
        width = int(counts[ploidy])
        part = values[(ends[at] - width)[:, None] + np.arange(width)]
        alleles[at], copies[at], exact[at] = _one_ploidy(part, int(ploidy), n_alleles, block, order, where)
    over = (block.ploidy > 2) & ~block.missing
    alleles[block.missing] = MISSING
    exact[block.missing | over | (block.ploidy == 0)] = True
    if exact.all():
        return Decoded(None, alleles, block.phased)
    if n_alleles == 2 and dosages:
        return _general_dosages(copies[:, 1], block, over)
    found = _by_threshold(copies, alleles, exact, block)
    return found if n_alleles > 2 else found._replace(derived=0, uncertain=0)


def _n_values(ploidy: int, n_alleles: int, phased: bool) -> int:
    return ploidy * (n_alleles - 1) if phased else comb(ploidy + n_alleles - 1, n_alleles - 1) - 1


def _ref_first(n_alleles: int, ref_last: bool) -> _Ints:
    """For each allele as stored, its code."""
    if not ref_last:
        return np.arange(n_alleles, dtype=np.int64)
    return np.append(np.arange(1, n_alleles, dtype=np.int64), 0)


@lru_cache(maxsize=64)
def genotypes(ploidy: int, n_alleles: int) -> npt.NDArray[np.int64]:
    """Return the alleles of each unphased genotype in BGEN's (and VCF's) order: int64 (n_genotypes, ploidy).

    >>> genotypes(2, 3).tolist()
    [[0, 0], [0, 1], [1, 1], [0, 2], [1, 2], [2, 2]]
    """
    if ploidy == 0:
        return np.empty((1, 0), dtype=np.int64)
    parts = []
    for last in range(n_alleles):
        shorter = genotypes(ploidy - 1, last + 1)
        parts.append(np.column_stack([shorter, np.full(len(shorter), last)]))
    return np.concatenate(parts)


class _PloidyCalls(NamedTuple):
    """Alleles of the likeliest calls, copies of each allele in steps, and which calls are certain."""

    alleles: AlleleArray
    copies: _Ints
    exact: npt.NDArray[np.bool_]


def _one_ploidy(values: _Ints, ploidy: int, n_alleles: int, block: _Block, order: _Ints, where: str) -> _PloidyCalls:
    """Probabilities of samples of one ploidy as calls, copies in steps."""
    n = len(values)
    full = (1 << block.bits) - 1
    groups = ploidy if block.phased else 1
    given = values.reshape(n, groups, -1) if groups else np.zeros((n, 0, 1), dtype=np.int64)
    rest = full - given.sum(axis=2, keepdims=True)
    if (rest < 0).any():
        raise _sum_error(where)
    whole = np.concatenate([given, rest], axis=2)
    if block.phased:
        stored = whole.sum(axis=1) if groups else np.zeros((n, n_alleles), dtype=np.int64)
        best = whole.argmax(axis=2)
    else:
        table = genotypes(ploidy, n_alleles)
        per_genotype = np.stack([(table == k).sum(axis=1) for k in range(n_alleles)], axis=1)
        stored = whole[:, 0] @ per_genotype
        best = table[whole[:, 0].argmax(axis=1)]
    exact = (whole.max(axis=2) == full).all(axis=1)
    steps = _steps(stored * (2 if ploidy == 1 else 1), full)
    if n_alleles == 2 and ploidy in (1, 2):
        steps[:, 1] = 2 * UNIT - steps[:, 0]
    copies = np.empty_like(steps)
    copies[:, order] = steps
    alleles = np.full((n, 2), MISSING, dtype=np.int16)
    if ploidy > 2:
        alleles[:] = OVER_PLOIDY
    elif ploidy:
        alleles[:, :ploidy] = order[best]
        alleles[:, ploidy:] = HAPLOID
    if ploidy == 2 and not block.phased:
        alleles.sort(axis=1)
    return _PloidyCalls(alleles, copies, exact)


def _general_dosages(steps: _Ints, block: _Block, over: npt.NDArray[np.bool_]) -> Decoded:
    """A record of dosages; a haploid sample's counts 0 to 2, as plink2 has it."""
    alleles = np.full((len(steps), 2), MISSING, dtype=np.int16)
    alleles[over] = OVER_PLOIDY
    return Decoded(None, alleles, dosages=_floats(steps, block.missing | over | (block.ploidy == 0)))


def _by_threshold(copies: _Ints, alleles: AlleleArray, exact: npt.NDArray[np.bool_], block: _Block) -> Decoded:
    """Hard calls of uncertain samples: half the summed distances of the allele dosages from whole numbers decides."""
    unsure = ~exact
    off = _distance(copies).sum(axis=1) // 2
    near = (copies + UNIT // 2) >> 14
    sums_to_two = near.sum(axis=1) == 2
    near_ok = unsure & (off <= HARD_CALL_STEPS) & sums_to_two
    called = near[near_ok]
    alleles[unsure] = MISSING
    low = (called > 0).argmax(axis=1)
    high = called.shape[1] - 1 - (called[:, ::-1] > 0).argmax(axis=1)
    haploid = block.ploidy[near_ok] == 1
    alleles[near_ok, 0] = low
    alleles[near_ok, 1] = np.where(haploid, HAPLOID, high)
    mixed = haploid & (low != high)
    if mixed.any():
        alleles[np.flatnonzero(near_ok)[mixed]] = MISSING
    derived = int(near_ok.sum() - mixed.sum())
    return Decoded(None, alleles, False, None, derived, int(unsure.sum()) - derived)


def _sum_error(where: str) -> FormatError:
    return FormatError("a sample's probabilities sum to more than one", where=where)
