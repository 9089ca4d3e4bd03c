"""What every model promises beyond its own tests: seeds, threads, saving, exact contributions, missing values, weights.

A check takes the model and the objective; the data are drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.device import CPU
from genomix.errors import ConfigError, FormatError, GenomixError, LabelError
from genomix.features.matrix import FeatureBlock
from genomix.models.bundle import read_bundle, write_bundle
from genomix.models.model import Objective, Part
from genomix.provenance import canonical_json
from genomix.schemas.features import COLUMNS
from tests.contracts.refusal import refusal

N_COLUMNS = 5
ROUGH: Mapping[str, Mapping[str, Any]] = {"boosted": {"subsample": 0.7, "colsample_bytree": 0.6}}
"""Options under which a model draws at random, for the checks of its seed."""


def draw(objective: Objective, n: int = 240, seed: int = 11) -> tuple[Part, Part, np.ndarray]:
    """Return a training part, a tuning part and rows to predict; every column has missing values."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, N_COLUMNS)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    margin = 1.5 * np.nan_to_num(X[:, 0]) - np.nan_to_num(X[:, 1]) + 0.8 * np.isnan(X[:, 2])
    chance = 1 / (1 + np.exp(-margin))
    y = (rng.random(n) < chance).astype(float) if objective == "binary" else margin + rng.normal(size=n) / 2
    third = n // 3
    rows = X[2 * third :].copy()
    rows[0] = np.nan
    return Part(X[:third], y[:third]), Part(X[third : 2 * third], y[third : 2 * third]), rows


def fit(model: Any, objective: Objective, **changes: Any) -> Any:
    """Fit on the drawn parts, with arguments changed."""
    train, tuning, _ = draw(objective)
    given = {"tuning": tuning, "objective": objective, "seed": 1, "device": CPU, **changes}
    return model.fit(given.pop("train", train), **given)


def block_of(X: np.ndarray) -> FeatureBlock:
    """Return rows as a block of named columns."""
    rows = [(f"c{i}", "f", "records", f"c{i}", "records", None, None, None, None, f"column {i}", None)
            for i in range(X.shape[1])]  # fmt: skip
    types = {c.name: c.dtype for c in COLUMNS.columns}
    return FeatureBlock(X, COLUMNS.validate(pl.DataFrame(rows, schema=types, orient="row")))


def check_reproduces_under_a_seed(model: Any, objective: Objective, folder: Path) -> None:
    """The same seed gives the same bytes, with any number of threads, also where rows and columns are drawn."""
    for options in ({}, dict(ROUGH.get(model.name, {}))):
        files = [fit(model, objective, threads=n, options=options).to_files() for n in (1, 1, 2, 3)]
        assert files[0] == files[1], f"{model.name}: the same seed gives other bytes"
        assert files[0] == files[2] == files[3], f"{model.name}: the number of threads changes the bytes"
        _check_leaves_the_shared_generator(model, objective, options)


def _check_leaves_the_shared_generator(model: Any, objective: Objective, options: dict[str, Any]) -> None:
    kept = np.random.get_state()
    planted = np.random.RandomState(77).get_state()
    np.random.set_state(planted)
    try:
        fit(model, objective, options=options)
        words = [np.asarray(state[1]) for state in (planted, np.random.get_state())]
    finally:
        np.random.set_state(kept)
    assert np.array_equal(*words), f"{model.name}: draws from NumPy's shared generator"


def check_survives_a_bundle(model: Any, objective: Objective, folder: Path) -> None:
    """What is written as a bundle and read predicts, explains and saves identically."""
    fitted = fit(model, objective)
    _, _, X = draw(objective)
    block = block_of(X)
    write_bundle(folder / "bundle", fitted, columns=block.columns)
    bundle = read_bundle(folder / "bundle")
    read = bundle.fitted
    assert np.array_equal(bundle.predict(block), fitted.predict(X)), f"{model.name}: a saved model predicts otherwise"
    assert np.array_equal(read.margin(X), fitted.margin(X)), f"{model.name}: a saved model has other margins"
    before, after = fitted.contributions(X), read.contributions(X)
    assert np.array_equal(after.values, before.values), f"{model.name}: a saved model explains otherwise"
    assert after.base_value == before.base_value, f"{model.name}: a saved model starts from another margin"
    same = (read.model, read.objective, read.n_features) == (model.name, objective, N_COLUMNS)
    assert same, f"{model.name}: a saved model is called {(read.model, read.objective, read.n_features)}"
    assert canonical_json(dict(read.facts)) == canonical_json(dict(fitted.facts)), f"{model.name}: other facts"
    assert read.to_files() == fitted.to_files(), f"{model.name}: a saved model is saved otherwise"
    backwards = FeatureBlock(X[:, ::-1], block.columns.reverse())
    assert np.array_equal(bundle.predict(backwards), fitted.predict(X)), f"{model.name}: columns go by place, not name"


