"""The VCF readers, one property at a time: normal form, errors with their line, threads, memory, indexes, inputs."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.genotype_format import COMPACT_MISSING, DosageField, OpenOptions
from genomix.io.regions import Regions
from genomix.io.vcf import FORMAT, VcfSource
from genomix.io.vcf_dosages import dosages_of
from tests.unit.io.vcf_readers import assert_same, bgzf_members, outcome, read_all

HEAD = """##fileformat=VCFv4.3
##contig=<ID=chr1,length=248956422>
##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">
##FORMAT=<ID=DS,Number=A,Type=Float,Description="DS">
##FORMAT=<ID=GP,Number=G,Type=Float,Description="GP">
#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT s1 s2 s3 s4
"""
FIRST_RECORD = HEAD.count("\n") + 1
BOTH = pytest.mark.parametrize("reader", ["fast", "reference"])


def vcf(path: Path, records: str) -> Path:
    *meta, columns = HEAD.splitlines()
    lines = [*meta, *("\t".join(r.split(" ")) for r in [columns, *records.splitlines()])]
    path.write_text("\n".join(lines) + "\n")
    return path


def record(position: int, calls: str, *, alt: str = "G", keys: str = "GT", info: str = ".") -> str:
    return f"chr1 {position} . A {alt} 9.50 . {info} {keys} {calls}"


@BOTH
def test_normal_form(tmp_path: Path, reader: str) -> None:
    path = vcf(tmp_path / "a.vcf", "\n".join((
        record(1, "0/1 1/0 0|1 1|0"), record(2, "./. .|. 1|1 0/0"), record(3, "0/. .|1 1 ."),
        record(4, "0/0/1 2/1 2|1 0/2", alt="G,T"),
    )))  # fmt: skip
    block = read_all(path, reader=reader)
    assert block is not None
    assert block.alleles.tolist() == [
        [[0, 1], [0, 1], [0, 1], [1, 0]],
        [[-1, -1], [-1, -1], [1, 1], [0, 0]],
        [[0, -1], [-1, 1], [1, -2], [-1, -2]],
        [[-3, -3], [1, 2], [2, 1], [0, 2]],
    ]
    assert block.phased.tolist() == [
        [False, False, True, True], [False] * 4, [False, True, False, False], [False, False, True, False],
    ]  # fmt: skip
    assert block.records.row(0) == ("chr1", 1, ".", "A", "G", "9.50", ".", ".")


@pytest.mark.parametrize("version", ["4.4", "4.5", "4.10"])
@BOTH
def test_a_mark_before_the_first_allele(tmp_path: Path, reader: str, version: str) -> None:
    """Alleles and phase by section 1.6.2 of VCF 4.4: the first mark is the first allele's."""
    path = vcf(tmp_path / "a.vcf", "\n".join((
        record(1, "/0/1 |0|1 |1|0 /1/0"), record(2, "/0|1 |1/0 0|1 /1|0"), record(3, "/1 |0 /. |."),
        record(4, "|.|. /./. |.|1 /.|1"), record(5, "3:|2|1 3:/2|1 . 4:|1|1", alt="G,T", keys="DP:GT"),
        record(6, "|0|0|1 /0/1/1 |0|2:/ /2/2:|", alt="G,T", keys="GT:XX"),
    )))  # fmt: skip
    path.write_text(path.read_text().replace("VCFv4.3", f"VCFv{version}", 1))
    block = read_all(path, reader=reader)
    assert block is not None
    assert block.alleles.tolist() == [
        [[0, 1], [0, 1], [1, 0], [0, 1]],
        [[0, 1], [0, 1], [0, 1], [0, 1]],
        [[1, -2], [0, -2], [-1, -2], [-1, -2]],
        [[-1, -1], [-1, -1], [-1, 1], [-1, 1]],
        [[2, 1], [1, 2], [-1, -2], [1, 1]],
        [[-3, -3], [-3, -3], [0, 2], [2, 2]],
    ]
    assert block.phased.tolist() == [
        [False, True, True, False], [False, False, True, False], [False] * 4, [False, False, True, False],
        [True, False, False, False], [False, False, True, False],
    ]  # fmt: skip


def test_marks_before_first_alleles_are_read_by_kernels(tmp_path: Path) -> None:
    path = vcf(tmp_path / "a.vcf", "\n".join((record(1, "/0/1 |0|1 |1|0 /1/0"), record(2, "/1 |. /0|1 1"))))
    path.write_text(path.read_text().replace("VCFv4.3", "VCFv4.4", 1))
    with VcfSource(path, OpenOptions(reader="fast")) as source:
        list(source.blocks())
        assert source.n_handed == 0


