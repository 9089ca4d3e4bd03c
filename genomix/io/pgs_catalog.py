"""PGS Catalog scoring files (https://www.pgscatalog.org/downloads/#dl_ftp_scoring) and plain score tables.

Harmonised positions (``hm_chr``, ``hm_pos``) win over the author's where the file has them. Dominant and recessive
weights and one weight per genotype are read as such; haplotypes, diplotypes, interactions and alleles that are names
(HLA, APOE) cannot be summed per variant, and their rows say so.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.bgzf import text_lines
from genomix.io.contigs import UNKNOWN_BUILD, normalise_contigs, resolve_build
from genomix.schemas.genotypes import SCORE_WEIGHTS
from genomix.schemas.scores import ADDITIVE, DOMINANT, GENOTYPIC, RECESSIVE, SCORE_TERMS

_ALIASES = {
    "contig": ("hm_chr", "chr_name", "contig", "chromosome", "chrom", "chr", "#chrom"),
    "position": ("hm_pos", "chr_position", "position", "pos", "bp"),
    "variant_id": ("hm_rsID", "rsID", "variant_id", "snp", "id"),
    "effect_allele": ("effect_allele", "a1"),
    "other_allele": ("other_allele", "reference_allele", "hm_inferOtherAllele", "a2"),
    "weight": ("effect_weight", "weight", "beta"),
    "effect_frequency": ("allelefrequency_effect", "effect_frequency"),
}
_PER_GENOTYPE = ("dosage_0_weight", "dosage_1_weight", "dosage_2_weight")
_COMPLEX = ("haplotype", "diplotype", "interaction")
NAMED_ALLELE = "named allele"
LEFT_OUT_WHEN_READ = (*_COMPLEX, NAMED_ALLELE)
"""Reasons why a row of a scoring file cannot be summed over variants."""

_OLD_KEYS = {
    "pgs id": "pgs_id", "pgs name": "pgs_name", "reported trait": "trait_reported",
    "original genome build": "genome_build", "number of variants": "variants_number", "omicspred_id": "pgs_id",
}  # fmt: skip
"""Header fields of format version 1 and of OmicsPred."""


@dataclass(frozen=True)
class ScoreHeader:
    """What a scoring file says about itself.

    Parameters
    ----------
    name: the score's identifier, or the file's name without suffixes.
    build: build of the positions that were read (the harmonised one where those were), or ``"unknown"``.
    trait: reported trait, or empty.
    citation: the publication's citation, or empty.
    n_variants: rows of the file (of this score).
    n_without_position: rows that were left out because no position is known (unmapped by harmonisation).
    licence, weight_type: as stated, or empty.
    discovery_cohorts: cohorts that the file itself names, as written, or empty.
    """

    name: str
    build: str
    trait: str
    citation: str
    n_variants: int
    n_without_position: int
    licence: str = ""
    weight_type: str = ""
    discovery_cohorts: str = ""


class ScoringFile(NamedTuple):
    """A score's weights (schema SCORE_WEIGHTS, or SCORE_TERMS where some are not additive) and header."""

    weights: pl.DataFrame
    header: ScoreHeader


class ScoreTable(NamedTuple):
    """Every row of one score (schema SCORE_TERMS, also rows that cannot be summed) and its header."""

    terms: pl.DataFrame
    header: ScoreHeader


def read_scoring_file(path: Path) -> ScoringFile:
    """Read a file of one score without haplotypes, diplotypes and interactions.

    Rows without a position are left out and counted in the header; alleles that are names match nothing later.

    Raises
    ------
    FormatError: for missing columns, unreadable numbers, several scores, rows that cannot be summed, no position.
    """
    tables = read_score_tables(path)
    if len(tables) > 1:
        raise FormatError(
            f"the file holds {len(tables)} scores ({tables[0].header.name}, {tables[1].header.name}, ...)",
            where=str(path),
            hint="one file per score",
        )
    terms, header = tables[0]
    _refuse_left_out(terms, path, _COMPLEX)
    placed = terms.filter(pl.col("contig").is_not_null() & pl.col("position").is_not_null())
    if not placed.height:
        raise FormatError(
            f"{path.name} has no variant with a position", where=str(path), hint="use the harmonised file (hmPOS)"
        )
    if (placed["effect_type"] == ADDITIVE).all():
        placed = placed.select(SCORE_WEIGHTS.names)
    return ScoringFile(placed, header)


