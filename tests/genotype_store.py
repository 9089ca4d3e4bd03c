"""A store from calls in memory, written through the VCF reader, for tests of everything above it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genomix.io.convert import convert_genotypes
from genomix.io.load_options import LoadOptions
from genomix.io.plink import GenotypeStore, open_store

_TEXT = {0: "0/0", 1: "0/1", 2: "1/1", -9: "./."}


def store_of(
    folder: Path,
    calls: np.ndarray,
    *,
    variants: list[tuple[str, int, str, str]] | None = None,
    sex: list[int] | None = None,
    build: str | None = "GRCh38",
) -> GenotypeStore:
    """Write int8 calls (n_variants, n_samples) as a VCF and convert it; variants are contig, position, ref, alt."""
    n_variants, n_samples = calls.shape
    rows = variants or [("1", 10 * (i + 1), "A", "G") for i in range(n_variants)]
    names = [f"s{i}" for i in range(n_samples)]
    lines = [
        "##fileformat=VCFv4.3",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">',
        "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *names]),
    ]
    for (contig, position, ref, alt), row in zip(rows, calls.tolist(), strict=True):
        lines.append("\t".join([contig, str(position), ".", ref, alt, ".", ".", ".", "GT", *(_TEXT[c] for c in row)]))
    source = folder / "calls.vcf"
    source.write_text("\n".join(lines) + "\n")
    known = dict(zip(names, sex, strict=True)) if sex is not None else None
    convert_genotypes(source, folder / "calls", LoadOptions(sex=known, build=build))
    return open_store(folder / "calls")


def random_calls(n_variants: int, n_samples: int, *, seed: int, missing: float = 0.05) -> np.ndarray:
    """Calls in Hardy-Weinberg proportions at random frequencies, some missing."""
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(0.1, 0.9, (n_variants, 1))
    calls = rng.binomial(2, frequency, (n_variants, n_samples)).astype(np.int8)
    calls[rng.random(calls.shape) < missing] = -9
    return calls
