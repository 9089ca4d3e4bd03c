"""What a genotype format is: a file becomes samples, contigs, a table of records, and blocks of allele codes.

A format is one module of :mod:`genomix.io` with an attribute ``FORMAT``; :func:`open_genotypes` finds it by the
file's suffix, or by the files that lie behind a prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, Identifier, InputNotFoundError
from genomix.registry import members

MISSING = -1
"""Allele code of a missing allele."""

HAPLOID = -2
"""Second allele code of a call that has one allele only."""

BLOCK_BYTES = 48 << 20

AlleleArray = npt.NDArray[np.int16]


@dataclass(frozen=True)
class GenotypeBlock:
    """Calls of consecutive records.

    Parameters
    ----------
    start: 0-based number of the first record in its file.
    alleles: int16 (n_records, n_samples, 2): 0 is REF, k the k-th ALT, ``MISSING`` or, in second place, ``HAPLOID``.
    phased: bool (n_records, n_samples), True where the order of the two alleles means something.
    over_ploidy: int64 (n_records,), calls with more than two alleles; they are missing in ``alleles``.
    without_calls: bool (n_records,), records that carry no hard calls at all.
    dosages: float32 (n_records, n_samples) ALT dosages, NaN where there is none; None when no record has any.
    """

    start: int
    alleles: AlleleArray
    phased: npt.NDArray[np.bool_]
    over_ploidy: npt.NDArray[np.int64]
    without_calls: npt.NDArray[np.bool_]
    dosages: npt.NDArray[np.float32] | None = None


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
    """

    samples: pl.DataFrame
    contigs: Mapping[str, int | None] = field(default_factory=dict)
    build: str | None = None
    ref_known: bool = True
    may_be_phased: bool = True
    may_have_dosages: bool = False


class GenotypeSource(Protocol):
    """An opened genotype file; close it after use (it is a context manager)."""

    header: SourceHeader

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        ...

    def records(self) -> pl.DataFrame:
        """Return contig (as written), position, variant_id, ref, alt, filter: one row per record, in file order."""
        ...

    def blocks(self, block_size: int | None = None) -> Iterator[GenotypeBlock]:
        """Yield all records' calls in file order, ``block_size`` records at a time."""
        ...

    def __enter__(self) -> GenotypeSource: ...

    def __exit__(self, *_: object) -> None: ...


RECORDS_SCHEMA: dict[str, type[pl.DataType]] = {
    "contig": pl.String,
    "position": pl.Int64,
    "variant_id": pl.String,
    "ref": pl.String,
    "alt": pl.String,
    "filter": pl.String,
}


class GenotypeFormat(Protocol):
    """A format: its name, the suffixes of its files, and how to open one."""

    name: str
    suffixes: tuple[str, ...]

    def open(self, path: Path, options: Mapping[str, Any] | None = None) -> GenotypeSource:
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
    """Return the format of a path: by its suffix, else by the files behind a prefix.

    Raises
    ------
    FormatError: when the suffix is unknown.
    InputNotFoundError: when nothing is there.
    """
    formats = genotype_formats()
    longest_first = sorted(((s, f) for f in formats.values() for s in f.suffixes), key=lambda p: (-len(p[0]), p[0]))
    for suffix, candidate in longest_first:
        if path.name.endswith(suffix):
            return candidate
    for suffix, candidate in longest_first:
        if path.with_name(path.name + suffix).is_file():
            return candidate
    known = ", ".join(sorted(s for s, _ in longest_first))
    if path.exists():
        raise FormatError(f"{path.name} is no genotype format that is known", where=str(path), hint=f"one of: {known}")
    raise InputNotFoundError(f"no genotypes at {path.name}", where=str(path), hint=f"a file or a prefix with: {known}")


def open_genotypes(path: Path, options: Mapping[str, Any] | None = None) -> GenotypeSource:
    """Open any supported genotype file, or a fileset by its prefix."""
    return find_format(path).open(path, options)


def check_sample_ids(ids: list[str], *, where: str) -> None:
    """Raise a :class:`FormatError` for an empty, duplicated or unwritable sample identifier."""
    if not ids:
        raise FormatError("there are no samples", where=where, hint="a file with genotypes, not sites only")
    first: dict[str, int] = {}
    for ordinal, value in enumerate(ids, start=1):
        bad = Identifier("sample", value or "(empty)", ordinal)
        if not value or value == "0":
            raise FormatError("a sample has an empty identifier", where=where, identifiers=(bad,))
        if any(c.isspace() for c in value):
            raise FormatError(
                "a sample identifier holds white space, which PLINK filesets cannot", where=where, identifiers=(bad,)
            )
        if value in first:
            raise FormatError(
                "two samples have the same identifier",
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
