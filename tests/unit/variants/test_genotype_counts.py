"""Genotypes counted eight at a time against one by one, and whose contigs are autosomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomix.errors import ConfigError
from genomix.io.contigs import PloidyClass
from genomix.io.plink import open_store
from genomix.variants.genotype_counts import (
    WordBlock,
    autosomal_biallelic,
    call_blocks,
    column_sums,
    count_block,
    count_block_plainly,
    count_genotypes,
    store_ploidy_classes,
)
from tests.genotype_store import random_calls, store_of


@pytest.mark.parametrize("n_samples", [1, 7, 8, 9, 64, 131])
@pytest.mark.parametrize("missing", [0.0, 0.2, 1.0])
def test_words_count_what_a_loop_counts(n_samples: int, missing: float) -> None:
    calls = random_calls(40, n_samples, seed=n_samples, missing=missing)
    classes = np.random.default_rng(1).integers(0, 6, 40).astype(np.int8)
    male = np.random.default_rng(2).random(n_samples) < 0.5
    assert (count_block(calls, classes, male) == count_block_plainly(calls, classes, male)).all()
    het, hom_alt, absent = WordBlock.of(calls).counts()
    for v, row in enumerate(calls.tolist()):
        assert (row.count(1), row.count(2), row.count(-9)) == (het[v], hom_alt[v], absent[v])
    where = np.argwhere(calls < 0)
    assert np.column_stack(WordBlock.of(calls).missing_cells()).tolist() == where.tolist()


def test_a_slice_of_columns_is_counted_as_its_copy() -> None:
    calls = random_calls(10, 24, seed=3)
    part = calls[:, 8:16]
    for seen, expected in zip(WordBlock.of(part).counts(), WordBlock.of(part.copy()).counts(), strict=True):
        assert (seen == expected).all()


def test_column_sums_carry_over_255() -> None:
    flags = np.random.default_rng(0).random((1000, 5)) < 0.7
    flags[:, 0] = True
    assert column_sums(flags).tolist() == [sum(column) for column in flags.T.tolist()]
    assert column_sums(flags[:0]).tolist() == [0] * 5


def test_counts_do_not_depend_on_blocks_or_on_the_order_of_samples(tmp_path: Path) -> None:
    store = store_of(tmp_path, random_calls(50, 20, seed=4))
    whole = count_genotypes(store)
    for size in (1, 7, 50):
        assert (count_genotypes(store, block_size=size).het == whole.het).all()
    backwards = count_genotypes(store, samples=np.arange(20)[::-1])
    assert (backwards.hom_alt == whole.hom_alt).all()
    assert (whole.allele_count == 2 * whole.n_called).all()
    parts = [part for part, _ in call_blocks(store, np.arange(50), np.arange(20), block_size=20)]
    assert [(p.start, p.stop) for p in parts] == [(0, 20), (20, 40), (40, 50)]


def test_another_species_declares_its_number_of_autosomes(tmp_path: Path) -> None:
    names = ["1", "chr22", "23", "chr29", "30", "31", "32", "33", "X", "Y", "MT", "34", "scaffold_7"]
    (tmp_path / "cow.psam").write_text("#IID\tSEX\na\t1\nb\t2\n")
    lines = ["#CHROM\tPOS\tID\tREF\tALT", *(f"{n}\t{i + 1}\t.\tA\tG" for i, n in enumerate(names))]
    (tmp_path / "cow.pvar").write_text("\n".join(lines) + "\n")
    import pgenlib

    writer = pgenlib.PgenWriter(str(tmp_path / "cow.pgen").encode(), 2, variant_ct=len(names), nonref_flags=False)
    for _ in names:
        writer.append_biallelic(np.array([0, 1], dtype=np.int8))
    writer.close()
    store = open_store(tmp_path / "cow")
    auto, x, y, par, mt, other = (
        PloidyClass.AUTOSOME, PloidyClass.X, PloidyClass.Y, PloidyClass.PAR, PloidyClass.MT, PloidyClass.OTHER,
    )  # fmt: skip
    expected = [auto, auto, auto, auto, x, y, par, mt, x, y, mt, other, other]
    assert store_ploidy_classes(store, autosomes=29).tolist() == expected
    assert autosomal_biallelic(store, autosomes=29).sum() == 4
    assert autosomal_biallelic(store).sum() == 2
    with pytest.raises(ConfigError, match="96 autosomes"):
        store_ploidy_classes(store, autosomes=96)
