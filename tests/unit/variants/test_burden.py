"""Burden of genes against a plain loop over the calls, and what is said about every gene."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.io.annotation import Annotation
from genomix.io.plink import GenotypeStore
from genomix.schemas.burden import ANNOTATIONS
from genomix.variants.burden import (
    COLLAPSES,
    BurdenOptions,
    BurdenResult,
    collapse_sets,
    compute_burden,
)
from genomix.variants.burden_weights import beta_weights, madsen_browning_weights
from genomix.variants.gene_masks import Mask, match_genes, select_variants
from tests.genotype_store import store_of

VARIANTS = [
    ("1", 100, "A", "G"), ("1", 110, "C", "T"), ("1", 120, "CA", "C"), ("1", 130, "G", "A"),
    ("2", 50, "T", "C"), ("2", 60, "T", "G"), ("2", 70, "A", "C"), ("X", 5_000_000, "G", "T"),
]  # fmt: skip
TOLD: list[tuple[int, str, str, str, bool | None, bool | None, str | None]] = [
    (0, "G1", "T1", "missense_variant", True, False, None),
    (0, "G1", "T2", "stop_gained", False, True, "LC"),
    (1, "G1", "T1", "frameshift_variant&splice_region_variant", True, True, "HC"),
    (2, "G1", "T1", "inframe_deletion", True, True, None),
    (3, "G1", "T1", "synonymous_variant", True, True, None),
    (3, "G2", "T3", "missense_variant", True, True, None),
    (4, "G2", "T3", "missense_variant", True, True, None),
    (5, "G2", "T3", "intron_variant", True, True, None),
    (6, "G3", "T4", "intron_variant", True, True, None),
    (7, "GX", "T5", "stop_gained", True, True, "HC"),
]
ROW_SCHEMA = {c.name: c.dtype for c in ANNOTATIONS.columns if c.name != "variant_id"}
FREQUENCIES = [0.02, 0.05, 0.1, 0.3, 0.02, 0.2, 0.1, 0.1]


def annotation(extra: tuple[tuple[Any, ...], ...] = ()) -> Annotation:
    rows = [(*VARIANTS[v], gene, f"E_{gene}", transcript, consequence, None, canonical, mane, lof)
            for v, gene, transcript, consequence, canonical, mane, lof in TOLD]  # fmt: skip
    frame = pl.DataFrame([*rows, *extra], schema=ROW_SCHEMA, orient="row")
    return Annotation(
        frame, frame.select("contig", "position", "ref", "alt").unique(maintain_order=True), "vep", (), {}
    )


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    rng = np.random.default_rng(11)
    found = rng.binomial(2, np.array(FREQUENCIES)[:, None], (8, 60)).astype(np.int8)
    found[7, :30] = 2 * (found[7, :30] > 0)
    found[rng.random(found.shape) < 0.06] = -9
    return found


@pytest.fixture(scope="module")
def store(calls: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    folder = tmp_path_factory.mktemp("burden")
    return store_of(folder, calls, variants=VARIANTS, sex=[1] * 30 + [2] * 30)


def expected(
    calls: np.ndarray, rows: list[int], collapse: str, missing: str, weights: list[float], flips: list[bool],
    frequency: list[float],
) -> list[float]:  # fmt: skip
    """One person after the other, one variant after the other."""
    out = []
    for person in range(calls.shape[1]):
        copies = []
        for v, flip, f in zip(rows, flips, frequency, strict=True):
            call = int(calls[v, person])
            rare = 1 - f if flip else f
            known = (2 - call if flip else call) if call >= 0 else (2 * rare if missing == "mean" else 0)
            copies.append(known)
        if collapse == "carrier":
            out.append(float(any(c > 0 for c in copies)))
        elif collapse == "max":
            out.append(float(max(copies)))
        else:
            out.append(float(sum(w * c for w, c in zip(weights, copies, strict=True))))
    return out


def column(result: BurdenResult, name: str) -> np.ndarray:
    return result.matrix.values[:, [s.name for s in result.sets].index(name)]


@pytest.mark.parametrize("missing", ["reference", "mean"])
@pytest.mark.parametrize("collapse", COLLAPSES)
@pytest.mark.parametrize("counted", ["alt", "minor"])
def test_every_collapse_equals_a_plain_loop(
    store: GenotypeStore, calls: np.ndarray, collapse: Any, missing: Any, counted: Any
) -> None:
    if missing == "mean" and collapse in ("carrier", "max"):
        with pytest.raises(ConfigError, match="has no meaning"):
            BurdenOptions((Mask("m", "all"),), collapse=collapse, missing=missing)
        return
    table = pl.DataFrame({"variant_id": store.variants["variant_id"], "weight": [0.5, 2.0, 3.0, 0.25, 1, 1, 1, 1]})
    frequency = pl.DataFrame(
        {"variant_id": store.variants["variant_id"], "frequency": [0.1, 0.6, 0.02, 0.9, 0, 0, 0, 0]}
    )
    options = BurdenOptions(
        (Mask("m", "lof+inframe+synonymous", None),), collapse=collapse, missing=missing, counted=counted,
        weights=table if collapse == "weighted" else "none", frequencies=frequency,
    )  # fmt: skip
    result = compute_burden(store, annotation(), options)
    weights = [0.5, 2.0, 3.0, 0.25] if collapse == "weighted" else [1.0] * 4
    flips = [False, True, False, True] if counted == "minor" else [False] * 4
    wanted = expected(calls, [0, 1, 2, 3], collapse, missing, weights, flips, [0.1, 0.6, 0.02, 0.9])
    np.testing.assert_allclose(column(result, "G1:m"), np.array(wanted, dtype=np.float32), rtol=1e-6)


def test_masks_admit_by_term_and_frequency(store: GenotypeStore, calls: np.ndarray) -> None:
    masks = (Mask("lof", "lof", 1.0), Mask("both", "missense+lof", 1.0), Mask("rare", "missense+lof", 0.04))
    result = compute_burden(store, annotation(), BurdenOptions(masks))
    found = {s.name: s.rows.tolist() for s in result.sets}
    called = np.where(calls < 0, 0, calls)
    frequency = called.sum(axis=1) / (2 * (calls >= 0).sum(axis=1))
    rare = [v for v in (0, 1) if frequency[v] <= 0.04]
    assert rare == [0], "the draw must leave one variant on each side"
    assert found == {
        "G1:lof": [0, 1], "G1:both": [0, 1], "G1:rare": rare, "G2:both": [3, 4], "G2:rare": [4],
        "GX:lof": [7], "GX:both": [7],
    }  # fmt: skip
    terms = result.variants.filter(pl.col("gene") == "G1", pl.col("mask") == "both")
    assert terms["consequence"].to_list() == ["stop_gained", "frameshift_variant"]
    np.testing.assert_allclose(terms["frequency"].to_numpy(), frequency[:2])


@pytest.mark.parametrize(
    ("rule", "lof", "missense"),
    [("any", [0, 1], [0]), ("canonical", [1], [0]), ("mane", [0, 1], []), ("worst", [0, 1], [])],
)
def test_transcript_rules(store: GenotypeStore, rule: Any, lof: list[int], missense: list[int]) -> None:
    """G1's first variant is missense on the canonical transcript and stop gained on the MANE one."""
    matched = match_genes(annotation(), store.variants)
    found = select_variants(matched.rows, (Mask("l", "lof"), Mask("m", "missense")), transcripts=rule)
    in_gene = found.filter(pl.col("gene") == "G1")
    assert in_gene.filter(pl.col("mask") == "l")["variant"].to_list() == lof
    assert in_gene.filter(pl.col("mask") == "m")["variant"].to_list() == missense


