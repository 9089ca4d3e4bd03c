"""Which bins of a .tbi or .csi file a set of regions needs, against the specification's loop over one region."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomix.io.regions import TO_THE_END, merged_regions
from genomix.io.vcf_index import VariantIndex, chunks_of


def bins_of(start: int, end: int, min_shift: int, depth: int) -> set[int]:
    """Return the bins that may hold records of [start, end), level by level (CSIv1, section 4)."""
    longest = 1 << (min_shift + 3 * depth)
    last = min(end, longest) - 1
    found, first_of_level = set(), 0
    for level in range(depth + 1):
        shift = min_shift + 3 * (depth - level)
        found |= set(range(first_of_level + (start >> shift), first_of_level + (last >> shift) + 1))
        first_of_level += 8**level
    return found


@pytest.mark.parametrize(("min_shift", "depth"), [(14, 5), (10, 2), (3, 3)])
def test_bins_equal_the_specifications_loop(min_shift: int, depth: int) -> None:
    rng = np.random.default_rng(depth)
    n_bins = (8 ** (depth + 1) - 1) // 7
    longest = 1 << (min_shift + 3 * depth)
    for n_regions in (1, 2, 30, 300):
        bins = {int(b): [(int(b) << 20, (int(b) << 20) + 1)] for b in rng.choice(n_bins, min(n_bins, 400), False)}
        starts = rng.integers(0, longest, n_regions)
        ends = starts + rng.integers(1, max(2, longest // 50), n_regions)
        ends[0] = TO_THE_END if n_regions == 2 else ends[0]
        intervals = pl.DataFrame({"contig": ["chr1"] * n_regions, "start": starts, "end": ends})
        index = VariantIndex(min_shift, depth, {"1": bins, "2": {0: [(7, 9)]}})
        needed = set().union(*(bins_of(int(s), int(e), min_shift, depth) for s, e in zip(starts, ends, strict=True)))
        expected = sorted((b << 20, (b << 20) + 1) for b in needed & set(bins))
        assert chunks_of(index, merged_regions(intervals)) == expected


def test_regions_of_other_contigs_need_nothing() -> None:
    index = VariantIndex(14, 5, {"chr1": {0: [(1, 2)]}})
    intervals = pl.DataFrame({"contig": ["3"], "start": [0], "end": [9]})
    assert chunks_of(index, merged_regions(intervals)) == []
