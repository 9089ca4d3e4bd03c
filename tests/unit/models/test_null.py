"""Where labels are shuffled there is nothing to find: of 20 seeds, most intervals of the AUROC must hold one half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.models.given_matrix import table_matrix
from genomix.models.given_table import find_roles
from genomix.models.training import MODELS, train


@pytest.mark.parametrize("rows_each", [1, 3])
def test_intervals_of_shuffled_labels_hold_one_half(rows_each: int, tmp_path: Path) -> None:
    """Also with several rows of a person, whose columns are alike and whose labels are shuffled as one."""
    held = dict.fromkeys(MODELS, 0)
    estimates: dict[str, list[float]] = {name: [] for name in MODELS}
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        person = np.repeat(np.arange(360), rows_each)
        own = rng.normal(size=(360, 6))[person] + 0.2 * rng.normal(size=(len(person), 6))
        sick = rng.permutation(np.arange(360) % 3 == 0)[person]
        frame = pl.DataFrame({f"c{j}": own[:, j].round(3) for j in range(6)})
        path = tmp_path / f"{seed}.csv"
        frame.with_columns(person=person, sick=sick.astype(int)).write_csv(path)
        roles = find_roles(path, "sick", objective="binary", subject_column="person")
        matrix = table_matrix(path, roles, split=None, held_out=0.4, tuning=0.2, seed=seed)
        done = train(
            matrix, target="sick", objective="binary", seed=seed, device=CPU, n_resamples=200,
            options={"max_rounds": 60, "early_stopping_rounds": 10},
        )  # fmt: skip
        for row in done.metrics.filter(metric="auroc").iter_rows(named=True):
            if row["model"] in held:
                held[row["model"]] += row["low"] <= 0.5 <= row["high"]
                estimates[row["model"]].append(row["estimate"])
    for name in MODELS:
        assert held[name] >= 16, f"{name}: {held[name]} of 20 intervals hold one half"
        assert np.mean(estimates[name]) == pytest.approx(0.5, abs=4 * np.std(estimates[name]) / np.sqrt(20))
