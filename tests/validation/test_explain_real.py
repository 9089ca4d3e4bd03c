"""Explanations on real data: shap and the definition on NHANES I, records of MIMIC-IV, the heart study."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.explain.chain import RecordsBehind, Sources, chain
from genomix.explain.interactions import explain_interactions, used_columns
from genomix.explain.linear_shap import linear_terms, linear_values
from genomix.explain.tree_shap import explain_rows
from genomix.features.feature_set import open_feature_set
from genomix.features.matrix import FeatureBlock
from genomix.features.record_sources import events_of_person, options_of_set
from genomix.models.bundle import read_bundle
from genomix.models.model import Part, model_named
from genomix.models.scoring import score
from genomix_cli.app import main
from tests.unit.explain.test_interactions import by_definition
from tests.unit.explain.test_tree_shap_exact import expectation, shapley
from tests.validation.test_shap_peers import read_nhanes

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def nhanes(real_data: Path) -> tuple[FeatureBlock, np.ndarray]:
    block, event, _ = read_nhanes(real_data)
    X = block.values.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.15] = np.nan
    return FeatureBlock(X, block.columns), event


def test_nhanes_by_the_definition_with_missing_values(nhanes) -> None:
    """Every coalition of eight columns, trees walked one by one: values and interactions, additivity proves neither."""
    block, event = nhanes
    eight = block.select(block.columns["name"].to_list()[:8])
    fitted = model_named("boosted").fit(
        Part(eight.values[:4000], event[:4000]), tuning=None, objective="binary", seed=0, device=CPU,
        options={"rounds": 6, "max_depth": 4, "eta": 0.3},
    )  # fmt: skip
    trees = [json.loads(t) for t in fitted.booster.get_dump(with_stats=True, dump_format="json")]
    rows = np.arange(5000, 5004)
    assert np.isnan(eight.values[rows]).any()
    found = explain_rows(fitted, eight, rows)
    for i, row in enumerate(rows):
        assert found.values[i] == pytest.approx(shapley(trees, eight.values[row]), abs=1e-5)
    mean = event[:4000].mean()
    start = np.log(mean / (1 - mean)) + sum(expectation(t, eight.values[0], frozenset()) for t in trees)
    assert found.base_value == pytest.approx(start, abs=1e-5)
    pairs = explain_interactions(fitted, eight, rows[:2])
    used = used_columns(fitted)
    for i in range(2):
        whole = by_definition(trees, eight.values[rows[i]])
        assert pairs.values[i] == pytest.approx(whole[np.ix_(used, used)], abs=1e-5)


def test_nhanes_interactions_agree_with_shap(nhanes) -> None:
    shap = pytest.importorskip("shap")
    block, event = nhanes
    fitted = model_named("boosted").fit(
        Part(block.values[:3000], event[:3000]), tuning=None, objective="binary", seed=0, device=CPU,
        options={"rounds": 60},
    )  # fmt: skip
    rows = np.arange(4000, 4020)
    found = explain_interactions(fitted, block, rows)
    theirs = np.asarray(shap.TreeExplainer(fitted.booster).shap_interaction_values(block.values[rows]))
    used = used_columns(fitted)
    assert used.size > 12
    scale = float(np.abs(theirs).max())
    assert np.abs(found.values - theirs[:, used][:, :, used]).max() < 1e-4 * scale
    rest = np.setdiff1d(np.arange(theirs.shape[1]), used)
    assert np.abs(theirs[:, rest]).max(initial=0.0) < 1e-6 * scale


@pytest.fixture(scope="module")
def heart(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heart")
    for site in ("cleveland", "hungarian"):
        frame = pl.read_csv(real_data / "uci-heart-cleveland" / f"processed.{site}.data", infer_schema=False)
        sick = (pl.col("target").cast(pl.Float64) > 0).cast(pl.Int64).alias("disease")
        frame.with_columns(sick).write_csv(folder / f"{site}.csv")
    given = ["--target", "disease", "--exclude", "target", "--missing", "?", "--resamples", "100", "--device", "cpu"]
    for name in ("cp", "restecg", "slope", "thal"):
        given += ["--categorical", name]
    assert main(["model", "train", str(folder / "cleveland.csv"), *given, "-o", str(folder / "b")]) == 0
    return folder


def test_heart_from_a_bundle_elsewhere(heart: Path) -> None:
    """Both models of a Cleveland bundle on Hungarian people, most of whom lack slope, ca and thal."""
    shap = pytest.importorskip("shap")
    bundle = read_bundle(heart / "b")
    (part,) = score(bundle, heart / "hungarian.csv")
    X = part.block.values
    assert np.isnan(X).mean() > 0.1
    found = explain_rows(bundle.fitted, part.block, np.arange(len(X)))
    theirs = shap.TreeExplainer(bundle.fitted.booster).shap_values(X)
    assert np.abs(found.values - theirs).max() < 1e-4
    assert bundle.baseline is not None
    terms = linear_terms(bundle.baseline, bundle.columns)
    told = explain_rows(bundle.baseline, part.block, np.arange(len(X)))
    assert linear_values(terms, X) == pytest.approx(told.values.astype(float), abs=1e-5)
    # shap's own linear explainer on the standardised design, whose training mean is its background.
    model = bundle.baseline
    design = model.preprocessing.design(X)
    masker = shap.maskers.Independent(model.background[None, :], max_samples=1)
    peer = shap.LinearExplainer((model.slopes, model.intercept), masker).shap_values(design)
    p = X.shape[1]
    joined = peer[:, :p].copy()
    joined[:, model.preprocessing.indicator] += peer[:, p:]
    assert told.values == pytest.approx(joined, abs=1e-5)


def test_every_kind_of_value_of_mimic_has_its_records(real_data: Path, tmp_path: Path) -> None:
    """Values of a feature set of real records, each computed again from the lines that a chain lists."""
    records, labels, out = tmp_path / "records", tmp_path / "labels.parquet", tmp_path / "features"
    assert main(["ehr", "convert", str(real_data / "mimic4-demo-meds"), "-o", str(records), "-q"]) == 0
    assert main(["ehr", "cohort", str(records), "--task", "in_hospital_death", "-o", str(labels), "-q"]) == 0
    kinds = "count,has,distinct_days,time_since_first,time_since_last,first,last,min,max,mean,sum,std,slope"
    given = ["--labels", str(labels), "--windows", "1d,30d,full", "--aggregations", kinds, "--include", "^LAB//50"]
    assert main(["ehr", "features", str(records), *given, "--no-certificate", "-o", str(out), "-q"]) == 0
    found, options = open_feature_set(out), options_of_set(out)
    columns, draw, seen = found.columns.to_dicts(), np.random.default_rng(0), Counter[str]()
    for row in draw.choice(found.index.height, 6, replace=False).tolist():
        at = found.index.row(row, named=True)
        events = events_of_person(records, at["subject_id"])
        behind = Sources(RecordsBehind(events, at["subject_id"], at["prediction_time"], options))
        values = found.block(rows=np.array([row])).values[0]
        held = np.flatnonzero(~np.isnan(values) & (values != 0))
        for j in draw.choice(held, min(60, held.size), replace=False).tolist():
            told = chain(columns[j], float(values[j]), behind)
            assert told.checked
            assert told.n_sources > 0
            seen[columns[j]["aggregation"] or columns[j]["name"]] += 1
    assert set(kinds.split(",")) <= set(seen)
    assert sum(seen.values()) > 200