def test_a_rule_that_the_annotation_cannot_answer_is_refused(store: GenotypeStore) -> None:
    source = annotation()
    blind = source._replace(rows=source.rows.with_columns(pl.lit(None, dtype=pl.Boolean).alias("mane")))
    with pytest.raises(ConfigError, match="does not mark MANE"):
        compute_burden(store, blind, BurdenOptions((Mask("m", "lof"),), transcripts="mane"))


def test_confident_loss_of_function(store: GenotypeStore) -> None:
    result = compute_burden(store, annotation(), BurdenOptions((Mask("hc", "lof+missense", 1.0, confident=True),)))
    assert {s.gene: s.rows.tolist() for s in result.sets} == {"G1": [0, 1], "G2": [3, 4], "GX": [7]}
    result = compute_burden(store, annotation(), BurdenOptions((Mask("hc", "lof", 1.0, confident=True),)))
    assert {s.gene: s.rows.tolist() for s in result.sets} == {"G1": [1], "GX": [7]}, "LC does not count"


def test_every_gene_is_listed_with_its_reason(store: GenotypeStore, calls: np.ndarray) -> None:
    absent = ("3", 7, "A", "C", "G4", None, "T9", "stop_gained", None, True, True, None)
    source = annotation(extra=(absent,))
    result = compute_burden(store, source, BurdenOptions((Mask("m", "missense", 0.001), Mask("l", "lof", 1.0))))
    reason = {(g, m): r for g, m, r in result.genes.select("gene", "mask", "reason").iter_rows()}
    frequent, other = (
        "no variant with a frequency of the mask (and a weight)",
        "no variant has a consequence of the mask",
    )
    nowhere = "no annotated variant is in the genotypes"
    assert reason == {
        ("G1", "m"): frequent, ("G1", "l"): "", ("G2", "m"): frequent, ("G2", "l"): other, ("G3", "m"): other,
        ("G3", "l"): other, ("GX", "m"): other, ("GX", "l"): "", ("G4", "m"): nowhere, ("G4", "l"): nowhere,
    }  # fmt: skip
    row = result.genes.filter(pl.col("gene") == "G1", pl.col("mask") == "l").row(0, named=True)
    called = np.where(calls < 0, 0, calls)
    assert (row["n_annotated"], row["n_genotyped"], row["n_consequence"], row["n_variants"]) == (4, 4, 2, 2)
    assert row["carriers"] == int((called[:2] > 0).any(axis=0).sum())
    assert row["allele_count"] == int(called[:2].sum())
    assert row["n_missing"] == int((calls[:2] < 0).sum())
    assert row["n_seen"] == int((called[:2].sum(axis=1) > 0).sum())
    assert (row["contig"], row["start"], row["end"]) == ("1", 100, 130)
    assert result.counts["annotated alleles not in the genotypes"] == 1
    assert result.counts["alleles of the genotypes that the annotation file lacks"] == 0


