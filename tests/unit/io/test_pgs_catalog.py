"""Scoring files of the PGS Catalog's shapes, and plain tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.pgs_catalog import read_scoring_file

META = """###PGS CATALOG SCORING FILE - see https://www.pgscatalog.org
#format_version=2.0
#pgs_id=PGS1
#trait_reported=Some = trait
#genome_build=GRCh37
#citation=A et al. (2020)
#HmPOS_build=GRCh38
"""
HARMONISED = META + (
    "rsID\tchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\thm_source\thm_chr\thm_pos\n"
    "rs1\t1\t100\tA\tg\t0.5\tENSEMBL\tchr1\t111\n"
    "rs2\t1\t200\tA\t\t-2e-2\tENSEMBL\t\t\n"
    "rs3\t2\t300\tAT\tA\t1\tliftover\t23\t333\n"
)


def write(folder: Path, text: str, name: str = "f.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["f.txt", "f.txt.gz"])
def test_harmonised_positions_win(tmp_path: Path, name: str) -> None:
    weights, header = read_scoring_file(write(tmp_path, HARMONISED, name))
    assert weights.rows() == [("1", 111, "A", "G", 0.5), ("X", 333, "AT", "A", 1.0)]
    assert (header.name, header.build, header.trait) == ("PGS1", "GRCh38", "Some = trait")
    assert (header.n_variants, header.n_without_position) == (3, 1)


def test_author_positions_with_the_authors_build(tmp_path: Path) -> None:
    text = META + "chr_name\tchr_position\teffect_allele\teffect_weight\n1\t100\tA\t0.5\n"
    weights, header = read_scoring_file(write(tmp_path, text))
    assert weights.rows() == [("1", 100, "A", None, 0.5)]
    assert header.build == "GRCh37"


def test_plain_tables(tmp_path: Path) -> None:
    for separator in "\t,":
        text = "\n".join(separator.join(r) for r in (
            ("contig", "position", "effect_allele", "other_allele", "weight"), ("chr2", "7", "a", "C", "1.5"),
        ))  # fmt: skip
        weights, header = read_scoring_file(write(tmp_path, text, "mine.v2.tsv"))
        assert weights.rows() == [("2", 7, "A", "C", 1.5)]
        assert (header.name, header.build) == ("mine", "unknown")


TABLE = "chr_name\tchr_position\teffect_allele\teffect_weight{extra}\n1\t1\tA\t0.5{first}\n1\t2\tC\t0.1{second}\n"


@pytest.mark.parametrize(
    ("extra", "first", "second", "message"),
    [
        ("\tis_recessive", "\tFalse", "\tTrue", r"not additive here: recessive.*f\.txt:3"),
        ("\tis_dominant", "\tTRUE", "\t", r"not additive here: dominant.*f\.txt:2"),
        ("\tis_haplotype", "\t", "\ttrue", "haplotype"),
        ("\tis_interaction", "\t", "\ttrue", "interaction"),
        ("\teffect_type", "\tadditive", "\trecessive", r"recessive.*f\.txt:3"),
        ("\tdosage_0_weight", "\t1", "\t1", "one weight per genotype"),
        ("\taccession", "\tPGS1", "\tPGS2", "2 scores"),
    ],
)
def test_weights_that_are_not_additive_are_refused(tmp_path: Path, extra, first, second, message) -> None:
    with pytest.raises(FormatError, match=message):
        read_scoring_file(write(tmp_path, TABLE.format(extra=extra, first=first, second=second)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("effect_weight", "weigth", "no column for weight"),
        ("chr_position", "where", r"has no positions.*hmPOS"),
        ("\t0.5", "\thalf", r"weight 'half' is not a number.*f\.txt:2"),
        ("\t0.1", "\t", r"weight is missing.*f\.txt:3"),
        ("\t0.1", "\tinf", r"weight is missing.*f\.txt:3"),
        ("1\t2\tC", "1\tx2\tC", r"position 'x2' is not a number.*f\.txt:3"),
        ("\tA\t", "\t\t", r"effect_allele is missing.*f\.txt:2"),
    ],
)
def test_broken_tables_name_the_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = TABLE.format(extra="", first="", second="").replace(old, new)
    with pytest.raises(FormatError, match=message):
        read_scoring_file(write(tmp_path, text))


def test_missing_empty_and_unplaced_files(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError):
        read_scoring_file(tmp_path / "none.txt")
    with pytest.raises(FormatError, match="no table"):
        read_scoring_file(write(tmp_path, META))
    with pytest.raises(FormatError, match="no variant with a position"):
        read_scoring_file(
            write(tmp_path, TABLE.format(extra="", first="", second="").replace("1\t1", "\t").replace("1\t2", "\t"))
        )
