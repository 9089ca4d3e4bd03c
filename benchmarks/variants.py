"""What the variant commands cost, beside cyvcf2 and plink2, in one run.

    python benchmarks/variants.py --generator ../shared/bench/gen_vcf.py --work /tmp/variants-benchmark

CPU seconds are user + system time of a whole process, its start included; start-up is also measured apart, on an input
of a few records. "Steady" is the difference between a ten times larger input and the input, over the difference in
genotypes. plink2 computes with OpenBLAS where Debian's ``libopenblas0-pthread`` is installed, because its stock build
uses the reference BLAS.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

# No numerical library is imported here: Linux counts the memory of the process that starts a child in the child's peak.

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.processes import OPENBLAS, best, genomix, run  # noqa: E402 # the path is set above

RESULTS = ROOT / "benchmarks" / "results" / "variants.json"
TIMES = 10
EOF_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
CYVCF2 = """
import sys, cyvcf2
n = 0
for record in cyvcf2.VCF(sys.argv[1]):
    record.genotype.array(); n += 1
print(n)
"""
SECOND = """
import sys, time
from pathlib import Path
{read}
read(Path(sys.argv[1])); begun = time.process_time(); read(Path(sys.argv[1])); print(time.process_time() - begun)
"""
OURS = """
from genomix.io.genotype_format import OpenOptions, open_genotypes
def read(path):
    with open_genotypes(path, OpenOptions()) as source:
        return sum(block.n_records for block in source.blocks())
"""
BARE = """
import cyvcf2
def read(path):
    return sum(record.genotype.array().shape[1] for record in cyvcf2.VCF(str(path)))
"""
STORE = """
import sys, time
from pathlib import Path
import numpy as np
import polars as pl
from genomix.io.plink import open_store
from genomix.variants.qc import sample_qc, variant_qc
from genomix.variants.score_sums import sum_scores
from genomix.variants.scores import match_score
def spent(work):
    begun = time.process_time(); work(); return time.process_time() - begun
store = open_store(Path(sys.argv[1]))
variant_qc(store, samples=np.arange(10))  # loads kernels
table = pl.read_csv(sys.argv[2], separator="\\t", schema_overrides={"contig": pl.String})
match = match_score(table, store.variants)
sum_scores(store, [match._replace(variants=match.variants.head(5))], frequencies=None, compiled=True)
def qc():
    found = variant_qc(store); sample_qc(store)
print(spent(lambda: open_store(Path(sys.argv[1]))), spent(qc), spent(lambda: sum_scores(store, [match], compiled=True)))
"""


# Inputs


class Shape(NamedTuple):
    """A generated set."""

    name: str
    samples: int
    variants: int
    form: str


SHAPES = (
    Shape("gt", 2504, 20_000, "gt"),
    Shape("gt_phased", 2504, 20_000, "gt"),
    Shape("full", 2504, 20_000, "full"),
    Shape("wide", 500, 100_000, "gt"),
)


def make_inputs(generator: Path, work: Path, shapes: Sequence[Shape]) -> None:
    """Write NAME.vcf.gz and NAME_10.vcf.gz (the same records on ten contigs) for each shape."""
    for shape in shapes:
        small, large = work / f"{shape.name}.vcf.gz", work / f"{shape.name}_10.vcf.gz"
        if small.exists() and large.exists():
            continue
        text = work / f"{shape.name}.vcf"
        options = ["1", "phased"] if shape.name.endswith("phased") else []
        run([sys.executable, generator, text, str(shape.samples), str(shape.variants), shape.form, *options])
        _compress(text, small, large)
        text.unlink()


def _compress(text: Path, small: Path, large: Path) -> None:
    data = text.read_bytes()
    start = data.index(b"\n", data.index(b"\n#CHROM") + 1) + 1
    head = re.sub(rb",length=\d+", b"", data[:start])
    body = data[start:]
    del data
    with small.open("wb") as one, large.open("wb") as ten:
        for out in (one, ten):
            out.write(_bgzf(head))
        for k in range(1, TIMES + 1):
            members = _bgzf(body if k == 1 else re.sub(rb"(?m)^chr1\t", b"chr%d\t" % k, body))
            ten.write(members)
            if k == 1:
                one.write(members)
        for out in (one, ten):
            out.write(EOF_BLOCK)


def _bgzf(data: bytes) -> bytes:
    return b"".join(_member(data[i : i + 65280]) for i in range(0, len(data), 65280))


def _member(part: bytes) -> bytes:
    squeezer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = squeezer.compress(part) + squeezer.flush()
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(part), len(part))


# Measurements


def conversion(shape: Shape, work: Path, repeats: int) -> dict[str, Any]:
    """Return the cost of VCF to .pgen, ours and plink2's, on both sizes, and of reading with cyvcf2."""
    out = work / "out"
    costs: dict[str, Any] = {"samples": shape.samples, "variants": [shape.variants, TIMES * shape.variants]}
    for tool in ("genomix", "plink2"):
        used = []
        for suffix in ("", "_10"):
            source = work / f"{shape.name}{suffix}.vcf.gz"
            ours = genomix("variants", "convert", source, "-o", out / "ours", "--quiet", "--threads", "1")
            theirs = ["plink2", "--vcf", source, "--make-pgen", "--out", out / "theirs", "--threads", "1"]
            used.append(best(ours if tool == "genomix" else theirs, repeats=repeats))
        extra = (TIMES - 1) * shape.samples * shape.variants
        costs[tool] = {
            "cpu_seconds": [round(u.cpu_seconds, 2) for u in used],
            "steady_ns_per_genotype": round((used[1].cpu_seconds - used[0].cpu_seconds) / extra * 1e9, 2),
            "peak_mib": [round(u.peak_mib) for u in used],
        }
    costs["cyvcf2_read_cpu_seconds"] = round(
        run([sys.executable, "-c", CYVCF2, work / f"{shape.name}.vcf.gz"]).cpu_seconds, 2
    )
    costs["ratio_to_plink2"] = [
        round(a / b, 2) for a, b in zip(costs["genomix"]["cpu_seconds"], costs["plink2"]["cpu_seconds"], strict=True)
    ]
    return costs


