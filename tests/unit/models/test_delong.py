"""DeLong's variance against placements counted one by one; its test under a true null; what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genomix.errors import ConfigError, LabelError
from genomix.models.delong import auroc_difference, delong, delong_test
from genomix.models.evaluate import Rows


def rows_of(y: np.ndarray, p: np.ndarray, *, code: np.ndarray | None = None, person: np.ndarray | None = None) -> Rows:
    n = np.arange(y.size)
    units = n if code is None else code
    return Rows(row=n, fold=np.zeros(y.size, dtype=np.int64), y=y, p=p, code=units, weight=np.ones(y.size),
                reference=None, n_drawn=int(units.max()) + 1, person=n if person is None else person)  # fmt: skip


def two_scores(rng: np.random.Generator, n: int, a: float, b: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and two correlated scores that events raise by a and b standard deviations."""
    y = (rng.random(n) < 0.3).astype(float)
    shared = rng.normal(size=n)
    first, second = ((shared + rng.normal(size=n)) / np.sqrt(2) + shift * y for shift in (a, b))
    return y, first, second


def by_placements(y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROCs and covariance as the paper's equations read, with psi of every pair."""
    X, Z = scores[:, y == 1], scores[:, y == 0]
    k, m, n = len(scores), X.shape[1], Z.shape[1]
    psi = np.zeros((k, m, n))
    for r in range(k):
        for i in range(m):
            for j in range(n):
                psi[r, i, j] = 1.0 if X[r, i] > Z[r, j] else 0.5 if X[r, i] == Z[r, j] else 0.0
    theta = psi.sum(axis=(1, 2)) / (m * n)
    v10, v01 = psi.sum(axis=2) / n, psi.sum(axis=1) / m
    s10, s01 = np.zeros((k, k)), np.zeros((k, k))
    for r in range(k):
        for s in range(k):
            s10[r, s] = sum((v10[r, i] - theta[r]) * (v10[s, i] - theta[s]) for i in range(m)) / (m - 1)
            s01[r, s] = sum((v01[r, j] - theta[r]) * (v01[s, j] - theta[s]) for j in range(n)) / (n - 1)
    return theta, s10 / m + s01 / n


@pytest.mark.parametrize("decimals", [8, 1, 0])
def test_aurocs_and_covariance_equal_placements_counted_one_by_one(decimals: int) -> None:
    y, a, b = two_scores(np.random.default_rng(decimals), 90, 1.0, 0.5)
    scores = np.round(np.vstack([a, b, -a]), decimals)
    found = delong(y, scores)
    auroc, covariance = by_placements(y, scores)
    assert found.auroc == pytest.approx(auroc, abs=1e-13)
    assert found.covariance == pytest.approx(covariance, abs=1e-13)
    # The reversed score mirrors the first: the same variance, and a covariance of its opposite.
    assert found.covariance[0, 2] == pytest.approx(-found.covariance[0, 0], abs=1e-13)


def test_one_model_may_be_given_by_itself() -> None:
    y, a, b = two_scores(np.random.default_rng(3), 200, 1.0, 0.5)
    assert delong(y, a[None]).covariance[0, 0] == pytest.approx(delong(y, np.vstack([b, a])).covariance[1, 1])


def test_p_values_are_uniform_where_the_models_are_equally_good_and_intervals_cover() -> None:
    """1,000 studies: 0.05 ± 0.0069 below 0.05 and 0.5 ± 0.016 below one half; three standard errors, and a little."""
    rng = np.random.default_rng(7)
    null = np.array([delong_test(rows_of(y, a), rows_of(y, b)).p_value for y, a, b in
                     (two_scores(rng, 200, 0.8, 0.8) for _ in range(1000))])  # fmt: skip
    assert 0.028 <= (null < 0.05).mean() <= 0.075
    assert 0.45 <= (null < 0.5).mean() <= 0.55
    from scipy.stats import norm

    truth = float(norm.cdf(1.2 / np.sqrt(2)) - norm.cdf(0.6 / np.sqrt(2)))
    held = 0
    for _ in range(500):
        y, a, b = two_scores(rng, 200, 1.2, 0.6)
        found = delong_test(rows_of(y, a), rows_of(y, b))
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 500 <= 0.98


def test_groups_with_several_rows_are_refused_and_resampled_instead() -> None:
    rng = np.random.default_rng(1)
    y, a, b = (np.repeat(v, 4) for v in two_scores(rng, 120, 1.0, 0.6))
    a, b = (v + 0.1 * rng.normal(size=v.size) for v in (a, b))
    unit, n = np.repeat(np.arange(120), 4), np.arange(480)
    for code, person, what in ((unit, unit, "person"), (unit, n, "group of relatives")):
        pair = rows_of(y, a, code=code, person=person), rows_of(y, b, code=code, person=person)
        with pytest.raises(LabelError, match=f"120 times a {what} has several rows"):
            delong_test(*pair)
        found = auroc_difference(*pair, seed=1, n_resamples=500)
        assert (found.method, found.p_value, found.standard_error) == ("group bootstrap", None, None)
        naive = delong_test(rows_of(y, a), rows_of(y, b))
        assert found.difference == pytest.approx(naive.difference, abs=1e-12)
        # Four copies of a person say what one does, so an interval of people is about twice as wide.
        assert 1.5 < (found.high - found.low) / (naive.high - naive.low) < 2.6


def test_independent_rows_take_the_formula_and_the_bootstrap_agrees() -> None:
    y, a, b = two_scores(np.random.default_rng(5), 400, 1.0, 0.5)
    found = auroc_difference(rows_of(y, a), rows_of(y, b), seed=1)
    assert found == delong_test(rows_of(y, a), rows_of(y, b))
    assert found.difference == found.first - found.second
    weighted = [replace(rows_of(y, p), weight=np.full(400, 2.0)) for p in (a, b)]
    beside = auroc_difference(*weighted, seed=1)
    assert beside.method == "group bootstrap"
    assert (beside.low, beside.high) == pytest.approx((found.low, found.high), abs=0.012)


def test_models_that_order_people_alike_have_no_test() -> None:
    y, a, _ = two_scores(np.random.default_rng(5), 100, 1.0, 0.5)
    found = delong_test(rows_of(y, a), rows_of(y, np.exp(a)))
    assert (found.difference, found.low, found.p_value) == (0.0, None, None)
    assert "order people alike" in found.note


def test_what_is_refused() -> None:
    y, a, b = two_scores(np.random.default_rng(5), 100, 1.0, 0.5)
    first, second = rows_of(y, a), rows_of(y, b)
    with pytest.raises(ConfigError, match="same rows"):
        delong_test(first, replace(second, y=1 - y))
    with pytest.raises(ConfigError, match="several folds"):
        delong_test(*(replace(r, fold=np.arange(100) % 2) for r in (first, second)))
    with pytest.raises(ConfigError, match="no weights"):
        delong_test(*(replace(r, weight=np.full(100, 2.0)) for r in (first, second)))
    few = np.concatenate([np.ones(9), np.zeros(91)])
    with pytest.raises(LabelError, match="9 rows of the rarer class"):
        auroc_difference(replace(first, y=few), replace(second, y=few), seed=1)
    with pytest.raises(LabelError, match="1 events and 99"):
        delong((np.arange(100) == 0).astype(float), a)
    with pytest.raises(LabelError, match="labels 0 and 1"):
        delong(y + 1, a)
    with pytest.raises(ConfigError, match="missing or infinite"):
        delong(y, np.where(y == 1, np.nan, a))
    with pytest.raises(ConfigError, match="do not fit"):
        delong(y, a[:50])
