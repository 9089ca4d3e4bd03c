"""One pass over each person's records for all codes, windows and aggregations at once.

The records of a person are taken in the order of time and, at one time, of value. Each adds to the accumulators of its
(code, window); the accumulators of a row that nothing touched are never looked at. Standard deviation and slope need a
second pass over the same records, as they are sums of deviations from a mean.
"""

# numba compiles this file and knows machine integers, which Python's types do not tell apart
# mypy: disable-error-code="untyped-decorator, return-value, no-any-return, call-arg, assignment, import-untyped"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

# Places of the integer accumulators and of the floating ones.
N, FIRST_LAG, LAST_LAG, LAST_DAY, DAYS, KNOWN, N_VALUES, VALUES_KNOWN, EARLIEST, OUTSIDE, STAMP, SIZE_I = range(12)
SUM, LOW, HIGH, FIRST, LAST, MEAN, MEAN_DAYS, VV, XX, XV, SIZE_F = range(11)

COUNTED, VALUED, SPREAD = 1, 2, 4
"""Bits of ``wanted``: counts, aggregates of values, and std or slope."""

LONG_RUN = 64
DAY_US = 86_400_000_000.0
_DAY_US = 86_400_000_000

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_kernel: Any = njit(cache=True, nogil=True)


@_kernel
def order_of(begin: int, end: int, time: Ints, value: Floats, order: Ints) -> None:
    """Write the record numbers begin..end-1, in order of time already, into ``order`` so that ties are by value."""
    a = begin
    while a < end:
        b = a + 1
        while b < end and time[b] == time[a]:
            b += 1
        if b - a > LONG_RUN:
            by_value = np.argsort(value[a:b], kind="mergesort")
            for k in range(b - a):
                order[a - begin + k] = a + by_value[k]
        else:
            for k in range(a, b):
                v = value[k]
                at = k - begin
                if v == v:  # not NaN, which stays last
                    while at > a - begin:
                        before = value[order[at - 1]]
                        if before <= v:
                            break
                        order[at] = order[at - 1]
                        at -= 1
                order[at] = k
        a = b


@_kernel
def aggregate(
    begins: Ints, ends: Ints, prediction: Ints, limits: Ints, least: int,
    time: Ints, known: Ints, code: npt.NDArray[np.int32], value: Floats,
    low: Floats, high: Floats, ranged: npt.NDArray[np.bool_],
    n_codes: int, kinds: Ints, wanted: int,
    out_row: npt.NDArray[np.int32], out_code: npt.NDArray[np.int32], out_window: npt.NDArray[np.int32],
    out: npt.NDArray[np.float32], least_known: Ints, least_values_known: Ints, order: Ints,
) -> int:  # fmt: skip
    """Aggregate for every row; return how many (row, code, window) were written.

    Parameters
    ----------
    begins, ends: each row's records. prediction: us. limits: (rows, windows) us. least: smallest lag that counts.
    time, known: us, in order of person and time. value: NaN for none. low, high: bounds by code, NaN for none.
    kinds: wanted aggregations by number (see ``_written``). wanted: bits. least_known, least_values_known: (codes,
    windows), lowered in place. order: scratch, as long as the longest person.
    """
    n_windows = limits.shape[1]
    ints = np.zeros((n_codes * n_windows, SIZE_I), np.int64)
    floats = np.zeros((n_codes * n_windows, SIZE_F), np.float64)
    for slot in range(n_codes * n_windows):
        ints[slot, STAMP] = -1
    seen = np.full(n_codes, -1, np.int64)
    touched = np.empty(n_codes, np.int32)
    written = 0
    ordered_begin, ordered_end = -1, -1
    for row in range(len(begins)):
        begin, end, at = begins[row], ends[row], prediction[row]
        if begin == end:
            continue
        if begin != ordered_begin or end != ordered_end:
            order_of(begin, end, time, value, order)
            ordered_begin, ordered_end = begin, end
        n_touched = 0
        for k in range(end - begin):
            e = order[k]
            lag = at - time[e]
            if lag < least:
                break
            behind = at - known[e]
            if behind < least:
                continue
            c, v = code[e], value[e]
            day = time[e] // _DAY_US
            for w in range(n_windows):
                if lag >= limits[row, w]:
                    continue
                slot = c * n_windows + w
                i, f = ints[slot], floats[slot]
                if i[STAMP] != row:
                    i[STAMP] = row
                    i[N], i[FIRST_LAG], i[LAST_DAY], i[DAYS] = 0, lag, day, 1
                    i[KNOWN], i[N_VALUES], i[OUTSIDE] = behind, 0, 0
                    if seen[c] != row:
                        seen[c] = row
                        touched[n_touched] = c
                        n_touched += 1
                i[N] += 1
                i[LAST_LAG] = lag
                if day != i[LAST_DAY]:
                    i[DAYS] += 1
                    i[LAST_DAY] = day
                i[KNOWN] = min(i[KNOWN], behind)
                if wanted & VALUED and v == v:
                    if i[N_VALUES] == 0:
                        i[VALUES_KNOWN], i[EARLIEST] = behind, lag
                        f[SUM], f[LOW], f[HIGH], f[FIRST] = 0.0, v, v, v
                        f[MEAN_DAYS] = 0.0
                    i[N_VALUES] += 1
                    i[VALUES_KNOWN] = min(i[VALUES_KNOWN], behind)
                    f[SUM] += v
                    f[LOW] = min(f[LOW], v)
                    f[HIGH] = max(f[HIGH], v)
                    f[LAST] = v
                    if wanted & SPREAD:
                        f[MEAN_DAYS] += (i[EARLIEST] - lag) / DAY_US
                    if ranged[c] and (v < low[c] or v > high[c]):
                        i[OUTSIDE] += 1
        codes = np.sort(touched[:n_touched])
        if wanted & SPREAD:
            _spread(row, begin, end, at, least, limits, time, known, code, value, order, codes, ints, floats)
        for c in codes:
            for w in range(n_windows):
                slot = c * n_windows + w
                i, f = ints[slot], floats[slot]
                if i[STAMP] != row:
                    continue
                out_row[written], out_code[written], out_window[written] = row, c, w
                least_known[c, w] = min(least_known[c, w], i[KNOWN])
                if wanted & VALUED and i[N_VALUES]:
                    least_values_known[c, w] = min(least_values_known[c, w], i[VALUES_KNOWN])
                for k in range(len(kinds)):
                    out[k, written] = _written(kinds[k], i, f, ranged[c])
                written += 1
    return written


