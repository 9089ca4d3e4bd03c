"""``genomix model explain`` on a finished study: its folds' held-out rows, and the chain behind their values."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from genomix_cli.app import main
from tests.cli.studies import Demo


def explain(demo: Demo, folder: Path, *more: str) -> int:
    given = [str(demo.out), str(demo.out / "inputs" / "study.toml"), "-o", str(folder / "a.parquet"), *more]
    return main(["model", "explain", *given])


def test_the_demo_from_its_output_folder(demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = pl.read_parquet(next(demo.out.glob("stages/explain/*/attributions.parquet")))["row"][0]
    score = "polygenic_score:SIMULATED coronary score"
    assert explain(demo, tmp_path, "--group-by", "family", "--chain", str(row), "--chain", f"{row}:{score}") == 0
    said = capsys.readouterr().out
    assert "d before" in said
    own = pl.read_parquet(next(demo.out.glob("stages/explain/*/attributions.parquet"))).filter(pl.col("shap") != 0)
    assert pl.read_parquet(tmp_path / "a.parquet").equals(own)
    groups = pl.read_parquet(tmp_path / "a.groups.parquet")
    assert set(groups["group"]) == {"demographics", "ancestry_pcs", "polygenic_score", "record_windows"}
    chains = json.loads((tmp_path / "a.chain.json").read_text())
    told = {c["feature"]: c for c in chains}
    assert all(c["checked"] for c in chains if c["kind"] in ("records", "variants"))
    assert told[score]["n_sources"] == told[score]["withheld"] > 100
    assert told[score]["sources"] == []
    assert demo.named_in(said + json.dumps(chains)) == set()
    assert explain(demo, tmp_path, "--chain", f"{row}:{score}", "--show-secondary-findings") == 0
    (shown,) = json.loads((tmp_path / "a.chain.json").read_text())
    assert len(shown["sources"]) == shown["n_sources"] == told[score]["n_sources"]
    assert shown["recomputed"] == pytest.approx(shown["value"], rel=1e-5)


def test_what_no_study_is(demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "model",
                "explain",
                str(tmp_path),
                str(demo.out / "inputs" / "study.toml"),
                "-o",
                str(tmp_path / "a.parquet"),
            ]
        )
        == 3
    )
    assert "no run of a study is here" in capsys.readouterr().err
    assert explain(demo, tmp_path, "--target", "x") == 8
    assert "no target 'x'" in capsys.readouterr().err
    index = pl.read_parquet(next(demo.out.glob("stages/split/*/index.parquet")))
    trained = index.filter(pl.col("fold_0") == "train")["row"][0]
    assert explain(demo, tmp_path, "--chain", str(trained)) == 8
    assert f"no explained row {trained}" in capsys.readouterr().err
