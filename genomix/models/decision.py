"""What a threshold does: who is flagged, and the net benefit (Vickers and Elkin 2006, doi:10.1177/0272989X06295361)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.models.bootstrap import Statistic, bootstrap, percentile_interval
from genomix.models.curves import curves_frame
from genomix.models.evaluate import Rows
from genomix.models.metrics import pick
from genomix.models.model import Float64Array
from genomix.privacy import SMALL_CELL, is_small
from genomix.schemas.results import THRESHOLDS


class Counts(NamedTuple):
    """Weighted rows at or above each threshold: (resamples, thresholds), the totals (resamples, 1)."""

    true_positive: Float64Array
    false_positive: Float64Array
    events: Float64Array
    non_events: Float64Array


def default_thresholds(prevalence: float) -> list[float]:
    """Return 24 thresholds up to four times the prevalence: where a decision about a rare outcome is made.

    >>> default_thresholds(0.1)[0], default_thresholds(0.1)[-1]
    (0.0167, 0.4)
    """
    top = min(0.96, max(0.04, 4 * prevalence))
    return [round(float(t), 4) for t in np.linspace(top / 24, top, 24)]


def net_benefit(counts: Counts, thresholds: Float64Array) -> Float64Array:
    """Return TP/n - FP/n × t/(1 - t), (resamples, thresholds)."""
    n = counts.events + counts.non_events
    return np.asarray(counts.true_positive / n - counts.false_positive / n * (thresholds / (1 - thresholds)))


def net_benefit_treat_all(prevalence: float, thresholds: Float64Array) -> Float64Array:
    """Return the net benefit of flagging everyone, (thresholds,); of flagging no one it is 0."""
    return np.asarray(prevalence - (1 - prevalence) * thresholds / (1 - thresholds))


def threshold_table(
    rows: Rows, thresholds: Sequence[float], *, target: str, model: str, seed: int,
    n_resamples: int = 2000, small_cell: int = SMALL_CELL,
) -> pl.DataFrame:  # fmt: skip
    """Return THRESHOLDS: who is flagged at each threshold, how well, and the net benefit, with 95 % intervals.

    ``n_flagged`` counts rows. Where 1 to ``small_cell - 1`` units are flagged, or not flagged, the figures are null.
    Net benefit weighs one false alarm as t/(1-t) events missed: it judges a threshold, not whether acting helps.
    """
    t = _checked(thresholds)
    statistic = _statistic(rows, t)
    drawn = bootstrap([statistic], n_units=rows.n_drawn, n_rows=rows.y.size, n_resamples=n_resamples, seed=seed)[0]
    ppv, nb = (drawn[:, i * t.size : (i + 1) * t.size] for i in (0, 1))
    point = _counts(rows, t, np.ones((1, rows.y.size)) * rows.weight)
    records = [_record(rows, point, t, j, ppv[:, j], nb[:, j], small_cell) for j in range(t.size)]
    frame = pl.DataFrame(
        [{"target": target, "model": model, **r} for r in records],
        schema={c.name: c.dtype for c in THRESHOLDS.columns},
    )
    return THRESHOLDS.validate(frame)


def decision_curve(table: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """Return CURVES named ``decision`` from the THRESHOLDS of ``rows``, with the model ``treat_all`` beside it.

    x is the threshold, y the net benefit; points that the small-cell rule holds back are left out.
    """
    shown = table.filter(pl.col("net_benefit").is_not_null()).sort("threshold")
    target, model = table["target"][0], table["model"][0]
    own = {"x": shown["threshold"], "y": shown["net_benefit"], "low": shown["net_benefit_low"],
           "high": shown["net_benefit_high"], "n": shown["n_flagged"]}  # fmt: skip
    everyone = {"x": shown["threshold"], "y": shown["net_benefit_treat_all"], "n": [rows.n_people] * shown.height}
    return pl.concat([
        curves_frame(target, model, "decision", own), curves_frame(target, "treat_all", "decision", everyone)
    ])  # fmt: skip


def _checked(thresholds: Sequence[float]) -> Float64Array:
    t = np.array(sorted(set(thresholds)), dtype=np.float64)
    if not t.size or not ((t > 0) & (t < 1)).all():
        raise ConfigError("a decision threshold lies between 0 and 1", hint="thresholds such as 0.1")
    return t


def _counts(rows: Rows, t: Float64Array, weights: Float64Array) -> Counts:
    flagged = (rows.p[:, None] >= t).astype(np.float64)
    events, non_events = weights * rows.y, weights * (1 - rows.y)
    totals = (events.sum(axis=1, keepdims=True), non_events.sum(axis=1, keepdims=True))
    return Counts(events @ flagged, non_events @ flagged, *totals)


def _statistic(rows: Rows, t: Float64Array) -> Statistic:
    """Return positive predictive values, then net benefits, as a function of draws."""

    def statistic(drawn: Float64Array) -> Float64Array:
        counts = _counts(rows, t, pick(drawn, rows.code) * rows.weight)
        with np.errstate(invalid="ignore", divide="ignore"):
            ppv = counts.true_positive / (counts.true_positive + counts.false_positive)
            return np.hstack([ppv, net_benefit(counts, t)])

    return statistic


def _record(
    rows: Rows, point: Counts, t: Float64Array, j: int, ppv: Float64Array, nb: Float64Array, small_cell: int
) -> dict[str, object]:
    flagged = rows.p >= t[j]
    sides = [int(np.unique(rows.person[chosen]).size) for chosen in (flagged, ~flagged)]
    tp, fp = float(point.true_positive[0, j]), float(point.false_positive[0, j])
    events, non_events = float(point.events[0, 0]), float(point.non_events[0, 0])
    figures: dict[str, float | None] = {
        "sensitivity": _share(tp, events), "specificity": _share(non_events - fp, non_events),
        "ppv": _share(tp, tp + fp), "ppv_low": None, "ppv_high": None,
        "npv": _share(non_events - fp, events + non_events - tp - fp),
        "net_benefit": float(net_benefit(point, t)[0, j]),
    }  # fmt: skip
    if figures["ppv"] is not None:
        figures["ppv_low"], figures["ppv_high"], _ = percentile_interval(ppv)
    figures["net_benefit_low"], figures["net_benefit_high"], _ = percentile_interval(nb)
    if any(is_small(n, small_cell) for n in sides):
        figures = dict.fromkeys(figures)
    prevalence = events / (events + non_events)
    treat_all = float(net_benefit_treat_all(prevalence, t)[j])
    return {"threshold": float(t[j]), "n_flagged": int(flagged.sum()), **figures, "net_benefit_treat_all": treat_all}


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
