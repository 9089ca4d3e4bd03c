"""What each metric is called, which way is better, what it should be, and what it says in plain words."""

from __future__ import annotations

from typing import Literal, NamedTuple


class MetricName(NamedTuple):
    """A metric for readers: label, better direction, the value of no skill or of perfect agreement, and its meaning."""

    label: str
    better: Literal["higher", "lower", "near"]
    reference: float | None
    meaning: str


METRIC_NAMES: dict[str, MetricName] = {
    "auroc": MetricName(
        "AUROC", "higher", 0.5, "chance that a person with the outcome is ranked above a person without it"
    ),
    "auprc": MetricName("Average precision", "higher", None, "precision averaged over recall; compare with prevalence"),
    "brier": MetricName("Brier score", "lower", None, "mean squared error of the predicted probability"),
    "brier_skill": MetricName("Scaled Brier score", "higher", 0.0, "Brier score relative to predicting the prevalence"),
    "log_loss": MetricName("Log loss", "lower", None, "mean negative log-likelihood of the outcome"),
    "net_benefit": MetricName(
        "Net benefit at the threshold",
        "higher",
        0.0,
        "true positives per person, less false ones weighed by the threshold",
    ),
    "calibration_slope": MetricName("Calibration slope", "near", 1.0, "below 1: predictions too extreme"),
    "calibration_intercept": MetricName(
        "Calibration intercept", "near", 0.0, "below 0: predictions too high on average"
    ),
    "expected_observed": MetricName("Expected / observed", "near", 1.0, "above 1: predictions too high on average"),
    "ici": MetricName("Calibration error (ICI)", "lower", 0.0, "mean gap between predicted and smoothed observed"),
    "prevalence": MetricName("Outcome prevalence", "near", None, "share of held-out people with the outcome"),
    "r2": MetricName("R²", "higher", 0.0, "share of the variance that the predictions account for; below 0: none"),
    "pearson_r": MetricName("Pearson correlation", "higher", 0.0, "linear association of predicted and observed"),
    "spearman_r": MetricName("Spearman correlation", "higher", 0.0, "agreement in rank of predicted and observed"),
    "rmse": MetricName("RMSE", "lower", None, "typical error, in the outcome's unit; large errors count more"),
    "mae": MetricName("MAE", "lower", None, "mean absolute error, in the outcome's unit"),
    "harrell_c": MetricName(
        "C-index (Harrell)",
        "higher",
        0.5,
        "of two people of whom it is known who came first, how often the model says so",
    ),
    "uno_c": MetricName("C-index (Uno)", "higher", 0.5, "the same, weighted so that it does not depend on censoring"),
    "integrated_brier": MetricName(
        "Integrated Brier score", "lower", None, "squared error of the predicted risk, averaged over the horizons"
    ),
}
_ALIASES = {
    "average_precision": "auprc", "pearson": "pearson_r", "spearman": "spearman_r",
    "brier_skill_score": "brier_skill", "scaled_brier": "brier_skill", "event_rate": "prevalence",
    "calibration_in_the_large": "calibration_intercept",
}  # fmt: skip

PRIMARY = {"binary": "auroc", "regression": "r2", "survival": "harrell_c"}
"""The metric of page one, the ladder and the subgroups, by objective."""

CALIBRATION = ("calibration_slope", "calibration_intercept", "expected_observed", "ici")

MODEL_NAMES = {
    "boosted": "Boosted trees", "linear": "Penalised linear model", "points": "Clinical score of a few columns",
    "prevalence": "Prevalence only", "mean": "Mean only", "demographics": "Demographics only",
}  # fmt: skip

CURVE_NAMES = {"boosted": "boosted trees", "linear": "linear model"}
"""Short names, written on the curves themselves."""

RUNG_NAMES = {
    "demographics": "Demographics", "ancestry": "+ genetic ancestry", "records": "+ health records",
    "score": "+ polygenic score", "variants": "+ variants",
}  # fmt: skip

RUNG_WORDS = {
    "demographics": "demographics", "ancestry": "genetic ancestry", "records": "the health records",
    "score": "the polygenic score", "variants": "the variants",
}  # fmt: skip


FAMILY_NAMES = {
    "record_windows": "Health records", "demographics": "Demographics", "polygenic_score": "Polygenic score",
    "ancestry_pcs": "Genetic ancestry", "dosages": "Variant dosages", "table": "Given table",
    "table_categories": "Given table, categories",
}  # fmt: skip


def family_name(family: str) -> str:
    """Return how a feature family is shown."""
    return FAMILY_NAMES.get(family, in_words(family))


def metric_name(metric: str) -> MetricName:
    """Return how a metric is shown; an unknown one keeps its own name, in words.

    >>> metric_name("auroc").label, metric_name("hit_rate").label
    ('AUROC', 'Hit rate')
    """
    known = METRIC_NAMES.get(_ALIASES.get(metric, metric))
    return known or MetricName(in_words(metric), "higher", None, "")


def canonical_metric(metric: str) -> str:
    """Return the name under which this report knows a metric."""
    return _ALIASES.get(metric, metric)


def model_name(model: str) -> str:
    """Return how a model is shown; a rung's own model by its rung."""
    if model in MODEL_NAMES:
        return MODEL_NAMES[model]
    return f"Up to {RUNG_WORDS[model]}" if model in RUNG_WORDS else in_words(model)


def in_words(name: str) -> str:
    """Return a machine name as words: ``n_samples`` → ``N samples``."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