@pytest.mark.parametrize(
    ("version", "calls", "message"),
    [
        ("4.3", "0/1 0/1 |0|1 /1", "starts with a phasing mark, which VCF has from version 4.4 on (sample no. 3)"),
        ("4.3", "0/1 0/x |0|1 0/1", "starts with a phasing mark, which VCF has from version 4.4 on (sample no. 3)"),
        ("4.3", "0/1 0/x 0|1 0/1", "cannot be parsed"),
        ("4.4", "0/1 //1 0|1 0/1", "cannot be parsed"),
        ("4.4", "0/1 |/1 0|1 0/1", "cannot be parsed"),
        ("4.4", "0/1 / 0|1 0/1", "cannot be parsed"),
        ("4.4", "0/1 /1/ 0|1 0/1", "cannot be parsed"),
        ("4.4", "0/1 /0/2 0|1 0/1", "names an allele"),
        ("4.4", "0/1 /0/70000 0|1 0/1", "names an allele"),
    ],
)
@BOTH
def test_marks_that_no_call_has(tmp_path: Path, reader: str, version: str, calls: str, message: str) -> None:
    path = vcf(tmp_path / "a.vcf", f"{record(1, '0/1 0/1 0/1 0/1')}\n{record(2, calls)}")
    path.write_text(path.read_text().replace("VCFv4.3", f"VCFv{version}", 1))
    with pytest.raises(FormatError) as caught:
        read_all(path, reader=reader)
    assert message in str(caught.value)
    assert f"a.vcf:{FIRST_RECORD + 1}" in str(caught.value)


def test_compact_codes(tmp_path: Path) -> None:
    path = vcf(tmp_path / "a.vcf", "\n".join((
        record(1, "0/0 0/1 1/1 ./."), record(2, "0|0 0|1 1|0 .|."), record(3, "0|1 0/1 1|1 .|."),
        record(4, "0/1:3 1|0 ./.:. 1/1:4", keys="GT:DP"), record(5, "0 0/1 1/1 ./."),
    )))  # fmt: skip
    with VcfSource(path, OpenOptions(reader="fast")) as source:
        (block,) = source.blocks()
        assert source.n_handed == 0
        assert source.n_records is None
    assert block.is_compact.tolist() == [True, True, True, True, False]
    m = COMPACT_MISSING
    assert block.compact.tolist() == [[0, 1, 2, m], [0, 3, 4, m], [3, 1, 2, m], [1, 4, m, 2]]


@BOTH
@pytest.mark.parametrize(
    ("field", "dosages"),
    [("auto", [[None] * 4, [0.25, None, None, 2]]), ("GT", None), ("DS", [[0.5, None, 1, None], [0.25, None, None, 2]]),
     ("GP", [[0.75, None, None, None], [0.25, None, None, 2]])],
)  # fmt: skip
def test_dosage_fields(tmp_path: Path, reader: str, field: str, dosages: list[list[float | None]] | None) -> None:
    path = vcf(tmp_path / "a.vcf", "\n".join((
        record(1, "0/1:0.5:0.5,0.25,0.25 0/0:.:. 0/0:1 1/1", keys="GT:DS:GP"), record(2, "0.25 . . 2", keys="DS"),
    )))  # fmt: skip
    block = read_all(path, reader=reader, dosage_field=field)
    assert block is not None
    assert block.without_calls.tolist() == [False, True]
    assert block.alleles[0, 0].tolist() == [0, 1]
    if dosages is None:
        assert block.dosages is None
        return
    assert block.dosages is not None
    expected = np.array([[np.nan if v is None else v for v in row] for row in dosages], dtype=np.float32)
    np.testing.assert_array_equal(block.dosages, expected)


