"""Scores as standard deviations from what is expected at a person's ancestry, fitted on reference people.

With standardised components x and the centred score s of the reference people:
mean adjusted: z = (s - a - b x) / SD(residual), a and b by least squares (Khera et al. 2019,
doi:10.1161/CIRCULATIONAHA.118.035658); mean and variance adjusted: z = (s - a - b x) / exp((c + d x) / 2), all four by
maximum likelihood of a normal distribution (Khan et al. 2022, doi:10.1038/s41591-022-01869-1). Both as pgsc_calc
describes them (Lambert et al. 2024, doi:10.1038/s41588-024-01937-x: Z_norm1 and Z_norm2). They align distributions;
they do not make a score as accurate outside the people that it was made in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import ConfigError
from genomix.variants.threads import one_blas_thread

FloatArray = npt.NDArray[np.float64]

_TOLERANCE = 1e-10
_MOST_STEPS = 200


class AdjustedScores(NamedTuple):
    """z-scores, float64 (n_samples,): adjusted for the mean, and for mean and variance (None where not fitted)."""

    mean: FloatArray
    mean_variance: FloatArray | None


@dataclass(frozen=True)
class ScoreAdjustment:
    """What was fitted on reference people; ``to_dict`` and ``from_dict`` carry it as JSON-able values.

    Parameters
    ----------
    centre: mean score.
    component_means, component_scales: float64 (k,) mean and standard deviation (divisor n) of each component.
    mean_line: float64 (1 + k,) least-squares intercept and slopes of the centred score on standardised components.
    spread: standard deviation (divisor n) of the residuals.
    joint_mean_line, log_variance_line: float64 (1 + k,) of the fit of mean and variance together, or None.
    n_fitted: number of reference people.
    """

    centre: float
    component_means: FloatArray
    component_scales: FloatArray
    mean_line: FloatArray
    spread: float
    joint_mean_line: FloatArray | None
    log_variance_line: FloatArray | None
    n_fitted: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.__dict__.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScoreAdjustment:
        """Return the adjustment that :meth:`to_dict` described."""
        given: dict[str, Any] = {
            k: np.asarray(v, dtype=np.float64) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**given)

    def apply(self, scores: FloatArray, components: FloatArray) -> AdjustedScores:
        """Return the z-scores of any people; ``scores`` (n,), ``components`` (n, k)."""
        centred = np.asarray(scores, dtype=np.float64) - self.centre
        design = _design((np.asarray(components, dtype=np.float64) - self.component_means) / self.component_scales)
        by_mean = (centred - _line(design, self.mean_line)) / self.spread
        if self.joint_mean_line is None or self.log_variance_line is None:
            return AdjustedScores(by_mean, None)
        expected, log_variance = _line(design, self.joint_mean_line), _line(design, self.log_variance_line)
        return AdjustedScores(by_mean, (centred - expected) / np.exp(log_variance / 2))


def fit_adjustment(
    scores: FloatArray, components: FloatArray, *, variance: bool = True, name: str = "score"
) -> ScoreAdjustment:
    """Fit on reference people: unrelated ones, and none whose result is to be judged.

    Parameters
    ----------
    scores: float64 (n,). components: float64 (n, k), k may be 0.
    variance: also fit how the variance changes with ancestry.

    Raises
    ------
    ConfigError: for too few people, a score or component that does not vary, or a fit that does not converge.
    """
    s, x = np.asarray(scores, dtype=np.float64), np.asarray(components, dtype=np.float64)
    n, k = x.shape
    if n < 2 * (k + 2):
        raise ConfigError(
            f"{n} people are too few to adjust {name} for {k} components",
            hint=f"at least {2 * (k + 2)}, or fewer components",
        )
    if not (np.isfinite(s).all() and np.isfinite(x).all()):
        raise ConfigError(f"a score or component of the people that {name} is fitted on is missing")
    means, scales = x.mean(axis=0), x.std(axis=0)
    centre = float(s.mean())
    if not s.std() > 0 or (k and not scales.min() > 0):
        raise ConfigError(f"{name} or a component does not vary among the {n} people that it is fitted on")
    design, y = _design((x - means) / scales), s - centre
    with one_blas_thread():
        line = np.asarray(np.linalg.lstsq(design, y, rcond=None)[0], dtype=np.float64)
        residual = y - _line(design, line)
        if not residual.std() > 1e-12 * s.std():
            raise ConfigError(f"{name} is a sum of the components: nothing is left after the adjustment")
        joint = _joint_fit(design, y, line, name) if variance else None
    return ScoreAdjustment(
        centre, means, scales, line, float(residual.std()),
        joint.mean_line if joint else None, joint.log_variance_line if joint else None, n,
    )  # fmt: skip


class _Joint(NamedTuple):
    mean_line: FloatArray
    log_variance_line: FloatArray


def _joint_fit(design: FloatArray, y: FloatArray, start: FloatArray, name: str) -> _Joint:
    """Fisher scoring: the mean by weighted least squares, the log variance by a gamma regression; halved when
    that goes too far.
    """
    mean_line = start
    log_variance_line = np.zeros(design.shape[1])
    log_variance_line[0] = np.log(((y - _line(design, start)) ** 2).mean())
    loss = _negative_log_likelihood(design, y, mean_line, log_variance_line)
    for _ in range(_MOST_STEPS):
        variance = np.exp(_line(design, log_variance_line))
        weighted = design / variance[:, None]
        mean_step = np.linalg.solve(design.T @ weighted, weighted.T @ (y - _line(design, mean_line)))
        excess = (y - _line(design, mean_line)) ** 2 / variance - 1
        variance_step = np.linalg.solve(design.T @ design, design.T @ excess)
        size = 1.0
        while size > 1e-6:
            tried = mean_line + size * mean_step, log_variance_line + size * variance_step
            reached = _negative_log_likelihood(design, y, *tried)
            if reached <= loss:
                break
            size /= 2
        else:
            return _Joint(mean_line, log_variance_line)
        gained, loss = loss - reached, reached
        mean_line, log_variance_line = tried
        if gained <= _TOLERANCE * len(y) * 1e-3 and np.abs(variance_step).max() < _TOLERANCE**0.5:
            return _Joint(mean_line, log_variance_line)
    raise ConfigError(f"the variance of {name} by ancestry cannot be fitted", hint="adjust for the mean only")


def _negative_log_likelihood(design: FloatArray, y: FloatArray, mean: FloatArray, log_variance: FloatArray) -> float:
    v = _line(design, log_variance)
    with np.errstate(over="ignore"):
        value = float((v / 2 + (y - _line(design, mean)) ** 2 / (2 * np.exp(v))).sum())
    return value if np.isfinite(value) else np.inf


def _design(standardised: FloatArray) -> FloatArray:
    return np.hstack([np.ones((len(standardised), 1)), standardised])


def _line(design: FloatArray, coefficients: FloatArray) -> FloatArray:
    """The line, added up column by column: the same bits for any number of rows and threads."""
    total = np.zeros(len(design))
    for column, coefficient in zip(design.T, coefficients.tolist(), strict=True):
        total += coefficient * column
    return total
