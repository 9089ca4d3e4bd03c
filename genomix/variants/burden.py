"""Gene burden: the qualifying variants of each gene under each mask, collapsed into one number per sample.

A mask is a set of consequences and a largest frequency. Weights: 1; Beta(MAF; 1, 25) (Wu et al. 2011,
doi:10.1016/j.ajhg.2011.05.029); 1 / sqrt(n q (1 - q)) with q = (copies + 1) / (2 n + 2) (Madsen and Browning 2009,
doi:10.1371/journal.pgen.1000384, who count copies in the unaffected; here they are counted in all samples that
frequencies come from, so that no phenotype enters); or a column of a table.

Collapsing: ``carrier`` (0 or 1), ``count`` (copies summed over variants), ``max`` (most copies of any one variant: the
default of regenie's masks), ``weighted`` (sum of weight times copies; what weights mean when no collapsing is named).
Hard calls are counted, also where the file holds dosages, with the copies that people carry
(:mod:`genomix.variants.burden_copies`). A missing call counts as REF (``reference``), or as its expectation at the
frequency (``mean``, for sums only).

Copies of ALT are counted (``counted="alt"``, and the mask's frequency is that of ALT), because the annotation speaks of
ALT; ``minor`` counts copies of the rarer allele and applies the mask to its frequency, as SKAT and SAIGE-GENE do.
A burden is as good as the annotation; a carrier of a predicted loss of function may be entirely healthy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError
from genomix.io.annotation import Annotation
from genomix.io.plink import GenotypeStore, variant_key
from genomix.schemas.burden import BURDEN_GENES, BURDEN_VARIANTS
from genomix.variants.burden_copies import PeopleCopies, VariantCopies, copies_of
from genomix.variants.burden_weights import beta_weights, madsen_browning_weights
from genomix.variants.gene_masks import (
    TRANSCRIPT_RULES,
    Mask,
    TranscriptRule,
    check_intervals,
    frequencies_of_variants,
    match_genes,
    numbers_of_variants,
    select_variants,
)
from genomix.variants.genotype_counts import count_genotypes

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]

Collapse = Literal["carrier", "count", "max", "weighted"]
MissingRule = Literal["reference", "mean"]
Counted = Literal["alt", "minor"]
COLLAPSES = ("carrier", "count", "max", "weighted")
MISSING_RULES = ("reference", "mean")
COUNTED = ("alt", "minor")
WEIGHTS = ("none", "beta", "madsen-browning")
MAX_VALUES = 1_500_000_000
"""Values of one matrix (6 GB as float32); more is refused with what to change."""


@dataclass(frozen=True)
class BurdenOptions:
    """How genes are collapsed; see the module.

    Parameters
    ----------
    masks: with names of their own.
    transcripts: ``any`` transcript of the gene may have the consequence; ``canonical`` or ``mane`` ones only;
        ``worst``: only the most severe consequence over the gene's transcripts counts.
    collapse: None is ``weighted`` where weights are given, else ``count``; read it as ``collapsed``.
    weights: none, beta, madsen-browning, or a frame with ``weight`` and ``variant_id`` or contig, position, ref, alt.
    frequencies: None computes them; or a frame with ``frequency`` (or ``alt_frequency``) of ALT, its keys as in
        ``weights``; with REF and ALT exchanged, 1 - it counts; a variant that is not in it counts with its frequency in
        the samples.
    """

    masks: tuple[Mask, ...]
    transcripts: TranscriptRule = "any"
    collapse: Collapse | None = None
    weights: str | pl.DataFrame = "none"
    missing: MissingRule = "reference"
    counted: Counted = "alt"
    frequencies: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("transcripts", self.transcripts, TRANSCRIPT_RULES), ("collapse", self.collapsed, COLLAPSES),
            ("missing", self.missing, MISSING_RULES), ("counted", self.counted, COUNTED),
        ):  # fmt: skip
            if value not in allowed:
                raise ConfigError(f"burden: {name} = {value!r}", hint="one of: " + ", ".join(allowed))
        if isinstance(self.weights, str) and self.weights not in WEIGHTS:
            raise ConfigError(f"burden: weights = {self.weights!r}", hint="one of: " + ", ".join(WEIGHTS))
        names = [m.name for m in self.masks]
        if not names or len(set(names)) < len(names):
            raise ConfigError("burden needs at least one mask, each with a name of its own")
        if (_weight_words(self.weights) != "none") != (self.collapsed == "weighted"):
            raise ConfigError("burden: weights and collapse = 'weighted' belong together")
        if self.missing == "mean" and self.collapsed in ("carrier", "max"):
            raise ConfigError(f"burden: missing = 'mean' has no meaning for collapse = {self.collapsed!r}")

    @property
    def collapsed(self) -> Collapse:
        """How a gene's variants become one number, inferred from the weights where ``collapse`` is None."""
        return self.collapse or ("count" if _weight_words(self.weights) == "none" else "weighted")


