"""Synthetic report inputs: a full binary study, a study of many traits, one without any data, one with small cells.

Nothing here comes from people. The tables follow the schemas; the figures are plausible, not computed by a model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from genomix.report.inputs import (
    CardRow,
    ExampleSubject,
    ReportInputs,
    ScoreCard,
    StudyFacts,
    SurvivalResults,
    TotalRow,
)
from genomix.schemas.features import COLUMNS
from genomix.schemas.frame import FrameSchema
from genomix.schemas.people import FLOW
from genomix.schemas.results import (
    CERTIFICATE,
    CURVES,
    IMPORTANCE,
    LADDER,
    METRICS,
    SURVIVAL_CALIBRATION,
    SURVIVAL_GROUPS,
    THRESHOLDS,
)

N_HELD, N_EVENTS = 2_412, 338
RUNGS = ("demographics", "ancestry", "records", "score", "variants")
SWARM = {"feature": pl.String, "row": pl.Int64, "fold": pl.Int64, "value": pl.Float32, "shap": pl.Float32,
         "base_value": pl.Float32, "percentile": pl.Float64}  # fmt: skip


def frame(schema: FrameSchema, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame of the schema; columns that a row lacks are null."""
    types = {c.name: c.dtype for c in schema.columns}
    return schema.validate(pl.DataFrame([{n: r.get(n) for n in types} for r in rows], schema=types))


def empty_inputs() -> ReportInputs:
    """Return a study of which nothing is known but its title."""
    facts = StudyFacts("An empty study", "", "the outcome", "binary", "")
    return ReportInputs(
        facts=facts, flow=FLOW.empty(), quality={}, columns=COLUMNS.empty(), metrics=METRICS.empty(),
        curves=CURVES.empty(), thresholds=THRESHOLDS.empty(), ladder=LADDER.empty(), importance=IMPORTANCE.empty(),
        beeswarm=pl.DataFrame(schema=SWARM), certificate=CERTIFICATE.empty(), split={}, provenance={},
    )  # fmt: skip


def full_inputs() -> ReportInputs:
    """Return a binary study with records, genotypes, a score, ancestry groups and simulated parts."""
    return ReportInputs(
        facts=_facts(), flow=_flow(), quality=_quality(), columns=_columns(), metrics=_metrics(), curves=_curves(),
        thresholds=_thresholds(N_HELD, N_EVENTS), ladder=_ladder(), importance=_importance(), beeswarm=_beeswarm(1_000),
        certificate=_certificate(), split=_split(), provenance=_provenance(), score_card=_score_card(),
    )  # fmt: skip


def table_inputs() -> ReportInputs:
    """Return the full study as one of a table: no ladder, no windows, no kinship, columns of numbers and categories."""
    full = full_inputs()
    facts = replace(
        full.facts, table_rows="clinic visits", genome_build=None, windows_days=(), gap_days=0.0, horizon_days=None
    )
    numbers = pl.int_range(pl.len()) % 2 == 0
    columns = full.columns.with_columns(
        pl.when(numbers).then(pl.lit("table")).otherwise(pl.lit("table_categories")).alias("family"),
        pl.lit("table").alias("source"), pl.lit(None, dtype=pl.Float64).alias("smallest_lag_days"),
    )  # fmt: skip
    table = {
        "rows": N_HELD, "people": N_HELD - 40, "people_with_several_rows": 7,
        "given_columns": [{"column": "ward", "kind": "category", "rows_without_a_value": 3}],
    }  # fmt: skip
    split = {k: v for k, v in full.split.items() if "kinship" not in k and "crossing" not in k}
    return replace(full, facts=facts, quality={"table": table}, columns=columns, ladder=LADDER.empty(), split=split)


