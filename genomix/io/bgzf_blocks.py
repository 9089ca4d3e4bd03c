"""BGZF blocks found by their headers and inflated one by one, by libdeflate where it can be had.

A block (SAM specification, section 4.1) is a gzip member of at most 64 KiB of text that states its own size, so blocks
are found without inflating and inflated in any order. The `deflate` wheel brings libdeflate; it is called through
ctypes, which lets other threads run meanwhile. Without it zlib does the same, slower.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genomix.errors import FormatError
from genomix.io.bgzf import open_binary, truncated_member

_SLAB_BYTES = 1 << 19
_HEADER = struct.Struct("<4s6x6sH")
_MAGIC, _BC = b"\x1f\x8b\x08\x04", b"\x06\0BC\x02\0"
_UINT32 = struct.Struct("<I")
_LIBDEFLATE_ERRORS = {1: "bad data or a wrong checksum", 2: "less text than stated", 3: "more text than stated"}


@dataclass(frozen=True)
class BlockGroup:
    """Consecutive blocks.

    Parameters
    ----------
    raw: their bytes.
    bounds: (offset in ``raw``, bytes, bytes of text) of each block.
    n_text: bytes of text of all.
    """

    raw: npt.NDArray[np.uint8]
    bounds: tuple[tuple[int, int, int], ...]
    n_text: int


def block_groups(
    path: Path, text_bytes: int, *, start: int = 0, stop: int | None = None, read_so_far: Callable[[int], None]
) -> Iterator[BlockGroup]:
    """Yield the blocks of a file in groups of at most ``text_bytes`` of text (a block at least).

    Parameters
    ----------
    start, stop: offsets of the first block and of the last one to be read (None: to the end of the file).
    read_so_far: called with the offset of a group's end before it is yielded.

    Raises
    ------
    TruncatedInputError: when the file ends inside a block.
    FormatError: when something that is no block follows a block.
    """
    raw = bytearray()
    bounds: list[tuple[int, int, int]] = []
    at, n_text, place = 0, 0, start
    with open_binary(path) as stream:
        stream.seek(start)
        size: int | None = None
        while stop is None or place <= stop:
            if size is None:
                size = _block_size(raw, at, path)
            if size is None or at + size > len(raw):
                more = stream.read(_SLAB_BYTES)
                if not more:
                    if at < len(raw) or stop is not None:
                        raise truncated_member(path)
                    break
                raw += more
                continue
            (text,) = _UINT32.unpack_from(raw, at + size - 4)
            if text > 1 << 16:
                raise damaged(path, "a block states more than 64 KiB of text")
            if bounds and n_text + text > text_bytes:
                read_so_far(place)
                yield BlockGroup(np.frombuffer(raw[:at], dtype=np.uint8), tuple(bounds), n_text)
                raw, bounds, at, n_text = raw[at:], [], 0, 0
            bounds.append((at, size, text))
            at, n_text, place, size = at + size, n_text + text, place + size, None
    read_so_far(place)
    if bounds:
        yield BlockGroup(np.frombuffer(raw[:at], dtype=np.uint8), tuple(bounds), n_text)


def _block_size(raw: bytearray, at: int, path: Path) -> int | None:
    """Return the size of the block at ``at``, None when its header is not there yet."""
    if len(raw) - at < 18:
        return None
    magic, extra, size = _HEADER.unpack_from(raw, at)
    if magic == _MAGIC and extra == _BC:
        return int(size) + 1
    if raw[at : at + 4] != b"\x1f\x8b\x08\x04":
        raise damaged(path, "what follows a block is no BGZF block")
    end = at + 12 + int.from_bytes(raw[at + 10 : at + 12], "little")
    if end > len(raw):
        return None
    i = at + 12
    while i + 4 <= end:
        length = int.from_bytes(raw[i + 2 : i + 4], "little")
        if raw[i : i + 2] == b"BC" and length == 2:
            return int.from_bytes(raw[i + 4 : i + 6], "little") + 1
        i += 4 + length
    raise damaged(path, "what follows a block is no BGZF block")


def damaged(path: Path, what: str) -> FormatError:
    """Return the error of a compressed file whose bytes are wrong."""
    return FormatError(
        f"{path.name} is damaged: {what}", where=str(path), hint="copy or download it again and compare checksums"
    )


def inflate_group(group: BlockGroup, target: npt.NDArray[np.uint8], at: int, path: Path) -> int:
    """Inflate a group into ``target`` from ``at`` on, with every checksum checked; return the bytes written."""
    problem = _thread_inflater()(group, target, at)
    if problem:
        raise damaged(path, problem)
    return group.n_text


_Inflater = Callable[[BlockGroup, npt.NDArray[np.uint8], int], str]
"""Inflates a group into an array from a place on; returns what is wrong, or nothing."""

_local = threading.local()


def _thread_inflater() -> _Inflater:
    """Return this thread's own inflater: a libdeflate decompressor must not be shared."""
    found: _Inflater | None = getattr(_local, "inflate", None)
    if found is None:
        library = libdeflate()
        found = _inflate_zlib if library is None else _Libdeflate(library)
        _local.inflate = found
    return found


@cache
def libdeflate() -> Any:
    """Return libdeflate as a ctypes library, or None where the wheel is absent or hides its functions."""
    try:
        module = importlib.import_module("deflate._deflate")
        library = ctypes.CDLL(str(module.__file__))
        library.libdeflate_alloc_decompressor.restype = ctypes.c_void_p
        library.libdeflate_free_decompressor.argtypes = [ctypes.c_void_p]
        library.libdeflate_gzip_decompress.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p,
        ]  # fmt: skip
        library.libdeflate_gzip_decompress.restype = ctypes.c_int
    except (ImportError, OSError, AttributeError):
        return None
    return library


class _Libdeflate:
    def __init__(self, library: Any) -> None:
        self._call = library.libdeflate_gzip_decompress
        self._state = library.libdeflate_alloc_decompressor()
        weakref.finalize(self, library.libdeflate_free_decompressor, self._state)

    def __call__(self, group: BlockGroup, target: npt.NDArray[np.uint8], at: int) -> str:
        """libdeflate checks each block's CRC-32 and, given no place for a length, its exact length."""
        call, state = self._call, self._state
        source, to = group.raw.ctypes.data, target.ctypes.data + at
        for offset, size, n_text in group.bounds:
            result = call(state, source + offset, size, to, n_text, None)
            if result:
                return _LIBDEFLATE_ERRORS.get(result, "unknown")
            to += n_text
        return ""


def _inflate_zlib(group: BlockGroup, target: npt.NDArray[np.uint8], at: int) -> str:
    for offset, size, n_text in group.bounds:
        try:
            text = zlib.decompress(group.raw[offset : offset + size].data, 31, bufsize=n_text + 1)
        except zlib.error as error:
            return str(error)
        if len(text) != n_text:
            return _LIBDEFLATE_ERRORS[2]
        target[at : at + n_text] = np.frombuffer(text, dtype=np.uint8)
        at += n_text
    return ""
