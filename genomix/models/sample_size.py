"""How many people a prediction model needs: the criteria of Riley et al. 2019.

Binary outcome: doi:10.1002/sim.7992. Continuous outcome: doi:10.1002/sim.7993. They are for unpenalised regression with
``n_parameters`` candidate parameters; boosted trees need more. Meeting them does not make a model useful.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from genomix.errors import ConfigError


class Criterion(NamedTuple):
    """One criterion and the number of people that it asks for."""

    name: str
    n: int


class SampleSize(NamedTuple):
    """All criteria, and the largest of them."""

    criteria: tuple[Criterion, ...]
    n: int


def largest_cox_snell_r2(prevalence: float) -> float:
    """Return the largest Cox-Snell R² that a binary outcome of this prevalence allows (sim.7992, equation 23).

    >>> round(largest_cox_snell_r2(0.174), 3)
    0.603
    """
    _check_share(prevalence, "prevalence")
    log_likelihood = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return 1 - math.exp(2 * log_likelihood)


def sample_size_binary(
    n_parameters: int, *, prevalence: float, r2_cox_snell: float | None = None, shrinkage: float = 0.9,
    optimism: float = 0.05, risk_margin: float = 0.05,
) -> SampleSize:  # fmt: skip
    """Return the people needed to develop a model of a binary outcome.

    Parameters
    ----------
    n_parameters: candidate parameters (columns, more for splines), at least 1.
    r2_cox_snell: expected Cox-Snell R²; by default 15 % of the largest possible one, as the authors advise.
    shrinkage: wanted uniform shrinkage factor (criterion 1).
    optimism: largest difference of apparent and adjusted Nagelkerke R² (criterion 2).
    risk_margin: half-width of the 95 % interval of the overall risk (criterion 3).

    >>> sample_size_binary(24, prevalence=0.174, r2_cox_snell=0.288).n
    662
    """
    largest = largest_cox_snell_r2(prevalence)
    r2 = 0.15 * largest if r2_cox_snell is None else r2_cox_snell
    if not 0 < r2 < min(largest, shrinkage):
        raise ConfigError(f"a Cox-Snell R² of {r2:g} is impossible here", hint=f"a value under {largest:.3f}")
    needed_shrinkage = r2 / (r2 + optimism * largest)
    criteria = (
        Criterion("shrinkage", _n_for_shrinkage(n_parameters, r2, shrinkage)),
        Criterion("optimism of R²", _n_for_shrinkage(n_parameters, r2, needed_shrinkage)),
        Criterion("overall risk", math.ceil((1.96 / risk_margin) ** 2 * prevalence * (1 - prevalence))),
    )
    return SampleSize(criteria, max(c.n for c in criteria))


def _n_for_shrinkage(n_parameters: int, r2: float, shrinkage: float) -> int:
    """Equation 11 of sim.7992, solved for n."""
    return math.ceil(n_parameters / ((shrinkage - 1) * math.log(1 - r2 / shrinkage)))


def sample_size_continuous(
    n_parameters: int, *, r2: float, mean: float | None = None, sd: float | None = None, shrinkage: float = 0.9,
    optimism: float = 0.05, margin: float = 1.1,
) -> SampleSize:  # fmt: skip
    """Return the people needed to develop a model of a quantity.

    Parameters
    ----------
    r2: expected adjusted R², in (0, 1).
    mean, sd: of the outcome; without them the criterion of a precise mean is left out.
    margin: largest multiplicative error of the residual standard deviation and of the mean.

    >>> sample_size_continuous(25, r2=0.2, mean=1.9, sd=0.6).n
    918
    """
    _check_share(r2, "R²")
    criteria = [
        Criterion("shrinkage", _smallest_n(n_parameters, lambda n: _shrinkage(n, n_parameters, r2) >= shrinkage)),
        Criterion("optimism of R²", math.ceil(1 + n_parameters * (1 - r2) / optimism)),
        Criterion("residual standard deviation", 234 + n_parameters),
    ]
    if mean is not None and sd is not None:
        precise = _smallest_n(n_parameters, lambda n: _mean_error(n, n_parameters, r2, mean, sd) <= margin)
        criteria.append(Criterion("mean", precise))
    return SampleSize(tuple(criteria), max(c.n for c in criteria))


def _shrinkage(n: int, p: int, r2: float) -> float:
    """Return the expected shrinkage at n (sim.7993, equation 5), from the apparent R² that the adjusted one implies."""
    apparent = (r2 * (n - p - 1) + p) / (n - 1)
    return 1 + (p - 2) / (n * math.log(1 - apparent))


def _mean_error(n: int, p: int, r2: float, mean: float, sd: float) -> float:
    """Return the relative upper end of the 95 % interval of the mean outcome, given the model."""
    from scipy.special import stdtrit

    t = float(stdtrit(n - p - 1, 0.975))
    return (abs(mean) + t * math.sqrt(sd**2 * (1 - r2) / n)) / abs(mean)


def _smallest_n(p: int, enough: Callable[[int], bool]) -> int:
    """Return the smallest n from which on ``enough`` holds, by doubling and halving."""
    low, high = p + 2, 2 * (p + 2)
    while not enough(high):
        low, high = high, 2 * high
        if high > 10**12:
            raise ConfigError("no sample size is enough for these expectations", hint="a larger R² or margin")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def _check_share(value: float, what: str) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{what} lies between 0 and 1, not {value:g}")
