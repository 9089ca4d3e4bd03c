"""A bundle on new data: rows of a table or a feature set, and how well it does on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.features.feature_set import open_feature_set
from genomix.features.matrix import FeatureBlock, join_blocks
from genomix.models.bundle import Bundle, write_bundle
from genomix.models.given_matrix import KIND_OF_SET
from genomix.models.given_table import KIND, features_of, read_rows, roles_from, unseen_levels
from genomix.models.recalibration import Calibrator, Method, fit_calibrator
from genomix.models.survival_training import measure_survival, survival_columns, with_times
from genomix.schemas.features import COLUMNS

ROWS_PER_PART = 50_000


class Scored(NamedTuple):
    """Some rows: ``row`` (0-based), ``subject`` (text or number), ``prediction_time`` where there is one, ``label``
    (null where unknown) and ``prediction``; ``block``: the model's columns of these rows, in its order.

    ``lacking``: columns of the model that are not there. ``unseen``: column → rows of a category that training did not
    keep. For a time to an event the label is the event, the prediction a risk score, and ``time`` (NaN where unknown)
    and ``survival_at_H`` follow.
    """

    rows: pl.DataFrame
    block: FeatureBlock
    lacking: tuple[str, ...]
    unseen: Mapping[str, int]


def score(bundle: Bundle, data: Path, *, allow_missing: bool = False, labelled: bool = False) -> Iterator[Scored]:
    """Yield predictions of a table or a feature set, some rows at a time.

    Parameters
    ----------
    allow_missing: take columns that are not there for empty. labelled: the target must be there.

    Raises
    ------
    ConfigError: a bundle of other data (its manifest says what it was trained on), or a column that is not there.
    """
    about = bundle.manifest["about"]
    kind = about.get("kind")
    given = KIND_OF_SET if data.is_dir() else KIND
    if kind != given:
        raise ConfigError(
            f"the bundle was trained on {'a study' if kind is None else f'a {kind}'}, this is a {given}",
            where=str(data),
        )  # fmt: skip
    parts = _of_set if data.is_dir() else _of_table
    yield from parts(bundle, data, allow_missing, labelled)


def _of_table(bundle: Bundle, data: Path, allow_missing: bool, labelled: bool) -> Iterator[Scored]:
    roles = roles_from(bundle.manifest["about"])
    rows, lacking = read_rows(data, roles, labelled=labelled, allow_missing=allow_missing)
    survival = bundle.manifest["objective"] == "survival"
    if survival:
        rows = with_times(rows, data, bundle.manifest["about"], needed=labelled)
    for part in rows.iter_slices(ROWS_PER_PART):
        block = features_of(part, roles, bundle.learned).select(bundle.columns["name"].to_list())
        frame = part.select("row", "subject", "label", pl.Series("prediction", bundle.predict(block)))
        if survival:
            frame = frame.with_columns(part["time"], *survival_columns(bundle, block))
        yield Scored(frame, block, tuple(lacking), unseen_levels(part, roles, bundle.learned))


def _of_set(bundle: Bundle, data: Path, allow_missing: bool, labelled: bool) -> Iterator[Scored]:
    found = open_feature_set(data)
    if labelled and found.index["label"].null_count() == found.index.height:
        raise ConfigError("no row of the feature set has a label", where=str(data))
    wanted = bundle.columns["name"].to_list()
    present = set(found.columns["name"].to_list())
    lacking = [n for n in wanted if n not in present]
    # A code that nobody here has makes no column: then it is 0, or empty.
    if lacking and not allow_missing:
        raise ConfigError(
            f"the model needs column {lacking[0]!r} ({len(lacking):,} of {len(wanted):,} are not there)",
            where=str(data), hint="--allow-missing takes absent columns for empty (counts for 0); they are counted",
        )  # fmt: skip
    for begin in range(0, found.index.height, ROWS_PER_PART):
        rows = np.arange(begin, min(begin + ROWS_PER_PART, found.index.height))
        block = found.block([n for n in wanted if n in present], rows)
        if lacking:
            block = join_blocks([block, _absent(bundle, lacking, len(rows))], len(rows))
        block = block.select(wanted)
        frame = found.index[rows].select("row", pl.col("subject_id").alias("subject"), "prediction_time", "label")
        scored = frame.with_columns(pl.Series("prediction", bundle.predict(block)))
        yield Scored(scored, block, tuple(lacking), {})


def _absent(bundle: Bundle, names: list[str], n_rows: int) -> FeatureBlock:
    from genomix.ehr.windows import ZERO_WHEN_ABSENT

    columns = bundle.columns.filter(pl.col("name").is_in(names))
    zero = columns["aggregation"].is_in(ZERO_WHEN_ABSENT).fill_null(value=False).to_numpy()
    values = np.tile(np.where(zero, np.float32(0), np.float32("nan")), (n_rows, 1))
    return FeatureBlock(values.astype(np.float32), COLUMNS.validate(columns))


def measure(bundle: Bundle, rows: pl.DataFrame, *, seed: int, n_resamples: int = 2000) -> pl.DataFrame:
    """Return METRICS of scored rows with a label; intervals resample people.

    Raises
    ------
    ConfigError: no row has a label.
    """
    from genomix.models.evaluate import evaluate_predictions
    from genomix.models.training import predictions_of

    if bundle.manifest["objective"] == "survival":
        return measure_survival(bundle, rows, seed=seed, n_resamples=n_resamples)
    known = rows.filter(pl.col("label").is_not_null())
    if not known.height:
        raise ConfigError("no row has a label, so nothing can be measured")
    people = known["subject"].rank("dense").cast(pl.Int64).to_numpy() - 1
    frame = predictions_of(
        "boosted", known["prediction"].to_numpy(), np.arange(known.height), known["label"].to_numpy(), people
    )
    about: dict[str, Any] = bundle.manifest["about"]
    return evaluate_predictions(
        frame, target=about["target"], objective=bundle.fitted.objective, seed=seed, n_resamples=n_resamples,
        people=people,
    )  # fmt: skip


class Recalibrated(NamedTuple):
    """What recalibration changes on rows that it did not see: METRICS before and after, and rows of either part."""

    calibrator: Calibrator
    before: pl.DataFrame
    after: pl.DataFrame
    n_learned: int
    n_measured: int


def recalibrate(
    bundle: Bundle, rows: pl.DataFrame, *, method: Method, share: float, seed: int, n_resamples: int = 2000
) -> Recalibrated:
    """Learn a calibrator from some people of scored rows, and measure before and after on the others.

    Parameters
    ----------
    rows: as :func:`score` gives them. share: of the people with a label, to learn from; nobody is in both parts.

    Raises
    ------
    ConfigError: the bundle has a calibrator already. LabelError: too few rows to learn from or to measure on.
    """
    from genomix.features.split import assign_parts, strata_of_labels

    if bundle.calibrator is not None:
        raise ConfigError("the bundle is recalibrated already", hint="recalibrate the bundle that it was made from")
    objective = bundle.fitted.objective
    if objective not in ("binary", "regression"):
        raise ConfigError(f"predictions of a {objective} model are not recalibrated here")
    known = rows.filter(pl.col("label").is_not_null())
    labels = known["label"].to_numpy()
    people = known["subject"].rank("dense").cast(pl.Int64).to_numpy() - 1
    strata = strata_of_labels(labels, binary=objective == "binary")
    learns = assign_parts(people, strata, shares=(share, 1 - share), seed=seed) == 0
    calibrator = fit_calibrator(
        known["prediction"].to_numpy()[learns], labels[learns], method=method, objective=objective
    )
    left = known.filter(~learns)
    if objective == "binary" and left["label"].n_unique() < 2:
        raise LabelError("the people left to measure on have one class", hint="a smaller --recalibrate-share")
    moved = left.with_columns(pl.Series("prediction", calibrator.apply(left["prediction"].to_numpy())))
    before, after = (measure(bundle, r, seed=seed, n_resamples=n_resamples) for r in (left, moved))
    return Recalibrated(calibrator, before, after, int(learns.sum()), left.height)


def write_recalibrated(folder: Path, bundle: Bundle, found: Recalibrated) -> str:
    """Write the bundle as a new one with the calibrator, and return the SHA-256 of its manifest."""
    about = {**bundle.manifest["about"], "recalibrated": found.calibrator.method}
    metrics = {
        **bundle.metrics, "recalibrated": {"rows_learned_from": found.n_learned, "rows_measured": found.n_measured,
                                           "before": found.before.to_dicts(), "after": found.after.to_dicts()},
    }  # fmt: skip
    return write_bundle(
        folder, bundle.fitted, columns=bundle.columns, learned=bundle.learned, metrics=metrics, about=about,
        calibrator=found.calibrator, reference=bundle.reference, baseline=bundle.baseline, ranges=bundle.ranges,
    )  # fmt: skip
