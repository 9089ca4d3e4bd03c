"""Parts of the genome: regions given on a command line or in a BED or tab-separated file.

A record lies in a region when any base of its REF does, as for ``bcftools view -R``; only for a symbolic ALT with
INFO/END do the two differ, since bcftools counts up to END and here the REF alone counts.

>>> regions = parse_regions(("chr1:101-200", "X"))
>>> regions.intervals.rows()
[('1', 100, 200), ('X', 0, 9223372036854775807)]
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.bgzf import text_lines
from genomix.io.contigs import normalise_contig, normalise_contigs

INTERVALS_SCHEMA: dict[str, type[pl.DataType]] = {"contig": pl.String, "start": pl.Int64, "end": pl.Int64}
TO_THE_END = int(np.iinfo(np.int64).max)
"""End of an interval that reaches to its contig's end."""

_REGION = re.compile(r"(?P<contig>.+?)(?::(?P<first>[\d,]+)(?P<dash>-(?P<last>[\d,]*))?)?", re.ASCII)
_BED_SUFFIXES = (".bed", ".bed.gz", ".bed.bgz")
_BED_HEADERS = (b"#", b"track", b"browser")
HEADER_NAMES = frozenset({"chrom", "chr", "contig", "chromosome", "seqname", "seqnames"})
"""What the first column of a table of intervals is called, in lower case."""

_TABLE_HEADERS = frozenset(name.encode() for name in HEADER_NAMES)


