"""Boosted trees for a time to an event: XGBoost's proportional hazards and accelerated failure time.

``survival:cox`` fits log relative hazards; survival comes from Breslow's baseline of the training rows.
``survival:aft`` (doi:10.1080/10618600.2022.2067548) fits the middle of log time; its error's distribution is the one
with the largest likelihood on the tuning rows, and so is its spread. Both stop early on the tuning part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from genomix.device import Device
from genomix.errors import ConfigError, FormatError
from genomix.models.boosted import DEFAULTS as BOOSTED_DEFAULTS
from genomix.models.boosted import at_least_one_column, import_xgboost
from genomix.models.cox import (
    Baseline,
    FittedCox,
    SurvivalPart,
    baseline_bytes,
    baseline_from,
    breslow,
    check_survival_part,
    cox_from_files,
)
from genomix.models.model import Contributions, Float32Array, Float64Array, Options, check_matrix, merge_options
from genomix.provenance import canonical_json

Kind = Literal["cox", "aft"]
DISTRIBUTIONS = ("normal", "logistic", "extreme")
DEFAULTS: Mapping[str, Any] = {**BOOSTED_DEFAULTS, "distribution": None, "scale": None}
"""Options of ``boosted``; of ``aft`` also ``distribution`` and ``scale`` (of log time), else both are estimated."""

_NOT_FOR_XGBOOST = ("max_rounds", "early_stopping_rounds", "rounds", "distribution", "scale")
_SCALES = (0.05, 20.0)


def aft_log_density(z: Float64Array, distribution: str) -> tuple[Float64Array, Float64Array]:
    """Return the log density and the log survival of a standardised log time, by its error's distribution."""
    from scipy.special import log_expit
    from scipy.stats import norm

    if distribution == "normal":
        return np.asarray(norm.logpdf(z)), np.asarray(norm.logsf(z))
    if distribution == "logistic":
        return np.asarray(log_expit(z) + log_expit(-z)), np.asarray(log_expit(-z))
    with np.errstate(over="ignore"):
        power = np.exp(z)
    return np.asarray(z - power), np.asarray(-power)


def aft_loss(time: Float64Array, event: Float64Array, margin: Float64Array, distribution: str, scale: float) -> float:
    """Return the mean negative log likelihood of log time, in nats: a density for events, survival for the censored."""
    log_time = np.log(time)
    density, survival = aft_log_density((log_time - margin) / scale, distribution)
    return float(-np.where(event == 1, density - np.log(scale), survival).mean())


def _best_scale(time: Float64Array, event: Float64Array, margin: Float64Array, distribution: str) -> float:
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_scale: aft_loss(time, event, margin, distribution, float(np.exp(log_scale))),
        bounds=tuple(np.log(_SCALES)), method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    return float(np.exp(found.x))


def _null_model(time: Float64Array, event: Float64Array, distribution: str) -> tuple[float, float]:
    """Return the middle and the spread of log time without columns, by maximum likelihood."""
    from scipy.optimize import minimize

    def loss(at: Float64Array) -> float:
        scale = float(np.exp(np.clip(at[1], *np.log(_SCALES))))
        return aft_loss(time, event, np.full(time.size, at[0]), distribution, scale)

    start = np.array([float(np.log(time).mean()), float(np.log(max(np.log(time).std(), 0.1)))])
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000})
    return float(found.x[0]), float(np.exp(np.clip(found.x[1], *np.log(_SCALES))))


def positive_times(time: Float64Array, smallest: float) -> Float64Array:
    """Return times for a logarithm: what lies under ``smallest`` counts as ``smallest``."""
    return np.maximum(time, smallest)


