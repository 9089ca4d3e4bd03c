"""What a feature family is, and how families become a FeatureMatrix whose folds learned from training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import polars as pl

from genomix.device import Device
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.io.plink import GenotypeStore

Options = Mapping[str, Any]
Learned = dict[str, Any]
"""What was learned, as JSON-able values only: it travels in the model bundle."""


@dataclass(frozen=True)
class FeatureInputs:
    """What a family may read.

    Parameters
    ----------
    index: columns row, subject_id, prediction_time (and kin_group, source_row); never the label.
    events: the subjects' events (schema EVENTS), or None without records.
    genotypes: the genotype store, or None without genotypes.
    sample_of_row: for each row the 0-based sample in the store, -1 where the subject has none; None without genotypes.
    variant_keep: 0-based variants that passed quality control; None without genotypes.
    table: a table (subject_id, in a table study also source_row, + columns of numbers or text), or None.
    unrelated: for each row, True when it may be used to learn genetic structure (one per kin group).
    training_target: labels, NaN on every row but a fold's training rows; only ``fit`` is ever given it.
    """

    index: pl.DataFrame
    device: Device
    events: pl.DataFrame | None = None
    genotypes: GenotypeStore | None = None
    sample_of_row: RowArray | None = None
    variant_keep: RowArray | None = None
    table: pl.DataFrame | None = None
    unrelated: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    training_target: np.ndarray[Any, np.dtype[np.float64]] | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.index.height


def fitting_inputs(inputs: FeatureInputs, labels: pl.Series, rows: RowArray) -> FeatureInputs:
    """Return what ``fit`` may read: the inputs, and the labels of ``rows`` alone, for families that select by them."""
    target = np.full(inputs.n_rows, np.nan)
    target[rows] = labels.cast(pl.Float64).to_numpy()[rows]
    return replace(inputs, training_target=target)


class FeatureFamily(Protocol):
    """A family: ``compute`` is row-local; ``fit`` learns from the named rows only; ``apply`` uses what was learned.

    ``learns`` is False for a family whose ``compute`` is all there is: its ``fit`` returns ``{}`` and its ``apply``
    returns the computed block.
    """

    name: str
    rung: str
    learns: bool
    needs: frozenset[str]

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Return values that depend on the row alone; one row per row of ``inputs.index``, in its order."""
        ...

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn from ``rows`` (training rows of one fold) and nothing else."""
        ...

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return the fold's values for every row, given what was learned."""
        ...
