"""Dosages of records with several ALTs, one row an ALT: what a reader hands to the splitting of such records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AltDosages:
    """The dosages of some of a block's records.

    Parameters
    ----------
    rows: int64 (n,) places of these records among the block's general records, ascending.
    counts: int64 (n,) ALTs of each.
    values: float32 (sum of counts, n_samples) copies of each ALT, record by record, NaN where there is none.
    """

    rows: IntArray
    counts: IntArray
    values: npt.NDArray[np.float32]

    def select(self, kept: npt.NDArray[np.bool_]) -> AltDosages:
        """Return what is left when of the block's general records those stay where ``kept`` is True."""
        mine = kept[self.rows]
        return AltDosages(
            (np.cumsum(kept) - 1)[self.rows[mine]], self.counts[mine], self.values[np.repeat(mine, self.counts)]
        )

    def select_samples(self, samples: IntArray) -> AltDosages:
        """Return the dosages of some samples, in the given order."""
        return AltDosages(self.rows, self.counts, np.ascontiguousarray(self.values[:, samples]))

    def placed(self, rows: IntArray) -> AltDosages:
        """Return the same with the i-th general record of the block at ``rows[i]`` of another."""
        return AltDosages(rows[self.rows], self.counts, self.values)


def joined_dosages(parts: Sequence[AltDosages | None], lengths: Sequence[int]) -> AltDosages | None:
    """Return the dosages of consecutive blocks as one; ``lengths`` are the blocks' numbers of general records."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    held = [(part, start) for part, start in zip(parts, starts.tolist(), strict=False) if part is not None]
    if not held:
        return None
    return AltDosages(
        np.concatenate([part.rows + start for part, start in held]),
        np.concatenate([part.counts for part, _ in held]),
        np.concatenate([part.values for part, _ in held]),
    )
