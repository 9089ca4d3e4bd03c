"""The two VCF readers read the same from every real and every conformance file, or refuse it with the same error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomix.errors import GenomixError
from tests.unit.io.vcf_readers import assert_same, inflated, outcome

pytestmark = [pytest.mark.real_data]

SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf", ".bcf.gz")
LARGE = 3 << 20


def vcf_files(folder: Path, *, conformance: bool) -> list[Path]:
    found = [p for p in folder.rglob("*") if p.is_file() and p.name.endswith(SUFFIXES)]
    return sorted(p for p in found if ("conformance" in str(p)) == conformance)


def compare(files: list[Path], fields: tuple[str, ...], keys: tuple[str, ...] = ("*",)) -> int:
    """Compare the readers on files; return how many are refused."""
    n_refused = 0
    for path in files:
        for field in fields:
            reference = outcome(path, reader="reference", dosage_field=field, info_keys=keys)
            try:
                assert_same(outcome(path, reader="fast", dosage_field=field, info_keys=keys), reference)
            except AssertionError as error:
                raise AssertionError(f"{path.name}, dosages {field}: {error}") from error
            n_refused += isinstance(reference, GenomixError)
    return n_refused


def test_conformance_files_with_samples(real_data: Path) -> None:
    files = [f for f in vcf_files(real_data, conformance=True) if b"\tFORMAT\t" in inflated_or_empty(f)]
    assert len(files) > 500
    compare(files[::3], ("auto",))


@pytest.mark.slow
def test_all_conformance_files(real_data: Path) -> None:
    files = vcf_files(real_data, conformance=True)
    assert len(files) > 1300
    assert compare(files, ("auto",)) > 700


def test_real_files(real_data: Path) -> None:
    files = [f for f in vcf_files(real_data, conformance=False) if f.stat().st_size < LARGE]
    assert len(files) > 60
    compare([f for f in files if f.stat().st_size < 1 << 20], ("auto", "GP"))


def test_bcf_by_either_reader_and_as_text(real_data: Path) -> None:
    folder = real_data / "shapeit4-1000g-chr20"
    for name in ("reference", "unphased", "scaffold"):
        text, binary = folder / f"{name}.vcf.gz", folder / f"{name}.bcf.gz"
        if not (text.is_file() and binary.is_file()):
            continue
        found = outcome(binary, reader="fast")
        assert_same(found, outcome(binary, reader="reference"))
        other = outcome(text, reader="fast")
        assert not isinstance(found, GenomixError)
        assert not isinstance(other, GenomixError)
        assert found is not None
        assert other is not None
        assert np.array_equal(found.alleles, other.alleles)
        assert found.records.drop("quality").equals(other.records.drop("quality"))


@pytest.mark.slow
def test_large_real_files(real_data: Path) -> None:
    files = [f for f in vcf_files(real_data, conformance=False) if f.stat().st_size >= 1 << 20]
    assert len(files) >= 5
    compare(files, ("auto", "GT", "DS", "GP"))


def inflated_or_empty(path: Path) -> bytes:
    """A file's bytes, nothing where it is not what its name says."""
    try:
        return inflated(path)
    except (OSError, EOFError):
        return b""
