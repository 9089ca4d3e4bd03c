"""Left-alignment, splitting, REF checks and regions against bcftools (last run with 1.16)."""

from __future__ import annotations

import gzip
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest

from genomix.io.convert import convert_genotypes
from genomix.io.fasta import Fasta
from genomix.io.genotype_format import (
    HAPLOID,
    MISSING,
    OVER_PLOIDY,
    RECORDS_SCHEMA,
    DosageField,
    GenotypeBlock,
    general_block,
)
from genomix.io.load_options import LoadOptions
from genomix.io.multiallelic import split_block
from genomix.io.normalise import ALIGNED, REF_MISMATCH, left_align
from genomix.io.regions import read_regions_file
from tests.fasta_files import (
    bgzf_bytes,
    random_variants,
    read_sites,
    repetitive_sequence,
    write_fasta,
    write_vcf,
)

pytestmark = pytest.mark.external_tool

SITE = ("contig", "position", "variant_id", "ref", "alt")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def same_sites(found: pl.DataFrame, printed: str) -> None:
    wanted = read_sites(printed).with_columns(pl.col("ref", "alt").str.to_uppercase())
    assert found.select(SITE).sort("variant_id").rows() == wanted.select(SITE).sort("variant_id").rows()


@pytest.mark.parametrize("seed", range(3))
def test_generated_variants_in_repeats_are_realigned_alike(bcftools: str, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    contigs = {f"c{i}": repetitive_sequence(rng, int(rng.integers(50, 12_000))) for i in range(5)}
    path = write_fasta(tmp_path / "a.fa", contigs)
    records = random_variants(rng, contigs, 6000)
    vcf = write_vcf(tmp_path / "a.vcf", records, {n: len(b) for n, b in contigs.items()})
    done = run(bcftools, "norm", "-f", str(path), str(vcf))
    found = left_align(records, Fasta(path))
    same_sites(found.records, done.stdout)
    assert found.records["position"].ne(records["position"]).sum() > 1000
    packed = tmp_path / "b.fa.gz"
    packed.write_bytes(bgzf_bytes(path.read_bytes(), block=1000))
    assert left_align(records, Fasta(packed)).records.equals(found.records)


def test_our_index_is_samtools_index(bcftools: str, tmp_path: Path) -> None:
    contigs = {n: repetitive_sequence(np.random.default_rng(1), k) for n, k in (("a", 1), ("b", 60), ("c|x.1", 1234))}
    path = write_fasta(tmp_path / "a.fa", contigs)
    Fasta(path, save_index=True)
    fai = path.with_name("a.fa.fai")
    ours = fai.read_bytes()
    fai.unlink()
    records = random_variants(np.random.default_rng(1), contigs, 5)
    vcf = write_vcf(tmp_path / "a.vcf", records, {n: len(b) for n, b in contigs.items()})
    run(bcftools, "norm", "-f", str(path), str(vcf))
    assert fai.read_bytes() == ours


def test_ref_mismatches_are_those_of_bcftools_but_for_ambiguity_codes(bcftools: str, tmp_path: Path) -> None:
    bases = "ACGTNRYKMacgtnry"
    path = write_fasta(tmp_path / "a.fa", {"c": bases})
    rows = [("c", p, f"{p}{r}", r, "T" if r == "A" else "A") for p in range(1, len(bases) + 1) for r in "ACGTNR"]
    records = pl.DataFrame(rows, schema=list(SITE), orient="row")
    vcf = write_vcf(tmp_path / "a.vcf", records, {"c": len(bases)})
    done = run(bcftools, "norm", "-c", "w", "-f", str(path), str(vcf))
    lines = [line.split("\t") for line in done.stderr.splitlines() if line.startswith(("REF_MISMATCH", "NON_ACGTN"))]
    wrong = {f"{line[2]}{line[3]}" for line in lines}
    found = left_align(records, Fasta(path))
    ours = set(found.records.filter(found.status == REF_MISMATCH)["variant_id"].to_list())
    meant = {"R": "AG", "Y": "CT", "K": "GT", "M": "AC"}
    ambiguous = {f"{place}{base}" for place, code in enumerate(bases, 1) for base in meant.get(code.upper(), "")}
    assert ours <= wrong
    # bcftools reads each ambiguity code of the FASTA as N; here it stands for the bases that it means
    assert wrong - ours == ambiguous
    refused = subprocess.run([bcftools, "norm", "-f", str(path), str(vcf)], capture_output=True, check=False)
    assert refused.returncode != 0


@pytest.mark.real_data
def test_variants_on_the_e_coli_chromosome_are_realigned_alike(bcftools: str, real_data: Path, tmp_path: Path) -> None:
    text = gzip.decompress((real_data / "ecoli-genome" / "NC_008253.fna.gz").read_bytes())
    path = tmp_path / "e.fa"
    path.write_bytes(text)
    head, _, rest = text.partition(b"\n")
    contigs = {head[1:].split()[0].decode(): rest.replace(b"\n", b"").decode()}
    records = random_variants(np.random.default_rng(5), contigs, 20_000)
    vcf = write_vcf(tmp_path / "a.vcf", records, {n: len(b) for n, b in contigs.items()})
    same_sites(left_align(records, Fasta(path)).records, run(bcftools, "norm", "-f", str(path), str(vcf)).stdout)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    [
        "clinvar-exomiser/exomiser-cli/src/main/resources/vcf/Pfeiffer.vcf.gz",
        "clinvar-exomiser/exomiser-data-genome/src/test/resources/clinvar-test.vcf.gz",
        "slivar-tests/ashk-trio.vcf.gz",
    ],
)
def test_real_alleles_are_realigned_alike(bcftools: str, real_data: Path, tmp_path: Path, name: str) -> None:
    """Real REF and ALT, made longer on both sides, with generated bases between for want of the human sequence."""
    records = read_sites(run(bcftools, "view", "-HG", str(real_data / name)).stdout)
    records = records.filter(pl.col("ref").str.contains("^[ACGT]+$") & (pl.col("alt") != "."))
    rng = np.random.default_rng(2)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    gaps = [gap.tobytes().decode() for gap in letters[rng.integers(0, 4, (records.height + 1, 20))]]
    rows, parts, place = [], [gaps[0]], 20
    for number, (ref, alt) in enumerate(records.select("ref", "alt").iter_rows()):
        before, after = gaps[number][-2:], gaps[number + 1][:3]
        longer = [a if a[0] in "<*" else before + a + after for a in (ref, *alt.split(","))]
        rows.append(("c", place - 1, f"v{number}", longer[0], ",".join(longer[1:])))
        parts += [ref, gaps[number + 1]]
        place += len(ref) + 20
    placed = pl.DataFrame(rows, schema=list(SITE), orient="row")
    path = write_fasta(tmp_path / "a.fa", {"c": "".join(parts)})
    vcf = write_vcf(tmp_path / "a.vcf", placed, {"c": place})
    found = left_align(placed, Fasta(path))
    same_sites(found.records, run(bcftools, "norm", "-f", str(path), str(vcf)).stdout)
    assert (found.status == ALIGNED).mean() > 0.99  # type: ignore[operator]  # a mean of booleans is a number


