"""``genomix variants assoc``: test every variant for association with phenotypes."""

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
    ThreadsOption,
)

if TYPE_CHECKING:
    from genomix.io.loco import Offsets
    from genomix.io.plink import GenotypeStore

_EXAMPLE = """Examples:

\b
  genomix variants assoc cohort --phenotype traits.tsv --phenotype-name height \\
      --covariates pcs.tsv --covariate-names age,PC1,PC2 -o height.parquet --plots height
  genomix variants assoc cohort --phenotype traits.tsv --phenotype-name t2d --firth-p 0.05 \\
      --offset step1_pred.list --tsv t2d.tsv
"""


class ModelOption(StrEnum):
    """Which regression."""

    auto = "auto"
    linear = "linear"
    logistic = "logistic"
    firth = "firth"


class FirthTest(StrEnum):
    """How Firth regression is tested."""

    wald = "wald"
    likelihood_ratio = "likelihood-ratio"


class LogisticTest(StrEnum):
    """How logistic regression is tested."""

    wald = "wald"
    score = "score"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("assoc", epilog=_EXAMPLE, short_help="Test variants for association.")(assoc)


def assoc(
    genotypes: GenotypesArgument,
    phenotype: Annotated[
        Path, typer.Option("--phenotype", help="Table of phenotypes: PLINK 2, regenie, TSV, CSV or Parquet.")
    ],
    phenotype_name: Annotated[
        str | None, typer.Option("--phenotype-name", help="Phenotypes to test, comma-separated; by default all.")
    ] = None,
    phenotype_kind: Annotated[
        PhenotypeKind,
        typer.Option(
            "--phenotype-kind",
            help="auto: a column of only 1 and 2 (2 a case; 0 is missing), or only 0 and 1 (1 a case), is "
            "case-control; a count of 0, 1 and 2 needs quantitative.",
        ),
    ] = PhenotypeKind.auto,
    missing_value: MissingValueOption = "-9",
    covariates: Annotated[
        Path | None,
        typer.Option("--covariates", help="Table of covariates, or PREFIX.components.parquet of variants pca."),
    ] = None,
    covariate_names: Annotated[
        str | None,
        typer.Option(
            "--covariate-names",
            help="Covariates to use, comma-separated, spelt as in the table; by default all, of components only pc_*.",
        ),
    ] = None,
    model: Annotated[
        ModelOption, typer.Option("--model", help="auto: logistic for case-control phenotypes, else linear.")
    ] = ModelOption.auto,
    firth_fallback: Annotated[
        bool, typer.Option("--firth-fallback/--no-firth-fallback", help="Firth regression where logistic fails.")
    ] = True,
    firth_p: Annotated[
        float | None,
        typer.Option("--firth-p", min=0, max=1, help="Firth regression also where the logistic P is below this."),
    ] = None,
    firth_test: Annotated[FirthTest, typer.Option("--firth-test", help="Test of Firth's estimate.")] = FirthTest.wald,
    firth_approximate: Annotated[
        bool, typer.Option("--firth-approximate", help="Penalise the genotype only, as regenie --approx.")
    ] = False,
    logistic_test: Annotated[
        LogisticTest, typer.Option("--logistic-test", help="wald as PLINK 2, score as regenie.")
    ] = LogisticTest.wald,
    min_allele_count: Annotated[
        float, typer.Option("--min-allele-count", min=0, help="Fewest copies of the rarer allele that are tested.")
    ] = 5.0,
    max_vif: Annotated[
        float, typer.Option("--max-vif", min=1, help="Largest variance inflation factor, also among covariates.")
    ] = 50.0,
    max_corr: Annotated[
        float, typer.Option("--max-corr", min=0, max=1, help="Largest correlation with, and among, covariates.")
    ] = 0.999,
    sex_on_x: Annotated[
        bool, typer.Option("--sex-on-x/--no-sex-on-x", help="Sex as a covariate on X, where men have 0 or 2 copies.")
    ] = True,
    offset: Annotated[
        Path | None,
        typer.Option("--offset", help="Predictions without the tested chromosome: regenie _pred.list, .loco, table."),
    ] = None,
    kinship: Annotated[
        Path | None,
        typer.Option(
            "--kinship", help="Pairs of genomix variants kinship, or PLINK 2's .kin0, by name; by default computed."
        ),
    ] = None,
    allow_related: AllowRelatedOption = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="All results: .parquet, .tsv or .tsv.gz.")] = None,
    tsv: Annotated[
        Path | None, typer.Option("--tsv", help="A .tsv or .tsv.gz per phenotype, PLINK 2's columns.")
    ] = None,
    plots: Annotated[
        str | None, typer.Option("--plots", help="Prefix of Manhattan and QQ plots, .svg and .png.")
    ] = None,
    keep: KeepSamplesOption = None,
    sample_info: SampleInfoOption = None,
    build: BuildOption = None,
    threads: ThreadsOption = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Test every variant for association: linear, logistic or Firth regression with covariates.

    Related samples (kinship above 0.177) are refused unless --offset or --allow-related is given. A variant that cannot
    be tested keeps its row, with the reason in errcode. Exit codes: 7 for a phenotype that cannot be tested or related
    samples, 8 for options that do not fit, covariates that are nearly copies of each other included.
    """
    from genomix.errors import ConfigError

    if out is None and tsv is None:
        raise ConfigError("nothing would be written", hint="-o RESULTS.parquet, --tsv RESULTS.tsv, or both")
    from genomix.io.load_options import LoadOptions
    from genomix.io.opening import opened_store
    from genomix.io.phenotypes import read_covariates, read_phenotypes
    from genomix.io.sample_tables import read_sample_info
    from genomix.variants.assoc_block import AssociationOptions
    from genomix_cli.association_inputs import check_idle_kinship, check_related, missing_number, names_of
    from genomix_cli.console import print_json, say
    from genomix_cli.genotype_samples import numbers_of
    from genomix_cli.outputs import table_format
    from genomix_cli.progress import progress

    if out is not None:
        table_format(out)
    if tsv is not None:
        table_format(tsv, (".tsv", ".tsv.gz"))
    number = missing_number(missing_value)
    traits = read_phenotypes(phenotype, names_of(phenotype_name), kind=phenotype_kind.value, missing_value=number)
    inputs = (genotypes, phenotype, covariates, offset, kinship, keep, sample_info)
    _check_paths(out, tsv, plots, traits.names, inputs)
    if allow_related or offset is not None:
        check_idle_kinship(kinship, allow_related=allow_related, quiet=quiet)
    table = None
    if covariates is not None:
        table = read_covariates(
            covariates, names_of(covariate_names), missing_value=number, report=lambda line: say(line, quiet=quiet)
        )
    elif covariate_names:
        raise ConfigError("--covariate-names without --covariates")
    _refuse_idle(
        traits.kinds, model.value,
        {"--firth-p": firth_p is not None, "--firth-approximate": firth_approximate,
         "--firth-test": firth_test is not FirthTest.wald, "--logistic-test": logistic_test is not LogisticTest.wald,
         "--no-firth-fallback": not firth_fallback},
    )  # fmt: skip
    options = AssociationOptions(
        model=model.value, firth_fallback=firth_fallback, firth_p=firth_p,
        firth_test="wald" if firth_test is FirthTest.wald else "likelihood_ratio",
        firth_approximate=firth_approximate, logistic_test=logistic_test.value,
        min_allele_count=min_allele_count, max_vif=max_vif, max_correlation=max_corr, sex_on_x=sex_on_x,
    )  # fmt: skip
    info = None if sample_info is None else read_sample_info(sample_info)
    loading = LoadOptions(build=build, sex=info, threads=threads)
    with (
        progress("reading", "records", quiet=quiet) as reading,
        opened_store(genotypes, loading, progress=reading) as opened,
    ):
        store = opened.store
        from genomix.variants.association import people_of, tested_samples

        kept = None if keep is None else numbers_of(store, keep)
        people = people_of(store, traits, covariates=table, offsets=_offsets(offset, store), samples=kept)
        summary: dict[str, Any] = {}
        if offset is None and not allow_related:
            summary["kinship"] = check_related(store, tested_samples(people), kinship, quiet)
        result = _run(store, people, options, out, tsv, plots, threads, quiet)
    summary = {**result, **summary}
    if as_json:
        print_json(summary)
    else:
        for line in _lines(summary):
            say(line, quiet=quiet)


def _refuse_idle(kinds: Any, model: Any, given: dict[str, bool]) -> None:
    """Refuse options of logistic and Firth regression where neither is used."""
    from genomix.errors import ConfigError
    from genomix.variants.assoc_design import model_of

    idle = [name for name, is_given in given.items() if is_given]
    if idle and all(model_of(kind, model, name) == "linear" for name, kind in kinds.items()):
        raise ConfigError(
            f"{idle[0]} is about logistic regression, and every phenotype is tested by linear regression",
            hint=f"leave {idle[0]} out, or see --model and --phenotype-kind",
        )


def _run(
    store: GenotypeStore, people: Any, options: Any, out: Path | None, tsv: Path | None, plots: str | None,
    threads: int, quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    """Scan, write results and plots; return the summary."""
    from genomix.io.association_files import association_writer
    from genomix.variants.assoc_design import model_of
    from genomix.variants.assoc_run import run_association
    from genomix_cli.progress import progress

    kinds: dict[str, str] = {n: model_of(k, options.model, n) for n, k in zip(people.names, people.kinds, strict=True)}
    with (
        association_writer(out, tsv, kinds) as writer,
        progress("testing", "variants", quiet=quiet) as testing,
    ):
        run = run_association(
            store, people, writer.write, options=options, threads=threads, keep_points=plots is not None,
            progress=testing,
        )  # fmt: skip
    if plots is not None:
        _write_plots(run.points, plots)
    return run.summary


def _check_paths(out: Path | None, tsv: Path | None, plots: str | None, names: list[str], inputs: Any) -> None:
    """Refuse names that would overwrite an input, or one result with another, and folders that take no files."""
    from genomix.io.association_files import result_paths
    from genomix_cli.genotype_samples import check_outputs

    outputs = result_paths(out, tsv, names)
    for name in names if plots is not None else ():
        for path in (f"{_plot_stem(str(plots), name, len(names))}.{end}" for end in _PLOTS):
            outputs[f"plot {path}"] = Path(path)
    check_outputs(outputs, inputs)


_PLOTS = ("manhattan.svg", "manhattan.png", "qq.svg", "qq.png")


def _plot_stem(prefix: str, name: str, n_phenotypes: int) -> str:
    return prefix if n_phenotypes == 1 else f"{prefix}.{name.replace('/', '_')}"


def _write_plots(points: Any, prefix: str) -> None:
    from genomix.provenance import write_bytes
    from genomix.variants.association_plots import manhattan_svg_png, qq_svg_png

    for name, shown in points.items():
        stem = _plot_stem(prefix, name, len(points))
        for kind, data in manhattan_svg_png(shown, name).items():
            write_bytes(Path(f"{stem}.manhattan.{kind}"), data)
        for kind, data in qq_svg_png(shown.minus_log10_p, name).items():
            write_bytes(Path(f"{stem}.qq.{kind}"), data)


def _offsets(path: Path | None, store: GenotypeStore) -> Offsets | None:
    if path is None:
        return None
    from genomix.io.loco import read_offsets

    return read_offsets(path, store.samples["sample_id"].to_list())


def _lines(summary: dict[str, Any]) -> list[str]:
    """What a run says: samples and variants, in and out by reason."""
    samples = summary["samples"]
    lines = [f"samples: {samples['in_genotypes']:,} in the genotypes, {samples['not_chosen']:,} not kept"]
    for name, found in summary["phenotypes"].items():
        flow = samples[name]
        cases = f" ({flow['cases']:,} cases)" if "cases" in flow else ""
        lines.append(
            f"{name}: {flow['tested']:,} samples tested{cases}, {flow['no_phenotype']:,} without phenotype, "
            f"{flow['no_covariate']:,} without a covariate"
            + (f", {flow['no_offset']:,} without an offset" if "no_offset" in flow else "")
        )
        reasons = ", ".join(f"{count:,} {code}" for code, count in found["not_tested"].items()) or "none left out"
        factor = "not estimable" if found["lambda_gc"] is None else f"{found['lambda_gc']:.4f}"
        lines.append(
            f"{name}: {found['variants']:,} variants, {found['tested']:,} tested ({found['by_firth']:,} by Firth), "
            f"{reasons}; lambda GC {factor}"
        )
    return lines
