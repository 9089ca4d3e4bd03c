"""``genomix variants ld-prune``: two lists that share out the variants, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genomix.io.plink import open_store
from genomix.variants.ld import prune_pairwise
from genomix_cli.app import main
from tests.genotype_store import store_of
from tests.unit.variants.test_ld import linked_calls


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return store_of(tmp_path, linked_calls(60, 50, seed=1, missing=0.02)).prefix


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (
            ["--window", "20", "--step", "5", "--r2", "0.5"],
            {"window_bp": None, "window_variants": 20, "step": 5, "r2": 0.5},
        ),
        (["--window", "0.1kb"], {"window_bp": 100}),
    ],
)
def test_lists_share_out_the_variants(
    cohort: Path, tmp_path: Path, arguments: list[str], options: dict[str, object]
) -> None:
    assert main(["variants", "ld-prune", str(cohort), "-o", str(tmp_path / "p"), *arguments, "-q"]) == 0
    kept = (tmp_path / "p.prune.in").read_text().split()
    gone = (tmp_path / "p.prune.out").read_text().split()
    store = open_store(cohort)
    mask = prune_pairwise(store, **options)  # type: ignore[arg-type]  # by name
    ids = store.variants["variant_id"].to_numpy()
    assert kept == ids[mask].tolist()
    assert gone == ids[~mask].tolist()
    assert kept
    assert gone


def test_rare_variants_may_be_left_out_beforehand(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--maf", "0.3", "--json"]
    assert main(["variants", "ld-prune", str(cohort), "-o", str(tmp_path / "p"), *arguments]) == 0
    counts = json.loads(capsys.readouterr().out)
    calls = open_store(cohort).read_calls()
    p = np.array([row[row >= 0].mean() / 2 for row in calls])
    assert counts["below_maf"] == int((np.minimum(p, 1 - p) < 0.3).sum()) > 0
    assert counts["variants"] == counts["below_maf"] + counts["pruned"] + counts["kept"] == 60


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        *((["--window", text], 8) for text in ("-5kb", "0kb", "infkb", "nankb", "1e12kb", "0", "-3", "9" * 12)),
        (["--maf", "nan"], 2),
        (["--step", "0"], 2),
        (["--step", "9" * 12], 2),
        (["--window", "wide"], 8),
        (["--window", "1"], 8),
        (["--step", "2"], 8),
        (["--r2", "2"], 2),
        (["--r2", "0"], 8),
    ],
)
def test_wrong_arguments(cohort: Path, tmp_path: Path, arguments: list[str], code: int) -> None:
    assert main(["variants", "ld-prune", str(cohort), "-o", str(tmp_path / "p"), *arguments]) == code
    assert not list(tmp_path.glob("p.*"))
