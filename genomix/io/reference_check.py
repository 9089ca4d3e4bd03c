"""Whether genotypes, the build that is declared for them, and a reference sequence belong together."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from genomix.errors import FormatError
from genomix.io.contigs import UNKNOWN_BUILD, detect_build, resolve_build
from genomix.io.fasta import MATCH, UNKNOWN, Fasta

MIN_AGREEMENT = 0.9
"""Least share of records whose REF the FASTA must have. With the wrong build about a quarter to a third agree by chance
(one base of four, more where composition is uneven)."""


class ReferenceCheck(NamedTuple):
    """What the comparison of REF with a FASTA gave.

    ``build``: the declared build, or the FASTA's where none was declared. ``n_matching``, ``n_mismatching``,
    ``n_unknown``: records whose REF the FASTA has, does not have, or that lie on a contig or position it lacks.
    """

    build: str
    n_matching: int
    n_mismatching: int
    n_unknown: int


def fasta_build(fasta: Fasta) -> str:
    """Return the build of a FASTA by its contigs' lengths, ``"unknown"`` where they decide nothing."""
    return detect_build(dict(fasta.contigs)) or UNKNOWN_BUILD


def check_fasta_build(fasta: Fasta, build: str) -> str:
    """Return ``build``, or the FASTA's build where ``build`` is ``"unknown"``.

    Raises
    ------
    FormatError: when both are known and differ; it names both.
    """
    declared, found = resolve_build(build), fasta_build(fasta)
    if UNKNOWN_BUILD not in (declared, found) and declared != found:
        raise FormatError(
            f"the genotypes are in {declared}, but {fasta.path.name} has the contig lengths of {found}",
            where=str(fasta.path),
            hint=f"the FASTA of {declared}, or another --build",
        )
    return found if declared == UNKNOWN_BUILD else declared


def check_agreement(
    n_matching: int,
    n_checked: int,
    fasta: Fasta,
    build: str,
    *,
    minimum: float = MIN_AGREEMENT,
    where: str | None = None,
) -> None:
    """Raise a :class:`FormatError` when too small a share of REFs is what the FASTA has; it names both builds.

    Parameters
    ----------
    n_matching, n_checked: records that agree, and records that could be compared. minimum: least share that may agree.
    """
    if n_checked == 0:
        raise FormatError(
            f"no record lies on a contig of {fasta.path.name}",
            where=where,
            hint="it has: " + ", ".join(list(fasta.contigs)[:5]),
        )
    if n_matching < minimum * n_checked:
        raise FormatError(
            f"REF agrees with {fasta.path.name} (build {fasta_build(fasta)}) in {n_matching:,} of {n_checked:,} records"
            f" ({n_matching / n_checked:.1%}); the genotypes are declared as {build}",
            where=where,
            hint="the FASTA of the genotypes' build, or another --build",
        )


def check_reference(
    records: pl.DataFrame, fasta: Fasta, build: str, *, minimum: float = MIN_AGREEMENT, where: str | None = None
) -> ReferenceCheck:
    """Check a FASTA against a declared build by contig lengths, and against records by their REF.

    Parameters
    ----------
    records: contig, position (1-based), ref. build: as declared or found, ``"unknown"`` for neither.
    minimum: least share of comparable records whose REF must be what the FASTA has.

    Raises
    ------
    FormatError: when the builds differ or too few REFs agree; it names the declared build and the FASTA's.
    """
    agreed = check_fasta_build(fasta, build)
    matches = fasta.ref_matches(records)
    n_matching, n_unknown = int((matches == MATCH).sum()), int((matches == UNKNOWN).sum())
    n_checked = records.height - n_unknown
    check_agreement(n_matching, n_checked, fasta, build, minimum=minimum, where=where)
    return ReferenceCheck(agreed, n_matching, n_checked - n_matching, n_unknown)
