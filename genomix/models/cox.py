"""Cox regression (doi:10.1111/j.2517-6161.1972.tb00899.x) with Efron's ties, unpenalised or with an elastic net.

Minimised, with n rows and ``a`` the L1 share (glmnet's convention, doi:10.18637/jss.v039.i05)::

    -log partial likelihood / n  +  penalty * ( (1 - a)/2 |b|_2^2 + a |b|_1 )

Of d events at one time, the l-th (from 0) sees the risk set less l/d of the d (doi:10.1080/01621459.1977.10480613).
Preprocessing is learned from the training rows (:mod:`genomix.models.linear`); the penalty is chosen on the tuning part
by its own partial likelihood; the baseline hazard is Breslow's, of the training rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from genomix.errors import ConfigError, FormatError, LabelError
from genomix.models.linear import Preprocessing, learn_preprocessing
from genomix.models.metrics import IntArray
from genomix.models.model import Contributions, Float32Array, Float64Array, Options, check_matrix, merge_options
from genomix.models.penalised import elastic_net, ridge
from genomix.models.survival_metrics import check_outcome
from genomix.provenance import canonical_json

DEFAULTS: Mapping[str, Any] = {
    "l1_share": 0.5,
    "n_penalties": 24,
    "smallest_share": 1e-3,
    "penalty": None,
    "clip_sd": 8.0,
}
"""Options of ``cox``, as those of ``linear``; ``penalty`` 0 is the unpenalised regression."""

FEWEST_EVENTS = 2
_WIDEST = 300.0
_MAX_STEPS = 100
_MOST_FULL_COLUMNS = 1000
"""Up to here a Newton step uses all second derivatives by column; beyond it, the diagonal by row."""
_MONOTONE = 25.0
"""An unpenalised coefficient per standard deviation beyond this has no finite maximum."""


class SurvivalPart(NamedTuple):
    """Rows of one role: ``X`` float32 (rows, columns), NaN where missing; ``time`` ≥ 0 and ``event`` 0/1 (rows,)."""

    X: Float32Array
    time: Float64Array
    event: Float64Array


def check_survival_part(part: SurvivalPart, what: str) -> SurvivalPart:
    """Return ``part`` as contiguous arrays, or say what cannot be learned from.

    Raises
    ------
    FormatError: shapes that do not fit, infinite values. LabelError: as :func:`check_outcome`, or fewer than two
        events.
    """
    time, event = check_outcome(part.time, part.event, what)
    X = np.asarray(part.X)
    if X.ndim != 2 or X.shape[0] != time.size:
        raise FormatError(f"{what}: X {X.shape} and time {time.shape} do not fit together")
    if event.sum() < FEWEST_EVENTS:
        raise LabelError(f"{what}: {int(event.sum())} events; at least {FEWEST_EVENTS} are needed")
    return SurvivalPart(check_matrix(X, X.shape[1]), time, event)


class Baseline(NamedTuple):
    """Cumulative hazard at margin 0 from each of ``times`` (steps,) on; ``last``: the end of follow-up.

    ``stated``: it is known at these times only, and no person's time of the event can be read from it.
    """

    times: Float64Array
    hazard: Float64Array
    last: float
    stated: bool = False

    def at(self, horizons: Float64Array) -> Float64Array:
        """Return the cumulative hazard at ``horizons`` (points,), or raise a ConfigError beyond the follow-up."""
        horizons = np.asarray(horizons, dtype=np.float64)
        if not (np.isfinite(horizons) & (horizons >= 0) & (horizons <= self.last)).all():
            raise ConfigError(
                f"a horizon of {horizons[~(horizons <= self.last) | (horizons < 0)][0]:g} lies outside the follow-up "
                f"of the training rows, 0 to {self.last:g}"
            )
        if self.stated and (other := np.setdiff1d(horizons, [0.0, *self.times])).size:
            raise ConfigError(
                f"the model has no survival at {other[0]:g}",
                hint="one of " + ", ".join(f"{h:g}" for h in self.times) + ", or train with this horizon",
            )
        return np.concatenate([[0.0], self.hazard])[np.searchsorted(self.times, horizons, side="right")]

    def survival(self, margin: Float64Array, horizons: Float64Array) -> Float64Array:
        """Return exp(-H(h) exp(margin)): (rows, points)."""
        with np.errstate(over="ignore"):
            relative = np.minimum(np.exp(margin), np.finfo(np.float64).max)
        return np.asarray(np.exp(-self.at(horizons)[None, :] * relative[:, None]))


def breslow(time: Float64Array, event: Float64Array, margin: Float64Array) -> Baseline:
    """Return Breslow's cumulative baseline hazard (doi:10.2307/2529620): a sum of events over summed exp(margin)."""
    top = float(margin.max())
    times, place = np.unique(time, return_inverse=True)
    at_risk = np.cumsum(np.bincount(place, np.exp(margin - top), times.size)[::-1])[::-1]
    events = np.bincount(place, event, times.size)
    had = events > 0
    return Baseline(times[had], np.cumsum(events[had] / at_risk[had]) * np.exp(-top), float(times[-1]))


