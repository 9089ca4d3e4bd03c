"""Where the bundled files lie: real genotypes of 3,202 people, who they are, and the list of the small form."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import polars as pl

from genomix.errors import ConfigError

GENOTYPES_SHA256 = "1230c9a6cfb03730371f578bf34711997ef6d6998a27bb87c243dc2d07eead08"


@cache
def data_folder() -> Path:
    """Return the folder of the bundled files (the package is installed unzipped: it holds a VCF that others open)."""
    return Path(str(resources.files("genomix_pipelines.demo") / "data"))


def genotypes_path() -> Path:
    """Return the real genotypes, a bgzipped VCF of GRCh38."""
    return data_folder() / "tiny1000G.vcf.gz"


def task_path() -> Path:
    """Return the demo's task in the ACES dialect."""
    return data_folder() / "task.yaml"


def read_people() -> pl.DataFrame:
    """Return sample_id, sex (1 male, 2 female), superpopulation and population, in the genotype file's order.

    >>> read_people().height
    3202
    """
    return pl.read_csv(data_folder() / "people.tsv", separator="\t", schema_overrides={"sex": pl.Int8})


def read_small_samples() -> pl.DataFrame:
    """Return sample_id and kin_group of the small form; a kin group's people stand together."""
    return pl.read_csv(data_folder() / "small_samples.tsv", separator="\t")


def choose_samples(n_subjects: int | None) -> list[str]:
    """Return the samples of the demo: all of them, or whole kin groups of the small form until ``n_subjects`` is met.

    Parameters
    ----------
    n_subjects: None for all 3,202, else 1 to 300; up to a kin group's size minus one more people are returned.

    Raises
    ------
    ConfigError: when ``n_subjects`` is outside the small form's size.

    >>> 50 <= len(choose_samples(50)) < 56
    True
    """
    if n_subjects is None:
        return read_people()["sample_id"].to_list()
    small = read_small_samples()
    if not 1 <= n_subjects <= small.height:
        raise ConfigError(
            f"the small demo cannot hold {n_subjects} people", hint=f"a number from 1 to {small.height}, or all of them"
        )
    last_group = small["kin_group"][n_subjects - 1]
    return small.filter(pl.col("kin_group") <= last_group)["sample_id"].to_list()
