"""Kernels from the bytes of VCF text to allele codes.

They accept what is plainly well-formed and say so line by line; whatever they do not know is left to the reference
reader, so that a kernel never decides what a malformed line means. All text is read as little-endian machine words
(SWAR: several bytes at once in one register), through loads that need no alignment; a buffer therefore holds at least
16 bytes after its last line.
"""

# numba compiles this file and knows machine integers, which Python's types do not tell apart
# mypy: disable-error-code="untyped-decorator, return-value, no-any-return, call-arg, assignment, import-untyped"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

COMPACT, GENERAL, HANDED = 0, 1, 2
"""What became of a line: compact codes, allele codes by :func:`general_calls`, or the reference reader."""

N_FIELDS = 11
"""Columns of ``fields``: starts of the nine fixed columns and of the first sample, and the end of the line."""

_TAB, _NEWLINE, _CR, _COLON, _COMMA, _DOT, _PIPE, _SLASH = 9, 10, 13, 58, 44, 46, 124, 47
_LOW, _HIGH = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
_SPACES, _COLONS = np.uint64(0x2020202020202020), np.uint64(0x3A3A3A3A3A3A3A3A)
_ONE, _ZERO = np.uint64(1), np.uint64(0)

Bytes = npt.NDArray[np.uint8]


