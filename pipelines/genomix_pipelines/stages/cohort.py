"""Stage ``cohort``: the study's rows and labels, from a task over records, a phenotype table or the study's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from genomix.ehr.aces import read_task
from genomix.ehr.cohort import extract_cohort
from genomix.ehr.task import Task
from genomix.errors import ConfigError, LinkError
from genomix.io.tables import Phenotypes, read_bimbam_phenotypes, read_expression_bed, read_phenotype_table
from genomix.provenance import write_json
from genomix.schemas.people import FLOW, LABELS, TABLE_LABELS
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.stage_inputs import read_events
from genomix_pipelines.study import Study
from genomix_pipelines.table_rows import table_cohort

MICROSECONDS_PER_DAY = 86_400_000_000


def files(study: Study, _target: str | None) -> dict[str, Path]:
    """Return the task, the phenotype table or the study's table."""
    if study.task:
        return {"task": study.task.path}
    if study.of_table:
        assert study.table is not None
        return {"table": study.table.path}
    assert study.phenotype is not None
    return {"phenotype": study.phenotype.path}


def parameters(study: Study, target: str | None) -> dict[str, Any]:
    """Return what determines the labels, beside the files."""
    if study.of_table:
        assert study.table is not None
        assert study.outcome is not None
        table = study.table.model_dump(mode="json", exclude={"path", "sentences", "min_subjects"})
        return {"table": table, "outcome": study.outcome.model_dump(mode="json")}
    if study.phenotype is None:
        return {}
    return {
        "phenotype": study.phenotype.model_dump(mode="json", exclude={"path", "targets"}),
        "target": _name(study, target),
    }


def run(context: StageContext) -> dict[str, Any]:
    """Write ``labels.parquet`` (LABELS or TABLE_LABELS), ``flow.parquet`` (FLOW) and ``cohort.json`` (facts)."""
    if context.study.task:
        labels, flow, facts = from_task(context)
    elif context.study.of_table:
        labels, flow, quality, follow_up = table_cohort(context.study, context.files["table"])
        facts = {"outcome_codes": [], "table": quality}
        if follow_up is not None:
            follow_up.write_parquet(context.out / "follow_up.parquet")
    else:
        labels, flow, facts = from_phenotype(context)
    schema = TABLE_LABELS if context.study.of_table else LABELS
    schema.validate(labels).write_parquet(context.out / "labels.parquet")
    FLOW.validate(flow).write_parquet(context.out / "flow.parquet")
    write_json(context.out / "cohort.json", facts)
    return {"rows": labels.height, "labelled": int(labels["value"].is_not_null().sum())}


def from_task(context: StageContext) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Evaluate the task over the records."""
    task = read_task(context.files["task"])
    cohort = extract_cohort(read_events(context), task)
    return cohort.labels, cohort.flow, {**task_facts(task), "rows_with_outcome_in_gap": cohort.in_gap}


def task_facts(task: Task) -> dict[str, Any]:
    """Return what the report says about the task; durations in days, null where a window ends with an event."""
    gap, horizon = label_window_days(task)
    return {
        "outcome_codes": list(task.outcome_codes),
        "gap_days": gap,
        "horizon_days": horizon,
        "inclusive": task.inclusive,
        "censoring": task.policies.censoring,
    }


def label_window_days(task: Task) -> tuple[float | None, float | None]:
    """Return the days from the prediction time to the label window's start, and to its end.

    Null where a boundary is an event, or is not tied to the prediction time by durations alone.
    """
    prediction = _from_trigger(task, task.index_window.name, task.index_window.index_timestamp or "end")
    sides = [_from_trigger(task, task.label_window.name, side) for side in ("start", "end")]
    start, end = (None if s is None or prediction is None else (s - prediction) / MICROSECONDS_PER_DAY for s in sides)
    return start, end


def _from_trigger(task: Task, name: str, side: str) -> int | None:
    """Return the microseconds from the trigger to a window's end, None where an event decides."""
    boundary = task.windows[name].start if side == "start" else task.windows[name].end
    if boundary.predicate is not None:
        return None
    if boundary.reference == "trigger":
        return boundary.offset
    other, _, other_side = boundary.reference.rpartition(".")
    before = _from_trigger(task, other or name, other_side)
    return None if before is None else before + boundary.offset


def from_phenotype(context: StageContext) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Join the phenotype of every sample to its subject; a sample without a value has no label."""
    study: Study = context.study
    samples = pl.read_parquet(context.folder("genotype_qc") / "samples.parquet")["sample_id"].to_list()
    phenotypes = read_phenotypes(study, context.files["phenotype"], samples)
    name = _name(study, context.target)
    check_target(phenotypes, name, context.files["phenotype"])
    link = pl.read_parquet(context.folder("link") / "link.parquet")
    values = phenotypes.values.select("sample_id", pl.col(name).alias("value"))
    joined = (
        link.join(values, on="sample_id")
        .sort("subject_id", pl.col("value").is_null(), "sample_id")
        .unique("subject_id", keep="first", maintain_order=True)
    )
    if not joined.height:
        raise LinkError(
            "no sample of the phenotype table is linked to the genotypes", where=context.files["phenotype"].name
        )
    known = int(joined["value"].is_not_null().sum())
    steps = [
        [
            "study",
            "the sample is in the phenotype table and in the genotypes",
            "samples",
            len(samples),
            len(samples) - joined.height,
            joined.height,
            None,
        ],
        ["study", "the quantity was measured", "samples", joined.height, joined.height - known, known, None],
    ]
    labels = joined.select(
        "subject_id", pl.lit(None, dtype=pl.Datetime("us")).alias("prediction_time"), "value",
        pl.when(pl.col("value").is_null()).then(pl.lit("censored")).otherwise(pl.lit("observed")).alias("status"),
        pl.lit(None, dtype=pl.Float64).alias("time_days"), pl.lit(1.0).alias("weight"),
    )  # fmt: skip
    flow = pl.DataFrame(steps, schema={c.name: c.dtype for c in FLOW.columns}, orient="row")
    return labels, flow, {"outcome_codes": [], "position": _position(phenotypes, name)}


def read_phenotypes(study: Study, path: Path, samples: list[str]) -> Phenotypes:
    """Read the study's phenotypes in its declared format."""
    assert study.phenotype is not None
    if study.phenotype.format == "bimbam":
        return read_bimbam_phenotypes(path, samples)
    if study.phenotype.format == "expression_bed":
        return read_expression_bed(path)
    return read_phenotype_table(path, study.phenotype.sample_column)


def check_target(phenotypes: Phenotypes, name: str, path: Path) -> None:
    """Raise a :class:`ConfigError` when the phenotype is not in its table."""
    names = [n for n in phenotypes.values.columns if n != "sample_id"]
    if name not in names:
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise ConfigError(
            f"phenotype.targets names {name!r}, which the table does not hold", where=str(path), hint="it has: " + shown
        )


def _position(phenotypes: Phenotypes, name: str) -> dict[str, Any] | None:
    row = phenotypes.positions.filter(pl.col("name") == name)
    return row.row(0, named=True) if row.height else None


def _name(study: Study, target: str | None) -> str:
    assert study.phenotype is not None
    return target if target is not None else study.phenotype.targets[0]


STAGE = Stage(
    name="cohort",
    run=run,
    needs=("convert_records", "genotype_qc", "link"),
    files=files,
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.labelled,
)
