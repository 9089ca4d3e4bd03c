"""``genomix variants score``: polygenic scores of every sample, with a report of what matched."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.options import (
    BuildOption,
    GenotypesArgument,
    JsonOption,
    KeepSamplesOption,
    QuietOption,
    SampleInfoOption,
    StrictOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    import polars as pl

    from genomix.io.pgs_catalog import ScoreTable
    from genomix.io.plink import GenotypeStore
    from genomix.variants.scores import Ancestry, DiscoveryCohorts, ScoringOptions, ScoringResult

_EXAMPLE = """Examples:

\b
  genomix variants score cohort --score-file PGS000001_hmPOS_GRCh38.txt.gz -o scores.parquet
  genomix variants score cohort -s A.txt.gz -s B.txt.gz --frequencies ref.afreq --ambiguous resolve -o scores.tsv
  genomix variants score cohort -s A.txt.gz --fit-samples unrelated_training.txt --compute-pcs 4 -o scores.parquet
"""

_ADJUSTED_FOR = 4


class Ambiguity(StrEnum):
    """What becomes of A/T and C/G variants."""

    drop = "drop"
    keep = "keep"
    resolve = "resolve"


class MissingGenotypes(StrEnum):
    """What a missing genotype counts as."""

    mean = "mean"
    none = "none"


class Adjustment(StrEnum):
    """Which z-scores are given."""

    mean = "mean"
    mean_variance = "mean+variance"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("score", epilog=_EXAMPLE, short_help="Polygenic scores, one or many in one pass.")(score)


def score(
    source: GenotypesArgument,
    score_file: Annotated[
        list[Path],
        typer.Option(
            "--score-file",
            "-s",
            metavar="FILE",
            show_default=False,
            help="PGS Catalog scoring file, combined file or TSV; repeatable.",
        ),
    ],
    score_columns: Annotated[
        str | None,
        typer.Option("--score-columns", metavar="A,B", help="Weight columns of wide tables: a score of each name."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="NAME.parquet or NAME.tsv; .matches and .json lie beside. Default: stdout."),
    ] = None,
    build: BuildOption = None,
    sample_info: SampleInfoOption = None,
    keep: KeepSamplesOption = None,
    ambiguous: Annotated[
        Ambiguity,
        typer.Option("--ambiguous", help="A/T and C/G variants; resolve compares the frequencies in file and samples."),
    ] = Ambiguity.drop,
    match_ids: Annotated[
        bool, typer.Option("--match-ids", help="Look rows without a position up by their ID in the genotypes.")
    ] = False,
    min_overlap: Annotated[
        float, typer.Option("--min-overlap", min=0, max=1, help="Smallest share of a score's variants to accept.")
    ] = 0.75,
    missing: Annotated[
        MissingGenotypes,
        typer.Option("--missing", help="A missing genotype counts as expected from the allele frequency, or nothing."),
    ] = MissingGenotypes.mean,
    frequencies: Annotated[
        Path | None, typer.Option("--frequencies", help="Allele frequencies: plink2 .afreq, or Parquet (qc's).")
    ] = None,
    fit_samples: Annotated[
        Path | None,
        typer.Option(
            "--fit-samples", help="Unrelated training samples that frequencies, PCs and z-scores are fitted on."
        ),
    ] = None,
    pcs: Annotated[
        Path | None, typer.Option("--pcs", help="Table with sample_id (or IID), PC1, PC2, ...: gives z-scores.")
    ] = None,
    compute_pcs: Annotated[
        int | None, typer.Option("--compute-pcs", min=1, help="Compute this many PCs instead: gives z-scores.")
    ] = None,
    n_pcs: Annotated[
        int | None,
        typer.Option(
            "--n-pcs", min=1, show_default=str(_ADJUSTED_FOR), help="PCs of --pcs that scores are adjusted for."
        ),
    ] = None,
    adjust: Annotated[
        Adjustment | None,
        typer.Option(
            "--adjust",
            show_default=Adjustment.mean_variance.value,
            help="z-scores for the mean by ancestry, or for mean and variance too.",
        ),
    ] = None,
    reference_scores: Annotated[
        Path | None,
        typer.Option("--reference-scores", help="NAME_sum of reference people, to fit on instead; --pcs has theirs."),
    ] = None,
    discovery_cohorts: Annotated[
        list[str] | None,
        typer.Option(
            "--discovery-cohorts",
            metavar="[SCORE=]none|overlaps|unknown",
            help="Whether a score was made in these people; repeatable.",
        ),
    ] = None,
    details: Annotated[
        Path | None, typer.Option("--details", help="Write what became of every weight (.parquet or .tsv).")
    ] = None,
    threads: ThreadsOption = 1,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sum weights times copies of the effect allele, for each sample and score; a score is no probability.

    Columns per score: _sum, _average (sum / DENOM), _ALLELE_CT and _DENOM as plink2's; with PCs _z_mean and
    _z_mean_variance. On X outside the pseudo-autosomal regions men count 0 or 2 copies; Y and MT count 0 or 1.
    """
    from genomix.errors import ConfigError
    from genomix.io.load_options import LoadOptions
    from genomix.io.opening import opened_store
    from genomix.io.sample_tables import read_sample_info
    from genomix.io.score_tables import check_score_output, score_paths
    from genomix.variants.scores import build_warning, score_samples
    from genomix_cli.console import say
    from genomix_cli.genotype_samples import check_outputs
    from genomix_cli.progress import progress

    for path in (out, details):
        if path is not None:
            check_score_output(path)
    if pcs is not None and compute_pcs is not None:
        raise ConfigError("--pcs and --compute-pcs exclude each other")
    if n_pcs is not None and pcs is None:
        raise ConfigError("--n-pcs without --pcs", hint="--compute-pcs says how many are computed and adjusted for")
    if adjust is not None and pcs is None and compute_pcs is None:
        raise ConfigError("--adjust without --pcs or --compute-pcs: z-scores need components")
    if reference_scores is not None and pcs is None:
        raise ConfigError("--reference-scores need --pcs with the components of samples and reference people")
    inputs = [source, *score_file, sample_info, keep, frequencies, fit_samples, pcs, reference_scores]
    check_outputs({**(score_paths(out) if out is not None else {}), "--details": details}, inputs)
    tables = _read_scores(score_file, score_columns, strict=strict)
    cohorts = _cohorts(discovery_cohorts or [], [t.header.name for t in tables])
    loading = LoadOptions(build=build, sex=read_sample_info(sample_info) if sample_info else None, threads=threads)
    with (
        progress("reading", "records", quiet=quiet) as reading,
        opened_store(source, loading, progress=reading) as opened,
    ):
        warnings: list[str] = []
        for table in tables:
            unsure = build_warning(table.header.name, table.header.build, opened.store.build)
            warnings += [] if unsure is None else [unsure]
        unknown: list[str] = []
        left_out = {} if opened.report is None else opened.report.records_left_out
        options = _options(
            opened.store, source, keep, None if reference_scores is not None else fit_samples, frequencies, unknown,
            ambiguous=ambiguous.value, match_ids=match_ids, minimum_coverage=min_overlap, imputation=missing.value,
            variance=adjust is not Adjustment.mean, threads=threads,
        )  # fmt: skip
        ancestry = _ancestry(
            opened.store, options, pcs, compute_pcs, n_pcs or _ADJUSTED_FOR, reference_scores, fit_samples
        )
        if options.fit_samples is None and (ancestry is not None and reference_scores is None):
            warnings.append(
                "z-scores are fitted on the scored samples themselves: --fit-samples names training samples"
            )
        with progress("scoring", "variants", quiet=quiet) as scoring:
            result = score_samples(
                opened.store, tables, options, ancestry=ancestry, discovery_cohorts=cohorts, progress=scoring
            )
    _write(result, out, details, as_json=as_json)
    for reason, count in left_out.items():
        say(f"records left out when reading: {reason}: {count:,}", quiet=quiet)
    _tell(result, warnings, len(unknown), quiet=quiet, strict=strict)


