"""The demo's polygenic score: SIMULATED weights on real variants, and its file in the PGS Catalog's form."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix_pipelines.demo.effects import SCORE
from genomix_pipelines.demo.genotype_text import Snvs

N_GENOTYPED = 200
N_ABSENT = 40
N_AMBIGUOUS = 5
N_OTHER_STRAND = 4
SMALLEST_FREQUENCY = 0.05
COMPLEMENT = {"A": "T", "T": "A", "C": "G", "G": "C"}

Floats = npt.NDArray[np.float64]


class SimulatedScore(NamedTuple):
    """The score file's rows (240 variants, of which 200 are genotyped) and every sample's raw sum."""

    weights: pl.DataFrame
    raw: Floats


def simulate_score(snvs: Snvs, *, seed: np.random.Generator) -> SimulatedScore:
    """Draw 200 genotyped common SNVs and 40 absent ones, standard normal weights and effect alleles (half of them REF).

    Five of the genotyped variants are strand-ambiguous (A/T or C/G) and four are written on the other strand, as
    happens in published score files. Absent variants add nothing to anyone's true score.
    """
    frequency = snvs.dosage.mean(axis=1) / 2
    ambiguous = np.array([COMPLEMENT[r] == a for r, a in zip(snvs.ref, snvs.alt, strict=True)])
    common = (np.minimum(frequency, 1 - frequency) >= SMALLEST_FREQUENCY) & _alone_at_position(snvs)
    plain = seed.choice(np.flatnonzero(common & ~ambiguous), N_GENOTYPED - N_AMBIGUOUS, replace=False)
    chosen = np.sort(np.concatenate([plain, seed.choice(np.flatnonzero(common & ambiguous), N_AMBIGUOUS, False)]))
    weight = np.round(seed.standard_normal(N_GENOTYPED), 6)
    effect_is_ref = seed.random(N_GENOTYPED) < 0.5
    dosage = snvs.dosage[chosen].astype(np.float64)
    counted = np.where(effect_is_ref[:, None], 2 - dosage, dosage)
    # Fixed order of summation: a BLAS product may differ in the last bit between thread counts.
    raw = (weight[:, None] * counted).sum(axis=0)
    other_strand = np.zeros(N_GENOTYPED, dtype=bool)
    other_strand[seed.choice(np.flatnonzero(~ambiguous[chosen]), N_OTHER_STRAND, replace=False)] = True
    present = _rows(snvs, chosen, effect_is_ref, other_strand, weight)
    return SimulatedScore(_sort(pl.concat([present, _absent(snvs, seed)])), raw)


def _alone_at_position(snvs: Snvs) -> npt.NDArray[np.bool_]:
    """Say which variants share their position with no other SNV: only there do alleles identify the row."""
    places = list(zip(snvs.contig, snvs.position.tolist(), strict=True))
    counts = Counter(places)
    return np.array([counts[place] == 1 for place in places])


def _rows(
    snvs: Snvs,
    chosen: npt.NDArray[np.intp],
    effect_is_ref: npt.NDArray[np.bool_],
    other_strand: npt.NDArray[np.bool_],
    weight: Floats,
) -> pl.DataFrame:
    effect, other = [], []
    for i, from_ref, flipped in zip(chosen, effect_is_ref, other_strand, strict=True):
        pair = (snvs.ref[i], snvs.alt[i]) if from_ref else (snvs.alt[i], snvs.ref[i])
        pair = (COMPLEMENT[pair[0]], COMPLEMENT[pair[1]]) if flipped else pair
        effect.append(pair[0])
        other.append(pair[1])
    return pl.DataFrame(
        {
            "chr_name": [snvs.contig[i] for i in chosen], "chr_position": snvs.position[chosen],
            "effect_allele": effect, "other_allele": other, "effect_weight": weight,
        }
    )  # fmt: skip


def _absent(snvs: Snvs, seed: np.random.Generator) -> pl.DataFrame:
    """Invent variants at positions that the genotypes do not hold."""
    taken = set(zip(snvs.contig, snvs.position.tolist(), strict=True))
    near = seed.choice(snvs.position.size, N_ABSENT, replace=False)
    contigs = [snvs.contig[i] for i in near]
    positions = [_free(c, int(p) + 1_000, taken) for c, p in zip(contigs, snvs.position[near], strict=True)]
    return pl.DataFrame(
        {
            "chr_name": contigs, "chr_position": np.array(positions, dtype=np.int64),
            "effect_allele": ["A"] * N_ABSENT, "other_allele": ["G"] * N_ABSENT,
            "effect_weight": np.round(seed.standard_normal(N_ABSENT), 6),
        }
    )  # fmt: skip


def _free(contig: str, position: int, taken: set[tuple[str, int]]) -> int:
    while (contig, position) in taken:
        position += 1
    taken.add((contig, position))
    return position


def _sort(weights: pl.DataFrame) -> pl.DataFrame:
    return weights.sort(pl.col("chr_name").cast(pl.Int64), "chr_position")


def standardise_within(raw: Floats, group: list[str]) -> Floats:
    """Return ``raw`` with mean 0 and SD 1 within each group.

    >>> standardise_within(np.array([1.0, 3.0, 10.0, 30.0]), ["a", "a", "b", "b"]).tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    labels = np.array(group)
    out = np.empty_like(raw)
    for name in sorted(set(group)):
        rows = labels == name
        out[rows] = (raw[rows] - raw[rows].mean()) / raw[rows].std()
    return out


def score_file(weights: pl.DataFrame) -> bytes:
    """Return the text of a PGS-Catalog-like scoring file whose header says that it is SIMULATED."""
    header = [
        "###SIMULATED SCORING FILE in the form of the PGS Catalog; not a published score, never use it for a person",
        "#format_version=2.0",
        "##POLYGENIC SCORE (PGS) INFORMATION",
        f"#pgs_id={SCORE}",
        "#pgs_name=SIMULATED weights of the genomix demo",
        "#trait_reported=SIMULATED coronary artery disease",
        "#genome_build=GRCh38",
        f"#variants_number={weights.height}",
        "#weight_type=beta",
        "##SOURCE INFORMATION",
        "#citation=none: SIMULATED, no discovery cohort",
    ]
    return ("\n".join(header) + "\n" + weights.write_csv(separator="\t", float_precision=6)).encode()
