"""Writes BGEN layout 2 files from probabilities, straight from the specification and without genomix's reader."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

PLAIN, ZLIB, ZSTD = 0, 1, 2


@dataclass(frozen=True)
class BgenRecord:
    """One record: per sample its ploidy, whether it is missing, and the stored integers of its probabilities."""

    alleles: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    ploidy: tuple[int, ...]
    missing: tuple[bool, ...]
    phased: bool = False
    bits: int = 8
    contig: str = "1"
    position: int = 1
    rsid: str = "rs"
    name: str = ""


def diploid(values: Sequence[tuple[int, ...] | None], **other: object) -> BgenRecord:
    """A biallelic diploid record; None is a missing sample."""
    return BgenRecord(
        alleles=("A", "C"),
        values=tuple(v or (0, 0) for v in values),
        ploidy=(2,) * len(values),
        missing=tuple(v is None for v in values),
        **other,
    )


def unphased_order(ploidy: int, n_alleles: int) -> list[tuple[int, ...]]:
    """Genotypes in the specification's order, from brute force: sorted by their reversed allele counts."""
    every = combinations_with_replacement(range(n_alleles), ploidy)
    return sorted(every, key=lambda g: tuple(g.count(k) for k in reversed(range(n_alleles))))


def probability_block(record: BgenRecord) -> bytes:
    """The uncompressed block of a record."""
    n = len(record.ploidy)
    head = struct.pack("<IHBB", n, len(record.alleles), min(record.ploidy), max(record.ploidy))
    state = bytes(p | (0x80 if m else 0) for p, m in zip(record.ploidy, record.missing, strict=True))
    total, place = 0, 0
    for row in record.values:
        for value in row:
            total |= value << place
            place += record.bits
    return head + state + bytes([record.phased, record.bits]) + total.to_bytes((place + 7) // 8, "little")


def _compressed(data: bytes, compression: int) -> bytes:
    if compression == PLAIN:
        return data
    if compression == ZLIB:
        return struct.pack("<I", len(data)) + zlib.compress(data)
    import pyarrow as pa

    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return struct.pack("<I", len(data)) + packed


def _text(value: str, size: str) -> bytes:
    data = value.encode()
    return struct.pack("<" + size, len(data)) + data


def record_bytes(record: BgenRecord, compression: int) -> bytes:
    """A record as it lies in the file."""
    body = _compressed(probability_block(record), compression)
    return b"".join(
        [
            _text(record.name, "H"), _text(record.rsid, "H"), _text(record.contig, "H"),
            struct.pack("<IH", record.position, len(record.alleles)), *(_text(a, "I") for a in record.alleles),
            struct.pack("<I", len(body)), body,
        ]
    )  # fmt: skip


def bgen_bytes(
    records: Sequence[BgenRecord], n_samples: int, *, ids: Sequence[str] | None = None, compression: int = ZLIB
) -> bytes:
    """A whole file, with identifiers inside where they are given."""
    block = b""
    if ids is not None:
        listed = b"".join(_text(i, "H") for i in ids)
        block = struct.pack("<II", 8 + len(listed), len(ids)) + listed
    flags = compression | 2 << 2 | (1 << 31 if ids is not None else 0)
    head = struct.pack("<III", 20, len(records), n_samples) + b"bgen" + struct.pack("<I", flags)
    parts = [record_bytes(r, compression) for r in records]
    return struct.pack("<I", len(head) + len(block)) + head + block + b"".join(parts)


def write_bgen(
    path: Path, records: Sequence[BgenRecord], n_samples: int, *, ids: Sequence[str] | None = None,
    compression: int = ZLIB,
) -> Path:  # fmt: skip
    """Write a file and return its path."""
    path.write_bytes(bgen_bytes(records, n_samples, ids=ids, compression=compression))
    return path


def write_sample(path: Path, ids: Sequence[str], sexes: Sequence[int] | None = None) -> Path:
    """Write an Oxford .sample file."""
    sex = ["NA" if not s else str(s) for s in sexes or [0] * len(ids)]
    rows = [f"0 {i} 0 {s}" for i, s in zip(ids, sex, strict=True)]
    path.write_text("\n".join(["ID_1 ID_2 missing sex", "0 0 0 D", *rows]) + "\n")
    return path
