"""What the study's feature families are given: events, genotypes, table, and each family's options by its own names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.ehr.roll_up import read_roll_up
from genomix.errors import FormatError
from genomix.features.assemble import load_families
from genomix.features.family import FeatureFamily, FeatureInputs, Options
from genomix.io.plink import GenotypeStore, open_store
from genomix.io.tables import read_qtltools_covariates, read_table
from genomix.provenance import read_json
from genomix.schemas.features import RUNGS
from genomix_pipelines.stage import StageContext
from genomix_pipelines.study import Study
from genomix_pipelines.study_sections import BurdenSection, RecordWindowsSection
from genomix_pipelines.table_rows import table_features


class FamilyInputs(NamedTuple):
    """Families in column order, their options, and what they may read."""

    families: dict[str, FeatureFamily]
    options: dict[str, Options]
    inputs: FeatureInputs


def family_inputs(context: StageContext, index: pl.DataFrame, *, table_folder: Path | None = None) -> FamilyInputs:
    """Return what ``assemble`` and ``certify`` need.

    Parameters
    ----------
    index: schema INDEX. table_folder: where ``table.parquet`` lies; default: the features stage's folder.
    """
    study: Study = context.study
    names = family_names(study)
    families = load_families(names)
    ordered = dict(sorted(families.items(), key=lambda item: (RUNGS.index(item[1].rung), names.index(item[0]))))
    folder = table_folder if table_folder is not None else context.folder("features")
    inputs = FeatureInputs(
        index=index.select(
            "row", "subject_id", "prediction_time", "kin_group", *(c for c in ("source_row",) if c in index.columns)
        ),
        device=context.device,
        events=events_of(context, index) if context.has("convert_records") else None,
        table=pl.read_parquet(folder / "table.parquet") if (folder / "table.parquet").exists() else None,
        **genotype_inputs(context),
    )
    return FamilyInputs(ordered, {name: family_options(context, name) for name in ordered}, inputs)


def family_names(study: Study) -> list[str]:
    """Return the families of a study; [features.table] stands for the numbers and for the categories of the table."""
    names = []
    for name, options in study.features:
        if options is None:
            continue
        if name == "table" and study.table is not None and study.table.categorical:
            names += ["table", "table_categories"] if study.table.columns else ["table_categories"]
        else:
            names.append(name)
    return names


def read_events(context: StageContext) -> pl.DataFrame:
    """Return all converted events (schema EVENTS)."""
    return pl.read_parquet(context.folder("convert_records") / "records" / "data" / "0.parquet")


def events_of(context: StageContext, index: pl.DataFrame) -> pl.DataFrame:
    """Return the events of the study's people."""
    return read_events(context).join(
        index.select("subject_id").unique(), on="subject_id", how="semi", maintain_order="left"
    )


def open_genotypes(context: StageContext) -> GenotypeStore:
    """Open the converted genotypes."""
    return open_store(context.folder("convert_genotypes") / "genotypes")


def genotype_inputs(context: StageContext) -> dict[str, Any]:
    """Return the genotype part of the inputs, empty without genotypes."""
    if not context.has("convert_genotypes"):
        return {}
    sample_of_row = pl.read_parquet(context.folder("split") / "samples_of_rows.parquet")["sample"].to_numpy()
    keep = pl.read_parquet(context.folder("genotype_qc") / "variants.parquet")["keep"].to_numpy()
    groups = pl.read_parquet(context.folder("kinship") / "groups.parquet")
    unrelated = np.where(sample_of_row >= 0, groups["unrelated"].to_numpy()[sample_of_row], False)
    return {
        "genotypes": open_genotypes(context),
        "sample_of_row": sample_of_row.astype(np.int64),
        "variant_keep": np.flatnonzero(keep).astype(np.int64),
        "unrelated": unrelated,
    }


def family_options(context: StageContext, name: str) -> dict[str, Any]:
    """Return a family's options from the study file, by the family's own names."""
    study: Study = context.study
    if name == "table_categories":
        assert study.table is not None
        return {
            "columns": [c.model_dump(mode="json", exclude_none=True) for c in study.table.categorical],
            "min_subjects": study.table.min_subjects,
            "sentences": dict(study.table.sentences),
        }
    section = getattr(study.features, name)
    given: dict[str, Any] = section.model_dump(mode="json", exclude_none=True)
    if name == "record_windows":
        descriptions = pl.read_parquet(context.folder("convert_records") / "records" / "metadata" / "codes.parquet")
        known = descriptions.drop_nulls("description")
        inclusive = read_json(context.folder("cohort") / "cohort.json").get("inclusive", True)
        return {
            **given,
            "descriptions": dict(known.select("code", "description").iter_rows()) | group_descriptions(section),
            "prediction_time": "inclusive" if inclusive else "exclusive",
        }
    if name == "polygenic_score":
        return {
            "scores": [
                {"name": s.name, "path": str(s.path), "minimum_coverage": s.minimum_coverage} for s in study.scores
            ]
        }
    if name == "table":
        assert study.table is not None
        return {"columns": list(study.table.columns), "sentences": dict(study.table.sentences)}
    if name == "dosages":
        return {**given, "region": cis_region(context, section.cis_window_bp) if section.select == "cis" else None}
    if name == "burden":
        return burden_options(section)
    return given


def group_descriptions(section: RecordWindowsSection) -> dict[str, str]:
    """Return what the groups of a mapping of codes mean."""
    if section.roll_up is None:
        return {}
    return dict(read_roll_up(section.roll_up).descriptions.iter_rows())


def burden_options(section: BurdenSection) -> dict[str, Any]:
    """Return the burden family's options: a table of weights takes the place of a named weighting."""
    given = section.model_dump(mode="json", exclude_none=True)
    table = given.pop("weight_table", None)
    return {**given, "weights": table or given["weights"]}


def cis_region(context: StageContext, window_bp: int) -> dict[str, Any]:
    """Return the region around the target's position, both ends included.

    Raises
    ------
    FormatError: when the phenotype file gives no positions.
    """
    position = read_json(context.folder("cohort") / "cohort.json").get("position")
    if position is None:
        raise FormatError('dosages select = "cis" needs a phenotype file with positions (expression_bed)')
    return {
        "contig": position["contig"],
        "start": max(1, position["start"] - window_bp),
        "end": position["end"] + window_bp,
    }


def write_used_table(context: StageContext) -> None:
    """Write ``table.parquet`` (subject_id, in a table study source_row, + columns) when the study uses a table."""
    study: Study = context.study
    if "table" not in context.files or study.table is None:
        return
    path = context.files["table"]
    if study.of_table:
        table_features(study, path).write_parquet(context.out / "table.parquet")
        return
    if study.table.format == "qtltools_covariates":
        frame = read_qtltools_covariates(path)
    else:
        categories = [c.column for c in study.table.categorical]
        frame = read_table(path, text=(study.table.id_column, *categories), missing=study.table.missing_values)
        if study.table.id_column not in frame.columns:
            raise FormatError(
                f"no column {study.table.id_column!r}", where=str(path), hint="it has: " + ", ".join(frame.columns)
            )
    by_subject = study.table.id_column == "subject_id"
    id_column = study.table.id_column if study.table.format == "table" else "sample_id"
    if by_subject:
        joined = frame.with_columns(pl.col("subject_id").cast(pl.Int64))
    else:
        link = pl.read_parquet(context.folder("link") / "link.parquet")
        joined = link.join(frame.rename({id_column: "sample_id"}), on="sample_id").drop("sample_id")
    joined.sort("subject_id").unique("subject_id", keep="first", maintain_order=True).write_parquet(
        context.out / "table.parquet"
    )