def test_alleles_meet_over_contig_names_and_padding(store: GenotypeStore) -> None:
    """The genotypes have chr1:120 CA>C; the file writes it beside a longer ALT, padded."""
    rows = [("1", 120, "CAT", "CT", "G", None, "T", "frameshift_variant", None, None, None, None)]
    frame = pl.DataFrame(rows, schema=ROW_SCHEMA, orient="row")
    alleles = pl.DataFrame(
        [("1", 120, "CAT", "CT"), ("1", 120, "CAT", "CATT"), ("1", 100, "A", "T")],
        schema=["contig", "position", "ref", "alt"],
        orient="row",
    )  # fmt: skip
    matched = match_genes(Annotation(frame, alleles, "vep", (), {}), store.variants)
    assert matched.rows["variant"].to_list() == [2]
    assert matched.counts["alleles of the genotypes that the annotation file lacks"] == 7
    assert matched.counts["alleles of the genotypes with annotation"] == 1


def test_gene_intervals(store: GenotypeStore) -> None:
    bed = pl.DataFrame(
        [("1", 105, 120, "A"), ("1", 121, 129, "B"), ("1", 130, 130, "C"), ("1", 90, 100, "C"), ("9", 1, 5, "D")],
        schema=["contig", "start", "end", "gene"], orient="row",
    )  # fmt: skip
    result = compute_burden(store, bed, BurdenOptions((Mask("all", "all", None),)))
    assert {s.gene: s.rows.tolist() for s in result.sets} == {"A": [1, 2], "B": [2], "C": [0, 3]}, "REF CA reaches 121"
    assert result.genes.filter(pl.col("gene") == "D")["reason"].to_list() == [
        "no annotated variant is in the genotypes"
    ]
    assert result.counts["alleles of the genotypes in a gene"] == 4


