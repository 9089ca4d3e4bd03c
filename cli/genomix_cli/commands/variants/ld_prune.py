"""``genomix variants ld-prune``: variants thinned for linkage disequilibrium, as plink2 --indep-pairwise does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genomix_cli.options import (
    AutosomesOption,
    BuildOption,
    GenotypesArgument,
    JsonOption,
    KeepSamplesOption,
    QuietOption,
    ThreadsOption,
    VariantListOption,
    a_number,
)

_EXAMPLE = """Examples:

\b
  genomix variants ld-prune cohort -o cohort
  genomix variants ld-prune cohort -o cohort --window 50 --step 5 --r2 0.5
"""

MOST_VARIANTS, MOST_KILOBASES = 1_000_000_000, 1_000_000
"""Widest windows: PLINK's tables hold no more variants, and no chromosome is longer."""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("ld-prune", epilog=_EXAMPLE, short_help="Thin variants for linkage disequilibrium.")(ld_prune)


def ld_prune(
    source: GenotypesArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PREFIX", help="Prefix of .prune.in, .prune.out.", show_default=False)
    ],
    window: Annotated[
        str, typer.Option("--window", help="Width: variants (50, at least 2) or kilobases (500kb, above 0).")
    ] = "500kb",
    step: Annotated[
        int, typer.Option("--step", min=1, max=MOST_VARIANTS, help="Variants by which a window of variants moves on.")
    ] = 1,
    r2: Annotated[
        float, typer.Option("--r2", min=0, max=1, callback=a_number, help="Largest r² of two kept variants, above 0.")
    ] = 0.2,
    maf: Annotated[
        float, typer.Option("--maf", min=0, max=0.5, callback=a_number, help="Leave out rarer variants beforehand.")
    ] = 0.0,
    build: BuildOption = None,
    keep: KeepSamplesOption = None,
    extract: VariantListOption = None,
    autosomes: AutosomesOption = 22,
    threads: ThreadsOption = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the identifiers of kept variants to PREFIX.prune.in, those of the others to PREFIX.prune.out.

    Autosomal records with one ALT are looked at, in all samples (plink2 takes founders only: name them with --keep).
    Of a pair above r², the variant with the smaller minor allele frequency goes. A variant that does not vary among the
    samples always goes.
    """
    from genomix.provenance import write_bytes
    from genomix.variants.ld import prune_pairwise
    from genomix.variants.qc import count_genotypes
    from genomix_cli.console import print_json, say
    from genomix_cli.genotype_samples import check_outputs, opened_samples, usable_variants, with_suffix_added
    from genomix_cli.progress import progress

    window_bp, window_variants = _width(window)
    paths = [with_suffix_added(out, ending) for ending in ("prune.in", "prune.out")]
    check_outputs({path.name: path for path in paths}, (source, keep, extract))
    with opened_samples(source, build=build, sample_info=None, keep=keep, threads=threads, quiet=quiet) as (
        store,
        chosen,
    ):
        rows = usable_variants(store, extract, autosomes=autosomes)
        n_usable = len(rows)
        if maf > 0:
            frequency = count_genotypes(store, variants=rows, samples=chosen, autosomes=autosomes).alt_frequency
            rows = rows[(frequency >= maf) & (frequency <= 1 - maf)]
        with progress("pruning", "variants", quiet=quiet) as report:
            kept = prune_pairwise(
                store, variants=rows, samples=chosen, r2=r2, window_bp=window_bp, window_variants=window_variants,
                step=step, progress=report,
            )  # fmt: skip
        ids = store.variants["variant_id"][rows]
        n_all = store.n_variants
    for path, mask in zip(paths, (kept, ~kept), strict=True):
        write_bytes(path, "".join(f"{name}\n" for name in ids.filter(mask).to_list()).encode())
    counts = {
        "variants": n_all,
        "not_autosomal_or_several_alts_or_not_listed": n_all - n_usable,
        "below_maf": n_usable - len(rows),
        "pruned": int((~kept).sum()),
        "kept": int(kept.sum()),
    }
    if as_json:
        print_json(counts)
    else:
        for name, count in counts.items():
            say(f"{name.replace('_', ' ')}: {count:,}", quiet=quiet)


def _width(text: str) -> tuple[int | None, int | None]:
    """Return a window in bp or in variants.

    >>> _width("500kb"), _width("50")
    ((500000, None), (None, 50))
    """
    from genomix.errors import ConfigError

    in_bp = text.lower().endswith("kb")
    try:
        width = float(text.lower().removesuffix("kb")) if in_bp else int(text)
    except ValueError:
        raise ConfigError(f"--window {text!r} is no width", hint="variants (50) or kilobases (500kb)") from None
    if not (0.001 <= width <= MOST_KILOBASES if in_bp else 2 <= width <= MOST_VARIANTS):
        bounds = f"from 0.001kb to {MOST_KILOBASES}kb" if in_bp else f"from 2 to {MOST_VARIANTS} variants"
        raise ConfigError(f"--window {text!r} is out of bounds", hint=bounds)
    return (round(width * 1000), None) if in_bp else (None, int(width))
