"""``genomix variants kinship``: KING-robust kinship, and groups of relatives for a split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    ThreadsOption,
    VariantListOption,
    a_number,
)

_EXAMPLE = """Examples:

\b
  genomix variants kinship cohort -o kinship.parquet
  genomix variants kinship cohort -o kinship.tsv --groups groups.tsv --group-kinship 0.0884
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("kinship", epilog=_EXAMPLE, short_help="Kinship of all pairs, and groups of relatives.")(kinship)


def kinship(
    source: GenotypesArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Table of pairs: .parquet or .tsv.", show_default=False)],
    groups: Annotated[
        Path | None, typer.Option("--groups", help="Table of each sample's group of relatives, and an unrelated set.")
    ] = None,
    min_kinship: Annotated[
        float,
        typer.Option(
            "--min-kinship", min=-1, max=0.5, callback=a_number, help="Smallest kinship of a pair that is listed."
        ),
    ] = 0.0442,
    group_kinship: Annotated[
        float,
        typer.Option(
            "--group-kinship", min=0, max=0.5, callback=a_number, help="Above it two samples are of one group."
        ),
    ] = 0.177,
    build: BuildOption = None,
    keep: KeepSamplesOption = None,
    extract: VariantListOption = None,
    autosomes: AutosomesOption = 22,
    device: DeviceOption = DeviceChoice.cpu,
    threads: ThreadsOption = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the pairs of samples from a kinship on, closest first, with the degree in words.

    All autosomal records with one ALT count, hard calls only; KING-robust needs no frequencies and no pruning.
    """
    from genomix.device import resolve_device
    from genomix.errors import ConfigError
    from genomix.io.score_tables import write_frame
    from genomix.variants.assoc_relatives import MIN_VARIANTS
    from genomix.variants.kinship import DEGREES, PairCounts, kinship_pairs, named_pairs
    from genomix.variants.relatives import relatives_table
    from genomix_cli.console import print_json, say
    from genomix_cli.genotype_samples import (
        check_outputs,
        check_tables,
        opened_samples,
        usable_variants,
        warn_without_kinship,
    )
    from genomix_cli.progress import progress

    if groups is not None and group_kinship < min_kinship:
        raise ConfigError("--group-kinship below --min-kinship: the pairs it needs are not listed")
    check_tables(out, groups)
    check_outputs({"-o": out, "--groups": groups}, (source, keep, extract))
    with opened_samples(source, build=build, sample_info=None, keep=keep, threads=threads, quiet=quiet) as (
        store,
        chosen,
    ):
        rows = usable_variants(store, extract, autosomes=autosomes)
        xp = resolve_device(device.value).xp
        with progress("comparing", "pairs", quiet=quiet) as report:
            compared = PairCounts()
            pairs = kinship_pairs(
                store, variants=rows, samples=chosen, minimum=min_kinship, xp=xp, progress=report, counted=compared
            )
        ids = store.samples["sample_id"]
    write_frame(out, named_pairs(pairs, ids))
    if len(rows) < MIN_VARIANTS:
        say(f"warning: {len(rows):,} variants are too few to tell relatives: {MIN_VARIANTS} or more do", quiet=quiet)
    warn_without_kinship(compared.undefined, "they are in no list and in no group, and may be related", quiet=quiet)
    counts = {"variants": len(rows), "samples": len(chosen), "pairs": pairs.height}
    counts |= {"pairs_without_kinship": compared.undefined}
    counts |= {f"pairs_{name}_or_closer": int((pairs["kinship"] > cut).sum()) for name, cut in DEGREES.items()}
    if groups is not None:
        table = relatives_table(ids, pairs, group_kinship)[chosen]
        write_frame(groups, table)
        counts |= {"groups": table["group"].n_unique(), "largest_group": int(str(table["group_size"].max()))}
        counts |= {"unrelated": int(table["unrelated"].sum())}
    if as_json:
        print_json(counts)
    else:
        for name, count in counts.items():
            say(f"{name.replace('_', ' ')}: {count:,}", quiet=quiet)
