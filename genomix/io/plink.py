"""PLINK 2 filesets: .pgen, .pvar (or .pvar.zst), .psam, and the :class:`GenotypeStore` that every later step reads.

A record keeps all its ALT alleles in the file; the store shows one row per (record, ALT) and counts copies of that
allele. Rows for ``*`` and symbolic alleles are not shown: they are no sequence whose copies could be counted.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.contigs import check_positions, detect_build, normalise_contigs, resolve_build
from genomix.io.genotype_format import (
    MISSING,
    GenotypeBlock,
    OpenOptions,
    SourceHeader,
    beside,
    default_block_size,
    fileset_prefix,
)
from genomix.io.packing import codes_of_alleles
from genomix.io.pgen_header import records_with_dosages, records_with_phase, stated_records
from genomix.io.plink_tables import PvarHeader, read_psam, read_pvar
from genomix.schemas.genotypes import SAMPLES, VARIANTS

CallArray = npt.NDArray[np.int8]
DosageArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]

MISSING_CALL = -9
"""Value of a missing call in :meth:`GenotypeStore.read_calls` (PLINK's)."""

SUFFIXES = (".pgen", ".pvar", ".pvar.zst", ".psam")

NOT_COUNTABLE = r"^(\.|\*|<.*>|.*[\[\]].*)$"
"""ALT alleles without a sequence: none, spanning deletion, symbolic, breakend."""


class CallBlock(NamedTuple):
    """Rows of the store's variant table, and their calls: int8 (n_variants, n_samples), ``-9`` missing."""

    variants: IndexArray
    calls: CallArray


def allele_offsets(alts: pl.Series) -> npt.NDArray[np.uintp]:
    """Return pgenlib's offsets: cumulated allele counts (at least two per record), with a leading zero."""
    counts = alts.str.count_matches(",", literal=True).to_numpy().astype(np.int64) + 2
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.uintp)


def variant_key() -> pl.Expr:
    """Return ``contig:position:ref:alt`` of a frame's rows."""
    return pl.concat_str("contig", "position", "ref", "alt", separator=":")


