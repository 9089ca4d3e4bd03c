"""Events as growing columns, made into one frame of the events schema."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.schemas.events import EVENTS, TIME
from genomix_pipelines.demo.people import DAY

Array = npt.NDArray[Any]
PRECISIONS = ("static", "day", "second")
STATIC, BY_DAY, BY_SECOND = range(3)
UNITS = (
    None, "mg/dL", "mmol/L", "mg/L", "U/L", "umol/L", "g/L", "m[IU]/L", "kg/m2", "mm[Hg]", "%", "ng/L", "{score}",
)  # fmt: skip


def unit_number(unit: str | None) -> int:
    """Return a unit's place in :data:`UNITS`; 0 is no unit."""
    return UNITS.index(unit)


class EventList:
    """Events of people who are numbered by their row in the people's table."""

    def __init__(self) -> None:
        self._codes: list[str] = []
        self._pieces: list[dict[str, Array]] = []

    def add(
        self,
        code: str,
        person: Array,
        time: Array,
        *,
        value: Array | None = None,
        unit: Array | int = 0,
        precision: int = BY_SECOND,
        available: Array | None = None,
    ) -> None:
        """Append events of one code.

        Parameters
        ----------
        person, time: same length; time in microseconds since 1970 (midnight when ``precision`` is BY_DAY).
        value: numeric values; ``unit``: number or numbers from :func:`unit_number`.
        available: when each could first be known; by default its time, or the last moment of its day.
        """
        n = person.size
        known = time + (DAY - 1 if precision == BY_DAY else 0) if available is None else available
        self._codes.append(code)
        self._pieces.append(
            {
                "person": person.astype(np.int64),
                "time": time.astype(np.int64),
                "code": np.full(n, len(self._codes) - 1, dtype=np.int64),
                "numeric_value": np.full(n, np.nan, np.float32) if value is None else value.astype(np.float32),
                "unit": np.broadcast_to(np.asarray(unit, dtype=np.int64), (n,)),
                "time_precision": np.full(n, precision, dtype=np.int64),
                "available_time": known.astype(np.int64),
            }
        )

    def frame(self, people: pl.DataFrame) -> pl.DataFrame:
        """Return the events that the record holds, in the events schema, by subject, time, code and value.

        Left out: what lies after a person's end of record, and what lies before the index visit of a person without
        history. Birth, death and static facts stay.
        """
        column = {name: np.concatenate([p[name] for p in self._pieces]) for name in self._pieces[0]}
        kept = _is_recorded(people, column, np.array([c.startswith(("MEDS_", "GENDER")) for c in self._codes]))
        column = {name: values[kept] for name, values in column.items()}
        static = pl.Series(column["time_precision"] == STATIC)
        events = pl.DataFrame(
            {
                "subject_id": people["subject_id"].to_numpy()[column["person"]],
                "time": pl.Series(column["time"]).cast(TIME),
                "code": pl.Series(self._codes).gather(column["code"]),
                "numeric_value": pl.Series(column["numeric_value"]).fill_nan(None),
                "text_value": pl.Series([None], dtype=pl.String).new_from_index(0, column["time"].size),
                "unit": pl.Series(UNITS, dtype=pl.String).gather(column["unit"]),
                "time_precision": pl.Series(PRECISIONS).gather(column["time_precision"]),
                "available_time": pl.Series(column["available_time"]).cast(TIME),
            }
        ).with_columns(pl.when(~static).then(pl.col("time", "available_time")))
        return EVENTS.validate(events.sort("subject_id", "time", "code", "numeric_value", "unit", nulls_last=False))


def _is_recorded(people: pl.DataFrame, column: dict[str, Array], always: Array) -> Array:
    person, time = column["person"], column["time"]
    index_day = people["index_day"].to_numpy()[person]
    end = index_day + (people["end_day"].to_numpy()[person] + 1) * DAY
    seen = people["has_history"].to_numpy()[person] | (time >= index_day)
    return np.asarray(always[column["code"]] | (seen & (time < end)))