def _read_scores(paths: list[Path], columns: str | None, *, strict: bool) -> list[ScoreTable]:
    from genomix.io.pgs_catalog import read_score_tables

    names = None if columns is None else tuple(name.strip() for name in columns.split(",") if name.strip())
    return [table for path in paths for table in read_score_tables(path, strict=strict, weight_columns=names)]


def _cohorts(given: list[str], names: list[str]) -> dict[str, DiscoveryCohorts]:
    """Declared discovery cohorts by score; a bare value stands for every score that is not named."""
    from genomix.errors import ConfigError

    known: dict[str, DiscoveryCohorts] = {"none": "none", "overlaps": "overlaps", "unknown": "unknown"}
    found: dict[str, DiscoveryCohorts] = {}
    for text in sorted(given, key=lambda t: "=" in t):
        name, _, value = text.rpartition("=")
        if value not in known or (name and name not in names):
            raise ConfigError(
                f"--discovery-cohorts {text!r} is not understood", hint="[SCORE=]none, overlaps or unknown; scores: "
                + ", ".join(names),
            )  # fmt: skip
        found.update(dict.fromkeys([name] if name else names, known[value]))
    return found


def _options(
    store: GenotypeStore,
    source: Path,
    keep: Path | None,
    fit_samples: Path | None,
    frequencies: Path | None,
    unknown: list[str],
    **others: Any,
) -> ScoringOptions:
    """The options; a list with names that the genotypes lack (told on stderr already) is added to ``unknown``."""
    from genomix.io.score_frequencies import read_frequencies
    from genomix.variants.scores import ScoringOptions
    from genomix_cli.genotype_samples import numbers_of, numbers_to_fit

    kept = numbers_of(store, keep, genotypes=source, unknown=unknown)
    fitted = None
    if fit_samples is not None:
        fitted = numbers_to_fit(store, fit_samples, kept, keep=keep, genotypes=source, unknown=unknown)
    return ScoringOptions(
        samples=None if keep is None else kept,
        fit_samples=fitted,
        frequencies=read_frequencies(frequencies) if frequencies is not None else None,
        **others,
    )


