"""Contig names, genome builds and the regions where a genotype may be haploid.

>>> [normalise_contig(name) for name in ("chr1", "01", "chrM", "23", "chrX", "GL000191.1")]
['1', '1', 'MT', 'X', 'X', 'GL000191.1']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError

BUILDS = ("GRCh37", "GRCh38")
UNKNOWN_BUILD = "unknown"

_BUILD_ALIASES = {
    "grch37": "GRCh37", "hg19": "GRCh37", "b37": "GRCh37", "hs37d5": "GRCh37", "ncbi37": "GRCh37",
    "grch38": "GRCh38", "hg38": "GRCh38", "b38": "GRCh38", "ncbi38": "GRCh38",
    "grcm37": "GRCm37", "mm9": "GRCm37", "grcm38": "GRCm38", "mm10": "GRCm38", "grcm39": "GRCm39", "mm39": "GRCm39",
}  # fmt: skip

_NAMES = (*(str(i) for i in range(1, 23)), "X", "Y")
_LENGTHS_37 = (
    249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022, 141213431, 135534747,
    135006516, 133851895, 115169878, 107349540, 102531392, 90354753, 81195210, 78077248, 59128983, 63025520, 48129895,
    51304566, 155270560, 59373566,
)  # fmt: skip
_LENGTHS_38 = (
    248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717, 133797422,
    135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616, 64444167, 46709983,
    50818468, 156040895, 57227415,
)  # fmt: skip

CONTIG_LENGTHS: dict[str, dict[str, int]] = {
    "GRCh37": {**dict(zip(_NAMES, _LENGTHS_37, strict=True)), "MT": 16569},
    "GRCh38": {**dict(zip(_NAMES, _LENGTHS_38, strict=True)), "MT": 16569},
}
"""Lengths in bp of the primary contigs (Genome Reference Consortium assembly reports, GRCh37 and GRCh38)."""

PAR_ENDS: dict[str, dict[str, tuple[int, int]]] = {
    "GRCh37": {"X": (2699520, 154931044), "Y": (2649520, 59034050)},
    "GRCh38": {"X": (2781479, 155701383), "Y": (2781479, 56887903)},
}
"""Last position of PAR1 and first position of PAR2 (GRC; the boundaries that PLINK's --split-par uses on X)."""

_SPECIAL = {
    "23": "X", "X": "X", "24": "Y", "Y": "Y", "25": "XY", "XY": "XY", "26": "MT", "M": "MT", "MT": "MT",
    "PAR1": "PAR1", "PAR2": "PAR2",
}  # fmt: skip

AUTOSOMES = tuple(str(i) for i in range(1, 23))
_ORDER = (*AUTOSOMES, "PAR1", "X", "XY", "PAR2", "Y", "MT")


class PloidyClass(IntEnum):
    """How many copies a person may carry at a position."""

    AUTOSOME = 0
    PAR = 1
    X = 2
    Y = 3
    MT = 4
    OTHER = 5


HAPLOID_CLASSES = (PloidyClass.X, PloidyClass.Y, PloidyClass.MT)
"""Classes where a haploid call is legitimate."""


def normalise_contig(name: str) -> str:
    """Return a contig's name without ``chr``, with PLINK's numbers 23 to 26 as X, Y, XY and MT.

    A name that is not one of the primary human contigs is returned without its ``chr`` prefix and otherwise unchanged.
    """
    bare = name[3:] if name[:3].lower() == "chr" and len(name) > 3 else name
    upper = bare.upper()
    if upper in _SPECIAL:
        return _SPECIAL[upper]
    return bare.lstrip("0") or bare if bare.isascii() and bare.isdigit() else bare


def normalise_contigs(names: pl.Series) -> pl.Series:
    """Return a String series of contig names with each one normalised."""
    unique = names.unique(maintain_order=True).to_list()
    return names.replace_strict(unique, [normalise_contig(n) for n in unique], return_dtype=pl.String)


def contig_ranks(names: pl.Series) -> npt.NDArray[np.int64]:
    """Return each row's place in the canonical order 1..22, X, Y, MT, then others by first appearance."""
    present = names.unique(maintain_order=True).to_list()
    order = [n for n in _ORDER if n in present] + [n for n in present if n not in _ORDER]
    rank = {name: i for i, name in enumerate(order)}
    ranks = names.replace_strict(present, [rank[n] for n in present], return_dtype=pl.Int64)
    return ranks.to_numpy().astype(np.int64)


def resolve_build(name: str) -> str:
    """Return the canonical name of a genome build (``hg19`` is ``GRCh37``).

    The mouse builds are known by name only: their contig lengths are not checked and they have no PARs here.

    Raises
    ------
    ConfigError: for a name that is not a known build.
    """
    if name == UNKNOWN_BUILD:
        return UNKNOWN_BUILD
    found = _BUILD_ALIASES.get(name.split(".")[0].lower())
    if found is None:
        raise ConfigError(f"unknown genome build {name!r}", hint="one of: " + ", ".join(sorted(_BUILD_ALIASES)))
    return found


def detect_build(lengths: Mapping[str, int | None]) -> str | None:
    """Return the build whose contig lengths are the given ones, or None when they decide nothing.

    Parameters
    ----------
    lengths: contig name (any style) to length in bp, None where the header states none.

    Raises
    ------
    FormatError: when some contigs have the lengths of one build and some of the other.

    >>> detect_build({"chr1": 248956422, "chrM": 16569})
    'GRCh38'
    >>> detect_build({"1": None}) is None
    True
    """
    votes = {build: _agreeing(lengths, build) for build in BUILDS}
    winners = [build for build in BUILDS if votes[build]]
    if len(winners) > 1:
        examples = ", ".join(f"{votes[b][0]} has the length of {b}" for b in winners)
        raise FormatError(f"contig lengths mix two genome builds: {examples}")
    return winners[0] if winners else None


def _agreeing(lengths: Mapping[str, int | None], build: str) -> list[str]:
    """Contigs whose length is this build's; MT has one length in both and says nothing."""
    known = CONTIG_LENGTHS[build]
    normal = {normalise_contig(name): length for name, length in lengths.items()}
    return [name for name in _NAMES if normal.get(name) == known[name]]


def reconcile_build(declared: str | None, lengths: Mapping[str, int | None], *, where: str | None = None) -> str:
    """Return the build as declared or found, ``"unknown"`` when neither says.

    Raises
    ------
    FormatError: when the declared build contradicts the contig lengths; both are named.
    """
    found = detect_build(lengths)
    if declared is None:
        return found or UNKNOWN_BUILD
    asked = resolve_build(declared)
    if asked != UNKNOWN_BUILD and found is not None and found != asked:
        contig = _agreeing(lengths, found)[0]
        raise FormatError(
            f"the build is declared as {asked}, but contig {contig} has the length that it has in {found}",
            where=where,
            hint=f"declare {found}, or lift the positions over first",
        )
    return asked if asked != UNKNOWN_BUILD else (found or UNKNOWN_BUILD)


def check_positions(variants: pl.DataFrame, build: str, *, where: str | None = None) -> None:
    """Raise a :class:`FormatError` when a position lies beyond its contig's end in ``build``."""
    if build not in CONTIG_LENGTHS:
        return
    check_last_positions(
        dict(variants.group_by("contig").agg(pl.col("position").max()).iter_rows()), build, where=where
    )


def check_last_positions(last: Mapping[str, int | None], build: str, *, where: str | None = None) -> None:
    """Raise a :class:`FormatError` when a contig's greatest position lies beyond its end in ``build``."""
    lengths = CONTIG_LENGTHS.get(build, {})
    for contig in sorted(last):
        length, position = lengths.get(contig), last[contig]
        if length is not None and position is not None and position > length:
            raise FormatError(
                f"position {position} on contig {contig} lies beyond its end in {build} ({length})",
                where=where,
                hint="declare another build",
            )


_CLASS_OF_CONTIG = {
    **dict.fromkeys(AUTOSOMES, PloidyClass.AUTOSOME),
    **dict.fromkeys(("XY", "PAR1", "PAR2"), PloidyClass.PAR),
    "X": PloidyClass.X, "Y": PloidyClass.Y, "MT": PloidyClass.MT,
}  # fmt: skip


def ploidy_classes(
    contigs: Sequence[str] | pl.Series, positions: Any, build: str, *, run_lengths: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int8]:
    """Return the :class:`PloidyClass` of each variant, int8 (n_variants,).

    With an unknown build the pseudo-autosomal regions cannot be told apart, and all of X and Y count as X and Y.
    A variant on ``XY``, ``PAR1`` or ``PAR2`` is pseudo-autosomal under any build.

    Parameters
    ----------
    contigs: normalised names, one for each variant; with ``run_lengths`` one for each run of variants on one contig.
    positions: 1-based, (n_variants,).
    """
    place = np.asarray(positions, dtype=np.int64)
    if run_lengths is not None:
        codes = [int(_CLASS_OF_CONTIG.get(name, PloidyClass.OTHER)) for name in contigs]
        classes = np.repeat(np.array(codes, dtype=np.int8), run_lengths)
    else:
        names = pl.Series("contig", contigs, dtype=pl.String)
        unique = names.unique(maintain_order=True).to_list()
        codes = [int(_CLASS_OF_CONTIG.get(name, PloidyClass.OTHER)) for name in unique]
        classes = names.replace_strict(unique, codes, return_dtype=pl.Int8).to_numpy().astype(np.int8)
    for contig, (first_end, second_start) in PAR_ENDS.get(build, {}).items():
        if _CLASS_OF_CONTIG[contig] not in codes:
            continue
        on_contig = classes == _CLASS_OF_CONTIG[contig]
        classes[on_contig & ((place <= first_end) | (place >= second_start))] = PloidyClass.PAR
    return classes
