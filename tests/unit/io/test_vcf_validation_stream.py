"""The text around the fields: line ends, encoding, compression, cuts, and bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import random
import struct
import tracemalloc
import zlib
from collections import Counter

import pytest

from genomix.errors import TruncatedInputError
from genomix.io.bgzf import EOF_BLOCK
from genomix.io.vcf_findings import RULES
from genomix.io.vcf_validation import ValidationReport, validate_stream

HEAD = (
    b'##fileformat=VCFv4.3\n##contig=<ID=1,length=249250621>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n'
)
HEAD += b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\n"
TEXT = HEAD + b"".join(b"1\t%d\t.\tA\tC\t.\tPASS\t.\tGT\t0/%d\n" % (i, i % 2) for i in range(1, 3001))


class Pipe(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size, self._at = data, size, 0

    def read(self, size: int = -1) -> bytes:
        part = self._data[self._at : self._at + min(size, self._size)]
        self._at += len(part)
        return part


def validated(data: bytes) -> ValidationReport:
    return validate_stream(io.BytesIO(data), "x.vcf")


def bgzf(data: bytes, block: int = 4_000) -> bytes:
    out = b""
    for start in range(0, len(data), block):
        part = data[start : start + block]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = packer.compress(part) + packer.flush()
        out += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25) + body
        out += struct.pack("<II", zlib.crc32(part), len(part))
    return out + EOF_BLOCK


@pytest.mark.parametrize("size", [20, 37, 1000, 1 << 18])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bgzf, bz2.compress], ids=["plain", "gzip", "bgzf", "bzip2"])
def test_chunks_of_any_size_and_compression_give_the_same(pack: object, size: int) -> None:
    assert callable(pack)
    report = validate_stream(Pipe(pack(TEXT), size), "x.vcf")  # type: ignore[arg-type]  # reads as a BinaryIO does
    assert report.is_valid
    assert report.counts == {}
    assert report.facts["records"] == 3000


def test_a_cut_anywhere_is_found() -> None:
    """Cuts at every member's end and within: never valid (text cut at a line's end cannot be known)."""
    whole = bgzf(TEXT)
    ends = [i for i in range(len(whole)) if whole.startswith(b"\x1f\x8b\x08\x04", i)]
    assert len(ends) > 10
    for cut in sorted({*ends[1:], *(e + 9 for e in ends), *range(40, len(whole), 997)} - {len(whole)}):
        report = validated(whole[:cut])
        assert isinstance(report.failure, TruncatedInputError), cut
    assert validated(gzip.compress(TEXT)[:-3]).failure is not None
    assert "last-newline" in validated(TEXT[:-1]).counts


def test_a_flipped_bit_is_found() -> None:
    data = bytearray(gzip.compress(TEXT))
    data[len(data) // 2] ^= 4
    assert not validated(bytes(data)).is_valid


def test_line_ends() -> None:
    crlf = TEXT.replace(b"\n", b"\r\n")
    assert validated(crlf).counts == {}
    assert "line-end" in validated(crlf.replace(b"v4.3", b"v4.2")).counts
    assert "line-end" in validated(TEXT + b"1\t3001\t.\tA\tC\t.\tPASS\t.\tGT\t0/1\r\n").counts
    assert "control-character" in validated(TEXT.replace(b"\t.\tA", b"\t.\rx\tA", 1)).counts


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\xef\xbb\xbf" + TEXT, "encoding"),
        (TEXT.replace(b"x\">", b"\xe9\">", 1), "encoding"),
        (TEXT.replace(b"\t.\tA", b"\ta\0b\tA", 1), "control-character"),
        (TEXT.replace(b"1\t7\t", b"\n1\t7\t", 1), "blank-line"),
        (TEXT + b"\n\n", "blank-end"),
        (TEXT.replace(b"v4.3", b"v4.2").replace(b"x\">", b"\xc3\xa9\">", 1), "not-ascii"),
        (b"", "fileformat"),
        (b"BCF\x02\x02", "fileformat"),
    ],
)  # fmt: skip
def test_odd_bytes(data: bytes, rule: str) -> None:
    report = validated(data)
    assert rule in report.counts
    assert report.is_valid == (RULES[rule].severity == "warning")


def test_a_file_without_lines_is_refused_early() -> None:
    stream = Pipe(b"x" * (1 << 23), 1 << 18)
    report = validate_stream(stream, "x.vcf")  # type: ignore[arg-type]  # reads as a BinaryIO does
    assert report.failure is not None
    assert len(stream.read(1 << 18)) == 1 << 18


def test_no_mutation_of_a_file_ends_in_a_crash() -> None:
    pieces = [*b'\t;,:=<>".\n|/\r \0\xff-', b"9" * 5000, b"nan", b"1e999", b"Number=99999999999", b"-1"]
    chance = random.Random(20261123)
    good = TEXT[: len(HEAD) + 90] + b"1\t99\t.\tA\t<DEL>,G\t.\tPASS\tAC=1,2;SVLEN=3,.;END=120\tGT:PL:PSL\t0|1:0:a,.\n"
    judged: Counter[bool] = Counter()
    for version in (b"v4.1", b"v4.3", b"v4.4", b"v4.5"):
        for _ in range(300):
            text = good.replace(b"v4.3", version)
            for _ in range(chance.randint(1, 4)):
                at, gone, piece = chance.randrange(len(text)), chance.randint(0, 5), chance.choice(pieces)
                text = text[:at] + (bytes([piece]) if isinstance(piece, int) else piece) + text[at + gone :]
            judged[validated(text).is_valid] += 1
    assert judged == {False: 1200}, "the last record of each breaks a rule of every version"


def test_memory_does_not_grow_with_the_file() -> None:
    def peak(n: int) -> int:
        lines = (b"1\t%d\t.\tA\tC\t.\tPASS\t.\tGT\t0/%d\n" % (i, i % 2) for i in range(1, n))
        stream = io.BytesIO(HEAD + b"".join(lines))
        tracemalloc.start()
        try:
            assert validate_stream(stream, "x.vcf").is_valid
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(150_000) < 1.2 * peak(30_000)