def read_score_tables(
    path: Path, *, strict: bool = False, weight_columns: tuple[str, ...] | None = None
) -> list[ScoreTable]:
    """Read every score of a scoring file: PGS Catalog (versions 1 and 2, harmonised or not), combined, TSV or CSV.

    Parameters
    ----------
    strict: a row that cannot be summed over variants is an error instead of a row with a reason in ``left_out``.
    weight_columns: columns of weights of a wide table, each a score of the column's name; None for the usual column.

    Raises
    ------
    FormatError: for missing columns, unreadable numbers, effect types that are not known.
    """
    lines = [line.decode("utf-8", errors="replace") for line in text_lines(path)]
    n_meta = _header_end(lines)
    facts = _facts(lines[:n_meta])
    numbered = [(number, line) for number, line in enumerate(lines[n_meta:], start=n_meta + 1) if line.strip()]
    if not numbered:
        raise FormatError(f"{path.name} has no table", where=str(path))
    table = _read_table([line for _, line in numbered], path)
    at = pl.Series("line", [number for number, _ in numbered[1:]], dtype=pl.Int64)
    if not len(at):
        raise FormatError(f"{path.name} has column names and no weight below them", where=str(path))
    if table.height != len(at):
        raise FormatError(f"{path.name} is not a table: {table.height} rows of {len(at)} lines", where=str(path))
    harmonised = "hm_pos" in table.columns and table["hm_pos"].is_not_null().any()
    build = _build(facts.get("HmPOS_build" if harmonised else "genome_build", ""))
    if weight_columns is not None:
        _check_wide(weight_columns, table, path)
    found = []
    for column in weight_columns or (None,):
        terms = _terms(table, at, path, harmonised, column)
        if strict:
            _refuse_left_out(terms, path, LEFT_OUT_WHEN_READ)
        for name, part in [(column, terms)] if column is not None else _scores(table, terms, facts, path):
            found.append(ScoreTable(part, _header(name, part, facts, build)))
    return found


def _check_wide(weight_columns: tuple[str, ...], table: pl.DataFrame, path: Path) -> None:
    """Raise a :class:`ConfigError` unless each name is a column of a table of one score."""
    for name in weight_columns:
        if name not in table.columns:
            raise ConfigError(
                f"there is no column {name!r}", where=str(path), hint="it has: " + ", ".join(table.columns)
            )
    if not weight_columns or len(set(weight_columns)) < len(weight_columns) or "accession" in table.columns:
        raise ConfigError("columns of weights are named once each, in a table without accession", where=str(path))


def _header_end(lines: list[str]) -> int:
    """Meta lines start with ``#``; a table whose own first column is ``#CHROM`` is no meta line."""
    for number, line in enumerate(lines):
        if not line.startswith("#") or line.lower().startswith("#chrom\t"):
            return number
    return len(lines)


def _facts(lines: list[str]) -> dict[str, str]:
    """Header fields by their version 2 names."""
    found: dict[str, str] = {}
    for line in lines:
        if "=" in line:
            key, value = line.lstrip("#").strip().split("=", 1)
            found[_OLD_KEYS.get(key.strip().lower(), key.strip())] = value.strip()
    return found


def _read_table(body: list[str], path: Path) -> pl.DataFrame:
    separator = "\t" if "\t" in body[0] else ","
    if separator not in body[0] and len(body[0].split()) > 1:
        body, separator = ["\t".join(line.split()) for line in body], "\t"
    try:
        return pl.read_csv(
            io.BytesIO("\n".join(body).encode()), separator=separator, quote_char=None, infer_schema=False,
            null_values=["", "NA", "."], truncate_ragged_lines=False,
        )  # fmt: skip
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{path.name} is not a table: {str(error).splitlines()[0]}", where=str(path)) from error