def _weight_words(weights: str | pl.DataFrame) -> str:
    return weights if isinstance(weights, str) else "table"


class BurdenSet(NamedTuple):
    """The variants of one gene under one mask: rows of the store, ALT frequencies, weights, and whether REF counts."""

    gene: str
    mask: str
    rows: IndexArray
    frequencies: FloatArray
    weights: FloatArray
    flipped: npt.NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Return ``gene:mask``."""
        return f"{self.gene}:{self.mask}"


class BurdenMatrix(NamedTuple):
    """float32 (n_samples, n_sets), and per set carriers, counted copies, missing calls, and variants with a copy."""

    values: npt.NDArray[np.float32]
    carriers: IndexArray
    allele_count: IndexArray
    n_missing: IndexArray
    n_seen: IndexArray


class BurdenResult(NamedTuple):
    """``sets`` are those with a variant, in the order of the columns of ``matrix``; every gene is in ``genes``."""

    sets: list[BurdenSet]
    matrix: BurdenMatrix
    variants: pl.DataFrame
    genes: pl.DataFrame
    counts: dict[str, int]


def compute_burden(
    store: GenotypeStore,
    source: Annotation | pl.DataFrame,
    options: BurdenOptions,
    *,
    samples: Any = None,
    frequency_samples: Any = None,
    variants: Any = None,
    progress: Callable[[float, int], None] | None = None,
) -> BurdenResult:
    """Return the burden of every gene of the annotation (or of gene intervals) under every mask.

    Parameters
    ----------
    source: annotation, or intervals from :func:`genomix.io.annotation.read_gene_bed`.
    samples: 0-based samples whose burden is wanted; None for all.
    frequency_samples: 0-based samples that frequencies are counted in; None for ``samples``.
    variants: rows of the store's variants that may be used; None for all.
    """
    if isinstance(source, pl.DataFrame):
        check_intervals(options.masks)
    matched = match_genes(source, store.variants, allowed=variants)
    free = not isinstance(source, pl.DataFrame) and source.tool == "regenie"
    chosen = select_variants(matched.rows, options.masks, transcripts=options.transcripts, any_label=free)
    counted_in = samples if frequency_samples is None else frequency_samples
    sets, lost = make_sets(store, chosen, options, samples=counted_in)
    matrix = collapse_sets(
        store, sets, collapse=options.collapsed, missing=options.missing, samples=samples, progress=progress
    )
    genes = gene_table(matched.genes, chosen, sets, matrix, options.masks)
    table = variants_table(store, chosen, sets)
    return BurdenResult(sets, matrix, table, genes, {**matched.counts, **lost})


def alt_frequencies(store: GenotypeStore, rows: IndexArray, *, samples: Any = None) -> FloatArray:
    """Return ALT frequencies counted in ``samples``, with the copies that each person carries; NaN without a call."""
    return count_genotypes(store, variants=rows, samples=samples).alt_frequency


def make_sets(
    store: GenotypeStore, chosen: pl.DataFrame, options: BurdenOptions, *, samples: Any = None
) -> tuple[list[BurdenSet], dict[str, int]]:
    """Apply each mask's frequency and give every variant its weight; also count what that took away.

    Parameters
    ----------
    chosen: GENE_VARIANTS. samples: 0-based samples that frequencies and weights are learned from; None for all.
    """
    rows = np.unique(chosen["variant"].to_numpy())
    n_samples = store.n_samples if samples is None else len(np.asarray(samples))
    counts: dict[str, int] = {}
    if options.frequencies is None:
        frequency = alt_frequencies(store, rows, samples=samples)
        counts["qualifying alleles without a call"] = int(np.isnan(frequency).sum())
    else:
        given, n_exchanged = frequencies_of_variants(store.variants[rows], options.frequencies)
        counts["qualifying alleles that the frequency table has exchanged"] = n_exchanged
        counts["qualifying alleles that the frequency table lacks"] = int(np.isnan(given).sum())
        # What the table lacks is not rare for that: it counts with the frequency of these samples.
        counted = alt_frequencies(store, rows, samples=samples)
        frequency = np.where(np.isnan(given), counted, given)
        if (frequency < 0).any() or (frequency > 1).any():
            raise ConfigError("the frequency table holds a frequency that is not in [0, 1]")
    weight, lacking = _weights(store.variants[rows], frequency, n_samples, options.weights)
    if lacking is not None:
        counts["qualifying alleles that the weight table lacks"] = lacking
    usable = ~(np.isnan(frequency) | np.isnan(weight))
    compared = np.minimum(frequency, 1 - frequency) if options.counted == "minor" else frequency
    flipped = (frequency > 0.5) if options.counted == "minor" else np.zeros(len(rows), dtype=np.bool_)
    limit = {m.name: np.inf if m.max_frequency is None else m.max_frequency for m in options.masks}
    sets = []
    for (gene, mask), part in chosen.group_by("gene", "mask", maintain_order=True):
        at = np.searchsorted(rows, part["variant"].to_numpy())
        at = at[usable[at] & (compared[at] <= limit[str(mask)])]
        if len(at):
            sets.append(BurdenSet(str(gene), str(mask), rows[at], frequency[at], weight[at], flipped[at]))
    order = {m.name: i for i, m in enumerate(options.masks)}
    first: dict[str, int] = {}
    for one in sets:
        first[one.gene] = min(first.get(one.gene, int(one.rows[0])), int(one.rows[0]))
    return sorted(sets, key=lambda s: (first[s.gene], s.gene, order[s.mask])), counts


def _weights(
    variants: pl.DataFrame, frequency: FloatArray, n_samples: int, weights: str | pl.DataFrame
) -> tuple[FloatArray, int | None]:
    """Weight of each variant; from a table NaN where it has none, and how many."""
    if isinstance(weights, pl.DataFrame):
        found = numbers_of_variants(variants, weights, "weight")
        return found, int(np.isnan(found).sum())
    if weights == "beta":
        return beta_weights(frequency), None
    if weights == "madsen-browning":
        return madsen_browning_weights(frequency, n_samples), None
    return np.ones(len(frequency)), None


class _Sum:
    """What accumulates over the blocks of one set."""

    def __init__(self, n_samples: int, collapse: Collapse, missing: MissingRule) -> None:
        self.collapse, self.missing = collapse, missing
        self.value = np.zeros(n_samples)
        self.carrier = np.zeros(n_samples, dtype=np.bool_)
        self.allele_count = 0
        self.n_missing = 0
        self.n_seen = 0

    def add(self, calls: npt.NDArray[np.int8], part: BurdenSet, people: PeopleCopies, variants: VariantCopies) -> None:
        """Add calls (n_variants, n_samples) of the set's variants."""
        copies, called = copies_of(calls, part.flipped, variants, people)
        self.n_missing += int(calls.size - np.count_nonzero(called))
        self.allele_count += int(copies.sum(dtype=np.int64))
        self.n_seen += int((copies > 0).any(axis=1).sum())
        self.carrier |= (copies > 0).any(axis=0)
        if self.collapse == "max":
            np.maximum(self.value, copies.max(axis=0), out=self.value)
        elif self.collapse == "count" and self.missing == "reference":
            self.value += copies.sum(axis=0, dtype=np.int64)
        elif self.collapse != "carrier":
            self._add_weighted(copies, called, part, variants)

    def _add_weighted(
        self, copies: npt.NDArray[np.int8], called: npt.NDArray[np.bool_], part: BurdenSet, variants: VariantCopies
    ) -> None:
        """Variant by variant: the same bits for any number of samples and any block size."""
        rare = np.where(part.flipped, 1 - part.frequencies, part.frequencies)
        fill = variants.most * rare if self.missing == "mean" else np.zeros(len(rare))
        for row, known, value, weight in zip(copies, called, fill.tolist(), part.weights.tolist(), strict=True):
            self.value += weight * (row if value == 0 else np.where(known, row, value))

    def finish(self) -> npt.NDArray[np.float32]:
        return (self.carrier if self.collapse == "carrier" else self.value).astype(np.float32)


