"""Compressed streams are read to their end, or refused."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import pytest

from genomix.errors import FormatError, InputNotFoundError, TruncatedInputError
from genomix.io.bgzf import EOF_BLOCK, inflated_chunks, require_file, sniff_compression, text_lines, unwrap
from tests.pipes import piped

TEXT = b"".join(b"line %d of a text that does not compress to nothing\n" % i for i in range(20_000))


def bgzf(data: bytes, block: int = 30_000) -> list[bytes]:
    """BGZF members after SAM specification 4.1, written from the specification for these tests."""
    members = []
    for start in range(0, len(data), block):
        part = data[start : start + block]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = packer.compress(part) + packer.flush()
        size = struct.pack("<H", len(body) + 25)
        head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + size
        members.append(head + body + struct.pack("<II", zlib.crc32(part), len(part)))
    return [*members, EOF_BLOCK]


def read(path: Path) -> bytes:
    return b"".join(inflated_chunks(path))


def test_every_kind_is_read_whole(tmp_path: Path) -> None:
    for name, data, kind in (
        ("a", TEXT, "none"),
        ("b", gzip.compress(TEXT), "gzip"),
        ("c", gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]), "gzip"),
        ("d", b"".join(bgzf(TEXT)), "bgzf"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert sniff_compression(path) == kind
        assert read(path) == TEXT


def test_bgzf_cut_at_a_block_boundary_is_refused(tmp_path: Path) -> None:
    members = bgzf(TEXT)
    for name, parts in (("no_end", members[:-1]), ("half", members[: len(members) // 2])):
        path = tmp_path / name
        path.write_bytes(b"".join(parts))
        with pytest.raises(TruncatedInputError, match="end-of-file block"):
            read(path)


@pytest.mark.parametrize("cut", [1, 4, 8, 1000, 100_000])
def test_gzip_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(TEXT)[:-cut] if cut < 100_000 else gzip.compress(TEXT)[:20])
    with pytest.raises(TruncatedInputError):
        read(path)


def test_a_flipped_bit_and_trailing_junk_are_refused(tmp_path: Path) -> None:
    packed = bytearray(b"".join(bgzf(TEXT)))
    packed[len(packed) // 2] ^= 4
    path = tmp_path / "flipped"
    path.write_bytes(packed)
    with pytest.raises(FormatError, match="damaged"):
        read(path)
    path.write_bytes(gzip.compress(TEXT) + b"junk that is not gzip")
    with pytest.raises(FormatError, match="damaged"):
        read(path)


def test_lines_end_with_lf_or_crlf_and_the_last_may_lack_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\r\nb\n\nc")
    assert list(text_lines(path)) == [b"a", b"b", b"", b"c"]


def test_a_bgzf_file_gzipped_once_more_is_unwrapped(tmp_path: Path) -> None:
    inner = b"".join(bgzf(TEXT))
    path = tmp_path / "twice.gz"
    path.write_bytes(gzip.compress(inner))
    found = unwrap(path, tmp_path)
    assert found != path
    assert found.read_bytes() == inner
    once = tmp_path / "once.gz"
    once.write_bytes(gzip.compress(TEXT))
    assert unwrap(once, tmp_path) == once


def test_a_pipe_is_read_whole_and_a_cut_one_is_refused(tmp_path: Path) -> None:
    for data in (TEXT, b"short", b"", gzip.compress(TEXT), b"".join(bgzf(TEXT))):
        (tmp_path / "x").write_bytes(data)
        with piped(data) as path:
            assert read(path) == read(tmp_path / "x")
    with piped(b"".join(bgzf(TEXT)[:-1])) as path, pytest.raises(TruncatedInputError):
        read(path)


def test_what_has_to_be_a_file_is_told_why_it_is_none(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "no", "no does not exist"), (tmp_path, "is a folder, not a file")):
        with pytest.raises(InputNotFoundError, match=words):
            require_file(path)
    with piped(b"x") as path, pytest.raises(InputNotFoundError, match="is a pipe or a device"):
        require_file(path)
    (tmp_path / "x").write_text("")
    require_file(tmp_path / "x")
