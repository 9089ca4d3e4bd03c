"""Long steps tell how far they are, from little to all, and give the same with or without somebody listening."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomix.io.plink import GenotypeStore
from genomix.variants.kinship import kinship_pairs
from genomix.variants.ld import prune_pairwise
from genomix.variants.pca import fit_pca_of_store, project_store
from tests.genotype_store import random_calls, store_of


@pytest.fixture
def store(tmp_path: Path) -> GenotypeStore:
    return store_of(tmp_path, random_calls(300, 50, seed=2))


def _pca(store: GenotypeStore, limit: int, **more: Any) -> np.ndarray:
    return fit_pca_of_store(store, n_components=3, exact_limit=limit, **more).loadings


def _projected(store: GenotypeStore, **more: Any) -> np.ndarray:
    return project_store(fit_pca_of_store(store, n_components=3), store, **more)


STEPS: dict[str, tuple[Callable[..., Any], int]] = {
    "kinship": (lambda s, **m: kinship_pairs(s, minimum=-1, **m).to_numpy(), 50 * 49 // 2),
    "kinship in tiles": (lambda s, **m: kinship_pairs(s, minimum=-1, tile=20, **m).to_numpy(), 50 * 49 // 2),
    "pruning": (lambda s, **m: prune_pairwise(s, r2=0.02, window_bp=100_000, **m), 300),
    "exact components": (lambda s, **m: _pca(s, 100, **m), 300),
    "randomised components": (lambda s, **m: _pca(s, 0, **m), 300),
    "projection": (_projected, 300),
}


@pytest.mark.parametrize("name", STEPS)
def test_shares_rise_to_one_and_nothing_else_changes(name: str, store: GenotypeStore) -> None:
    step, n = STEPS[name]
    told: list[tuple[float, int]] = []
    found = step(store, progress=lambda share, count: told.append((share, count)))
    np.testing.assert_array_equal(found, step(store))
    shares, counts = zip(*told, strict=True)
    assert list(shares) == sorted(shares)
    assert list(counts) == sorted(counts)
    assert shares[-1] == pytest.approx(1.0)
    assert counts[-1] >= n
    assert shares[0] > 0
