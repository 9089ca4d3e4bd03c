"""SIMULATED people: who they are, their long-term levels, and whether and when the outcome comes.

Everything here is latent: a study sees none of it, only the records that :mod:`genomix_pipelines.demo.records` draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix_pipelines.demo.effects import CAUSAL

DAY = 86_400_000_000
"""Microseconds."""

FIRST_INDEX_DAY = np.datetime64("2012-01-02")
N_INDEX_DAYS = 1_459
YOUNGEST_YEARS, OLDEST_YEARS = 30.0, 80.0
DAYS_PER_YEAR = 365.25

PREVALENCE = 0.24
FIRST_OUTCOME_DAY, LAST_OUTCOME_DAY = 31, 1_850
TARGET_END_DAY = 30 + 1_826
NEVER = 1_000_000

SHARE_SMOKER = 0.25
SHARE_PRIOR_DISEASE = 0.03
SHARE_WITHOUT_HISTORY = 0.02
SHARE_LOST = 0.04
SHARE_DYING = 0.015
CONDITIONS: dict[str, float] = {
    "DIAGNOSIS//asthma": 0.09,
    "DIAGNOSIS//essential_hypertension": 0.30,
    "DIAGNOSIS//hypothyroidism": 0.06,
    "DIAGNOSIS//migraine": 0.08,
    "DIAGNOSIS//osteoarthritis": 0.15,
}
"""Prevalence at the prediction time of diagnoses without effect; drawn independently of everything."""

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class People(NamedTuple):
    """One row per person of the genotype file, and the intercept of the outcome's model.

    ``table`` holds identifiers, the causal features under the symbols of
    :data:`~genomix_pipelines.demo.effects.CAUSAL`, ``linear_predictor``, ``probability``, ``disease`` and, in days
    after the prediction time, ``disease_day``, ``lost_day``, ``death_day`` and ``end_day`` (``NEVER`` where it does not
    come).
    """

    table: pl.DataFrame
    intercept: float


def simulate_people(
    samples: pl.DataFrame, z_score: Floats, *, effects: Mapping[str, float], seed: np.random.Generator
) -> People:
    """Draw every person's latent values and outcome.

    Parameters
    ----------
    samples: sample_id, sex, superpopulation, population, in the genotype file's order.
    z_score: polygenic score of each sample, mean 0 and SD 1 within the superpopulation.
    effects: ``{symbol: log odds per unit}``. The draws do not depend on it, so two settings differ in their outcomes
        only where the probability moved across a person's uniform draw.
    seed: generator; consumed in a fixed order.
    """
    n = samples.height
    values = _characteristics(n, seed) | {"z_score": z_score}
    follow_up = _follow_up(n, seed)
    uniform = seed.random(n)
    conditions = {name: seed.random(n) < share for name, share in CONDITIONS.items()}
    predictor = np.zeros(n)
    for effect in CAUSAL:
        predictor = predictor + effects[effect.symbol] * values[effect.symbol]
    intercept = solve_intercept(predictor, PREVALENCE)
    probability = 1 / (1 + np.exp(-(intercept + predictor)))
    disease = uniform < probability
    outcome: dict[str, Array] = {
        "linear_predictor": predictor,
        "probability": probability,
        "disease": disease,
        "disease_day": np.where(disease, seed.integers(FIRST_OUTCOME_DAY, LAST_OUTCOME_DAY + 1, n), NEVER),
    }
    table = samples.with_columns(
        pl.Series(name, array) for name, array in (values | follow_up | conditions | outcome).items()
    )
    return People(table, intercept)


def _characteristics(n: int, seed: np.random.Generator) -> dict[str, Array]:
    index_day = (FIRST_INDEX_DAY + seed.integers(0, N_INDEX_DAYS, n)).astype("datetime64[us]").astype(np.int64)
    age_days = np.floor(seed.uniform(YOUNGEST_YEARS, OLDEST_YEARS, n) * DAYS_PER_YEAR).astype(np.int64)
    age_years = age_days / DAYS_PER_YEAR
    levels = {name: seed.standard_normal(n) for name in ("z_non_hdl", "z_hdl", "z_crp")}
    return {
        "subject_id": 100_001 + seed.permutation(n).astype(np.int64),
        "index_day": index_day,
        "index_time": index_day + seed.integers(8 * 60 + 30, 11 * 60 + 30, n) * 60_000_000,
        "birth_day": index_day - age_days * DAY,
        "age_years": age_years,
        "ln_age": np.log(age_years),
        **levels,
        "diabetes": (seed.random(n) < diabetes_prevalence(age_years)).astype(np.int8),
        "smoker": (seed.random(n) < SHARE_SMOKER).astype(np.int8),
        "second_laboratory": seed.random(n) < 0.35,
    }


def diabetes_prevalence(age_years: Floats) -> Floats:
    """Return the assumed share of people with type 2 diabetes: 2.7 % at 30 years, 14 % at 60, 32 % at 78.

    >>> diabetes_prevalence(np.array([30.0, 60.0])).round(3).tolist()
    [0.027, 0.142]
    """
    return np.asarray(1 / (1 + np.exp(-(-1.8 + 0.06 * (age_years - 60)))), dtype=np.float64)


def _follow_up(n: int, seed: np.random.Generator) -> dict[str, Array]:
    """Draw what is independent of risk: history, loss to follow-up, death, disease before the index visit."""
    lost = np.where(seed.random(n) < SHARE_LOST, seed.integers(60, TARGET_END_DAY - 200, n), NEVER)
    death = np.where(seed.random(n) < SHARE_DYING, seed.integers(60, TARGET_END_DAY - 1, n), NEVER)
    planned_end = TARGET_END_DAY + seed.integers(5, 60, n)
    return {
        "history_days": seed.integers(730, 1_096, n),
        "has_history": seed.random(n) >= SHARE_WITHOUT_HISTORY,
        "prior_disease": seed.random(n) < SHARE_PRIOR_DISEASE,
        "lost_day": lost,
        "death_day": death,
        "end_day": np.minimum(np.minimum(lost, death), planned_end),
    }


def solve_intercept(linear_predictor: Floats, prevalence: float) -> float:
    """Return the intercept at which the mean probability is ``prevalence``, by bisection.

    >>> round(solve_intercept(np.zeros(3), 0.5), 6)
    0.0
    """
    low, high = -60.0, 60.0
    for _ in range(100):
        middle = (low + high) / 2
        mean = float((1 / (1 + np.exp(-(middle + linear_predictor)))).mean())
        low, high = (low, middle) if mean > prevalence else (middle, high)
    return (low + high) / 2
