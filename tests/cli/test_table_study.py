"""A study of one table, from ``genomix check`` and ``run`` to its report: several rows per person, no times."""

from __future__ import annotations

import csv
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genomix_cli.app import main

STUDY = """
[study]
title = "Readmission"
question = "Can readmission be predicted?"
outcome = "readmission"
population = "made-up stays"
seed = 3
threshold = 0.3
prediction_time = "at discharge"
[table]
path = "stays.csv"
id_column = "person"
row_column = "stay"
row_word = "hospital stays"
missing_values = ["?"]
columns = ["earlier_stays", "age"]
categorical = ["ward", { column = "end", names = { 1 = "home", 2 = "nursing home" } }, "sex"]
min_subjects = 5
[[table.leave_out]]
column = "end"
values = [11]
reason = "died in hospital"
[table.sentences]
earlier_stays = "earlier stays"
end = "discharged to"
[outcome]
column = "readmitted"
positive = ["<30"]
negative = [">30", "NO"]
unknown = ["lost"]
[split]
keep_together = "subjects"
[features.table]
[model]
max_rounds = 60
resamples = 200
[report]
subgroups = ["sex"]
"""


def write_stays(folder: Path, n_people: int = 260, seed: int = 5) -> list[dict[str, Any]]:
    """Write one to four stays of each person; earlier stays and the ward matter, age does not."""
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for person in range(n_people):
        sex = draw.choice(["female", "male"])
        for number in range(draw.choice([1, 1, 1, 2, 2, 4])):
            ward = draw.choice(["medical", "medical", "surgical", "eye", "?"])
            end = draw.choice([1, 1, 1, 2, 2, 3, 11])
            margin = -1.6 + 0.9 * number + 1.2 * (ward == "medical") + 0.4 * (end == 2)
            back = draw.random() < 1 / (1 + math.exp(-margin))
            rows.append(
                {
                    "person": f"MRN-{7000 + 13 * person}",
                    "stay": 90_000 + 7 * len(rows),
                    "sex": sex,
                    "ward": "hand" if len(rows) == 20 else ward,
                    "end": end,
                    "earlier_stays": number,
                    "age": "?" if draw.random() < 0.1 else draw.randint(20, 90),
                    "readmitted": "lost" if len(rows) % 41 == 40 else "<30" if back else draw.choice([">30", "NO"]),
                }
            )
    with (folder / "stays.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


class Ran:
    """One finished run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.rows = write_stays(folder)
        (folder / "study.toml").write_text(STUDY)
        assert main(["run", str(folder / "study.toml"), "--out", str(self.out), "--device", "cpu"]) == 0

    def table(self, stage: str, name: str) -> pl.DataFrame:
        return pl.read_parquet(next((self.out / "stages" / stage).glob("*")) / f"{name}.parquet")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("table"))


def test_rows_are_counted_as_by_hand_and_a_person_stands_on_one_side(ran: Ran) -> None:
    kept = [r for r in ran.rows if r["end"] != 11]
    known = [r for r in kept if r["readmitted"] != "lost"]
    flow = [*ran.table("cohort", "flow").iter_rows(), *ran.table("split", "flow").iter_rows()]
    assert [row[3:6] for row in flow] == [
        (len(ran.rows), 0, len(ran.rows)),
        (len(ran.rows), len(ran.rows) - len(kept), len(kept)),
        (len(kept), len(kept) - len(known), len(known)),
    ]
    assert flow[-1][6] == sum(r["readmitted"] == "<30" for r in known)
    index = ran.table("split", "index")
    assert index.height == len(known)
    assert index["subject_id"].n_unique() == len({r["person"] for r in known}) < index.height
    assert index.group_by("subject_id").agg(pl.col("fold_0").n_unique().alias("n"))["n"].max() == 1
    assert index["kin_group"].n_unique() == index["subject_id"].n_unique()
    for row in index.iter_rows(named=True):
        assert row["label"] == (ran.rows[row["source_row"]]["readmitted"] == "<30"), "labels follow their row"


def test_features_follow_their_row_and_levels_their_training_rows(ran: Ran) -> None:
    index = ran.table("features", "matrix/index")
    dense, levels = ran.table("features", "matrix/dense"), ran.table("features", "matrix/fold_0/dense")
    people: dict[str, set[str]] = {}
    for row, role in index.select("source_row", "fold_0").iter_rows():
        if role == "train":
            people.setdefault(ran.rows[row]["ward"], set()).add(ran.rows[row]["person"])
    enough = sorted(w for w, those in people.items() if len(those) >= 5 and w != "?")
    rare = [w for w, those in people.items() if len(those) < 5 and w != "?"]
    wards = [f"={w}" for w in enough] + [" other"] * bool(rare) + [" missing"] * ("?" in people)
    assert [c.removeprefix("table_categories:ward") for c in levels.columns if ":ward" in c] == wards
    assert "=hand" not in wards, "one stay in the hand ward is not enough"
    for number, row in enumerate(index["source_row"].to_list()):
        source = ran.rows[row]
        assert dense["table:earlier_stays"][number] == source["earlier_stays"]
        assert levels["table_categories:end=2"][number] == (source["end"] == 2)
        assert levels["table_categories:ward missing"][number] == (source["ward"] == "?")
    columns = ran.table("features", "matrix/fold_0/columns")
    assert "discharged to: nursing home" in columns["sentence"].to_list()
    groups = ran.table("explain", "importance").filter(pl.col("level") == "group")["name"].to_list()
    assert sorted(groups) == ["age", "discharged to", "earlier_stays", "sex", "ward"]


def test_intervals_resample_people_and_the_certificate_says_what_it_cannot_prove(ran: Ran) -> None:
    held_out = ran.table("split", "index").filter(pl.col("fold_0") == "held_out")
    auroc = ran.table("evaluate", "metrics").filter(
        (pl.col("metric") == "auroc") & (pl.col("model") == "boosted") & (pl.col("group") == "all")
    )
    row = auroc.row(0, named=True)
    assert (row["n_rows"], row["n_units"]) == (held_out.height, held_out["subject_id"].n_unique())
    assert row["low"] < row["estimate"] < row["high"]
    certificate = {r["check"]: r for r in ran.table("certificate", "certificate").iter_rows(named=True)}
    status = {name: r["status"] for name, r in certificate.items()}
    assert "failed" not in status.values()
    assert status["learned_from_training"] == status["columns_that_encode"] == status["subjects_disjoint"] == "passed"
    assert status["given_in_time"] == status["given_columns"] == status["kin_disjoint"] == "not provable"
    assert "table_categories" in certificate["learned_from_training"]["found"]
    assert "states no times" in certificate["given_in_time"]["found"]


def test_the_report_speaks_of_its_rows_and_of_nothing_that_is_not_there(ran: Ran) -> None:
    report = json.loads((ran.out / "report.json").read_text())
    sections = {s["name"]: s for s in report["sections"]}
    assert "ladder" not in sections
    text = (ran.out / "report.html").read_text()
    words = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert "held-out hospital stays" in words
    assert "the table states no times" in sections["timeline"]["finding"]
    assert sections["data_quality"]["finding"].endswith("people.")
    assert "Sex: female" in words
    told = {n: json.dumps(s, ensure_ascii=False) for n, s in sections.items() if n not in ("certificate", "checklist")}
    told["reproducibility"] = told["reproducibility"].split("Parameters", 1)[0]
    for name, section in told.items():
        for foreign in ("genotype", "genom", "health record", "genetic", "polygenic", "two reference", "kinship"):
            found = section.lower().replace("genomix", "")
            assert foreign not in found, f"{name} speaks of {foreign}"
    everything = text + (ran.out / "report.json").read_text()
    assert not re.search(r"MRN-\d|\b90\d{3}\b", everything), "an identifier stands in the report"
    stages = {p.name for p in (ran.out / "stages").iterdir()}
    assert stages == {"cohort", "split", "features", "model", "evaluate", "explain", "certificate", "report"}


def test_the_same_study_gives_the_same_bytes_elsewhere(ran: Ran, tmp_path: Path) -> None:
    again = Ran(tmp_path)
    for name in ("report.html", "report.json", "model_card.json"):
        assert (again.out / name).read_bytes() == (ran.out / name).read_bytes()
    assert main(["run", str(again.folder / "study.toml"), "--out", str(again.out), "--from", "cohort"]) == 0


def test_check_prints_the_studys_facts(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(ran.folder / "study.toml"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    left = sum(r["end"] == 11 for r in ran.rows)
    assert facts["table"] == f"{len(ran.rows):,} hospital stays"
    assert facts["not: died in hospital"] == f"{left} hospital stays removed, {len(ran.rows) - left} kept"
    assert facts["people"].startswith(f"{len(ran.rows) - left} hospital stays of ")
    assert facts["columns"] == "2 numbers, 3 categories"
    assert facts["labels outcome"].endswith("without a label")


MISTAKES = {
    "one class": (lambda t: t.replace("<30", ">30"), lambda s: s, 7, "one class"),
    "a value that nobody listed": (lambda t: t, lambda s: s.replace(', "NO"', ""), 7, "'NO', which [outcome] does not"),
    "text for a number": (lambda t: t.replace(",1,", ",one,"), lambda s: s, 4, "'earlier_stays' is not a number"),
    "a stay twice": (lambda t: t.replace("90007", "90000"), lambda s: s, 4, "rows 1 and 2 of the table have the same"),
    "no such column": (lambda t: t, lambda s: s.replace('"ward"', '"wards"'), 8, "no column 'wards'"),
    "the outcome as a feature": (
        lambda t: t, lambda s: s.replace('"ward"', '"ward", "readmitted"'), 8, "may not be a feature",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named_without_naming_anybody(
    name: str, ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, study, code, words = MISTAKES[name]
    (tmp_path / "stays.csv").write_text(rows((ran.folder / "stays.csv").read_text()))
    (tmp_path / "study.toml").write_text(study(STUDY))
    for command in (["check"], ["run", "--out", str(tmp_path / "out"), "--device", "cpu"]):
        assert main([command[0], str(tmp_path / "study.toml"), *command[1:]]) == code
        said = capsys.readouterr().err
        assert words in said
        assert "MRN-" not in said


def test_a_copy_of_the_outcome_is_found(tmp_path: Path) -> None:
    rows = write_stays(tmp_path)
    frame = pl.read_csv(tmp_path / "stays.csv")
    codes = frame["readmitted"].replace_strict({"<30": "R1", ">30": "R2", "NO": "R3", "lost": "R3"})
    frame.with_columns(codes.alias("code")).write_csv(tmp_path / "stays.csv")
    (tmp_path / "study.toml").write_text(STUDY.replace('"ward"', '"ward", "code"'))
    assert len(rows) == frame.height
    strict = ["run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"), "--device", "cpu", "--strict"]
    assert main(strict) == 12


def test_example_rows_show_what_the_table_says(tmp_path: Path) -> None:
    write_stays(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY.replace("[report]\n", "[report]\nexamples = 2\n"))
    assert main(["run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    text = (tmp_path / "out/examples.html").read_text()
    assert "This is what the table says of the row." in text
    assert "variants behind" not in text
    assert "MRN-" not in text


def test_a_quantity_over_folds(tmp_path: Path) -> None:
    rows = write_stays(tmp_path)
    text = STUDY.replace(
        'column = "readmitted"\npositive = ["<30"]\nnegative = [">30", "NO"]\nunknown = ["lost"]\n', ""
    )
    text = text.replace("[outcome]\n", '[outcome]\ncolumn = "earlier_stays"\nkind = "regression"\nunknown = [3]\n')
    text = text.replace('columns = ["earlier_stays", "age"]', 'columns = ["age"]').replace("threshold = 0.3\n", "")
    text = text.replace("[split]\n", '[split]\ndesign = "cross_validation"\nfolds = 3\n')
    (tmp_path / "study.toml").write_text(text)
    assert main(["run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    index = pl.read_parquet(next((tmp_path / "out/stages/split").glob("*")) / "index.parquet")
    assert index.height == sum(r["end"] != 11 and r["earlier_stays"] != 3 for r in rows)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert "R²" in json.dumps(report, ensure_ascii=False)


def test_without_features_the_table_is_described(tmp_path: Path) -> None:
    write_stays(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY.replace("[features.table]\n", ""))
    assert main(["run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    names = [s["name"] for s in report["sections"]]
    assert names == ["summary", "cohort_flow", "data_quality", "limitations", "reproducibility"]


@pytest.mark.parametrize("design", ["by_time", "by_site"])
def test_rows_are_held_out_by_time_and_by_site(design: str, tmp_path: Path) -> None:
    """A person whose rows lie on both sides of a boundary has some of them unused, and none on two sides."""
    column = {"by_time": "stay", "by_site": "ward"}[design]
    rows = write_stays(tmp_path, n_people=300)
    text = STUDY.replace("[split]", f'[split]\ndesign = "{design}"\ncolumn = "{column}"')
    (tmp_path / "study.toml").write_text(text.replace("resamples = 200", "resamples = 100"))
    assert main(["run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"), "-q"]) == 0
    current = json.loads((tmp_path / "out/current.json").read_text())
    folder = next(tmp_path.glob("out/stages/split/*"))
    assert current
    index = pl.read_parquet(folder / "index.parquet")
    folds = [c for c in index.columns if c.startswith("fold_")]
    stays = [rows[i] for i in index["source_row"].to_list()]
    for fold in folds:
        roles = index[fold].to_list()
        sides: dict[int, set[str]] = {}
        for person, role in zip(index["subject_id"].to_list(), roles, strict=True):
            sides.setdefault(person, set()).add(role)
        assert all(len(s - {"unused"}) <= 1 for s in sides.values())
        held = [s for s, r in zip(stays, roles, strict=True) if r == "held_out"]
        trained = [s for s, r in zip(stays, roles, strict=True) if r in ("train", "tuning")]
        if design == "by_time":
            assert min(s["stay"] for s in held) > max(s["stay"] for s in trained)
        else:
            assert {s["ward"] for s in held} == {sorted({s["ward"] for s in stays} - {"?"})[int(fold[5:])]}
            assert not {s["ward"] for s in held} & {s["ward"] for s in trained}
    page = (tmp_path / "out/report.html").read_text()
    assert ("The latest 30% of the rows by stay" if design == "by_time" else "Each value of ward is held out") in page


def test_a_monotone_column_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_stays(tmp_path)
    study = tmp_path / "study.toml"
    text = STUDY.replace("[model]\n", "[model]\nmonotone = { age = -1 }\n")
    study.write_text(text)
    assert main(["run", str(study), "--out", str(tmp_path / "out"), "-q", "--device", "cpu"]) == 0
    from genomix.models.bundle import read_bundle

    bundle = read_bundle(next((tmp_path / "out/stages/model").glob("*")) / "bundles/fold_0/boosted")
    at = bundle.columns["group"].to_list().index("age")
    rows = pl.DataFrame({f"c{i}": [0.0] * 71 for i in range(bundle.columns.height)}).to_numpy().astype("float32")
    rows[:, at] = range(20, 91)
    margin = bundle.fitted.margin(rows).tolist()
    assert margin == sorted(margin, reverse=True)
    study.write_text(text.replace("age = -1", "aged = -1"))
    assert main(["run", str(study), "--out", str(tmp_path / "other"), "-q", "--device", "cpu"]) == 8
    assert "monotone names 'aged', which the model does not have" in capsys.readouterr().err
