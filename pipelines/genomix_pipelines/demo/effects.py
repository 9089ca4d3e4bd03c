"""The demo's generative model as a table: every true effect, per what, and where the figure was published.

The outcome is drawn from ``logit P = intercept + sum(effect * value)``. A published hazard ratio enters as a log odds
ratio per the same unit; that reading is an assumption of the model, as is every effect of exactly zero.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Kind = Literal["causal", "proxy", "null", "trap"]

FRAMINGHAM = "https://doi.org/10.1161/CIRCULATIONAHA.107.699579"
LIPIDS = "https://doi.org/10.1001/jama.2009.1619"
INFLAMMATION = "https://doi.org/10.1016/S0140-6736(09)61717-7"
DIABETES = "https://doi.org/10.1016/S0140-6736(10)60484-9"
POLYGENIC = "https://doi.org/10.1016/j.jacc.2018.07.079"

SCORE = "SIMULATED_CAD_SCORE"
AGE = "age"
OUTCOME = "DIAGNOSIS//SIMULATED_CAD"


class Effect(NamedTuple):
    """One true effect.

    ``name``: the code or characteristic that carries it; ``symbol``: its latent value's column in
    :class:`~genomix_pipelines.demo.people.People`; ``log_odds`` per ``per``; ``published``: the figure as printed;
    ``source``: its DOI.
    """

    name: str
    symbol: str
    log_odds: float
    per: str
    published: str
    source: str


LN_AGE = Effect(
    AGE, "ln_age", (3.06117 + 2.32888) / 2, "ln(age in years)",
    "Cox coefficient of ln(age) 3.06117 in men, 2.32888 in women; their mean, because sex has no effect here",
    FRAMINGHAM,
)  # fmt: skip
NON_HDL = Effect(
    "LAB//non_hdl_cholesterol", "z_non_hdl", math.log(1.50), "43 mg/dL of the long-term level",
    "HR 1.50 (95 % CI 1.39 to 1.61)", LIPIDS,
)  # fmt: skip
HDL = Effect(
    "LAB//hdl_cholesterol", "z_hdl", math.log(0.78), "15 mg/dL of the long-term level",
    "HR 0.78 (95 % CI 0.74 to 0.82)", LIPIDS,
)  # fmt: skip
CRP = Effect(
    "LAB//c_reactive_protein", "z_crp", math.log(1.37), "a threefold (one SD of ln) higher long-term level",
    "RR 1.37 (95 % CI 1.27 to 1.48), adjusted for conventional risk factors", INFLAMMATION,
)  # fmt: skip
TYPE_2_DIABETES = Effect(
    "DIAGNOSIS//type_2_diabetes", "diabetes", math.log(2.00), "present against absent",
    "HR 2.00 (95 % CI 1.83 to 2.19)", DIABETES,
)  # fmt: skip
SMOKING = Effect(
    "OBSERVATION//current_smoker", "smoker", (0.65451 + 0.52873) / 2, "present against absent",
    "Cox coefficient 0.65451 in men, 0.52873 in women; their mean, because sex has no effect here", FRAMINGHAM,
)  # fmt: skip
POLYGENIC_SCORE = Effect(
    SCORE, "z_score", math.log(1.71), "one SD within the superpopulation",
    "HR 1.71 (95 % CI 1.68 to 1.73)", POLYGENIC,
)  # fmt: skip

CAUSAL = (LN_AGE, NON_HDL, HDL, CRP, TYPE_2_DIABETES, SMOKING, POLYGENIC_SCORE)

PROXIES: dict[str, str] = {
    "DRUG//metformin": TYPE_2_DIABETES.name,
    "DRUG//statin": NON_HDL.name,
    "LAB//glycated_haemoglobin": TYPE_2_DIABETES.name,
    "OBSERVATION//not_smoking": SMOKING.name,
}
"""No effect of their own, yet associated with the outcome: each follows the causal feature that it is mapped to."""

NULLS = (
    "sex", "superpopulation",
    "DIAGNOSIS//asthma", "DIAGNOSIS//essential_hypertension", "DIAGNOSIS//hypothyroidism", "DIAGNOSIS//migraine",
    "DIAGNOSIS//osteoarthritis",
    "DRUG//amlodipine", "DRUG//ibuprofen", "DRUG//levothyroxine", "DRUG//omeprazole", "DRUG//salbutamol",
    "LAB//alanine_aminotransferase", "LAB//creatinine", "LAB//haemoglobin", "LAB//sodium", "LAB//thyrotropin",
    "MEASUREMENT//body_mass_index", "MEASUREMENT//systolic_pressure",
    "VISIT//index_checkup", "VISIT//outpatient", "VISIT//results",
)  # fmt: skip
"""True effect exactly zero and independent of the outcome before the prediction time."""

TRAPS: dict[str, str] = {
    "DIAGNOSIS//SIMULATED_chest_pain": "date-only stamp on the day of prediction, known at the end of that day only",
    "LAB//SIMULATED_stress_test": "result of the day of prediction, hours after the prediction time",
    "LAB//troponin": "measured at the outcome",
    "DRUG//acetylsalicylic_acid": "started after the outcome",
    OUTCOME: "the outcome",
}
"""Follow the outcome and must never reach a feature: a gain from them is a leak."""


def true_effects(*, scale_records: float = 1.0, scale_score: float = 1.0, scale_all: float = 1.0) -> dict[str, float]:
    """Return ``{symbol: log odds per unit}`` of the causal features.

    Parameters
    ----------
    scale_records: multiplies every effect but the score's (age included).
    scale_score: multiplies the score's effect; 0 makes a score without value.
    scale_all: multiplies every effect; 0 makes the null study.

    >>> round(true_effects()["z_score"], 3), true_effects(scale_score=0)["z_score"]
    (0.536, 0.0)
    """
    return {e.symbol: e.log_odds * scale_all * (scale_score if e.name == SCORE else scale_records) for e in CAUSAL}


def feature_kinds() -> dict[str, Kind]:
    """Return what every code and characteristic is: causal, proxy, null or trap."""
    kinds: dict[str, Kind] = {e.name: "causal" for e in CAUSAL}
    kinds |= dict.fromkeys(PROXIES, "proxy")
    kinds |= dict.fromkeys(NULLS, "null")
    return kinds | dict.fromkeys(TRAPS, "trap")
