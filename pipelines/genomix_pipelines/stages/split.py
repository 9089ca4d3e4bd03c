"""Stage ``split``: the study's rows, their kin groups, and every row's role in every fold. Nothing is fitted before."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.errors import LabelError
from genomix.features.link import sample_of_subject
from genomix.features.matrix import RowArray
from genomix.features.split import assign_parts, assign_roles, crossing_kinship, merge_groups, strata_of_labels
from genomix.provenance import write_json
from genomix.schemas.features import INDEX
from genomix.schemas.people import FLOW
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study

MINIMUM_PER_CLASS = 5


def run(context: StageContext) -> dict[str, Any]:
    """Write ``index.parquet``, ``flow.parquet`` (part "study"), ``split.json`` and ``samples_of_rows.parquet``."""
    study: Study = context.study
    labels = pl.read_parquet(context.folder("cohort") / "labels.parquet")
    rows, sample_of_row, flow = usable_rows(context, labels, binary=study.binary)
    check_labels(rows["value"], binary=study.binary)
    groups = units_of_rows(context, rows["subject_id"].to_numpy(), sample_of_row)
    parts = deal(study, rows["value"].to_numpy(), groups)
    index = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), "subject_id", "prediction_time",
        pl.col("value").alias("label"), "weight", *(c for c in ("source_row",) if c in rows.columns),
    ).with_columns(pl.Series("kin_group", groups, dtype=pl.Int64))  # fmt: skip
    for name, roles in assign_roles(parts, design=study.split.design, n_folds=study.split.folds).items():
        index = index.with_columns(pl.Series(name, roles, dtype=pl.String))
    INDEX.validate(index).write_parquet(context.out / "index.parquet")
    pl.DataFrame({"sample": pl.Series(sample_of_row, dtype=pl.Int64)}).write_parquet(
        context.out / "samples_of_rows.parquet"
    )
    FLOW.validate(flow).write_parquet(context.out / "flow.parquet")
    summary = describe(context, index, sample_of_row)
    write_json(context.out / "split.json", summary)
    return {"rows": index.height, "kin_groups": len(np.unique(groups)), "folds": len(summary["folds"])}


def usable_rows(
    context: StageContext, labels: pl.DataFrame, *, binary: bool
) -> tuple[pl.DataFrame, RowArray, pl.DataFrame]:
    """Keep rows with a label and, where the study has genotypes, with a sample that passed quality control."""
    steps: list[list[Any]] = []
    table = context.study.table if context.study.of_table else None
    unit = table.row_word if table else "rows" if context.study.task else "samples"

    def note(step: str, before: pl.DataFrame, after: pl.DataFrame) -> None:
        events = int((after["value"] == 1).sum()) if binary else None
        steps.append(["study", step, unit, before.height, before.height - after.height, after.height, events])

    known = labels.filter(pl.col("value").is_not_null()).sort(
        ["subject_id", "source_row" if table else "prediction_time"]
    )
    note("the outcome is known", labels, known)
    if not context.has("link"):
        return known, np.full(known.height, -1, dtype=np.int64), _flow(steps)
    samples = pl.read_parquet(context.folder("genotype_qc") / "samples.parquet")
    link = pl.read_parquet(context.folder("link") / "link.parquet")
    linked = known.filter(pl.col("subject_id").is_in(link["subject_id"].to_list()))
    note("the person has genotypes", known, linked)
    passed = set(samples.filter("keep")["sample_id"].to_list())
    good = link.filter(pl.col("sample_id").is_in(sorted(passed)))
    kept = linked.filter(pl.col("subject_id").is_in(good["subject_id"].to_list()))
    note("the sample passed quality control", linked, kept)
    return kept, sample_of_subject(good, samples["sample_id"].to_list(), kept["subject_id"]), _flow(steps)


def _flow(steps: list[list[Any]]) -> pl.DataFrame:
    return pl.DataFrame(steps, schema={c.name: c.dtype for c in FLOW.columns}, orient="row")


def check_labels(values: pl.Series, *, binary: bool) -> None:
    """Raise a :class:`LabelError` when the labels cannot support any model."""
    if not len(values):
        raise LabelError("no rows are left", hint="look at the steps of the cohort flow")
    if not binary:
        if values.n_unique() < 3:
            raise LabelError(f"the quantity has only {values.n_unique()} different values")
        return
    other = sorted(set(values.to_list()) - {0.0, 1.0})
    if other:
        raise LabelError(f"a yes/no label has the value {other[0]:g}", hint="use 0 and 1, or objective = regression")
    events = int(values.sum())
    if min(events, len(values) - events) == 0:
        which = "has" if events else "has not"
        raise LabelError(
            f"the label has one class: every one of {len(values)} rows {which} the outcome",
            hint="check how the outcome is defined: [task] and its windows, or [outcome]",
        )
    if min(events, len(values) - events) < MINIMUM_PER_CLASS:
        raise LabelError(
            f"{events} events among {len(values)} rows cannot be split",
            hint=f"{MINIMUM_PER_CLASS} of each class at least",
        )


def units_of_rows(context: StageContext, subjects: RowArray, sample_of_row: RowArray) -> RowArray:
    """Return the unit of each row that the split never divides."""
    keep_together = context.study.split.keep_together
    if keep_together == "subjects" or not context.has("kinship"):
        return merge_groups(subjects, np.full(len(subjects), -1, dtype=np.int64))
    groups = pl.read_parquet(context.folder("kinship") / "groups.parquet")
    column = groups["cluster" if keep_together == "kinship_clusters" else "group"].to_numpy()
    return merge_groups(subjects, np.where(sample_of_row >= 0, column[sample_of_row], -1))


def deal(study: Study, labels: np.ndarray[Any, np.dtype[np.float64]], groups: RowArray) -> RowArray:
    """Deal rows to parts by the study's design."""
    split = study.split
    shares: tuple[float, ...] = (1 - split.tuning - split.held_out, split.tuning, split.held_out)
    if split.design == "cross_validation":
        shares = (1 / split.folds,) * split.folds
    strata = strata_of_labels(labels, binary=study.binary) if split.stratify else np.zeros(len(labels), dtype=np.int64)
    return assign_parts(groups, strata, shares=shares, seed=study.study.seed)


