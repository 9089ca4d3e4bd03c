"""Prediction intervals, and sets of outcomes, that hold the truth for a stated share of new people, whatever the model.

Split conformal prediction (Vovk et al. 2005, doi:10.1007/b106715; Lei et al. 2018, doi:10.1080/01621459.2017.1307116):
of n people who taught the model nothing, the ceil((n + 1) level)-th smallest error bounds the error of the next person
with probability ``level`` or more. For a yes/no outcome the bound is learned for each class by itself
(label-conditional, Vovk 2012), so that the rare class is covered too; a set may hold both answers, or none.

The promise is for one row of a new person from the same source: of each person (or kin group) one row is drawn, so that
repeated rows and relatives do not count as more people than they are. It is an average over people, not a promise to
each one, and it ends where the source changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import FormatError
from genomix.features.matrix import RowArray
from genomix.models.model import Float64Array, Objective
from genomix.privacy import SMALL_CELL

LEVELS = (0.8, 0.9, 0.95)
SETS = ("neither", "no", "yes", "either")
"""What a set of a yes/no outcome says, by 1 for no and 2 for yes."""


@dataclass(frozen=True)
class Conformal:
    """Bounds of errors: ``bounds[class][level]``, None where too few people allow none (then everything is possible).

    Classes of a yes/no outcome are ``no`` and ``yes``, a quantity's one is ``all``. ``n_units``: people that each was
    learned from.
    """

    objective: Objective
    bounds: Mapping[str, Mapping[float, float | None]]
    n_units: Mapping[str, int]

    def columns(self, predicted: Float64Array) -> list[pl.Series]:
        """Return, for each level, ``low_L`` and ``high_L`` of a quantity, or ``set_L`` of a yes/no outcome (SETS)."""
        found: list[pl.Series] = []
        for level in LEVELS:
            name = f"{100 * level:g}"
            if self.objective == "regression":
                bound = self.bounds["all"][level]
                wide = math.inf if bound is None else bound
                found += [pl.Series(f"low_{name}", predicted - wide), pl.Series(f"high_{name}", predicted + wide)]
            else:
                found.append(
                    pl.Series(f"set_{name}", np.array(SETS, dtype=object)[self._sets(predicted, level)].tolist())
                )
        return found

    def _sets(self, predicted: Float64Array, level: float) -> RowArray:
        no, yes = (self.bounds[c][level] for c in ("no", "yes"))
        holds_no = np.ones(len(predicted), dtype=np.bool_) if no is None else predicted <= no
        holds_yes = np.ones(len(predicted), dtype=np.bool_) if yes is None else 1 - predicted <= yes
        return (holds_no + 2 * holds_yes).astype(np.int64)

    def holds(self, predicted: Float64Array, y: Float64Array, level: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Say of each row whether its outcome lies in its interval or set, (rows,)."""
        if self.objective == "regression":
            bound = self.bounds["all"][level]
            return np.abs(y - predicted) <= (math.inf if bound is None else bound)
        sets = self._sets(predicted, level)
        return np.where(y == 1, sets & 2, sets & 1) > 0

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`conformal_from` reads."""
        bounds = {c: {f"{level:g}": b for level, b in by.items()} for c, by in self.bounds.items()}
        return {"objective": self.objective, "bounds": bounds, "n_units": dict(self.n_units)}


def conformal_from(content: Mapping[str, Any]) -> Conformal:
    """Return the bounds of a JSON object.

    Raises
    ------
    FormatError: when it holds none.
    """
    try:
        classes = ("all",) if content["objective"] == "regression" else ("no", "yes")
        bounds = {
            c: {level: None if (b := content["bounds"][c][f"{level:g}"]) is None else float(b) for level in LEVELS}
            for c in classes
        }
        return Conformal(content["objective"], bounds, {c: int(content["n_units"][c]) for c in classes})
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError("conformal.json holds no bounds", hint="copy the bundle again") from error


def calibrate(
    predicted: Float64Array, y: Float64Array, units: RowArray, *, objective: Objective, seed: int
) -> Conformal:
    """Learn the bounds from rows that taught the model nothing, one row drawn of each unit.

    Parameters
    ----------
    predicted, y: (rows,). units: int64 (rows,), people or kin groups.
    """
    rows = one_row_each(units, seed)
    p, truth = predicted[rows], y[rows]
    if objective == "regression":
        errors = {"all": np.abs(truth - p)}
    else:
        errors = {"no": p[truth == 0], "yes": 1 - p[truth == 1]}
    bounds = {c: {level: _bound(e, level) for level in LEVELS} for c, e in errors.items()}
    return Conformal(objective, bounds, {c: len(e) for c, e in errors.items()})


def coverage(
    fitted: Conformal, predicted: Float64Array, y: Float64Array, units: RowArray, *, seed: int
) -> list[dict[str, Any]]:
    """Return by level and class the share of held-out units whose outcome is held, and how wide or sure answers are.

    Shares of fewer than 11 units are not told.
    """
    rows = one_row_each(units, seed)
    p, truth = predicted[rows], y[rows]
    parts = {"all": np.ones(len(rows), dtype=np.bool_)}
    if fitted.objective == "binary":
        parts |= {"no": truth == 0, "yes": truth == 1}
    found: list[dict[str, Any]] = []
    for level in LEVELS:
        held = fitted.holds(p, truth, level)
        for name, part in parts.items():
            n = int(part.sum())
            row: dict[str, Any] = {"level": level, "class": name, "n_units": n}
            row["coverage"] = float(held[part].mean()) if n >= SMALL_CELL else None
            if fitted.objective == "regression":
                bound = fitted.bounds["all"][level]
                row["width"] = None if bound is None else 2 * bound
            elif n >= SMALL_CELL:
                one_answer = np.isin(fitted._sets(p[part], level), (1, 2))
                row["one_answer"] = float(one_answer.mean())
            found.append(row)
    return found


def one_row_each(units: RowArray, seed: int) -> RowArray:
    """Return one row of each unit, drawn by the seed.

    >>> len(one_row_each(np.array([3, 3, 5, 3]), seed=1))
    2
    """
    order = np.random.default_rng(seed).permutation(len(units))
    return np.sort(order[np.unique(units[order], return_index=True)[1]])


def _bound(errors: Sequence[float] | Float64Array, level: float) -> float | None:
    """Return the ceil((n + 1) level)-th smallest error, None where there are not so many."""
    n = len(errors)
    k = math.ceil(round((n + 1) * level, 9))
    return float(np.sort(errors)[k - 1]) if 0 < k <= n else None
