"""Stage ``link``: which sample is which subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from genomix.errors import FormatError
from genomix.features.link import LinkReport, identity_link, resolve_link, same_name_link
from genomix.io.tables import read_table
from genomix.provenance import write_json
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.stage_inputs import read_events
from genomix_pipelines.study import Study


def files(study: Study, _target: str | None) -> dict[str, Path]:
    """Return the link file, where there is one."""
    return {"link": study.link.path} if study.link else {}


def run(context: StageContext) -> dict[str, Any]:
    """Write ``link.parquet`` (schema LINK) and ``link.json`` (counts)."""
    samples = pl.read_parquet(context.folder("genotype_qc") / "samples.parquet")["sample_id"].to_list()
    subjects = _subjects(context)
    if "link" in context.files:
        given = read_link(context.files["link"])
        link, report = resolve_link(
            given, samples, subjects or given["subject_id"].to_list(), where=context.files["link"].name
        )
    elif subjects:
        link, report = resolve_link(same_name_link(samples, subjects), samples, subjects)
    else:
        link = identity_link(samples)
        report = LinkReport(len(samples), len(samples), len(samples), len(samples), 0, 0)
    link.write_parquet(context.out / "link.parquet")
    write_json(context.out / "link.json", report._asdict())
    return report._asdict()


def read_link(path: Path) -> pl.DataFrame:
    """Read a link table: columns sample_id (text) and subject_id (whole numbers); others are ignored."""
    frame = read_table(path, text=("sample_id",))
    for name in ("sample_id", "subject_id"):
        if name not in frame.columns:
            raise FormatError(
                f"link has no column {name!r}", where=str(path), hint="it has: " + ", ".join(frame.columns)
            )
    if not frame.schema["subject_id"].is_integer():
        raise FormatError("link's subject_id must be whole numbers", where=str(path))
    return frame.select(pl.col("sample_id").cast(pl.String), pl.col("subject_id").cast(pl.Int64)).drop_nulls()


def _subjects(context: StageContext) -> list[int]:
    if not context.has("convert_records"):
        return []
    return read_events(context)["subject_id"].unique().sort().to_list()


STAGE = Stage(
    name="link",
    run=run,
    needs=("genotype_qc", "convert_records"),
    wanted=lambda study: study.genotypes is not None,
    files=files,
)
