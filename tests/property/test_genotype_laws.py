"""Laws of genotypes: writing and reading back, swapping alleles, permuting samples."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genomix.io.call_policies import apply_ploidy
from genomix.io.contigs import PloidyClass
from genomix.io.genotype_format import GenotypeBlock
from genomix.io.pgen_writer import PgenBlockWriter
from genomix.io.plink import open_pgen, read_pgen_block
from genomix.variants.hwe import hwe_exact_mid_p_many
from genomix.variants.kinship import king_robust
from genomix.variants.relatives import kin_groups, unrelated

CALLS = hnp.arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(2, 9)), elements=st.sampled_from([0, 1, 2, -9]))


@st.composite
def records(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Allele codes (n, samples, 2), phase and allele counts, missing in both places or none."""
    n, samples = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    counts = np.array(draw(st.lists(st.integers(2, 12), min_size=n, max_size=n)))
    alleles = np.empty((n, samples, 2), dtype=np.int16)
    for i, count in enumerate(counts):
        alleles[i] = draw(hnp.arrays(np.int16, (samples, 2), elements=st.integers(-1, int(count) - 1)))
    alleles[(alleles < 0).any(axis=2)] = -1
    return alleles, draw(hnp.arrays(np.bool_, (n, samples))), counts


@settings(max_examples=60, deadline=None)
@given(records())
def test_what_is_written_is_read_back(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    alleles, phased, counts = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pgen"
        writer = PgenBlockWriter(
            path, n_samples=alleles.shape[1], n_records=len(alleles), max_alleles=int(counts.max()),
            ref_known=True, phased=True, dosages=False,
        )  # fmt: skip
        writer.append(alleles, phased, counts)
        writer.close()
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uintp)
        reader = open_pgen(path, alleles.shape[1], offsets)
        block = read_pgen_block(reader, np.arange(len(alleles)), alleles.shape[1], offsets)
        reader.close()
    different = alleles[..., 0] != alleles[..., 1]
    kept_phase = phased & different
    expected = np.where(kept_phase[..., None], alleles, np.sort(alleles, axis=2))
    assert (block.alleles == expected).all()
    assert (block.phased[different] == kept_phase[different]).all()


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(np.int16, st.tuples(st.integers(1, 5), st.integers(1, 6), st.just(2)), elements=st.integers(-1, 2)),
    st.data(),
)
def test_every_call_has_one_outcome(alleles: np.ndarray, data: st.DataObject) -> None:
    n, samples, _ = alleles.shape
    haploid = data.draw(hnp.arrays(np.bool_, (n, samples)))
    alleles[haploid, 1] = -2
    classes = np.array(
        data.draw(st.lists(st.sampled_from([int(c) for c in PloidyClass]), min_size=n, max_size=n)), dtype=np.int8
    )
    half_call = data.draw(st.sampled_from(["missing", "reference"]))
    policy = data.draw(st.sampled_from(["missing", "double"]))
    block = GenotypeBlock(0, alleles, np.zeros((n, samples), bool), np.zeros(n, np.int64), np.zeros(n, bool))
    calls: Counter[str] = Counter()
    found = apply_ploidy(block, classes, half_call, policy, calls, ids=pl.Series([str(i) for i in range(samples)]))
    assert sum(calls.values()) == n * samples
    assert all(v >= 0 for v in calls.values())
    assert ((found[..., 0] < 0) == (found[..., 1] < 0)).all()
    lost = calls["missing"] + calls["half-calls set missing"] + calls["haploid calls set missing"]
    assert (found[..., 0] < 0).sum() == lost
    untouched = (alleles >= 0).all(axis=2)
    assert (found[untouched] == alleles[untouched]).all()


@settings(max_examples=60, deadline=None)
@given(CALLS, st.randoms(use_true_random=False))
def test_kinship_follows_a_permutation_of_samples_and_ignores_allele_names(calls: np.ndarray, random) -> None:
    n = calls.shape[1]
    order = list(range(n))
    random.shuffle(order)
    found = {(a, b): k for a, b, k in king_robust(calls, minimum=-99).iter_rows()}
    moved = king_robust(calls[:, order], minimum=-99, tile=3)
    assert {tuple(sorted((order[a], order[b]))): k for a, b, k in moved.iter_rows()} == found
    flipped = np.where(calls >= 0, 2 - calls, calls).astype(np.int8)
    assert {(a, b): k for a, b, k in king_robust(flipped, minimum=-99).iter_rows()} == found


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.data())
def test_groups_hold_every_close_pair_and_unrelated_none(n: int, data: st.DataObject) -> None:
    edges = data.draw(
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from([0.1, 0.2, 0.3])))
    )
    rows = [(min(a, b), max(a, b), k) for a, b, k in edges if a != b]
    pairs = pl.DataFrame(rows, schema={"sample_a": pl.Int64, "sample_b": pl.Int64, "kinship": pl.Float64}, orient="row")
    groups, taken = kin_groups(n, pairs), unrelated(n, pairs)
    for a, b, k in rows:
        assert k < 0.177 or groups[a] == groups[b]
        assert k < 0.177 or not (taken[a] and taken[b])
    assert all(groups[g] == g for g in groups)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_mid_p_is_a_probability_and_symmetric(het: int, one: int, other: int) -> None:
    p = hwe_exact_mid_p_many([het, het], [one, other], [other, one])
    assert p[0] == p[1]
    assert 0 <= p[0] <= 1