def _scores(
    table: pl.DataFrame, terms: pl.DataFrame, facts: dict[str, str], path: Path
) -> list[tuple[str, pl.DataFrame]]:
    """The terms of each score: by the ``accession`` column where there is one, in order of first appearance."""
    if "accession" not in table.columns:
        return [(facts.get("pgs_id") or path.name.split(".")[0], terms)]
    if table["accession"].null_count():
        row = int(table["accession"].is_null().arg_max() or 0)
        raise FormatError("accession is missing", where=f"{path}:{terms['line'][row]}")
    names = table["accession"].unique(maintain_order=True).to_list()
    return [(str(name), terms.filter(table["accession"] == name)) for name in names]


def _header(name: str, terms: pl.DataFrame, facts: dict[str, str], build: str) -> ScoreHeader:
    placed = terms["contig"].is_not_null() & terms["position"].is_not_null()
    return ScoreHeader(
        name=name,
        build=build,
        trait=facts.get("trait_reported", ""),
        citation=facts.get("citation", facts.get("Citation", "")),
        n_variants=terms.height,
        n_without_position=terms.height - int(placed.sum()),
        licence=facts.get("license", facts.get("LICENSE", "")),
        weight_type=facts.get("weight_type", ""),
        discovery_cohorts=facts.get("discovery_cohorts", facts.get("cohorts", "")),
    )


def _terms(
    table: pl.DataFrame, at: pl.Series, path: Path, harmonised: bool, weight_column: str | None = None
) -> pl.DataFrame:
    """The table in the schema SCORE_TERMS."""
    per_genotype = weight_column is None and all(_column(table, (name,), harmonised) for name in _PER_GENOTYPE)
    chosen = {target: _column(table, names, harmonised) for target, names in _ALIASES.items()}
    if weight_column is not None:
        chosen["weight"] = weight_column
    _require_columns(chosen, table, path, per_genotype=per_genotype)
    sources = {**chosen, **{f"weight_{i}": name if per_genotype else None for i, name in enumerate(_PER_GENOTYPE)}}
    raw = table.select(
        (pl.col(name) if name else pl.lit(None, dtype=pl.String)).str.strip_chars().alias(target)
        for target, name in sources.items()
    )
    numbers = ("weight", "weight_0", "weight_1", "weight_2", "effect_frequency")
    typed = raw.with_columns(
        at,
        pl.col("position").cast(pl.Int64, strict=False),
        pl.col(numbers).cast(pl.Float64, strict=False),
        pl.col("effect_allele", "other_allele").str.to_uppercase(),
        _effect_type(table, at, path, per_genotype=per_genotype),
        _left_out(table),
    )
    for name in ("position", *numbers[:4]):
        _refuse(raw[name].is_not_null() & typed[name].is_null(), f"{name} {{!r}} is not a number", raw[name], at, path)
    if per_genotype:
        typed = typed.with_columns(_span().alias("weight"))
        for number in range(3):
            _refuse(typed[f"weight_{number}"].is_null(), f"weight_{number} is missing", None, at, path)
    finite = typed["weight"].is_finite().fill_null(False)
    _refuse(~finite, "weight is missing", None, at, path)
    _refuse(typed["effect_allele"].is_null(), "effect_allele is missing", None, at, path)
    named = ~pl.col("effect_allele").str.contains(r"^[ACGTN]+$")
    undecided = pl.col("other_allele").str.contains("/", literal=True)
    return SCORE_TERMS.validate(
        typed.with_columns(
            pl.coalesce("left_out", pl.when(named).then(pl.lit(NAMED_ALLELE))).alias("left_out"),
            pl.when(undecided).then(None).otherwise(pl.col("other_allele")).alias("other_allele"),
            normalise_contigs(typed["contig"].fill_null("")).replace({"": None}).alias("contig"),
        ).select(SCORE_TERMS.names),
        where=str(path),
    )


def _require_columns(chosen: dict[str, str | None], table: pl.DataFrame, path: Path, *, per_genotype: bool) -> None:
    """Raise when there is nothing to weigh, or nothing to find the variants by."""
    for target in ("effect_allele", "weight"):
        if chosen[target] is None and not (target == "weight" and per_genotype):
            raise FormatError(
                f"{path.name} has no column for {target}", where=str(path), hint="it has: " + ", ".join(table.columns)
            )
    for target in ("contig", "position"):
        if chosen[target] is None and chosen["variant_id"] is None:
            raise FormatError(
                f"{path.name} has no {target}s", where=str(path), hint="use the harmonised file (hmPOS) of the score"
            )


