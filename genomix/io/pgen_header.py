"""What the header of a .pgen says of its records, without reading them.

https://github.com/chrchang/plink-ng/tree/master/pgen_spec: after 12 bytes and one 8-byte offset per 65,536 records
come, block by block, record types (4 or 8 bits each), record lengths, and where present allele counts and flags.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

_BLOCK = 1 << 16
_MAGIC = b"\x6c\x1b"
_WITH_COUNTS = (0x02, 0x03, 0x04, 0x10, 0x11)
_STANDARD, _FIXED_WITH_DOSAGES = 0x10, (0x03, 0x04)
_DOSAGE_BITS, _PHASE_BIT = 0x60, 0x10


def stated_records(path: Path) -> int | None:
    """Return the number of records that the header states; None where it states none (a .bed, an external index)."""
    with path.open("rb") as stream:
        head = stream.read(11)
    if len(head) < 11 or head[:2] != _MAGIC or head[2] not in _WITH_COUNTS:
        return None
    return int.from_bytes(head[3:7], "little")


def records_with_dosages(path: Path, n_records: int) -> npt.NDArray[np.bool_]:
    """Return which records hold dosages beside their calls, bool (n_records,); all where the header cannot tell."""
    return _records_with(path, n_records, _DOSAGE_BITS)


def records_with_phase(path: Path, n_records: int) -> npt.NDArray[np.bool_]:
    """Return which records hold phase beside their calls, bool (n_records,); all where the header cannot tell."""
    return _records_with(path, n_records, _PHASE_BIT)


def _records_with(path: Path, n_records: int, bits: int) -> npt.NDArray[np.bool_]:
    out = np.zeros(n_records, dtype=np.bool_)
    with path.open("rb") as stream:
        head = stream.read(12)
        mode = head[2] if len(head) > 2 else 0
        if mode in _FIXED_WITH_DOSAGES:
            return ~out
        if mode != _STANDARD:
            return out if mode in (0x01, 0x02) else ~out
        control = head[11]
        if control & 0x0F < 4:
            return out
        if control & 0x0F > 7:
            return ~out
        stream.seek(12 + 8 * ((n_records + _BLOCK - 1) // _BLOCK))
        for start in range(0, n_records, _BLOCK):
            count = min(_BLOCK, n_records - start)
            types = np.frombuffer(stream.read(count), dtype=np.uint8)
            if len(types) < count:
                return ~np.zeros(n_records, dtype=np.bool_)
            out[start : start + count] = (types & bits) != 0
            skipped = count * ((control & 3) + 1) + count * (control >> 4 & 3)
            stream.seek(skipped + ((count + 7) // 8 if control >> 6 == 3 else 0), 1)
    return out