def suppressed_inputs() -> ReportInputs:
    """Return the full study with small cells planted in the flow, the subgroups, the thresholds and the folds."""
    full = full_inputs()
    flow = full.flow.with_columns(
        removed=pl.when(pl.col("step").str.contains("called in")).then(7).otherwise(pl.col("removed")),
    )
    rows = flow.to_dicts()
    kept = None
    for row in rows:
        if row["part"] == "genotypes":
            row["entered"] = row["entered"] if kept is None else kept
            kept = row["kept"] = row["entered"] - row["removed"]
    metrics = full.metrics.with_columns(
        n_events=pl.when(pl.col("group") == "ancestry=EAS").then(6).otherwise(pl.col("n_events")),
    )
    return replace(full, flow=frame(FLOW, rows), metrics=metrics, thresholds=_thresholds(120, 17))


def trait_inputs(n_targets: int = 20) -> ReportInputs:
    """Return a study of many quantities without a time axis: expression of genes from nearby variants."""
    rng = np.random.default_rng(5)
    names = [f"GENE{i:02d}" for i in range(1, n_targets + 1)]
    r2 = np.sort(np.clip(rng.normal(0.12, 0.12, n_targets), -0.04, 0.5))
    facts = StudyFacts(
        title="Expression of chromosome 22 genes from nearby variants",
        question="How much of a gene's expression do variants within 1 Mb account for?",
        outcome="normalised expression", objective="regression",
        population="Lymphoblastoid cell lines of 358 people of the 1000 Genomes Project.", genome_build="GRCh37",
        split_sentence="Five folds; relatives are kept together.",
    )  # fmt: skip
    metrics, ladder, importance = [], [], []
    for name, value in zip(names, r2.tolist(), strict=True):
        for model, shift in (("boosted", 0.0), ("linear", -0.02)):
            for metric, v, half in (
                ("r2", value + shift, 0.06),
                ("rmse", 1 - value / 2, 0.05),
                ("pearson_r", max(0.0, value) ** 0.5, 0.07),
            ):
                metrics.append(_metric(model, metric, v, half, 358, None, target=name))
        before = 0.0
        for step, rung in enumerate(("demographics", "ancestry", "variants")):
            own = value * (0.05, 0.15, 1.0)[step]
            ladder.append(_rung(name, "all", step, rung, "r2", own, 0.05, own - before, 0.03 + 0.01 * step))
            before = own
        importance += [_weight(name, "family", n, v) for n, v in (("dosages", 0.3 + value), ("ancestry_pcs", 0.05))]
        importance += [_weight(name, "feature", f"dose_{name}_{j}", 0.2 / (j + 1)) for j in range(5)]
    return replace(
        full_inputs(), facts=facts, metrics=frame(METRICS, metrics), ladder=frame(LADDER, ladder),
        importance=frame(IMPORTANCE, importance), curves=CURVES.empty(), thresholds=THRESHOLDS.empty(),
        beeswarm=pl.DataFrame(schema=SWARM), flow=_flow().filter(pl.col("part") == "genotypes"),
    )  # fmt: skip


def quantity_inputs() -> ReportInputs:
    """Return a study of one quantity, with its scatter and calibration."""
    rng = np.random.default_rng(9)
    predicted = np.sort(rng.normal(100, 15, 90))
    observed = predicted + rng.normal(0, 8, 90)
    points = [_point("scatter", float(x), float(y), None, None, 11) for x, y in zip(predicted, observed, strict=True)]
    points += [
        _point("calibration", float(x), float(x) + 1, float(x) - 3, float(x) + 4, 120) for x in (80, 90, 100, 110, 120)
    ]
    metrics = [
        _metric(model, metric, value + shift, half, 990, None, target="ldl")
        for model, shift in (("boosted", 0.0), ("linear", -0.03))
        for metric, value, half in (
            ("r2", 0.41, 0.05),
            ("rmse", 12.3, 0.6),
            ("mae", 9.6, 0.5),
            ("pearson_r", 0.64, 0.04),
        )
    ]
    facts = replace(_facts(), objective="regression", outcome="LDL cholesterol in mg/dL", simulated=(), threshold=None)
    return replace(
        full_inputs(), facts=facts, metrics=frame(METRICS, metrics), curves=frame(CURVES, points),
        thresholds=THRESHOLDS.empty(), ladder=LADDER.empty(),
    )  # fmt: skip


