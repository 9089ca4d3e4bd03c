"""Stage ``split``: the study's rows, their kin groups, and every row's role in every fold. Nothing is fitted before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.features.link import sample_of_subject
from genomix.features.matrix import RowArray
from genomix.features.split import assign_parts, assign_roles, crossing_kinship, merge_groups, strata_of_labels
from genomix.features.split_designs import check_largest_unit, roles_by_site, roles_by_time
from genomix.io.tables import read_text_columns
from genomix.provenance import write_json
from genomix.schemas.features import INDEX
from genomix.schemas.people import FLOW
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study

MINIMUM_PER_CLASS = 5


def run(context: StageContext) -> dict[str, Any]:
    """Write ``index``, ``flow`` (part "study"), ``samples_of_rows`` (Parquet; ``sites`` too, if split by site) and
    ``split.json``.
    """
    study: Study = context.study
    labels = pl.read_parquet(context.folder("cohort") / "labels.parquet")
    rows, sample_of_row, flow = usable_rows(context, labels, binary=study.two_class)
    check_labels(rows["value"], binary=study.two_class)
    groups = units_of_rows(context, rows["subject_id"].to_numpy(), sample_of_row)
    index = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), "subject_id", "prediction_time",
        pl.col("value").alias("label"), "weight", *(c for c in ("source_row",) if c in rows.columns),
    ).with_columns(pl.Series("kin_group", groups, dtype=pl.Int64))  # fmt: skip
    for name, roles in roles_of_rows(context, rows, groups, sample_of_row).items():
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
    if keep_together == "families":
        families = sample_column(context, str(context.study.split.family_column), sample_of_row)
        known = sorted({f for f in families if f is not None})
        numbers = {family: number for number, family in enumerate(known)}
        return merge_groups(subjects, np.array([-1 if f is None else numbers[f] for f in families], dtype=np.int64))
    groups = pl.read_parquet(context.folder("kinship") / "groups.parquet")
    column = groups["cluster" if keep_together == "kinship_clusters" else "group"].to_numpy()
    return merge_groups(subjects, np.where(sample_of_row >= 0, column[sample_of_row], -1))


def roles_of_rows(
    context: StageContext, rows: pl.DataFrame, groups: RowArray, sample_of_row: RowArray
) -> dict[str, list[str]]:
    """Return the role of each row in each fold, by the study's design."""
    study: Study = context.study
    split, seed = study.split, study.study.seed
    labels = rows["value"].to_numpy()
    strata = (
        strata_of_labels(labels, binary=study.two_class) if split.stratify else np.zeros(len(labels), dtype=np.int64)
    )
    if split.design == "by_time":
        found = roles_by_time(groups, times_of_rows(context, rows, sample_of_row), **_shares(study))
        return {"fold_0": found.roles}
    if split.design == "by_site":
        sites = column_of_rows(context, rows, sample_of_row)
        pl.DataFrame({"site": pl.Series(sites, dtype=pl.String)}).write_parquet(context.out / "sites.parquet")
        return roles_by_site(groups, sites, strata, tuning=split.tuning, seed=seed)
    shares: tuple[float, ...] = (1 - split.tuning - split.held_out, split.tuning, split.held_out)
    if split.design == "cross_validation":
        shares = (1 / split.folds,) * split.folds
    check_largest_unit(groups, shares)
    parts = assign_parts(groups, strata, shares=shares, seed=seed)
    return assign_roles(parts, design=split.design, n_folds=split.folds)


def _shares(study: Study) -> dict[str, float]:
    return {"held_out": study.split.held_out, "tuning": study.split.tuning}


def times_of_rows(context: StageContext, rows: pl.DataFrame, sample_of_row: RowArray) -> np.ndarray[Any, Any]:
    """Return what rows are ordered by: the prediction time (in days), or the numbers of a column; NaN where unknown."""
    name = context.study.split.column
    if name is None:
        times = rows["prediction_time"].dt.epoch("us").cast(pl.Float64) / 86_400_000_000
        return times.fill_null(float("nan")).to_numpy()
    values = pl.Series(name, column_of_rows(context, rows, sample_of_row), dtype=pl.String)
    numbers = values.cast(pl.Float64, strict=False)
    wrong = values.is_not_null() & numbers.is_null()
    if wrong.any():
        raise LabelError(
            f"column {name!r} holds what is no number in {int(wrong.sum()):,} rows: no rows can be ordered by it",
            hint="a column of years or days",
        )
    return numbers.fill_null(float("nan")).to_numpy()


def column_of_rows(context: StageContext, rows: pl.DataFrame, sample_of_row: RowArray) -> list[str | None]:
    """Return the text of the split's column for each row, from the study's table or from the samples."""
    name = str(context.study.split.column)
    if not context.study.of_table:
        return sample_column(context, name, sample_of_row)
    table = context.study.table
    texts = read_text_columns(context.files["table"], [name], missing=table.missing_values)[name]
    found: list[str | None] = texts.gather(rows["source_row"]).to_list()
    return found


def sample_column(context: StageContext, name: str, sample_of_row: RowArray) -> list[str | None]:
    """Return a column of the samples' own table as text, for the sample of each row."""
    table = pl.read_parquet(context.folder("genotype_qc") / "sample_info.parquet")
    if name not in table.columns:
        raise ConfigError(
            f"[split] names the column {name!r}, which the samples do not have",
            hint="they have: " + ", ".join(c for c in table.columns if c != "sample_id"),
        )
    values = table[name].cast(pl.String).to_list()
    return [None if s < 0 else values[s] for s in sample_of_row.tolist()]


def files(study: Study, _target: str | None) -> dict[str, Path]:
    """Return the study's table where the split reads a column of it."""
    if study.of_table and study.split.column is not None:
        assert study.table is not None
        return {"table": study.table.path}
    return {}


def describe(context: StageContext, index: pl.DataFrame, sample_of_row: RowArray) -> dict[str, Any]:
    """Return counts by fold and role, and the kinship that still crosses each fold."""
    pairs = pl.read_parquet(context.folder("kinship") / "kinship.parquet") if context.has("kinship") else None
    binary = context.study.two_class
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
        "column": split.column,
        "keep_together": split.keep_together,
        "kinship_threshold": split.kinship if split.keep_together == "kin_groups" else None,
        "units": len(sizes),
        "largest_unit_rows": int(sizes.max()),
        "folds": folds,
    }


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return what determines the split, beside the rows."""
    return {"split": study.split.model_dump(mode="json"), "seed": study.study.seed, "binary": study.two_class}


STAGE = Stage(
    name="split",
    run=run,
    files=files,
    needs=("cohort", "link", "genotype_qc", "kinship"),
    parameters=parameters,
    per_target=True,
    wanted=lambda study: study.modelled,
)
