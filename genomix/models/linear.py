"""Linear and logistic regression with ridge or elastic-net penalty: the plain model beside the boosted one.

Preprocessing is learned from the training part only and stored as JSON: medians for missing values, one indicator per
column that has missing values there, centre and scale of each column. A standardised value is held within
``clip_sd``, so that one recording error cannot move a prediction without bound.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
from genomix.models.penalised import Coefficients, fit_path, largest_useful_penalty
from genomix.provenance import canonical_json

DEFAULTS: Mapping[str, Any] = {
    "l1_share": 0.5,
    "n_penalties": 16,
    "smallest_share": 1e-4,
    "penalty": None,
    "clip_sd": 8.0,
}
"""Options of ``linear``: ``l1_share`` 0 is ridge, 1 the lasso; ``penalty`` fixes what else the tuning part chooses.

The path has ``n_penalties`` steps, from the penalty at which nothing is left down to ``smallest_share`` of it.
"""

_WORSE_STEPS = 4


@dataclass(frozen=True)
class Preprocessing:
    """What turns raw columns into the design; all arrays are (columns,) but ``indicator`` ones.

    ``indicator`` holds the numbers of the columns that have an indicator; ``indicator_centre`` and
    ``indicator_scale`` belong to those.
    """

    median: Float64Array
    centre: Float64Array
    scale: Float64Array
    indicator: npt.NDArray[np.int64]
    indicator_centre: Float64Array
    indicator_scale: Float64Array
    clip_sd: float

    def design(self, X: Float32Array) -> Float64Array:
        """Return the standardised design, float64 (rows, columns + indicators), without missing values."""
        missing = np.isnan(X)
        Z = np.where(missing, self.median, X.astype(np.float64))
        Z -= self.centre
        Z /= self.scale
        np.clip(Z, -self.clip_sd, self.clip_sd, out=Z)
        flags = (missing[:, self.indicator] - self.indicator_centre) / self.indicator_scale
        return np.hstack([Z, flags])


def learn_preprocessing(X: Float32Array, weights: Float64Array | None, clip_sd: float) -> Preprocessing:
    """Learn medians, centres and scales from the rows of ``X``, float32 (rows, columns).

    A column that never varies gets scale 1, so it is zero in the design; one that is always missing gets median 0.
    """
    missing = np.isnan(X)
    median = np.zeros(X.shape[1])
    for j in range(X.shape[1]):
        present = X[~missing[:, j], j]
        median[j] = float(np.median(present)) if present.size else 0.0
    filled = np.where(missing, median, X.astype(np.float64))
    indicator = np.flatnonzero(missing.any(axis=0))
    flags = missing[:, indicator].astype(np.float64)
    centre, scale = _centre_and_scale(filled, weights)
    flag_centre, flag_scale = _centre_and_scale(flags, weights)
    return Preprocessing(median, centre, scale, indicator, flag_centre, flag_scale, clip_sd)


def _centre_and_scale(values: Float64Array, weights: Float64Array | None) -> tuple[Float64Array, Float64Array]:
    w = np.ones(values.shape[0]) if weights is None else weights
    centre = (values * w[:, None]).sum(axis=0) / w.sum()
    variance = ((values - centre) ** 2 * w[:, None]).sum(axis=0) / w.sum()
    scale = np.sqrt(variance)
    return centre, np.where(scale > 1e-12 * np.maximum(1.0, np.abs(centre)), scale, 1.0)


@dataclass(frozen=True)
class FittedLinear:
    """A linear predictor over the design; ``background`` is the design's mean over the training rows."""

    preprocessing: Preprocessing
    intercept: float
    slopes: Float64Array
    background: Float64Array
    objective: Objective
    facts: Mapping[str, Any]
    model: str = "linear"

    @property
    def n_features(self) -> int:
        """Number of raw columns."""
        return int(self.preprocessing.median.size)

    def margin(self, X: Float32Array) -> Float64Array:
        """Return intercept plus slopes times design, (rows,)."""
        Z = self.preprocessing.design(check_matrix(X, self.n_features))
        with threadpool_limits(1, user_api="blas"):
            return np.asarray(self.intercept + Z @ self.slopes)

    def predict(self, X: Float32Array) -> Float64Array:
        """Return probabilities (binary) or quantities (regression), (rows,)."""
        margin = self.margin(X)
        return sigmoid(margin) if self.objective == "binary" else margin

    def contributions(self, X: Float32Array) -> Contributions:
        """Return exact Shapley values of a model that is a sum over columns (doi:10.1007/s10115-013-0679-x).

        A column's value is its term minus the term's mean over the training rows; the indicator of a column counts
        with the column. Columns are taken as independent, which is exact here because no two of them interact.
        """
        Z = self.preprocessing.design(check_matrix(X, self.n_features))
        terms = (Z - self.background) * self.slopes
        values = terms[:, : self.n_features].copy()
        values[:, self.preprocessing.indicator] += terms[:, self.n_features :]
        base = self.intercept + float((self.background * self.slopes).sum())
        return Contributions(values.astype(np.float32), base)

    def to_files(self) -> dict[str, bytes]:
        """Return ``linear.json`` and ``preprocessing.json``."""
        p = self.preprocessing
        model = {"intercept": self.intercept, "slopes": self.slopes.tolist(), "background": self.background.tolist(),
                 "objective": self.objective, "facts": dict(self.facts)}  # fmt: skip
        learned = {
            "median": p.median.tolist(), "centre": p.centre.tolist(), "scale": p.scale.tolist(),
            "indicator": p.indicator.tolist(), "indicator_centre": p.indicator_centre.tolist(),
            "indicator_scale": p.indicator_scale.tolist(), "clip_sd": p.clip_sd,
        }  # fmt: skip
        return {
            "linear.json": canonical_json(model) + b"\n",
            "preprocessing.json": canonical_json(learned) + b"\n",
        }


