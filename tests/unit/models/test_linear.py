"""The linear model against scikit-learn, its preprocessing by definition, its Shapley values by enumeration."""

from __future__ import annotations

import json
from itertools import combinations
from math import factorial

import numpy as np
import pytest

from genomix.device import CPU
from genomix.models import penalised
from genomix.models.linear import MODEL, learn_preprocessing
from genomix.models.model import Objective, Part
from genomix.models.penalised import fit_path, largest_useful_penalty, objective_value


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 12))
    Z[:, 3] = Z[:, 2] + 0.1 * rng.normal(size=300)
    margin = Z[:, 0] - Z[:, 2] - 1
    return (
        Z,
        (rng.random(300) < 1 / (1 + np.exp(-margin))).astype(float),
        margin + rng.normal(size=300),
        rng.random(300) + 0.2,
    )


@pytest.mark.parametrize("l1_share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("penalty", [0.2, 0.005])
def test_least_squares_equals_scikit_learn(problem, l1_share: float, penalty: float) -> None:
    from sklearn.linear_model import ElasticNet, Ridge

    Z, _, y, w = problem
    _, found = fit_path(Z, y, w, objective="regression", l1_share=l1_share, penalties=[1.0, penalty])
    if l1_share:
        peer = ElasticNet(alpha=penalty, l1_ratio=l1_share, tol=1e-12, max_iter=100_000).fit(Z, y, sample_weight=w)
    else:
        peer = Ridge(alpha=penalty, tol=1e-12).fit(Z, y, sample_weight=w / w.sum())
    assert found.slopes == pytest.approx(peer.coef_, abs=1e-7)
    assert found.intercept == pytest.approx(float(peer.intercept_), abs=1e-7)


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_many_rows_give_the_same_slopes_by_products_of_columns(
    problem, objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    Z, events, y, w = problem
    target = events if objective == "binary" else y
    for_rows = list(fit_path(Z, target, w, objective=objective, l1_share=0.5, penalties=[0.1, 0.01]))
    monkeypatch.setattr(penalised, "_MANY_ROWS", 100)
    by_products = list(fit_path(Z, target, w, objective=objective, l1_share=0.5, penalties=[0.1, 0.01]))
    for one, other in zip(for_rows, by_products, strict=True):
        assert other.slopes == pytest.approx(one.slopes, abs=1e-9)


@pytest.mark.parametrize("l1_share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("penalty", [0.2, 0.005])
def test_logistic_regression_is_no_worse_than_scikit_learn(problem, l1_share: float, penalty: float) -> None:
    """saga stops early, so the comparison is of the function that both minimise; ours must be at least as low."""
    from sklearn.linear_model import LogisticRegression

    Z, y, _, w = problem
    share = w / w.sum()
    (found,) = fit_path(Z, y, w, objective="binary", l1_share=l1_share, penalties=[penalty])
    peer = LogisticRegression(solver="saga", l1_ratio=l1_share, C=1 / (penalty * y.size), tol=1e-8, max_iter=5000)
    if l1_share == 0.0:
        peer = LogisticRegression(C=1 / (penalty * y.size), tol=1e-10, max_iter=5000)
    peer.fit(Z, y, sample_weight=share * y.size)
    l2, l1 = penalty * (1 - l1_share), penalty * l1_share
    theirs = type(found)(float(peer.intercept_[0]), peer.coef_[0])
    ours = objective_value(Z, y, share, found, objective="binary", l2=l2, l1=l1)
    assert ours <= objective_value(Z, y, share, theirs, objective="binary", l2=l2, l1=l1) + 1e-9
    assert found.slopes == pytest.approx(theirs.slopes, abs=2e-3)


def test_at_the_largest_penalty_a_lasso_is_empty_and_just_below_it_is_not(problem) -> None:
    Z, y, _, w = problem
    top = largest_useful_penalty(Z, y, w, 1.0)
    at, below = fit_path(Z, y, w, objective="binary", l1_share=1.0, penalties=[top * 1.0001, top * 0.98])
    assert np.count_nonzero(at.slopes) == 0
    assert np.count_nonzero(below.slopes) == 1
    assert 1 / (1 + np.exp(-at.intercept)) == pytest.approx(float(w @ y / w.sum()))


def test_preprocessing_is_the_definition_over_the_given_rows() -> None:
    X = np.array([[1, 5, np.nan], [3, 5, np.nan], [np.nan, 5, np.nan], [8, 5, np.nan]], dtype=np.float32)
    learned = learn_preprocessing(X, None, 8.0)
    assert learned.median.tolist() == [3.0, 5.0, 0.0]
    assert learned.centre.tolist() == [3.75, 5.0, 0.0]
    assert learned.scale == pytest.approx([np.std([1, 3, 3, 8]), 1.0, 1.0])
    assert learned.indicator.tolist() == [0, 2]
    assert learned.indicator_centre.tolist() == [0.25, 1.0]
    design = learned.design(X)
    assert design.shape == (4, 5)
    assert design[2, 0] == pytest.approx((3 - 3.75) / np.std([1, 3, 3, 8]))
    assert not np.isnan(design).any()
    assert design[:, [1, 2, 4]].tolist() == [[0.0, 0.0, 0.0]] * 4


def test_one_recording_error_cannot_move_a_prediction_without_bound() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 2)).astype(np.float32)
    fitted = MODEL.fit(Part(X, X[:, 0].astype(float)), tuning=None, objective="regression", seed=0, device=CPU,
                       options={"penalty": 1e-6})  # fmt: skip
    wild = np.array([[1e9, 0.0], [8 * X[:, 0].std() + X[:, 0].mean(), 0.0]], dtype=np.float32)
    assert fitted.predict(wild)[0] == pytest.approx(fitted.predict(wild)[1], rel=1e-5)


def test_saved_model_is_plain_finite_json_of_two_files() -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    X[:5, 1] = np.nan
    y = (rng.random(60) < 0.4).astype(float)
    files = MODEL.fit(Part(X, y), tuning=Part(X, y), objective="binary", seed=0, device=CPU).to_files()
    assert sorted(files) == ["linear.json", "preprocessing.json"]
    for data in files.values():
        json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_contributions_equal_the_definition_with_columns_drawn_from_the_training_rows() -> None:
    """v(S): columns outside S are replaced by those of every training row in turn, and the margin is averaged."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(50, 4)).astype(np.float32)
    X[rng.random(X.shape) < 0.25] = np.nan
    y = (rng.random(50) < 0.4).astype(float)
    fitted = MODEL.fit(Part(X, y), tuning=None, objective="binary", seed=0, device=CPU, options={"penalty": 0.01})
    x = np.array([0.5, np.nan, -9.0, 30.0], dtype=np.float32)

    def v(chosen: tuple[int, ...]) -> float:
        mixed = X.copy()
        mixed[:, list(chosen)] = x[list(chosen)]
        return float(fitted.margin(mixed).mean())

    expected = [
        sum(
            factorial(len(s)) * factorial(3 - len(s)) / factorial(4) * (v((*s, j)) - v(s))
            for size in range(4)
            for s in combinations([k for k in range(4) if k != j], size)
        )
        for j in range(4)
    ]
    found = fitted.contributions(x[None, :])
    assert found.values[0] == pytest.approx(expected, abs=1e-5)
    assert found.base_value == pytest.approx(v(()), abs=1e-9)


def test_the_penalty_with_the_smallest_tuning_loss_is_kept(problem) -> None:
    """Every step of the path is refitted on its own and its loss on the tuning part taken with scikit-learn."""
    from sklearn.metrics import log_loss

    Z, y, _, _ = problem
    X = Z.astype(np.float32)
    train, tuning = Part(X[:200], y[:200]), Part(X[200:], y[200:])
    ask = {"objective": "binary", "seed": 0, "device": CPU}
    found = MODEL.fit(train, tuning=tuning, **ask)
    top = found.facts["penalty"]
    losses = {}
    for factor in (0.2, 0.54, 1.0, 1.85, 5.0):
        other = MODEL.fit(train, tuning=None, options={"penalty": top * factor}, **ask)
        losses[factor] = log_loss(tuning.y, other.predict(tuning.X))
    assert min(losses, key=lambda f: losses[f]) == 1.0
    assert losses[1.0] == pytest.approx(found.facts["tuning_loss"], abs=1e-9)
