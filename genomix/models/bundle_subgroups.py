"""A bundle's measures on other data within the groups of a column: for whom it does worse, or cannot be judged.

Counts are of people, so that a person with many rows is no crowd. Counts from 1 to 10 are held back, and with them
those that they could be worked out from. A measure needs 11 people of each class in the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.features.feature_set import open_feature_set
from genomix.io.tables import read_text_columns
from genomix.models.bundle import Bundle
from genomix.models.evaluate import evaluate_predictions
from genomix.models.given_table import roles_from
from genomix.models.metrics import IntArray
from genomix.privacy import SMALL_CELL, WITHHELD, suppress_counts

MOST_GROUPS = 20
"""A column of more values is no grouping; it may name people."""
SUBGROUP_METRICS: dict[str, tuple[str, ...]] = {"binary": ("auroc", "brier", "expected_observed"),
                                                "regression": ("r2", "rmse", "mae")}  # fmt: skip
RARE = f"values of fewer than {SMALL_CELL} people each"
NOT_STATED = "not stated"
_DIGITS = 4
"""Digits of a figure: all of them would let counts that are held back be found by trial."""
_OF_ROWS = ("row", "subject_id", "prediction_time", "label")


def group_labels_of(bundle: Bundle, data: Path, column: str) -> list[str | None]:
    """Return the value of ``column`` in each row of a table, or of a feature set's index or features, as text.

    Raises
    ------
    ConfigError: no such column, or the target's or the people's own. FormatError: a broken table.
    """
    if data.is_dir():
        return _labels_of_set(data, column)
    roles = roles_from(bundle.manifest["about"])
    if column in (roles.target, roles.subject_column):
        raise ConfigError(
            f"{column!r} is the {'target' if column == roles.target else 'person'}, not a group of people"
        )
    found: list[str | None] = read_text_columns(data, [column], missing=roles.missing)[column].to_list()
    return found


def _labels_of_set(data: Path, column: str) -> list[str | None]:
    found = open_feature_set(data)
    if column in _OF_ROWS:
        raise ConfigError(f"{column!r} is no group of people", where=str(data))
    if column in found.index.columns:
        texts: list[str | None] = found.index[column].cast(pl.String).to_list()
        return texts
    if column not in found.columns["name"].to_list():
        raise ConfigError(f"the feature set has no column {column!r}", where=str(data), hint="see its columns.parquet")
    values = found.block([column], np.arange(found.index.height)).values[:, 0]
    return [None if np.isnan(v) else f"{v:g}" for v in values.tolist()]


def measure_subgroups(
    bundle: Bundle, rows: pl.DataFrame, labels: Sequence[str | None], *, column: str, seed: int, n_resamples: int = 2000
) -> list[dict[str, Any]]:
    """Return one entry per group and measure; intervals (95 %, percentile) resample people, the same in every group.

    Parameters
    ----------
    rows: as :func:`genomix.models.scoring.score` gives them. labels: by row of the data.

    Returns
    -------
    column, group, n_people and n_events (people with an event; None for a quantity) as text (``<11``, ``withheld``
    where they are held back), metric, estimate, low, high (None where there is none) and note, which says why. Values
    that fewer than 11 people have are one group without a name; rows without a value are the group ``not stated``.

    Raises
    ------
    ConfigError: a time to an event, no row with a label, or more than 20 values.
    """
    from genomix.models.training import predictions_of

    if bundle.manifest["objective"] == "survival":
        raise ConfigError("subgroups of a time to an event are not measured here")
    known = rows.filter(pl.col("label").is_not_null())
    if not known.height:
        raise ConfigError("no row has a label, so nothing can be measured")
    person = known["subject"].rank("dense").cast(pl.Int64).to_numpy() - 1
    y = known["label"].to_numpy()
    given = [labels[r] for r in known["row"].to_list()]
    if (n := len(set(given) - {None})) > MOST_GROUPS:
        raise ConfigError(
            f"column {column!r} has {n:,} values, more than {MOST_GROUPS}: no groups",
            hint="a column of classes, such as ten-year bands of age",
        )
    names, group = _named(given, person)
    objective = bundle.fitted.objective
    binary = objective == "binary"
    masks = (np.ones(y.size, dtype=np.bool_), y == 1, y != 1)
    n_people, n_with, n_without = (_people(group[m], person[m], len(names)) for m in masks)
    fewest = np.minimum(n_with, n_without) if binary else n_people
    estimable = [bool(few >= SMALL_CELL) and name != RARE for few, name in zip(fewest, names, strict=True)]
    metrics = evaluate_predictions(
        predictions_of("boosted", known["prediction"].to_numpy(), np.arange(known.height), y, person),
        target=bundle.manifest["about"]["target"], objective=objective, seed=seed, n_resamples=n_resamples,
        subgroups={"group": [str(g) if estimable[g] else None for g in group.tolist()]}, people=person,
        metrics=SUBGROUP_METRICS[objective], min_events=SMALL_CELL,
    )  # fmt: skip
    figures = {(r["group"], r["metric"]): r for r in metrics.iter_rows(named=True)}
    shown, events = _texts(n_people, n_with)
    return [
        {"column": column, "group": name, "n_people": shown[g], "n_events": events[g] if binary else None,
         "metric": metric, **_figures(figures.get((f"group={g}", metric)), binary)}
        for g, name in enumerate(names) for metric in SUBGROUP_METRICS[objective]
    ]  # fmt: skip


def _named(given: Sequence[str | None], person: IntArray) -> tuple[list[str], IntArray]:
    """Return the groups' names and the group of each row; values of few people are put together."""
    people: dict[str | None, set[int]] = {}
    for value, who in zip(given, person.tolist(), strict=True):
        people.setdefault(value, set()).add(who)
    common = sorted(v for v, who in people.items() if v is not None and len(who) >= SMALL_CELL)
    rare = any(v is not None and len(who) < SMALL_CELL for v, who in people.items())
    names = [*common, *([RARE] if rare else []), *([NOT_STATED] if None in people else [])]
    place: dict[str | None, int] = {v: i for i, v in enumerate(common)}
    place[None] = len(names) - 1
    return names, np.array([place.get(v, len(common)) for v in given], dtype=np.int64)


def _people(group: IntArray, person: IntArray, n_groups: int) -> IntArray:
    """Return how many people have a row in each group, (groups,)."""
    pairs = np.unique(np.column_stack([group, person]), axis=0)
    return np.bincount(pairs[:, 0], minlength=n_groups).astype(np.int64)


def _texts(n_people: IntArray, n_with: IntArray) -> tuple[list[str], list[str]]:
    """Return people, and people with an event, by group, as text that gives no small count away."""
    shown, events, without = (suppress_counts(v.tolist()) for v in (n_people, n_with, n_people - n_with))
    # A small count of people without an event follows from the other two.
    for g, text in enumerate(events):
        hidden = without[g].startswith(("<", WITHHELD)) or shown[g].startswith(("<", WITHHELD))
        if hidden and text != "0" and not text.startswith("<"):
            events[g] = WITHHELD
    return shown, events


def _figures(row: dict[str, Any] | None, binary: bool) -> dict[str, Any]:
    if row is None:
        what = "people with or without the outcome" if binary else "people"
        return {**dict.fromkeys(("estimate", "low", "high")), "note": f"not estimable: fewer than {SMALL_CELL} {what}"}
    rounded = {k: None if row[k] is None else round(row[k], _DIGITS) for k in ("estimate", "low", "high")}
    return {**rounded, "note": row["note"]}
