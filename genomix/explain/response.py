"""What a model's prediction responds to: the smallest change of a column that brings it under a threshold.

A property of the model, not a cause, and never advice: nobody's risk need change because a column of theirs did, other
columns may be unable to stay as they are, and what is modifiable is said by whoever asks.

A tree's prediction changes at its thresholds only, so one value per gap between thresholds shows everything there is:
the search over one column, and over pairs where no single column does, is exact. A value goes left where it is below
the threshold (float32), hence the nearest value of a gap is the threshold itself from below, and the largest float32
below the next one from above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.explain.interactions import model_json
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.models.boosted import FittedBoosted
from genomix.models.model import Fitted, Float32Array
from genomix.schemas.explain import RESPONSES

LOW_SHARE, HIGH_SHARE = 0.05, 0.95
FEWEST_VALUES = 20
FIXED_FAMILIES = ("table_categories", "demographics")
"""Families whose columns are no quantity that could be another one: categories exclude each other."""
MOST_CHANGED = 6
"""Columns that may be named as modifiable at once."""
MOST_PAIRS = 2_000_000
"""Predictions of one row and pair of columns; more is refused."""
WORDS = "a property of the model, all other columns held as they are; not a cause, and no advice"

Ranges = Mapping[str, tuple[float, float]]


def training_ranges(block: FeatureBlock, rows: RowArray) -> dict[str, tuple[float, float]]:
    """Return the 5th and 95th percentile of each quantity over ``rows``, where it has 20 values there and they vary."""
    found = {}
    for j, (name, family) in enumerate(block.columns.select("name", "family").iter_rows()):
        values = block.values[rows, j]
        values = values[~np.isnan(values)]
        if values.size < FEWEST_VALUES or family in FIXED_FAMILIES:
            continue
        low, high = np.quantile(values.astype(np.float64), (LOW_SHARE, HIGH_SHARE))
        if low < high:
            found[name] = (float(low), float(high))
    return found


@dataclass(frozen=True)
class Modifiable:
    """A column that may be changed, and between which values."""

    name: str
    low: float
    high: float


def modifiable_columns(asked: Sequence[str], columns: pl.DataFrame, ranges: Ranges) -> list[Modifiable]:
    """Return the columns meant by ``NAME`` or ``NAME=low:high``; without bounds those of the training rows.

    Parameters
    ----------
    asked: names, in full or without their family (``chol`` for ``table:chol``). columns: COLUMNS of the model.

    Raises
    ------
    ConfigError: an unknown name, a category (whose columns exclude each other), bounds that are none or not known.
    """
    found: list[Modifiable] = []
    for text in asked:
        name, _, bounds = text.partition("=")
        row = _column_named(name.strip(), columns)
        if row["family"] in FIXED_FAMILIES:
            what = "a category" if row["family"] == "table_categories" else "not modifiable"
            raise ConfigError(f"{row['name']!r} is {what}", hint="a column that holds a quantity")
        if not bounds and row["name"] not in ranges:
            raise ConfigError(f"no training range of {row['name']!r} is known", hint=f"--modifiable {name}=low:high")
        low, high = _bounds(bounds, text) if bounds else ranges[row["name"]]
        found.append(Modifiable(row["name"], low, high))
    names = [m.name for m in found]
    if not names or len(set(names)) < len(names) or len(names) > MOST_CHANGED:
        raise ConfigError(f"modifiable columns: 1 to {MOST_CHANGED} different ones are needed, not {len(names)}")
    return found


def _column_named(name: str, columns: pl.DataFrame) -> dict[str, Any]:
    fits = columns.filter((pl.col("name") == name) | (pl.col("name") == pl.col("family") + ":" + pl.lit(name)))
    if fits.height != 1:
        some = ", ".join(columns["name"].head(8).to_list())
        raise ConfigError(f"the model has no column {name!r}", hint=f"it has {columns.height:,}: {some} ...")
    return fits.row(0, named=True)


def _bounds(text: str, asked: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise ConfigError(f"--modifiable {asked!r} gives no bounds", hint="NAME=low:high") from error
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ConfigError(f"--modifiable {asked!r}: the lower bound is not below the upper", hint="NAME=low:high")
    return low, high


def thresholds_of(fitted: FittedBoosted) -> dict[int, Float32Array]:
    """Return each used column's thresholds over all trees, ascending and once each."""
    found: dict[int, set[float]] = {}
    for tree in model_json(fitted)["learner"]["gradient_booster"]["model"]["trees"]:
        for j, value, left in zip(tree["split_indices"], tree["split_conditions"], tree["left_children"], strict=True):
            if left >= 0:
                found.setdefault(int(j), set()).add(float(np.float32(value)))
    return {j: np.array(sorted(values), dtype=np.float32) for j, values in found.items()}


