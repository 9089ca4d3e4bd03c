"""Boosted trees and exact SHAP values on the CPU and on CUDA: ``python benchmarks/gpu_boosted.py [--rows N ...]``.

Rows are drawn from a seed. Both sides train the same number of trees through genomix's own model and explain the same
rows by the same trees (those of the CPU), in one process, in turn; a first small run on either side is not counted.
Prints a line per side and writes JSON. Needs numpy, polars, scipy, scikit-learn and xgboost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from genomix.device import CPU, Device, probe_cuda
from genomix.models.boosted import MODEL, FittedBoosted, import_xgboost, place
from genomix.models.model import Float32Array, Float64Array, Part


def main() -> None:
    """Run both sides, print and write what they cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=200)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--explained", type=int, default=20_000, help="rows that get SHAP values")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the CPU side")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu_boosted.json"))
    parser.add_argument("--cpu-only", action="store_true", help="where there is no GPU")
    given = parser.parse_args()
    found = probe_cuda(needs="xgboost")
    if not found.count and not given.cpu_only:
        raise SystemExit(f"XGBoost has no CUDA device: {found.reason} (--cpu-only runs the one side)")
    sides = {"cpu": CPU} | ({"cuda": Device("cuda", found.name, "probed")} if found.count else {})
    train, held = draw(given.rows, given.columns, given.seed)
    results = compare(sides, train, held, given)
    report = {
        "sizes": {k: v for k, v in vars(given).items() if k not in ("out", "cpu_only")},
        "machine": machine(found.name), "results": results,
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    print(f"{given.rows:,} rows, {given.columns} columns, {given.trees} trees of depth {given.depth}")
    for name, value in results.items():
        print(f"{name}\t{value:.6g}" if isinstance(value, float) else f"{name}\t{value}")


def draw(n: int, p: int, seed: int) -> tuple[Part, Part]:
    """Draw ``n`` training rows and a tenth of it held out: half quantities with missing values, half counts."""
    rng = np.random.default_rng(seed)
    rows = n + n // 10
    X = np.empty((rows, p), dtype=np.float32)
    for j in range(p):
        X[:, j] = rng.standard_normal(rows, dtype=np.float32) if j < p // 2 else rng.poisson(0.2, rows)
    half = p // 2
    margin = X[:, :10].sum(axis=1) / 3 + X[:, 0] * X[:, 1] + X[:, half : half + 5].sum(axis=1) - 1
    for j in range(half):
        X[rng.random(rows, dtype=np.float32) < 0.1, j] = np.nan
    y = (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(float)
    return Part(X[:n], y[:n]), Part(X[n:], y[n:])


def compare(sides: dict[str, Device], train: Part, held: Part, given: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each side, and how far their figures lie apart."""
    options = {"rounds": given.trees, "max_depth": given.depth}
    fits: dict[str, FittedBoosted] = {}
    costs: dict[str, list[float]] = {}
    for device in sides.values():
        few = Part(train.X[:1000], train.y[:1000])
        warm = grow(few, device, given.threads, {"rounds": 2})
        warm.contributions(few.X)
    for _ in range(given.repeats):
        for name, device in sides.items():
            fits[name] = timed(costs, f"train_{name}_s", lambda d=device: grow(train, d, given.threads, options))
    asked = held.X[: given.explained]
    shap: dict[str, Float32Array] = {}
    margins: dict[str, Float64Array] = {}
    shown = fits["cpu"]
    for _ in range(given.repeats):
        for name, device in sides.items():
            place(shown.booster, device, given.threads)
            margins[name] = timed(costs, f"predict_{name}_s", lambda: shown.margin(held.X))
            shap[name] = timed(costs, f"shap_{name}_s", lambda: shown.contributions(asked).values)
    results: dict[str, Any] = {k: min(v) for k, v in sorted(costs.items())}
    results |= {f"auroc_{n}": auroc(held.y, f.margin(held.X)) for n, f in fits.items()}
    results |= {"predicted_rows": len(held.X), "explained_rows": len(asked)}
    if len(sides) == 2:
        for what in ("train", "predict", "shap"):
            results[f"{what}_times_faster"] = results[f"{what}_cpu_s"] / results[f"{what}_cuda_s"]
        results["largest_margin_difference_same_trees"] = float(np.abs(margins["cpu"] - margins["cuda"]).max())
        results["largest_shap_difference_same_trees"] = float(np.abs(shap["cpu"] - shap["cuda"]).max())
        grown = {n: f.margin(held.X) for n, f in fits.items()}
        results["margin_correlation_own_trees"] = float(np.corrcoef(grown["cpu"], grown["cuda"])[0, 1])
        results["largest_margin_difference_own_trees"] = float(np.abs(grown["cpu"] - grown["cuda"]).max())
    return results


def grow(part: Part, device: Device, threads: int, options: dict[str, Any]) -> FittedBoosted:
    """Train as ``genomix model train`` does, with a fixed number of trees."""
    return MODEL.fit(
        part, tuning=None, objective="binary", seed=0, device=device, threads=threads, options=options
    )  # fmt: skip


def timed(costs: dict[str, list[float]], name: str, work: Callable[[], Any]) -> Any:
    """Run ``work``, note its elapsed seconds under ``name``, and return what it gave."""
    begun = time.monotonic()
    found = work()
    costs.setdefault(name, []).append(time.monotonic() - begun)
    return found


def auroc(y: Float64Array, margin: Float64Array) -> float:
    """Return the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, margin))


def machine(card: str) -> dict[str, Any]:
    """Return card, driver, processor and versions."""
    import polars

    xgboost = import_xgboost()
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        smi = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        smi = ""
    with Path("/proc/cpuinfo").open() as lines:
        models = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return {
        "card": card, "card_driver_memory": smi, "cpu": sorted(models), "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(), "xgboost": xgboost.__version__, "numpy": np.__version__,
        "polars": polars.__version__, "cuda_of_xgboost": xgboost.build_info().get("CUDA_VERSION"),
    }  # fmt: skip


if __name__ == "__main__":
    main()
