"""Stage ``convert_genotypes``: a VCF, BCF, PLINK 1 or PLINK 2 input → one PLINK 2 fileset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from genomix.errors import FormatError, LinkError
from genomix.io.convert import convert_genotypes
from genomix.io.tables import read_table
from genomix.provenance import write_json
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study, fileset_files


def files(study: Study, _target: str | None) -> dict[str, Path]:
    """Return the genotype file, or the members of its fileset, and the sample table."""
    assert study.genotypes is not None
    found = {f"genotypes{''.join(p.suffixes[-1:])}": p for p in fileset_files(study.genotypes.path)}
    if study.genotypes.sample_info is not None:
        found["sample_info"] = study.genotypes.sample_info
    return found


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return the declared build and the policies."""
    assert study.genotypes is not None
    return {"build": study.genotypes.build, "half_call": study.genotypes.half_call}


def run(context: StageContext) -> dict[str, Any]:
    """Write ``genotypes.pgen/.pvar/.psam`` and ``conversion.json`` (counts in and out by reason)."""
    section = context.study.genotypes
    info = read_sample_info(context.files["sample_info"]) if "sample_info" in context.files else None
    try:
        report = convert_genotypes(
            section.path,
            context.out / "genotypes",
            build=section.build,
            sex=info,
            half_call=section.half_call,
            progress=lambda done, total: context.progress(done / max(total, 1), "records"),
        )
    except LinkError as error:  # only the sample table can fail to join here
        error.where = error.where or section.sample_info.name
        raise
    write_json(context.out / "conversion.json", report.to_dict())
    return {"records": report.n_records_read, "variants": report.n_variants_written, "samples": report.n_samples}


def read_sample_info(path: Path) -> pl.DataFrame:
    """Read a sample table: sample_id (or IID), sex (1, 2, 0 or male, female), and any labels."""
    frame = read_table(path, text=("sample_id", "IID", "#IID"))
    names = {c: "sample_id" for c in ("IID", "#IID") if c in frame.columns} | {"SEX": "sex"}
    frame = frame.rename({k: v for k, v in names.items() if k in frame.columns})
    for name in ("sample_id", "sex"):
        if name not in frame.columns:
            raise FormatError(
                f"sample table has no column {name!r}", where=str(path), hint="it has: " + ", ".join(frame.columns)
            )
    words = pl.col("sex").cast(pl.String).str.to_lowercase()
    sex = words.replace_strict(
        {"1": 1, "m": 1, "male": 1, "2": 2, "f": 2, "female": 2}, default=0, return_dtype=pl.Int8
    )
    unknown = words.is_null() | words.is_in(["0", "u", "unknown", "na", "nan", "", "-9"])
    strange = frame.filter((sex == 0) & ~unknown)["sex"]
    if len(strange):
        raise FormatError(
            f"sample table: {strange[0]!r} is no sex that is known",
            where=str(path),
            hint="1 or male, 2 or female, 0 unknown",
        )
    return frame.with_columns(sex.alias("sex"))


STAGE = Stage(
    name="convert_genotypes",
    run=run,
    wanted=lambda study: study.genotypes is not None,
    files=files,
    parameters=parameters,
)
