"""Settings by trials: what is searched and reported, pruning, resuming, and that held-out rows cannot matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, IntegrityError
from genomix.features.split import assign_parts, strata_of_labels
from genomix.models.boosted import DEFAULTS, MODEL
from genomix.models.model import Part
from genomix.models.tuning import SPACE, Tuned, tune

pytest.importorskip("optuna")


def people(n: int = 400, seed: int = 0) -> tuple[Part, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    margin = 2 * X[:, 0] * X[:, 1] + X[:, 2]
    return Part(X, (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)), np.arange(n) // 2


def search(n_trials: int, path: Path | None = None, **changes: object) -> Tuned:
    part, units = people()
    given = {"objective": "binary", "seed": 3, "device": CPU, "n_trials": n_trials, "n_folds": 3, "study_file": path,
             "options": {"max_rounds": 60, "early_stopping_rounds": 8}}  # fmt: skip
    return tune(part, units, **{**given, **changes})  # type: ignore[arg-type]  # the values have many types


def test_the_values_are_mean_losses_over_whole_units_and_the_best_is_chosen() -> None:
    part, units = people()
    found = search(6)
    assert found.trials.height == 6
    first = found.trials.row(0, named=True)
    assert {k: first[k] for k in SPACE if k != "reg_alpha"} == {k: DEFAULTS[k] for k in SPACE if k != "reg_alpha"}
    folds = assign_parts(units, strata_of_labels(part.y, binary=True), shares=(1 / 3,) * 3, seed=3)
    assert all(len(set(folds[units == u].tolist())) == 1 for u in np.unique(units))
    options = {k: first[k] for k in SPACE} | {"max_rounds": 60, "early_stopping_rounds": 8}
    losses = []
    for fold in range(3):
        train, left = (Part(part.X[rows], part.y[rows]) for rows in (folds != fold, folds == fold))
        fitted = MODEL.fit(train, tuning=left, objective="binary", seed=3, device=CPU, options=options)
        p = fitted.predict(left.X)
        losses.append(-np.mean(left.y * np.log(p) + (1 - left.y) * np.log(1 - p)))
    assert first["value"] == pytest.approx(np.mean(losses), rel=1e-5)
    complete = found.trials.filter(status="complete").sort("value")
    assert {k: found.options[k] for k in SPACE} == {k: complete[k][0] for k in SPACE}
    assert set(found.trials["status"]) <= {"complete", "pruned"}
    for name, (_, low, high, _) in SPACE.items():
        assert found.trials[name].is_between(low, high).all()


def test_the_same_seed_gives_the_same_trials_and_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    whole = search(5)
    assert whole.trials.equals(search(5).trials)
    told: list[int] = []
    path = tmp_path / "tune.journal"
    part = search(3, path, progress=lambda n, _: told.append(n))
    assert part.trials.equals(whole.trials.head(3))
    more = search(5, path, progress=lambda n, _: told.append(n))
    assert more.trials.head(3).equals(part.trials)
    assert more.trials.height == 5
    assert told == [1, 2, 3, 4, 5]
    assert search(4, path).trials.height == 5, "a search that has its trials makes none"


def test_a_study_file_of_other_rows_is_refused(tmp_path: Path) -> None:
    search(1, tmp_path / "t.journal")
    part, units = people(seed=9)
    with pytest.raises(IntegrityError, match="of other rows or settings"):
        tune(part, units, objective="binary", seed=3, device=CPU, n_trials=2, n_folds=3,
             study_file=tmp_path / "t.journal")  # fmt: skip


def test_bad_trials_are_ended_early() -> None:
    found = search(25)
    assert (found.trials["status"] == "pruned").sum() >= 1
    best = found.trials["value"].min()
    assert best is not None
    assert best <= found.trials["value"][0]


def test_without_a_budget_or_people_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="number of trials or of minutes"):
        tune(*people(), objective="binary", seed=3, device=CPU)
    with pytest.raises(ConfigError, match="200 people cannot fill 300 inner folds"):
        search(1, n_folds=300)
