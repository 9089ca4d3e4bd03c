"""``genomix model train`` on a feature set that is larger than ``--memory``: in blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genomix.device import Device
    from genomix.features.feature_set import FeatureSet

VALUES_PER_GB = 250_000_000


def in_blocks(data: Path, memory_gb: float) -> bool:
    """Say whether a feature set's dense matrix would be larger than ``memory_gb``."""
    from genomix.features.feature_set import open_feature_set
    from genomix.models.given_matrix import values_of

    return values_of(open_feature_set(data)) > memory_gb * VALUES_PER_GB


def objective_of(found: FeatureSet) -> Any:
    """Return binary where every label is 0 or 1, else regression."""
    return "binary" if found.index["label"].drop_nulls().is_in([0.0, 1.0]).all() else "regression"


def train_blocks(
    data: Path, out: Path, objective: Any, *, memory_gb: float, held_out: float, tuning: float, seed: int,
    resamples: int, device: Device, signs: Mapping[str, int], quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train on a feature set in blocks and write the same bundle as from memory."""
    import tempfile

    import numpy as np

    from genomix.explain.response import training_ranges
    from genomix.features.feature_set import open_feature_set
    from genomix.models.block_training import part_of, train_in_blocks
    from genomix.models.bundle import write_bundle
    from genomix.models.evaluate import shown_metrics
    from genomix.models.given_matrix import KIND_OF_SET, set_rows
    from genomix.models.training import monotone_signs
    from genomix.schemas.features import COLUMNS
    from genomix_cli.commands.model.train import print_metrics
    from genomix_cli.console import print_json, say

    found = open_feature_set(data)
    objective = objective or objective_of(found)
    every, matrix = set_rows(found, objective, held_out=held_out, tuning=tuning, seed=seed)
    columns = COLUMNS.validate(every.columns.select(COLUMNS.names))
    options = {"monotone": monotone_signs(columns, signs)} if signs else {}
    say(f"{every.shape[0]:,} rows, {every.shape[1]:,} columns: more than --memory {memory_gb:g}, read in blocks",
        quiet=quiet)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="genomix-bins-") as scratch:
        done = train_in_blocks(
            every, matrix, target="label", objective=objective, seed=seed, device=device, scratch=Path(scratch),
            max_values=int(memory_gb * VALUES_PER_GB), n_resamples=resamples, options=options,
        )  # fmt: skip
    ranges: dict[str, tuple[float, float]] = {}
    train = matrix.rows(0, "train")
    for some in part_of(every, train).column_blocks():
        ranges |= training_ranges(some, np.arange(len(train)))
    rows = {role: len(matrix.rows(0, role)) for role in ("train", "tuning", "held_out", "unused")}
    considered = done.fitted["linear"].facts["columns_considered"]
    metrics = {"rows": rows, "metrics": shown_metrics(done.metrics), "conformal": done.coverage,
               "columns_of_simpler_models": considered}  # fmt: skip
    about = {"kind": KIND_OF_SET, "target": "label", "objective": objective, "seed": seed}
    digest = write_bundle(
        out, done.fitted["boosted"], columns=columns, metrics=metrics,
        about=about | ({"monotone": dict(signs)} if signs else {}), reference=done.reference,
        conformal=done.conformal, baseline=done.fitted["linear"], ranges=ranges,
    )  # fmt: skip
    if as_json:
        print_json({**metrics, "manifest_sha256": digest})
        return
    say(", ".join(f"{role.replace('_', ' ')} {n:,} rows" for role, n in rows.items() if n), quiet=quiet)
    say(f"elastic net and score: the {considered:,} of {columns.height:,} columns that correlate most with the outcome "
        "among training rows, as many as --memory holds", quiet=quiet)  # fmt: skip
    print_metrics(done.metrics)
    say(f"{columns.height:,} columns; bundle {out}, manifest {digest}", quiet=quiet)
