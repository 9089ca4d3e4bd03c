"""The variants behind a score, a burden or a dosage of one person, and the value computed again from them.

Each variant is counted by a plain loop over what the feature family learned (alleles, weights, frequencies), apart from
the compiled sums that made the value. Variants of genes on the ACMG list of secondary findings are withheld unless
asked for, and so are those whose gene is not known: without an annotation, or where it has no line for a variant.
Intervals of genes are taken to be complete: a variant outside all of them is in no gene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.device import CPU
from genomix.errors import ConfigError
from genomix.explain.chain_result import Chain, number, require_equal
from genomix.explain.secondary_findings import VERSION, can_be_recognised, is_secondary
from genomix.features.family import FeatureInputs
from genomix.features.genotypes import project_ancestry, rows_of_keys
from genomix.io.annotation import Annotation
from genomix.io.contigs import PloidyClass, ploidy_classes
from genomix.io.plink import GenotypeStore
from genomix.schemas.explain import VARIANT_SOURCES
from genomix.schemas.scores import ADDITIVE, DOMINANT, GENOTYPIC, RECESSIVE
from genomix.variants.burden_copies import PeopleCopies, VariantCopies, copies_of
from genomix.variants.consequences import severity, worst_term
from genomix.variants.gene_masks import match_genes


@dataclass(frozen=True)
class VariantsBehind:
    """A person's genotypes and what the families learned.

    Parameters
    ----------
    sample: 0-based sample of the store, -1 where the person has none. learned: by family, as in a model bundle.
    collapse, missing: of the burden family, where it made a column.
    annotation: gene and consequence of variants, or intervals of genes; None where nothing says.
    nucleotides: variant key (contig:position:ref:alt) → attribution of a sequence model to the base.
    """

    store: GenotypeStore
    sample: int
    learned: Mapping[str, Mapping[str, Any]]
    collapse: str = "count"
    missing: str = "reference"
    annotation: Annotation | pl.DataFrame | None = None
    nucleotides: Mapping[str, float] = field(default_factory=dict)


class _Found(NamedTuple):
    """Sources before anything is withheld, the value from them, how large its summands are, and words."""

    sources: pl.DataFrame
    again: float
    scale: float
    note: str


class _Line(NamedTuple):
    """One variant: its key, whether REF is counted, copies, what counts, weight and term."""

    key: str
    reference: bool
    copies: float | None
    counted_as: float
    weight: float | None
    term: float


def variant_chain(
    column: Mapping[str, Any], value: float, behind: VariantsBehind, *, show_secondary: bool = False
) -> Chain:
    """Return the variants behind a column (a row of COLUMNS) of polygenic_score, burden or dosages.

    Raises
    ------
    IntegrityError: the genotypes do not give the value. ConfigError: the column is not among what was learned.
    """
    makers = {"polygenic_score": _score, "burden": _burden, "dosages": _dosage}
    name, family = column["name"], column["family"]
    if behind.sample < 0:
        return _none(column, value, "this person has no genotypes")
    if family == "ancestry_pcs":
        n = len(behind.learned.get("ancestry_pcs", {}).get("variants", ()))
        return _none(column, value, f"a projection of {n:,} variants at once: no few of them stand behind it")
    if family not in makers:
        raise ConfigError(f"{name} is not made of variants")
    found = makers[family](column, behind)
    require_equal(name, value, found.again, scale=found.scale)
    return _told(column, value, found, behind, show_secondary=show_secondary)


def _unclear(gene: str | None, annotation: Annotation | pl.DataFrame | None) -> bool:
    """Say whether nobody can tell if the list of secondary findings holds a variant's gene."""
    if gene is None:
        return not isinstance(annotation, pl.DataFrame)
    return not can_be_recognised(gene.split(";"))


def _none(column: Mapping[str, Any], value: float, note: str) -> Chain:
    return Chain(
        column["name"], column["sentence"], column["unit"], "none", number(value), None, checked=False, sources=None,
        note=note,
    )  # fmt: skip


def _told(
    column: Mapping[str, Any], value: float, found: _Found, behind: VariantsBehind, *, show_secondary: bool
) -> Chain:
    """Withhold what is not to be seen, number the rest, the largest terms first."""
    own_gene = column["code"] if column["family"] == "burden" else None
    notes = [found.note] if found.note else []
    hidden = np.zeros(found.sources.height, dtype=bool)
    if not show_secondary:
        genes = [own_gene or g for g in found.sources["gene"].to_list()]
        unclear = [_unclear(g, behind.annotation) for g in genes]
        hidden = np.array([u or is_secondary(g) for u, g in zip(unclear, genes, strict=True)], dtype=bool)
        if any(unclear):
            notes.append(f"{sum(unclear):,} variants are withheld: whether {VERSION} lists their genes is not known")
        if listed_genes := int(hidden.sum()) - sum(unclear):
            notes.append(f"{listed_genes:,} variants are withheld: {VERSION} lists their genes")
    # A dosage is a genotype, and a burden of a listed gene says what its carriers have: then the value says it all.
    secret = bool(hidden.any()) and column["family"] != "polygenic_score"
    listed = found.sources.filter(pl.Series(~hidden))
    order = np.argsort(-np.abs(listed["term"].to_numpy()), kind="stable")
    listed = listed[order].with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("n"))
    return Chain(
        column["name"], column["sentence"], column["unit"], "variants", None if secret else number(value),
        None if secret else number(found.again), checked=True, sources=VARIANT_SOURCES.validate(listed),
        n_sources=found.sources.height, withheld=int(hidden.sum()), note="; ".join(notes),
    )  # fmt: skip


