"""The lines of a VCF file or stream with their numbers, and what is wrong with the text before any field is read.

Plain text, gzip, BGZF and bzip2 are told apart by their first bytes; memory is bounded by one chunk and one line.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from genomix.errors import FormatError, TruncatedInputError
from genomix.io.bgzf import EOF_BLOCK, GZIP_MAGIC, open_binary
from genomix.io.vcf_findings import FindingLog

_READ_BYTES = 1 << 18
_FIRST_LINE_BYTES = 1 << 20
_LINE_BYTES = 1 << 30
_BZIP2_MAGIC = b"BZh"
_CONTROL = bytes(b for b in range(32) if b not in b"\t\n\r")
_CUT = "copy or download it again and compare checksums"


class LineStream:
    """Yields (line number, line without its end), and logs what breaks the rules of the text itself.

    Parameters
    ----------
    stream: where the bytes come from.
    name: the input's name, for errors.
    log: receives findings on encoding, control characters, line ends and empty lines.
    """

    def __init__(self, stream: BinaryIO, name: str, log: FindingLog) -> None:
        self._stream, self._name, self._log = stream, name, log
        self.bytes_in = 0
        self.bytes_out = 0
        self.compression = "none"
        self.version = 3
        self._crlf: bool | None = None
        self._blank = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        number = held = 0
        pieces: list[bytes] = []
        for chunk in self._chunks():
            self.bytes_out += len(chunk)
            pieces.append(chunk)
            held += len(chunk)
            if b"\n" not in chunk:
                self._refuse_endless(number, held)
                continue
            text = b"".join(pieces)
            lines = text.split(b"\n")
            pieces = [lines.pop()]
            held = len(pieces[0])
            yield from self._numbered(lines, number, self._is_odd(text))
            number += len(lines)
        tail = b"".join(pieces)
        if tail:
            self._log.add("last-newline", number + 1, "", "the last line has no line separator: it may be cut")
            yield from self._numbered([tail], number, self._is_odd(tail))
        if self._blank:
            self._log.add("blank-end", self._blank, "", "empty lines at the end")
        if self._crlf and self.version < 3:
            self._log.add("line-end", 0, "", "CRLF line ends")

    def _refuse_endless(self, number: int, held: int) -> None:
        if held > (_LINE_BYTES if number else _FIRST_LINE_BYTES):
            what = f"line {number + 1} has not ended after {held >> 20} MiB: this is no VCF text"
            raise FormatError(what, where=f"{self._name}:{number + 1}")

    def _is_odd(self, text: bytes) -> bool:
        return b"\r" in text or not text.isascii() or len(text.translate(None, _CONTROL)) != len(text)

    def _numbered(self, lines: list[bytes], before: int, odd: bool) -> Iterator[tuple[int, bytes]]:
        if not odd and lines:
            self._line_end(before + 1, False)
        for number, line in enumerate(lines, start=before + 1):
            if odd:
                line = self._looked_at(number, line)
            if not line:
                self._blank = self._blank or number
                continue
            if self._blank:
                self._log.add("blank-line", self._blank, "", "an empty line")
                self._blank = 0
            yield number, line

    def _looked_at(self, number: int, line: bytes) -> bytes:
        """Check one line's bytes and return it without its carriage return."""
        crlf = line.endswith(b"\r")
        self._line_end(number, crlf)
        line = line[:-1] if crlf else line
        if number == 1 and line.startswith(b"\xef\xbb\xbf"):
            self._log.add("encoding", 1, "", "the file starts with a byte order mark")
            line = line[3:]
        if not line.isascii():
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                self._log.add("encoding", number, "", f"byte {error.start + 1} of the line is not UTF-8")
            else:
                if self.version < 3:
                    self._log.add("not-ascii", number, "", "a character outside ASCII")
        if b"\r" in line or len(line.translate(None, _CONTROL)) != len(line):
            self._log.add("control-character", number, "", "a control character within the line")
        return line

    def _line_end(self, number: int, crlf: bool) -> None:
        if self._crlf is not None and crlf != self._crlf:
            self._log.add("line-end", number, "", "CRLF and LF line ends in one file")
        self._crlf = crlf

    def _chunks(self) -> Iterator[bytes]:
        head = self._read()
        if head.startswith(GZIP_MAGIC):
            self.compression = "bgzf" if len(head) >= 18 and head[3] & 4 and head[12:16] == b"BC\x02\x00" else "gzip"
            yield from self._gzip(head)
        elif head.startswith(_BZIP2_MAGIC):
            self.compression = "bzip2"
            yield from self._bzip2(head)
        else:
            while head:
                yield head
                head = self._read()

    def _read(self) -> bytes:
        block = self._stream.read(_READ_BYTES)
        self.bytes_in += len(block)
        return block

    def _gzip(self, block: bytes) -> Iterator[bytes]:
        """Inflate member after member; zlib checks each member's CRC and length."""
        last = b""
        inflater = zlib.decompressobj(31)
        fresh = False
        while block:
            last = (last + block)[-len(EOF_BLOCK) :]
            out: list[bytes] = []
            while block:
                if inflater.eof:
                    inflater = zlib.decompressobj(31)
                try:
                    out.append(inflater.decompress(block))
                except zlib.error as error:
                    raise FormatError(f"{self._name} is damaged: {error}", where=self._name, hint=_CUT) from error
                block = inflater.unused_data.lstrip(b"\0") if inflater.eof else b""
                fresh = inflater.eof
            yield b"".join(out)
            block = self._read()
        if not fresh:
            raise TruncatedInputError(f"{self._name} ends inside a compressed member", where=self._name, hint=_CUT)
        if self.compression == "bgzf" and last != EOF_BLOCK:
            raise TruncatedInputError(f"{self._name} has no BGZF end-of-file block", where=self._name, hint=_CUT)

    def _bzip2(self, block: bytes) -> Iterator[bytes]:
        inflater = bz2.BZ2Decompressor()
        while block:
            if inflater.eof:
                inflater = bz2.BZ2Decompressor()
            try:
                yield inflater.decompress(block)
            except OSError as error:
                raise FormatError(f"{self._name} is damaged: {error}", where=self._name, hint=_CUT) from error
            block = inflater.unused_data or self._read()
        if not inflater.eof:
            raise TruncatedInputError(f"{self._name} ends inside a compressed stream", where=self._name, hint=_CUT)


def open_input(path: Path) -> BinaryIO:
    """Open a file, or standard input for ``-``."""
    if str(path) == "-":
        import sys

        return sys.stdin.buffer
    return open_binary(path)