def survival_inputs() -> ReportInputs:
    """Return a table study of a time to an event with competing events, at two horizons."""
    names = {"harrell_c": 0.74, "integrated_brier": 0.06}
    for h in (365, 1095):
        names |= {f"auroc_at_{h}": 0.77, f"brier_at_{h}": 0.08, f"brier_skill_at_{h}": 0.12,
                  f"expected_observed_at_{h}": 1.04}  # fmt: skip
    metrics = [
        _metric(model, name, value, 0.05, N_HELD, N_EVENTS)
        for model in ("boosted", "linear", "prevalence") for name, value in names.items()
        if model != "prevalence" or "brier_at" in name
    ]  # fmt: skip
    calibration = [
        {"model": "boosted", "horizon": h, "group": g, "n_rows": 800, "expected": 0.05 * (g + 1),
         "observed": 0.055 * (g + 1), "low": 0.04 * (g + 1), "high": 0.07 * (g + 1)}
        for h in (365.0, 1095.0) for g in range(3)
    ]  # fmt: skip
    groups = [
        {"group": g, "time": t, "incidence": 0.05 * (g + 1) * t / 1095, "low": None if t == 0 else 0.01,
         "high": None if t == 0 else 0.3, "n_at_risk": 800 - int(t / 5)}
        for g in range(3) for t in (0.0, 365.0, 1095.0)
    ]  # fmt: skip
    held = {"rows": N_HELD, "events": N_EVENTS, "competing": 120, "censored": N_HELD - N_EVENTS - 120, "median": 1400.0}
    survival = SurvivalResults(
        "days", (365.0, 1095.0), True, {"held out": held}, frame(SURVIVAL_CALIBRATION, calibration),
        frame(SURVIVAL_GROUPS, groups),
    )  # fmt: skip
    table = table_inputs()
    return replace(
        table, facts=replace(table.facts, objective="survival", threshold=None), metrics=frame(METRICS, metrics),
        curves=CURVES.empty(), thresholds=THRESHOLDS.empty(), score_card=None, survival=survival,
    )  # fmt: skip


def example_subjects() -> list[ExampleSubject]:
    """Return two invented people for the opt-in file."""
    bars: tuple[dict[str, Any], ...] = (
        {"feature": "hba1c_last", "sentence": "Last HbA1c in the year before", "value": 7.4, "unit": "%", "shap": 0.82,
         "records": [{"days_before": 41, "what": "HbA1c 7.4 %"}, {"days_before": 230, "what": "HbA1c 6.9 %"}]},
        {"feature": "pgs_t2d", "sentence": "Polygenic score for type 2 diabetes", "value": 1.3, "unit": "SD",
         "shap": 0.31, "records": [{"days_before": None, "what": "rs7903146, 2 copies of T"}]},
        {"feature": "age", "sentence": "Age", "value": 52.0, "unit": "a", "shap": -0.12, "records": []},
        {"feature": "bmi_last", "sentence": "Last body-mass index", "value": None, "unit": "kg/m2", "shap": -0.05,
         "records": []},
    )  # fmt: skip
    return [ExampleSubject(1, 0.38, -1.45, 1.0, bars), ExampleSubject(2, 0.11, -1.45, 0.0, bars[2:])]


def _score_card() -> ScoreCard:
    """Return a card of two columns with an age edge above 89 and neighbours of equal points."""
    rows = (
        CardRow("age at the prediction time, years", "a", (43.015499, 93.0), (0, 3, 10), 5, (600, 700, 300)),
        CardRow("last HbA1c in the year before, %", "%", (5.7, 6.1, 6.5), (0, 0, 4, 8), 2, (400, 400, 500, 300)),
    )
    totals = (TotalRow(0, 6, 0.04, 0.1, 1_200, 90), TotalRow(7, 18, 0.12, 0.5, N_HELD - 1_200, N_EVENTS - 90))
    return ScoreCard(rows, totals, 0.16, -3.21, 1)


