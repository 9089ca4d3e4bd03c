"""Writing .pgen files: hard calls of any allele count, phase, and dosages of biallelic records."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import OutputError
from genomix.io.genotype_format import COMPACT_MISSING, HET_PHASED
from genomix.io.packing import alleles_of_codes, heterozygotes_of_rows
from genomix.io.spool import FinishedBlock

MOST_ALTS = 254
"""The most ALTs of a record that pgenlib can write."""

_ROWS_AT_ONCE = 64
_UNPHASED, _PHASED, _PARTLY_PHASED, _ALLELES, _DOSAGES = range(5)


class PgenBlockWriter:
    """Writes blocks of finished diploid calls into one .pgen; use as a context manager.

    Parameters
    ----------
    path: the .pgen to write.
    n_samples, n_records: its exact size; pgenlib must know it beforehand.
    max_alleles: the largest number of alleles of a record, REF included; at most ``MOST_ALTS`` + 1.
    ref_known: False marks every REF as provisional, as PLINK does for a .bed.
    phased, dosages: whether any block may hold phase, or dosages.
    """

    def __init__(
        self,
        path: Path,
        *,
        n_samples: int,
        n_records: int,
        max_alleles: int,
        ref_known: bool,
        phased: bool,
        dosages: bool,
    ) -> None:
        import pgenlib

        self._path = path
        self._phased = phased
        self._writer: Any = pgenlib.PgenWriter(
            str(path).encode(),
            n_samples,
            variant_ct=n_records,
            nonref_flags=not ref_known,
            allele_ct_limit=max(2, max_alleles),
            hardcall_phase_present=phased,
            dosage_present=dosages,
        )

    def append(self, block: FinishedBlock) -> None:
        """Append a block's records.

        A record with any finite dosage is written as dosages, from which pgenlib derives its hard calls.
        """
        kinds = _kinds(block)
        alleles = _for_pgenlib(block)
        at_compact, at_general = 0, 0
        try:
            for start, end, kind in _runs(kinds):
                n = end - start
                if kind in (_UNPHASED, _PHASED, _PARTLY_PHASED):
                    self._append_codes(block.compact[at_compact : at_compact + n], kind)
                    at_compact += n
                    continue
                part = slice(at_general, at_general + n)
                if kind == _DOSAGES and block.dosages is not None:
                    values = np.nan_to_num(block.dosages[part], nan=float(COMPACT_MISSING)).astype(np.float32)
                    self._writer.append_dosages_batch(np.ascontiguousarray(values))
                else:
                    self._append_alleles(alleles, part, block.allele_counts[start:end])
                at_general += n
        except RuntimeError as error:
            raise self._failed(error) from error

    def _append_codes(self, codes: npt.NDArray[np.int8], kind: int) -> None:
        """Append biallelic diploid records from their compact codes."""
        if kind == _UNPHASED:
            self._writer.append_biallelic_batch(np.ascontiguousarray(codes))
            return
        for start in range(0, len(codes), _ROWS_AT_ONCE):  # few enough to stay in the processor's cache
            part = codes[start : start + _ROWS_AT_ONCE]
            flat = alleles_of_codes(part).reshape(len(part), -1)
            if kind == _PHASED:
                self._writer.append_alleles_batch(flat, all_phased=True)
            else:
                self._writer.append_partially_phased_batch(flat, (part >= HET_PHASED).astype(np.uint8))

    def _append_alleles(self, alleles: _PgenAlleles, part: slice, allele_counts: npt.NDArray[np.int64]) -> None:
        counts = allele_counts.astype(np.uint32)
        if not self._phased:
            self._writer.append_alleles_batch(alleles.codes[part], allele_cts=counts)
            return
        self._writer.append_partially_phased_batch(alleles.codes[part], alleles.phased[part], allele_cts=counts)

    def close(self) -> None:
        """Finish the file."""
        try:
            self._writer.close()
        except (RuntimeError, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> OutputError:
        return OutputError(
            f"cannot write the genotypes: {error}",
            where=str(self._path),
            hint="the disk may be full: free space or choose another output folder",
        )

    def abandon(self) -> None:
        """Let go of an interrupted write and remove what it left behind."""
        hooks = sys.excepthook, sys.unraisablehook
        # pgenlib tries to finish the file once more, and prints a traceback when it cannot
        sys.excepthook, sys.unraisablehook = (lambda *_: None), (lambda _: None)
        try:
            self._writer = None
        finally:
            sys.excepthook, sys.unraisablehook = hooks
        for name in (self._path.name, f"{self._path.name}.tmp"):
            self._path.with_name(name).unlink(missing_ok=True)


class _PgenAlleles(NamedTuple):
    """The general calls of a block as pgenlib takes them: int32 (n, 2 * n_samples), uint8 (n, n_samples)."""

    codes: npt.NDArray[np.int32]
    phased: npt.NDArray[np.uint8]


def _for_pgenlib(block: FinishedBlock) -> _PgenAlleles:
    codes = block.general.astype(np.int32)
    codes[codes < 0] = COMPACT_MISSING
    phased = block.phased & (codes[:, :, 0] != codes[:, :, 1])
    return _PgenAlleles(codes.reshape(len(codes), 2 * codes.shape[1]), np.ascontiguousarray(phased.astype(np.uint8)))


_KIND_OF_HETEROZYGOTES = np.array([_UNPHASED, _UNPHASED, _PHASED, _PARTLY_PHASED], dtype=np.int8)


def _kinds(block: FinishedBlock) -> npt.NDArray[np.int8]:
    """How each record is written."""
    kinds = np.full(len(block.is_compact), _ALLELES, dtype=np.int8)
    kinds[block.is_compact] = _KIND_OF_HETEROZYGOTES[heterozygotes_of_rows(block.compact)]
    if block.dosages is not None:
        with_dosages = np.isfinite(block.dosages).any(axis=1)
        kinds[~block.is_compact] = np.where(with_dosages, _DOSAGES, _ALLELES)
    return kinds


def _runs(kinds: npt.NDArray[np.int8]) -> Iterator[tuple[int, int, int]]:
    """Consecutive records of one kind, (start, end, kind): the writer takes batches of one kind."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(kinds)) + 1, [len(kinds)]])
    return ((a, b, int(kinds[a])) for a, b in pairwise(edges.tolist()) if b > a)
