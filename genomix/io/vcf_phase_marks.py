"""The phasing mark before a call's first allele: ``/0/1``, ``|1|1``, ``/1``.

VCF has it from version 4.4 on (section 1.6.2, GT, https://samtools.github.io/hts-specs/VCFv4.4.pdf). Each mark says
whether the allele after it is phased; where the first one is left out it is ``/`` if any other is, else ``|``. A call
is phased here when all its marks are ``|``: ``|0|1`` is ``0|1``, and ``/0|1`` is ``0/1``. The htslib in use knows no
such mark, and is given each call without it.
"""

from __future__ import annotations

import re

FIRST_VERSION = (4, 4)
"""The first version of VCF with the mark."""

_PERHAPS = re.compile(rb"(?:^|[\t:])[/|][0-9.]")
_MARKED = re.compile(rb"[/|][0-9.]")


def without_marks(samples: bytes, place: int) -> bytes:
    """Return the samples' columns of a line with each call's leading mark taken away and the call's meaning kept.

    Parameters
    ----------
    place: where GT stands among the keys of FORMAT.

    >>> without_marks(b"/0|1:3\\t|1|0:4\\t/1:5", 0)
    b'0/1:3\\t1|0:4\\t1:5'
    """
    if _PERHAPS.search(samples) is None:
        return samples
    return b"\t".join(_without_mark(sample, place) for sample in samples.split(b"\t"))


def _without_mark(sample: bytes, place: int) -> bytes:
    values = sample.split(b":")
    if place >= len(values) or _MARKED.match(values[place]) is None:
        return sample
    call = values[place][1:]
    values[place] = call.replace(b"|", b"/") if values[place].startswith(b"/") else call
    return b":".join(values)


def first_marked(samples: bytes, place: int) -> int | None:
    """Return the number of the first sample whose call has a leading mark, from 0, or None."""
    for number, sample in enumerate(samples.split(b"\t")):
        call = sample.split(b":")[place : place + 1]
        if call and _MARKED.match(call[0]):
            return number
    return None