def _facts() -> StudyFacts:
    return StudyFacts(
        title="Ten-year onset of type 2 diabetes from health records and common variants",
        question="Do common variants tell who will develop type 2 diabetes, beyond what the health record tells?",
        outcome="a first diagnosis of type 2 diabetes", objective="binary",
        population="Adults of 30 to 74 years without diabetes, with a year of records or more before the visit.",
        simulated=("health records", "outcome"), genome_build="GRCh38",
        prediction_time="the end of the first visit after the 30th birthday", windows_days=(30.0, 365.0, None),
        gap_days=30.0, horizon_days=3652.0, threshold=0.2,
        split_sentence="Five folds; people with kinship above 0.177 are in one fold; each person is held out once",
        data_use={"legal_basis": "open data, no consent code needed", "withdrawn": "none"},
        limitations=("Diagnoses come from billing codes and miss people who never see a doctor.",),
    )  # fmt: skip


def _flow() -> pl.DataFrame:
    steps = (
        ("genotypes", "samples in the genotype files", "samples", 2_504, 0),
        ("genotypes", "called in at least 0.95 of variants", "samples", 2_504, 32),
        ("genotypes", "recorded sex agrees with X", "samples", 2_472, 12),
        ("records", "people with records", "people", 3_120, 0),
        ("records", "30 to 74 years old at the index visit", "people", 3_120, 402),
        ("records", "no diabetes before the prediction time", "people", 2_718, 118),
        ("study", "the person has genotypes", "people", 2_600, 166),
        ("study", "the outcome is known", "people", 2_434, 22),
    )
    rows = [
        {"part": p, "step": s, "unit": u, "entered": e, "removed": r, "kept": e - r, "events": None}
        for p, s, u, e, r in steps
    ]
    rows[-1]["events"] = N_EVENTS
    return frame(FLOW, rows)


def _quality() -> dict[str, Any]:
    return {
        "records": {
            "n_subjects": 3_120, "n_events": 1_204_331, "n_static": 6_240, "n_codes": 2_817,
            "longest_record_years": 61.2, "median_record_years": 12.4, "median_events_per_subject": 311,
            "share_date_only": 0.412, "share_without_unit": 0.031, "share_of_people_without_birth": 0.0,
            "n_people_with_events_after_death": 23,
            "most_frequent_codes": [
                {"code": "LOINC/8480-6", "n_events": 91_204, "n_people": 3_018},
                {"code": "LOINC/39156-5", "n_events": 60_117, "n_people": 2_944},
            ],
            "quantiles_of_values": [
                {"code": "LOINC/8480-6", "unit": "mm[Hg]", "n_people": 3_018, "p5": 101.0, "p25": 116.0, "p50": 127.0,
                 "p75": 139.0, "p95": 162.0},
                {"code": "LOINC/2345-7", "unit": "mg/dL", "n_people": 112, "p5": None, "p25": 84.5, "p50": 93.0,
                 "p75": 108.0, "p95": None},
            ],
        },
        "genotypes": {
            "build": "GRCh38", "variants": 612_004, "variants_kept": 548_221, "samples": 2_504, "samples_kept": 2_460,
            "contigs": 22, "variant_call_rate_median": 0.9974, "sample_call_rate_median": 0.9981,
            "minor_allele_frequency_median": 0.114, "sex": {"male": 1_221, "female": 1_283, "unknown": 0},
            "ancestry": {"AFR": 631, "EAS": 212, "EUR": 1_661},
        },
    }  # fmt: skip


FEATURES = (
    ("hba1c_last", "record_windows", "records", "HbA1c", "Last HbA1c in the year before", 0.41),
    ("bmi_last", "record_windows", "records", "Body-mass index", "Last body-mass index in the year before", 0.33),
    ("glucose_mean", "record_windows", "records", "Glucose", "Mean fasting glucose over the whole record", 0.52),
    ("statin_count", "record_windows", "records", "Statins", "Number of statin prescriptions in the year before", 0.0),
    ("pgs_t2d", "polygenic_score", "score", "PGS for type 2 diabetes", "Polygenic score for type 2 diabetes", 0.0),
    ("age", "demographics", "demographics", "Age", "Age at the prediction time", 0.0),
    ("sex", "demographics", "demographics", "Sex", "Female sex", 0.0),
    ("pc1", "ancestry_pcs", "ancestry", "ancestry", "First principal component of the genotypes", 0.0),
    ("pc2", "ancestry_pcs", "ancestry", "ancestry", "Second principal component of the genotypes", 0.0),
    ("tcf7l2", "dosages", "variants", "TCF7L2", "Copies of T at rs7903146 (TCF7L2)", 0.004),
    ("slc30a8", "dosages", "variants", "SLC30A8", "Copies of C at rs13266634 (SLC30A8)", 0.002),
)
WEIGHTS = (0.62, 0.31, 0.27, 0.08, 0.21, 0.35, 0.05, 0.04, 0.02, 0.06, 0.03)


