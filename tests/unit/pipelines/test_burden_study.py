"""A study of burdens: what ``genomix check`` says of its options before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomix_pipelines.check import check_study
from genomix_pipelines.stage_inputs import burden_options
from genomix_pipelines.study import load_study
from tests.genotype_store import random_calls, store_of

STUDY = """
[study]
title = "T"
question = "Q"
outcome = "O"
population = "P"
[genotypes]
path = "calls.vcf"
build = "GRCh38"
[genotypes.qc]
minor_allele_frequency = 0.001
[phenotype]
path = "traits.csv"
targets = ["y"]
[features.burden]
genes = "genes.bed"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store_of(tmp_path, random_calls(30, 40, seed=5))
    (tmp_path / "genes.bed").write_text("1\t0\t150\tG1\n1\t150\t400\tG2\n")
    rows = "".join(f"s{i},{i * 37 % 40}\n" for i in range(40))
    (tmp_path / "traits.csv").write_text("sample_id,y\n" + rows)
    return tmp_path


def checked(folder: Path, more: str = "", text: str = STUDY) -> tuple[list[str], list[str]]:
    (folder / "study.toml").write_text(text + more)
    report = check_study(load_study(folder / "study.toml"))
    return [str(e) for e in report.errors], list(report.warnings)


def test_good_options_pass(folder: Path) -> None:
    errors, warnings = checked(folder, 'max_frequency = 0.05\nweights = "beta"\n')
    assert errors == []
    assert not [w for w in warnings if "burden" in w or "rare" in w]


def test_a_misspelt_mask_is_found_before_the_run(folder: Path) -> None:
    errors, _ = checked(folder, 'masks = ["losf"]\n')
    assert len([e for e in errors if "losf" in e]) == 1


def test_quality_control_that_removes_what_is_rare(folder: Path) -> None:
    common = STUDY.replace("minor_allele_frequency = 0.001", "minor_allele_frequency = 0.05")
    _, warnings = checked(folder, text=common)
    assert any("0.05" in w for w in warnings)
    _, warnings = checked(folder, 'quality = "all"\n', text=common)
    assert not any("0.05" in w for w in warnings)


def test_a_table_of_weights_takes_the_place_of_a_name(folder: Path) -> None:
    (folder / "w.csv").write_text("contig,position,ref,alt,weight\n1,10,A,G,2\n")
    (folder / "study.toml").write_text(STUDY + 'weight_table = "w.csv"\n')
    section = load_study(folder / "study.toml").features.burden
    assert section is not None
    options = burden_options(section)
    assert options["weights"] == str(folder / "w.csv")
    assert "weight_table" not in options
