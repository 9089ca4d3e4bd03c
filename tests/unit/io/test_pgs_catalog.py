"""Scoring files of the PGS Catalog's shapes, and plain tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.pgs_catalog import read_score_tables, read_scoring_file

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
        ("\tis_haplotype", "\t", "\ttrue", r"haplotype \(1 such rows of 2\).*f\.txt:3"),
        ("\tis_diplotype", "\t1", "\t", r"diplotype.*f\.txt:2"),
        ("\tis_interaction", "\t", "\ttrue", "interaction"),
        ("\teffect_type", "\tadditive", "\toverdominant", r"'overdominant' is not known.*f\.txt:3"),
        ("\tis_dominant\tis_recessive", "\t\t", "\tTrue\tTrue", r"both dominant and recessive.*f\.txt:3"),
        ("\taccession", "\tPGS1", "\tPGS2", "2 scores"),
        ("\taccession", "\tPGS1", "\t", r"accession is missing.*f\.txt:3"),
    ],
)
def test_rows_that_cannot_be_summed_are_refused(tmp_path: Path, extra, first, second, message) -> None:
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


@pytest.mark.parametrize(
    ("extra", "first", "second", "kinds"),
    [
        ("\tis_recessive", "\tFalse", "\tTrue", ["additive", "recessive"]),
        ("\tis_dominant", "\tTRUE", "\t", ["dominant", "additive"]),
        ("\teffect_type", "\tadditive", "\tRecessive", ["additive", "recessive"]),
        ("\teffect_type", "\t", "\tdominant", ["additive", "dominant"]),
    ],
)
def test_effect_types(tmp_path: Path, extra: str, first: str, second: str, kinds: list[str]) -> None:
    path = write(tmp_path, TABLE.format(extra=extra, first=first, second=second))
    (table,) = read_score_tables(path, strict=True)
    assert table.terms["effect_type"].to_list() == kinds
    assert read_scoring_file(path).weights["effect_type"].to_list() == kinds


def test_one_weight_per_genotype(tmp_path: Path) -> None:
    text = (
        "chr_name\tchr_position\teffect_allele\tother_allele\tdosage_0_weight\tdosage_1_weight\tdosage_2_weight\n"
        "6\t10\tG\tA\t-0.5\t0.25\t1\n6\t20\tC\tA\t0\t0\t-2\n"
    )
    (table,) = read_score_tables(write(tmp_path, text))
    columns = ["effect_type", "weight_0", "weight_1", "weight_2", "weight"]
    assert table.terms.select(columns).rows() == [
        ("genotypic", -0.5, 0.25, 1.0, 1.5),
        ("genotypic", 0.0, 0.0, -2.0, 2.0),
    ]
    with pytest.raises(FormatError, match=r"weight_1 is missing.*f\.txt:2"):
        read_score_tables(write(tmp_path, text.replace("\t0.25\t", "\t\t")))


def test_rows_that_cannot_be_summed_say_why(tmp_path: Path) -> None:
    text = (
        "rsID\tchr_name\tchr_position\teffect_allele\teffect_weight\tis_haplotype\tis_interaction\tvariant_type\n"
        "rs1\t1\t5\tA\t1\tFALSE\tFALSE\t\n"
        "\t6\t\tHLA-DQB1*02:01\t2\tTRUE\tFALSE\tHLA_allele\n"
        "\t19\t\tAPOE-E4\t3\tFALSE\tFALSE\tAPOE_allele\n"
        "rs2_x_rs3\t1\t7\tA\t4\tFALSE\tTRUE\t\n"
    )
    path = write(tmp_path, text)
    (table,) = read_score_tables(path)
    assert table.terms["left_out"].to_list() == [None, "haplotype", "named allele", "interaction"]
    assert table.terms["line"].to_list() == [2, 3, 4, 5]
    with pytest.raises(FormatError, match=r"haplotype \(3 such rows of 4\).*f\.txt:3"):
        read_score_tables(path, strict=True)


def test_version_1_headers_and_other_alleles(tmp_path: Path) -> None:
    text = (
        "### PGS CATALOG SCORING FILE\n# PGS ID = PGS000009\n# Reported Trait = Height\n"
        "# Original Genome Build = hg19\n"
        "# Citation = B et al.\nrsID\tchr_name\tchr_position\teffect_allele\treference_allele\teffect_weight\n"
        "rs1\t1\t100\tA\tG\t0.5\n"
    )
    (table,) = read_score_tables(write(tmp_path, text))
    assert (table.header.name, table.header.build, table.header.trait) == ("PGS000009", "GRCh37", "Height")
    assert table.header.citation == "B et al."
    assert table.terms["other_allele"].to_list() == ["G"]
    inferred = HARMONISED.replace("other_allele", "hm_inferOtherAllele").replace("\tg\t", "\tG/T\t")
    assert read_score_tables(write(tmp_path, inferred))[0].terms["other_allele"].to_list() == [None, None, "A"]


def test_many_scores_in_one_file_and_rsids_only(tmp_path: Path) -> None:
    text = (
        "chr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\teffect_type\tis_duplicated\taccession\n"
        "1\t10\tA\tC\t1\tadditive\tFalse\tPGS2\n1\t10\tA\tC\t2\tadditive\tFalse\tPGS1\n"
        "1\t20\tA\tC\t3\trecessive\tFalse\tPGS2\n"
    )
    tables = read_score_tables(write(tmp_path, text))
    assert [(t.header.name, t.terms["weight"].to_list()) for t in tables] == [("PGS2", [1.0, 3.0]), ("PGS1", [2.0])]
    bare = "rsID\teffect_allele\teffect_weight\nrs5\tA\t1\n"
    (table,) = read_score_tables(write(tmp_path, bare))
    assert table.terms.select("contig", "position", "variant_id").rows() == [(None, None, "rs5")]
    assert table.header.n_without_position == 1
    with pytest.raises(FormatError, match="no variant with a position"):
        read_scoring_file(write(tmp_path, bare))
