"""Kernels for the fixed columns of VCF lines: kept as text, judged line by line, and written as .pvar lines.

Judging says only whether a line is plain; what a line that is not plain means is left to the Polars forms of the same
rules (:mod:`genomix.io.load_steps`).
"""

# numba compiles this file and knows machine integers, which Python's types do not tell apart
# mypy: disable-error-code="untyped-decorator, return-value, no-any-return, call-arg, assignment, import-untyped"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

N_KEPT = 6
"""Columns that are kept as text: ID, REF, ALT, QUAL, FILTER, INFO."""

HAS_QUAL, HAS_FILTER, HAS_INFO, NOT_PLAIN = 1, 2, 4, 8
"""Bits of :func:`copy_columns`: some line states a QUAL, a FILTER other than PASS, an INFO entry; some line is odd."""

_TAB, _NEWLINE, _SPACE, _COMMA, _DOT, _SEMICOLON, _EQUALS, _ZERO, _NINE = 9, 10, 32, 44, 46, 59, 61, 48, 57

Bytes = npt.NDArray[np.uint8]
Ends = npt.NDArray[np.int32]

_kernel: Any = njit(cache=True, nogil=True)


@_kernel
def _same(buf: Bytes, a: int, b: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110 # numba knows loops, not all()
        if buf[a + i] != buf[b + i]:
            return False
    return True


@_kernel
def _alleles_are_plain(buf: Bytes, ref: int, ref_end: int, alt: int, alt_end: int, is_base: Bytes) -> bool:
    """Say whether REF and all ALTs are upper-case bases, and no allele is there twice."""
    if ref_end <= ref:
        return False
    for i in range(ref, ref_end):
        if is_base[buf[i]] == 0:
            return False
    start = alt
    while True:
        end = start
        while end < alt_end and is_base[buf[end]] != 0:
            end += 1
        if end == start or (end < alt_end and buf[end] != _COMMA):
            return False
        length = end - start
        if length == ref_end - ref and _same(buf, ref, start, length):
            return False
        before = alt
        while before < start:
            stop = before
            while buf[stop] != _COMMA:
                stop += 1
            if stop - before == length and _same(buf, before, start, length):
                return False
            before = stop + 1
        if end == alt_end:
            return True
        start = end + 1


@_kernel
def _is_visible(buf: Bytes, at: int, end: int) -> bool:
    """Say whether there is a byte, and none is white space or beyond ASCII."""
    if end <= at:
        return False
    for i in range(at, end):  # noqa: SIM110 # numba knows loops, not all()
        if buf[i] <= _SPACE or buf[i] >= 127:
            return False
    return True


@_kernel
def _is_plain_number(buf: Bytes, at: int, end: int) -> bool:
    """Say whether there is ``.``, or digits with at most one point and a digit before it."""
    if end - at == 1 and buf[at] == _DOT:
        return True
    if end <= at or buf[at] == _DOT:
        return False
    points = 0
    for i in range(at, end):
        if buf[i] == _DOT:
            points += 1
        elif buf[i] < _ZERO or buf[i] > _NINE:
            return False
    return points <= 1


@_kernel
def _copy_info(buf: Bytes, at: int, end: int, keys: Bytes, key_ends: npt.NDArray[np.int64], out: Bytes, to: int) -> int:
    """Copy the INFO entries whose key is listed, ``.`` where there is none; return the end."""
    begun = to
    while at < end:
        key_end = at
        while key_end < end and buf[key_end] != _SEMICOLON and buf[key_end] != _EQUALS:
            key_end += 1
        stop = key_end
        while stop < end and buf[stop] != _SEMICOLON:
            stop += 1
        key_start = 0
        for k in range(len(key_ends)):
            length = key_ends[k] - key_start
            if length == key_end - at:
                same = True
                for i in range(length):
                    same = same and keys[key_start + i] == buf[at + i]
                if same:
                    if to > begun:
                        out[to] = _SEMICOLON
                        to += 1
                    for i in range(stop - at):
                        out[to + i] = buf[at + i]
                    to += stop - at
                    break
            key_start = key_ends[k]
        at = stop + 1
    if to == begun:
        out[to] = _DOT
        to += 1
    return to


@_kernel
def copy_columns(
    buf: Bytes,
    fields: npt.NDArray[np.int32],
    keys: Bytes,
    key_ends: npt.NDArray[np.int64],
    all_info: bool,
    is_base: Bytes,
    text: Bytes,
    ends: Ends,
    run_starts: npt.NDArray[np.int64],
) -> tuple[int, int, int]:
    """Copy ID to INFO of every line; return (bits, lines whose FILTER is neither PASS nor absent, runs of a contig).

    Parameters
    ----------
    fields: starts of the nine fixed columns, as ``vcf_kernels.read_lines`` found them.
    keys, key_ends: INFO keys to keep, one after the other; ``all_info`` keeps INFO as it stands.
    is_base: 256 entries, 1 for an upper-case base.
    text: output; columns end in a tab, lines in LF. It has room for all lines and two bytes more for each.
    ends: output (n, 6), where each kept column ends in ``text``.
    run_starts: output, the first line of each run of lines with one contig.
    """
    to, bits, n_filtered, n_runs = 0, 0, 0, 0
    for line in range(len(fields)):
        f = fields[line]
        if line == 0 or (
            fields[line - 1, 1] - fields[line - 1, 0] != f[1] - f[0]
            or not _same(buf, f[0], fields[line - 1, 0], f[1] - f[0])
        ):
            run_starts[n_runs] = line
            n_runs += 1
        shift = to - f[2]
        for i in range(f[2], f[7]):
            text[shift + i] = buf[i]
        for k in range(5):
            ends[line, k] = f[k + 3] - 1 + shift
        to = f[7] + shift
        if all_info:
            for i in range(f[7], f[8] - 1):
                text[to] = buf[i]
                to += 1
        else:
            to = _copy_info(buf, f[7], f[8] - 1, keys, key_ends, text, to)
        ends[line, 5] = to
        text[to] = _NEWLINE
        to += 1
        length = f[6] - 1 - f[5]
        if not (length == 1 and buf[f[5]] == _DOT):
            bits |= HAS_QUAL
        length = f[7] - 1 - f[6]
        passed = length == 4 and buf[f[6]] == 80 and buf[f[6] + 1] == 65 and buf[f[6] + 2] == 83 and buf[f[6] + 3] == 83
        if not (passed or (length == 1 and buf[f[6]] == _DOT)):
            bits |= HAS_FILTER
            n_filtered += 1
        length = ends[line, 5] - ends[line, 4] - 1
        if not (length == 1 and text[ends[line, 4] + 1] == _DOT):
            bits |= HAS_INFO
        if bits & NOT_PLAIN == 0 and not (
            _is_visible(buf, f[2], f[3] - 1)
            and _alleles_are_plain(buf, f[3], f[4] - 1, f[4], f[5] - 1, is_base)
            and _is_plain_number(buf, f[5], f[6] - 1)
            and _is_visible(buf, f[6], f[7] - 1)
        ):
            bits |= NOT_PLAIN
    return bits, n_filtered, n_runs


@_kernel
def gather(text: Bytes, ends: Ends, column: int, offsets: npt.NDArray[np.int64], out: Bytes) -> None:
    """Copy one kept column of every line into ``out``, and write where each value starts and ends."""
    to = 0
    offsets[0] = 0
    for line in range(len(ends)):
        start = ends[line, column - 1] + 1 if column > 0 else (ends[line - 1, 5] + 1 if line > 0 else 0)
        for i in range(start, ends[line, column]):
            out[to] = text[i]
            to += 1
        offsets[line + 1] = to


@_kernel
def _put_number(value: int, out: Bytes, to: int) -> int:
    digits, left = 1, value // 10
    while left > 0:
        digits += 1
        left //= 10
    for i in range(digits):
        out[to + digits - 1 - i] = _ZERO + value % 10
        value //= 10
    return to + digits


@_kernel
def pvar_lines(
    text: Bytes,
    ends: Ends,
    positions: npt.NDArray[np.int64],
    run_starts: npt.NDArray[np.int64],
    names: Bytes,
    name_ends: npt.NDArray[np.int64],
    columns: int,
    out: Bytes,
) -> int:
    """Write .pvar lines and return their length; a line whose ID is ``.`` is named by its place and alleles.

    Parameters
    ----------
    text, ends: as :func:`copy_columns` leaves them; ``positions`` (n,), at least 0.
    run_starts, names, name_ends: first line of each run of one contig, and the names to write, one after the other.
    columns: which of QUAL, FILTER and INFO to write (``HAS_QUAL`` and so on).
    out: room for the longest form: two names, two positions, two times the alleles and every column.
    """
    to, run, at = 0, -1, 0
    name, name_end = 0, 0
    for line in range(len(ends)):
        if run + 1 < len(run_starts) and line == run_starts[run + 1]:
            run += 1
            name, name_end = name_ends[run - 1] if run > 0 else 0, name_ends[run]
        e = ends[line]
        begun = to
        for i in range(name, name_end):
            out[to] = names[i]
            to += 1
        out[to] = _TAB
        middle = to + 1
        to = _put_number(positions[line], out, middle)
        place_end = to
        out[to] = _TAB
        to += 1
        if e[0] - at == 1 and text[at] == _DOT:
            for i in range(begun, place_end):
                out[to] = out[i] if i != middle - 1 else 58
                to += 1
            for i in range(e[0], e[2]):
                out[to] = text[i] if text[i] != _TAB else 58
                to += 1
        else:
            for i in range(at, e[0]):
                out[to] = text[i]
                to += 1
        for i in range(e[0], e[2]):
            out[to] = text[i]
            to += 1
        for k in range(3):
            if columns & (1 << k):
                for i in range(e[k + 2], e[k + 3]):
                    out[to] = text[i]
                    to += 1
        out[to] = _NEWLINE
        to += 1
        at = e[5] + 1
    return to
