"""Regions: parsing, merging, and overlap against a plain loop."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, TruncatedInputError
from genomix.io.regions import TO_THE_END, merged_regions, parse_regions, read_regions_file, split_regions


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("chr1", ("1", 0, TO_THE_END)),
        ("X:5", ("X", 4, 5)),
        ("23:5-9", ("X", 4, 9)),
        ("chrM:5-", ("MT", 4, TO_THE_END)),
        ("1:1,000,001-2,000,000", ("1", 1_000_000, 2_000_000)),
        ("GL000191.1:7-7", ("GL000191.1", 6, 7)),
        ("HLA-A*01", ("HLA-A*01", 0, TO_THE_END)),
    ],
)
def test_a_text_is_a_region(text: str, row: tuple[str, int, int]) -> None:
    assert parse_regions((text,)).intervals.rows() == [row]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1", ["1"]),
        ("1,100", ["1", "100"]),
        ("1:5,100", ["1:5,100"]),
        ("1:1,000,000-2,000,000,X:7", ["1:1,000,000-2,000,000", "X:7"]),
        ("1:1,000-,2", ["1:1,000-", "2"]),
        ("1:1,0000", ["1:1", "0000"]),
        ("2:1-5,3:1,000", ["2:1-5", "3:1,000"]),
    ],
)
def test_commas_part_regions_and_group_digits(text: str, parts: list[str]) -> None:
    assert split_regions(text) == parts


@pytest.mark.parametrize("text", ["", "1:", "1:0", "1:0-5", "1:9-5", "1: 5", "1:99999999999999999-", ":5"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_regions((text,))


def test_a_word_after_the_colon_is_part_of_a_name() -> None:
    assert parse_regions(("a:b",)).intervals.rows() == [("a:b", 0, TO_THE_END)]


def test_regions_are_sorted_and_merged() -> None:
    regions = parse_regions(("2:5-9", "chr1:50-60", "1:1-10", "1:11-20", "1:15-18", "1:22", "chr1:8-9"))
    assert regions.intervals.rows() == [("1", 0, 20), ("1", 21, 22), ("1", 49, 60), ("2", 4, 9)]


def test_overlap_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(3)
    names = ["1", "chr2", "X", "odd"]
    for n in (1, 3, 40):
        starts = rng.integers(0, 300, n)
        ends = starts + rng.integers(0, 20, n)
        contigs = rng.choice(names[:3], n).tolist()
        regions = merged_regions(pl.DataFrame({"contig": contigs, "start": starts, "end": ends}))
        size = rng.integers(1, 9, 500)
        records = pl.DataFrame(
            {
                "contig": rng.choice(["chr1", "2", "chrX", "odd"], 500),
                "position": rng.integers(-1, 330, 500),
                "ref": ["A" * int(k) for k in size],
            }
        )
        same = {"chr1": "1", "2": "chr2", "chrX": "X", "odd": "odd"}
        expected = [
            any(
                same[c] == name and any(s <= base < e for base in range(p - 1, p - 1 + len(r)))
                for name, s, e in zip(contigs, starts.tolist(), ends.tolist(), strict=True)
            )
            for c, p, r in records.iter_rows()
        ]
        assert regions.overlap(records).tolist() == expected
        assert n < 40 or (any(expected) and not all(expected))


def test_files_count_from_zero_or_one_by_their_name(tmp_path: Path) -> None:
    lines = "chr1\t10\t20\tname\n2\t5\t6\n"
    (tmp_path / "a.bed").write_text("track name=x\nbrowser position\n#c\n" + lines)
    (tmp_path / "a.BED.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.txt").write_text("#chrom\tfrom\tto\n" + lines.replace("\n", "\r\n"))
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(b"chrom\tpos\n" + lines.encode()))
    (tmp_path / "sites.vcf").write_text("##x\n1\t10\trs1\tA\tG\n2\t7\n")
    zero, one = [("1", 10, 20), ("2", 5, 6)], [("1", 9, 20), ("2", 4, 6)]
    for name in ("a.bed", "a.BED.gz"):
        assert read_regions_file(tmp_path / name).intervals.rows() == zero
    for name in ("a.txt", "b.tsv.gz"):
        assert read_regions_file(tmp_path / name).intervals.rows() == one
    assert read_regions_file(tmp_path / "sites.vcf").intervals.rows() == [("1", 9, 10), ("2", 6, 7)]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.bed", "1\t5\t9\n1\t5\n", 2),
        ("a.bed", "1\t9\t5\n", 1),
        ("a.bed", "#c\n1\tx\t5\n", 2),
        ("a.bed", "1\t5\t9\nchrom\tstart\tend\n", 2),
        ("a.txt", "1\t0\t9\n", 1),
        ("a.txt", "1\t9\t5\n", 1),
        ("a.txt", "1\t5\n\n1\n", 3),
        ("a.txt", "1\t-5\t7\n", 1),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, name: str, text: str, line: int) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_regions_file(path)
    assert caught.value.where == f"{path}:{line}"


def test_a_file_without_regions_or_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bed"
    path.write_text("# nothing\n")
    with pytest.raises(FormatError, match="holds no region"):
        read_regions_file(path)
    path.write_bytes(gzip.compress(b"1\t5\t9\n" * 1000)[:-5])
    with pytest.raises(TruncatedInputError):
        read_regions_file(path)


def test_contigs_that_the_data_lack_are_named() -> None:
    regions = parse_regions(("1:5", "chrY", "GL1", "chr2"))
    assert regions.missing_contigs(["chr1", "2"]) == ["GL1", "Y"]
