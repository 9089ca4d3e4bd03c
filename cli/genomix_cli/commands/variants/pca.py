"""``genomix variants pca``: principal components fitted on chosen samples and projected onto the others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.genotype_samples import AutosomesOption, VariantListOption
from genomix_cli.options import (
    BuildOption,
    DeviceChoice,
    DeviceOption,
    GenotypesArgument,
    JsonOption,
    KeepSamplesOption,
    QuietOption,
    SampleInfoOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from genomix.io.plink import GenotypeStore

_EXAMPLE = """Examples:

\b
  genomix variants pca cohort -o cohort
  genomix variants pca cohort -o cohort --fit-samples training.txt --extract cohort.prune.in
  genomix variants pca newcomers.vcf.gz -o newcomers --model cohort.model.parquet
"""

_SMALLEST_OVERLAP = 0.75


class Method(StrEnum):
    """How components are found."""

    auto = "auto"
    exact = "exact"
    randomised = "randomised"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("pca", epilog=_EXAMPLE, short_help="Principal components, and ancestry outliers.")(pca)


def pca(
    source: GenotypesArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PREFIX", help="Prefix of the tables.", show_default=False)
    ],
    components: Annotated[int, typer.Option("--components", "-k", min=1, help="Number of components.")] = 10,
    fit_samples: Annotated[
        Path | None,
        typer.Option("--fit-samples", help="Samples to fit on, one a line; by default an unrelated set by KING."),
    ] = None,
    fit_kinship: Annotated[
        float, typer.Option("--fit-kinship", min=0, max=0.5, help="Largest kinship in the default fitting set.")
    ] = 0.0884,
    model: Annotated[
        Path | None, typer.Option("--model", help="Project with a saved PREFIX.model.parquet; nothing is fitted.")
    ] = None,
    min_overlap: Annotated[
        float, typer.Option("--min-overlap", min=0, max=1, help="Smallest share of a model's variants to be found.")
    ] = _SMALLEST_OVERLAP,
    maf: Annotated[
        float, typer.Option("--maf", min=0, max=0.5, help="Smallest minor allele frequency among the fitted.")
    ] = 0.01,
    call_rate: Annotated[
        float, typer.Option("--call-rate", min=0, max=1, help="Smallest call rate of a variant among the fitted.")
    ] = 0.95,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Thin for linkage first (see ld-prune); not with --extract.")
    ] = True,
    prune_r2: Annotated[float, typer.Option("--prune-r2", min=0, max=1, help="Largest r² of two kept variants.")] = 0.2,
    prune_window: Annotated[int, typer.Option("--prune-kb", min=1, help="Width of the window in kilobases.")] = 500,
    method: Annotated[
        Method, typer.Option("--method", help="auto: exact up to 5,000 fitted samples, randomised beyond.")
    ] = Method.auto,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the randomised method.")] = 0,
    ancestry_column: Annotated[
        str | None, typer.Option("--ancestry-column", help="Outliers are judged within each label.")
    ] = None,
    outlier_p: Annotated[
        float, typer.Option("--outlier-p", min=0, max=1, help="Probability below which a distance is an outlier's.")
    ] = 1e-6,
    tsv: Annotated[bool, typer.Option("--tsv", help="Write the components as TSV instead of Parquet.")] = False,
    build: BuildOption = None,
    sample_info: SampleInfoOption = None,
    keep: KeepSamplesOption = None,
    extract: VariantListOption = None,
    autosomes: AutosomesOption = 22,
    device: DeviceOption = DeviceChoice.cpu,
    threads: ThreadsOption = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write PREFIX.components.parquet, PREFIX.eigenvalues.tsv and PREFIX.model.parquet (loadings, to project others).

    Components have mean 0 and standard deviation 1 over the fitted samples; sign and order mean nothing. A missing call
    counts as the mean. ``is_outlier``: the robust Mahalanobis distance of all components exceeds its chi-square bound.
    """
    import numpy as np

    from genomix.device import resolve_device
    from genomix.io.score_tables import write_frame
    from genomix.variants.ancestry import component_scores
    from genomix_cli.console import print_json, say
    from genomix_cli.genotype_samples import labels_of, numbers_of, opened_samples, usable_variants

    xp = resolve_device(device.value).xp
    with opened_samples(source, build=build, sample_info=sample_info, keep=keep, threads=threads, quiet=quiet) as (
        store,
        chosen,
    ):
        labels = labels_of(store, ancestry_column)
        if model is not None:
            done = _project(store, chosen, model, min_overlap, xp)
            fitted = chosen[:0] if fit_samples is None else numbers_of(store, fit_samples)
        else:
            rows = usable_variants(store, extract, autosomes=autosomes)
            fitted = _fitting_samples(store, rows, chosen, fit_samples, fit_kinship, xp)
            window = prune_window * 1000 if prune and extract is None else None
            rows = _thinned(store, rows, fitted, maf, call_rate, prune_r2, window, xp)
            done = _fit(store, rows, fitted, chosen, components, seed, method, xp)
        scores, counts, tables = done
        is_fitted = np.isin(chosen, fitted)
        frame = component_scores(
            store.samples["sample_id"][chosen],
            scores,
            is_fitted,
            labels=labels[chosen] if labels is not None else None,
            outlier_p=outlier_p,
        )
    if model is not None and fit_samples is None:
        say("note: outliers are not judged without --fit-samples, which names samples to compare with", quiet=quiet)
    for name, table in tables.items():
        write_frame(out.with_name(f"{out.name}.{name}"), table)
    write_frame(out.with_name(f"{out.name}.components.{'tsv' if tsv else 'parquet'}"), frame)
    counts |= {"samples": frame.height, "samples_fitted": int(frame["fitted"].sum())}
    counts |= {"outliers": int(frame["is_outlier"].sum()), "not_judged": frame["is_outlier"].null_count()}
    if as_json:
        print_json(counts)
    else:
        for name, count in counts.items():
            say(f"{name.replace('_', ' ')}: {count:,}", quiet=quiet)


