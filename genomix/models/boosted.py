"""Gradient-boosted trees: XGBoost (doi:10.1145/2939672.2939785), histogram method, stopped early on the tuning part."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from genomix.device import Device
from genomix.errors import ConfigError, FormatError
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
    merge_options,
    sigmoid,
    weighted_mean,
)
from genomix.provenance import canonical_json

DEFAULTS: Mapping[str, Any] = {
    "max_rounds": 600,
    "early_stopping_rounds": 30,
    "rounds": None,
    "eta": 0.05,
    "max_depth": 3,
    "min_child_weight": 3.0,
    "reg_lambda": 5.0,
    "reg_alpha": 0.0,
    "gamma": 0.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "max_bin": 128,
    "monotone": None,
}
"""Options of ``boosted``; ``rounds`` fixes the number of trees where there is no tuning part.

``monotone``: for each column 1 (the prediction never falls as it rises), -1 (never rises) or 0; None constrains none.

Classes are never re-weighted: that would spoil the calibration that the report shows. Rows and columns are not
subsampled by default. Trees that the CPU and a GPU grow of the same rows still differ where two splits gain nearly the
same; one model computes the same on both.
"""

_OWN = ("max_rounds", "early_stopping_rounds", "rounds", "monotone")
"""Options that XGBoost does not know by these names."""

_OBJECTIVES = {"binary": ("binary:logistic", "logloss"), "regression": ("reg:squarederror", "rmse")}
_LARGEST_ODDS_SHARE = 1e-4
"""XGBoost takes the base score as a probability and needs it inside (0, 1)."""


def import_xgboost() -> ModuleType:
    """Import XGBoost with OpenMP threads that sleep while they wait: spinning costs several times the CPU time."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xgboost

    module: ModuleType = xgboost
    return module


def place(booster: Any, device: Device, threads: int | None = None) -> None:
    """Let a booster compute on ``device`` from now on, whichever it was trained on; ``threads``: None for all.

    Rows stay in host memory: XGBoost takes each matrix to the device that it predicts on.
    """
    booster.set_param({"device": device.xgboost, **({} if threads is None else {"nthread": threads})})


@dataclass(frozen=True)
class FittedBoosted:
    """Boosted trees that were fitted or loaded; ``booster`` holds only the trees that are used."""

    booster: Any
    objective: Objective
    n_features: int
    facts: Mapping[str, Any]
    model: str = "boosted"

    def margin(self, X: Float32Array) -> Float64Array:
        """Return the sum of the leaves plus the base score, (rows,)."""
        if not X.shape[0]:
            return np.zeros(0)
        return np.asarray(self.booster.predict(self._matrix(X), output_margin=True), dtype=np.float64)

    def predict(self, X: Float32Array) -> Float64Array:
        """Return probabilities (binary) or quantities (regression), (rows,)."""
        margin = self.margin(X)
        return sigmoid(margin) if self.objective == "binary" else margin

    def contributions(self, X: Float32Array) -> Contributions:
        """Return exact path-dependent TreeSHAP values (doi:10.1038/s42256-019-0138-9)."""
        n_rows = X.shape[0]
        # Without rows XGBoost gives no base value either; a row of missing values has the same one.
        asked = X if n_rows else np.full((1, self.n_features), np.nan, dtype=np.float32)
        raw = np.asarray(self.booster.predict(self._matrix(asked), pred_contribs=True), dtype=np.float32)
        return Contributions(np.ascontiguousarray(raw[:n_rows, : self.n_features]), float(raw[0, -1]))

    def to_files(self) -> dict[str, bytes]:
        """Return ``model.ubj`` (the trees) and ``preprocessing.json`` (none is learned: NaN has its own branch)."""
        about = {"missing": "own branch", "objective": self.objective, "n_features": self.n_features,
                 "facts": dict(self.facts)}  # fmt: skip
        return {"model.ubj": bytes(self.booster.save_raw("ubj")), "preprocessing.json": canonical_json(about) + b"\n"}

    def _matrix(self, X: Float32Array) -> Any:
        return import_xgboost().DMatrix(at_least_one_column(check_matrix(X, self.n_features)), nthread=1)