def collapse_sets(
    store: GenotypeStore,
    sets: Sequence[BurdenSet],
    *,
    collapse: Collapse = "count",
    missing: MissingRule = "reference",
    samples: Any = None,
    block_size: int | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> BurdenMatrix:
    """Return each sample's burden of each set; the calls of a gene's masks are read once, in blocks."""
    n_samples = store.n_samples if samples is None else len(np.asarray(samples))
    if n_samples * len(sets) > MAX_VALUES:
        raise ConfigError(
            f"{len(sets)} genes x masks of {n_samples} samples are too many for one table",
            hint="fewer masks, genes of one contig at a time, or fewer samples",
        )
    values = np.zeros((n_samples, len(sets)), dtype=np.float32)
    carriers, allele_count, n_missing, n_seen = (np.zeros(len(sets), dtype=np.int64) for _ in range(4))
    people, carried = PeopleCopies.of(store, samples), VariantCopies.of(store)
    groups: dict[str, list[int]] = {}
    for number, one in enumerate(sets):
        groups.setdefault(one.gene, []).append(number)
    for done, members in enumerate(groups.values(), start=1):
        sums = [_Sum(n_samples, collapse, missing) for _ in members]
        _add_gene(store, [sets[i] for i in members], sums, people, carried, samples, block_size)
        for number, found in zip(members, sums, strict=True):
            values[:, number] = found.finish()
            carriers[number] = np.count_nonzero(found.carrier)
            allele_count[number], n_missing[number] = found.allele_count, found.n_missing
            n_seen[number] = found.n_seen
        if progress is not None:
            progress(done / len(groups), done)
    return BurdenMatrix(values, carriers, allele_count, n_missing, n_seen)


def _add_gene(
    store: GenotypeStore,
    sets: list[BurdenSet],
    sums: list[_Sum],
    people: PeopleCopies,
    carried: VariantCopies,
    samples: Any,
    block_size: int | None,
) -> None:
    """Add the calls of a gene's sets to their sums."""
    union = np.unique(np.concatenate([s.rows for s in sets]))
    for block in store.blocks(union, samples, block_size=block_size):
        for one, total in zip(sets, sums, strict=True):
            here = np.flatnonzero((one.rows >= block.variants[0]) & (one.rows <= block.variants[-1]))
            if len(here):
                part = one._replace(
                    rows=one.rows[here], frequencies=one.frequencies[here], weights=one.weights[here],
                    flipped=one.flipped[here],
                )  # fmt: skip
                calls = block.calls[np.searchsorted(block.variants, part.rows)]
                total.add(calls, part, people, carried.taken(part.rows))


def gene_table(
    genes: pl.DataFrame, chosen: pl.DataFrame, sets: Sequence[BurdenSet], matrix: BurdenMatrix, masks: Sequence[Mask]
) -> pl.DataFrame:
    """Return one row per gene of the annotation and mask (BURDEN_GENES), with the reason where there is no burden."""
    names = pl.DataFrame({"mask": [m.name for m in masks]})
    consequence = chosen.group_by("gene", "mask").agg(pl.len().cast(pl.Int64).alias("n_consequence"))
    counted = pl.DataFrame(
        {
            "gene": pl.Series([s.gene for s in sets], dtype=pl.String),
            "mask": pl.Series([s.mask for s in sets], dtype=pl.String),
            "n_variants": pl.Series([len(s.rows) for s in sets], dtype=pl.Int64),
            "n_seen": matrix.n_seen,
            "carriers": matrix.carriers,
            "allele_count": matrix.allele_count,
            "n_missing": matrix.n_missing,
        }
    )
    both = ["gene", "mask"]
    table = genes.join(names, how="cross", maintain_order="left")
    table = table.join(consequence, on=both, how="left", maintain_order="left")
    table = table.join(counted, on=both, how="left", maintain_order="left")
    numbers = ("n_consequence", "n_variants", "n_seen", "carriers", "allele_count", "n_missing")
    table = table.with_columns(pl.col(n).fill_null(0) for n in numbers)
    reason = (
        pl.when(pl.col("n_genotyped") == 0).then(pl.lit("no annotated variant is in the genotypes"))
        .when(pl.col("n_consequence") == 0).then(pl.lit("no variant has a consequence of the mask"))
        .when(pl.col("n_variants") == 0).then(pl.lit("no variant with a frequency of the mask (and a weight)"))
        .when(pl.col("carriers") == 0).then(pl.lit("no sample carries a variant"))
        .otherwise(pl.lit("")).alias("reason")
    )  # fmt: skip
    return BURDEN_GENES.validate(table.with_columns(reason))


def variants_table(store: GenotypeStore, chosen: pl.DataFrame, sets: Sequence[BurdenSet]) -> pl.DataFrame:
    """Return every variant of every set with frequency and weight (BURDEN_VARIANTS): what a burden is made of."""
    frame = pl.DataFrame(
        {
            "gene": pl.Series([s.gene for s in sets for _ in s.rows], dtype=pl.String),
            "mask": pl.Series([s.mask for s in sets for _ in s.rows], dtype=pl.String),
            "variant": _joined([s.rows for s in sets], np.int64),
            "frequency": _joined([s.frequencies for s in sets], np.float64),
            "weight": _joined([s.weights for s in sets], np.float64),
            "flipped": _joined([s.flipped for s in sets], np.bool_),
        }
    )
    frame = frame.join(chosen, on=["gene", "mask", "variant"], how="left", maintain_order="left")
    place = store.variants[frame["variant"].to_numpy()].select("contig", "position", "variant_id", "ref", "alt")
    return BURDEN_VARIANTS.validate(pl.concat([frame.drop("variant"), place], how="horizontal"))


def _joined(parts: Sequence[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts).astype(dtype) if len(parts) else np.empty(0, dtype=dtype)


def set_keys(store: GenotypeStore, one: BurdenSet) -> list[str]:
    """Return ``contig:position:ref:alt`` of each variant of a set."""
    return store.variants[one.rows].select(variant_key().alias("key"))["key"].to_list()
