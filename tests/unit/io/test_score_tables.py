"""Frequencies, components and reference scores from files of several makers."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, InputNotFoundError
from genomix.io.score_frequencies import read_frequencies
from genomix.io.score_tables import read_components, read_reference_scores, write_scores


def test_plink2_afreq(tmp_path: Path) -> None:
    text = "#CHROM\tID\tREF\tALT\tALT_FREQS\tOBS_CT\nchr1\trs1\tA\tG,T\t0.25,0.5\t8\nX\trs2\tC\tA\tnan\t0\n"
    for name, data in (("a.afreq", text.encode()), ("a.afreq.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(data)
        assert read_frequencies(tmp_path / name).rows() == [
            ("1", None, "rs1", "A", "G", 0.25), ("1", None, "rs1", "A", "T", 0.5), ("X", None, "rs2", "C", "A", None),
        ]  # fmt: skip


def test_frequencies_as_parquet_and_refusals(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    row = {"contig": "1", "position": 5, "variant_id": "a", "ref": "A", "alt": "G", "alt_frequency": 0.5}
    pl.DataFrame([row]).write_parquet(path)
    assert read_frequencies(path).rows() == [("1", 5, "a", "A", "G", 0.5)]
    for change, message in (({"alt_frequency": 1.5}, "1.5 is not from 0 to 1"), ({"ref": None}, "'ref' is null")):
        pl.DataFrame([row | change], schema_overrides={"ref": pl.String}).write_parquet(path)
        with pytest.raises(FormatError, match=message):
            read_frequencies(path)
    pl.DataFrame([row]).drop("alt_frequency").write_parquet(path)
    with pytest.raises(FormatError, match="no column for alt_frequency"):
        read_frequencies(path)
    pl.DataFrame([row]).drop("position", "variant_id").write_parquet(path)
    with pytest.raises(FormatError, match="neither positions nor IDs"):
        read_frequencies(path)
    with pytest.raises(InputNotFoundError):
        read_frequencies(tmp_path / "none")


def test_components(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_text("#FID\tIID\tPC1\tPC2\tPC3\n0\t007\t1\t2\t3\n0\tb\t4\t5\t6\n")
    assert read_components(path, 2).rows() == [("007", 1.0, 2.0), ("b", 4.0, 5.0)]
    assert read_components(path).columns == ["sample_id", "PC1", "PC2", "PC3"]
    with pytest.raises(FormatError, match="no column PC4"):
        read_components(path, 4)
    path.write_text("IID\tPC1\nb\t1\nb\t2\n")
    with pytest.raises(FormatError, match="names a sample twice"):
        read_components(path)
    path.write_text("name\tPC1\nb\t1\n")
    with pytest.raises(FormatError, match="no column sample_id"):
        read_components(path)


def test_reference_scores(tmp_path: Path) -> None:
    path = tmp_path / "r.tsv"
    path.write_text("IID\tALLELE_CT\tNAMED_ALLELE_DOSAGE_SUM\tS_AVG\tS_SUM\tT_sum\na\t2\t1\t.1\t.2\t3\n")
    assert read_reference_scores(path).to_dicts() == [{"sample_id": "a", "S": 0.2, "T": 3.0}]
    path.write_text("IID\tS\na\t2\n")
    with pytest.raises(FormatError, match="ends in _sum"):
        read_reference_scores(path)


def test_scores_are_written_whole_with_what_lies_beside(tmp_path: Path) -> None:
    frame = pl.DataFrame({"sample_id": ["a"], "S_sum": [0.5]})
    written = write_scores(tmp_path / "out" / "s.v2.tsv", frame, frame, {"scores": []})
    assert [p.name for p in written] == ["s.v2.tsv", "s.v2.matches.tsv", "s.v2.json"]
    assert written[0].read_text() == "sample_id\tS_sum\na\t0.5\n"
    with pytest.raises(ConfigError, match=r"\.parquet or \.tsv"):
        write_scores(tmp_path / "s.xlsx", frame, frame, {})
