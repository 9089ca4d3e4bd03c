"""Copies of an allele as people carry them, from hard calls: what burdens and SKAT count.

On autosomes, in the pseudo-autosomal regions and in women on X: 0, 1 or 2. On X outside those regions a man counts 0 or
2, as in scores and association (PLINK's default). On MT everyone has one copy and on Y a man has one: 0 or 1, and a
heterozygous call is no call. On Y women, and people of unknown sex, have none: they count 0, and nothing of them is
missing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.io.contigs import PloidyClass
from genomix.io.plink import GenotypeStore
from genomix.variants.genotype_counts import MALE, sample_numbers, store_ploidy_classes

BoolArray = npt.NDArray[np.bool_]


class PeopleCopies(NamedTuple):
    """What copies depend on of people: ``male``, bool (n_samples,)."""

    male: BoolArray

    @classmethod
    def of(cls, store: GenotypeStore, samples: Any = None) -> PeopleCopies:
        """Return it for 0-based ``samples``, None for all."""
        return cls(store.samples["sex"].to_numpy()[sample_numbers(store, samples)] == MALE)


class VariantCopies(NamedTuple):
    """What copies depend on of variants: whether there is one copy at most, and whether only men have it."""

    single: BoolArray
    on_y: BoolArray

    @classmethod
    def of(cls, store: GenotypeStore) -> VariantCopies:
        """Return it for all of the store's variants."""
        return cls.of_classes(store_ploidy_classes(store))

    @classmethod
    def of_classes(cls, classes: npt.NDArray[np.int8]) -> VariantCopies:
        """Return it for variants of these :class:`~genomix.io.contigs.PloidyClass`."""
        on_y = classes == PloidyClass.Y
        return cls(on_y | (classes == PloidyClass.MT), on_y)

    def taken(self, rows: npt.NDArray[np.int64]) -> VariantCopies:
        """Return it for some of these variants."""
        return VariantCopies(self.single[rows], self.on_y[rows])

    @property
    def most(self) -> npt.NDArray[np.int8]:
        """Most copies that anyone has: 1 or 2."""
        return np.where(self.single, 1, 2).astype(np.int8)


class Copies(NamedTuple):
    """Counted copies, int8 (n_variants, n_samples), 0 where the call is missing; and whether it is there."""

    copies: npt.NDArray[np.int8]
    called: BoolArray


def copies_of(calls: npt.NDArray[np.int8], flipped: BoolArray, variants: VariantCopies, people: PeopleCopies) -> Copies:
    """Return the copies of ALT, or of REF where ``flipped``, in int8 (n_variants, n_samples) calls with -9 missing."""
    called = calls >= 0
    copies = np.where(flipped[:, None], 2 - calls, calls)
    single = np.flatnonzero(variants.single)
    if len(single):
        called[single] &= calls[single] != 1
        copies[single] //= 2
    copies = np.where(called, copies, 0).astype(np.int8)
    on_y = np.flatnonzero(variants.on_y)
    if len(on_y):
        nobody = np.ix_(on_y, np.flatnonzero(~people.male))
        copies[nobody], called[nobody] = 0, True
    return Copies(copies, called)
