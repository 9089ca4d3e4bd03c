"""Counts of genotypes per variant, with the copies that each person carries.

Copies are counted as people carry them: on X outside the pseudo-autosomal regions and on Y a male has one copy, on MT
everyone has. A heterozygous call where there is one copy is no call. Y is counted in males. Unknown sex counts as
female on X (as PLINK does), and is not counted on Y. Hard calls are counted, also where the file holds dosages.

Another species' autosomes are declared by their number, as with PLINK's ``--chr-set``: with N autosomes, contig N + 1
is X, N + 2 Y, N + 3 pseudo-autosomal and N + 4 MT where contigs are numbered so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError
from genomix.io.contigs import PloidyClass, ploidy_classes
from genomix.io.plink import GenotypeStore, pvar_path
from genomix.io.plink_tables import read_pvar

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
CallArray = npt.NDArray[np.int8]

MALE, FEMALE = 1, 2

HUMAN_AUTOSOMES = 22
MOST_AUTOSOMES = 95
"""PLINK's own limit."""

_MISSING_BITS = np.uint64(0x8080808080808080)
_HET_BITS = np.uint64(0x0101010101010101)
_HOM_ALT_BITS = np.uint64(0x0202020202020202)


@dataclass(frozen=True)
class GenotypeCounts:
    """Counts of people per genotype, int64 (n_variants,) each; one-copy calls apart from two-copy calls."""

    hom_ref: IntArray
    het: IntArray
    hom_alt: IntArray
    one_ref: IntArray
    one_alt: IntArray
    n_eligible: IntArray

    @property
    def n_called(self) -> IntArray:
        """People with a call."""
        return self.hom_ref + self.het + self.hom_alt + self.one_ref + self.one_alt

    @property
    def alt_count(self) -> IntArray:
        """Copies of the ALT."""
        return self.het + 2 * self.hom_alt + self.one_alt

    @property
    def allele_count(self) -> IntArray:
        """Copies of any allele."""
        return 2 * (self.hom_ref + self.het + self.hom_alt) + self.one_ref + self.one_alt

    @property
    def alt_frequency(self) -> FloatArray:
        """ALT copies over all copies; NaN without a call."""
        copies = self.allele_count
        return np.where(copies > 0, self.alt_count / np.maximum(copies, 1), np.nan)


def store_ploidy_classes(store: GenotypeStore, *, autosomes: int = HUMAN_AUTOSOMES) -> npt.NDArray[np.int8]:
    """Return the :class:`~genomix.io.contigs.PloidyClass` of each row of the store's variants.

    Parameters
    ----------
    autosomes: number of autosomes of the species, from 1 to 95.

    Raises
    ------
    ConfigError: for another number.
    """
    if autosomes == HUMAN_AUTOSOMES:
        return ploidy_classes(store.variants["contig"], store.variants["position"].to_numpy(), store.build)
    if not 1 <= autosomes <= MOST_AUTOSOMES:
        raise ConfigError(f"{autosomes} autosomes", hint=f"a number from 1 to {MOST_AUTOSOMES}")
    written = read_pvar(pvar_path(store.prefix))[0]["contig"][store.variants["record"].to_numpy()]
    names = written.unique().sort().to_list()
    classes = {name: int(_class_of(name, autosomes)) for name in names}
    return written.replace_strict(names, [classes[n] for n in names], return_dtype=pl.Int8).to_numpy().astype(np.int8)


def _class_of(contig: str, autosomes: int) -> PloidyClass:
    bare = contig[3:] if contig[:3].lower() == "chr" and len(contig) > 3 else contig
    if bare.isascii() and bare.isdigit() and 1 <= int(bare) <= autosomes:
        return PloidyClass.AUTOSOME
    numbered = {
        str(autosomes + 1): PloidyClass.X, str(autosomes + 2): PloidyClass.Y, str(autosomes + 3): PloidyClass.PAR,
        str(autosomes + 4): PloidyClass.MT,
    }  # fmt: skip
    named = {
        "X": PloidyClass.X, "Y": PloidyClass.Y, "XY": PloidyClass.PAR, "PAR1": PloidyClass.PAR, "PAR2": PloidyClass.PAR,
        "M": PloidyClass.MT, "MT": PloidyClass.MT,
    }  # fmt: skip
    return {**numbered, **named}.get(bare.upper(), PloidyClass.OTHER)


def autosomal_biallelic(store: GenotypeStore, *, autosomes: int = HUMAN_AUTOSOMES) -> npt.NDArray[np.bool_]:
    """Return which rows of the store's variants are autosomal and the only ALT of their record.

    Contigs other than 1 to ``autosomes`` count as no autosome.
    """
    single = store.variants["record"].is_unique().to_numpy()
    autosomal: npt.NDArray[np.bool_] = store_ploidy_classes(store, autosomes=autosomes) == PloidyClass.AUTOSOME
    return np.asarray(autosomal & single & (store.variants["allele"].to_numpy() == 1))


