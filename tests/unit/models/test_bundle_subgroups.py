"""Subgroups of a bundle's measures: figures of the group's own rows, small groups held back."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.models.bundle_subgroups import NOT_STATED, RARE, measure_subgroups
from genomix.privacy import SMALL_CELL


def bundle(objective: str = "binary") -> SimpleNamespace:
    return SimpleNamespace(manifest={"objective": objective, "about": {"target": "t"}},
                           fitted=SimpleNamespace(objective=objective))  # fmt: skip


def scored(y: np.ndarray, p: np.ndarray, each: int = 1) -> pl.DataFrame:
    subject = [f"s{i // each}" for i in range(y.size)]
    return pl.DataFrame({"row": np.arange(y.size), "subject": subject, "label": y, "prediction": p})


def draw(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    return (rng.random(n) < 1 / (1 + np.exp(-x))).astype(float), 1 / (1 + np.exp(-x))


def measured(rows: pl.DataFrame, labels: list, **more) -> dict:
    found = measure_subgroups(more.pop("bundle", bundle()), rows, labels, column="g", seed=1, n_resamples=200)
    return {(e["group"], e["metric"]): e for e in found}


def test_a_group_has_the_figures_of_its_own_rows() -> None:
    from sklearn.metrics import brier_score_loss, roc_auc_score

    y, p = draw()
    labels = np.array(["a", "b", "c"], dtype=object)[np.arange(600) % 3]
    found = measured(scored(y, p), labels.tolist())
    assert {g for g, _ in found} == {"a", "b", "c"}
    for g in "abc":
        here = labels == g
        assert found[g, "auroc"]["estimate"] == pytest.approx(roc_auc_score(y[here], p[here]), abs=5e-5)
        assert found[g, "brier"]["estimate"] == pytest.approx(brier_score_loss(y[here], p[here]), abs=5e-5)
        assert found[g, "expected_observed"]["estimate"] == pytest.approx(p[here].sum() / y[here].sum(), abs=5e-5)
        assert found[g, "auroc"]["low"] < found[g, "auroc"]["estimate"] < found[g, "auroc"]["high"]
        assert (found[g, "auroc"]["n_people"], found[g, "auroc"]["n_events"]) == ("200", str(int(y[here].sum())))


@pytest.mark.parametrize(("n_events", "known"), [(10, False), (11, True), (189, True), (190, False)])
def test_eleven_people_of_each_class_are_needed(n_events: int, known: bool) -> None:
    _, p = draw()
    y = np.concatenate([np.arange(200) < n_events, np.arange(200) < 90, np.arange(200) < 80]).astype(float)
    found = measured(scored(y, p), ["few"] * 200 + ["b"] * 200 + ["c"] * 200)
    entry = found["few", "auroc"]
    assert (entry["estimate"] is not None) == known
    assert entry["note"].startswith("not estimable") == (not known)
    assert found["b", "auroc"]["estimate"] is not None
    if not known:
        # Neither the small class nor, by subtraction from the totals, another group's count is told.
        assert entry["n_events"] == ("<11" if n_events == 10 else "withheld")
        assert [found[g, "auroc"]["n_events"] for g in "bc"].count("withheld") == 1


def test_a_person_with_many_rows_is_one_person() -> None:
    """Ten people with six rows each are too few, however many events they have."""
    y, p = draw()
    found = measured(scored(y, p, each=6), ["few"] * 60 + ["b"] * 270 + ["c"] * 270)
    assert found[RARE, "auroc"]["estimate"] is None
    assert found[RARE, "auroc"]["n_people"] == "<11"
    assert found[RARE, "auroc"]["n_events"] in ("<11", "withheld")
    assert found["b", "auroc"]["estimate"] is not None


def test_values_of_few_people_have_no_name_and_rows_without_a_value_are_counted() -> None:
    y, p = draw()
    labels = ["Jane"] * 5 + ["Joan"] * 10 + [None] * 100 + ["b"] * 485
    found = measured(scored(y, p), labels)
    assert {g for g, _ in found} == {"b", RARE, NOT_STATED}
    assert found[RARE, "auroc"]["n_people"] == "15"
    assert found[RARE, "auroc"]["note"].startswith("not estimable")
    assert found[NOT_STATED, "auroc"]["estimate"] is not None


@pytest.mark.parametrize("seed", range(20))
def test_no_small_count_is_told_or_follows_by_subtraction(seed: int) -> None:
    """What is shown, and the totals, never fix a count from 1 to 10."""
    rng = np.random.default_rng(seed)
    group = rng.choice(5, 700, p=[0.5, 0.3, 0.15, 0.03, 0.02])
    y = (rng.random(700) < np.array([0.3, 0.05, 0.1, 0.9, 0.4])[group]).astype(float)
    found = measured(scored(y, rng.random(700)), [f"g{g}" for g in group])
    entries = [e for (_, metric), e in found.items() if metric == "auroc"]
    for key, total in (("n_people", 700), ("n_events", int(y.sum()))):
        exact = [int(e[key]) for e in entries if e[key].isdigit()]
        assert all(v == 0 or v >= SMALL_CELL for v in exact)
        assert len(entries) - len(exact) != 1 or total == sum(exact)
    for e in entries:
        if e["n_people"].isdigit() and e["n_events"].isdigit():
            without = int(e["n_people"]) - int(e["n_events"])
            assert without == 0 or without >= SMALL_CELL


def test_a_quantity_and_what_is_refused() -> None:
    y, p = draw()
    quantity = scored(10 * y + p, 9 * p)
    found = measured(quantity, ["a"] * 300 + ["b"] * 300, bundle=bundle("regression"))
    assert found["a", "r2"]["n_events"] is None
    error = np.sqrt(((10 * y + p - 9 * p)[:300] ** 2).mean())
    assert found["a", "rmse"]["estimate"] == pytest.approx(error, abs=5e-5)
    with pytest.raises(ConfigError, match="600 values, more than 20"):
        measured(scored(y, p), [str(i) for i in range(600)])
    with pytest.raises(ConfigError, match="time to an event"):
        measured(scored(y, p), ["a"] * 600, bundle=bundle("survival"))
    with pytest.raises(ConfigError, match="no row has a label"):
        measured(scored(y, p).with_columns(label=pl.lit(None, dtype=pl.Float64)), ["a"] * 600)
