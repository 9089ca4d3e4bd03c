"""``genomix variants qc``: figures of every variant and sample, and what each threshold removes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from genomix_cli.options import (
    AutosomesOption,
    BuildOption,
    GenotypesArgument,
    JsonOption,
    KeepSamplesOption,
    QuietOption,
    SampleInfoOption,
    TablesPrefixOption,
    ThreadsOption,
    a_number,
)

if TYPE_CHECKING:
    import polars as pl

    from genomix.io.plink import GenotypeStore
    from genomix.variants.qc import SampleThresholds, VariantThresholds
    from genomix.variants.sample_qc import SexCheck

_EXAMPLE = """Examples:

\b
  genomix variants qc cohort -o cohort_qc
  genomix variants qc imputed.vcf.gz -o imputed_qc --min-imputation-quality 0.8 --filter-pass --hwe 1e-10
  genomix variants qc cohort -o cohort_qc --sample-info people.tsv --ancestry-column population --duplicates
"""


class _Tables(NamedTuple):
    """Three tables; what the check of sexes found (None: not asked); pairs that could not be compared."""

    variants: pl.DataFrame
    samples: pl.DataFrame
    removed: pl.DataFrame
    sexes: SexCheck | None
    without_kinship: int = 0


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("qc", epilog=_EXAMPLE, short_help="Quality control of variants and samples.")(qc)


def qc(
    source: GenotypesArgument,
    out: TablesPrefixOption,
    build: BuildOption = None,
    sample_info: SampleInfoOption = None,
    keep: KeepSamplesOption = None,
    call_rate: Annotated[
        float,
        typer.Option(
            "--call-rate",
            min=0,
            max=1,
            callback=a_number,
            help="Smallest call rate of a variant (1 - plink2's --geno).",
        ),
    ] = 0.95,
    maf: Annotated[
        float,
        typer.Option(
            "--maf", min=0, max=0.5, callback=a_number, help="Smallest minor allele frequency; monomorphic never pass."
        ),
    ] = 0.01,
    hwe: Annotated[
        float,
        typer.Option("--hwe", min=0, max=1, callback=a_number, help="Smallest exact mid-p of Hardy-Weinberg."),
    ] = 1e-6,
    hwe_both_sides: Annotated[
        bool,
        typer.Option(
            "--hwe-both-sides", help="Without --ancestry-column, too few heterozygotes fail --hwe too, not only excess."
        ),
    ] = False,
    min_imputation_quality: Annotated[
        float | None,
        typer.Option(
            "--min-imputation-quality", min=0, max=1, callback=a_number, help="Smallest R2, DR2, ER2 or INFO."
        ),
    ] = None,
    filter_pass: Annotated[bool, typer.Option("--filter-pass", help="Remove variants whose FILTER is not PASS.")] = (
        False
    ),
    sample_call_rate: Annotated[
        float,
        typer.Option(
            "--sample-call-rate",
            min=0,
            max=1,
            callback=a_number,
            help="Smallest call rate of a sample, over autosomal records with one ALT.",
        ),
    ] = 0.95,
    het_sd: Annotated[
        float,
        typer.Option(
            "--het-sd",
            min=0,
            max=1000,
            callback=a_number,
            help="Largest distance of F from its label's mean in SD; 0: no bound.",
        ),
    ] = 3.0,
    check_sex: Annotated[
        bool,
        typer.Option(
            "--check-sex/--no-check-sex", help="Remove samples whose X contradicts; needs 100 variants on X that pass."
        ),
    ] = True,
    female_max_f: Annotated[
        float,
        typer.Option("--check-sex-female-max-f", min=-10, max=1, callback=a_number, help="X F of a female at most."),
    ] = 0.2,
    male_min_f: Annotated[
        float,
        typer.Option("--check-sex-male-min-f", min=-10, max=1, callback=a_number, help="X F of a male at least."),
    ] = 0.8,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Find pairs with a KING kinship above 0.354, keep one of each.")
    ] = False,
    ancestry_column: Annotated[
        str | None, typer.Option("--ancestry-column", help="Labels: F within each, Hardy-Weinberg in the largest.")
    ] = None,
    autosomes: AutosomesOption = 22,
    threads: ThreadsOption = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write PREFIX.variants.parquet, PREFIX.samples.parquet and PREFIX.thresholds.tsv.

    Variants: counts, frequency, call rate, Hardy-Weinberg, imputation quality, FILTER. Samples: call rate,
    heterozygosity, sex by X, singletons, Ti/Tv. Both: whether it is kept, else the first threshold that it failed.
    Counts are of hard calls, also where the file holds dosages. A threshold of 0 removes nothing (but --maf).
    """
    from genomix.errors import ConfigError
    from genomix.io.score_tables import write_frame
    from genomix.variants.qc import SampleThresholds, VariantThresholds
    from genomix_cli.genotype_samples import check_outputs, labels_of, opened_samples

    if female_max_f > male_min_f:
        raise ConfigError("--check-sex-female-max-f above --check-sex-male-min-f: some X F would be of both sexes")
    paths = _paths(out)
    check_outputs({path.name: path for path in paths}, (source, keep, sample_info))
    of_variants = VariantThresholds(
        call_rate, maf, hwe, min_imputation_quality, filter_pass, False if hwe_both_sides else None
    )
    never = float("inf")
    of_samples = SampleThresholds(
        sample_call_rate, het_sd or None, female_max_f if check_sex else -never, male_min_f if check_sex else never,
        remove_duplicates=duplicates,
    )  # fmt: skip
    with opened_samples(source, build=build, sample_info=sample_info, keep=keep, threads=threads, quiet=quiet) as (
        store,
        chosen,
    ):
        ancestry = labels_of(store, ancestry_column)
        tables = _tables(store, chosen, of_variants, of_samples, ancestry, duplicates, autosomes, check_sex)
    for path, table in zip(paths, tables[:3], strict=True):
        write_frame(path, table)
    _tell(tables, quiet=quiet, as_json=as_json)


