"""Every registered model keeps the contract, and each check catches a model that breaks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomix.models.model import Contributions, Part, check_matrix, check_part, merge_options, sigmoid
from genomix.provenance import canonical_json
from genomix.registry import members
from tests.contracts.model import (
    CHECKS,
    check_contributions_add_up,
    check_handles_missing_values,
    check_refuses_what_teaches_nothing,
    check_reproduces_under_a_seed,
    check_survives_a_bundle,
    check_weights_of_one_change_nothing,
)
from tests.contracts.registered import by_file

MODELS = members("genomix.models", "MODEL")
OBJECTIVES = ("binary", "regression")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_keeps_the_contract(name: str, objective: Any, check: Any, tmp_path: Path) -> None:
    check(MODELS[name], objective, tmp_path)


def test_a_model_is_named_as_its_file() -> None:
    assert {file: model.name for file, model in by_file("genomix.models", "MODEL").items()} == {n: n for n in MODELS}


@dataclass(frozen=True)
class FittedSum:
    """A margin that is a line in the columns' signs; missing counts as 0."""

    slopes: tuple[float, ...]
    base: float
    objective: Any
    facts: Mapping[str, Any] = field(default_factory=dict)
    model: str = "sum"

    @property
    def n_features(self) -> int:
        return len(self.slopes)

    def contributions(self, X: np.ndarray) -> Contributions:
        X = check_matrix(X, self.n_features)
        terms = np.nan_to_num(np.sign(X)) * np.array(self.slopes)
        return Contributions(terms.astype(np.float32), self.base)

    def margin(self, X: np.ndarray) -> np.ndarray:
        found = FittedSum.contributions(self, X)
        return found.values.astype(np.float64).sum(axis=1) + self.base

    def predict(self, X: np.ndarray) -> np.ndarray:
        margin = self.margin(X)
        return sigmoid(margin) if self.objective == "binary" else margin

    def to_files(self) -> dict[str, bytes]:
        told = {"slopes": self.slopes, "base": self.base, "objective": self.objective, "facts": dict(self.facts)}
        return {"sum.json": canonical_json(told)}