@dataclass(frozen=True)
class Regions:
    """Half-open intervals on contigs; see :func:`parse_regions` and :func:`read_regions_file`.

    Parameters
    ----------
    intervals: contig (normalised), start (0-based), end (exclusive), sorted and merged.
    texts: the words that the intervals were made of, as on a command line; empty where they come from a file.
    """

    intervals: pl.DataFrame
    texts: tuple[str, ...] = ()

    def resolved(self, contigs: Iterable[str]) -> Regions:
        """Return what the texts mean in a file of these contigs (any style); the regions as they are without any.

        A text that is the name of a contig is that contig, whatever it looks like.

        Raises
        ------
        ConfigError: for a text with a colon that is neither a range nor a contig, or that is both.

        >>> parse_regions(("HLA-A*01:01",)).resolved(["HLA-A*01:01"]).intervals.rows()
        [('HLA-A*01:01', 0, 9223372036854775807)]
        """
        names = {normalise_contig(name) for name in contigs}
        if not names or not self.texts:
            return self
        rows = [_resolved_region(text, names) for text in self.texts]
        whole = merged_regions(pl.DataFrame(rows, schema=INTERVALS_SCHEMA, orient="row"))
        return replace(whole, texts=self.texts)

    def overlap(self, records: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """Return bool (n_records,): whether any base of a record's REF lies in a region.

        Parameters
        ----------
        records: contig (any style), position (1-based), ref.
        """
        starts = records["position"].to_numpy().astype(np.int64) - 1
        ends = starts + records["ref"].str.len_bytes().to_numpy().astype(np.int64)
        names = normalise_contigs(records["contig"])
        inside = np.zeros(records.height, dtype=np.bool_)
        for (contig,), part in self.intervals.group_by("contig", maintain_order=True):
            rows = np.flatnonzero((names == contig).to_numpy())
            lefts, rights = part["start"].to_numpy(), part["end"].to_numpy()
            first = np.searchsorted(rights, starts[rows], side="right")
            found = first < len(lefts)
            found[found] = lefts[first[found]] < ends[rows[found]]
            inside[rows] = found
        return inside

    def missing_contigs(self, contigs: Iterable[str]) -> list[str]:
        """Return the regions' contigs that are not among ``contigs`` (any style), in order.

        >>> parse_regions(("chr1", "chr7:5")).missing_contigs(["1", "2"])
        ['7']
        """
        present = {normalise_contig(name) for name in contigs}
        return [n for n in self.intervals["contig"].unique(maintain_order=True).to_list() if n not in present]


def merged_regions(intervals: pl.DataFrame) -> Regions:
    """Return regions of intervals in any order and style, sorted by contig name and start; touching ones are joined.

    Parameters
    ----------
    intervals: contig, start (0-based), end (exclusive); empty intervals vanish.
    """
    named = intervals.select(normalise_contigs(intervals["contig"]), "start", "end").cast(INTERVALS_SCHEMA)  # type: ignore[arg-type]  # the stubs want a Mapping that is invariant in its keys
    kept = named.filter(pl.col("start") < pl.col("end")).sort("contig", "start", "end")
    reach = pl.col("end").cum_max().shift(1).over("contig")
    fresh = (reach.is_null() | (pl.col("start") > reach)).cum_sum().alias("_run")
    joined = kept.with_columns(fresh).group_by("_run", maintain_order=True)
    return Regions(joined.agg(pl.col("contig").first(), pl.col("start").min(), pl.col("end").max()).drop("_run"))


def split_regions(text: str) -> list[str]:
    """Return the regions of a text, apart at commas; a comma within a position that groups digits by three is none.

    >>> split_regions("1,2:5-9"), split_regions("1:1,000-2,000,X")
    (['1', '2:5-9'], ['1:1,000-2,000', 'X'])
    """
    found: list[str] = []
    for part in text.split(","):
        if found and ":" in found[-1] and found[-1][-1:].isdigit() and _DIGIT_GROUP.match(part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


_DIGIT_GROUP = re.compile(r"\d{3}(-\d*)?$")
"""What follows a comma that groups digits: three digits, and perhaps the other end of the region."""


def parse_regions(texts: tuple[str, ...]) -> Regions:
    """Return the regions of ``CONTIG``, ``CONTIG:POS``, ``CONTIG:FROM-TO`` or ``CONTIG:FROM-`` (1-based, inclusive).

    Commas may group digits (``1:1,000,000-2,000,000``). What the text of a contig with a colon in its name
    (``HLA-A*01:01``) means is decided by the contigs of a file: see :meth:`Regions.resolved`.

    Raises
    ------
    ConfigError: for a text that is none of these.
    """
    if not texts:
        raise ConfigError("no region is given", hint="CONTIG, CONTIG:POS or CONTIG:FROM-TO")
    words = tuple(text.strip() for text in texts)
    rows = [_parse_region(word) for word in words]
    return replace(merged_regions(pl.DataFrame(rows, schema=INTERVALS_SCHEMA, orient="row")), texts=words)


_FORMS = "CONTIG, CONTIG:POS, CONTIG:FROM-TO or CONTIG:FROM- (1-based), several by repeating the option"


def _resolved_region(text: str, names: set[str]) -> tuple[str, int, int]:
    """Return the region of a text among contigs of these (normalised) names."""
    contig, start, end = _parse_region(text)
    if ":" not in text or contig == text:  # without a range
        if ":" in text and normalise_contig(text) not in names:
            raise ConfigError(f"{text!r} is neither a region nor a contig of the input", hint=_FORMS)
        return contig, start, end
    if normalise_contig(text) not in names:
        return contig, start, end
    if normalise_contig(contig) in names:
        raise ConfigError(
            f"{text!r} is a contig of the input, and also a region of its contig {contig}",
            hint="--regions-file, whose columns keep them apart",
        )
    return text, 0, TO_THE_END


def _parse_region(text: str) -> tuple[str, int, int]:
    match = _REGION.fullmatch(text)
    hint = _FORMS
    if match is None or ":" in (match["contig"][0], match["contig"][-1]) or any(c.isspace() for c in text):
        raise ConfigError(f"{text!r} is not a region", hint=hint)
    if match["first"] is None:
        return match["contig"], 0, TO_THE_END
    first, last = _number(match["first"]), _number(match["last"] or "")
    if first is None or first < 1 or (match["last"] and last is None):
        raise ConfigError(f"{text!r} is not a region: positions are numbers from 1", hint=hint)
    end = first if not match["dash"] else (TO_THE_END if last is None else last)
    if end < first:
        raise ConfigError(f"region {text!r} ends before it begins", hint=hint)
    return match["contig"], first - 1, end


def _number(text: str) -> int | None:
    digits = text.replace(",", "")
    return int(digits) if digits.isdigit() and len(digits) < 16 else None


def read_regions_file(path: Path) -> Regions:
    """Return the regions of a BED file (0-based, by its name) or of a table of contig, from, to (1-based, inclusive).

    Plain, gzip or BGZF. A file named ``.bed``, ``.bed.gz`` or ``.bed.bgz`` is BED: start is 0-based, end exclusive. In
    any other file, columns are contig, position, and optionally the last position, tab-separated; without a third
    column (or where it is no number, as in a VCF) a line is one position. Header and comment lines are skipped.

    Raises
    ------
    FormatError: for a malformed line, with file and line.
    """
    bed = path.name.lower().endswith(_BED_SUFFIXES)
    rows: list[tuple[str, int, int]] = []
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip() or line.startswith(b"#") or (bed and line.startswith(_BED_HEADERS)):
            continue
        fields = line.split(b"\t") if b"\t" in line else line.split()
        if not rows and fields[0].lower() in _TABLE_HEADERS and not (len(fields) > 1 and fields[1].isdigit()):
            continue
        rows.append(_bed_row(fields, f"{path}:{number}") if bed else _table_row(fields, f"{path}:{number}"))
    if not rows:
        raise FormatError(f"{path.name} holds no region", where=str(path))
    return merged_regions(pl.DataFrame(rows, schema=INTERVALS_SCHEMA, orient="row"))


def _bed_row(fields: list[bytes], where: str) -> tuple[str, int, int]:
    if len(fields) < 3 or not (fields[1].isdigit() and fields[2].isdigit()):
        raise FormatError("a BED line has a contig, a start and an end", where=where, hint="tab-separated, 0-based")
    start, end = int(fields[1]), int(fields[2])
    if end < start:
        raise FormatError(f"the interval ends ({end}) before it starts ({start})", where=where)
    return _contig(fields[0], where), start, end


def _table_row(fields: list[bytes], where: str) -> tuple[str, int, int]:
    if len(fields) < 2 or not fields[1].isdigit() or int(fields[1]) < 1:
        raise FormatError(
            "a line of a regions file has a contig and a position from 1, and optionally the last position",
            where=where,
            hint="tab-separated; a 0-based file must be named .bed or .bed.gz",
        )
    first = int(fields[1])
    last = int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else first
    if last < first:
        raise FormatError(f"the region ends ({last}) before it begins ({first})", where=where)
    return _contig(fields[0], where), first - 1, last


def _contig(name: bytes, where: str) -> str:
    text = name.decode(errors="replace")
    if not text or any(c.isspace() for c in text):
        raise FormatError(f"{text!r} is not a contig name", where=where)
    return text