def _tables(
    store: GenotypeStore, chosen: Any, of_variants: VariantThresholds, of_samples: SampleThresholds,
    ancestry: pl.Series | None, duplicates: bool, autosomes: int, check_sex: bool,
) -> _Tables:  # fmt: skip
    import numpy as np
    import polars as pl

    from genomix.schemas.genotypes import QC_THRESHOLDS
    from genomix.variants.genotype_counts import autosomal_biallelic
    from genomix.variants.qc import sample_qc, threshold_table, variant_qc
    from genomix.variants.sample_qc import DUPLICATE, sex_check, x_variants

    variants = variant_qc(store, of_variants, samples=chosen, ancestry=ancestry, autosomes=autosomes)
    passed = np.flatnonzero(variants["keep"].to_numpy())
    pairs, compared = None, None
    if duplicates:
        from genomix.variants.kinship import PairCounts, kinship_pairs

        compared = PairCounts()
        rows = np.intersect1d(passed, np.flatnonzero(autosomal_biallelic(store, autosomes=autosomes)))
        pairs = kinship_pairs(store, variants=rows, samples=chosen, minimum=DUPLICATE, counted=compared)
    samples = sample_qc(
        store, of_samples, ancestry=ancestry, variants=passed, samples=chosen, pairs=pairs, counted=variants,
        autosomes=autosomes,
    )  # fmt: skip
    removed = pl.concat(
        threshold_table(table, limits).select(pl.lit(unit).alias("unit"), pl.all())
        for unit, table, limits in (("variants", variants, of_variants), ("samples", samples, of_samples))
    )
    is_on = pl.col("value").is_finite().fill_null(False) | (pl.col("threshold") == "filter")
    sexes = sex_check(samples, x_variants(store, passed, autosomes=autosomes), of_samples) if check_sex else None
    idle = pl.lit(sexes.idle if sexes is not None else None, dtype=pl.String)
    note = pl.when(pl.col("threshold") == "sex_mismatch").then(idle).alias("note")
    table = QC_THRESHOLDS.validate(removed.filter(is_on).with_columns(note))
    return _Tables(variants, samples, table, sexes, compared.undefined if compared is not None else 0)


def _paths(out: Path) -> list[Path]:
    from genomix_cli.genotype_samples import with_suffix_added

    return [with_suffix_added(out, e) for e in ("variants.parquet", "samples.parquet", "thresholds.tsv")]


def _tell(tables: _Tables, *, quiet: bool, as_json: bool) -> None:
    from genomix_cli.console import print_json, say
    from genomix_cli.genotype_samples import warn_without_kinship

    variants, samples, removed, sexes, without_kinship = tables
    counts = {
        "variants": variants.height,
        "variants_kept": int(variants["keep"].sum()),
        "samples": samples.height,
        "samples_kept": int(samples["keep"].sum()),
    }
    if sexes is not None:
        counts["sex_contradicting_x"] = sexes.n_contradicting
    if without_kinship:
        counts["pairs_without_kinship"] = without_kinship
    if as_json:
        print_json({**counts, "thresholds": removed.to_dicts()})
    else:
        for unit, name, value, entered, gone, kept, idle in removed.iter_rows():
            shown, ending = "" if value is None else f" {value:g}", f"\t{idle}" if idle else ""
            print(f"{unit}\t{name}{shown}\t{entered:,} in\t{gone:,} removed\t{kept:,} left{ending}")
    if sexes is not None and sexes.idle is not None:
        say(
            f"{'warning' if sexes.n_contradicting else 'note'}: the sex check {sexes.idle}",
            quiet=quiet and not sexes.n_contradicting,
        )
    warn_without_kinship(without_kinship, "they were not compared for duplicates", quiet=quiet)
    if as_json:
        return
    no_sex = int((samples["sex"] == 0).sum())
    say(
        f"kept {counts['variants_kept']:,} of {counts['variants']:,} variants and "
        f"{counts['samples_kept']:,} of {counts['samples']:,} samples; {no_sex:,} samples without a recorded sex",
        quiet=quiet,
    )
