"""OMOP CDM 5.3 and 5.4 (https://ohdsi.github.io/CommonDataModel): tables as CSV or Parquet in one folder.

Codes keep their vocabulary, ``VOCABULARY//code``: the standard concept first, because it is what transfers between
sites; the source concept where the standard one is 0; the source's own text, under the table's name, where there is
neither. Without a CONCEPT table a concept is ``OMOP//concept_id``.

A datetime at midnight is a date: most sites fill datetimes from dates, and taking such a stamp for a moment would make
a record known before it happened. A datetime whose day contradicts the date gives way to the date, and is counted.
A visit's source value, often the number of one person's visit, never becomes a code.
Conditions and procedures are coded after a stay, so they count from its discharge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from genomix.errors import FormatError, InputNotFoundError
from genomix.io.availability import AvailabilityRule
from genomix.io.omop_concepts import Concepts, delimiter_of, read_ancestors, read_concepts, used_concepts
from genomix.io.omop_tables import (
    LEFT_OUT,
    NOT_ABOUT_PEOPLE,
    TABLES,
    VOCABULARY,
    OmopTable,
    coded,
    event_maps,
    row_notes,
)
from genomix.io.omop_times import Notes, with_end, with_start
from genomix.io.record_conversion import ScannedFormat
from genomix.io.record_rows import (
    ROWS_PER_PART,
    LeftOutFile,
    RawRows,
    RowCheck,
    TablePart,
    descriptions_of,
    map_rows,
    table_parts,
    with_malformed,
)

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_NOTES_PER_PART = 5_000
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


def tables_of(folder: Path) -> dict[str, list[list[Path]]]:
    """Return by lower-case name, for each place where a table stands, its files: one, or the parts in a folder."""
    found: dict[str, list[list[Path]]] = {}
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.startswith((".", "__")):
            continue
        if path.is_dir():
            parts = sorted(p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES))
            if parts:
                found.setdefault(path.name.lower().removesuffix(".parquet"), []).append(parts)
        elif suffix := next(
            (s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(s)), None
        ):
            found.setdefault(path.name.lower().removesuffix(suffix), []).append([path])
    return found


def _opened(path: Path) -> dict[str, list[Path]]:
    if not path.is_dir():
        raise InputNotFoundError(f"{path.name} is no folder of tables", where=str(path))
    found = tables_of(path)
    if "person" not in found:
        raise FormatError("there is no PERSON table", where=str(path), hint="a folder of OMOP CDM tables")
    for name, places in found.items():
        if len(places) > 1:
            both = " and ".join(files[0].relative_to(path).as_posix() for files in places[:2])
            raise FormatError(f"the table {name} is there twice: {both}", where=str(path), hint="keep one of them")
    return {name: places[0] for name, places in found.items()}


class OmopScan:
    """CDM tables in bounded parts; see :class:`~genomix.io.record_rows.RecordScan`.

    Raises
    ------
    InputNotFoundError: no such folder. FormatError: no PERSON, a table that is there twice, cannot be read, or lacks a
    column.
    """

    source_format = "omop"
    rules = RULES

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tables = _opened(path)
        for name, table in TABLES.items():
            for file in self._tables.get(name, []):
                _check_columns(table, file)
        self.left_out: list[LeftOutFile] = []
        self.adjusted: dict[str, int] = {}
        self._names: dict[str, str] = {}

    def parts(self) -> Iterator[RawRows]:
        """Yield the rows of every table that holds events."""
        noted: Counter[str] = Counter()
        concepts = self._concepts()
        self.left_out.clear()
        for name, files in self._tables.items():
            if name in TABLES:
                for file in files:
                    yield from self._file(TABLES[name], file, concepts, noted)
            elif name not in VOCABULARY:
                reason = LEFT_OUT.get(name, NOT_ABOUT_PEOPLE.get(name, "no table of the CDM that holds events"))
                self.left_out += [self._left_out(file, reason) for file in files]
        self.adjusted = dict(noted)

    def descriptions(self) -> pl.DataFrame:
        """Return the names of the concepts that were met."""
        return descriptions_of(self._names)

    def _relative(self, file: Path) -> str:
        return file.relative_to(self._path).as_posix()

    def _left_out(self, file: Path, reason: str) -> LeftOutFile:
        try:
            rows = sum(part.frame.height + len(part.malformed) for part in _parts(file))
        except FormatError:
            return LeftOutFile(self._relative(file), 0, f"{reason}; it cannot be read")
        return LeftOutFile(self._relative(file), rows, reason)

    def _file(self, table: OmopTable, file: Path, concepts: Concepts, noted: Counter[str]) -> Iterator[RawRows]:
        for part in _parts(file, _NOTES_PER_PART if table.name == "note" else ROWS_PER_PART):
            frame = coded(_whole(part.frame, table), table, concepts)
            frame, checks, notes = _timed(frame, table)
            rows = map_rows(
                frame, table=table.name, file=self._relative(file), first_row=part.first_row,
                subject=pl.col("person_id").str.strip_chars().str.replace(r"^(-?\d+)\.0+$", "${1}"),
                events=event_maps(table, frame.columns), checks=checks,
            )  # fmt: skip
            _note(frame, rows, table.name, notes, noted)
            yield with_malformed(rows, part.malformed)

    def _concepts(self) -> Concepts:
        """Return those concepts of the CONCEPT table that some record names."""
        files = self._tables.get("concept", [])
        concepts = read_concepts(files, used_concepts(_concept_columns(self._tables) if files else {}))
        self._names = dict(concepts.frame.select("code", "name").drop_nulls().iter_rows())
        return concepts


def _parts(file: Path, rows: int = ROWS_PER_PART) -> Iterator[TablePart]:
    return table_parts(file, rows=rows, delimiter=delimiter_of(file))


def _concept_columns(tables: dict[str, list[Path]]) -> dict[Path, tuple[str, ...]]:
    return {file: table.concepts for name, table in TABLES.items() for file in tables.get(name, [])}


def _check_columns(table: OmopTable, file: Path) -> None:
    first = next(_parts(file, 1)).frame
    there = set(first.columns)
    for group in (*table.required, *(table.required_of_rows if first.height else ())):
        if not there.intersection(group):
            raise FormatError(
                f"{table.name} has no column {' or '.join(repr(c) for c in group)}", where=str(file),
                hint="OMOP CDM 5.3 or 5.4 column names",
            )  # fmt: skip


def _whole(frame: pl.DataFrame, table: OmopTable) -> pl.DataFrame:
    """Add the optional columns that a site left out, empty."""
    absent = [c for c in table.optional if c not in frame.columns]
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(c) for c in absent)


def _timed(frame: pl.DataFrame, table: OmopTable) -> tuple[pl.DataFrame, list[RowCheck], Notes]:
    """Add _start and _end, and say what makes a row unusable and what was changed in it."""
    notes = row_notes(table)
    checks: list[RowCheck] = []
    if table.date is not None and table.datetime is not None:
        frame, checks, changed = with_start(frame, table.date, table.datetime)
        notes += changed
    if table.end_date is not None and table.end_datetime is not None:
        frame, changed = with_end(frame, table.end_date, table.end_datetime)
        notes += changed
    return frame, checks, notes


def _note(frame: pl.DataFrame, rows: RawRows, table: str, notes: Notes, noted: Counter[str]) -> None:
    """Count what was changed in the rows that are kept."""
    kept = (
        frame.select(where.fill_null(False).alias(words) for words, where in notes)
        .with_row_index("source_row")
        .with_columns(pl.col("source_row").cast(pl.Int64))
        .join(rows.dropped.select("source_row"), on="source_row", how="anti")
    )
    for words, _ in notes:
        if n := int(kept[words].sum()):
            noted[f"{table}: {words}"] += n


def ancestors(path: Path) -> pl.DataFrame:
    """Return code, group (an ancestor's code), levels and description, for a roll-up of the codes of a CDM folder.

    Raises
    ------
    InputNotFoundError: when CONCEPT or CONCEPT_ANCESTOR is not there.
    """
    tables = _opened(path)
    missing = [t for t in ("concept", "concept_ancestor") if t not in tables]
    if missing:
        raise InputNotFoundError(f"there is no {missing[0].upper()} table", where=str(path))
    return read_ancestors(tables["concept_ancestor"], tables["concept"], used_concepts(_concept_columns(tables)))
