"""Move a model's probabilities (or quantities) to what another place or time sees, learned on its own part of the rows.

``intercept``: only the level moves (calibration in the large). ``platt``: a straight line on the log-odds, or on the
quantity (Platt 1999; Cox 1958, doi:10.1093/biomet/45.3-4.562). ``isotonic``: any rising curve (Zadrozny and Elkan 2002,
doi:10.1145/775047.775151), its steps pooled until each rests on 11 rows, and joined by straight lines. The first two
leave the order of people, and so the AUROC, as it is. Which to take depends on how many there are to learn from (Van
Calster et al. 2019, doi:10.1186/s12916-019-1466-7): with few events only the intercept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genomix.errors import ConfigError, FormatError, LabelError
from genomix.models.logistic import logit, weighted_logistic
from genomix.models.model import Float64Array, Objective, sigmoid
from genomix.privacy import SMALL_CELL

Method = Literal["intercept", "platt", "isotonic"]
METHODS: tuple[Method, ...] = ("intercept", "platt", "isotonic")
FEWEST: Mapping[Method, int] = {"intercept": 10, "platt": 20, "isotonic": 50}
"""Events, and people without, that a method needs; of a quantity, rows."""


@dataclass(frozen=True)
class Calibrator:
    """A learned map from prediction to prediction.

    Parameters
    ----------
    intercept, slope: of the line, on log-odds for a binary outcome. x, y: corners of the isotonic curve, ascending.
    n_rows: rows that it was learned from.
    """

    method: Method
    objective: Objective
    n_rows: int
    intercept: float = 0.0
    slope: float = 1.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def apply(self, predicted: Float64Array) -> Float64Array:
        """Return the recalibrated predictions, (rows,)."""
        if self.method == "isotonic":
            return np.interp(predicted, self.x, self.y)
        if self.objective == "binary":
            return sigmoid(self.intercept + self.slope * logit(predicted))
        return self.intercept + self.slope * predicted

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`calibrator_from` reads."""
        return {
            "method": self.method, "objective": self.objective, "n_rows": self.n_rows, "intercept": self.intercept,
            "slope": self.slope, "x": list(self.x), "y": list(self.y),
        }  # fmt: skip


def calibrator_from(content: Mapping[str, Any]) -> Calibrator:
    """Return the calibrator of a JSON object.

    Raises
    ------
    FormatError: when it is none.
    """
    try:
        found = Calibrator(
            content["method"], content["objective"], int(content["n_rows"]), float(content["intercept"]),
            float(content["slope"]), tuple(map(float, content["x"])), tuple(map(float, content["y"])),
        )  # fmt: skip
        curve = np.array([found.x, found.y])
        sound = found.method in METHODS and bool((np.diff(curve, axis=1) >= 0).all())
        if not sound or (found.method == "isotonic" and curve.shape[1] == 0):
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError("calibrator.json is no calibrator", hint="copy the bundle again") from error
    return found


def fit_calibrator(predicted: Float64Array, y: Float64Array, *, method: Method, objective: Objective) -> Calibrator:
    """Learn a calibrator from predictions and outcomes of rows that are used for nothing else.

    Raises
    ------
    ConfigError: an unknown method. LabelError: too few rows of a class, or predictions that separate the classes.
    """
    if method not in METHODS:
        raise ConfigError(f"recalibration {method!r} is unknown", hint="one of: " + ", ".join(METHODS))
    fewest = min(int((y == 1).sum()), int((y == 0).sum())) if objective == "binary" else len(y)
    if fewest < FEWEST[method]:
        what = "rows of the rarer class" if objective == "binary" else "rows"
        raise LabelError(
            f"{fewest} {what} are too few for {method} recalibration ({FEWEST[method]})",
            hint="a larger --recalibrate-share, or a method that asks for less: intercept",
        )
    if method == "isotonic":
        x, curve = _isotonic(predicted, y)
        return Calibrator(method, objective, len(y), x=x, y=curve)
    intercept, slope = _line(predicted, y, objective, fixed_slope=method == "intercept")
    return Calibrator(method, objective, len(y), intercept, slope)


def _line(predicted: Float64Array, y: Float64Array, objective: Objective, *, fixed_slope: bool) -> tuple[float, float]:
    ones = np.ones((len(y), 1))
    if objective == "regression":
        if fixed_slope or np.ptp(predicted) == 0:
            return float((y - predicted).mean()), 1.0
        slope = float(np.cov(predicted, y, bias=True)[0, 1] / predicted.var())
        return float(y.mean() - slope * predicted.mean()), slope
    z = logit(predicted)
    if fixed_slope or np.ptp(z) == 0:
        (found,) = weighted_logistic(ones, y, ones.T, offset=z)
        intercept, slope = float(found[0]), 1.0
    else:
        (found,) = weighted_logistic(np.column_stack([ones, z]), y, ones.T)
        intercept, slope = float(found[0]), float(found[1])
    if not np.isfinite([intercept, slope]).all():
        raise LabelError("the predictions separate the classes: no recalibration is estimable", hint="more rows")
    return intercept, slope


def _isotonic(predicted: Float64Array, y: Float64Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the corners of the curve: of each step its mean prediction and its mean outcome."""
    from sklearn.isotonic import isotonic_regression

    # People with one prediction count as one place, so that their order changes nothing.
    x, tie = np.unique(predicted, return_inverse=True)
    size = np.bincount(tie).astype(np.float64)
    rising = np.asarray(isotonic_regression(np.bincount(tie, weights=y) / size, sample_weight=size))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(rising) > 1e-12]))
    columns = [np.add.reduceat(v, starts) for v in (size, size * x, size * rising)]
    steps = [(float(n), float(at), float(value)) for n, at, value in zip(*columns, strict=True)]
    pooled: list[tuple[float, float, float]] = []
    for step in steps:
        if pooled and pooled[-1][0] < SMALL_CELL:
            step = tuple(a + b for a, b in zip(pooled.pop(), step, strict=True))  # type: ignore[assignment]  # three sums
        pooled.append(step)
    if len(pooled) > 1 and pooled[-1][0] < SMALL_CELL:
        last = pooled.pop()
        pooled[-1] = tuple(a + b for a, b in zip(pooled[-1], last, strict=True))  # type: ignore[assignment]  # three sums
    return tuple(s / n for n, s, _ in pooled), tuple(v / n for n, _, v in pooled)
