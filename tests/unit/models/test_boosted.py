"""Boosted trees: stopping, the base score, thread counts, and the threads' manners."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from genomix.device import CPU, Device
from genomix.errors import FormatError
from genomix.models.boosted import MODEL, place
from genomix.models.model import Part


def simulated(n: int = 900, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    margin = 2 * (np.nan_to_num(X[:, 0]) > 0.5) + np.nan_to_num(X[:, 1]) * np.nan_to_num(X[:, 2]) - 1.5
    return X, (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)


def test_only_the_rounds_up_to_the_best_are_kept() -> None:
    X, y = simulated()
    train, tuning = Part(X[:600], y[:600]), Part(X[600:], y[600:])
    stopped = MODEL.fit(train, tuning=tuning, objective="binary", seed=0, device=CPU)
    rounds = stopped.facts["rounds"]
    assert 1 < rounds < 570
    # Growing exactly that many trees without looking at the tuning part must give the same predictions.
    fixed = MODEL.fit(train, tuning=None, objective="binary", seed=0, device=CPU, options={"rounds": rounds})
    assert np.array_equal(stopped.predict(X), fixed.predict(X))
    losses = []
    for count in (rounds - 1, rounds, rounds + 1):
        other = MODEL.fit(train, tuning=None, objective="binary", seed=0, device=CPU, options={"rounds": count})
        p = other.predict(tuning.X)
        losses.append(-float(np.mean(np.where(tuning.y == 1, np.log(p), np.log1p(-p)))))
    assert losses[1] == pytest.approx(stopped.facts["tuning_loss"], abs=1e-5)
    assert losses[1] < min(losses[0], losses[2])


@pytest.mark.parametrize("options", [{}, {"subsample": 0.7, "colsample_bytree": 0.6}])
def test_bytes_and_contributions_do_not_depend_on_threads(options: dict[str, float]) -> None:
    X, y = simulated()
    fits = [
        MODEL.fit(Part(X[:600], y[:600]), tuning=Part(X[600:], y[600:]), objective="binary", seed=9, device=CPU,
                  threads=threads, options=options)
        for threads in (1, 2, 5)
    ]  # fmt: skip
    assert len({f.to_files()["model.ubj"] for f in fits}) == 1
    assert len({f.contributions(X).values.tobytes() for f in fits}) == 1


def test_a_seed_matters_only_when_rows_are_drawn() -> None:
    X, y = simulated(400)

    def bytes_of(seed: int, **options: float) -> bytes:
        fitted = MODEL.fit(Part(X, y), tuning=None, objective="binary", seed=seed, device=CPU,
                           options={"rounds": 10, **options})  # fmt: skip
        return fitted.to_files()["model.ubj"]

    assert bytes_of(1) == bytes_of(2)
    assert bytes_of(1, subsample=0.5) != bytes_of(2, subsample=0.5)


def test_the_first_guess_is_the_weighted_mean() -> None:
    X, y = simulated(200)
    weights = np.linspace(0.5, 2, 200)
    for objective, labels in (("binary", y), ("regression", 40 + 3 * y)):
        fitted = MODEL.fit(Part(X, labels, weights), tuning=None, objective=objective, seed=0, device=CPU,
                           options={"rounds": 1, "eta": 1e-9})  # fmt: skip
        assert fitted.predict(X) == pytest.approx(np.full(200, np.average(labels, weights=weights)), rel=1e-5)


def test_openmp_threads_sleep_while_they_wait() -> None:
    """The variable must be there before XGBoost is imported, and a value of the user's own is kept."""
    code = (
        "import os, sys; os.environ.pop('OMP_WAIT_POLICY', None)\n"
        "import genomix.models.boosted as b\n"
        "assert 'xgboost' not in sys.modules\n"
        "b.import_xgboost(); print(os.environ['OMP_WAIT_POLICY'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "passive"


def test_a_placed_model_computes_where_it_was_told_and_its_bytes_name_no_device() -> None:
    X, y = simulated(200)
    fitted = MODEL.fit(Part(X, y), tuning=None, objective="binary", seed=0, device=CPU, options={"rounds": 3})
    assert fitted.facts["trained_on"] == "cpu"
    before = fitted.to_files()["model.ubj"]
    place(fitted.booster, Device("cuda", "a GPU", "a test"), threads=2)
    asked = json.loads(fitted.booster.save_config())["learner"]["generic_param"]
    # XGBoost without a GPU goes back to the CPU by itself; what was asked for arrives either way.
    assert asked["nthread"] == "2"
    assert fitted.to_files()["model.ubj"] == before


def test_bytes_that_are_no_model_are_refused() -> None:
    X, y = simulated(100)
    files = MODEL.fit(Part(X, y), tuning=None, objective="binary", seed=0, device=CPU, options={"rounds": 2}).to_files()
    with pytest.raises(FormatError, match=r"model\.ubj is not a model"):
        MODEL.from_files({**files, "model.ubj": b"{}"})