class Boosted:
    """The registered model ``boosted``."""

    name = "boosted"

    def fit(
        self, train: Part, *, tuning: Part | None, objective: Objective, seed: int, device: Device, threads: int = 1,
        options: Options | None = None,
    ) -> FittedBoosted:  # fmt: skip
        """Grow trees on ``train`` until the loss on ``tuning`` has not improved for ``early_stopping_rounds``.

        The same bytes come out for any ``threads``. Without a tuning part, ``options["rounds"]`` trees are grown. On a
        GPU too the bins are made from host memory, so that both kinds of device choose among the same thresholds; the
        fitted model goes on computing on ``device`` until :func:`place` moves it.

        Raises
        ------
        ConfigError: an unknown option, or neither a tuning part nor ``rounds``.
        """
        chosen = merge_options(DEFAULTS, options, self.name)
        train = check_part(train, objective, "training part")
        if tuning is None and chosen["rounds"] is None:
            raise ConfigError("model 'boosted' has no tuning part to stop on", hint='options={"rounds": 200}')
        checked = None if tuning is None else check_part(tuning, objective, "tuning part")
        parameters = parameters_of(chosen, train, train.X.shape[1], objective, seed, device, threads)
        data = _quantile_matrix(import_xgboost(), train, parameters["max_bin"], threads, None)
        held = None
        if checked is not None:
            held = _quantile_matrix(import_xgboost(), checked, parameters["max_bin"], threads, data)
        booster, loss = grow(parameters, chosen, data, held)
        booster.set_param({"nthread": threads})
        facts = {"rounds": booster.num_boosted_rounds(), "tuning_loss": loss, "trained_on": device.kind}
        return FittedBoosted(booster, objective, train.X.shape[1], facts)

    def from_files(self, files: Mapping[str, bytes]) -> Fitted:
        """Return the model that ``to_files`` saved; the caller has verified the bytes."""
        about = json.loads(files["preprocessing.json"])
        booster = import_xgboost().Booster()
        try:
            booster.load_model(bytearray(files["model.ubj"]))
        except Exception as error:  # XGBoost raises its own error class, which must not be imported at the top
            raise FormatError("model.ubj is not a model that this XGBoost reads", where="model.ubj") from error
        return FittedBoosted(booster, about["objective"], int(about["n_features"]), about["facts"])


class Labelled(Protocol):
    """What :func:`parameters_of` reads of a part: ``y`` and ``weights``, (rows,)."""

    @property
    def y(self) -> Float64Array: ...
    @property
    def weights(self) -> Float64Array | None: ...


def parameters_of(
    chosen: Mapping[str, Any], train: Labelled, n_columns: int, objective: Objective, seed: int, device: Device,
    threads: int,
) -> dict[str, Any]:  # fmt: skip
    """Return what XGBoost is told; ``chosen``: every option of DEFAULTS."""
    loss, metric = _OBJECTIVES[objective]
    base = weighted_mean(train.y, train.weights)
    if objective == "binary":
        base = min(max(base, _LARGEST_ODDS_SHARE), 1 - _LARGEST_ODDS_SHARE)
    grown = {k: chosen[k] for k in DEFAULTS if k not in _OWN}
    if (signs := chosen["monotone"]) is not None:
        if len(signs) != n_columns or not set(signs) <= {-1, 0, 1}:
            raise ConfigError(f"monotone needs 1, -1 or 0 for each of {n_columns} columns, not {len(signs)} values")
        grown["monotone_constraints"] = tuple(int(s) for s in signs) or (0,)
    return {
        **grown, "objective": loss, "eval_metric": metric, "base_score": base, "tree_method": "hist", "seed": seed,
        "device": device.xgboost, "nthread": threads, "verbosity": 1,
    }  # fmt: skip


def grow(parameters: Mapping[str, Any], chosen: Mapping[str, Any], data: Any, held: Any) -> tuple[Any, float | None]:
    """Return the booster of binned matrices, cut to its best round, and its loss on ``held``; None fixes the rounds."""
    xgboost = import_xgboost()
    if held is None:
        return xgboost.train(dict(parameters), data, num_boost_round=int(chosen["rounds"])), None
    booster = xgboost.train(
        dict(parameters), data, num_boost_round=int(chosen["max_rounds"]), evals=[(held, "tuning")],
        early_stopping_rounds=int(chosen["early_stopping_rounds"]), verbose_eval=False,
    )  # fmt: skip
    best, loss = int(booster.best_iteration), float(booster.best_score)
    cut = booster[: best + 1]
    cut.set_attr(best_iteration=None, best_score=None)
    return cut, loss


def _quantile_matrix(xgboost: ModuleType, part: Part, bins: int, threads: int, reference: Any) -> Any:
    return xgboost.QuantileDMatrix(
        at_least_one_column(part.X), part.y, weight=part.weights, max_bin=bins, nthread=threads, ref=reference
    )


def at_least_one_column(X: Float32Array) -> Float32Array:
    """XGBoost refuses a matrix without columns; a constant one gives the base score, which is the right model."""
    return X if X.shape[1] else np.zeros((X.shape[0], 1), dtype=np.float32)


MODEL = Boosted()
