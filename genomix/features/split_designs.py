"""Splits that ask how a model travels: to later times, and to places that it never saw.

A random split says how well a model does on more people of the same kind. Later people and other sites are harder, and
closer to what the model is for (Steyerberg and Harrell 2016, doi:10.1016/j.jclinepi.2015.04.005; Debray et al. 2015,
doi:10.1016/j.jclinepi.2014.06.018). Both designs keep units whole (:mod:`genomix.features.split`): rows of a unit that
would stand on the other side of its boundary are ``unused``, never moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import LabelError
from genomix.features.matrix import RowArray
from genomix.features.split import assign_parts

MAX_SITES = 50

_TRAIN, _TUNING, _HELD_OUT, _UNUSED = "train", "tuning", "held_out", "unused"


class TimeSplit(NamedTuple):
    """Role of every row, and the first moment (in the unit of the times) of the tuning and of the held-out rows."""

    roles: list[str]
    tuning_from: float
    held_out_from: float


def roles_by_time(units: RowArray, times: npt.NDArray[np.float64], *, held_out: float, tuning: float) -> TimeSplit:
    """Hold out the latest rows; tune on those just before; train on the rest.

    A unit with a row at or after a boundary stands on that side of it with its rows from there on; its earlier rows are
    unused, so that no unit is in two parts and every held-out row is later than every training row.

    Parameters
    ----------
    units: int64 (n_rows,), what is never divided. times: float64 (n_rows,), any unit. held_out, tuning: shares of rows.

    Raises
    ------
    LabelError: a row without a time, or times with which a part stays empty.

    >>> roles_by_time(np.array([0, 1, 2, 1]), np.array([1.0, 2.0, 3.0, 4.0]), held_out=0.25, tuning=0.25).roles
    ['train', 'unused', 'tuning', 'held_out']
    """
    if not np.isfinite(times).all():
        raise LabelError(
            f"{int((~np.isfinite(times)).sum()):,} of {len(times):,} rows have no time to split by",
            hint="another design of [split], or a column that is known in every row",
        )
    ordered = np.sort(times)
    n = len(times)
    late_at = ordered[min(n - 1, round(n * (1 - held_out)))]
    middle_at = ordered[min(n - 1, round(n * (1 - held_out - tuning)))]
    _, index = np.unique(units, return_inverse=True)
    last = np.full(index.max() + 1, -np.inf)
    np.maximum.at(last, index, times)
    latest = last[index]
    roles = np.full(n, _TRAIN, dtype=object)
    for boundary, above, role in ((middle_at, late_at, _TUNING), (late_at, np.inf, _HELD_OUT)):
        belongs = (latest >= boundary) & (latest < above)
        roles[belongs] = np.where(times[belongs] >= boundary, role, _UNUSED)
    for role in (_TRAIN, _TUNING, _HELD_OUT):
        if not (roles == role).any():
            raise LabelError(
                f"no row is left for {role.replace('_', ' ')} when the latest are held out",
                hint="other shares of [split], or times with more different values",
            )
    return TimeSplit([str(r) for r in roles], float(middle_at), float(late_at))


def roles_by_site(
    units: RowArray, sites: Sequence[str | None], strata: RowArray, *, tuning: float, seed: int
) -> dict[str, list[str]]:
    """Hold out one site after the other: a column of roles (``fold_0``, ...) per site, in the sites' order by name.

    Parameters
    ----------
    units: int64 (n_rows,), what is never divided: a unit with rows at a held-out site has no other row in that fold.
    sites: the site of each row; a row without one is never held out. strata: balanced between training and tuning.
    tuning: share of the rows of the other sites.

    Raises
    ------
    LabelError: fewer than two sites, or more than ``MAX_SITES``.
    """
    names = sorted({s for s in sites if s is not None})
    if not 2 <= len(names) <= MAX_SITES:
        raise LabelError(
            f"{len(names)} different sites: a split by site needs 2 to {MAX_SITES}",
            hint="a column that groups sites, or another design of [split]",
        )
    site = np.array([-1 if s is None else names.index(s) for s in sites], dtype=np.int64)
    roles: dict[str, list[str]] = {}
    for fold in range(len(names)):
        there = site == fold
        others = ~there & ~np.isin(units, units[there])
        if not others.any():
            raise LabelError(
                f"every person of the other sites has rows at site no. {fold + 1} of {len(names)} (by name) too",
                hint="another design of [split]",
            )
        column = np.full(len(units), _UNUSED, dtype=object)
        column[there] = _HELD_OUT
        parts = assign_parts(units[others], strata[others], shares=(1 - tuning, tuning), seed=seed)
        column[others] = np.where(parts == 0, _TRAIN, _TUNING)
        roles[f"fold_{fold}"] = [str(r) for r in column]
    return roles


def check_largest_unit(units: RowArray, shares: tuple[float, ...]) -> None:
    """Refuse a unit that outgrows every part: no part then has the share that was asked for.

    Raises
    ------
    LabelError: when the largest unit has more rows than 1.5 times the largest part should have.
    """
    sizes = np.unique(units, return_counts=True)[1]
    largest, limit = int(sizes.max()), 1.5 * max(shares) * len(units)
    if largest > limit:
        raise LabelError(
            f"the largest group that is kept together has {largest:,} of {len(units):,} rows, more than any part "
            "of the split can hold",
            hint='keep_together = "kinship_clusters" or "families" in [split], or a higher kinship threshold',
        )
