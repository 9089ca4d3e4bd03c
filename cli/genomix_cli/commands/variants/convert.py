"""``genomix variants convert``: any genotype file into a PLINK 2 fileset, every record and call accounted for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genomix_cli.options import (
    BuildOption,
    GenotypesArgument,
    JsonOption,
    QuietOption,
    SampleInfoOption,
    StrictOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from genomix.io.convert import ConversionReport
    from genomix.io.regions import Regions

_EXAMPLE = """Examples:

\b
  genomix variants convert cohort.vcf.gz -o cohort
  genomix variants convert cohort.bcf -o chr20 --region chr20 --keep-filter PASS --multi-allelic split
  genomix variants convert old.vcf.gz -o new --chain hg19ToHg38.over.chain.gz --target-build GRCh38
  bcftools view -i 'AC>0' cohort.bcf | genomix variants convert - -o cohort
"""


class MultiAllelic(StrEnum):
    """What becomes of records with several ALTs."""

    keep = "keep"
    split = "split"  # type: ignore[assignment]  # hides str.split, which nobody calls on an option
    drop = "drop"


class HalfCall(StrEnum):
    """What a call such as ./1 becomes."""

    missing = "missing"
    reference = "reference"
    error = "error"


class Haploid(StrEnum):
    """What a haploid call becomes where two copies are expected."""

    missing = "missing"
    double = "double"
    error = "error"


class Dosage(StrEnum):
    """Where numbers come from."""

    auto = "auto"
    GT = "GT"
    DS = "DS"
    GP = "GP"


class RefMismatch(StrEnum):
    """What a REF that contradicts the FASTA leads to."""

    error = "error"
    drop = "drop"


class Reader(StrEnum):
    """How VCF text is read."""

    auto = "auto"
    fast = "fast"
    reference = "reference"


class BgenRef(StrEnum):
    """Which allele of a BGEN record is REF."""

    first = "first"
    last = "last"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("convert", epilog=_EXAMPLE, short_help="Convert any genotype file into a PLINK 2 fileset.")(convert)


def convert(
    source: GenotypesArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PREFIX", help="Prefix of .pgen, .pvar, .psam.", show_default=False)
    ],
    build: BuildOption = None,
    sample_info: SampleInfoOption = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", "-r", help="CONTIG, CONTIG:POS or CONTIG:FROM-TO; repeatable.")
    ] = None,
    regions_file: Annotated[
        Path | None, typer.Option("--regions-file", "-R", help="BED (0-based) or contig, from, to (1-based).")
    ] = None,
    samples: Annotated[str | None, typer.Option("--samples", help="Sample identifiers, comma-separated.")] = None,
    samples_file: Annotated[
        Path | None, typer.Option("--samples-file", help="Text file of sample identifiers, one a line.")
    ] = None,
    keep_filter: Annotated[
        list[str] | None, typer.Option("--keep-filter", help="FILTER value to keep (PASS includes '.'); repeatable.")
    ] = None,
    multi_allelic: Annotated[
        MultiAllelic, typer.Option("--multi-allelic", help="Records with several ALTs; kept ones are split at read.")
    ] = MultiAllelic.keep,
    half_call: Annotated[
        HalfCall, typer.Option("--half-call", help="What a call such as ./1 becomes.")
    ] = HalfCall.missing,
    ploidy: Annotated[
        Haploid,
        typer.Option(
            "--ploidy",
            help="Haploid calls on autosomes and in the PARs; on X outside them, Y and MT they count as 0 or 2 copies.",
        ),
    ] = Haploid.missing,
    dosage: Annotated[
        Dosage, typer.Option("--dosage", help="auto: GT, and DS in records without GT; DS or GP win where given.")
    ] = Dosage.auto,
    info: Annotated[
        str | None, typer.Option("--info", help="INFO keys to carry over, comma-separated, 'all' or 'none'.")
    ] = None,
    fasta: Annotated[
        Path | None, typer.Option("--fasta", help="Reference sequence: REF is checked, indels are left-aligned.")
    ] = None,
    left_align: Annotated[
        bool, typer.Option("--left-align/--no-left-align", help="Left-align and trim against --fasta.")
    ] = True,
    ref_mismatch: Annotated[
        RefMismatch, typer.Option("--ref-mismatch", help="Refuse the file, or drop and list the records.")
    ] = RefMismatch.error,
    chain: Annotated[Path | None, typer.Option("--chain", help="UCSC chain file of a liftover.")] = None,
    target_build: Annotated[str | None, typer.Option("--target-build", help="Build that the chain leads to.")] = None,
    target_fasta: Annotated[
        Path | None, typer.Option("--target-fasta", help="Reference sequence of the target build.")
    ] = None,
    double_id: Annotated[bool, typer.Option("--double-id", help="FID = IID (plink2's --double-id).")] = False,
    id_delimiter: Annotated[
        str | None, typer.Option("--id-delimiter", help="Split identifiers into FID and IID (plink2's --id-delim).")
    ] = None,
    bgen_ref: Annotated[BgenRef, typer.Option("--bgen-ref", help="Allele of a BGEN record that is REF.")] = (
        BgenRef.first
    ),
    sample_file: Annotated[Path | None, typer.Option("--sample-file", help="The .sample file of a BGEN.")] = None,
    allow_missing_end: Annotated[
        bool, typer.Option("--allow-missing-end", help="Accept BGZF without its end-of-file block.")
    ] = False,
    reader: Annotated[Reader, typer.Option("--reader", help="How VCF text is read; the results agree.")] = Reader.auto,
    block_size: Annotated[int | None, typer.Option("--block-size", min=1, help="Records held at once.")] = None,
    threads: ThreadsOption = 1,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert VCF, BCF, BGEN, PLINK 1 or PLINK 2 (or '-', VCF on standard input) into PREFIX.pgen/.pvar/.psam.

    PREFIX.conversion.json counts every record and call by what became of it; records that a FASTA or a chain file
    turned away are listed with their reasons in PREFIX.rejected.tsv. --strict counts what is lost: not what --region,
    --regions-file, --samples, --keep-filter and --multi-allelic drop leave out because that was asked for.
    """
    from genomix.io.convert import convert_genotypes
    from genomix.io.load_options import LoadOptions
    from genomix.io.sample_tables import read_sample_info, read_sample_list
    from genomix_cli.progress import progress

    read = (sample_info, samples_file, regions_file, fasta, target_fasta, chain, sample_file)
    _refuse_own_inputs(source, out, read)
    _check_writable(out, listed=fasta is not None or chain is not None)
    chosen_samples = tuple(name for name in samples.split(",") if name) if samples is not None else None
    if samples_file is not None:
        chosen_samples = (chosen_samples or ()) + read_sample_list(samples_file)
    defaults = LoadOptions()
    options = LoadOptions(
        build=build,
        sex=read_sample_info(sample_info) if sample_info is not None else None,
        half_call=half_call.value,
        haploid=ploidy.value,
        dosage_field=dosage.value,
        info_keys=_info_keys(info, defaults.info_keys),
        regions=_regions(region, regions_file),
        samples=chosen_samples,
        keep_filter=tuple(v for text in keep_filter for v in text.split(",")) if keep_filter else None,
        multi_allelic=multi_allelic.value,
        fasta=fasta,
        ref_mismatch=ref_mismatch.value,
        left_align=left_align and fasta is not None,
        chain=chain,
        target_build=target_build,
        target_fasta=target_fasta,
        double_id=double_id,
        id_delimiter=id_delimiter,
        bgen_ref=bgen_ref.value,
        sample_file=sample_file,
        threads=threads,
        allow_missing_end=allow_missing_end,
        reader=reader.value,
        block_size=block_size,
    )
    with progress("converting", "records", quiet=quiet) as report_progress:
        report = convert_genotypes(source, out, options, progress=report_progress)
    _write_beside(report, out, listed=fasta is not None or chain is not None)
    _tell(report, strict=strict, quiet=quiet, as_json=as_json)


