"""What a genotype format is: a file becomes samples, contigs, a table of records, and blocks of allele codes.

A format is one module of :mod:`genomix.io` with an attribute ``FORMAT``; :func:`open_genotypes` finds it by the
file's suffix, or by the files that lie behind a prefix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, Identifier, InputNotFoundError
from genomix.io.alt_dosages import AltDosages
from genomix.io.record_lines import RecordLines
from genomix.io.regions import Regions
from genomix.registry import members

MISSING = -1
"""Allele code of a missing allele."""

HAPLOID = -2
"""Second allele code of a call that has one allele only."""

OVER_PLOIDY = -3
"""Both allele codes of a call with more than two alleles."""

STANDARD_INPUT = "-"

BLOCK_BYTES = 48 << 20

IMPUTATION_QUALITY_KEYS = ("R2", "DR2", "ER2", "INFO", "IMP", "IMPUTED", "TYPED")
"""INFO keys of imputation programs (minimac, Beagle, IMPUTE), carried over by default."""

AlleleArray = npt.NDArray[np.int16]

META_STARTS = ("##INFO=<", "##FILTER=<")
_INFO_NUMBER = re.compile(r"^##INFO=<ID=([^,>]+),Number=([^,>]+)")


COMPACT_MISSING = -9

HET_PHASED, HET_PHASED_REVERSED = 3, 4
"""Compact codes of ``0|1`` and ``1|0``; 0, 1 (unphased) and 2 are copies of the ALT, ``COMPACT_MISSING`` is missing."""

DosageField = Literal["auto", "GT", "DS", "GP"]
"""Where numbers come from: ``auto`` takes GT, and DS in records without GT; ``DS`` and ``GP`` win over GT where a
record has them (GP as P(het) + 2 P(hom ALT)); ``GT`` leaves dosages alone. Records of several ALTs have dosages
only where they are to be split (``OpenOptions.split_dosages``)."""


@dataclass(frozen=True)
class OpenOptions:
    """How a format is opened.

    Parameters
    ----------
    dosage_field: see :data:`DosageField`.
    split_dosages: read the dosages of records with several ALTs, ALT by ALT, for :mod:`genomix.io.multiallelic`.
    info_keys: INFO keys that ``records`` carries in ``info`` (``("*",)``: all of them).
    regions: records outside may be left out by a format that has an index; the caller selects again.
    threads: threads that may inflate and parse.
    allow_missing_end: accept a BGZF file without its end-of-file block (what is there must still be whole).
    reader: ``fast``, ``reference``, or ``auto``, which takes the reference reader for small files.
    block_size: records per block; None keeps a block's arrays near 48 MiB.
    bgen_ref: which allele of a BGEN record is REF, which the file does not say.
    sample_file: the .sample of a BGEN; None takes the one beside it, else the identifiers inside.
    """

    dosage_field: DosageField = "auto"
    split_dosages: bool = False
    info_keys: tuple[str, ...] = IMPUTATION_QUALITY_KEYS
    regions: Regions | None = None
    threads: int = 1
    allow_missing_end: bool = False
    reader: Literal["auto", "fast", "reference"] = "auto"
    block_size: int | None = None
    bgen_ref: Literal["first", "last"] = "first"
    sample_file: Path | None = None


@dataclass(frozen=True)
class GenotypeBlock:
    """Consecutive records with their calls, the common ones in a compact form.

    Parameters
    ----------
    numbers: int64 (n_records,) 0-based number of each record in its file.
    fixed: the records' fixed columns, a frame of ``RECORDS_SCHEMA`` or what gives one (:attr:`records`).
    is_compact: bool (n_records,), whether a record lies in ``compact``; the others lie in ``alleles``, both in order.
    compact: int8 (n_compact, n_samples): 0, 1, 2, ``HET_PHASED``, ``HET_PHASED_REVERSED`` or ``COMPACT_MISSING``;
        such a record has at most one ALT, and each of its calls is diploid and either whole or wholly missing.
    alleles: int16 (n_general, n_samples, 2): 0 is REF, k the k-th ALT, ``MISSING``, in second place ``HAPLOID``, in
        both places ``OVER_PLOIDY``.
    phased: bool (n_general, n_samples), True where the order of the two alleles means something.
    without_calls: bool (n_general,), records that carry no hard calls at all.
    dosages: float32 (n_general, n_samples) ALT dosages, NaN where there is none; None when no record has any.
    alt_dosages: dosages of records with several ALTs, where they were asked for (``OpenOptions.split_dosages``).
    lost_dosages: bool (n_general,), records with several ALTs that have dosages which were to be taken, and which
        ``alt_dosages`` does not hold; None when there is none.
    """

    numbers: npt.NDArray[np.int64]
    fixed: pl.DataFrame | RecordLines
    is_compact: npt.NDArray[np.bool_]
    compact: npt.NDArray[np.int8]
    alleles: AlleleArray
    phased: npt.NDArray[np.bool_]
    without_calls: npt.NDArray[np.bool_]
    dosages: npt.NDArray[np.float32] | None = None
    alt_dosages: AltDosages | None = None
    lost_dosages: npt.NDArray[np.bool_] | None = None

    @property
    def n_records(self) -> int:
        """Number of records."""
        return self.fixed.height

    @cached_property
    def records(self) -> pl.DataFrame:
        """The records' fixed columns, ``RECORDS_SCHEMA``."""
        return self.fixed if isinstance(self.fixed, pl.DataFrame) else self.fixed.frame()

    @cached_property
    def allele_counts(self) -> npt.NDArray[np.int64]:
        """Alleles of each record, REF included and at least two, int64 (n_records,)."""
        if isinstance(self.fixed, RecordLines):
            return np.maximum(self.fixed.n_alts, 1).astype(np.int64) + 1
        return self.fixed["alt"].str.count_matches(",", literal=True).to_numpy().astype(np.int64) + 2

    def select(self, kept: npt.NDArray[np.bool_]) -> GenotypeBlock:
        """Return the records where ``kept`` is True."""
        if kept.all():
            return self
        compact, general = kept[self.is_compact], kept[~self.is_compact]
        return GenotypeBlock(
            self.numbers[kept],
            self.records.filter(pl.Series(kept)),
            self.is_compact[kept],
            self.compact[compact],
            self.alleles[general],
            self.phased[general],
            self.without_calls[general],
            None if self.dosages is None else self.dosages[general],
            None if self.alt_dosages is None else self.alt_dosages.select(general),
            None if self.lost_dosages is None else self.lost_dosages[general],
        )

    def select_samples(self, samples: npt.NDArray[np.int64]) -> GenotypeBlock:
        """Return the block of some samples, in the given order."""
        return replace(
            self,
            compact=np.ascontiguousarray(self.compact[:, samples]),
            alleles=np.ascontiguousarray(self.alleles[:, samples]),
            phased=np.ascontiguousarray(self.phased[:, samples]),
            dosages=None if self.dosages is None else np.ascontiguousarray(self.dosages[:, samples]),
            alt_dosages=None if self.alt_dosages is None else self.alt_dosages.select_samples(samples),
        )

    def general(self) -> GenotypeBlock:
        """Return the same block with every record in ``alleles`` and none in ``compact``."""
        if not self.is_compact.any():
            return self
        n, m = self.n_records, self.compact.shape[1]
        alleles = np.empty((n, m, 2), dtype=np.int16)
        alleles[~self.is_compact] = self.alleles
        alleles[self.is_compact] = _ALLELES_OF_CODE[self.compact]
        phased = np.zeros((n, m), dtype=np.bool_)
        phased[~self.is_compact] = self.phased
        phased[self.is_compact] = self.compact >= HET_PHASED
        without = np.zeros(n, dtype=np.bool_)
        without[~self.is_compact] = self.without_calls
        dosages = None
        if self.dosages is not None:
            dosages = np.full((n, m), np.nan, dtype=np.float32)
            dosages[~self.is_compact] = self.dosages
        alt_dosages = None if self.alt_dosages is None else self.alt_dosages.placed(np.flatnonzero(~self.is_compact))
        lost = None
        if self.lost_dosages is not None:
            lost = np.zeros(n, dtype=np.bool_)
            lost[~self.is_compact] = self.lost_dosages
        none = np.zeros(n, dtype=np.bool_)
        return GenotypeBlock(
            self.numbers, self.fixed, none, np.empty((0, m), dtype=np.int8), alleles, phased, without, dosages,
            alt_dosages, lost,
        )  # fmt: skip


