"""Choose the boosted model's settings by trials within the training and tuning rows; held-out rows are never seen.

A trial is a setting; its value is the mean loss over inner folds that keep units (people, kin groups) whole, each with
a model that stops early on the fold left out. A trial whose losses so far are worse than the median of those before
it ends early (Golovin et al. 2017, doi:10.1145/3097983.3098043). Settings are drawn by Optuna's tree-structured Parzen
estimator (Akiba et al. 2019, doi:10.1145/3292500.3330701); the first trial is the defaults, so what is chosen is at
least as good by the same measure. The loss of the chosen trial is the smallest of many and says nothing of new people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.device import Device
from genomix.errors import ConfigError, IntegrityError, MissingDependencyError
from genomix.features.matrix import RowArray
from genomix.features.split import assign_parts, strata_of_labels
from genomix.models.boosted import DEFAULTS
from genomix.models.model import Objective, Part, model_named
from genomix.provenance import hash_json, sha256_bytes

SPACE: Mapping[str, tuple[str, float, float, bool]] = {
    "eta": ("float", 0.01, 0.3, True),
    "max_depth": ("int", 1, 8, False),
    "min_child_weight": ("float", 1.0, 50.0, True),
    "reg_lambda": ("float", 0.1, 100.0, True),
    "reg_alpha": ("float", 1e-3, 10.0, True),
    "subsample": ("float", 0.5, 1.0, False),
    "colsample_bytree": ("float", 0.3, 1.0, False),
}
"""Setting → (kind, lowest, highest, whether drawn on a logarithmic scale)."""

Progress = Callable[[int, float | None], None]
"""Called after each trial with the number of trials done and the smallest loss so far."""


class Tuned(NamedTuple):
    """``options`` for the boosted model; ``trials``: trial, value (mean loss), status and every setting, in order."""

    options: dict[str, Any]
    trials: pl.DataFrame


def tune(
    part: Part, units: RowArray, *, objective: Objective, seed: int, device: Device, n_trials: int | None = None,
    minutes: float | None = None, n_folds: int = 4, threads: int = 1, options: Mapping[str, Any] | None = None,
    study_file: Path | None = None, progress: Progress | None = None,
) -> Tuned:  # fmt: skip
    """Return the settings with the smallest mean loss over inner folds.

    Parameters
    ----------
    part: training and tuning rows together. units: int64 (rows,), never divided.
    n_trials, minutes: what ends the search, at least one of them; trials of ``study_file`` count.
    options: settings that are not searched. study_file: an Optuna journal; an interrupted search goes on from it.

    Raises
    ------
    MissingDependencyError: Optuna is not installed. ConfigError: no budget, or fewer units than folds.
    IntegrityError: ``study_file`` is of other rows or settings.
    """
    optuna = import_optuna()
    if n_trials is None and minutes is None:
        raise ConfigError("a search needs a number of trials or of minutes")
    if len(np.unique(units)) < n_folds:
        raise ConfigError(f"{len(np.unique(units))} people cannot fill {n_folds} inner folds")
    fixed = {k: v for k, v in (options or {}).items() if k not in SPACE}
    strata = strata_of_labels(part.y, binary=objective == "binary")
    folds = assign_parts(units, strata, shares=(1 / n_folds,) * n_folds, seed=seed)
    study = _study(optuna, study_file, seed, _identity(part, units, objective, seed, n_folds, fixed))
    done = len(study.trials)
    if not done:
        study.enqueue_trial({k: DEFAULTS[k] if k != "reg_alpha" else SPACE[k][1] for k in SPACE})

    def value(trial: Any) -> float:
        chosen = {**fixed, **{name: _drawn(trial, name) for name in SPACE}}
        losses: list[float] = []
        for fold in range(n_folds):
            inside, left = (_rows(part, np.flatnonzero(rows)) for rows in (folds != fold, folds == fold))
            fitted = model_named("boosted").fit(
                inside, tuning=left, objective=objective, seed=seed, device=device, threads=threads, options=chosen
            )
            losses.append(float(fitted.facts["tuning_loss"]))
            trial.report(float(np.mean(losses)), fold)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(losses))

    def told(found: Any, _: Any) -> None:
        if progress is not None:
            progress(len(found.trials), _best(found))

    if n_trials is None or n_trials > done:
        study.optimize(
            value, n_trials=None if n_trials is None else n_trials - done,
            timeout=None if minutes is None else 60 * minutes, callbacks=[told],
        )  # fmt: skip
    if _best(study) is None:
        raise ConfigError("the search ended before one trial was complete", hint="more minutes or trials")
    return Tuned({**fixed, **study.best_params}, _table(study))


def import_optuna() -> ModuleType:
    """Import Optuna, without its own log lines.

    Raises
    ------
    MissingDependencyError: when it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError("tuning needs Optuna", hint='pip install "genomix[tuning]"') from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    module: ModuleType = optuna
    return module


def _drawn(trial: Any, name: str) -> float | int:
    kind, low, high, logarithmic = SPACE[name]
    if kind == "int":
        return int(trial.suggest_int(name, int(low), int(high), log=logarithmic))
    return float(trial.suggest_float(name, low, high, log=logarithmic))


def _rows(part: Part, rows: RowArray) -> Part:
    return Part(part.X[rows], part.y[rows], None if part.weights is None else part.weights[rows])


def _identity(
    part: Part, units: RowArray, objective: Objective, seed: int, n_folds: int, fixed: Mapping[str, Any]
) -> str:
    """Return a digest of what a search is about; nothing can be read from it."""
    arrays = [part.X, part.y, units] + ([] if part.weights is None else [part.weights])
    digests = [sha256_bytes(np.ascontiguousarray(a).tobytes()) for a in arrays]
    space = {k: list(v) for k, v in SPACE.items()}
    return hash_json([digests, list(part.X.shape), objective, seed, n_folds, dict(fixed), space])


def _study(optuna: ModuleType, path: Path | None, seed: int, identity: str) -> Any:
    """Open or make the study; a resumed one draws on from the number of its trials."""
    storage = None
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(
        storage=storage, study_name="genomix", load_if_exists=True, direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )  # fmt: skip
    known = study.user_attrs.get("identity")
    if known not in (None, identity):
        raise IntegrityError(
            "the study file is of other rows or settings", where=str(path), hint="another --tune-file, or remove it"
        )
    study.set_user_attr("identity", identity)
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study


def _best(study: Any) -> float | None:
    values = [t.value for t in study.trials if t.state.name == "COMPLETE"]
    return min(values, default=None)


def _table(study: Any) -> pl.DataFrame:
    rows = [
        {"trial": t.number, "value": t.value if t.state.name == "COMPLETE" else None, "status": t.state.name.lower(),
         **{name: t.params.get(name) for name in SPACE}}
        for t in study.trials
    ]  # fmt: skip
    types = {name: pl.Int64 if kind == "int" else pl.Float64 for name, (kind, *_) in SPACE.items()}
    return pl.DataFrame(rows, schema={"trial": pl.Int64, "value": pl.Float64, "status": pl.String, **types})