def _fitting_samples(
    store: GenotypeStore, rows: Any, chosen: Any, path: Path | None, threshold: float, xp: Any
) -> npt.NDArray[np.int64]:
    """Return the samples to fit on: those of a list, else a set without a pair above the threshold."""
    import numpy as np

    from genomix.variants.kinship import kinship_pairs
    from genomix.variants.relatives import unrelated
    from genomix_cli.genotype_samples import numbers_of

    if path is not None:
        return np.intersect1d(numbers_of(store, path), chosen)
    pairs = kinship_pairs(store, variants=rows, samples=chosen, minimum=threshold, xp=xp)
    return np.asarray(chosen[unrelated(store.n_samples, pairs, threshold)[chosen]])


def _thinned(
    store: GenotypeStore,
    rows: Any,
    fitted: Any,
    maf: float,
    call_rate: float,
    r2: float,
    window_bp: int | None,
    xp: Any,
) -> Any:
    """Return the rows that are common and called enough among the fitted, thinned for linkage there."""
    from genomix.variants.genotype_counts import count_genotypes
    from genomix.variants.ld import prune_pairwise

    counts = count_genotypes(store, variants=rows, samples=fitted)
    frequency = counts.alt_frequency
    enough = counts.n_called >= call_rate * counts.n_eligible
    rows = rows[(frequency >= maf) & (frequency <= 1 - maf) & enough]
    if window_bp is None:
        return rows
    return rows[prune_pairwise(store, variants=rows, samples=fitted, r2=r2, window_bp=window_bp, xp=xp)]


def _fit(
    store: GenotypeStore, rows: Any, fitted: Any, chosen: Any, components: int, seed: int, method: Method, xp: Any
) -> tuple[Any, dict[str, int], dict[str, pl.DataFrame]]:
    """Return the scores of ``chosen``, counts, and the tables of eigenvalues and of the model."""
    import polars as pl

    from genomix.variants.ancestry import model_table
    from genomix.variants.pca import EXACT_LIMIT, fit_pca_of_store, project_store

    limit = {Method.auto: EXACT_LIMIT, Method.exact: len(fitted), Method.randomised: 0}[method]
    model = fit_pca_of_store(
        store, variants=rows, samples=fitted, n_components=components, seed=seed, exact_limit=limit, xp=xp
    )
    eigenvalues = pl.DataFrame({"component": range(1, components + 1), "eigenvalue": model.eigenvalues})
    tables = {"eigenvalues.tsv": eigenvalues, "model.parquet": model_table(model, store.variants[rows])}
    scores = project_store(model, store, variants=rows, samples=chosen, xp=xp)
    return scores, {"variants": store.n_variants, "variants_used": len(rows)}, tables


def _project(
    store: GenotypeStore, chosen: Any, path: Path, min_overlap: float, xp: Any
) -> tuple[Any, dict[str, int], dict[str, pl.DataFrame]]:
    """Return the scores of ``chosen`` by a saved model, and counts."""
    from genomix.errors import LinkError
    from genomix.io.tables import read_table
    from genomix.variants.ancestry import match_model, model_of_table, oriented
    from genomix.variants.pca import project_store

    table = read_table(path)
    model = model_of_table(table, where=str(path))
    matched = match_model(store, table)
    if matched.n_matched < min_overlap * table.height:
        raise LinkError(
            f"only {matched.n_matched:,} of the model's {table.height:,} variants are in the genotypes",
            where=str(path),
            hint="check the genome build, or lower --min-overlap: what is absent counts as the mean",
        )
    scores = project_store(oriented(model, matched.swapped), store, variants=matched.rows, samples=chosen, xp=xp)
    counts = {"model_variants": table.height, "matched": matched.n_matched, "swapped": int(matched.swapped.sum())}
    return scores, counts, {}