def _refuse_own_inputs(source: Path, prefix: Path, others: tuple[Path | None, ...]) -> None:
    """Refuse a prefix whose files would replace what this run reads, however it is named or linked."""
    from genomix.errors import ConfigError
    from genomix.io.genotype_format import beside, fileset_prefix
    from genomix.io.plink import SUFFIXES
    from genomix_cli.outputs import same_file
    from genomix_pipelines.study import fileset_files

    base = fileset_prefix(prefix, SUFFIXES)
    read = [*fileset_files(source), *(path for path in others if path is not None)]
    for suffix in (".pgen", ".pvar", ".psam", ".conversion.json", ".rejected.tsv"):
        written = beside(base, suffix)
        if any(same_file(written, path) for path in read):
            raise ConfigError(
                f"the output {written.name} is a file that this run reads", where=str(written),
                hint="another prefix for the output",
            )  # fmt: skip


def _check_writable(prefix: Path, *, listed: bool) -> None:
    """Refuse, before anything is read, a folder that takes no files."""
    from genomix.io.genotype_format import beside, fileset_prefix
    from genomix.io.plink import SUFFIXES
    from genomix_cli.genotype_samples import check_outputs

    base = fileset_prefix(prefix, SUFFIXES)
    if not base.name or base.is_dir():
        return  # the conversion says what is wrong with such a prefix
    endings = [".pgen", ".pvar", ".psam", ".conversion.json", *([".rejected.tsv"] if listed else [])]
    check_outputs({ending: beside(base, ending) for ending in endings}, ())


