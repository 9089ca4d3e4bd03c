"""Competing events: the Aalen-Johansen estimator, and predicted incidence from one model per cause.

``cause`` is (rows,) 0 for censored and 1, 2, ... for the event that came first. A cause's cumulative incidence is the
probability of it by a time, in a world where the other causes exist; 1 - Kaplan-Meier of one cause, with the others as
censored, is larger and answers another question (doi:10.1002/sim.2712).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from genomix.device import Device
from genomix.errors import ConfigError, LabelError
from genomix.models.cox import Baseline, FittedCox, SurvivalPart, cox_from_files, fit_cox
from genomix.models.model import Float32Array, Float64Array, Options
from genomix.models.survival import FittedBoostedSurvival, boosted_from_files, fit_boosted_survival
from genomix.models.survival_metrics import Curves, censoring_curve, check_outcome, counts, kaplan_meier

_CELLS_PER_CHUNK = 1 << 21


def check_causes(time: Float64Array, cause: Float64Array, what: str) -> tuple[Float64Array, Float64Array]:
    """Return ``time`` and ``cause`` as float64, or say what is wrong; every cause from 1 to the largest must occur."""
    cause = np.ascontiguousarray(cause, dtype=np.float64)
    time, _ = check_outcome(time, np.where(cause == 0, 0.0, 1.0), what)
    if not (np.isfinite(cause) & (cause >= 0) & (cause == np.round(cause))).all():
        raise LabelError(f"{what}: a cause is 0 (censored), 1, 2, ... in every row")
    absent = sorted(set(range(1, int(cause.max()) + 1)) - set(cause.astype(np.int64).tolist()))
    if not cause.any() or absent:
        raise LabelError(f"{what}: nobody has cause {absent[0] if absent else 1}", hint="number the causes from 1 on")
    return time, cause


def aalen_johansen(time: Float64Array, cause: Float64Array, weights: Float64Array) -> list[Curves]:
    """Return each cause's cumulative incidence, from cause 1 on; they add up to 1 - Kaplan-Meier.

    Aalen and Johansen 1978, JSTOR 4615704.
    ``weights`` (resamples, rows), as in :mod:`genomix.models.survival_metrics`.
    """
    any_event = (cause > 0).astype(np.float64)
    survival = kaplan_meier(time, any_event, weights)
    before = np.hstack([np.ones((weights.shape[0], 1)), survival.values[:, :-1]])
    # Once nobody is left, nothing more can happen.
    last = np.where(survival.values[:, -1] == 0, np.inf, survival.last)
    found = []
    for k in range(1, int(cause.max()) + 1):
        c = counts(time, (cause == k).astype(np.float64), weights)
        steps = before * c.events / np.where(c.at_risk > 0, c.at_risk, 1.0)
        found.append(Curves(c.times, np.asarray(np.cumsum(steps, axis=1), dtype=np.float64), 0.0, last))
    return found


def incidence_interval(
    time: Float64Array, cause: Float64Array, of: int, t: Float64Array, *, level: float = 0.95
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the cumulative incidence of cause ``of`` at ``t`` (points,), and its interval's ends.

    The variance is the delta method's (doi:10.1093/biomet/73.2.379), the scale log(-log); NaN where incidence is 0.
    """
    from scipy.stats import norm

    one = np.ones((1, time.size))
    every = counts(time, (cause > 0).astype(np.float64), one)
    own = counts(time, (cause == of).astype(np.float64), one).events[0]
    n, d = every.at_risk[0], every.events[0]
    curve = aalen_johansen(time, cause, one)[of - 1]
    incidence = curve.at(t)[0]
    survival = kaplan_meier(time, (cause > 0).astype(np.float64), one).values[0]
    before = np.concatenate([[1.0], survival[:-1]])
    left = np.where(n > d, n - d, np.inf)  # where nobody is left, later incidence does not change
    variance = np.full(len(t), np.nan)
    for k, at in enumerate(np.asarray(t, dtype=np.float64)):
        upto = every.times <= at
        gap = (incidence[k] - curve.values[0])[upto]
        a, b, s, dj, nj = own[upto], left[upto], before[upto], d[upto], n[upto]
        variance[k] = (gap**2 * dj / (nj * b)).sum() + (s**2 * (nj - a) * a / nj**3).sum()
        variance[k] -= 2 * (gap * s * a / nj**2).sum()
    inside = (incidence > 0) & (incidence < 1)
    log_incidence = np.log(np.where(inside, incidence, 0.5))
    half = (
        norm.ppf(0.5 + level / 2) * np.sqrt(np.maximum(variance, 0.0)) / np.abs(log_incidence * incidence.clip(1e-300))
    )
    low, high = np.exp(log_incidence * np.exp(half)), np.exp(log_incidence * np.exp(-half))
    return incidence, np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def known_by(
    time: Float64Array, cause: Float64Array, weights: Float64Array, horizon: float
) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
    """Return ``weights`` (resamples, rows) times IPCW, 0 where the state at the horizon is not known; and where it is.

    A weight is NaN where a row that counts has no one like it left under observation.
    """
    g = censoring_curve(time, (cause > 0).astype(np.float64), weights)
    ended, beyond = (time <= horizon) & (cause > 0), time > horizon
    share = np.ones_like(weights)
    share[:, ended] = g.at(time[ended], before=True)
    share[:, beyond] = g.at(np.array([horizon]))
    known = (ended | beyond) & (weights > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, weights / np.where(share > 0, share, np.nan), 0.0), ended | beyond


