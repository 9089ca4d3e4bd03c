"""From a source's block to records as they are written: selection, splitting, reference check, alignment, liftover.

Every record that leaves on the way is counted under a reason; those that a FASTA or a chain file turned away are also
listed one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.io.contigs import (
    CONTIG_LENGTHS,
    UNKNOWN_BUILD,
    check_last_positions,
    check_positions,
    normalise_contigs,
    resolve_build,
)
from genomix.io.genotype_format import HET_PHASED, HET_PHASED_REVERSED, MISSING, GenotypeBlock
from genomix.io.load_options import LoadOptions
from genomix.io.record_lines import RecordLines

if TYPE_CHECKING:
    from genomix.io.chain import Chain
    from genomix.io.fasta import Fasta

_BOOL = npt.NDArray[np.bool_]

REJECTED_SCHEMA: dict[str, type[pl.DataType]] = {
    "contig": pl.String,
    "position": pl.Int64,
    "variant_id": pl.String,
    "ref": pl.String,
    "alt": pl.String,
    "reason": pl.String,
}

_BASES = r"(?i)^[ACGTN*,.]+$"

REF_MISMATCH = "REF is not what the FASTA has"
OFF_REFERENCE = "contig or position is not in the FASTA"
OUTSIDE_REGIONS = "outside the regions"
FILTERED = "FILTER is not one to keep"
SEVERAL_ALTS = "several ALTs"
LOST_DOSAGES = (
    "several ALTs: DS or GP not kept, hard calls of GT are",
    "several ALTs without GT: DS or GP not kept, calls missing",
)
OFF_PRIMARY = "lifted to an alternate or unplaced contig"

ASKED_FOR = (OUTSIDE_REGIONS, FILTERED, SEVERAL_ALTS)
"""Reasons to leave a record out that the options ask for: nothing is lost by them."""


class LoadSteps:
    """The steps that the options ask for, applied block by block.

    Attributes
    ----------
    build: build of the source, as declared or found, and as the FASTA says; out_build: build after a liftover.
    left_out: records that were left out, by reason.
    noted: records that were changed, by what was done.
    n_read, n_added: records of the source, and those that splitting added.
    contigs: of the records that were read, as the source names them; filled where there are regions.
    """

    def __init__(
        self, options: LoadOptions, build: str, *, where: str, info_numbers: Mapping[str, str] | None = None
    ) -> None:
        self._options = options
        self._info_numbers = info_numbers or {}
        self._where = where
        self._fasta = _open_fasta(options.fasta)
        self._chain = _open_chain(options.chain)
        self._target = _open_fasta(options.target_fasta)
        if options.left_align and self._fasta is None:
            raise ConfigError("left-alignment needs the reference sequence", hint="give --fasta")
        self._looks_only = not (
            options.keep_filter is not None or options.regions is not None or options.multi_allelic != "keep"
            or self._fasta is not None or self._chain is not None
        )  # fmt: skip
        self._renames = options.multi_allelic == "split" or options.left_align or options.chain is not None
        self.build = _checked_build(self._fasta, build)
        self.out_build = self._lifted_build()
        self._rejected: list[pl.DataFrame] = []
        self._first_mismatch: int | None = None
        self._n_checked = 0
        self.left_out: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.n_read = 0
        self.n_added = 0
        self.contigs: set[str] = set()

    def _lifted_build(self) -> str:
        """Return the build that is written; a chain file must start at the source's build."""
        asked, target = self._options.target_build, self._target
        if self._chain is None:
            if asked or target is not None:
                raise ConfigError("a target build without a chain file", hint="give --chain as well")
            return self.build
        self._chain.check_build(self.build, where=self._where)
        told = self._chain.target_build
        if asked and told and resolve_build(asked) != told:
            raise ConfigError(
                f"the chain file leads to {told}, not to {resolve_build(asked)}", hint="leave out --target-build"
            )
        known = asked or told
        if known is None:
            raise ConfigError(
                "the build that the chain file leads to is not known", hint="give --target-build, e.g. GRCh38"
            )
        found = _checked_build(target, resolve_build(known))
        if found == self.build != UNKNOWN_BUILD:
            raise ConfigError(f"the genotypes have the build {self.build} already", hint="leave out --chain")
        return found

    def apply(self, block: GenotypeBlock) -> GenotypeBlock:
        """Return what is to be written of a block, contigs normalised and alleles in upper case."""
        self.n_read += block.n_records
        if self._looks_only and isinstance(block.fixed, RecordLines) and block.fixed.is_plain:
            lines = block.fixed.with_normal_contigs()
            check_last_positions(lines.last_positions(), self.build, where=self._where)
            self._note_lost_dosages(block)
            return replace(block, fixed=lines)
        check_columns(block, self._where)
        block = self._selected(block)
        if self._renames:
            block = replace(block, fixed=_without_made_names(block.records))
        block = self._by_alts(block)
        block = replace(block, fixed=normalised_names(block.records))
        self.noted["an ALT is REF, or is there twice"] += n_repeated_alleles(block.records)
        check_positions(block.records, self.build, where=self._where)
        if self._fasta is not None:
            block = self._against_reference(block, self._fasta)
        if self._chain is not None:
            block = self._lifted(block)
        block = self._without(block, left_out_reasons(block.records))
        self._note_lost_dosages(block)
        return block

    def _note_lost_dosages(self, block: GenotypeBlock) -> None:
        """Count the file's records with several ALTs that are written without the dosages they have."""
        if block.lost_dosages is None:
            return
        numbers = block.numbers[~block.is_compact]
        for note, without_calls in zip(LOST_DOSAGES, (False, True), strict=True):
            lost = block.lost_dosages & (block.without_calls == without_calls)
            self.noted[note] += len(np.unique(numbers[lost]))  # a split record counts once

    def rejected(self) -> pl.DataFrame:
        """Return the records that the FASTA or the chain file turned away, with the reason of each."""
        return pl.concat([pl.DataFrame(schema=REJECTED_SCHEMA), *self._rejected])

    def finish(self) -> None:
        """Raise a :class:`FormatError` when REF contradicts the FASTA and that was not to be passed over.

        Where no record came as far as the FASTA, nothing is said of it.
        """
        count = self.left_out[REF_MISMATCH]
        if count and self._options.ref_mismatch == "error":
            raise FormatError(
                f"REF of {count:,} of {self._n_checked:,} records is not what {self._options.fasta.name} has",  # type: ignore[union-attr]  # a FASTA was given, else nothing was checked
                where=f"{self._where} record {(self._first_mismatch or 0) + 1}",
                hint="use the FASTA of the build, or drop such records (--ref-mismatch drop)",
            )
        if self._fasta is not None and (self._n_checked or self.left_out[OFF_REFERENCE]):
            from genomix.io.reference_check import check_agreement

            check_agreement(self._n_checked - count, self._n_checked, self._fasta, self.build, where=self._where)

    def _selected(self, block: GenotypeBlock) -> GenotypeBlock:
        options = self._options
        reason = np.full(block.n_records, "", dtype=object)
        if options.keep_filter is not None:
            reason[~_has_filter(block.records["filter"], options.keep_filter)] = FILTERED
        if options.regions is not None:
            self.contigs.update(block.records["contig"].unique().to_list())
            reason[~options.regions.overlap(block.records)] = OUTSIDE_REGIONS
        return self._without(block, pl.Series("reason", reason, dtype=pl.String))

    def _by_alts(self, block: GenotypeBlock) -> GenotypeBlock:
        if self._options.multi_allelic == "keep":
            return block
        from genomix.io.multiallelic import drop_multiallelic, split_block

        if self._options.multi_allelic == "split":
            split = split_block(block, info_numbers=self._info_numbers)
            self.n_added += split.n_records - block.n_records
            return split
        kept, n_dropped = drop_multiallelic(block)
        self.left_out[SEVERAL_ALTS] += n_dropped
        return kept

    def _against_reference(self, block: GenotypeBlock, fasta: Fasta) -> GenotypeBlock:
        matches = fasta.ref_matches(block.records)
        self._n_checked += int((matches >= 0).sum())
        wrong = matches == 0
        if wrong.any() and self._first_mismatch is None:
            self._first_mismatch = int(block.numbers[wrong][0])
        reason = pl.Series("reason", np.select([wrong, matches < 0], [REF_MISMATCH, OFF_REFERENCE], ""))
        block = self._without(block, reason, listed=True)
        if not self._options.left_align:
            return block
        from genomix.io.normalise import ALIGNED, UNCHANGED, left_align

        aligned = left_align(block.records, fasta)
        changed = (
            (aligned.records["position"] != block.records["position"])
            | (aligned.records["ref"] != block.records["ref"])
            | (aligned.records["alt"] != block.records["alt"])
        )
        self.noted["left-aligned or trimmed"] += int(changed.sum())
        for status, count in aligned.status.value_counts(sort=False).iter_rows():
            if status not in (UNCHANGED, ALIGNED):
                self.noted[f"not aligned: {status}"] += int(count)
        return replace(block, fixed=aligned.records)

    def _lifted(self, block: GenotypeBlock) -> GenotypeBlock:
        from genomix.io.liftover import lift_records

        assert self._chain is not None
        lifted = lift_records(block.records, self._chain, self._target)
        reason = self._off_primary(block.records, lifted.records, lifted.reason)
        block = self._without(block, reason, listed=True)
        kept = (reason == "").to_numpy()
        swapped, reverse = lifted.swapped[kept], lifted.reverse[kept]
        self.noted["lifted to the reverse strand"] += int(reverse.sum())
        self.noted["REF and ALT swapped by the liftover"] += int(swapped.sum())
        before = block.records["contig"]
        block = replace(block, fixed=normalised_names(lifted.records.filter(pl.Series(kept))))
        self.noted["lifted to another contig"] += int((block.records["contig"] != before).sum())
        check_positions(block.records, self.out_build, where=self._where)
        if not swapped.any():
            return block
        if self._options.half_call == "reference":
            block, n = _half_calls_completed(block, swapped)
            self.noted["half-calls completed with REF before REF and ALT changed places"] += n
        return swap_alleles(block, swapped)

    def _off_primary(self, before: pl.DataFrame, after: pl.DataFrame, reason: pl.Series) -> pl.Series:
        """Add the reason of records that a primary contig lost to an alternate or unplaced one."""
        primary = list(CONTIG_LENGTHS.get(self.out_build, {}))
        if not primary:
            return reason
        left = before["contig"].is_in(primary) & ~normalise_contigs(after["contig"]).is_in(primary) & (reason == "")
        return reason.zip_with(~left, pl.Series([OFF_PRIMARY], dtype=pl.String).new_from_index(0, len(reason)))

    def _without(self, block: GenotypeBlock, reason: pl.Series, *, listed: bool = False) -> GenotypeBlock:
        """Return the records without a reason to leave; count the others, and list them where asked."""
        leaving = (reason != "").to_numpy()
        if not leaving.any():
            return block
        gone = reason.filter(pl.Series(leaving))
        self.left_out.update({str(k): int(v) for k, v in gone.value_counts(sort=False).iter_rows()})
        if listed:
            names = [n for n in REJECTED_SCHEMA if n != "reason"]
            rows = block.records.filter(pl.Series(leaving)).select(names)
            self._rejected.append(rows.with_columns(gone.alias("reason")))
        return block.select(~leaving)


