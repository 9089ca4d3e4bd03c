"""The full demo, once: 3,202 people, from the command line to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl


def test_the_full_demo_finds_what_was_planted_and_says_simulated(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "genomix_cli.app", "demo", "--out", str(out), "--device", "cpu"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip().splitlines()[-1]) == out / "report.html"
    current = json.loads((out / "run.json").read_text())
    folders = {n["node"]: out / "stages" / n["node"] / n["hash"][:16] for n in current["nodes"]}
    kinship = json.loads((folders["kinship"] / "manifest.json").read_text())["summary"]
    assert kinship["pairs_first_degree"] == 1233
    metrics = pl.read_parquet(folders["evaluate"] / "metrics.parquet")
    chosen = (pl.col("model") == "boosted") & (pl.col("metric") == "auroc") & (pl.col("group") == "all")
    assert 0.70 <= metrics.filter(chosen)["estimate"][0] <= 0.85
    certificate = pl.read_parquet(folders["certificate"] / "certificate.parquet")
    assert "failed" not in certificate["status"].to_list()
    for name in ("report.html", "examples.html"):
        assert "SIMULATED" in (out / name).read_text()
    assert "NA12878" not in (out / "report.html").read_text()
    assert "HG00096" not in (out / "report.json").read_text()