def start_up(work: Path, repeats: int) -> dict[str, float]:
    """Return the cost of converting a few records, the compiled kernels loaded."""
    few = work / "few.vcf"
    few.write_text(
        '##fileformat=VCFv4.2\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n1\t1\t.\tA\tG\t.\t.\t.\tGT\t0/1\t0/0\n"
    )
    out = work / "out" / "few"
    command = genomix("variants", "convert", few, "-o", out, "--quiet", "--reader")
    return {
        "reference_reader": round(best([*command, "reference"], repeats=repeats).cpu_seconds, 2),
        "fast_reader": round(best([*command, "fast"], repeats=repeats).cpu_seconds, 2),
        "plink2": round(best(["plink2", "--vcf", few, "--make-pgen", "--out", out], repeats=repeats).cpu_seconds, 2),
    }


def bcf(path: Path, work: Path, repeats: int) -> dict[str, Any]:
    """Return the cost of a second reading of a BCF in one process, ours and a bare cyvcf2 loop's."""
    from genomix.io.bgzf import unwrap

    path = unwrap(path, work)  # htslib cannot open a file that was compressed once more
    if path.parent == work:
        path = path.rename(work / "reference.bcf")
    costs = {
        name: best_output([sys.executable, "-c", SECOND.format(read=read), path], repeats)
        for name, read in (("genomix", OURS), ("cyvcf2", BARE))
    }
    return {
        "file": path.name,
        **{f"{name}_cpu_seconds": value for name, value in costs.items()},
        "ratio": round(costs["genomix"] / costs["cyvcf2"], 2),
    }


def best_output(command: Sequence[str | Path], repeats: int) -> float:
    """Run a command several times and return the smallest number that it printed last."""
    return min(float(run(command).output.split()[-1]) for _ in range(repeats))


