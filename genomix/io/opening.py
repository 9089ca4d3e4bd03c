"""Any genotype input as a store: a PLINK 2 fileset as it lies, anything else converted into a temporary one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from genomix.io.convert import ConversionReport, convert_genotypes
from genomix.io.genotype_format import find_format
from genomix.io.load_options import LoadOptions
from genomix.io.plink import GenotypeStore, open_store
from genomix.io.sample_tables import merge_samples


class OpenedStore(NamedTuple):
    """A store, and what its conversion reported (None for a fileset that was taken as it lies)."""

    store: GenotypeStore
    report: ConversionReport | None


@contextmanager
def opened_store(
    path: Path, options: LoadOptions | None = None, *, progress: Callable[[float, int], None] | None = None
) -> Iterator[OpenedStore]:
    """Yield any supported genotype input as a store; a temporary fileset is removed afterwards.

    A PLINK 2 fileset is taken as it lies when no option asks for another build, other samples or other alleles; sex and
    labels of its samples may still be given.

    Parameters
    ----------
    path: a file, or a fileset's prefix.
    options: how to load; None for the defaults.
    progress: called with (share done, records done) during a conversion.
    """
    chosen = options or LoadOptions()
    if find_format(path).name == "plink2" and not chosen.changes_calls:
        store = open_store(path)
        store.samples = merge_samples(store.samples, chosen.sex)
        yield OpenedStore(store, None)
        return
    with tempfile.TemporaryDirectory(prefix="genomix-") as folder:
        prefix = Path(folder) / "genotypes"
        report = convert_genotypes(path, prefix, chosen, progress=progress)
        yield OpenedStore(open_store(prefix), report)
