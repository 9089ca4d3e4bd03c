"""What the model was given: feature families, their size and how much of them is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from genomix.report.blocks import Cell, Column, Figure, Note, Section, SectionMaker, Table
from genomix.report.charts import bar_chart
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import RUNG_WORDS, family_name
from genomix.report.numbers import NOT_STATED, count, days, percent, plain
from genomix.report.select import is_table, mark

TITLE = "What the model was given"
MISSING = "n_missing_share"
GIVEN_NAMES = {"table": "Numbers of the table", "table_categories": "Categories of the table"}
"""Families of a table study, which has no others."""


def render(inputs: ReportInputs) -> Section:
    """Return one row a family: features, windows, missing values, and the most recent record used."""
    columns = inputs.columns
    if not columns.height:
        return Section(TITLE, "No list of features was recorded.")
    families = _families(columns, GIVEN_NAMES if is_table(inputs) else {})
    table = _given_table(families) if is_table(inputs) else _table(families)
    n = columns.height
    largest = max(families, key=lambda f: f["n"])
    finding = f"{count(n)} features of {len(families)} {'family' if len(families) == 1 else 'families'} were used."
    share = percent(largest["n"] / n)
    caption = f"The family “{largest['name']}” holds {count(largest['n'])} of {count(n)} features ({share})."
    texts = [f"{count(f['n'])}, {_missing_text(f)}" for f in families]
    values = [float(f["n"]) for f in families]
    svg = bar_chart([f["name"] for f in families], values, texts, x_label="features", mark=mark(inputs))
    alt = "Bars, one a feature family: " + "; ".join(f"{f['name']} {t}" for f, t in zip(families, texts, strict=True))
    figure = Figure(svg, caption, alt + ".", f"n = {count(n)} features", table)
    never = "it is never read as a normal result or as two reference alleles."
    if is_table(inputs):
        never = "where a category is not recorded, that is a level of its own; it is never read as a normal result."
    note = Note(
        "Missing is not normal",
        f"A missing value stays missing; {never} Values that were filled in were learned from training people only.",
    )
    return Section(TITLE, finding, (figure, note))


def _families(columns: pl.DataFrame, names: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for family in sorted(columns["family"].unique().to_list()):
        part = columns.filter(pl.col("family") == family).sort("name")
        lags = [v for v in part["smallest_lag_days"].to_list() if v is not None]
        missing = [v for v in part[MISSING].to_list() if v is not None] if MISSING in part.columns else []
        rows.append(
            {
                "family": family, "name": names.get(family, family_name(family)), "n": part.height,
                "missing": sum(missing) / len(missing) if missing else None,
                "rungs": _distinct(part, "rung"), "windows": _distinct(part, "window"),
                "sources": _distinct(part, "source"), "lag": min(lags) if lags else None,
                "empty": sum(m >= 1 for m in missing), "groups": part["group"].n_unique(),
            }
        )  # fmt: skip
    return sorted(rows, key=lambda r: (-r["n"], r["family"]))


def _distinct(part: pl.DataFrame, name: str) -> list[str]:
    values = sorted({v for v in part[name].to_list() if v is not None})
    return sorted(values, key=lambda v: (not v[:1].isdigit(), len(v), v))


def _missing_text(family: dict[str, Any]) -> str:
    return "missing not stated" if family["missing"] is None else f"{percent(family['missing'])} missing"


def _table(families: list[dict[str, Any]]) -> Table:
    columns = (
        Column("Family"), Column("Enters with"), Column("From"), Column("Look-back windows"), Column("Features", True),
        Column("Missing, mean", True), Column("Never present", True), Column("Most recent record before", True),
    )  # fmt: skip
    rows = [
        (
            Cell(f["name"]), Cell(", ".join(RUNG_WORDS.get(r, r) for r in f["rungs"])),
            Cell(", ".join(f["sources"])), Cell(", ".join(f["windows"]) or "none"), Cell(count(f["n"]), float(f["n"])),
            Cell(NOT_STATED if f["missing"] is None else percent(f["missing"])), Cell(count(f["empty"])),
            Cell("no times" if f["lag"] is None else _lag(f["lag"])),
        )
        for f in families
    ]  # fmt: skip
    return Table("Feature families", columns, tuple(rows), note="Every feature is listed in columns.parquet.")


def _given_table(families: list[dict[str, Any]]) -> Table:
    """Return the families of a table study: they have no window, no rung of their own and no times."""
    columns = (Column("Family"), Column("Columns of the table", True), Column("Features", True),
               Column("Missing, mean", True))  # fmt: skip
    rows = [
        (Cell(f["name"]), Cell(count(f["groups"])), Cell(count(f["n"]), float(f["n"])),
         Cell(NOT_STATED if f["missing"] is None else percent(f["missing"])))
        for f in families
    ]  # fmt: skip
    note = "A category is one feature per level that enough training people hold. Every feature is in columns.parquet."
    return Table("Feature families", columns, tuple(rows), note=note)


def _lag(lag_days: float) -> str:
    if lag_days < 1:
        return "under 1 day"
    return days(float(plain(lag_days, digits=2).replace("\u202f", "")))


SECTION = SectionMaker("features", render)