def _loader(bits: int, kind: Any) -> Any:
    def load(_context: Any, data: Any, _index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            byte = builder.gep(builder.bitcast(array.data, ir.IntType(8).as_pointer()), [arguments[1]])
            return builder.load(builder.bitcast(byte, ir.IntType(bits).as_pointer()), align=1)

        return kind(data, types.int64), codegen

    return intrinsic(load)


_load32: Any = _loader(32, types.uint32)
_load64: Any = _loader(64, types.uint64)


@intrinsic
def _trailing_zeros(_context: Any, _value: Any) -> Any:
    def codegen(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@intrinsic
def _ones(_context: Any, _value: Any) -> Any:
    def codegen(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), codegen


_kernel: Any = njit(cache=True, nogil=True)


@_kernel
def _next_control(buf: Bytes, at: int) -> int:
    """Return the place of the next byte below 32 (a tab, a line end, or something odd)."""
    while True:
        y = _load64(buf, at)
        found = (y - _SPACES) & ~y & _HIGH
        if found != _ZERO:
            return at + np.int64(_trailing_zeros(found) >> np.uint64(3))
        at += 8


@_kernel
def _line_end(buf: Bytes, at: int) -> int:
    """Return the place of the next newline."""
    while True:
        at = _next_control(buf, at)
        if buf[at] == _NEWLINE:
            return at
        at += 1


@_kernel
def _unphased_words(buf: Bytes, at: int, n: int, row: npt.NDArray[np.int8]) -> bool:
    """Read ``a/b`` + tab, four bytes a sample; False when any call is neither whole and biallelic nor missing."""
    bad = np.uint32(0)
    for j in range(n - 1):
        x = np.uint32(_load32(buf, at + 4 * j) ^ np.uint32(0x09302F30))
        missing = x == np.uint32(0x001E001E)
        bad |= np.uint32(0) if missing else np.uint32(x & np.uint32(0xFFFEFFFE))
        row[j] = np.int8(-9) if missing else np.int8((x + (x >> np.uint32(16))) & np.uint32(0x7F))
    x = np.uint32((_load32(buf, at + 4 * n - 4) & np.uint32(0xFFFFFF)) ^ np.uint32(0x302F30))
    missing = x == np.uint32(0x001E001E)
    bad |= np.uint32(0) if missing else np.uint32(x & np.uint32(0xFFFEFFFE))
    row[n - 1] = np.int8(-9) if missing else np.int8((x + (x >> np.uint32(16))) & np.uint32(0x7F))
    return bad == np.uint32(0)


@_kernel
def _phased_code(x: Any) -> Any:
    """Return the compact code of a phased word whose letters were turned into 0, 1 and 30."""
    a, b = x & np.uint32(1), (x >> np.uint32(16)) & np.uint32(1)
    return np.int8(np.uint32(3) + a) if a != b else np.int8(a + b)


@_kernel
def _phased_words(buf: Bytes, at: int, n: int, row: npt.NDArray[np.int8]) -> bool:
    """Read ``a|b`` + tab, four bytes a sample; see :func:`_unphased_words`."""
    bad = np.uint32(0)
    for j in range(n - 1):
        x = np.uint32(_load32(buf, at + 4 * j) ^ np.uint32(0x09307C30))
        missing = x == np.uint32(0x001E001E)
        bad |= np.uint32(0) if missing else np.uint32(x & np.uint32(0xFFFEFFFE))
        row[j] = np.int8(-9) if missing else _phased_code(x)
    x = np.uint32((_load32(buf, at + 4 * n - 4) & np.uint32(0xFFFFFF)) ^ np.uint32(0x307C30))
    missing = x == np.uint32(0x001E001E)
    bad |= np.uint32(0) if missing else np.uint32(x & np.uint32(0xFFFEFFFE))
    row[n - 1] = np.int8(-9) if missing else _phased_code(x)
    return bad == np.uint32(0)


@_kernel
def _field_end(buf: Bytes, at: int, spare: int) -> int:
    """Return the end of a sample's field, or -1 when more than ``spare`` colons come before it."""
    while True:
        y = _load64(buf, at)
        found = (y - _SPACES) & ~y & _HIGH
        v = y ^ _COLONS
        colons = ~(((v & _LOW) + _LOW) | v | _LOW)
        if found != _ZERO:
            first = found & (_ZERO - found)
            spare -= np.int64(_ones(colons & (first - _ONE)))
            return at + np.int64(_trailing_zeros(first) >> np.uint64(3)) if spare >= 0 else -1
        spare -= np.int64(_ones(colons))
        if spare < 0:
            return -1
        at += 8


@_kernel
def _is_last(buf: Bytes, at: int) -> bool:
    """Say whether a line ends here, with LF or CRLF."""
    return buf[at] == _NEWLINE or (buf[at] == _CR and buf[at + 1] == _NEWLINE)


@_kernel
def _sample_fields(buf: Bytes, at: int, n: int, n_keys: int, row: npt.NDArray[np.int8]) -> int:
    """Read calls that other fields may follow; return the line's end, or -1 for what has no compact code."""
    for j in range(n):
        w = _load32(buf, at)
        x = np.uint32((w & np.uint32(0xFFFFFF)) ^ np.uint32(0x302F30))
        if x & np.uint32(0xFF00) == np.uint32(0x5300):  # '/' ^ '|'
            x ^= np.uint32(0x5300)
            code = _phased_code(x)
        else:
            code = np.int8((x + (x >> np.uint32(16))) & np.uint32(0x7F))
        if x == np.uint32(0x001E001E):
            code = np.int8(-9)
        elif x & np.uint32(0xFFFEFFFE) != np.uint32(0):
            return -1
        row[j] = code
        after = w >> np.uint32(24)
        at += 3
        if after == np.uint32(_COLON):
            at = _field_end(buf, at, n_keys - 1)
            if at < 0:
                return -1
        if j < n - 1:
            if buf[at] != _TAB:
                return -1
            at += 1
    return at if _is_last(buf, at) else -1


@_kernel
def _same(buf: Bytes, a: int, b: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110 # numba knows loops, not all()
        if buf[a + i] != buf[b + i]:
            return False
    return True


@_kernel
def _fixed(buf: Bytes, at: int, end: int, fields: npt.NDArray[np.int32]) -> int:
    """Write the starts of the nine fixed columns and of the samples; return the OR of their bytes, or -1."""
    seen = _ZERO
    fields[0] = at
    for k in range(9):
        while True:
            y = _load64(buf, at)
            found = (y - _SPACES) & ~y & _HIGH
            if found != _ZERO:
                first = found & (_ZERO - found)
                seen |= y & (first - _ONE)
                at += np.int64(_trailing_zeros(first) >> np.uint64(3))
                break
            seen |= y
            at += 8
        if at >= end or buf[at] != _TAB:
            return -1
        at += 1
        fields[k + 1] = at
    return 1 if seen & _HIGH != _ZERO else 0


@_kernel
def _position(buf: Bytes, at: int, end: int) -> int:
    """Return a number of one to nine digits, or -1."""
    if end - at < 1 or end - at > 9:
        return -1
    value = np.int64(0)
    for i in range(at, end):
        digit = np.int64(buf[i]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@_kernel
def _n_keys(buf: Bytes, at: int, end: int, wanted: int) -> int:
    """Return the number of FORMAT keys when GT stands first and no key is GT again or ``wanted``, else 0.

    ``wanted`` is a key of two letters as a number, or 0 for none.
    """
    if end - at < 2 or buf[at] != 71 or buf[at + 1] != 84:  # GT
        return 0
    keys = 1
    i = at + 2
    if i < end and buf[i] != _COLON:
        return 0
    while i < end:
        if buf[i] == _COLON:
            keys += 1
            if i + 3 == end or (i + 3 < end and buf[i + 3] == _COLON):
                key = np.int64(buf[i + 1]) << 8 | np.int64(buf[i + 2])
                if key == 0x4754 or key == wanted:
                    return 0
        i += 1
    return keys


@_kernel
def _contig_is_fine(buf: Bytes, at: int, end: int, allowed: Bytes) -> bool:
    if end <= at or allowed[buf[at]] < 2:
        return False
    for i in range(at, end):  # noqa: SIM110 # numba knows loops, not all()
        if allowed[buf[i]] == 0:
            return False
    return True


@_kernel
def read_lines(
    buf: Bytes,
    at: int,
    end: int,
    n_samples: int,
    wanted: int,
    allowed: Bytes,
    fields: npt.NDArray[np.int32],
    positions: npt.NDArray[np.int64],
    n_alts: npt.NDArray[np.int16],
    n_keys: npt.NDArray[np.int16],
    status: npt.NDArray[np.uint8],
    compact: npt.NDArray[np.int8],
    with_calls: bool,
) -> tuple[int, int, bool]:
    """Read whole lines from ``at`` to ``end``; return (lines, compact lines, whether non-ASCII was seen).

    The number of lines is -1 when any line is not plainly well-formed in its shape and fixed columns.

    Parameters
    ----------
    buf: text; every line, the last one too, ends with LF.
    wanted: the dosage key whose records are handed over although they have GT (see :func:`_n_keys`).
    allowed: 256 entries: 2 where a contig name may start with the byte, 1 where it may go on with it.
    fields ... compact: outputs, one row per line (``compact``: one row per compact line).
    with_calls: False counts the samples' columns only.
    """
    line, n_compact, last_contig, last_length, not_ascii = 0, 0, 0, -1, False
    while at < end:
        if line >= len(status):
            return -1, 0, False
        f = fields[line]
        high = _fixed(buf, at, end, f)
        if high < 0:
            return -1, 0, False
        not_ascii |= high > 0
        length = f[1] - 1 - f[0]
        if length != last_length or not _same(buf, f[0], last_contig, length):
            if not _contig_is_fine(buf, f[0], f[1] - 1, allowed):
                return -1, 0, False
            last_contig, last_length = np.int64(f[0]), length
        positions[line] = _position(buf, f[1], f[2] - 1)
        ref, alt, after_alt = f[3], f[4], f[5]
        if positions[line] < 0 or alt - ref < 2 or after_alt - alt < 2 or (alt - ref == 2 and buf[ref] == _DOT):
            return -1, 0, False
        alts = 0
        if not (after_alt - alt == 2 and buf[alt] == _DOT):
            alts = 1
            for i in range(alt, after_alt - 1):
                alts += buf[i] == _COMMA
        n_alts[line] = min(alts, 32767)
        keys = _n_keys(buf, f[8], f[9] - 1, wanted) if alts < 9999 else 0
        n_keys[line] = min(keys, 32767)
        start = np.int64(f[9])
        stop = -1
        if with_calls and keys > 0 and alts <= 1:
            row = compact[n_compact]
            guess = start + 4 * n_samples - 1
            if keys == 1 and guess <= end and _is_last(buf, guess):
                if buf[start + 1] == _PIPE:
                    stop = guess if _phased_words(buf, start, n_samples, row) else -1
                else:
                    stop = guess if _unphased_words(buf, start, n_samples, row) else -1
            if stop < 0:
                stop = _sample_fields(buf, start, n_samples, keys, row)
        if stop >= 0:
            status[line] = COMPACT
            n_compact += 1
        else:
            status[line] = GENERAL if keys > 0 else HANDED
            tabs, stop = 1, start
            while True:
                stop = _next_control(buf, stop)
                if buf[stop] == _NEWLINE:
                    break
                tabs += buf[stop] == _TAB
                stop += 1
            if tabs != n_samples or stop > end:
                return -1, 0, False
            if buf[stop - 1] == _CR:
                stop -= 1
        f[10] = stop
        at = stop + 1 + (buf[stop] == _CR)
        line += 1
    return line, n_compact, not_ascii


@_kernel
def _general_line(
    buf: Bytes,
    at: int,
    end: int,
    n_alts: int,
    n_keys: int,
    leading_marks: bool,
    alleles: npt.NDArray[np.int16],
    phased: npt.NDArray[np.bool_],
) -> bool:
    for j in range(len(phased)):
        first, second, count, is_phased = np.int16(-1), np.int16(-2), 0, False
        starts_unphased = False
        if leading_marks and (buf[at] == _PIPE or buf[at] == _SLASH):
            starts_unphased = buf[at] == _SLASH
            at += 1
        while True:
            value = np.int16(-1)
            if buf[at] == _DOT:
                at += 1
            else:
                digits = at
                value = np.int16(0)
                while np.uint8(buf[at] - np.uint8(48)) < np.uint8(10) and at - digits < 5:
                    value = np.int16(value * 10 + (buf[at] - 48)) if at - digits < 4 else np.int16(-1)
                    at += 1
                if at == digits or value < 0 or (n_alts > 0 and value > n_alts):
                    return False
            count += 1
            if count == 1:
                first = value
            elif count == 2:
                second = value
            if buf[at] == _PIPE or buf[at] == _SLASH:
                is_phased = is_phased or (count == 1 and buf[at] == _PIPE)
                at += 1
            else:
                break
        if count > 2:
            first, second, is_phased = np.int16(-3), np.int16(-3), False
        is_phased = is_phased and first != second and not starts_unphased
        if count == 2 and not is_phased and second >= 0 and first > second:
            first, second = second, first
        alleles[j, 0], alleles[j, 1], phased[j] = first, second, is_phased
        if buf[at] == _COLON:
            at = _field_end(buf, at, n_keys - 1)
            if at < 0:
                return False
        if j < len(phased) - 1:
            if buf[at] != _TAB:
                return False
            at += 1
    return at == end


@_kernel
def general_calls(
    buf: Bytes,
    fields: npt.NDArray[np.int32],
    n_alts: npt.NDArray[np.int16],
    n_keys: npt.NDArray[np.int16],
    status: npt.NDArray[np.uint8],
    leading_marks: bool,
    alleles: npt.NDArray[np.int16],
    phased: npt.NDArray[np.bool_],
) -> int:
    """Read the lines whose status is ``GENERAL`` and hand over those it does not know; return how many are handed.

    ``alleles`` and ``phased`` hold a row for every line that is not compact. Unphased whole calls are sorted, and phase
    is kept where the two alleles differ. ``leading_marks`` lets a call start with a phasing mark
    (:mod:`genomix.io.vcf_phase_marks`).
    """
    row = handed = 0
    for line in range(len(status)):
        if status[line] == COMPACT:
            continue
        if status[line] == GENERAL:
            f = fields[line]
            known = _general_line(
                buf, f[9], f[10], n_alts[line], n_keys[line], leading_marks, alleles[row], phased[row]
            )  # fmt: skip
            if not known:
                status[line] = HANDED
        handed += status[line] == HANDED
        row += 1
    return handed
