"""BCF through htslib (cyvcf2), in one pass.

htslib itself says when a block or a record is cut; that the file ends where its writer ended it is known from BGZF's
end-of-file block. So nothing is inflated twice, except to name the cause after an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import FormatError
from genomix.io.bgzf import check_eof_block, inflated_chunks, sniff_compression
from genomix.io.bgzf_blocks import block_groups
from genomix.io.contigs import normalise_contig
from genomix.io.genotype_format import (
    RECORDS_SCHEMA,
    GenotypeBlock,
    OpenOptions,
    default_block_size,
)
from genomix.io.regions import Regions
from genomix.io.vcf_calls import CANNOT_PARSE, CORRECT_IT, CallStack, SaidInBcf, open_htslib
from genomix.io.vcf_text import ALL_INFO, LineError, plan_calls, select_info

_FAR = 2**31 - 2


def bcf_blocks(
    path: Path, shown: str, options: OpenOptions, n_samples: int, read_so_far: Callable[[int], None]
) -> Iterator[GenotypeBlock]:
    """Yield the records of a BCF file with their calls."""
    size = options.block_size or default_block_size(n_samples)
    keys = _InfoKeys(path, options.info_keys)
    n_bytes = path.stat().st_size
    stack, rows, done = CallStack(size, n_samples), [], 0
    for record in _records(path, shown, options):
        alts = record.ALT
        try:
            layout = ":".join(record.FORMAT).encode()
            plan = plan_calls(layout, len(alts), options.dosage_field, options.split_dosages)
            stack.add(record, len(alts), done + stack.n, plan=plan, said=SaidInBcf(record))
        except LineError as error:
            where = f"{shown} record {error.line + 1}"
            raise FormatError(error.what, where=where, hint=error.hint, identifiers=error.identifiers) from error
        rows.append(_fixed(record, alts, keys))
        if stack.n == size:
            read_so_far(n_bytes // 2)  # htslib does not say where it stands
            yield _block(stack, rows, done)
            done += size
            stack, rows = CallStack(size, n_samples), []
    read_so_far(n_bytes)
    if rows:
        yield _block(stack, rows, done)


def _block(stack: CallStack, rows: list[Any], start: int) -> GenotypeBlock:
    calls = stack.calls()
    n, m = calls.phased.shape
    frame = pl.DataFrame(rows, schema=RECORDS_SCHEMA, orient="row")
    compact = np.empty((0, m), dtype=np.int8)
    return GenotypeBlock(np.arange(start, start + n), frame, np.zeros(n, dtype=np.bool_), compact, *calls)


def bcf_fixed_columns(path: Path, shown: str, options: OpenOptions) -> pl.DataFrame:
    """Return the fixed columns of every record."""
    keys = _InfoKeys(path, options.info_keys)
    rows = [_fixed(r, r.ALT, keys) for r in _records(path, shown, options)]
    return pl.DataFrame(rows, schema=RECORDS_SCHEMA, orient="row")


def _records(path: Path, shown: str, options: OpenOptions) -> Iterator[Any]:
    """Yield htslib's records, of the regions where the file has an index."""
    _check_frame(path, lenient=options.allow_missing_end)
    try:
        reader = open_htslib(path)
    except Exception as error:  # cyvcf2 raises bare Exception
        raise FormatError("htslib cannot read the header", where=shown) from error
    indexed = options.regions is not None and path.with_name(path.name + ".csi").is_file()
    records = _in_regions(reader, options.regions) if indexed and options.regions is not None else reader
    n = 0
    try:
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except Exception as error:  # cyvcf2 raises bare Exception
                for _ in inflated_chunks(path, allow_missing_end=options.allow_missing_end):
                    pass  # a cut or damaged block is the better explanation
                raise FormatError(CANNOT_PARSE, where=f"{shown} record {n + 1}", hint=CORRECT_IT) from error
            n += 1
            yield record
    finally:
        reader.close()


def _check_frame(path: Path, *, lenient: bool) -> None:
    """Check that a file ends as it should, without inflating it where it is BGZF."""
    compression = sniff_compression(path)
    if compression == "gzip":
        for _ in inflated_chunks(path):
            pass
    elif compression == "bgzf" and lenient:
        for _ in block_groups(path, 1 << 20, read_so_far=lambda _: None):
            pass
    elif compression == "bgzf":
        check_eof_block(path)


def _in_regions(reader: Any, regions: Regions) -> Iterator[Any]:
    """Yield the records that overlap the regions, each once, in the order of the file's contigs."""
    names: dict[str, list[str]] = {}
    order = {name: i for i, name in enumerate(reader.seqnames)}
    for name in order:
        names.setdefault(normalise_contig(name), []).append(name)
    rows = regions.intervals.select("contig", "start", "end").iter_rows()
    wanted = [(order[c], s, _FAR if e is None else min(e, _FAR), c) for n, s, e in rows for c in names.get(n, [])]
    last_contig, last_end = -1, 0
    for contig, start, end, name in sorted(wanted):
        seen_until = last_end if contig == last_contig else 0
        for record in reader(f"{name}:{start + 1}-{end}"):
            if record.start >= seen_until:  # a record that starts before overlapped the region before, too
                yield record
        last_contig, last_end = contig, end


class _InfoKeys:
    """The wanted INFO keys that the file's header declares; BCF cannot hold others."""

    def __init__(self, path: Path, wanted: tuple[str, ...]) -> None:
        self.wanted = wanted
        self.every = wanted == ALL_INFO
        self.declared: tuple[str, ...] = ()
        if not self.every and wanted:
            reader = open_htslib(path)
            here = {h["ID"] for h in reader.header_iter() if h["HeaderType"] == "INFO"}
            reader.close()
            self.declared = tuple(k for k in wanted if k in here)


def _fixed(record: Any, alts: list[str], keys: _InfoKeys) -> tuple[Any, ...]:
    quality = record.QUAL
    return (
        record.CHROM,
        record.POS,
        record.ID or ".",
        record.REF,
        ",".join(alts) or ".",
        "." if quality is None else f"{quality:g}",
        ";".join(record.FILTERS) or ".",
        _info(record, keys) if keys.every or keys.declared else ".",
    )


def _info(record: Any, keys: _InfoKeys) -> str:
    if not keys.every:
        values = [(key, record.INFO.get(key)) for key in keys.declared]
        if not any(value is not None for _, value in values):
            return "."
    return select_info(str(record).split("\t", 8)[7], keys.wanted)  # htslib's own spelling of numbers
