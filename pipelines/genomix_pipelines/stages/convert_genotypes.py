"""Stage ``convert_genotypes``: a VCF, BCF, PLINK 1 or PLINK 2 input → one PLINK 2 fileset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from genomix.errors import LinkError
from genomix.io.convert import convert_genotypes
from genomix.io.load_options import LoadOptions
from genomix.io.sample_tables import read_sample_info
from genomix.provenance import write_json
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study, fileset_files
from genomix_pipelines.study_sections import GenotypesSection

_LOADING = ("build", "half_call", "dosage", "multi_allelic", "keep_filter", "bgen_ref")
"""Keys of [genotypes] that decide what is loaded, beside its files."""


def files(study: Study, _target: str | None) -> dict[str, Path]:
    """Return the genotype file, or the members of its fileset, and the sample table."""
    assert study.genotypes is not None
    found = {f"genotypes{''.join(p.suffixes[-1:])}": p for p in fileset_files(study.genotypes.path)}
    for name, path in (("sample_info", study.genotypes.sample_info), ("fasta", study.genotypes.fasta)):
        if path is not None:
            found[name] = path
    return found


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return the declared build and the policies."""
    assert study.genotypes is not None
    return study.genotypes.model_dump(mode="json", include=set(_LOADING))


def run(context: StageContext) -> dict[str, Any]:
    """Write ``genotypes.pgen/.pvar/.psam`` and ``conversion.json`` (counts in and out by reason)."""
    section = context.study.genotypes
    info = read_sample_info(context.files["sample_info"]) if "sample_info" in context.files else None
    try:
        report = convert_genotypes(
            section.path,
            context.out / "genotypes",
            load_options(section, info),
            progress=lambda share, n: context.progress(share, f"{n:,} records"),
        )
    except LinkError as error:  # only the sample table can fail to join here
        error.where = error.where or section.sample_info.name
        raise
    write_json(context.out / "conversion.json", report.to_dict())
    counts = {"records": report.n_records_read, "variants": report.n_variants_written, "samples": report.n_samples}
    return {**counts, "warnings": list(report.warnings)} if report.warnings else counts


def load_options(section: GenotypesSection, info: pl.DataFrame | None) -> LoadOptions:
    """Return how the study's genotypes are loaded; ``info`` is its sample table."""
    return LoadOptions(
        build=section.build,
        sex=info,
        half_call=section.half_call,
        dosage_field=section.dosage,
        multi_allelic=section.multi_allelic,
        keep_filter=section.keep_filter,
        fasta=section.fasta,
        left_align=section.fasta is not None,
        bgen_ref=section.bgen_ref,
    )


STAGE = Stage(
    name="convert_genotypes",
    run=run,
    wanted=lambda study: study.genotypes is not None,
    files=files,
    parameters=parameters,
)
