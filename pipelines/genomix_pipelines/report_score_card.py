"""The score card of a study's model of points, from its bundle and the study's training and held-out rows."""

from __future__ import annotations

import numpy as np

from genomix.errors import IntegrityError
from genomix.features.matrix import read_matrix
from genomix.models.bundle import read_bundle
from genomix.models.model import Float32Array, sigmoid
from genomix.models.points import Bands, FittedPoints
from genomix.report.inputs import CardRow, ScoreCard, TotalRow
from genomix.report.score_card import total_ranges
from genomix_pipelines.stage import StageContext


def score_card(context: StageContext) -> ScoreCard | None:
    """Return the first fold's card with counts of rows by band and by total; None for several targets or no column.

    Held-out rows are counted by total only where there is one fold: counts of a single fold would add to what the
    report says of all of them.

    Raises
    ------
    IntegrityError: the bundle does not give the predictions that the study evaluated.
    """
    if not context.has("model") or len(context.folders("model")) != 1:
        return None
    place = next(iter(context.folders("model").values())) / "bundles" / "fold_0" / "points"
    if not place.exists():
        return None
    bundle = read_bundle(place)
    fitted = bundle.fitted
    if not isinstance(fitted, FittedPoints) or not fitted.cards:
        return None
    matrix = read_matrix(next(iter(context.folders("features").values())) / "matrix")
    values = bundle.matrix(matrix.for_fold(0))
    train, held_out = values[matrix.rows(0, "train")], values[matrix.rows(0, "held_out")]
    rows = tuple(_card_row(card, train, bundle.columns.row(card.column, named=True)) for card in fitted.cards)
    totals: tuple[TotalRow, ...] = ()
    if len(matrix.folds) == 1:
        _check(context, fitted, held_out)
        totals = _totals(fitted, held_out, matrix.labels[matrix.rows(0, "held_out")])
    return ScoreCard(rows, totals, fitted.per_point, fitted.intercept, len(matrix.folds))


def _card_row(card: Bands, train: Float32Array, column: dict[str, str | None]) -> CardRow:
    values = train[:, card.column]
    missing = np.isnan(values)
    bands = np.searchsorted(np.asarray(card.edges), values[~missing].astype(np.float64), side="right")
    counts = np.bincount(bands, minlength=len(card.edges) + 1)
    return CardRow(
        str(column["sentence"]), column["unit"], card.edges, card.points, card.missing,
        tuple(int(n) for n in counts),
    )  # fmt: skip


def _totals(fitted: FittedPoints, held_out: Float32Array, labels: np.ndarray) -> tuple[TotalRow, ...]:
    totals = fitted.total(held_out).astype(np.int64)
    binary = fitted.objective == "binary"
    outcome = labels > 0.5 if binary else None
    most = sum(max(*card.points, card.missing) for card in fitted.cards)
    found = []
    for low, high in total_ranges(totals, outcome, most):
        margins = fitted.intercept + fitted.per_point * np.array([low, high], dtype=np.float64)
        predicted = sigmoid(margins) if binary else margins
        inside = (totals >= low) & (totals <= high)
        events = int((inside & outcome).sum()) if outcome is not None else None
        found.append(TotalRow(low, high, float(predicted[0]), float(predicted[1]), int(inside.sum()), events))
    return tuple(found)


def _check(context: StageContext, fitted: FittedPoints, held_out: Float32Array) -> None:
    """Refuse a card that does not give the very predictions whose figures stand beside it."""
    import polars as pl

    path = next(iter(context.folders("model").values())) / "predictions.parquet"
    kept = pl.read_parquet(path).filter((pl.col("model") == "points") & (pl.col("fold") == 0)).sort("row")
    if not np.allclose(fitted.predict(held_out), kept["prediction"].to_numpy(), rtol=0, atol=1e-9):
        raise IntegrityError(
            "the bundle of the model of points does not give its evaluated predictions", where=str(path),
            hint="genomix run --from model",
        )  # fmt: skip