class Sum:
    """A sound model: covariances of the label with the columns' signs."""

    name = "sum"

    def fit(self, train: Part, *, tuning: Any, objective: Any, seed: int, device: Any, threads: int = 1,
            options: Any = None) -> FittedSum:  # fmt: skip
        merge_options({"shrink": 1.0}, options, self.name)
        train = check_part(train, objective, "training part")
        w = np.ones(len(train.y)) if train.weights is None else train.weights
        centred = train.y - np.average(train.y, weights=w)
        signs = np.nan_to_num(np.sign(train.X))
        slopes = np.average((signs - signs.mean(axis=0)) * centred[:, None], axis=0, weights=w)
        return FittedSum(tuple(slopes.tolist()), float(centred.max()), objective)

    def from_files(self, files: Mapping[str, bytes]) -> FittedSum:
        told = json.loads(files["sum.json"])
        return FittedSum(tuple(told["slopes"]), told["base"], told["objective"], told["facts"])


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let a bundle find the model under test, which is not registered."""
    model = getattr(request.node, "callspec", None) and request.node.callspec.params.get("model")
    if model is not None:
        monkeypatch.setattr("genomix.models.bundle.model_named", lambda _: model)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("model", [Sum()], ids=["sum"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_sound_model_passes(model: Any, objective: Any, check: Any, tmp_path: Path) -> None:
    check(model, objective, tmp_path)


class _Changed(Sum):
    """The sound model with its fit spoilt."""

    def fit(self, train: Part, **given: Any) -> FittedSum:
        return self.spoil(super().fit(train, **given), train, given)

    def spoil(self, fitted: FittedSum, train: Part, given: dict[str, Any]) -> FittedSum:
        return fitted


class _Unseeded(_Changed):
    def spoil(self, fitted: FittedSum, train: Part, given: dict[str, Any]) -> FittedSum:
        return replace(fitted, base=float(np.random.default_rng().normal()))


class _SharedGenerator(_Changed):
    """Sets NumPy's shared generator to the seed: right bytes, and everyone else's draws are changed."""

    def spoil(self, fitted: FittedSum, train: Part, given: dict[str, Any]) -> FittedSum:
        np.random.seed(given["seed"])
        return replace(fitted, base=float(np.random.normal()))


class _Threaded(_Changed):
    def spoil(self, fitted: FittedSum, train: Part, given: dict[str, Any]) -> FittedSum:
        return replace(fitted, base=fitted.base + 1e-9 * given.get("threads", 1))


class _ForgetsTheBase(Sum):
    def from_files(self, files: Mapping[str, bytes]) -> FittedSum:
        return replace(super().from_files(files), base=0.0)


class _RoundsWhenSaved(Sum):
    def from_files(self, files: Mapping[str, bytes]) -> FittedSum:
        read = super().from_files(files)
        return replace(read, slopes=tuple(round(s, 4) for s in read.slopes))


class _ForgetsTheObjective(Sum):
    def from_files(self, files: Mapping[str, bytes]) -> FittedSum:
        return replace(super().from_files(files), objective="binary")


class _ApproximateFit(FittedSum):
    def contributions(self, X: np.ndarray) -> Contributions:
        values, base = super().contributions(X)
        return Contributions(values * np.float32(0.9), base)


class _Approximate(_Changed):
    def spoil(self, fitted: FittedSum, train: Part, given: dict[str, Any]) -> FittedSum:
        return _ApproximateFit(fitted.slopes, fitted.base, fitted.objective)


class _BlindFit(FittedSum):
    def margin(self, X: np.ndarray) -> np.ndarray:
        return super().margin(X) + 0 * X.sum(axis=1)


class _BlindToMissing(_Changed):
    def spoil(self, fitted: FittedSum, train: Part, given: dict[str, Any]) -> FittedSum:
        return _BlindFit(fitted.slopes, fitted.base, fitted.objective)


class _RankingFit(FittedSum):
    def margin(self, X: np.ndarray) -> np.ndarray:
        margin = super().margin(X)
        return margin - margin.mean()


class _Ranking(_Changed):
    def spoil(self, fitted: FittedSum, train: Part, given: dict[str, Any]) -> FittedSum:
        return _RankingFit(fitted.slopes, fitted.base, fitted.objective)


class _WeightsAdd(_Changed):
    def spoil(self, fitted: FittedSum, train: Part, given: dict[str, Any]) -> FittedSum:
        return replace(fitted, base=fitted.base + (0 if train.weights is None else 1e-6))


class _FillsInPlace(Sum):
    def fit(self, train: Part, **given: Any) -> FittedSum:
        np.nan_to_num(train.X, copy=False)
        return super().fit(train, **given)


class _TakesOneClass(Sum):
    def fit(self, train: Part, **given: Any) -> FittedSum:
        if len(train.y) and (train.y == train.y[0]).all():
            return FittedSum((0.0,) * train.X.shape[1], 0.0, given["objective"])
        return super().fit(train, **given)


class _TakesAnyOption(Sum):
    def fit(self, train: Part, **given: Any) -> FittedSum:
        return super().fit(train, **{**given, "options": None})


BROKEN = (
    (check_reproduces_under_a_seed, _Unseeded(), "the same seed gives other bytes"),
    (check_reproduces_under_a_seed, _SharedGenerator(), "draws from NumPy's shared generator"),
    (check_reproduces_under_a_seed, _Threaded(), "the number of threads changes the bytes"),
    (check_survives_a_bundle, _ForgetsTheBase(), "a saved model predicts otherwise"),
    (check_survives_a_bundle, _RoundsWhenSaved(), "a saved model predicts otherwise"),
    (check_survives_a_bundle, _ForgetsTheObjective(), "a saved model predicts otherwise"),
    (check_contributions_add_up, _Approximate(), "contributions miss the margin by"),
    (check_handles_missing_values, _BlindToMissing(), "a row with missing values has no prediction"),
    (check_handles_missing_values, _Ranking(), "a row's prediction depends on the others"),
    (check_weights_of_one_change_nothing, _WeightsAdd(), "weights of one change predictions"),
    (check_weights_of_one_change_nothing, _FillsInPlace(), "changes what it was given|change predictions"),
    (check_refuses_what_teaches_nothing, _TakesAnyOption(), "an unknown option was accepted"),
)


@pytest.mark.parametrize(("check", "model", "message"), BROKEN)
def test_each_check_catches_a_broken_model(check: Any, model: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check(model, "regression", tmp_path)


@pytest.mark.parametrize("model", [_TakesOneClass()])
def test_a_model_that_learns_from_one_class_is_caught(model: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="one class was accepted"):
        check_refuses_what_teaches_nothing(model, "binary", tmp_path)
