"""Run the real studies and print their figures as Markdown: ``python benchmarks/real_studies.py [--out DIR]``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import polars as pl

from genomix.device import CPU
from genomix.provenance import read_json
from genomix_pipelines.execute import execute
from genomix_pipelines.study import load_study

STUDIES = Path(__file__).resolve().parent.parent / "tests" / "validation" / "studies"
DEFAULT_STUDIES = ["mouse_cd8", "mimic4_death_24h", "geuvadis_chr22", "diabetes130", "diabetes130_first_stays"]
SHOWN = {"binary": ("auroc", "auprc", "brier", "calibration_slope"), "regression": ("r2", "rmse", "pearson_r")}


def main() -> None:
    """Run every study and print one table each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="keep the outputs here")
    parser.add_argument("names", nargs="*", default=DEFAULT_STUDIES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.names:
            show(name, (arguments.out or Path(scratch)) / name)


def show(name: str, out: Path) -> None:
    """Run one study and print its held-out figures, its ladder and the kinship that crosses."""
    study = load_study(STUDIES / f"{name}.toml")
    result = execute(study, out, device=CPU).result
    targets = study.targets or (None,)
    metrics = pl.concat([pl.read_parquet(result.folder("evaluate", t) / "metrics.parquet") for t in targets])
    shown = SHOWN["binary" if study.binary else "regression"] if len(targets) == 1 else ("r2",)
    print(f"\n## {name}\n\n| target | measure | boosted trees | linear baseline |\n|---|---|---|---|")
    for target in metrics["target"].unique(maintain_order=True).to_list():
        for measure in shown:
            cells = [cell(metrics, target, measure, model) for model in ("boosted", "linear")]
            print(f"| {target} | {measure} | {cells[0]} | {cells[1]} |")
    split = read_json(result.folder("split", targets[0]) / "split.json")
    crossing = [f["crossing_kinship"] for f in split["folds"] if f["crossing_kinship"]]
    if crossing:
        largest = max((c["maximum"] for c in crossing if c["maximum"] is not None), default=None)
        print(f"\nLargest kinship across the split: {largest}; pairs: {[c['counts'] for c in crossing]}")
    seconds = sum(n.cpu_seconds for n in result.nodes)
    print(f"\n{seconds:.0f} CPU seconds in all stages.")


def cell(metrics: pl.DataFrame, target: str, measure: str, model: str) -> str:
    """Return an estimate with its interval."""
    chosen = (pl.col("target") == target) & (pl.col("metric") == measure) & (pl.col("model") == model)
    row = metrics.filter(chosen & (pl.col("group") == "all")).row(0, named=True)
    if row["estimate"] is None:
        return str(row["note"])
    return f"{row['estimate']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


if __name__ == "__main__":
    main()
