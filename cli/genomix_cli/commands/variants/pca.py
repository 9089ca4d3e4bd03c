"""``genomix variants pca``: principal components fitted on chosen samples and projected onto the others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from genomix_cli.options import (
    AutosomesOption,
    BuildOption,
    DeviceChoice,
    DeviceOption,
    GenotypesArgument,
    JsonOption,
    KeepSamplesOption,
    QuietOption,
    SampleInfoOption,
    TablesPrefixOption,
    ThreadsOption,
    VariantListOption,
    a_number,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from genomix.io.plink import GenotypeStore
    from genomix.variants.pca import PcaModel

_EXAMPLE = """Examples:

\b
  genomix variants pca cohort -o cohort
  genomix variants pca cohort -o cohort --fit-samples training.txt --extract cohort.prune.in
  genomix variants pca newcomers.vcf.gz -o newcomers --model cohort.model.parquet
  genomix variants assoc cohort --covariates cohort.components.parquet ...   (takes its columns pc_1, pc_2, ... only)
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
    out: TablesPrefixOption,
    components: Annotated[
        int, typer.Option("--components", "-k", min=1, max=10_000, help="Number of components.")
    ] = 10,
    fit_samples: Annotated[
        Path | None,
        typer.Option("--fit-samples", help="Samples to fit on, one a line; by default an unrelated set by KING."),
    ] = None,
    fit_kinship: Annotated[
        float,
        typer.Option(
            "--fit-kinship", min=0, max=0.5, callback=a_number, help="Largest kinship in the default fitting set."
        ),
    ] = 0.0884,
    model: Annotated[
        Path | None, typer.Option("--model", help="Project with a saved PREFIX.model.parquet; nothing is fitted.")
    ] = None,
    min_overlap: Annotated[
        float,
        typer.Option(
            "--min-overlap", min=0, max=1, callback=a_number, help="Smallest share of a model's variants to be found."
        ),
    ] = _SMALLEST_OVERLAP,
    maf: Annotated[
        float,
        typer.Option(
            "--maf", min=0, max=0.5, callback=a_number, help="Smallest minor allele frequency among the fitted."
        ),
    ] = 0.01,
    call_rate: Annotated[
        float,
        typer.Option(
            "--call-rate", min=0, max=1, callback=a_number, help="Smallest call rate of a variant among the fitted."
        ),
    ] = 0.95,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Thin for linkage first (see ld-prune); not with --extract.")
    ] = True,
    prune_r2: Annotated[
        float, typer.Option("--prune-r2", min=0, max=1, callback=a_number, help="Largest r² of two kept variants.")
    ] = 0.2,
    prune_window: Annotated[
        int, typer.Option("--prune-kb", min=1, max=1_000_000, help="Width of the window in kilobases.")
    ] = 500,
    method: Annotated[
        Method, typer.Option("--method", help="auto: exact up to 5,000 fitted samples, randomised beyond.")
    ] = Method.auto,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the randomised method.")] = 0,
    ancestry_column: Annotated[
        str | None, typer.Option("--ancestry-column", help="Outliers are judged within each label.")
    ] = None,
    outlier_p: Annotated[
        float,
        typer.Option(
            "--outlier-p", min=0, max=1, callback=a_number, help="Probability below which a distance is an outlier's."
        ),
    ] = 1e-6,
    correct_shrinkage: Annotated[
        bool,
        typer.Option(
            "--correct-shrinkage", help="Put projected samples on the fitted ones' scale (OADP), and judge them."
        ),
    ] = False,
    tsv: Annotated[
        bool, typer.Option("--tsv", help="Write the components as TSV instead of Parquet (so does -o PREFIX.tsv).")
    ] = False,
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

    Projected samples lie nearer to the origin than fitted ones, the more so the weaker a component and the fewer the
    fitted: PREFIX.eigenvalues.tsv says how much (projected_sd, expected_sd). So they are only judged with
    --correct-shrinkage. As covariates: genomix variants assoc --covariates PREFIX.components.parquet takes pc_1, pc_2,
    ... of that table, and none of its other columns.
    """
    import numpy as np

    from genomix.device import resolve_device
    from genomix.errors import ConfigError
    from genomix.io.score_tables import write_frame
    from genomix.variants.ancestry import component_scores
    from genomix_cli.console import print_json, say
    from genomix_cli.genotype_samples import (
        check_outputs,
        labels_of,
        numbers_to_fit,
        opened_samples,
        usable_variants,
        with_suffix_added,
    )

    if out.suffix in (".tsv", ".parquet"):
        tsv, out = tsv or out.suffix == ".tsv", out.with_suffix("")
    if model is not None and correct_shrinkage:
        raise ConfigError(
            "--correct-shrinkage with --model: a saved model lacks what it needs",
            hint="fit and project in one run, with --fit-samples",
        )
    endings = [f"components.{'tsv' if tsv else 'parquet'}", "eigenvalues.tsv", "model.parquet"]
    paths = {ending: with_suffix_added(out, ending) for ending in (endings if model is None else endings[:1])}
    check_outputs(
        {path.name: path for path in paths.values()}, (source, keep, sample_info, extract, fit_samples, model)
    )
    xp = resolve_device(device.value).xp
    with opened_samples(source, build=build, sample_info=sample_info, keep=keep, threads=threads, quiet=quiet) as (
        store,
        chosen,
    ):
        labels = labels_of(store, ancestry_column)
        if model is not None:
            done = _project(store, chosen, model, min_overlap, xp, quiet)
            fitted = chosen[:0] if fit_samples is None else numbers_to_fit(
                store, fit_samples, chosen, keep=keep, genotypes=source
            )  # fmt: skip
        else:
            rows = usable_variants(store, extract, autosomes=autosomes)
            if fit_samples is not None:
                fitted = numbers_to_fit(store, fit_samples, chosen, keep=keep, genotypes=source)
            else:
                fitted = _unrelated(store, rows, chosen, fit_kinship, xp, quiet)
            if len(fitted) <= components:
                raise ConfigError(
                    f"{components} components cannot be fitted on {len(fitted):,} samples",
                    where=str(fit_samples or keep or source),
                    hint=f"at least {components + 1:,} samples, or fewer --components",
                )
            window = prune_window * 1000 if prune and extract is None else None
            rows = _thinned(store, rows, fitted, maf, call_rate, prune_r2, window, xp, quiet)
            done = _fit(store, rows, fitted, chosen, components, seed, method, correct_shrinkage, xp, quiet)
        is_fitted = np.isin(chosen, fitted)
        frame = component_scores(
            store.samples["sample_id"][chosen],
            done.scores,
            is_fitted,
            labels=labels[chosen] if labels is not None else None,
            outlier_p=outlier_p,
            judge_projected=correct_shrinkage or model is not None,
        )
    for ending, table in done.tables.items():
        write_frame(paths[ending], table)
    write_frame(paths[endings[0]], frame)
    counts = done.counts | {"samples": frame.height, "samples_fitted": int(frame["fitted"].sum())}
    counts |= {"outliers": int(frame["is_outlier"].sum()), "not_judged": frame["is_outlier"].null_count()}
    if as_json:
        print_json({**counts, **_shrinkage(done)})
    else:
        for name, count in counts.items():
            say(f"{name.replace('_', ' ')}: {count:,}", quiet=quiet)
    for line in _notes(done, frame, corrected=correct_shrinkage, compared=fit_samples is not None):
        say(line, quiet=quiet)


def _shrinkage(done: _Done) -> dict[str, list[float | None]]:
    """Return the standard deviations of projected scores, as found and as expected; nothing without them."""
    table = done.tables.get("eigenvalues.tsv")
    if table is None or table["projected_sd"].null_count():
        return {}
    return {name: table[name].to_list() for name in ("projected_sd", "expected_sd")}


def _notes(done: _Done, frame: pl.DataFrame, *, corrected: bool, compared: bool) -> list[str]:
    """Return what the user has to know of projected scores."""
    n_projected = int((~frame["fitted"]).sum())
    if "eigenvalues.tsv" not in done.tables:
        if not compared:
            return ["note: outliers are not judged without --fit-samples, which names samples to compare with"]
        return [
            "note: name samples that the model was not fitted on: fitted scores lie farther out than projected ones"
        ]
    found = _shrinkage(done)
    lines = []
    for name, words in (("projected_sd", "found"), ("expected_sd", "expected")):
        values = [v for v in found.get(name, []) if v is not None]
        if values:
            lines.append(f"SD of projected scores, {words} (fitted: 1): " + " ".join(f"{v:.2f}" for v in values))
    if n_projected and corrected:
        lines.append(f"scores of {n_projected:,} projected samples are corrected for this shrinkage")
    elif n_projected:
        lines.append(
            f"note: {n_projected:,} projected samples lie nearer to the origin than the fitted and are not comparable "
            "with them: is_outlier is empty (--correct-shrinkage mends both)"
        )
    return lines


class _Done(NamedTuple):
    """Scores of the used samples, counts to print, and the tables of eigenvalues and of the model by ending."""

    scores: npt.NDArray[np.float64]
    counts: dict[str, int]
    tables: dict[str, pl.DataFrame]


def _unrelated(
    store: GenotypeStore, rows: Any, chosen: Any, threshold: float, xp: Any, quiet: bool
) -> npt.NDArray[np.int64]:
    """Return a set of samples without a pair above the threshold."""
    import numpy as np

    from genomix.variants.assoc_relatives import MIN_VARIANTS
    from genomix.variants.kinship import PairCounts, kinship_pairs
    from genomix.variants.relatives import unrelated
    from genomix_cli.console import say
    from genomix_cli.genotype_samples import warn_without_kinship
    from genomix_cli.progress import progress

    compared = PairCounts()
    with progress("comparing", "pairs", quiet=quiet) as report:
        pairs = kinship_pairs(
            store, variants=rows, samples=chosen, minimum=threshold, xp=xp, progress=report, counted=compared
        )
    if len(rows) < MIN_VARIANTS:
        say(
            f"warning: {len(rows):,} variants are too few to tell relatives ({MIN_VARIANTS} or more do): "
            "name the samples to fit on with --fit-samples",
            quiet=quiet,
        )
    warn_without_kinship(compared.undefined, "they count as unrelated", quiet=quiet)
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
    quiet: bool,
) -> Any:
    """Return the rows that are common and called enough among the fitted, thinned for linkage there."""
    from genomix.errors import ConfigError
    from genomix.variants.genotype_counts import count_genotypes
    from genomix.variants.ld import prune_pairwise
    from genomix_cli.progress import progress

    counts = count_genotypes(store, variants=rows, samples=fitted)
    frequency = counts.alt_frequency
    enough = counts.n_called >= call_rate * counts.n_eligible
    rows = rows[(frequency >= maf) & (frequency <= 1 - maf) & enough]
    n_varying = int(((frequency > 0) & (frequency < 1)).sum())
    if not n_varying:
        raise ConfigError(
            f"none of {len(frequency):,} autosomal variants with one ALT varies among the {len(fitted):,} samples "
            "that components are fitted on",
            hint="other genotypes, or other samples to fit on",
        )
    if not len(rows):
        raise ConfigError(
            f"none of the {n_varying:,} variants that vary among the {len(fitted):,} samples to fit on passes "
            f"--maf {maf:g} and --call-rate {call_rate:g}",
            hint="lower bounds, or other samples to fit on",
        )
    if window_bp is None:
        return rows
    with progress("pruning", "variants", quiet=quiet) as report:
        kept = prune_pairwise(store, variants=rows, samples=fitted, r2=r2, window_bp=window_bp, xp=xp, progress=report)
    return rows[kept]


def _fit(
    store: GenotypeStore, rows: Any, fitted: Any, chosen: Any, components: int, seed: int, method: Method,
    correct: bool, xp: Any, quiet: bool,
) -> _Done:  # fmt: skip
    """Fit on ``fitted`` and give scores to ``chosen``."""
    import numpy as np

    from genomix.variants.ancestry import eigenvalue_table, model_table
    from genomix.variants.pca import EXACT_LIMIT, fit_pca_of_store, project_store
    from genomix.variants.pca_shrinkage import n_to_fit
    from genomix_cli.progress import progress

    limit = {Method.auto: EXACT_LIMIT, Method.exact: len(fitted), Method.randomised: 0}[method]
    asked = min(n_to_fit(components, len(fitted)), max(len(rows), components)) if correct else components
    with progress("fitting", "variants", quiet=quiet) as report:
        wide = fit_pca_of_store(
            store, variants=rows, samples=fitted, n_components=asked, seed=seed, exact_limit=limit, xp=xp,
            progress=report,
        )  # fmt: skip
    model, is_fitted = wide.first(components), np.isin(chosen, fitted)
    with progress("projecting", "variants", quiet=quiet) as report:
        scores = project_store(model, store, variants=rows, samples=chosen, xp=xp, progress=report)
    tables = {
        "eigenvalues.tsv": eigenvalue_table(model, scores, is_fitted),
        "model.parquet": model_table(model, store.variants[rows]),
    }
    if correct and not is_fitted.all():
        scores[~is_fitted] = _corrected(wide, store, rows, chosen[~is_fitted], components, xp, quiet)
    return _Done(scores, {"variants": store.n_variants, "variants_used": len(rows)}, tables)


def _corrected(
    wide: PcaModel, store: GenotypeStore, rows: Any, projected: Any, components: int, xp: Any, quiet: bool
) -> Any:
    from genomix.variants.pca import project_store_with_norms
    from genomix.variants.pca_shrinkage import corrected
    from genomix_cli.progress import progress

    with progress("projecting", "variants", quiet=quiet) as report:
        found = project_store_with_norms(wide, store, variants=rows, samples=projected, xp=xp, progress=report)
    return corrected(found.scores, found.norms, wide.gram_values, wide.n_samples, components)


def _project(store: GenotypeStore, chosen: Any, path: Path, min_overlap: float, xp: Any, quiet: bool) -> _Done:
    """Give scores to ``chosen`` by a saved model."""
    from genomix.errors import LinkError
    from genomix.io.tables import read_table
    from genomix.variants.ancestry import match_model, model_of_table, oriented
    from genomix.variants.pca import project_store
    from genomix_cli.progress import progress

    table = read_table(path)
    model = model_of_table(table, where=str(path))
    matched = match_model(store, table)
    if matched.n_matched < min_overlap * table.height:
        raise LinkError(
            f"only {matched.n_matched:,} of the model's {table.height:,} variants are in the genotypes",
            where=str(path),
            hint="check the genome build, or lower --min-overlap: what is absent counts as the mean",
        )
    with progress("projecting", "variants", quiet=quiet) as report:
        scores = project_store(
            oriented(model, matched.swapped), store, variants=matched.rows, samples=chosen, xp=xp, progress=report
        )
    counts = {"model_variants": table.height, "matched": matched.n_matched, "swapped": int(matched.swapped.sum())}
    return _Done(scores, counts, {})
