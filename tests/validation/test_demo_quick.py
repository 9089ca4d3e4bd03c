"""One seed of what ``test_demo_statistics.py`` checks over forty runs, and its statistics against plain loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.demo_statistics import (
    SEEDS,
    Figures,
    criteria,
    mean_absolute,
    origins,
    pairs_in_order,
    run_one,
    spearman,
    spreads,
    true_effects,
)
from genomix_pipelines.demo.effects import AGE, CAUSAL, NULLS, PROXIES, TRAPS, feature_kinds

SCORE = "the study's name of the score"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by the runs of this module, so that genotypes are converted once."""
    return tmp_path_factory.mktemp("statistics")


# --- one seed, with bounds that no lucky draw decides ----------------------------------------------------------------


def test_planted_effects_are_found_in_their_order(folder: Path) -> None:
    found = run_one("effects", 1, folder)
    assert found.rows > 900
    assert 0.70 <= found.auroc <= 0.85
    assert found.step > 0
    assert found.step_high > 0.02
    assert found.rank >= 0.6
    assert found.in_order >= 0.9


def test_nothing_is_found_where_nothing_was_planted(folder: Path) -> None:
    found = run_one("null", 0, folder)
    # Traps follow the outcome here too: the weakest alone has an AUROC of 0.78. 0.08 is four standard errors.
    assert abs(found.auroc - 0.5) < 0.08
    assert abs(found.step) < 0.08
    assert math.isnan(found.rank)


# --- the criteria ----------------------------------------------------------------------------------------------------


def runs_of(study: str, *, wrong: int = 0, **changes: float) -> list[Figures]:
    """Return runs that satisfy every criterion, the first ``wrong`` of them changed."""
    good: dict[str, float] = {
        "auroc": 0.5 if study == "null" else 0.75, "auroc_low": 0.47, "auroc_high": 0.53,
        "step": 0.03, "step_low": 0.01 if study == "effects" else -0.01, "step_high": 0.05,
        "rank": 0.8, "rank_without_proxies": 0.7, "in_order": 1.0, "tuning_loss": 0.5, "cpu_seconds": 1.0,
    }  # fmt: skip
    figures = []
    for number, seed in enumerate(SEEDS[study]):
        values: dict[str, Any] = good | (changes if number < wrong else {})
        figures.append(Figures(study=study, seed=seed, rows=1000, events=240, **values))
    return figures


def failing(figures: list[Figures]) -> list[str]:
    return [c.name.partition(",")[0].partition(":")[0] for c in criteria(figures) if not c.holds]


@pytest.mark.parametrize("study", list(SEEDS))
def test_good_runs_hold(study: str) -> None:
    assert failing(runs_of(study)) == []


@pytest.mark.parametrize(
    ("study", "wrong", "changes", "expected"),
    [
        ("effects", 1, {"rank": 0.59}, ["rank correlation"]),
        ("effects", 10, {"rank": 0.69}, ["rank correlation"]),
        ("effects", 1, {"rank_without_proxies": 0.49}, ["rank correlation without proxies"]),
        ("effects", 2, {"step_low": 0.0}, []),
        ("effects", 3, {"step_low": 0.0}, ["genetic step's interval above 0"]),
        ("effects", 1, {"auroc": 0.699}, ["AUROC"]),
        ("effects", 1, {"auroc": 0.851}, ["AUROC"]),
        ("worthless score", 2, {"step_low": 0.001}, []),
        ("worthless score", 3, {"step_low": 0.001}, ["worthless score"]),
        ("worthless score", 3, {"step_high": -0.001}, ["worthless score"]),
        ("worthless score", 10, {"step_low": 0.0, "step_high": 0.0}, []),
        ("null", 3, {"auroc_low": 0.51}, []),
        ("null", 4, {"auroc_low": 0.51}, ["null"]),
        ("null", 4, {"auroc_high": 0.49}, ["null"]),
        ("null", 20, {"auroc": 0.521}, ["null"]),
        ("null", 20, {"auroc": 0.479}, ["null"]),
    ],
)
def test_a_broken_study_fails_its_criterion(
    study: str, wrong: int, changes: dict[str, float], expected: list[str]
) -> None:
    assert failing(runs_of(study, wrong=wrong, **changes)) == expected


# --- the statistics --------------------------------------------------------------------------------------------------