def block_of(text: str) -> tuple[GenotypeBlock, dict[str, str]]:
    """A VCF's calls by splitting its text, and the Number of each INFO key."""
    numbers: dict[str, str] = {}
    rows, calls, phase, without = [], [], [], []
    for line in text.splitlines():
        if line.startswith("##INFO=<ID="):
            fields = dict(part.split("=", 1) for part in line[8:].split(",")[:2])
            numbers[fields["ID"]] = fields["Number"]
        if line.startswith("#"):
            continue
        columns = line.split("\t")
        rows.append((columns[0], int(columns[1]), *columns[2:8]))
        is_call = len(columns) > 8 and columns[8].split(":")[0] == "GT"
        without.append(not is_call)
        parsed = [_call(c.split(":")[0]) if is_call else ((MISSING, MISSING), False) for c in columns[9:]]
        calls.append([c for c, _ in parsed])
        phase.append([p for _, p in parsed])
    n = len(calls[0]) if calls else 0
    records = pl.DataFrame(rows, schema=RECORDS_SCHEMA, orient="row")
    alleles = np.array(calls, dtype=np.int16).reshape(len(rows), n, 2)
    phased = np.array(phase, dtype=np.bool_).reshape(len(rows), n)
    numbers_in_file = np.arange(len(rows), dtype=np.int64)
    return general_block(numbers_in_file, records, alleles, phased, without_calls=np.array(without)), numbers


def _call(text: str) -> tuple[tuple[int, int], bool]:
    codes = [MISSING if c == "." else int(c) for c in text.replace("|", "/").split("/")]
    if len(codes) > 2:
        return (OVER_PLOIDY, OVER_PLOIDY), False
    return (codes[0], codes[1] if len(codes) == 2 else HAPLOID), "|" in text


