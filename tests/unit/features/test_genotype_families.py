"""The genotype families: one output row per index row, learned from training samples only, and what the values are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, FormatError
from genomix.features.families import polygenic_score
from genomix.features.families.ancestry_pcs import FAMILY as ANCESTRY
from genomix.features.families.dosages import FAMILY as DOSAGES
from genomix.features.families.polygenic_score import FAMILY as SCORE
from genomix.features.family import FeatureInputs
from genomix.io.plink import GenotypeStore, open_store
from genomix.provenance import canonical_json
from genomix.schemas.features import COLUMNS
from genomix.schemas.genotypes import SCORE_WEIGHTS
from tests.genotype_store import random_calls, store_of

N_SAMPLES, N_VARIANTS = 60, 80
VARIANTS = [("1" if i < 50 else "2", 1000 * (i + 1), "A", "G") for i in range(N_VARIANTS)]
WEIGHTS = pl.DataFrame(
    [(c, p, "G", "A", 0.1 * (i % 7) - 0.2) for i, (c, p, _, _) in enumerate(VARIANTS[:40])],
    schema={c.name: c.dtype for c in SCORE_WEIGHTS.columns},
    orient="row",
)
PCS = {"n_components": 2, "prune_r2": None}
CASES = [
    pytest.param(ANCESTRY, PCS, id="ancestry_pcs"),
    pytest.param(SCORE, {"scores": [{"name": "S", "weights": WEIGHTS}], **PCS}, id="polygenic_score"),
    pytest.param(DOSAGES, {"prune_r2": 0.05}, id="dosages"),
]


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    return random_calls(N_VARIANTS, N_SAMPLES, seed=11, missing=0.03)


@pytest.fixture(scope="module")
def store(calls: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    return store_of(tmp_path_factory.mktemp("store"), calls, variants=VARIANTS)


def inputs_of(store: GenotypeStore, sample_of_row: list[int] | np.ndarray, **changes: Any) -> FeatureInputs:
    rows = np.asarray(sample_of_row, dtype=np.int64)
    index = pl.DataFrame({"row": np.arange(len(rows)), "subject_id": rows})
    given: dict[str, Any] = {"variant_keep": None, "unrelated": np.ones(len(rows), dtype=np.bool_), **changes}
    return FeatureInputs(index, CPU, genotypes=store, sample_of_row=rows, **given)


ROWS = [*range(5, 45), -1, 7, 3, 50]
"""Samples in another order than the file's, one person without genotypes, one with two rows, some samples unused."""
TRAINING = np.arange(0, 30)


@pytest.mark.parametrize(("family", "options"), CASES)
def test_one_row_per_index_row_in_order(family, options, store) -> None:
    inputs = inputs_of(store, ROWS)
    block = family.compute(inputs, options)
    learned = family.fit(block, inputs, options, TRAINING)
    found = family.apply(block, inputs, options, learned)
    assert found.values.shape[0] == len(ROWS)
    assert found.values.dtype == np.float32
    COLUMNS.validate(found.columns)
    assert set(found.columns["family"]) == {family.name}
    assert set(found.columns["source"]) == {"genotypes"}
    assert found.columns["smallest_lag_days"].null_count() == found.columns.height
    missing = np.isnan(found.values).all(axis=1)
    assert np.flatnonzero(missing).tolist() == [ROWS.index(-1)]
    np.testing.assert_array_equal(found.values[ROWS.index(7)], found.values[41])
    order = np.random.default_rng(0).permutation(len(ROWS))
    shuffled = inputs_of(store, np.array(ROWS)[order])
    rows = np.flatnonzero(np.isin(order, TRAINING))
    again = family.compute(shuffled, options)
    assert canonical_json(family.fit(again, shuffled, options, rows)) == canonical_json(learned)
    np.testing.assert_array_equal(family.apply(again, shuffled, options, learned).values, found.values[order])


@pytest.mark.parametrize(("family", "options"), CASES)
def test_only_training_samples_teach(family, options, store, calls, tmp_path: Path) -> None:
    inputs = inputs_of(store, ROWS)
    learned = family.fit(family.compute(inputs, options), inputs, options, TRAINING)
    trained = {ROWS[r] for r in TRAINING.tolist()}
    others = [s for s in range(N_SAMPLES) if s not in trained]
    changed = calls.copy()
    changed[:, others] = random_calls(N_VARIANTS, len(others), seed=99, missing=0.2)
    elsewhere = inputs_of(store_of(tmp_path, changed, variants=VARIANTS), ROWS)
    again = family.fit(family.compute(elsewhere, options), elsewhere, options, TRAINING)
    assert canonical_json(again) == canonical_json(learned)
    changed[:, sorted(trained)[:3]] = 1
    other = inputs_of(store_of(tmp_path, changed, variants=VARIANTS), ROWS)
    assert canonical_json(family.fit(family.compute(other, options), other, options, TRAINING)) != canonical_json(
        learned
    )