def _effect_type(table: pl.DataFrame, at: pl.Series, path: Path, *, per_genotype: bool) -> pl.Series:
    """Each row's effect type, from ``effect_type`` or from is_dominant and is_recessive."""
    n = table.height
    if per_genotype:
        return pl.Series("effect_type", [GENOTYPIC] * n, dtype=pl.String)
    stated = table["effect_type"].str.to_lowercase() if "effect_type" in table.columns else None
    kinds = stated.fill_null(ADDITIVE) if stated is not None else pl.Series([ADDITIVE] * n, dtype=pl.String)
    _refuse(~kinds.is_in([ADDITIVE, DOMINANT, RECESSIVE]), "effect_type {!r} is not known", kinds, at, path)
    both = _flag(table, "is_dominant") & _flag(table, "is_recessive")
    _refuse(both, "the weight is both dominant and recessive", None, at, path)
    frame = pl.DataFrame(
        {"kind": kinds, "dominant": _flag(table, "is_dominant"), "recessive": _flag(table, "is_recessive")}
    )
    chosen = (
        pl.when("dominant").then(pl.lit(DOMINANT)).when("recessive").then(pl.lit(RECESSIVE)).otherwise(pl.col("kind"))
    )
    return frame.select(chosen.alias("effect_type")).to_series()


def _left_out(table: pl.DataFrame) -> pl.Series:
    """Why a row cannot be summed: it is a haplotype, a diplotype or an interaction."""
    found = pl.Series("left_out", [None] * table.height, dtype=pl.String)
    for kind in _COMPLEX:
        flagged = _flag(table, f"is_{kind}")
        if flagged.any():
            found = pl.select(pl.when(found.is_null() & flagged).then(pl.lit(kind)).otherwise(found)).to_series()
    return found.alias("left_out")


def _flag(table: pl.DataFrame, column: str) -> pl.Series:
    if column not in table.columns:
        return pl.Series([False] * table.height, dtype=pl.Boolean)
    return table[column].fill_null("false").str.to_lowercase().is_in(["true", "1", "yes"])


def _span() -> pl.Expr:
    """The largest difference between the three weights."""
    each = ("weight_0", "weight_1", "weight_2")
    return pl.max_horizontal(each) - pl.min_horizontal(each)


def _refuse(bad: pl.Series, message: str, values: pl.Series | None, at: pl.Series, path: Path) -> None:
    """Raise a :class:`FormatError` that names the first line where ``bad`` is true."""
    if bad.any():
        row = int(bad.arg_max() or 0)
        text = message.format(values[row]) if values is not None else message
        raise FormatError(text, where=f"{path}:{at[row]}")


def _refuse_left_out(terms: pl.DataFrame, path: Path, reasons: tuple[str, ...]) -> None:
    """Raise for the first row that cannot be summed, for one of these reasons."""
    bad = terms.filter(pl.col("left_out").is_in(reasons))
    if bad.height:
        raise FormatError(
            f"the weight is not that of one allele of one variant: {bad['left_out'][0]} "
            f"({bad.height} such rows of {terms.height})",
            where=f"{path}:{bad['line'][0]}",
            hint="remove those rows, choose another score, or leave them out knowingly (not strict)",
        )


def _column(table: pl.DataFrame, names: tuple[str, ...], harmonised: bool) -> str | None:
    """The first alias present; harmonised columns are used together or not at all."""
    lower = {c.lower(): c for c in table.columns}
    for name in names:
        if name in ("hm_chr", "hm_pos") and not harmonised:
            continue
        if name.lower() in lower:
            return lower[name.lower()]
    return None


def _build(name: str) -> str:
    try:
        return resolve_build(name.strip()) if name.strip() not in ("", "NR") else UNKNOWN_BUILD
    except ConfigError:
        return UNKNOWN_BUILD
