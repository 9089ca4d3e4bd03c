"""Conformal intervals and sets: coverage near nominal with repeated rows and relatives, and the bounds' definition."""

from __future__ import annotations

import json

import numpy as np
import pytest

from genomix.errors import FormatError
from genomix.models.conformal import LEVELS, SETS, Conformal, calibrate, conformal_from, coverage, one_row_each


def families(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return units, predictions and quantities: families of 1 to 12 rows that share most of their error."""
    units = np.repeat(np.arange(n), rng.integers(1, 13, n))
    shared = rng.standard_t(4, n)[units]
    predicted = rng.normal(size=len(units))
    return units, predicted, predicted + shared + 0.3 * rng.normal(size=len(units))


def test_intervals_hold_a_new_persons_outcome_as_often_as_promised() -> None:
    """Over 400 studies: exactly ceil((n + 1) level) / (n + 1) on average. Rows taken for people would miss it."""
    rng = np.random.default_rng(0)
    held: dict[float, list[float]] = {level: [] for level in LEVELS}
    for study in range(400):
        units, p, y = families(rng, 60)
        fitted = calibrate(p, y, units, objective="regression", seed=study)
        units, p, y = families(rng, 200)
        rows = one_row_each(units, study)
        for level in LEVELS:
            held[level].append(float(fitted.holds(p[rows], y[rows], level).mean()))
    for level in LEVELS:
        exact = np.ceil(61 * level) / 61
        assert np.mean(held[level]) == pytest.approx(exact, abs=4 * np.std(held[level]) / 20)


def test_sets_hold_either_class_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)
    held: dict[tuple[float, int], list[float]] = {(level, c): [] for level in LEVELS for c in (0, 1)}

    def people(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        units = np.repeat(np.arange(n), rng.integers(1, 5, n))
        person = rng.normal(-1, 1.5, n)
        y = (rng.random(n) < 1 / (1 + np.exp(-person))).astype(float)[units]
        return units, 1 / (1 + np.exp(-2 * person[units] + 0.2 * rng.normal(size=len(units)))), y

    for study in range(300):
        units, p, y = people(250)
        fitted = calibrate(p, y, units, objective="binary", seed=study)
        units, p, y = people(500)
        rows = one_row_each(units, study)
        for level in LEVELS:
            inside = fitted.holds(p[rows], y[rows], level)
            for c in (0, 1):
                held[level, c].append(float(inside[y[rows] == c].mean()))
    for (level, _), shares in held.items():
        assert level - 0.005 <= np.mean(shares) <= level + 0.02


def test_a_bound_is_the_smallest_error_that_the_definition_allows() -> None:
    y = np.arange(1.0, 20.0)
    fitted = calibrate(np.zeros(19), y, np.arange(19), objective="regression", seed=0)
    assert fitted.bounds["all"] == {0.8: 16.0, 0.9: 18.0, 0.95: 19.0}
    few = calibrate(np.zeros(8), y[:8], np.arange(8), objective="regression", seed=0)
    assert few.bounds["all"] == {0.8: 8.0, 0.9: None, 0.95: None}
    low, high = (c.to_list() for c in few.columns(np.array([1.0]))[2:4])
    assert (low, high) == ([-np.inf], [np.inf])


def test_columns_and_holding_agree_and_json_keeps_them() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(400)
    y = (rng.random(400) < p).astype(float)
    fitted = calibrate(p, y, np.arange(400), objective="binary", seed=0)
    again = conformal_from(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    for column, level in zip(fitted.columns(p), LEVELS, strict=True):
        said = np.array(column.to_list())
        assert set(said) <= set(SETS)
        holds = np.where(y == 1, np.isin(said, ["yes", "either"]), np.isin(said, ["no", "either"]))
        assert np.array_equal(holds, fitted.holds(p, y, level))
    told = coverage(fitted, p, y, np.arange(400), seed=1)
    assert {(r["level"], r["class"]) for r in told} == {(v, c) for v in LEVELS for c in ("all", "no", "yes")}
    few = coverage(fitted, p[:8], y[:8], np.arange(8), seed=1)
    assert all(r["coverage"] is None for r in few)
    with pytest.raises(FormatError, match="holds no bounds"):
        conformal_from({"objective": "binary", "bounds": {}})
    assert isinstance(again, Conformal)
