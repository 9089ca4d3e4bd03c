"""Writing .pgen files: hard calls of any allele count, phase, and dosages of biallelic records."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genomix.errors import OutputError
from genomix.io.genotype_format import AlleleArray

_PLINK_MISSING = -9


class PgenBlockWriter:
    """Writes blocks of finished diploid calls into one .pgen; use as a context manager.

    Parameters
    ----------
    path: the .pgen to write.
    n_samples, n_records: its exact size; pgenlib must know it beforehand.
    max_alleles: the largest number of alleles of a record, REF included.
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

    def append(
        self,
        alleles: AlleleArray,
        phased: npt.NDArray[np.bool_],
        allele_counts: npt.NDArray[np.int64],
        dosages: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Append records: int16 (n, n_samples, 2) codes, both negative where missing.

        A record with any finite dosage is written as dosages, from which pgenlib derives its hard calls.
        """
        try:
            for start, end, as_dosages in _runs(dosages, len(alleles)):
                if as_dosages and dosages is not None:
                    values = np.nan_to_num(dosages[start:end], nan=float(_PLINK_MISSING)).astype(np.float32)
                    self._writer.append_dosages_batch(np.ascontiguousarray(values))
                else:
                    self._append_calls(alleles[start:end], phased[start:end], allele_counts[start:end])
        except RuntimeError as error:
            raise self._failed(error) from error

    def _append_calls(
        self, alleles: AlleleArray, phased: npt.NDArray[np.bool_], allele_counts: npt.NDArray[np.int64]
    ) -> None:
        codes = alleles.astype(np.int32)
        codes[codes < 0] = _PLINK_MISSING
        counts = allele_counts.astype(np.uint32)
        flat = np.ascontiguousarray(codes.reshape(len(codes), -1))
        if not self._phased:
            self._writer.append_alleles_batch(flat, allele_cts=counts)
            return
        heterozygous = codes[:, :, 0] != codes[:, :, 1]
        present = np.ascontiguousarray((phased & heterozygous).astype(np.uint8))
        self._writer.append_partially_phased_batch(flat, present, allele_cts=counts)

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


def _runs(dosages: npt.NDArray[np.float32] | None, n: int) -> list[tuple[int, int, bool]]:
    """Consecutive records of one kind, (start, end, written as dosages): the writer takes batches of one kind."""
    if dosages is None:
        return [(0, n, False)] if n else []
    with_dosages = np.asarray(np.isfinite(dosages).any(axis=1))
    edges = np.concatenate([[0], np.flatnonzero(np.diff(with_dosages.astype(np.int8))) + 1, [n]])
    return [(int(a), int(b), bool(with_dosages[a])) for a, b in pairwise(edges.tolist()) if b > a]