def describe(context: StageContext, index: pl.DataFrame, sample_of_row: RowArray) -> dict[str, Any]:
    """Return counts by fold and role, and the kinship that still crosses each fold."""
    pairs = pl.read_parquet(context.folder("kinship") / "kinship.parquet") if context.has("kinship") else None
    binary = context.study.binary
    folds = []
    for name in [c for c in index.columns if c.startswith("fold_")]:
        counts = index.group_by(name).agg(pl.len(), pl.col("label").sum(), pl.col("kin_group").n_unique()).sort(name)
        roles = {
            role: {"rows": n, "events": int(events) if binary else None, "units": units}
            for role, n, events, units in counts.iter_rows()
        }
        held_out = np.flatnonzero((index[name] == "held_out").to_numpy())
        train = np.flatnonzero(index[name].is_in(["train", "tuning"]).to_numpy())
        crossing = None if pairs is None else crossing_kinship(pairs, sample_of_row, train, held_out)._asdict()
        folds.append({"roles": roles, "crossing_kinship": crossing})
    split = context.study.split
    sizes = index.group_by("kin_group").len()["len"].to_numpy()
    return {
        "design": split.design,
        "keep_together": split.keep_together,
        "kinship_threshold": split.kinship if split.keep_together == "kin_groups" else None,
        "units": len(sizes),
        "largest_unit_rows": int(sizes.max()),
        "folds": folds,
    }


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return what determines the split, beside the rows."""
    return {"split": study.split.model_dump(mode="json"), "seed": study.study.seed, "binary": study.binary}


STAGE = Stage(
    name="split",
    run=run,
    needs=("cohort", "link", "genotype_qc", "kinship"),
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.modelled,
)
