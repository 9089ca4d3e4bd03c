"""Attributions against the shap package: on the NHANES I subset, and as an Explanation of its own kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.explain.explanation import as_explanation
from genomix.explain.tree_shap import explain_rows
from genomix.features.matrix import FeatureBlock
from genomix.models.metrics import auroc, plan_ranks
from genomix.models.model import Part, model_named
from genomix.schemas.features import COLUMNS


def read_nhanes(folder: Path) -> tuple[FeatureBlock, np.ndarray, np.ndarray]:
    """Return the columns, death within 10 years (censored before that: left out), and signed survival in years."""
    X = pl.read_csv(folder / "shap-nhanes" / "NHANESI_subset_X.csv").drop("")
    years = pl.read_csv(folder / "shap-nhanes" / "NHANESI_subset_y.csv")["y"].to_numpy()
    data = {c.name: ["x"] * X.width for c in COLUMNS.columns} | {
        "name": X.columns,
        "smallest_lag_days": [None] * X.width,
    }
    columns = pl.DataFrame(data, schema={c.name: c.dtype for c in COLUMNS.columns})
    keep = (np.abs(years) > 10) | (years > 0)
    block = FeatureBlock(X.to_numpy().astype(np.float32)[keep], columns)
    return block, ((years > 0) & (years <= 10)).astype(float)[keep], years[keep]


@pytest.fixture(scope="module")
def nhanes(real_data: Path) -> tuple[FeatureBlock, np.ndarray, np.ndarray]:
    return read_nhanes(real_data)


@pytest.mark.real_data
@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_trees_agree_with_shap_and_with_its_explanation(nhanes, objective: str) -> None:
    shap = pytest.importorskip("shap")
    block, event, years = nhanes
    X = block.values.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    y = event if objective == "binary" else years
    fitted = model_named("boosted").fit(
        Part(X[:3000], y[:3000]), tuning=Part(X[3000:4000], y[3000:4000]), objective=objective, seed=0, device=CPU,
        options={"max_rounds": 80},
    )  # fmt: skip
    found = explain_rows(fitted, FeatureBlock(X, block.columns), np.arange(4000, 4300))
    peer = shap.TreeExplainer(fitted.booster)
    theirs = peer.shap_values(X[4000:4300])
    scale = float(np.abs(theirs).max())
    assert np.abs(found.values - theirs).max() < 1e-4 * scale
    assert found.base_value == pytest.approx(float(np.ravel(peer.expected_value)[0]), abs=1e-4 * scale)
    explanation = as_explanation(found)
    assert explanation.shape == (300, block.values.shape[1])
    assert explanation.feature_names == block.columns["name"].to_list()
    total = explanation.values.sum(axis=1) + explanation.base_values
    assert total == pytest.approx(fitted.margin(X[4000:4300]), abs=1e-4 * scale)


@pytest.mark.real_data
def test_linear_contributions_agree_with_shaps_linear_explainer(nhanes) -> None:
    shap = pytest.importorskip("shap")
    block, event, _ = nhanes
    X = np.where(np.isnan(block.values), np.nanmedian(block.values, axis=0), block.values).astype(np.float32)
    train = Part(X[:2000], event[:2000])
    fitted = model_named("linear").fit(
        train, tuning=None, objective="binary", seed=0, device=CPU, options={"penalty": 0.01, "clip_sd": 1e6}
    )
    p = fitted.preprocessing
    in_raw_units = fitted.slopes / p.scale
    offset = fitted.intercept - float((fitted.slopes * p.centre / p.scale).sum())
    background = X[:2000].astype(np.float64)
    masker = shap.maskers.Independent(background, max_samples=len(background))
    theirs = shap.LinearExplainer((in_raw_units, offset), masker).shap_values(X[2000:2050].astype(np.float64))
    found = explain_rows(fitted, FeatureBlock(X, block.columns), np.arange(2000, 2050))
    assert found.values == pytest.approx(theirs, abs=1e-4)


@pytest.mark.real_data
def test_age_leads_and_both_models_find_the_signal(nhanes) -> None:
    """That age dominates ten-year mortality in NHANES I is what shap's own published analysis of these data shows."""
    block, event, _ = nhanes
    X = block.values
    train, tuning = Part(X[:4000], event[:4000]), Part(X[4000:5500], event[4000:5500])
    for name in ("boosted", "linear"):
        fitted = model_named(name).fit(train, tuning=tuning, objective="binary", seed=0, device=CPU)
        held = np.arange(5500, X.shape[0])
        value = auroc(plan_ranks(event[held], fitted.predict(X[held])), np.ones((1, held.size)))[0]
        assert value > 0.8
        mean = np.abs(explain_rows(fitted, block, held[:500]).values).mean(axis=0)
        assert block.columns["name"][int(mean.argmax())] == "Age"
