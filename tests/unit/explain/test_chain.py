"""The chain of every value gives the value; nobody is named; other sources are refused; withheld is withheld."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, IntegrityError
from genomix.explain.chain import RecordsBehind, Sources, VariantsBehind, chain
from genomix.explain.secondary_findings import GENES
from genomix.features.assemble import load_families
from genomix.features.families.burden import FAMILY as BURDEN
from genomix.features.families.burden import collapse_rule
from genomix.features.families.demographics import FAMILY as DEMOGRAPHICS
from genomix.features.families.dosages import FAMILY as DOSAGES
from genomix.features.families.polygenic_score import FAMILY as SCORE
from genomix.features.families.record_windows import FAMILY as RECORDS
from genomix.features.family import FeatureInputs
from genomix.features.record_columns import read_options
from genomix.io.annotation import read_annotation
from genomix.provenance import canonical_json
from tests.genotype_store import random_calls, store_of
from tests.unit.features.record_world import world
from tests.unit.features.test_burden_family import ANNOTATED

NOWHERE = pl.DataFrame({"contig": ["22"], "start": [1], "end": [2], "gene": ["NOWHERE"]})
"""Intervals in which no variant lies: no gene is known to be concerned."""
KINDS = ["additive", "dominant", "recessive", "genotypic"]


@pytest.mark.parametrize("more", [{}, {"prediction_time": "exclusive", "code_depth": 1, "any_record": True}])
def test_every_record_column_of_every_row(tmp_path: Path, more: dict[str, Any]) -> None:
    (tmp_path / "r.csv").write_text("code,low,high\nLAB//a,2,6\nLAB,3,\n")
    options: dict[str, Any] = {
        "windows": ["90d", "full", "since:VISIT"], "ranges": str(tmp_path / "r.csv"), "min_subjects": 3,
        "counts": ["count", "has", "distinct_days", "time_since_first", "time_since_last"],
        "numeric": ["first", "last", "min", "max", "mean", "sum", "std", "slope", "has_value", "out_of_range_count"],
        "outlier_quantiles": [0.1, 0.9], **more,
    }  # fmt: skip
    events, index = world(1, people=14)
    inputs = FeatureInputs(index.drop("label", "split"), CPU, events=events)
    raw = RECORDS.compute(inputs, options)
    learned = json.loads(canonical_json(RECORDS.fit(raw, inputs, options, np.arange(20))))
    block = RECORDS.apply(raw, inputs, options, learned)
    bounds = {k: tuple(v) for k, v in learned["bounds"].items()}
    columns, clipped, seen = block.columns.to_dicts(), 0, set()
    draw = np.random.default_rng(0)
    for row, (subject, t) in enumerate(index.select("subject_id", "prediction_time").iter_rows()):
        behind = Sources(RecordsBehind(events, subject, t, read_options(options), bounds))
        for j in draw.choice(len(columns), size=16, replace=False).tolist():
            found = chain(columns[j], float(block.values[row, j]), behind)
            assert found.checked
            assert found.sources is not None
            assert found.n_sources == found.sources.height
            assert (found.sources["known_days_before"].drop_nulls() >= 0).all()
            told = json.dumps(found.as_json())
            assert "subject" not in told
            assert str(t.year) not in told.replace(str(found.value), "").replace(str(found.recomputed), "")
            clipped += "held within" in found.note
            seen.add(columns[j]["aggregation"])
    assert clipped > 1
    assert len(seen) >= 13


def test_records_of_another_time_or_person_are_refused() -> None:
    events, index = world(1, people=14)
    options = {"windows": ["full"], "counts": ["count"], "numeric": ["mean"]}
    block = RECORDS.compute(FeatureInputs(index.drop("label", "split"), CPU, events=events), options)
    j = int((block.values[4] > 2).argmax())
    column, at = block.columns.row(j, named=True), index.row(4, named=True)
    value = float(block.values[4, j])
    right = RecordsBehind(events, at["subject_id"], at["prediction_time"], read_options(options))
    assert chain(column, value, Sources(right)).checked
    fewer = right.events.filter(pl.col("subject_id") != at["subject_id"])
    with pytest.raises(IntegrityError, match="its sources give"):
        chain(column, value, Sources(replace(right, events=fewer)))
    with pytest.raises(ConfigError, match="none are given"):
        chain(column, value, Sources())
    with pytest.raises(ConfigError, match="options that it was made with are not known"):
        chain(column, value, Sources(replace(right, options=None)))
    with pytest.raises(ConfigError, match="no genotypes are given"):
        chain({**column, "family": "dosages"}, value, Sources(right))
    cell = chain({**column, "family": "table"}, float("nan"), Sources())
    assert (cell.kind, cell.value, cell.sources) == ("table", None, None)


def test_age_and_sex_without_a_day_of_birth() -> None:
    events, index = world(2, people=20)
    old = pl.col("code") == "MEDS_BIRTH"
    events = events.with_columns(
        pl.when(old & (pl.col("subject_id") == 1)).then(pl.datetime(1921, 3, 4)).otherwise("time").alias("time")
    )
    block = DEMOGRAPHICS.compute(FeatureInputs(index.drop("label", "split"), CPU, events=events), {})
    for row, (subject, t) in enumerate(index.select("subject_id", "prediction_time").iter_rows()):
        behind = Sources(RecordsBehind(events, subject, t))
        age, sex = (chain(block.columns.row(j, named=True), float(block.values[row, j]), behind) for j in (0, 1))
        assert age.checked
        assert sex.checked
        assert age.value == min(np.floor(block.values[row, 0]), 90)
        assert age.sources is not None
        assert age.sources.height == 0
        assert sex.sources is not None
        assert sex.sources["code"].to_list() == [f"GENDER//{'F' if sex.value == 1 else 'M'}"]
    with pytest.raises(IntegrityError):
        chain(block.columns.row(0, named=True), 12.0, behind)


VARIANTS = [("1", 1000 * (i + 1), "A", "G") for i in range(16)]
VARIANTS += [("X", 50_000_000 + i, "C", "T") for i in range(6)] + [("Y", 10_000_000 + i, "C", "T") for i in range(4)]
VARIANTS += [("MT", 100 + i, "C", "T") for i in range(4)]
SEX = [1 + i % 2 for i in range(24)]
ROWS = np.array([*range(24), -1])


@pytest.fixture(scope="module")
def genotypes(tmp_path_factory: pytest.TempPathFactory) -> FeatureInputs:
    calls = random_calls(len(VARIANTS), 24, seed=4, missing=0.1)
    haploid = np.array([c in ("Y", "MT") for c, *_ in VARIANTS])
    calls[haploid] = np.where(calls[haploid] == 1, 2, calls[haploid])
    males_x = np.ix_([c == "X" for c, *_ in VARIANTS], [s == 1 for s in SEX])
    calls[males_x] = np.where(calls[males_x] == 1, 0, calls[males_x])
    store = store_of(tmp_path_factory.mktemp("chain"), calls, variants=VARIANTS, sex=SEX)
    index = pl.DataFrame({"row": np.arange(25), "subject_id": np.arange(25)})
    return FeatureInputs(
        index, CPU, genotypes=store, sample_of_row=ROWS, variant_keep=np.arange(len(VARIANTS)),
        unrelated=np.ones(25, dtype=bool),
    )  # fmt: skip


def weights(kinds: list[str]) -> pl.DataFrame:
    """Weights of all variants, REF counted at every third one; kinds take turns."""
    rng = np.random.default_rng(1)
    rows = [
        (c, p, ref if i % 3 == 0 else alt, alt if i % 3 == 0 else ref, float(rng.normal()), kinds[i % len(kinds)],
         *rng.normal(size=3).tolist())
        for i, (c, p, ref, alt) in enumerate(VARIANTS)
    ]  # fmt: skip
    names = ["contig", "position", "effect_allele", "other_allele", "weight", "effect_type"]
    return pl.DataFrame(rows, schema=[*names, "weight_0", "weight_1", "weight_2"], orient="row")


def behind_of(inputs: FeatureInputs, row: int, learned: dict[str, Any], **more: Any) -> VariantsBehind:
    assert inputs.genotypes is not None
    return VariantsBehind(inputs.genotypes, int(ROWS[row]), learned, **{"annotation": NOWHERE, **more})


def made(family: Any, inputs: FeatureInputs, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    block = family.compute(inputs, options)
    learned = json.loads(canonical_json(family.fit(block, inputs, options, np.arange(16))))
    return family.apply(block, inputs, options, learned), {family.name: learned}


@pytest.mark.parametrize("adjust", [True, False])
@pytest.mark.parametrize("kinds", [["additive"], KINDS])
def test_a_score_of_any_kind_of_weight_on_any_chromosome(genotypes, kinds: list[str], adjust: bool) -> None:
    options = {"scores": [{"name": "S", "weights": weights(kinds)}], "adjust": adjust, "ambiguous": "keep"}
    options |= {"n_components": 2, "prune_r2": None} if adjust else {}
    block, learned = made(SCORE, genotypes, options)
    column = block.columns.row(0, named=True)
    for row in range(24):
        found = chain(column, float(block.values[row, 0]), Sources(variants=behind_of(genotypes, row, learned)))
        assert found.checked
        assert found.sources is not None
        assert found.sources.height == found.n_sources == len(VARIANTS)
        total = float(found.note.split("sum ")[1].split(",")[0])
        assert found.sources["term"].sum() == pytest.approx(total, rel=1e-4, abs=1e-4)
        assert found.sources["term"].abs().is_sorted(descending=True)
    nobody = chain(column, float(block.values[24, 0]), Sources(variants=behind_of(genotypes, 24, learned)))
    assert (nobody.kind, nobody.value, nobody.note) == ("none", None, "this person has no genotypes")
    with pytest.raises(IntegrityError, match="its sources give"):
        chain(column, float(block.values[3, 0]), Sources(variants=behind_of(genotypes, 4, learned)))


def test_another_store_that_lacks_variants(genotypes, tmp_path: Path) -> None:
    options = {"scores": [{"name": "S", "weights": weights(KINDS)}], "adjust": False}
    block, learned = made(SCORE, genotypes, options)
    fewer = [v for i, v in enumerate(VARIANTS) if i % 4]
    store = store_of(tmp_path, random_calls(len(fewer), 24, seed=9, missing=0), variants=fewer, sex=SEX)
    inputs = replace(genotypes, genotypes=store, variant_keep=None)
    found = SCORE.apply(block, inputs, options, learned["polygenic_score"])
    for row in range(24):
        told = chain(found.columns.row(0, named=True), float(found.values[row, 0]),
                     Sources(variants=behind_of(inputs, row, learned)))  # fmt: skip
        assert told.checked


@pytest.mark.parametrize(
    "options",
    [
        {"collapse": "count"}, {"collapse": "carrier"}, {"collapse": "max"}, {"collapse": "count", "missing": "mean"},
        {"weights": "beta", "missing": "mean"}, {"weights": "madsen-browning", "counted": "minor"},
    ],
)  # fmt: skip
def test_burdens_of_every_kind(genotypes, options: dict[str, Any]) -> None:
    genes = pl.DataFrame(
        {"contig": ["1", "1", "X", "Y", "MT"], "start": [1, 5000, 1, 1, 1], "end": [8000, 99_999, *[99_999_999] * 3],
         "gene": ["AAA1", "BBB1", "CCC1", "DDD1", "EEE1"]}
    )  # fmt: skip
    options = {"genes": genes, "max_frequency": 1.0, **options}
    block, learned = made(BURDEN, genotypes, options)
    collapse, missing = collapse_rule(options)
    assert block.columns.height == 5
    for row in range(0, 24, 3):
        behind = behind_of(genotypes, row, learned, collapse=collapse, missing=missing, annotation=genes)
        for j in range(5):
            column = block.columns.row(j, named=True)
            found = chain(column, float(block.values[row, j]), Sources(variants=behind))
            assert found.checked
            assert found.sources is not None
            assert set(found.sources["gene"]) == {column["code"]}
            assert found.sources.height == found.n_sources


def test_dosages_and_nucleotides(genotypes) -> None:
    block, learned = made(DOSAGES, genotypes, {"prune_r2": None, "minor_allele_frequency": 0.0})
    column = block.columns.row(2, named=True)
    behind = behind_of(genotypes, 5, learned, nucleotides={column["group"]: 0.25})
    found = chain(column, float(block.values[5, 2]), Sources(variants=behind))
    assert found.sources is not None
    assert found.sources.select("copies", "nucleotide", "gene").row(0) == (found.value, 0.25, None)
    pcs = load_families(["ancestry_pcs"])["ancestry_pcs"]
    pc_block, pc_learned = made(pcs, genotypes, {"n_components": 2, "prune_r2": None})
    told = chain(pc_block.columns.row(0, named=True), 0.3, Sources(variants=behind_of(genotypes, 5, pc_learned)))
    assert told.kind == "none"
    assert "a projection of 16 variants" in told.note


def test_secondary_findings_are_withheld_unless_asked_for(genotypes, tmp_path: Path) -> None:
    assert len(GENES) == 81
    options = {"scores": [{"name": "S", "weights": weights(["additive"])}], "adjust": False}
    block, learned = made(SCORE, genotypes, options)
    column, value = block.columns.row(0, named=True), float(block.values[3, 0])
    genes = pl.DataFrame(
        {"contig": ["1", "1"], "start": [900, 5900], "end": [2100, 7100], "gene": ["BRCA2", "AAA1"]}
    )  # fmt: skip

    def told(annotation: Any, show: bool = False) -> Any:
        behind = behind_of(genotypes, 3, learned, annotation=annotation)
        return chain(column, value, Sources(variants=behind), show_secondary=show)

    some = told(genes)
    assert (some.n_sources, some.withheld, some.sources.height) == (30, 2, 28)
    assert "BRCA2" not in some.sources["gene"].to_list()
    assert not set(some.sources.filter(pl.col("contig") == "1")["position"]) & {1000, 2000}
    assert some.value == pytest.approx(value)
    assert told(genes, show=True).withheld == 0
    # Nobody says which genes there are: nothing can be told apart, so nothing is listed.
    none = told(None)
    assert (none.withheld, none.sources.height) == (30, 0)
    assert "is not known" in none.note
    identifiers = genes.with_columns(pl.Series("gene", ["ENSG00000139618", "AAA1"]))
    assert told(identifiers).withheld == 2
    # An annotation that has no line for a variant does not say that it lies in no gene.
    path = tmp_path / "a.vcf"
    path.write_text(ANNOTATED.replace("chr1\t100\t", "chr1\t6000\t").replace("chr1\t140\t", "chr1\t7000\t"))
    annotated = told(read_annotation(path))
    assert annotated.sources.select("position", "gene", "consequence").sort("position").rows() == [
        (6000, "ALPHA", "stop_gained"), (7000, "GAMMA", "stop_gained"),
    ]  # fmt: skip
    assert annotated.withheld == 28


def test_a_burden_or_genotype_of_a_listed_gene_is_not_told(genotypes) -> None:
    genes = pl.DataFrame({"contig": ["1"], "start": [900], "end": [9100], "gene": ["LDLR"]})
    options = {"genes": genes, "max_frequency": 1.0}
    block, learned = made(BURDEN, genotypes, options)
    column, value = block.columns.row(0, named=True), float(block.values[3, 0])
    behind = Sources(variants=behind_of(genotypes, 3, learned, annotation=genes))
    found = chain(column, value, behind)
    assert (found.value, found.recomputed, found.withheld) == (None, None, found.n_sources)
    assert chain(column, value, behind, show_secondary=True).value == value
    with pytest.raises(IntegrityError):
        chain(column, value + 1, behind)  # what is withheld was checked all the same
    block, learned = made(DOSAGES, genotypes, {"prune_r2": None, "minor_allele_frequency": 0.0})
    behind = Sources(variants=behind_of(genotypes, 3, learned, annotation=genes))
    assert chain(block.columns.row(0, named=True), float(block.values[3, 0]), behind).value is None
