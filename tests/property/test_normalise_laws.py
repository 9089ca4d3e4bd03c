"""Laws of left-alignment: haplotypes stay, the form is the published one, compiled kernels equal a plain loop."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.io.fasta import Fasta
from genomix.io.kernels import allele_kernels
from genomix.io.normalise import ALIGNED, ALT_IS_REF, UNCHANGED, left_align
from tests.fasta_files import write_fasta

Row = tuple[int, str, str]


@st.composite
def variants(draw: st.DrawFn) -> tuple[str, list[Row]]:
    """A short contig over few letters, so that it is full of repeats, and records on it."""
    letters = draw(st.sampled_from(["A", "AC", "ACGT"]))
    bases = draw(st.text(letters, min_size=1, max_size=60))
    allele = st.text(letters, min_size=1, max_size=6)
    rows = []
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.integers(0, len(bases) - 1))
        size = draw(st.integers(1, min(8, len(bases) - start)))
        rows.append((start + 1, bases[start : start + size], ",".join(draw(st.lists(allele, min_size=1, max_size=3)))))
    return bases, rows


def haplotypes(bases: str, row: Row) -> list[str]:
    position, ref, alt = row
    assert bases[position - 1 :][: len(ref)] == ref
    return [bases[: position - 1] + a + bases[position - 1 + len(ref) :] for a in alt.split(",")]


def step_by_step(bases: str, row: Row) -> Row:
    """The published procedure, one base at a time (Tan et al. 2015, algorithm 1), stopping at the contig's start."""
    position, ref, alt = row
    alleles = [ref, *alt.split(",")]
    while len({a[-1] for a in alleles}) == 1 and (min(map(len, alleles)) > 1 or position > 1):
        alleles = [a[:-1] for a in alleles]
        if not all(alleles):
            position -= 1
            alleles = [bases[position - 1] + a for a in alleles]
    while len({a[0] for a in alleles}) == 1 and min(map(len, alleles)) > 1:
        alleles = [a[1:] for a in alleles]
        position += 1
    return position, alleles[0], ",".join(alleles[1:])


@settings(max_examples=150, deadline=None)
@given(variants())
def test_every_record_has_the_published_form_and_its_haplotypes(case: tuple[str, list[Row]]) -> None:
    bases, rows = case
    with tempfile.TemporaryDirectory() as folder:
        fasta = Fasta(write_fasta(Path(folder) / "a.fa", {"c": bases}, width=10))
        frame = pl.DataFrame(rows, schema=["position", "ref", "alt"], orient="row").with_columns(contig=pl.lit("c"))
        done = left_align(frame, fasta)
        again = left_align(done.records, fasta)
    assert again.records.equals(done.records)
    assert ALIGNED not in again.status.to_list()
    found = done.records.select("position", "ref", "alt").rows()
    for before, after, status in zip(rows, found, done.status.to_list(), strict=True):
        if before[1] in before[2].split(","):
            assert (after, status) == (before, ALT_IS_REF)
            continue
        assert after == step_by_step(bases, before)
        assert haplotypes(bases, after) == haplotypes(bases, before)
        assert status == (UNCHANGED if after == before else ALIGNED)


@settings(max_examples=100, deadline=None)
@given(variants(), st.integers(0, 12))
def test_compiled_kernels_do_what_their_python_does(case: tuple[str, list[Row]], width: int) -> None:
    bases, rows = case
    alleles = [[ref, *alt.split(",")] for _, ref, alt in rows]
    text = np.frombuffer("".join(a for record in alleles for a in record).encode(), dtype=np.uint8)
    sizes = np.array([len(a) for record in alleles for a in record], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    first = np.concatenate([[0], np.cumsum([len(record) for record in alleles])]).astype(np.int64)
    before = np.array([position - 1 for position, _, _ in rows], dtype=np.int64)
    left = np.zeros((len(rows), width), dtype=np.uint8)
    for i, n in enumerate(before.tolist()):
        k = min(n, width)
        left[i, width - k :] = np.frombuffer(bases[n - k : n].encode(), dtype=np.uint8)
    results = []
    for shift, write in (
        (allele_kernels.shift, allele_kernels.write),
        (allele_kernels.shift_plain, allele_kernels.write_plain),
    ):
        trim, begin = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
        shift(text, starts, sizes, first, left, before, trim, begin)
        kept = np.maximum(sizes - np.repeat(np.maximum(trim, 0) + begin, np.diff(first)), 0)
        places, out = np.cumsum(kept) - kept, np.zeros(int(kept.sum()), dtype=np.uint8)
        if (trim >= 0).all():
            write(text, starts, sizes, first, left, trim, begin, places, out)
        results.append((trim.tolist(), begin[trim >= 0].tolist(), out.tobytes()))
    assert results[0] == results[1]
