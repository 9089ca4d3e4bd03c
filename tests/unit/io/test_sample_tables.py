"""Which samples are loaded and under which identifiers: plink2's rules, and errors that name both sides."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, InputNotFoundError, LinkError
from genomix.io.sample_tables import (
    choose_samples,
    family_identifiers,
    merge_samples,
    read_sample_info,
    read_sample_list,
)


def samples(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"sample_id": names, "sex": [0] * len(names)}, schema={"sample_id": pl.String, "sex": pl.Int8})


def test_samples_are_taken_in_the_order_asked_for() -> None:
    found = choose_samples(samples("a", "b", "c"), ("c", "a"))
    assert found is not None
    assert found.tolist() == [2, 0]
    assert choose_samples(samples("a"), None) is None


@pytest.mark.parametrize(("wanted", "message"), [(("a", "x", "y"), "2 of 3 samples"), (("a", "b", "a"), "twice")])
def test_samples_that_cannot_be_chosen(wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(LinkError, match=message) as caught:
        choose_samples(samples("a", "b"), wanted)
    assert "sample no." in str(caught.value)


def test_family_identifiers() -> None:
    given = samples("F1_a", "F2_b")
    assert "FID" not in family_identifiers(given, double_id=False, delimiter=None, where="x").columns
    double = family_identifiers(given, double_id=True, delimiter=None, where="x")
    assert double.select("FID", "sample_id").rows() == [("F1_a", "F1_a"), ("F2_b", "F2_b")]
    split = family_identifiers(given, double_id=False, delimiter="_", where="x")
    assert split.select("FID", "sample_id").rows() == [("F1", "a"), ("F2", "b")]
    with_sid = family_identifiers(samples("f_a_1", "f_b"), double_id=False, delimiter="_", where="x")
    assert with_sid["SID"].to_list() == ["1", None]


@pytest.mark.parametrize("name", ["plain", "a_b_c_d", "_b", "a_"])
def test_identifiers_that_do_not_split(name: str) -> None:
    with pytest.raises(FormatError, match="does not split"):
        family_identifiers(samples(name), double_id=False, delimiter="_", where="x.vcf")


def test_identifiers_that_collide_after_the_split() -> None:
    with pytest.raises(FormatError, match="different families have the same IID"):
        family_identifiers(samples("f1_a", "f2_a"), double_id=False, delimiter="_", where="x.vcf")
    with pytest.raises(ConfigError, match="at once"):
        family_identifiers(samples("a_b"), double_id=True, delimiter="_", where="x.vcf")


def test_a_table_does_not_erase_what_the_source_knew() -> None:
    source = pl.DataFrame(
        {"sample_id": ["a", "b", "c"], "sex": [1, 2, 0], "FID": ["f", "g", "h"], "lab": ["x", "y", None]},
        schema={"sample_id": pl.String, "sex": pl.Int8, "FID": pl.String, "lab": pl.String},
    )
    table = pl.DataFrame({"sample_id": ["c", "a"], "sex": [2, 0], "lab": ["z", None], "town": ["Bern", None]})
    merged = merge_samples(source, table)
    assert merged.select("sample_id", "sex", "FID", "lab", "town").rows() == [
        ("a", 1, "f", "x", None), ("b", 2, "g", "y", None), ("c", 2, "h", "z", "Bern")
    ]  # fmt: skip


def test_sample_list_reads_plink_forms(tmp_path: Path) -> None:
    path = tmp_path / "keep.txt"
    path.write_text("#FID IID\nf1 a\nf2\tb\n\n")
    assert read_sample_list(path) == ("a", "b")
    path.write_text("a\nb\n")
    assert read_sample_list(path) == ("a", "b")
    path.write_text("a b c\n")
    with pytest.raises(FormatError, match=r"3 columns.*keep\.txt:1"):
        read_sample_list(path)
    path.write_text("#IID\n")
    with pytest.raises(FormatError, match="no sample"):
        read_sample_list(path)
    with pytest.raises(InputNotFoundError):
        read_sample_list(tmp_path / "none.txt")


def test_sample_info_reads_tables_and_psam(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("IID,SEX,town\n007,female,Bern\n008,1,Basel\n009,,Basel\n")
    found = read_sample_info(table)
    assert found.select("sample_id", "sex").rows() == [("007", 2), ("008", 1), ("009", 0)]
    psam = tmp_path / "people.psam"
    psam.write_text("#IID\tSEX\tpop\n1\t2\tGBR\n2\tNA\tGBR\n")
    assert read_sample_info(psam).select("sample_id", "sex", "pop").rows() == [("1", 2, "GBR"), ("2", 0, "GBR")]
    table.write_text("IID,SEX\n007,alien\n")
    with pytest.raises(FormatError, match="'alien' is no sex"):
        read_sample_info(table)
