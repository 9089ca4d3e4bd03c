"""PGS Catalog scoring files (https://www.pgscatalog.org/downloads/#dl_ftp_scoring) and plain score tables.

Read into the SCORE_WEIGHTS frame: harmonised positions (``hm_chr``, ``hm_pos``) win over the author's where the file
has them. A weight that is not additive per copy of one allele is an error: it would be summed wrongly and look right.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from genomix.errors import ConfigError, FormatError, InputNotFoundError
from genomix.io.bgzf import text_lines
from genomix.io.contigs import UNKNOWN_BUILD, normalise_contigs, resolve_build
from genomix.schemas.genotypes import SCORE_WEIGHTS

_ALIASES = {
    "contig": ("hm_chr", "chr_name", "contig", "chromosome", "chrom", "chr", "#chrom"),
    "position": ("hm_pos", "chr_position", "position", "pos", "bp"),
    "effect_allele": ("effect_allele", "a1"),
    "other_allele": ("other_allele", "reference_allele", "hm_inferOtherAllele", "a2"),
    "weight": ("effect_weight", "weight", "beta"),
}
_NON_ADDITIVE = {"is_dominant": "dominant", "is_recessive": "recessive", "is_haplotype": "haplotype",
                 "is_diplotype": "diplotype", "is_interaction": "interaction"}  # fmt: skip


@dataclass(frozen=True)
class ScoreHeader:
    """What a scoring file says about itself.

    Parameters
    ----------
    name: the score's identifier, or the file's name without suffixes.
    build: build of the positions that were read (the harmonised one where those were), or ``"unknown"``.
    trait: reported trait, or empty.
    citation: the publication's citation, or empty.
    n_variants: rows of the file.
    n_without_position: rows that were left out because no position is known (unmapped by harmonisation).
    """

    name: str
    build: str
    trait: str
    citation: str
    n_variants: int
    n_without_position: int


class ScoringFile(NamedTuple):
    """A score's weights (schema SCORE_WEIGHTS) and header."""

    weights: pl.DataFrame
    header: ScoreHeader


def read_scoring_file(path: Path) -> ScoringFile:
    """Read a PGS Catalog scoring file, plain or harmonised, or a TSV or CSV with the SCORE_WEIGHTS columns.

    Raises
    ------
    FormatError: for missing columns, unreadable numbers, or weights that are not additive.
    """
    if not path.is_file():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    lines = [line.decode("utf-8", errors="replace") for line in text_lines(path)]
    n_meta = _header_end(lines)
    facts = dict(part.strip().split("=", 1) for line in lines[:n_meta] if "=" in (part := line.lstrip("#")))
    body = [line for line in lines[n_meta:] if line.strip()]
    if not body:
        raise FormatError(f"{path.name} has no table", where=str(path))
    table = _read_table(body, path)
    _refuse_non_additive(table, path, n_meta + 2)
    harmonised = "hm_pos" in table.columns and table["hm_pos"].is_not_null().any()
    weights = _weights(table, path, n_meta + 2, harmonised)
    placed = weights.filter(pl.col("contig").is_not_null() & pl.col("position").is_not_null())
    if not placed.height:
        raise FormatError(
            f"{path.name} has no variant with a position", where=str(path), hint="use the harmonised file (hmPOS)"
        )
    placed = placed.with_columns(normalise_contigs(placed["contig"]))
    build = facts.get("HmPOS_build" if harmonised else "genome_build", "")
    header = ScoreHeader(
        name=facts.get("pgs_id") or _accession(table, path) or path.name.split(".")[0],
        build=_build(build),
        trait=facts.get("trait_reported", "").strip(),
        citation=facts.get("citation", "").strip(),
        n_variants=weights.height,
        n_without_position=weights.height - placed.height,
    )
    return ScoringFile(SCORE_WEIGHTS.validate(placed, where=str(path)), header)


def _header_end(lines: list[str]) -> int:
    """Meta lines start with ``#``; a table whose own first column is ``#CHROM`` is no meta line."""
    for number, line in enumerate(lines):
        if not line.startswith("#") or line.lower().startswith("#chrom\t"):
            return number
    return len(lines)