def _table(lines: list[_Line], behind: VariantsBehind, gene: str | None = None) -> pl.DataFrame:
    """Return the lines with alleles, gene, consequence and nucleotide attribution."""
    parts = [line.key.rsplit(":", 3) for line in lines]
    frame = pl.DataFrame(
        {
            "contig": pl.Series([p[0] for p in parts], dtype=pl.String),
            "position": pl.Series([int(p[1]) for p in parts], dtype=pl.Int64),
            "ref": pl.Series([p[2] for p in parts], dtype=pl.String),
            "alt": pl.Series([p[3] for p in parts], dtype=pl.String),
            "counted_allele": pl.Series(
                [p[2] if line.reference else p[3] for p, line in zip(parts, lines, strict=True)], dtype=pl.String
            ),
            "copies": pl.Series([line.copies for line in lines], dtype=pl.Float64),
            "counted_as": pl.Series([line.counted_as for line in lines], dtype=pl.Float64),
            "weight": pl.Series([line.weight for line in lines], dtype=pl.Float64),
            "term": pl.Series([line.term for line in lines], dtype=pl.Float64),
            "nucleotide": pl.Series([behind.nucleotides.get(line.key) for line in lines], dtype=pl.Float64),
        }
    )
    rows = rows_of_keys(behind.store, [line.key for line in lines])
    identifiers = behind.store.variants["variant_id"].gather(np.maximum(rows, 0))
    named = frame.with_columns(identifiers.alias("variant_id"))
    named = named.with_columns(pl.when(pl.Series(rows >= 0)).then("variant_id").alias("variant_id"))
    told = _annotated(named, behind.annotation, gene)
    return frame.with_columns(
        pl.Series("gene", [g for g, _ in told], dtype=pl.String),
        pl.Series("consequence", [c for _, c in told], dtype=pl.String),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("n"),
    ).select(VARIANT_SOURCES.names)


def _annotated(
    variants: pl.DataFrame, annotation: Annotation | pl.DataFrame | None, gene: str | None
) -> list[tuple[str | None, str | None]]:
    """Return gene (all of them, joined) and most severe consequence of each variant; of one gene where it is named."""
    nothing: list[tuple[str | None, str | None]] = [(gene, None)] * variants.height
    if annotation is None or not variants.height:
        return nothing
    rows = match_genes(annotation, variants).rows.drop_nulls("variant")
    if gene is not None:
        rows = rows.filter(pl.col("gene") == gene)
    found = list(nothing)
    for key, part in rows.group_by("variant"):
        genes = ";".join(part["gene"].unique().sort().to_list())
        terms = [] if isinstance(annotation, pl.DataFrame) else [worst_term(c) for c in part["consequence"].to_list()]
        found[int(str(key[0]))] = (genes, min(terms, key=lambda t: (severity(t), t)) if terms else None)
    return found


def _dosage(column: Mapping[str, Any], behind: VariantsBehind) -> _Found:
    key = column["group"]
    row = rows_of_keys(behind.store, [key])
    copies = float("nan")
    if row[0] >= 0:
        copies = float(behind.store.read_dosages(row, np.array([behind.sample]))[0, 0])
    known = None if np.isnan(copies) else copies
    line = _Line(key, False, known, known or 0.0, None, known or 0.0)
    return _Found(_table([line], behind), copies, 0.0, "" if row[0] >= 0 else "the genotypes lack the variant")


def _score(column: Mapping[str, Any], behind: VariantsBehind) -> _Found:
    facts = behind.learned.get("polygenic_score", {}).get("scores", {}).get(column["code"])
    if facts is None:
        raise ConfigError(f"{column['name']} is not among the scores that were learned")
    ancestry = behind.learned["polygenic_score"]["ancestry"]
    keys, rows = facts["variants"], rows_of_keys(behind.store, facts["variants"])
    reference = np.asarray(facts["reference"], dtype=np.bool_)
    dosages = np.full(len(keys), np.nan)
    for flag in (False, True):
        at = np.flatnonzero((rows >= 0) & (reference == flag))
        if at.size:
            read = behind.store.read_dosages(rows[at], np.array([behind.sample]), reference=flag)
            dosages[at] = read[:, 0]
    classes = ploidy_classes([k.split(":")[0] for k in keys], [int(k.split(":")[1]) for k in keys], behind.store.build)
    male = bool(PeopleCopies.of(behind.store, np.array([behind.sample])).male[0])
    lines = [
        _score_line(key, flag, float(d), float(p), _effect(facts, i), PloidyClass(int(c)), present=row >= 0, male=male)
        for i, (key, flag, d, p, c, row) in enumerate(
            zip(keys, reference.tolist(), dosages, facts["frequencies"], classes, rows.tolist(), strict=True)
        )
    ]
    total = float(sum(line.term for line in lines))
    design = [1.0]
    if ancestry is not None:
        inputs = FeatureInputs(
            pl.DataFrame({"row": [0]}), CPU, genotypes=behind.store, sample_of_row=np.array([behind.sample])
        )
        design += project_ancestry(inputs, ancestry)[0].tolist()
    expected = float(sum(a * b for a, b in zip(design, facts["coefficients"], strict=True)))
    note = (
        f"sum {total:.6g}, expected {'at this ancestry' if ancestry is not None else 'among training people'} "
        f"{expected:.6g}, standard deviation {facts['spread']:.6g}: the value is their difference over the last"
    )
    scale = sum(abs(line.term) for line in lines) / float(facts["spread"])
    return _Found(_table(lines, behind), (total - expected) / float(facts["spread"]), scale, note)


