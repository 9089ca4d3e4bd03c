"""Random access to the uncompressed bytes of a BGZF file, without an index file and without a shared file position."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomix.io.bgzf import check_eof_block, open_binary, truncated_member
from genomix.io.bgzf_blocks import BlockGroup, damaged, inflate_group

_HEADER_BYTES = 18
_USUAL_HEADER = struct.Struct("<4s6xH2sHH")
_MAGIC = b"\x1f\x8b\x08\x04"


class BgzfBytes:
    """The uncompressed bytes of a BGZF file, by offset; blocks are inflated when they are asked for.

    Parameters
    ----------
    path: a BGZF file.

    Raises
    ------
    TruncatedInputError: when the file ends inside a block or without the end-of-file block.
    FormatError: when a block is damaged (also while reading).
    """

    def __init__(self, path: Path) -> None:
        check_eof_block(path)
        self._path = path
        with open_binary(path) as stream:
            self._data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._raw = np.frombuffer(self._data, dtype=np.uint8)
        table = np.array(self._walk(), dtype=np.int64).reshape(-1, 3)
        self._blocks = table[table[:, 2] > 0]
        ends = np.cumsum(self._blocks[:, 2])
        self._first = ends - self._blocks[:, 2]
        self.size = int(ends[-1]) if len(ends) else 0

    def take(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the bytes at ``offsets``; each block that holds some is inflated once."""
        if len(offsets) and not 0 <= int(offsets.min()) <= int(offsets.max()) < self.size:
            raise IndexError("offset beyond the end")
        result = np.empty(len(offsets), dtype=np.uint8)
        blocks = np.searchsorted(self._first, offsets, side="right") - 1
        order = np.argsort(blocks, kind="stable")
        bounds = np.flatnonzero(np.diff(blocks[order], prepend=-1, append=-1))
        for i, j in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            rows = order[i:j]
            block = int(blocks[rows[0]])
            result[rows] = self._inflated(block, block + 1)[offsets[rows] - self._first[block]]
        return result

    def read(self, start: int, end: int) -> npt.NDArray[np.uint8]:
        """Return the bytes from ``start`` to before ``end``."""
        first, last = (np.searchsorted(self._first, [start, max(start, end - 1)], side="right") - 1).tolist()
        base = int(self._first[first])
        return self._inflated(first, last + 1)[start - base : end - base]

    def _inflated(self, first: int, stop: int) -> npt.NDArray[np.uint8]:
        rows = tuple((int(at), int(size), int(text)) for at, size, text in self._blocks[first:stop])
        group = BlockGroup(self._raw, rows, sum(text for _, _, text in rows))
        target = np.empty(group.n_text, dtype=np.uint8)
        inflate_group(group, target, 0, self._path)
        return target

    def _walk(self) -> list[tuple[int, int, int]]:
        """Return every block's offset, its size, and the size of its text, from headers and trailers alone."""
        found = []
        start, end = 0, len(self._data)
        while start < end:
            size = self._block_size(start) if end - start >= _HEADER_BYTES else end
            if start + size > end:
                raise truncated_member(self._path)
            text = struct.unpack_from("<I", self._data, start + size - 4)[0]
            if text > 1 << 16:
                raise damaged(self._path, "a block states more than 64 KiB of text")
            found.append((start, size, text))
            start += size
        return found

    def _block_size(self, start: int) -> int:
        """Return the size of the block at ``start``, from the BC field of its header."""
        magic, extra, name, length, less_one = _USUAL_HEADER.unpack_from(self._data, start)
        if magic == _MAGIC and name == b"BC" and length == 2:
            return int(less_one) + 1
        place, stop = start + 12, min(start + 12 + extra, len(self._data) - 4)
        while magic == _MAGIC and place + 6 <= stop:
            name, length = struct.unpack_from("<2sH", self._data, place)
            if name == b"BC" and length == 2:
                return int(struct.unpack_from("<H", self._data, place + 4)[0]) + 1
            place += 4 + length
        raise damaged(self._path, "what follows a block is no BGZF block")
