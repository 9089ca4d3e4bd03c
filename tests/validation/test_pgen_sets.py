"""The pgen sets of plink2's own tests, as our store and source read them, against plink2's expected and fresh exports.

The expected exports (``*.want.zst``) were made by plink2's author; fresh ones by PLINK v2.00a3.5 (9 Aug 2022).
"""

from __future__ import annotations

import gzip
import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from genomix.io.convert import convert_genotypes
from genomix.io.genotype_format import GenotypeBlock, OpenOptions
from genomix.io.plink import FORMAT, open_store
from genomix.io.plink_tables import read_bytes

pytestmark = [pytest.mark.real_data]

VCF_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT")
SETS = "plink-ng-1000g-chr21"
ONE_WAY = f"{SETS}/Tests/TEST_ONE_WAY_EXPORT"
PHASED = f"{SETS}/Tests/TEST_PHASED_VCF"
START = f"{SETS}/pgenlibr/inst/extdata/chr21_phase3_start"
ALL = (f"{ONE_WAY}/all_ploidy", f"{PHASED}/mt_mixed_phase", START)


def whole(prefix: Path) -> tuple[pl.DataFrame, GenotypeBlock, pl.DataFrame]:
    """Return the samples, all records in one block, and the records."""
    with FORMAT.open(prefix, OpenOptions(block_size=10_000)) as source:
        (block,) = source.blocks()
        return source.header.samples, block.general(), block.records


def alleles_of(records: pl.DataFrame) -> list[list[str]]:
    return [[ref, *alt.split(",")] for ref, alt in records.select("ref", "alt").iter_rows()]


def snps(records: pl.DataFrame) -> list[int]:
    """Records with one ALT, whose alleles are single bases (``N`` counts)."""
    return [i for i, a in enumerate(alleles_of(records)) if len(a) == 2 and all(len(x) == 1 for x in a)]


def phylip(path: Path) -> tuple[int, list[str], list[str]]:
    first, *lines = read_bytes(path).decode().splitlines()
    rows = [line.split() for line in lines]
    return int(first.split()[1]), [r[0] for r in rows], [r[1] for r in rows]


def test_allele_counts_equal_the_expected_export(real_data: Path) -> None:
    """Copies of REF at all 601 records of X, Y, MT and the PARs; plink2 blanks what females have on Y."""
    table = pl.read_csv(
        io.BytesIO(read_bytes(real_data / ONE_WAY / "plink2_test.raw.want.zst")), separator="\t", infer_schema=False
    )
    store = open_store(real_data / ONE_WAY / "all_ploidy")
    assert table["IID"].to_list() == store.samples["sample_id"].to_list()
    assert table["SEX"].cast(pl.Int8).to_list() == store.samples["sex"].to_list()
    columns = table.columns[6:]
    first = store.variants.filter(pl.col("allele") == 1)
    assert columns == [f"{n}_{r}" for n, r in first.select("variant_id", "ref").iter_rows()]
    rows = np.flatnonzero((store.variants["allele"] == 1).to_numpy())
    found = store.read_calls(rows, reference=True).astype(np.int64)
    expected = table.select(pl.col(columns).replace("NA", "-9").cast(pl.Int64)).to_numpy().T
    blank = (first["contig"] == "Y").to_numpy()[:, None] & (store.samples["sex"] != 1).to_numpy()
    assert (expected[blank] == -9).all()
    assert np.array_equal(np.where(blank, -9, found), expected)


def test_haplotypes_of_females_equal_the_expected_export(real_data: Path) -> None:
    """1,270 females, both haplotypes at the 547 SNPs of X and the PARs: phase and its order are the file's."""
    n_sites, names, sequences = phylip(real_data / ONE_WAY / "plink2_test.phased.phy.want.zst")
    samples, block, records = whole(real_data / ONE_WAY / "all_ploidy")
    diploid = records["contig"].is_in(["X", "PAR1", "PAR2"]).to_numpy()
    sites = [i for i in snps(records) if diploid[i]]
    assert len(sites) == n_sites == 547
    women = np.flatnonzero((samples["sex"] == 2).to_numpy())
    assert names == [f"{samples['sample_id'][int(w)]}_{h}" for w in women for h in "AB"]
    texts = alleles_of(records)
    for k, woman in enumerate(women.tolist()):
        for haplotype in (0, 1):
            codes = block.alleles[sites, woman, haplotype].tolist()
            found = "".join(texts[i][c] if c >= 0 else "N" for i, c in zip(sites, codes, strict=True))
            assert found == sequences[2 * k + haplotype], names[2 * k + haplotype]
    heterozygous = block.alleles[sites][:, women, 0] != block.alleles[sites][:, women, 1]
    assert block.phased[sites][:, women][heterozygous].all()


