"""Copies of each ALT from a record's DS or GP, as htslib (cyvcf2) reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from genomix.errors import Identifier
from genomix.io.vcf_text import LineError

_TOLERANCE = 0.05
"""How far written probabilities may miss a sum of 1, and dosages their bounds, through rounding to two digits."""


def dosages_of(
    record: Any, key: str, haploid: npt.NDArray[np.bool_], n_alts: int, number: int
) -> tuple[npt.NDArray[np.float32], bool]:
    """Return dosages on the scale of two copies, float32 (n_alts, n_samples), NaN where missing; and if they were told.

    From DS, one value an ALT, doubled where the call is haploid (its DS is the expected share of one copy); or from GP,
    as the expected copies of each ALT over all genotypes: P(het) + 2 P(hom ALT) of three probabilities of one ALT, and
    2 P(ALT) of a haploid call. Probabilities that are all 0 are missing, as IMPUTE writes them.

    Values that are too many or too few for the ALTs are missing; the second result is False when a record with several
    ALTs has no others. One ALT takes the first of several values of DS.

    Raises
    ------
    LineError: for a dosage outside its bounds, or probabilities that do not sum to 1.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.asarray(record.format(key), dtype=np.float64)
        if key == "DS":
            values = found[:, :n_alts] if n_alts in (1, found.shape[1]) else np.full((len(found), n_alts), np.nan)
            values = np.where(haploid[:, None], 2 * values, values)
            wrong = ((values < -_TOLERANCE) | (values > 2 + _TOLERANCE)).any(axis=1)
            fits = n_alts in (1, found.shape[1])
        else:
            values, wrong, fits = _expected_copies(found, n_alts)
    if wrong.any():
        sample = int(np.flatnonzero(wrong)[0])
        raise LineError(
            number,
            f"{key} is no {'dosage' if key == 'DS' else 'set of probabilities'}",
            hint="correct it there, or load hard calls (--dosage GT)",
            identifiers=(Identifier("sample", f"in column {sample + 10}", sample + 1),),
        )
    told = fits or n_alts == 1 or not np.isfinite(found).any()
    return np.ascontiguousarray(np.clip(values, 0, 2).T.astype(np.float32)), told


def _expected_copies(
    found: npt.NDArray[np.float64], n_alts: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], bool]:
    """Expected copies of each ALT, (n_samples, n_alts), which sets of probabilities are none, and if there is a set.

    A set has a probability for each allele (haploid) or each pair of alleles (diploid; the pair a <= b stands at
    b (b + 1) / 2 + a); other numbers of them are missing.
    """
    n_haploid, n_diploid = n_alts + 1, (n_alts + 1) * (n_alts + 2) // 2
    known = np.isfinite(found)
    n_known = known.sum(axis=1)
    filled = np.where(known, found, 0.0)
    total = filled.sum(axis=1)
    asked = (n_known == known.argmin(axis=1)) | known.all(axis=1)  # gaps stand at the end only
    one, two = asked & (n_known == n_haploid), asked & (n_known == n_diploid)
    values = np.full((len(found), n_alts), np.nan)
    if one.any():
        values[one] = 2 * filled[one, 1:n_haploid]
    if two.any():
        values[two] = 0.0
        for b in range(1, n_alts + 1):
            pairs = filled[two, b * (b + 1) // 2 :][:, : b + 1]
            values[two, b - 1] += pairs.sum(axis=1) + pairs[:, b]
            values[two, : b - 1] += pairs[:, 1:b]
    sets = one | two
    some = sets & (total != 0)
    values[~some] = np.nan
    return values, some & ((np.abs(total - 1) > _TOLERANCE) | (filled.min(axis=1) < -_TOLERANCE)), bool(sets.any())
