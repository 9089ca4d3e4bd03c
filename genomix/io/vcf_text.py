"""The text side of VCF 4.x: header, sample names, and the fixed columns of every record, with line numbers.

htslib drops surplus columns without a word and reads past an empty line at its peril, so each line's shape is checked
here before htslib sees the file (VCF specification, sections 1.2 to 1.6, https://samtools.github.io/hts-specs/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from genomix.errors import FormatError, Identifier
from genomix.io.bgzf import inflated_chunks, text_lines
from genomix.io.genotype_format import META_STARTS, DosageField, check_sample_ids

_FIXED = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
_BCF_NUMBER = re.compile(r",IDX=\d+>$")
_VERSION = re.compile(r"##fileformat=VCFv(\d+)\.(\d+)")
_BCF_MAGIC = b"BCF\x02"
_CONTIG_ID = re.compile(r"^##contig=<.*?\bID=([^,>]+)")
_CONTIG_LENGTH = re.compile(r"\blength=(\d+)")
_NAME = r"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*"
_CONTIG_NAME = re.compile(f"{_NAME}|<{_NAME}>".encode())
_LAST_POSITION = 2**31 - 1
ALL_INFO = ("*",)


@dataclass(frozen=True)
class VcfHeader:
    """Contigs (name to length), FORMAT keys, ``##INFO`` and ``##FILTER`` lines, and sample names.

    ``n_lines`` counts lines up to and with #CHROM; ``version`` is (4, 3) for VCF 4.3, (0, 0) where it is no number.
    """

    contigs: dict[str, int | None]
    formats: frozenset[str]
    meta: tuple[str, ...]
    samples: list[str]
    n_lines: int
    version: tuple[int, int]


def is_bcf(path: Path, *, allow_missing_end: bool = False) -> bool:
    """Say whether the inflated file starts as BCF 2."""
    return next(iter(inflated_chunks(path, allow_missing_end=allow_missing_end)), b"").startswith(_BCF_MAGIC)


def read_header(path: Path, *, allow_missing_end: bool = False) -> VcfHeader:
    """Read the header of a VCF or BCF file.

    Raises
    ------
    FormatError: when it is no VCF, has no #CHROM line, no samples, or sample names that are empty or repeat.
    """
    if is_bcf(path, allow_missing_end=allow_missing_end):
        return parse_header(_bcf_header_lines(path, allow_missing_end), where=str(path))
    return parse_header(text_lines(path, allow_missing_end=allow_missing_end), where=str(path))


def parse_header(lines: Iterator[bytes], *, where: str) -> VcfHeader:
    """Parse header lines up to and including ``#CHROM``, and leave the rest of the iterator alone."""
    contigs: dict[str, int | None] = {}
    formats: set[str] = set()
    meta: list[str] = []
    version = (0, 0)
    for number, raw in enumerate(lines, start=1):
        line = raw.decode("utf-8", errors="replace")
        if number == 1 and not line.lstrip("\ufeff").startswith("##fileformat=VCF"):
            raise FormatError(
                "the first line is not ##fileformat=VCFv4.x", where=f"{where}:1", hint="a VCF or BCF file"
            )
        if number == 1 and (stated := _VERSION.match(line.lstrip("\ufeff"))):
            version = int(stated[1]), int(stated[2])
        if found := contig_of_line(line):
            contigs[found[0]] = found[1]
        elif line.startswith("##FORMAT=<ID="):
            formats.add(line.removeprefix("##FORMAT=<ID=").split(",")[0])
        elif line.startswith(META_STARTS):
            if not line.startswith("##FILTER=<ID=PASS,"):  # bcftools adds it to every file
                meta.append(_BCF_NUMBER.sub(">", line))
        elif line.startswith("#CHROM"):
            samples = _sample_names(line, f"{where}:{number}")
            return VcfHeader(contigs, frozenset(formats), tuple(meta), samples, number, version)
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


def _bcf_header_lines(path: Path, allow_missing_end: bool) -> Iterator[bytes]:
    """The header text of BCF 2: magic, uint32 length, text ending in NUL."""
    held = b""
    for chunk in inflated_chunks(path, allow_missing_end=allow_missing_end):
        held += chunk
        if len(held) >= 9 and len(held) >= (end := 9 + int.from_bytes(held[5:9], "little")):
            text = held[9:end].rstrip(b"\0")
            yield from text.split(b"\n")
            return
    raise FormatError("the BCF header is cut", where=str(path))


class LineError(Exception):
    """A malformed line of a piece of text; the reader that knows where the piece stands makes a FormatError of it."""

    def __init__(
        self, line: int, what: str, *, hint: str | None = None, identifiers: tuple[Identifier, ...] = ()
    ) -> None:
        super().__init__(what)
        self.line = line
        self.what = what
        self.hint = hint
        self.identifiers = identifiers


