"""Consequence annotation from the INFO column of a VCF or BCF: VEP (CSQ), snpEff (ANN) and bcftools csq (BCSQ).

Samples may be there and are not read. Which ALT an entry means: :mod:`genomix.io.annotation_alleles`. What is not used
is counted by reason in ``Annotation.counts``; nothing is dropped silently.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.annotation_alleles import ALTS_OF, Annotation, Record, bcsq_alts, is_countable, ontology_terms
from genomix.io.bgzf import text_lines
from genomix.io.contigs import normalise_contig
from genomix.schemas.burden import ANNOTATIONS

KEYS = ("CSQ", "ANN", "BCSQ", "vep")
"""INFO keys that are looked for, in this order (gnomAD calls VEP's field ``vep``)."""

SYNTAX = {"CSQ": "vep", "vep": "vep", "ANN": "snpeff", "BCSQ": "bcftools"}
_BCSQ_FIELDS = ("consequence", "gene", "transcript", "biotype", "strand", "amino_acid_change", "dna_change")


def read_annotation(path: Path, *, key: str | None = None) -> Annotation:
    """Read consequence annotation from a VCF (plain, gzip, BGZF) or BCF; samples may be there and are not read.

    Parameters
    ----------
    path: a sites VCF or the genotype VCF itself.
    key: INFO key to read; None takes the first of ``KEYS`` that the header declares.

    Raises
    ------
    ConfigError: when the header declares no such key, or its description does not name its fields.
    FormatError: for a malformed record, with its line.
    """
    header, records = _open(path)
    chosen, description = _find_key(header, key, path)
    syntax = SYNTAX.get(chosen) or ("bcftools" if chosen.upper().endswith("BCSQ") else "vep")
    names = _field_names(description, syntax, chosen, path)
    return _collect(records(chosen), syntax, names)


def _collect(records: Iterator[Record], tool: str, names: tuple[str, ...]) -> Annotation:
    alts_of = ALTS_OF[tool]
    counts: Counter[str] = Counter(dict.fromkeys(_COUNTS, 0))
    rows: list[tuple[Any, ...]] = []
    frames: list[pl.DataFrame] = []
    alleles: list[tuple[str, int, str, str]] = []
    pointers: list[tuple[Record, int]] = []
    compound: dict[tuple[str, int], list[Mapping[str, str]]] = {}
    lowered = tuple(n.lower() for n in names)
    known = frozenset(lowered)
    for record in records:
        counts["records"] += 1
        alleles += [(record.contig, record.position, record.ref, alt) for alt in record.alts if is_countable(alt)]
        counts["records without annotation"] += not record.value
        for text in record.value.split(",") if record.value else ():
            counts["entries"] += 1
            if tool == "bcftools" and text.startswith("@") and text[1:].isdigit():
                pointers.append((record, int(text[1:])))
                continue
            fields = dict(zip(lowered, text.split("|"), strict=False))
            if tool == "bcftools" and "+" in fields.get("dna_change", ""):
                compound.setdefault((record.contig, record.position), []).append(fields)
            _add(rows, record, fields, alts_of(record, fields), tool, counts, known)
        if len(rows) >= _CHUNK:
            frames.append(pl.DataFrame(rows, schema=_ROW_SCHEMA, orient="row"))
            rows = []
    for record, target in pointers:
        _follow(rows, record, compound.get((record.contig, target), []), counts, known)
    frames.append(pl.DataFrame(rows, schema=_ROW_SCHEMA, orient="row"))
    frame = pl.concat(frames).unique(maintain_order=True)
    table = pl.DataFrame(alleles, schema=_ALLELE_SCHEMA, orient="row").unique(maintain_order=True)
    counts["alleles"] = table.height
    return Annotation(ANNOTATIONS.validate(frame), table, tool, names, dict(counts))


_COUNTS = (
    "records", "alleles", "records without annotation", "entries", "entries without a gene",
    "entries whose allele is none of the record's", "entries without an allele at a record with several ALTs",
    "pointers to an entry that is not there",
)  # fmt: skip
_CHUNK = 200_000
_ROW_SCHEMA: dict[str, Any] = {c.name: c.dtype for c in ANNOTATIONS.columns if c.name != "variant_id"}
_ALLELE_SCHEMA: dict[str, Any] = {"contig": pl.String, "position": pl.Int64, "ref": pl.String, "alt": pl.String}


def _add(
    rows: list[tuple[Any, ...]],
    record: Record,
    fields: Mapping[str, str],
    alts: tuple[int, ...],
    tool: str,
    counts: Counter[str],
    known: frozenset[str],
) -> None:
    """Append one row per ALT that an entry means, or count why there is none."""
    if not alts:
        stated = any(fields.get(n) for n in ("allele", "allele_num", "dna_change"))
        counts[_COUNTS[5] if stated else _COUNTS[6]] += 1
        return
    gene, gene_id, transcript, consequence, biotype = _words(fields, tool)
    if not gene:
        counts[_COUNTS[4]] += 1
        return
    canonical = fields.get("canonical") == "YES" if "canonical" in known else None
    mane_field = next((n for n in ("mane_select", "mane") if n in known), None)
    mane = bool(fields.get(mane_field)) if mane_field else None
    facts = (gene, gene_id, transcript, consequence, biotype, canonical, mane, fields.get("lof") or None)
    rows += [(record.contig, record.position, record.ref, record.alts[i], *facts) for i in alts]


def _words(fields: Mapping[str, str], tool: str) -> tuple[str, str | None, str | None, str, str | None]:
    """Gene (symbol, else identifier), gene identifier, transcript, consequence, biotype."""
    if tool == "snpeff":
        consequence, gene, gene_id = fields.get("annotation", ""), fields.get("gene_name", ""), fields.get("gene_id")
        transcript, biotype = fields.get("feature_id"), fields.get("transcript_biotype")
    elif tool == "bcftools":
        consequence, gene, gene_id = fields.get("consequence", ""), fields.get("gene") or fields.get("symbol", ""), None
        transcript, biotype = fields.get("transcript"), fields.get("biotype")
    else:
        consequence, gene, gene_id = fields.get("consequence", ""), fields.get("symbol", ""), fields.get("gene")
        transcript, biotype = fields.get("feature"), fields.get("biotype")
    gene = gene or gene_id or ""
    if tool == "snpeff" and consequence == "intergenic_region":
        gene = ""  # snpEff names the neighbours there, and the variant lies in neither
    return gene, gene_id or None, transcript or None, ontology_terms(consequence), biotype or None


def _follow(
    rows: list[tuple[Any, ...]],
    record: Record,
    candidates: list[Mapping[str, str]],
    counts: Counter[str],
    known: frozenset[str],
) -> None:
    """Give a record the compound entries of another one that name its change."""
    found = False
    for fields in candidates:
        alts = bcsq_alts(record, fields)
        if alts:
            _add(rows, record, fields, alts, "bcftools", counts, known)
            found = True
    counts[_COUNTS[7]] += not found


def _open(path: Path) -> tuple[list[str], Callable[[str], Iterator[Record]]]:
    """Return the header's lines, and what yields the records' alleles and one INFO value."""
    if path.name.endswith(".bcf"):
        return _open_bcf(path)
    lines = text_lines(path)
    header: list[str] = []
    for line in lines:
        text = line.decode("utf-8", errors="replace")
        if not text.startswith("##"):
            break
        header.append(text)
    else:
        text = ""
    if not text.startswith("#CHROM"):
        raise FormatError(f"{path.name} has no #CHROM line: it is no VCF", where=f"{path}:{len(header) + 1}")
    return header, lambda key: _text_records(lines, key, path, len(header) + 1)


def _text_records(lines: Iterator[bytes], key: str, path: Path, number: int) -> Iterator[Record]:
    prefix = key.encode() + b"="
    for line in lines:
        number += 1
        if not line:
            continue
        fields = line.split(b"\t", 8)
        if len(fields) < 8 or not fields[1].isdigit():
            raise FormatError("no VCF record: eight fields and a position are needed", where=f"{path}:{number}")
        value = next((p[len(prefix) :] for p in fields[7].split(b";") if p.startswith(prefix)), b"")
        yield _record(fields[0].decode(), int(fields[1]), fields[3].decode(), fields[4].decode(), value.decode())


def _record(contig: str, position: int, ref: str, alt: str, value: str) -> Record:
    alts = () if alt == "." else tuple(a.upper() if is_countable(a) else a for a in alt.split(","))
    return Record(normalise_contig(contig), position, ref.upper(), alts, "" if value == "." else value)


def _open_bcf(path: Path) -> tuple[list[str], Callable[[str], Iterator[Record]]]:
    from cyvcf2 import VCF

    from genomix.io.bgzf import check_eof_block

    check_eof_block(path)
    source = VCF(str(path))

    def records(key: str) -> Iterator[Record]:
        for found in source:
            value = found.INFO.get(key)
            yield _record(found.CHROM, found.POS, found.REF, ",".join(found.ALT) or ".", str(value or ""))

    return source.raw_header.splitlines(), records


def _find_key(header: list[str], key: str | None, path: Path) -> tuple[str, str]:
    """Return the INFO key and its description."""
    declared = {}
    for line in header:
        match = re.match(r'##INFO=<ID=([^,]+),.*Description="(.*)"', line)
        if match:
            declared[match[1]] = match[2]
    chosen = key or next((k for k in KEYS if k in declared), None)
    if chosen is None or chosen not in declared:
        raise ConfigError(
            f"{path.name} declares no INFO field {key}" if key else f"{path.name} holds no consequence annotation",
            where=str(path),
            hint=f"annotate it with VEP (--vcf), snpEff or bcftools csq: INFO {', '.join(KEYS)}",
        )
    return chosen, declared[chosen]


def _field_names(description: str, syntax: str, key: str, path: Path) -> tuple[str, ...]:
    if syntax == "bcftools":
        return _BCSQ_FIELDS
    match = re.search(r"(?:[Ff]ormat:?|annotations:)\s*'?\s*([^'\"]*\|[^'\"]*)", description)
    if match is None:
        raise ConfigError(f"the header does not say which fields INFO {key} has", where=str(path))
    return tuple(part.strip() for part in match[1].split("|"))
