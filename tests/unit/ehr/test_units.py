"""Units: published conversions, nothing mixed silently, every value accounted for."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from genomix.ehr.units import DEFAULT_TABLE, harmonise_units
from genomix.errors import ConfigError
from genomix.io.record_format import to_events

NOW = datetime(2020, 1, 1, 12)


def events(*rows: tuple[str, float | None, str | None]) -> pl.DataFrame:
    raw = pl.DataFrame(
        [(i, NOW, code, value, unit) for i, (code, value, unit) in enumerate(rows)],
        schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32,
                "unit": pl.String},
        orient="row",
    )  # fmt: skip
    return to_events(raw, source_format="t").events


# Pairs as laboratories and guidelines print them, not as our factors give them.
@pytest.mark.parametrize(
    ("code", "value", "unit", "expected", "target"),
    [
        ("LAB//hdl_cholesterol", 40, "mg/dL", 1.03, "mmol/L"),  # ESC lipid guideline: 40 mg/dL = 1.0 mmol/L
        ("LAB//ldl", 190, "mg/dL", 4.91, "mmol/L"),  # 190 mg/dL = 4.9 mmol/L
        ("LAB//triglycerides", 150, "MG/DL", 1.69, "mmol/L"),  # 150 mg/dL = 1.7 mmol/L
        ("LAB//glucose", 126, "mg/dL", 6.99, "mmol/L"),  # WHO: 7.0 mmol/L = 126 mg/dL
        ("LAB//creatinine", 1, "mg/dL", 88.42, "umol/L"),
        ("LAB//HbA1c", 6.5, "%", 47.5, "mmol/mol"),  # 6.5 % = 48 mmol/mol
        ("LAB//glycated_haemoglobin", 9, "%", 74.9, "mmol/mol"),  # 9.0 % = 75 mmol/mol
        ("LAB//c_reactive_protein", 0.3, "mg/dL", 3, "mg/L"),
        ("Weight (Lbs)", 150, "lbs", 68.04, "kg"),
        ("Height (Inches)", 70, "Inch", 177.8, "cm"),
        ("VITAL//temperature", 98.6, "°F", 37, "Cel"),
        ("LAB//haemoglobin", 13, "g/dL", 130, "g/L"),
        ("LAB//sodium", 140, "mEq/L", 140, "mmol/L"),
        ("LAB//bilirubin", 1, "mg/dL", 17.1, "umol/L"),
        ("LAB//urea_nitrogen", 20, "mg/dL", 7.14, "mmol/L"),
    ],
)
def test_published_pairs(code: str, value: float, unit: str, expected: float, target: str) -> None:
    found = harmonise_units(events((code, value, unit))).events
    assert found["numeric_value"][0] == pytest.approx(expected, rel=6e-3)
    assert found["unit"][0] == target


def test_names_do_not_catch_other_quantities() -> None:
    names = {a.name: pl.Series([a.pattern])[0] for a in DEFAULT_TABLE}
    codes = pl.Series(
        ["LAB//glycated_haemoglobin", "LAB//creatinine_clearance", "LAB//microalbumin", "LAB//prealbumin"]
    )
    assert codes.str.contains(names["creatinine"]).to_list() == [False] * 4
    assert codes.str.contains(names["albumin"]).to_list() == [False] * 4


def test_two_units_become_one() -> None:
    found = harmonise_units(events(("LAB//ldl_cholesterol", 38.67, "mg/dL"), ("LAB//ldl_cholesterol", 2.0, "mmol/L")))
    assert found.events["numeric_value"].to_list() == [pytest.approx(1.0), 2.0]
    assert found.events["unit"].to_list() == ["mmol/L", "mmol/L"]


def test_what_cannot_be_converted_becomes_missing_and_is_counted() -> None:
    found = harmonise_units(
        events(("LAB//glucose", 5.0, "mmol/L"), ("LAB//glucose", 7.0, "furlong"), ("LAB//glucose", 9.0, None),
               ("LAB//glucose", None, None))
    )  # fmt: skip
    assert found.events["numeric_value"].to_list() == [5.0, None, None, None]
    assert found.events["unit"].to_list() == ["mmol/L", None, None, None]
    table = found.report.table.select("unit_from", "action", "values").rows()
    assert table == [
        ("furlong", "made missing: the unit cannot be converted", 1),
        ("mmol/L", "kept", 1),
        (None, "made missing: no unit, others of the code have one", 1),
    ]
    assert found.report.as_json()["values_by_action"]["kept"] == 1


def test_unknown_code_keeps_the_unit_of_most_values() -> None:
    found = harmonise_units(events(("X//1", 1.0, "a"), ("X//1", 2.0, "b"), ("X//1", 3.0, "b"), ("Y//1", 4.0, None)))
    assert found.events["numeric_value"].to_list() == [None, 2.0, 3.0, 4.0]
    assert found.events["unit"].to_list() == [None, "b", "b", None]


def test_spellings_are_one_unit() -> None:
    found = harmonise_units(events(("X//1", 1.0, "mmHg"), ("X//1", 2.0, "mm Hg"), ("X//1", 3.0, "mm[Hg]")))
    assert found.events["unit"].to_list() == ["mm[Hg]"] * 3
    assert found.events["numeric_value"].to_list() == [1.0, 2.0, 3.0]
    assert set(found.report.table["action"]) == {"renamed", "kept"}


def test_an_analyte_in_a_unit_of_another_quantity_is_left_alone() -> None:
    # Urine albumin per creatinine is not albumin in g/L.
    found = harmonise_units(events(("LAB//albumin", 30.0, "mg/g")))
    assert found.events.select("numeric_value", "unit").row(0) == (30.0, "mg/g")


def test_implausible_values_are_flagged_or_made_missing() -> None:
    frame = events(("LAB//sodium", 14.0, "mmol/L"), ("LAB//sodium", 140.0, "mmol/L"))
    flagged, missing = harmonise_units(frame), harmonise_units(frame, implausible="missing")
    assert flagged.events["numeric_value"].to_list() == [14.0, 140.0]
    assert missing.events["numeric_value"].to_list() == [None, 140.0]
    assert flagged.report.table["implausible"].to_list() == missing.report.table["implausible"].to_list() == [1]
    with pytest.raises(ConfigError):
        harmonise_units(frame, implausible="drop")  # type: ignore[arg-type]  # a user's typing error


def test_every_value_is_counted_once_and_twice_harmonised_is_once() -> None:
    frame = events(("LAB//glucose", 5.0, "mmol/L"), ("LAB//glucose", 90.0, "mg/dL"), ("X", 1.0, "a"), ("X", None, "a"))
    once = harmonise_units(frame)
    assert once.report.table["values"].sum() == 3
    assert harmonise_units(once.events).events.equals(once.events)
    assert once.events.drop("numeric_value", "unit").equals(frame.drop("numeric_value", "unit"))
