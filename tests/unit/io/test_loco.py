"""Offset files: regenie's and plain tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from genomix.errors import ConfigError, FormatError, InputNotFoundError
from genomix.io.loco import read_offsets

SAMPLES = ["a", "b_1", "c"]
LOCO = "FID_IID f_c 0_a b_1_b_1 x_gone\n1 0.1 0.2 0.3 9\n23 1.1 NA 1.3 9\n"


def test_regenie_list(tmp_path: Path) -> None:
    (tmp_path / "fit_1.loco").write_text(LOCO)
    with gzip.open(tmp_path / "fit_2.loco.gz", "wt") as stream:
        stream.write(LOCO.replace("0.1", "7"))
    (tmp_path / "fit_pred.list").write_text("Y1 fit_1.loco\nY2 /elsewhere/fit_2.loco.gz\n")
    found = read_offsets(tmp_path / "fit_pred.list", SAMPLES)
    assert found.unit == "residual_sd"
    assert found.of("Y1", "1").tolist() == [0.2, 0.3, 0.1]
    assert found.of("Y2", "1").tolist() == [0.2, 0.3, 7.0]
    assert np.isnan(found.of("Y1", "X")[0])
    assert found.of("Y1", "X")[1:].tolist() == [1.3, 1.1]
    with pytest.raises(ConfigError, match="no phenotype 'Y3'"):
        found.of("Y3", "1")
    with pytest.raises(ConfigError, match="no contig '2'"):
        found.of("Y1", "2")


def test_one_loco_file_serves_every_phenotype(tmp_path: Path) -> None:
    (tmp_path / "one.loco").write_text(LOCO)
    assert read_offsets(tmp_path / "one.loco", SAMPLES).of("any", "1").tolist() == [0.2, 0.3, 0.1]


def test_families_tell_samples_apart(tmp_path: Path) -> None:
    (tmp_path / "one.loco").write_text("FID_IID x_y_z q_z\n1 1 2\n")
    with pytest.raises(FormatError, match="fits two samples"):
        read_offsets(tmp_path / "one.loco", ["z", "y_z"])
    found = read_offsets(tmp_path / "one.loco", ["z", "y_z"], family_ids=["q", "x"])
    assert found.of("p", "1").tolist() == [2.0, 1.0]


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "o.tsv"
    path.write_text("#FID\tIID\toffset\n1\tc\t0.5\n1\ta\t1.5\n")
    found = read_offsets(path, SAMPLES)
    assert found.unit == "phenotype"
    assert found.of("y", "7")[[0, 2]].tolist() == [1.5, 0.5]
    assert np.isnan(found.of("y", "7")[1])
    path.write_text("sample_id\tphenotype\tchr1\tchrX\na\ty\t1\t2\na\tz\t3\t4\n")
    found = read_offsets(path, SAMPLES)
    assert [found.of(p, c)[0] for p, c in (("y", "1"), ("y", "X"), ("z", "1"), ("z", "X"))] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("o.loco", "IID a b\n1 1 2\n", "begins with FID_IID"),
        ("o.loco", "FID_IID a_a\n1 1 2\n", "3 fields, the header 2 .*:2"),
        ("o.loco", "FID_IID a_a 0_a\n1 1 2\n", "two columns are of one sample"),
        ("o.loco", "FID_IID a_a\n1 secret\n", "field 2 is not a number .*:2"),
        ("o_pred.list", "Y1\n", "phenotype and a .loco file .*:1"),
        ("o_pred.list", "\n", "names no file"),
        ("o.tsv", "IID\toffset\na\t1\na\t2\n", "two offsets .*:2"),
        ("o.tsv", "IID\toffset\nb\t1\na\tsecret\n", "column offset .* not a number .*:3"),
        ("o.tsv", "name\toffset\na\t1\n", "names no sample column"),
    ],
)
def test_broken_files(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=words) as caught:
        read_offsets(tmp_path / name, SAMPLES)
    assert "secret" not in str(caught.value)


def test_a_list_that_names_an_absent_file(tmp_path: Path) -> None:
    (tmp_path / "o_pred.list").write_text("Y1 gone.loco\n")
    with pytest.raises(InputNotFoundError, match=r"gone\.loco"):
        read_offsets(tmp_path / "o_pred.list", SAMPLES)
