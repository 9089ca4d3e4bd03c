"""A table study's rows against what a reader would count by hand; bad tables are refused without naming anybody."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, GenomixError, LabelError
from genomix_pipelines.stage_inputs import family_names
from genomix_pipelines.study import Study, load_study
from genomix_pipelines.table_rows import table_cohort, table_features

STUDY = """
[study]
title = "T"
question = "Q"
outcome = "O"
population = "P"
[table]
path = "rows.csv"
id_column = "person"
row_column = "stay"
row_word = "stays"
columns = ["age"]
categorical = ["site", { column = "code", prefix = 3 }]
missing_values = ["?"]
[[table.leave_out]]
column = "end"
values = [11, "hospice"]
reason = "died or hospice"
[outcome]
column = "back"
positive = ["<30"]
negative = [">30", "NO"]
unknown = ["lost"]
[split]
keep_together = "subjects"
[features.table]
"""
ROWS = """person,stay,age,site,code,end,back
P-9,101,50,a,250.83,1,<30
P-9,102,51,a,250.1,1,NO
P-4,103,?,b,428,11,NO
P-7,104,40,?,V27,hospice,>30
P-7,105,41, b ,428,,lost
P-5,106,30,a,?,1,
"""


def study_of(folder: Path, text: str = STUDY, rows: str = ROWS) -> Study:
    (folder / "rows.csv").write_text(rows)
    (folder / "study.toml").write_text(text)
    return load_study(folder / "study.toml")


def test_times_and_causes_of_the_rows_with_a_known_outcome(tmp_path: Path) -> None:
    timed = STUDY.replace('negative = [">30", "NO"]', 'kind = "survival"\nnegative = ["NO"]\ncompeting = [">30"]')
    timed = timed.replace('unknown = ["lost"]', 'unknown = ["lost"]\ntime_column = "age"\nhorizons = [45]')
    timed = timed.replace('columns = ["age"]', "").replace('values = [11, "hospice"]', "values = [11]")
    found = table_cohort(study_of(tmp_path, timed), tmp_path / "rows.csv").follow_up
    assert found is not None
    assert found.rows() == [(0, 50.0, 1), (1, 51.0, 0), (3, 40.0, 2)]
    with pytest.raises(LabelError, match="missing, infinite or negative in 1 rows"):
        table_cohort(study_of(tmp_path, timed, ROWS.replace("104,40", "104,?")), tmp_path / "rows.csv")


def test_rows_labels_and_flow(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    labels, flow, quality, follow_up = table_cohort(study, tmp_path / "rows.csv")
    assert follow_up is None
    assert labels.select("source_row", "subject_id", "value", "status").rows() == [
        (0, 1, 1.0, "observed"), (1, 1, 0.0, "observed"), (4, 3, None, "censored"), (5, 4, None, "censored"),
    ]  # fmt: skip
    assert flow.select("step", "unit", "entered", "removed", "kept", "events").rows() == [
        ("the row is in the table", "stays", 6, 0, 6, 1), ("not: died or hospice", "stays", 6, 2, 4, 1),
    ]  # fmt: skip
    assert (quality["rows"], quality["people"], quality["people_with_several_rows"]) == (4, 3, 1)
    assert [c["rows_without_a_value"] for c in quality["given_columns"]] == [0, 0, 1]
    features = table_features(study, tmp_path / "rows.csv")
    assert features["age"].to_list() == [50, 51, None, 40, 41, 30]
    assert features["site"].to_list() == ["a", "a", "b", None, "b", "a"]
    assert "P-9" not in str(features.to_dict(as_series=False)), "no identifier travels on"
    assert family_names(study) == ["table", "table_categories"]


def test_a_persons_first_row_is_the_smallest_of_those_left(tmp_path: Path) -> None:
    rows = ROWS.replace("101", "999")
    study = study_of(tmp_path, STUDY.replace("columns = [", 'keep_first = "stay"\ncolumns = ['), rows)
    cohort = table_cohort(study, tmp_path / "rows.csv")
    assert cohort.labels["source_row"].to_list() == [1, 4, 5]
    assert cohort.flow.row(2)[1:6] == ("the person's first by stay", "stays", 4, 1, 3)


def test_parquet_gives_what_text_gives(tmp_path: Path) -> None:
    text = STUDY.replace('values = [11, "hospice"]', "values = [11]")
    study = study_of(tmp_path, text, ROWS.replace("hospice", "12"))
    frame = pl.read_csv(tmp_path / "rows.csv", null_values=["?", ""], schema_overrides={"end": pl.Float64})
    frame.with_columns(pl.col("stay").cast(pl.Float64)).write_parquet(tmp_path / "rows.parquet")
    wanted, found = (table_cohort(study, tmp_path / name) for name in ("rows.csv", "rows.parquet"))
    assert found.labels.equals(wanted.labels)
    assert found.flow.equals(wanted.flow)


def test_a_quantity(tmp_path: Path) -> None:
    text = STUDY[: STUDY.index("[outcome]")].replace('"age"', "") + (
        '[outcome]\ncolumn = "age"\nkind = "regression"\nunknown = [41]\n[split]\nkeep_together = "subjects"\n'
    )
    labels = table_cohort(study_of(tmp_path, text), tmp_path / "rows.csv").labels
    assert labels["value"].to_list() == [50.0, 51.0, None, 30.0]


BAD_ROWS = {
    "a number that is none": (("P-9,102,51", "P-9,102,Smith"), FormatError, r"column 'age' .* row 2 of the table"),
    "an infinite number": (("P-9,102,51", "P-9,102,inf"), FormatError, "column 'age' .* row 2"),
    "a row name twice": (("P-7,104", "P-7,102"), FormatError, "rows 2 and 4 of the table have the same 'stay'"),
    "no row name": (("P-7,104", "P-7,"), FormatError, r"1 rows have no name \(column 'stay'\), the first is row 4"),
    "no person": (("P-4,", ","), FormatError, r"1 rows have no person .* row 3"),
    "a value that is not listed": (("1,<30", "1,<31"), LabelError, "1 rows have the outcome '<31'"),
    "a column that is not there": (("site", "sight"), ConfigError, r"no column 'site'.*did you mean 'sight'"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_tables_are_refused_by_place_and_not_by_name(name: str, tmp_path: Path) -> None:
    (old, new), kind, message = BAD_ROWS[name]
    rows = ROWS.replace(old, new)
    assert rows != ROWS
    with pytest.raises(kind, match=message) as caught:
        table_cohort(study_of(tmp_path, rows=rows), tmp_path / "rows.csv")
    assert isinstance(caught.value, GenomixError)
    assert not [word for word in ("P-", "Smith", "102") if word in str(caught.value)]


def test_a_left_out_row_may_hold_any_outcome(tmp_path: Path) -> None:
    rows = ROWS.replace("11,NO", "11,died")
    assert table_cohort(study_of(tmp_path, rows=rows), tmp_path / "rows.csv").labels.height == 4


BAD_STUDIES = {
    "the outcome as a feature": ('columns = ["age"]', 'columns = ["age", "back"]', "'back' is the outcome and may not"),
    "the person as a feature": ('columns = ["age"]', 'columns = ["age", "person"]', "'person' says whose row it is"),
    "the row as a category": ('["site", ', '["site", "stay", ', "'stay' says whose row it is"),
    "a column twice": ('columns = ["age"]', 'columns = ["age", "site"]', "'site' is listed twice"),
    "a value twice": ('unknown = ["lost"]', 'unknown = ["NO"]', "'NO' is listed twice"),
    "no negative value": ('negative = [">30", "NO"]\n', "", "needs both positive and negative"),
    "values of a quantity": ('column = "back"', 'column = "back"\nkind = "regression"', 'belong to kind = "binary"'),
    "another family": ("[features.table]", "[features.table]\n[features.demographics]", "alone, not demographics"),
    "kin groups": ('keep_together = "subjects"', "", "keep_together needs"),
    "no feature": (
        'columns = ["age"]\ncategorical = ["site", { column = "code", prefix = 3 }]\n', "", "needs columns or",
    ),
    "a misspelt key": ("prefix = 3", "prefx = 3", r"unknown key 'table\.categorical\.1\.prefx'"),
    "the outcome as the person": ('column = "back"', 'column = "person"', "names the row"),
    "no outcome": ('[outcome]\ncolumn = "back"\npositive = ["<30"]\nnegative = [">30", "NO"]\nunknown = ["lost"]\n', "",
                   "give \\[task\\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_STUDIES)
def test_bad_studies_are_refused(name: str, tmp_path: Path) -> None:
    old, new, message = BAD_STUDIES[name]
    assert old in STUDY
    with pytest.raises(ConfigError, match=message):
        study_of(tmp_path, STUDY.replace(old, new))


def test_rows_of_a_table_beside_records_are_not_the_studys(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    text = STUDY[: STUDY.index("[outcome]")] + '[records]\npath = "records"\n'
    with pytest.raises(ConfigError, match="row_column needs \\[outcome\\]"):
        study_of(tmp_path, text)
