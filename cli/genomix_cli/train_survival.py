"""``genomix model train --objective survival``: models of a time to an event, of a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from genomix.device import Device
    from genomix.models.model import Fitted


def train_survival_table(
    data: Path, out: Path, *, time: str | None, event: str | None, horizons: Sequence[float], model: str,
    positive: str | None, subject_column: str | None, split_column: str | None, exclude: Sequence[str],
    categorical: Sequence[str], missing: Sequence[str], min_subjects: int, held_out: float, tuning: float, seed: int,
    resamples: int, device: Device, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train all models, measure them on people who were held out, and write ``model`` as a bundle."""
    from genomix.errors import ConfigError
    from genomix.io.tables import read_text_columns
    from genomix.models.bundle import write_bundle
    from genomix.models.evaluate import shown_metrics
    from genomix.models.given_table import find_roles
    from genomix.models.survival import at_horizons
    from genomix.models.survival_training import survival_matrix, train_survival
    from genomix_cli.commands.model.train import encoding, print_metrics
    from genomix_cli.console import print_json, say

    if data.is_dir():
        raise ConfigError("--objective survival is for tables", where=str(data), hint="a table with times and events")
    if time is None or event is None:
        raise ConfigError("--objective survival needs --time and --event", hint="--time COLUMN --event COLUMN")
    if time == event:
        raise ConfigError("--time and --event name the same column")
    for name in (event, time):
        if name in categorical:
            raise ConfigError(f"{name!r} is the outcome and no feature")
    split = None if split_column is None else read_text_columns(data, [split_column])[split_column]
    left_out = [*exclude, time, *([] if split_column is None else [split_column])]
    roles = find_roles(
        data, event, objective="binary", positive=positive, subject_column=subject_column, exclude=left_out,
        categorical=categorical, missing=missing, min_subjects=min_subjects,
    )  # fmt: skip
    matrix, times = survival_matrix(
        data, roles, time_column=time, split=split, held_out=held_out, tuning=tuning, seed=seed
    )
    done = train_survival(
        matrix, times, target=event, horizons=horizons, seed=seed, device=device, n_resamples=resamples
    )
    rows = {role: len(matrix.rows(0, role)) for role in ("train", "tuning", "held_out", "unused")}
    metrics: dict[str, Any] = {
        "metrics": shown_metrics(done.metrics), "rows": rows, "columns_that_encode": encoding(matrix, "binary"),
        "calibration": done.calibration.to_dicts(),
        "models": {name: dict(fitted.facts) for name, fitted in done.fitted.items()},
    }  # fmt: skip
    about = {
        **roles.as_json(), "time_column": time, "horizons": done.horizons.tolist(),
        "training_survival": done.training_survival.tolist(), "seed": seed,
    }  # fmt: skip
    kept = cast("Fitted", at_horizons(done.fitted[model], done.horizons))
    columns = matrix.for_fold(0).columns
    digest = write_bundle(out, kept, columns=columns, learned=matrix.folds[0].learned, metrics=metrics, about=about)
    if as_json:
        print_json({**metrics, "manifest_sha256": digest})
        return
    say(", ".join(f"{role.replace('_', ' ')} {n:,} rows" for role, n in rows.items() if n), quiet=quiet)
    print_metrics(done.metrics)
    say(f"{columns.height:,} columns; bundle {out}, model {model}, manifest {digest}", quiet=quiet)
