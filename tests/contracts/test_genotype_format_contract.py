"""Every registered genotype format keeps the contract, and each check catches a format that breaks it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pytest

from genomix.errors import TruncatedInputError
from genomix.io.genotype_format import HET_PHASED, HET_PHASED_REVERSED, GenotypeBlock, OpenOptions, genotype_formats
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


class _Source:
    """A source of the BGEN format, of which a subclass breaks one promise."""

    def __init__(self, path: Path, options: OpenOptions | None) -> None:
        self._inner = FORMATS["bgen"].open(path, options)

    def blocks(self) -> Iterator[GenotypeBlock]:
        yield from self._inner.blocks()

    def share_read(self) -> float:
        return float(self._inner.share_read())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.__exit__()


class _SwallowingSource(_Source):
    """Leaves the second record out."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            yield block.select(block.numbers != 1)


class _HaploidSource(_Source):
    """Takes the haploid marker for a missing allele."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            yield replace(block, alleles=block.alleles.clip(min=-1))


class _GapSource(_Source):
    """Forgets the last, smaller block."""

    def __init__(self, path: Path, options: OpenOptions | None) -> None:
        super().__init__(path, options)
        self._size = options.block_size if options else None

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            if self._size is None or block.n_records == self._size:
                yield block


class _GreedySource(_Source):
    """Takes the block size for a suggestion."""

    def __init__(self, path: Path, _: OpenOptions | None) -> None:
        super().__init__(path, None)


class _RenumberedSource(_Source):
    """Numbers the records of each block anew."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            yield replace(block, numbers=np.arange(block.n_records))


class _UnphasedSource(_Source):
    """Sorts the alleles of every call."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            alleles = block.alleles.copy()
            swap = (alleles[..., 1] >= 0) & (alleles[..., 0] > alleles[..., 1])
            alleles[swap] = alleles[swap][:, ::-1]
            compact = np.where(block.compact == HET_PHASED_REVERSED, HET_PHASED, block.compact)
            yield replace(block, alleles=alleles, compact=compact.astype(np.int8))


class _PhaseLosingSource(_Source):
    """Keeps the order of alleles and forgets what it means."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            general = block.general()
            yield replace(general, phased=np.zeros_like(general.phased))


class _SwappedSource(_Source):
    """Takes the first allele for ALT."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            yield replace(block, fixed=block.records.rename({"ref": "alt", "alt": "ref"}))


class _QuietFilterSource(_Source):
    """Says nothing where it should say PASS."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            yield replace(block, fixed=block.records.with_columns(pl.lit(".").alias("filter")))


class _UntypedSource(_Source):
    """Hands out compact codes of another width."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            yield replace(block, compact=block.compact.astype(np.int16))


class _InventingSource(_Source):
    """Has dosages where the file has calls."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        for block in super().blocks():
            dosages = np.ones(block.alleles.shape[:2], dtype=np.float32)
            yield replace(block, dosages=dosages)


class _StuckSource(_Source):
    """Never says how far it is."""

    def share_read(self) -> float:
        return 0.0


class _LeavingSource(_Source):
    """Unpacks into a folder that it never removes."""

    def __init__(self, path: Path, options: OpenOptions | None) -> None:
        Path(tempfile.mkdtemp(prefix="unpacked-"))
        super().__init__(path, options)


class _BareSource(_Source):
    """Lets Python's own errors through."""

    def __init__(self, path: Path, options: OpenOptions | None) -> None:
        path.read_bytes().index(b"bgen")
        super().__init__(path, options)


class _SilentlyCutSource(_Source):
    """Takes the end of a file for the end of its records."""

    def blocks(self) -> Iterator[GenotypeBlock]:
        with suppress(TruncatedInputError):
            yield from super().blocks()


class _BrokenFormat:
    """A format whose sources break a promise."""

    name = "bgen"
    suffixes = (".bgen",)

    def __init__(self, source: Callable[[Path, OpenOptions | None], _Source]) -> None:
        self.source = source

    def open(self, path: Path, options: OpenOptions | None = None) -> _Source:
        return self.source(path, options)


BGEN = next(m for m in MAKERS if m.label == "bgen zstd, identifiers inside")
N = len(BGEN.records)
BROKEN = (
    (check_reads_every_record, _SwallowingSource, f"hold {N - 1} of {N} records"),
    (check_reads_every_record, _GapSource, f"blocks of 3 hold {N - N % 3} of {N} records"),
    (check_reads_every_record, _GreedySource, f"blocks of 1 hold {N} records"),
    (check_reads_every_record, _RenumberedSource, "blocks of 1 are numbered"),
    (check_reads_every_record, _SwappedSource, "columns|other records than the file's"),
    (check_reads_every_record, _QuietFilterSource, "QUAL, FILTER and INFO are"),
    (check_reads_every_record, _UntypedSource, "arrays are"),
    (check_reads_every_record, _InventingSource, "dosages out of hard calls"),
    (check_reads_every_record, _HaploidSource, "is not the haploid call"),
    (check_reads_every_record, _UnphasedSource, "the order of a phased call is lost"),
    (check_reads_every_record, _PhaseLosingSource, "the phase is lost"),
    (check_conversion_accounts, _SwallowingSource, f"progress ends at .*{N - 1}.*{N}"),
    (check_conversion_accounts, _HaploidSource, "other calls than the file"),
    (check_conversion_accounts, _StuckSource, "progress ends at"),
    (check_rejects_bad_input, _LeavingSource, "leaves .*unpacked-.* in the temporary folder"),
    (check_rejects_bad_input, _BareSource, "raised FileNotFoundError"),
    (check_rejects_bad_input, _SilentlyCutSource, "cut at 60% was accepted"),
)


@pytest.mark.parametrize(("check", "source", "message"), BROKEN)
def test_each_check_catches_a_broken_format(check: Any, source: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check(_BrokenFormat(source), BGEN, tmp_path / "x")


def test_a_format_that_takes_the_same_sample_twice_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bgen", "sample_tables"):
        monkeypatch.setattr(f"genomix.io.{module}.check_sample_ids", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="a repeated sample was accepted"):
        check_rejects_bad_input(FORMATS["bgen"], BGEN, tmp_path / "x")


def test_a_format_that_forgets_that_ref_is_provisional_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genomix.io.plink._ref_is_provisional", lambda _: False)
    plink1 = next(m for m in MAKERS if m.label == "plink1")
    with pytest.raises(AssertionError, match="it is lost whether REF is known"):
        check_round_trip(FORMATS["plink1"], plink1, tmp_path / "x")


def test_a_format_that_claims_another_ones_suffix_is_caught() -> None:
    greedy = _BrokenFormat(_Source)
    greedy.name, greedy.suffixes = "greedy", (".gz", ".bed")
    with pytest.raises(AssertionError, match=r"greedy and plink1 both claim \['.bed'\]"):
        check_suffixes_are_its_own(greedy, FORMATS)