def from_the_store(work: Path, repeats: int) -> dict[str, Any]:
    """Return the cost of quality control, scores, principal components and association on the 2,504 x 20,000 set."""
    out = work / "out"
    run(genomix("variants", "convert", work / "gt.vcf.gz", "-o", out / "store", "--multi-allelic", "drop", "--quiet"))
    _tables(out)
    store, plink = out / "store", ["plink2", "--pfile", out / "store", "--threads", "1", "--out", out / "p"]
    common = ["--covar", out / "covariates.tsv", "--pheno", out / "traits.tsv"]
    tasks: dict[str, tuple[list[str | Path], list[str | Path]]] = {
        "qc": (
            genomix("variants", "qc", store, "-o", out / "qc", "--quiet"),
            [*plink, "--freq", "--missing", "--hardy", "midp", "--het"],
        ),
        "linear": (
            genomix("variants", "assoc", store, "--phenotype", out / "traits.tsv", "--phenotype-name", "y",
                    "--covariates", out / "covariates.tsv", "--allow-related", "-o", out / "a.parquet", "--quiet"),
            [*plink, "--glm", "hide-covar", *common],
        ),
        "pca_10": (
            genomix("variants", "pca", store, "-o", out / "pca", "-k", "10", "--no-prune", "--quiet",
                    "--fit-samples", out / "samples.txt"),
            [*plink, "--pca", "10"],
        ),
        "score": (
            genomix("variants", "score", store, "--score-file", out / "weights.tsv", "--ambiguous", "keep",
                    "-o", out / "s.parquet", "--quiet"),
            [*plink, "--score", out / "weights.tsv", "6", "3", "5", "header", "cols=+scoresums"],
        ),
    }  # fmt: skip
    costs: dict[str, Any] = {}
    for name, (ours, theirs) in tasks.items():
        mine, other = best(ours, repeats=repeats), best(theirs, repeats=repeats, openblas=True)
        costs[name] = {
            "genomix_cpu_seconds": round(mine.cpu_seconds, 2),
            "plink2_cpu_seconds": round(other.cpu_seconds, 2),
            "ratio": round(mine.cpu_seconds / other.cpu_seconds, 2),
            "genomix_peak_mib": round(mine.peak_mib),
        }
    inside = run([sys.executable, "-c", STORE, store, out / "weights.tsv"]).output.split()[-3:]
    costs["library_cpu_seconds"] = dict(
        zip(("open_store", "qc", "score"), (round(float(v), 2) for v in inside), strict=True)
    )
    return costs


def _tables(out: Path) -> None:
    """Write a trait, three covariates and weights for every variant of the store, from fixed formulas."""
    samples = [line.split("\t")[0] for line in (out / "store.psam").read_text().splitlines()[1:]]
    (out / "samples.txt").write_text("\n".join(samples) + "\n")
    with (out / "traits.tsv").open("w") as trait, (out / "covariates.tsv").open("w") as covariates:
        trait.write("#IID\ty\n")
        covariates.write("#IID\tc1\tc2\tc3\n")
        for i, name in enumerate(samples):
            u = [((i * k) % 1009) / 1009 for k in (17, 101, 211, 331)]
            trait.write(f"{name}\t{u[0] + 0.3 * u[1]:.6f}\n")
            covariates.write(f"{name}\t{u[1]:.6f}\t{u[2]:.6f}\t{u[3]:.6f}\n")
    with (out / "weights.tsv").open("w") as weights:
        weights.write("contig\tposition\teffect_allele\tother_allele\tweight\tid\n")
        for i, line in enumerate((out / "store.pvar").read_text().splitlines()):
            if line.startswith("#"):
                continue
            contig, position, name, ref, alt = line.split("\t")[:5]
            weights.write(f"{contig}\t{position}\t{alt}\t{ref}\t{((i * 37) % 199 - 99) / 1000:.3f}\t{name}\n")


def versions() -> dict[str, str]:
    """Return what was compared."""
    from benchmarks.end_to_end import versions as python_versions

    plink2 = run(["plink2", "--version"]).output.strip()
    return {**python_versions(), "plink2": plink2, "plink2 BLAS": "OpenBLAS" if OPENBLAS.is_dir() else "reference"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the results."""
    from benchmarks.end_to_end import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, default=ROOT.parent / "shared" / "bench" / "gen_vcf.py")
    parser.add_argument("--bcf", type=Path, default=ROOT.parent / "shared/data/shapeit4-1000g-chr20/reference.bcf.gz")
    parser.add_argument("--work", type=Path, required=True, help="folder for inputs of about 2 GB; they are kept")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shapes", nargs="*", default=[s.name for s in SHAPES])
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    if shutil.which("plink2") is None:
        raise SystemExit("plink2 is needed")
    (given.work / "out").mkdir(parents=True, exist_ok=True)
    chosen = [s for s in SHAPES if s.name in given.shapes]
    make_inputs(given.generator, given.work, chosen)
    results: dict[str, Any] = {
        "command": "python benchmarks/variants.py",
        "machine": machine(),
        "versions": versions(),
        "start_up_cpu_seconds": start_up(given.work, given.repeats),
        "conversion": {s.name: conversion(s, given.work, given.repeats) for s in chosen},
    }
    if given.bcf.exists():
        results["bcf"] = bcf(given.bcf, given.work, given.repeats)
    if (given.work / "gt.vcf.gz").exists():
        results["store"] = from_the_store(given.work, given.repeats)
    text = json.dumps(results, indent=1, sort_keys=True) + "\n"
    given.out.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
