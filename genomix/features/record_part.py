"""Some people's records for feature making: chosen, rolled up, numbered; their window entries, and these once more with
every later record altered."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.ehr.window_compiled import Entries, entries_of, records_of
from genomix.ehr.windows import SINCE, clean_value, code_bounds, known_time, row_limits, static_aggregates
from genomix.features.record_columns import (
    ANY_RECORD,
    DEMOGRAPHIC_CODES,
    RecordWindowOptions,
    rolled_names,
    stated_units,
)
from genomix.io.meds_shards import Part

_LONG_AGO = -1000.0
_NO_UNITS = pl.DataFrame(schema={"code": pl.String, "unit": pl.String})


class PartRecords(NamedTuple):
    """A part's rows and records.

    ``rows``: row, subject_id, prediction_time. ``dated``: subject_id, time, available_time, code_id (place in
    ``names``), value. ``names``: rolled-up codes, sorted. ``static``: row, code, value. ``anchors``: records of codes
    that begin a ``since:`` window. ``units``, ``training_units``: code, unit of values known before a prediction.
    """

    rows: pl.DataFrame
    dated: pl.DataFrame
    names: tuple[str, ...]
    static: pl.DataFrame
    anchors: pl.DataFrame
    demographic_events: pl.DataFrame
    units: pl.DataFrame
    training_units: pl.DataFrame


class RolledNames:
    """Under which codes a code counts, looked up once for each code."""

    def __init__(self, chosen: RecordWindowOptions) -> None:
        self._chosen = chosen
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, codes: tuple[str, ...]) -> pl.DataFrame:
        """Return code (UInt32, place in ``codes``) and rolled, for the codes that are chosen."""
        new = [c for c in codes if c not in self._known]
        if new:
            found: dict[str, list[str]] = {c: [] for c in new}
            for code, rolled in rolled_names(pl.Series("code", new, dtype=pl.String), self._chosen).iter_rows():
                found[code].append(rolled)
            self._known |= {code: tuple(sorted(rolled)) for code, rolled in found.items()}
        pairs = [(i, rolled) for i, code in enumerate(codes) for rolled in self._known[code]]
        return pl.DataFrame(pairs, schema={"code": pl.UInt32, "rolled": pl.String}, orient="row")


def part_records(
    part: Part, index: pl.DataFrame, counted: npt.NDArray[np.bool_], names: RolledNames, chosen: RecordWindowOptions
) -> PartRecords | None:
    """Return the records of a part's people who have a row, None where nobody has one."""
    rows = index.select("row", "subject_id", "prediction_time").join(
        part.events.select("subject_id").unique(), on="subject_id", how="semi", maintain_order="left"
    )
    if not rows.height:
        return None
    events = part.events
    if rows["subject_id"].n_unique() < events["subject_id"].n_unique():
        events = events.join(rows.select("subject_id").unique(), on="subject_id", how="semi", maintain_order="left")
    pairs = names.of(part.codes)
    own = sorted({*pairs["rolled"].to_list(), *([ANY_RECORD] if chosen.any_record else [])})
    place = {name: i for i, name in enumerate(own)}
    numbered = pairs.with_columns(pl.Series("code_id", [place[r] for r in pairs["rolled"].to_list()], dtype=pl.Int32))
    kept = _numbered(events, numbered, len(part.codes))
    dated = kept.filter(pl.col("time").is_not_null())
    words = pl.Series("word", own, dtype=pl.String)
    units, training_units = (
        _units(dated, rows if one is None else rows.filter(pl.Series(one)), words, part.units)
        for one in (None, counted[rows["row"].to_numpy()])
    )
    timed = dated.select("subject_id", "time", known_time(), "code_id", clean_value())
    if chosen.any_record:
        timed = pl.concat([timed, _any_record(events, part, place[ANY_RECORD])])
    return PartRecords(
        rows, timed, tuple(own), _static(kept, rows, words), _anchors(events, part, chosen),
        _demographic(events, part), units, training_units,
    )  # fmt: skip


def _numbered(events: pl.DataFrame, numbered: pl.DataFrame, n_codes: int) -> pl.DataFrame:
    """Keep events of chosen codes, with code_id; an event of a code in several groups stands once for each."""
    if numbered["code"].is_duplicated().any():
        return events.join(numbered.drop("rolled"), on="code", how="inner", maintain_order="left")
    to = np.full(n_codes, -1, dtype=np.int32)
    to[numbered["code"].to_numpy()] = numbered["code_id"].to_numpy()
    code_id = to[events["code"].to_numpy()]
    with_code = events.with_columns(pl.Series("code_id", code_id))
    return with_code if (code_id >= 0).all() else with_code.filter(pl.col("code_id") >= 0)


def _any_record(events: pl.DataFrame, part: Part, code_id: int) -> pl.DataFrame:
    births = [i for i, code in enumerate(part.codes) if code == "MEDS_BIRTH"]
    every = events.filter(pl.col("time").is_not_null() & ~pl.col("code").is_in(births))
    return every.select(
        "subject_id", "time", known_time(), pl.lit(code_id, dtype=pl.Int32).alias("code_id"),
        pl.lit(None, dtype=pl.Float64).alias("value"),
    )  # fmt: skip