def check_contributions_add_up(model: Any, objective: Objective, folder: Path) -> None:
    """Contributions and base value sum to the margin; a column that is never looked at contributes nothing."""
    train, tuning, X = draw(objective)
    constant = [np.column_stack([p, np.ones(len(p))]).astype(np.float32) for p in (train.X, tuning.X, X)]
    fitted = fit(model, objective, train=Part(constant[0], train.y), tuning=Part(constant[1], tuning.y))
    values, base = fitted.contributions(constant[2])
    assert values.shape == constant[2].shape, f"{model.name}: contributions of shape {values.shape}"
    assert values.dtype == np.float32, f"{model.name}: contributions are {values.dtype}"
    gap = np.abs(values.sum(axis=1, dtype=np.float64) + base - fitted.margin(constant[2])).max()
    assert gap < 1e-4, f"{model.name}: contributions miss the margin by {gap:.3g}"
    assert not values[:, -1].any(), f"{model.name}: a constant column contributes"
    assert np.ptp(fitted.margin(constant[2])) > 0.1, f"{model.name}: it predicts one value: nothing was tested"


def check_handles_missing_values(model: Any, objective: Objective, folder: Path) -> None:
    """Missing values in any row or column give finite predictions, and no row depends on the others."""
    _, _, X = draw(objective)
    fitted = fit(model, objective)
    predicted = fitted.predict(X)
    assert predicted.shape == (len(X),), f"{model.name}: predictions of shape {predicted.shape}"
    assert predicted.dtype == np.float64, f"{model.name}: predictions are {predicted.dtype}"
    assert np.isfinite(predicted).all(), f"{model.name}: a row with missing values has no prediction"
    if objective == "binary":
        assert ((predicted >= 0) & (predicted <= 1)).all(), f"{model.name}: a probability lies outside 0 to 1"
    assert np.isfinite(fitted.contributions(X).values).all(), f"{model.name}: a missing value has no contribution"
    alone = np.concatenate([fitted.predict(X[i : i + 1]) for i in range(len(X))])
    assert np.allclose(alone, predicted, rtol=0, atol=1e-12), f"{model.name}: a row's prediction depends on the others"


def check_weights_of_one_change_nothing(model: Any, objective: Objective, folder: Path) -> None:
    """No weights and equal weights of one are the same, and what was given is left as it was."""
    train, tuning, X = draw(objective)
    kept = [a.copy() for a in (train.X, train.y, tuning.X, tuning.y)]
    ones = [Part(p.X, p.y, np.ones(len(p.y))) for p in (train, tuning)]
    plain, weighted = fit(model, objective, train=train, tuning=tuning), fit(
        model, objective, train=ones[0], tuning=ones[1]
    )  # fmt: skip
    assert np.array_equal(plain.predict(X), weighted.predict(X)), f"{model.name}: weights of one change predictions"
    for before, after in zip(kept, (train.X, train.y, tuning.X, tuning.y), strict=True):
        assert np.array_equal(before, after, equal_nan=True), f"{model.name}: the fit changes what it was given"


def check_refuses_what_teaches_nothing(model: Any, objective: Objective, folder: Path) -> None:
    """One class, no rows, infinite values, an unknown option and a matrix of another width are refused."""
    train, _, X = draw(objective)
    y, one_class = train.y, np.ones_like(train.y)
    infinite = np.where(np.isnan(train.X), np.inf, train.X).astype(np.float32)
    cases: dict[str, tuple[type[GenomixError], dict[str, Any]]] = {
        "a part without rows": (LabelError, {"train": Part(train.X[:0], y[:0])}),
        "a missing label": (LabelError, {"train": Part(train.X, np.where(y == y[0], np.nan, y))}),
        "an infinite value": (FormatError, {"train": Part(infinite, y)}),
        "an unknown option": (ConfigError, {"options": {"no_such_option": 1}}),
    }
    if objective == "binary":
        cases["one class"] = (LabelError, {"train": Part(train.X, one_class)})
        cases["labels that are not 0 and 1"] = (LabelError, {"train": Part(train.X, y + 1)})
    for what, (kind, changes) in cases.items():
        refusal(partial(fit, model, objective, **changes), (kind,), f"{model.name}: {what}")
    fitted = fit(model, objective)
    refusal(lambda: fitted.predict(X[:, 1:]), (FormatError,), f"{model.name}: a matrix of another width")


CHECKS = (
    check_reproduces_under_a_seed, check_survives_a_bundle, check_contributions_add_up, check_handles_missing_values,
    check_weights_of_one_change_nothing, check_refuses_what_teaches_nothing,
)  # fmt: skip
