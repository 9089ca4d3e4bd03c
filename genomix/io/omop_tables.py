"""Which columns of which OMOP CDM table make which events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from genomix.io.omop_concepts import Concepts, concept_id, whole_number
from genomix.io.omop_times import Notes, local_day, midnight_of
from genomix.io.record_rows import EventMap, number, text_or_null

INPATIENT = (9201, 262, 8717, 32037, 8920, 8971, 581379, 581382, 581383, 581384)
"""Visit concepts that are hospital stays: inpatient, emergency and inpatient, inpatient hospital, intensive care, and
the inpatient facilities: rehabilitation, psychiatric, critical care, intensive care, cardiac care, nursery."""

OPERATORS = {4171756: "<", 4171754: "<=", 4172704: ">", 4171755: ">="}
"""Concepts of a value that is only a bound."""

VOCABULARY = (
    "concept", "concept_ancestor", "concept_class", "concept_relationship", "concept_synonym", "domain", "relationship",
    "vocabulary", "source_to_concept_map", "drug_strength",
)  # fmt: skip
_DERIVED = "derived from other tables that are read"
LEFT_OUT = {
    **dict.fromkeys(("condition_era", "drug_era", "dose_era", "episode", "episode_event"), _DERIVED),
    "cost": "costs, not events of care", "payer_plan_period": "insurance, not events of care",
    "observation_period": "the span of a record, not an event in it", "cohort": "somebody's selection of people",
    "cohort_definition": "somebody's selection of people", "specimen": "specimens are not read",
    "note_nlp": "made from the text of notes, which is not read", "fact_relationship": "links between records",
}  # fmt: skip
NOT_ABOUT_PEOPLE = dict.fromkeys(("care_site", "location", "provider", "cdm_source", "metadata"), "not about a person")


@dataclass(frozen=True)
class OmopTable:
    """A CDM table: its concept, source and date columns (None where it has none), and what else is read."""

    name: str
    concept: str | None
    source_concept: str | None = None
    source_value: str | None = None
    date: str | None = None
    datetime: str | None = None
    end_date: str | None = None
    end_datetime: str | None = None
    others: tuple[str, ...] = ()
    other_concepts: tuple[str, ...] = ()

    needs_end: bool = False

    @property
    def required(self) -> tuple[tuple[str, ...], ...]:
        """Columns without which the table means nothing; of each group one is enough."""
        return _groups(("person_id",), (self.concept,), (self.date, self.datetime))

    @property
    def required_of_rows(self) -> tuple[tuple[str, ...], ...]:
        """Columns that a table with rows needs too."""
        if self.name == "person":
            return _groups(("year_of_birth", "birth_datetime"), ("race_concept_id",), ("ethnicity_concept_id",))
        return _groups((self.end_date, self.end_datetime)) if self.needs_end else ()

    @property
    def optional(self) -> tuple[str, ...]:
        """Columns that count as empty where they are absent."""
        named = (
            self.source_concept, self.source_value, self.date, self.datetime, self.end_date, self.end_datetime,
        )  # fmt: skip
        return tuple(c for c in (*named, *self.others, *self.other_concepts) if c is not None)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Columns that hold concepts."""
        return tuple(c for c in (self.concept, self.source_concept, *self.other_concepts) if c is not None)


def _groups(*groups: tuple[str | None, ...]) -> tuple[tuple[str, ...], ...]:
    named = (tuple(c for c in group if c is not None) for group in groups)
    return tuple(group for group in named if group)


def _clinical(
    name: str, stem: str, dates: str, *, ends: bool = True, needs_end: bool = False, **more: tuple[str, ...]
) -> OmopTable:
    prefix, end = (f"{dates}_start", f"{dates}_end") if ends else (dates, None)
    return OmopTable(
        name, f"{stem}_concept_id", f"{stem}_source_concept_id", f"{stem}_source_value", f"{prefix}_date",
        f"{prefix}_datetime", None if end is None else f"{end}_date", None if end is None else f"{end}_datetime",
        needs_end=needs_end, **more,
    )  # fmt: skip


