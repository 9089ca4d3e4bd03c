"""The study file: defaults, paths, and one clear error for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomix.errors import ConfigError, InputNotFoundError
from genomix_pipelines.study import fileset_files, load_study

GOOD = """
[study]
title = "T"
question = "Q"
outcome = "O"
population = "P"
[records]
path = "records"
[task]
path = "task.yaml"
[split]
keep_together = "subjects"
[features.demographics]
[features.record_windows]
windows = ["30d", "full"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "records").mkdir()
    (tmp_path / "task.yaml").write_text("x")
    (tmp_path / "g.vcf").write_text("x")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_a_good_study_loads_with_paths_beside_it(folder: Path) -> None:
    study = load_study(write(folder, GOOD))
    assert study.records is not None
    assert study.records.path == folder / "records"
    assert study.targets == ()
    assert study.binary


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "tittle =", r"unknown key 'study.tittle' .*did you mean 'title'\?"),
        ('title = "T"', "", "key 'study.title' is missing"),
        ('windows = ["30d", "full"]', 'windows = ["30 days"]', r"features.record_windows.windows.0: .*pattern"),
        ('windows = ["30d", "full"]', "windows = []", r"features.record_windows.windows: .*at least 1 item"),
        ('keep_together = "subjects"', 'keep_together = "pedigrees"', "split.keep_together: .*'kin_groups'"),
        ('keep_together = "subjects"', "held_out = 1.5", "split.held_out: .*less than 1"),
        ('keep_together = "subjects"', "", r"keep_together needs \[genotypes\]"),
        ('keep_together = "subjects"', 'keep_together = "subjects"\nheld_out = 0.6\ntuning=0.35', "at least a tenth"),
        ('[task]\npath = "task.yaml"', "", r"give \[task\]"),
        ("[features.demographics]", "[features.demographics]\nx = 1", "unknown key 'features.demographics.x'"),
        ("[features.demographics]", "[features.dosages]", r"\[features.dosages\] needs \[genotypes\]"),
        ('title = "T"', 'title = "T"\nseed = "one"', "study.seed: .*integer"),
        ('title = "T"', 'title = "T"\nreport_date = "today"', "study.report_date"),
        ('title = "T"', "title = ", "not TOML.*line 3"),
    ],
)
def test_every_mistake_names_the_key_and_what_is_allowed(folder: Path, old: str, new: str, message: str) -> None:
    path = write(folder, GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=message) as caught:
        load_study(path)
    assert caught.value.exit_code == 8
    assert str(path) in str(caught.value)


def test_missing_files_are_named_by_key(folder: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"task.path = 'no.yaml' does not exist"):
        load_study(write(folder, GOOD.replace("task.yaml", "no.yaml")))
    with pytest.raises(InputNotFoundError, match="cannot read the study file"):
        load_study(folder / "none.toml")


def test_a_fileset_is_found_by_prefix_or_member(tmp_path: Path) -> None:
    for suffix in ("bed", "bim", "fam"):
        (tmp_path / f"mouse.v1.{suffix}").write_text("")
    names = ["mouse.v1.bed", "mouse.v1.bim", "mouse.v1.fam"]
    assert [p.name for p in fileset_files(tmp_path / "mouse.v1")] == names
    assert [p.name for p in fileset_files(tmp_path / "mouse.v1.bed")] == names
    (tmp_path / "mouse.v1.fam").unlink()
    assert fileset_files(tmp_path / "mouse.v1") == []


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ('{by = "association", clump = 1}', r"unknown key 'features.dosages.select.clump' .*'clump_r2'"),
        ('{by = "assoc"}', "features.dosages.select.by: .*'association'"),
        ('"al"', r"features.dosages.select: .*'all', 'cis' or 'list' \["),
        ('{by = "association", p = 2.0}', "features.dosages.select.p: .*less than or equal to 1"),
        ('{by = "association", min_variants = 9, max_variants = 3}', "min_variants is larger than max_variants"),
        ("{p = 0.1}", "key 'features.dosages.select.by' is missing"),
    ],
)
def test_a_word_or_a_table(folder: Path, select: str, message: str) -> None:
    text = GOOD + f'[genotypes]\npath = "g.vcf"\n[features.dosages]\nselect = {select}\n'
    with pytest.raises(ConfigError, match=message):
        load_study(write(folder, text))


def test_paths_of_families_are_beside_the_study(folder: Path) -> None:
    (folder / "genes.bed").write_text("1\t0\t9\tG\n")
    text = GOOD + '[genotypes]\npath = "g.vcf"\n[features.burden]\ngenes = "genes.bed"\n'
    study = load_study(write(folder, text))
    assert study.features.burden is not None
    assert study.features.burden.genes == folder / "genes.bed"
    with pytest.raises(InputNotFoundError, match=r"features\.burden\.genes = 'none\.bed'"):
        load_study(write(folder, text.replace("genes.bed", "none.bed")))
    with pytest.raises(ConfigError, match="give annotation or genes"):
        load_study(write(folder, text.replace('genes = "genes.bed"', "max_frequency = 0.1")))