@dataclass(frozen=True)
class FittedBoostedSurvival:
    """Boosted trees. ``margin``, for both kinds, is higher for an earlier event: the log relative hazard of ``cox``,
    minus the middle of log time of ``aft``.

    ``baseline``: Breslow's; of ``aft`` only its ``last`` is read, the end of the training rows' follow-up.
    """

    booster: Any
    kind: Kind
    n_features: int
    baseline: Baseline
    facts: Mapping[str, Any]
    objective: str = "survival"

    @property
    def model(self) -> str:
        """Name of the model: boosted_cox or boosted_aft."""
        return f"boosted_{self.kind}"

    def margin(self, X: Float32Array) -> Float64Array:
        """Return the margin, (rows,)."""
        if not X.shape[0]:
            return np.zeros(0)
        raw = np.asarray(self.booster.predict(self._matrix(X), output_margin=True), dtype=np.float64)
        return -raw if self.kind == "aft" else raw

    def predict(self, X: Float32Array) -> Float64Array:
        """Return the margin: a risk score, not a probability."""
        return self.margin(X)

    def survival(self, X: Float32Array, horizons: Float64Array) -> Float64Array:
        """Return the probability of no event by each horizon, (rows, points).

        Raises
        ------
        ConfigError: a horizon beyond the follow-up of the training rows.
        """
        margin = self.margin(X)
        if self.kind == "cox":
            return self.baseline.survival(margin, horizons)
        self.baseline.at(horizons)
        with np.errstate(divide="ignore"):
            log_time = np.log(np.asarray(horizons, dtype=np.float64))
        z = (log_time[None, :] + margin[:, None]) / self.facts["scale"]
        return np.asarray(np.exp(aft_log_density(z, self.facts["distribution"])[1]))

    def contributions(self, X: Float32Array) -> Contributions:
        """Return exact path-dependent TreeSHAP values (doi:10.1038/s42256-019-0138-9) of the margin."""
        n_rows = X.shape[0]
        asked = X if n_rows else np.full((1, self.n_features), np.nan, dtype=np.float32)
        raw = np.asarray(self.booster.predict(self._matrix(asked), pred_contribs=True), dtype=np.float32)
        raw = -raw if self.kind == "aft" else raw
        return Contributions(np.ascontiguousarray(raw[:n_rows, : self.n_features]), float(raw[0, -1]))

    def to_files(self) -> dict[str, bytes]:
        """Return ``model.ubj``, ``preprocessing.json`` and ``baseline.json``."""
        about = {"missing": "own branch", "kind": self.kind, "n_features": self.n_features, "facts": dict(self.facts)}
        return {
            "model.ubj": bytes(self.booster.save_raw("ubj")),
            "preprocessing.json": canonical_json(about) + b"\n",
            "baseline.json": baseline_bytes(self.baseline),
        }

    def _matrix(self, X: Float32Array) -> Any:
        return import_xgboost().DMatrix(at_least_one_column(check_matrix(X, self.n_features)), nthread=1)


def boosted_from_files(files: Mapping[str, bytes]) -> FittedBoostedSurvival:
    """Return the trees that ``to_files`` saved; the caller has verified the bytes."""
    about = json.loads(files["preprocessing.json"])
    booster = import_xgboost().Booster()
    try:
        booster.load_model(bytearray(files["model.ubj"]))
    except Exception as error:  # XGBoost raises its own error class, which must not be imported at the top
        raise FormatError("model.ubj is not a model that this XGBoost reads", where="model.ubj") from error
    base = baseline_from(files["baseline.json"])
    return FittedBoostedSurvival(booster, about["kind"], int(about["n_features"]), base, about["facts"])


LOADERS: Mapping[str, Any] = {
    "boosted_cox": boosted_from_files, "boosted_aft": boosted_from_files, "cox": cox_from_files
}  # fmt: skip
"""How each model of a time to an event is read from a bundle's files."""


def at_horizons(model: FittedCox | FittedBoostedSurvival, horizons: Float64Array) -> FittedCox | FittedBoostedSurvival:
    """Return ``model`` with its baseline at increasing ``horizons`` only, for a bundle that goes elsewhere.

    Predictions at these are the same. A whole baseline lists the time of every event of the training rows.
    """
    kept = Baseline(horizons, model.baseline.at(horizons), float(horizons[-1]), stated=True)
    return replace(model, baseline=kept)


def survival_from_files(name: str, files: Mapping[str, bytes]) -> Any:
    """Return the model of a time to an event that was saved; the caller has verified the bytes.

    Raises
    ------
    FormatError: a model that this version does not know.
    """
    if name not in LOADERS:
        raise FormatError(f"model {name!r} of a time to an event is not known", hint="a newer genomix")
    return LOADERS[name](files)


def fit_boosted_survival(
    train: SurvivalPart, *, tuning: SurvivalPart | None, kind: Kind, seed: int, device: Device, threads: int = 1,
    options: Options | None = None,
) -> FittedBoostedSurvival:  # fmt: skip
    """Grow trees on ``train`` until the likelihood on ``tuning`` has not improved for ``early_stopping_rounds``.

    Without a tuning part, ``options["rounds"]`` trees are grown, and ``aft`` needs ``distribution`` and ``scale``.

    Raises
    ------
    ConfigError: an unknown option or kind, or no tuning part where one is needed.
    """
    chosen = merge_options(DEFAULTS, options, f"boosted_{kind}")
    if kind not in ("cox", "aft"):
        raise ConfigError(f"unknown kind {kind!r}", hint="one of: cox, aft")
    if chosen["distribution"] not in (None, *DISTRIBUTIONS):
        raise ConfigError(
            f"unknown distribution {chosen['distribution']!r}", hint="one of: " + ", ".join(DISTRIBUTIONS)
        )
    needed = ("rounds", "distribution", "scale") if kind == "aft" else ("rounds",)
    if tuning is None and any(chosen[name] is None for name in needed):
        raise ConfigError(
            f"model 'boosted_{kind}' has no tuning part", hint="options with " + ", ".join(repr(n) for n in needed)
        )
    train = check_survival_part(train, "training part")
    held = None if tuning is None else check_survival_part(tuning, "tuning part")
    grown = {k: v for k, v in chosen.items() if k not in _NOT_FOR_XGBOOST}
    parameters = {**grown, "tree_method": "hist", "seed": seed, "device": device.xgboost, "nthread": threads,
                  "verbosity": 1}  # fmt: skip
    fit = _fit_cox if kind == "cox" else _fit_aft
    booster, facts = fit(parameters, chosen, train, held, threads)
    booster.set_param({"nthread": threads})
    found = FittedBoostedSurvival(booster, kind, train.X.shape[1], Baseline(np.empty(0), np.empty(0), 0.0), facts)
    last = float(train.time.max())
    base = breslow(train.time, train.event, found.margin(train.X)) if kind == "cox" else Baseline(
        np.empty(0), np.empty(0), last
    )  # fmt: skip
    facts = {**facts, "rounds": booster.num_boosted_rounds(), "events": int(train.event.sum()),
             "trained_on": device.kind}  # fmt: skip
    return FittedBoostedSurvival(booster, kind, train.X.shape[1], base, facts)


