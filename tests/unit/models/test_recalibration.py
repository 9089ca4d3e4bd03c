"""Recalibration: against closed forms and a likelihood's optimum, what it leaves alone, and its JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from genomix.errors import ConfigError, FormatError, LabelError
from genomix.models.recalibration import METHODS, calibrator_from, fit_calibrator


def drawn(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions that are too high and too extreme, and outcomes."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1.0, 1.0, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(float)
    return 1 / (1 + np.exp(-(0.9 + 1.8 * truth))), y


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def test_a_line_on_log_odds_is_the_maximum_of_the_likelihood() -> None:
    p, y = drawn()
    z = np.log(p / (1 - p))
    found = fit_calibrator(p, y, method="platt", objective="binary")
    best = minimize(lambda b: log_loss(1 / (1 + np.exp(-(b[0] + b[1] * z))), y), [0.0, 1.0], tol=1e-12)
    assert (found.intercept, found.slope) == pytest.approx(tuple(best.x), abs=1e-4)
    assert found.slope == pytest.approx(1 / 1.8, abs=0.08)
    level = fit_calibrator(p, y, method="intercept", objective="binary")
    best = minimize(lambda b: log_loss(1 / (1 + np.exp(-(b[0] + z))), y), [0.0], tol=1e-12)
    assert (level.intercept, level.slope) == (pytest.approx(best.x[0], abs=1e-4), 1.0)
    assert level.apply(p).mean() == pytest.approx(y.mean(), abs=1e-6)


def test_new_rows_are_better_calibrated_and_ranks_stay() -> None:
    p, y = drawn()
    q, z = drawn(seed=1)
    for method in METHODS:
        after = fit_calibrator(p, y, method=method, objective="binary").apply(q)
        assert log_loss(np.clip(after, 1e-9, 1 - 1e-9), z) < log_loss(q, z) - 0.01
        assert abs(after.mean() - z.mean()) < 0.03
        assert roc_auc_score(z, after) == pytest.approx(roc_auc_score(z, q), abs=1e-9 if method != "isotonic" else 5e-3)


def test_the_isotonic_curve_rises_keeps_the_mean_and_rests_on_eleven_rows_a_step() -> None:
    p, y = drawn(600)
    found = fit_calibrator(p, y, method="isotonic", objective="binary")
    assert list(found.x) == sorted(found.x)
    assert list(found.y) == sorted(found.y)
    edges = [(a + b) / 2 for a, b in zip(found.x, found.x[1:], strict=False)]
    assert len(found.x) >= 5
    assert min(np.bincount(np.searchsorted(edges, p))) >= 5
    from sklearn.isotonic import IsotonicRegression

    peer = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    assert np.abs(peer.predict(p) - found.apply(p)).mean() < 0.03
    assert found.y[0] > 0 or found.y[0] == 0
    tied = np.repeat([0.2, 0.6], 100)
    outcome = np.tile([0.0, 1.0, 1.0, 1.0], 50)
    both = fit_calibrator(tied, outcome, method="isotonic", objective="binary")
    assert both.apply(np.array([0.2, 0.6])) == pytest.approx([0.75, 0.75])


def test_a_quantity_is_moved_by_a_straight_line() -> None:
    rng = np.random.default_rng(2)
    p = rng.normal(size=300)
    y = 3 + 2 * p + rng.normal(size=300) / 10
    slope, intercept = np.polyfit(p, y, 1)
    found = fit_calibrator(p, y, method="platt", objective="regression")
    assert (found.intercept, found.slope) == pytest.approx((intercept, slope))
    level = fit_calibrator(p, y, method="intercept", objective="regression")
    assert level.apply(p).mean() == pytest.approx(y.mean())


@pytest.mark.parametrize("method", METHODS)
def test_json_gives_the_same_predictions(method: str) -> None:
    p, y = drawn(500)
    found = fit_calibrator(p, y, method=method, objective="binary")  # type: ignore[arg-type]  # a parametrised word
    again = calibrator_from(json.loads(json.dumps(found.to_json())))
    assert again == found
    assert np.array_equal(again.apply(p), found.apply(p))


def test_what_cannot_be_learned_is_refused() -> None:
    p, y = drawn(300)
    with pytest.raises(ConfigError, match="'beta' is unknown"):
        fit_calibrator(p, y, method="beta", objective="binary")  # type: ignore[arg-type]  # a wrong word
    for method in METHODS:
        with pytest.raises(LabelError, match="are too few"):
            fit_calibrator(p[:15], np.arange(15) % 2.0, method=method, objective="binary")
    separated = np.concatenate([np.full(60, 0.2), np.full(60, 0.7)]) + np.linspace(0, 0.05, 120)
    with pytest.raises(LabelError, match="separate the classes"):
        fit_calibrator(separated, (np.arange(120) >= 60).astype(float), method="platt", objective="binary")
    good = fit_calibrator(p, y, method="isotonic", objective="binary").to_json()
    for wrong in ({}, good | {"x": [], "y": []}, good | {"y": good["y"][::-1]}, good | {"method": "none"}):
        with pytest.raises(FormatError, match="no calibrator"):
            calibrator_from(wrong)
