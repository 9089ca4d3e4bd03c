"""Refusal to test related people as if they were independent."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import LabelError
from genomix.io.plink import GenotypeStore
from genomix.schemas.genotypes import KINSHIP
from genomix.variants.kinship import kinship_pairs
from genomix.variants.qc import autosomal_biallelic
from genomix.variants.relatives import FIRST_DEGREE, unrelated

MAX_VARIANTS = 20_000
"""Autosomal variants that kinship is computed from, spread evenly over those there are."""

MIN_VARIANTS = 500
"""With fewer, kinship of one pair is too uncertain to say that people are unrelated."""


class Relatives(NamedTuple):
    """``pairs``: tested pairs above the threshold (None: not judged); ``unrelated``: people left with one of each."""

    pairs: int | None
    unrelated: int | None
    n_variants: int | None


def find_relatives(
    store: GenotypeStore, samples: npt.NDArray[np.int64], *, pairs: pl.DataFrame | None = None,
    threshold: float = FIRST_DEGREE,
) -> Relatives:  # fmt: skip
    """Count pairs of the tested people with a kinship above the threshold (0.177: first degree or closer).

    Parameters
    ----------
    pairs: schema KINSHIP in the store's numbering; None computes KING-robust from the genotypes.
    """
    n_variants: int | None = None
    if pairs is None:
        rows = np.flatnonzero(autosomal_biallelic(store))
        if len(rows) > MAX_VARIANTS:
            rows = rows[np.linspace(0, len(rows) - 1, MAX_VARIANTS).round().astype(np.int64)]
        n_variants = len(rows)
        if n_variants < MIN_VARIANTS:
            return Relatives(None, None, n_variants)
        pairs = kinship_pairs(store, variants=rows, samples=samples, minimum=threshold)
    known = KINSHIP.validate(pairs)
    place: npt.NDArray[Any] = np.full(store.n_samples, -1, dtype=np.int64)
    place[samples] = np.arange(len(samples))
    local = known.with_columns(
        pl.Series("sample_a", place[known["sample_a"].to_numpy()]),
        pl.Series("sample_b", place[known["sample_b"].to_numpy()]),
    ).filter((pl.col("sample_a") >= 0) & (pl.col("sample_b") >= 0) & (pl.col("kinship") > threshold))
    left = int(unrelated(len(samples), local, threshold).sum())
    return Relatives(local.height, left, n_variants)


def refuse_relatives(found: Relatives, n_tested: int) -> None:
    """Raise a :class:`LabelError` when there are related pairs: their p values would be too small."""
    if found.pairs:
        raise LabelError(
            f"{found.pairs} pairs of the {n_tested} tested samples are related (kinship above {FIRST_DEGREE})",
            hint=f"--offset with leave-one-chromosome-out predictions (regenie, or a table); --keep with one of each "
            f"pair ({found.unrelated} samples remain); or --allow-related if the covariates carry the kinship",
        )
