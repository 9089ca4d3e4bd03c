"""Which gene a variant belongs to: consequence annotation of any kind, and gene intervals (BED)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.annotation_alleles import Annotation, trim_alleles, vep_alleles
from genomix.io.annotation_regenie import read_mask_file, read_regenie_annotation, read_regenie_masks, table_lines
from genomix.io.annotation_vcf import KEYS, SYNTAX, read_annotation
from genomix.io.bgzf import require_file, text_lines
from genomix.io.contigs import normalise_contigs
from genomix.io.regions import HEADER_NAMES

__all__ = [
    "KEYS",
    "SYNTAX",
    "Annotation",
    "read_annotation",
    "read_any_annotation",
    "read_gene_bed",
    "read_mask_file",
    "read_regenie_annotation",
    "read_regenie_masks",
    "trim_alleles",
    "vep_alleles",
]


def read_any_annotation(path: Path, *, key: str | None = None, set_list: Path | None = None) -> Annotation:
    """Read a VCF or BCF with annotation, or (no ``##fileformat`` in it) regenie's annotation file."""
    require_file(path)
    is_vcf = path.name.endswith(".bcf") or next(iter(text_lines(path)), b"").startswith(b"##fileformat=VCF")
    if is_vcf and set_list is not None:
        raise ConfigError("a set list goes with regenie's annotation file, not with a VCF")
    return read_annotation(path, key=key) if is_vcf else read_regenie_annotation(path, set_list)


def read_gene_bed(path: Path) -> pl.DataFrame:
    """Read gene intervals: contig, start (1-based), end, gene; a gene may have several lines (its exons).

    Comments, ``track`` and ``browser`` lines and a first line of column names (chrom, start, end, ...) are skipped.

    Raises
    ------
    FormatError: with the line, for fewer than four columns or an interval that ends before it starts.
    """
    rows: list[tuple[str, int, int, str]] = []
    for number, line in table_lines(path):
        if line.split(maxsplit=1)[0] in ("track", "browser"):
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        if not rows and fields[0].lower() in HEADER_NAMES and not any(f.isdigit() for f in fields[1:3]):
            continue
        if len(fields) < 4 or not (fields[1].isdigit() and fields[2].isdigit()) or int(fields[2]) <= int(fields[1]):
            raise FormatError(
                "contig, start, end, gene are needed, the start (0-based) before the end", where=f"{path}:{number}"
            )
        rows.append((fields[0], int(fields[1]) + 1, int(fields[2]), fields[3]))
    if not rows:
        raise FormatError(f"{path.name} holds no gene", where=str(path))
    schema = {"contig": pl.String, "start": pl.Int64, "end": pl.Int64, "gene": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(normalise_contigs(frame["contig"])).unique(maintain_order=True)
