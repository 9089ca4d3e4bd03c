"""One unit per code: a small table of conversions that a chemist can review, and what became of every value.

Units are written in UCUM (https://ucum.org); spellings that mean the same are renamed first (``SPELLINGS``). An analyte
is found by a pattern on the code. Values in a unit that the table cannot convert become missing and are counted: they
are never aggregated with the rest. A code that is no analyte of the table keeps the unit that most of its values have.
Where a code has values in a stated unit, those without any unit become missing as well; nothing is assumed about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import polars as pl

from genomix.errors import ConfigError

SPELLINGS: dict[str, str] = {
    "MG/DL": "mg/dL", "mg/dl": "mg/dL", "Mg/dL": "mg/dL", "MMOL/L": "mmol/L", "mmol/l": "mmol/L",
    "µmol/L": "umol/L", "μmol/L": "umol/L", "umol/l": "umol/L", "UMOL/L": "umol/L", "mEq/L": "meq/L", "MEQ/L": "meq/L",
    "G/DL": "g/dL", "g/dl": "g/dL", "g/l": "g/L", "G/L": "g/L", "mg/l": "mg/L", "MG/L": "mg/L",
    "mmHg": "mm[Hg]", "mm Hg": "mm[Hg]", "MMHG": "mm[Hg]", "°C": "Cel", "degC": "Cel", "°F": "[degF]", "degF": "[degF]",
    "ml": "mL", "ML": "mL", "KG": "kg", "Kg": "kg", "lb": "[lb_av]", "lbs": "[lb_av]", "Lbs": "[lb_av]",
    "LB": "[lb_av]", "in": "[in_i]", "Inch": "[in_i]", "inch": "[in_i]", "Inches": "[in_i]", "inches": "[in_i]",
    "CM": "cm", "bpm": "/min", "insp/min": "/min", "K/uL": "10*3/uL", "m/uL": "10*6/uL", "IU/L": "[IU]/L",
    "percent": "%",
}  # fmt: skip
"""Spelling → UCUM. Letters' case matters in UCUM, so only spellings seen in real sources are listed."""


class Conversion(NamedTuple):
    """``value_in_target = value * factor + offset``."""

    unit: str
    factor: float
    offset: float = 0.0


@dataclass(frozen=True)
class Analyte:
    """A quantity: codes that measure it, its target unit, what converts to it, and bounds of the believable.

    ``low`` and ``high`` are in the target unit; a value outside is flagged (counted), see :func:`harmonise_units`.
    They are wide: what no living person has, not what is normal.
    """

    name: str
    pattern: str
    target: str
    conversions: tuple[Conversion, ...]
    low: float
    high: float
    source: str


_MOLAR_MASS = "molar mass"
_SLOPE, _INTERCEPT = 0.09148, 2.152
DEFAULT_TABLE: tuple[Analyte, ...] = (
    Analyte("HbA1c", r"(?i)hba1c|ha?emoglobin[_ ]a1c|gly[ck]ated[_ ]ha?emoglobin", "mmol/mol",
            (Conversion("%", 1 / _SLOPE, -_INTERCEPT / _SLOPE),), 10, 200,
            "NGSP % = 0.09148 x IFCC mmol/mol + 2.152, doi:10.1373/clinchem.2003.024802"),
    Analyte("triglycerides", r"(?i)triglyceride", "mmol/L", (Conversion("mg/dL", 1 / 88.57),), 0.05, 100, _MOLAR_MASS),
    Analyte("cholesterol", r"(?i)cholesterol|\b(ldl|hdl)\b", "mmol/L",
            (Conversion("mg/dL", 1 / 38.67),), 0.05, 40, _MOLAR_MASS),
    Analyte("glucose", r"(?i)glucose", "mmol/L", (Conversion("mg/dL", 1 / 18.016),), 0.1, 120, _MOLAR_MASS),
    Analyte("creatinine", r"(?i)(^|//|[ _])creatinine($|//|[ _](serum|plasma|blood))", "umol/L",
            (Conversion("mg/dL", 88.42), Conversion("mmol/L", 1000.0)), 4, 5000, _MOLAR_MASS),
    Analyte("urea nitrogen", r"(?i)urea[ _]nitrogen", "mmol/L", (Conversion("mg/dL", 0.357),), 0.1, 120, _MOLAR_MASS),
    Analyte("bilirubin", r"(?i)bilirubin", "umol/L", (Conversion("mg/dL", 17.104),), 0, 1500, _MOLAR_MASS),
    Analyte("C-reactive protein", r"(?i)c.?reactive.?protein|//crp\b", "mg/L", (Conversion("mg/dL", 10.0),), 0, 1000,
            "decimal"),
    Analyte("haemoglobin", r"(?i)(^|//|[ _])ha?emoglobin($|//)", "g/L",
            (Conversion("g/dL", 10.0), Conversion("mmol/L", 16.114)), 5, 300, _MOLAR_MASS),
    Analyte("albumin", r"(?i)(^|//|[ _])albumin($|//)", "g/L", (Conversion("g/dL", 10.0),), 2, 100, "decimal"),
    Analyte("sodium", r"(?i)(^|//|[ _])sodium($|//)", "mmol/L", (Conversion("meq/L", 1.0),), 80, 220, "one charge"),
    Analyte("potassium", r"(?i)(^|//|[ _])potassium($|//)", "mmol/L", (Conversion("meq/L", 1.0),), 0.5, 15,
            "one charge"),
    Analyte("body weight", r"(?i)(^|//|[ _])weight($|//|[ _(])", "kg",
            (Conversion("[lb_av]", 0.45359237), Conversion("g", 0.001)), 0.2, 700, "doi:10.6028/NIST.SP.811e2008"),
    Analyte("body height", r"(?i)(^|//|[ _])height($|//|[ _(])", "cm",
            (Conversion("[in_i]", 2.54), Conversion("m", 100.0)), 20, 280, "doi:10.6028/NIST.SP.811e2008"),
    Analyte("body temperature", r"(?i)temperature", "Cel", (Conversion("[degF]", 5 / 9, -160 / 9),), 10, 50,
            "doi:10.6028/NIST.SP.811e2008"),
)  # fmt: skip
"""First match wins. Molar masses in g/mol behind the factors: cholesterol 386.7, glucose 180.16, creatinine 113.1,
triglycerides (triolein) 885.7, urea nitrogen 28.01 per molecule of urea, bilirubin 584.7,
haemoglobin 16,114 (monomer)."""


