"""Calibration against statsmodels and net benefit against dcurves, the packages of the fields' own authors.

dcurves 1.1.7 holds pandas below 3, so it runs in its own environment: ``make oracles`` makes ``.venv-dcurves``. Both
flag people whose prediction is at or above the threshold, so some predictions here lie on one.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.models import metrics as m
from genomix.models.decision import threshold_table
from genomix.models.evaluate import Rows
from genomix.models.logistic import logit

PYTHON = Path(__file__).parents[2] / ".venv-dcurves" / "bin" / "python"
SCRIPT = Path(__file__).parent / "peers" / "dcurves_net_benefit.py"
THRESHOLDS = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7]


def world(seed: int, n: int = 1500) -> Rows:
    """Return predictions that are too extreme and too high."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n) - 1.5
    y = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(float)
    row = np.arange(n)
    return Rows(row=row, fold=np.zeros(n, dtype=np.int64), y=y, p=1 / (1 + np.exp(-(1.6 * x + 1.6))), code=row,
                weight=np.ones(n), reference=None, n_drawn=n, person=row)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_slope_and_intercept_equal_generalised_linear_models(seed: int) -> None:
    import statsmodels.api as sm

    rows = world(seed)
    z = logit(rows.p)
    weights = np.random.default_rng(seed).integers(0, 4, (3, z.size)).astype(float)
    slopes, levels = (f(rows.y, rows.p, weights) for f in (m.calibration_slope, m.calibration_intercept))
    for k, w in enumerate(weights):
        line = sm.GLM(rows.y, sm.add_constant(z), family=sm.families.Binomial(), freq_weights=w).fit(tol=1e-12)
        level = sm.GLM(rows.y, np.ones_like(z), family=sm.families.Binomial(), offset=z, freq_weights=w).fit(tol=1e-12)
        assert slopes[k] == pytest.approx(line.params[1], abs=1e-8)
        assert levels[k] == pytest.approx(level.params[0], abs=1e-8)
    assert slopes.max() < 0.8
    assert levels.max() < -0.1


def net_benefit_by_loop(y: np.ndarray, p: np.ndarray, w: np.ndarray, t: float) -> float:
    gain = total = 0.0
    for outcome, predicted, weight in zip(y, p, w, strict=True):
        total += weight
        if predicted >= t:
            gain += weight if outcome == 1 else -weight * t / (1 - t)
    return gain / total


def test_net_benefit_equals_the_formula_row_by_row() -> None:
    """Also with weights, and with predictions that lie on the threshold."""
    plain = world(0)
    weighted = replace(plain, p=np.round(plain.p, 2), weight=np.random.default_rng(1).random(plain.y.size) + 0.5)
    for rows in (plain, weighted):
        table = threshold_table(rows, THRESHOLDS, target="t", model="m", seed=1, n_resamples=10)
        for t, found in table.select("threshold", "net_benefit").iter_rows():
            assert found == pytest.approx(net_benefit_by_loop(rows.y, rows.p, rows.weight, t), abs=1e-12)


@pytest.mark.external_tool
@pytest.mark.parametrize("seed", range(3))
def test_net_benefit_equals_dcurves(seed: int, tmp_path: Path) -> None:
    if not PYTHON.exists():
        pytest.skip("dcurves is not here: make oracles")
    rows = world(seed)
    rows = replace(rows, p=np.round(rows.p, 2)) if seed else rows
    pl.DataFrame({"y": rows.y.astype(int), "p": rows.p}).write_csv(tmp_path / "in.csv")
    subprocess.run(
        [str(PYTHON), str(SCRIPT), str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), *map(str, THRESHOLDS)],
        check=True, capture_output=True,
    )  # fmt: skip
    peer = {(r[0], r[1]): r[2] for r in pl.read_csv(tmp_path / "out.csv").iter_rows()}
    table = threshold_table(rows, THRESHOLDS, target="t", model="m", seed=1, n_resamples=10)
    assert table["net_benefit"].null_count() == 0
    for t, ours, everyone in table.select("threshold", "net_benefit", "net_benefit_treat_all").iter_rows():
        assert ours == pytest.approx(peer["p", t], abs=1e-12)
        assert everyone == pytest.approx(peer["all", t], abs=1e-12)
