"""What a model is: one registered file that fits, and what it returns, which predicts, explains and saves itself.

A member module defines ``MODEL``. Everything that a fitted model needs later is in the bytes of ``to_files``;
nothing is pickled. Evaluation and explanation know models only through these protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from genomix.device import Device
from genomix.errors import ConfigError, FormatError, LabelError
from genomix.registry import member

Objective = Literal["binary", "regression"]
Options = Mapping[str, Any]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


class Part(NamedTuple):
    """Rows of one role: ``X`` float32 (rows, columns) with NaN where missing, ``y`` and ``weights`` (rows,).

    A binary label is 0 or 1; weights are positive; None means equal.
    """

    X: Float32Array
    y: Float64Array
    weights: Float64Array | None = None


class Contributions(NamedTuple):
    """Exact Shapley values, float32 (rows, columns), on the margin scale, and the margin they start from."""

    values: Float32Array
    base_value: float


class Fitted(Protocol):
    """A fitted model. ``facts`` are JSON-able figures of the fit (rounds kept, penalty chosen)."""

    @property
    def model(self) -> str:
        """Name of the registered model that fitted it."""
        ...

    @property
    def objective(self) -> Objective:
        """What it predicts."""
        ...

    @property
    def n_features(self) -> int:
        """Number of columns that it expects."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Figures of the fit."""
        ...

    def margin(self, X: Float32Array) -> Float64Array:
        """Return the linear predictor: log-odds for a binary outcome, the quantity itself for a regression."""
        ...

    def predict(self, X: Float32Array) -> Float64Array:
        """Return the probability of the event, or the predicted quantity."""
        ...

    def contributions(self, X: Float32Array) -> Contributions:
        """Return each column's exact contribution to ``margin(X)``."""
        ...

    def to_files(self) -> dict[str, bytes]:
        """Return the files that :meth:`Model.from_files` needs, by name; equal models give equal bytes."""
        ...


class Model(Protocol):
    """A registered model."""

    name: str

    def fit(
        self,
        train: Part,
        *,
        tuning: Part | None,
        objective: Objective,
        seed: int,
        device: Device,
        threads: int = 1,
        options: Options | None = None,
    ) -> Fitted:
        """Learn from ``train``; use ``tuning`` only to stop early or to choose a penalty."""
        ...  # fmt: skip

    def from_files(self, files: Mapping[str, bytes]) -> Fitted:
        """Return what was saved. The bytes must have been checked against their hashes before."""
        ...


def model_named(name: str) -> Model:
    """Return the registered model of this name, or raise a ConfigError that lists the names."""
    found: Model = member("genomix.models", "MODEL", name)
    return found


def check_part(part: Part, objective: Objective, what: str) -> Part:
    """Return ``part`` as contiguous arrays, or say what cannot be learned from.

    Raises
    ------
    FormatError: shapes that do not fit, infinite values.
    LabelError: no rows, labels that are not 0/1, one class only in a binary training part.
    """
    X = np.ascontiguousarray(part.X, dtype=np.float32)
    y = np.ascontiguousarray(part.y, dtype=np.float64)
    weights = None if part.weights is None else np.ascontiguousarray(part.weights, dtype=np.float64)
    if X.ndim != 2 or y.shape != (X.shape[0],) or (weights is not None and weights.shape != y.shape):
        raise FormatError(f"{what}: X {X.shape}, y {y.shape} and weights do not fit together")
    if np.isinf(X).any():
        column = int(np.isinf(X).any(axis=0).argmax())
        raise FormatError(f"{what}: column number {column} holds an infinite value", hint="use NaN for missing")
    if weights is not None and not (np.isfinite(weights) & (weights > 0)).all():
        raise FormatError(f"{what}: weights must be positive")
    check_labels(y, objective, what)
    return Part(X, y, weights)


def check_labels(y: Float64Array, objective: Objective, what: str) -> None:
    """Raise a LabelError for labels that cannot be learned from."""
    if not y.size:
        raise LabelError(f"{what}: no rows")
    if not np.isfinite(y).all():
        raise LabelError(f"{what}: a label is missing or infinite")
    if objective == "binary" and not np.isin(y, (0.0, 1.0)).all():
        raise LabelError(f"{what}: a binary outcome has labels 0 and 1 only", hint="a quantity needs a regression")
    if objective == "binary" and what == "training part" and (y == y[0]).all():
        raise LabelError(f"{what}: every label is {y[0]:g}", hint="a wider cohort or a longer horizon")


def check_matrix(X: Float32Array, n_features: int) -> Float32Array:
    """Return ``X`` as contiguous float32 (rows, n_features), or raise a FormatError."""
    X = np.ascontiguousarray(X, dtype=np.float32)
    if X.ndim != 2 or X.shape[1] != n_features:
        raise FormatError(f"the model expects {n_features} columns, the matrix has shape {X.shape}")
    if np.isinf(X).any():
        raise FormatError("the matrix holds an infinite value", hint="use NaN for missing")
    return X


def merge_options(defaults: Mapping[str, Any], options: Options | None, model: str) -> dict[str, Any]:
    """Return ``defaults`` overridden by ``options``; a key that the model does not know is a ConfigError."""
    given = dict(options or {})
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ConfigError(
            f"model {model!r} has no option {unknown[0]!r}", hint="one of: " + ", ".join(sorted(defaults))
        )
    return {**defaults, **given}


def sigmoid(margin: Float64Array) -> Float64Array:
    """Return 1 / (1 + exp(-margin)) without overflow.

    >>> sigmoid(np.array([0.0, -800.0])).tolist()
    [0.5, 0.0]
    """
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0, small) / (1.0 + small)


def weighted_mean(y: Float64Array, weights: Float64Array | None) -> float:
    """Return the mean of ``y``, weighted where weights are given."""
    return float(y.mean()) if weights is None else float((y * weights).sum() / weights.sum())


def mean_loss(margin: Float64Array, part: Part, objective: Objective) -> float:
    """Return the mean log loss of a linear predictor, or its root mean squared error, weighted where weights are."""
    if objective == "binary":
        return weighted_mean(np.logaddexp(0.0, margin) - part.y * margin, part.weights)
    return float(np.sqrt(weighted_mean((part.y - margin) ** 2, part.weights)))
