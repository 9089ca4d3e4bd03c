"""``genomix ehr features``: from a dataset and labels to a feature set; counts, exit codes, nothing half done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.features.feature_set import open_feature_set
from genomix.io.meds import write_meds
from genomix_cli.app import main
from tests.unit.features.record_world import world


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    events, index = world(1)
    descriptions = pl.DataFrame({"code": ["LAB//a"], "description": ["creatinine"]})
    write_meds(events, tmp_path / "records", descriptions=descriptions)
    index.drop("row", "split").rename({"label": "value"}).write_parquet(tmp_path / "labels.parquet")
    index.select("subject_id", "split").unique().write_parquet(tmp_path / "splits.parquet")
    return tmp_path


def features(folder: Path, *more: str, out: str = "f") -> int:
    return main(
        ["ehr", "features", str(folder / "records"), "--labels", str(folder / "labels.parquet"), "-o",
         str(folder / out), *more]
    )  # fmt: skip


def test_counts_add_up_and_words_are_those_of_the_dataset(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert features(dataset, "--split", str(dataset / "splits.parquet"), "--min-subjects", "5") == 0
    said = capsys.readouterr().err
    assert "120 rows of 60 people, 60 of them with records" in said
    assert "codes with a record before a prediction: 8 = " in said
    assert "certificate: later_events passed" in said
    found = open_feature_set(dataset / "f")
    assert "last creatinine in the 365 days before prediction, mg" in found.columns["sentence"].to_list()
    assert found.index["split"].null_count() == 0
    counts = found.learned["counts"]
    assert (counts["codes_of_people_with_rows"], counts["codes"], counts["codes_without_a_date"]) == (9, 8, 1)
    assert counts["training_rows"] == (found.index["split"] == "train").sum()
    manifest = json.loads((dataset / "f" / "manifest.json").read_text())
    assert set(manifest["files"]) == {
        "certificate.parquet", "columns.parquet", "dense.parquet", "index.parquet", "learned.json", "sparse.npz"
    }  # fmt: skip


def test_windows_and_aggregations_as_asked(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert features(dataset, "--windows", "since:VISIT, 7d", "--aggregations", "count,sum", "--json", "--any-record",
                    "--exclude", "^RARE") == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["training_rows"] == 0
    columns = open_feature_set(dataset / "f").columns
    assert set(columns["window"].drop_nulls()) == {"since:VISIT", "7d", "static"}
    assert set(columns["aggregation"].drop_nulls()) == {"count", "sum", "has", "value"}
    assert "_ANY_EVENT" in columns["code"].to_list()
    assert "RARE" not in columns["code"].to_list()


def test_a_dataset_that_was_not_converted_is_read_whole(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert features(dataset, out="one") == 0
    data = dataset / "records" / "data" / "0.parquet"
    pl.read_parquet(data).drop("available_time", "time_precision").write_parquet(data)
    capsys.readouterr()
    assert features(dataset, out="two") == 0
    assert "genomix ehr convert writes one that does" in capsys.readouterr().err
    one, two = (open_feature_set(dataset / name) for name in ("one", "two"))
    assert one.columns["name"].equals(two.columns["name"])
    np.testing.assert_array_equal(one.block().values, two.block().values)


def test_the_split_of_the_dataset_is_taken(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "splits.parquet").rename(dataset / "records" / "metadata" / "subject_splits.parquet")
    assert main(["ehr", "convert", str(dataset / "records"), "-o", str(dataset / "again"), "-q"]) == 0
    (dataset / "records").rename(dataset / "before")
    (dataset / "again").rename(dataset / "records")
    assert features(dataset, "--min-subjects", "5") == 0
    assert "in too few people of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--windows", "1x"], 8, "1x"),
        (["--windows", "since:"], 8, "names no code"),
        (["--aggregations", "median"], 8, "'median' is unknown"),
        (["--aggregations", "count,count"], 8, "given twice"),
        (["--aggregations", ""], 8, "no aggregation"),
        (["--min-subjects", "5"], 8, "no split says"),
        (["--roll-up-both"], 8, "--roll-up-both needs --roll-up"),
        (["--roll-up", "none.csv"], 3, "none.csv does not exist"),
        (["--ranges", "none.csv"], 8, "need each other"),
        (["--aggregations", "out_of_range_count", "--ranges", "none.csv"], 3, "none.csv does not exist"),
        (["--split", "none.parquet"], 3, "none.parquet does not exist"),
        (["--include", "("], 8, "pattern '('"),
        (["--include", "^NOTHING", "--no-static", "--exclude", "."], 0, "2 columns"),
        (["--code-depth", "0"], 2, "code-depth"),
        (["--labels", "none.parquet"], 3, "none.parquet does not exist"),
    ],
)
def test_wrong_arguments(
    dataset: Path, more: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert features(dataset, *more) == code
    assert words in capsys.readouterr().err
    assert (dataset / "f").exists() == (code == 0)
    assert not list(dataset.glob(".genomix-*"))
    assert not list(dataset.glob(".tmp-*"))


def test_an_output_that_is_there_stays(dataset: Path) -> None:
    (dataset / "f").mkdir()
    assert features(dataset) == 9
    assert list((dataset / "f").iterdir()) == []


def test_strict_turns_a_leak_into_an_exit_code(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = pl.read_parquet(dataset / "labels.parquet")
    events = pl.read_parquet(dataset / "records" / "data" / "0.parquet")
    sick = labels.filter(pl.col("value") == 1).select(
        "subject_id", pl.col("prediction_time").alias("time"), pl.col("prediction_time").alias("available_time"),
        pl.lit("OUTCOME").alias("code"), pl.lit("second").alias("time_precision"),
    )  # fmt: skip
    pl.concat([events, sick], how="diagonal").sort("subject_id", "time").write_parquet(
        dataset / "records" / "data" / "0.parquet"
    )
    assert features(dataset, "--strict", "--windows", "1d") == 12
    assert "columns_that_encode failed" in capsys.readouterr().err
    assert (dataset / "f" / "certificate.parquet").exists()
    assert features(dataset, "--strict", "--windows", "1d", "--exclusive", out="g") == 0