def _fit_cox(
    parameters: Mapping[str, Any], chosen: Mapping[str, Any], train: SurvivalPart, tuning: SurvivalPart | None,
    threads: int,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    def labels(part: SurvivalPart) -> dict[str, Any]:
        # Only the order counts, and a minus sign stands for censored: ranks from 1 on survive float32 and 0.
        rank = np.unique(part.time, return_inverse=True)[1].reshape(-1) + 1.0
        return {"label": np.where(part.event == 1, rank, -rank)}

    all_of = {**parameters, "objective": "survival:cox", "eval_metric": "cox-nloglik", "base_score": 1.0}
    booster, loss = _grow(all_of, chosen, train, tuning, labels, threads)
    return booster, {"tuning_loss": loss}


def _fit_aft(
    parameters: Mapping[str, Any], chosen: Mapping[str, Any], train: SurvivalPart, tuning: SurvivalPart | None,
    threads: int,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Try each distribution: the spread without columns first, then once more with the tuning rows' spread."""
    smallest = float(train.time[train.time > 0].min()) / 2
    time = positive_times(train.time, smallest)

    def labels(part: SurvivalPart) -> dict[str, Any]:
        t = positive_times(part.time, smallest)
        return {"label_lower_bound": t, "label_upper_bound": np.where(part.event == 1, t, np.inf)}

    best: tuple[float, Any, dict[str, Any]] | None = None
    for name in DISTRIBUTIONS if chosen["distribution"] is None else (chosen["distribution"],):
        middle, null_scale = _null_model(time, train.event, name)
        scale = null_scale if chosen["scale"] is None else float(chosen["scale"])
        for _ in range(2 if chosen["scale"] is None else 1):
            all_of = {
                **parameters, "objective": "survival:aft", "eval_metric": "aft-nloglik",
                "aft_loss_distribution": name, "aft_loss_distribution_scale": scale,
                "base_score": float(np.exp(middle)),
            }  # fmt: skip
            booster, _loss = _grow(all_of, chosen, train, tuning, labels, threads)
            part = train if tuning is None else tuning
            t = positive_times(part.time, smallest)
            margin = np.asarray(
                booster.predict(import_xgboost().DMatrix(at_least_one_column(part.X)), output_margin=True), dtype=float
            )
            if chosen["scale"] is None:
                scale = _best_scale(t, part.event, margin, name)
            loss = aft_loss(t, part.event, margin, name, scale)
            if best is None or loss < best[0]:
                facts = {"distribution": name, "scale": scale, "tuning_loss": None if tuning is None else loss}
                best = loss, booster, facts
    assert best is not None
    return best[1], best[2]


def _grow(
    parameters: Mapping[str, Any], chosen: Mapping[str, Any], train: SurvivalPart, tuning: SurvivalPart | None,
    labels: Any, threads: int,
) -> tuple[Any, float | None]:  # fmt: skip
    """Return the booster cut to its best round, and its loss on the tuning part."""
    xgboost = import_xgboost()
    bins = parameters["max_bin"]

    def matrix(part: SurvivalPart, reference: Any) -> Any:
        X = at_least_one_column(part.X)
        return xgboost.QuantileDMatrix(X, **labels(part), max_bin=bins, nthread=threads, ref=reference)

    data = matrix(train, None)
    if tuning is None:
        return xgboost.train(dict(parameters), data, num_boost_round=int(chosen["rounds"])), None
    booster = xgboost.train(
        dict(parameters), data, num_boost_round=int(chosen["max_rounds"]), evals=[(matrix(tuning, data), "tuning")],
        early_stopping_rounds=int(chosen["early_stopping_rounds"]), verbose_eval=False,
    )  # fmt: skip
    best, loss = int(booster.best_iteration), float(booster.best_score)
    cut = booster[: best + 1]
    cut.set_attr(best_iteration=None, best_score=None)
    return cut, loss
