"""Contig names, builds and pseudo-autosomal regions."""

from __future__ import annotations

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError
from genomix.io.contigs import (
    CONTIG_LENGTHS,
    PloidyClass,
    check_positions,
    contig_ranks,
    detect_build,
    normalise_contig,
    normalise_contigs,
    ploidy_classes,
    reconcile_build,
    resolve_build,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chr1", "1"), ("1", "1"), ("01", "1"), ("CHR22", "22"), ("chrX", "X"), ("x", "X"), ("23", "X"), ("24", "Y"),
        ("25", "XY"), ("26", "MT"), ("chrM", "MT"), ("M", "MT"), ("MT", "MT"), ("chrUn_gl000220", "Un_gl000220"),
        ("GL000191.1", "GL000191.1"), ("chr", "chr"),
    ],
)  # fmt: skip
def test_names_of_one_contig_become_one_name(name: str, expected: str) -> None:
    assert normalise_contig(name) == expected


def test_canonical_order_and_series_agree_with_the_scalar() -> None:
    names = pl.Series(["MT", "10", "2", "alt_b", "X", "alt_a", "1", "Y"])
    ordered = [n for _, n in sorted(zip(contig_ranks(names).tolist(), names.to_list(), strict=True))]
    assert ordered == ["1", "2", "10", "X", "Y", "MT", "alt_b", "alt_a"]
    assert normalise_contigs(pl.Series(["chr1", "23", "chr1"])).to_list() == ["1", "X", "1"]


@pytest.mark.real_data
def test_lengths_are_those_of_published_files(real_data) -> None:
    """GRCh37 from a 1000 Genomes header; both builds from UCSC's liftOver chains."""
    import gzip
    import re

    with gzip.open(real_data / "geuvadis-chr22-qtltools" / "genotypes.chr22.vcf.gz", "rt") as stream:
        header = [line for line in stream if line.startswith("##contig")]
    stated = {m[1]: int(m[2]) for line in header if (m := re.match(r"##contig=<ID=([^,]+).*length=(\d+)", line))}
    assert {n: stated[n] for n in CONTIG_LENGTHS["GRCh37"] if n in stated} == CONTIG_LENGTHS["GRCh37"]
    chains = (
        real_data / "pgscatalog-utils" / "pgscatalog.core" / "tests" / "data" / "chain" / "hg38ToHg19.over.chain.gz"
    )
    with gzip.open(chains, "rt") as stream:
        found = {p[2]: int(p[3]) for line in stream if line.startswith("chain") and (p := line.split())}
    for name in [*(str(i) for i in range(1, 23)), "X", "Y"]:
        assert found[f"chr{name}"] == CONTIG_LENGTHS["GRCh38"][name], name


def test_build_from_lengths() -> None:
    assert detect_build({"chr1": 249250621}) == "GRCh37"
    assert detect_build({"1": 248956422, "decoy": 17}) == "GRCh38"
    assert detect_build({"1": 195471971}) is None  # a mouse's chromosome 1
    assert detect_build({"MT": 16569}) is None  # one length in both builds
    with pytest.raises(FormatError, match=r"GRCh37.*GRCh38"):
        detect_build({"1": 249250621, "2": 242193529})


def test_a_declared_build_that_contradicts_lengths_is_refused_naming_both() -> None:
    with pytest.raises(FormatError, match=r"declared as GRCh38.*GRCh37"):
        reconcile_build("hg38", {"1": 249250621})
    assert reconcile_build("hg19", {"1": 249250621}) == "GRCh37"
    assert reconcile_build("GRCh38.p14", {}) == "GRCh38"
    assert reconcile_build(None, {}) == "unknown"
    assert resolve_build("mm10") == "GRCm38"
    with pytest.raises(ConfigError, match="hg17"):
        resolve_build("hg17")


def test_a_position_past_the_contigs_end_is_refused() -> None:
    frame = pl.DataFrame({"contig": ["21"], "position": [48_000_000]})
    check_positions(frame, "GRCh37")
    with pytest.raises(FormatError, match="beyond its end in GRCh38"):
        check_positions(frame, "GRCh38")


@pytest.mark.parametrize(
    ("contig", "position", "build", "expected"),
    [
        ("1", 5, "GRCh38", PloidyClass.AUTOSOME),
        ("X", 2_781_479, "GRCh38", PloidyClass.PAR),
        ("X", 2_781_480, "GRCh38", PloidyClass.X),
        ("X", 2_781_479, "GRCh37", PloidyClass.X),
        ("X", 2_699_520, "GRCh37", PloidyClass.PAR),
        ("X", 155_701_382, "GRCh38", PloidyClass.X),
        ("X", 155_701_383, "GRCh38", PloidyClass.PAR),
        ("Y", 2_781_479, "GRCh38", PloidyClass.PAR),
        ("Y", 3_000_000, "GRCh38", PloidyClass.Y),
        ("X", 100_000, "unknown", PloidyClass.X),
        ("XY", 100_000, "unknown", PloidyClass.PAR),
        ("MT", 7, "GRCh38", PloidyClass.MT),
        ("GL000191.1", 7, "GRCh38", PloidyClass.OTHER),
    ],
)
def test_ploidy_class(contig: str, position: int, build: str, expected: PloidyClass) -> None:
    assert ploidy_classes([contig], [position], build).tolist() == [expected]
