"""Records on their way into a .pvar: as text on disk, with what must be known of all of them before the file begins.

Which contigs and which optional columns a .pvar has stands in its first lines and is known after the last record. The
body therefore waits in an unnamed temporary file, in parts; a part that lacks a column which a later record needed is
written again with it. In memory stay, for each record, its position (four bytes) and its count of alleles (eight,
held by the spool of calls).
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.contigs import contig_ranks
from genomix.io.genotype_format import RECORDS_SCHEMA
from genomix.io.plink import split_alleles, variant_key
from genomix.io.plink_tables import OPTIONAL_COLUMNS, pvar_header
from genomix.io.record_lines import FILTER, INFO, QUAL, RecordLines
from genomix.io.spool import writing_genotypes
from genomix.provenance import TEMPORARY_PREFIX

_BITS = {"quality": QUAL, "filter": FILTER, "info": INFO}
_WITHOUT_SEQUENCE = r"[*<\[\].]"


class _Part(NamedTuple):
    n_bytes: int
    columns: int


class PvarBody:
    """Takes the records of finished blocks in order, then writes the .pvar; use as a context manager.

    Attributes
    ----------
    n_records: records so far; n_variants: their (record, countable ALT) pairs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.n_records = 0
        self.n_variants = 0
        self._columns = 0
        self._parts: list[_Part] = []
        self._runs: list[tuple[str, int]] = []
        self._positions: list[npt.NDArray[np.int64] | npt.NDArray[np.int32]] = []
        self._notes: Counter[str] = Counter()
        self._same = _SamePlace()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> PvarBody:
        with writing_genotypes(self._folder):
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix=TEMPORARY_PREFIX)  # closed by __exit__
        return self

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        with suppress(OSError):  # closing tries once more to write what could not be written
            self._file.close()

    def append(self, fixed: pl.DataFrame | RecordLines) -> None:
        """Add records, contigs normalised; at least one."""
        if isinstance(fixed, RecordLines):
            self._append_lines(fixed)
        else:
            self._append_frame(fixed)

    def _append_lines(self, lines: RecordLines) -> None:
        several = int((lines.n_alts > 1).sum())
        self._notes.update({_MULTI_ALLELIC: several, _NOT_PASS: lines.n_filtered})
        self.n_variants += int(lines.n_alts.sum())
        runs = list(zip(lines.contigs, lines.run_lengths.tolist(), strict=True))
        self._columns |= lines.told
        self._add(runs, lines.positions, lines.alleles, lines.pvar_text(self._columns))

    def _append_frame(self, records: pl.DataFrame) -> None:
        named = pl.when(pl.col("variant_id") == ".").then(variant_key()).otherwise("variant_id")
        records = records.with_columns(named.alias("variant_id"))
        self._notes.update(_frame_notes(records))
        odd = records.filter(pl.col("alt").str.contains(_WITHOUT_SEQUENCE))
        n_alts = int(records["alt"].str.count_matches(",", literal=True).sum()) + records.height
        n_odd = int(odd["alt"].str.count_matches(",", literal=True).sum()) + odd.height
        self.n_variants += n_alts - n_odd + (split_alleles(odd).height if odd.height else 0)
        rle = records["contig"].rle().struct.unnest()
        runs = list(zip(rle["value"].to_list(), rle["len"].to_list(), strict=True))
        for name, (_, absent) in OPTIONAL_COLUMNS.items():
            if (~records[name].is_in([absent, "."])).any():
                self._columns |= _BITS[name]

        def alleles(rows: npt.NDArray[np.int64]) -> list[tuple[str, str]]:
            return list(records[rows].select("ref", "alt").iter_rows())

        text = records.select(_written(self._columns)).write_csv(
            separator="\t", quote_style="never", include_header=False
        )
        self._add(runs, records["position"].to_numpy(), alleles, memoryview(text.encode()))

    def _add(
        self, runs: list[tuple[str, int]], positions: npt.NDArray[np.int64],
        alleles: _Alleles, text: memoryview,
    ) -> None:  # fmt: skip
        assert self._file is not None
        runs = _joined(runs)
        self._same.add(runs, positions, alleles)
        if self._runs and self._runs[-1][0] == runs[0][0]:
            self._runs[-1] = (runs[0][0], self._runs[-1][1] + runs[0][1])
            runs = runs[1:]
        self._runs.extend(runs)
        fits = len(positions) and int(positions.max()) < 1 << 31
        self._positions.append(positions.astype(np.int32) if fits else positions)
        self._parts.append(_Part(text.nbytes, self._columns))
        self.n_records += len(positions)
        with writing_genotypes(self._folder):
            self._file.write(text)

    def order(self) -> npt.NDArray[np.int64] | None:
        """Return the records' order by contig (1 to 22, X, Y, MT, others as they came) and position; None if in it."""
        present = list(dict.fromkeys(name for name, _ in self._runs))
        rank = dict(zip(present, contig_ranks(pl.Series(present, dtype=pl.String)).tolist(), strict=True))
        of_runs = np.array([rank[name] for name, _ in self._runs], dtype=np.int64)
        lengths = np.array([n for _, n in self._runs], dtype=np.int64)
        positions: npt.NDArray[np.int64] = np.concatenate(self._positions)
        falls = np.flatnonzero(positions[1:] < positions[:-1]) + 1
        next_contig = np.cumsum(lengths)[:-1][np.diff(of_runs) > 0]
        if bool((np.diff(of_runs) >= 0).all()) and bool(np.isin(falls, next_contig).all()):
            return None
        return np.lexsort((positions, np.repeat(of_runs, lengths)))

    def notes(self, records: pl.DataFrame | None = None) -> dict[str, int]:
        """Return how many records are multi-allelic, carry ``*`` or symbolic ALTs, are filtered, or are repeated.

        Repeated records are counted among neighbours, which is all of them where records came in order; give
        :meth:`frame` where they did not.
        """
        same = self._same.count() if records is None else repeated(records)
        found = self._notes + Counter({_REPEATED: same})
        return {name: found[name] for name in _NOTES if found[name]}

    def frame(self) -> pl.DataFrame:
        """Return all records as ``RECORDS_SCHEMA``; this takes memory for each of them."""
        frames = [pl.DataFrame(schema=RECORDS_SCHEMA), *(_part_frame(text, p.columns) for text, p in self._read())]
        return pl.concat(frames).rechunk()

    def write(self, path: Path, *, build: str, meta: tuple[str, ...]) -> None:
        """Write the .pvar in the order in which records came."""
        names = list(dict.fromkeys(name for name, _ in self._runs))
        columns = [name for name, bit in _BITS.items() if self._columns & bit]
        with path.open("wb") as out:
            out.write(pvar_header(names, columns, build=build, meta=meta))
            if all(part.columns == self._columns for part in self._parts):
                assert self._file is not None
                self._file.seek(0)
                shutil.copyfileobj(self._file, out, 1 << 20)
                return
            for text, part in self._read():
                if part.columns == self._columns:
                    out.write(text)
                    continue
                whole = _part_frame(text, part.columns).select(_written(self._columns))
                whole.write_csv(out, separator="\t", quote_style="never", include_header=False)

    def _read(self) -> Iterator[tuple[bytes, _Part]]:
        assert self._file is not None
        self._file.seek(0)
        for part in self._parts:
            yield self._file.read(part.n_bytes), part