IUPAC = {"AC": "M", "AG": "R", "AT": "W", "CG": "S", "CT": "Y", "GT": "K"}


def test_unphased_sequences_equal_the_expected_export(real_data: Path) -> None:
    """All 2,504 samples at 563 SNPs, heterozygotes as IUPAC codes."""
    n_sites, names, sequences = phylip(real_data / ONE_WAY / "plink2_test.phy.want.zst")
    samples, block, records = whole(real_data / ONE_WAY / "all_ploidy")
    sites = snps(records)
    assert (len(sites), names) == (n_sites, samples["sample_id"].to_list())
    on_y = (records["contig"] == "Y").to_numpy()[sites]
    texts = [alleles_of(records)[i] for i in sites]
    for j, sequence in enumerate(sequences):
        calls = block.alleles[sites, j].tolist()
        found = "".join(_iupac(text, call) for text, call in zip(texts, calls, strict=True))
        if samples["sex"][j] != 1:
            found = "".join("N" if y else c for y, c in zip(on_y, found, strict=True))
        assert found == sequence, names[j]


def _iupac(alleles: list[str], call: list[int]) -> str:
    if min(call) < 0:
        return "N"
    both = "".join(sorted({alleles[c] for c in call}))
    return both if len(both) == 1 else IUPAC[both]


def test_calls_and_phase_equal_the_text_they_were_made_of(real_data: Path) -> None:
    """The chr21 set against the VCF of the same study, read word by word."""
    samples, block, records = whole(real_data / START)
    keys = {(p, r, a): i for i, (p, r, a) in enumerate(records.select("position", "ref", "alt").iter_rows())}
    compared = 0
    with gzip.open(real_data / PHASED / "1kg_phase3_chr21_start.vcf.gz", "rt") as lines:
        for line in lines:
            words = line.rstrip("\n").split("\t")
            if line.startswith("#CHROM"):
                assert words[9:] == samples["sample_id"].to_list()
            i = None if line.startswith("#") else keys.get((int(words[1]), words[3], words[4]))
            if i is None:
                continue
            expected = np.array([[int(x) for x in w.split(":")[0].split("|")] for w in words[9:]])
            assert np.array_equal(block.alleles[i], expected), words[2]
            heterozygous = expected[:, 0] != expected[:, 1]
            assert block.phased[i][heterozygous].all()
            compared += 1
    assert compared > 400


def vcf_lines(path: Path) -> Iterator[list[str]]:
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            yield line.split("\t")