def split_alleles(records: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (record, countable ALT): the VARIANTS columns, ``record`` and ``allele`` (1 is the first ALT).

    A record without an ID gets ``contig:position:ref:alt``.
    """
    counts = records["alt"].str.count_matches(",", literal=True).to_numpy().astype(np.int64) + 1
    record = np.repeat(np.arange(records.height, dtype=np.int64), counts)
    allele = np.arange(len(record), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    rows = (
        records[record]
        .with_columns(pl.Series("record", record), pl.Series("allele", allele))
        .with_columns(pl.col("alt").str.split(",").list.get(pl.col("allele") - 1))
        .filter(~pl.col("alt").str.contains(NOT_COUNTABLE))
    )
    named = pl.when(pl.col("variant_id") == ".").then(variant_key()).otherwise(pl.col("variant_id"))
    return rows.with_columns(named.alias("variant_id")).select(*VARIANTS.names, "record", "allele")


def pvar_path(prefix: Path) -> Path:
    """Return the .pvar, or the .pvar.zst where there is only that."""
    plain, compressed = beside(prefix, ".pvar"), beside(prefix, ".pvar.zst")
    return compressed if compressed.is_file() and not plain.is_file() else plain


class GenotypeStore:
    """A PLINK 2 fileset, opened for reading; picklable, and safe to share between threads.

    Attributes
    ----------
    samples: SAMPLES columns and the .psam's further columns, in file order.
    variants: VARIANTS columns, ``record`` and ``allele``: one row per (record, countable ALT).
    annotations: quality (Float64, null), filter and info (String, ``PASS`` and ``.`` where absent) of each variant.
    build: genome build, ``"unknown"`` where the file does not say.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = fileset_prefix(prefix, SUFFIXES)
        self._pgen = beside(self.prefix, ".pgen")
        if not self._pgen.is_file():
            raise InputNotFoundError(
                f"{self._pgen.name} does not exist",
                where=str(self._pgen),
                hint="convert the genotypes first: genomix variants convert",
            )
        self.samples = SAMPLES.validate(read_psam(beside(self.prefix, ".psam")))
        records, header = read_pvar(pvar_path(self.prefix))
        records = records.with_columns(normalise_contigs(records["contig"]))
        self.build = build_of(header)
        check_positions(records, self.build, where=str(pvar_path(self.prefix)))
        self._offsets = allele_offsets(records["alt"])
        self.variants = split_alleles(records)
        self.annotations = records[self.variants["record"].to_numpy()].select(
            pl.col("quality").cast(pl.Float64, strict=False), "filter", "info"
        )
        self._record = self.variants["record"].to_numpy().astype(np.uint32)
        self._allele = self.variants["allele"].to_numpy().astype(np.int64)
        self._lock = threading.Lock()
        self._reader: Any = None
        self._open_reader()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.samples.height

    @property
    def n_variants(self) -> int:
        """Number of rows of ``variants``."""
        return self.variants.height

    @property
    def n_records(self) -> int:
        """Number of records of the .pgen."""
        return len(self._offsets) - 1

    def read_calls(self, variants: Any = None, samples: Any = None, *, reference: bool = False) -> CallArray:
        """Return copies of each variant's ALT: int8 (n_variants, n_samples), ``-9`` missing.

        Parameters
        ----------
        variants: rows of ``self.variants``, in any order; None for all.
        samples: 0-based samples, in any order; None for all.
        reference: count copies of REF instead, which at a multi-allelic record is not two minus one ALT's copies.
        """
        rows, chosen = self._rows(variants), self._samples(samples)
        out = np.empty((len(rows), self.n_samples if chosen is None else len(chosen.sorted)), dtype=np.int8)
        self._read("read_list", rows, chosen, out, reference)
        return out if chosen is None else np.ascontiguousarray(out[:, chosen.inverse])

    def read_dosages(self, variants: Any = None, samples: Any = None, *, reference: bool = False) -> DosageArray:
        """Return ALT (or REF) dosages: float32 (n_variants, n_samples) in [0, 2], NaN missing.

        Where the file holds no dosage, it is the hard call.
        """
        rows, chosen = self._rows(variants), self._samples(samples)
        out = np.empty((len(rows), self.n_samples if chosen is None else len(chosen.sorted)), dtype=np.float32)
        self._read("read_dosages_list", rows, chosen, out, reference)
        out[out < 0] = np.nan
        return out if chosen is None else np.ascontiguousarray(out[:, chosen.inverse])

    def blocks(
        self, variants: Any = None, samples: Any = None, *, block_size: int | None = None
    ) -> Iterator[CallBlock]:
        """Yield calls of the chosen variants in their order, ``block_size`` at a time."""
        rows = self._rows(variants)
        size = block_size or default_block_size(self.n_samples)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield CallBlock(part, self.read_calls(part, samples))

    def _rows(self, variants: Any) -> IndexArray:
        if variants is None:
            return np.arange(self.n_variants, dtype=np.int64)
        rows = np.asarray(variants, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= self.n_variants):
            raise IndexError(f"variant {int(rows.max())} of {self.n_variants}")
        return rows

    def _samples(self, samples: Any) -> _SampleSubset | None:
        if samples is None:
            return None
        chosen = np.asarray(samples, dtype=np.int64)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= self.n_samples):
            raise IndexError(f"sample {int(chosen.max())} of {self.n_samples}")
        ascending, inverse = np.unique(chosen, return_inverse=True)
        return _SampleSubset(ascending.astype(np.uint32), inverse.reshape(-1))

    def _read(self, method: str, rows: IndexArray, chosen: _SampleSubset | None, out: Any, reference: bool) -> None:
        """Fill ``out``, one call of pgenlib per allele number."""
        if out.size == 0:
            return
        alleles = np.zeros(len(rows), dtype=np.int64) if reference else self._allele[rows]
        with self._lock:
            reader = self._open_reader()
            reader.change_sample_subset(None if chosen is None else chosen.sorted)
            for allele in np.unique(alleles).tolist():
                at = np.flatnonzero(alleles == allele)
                records = np.ascontiguousarray(self._record[rows[at]])
                part = out if len(at) == len(rows) else np.empty((len(at), out.shape[1]), dtype=out.dtype)
                with _damage(self._pgen):
                    getattr(reader, method)(records, part, allele_idx=allele)
                if part is not out:
                    out[at] = part

    def _open_reader(self) -> Any:
        if self._reader is None:
            self._reader = open_pgen(self._pgen, self.n_samples, self._offsets)
        return self._reader

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_reader")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._reader = None


class _SampleSubset(NamedTuple):
    """Ascending samples as pgenlib wants them, and where each asked-for sample lies among them."""

    sorted: npt.NDArray[np.uint32]
    inverse: npt.NDArray[np.intp]


def open_store(prefix: Path | str) -> GenotypeStore:
    """Open a PLINK 2 fileset by its prefix or by one of its files."""
    return GenotypeStore(Path(prefix))


