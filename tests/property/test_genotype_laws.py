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

from genomix.io.call_policies import CALL_NOTES, CALL_OUTCOMES, Policies, compacted, finish_block
from genomix.io.contigs import PloidyClass
from genomix.io.genotype_format import RECORDS_SCHEMA, GenotypeBlock, general_block
from genomix.io.pgen_writer import PgenBlockWriter
from genomix.io.plink import open_pgen_records, read_pgen_block
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


def fixed_columns(counts: np.ndarray) -> pl.DataFrame:
    """Records of which only the number of ALTs matters."""
    n = len(counts)
    alts = [",".join("G" * (k + 1) for k in range(int(c) - 1)) for c in counts]
    values = {"position": np.arange(1, n + 1), "alt": alts}
    return pl.DataFrame({k: values.get(k, ["A"] * n) for k in RECORDS_SCHEMA}, schema=RECORDS_SCHEMA)


@settings(max_examples=60, deadline=None)
@given(records())
def test_any_calls_survive_a_pgen(given_records) -> None:
    alleles, phased, counts = given_records
    n, samples, _ = alleles.shape
    columns = fixed_columns(counts)
    finished = compacted(general_block(np.arange(n), columns, alleles, phased))
    assert finished.is_compact.tolist() == (counts == 2).tolist()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pgen"
        writer = PgenBlockWriter(
            path, n_samples=samples, n_records=n, max_alleles=int(counts.max()), ref_known=True, phased=True,
            dosages=False,
        )  # fmt: skip
        writer.append(finished)
        writer.close()
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uintp)
        pgen = open_pgen_records(path, samples, offsets)
        block = read_pgen_block(pgen, np.arange(n), columns)
        pgen.reader.close()
    assert block.is_compact.tolist() == (counts == 2).tolist()
    block = block.general()
    assert np.array_equal(np.sort(block.alleles, axis=2), np.sort(alleles, axis=2))
    het = (alleles[..., 0] != alleles[..., 1]) & phased
    assert np.array_equal(block.alleles[het], alleles[het])
    assert block.phased[het].all()
    assert not block.phased[(alleles[..., 0] != alleles[..., 1]) & ~phased].any()


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(np.int16, st.tuples(st.integers(1, 5), st.integers(1, 6), st.just(2)), elements=st.integers(-1, 3)),
    st.data(),
)
def test_every_call_has_one_outcome(alleles: np.ndarray, data: st.DataObject) -> None:
    n, samples, _ = alleles.shape
    alleles[data.draw(hnp.arrays(np.bool_, (n, samples))), 1] = -2
    over = data.draw(hnp.arrays(np.bool_, (n, samples), fill=st.just(False)))
    alleles[over] = -3
    without = data.draw(hnp.arrays(np.bool_, (n,), fill=st.just(False)))
    alleles[without] = -1
    dosages = None
    if data.draw(st.booleans()):
        dosages = np.where(data.draw(hnp.arrays(np.bool_, (n, samples))), np.float32(0.5), np.float32(np.nan))
    compact = data.draw(hnp.arrays(np.int8, (2, samples), elements=st.sampled_from([0, 1, 2, 3, 4, -9])))
    classes = np.array(
        data.draw(st.lists(st.sampled_from([int(c) for c in PloidyClass]), min_size=n + 2, max_size=n + 2)),
        dtype=np.int8,
    )
    policies = Policies(
        data.draw(st.sampled_from(["missing", "reference"])), data.draw(st.sampled_from(["missing", "double"]))
    )
    counts = np.concatenate([[2, 2], np.full(n, 4)])
    is_compact = np.arange(n + 2) < 2
    block = GenotypeBlock(
        np.arange(n + 2), fixed_columns(counts), is_compact, compact, alleles, np.zeros((n, samples), bool), without,
        dosages,
    )  # fmt: skip
    calls: Counter[str] = Counter()
    sex = np.array(data.draw(st.lists(st.integers(0, 2), min_size=samples, max_size=samples)), dtype=np.int8)
    ids = pl.Series([str(i) for i in range(samples)])
    found = finish_block(block, classes, sex, policies, calls, ids=ids)
    outcomes = {name: calls[name] for name in CALL_OUTCOMES}
    assert sum(outcomes.values()) == (n + 2) * samples
    assert all(v >= 0 for v in calls.values())
    assert set(calls) <= {*CALL_OUTCOMES, *CALL_NOTES}
    assert ((found.general[..., 0] < 0) == (found.general[..., 1] < 0)).all()
    untouched = (alleles >= 0).all(axis=2)
    assert (found.general[untouched] == alleles[untouched]).all()
    assert np.array_equal(found.compact, compact)
    known = 0 if dosages is None else int(np.isfinite(dosages).sum())
    assert outcomes["dosages kept, hard calls derived"] == known
    if found.dosages is not None:  # what has an outcome other than missing is written, be it in a record of dosages
        lost = ("missing", "missing in a record without GT", "half-calls set missing", "haploid calls set missing",
                "calls over ploidy 2 set missing")  # fmt: skip
        absent = sum(outcomes[name] for name in lost)
        n_absent = int(np.isnan(found.dosages).sum()) + int((found.compact == -9).sum())
        with_dosages = np.isfinite(found.dosages).any(axis=1)
        n_absent += int((found.general[~with_dosages][..., 0] < 0).sum()) - int(
            np.isnan(found.dosages[~with_dosages]).sum()
        )
        assert n_absent == absent
    assert outcomes["diploid calls kept"] <= int(untouched.sum()) + int((compact >= 0).sum())


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