SPLIT_FILES = (
    "vcf-odd/odd.vcf",
    "cyvcf2-tests/bug.vcf.gz",
    "cyvcf2-tests/multi-contig.vcf.gz",
    "cyvcf2-tests/o.vcf.gz",
    "cyvcf2-tests/test-multiallelic-homozygous-alt.vcf.gz",
    "cyvcf2-tests/test.mnp.vcf",
    "slivar-tests/bug.vcf",
    "slivar-tests/test-27.vcf.gz",
    "slivar-tests/test.vcf",
)
WRONG_INFO = ("slivar-tests/bug.vcf", "slivar-tests/test.vcf")
"""Files that bcftools refuses to split, since an INFO value has too many or too few parts."""


@pytest.mark.real_data
@pytest.mark.parametrize("name", SPLIT_FILES)
def test_split_records_are_those_of_bcftools(bcftools: str, real_data: Path, name: str) -> None:
    command = ["annotate", "--no-version", "-x", "INFO,^FORMAT/GT"] if name in WRONG_INFO else ["view", "--no-version"]
    lines = run(bcftools, *command, str(real_data / name)).stdout.splitlines()[1:3000]
    contigs = dict.fromkeys(line.split("\t", 1)[0] for line in lines if not line.startswith("#"))
    undeclared = [
        f"##contig=<ID={c}>" for c in contigs if not any(line.startswith(f"##contig=<ID={c},") for line in lines)
    ]
    declared = ["##fileformat=VCFv4.3", '##FILTER=<ID=q10,Description="not declared in the file">', *undeclared]
    assert_split_alike(bcftools, "\n".join([*declared, *lines, ""]))