class WordBlock(NamedTuple):
    """Calls of some variants, eight to a word: uint64 (n_variants, ceil(n_samples / 8)), zero where there is none.

    A call's low bits are its copies and its high bit says that it is missing (``-9`` is 0b11110111).
    """

    words: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, calls: CallArray) -> WordBlock:
        """Return int8 (n_variants, n_samples) calls as words."""
        spare = -calls.shape[1] % 8
        if spare or not calls.flags.c_contiguous:
            padded = np.zeros((calls.shape[0], calls.shape[1] + spare), dtype=np.int8)
            padded[:, : calls.shape[1]] = calls
            calls = padded
        return cls(calls.view(np.uint64))

    def counts(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return heterozygous, homozygous ALT and missing calls of each variant."""
        missing = _bits(self.words & _MISSING_BITS)
        return _bits(self.words & _HET_BITS) - missing, _bits(self.words & _HOM_ALT_BITS) - missing, missing

    def missing_cells(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return variant and sample of every missing call, variant by variant."""
        width = self.words.shape[1]
        hit = np.flatnonzero(self.words & _MISSING_BITS)
        which, byte = np.nonzero(self.words.reshape(-1)[hit].view(np.int8).reshape(-1, 8) < 0)
        return hit[which] // width, hit[which] % width * 8 + byte


def _bits(words: npt.NDArray[np.uint64]) -> IntArray:
    return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int64))


def sample_numbers(store: GenotypeStore, samples: Any) -> IntArray:
    """Return 0-based samples, all of them for None."""
    return np.arange(store.n_samples) if samples is None else np.asarray(samples, dtype=np.int64)


def call_blocks(
    store: GenotypeStore, rows: IntArray, samples: IntArray, *, block_size: int | None = None
) -> Iterator[tuple[slice, CallArray]]:
    """Yield the calls of ``rows`` block by block, each with the part of ``rows`` that it holds."""
    everyone = len(samples) == store.n_samples and bool((samples == np.arange(store.n_samples)).all())
    done = 0
    for block in store.blocks(rows, None if everyone else samples, block_size=block_size):
        part = slice(done, done + len(block.variants))
        yield part, block.calls
        done = part.stop


def count_genotypes(
    store: GenotypeStore, *, samples: Any = None, variants: Any = None, block_size: int | None = None,
    autosomes: int = HUMAN_AUTOSOMES,
) -> GenotypeCounts:  # fmt: skip
    """Count genotypes of each variant among ``samples`` (None: all), each with the copies that the person carries."""
    rows = np.arange(store.n_variants) if variants is None else np.asarray(variants, dtype=np.int64)
    chosen = sample_numbers(store, samples)
    male = store.samples["sex"].to_numpy()[chosen] == MALE
    classes = store_ploidy_classes(store, autosomes=autosomes)[rows]
    counts = np.zeros((6, len(rows)), dtype=np.int64)
    for part, calls in call_blocks(store, rows, chosen, block_size=block_size):
        counts[:, part] = count_block(calls, classes[part], male)
    return GenotypeCounts(*counts)


def count_block(calls: CallArray, classes: npt.NDArray[np.int8], male: npt.NDArray[np.bool_]) -> IntArray:
    """Return int64 (6, n_variants): hom_ref, het, hom_alt, one_ref, one_alt, eligible people.

    Where everyone has two copies the calls are counted eight at a time; :func:`count_block_plainly` is the reference.
    """
    out = np.zeros((6, len(calls)), dtype=np.int64)
    rest = np.isin(classes, [PloidyClass.X, PloidyClass.Y, PloidyClass.MT])
    two = np.flatnonzero(~rest)
    het, hom_alt, missing = WordBlock.of(calls if len(two) == len(calls) else calls[two]).counts()
    out[5, two] = calls.shape[1]
    out[:3, two] = calls.shape[1] - missing - het - hom_alt, het, hom_alt
    if rest.any():
        out[:, rest] = count_block_plainly(calls[rest], classes[rest], male)
    return out


def count_block_plainly(calls: CallArray, classes: npt.NDArray[np.int8], male: npt.NDArray[np.bool_]) -> IntArray:
    """Do what :func:`count_block` does, by one comparison per genotype."""
    out = np.zeros((6, len(calls)), dtype=np.int64)
    is_x, is_y, is_mt = (classes == c for c in (PloidyClass.X, PloidyClass.Y, PloidyClass.MT))
    for group, two in (
        (~is_x & ~is_y & ~is_mt, slice(None)),
        (is_x, ~male),
    ):
        at = np.flatnonzero(group)
        if len(at):
            part = calls[at][:, two]
            out[:3, at] = [(part == copies).sum(axis=1) for copies in (0, 1, 2)]
            out[5, at] = part.shape[1]
    for group, one in ((is_x | is_y, male), (is_mt, slice(None))):
        at = np.flatnonzero(group)
        if len(at):
            part = calls[at][:, one]
            out[3:5, at] = [(part == copies).sum(axis=1) for copies in (0, 2)]
            out[5, at] += part.shape[1]
    return out


def column_sums(flags: npt.NDArray[np.bool_]) -> IntArray:
    """Return how many rows are True in each column of bool (n_variants, n_samples)."""
    out = np.zeros(flags.shape[1], dtype=np.int64)
    for start in range(0, len(flags), 255):
        out += np.add.reduce(flags[start : start + 255].view(np.uint8), axis=0, dtype=np.uint8)
    return out
