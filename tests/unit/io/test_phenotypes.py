"""Phenotype and covariate tables in every house's manner."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, InputNotFoundError
from genomix.io.phenotypes import classify, read_covariates, read_phenotypes

LAYOUTS = {
    "plink2": "#FID\tIID\tY1\tY2\nf1\ta\t1\t0.5\nf2\tb\t2\tNA\nf3\tc\t-9\t2.5\n",
    "plink2 without family": "#IID\tY1\tY2\na\t1\t0.5\nb\t2\tnan\nc\tNA\t2.5\n",
    "regenie": "FID IID Y1 Y2\nf1 a 1 0.5\nf2 b 2 NA\nf3 c NA 2.5\n",
    "tsv": "sample_id\tY1\tY2\na\t1\t0.5\nb\t2\t\nc\t.\t2.5\n",
    "csv": 'sample_id,Y1,Y2\n"a",1,0.5\n"b",2,NA\n"c",,2.5\n',
    "saige": "Y1 Y2 IID\n1 0.5 a\n2 NA b\nNA 2.5 c\n",
    "carriage returns": "#IID\tY1\tY2\r\na\t1\t0.5\r\nb\t2\tNA\r\nc\tNA\t2.5\r\n",
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_gives_the_same_table(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(text.encode())
    found = read_phenotypes(path)
    assert found.values.to_dict(as_series=False) == {
        "sample_id": ["a", "b", "c"], "Y1": [0.0, 1.0, None], "Y2": [0.5, None, 2.5],
    }  # fmt: skip
    assert found.kinds == {"Y1": "binary", "Y2": "quantitative"}


def test_plink_tables_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("f1 a 1.5 3\nf2 b -9 4\n")
    found = read_phenotypes(path)
    assert found.names == ["PHENO1", "PHENO2"]
    assert found.values["PHENO1"].to_list() == [1.5, None]


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        ([1, 2, 2, None], [0, 1, 1, None], "binary"),
        ([0, 1, 2], [None, 0, 1], "binary"),
        ([0, 1, 1, None], [0, 1, 1, None], "binary"),
        ([1, 1], [1, 1], "binary"),
        ([0, 1, 3], [0, 1, 3], "quantitative"),
        ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], "quantitative"),
        ([None, None], [None, None], "quantitative"),
    ],
)
def test_case_control_is_found_from_the_values(
    values: list[float | None], expected: list[float | None], kind: str
) -> None:
    found, is_kind = classify(pl.Series(values, dtype=pl.Float64))
    assert (found.to_list(), is_kind) == (expected, kind)


def test_a_quantity_may_look_like_cases(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("IID\tn\na\t1\nb\t2\nc\t-9\n")
    found = read_phenotypes(path, kind="quantitative", missing_value=None)
    assert found.values["n"].to_list() == [1.0, 2.0, -9.0]
    with pytest.raises(FormatError, match=r"column n: a value is none of 0, 1 and 2 .*:4"):
        read_phenotypes(path, kind="binary", missing_value=None)


def test_covariates_may_be_categories(tmp_path: Path) -> None:
    path = tmp_path / "c.tsv"
    path.write_text("FID\tIID\tage\tsite\n1\t001\t50\tA\n2\t002\tNA\tB\n3\t003\t-9\tNA\n")
    found = read_covariates(path)
    assert found.to_dict(as_series=False) == {
        "sample_id": ["001", "002", "003"], "age": [50.0, None, None], "site": ["A", "B", None],
    }  # fmt: skip
    assert read_covariates(path, ["age"], missing_value=None)["age"].to_list() == [50.0, None, -9.0]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"sample_id": ["a", "b"], "y": [1.25, None]}).write_parquet(path)
    assert read_phenotypes(path).values["y"].to_list() == [1.25, None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("IID\ty\na\t1\na\t2\n", "two rows .*:3"),
        ("IID\ty\na\t1\t5\n", "3 fields, not 2 .*:2"),
        ("IID\ty\na\ttall\n", "column y .* not a number .*:2"),
        ("IID\ty\na\tinf\n", "not a number"),
        ("name\ty\na\t1\n", "names no sample column .*:1"),
        ("IID\ty\ty\na\t1\t2\n", "two columns of one name"),
        ("IID\ty\n\t1\n", "names no sample"),
        ("IID\na\n", "has no phenotype column"),
        ("", "is empty"),
        ('IID,y\na,"1\n', "quotes do not match.*:2"),
    ],
)
def test_broken_tables_say_where(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(text)
    with pytest.raises(FormatError, match=words):
        read_phenotypes(path)


def test_unknown_names_and_files(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("IID\ty\na\t1\n")
    with pytest.raises(ConfigError, match=r"no phenotype 'z'.*it has: y"):
        read_phenotypes(path, ["z"])
    with pytest.raises(InputNotFoundError):
        read_phenotypes(tmp_path / "absent.tsv")


def test_no_message_repeats_a_cell_and_lines_are_counted_past_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("## note\nIID\ty\na\t1\n\nb\tsecretname\n")
    with pytest.raises(FormatError, match=r"column y .*t\.tsv:5") as caught:
        read_phenotypes(path)
    assert "secretname" not in str(caught.value)
    path.write_text("IID\ty\na\t1\nb\t77431\n")
    with pytest.raises(FormatError, match=r"t\.tsv:3") as caught:
        read_phenotypes(path, kind="binary")
    assert "77431" not in str(caught.value)
    path.write_text("IID\tage\na\t1\nb\tinf\n")
    with pytest.raises(FormatError, match=r"column age .*t\.tsv:3"):
        read_covariates(path)


def test_quoted_fields_may_hold_the_separator_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('"sample_id","site, city",y\n"a","Oslo, ""N""",1.5\n"b",Rome,2.5\n')
    found = read_covariates(path)
    assert found["site, city"].to_list() == ['Oslo, "N"', "Rome"]
    assert found["y"].to_list() == [1.5, 2.5]


@pytest.mark.parametrize("kind", ["parquet", "tsv"])
def test_of_a_table_of_components_only_the_components_are_covariates(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"c.components.{kind}"
    frame = pl.DataFrame(
        {
            "sample_id": ["a", "b"], "fitted": [True, False], "distance": [1.0, 2.0], "is_outlier": [False, None],
            "pc_1": [0.5, -0.5], "pc_2": [1.0, 2.0],
        }
    )  # fmt: skip
    frame.write_parquet(path) if kind == "parquet" else frame.write_csv(path, separator="\t", null_value="NA")
    said: list[str] = []
    assert read_covariates(path, report=said.append).columns == ["sample_id", "pc_1", "pc_2"]
    assert "pc_1 to pc_2 are the covariates" in said[0]
    assert read_covariates(path, ["distance", "pc_2"]).columns == ["sample_id", "distance", "pc_2"]
    frame.drop("fitted", "distance", "is_outlier").with_columns(age=pl.lit(5.0)).write_parquet(tmp_path / "o.parquet")
    assert read_covariates(tmp_path / "o.parquet").columns == ["sample_id", "pc_1", "pc_2", "age"]