def general_block(
    numbers: npt.NDArray[np.int64],
    records: pl.DataFrame,
    alleles: AlleleArray,
    phased: npt.NDArray[np.bool_],
    *,
    without_calls: npt.NDArray[np.bool_] | None = None,
    dosages: npt.NDArray[np.float32] | None = None,
) -> GenotypeBlock:
    """Return a block without compact records."""
    n, m = alleles.shape[:2]
    return GenotypeBlock(
        numbers,
        records,
        np.zeros(n, dtype=np.bool_),
        np.empty((0, m), dtype=np.int8),
        alleles,
        phased,
        np.zeros(n, dtype=np.bool_) if without_calls is None else without_calls,
        dosages,
    )


_ALLELES_OF_CODE = np.full((256, 2), MISSING, dtype=np.int16)
_ALLELES_OF_CODE[:5] = [(0, 0), (0, 1), (1, 1), (0, 1), (1, 0)]
# an int8 index counts from the end of the table: -9 finds row 247, which is missing


@dataclass(frozen=True)
class SourceHeader:
    """What a genotype file says before its calls.

    Parameters
    ----------
    samples: sample_id (String), sex (Int8: 1, 2, 0) and any further columns, in file order.
    contigs: contig name as written to its length in bp, None where no length is stated.
    build: build that the file itself declares, or None.
    ref_known: False where "REF" is only the second allele of a PLINK 1 file.
    may_be_phased: whether any call may be phased.
    may_have_dosages: whether any record may carry dosages.
    meta: the ``##INFO`` and ``##FILTER`` lines of the header.
    policies: rules by which the format itself was read, by name.
    """

    samples: pl.DataFrame
    contigs: Mapping[str, int | None] = field(default_factory=dict)
    build: str | None = None
    ref_known: bool = True
    may_be_phased: bool = True
    may_have_dosages: bool = False
    meta: tuple[str, ...] = ()
    policies: Mapping[str, str] = field(default_factory=dict)

    @property
    def info_numbers(self) -> dict[str, str]:
        """INFO key to the ``Number`` that the header declares."""
        return {found[1]: found[2] for line in self.meta if (found := _INFO_NUMBER.match(line))}

    def kept_meta(self, info_keys: tuple[str, ...]) -> tuple[str, ...]:
        """Return the lines that define FILTER values and the INFO keys that are carried over."""
        return tuple(
            line
            for line in self.meta
            if not (found := _INFO_NUMBER.match(line)) or info_keys == ("*",) or found[1] in info_keys
        )


