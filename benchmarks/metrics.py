"""What 2,000 resamples of groups cost, ours beside loops over scikit-learn: ``python benchmarks/metrics.py``.

All sides draw the same groups (5 rows each) and compute the same measures: AUROC, average precision, Brier score, log
loss. The plain loop gathers the rows of the drawn groups and calls scikit-learn, as most studies do; the weighted loop
passes how often each row was drawn as ``sample_weight`` and gathers nothing. They take minutes, so they run ``--loop``
resamples and the time for all is extrapolated, which the output says; ``--loop 2000`` runs them all. On those resamples
the values are compared and the largest difference is printed: a speed is worth nothing where the numbers differ.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from genomix.models.bootstrap import bootstrap, unit_draws
from genomix.models.evaluate import Rows, rows_by_model, statistic_of

METRICS = ("auroc", "auprc", "brier", "log_loss")


def main() -> None:
    """Print both sides, their difference in value and their ratio in time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rows-each", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--loop", type=int, default=20, help="Resamples of the loop; its total is extrapolated.")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    rows = world(given.rows, given.rows_each)
    loops = {name: loop(rows, given.loop, weighted) for name, weighted in (("plain", False), ("weighted", True))}
    costs = [ours(rows, given.resamples) for _ in range(given.repeats)]
    wall, cpu = (min(c[i] for c in costs) for i in (0, 1))
    print(f"{given.rows:,} rows, {rows.n_drawn:,} groups, {given.resamples:,} resamples, {', '.join(METRICS)}")
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}")
    each = ", ".join(f"{c[0]:.2f}" for c in costs)
    print(f"genomix\t{wall:.2f} s\t{cpu:.2f} CPU s\tall resamples run, best of {given.repeats} ({each} s)")
    factor = given.resamples / given.loop
    for name, (theirs_wall, theirs_cpu, values) in loops.items():
        total, total_cpu = theirs_wall * factor, theirs_cpu * factor
        how = "all resamples run," if given.loop == given.resamples else "EXTRAPOLATED"
        measured = f"from {given.loop:,} resamples ({theirs_wall:.2f} s, {theirs_cpu:.2f} CPU s)"
        print(f"scikit-learn, {name}\t{total:,.1f} s\t{total_cpu:,.1f} CPU s\t{how} {measured}")
        ratio = f"{total / wall:.1f} times in time, {total_cpu / cpu:.1f} in CPU time"
        apart = np.abs(costs[0][2][: given.loop] - values).max()
        print(f"  beside genomix\t{ratio}\tlargest difference of a value {apart:.1e}")


def world(n: int, each: int) -> Rows:
    """Draw rows of groups that share their risk; one event in ten."""
    rng = np.random.default_rng(0)
    group = np.arange(n) // each
    x = rng.normal(size=group.max() + 1)[group] + 0.5 * rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(x - 2.6)))).astype(float)
    frame = pl.DataFrame({
        "row": np.arange(n), "fold": np.zeros(n, dtype=np.int64), "model": ["m"] * n, "label": y,
        "prediction": 1 / (1 + np.exp(-(x - 2.6 + 0.3 * rng.normal(size=n)))), "kin_group": group,
    })  # fmt: skip
    return rows_by_model(frame)["m"]


def ours(rows: Rows, n_resamples: int) -> tuple[float, float, np.ndarray]:
    """Return wall and processor seconds, and the values (resamples, measures); sorting once is in the time."""
    wall, cpu = time.perf_counter(), time.process_time()
    values = bootstrap([statistic_of(rows, METRICS)], n_units=rows.n_drawn, n_rows=rows.y.size,
                       n_resamples=n_resamples, seed=1)[0]  # fmt: skip
    return time.perf_counter() - wall, time.process_time() - cpu, values


def loop(rows: Rows, n_resamples: int, weighted: bool) -> tuple[float, float, np.ndarray]:
    """Return the same of a loop over resamples that calls scikit-learn."""
    order = np.argsort(rows.code, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(rows.code))[:-1])
    draws = np.concatenate(list(unit_draws(rows.n_drawn, n_resamples, 1))).astype(np.int64)
    wall, cpu = time.perf_counter(), time.process_time()
    values = []
    for drawn in draws:
        if weighted:
            values.append(by_sklearn(rows.y, rows.p, drawn[rows.code]))
        else:
            chosen = np.concatenate([rows_of[u] for u in np.repeat(np.arange(rows.n_drawn), drawn)])
            values.append(by_sklearn(rows.y[chosen], rows.p[chosen], None))
    return time.perf_counter() - wall, time.process_time() - cpu, np.array(values)


def by_sklearn(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> list[float]:
    """Return the measures in the order of METRICS."""
    peers = (roc_auc_score, average_precision_score, brier_score_loss, log_loss)
    return [float(peer(y, p, sample_weight=weight)) for peer in peers]


if __name__ == "__main__":
    main()
