"""``genomix variants burden``: rare variants of a gene collapsed per sample, and the gene-based test."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.options import (
    AllowRelatedOption,
    BuildOption,
    GenotypesArgument,
    JsonOption,
    KeepSamplesOption,
    MissingValueOption,
    PhenotypeKind,
    QuietOption,
    SampleInfoOption,
    StrictOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from genomix.io.annotation import Annotation
    from genomix.io.plink import GenotypeStore
    from genomix.variants.burden import BurdenOptions, BurdenResult
    from genomix.variants.burden_test import PeopleTested

_EXAMPLE = """Examples:

\b
  genomix variants burden cohort --annotation cohort.vep.vcf.gz --mask lof --mask missense+lof -o burden.parquet
  genomix variants burden cohort --annotation vep.vcf.gz --transcripts mane --collapse weighted --weights beta -o b.tsv
  genomix variants burden cohort --genes genes.bed --max-frequency 0.005 -o burden.parquet
  genomix variants burden cohort --annotation vep.vcf.gz --phenotype p.tsv --covariates c.tsv --test all -o b.parquet
"""


class Transcripts(StrEnum):
    """Whose consequence counts."""

    any = "any"
    canonical = "canonical"
    mane = "mane"
    worst = "worst"


class Collapse(StrEnum):
    """How a gene's variants become one number."""

    copies = "count"
    carrier = "carrier"
    max = "max"
    weighted = "weighted"


class Missing(StrEnum):
    """What a missing call counts as."""

    reference = "reference"
    mean = "mean"


class Counted(StrEnum):
    """Whose copies are counted."""

    alt = "alt"
    minor = "minor"


class Model(StrEnum):
    """What the phenotype is."""

    auto = "auto"
    linear = "linear"
    logistic = "logistic"


class Firth(StrEnum):
    """When Firth's penalised fit is used."""

    fallback = "fallback"
    always = "always"
    never = "never"


class Test(StrEnum):
    """Which gene-based tests."""

    burden = "burden"
    all = "all"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("burden", epilog=_EXAMPLE, short_help="Collapse rare variants by gene; test genes.")(burden)