def truth_of_demo() -> dict[str, Any]:
    planted = {e.name: e.log_odds for e in CAUSAL}
    return {"features": {n: {"kind": k, "log_odds": planted.get(n, 0.0)} for n, k in feature_kinds().items()}}


def test_true_effects_are_per_standard_deviation_of_drawn_people() -> None:
    rng = np.random.default_rng(7)
    age = rng.uniform(30, 80, 1_000_000)
    diabetes = rng.random(age.size) < 1 / (1 + np.exp(1.8 - 0.06 * (age - 60)))
    smoker = rng.random(age.size) < 0.25
    drawn = {AGE: np.log(age).std(), "DIAGNOSIS//type_2_diabetes": diabetes.std()}
    drawn["OBSERVATION//current_smoker"] = smoker.std()
    assert spreads() == pytest.approx(drawn, rel=0.005)
    effects = true_effects(truth_of_demo())
    assert set(effects) == {e.name for e in CAUSAL} | set(NULLS)
    assert effects[AGE] == pytest.approx(2.695 * drawn[AGE], rel=0.005)
    assert effects["LAB//hdl_cholesterol"] == pytest.approx(-math.log(0.78))
    assert {effects[n] for n in NULLS} == {0.0}


def columns(rows: list[tuple[str, str, str | None]]) -> pl.DataFrame:
    """Return what is read of COLUMNS: names, groups and codes."""
    return pl.DataFrame(rows, schema=["name", "group", "code"], orient="row")


def test_columns_are_traced_to_what_they_were_made_from() -> None:
    table = columns(
        [
            ("age_years", "age", "MEDS_BIRTH"),
            ("sex", "sex", None),
            ("ancestry_pc_1", "ancestry", None),
            ("a", "SIMULATED laboratory result: creatinine", "LAB//creatinine"),
            ("b", SCORE, SCORE),
        ]
    )
    assert origins(table, SCORE, truth_of_demo()) == {
        "age_years": "age", "sex": "sex", "ancestry_pc_1": "superpopulation", "a": "LAB//creatinine",
        "b": "SIMULATED_CAD_SCORE",
    }  # fmt: skip


@pytest.mark.parametrize("code", [*TRAPS, "LAB//of_another_study", None])
def test_a_column_from_a_trap_or_from_nowhere_is_an_error(code: str | None) -> None:
    with pytest.raises(ValueError, match="no feature may come from"):
        origins(columns([("leak", "group", code)]), SCORE, truth_of_demo())


def test_contributions_are_summed_within_a_row_before_the_absolute_value() -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal((40, 3)).astype(np.float32)
    names = ["a1", "a2", "b"]
    shap = pl.DataFrame({"row": np.repeat(np.arange(40), 3), "feature": names * 40, "shap": values.reshape(-1)}).sample(
        fraction=1.0, shuffle=True, seed=1
    )
    by_loop = {
        "a": sum(abs(float(r[0]) + float(r[1])) for r in values) / 40,
        "b": sum(abs(float(r[2])) for r in values) / 40,
    }
    assert mean_absolute(shap, {"a1": "a", "a2": "a", "b": "b"}) == pytest.approx(by_loop, abs=1e-8)


def test_order_statistics_agree_with_loops() -> None:
    effect = np.array([0.7, 0.5, 0.5, 0.0, 0.0, 0.0])
    size = np.array([0.9, 0.1, 0.6, 0.1, 0.0, 0.3])
    score = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, x in zip(size, effect, strict=True) if x > 0
        for b, y in zip(size, effect, strict=True) if y == 0
    ]  # fmt: skip
    assert pairs_in_order(effect, size) == pytest.approx(sum(score) / len(score))

    def ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])

    assert spearman(effect, size) == pytest.approx(np.corrcoef(ranks(effect), ranks(size))[0, 1])


def test_even_a_perfect_order_stays_below_one_while_nulls_differ() -> None:
    effect = np.concatenate([np.arange(7, 0, -1), np.zeros(20)])
    size = np.arange(27, 0, -1).astype(float)
    assert spearman(effect, size) == pytest.approx(0.77, abs=0.005)
    assert pairs_in_order(effect, size) == 1


def test_proxies_follow_causal_features() -> None:
    causal = {e.name for e in CAUSAL}
    assert set(PROXIES.values()) <= causal
    assert not set(PROXIES) & (causal | set(NULLS))
