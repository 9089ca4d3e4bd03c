"""Consequence annotation: VEP (CSQ), snpEff (ANN) and bcftools csq (BCSQ) from INFO; regenie's files; gene BED.

Which ALT an entry means
------------------------
VEP: ``ALLELE_NUM`` where the file has it; else ``Allele`` as VEP writes it: at a record where some ALT differs from REF
in length, and all alleles (but ``*``) begin with the same base, that base is cut off (``-`` for nothing); the whole ALT
and the fully trimmed ALT (``--minimal``) are tried after that. snpEff: the whole ALT. bcftools: the changes of the
``dna_change`` field; an entry without that field (intron, UTR) holds at every ALT; ``@position`` points at the entry of
another record, which is looked up there. An entry without any allele at a record with several ALTs means none of them,
and is counted.

``bcftools csq`` (Danecek and McCarthy 2017, doi:10.1093/bioinformatics/btx100) has short words for consequences; they
become Sequence Ontology terms.

What is not used is counted by reason in ``Annotation.counts``; nothing is dropped silently.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.bgzf import text_lines
from genomix.io.contigs import normalise_contig, normalise_contigs
from genomix.schemas.burden import ANNOTATIONS

KEYS = ("CSQ", "ANN", "BCSQ", "vep")
"""INFO keys that are looked for, in this order (gnomAD calls VEP's field ``vep``)."""

SYNTAX = {"CSQ": "vep", "vep": "vep", "ANN": "snpeff", "BCSQ": "bcftools"}
_BCSQ_FIELDS = ("consequence", "gene", "transcript", "biotype", "strand", "amino_acid_change", "dna_change")
_CHANGE = re.compile(r"^(\d+)([^>]+)>(.+)$")


_BCFTOOLS = {
    "missense": "missense_variant",
    "synonymous": "synonymous_variant",
    "frameshift": "frameshift_variant",
    "splice_acceptor": "splice_acceptor_variant",
    "splice_donor": "splice_donor_variant",
    "splice_region": "splice_region_variant",
    "inframe_altering": "protein_altering_variant",
    "start_retained": "start_retained_variant",
    "stop_retained": "stop_retained_variant",
    "5_prime_utr": "5_prime_UTR_variant",
    "3_prime_utr": "3_prime_UTR_variant",
    "non_coding": "non_coding_transcript_exon_variant",
    "intron": "intron_variant",
    "intergenic": "intergenic_variant",
    "coding_sequence": "coding_sequence_variant",
}


class Annotation(NamedTuple):
    """What an annotation file says.

    ``rows``: ANNOTATIONS, one row per (allele, transcript). ``alleles``: contig, position, ref, alt of every countable
    allele of the file, annotated or not. ``tool``: vep, snpeff, bcftools, regenie or bed. ``fields``: names of the
    sub-fields as the file declares them. ``counts``: records, alleles, entries, and entries left out by reason.
    """

    rows: pl.DataFrame
    alleles: pl.DataFrame
    tool: str
    fields: tuple[str, ...]
    counts: dict[str, int]


class _Record(NamedTuple):
    contig: str
    position: int
    ref: str
    alts: tuple[str, ...]
    value: str


class _Entry(NamedTuple):
    """One comma-separated part of the INFO value, its fields by name, and the ALTs (0-based) that it means."""

    fields: Mapping[str, str]
    alts: tuple[int, ...]


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
    parse = {"vep": _vep_alts, "snpeff": _snpeff_alts, "bcftools": _bcsq_alts}[syntax]
    return _collect(records(chosen), syntax, names, parse)


def _collect(
    records: Iterator[_Record], tool: str, names: tuple[str, ...], alts_of: Callable[..., tuple[int, ...]]
) -> Annotation:
    counts: Counter[str] = Counter(dict.fromkeys(_COUNTS, 0))
    rows: list[tuple[Any, ...]] = []
    frames: list[pl.DataFrame] = []
    alleles: list[tuple[str, int, str, str]] = []
    pointers: list[tuple[_Record, int]] = []
    compound: dict[tuple[str, int], list[Mapping[str, str]]] = {}
    lowered = tuple(n.lower() for n in names)
    known = frozenset(lowered)
    for record in records:
        counts["records"] += 1
        alleles += [(record.contig, record.position, record.ref, alt) for alt in record.alts if _countable(alt)]
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
    record: _Record,
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
    record: _Record,
    candidates: list[Mapping[str, str]],
    counts: Counter[str],
    known: frozenset[str],
) -> None:
    """Give a record the compound entries of another one that name its change."""
    found = False
    for fields in candidates:
        alts = _bcsq_alts(record, fields)
        if alts:
            _add(rows, record, fields, alts, "bcftools", counts, known)
            found = True
    counts[_COUNTS[7]] += not found


