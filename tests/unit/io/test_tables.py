"""Tables of people: what is read, and what is said when a file is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, InputNotFoundError, TruncatedInputError
from genomix.io.tables import (
    numbers_of,
    read_bimbam_phenotypes,
    read_expression_bed,
    read_phenotype_table,
    read_qtltools_covariates,
    read_table,
    read_text_columns,
)

BED = (
    "#chr\tstart\tend\tgene\tlength\tstrand\tS2\tS1\nchr22\t99\t100\tG1\t1\t+\t0.5\tNA\n22\t199\t300\tG2\t1\t-\t1\t2\n"
)


def put(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return path


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.tsv", "\t"), ("t.tsv.gz", "\t")])
def test_separator_and_compression_are_found(tmp_path: Path, name: str, separator: str) -> None:
    frame = read_table(put(tmp_path, name, f"id{separator}x\r\na{separator}1.5\r\nb{separator}NA\r\n"))
    assert frame.columns == ["id", "x"]
    assert frame["x"].to_list() == [1.5, None]


def test_a_short_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"line has 2 fields, the header has 3 .*t.csv:3"):
        read_table(put(tmp_path, "t.csv", "a,b,c\n1,2,3\n1,2\n"))


def test_missing_empty_doubled_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError):
        read_table(tmp_path / "none.csv")
    with pytest.raises(FormatError, match="no header"):
        read_table(put(tmp_path, "empty.csv", ""))
    with pytest.raises(FormatError, match="two columns named 'a'"):
        read_table(put(tmp_path, "twice.csv", "a,a\n1,2\n"))
    with pytest.raises(FormatError, match="not a readable Parquet"):
        read_table(put(tmp_path, "x.parquet", "not parquet"))
    (tmp_path / "latin.csv").write_bytes(b"a,b\n\xe9,1\n")
    with pytest.raises(FormatError, match="not UTF-8 text"):
        read_table(tmp_path / "latin.csv")


def test_a_cut_gzip_is_truncated_not_short(tmp_path: Path) -> None:
    path = put(tmp_path, "t.csv.gz", "a,b\n" + "1,2\n" * 1000)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(TruncatedInputError) as caught:
        read_table(path)
    assert caught.value.exit_code == 5


def test_expression_bed_gives_values_by_sample_and_one_based_positions(tmp_path: Path) -> None:
    found = read_expression_bed(put(tmp_path, "e.bed.gz", BED))
    assert found.values.rows() == [("S2", 0.5, 1.0), ("S1", None, 2.0)]
    assert found.positions.rows() == [("G1", "22", 100, 100), ("G2", "22", 200, 300)]


def test_expression_bed_names_the_line_of_a_word(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"'high' is not a number .*e.bed:3"):
        read_expression_bed(put(tmp_path, "e.bed", BED.replace("1\t2\n", "high\t2\n")))


def test_bimbam_rows_follow_the_genotypes(tmp_path: Path) -> None:
    found = read_bimbam_phenotypes(put(tmp_path, "p.txt", "1 NA\n-0.5 2\n"), ["a", "b"])
    assert found.values.rows() == [("a", 1.0, None), ("b", -0.5, 2.0)]
    with pytest.raises(FormatError, match="2 rows for 3 samples"):
        read_bimbam_phenotypes(put(tmp_path, "p.txt", "1\n2\n"), ["a", "b", "c"])


def test_covariates_are_turned_and_lose_their_folder(tmp_path: Path) -> None:
    frame = read_qtltools_covariates(put(tmp_path, "c.txt", "SampleID A B\n/some/where/PC1 1 2\nPC2 3 NA\n"))
    assert frame.rows() == [("A", 1.0, 3.0), ("B", 2.0, None)]
    assert frame.columns == ["sample_id", "PC1", "PC2"]


def test_one_row_per_sample(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"one sample has two rows .*:3"):
        read_phenotype_table(put(tmp_path, "p.csv", "id,y\na,1\na,2\n"), "id")
    with pytest.raises(FormatError, match="no column 'sample'"):
        read_phenotype_table(put(tmp_path, "p.csv", "id,y\na,1\n"), "sample")


def test_numeric_sample_names_stay_text(tmp_path: Path) -> None:
    found = read_phenotype_table(put(tmp_path, "p.csv", "id,y\n007,1\n13,2\n"), "id")
    assert found.values["sample_id"].to_list() == ["007", "13"]
    assert found.values.schema["sample_id"] == pl.String


def test_columns_as_text_keep_what_a_number_would_lose(tmp_path: Path) -> None:
    path = put(tmp_path, "t.csv.gz", "id,code, note\n007,250.10, a \n08,?,NA\n")
    frame = read_text_columns(path, ["code", "id"], missing=["?"])
    assert frame.to_dict(as_series=False) == {"code": ["250.10", None], "id": ["007", "08"]}
    with pytest.raises(ConfigError, match=r"no column 'cod'.*did you mean 'code'"):
        read_text_columns(path, ["cod"])


def test_parquet_columns_become_the_text_that_a_study_file_writes(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "whole": [11.0, None],
            "part": [0.1, 2.0],
            "huge": [1e300, float("inf")],
            "true": [True, None],
            "text": ["x ", "?"],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    found = read_text_columns(tmp_path / "t.parquet", frame.columns, missing=["?"])
    assert found["whole"].to_list() == ["11", None]
    assert [float(v) for v in found["part"]] == [0.1, 2.0]
    assert [float(v) for v in found["huge"]] == [1e300, float("inf")]
    assert found["true"].to_list() == ["1", None]
    assert found["text"].to_list() == ["x", None]


def test_a_number_that_is_none_is_named_by_its_row_and_not_by_itself(tmp_path: Path) -> None:
    assert numbers_of(pl.Series("n", ["1", None, "2.5", "1e3"]), tmp_path).to_list() == [1.0, None, 2.5, 1000.0]
    with pytest.raises(FormatError, match=r"'n' is not a number in row 3 of the table.*and in 1 more") as caught:
        numbers_of(pl.Series("n", ["1", None, "Ann Smith", "nan"]), tmp_path)
    assert "Smith" not in str(caught.value)
