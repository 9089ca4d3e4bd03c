"""Our filesets out of BGEN files against plink2's own import of the same files: tables, hard calls, dosages, phase.

Dosages are compared exactly: both sides hold whole steps of 1/16384. Last run with PLINK v2.00a3.5 (9 Aug 2022), which
reads no multi-allelic records, no ploidy above 2 and no probabilities of 29 to 32 bits; for those the ``bgen`` library
is asked.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from genomix.errors import FormatError
from genomix.io.bgen import FORMAT
from genomix.io.convert import convert_genotypes
from genomix.io.genotype_format import OpenOptions
from genomix.io.load_options import LoadOptions
from genomix.io.plink import FORMAT as PGEN
from genomix.io.plink import GenotypeStore, open_store
from tests.bgen_maker import ZLIB, ZSTD, BgenRecord, diploid, unphased_order, write_bgen, write_sample

VCF_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT")
PGS = "pgscatalog-utils/pgscatalog.calc/tests/data/bgen"
FILES = (
    (f"{PGS}/phased/tiny1000G.bgen", f"{PGS}/phased/tiny1000G.sample"),
    (f"{PGS}/unphased/tiny1000G.bgen", None),
    (f"{PGS}/unphased/missing/missing.bgen", f"{PGS}/unphased/missing/missing.sample"),
    ("regenie-example/example.bgen", None),
    ("regenie-example/example_3chr.bgen", "regenie-example/example_3chr.sample"),
    ("regenie-example/example_3chr_zstd.bgen", "regenie-example/example_3chr.sample"),
    ("saige-extdata/input/genotype_100markers_2chr.bgen", "saige-extdata/input/genotype_100markers_2chr.sample"),
)


def plink2_import(plink2: str, source: Path, out: Path, *, ref: str = "first", sample: Path | None = None) -> Path:
    command = [plink2, "--bgen", str(source), f"ref-{ref}", *(["--sample", str(sample)] if sample else [])]
    command += ["--make-pgen", "--threads", "1", "--memory", "2000", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    return out


Phases = dict[str, list[tuple[int, ...]]]
"""Phased heterozygotes by record: sample, first and second allele."""


class Numbers(NamedTuple):
    """Calls and dosages of a store by variant, in one order."""

    calls: npt.NDArray[np.int8]
    dosages: npt.NDArray[np.float32]
    keys: list[tuple[object, ...]]


def numbers(store: GenotypeStore) -> Numbers:
    letters = pl.col("ref", "alt").str.to_uppercase()
    keys = list(store.variants.select("contig", "position", "variant_id", letters).iter_rows())
    order = sorted(range(len(keys)), key=lambda i: (keys[i], i))
    return Numbers(store.read_calls(order), store.read_dosages(order), [keys[i] for i in order])


def assert_same(ours: Path, theirs: Path) -> int:
    """Both filesets hold the same; return how many dosages are not whole."""
    own, peer = numbers(open_store(ours)), numbers(open_store(theirs))
    assert own.keys == peer.keys
    assert np.array_equal(own.calls, peer.calls)
    assert np.array_equal(own.dosages, peer.dosages, equal_nan=True)
    with np.errstate(invalid="ignore"):
        return int((np.nan_to_num(own.dosages) % 1 != 0).sum())


def phases(prefix: Path) -> Phases:
    """Phased heterozygotes of each record: sample, first and second allele."""
    out: Phases = {}
    with PGEN.open(prefix) as source:
        for block in (b.general() for b in source.blocks()):
            het = block.phased & (block.alleles[..., 0] != block.alleles[..., 1])
            for i, name in enumerate(block.records["variant_id"].to_list()):
                where = np.flatnonzero(het[i])
                out[name] = [(int(j), *block.alleles[i, j].tolist()) for j in where]
    return out


@pytest.mark.real_data
@pytest.mark.external_tool
@pytest.mark.parametrize(("bgen", "sample"), FILES)
@pytest.mark.parametrize("ref", ["first", "last"])
def test_real_files_come_out_as_plink2_reads_them(
    real_data: Path, plink2: str, tmp_path: Path, bgen: str, sample: str | None, ref: str
) -> None:
    own_sample = real_data / sample if sample else None
    theirs = plink2_import(plink2, real_data / bgen, tmp_path / "theirs", ref=ref, sample=own_sample)
    options = LoadOptions(build="GRCh38", haploid="double", bgen_ref=ref, sample_file=own_sample)
    report = convert_genotypes(real_data / bgen, tmp_path / "ours", options)
    assert report.records_left_out == {}
    assert_same(tmp_path / "ours", theirs)
    assert_same_phase(tmp_path / "ours", theirs, ref)
    columns = ["sample_id", "sex", *(["FID"] if "example_3chr" in bgen else [])]
    assert open_store(tmp_path / "ours").samples.select(columns).equals(open_store(theirs).samples.select(columns))
    checked = subprocess.run(
        [plink2, "--pfile", str(tmp_path / "ours"), "--validate", "--out", str(tmp_path / "v")],
        capture_output=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0


def reversed_phase(found: Phases) -> Phases:
    return {name: [(j, b, a) for j, a, b in calls] for name, calls in found.items()}


def assert_same_phase(ours: Path, theirs: Path, ref: str) -> None:
    """With ref-first this plink2 swaps the haplotypes of every call (see the test after next): both are taken."""
    own, peer = phases(ours), phases(theirs)
    assert own == peer or (ref == "first" and own == reversed_phase(peer))


@pytest.mark.real_data
def test_haplotypes_are_those_of_the_vcf_that_the_bgen_was_made_of(real_data: Path) -> None:
    """The autosomal variants of 3,202 people: the alleles of each haplotype, by name and not by code.

    On X the BGEN's maker set one man's heterozygous calls missing.
    """
    import cyvcf2

    truth = {}
    for record in cyvcf2.VCF(str(real_data / PGS / "../vcf/tiny1000G.vcf.gz")):
        codes = record.genotype.array()[:, :2]
        codes[codes[:, 1] < 0, 1] = codes[codes[:, 1] < 0, 0]
        truth[record.ID] = np.array([record.REF, *record.ALT])[codes]
    with FORMAT.open(real_data / PGS / "unphased/tiny1000G.bgen") as source:
        n = 0
        for block in (b.general() for b in source.blocks()):
            for i, row in enumerate(block.records.iter_rows(named=True)):
                if row["contig"] == "X":
                    continue
                codes = np.where(block.alleles[i] == -2, block.alleles[i][:, :1], block.alleles[i])
                assert np.array_equal(np.array([row["ref"], row["alt"]])[codes], truth[row["variant_id"]])
                n += 1
    assert n > 950


@pytest.mark.external_tool
def test_plink2_swaps_haplotypes_with_ref_first(plink2: str, tmp_path: Path) -> None:
    """The first haplotype surely has the first allele, so REF|ALT: 0|1 by the specification, which we keep.

    PLINK v2.00a3.5 says 1|0 with ref-first, and (rightly) 1|0 with ref-last, where the alleles change places.
    """
    path = write_bgen(tmp_path / "x.bgen", [diploid([(255, 0)], phased=True)], 1, ids=["s"])
    for ref, expected in (("first", [(0, 0, 1)]), ("last", [(0, 1, 0)])):
        convert_genotypes(path, tmp_path / "ours", LoadOptions(build="GRCh38", bgen_ref=ref))
        assert phases(tmp_path / "ours") == {"rs": expected}
        theirs = phases(plink2_import(plink2, path, tmp_path / "theirs", ref=ref))
        assert theirs == {"rs": expected} or (ref == "first" and theirs == reversed_phase({"rs": expected}))


def rows(n: int) -> list[str]:
    return [f"s{i}" for i in range(n)]


@pytest.mark.external_tool
@pytest.mark.parametrize("ref", ["first", "last"])
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 11, 16, 20, 28])
def test_every_step_is_rounded_as_plink2_rounds_it(plink2: str, tmp_path: Path, bits: int, ref: str) -> None:
    """Up to 11 bits every possible sum of probabilities; above, both ends, powers of two and a random sample."""
    full = 2**bits - 1
    rng = np.random.default_rng(bits)
    if bits <= 11:
        halves = list(range(full + 1))
    else:
        near = [(1 << i) + d for i in range(2, bits) for d in (-2, -1, 0, 1, 2)]
        drawn = rng.integers(0, full + 1, size=2000).tolist()
        halves = sorted({*range(500), *range(full - 500, full + 1), *drawn, *(v for v in near if 0 <= v <= full)})
    pairs: list[tuple[int, ...] | None] = [*((0, h) for h in halves), *((full - h, h) for h in halves), None]
    haplotypes: list[tuple[int, ...] | None] = [*((0, h) for h in halves), *((full, h) for h in halves), None]
    n = len(pairs)
    records = [
        diploid(pairs, bits=bits, rsid="u", position=1),
        diploid(haplotypes, bits=bits, rsid="p", position=2, phased=True),
        BgenRecord(
            ("A", "C"), tuple((h,) for h in [*halves, *halves, 0]), (1,) * n, (False,) * n, False, bits, "X", 5_000_000,
            "h",
        ),
    ]  # fmt: skip
    path = write_bgen(tmp_path / "x.bgen", records, n, ids=rows(n), compression=ZSTD if bits % 2 else ZLIB)
    theirs = plink2_import(plink2, path, tmp_path / "theirs", ref=ref)
    convert_genotypes(path, tmp_path / "ours", LoadOptions(build="GRCh38", bgen_ref=ref))
    fractions = assert_same(tmp_path / "ours", theirs)
    assert fractions == 0 if bits == 1 else fractions > n // 2


@pytest.mark.external_tool
@pytest.mark.parametrize("bits", [8, 16])
def test_mixed_ploidies_come_out_as_plink2_reads_them(plink2: str, tmp_path: Path, bits: int) -> None:
    """Haploid and diploid samples in one record, certain and not, phased and not, on X."""
    rng = np.random.default_rng(bits)
    full, n = 2**bits - 1, 400
    records = []
    for k, (phased, certain) in enumerate([(False, True), (False, False), (True, True), (True, False)]):
        ploidy = tuple(rng.integers(1, 3, size=n).tolist())
        values = []
        for z in ploidy:
            one = [int(v) for v in (rng.choice([0, full], size=2) if certain else rng.integers(0, full + 1, size=2))]
            if z == 2 and not phased:
                one[1] = min(one[1], full - one[0])
            values.append(tuple(one[:z]))
        missing = tuple((rng.random(n) < 0.05).tolist())
        values = [(0,) * z if m else v for v, z, m in zip(values, ploidy, missing, strict=True)]
        records.append(
            BgenRecord(("A", "C"), tuple(values), ploidy, missing, phased, bits, "X", 5_000_000 + k, f"r{k}")
        )
    path = write_bgen(tmp_path / "x.bgen", records, n, ids=rows(n))
    theirs = plink2_import(plink2, path, tmp_path / "theirs")
    convert_genotypes(path, tmp_path / "ours", LoadOptions(build="GRCh38"))
    assert assert_same(tmp_path / "ours", theirs) > 100
    certain = {"r2": phases(tmp_path / "ours")["r2"]}
    assert len(certain["r2"]) > 50
    assert certain["r2"] in (phases(theirs)["r2"], reversed_phase(phases(theirs))["r2"])
    assert phases(tmp_path / "ours")["r3"] == []  # pgenlib writes no phased dosages


@pytest.mark.external_tool
@pytest.mark.parametrize("kind", ["bgen-1.2", "bgen-1.3"])
@pytest.mark.parametrize("bits", [8, 16])
def test_files_that_plink2_writes(plink2: str, tmp_path: Path, kind: str, bits: int) -> None:
    """Dosages out of plink2's own writer, read by us and by plink2."""
    rng = np.random.default_rng(bits)
    n, m = 30, 50
    head = ["##fileformat=VCFv4.3", "##contig=<ID=1>", '##FORMAT=<ID=DS,Number=1,Type=Float,Description="d">']
    lines = [*head, "\t".join([*VCF_COLUMNS, *rows(m)])]
    for i in range(n):
        dosages = [f"{v:.4f}" if v < 1.95 else "." for v in 2 * rng.beta(0.3, 0.8, size=m)]
        lines.append("\t".join(["1", str(i + 1), f"v{i}", "A", "C", ".", "PASS", ".", "DS", *dosages]))
    (tmp_path / "x.vcf").write_text("\n".join(lines) + "\n")
    command = [plink2, "--vcf", str(tmp_path / "x.vcf"), "dosage=DS", "--export", kind, f"bits={bits}", "ref-first"]
    done = subprocess.run([*command, "--out", str(tmp_path / "x")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = plink2_import(plink2, tmp_path / "x.bgen", tmp_path / "theirs", sample=tmp_path / "x.sample")
    convert_genotypes(tmp_path / "x.bgen", tmp_path / "ours", LoadOptions(build="GRCh38"))
    assert assert_same(tmp_path / "ours", theirs) > 500


@pytest.mark.external_tool
def test_what_plink2_does_and_we_do_not(plink2: str, tmp_path: Path) -> None:
    """Haploid calls on an autosome: plink2 doubles them, we set them missing unless told otherwise."""
    record = BgenRecord(("A", "C"), ((255,), (0,), (0, 255)), (1, 1, 2), (False,) * 3, rsid="a")
    path = write_bgen(tmp_path / "x.bgen", [record], 3, ids=rows(3))
    theirs = plink2_import(plink2, path, tmp_path / "theirs")
    assert open_store(theirs).read_calls().tolist() == [[0, 2, 1]]
    convert_genotypes(path, tmp_path / "ours", LoadOptions(build="GRCh38"))
    assert open_store(tmp_path / "ours").read_calls().tolist() == [[-9, -9, 1]]
    convert_genotypes(path, tmp_path / "doubled", LoadOptions(build="GRCh38", haploid="double"))
    assert open_store(tmp_path / "doubled").read_calls().tolist() == [[0, 2, 1]]


@pytest.mark.real_data
def test_the_saige_file_with_missing_calls_equals_its_vcf(real_data: Path, tmp_path: Path) -> None:
    """The BGEN has no identifiers and the VCF beside it the same ten markers."""
    folder = real_data / "saige-extdata" / "input"
    bgen, vcf = folder / "genotype_10markers.missingness.bgen", folder / "genotype_10markers.missingness.vcf"
    lines = [line.split("\t") for line in vcf.read_text().splitlines() if not line.startswith("##")]
    sample = write_sample(tmp_path / "x.sample", lines[0][9:])
    with pytest.raises(FormatError, match=r"has 3 samples, genotype_10markers\.missingness\.bgen has 1000"):
        FORMAT.open(bgen, OpenOptions(sample_file=write_sample(tmp_path / "y.sample", rows(3))))
    with FORMAT.open(bgen, OpenOptions(sample_file=sample)) as source:
        (block,) = source.blocks()
    found = block.general()
    assert found.records["variant_id"].to_list() == [w[2] for w in lines[1:]]
    codes = {".": -1, "0": 0, "1": 1}
    expected = [
        [sorted(codes[a] for a in w.split(":")[0].replace("|", "/").split("/")) for w in words[9:]]
        for words in lines[1:]
    ]
    assert np.sort(found.alleles, axis=2).tolist() == expected


@pytest.mark.real_data
@pytest.mark.parametrize("bgen", [f[0] for f in FILES])
def test_real_files_equal_the_bgen_library(real_data: Path, bgen: str) -> None:
    other = pytest.importorskip("bgen")
    sample = next((s for f, s in FILES if f == bgen), None)
    options = OpenOptions(sample_file=real_data / sample if sample else None)
    with FORMAT.open(real_data / bgen, options) as source, other.BgenReader(str(real_data / bgen)) as reader:
        for block in (b.general() for b in source.blocks()):
            for i in range(block.n_records):
                variant = next(reader)
                alleles = block.alleles[i].astype(float)
                haploid = alleles[:, 1] == -2
                copies = np.where(haploid, alleles[:, 0], alleles.sum(axis=1))
                copies[alleles[:, 0] < 0] = np.nan
                assert variant.rsid == block.records["variant_id"][i]
                assert np.array_equal(copies, variant.alt_dosage, equal_nan=True)


def test_multiallelic_and_polyploid_probabilities_equal_the_bgen_library(tmp_path: Path) -> None:
    """What plink2 refuses: the library's probabilities, multiplied out here, against our calls."""
    other = pytest.importorskip("bgen")
    rng = np.random.default_rng(9)
    records = []
    for k in (3, 4):
        for z in (1, 2):
            order = unphased_order(z, k)
            chosen = rng.integers(0, len(order), size=30)
            values = tuple(tuple(255 * int(c == i) for i in range(len(order) - 1)) for c in chosen)
            records.append(BgenRecord(tuple("ACGT"[:k]), values, (z,) * 30, (False,) * 30, rsid=f"r{k}{z}", position=z))
    path = write_bgen(tmp_path / "x.bgen", records, 30, ids=rows(30))
    with FORMAT.open(path) as source:
        (block,) = source.blocks()
    with other.BgenReader(str(path)) as reader:
        for i, variant in enumerate(reader):
            z = records[i].ploidy[0]
            table = unphased_order(z, len(records[i].alleles))
            expected = [table[j] for j in np.nanargmax(variant.probabilities, axis=1)]
            assert [tuple(a[:z]) for a in block.alleles[i].tolist()] == expected
