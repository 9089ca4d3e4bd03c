"""Selection of variants by association: training labels only, each fold for itself, linked variants left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError
from genomix.features.assemble import assemble
from genomix.features.families.dosages import FAMILY as DOSAGES
from genomix.features.family import FeatureInputs, fitting_inputs
from genomix.io.plink import GenotypeStore
from tests.genotype_store import random_calls, store_of

N, M = 200, 40
CAUSAL, COPY, FAR = 7, 8, 30
VARIANTS = [("1" if i < 25 else "2", 1000 * (i + 1), "A", "G") for i in range(M)]
OPTIONS = {"select": {"by": "association", "p": 1e-3, "clump_r2": 0.5}, "minor_allele_frequency": 0.01}


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    found = random_calls(M, N, seed=21, missing=0.0)
    found[COPY] = found[CAUSAL]
    found[COPY, 0] = 2 - found[CAUSAL, 0] if found[CAUSAL, 0] != 1 else 0
    return found


@pytest.fixture(scope="module")
def store(calls: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    return store_of(tmp_path_factory.mktemp("store"), calls, variants=VARIANTS)


@pytest.fixture(scope="module")
def labels(calls: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.asarray(1.5 * calls[CAUSAL] - 1.2 * calls[FAR] + rng.normal(size=N))


def inputs_of(store: GenotypeStore, **changes: Any) -> FeatureInputs:
    index = pl.DataFrame({"row": np.arange(N), "subject_id": np.arange(N)})
    return FeatureInputs(index, CPU, genotypes=store, sample_of_row=np.arange(N, dtype=np.int64), **changes)


def chosen(store: GenotypeStore, labels: np.ndarray, rows: np.ndarray, options: Any = None, **changes: Any) -> set[int]:
    inputs = fitting_inputs(inputs_of(store, **changes), pl.Series(labels), rows)
    options = options or OPTIONS
    learned = DOSAGES.fit(DOSAGES.compute(inputs, options), inputs, options, rows)
    return {int(key.split(":")[1]) // 1000 - 1 for key in learned["variants"]}


TRAINING = np.arange(0, 140)


def test_the_causal_variants_are_found_and_a_copy_of_one_is_left_out(store: GenotypeStore, labels: np.ndarray) -> None:
    found = chosen(store, labels, TRAINING)
    assert FAR in found
    assert len(found & {CAUSAL, COPY}) == 1
    unclumped = {"select": {"by": "association", "p": 1e-3, "clump_r2": None}}
    assert {CAUSAL, COPY, FAR} <= chosen(store, labels, TRAINING, unclumped)


def test_labels_outside_the_training_rows_change_nothing(store: GenotypeStore, labels: np.ndarray) -> None:
    other = labels.copy()
    other[140:] = np.random.default_rng(4).normal(size=N - 140) * 100
    assert chosen(store, labels, TRAINING) == chosen(store, other, TRAINING)
    assert chosen(store, labels, TRAINING) != chosen(store, labels[::-1].copy(), TRAINING)


def test_fit_is_given_no_label_of_another_row(store: GenotypeStore, labels: np.ndarray) -> None:
    given = fitting_inputs(inputs_of(store), pl.Series(labels), TRAINING).training_target
    assert given is not None
    assert np.isnan(given[140:]).all()
    assert np.array_equal(given[:140], labels[:140])


def test_related_people_do_not_select(store: GenotypeStore, labels: np.ndarray) -> None:
    """What holds among the related only is not seen: noise in the unrelated hides the causal variants."""
    mixed = labels.copy()
    mixed[:70] = np.random.default_rng(5).normal(size=70)
    unrelated = np.arange(N) < 70
    only_noise = chosen(store, mixed, TRAINING, unrelated=unrelated)
    assert len(only_noise) == 1  # min_variants: the best one, whatever its p
    assert FAR in chosen(store, mixed, np.arange(70, 140))


def test_case_control_labels_go_through_logistic_regression(store: GenotypeStore, labels: np.ndarray) -> None:
    cases = (labels > np.median(labels)).astype(float)
    assert chosen(store, cases, TRAINING) & {CAUSAL, COPY, FAR}


def test_order_and_repetition_of_rows_teach_nothing(store: GenotypeStore, labels: np.ndarray) -> None:
    again = np.concatenate([TRAINING[::-1]])
    assert chosen(store, labels, TRAINING) == chosen(store, labels, again)


def test_limits(store: GenotypeStore, labels: np.ndarray) -> None:
    few = {"select": {"by": "association", "p": 1.0, "max_variants": 3, "clump_r2": None}}
    assert len(chosen(store, labels, TRAINING, few)) == 3
    with_components = {"select": {"by": "association", "p": 1e-3, "components": 2}, "minor_allele_frequency": 0.01}
    assert FAR in chosen(store, labels, TRAINING, with_components)


def test_assemble_selects_anew_in_each_fold(store: GenotypeStore, labels: np.ndarray) -> None:
    """Fold 0 trains where variant FAR is causal, fold 1 where the label is noise."""
    mixed = labels.copy()
    mixed[100:] = np.random.default_rng(6).normal(size=100)
    index = pl.DataFrame(
        {
            "row": np.arange(N), "subject_id": np.arange(N), "prediction_time": [None] * N, "label": mixed,
            "weight": np.ones(N), "kin_group": np.arange(N),
            "fold_0": ["train"] * 100 + ["held_out"] * 100, "fold_1": ["held_out"] * 100 + ["train"] * 100,
        }
    )  # fmt: skip
    matrix = assemble({"dosages": DOSAGES}, {"dosages": OPTIONS}, inputs_of(store), index)
    far = f"{VARIANTS[FAR][0]}:{VARIANTS[FAR][1]}:A:G"
    assert far in matrix.folds[0].learned["dosages"]["variants"]
    assert far not in matrix.folds[1].learned["dosages"]["variants"]


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ({"by": "luck"}, "select by 'luck'"),
        ({"by": "association", "q": 1}, "no option 'q'"),
        ({"by": "association", "p": 0}, "p = 0"),
        ({"by": "association", "min_variants": 5, "max_variants": 3}, "min_variants = 5, max_variants = 3"),
    ],
)
def test_wrong_options(store: GenotypeStore, labels: np.ndarray, select: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        chosen(store, labels, TRAINING, {"select": select})


def test_without_labels_it_refuses(store: GenotypeStore) -> None:
    inputs = replace(inputs_of(store), training_target=None)
    with pytest.raises(ConfigError, match="needs the training rows' labels"):
        DOSAGES.fit(DOSAGES.compute(inputs, OPTIONS), inputs, OPTIONS, TRAINING)


def test_a_variant_that_no_training_person_has_a_call_for_is_not_chosen(
    calls: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    gone = calls.copy()
    gone[3, :140] = -9
    store = store_of(tmp_path, gone, variants=VARIANTS)
    everything = {"select": {"by": "association", "p": 1.0, "clump_r2": None}}
    assert chosen(store, labels, TRAINING, everything) == set(range(M)) - {3}