def build_of(header: PvarHeader) -> str:
    """Return the build that a .pvar declares, else the one whose contig lengths it has, else ``"unknown"``."""
    return resolve_build(header.build) if header.build else (detect_build(header.contigs) or "unknown")


def open_pgen(path: Path, n_samples: int, offsets: npt.NDArray[np.uintp]) -> Any:
    """Return a pgenlib reader; a .pgen that does not fit its tables is a :class:`FormatError`."""
    import pgenlib

    if not path.is_file():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    found, told = stated_records(path), len(offsets) - 1
    if found is not None and found != told:  # pgenlib would read beyond the offsets
        raise FormatError(
            f"{path.name} holds {found:,} records, its .pvar {told:,}",
            where=str(path),
            hint="check that .pgen, .pvar and .psam belong together",
        )
    try:
        return pgenlib.PgenReader(str(path).encode(), raw_sample_ct=n_samples, allele_idx_offsets=offsets)
    except (RuntimeError, AssertionError) as error:
        raise FormatError(
            f"{path.name} cannot be read with its .pvar and .psam: {_words(error)}",
            where=str(path),
            hint="check that .pgen, .pvar and .psam belong together",
        ) from error


def _ref_is_provisional(path: Path) -> bool:
    """Say whether a .pgen marks every REF as provisional: by its mode (byte 3: a .bed) or the top bits of byte 12."""
    with path.open("rb") as stream:
        head = stream.read(12)
    return head[2:3] == b"\x01" or (len(head) == 12 and head[11] >> 6 == 2)


def _words(error: Exception) -> str:
    """pgenlib gives its message as bytes."""
    first = error.args[0] if error.args else ""
    return first.decode(errors="replace").strip() if isinstance(first, bytes) else str(first)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn pgenlib's RuntimeError while reading into a :class:`FormatError`."""
    try:
        yield
    except RuntimeError as error:
        raise FormatError(
            f"{path.name} is cut or damaged: {error}", where=str(path), hint="convert the genotypes again"
        ) from error


def reduced_info(keys: tuple[str, ...]) -> pl.Expr:
    """Return INFO with the wanted keys only, ``.`` where none is left."""
    if keys == ("*",):
        return pl.col("info")
    if not keys:
        return pl.lit(".").alias("info")
    wanted = "|".join(re.escape(key) for key in keys)
    parts = (
        pl.col("info").str.split(";").list.eval(pl.element().filter(pl.element().str.contains(f"^(?:{wanted})(?:=|$)")))
    )
    return parts.list.join(";").replace("", ".").alias("info")


class PgenSource:
    """A PLINK 2 fileset as a source of blocks; see :class:`~genomix.io.genotype_format.GenotypeSource`."""

    def __init__(self, path: Path, options: OpenOptions | None = None) -> None:
        chosen = options or OpenOptions()
        self._block_size = chosen.block_size
        self._done = 0
        self.notes: Counter[str] = Counter()
        self.contigs_passed_over: set[str] = set()
        prefix = fileset_prefix(path, SUFFIXES)
        self._records, header = read_pvar(pvar_path(prefix))
        self._records = self._records.with_columns(reduced_info(chosen.info_keys))
        samples = read_psam(beside(prefix, ".psam"))
        self._offsets = allele_offsets(self._records["alt"])
        self._pgen = beside(prefix, ".pgen")
        self._opened = open_pgen_records(self._pgen, samples.height, self._offsets)
        self.header = SourceHeader(
            samples,
            header.contigs,
            build=header.build,
            meta=header.meta,
            ref_known=not _ref_is_provisional(self._pgen),
            may_be_phased=bool(self._opened.phased.any()),
            may_have_dosages=bool(self._opened.with_dosages.any()),
        )

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.header.samples.height

    def records(self) -> pl.DataFrame:
        """Return the .pvar's records."""
        return self._records

    @property
    def n_records(self) -> int:
        """Number of records."""
        return self._records.height

    def share_read(self) -> float:
        """Return the share of records that were yielded."""
        return self._done / max(self.n_records, 1)

    def blocks(self) -> Iterator[GenotypeBlock]:
        """Yield the records with their calls."""
        size = self._block_size or default_block_size(self.n_samples)
        for start in range(0, self.n_records, size):
            end = min(start + size, self.n_records)
            with _damage(self._pgen):
                numbers = np.arange(start, end)
                block = read_pgen_block(self._opened, numbers, self._records[start:end])
            self._done = end
            yield block

    def __enter__(self) -> PgenSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.reader.close()