@BOTH
@pytest.mark.parametrize(
    ("field", "keys", "calls", "dosages"),
    [
        ("DS", "GT:DS", "1:0.9 0:0.1 0/1:1.2 .:.", [1.8, 0.2, 1.2, None]),
        ("GP", "GT:GP", "1:0.1,0.9 0:1,0 0/1:0,0.8,0.2 0/0:0,0,0", [1.8, 0, 1.2, None]),
        ("DS", "DS", "2.004 -0.002 . 0", [2, 0, None, 0]),  # rounding of the writer
    ],
)
def test_dosages_are_copies_of_two(
    tmp_path: Path, reader: str, field: str, keys: str, calls: str, dosages: list[float | None]
) -> None:
    block = read_all(vcf(tmp_path / "a.vcf", record(1, calls, keys=keys)), reader=reader, dosage_field=field)
    assert block is not None
    assert block.dosages is not None
    expected = np.array([np.nan if v is None else v for v in dosages], dtype=np.float32)
    np.testing.assert_allclose(block.dosages[0], expected, atol=1e-6)


@BOTH
@pytest.mark.parametrize(
    ("field", "bad"),
    [("DS", "1/1:2.3"), ("DS", "1/1:-0.2"), ("DS", "1:1.2"), ("GP", "0/1:0.5,0.1,0.1"), ("GP", "1:2,0")],
)
def test_what_is_no_dosage_is_refused(tmp_path: Path, reader: str, field: str, bad: str) -> None:
    path = vcf(tmp_path / "a.vcf", record(1, f"0/0:. {bad} 0/0:. 0/0:.", keys=f"GT:{field}"))
    with pytest.raises(FormatError, match=rf"{field} is no .*sample no. 2.*a.vcf:\d+.*--dosage GT"):
        read_all(path, reader=reader, dosage_field=field)