def _joined(runs: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return runs of contigs with neighbours of one name as one: a file may call a contig chr1 here and 1 there."""
    joined = runs[:1]
    for name, n in runs[1:]:
        if name == joined[-1][0]:
            joined[-1] = (name, joined[-1][1] + n)
        else:
            joined.append((name, n))
    return joined


_FIRST = ("contig", "position", "variant_id", "ref", "alt")


def _written(columns: int) -> list[str]:
    """Return the columns that a line holds."""
    return [*_FIRST, *(name for name, bit in _BITS.items() if columns & bit)]


def _part_frame(text: bytes, columns: int) -> pl.DataFrame:
    """Return a part's lines as ``RECORDS_SCHEMA``, absent columns filled."""
    names = _written(columns)
    lines = pl.Series("line", text.decode().split("\n")[:-1], dtype=pl.String)
    fields = lines.str.split_exact("\t", len(names) - 1).struct.unnest()
    fields.columns = names
    absent = [pl.lit(v, dtype=pl.String).alias(n) for n, (_, v) in OPTIONAL_COLUMNS.items() if n not in names]
    return fields.with_columns(pl.col("position").cast(pl.Int64), *absent).select(list(RECORDS_SCHEMA))


_MULTI_ALLELIC, _SPANNING = "multi-allelic", "with a spanning deletion among the ALTs"
_SYMBOLIC, _NOT_PASS = "with a symbolic ALT beside a sequence", "FILTER is not PASS"
_REPEATED = "same position and alleles as another"
_NOTES = (_MULTI_ALLELIC, _SPANNING, _SYMBOLIC, _NOT_PASS, _REPEATED)


def _frame_notes(records: pl.DataFrame) -> dict[str, int]:
    alt = pl.col("alt")
    return records.select(
        alt.str.contains(",", literal=True).sum().alias(_MULTI_ALLELIC),
        alt.str.contains(r"(^|,)\*").sum().alias(_SPANNING),
        alt.str.contains(r"[<\[\]]").sum().alias(_SYMBOLIC),
        (~pl.col("filter").is_in(["PASS", "."])).sum().alias(_NOT_PASS),
    ).row(0, named=True)


def repeated(records: pl.DataFrame) -> int:
    """Return how many records, in any order, have the place and alleles of another."""
    return int(records.select(pl.struct("contig", "position", "ref", "alt").is_duplicated().sum()).item())


_Alleles = Callable[[npt.NDArray[np.int64]], list[tuple[str, str]]]


class _SamePlace:
    """Counts records that have the alleles of another at the same place, among neighbours."""

    def __init__(self) -> None:
        self._place: tuple[str, int] | None = None
        self._here: Counter[tuple[str, str]] = Counter()
        self._count = 0

    def add(self, runs: list[tuple[str, int]], positions: npt.NDArray[Any], alleles: _Alleles) -> None:
        """Look at consecutive records; only those with a neighbour at their place cost anything."""
        ends = np.cumsum([n for _, n in runs])
        with_next = np.zeros(len(positions), dtype=np.bool_)
        with_next[:-1] = positions[1:] == positions[:-1]
        with_next[ends - 1] = False
        looked_at = with_next.copy()
        looked_at[1:] |= with_next[:-1]
        looked_at[[0, -1]] = True  # the records of the blocks before and after may be neighbours
        rows = np.flatnonzero(looked_at)
        names = np.searchsorted(ends, rows, side="right")
        for row, run, pair in zip(rows.tolist(), names.tolist(), alleles(rows), strict=True):
            place = (runs[run][0], int(positions[row]))
            if place != self._place:
                self._close()
                self._place = place
            self._here[pair] += 1

    def _close(self) -> None:
        self._count += sum(n for n in self._here.values() if n > 1)
        self._here.clear()

    def count(self) -> int:
        """Return the number of such records."""
        return self._count + sum(n for n in self._here.values() if n > 1)
