"""PLINK 1 filesets: bits to calls, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomix.errors import FormatError, InputNotFoundError, TruncatedInputError
from genomix.io.convert import convert_genotypes
from genomix.io.plink import open_store

FAM = "f1 a_1 0 0 1 -9\nf2 b 0 0 2 1 0.5 extra\nf2 c a_1 b 0 NA\nf3 d 0 0 2 2\nf3 e 0 0 1 2\n"
BIM = "1 rs1 0 10 A G\n1\trs2\t0\t20\t0\tC\nX rs3 0 5000000 T C\n1 bad 0 -9 A C\n"
# specification's order, lowest bits first: 00 both first allele, 01 missing, 10 heterozygous, 11 both second
ROWS = ([0b11_10_01_00, 0b00_00_00_10], [0xFF, 0x03], [0b00_11_00_11, 0b11], [0, 0])


def fileset(folder: Path, *, bed: bytes | None = None, fam: str = FAM, bim: str = BIM) -> Path:
    packed = bytes([0x6C, 0x1B, 1]) + bytes(b for row in ROWS for b in row)
    (folder / "x.bed").write_bytes(packed if bed is None else bed)
    (folder / "x.bim").write_text(bim)
    (folder / "x.fam").write_text(fam)
    return folder / "x"


def test_bits_become_calls(tmp_path: Path) -> None:
    report = convert_genotypes(fileset(tmp_path), tmp_path / "o")
    assert report.records_left_out == {
        "negative position (PLINK's mark for a variant to ignore)": 1,
        "no ALT": 1,
    }
    store = open_store(tmp_path / "o")
    assert store.variants.select("contig", "position", "variant_id", "ref", "alt").rows() == [
        ("1", 10, "rs1", "G", "A"),
        ("X", 5000000, "rs3", "C", "T"),
    ]
    assert store.read_calls().tolist() == [[2, -9, 1, 0, 1], [0, 2, 0, 2, 0]]
    assert store.samples["sample_id"].to_list() == ["a_1", "b", "c", "d", "e"]
    assert store.samples["sex"].to_list() == [1, 2, 0, 2, 1]
    assert store.samples["FID"].to_list() == ["f1", "f2", "f2", "f3", "f3"]
    assert store.samples["PAT"].to_list() == ["0", "0", "a_1", "0", "0"]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda b: b[:-1], TruncatedInputError, "4 variants of 5 samples need 11"),
        (lambda b: b + b"\0", FormatError, "has 12 bytes"),
        (lambda b: b"\x6c\x1c" + b[2:], FormatError, "does not start as"),
        (lambda b: b[:2] + b"\0" + b[3:], FormatError, "sample-major"),
    ],
)
def test_a_wrong_bed_is_refused(tmp_path: Path, change, kind, message: str) -> None:
    prefix = fileset(tmp_path)
    bed = prefix.with_name("x.bed")
    bed.write_bytes(change(bed.read_bytes()))
    with pytest.raises(kind, match=message):
        convert_genotypes(prefix, tmp_path / "o")


def test_wrong_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"same identifier \(sample no. 2, sample no. 3\)"):
        convert_genotypes(fileset(tmp_path, fam=FAM.replace(" c ", " b ")), tmp_path / "o")
    with pytest.raises(FormatError, match=r"fewer than five columns.*x\.fam:2"):
        convert_genotypes(fileset(tmp_path, fam="f1 a 0 0 1\nf2 b 0\n"), tmp_path / "o")
    with pytest.raises(FormatError, match=r"5 columns, not six.*x\.bim:2"):
        convert_genotypes(fileset(tmp_path, bim=BIM.replace("\trs2\t0", "\trs2")), tmp_path / "o")
    with pytest.raises(FormatError, match=r"position is empty or not readable.*x\.bim:1"):
        convert_genotypes(fileset(tmp_path, bim=BIM.replace(" 10 ", " ten ")), tmp_path / "o")
    fileset(tmp_path)
    (tmp_path / "x.fam").unlink()
    with pytest.raises(InputNotFoundError):
        convert_genotypes(tmp_path / "x.bed", tmp_path / "o")