class GenotypeSource(Protocol):
    """An opened genotype file; close it after use (it is a context manager)."""

    header: SourceHeader
    notes: Counter[str]
    """What became of calls that the format, not a policy, could not give as they were; filled while blocks are read."""
    contigs_passed_over: set[str]
    """Contigs of records outside the regions that ``blocks`` does not give, as written; filled while they are read."""

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        ...

    def records(self) -> pl.DataFrame:
        """Return the fixed columns (``RECORDS_SCHEMA``) of every record, without its calls."""
        ...

    @property
    def n_records(self) -> int | None:
        """Number of records where it is known before they are read, else None."""
        ...

    def blocks(self) -> Iterator[GenotypeBlock]:
        """Yield all records with their calls in file order, in one pass that finds every cut and malformed line."""
        ...

    def share_read(self) -> float:
        """Return how much of the file has been read, from 0 to 1."""
        ...

    def __enter__(self) -> GenotypeSource: ...

    def __exit__(self, *_: object) -> None: ...


RECORDS_SCHEMA: dict[str, type[pl.DataType]] = {
    "contig": pl.String,
    "position": pl.Int64,
    "variant_id": pl.String,
    "ref": pl.String,
    "alt": pl.String,
    "quality": pl.String,
    "filter": pl.String,
    "info": pl.String,
}
"""contig as written, ALTs comma-separated (``.`` for none), and QUAL, FILTER and INFO as written (``.`` where absent;
FILTER is ``PASS`` in formats that have none)."""


class GenotypeFormat(Protocol):
    """A format: its name, the suffixes of its files, and how to open one."""

    name: str
    suffixes: tuple[str, ...]
    fileset: str | None
    """Suffix of the file by which a fileset is known behind its prefix; None where one file is the whole."""

    def open(self, path: Path, options: OpenOptions | None = None) -> GenotypeSource:
        """Open a file (or a fileset by its prefix or by one of its files)."""
        ...


