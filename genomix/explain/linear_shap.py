"""What a linear model does with each column, in the column's own units, and its exact Shapley values from that.

A linear model over standardised, imputed columns is, for a known value within the bounds of standardisation,
``contribution = coefficient x (value - training mean) + if_present``: the interventional Shapley value of a sum over
columns (doi:10.1007/s10115-013-0679-x). Values beyond the bounds count as the bound; a missing value contributes
``if_missing``, which holds what the median and the indicator of missingness do together.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from genomix.models.linear import FittedLinear
from genomix.models.model import Float32Array, Float64Array, check_matrix
from genomix.schemas.explain import LINEAR_TERMS
from genomix.schemas.features import COLUMNS


def linear_terms(fitted: FittedLinear, columns: pl.DataFrame) -> pl.DataFrame:
    """Return LINEAR_TERMS, one line per column, in the order of ``columns`` (COLUMNS)."""
    p, n = fitted.preprocessing, fitted.n_features
    slope, background = fitted.slopes[:n], fitted.background[:n]
    present, missing = np.zeros(n), np.zeros(n)
    share, scale = p.indicator_centre, p.indicator_scale
    present[p.indicator] = ((0 - share) / scale - fitted.background[n:]) * fitted.slopes[n:]
    missing[p.indicator] = ((1 - share) / scale - fitted.background[n:]) * fitted.slopes[n:]
    middle = np.clip((p.median - p.centre) / p.scale, -p.clip_sd, p.clip_sd)
    return LINEAR_TERMS.validate(
        pl.DataFrame(
            {
                "feature": COLUMNS.validate(columns)["name"],
                "coefficient": slope / p.scale,
                "training_mean": p.centre + p.scale * background,
                "low": p.centre - p.clip_sd * p.scale,
                "high": p.centre + p.clip_sd * p.scale,
                "if_present": present,
                "if_missing": (middle - background) * slope + missing,
            }
        )
    )


def linear_values(terms: pl.DataFrame, X: Float32Array) -> Float64Array:
    """Return contributions, float64 (rows, columns), from LINEAR_TERMS and raw values: the formula as it is told."""
    raw = check_matrix(X, terms.height).astype(np.float64)
    told = {name: terms[name].to_numpy() for name in terms.columns if name != "feature"}
    held = np.clip(raw, told["low"], told["high"])
    known = told["coefficient"] * (held - told["training_mean"]) + told["if_present"]
    return np.where(np.isnan(raw), told["if_missing"], known)