def _regions(texts: list[str] | None, path: Path | None) -> Regions | None:
    from genomix.errors import ConfigError
    from genomix.io.regions import parse_regions, read_regions_file, split_regions

    if texts and path is not None:
        raise ConfigError("regions are given twice", hint="--region or --regions-file")
    if texts:
        return parse_regions(tuple(part for text in texts for part in split_regions(text)))
    return read_regions_file(path) if path is not None else None


def _info_keys(text: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if text is None:
        return default
    return {"all": ("*",), "none": ()}.get(text, tuple(text.split(",")))


def _write_beside(report: ConversionReport, prefix: Path, *, listed: bool) -> None:
    """Write the counts, and the list of rejected records where there can be any."""
    from genomix.io.genotype_format import beside, fileset_prefix
    from genomix.io.plink import SUFFIXES
    from genomix.io.spreadsheet import spreadsheet_safe
    from genomix.provenance import atomic_path, write_json

    base = fileset_prefix(prefix, SUFFIXES)
    write_json(beside(base, ".conversion.json"), report.to_dict())
    if not listed:
        beside(base, ".rejected.tsv").unlink(missing_ok=True)  # of an earlier conversion under the same prefix
    else:
        with atomic_path(beside(base, ".rejected.tsv")) as path:
            spreadsheet_safe(report.rejected).write_csv(path, separator="\t", quote_style="never")


def _tell(report: ConversionReport, *, strict: bool, quiet: bool, as_json: bool) -> None:
    """Print counts and warnings; under ``strict`` these, and losses that nobody asked for, end in an exit code."""
    from genomix.errors import StrictError
    from genomix.io.load_steps import ASKED_FOR
    from genomix_cli.console import print_json, say

    if as_json:
        print_json(report.to_dict())
    else:
        say(f"{report.format}, build {report.build} ({report.build_from})", quiet=quiet)
        for part, reason, count in report.to_frame().iter_rows():
            say(f"{part}: {reason}: {count:,}", quiet=quiet)
    absent = ", ".join(report.absent_contigs)
    if absent:
        say(f"warning: neither the header nor a record of the input has these contigs of the regions: {absent}")
    for text in report.warnings:
        say(f"warning: {text}")
    lost = {reason: n for reason, n in report.records_left_out.items() if reason not in ASKED_FOR}
    if strict and lost:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in lost.items())
        raise StrictError(
            f"{sum(lost.values()):,} records were left out under --strict: {reasons}",
            hint="mend them, or leave out --strict",
        )
    if strict and absent:
        raise StrictError(
            f"regions on contigs that the input lacks, under --strict: {absent}", hint="other regions, or no --strict"
        )
    if strict and report.warnings:
        raise StrictError(f"{len(report.warnings)} warning(s) under --strict", hint="mend them, or leave out --strict")