class TiedRows(NamedTuple):
    """Rows by falling time, for the partial likelihood. ``end``: for each event term, the rows with time ≥ its own;
    ``first``: where its tied events begin among the events; ``share``: l/d; ``rows``: the sorted rows with an event.

    ``terms_until`` (rows,): how many terms have a time up to the row's; ``tied_from``, ``tied_to`` (events,).
    """

    order: IntArray
    end: IntArray
    share: Float64Array
    rows: IntArray
    terms_until: IntArray
    tied_from: IntArray
    tied_to: IntArray


def sort_ties(time: Float64Array, event: Float64Array) -> TiedRows:
    """Sort rows once for :func:`partial_likelihood`."""
    order = np.argsort(-time, kind="stable")
    t = time[order]
    rows = np.flatnonzero(event[order] == 1)
    falling = -t
    at = falling[rows]
    tied_from = np.searchsorted(at, at, side="left")
    tied_to = np.searchsorted(at, at, side="right")
    share = (np.arange(rows.size) - tied_from) / np.maximum(tied_to - tied_from, 1)
    end = np.searchsorted(falling, at, side="right")
    # Terms are in order of falling time: those with a time up to the row's own are the ones from here on.
    return TiedRows(order, end, share, rows, np.searchsorted(at, falling, side="left"), tied_from, tied_to)


class Likelihood(NamedTuple):
    """Log partial likelihood, its derivative by each row's margin, and what the second derivatives are made of."""

    value: float
    score: Float64Array
    pull: Float64Array
    relative: Float64Array
    phi: Float64Array


def partial_likelihood(ties: TiedRows, margin: Float64Array) -> Likelihood:
    """Return Efron's partial likelihood at ``margin`` (rows,); arrays but ``phi`` are in the order of ``ties``.

    Margins further than 300 under the largest count as 300 under it, so that no sum vanishes or overflows. ``pull`` is
    the derivative's second part: score = event - pull. Without events the value is 0.
    """
    eta = np.maximum(margin[ties.order] - margin.max(), -_WIDEST)
    relative = np.exp(eta)
    tied = np.concatenate([[0.0], np.cumsum(relative[ties.rows])])
    risk = np.cumsum(relative)[ties.end - 1]
    phi = risk - ties.share * (tied[ties.tied_to] - tied[ties.tied_from])
    value = float((eta[ties.rows] - np.log(phi)).sum())
    later = np.concatenate([np.cumsum((1 / phi)[::-1])[::-1], [0.0]])
    own = np.concatenate([[0.0], np.cumsum(ties.share / phi)])
    total = later[ties.terms_until]
    total[ties.rows] -= own[ties.tied_to] - own[ties.tied_from]
    pull = relative * total
    score = -pull
    score[ties.rows] += 1
    return Likelihood(value, score, pull, relative, phi)


def _curvature(Z: Float64Array, ties: TiedRows, at: Likelihood) -> Float64Array:
    """Return minus the second derivatives by the coefficients, (columns, columns); ``Z`` in the order of ``ties``."""
    weighted = Z * at.relative[:, None]
    tied = np.vstack([np.zeros((1, Z.shape[1])), np.cumsum(weighted[ties.rows], axis=0)])
    sums = np.cumsum(weighted, axis=0)[ties.end - 1] - ties.share[:, None] * (tied[ties.tied_to] - tied[ties.tied_from])
    means = sums / at.phi[:, None]
    return np.asarray((Z * at.pull[:, None]).T @ Z - means.T @ means)


def _row_curvature(ties: TiedRows, at: Likelihood) -> Float64Array:
    """Return minus the second derivative by each row's own margin, (rows,)."""
    squared = np.concatenate([np.cumsum((1 / at.phi**2)[::-1])[::-1], [0.0]])[ties.terms_until]
    lost = np.concatenate([[0.0], np.cumsum((1 - (1 - ties.share) ** 2) / at.phi**2)])
    squared[ties.rows] -= lost[ties.tied_to] - lost[ties.tied_from]
    return np.asarray(at.pull - at.relative**2 * squared)


def largest_useful_penalty(Z: Float64Array, time: Float64Array, event: Float64Array, l1_share: float) -> float:
    """Return the penalty from which on no coefficient is left; an L1 share under 0.01 counts as 0.01."""
    ties = sort_ties(time, event)
    score = partial_likelihood(ties, np.zeros(time.size)).score
    top = float(np.abs(Z[ties.order].T @ score).max(initial=0.0)) / time.size / max(l1_share, 0.01)
    return top or 1.0