def _units(dated: pl.DataFrame, rows: pl.DataFrame, words: pl.Series, units: tuple[str, ...]) -> pl.DataFrame:
    if not units:
        return _NO_UNITS
    found = stated_units(dated.drop("code").rename({"code_id": "code"}), rows)
    named = pl.Series("unit", units, dtype=pl.String)
    return pl.DataFrame({"code": words[found["code"]], "unit": named[found["unit"]]})


def _static(kept: pl.DataFrame, rows: pl.DataFrame, words: pl.Series) -> pl.DataFrame:
    static = kept.filter(pl.col("time").is_null()).drop("code").rename({"code_id": "code"})
    found = static_aggregates(static, rows)
    return found.with_columns(words[found["code"]].alias("code")).sort("row", "code")


def _anchors(events: pl.DataFrame, part: Part, chosen: RecordWindowOptions) -> pl.DataFrame:
    since = [w.removeprefix(SINCE) for w in chosen.windows if w.startswith(SINCE)]
    wanted = [i for i, c in enumerate(part.codes) if any(c == s or c.startswith(s + "//") for s in since)]
    return _with_words(events.filter(pl.col("code").is_in(wanted)), part)


def _demographic(events: pl.DataFrame, part: Part) -> pl.DataFrame:
    codes = pl.Series(part.codes, dtype=pl.String)
    wanted = pl.Series([False] * len(codes), dtype=pl.Boolean)
    for pattern in DEMOGRAPHIC_CODES:
        wanted |= codes.str.contains(pattern)
    return _with_words(events.filter(pl.col("code").is_in(np.flatnonzero(wanted.to_numpy()))), part)


def _with_words(events: pl.DataFrame, part: Part) -> pl.DataFrame:
    words = pl.Series("code", part.codes, dtype=pl.String)
    return events.select("subject_id", "time", "available_time", words[events["code"]].alias("code"))


def part_entries(found: PartRecords, ranges: pl.DataFrame | None, chosen: RecordWindowOptions) -> Entries:
    """Return the window entries of a part's rows."""
    return _entries(found, found.dated, found.anchors, found.rows, ranges, chosen)


def _entries(
    found: PartRecords,
    dated: pl.DataFrame,
    anchors: pl.DataFrame,
    rows: pl.DataFrame,
    ranges: pl.DataFrame | None,
    chosen: RecordWindowOptions,
) -> Entries:
    codes = pl.DataFrame({"code": pl.Series(found.names, dtype=pl.String)}).with_row_index("code_id")
    bounds = code_bounds(codes, ranges)
    limits = row_limits(anchors, rows, chosen.windows, inclusive=chosen.inclusive)
    return entries_of(records_of(dated), limits, chosen.aggregations, bounds, inclusive=chosen.inclusive)


def later_changes(
    found: PartRecords, entries: Entries, ranges: pl.DataFrame | None, chosen: RecordWindowOptions
) -> tuple[int, int]:
    """Make each person's first and last row again with every record altered that was not known then.

    Such a record gets another code and another value; what it was must not matter. Return how many values differ, and
    how many were compared.
    """
    picks: tuple[Literal["first", "last"], ...] = ("first", "last")
    chosen_rows = {
        tuple(found.rows.unique("subject_id", keep=pick, maintain_order=True)["row"].to_list()) for pick in picks
    }
    changed = compared = 0
    for numbers in sorted(chosen_rows):
        rows = found.rows.filter(pl.col("row").is_in(list(numbers)))
        limits = rows.select("subject_id", pl.col("prediction_time").alias("_limit"))
        again = _entries(
            found, _altered(found.dated, limits, len(found.names), chosen), _known(found.anchors, limits, chosen), rows,
            ranges, chosen,
        )  # fmt: skip
        mine = np.isin(entries.row, rows["row"].to_numpy())
        places = (
            (entries.row[mine], again.row), (entries.code[mine], again.code), (entries.window[mine], again.window)
        )  # fmt: skip
        compared += int(mine.sum()) * len(chosen.aggregations)
        if not all(np.array_equal(a, b) for a, b in places):
            changed += max(1, abs(len(again.row) - int(mine.sum())))
            continue
        same = (entries.values[:, mine] == again.values) | (np.isnan(entries.values[:, mine]) & np.isnan(again.values))
        changed += int((~same).sum())
    return changed, compared


def _is_later(chosen: RecordWindowOptions) -> pl.Expr:
    latest = pl.max_horizontal("time", "available_time")
    return latest > pl.col("_limit") if chosen.inclusive else latest >= pl.col("_limit")


def _altered(dated: pl.DataFrame, limits: pl.DataFrame, n_codes: int, chosen: RecordWindowOptions) -> pl.DataFrame:
    later = _is_later(chosen)
    other_code = ((pl.col("code_id") + 1) % n_codes).cast(pl.Int32)
    other_value = pl.col("value").fill_null(0.0) * -3 + _LONG_AGO
    return (
        dated.join(limits, on="subject_id", how="left", maintain_order="left")
        .with_columns(
            pl.when(later).then(other_code).otherwise("code_id").alias("code_id"),
            pl.when(later).then(other_value).otherwise("value").alias("value"),
        )
        .drop("_limit")
    )


def _known(anchors: pl.DataFrame, limits: pl.DataFrame, chosen: RecordWindowOptions) -> pl.DataFrame:
    return anchors.join(limits, on="subject_id", how="left").filter(~_is_later(chosen)).drop("_limit")