_VALUES = ("value_as_number", "unit_source_value", "value_source_value")
_DISCHARGE = ("discharged_to_source_value", "discharge_to_source_value")
_DISCHARGE_CONCEPTS = ("discharged_to_concept_id", "discharge_to_concept_id")
TABLES = {
    table.name: table
    for table in (
        OmopTable(
            "person", "gender_concept_id", others=("year_of_birth", "month_of_birth", "day_of_birth", "birth_datetime",
            "gender_source_value", "race_source_value", "ethnicity_source_value"),
            other_concepts=("race_concept_id", "ethnicity_concept_id"),
        ),
        _clinical("visit_occurrence", "visit", "visit", needs_end=True, others=_DISCHARGE,
                  other_concepts=_DISCHARGE_CONCEPTS),
        _clinical("visit_detail", "visit_detail", "visit_detail"),
        _clinical("condition_occurrence", "condition", "condition"),
        _clinical("drug_exposure", "drug", "drug_exposure", others=("quantity", "dose_unit_source_value")),
        _clinical("procedure_occurrence", "procedure", "procedure", ends=False),
        _clinical("device_exposure", "device", "device_exposure"),
        _clinical("measurement", "measurement", "measurement", ends=False, others=_VALUES,
                  other_concepts=("value_as_concept_id", "unit_concept_id", "operator_concept_id")),
        _clinical("observation", "observation", "observation", ends=False, others=(*_VALUES, "value_as_string"),
                  other_concepts=("value_as_concept_id", "unit_concept_id")),
        OmopTable("death", None, date="death_date", datetime="death_datetime", others=("cause_source_value",),
                  other_concepts=("cause_concept_id", "cause_source_concept_id")),
        OmopTable("note", "note_type_concept_id", date="note_date", datetime="note_datetime",
                  other_concepts=("note_class_concept_id",)),
    )
}  # fmt: skip


def coded(frame: pl.DataFrame, table: OmopTable, concepts: Concepts) -> pl.DataFrame:
    """Add for each concept column X ``X__id`` and ``X__code`` (both null for 0 or nothing)."""
    frame = frame.with_columns(concept_id(c).alias(f"{c}__id") for c in table.concepts)
    return frame.with_columns(concepts.code(pl.col(f"{c}__id")).alias(f"{c}__code") for c in table.concepts)


def _code(table: OmopTable) -> pl.Expr:
    """Return the standard concept's code, else the source concept's, else the source's text under the table's name."""
    found = [pl.col(f"{c}__code") for c in (table.concept, table.source_concept) if c is not None]
    if table.source_value is not None:
        prefix = table.name.split("_")[0].upper()
        found.append(pl.concat_str(pl.lit(f"{prefix}//"), text_or_null(table.source_value)))
    return pl.coalesce(*found)


def _at(column: str) -> dict[str, pl.Expr]:
    """Return the time of an event and whether it is a date."""
    return {"time": pl.col(column), "day": pl.col(f"{column}_day")}


def row_notes(table: OmopTable) -> Notes:
    """Return what is changed in rows of a table that are kept, times aside."""
    broken = [text_or_null(c).is_not_null() & whole_number(c).is_null() for c in table.concepts]
    notes: Notes = [("a concept that is no whole number counts as none", pl.any_horizontal(broken))]
    if table.name == "person":
        stated = pl.any_horizontal(text_or_null(c).is_not_null() for c in _BORN)
        whole, parts, agrees = _births()
        none = whole.is_null() & parts.is_null()
        both = whole.is_not_null() & parts.is_not_null()
        notes += [
            ("birth_datetime is another day than the year, month and day of birth, which count", both & ~agrees),
            ("the date of birth cannot be read and was left out", none & stated),
        ]
    for column in ("value_as_number", "quantity"):
        if column in table.others:
            notes.append((f"{column} is not a number" + _KEPT[column], _not_a_number(column)))
    if table.name == "measurement":
        bound = _sign().is_not_null() & number("value_as_number").is_not_null()
        notes.append(("a value with <, <=, > or >= keeps its bound as number; text_value holds both", bound))
    return notes


_KEPT = {"value_as_number": " and was kept as text", "quantity": " and was left out"}


def _not_a_number(column: str) -> pl.Expr:
    text = text_or_null(column)
    return text.is_not_null() & (text.str.to_lowercase() != "nan") & number(column).is_null()


def _sign() -> pl.Expr:
    return pl.col("operator_concept_id__id").replace_strict(OPERATORS, default=None, return_dtype=pl.String)


def event_maps(table: OmopTable, columns: Sequence[str]) -> list[EventMap]:
    """Return the events of a table's rows; ``columns`` are those of the frame."""
    if table.name == "person":
        return _person()
    if table.name == "death":
        cause = [pl.col(f"{c}__code") for c in ("cause_concept_id", "cause_source_concept_id")]
        told = pl.concat_str(pl.lit("DEATH_CAUSE//"), pl.coalesce(*cause, text_or_null("cause_source_value")))
        return [EventMap(pl.lit("MEDS_DEATH"), **_at("_start")), EventMap(told, **_at("_start"))]
    if table.name == "note":
        kind = pl.coalesce("note_class_concept_id__code", "note_type_concept_id__code")
        return [EventMap(pl.concat_str(pl.lit("NOTE//"), kind), **_at("_start"))]
    if table.name in ("visit_occurrence", "visit_detail"):
        return _visits(table)
    if table.name in ("measurement", "observation"):
        return [_measured(table)]
    start = EventMap(_code(table), **_at("_start"))
    if table.name == "drug_exposure":
        start = EventMap(
            _code(table), **_at("_start"), numeric_value=number("quantity"),
            unit=pl.when(number("quantity").is_not_null()).then(text_or_null("dose_unit_source_value")),
        )  # fmt: skip
    if "_end" not in columns or table.end_date is None:
        return [start]
    end = pl.concat_str(_code(table), pl.lit("//END"))
    return [start, EventMap(end, **_at("_end"), when=pl.col("_end") > pl.col("_start"))]


