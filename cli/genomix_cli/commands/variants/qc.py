"""``genomix variants qc``: figures of every variant and sample, and what each threshold removes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.genotype_samples import AutosomesOption
from genomix_cli.options import (
    BuildOption,
    GenotypesArgument,
    JsonOption,
    KeepSamplesOption,
    QuietOption,
    SampleInfoOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    import polars as pl

    from genomix.io.plink import GenotypeStore
    from genomix.variants.qc import SampleThresholds, VariantThresholds

_EXAMPLE = """Examples:

\b
  genomix variants qc cohort -o cohort_qc
  genomix variants qc imputed.vcf.gz -o imputed_qc --min-imputation-quality 0.8 --filter-pass --hwe 1e-10
  genomix variants qc cohort -o cohort_qc --sample-info people.tsv --ancestry-column population --duplicates
"""

_COLUMNS = ("unit", "threshold", "value", "entered", "removed", "kept")


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("qc", epilog=_EXAMPLE, short_help="Quality control of variants and samples.")(qc)


def qc(
    source: GenotypesArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PREFIX", help="Prefix of the tables.", show_default=False)
    ],
    build: BuildOption = None,
    sample_info: SampleInfoOption = None,
    keep: KeepSamplesOption = None,
    call_rate: Annotated[
        float, typer.Option("--call-rate", min=0, max=1, help="Smallest call rate of a variant (1 - plink2's --geno).")
    ] = 0.95,
    maf: Annotated[
        float, typer.Option("--maf", min=0, max=0.5, help="Smallest minor allele frequency; monomorphic never pass.")
    ] = 0.01,
    hwe: Annotated[float, typer.Option("--hwe", min=0, max=1, help="Smallest exact mid-p of Hardy-Weinberg.")] = 1e-6,
    hwe_both_sides: Annotated[
        bool,
        typer.Option(
            "--hwe-both-sides", help="Without --ancestry-column, too few heterozygotes fail --hwe too, not only excess."
        ),
    ] = False,
    min_imputation_quality: Annotated[
        float | None, typer.Option("--min-imputation-quality", min=0, max=1, help="Smallest R2, DR2, ER2 or INFO.")
    ] = None,
    filter_pass: Annotated[bool, typer.Option("--filter-pass", help="Remove variants whose FILTER is not PASS.")] = (
        False
    ),
    sample_call_rate: Annotated[
        float, typer.Option("--sample-call-rate", min=0, max=1, help="Smallest call rate of a sample (1 - --mind).")
    ] = 0.95,
    het_sd: Annotated[
        float, typer.Option("--het-sd", min=0, help="Largest distance of F from its label's mean in SD; 0: no bound.")
    ] = 3.0,
    check_sex: Annotated[
        bool, typer.Option("--check-sex/--no-check-sex", help="Remove samples whose X contradicts.")
    ] = (True),
    female_max_f: Annotated[float, typer.Option("--check-sex-female-max-f", help="X F of a female at most.")] = 0.2,
    male_min_f: Annotated[float, typer.Option("--check-sex-male-min-f", help="X F of a male at least.")] = 0.8,
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
    from genomix.variants.qc import SampleThresholds, VariantThresholds
    from genomix_cli.genotype_samples import labels_of, opened_samples

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
        tables = _tables(store, chosen, of_variants, of_samples, ancestry, duplicates, autosomes)
    _write(out, *tables)
    _tell(*tables, quiet=quiet, as_json=as_json)


def _tables(
    store: GenotypeStore, chosen: Any, of_variants: VariantThresholds, of_samples: SampleThresholds,
    ancestry: pl.Series | None, duplicates: bool, autosomes: int,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:  # fmt: skip
    """Return the variants', the samples' and the thresholds' tables."""
    import numpy as np
    import polars as pl

    from genomix.variants.genotype_counts import autosomal_biallelic
    from genomix.variants.qc import sample_qc, threshold_table, variant_qc
    from genomix.variants.sample_qc import DUPLICATE

    variants = variant_qc(store, of_variants, samples=chosen, ancestry=ancestry, autosomes=autosomes)
    passed = np.flatnonzero(variants["keep"].to_numpy())
    pairs = None
    if duplicates:
        from genomix.variants.kinship import kinship_pairs

        rows = np.intersect1d(passed, np.flatnonzero(autosomal_biallelic(store, autosomes=autosomes)))
        pairs = kinship_pairs(store, variants=rows, samples=chosen, minimum=DUPLICATE)
    samples = sample_qc(
        store, of_samples, ancestry=ancestry, variants=passed, samples=chosen, pairs=pairs, counted=variants,
        autosomes=autosomes,
    )  # fmt: skip
    removed = pl.concat(
        threshold_table(table, limits).select(pl.lit(unit).alias("unit"), pl.all())
        for unit, table, limits in (("variants", variants, of_variants), ("samples", samples, of_samples))
    )
    is_on = pl.col("value").is_finite().fill_null(False) | (pl.col("threshold") == "filter")
    return variants, samples, removed.filter(is_on)


def _write(out: Path, variants: pl.DataFrame, samples: pl.DataFrame, removed: pl.DataFrame) -> None:
    from genomix.io.score_tables import write_frame

    write_frame(out.with_name(out.name + ".variants.parquet"), variants)
    write_frame(out.with_name(out.name + ".samples.parquet"), samples)
    write_frame(out.with_name(out.name + ".thresholds.tsv"), removed)


def _tell(variants: pl.DataFrame, samples: pl.DataFrame, removed: pl.DataFrame, *, quiet: bool, as_json: bool) -> None:
    from genomix_cli.console import print_json, say

    counts = {
        "variants": variants.height,
        "variants_kept": int(variants["keep"].sum()),
        "samples": samples.height,
        "samples_kept": int(samples["keep"].sum()),
    }
    if as_json:
        print_json({**counts, "thresholds": removed.select(_COLUMNS).to_dicts()})
        return
    for unit, name, value, entered, gone, kept in removed.select(_COLUMNS).iter_rows():
        shown = "" if value is None else f" {value:g}"
        print(f"{unit}\t{name}{shown}\t{entered:,} in\t{gone:,} removed\t{kept:,} left")
    no_sex = int((samples["sex"] == 0).sum())
    say(
        f"kept {counts['variants_kept']:,} of {counts['variants']:,} variants and "
        f"{counts['samples_kept']:,} of {counts['samples']:,} samples; {no_sex:,} samples without a recorded sex",
        quiet=quiet,
    )