def _columns() -> pl.DataFrame:
    rows = []
    for name, family, rung, group, sentence, missing in FEATURES:
        dated = family == "record_windows"
        rows.append(
            {"name": name, "family": family, "rung": rung, "group": group,
             "source": "records" if dated else "static" if family == "demographics" else "genotypes",
             "window": "365d" if dated else None, "aggregation": "last" if dated else None, "unit": None, "code": None,
             "sentence": sentence, "smallest_lag_days": 0.4 if dated else None, "n_missing_share": missing}
        )  # fmt: skip
    types: dict[str, Any] = {c.name: c.dtype for c in COLUMNS.columns}
    return pl.DataFrame(rows, schema={**types, "n_missing_share": pl.Float64})


def _metric(
    model: str, metric: str, value: float | None, half: float, n: int, events: int | None, *, group: str = "all",
    target: str = "t2d", note: str = "",
) -> dict[str, Any]:  # fmt: skip
    low, high = (None, None) if value is None else (value - half, value + half)
    return {
        "target": target, "model": model, "metric": metric, "group": group, "estimate": value, "low": low, "high": high,
        "n_rows": n, "n_units": n - n // 50, "n_events": events, "note": note,
    }  # fmt: skip


def _metrics() -> pl.DataFrame:
    values = {
        "boosted": (0.781, 0.412, 0.0972, 0.3301, 0.93, -0.04, 1.03, 0.012),
        "linear": (0.768, 0.391, 0.0989, 0.3372, 0.97, 0.01, 1.01, 0.011),
        "prevalence": (0.5, 0.140, 0.1205, 0.4052, None, 0.0, 1.0, None),
    }
    names = (
        "auroc", "auprc", "brier", "log_loss", "calibration_slope", "calibration_intercept", "expected_observed", "ici",
    )  # fmt: skip
    halves = (0.026, 0.047, 0.0062, 0.017, 0.11, 0.12, 0.09, 0.006)
    rows = [
        _metric(
            model,
            name,
            value,
            half,
            N_HELD,
            N_EVENTS,
            note="" if value is not None else "not estimable: nothing varies",
        )
        for model, found in values.items()
        for name, value, half in zip(names, found, halves, strict=True)
    ]
    groups = (
        ("sex=female", 0.79, 0.04, 1_240, 161), ("sex=male", 0.77, 0.04, 1_172, 177),
        ("ancestry=AFR", 0.72, 0.07, 604, 88), ("ancestry=EAS", None, 0.0, 212, 14),
        ("ancestry=EUR", 0.80, 0.03, 1_596, 236), ("age=30–49", 0.76, 0.05, 1_110, 92),
        ("age=50–74", 0.75, 0.03, 1_302, 246),
    )  # fmt: skip
    for model in ("boosted", "linear"):
        rows += [
            _metric(
                model, "auroc", v, h, n, e, group=g, note="" if v is not None else "not estimable: fewer than 20 events"
            )
            for g, v, h, n, e in groups
        ]
    return frame(METRICS, rows)


def _point(
    curve: str, x: float, y: float, low: float | None, high: float | None, n: int, model: str = "boosted"
) -> dict[str, Any]:
    return {"target": "t2d", "model": model, "curve": curve, "x": x, "y": y, "low": low, "high": high, "n": n}


