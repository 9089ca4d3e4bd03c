"""The way out to the shap package: one call, from contributions or straight from a bundle and data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genomix.device import CPU, Device
from genomix.errors import ConfigError
from genomix.explain.tree_shap import Explained, explain_rows
from genomix.models.bundle import Bundle, read_bundle
from genomix.models.scoring import score


def as_explanation(explained: Explained) -> Any:
    """Return the same contributions as a ``shap.Explanation``, for shap's own plots.

    ``values`` and ``data`` are float32 (rows, columns), ``base_values`` float32 (rows,), ``feature_names`` the columns'
    names. The package is imported here only: that costs some CPU seconds. Those plots show single people and their
    values and follow no small-cell rule.
    """
    import shap

    base = np.full(explained.row.size, explained.base_value, dtype=np.float32)
    return shap.Explanation(
        values=explained.values, base_values=base, data=explained.features,
        feature_names=explained.columns["name"].to_list(),
    )  # fmt: skip


def explanation_of(
    bundle: Path, data: Path, *, model: str | None = None, allow_missing: bool = False,
    expect_sha256: str | None = None, device: Device = CPU,
) -> Any:  # fmt: skip
    """Return the contributions to all predictions of a table or a feature set as a ``shap.Explanation``.

    Parameters
    ----------
    bundle: folder from ``genomix model train``. model: ``boosted`` or ``linear``; default: the bundle's own.
    device: where the trees' contributions are computed.

    Raises
    ------
    ConfigError: data of another kind, a column that is not there, or no row. IntegrityError: a damaged bundle.
    """
    found = bundle_with_model(read_bundle(bundle, expect_sha256=expect_sha256, device=device), model)
    parts = [
        explain_rows(found.fitted, part.block, np.arange(part.rows.height))
        for part in score(found, data, allow_missing=allow_missing)
    ]
    if not parts:
        raise ConfigError("there is no row to explain", where=str(data))
    whole = replace(
        parts[0], values=np.concatenate([p.values for p in parts]),
        features=np.concatenate([p.features for p in parts]), row=np.arange(sum(p.row.size for p in parts)),
    )  # fmt: skip
    return as_explanation(whole)


def bundle_with_model(bundle: Bundle, model: str | None) -> Bundle:
    """Return the bundle with the named one of its models in front: its own, or the baseline beside it.

    Raises
    ------
    ConfigError: the bundle holds no such model.
    """
    if model is None or bundle.fitted.model == model:
        return bundle
    if bundle.baseline is not None and bundle.baseline.model == model:
        return replace(bundle, fitted=bundle.baseline)
    held = [bundle.fitted.model, *([bundle.baseline.model] if bundle.baseline is not None else [])]
    raise ConfigError(f"the bundle holds no model {model!r}", hint="it holds: " + ", ".join(held))
