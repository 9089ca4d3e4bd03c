"""``genomix model`` for a time to an event: train, evaluate, predict and explain; figures, bundles, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.models import survival_metrics as sm
from genomix.models.bundle import read_bundle
from genomix_cli.app import main


def people(seed: int, n: int = 300) -> pl.DataFrame:
    """Two rows a person; the hazard follows age and stage; times are whole days."""
    draw = np.random.default_rng(seed)
    age = draw.normal(60, 10, 2 * n).round(1)
    stage = draw.choice(["I", "II", "III"], 2 * n)
    death = draw.exponential(600 * np.exp(-(age - 60) / 10 - np.where(stage == "III", 1.0, 0)))
    lost = draw.uniform(100, 1500, 2 * n)
    return pl.DataFrame(
        {"person": [f"p{seed}-{i}" for i in np.repeat(np.arange(n), 2)], "age": age, "stage": stage,
         "days": np.ceil(np.minimum(death, lost)).astype(int), "died": np.where(death <= lost, "yes", "no")}
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    people(1).write_csv(tmp_path / "train.csv")
    people(2).write_csv(tmp_path / "other.csv")
    return tmp_path


TRAIN = ("--objective", "survival", "--time", "days", "--event", "died", "--positive", "yes", "--subject-column",
         "person", "--resamples", "100", "--device", "cpu", "--horizon", "700", "--horizon", "200")  # fmt: skip


def train(folder: Path, *more: str, data: str = "train.csv", out: str = "b") -> int:
    return main(["model", "train", str(folder / data), *TRAIN, *more, "-o", str(folder / out)])


@pytest.mark.parametrize("model", ["boosted_cox", "boosted_aft", "cox"])
def test_train_predict_evaluate_and_explain_agree(folder: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder, "--survival-model", model) == 0
    said = capsys.readouterr().out
    for name in ("boosted_cox", "boosted_aft", "cox"):
        assert f"{name}\tauroc_at_200\t0." in said
    bundle = read_bundle(folder / "b")
    assert (bundle.manifest["model"], bundle.manifest["objective"]) == (model, "survival")
    assert bundle.manifest["about"]["horizons"] == [200, 700]
    assert "days" not in bundle.columns["name"].to_list()
    assert all(n % 2 == 0 for n in bundle.metrics["rows"].values())
    assert not {p.suffix for p in (folder / "b").iterdir()} - {".json", ".ubj", ".parquet"}
    assert json.loads((folder / "b" / "baseline.json").read_text())["times"] == [200, 700]
    other = folder / "other.csv"
    assert main(["model", "predict", str(folder / "b"), str(other), "-o", str(folder / "p.parquet")]) == 0
    found = pl.read_parquet(folder / "p.parquet")
    assert found.columns == ["row", "subject", "label", "prediction", "time", "survival_at_200", "survival_at_700"]
    assert (found["survival_at_200"] > found["survival_at_700"]).all()
    assert found["time"].to_list() == people(2)["days"].to_list()
    capsys.readouterr()
    assert main(["model", "evaluate", str(folder / "b"), str(other), "--resamples", "100", "--json"]) == 0
    told = {(m["model"], m["metric"]): m for m in json.loads(capsys.readouterr().out)["metrics"]}
    time, event = found["time"].to_numpy(), found["label"].to_numpy()
    one = np.ones((1, time.size))
    plan = sm.plan_pairs(time, event, found["prediction"].to_numpy())
    assert told[model, "harrell_c"]["estimate"] == pytest.approx(sm.harrell_c(plan, one)[0])
    assert told[model, "harrell_c"]["n_units"] == 300
    assert 0.65 < told[model, "harrell_c"]["low"] < told[model, "harrell_c"]["high"] < 0.85
    survival = found["survival_at_200"].to_numpy()
    brier = told[model, "brier_at_200"]["estimate"]
    assert brier == pytest.approx(sm.brier(time, event, survival, one, horizon=200)[0])
    trained = people(1)
    skill = told[model, "brier_skill_at_200"]["estimate"]
    assert skill == pytest.approx(1 - brier / told["kaplan_meier", "brier_at_200"]["estimate"])
    assert 0.1 < skill < 0.5
    assert trained.height == sum(bundle.metrics["rows"].values())
    for h in (200, 700):
        assert told[model, f"expected_observed_at_{h}"]["estimate"] == pytest.approx(1, abs=0.2)
    explain = ["model", "explain", str(folder / "b"), str(other), "-o", str(folder / "a.parquet"), "--quiet"]
    assert main(explain) == 0
    sums = pl.read_parquet(folder / "a.parquet").group_by("row").agg(pl.col("shap").sum(), pl.col("base_value").first())
    joined = sums.join(found, on="row")
    assert (joined["shap"] + joined["base_value"]).to_numpy() == pytest.approx(
        joined["prediction"].to_numpy(), abs=1e-4
    )


def test_the_same_seed_gives_the_same_bundle(folder: Path) -> None:
    assert train(folder, out="one") == train(folder, out="two") == 0
    one, two = ({p.name: p.read_bytes() for p in (folder / n).iterdir()} for n in ("one", "two"))
    assert one == two


def test_times_that_say_nothing_of_the_columns_are_not_predicted(folder: Path) -> None:
    frame = people(3)
    order = np.random.default_rng(0).permutation(frame.height)
    frame.with_columns(frame["days"][order], frame["died"][order]).write_csv(folder / "null.csv")
    assert train(folder, data="null.csv") == 0
    metrics = {(m["model"], m["metric"]): m for m in read_bundle(folder / "b").metrics["metrics"]}
    for model in ("boosted_cox", "boosted_aft"):
        found = metrics[model, "harrell_c"]
        assert found["low"] is None or found["low"] < 0.55
        assert metrics[model, "brier_skill_at_200"]["low"] < 0.02


def test_tables_without_time_or_event(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder) == 0
    people(4).drop("days", "died").write_csv(folder / "new.csv")
    new = [str(folder / "b"), str(folder / "new.csv")]
    assert main(["model", "predict", *new, "-o", str(folder / "p.parquet")]) == 0
    found = pl.read_parquet(folder / "p.parquet")
    assert found["label"].null_count() == 600
    assert found["time"].is_nan().all()
    assert found["survival_at_200"].is_between(0, 1).all()
    people(4).drop("days").write_csv(folder / "new.csv")
    assert main(["model", "evaluate", *new]) == 8
    assert "days" in capsys.readouterr().err
    people(4).with_columns(pl.when(pl.col("days") > 900).then(None).otherwise("days").alias("days")).write_csv(
        folder / "new.csv"
    )
    assert main(["model", "evaluate", *new]) == 7
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--objective", "survival", "--time", "days"], 8, "--time and --event"),
        (["--objective", "survival", "--time", "days", "--event", "days"], 8, "the same column"),
        (["--objective", "survival", "--time", "days", "--event", "died", "--target", "died"], 8, "--target"),
        (["--objective", "survival", "--time", "day", "--event", "died", "--positive", "yes"], 8, "'day'"),
        (["--objective", "survival", "--time", "stage", "--event", "died", "--positive", "yes"], 4, "number"),
        (["--objective", "survival", "--time", "days", "--event", "died", "--positive", "yes", "--horizon", "5000"], 8,
         "follow-up"),
        (["--target", "died", "--positive", "yes", "--time", "days"], 8, "--objective survival"),
    ],
)  # fmt: skip
def test_wrong_arguments(
    folder: Path, arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = ["--subject-column", "person", "--device", "cpu", "-o", str(folder / "b")]
    command = ["model", "train", str(folder / "train.csv"), *arguments, *fixed]
    assert main(command) == code
    assert says in capsys.readouterr().err
    assert not (folder / "b").exists()


def test_negative_times_and_too_few_events_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people(1).with_columns(pl.col("days") - 5).write_csv(folder / "train.csv")
    assert train(folder) == 7
    assert "negative" in capsys.readouterr().err
    frame = people(1)
    few = frame.with_columns(
        pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("died")
    )
    few.write_csv(folder / "train.csv")
    assert train(folder) == 7
    assert "events" in capsys.readouterr().err


def test_a_damaged_bundle_predicts_nothing(folder: Path) -> None:
    assert train(folder) == 0
    with (folder / "b" / "baseline.json").open("a") as out:
        out.write(" ")
    predict = ["model", "predict", str(folder / "b"), str(folder / "other.csv"), "-o", str(folder / "p.parquet")]
    assert main(predict) not in (0, 1)
    assert not (folder / "p.parquet").exists()
