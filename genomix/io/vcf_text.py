"""The text side of VCF 4.x: header, sample names, and the fixed columns of every record, with line numbers.

htslib drops surplus columns without a word and reads past an empty line at its peril, so each line's shape is checked
here before htslib sees the file (VCF specification, sections 1.2 to 1.6, https://samtools.github.io/hts-specs/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomix.errors import FormatError
from genomix.io.bgzf import inflated_chunks, text_lines
from genomix.io.genotype_format import RECORDS_SCHEMA, check_sample_ids

_FIXED = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
_BCF_MAGIC = b"BCF\x02"
_CONTIG_ID = re.compile(r"^##contig=<.*?\bID=([^,>]+)")
_CONTIG_LENGTH = re.compile(r"\blength=(\d+)")
_CONTIG_NAME = re.compile(rb"<?[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*>?")
_CHUNK_RECORDS = 65536


@dataclass(frozen=True)
class VcfHeader:
    """Meta lines, contigs (name to length) and sample names; ``n_lines`` counts lines up to and with #CHROM."""

    contigs: dict[str, int | None]
    formats: frozenset[str]
    samples: list[str]
    n_lines: int


def is_bcf(path: Path) -> bool:
    """Say whether the inflated file starts as BCF 2."""
    return next(iter(inflated_chunks(path)), b"").startswith(_BCF_MAGIC)


def read_header(path: Path) -> VcfHeader:
    """Read the header of a VCF or BCF file.

    Raises
    ------
    FormatError: when it is no VCF, has no #CHROM line, no samples, or sample names that are empty or repeat.
    """
    lines = _bcf_header_lines(path) if is_bcf(path) else text_lines(path)
    return parse_header(lines, where=str(path))


def parse_header(lines: Iterator[bytes], *, where: str) -> VcfHeader:
    """Parse header lines up to and including ``#CHROM``, and leave the rest of the iterator alone."""
    contigs: dict[str, int | None] = {}
    formats: set[str] = set()
    for number, raw in enumerate(lines, start=1):
        line = raw.decode("utf-8", errors="replace")
        if number == 1 and not line.lstrip("\ufeff").startswith("##fileformat=VCF"):
            raise FormatError(
                "the first line is not ##fileformat=VCFv4.x", where=f"{where}:1", hint="a VCF or BCF file"
            )
        if found := contig_of_line(line):
            contigs[found[0]] = found[1]
        elif line.startswith("##FORMAT=<ID="):
            formats.add(line.removeprefix("##FORMAT=<ID=").split(",")[0])
        elif line.startswith("#CHROM"):
            samples = _sample_names(line, f"{where}:{number}")
            return VcfHeader(contigs, frozenset(formats), samples, number)
        elif not line.startswith("##"):
            raise FormatError("a record stands before the #CHROM line", where=f"{where}:{number}")
    raise FormatError("there is no #CHROM line", where=where, hint="a VCF or BCF file with its header")


def contig_of_line(line: str) -> tuple[str, int | None] | None:
    """Return (name, length or None) of a ``##contig`` line, None for any other line."""
    found = _CONTIG_ID.match(line)
    if found is None:
        return None
    length = _CONTIG_LENGTH.search(line)
    return found.group(1), int(length.group(1)) if length else None


def _sample_names(line: str, where: str) -> list[str]:
    columns = line.split("\t")
    if columns[:8] != _FIXED:
        raise FormatError("the #CHROM line does not hold VCF's eight columns, separated by tabs", where=where)
    samples = columns[9:]
    if columns[8:9] not in ([], ["FORMAT"]):
        raise FormatError(f"the ninth column is {columns[8]!r}, not 'FORMAT'", where=where)
    check_sample_ids(samples, where=where)
    return samples


def _bcf_header_lines(path: Path) -> Iterator[bytes]:
    """The header text of BCF 2: magic, uint32 length, text ending in NUL."""
    held = b""
    for chunk in inflated_chunks(path):
        held += chunk
        if len(held) >= 9 and len(held) >= (end := 9 + int.from_bytes(held[5:9], "little")):
            text = held[9:end].rstrip(b"\0")
            yield from text.split(b"\n")
            return
    raise FormatError("the BCF header is cut", where=str(path))


def scan_records(path: Path) -> pl.DataFrame:
    """Return contig, position, variant_id, ref, alt, filter of every record of a VCF text file.

    Raises
    ------
    FormatError: with file and line, for an empty line, a wrong number of columns, or a position that is no number.
    TruncatedInputError: when the compressed file is cut.
    """
    lines = text_lines(path)
    where = str(path)
    header = parse_header(lines, where=where)
    tabs = 8 + len(header.samples)
    frames: list[pl.DataFrame] = []
    rows: list[tuple[str, int, str, str, str, str]] = []
    empty = 0
    for number, line in enumerate(lines, start=header.n_lines + 1):
        if not line:  # after the last record it does no harm
            empty = empty or number
            continue
        if empty:
            raise FormatError("there is an empty line", where=f"{where}:{empty}", hint="remove it")
        if line.count(b"\t") != tabs:
            raise _shape_error(line, tabs, f"{where}:{number}")
        rows.append(_fixed_columns(line, f"{where}:{number}"))
        if len(rows) == _CHUNK_RECORDS:
            frames.append(pl.DataFrame(rows, schema=RECORDS_SCHEMA, orient="row"))
            rows = []
    frames.append(pl.DataFrame(rows, schema=RECORDS_SCHEMA, orient="row"))
    return pl.concat(frames)


def _shape_error(line: bytes, tabs: int, where: str) -> FormatError:
    found = line.count(b"\t") + 1
    return FormatError(
        f"the line has {found} columns, the header {tabs + 1}",
        where=where,
        hint="columns are separated by single tabs; a last line with too few was probably cut",
    )


def _fixed_columns(line: bytes, where: str) -> tuple[str, int, str, str, str, str]:
    contig, position, identifier, ref, alt, _, filters, _ = line.split(b"\t", 8)[:8]
    if not _CONTIG_NAME.fullmatch(contig):
        raise FormatError(f"contig name {contig.decode(errors='replace')!r} holds what VCF forbids", where=where)
    if not position.isdigit():
        raise FormatError(f"position {position.decode(errors='replace')!r} is not a number", where=where)
    if not ref or ref == b"." or not alt:
        raise FormatError("REF or ALT is empty", where=where)
    return contig.decode(), int(position), identifier.decode(), ref.decode(), alt.decode(), filters.decode()