def _open_fasta(path: Path | None) -> Fasta | None:
    if path is None:
        return None
    from genomix.io.fasta import Fasta

    return Fasta(path)


def _checked_build(fasta: Fasta | None, build: str) -> str:
    """Return the build, learned from the FASTA where it was not known; they may not contradict each other."""
    if fasta is None:
        return build
    from genomix.io.reference_check import check_fasta_build

    return check_fasta_build(fasta, build)


def _open_chain(path: Path | None) -> Chain | None:
    if path is None:
        return None
    from genomix.io.chain import read_chain

    return read_chain(path)


_ALLELE = r"[^,\s.]|[^,\s]{2,}"
_COLUMNS = {
    "variant_id": (r"^\S+$", "ID is empty or holds white space"),
    "ref": (rf"^(?:{_ALLELE}|\.)$", "REF is empty, or holds white space or a comma"),
    "alt": (rf"^(?:\.|(?:{_ALLELE})(?:,(?:{_ALLELE}))*)$", "ALT has an empty allele, or holds white space"),
    "quality": (r"^(?:\.|(?i:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?|nan))$", "QUAL is not a number"),
    "filter": (r"^\S+$", "FILTER is empty or holds white space"),
}


def check_columns(block: GenotypeBlock, where: str) -> None:
    """Raise a :class:`FormatError` for fixed columns that a .pvar could not hold."""
    records = block.records
    fine = records.select(pl.col(name).str.contains(pattern) for name, (pattern, _) in _COLUMNS.items())
    if fine.select(pl.all_horizontal(pl.all().all())).item():
        return
    name = next(n for n in _COLUMNS if not fine[n].all())
    row = int((~fine[name]).arg_max() or 0)
    contig, position = records.select("contig", "position").row(row)
    raise FormatError(
        _COLUMNS[name][1],
        where=f"{where} record {int(block.numbers[row]) + 1} ({contig}:{position})",
        hint="correct it there; genomix variants validate lists all of them",
    )


