"""The clinical score: bands and whole points, read from its JSON as a person would, and what it keeps."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError
from genomix.models.model import Part, model_named

POINTS = model_named("points")


def people(n: int, seed: int, objective: str = "binary") -> Part:
    """Column 1 (a step at 2) and column 4 (yes/no) matter, column 2 by being missing; the others are noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 12)).astype(np.float32)
    X[:, 1] = rng.integers(0, 5, n)
    X[:, 4] = rng.random(n) < 0.3
    X[rng.random(n) < 0.3, 2] = np.nan
    margin = -1.4 + 1.6 * (X[:, 1] >= 2) + 1.2 * X[:, 4] + 0.8 * np.isnan(X[:, 2])
    y = (
        (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)
        if objective == "binary"
        else margin + rng.normal(size=n)
    )
    return Part(X, y)


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_what_the_file_says_is_what_it_predicts(objective: str) -> None:
    train, tuning, rows = people(3000, 1, objective), people(800, 2, objective), people(50, 3).X
    rows[0] = np.nan
    fitted = POINTS.fit(train, tuning=tuning, objective=objective, seed=1, device=CPU)
    read = json.loads(fitted.to_files()["points.json"])
    assert {1, 2, 4} <= {c["column"] for c in read["cards"]}
    assert len(read["cards"]) <= 5
    for card in read["cards"]:
        assert all(isinstance(p, int) for p in [*card["points"], card["missing"]])
        assert 0 <= min(card["points"]) <= max(card["points"]) <= 10
        assert len(card["points"]) == len(card["edges"]) + 1
    for row, predicted in zip(rows.tolist(), fitted.predict(rows), strict=True):
        total = 0
        for card in read["cards"]:
            value = row[card["column"]]
            band = sum(value >= edge for edge in card["edges"])
            total += card["missing"] if math.isnan(value) else card["points"][band]
        margin = read["intercept"] + read["per_point"] * total
        assert predicted == pytest.approx(1 / (1 + math.exp(-margin)) if objective == "binary" else margin)


def test_it_finds_the_step_and_the_order_of_effects() -> None:
    fitted = POINTS.fit(people(6000, 4), tuning=people(2000, 5), objective="binary", seed=1, device=CPU)
    cards = {c["column"]: c for c in json.loads(fitted.to_files()["points.json"])["cards"]}
    by_value = [cards[1]["points"][sum(v >= e for e in cards[1]["edges"])] for v in range(5)]
    assert max(by_value[:2]) <= 2
    assert min(by_value[2:]) >= 8
    assert cards[4]["edges"] == [1.0]
    assert cards[2]["missing"] >= max(cards[2]["points"]) + 3


def test_the_line_is_calibrated_on_the_training_rows() -> None:
    train = people(4000, 6)
    fitted = POINTS.fit(train, tuning=people(900, 7), objective="binary", seed=1, device=CPU)
    assert fitted.predict(train.X).mean() == pytest.approx(train.y.mean(), abs=1e-6)


def test_every_band_holds_a_twentieth_of_the_rows() -> None:
    train = people(1000, 8)
    fitted = POINTS.fit(
        train,
        tuning=None,
        objective="binary",
        seed=1,
        device=CPU,
        options={"n_columns": 9, "n_bands": 8, "choose": False},
    )
    cards = json.loads(fitted.to_files()["points.json"])["cards"]
    assert len(cards) == 9
    for card in cards:
        values = train.X[:, card["column"]]
        values = values[~np.isnan(values)]
        band = np.array([sum(v >= e for e in card["edges"]) for v in values.tolist()])
        assert np.bincount(band, minlength=len(card["points"])).min() >= 0.05 * 1000 - 1


def test_rows_that_weigh_two_count_as_two_rows() -> None:
    train = people(600, 9)
    twice = np.arange(600) % 3 == 0
    copies = Part(np.vstack([train.X, train.X[twice]]), np.concatenate([train.y, train.y[twice]]))
    weighted = Part(train.X, train.y, np.where(twice, 2.0, 1.0))
    given = {"tuning": people(200, 10), "objective": "binary", "seed": 1, "device": CPU}
    first, second = POINTS.fit(copies, **given), POINTS.fit(weighted, **given)
    rows = people(80, 11).X
    assert first.predict(rows) == pytest.approx(second.predict(rows), rel=1e-6)


def test_options_without_meaning_are_refused() -> None:
    for options in ({"n_columns": 0}, {"n_bands": 1}, {"most_points": 0}):
        with pytest.raises(ConfigError, match="at least one column"):
            POINTS.fit(people(99, 1), tuning=people(50, 2), objective="binary", seed=1, device=CPU, options=options)
