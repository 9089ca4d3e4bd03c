"""Drift: the index against a plain loop, bins that name nobody, and words that chance does not earn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genomix.models.drift import PREDICTION, Counter, reference_bins

NAMES = ["number", "flag", "gaps", "few"]


def rows(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(shift, 1, n), rng.random(n) < 0.04 + shift / 10, rng.normal(size=n), np.zeros(n)])
    X[rng.random(n) < 0.2 + shift / 4, 2] = np.nan
    X[:, 3] = np.nan
    X[:5, 3] = 1.0
    return X.astype(np.float32)


def compared(old: np.ndarray, new: np.ndarray) -> dict[str, dict[str, float]]:
    kept = reference_bins(old, NAMES, old[:, 0].astype(float))
    counter = Counter(kept)
    for part in np.array_split(new, 3):
        counter.add(part, NAMES, part[:, 0].astype(float))
    return {r["column"]: r for r in counter.table().to_dicts()}


def test_the_index_is_that_of_a_loop_over_bins() -> None:
    old, new = rows(3000, 1), rows(2000, 2, shift=0.8)
    found = compared(old, new)
    edges = reference_bins(old, NAMES)["columns"]["number"]["edges"]
    assert len(edges) == 9
    total = 0.0
    for i in range(10):
        low, high = ([-math.inf, *edges])[i], ([*edges, math.inf])[i]
        a = float(np.mean((old[:, 0] >= low) & (old[:, 0] < high)))
        b = float(np.mean((new[:, 0] >= low) & (new[:, 0] < high)))
        total += (b - a) * math.log(b / a)
    assert found["number"]["psi"] == pytest.approx(total, rel=1e-9)
    assert found["number"]["shift"] == "large"
    assert found[PREDICTION]["psi"] == pytest.approx(total, rel=1e-9)
    a, b = float(old[:, 1].mean()), float(new[:, 1].mean())
    two = (b - a) * math.log(b / a) + (a - b) * math.log((1 - b) / (1 - a))
    assert found["flag"]["psi"] == pytest.approx(two, rel=1e-6)
    assert found["gaps"]["missing_before"] == pytest.approx(np.isnan(old[:, 2]).mean())
    assert found["gaps"]["missing_now"] == pytest.approx(np.isnan(new[:, 2]).mean())
    assert found["few"]["shift"] == "not known"


def test_chance_alone_earns_no_word() -> None:
    for seed in range(20):
        found = compared(rows(2000, 50 + seed), rows(60, 90 + seed))
        assert found["number"]["shift"] == "none to speak of"
        assert found["number"]["psi_by_chance"] == pytest.approx(27.877 * (1 / 2000 + 1 / 60), rel=1e-4)
    same = compared(rows(4000, 3), rows(4000, 4))
    assert {r["shift"] for r in same.values()} == {"none to speak of", "not known"}


def test_bins_hold_eleven_people_or_more_and_an_absent_column_is_missing() -> None:
    rng = np.random.default_rng(0)
    skewed = np.concatenate([np.zeros(300), rng.integers(1, 40, 45)]).astype(np.float32)[:, None]
    for X in (rows(90, 5), rows(400, 6), skewed):
        for kept in reference_bins(X, NAMES[: X.shape[1]])["columns"].values():
            assert kept["counts"] is None or min(kept["counts"]) >= 11 or kept["counts"] == [0]
            assert kept["missing"] is None or kept["missing"] == 0 or kept["missing"] >= 11
    counter = Counter(reference_bins(rows(500, 7), NAMES))
    counter.add(rows(300, 8)[:, :1], NAMES[:1], np.zeros(300))
    told = {r["column"]: r for r in counter.table().to_dicts()}
    assert told["flag"]["missing_now"] == 1.0
    assert told["flag"]["psi"] is None