def incidence_brier(
    time: Float64Array, cause: Float64Array, predicted: Float64Array, weights: Float64Array, *, of: int,
    horizon: float,
) -> Float64Array:  # fmt: skip
    """Return the IPCW Brier score (resamples,) of the ``predicted`` incidence (rows,) of cause ``of`` by ``horizon``.

    Who had another event by then counts as without (doi:10.1002/bimj.201000073). NaN where nobody is followed further.
    """
    w, _ = known_by(time, cause, weights, horizon)
    had, beyond = (time <= horizon) & (cause == of), time > horizon
    error = (w * (predicted - had) ** 2).sum(axis=1)
    return np.where((weights * beyond).sum(axis=1) > 0, error / weights.sum(axis=1), np.nan)


def incidence_expected_observed(
    time: Float64Array, cause: Float64Array, predicted: Float64Array, weights: Float64Array, *, of: int,
    horizon: float,
) -> Float64Array:  # fmt: skip
    """Return mean ``predicted`` incidence (rows,) by ``horizon`` over Aalen-Johansen's, (resamples,); 1 is ideal."""
    observed = aalen_johansen(time, cause, weights)[of - 1].at(np.array([horizon]))[:, 0]
    expected = weights @ predicted / weights.sum(axis=1)
    return np.where(observed > 0, expected / np.where(observed > 0, observed, 1.0), np.nan)


