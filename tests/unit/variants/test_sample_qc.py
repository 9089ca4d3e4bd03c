"""What quality control says of a sample, against loops over its calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.variants.genotype_counts import count_genotypes
from genomix.variants.qc import SampleThresholds, VariantThresholds, imputation_quality, threshold_table, variant_qc
from genomix.variants.sample_qc import heterozygosity, sample_qc
from tests.genotype_store import random_calls, store_of

CHANGES = [("A", "G"), ("C", "T"), ("A", "C"), ("G", "T"), ("AT", "A"), ("A", "AT")]


def test_counts_per_sample_equal_a_loop(tmp_path: Path) -> None:
    calls = random_calls(120, 30, seed=1, missing=0.1)
    calls[5] = 0
    calls[5, 3] = 1
    calls[6] = 0
    calls[6, 4] = 2  # two copies in one person are no singleton
    variants = [("1" if i < 110 else "Y", 10 * i + 10, *CHANGES[i % 6]) for i in range(120)]
    store = store_of(tmp_path, calls, variants=variants, build=None)
    found = sample_qc(store)
    for s in range(30):
        het = hom = ts = tv = single = 0
        for v in range(110):
            call = calls[v, s]
            het += call == 1
            hom += call == 2
            ts += call > 0 and v % 6 < 2
            tv += call > 0 and v % 6 in (2, 3)
            single += call > 0 and calls[v][calls[v] >= 0].sum() == 1
        row = found.row(s, named=True)
        assert (row["n_het"], row["n_hom_alt"], row["n_non_reference"]) == (het, hom, het + hom)
        assert (row["n_transitions"], row["n_transversions"], row["n_singletons"]) == (ts, tv, single)
        assert row["ti_tv"] == pytest.approx(ts / tv)
        assert row["y_call_rate"] == pytest.approx((calls[110:, s] >= 0).mean())
    assert found["n_singletons"][3] == 1
    assert found["n_singletons"].sum() == 1


@pytest.mark.parametrize("labels", [None, ["a"] * 20 + ["b"] * 15 + [None] * 5])
def test_f_in_one_pass_equals_the_plain_sum(tmp_path: Path, labels: list[str | None] | None) -> None:
    calls = random_calls(90, 40, seed=2, missing=0.15)
    calls[3] = -9
    calls[4] = 0
    store = store_of(tmp_path, calls)
    rows = np.arange(0, 90, 2)
    found = sample_qc(store, variants=rows, ancestry=labels)["heterozygosity_f"].to_numpy()
    groups = [range(40)] if labels is None else [range(20), range(20, 35), range(35, 40)]
    for group in groups:
        members = np.array(group)
        p = count_genotypes(store, variants=rows, samples=members).alt_frequency
        np.testing.assert_allclose(found[members], heterozygosity(store, rows, p, samples=members).f, rtol=1e-12)


def test_what_was_counted_need_not_be_counted_again(tmp_path: Path) -> None:
    store = store_of(tmp_path, random_calls(60, 30, seed=3))
    chosen = np.arange(3, 25)
    quality = variant_qc(store, samples=chosen)
    again = sample_qc(store, samples=chosen, counted=quality)
    assert again.equals(sample_qc(store, samples=chosen))
    assert again["sample_id"].to_list() == store.samples["sample_id"][chosen].to_list()


def test_one_of_each_group_of_duplicates_is_kept_the_best_called(tmp_path: Path) -> None:
    calls = random_calls(50, 8, seed=4, missing=0)
    calls[:2, 1] = -9
    store = store_of(tmp_path, calls)
    pairs = pl.DataFrame({"sample_a": [1, 2, 5, 0], "sample_b": [2, 6, 7, 3], "kinship": [0.5, 0.49, 0.45, 0.3]})
    quality = sample_qc(store, SampleThresholds(heterozygosity_sd=None, remove_duplicates=True), pairs=pairs)
    assert quality["duplicate_of"].to_list() == [None, "s2", None, None, None, None, "s2", "s5"]
    assert quality["reason"].to_list() == ["", "duplicate", "", "", "", "", "duplicate", "duplicate"]
    kept = sample_qc(store, SampleThresholds(heterozygosity_sd=None), pairs=pairs)
    assert kept["keep"].all()
    assert kept["duplicate_of"].null_count() == 5
    table = threshold_table(quality, SampleThresholds(heterozygosity_sd=None, remove_duplicates=True))
    assert table["removed"].to_list() == [0, 0, 0, 3]


def test_filter_and_imputation_quality_come_from_the_record(tmp_path: Path) -> None:
    from genomix.io.convert import convert_genotypes
    from genomix.io.plink import open_store

    text = (
        '##fileformat=VCFv4.3\n##FILTER=<ID=low,Description="l">\n##INFO=<ID=R2,Number=1,Type=Float,Description="r">\n'
    )
    text += '##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">\n'
    text += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
    for position, (label, info) in enumerate(
        [("PASS", "R2=0.9"), ("low", "R2=0.95"), (".", "R2=0.2"), ("PASS", ".")], 1
    ):
        text += f"1\t{position}\t.\tA\tG\t.\t{label}\t{info}\tGT\t0/1\t0/0\n"
    (tmp_path / "a.vcf").write_text(text)
    convert_genotypes(tmp_path / "a.vcf", tmp_path / "a")
    limits = VariantThresholds(None, None, None, min_imputation_quality=0.3, filter_pass=True)
    quality = variant_qc(open_store(tmp_path / "a"), limits)
    assert quality["imputation_quality"].to_list() == [0.9, 0.95, 0.2, None]
    assert quality["reason"].to_list() == ["", "filter", "imputation_quality", ""]
    assert threshold_table(quality, limits)["removed"].to_list() == [1, 1, 0, 0, 0]


def test_each_alt_has_its_own_imputation_quality() -> None:
    info = pl.DataFrame({"info": ["DR2=0.1,0.9", "DR2=0.1,0.9", "AR2=0.4", "X;ER2=0.3;INFO=1"]})
    assert imputation_quality(info, pl.Series([1, 2, 1, 1])).to_list() == [0.1, 0.9, None, 0.3]
