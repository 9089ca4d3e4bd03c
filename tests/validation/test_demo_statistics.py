"""What the demo must find, and must not find, over all the seeds that were fixed beforehand (about four minutes).

Figures, statistics and thresholds: ``benchmarks/demo_statistics.py``, which states why they are what they are.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.demo_statistics import HEADER, SEEDS, criteria, line, run_one

pytestmark = pytest.mark.slow


# One test per study and no more: workers share no results, and the longest study is as long as the other two together.
@pytest.mark.parametrize("study", ["effects", "worthless score", "null"])
def test_study_holds_over_its_seeds(study: str, tmp_path: Path) -> None:
    figures = [run_one(study, seed, tmp_path) for seed in SEEDS[study]]
    judged = criteria(figures)
    assert judged
    failed = [f"{c.name}: {c.found:g}, wanted {c.wanted}" for c in judged if not c.holds]
    assert not failed, "\n".join([*failed, HEADER, *(line(f) for f in figures)])
