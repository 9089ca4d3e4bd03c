"""Saved models, their variants in another fileset, and outliers."""

from __future__ import annotations

from pathlib import Path

import array_api_strict
import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError
from genomix.variants.ancestry import (
    component_scores,
    mahalanobis,
    match_model,
    model_of_table,
    model_table,
    oriented,
)
from genomix.variants.pca import fit_pca, fit_pca_of_store, project, project_store
from tests.genotype_store import store_of
from tests.unit.variants.test_pca import structured


def test_the_streamed_fit_equals_the_one_in_memory(tmp_path: Path) -> None:
    calls = structured(300, 70, seed=1, missing=0.05)
    store = store_of(tmp_path, calls)
    rows, samples = np.arange(0, 300, 2), np.arange(5, 60)
    exact = fit_pca(calls[rows][:, samples], n_components=3)
    for options in ({}, {"xp": array_api_strict}, {"exact_limit": 10}):
        model = fit_pca_of_store(store, variants=rows, samples=samples, n_components=3, **options)  # type: ignore[arg-type]
        np.testing.assert_allclose(model.eigenvalues, exact.eigenvalues, rtol=2e-5)
        np.testing.assert_allclose(model.frequencies, exact.frequencies, rtol=1e-15)
    model = fit_pca_of_store(store, variants=rows, samples=samples, n_components=2)
    scores = project_store(model, store, variants=rows)
    np.testing.assert_allclose(scores, project(exact, calls[rows])[:, :2], atol=1e-4)
    np.testing.assert_allclose(scores[samples].std(axis=0), 1, rtol=1e-5)
    with pytest.raises(ConfigError, match="at most"):
        fit_pca_of_store(store, samples=[0, 1, 2], n_components=3)


def test_a_large_gram_matrix_is_solved_by_lanczos_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = structured(400, 120, seed=2)
    dense = fit_pca(calls, n_components=4)
    monkeypatch.setattr("genomix.variants.pca._DENSE_LIMIT", 50)
    lanczos = fit_pca(calls, n_components=4)
    np.testing.assert_allclose(lanczos.eigenvalues, dense.eigenvalues, rtol=1e-10)
    np.testing.assert_allclose(lanczos.loadings, dense.loadings, atol=1e-7)


def test_a_saved_model_finds_its_variants_also_swapped(tmp_path: Path) -> None:
    calls = structured(120, 40, seed=3)
    store = store_of(tmp_path, calls)
    model = fit_pca(calls, n_components=2)
    model_table(model, store.variants).write_parquet(tmp_path / "m.parquet")
    table = pl.read_parquet(tmp_path / "m.parquet")
    again = model_of_table(table)
    (tmp_path / "other").mkdir()
    names = [("1", 10 * (i + 1), *(("G", "A") if i % 3 == 0 else ("A", "G"))) for i in range(119)]
    turned = calls[:119].copy()
    turned[::3] = 2 - turned[::3]
    other = store_of(tmp_path / "other", turned, variants=names)
    matched = match_model(other, table)
    assert matched.n_matched == 119
    assert matched.rows.tolist() == [*range(119), -1]
    assert np.flatnonzero(matched.swapped).tolist() == list(range(0, 119, 3))
    scores = project_store(oriented(again, matched.swapped), other, variants=matched.rows)
    without_last = calls.copy()
    without_last[119] = -9
    np.testing.assert_allclose(scores, project(model, without_last), atol=1e-4)
    assert match_model(store, table).rows.tolist() == list(range(120))
    with pytest.raises(FormatError, match="no saved model"):
        model_of_table(table.drop("pc_1", "pc_2"))


def test_outliers_are_far_from_the_fitted_of_their_label() -> None:
    rng = np.random.default_rng(5)
    scores = np.vstack([rng.normal(0, 1, (100, 2)), rng.normal(20, 1, (100, 2))])
    scores[3] = [20, 20]
    fitted = np.arange(200) % 2 == 1
    ids = pl.Series([f"s{i}" for i in range(200)])
    labels = ["a"] * 100 + ["b"] * 100
    frame = component_scores(ids, scores, fitted, labels=labels, judge_projected=True)
    assert np.flatnonzero(frame["is_outlier"]).tolist() == [3]
    assert frame.columns == ["sample_id", "fitted", "distance", "is_outlier", "pc_1", "pc_2"]
    assert np.isnan(mahalanobis(scores, fitted & (np.arange(200) < 8))).all()  # too few to know their spread
    unknown = component_scores(ids, scores, fitted, labels=[None, *labels[1:]])
    assert unknown["is_outlier"][0] is None
    clean = np.delete(scores[:100], 3, axis=0)
    distance = mahalanobis(clean, np.ones(99, dtype=bool))
    plain = clean - clean.mean(axis=0)
    exact = (plain @ np.linalg.inv(np.cov(plain.T)) * plain).sum(axis=1)
    assert np.corrcoef(distance, exact)[0, 1] > 0.97


def test_a_tenth_of_strays_does_not_hide_itself() -> None:
    rng = np.random.default_rng(6)
    scores = rng.normal(0, 1, (300, 4)) @ rng.normal(size=(4, 4))
    scores[:30] += 50
    frame = component_scores(pl.Series(map(str, range(300))), scores, np.ones(300, dtype=bool))
    assert np.flatnonzero(frame["is_outlier"]).tolist() == list(range(30))
    assert np.isnan(mahalanobis(np.ones((50, 2)), np.ones(50, dtype=bool))).all()
