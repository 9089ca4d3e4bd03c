"""A text file, compressed or not, as pieces of whole lines that may be parsed side by side and come back in order.

At most ``threads + 2`` pieces of :data:`PIECE_BYTES` of text exist at a time, or of the longest line where that is
longer; how the text is cut into pieces depends on the file alone, never on the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from genomix.io.bgzf import inflated_chunks, sniff_compression
from genomix.io.bgzf_blocks import block_groups, inflate_group

PIECE_BYTES = 16 << 20
_PADDING = 64
"""Bytes that a kernel may look at after a piece's end."""

T = TypeVar("T")
Buffer = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Piece:
    """Whole lines, the last one ended by LF too: ``buffer[start:end]``, with readable bytes after it."""

    buffer: Buffer
    start: int
    end: int

    def text(self) -> bytes:
        """Return a copy of the lines."""
        return self.buffer[self.start : self.end].tobytes()


@dataclass(frozen=True)
class _Done(Generic[T]):
    value: T

    def result(self) -> T:
        return self.value


_Submit = Callable[..., Any]
Fill = Callable[[Buffer, int], int]
"""Writes text into a buffer from a place on and returns how much."""


def map_pieces(
    fills: Iterator[tuple[int, Fill]], n_header_lines: int, parse: Callable[[Piece], T], *, threads: int
) -> Iterator[T]:
    """Yield ``parse(piece)`` for all pieces in order.

    An error in inflating is raised after the results of the text before it.

    Parameters
    ----------
    fills: (greatest number of bytes, function that writes them) in file order.
    n_header_lines: lines at the start to leave out.
    parse: must keep nothing of its piece, whose buffer is used again.
    threads: 1 works in the caller's thread alone.
    """
    if threads <= 1:
        yield from _in_order(fills, n_header_lines, parse, lambda f, *a: _Done(f(*a)), 0)
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from _in_order(fills, n_header_lines, parse, pool.submit, threads)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    fills: Iterator[tuple[int, Fill]], n_skipped: int, parse: Callable[[Piece], T], submit: _Submit, ahead: int
) -> Iterator[T]:
    spare: list[bytearray] = []
    filled: deque[tuple[bytearray, int, Any]] = deque()
    parsed: deque[Any] = deque()
    carry = _Carry(n_skipped)
    failure: BaseException | None = None

    def finish() -> T:
        result, buffer = parsed.popleft().result()
        spare.append(buffer)
        return result  # type: ignore[no-any-return] # what parse returned

    while True:
        try:
            while len(filled) <= ahead // 2:
                room, fill = next(fills)
                buffer = _buffer(spare, carry.headroom + room + _PADDING)
                filled.append((buffer, carry.headroom, submit(fill, _array(buffer), carry.headroom)))
        except StopIteration:
            pass
        except Exception as error:  # raised below, when all before it is done
            failure = failure or error
            fills = iter(())
        if not filled:
            break
        buffer, at, later = filled.popleft()
        try:
            n = later.result()
        except Exception as error:  # raised below, when all before it is done
            failure = error
            break
        piece = carry.join(buffer, at, n)
        if piece is None:
            spare.append(buffer)
            continue
        parsed.append(submit(_parse, parse, piece, buffer))
        while len(parsed) > ahead:
            yield finish()
    while parsed:
        yield finish()
    if failure is not None:
        raise failure
    if (piece := carry.last()) is not None:
        yield parse(piece)


def _parse(parse: Callable[[Piece], T], piece: Piece, buffer: bytearray) -> tuple[T, bytearray]:
    return parse(piece), buffer


def _array(buffer: bytearray) -> Buffer:
    return np.frombuffer(buffer, dtype=np.uint8)


def _buffer(spare: list[bytearray], size: int) -> bytearray:
    """Return a buffer of at least ``size`` bytes, a used one if one is large enough."""
    for i, buffer in enumerate(spare):
        if len(buffer) >= size:
            return spare.pop(i)
    if spare:
        spare.pop()
    return bytearray(size + (size >> 3))


class _Carry:
    """The unfinished line at a piece's end, put before the next piece."""

    def __init__(self, n_skipped: int) -> None:
        self._n_skipped = n_skipped
        self._tail: list[bytes] = []
        self.headroom = 1 << 16

    def join(self, buffer: bytearray, at: int, n: int) -> Piece | None:
        """Return the whole lines of the carried text and ``buffer[at : at + n]``, None when no line ends in it."""
        last = buffer.rfind(b"\n", at, at + n)
        if last < 0:
            self._keep(buffer, at, at + n)
            return None
        tail = b"".join(self._tail)
        self._tail = []
        self._keep(buffer, last + 1, at + n)
        if len(tail) > at:
            self.headroom = len(tail) + (len(tail) >> 1)
            buffer = bytearray(tail) + buffer[at : last + 1] + bytes(_PADDING)
            at, last = len(tail), len(buffer) - _PADDING - 1
        buffer[at - len(tail) : at] = tail
        start, end = at - len(tail), last + 1
        while self._n_skipped and start < end:
            start = buffer.find(b"\n", start, end) + 1
            self._n_skipped -= 1
        return Piece(_array(buffer), start, end) if start < end else None

    def _keep(self, buffer: bytearray, start: int, end: int) -> None:
        if end > start:
            self._tail.append(bytes(memoryview(buffer)[start:end]))

    def last(self) -> Piece | None:
        """Return the last line where the file does not end in LF."""
        text = b"".join(self._tail)
        if not text or self._n_skipped:
            return None
        return Piece(np.frombuffer(text + b"\n" + bytes(_PADDING), dtype=np.uint8), 0, len(text) + 1)


def file_fills(
    path: Path, *, allow_missing_end: bool, read_so_far: Callable[[int], None]
) -> Iterator[tuple[int, Fill]]:
    """Yield what fills the pieces of a plain, gzip or BGZF file."""
    if sniff_compression(path) == "bgzf":
        for group in block_groups(path, PIECE_BYTES, read_so_far=read_so_far):
            yield group.n_text, lambda buffer, at, group=group: inflate_group(group, buffer, at, path)  # type: ignore[misc]  # a default in a lambda has no type
        return
    chunks = inflated_chunks(path, allow_missing_end=allow_missing_end, read_so_far=read_so_far)
    yield from chunk_fills(chunks)


def chunk_fills(chunks: Iterator[bytes]) -> Iterator[tuple[int, Fill]]:
    """Yield what fills the pieces of text that comes in chunks."""
    held: list[bytes] = []
    n = 0
    for chunk in chunks:
        if n and n + len(chunk) > PIECE_BYTES:
            yield n, _copier(held)
            held, n = [], 0
        held.append(chunk)
        n += len(chunk)
    if n:
        yield n, _copier(held)


def _copier(held: list[bytes]) -> Fill:
    def fill(buffer: Buffer, at: int) -> int:
        start = at
        for chunk in held:
            buffer[at : at + len(chunk)] = np.frombuffer(chunk, dtype=np.uint8)
            at += len(chunk)
        return at - start

    return fill