def _read_table(body: list[str], path: Path) -> pl.DataFrame:
    separator = "\t" if "\t" in body[0] else ","
    try:
        return pl.read_csv(
            io.BytesIO("\n".join(body).encode()), separator=separator, quote_char=None, infer_schema=False,
            null_values=["", "NA", "."],
        )  # fmt: skip
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{path.name} is not a table: {str(error).splitlines()[0]}", where=str(path)) from error


def _accession(table: pl.DataFrame, path: Path) -> str | None:
    """The score's name in a table that says it row by row; a table of several scores is refused."""
    if "accession" not in table.columns:
        return None
    names = table["accession"].drop_nulls().unique().sort().to_list()
    if len(names) > 1:
        raise FormatError(
            f"the file holds {len(names)} scores ({names[0]}, {names[1]}, ...)",
            where=str(path),
            hint="one file per score",
        )
    return str(names[0]) if names else None


def _refuse_non_additive(table: pl.DataFrame, path: Path, first_line: int) -> None:
    """Refuse dominance, recessive, haplotype, interaction and per-dosage weights, naming the line."""
    hint = "such scores cannot be summed per allele copy; remove those rows or choose another score"
    if "dosage_0_weight" in table.columns:
        raise FormatError("the score gives one weight per genotype, not per allele copy", where=str(path), hint=hint)
    kinds = {c: k for c, k in _NON_ADDITIVE.items() if c in table.columns}
    for column, kind in kinds.items():
        flagged = table[column].fill_null("false").str.to_lowercase().is_in(["true", "1", "yes"])
        if flagged.any():
            line = first_line + int(flagged.arg_max() or 0)
            raise FormatError(f"effect_weight is not additive here: {kind}", where=f"{path}:{line}", hint=hint)
    if "effect_type" in table.columns:
        other = table["effect_type"].fill_null("additive").str.to_lowercase() != "additive"
        if other.any():
            row = int(other.arg_max() or 0)
            kind = str(table["effect_type"][row])
            raise FormatError(
                f"effect_weight is not additive here: {kind}", where=f"{path}:{first_line + row}", hint=hint
            )


def _weights(table: pl.DataFrame, path: Path, first_line: int, harmonised: bool) -> pl.DataFrame:
    chosen = {target: _column(table, names, harmonised) for target, names in _ALIASES.items()}
    for target, name in chosen.items():
        if name is None and target not in ("other_allele", "contig", "position"):
            raise FormatError(
                f"{path.name} has no column for {target}", where=str(path), hint="it has: " + ", ".join(table.columns)
            )
        if name is None and target != "other_allele":
            raise FormatError(
                f"{path.name} has no {target}s", where=str(path), hint="use the harmonised file (hmPOS) of the score"
            )
    columns = [
        (pl.col(name) if name else pl.lit(None, dtype=pl.String)).str.strip_chars().alias(target)
        for target, name in chosen.items()
    ]
    raw = table.select(columns)
    typed = raw.with_columns(
        pl.col("position").cast(pl.Int64, strict=False),
        pl.col("weight").cast(pl.Float64, strict=False),
        pl.col("effect_allele", "other_allele").str.to_uppercase(),
    )
    for name in ("position", "weight"):
        unreadable = raw[name].is_not_null() & typed[name].is_null()
        if unreadable.any():
            row = int(unreadable.arg_max() or 0)
            raise FormatError(f"{name} {raw[name][row]!r} is not a number", where=f"{path}:{first_line + row}")
    for name in ("weight", "effect_allele"):
        if typed[name].null_count() or (name == "weight" and not typed[name].is_finite().all()):
            bad = typed[name].is_null() if typed[name].null_count() else ~typed[name].is_finite()
            raise FormatError(f"{name} is missing", where=f"{path}:{first_line + int(bad.arg_max() or 0)}")
    return typed.select(SCORE_WEIGHTS.names)


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