class PgenRecords(NamedTuple):
    """An opened .pgen, and which of its records hold what, bool (n_records,) each."""

    reader: Any
    n_samples: int
    biallelic: npt.NDArray[np.bool_]
    phased: npt.NDArray[np.bool_]
    with_dosages: npt.NDArray[np.bool_]


def open_pgen_records(path: Path, n_samples: int, offsets: npt.NDArray[np.uintp]) -> PgenRecords:
    """Open a .pgen for :func:`read_pgen_block`."""
    n = len(offsets) - 1
    reader = open_pgen(path, n_samples, offsets)
    biallelic = np.diff(offsets.astype(np.int64)) == 2
    return PgenRecords(reader, n_samples, biallelic, records_with_phase(path, n), records_with_dosages(path, n))


def read_pgen_block(pgen: PgenRecords, numbers: IndexArray, records: pl.DataFrame) -> GenotypeBlock:
    """Return some records of a .pgen with calls, phase and dosages; biallelic ones without dosages are compact."""
    is_compact = pgen.biallelic[numbers] & ~pgen.with_dosages[numbers]
    compact = np.empty((int(is_compact.sum()), pgen.n_samples), dtype=np.int8)
    phased = pgen.phased[numbers[is_compact]]
    plain = numbers[is_compact][~phased]
    if len(plain):
        calls = compact if len(plain) == len(compact) else np.empty((len(plain), pgen.n_samples), dtype=np.int8)
        pgen.reader.read_list(plain.astype(np.uint32), calls)
        if calls is not compact:
            compact[~phased] = calls
    for at, alleles, order in _alleles_in_parts(pgen, numbers[is_compact], np.flatnonzero(phased)):
        compact[at] = codes_of_alleles(alleles, order)
    general = np.flatnonzero(~is_compact)
    alleles = np.empty((len(general), pgen.n_samples, 2), dtype=np.int16)
    order = np.empty(alleles.shape[:2], dtype=np.bool_)
    for at, part, part_order in _alleles_in_parts(pgen, numbers[general], np.arange(len(general))):
        alleles[at], order[at] = part, part_order
    without = np.zeros(len(general), dtype=np.bool_)
    dosages = _dosages_of(pgen, numbers[general], alleles.shape[:2])
    return GenotypeBlock(
        np.asarray(numbers, dtype=np.int64), records, is_compact, compact, alleles, order, without, dosages
    )


_RECORDS_AT_ONCE = 64


def _alleles_in_parts(
    pgen: PgenRecords, numbers: IndexArray, wanted: IndexArray
) -> Iterator[tuple[IndexArray, npt.NDArray[np.int16], npt.NDArray[np.bool_]]]:
    """Yield rows of ``wanted`` with the alleles and phase of those ``numbers``, few enough to stay in the cache."""
    for start in range(0, len(wanted), _RECORDS_AT_ONCE):
        at = wanted[start : start + _RECORDS_AT_ONCE]
        codes = np.empty((len(at), 2 * pgen.n_samples), dtype=np.int32)
        order = np.empty((len(at), pgen.n_samples), dtype=np.uint8)
        pgen.reader.read_alleles_and_phasepresent_list(numbers[at].astype(np.uint32), codes, order)
        np.maximum(codes, MISSING, out=codes)
        yield at, codes.reshape(len(at), pgen.n_samples, 2).astype(np.int16), order.view(np.bool_)


def _dosages_of(pgen: PgenRecords, numbers: IndexArray, shape: tuple[int, ...]) -> DosageArray | None:
    """Dosages of the records that hold some, NaN elsewhere; None where none does."""
    at = np.flatnonzero(pgen.with_dosages[numbers] & pgen.biallelic[numbers])
    if not len(at):
        return None
    read = np.empty((len(at), pgen.n_samples), dtype=np.float32)
    pgen.reader.read_dosages_list(numbers[at].astype(np.uint32), read)
    dosages = np.full(shape, np.nan, dtype=np.float32)
    dosages[at] = np.where(read < 0, np.nan, read)
    return dosages


class PgenFormat:
    """PLINK 2 .pgen, .pvar, .psam."""

    name = "plink2"
    suffixes = SUFFIXES
    fileset: str | None = ".pgen"

    def open(self, path: Path, options: OpenOptions | None = None) -> PgenSource:
        """Open a fileset by its prefix or one of its files."""
        return PgenSource(path, options)


FORMAT = PgenFormat()
