"""Inverse-probability-of-censoring weights: the outcome at a fixed horizon from records that end at different times.

Rows that are censored before the horizon have no outcome there. Leaving them out favours early events; the weights let
rows that were followed stand for them. Graf et al. 1999,
https://doi.org/10.1002/(sici)1097-0258(19990915/30)18:17/18<2529::aid-sim274>3.0.co;2-5; Gerds and Schumacher 2006,
https://doi.org/10.1002/bimj.200610301.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.ehr.durations import MICROSECONDS_PER_DAY
from genomix.errors import ConfigError, LabelError
from genomix.schemas.people import LABELS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CensoringCurve:
    """Kaplan-Meier estimate of G, the probability of not being censored; ``after[i]`` holds from ``times[i]`` on."""

    times: Integers
    after: Floats

    def before(self, time: Integers) -> Floats:
        """Return G(t-), the probability of no censoring before each time."""
        return np.asarray(np.append(1.0, self.after)[np.searchsorted(self.times, time, side="left")])


def censoring_curve(time: Integers, censored: Mask, weight: Floats | None = None) -> CensoringCurve:
    """Fit G; where events and censorings share a time, the events come first and are not at risk of censoring."""
    weight = np.ones(len(time)) if weight is None else weight
    times, at = np.unique(time, return_inverse=True)
    leaving, staying = (np.bincount(at[m], weight[m], minlength=len(times)) for m in (censored, ~censored))
    later = np.cumsum((leaving + staying)[::-1])[::-1] - leaving - staying
    at_risk = later + leaving
    share = np.divide(leaving, at_risk, out=np.zeros(len(times)), where=leaving > 0)
    share[(leaving > 0) & (later <= 0)] = 1.0
    found = leaving > 0
    return CensoringCurve(times[found], np.cumprod(1 - share[found]))


def ipcw(
    labels: pl.DataFrame, horizon_days: float, fit_rows: npt.NDArray[np.integer], *, strata: str | None = None
) -> pl.DataFrame:
    """Return the labels as they are at the horizon, weighted by the inverse probability of being known there.

    Parameters
    ----------
    labels: schema LABELS with values 0, 1 or null and every ``time_days`` known; plus the column ``strata`` if named.
    horizon_days: how long after the prediction the outcome is asked for.
    fit_rows: rows of ``labels`` that G is estimated from; give the training rows only.
    strata: column within whose values G is estimated.

    Returns
    -------
    The same rows. Censored before the horizon: weight 0, value null. Event at t up to the horizon: value 1. Competing
    event at t up to the horizon: value 0. Both are weighted 1/G(t-). All others are free of the event at the horizon:
    value 0, weight 1/G(horizon-). What happens after the horizon is cut off, and a weight that is there multiplies.

    G is taken just before the horizon, as a row censored at the very horizon is known there; this differs from Graf's
    1/G(horizon), which drops such rows, only when rows are censored at exactly that time.

    The weights are right when, within a stratum, the time of censoring is independent of the outcome and of what the
    model may see. Where sicker people leave (or stay in) the record, they are not.

    Raises
    ------
    ConfigError: an impossible horizon or no column ``strata``. LabelError: other values, unknown times, rows without
    the outcome whose window ends before the horizon, or rows that no fitted row stands for.
    """
    if not 0 < horizon_days < np.inf:
        raise ConfigError(f"the horizon is {horizon_days:g} days", hint="a number above 0")
    if strata is not None and strata not in labels.columns:
        raise ConfigError(f"no column {strata!r} for strata", hint="the labels have: " + ", ".join(labels.columns))
    extra = [strata] if strata is not None and strata not in LABELS.names else []
    valid = LABELS.validate(labels.drop(extra))
    _check_values(valid)
    horizon = np.int64(round(horizon_days * MICROSECONDS_PER_DAY))
    time = np.rint(valid["time_days"].to_numpy() * MICROSECONDS_PER_DAY).astype(np.int64)
    weight = valid["weight"].to_numpy().astype(np.float64)
    censored = (valid["status"] == "censored").to_numpy()
    competing = (valid["status"] == "competing").to_numpy()
    event = (valid["value"] == 1).fill_null(False).to_numpy() & ~censored & ~competing
    short = ~censored & ~competing & ~event & (time < horizon)
    if short.any():
        raise LabelError(
            f"{int(short.sum())} rows have no outcome and end before {horizon_days:g} days without being censored",
            hint="a horizon within the outcome window, censoring: censored, and what ends the window as competing",
        )
    lost = censored & (time < horizon)
    until = np.minimum(time, horizon)
    groups = labels[strata] if strata is not None else pl.repeat(0, len(time), eager=True)
    known = _known_probability(until, censored, lost, time, weight, groups, np.asarray(fit_rows))
    rival = competing & (time <= horizon)
    happened = np.where(event & (time <= horizon), 1.0, 0.0)
    status = np.where(lost, "censored", np.where(rival, "competing", "observed"))
    return labels.with_columns(
        pl.Series("value", [None if gone else v for gone, v in zip(lost, happened, strict=True)], dtype=pl.Float64),
        pl.Series("status", status.tolist(), dtype=pl.String),
        pl.Series("time_days", np.where(time >= horizon, horizon_days, valid["time_days"].to_numpy())),
        pl.Series("weight", np.where(lost, 0.0, weight / np.where(lost, 1.0, known))),
    )


def _check_values(labels: pl.DataFrame) -> None:
    values = labels.filter(pl.col("status") != "censored")["value"]
    if values.null_count() or not values.is_in([0.0, 1.0]).all():
        raise LabelError("weights for censoring need outcomes that are 0 or 1 where the row is not censored")
    unknown = labels.filter(pl.col("time_days").is_null() | ~pl.col("time_days").is_finite()).height
    if unknown:
        raise LabelError(f"{unknown} rows have no time_days, so it is not known how long they were followed")
    weights = labels["weight"]
    if labels.height and not ((weights >= 0) & weights.is_finite()).all():
        raise LabelError("a row's weight is negative or not a number")
    if others := set(labels["status"].unique()) - {"observed", "censored", "competing"}:
        raise LabelError(f"unknown status {min(others)!r}", hint="observed, censored or competing")


def _known_probability(
    until: Integers, censored: Mask, lost: Mask, time: Integers, weight: Floats, groups: pl.Series, fit_rows: Integers
) -> Floats:
    """Return G just before ``until`` in each row's stratum."""
    known = np.ones(len(time))
    for group in groups.unique(maintain_order=True):
        inside = (groups.is_null() if group is None else (groups == group).fill_null(False)).to_numpy()
        train = fit_rows[inside[fit_rows]]
        if not len(train):
            raise LabelError(f"no row to fit on in the stratum {group!r}", hint="fewer strata")
        curve = censoring_curve(time[train], censored[train], weight[train])
        known[inside] = curve.before(until[inside])
        if (inside & ~lost & (known <= 0)).any():
            longest = time[train].max() / MICROSECONDS_PER_DAY
            raise LabelError(
                f"fitted rows are followed for {longest:g} days at most, and others for longer",
                hint="a shorter horizon",
            )
    return known
