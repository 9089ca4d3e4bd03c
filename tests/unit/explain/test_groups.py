"""Grouped contributions by a plain loop over rows and columns; every kind of group; chapters by their edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.explain.groups import (
    KINDS,
    GroupOptions,
    GroupTotals,
    group_contributions,
    group_importance,
    group_labels,
    grouped,
)
from genomix.explain.icd import icd_chapter
from genomix.explain.tree_shap import Explained
from genomix.schemas.features import COLUMNS

ROWS: list[tuple[str, str, str, str, str | None, str | None]] = [
    # name, family, group, source, window, code
    ("age_years", "demographics", "age", "static", None, "MEDS_BIRTH"),
    ("sex", "demographics", "sex", "static", None, None),
    ("r1", "record_windows", "MI", "records", "365d", "DIAGNOSIS//ICD//10//I214"),
    ("r2", "record_windows", "MI", "records", "full", "DIAGNOSIS//ICD//10//I214"),
    ("r3", "record_windows", "old MI", "records", "full", "DIAGNOSIS//ICD//9//41071"),
    ("r4", "record_windows", "diabetes", "records", "365d", "DIAGNOSIS//ICD//10//E119"),
    ("r5", "record_windows", "glucose", "records", "365d", "LAB//50931//mg/dL"),
    ("burden:LDLR:lof", "burden", "LDLR", "genotypes", None, "LDLR"),
    ("burden:LDLR:missense", "burden", "LDLR", "genotypes", None, "LDLR"),
    ("dosage:19:1100:A:G", "dosages", "19:1100:A:G", "genotypes", None, "rs1"),
    ("dosage:19:5000:A:G", "dosages", "19:5000:A:G", "genotypes", None, "rs2"),
    ("polygenic_score:x", "polygenic_score", "x", "genotypes", None, "x"),
]
COLS = COLUMNS.validate(
    pl.DataFrame(
        [(n, f, "records", g, s, w, None, None, c, "what it is", None) for n, f, g, s, w, c in ROWS],
        schema={c.name: c.dtype for c in COLUMNS.columns}, orient="row",
    )
)  # fmt: skip
GENES = pl.DataFrame(
    {"contig": ["19", "19"], "start": [1000, 1050], "end": [2000, 1200], "gene": ["LDLR", "AAA1"]}
)  # fmt: skip


def part(seed: int = 0, n: int = 7, fold: int = 0) -> Explained:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, len(ROWS))).astype(np.float32)
    return Explained(values, -0.5, values, COLS, np.arange(n) + 100 * fold, fold)


@pytest.mark.parametrize("by", KINDS)
def test_sums_are_those_of_a_loop_and_still_add_up(by: str) -> None:
    explained = part()
    labels = group_labels(COLS, by)
    found = grouped(explained, labels)
    for i in range(7):
        for k, name in enumerate(found.names):
            members = [float(explained.values[i, j]) for j in range(len(ROWS)) if labels[j] == name]
            assert found.values[i, k] == pytest.approx(sum(members), abs=1e-12)
            assert found.n_columns[k] == len(members)
    assert found.values.sum(axis=1) == pytest.approx(explained.values.astype(float).sum(axis=1))
    table = group_contributions(explained, found)
    assert table.height == 7 * len(found.names)
    sums = table.group_by("row", maintain_order=True).agg(pl.col("shap").sum())["shap"]
    assert sums.to_list() == pytest.approx(explained.values.astype(float).sum(axis=1).tolist())


def test_the_mean_of_the_sums_not_the_sum_of_the_means() -> None:
    explained = part()
    table = group_importance([explained], "family")
    mine = table.filter(pl.col("group") == "burden").row(0, named=True)
    both = explained.values[:, 7:9].astype(float).sum(axis=1)
    assert mine["mean_abs_shap"] == pytest.approx(np.mean([abs(v) for v in both]))
    assert mine["mean_shap"] == pytest.approx(both.mean())
    assert mine["mean_abs_shap"] < np.abs(explained.values[:, 7:9]).mean(axis=0).sum() - 0.1
    assert table["share"].sum() == pytest.approx(1)
    assert table["mean_abs_shap"].is_sorted(descending=True)


def test_parts_add_up_and_a_group_that_one_fold_lacks_counts_nothing_there() -> None:
    one, two = part(1, 5), part(2, 3, fold=1)
    fewer = Explained(two.values[:, :5], -0.5, two.features[:, :5], COLS[:5], two.row, 1)
    table = group_importance([one, fewer], "family")
    burden = table.filter(pl.col("group") == "burden")["mean_abs_shap"].item()
    assert burden == pytest.approx(np.abs(one.values[:, 7:9].astype(float).sum(axis=1)).sum() / 8)
    assert GroupTotals("family").table().height == 0


def test_genes() -> None:
    labels = dict(zip(COLS["name"], group_labels(COLS, "gene"), strict=True))
    assert labels["burden:LDLR:lof"] == labels["burden:LDLR:missense"] == "LDLR"
    assert labels["dosage:19:1100:A:G"] == "no gene (dosages)"
    assert labels["polygenic_score:x"] == "no gene (polygenic_score)"
    known = dict(zip(COLS["name"], group_labels(COLS, "gene", GroupOptions(genes=GENES)), strict=True))
    assert known["dosage:19:1100:A:G"] == "AAA1;LDLR"  # in both intervals: in one group that names both
    assert known["dosage:19:5000:A:G"] == "no gene (dosages)"


def test_codes_and_windows(tmp_path: Path) -> None:
    def of(**options: object) -> list[str]:
        return group_labels(COLS, "code", GroupOptions(**options))[2:7]  # type: ignore[arg-type]

    assert of() == [c for *_, c in ROWS[2:7]]
    assert of(code_depth=1) == ["DIAGNOSIS"] * 4 + ["LAB"]
    assert of(code_characters=3)[:4] == ["DIAGNOSIS//ICD//10//I21"] * 2 + [
        "DIAGNOSIS//ICD//9//410", "DIAGNOSIS//ICD//10//E11",
    ]  # fmt: skip
    assert of(icd_chapters=True) == ["circulatory system"] * 3 + [
        "endocrine, nutrition and metabolism",
        "no ICD chapter",
    ]
    (tmp_path / "m.csv").write_text("code,group\nDIAGNOSIS//ICD//10//I*,heart\nDIAGNOSIS//ICD//10//I214,MI\n")
    assert of(roll_up=tmp_path / "m.csv") == ["MI; heart"] * 2 + ["no group in the table"] * 3
    assert group_labels(COLS, "window")[:4] == ["no window (demographics)"] * 2 + ["365d", "full"]
    assert group_labels(COLS, "code")[1] == "no code (demographics)"
    with pytest.raises(ConfigError, match="choose one"):
        of(icd_chapters=True, code_depth=1)
    with pytest.raises(ConfigError, match="are not grouped by 'rung'"):
        group_labels(COLS, "rung")
    with pytest.raises(ConfigError, match="code_characters"):
        of(code_characters=-1)


@pytest.mark.parametrize(
    ("code", "chapter"),
    [
        ("ICD10CM//B99.9", "infections"), ("ICD10CM//C00", "neoplasms"), ("ICD10CM//D49.9", "neoplasms"),
        ("ICD10CM//D50.0", "blood and immune mechanism"), ("ICD10CM//H59.8", "eye"), ("ICD10CM//H60.0", "ear"),
        ("ICD10CM//O9A.1", "pregnancy and childbirth"), ("ICD10CM//T88.9", "injury and poisoning"),
        ("ICD-10-CM//Z99", "factors and contacts with health services"), ("ICD10CM//W19", "external causes"),
        ("ICD9CM//139.8", "infections"), ("ICD9CM//140", "neoplasms"), ("ICD9CM//390", "circulatory system"),
        ("ICD9CM//459.9", "circulatory system"), ("ICD9CM//460", "respiratory system"),
        ("ICD9CM//E950.0", "external causes"), ("ICD9CM//V45.81", "factors and contacts with health services"),
        ("ICD9CM//4", None), ("ICD10CM//_", None), ("ICD10PCS//02100Z9", None), ("E11", None),
        ("PROCEDURE//ICD//9//3961", None), ("DIAGNOSIS//ICD//11//BA41", None),
    ],
)  # fmt: skip
def test_chapters(code: str, chapter: str | None) -> None:
    assert icd_chapter(code) == chapter
