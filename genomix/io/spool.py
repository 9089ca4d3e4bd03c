"""Finished genotype blocks on disk, between the one pass over an input and the writing of a .pgen.

A .pgen's writer must know the number of records beforehand, and an input such as standard input can be read once only.
The spool is an unnamed temporary file beside the output: it takes a quarter of a byte per genotype (half a byte where
calls are phased), and is gone when the process is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import OutputError
from genomix.io.genotype_format import HET_PHASED, AlleleArray
from genomix.io.packing import pack_codes, unpack_codes
from genomix.provenance import TEMPORARY_PREFIX, output_errors


class FinishedBlock(NamedTuple):
    """Records as they are written, policies applied.

    ``is_compact``, ``compact`` and ``general``/``phased``/``dosages`` as in
    :class:`~genomix.io.genotype_format.GenotypeBlock`; every call of ``general`` is diploid, or negative in both
    places. ``allele_counts`` counts REF and every ALT of each record.
    """

    is_compact: npt.NDArray[np.bool_]
    compact: npt.NDArray[np.int8]
    general: AlleleArray
    phased: npt.NDArray[np.bool_]
    dosages: npt.NDArray[np.float32] | None
    allele_counts: npt.NDArray[np.int64]


@contextmanager
def writing_genotypes(folder: Path) -> Iterator[None]:
    """Turn a failure to write the temporary file into an :class:`OutputError` about the genotypes."""
    try:
        with output_errors(folder):
            yield
    except OutputError as error:
        what = error.what.replace(f"cannot write {folder.name}", "cannot write the genotypes", 1)
        raise OutputError(what, where=error.where, hint=error.hint) from error


class Spool:
    """Takes finished blocks, and gives them back in order; use as a context manager.

    Attributes
    ----------
    any_phased, any_dosages: whether some heterozygote is phased, or some record has dosages.
    max_alleles: the largest allele count of a record.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.any_phased = False
        self.any_dosages = False
        self.max_alleles = 2
        self._allele_counts: list[npt.NDArray[np.int64]] = []
        self._index: list[list[tuple[str, tuple[int, ...], int]]] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Spool:
        with writing_genotypes(self.folder):
            self._file = tempfile.TemporaryFile(dir=self.folder, prefix=TEMPORARY_PREFIX)  # closed by __exit__
        return self

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        with suppress(OSError):  # closing tries once more to write what could not be written
            self._file.close()

    @property
    def n_records(self) -> int:
        """Number of records so far."""
        return sum(len(counts) for counts in self._allele_counts)

    def allele_counts(self) -> npt.NDArray[np.int64]:
        """Return the allele count of every record."""
        return np.concatenate(self._allele_counts) if self._allele_counts else np.empty(0, dtype=np.int64)

    def append(self, block: FinishedBlock) -> None:
        """Write a block."""
        phased = int(block.compact.max(initial=0)) >= HET_PHASED
        self.any_phased |= phased or bool((block.phased & (block.general[..., 0] != block.general[..., 1])).any())
        self.any_dosages |= block.dosages is not None
        self.max_alleles = max(self.max_alleles, int(block.allele_counts.max(initial=2)))
        self._allele_counts.append(block.allele_counts)
        parts: dict[str, Any] = {
            "is_compact": block.is_compact,
            "four_bits" if phased else "two_bits": block.compact,
            "general": block.general,
            "phased": block.phased,
        }
        if block.dosages is not None:
            parts["dosages"] = block.dosages
        with writing_genotypes(self.folder):
            self._index.append([self._write(name, array) for name, array in parts.items()])

    def _write(self, name: str, array: npt.NDArray[Any]) -> tuple[str, tuple[int, ...], int]:
        import pyarrow as pa

        assert self._file is not None
        if name in ("two_bits", "four_bits"):
            data = pack_codes(array, phased=name == "four_bits").data
        else:
            data = memoryview(pa.compress(np.ascontiguousarray(array), codec="lz4", asbytes=True))
        self._file.write(data)
        return name, array.shape, data.nbytes

    def blocks(self) -> Iterator[FinishedBlock]:
        """Yield the blocks from the first on."""
        assert self._file is not None
        with writing_genotypes(self.folder):
            self._file.flush()
            self._file.seek(0)
        for parts, counts in zip(self._index, self._allele_counts, strict=True):
            held = {name: self._read(name, shape, size) for name, shape, size in parts}
            compact = held["four_bits"] if "four_bits" in held else held["two_bits"]
            yield FinishedBlock(
                held["is_compact"], compact, held["general"], held["phased"], held.get("dosages"), counts
            )

    def _read(self, name: str, shape: tuple[int, ...], size: int) -> npt.NDArray[Any]:
        import pyarrow as pa

        assert self._file is not None
        data = self._file.read(size)
        n = int(np.prod(shape))
        if name in ("two_bits", "four_bits"):
            return unpack_codes(np.frombuffer(data, dtype=np.uint8), n, phased=name == "four_bits").reshape(shape)
        dtype = _DTYPES[name]
        raw = pa.decompress(data, decompressed_size=n * dtype.itemsize, codec="lz4", asbytes=True) if n else b""
        return np.frombuffer(raw, dtype=dtype).reshape(shape)


_DTYPES: dict[str, np.dtype[Any]] = {
    "is_compact": np.dtype(np.bool_),
    "general": np.dtype(np.int16),
    "phased": np.dtype(np.bool_),
    "dosages": np.dtype(np.float32),
}