_BORN = ("year_of_birth", "month_of_birth", "day_of_birth", "birth_datetime")


def _births() -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Return the day of birth_datetime, the earliest day that the parts allow, and whether they agree."""
    year, month, day = (whole_number(c) for c in _BORN[:3])
    no_month = text_or_null("month_of_birth").is_null()
    no_day = no_month | text_or_null("day_of_birth").is_null()
    told = pl.concat_str(
        pl.when(year.is_between(1800, 2999)).then(year).cast(pl.String), pl.lit("-"),
        pl.when(no_month).then(pl.lit(1)).otherwise(month).cast(pl.String).str.zfill(2), pl.lit("-"),
        pl.when(no_day).then(pl.lit(1)).otherwise(day).cast(pl.String).str.zfill(2),
    )  # fmt: skip
    whole, parts = midnight_of(local_day("birth_datetime")), midnight_of(told)
    pairs = ((year, whole.dt.year()), (month, whole.dt.month()), (day, whole.dt.day()))
    return whole, parts, pl.all_horizontal((part == of).fill_null(True) for part, of in pairs)


def _person() -> list[EventMap]:
    whole, parts, agrees = _births()
    born = pl.when(whole.is_not_null() & (agrees | parts.is_null())).then(whole).otherwise(parts)
    facts = []
    for name in ("gender", "race", "ethnicity"):
        value = pl.coalesce(f"{name}_concept_id__code", text_or_null(f"{name}_source_value"))
        facts.append(EventMap(pl.concat_str(pl.lit(f"{name.upper()}//"), value)))
    return [EventMap(pl.lit("MEDS_BIRTH"), born, day=True), *facts]


def _visits(table: OmopTable) -> list[EventMap]:
    """A visit's source value is often the number of one person's visit, so it never becomes a code."""
    kind = "VISIT" if table.name == "visit_occurrence" else "VISIT_DETAIL"
    code = pl.coalesce(*(f"{c}__code" for c in (table.concept, table.source_concept)), pl.lit("UNKNOWN"))
    begun, ended = (pl.concat_str(pl.lit(f"{kind}//"), code, pl.lit(f"//{side}")) for side in ("START", "END"))
    maps = [EventMap(begun, **_at("_start")), EventMap(ended, **_at("_end"))]
    if kind == "VISIT":
        stay = pl.coalesce(f"{table.concept}__id", f"{table.source_concept}__id").is_in(INPATIENT)
        to = [pl.col(f"{c}__code") for c in _DISCHARGE_CONCEPTS]
        place = pl.coalesce(*to, *(text_or_null(c) for c in _DISCHARGE), pl.lit("UNKNOWN"))
        admitted = pl.concat_str(pl.lit("HOSPITAL_ADMISSION//"), code)
        left = pl.concat_str(pl.lit("HOSPITAL_DISCHARGE//"), place)
        maps += [EventMap(admitted, **_at("_start"), when=stay), EventMap(left, **_at("_end"), when=stay)]
    return maps


def _measured(table: OmopTable) -> EventMap:
    """A unit without a name is written by its concept, so that two such units are not taken for one."""
    value = number("value_as_number")
    ucum = pl.col("unit_concept_id__code").str.extract("^UCUM//(.+)$")
    named = pl.coalesce(ucum, text_or_null("unit_source_value"), "unit_concept_id__code")
    said = [pl.col("value_as_concept_id__code")]
    if table.name == "observation":
        said.append(text_or_null("value_as_string"))
    source = text_or_null("value_source_value")
    raw = pl.when(_not_a_number("value_as_number")).then(text_or_null("value_as_number"))
    text = pl.coalesce(*said, pl.when(value.is_null()).then(source), raw)
    if table.name == "measurement":
        shown = value.cast(pl.String).str.replace(r"\.0$", "")
        text = pl.coalesce(pl.concat_str(_sign(), shown), text)
    return EventMap(
        _code(table), **_at("_start"), numeric_value=value, unit=pl.when(value.is_not_null()).then(named),
        text_value=text,
    )  # fmt: skip
