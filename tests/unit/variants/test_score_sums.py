"""Sums over many scores, effect types, contigs and missing genotypes, each against a loop over people and weights."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.plink import GenotypeStore, open_store
from genomix.variants.score_kernels import ABSENT, Terms, add_terms, add_terms_plainly, count_rows, count_rows_plainly
from genomix.variants.score_matching import ScoreMatch, match_score
from genomix.variants.score_sums import expected_sum, load_dosages, sum_scores
from tests.genotype_store import random_calls, store_of

CONTIGS = ["1"] * 12 + ["X"] * 6 + ["Y"] * 4 + ["MT"] * 3
VARIANTS = [(c, 5_000_000 + 10 * i if c != "MT" else 10 * i, "A", "G") for i, c in enumerate(CONTIGS, start=1)]
SEX = [1, 2, 0, 1, 2] * 4
KINDS = ("additive", "dominant", "recessive", "genotypic")


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    return random_calls(len(VARIANTS), len(SEX), seed=5, missing=0.15)


@pytest.fixture(scope="module")
def store(calls: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    return store_of(tmp_path_factory.mktemp("sums"), calls, variants=VARIANTS, sex=SEX)


def terms(seed: int, kinds: tuple[str, ...] = KINDS, rows: range | None = None) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    found = []
    for i in rows or range(len(VARIANTS)):
        contig, position, ref, alt = VARIANTS[i]
        effect, other = (alt, ref) if rng.random() < 0.5 else (ref, alt)
        found.append((contig, position, effect, other, float(rng.normal()), kinds[i % len(kinds)], *rng.normal(size=3)))
    names = ["contig", "position", "effect_allele", "other_allele", "weight", "effect_type"]
    return pl.DataFrame(found, schema=[*names, "weight_0", "weight_1", "weight_2"], orient="row")


def naive(
    calls: np.ndarray, table: pl.DataFrame, people: list[int], fit: list[int], *, impute: bool
) -> list[tuple[float, int, int]]:
    """(sum, ALLELE_CT, DENOM) of each person by the rules in words."""
    place = {(c, p): i for i, (c, p, _, _) in enumerate(VARIANTS)}
    out = []
    for person in people:
        total, called, every = 0.0, 0, 0
        for row in table.iter_rows(named=True):
            contig = row["contig"]
            if contig == "Y" and SEX[person] != 1:
                continue
            ploidy = 1 if contig in ("Y", "MT") else 2
            alt = calls[place[contig, row["position"]]]
            copies = [c if c < 0 or row["effect_allele"] == "G" else 2 - c for c in alt.tolist()]
            carried = possible = 0.0
            for other in fit:
                if copies[other] >= 0 and not (contig == "Y" and SEX[other] != 1):
                    share = 0.5 if contig in ("X", "Y", "MT") and (contig != "X" or SEX[other] == 1) else 1.0
                    carried += share * copies[other]
                    possible += share * 2
            p = carried / possible if possible else 0.0
            weights = (row["weight_0"], row["weight_1"], row["weight_2"])
            every += ploidy
            if copies[person] >= 0:
                called += ploidy
                d = copies[person] * ploidy / 2
                low, high = min(d, 1), max(d - 1, 0)
                total += {
                    "additive": row["weight"] * d, "dominant": row["weight"] * low, "recessive": row["weight"] * high,
                    "genotypic": weights[0] + (weights[1] - weights[0]) * low + (weights[2] - weights[1]) * high,
                }[row["effect_type"]]  # fmt: skip
            elif impute:
                shares = ((1 - p) ** 2, 2 * p * (1 - p), p * p) if ploidy == 2 else (1 - p, p, 0.0)
                value = {
                    "additive": (0, row["weight"], 2 * row["weight"]), "dominant": (0, row["weight"], row["weight"]),
                    "recessive": (0, 0, row["weight"]), "genotypic": weights,
                }[row["effect_type"]]  # fmt: skip
                total += sum(s * v for s, v in zip(shares, value, strict=True))
        out.append((total, called, every if impute else called))
    return out


@pytest.mark.parametrize("impute", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_sums_equal_the_rules_in_words(store: GenotypeStore, calls: np.ndarray, impute: bool, compiled: bool) -> None:
    tables = [terms(1), terms(2, ("additive",)), terms(3, ("genotypic",), range(3, 20))]
    matches = [match_score(t, store.variants) for t in tables]
    assert [m.coverage for m in matches] == [1, 1, 1]
    people, fit = [7, 0, 1, 2, 15], [0, 1, 2, 3, 4, 5, 6, 10, 12]
    found = sum_scores(
        store, matches, imputation="mean" if impute else "none", samples=people, fit_samples=fit, compiled=compiled
    )
    for k, table in enumerate(tables):
        expected = naive(calls, table, people, fit, impute=impute)
        np.testing.assert_allclose(found.totals[k], [e[0] for e in expected], atol=1e-12)
        assert found.alleles_called[k].tolist() == [e[1] for e in expected]
        assert found.alleles[k].tolist() == [e[2] for e in expected]


def test_no_bit_depends_on_blocks_threads_compilation_or_company(store: GenotypeStore) -> None:
    matches = [match_score(terms(s), store.variants) for s in (1, 2, 3)]
    whole = sum_scores(store, matches, compiled=False)
    loaded = load_dosages(store, matches, np.arange(store.n_samples))
    for options in (
        {"block": 1},
        {"block": 7},
        {"compiled": True},
        {"compiled": True, "threads": 3, "block": 4},
        {"loaded": loaded},
    ):
        again = sum_scores(store, matches, **{"compiled": False, **options})
        for a, b in zip(whole[:3], again[:3], strict=True):
            assert a.tobytes() == b.tobytes()
    alone = sum_scores(store, [matches[1]], frequencies=[whole.frequencies[1]], samples=[11, 3], compiled=True)
    assert alone.totals.tobytes() == whole.totals[1:2][:, [11, 3]].tobytes()


def test_swapping_effect_and_other_allele_reverses_an_additive_score(store: GenotypeStore) -> None:
    """Copies of the two alleles add up to two where all are called, and imputed copies do too."""
    one = terms(4, ("additive",), range(12))
    other = one.rename({"effect_allele": "other_allele", "other_allele": "effect_allele"}).select(one.columns)
    sums = sum_scores(store, [match_score(t, store.variants) for t in (one, other)])
    np.testing.assert_allclose(sums.totals.sum(axis=0), 2 * one["weight"].sum(), atol=1e-12)


def test_what_an_unknown_person_is_expected_to_score(store: GenotypeStore) -> None:
    match = match_score(terms(1), store.variants)
    frequencies = np.linspace(0.05, 0.95, match.variants.height)
    haploid = np.array([c in ("Y", "MT") for c in store.variants["contig"]])
    total = 0.0
    for row, p, single in zip(match.variants.iter_rows(named=True), frequencies, haploid, strict=True):
        shares = (1 - p, p, 0) if single else ((1 - p) ** 2, 2 * p * (1 - p), p * p)
        w = row["weight"]
        values = {"additive": (0, w, 2 * w), "dominant": (0, w, w), "recessive": (0, 0, w)}
        three = values.get(row["effect_type"], (row["weight_0"], row["weight_1"], row["weight_2"]))
        total += sum(s * v for s, v in zip(shares, three, strict=True))
    assert expected_sum(match.variants, frequencies, haploid) == pytest.approx(total, abs=1e-12)


def test_compiled_loops_equal_plain_ones_to_the_bit() -> None:
    rng = np.random.default_rng(8)
    copies = (rng.integers(0, 32769, (40, 1100)) / 16384).astype(np.float32)
    gaps = np.zeros(40, dtype=np.int8)
    copies[5:15][rng.random((10, 1100)) < 0.1] = np.nan
    gaps[5:15] = 1
    copies[15:18, ::3] = ABSENT
    copies[15:18, 1] = np.nan
    gaps[15:18] = 2
    n = 300
    kinds = np.where(np.arange(n) % 3 == 0, rng.integers(0, 4, n), 0)
    row, score = np.sort(rng.integers(0, 40, n)), np.sort(rng.integers(0, 3, n))
    plan = Terms(row, score, rng.normal(size=n), kinds, rng.random(n), rng.integers(0, 3, n))
    results = []
    for add, options in ((add_terms_plainly, {}), (add_terms, {}), (add_terms, {"threads": 2})):
        totals, missing = np.zeros((3, 1100)), np.zeros((3, 1100), dtype=np.int64)
        add(copies, plan, gaps, totals, missing, **options)
        results.append((totals.tobytes(), missing.tobytes()))
    assert results[0] == results[1] == results[2]
    known = copies[:15]
    for a, b in zip(count_rows(known), count_rows_plainly(known), strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.external_tool
def test_true_dosages_are_used(plink2: str, tmp_path: Path) -> None:
    prefix = tmp_path / "d"
    dummy = ["--dummy", "30", "8", "0.1", "dosage-freq=0.8", "acgt", "--seed", "3"]
    subprocess.run([plink2, *dummy, "--make-pgen", "--out", str(prefix)], check=True, capture_output=True)
    table = pl.read_csv(tmp_path / "d.pvar", separator="\t").with_columns(pl.col("POS") + 1)
    table.write_csv(tmp_path / "d.pvar", separator="\t")
    store = open_store(prefix)
    dosages = store.read_dosages().astype(np.float64)
    assert (dosages % 1 > 0).any()
    table = store.variants.select(
        "contig", "position", pl.col("alt").alias("effect_allele"), pl.col("ref").alias("other_allele")
    )
    weights = np.arange(1.0, 9.0)
    match = match_score(table.with_columns(weight=weights), store.variants, ambiguous="keep")
    mean = np.nanmean(dosages, axis=1, keepdims=True)
    expected = weights @ np.where(np.isnan(dosages), mean, dosages)
    np.testing.assert_allclose(sum_scores(store, [match]).totals[0], expected, rtol=1e-12)


def test_nothing_to_sum(store: GenotypeStore) -> None:
    none = match_score(terms(1).clear(), store.variants)
    assert isinstance(none, ScoreMatch)
    assert none.coverage == 0
    found = sum_scores(store, [none])
    assert not found.totals.any()
    assert not found.alleles.any()
