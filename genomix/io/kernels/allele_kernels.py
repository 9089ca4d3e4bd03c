"""Kernels of left-alignment over flat byte arrays; imported where they run, since numba takes half a second to load.

``shift_plain`` and ``write_plain`` are the same code as plain Python.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]


def shift_plain(
    text: _Bytes, starts: _Ints, sizes: _Ints, first: _Ints, left: _Bytes, before: _Ints, trim: _Ints, begin: _Ints
) -> None:
    """Find how far each record's alleles are trimmed; see Tan et al. 2015, doi:10.1093/bioinformatics/btv112.

    Each allele is read as if all bases of the contig before it stood in front: its base ``k`` is ``text`` for
    ``k >= 0`` and ``left`` for ``k < 0``.

    Parameters
    ----------
    text: all alleles one after another. starts, sizes: per allele, its place and length in ``text``.
    first: (n_records + 1,) number of each record's first allele, REF; its ALTs follow.
    left: (n_records, width) bases before each record, the nearest last; those before the contig's start are unused.
    before: (n_records,) number of bases that the contig has before each record.
    trim: out, bases to take off each allele's end; -1 where ``left`` is too narrow to tell.
    begin: out, first base kept, relative to the record's position.
    """
    width = left.shape[1]
    for record in range(len(before)):
        ref, stop = first[record], first[record + 1]
        if stop == ref + 1:  # no ALT: what bcftools keeps of it is one base
            trim[record], begin[record] = sizes[ref] - 1, 0
            continue
        shortest = sizes[ref]
        for allele in range(ref + 1, stop):
            shortest = min(shortest, sizes[allele])
        taken = 0
        while True:
            k = shortest - taken - 1  # what the shortest allele would lose next
            if k < -width:
                taken = -1
                break
            if k + before[record] < 1:
                break  # it must keep one base
            last = sizes[ref] - taken - 1
            base = text[starts[ref] + last] if last >= 0 else left[record, width + last]
            same = True
            for allele in range(ref + 1, stop):
                last = sizes[allele] - taken - 1
                other = text[starts[allele] + last] if last >= 0 else left[record, width + last]
                if other != base:
                    same = False
                    break
            if not same:
                break
            taken += 1
        trim[record] = taken
        if taken < 0:
            continue
        limit = shortest - taken - 1
        kept = min(limit, 0)
        while kept < limit:
            same = True
            for allele in range(ref + 1, stop):
                if text[starts[allele] + kept] != text[starts[ref] + kept]:
                    same = False
                    break
            if not same:
                break
            kept += 1
        begin[record] = kept


def write_plain(
    text: _Bytes, starts: _Ints, sizes: _Ints, first: _Ints, left: _Bytes, trim: _Ints, begin: _Ints,
    places: _Ints, out: _Bytes,
) -> None:  # fmt: skip
    """Write each allele of each record as trimmed, at ``places`` (per allele) of ``out``."""
    width = left.shape[1]
    for record in range(len(trim)):
        for allele in range(first[record], first[record + 1]):
            place = places[allele]
            for k in range(begin[record], sizes[allele] - trim[record]):
                out[place] = text[starts[allele] + k] if k >= 0 else left[record, width + k]
                place += 1


shift: Any = numba.njit(cache=True, nogil=True)(shift_plain)
write: Any = numba.njit(cache=True, nogil=True)(write_plain)