def fit_path(
    Z: Float64Array, time: Float64Array, event: Float64Array, *, l1_share: float, penalties: Sequence[float]
) -> Iterator[Float64Array]:
    """Yield the coefficients (columns,) for each penalty in the order given; largest first warms the later ones.

    Parameters
    ----------
    Z: float64 (rows, columns) without missing values. penalties: ≥ 0.

    Raises
    ------
    LabelError: penalty 0, and the likelihood has no maximum (a column separates those with the event).
    """
    ties = sort_ties(time, event)
    Z = np.ascontiguousarray(Z[ties.order])
    ties = ties._replace(order=np.arange(time.size))
    beta = np.zeros(Z.shape[1])
    for penalty in penalties:
        beta = _minimise(Z, ties, beta, penalty * (1 - l1_share), penalty * l1_share)
        spread = Z.std(axis=0) if penalty == 0 else np.zeros(0)
        if penalty == 0 and (np.abs(beta) * spread > _MONOTONE).any():
            raise LabelError(
                "the partial likelihood has no maximum: a column separates those with the event from the others",
                hint="a penalty above 0, or without the column",
            )
        yield beta


def _minimise(Z: Float64Array, ties: TiedRows, beta: Float64Array, l2: float, l1: float) -> Float64Array:
    """Minimise from ``beta``; every step is halved until the function does not rise."""
    n = Z.shape[0]

    def value_of(at: Likelihood, b: Float64Array) -> float:
        return float(-at.value / n + 0.5 * l2 * (b @ b) + l1 * np.abs(b).sum())

    here = partial_likelihood(ties, Z @ beta)
    value = value_of(here, beta)
    for _ in range(_MAX_STEPS):
        target, share = _quadratic_minimum(Z, ties, here, beta, l2, l1), 1.0
        while True:
            trial = beta + share * (target - beta)
            there = partial_likelihood(ties, Z @ trial)
            trial_value = value_of(there, trial)
            if trial_value <= value or share < 1e-4:
                break
            share /= 2
        if trial_value > value:
            return beta
        done = value - trial_value < 1e-14 * (1 + abs(value))
        beta, here, value = trial, there, trial_value
        if done:
            break
    return beta


def _quadratic_minimum(
    Z: Float64Array, ties: TiedRows, here: Likelihood, beta: Float64Array, l2: float, l1: float
) -> Float64Array:
    """Minimise the second-order expansion at ``beta`` plus the penalty, as least squares |r - Db|²/2 + penalty."""
    n, columns = Z.shape
    if not columns:
        return beta
    if columns <= _MOST_FULL_COLUMNS:
        values, vectors = np.linalg.eigh(_curvature(Z, ties, here) / n)
        kept = values > max(values[-1], 0.0) * 1e-12
        root = np.sqrt(values[kept])
        design = root[:, None] * vectors[:, kept].T
        response = design @ beta + (vectors[:, kept].T @ (Z.T @ here.score)) / n / root
    else:
        curvature = np.maximum(_row_curvature(ties, here), 1e-8 * float(here.pull.max())) / n
        root = np.sqrt(curvature)
        design, response = Z * root[:, None], root * (Z @ beta) + here.score / n / root
    if l1 > 0:
        return elastic_net(design, response, beta, l2, l1)
    return ridge(design, response, l2) if l2 > 0 else np.linalg.lstsq(design, response, rcond=None)[0]


@dataclass(frozen=True)
class FittedCox:
    """A fitted regression; the margin is the log relative hazard against the mean of the training rows' design."""

    preprocessing: Preprocessing
    slopes: Float64Array
    background: Float64Array
    baseline: Baseline
    facts: Mapping[str, Any]
    model: str = "cox"
    objective: str = "survival"

    @property
    def n_features(self) -> int:
        """Number of raw columns."""
        return int(self.preprocessing.median.size)

    def margin(self, X: Float32Array) -> Float64Array:
        """Return the log relative hazard, (rows,); a higher one means an earlier event."""
        Z = self.preprocessing.design(check_matrix(X, self.n_features))
        with threadpool_limits(1, user_api="blas"):
            return np.asarray((Z - self.background) @ self.slopes)

    def predict(self, X: Float32Array) -> Float64Array:
        """Return the margin: a risk score, not a probability."""
        return self.margin(X)

    def survival(self, X: Float32Array, horizons: Float64Array) -> Float64Array:
        """Return the probability of no event by each horizon, (rows, points)."""
        return self.baseline.survival(self.margin(X), horizons)

    def contributions(self, X: Float32Array) -> Contributions:
        """Return exact Shapley values of the margin, as :meth:`genomix.models.linear.FittedLinear.contributions`."""
        Z = self.preprocessing.design(check_matrix(X, self.n_features))
        terms = (Z - self.background) * self.slopes
        values = terms[:, : self.n_features].copy()
        values[:, self.preprocessing.indicator] += terms[:, self.n_features :]
        return Contributions(values.astype(np.float32), 0.0)

    def to_files(self) -> dict[str, bytes]:
        """Return ``cox.json``, ``preprocessing.json`` and ``baseline.json``."""
        learned = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self.preprocessing).items()}
        model = {"slopes": self.slopes.tolist(), "background": self.background.tolist(), "facts": dict(self.facts)}
        return {
            "cox.json": canonical_json(model) + b"\n",
            "preprocessing.json": canonical_json(learned) + b"\n",
            "baseline.json": baseline_bytes(self.baseline),
        }


