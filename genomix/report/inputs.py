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
    objective: str  # binary | regression | survival
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
    internal: bool = False  # for the study's own team: small counts are shown, and every page says so
    table_rows: str | None = None  # what a row of a table study is, in the plural; None in a study of another kind


@dataclass(frozen=True)
class CardRow:
    """One column of a score: its sentence and unit, its bands' lower ends but the first's, and the points of each band.

    ``missing`` are the points of a missing value. ``n_bands`` are training rows in each band: they are never shown, and
    say whether the band may be.
    """

    sentence: str
    unit: str | None
    edges: tuple[float, ...]
    points: tuple[int, ...]
    missing: int
    n_bands: tuple[int, ...]


@dataclass(frozen=True)
class TotalRow:
    """A range of totals (points, both ends included), the predicted value at each end, and held-out rows in it.

    ``events``: those of them with the outcome; None for a quantity.
    """

    low: int
    high: int
    predicted_low: float
    predicted_high: float
    held_out: int
    events: int | None


@dataclass(frozen=True)
class ScoreCard:
    """The model ``points`` of one fold; ``folds``: how many folds have a card of their own."""

    rows: tuple[CardRow, ...]
    totals: tuple[TotalRow, ...]
    per_point: float
    intercept: float
    folds: int


@dataclass(frozen=True)
class SurvivalResults:
    """What a study of a time to an event has beside METRICS.

    ``unit`` of times, in the plural; ``follow_up``: of ``all`` and ``held out`` rows: rows, events, competing (None:
    the study knows none), censored, median (reverse Kaplan-Meier; None: not reached).
    """

    unit: str
    horizons: tuple[float, ...]
    competing: bool
    follow_up: Mapping[str, Mapping[str, Any]]
    calibration: pl.DataFrame  # SURVIVAL_CALIBRATION
    risk_groups: pl.DataFrame  # SURVIVAL_GROUPS


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
    score_card: ScoreCard | None = None  # the model of points, where one was fitted
    survival: SurvivalResults | None = None  # of a time to an event


@dataclass(frozen=True)
class ExampleSubject:
    """One pseudonymised person of the opt-in file: a waterfall and the dated records or variants behind each bar."""

    ordinal: int
    prediction: float
    base_value: float
    label: float
    bars: tuple[Mapping[str, Any], ...]  # feature, sentence, value, unit, shap, records: list of {days_before, what}
