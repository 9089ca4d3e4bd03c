"""Maths that a GPU runs is written to the Python array API, and the check catches maths that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomix.io.plink import GenotypeStore
from genomix.variants.pca import fit_pca
from tests.contracts.array_function import array_functions, check_same_under_strict_arrays
from tests.genotype_store import random_calls, store_of

CALLS = random_calls(40, 11, seed=4, missing=0.1)
WHOLE = np.where(CALLS < 0, 1, CALLS).astype(np.int8)
FUNCTIONS = array_functions()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    return store_of(tmp_path_factory.mktemp("store"), CALLS)


def _blocks(part: np.ndarray) -> Iterator[np.ndarray]:
    yield CALLS[:25, part]
    yield WHOLE[25:, part]


def _calls(store: GenotypeStore) -> dict[str, list[Callable[[Any, Any], Any]]]:
    """How to call each function; a new function with ``xp`` needs an entry here."""
    kinship, pca = "genomix.variants.kinship", "genomix.variants.pca"
    model = fit_pca(CALLS, n_components=2)
    return {
        "genomix.variants.ld.prune_pairwise": [
            lambda f, xp: f(store, r2=0.05, xp=xp),
            lambda f, xp: f(store, r2=0.02, window_bp=None, window_variants=7, step=3, samples=[0, 3, 4, 7, 9], xp=xp),
        ],
        f"{pca}.fit_pca": [
            lambda f, xp: f(CALLS, n_components=2, xp=xp).loadings,
            lambda f, xp: f(WHOLE, n_components=2, exact_limit=5, xp=xp).loadings,
        ],
        f"{pca}.fit_pca_of_store": [lambda f, xp: f(store, n_components=2, xp=xp).loadings],
        f"{pca}.project_store": [lambda f, xp: f(model, store, xp=xp)],
        f"{pca}.project_store_with_norms": [
            lambda f, xp: f(model, store, xp=xp).scores,
            lambda f, xp: f(model, store, xp=xp)[1],
        ],
        f"{kinship}.king_robust": [
            lambda f, xp: f(CALLS, minimum=-9.0, xp=xp, tile=4), lambda f, xp: f(WHOLE, minimum=-9.0, xp=xp)
        ],
        f"{kinship}.king_robust_matrix": [lambda f, xp: f(CALLS, xp=xp), lambda f, xp: f(WHOLE, xp=xp)],
        f"{kinship}.pairs_from_blocks": [lambda f, xp: f(_blocks, 11, minimum=-9.0, xp=xp, tile=3)],
        f"{kinship}.kinship_pairs": [lambda f, xp: f(store, minimum=-9.0, xp=xp)],
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_with_xp_is_the_same_under_strict_arrays(name: str, store: GenotypeStore) -> None:
    cases = _calls(store).get(name)
    assert cases, f"say in this file how to call {name}"
    for call in cases:
        check_same_under_strict_arrays(FUNCTIONS[name], call)


def _method_of_numpy(values: Any, xp: Any) -> Any:
    return np.asarray(xp.asarray(values).sum())


def _mixed_types(values: Any, xp: Any) -> Any:
    return np.from_dlpack(xp.asarray(values, dtype=xp.int8) * xp.asarray([0.5]))


def _other_result(values: Any, xp: Any) -> Any:
    return np.asarray([1.0 if xp is np else 2.0])


def _not_brought_back(values: Any, xp: Any) -> Any:
    return xp.asarray(values)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_method_of_numpy, "leaves the array API: AttributeError"),
        (_mixed_types, "leaves the array API: TypeError"),
        (_other_result, "another result under the strict array module"),
        (_not_brought_back, "not a NumPy array"),
    ],
)
def test_the_check_catches_maths_outside_the_array_api(function: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_same_under_strict_arrays(function, lambda f, xp: f([1, 2, 3], xp))


def test_kinship_is_found(tmp_path: Path) -> None:
    assert "genomix.variants.kinship.king_robust" in FUNCTIONS