def _has_filter(filters: pl.Series, wanted: tuple[str, ...]) -> _BOOL:
    """Say which records have any of the wanted FILTER values."""
    kept = {f: _any_wanted(f, wanted) for f in filters.unique().to_list()}
    return np.asarray(filters.replace_strict(kept, return_dtype=pl.Boolean).to_numpy(), dtype=np.bool_)


def _any_wanted(text: str, wanted: tuple[str, ...]) -> bool:
    return any(value in wanted or (value == "." and "PASS" in wanted) for value in text.split(";"))


def _without_made_names(records: pl.DataFrame) -> pl.DataFrame:
    """Take away names that only say place and alleles: those are about to change."""
    made = pl.concat_str("contig", "position", "ref", "alt", separator=":")
    return records.with_columns(
        pl.when(pl.col("variant_id") == made).then(pl.lit(".")).otherwise("variant_id").alias("variant_id")
    )


def _half_calls_completed(block: GenotypeBlock, records: _BOOL) -> tuple[GenotypeBlock, int]:
    """Write REF for the missing allele of half-calls in some records, and count them."""
    alleles = block.alleles.copy()
    here = records[~block.is_compact][:, None]
    first, second = alleles[..., 0], alleles[..., 1]
    half = here & (((first == MISSING) & (second >= 0)) | ((first >= 0) & (second == MISSING)))
    first[half & (first == MISSING)] = 0
    second[half & (second == MISSING)] = 0
    return replace(block, alleles=alleles), int(half.sum())


