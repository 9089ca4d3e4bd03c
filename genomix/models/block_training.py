"""Train on a feature set that is too large to hold dense: trees over blocks, simpler models over chosen columns.

Trees are XGBoost's, of bins made block by block and kept on disk (``ExtMemQuantileDMatrix``): tests hold them to those
of the dense matrix, byte for byte. Bins take about as much disk as the dense matrix would take memory, or less.

Elastic net and clinical score need a dense matrix. They are given as many columns as fit, those that correlate most
with the outcome over training rows (missing values at the mean): sure independence screening (Fan and Lv 2008,
doi:10.1111/j.1467-9868.2008.00674.x). Their facts say of how many columns, ``columns_considered``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genomix.device import Device
from genomix.errors import ConfigError
from genomix.features.matrix import FeatureMatrix, RowArray
from genomix.features.set_rows import SetRows
from genomix.models.boosted import DEFAULTS, FittedBoosted, grow, import_xgboost, parameters_of
from genomix.models.drift import reference_bins
from genomix.models.linear import FittedLinear
from genomix.models.model import (
    Fitted,
    Float64Array,
    Objective,
    Part,
    check_labels,
    check_matrix,
    merge_options,
    model_named,
)
from genomix.models.points import FittedPoints
from genomix.models.training import Trained, check_role, concluded


class BlockPart(NamedTuple):
    """Rows of one role, read a block at a time."""

    X: SetRows
    y: Float64Array
    weights: Float64Array | None = None


def train_in_blocks(
    every: SetRows, matrix: FeatureMatrix, *, target: str, objective: Objective, seed: int, device: Device,
    scratch: Path, max_values: int, threads: int = 1, n_resamples: int = 2000, options: Mapping[str, Any] | None = None,
) -> Trained:  # fmt: skip
    """Do what :func:`genomix.models.training.train` does, without a dense matrix of all rows and columns.

    Parameters
    ----------
    every: the labelled rows of a feature set. matrix: the same rows with labels, kin groups and roles; no values.
    scratch: an existing folder for bins, emptied by the caller. max_values: of a dense matrix for the simpler models.

    Raises
    ------
    LabelError: a part without rows, or with one class only. ConfigError: a GPU, where bins on disk are not made.
    """
    parts = {}
    for role in ("train", "tuning", "held_out"):
        rows = matrix.rows(0, role)
        check_role(matrix.labels[rows], objective, role)
        parts[role] = BlockPart(part_of(every, rows), matrix.labels[rows])
    trees = fit_trees(
        parts["train"], parts["tuning"], objective=objective, seed=seed, device=device, threads=threads,
        options=options, scratch=scratch,
    )  # fmt: skip
    fitted: dict[str, Fitted] = {"boosted": trees}
    fitted |= _simpler(parts, matrix.n_rows, objective, seed, device, max_values)
    held = {name: np.concatenate([f.predict(b) for b in parts["held_out"].X.blocks()]) for name, f in fitted.items()}
    tuned = np.concatenate([trees.predict(b) for b in parts["tuning"].X.blocks()])
    bins: dict[str, Any] = {}
    for some in parts["train"].X.column_blocks():
        bins |= reference_bins(some.values, some.columns["name"].to_list())["columns"]
    no_column = np.empty((0, 0), dtype=np.float32)
    reference = {"columns": bins | reference_bins(no_column, [], held["boosted"])["columns"]}
    return concluded(
        matrix, fitted, held, tuned, reference, target=target, objective=objective, seed=seed, n_resamples=n_resamples
    )


def part_of(every: SetRows, rows: RowArray) -> SetRows:
    """Return these of the rows (places within ``every``)."""
    part = object.__new__(SetRows)
    part.__dict__.update(every.__dict__)
    part.rows = every.rows[rows]
    return part


def fit_trees(
    train: BlockPart, tuning: BlockPart | None, *, objective: Objective, seed: int, device: Device, scratch: Path,
    threads: int = 1, options: Mapping[str, Any] | None = None,
) -> FittedBoosted:  # fmt: skip
    """Grow the trees that the dense matrix would grow, stopped on ``tuning``.

    Raises
    ------
    ConfigError: a device other than the CPU, an unknown option, or nothing to stop on.
    """
    if device.kind != "cpu":
        raise ConfigError(
            "a feature set of this size is trained in blocks, which is done on the CPU",
            hint="--device cpu, or a larger --memory with which it is held dense",
        )
    chosen = merge_options(DEFAULTS, options, "boosted")
    if tuning is None and chosen["rounds"] is None:
        raise ConfigError("model 'boosted' has no tuning part to stop on", hint='options={"rounds": 200}')
    n_columns = train.X.shape[1]
    check_labels(train.y, objective, "training part")
    parameters = parameters_of(chosen, train, n_columns, objective, seed, device, threads)
    data = _bins(train, scratch / "train", parameters["max_bin"], threads, None)
    held = None if tuning is None else _bins(tuning, scratch / "tuning", parameters["max_bin"], threads, data)
    booster, loss = grow(parameters, chosen, data, held)
    booster.set_param({"nthread": threads})
    facts = {"rounds": booster.num_boosted_rounds(), "tuning_loss": loss, "trained_on": device.kind}
    return FittedBoosted(booster, objective, n_columns, facts)


def _bins(part: BlockPart, prefix: Path, max_bin: int, threads: int, reference: Any) -> Any:
    xgboost = import_xgboost()

    class Blocks(xgboost.DataIter):  # type: ignore[misc, name-defined]
        """Hands XGBoost one block after the other."""

        def __init__(self) -> None:
            super().__init__(cache_prefix=str(prefix))
            self.reset()

        def reset(self) -> None:
            self.at, self.given = 0, part.X.blocks()

        def next(self, input_data: Any) -> bool:
            block = next(self.given, None)
            if block is None:
                return False
            end = self.at + len(block)
            input_data(data=check_matrix(block, part.X.shape[1]), label=part.y[self.at : end])
            self.at = end
            return True

    return xgboost.ExtMemQuantileDMatrix(Blocks(), max_bin=max_bin, nthread=threads, ref=reference)


def strongest(part: BlockPart, n: int) -> RowArray:
    """Return the ``n`` columns that correlate most with the label, missing values at the mean, ascending.

    Of equal ones the first are taken.
    """
    n_columns = part.X.shape[1]
    known, sums, squares, products, labels = (np.zeros(n_columns) for _ in range(5))
    y = part.y - part.y.mean()
    begin = 0
    for block in part.X.blocks():
        own = y[begin : begin + len(block)]
        present = ~np.isnan(block)
        x = np.where(present, block, 0).astype(np.float64)
        known += present.sum(axis=0)
        sums += x.sum(axis=0)
        squares += (x * x).sum(axis=0)
        products += own @ x
        labels += own @ present
        begin += len(block)
    mean = sums / np.maximum(known, 1)
    spread = np.sqrt(np.maximum(squares - known * mean**2, 0))
    strength = np.abs(products - mean * labels) / np.where(spread > 1e-9 * np.sqrt(squares + 1e-300), spread, np.inf)
    return np.sort(np.argsort(-strength, kind="stable")[:n])


def _simpler(
    parts: Mapping[str, BlockPart], n_rows: int, objective: Objective, seed: int, device: Device, max_values: int
) -> dict[str, Fitted]:
    """Return elastic net and clinical score of the strongest columns, written as models of all columns."""
    n_columns = parts["train"].X.shape[1]
    at = strongest(parts["train"], min(n_columns, max(1, max_values // n_rows)))
    train, tuning = (Part(parts[r].X.only(at).whole(), parts[r].y) for r in ("train", "tuning"))
    found: dict[str, Fitted] = {}
    for name in ("linear", "points"):
        model = model_named(name).fit(train, tuning=tuning, objective=objective, seed=seed, device=device)
        found[name] = of_all_columns(model, at, n_columns)
    return found


def of_all_columns(fitted: Any, at: RowArray, n_columns: int) -> Fitted:
    """Return a linear model or score of the columns ``at`` as one of ``n_columns``: the others count nothing."""
    facts = {**fitted.facts, "columns_considered": len(at)}
    if isinstance(fitted, FittedPoints):
        cards = tuple(replace(c, column=int(at[c.column])) for c in fitted.cards)
        return replace(fitted, cards=cards, n_columns=n_columns, facts=facts)
    assert isinstance(fitted, FittedLinear)
    p = fitted.preprocessing

    def wide(values: Float64Array, filler: float) -> Float64Array:
        out = np.full(n_columns, filler, dtype=np.float64)
        out[at] = values[: len(at)]
        return out

    preprocessing = replace(
        p, median=wide(p.median, 0), centre=wide(p.centre, 0), scale=wide(p.scale, 1), indicator=at[p.indicator]
    )
    return replace(
        fitted, preprocessing=preprocessing, facts=facts,
        slopes=np.concatenate([wide(fitted.slopes, 0), fitted.slopes[len(at) :]]),
        background=np.concatenate([wide(fitted.background, 0), fitted.background[len(at) :]]),
    )  # fmt: skip
