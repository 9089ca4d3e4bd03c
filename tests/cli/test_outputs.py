"""Where a command may write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genomix.errors import ConfigError
from genomix_cli.outputs import distinct_paths, table_format


def test_different_files_pass_and_none_is_passed_over(tmp_path: Path) -> None:
    distinct_paths({"-o": tmp_path / "a", "--tsv": None, "--list": tmp_path / "b"}, [tmp_path / "c", None])
    assert not list(tmp_path.iterdir()), "looking at paths makes no file"


def test_two_outputs_of_one_file_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(ConfigError, match="the outputs -o and --tsv are the same file"):
        distinct_paths({"-o": tmp_path / "x", "--tsv": tmp_path / "d" / ".." / "x"})


def test_an_output_that_is_an_input_is_refused_also_through_links(tmp_path: Path) -> None:
    source = tmp_path / "in.tsv"
    source.write_text("a\n")
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    for name in ("in.tsv", "soft", "hard"):
        with pytest.raises(ConfigError, match="the output --tsv is a file that this run reads"):
            distinct_paths({"--tsv": tmp_path / name}, [source])


def test_the_files_of_a_prefix_are_inputs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reads"):
        distinct_paths([tmp_path / "cohort.v1.pgen"], [tmp_path / "cohort.v1"])
    distinct_paths([tmp_path / "cohort.v1.tsv"], [tmp_path / "cohort.v1"])


@pytest.mark.parametrize(("name", "suffix"), [("a.parquet", ".parquet"), ("a.b.TSV", ".tsv"), ("a.tsv.gz", ".tsv.gz")])
def test_a_suffix_says_the_format(name: str, suffix: str) -> None:
    assert table_format(Path(name)) == suffix


@pytest.mark.parametrize("name", ["a.csv", "a", "a.gz", "tsv"])
def test_another_suffix_is_refused_naming_what_is_allowed(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table_format(Path(name))
    assert ".parquet, .tsv, .tsv.gz" in str(caught.value) + str(caught.value.hint)
