"""``genomix model``: train on a table or a feature set, evaluate elsewhere, predict; figures, bundles, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix import device
from genomix.errors import DeviceError
from genomix.io.meds import write_meds
from genomix.models.bundle import read_bundle
from genomix_cli.app import main
from tests.unit.features.record_world import world


def people(seed: int, n: int = 400) -> pl.DataFrame:
    """Two rows a person; the outcome follows age and stage."""
    draw = np.random.default_rng(seed)
    person = np.repeat(np.arange(n), 2)
    age = draw.normal(60, 10, 2 * n).round(1)
    stage = draw.choice(["I", "II", "III", "IV"], 2 * n, p=[0.4, 0.3, 0.27, 0.03])
    logit = (age - 60) / 8 + np.where(stage == "III", 1.5, 0) - 0.5
    sick = draw.random(2 * n) < 1 / (1 + np.exp(-logit))
    return pl.DataFrame(
        {"person": [f"p{seed}-{i}" for i in person], "age": age, "stage": stage, "site": ["a"] * (2 * n),
         "sick": np.where(sick, "yes", "no")}
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    people(1).write_csv(tmp_path / "train.csv")
    people(2).write_csv(tmp_path / "other.csv")
    return tmp_path


TRAIN = ("--target", "sick", "--positive", "yes", "--subject-column", "person", "--resamples", "200", "--device", "cpu")


def train(folder: Path, *more: str, data: str = "train.csv", out: str = "b") -> int:
    return main(["model", "train", str(folder / data), *(more or TRAIN), "-o", str(folder / out)])


def test_train_evaluate_and_predict_agree(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    said = capsys.readouterr()
    assert "boosted\tauroc\t0." in said.out
    assert "linear\tauroc\t0." in said.out
    bundle = read_bundle(folder / "b")
    assert bundle.manifest["about"]["target"] == "sick"
    assert set(bundle.learned["table_categories"]["stage"]["levels"]) >= {"I", "II", "III"}
    rows = bundle.metrics["rows"]
    assert sum(rows.values()) == 800
    assert all(n % 2 == 0 for n in rows.values())  # both rows of a person on one side
    assert (
        main(["model", "predict", str(folder / "b"), str(folder / "other.csv"), "-o", str(folder / "p.parquet")]) == 0
    )
    found = pl.read_parquet(folder / "p.parquet")
    assert found.columns == ["row", "subject", "label", "prediction"]
    assert found["subject"].to_list() == people(2)["person"].to_list()
    command = ["model", "evaluate", str(folder / "b"), str(folder / "other.csv"), "--resamples", "200"]
    capsys.readouterr()
    assert main([*command, "-o", str(folder / "m.json"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((folder / "m.json").read_text())
    auroc = next(m for m in told["metrics"] if m["metric"] == "auroc")
    pairs = found.filter(pl.col("label") == 1)["prediction"].to_numpy()[:, None] - (
        found.filter(pl.col("label") == 0)["prediction"].to_numpy()
    )  # fmt: skip
    assert auroc["estimate"] == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    assert 0.7 < auroc["low"] < auroc["estimate"] < auroc["high"] < 0.9
    assert auroc["n_units"] == 400


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "explain"])
def test_a_device_that_is_not_there_is_an_error_before_anything_is_written(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(folder)
    monkeypatch.setattr(device, "probe_cuda", lambda **_: device.CudaProbe(0, "", "no driver here"))
    given = (
        [str(folder / "train.csv"), *TRAIN[:-2]]
        if command == "train"
        else [str(folder / "b"), str(folder / "other.csv")]
    )
    out = folder / ("m.json" if command == "evaluate" else "x" if command == "train" else "x.parquet")
    assert main(["model", command, *given, "-o", str(out), "--device", "cuda"]) == DeviceError.exit_code
    assert "no driver here" in capsys.readouterr().err
    assert not out.exists()


def test_a_small_count_of_events_is_not_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = folder / "bundle"
    assert main(["model", "train", str(folder / "train.csv"), *TRAIN, "-o", str(bundle), "--quiet"]) == 0
    other = pl.read_csv(folder / "other.csv")
    few = pl.concat([other.filter(pl.col("sick") == "yes").head(7), other.filter(pl.col("sick") == "no").head(193)])
    few.write_csv(folder / "few.csv")
    capsys.readouterr()
    told = folder / "few.json"
    assert main(["model", "evaluate", str(bundle), str(folder / "few.csv"), "-o", str(told), "--json"]) == 0
    for found in (json.loads(capsys.readouterr().out), json.loads(told.read_text())):
        assert {m["n_events"] for m in found["metrics"]} == {"<11"}
        assert {m["estimate"] for m in found["metrics"]} == {None}


def test_the_same_seed_gives_the_same_bundle(folder: Path) -> None:
    assert train(folder, out="one") == train(folder, out="two") == 0
    one, two = (
        {str(p.relative_to(folder / n)): p.read_bytes() for p in (folder / n).rglob("*") if p.is_file()}
        for n in ("one", "two")
    )
    assert one == two


def test_a_shuffled_outcome_is_not_predicted(folder: Path) -> None:
    frame = people(3)
    frame.with_columns(pl.col("sick").shuffle(seed=1)).write_csv(folder / "null.csv")
    assert train(folder, data="null.csv") == 0
    metrics = read_bundle(folder / "b").metrics["metrics"]
    auroc = next(m for m in metrics if (m["model"], m["metric"]) == ("boosted", "auroc"))
    assert auroc["low"] < 0.5 < auroc["high"]


def test_a_stated_split_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = people(4)
    part = pl.Series([("train", "train", "tuning", "held_out")[(i // 2) % 4] for i in range(frame.height)])
    frame.with_columns(part.alias("part")).write_csv(folder / "s.csv")
    assert train(folder, *TRAIN, "--split-column", "part", data="s.csv") == 0
    assert read_bundle(folder / "b").metrics["rows"] == {"train": 400, "tuning": 200, "held_out": 200, "unused": 0}
    mixed = frame.with_columns(pl.Series(["train", "held_out"] * 400).alias("part"))
    mixed.write_csv(folder / "s.csv")
    assert train(folder, *TRAIN, "--split-column", "part", data="s.csv", out="c") == 8
    assert "400 people have rows both held out and not" in capsys.readouterr().err


def test_other_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    predict = ["model", "predict", str(folder / "b"), str(folder / "new.csv"), "-o", str(folder / "p.parquet")]
    people(5).select("stage", "person").write_csv(folder / "new.csv")
    assert main(predict) == 8
    assert "no column 'age'" in capsys.readouterr().err
    assert not (folder / "p.parquet").exists()
    assert main([*predict, "--allow-missing"]) == 0
    assert "2 of the model's columns are not there, the first 'age'" in capsys.readouterr().err
    assert pl.read_parquet(folder / "p.parquet")["label"].null_count() == 800
    people(5).with_columns(pl.lit("V").alias("stage")).write_csv(folder / "new.csv")
    assert main(predict) == 0
    assert "800 of 800 rows have a category in 'stage' that training did not keep" in capsys.readouterr().err
    people(5).drop("sick").write_csv(folder / "new.csv")
    assert main(["model", "evaluate", str(folder / "b"), str(folder / "new.csv")]) == 8


def records_and_labels(folder: Path) -> pl.DataFrame:
    """Write ``records`` and ``l.parquet``, whose label follows the number of visits; return the rows."""
    events, index = world(1, people=240)
    visits = events.filter(pl.col("code") == "DX//x").group_by("subject_id").len()
    sick = index.join(visits, on="subject_id", how="left")["len"].fill_null(0) > 2
    write_meds(events, folder / "records")
    index.with_columns(sick.cast(pl.Float64).alias("value")).drop("row", "label").write_parquet(folder / "l.parquet")
    return index


def test_a_feature_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = records_and_labels(tmp_path)
    features = [
        "ehr",
        "features",
        str(tmp_path / "records"),
        "--labels",
        str(tmp_path / "l.parquet"),
        "--windows",
        "full",
    ]
    assert main([*features, "-o", str(tmp_path / "f")]) == 0
    assert main(["model", "train", str(tmp_path / "f"), "-o", str(tmp_path / "b"), "--resamples", "100"]) == 0
    bundle = read_bundle(tmp_path / "b")
    auroc = next(m for m in bundle.metrics["metrics"] if (m["model"], m["metric"]) == ("boosted", "auroc"))
    assert auroc["estimate"] > 0.8
    assert main(["model", "predict", str(tmp_path / "b"), str(tmp_path / "f"), "-o", str(tmp_path / "p.parquet")]) == 0
    found = pl.read_parquet(tmp_path / "p.parquet")
    assert found.select("subject", "prediction_time").rows() == index.select("subject_id", "prediction_time").rows()
    train_set = ["model", "train", str(tmp_path / "f"), "--resamples", "100", "--device", "cpu"]
    assert main([*train_set, "-o", str(tmp_path / "blocks"), "--memory", "0.000004"]) == 0
    assert "read in blocks" in capsys.readouterr().err
    for name in ("model.ubj", "preprocessing.json", "reference.json", "conformal.json", "ranges.json"):
        assert (tmp_path / "blocks" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    # Another set lacks a column: a code that nobody there has.
    assert main([*features, "--exclude", "^DX", "-o", str(tmp_path / "g")]) == 0
    predict = ["model", "predict", str(tmp_path / "b"), str(tmp_path / "g"), "-o", str(tmp_path / "q.parquet")]
    assert main(predict) == 8
    capsys.readouterr()
    assert main([*predict, "--allow-missing"]) == 0
    assert "of the model's columns are not there" in capsys.readouterr().err
    assert main(["model", "train", str(tmp_path / "f"), "--target", "x", "-o", str(tmp_path / "c")]) == 8
    assert "--target is for tables" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "none.csv", "--target", "y", "-o", "b"], 3, "none.csv does not exist"),
        (["train", "train.csv", "-o", "b"], 8, "a table needs --target"),
        (["train", "train.csv", "--target", "sick", "-o", "b"], 0, ""),
        (["train", "train.csv", "--target", "age", "--held-out", "0.7", "--tuning", "0.3", "-o", "b"], 8, "a tenth"),
        (["train", "train.csv", "--target", "site", "-o", "b"], 8, "has 1: 'a'"),
        (["train", "train.csv", "--target", "sick", "-o", "."], 9, "exists already"),
        (["predict", "none", "train.csv", "-o", "p.parquet"], 3, "no model bundle"),
        (["predict", "none", "train.csv", "-o", "p.csv"], 8, "not named .parquet"),
        (["evaluate", "none", "train.csv", "-o", "m.csv"], 8, "not named .json"),
        (["evaluate", "none", "none.csv"], 3, "none.csv does not exist"),
    ],
)
def test_wrong_arguments(
    folder: Path, arguments: list[str], code: int, words: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    more = ["--exclude", "person", "--resamples", "100"] if arguments[0] == "train" else []
    assert main(["model", *arguments, *more]) == code
    assert words in capsys.readouterr().err
    assert (folder / "b").exists() == (code == 0)


def test_a_damaged_or_other_bundle_predicts_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    predict = ["model", "predict", str(folder / "b"), str(folder / "other.csv"), "-o", str(folder / "p.parquet")]
    assert main([*predict, "--expect-sha256", "0" * 64]) == 13
    model = folder / "b" / "model.ubj"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert main(predict) == 13
    assert "model.ubj does not have the hash" in capsys.readouterr().err


def test_contributions_add_up_to_the_prediction(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    other, p, a = folder / "other.csv", folder / "p.parquet", folder / "a.parquet"
    assert main(["model", "predict", str(folder / "b"), str(other), "-o", str(p)]) == 0
    capsys.readouterr()
    assert main(["model", "explain", str(folder / "b"), str(other), "-o", str(a), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["importance"][0]["name"] == "age"
    found = pl.read_parquet(a)
    assert found.height == told["contributions"]
    margin = found.group_by("row").agg(pl.col("shap").sum() + pl.col("base_value").first()).sort("row")["shap"]
    predicted = pl.read_parquet(p)["prediction"]
    np.testing.assert_allclose(1 / (1 + np.exp(-margin.to_numpy())), predicted.to_numpy(), atol=1e-5)
    by_age = found.filter(pl.col("feature") == "table:age")
    mean = by_age["shap"].abs().sum() / 800
    assert told["importance"][0]["mean_abs_shap"] == pytest.approx(mean, rel=1e-5)
    assert main(["model", "explain", str(folder / "b"), str(other), "-o", str(a), "--group-by", "chapter"]) == 8
    assert main(["model", "explain", str(folder / "b"), str(other), "-o", str(folder / "a.csv")]) == 8


def test_a_column_that_gives_the_outcome_away_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    assert "give the outcome away" not in capsys.readouterr().err
    frame = people(6)
    frame.with_columns((pl.col("sick") == "yes").cast(pl.Int64).alias("days_until_death")).write_csv(
        folder / "leak.csv"
    )
    assert train(folder, data="leak.csv", out="leak") == 0
    assert "AUROC above 0.95: table:days_until_death" in capsys.readouterr().err
    assert read_bundle(folder / "leak").metrics["columns_that_encode"]["status"] == "failed"


def test_a_monotone_column_never_lowers_the_prediction(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = people(6)
    draw = np.random.default_rng(7)
    frame = frame.with_columns(dose=pl.Series(draw.normal(size=frame.height).round(1)))
    frame.write_csv(folder / "dose.csv")
    assert train(folder, *TRAIN, data="dose.csv", out="free") == 0
    assert train(folder, *TRAIN, "--monotone", "dose=+1", data="dose.csv", out="up") == 0
    assert train(folder, *TRAIN, "--monotone", "dose=-1", data="dose.csv", out="down") == 0
    assert read_bundle(folder / "up").manifest["about"]["monotone"] == {"dose": 1}
    grid = np.sort(frame["dose"].unique().to_numpy()).astype(np.float32)
    steps = {}
    for name in ("free", "up", "down"):
        bundle = read_bundle(folder / name)
        at = bundle.columns["name"].to_list().index("table:dose")
        rows = np.tile(np.zeros(bundle.columns.height, dtype=np.float32), (len(grid), 1))
        rows[:, at] = grid
        steps[name] = np.diff(bundle.fitted.margin(rows))
    assert (steps["up"] >= 0).all()
    assert (steps["down"] <= 0).all()
    assert (steps["free"] < 0).any()
    assert (steps["free"] > 0).any()
    for text, words in (
        ("dose", "is no column with a sign"),
        ("dose=2", "no column with a sign"),
        ("doses=+1", "'doses', which the model does not have"),
        ("stage=+1", "monotone names 'stage', "),
    ):
        assert train(folder, *TRAIN, "--monotone", text, data="dose.csv", out="wrong") == 8
        assert words in capsys.readouterr().err


def test_tuning_never_reads_the_held_out_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other labels for the held-out people change their figures, and neither the trials nor the trees."""
    pytest.importorskip("optuna")
    frame = people(8)
    part = pl.Series([("train", "train", "tuning", "held_out")[(i // 2) % 4] for i in range(frame.height)])
    frame = frame.with_columns(part=part)
    frame.write_csv(folder / "one.csv")
    turned = pl.when(pl.col("part") == "held_out").then(pl.col("sick").replace({"yes": "no", "no": "yes"}))
    frame.with_columns(turned.otherwise(pl.col("sick")).alias("sick")).write_csv(folder / "two.csv")
    tuned = [*TRAIN, "--split-column", "part", "--tune", "4"]
    assert train(folder, *tuned, "--tune-file", str(folder / "t.journal"), data="one.csv", out="one") == 0
    told = capsys.readouterr().err
    assert "trial 4: smallest loss so far 0." in told
    assert train(folder, *tuned, data="two.csv", out="two") == 0
    one, two = read_bundle(folder / "one"), read_bundle(folder / "two")
    assert one.metrics["tuning"] == two.metrics["tuning"]
    assert sum(one.metrics["tuning"]["trials"].values()) == 4
    assert (folder / "one" / "model.ubj").read_bytes() == (folder / "two" / "model.ubj").read_bytes()
    assert one.metrics["metrics"] != two.metrics["metrics"]
    again = [*tuned, "--tune-file", str(folder / "t.journal")]
    assert train(folder, *again, data="one.csv", out="again") == 0
    assert read_bundle(folder / "again").metrics == one.metrics
    frame.with_columns(age=pl.col("age") + 1).write_csv(folder / "other_rows.csv")
    assert train(folder, *again, data="other_rows.csv", out="wrong") == 13
    assert "of other rows or settings" in capsys.readouterr().err
    assert train(folder, *TRAIN, "--tune-file", "x", out="wrong") == 8
    assert "nothing is searched" in capsys.readouterr().err


def test_recalibration_is_learned_on_people_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a place where the outcome is rarer, the level is mended on people who did not teach it."""
    assert train(folder) == 0
    rare = people(9, n=1500)
    draw = np.random.default_rng(1)
    kept = (pl.col("sick") == "no") | pl.Series(draw.random(rare.height) < 0.3)
    rare.filter(kept).write_csv(folder / "rare.csv")
    command = ["model", "evaluate", str(folder / "b"), str(folder / "rare.csv"), "--resamples", "100"]
    capsys.readouterr()
    for method in ("intercept", "platt", "isotonic"):
        new = str(folder / method)
        assert main([*command, "--recalibrate", method, "--write-bundle", new, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["recalibration"]
        before, after = (
            {m["metric"]: m["estimate"] for m in found[k] if m["model"] == "boosted"} for k in ("before", "after")
        )
        assert before["expected_observed"] > 1.5
        assert after["expected_observed"] == pytest.approx(1, abs=0.12)
        assert after["log_loss"] < before["log_loss"] - 0.02
        assert found["rows_learned_from"] + found["rows_measured"] == rare.filter(kept).height
        predicted = []
        for bundle in ("b", method):
            command_line = ["model", "predict", str(folder / bundle), str(folder / "rare.csv"), "-q"]
            assert main([*command_line, "-o", str(folder / "p.parquet")]) == 0
            predicted.append(pl.read_parquet(folder / "p.parquet")["prediction"].to_numpy())
        calibrator = read_bundle(Path(new)).calibrator
        assert calibrator is not None
        assert calibrator.apply(predicted[0]) == pytest.approx(predicted[1])
        assert main(["model", "evaluate", new, str(folder / "rare.csv"), "--recalibrate", method]) == 8
        assert "recalibrated already" in capsys.readouterr().err
    assert main([*command, "--write-bundle", str(folder / "x")]) == 8
    assert main([*command, "--recalibrate", "platt", "--write-bundle", str(folder / "b")]) == 9
    rare.head(60).write_csv(folder / "few.csv")
    assert main(["model", "evaluate", str(folder / "b"), str(folder / "few.csv"), "--recalibrate", "isotonic"]) == 7
    assert "are too few for isotonic recalibration (50)" in capsys.readouterr().err


def test_drift_is_told_by_column(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    people(10).with_columns(age=pl.col("age") + 12).write_csv(folder / "older.csv")
    capsys.readouterr()
    assert main(["model", "evaluate", str(folder / "b"), str(folder / "older.csv"), "--resamples", "100"]) == 0
    said = capsys.readouterr().err
    assert "drift: table:age: large, PSI " in said
    assert (
        main(["model", "evaluate", str(folder / "b"), str(folder / "other.csv"), "--resamples", "100", "--json"]) == 0
    )
    drift = {r["column"]: r for r in json.loads(capsys.readouterr().out)["drift"]}
    assert drift["table:age"]["shift"] == drift["prediction"]["shift"] == "none to speak of"


def test_attributions_by_window_and_by_groups_of_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = records_and_labels(tmp_path)
    features, bundle, a = tmp_path / "f", tmp_path / "b", tmp_path / "a.parquet"
    make = ["ehr", "features", str(tmp_path / "records"), "--labels", str(tmp_path / "l.parquet"), "-o", str(features)]
    assert main([*make, "--windows", "30d,full"]) == 0
    assert main(["model", "train", str(features), "-o", str(bundle), "--resamples", "100"]) == 0
    explain = ["model", "explain", str(bundle), str(features), "-o", str(a), "--json"]
    columns = read_bundle(bundle).columns
    (tmp_path / "groups.csv").write_text("code,group\nDX//*,diagnoses\n")
    for level, more in (("window", ()), ("code", ("--group-table", str(tmp_path / "groups.csv")))):
        capsys.readouterr()
        assert main([*explain, "--group-by", level, "--most", "99", *more]) == 0
        told = {r["name"]: r["mean_abs_shap"] for r in json.loads(capsys.readouterr().out)["importance"]}
        label = pl.col(level)
        if more:
            label = pl.when(pl.col("code").str.starts_with("DX//")).then(pl.lit("diagnoses"))
        named = columns.select(feature="name", label=label).drop_nulls()
        summed = pl.read_parquet(a).join(named, on="feature").group_by("label", "row").agg(pl.col("shap").sum())
        wanted = dict(summed.group_by("label").agg(pl.col("shap").abs().sum() / index.height).iter_rows())
        assert set(wanted) >= ({"diagnoses"} if more else {"30d", "full"})
        for name, value in wanted.items():
            assert told[name] == pytest.approx(value, rel=1e-4, abs=1e-7)
    assert main([*explain, "--group-table", str(tmp_path / "groups.csv")]) == 8


def test_interactions_of_chosen_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    a = folder / "a.parquet"
    explain = ["model", "explain", str(folder / "b"), str(folder / "other.csv"), "-o", str(a)]
    assert main([*explain, "--interactions", "3,0,798-799"]) == 0
    pairs, single = pl.read_parquet(folder / "a.interactions.parquet"), pl.read_parquet(a)
    assert pairs["row"].unique().sort().to_list() == [0, 3, 798, 799]
    for row in (0, 3, 798, 799):
        total = single.filter(row=row)["shap"].sum()
        assert pairs.filter(row=row)["shap"].sum() == pytest.approx(total, abs=1e-4)
    capsys.readouterr()
    assert main([*explain, "--interactions", "one"]) == 8
    assert "is no row" in capsys.readouterr().err
    assert main([*explain, "--interactions", "800"]) == 8


def test_conformal_sets_and_intervals(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The promised share of new people's outcomes lies in their sets; one row of each person is asked."""
    people(11, n=1200).write_csv(folder / "train.csv")
    people(12, n=1500).write_csv(folder / "other.csv")
    p = folder / "p.parquet"
    for target, more in (("sick", TRAIN), ("age", ("--target", "age", *TRAIN[4:]))):
        assert train(folder, *more, out=target) == 0
        told = read_bundle(folder / target).metrics["conformal"]
        assert all(abs(r["coverage"] - r["level"]) < 0.08 for r in told)
        assert (
            main(["model", "predict", str(folder / target), str(folder / "other.csv"), "-o", str(p), "--conformal"])
            == 0
        )
        found = pl.read_parquet(p).group_by("subject", maintain_order=True).first()
        for level in (80, 90, 95):
            if target == "age":
                holds = found["label"].is_between(found[f"low_{level}"], found[f"high_{level}"])
            else:
                words = pl.when(pl.col("label") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))
                said = pl.col(f"set_{level}")
                holds = found.select((said == words) | (said == "either")).to_series()
            assert holds.mean() == pytest.approx(level / 100, abs=0.05)
    command = ["model", "evaluate", str(folder / "sick"), str(folder / "other.csv"), "--resamples", "100", "-q"]
    assert main([*command, "--recalibrate", "intercept", "--write-bundle", str(folder / "moved")]) == 0
    capsys.readouterr()
    assert (
        main(["model", "predict", str(folder / "moved"), str(folder / "other.csv"), "-o", str(p), "--conformal"]) == 8
    )
    assert "holds no bounds for --conformal" in capsys.readouterr().err


def explain(folder: Path, *more: str, data: str = "other.csv", bundle: str = "b") -> int:
    return main(["model", "explain", str(folder / bundle), str(folder / data), "-o", str(folder / "a.parquet"), *more])


def test_groups_of_each_row_add_up_and_shares_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    capsys.readouterr()
    assert explain(folder, "--group-by", "group", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    groups = pl.read_parquet(folder / "a.groups.parquet")
    single = pl.read_parquet(folder / "a.parquet")
    stage = single.filter(pl.col("feature").str.starts_with("table_categories:stage")).group_by("row").agg(
        pl.col("shap").cast(pl.Float64).sum()
    )  # fmt: skip
    mine = groups.filter(pl.col("group") == "stage")
    joined = mine.join(stage, on="row", suffix="_single")
    np.testing.assert_allclose(joined["shap"], joined["shap_single"], atol=1e-6)
    by_name = {g["name"]: g for g in told["importance"]}
    assert by_name["stage"]["n_columns"] >= 3
    assert by_name["stage"]["mean_abs_shap"] == pytest.approx(mine["shap"].abs().mean())
    assert sum(g["share"] for g in told["importance"]) == pytest.approx(1)
    assert explain(folder, "--group-by", "gene", "--genes", str(folder / "train.csv")) == 8
    assert explain(folder, "--icd-chapters") == 8


def test_the_baseline_lies_in_the_bundle_and_explains_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    bundle = read_bundle(folder / "b")
    assert bundle.baseline is not None
    assert set(bundle.ranges) == {"table:age"}  # the others are categories
    assert explain(folder, "--model", "linear", "--interactions", "0-2") == 0
    found = pl.read_parquet(folder / "a.parquet")
    margin = found.group_by("row").agg(pl.col("shap").sum() + pl.col("base_value").first()).sort("row")["shap"]
    from genomix.models.scoring import score

    (part,) = score(bundle, folder / "other.csv")
    np.testing.assert_allclose(margin, bundle.baseline.margin(part.block.values), atol=1e-5)
    pairs = pl.read_parquet(folder / "a.interactions.parquet")
    assert (pairs["feature"] == pairs["other"]).all()
    age = pl.read_parquet(folder / "a.coefficients.parquet").filter(pl.col("feature") == "table:age").row(0, named=True)
    mine = found.filter(pl.col("feature") == "table:age")
    by_hand = age["coefficient"] * (mine["value"].cast(pl.Float64) - age["training_mean"])
    np.testing.assert_allclose(mine["shap"], by_hand, atol=1e-5)
    capsys.readouterr()
    assert explain(folder, "--model", "forest") == 8
    assert "it holds: boosted, linear" in capsys.readouterr().err


def test_interactions_chain_and_response_of_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    capsys.readouterr()
    more = ["--interactions", "1,5-6", "--chain", "5:table:age", "--response", "0-99", "--modifiable", "age",
            "--under", "0.4"]  # fmt: skip
    assert explain(folder, *more) == 0
    said = capsys.readouterr().out
    assert "This is a property of the model" in said
    assert "a cell of the table" in said
    single = pl.read_parquet(folder / "a.parquet")
    pairs = pl.read_parquet(folder / "a.interactions.parquet")
    assert pairs["row"].unique().sort().to_list() == [1, 5, 6]
    for row in (1, 5, 6):
        whole = pairs.filter(pl.col("row") == row)["shap"].sum()
        assert whole == pytest.approx(single.filter(pl.col("row") == row)["shap"].sum(), abs=1e-5)
    (chain,) = json.loads((folder / "a.chain.json").read_text())
    assert chain["value"] == pytest.approx(people(2)["age"][5], abs=1e-4)
    assert chain["kind"] == "table"
    answers = json.loads((folder / "a.responses.json").read_text())
    assert "no advice" in answers["meaning"]
    assert len(answers["responses"]) == 100
    reached = [r for r in answers["responses"] if r["feature"]]
    assert len(reached) > 10
    low, high = read_bundle(folder / "b").ranges["table:age"]
    for r in reached:
        assert r["prediction"] >= 0.4 > r["prediction_then"]
        assert low - 1e-6 <= r["changed_to"] <= high + 1e-6
        assert r["value"] == pytest.approx(people(2)["age"][r["row"]], abs=1e-4)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--chain", "900"], "no explained row 900"), (["--chain", "1-3"], "names several rows"),
        (["--chain", "1:table:x"], "no column 'table:x'"), (["--interactions", "x"], "'x' is no row"),
        (["--interactions", "5-2"], "no range of rows"), (["--response", "1"], "belong together"),
        (["--response", "1", "--under", "0.2", "--modifiable", "stage=1:2"], "no column 'stage'"),
        (["--group-by", "rung"], "not grouped by 'rung'"),
    ],
)  # fmt: skip
def test_wrong_requests_write_nothing(
    folder: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    people(1, n=120).write_csv(folder / "train.csv")
    people(2, n=20).write_csv(folder / "other.csv")
    assert train(folder) == 0
    before = sorted(p.name for p in folder.iterdir())
    capsys.readouterr()
    assert explain(folder, *more) == 8
    assert words in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == before


def test_a_shap_explanation_in_one_call(folder: Path) -> None:
    pytest.importorskip("shap")
    from genomix.explain.explanation import explanation_of

    assert train(folder) == 0
    assert explain(folder) == 0
    found = explanation_of(folder / "b", folder / "other.csv")
    assert found.shape == (800, len(found.feature_names))
    j = found.feature_names.index("table:age")
    assert found.data[:, j] == pytest.approx(people(2)["age"].to_numpy(), abs=1e-4)
    mine = pl.read_parquet(folder / "a.parquet").filter(pl.col("feature") == "table:age").sort("row")
    assert found.values[mine["row"].to_numpy(), j] == pytest.approx(mine["shap"].to_numpy())
    assert set(found.base_values.tolist()) == set(mine["base_value"].to_list())
    linear = explanation_of(folder / "b", folder / "other.csv", model="linear")
    assert not np.allclose(linear.values, found.values)
    assert found[3:5].values.shape == (2, len(found.feature_names))


def test_records_behind_the_values_of_a_feature_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = records_and_labels(tmp_path)
    features = ["ehr", "features", str(tmp_path / "records"), "--labels", str(tmp_path / "l.parquet")]
    assert main([*features, "--windows", "full,since:VISIT", "-o", str(tmp_path / "f")]) == 0
    assert main(["model", "train", str(tmp_path / "f"), "-o", str(tmp_path / "b"), "--resamples", "100"]) == 0
    capsys.readouterr()
    more = ["--chain", "9", "--records", str(tmp_path / "records"), "--group-by", "code", "--code-depth", "1"]
    assert explain(tmp_path, *more, data="f") == 0
    said = capsys.readouterr().out
    assert "computed again from" in said
    chains = json.loads((tmp_path / "a.chain.json").read_text())
    assert len(chains) > 1
    assert all(c["checked"] for c in chains)
    counts = next(c for c in chains if c["feature"] == "records:DX//x:count:full")
    at = index.row(9, named=True)
    events, _ = world(1, people=240)
    mine = events.filter((pl.col("subject_id") == at["subject_id"]) & (pl.col("code") == "DX//x"))
    before = sorted(
        (at["prediction_time"] - t).total_seconds() / 86400 for t in mine["time"] if t <= at["prediction_time"]
    )
    assert [s["days_before"] for s in counts["sources"]] == pytest.approx(before[::-1], abs=1e-3)
    assert {"DX", "LAB"} <= set(pl.read_parquet(tmp_path / "a.groups.parquet")["group"])
    # Without records, with those of others, or with options that are not theirs.
    assert explain(tmp_path, "--chain", "9:records:DX//x:count:full", data="f") == 8
    write_meds(world(7, people=240)[0], tmp_path / "other")
    assert explain(tmp_path, "--chain", "9", "--records", str(tmp_path / "other"), data="f") == 13
    (tmp_path / "m.csv").write_text("code,group\nDX//x,G\n")
    assert explain(tmp_path, *more, "--roll-up", str(tmp_path / "m.csv"), data="f") == 8