@_kernel
def _spread(
    row: int, begin: int, end: int, at: int, least: int, limits: Ints, time: Ints, known: Ints,
    code: npt.NDArray[np.int32], value: Floats, order: Ints, codes: npt.NDArray[np.int32], ints: Ints, floats: Floats,
) -> None:  # fmt: skip
    """Sum squared deviations of one row's values and of their days."""
    n_windows = limits.shape[1]
    for c in codes:
        for w in range(n_windows):
            i, f = ints[c * n_windows + w], floats[c * n_windows + w]
            if i[STAMP] == row and i[N_VALUES]:
                f[MEAN] = f[SUM] / i[N_VALUES]
                f[MEAN_DAYS] /= i[N_VALUES]
                f[VV], f[XX], f[XV] = 0.0, 0.0, 0.0
    for k in range(end - begin):
        e = order[k]
        lag = at - time[e]
        if lag < least:
            break
        v = value[e]
        if v != v or at - known[e] < least:
            continue
        for w in range(n_windows):
            if lag >= limits[row, w]:
                continue
            i, f = ints[code[e] * n_windows + w], floats[code[e] * n_windows + w]
            dv = v - f[MEAN]
            dx = (i[EARLIEST] - lag) / DAY_US - f[MEAN_DAYS]
            f[VV] += dv * dv
            f[XX] += dx * dx
            f[XV] += dx * dv


@_kernel
def _written(kind: int, i: Ints, f: Floats, ranged: bool) -> float:
    """Return one aggregate by the number of its kind in ``AGGREGATIONS``; NaN for none."""
    n = i[N_VALUES]
    if kind == 0:
        return float(i[N])
    if kind == 1:
        return 1.0
    if kind == 2:
        return float(i[DAYS])
    if kind == 3:
        return i[FIRST_LAG] / DAY_US
    if kind == 4:
        return i[LAST_LAG] / DAY_US
    if n == 0:
        return np.nan
    if kind == 5:
        return f[FIRST]
    if kind == 6:
        return f[LAST]
    if kind == 7:
        return f[LOW]
    if kind == 8:
        return f[HIGH]
    if kind == 9:
        return f[SUM] / n
    if kind == 10:
        return f[SUM]
    if kind == 11:
        return np.sqrt(f[VV] / (n - 1)) if n > 1 else np.nan
    if kind == 12:
        return f[XV] / f[XX] if f[XX] > 0 else np.nan
    if kind == 13:
        return 1.0
    return float(i[OUTSIDE]) if ranged else np.nan