def _vep_alts(record: _Record, fields: Mapping[str, str]) -> tuple[int, ...]:
    number = fields.get("allele_num", "")
    if number.isdigit():
        return (int(number) - 1,) if 1 <= int(number) <= len(record.alts) else ()
    allele = fields.get("allele", "").upper()
    if not allele:
        return (0,) if len(record.alts) == 1 else ()
    minimal = tuple(_minimal(record.ref, alt) for alt in record.alts)
    for spell in (vep_alleles(record.ref, record.alts), record.alts, minimal):
        found = tuple(i for i, written in enumerate(spell) if written == allele)
        if found:
            return found[:1]
    return ()


def _snpeff_alts(record: _Record, fields: Mapping[str, str]) -> tuple[int, ...]:
    allele = fields.get("allele", "").upper()
    if not allele:
        return (0,) if len(record.alts) == 1 else ()
    return tuple(i for i, alt in enumerate(record.alts) if alt == allele)[:1]


def _bcsq_alts(record: _Record, fields: Mapping[str, str]) -> tuple[int, ...]:
    changes = fields.get("dna_change", "")
    if not changes:
        return tuple(range(len(record.alts)))
    found = set()
    for change in changes.split("+"):
        match = _CHANGE.match(change)
        if match and int(match[1]) == record.position and match[2].upper() == record.ref:
            found |= {i for i, alt in enumerate(record.alts) if alt == match[3].upper()}
    return tuple(sorted(found))


def vep_alleles(ref: str, alts: tuple[str, ...]) -> tuple[str, ...]:
    """Return each ALT as VEP writes it into CSQ's ``Allele``.

    >>> vep_alleles("CA", ("C", "CAA"))
    ('-', 'AA')
    >>> vep_alleles("C", ("T",))
    ('T',)
    """
    shown = [a for a in (ref, *alts) if "*" not in a]
    other_length = any(len(a) != len(ref) for a in alts if "*" not in a)
    if not other_length or len({a[:1] for a in shown}) != 1:
        return alts
    return tuple(a if "*" in a else (a[1:] or "-") for a in alts)


def ontology_terms(consequence: str) -> str:
    """Return ``&``-joined terms with the words of ``bcftools csq`` as Sequence Ontology terms.

    A word that begins with ``*`` (bcftools: downstream of a stop) is kept as it is: it belongs to no class.

    >>> ontology_terms("missense&splice_region")
    'missense_variant&splice_region_variant'
    """
    return "&".join(_BCFTOOLS.get(word, word) for word in consequence.split("&"))