def candidates(value: float, thresholds: Float32Array, low: float, high: float) -> Float32Array:
    """Return the nearest value to ``value`` of every gap between thresholds that has one within [low, high].

    Values within a gap all give the same prediction. The gap that holds ``value`` itself is left out.
    """
    edges = np.concatenate([[-np.inf], thresholds.astype(np.float64), [np.inf]])
    x, found = float(np.float32(value)), []
    for begin, end in pairwise(edges.tolist()):
        if begin <= x < end:
            continue
        last = float(np.nextafter(np.float32(end), np.float32(-np.inf))) if np.isfinite(end) else np.inf
        inside_low, inside_high = max(begin, _at_least(low)), min(last, _at_most(high))
        if inside_low <= inside_high:
            found.append(min(max(x, inside_low), inside_high))
    return np.array(found, dtype=np.float32)


def _at_least(bound: float) -> float:
    """Return the smallest float32 that is not below ``bound``."""
    near = np.float32(bound)
    return float(near if float(near) >= bound else np.nextafter(near, np.float32(np.inf)))


def _at_most(bound: float) -> float:
    near = np.float32(bound)
    return float(near if float(near) <= bound else np.nextafter(near, np.float32(-np.inf)))


class _Trial(NamedTuple):
    """Values to set, how far they are off (rows of a grid), and the prediction there."""

    names: tuple[str, ...]
    values: tuple[float, ...]
    change: float
    prediction: float


def responses(
    fitted: Fitted, block: FeatureBlock, rows: RowArray, changed: Sequence[Modifiable], under: float,
) -> pl.DataFrame:  # fmt: skip
    """Return RESPONSES: for each row the smallest change that brings the prediction under a threshold, exactly.

    First one column at a time: of those that reach the threshold the one with the smallest change, as a share of its
    range. Where none does, pairs, by the sum of both shares. Equal changes: the lower prediction, then the name.

    Parameters
    ----------
    under: probability of a binary outcome, or the predicted quantity.

    Raises
    ------
    ConfigError: a model that is not made of trees, or a threshold that no probability can be under.
    """
    if not isinstance(fitted, FittedBoosted):
        raise ConfigError("responses are computed over trees' thresholds, and this model has no trees")
    if fitted.objective == "binary" and not 0 < under < 1:
        raise ConfigError(f"the threshold {under:g} is no probability between 0 and 1")
    splits, names = thresholds_of(fitted), block.columns["name"].to_list()
    place = {m.name: names.index(m.name) for m in changed}
    records: list[dict[str, Any]] = []
    for row in np.asarray(rows, dtype=np.int64).tolist():
        x = block.values[row]
        now = float(fitted.predict(x[None])[0])
        about = {"row": row, "prediction": now, "under": under}
        if now < under:
            records.append({**about, **_nothing("the prediction is under the threshold as it is")})
            continue
        options = {
            m: candidates(float(x[place[m.name]]), splits.get(place[m.name], np.zeros(0, np.float32)), m.low, m.high)
            for m in changed
            if not np.isnan(x[place[m.name]])
        }
        best = _best(fitted, x, options, place, under)
        if best is None:
            missing = [m.name for m in changed if m not in options]
            because = f"; without a value, so not tried: {', '.join(missing)}" if missing else ""
            records.append({**about, **_nothing(f"no change of one or two of the columns reaches it{because}")})
            continue
        for name, value in zip(best.names, best.values, strict=True):
            records.append({
                **about, "feature": name, "value": float(x[place[name]]), "changed_to": value, "change": best.change,
                "prediction_then": best.prediction, "note": "",
            })  # fmt: skip
    return RESPONSES.validate(pl.DataFrame(records, schema={c.name: c.dtype for c in RESPONSES.columns}))


