"""Options that several commands share, each worded once."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class DeviceChoice(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class DemoSize(StrEnum):
    """How much of the demo to run."""

    full = "full"
    small = "small"


class PhenotypeKind(StrEnum):
    """What the phenotypes are."""

    auto = "auto"
    quantitative = "quantitative"
    binary = "binary"


def a_number(value: float | None) -> float | None:
    """Refuse NaN, which passes every bound that an option has, because no comparison with it holds."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)]
DeviceOption = Annotated[
    DeviceChoice, typer.Option("--device", help="Where to compute; auto takes a GPU when one works.")
]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Stages that may run at once.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Turn warnings into an exit code.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for a machine.")]

GenotypesArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IN", help="VCF, BCF, BGEN, PLINK 1 or PLINK 2: a file, or a fileset's prefix.", show_default=False
    ),
]
TablesPrefixOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="PREFIX", help="Prefix of the tables.", show_default=False)
]
BuildOption = Annotated[
    str | None, typer.Option("--build", help="Genome build, e.g. GRCh38; by default from the contig lengths.")
]
SampleInfoOption = Annotated[
    Path | None,
    typer.Option("--sample-info", help="Table with sample_id, sex (1, 2, 0) and labels; CSV, TSV, Parquet or .psam."),
]
KeepSamplesOption = Annotated[
    Path | None, typer.Option("--keep", help="Text file of sample identifiers to use, one a line (FID IID also).")
]
VariantListOption = Annotated[
    Path | None,
    typer.Option("--extract", help="Text file of variant identifiers to use, one a line (e.g. PREFIX.prune.in)."),
]
AutosomesOption = Annotated[
    int, typer.Option("--autosomes", min=1, max=95, help="Autosomes of the species (plink2's --chr-set).")
]
MissingValueOption = Annotated[
    str, typer.Option("--missing-value", help="Number that means missing in both tables, or none.")
]
AllowRelatedOption = Annotated[bool, typer.Option("--allow-related", help="Test related samples without an offset.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Threads that may work at once.")]
