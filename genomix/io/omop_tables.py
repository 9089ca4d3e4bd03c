"""Which columns of which OMOP CDM table make which events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from genomix.io.record_rows import EventMap, number, text_or_null

INPATIENT = (9201, 262, 8717, 32037)
"""Visit concepts that are hospital stays: inpatient, emergency and inpatient, inpatient hospital, intensive care."""

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

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which the table means nothing."""
        return tuple(c for c in ("person_id", self.concept, self.date) if c is not None)

    @property
    def optional(self) -> tuple[str, ...]:
        """Columns that count as empty where they are absent."""
        named = (self.source_concept, self.source_value, self.datetime, self.end_date, self.end_datetime)
        return tuple(c for c in (*named, *self.others, *self.other_concepts) if c is not None)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Columns that hold concepts."""
        return tuple(c for c in (self.concept, self.source_concept, *self.other_concepts) if c is not None)


def _clinical(name: str, stem: str, dates: str, *, ends: bool = True, **more: tuple[str, ...]) -> OmopTable:
    prefix, end = (f"{dates}_start", f"{dates}_end") if ends else (dates, None)
    return OmopTable(
        name, f"{stem}_concept_id", f"{stem}_source_concept_id", f"{stem}_source_value", f"{prefix}_date",
        f"{prefix}_datetime", None if end is None else f"{end}_date", None if end is None else f"{end}_datetime",
        **more,
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
        _clinical("visit_occurrence", "visit", "visit", others=_DISCHARGE, other_concepts=_DISCHARGE_CONCEPTS),
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


def coded(frame: pl.DataFrame, table: OmopTable, concepts: pl.DataFrame | None) -> pl.DataFrame:
    """Add for each concept column X ``X__code`` (null for 0 or nothing), and ``X__name`` where concepts are known."""
    for column in table.concepts:
        key = (
            pl.col(column).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
        )
        frame = frame.with_columns(pl.when(key != 0).then(key).alias("_key"))
        bare = pl.concat_str(pl.lit("OMOP//"), pl.col("_key").cast(pl.String))
        if concepts is None:
            frame = frame.with_columns(bare.alias(f"{column}__code")).drop("_key")
            continue
        known = concepts.rename({"concept_id": "_key", "code": "_code", "name": f"{column}__name"})
        frame = frame.join(known, on="_key", how="left", maintain_order="left")
        frame = frame.with_columns(pl.coalesce("_code", bare).alias(f"{column}__code")).drop("_key", "_code")
    return frame


def _code(table: OmopTable) -> pl.Expr:
    """Return the standard concept's code, else the source concept's, else the source's text under the table's name."""
    found = [pl.col(f"{c}__code") for c in (table.concept, table.source_concept) if c is not None]
    if table.source_value is not None:
        prefix = table.name.split("_")[0].upper()
        found.append(pl.concat_str(pl.lit(f"{prefix}//"), text_or_null(table.source_value)))
    return pl.coalesce(*found)


def _at(column: str) -> dict[str, pl.Expr]:
    """Return the time of an event and whether it is a date: midnight is."""
    time = pl.col(column)
    return {"time": time, "day": time == time.dt.truncate("1d")}


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


def _person() -> list[EventMap]:
    year, month, day = (number(c).cast(pl.Int32) for c in ("year_of_birth", "month_of_birth", "day_of_birth"))
    born = pl.datetime(year, month.fill_null(1), day.fill_null(1), time_unit="us")
    possible = (
        year.is_between(1800, 2999) & month.fill_null(1).is_between(1, 12)
        & day.fill_null(1).is_between(1, pl.date(year.fill_null(2000), month.fill_null(1).clip(1, 12), 1)
                                        .dt.month_end().dt.day())
    )  # fmt: skip
    facts = []
    for name in ("gender", "race", "ethnicity"):
        value = pl.coalesce(f"{name}_concept_id__code", text_or_null(f"{name}_source_value"))
        facts.append(EventMap(pl.concat_str(pl.lit(f"{name.upper()}//"), value)))
    return [EventMap(pl.lit("MEDS_BIRTH"), born, possible, day=True), *facts]


def _visits(table: OmopTable) -> list[EventMap]:
    kind = "VISIT" if table.name == "visit_occurrence" else "VISIT_DETAIL"
    code = pl.coalesce(_code(table), pl.lit("UNKNOWN"))
    begun, ended = (pl.concat_str(pl.lit(f"{kind}//"), code, pl.lit(f"//{side}")) for side in ("START", "END"))
    maps = [EventMap(begun, **_at("_start")), EventMap(ended, **_at("_end"))]
    if kind == "VISIT":
        stay = pl.col("visit_concept_id").cast(pl.Int64, strict=False).is_in(INPATIENT)
        to = [pl.col(f"{c}__code") for c in _DISCHARGE_CONCEPTS]
        place = pl.coalesce(*to, *(text_or_null(c) for c in _DISCHARGE), pl.lit("UNKNOWN"))
        admitted = pl.concat_str(pl.lit("HOSPITAL_ADMISSION//"), code)
        left = pl.concat_str(pl.lit("HOSPITAL_DISCHARGE//"), place)
        maps += [EventMap(admitted, **_at("_start"), when=stay), EventMap(left, **_at("_end"), when=stay)]
    return maps


def _measured(table: OmopTable) -> EventMap:
    value = number("value_as_number")
    ucum = pl.col("unit_concept_id__code").str.extract("^UCUM//(.+)$")
    unit = pl.when(value.is_not_null()).then(pl.coalesce(ucum, text_or_null("unit_source_value")))
    said = [pl.col("value_as_concept_id__code")]
    if table.name == "observation":
        said.append(text_or_null("value_as_string"))
    text = pl.coalesce(*said, pl.when(value.is_null()).then(text_or_null("value_source_value")))
    if table.name == "measurement":
        sign = pl.col("operator_concept_id").cast(pl.Int64, strict=False).replace_strict(
            OPERATORS, default=None, return_dtype=pl.String
        )  # fmt: skip
        text = pl.coalesce(pl.concat_str(sign, text_or_null("value_as_number")), text)
    return EventMap(_code(table), **_at("_start"), numeric_value=value, unit=unit, text_value=text)
