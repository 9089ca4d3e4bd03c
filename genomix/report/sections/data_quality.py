"""How complete and how clean the data are.

``inputs.quality`` holds ``{"records": {...}, "genotypes": {...}}``. A value is text, a number, a list of phrases, or a
list of flat mappings (drawn as a table). Known keys have a label and a kind below; any other key is printed in words.
A whole number that is not known to count something other than people obeys the small-cell rule, and a mapping of whole
numbers is taken for groups of one whole. Keys that start with ``share_`` are shares from 0 to 1. Extremes that belong
to one person are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genomix.privacy import WITHHELD, is_small, suppress_counts
from genomix.report.blocks import Block, Cell, Column, Heading, Paragraph, Section, SectionMaker, Table, text_table
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import in_words
from genomix.report.numbers import NOT_STATED, count, group_thousands, people, percent, plain, safe_share
from genomix.report.select import unit_word

TITLE = "The data and their quality"
PARTS = {"records": "Health records", "genotypes": "Genotypes"}
TABLE = "table"

LABELS = {
    "build": "Genome build", "samples": "Samples", "samples_kept": "Samples that passed quality control",
    "variants": "Variants", "variants_kept": "Variants that passed quality control",
    "contigs": "Chromosomes and other contigs", "variant_call_rate_median": "Call rate of variants, median",
    "sample_call_rate_median": "Call rate of samples, median",
    "minor_allele_frequency_median": "Minor allele frequency, median", "sex": "Recorded sex",
    "ancestry": "Ancestry groups", "n_subjects": "People with records", "n_events": "Dated records",
    "n_static": "Records without a date", "n_codes": "Different codes",
    "median_record_years": "Length of a record, median, years",
    "median_events_per_subject": "Records per person, median", "period": "Period covered",
    "median_longest_gap_days": "Longest time without a record, median over people, days",
    "share_of_people_with_a_gap_over_a_year": "People without any record for over a year in between",
    "share_date_only": "Records with a date but no time of day",
    "share_known_later_than_stamped": "Records known only later than their stamp",
    "share_without_availability": "Records whose availability time is not known",
    "share_without_value": "Records without a number", "share_without_unit": "Numeric records without a unit",
    "share_of_people_without_birth": "People without a birth date", "n_repeated_records": "Repeated records",
    "n_events_after_death": "Records dated after a death", "n_events_before_birth": "Records dated before a birth",
    "n_people_with_events_after_death": "People with records after their death",
    "n_people_with_events_before_birth": "People with records before their birth",
    "n_codes_with_several_units": "Codes with values in several units",
    "source_tables": "Source tables, and what became of their rows", "rows_with_events": "Rows that became events",
    "source_rows_without_an_event": "Rows of the source that gave no event, and why",
    "people_with_several_rows": "People with several rows", "given_columns": "Columns of the table",
    "rows_without_a_value": "Rows without a value",
    "codes_with_several_units": "Units of codes with several", "most_frequent_codes": "Most frequent codes",
    "quantiles_of_values": "Quantiles of the values that most people have", "p5": "5th percentile",
    "p25": "Lower quartile", "p50": "Median", "p75": "Upper quartile", "p95": "95th percentile", "n_people": "People",
}  # fmt: skip
_NOT_PEOPLE = ("variant", "code", "contig", "feature", "file", "allele", "window", "component")
_HIDDEN = ("longest_record_years",)
_QUANTILES = ("p5", "p25", "p50", "p75", "p95")
_SHARES = ("variant_call_rate_median", "sample_call_rate_median")


def render(inputs: ReportInputs) -> Section:
    """Return one table per part, with nested lists as tables of their own."""
    parts = {part: dict(inputs.quality.get(part) or {}) for part in (*PARTS, *sorted(set(inputs.quality) - set(PARTS)))}
    shown = {part: {k: v for k, v in values.items() if k not in _HIDDEN and v != []} for part, values in parts.items()}
    present = {part: values for part, values in shown.items() if values}
    if not present:
        return Section(TITLE, "No figures on the quality of the data were recorded.")
    blocks: list[Block] = []
    for part, values in present.items():
        name = "The table" if part == TABLE else PARTS.get(part, in_words(part))
        blocks.append(Heading(name))
        rows = [(_label(k), _value(k, v, values)) for k, v in values.items() if not _is_table(v)]
        if rows:
            blocks.append(text_table(f"{name}: what was read and how complete it is", ("Item", "Value"), rows))
        blocks.extend(_nested(k, v) for k, v in values.items() if _is_table(v))
    missing = [] if TABLE in present else [PARTS[p].lower() for p in PARTS if p not in present]
    if missing:
        blocks.append(Paragraph(f"No figures on the quality of the {' and '.join(missing)} were recorded."))
    return Section(TITLE, _finding(inputs, present), tuple(blocks))


def _finding(inputs: ReportInputs, present: Mapping[str, Mapping[str, Any]]) -> str:
    if TABLE in present:
        of = present[TABLE]
        return (
            f"The study rests on one table: {people(of['rows'])} {unit_word(inputs)} of {people(of['people'])} people."
        )
    records, genotypes = present.get("records", {}), present.get("genotypes", {})
    said = []
    if isinstance(records.get("n_events"), int):
        said.append(f"{people(records['n_events'])} dated health records")
    kept = genotypes.get("variants_kept", genotypes.get("variants"))
    if isinstance(kept, int):
        said.append(f"{count(kept)} variants")
    build = genotypes.get("build")
    build_words = f" (genome build {build})" if build and isinstance(kept, int) else ""
    if said:
        return f"The study rests on {' and '.join(said)}{build_words}."
    return "What was read, and how complete it is."


def _label(key: str) -> str:
    return LABELS.get(key, in_words(key.removeprefix("n_").removeprefix("share_")))


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _value(key: str, value: Any, siblings: Mapping[str, Any] | None = None) -> str:
    if value is None or value == "":
        return NOT_STATED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value) if _counts_no_people(key) else _people(key, value, siblings or {})
    if isinstance(value, float):
        if key.startswith("share_of_people"):
            return safe_share(value, (siblings or {}).get("n_subjects"))
        return percent(value) if key.startswith("share_") or key in _SHARES else plain(value)
    if isinstance(value, list | tuple):
        return ", ".join(_value(key, v) for v in value)
    if isinstance(value, Mapping):
        return _groups(key, value)
    return str(value)


def _groups(key: str, groups: Mapping[Any, Any]) -> str:
    if groups and all(isinstance(v, int) for v in groups.values()) and not _counts_no_people(key):
        shown = [group_thousands(t) for t in suppress_counts(list(groups.values()))]
        return "; ".join(f"{k} {t}" for k, t in zip(groups, shown, strict=True))
    return "; ".join(f"{k}: {_value(str(k), v)}" for k, v in groups.items()) or "none"


def _people(key: str, value: int, siblings: Mapping[str, Any]) -> str:
    """Withhold the larger of two nested counts whose difference is a small cell."""
    kept = siblings.get(f"{key}_kept")
    return WITHHELD if isinstance(kept, int) and is_small(abs(value - kept)) else people(value)


def _counts_no_people(key: str) -> bool:
    return any(word in key for word in _NOT_PEOPLE)


def _nested(key: str, rows: list[Mapping[str, Any]]) -> Table:
    names = _ordered(list(dict.fromkeys(name for row in rows for name in row)), rows)
    numeric = [all(isinstance(r.get(n), int | float | None) for r in rows) for n in names]
    columns = tuple(Column(_label(n), is_numeric) for n, is_numeric in zip(names, numeric, strict=True))
    cells = tuple(tuple(Cell(_value(n, r.get(n), r)) for n in names) for r in rows)
    return Table(_label(key), columns, cells, closed=f"{_label(key)} ({len(rows)} rows)")


def _ordered(names: list[str], rows: list[Mapping[str, Any]]) -> list[str]:
    """Return the columns with one of text first, as the rows' heading, and quantiles from low to high."""
    quantiles = sorted((n for n in names if n in _QUANTILES), key=_QUANTILES.index)
    given = iter(quantiles)
    names = [next(given) if n in _QUANTILES else n for n in names]
    words = [n for n in names if any(isinstance(r.get(n), str) for r in rows)]
    return names if not words or names[0] in words else [words[0], *(n for n in names if n != words[0])]


SECTION = SectionMaker("data_quality", render)
