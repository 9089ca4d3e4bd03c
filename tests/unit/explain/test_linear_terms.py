"""A linear model told in the columns' own units gives its contributions and its margin again."""

from __future__ import annotations

import numpy as np
import pytest

from genomix.device import CPU
from genomix.explain.linear_shap import linear_terms, linear_values
from genomix.models.model import Part, model_named
from tests.unit.explain.test_tree_shap_exact import dictionary


@pytest.mark.parametrize("clip_sd", [8.0, 1.0])
@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_terms_in_raw_units(objective: str, clip_sd: float) -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(400, 4)) * [1, 20, 0.1, 3] + [0, 120, 5, 0]).astype(np.float32)
    X[rng.random(400) < 0.3, 1] = np.nan
    X[:, 3] = 7  # never varies
    y = np.nan_to_num(X[:, 0]) + np.nan_to_num((X[:, 1] - 120) / 20) + 0.8 * np.isnan(X[:, 1]) + rng.normal(size=400)
    labels = (y > 0).astype(float) if objective == "binary" else y
    w = rng.random(400) + 0.5
    fitted = model_named("linear").fit(
        Part(X, labels, w), tuning=None, objective=objective, seed=0, device=CPU,
        options={"penalty": 0.001, "clip_sd": clip_sd},
    )  # fmt: skip
    terms = linear_terms(fitted, dictionary(list("abcd")))
    new = X[:100].copy()
    new[0, 0], new[1, 1], new[2, 2] = 1e6, -1e6, np.nan  # an outlier, and missing where training was not
    found = fitted.contributions(new)
    mine = linear_values(terms, new)
    assert mine == pytest.approx(found.values.astype(float), abs=2e-5)
    assert mine.sum(axis=1) + found.base_value == pytest.approx(fitted.margin(new), abs=1e-8)
    # By hand, for a known value within bounds: coefficient x (value - mean), and what being known adds.
    told = terms.row(0, named=True)
    filled = np.clip(X[:, 0].astype(float), told["low"], told["high"])
    assert told["training_mean"] == pytest.approx((filled * w).sum() / w.sum(), abs=1e-6)
    slope = (fitted.margin(np.float32([[0.2, 120, 5, 7]])) - fitted.margin(np.float32([[0.1, 120, 5, 7]]))) / 0.1
    assert told["coefficient"] == pytest.approx(slope.item(), rel=1e-3)
    assert told["if_present"] == 0
    assert terms["if_present"][1] != 0
    assert terms["coefficient"][3] == 0
