"""Every registered genotype format keeps the contract, and each check catches a format that breaks it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genomix.io.genotype_format import GenotypeBlock, genotype_formats
from genomix.io.vcf import VcfFormat, VcfSource
from genomix.registry import members
from tests.contracts.genotype_files import MAKERS, Maker
from tests.contracts.genotype_format import (
    check_conversion_accounts,
    check_reads_every_record,
    check_rejects_bad_input,
    check_round_trip,
    check_suffixes_are_its_own,
)

FORMATS = members("genomix.io", "FORMAT")
FORMATS = {name: f for name, f in FORMATS.items() if hasattr(f, "suffixes")}
CASES = [pytest.param(m, id=m.label) for m in MAKERS]
CHECKS = (check_reads_every_record, check_conversion_accounts, check_round_trip, check_rejects_bad_input)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_has_files_to_be_tested_on(name: str) -> None:
    assert [m for m in MAKERS if m.format == name], f"say in genotype_files.py how to write a {name} file"
    check_suffixes_are_its_own(FORMATS[name], FORMATS)
    assert FORMATS[name] is genotype_formats()[name]


@pytest.mark.parametrize("maker", CASES)
@pytest.mark.parametrize("check", CHECKS)
def test_every_format_keeps_the_contract(check: Any, maker: Maker, tmp_path: Path) -> None:
    check(FORMATS[maker.format], maker, tmp_path / "x")


class _SwallowingSource(VcfSource):
    """Leaves the second record out of the table and of the calls."""

    def records(self) -> pl.DataFrame:
        return super().records().filter(pl.int_range(pl.len()) != 1)

    def blocks(self, block_size: int | None = None) -> Iterator[GenotypeBlock]:
        with VcfSource(Path(self._shown)) as whole:
            for block in whole.blocks(1):
                if block.start != 1:
                    yield replace(block, start=block.start - (block.start > 1))


class _HaploidSource(VcfSource):
    """Takes the haploid marker for a missing allele."""

    def blocks(self, block_size: int | None = None) -> Iterator[GenotypeBlock]:
        for block in super().blocks(block_size):
            yield replace(block, alleles=block.alleles.clip(min=-1))


class _LeavingSource(VcfSource):
    """Unpacks into a folder that it never removes."""

    def __init__(self, path: Path) -> None:
        Path(tempfile.mkdtemp(prefix="unpacked-"))
        super().__init__(path)


class _GapSource(VcfSource):
    """Forgets the last, smaller block."""

    def blocks(self, block_size: int | None = None) -> Iterator[GenotypeBlock]:
        for block in super().blocks(block_size):
            if block_size is None or len(block.alleles) == block_size:
                yield block


class _UnphasedSource(VcfSource):
    """Sorts the alleles of every call."""

    def blocks(self, block_size: int | None = None) -> Iterator[GenotypeBlock]:
        for block in super().blocks(block_size):
            alleles = block.alleles.copy()
            swap = (alleles[..., 1] >= 0) & (alleles[..., 0] > alleles[..., 1])
            alleles[swap] = alleles[swap][:, ::-1]
            yield replace(block, alleles=alleles)


class _BareSource(VcfSource):
    """Lets Python's own errors through."""

    def __init__(self, path: Path) -> None:
        path.read_bytes().decode("latin-1").index("##fileformat")
        super().__init__(path)


class _OpenHandedFormat(VcfFormat):
    """Takes what is there and keeps quiet about what is not."""

    def __init__(self, source: type[VcfSource]) -> None:
        self.source = source

    def open(self, path: Path, options: Mapping[str, Any] | None = None) -> VcfSource:
        return self.source(path)


VCF = MAKERS[0]
BROKEN = (
    (check_reads_every_record, _SwallowingSource, "9 records read of 10"),
    (check_conversion_accounts, _SwallowingSource, "9 records read of 10"),
    (check_reads_every_record, _GapSource, "blocks of 3 hold 9 of 10 records"),
    (check_reads_every_record, _HaploidSource, "is not the haploid call"),
    (check_reads_every_record, _UnphasedSource, "the order of a phased call is lost"),
    (check_conversion_accounts, _HaploidSource, "other calls than the file"),
    (check_rejects_bad_input, _LeavingSource, "leaves .*unpacked-.* in the temporary folder"),
    (check_rejects_bad_input, _BareSource, "raised FileNotFoundError"),
)


@pytest.mark.parametrize(("check", "source", "message"), BROKEN)
def test_each_check_catches_a_broken_format(check: Any, source: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check(_OpenHandedFormat(source), VCF, tmp_path / "x")


def test_a_format_that_takes_the_same_sample_twice_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genomix.io.vcf_text.check_sample_ids", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="the repeated sample is not named"):
        check_rejects_bad_input(FORMATS["vcf"], VCF, tmp_path / "x")


def test_a_format_that_forgets_that_ref_is_provisional_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genomix.io.plink._ref_is_provisional", lambda _: False)
    plink1 = next(m for m in MAKERS if m.label == "plink1")
    with pytest.raises(AssertionError, match="it is lost whether REF is known"):
        check_round_trip(FORMATS["plink1"], plink1, tmp_path / "x")


def test_a_format_that_claims_another_ones_suffix_is_caught() -> None:
    greedy = VcfFormat()
    greedy.name, greedy.suffixes = "greedy", (".gz", ".bed")
    with pytest.raises(AssertionError, match=r"greedy and plink1 both claim \['.bed'\]"):
        check_suffixes_are_its_own(greedy, FORMATS)
