"""Sample sizes against the figures that the criteria's authors print for their own examples."""

from __future__ import annotations

import math

import pytest

from genomix.errors import ConfigError
from genomix.models.sample_size import largest_cox_snell_r2, sample_size_binary, sample_size_continuous


def test_binary_example_of_the_authors() -> None:
    """Riley et al. 2019 (sim.7992) and pmsampsize's help: 24 parameters, prevalence 0.174, R² 0.288: 662 people."""
    found = sample_size_binary(24, prevalence=0.174, r2_cox_snell=0.288)
    assert [c.n for c in found.criteria] == [623, 662, 221]
    assert found.n == 662


def test_continuous_example_of_the_authors() -> None:
    """Riley et al. 2019 (sim.7993) and pmsampsize's help: 25 parameters, R² 0.2, mean 1.9, SD 0.6: 918 people."""
    found = sample_size_continuous(25, r2=0.2, mean=1.9, sd=0.6)
    assert [c.n for c in found.criteria][:3] == [918, 401, 259]
    assert found.n == 918
    assert sample_size_continuous(25, r2=0.2).n == 918


def test_largest_cox_snell_r2_of_the_authors_table() -> None:
    """doi:10.1136/bmj.m441: 0.75 at a prevalence of one half, 0.33 at 5 %, 0.11 at 1 %."""
    assert [round(largest_cox_snell_r2(p), 2) for p in (0.5, 0.05, 0.01)] == [0.75, 0.33, 0.11]


def test_the_default_r2_is_15_percent_of_the_largest() -> None:
    largest = largest_cox_snell_r2(0.05)
    assert sample_size_binary(30, prevalence=0.05) == sample_size_binary(
        30, prevalence=0.05, r2_cox_snell=0.15 * largest
    )


def test_the_mean_is_precise_enough_at_the_answer_and_not_before() -> None:
    from scipy.stats import t

    found = dict(sample_size_continuous(5, r2=0.2, mean=10.0, sd=12.0).criteria)["mean"]

    def margin(n: int) -> float:
        return 1 + t.ppf(0.975, n - 6) * math.sqrt(144 * 0.8 / n) / 10

    assert margin(found) <= 1.1 < margin(found - 1)


def test_impossible_expectations_are_refused() -> None:
    with pytest.raises(ConfigError, match="impossible"):
        sample_size_binary(5, prevalence=0.01, r2_cox_snell=0.5)
    with pytest.raises(ConfigError, match="prevalence lies between"):
        sample_size_binary(5, prevalence=0.0)
    with pytest.raises(ConfigError, match="R²"):
        sample_size_continuous(5, r2=1.0)
