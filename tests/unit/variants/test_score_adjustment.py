"""Ancestry adjustment against plain formulas, a general optimiser, and the laws that z-scores obey."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from genomix.errors import ConfigError
from genomix.variants.score_adjustment import ScoreAdjustment, fit_adjustment


def people(n: int = 800, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose mean and spread change with the first of two components."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) * [3.0, 0.1] + [1.0, 5.0]
    return 2 + 0.7 * x[:, 0] + rng.normal(size=n) * np.exp(0.2 * x[:, 0]), x


def test_mean_adjustment_is_the_standardised_residual() -> None:
    s, x = people()
    z = fit_adjustment(s, x, variance=False).apply(s, x)
    assert z.mean_variance is None
    design = np.column_stack([np.ones(len(s)), x])
    residual = s - design @ np.linalg.lstsq(design, s, rcond=None)[0]
    np.testing.assert_allclose(z.mean, residual / residual.std(), atol=1e-9)
    assert abs(np.corrcoef(z.mean, x[:, 0])[0, 1]) < 1e-9


def test_joint_fit_is_the_maximum_of_the_likelihood() -> None:
    """Against a general optimiser with numerical gradients, from another start."""
    from scipy.optimize import minimize

    s, x = people()
    adjustment = fit_adjustment(s, x)
    assert adjustment.joint_mean_line is not None
    assert adjustment.log_variance_line is not None
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    design, y = np.column_stack([np.ones(len(s)), standard]), s - s.mean()

    def loss(theta: np.ndarray) -> float:
        v = design @ theta[3:]
        return float((v / 2 + (y - design @ theta[:3]) ** 2 / (2 * np.exp(v))).sum())

    peer: Any = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-4})
    found = np.concatenate([adjustment.joint_mean_line, adjustment.log_variance_line])
    np.testing.assert_allclose(found, peer.x, atol=2e-4)
    assert loss(found) <= peer.fun + 1e-9
    # the standard error of this slope is 0.05
    assert adjustment.log_variance_line[1] == pytest.approx(2 * 0.2 * x[:, 0].std(), abs=0.2)
    z = adjustment.apply(s, x)
    assert z.mean_variance is not None
    low, high = x[:, 0] < 0, x[:, 0] > 2
    assert z.mean[high].std() > 1.5 * z.mean[low].std()
    assert z.mean_variance[high].std() == pytest.approx(z.mean_variance[low].std(), rel=0.2)


def test_units_of_score_and_components_do_not_matter() -> None:
    s, x = people()
    one, other = fit_adjustment(s, x).apply(s, x), fit_adjustment(5 * s - 3, x * 100 + 7).apply(5 * s - 3, x * 100 + 7)
    for a, b in zip(one, other, strict=True):
        assert a is not None
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_one_persons_z_does_not_depend_on_the_others_and_survives_json() -> None:
    s, x = people()
    adjustment = fit_adjustment(s, x)
    again = ScoreAdjustment.from_dict(json.loads(json.dumps(adjustment.to_dict())))
    whole, one = adjustment.apply(s, x), again.apply(s[7:8], x[7:8])
    assert (one.mean[0], one.mean_variance[0]) == (whole.mean[7], whole.mean_variance[7])  # type: ignore[index]


def test_without_components_it_is_a_plain_z() -> None:
    s, _ = people()
    z = fit_adjustment(s, np.empty((len(s), 0))).apply(s, np.empty((len(s), 0)))
    for values in z:
        np.testing.assert_allclose(values, (s - s.mean()) / s.std(), atol=1e-9)


def test_what_cannot_be_fitted_is_refused() -> None:
    s, x = people(50)
    for scores, components, message in (
        (s[:7], x[:7], "7 people are too few"),
        (np.ones(50), x, "does not vary"),
        (s, np.column_stack([x[:, 0], np.ones(50)]), "does not vary"),
        (x[:, 0] * 2 + 1, x, "nothing is left"),
        (np.where(np.arange(50) == 3, np.nan, s), x, "is missing"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit_adjustment(scores, components)
