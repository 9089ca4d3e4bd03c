"""OMOP CDM 5.3 and 5.4 (https://ohdsi.github.io/CommonDataModel): tables as CSV or Parquet in one folder.

Codes keep their vocabulary, ``VOCABULARY//code``: the standard concept first, because it is what transfers between
sites; the source concept where the standard one is 0; the source's own text, under the table's name, where there is
neither. Without a CONCEPT table a concept is ``OMOP//concept_id``.

A datetime at midnight is a date: most sites fill datetimes from dates, and taking such a stamp for a moment would make
a record known before it happened. A datetime whose day contradicts the date gives way to the date, and is counted.
Conditions and procedures are coded after a stay, so they count from its discharge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.availability import AvailabilityRule
from genomix.io.omop_tables import LEFT_OUT, NOT_ABOUT_PEOPLE, TABLES, VOCABULARY, OmopTable, coded, event_maps
from genomix.io.record_conversion import ScannedFormat
from genomix.io.record_rows import (
    LeftOutFile,
    RawRows,
    RowCheck,
    TablePart,
    descriptions_of,
    map_rows,
    moment,
    table_parts,
    text_or_null,
    unreadable,
    with_malformed,
)

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_LARGE_VOCABULARY = 64 << 20
_BILLING = "coded after the stay, for billing or the problem list"
RULES: tuple[AvailabilityRule, ...] = (
    AvailabilityRule("", "discharge", _BILLING, "condition_occurrence"),
    AvailabilityRule("", "discharge", _BILLING, "procedure_occurrence"),
    AvailabilityRule("MEDS_DEATH", "end_of_day_if_midnight", "registers of deaths hold dates", "death"),
)


class OmopFormat(ScannedFormat):
    """OMOP CDM as a record format."""

    name = "omop"

    def recognises(self, path: Path) -> bool:
        """Say whether a folder holds PERSON and VISIT_OCCURRENCE."""
        return path.is_dir() and {"person", "visit_occurrence"} <= set(tables_of(path))

    def scan(self, path: Path, *, mapping: Path | None = None) -> OmopScan:
        """Open a folder of CDM tables."""
        self.no_mapping(mapping)
        return OmopScan(path)


RECORD_FORMAT = OmopFormat()


def tables_of(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each table by its lower-case name: one file, or the parts in a folder of that name."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.startswith((".", "__")):
            continue
        if path.is_dir():
            parts = sorted(p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES))
            if parts:
                found.setdefault(path.name.lower().removesuffix(".parquet"), []).extend(parts)
        elif suffix := next(
            (s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(s)), None
        ):
            found.setdefault(path.name.lower().removesuffix(suffix), []).append(path)
    return found


class OmopScan:
    """CDM tables in bounded parts; see :class:`~genomix.io.record_rows.RecordScan`."""

    source_format = "omop"
    rules = RULES

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise InputNotFoundError(f"{path.name} is no folder of tables", where=str(path))
        self._path = path
        self._tables = tables_of(path)
        if "person" not in self._tables:
            raise FormatError("there is no PERSON table", where=str(path), hint="a folder of OMOP CDM tables")
        self.left_out: list[LeftOutFile] = []
        self.adjusted: dict[str, int] = {}
        self._names: dict[str, str] = {}

    def parts(self) -> Iterator[RawRows]:
        """Yield the rows of every table that holds events."""
        noted: Counter[str] = Counter()
        concepts = self._concepts()
        for name, files in self._tables.items():
            if name in TABLES:
                for file in files:
                    yield from self._file(TABLES[name], file, concepts, noted)
            elif name not in VOCABULARY:
                reason = LEFT_OUT.get(name, NOT_ABOUT_PEOPLE.get(name, "no table of the CDM that holds events"))
                for file in files:
                    rows = sum(part.frame.height + len(part.malformed) for part in table_parts(file))
                    self.left_out.append(LeftOutFile(self._relative(file), rows, reason))
        self.adjusted = dict(noted)

    def descriptions(self) -> pl.DataFrame:
        """Return the names of the concepts that were met."""
        return descriptions_of(self._names)

    def _relative(self, file: Path) -> str:
        return file.relative_to(self._path).as_posix()

    def _file(
        self, table: OmopTable, file: Path, concepts: pl.DataFrame | None, noted: Counter[str]
    ) -> Iterator[RawRows]:
        for part in table_parts(file):
            _check_columns(table, part, file)
            frame = coded(_whole(part.frame, table), table, concepts)
            if concepts is not None:
                self._remember(frame)
            frame = _timed(frame, table, noted)
            checks = [] if table.date is None else _date_checks(table)
            rows = map_rows(
                frame, table=table.name, file=self._relative(file), first_row=part.first_row,
                subject=pl.col("person_id"), events=event_maps(table, frame.columns), checks=checks,
            )  # fmt: skip
            yield with_malformed(rows, part.malformed)

    def _remember(self, frame: pl.DataFrame) -> None:
        for column in (c for c in frame.columns if c.endswith("__name")):
            code = column.removesuffix("__name") + "__code"
            pairs = frame.select(code, column).drop_nulls().unique()
            self._names.update(dict(pairs.iter_rows()))

    def _concepts(self) -> pl.DataFrame | None:
        """Return concept_id (Int64), code and name of the CONCEPT table; of a large one only what the tables use."""
        files = self._tables.get("concept")
        if not files:
            return None
        large = sum(f.stat().st_size for f in files) > _LARGE_VOCABULARY
        used = self._used() if large else None
        frames = []
        for file in files:
            for part in table_parts(file):
                missing = [c for c in ("concept_id", "vocabulary_id", "concept_code") if c not in part.frame.columns]
                if missing:
                    raise FormatError(f"there is no column {missing[0]!r}", where=str(file), hint="the CONCEPT table")
                name = text_or_null("concept_name") if "concept_name" in part.frame.columns else pl.lit(None)
                frame = part.frame.select(
                    pl.col("concept_id").cast(pl.Int64, strict=False),
                    pl.concat_str("vocabulary_id", "concept_code", separator="//").alias("code"),
                    name.cast(pl.String).alias("name"),
                ).filter(pl.col("concept_id").is_not_null() & (pl.col("concept_id") != 0))
                frames.append(frame if used is None else frame.join(used, on="concept_id", how="semi"))
        return pl.concat(frames).unique("concept_id", keep="first", maintain_order=True)

    def _used(self) -> pl.DataFrame:
        """Return the concepts that the tables name."""
        found = []
        for name, files in self._tables.items():
            if name not in TABLES:
                continue
            for file in files:
                for part in table_parts(file):
                    columns = [c for c in part.frame.columns if c.endswith("concept_id")]
                    long = part.frame.select(pl.col(columns).cast(pl.Int64, strict=False)).unpivot()
                    found.append(long.select(pl.col("value").alias("concept_id")).drop_nulls().unique())
        return pl.concat(found).unique()


def _check_columns(table: OmopTable, part: TablePart, file: Path) -> None:
    missing = [c for c in table.required if c not in part.frame.columns]
    if missing:
        raise FormatError(
            f"{table.name} has no column {missing[0]!r}", where=str(file), hint="OMOP CDM 5.3 or 5.4 column names"
        )


def _whole(frame: pl.DataFrame, table: OmopTable) -> pl.DataFrame:
    """Add the optional columns that a site left out, empty."""
    absent = [c for c in table.optional if c not in frame.columns]
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(c) for c in absent)


def _timed(frame: pl.DataFrame, table: OmopTable, noted: Counter[str]) -> pl.DataFrame:
    """Add _start and _end: the datetime, or the date where that is all, or where they contradict each other."""
    for name, date, stamp in (("_start", table.date, table.datetime), ("_end", table.end_date, table.end_datetime)):
        if date is None:
            frame = frame.with_columns(pl.lit(None, dtype=pl.Datetime("us")).alias(name))
            continue
        day = moment(date)
        if stamp is None:
            frame = frame.with_columns(day.alias(name))
            continue
        told = moment(stamp)
        contradicts = (told.dt.date() != day.dt.date()).fill_null(False)
        n = int(frame.select(contradicts.sum()).item())
        if n:
            noted[f"{table.name}: {stamp} is on another day than {date}, which counts"] += n
        frame = frame.with_columns(pl.when(contradicts).then(day).otherwise(pl.coalesce(told, day)).alias(name))
    early = (pl.col("_end") < pl.col("_start")).fill_null(False)
    n = int(frame.select(early.sum()).item())
    if n:
        noted[f"{table.name}: the end lies before the start and was left out"] += n
    return frame.with_columns(pl.when(~early).then("_end").alias("_end"))


def _date_checks(table: OmopTable) -> list[RowCheck]:
    assert table.date is not None
    broken = unreadable(table.date) & pl.col("_start").is_null()
    return [
        RowCheck("date cannot be read", broken, table.date),
        RowCheck("date is missing", pl.col("_start").is_null(), table.date),
    ]


def ancestors(path: Path) -> pl.DataFrame:
    """Return code, group (an ancestor's code), levels and description, for a roll-up of the codes of a CDM folder.

    Raises
    ------
    InputNotFoundError: when CONCEPT or CONCEPT_ANCESTOR is not there.
    """
    tables = tables_of(path)
    missing = [t for t in ("concept", "concept_ancestor") if t not in tables]
    if missing:
        raise InputNotFoundError(f"there is no {missing[0].upper()} table", where=str(path))
    concepts = OmopScan(path)._concepts()
    assert concepts is not None
    found = []
    for file in tables["concept_ancestor"]:
        for part in table_parts(file):
            pairs = part.frame.select(
                pl.col("descendant_concept_id").cast(pl.Int64, strict=False).alias("concept_id"),
                pl.col("ancestor_concept_id").cast(pl.Int64, strict=False).alias("_ancestor"),
                pl.col("min_levels_of_separation").cast(pl.Int64, strict=False).alias("levels"),
            ).filter(pl.col("concept_id") != pl.col("_ancestor"))
            above = concepts.rename({"concept_id": "_ancestor", "code": "group", "name": "description"})
            joined = pairs.join(concepts.drop("name"), on="concept_id").join(above, on="_ancestor")
            found.append(joined.select("code", "group", "levels", "description"))
    return pl.concat(found).unique().sort("code", "levels", "group")
