"""The stage that converts genotypes: what it tells the run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genomix_pipelines.stages.convert_genotypes import run
from genomix_pipelines.study_sections import GenotypesSection

HEAD = (
    '##fileformat=VCFv4.3\n##contig=<ID=1>\n##FORMAT=<ID=DS,Number=A,Type=Float,Description="d">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
)


@pytest.mark.parametrize(("policy", "n_warnings"), [("keep", 1), ("split", 0)])
def test_dosages_that_are_not_kept_are_a_warning_of_the_run(policy: Any, n_warnings: int, tmp_path: Path) -> None:
    source = tmp_path / "a.vcf"
    source.write_text(HEAD + "1\t5\t.\tA\tG,T\t.\t.\t.\tDS\t0.9,0\t1,0.6\n")
    section = GenotypesSection(path=source, multi_allelic=policy)
    context: Any = SimpleNamespace(
        study=SimpleNamespace(genotypes=section), files={}, out=tmp_path, progress=lambda *_: None
    )
    summary = run(context)
    assert summary["records"] == 1
    assert len(summary.get("warnings", [])) == n_warnings
    noted = json.loads((tmp_path / "conversion.json").read_text())["records_noted"]
    assert sum(count for note, count in noted.items() if "DS or GP" in note) == n_warnings