class Linear:
    """The registered model ``linear``."""

    name = "linear"

    def fit(
        self, train: Part, *, tuning: Part | None, objective: Objective, seed: int, device: Device, threads: int = 1,
        options: Options | None = None,
    ) -> FittedLinear:  # fmt: skip
        """Fit on ``train`` along a path of penalties and keep the one with the smallest loss on ``tuning``.

        The fit runs on one CPU thread, draws nothing at random and needs one float64 copy of the matrix:
        ``seed``, ``device`` and ``threads`` change nothing. Of equal losses the stronger penalty wins.

        Raises
        ------
        ConfigError: an unknown option, or neither a tuning part nor ``options["penalty"]``.
        """
        chosen = merge_options(DEFAULTS, options, self.name)
        if not 0 <= chosen["l1_share"] <= 1:
            raise ConfigError("l1_share lies outside 0 to 1", hint="0 for ridge, 1 for the lasso")
        if tuning is None and chosen["penalty"] is None:
            raise ConfigError("model 'linear' has no tuning part to choose on", hint='options={"penalty": 0.1}')
        train = check_part(train, objective, "training part")
        checked = None if tuning is None else check_part(tuning, objective, "tuning part")
        preprocessing = learn_preprocessing(train.X, train.weights, float(chosen["clip_sd"]))
        Z = preprocessing.design(train.X)
        with threadpool_limits(1, user_api="blas"):
            found, facts = _choose(Z, train, checked, preprocessing, objective, chosen)
        w = np.ones(train.y.size) if train.weights is None else train.weights
        background = (Z * w[:, None]).sum(axis=0) / w.sum()
        return FittedLinear(preprocessing, found.intercept, found.slopes, background, objective, facts)

    def from_files(self, files: Mapping[str, bytes]) -> Fitted:
        """Return the model that ``to_files`` saved; the caller has verified the bytes."""
        model, learned = json.loads(files["linear.json"]), json.loads(files["preprocessing.json"])
        preprocessing = Preprocessing(
            median=np.asarray(learned["median"], dtype=np.float64),
            centre=np.asarray(learned["centre"], dtype=np.float64),
            scale=np.asarray(learned["scale"], dtype=np.float64),
            indicator=np.asarray(learned["indicator"], dtype=np.int64),
            indicator_centre=np.asarray(learned["indicator_centre"], dtype=np.float64),
            indicator_scale=np.asarray(learned["indicator_scale"], dtype=np.float64),
            clip_sd=float(learned["clip_sd"]),
        )
        return FittedLinear(
            preprocessing,
            intercept=float(model["intercept"]),
            slopes=np.asarray(model["slopes"], dtype=np.float64),
            background=np.asarray(model["background"], dtype=np.float64),
            objective=model["objective"],
            facts=model["facts"],
        )


def _choose(
    Z: Float64Array, train: Part, tuning: Part | None, preprocessing: Preprocessing, objective: Objective,
    chosen: Mapping[str, Any],
) -> tuple[Coefficients, dict[str, Any]]:  # fmt: skip
    share = float(chosen["l1_share"])
    if chosen["penalty"] is not None:
        penalties = [float(chosen["penalty"])]
    else:
        top = largest_useful_penalty(Z, train.y, train.weights, share)
        penalties = (top * np.geomspace(1.0, float(chosen["smallest_share"]), int(chosen["n_penalties"]))).tolist()
    best, best_loss, worse = None, float("inf"), 0
    path = fit_path(Z, train.y, train.weights, objective=objective, l1_share=share, penalties=penalties)
    for penalty, found in zip(penalties, path, strict=True):
        loss = (
            None
            if tuning is None
            else mean_loss(found.intercept + preprocessing.design(tuning.X) @ found.slopes, tuning, objective)
        )
        if best is None or (loss is not None and loss < best_loss):
            best, best_loss, worse = (found, penalty, loss), loss or 0.0, 0
        else:
            worse += 1
        # The smallest penalties cost the most and, after the loss has turned, win nothing.
        if worse == _WORSE_STEPS:
            break
    assert best is not None
    kept = int(np.count_nonzero(best[0].slopes))
    return best[0], {"penalty": best[1], "l1_share": share, "tuning_loss": best[2], "slopes": kept}


MODEL = Linear()
