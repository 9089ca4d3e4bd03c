"""Conversion accounts for every record and call; truth is parsed from the VCF text by a naive reader in this file."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import FormatError, InputNotFoundError, LinkError
from genomix.io.convert import convert_genotypes
from genomix.io.genotype_format import find_format, genotype_formats, open_genotypes
from genomix.io.load_options import LoadOptions
from genomix.io.plink import open_store

HEADER = """##fileformat=VCFv4.3
##contig=<ID=chr1,length=248956422>
##contig=<ID=chrX,length=156040895>
##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">
##FORMAT=<ID=DS,Number=A,Type=Float,Description="DS">
"""
COLUMNS = "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT"


def vcf(folder: Path, records: str, samples: str = "s_1 s2 s3 s4", header: str = HEADER, name: str = "a.vcf") -> Path:
    """Write a VCF from a table whose columns are separated by spaces."""
    lines = [COLUMNS + " " + samples, *(line for line in records.strip().splitlines())]
    path = folder / name
    path.write_text(header + "\n".join("\t".join(line.split()) for line in lines) + "\n")
    return path


RECORDS = """
chr1 100 plain A G . PASS . GT 0/0 0|1 1/1 ./.
chr1 200 half  A G . PASS . GT ./1 0/. .|1 0/0
chr1 300 multi A G,T . PASS . GT 0/2 1/2 2/2 ./.
chr1 400 star AT A,* . PASS . GT 0/1 1/2 2/2 0/0
chr1 500 sv N <DEL> . PASS . GT 0/1 0/0 1/1 ./.
chr1 600 none A . . PASS . GT 0/0 0/0 0/0 0/0
chr1 700 gone A * . PASS . GT 0/1 0/0 0/0 0/0
chr1 800 dose A G . q10 . DS 0.02 1.1 2 .
chr1 900 nothing A G . PASS . DP 1 2 3 4
chr1 950 one A g . PASS . GT 1 0/1 0 .
chrX 5000000 x A G . PASS . GT 1 0/1 0 .
chrX 100000 par A G . PASS . GT 1 0/1 0 .
chr1 990 tetra A G . PASS . GT 0/0/0/1 0/1 0/1/1 0/0
"""


def test_every_record_and_call_is_accounted_for(tmp_path: Path) -> None:
    report = convert_genotypes(
        vcf(tmp_path, RECORDS), tmp_path / "out" / "a.b", LoadOptions(sex={"s_1": 1, "s2": 2, "s3": 1})
    )
    assert report.build == "GRCh38"
    assert report.build_from == "file"
    assert report.records_left_out == {"no ALT": 1, "spanning deletion only": 1, "symbolic ALT only": 1}
    assert report.n_records_read == report.n_records_written + sum(report.records_left_out.values()) == 13
    assert sum(report.calls.values()) == report.n_records_written * 4
    assert report.calls == {
        "diploid calls kept": 3 + 1 + 3 + 4 + 1 + 1 + 1 + 2,
        "haploid calls doubled": 2,
        "haploid calls set missing": 4,
        "half-calls set missing": 3,
        "calls over ploidy 2 set missing": 2,
        "missing": 5,
        "missing in a record without GT": 1 + 4,
        "dosages kept, hard calls derived": 3,
    }
    assert report.sorted  # 990 stands after X
    store = open_store(tmp_path / "out" / "a.b")
    calls = dict(zip(store.variants.select("position", "alt").iter_rows(), store.read_calls().tolist(), strict=True))
    assert calls == {
        (100, "G"): [0, 1, 2, -9],
        (200, "G"): [-9, -9, -9, 0],
        (300, "G"): [0, 1, 0, -9],
        (300, "T"): [1, 1, 2, -9],
        (400, "A"): [1, 1, 0, 0],
        (800, "G"): [0, 1, 2, -9],
        (900, "G"): [-9] * 4,
        (950, "G"): [-9, 1, -9, -9],
        (990, "G"): [-9, 1, -9, 0],
        (100000, "G"): [-9, 1, -9, -9],
        (5000000, "G"): [2, 1, 0, -9],
    }
    assert store.variants["contig"].unique(maintain_order=True).to_list() == ["1", "X"]
    assert store.samples["sex"].to_list() == [1, 2, 1, 0]
    assert report.n_sex_known == 3
    assert store.samples["sample_id"].to_list() == ["s_1", "s2", "s3", "s4"]  # an underscore is part of the name


def test_reference_copies_and_dosages(tmp_path: Path) -> None:
    convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "a")
    store = open_store(tmp_path / "a.pgen")
    at = {(p, a): i for i, (p, a) in enumerate(store.variants.select("position", "alt").iter_rows())}
    rows = [at[300, "T"], at[400, "A"], at[100, "G"]]
    assert store.read_calls(rows, reference=True).tolist() == [[1, 0, 0, -9], [1, 0, 0, 2], [2, 1, 0, -9]]
    dosages = store.read_dosages([at[800, "G"]])[0]
    np.testing.assert_allclose(dosages[:3], [0.02, 1.1, 2.0], atol=1 / 16384)
    assert np.isnan(dosages[3])
    assert store.read_dosages([at[100, "G"]])[0, :3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("half_call", "haploid", "half", "one"),
    [
        ("missing", "missing", [-9, -9, -9, 0], [-9, 1, -9, -9]),
        ("reference", "double", [1, 0, 1, 0], [2, 1, 0, -9]),
    ],
)
def test_policies(tmp_path: Path, half_call, haploid, half, one) -> None:
    report = convert_genotypes(
        vcf(tmp_path, RECORDS), tmp_path / "a", LoadOptions(half_call=half_call, haploid=haploid)
    )
    assert sum(report.calls.values()) == report.n_records_written * 4
    store = open_store(tmp_path / "a")
    calls = dict(zip(store.variants["position"], store.read_calls().tolist(), strict=True))
    assert calls[200] == half
    assert calls[950] == one


def test_policy_error_names_the_record_and_hides_the_sample(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"half-call.*\(sample no. 1\).*record 2") as caught:
        convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "a", LoadOptions(half_call="error"))
    assert "s_1" not in str(caught.value)
    assert "s_1" in caught.value.render(show_identifiers=True)
    assert not list(tmp_path.glob("*.p*")), "a failure leaves no output"
    assert not list(tmp_path.glob(".tmp-*"))


def test_subsets_in_any_order_equal_the_whole(tmp_path: Path) -> None:
    convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "a")
    store = open_store(tmp_path / "a")
    whole = store.read_calls()
    rows, samples = [7, 2, 3, 2, 0], [3, 0, 0, 2]
    assert (store.read_calls(rows, samples) == whole[np.ix_(rows, samples)]).all()
    parts = list(store.blocks(rows, samples, block_size=2))
    assert [len(p.variants) for p in parts] == [2, 2, 1]
    assert (np.concatenate([p.calls for p in parts]) == whole[np.ix_(rows, samples)]).all()
    with pytest.raises(IndexError):
        store.read_calls([99])
    again = pickle.loads(pickle.dumps(store))
    assert (again.read_calls() == whole).all()
    assert store.read_calls([], [0]).shape == (0, 1)


def test_output_does_not_depend_on_block_size_or_on_the_day(tmp_path: Path) -> None:
    source = vcf(tmp_path, RECORDS)
    for name, size in (("a", None), ("b", 1), ("c", 5)):
        convert_genotypes(source, tmp_path / name, LoadOptions(block_size=size))
    for suffix in (".pgen", ".pvar", ".psam"):
        first, *others = [(tmp_path / f"{n}{suffix}").read_bytes() for n in "abc"]
        assert all(o == first for o in others), suffix


def test_phase_is_kept(tmp_path: Path) -> None:
    convert_genotypes(vcf(tmp_path, "chr1 1 . A C . . . GT 0|1 1|0 0/1 1|1"), tmp_path / "a")
    with open_genotypes(tmp_path / "a") as source:
        block = next(source.blocks()).general()
    assert block.alleles[0].tolist() == [[0, 1], [1, 0], [0, 1], [1, 1]]
    assert block.phased[0, :3].tolist() == [True, True, False]


def test_pgen_to_pgen_is_the_identity(tmp_path: Path) -> None:
    convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "a", LoadOptions(sex={"s2": 2}))
    convert_genotypes(tmp_path / "a", tmp_path / "b")
    for suffix in (".pgen", ".pvar", ".psam"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes(), suffix


def test_extra_columns_travel_in_the_psam(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"sample_id": ["s3", "s_1", "elsewhere"], "sex": [2, 1, 1], "SuperPop": ["AFR", None, "EUR"], "age": [3, 40, 5]}
    )
    convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "a", LoadOptions(sex=table))
    samples = open_store(tmp_path / "a").samples
    assert samples["sex"].to_list() == [1, 0, 2, 0]
    assert samples["SuperPop"].to_list() == [None, None, "AFR", None]
    assert samples["age"].to_list() == ["40", None, "3", None]
    with pytest.raises(LinkError, match="no sample of the table"):
        convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "b", LoadOptions(sex={"other": 1}))
    with pytest.raises(FormatError, match="1 \\(male\\)"):
        convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "b", LoadOptions(sex={"s2": 3}))
    with pytest.raises(LinkError, match=r"twice \(sample no. 1\)"):
        convert_genotypes(
            vcf(tmp_path, RECORDS), tmp_path / "b", LoadOptions(sex=pl.DataFrame({"sample_id": ["s2", "s2"]}))
        )
    bad = pl.DataFrame({"sample_id": ["s2"], "town": ["New York"]})
    with pytest.raises(FormatError, match="white space"):
        convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "b", LoadOptions(sex=bad))


def test_progress_counts_all_records(tmp_path: Path) -> None:
    seen: list[tuple[float, int]] = []
    convert_genotypes(
        vcf(tmp_path, RECORDS), tmp_path / "a", LoadOptions(block_size=5), progress=lambda a, b: seen.append((a, b))
    )
    shares, counts = zip(*seen, strict=True)
    assert counts == (5, 10, 13)
    assert list(shares) == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize(
    ("records", "samples", "message"),
    [
        ("chr1 1 . A C . . . GT 0/0 0/0", "a a", "same identifier"),
        ("chr1 1 . A C . . . GT 0/0", "a b", r"10 columns, the header 11.*a\.vcf:7"),
        ("chr1 1 . A C . . . GT 0/0 0/0 0/1", "a b", r"12 columns, the header 11.*a\.vcf:7"),
        ("chr1 1 . A C . . . GT 0/0 0/0\nchr1 x . A C . . . GT 0/0 0/0", "a b", r"not a number.*a\.vcf:8"),
        ("chr1 1 . A C . . . GT 0/0 0/2", "a b", r"allele that the record does not have.*sample no. 2.*a\.vcf:7"),
        ("chr1 1 . A C . . . GT 0/0 0/Q", "a b", r"cannot be parsed.*a\.vcf:7"),
        ("chr1 1 . A C . . . GT 0/0 0/0\n\nchr1 2 . A C . . . GT 0/0 0/0", "a b", r"empty line.*a\.vcf:8"),
        ("chr1 248956423 . A C . . . GT 0/0 0/0", "a b", "beyond its end in GRCh38"),
        ("chr1 1 . A <DEL> . . . GT 0/0 0/0", "a b", "no record is left to write: 1 symbolic ALT only"),
    ],
)
def test_malformed_input_is_refused_with_its_line(tmp_path: Path, records: str, samples: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        convert_genotypes(vcf(tmp_path, records, samples), tmp_path / "o")


def test_empty_line_at_the_end_does_no_harm(tmp_path: Path) -> None:
    path = vcf(tmp_path, "chr1 1 . A C . . . GT 0/0 0/1", "a b")
    path.write_text(path.read_text() + "\n\n")
    assert convert_genotypes(path, tmp_path / "o").n_records_read == 1


def test_declared_build_is_checked_and_kept(tmp_path: Path) -> None:
    source = vcf(tmp_path, "chr1 1 . A C . . . GT 0/0 0/1", "a b")
    with pytest.raises(FormatError, match=r"GRCh37.*GRCh38"):
        convert_genotypes(source, tmp_path / "o", LoadOptions(build="hg19"))
    plain = vcf(tmp_path, "1 1 . A C . . . GT 0/0 0/1", "a b", header="##fileformat=VCFv4.2\n", name="b.vcf")
    assert convert_genotypes(plain, tmp_path / "p", LoadOptions(build="hg19")).build_from == "declared"
    assert open_store(tmp_path / "p").build == "GRCh37"
    assert convert_genotypes(plain, tmp_path / "q").build == "unknown"
    assert open_store(tmp_path / "q").build == "unknown"


def test_formats_are_found_by_suffix_and_by_prefix(tmp_path: Path) -> None:
    assert set(genotype_formats()) >= {"vcf", "plink1", "plink2"}
    convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "x.y")
    assert find_format(tmp_path / "x.y").name == "plink2"
    assert find_format(Path("a.vcf.gz")).name == "vcf"
    assert find_format(Path("a.bed")).name == "plink1"
    (tmp_path / "x.y.vcf.gz").write_bytes(b"beside the fileset of the same prefix")
    (tmp_path / "x.y.bgen").write_bytes(b"")
    assert find_format(tmp_path / "x.y").name == "plink2"
    (tmp_path / "x.y.pgen").unlink()
    with pytest.raises(InputNotFoundError, match=r"Try: x\.y\.vcf\.gz or x\.y\.bgen"):
        find_format(tmp_path / "x.y")
    with pytest.raises(InputNotFoundError):
        find_format(tmp_path / "nothing")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(FormatError, match="no genotype format"):
        find_format(tmp_path / "a.docx")


def test_a_damaged_pgen_is_refused(tmp_path: Path) -> None:
    convert_genotypes(vcf(tmp_path, RECORDS), tmp_path / "a")
    whole = (tmp_path / "a.pgen").read_bytes()
    for data in (b"", b"no pgen" * 9, whole[:-3]):
        (tmp_path / "a.pgen").write_bytes(data)
        with pytest.raises(FormatError):
            open_store(tmp_path / "a").read_calls()