def burden(
    source: GenotypesArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="TABLE", help="Matrix: .parquet, .tsv or .csv.", show_default=False)
    ],
    annotation: Annotated[
        Path | None, typer.Option("--annotation", help="VCF or BCF with CSQ, ANN or BCSQ, or regenie's annotations.")
    ] = None,
    info_key: Annotated[str | None, typer.Option("--info-key", help="INFO key of the annotation.")] = None,
    set_list: Annotated[Path | None, typer.Option("--set-list", help="regenie's set list.")] = None,
    genes: Annotated[Path | None, typer.Option("--genes", help="BED of genes, instead of an annotation.")] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option("--mask", help="lof, missense, missense+lof, a Sequence Ontology term, 'all'; repeatable."),
    ] = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="TOML with [[mask]] tables, or regenie's masks.")
    ] = None,
    max_frequency: Annotated[
        float, typer.Option("--max-frequency", min=0, max=1, help="Largest frequency, where a mask names none.")
    ] = 0.01,
    frequencies: Annotated[
        Path | None,
        typer.Option(
            "--frequencies",
            help="Table of frequencies; those it lacks, or without one all, are counted in the samples.",
        ),
    ] = None,
    transcripts: Annotated[Transcripts, typer.Option("--transcripts", help="Whose consequence counts.")] = (
        Transcripts.any
    ),
    collapse: Annotated[
        Collapse | None, typer.Option("--collapse", help="count by default, weighted where weights are given.")
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="none, beta, madsen-browning, or a table with a column weight. With none, SKAT uses Beta(MAF; 1, 25).",
        ),
    ] = "none",
    missing: Annotated[Missing, typer.Option("--missing", help="What a missing call counts as.")] = Missing.reference,
    counted: Annotated[Counted, typer.Option("--counted", help="Copies of ALT or of the rarer allele.")] = Counted.alt,
    phenotype: Annotated[Path | None, typer.Option("--phenotype", help="Phenotype table: genes are tested.")] = None,
    phenotype_name: Annotated[
        str | None, typer.Option("--phenotype-name", help="Its column (default: the only one).")
    ] = None,
    phenotype_kind: Annotated[
        PhenotypeKind, typer.Option("--phenotype-kind", help="auto: only 1 and 2, or 0 and 1, is case-control.")
    ] = PhenotypeKind.auto,
    missing_value: MissingValueOption = "-9",
    covariates: Annotated[Path | None, typer.Option("--covariates", help="Table of covariates.")] = None,
    covariate_names: Annotated[
        str | None, typer.Option("--covariate-names", help="Its columns, comma-separated.")
    ] = None,
    offset: Annotated[
        Path | None, typer.Option("--offset", help="LOCO predictions: regenie's _pred.list or .loco, or a table.")
    ] = None,
    kinship: Annotated[
        Path | None, typer.Option("--kinship", help="Pairs of genomix variants kinship; by default computed.")
    ] = None,
    allow_related: AllowRelatedOption = False,
    model: Annotated[Model, typer.Option("--model", help="auto: logistic for two classes.")] = Model.auto,
    firth: Annotated[Firth, typer.Option("--firth", help="Penalised logistic fit.")] = Firth.fallback,
    test: Annotated[Test, typer.Option("--test", help="burden, or all: also SKAT and SKAT-O.")] = Test.burden,
    build: BuildOption = None,
    sample_info: SampleInfoOption = None,
    keep: KeepSamplesOption = None,
    threads: ThreadsOption = 1,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one number per sample, gene and mask; beside it TABLE.genes, .variants, .tests and .counts.json.

    Hard calls are counted, also where there are dosages. Genes without a qualifying variant are listed in TABLE.genes
    with the reason. Related samples (kinship above 0.177) are not tested unless --offset or --allow-related is given.
    """
    from genomix.errors import ConfigError
    from genomix.io.burden_tables import burden_paths, check_table_path, write_burden
    from genomix.io.load_options import LoadOptions
    from genomix.io.opening import opened_store
    from genomix.io.sample_tables import read_sample_info
    from genomix.variants.burden import compute_burden
    from genomix_cli.association_inputs import check_idle_kinship
    from genomix_cli.genotype_samples import check_outputs, numbers_of
    from genomix_cli.progress import progress

    check_table_path(out)
    inputs = (
        source, annotation, set_list, genes, masks, frequencies, phenotype, covariates, offset, kinship, sample_info,
        keep, None if weights in ("none", "beta", "madsen-browning") else Path(weights),
    )  # fmt: skip
    check_outputs({name: path for name, path in burden_paths(out).items() if name != "tests" or phenotype}, inputs)
    of_tests = {"--covariates": covariates, "--covariate-names": covariate_names, "--offset": offset,
                "--kinship": kinship, "--phenotype-name": phenotype_name, "--test all": test is Test.all or None,
                "--model": None if model is Model.auto else model, "--allow-related": allow_related or None,
                "--firth": None if firth is Firth.fallback else firth,
                "--phenotype-kind": None if phenotype_kind is PhenotypeKind.auto else phenotype_kind}  # fmt: skip
    idle = [name for name, value in of_tests.items() if value is not None]
    if phenotype is None and idle:
        raise ConfigError(f"{idle[0]} without --phenotype: without one no gene is tested")
    if allow_related or offset is not None:
        check_idle_kinship(kinship, allow_related=allow_related, quiet=quiet)
    if covariates is None and covariate_names is not None:
        raise ConfigError("--covariate-names without --covariates")
    found = _source(annotation, genes, info_key, set_list)
    options = _options(found, mask, masks, max_frequency, frequencies, transcripts, collapse, weights, missing, counted)
    loading = LoadOptions(
        build=build, sex=read_sample_info(sample_info) if sample_info is not None else None, threads=threads
    )
    with (
        progress("reading", "records", quiet=quiet) as reading,
        opened_store(source, loading, progress=reading) as opened,
    ):
        store = opened.store
        samples = None if keep is None else numbers_of(store, keep, genotypes=source)
        people, related = None, None
        if phenotype is not None:
            people = _people(
                store, samples, (phenotype, phenotype_name, covariates, covariate_names, offset),
                phenotype_kind.value, missing_value,
            )  # fmt: skip
            related = None if allow_related or offset is not None else _check_relatives(store, people, kinship, quiet)
        with progress("collapsing", "genes", quiet=quiet) as collapsing:
            result = compute_burden(store, found, options, samples=samples, progress=collapsing)
        companions = {"genes": result.genes, "variants": result.variants}
        if people is not None:
            companions["tests"] = _tests(
                store, result, people, (model.value, firth.value, test is Test.all, weights != "none")
            )
        ids = store.samples["sample_id"] if samples is None else store.samples["sample_id"][samples]
        loaded = opened.report.to_dict() if opened.report is not None else None
        counts = {"loading": loaded, "burden": result.counts, **_summary(result, len(ids), companions.get("tests"))}
        counts |= {} if related is None else {"kinship": related}
        if test is Test.all:
            own = weights if weights in ("beta", "madsen-browning") else "those of --weights"
            counts["weights of SKAT and SKAT-O"] = "Beta(1, 25)" if weights == "none" else own
        names = [one.name for one in result.sets]
        written = write_burden(out, ids.to_list(), names, result.matrix.values, companions, counts)
    _tell(counts, written, strict=strict, quiet=quiet, as_json=as_json)


def _source(
    annotation: Path | None, genes: Path | None, info_key: str | None, set_list: Path | None
) -> Annotation | pl.DataFrame:
    from genomix.errors import ConfigError
    from genomix.io.annotation import read_any_annotation, read_gene_bed

    if (annotation is None) == (genes is None):
        raise ConfigError("genes come either from --annotation or from --genes", hint="give one of them")
    if annotation is not None:
        return read_any_annotation(annotation, key=info_key, set_list=set_list)
    assert genes is not None
    return read_gene_bed(genes)


def _options(
    source: Any, mask: list[str] | None, masks: Path | None, max_frequency: float, frequencies: Path | None,
    transcripts: Transcripts, collapse: Collapse | None, weights: str, missing: Missing, counted: Counted,
) -> BurdenOptions:  # fmt: skip
    from genomix.errors import ConfigError
    from genomix.io.annotation import Annotation, read_mask_file
    from genomix.io.tables import read_table
    from genomix.variants.burden import WEIGHTS, BurdenOptions
    from genomix.variants.gene_masks import ANY_VARIANT, make_mask

    if mask and masks is not None:
        raise ConfigError("masks are given twice", hint="--mask or --masks")
    default = ["lof", "missense+lof"] if isinstance(source, Annotation) else [ANY_VARIANT]
    entries: list[Any] = list(read_mask_file(masks)) if masks is not None else list(mask or default)
    text = ("contig", "variant_id", "ref", "alt")
    return BurdenOptions(
        tuple(make_mask(entry, max_frequency) for entry in entries),
        transcripts=transcripts.value,
        collapse=collapse.value if collapse is not None else None,
        weights=weights if weights in WEIGHTS else read_table(Path(weights), text=text),
        missing=missing.value,
        counted=counted.value,
        frequencies=read_table(frequencies, text=text) if frequencies is not None else None,
    )


def _people(
    store: GenotypeStore, samples: npt.NDArray[np.int64] | None,
    files: tuple[Path, str | None, Path | None, str | None, Path | None], kind: Any, missing_value: str,
) -> PeopleTested:  # fmt: skip
    """One phenotype, covariates and offsets of the samples."""
    from genomix.io.loco import read_offsets
    from genomix.io.phenotypes import read_covariates, read_phenotypes
    from genomix.variants.burden_test import gather_people_of
    from genomix_cli.association_inputs import missing_number, names_of

    phenotype, name, covariates, covariate_names, offset = files
    number = missing_number(missing_value)
    table = read_phenotypes(phenotype, names_of(name), kind=kind, missing_value=number)
    others = None
    if covariates is not None:
        others = read_covariates(covariates, names_of(covariate_names), missing_value=number)
    offsets = read_offsets(offset, store.samples["sample_id"].to_list()) if offset is not None else None
    return gather_people_of(store, table, others, offsets=offsets, samples=samples)


def _check_relatives(store: GenotypeStore, people: PeopleTested, kinship: Path | None, quiet: bool) -> dict[str, Any]:
    """Refuse relatives among the people with phenotype and covariates, as ``assoc`` does."""
    import numpy as np

    from genomix_cli.association_inputs import check_related

    complete = np.isfinite(people.phenotype) & np.isfinite(people.covariates).all(axis=1)
    return check_related(store, people.samples[complete], kinship, quiet)


def _tests(store: GenotypeStore, result: BurdenResult, people: PeopleTested, how: tuple[Any, Any, bool, bool]) -> Any:
    from genomix.variants.burden_test import run_gene_tests

    return run_gene_tests(store, result, people, model=how[0], firth=how[1], variance_tests=how[2], own_weights=how[3])


def _summary(result: BurdenResult, n_samples: int, tests: pl.DataFrame | None) -> dict[str, Any]:
    """Counts of genes in and out by reason."""
    reasons = result.genes.group_by("reason").len().sort("reason")
    left_out = {f"genes x masks: {r}": int(n) for r, n in reasons.iter_rows() if r}
    summary: dict[str, Any] = {
        "samples": n_samples,
        "genes": int(result.genes["gene"].n_unique()),
        "genes x masks with a burden": len(result.sets),
        **left_out,
    }
    if tests is not None:
        summary["tests"] = tests.height
        summary["tests with a result"] = int(tests["p"].drop_nulls().len())
    return summary


_LACKING = {
    "alleles of the genotypes that the annotation file lacks": (
        "alleles of the genotypes are not in the annotation file",
        "annotate the same variants",
    ),
    "qualifying alleles that the frequency table lacks": (
        "qualifying alleles are not in the table of --frequencies: they count with their frequency in these samples",
        "a table that has them",
    ),
    "qualifying alleles that the weight table lacks": (
        "qualifying alleles are not in the table of --weights: they are left out",
        "a table that has them",
    ),
}
"""Counts of what was not known, in words, and what to do; a table's are warned of, and all are errors if strict."""


def _tell(counts: dict[str, Any], written: list[Path], *, strict: bool, quiet: bool, as_json: bool) -> None:
    from genomix.errors import StrictError
    from genomix_cli.console import print_json, say

    if as_json:
        print_json(counts)
    for name, number in {**counts["burden"], **{k: v for k, v in counts.items() if isinstance(v, int)}}.items():
        say(f"{name}: {number:,}", quiet=quiet)
    if "weights of SKAT and SKAT-O" in counts:
        say(f"weights of SKAT and SKAT-O: {counts['weights of SKAT and SKAT-O']}", quiet=quiet)
    say("written: " + ", ".join(path.name for path in written), quiet=quiet)
    for words, (what, hint) in _LACKING.items():
        without = counts["burden"].get(words, 0)
        if without and strict:
            raise StrictError(f"{without:,} {what}, under --strict", hint=f"{hint}, or leave out --strict")
        if without and "table" in words:
            say(f"warning: {without:,} {what}", quiet=quiet)
