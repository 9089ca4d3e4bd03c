"""Columns of many BCF records at once, by NumPy, for records of the plainest kind.

A plain record has an ID, one REF and one ALT of at most 14 bytes each, and one FILTER or none; its calls are plain when
GT stands first with two alleles of one byte for every sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from genomix.io.genotype_format import RECORDS_SCHEMA

QUALITY_MISSING = b"\x01\x00\x80\x7f"
_HEAD = np.dtype(
    [("shared", "<u4"), ("own", "<u4"), ("contig", "<i4"), ("position", "<i4"), ("length", "<i4"), ("quality", "<f4"),
     ("n_info", "<u2"), ("n_alleles", "<u2"), ("counts", "<u4")]
)  # fmt: skip
_PADDING = 32
_NO_FILTER = -1

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PlainColumns:
    """Columns of some records.

    Parameters
    ----------
    is_plain, has_plain_calls: bool (n_records,), for which of them the rest holds.
    n_alts: int64 (n_records,); calls: uint16 (n_records, n_samples), two encoded alleles.
    head: fixed fields; texts: start and length of ID, REF and ALT in ``data``; filters: index of FILTER, or -1.
    """

    is_plain: npt.NDArray[np.bool_]
    has_plain_calls: npt.NDArray[np.bool_]
    n_alts: Integers
    calls: npt.NDArray[np.uint16]
    head: npt.NDArray[np.void]
    texts: tuple[tuple[Integers, Integers], ...]
    filters: Integers
    data: npt.NDArray[np.uint8]

    def frame(self, contigs: Mapping[int, str], filters: Mapping[int, str]) -> pl.DataFrame:
        """Return the fixed columns of the plain records.

        Raises
        ------
        KeyError: for a contig or filter that the header does not have.
        UnicodeDecodeError: for text that is not UTF-8.
        """
        kept = self.is_plain
        head = self.head[kept]
        names, refs, alts = (_strings(self.data, start[kept], length[kept]) for start, length in self.texts)
        quality = head["quality"]
        known = quality.view("<u4") != int.from_bytes(QUALITY_MISSING, "little")
        columns = {
            "contig": _looked_up(head["contig"], contigs),
            "position": pl.Series(head["position"].astype(np.int64) + 1),
            "variant_id": names.replace({"": "."}),
            "ref": refs,
            "alt": alts,
            "quality": pl.Series([f"{q:g}" if k else "." for q, k in zip(quality.tolist(), known, strict=True)]),
            "filter": _looked_up(self.filters[kept], {**filters, _NO_FILTER: "."}),
            "info": pl.Series(["."]).new_from_index(0, len(head)),
        }
        return pl.DataFrame(columns, schema=RECORDS_SCHEMA)


def _looked_up(codes: npt.NDArray[np.integer], names: Mapping[int, str]) -> pl.Series:
    present = sorted(set(codes.tolist()))  # np.unique would load numpy.ma, 0.05 CPU s
    places = np.searchsorted(np.array(present, dtype=np.int64), codes)
    return pl.Series([names[c] for c in present], dtype=pl.String).gather(places)


def _strings(data: npt.NDArray[np.uint8], starts: Integers, lengths: Integers) -> pl.Series:
    offsets = np.zeros(len(starts) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    out = data[np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])]
    if out.max(initial=0) >= 0x80:
        rows = zip(starts.tolist(), lengths.tolist(), strict=True)
        return pl.Series([data[a : a + n].tobytes().decode() for a, n in rows], dtype=pl.String)
    array = pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(out))
    found = pl.from_arrow(array)
    assert isinstance(found, pl.Series)
    return found


def plain_columns(records: Sequence[bytes], gt_start: bytes, n_samples: int) -> PlainColumns:
    """Return the columns of whole BCF records.

    Parameters
    ----------
    gt_start: GT's key and type as they stand before plain calls; empty when the header has no GT.
    """
    sizes = np.array([len(r) for r in records], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    ends = starts + sizes
    data = np.frombuffer(b"".join([*records, bytes(_PADDING + len(gt_start) + 2 * n_samples)]), dtype=np.uint8)
    head = data[starts[:, None] + np.arange(_HEAD.itemsize)].view(_HEAD)[:, 0]
    own = np.minimum(starts + 8 + head["shared"].astype(np.int64), ends)
    is_plain = (own - starts > 32) & (head["n_alleles"] == 2) & (head["counts"] & 0xFFFFFF == n_samples)
    at = np.minimum(starts + 32, ends)
    texts = []
    for _ in range(3):
        kind = data[at].astype(np.int64)
        is_plain &= (kind & 15 == 7) & (kind < 0xF0)
        texts.append((at + 1, kind >> 4))
        at = np.minimum(at + 1 + (kind >> 4), ends)
    has_filter = data[at] == 0x11
    is_plain &= has_filter | (data[at] == 0)
    filters = np.where(has_filter, data[np.minimum(at + 1, ends)].astype(np.int64), _NO_FILTER)
    is_plain &= at + 1 + has_filter <= own
    has_calls = own + len(gt_start) + 2 * n_samples <= ends
    has_calls &= bool(gt_start) & (head["counts"] & 0xFFFFFF == n_samples)
    for i, byte in enumerate(gt_start):
        has_calls &= data[own + i] == byte
    windows = np.lib.stride_tricks.sliding_window_view(data, 2 * n_samples)
    calls = windows[np.where(has_calls, own + len(gt_start), 0)].view("<u2")
    calls[~has_calls] = 0
    n_alts = head["n_alleles"].astype(np.int64) - 1
    return PlainColumns(is_plain, has_calls, n_alts, calls, head, tuple(texts), filters, data)
