"""``genomix model evaluate --subgroup``: lines, JSON, tables and feature sets, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.meds import write_meds
from genomix_cli.app import main
from tests.unit.features.record_world import world


def people(seed: int, n: int = 500) -> pl.DataFrame:
    """The outcome follows age in the first two clinics, and nothing at all in the third; the fourth has few people."""
    draw = np.random.default_rng(seed)
    age = draw.normal(60, 10, n).round(1)
    clinic = draw.choice(["north", "south", "west", "Dr Smith"], n, p=[0.33, 0.33, 0.33, 0.01])
    sick = draw.random(n) < 1 / (1 + np.exp(-np.where(clinic == "west", 0.0, (age - 60) / 4)))
    return pl.DataFrame({"person": np.arange(n), "age": age, "clinic": clinic, "sick": sick.astype(int)})


def test_groups_of_a_table_are_measured_by_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people(1).write_csv(tmp_path / "train.csv")
    other = people(2)
    other.write_csv(tmp_path / "other.csv")
    train = ["model", "train", str(tmp_path / "train.csv"), "--target", "sick", "--subject-column", "person",
             "--exclude", "clinic", "--resamples", "100", "--device", "cpu", "-o", str(tmp_path / "b")]  # fmt: skip
    assert main(train) == 0
    command = ["model", "evaluate", str(tmp_path / "b"), str(tmp_path / "other.csv"), "--resamples", "200"]
    capsys.readouterr()
    assert main([*command, "--subgroup", "clinic", "-o", str(tmp_path / "m.json")]) == 0
    said = capsys.readouterr().out
    told = {(e["group"], e["metric"]): e for e in json.loads((tmp_path / "m.json").read_text())["subgroups"]}
    for clinic in ("north", "south", "west"):
        here = other.filter(clinic=clinic)
        entry = told[clinic, "auroc"]
        assert entry["n_people"] in (str(here.height), "withheld")
        assert f"clinic={clinic}\t{entry['n_people']} people, {entry['n_events']} with the outcome\tauroc\t" in said
    assert told["north", "auroc"]["low"] > 0.7
    assert told["west", "auroc"]["low"] < 0.5 < told["west", "auroc"]["high"]
    # The clinic of few people is there, without its name and without a figure.
    assert "Smith" not in said + (tmp_path / "m.json").read_text()
    assert told["values of fewer than 11 people each", "auroc"]["n_people"] == "<11"
    assert "not estimable: fewer than 11 people" in said
    for column, words in (("sick", "is the target"), ("person", "is the person"), ("clinc", "did you mean 'clinic'?"),
                          ("age", "more than 20: no groups")):  # fmt: skip
        assert main([*command, "--subgroup", column]) == 8
        assert words in capsys.readouterr().err


def test_groups_of_a_feature_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events, index = world(1, people=150)
    visits = events.filter(pl.col("code") == "DX//x").group_by("subject_id").len()
    sick = index.join(visits, on="subject_id", how="left")["len"].fill_null(0) > 2
    write_meds(events, tmp_path / "records")
    index.with_columns(sick.cast(pl.Float64).alias("value")).drop("row", "label").write_parquet(tmp_path / "l.parquet")
    f = str(tmp_path / "f")
    assert main(["ehr", "features", str(tmp_path / "records"), "--labels", str(tmp_path / "l.parquet"),
                 "--windows", "full", "-o", f]) == 0  # fmt: skip
    assert main(["model", "train", f, "-o", str(tmp_path / "b"), "--resamples", "100"]) == 0
    from genomix.features.feature_set import open_feature_set

    found = open_feature_set(Path(f))
    names = found.columns["name"].to_list()
    values = found.block(names, np.arange(found.index.height)).values
    few = [2 <= np.unique(v[~np.isnan(v)]).size <= 20 for v in values.T]
    column = names[few.index(True)]
    capsys.readouterr()
    command = ["model", "evaluate", str(tmp_path / "b"), f, "--resamples", "100", "--subgroup"]
    assert main([*command, column, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["subgroups"]
    assert {e["column"] for e in entries} == {column}
    assert any(e["estimate"] is not None for e in entries)
    assert main([*command, "nothing"]) == 8
    assert "has no column 'nothing'" in capsys.readouterr().err
    assert main([*command, "label"]) == 8
    assert "no group of people" in capsys.readouterr().err