def test_split_generated_records_are_those_of_bcftools(bcftools: str) -> None:
    rng = np.random.default_rng(11)
    head = [
        "##fileformat=VCFv4.3",
        "##contig=<ID=1>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">',
        '##INFO=<ID=AC,Number=A,Type=Integer,Description="x">',
        '##INFO=<ID=AD,Number=R,Type=Integer,Description="x">',
        '##INFO=<ID=SA,Number=A,Type=String,Description="x">',
        '##INFO=<ID=DP,Number=1,Type=Integer,Description="x">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(f"S{i}" for i in range(7)),
    ]
    rows = []
    for number in range(400):
        alts = rng.permutation(["G", "T", "AT", "<DEL>", "*", "C", "AG", "ATT"])[: int(rng.integers(1, 7))].tolist()
        calls = []
        for _ in range(7):
            codes = [str(c) if c >= 0 else "." for c in rng.integers(-1, len(alts) + 1, int(rng.integers(1, 4)))]
            calls.append(("|" if rng.random() < 0.5 else "/").join(codes))
        counts = rng.integers(0, 99, len(alts) + 1).tolist()
        info = (
            f"AC={','.join(map(str, counts[1:]))};AD={','.join(map(str, counts))};DP={sum(counts)};SA={','.join(alts)}"
        )
        info = info.replace("*", "s").replace("<DEL>", "d")
        rows.append(
            "\t".join(["1", str(100 + number // 3), f"v{number}", "A", ",".join(alts), ".", ".", info, "GT", *calls])
        )
    assert_split_alike(bcftools, "\n".join([*head, *rows, ""]))


@pytest.mark.parametrize("reader", ["fast", "reference"])
@pytest.mark.parametrize("field", ["auto", "DS"])
@pytest.mark.parametrize("seed", [1, 2])
def test_dosages_of_split_records_are_those_of_bcftools(
    bcftools: str, tmp_path: Path, seed: int, field: DosageField, reader: Literal["fast", "reference"]
) -> None:
    """A split conversion writes what bcftools norm -m -any and a plain conversion of its output write, to the byte."""
    rng = np.random.default_rng(seed)
    n_samples = 6
    lines = [
        "##fileformat=VCFv4.3",
        "##contig=<ID=1>",
        "##contig=<ID=X>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">',
        '##FORMAT=<ID=DS,Number=A,Type=Float,Description="x">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(f"S{i}" for i in range(n_samples)),
    ]
    for number in range(300):
        alts = rng.permutation(["G", "T", "AT", "<DEL>", "*", "C", "AG"])[
            : int(rng.choice([1, 1, 2, 2, 3, 6]))
        ].tolist()
        keys = str(rng.choice(["GT:DS", "DS", "GT", "DS:GT"]))
        samples = []
        for _ in range(n_samples):
            ploidy = int(rng.choice([1, 2, 2, 2, 2]))
            codes = [str(c) if c >= 0 else "." for c in rng.integers(-1, len(alts) + 1, ploidy)]
            call = ("|" if rng.random() < 0.5 else "/").join(codes)
            most = 2 if ploidy == 2 or "GT" not in keys else 1
            dose = [f"{d:.3f}" if rng.random() < 0.9 else "." for d in rng.random(len(alts)) * most]
            # of a lone "." for several ALTs bcftools 1.16 makes empty fields, which nobody can read
            told = ",".join(dose if rng.random() < 0.9 else ["."] * len(alts))
            samples.append(keys.replace("GT", call).replace("DS", told))
        contig = "1" if number < 200 else "X"
        lines.append(
            "\t".join([contig, str(100 + number), f"v{number}", "A", ",".join(alts), ".", ".", ".", keys, *samples])
        )
    (tmp_path / "a.vcf").write_text("\n".join([*lines, ""]))
    run(bcftools, "norm", "--no-version", "-m", "-any", "-o", str(tmp_path / "b.vcf"), str(tmp_path / "a.vcf"))
    options = LoadOptions(dosage_field=field, reader=reader)
    ours = convert_genotypes(tmp_path / "a.vcf", tmp_path / "ours", replace(options, multi_allelic="split"))
    theirs = convert_genotypes(tmp_path / "b.vcf", tmp_path / "theirs", options)
    assert ours.calls == theirs.calls
    assert ours.calls["dosages kept, hard calls derived"] > 500
    assert ours.n_records_added > 200
    assert not ours.warnings
    for suffix in (".pgen", ".psam"):
        assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"theirs{suffix}").read_bytes()
    columns = [
        [line.split("\t")[:5] for line in (tmp_path / f"{name}.pvar").read_text().splitlines() if line[0] != "#"]
        for name in ("ours", "theirs")
    ]
    assert columns[0] == columns[1]


def assert_split_alike(bcftools: str, text: str) -> None:
    command = [bcftools, "norm", "--no-version", "-m", "-any", "-"]
    printed = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    block, numbers = block_of(text)
    found = split_block(block, info_numbers=numbers)
    assert found.n_records > block.n_records
    wanted, _ = block_of(printed.stdout)
    # bcftools sorts by position within a window and keeps the order of equal ones
    order = np.lexsort((found.records["position"].to_numpy(), found.records["contig"].rle_id().to_numpy()))
    ours = found.records[order]
    assert ours.select(SITE).rows() == wanted.records.select(SITE).rows()
    assert ours.select("quality", "filter").rows() == wanted.records.select("quality", "filter").rows()
    assert (found.alleles[order] == wanted.alleles).all()
    assert (found.phased[order] == wanted.phased).all()
    for mine, theirs in zip(ours["info"], wanted.records["info"], strict=True):
        assert _comparable(mine, numbers) == _comparable(theirs, numbers)


def _comparable(info: str, numbers: dict[str, str]) -> dict[str, list[str | float]]:
    """INFO values of the keys that are split or repeated, numbers as numbers (bcftools prints floats anew)."""
    fields = dict(part.partition("=")[::2] for part in info.split(";"))
    return {k: [_value(x) for x in v.split(",")] for k, v in fields.items() if numbers.get(k) in ("A", "R", "1")}


def _value(text: str) -> str | float:
    try:
        return float(np.float32(text))
    except ValueError:
        return text


def test_regions_files_choose_the_records_that_bcftools_chooses(bcftools: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    contigs = {n: repetitive_sequence(rng, 4000) for n in ("1", "2", "X")}
    records = random_variants(rng, contigs, 3000)
    vcf = write_vcf(tmp_path / "a.vcf", records, {n: len(b) for n, b in contigs.items()})
    packed = str(tmp_path / "a.bcf")
    run(bcftools, "view", "-Ob", "-o", packed, str(vcf))
    run(bcftools, "index", packed)
    for name, first in (("r.bed", 0), ("r.txt", 1)):
        lines = []
        for _ in range(60):
            start = int(rng.integers(first, 3900))
            lines.append(f"{rng.choice(['1', 'X'])}\t{start}\t{start + int(rng.integers(1, 30))}\n")
        (tmp_path / name).write_text("".join(lines))
        printed = run(bcftools, "view", "-H", "-R", str(tmp_path / name), packed).stdout
        kept = records.filter(pl.Series(read_regions_file(tmp_path / name).overlap(records)))
        assert sorted(kept["variant_id"]) == sorted(set(read_sites(printed)["variant_id"]))
        assert 0 < kept.height < records.height
