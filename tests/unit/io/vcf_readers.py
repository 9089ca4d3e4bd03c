"""Helpers of the tests of the two VCF readers: read whole files, compare what was read, write BGZF."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from polars.testing import assert_frame_equal

from genomix.errors import GenomixError
from genomix.io.bgzf import EOF_BLOCK
from genomix.io.genotype_format import GenotypeBlock, OpenOptions
from genomix.io.vcf import VcfSource
from genomix.io.vcf_blocks import joined


def bgzf_members(data: bytes, block: int = 30_000, level: int = 6) -> list[bytes]:
    """BGZF members after SAM specification 4.1, written from the specification, and the empty last one."""
    members = []
    for start in range(0, len(data), block):
        part = data[start : start + block]
        packer = zlib.compressobj(level, zlib.DEFLATED, -15)
        body = packer.compress(part) + packer.flush()
        head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
        members.append(head + body + struct.pack("<II", zlib.crc32(part), len(part)))
    return [*members, EOF_BLOCK]


def read_all(path: Path, **options: Any) -> GenotypeBlock | None:
    """Read a file into one block, all records general; None when it has no records."""
    with VcfSource(path, OpenOptions(**options)) as source:
        blocks = [b.general() for b in source.blocks()]
    return joined(blocks) if blocks else None


def outcome(path: Path, **options: Any) -> GenotypeBlock | GenomixError | None:
    """Read a file, or return the error that refuses it."""
    try:
        return read_all(path, **options)
    except GenomixError as error:
        return error


def assert_same(a: GenotypeBlock | GenomixError | None, b: GenotypeBlock | GenomixError | None) -> None:
    """Fail unless two readings are equal: records, alleles, phase, absent calls and all dosages, or the same error."""
    if isinstance(a, GenomixError) or isinstance(b, GenomixError):
        assert type(a) is type(b), f"one reader says {a!r}, the other {b!r}"
        assert str(a) == str(b)
        return
    assert (a is None) == (b is None)
    if a is None or b is None:
        return
    assert_frame_equal(a.records, b.records)
    for name in ("numbers", "alleles", "phased", "without_calls"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype
        assert np.array_equal(x, y), f"{name} differ first in record {np.argwhere(x != y)[:1].tolist()}"
    assert (a.dosages is None) == (b.dosages is None)
    if a.dosages is not None and b.dosages is not None:
        assert np.array_equal(a.dosages, b.dosages, equal_nan=True)
    assert (a.alt_dosages is None) == (b.alt_dosages is None)
    if a.alt_dosages is not None and b.alt_dosages is not None:
        for name in ("rows", "counts", "values"):
            x, y = getattr(a.alt_dosages, name), getattr(b.alt_dosages, name)
            assert np.array_equal(x, y, equal_nan=True), f"{name} of the ALTs' dosages"
    assert (a.lost_dosages is None) == (b.lost_dosages is None)
    if a.lost_dosages is not None and b.lost_dosages is not None:
        assert np.array_equal(a.lost_dosages, b.lost_dosages)


def inflated(path: Path) -> bytes:
    """The bytes of a file, inflated by the standard library where it is gzip."""
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