def default_block_size(n_samples: int) -> int:
    """Return a number of records per block that keeps a block's arrays near 48 MiB."""
    return max(16, min(8192, BLOCK_BYTES // (max(n_samples, 1) * 12)))


def genotype_formats() -> dict[str, GenotypeFormat]:
    """Return the genotype formats by name."""
    found = members("genomix.io", "FORMAT")
    return {name: f for name, f in found.items() if hasattr(f, "suffixes") and hasattr(f, "open")}


def find_format(path: Path) -> GenotypeFormat:
    """Return the format of a path: by its suffix, else of the fileset that lies behind a prefix; ``-`` is stdin.

    Of filesets with one prefix the PLINK 2 one is taken. A prefix stands for a fileset only: ``cohort`` is not
    ``cohort.vcf.gz``.

    Raises
    ------
    FormatError: when the suffix is unknown.
    InputNotFoundError: when nothing is there; files that the prefix may have meant are named.
    """
    formats = genotype_formats()
    if str(path) == STANDARD_INPUT:
        return formats["vcf"]
    longest_first = sorted(((s, f) for f in formats.values() for s in f.suffixes), key=lambda p: (-len(p[0]), p[0]))
    for suffix, candidate in longest_first:
        if path.name.endswith(suffix):
            return candidate
    filesets = sorted((f for f in formats.values() if f.fileset is not None), key=lambda f: f.name, reverse=True)
    for candidate in filesets:
        if beside(path, str(candidate.fileset)).is_file():
            return candidate
    known = ", ".join(sorted(s for s, _ in longest_first))
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FormatError(
            f"{path.name} is a pipe or a device, whose name says no format", where=str(path),
            hint="a VCF or BCF on standard input, named -",
        )  # fmt: skip
    if path.exists():
        raise FormatError(f"{path.name} is no genotype format that is known", where=str(path), hint=f"one of: {known}")
    near = [path.name + s for s, _ in longest_first if beside(path, s).is_file()]
    hint = " or ".join(near) if near else f"a file, or the prefix of a fileset, with: {known}"
    raise InputNotFoundError(f"no genotypes at {path.name}", where=str(path), hint=hint)


def open_genotypes(path: Path, options: OpenOptions | None = None) -> GenotypeSource:
    """Open any supported genotype file, or a fileset by its prefix."""
    return find_format(path).open(path, options)


def check_sample_ids(ids: list[str], *, where: str, families: list[str] | None = None) -> None:
    """Raise a :class:`FormatError` for an empty, duplicated or unwritable sample identifier.

    Samples are told apart by IID alone; ``families`` (FID) only explains why an identifier is there twice.
    """
    if not ids:
        raise FormatError("there are no samples", where=where, hint="a file with genotypes, not sites only")
    first: dict[str, int] = {}
    for ordinal, value in enumerate(ids, start=1):
        bad = Identifier("sample", value or "(empty)", ordinal)
        if not value:
            raise FormatError("a sample has an empty identifier", where=where, identifiers=(bad,))
        if value == "0":
            raise FormatError(
                "a sample is named 0, which PLINK filesets read as no identifier",
                where=where, hint="rename it (bcftools reheader, plink2 --update-ids)", identifiers=(bad,),
            )  # fmt: skip
        if any(c.isspace() for c in value):
            raise FormatError(
                "a sample identifier holds white space, which PLINK filesets cannot", where=where, identifiers=(bad,)
            )
        if value in first:
            apart = families is not None and families[first[value] - 1] != families[ordinal - 1]
            raise FormatError(
                "two samples of different families have the same IID, and samples are told apart by IID alone"
                if apart
                else "two samples have the same identifier",
                where=where,
                hint="rename one of them (bcftools reheader, plink2 --update-ids)",
                identifiers=(Identifier("sample", value, first[value]), bad),
            )
        first[value] = ordinal


def fileset_prefix(path: Path, suffixes: tuple[str, ...]) -> Path:
    """Return a fileset's prefix, given the prefix itself or one of its files."""
    for suffix in sorted(suffixes, key=len, reverse=True):
        if path.name.endswith(suffix):
            return path.with_name(path.name.removesuffix(suffix))
    return path


def beside(prefix: Path, suffix: str) -> Path:
    """Return ``prefix`` with ``suffix`` appended to its name (a prefix may hold dots)."""
    return prefix.with_name(prefix.name + suffix)
