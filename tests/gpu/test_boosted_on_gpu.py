"""Boosted trees on CUDA beside the CPU; skipped where XGBoost has no working CUDA device.

Needs numpy, polars, scipy, scikit-learn, xgboost and pytest, nothing else. Stated tolerances, on the margin scale
(log-odds): trees grown on either device may differ where two splits gain the same to rounding, so AUROC, log loss and
RMSE agree within 0.005 (of the labels' spread), and margins differ by less than half of what two models differ by that
one device grows from the two halves of the training rows; one model moved between devices gives margins within 1e-5 of
their scale and contributions within 1e-4.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU, Device, probe_cuda
from genomix.explain.tree_shap import check_additivity
from genomix.features.matrix import FeatureBlock
from genomix.models.boosted import MODEL, FittedBoosted, place
from genomix.models.bundle import Bundle, read_bundle, write_bundle
from genomix.models.model import Objective, Part
from genomix.models.survival import SurvivalPart, fit_boosted_survival
from genomix.schemas.features import COLUMNS

_FOUND = probe_cuda(needs="xgboost")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not _FOUND.count, reason=f"XGBoost has no CUDA device: {_FOUND.reason}"),
]
CUDA = Device("cuda", _FOUND.name, "probed")
METRIC_TOLERANCE, SAME_MODEL, SAME_SHAP = 0.005, 1e-5, 1e-4
OTHER_ROWS = 0.5
"""Largest difference of devices, as a share of the difference that other training rows make."""


def rows(objective: Objective, n: int = 6000, p: int = 20) -> tuple[Part, Part, Part]:
    """Draw training, tuning and held-out rows: counts, quantities and missing values, a nonlinear truth."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(n, p)).astype(np.float32)
    X[:, p // 2 :] = rng.poisson(0.3, (n, p - p // 2))
    margin = X[:, 0] * (X[:, 1] > 0) + 0.8 * X[:, p // 2] - np.abs(X[:, 2])
    slope = 2.0 if objective == "binary" else 1.0  # labels of 0 and 1 tell less
    X[:, : p // 2][rng.random((n, p // 2)) < 0.2] = np.nan
    noise = rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(-slope * margin))).astype(float) if objective == "binary" else margin + noise
    a, b = n // 2, 2 * n // 3
    return Part(X[:a], y[:a]), Part(X[a:b], y[a:b]), Part(X[b:], y[b:])


def grown(objective: Objective, device: Device, **options: Any) -> FittedBoosted:
    train, tuning, _ = rows(objective)
    return MODEL.fit(train, tuning=tuning, objective=objective, seed=3, device=device, threads=2, options=options)


def margin_of_half(objective: Objective, k: int, X: np.ndarray) -> np.ndarray:
    """Return margins of a model that the CPU grew from every other training row, from row ``k`` on."""
    train, tuning, _ = rows(objective)
    part = Part(train.X[k::2], train.y[k::2])
    return MODEL.fit(part, tuning=tuning, objective=objective, seed=3, device=CPU, threads=2, options={}).margin(X)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def device_of(fitted: Any) -> str:
    return str(json.loads(fitted.booster.save_config())["learner"]["generic_param"]["device"])


def columns(p: int) -> pl.DataFrame:
    filled = {"rung": "records", "source": "records", "sentence": "what it is", "family": "x"}
    data = {c.name: [filled.get(c.name)] * p for c in COLUMNS.columns}
    data |= {"name": [f"c{i}" for i in range(p)], "group": [f"c{i}" for i in range(p)]}
    return pl.DataFrame(data, schema={c.name: c.dtype for c in COLUMNS.columns})


def write_and_read(folder: Path, fitted: FittedBoosted, device: Device) -> Bundle:
    write_bundle(folder, fitted, columns=columns(fitted.n_features))
    return read_bundle(folder, device=device)


def gap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference as a share of the scale (at least 1)."""
    return float(np.abs(one - other).max() / max(1.0, float(np.abs(one).max())))


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_both_devices_learn_the_same(objective: Objective) -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    held = rows(objective)[2]
    cpu, cuda = grown(objective, CPU), grown(objective, CUDA)
    assert device_of(cuda).startswith("cuda")
    assert device_of(cpu) == "cpu"
    assert (cpu.facts["trained_on"], cuda.facts["trained_on"]) == ("cpu", "cuda")
    one, other = cpu.predict(held.X), cuda.predict(held.X)
    halves = [margin_of_half(objective, k, held.X) for k in (0, 1)]
    assert rms(cpu.margin(held.X) - cuda.margin(held.X)) < OTHER_ROWS * rms(halves[0] - halves[1])
    if objective == "binary":
        assert roc_auc_score(held.y, one) > 0.7  # there is something to learn
        assert abs(roc_auc_score(held.y, one) - roc_auc_score(held.y, other)) < METRIC_TOLERANCE
        assert abs(log_loss(held.y, one) - log_loss(held.y, other)) < METRIC_TOLERANCE
    else:
        assert np.corrcoef(one, other)[0, 1] > 0.999
        errors = [float(np.sqrt(np.mean((held.y - p) ** 2))) for p in (one, other)]
        assert errors[0] < 0.9 * held.y.std()
        assert abs(errors[0] - errors[1]) < METRIC_TOLERANCE * held.y.std()


@pytest.mark.parametrize(("made", "read"), [(CUDA, CPU), (CPU, CUDA)], ids=["cuda to cpu", "cpu to cuda"])
def test_a_bundle_of_one_device_predicts_the_same_on_the_other(tmp_path: Path, made: Device, read: Device) -> None:
    X = rows("binary")[2].X
    fitted = grown("binary", made)
    margin = fitted.margin(X)
    bundle = write_and_read(tmp_path / "b", fitted, read)
    assert device_of(bundle.fitted).startswith(read.kind)
    assert bundle.manifest["facts"]["trained_on"] == made.kind
    assert gap(margin, bundle.fitted.margin(X)) < SAME_MODEL
    block = FeatureBlock(X, columns(X.shape[1]))
    assert gap(fitted.predict(X), bundle.predict(block)) < SAME_MODEL
    # A bundle that is written again from the other device holds the same trees, byte for byte.
    assert bundle.fitted.to_files()["model.ubj"] == fitted.to_files()["model.ubj"]


def test_contributions_are_the_same_and_add_up_on_both() -> None:
    X = rows("binary")[2].X
    fitted = grown("binary", CUDA, max_depth=6)
    on_cuda = fitted.contributions(X)
    assert check_additivity(on_cuda.values, on_cuda.base_value, fitted.margin(X)) < SAME_SHAP
    place(fitted.booster, CPU)
    on_cpu = fitted.contributions(X)
    assert check_additivity(on_cpu.values, on_cpu.base_value, fitted.margin(X)) < SAME_SHAP
    assert (np.abs(on_cpu.values) > 0.01).any()
    assert gap(on_cpu.values, on_cuda.values) < SAME_SHAP
    assert on_cuda.base_value == pytest.approx(on_cpu.base_value, abs=SAME_SHAP)


@pytest.mark.parametrize("options", [{}, {"subsample": 0.7, "colsample_bytree": 0.6}], ids=["all rows", "subsampled"])
def test_cuda_repeats_itself_byte_for_byte(options: dict[str, float]) -> None:
    X = rows("binary")[2].X
    fits = [grown("binary", CUDA, **options) for _ in range(3)]
    assert len({f.to_files()["model.ubj"] for f in fits}) == 1
    assert len({f.margin(X).tobytes() for f in fits}) == 1
    assert gap(fits[0].contributions(X).values, fits[1].contributions(X).values) < 1e-6  # atomic sums


def test_monotone_constraints_hold_on_cuda() -> None:
    train, tuning, held = rows("binary")
    signs = [1] + [0] * (train.X.shape[1] - 1)
    fitted = MODEL.fit(train, tuning=tuning, objective="binary", seed=3, device=CUDA, options={"monotone": signs})
    X = np.repeat(held.X[:50], 21, axis=0)
    X[:, 0] = np.tile(np.linspace(-3, 3, 21, dtype=np.float32), 50)
    assert (np.diff(fitted.margin(X).reshape(50, 21), axis=1) >= -1e-6).all()


def test_no_row_and_no_column_on_cuda() -> None:
    fitted = grown("binary", CUDA)
    assert fitted.margin(np.empty((0, 20), dtype=np.float32)).shape == (0,)
    assert fitted.contributions(np.empty((0, 20), dtype=np.float32)).values.shape == (0, 20)
    y = np.array([0.0, 1, 1, 1])
    empty = MODEL.fit(
        Part(np.empty((4, 0), dtype=np.float32), y), tuning=None, objective="binary", seed=0, device=CUDA,
        options={"rounds": 1},
    )  # fmt: skip
    assert empty.predict(np.empty((4, 0), dtype=np.float32)) == pytest.approx(np.full(4, 0.75), abs=1e-5)


@pytest.mark.parametrize("kind", ["cox", "aft"])
def test_survival_trees_agree_between_devices(kind: Any) -> None:
    train, tuning, held = rows("regression")

    def part(given: Part) -> SurvivalPart:
        time = np.exp(given.y / 2)
        return SurvivalPart(given.X, np.minimum(time, 2.0), (time <= 2.0).astype(float))

    fits = [
        fit_boosted_survival(part(train), tuning=part(tuning), kind=kind, seed=1, device=d, threads=2)
        for d in (CPU, CUDA)
    ]
    margins = [f.margin(held.X) for f in fits]
    assert np.corrcoef(margins[0], margins[1])[0, 1] > 0.995
    place(fits[1].booster, CPU)
    assert gap(margins[1], fits[1].margin(held.X)) < SAME_MODEL