@BOTH
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("chr1 x . A C . . . GT 0/0 0/0 0/0 0/0", "position 'x' is not a number"),
        ("chr1 3000000000 . A C . . . GT 0/0 0/0 0/0 0/0", "larger than VCF allows"),
        ("chr1 1 . A C . . . GT 0/0 0/0 0/0", "12 columns, the header 13"),
        ("chr1 1 . A C . . . GT 0/0 0/0 0/0 0/0 0/0", "14 columns, the header 13"),
        ("c,r 1 . A C . . . GT 0/0 0/0 0/0 0/0", "holds what VCF forbids"),
        ("<c 1 . A C . . . GT 0/0 0/0 0/0 0/0", "holds what VCF forbids"),
        ("chr1 1 . . C . . . GT 0/0 0/0 0/0 0/0", "REF or ALT is empty"),
        ("chr1 1 . A C . . . GT 0/0 0/2 0/0 0/0", r"it has 1 ALT\) \(sample no. 2\)"),
        ("chr1 1 . A C . . . GT 0/0 65536/0 0/0 0/0", r"it has 1 ALT\) \(sample no. 2\)"),
        ("chr1 1 . A C . . . GT 0/0 0/Q 0/0 0/0", "cannot be parsed"),
        ("chr1 1 . A C . . . GT 0/0:1 0/0 0/0 0/0", "cannot be parsed"),
        ("chr1 1 . A C . . . GT:GT 0/0 0/0 0/0 0/0", "FORMAT names GT twice"),
        ("\nchr1 1 . A C . . . GT 0/0 0/0 0/0 0/0", "there is an empty line"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(tmp_path: Path, reader: str, bad: str, message: str) -> None:
    path = vcf(tmp_path / "a.vcf", "\n".join((record(1, "0/0 0/1 0/1 0/0"), bad, record(1, "0/0 0/1 0/1 0/0"))))
    with pytest.raises(FormatError, match=message) as caught:
        read_all(path, reader=reader)
    assert caught.value.where == f"{path}:{FIRST_RECORD + 1}"
    assert "s2" not in caught.value.what


@BOTH
def test_text_that_is_not_utf8_is_refused(tmp_path: Path, reader: str) -> None:
    path = vcf(tmp_path / "a.vcf", record(1, "0/0 0/0 0/0 0/0", info="X=y"))
    path.write_bytes(path.read_bytes().replace(b"X=y", b"R2=\xff"))
    with pytest.raises(FormatError, match="not UTF-8"):
        read_all(path, reader=reader)


def big_text(n: int, n_samples: int = 200, step: int = 1) -> bytes:
    rng = np.random.default_rng(3)
    calls = np.array(["0/0", "0/1", "1|1", "1|0", "./."])
    names = "\t".join(f"s{i}" for i in range(n_samples))
    lines = ["##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + names + "\n"]
    rows = ["\t".join(calls[rng.integers(0, 5, n_samples)]) for _ in range(50)]
    for i in range(n):
        alt = "G,T" if i % 17 == 0 else "G"
        lines.append(f"1\t{i * step + 1}\trs{i}\tA\t{alt}\t.\tPASS\tR2=0.{i % 10}\tGT\t{rows[i % 50]}\n")
    return "".join(lines).encode()


def test_blocks_do_not_depend_on_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genomix.io.vcf_pieces.PIECE_BYTES", 200_000)
    text = big_text(3000)
    for name, data in (("a.vcf.gz", b"".join(bgzf_members(text, 60_000, 1))), ("b.vcf.gz", gzip.compress(text, 1))):
        path = tmp_path / name
        path.write_bytes(data)
        whole = []
        for threads in (1, 2, 5):
            with VcfSource(path, OpenOptions(reader="fast", threads=threads)) as source:
                whole.append(list(source.blocks()))
        assert len(whole[0]) > 2
        for other in whole[1:]:
            assert [b.n_records for b in other] == [b.n_records for b in whole[0]]
            for x, y in zip(whole[0], other, strict=True):
                assert_same(x, y)
                assert x.compact.tobytes() == y.compact.tobytes()
        assert_same(read_all(path, reader="reference"), read_all(path, reader="fast"))


def test_lines_longer_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genomix.io.vcf_pieces.PIECE_BYTES", 1000)
    path = tmp_path / "a.vcf.gz"
    text = big_text(40, 900) + b"1\t9\t.\tA\tG\t.\t.\t" + b"X=" + b"y" * 100_000 + b"\tGT" + b"\t0/1" * 900
    path.write_bytes(b"".join(bgzf_members(text, 700)))
    fast, reference = (read_all(path, reader=r, info_keys=("*",)) for r in ("fast", "reference"))
    assert fast is not None
    assert fast.n_records == 41
    assert_same(fast, reference)


PEAK = """
import resource, sys
from pathlib import Path
import genomix.io.vcf_pieces as pieces
pieces.PIECE_BYTES = 1 << 20
from genomix.io.vcf import VcfSource
from genomix.io.genotype_format import OpenOptions
before = n = 0
with VcfSource(Path(sys.argv[1]), OpenOptions(reader="fast", threads=2)) as source:
    for block in source.blocks():
        n += block.n_records
        if not before:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(n, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_bounded_by_pieces_and_threads(tmp_path: Path) -> None:
    """Forty times a piece is read in the memory that the docstring states for 2 threads and pieces of 1 MiB."""
    path = tmp_path / "a.vcf.gz"
    text = big_text(50_000)
    assert len(text) > 39 << 20
    path.write_bytes(b"".join(bgzf_members(text, 65_000, 1)))
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    n, before, after = map(int, done.stdout.split())
    assert n == 50_000
    assert after - before < (2 + 2) * 10 * 1024, f"{(after - before) >> 10} MiB more than after the first block"


@BOTH
def test_standard_input_of_every_kind(tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = big_text(50)
    path = tmp_path / "a.vcf"
    path.write_bytes(text)
    expected = read_all(path)
    for data in (text, gzip.compress(text), b"".join(bgzf_members(text))):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        assert_same(read_all(Path("-"), reader=reader), expected)


@BOTH
@pytest.mark.external_tool
@pytest.mark.parametrize("arguments", [["-t"], []])
def test_an_index_leaves_out_other_blocks(tmp_path: Path, reader: str, bcftools: str, arguments: list[str]) -> None:
    text = big_text(20_000, 20, step=50)
    (tmp_path / "a.vcf").write_bytes(text.replace(b"\n1\t", b"\nchr1\t"))
    path = tmp_path / "a.vcf.gz"
    subprocess.run([bcftools, "view", "-Oz", "-o", path, tmp_path / "a.vcf"], check=True, capture_output=True)
    intervals = pl.DataFrame({"contig": ["1", "1", "2"], "start": [99, 900_000, 5], "end": [300, 900_101, 9]})
    regions = Regions(intervals)
    whole = read_all(path, reader=reader)
    subprocess.run([bcftools, "index", *arguments, path], check=True)
    found = read_all(path, reader=reader, regions=regions)
    assert whole is not None
    assert found is not None
    assert found.n_records < whole.n_records / 2
    positions = found.records["position"].to_list()
    assert positions == sorted(set(positions)), "each once, in file order"
    wanted = [101, 151, 201, 251, 900_001, 900_051, 900_101]
    assert set(wanted) <= set(positions)
    rows = [positions.index(p) for p in wanted]
    assert np.array_equal(found.alleles[rows], whole.alleles[[p // 50 for p in wanted]])


@pytest.mark.external_tool
def test_a_bcf_index_gives_each_record_once(tmp_path: Path, bcftools: str) -> None:
    lines = [record(10 * i, "0/0 0/1 1/1 ./.") for i in range(1, 50)]
    lines[20] = f"chr1 210 long {'A' * 100} G . . . GT 0/1 0/1 0/1 0/1"
    vcf(tmp_path / "a.vcf", "\n".join(lines))
    path = tmp_path / "a.bcf"
    subprocess.run([bcftools, "view", "-Ob", "-o", path, tmp_path / "a.vcf"], check=True, capture_output=True)
    subprocess.run([bcftools, "index", path], check=True)
    intervals = pl.DataFrame({"contig": ["1", "1"], "start": [214, 249], "end": [225, 300]})
    found = read_all(path, regions=Regions(intervals))
    assert found is not None
    assert found.records["position"].to_list() == [210, 220, 250, 260, 270, 280, 290, 300]


def test_records_alone(tmp_path: Path) -> None:
    path = vcf(tmp_path / "a.vcf", "\n".join((record(1, "0/0 0/1 1/1 ./.", info="A=1;R2=3"), record(2, "0 1 1 0"))))
    for reader in ("fast", "reference"):
        whole = read_all(path, reader=reader)
        assert whole is not None
        with VcfSource(path, OpenOptions(reader=reader)) as source:
            assert source.records().equals(whole.records)
    with pytest.raises(InputNotFoundError):
        FORMAT.open(tmp_path / "nothing.vcf")


def test_auto_takes_the_fast_reader_for_large_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.vcf"
    path.write_bytes(big_text(10))
    assert not VcfSource(path).is_fast
    monkeypatch.setattr("genomix.io.vcf.FAST_FROM_PLAIN", 100)
    assert VcfSource(path).is_fast
    assert isinstance(outcome(path), type(read_all(path)))


@BOTH
@pytest.mark.external_tool
def test_a_key_without_any_value_is_missing(tmp_path: Path, reader: str, bcftools: str) -> None:
    """htslib ends the process when asked for such values (FORMAT DS:GT where every sample leaves GT out)."""
    lines = [record(1, "0.5 1 . 2", keys="DS:GT"), record(2, "0/1 0/0 . 1/1", keys="GT:GP")]
    path = vcf(tmp_path / "a.vcf", "\n".join(lines))
    subprocess.run([bcftools, "view", "-Ob", "-o", tmp_path / "a.bcf", path], check=True, capture_output=True)
    for name in ("a.vcf", "a.bcf"):
        block = read_all(tmp_path / name, reader=reader, dosage_field="GP")
        assert block is not None
        assert block.alleles[0].tolist() == [[-1, -2]] * 4
        assert block.alleles[1].tolist() == [[0, 1], [0, 0], [-1, -2], [1, 1]]
        assert block.dosages is None or np.isnan(block.dosages).all()


@pytest.mark.external_tool
@pytest.mark.parametrize("field", ["auto", "GT", "DS", "GP"])
@pytest.mark.parametrize("split", [True, False])
def test_dosages_of_several_alts_by_every_reader(
    tmp_path: Path, bcftools: str, split: bool, field: DosageField
) -> None:
    """VCF and BCF, each by both readers; what they hold is worked out by hand."""
    six = "0.1,0.2,0.3,0.1,0.2,0.1"
    lines = [
        record(1, "0.25,1 2,0 . 0.5,.", alt="G,T", keys="DS"),
        record(2, "0/1:0.75,0 1:0.5,0.25 .:.,. 2/2:0,2", alt="G,T", keys="GT:DS"),
        record(3, f"{six} 0,0,1,0,0,0 0,0,1 .", alt="G,T", keys="GP"),
        record(4, "0/1:0.5 1/1:1 0/0:0 0/2:1", alt="G,T", keys="GT:DS"),
        record(5, "0/1:. 1/1:. 0/0:. 0/2:.", alt="G,T", keys="GT:DS"),
        record(6, "0.5 1.5 0 2", keys="DS"),
    ]
    path = vcf(tmp_path / "a.vcf", "\n".join(lines))
    # a DS of record 4 has too few values for Number=A
    path.write_text(path.read_text().replace("ID=DS,Number=A", "ID=DS,Number=.").replace("GP,Number=G", "GP,Number=."))
    packed = tmp_path / "a.bcf"
    subprocess.run([bcftools, "view", "-Ob", "-o", packed, path], check=True, capture_output=True)
    block = read_all(path, reader="reference", dosage_field=field, split_dosages=split)
    assert block is not None
    for source, reader, size in ((path, "fast", 1), (packed, "fast", None), (packed, "reference", 2)):
        found = read_all(source, reader=reader, dosage_field=field, split_dosages=split, block_size=size)
        assert found is not None
        assert_same(replace(found, fixed=block.fixed), block)
    n = None
    held: dict[int, list[list[float | None]]] = {
        0: [[0.25, 2, n, 0.5], [1, 0, n, n]],
        1: [[0.75, 1, n, 0], [0, 0.5, n, 2]],  # of a haploid call twice the share
        2: [[0.2 + 2 * 0.3 + 0.2, 2, 0, n], [0.1 + 0.2 + 2 * 0.1, 0, 2, n]],
    }
    rows, lost = {"auto": ([0], []), "GT": ([], []), "DS": ([0, 1], [3]), "GP": ([0, 2], [])}[field]
    if not split:
        rows, lost = [], sorted(rows + lost)
    assert (block.alt_dosages.rows.tolist() if block.alt_dosages else []) == rows
    assert (np.flatnonzero(block.lost_dosages).tolist() if block.lost_dosages is not None else []) == lost
    if block.alt_dosages is not None:
        expected = np.array([row for i in rows for row in held[i]], dtype=np.float32)
        assert np.allclose(block.alt_dosages.values, expected, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("n_alts", [1, 2, 3, 7])
def test_expected_copies_are_those_of_a_loop_over_genotypes(n_alts: int) -> None:
    rng = np.random.default_rng(n_alts)
    pairs = [(a, b) for b in range(n_alts + 1) for a in range(b + 1)]  # the order of VCF, section 1.6.2, GL
    given = np.full((9, len(pairs)), np.nan)
    expected = np.full((n_alts, 9), np.nan)
    for sample in range(8):
        sets = [(a,) for a in range(n_alts + 1)] if sample < 2 else pairs
        given[sample, : len(sets)] = rng.dirichlet(np.ones(len(sets)))
        for alt in range(1, n_alts + 1):
            copies = [genotype.count(alt) * (2 / len(genotype)) for genotype in sets]
            expected[alt - 1, sample] = np.dot(copies, given[sample, : len(sets)])
    told = SimpleNamespace(format=lambda _: given)
    found, understood = dosages_of(told, "GP", np.zeros(9, dtype=np.bool_), n_alts, 0)
    assert understood
    assert np.allclose(found, expected, atol=1e-6, equal_nan=True)


def test_bcf_of_every_kind_by_both_readers(tmp_path: Path, bcftools: str) -> None:
    """Long alleles and names, several filters, no filter, many ALTs, haploid, half and tetraploid calls, no GT."""
    lines = [
        record(1, "0/1 1|0 ./. 1/1"), record(2, "0 1 . 0/1"), record(3, "0/1/1 0 0/0 ./."), record(4, "0/. .|1 1 0"),
        record(5, "0/11 10|2 0/0 1/1", alt=",".join("ACGT"[i % 4] * (i + 2) for i in range(11))),
        record(6, "0/1 0/0 1|1 0|1", alt="G" * 300), record(7, "0.5 1 . 2", keys="DS"),
        record(8, "0/0 0/0 ./. 0/0", alt="."),
        "chr1 9 a_long_identifier_indeed A G 1e-7 q10;s50 . GT:DS 0/1:1 0/0:. 1/1 0|1:0.1",
    ]  # fmt: skip
    path = vcf(tmp_path / "a.vcf", "\n".join(lines))
    filters = '##FILTER=<ID=q10,Description="q">\n##FILTER=<ID=s50,Description="s">\n#CHROM'
    path.write_text(path.read_text().replace("#CHROM", filters))
    subprocess.run([bcftools, "view", "-Ob", "-o", tmp_path / "a.bcf", path], check=True, capture_output=True)
    text = read_all(path, reader="reference")
    assert text is not None
    for size in (None, 1, 4):
        fast = read_all(tmp_path / "a.bcf", reader="fast", block_size=size)
        assert_same(fast, read_all(tmp_path / "a.bcf", reader="reference"))
        assert fast is not None
        assert np.array_equal(fast.alleles, text.alleles)
        assert fast.records.drop("quality").equals(text.records.drop("quality"))
