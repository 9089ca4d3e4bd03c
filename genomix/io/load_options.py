"""What may be chosen when genotypes are loaded; one object from the command line to the last reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from genomix.io.call_policies import HalfCallPolicy, HaploidPolicy
from genomix.io.genotype_format import IMPUTATION_QUALITY_KEYS, DosageField, OpenOptions
from genomix.io.regions import Regions

SexTable = Mapping[str, int] | pl.DataFrame
MultiAllelicPolicy = Literal["keep", "split", "drop"]
RefMismatchPolicy = Literal["error", "drop"]


@dataclass(frozen=True)
class LoadOptions:
    """How genotypes are loaded.

    Parameters
    ----------
    build: genome build (GRCh37, GRCh38 or an alias); None takes it from the file's contig lengths.
    sex: sample to sex (1 male, 2 female, 0 unknown), or a frame with ``sample_id``, optionally ``sex``, and further
        columns that travel in the .psam; it overrides the source's own sex.
    half_call: what a call such as ``./1`` becomes.
    haploid: what a haploid call becomes where two copies are expected; on X outside the PARs, Y and MT it is doubled.
    dosage_field: see :data:`~genomix.io.genotype_format.DosageField`.
    info_keys: INFO keys to carry over; ``("*",)`` carries all.
    regions: records that overlap none are left out.
    samples: samples to load, in this order; None for all.
    keep_filter: FILTER values that a record may have (``PASS`` also stands for ``.``); None for any.
    multi_allelic: keep records with several ALTs whole (a .pgen holds no dosages of these), split them into one record
        per ALT, or drop them.
    fasta: reference sequence: REF is checked against it.
    ref_mismatch: refuse a file whose REF contradicts the FASTA, or drop such records.
    left_align: move insertions and deletions to their leftmost place and shortest form (needs ``fasta``).
    chain: liftover chain file; target_build and target_fasta say where to.
    double_id: FID = IID; id_delimiter: split identifiers into FID and IID (plink2's rules).
    threads, allow_missing_end, reader, block_size: see :class:`~genomix.io.genotype_format.OpenOptions`.
    bgen_ref, sample_file: see there as well.
    """

    build: str | None = None
    sex: SexTable | None = None
    half_call: HalfCallPolicy = "missing"
    haploid: HaploidPolicy = "missing"
    dosage_field: DosageField = "auto"
    info_keys: tuple[str, ...] = IMPUTATION_QUALITY_KEYS
    regions: Regions | None = None
    samples: tuple[str, ...] | None = None
    keep_filter: tuple[str, ...] | None = None
    multi_allelic: MultiAllelicPolicy = "keep"
    fasta: Path | None = None
    ref_mismatch: RefMismatchPolicy = "error"
    left_align: bool = False
    chain: Path | None = None
    target_build: str | None = None
    target_fasta: Path | None = None
    double_id: bool = False
    id_delimiter: str | None = None
    threads: int = 1
    allow_missing_end: bool = False
    reader: Literal["auto", "fast", "reference"] = "auto"
    block_size: int | None = None
    bgen_ref: Literal["first", "last"] = "first"
    sample_file: Path | None = None

    @property
    def changes_calls(self) -> bool:
        """Whether a PLINK 2 fileset would be another one after loading (sex and labels of samples aside)."""
        plain = LoadOptions(threads=self.threads, block_size=self.block_size, reader=self.reader)
        return replace(self, sex=None) != plain

    def opening(self) -> OpenOptions:
        """Return what concerns the opening of a file."""
        return OpenOptions(
            dosage_field=self.dosage_field,
            split_dosages=self.multi_allelic == "split",
            info_keys=self.info_keys,
            regions=self.regions,
            threads=self.threads,
            allow_missing_end=self.allow_missing_end,
            reader=self.reader,
            block_size=self.block_size,
            bgen_ref=self.bgen_ref,
            sample_file=self.sample_file,
        )
