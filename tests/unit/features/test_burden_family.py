"""Burden features: learned from training people, explained by their variants, robust to another store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, InputNotFoundError
from genomix.features.families.burden import FAMILY, check_options, column_variants, largest_frequency, warn_rare
from genomix.features.family import FeatureInputs
from genomix.features.matrix import FeatureBlock
from tests.genotype_store import store_of

VARIANTS = [("1", 100 + 10 * i, "A", "G") for i in range(6)]
ANNOTATED = """##fileformat=VCFv4.3
##INFO=<ID=CSQ,Number=.,Type=String,Description="Consequence annotations. Format: Allele|Consequence|SYMBOL|Feature">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
chr1\t100\t.\tA\tG\t.\t.\tCSQ=G|stop_gained|ALPHA|T1
chr1\t110\t.\tA\tG\t.\t.\tCSQ=G|missense_variant|ALPHA|T1
chr1\t120\t.\tA\tG\t.\t.\tCSQ=G|missense_variant|ALPHA|T1,G|frameshift_variant|BETA|T2
chr1\t130\t.\tA\tG\t.\t.\tCSQ=G|missense_variant|BETA|T2
chr1\t140\t.\tA\tG\t.\t.\tCSQ=G|stop_gained|GAMMA|T3
"""
N = 20


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    """Training people are the first ten: variant 0 is rare there and common elsewhere, variant 4 the reverse."""
    found = np.zeros((6, N), dtype=np.int8)
    found[0, [2, 11, 12, 13, 14, 15]] = 1
    found[1, [3, 12]] = [1, 2]
    found[2, [4, 3, 17]] = 1
    found[3, [5]] = -9
    found[3, [6]] = 1
    found[4, :9] = 1
    return found


@pytest.fixture(scope="module")
def inputs(calls: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> FeatureInputs:
    store = store_of(tmp_path_factory.mktemp("family"), calls, variants=VARIANTS)
    sample = np.array([*range(N), -1])
    index = pl.DataFrame({"row": np.arange(N + 1), "subject_id": np.arange(N + 1)})
    return FeatureInputs(
        index, CPU, genotypes=store, sample_of_row=sample, variant_keep=np.arange(6),
        unrelated=np.ones(N + 1, dtype=bool),
    )  # fmt: skip


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    path = tmp_path / "a.vcf"
    path.write_text(ANNOTATED)
    return path


def run(inputs: FeatureInputs, options: dict[str, Any], rows: Any = None) -> tuple[Any, FeatureBlock]:
    training = np.arange(10) if rows is None else rows
    block = FAMILY.compute(inputs, options)
    learned = json.loads(json.dumps(FAMILY.fit(block, inputs, options, training)))
    return learned, FAMILY.apply(block, inputs, options, learned)


def named(block: FeatureBlock, name: str) -> list[float]:
    return block.values[:, block.columns["name"].to_list().index(name)].tolist()


def test_values_frequencies_and_what_a_column_is_made_of(
    inputs: FeatureInputs, calls: np.ndarray, annotated: Path
) -> None:
    options = {"annotation": str(annotated), "masks": ["lof", "missense+lof"], "max_frequency": 0.1}
    learned, block = run(inputs, options)
    assert block.columns["name"].to_list() == [
        "burden:ALPHA:lof", "burden:ALPHA:missense+lof", "burden:BETA:lof", "burden:BETA:missense+lof",
    ]  # fmt: skip
    assert named(block, "burden:ALPHA:lof")[:N] == calls[0].tolist()
    assert named(block, "burden:ALPHA:missense+lof")[:N] == calls[:3].sum(axis=0).tolist()
    assert named(block, "burden:BETA:missense+lof")[:N] == (calls[2] + np.maximum(calls[3], 0)).tolist()
    assert np.isnan(block.values[N]).all(), "a person without genotypes is missing"
    table = column_variants(learned)
    alpha = table.filter(pl.col("column") == "burden:ALPHA:missense+lof")
    assert alpha["key"].to_list() == ["1:100:A:G", "1:110:A:G", "1:120:A:G"]
    assert alpha["frequency"].to_list() == [0.05, 0.05, 0.1], "of the ten training people"
    assert block.columns["group"].to_list() == ["ALPHA", "ALPHA", "BETA", "BETA"]
    assert (
        block.columns["sentence"][1] == "copies of counted alleles of gene ALPHA under mask missense+lof (3 variants)"
    )
    other, _ = run(inputs, options, np.arange(10, N))
    names = [f"{c['gene']}:{c['mask']}" for c in other["columns"]]
    assert "ALPHA:lof" not in names, "variant 0 is too frequent there"


def test_other_people_teach_nothing(inputs: FeatureInputs, calls: np.ndarray, annotated: Path, tmp_path: Path) -> None:
    options = {"annotation": str(annotated), "weights": "madsen-browning", "collapse": "weighted", "max_frequency": 0.1}
    learned, _ = run(inputs, options)
    changed = calls.copy()
    changed[:, 10:] = 2
    again, _ = run(replace(inputs, genotypes=store_of(tmp_path, changed, variants=VARIANTS)), options)
    assert again == learned


def test_few_carriers_leave_and_genes_can_be_named(inputs: FeatureInputs, annotated: Path) -> None:
    options = {"annotation": str(annotated), "masks": ["missense+lof"], "max_frequency": 0.5, "min_carriers": 3}
    learned, _ = run(inputs, options)
    assert [(c["gene"], c["carriers"]) for c in learned["columns"]] == [("ALPHA", 3), ("BETA", 3), ("GAMMA", 9)]
    learned, _ = run(inputs, {**options, "min_carriers": 4})
    assert [c["gene"] for c in learned["columns"]] == ["GAMMA"]
    assert learned["few_carriers"] == 2
    learned, _ = run(inputs, {**options, "only_genes": ["BETA"]})
    assert [c["gene"] for c in learned["columns"]] == ["BETA"]
    with pytest.raises(ConfigError, match="no gene has 11 training carriers"):
        run(inputs, {**options, "min_carriers": 11})


def test_quality_control_decides_unless_told(inputs: FeatureInputs, annotated: Path) -> None:
    strict = replace(inputs, variant_keep=np.array([1, 2, 3]))
    options = {"annotation": str(annotated), "masks": ["lof"], "max_frequency": 1.0}
    learned, _ = run(strict, options)
    assert [c["variants"] for c in learned["columns"]] == [["1:120:A:G"]]
    learned, _ = run(strict, {**options, "quality": "all"})
    assert [c["gene"] for c in learned["columns"]] == ["ALPHA", "BETA", "GAMMA"]


@pytest.mark.parametrize("missing", ["reference", "mean"])
def test_a_store_without_some_variants(
    inputs: FeatureInputs, calls: np.ndarray, annotated: Path, tmp_path: Path, missing: str
) -> None:
    """As if those variants had not been called in anyone."""
    options = {
        "annotation": str(annotated), "masks": ["missense+lof"], "max_frequency": 0.2, "weights": "beta",
        "collapse": "weighted", "missing": missing,
    }  # fmt: skip
    learned, _ = run(inputs, options)
    uncalled = calls.copy()
    uncalled[1] = -9
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    all_missing = replace(inputs, genotypes=store_of(tmp_path / "a", uncalled, variants=VARIANTS))
    fewer_rows = [0, 2, 3, 4, 5]
    fewer = store_of(tmp_path / "b", calls[fewer_rows], variants=[VARIANTS[i] for i in fewer_rows])
    absent = replace(inputs, genotypes=fewer, variant_keep=np.arange(5))
    one = FAMILY.apply(FAMILY.compute(all_missing, options), all_missing, options, learned)
    two = FAMILY.apply(FAMILY.compute(absent, options), absent, options, learned)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-6)
    assert one.columns.equals(two.columns)


def test_tables_masks_and_intervals_by_path(inputs: FeatureInputs, annotated: Path, tmp_path: Path) -> None:
    (tmp_path / "w.tsv").write_text("contig\tposition\tref\talt\tweight\nchr1\t100\tA\tG\t0.25\n")
    (tmp_path / "g.bed").write_text("chr1\t99\t115\tALPHA\n")
    weighted = {"collapse": "weighted", "weights": str(tmp_path / "w.tsv")}
    mask = {"name": "M1", "consequences": "lof", "max_frequency": 0.2}
    learned, _ = run(inputs, {"annotation": str(annotated), "masks": [mask], **weighted})
    assert [(c["mask"], c["variants"], c["weights"]) for c in learned["columns"]] == [("M1", ["1:100:A:G"], [0.25])]
    learned, block = run(inputs, {"genes": str(tmp_path / "g.bed"), "max_frequency": 0.2, "collapse": "carrier"})
    assert block.columns["name"].to_list() == ["burden:ALPHA:all"]
    assert set(named(block, "burden:ALPHA:all")[:N]) == {0.0, 1.0}


def test_impossible_options(inputs: FeatureInputs, annotated: Path, tmp_path: Path) -> None:
    for options, message in (
        ({}, "either an annotation or genes"),
        ({"annotation": "a", "genes": "b"}, "either an annotation or genes"),
        ({"annotation": "a", "masks": [{"name": "m"}]}, "needs consequences"),
        ({"annotation": "a", "masks": [{"consequences": "lof", "frequency": 1}]}, "no key 'frequency'"),
        ({"annotation": "a", "quality": "best"}, "quality = 'best'"),
    ):
        with pytest.raises(ConfigError, match=message):
            FAMILY.compute(inputs, options)
    options = {"annotation": str(tmp_path / "none.vcf")}
    with pytest.raises(InputNotFoundError):
        FAMILY.fit(FAMILY.compute(inputs, options), inputs, options, np.arange(10))


def test_weights_alone_say_how_to_collapse(inputs: FeatureInputs, annotated: Path) -> None:
    options = {"annotation": str(annotated), "weights": "beta", "max_frequency": 0.2}
    _, block = run(inputs, options)
    _, told = run(inputs, {**options, "collapse": "weighted"})
    assert block.values.tobytes() == told.values.tobytes()
    assert block.columns.equals(told.columns)
    assert block.columns["unit"][0] == "weight"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annotation": "a.vcf", "masks": ["misense"]}, "'misense' is no consequence"),
        ({"annotation": "a.vcf", "masks": [{"consequences": "lof+misense"}]}, "'misense' is no consequence"),
        ({"masks": ["lof"]}, "either an annotation or genes"),
        ({"annotation": "a.vcf", "genes": "g.bed"}, "either an annotation or genes"),
        ({"annotation": "a.vcf", "mask": ["lof"]}, "no option 'mask'"),
        ({"annotation": "a.vcf", "masks": [{"name": "m"}]}, "needs consequences"),
        ({"annotation": "a.vcf", "masks": ["lof", "lof"]}, "a name of its own"),
        ({"annotation": "a.vcf", "weights": "beta", "collapse": "count"}, "belong together"),
        ({"annotation": "a.vcf", "collapse": "weighted"}, "belong together"),
        ({"annotation": "a.vcf", "missing": "mean", "collapse": "carrier"}, "has no meaning"),
        ({"annotation": "a.vcf", "weights": "betta"}, "neither a rule nor a file"),
        ({"annotation": "a.vcf", "max_frequency": 1.5}, "is not in"),
        ({"annotation": "a.vcf", "min_carriers": -1}, "min_carriers"),
        ({"annotation": "a.vcf", "quality": "best"}, "quality"),
        ({"genes": "g.bed", "masks": ["lof"]}, "say no consequence"),
        ({"genes": "g.bed", "transcripts": "mane"}, "needs an annotation"),
    ],
)
def test_options_are_judged_without_reading_anything(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_options(options)


def test_options_that_are_right_pass() -> None:
    for options in (
        {"annotation": "a.vcf"}, {"genes": "g.bed"}, {"genes": "g.bed", "masks": ["all"]},
        {"annotation": "a.vcf", "weights": "beta"}, {"annotation": "a.vcf", "weights": Path("w.tsv")},
        {"annotation": "a.vcf", "masks": ["missense+lof", "stop_lost"]},
    ):  # fmt: skip
        check_options(options)


def test_quality_control_that_leaves_nothing_rare_is_told() -> None:
    options = {"annotation": "a.vcf", "masks": ["lof", {"consequences": "missense", "max_frequency": 0.03}]}
    assert largest_frequency(options) == 0.03
    assert warn_rare(0.03, 0.02) is None
    assert warn_rare(0.03, 0.0) is None
    for threshold in (0.03, 0.05):
        told = warn_rare(0.03, threshold)
        assert told is not None
        assert "no burden is left" in told
    assert largest_frequency({"annotation": "a", "masks": [{"consequences": "lof", "max_frequency": None}]}) == 1.0


@pytest.mark.parametrize("missing", ["reference", "mean"])
def test_absent_variants_on_y_and_mt_count_one_copy(
    calls: np.ndarray, annotated: Path, tmp_path: Path, missing: str
) -> None:
    """As if those variants had not been called in anyone, in men and women."""
    places = [("Y", 5_000_000, "A", "G"), ("MT", 100, "A", "G"), *VARIANTS[2:]]
    told = ANNOTATED.replace("chr1\t100", "chrY\t5000000").replace("chr1\t110", "chrM\t100")
    annotated.write_text(told)
    own = calls.copy()
    own[:2] = 2 * (own[:2] > 0)
    men = [1, 2] * (N // 2)
    uncalled = own.copy()
    uncalled[:2] = -9
    sources = (own, places), (uncalled, places), (own[2:], places[2:])
    blocks = []
    options = {"annotation": str(annotated), "masks": ["missense+lof"], "max_frequency": 0.5, "missing": missing}
    learned: Any = None
    for number, (found, variants) in enumerate(sources):
        (tmp_path / str(number)).mkdir()
        store = store_of(tmp_path / str(number), found, variants=variants, sex=men)
        one = FeatureInputs(
            pl.DataFrame({"row": np.arange(N), "subject_id": np.arange(N)}), CPU, genotypes=store,
            sample_of_row=np.arange(N), variant_keep=np.arange(store.n_variants), unrelated=np.ones(N, dtype=bool),
        )  # fmt: skip
        block = FAMILY.compute(one, options)
        learned = FAMILY.fit(block, one, options, np.arange(N)) if number == 0 else learned
        blocks.append(FAMILY.apply(block, one, options, learned).values)
    assert not np.array_equal(blocks[0], blocks[1])
    np.testing.assert_allclose(blocks[1], blocks[2], rtol=1e-6)