def _curves() -> pl.DataFrame:
    rows = []
    for model, power in (("boosted", 3.4), ("linear", 3.1)):
        for x in np.linspace(0, 1, 80).tolist():
            y = 1 - (1 - x) ** power
            rows.append(_point("roc", x, y, max(0.0, y - 0.03), min(1.0, y + 0.03), 30, model))
            p = 0.14 + 0.6 * (1 - x) ** (4.4 - power / 2)
            rows.append(_point("precision_recall", x, p, max(0.0, p - 0.05), min(1.0, p + 0.05), 30, model))
        for x in (0.03, 0.06, 0.1, 0.14, 0.19, 0.26, 0.36, 0.52):
            rows.append(_point("calibration", x, 0.95 * x + 0.004 * power - 0.01, 0.8 * x, 1.12 * x + 0.01, 301, model))
        for x in np.linspace(0.03, 0.52, 40).tolist():
            rows.append(_point("calibration_smooth", x, 0.96 * x + 0.002, 0.86 * x, 1.08 * x + 0.01, 2_412, model))
        for x in np.linspace(0.02, 0.5, 24).tolist():
            y = 0.14 * np.exp(-4.2 * x) * (1 if model == "boosted" else 0.93)
            rows.append(_point("decision", x, y, y - 0.008, y + 0.008, 600, model))
    return frame(CURVES, rows)


def _thresholds(n: int, events: int) -> pl.DataFrame:
    rows = []
    prevalence = events / n
    for t in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
        flagged = round(n * np.exp(-6.5 * t))
        hits = round(events * np.exp(-2.6 * t) * 0.9)
        hits = min(hits, flagged)
        benefit = hits / n - (flagged - hits) / n * t / (1 - t)
        ppv = hits / flagged
        rows.append(
            {"target": "t2d", "model": "boosted", "threshold": t, "n_flagged": flagged, "sensitivity": hits / events,
             "specificity": 1 - (flagged - hits) / (n - events), "ppv": ppv, "ppv_low": max(0.0, ppv - 0.05),
             "ppv_high": min(1.0, ppv + 0.05), "npv": 1 - (events - hits) / (n - flagged), "net_benefit": benefit,
             "net_benefit_low": benefit - 0.009, "net_benefit_high": benefit + 0.009,
             "net_benefit_treat_all": prevalence - (1 - prevalence) * t / (1 - t)}
        )  # fmt: skip
    return frame(THRESHOLDS, rows)


def _rung(
    target: str, group: str, step: int, rung: str, metric: str, value: float | None, half: float, delta: float | None,
    delta_half: float, note: str = "",
) -> dict[str, Any]:  # fmt: skip
    first = step == 0 or delta is None
    return {
        "target": target, "group": group, "step": step, "rung": rung, "n_features": (2, 7, 61, 62, 90)[step],
        "metric": metric, "estimate": value, "low": None if value is None else value - half,
        "high": None if value is None else value + half, "delta": None if first else delta,
        "delta_low": None if first else delta - delta_half, "delta_high": None if first else delta + delta_half,
        "control_delta": None if first else 0.001, "control_low": None if first else 0.001 - delta_half,
        "control_high": None if first else 0.001 + delta_half, "note": note,
    }  # fmt: skip


def _ladder() -> pl.DataFrame:
    rows = []
    notes = {"score": "Discovery cohorts of the score PGS000014: unknown"}
    for group, shrink, wide in (
        ("all", 1.0, 1.0),
        ("ancestry=AFR", 0.5, 2.2),
        ("ancestry=EAS", 0.0, 0.0),
        ("ancestry=EUR", 1.1, 1.3),
    ):
        for metric, values, deltas in (
            ("auroc", (0.668, 0.671, 0.766, 0.778, 0.781), (0.0, 0.003, 0.095, 0.012, 0.003)),
            ("log_loss", (0.383, 0.382, 0.340, 0.333, 0.330), (0.0, -0.001, -0.042, -0.007, -0.003)),
        ):
            for step, rung in enumerate(RUNGS):
                if wide == 0:
                    rows.append(
                        _rung("t2d", group, step, rung, metric, None, 0, None, 0, "not estimable: fewer than 20 events")
                    )
                    continue
                half = (0.0, 0.008, 0.022, 0.0135, 0.006)[step] * wide
                rows.append(
                    _rung(
                        "t2d",
                        group,
                        step,
                        rung,
                        metric,
                        values[step],
                        0.026,
                        deltas[step] * shrink,
                        half,
                        notes.get(rung, ""),
                    )
                )
    return frame(LADDER, rows)


