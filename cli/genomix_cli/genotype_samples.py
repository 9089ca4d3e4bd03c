"""What quality control, kinship, thinning and components share: opening genotypes and naming some of their samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from genomix_cli.console import say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from genomix.io.plink import GenotypeStore


class Opened(NamedTuple):
    """A store and the samples of it to use, int64, ascending."""

    store: GenotypeStore
    samples: npt.NDArray[np.int64]


@contextmanager
def opened_samples(
    source: Path, *, build: str | None, sample_info: Path | None, keep: Path | None, threads: int, quiet: bool
) -> Iterator[Opened]:
    """Yield genotypes of any format as a store, and the samples that ``keep`` names (all without it)."""
    from genomix.io.load_options import LoadOptions
    from genomix.io.opening import opened_store
    from genomix.io.sample_tables import read_sample_info
    from genomix_cli.progress import progress

    options = LoadOptions(
        build=build, sex=read_sample_info(sample_info) if sample_info is not None else None, threads=threads
    )
    with (
        progress("reading", "records", quiet=quiet) as report,
        opened_store(source, options, progress=report) as opened,
    ):
        if opened.report is not None:
            n_in, n_out = opened.report.n_records_read, opened.report.n_records_written
            say(f"{source.name}: {n_in:,} records in, {n_out:,} used", quiet=quiet)
            for reason, count in sorted(opened.report.records_left_out.items()):
                say(f"  left out: {count:,} {reason}", quiet=quiet)
        samples = numbers_of(opened.store, keep, genotypes=source)
        say(
            f"{opened.store.n_variants:,} variants, {opened.store.n_samples:,} samples, {len(samples):,} of them used",
            quiet=quiet,
        )
        yield Opened(opened.store, samples)


def numbers_of(
    store: GenotypeStore,
    path: Path | None,
    *,
    option: str = "--keep",
    genotypes: Path | None = None,
    unknown: list[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Return the numbers of the samples that a file names, ascending; all for None.

    Parameters
    ----------
    option: that named the file.
    genotypes: file that the user named, where the store was converted from it.
    unknown: takes the file's name where it names somebody whom the store lacks.

    Raises
    ------
    LinkError: when the file names nobody of the store. Names that the store lacks are counted on stderr.
    """
    import numpy as np

    from genomix.errors import LinkError
    from genomix.io.sample_tables import read_sample_list

    if path is None:
        return np.arange(store.n_samples)
    asked = set(read_sample_list(path))
    found = np.flatnonzero(store.samples["sample_id"].is_in(sorted(asked)).to_numpy())
    whole = genotypes or store.prefix
    if not len(found):
        raise LinkError(
            f"none of the {len(asked):,} samples that {option} names is in {whole.name}",
            where=f"{path}, {whole}",
            hint="identifiers as in the genotypes, one a line, or FID and IID",
        )
    if len(found) < len(asked):
        if unknown is not None:
            unknown.append(path.name)
        say(
            f"warning: {len(asked) - len(found):,} of {len(asked):,} listed samples are not in the genotypes "
            f"({option} {path.name})"
        )
    return np.asarray(found, dtype=np.int64)


def numbers_to_fit(
    store: GenotypeStore,
    path: Path,
    chosen: npt.NDArray[np.int64],
    *,
    keep: Path | None = None,
    option: str = "--fit-samples",
    genotypes: Path | None = None,
    unknown: list[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Return the numbers of the samples to fit on: those that a file names, of those that are used.

    Parameters as of :func:`numbers_of`.

    Raises
    ------
    LinkError: when the file names nobody of the store, or nobody that is used.
    """
    import numpy as np

    from genomix.errors import LinkError

    named = numbers_of(store, path, option=option, genotypes=genotypes, unknown=unknown)
    fitted = np.intersect1d(named, chosen)
    if not len(fitted):
        raise LinkError(
            f"none of the {len(named):,} samples that {option} names is kept",
            where=f"{path}, {keep}" if keep is not None else str(path),
            hint=f"--keep has to name the samples of {option} too",
        )
    if len(fitted) < len(named):
        say(f"warning: {len(named) - len(fitted):,} of {len(named):,} samples of {option} are not kept")
    return np.asarray(fitted, dtype=np.int64)


def usable_variants(store: GenotypeStore, extract: Path | None, *, autosomes: int) -> npt.NDArray[np.int64]:
    """Return the rows of autosomal records with one ALT, of those that a list names where there is one.

    Raises
    ------
    LinkError: when none is left.
    """
    import numpy as np

    from genomix.errors import LinkError
    from genomix.io.tables import read_text
    from genomix.variants.genotype_counts import autosomal_biallelic

    usable = autosomal_biallelic(store, autosomes=autosomes)
    if extract is not None:
        asked = sorted({line.split()[0] for line in read_text(extract).splitlines() if line.split()})
        usable &= store.variants["variant_id"].is_in(asked).to_numpy()
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise LinkError(
            "no autosomal variant with one ALT is left", where=str(extract or store.prefix), hint="see --autosomes"
        )
    return rows


def check_tables(*paths: Path | None) -> None:
    """Raise a :class:`ConfigError` for a name whose suffix says no format that tables are written in."""
    from genomix.errors import ConfigError

    for path in paths:
        if path is not None and path.suffix not in (".parquet", ".tsv"):
            raise ConfigError(
                f"a table is not written as {path.suffix or 'a name without suffix'}", hint=".parquet, .tsv"
            )


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuse, before anything is computed, outputs that clash or cannot be written.

    Raises
    ------
    ConfigError: when two outputs, or an output and an input, are one file.
    OutputError: when an output is a folder, or its folder takes no file.
    """
    from genomix_cli.outputs import distinct_paths

    distinct_paths(outputs, inputs)
    for path in outputs.values():
        if path is not None:
            _check_writable(path)


def _check_writable(path: Path) -> None:
    """Make and remove a file where the output will be; some folders (/proc) only say then that they take none."""
    import errno
    import os
    import tempfile

    from genomix.provenance import TEMPORARY_PREFIX, output_errors

    with output_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if path.exists() and not path.is_file():
            return
        folder = next((p for p in path.resolve().parents if p.exists()), Path("/"))
        with tempfile.NamedTemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX):
            return


def with_suffix_added(prefix: Path, ending: str) -> Path:
    """Return ``PREFIX.ending``.

    >>> with_suffix_added(Path("a/cohort.v1"), "samples.parquet").as_posix()
    'a/cohort.v1.samples.parquet'
    """
    return prefix.with_name(f"{prefix.name}.{ending}")


def labels_of(store: GenotypeStore, column: str | None) -> pl.Series | None:
    """Return a column of labels from the sample table, None without a name.

    Raises
    ------
    ConfigError: when there is no such column.
    """
    import polars as pl

    from genomix.errors import ConfigError

    if column is None:
        return None
    if column not in store.samples.columns:
        raise ConfigError(
            f"--ancestry-column {column!r} is not in the sample table",
            hint="--sample-info with it; it has: " + ", ".join(store.samples.columns),
        )
    return store.samples[column].cast(pl.String)


def warn_without_kinship(n_pairs: int, so: str, *, quiet: bool) -> None:
    """Warn of pairs that have no kinship; ``so``: what follows for them, as a clause."""
    from genomix_cli.console import say

    if n_pairs:
        say(f"warning: {n_pairs:,} pairs have no kinship (no heterozygous call in one of the two): {so}", quiet=quiet)
