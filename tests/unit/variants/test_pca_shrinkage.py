"""Shrinkage of projected scores: expectation against simulated people, and a correction that undoes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomix.variants.ancestry import eigenvalue_table
from genomix.variants.pca import PcaModel, fit_pca, fit_pca_of_store, project, project_store_with_norms
from genomix.variants.pca_shrinkage import Bulk, corrected, expected_sd, n_to_fit
from tests.genotype_store import store_of


def populations(n_variants: int, n_samples: int, *, spreads: tuple[float, ...], seed: int) -> np.ndarray:
    """Independent variants of four populations that drifted apart by ``spreads`` (FST)."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.1, 0.9, (n_variants, 1))
    own = np.clip(p + rng.normal(size=(n_variants, 4)) * np.sqrt(p * (1 - p) * np.array(spreads)), 0.02, 0.98)
    calls: np.ndarray = rng.binomial(2, own[:, rng.integers(0, 4, n_samples)]).astype(np.int8)
    return calls


def standardised(calls: np.ndarray, p: np.ndarray) -> np.ndarray:
    usable = (p > 0) & (p < 1)
    scale = np.sqrt(np.where(usable, 2 * p * (1 - p), 1.0))[:, None]
    return np.where(usable[:, None], (calls - 2 * p[:, None]) / scale, 0.0)


@pytest.mark.parametrize(
    ("n_variants", "n_fitted", "spreads"),
    [(6000, 190, (0.02, 0.012, 0.006, 0.003)), (1500, 400, (0.04, 0.02, 0.02, 0.01))],
)
def test_what_is_expected_is_found_and_corrected(n_variants: int, n_fitted: int, spreads: tuple[float, ...]) -> None:
    calls = populations(n_variants, n_fitted + 400, spreads=spreads, seed=1)
    wide = fit_pca(calls[:, :n_fitted], n_components=n_to_fit(3, n_fitted))
    model = wide.first(3)
    assert model.bulk is not None
    new = calls[:, n_fitted:]
    found = project(model, new).std(axis=0)
    assert found.min() < 0.7
    np.testing.assert_allclose(found, expected_sd(model.gram_values, model.bulk, n_fitted), atol=0.08)
    norms = (standardised(new, model.frequencies) ** 2).sum(axis=0)
    mended = corrected(project(wide, new), norms, wide.gram_values, n_fitted, 3)
    np.testing.assert_allclose(mended.std(axis=0), 1, atol=0.12)
    for k in range(3):
        assert np.corrcoef(mended[:, k], project(model, new)[:, k])[0, 1] > 0.98


def test_the_correction_is_the_decomposition_with_everybody_in_it() -> None:
    """With all components, each person's score is that of a plain decomposition of the fitted and that person."""
    calls = populations(300, 26, spreads=(0.1, 0.1, 0.05, 0.05), seed=2)
    fitted, new = calls[:, :25], calls[:, 25:]
    wide = fit_pca(fitted, n_components=24)
    z, x = standardised(fitted, wide.frequencies), standardised(new, wide.frequencies)
    _, singular, right = np.linalg.svd(np.hstack([z, x]), full_matrices=False)
    joint = (right.T * singular)[:, :2]
    target = project(wide, fitted)[:, :2] * np.sqrt(wide.gram_values[:2] / 25)
    u, s, vt = np.linalg.svd(joint[:25].T @ target)
    scale = s.sum() / (joint[:25] ** 2).sum()
    expected = scale * joint[25] @ u @ vt / np.sqrt(wide.gram_values[:2] / 25)
    found = corrected(project(wide, new), (x**2).sum(axis=0), wide.gram_values, 25, 2)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_published_ratio_and_noise() -> None:
    """Lee, Zou and Wright 2010: l = 5 and g = 4 give a sample eigenvalue of 10 and a ratio of (5 - 1) / (5 + 4 - 1)."""
    n, p = 1000, 4000
    others = n - 2  # Marchenko and Pastur: mean p and variance n p of the Gram matrix's eigenvalues
    bulk = Bulk(total=float(others * p), squares=float(others * (p**2 + n * p)))
    assert expected_sd(np.array([10.0 * n]), bulk, n)[0] == pytest.approx(0.5, rel=1e-9)
    at_the_edge = expected_sd(np.array([9.0 * n]), bulk, n)[0]  # l = 1 + sqrt(4)
    assert at_the_edge == pytest.approx(2 / (2 + 4), rel=1e-9)
    assert expected_sd(np.array([6.25 * n]), bulk, n)[0] == pytest.approx(1 / 2.5)
    assert np.isnan(expected_sd(np.array([1.0]), Bulk(0.0, 0.0), 10)).all()


def test_leading_components_of_more_are_those_of_fewer(tmp_path: Path) -> None:
    calls = populations(400, 60, spreads=(0.1, 0.1, 0.05, 0.05), seed=3)
    few, wide = fit_pca(calls, n_components=2), fit_pca(calls, n_components=10)
    assert few.bulk is not None
    np.testing.assert_allclose(wide.first(2).bulk, few.bulk, rtol=1e-9)
    np.testing.assert_allclose(wide.first(2).loadings, few.loadings, atol=1e-9)
    calls[5, 40:] = -9
    store = store_of(tmp_path, calls)
    model = fit_pca_of_store(store, samples=np.arange(40), n_components=2)
    found = project_store_with_norms(model, store, samples=np.arange(40, 60))
    z = np.where(calls[:, 40:] >= 0, standardised(calls[:, 40:], model.frequencies), 0)
    np.testing.assert_allclose(found.norms, (z**2).sum(axis=0), rtol=1e-5)
    assert PcaModel.from_dict(model.to_dict()).bulk is None  # what is saved stays as it was
    assert "bulk" not in model.to_dict()


def test_the_table_says_both_and_nothing_for_the_randomised_method() -> None:
    calls = populations(400, 80, spreads=(0.1, 0.1, 0.05, 0.05), seed=4)
    fitted = np.arange(80) < 60
    for limit, known in ((5000, 0), (10, 2)):
        model = fit_pca(calls[:, fitted], n_components=2, exact_limit=limit)
        scores = project(model, calls)
        table = eigenvalue_table(model, scores, fitted)
        assert table["expected_sd"].null_count() == known
        np.testing.assert_allclose(table["projected_sd"], scores[60:].std(axis=0, ddof=1))
    assert eigenvalue_table(model, scores, np.ones(80, dtype=bool))["projected_sd"].null_count() == 2
