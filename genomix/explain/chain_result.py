"""What a chain is: a value, the sources behind it, and the value computed again from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import IntegrityError


@dataclass(frozen=True)
class Chain:
    """The sources behind one value of one person.

    Parameters
    ----------
    feature, sentence, unit: of the column.
    kind: ``records``, ``variants``, ``table`` or ``none`` (nothing can be listed; ``note`` says why).
    value: as the model saw it; None where it is missing or withheld.
    recomputed: from the sources, before anything was withheld; None where it is missing or withheld, or nothing can be
        computed again. ``checked`` says whether it was computed and equals the value.
    sources: schema RECORD_SOURCES or VARIANT_SOURCES, None for the other kinds.
    n_sources: sources in all; ``withheld`` of them are not listed.
    note: what else must be known to read it.
    """

    feature: str
    sentence: str
    unit: str | None
    kind: str
    value: float | None
    recomputed: float | None
    checked: bool
    sources: pl.DataFrame | None
    n_sources: int = 0
    withheld: int = 0
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        listed = [] if self.sources is None else self.sources.to_dicts()
        return {**{k: v for k, v in vars(self).items() if k != "sources"}, "sources": listed}


def number(value: float) -> float | None:
    """Return the value, None for NaN."""
    return None if np.isnan(value) else float(value)


def require_equal(name: str, value: float, again: float, *, relative: float = 1e-5, scale: float = 0.0) -> None:
    """Raise an IntegrityError unless the value computed from its sources is the column's, or both are missing.

    ``scale``: size of what was added up, for sums that cancel.
    """
    if np.isnan(value) and np.isnan(again):
        return
    if not abs(value - again) <= relative * max(abs(value), abs(again), scale) + 1e-9:
        raise IntegrityError(
            f"{name}: its sources give {again:.7g}, the column holds {value:.7g}",
            hint="the records, genotypes or options are not those that the features were made from",
        )