def _effect(facts: Mapping[str, Any], i: int) -> tuple[str, tuple[float, ...]]:
    """Return the effect type and its weights: one per copy, or those of 0, 1 and 2 copies."""
    effects = facts.get("effects", {})
    kind = effects["effect_type"][i] if effects else ADDITIVE
    if kind == GENOTYPIC:
        return kind, tuple(float(effects[f"weight_{n}"][i]) for n in range(3))
    return kind, (float(facts["weights"][i]),)


def _score_line(
    key: str, reference: bool, dosage: float, p: float, effect: tuple[str, tuple[float, ...]], ploidy: PloidyClass, *,
    present: bool, male: bool,
) -> _Line:  # fmt: skip
    """Count one variant of a score: see :mod:`genomix.variants.score_sums` for ploidy and missing genotypes."""
    kind, w = effect
    haploid = ploidy in (PloidyClass.Y, PloidyClass.MT)
    if ploidy == PloidyClass.Y and not male and present:
        return _Line(key, reference, 0.0, 0.0, w[0] if kind != GENOTYPIC else None, 0.0)
    copies = dosage / 2 if haploid else dosage
    if np.isnan(copies):
        copies_known, counted = None, p if haploid else 2 * p
        once, beyond = (p, 0.0) if haploid else (p * (2 - p), p * p)
    else:
        copies_known, counted = copies, copies
        once, beyond = min(copies, 1.0), max(copies - 1.0, 0.0)
    term = {
        ADDITIVE: lambda: w[0] * counted,
        DOMINANT: lambda: w[0] * once,
        RECESSIVE: lambda: w[0] * beyond,
        GENOTYPIC: lambda: w[0] + (w[1] - w[0]) * once + (w[2] - w[1]) * beyond,
    }[kind]()
    return _Line(key, reference, copies_known, counted, w[0] if kind != GENOTYPIC else None, float(term))


def _burden(column: Mapping[str, Any], behind: VariantsBehind) -> _Found:
    facts = next(
        (c for c in behind.learned.get("burden", {}).get("columns", ())
         if column["name"] == f"burden:{c['gene']}:{c['mask']}"), None,
    )  # fmt: skip
    if facts is None:
        raise ConfigError(f"{column['name']} is not among the burdens that were learned")
    sample = np.array([behind.sample])
    people = PeopleCopies.of(behind.store, sample)
    rows = rows_of_keys(behind.store, facts["variants"])
    places = [key.split(":", 2) for key in facts["variants"]]
    carried = VariantCopies.of_classes(
        ploidy_classes([p[0] for p in places], [int(p[1]) for p in places], behind.store.build)
    )
    lines = []
    for i, (key, row) in enumerate(zip(facts["variants"], rows.tolist(), strict=True)):
        flipped, weight = bool(facts["flipped"][i]), float(facts["weights"][i])
        here = carried.taken(np.array([i]))
        copies, called = 0.0, False
        if row >= 0:
            found = copies_of(behind.store.read_calls(np.array([row]), sample), np.array([flipped]), here, people)
            copies, called = float(found.copies[0, 0]), bool(found.called[0, 0])
        frequency = float(facts["frequencies"][i])
        expected = float(here.most[0]) * (1 - frequency if flipped else frequency)
        nobody = bool(here.on_y[0]) and not bool(people.male[0])
        counted = copies if called else expected if behind.missing == "mean" and not nobody else 0.0
        lines.append(_Line(key, flipped, copies if called else None, counted, weight, weight * counted))
    counts = np.array([line.counted_as for line in lines])
    again = {
        "carrier": float((counts > 0).any()), "count": float(counts.sum()), "max": float(counts.max(initial=0.0)),
        "weighted": float(sum(line.term for line in lines)),
    }[behind.collapse]  # fmt: skip
    note = {"carrier": "1 where any is carried", "max": "the most copies of any one"}.get(behind.collapse, "")
    return _Found(_table(lines, behind, facts["gene"]), again, float(np.abs(counts).sum()), note)