@pytest.mark.parametrize(("family", "options"), CASES[:2])
def test_related_people_do_not_teach_structure(family, options, store) -> None:
    unrelated = np.ones(len(ROWS), dtype=np.bool_)
    unrelated[[2, 3]] = False
    inputs = inputs_of(store, ROWS, unrelated=unrelated)
    learned = family.fit(family.compute(inputs, options), inputs, options, TRAINING)
    all_in = inputs_of(store, ROWS)
    assert canonical_json(learned) != canonical_json(
        family.fit(family.compute(all_in, options), all_in, options, TRAINING)
    )
    pcs = learned if family is ANCESTRY else learned["ancestry"]
    assert pcs["n_samples"] == len(TRAINING) - 2


def test_score_is_the_standardised_residual(store, calls) -> None:
    options = {"scores": [{"name": "S", "weights": WEIGHTS}], **PCS}
    inputs = inputs_of(store, ROWS)
    block = SCORE.compute(inputs, options)
    found = SCORE.apply(block, inputs, options, SCORE.fit(block, inputs, options, TRAINING)).values[:, 0]
    assert block.columns["name"].to_list() == ["polygenic_score:S"]
    samples = np.array([s for s in ROWS if s >= 0])
    training = np.array(ROWS)[TRAINING]
    filled = calls[:40].astype(float)
    for v in range(40):
        seen = calls[v, training]
        filled[v][calls[v] < 0] = seen[seen >= 0].mean()
    total = WEIGHTS["weight"].to_numpy() @ filled
    pcs = ANCESTRY.apply(block, inputs, PCS, ANCESTRY.fit(block, inputs, PCS, TRAINING)).values.astype(float)
    design = np.column_stack([np.ones(len(ROWS)), pcs])
    has = np.array(ROWS) >= 0
    y = np.full(len(ROWS), np.nan)
    y[has] = total[samples]
    beta = np.linalg.lstsq(design[TRAINING], y[TRAINING], rcond=None)[0]
    residual = y - design @ beta
    expected = residual / np.sqrt((residual[TRAINING] ** 2).sum() / (len(TRAINING) - 3))
    np.testing.assert_allclose(found[has], expected[has], atol=2e-5)
    assert abs(np.corrcoef(found[TRAINING], pcs[TRAINING, 0])[0, 1]) < 1e-5


def test_plain_score_without_adjustment(store) -> None:
    options = {"scores": [{"name": "S", "weights": WEIGHTS}], "adjust": False}
    inputs = inputs_of(store, ROWS)
    block = SCORE.compute(inputs, options)
    found = SCORE.apply(block, inputs, options, SCORE.fit(block, inputs, options, TRAINING))
    assert found.values[TRAINING, 0].mean() == pytest.approx(0, abs=1e-6)
    assert found.values[TRAINING, 0].std(ddof=1) == pytest.approx(1, abs=1e-6)
    assert found.columns["sentence"].to_list() == ["polygenic score S (SD)"]


def test_dominant_and_recessive_weights_are_learned_and_applied(store, calls, tmp_path: Path) -> None:
    kinds = pl.Series("effect_type", ["dominant", "recessive", "additive", "additive"] * 10)
    options = {"scores": [{"name": "S", "weights": WEIGHTS.with_columns(kinds)}], "adjust": False}
    inputs = inputs_of(store, ROWS)
    block = SCORE.compute(inputs, options)
    learned = SCORE.fit(block, inputs, options, TRAINING)
    found = SCORE.apply(block, inputs, options, json.loads(canonical_json(learned))).values[:, 0]
    training = np.array(ROWS)[TRAINING]
    total = np.zeros(N_SAMPLES)
    for v, (weight, kind) in enumerate(zip(WEIGHTS["weight"], kinds, strict=True)):
        seen = calls[v, training]
        p = seen[seen >= 0].mean() / 2
        coded = {"dominant": np.minimum(calls[v], 1), "recessive": np.maximum(calls[v] - 1, 0)}.get(kind, calls[v])
        expected = {"dominant": p * (2 - p), "recessive": p * p}.get(kind, 2 * p)
        total += weight * np.where(calls[v] < 0, expected, coded)
    teachers = total[training]
    rows = np.array([s for s in ROWS if s >= 0])
    wanted = (total[rows] - teachers.mean()) / teachers.std(ddof=1)
    np.testing.assert_allclose(found[np.array(ROWS) >= 0], wanted, atol=2e-5)


def test_genotypes_of_a_score_are_read_once_per_store(store, monkeypatch) -> None:
    read = []
    original = GenotypeStore.read_dosages
    monkeypatch.setattr(
        GenotypeStore, "read_dosages", lambda self, *a, **k: (read.append(1), original(self, *a, **k))[1]
    )
    options = {"scores": [{"name": "S", "weights": WEIGHTS[:37]}], "adjust": False}
    inputs = inputs_of(store, ROWS)
    block = SCORE.compute(inputs, options)
    results = []
    for limit in (polygenic_score._MOST_VALUES, 0):
        monkeypatch.setattr(polygenic_score, "_MOST_VALUES", limit)
        learned = [SCORE.fit(block, inputs, options, TRAINING[i:]) for i in range(3)]
        results.append([SCORE.apply(block, inputs, options, fold).values.tobytes() for fold in learned])
        results[-1] += [canonical_json(fold) for fold in learned]
        assert len(read) == 1 or limit == 0
    assert len(read) > 3
    assert results[0] == results[1]


