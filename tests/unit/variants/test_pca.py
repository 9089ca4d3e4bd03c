"""Principal components against NumPy's own SVD, and thinning against a loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.variants.pca import PcaModel, fit_pca, ld_prune, project
from tests.genotype_store import random_calls


def structured(n_variants: int, n_samples: int, *, seed: int, missing: float = 0.0) -> np.ndarray:
    """Three populations that differ in frequency, so that two components stand out."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.2, 0.8, (n_variants, 1))
    label = np.arange(n_samples) % 3
    shift = rng.normal(0, [[0.15, 0.1, 0.05]], (n_variants, 3))[:, label]
    calls = rng.binomial(2, np.clip(base + shift, 0.02, 0.98)).astype(np.int8)
    calls[rng.random(calls.shape) < missing] = -9
    return calls


def standardised(calls: np.ndarray) -> np.ndarray:
    out = np.zeros(calls.shape)
    for v, row in enumerate(calls):
        p = row[row >= 0].mean() / 2
        out[v] = np.where(row >= 0, (row - 2 * p) / np.sqrt(2 * p * (1 - p)), 0)
    return out


@pytest.mark.parametrize("shape", [(40, 120), (300, 60)])
@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_fitted_scores_are_the_singular_vectors(shape: tuple[int, int], missing: float) -> None:
    calls = structured(*shape, seed=1, missing=missing)
    model = fit_pca(calls, n_components=3)
    z = standardised(calls)
    _, singular, right = np.linalg.svd(z, full_matrices=False)
    np.testing.assert_allclose(model.eigenvalues, singular[:3] ** 2 / shape[0], rtol=1e-9)
    scores = project(model, calls)
    for k in range(3):
        assert abs(np.corrcoef(scores[:, k], right[k])[0, 1]) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(scores.std(axis=0), 1, rtol=1e-9)
    assert ((model.loadings**3).sum(axis=0) > 0).all()


def test_projection_is_row_local_and_survives_json() -> None:
    calls = structured(200, 50, seed=2, missing=0.02)
    model = fit_pca(calls[:, :30], n_components=2)
    again = PcaModel.from_dict(json.loads(json.dumps(model.to_dict())))
    np.testing.assert_array_equal(project(again, calls), project(model, calls))
    np.testing.assert_allclose(project(model, calls)[41], project(model, calls[:, [41]])[0], rtol=1e-12)
    assert project(model, np.full((200, 1), -9, dtype=np.int8)).tolist() == [[0.0, 0.0]]  # nothing known: the mean


def test_randomised_agrees_with_exact_and_repeats_under_its_seed() -> None:
    calls = structured(300, 90, seed=3)
    exact, fast = fit_pca(calls, n_components=2), fit_pca(calls, n_components=2, exact_limit=10, seed=5)
    np.testing.assert_allclose(fast.eigenvalues, exact.eigenvalues, rtol=1e-6)
    for k in range(2):
        assert np.corrcoef(fast.loadings[:, k], exact.loadings[:, k])[0, 1] > 0.99999
    assert (fast.loadings == fit_pca(calls, n_components=2, exact_limit=10, seed=5).loadings).all()


def test_a_constant_variant_weighs_nothing() -> None:
    calls = np.vstack([structured(50, 30, seed=4), np.full((1, 30), 2), np.full((1, 30), -9)]).astype(np.int8)
    model = fit_pca(calls, n_components=2)
    assert (model.loadings[-2:] == 0).all()
    np.testing.assert_allclose(model.eigenvalues, fit_pca(calls[:-2], n_components=2).eigenvalues)


def test_too_many_components_are_refused() -> None:
    calls = structured(50, 6, seed=4)
    with pytest.raises(ConfigError, match="at most 5"):
        fit_pca(calls, n_components=6)


def test_thinning_equals_a_loop_over_all_kept_pairs() -> None:
    rng = np.random.default_rng(6)
    calls = random_calls(60, 80, seed=7, missing=0.05)
    for v in range(1, 60):
        if rng.random() < 0.5:
            noise = rng.random(80) < 0.15
            calls[v] = np.where(noise, calls[v], calls[v - 1])
    contigs = pl.Series(["1"] * 35 + ["2"] * 25)
    positions = np.concatenate([np.arange(35), np.arange(25)]) * 10
    kept: list[int] = []
    for v in range(60):
        filled = np.where(calls[v] >= 0, calls[v], calls[v][calls[v] >= 0].mean())
        near = [k for k in kept if contigs[k] == contigs[v] and positions[v] - positions[k] <= 70]
        others = [np.where(calls[k] >= 0, calls[k], calls[k][calls[k] >= 0].mean()) for k in near]
        if all(np.corrcoef(filled, o)[0, 1] ** 2 <= 0.3 for o in others):
            kept.append(v)
    found = ld_prune(calls, contigs, positions, r2=0.3, window_bp=70)
    assert np.flatnonzero(found).tolist() == kept
    assert 20 < len(kept) < 60


_FIT_AND_HASH = """
import hashlib, json
from tests.unit.variants.test_pca import structured
from genomix.variants.pca import fit_pca, project
calls = structured(700, 900, seed=9)
model = fit_pca(calls, n_components=5)
text = json.dumps(model.to_dict()).encode() + project(model, calls).tobytes()
print(hashlib.sha256(text).hexdigest())
"""


def test_not_one_bit_depends_on_the_number_of_threads() -> None:
    root = Path(__file__).resolve().parents[3]
    printed = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", _FIT_AND_HASH], capture_output=True, text=True, check=True, env=environment
        )
        printed.add(done.stdout)
    assert len(printed) == 1