def test_an_unknown_word_is_refused_and_a_label_is_not(store: GenotypeStore) -> None:
    with pytest.raises(ConfigError, match="'misense' is no consequence"):
        compute_burden(store, annotation(), BurdenOptions((Mask("m", "misense"),)))
    source = annotation()
    labelled = source._replace(rows=source.rows.with_columns(pl.lit("damaging").alias("consequence")))
    result = compute_burden(store, labelled, BurdenOptions((Mask("m", "damaging", 1.0),)))
    assert len(result.sets) == 4


def test_weights_of_the_literature() -> None:
    """Beta(1, 25) against SciPy's density; Madsen and Browning's equation by hand."""
    from scipy.stats import beta

    maf = np.array([0.0, 0.001, 0.2, 0.5])
    np.testing.assert_allclose(beta_weights(maf), beta.pdf(maf, 1, 25), rtol=1e-12)
    np.testing.assert_allclose(beta_weights(1 - maf), beta.pdf(maf, 1, 25), rtol=1e-10)
    n, copies = 50, 7
    q = (copies + 1) / (2 * n + 2)
    np.testing.assert_allclose(madsen_browning_weights(np.array([copies / (2 * n)]), n), 1 / np.sqrt(n * q * (1 - q)))


def test_tables_of_frequency_and_weight(store: GenotypeStore) -> None:
    frequency = pl.DataFrame(
        {"contig": ["chr1"] * 3, "position": [100, 110, 120], "ref": ["A", "C", "CAG"], "alt": ["G", "T", "CG"],
         "frequency": [0.5, 0.001, 0.002]}
    )  # fmt: skip
    weight = pl.DataFrame({"contig": ["chr1", "1"], "position": [110, 120], "ref": ["C", "CAG"], "alt": ["T", "CG"],
                           "weight": [0.7, 0.2]})  # fmt: skip
    options = BurdenOptions(
        (Mask("m", "lof+inframe", 0.01),), frequencies=frequency, weights=weight, collapse="weighted"
    )
    result = compute_burden(store, annotation(), options)
    assert [(s.gene, s.rows.tolist(), s.weights.tolist()) for s in result.sets] == [("G1", [1, 2], [0.7, 0.2])]
    assert result.counts["qualifying alleles that the frequency table lacks"] == 1
    # What the table lacks is not rare for that: it is common in the samples, so no mask of rare variants holds it.
    without = BurdenOptions(
        (Mask("m", "lof+inframe", 0.01),), frequencies=frequency.head(1), weights=weight, collapse="weighted"
    )
    lacking = compute_burden(store, annotation(), without)
    assert lacking.sets == []
    assert lacking.counts["qualifying alleles that the frequency table lacks"] == 3
    assert result.counts["qualifying alleles that the weight table lacks"] == 2
    # REF and ALT exchanged, and the name that qc gives the column: the same sets.
    exchanged = frequency.select(
        "contig", "position", pl.col("alt").alias("ref"), pl.col("ref").alias("alt"),
        (1 - pl.col("frequency")).alias("alt_frequency"),
    )  # fmt: skip
    turned = compute_burden(store, annotation(), dataclasses.replace(options, frequencies=exchanged))
    assert [s.rows.tolist() for s in turned.sets] == [[1, 2]]
    np.testing.assert_allclose(turned.sets[0].frequencies, [0.001, 0.002], atol=1e-12)
    assert turned.counts["qualifying alleles that the frequency table has exchanged"] == 3
    # With a third allele at the position, 1 - the frequency of one is not that of the other.
    third = pl.concat([exchanged, exchanged[1:2].with_columns(pl.lit("G").alias("alt"))])
    multiple = compute_burden(store, annotation(), dataclasses.replace(options, frequencies=third))
    assert multiple.counts["qualifying alleles that the frequency table has exchanged"] == 2
    assert multiple.counts["qualifying alleles that the frequency table lacks"] == 2
    twice = pl.concat([frequency, frequency])
    with pytest.raises(ConfigError, match="a variant twice"):
        compute_burden(store, annotation(), BurdenOptions((Mask("m", "lof"),), frequencies=twice))
    with pytest.raises(ConfigError, match="needs frequency and variant_id"):
        compute_burden(store, annotation(), BurdenOptions((Mask("m", "lof"),), frequencies=frequency.drop("ref")))
    wrong = frequency.with_columns(pl.lit(1.5).alias("frequency"))
    with pytest.raises(ConfigError, match=r"not in \[0, 1\]"):
        compute_burden(store, annotation(), BurdenOptions((Mask("m", "lof"),), frequencies=wrong))