@dataclass(frozen=True)
class UnitReport:
    """What became of the values of every (code, unit as recorded).

    ``table``: code, analyte, unit_from, unit_to, action (kept | renamed | converted | made missing: ...), values,
    implausible (values outside the analyte's bounds low, high), sorted by code and unit.
    """

    table: pl.DataFrame

    def as_json(self) -> dict[str, Any]:
        """Return counts by action, and every line that is more than *kept* or holds implausible values."""
        by_action = self.table.group_by("action").agg(pl.col("values").sum()).sort("action")
        told = self.table.filter((pl.col("action") != "kept") | (pl.col("implausible") > 0))
        return {
            "values_by_action": dict(by_action.iter_rows()),
            "implausible": int(self.table["implausible"].sum()),
            "lines": told.to_dicts(),
        }


class Harmonised(NamedTuple):
    """Events with one unit per code, and the account of it."""

    events: pl.DataFrame
    report: UnitReport


def harmonise_units(
    events: pl.DataFrame,
    *,
    table: tuple[Analyte, ...] = DEFAULT_TABLE,
    implausible: Literal["flag", "missing"] = "flag",
) -> Harmonised:
    """Bring every code's values to one unit; what cannot be brought there becomes missing, counted by unit.

    Parameters
    ----------
    events: schema EVENTS. table: conversions, first match wins. implausible: count values outside the documented
        bounds only (``flag``), or make them missing too.
    """
    return apply_units(events, plan_units(count_units(events), table), implausible=implausible)


def count_units(events: pl.DataFrame) -> pl.DataFrame:
    """Return code, unit_from and n: values by unit as recorded; counts of the parts of a source add up."""
    valued = events.filter(pl.col("numeric_value").is_not_null())
    return valued.group_by("code", pl.col("unit").alias("unit_from")).agg(pl.len().cast(pl.Int64).alias("n"))


