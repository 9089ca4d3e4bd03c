"""Allele frequencies from a file: plink2's .afreq (also .zst or .gz), or a table with contig, position, ref and alt."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from genomix.errors import FormatError
from genomix.io.bgzf import text_lines
from genomix.io.contigs import normalise_contigs
from genomix.io.plink_tables import read_bytes
from genomix.io.tables import read_table
from genomix.schemas.scores import ALLELE_FREQUENCIES

_NAMES = {
    "contig": ("#CHROM", "CHROM", "contig", "chr", "chromosome"), "position": ("POS", "position", "pos", "bp"),
    "variant_id": ("ID", "variant_id", "SNP"), "ref": ("REF", "ref"), "alt": ("ALT", "alt"),
    "alt_frequency": ("ALT_FREQS", "ALT_FREQ", "alt_frequency"),
}  # fmt: skip


def read_frequencies(path: Path) -> pl.DataFrame:
    """Return a file's ALT frequencies, one row per ALT (schema ALLELE_FREQUENCIES).

    Raises
    ------
    FormatError: for missing columns, or a frequency that is no number from 0 to 1.
    """
    table = read_table(path) if path.suffix == ".parquet" else _read_text(path)
    chosen = {target: next((n for n in names if n in table.columns), None) for target, names in _NAMES.items()}
    for target in ("ref", "alt", "alt_frequency"):
        if chosen[target] is None:
            raise FormatError(
                f"{path.name} has no column for {target}", where=str(path), hint="it has: " + ", ".join(table.columns)
            )
    if chosen["variant_id"] is None and (chosen["contig"] is None or chosen["position"] is None):
        raise FormatError(
            f"{path.name} has neither positions nor IDs", where=str(path), hint="plink2 --freq writes IDs"
        )
    columns = [
        (pl.col(name).cast(pl.String) if name else pl.lit(None, dtype=pl.String)).alias(target)
        for target, name in chosen.items()
    ]
    unknown = pl.col("alt").str.replace_all(r"[^,]+", "nan")  # one "nan" may stand for all ALTs of a record
    split = (
        table.select(columns)
        .with_columns(pl.coalesce("alt_frequency", unknown).alias("alt_frequency"))
        .with_columns(pl.col("alt").str.split(","), pl.col("alt_frequency").str.split(","))
    )
    if (split["alt"].list.len() != split["alt_frequency"].list.len()).any():
        raise FormatError(f"{path.name} has a row with more or fewer frequencies than ALTs", where=str(path))
    split = split.explode("alt", "alt_frequency")
    typed = split.with_columns(
        pl.col("position").cast(pl.Int64, strict=False),
        pl.col("alt_frequency").cast(pl.Float64, strict=False).fill_nan(None),
    )
    outside = typed["alt_frequency"].is_not_null() & ~typed["alt_frequency"].is_between(0, 1).fill_null(True)
    if outside.any():
        raise FormatError(f"frequency {typed.filter(outside)['alt_frequency'][0]} is not from 0 to 1", where=str(path))
    named = normalise_contigs(typed["contig"].fill_null("")).replace({"": None})
    return ALLELE_FREQUENCIES.validate(typed.with_columns(named.alias("contig")).select(ALLELE_FREQUENCIES.names))


def _read_text(path: Path) -> pl.DataFrame:
    data = read_bytes(path) if path.suffix == ".zst" else b"\n".join(text_lines(path))
    lines = [line for line in data.splitlines() if line and not line.startswith(b"##")]
    separator = "\t" if lines and b"\t" in lines[0] else ","
    try:
        return pl.read_csv(
            io.BytesIO(b"\n".join(lines)),
            separator=separator,
            quote_char=None,
            infer_schema=False,
            null_values=["NA", "nan", ""],
        )
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{path.name} is not a table: {str(error).splitlines()[0]}", where=str(path)) from error
