"""What every registered model promises, and that the checks catch a model that breaks a promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, FormatError, LabelError
from genomix.models.model import Contributions, Part, model_named
from genomix.registry import members

MODELS = members("genomix.models", "MODEL")


def simulated(objective: str, n: int = 400, p: int = 6, seed: int = 3) -> tuple[Part, Part, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)).astype(np.float32)
    X[rng.random((n, p)) < 0.15] = np.nan
    margin = 1.2 * np.nan_to_num(X[:, 0]) - 0.8 * np.nan_to_num(X[:, 1]) - 0.7
    y = (
        (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)
        if objective == "binary"
        else margin + rng.normal(size=n)
    )
    half = n // 2
    return Part(X[:half], y[:half]), Part(X[half : 3 * n // 4], y[half : 3 * n // 4]), X[3 * n // 4 :]


def check_reproduces(model: Any, objective: str) -> None:
    train, tuning, _ = simulated(objective)
    files = [
        model.fit(train, tuning=tuning, objective=objective, seed=1, device=CPU, threads=threads).to_files()
        for threads in (1, 2, 1)
    ]
    assert files[0] == files[1] == files[2]


def check_survives_saving(model: Any, objective: str) -> None:
    train, tuning, X = simulated(objective)
    fitted = model.fit(train, tuning=tuning, objective=objective, seed=1, device=CPU)
    loaded = model.from_files(fitted.to_files())
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    assert np.array_equal(loaded.contributions(X).values, fitted.contributions(X).values)
    assert (loaded.objective, loaded.n_features, loaded.facts) == (objective, 6, fitted.facts)
    assert loaded.to_files() == fitted.to_files()


def check_adds_up(model: Any, objective: str) -> None:
    train, tuning, X = simulated(objective)
    fitted = model.fit(train, tuning=tuning, objective=objective, seed=1, device=CPU)
    values, base = fitted.contributions(X)
    assert values.dtype == np.float32
    assert values.shape == X.shape
    assert np.abs(values.sum(axis=1) + base - fitted.margin(X)).max() < 1e-4


def check_learns_from_train_only(model: Any, objective: str) -> None:
    """With the penalty or the rounds fixed, the tuning part must not matter."""
    train, tuning, X = simulated(objective)
    options = {
        "boosted": {"rounds": 20, "max_rounds": 20, "early_stopping_rounds": 20},
        "linear": {"penalty": 0.1},
        "points": {"choose": False},
    }
    other = Part(tuning.X[::-1] * 5, tuning.y)
    fits = [
        model.fit(train, tuning=t, objective=objective, seed=1, device=CPU, options=options.get(model.name))
        for t in ((None, None) if model.name == "boosted" else (tuning, other))
    ]
    assert np.array_equal(fits[0].predict(X), fits[1].predict(X))


@pytest.mark.parametrize("objective", ["binary", "regression"])
@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize(
    "check", [check_reproduces, check_survives_saving, check_adds_up, check_learns_from_train_only]
)
def test_every_model(check: Any, name: str, objective: str) -> None:
    check(MODELS[name], objective)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_margin_and_prediction_agree(name: str) -> None:
    for objective in ("binary", "regression"):
        train, tuning, X = simulated(objective)
        fitted = MODELS[name].fit(train, tuning=tuning, objective=objective, seed=1, device=CPU)
        margin = fitted.margin(X)
        expected = 1 / (1 + np.exp(-margin)) if objective == "binary" else margin
        assert fitted.predict(X) == pytest.approx(expected, abs=1e-12)
        assert fitted.predict(X).dtype == np.float64


@pytest.mark.parametrize("name", sorted(MODELS))
def test_it_beats_the_mean(name: str) -> None:
    train, tuning, _ = simulated("regression", n=1200)
    fitted = MODELS[name].fit(train, tuning=tuning, objective="regression", seed=1, device=CPU)
    assert ((tuning.y - fitted.predict(tuning.X)) ** 2).mean() < 0.75 * tuning.y.var()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_matrix_without_columns_gives_the_prevalence(name: str) -> None:
    train, tuning, _ = simulated("binary")
    fitted = MODELS[name].fit(
        Part(train.X[:, :0], train.y), tuning=Part(tuning.X[:, :0], tuning.y), objective="binary", seed=1, device=CPU
    )
    empty = np.empty((3, 0), dtype=np.float32)
    assert fitted.predict(empty) == pytest.approx([train.y.mean()] * 3, abs=1e-6)
    assert fitted.contributions(empty).values.shape == (3, 0)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_column_always_missing_and_column_constant_are_harmless(name: str) -> None:
    train, tuning, X = simulated("binary")
    extra = np.column_stack([train.X, np.full(len(train.X), np.nan), np.ones(len(train.X))]).astype(np.float32)
    tuned = np.column_stack([tuning.X, np.full(len(tuning.X), np.nan), np.ones(len(tuning.X))]).astype(np.float32)
    fitted = MODELS[name].fit(
        Part(extra, train.y), tuning=Part(tuned, tuning.y), objective="binary", seed=1, device=CPU
    )
    seen = np.column_stack([X, np.full(len(X), np.nan), np.ones(len(X))]).astype(np.float32)
    unseen = np.column_stack([X, np.full(len(X), 7.0), np.full(len(X), 9.0)]).astype(np.float32)
    plain = MODELS[name].fit(train, tuning=tuning, objective="binary", seed=1, device=CPU)
    assert fitted.predict(seen) == pytest.approx(plain.predict(X), abs=1e-6)
    assert fitted.predict(unseen) == pytest.approx(plain.predict(X), abs=1e-6)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_bad_input_is_named(name: str) -> None:
    train, tuning, X = simulated("binary")
    fit = MODELS[name].fit
    ask = {"objective": "binary", "seed": 1, "device": CPU}
    infinite = train.X.copy()
    infinite[5, 2] = np.inf
    with pytest.raises(FormatError, match="column number 2 holds an infinite value"):
        fit(Part(infinite, train.y), tuning=tuning, **ask)
    with pytest.raises(LabelError, match="every label is 0"):
        fit(Part(train.X, np.zeros_like(train.y)), tuning=tuning, **ask)
    with pytest.raises(LabelError, match="labels 0 and 1 only"):
        fit(Part(train.X, train.y + 1), tuning=tuning, **ask)
    with pytest.raises(LabelError, match="no rows"):
        fit(Part(train.X[:0], train.y[:0]), tuning=tuning, **ask)
    with pytest.raises(LabelError, match="missing"):
        fit(Part(train.X, np.where(np.arange(train.y.size) == 3, np.nan, train.y)), tuning=tuning, **ask)
    with pytest.raises(ConfigError, match="no option 'depth'"):
        fit(train, tuning=tuning, options={"depth": 3}, **ask)
    with pytest.raises(ConfigError, match="no tuning part"):
        fit(train, tuning=None, **ask)
    with pytest.raises(FormatError, match="weights must be positive"):
        fit(Part(train.X, train.y, np.zeros_like(train.y)), tuning=tuning, **ask)
    with pytest.raises(FormatError, match="expects 6 columns"):
        fit(train, tuning=tuning, **ask).predict(X[:, :5])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_weights_move_the_fit_towards_the_heavy_rows(name: str) -> None:
    train, tuning, X = simulated("binary")
    weights = np.where(train.y == 1, 5.0, 1.0)
    even = MODELS[name].fit(train, tuning=tuning, objective="binary", seed=1, device=CPU)
    heavy = MODELS[name].fit(Part(train.X, train.y, weights), tuning=tuning, objective="binary", seed=1, device=CPU)
    assert heavy.predict(X).mean() > even.predict(X).mean() + 0.05


def test_the_registered_names_are_these() -> None:
    assert sorted(MODELS) == ["boosted", "linear", "points"]
    assert model_named("linear") is MODELS["linear"]
    with pytest.raises(ConfigError, match="one of: boosted, linear, points"):
        model_named("forest")


class _Broken:
    """Forgets the thread count's irrelevance, loses precision when saved, and leaves a part unexplained."""

    name = "broken"

    def __init__(self, value: float = 0.1, threads: int = 1) -> None:
        self.value, self.threads, self.objective, self.n_features, self.facts = value, threads, "binary", 6, {}

    def fit(self, train: Part, *, tuning: Part | None, threads: int = 1, **_: Any) -> _Broken:
        return _Broken(float(train.y.mean() if tuning is None else tuning.X[0, 3]) / 3, threads)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.full(len(X), self.value)

    margin = predict

    def contributions(self, X: np.ndarray) -> Contributions:
        return Contributions(np.zeros(X.shape, dtype=np.float32), 0.0)

    def to_files(self) -> dict[str, bytes]:
        return {"value": f"{self.value:.3f} {self.threads}".encode()}

    def from_files(self, files: dict[str, bytes]) -> _Broken:
        return _Broken(float(files["value"].split()[0]))


@pytest.mark.parametrize(
    "check", [check_reproduces, check_survives_saving, check_adds_up, check_learns_from_train_only]
)
def test_each_check_catches_a_broken_model(check: Any) -> None:
    with pytest.raises(AssertionError):
        check(_Broken(), "regression")