def baseline_bytes(baseline: Baseline) -> bytes:
    """Return ``baseline.json``."""
    content = {**baseline._asdict(), "times": baseline.times.tolist(), "hazard": baseline.hazard.tolist()}
    return canonical_json(content) + b"\n"


def baseline_from(data: bytes) -> Baseline:
    """Return what :func:`baseline_bytes` wrote."""
    read = json.loads(data)
    times, hazard = np.asarray(read["times"], dtype=np.float64), np.asarray(read["hazard"], dtype=np.float64)
    return Baseline(times, hazard, float(read["last"]), bool(read["stated"]))


def cox_from_files(files: Mapping[str, bytes]) -> FittedCox:
    """Return the regression that ``to_files`` saved; the caller has verified the bytes."""
    model, learned = json.loads(files["cox.json"]), json.loads(files["preprocessing.json"])
    numbers = {k: np.asarray(v, dtype=np.int64 if k == "indicator" else np.float64) for k, v in learned.items()}
    preprocessing = Preprocessing(**{**numbers, "clip_sd": float(learned["clip_sd"])})  # type: ignore[arg-type]
    return FittedCox(
        preprocessing, np.asarray(model["slopes"], dtype=np.float64), np.asarray(model["background"]),
        baseline_from(files["baseline.json"]), model["facts"],
    )  # fmt: skip


def fit_cox(train: SurvivalPart, *, tuning: SurvivalPart | None = None, options: Options | None = None) -> FittedCox:
    """Fit along a path of penalties and keep the one with the largest partial likelihood on ``tuning``.

    Nothing is drawn at random. Of equal likelihoods the stronger penalty wins.

    Raises
    ------
    ConfigError: an unknown option, an impossible one, or neither a tuning part nor ``options["penalty"]``.
    """
    chosen = merge_options(DEFAULTS, options, "cox")
    share, fixed = float(chosen["l1_share"]), chosen["penalty"]
    if not 0 <= share <= 1:
        raise ConfigError("l1_share lies outside 0 to 1", hint="0 for ridge, 1 for the lasso")
    if fixed is not None and not 0 <= float(fixed) < np.inf:
        raise ConfigError("a penalty is a number from 0 on", hint="0 for no penalty")
    if tuning is None and fixed is None:
        raise ConfigError("model 'cox' has no tuning part to choose on", hint='options={"penalty": 0.1}')
    train = check_survival_part(train, "training part")
    preprocessing = learn_preprocessing(train.X, None, float(chosen["clip_sd"]))
    Z = preprocessing.design(train.X)
    held = None
    if tuning is not None:
        tuning = check_survival_part(tuning, "tuning part")
        held = preprocessing.design(tuning.X), sort_ties(tuning.time, tuning.event), float(tuning.event.sum())
    with threadpool_limits(1, user_api="blas"):
        if fixed is not None:
            penalties = [float(fixed)]
        else:
            top = largest_useful_penalty(Z, train.time, train.event, share)
            penalties = (top * np.geomspace(1.0, float(chosen["smallest_share"]), int(chosen["n_penalties"]))).tolist()
        best: tuple[float, float, Float64Array] | None = None
        path = fit_path(Z, train.time, train.event, l1_share=share, penalties=penalties)
        for penalty, beta in zip(penalties, path, strict=True):
            loss = 0.0 if held is None else -partial_likelihood(held[1], held[0] @ beta).value / held[2]
            if best is None or loss < best[0] - 1e-12:
                best = loss, penalty, beta
        assert best is not None
        background = Z.mean(axis=0)
        baseline = breslow(train.time, train.event, (Z - background) @ best[2])
    facts = {"penalty": best[1], "l1_share": share, "tuning_loss": None if held is None else best[0],
             "slopes": int(np.count_nonzero(best[2])), "events": int(train.event.sum())}  # fmt: skip
    return FittedCox(preprocessing, best[2], background, baseline, facts)