def apply_units(
    events: pl.DataFrame, plan: pl.DataFrame, *, implausible: Literal["flag", "missing"] = "flag"
) -> Harmonised:
    """Bring values to the units of a plan; ``events`` may be a part of the source that the plan was made for."""
    if implausible not in ("flag", "missing"):
        raise ConfigError(f"implausible is {implausible!r}", hint="flag or missing")
    joined = events.join(
        plan, left_on=["code", "unit"], right_on=["code", "unit_from"], how="left", nulls_equal=True,
        maintain_order="left",
    )  # fmt: skip
    moved = pl.col("numeric_value").cast(pl.Float64) * pl.col("factor") + pl.col("offset")
    joined = joined.with_columns(
        pl.when(pl.col("action") == "converted")
        .then(moved)
        .otherwise(pl.col("numeric_value").cast(pl.Float64))
        .alias("_v")
    )
    lost = pl.col("action").str.starts_with("made missing").fill_null(False)
    odd = ((pl.col("_v") < pl.col("low")) | (pl.col("_v") > pl.col("high"))).fill_null(False) & ~lost
    joined = joined.with_columns(odd.alias("_odd"))
    valued = pl.col("numeric_value").is_not_null()
    report = (
        joined.filter(valued)
        .group_by("code", "analyte", pl.col("unit").alias("unit_from"), "unit_to", "action", "low", "high")
        .agg(pl.len().cast(pl.Int64).alias("values"), pl.col("_odd").sum().cast(pl.Int64).alias("implausible"))
        .sort("code", "unit_from", nulls_last=True)
        .select("code", "analyte", "unit_from", "unit_to", "action", "values", "implausible", "low", "high")
    )
    gone = lost | (pl.col("_odd") if implausible == "missing" else pl.lit(False))
    value = pl.when(valued & ~gone).then("_v").cast(pl.Float32)
    unit = pl.when(valued).then(pl.when(~gone).then("unit_to")).otherwise("unit")
    changed = joined.with_columns(value.alias("numeric_value"), unit.alias("unit")).select(events.columns)
    return Harmonised(changed, UnitReport(report))


def plan_units(
    counts: pl.DataFrame,
    table: tuple[Analyte, ...] = DEFAULT_TABLE,
    spellings: Mapping[str, str] = SPELLINGS,
) -> pl.DataFrame:
    """Decide for every (code, unit as recorded) that has values: target, factor, offset and action.

    ``counts``: :func:`count_units` of the whole source; ``spellings``: spelling to UCUM.
    """
    used = counts.with_columns(pl.col("unit_from").replace(dict(spellings)).alias("unit"))
    number = pl.lit(None, dtype=pl.Int32)
    for i, analyte in reversed(list(enumerate(table))):
        number = pl.when(pl.col("code").str.contains(analyte.pattern)).then(pl.lit(i, dtype=pl.Int32)).otherwise(number)
    analytes = pl.DataFrame(
        [(i, a.name, a.target, float(a.low), float(a.high)) for i, a in enumerate(table)],
        schema={"_a": pl.Int32, "analyte": pl.String, "_target": pl.String, "low": pl.Float64, "high": pl.Float64},
        orient="row",
    )
    conversions = pl.DataFrame(
        [(i, c.unit, c.factor, c.offset) for i, a in enumerate(table) for c in a.conversions],
        schema={"_a": pl.Int32, "unit": pl.String, "factor": pl.Float64, "offset": pl.Float64}, orient="row",
    )  # fmt: skip
    codes = used.select("code").unique().with_columns(number.alias("_a")).join(analytes, on="_a", how="left")
    plan = used.join(codes, on="code").join(conversions, on=["_a", "unit"], how="left")
    plan = plan.join(_majority(used), on="code", how="left")
    # An analyte of which no value can be converted keeps the unit it has: another quantity of the same name.
    convertible = (pl.col("unit") == pl.col("_target")) | pl.col("factor").is_not_null()
    known = convertible.fill_null(False).any().over("code")
    plan = plan.with_columns(pl.when(known).then("_target").otherwise("_most").alias("unit_to"), known.alias("_known"))
    same = pl.col("unit") == pl.col("unit_to")
    action = (
        pl.when(pl.col("unit_to").is_null()).then(pl.lit("kept"))
        .when(pl.col("unit").is_null()).then(pl.lit("made missing: no unit, others of the code have one"))
        .when(same & (pl.col("unit_from") == pl.col("unit_to"))).then(pl.lit("kept"))
        .when(same).then(pl.lit("renamed"))
        .when(pl.col("_known") & pl.col("factor").is_not_null()).then(pl.lit("converted"))
        .otherwise(pl.lit("made missing: the unit cannot be converted"))
    )  # fmt: skip
    bounds = [pl.when("_known").then(c).alias(c) for c in ("low", "high")]
    return plan.with_columns(action.alias("action"), *bounds).select(
        "code", "analyte", "unit_from", "unit_to", "factor", "offset", "action", "low", "high"
    )


def _majority(used: pl.DataFrame) -> pl.DataFrame:
    """Return the stated unit that most values of each code have; ties go to the first in the alphabet."""
    by_unit = used.filter(pl.col("unit").is_not_null()).group_by("code", "unit").agg(pl.col("n").sum())
    ordered = by_unit.sort("code", "n", "unit", descending=[False, True, False])
    return ordered.unique("code", keep="first", maintain_order=True).select("code", pl.col("unit").alias("_most"))
