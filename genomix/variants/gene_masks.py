"""Which variants belong to which gene under which mask: annotation or intervals met with the genotypes.

A mask is a set of consequences and a largest frequency. The transcript rule says whose consequence counts: that of
``any`` transcript of the gene, of its ``canonical`` or ``mane`` ones only, or only the ``worst`` over its transcripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError
from genomix.io.annotation import Annotation, trim_alleles
from genomix.io.contigs import contig_ranks, normalise_contigs
from genomix.schemas.burden import GENE_VARIANTS
from genomix.variants.consequences import CLASSES, UNKNOWN_SEVERITY, known_word, severity, terms_of_mask, worst_term

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]

TranscriptRule = Literal["any", "canonical", "mane", "worst"]
TRANSCRIPT_RULES = ("any", "canonical", "mane", "worst")

ANY_VARIANT = "all"
"""The mask that asks for no consequence: every variant of a gene's interval."""


@dataclass(frozen=True)
class Mask:
    """Which variants of a gene count.

    Parameters
    ----------
    name: of the mask; a column is named ``gene:name``.
    consequences: classes, Sequence Ontology terms or labels joined by ``+``; ``all`` for every variant.
    max_frequency: largest frequency, in [0, 1]; None for any.
    confident: of loss-of-function terms only those that LOFTEE calls HC.
    """

    name: str
    consequences: str
    max_frequency: float | None = 0.01
    confident: bool = False

    def __post_init__(self) -> None:
        if self.consequences != ANY_VARIANT:
            terms_of_mask(self.consequences)
        if self.max_frequency is not None and not 0 <= self.max_frequency <= 1:
            raise ConfigError(f"mask {self.name}: max_frequency {self.max_frequency} is not in [0, 1]")


class MatchedGenes(NamedTuple):
    """Annotation rows with the store's row (``variant``), the genes that the annotation names, and counts by reason.

    ``genes``: gene, contig, start, end, n_annotated, n_genotyped; one row per gene, in the order of the genome.
    """

    rows: pl.DataFrame
    genes: pl.DataFrame
    counts: dict[str, int]


def match_genes(source: Annotation | pl.DataFrame, variants: pl.DataFrame, *, allowed: Any = None) -> MatchedGenes:
    """Match annotated alleles, or gene intervals, to the store's variants.

    Alleles match by contig (chr1 = 1), position, REF and ALT after shared bases were cut off their ends, so that
    records that were split or padded otherwise still meet; they are not moved along repeats (normalise both files
    alike). Where the annotation has identifiers only (regenie), those decide.
    """
    table = variants.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("variant"))
    if allowed is not None:
        table = table[np.unique(np.asarray(allowed, dtype=np.int64))]
    if isinstance(source, pl.DataFrame):
        return _match_intervals(source, table)
    by_name = "variant_id" in source.rows.columns
    keys = ["variant_id"] if by_name else ["contig", "position", "ref", "alt"]
    ours = table.select("variant", *keys) if by_name else _trimmed(table.select("variant", *keys))
    ours = ours.unique(keys, keep="first", maintain_order=True)
    theirs = source.rows if by_name else _trimmed(source.rows)
    joined = theirs.join(ours, on=keys, how="left", maintain_order="left")
    annotated = joined.select(*keys, "variant").unique(maintain_order=True)
    in_file = source.alleles if by_name else _trimmed(source.alleles)
    counts = {
        **source.counts,
        "annotated alleles": annotated.height,
        "annotated alleles not in the genotypes": int(annotated["variant"].null_count()),
        "alleles of the genotypes": ours.height,
        "alleles of the genotypes that the annotation file lacks": ours.join(in_file, on=keys, how="anti").height,
        "alleles of the genotypes with annotation": int(annotated["variant"].drop_nulls().n_unique()),
    }
    if by_name:
        place = table.select("variant", "contig", "position")
        joined = joined.drop("contig", "position").join(place, on="variant", how="left", maintain_order="left")
    return MatchedGenes(joined.filter(pl.col("variant").is_not_null()), _genes_of(joined, keys), counts)


