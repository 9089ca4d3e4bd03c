"""The split stage reads sites, times and families of the samples' own table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, LabelError
from genomix_pipelines.stage import StageContext
from genomix_pipelines.stages.split import roles_of_rows, units_of_rows
from genomix_pipelines.study import load_study

STUDY = """
[study]
title = "T"
question = "Q"
outcome = "O"
population = "P"
[genotypes]
path = "g.vcf"
[phenotype]
path = "p.tsv"
targets = ["T"]
[split]
SPLIT
[features.ancestry_pcs]
"""
N = 60


def context(folder: Path, split: str) -> StageContext:
    (folder / "study.toml").write_text(STUDY.replace("SPLIT", split))
    (folder / "g.vcf").touch()
    (folder / "p.tsv").touch()
    for name in ("genotype_qc", "kinship"):
        (folder / name).mkdir(exist_ok=True)
    at = np.arange(N)
    samples = pl.DataFrame(
        {
            "sample_id": [f"s{i}" for i in at],
            "sex": pl.Series([0] * N, dtype=pl.Int8),
            "family_id": [None if i % 10 == 9 else f"f{i // 3}" for i in at],
            "centre": [f"c{i % 4}" for i in at],
            "year": 2000 + at // 6,
        }
    )
    samples.write_parquet(folder / "genotype_qc" / "sample_info.parquet")
    groups = pl.DataFrame({"group": at, "cluster": at // 20, "unrelated": [True] * N})
    groups.write_parquet(folder / "kinship" / "groups.parquet")
    upstream = {n: {None: folder / n} for n in ("genotype_qc", "kinship")}
    study = load_study(folder / "study.toml")
    return StageContext(study=study, target=None, out=folder, files={}, upstream=upstream, device=CPU)


def rows() -> pl.DataFrame:
    values = np.random.default_rng(2).normal(size=N)
    return pl.DataFrame({"subject_id": np.arange(N), "value": values, "prediction_time": [None] * N})


def roles(folder: Path, split: str) -> dict[str, list[str]]:
    made = context(folder, split)
    return roles_of_rows(made, rows(), units_of_rows(made, np.arange(N), np.arange(N)), np.arange(N))


def test_families_are_kept_together(tmp_path: Path) -> None:
    units = units_of_rows(
        context(tmp_path, 'keep_together = "families"\nfamily_column = "family_id"'), np.arange(N), np.arange(N)
    )
    for i in range(N):
        for j in range(i):
            same = i // 3 == j // 3 and i % 10 != 9 and j % 10 != 9
            assert (units[i] == units[j]) == same


def test_each_centre_is_held_out_and_later_years_too(tmp_path: Path) -> None:
    found = roles(tmp_path, 'design = "by_site"\ncolumn = "centre"')
    assert list(found) == ["fold_0", "fold_1", "fold_2", "fold_3"]
    for fold in range(4):
        assert [r == "held_out" for r in found[f"fold_{fold}"]] == [i % 4 == fold for i in range(N)]
    (only,) = roles(tmp_path, 'design = "by_time"\ncolumn = "year"\nheld_out = 0.2\ntuning = 0.2').values()
    assert only == ["train"] * 36 + ["tuning"] * 12 + ["held_out"] * 12


def test_columns_that_cannot_serve_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'where', which the samples do not have"):
        roles(tmp_path, 'design = "by_site"\ncolumn = "where"')
    with pytest.raises(LabelError, match="'centre' holds what is no number in 60 rows"):
        roles(tmp_path, 'design = "by_time"\ncolumn = "centre"')
    for split, words in (
        ('design = "by_site"', "needs column"),
        ('design = "by_time"', "needs column"),
        ('column = "year"', "has no meaning"),
        ('keep_together = "families"', "belong together"),
    ):
        with pytest.raises(ConfigError, match=words):
            context(tmp_path, split)
