"""Stage ``convert_records``: health records of any format → events with units, precision and availability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genomix.ehr.quality import describe, gaps, value_quantiles
from genomix.ehr.unit_table import UnitTable, read_unit_table
from genomix.ehr.units import apply_units, count_units, plan_units
from genomix.io.availability import DEFAULT_RULES, read_rules
from genomix.io.meds import write_meds
from genomix.io.record_conversion import read_records
from genomix.io.record_format import record_format
from genomix.provenance import write_json
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study


def files(study: Study, _target: str | None) -> dict[str, Path]:
    """Return the records and, where the study gives them, its own availability rules, mapping and units."""
    records = study.records
    assert records is not None
    found = {"records": records.path}
    own = {"availability": records.availability, "mapping": records.mapping, "unit_table": records.unit_table}
    return found | {name: path for name, path in own.items() if path is not None}


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return the declared format."""
    assert study.records is not None
    return {"format": study.records.format}


def run(context: StageContext) -> dict[str, Any]:
    """Write a MEDS dataset ``records/``, ``conversion.json`` (every row accounted for) and ``quality.json``."""
    rules = read_rules(context.files["availability"]) if "availability" in context.files else DEFAULT_RULES
    kind = record_format(context.study.records.format)
    records = read_records(kind, context.files["records"], availability=rules, mapping=context.files.get("mapping"))
    context.progress(0.6, "units")
    own = context.files.get("unit_table")
    table = UnitTable() if own is None else read_unit_table(own)
    plan = plan_units(count_units(records.events), table.analytes, table.spellings)
    events, units = apply_units(records.events, plan)
    write_meds(events, context.out / "records", descriptions=records.descriptions)
    write_json(context.out / "conversion.json", {"records": records.report.as_json(), "units": units.as_json()})
    context.progress(0.8, "quality")
    without = gaps(records.events)
    quality = {
        **describe(records.events),
        "median_longest_gap_days": without["median_of_largest"],
        "share_of_people_with_a_gap_over_a_year": without["share_over_a_year"],
        "quantiles_of_values": value_quantiles(events),
    }
    write_json(context.out / "quality.json", quality)
    return {"rows_read": records.report.rows_read, "events": events.height}


STAGE = Stage(
    name="convert_records",
    run=run,
    wanted=lambda study: study.records is not None,
    files=files,
    parameters=parameters,
)
