"""PLINK 1 filesets: .bed (SNP-major), .bim, .fam (https://www.cog-genomics.org/plink/1.9/formats#bed).

The first allele of the .bim is ALT and the second REF, which is a convention and not knowledge of the reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, InputNotFoundError, TruncatedInputError
from genomix.io.genotype_format import (
    COMPACT_MISSING,
    GenotypeBlock,
    OpenOptions,
    SourceHeader,
    beside,
    default_block_size,
    fileset_prefix,
)
from genomix.io.plink_tables import read_bim, read_fam

_MAGIC = b"\x6c\x1b"
_SNP_MAJOR = 1
_COPIES_OF_CODE = np.array([2, COMPACT_MISSING, 1, 0], dtype=np.int8)


def _byte_table() -> npt.NDArray[np.int8]:
    """For each byte the ALT copies of the four calls it holds, lowest bits first: int8 (256, 4)."""
    codes = (np.arange(256)[:, None] >> np.array([0, 2, 4, 6])) & 3
    return np.asarray(_COPIES_OF_CODE[codes])


class Plink1Source:
    """An opened PLINK 1 fileset; see :class:`~genomix.io.genotype_format.GenotypeSource`."""

    def __init__(self, path: Path, options: OpenOptions | None = None) -> None:
        self._block_size = (options or OpenOptions()).block_size
        self._done = 0
        self.notes: Counter[str] = Counter()
        self.contigs_passed_over: set[str] = set()
        prefix = fileset_prefix(path, Plink1Format.suffixes)
        self._bed = beside(prefix, ".bed")
        self._records = read_bim(beside(prefix, ".bim"))
        self.header = SourceHeader(read_fam(beside(prefix, ".fam")), ref_known=False, may_be_phased=False)
        self._stride = (self.n_samples + 3) // 4
        self._check_bed()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.header.samples.height

    def records(self) -> pl.DataFrame:
        """Return the .bim's records."""
        return self._records

    @property
    def n_records(self) -> int:
        """Number of records."""
        return self._records.height

    def share_read(self) -> float:
        """Return the share of records that were yielded."""
        return self._done / max(self.n_records, 1)

    def blocks(self) -> Iterator[GenotypeBlock]:
        """Yield the records with their calls, which all have a compact form."""
        size = self._block_size or default_block_size(self.n_samples)
        table = _byte_table()
        with self._bed.open("rb") as stream:
            stream.seek(3)
            for start in range(0, self.n_records, size):
                n = min(size, self.n_records - start)
                packed = np.frombuffer(stream.read(n * self._stride), dtype=np.uint8).reshape(n, self._stride)
                calls = table[packed].reshape(n, self._stride * 4)[:, : self.n_samples]
                self._done = start + n
                yield GenotypeBlock(
                    np.arange(start, start + n),
                    self._records[start : start + n],
                    np.ones(n, dtype=np.bool_),
                    np.ascontiguousarray(calls),
                    np.empty((0, self.n_samples, 2), dtype=np.int16),
                    np.empty((0, self.n_samples), dtype=np.bool_),
                    np.empty(0, dtype=np.bool_),
                )

    def _check_bed(self) -> None:
        if not self._bed.is_file():
            raise InputNotFoundError(f"{self._bed.name} does not exist", where=str(self._bed))
        with self._bed.open("rb") as stream:
            head = stream.read(3)
        if head[:2] != _MAGIC:
            raise FormatError(f"{self._bed.name} does not start as a PLINK 1 .bed", where=str(self._bed))
        if head[2:] != bytes([_SNP_MAJOR]):
            raise FormatError(
                f"{self._bed.name} is sample-major", where=str(self._bed), hint="plink --make-bed writes SNP-major"
            )
        expected = 3 + self._records.height * self._stride
        found = self._bed.stat().st_size
        if found != expected:
            kind = TruncatedInputError if found < expected else FormatError
            raise kind(
                f"{self._bed.name} has {found} bytes; {self._records.height} variants of {self.n_samples} samples "
                f"need {expected}",
                where=str(self._bed),
                hint="check that .bed, .bim and .fam belong together",
            )

    def __enter__(self) -> Plink1Source:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Plink1Format:
    """PLINK 1 .bed, .bim, .fam."""

    name = "plink1"
    suffixes = (".bed", ".bim", ".fam")
    fileset: str | None = ".bed"

    def open(self, path: Path, options: OpenOptions | None = None) -> Plink1Source:
        """Open a fileset by its prefix or one of its files."""
        return Plink1Source(path, options)


FORMAT = Plink1Format()