def test_scores_are_refused_when_they_do_not_fit(store) -> None:
    inputs = inputs_of(store, ROWS)
    for scores, kind, message in (
        ([], ConfigError, "names no scores"),
        ([{"name": "S"}], ConfigError, "either a path or weights"),
        ([{"name": "S", "weights": WEIGHTS, "pth": 1}], ConfigError, "no key 'pth'"),
        ([{"name": "S", "weights": WEIGHTS}] * 2, ConfigError, "name of its own"),
        ([{"name": "S", "weights": WEIGHTS, "build": "GRCh37"}], FormatError, "GRCh37"),
        ([{"name": "S", "weights": WEIGHTS.with_columns(contig=pl.lit("9"))}], FormatError, "only 0 of the 40"),
    ):
        with pytest.raises(kind, match=message):
            SCORE.compute(inputs, {"scores": scores})


def test_dosages_are_the_calls(store, calls) -> None:
    inputs = inputs_of(store, ROWS)
    options = {"select": "cis", "region": "chr1:5,000-9000"}
    block = DOSAGES.compute(inputs, options)
    assert block.columns["code"].to_list() == [f"1:{p}:A:G" for p in (5000, 6000, 7000, 8000, 9000)]
    assert block.columns["sentence"][0] == "copies of G (instead of A) at 1:5000"
    for row, sample in enumerate(ROWS):
        expected = np.full(5, np.nan) if sample < 0 else np.where(calls[4:9, sample] >= 0, calls[4:9, sample], np.nan)
        np.testing.assert_array_equal(block.values[row], expected)


def test_dosages_select_by_list_region_frequency_and_number(store, calls) -> None:
    inputs = inputs_of(store, ROWS)

    def chosen(**options: Any) -> list[str]:
        block = DOSAGES.compute(inputs, options)
        return DOSAGES.fit(block, inputs, options, TRAINING)["variants"]

    assert chosen(select="list", variants=["2:60000:A:G", "1:3000:A:G"]) == ["2:60000:A:G", "1:3000:A:G"]
    training = np.array(ROWS)[TRAINING]
    minor = []
    for row in calls[:, training]:
        p = row[row >= 0].mean() / 2
        minor.append(min(p, 1 - p))
    frequent = chosen(prune_r2=None, minor_allele_frequency=0.3)
    assert len(frequent) == sum(m >= 0.3 for m in minor)
    assert 10 < len(frequent) < N_VARIANTS
    top = chosen(prune_r2=None, max_variants=5)
    assert {int(key.split(":")[1]) // 1000 - 1 for key in top} == set(np.argsort(-np.array(minor), kind="stable")[:5])
    region = {"contig": "2", "start": 55_000, "end": 58_000}
    assert len(chosen(select="cis", region=region, prune_r2=None, minor_allele_frequency=0)) == 4
    for options, message in (
        ({"select": "list", "variants": ["rs0"]}, "rs0 is not in the genotypes"),
        ({"select": "list"}, "names no variants"),
        ({"select": "cis"}, "needs a region"),
        ({"select": "cis", "region": "7:1-2"}, "no kept variant lies"),
        ({"select": "best"}, "all, cis or list"),
        ({"window": 3}, "no option 'window'"),
    ):
        with pytest.raises(ConfigError, match=message):
            DOSAGES.compute(inputs, options)
    kept = inputs_of(store, ROWS, variant_keep=np.arange(1, N_VARIANTS))
    with pytest.raises(ConfigError, match="did not pass quality control"):
        DOSAGES.compute(kept, {"select": "list", "variants": ["1:1000:A:G"]})


@pytest.mark.parametrize(("family", "options"), CASES)
def test_another_store_may_lack_variants(family, options, store, calls, tmp_path: Path) -> None:
    """What was learned applies to genotypes with fewer variants in another order; absent ones count as missing."""
    inputs = inputs_of(store, ROWS)
    block = family.compute(inputs, options)
    learned = family.fit(block, inputs, options, TRAINING)
    absent = calls.copy()
    absent[30:33] = -9
    present = [i for i in range(N_VARIANTS) if i not in range(30, 33)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    all_missing = inputs_of(store_of(tmp_path / "a", absent, variants=VARIANTS), ROWS)
    fewer = inputs_of(store_of(tmp_path / "b", calls[present], variants=[VARIANTS[i] for i in present]), ROWS)
    results = [family.apply(family.compute(i, options), i, options, learned).values for i in (all_missing, fewer)]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6, atol=1e-6)


def test_families_are_registered_and_name_their_needs(store) -> None:
    from genomix.features.assemble import load_families

    for name, family in load_families(["ancestry_pcs", "polygenic_score", "dosages"]).items():
        assert family.name == name
        assert family.needs == frozenset({"genotypes"})
        assert family.learns
    bare = FeatureInputs(pl.DataFrame({"row": [0]}), CPU)
    with pytest.raises(ConfigError, match="needs genotypes"):
        DOSAGES.compute(bare, {})
    assert open_store(store.prefix).n_variants == N_VARIANTS
