"""Passes over window entries: what training rows hold of each column, and entries into CSR."""

# numba compiles this file and knows machine integers, which Python's types do not tell apart
# mypy: disable-error-code="untyped-decorator, return-value, no-any-return, call-arg, assignment, import-untyped"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

_kernel: Any = njit(cache=True, nogil=True)


@_kernel
def column_figures(
    row: npt.NDArray[np.int64], code: npt.NDArray[np.int32], window: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32], subject: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_],
    low: npt.NDArray[np.float32], high: npt.NDArray[np.float32], n: npt.NDArray[np.int64],
    last_subject: npt.NDArray[np.int64], n_subjects: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    """Add entries to the figures, in place.

    Parameters
    ----------
    row, code, window, values: entries in the order of rows; values (aggregations, entries). subject: of each row.
    counted: which rows count. low, high, n: (codes, windows, aggregations) of values that are not NaN. last_subject:
    (codes,) scratch, -1 at first. n_subjects: (codes,) different subjects with a value; those of one subject's rows
    must follow each other.
    """
    for e in range(len(row)):
        r = row[e]
        if not counted[r]:
            continue
        c, w, any_value = code[e], window[e], False
        for a in range(values.shape[0]):
            v = values[a, e]
            if v == v:
                any_value = True
                n[c, w, a] += 1
                low[c, w, a] = min(low[c, w, a], v)
                high[c, w, a] = max(high[c, w, a], v)
        if any_value and last_subject[c] != subject[r]:
            last_subject[c] = subject[r]
            n_subjects[c] += 1


@_kernel
def fill_rows(
    row: npt.NDArray[np.int64], code: npt.NDArray[np.int32], window: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32], place: npt.NDArray[np.int32],
    static_row: npt.NDArray[np.int64], static_column: npt.NDArray[np.int32], static_value: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], indices: npt.NDArray[np.int32],
    data: npt.NDArray[np.float32],
) -> int:  # fmt: skip
    """Write the entries of ``rows`` (ascending) one after the other: dated ones, then static ones; return how many.

    Values that have a place are written; ``sizes`` becomes how many each row has. Entries and static entries are in
    the order of rows, and within a row of columns.
    """
    written, e, s = 0, 0, 0
    for k in range(len(rows)):
        r, before = rows[k], written
        while e < len(row) and row[e] == r:
            for a in range(values.shape[0]):
                column = place[code[e], window[e], a]
                v = values[a, e]
                if column >= 0 and v == v:
                    indices[written], data[written] = column, v
                    written += 1
            e += 1
        while s < len(static_row) and static_row[s] == r:
            indices[written], data[written] = static_column[s], static_value[s]
            written += 1
            s += 1
        sizes[k] = written - before
    return written


@_kernel
def put_rows(
    rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], held: npt.NDArray[np.uint32],
    indptr: npt.NDArray[np.int64], first: int, out: npt.NDArray[np.uint32],
) -> None:  # fmt: skip
    """Put rows, held one after the other at ``offsets``, into ``out``, which begins with row ``first``."""
    for k in range(len(rows)):
        to = indptr[rows[k]] - indptr[first]
        for i in range(offsets[k], offsets[k + 1]):
            out[to] = held[i]
            to += 1


@_kernel
def strengths(
    indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], data: npt.NDArray[np.float32],
    zero: npt.NDArray[np.bool_], label: npt.NDArray[np.float64], binary: bool, fewest: int,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Return each sparse column's strength alone: max(AUROC, 1 - AUROC) or |Pearson r|, of value or of presence.

    Parameters
    ----------
    indptr, indices, data: CSC over the rows of ``label``. zero: whether what is absent is 0 (else missing).
    fewest: rows (of each class) below which a strength is 0.
    """
    n_rows, total = len(label), label.sum()
    found = np.zeros(len(indptr) - 1)
    for j in range(len(found)):
        a, b = indptr[j], indptr[j + 1]
        y = label[indices[a:b]]
        present = _two_values(b - a, y.sum(), n_rows, total, binary, fewest, label, y)
        n_absent, y_absent = (n_rows - (b - a), total - y.sum()) if zero[j] else (0, 0.0)
        value = (
            _auroc(data[a:b], y, n_absent, y_absent, fewest)
            if binary
            else _correlation(data[a:b], y, n_absent, y_absent, label if zero[j] else y, fewest)
        )
        found[j] = max(value, present)
    return found


@_kernel
def _two_values(
    n: int, y: float, n_rows: int, total: float, binary: bool, fewest: int, label: npt.NDArray[np.float64],
    own: npt.NDArray[np.float64],
) -> float:  # fmt: skip
    """Return the strength of being present."""
    if n == 0 or n == n_rows or n_rows < fewest:
        return 0.0
    if binary:
        if min(total, n_rows - total) < fewest:
            return 0.0
        sensitivity, false_positive = y / total, (n - y) / (n_rows - total)
        auroc = 0.5 + (sensitivity - false_positive) / 2
        return max(auroc, 1 - auroc)
    mean, variance = label.mean(), label.var()
    share = n / n_rows
    if variance == 0:
        return 0.0
    return abs((own.mean() - mean) * share / np.sqrt(share * (1 - share) * variance))


@_kernel
def _auroc(
    values: npt.NDArray[np.float32], y: npt.NDArray[np.float64], n_absent: int, y_absent: float, fewest: int
) -> float:
    n = len(values) + n_absent
    positive = y.sum() + y_absent
    if n < fewest or min(positive, n - positive) < fewest:
        return 0.0
    order = np.argsort(values)
    below, ranks, i, absent_done = 0.0, 0.0, 0, n_absent == 0
    distinct = 0
    while i < len(values) or not absent_done:
        ties, of_ones = 0.0, 0.0
        at = 0.0 if i == len(values) else float(values[order[i]])
        if not absent_done and (i == len(values) or at >= 0.0):
            at, ties, of_ones, absent_done = 0.0, float(n_absent), y_absent, True
        while i < len(values) and values[order[i]] == at:
            ties += 1
            of_ones += y[order[i]]
            i += 1
        ranks += of_ones * (below + (ties + 1) / 2)
        below += ties
        distinct += 1
    if distinct < 2:
        return 0.0
    auroc = (ranks - positive * (positive + 1) / 2) / (positive * (n - positive))
    return max(auroc, 1 - auroc)


@_kernel
def _correlation(
    values: npt.NDArray[np.float32], y: npt.NDArray[np.float64], n_absent: int, y_absent: float,
    whole: npt.NDArray[np.float64], fewest: int,
) -> float:  # fmt: skip
    n = len(values) + n_absent
    if n < fewest:
        return 0.0
    mean_y, mean_x = whole.mean(), 0.0
    for v in values:
        mean_x += v
    mean_x /= n
    xx, xy = n_absent * mean_x * mean_x, -mean_x * (y_absent - n_absent * mean_y)
    for i in range(len(values)):
        dx = values[i] - mean_x
        xx += dx * dx
        xy += dx * (y[i] - mean_y)
    yy = whole.var() * n
    return abs(xy / np.sqrt(xx * yy)) if xx > 0 and yy > 0 else 0.0
