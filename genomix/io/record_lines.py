"""The fixed columns of consecutive VCF lines as text, which becomes a frame only where somebody asks for one.

Most records are plain: upper-case bases, each allele once, a number for QUAL. Nothing has to be changed in them before
they are written, so their text can go into a .pvar as it is, several times faster than through a frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genomix.io.contigs import normalise_contig

if TYPE_CHECKING:
    import polars as pl

IntArray = npt.NDArray[np.int64]

QUAL, FILTER, INFO = 1, 2, 4
"""Bits that name the optional columns of a .pvar."""

_KEPT = ("variant_id", "ref", "alt", "quality", "filter", "info")


@dataclass(frozen=True)
class RecordLines:
    """Fixed columns of consecutive lines.

    Parameters
    ----------
    text, ends: ID to INFO of every line, and where each column ends: uint8, int32 (n, 6).
    positions: int64 (n,); n_alts: int16 (n,), 0 for an ALT of ``.``.
    run_starts: int64, the first line of each run of lines with one contig; contigs: the name of each run.
    told: which optional columns say something, of ``QUAL``, ``FILTER`` and ``INFO``.
    n_filtered: lines whose FILTER is neither PASS nor absent.
    is_plain: whether every line is plain (see the module).
    """

    text: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int32]
    positions: IntArray
    n_alts: npt.NDArray[np.int16]
    run_starts: IntArray
    contigs: tuple[str, ...]
    told: int
    n_filtered: int
    is_plain: bool

    @property
    def height(self) -> int:
        """Number of lines."""
        return len(self.positions)

    @property
    def run_lengths(self) -> IntArray:
        """Lines of each run."""
        return np.diff(np.append(self.run_starts, self.height))

    def with_normal_contigs(self) -> RecordLines:
        """Return the lines with contigs named as :func:`~genomix.io.contigs.normalise_contig` does."""
        return replace(self, contigs=tuple(normalise_contig(name) for name in self.contigs))

    def last_positions(self) -> dict[str, int]:
        """Return the greatest position of each contig."""
        last: dict[str, int] = {}
        for contig, position in zip(
            self.contigs, np.maximum.reduceat(self.positions, self.run_starts).tolist(), strict=True
        ):
            last[contig] = max(position, last.get(contig, position))
        return last

    def frame(self) -> pl.DataFrame:
        """Return the lines as ``RECORDS_SCHEMA``."""
        import polars as pl
        import pyarrow as pa

        from genomix.io.genotype_format import RECORDS_SCHEMA
        from genomix.io.kernels import record_kernels

        n = self.height
        arrays: dict[str, Any] = {"position": pa.array(self.positions)}
        for column, name in enumerate(_KEPT):
            offsets, out = np.empty(n + 1, dtype=np.int64), np.empty(len(self.text), dtype=np.uint8)
            record_kernels.gather(self.text, self.ends, column, offsets, out)
            values = out[: offsets[-1]].copy()
            arrays[name] = pa.LargeStringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(values))
        names = [name for name in RECORDS_SCHEMA if name != "contig"]
        frame = pl.from_arrow(pa.RecordBatch.from_arrays([arrays[name] for name in names], names=names))
        assert isinstance(frame, pl.DataFrame)
        contig = pl.Series("contig", self.contigs, dtype=pl.String)
        if len(contig) == 1:
            return frame.select(contig.new_from_index(0, n), *names)
        runs = np.repeat(np.arange(len(contig)), self.run_lengths)
        return frame.select(contig.gather(runs), *names)

    def alleles(self, rows: IntArray) -> list[tuple[str, str]]:
        """Return REF and ALT of some lines."""
        found = []
        for row in rows.tolist():
            e = self.ends[row]
            ref, alt = self.text[e[0] + 1 : e[1]], self.text[e[1] + 1 : e[2]]
            found.append((ref.tobytes().decode(), alt.tobytes().decode()))
        return found

    def pvar_text(self, columns: int) -> memoryview:
        """Return .pvar lines with the given optional columns; an ID of ``.`` becomes place and alleles."""
        from genomix.io.kernels import record_kernels

        names = [name.encode() for name in self.contigs]
        longest = max(len(name) for name in names)
        out = np.empty(2 * len(self.text) + self.height * (2 * longest + 26), dtype=np.uint8)
        n = record_kernels.pvar_lines(
            self.text, self.ends, self.positions, self.run_starts, np.frombuffer(b"".join(names), dtype=np.uint8),
            np.cumsum([len(name) for name in names]).astype(np.int64), columns, out,
        )  # fmt: skip
        return out[:n].data