def test_frequencies_count_the_copies_that_people_carry(store: GenotypeStore, calls: np.ndarray) -> None:
    result = compute_burden(store, annotation(), BurdenOptions((Mask("l", "lof", 1.0),)))
    (x,) = [s for s in result.sets if s.gene == "GX"]
    men, women = calls[7, :30], calls[7, 30:]
    copies = (men == 2).sum() + women[women >= 0].sum()
    assert x.frequencies[0] == copies / ((men >= 0).sum() + 2 * (women >= 0).sum())


def test_samples_and_blocks_change_no_value(store: GenotypeStore) -> None:
    options = BurdenOptions((Mask("m", "lof+missense", 1.0),), collapse="weighted", weights="beta", missing="mean")
    whole = compute_burden(store, annotation(), options)
    chosen = np.array([40, 3, 17])
    part = compute_burden(store, annotation(), options, samples=chosen, frequency_samples=np.arange(60))
    assert np.array_equal(part.matrix.values, whole.matrix.values[chosen])
    for size in (1, 3):
        again = collapse_sets(store, whole.sets, collapse="weighted", missing="mean", block_size=size)
        assert np.array_equal(again.values, whole.matrix.values)
        assert np.array_equal(again.carriers, whole.matrix.carriers)


def test_a_table_beyond_memory_is_refused(store: GenotypeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genomix.variants.burden.MAX_VALUES", 100)
    with pytest.raises(ConfigError, match="too many for one table"):
        compute_burden(store, annotation(), BurdenOptions((Mask("l", "lof+missense", 1.0),)))


def test_only_allowed_variants_are_used(store: GenotypeStore) -> None:
    result = compute_burden(store, annotation(), BurdenOptions((Mask("l", "lof", 1.0),)), variants=[1, 2, 3])
    assert [(s.gene, s.rows.tolist()) for s in result.sets] == [("G1", [1])]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transcripts": "best"}, "transcripts = 'best'"),
        ({"collapse": "mean"}, "collapse = 'mean'"),
        ({"weights": "beta", "collapse": "count"}, "belong together"),
        ({"collapse": "weighted"}, "belong together"),
        ({"weights": "gamma", "collapse": "weighted"}, "weights = 'gamma'"),
        ({"masks": ()}, "at least one mask"),
        ({"masks": (Mask("a", "lof"), Mask("a", "missense"))}, "a name of its own"),
    ],
)
def test_impossible_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BurdenOptions(**{"masks": (Mask("m", "lof"),), **changes})
    with pytest.raises(ConfigError, match="is not in"):
        Mask("m", "lof", 1.5)


def test_no_sample_no_gene(store: GenotypeStore, tmp_path: Path) -> None:
    empty = annotation()._replace(rows=pl.DataFrame(schema=ROW_SCHEMA))
    result = compute_burden(store, empty, BurdenOptions((Mask("l", "lof"),)))
    assert result.sets == []
    assert result.genes.height == result.variants.height == 0
    assert result.matrix.values.shape == (60, 0)