def _genes_of(joined: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """One row per gene that the annotation names."""
    allele = pl.struct(*keys)
    grouped = joined.group_by("gene", maintain_order=True).agg(
        pl.col("contig").drop_nulls().first(),
        pl.col("position").min().alias("start"),
        pl.col("position").max().alias("end"),
        allele.n_unique().cast(pl.Int64).alias("n_annotated"),
        pl.col("variant").drop_nulls().n_unique().cast(pl.Int64).alias("n_genotyped"),
    )
    return _in_genome_order(grouped)


def _in_genome_order(genes: pl.DataFrame) -> pl.DataFrame:
    names = genes["contig"].fill_null("?")
    ordered = genes.with_columns(pl.Series("_contig", contig_ranks(names)))
    return ordered.sort("_contig", "start", "gene", nulls_last=True).drop("_contig")


def _trimmed(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with each allele pair in its shortest form; only pairs with a longer allele are looked at."""
    long = (pl.col("ref").str.len_bytes() > 1) & (pl.col("alt").str.len_bytes() > 1)
    frame = frame.with_row_index("_row")
    part = frame.filter(long)
    if not part.height:
        return frame.drop("_row")
    found = [trim_alleles(*row) for row in part.select("position", "ref", "alt").iter_rows()]
    fresh = pl.DataFrame(found, schema={"position": pl.Int64, "ref": pl.String, "alt": pl.String}, orient="row")
    changed = part.with_columns(fresh["position"], fresh["ref"], fresh["alt"])
    return pl.concat([frame.filter(~long), changed]).sort("_row").drop("_row")


def _match_intervals(bed: pl.DataFrame, table: pl.DataFrame) -> MatchedGenes:
    """Variants whose REF overlaps an interval."""
    parts: list[tuple[str, IndexArray]] = []
    by_contig = {key[0]: part for key, part in table.sort("position").group_by("contig", maintain_order=True)}
    for gene, contig, start, end in bed.select("gene", "contig", "start", "end").iter_rows():
        part = by_contig.get(contig)
        if part is None:
            continue
        positions = part["position"].to_numpy()
        ends = positions + part["ref"].str.len_bytes().to_numpy().astype(np.int64) - 1
        reach = int((ends - positions).max())
        low, high = np.searchsorted(positions, start - reach), np.searchsorted(positions, end, side="right")
        inside = ends[low:high] >= start
        parts.append((gene, part["variant"].to_numpy()[low:high][inside]))
    rows = pl.DataFrame(
        {
            "gene": pl.Series([g for g, found in parts for _ in found], dtype=pl.String),
            "variant": np.concatenate([f for _, f in parts]) if parts else np.empty(0, dtype=np.int64),
        }
    ).unique(maintain_order=True)
    count = rows.group_by("gene").agg(pl.len().cast(pl.Int64).alias("n_genotyped"))
    genes = bed.group_by("gene", maintain_order=True).agg(
        pl.col("contig").first(), pl.col("start").min(), pl.col("end").max()
    )
    genes = genes.join(count, on="gene", how="left", maintain_order="left").with_columns(
        pl.col("n_genotyped").fill_null(0), pl.col("n_genotyped").fill_null(0).alias("n_annotated")
    )
    counts = {
        "genes": genes.height,
        "alleles of the genotypes": table.height,
        "alleles of the genotypes in a gene": rows["variant"].n_unique(),
    }
    empty = [pl.lit(None, dtype=t).alias(n) for n, t in (("canonical", pl.Boolean), ("mane", pl.Boolean))]
    rows = rows.with_columns(pl.lit("").alias("consequence"), pl.lit(None, dtype=pl.String).alias("lof"), *empty)
    order = ["gene", "contig", "start", "end", "n_annotated", "n_genotyped"]
    return MatchedGenes(rows, _in_genome_order(genes).select(order), counts)


def select_variants(
    rows: pl.DataFrame, masks: Sequence[Mask], *, transcripts: TranscriptRule = "any", any_label: bool = False
) -> pl.DataFrame:
    """Return which variants each gene has under each mask's consequences (GENE_VARIANTS); frequency comes later.

    ``any_label``: a mask may name labels that occur nowhere, as regenie's may.

    Raises
    ------
    ConfigError: when the rule asks for canonical or MANE transcripts that the annotation does not mark, or a mask names
        a word that neither is a term nor occurs in the annotation.
    """
    rows = _of_transcripts(rows, transcripts)
    labels = rows["consequence"].unique().sort().to_list()
    if not any_label:
        check_mask_words(masks, labels)
    parts = [_of_mask(rows, labels, mask) for mask in masks]
    frame = pl.concat(parts).sort("gene", "mask", "variant") if parts else GENE_VARIANTS.empty()
    return GENE_VARIANTS.validate(frame)


def _of_transcripts(rows: pl.DataFrame, rule: TranscriptRule) -> pl.DataFrame:
    if rule in ("canonical", "mane"):
        if rows.height and rows[rule].null_count() == rows.height:
            raise ConfigError(
                f"the annotation does not mark {'canonical' if rule == 'canonical' else 'MANE'} transcripts",
                hint=f"annotate with VEP's --{rule}, or choose any or worst transcripts",
            )
        return rows.filter(pl.col(rule))
    if rule == "any":
        return rows
    labels = rows["consequence"].unique().sort().to_list()
    worst = [worst_term(label) for label in labels]
    rank = [severity(term) for term in worst]
    term = pl.col("consequence").replace_strict(labels, worst, return_dtype=pl.String)
    ranked = rows.with_columns(
        term.alias("consequence"),
        pl.col("consequence").replace_strict(labels, rank, return_dtype=pl.Int64).alias("_rank"),
    )
    best = pl.col("_rank").min().over("gene", "variant")
    return ranked.filter(pl.col("_rank") == best).drop("_rank")


def check_mask_words(masks: Sequence[Mask], labels: Sequence[str]) -> None:
    """Raise a :class:`ConfigError` for a word that is no consequence and in none of an annotation's labels."""
    written = {term for label in labels for term in label.split("&")}
    for mask in masks:
        for word in mask.consequences.split("+"):
            if word.strip() != ANY_VARIANT and not known_word(word.strip()) and word.strip() not in written:
                raise ConfigError(
                    f"mask {mask.name}: {word.strip()!r} is no consequence and occurs nowhere in the annotation",
                    hint="lof, missense, synonymous, a Sequence Ontology term, or a label of the annotation",
                )


def check_intervals(masks: Sequence[Mask]) -> None:
    """Raise a :class:`ConfigError` for a mask that asks for consequences where genes are mere intervals."""
    for mask in masks:
        if mask.consequences != ANY_VARIANT:
            raise ConfigError(
                f"mask {mask.name}: intervals of genes say no consequence of a variant",
                hint=f"mask {ANY_VARIANT!r}, or an annotation instead of the intervals",
            )


def _of_mask(rows: pl.DataFrame, labels: list[str], mask: Mask) -> pl.DataFrame:
    """Gene, mask, variant, and the most severe term that let it in."""
    everything = mask.consequences == ANY_VARIANT
    terms = frozenset() if everything else terms_of_mask(mask.consequences)
    admitted = {}
    for label in labels:
        fitting = label if everything else "&".join(t for t in label.split("&") if t in terms)
        if fitting or everything:
            admitted[label] = worst_term(fitting)
    names = sorted(admitted)
    kept = rows.filter(pl.col("consequence").is_in(names))
    term = pl.col("consequence").replace_strict(names, [admitted[n] for n in names], return_dtype=pl.String)
    kept = kept.with_columns((term if names else pl.lit("")).alias("consequence"))
    if mask.confident:
        kept = kept.filter(~pl.col("consequence").is_in(sorted(CLASSES["lof"])) | (pl.col("lof") == "HC"))
    found = kept["consequence"].unique().sort().to_list()
    rank = pl.col("consequence").replace_strict(found, [severity(t) for t in found], return_dtype=pl.Int64)
    ordered = kept.with_columns((rank if found else pl.lit(UNKNOWN_SEVERITY)).alias("_rank"))
    ordered = ordered.sort("gene", "variant", "_rank", "consequence").unique(
        ["gene", "variant"], keep="first", maintain_order=True
    )
    return ordered.select("gene", pl.lit(mask.name).alias("mask"), pl.col("variant").cast(pl.Int64), "consequence")


def numbers_of_variants(variants: pl.DataFrame, table: pl.DataFrame, column: str) -> FloatArray:
    """A table's numbers in the order of the variants, NaN where it lacks one; by alleles, else by identifier."""
    keys = ["contig", "position", "ref", "alt"]
    if column not in table.columns or not (set(keys) <= set(table.columns) or "variant_id" in table.columns):
        raise ConfigError(
            f"the {column} table needs {column} and variant_id, or {column}, contig, position, ref, alt",
            hint="it has: " + ", ".join(table.columns),
        )
    if set(keys) <= set(table.columns):
        table = table.with_columns(
            normalise_contigs(table["contig"].cast(pl.String)), pl.col("position").cast(pl.Int64)
        )
        table, ours = _trimmed(table.select(*keys, column)), _trimmed(variants.select(*keys))
    else:
        keys, table, ours = ["variant_id"], table.select("variant_id", column), variants.select("variant_id")
    if table.select(keys).is_duplicated().any():
        raise ConfigError(f"the {column} table has a variant twice")
    numbers = table.select(*keys, pl.col(column).cast(pl.Float64))
    found = ours.join(numbers, on=keys, how="left", maintain_order="left")[column]
    return found.fill_null(float("nan")).to_numpy().astype(np.float64)


def frequencies_of_variants(variants: pl.DataFrame, table: pl.DataFrame) -> tuple[FloatArray, int]:
    """Return a table's ALT frequencies in the order of the variants, NaN where it lacks one, and how many were turned.

    A table that names alleles may hold a variant with REF and ALT exchanged: its frequency is then 1 - that of the
    table, where the table has no other alleles at the position (of three alleles, one's frequency tells no other's).

    Parameters
    ----------
    table: ``frequency``, or ``alt_frequency`` as ``genomix variants qc`` writes it; keys as in
        :func:`numbers_of_variants`.
    """
    if "frequency" not in table.columns and "alt_frequency" in table.columns:
        table = table.rename({"alt_frequency": "frequency"})
    found = numbers_of_variants(variants, table, "frequency")
    keys = ["contig", "position", "ref", "alt"]
    if not set(keys) <= set(table.columns) or not np.isnan(found).any():
        return found, 0
    alone = table.filter(pl.len().over("contig", "position") == 1)
    turned = numbers_of_variants(variants, alone.rename({"ref": "alt", "alt": "ref"}), "frequency")
    exchanged = np.isnan(found) & ~np.isnan(turned)
    return np.where(exchanged, 1 - turned, found), int(exchanged.sum())


_MASK_KEYS = ("name", "consequences", "max_frequency", "confident")


def make_mask(entry: str | Mapping[str, Any], max_frequency: float | None) -> Mask:
    """Return a mask from words (``missense+lof``) or a table with the keys of :class:`Mask`.

    Parameters
    ----------
    max_frequency: of a mask that names none.
    """
    if isinstance(entry, str):
        return Mask(entry, entry, max_frequency)
    unknown = sorted(set(entry) - set(_MASK_KEYS))
    if unknown or "consequences" not in entry:
        raise ConfigError(
            f"a mask has no key {unknown[0]!r}" if unknown else "a mask needs consequences",
            hint="keys: " + ", ".join(_MASK_KEYS),
        )
    words = str(entry["consequences"])
    limit = entry.get("max_frequency", max_frequency)
    return Mask(str(entry.get("name", words)), words, limit, bool(entry.get("confident", False)))