def _nothing(note: str) -> dict[str, Any]:
    return {"feature": None, "value": None, "changed_to": None, "change": None, "prediction_then": None, "note": note}


def _best(
    fitted: FittedBoosted, x: Float32Array, options: Mapping[Modifiable, Float32Array], place: Mapping[str, int],
    under: float,
) -> _Trial | None:  # fmt: skip
    singles = ((m,) for m in options)
    pairs = combinations(options, 2)
    for groups in (singles, pairs):
        reached = [t for group in groups for t in _reached(fitted, x, group, options, place, under)]
        if reached:
            return min(reached, key=lambda t: (t.change, t.prediction, t.names))
    return None


def _reached(
    fitted: FittedBoosted, x: Float32Array, group: tuple[Modifiable, ...],
    options: Mapping[Modifiable, Float32Array], place: Mapping[str, int], under: float,
) -> Iterator[_Trial]:  # fmt: skip
    """Yield the nearest of a group's candidates that reaches the threshold, if any does."""
    grid = np.meshgrid(*(options[m] for m in group), indexing="ij")
    if grid[0].size > MOST_PAIRS:
        raise ConfigError(
            f"{' and '.join(m.name for m in group)} have {grid[0].size:,} sets of values to try",
            hint="narrower bounds: --modifiable NAME=low:high",
        )
    if not grid[0].size:
        return
    trial = np.tile(x, (grid[0].size, 1))
    change = np.zeros(grid[0].size)
    for m, values in zip(group, grid, strict=True):
        trial[:, place[m.name]] = values.reshape(-1)
        change += np.abs(values.reshape(-1).astype(np.float64) - float(x[place[m.name]])) / (m.high - m.low)
    then = fitted.predict(trial)
    good = np.flatnonzero(then < under)
    if good.size:
        i = int(good[np.lexsort((then[good], change[good]))[0]])
        values_then = tuple(float(trial[i, place[m.name]]) for m in group)
        yield _Trial(tuple(m.name for m in group), values_then, float(change[i]), float(then[i]))


def in_words(found: pl.DataFrame, columns: pl.DataFrame, fitted: Fitted) -> list[str]:
    """Return one sentence per row of the data; a value next to a threshold is told as below it, or at least it."""
    said = dict(columns.select("name", "sentence").iter_rows())
    splits = thresholds_of(fitted) if isinstance(fitted, FittedBoosted) else {}
    by_name = {name: splits.get(j) for j, name in enumerate(columns["name"].to_list())}
    lines = []
    for _, part in found.group_by("row", maintain_order=True):
        first = part.row(0, named=True)
        begin = f"row {first['row']}: the model predicts {first['prediction']:.3g}"
        if first["feature"] is None:
            lines.append(f"{begin}; threshold {first['under']:g}: {first['note']}")
            continue
        changes = " and ".join(
            f"{said[name]} were {_told(then, now, by_name[name])} (it is {now:g})"
            for name, now, then in part.select("feature", "value", "changed_to").iter_rows()
        )
        lines.append(
            f"{begin}; it would predict {first['prediction_then']:.3g}, under {first['under']:g}, if {changes}"
        )
    return lines


def _told(then: float, now: float, thresholds: Float32Array | None) -> str:
    """Say the largest float32 below a threshold as below that.

    >>> _told(139.99998474121094, 150.0, np.array([140], dtype=np.float32)), _told(140.0, 120.0, None)
    ('below 140', 'at least 140')
    """
    following = np.nextafter(np.float32(then), np.float32(np.inf))
    if then < now and thresholds is not None and following in thresholds:
        return f"below {following:g}"
    return f"{'at most' if then < now else 'at least'} {then:g}"
