"""Pairwise pruning against PLINK's own loop written out, over windows, blocks, missing calls and array modules."""

from __future__ import annotations

from pathlib import Path

import array_api_strict
import numpy as np
import pytest

from genomix.errors import ConfigError, FormatError
from genomix.variants import ld
from genomix.variants.ld import prune_pairwise
from tests.genotype_store import store_of


def linked_calls(n_variants: int, n_samples: int, *, seed: int, missing: float) -> np.ndarray:
    """Neighbours that are noisy copies of each other."""
    rng = np.random.default_rng(seed)
    calls = np.empty((n_variants, n_samples), dtype=np.int8)
    for v in range(n_variants):
        fresh = rng.binomial(2, rng.uniform(0.1, 0.9), n_samples)
        copied = v > 0 and rng.random() < 0.8
        calls[v] = (
            np.where(rng.random(n_samples) < 0.8, calls[v - rng.integers(1, min(v, 3) + 1)], fresh) if copied else fresh
        )
    calls[rng.random(calls.shape) < missing] = -9
    return calls


def by_loop(calls: np.ndarray, windows: list[tuple[int, int]], r2: float) -> list[int]:
    """The loop of PLINK 1.9's ld_prune_thread: every pair, swept until nothing goes."""
    n = len(calls)
    gone = [len(set(row[row >= 0].tolist())) < 2 for row in calls]
    major = [max(m, 1 - m) for m in (row[row >= 0].mean() / 2 if (row >= 0).any() else 0 for row in calls)]
    begin = list(range(1, n + 1))
    for start, end in windows:
        again = True
        while again:
            again = False
            for i in range(start, end):
                if gone[i]:
                    continue
                for j in range(begin[i], end):
                    begin[i] = j + 1
                    if gone[j]:
                        continue
                    both = (calls[i] >= 0) & (calls[j] >= 0)
                    x, y = calls[i][both].astype(float), calls[j][both].astype(float)
                    spread = x.std() * y.std()
                    if spread and ((x * y).mean() - x.mean() * y.mean()) ** 2 > r2 * (1 + 1e-12) * spread**2:
                        gone[i if major[i] > major[j] * (1 + 1e-12) else j] = True
                        again = True
                        break
    return [v for v in range(n) if not gone[v]]


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize(("window", "step"), [(2, 1), (10, 1), (10, 4), (90, 1), (15, 15)])
def test_windows_of_variants(
    tmp_path: Path, missing: float, window: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = linked_calls(90, 60, seed=window, missing=missing)
    calls[7] = 0
    store = store_of(tmp_path, calls)
    windows = [(s, min(s + window, 90)) for s in range(0, 90, step)]
    expected = by_loop(calls, windows, 0.3)
    for smallest in (64, 5):
        monkeypatch.setattr(ld, "_SMALLEST_BLOCK", smallest)
        found = prune_pairwise(store, r2=0.3, window_bp=None, window_variants=window, step=step)
        assert np.flatnonzero(found).tolist() == expected
    assert 0 < len(expected) < 89


def test_windows_of_bp_on_two_contigs(tmp_path: Path) -> None:
    calls = linked_calls(80, 50, seed=3, missing=0.05)
    place = np.sort(np.random.default_rng(4).integers(1, 2000, 80)).tolist()
    place[40:] = np.sort(np.random.default_rng(5).integers(1, 2000, 40)).tolist()
    place[:40] = sorted(place[:40])
    variants = [("1" if i < 40 else "2", place[i], "A", "G") for i in range(80)]
    store = store_of(tmp_path, calls, variants=variants)
    expected = []
    for base in (0, 40):
        own = place[base : base + 40]
        windows = [(i, sum(p <= own[i] + 300 for p in own)) for i in range(40)]
        expected += [base + v for v in by_loop(calls[base : base + 40], windows, 0.2)]
    assert np.flatnonzero(prune_pairwise(store, r2=0.2, window_bp=300)).tolist() == expected
    assert np.flatnonzero(prune_pairwise(store, r2=0.2, window_bp=300, xp=array_api_strict)).tolist() == expected


def test_only_the_given_samples_and_variants_count(tmp_path: Path) -> None:
    calls = linked_calls(60, 40, seed=6, missing=0.0)
    store = store_of(tmp_path, calls)
    rows, samples = np.arange(10, 50), np.arange(0, 40, 2)
    expected = by_loop(calls[10:50][:, samples], [(0, 40)], 0.4)
    found = prune_pairwise(store, variants=rows, samples=samples, r2=0.4, window_bp=10_000)
    assert np.flatnonzero(found).tolist() == expected


def test_impossible_windows_and_unsorted_variants_are_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, linked_calls(10, 20, seed=7, missing=0))
    for wrong in (
        {"window_bp": None}, {"window_bp": 10, "window_variants": 10}, {"window_bp": 10, "step": 2},
        {"window_bp": None, "window_variants": 1}, {"r2": 0.0},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            prune_pairwise(store, **wrong)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(FormatError, match="not sorted"):
        prune_pairwise(store, variants=[3, 2])
    assert prune_pairwise(store, variants=[]).shape == (0,)
