"""P values against closed forms in 60-digit arithmetic, far beyond where they underflow."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest

from genomix.variants.assoc_tails import chi_square_of, inflation_factor, t_two_sided, z_two_sided

getcontext().prec = 900


def t_df2(t: float) -> Decimal:
    """Two-sided P with two degrees of freedom: 1 - t / sqrt(t^2 + 2)."""
    x = Decimal(t)
    return 1 - x / (x * x + 2).sqrt()


def t_df4(t: float) -> Decimal:
    """With four: 1 - s (3 - s^2) / 2 where s = t / sqrt(t^2 + 4)."""
    s = Decimal(t) / (Decimal(t) ** 2 + 4).sqrt()
    return 1 - s * (3 - s * s) / 2


@pytest.mark.parametrize("t", [0.01, 0.5, 2.0, 9.0, 1e3, 1e20, 1e80, 1e150])
@pytest.mark.parametrize(("df", "exact"), [(2, t_df2), (4, t_df4)])
def test_t_against_closed_forms(t: float, df: int, exact: object) -> None:
    p = exact(t)  # type: ignore[operator]  # one of the two functions above
    found = t_two_sided(t, df)
    assert float(found.minus_log10_p) == pytest.approx(float(-p.log10()), rel=1e-12, abs=1e-14)
    if p > Decimal("1e-300"):
        assert float(found.p) == pytest.approx(float(p), rel=1e-10)


def test_t_with_many_degrees_of_freedom_is_continuous_where_p_underflows() -> None:
    """-log10 P must rise smoothly through the switch of methods near 1e-280."""
    t = np.linspace(36, 50, 400)
    logs = t_two_sided(t, 5000).minus_log10_p
    assert (logs[0] < 279) & (logs[-1] > 310)
    second = np.diff(logs, 2)
    assert np.abs(np.diff(second)).max() < 1e-6
    assert float(t_two_sided(60.0, 5000).p) == 0.0
    assert np.isfinite(t_two_sided(60.0, 5000).minus_log10_p)


@pytest.mark.parametrize("z", [0.0, 1.0, 5.0, 20.0, 38.0, 100.0])
def test_z_against_the_error_function(z: float) -> None:
    found = z_two_sided(-z)
    if z <= 25:
        assert float(found.p) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-12)
    else:  # Mills' ratio, four terms
        log_p = -z * z / 2 - math.log(z * math.sqrt(2 * math.pi)) + math.log1p(-1 / z**2 + 3 / z**4 - 15 / z**6)
        assert float(found.minus_log10_p) == pytest.approx(-(log_p + math.log(2)) / math.log(10), rel=1e-9)


def test_missing_statistics_stay_missing() -> None:
    assert np.isnan(t_two_sided(np.nan, 10).minus_log10_p)
    assert np.isnan(z_two_sided(np.nan).p)


def test_inflation_of_uniform_p_is_one_and_of_doubled_chi_square_two() -> None:
    p = (np.arange(1, 2002) - 0.5) / 2001
    assert inflation_factor(-np.log10(p)) == pytest.approx(1.0, abs=1e-3)
    z = np.sqrt(2 * chi_square_of(-np.log10(p)))
    assert inflation_factor(z_two_sided(z).minus_log10_p) == pytest.approx(2.0, abs=2e-3)
    assert np.isnan(inflation_factor([]))


def test_chi_square_inverts_the_tail() -> None:
    z = np.array([0.1, 1.0, 6.0, 30.0, 60.0])
    assert np.allclose(chi_square_of(z_two_sided(z).minus_log10_p), z**2, rtol=1e-9)


@pytest.mark.parametrize("df", [1, 2, 3, 39, 40, 41, 997, 2499, 10_000])
def test_t_against_an_independent_library(df: int) -> None:
    from scipy.special import stdtr

    t = np.concatenate([np.random.default_rng(df).normal(size=500) * 2, [0.0, 0.5, 1.7, 1.73, 1.74, 3, 10, 20]])
    assert t_two_sided(t, df).p == pytest.approx(2 * stdtr(df, -np.abs(t)), rel=2e-12)


def test_a_p_value_does_not_depend_on_its_neighbours() -> None:
    t = np.random.default_rng(1).normal(size=300) * 3
    whole = t_two_sided(t, 2498.0).minus_log10_p
    assert [float(t_two_sided(one, 2498.0).minus_log10_p) for one in t.tolist()] == whole.tolist()


@pytest.mark.parametrize("n", [1, 2, 1000, 1001])
def test_inflation_is_the_median_of_all_chi_squares(n: int) -> None:
    from scipy.stats import chi2

    p = np.random.default_rng(n).random(n)
    assert inflation_factor(-np.log10(p)) == pytest.approx(np.median(chi2.isf(p, 1)) / chi2.ppf(0.5, 1), rel=1e-9)