def normalised_names(records: pl.DataFrame) -> pl.DataFrame:
    """Return records with contigs normalised and bases in upper case; anything but bases keeps its spelling."""
    ref, alt = pl.col("ref"), pl.col("alt")
    return records.with_columns(
        normalise_contigs(records["contig"]),
        pl.when(ref.str.contains(_BASES)).then(ref.str.to_uppercase()).otherwise(ref).alias("ref"),
        pl.when(alt.str.contains(_BASES)).then(alt.str.to_uppercase()).otherwise(alt).alias("alt"),
    )


def n_repeated_alleles(records: pl.DataFrame) -> int:
    """Return how many records name an allele twice."""
    several = records.filter(pl.col("alt").str.contains(",", literal=True))
    twice = sum(len(set(a)) < len(a) for a in ([r, *t.split(",")] for r, t in several.select("ref", "alt").iter_rows()))
    return twice + int((records["ref"] == records["alt"]).sum())


def left_out_reasons(records: pl.DataFrame) -> pl.Series:
    """Return why each record cannot be written, empty where it can."""
    without_sequence = r"(?:\*|<[^,]*>|[^,]*[\[\]][^,]*)"
    countable = ~pl.col("alt").str.contains(f"^{without_sequence}(?:,{without_sequence})*$")
    return records.select(
        pl.when(pl.col("position") < 0).then(pl.lit("negative position (PLINK's mark for a variant to ignore)"))
        .when(pl.col("ref") == ".").then(pl.lit("REF unknown"))
        .when(pl.col("alt") == ".").then(pl.lit("no ALT"))
        .when(pl.col("alt") == "*").then(pl.lit("spanning deletion only"))
        .when(~countable).then(pl.lit("symbolic ALT only"))
        .otherwise(pl.lit("")).alias("reason")
    ).to_series()  # fmt: skip


_SWAPPED_CODE = np.arange(256, dtype=np.uint8).view(np.int8)
_SWAPPED_CODE[[0, 2, HET_PHASED, HET_PHASED_REVERSED]] = [2, 0, HET_PHASED_REVERSED, HET_PHASED]


def swap_alleles(block: GenotypeBlock, swapped: _BOOL) -> GenotypeBlock:
    """Return the block with REF and ALT exchanged in the calls of biallelic records where ``swapped``."""
    compact, alleles = block.compact.copy(), block.alleles.copy()
    of_compact, of_general = swapped[block.is_compact], swapped[~block.is_compact]
    compact[of_compact] = _SWAPPED_CODE[compact[of_compact].view(np.uint8)]
    part = alleles[of_general]
    alleles[of_general] = np.where(part >= 0, 1 - part, part)
    dosages = block.dosages
    if dosages is not None:
        dosages = dosages.copy()
        dosages[of_general] = 2 - dosages[of_general]
    return replace(block, compact=compact, alleles=alleles, dosages=dosages)
