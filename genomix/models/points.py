"""A clinical score of a few columns: bands, whole points, and what a total means.

What a bedside score looks like, and what a larger model must beat to be worth its cost (Sullivan et al. 2004,
doi:10.1002/sim.1742): each column is cut into bands at quantiles of the training rows, each band has a whole number of
points, and a straight line on the scale of log-odds (or of the quantity) turns the total into a prediction. Columns are
those that the lasso takes up first; how many is chosen on the tuning part. A missing value has points of its own where
it was missing in 5 % of the training rows or more, else those of the average person.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from genomix.device import Device
from genomix.errors import ConfigError
from genomix.models.model import (
    Contributions,
    Fitted,
    Float32Array,
    Float64Array,
    Objective,
    Options,
    Part,
    check_matrix,
    check_part,
    mean_loss,
    merge_options,
    sigmoid,
)
from genomix.models.penalised import fit_path, largest_useful_penalty
from genomix.provenance import canonical_json

DEFAULTS: Mapping[str, Any] = {"n_columns": 5, "n_bands": 4, "most_points": 10, "choose": True}
"""Options of ``points``: the largest number of columns, bands of a column, and points of a band.

``choose``: take as many columns as do best on the tuning part; False takes ``n_columns``.
"""

_CANDIDATES = 20
_SMALLEST_SHARE = 0.05
_RIDGE = 1e-4


@dataclass(frozen=True)
class Bands:
    """One column's bands: ``edges`` are their lower ends, but the first's; ``points`` of each, and of a missing value.

    A band holds its lower end: value v is in band number of edges <= v.
    """

    column: int
    edges: tuple[float, ...]
    points: tuple[int, ...]
    missing: int

    def of(self, values: Float32Array) -> Float64Array:
        """Return the points of each value, (rows,)."""
        found = np.asarray(self.points, dtype=np.float64)[_band(values, self.edges)]
        return np.where(np.isnan(values), float(self.missing), found)


@dataclass(frozen=True)
class FittedPoints:
    """A score; ``mean_points`` are the training rows' mean of each card's points."""

    cards: tuple[Bands, ...]
    intercept: float
    per_point: float
    mean_points: tuple[float, ...]
    n_columns: int
    objective: Objective
    facts: Mapping[str, Any]
    model: str = "points"

    @property
    def n_features(self) -> int:
        """Number of columns that it expects, most of which it does not look at."""
        return self.n_columns

    def total(self, X: Float32Array) -> Float64Array:
        """Return the points of each row, (rows,)."""
        X = check_matrix(X, self.n_columns)
        return np.asarray(sum((card.of(X[:, card.column]) for card in self.cards), np.zeros(len(X))))

    def margin(self, X: Float32Array) -> Float64Array:
        """Return intercept plus points times what a point is worth, (rows,)."""
        return self.intercept + self.per_point * self.total(X)

    def predict(self, X: Float32Array) -> Float64Array:
        """Return probabilities (binary) or quantities (regression), (rows,)."""
        margin = self.margin(X)
        return sigmoid(margin) if self.objective == "binary" else margin

    def contributions(self, X: Float32Array) -> Contributions:
        """Return each column's points less their mean over the training rows, in the margin's unit: exact for a sum."""
        X = check_matrix(X, self.n_columns)
        values = np.zeros(X.shape, dtype=np.float64)
        for card, mean in zip(self.cards, self.mean_points, strict=True):
            values[:, card.column] = self.per_point * (card.of(X[:, card.column]) - mean)
        base = self.intercept + self.per_point * float(sum(self.mean_points))
        return Contributions(values.astype(np.float32), base)

    def to_files(self) -> dict[str, bytes]:
        """Return ``points.json``."""
        cards = [
            {"column": c.column, "edges": list(c.edges), "points": list(c.points), "missing": c.missing}
            for c in self.cards
        ]
        content = {
            "cards": cards, "intercept": self.intercept, "per_point": self.per_point,
            "mean_points": list(self.mean_points), "n_columns": self.n_columns, "objective": self.objective,
            "facts": dict(self.facts),
        }  # fmt: skip
        return {"points.json": canonical_json(content) + b"\n"}


class Points:
    """The registered model ``points``."""

    name = "points"

    def fit(
        self, train: Part, *, tuning: Part | None, objective: Objective, seed: int, device: Device, threads: int = 1,
        options: Options | None = None,
    ) -> FittedPoints:  # fmt: skip
        """Learn bands, columns and points from ``train``; the number of columns is that of the smallest tuning loss.

        Draws nothing at random and runs on one CPU thread: ``seed``, ``device`` and ``threads`` change nothing.

        Raises
        ------
        ConfigError: an unknown option, or no tuning part where the number of columns is to be chosen.
        """
        chosen = merge_options(DEFAULTS, options, self.name)
        if min(chosen["n_columns"], chosen["most_points"]) < 1 or chosen["n_bands"] < 2:
            raise ConfigError("a score needs at least one column, one point and two bands")
        if tuning is None and chosen["choose"]:
            raise ConfigError("model 'points' has no tuning part to choose on", hint='options={"choose": False}')
        train = check_part(train, objective, "training part")
        checked = None if tuning is None else check_part(tuning, objective, "tuning part")
        with threadpool_limits(1, user_api="blas"):
            cuts = _candidates(train, int(chosen["n_bands"]))
            order = _order(train, cuts, objective)[: int(chosen["n_columns"])]
            made = [
                _score(train, order[:k], objective, int(chosen["most_points"])) for k in range(1, len(order) + 1)
            ] or [_score(train, [], objective, int(chosen["most_points"]))]
        if checked is None or not chosen["choose"]:
            return made[-1]
        return made[int(np.argmin([mean_loss(one.margin(checked.X), checked, objective) for one in made]))]

    def from_files(self, files: Mapping[str, bytes]) -> Fitted:
        """Return the model that ``to_files`` saved; the caller has verified the bytes."""
        read = json.loads(files["points.json"])
        cards = tuple(
            Bands(int(c["column"]), tuple(map(float, c["edges"])), tuple(map(int, c["points"])), int(c["missing"]))
            for c in read["cards"]
        )
        return FittedPoints(
            cards, float(read["intercept"]), float(read["per_point"]), tuple(map(float, read["mean_points"])),
            int(read["n_columns"]), read["objective"], read["facts"],
        )  # fmt: skip


class _Cut(NamedTuple):
    """A candidate column: its edges, and its indicator columns (rows, bands - 1, and missing where it has its own)."""

    column: int
    edges: tuple[float, ...]
    own_missing: bool
    design: Float64Array
    strength: float


def _band(values: Float32Array, edges: tuple[float, ...]) -> npt.NDArray[np.int64]:
    """Return the band of each value; that of a missing one is of no use."""
    ends = np.asarray(edges, dtype=np.float64)
    return np.searchsorted(ends, values.astype(np.float64), side="right").astype(np.int64)


def _weights(part: Part) -> Float64Array:
    return np.full(part.y.size, 1.0 / part.y.size) if part.weights is None else part.weights / part.weights.sum()


def _edges(values: Float32Array, w: Float64Array, n_bands: int) -> tuple[float, ...]:
    """Return lower ends of the bands but the first: quantiles, or each of few levels; 5 % of the rows in each band."""
    levels, place = np.unique(values.astype(np.float64), return_inverse=True)
    share = np.bincount(place, weights=w, minlength=len(levels))
    above = np.append(np.cumsum(share[::-1])[::-1], 0.0)  # share at or above each level
    total, edges, below = float(share.sum()), list[float](), float(share.sum())
    wanted = total * (1 - np.arange(1, n_bands) / n_bands)
    few = len(levels) <= n_bands + 2
    places = (
        range(1, len(levels)) if few else np.abs(above[None, : len(levels)] - wanted[:, None]).argmin(axis=1).tolist()
    )
    for at in places:
        if below - above[at] >= _SMALLEST_SHARE and above[at] >= _SMALLEST_SHARE:
            edges.append(float(levels[at]))
            below = float(above[at])
    return tuple(edges)


def _candidates(train: Part, n_bands: int) -> list[_Cut]:
    """Return the columns that alone tell most of the outcome (between-band sum of squares), strongest first."""
    w = _weights(train)
    centred = train.y - float(w @ train.y)
    found: list[_Cut] = []
    for column in range(train.X.shape[1]):
        values = train.X[:, column]
        present = ~np.isnan(values)
        own_missing = bool(_SMALLEST_SHARE <= w[~present].sum() <= 1 - _SMALLEST_SHARE)
        edges = _edges(values[present], w[present], n_bands) if present.any() else ()
        if not edges and not own_missing:
            continue
        band = np.where(present, _band(values, edges), len(edges) + 1)
        sums = np.bincount(band, weights=w * centred, minlength=len(edges) + 2)
        shares = np.bincount(band, weights=w, minlength=len(edges) + 2)
        strength = float((sums**2 / np.where(shares > 0, shares, 1.0)).sum())
        kept = list(range(1, len(edges) + 1 + own_missing))
        design = np.column_stack([(band == b).astype(np.float64) for b in kept])
        found.append(_Cut(column, edges, own_missing, design, strength))
        found = sorted(found, key=lambda c: (-c.strength, c.column))[:_CANDIDATES]
    return found


def _order(train: Part, cuts: list[_Cut], objective: Objective) -> list[_Cut]:
    """Return the candidates in the order in which the lasso takes them up."""
    if not cuts:
        return []
    w = _weights(train)
    design = np.hstack([c.design for c in cuts])
    owner = np.repeat(np.arange(len(cuts)), [c.design.shape[1] for c in cuts])
    centre = w @ design
    Z = (design - centre) / np.sqrt(w @ (design - centre) ** 2)
    top = largest_useful_penalty(Z, train.y, train.weights, 1.0)
    penalties = (top * np.geomspace(1.0, 0.02, 25)).tolist()
    order: list[int] = []
    for found in fit_path(Z, train.y, train.weights, objective=objective, l1_share=1.0, penalties=penalties):
        strength = np.zeros(len(cuts))
        np.maximum.at(strength, owner, np.abs(found.slopes))
        fresh = [i for i in np.argsort(-strength, kind="stable").tolist() if strength[i] > 0 and i not in order]
        order += fresh
    return [cuts[i] for i in order]


def _score(train: Part, cuts: list[_Cut], objective: Objective, most_points: int) -> FittedPoints:
    """Return the score of these columns: effects of bands, rounded to whole points, and what a point is worth."""
    w = _weights(train)
    cards: tuple[Bands, ...] = ()
    if cuts:
        design = np.hstack([c.design for c in cuts])
        (effects,) = fit_path(
            design - w @ design, train.y, train.weights, objective=objective, l1_share=0.0, penalties=[_RIDGE]
        )
        cards = _cards(train, cuts, effects.slopes, w, most_points)
    points = [card.of(train.X[:, card.column]) for card in cards]
    total = np.sum(points, axis=0) if points else np.zeros(train.y.size)
    centre = float(w @ total)
    spread = float(np.sqrt(w @ (total - centre) ** 2)) or 1.0
    (line,) = fit_path(
        ((total - centre) / spread)[:, None], train.y, train.weights, objective=objective, l1_share=0.0,
        penalties=[1e-8],
    )  # fmt: skip
    per_point = float(line.slopes[0]) / spread if points else 0.0
    facts = {"columns": len(cards), "most_points": int(sum(max(*c.points, c.missing) for c in cards))}
    means = tuple(float(w @ p) for p in points)
    return FittedPoints(
        cards, line.intercept - per_point * centre, per_point, means, train.X.shape[1], objective, facts
    )


def _cards(train: Part, cuts: list[_Cut], slopes: Float64Array, w: Float64Array, most_points: int) -> tuple[Bands, ...]:
    """Round effects to whole points, the largest of a column being at most ``most_points`` and the smallest 0."""
    at = 0
    effects = []
    for cut in cuts:
        n = cut.design.shape[1]
        effects.append(np.concatenate([[0.0], slopes[at : at + n]]))
        at += n
    unit = max(float(np.ptp(e)) for e in effects) / most_points or 1.0
    cards = []
    for cut, effect in zip(cuts, effects, strict=True):
        whole = np.round((effect - effect.min()) / unit).astype(np.int64)
        n_bands = len(cut.edges) + 1
        values = train.X[:, cut.column]
        present = ~np.isnan(values)
        mean = float(w[present] @ whole[_band(values[present], cut.edges)] / w[present].sum()) if present.any() else 0.0
        missing = int(whole[-1]) if cut.own_missing else round(mean)
        cards.append(Bands(cut.column, cut.edges, tuple(int(p) for p in whole[:n_bands]), missing))
    return tuple(cards)


MODEL = Points()
