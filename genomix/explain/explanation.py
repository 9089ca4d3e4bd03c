"""The way out to the shap package: one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from genomix.explain.tree_shap import Explained


def as_explanation(explained: Explained) -> Any:
    """Return the same contributions as a ``shap.Explanation``, for shap's own plots.

    The package is imported here only: that costs some CPU seconds. Those plots show single people and their values and
    follow no small-cell rule.
    """
    import shap

    base = np.full(explained.row.size, explained.base_value, dtype=np.float32)
    return shap.Explanation(
        values=explained.values, base_values=base, data=explained.features,
        feature_names=explained.columns["name"].to_list(),
    )  # fmt: skip