def _ancestry(
    store: GenotypeStore,
    options: ScoringOptions,
    pcs: Path | None,
    compute_pcs: int | None,
    n_pcs: int,
    reference_scores: Path | None,
    fit_samples: Path | None,
) -> Ancestry | None:
    from genomix.io.sample_tables import read_sample_list
    from genomix.io.score_tables import read_components, read_reference_scores
    from genomix.variants.score_ancestry import fitted_ancestry, given_ancestry

    if compute_pcs is not None:
        return fitted_ancestry(
            store, n_components=compute_pcs, fit_samples=options.fit_samples, samples=options.samples
        )
    if pcs is None:
        return None
    scored = store.samples["sample_id"] if options.samples is None else store.samples[options.samples]["sample_id"]
    return given_ancestry(
        read_components(pcs, n_pcs), scored, origin=f"{n_pcs} given components",
        reference_scores=read_reference_scores(reference_scores) if reference_scores is not None else None,
        fit_ids=read_sample_list(fit_samples) if fit_samples is not None else None,
    )  # fmt: skip


def _write(result: ScoringResult, out: Path | None, details: Path | None, *, as_json: bool) -> None:
    from genomix.io.score_tables import write_frame, write_scores
    from genomix.io.spreadsheet import spreadsheet_safe
    from genomix_cli.console import print_json

    if details is not None:
        write_frame(details, result.verdicts)
    if out is not None:
        write_scores(out, result.samples, result.matches, result.metadata)
    if as_json:
        print_json(result.metadata)
    elif out is None:
        print(spreadsheet_safe(result.samples).write_csv(separator="\t", null_value="NA"), end="")


def _tell(result: ScoringResult, warnings: list[str], told: int, *, quiet: bool, strict: bool) -> None:
    """Print the match report and the warnings; under ``strict`` these and those ``told`` before end in an exit code."""
    from genomix.errors import StrictError
    from genomix_cli.console import say

    for facts in result.metadata["scores"]:
        say(
            f"{facts['name']}: {facts['coverage']:.1%} of {facts['n_variants']:,} variants used, "
            f"{facts['weight_coverage']:.1%} of the sum of absolute weights; "
            f"discovery cohorts {facts['discovery_cohorts']}",
            quiet=quiet,
        )
        for row in _rows(result.matches, facts["name"]):
            say(f"  {row['status']}: {row['n_weights']:,} ({row['weight_share']:.2%} of weights)", quiet=quiet)
        if facts["n_without_frequency"]:
            warnings.append(f"{facts['name']}: {facts['n_without_frequency']} variants have no allele frequency")
    say(f"{result.samples.height:,} samples scored; {result.metadata['imputation']}", quiet=quiet)
    for text in warnings:
        say(f"warning: {text}")
    if strict and (told or warnings):
        raise StrictError(f"{told + len(warnings)} warning(s) under --strict", hint="mend them, or leave out --strict")


def _rows(matches: pl.DataFrame, name: str) -> list[dict[str, Any]]:
    import polars as pl

    return matches.filter((pl.col("score") == name) & (pl.col("n_weights") > 0)).to_dicts()
