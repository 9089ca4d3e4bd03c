"""The variance of AUROCs and of their difference on the same people, in closed form (DeLong et al. 1988).

With ``psi(x, z)`` 1, 1/2 or 0 as an event's prediction x is above, tied with or below a non-event's z, an event's
placement is its mean psi over all non-events, and a non-event's its mean over all events. The AUROC is the mean of
either; its variance is var(placements of events) / events + var(placements of non-events) / non-events, and covariances
of two models follow alike (doi:10.2307/2531595). Placements come from midranks, by sorting (Sun and Xu 2014,
doi:10.1109/LSP.2014.2337313), never from all pairs.

The formula takes rows for independent. Where a person or a group of relatives has several rows it says that far more is
known than is, so it refuses them; :func:`auroc_difference` then resamples groups. It compares two models that were
fixed before: for models of which one holds the other's columns, tested on their own training rows, it is not valid
(Demler et al. 2012, doi:10.1002/sim.5328).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from genomix.errors import ConfigError, LabelError
from genomix.models.bootstrap import bootstrap, once
from genomix.models.evaluate import MIN_EVENTS, Rows, statistic_of, summarise
from genomix.models.model import Float64Array

_ROUNDING = 1e-14
"""A variance up to this is rounding: the two models order people alike."""


class Aurocs(NamedTuple):
    """``auroc`` (models,) and the ``covariance`` (models, models) of the estimates."""

    auroc: Float64Array
    covariance: Float64Array


class Difference(NamedTuple):
    """The first AUROC minus the second, on the same rows, with its interval.

    ``standard_error``, ``z`` and ``p_value`` (two-sided) are None where groups were resampled; with DeLong's formula
    they and the interval are None where the models order people alike, so that nothing varies. ``note`` says so.
    """

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    standard_error: float | None
    z: float | None
    p_value: float | None
    method: Literal["delong", "group bootstrap"]
    note: str


def delong(y: Float64Array, predictions: Float64Array) -> Aurocs:
    """Return the AUROCs of several models on the same independent rows, and their covariance.

    Parameters
    ----------
    y: (rows,) 0/1. predictions: (models, rows), finite; only their order matters.

    Raises
    ------
    LabelError: another label than 0 and 1, or fewer than two rows of a class. ConfigError: shapes that do not fit, or a
        prediction that is no number.
    """
    scores = np.atleast_2d(np.asarray(predictions, dtype=np.float64))
    if y.ndim != 1 or scores.ndim != 2 or scores.shape[1] != y.size:
        raise ConfigError(f"predictions {scores.shape} do not fit {y.size:,} labels", hint="(models, rows)")
    if not np.isfinite(scores).all():
        raise ConfigError("a prediction is missing or infinite", hint="leave these rows out of every model")
    if not np.isin(y, (0.0, 1.0)).all():
        raise LabelError("an AUROC needs labels 0 and 1")
    events, non_events = placements(scores[:, y == 1], scores[:, y == 0])
    n_events, n_non_events = events.shape[1], non_events.shape[1]
    return Aurocs(events.mean(axis=1), _covariance(events) / n_events + _covariance(non_events) / n_non_events)


def placements(events: Float64Array, non_events: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return each event's mean psi over the non-events and each non-event's over the events, from midranks.

    Parameters
    ----------
    events: (models, events) predictions. non_events: (models, non-events).

    Raises
    ------
    LabelError: fewer than two of either.
    """
    from scipy.stats import rankdata

    m, n = events.shape[1], non_events.shape[1]
    if min(m, n) < 2:
        raise LabelError(f"{m:,} events and {n:,} non-events allow no variance", hint="two or more of each")
    among_all = rankdata(np.hstack([events, non_events]), axis=1)
    of_events = (among_all[:, :m] - rankdata(events, axis=1)) / n
    of_non_events = 1.0 - (among_all[:, m:] - rankdata(non_events, axis=1)) / m
    return of_events, of_non_events


def _covariance(values: Float64Array) -> Float64Array:
    return np.atleast_2d(np.cov(values))


def delong_test(first: Rows, second: Rows, *, level: float = 0.95) -> Difference:
    """Return the difference of two AUROCs with DeLong's interval and two-sided test.

    Parameters
    ----------
    first, second: the same rows under two models. level: of the interval.

    Raises
    ------
    ConfigError: other rows or labels, several folds (their predictions have no common scale), or weights.
    LabelError: a person or a group of relatives with several rows, or fewer than 11 rows of a class.
    """
    from scipy.stats import norm

    _check_pair(first, second, level)
    if np.unique(first.fold).size > 1:
        raise ConfigError("DeLong's test needs one scale, these rows are of several folds", hint="auroc_difference")
    if not (first.weight == 1.0).all():
        raise ConfigError("DeLong's test knows no weights", hint="auroc_difference")
    for of_row, what in ((first.person, "person"), (first.code, "group of relatives")):
        if (n := int((np.bincount(np.unique(of_row, return_inverse=True)[1].reshape(-1)) > 1).sum())) > 0:
            raise LabelError(
                f"{n:,} times a {what} has several rows: DeLong's test takes rows for independent",
                hint="auroc_difference, which resamples groups",
            )
    found = delong(first.y, np.vstack([first.p, second.p]))
    a, b = found.auroc.tolist()
    (saa, sab), (_, sbb) = found.covariance.tolist()
    variance = saa + sbb - 2 * sab
    if variance <= _ROUNDING:
        note = "not estimable: the models order people alike, nothing varies"
        return Difference(a, b, a - b, None, None, None, None, None, "delong", note)
    error = float(np.sqrt(variance))
    z = (a - b) / error
    wide = float(norm.ppf(0.5 + level / 2)) * error
    return Difference(a, b, a - b, a - b - wide, a - b + wide, error, z, float(2 * norm.sf(abs(z))), "delong", "")


def auroc_difference(first: Rows, second: Rows, *, seed: int, n_resamples: int = 2000) -> Difference:
    """Return the difference of two AUROCs with a 95 % interval: DeLong's where it holds, else by resampling groups.

    Groups are resampled where a person or a group of relatives has several rows, with several folds and with weights;
    both models see the same draws. Then there is an interval and no p-value.

    Raises
    ------
    ConfigError: other rows or labels. LabelError: fewer than 11 rows of a class.
    """
    _check_pair(first, second, 0.95)
    one_scale = np.unique(first.fold).size == 1 and bool((first.weight == 1.0).all())
    if one_scale and first.n_people == first.n_units == first.y.size:
        return delong_test(first, second)
    statistics = [statistic_of(rows, ["auroc"]) for rows in (first, second)]
    n = first.n_drawn
    drawn = bootstrap(statistics, n_units=n, n_rows=first.y.size, n_resamples=n_resamples, seed=seed)
    a, b = (float(once(s, n)[0]) for s in statistics)
    found = summarise(a - b, drawn[0][:, 0] - drawn[1][:, 0])
    return Difference(a, b, a - b, found.low, found.high, None, None, None, "group bootstrap", found.note)


def _check_pair(first: Rows, second: Rows, level: float) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"an interval's level lies between 0 and 1, not {level}", hint="0.95")
    if not all(
        np.array_equal(getattr(first, k), getattr(second, k)) for k in ("row", "fold", "y", "code", "person", "weight")
    ):
        raise ConfigError("the two models were not predicted on the same rows, folds and labels")
    fewest = min(first.n_events, first.y.size - first.n_events)
    if fewest < MIN_EVENTS:
        raise LabelError(
            f"{fewest} rows of the rarer class are too few to compare two models ({MIN_EVENTS})", hint="more rows"
        )
