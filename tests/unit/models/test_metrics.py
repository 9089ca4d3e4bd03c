"""Every measure against scikit-learn, an independent fit, or pairs counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from genomix.models import metrics as m
from genomix.models.logistic import logit, weighted_logistic


@pytest.fixture(params=["continuous", "tied"])
def data(request) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = (rng.random(400) < 1 / (1 + np.exp(-(x - 1)))).astype(float)
    p = 1 / (1 + np.exp(-(1.4 * x - 0.8 + rng.normal(size=400))))
    return y, p if request.param == "continuous" else np.round(p, 1) * 0.98 + 0.01, rng.random((3, 400)) + 0.1


def pairs_one_by_one(y: np.ndarray, p: np.ndarray, w: np.ndarray, fold: np.ndarray) -> float:
    in_order = total = 0.0
    for i in np.flatnonzero(y == 1):
        for j in np.flatnonzero((y == 0) & (fold == fold[i])):
            total += w[i] * w[j]
            in_order += w[i] * w[j] * (1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0)
    return in_order / total


def test_auroc_and_average_precision_equal_scikit_learn(data) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    y, p, W = data
    plan = m.plan_ranks(y, p)
    for k, w in enumerate(W):
        assert m.auroc(plan, W)[k] == pytest.approx(roc_auc_score(y, p, sample_weight=w), abs=1e-12)
        assert m.average_precision(plan, W)[k] == pytest.approx(
            average_precision_score(y, p, sample_weight=w), abs=1e-12
        )


def test_auroc_of_several_folds_counts_pairs_within_folds(data) -> None:
    y, p, W = data
    fold = np.random.default_rng(1).integers(0, 4, y.size) * 10
    found = m.auroc(m.plan_ranks(y, p, fold), W)
    assert found == pytest.approx([pairs_one_by_one(y, p, w, fold) for w in W], abs=1e-12)


def test_average_precision_of_several_folds_weighs_folds_by_events(data) -> None:
    from sklearn.metrics import average_precision_score

    y, p, W = data
    fold = np.random.default_rng(1).integers(0, 4, y.size)
    parts = []
    for f in range(4):
        here = fold == f
        value = average_precision_score(y[here], p[here], sample_weight=W[0, here])
        parts.append((W[0, here] @ y[here], value))
    expected = sum(events * value for events, value in parts) / sum(events for events, _ in parts)
    assert m.average_precision(m.plan_ranks(y, p, fold), W)[0] == pytest.approx(expected, abs=1e-12)


def test_predicting_the_training_prevalence_is_worthless_within_folds_and_looks_harmful_when_pooled() -> None:
    """The reason for the rule: a fold with many events has a training part with few."""
    rng = np.random.default_rng(2)
    y = (rng.random(300) < 0.3).astype(float)
    fold = np.arange(300) % 5
    p = np.array([y[fold != f].mean() for f in fold])
    weights = np.ones((1, 300))
    assert m.auroc(m.plan_ranks(y, p, fold), weights)[0] == 0.5
    assert m.auroc(m.plan_ranks(y, p), weights)[0] < 0.47


def test_a_fold_of_one_class_adds_no_pairs() -> None:
    y, p, fold = np.array([1.0, 0, 1, 1]), np.array([0.9, 0.1, 0.2, 0.3]), np.array([0, 0, 1, 1])
    assert m.auroc(m.plan_ranks(y, p, fold), np.ones((1, 4)))[0] == 1.0


def test_a_resample_of_one_class_has_no_value() -> None:
    y, p = np.array([1.0, 0, 0]), np.array([0.9, 0.1, 0.2])
    weights = np.array([[0.0, 2, 1], [3.0, 0, 0]])
    plan = m.plan_ranks(y, p)
    assert np.isnan(m.auroc(plan, weights)).all()
    assert np.isnan(m.average_precision(plan, weights)).all()
    assert np.isnan(m.calibration_slope(y, p, weights)).all()


def test_log_loss_equals_scikit_learn(data) -> None:
    from sklearn.metrics import log_loss

    y, p, W = data
    assert np.average(m.log_losses(y, p), weights=W[0]) == pytest.approx(log_loss(y, p, sample_weight=W[0]), abs=1e-12)


def test_recalibration_equals_an_unpenalised_logistic_regression(data) -> None:
    from scipy.optimize import brentq
    from sklearn.linear_model import LogisticRegression

    y, p, W = data
    for k, w in enumerate(W):
        peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000).fit(logit(p)[:, None], y, sample_weight=w)
        assert m.calibration_slope(y, p, W)[k] == pytest.approx(peer.coef_[0, 0], abs=1e-5)
        shift = brentq(lambda a, w=w: float(w @ (y - 1 / (1 + np.exp(-(a + logit(p)))))), -10, 10)
        assert m.calibration_intercept(y, p, W)[k] == pytest.approx(shift, abs=1e-7)


def test_known_distortions_are_recovered() -> None:
    rng = np.random.default_rng(3)
    true = 1 / (1 + np.exp(-rng.normal(size=200_000)))
    y = (rng.random(true.size) < true).astype(float)
    one = np.ones((1, y.size))
    extreme = 1 / (1 + np.exp(-(2 * logit(true) + 0.5)))
    assert m.calibration_slope(y, true, one)[0] == pytest.approx(1, abs=0.02)
    assert m.calibration_slope(y, extreme, one)[0] == pytest.approx(0.5, abs=0.01)
    assert m.integrated_calibration_index(y, true, one)[0] < 0.005
    # The curve is known here, so the index is too, up to the error of a fit on 200,000 rows.
    assert m.integrated_calibration_index(y, extreme, one)[0] == pytest.approx(np.abs(extreme - true).mean(), abs=0.004)


def test_perfect_separation_has_no_slope() -> None:
    y = np.array([0.0] * 20 + [1.0] * 20)
    p = np.linspace(0.1, 0.9, 40)
    assert np.isnan(m.calibration_slope(y, p, np.ones((1, 40)))[0])


def test_predictions_that_do_not_vary_have_no_slope_and_no_index() -> None:
    y, p, one = np.array([0.0, 1, 0, 1]), np.full(4, 0.5), np.ones((1, 4))
    assert np.isnan(m.calibration_slope(y, p, one)[0])
    assert np.isnan(m.integrated_calibration_index(y, p, one)[0])
    assert np.isnan(m.pearson_r(y, p, one)[0])


def test_the_spline_spans_the_natural_cubic_splines_of_its_knots() -> None:
    """Natural interpolating splines through arbitrary values at the knots must lie in the span."""
    from scipy.interpolate import CubicSpline

    knots = np.array([-2.0, -0.5, 0.3, 1.0, 2.5])
    x = np.linspace(-2, 2.5, 200)
    wanted = CubicSpline(knots, np.random.default_rng(4).normal(size=5), bc_type="natural")(x)
    design = m.natural_spline(x, knots)
    residual = wanted - design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
    assert np.abs(residual).max() < 1e-8
    outside = m.natural_spline(np.array([3.0, 4.0, 5.0, -3.0, -4.0, -5.0]), knots)
    assert np.abs(outside[0] - 2 * outside[1] + outside[2]).max() < 1e-9
    assert np.abs(outside[3] - 2 * outside[4] + outside[5]).max() < 1e-9


def test_smooth_curve_equals_an_unpenalised_fit_in_another_basis() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(5)
    p = rng.beta(2, 5, 800)
    y = (rng.random(800) < np.clip(p**1.5 + 0.05, 0, 1)).astype(float)
    w = rng.integers(0, 4, 800).astype(float)
    design = m.natural_spline(logit(p), m.spline_knots(logit(p), 5))[:, 1:]
    rotated = StandardScaler().fit_transform(design @ rng.normal(size=(4, 4)))
    peer = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=500).fit(
        rotated, y, sample_weight=w
    )
    found = m.smooth_calibration(y, p, w[None, :])[0]
    assert found == pytest.approx(peer.predict_proba(rotated)[:, 1], abs=1e-6)


def test_newton_finds_the_maximum_of_every_resample() -> None:
    rng = np.random.default_rng(6)
    design = np.column_stack([np.ones(150), rng.normal(size=(150, 2))])
    y = (rng.random(150) < 0.3).astype(float)
    W = rng.integers(0, 3, (20, 150)).astype(float)
    beta = weighted_logistic(design, y, W)
    gradient = [(w * (y - 1 / (1 + np.exp(-design @ b)))) @ design for w, b in zip(W, beta, strict=True)]
    assert np.abs(gradient).max() < 1e-7


def test_measures_of_a_quantity_equal_scikit_learn() -> None:
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(7)
    y = 100 + rng.normal(size=200)
    p = 100 + 0.5 * (y - 100) + rng.normal(size=200)
    W = rng.random((3, 200))
    for k, w in enumerate(W):
        assert m.r_squared(y, p, W)[k] == pytest.approx(r2_score(y, p, sample_weight=w), abs=1e-9)
        assert m.pearson_r(y, p, W)[k] == pytest.approx(np.cov(y, p, aweights=w)[0, 1] / np.sqrt(
            np.cov(y, aweights=w) * np.cov(p, aweights=w)), abs=1e-9)  # fmt: skip
    reference = np.full(200, 99.0)
    expected = 1 - ((y - p) ** 2).sum() / ((y - 99) ** 2).sum()
    assert m.r_squared(y, p, np.ones((1, 200)), reference)[0] == pytest.approx(expected)


def test_pearson_of_several_folds_ignores_differences_between_folds() -> None:
    rng = np.random.default_rng(8)
    fold = np.arange(300) % 3
    y = rng.normal(size=300)
    p = 0.8 * y + 0.3 * rng.normal(size=300)
    shifted = p - 50.0 * fold
    inside = [m.pearson_r(y, q, np.ones((1, 300)), fold)[0] for q in (p, shifted)]
    assert inside[0] == pytest.approx(inside[1])
    centred_y, centred_p = (v - np.array([v[fold == f].mean() for f in fold]) for v in (y, p))
    assert inside[0] == pytest.approx(np.corrcoef(centred_y, centred_p)[0, 1])
