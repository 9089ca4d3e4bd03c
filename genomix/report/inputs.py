"""What the report is made from: plain result tables and the study's stated facts; no path, no clock, no host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl


@dataclass(frozen=True)
class StudyFacts:
    """What the study states about itself.

    ``dates_as_days`` timeline entries: look-back windows in days, gap and horizon in days (None: no time axis).
    """

    title: str
    question: str
    outcome: str
    objective: str  # binary | regression
    population: str
    simulated: tuple[str, ...] = ()  # what is SIMULATED, as phrases: "health records", "outcome", "score weights"
    intended_use: str | None = None
    owner: str | None = None
    report_date: str | None = None
    genome_build: str | None = None
    prediction_time: str | None = None  # as a sentence
    windows_days: tuple[float | None, ...] = ()  # None = whole record
    windows_since: tuple[str, ...] = ()  # codes whose last record begins a window
    gap_days: float = 0.0
    horizon_days: float | None = None
    split_sentence: str = ""
    threshold: float | None = None  # the stated decision threshold
    data_use: Mapping[str, str] = field(default_factory=dict)
    limitations: tuple[str, ...] = ()  # the study's own, beside the computed ones
    no_model: str | None = None  # why there is no model, as a sentence; None where there is one
    table_rows: str | None = None  # what a row of a table study is, in the plural; None in a study of another kind


@dataclass(frozen=True)
class ReportInputs:
    """Everything that sections may read. Tables follow ``genomix.schemas.results`` and friends; empty when absent."""

    facts: StudyFacts
    flow: pl.DataFrame  # FLOW
    quality: Mapping[str, Any]  # {"records": {...}, "genotypes": {...}} of plain figures, see sections/data_quality.py
    columns: pl.DataFrame  # COLUMNS (+ n_missing_share)
    metrics: pl.DataFrame  # METRICS
    curves: pl.DataFrame  # CURVES
    thresholds: pl.DataFrame  # THRESHOLDS
    ladder: pl.DataFrame  # LADDER
    importance: pl.DataFrame  # IMPORTANCE
    beeswarm: pl.DataFrame  # ATTRIBUTIONS of the most important features, with column "percentile" of the value
    certificate: pl.DataFrame  # CERTIFICATE
    split: Mapping[str, Any]  # counts by role and fold, kinship that crosses
    provenance: Mapping[str, Any]  # versions, stage hashes, input hashes, parameters, seed, device kind


@dataclass(frozen=True)
class ExampleSubject:
    """One pseudonymised person of the opt-in file: a waterfall and the dated records or variants behind each bar."""

    ordinal: int
    prediction: float
    base_value: float
    label: float
    bars: tuple[Mapping[str, Any], ...]  # feature, sentence, value, unit, shap, records: list of {days_before, what}