def _weight(target: str, level: str, name: str, value: float) -> dict[str, Any]:
    return {"target": target, "level": level, "name": name, "mean_abs_shap": value, "n_rows": N_HELD}


def _importance() -> pl.DataFrame:
    sums: dict[tuple[str, str], float] = {}
    for (name, family, _, group, _, _), weight in zip(FEATURES, WEIGHTS, strict=True):
        for key in (("feature", name), ("group", group), ("family", family)):
            sums[key] = sums.get(key, 0.0) + weight
    return frame(IMPORTANCE, [_weight("t2d", level, name, value) for (level, name), value in sums.items()])


def _beeswarm(n: int) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    parts = []
    for (name, _, _, _, _, missing), weight in zip(FEATURES, WEIGHTS, strict=True):
        binary = name in ("sex", "tcf7l2", "slc30a8")
        value = rng.integers(0, 2, n).astype(float) if binary else rng.normal(50, 10, n)
        shap = weight * (value - value.mean()) / value.std() + rng.normal(0, weight / 4, n)
        rank = value.argsort().argsort() / (n - 1)
        gone = rng.random(n) < missing
        parts.append(
            pl.DataFrame(
                {"feature": [name] * n, "row": range(n), "fold": [0] * n, "value": np.where(gone, np.nan, value),
                 "shap": shap, "base_value": [-1.8] * n, "percentile": np.where(gone, np.nan, rank)}
            ).with_columns(pl.col("value", "percentile").fill_nan(None)).cast(SWARM)  # type: ignore[arg-type]  # Polars types
        )  # fmt: skip
    return pl.concat(parts).select(*SWARM)


def _certificate() -> pl.DataFrame:
    checks = (
        ("availability", "passed", "Every record behind a feature was available at or before the prediction time.",
         "The smallest distance is 0.4 days over 9 features."),
        ("kin_disjoint", "passed", "Close relatives are never on both sides of the split. (threshold 0.177)",
         "The highest kinship that crosses is 0.061."),
        ("later_events", "passed", "Features recomputed without any later record are the same.",
         "12 060 values were recomputed and none changed."),
        ("score_discovery", "not provable", "No polygenic score was trained on the study's own people.",
         "Discovery cohorts not declared: PGS000014."),
        ("given_columns", "not applicable", "Columns given ready-made were not fitted on held-out people.",
         "Every feature was made here."),
    )  # fmt: skip
    return pl.DataFrame(checks, schema=["check", "status", "claim", "found"], orient="row")


def _split() -> dict[str, Any]:
    folds = [
        {"fold": k + 1, "train": 1_446, "tuning": 483, "held_out": 482 + (k < 2), "held_out_events": 67 + (k < 3)}
        for k in range(5)
    ]
    return {
        "folds": folds, "groups_kept_together": 2_364, "max_crossing_kinship": 0.061,
        "crossing_pairs_first_degree_or_closer": 0, "crossing_pairs_second_degree_or_closer": 0,
        "crossing_pairs_third_degree_or_closer": 34,
    }  # fmt: skip


def _provenance() -> dict[str, Any]:
    return {
        "genomix_version": "0.1.0", "python": "3.11.2", "seed": 20240229, "device": "cpu",
        "versions": {"numpy": "2.4.6", "polars": "2.1.0", "xgboost": "3.2.0"},
        "inputs": {"genotypes.pgen": "ab" * 32, "records": "cd" * 32},
        "stages": {"features": "0f" * 16, "model": "e1" * 16},
        "parameters": {"model": {"max_depth": 4, "learning_rate": 0.05}, "split": {"folds": 5, "kinship": 0.177}},
    }  # fmt: skip