def exported(plink2: str, prefix: Path, out: Path, *arguments: str, compressed: bool = False) -> Path:
    pfile = [str(prefix), *(["vzs"] if compressed else [])]
    done = subprocess.run(
        [plink2, "--pfile", *pfile, "--threads", "1", "--memory", "2000", "--out", str(out), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.external_tool
@pytest.mark.parametrize("name", ALL)
def test_calls_equal_plink2_s_vcf(real_data: Path, plink2: str, tmp_path: Path, name: str) -> None:
    """Every call of every record, multi-allelic and partly phased ones included; men's X and Y come out haploid."""
    out = exported(plink2, real_data / name, tmp_path / "peer", "--export", "vcf", compressed=True)
    samples, block, records = whole(real_data / name)
    male = (samples["sex"] == 1).to_numpy()
    n = 0
    for i, words in enumerate(vcf_lines(out.with_suffix(".vcf"))):
        assert (int(words[1]), words[2], words[3], words[4]) == records.select(
            "position", "variant_id", "ref", "alt"
        ).row(i)
        found = [_text(c, bool(p)) for c, p in zip(block.alleles[i].tolist(), block.phased[i].tolist(), strict=True)]
        contig = records["contig"][i]
        for j, (expected, own) in enumerate(zip((w.split(":")[0] for w in words[9:]), found, strict=True)):
            if contig == "Y" and not male[j]:
                continue  # plink2 blanks them
            haploid = contig == "MT" or (contig in ("X", "Y") and male[j])
            if haploid and "/" not in expected and "|" not in expected:
                own_alleles = set(own.replace("|", "/").split("/"))
                assert own_alleles == {expected}, (words[2], j)
            else:
                assert _same(own, expected), (words[2], j, own, expected)
        n += 1
    assert n == records.height


def _text(call: list[int], phased: bool) -> str:
    a, b = ("." if c < 0 else str(c) for c in call)
    return f"{a}{'|' if phased else '/'}{b}"


def _same(own: str, expected: str) -> bool:
    """Equal, where the separator of a homozygote (or of a missing call) says nothing."""
    a, b = own.replace("|", "/").split("/")
    return own == expected or (a == b and expected in (f"{a}/{b}", f"{a}|{b}"))


@pytest.mark.external_tool
@pytest.mark.parametrize("name", ALL)
def test_a_fileset_converted_by_us_exports_the_same(real_data: Path, plink2: str, tmp_path: Path, name: str) -> None:
    """plink2 finds nothing wrong with our copy, and exports the same genotypes from it by variant."""
    report = convert_genotypes(real_data / name, tmp_path / "own")
    symbolic = {"symbolic ALT only": 3} if name.endswith("mt_mixed_phase") else {}
    assert report.records_left_out == symbolic
    exported(plink2, tmp_path / "own", tmp_path / "checked", "--validate")
    theirs = exported(plink2, real_data / name, tmp_path / "theirs", "--export", "vcf", compressed=True)
    ours = exported(plink2, tmp_path / "own", tmp_path / "ours", "--export", "vcf")
    left, right = (
        sorted(w[1:5] + w[9:] for w in vcf_lines(out.with_suffix(".vcf")) if not re.fullmatch(r"(<[^>]*>,?)+", w[4]))
        for out in (theirs, ours)
    )
    assert len(left) == report.n_records_written
    assert left == right


def dosage_vcf(path: Path, n: int, m: int, rng: np.random.Generator) -> Path:
    """Random dosages, phased and unphased, some missing, beside hard calls."""
    head = ["##fileformat=VCFv4.3", "##contig=<ID=1>", '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">']
    head += [
        '##FORMAT=<ID=DS,Number=1,Type=Float,Description="d">',
        '##FORMAT=<ID=HDS,Number=2,Type=Float,Description="h">',
    ]
    lines = [*head, "\t".join([*VCF_COLUMNS, *(f"s{j}" for j in range(m))])]
    for i in range(n):
        words = ["1", str(i + 1), f"v{i}", "A", "C", ".", "PASS", ".", "GT:DS:HDS"]
        for _ in range(m):
            h = np.round(rng.beta(0.3, 0.6, size=2), 3)
            words.append("./.:.:.,." if rng.random() < 0.05 else f"./.:{h.sum():.3f}:{h[0]},{h[1]}")
        lines.append("\t".join(words))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.external_tool
@pytest.mark.parametrize("field", ["DS", "HDS"])
def test_dosages_equal_plink2_s_export(plink2: str, tmp_path: Path, field: str) -> None:
    """Calls exactly, dosages as plink2 prints them: the shortest decimals that name a step. Phased ones lose phase."""
    n, m = 30, 40
    source = dosage_vcf(tmp_path / "in.vcf", n, m, np.random.default_rng(5))
    made = [plink2, "--vcf", str(source), f"dosage={field}", "--make-pgen", "--out", str(tmp_path / "set")]
    assert subprocess.run(made, capture_output=True, check=False).returncode == 0
    store = open_store(tmp_path / "set")
    out = exported(plink2, tmp_path / "set", tmp_path / "peer", "--export", "A-transpose")
    table = pl.read_csv(out.with_suffix(".traw"), separator="\t", infer_schema=False)
    counted = table.select(
        pl.exclude("CHR", "SNP", "(C)M", "POS", "COUNTED", "ALT").replace("NA", None).cast(pl.Float64)
    )
    reference: npt.NDArray[np.float64] = counted.to_numpy()
    dosages = store.read_dosages(reference=True).astype(np.float64)
    assert (dosages % 1 != 0).mean() > 0.5
    assert np.allclose(dosages, reference, rtol=0, atol=1 / 32768, equal_nan=True)
    gt = exported(plink2, tmp_path / "set", tmp_path / "calls", "--export", "vcf", "vcf-dosage=GP").with_suffix(".vcf")
    expected = [[_copies(w.split(":")[0]) for w in words[9:]] for words in vcf_lines(gt)]
    assert store.read_calls().tolist() == expected
    convert_genotypes(tmp_path / "set", tmp_path / "again")
    assert np.array_equal(open_store(tmp_path / "again").read_dosages(), store.read_dosages(), equal_nan=True)
    assert open_store(tmp_path / "again").read_calls().tolist() == expected


def _copies(call: str) -> int:
    return -9 if "." in call else call.replace("|", "/").count("1")
