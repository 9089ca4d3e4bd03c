"""Bootstrap over units (kin groups or subjects), never over rows (doi:10.1201/9780429246593, chapter 8).

A statistic here is a function of how often each unit was drawn: it takes draws, float64 (resamples, units), and returns
float64 (resamples, values), NaN where a resample has no value. Every statistic of one call sees the same draws, so
differences between models and groups are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from genomix.models.model import Float64Array

Statistic = Callable[[Float64Array], Float64Array]
_CELLS_PER_CHUNK = 1 << 19
"""Draws of one chunk: 4 MiB of float64 stay near the processor."""


class Units(NamedTuple):
    """``code`` (rows,) is the 0-based unit of each row; ``n_units`` how many there are."""

    code: npt.NDArray[np.int64]
    n_units: int


class Interval(NamedTuple):
    """Percentile interval, and the share of resamples that had a value."""

    low: float
    high: float
    usable_share: float


def number_units(groups: npt.ArrayLike) -> Units:
    """Return the unit of each row, numbered by sorted label.

    >>> number_units([7, 3, 7]).code.tolist()
    [1, 0, 1]
    """
    labels, code = np.unique(np.asarray(groups), return_inverse=True)
    return Units(code.reshape(-1).astype(np.int64), int(labels.size))


def unit_draws(n_units: int, n_resamples: int, seed: int, *, chunk: int = 64) -> Iterator[Float64Array]:
    """Yield how often each unit was drawn: float64 (up to ``chunk``, n_units); every row sums to ``n_units``.

    The draws depend on ``seed``, ``n_units`` and the resample's number only, not on ``chunk``.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        drawn = np.empty((size, n_units))
        for b in range(size):
            drawn[b] = np.bincount(rng.integers(0, n_units, n_units), minlength=n_units)
        yield drawn


def bootstrap(
    statistics: Sequence[Statistic], *, n_units: int, n_rows: int, n_resamples: int, seed: int
) -> list[Float64Array]:
    """Return, for each statistic, its values over the same ``n_resamples`` draws: float64 (resamples, values).

    ``n_rows`` is the largest number of rows that a statistic spreads the draws over; it sets the chunk's size only.
    """
    chunk = int(np.clip(_CELLS_PER_CHUNK // max(n_rows, n_units, 1), 1, 512))
    parts: list[list[Float64Array]] = [[] for _ in statistics]
    with threadpool_limits(1, user_api="blas"):
        for drawn in unit_draws(n_units, n_resamples, seed, chunk=chunk):
            for part, statistic in zip(parts, statistics, strict=True):
                part.append(statistic(drawn))
    return [np.concatenate(part) for part in parts]


def once(statistic: Statistic, n_units: int) -> Float64Array:
    """Return the statistic's values on the people as they are: every unit counted once."""
    with threadpool_limits(1, user_api="blas"):
        return np.asarray(statistic(np.ones((1, n_units)))[0])


def percentile_interval(values: Float64Array, *, level: float = 0.95) -> Interval:
    """Return the percentile interval of one statistic's resamples (resamples,); resamples without a value are left out.

    >>> percentile_interval(np.arange(101.0), level=0.5)
    Interval(low=25.0, high=75.0, usable_share=1.0)
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Interval(float("nan"), float("nan"), 0.0)
    tail = (1 - level) / 2
    low, high = np.quantile(finite, (tail, 1 - tail))
    return Interval(float(low), float(high), finite.size / values.size)
