"""Gzip and BGZF streams read to their very end: a cut file is an error, never a shorter file.

BGZF (SAM specification, section 4.1) is gzip in members of at most 64 KiB that ends with an empty member. htslib stops
without an error at the end of the last whole member of a cut file, so the end is checked here.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from genomix.errors import FormatError, InputNotFoundError, TruncatedInputError
from genomix.provenance import TEMPORARY_PREFIX, scratch_errors

Compression = Literal["none", "gzip", "bgzf"]

GZIP_MAGIC = b"\x1f\x8b"
EOF_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_READ_BYTES = 1 << 18
_TEXT_BYTES = 1 << 20


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading, or raise :class:`InputNotFoundError`."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error


def require_file(path: Path) -> None:
    """Raise :class:`InputNotFoundError` unless the path is a file, which can be read again and from any place."""
    if path.is_file():
        return
    if not path.exists():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    if path.is_dir():
        raise InputNotFoundError(f"{path.name} is a folder, not a file", where=str(path))
    raise InputNotFoundError(
        f"{path.name} is a pipe or a device, and is read more than once or not from its start",
        where=str(path), hint="write it into a file first",
    )  # fmt: skip


@contextmanager
def _open_seekable(path: Path) -> Iterator[BinaryIO]:
    """Yield an opened file; what can be read once only (a pipe) is copied to an unnamed temporary file first."""
    with open_binary(path) as opened:
        if opened.seekable():
            yield opened
            return
        with tempfile.TemporaryFile(prefix=TEMPORARY_PREFIX) as copy:
            with scratch_errors(Path(tempfile.gettempdir()) / "copy"):
                shutil.copyfileobj(opened, copy)
                copy.seek(0)
            yield copy


def sniff_compression(path: Path) -> Compression:
    """Return how a file is compressed, by its first bytes and not by its name."""
    with open_binary(path) as stream:
        return _sniff(stream)


def _sniff(stream: BinaryIO) -> Compression:
    head = stream.read(18)
    if head[:2] != GZIP_MAGIC:
        return "none"
    is_bgzf = len(head) == 18 and head[3] & 4 and head[12:16] == b"BC\x02\x00"
    return "bgzf" if is_bgzf else "gzip"


def check_eof_block(path: Path) -> None:
    """Raise :class:`TruncatedInputError` unless a BGZF file ends with its empty end-of-file block."""
    with open_binary(path) as stream:
        _check_eof(stream, path)


def _check_eof(stream: BinaryIO, path: Path) -> None:
    size = stream.seek(0, 2)
    stream.seek(max(0, size - len(EOF_BLOCK)))
    if stream.read() != EOF_BLOCK:
        raise TruncatedInputError(
            f"{path.name} has no BGZF end-of-file block: it was cut, or is still being written",
            where=str(path),
            hint="copy or download it again and compare checksums",
        )


def truncated_member(path: Path) -> TruncatedInputError:
    """Return the error of a compressed file that ends too early."""
    return TruncatedInputError(
        f"{path.name} ends inside a compressed member: it was cut",
        where=str(path),
        hint="copy or download it again and compare checksums",
    )


def inflated_chunks(
    path: Path, *, allow_missing_end: bool = False, read_so_far: Callable[[int], None] | None = None
) -> Iterator[bytes]:
    """Yield the uncompressed bytes of a plain, gzip or BGZF file or pipe, all of them, at most about 1 MiB at a time.

    Parameters
    ----------
    allow_missing_end: accept a BGZF file without its end-of-file block; every member must still be whole.
    read_so_far: called with the number of bytes read from the file.

    Raises
    ------
    TruncatedInputError: when a compressed member, or BGZF's end-of-file block, is missing its end.
    FormatError: when a checksum is wrong, or bytes that are not gzip follow a member.
    """
    with _open_seekable(path) as stream:
        compression = _sniff(stream)
        if compression == "bgzf" and not allow_missing_end:
            _check_eof(stream, path)
        stream.seek(0)
        pieces = _plain(stream) if compression == "none" else _inflate(stream, path)
        for piece in pieces:
            if read_so_far is not None:
                read_so_far(stream.tell())
            yield piece


def _plain(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_READ_BYTES):
        yield block


def _inflate(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """Inflate member after member; zlib checks each member's CRC and length."""
    inflater = zlib.decompressobj(31)
    pending = b""
    started = True
    out: list[bytes] = []
    held = 0
    while block := pending or stream.read(_READ_BYTES):
        pending = b""
        if inflater.eof:
            block = block.lstrip(b"\0") if not block.startswith(GZIP_MAGIC[:1]) else block
            if not block:
                continue
            inflater, started = zlib.decompressobj(31), True
        piece = _decompress(inflater, block, path)
        pending = inflater.unconsumed_tail
        if inflater.eof:
            pending, started = inflater.unused_data, False
        out.append(piece)
        held += len(piece)
        if held >= _READ_BYTES:
            yield b"".join(out)
            out, held = [], 0
    if started and not inflater.eof:
        raise truncated_member(path)
    yield b"".join(out)


def _decompress(inflater: zlib._Decompress, block: bytes, path: Path) -> bytes:
    try:
        return inflater.decompress(block, _TEXT_BYTES)
    except zlib.error as error:
        raise FormatError(
            f"{path.name} is damaged: {error}", where=str(path), hint="copy or download it again and compare checksums"
        ) from error


def unwrap(path: Path, folder: Path) -> Path:
    """Return ``path``, or a copy in ``folder`` without the outer gzip when a BGZF file was gzipped once more."""
    if sniff_compression(path) != "gzip":
        return path
    chunks = inflated_chunks(path)
    head = next(chunks, b"")
    if not head.startswith(GZIP_MAGIC):
        return path
    inner = folder / "inner.gz"
    with scratch_errors(folder), inner.open("wb") as out:
        out.write(head)
        for chunk in chunks:
            out.write(chunk)
    return inner


def text_lines(path: Path, *, allow_missing_end: bool = False) -> Iterator[bytes]:
    """Yield the lines of a plain, gzip or BGZF text file without their line ends (LF or CRLF)."""
    tail = b""
    for chunk in inflated_chunks(path, allow_missing_end=allow_missing_end):
        lines = (tail + chunk).split(b"\n")
        tail = lines.pop()
        for line in lines:
            yield line[:-1] if line.endswith(b"\r") else line
    if tail:
        yield tail
