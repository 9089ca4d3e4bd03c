"""One record per ALT, or none: calls against a plain loop, and what surrounds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from genomix.io.alt_dosages import AltDosages
from genomix.io.genotype_format import HAPLOID, MISSING, OVER_PLOIDY, RECORDS_SCHEMA, GenotypeBlock, general_block
from genomix.io.multiallelic import drop_multiallelic, split_block
from genomix.io.vcf_blocks import joined


def records(alts: list[str], infos: list[str] | None = None) -> pl.DataFrame:
    n = len(alts)
    columns = {
        "contig": ["1"] * n, "position": list(range(1, n + 1)), "variant_id": [f"v{i}" for i in range(n)],
        "ref": ["A"] * n, "alt": alts, "quality": ["."] * n, "filter": ["PASS"] * n, "info": infos or ["."] * n,
    }  # fmt: skip
    return pl.DataFrame(columns, schema=RECORDS_SCHEMA)


def mixed_block() -> GenotypeBlock:
    """Compact and general records in turn, with and without several ALTs, dosages in one."""
    rng = np.random.default_rng(2)
    alts = ["G", "G,T", ".", "C,*,<DEL>", "G", "T,G,C", "G"]
    compact = np.array([True, False, True, False, False, False, True])
    alleles = np.empty((4, 5, 2), dtype=np.int16)
    for row, n_alts in enumerate((2, 3, 1, 3)):
        alleles[row] = rng.integers(-1, n_alts + 1, (5, 2))
    alleles[0, 0], alleles[1, 1], alleles[3, 2] = (2, HAPLOID), (OVER_PLOIDY, OVER_PLOIDY), (MISSING, HAPLOID)
    dosages = np.full((4, 5), np.nan, dtype=np.float32)
    dosages[2], dosages[1, 0] = 0.5, 1.5
    return GenotypeBlock(
        np.arange(10, 17), records(alts), compact, rng.integers(0, 3, (3, 5)).astype(np.int8), alleles,
        rng.random((4, 5)) < 0.5, np.array([False, False, True, False]), dosages,
    )  # fmt: skip


def test_each_alt_gets_a_record_whose_calls_are_those_of_a_loop() -> None:
    block = mixed_block()
    split = split_block(block)
    assert split.records["alt"].to_list() == ["G", "G", "T", ".", "C", "*", "<DEL>", "G", "T", "G", "C", "G"]
    assert split.numbers.tolist() == [10, 11, 11, 12, 13, 13, 13, 14, 15, 15, 15, 16]
    assert split.records["variant_id"].to_list() == [f"v{n - 10}" for n in split.numbers]
    assert split.records.columns == block.records.columns
    before, after = block.general(), split.general()
    place = 0
    for row, alts in enumerate(block.records["alt"].to_list()):
        several = "," in alts
        for k in range(1, alts.count(",") + 2):
            for sample in range(5):
                expected = []
                for code in before.alleles[row, sample].tolist():
                    expected.append(code if code <= 0 or not several else int(code == k))
                assert after.alleles[place, sample].tolist() == expected
            assert (after.phased[place] == before.phased[row]).all()
            assert after.without_calls[place] == before.without_calls[row]
            assert before.dosages is not None
            assert after.dosages is not None
            assert np.isnan(after.dosages[place]).all() if several else True
            assert several or np.array_equal(after.dosages[place], before.dosages[row], equal_nan=True)
            place += 1
    assert place == split.n_records
    assert (split.compact == block.compact).all()


def test_each_record_of_a_split_has_the_dosages_of_its_alt() -> None:
    block = mixed_block()
    values = np.arange(30, dtype=np.float32).reshape(6, 5) / 16
    lost = np.array([False, True, False, False])
    block = replace(
        block, alt_dosages=AltDosages(np.array([0, 3]), np.array([2, 3]), values[:5]), lost_dosages=lost,
        dosages=None,
    )  # fmt: skip
    split = split_block(block)
    n = [np.nan] * 5
    # general records after the split: G and T of the first, three without, one ALT, then T, G, C
    expected = [*values[:2].tolist(), n, n, n, n, *values[2:5].tolist()]
    assert split.alt_dosages is None
    assert split.dosages is not None
    assert np.array_equal(split.dosages, np.array(expected, dtype=np.float32), equal_nan=True)
    assert split.lost_dosages is not None
    assert split.lost_dosages.tolist() == [False, False, True, True, True, False, False, False, False]

    part = block.select(np.array([True, False, True, True, False, True, True])).select_samples(np.array([3, 1]))
    assert part.alt_dosages is not None
    assert (part.alt_dosages.rows.tolist(), part.alt_dosages.counts.tolist()) == ([1], [3])
    assert np.array_equal(part.alt_dosages.values, values[2:5][:, [3, 1]])
    both = joined([part, block.general().select_samples(np.array([3, 1]))])
    assert both.alt_dosages is not None
    assert both.lost_dosages is not None
    assert both.alt_dosages.rows.tolist() == [1, part.alleles.shape[0] + 1, part.alleles.shape[0] + 5]
    assert np.flatnonzero(both.lost_dosages).tolist() == [0, part.alleles.shape[0] + 3]


def test_the_block_given_is_not_changed() -> None:
    block, same = mixed_block(), mixed_block()
    split_block(block)
    assert (block.alleles == same.alleles).all()
    assert block.records.equals(same.records)


def test_a_block_without_several_alts_is_returned_as_it_is() -> None:
    block = mixed_block().select(np.array([True, False, True, False, True, False, True]))
    assert split_block(block) is block
    assert drop_multiallelic(block) == (block, 0)


def test_dropping_counts() -> None:
    kept, n_dropped = drop_multiallelic(mixed_block())
    assert n_dropped == 3
    assert kept.records["alt"].to_list() == ["G", ".", "G", "G"]
    assert kept.numbers.tolist() == [10, 12, 14, 16]
    assert len(kept.compact) == 3
    assert len(kept.alleles) == 1


def test_info_is_split_where_the_header_tells() -> None:
    alleles, phased = np.zeros((3, 1, 2), dtype=np.int16), np.zeros((3, 1), dtype=np.bool_)
    infos = ["AF=0.1,0.2;R2=0.9;DB;AD=5,6,7", "AF=0.1;R2=1", "AF=0.3;AD=1,2"]
    block = general_block(np.arange(3), records(["G,T", "G", "C,T"], infos), alleles, phased)
    numbers = {"AF": "A", "R2": "1", "DB": "0", "AD": "R"}
    found = split_block(block, info_numbers=numbers).records["info"].to_list()
    assert found == [
        "AF=0.1;R2=0.9;DB;AD=5,6", "AF=0.2;R2=0.9;DB;AD=5,7", "AF=0.1;R2=1", "AF=0.3;AD=1,2", "AF=0.3;AD=1,2",
    ]  # fmt: skip
    assert split_block(block).records["info"].to_list() == [infos[0], infos[0], infos[1], infos[2], infos[2]]


def test_a_block_without_samples_or_records_is_split() -> None:
    empty = np.empty((2, 0, 2), dtype=np.int16)
    block = general_block(np.arange(2), records(["G,T", "G"]), empty, np.empty((2, 0), dtype=np.bool_))
    assert split_block(block).alleles.shape == (3, 0, 2)
    nothing = block.select(np.zeros(2, dtype=np.bool_))
    assert split_block(nothing).n_records == 0
    assert drop_multiallelic(nothing)[1] == 0