def trim_alleles(position: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Return position, REF and ALT without shared last, then first bases, each at least one base long.

    Two records of one change that differ by padding alone become equal; nothing is moved along a repeat.

    >>> trim_alleles(10, "CAA", "CAAA")
    (10, 'C', 'CA')
    >>> trim_alleles(10, "CAT", "CGT")
    (11, 'A', 'G')
    """
    end = 0
    while end < min(len(ref), len(alt)) - 1 and ref[-1 - end] == alt[-1 - end]:
        end += 1
    ref, alt = ref[: len(ref) - end], alt[: len(alt) - end]
    start = 0
    while start < min(len(ref), len(alt)) - 1 and ref[start] == alt[start]:
        start += 1
    return position + start, ref[start:], alt[start:]


def _minimal(ref: str, alt: str) -> str:
    """The ALT without any base that it shares with REF at its ends, as ``--minimal`` writes it."""
    start = 0
    while start < min(len(ref), len(alt)) and ref[start] == alt[start]:
        start += 1
    ref, alt = ref[start:], alt[start:]
    end = 0
    while end < min(len(ref), len(alt)) and ref[-1 - end] == alt[-1 - end]:
        end += 1
    return alt[: len(alt) - end] or "-"


def _countable(alt: str) -> bool:
    return alt not in (".", "*") and not alt.startswith("<") and "[" not in alt and "]" not in alt


def _open(path: Path) -> tuple[list[str], Callable[[str], Iterator[_Record]]]:
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


def _text_records(lines: Iterator[bytes], key: str, path: Path, number: int) -> Iterator[_Record]:
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


def _record(contig: str, position: int, ref: str, alt: str, value: str) -> _Record:
    alts = () if alt == "." else tuple(a.upper() if _countable(a) else a for a in alt.split(","))
    return _Record(normalise_contig(contig), position, ref.upper(), alts, "" if value == "." else value)


def _open_bcf(path: Path) -> tuple[list[str], Callable[[str], Iterator[_Record]]]:
    from cyvcf2 import VCF

    from genomix.io.bgzf import check_eof_block

    check_eof_block(path)
    source = VCF(str(path))

    def records(key: str) -> Iterator[_Record]:
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


def read_regenie_annotation(annotations: Path, set_list: Path | None = None) -> Annotation:
    """Read regenie's annotation file (variant, set, label) and set list (set, contig, position, variants).

    Variants are matched by identifier. With a set list its variants count, and one that has no label there is labelled
    ``NULL``, as in regenie.
    """
    rows = []
    for number, line in _text_table(annotations):
        fields = line.split()
        if len(fields) not in (3, 4):
            raise FormatError("variant, set, [domain,] label are needed", where=f"{annotations}:{number}")
        rows.append((fields[0], fields[1], fields[-1]))
    frame = pl.DataFrame(rows, schema=["variant_id", "gene", "consequence"], orient="row")
    counts = {"entries": frame.height}
    if set_list is not None:
        wanted = _read_set_list(set_list)
        both = ["gene", "variant_id"]
        counts["entries that are not in the set list"] = frame.join(wanted, on=both, how="anti").height
        frame = wanted.join(frame, on=both, how="left", maintain_order="left")
        counts["variants of the set list without a label (NULL)"] = int(frame["consequence"].null_count())
        frame = frame.with_columns(pl.col("consequence").fill_null("NULL"))
    nothing = [pl.lit(None, dtype=c.dtype).alias(c.name) for c in ANNOTATIONS.columns if c.nullable and not c.optional]
    alleles = [pl.lit("").alias("contig"), pl.lit(0, dtype=pl.Int64).alias("position")]
    full = frame.with_columns(*alleles, pl.lit("").alias("ref"), pl.lit("").alias("alt"), *nothing).unique(
        maintain_order=True
    )
    return Annotation(ANNOTATIONS.validate(full), full.select("variant_id").unique(maintain_order=True), "regenie",
                      ("variant", "set", "label"), counts)  # fmt: skip


def _read_set_list(path: Path) -> pl.DataFrame:
    rows = []
    for number, line in _text_table(path):
        fields = line.split()
        if len(fields) < 4:
            raise FormatError("set, contig, position, variants are needed", where=f"{path}:{number}")
        rows += [(fields[0], name) for part in fields[3:] for name in part.split(",") if name]
    return pl.DataFrame(rows, schema={"gene": pl.String, "variant_id": pl.String}, orient="row").unique(
        maintain_order=True
    )


def read_regenie_masks(path: Path) -> dict[str, str]:
    """Read regenie's mask file: name, comma-separated labels; returns name to ``label+label``."""
    masks = {}
    for number, line in _text_table(path):
        fields = line.split()
        if len(fields) != 2:
            raise FormatError("a mask's name and its labels are needed", where=f"{path}:{number}")
        masks[fields[0]] = "+".join(fields[1].split(","))
    return masks


def read_mask_file(path: Path) -> list[dict[str, Any]]:
    """Read masks: a TOML file with tables ``[[mask]]`` (name, consequences, max_frequency, confident), or regenie's.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "masks.toml"
    >>> _ = file.write_text('[[mask]]\\nname = "M1"\\nconsequences = "lof+missense"\\n')
    >>> read_mask_file(file)
    [{'name': 'M1', 'consequences': 'lof+missense'}]
    """
    if path.suffix != ".toml":
        return [{"name": name, "consequences": words} for name, words in read_regenie_masks(path).items()]
    text = b"\n".join(text_lines(path)).decode("utf-8", errors="replace")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path.name} is not TOML: {error}", where=str(path)) from error
    masks = content.get("mask")
    if set(content) != {"mask"} or not isinstance(masks, list) or not all(isinstance(m, dict) for m in masks):
        raise FormatError(f"{path.name} holds other things than tables [[mask]]", where=str(path))
    return [{**m, "consequences": _joined(m.get("consequences", ""))} for m in masks]


def _joined(words: Any) -> str:
    return "+".join(str(w) for w in words) if isinstance(words, list) else str(words)


def read_any_annotation(path: Path, *, key: str | None = None, set_list: Path | None = None) -> Annotation:
    """Read a VCF or BCF with annotation, or (no ``##fileformat`` in it) regenie's annotation file."""
    is_vcf = path.name.endswith(".bcf") or next(iter(text_lines(path)), b"").startswith(b"##fileformat=VCF")
    if is_vcf and set_list is not None:
        raise ConfigError("a set list goes with regenie's annotation file, not with a VCF")
    return read_annotation(path, key=key) if is_vcf else read_regenie_annotation(path, set_list)


def read_gene_bed(path: Path) -> pl.DataFrame:
    """Read gene intervals: contig, start (1-based), end, gene; a gene may have several lines (its exons).

    Raises
    ------
    FormatError: with the line, for fewer than four columns or an interval that ends before it starts.
    """
    rows = []
    for number, line in _text_table(path):
        if line.startswith(("track", "browser")):
            continue
        fields = line.split("\t") if "\t" in line else line.split()
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


def _text_table(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is neither empty nor a comment."""
    for number, line in enumerate(text_lines(path), start=1):
        text = line.decode("utf-8", errors="replace").strip()
        if text and not text.startswith("#"):
            yield number, text
