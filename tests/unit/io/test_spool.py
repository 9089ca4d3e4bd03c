"""Blocks leave the spool as they entered, in order, and nothing stays on disk."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import OutputError
from genomix.io.genotype_format import RECORDS_SCHEMA
from genomix.io.spool import FinishedBlock, Spool

N_SAMPLES = 7


def block(seed: int, *, codes: tuple[int, ...], dosages: bool) -> FinishedBlock:
    rng = np.random.default_rng(seed)
    is_compact = rng.random(9) < 0.6
    n_general = int((~is_compact).sum())
    alleles = rng.integers(-1, 3, (n_general, N_SAMPLES, 2)).astype(np.int16)
    return FinishedBlock(
        is_compact,
        rng.choice(np.array(codes, dtype=np.int8), (9 - n_general, N_SAMPLES)),
        alleles,
        rng.random((n_general, N_SAMPLES)) < 0.5,
        rng.random((n_general, N_SAMPLES)).astype(np.float32) if dosages else None,
        np.where(is_compact, 2, 3),
    )


def records(n: int) -> pl.DataFrame:
    values = {"position": list(range(n))}
    return pl.DataFrame({k: values.get(k, ["x"] * n) for k in RECORDS_SCHEMA}, schema=RECORDS_SCHEMA)


def test_blocks_come_back(tmp_path: Path) -> None:
    given = [
        block(1, codes=(0, 1, 2, -9), dosages=False),
        block(2, codes=(0, 1, 2, 3, 4, -9), dosages=True),
        block(3, codes=(-9,), dosages=False),
    ]
    with Spool(tmp_path) as spool:
        for one in given:
            spool.append(one)
        assert spool.n_records == 27
        assert spool.any_phased
        assert spool.any_dosages
        assert spool.max_alleles == 3
        for _ in range(2):  # it can be read again
            for one, found in zip(given, spool.blocks(), strict=True):
                for a, b in zip(one, found, strict=True):
                    np.testing.assert_array_equal(a, b)
        assert spool.allele_counts().tolist() == [c for one in given for c in one.allele_counts.tolist()]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codes", [(0, 1, 2, -9), (2,)])
def test_nothing_phased_and_no_dosages(tmp_path: Path, codes: tuple[int, ...]) -> None:
    one = block(5, codes=codes, dosages=False)
    n_general = int((~one.is_compact).sum())
    one = one._replace(phased=np.zeros((n_general, N_SAMPLES), dtype=np.bool_))
    with Spool(tmp_path) as spool:
        spool.append(one)
        assert not spool.any_phased
        assert not spool.any_dosages


def _through_a_spool(folder: Path, one: FinishedBlock) -> None:
    with Spool(folder) as spool:
        spool.append(one)
        list(spool.blocks())


def test_a_full_disk_is_said_of_the_genotypes(tmp_path: Path) -> None:
    large = block(7, codes=(0, 1), dosages=False)._replace(compact=np.zeros((9, 40_000), dtype=np.int8))
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot write the genotypes: File too large"):
            _through_a_spool(tmp_path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