def incidence_from_hazards(
    baselines: Sequence[Baseline], margins: Float64Array, horizons: Float64Array
) -> Float64Array:
    """Return the cumulative incidence of each cause by each horizon: (rows, causes, points).

    Within a step of the hazards, causes share who leaves in proportion to their hazards; so the incidences add up to
    1 - exp(-summed hazards) exactly.

    Parameters
    ----------
    baselines: one per cause. margins: (rows, causes), log relative hazards.
    """
    for base in baselines:
        base.at(horizons)  # refuses what lies outside
    times = np.unique(np.concatenate([b.times for b in baselines]))
    steps = np.stack([np.diff(np.concatenate([[0.0], b.hazard])) for b in map(_padded(times), baselines)])
    points = np.searchsorted(times, horizons, side="right")
    found = np.zeros((margins.shape[0], len(baselines), len(points)))
    chunk = max(1, _CELLS_PER_CHUNK // max(1, times.size * len(baselines)))
    for begin in range(0, margins.shape[0], chunk):
        with np.errstate(over="ignore"):
            relative = np.minimum(np.exp(margins[begin : begin + chunk]), 1e300)
        hazards = relative[:, :, None] * steps[None]
        total = hazards.sum(axis=1)
        before = np.exp(-(np.cumsum(total, axis=1) - total))
        leaving = before * -np.expm1(-total)
        gained = np.cumsum(hazards * (leaving / np.where(total > 0, total, 1.0))[:, None, :], axis=2)
        padded = np.concatenate([np.zeros((*gained.shape[:2], 1)), gained], axis=2)
        found[begin : begin + chunk] = padded[:, :, points]
    return found


def _padded(times: Float64Array) -> Any:
    """Return a function that states a baseline at all of ``times``."""

    def at(base: Baseline) -> Baseline:
        hazard = np.concatenate([[0.0], base.hazard])[np.searchsorted(base.times, times, side="right")]
        return Baseline(times, hazard, base.last)

    return at


@dataclass(frozen=True)
class FittedCompeting:
    """One model of the hazard of each cause, from cause 1 on."""

    causes: tuple[FittedCox | FittedBoostedSurvival, ...]

    @property
    def n_features(self) -> int:
        """Number of raw columns."""
        return self.causes[0].n_features

    def cumulative_incidence(self, X: Float32Array, horizons: Float64Array) -> Float64Array:
        """Return the probability of each cause by each horizon, (rows, causes, points).

        Raises
        ------
        ConfigError: a horizon beyond the follow-up of the training rows.
        """
        margins = np.column_stack([model.margin(X) for model in self.causes])
        return incidence_from_hazards([m.baseline for m in self.causes], margins, horizons)

    def to_files(self) -> dict[str, bytes]:
        """Return the files of each cause's model, named ``cause_1.NAME`` and so on."""
        return {
            f"cause_{k}.{name}": data
            for k, model in enumerate(self.causes, start=1)
            for name, data in model.to_files().items()
        }


def competing_from_files(files: Mapping[str, bytes]) -> FittedCompeting:
    """Return what ``to_files`` saved; the caller has verified the bytes."""
    found: list[FittedCox | FittedBoostedSurvival] = []
    while own := {
        name.split(".", 1)[1]: data for name, data in files.items() if name.startswith(f"cause_{len(found) + 1}.")
    }:
        found.append(cox_from_files(own) if "cox.json" in own else boosted_from_files(own))
    return FittedCompeting(tuple(found))


def fit_competing(
    train: SurvivalPart, *, tuning: SurvivalPart | None, model: Literal["cox", "boosted_cox"], seed: int,
    device: Device, threads: int = 1, options: Options | None = None,
) -> FittedCompeting:  # fmt: skip
    """Fit the hazard of each cause with the other causes as censored, which is what a cause-specific hazard is.

    Parameters
    ----------
    train, tuning: ``event`` holds the cause, 0 where censored.

    Raises
    ------
    LabelError: a cause with too few events in a part. ConfigError: an unknown model or option.
    """
    if model not in ("cox", "boosted_cox"):
        raise ConfigError(f"unknown model {model!r} of competing events", hint="one of: cox, boosted_cox")
    _, cause = check_causes(train.time, train.event, "training part")
    fitted: list[FittedCox | FittedBoostedSurvival] = []
    for k in range(1, int(cause.max()) + 1):
        own, held = (
            None if part is None else part._replace(event=(np.asarray(part.event) == k).astype(np.float64))
            for part in (train, tuning)
        )
        assert own is not None
        try:
            if model == "cox":
                fitted.append(fit_cox(own, tuning=held, options=options))
            else:
                fitted.append(
                    fit_boosted_survival(
                        own, tuning=held, kind="cox", seed=seed, device=device, threads=threads, options=options
                    )
                )
        except LabelError as error:
            raise LabelError(f"cause {k}: {error.what}", where=error.where, hint=error.hint) from error
    return FittedCompeting(tuple(fitted))
