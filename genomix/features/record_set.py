"""Feature sets from converted health records, some people at a time.

First pass, for each part of the people: aggregate, put the entries aside on disk, and add up what training rows hold of
each column. Then the columns are chosen; second pass: entries go to their places. Memory is bounded by a part and by
the number of columns, not by the number of people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.device import CPU
from genomix.ehr.window_compiled import NEVER, Entries
from genomix.ehr.windows import ZERO_WHEN_ABSENT, check_windows
from genomix.errors import FormatError, LabelError
from genomix.features.families.demographics import FAMILY as DEMOGRAPHICS
from genomix.features.family import FeatureInputs
from genomix.features.feature_set import SparseWriter, write_dense
from genomix.features.record_columns import (
    RecordWindowOptions,
    check_range_units,
    layout,
    read_ranges,
    static_layout,
    units_of,
    with_constants,
)
from genomix.features.record_figures import Figures
from genomix.features.record_part import PartRecords, RolledNames, later_changes, part_entries, part_records
from genomix.features.set_certificate import SetFacts, certify_set
from genomix.io.meds_shards import Part
from genomix.provenance import write_json, write_manifest
from genomix.schemas.features import SET_COLUMNS, SET_INDEX

Progress = Callable[[float, int], None]
Mask = npt.NDArray[np.bool_]


class Made(NamedTuple):
    """Counts of a feature set, and its certificate (schema CERTIFICATE; None where none was asked for)."""

    counts: dict[str, int]
    certificate: pl.DataFrame | None


def make_record_set(
    parts: Iterable[Part],
    index: pl.DataFrame,
    folder: Path,
    chosen: RecordWindowOptions,
    *,
    scratch: Path,
    training: Mask | None,
    certify: bool = True,
    manifest: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Made:
    """Write the feature set of some records into an existing folder.

    Parameters
    ----------
    parts: everybody's records, each person's in one part.
    index: schema SET_INDEX, in order of subject_id and prediction_time, row 0, 1, ... scratch: an existing folder.
    training: which rows a code must occur in (``min_subjects`` people) and a column vary in to be kept; None: every
        column that holds anything is kept.
    progress: called with the number of events so far.

    Raises
    ------
    LabelError: a row without a prediction time, or no row. FormatError: a person in two parts, or units that differ.
    """
    check_windows(chosen.windows, chosen.aggregations)
    index = SET_INDEX.validate(index)
    if not index.height or index["prediction_time"].null_count():
        raise LabelError("features need rows with a prediction time each", hint="genomix ehr cohort makes them")
    counted = np.ones(index.height, dtype=bool) if training is None else training
    gathered = _gather(parts, index, chosen, scratch, counted, certify=certify, progress=progress)
    return _write(gathered, index, folder, chosen, scratch, training, counted, manifest or {}, certify=certify)


class _Gathered(NamedTuple):
    """What the first pass found."""

    figures: Figures
    spools: list[tuple[Path, tuple[str, ...], pl.DataFrame]]
    demographics: npt.NDArray[np.float32]
    units: pl.DataFrame
    training_units: pl.DataFrame
    changed: int
    compared: int
    events: int
    people: int


def _gather(
    parts: Iterable[Part],
    index: pl.DataFrame,
    chosen: RecordWindowOptions,
    scratch: Path,
    counted: Mask,
    *,
    certify: bool,
    progress: Callable[[int], None] | None,
) -> _Gathered:
    names = RolledNames(chosen)
    ranges = None if chosen.ranges is None else read_ranges(Path(chosen.ranges))
    figures = Figures(len(chosen.windows), chosen.aggregations)
    spools: list[tuple[Path, tuple[str, ...], pl.DataFrame]] = []
    demographics = np.full((index.height, 2), np.nan, dtype=np.float32)
    seen = np.zeros(index.height, dtype=bool)
    units: list[pl.DataFrame] = []
    training_units: list[pl.DataFrame] = []
    changed = compared = events = people = 0
    subject = index["subject_id"].to_numpy()
    for number, part in enumerate(parts):
        events += part.events.height
        if progress is not None:
            progress(events)
        found = part_records(part, index, counted, names, chosen)
        if found is None:
            continue
        rows = found.rows["row"].to_numpy()
        if seen[rows].any():
            raise FormatError(
                "the records of a person are apart", where=part.file, hint="genomix ehr convert puts them together"
            )
        seen[rows] = True
        people += found.rows["subject_id"].n_unique()
        entries = part_entries(found, ranges, chosen)
        figures.add(found.names, entries, found.static, subject, counted)
        if certify:
            different, looked_at = later_changes(found, entries, ranges, chosen)
            changed, compared = changed + different, compared + looked_at
        demographics[rows] = _demographics(found)
        units.append(found.units)
        training_units.append(found.training_units)
        path = scratch / f"{number}.npz"
        np.savez(path, row=entries.row, code=entries.code, window=entries.window, values=entries.values, rows=rows)
        spools.append((path, found.names, found.static))
    empty = pl.DataFrame(schema={"code": pl.String, "unit": pl.String})
    return _Gathered(
        figures, spools, demographics, pl.concat([empty, *units]).unique(),
        pl.concat([empty, *training_units]).unique(), changed, compared, events, people,
    )  # fmt: skip


def _demographics(found: PartRecords) -> npt.NDArray[np.float32]:
    rows = found.rows.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), "subject_id", "prediction_time")
    return DEMOGRAPHICS.compute(FeatureInputs(rows, CPU, events=found.demographic_events), {}).values


def _demographic_columns(index: pl.DataFrame) -> pl.DataFrame:
    from genomix.schemas.events import EVENTS

    rows = index.head(1).select("row", "subject_id", "prediction_time")
    return DEMOGRAPHICS.compute(FeatureInputs(rows, CPU, events=EVENTS.empty()), {}).columns


class _Columns(NamedTuple):
    """Sparse columns in order, and where an entry goes: (codes, windows, aggregations) and (static codes, 2); or -1."""

    told: pl.DataFrame
    place: npt.NDArray[np.int32]
    static_place: npt.NDArray[np.int32]
    counts: dict[str, int]


def _choose(
    gathered: _Gathered, chosen: RecordWindowOptions, ranges: pl.DataFrame | None, training: Mask | None, counted: Mask
) -> _Columns:
    figures = gathered.figures
    units = units_of(gathered.units, chosen)
    check_range_units(ranges, units)
    if training is not None:
        own = units_of(gathered.training_units, chosen)
        units = units._replace(frame=own.frame)
    n_rows = int(counted.sum())
    if training is None:
        enough = np.ones(len(figures.names), dtype=bool)
        keep = figures.n > 0
    else:
        enough = figures.n_subjects >= chosen.min_subjects
        keep = figures.varies(n_rows) & enough[:, None, None]
    seen = pl.DataFrame(
        {
            "code_id": pl.Series(np.arange(len(figures.names)), dtype=pl.Int32),
            "code": pl.Series(figures.names, dtype=pl.String),
            "valued": (figures.values_known != NEVER).any(axis=1),
        }
    )
    told = layout(seen, figures.lags(), units, ranges, chosen)
    at = told.select("code_id", "window_id", "kind").to_numpy()
    told = told.filter(pl.Series(keep[at[:, 0], at[:, 1], at[:, 2]], dtype=pl.Boolean))
    place = np.full(figures.n.shape, -1, dtype=np.int32)
    at = told.select("code_id", "window_id", "kind").to_numpy()
    place[at[:, 0], at[:, 1], at[:, 2]] = np.arange(told.height)
    static = figures.static_columns(n_rows, None if training is None else chosen.min_subjects)
    static_told = static_layout(static.select("code", "valued"), chosen) if chosen.static else None
    static_place = np.full((len(figures.static_names), 2), -1, dtype=np.int32)
    columns = with_constants(told)
    if static_told is not None and static_told.height:
        keep_static, static_place = _place_static(static, static_place, told.height)
        columns = pl.concat([columns, with_constants(static_told).filter(keep_static)])
    dated = (figures.known != NEVER).any(axis=1)
    counts = {
        "codes_of_people_with_rows": len(figures.names),
        "codes": int(dated.sum()),
        "codes_kept": told["code"].n_unique(),
        "codes_in_too_few_people": int((~enough & dated).sum()),
        "codes_without_a_date": len(figures.static_names),
        "columns_constant_in_training": int(((figures.n > 0) & enough[:, None, None] & ~keep).sum()),
    }
    return _Columns(columns, place, static_place, counts)


def _place_static(
    static: pl.DataFrame, place: npt.NDArray[np.int32], first: int
) -> tuple[pl.Series, npt.NDArray[np.int32]]:
    """Return which of the columns of :func:`static_layout` stay, and number them from ``first`` on."""
    keep, following = [], first
    for code_id, valued, has, value in static.select("code_id", "valued", "keep_has", "keep_value").iter_rows():
        for kind, stays in ((0, has), (1, value)):
            if kind == 1 and not valued:
                continue
            keep.append(stays)
            if stays:
                place[code_id, kind] = following
                following += 1
    return pl.Series(keep, dtype=pl.Boolean), place


def _write(
    gathered: _Gathered,
    index: pl.DataFrame,
    folder: Path,
    chosen: RecordWindowOptions,
    scratch: Path,
    training: Mask | None,
    counted: Mask,
    manifest: dict[str, Any],
    *,
    certify: bool,
) -> Made:
    from genomix.features import record_kernels as kernels

    ranges = None if chosen.ranges is None else read_ranges(Path(chosen.ranges))
    columns = _choose(gathered, chosen, ranges, training, counted)
    writer = SparseWriter(scratch, index.height, columns.told.height)
    for path, names, static in gathered.spools:
        entries, rows = _spooled(path, gathered.figures, names)
        placed = _placed_static(static, gathered.figures, columns.static_place)
        room = entries.values.size + len(placed[0])
        indices, data = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.float32)
        sizes = np.zeros(len(rows), dtype=np.int64)
        n = kernels.fill_rows(*entries[:4], columns.place, *placed, rows, sizes, indices, data)
        writer.add(rows, sizes, indices[:n], data[:n])
        path.unlink()
    writer.finish(folder / "sparse.npz")
    dense = _demographic_columns(index)
    write_dense(folder, dense["name"].to_list(), gathered.demographics)
    told = _told(dense, columns.told)
    told.write_parquet(folder / "columns.parquet", compression="zstd", statistics=False)
    index.write_parquet(folder / "index.parquet", compression="zstd", statistics=False)
    counts = {
        "events_read": gathered.events,
        "people_with_records": gathered.people,
        "rows": index.height,
        "people": index["subject_id"].n_unique(),
        "rows_without_records": int((writer.sizes == 0).sum()),
        "training_rows": int(counted.sum()) if training is not None else 0,
        **columns.counts,
        "columns": told.height,
        "values_held": int(writer.sizes.sum()),
    }
    learned = {"from_training_rows": training is not None, "min_subjects": chosen.min_subjects, "counts": counts}
    write_json(folder / "learned.json", learned)
    certificate = None
    if certify:
        facts = SetFacts(gathered.changed, gathered.compared, training, chosen.inclusive)
        certificate = certify_set(folder, facts)
        certificate.write_parquet(folder / "certificate.parquet", compression="zstd", statistics=False)
    write_manifest(folder, {**manifest, "counts": counts})
    return Made(counts, certificate)


def _told(dense: pl.DataFrame, sparse: pl.DataFrame) -> pl.DataFrame:
    nothing = pl.lit(None, dtype=pl.Float64)
    absent = pl.when(pl.col("aggregation").is_in(ZERO_WHEN_ABSENT)).then(0.0).otherwise(nothing)
    return SET_COLUMNS.validate(
        pl.concat(
            [
                dense.with_columns(pl.lit("dense").alias("storage"), nothing.alias("absent")),
                sparse.with_columns(pl.lit("sparse").alias("storage"), absent.alias("absent")),
            ]
        )
    )


def _spooled(path: Path, figures: Figures, names: tuple[str, ...]) -> tuple[Entries, npt.NDArray[np.int64]]:
    """Return a part's entries, codes numbered as in the figures, and its rows."""
    with np.load(path) as held:
        code = figures.numbers_of(names)[held["code"]]
        none = np.empty((0, 0), dtype=np.int64)
        return Entries(held["row"], code, held["window"], held["values"], none, none), held["rows"]


def _placed_static(
    static: pl.DataFrame, figures: Figures, place: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return row, column and value of static entries that have a place, in order."""
    code = figures.static_numbers_of(static["code"])
    row, value = static["row"].to_numpy(), static["value"].fill_null(float("nan")).to_numpy()
    has, held = place[code, 0], np.where(np.isnan(value), -1, place[code, 1])
    rows = np.concatenate([row[has >= 0], row[held >= 0]])
    columns = np.concatenate([has[has >= 0], held[held >= 0]]).astype(np.int32)
    values = np.concatenate([np.ones(int((has >= 0).sum()), dtype=np.float32), value[held >= 0]])
    order = np.lexsort((columns, rows))
    return rows[order].astype(np.int64), columns[order], values[order].astype(np.float32)
