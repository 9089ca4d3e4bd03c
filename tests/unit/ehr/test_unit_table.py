"""A site's units: read from TOML, tried before the shipped ones, mistakes named."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from genomix.ehr.unit_table import read_unit_table
from genomix.ehr.units import DEFAULT_TABLE, apply_units, count_units, plan_units
from genomix.errors import ConfigError, InputNotFoundError
from genomix.io.record_format import to_events

TABLE = """
[[analyte]]
name = "glucose here"
pattern = "(?i)glucose"
target = "mg/dL"
low = 1
high = 2000
source = "molar mass"
conversions = [{ unit = "mmol/L", factor = 18.016 }]

[spellings]
"mgs%" = "mg/dL"
"""


def test_a_sites_analyte_wins_and_its_spelling_counts(tmp_path: Path) -> None:
    path = tmp_path / "units.toml"
    path.write_text(TABLE)
    table = read_unit_table(path)
    assert table.analytes[1:] == DEFAULT_TABLE
    rows = [(1, datetime(2020, 1, 1, 1), "LAB//glucose", v, u) for v, u in [(5.0, "mmol/L"), (90.0, "mgs%")]]
    raw = pl.DataFrame(rows, schema=["subject_id", "time", "code", "numeric_value", "unit"], orient="row")
    events = to_events(raw, source_format="test").events
    done = apply_units(events, plan_units(count_units(events), table.analytes, table.spellings))
    assert done.events["unit"].to_list() == ["mg/dL", "mg/dL"]
    assert sorted(done.events["numeric_value"].to_list()) == pytest.approx([90, 5 * 18.016], rel=1e-6)
    assert sorted(done.report.table["action"].to_list()) == ["converted", "renamed"]


def test_shipped_ones_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "units.toml"
    path.write_text("shipped = false\n" + TABLE)
    assert [a.name for a in read_unit_table(path).analytes] == ["glucose here"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("low = 1", "low = 5000", "low 5000 is not below high 2000"),
        ("low = 1", 'low = "x"', "low is 'x', not a number"),
        ("factor = 18.016", "factor = 0", "factor is 0"),
        ("unit = ", "units = ", "needs unit and factor"),
        ('target = "mg/dL"', "", "target is missing"),
        ('target = "mg/dL"', 'target = "mmol/L"', "a unit is there twice"),
        ('pattern = "(?i)glucose"', 'pattern = "("', "pattern cannot be read"),
        ("[[analyte]]", "[[analytes]]", "unknown key 'analytes'"),
        ("[[analyte]]", "[[analyte", "is not TOML"),
        ('"mgs%" = "mg/dL"', '"mgs%" = ""', "a spelling leads to no unit"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in TABLE
    (tmp_path / "units.toml").write_text(TABLE.replace(old, new))
    with pytest.raises(ConfigError, match="(?s)" + words.replace("(", r"\(")) as error:
        read_unit_table(tmp_path / "units.toml")
    assert str(tmp_path / "units.toml") in str(error.value.where)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError):
        read_unit_table(tmp_path / "none.toml")
