"""Dosages are tested as dosages: found from the .pgen's header, and equal to brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.pgen_header import records_with_dosages
from genomix.io.phenotypes import PhenotypeTable
from genomix.io.plink import open_store
from genomix.variants.assoc_block import AssociationOptions
from genomix.variants.assoc_linear import linear_reference
from genomix.variants.association import associate

N, M = 40, 7


def write_fileset(prefix: Path, dosages: np.ndarray, with_dosages: np.ndarray) -> None:
    """A fileset of one sample table, one variant table and dosages (or, where not asked for, rounded calls)."""
    import pgenlib

    writer = pgenlib.PgenWriter(
        str(prefix.with_suffix(".pgen")).encode(), N, variant_ct=M, nonref_flags=False, dosage_present=True
    )
    for row, keep in zip(dosages, with_dosages, strict=True):
        if keep:
            writer.append_dosages(row.astype(np.float64))
        else:
            writer.append_biallelic(np.rint(row).astype(np.int8))
    writer.close()
    prefix.with_suffix(".psam").write_text("#IID\tSEX\n" + "".join(f"s{i}\tNA\n" for i in range(N)))
    lines = [f"1\t{i + 1}\tv{i}\tA\tG\n" for i in range(M)]
    prefix.with_suffix(".pvar").write_text("#CHROM\tPOS\tID\tREF\tALT\n" + "".join(lines))


@pytest.fixture
def dosages() -> np.ndarray:
    """Multiples of 1/16384: what a .pgen can hold."""
    return np.rint(np.random.default_rng(3).uniform(0, 2, (M, N)) * 16384) / 16384


def test_header_names_the_records_with_dosages(tmp_path: Path, dosages: np.ndarray) -> None:
    flags = np.arange(M) % 3 == 1
    write_fileset(tmp_path / "d", dosages, flags)
    assert records_with_dosages(tmp_path / "d.pgen", M).tolist() == flags.tolist()
    write_fileset(tmp_path / "n", dosages, np.zeros(M, dtype=bool))
    assert not records_with_dosages(tmp_path / "n.pgen", M).any()


def test_dosages_equal_brute_force(tmp_path: Path, dosages: np.ndarray) -> None:
    flags = np.arange(M) % 2 == 0
    write_fileset(tmp_path / "d", dosages, flags)
    y = np.random.default_rng(4).normal(size=N)
    table = pl.DataFrame({"sample_id": [f"s{i}" for i in range(N)], "y": y})
    found = associate(
        open_store(tmp_path / "d"), PhenotypeTable(table, {"y": "quantitative"}),
        options=AssociationOptions(min_allele_count=0),
    ).table  # fmt: skip
    for i in range(M):
        copies = dosages[i] if flags[i] else np.rint(dosages[i])
        beta, se, _ = linear_reference(y, np.ones((N, 1)), copies)
        assert found["beta"][i] == pytest.approx(beta, rel=1e-9)
        assert found["se"][i] == pytest.approx(se, rel=1e-9)
        assert found["a1_count"][i] == pytest.approx(copies.sum(), rel=1e-12)