class CallPlan(NamedTuple):
    """What is read of a record's samples, and its FORMAT with every other key renamed.

    A renamed key is text of any kind to htslib, so that fields nobody reads cannot stop a record. ``gt_place`` is the
    place of GT in FORMAT, -1 where it is not there. ``unread`` is the place of the dosages of a record with several
    ALTs that were to be taken but are not read, else -1.
    """

    gt_place: int
    dosage: str
    n_keys: int
    renamed: bytes
    unread: int = -1

    @property
    def has_gt(self) -> bool:
        """Whether FORMAT has GT."""
        return self.gt_place >= 0


class TextRecord(NamedTuple):
    """A record's fixed columns as ``RECORDS_SCHEMA`` has them, and what is needed to read its calls."""

    fixed: tuple[str, int, str, str, str, str, str, str]
    n_alts: int
    plan: CallPlan
    samples: bytes


def read_lines(
    text: bytes, n_samples: int, *, dosage_field: DosageField, split_dosages: bool, info_keys: tuple[str, ...]
) -> tuple[list[TextRecord], int, int | None]:
    """Return the records of whole lines, the number of lines, and the number of an empty line after the records.

    Raises
    ------
    LineError: for an empty line before a record, a wrong number of columns, or a malformed fixed column.
    """
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    records: list[TextRecord] = []
    empty: int | None = None
    for number, raw in enumerate(lines):
        line = raw[:-1] if raw.endswith(b"\r") else raw
        if not line:  # after the last record it does no harm
            empty = number if empty is None else empty
            continue
        if empty is not None:
            raise LineError(empty, EMPTY_LINE, hint=REMOVE_IT)
        records.append(_record(line, number, n_samples, (dosage_field, split_dosages), info_keys))
    return records, len(lines), empty


EMPTY_LINE, REMOVE_IT = "there is an empty line", "remove it"


def _record(
    line: bytes, number: int, n_samples: int, dosages: tuple[DosageField, bool], info_keys: tuple[str, ...]
) -> TextRecord:
    tabs = line.count(b"\t")
    if tabs != 8 + n_samples:
        raise LineError(
            number,
            f"the line has {tabs + 1} columns, the header {9 + n_samples}",
            hint="columns are separated by single tabs; a last line with too few was probably cut",
        )
    contig, position, identifier, ref, alt, quality, filters, info, keys, samples = line.split(b"\t", 9)
    if not _CONTIG_NAME.fullmatch(contig):
        raise LineError(number, f"contig name {contig.decode(errors='replace')!r} holds what VCF forbids")
    if not position.isdigit():
        raise LineError(number, f"position {position.decode(errors='replace')!r} is not a number")
    if len(position) > 10 or int(position) > _LAST_POSITION:
        raise LineError(number, f"position {position.decode()[:20]} is larger than VCF allows ({_LAST_POSITION})")
    if not ref or ref == b"." or not alt:
        raise LineError(number, "REF or ALT is empty")
    try:
        texts = [t.decode() for t in (contig, identifier, ref, alt, quality, filters, info)]
    except UnicodeDecodeError as error:
        raise LineError(number, "the line is not UTF-8", hint="convert the file, e.g. with iconv") from error
    name, rs, reference, alts, qual, passed, about = texts
    fixed = (name, int(position), rs, reference, alts, qual, passed, select_info(about, info_keys))
    n_alts = 0 if alt == b"." else alt.count(b",") + 1
    try:
        plan = plan_calls(keys, n_alts, *dosages)
    except ValueError as error:
        raise LineError(number, str(error), hint="each key may stand there once") from error
    return TextRecord(fixed, n_alts, plan, samples)


def select_info(info: str, keys: tuple[str, ...]) -> str:
    """Return the INFO entries whose key is listed, in file order; ``.`` when there is none.

    >>> select_info("AF=0.1;IMPUTED;R2=0.9", ("R2", "IMPUTED"))
    'IMPUTED;R2=0.9'
    """
    if keys == ALL_INFO:
        return info
    return ";".join(e for e in info.split(";") if e.partition("=")[0] in keys) or "."


@lru_cache(maxsize=4096)
def plan_calls(keys: bytes, n_alts: int, dosage_field: DosageField, split_dosages: bool) -> CallPlan:
    """Return what is read of a record with this FORMAT; ``split_dosages`` also reads dosages of several ALTs.

    Raises
    ------
    ValueError: when a key that is read stands there twice.
    """
    names = keys.split(b":")
    has_gt = b"GT" in names
    dosage = ""
    if n_alts:
        if dosage_field in ("DS", "GP") and dosage_field.encode() in names:
            dosage = dosage_field
        elif dosage_field in ("auto", "GP") and not has_gt and b"DS" in names:
            dosage = "DS"
    unread = -1
    if dosage and n_alts > 1 and not split_dosages:
        unread, dosage = names.index(dosage.encode()), ""
    read = [b"GT", dosage.encode()] if dosage else [b"GT"]
    for name in read:
        if names.count(name) > 1:
            raise ValueError(f"FORMAT names {name.decode()} twice")
    renamed = b":".join(name if name in read else b"F%d" % i for i, name in enumerate(names))
    return CallPlan(names.index(b"GT") if has_gt else -1, dosage, len(names), renamed, unread)
